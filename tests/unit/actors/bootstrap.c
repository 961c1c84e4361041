#include "conclave.h"

#include "storage/identity.h"
#include "storage/vote.h"
#include "storage/wal.h"

#include "raft/configuration.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/conclave-bootstrap-XXXXXX";

static const struct conclave_member members[] = {
    {.name = "n1", .peer = "tcp://127.0.0.1:7401"},
    {.name = "n2", .peer = "tcp://127.0.0.1:7402"},
    {.name = "n3", .peer = "tcp://127.0.0.1:7403", .client = "tcp://127.0.0.1:9000"},
};

static void setup(void)
{
    cr_assert(mkdtemp(dir));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(bootstrap, .init = setup, .fini = teardown, .timeout = 600);

static const char *in_dir(const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static void read_configuration(const char *data_dir, struct raft_configuration *ret)
{
    struct storage_identity identity;
    struct wal_recovery recovery = {0};
    struct wal *wal;
    cr_assert_eq(identity_read(io_posix(), data_dir, &identity, NULL), 0);
    cr_assert_eq(
        wal_open(io_posix(), data_dir, &identity, &(struct wal_options){0}, &wal, &recovery, NULL),
        0);
    struct raft_runs_iter iter = {0};
    const struct raft_entry *first = raft_runs_next(&recovery.entries, &iter);
    cr_assert(first);
    cr_assert(raft_id_equal(first->id, (struct raft_id){1, 1}));
    cr_assert_eq(raft_configuration_decode(first->payload, ret), 0);
    cr_assert_null(raft_runs_next(&recovery.entries, &iter));
    raft_runs_clear(&recovery.entries);
    wal_close(wal);
}

Test(bootstrap, nodes_agree_without_talking)
{
    const struct conclave_member shuffled[] = {members[2], members[0], members[1]};
    struct conclave_directory a, b;
    static struct raft_configuration of_a, of_b;
    cr_assert_eq(conclave_bootstrap(in_dir("a"), "n1", NULL, members, 3, NULL), 0);
    cr_assert_eq(conclave_bootstrap(in_dir("b"), "n2", "conclave", shuffled, 3, NULL), 0);
    cr_assert_eq(conclave_directory_info(in_dir("a"), &a, NULL), 0);
    cr_assert_eq(conclave_directory_info(in_dir("b"), &b, NULL), 0);
    cr_assert_str_eq(a.cluster, b.cluster);
    cr_assert_str_eq(a.name, "n1");
    cr_assert_neq(a.id, b.id);
    read_configuration(in_dir("a"), &of_a);
    read_configuration(in_dir("b"), &of_b);
    cr_assert_eq(memcmp(&of_a, &of_b, sizeof of_a), 0);
    cr_assert_eq(of_a.member_count, 3);
    cr_assert_str_eq(of_a.members[0].client, "tcp://127.0.0.1:7501");
    cr_assert_str_eq(of_a.members[2].client, "tcp://127.0.0.1:9000");
    cr_assert_eq(raft_configuration_find(&of_a, a.id), &of_a.members[0]);
}

Test(bootstrap, token_tells_clusters_apart)
{
    struct conclave_directory a, b;
    cr_assert_eq(conclave_bootstrap(in_dir("a"), "n1", "red", members, 3, NULL), 0);
    cr_assert_eq(conclave_bootstrap(in_dir("b"), "n1", "blue", members, 3, NULL), 0);
    cr_assert_eq(conclave_directory_info(in_dir("a"), &a, NULL), 0);
    cr_assert_eq(conclave_directory_info(in_dir("b"), &b, NULL), 0);
    cr_assert_str_neq(a.cluster, b.cluster);
    cr_assert_neq(a.id, b.id);
}

Test(bootstrap, directory_is_private_and_made_with_its_parents)
{
    struct stat st;
    cr_assert_eq(conclave_bootstrap(in_dir("x/y/z"), "n1", NULL, members, 3, NULL), 0);
    cr_assert_eq(stat(in_dir("x/y/z"), &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0700);
}

Test(bootstrap, node_in_the_directory_is_never_overwritten)
{
    struct conclave_error error = {0};
    struct conclave_directory before, after;
    cr_assert_eq(conclave_bootstrap(in_dir("a"), "n1", NULL, members, 3, NULL), 0);
    cr_assert_eq(conclave_directory_info(in_dir("a"), &before, NULL), 0);
    cr_assert_eq(conclave_bootstrap(in_dir("a"), "n2", NULL, members, 3, &error), CONCLAVE_EXISTS);
    cr_assert(strstr(error.message, "n1"), "%s", error.message);
    cr_assert_eq(conclave_directory_info(in_dir("a"), &after, NULL), 0);
    cr_assert_eq(memcmp(&before, &after, sizeof before), 0);
}

Test(bootstrap, directory_with_other_things_is_refused)
{
    struct conclave_error error = {0};
    cr_assert_eq(conclave_bootstrap(dir, "n1", NULL, members, 3, NULL), 0);
    cr_assert_eq(unlink(in_dir("identity")), 0);
    cr_assert_eq(conclave_bootstrap(dir, "n1", NULL, members, 3, &error), CONCLAVE_EXISTS);
    cr_assert(strstr(error.message, "not empty"), "%s", error.message);
}

Test(bootstrap, bad_members_are_refused_before_anything_is_made)
{
    const struct conclave_member twice[] = {members[0], members[0]};
    const struct conclave_member same_address[] = {members[0],
                                                   {.name = "n2", .peer = members[0].peer}};
    const struct conclave_member bad_name[] = {{.name = "n 1", .peer = "tcp://127.0.0.1:1"}};
    const struct conclave_member bad_peer[] = {{.name = "n1", .peer = "127.0.0.1:1"}};
    struct conclave_member many[CONCLAVE_VOTERS_MAX + 1];
    char names[CONCLAVE_VOTERS_MAX + 1][8], peers[CONCLAVE_VOTERS_MAX + 1][64];
    for (int i = 0; i <= CONCLAVE_VOTERS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "n%d", i);
        snprintf(peers[i], sizeof peers[i], "tcp://127.0.0.1:%d", 7400 + i);
        many[i] = (struct conclave_member){.name = names[i], .peer = peers[i]};
    }
    cr_assert_eq(conclave_bootstrap(in_dir("a"), "n1", NULL, twice, 2, NULL), CONCLAVE_INVALID);
    cr_assert_eq(conclave_bootstrap(in_dir("a"), "n1", NULL, same_address, 2, NULL),
                 CONCLAVE_INVALID);
    cr_assert_eq(conclave_bootstrap(in_dir("a"), "n 1", NULL, bad_name, 1, NULL), CONCLAVE_INVALID);
    cr_assert_eq(conclave_bootstrap(in_dir("a"), "n1", NULL, bad_peer, 1, NULL), CONCLAVE_INVALID);
    cr_assert_eq(conclave_bootstrap(in_dir("a"), "n4", NULL, members, 3, NULL), CONCLAVE_INVALID);
    cr_assert_eq(conclave_bootstrap(in_dir("a"), "n1", NULL, many, CONCLAVE_VOTERS_MAX + 1, NULL),
                 CONCLAVE_INVALID);
    cr_assert_eq(conclave_bootstrap(in_dir("a"), "n1", NULL, members, 0, NULL), CONCLAVE_INVALID);
    cr_assert_neq(access(in_dir("a"), F_OK), 0);
    cr_assert_eq(conclave_bootstrap(in_dir("a"), "n1", NULL, many, CONCLAVE_VOTERS_MAX, NULL), 0);
}

/* Not after the others were asked: they would say that the member is there already, and to remove
 * it. */
Test(bootstrap, who_joins_with_the_directory_of_a_node_hears_of_that_first)
{
    const struct conclave_join_options options = {
        .size = sizeof options, .seeds = "ipc:///nowhere/at-all", .timeout_ms = 1};
    struct conclave_error error = {0};
    cr_assert_eq(conclave_bootstrap(in_dir("a"), "n1", NULL, members, 3, NULL), 0);
    cr_assert_eq(conclave_join(in_dir("a"), &members[0], &options, &error), CONCLAVE_EXISTS);
    cr_assert_not_null(strstr(error.message, "already holds node n1"), "%s", error.message);
    cr_assert_eq(conclave_join(in_dir("b"), &members[0], &options, &error), CONCLAVE_UNREACHABLE);
}
