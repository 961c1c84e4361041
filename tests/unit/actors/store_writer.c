/* The store writer: parts of the store's file go to disk, and pages are made ahead of what is used.
 */
#include "base/fatal.h"
#include "machine/tables_lmdb.h"
#include "machine/tables_trickle.h"
#include "wires.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static struct node *node;
static struct actor *writer;
static char file[4200];
static int said;

static void hear(void *arg, enum conclave_log_level level, const char *actor, const char *event,
                 const char *fields)
{
    (void)arg;
    (void)level;
    (void)actor;
    (void)fields;
    said += strcmp(event, "no_trickle") == 0;
}

static void setup(void)
{
    node = mem_zalloc(sizeof *node);
    (void)snprintf(node->machine_dir, sizeof node->machine_dir, "/tmp/conclave-store-XXXXXX");
    cr_assert_not_null(mkdtemp(node->machine_dir));
    (void)snprintf(file, sizeof file, "%s/%s", node->machine_dir, TABLES_LMDB_FILE);
    wires_open(node, "store-writer-test");
    writer = &node->actors[ACTOR_STORE_WRITER];
    writer->ops = &store_writer_ops;
}

static void teardown(void)
{
    wires_close(node);
    (void)unlink(file);
    (void)rmdir(node->machine_dir);
    free(node);
}

TestSuite(store_writer, .init = setup, .fini = teardown, .timeout = 600);

static void give_part(uint64_t at, uint64_t bytes, uint64_t used)
{
    struct envelope *trickle = envelope_create(ENVELOPE_TRICKLE);
    trickle->part = (struct tables_part){.at = at, .bytes = bytes, .used = used};
    mailbox_send(&writer->to[ACTOR_STORE_WRITER], &trickle);
}

/* What it was given, and nothing more. */
static void run(void)
{
    struct conclave_error error = {0};
    struct envelope *stop = envelope_create(ENVELOPE_STOP);
    mailbox_send(&writer->to[ACTOR_STORE_WRITER], &stop);
    cr_assert_eq(writer->ops->run(writer, &error), CONCLAVE_OK, "%s", error.message);
}

Test(store_writer, goes_ahead_of_what_the_last_part_says_is_used)
{
    struct conclave_error error = {0};
    int fd = open(file, O_CREAT | O_RDWR, 0600);
    cr_assert(fd >= 0 && ftruncate(fd, 16 * MIB) == 0);
    close(fd);
    cr_assert_eq(writer->ops->start(writer, &error), CONCLAVE_OK);
    const struct tables_trickle *trickle = writer->state;
    give_part(0, MIB, MIB);
    give_part(MIB, MIB, 2 * MIB); /* goes on where the first one ends */
    run();
    cr_assert_eq(trickle->ahead, 6 * MIB, "%llu", (unsigned long long)trickle->ahead);
    give_part(2 * MIB, 0, 5 * MIB); /* nothing of it is to be written now */
    run();
    cr_assert_eq(trickle->ahead, 9 * MIB, "%llu", (unsigned long long)trickle->ahead);
    writer->ops->stop(writer);
}

Test(store_writer, knows_where_the_last_part_says_the_file_is_mapped)
{
    struct conclave_error error = {0};
    int fd = open(file, O_CREAT | O_RDWR, 0600);
    cr_assert(fd >= 0 && ftruncate(fd, 16 * MIB) == 0);
    char *map = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert(map != MAP_FAILED);
    close(fd);
    cr_assert_eq(writer->ops->start(writer, &error), CONCLAVE_OK);
    const struct tables_trickle *trickle = writer->state;
    give_part(0, MIB, MIB);
    struct envelope *last = envelope_create(ENVELOPE_TRICKLE);
    last->part = (struct tables_part){
        .at = MIB, .bytes = MIB, .used = MIB, .map = map, .map_bytes = 9 * MIB};
    mailbox_send(&writer->to[ACTOR_STORE_WRITER], &last);
    run();
    cr_assert(trickle->map == map && trickle->map_bytes == 9 * MIB);
    writer->ops->stop(writer);
    cr_assert_eq(munmap(map, 16 * MIB), 0);
}

Test(store_writer, says_once_that_the_store_cannot_be_written_in_parts)
{
    struct conclave_error error = {0};
    cr_assert_eq(mkfifo(file, 0600), 0);
    node->logger = (struct logger){.write = hear, .level = CONCLAVE_LOG_DEBUG};
    cr_assert_eq(writer->ops->start(writer, &error), CONCLAVE_OK);
    for (int i = 0; i < 2; i++) {
        give_part(0, MIB, MIB);
        run();
    }
    cr_assert_eq(said, 1, "%d", said);
    writer->ops->stop(writer);
}
