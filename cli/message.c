#include "cli/message.h"

#include "cli/child.h"
#include "cli/output.h"
#include "cli/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- Printing ----------------------------------------------------------------------------------
 */

/* NULL: it is no dead letter. */
static json_t *origin_of(const struct conclave_topic_origin *origin)
{
    if (!origin->topic)
        return NULL;
    return json_pack("{s:o, s:o, s:o, s:o}", "topic",
                     output_bytes(origin->topic, origin->topic_bytes), "group",
                     output_bytes(origin->group, origin->group_bytes), "sequence",
                     output_uint(origin->sequence), "deliveries", output_uint(origin->deliveries));
}

static int print_json(const struct message_style *style,
                      const struct conclave_topic_message *message, uint64_t deliveries)
{
    return output_line(json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o*, s:o*, s:o*}", "topic",
        output_bytes(style->topic, strlen(style->topic)), "sequence",
        output_uint(message->sequence), "revision", output_uint(message->revision), "time_ms",
        output_uint(message->time_ms), "data", output_bytes(message->data, message->bytes), "id",
        message->id ? output_bytes(message->id, message->id_bytes) : NULL, "deliveries",
        deliveries ? output_uint(deliveries) : NULL, "origin", origin_of(&message->origin)));
}

int message_print(const struct message_style *style, const struct conclave_topic_message *message,
                  uint64_t deliveries)
{
    if (style->json)
        return print_json(style, message, deliveries);
    if (message->bytes > 0)
        fwrite(message->data, 1, message->bytes, stdout);
    putchar(style->null ? '\0' : '\n');
    return 0;
}

/* --- Running a command -------------------------------------------------------------------------
 */

/* The bytes as a file that is read from its beginning: a program that is slow to read keeps nobody
 * waiting. -1 with errno. */
static int file_of(const void *data, size_t bytes)
{
    int fd = memfd_create("message", MFD_CLOEXEC);
    const char *at = data;
    while (fd >= 0 && bytes > 0) {
        ssize_t n = write(fd, at, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int failed = errno;
            close(fd);
            errno = failed;
            return -1;
        }
        at += n;
        bytes -= (size_t)n;
    }
    if (fd >= 0)
        (void)lseek(fd, 0, SEEK_SET);
    return fd;
}

pid_t message_run(const char *command, const struct conclave_topic_message *message,
                  uint64_t deliveries)
{
    static char shell[] = "/bin/sh", flag[] = "-c";
    char sequence[48], revision[48], count[48], id[16 + CONCLAVE_MESSAGE_ID_BYTES_MAX];
    char *copy = strdup(command), *argv[] = {shell, flag, copy, NULL};
    char *extra[] = {sequence, revision, id, deliveries ? count : NULL, NULL};
    snprintf(sequence, sizeof sequence, "CONCLAVE_SEQUENCE=%" PRIu64, message->sequence);
    snprintf(revision, sizeof revision, "CONCLAVE_REVISION=%" PRIu64, message->revision);
    snprintf(count, sizeof count, "CONCLAVE_DELIVERIES=%" PRIu64, deliveries);
    snprintf(id, sizeof id, "CONCLAVE_ID=%.*s", (int)message->id_bytes,
             message->id ? (const char *)message->id : "");
    output_flush();
    pid_t child = -1;
    int input = copy ? file_of(message->data, message->bytes) : -1;
    if (input >= 0)
        child = child_start(argv, extra, input);
    free(copy);
    return child;
}

/* --- Where to begin ----------------------------------------------------------------------------
 */

bool message_from_parse(const char *text, enum conclave_from *ret_from, uint64_t *ret_position)
{
    static const struct {
        const char *name;
        enum conclave_from from;
    } names[] = {
        {"first", CONCLAVE_FROM_FIRST}, {"last", CONCLAVE_FROM_LAST}, {"new", CONCLAVE_FROM_NEW}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        *ret_from = names[i].from;
        if (strcmp(text, names[i].name) == 0)
            return true;
    }
    *ret_from = *text == '-' ? CONCLAVE_FROM_AGO : CONCLAVE_FROM_SEQUENCE;
    if (*text == '-')
        return text_long_duration_parse(text + 1, ret_position);
    return text_uint_parse(text, INT64_MAX, ret_position) && *ret_position > 0;
}
