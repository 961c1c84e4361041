/* cli/cmd_pub.c - pub: one message, or every line of the input as one. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/value.h"
#include "conclave_topic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LINES_MAX = 1024,            /* of one publish */
    LINES_BYTES_MAX = 512 << 10, /* likewise, unless one line alone is larger */
    INPUT_BYTES = 1 << 20
};

const struct args_flag cmd_pub_flags[] = {
    {"id", 0, "ID", NULL, false, "publish only if no message had this id lately"},
    {"expect-seq", 0, "N", NULL, false,
     "only if the topic's last message has sequence N (0: it has none yet)"},
    {"lines", 0, NULL, NULL, false, "every line of standard input is a message"},
    {"literal", 0, NULL, NULL, false, "take DATA as it stands, also '-' and '@…'"},
    {0}};

/* Says why nothing was published. Returns the exit code. */
static int failed(const struct args *args, struct conclave_client *client, const char *topic,
                  uint64_t expect, const struct conclave_published *published, int code)
{
    bool json = args_on(args, "json");
    if (code == CONCLAVE_NOT_FOUND)
        return output_error(json, code, NULL, "'conclave topic create' makes one", "no topic '%s'",
                            topic);
    if (code == CONCLAVE_COMPARE_FAILED)
        return output_error(json, code, NULL, NULL,
                            "the last message of '%s' has sequence %llu, not %llu", topic,
                            (unsigned long long)published->last, (unsigned long long)expect);
    return connect_error(args, client, code);
}

static int print_sequence(bool json, const char *topic, uint64_t sequence, bool duplicate)
{
    if (json)
        return output_line(json_pack("{s:o, s:o, s:b}", "topic", output_bytes(topic, strlen(topic)),
                                     "sequence", output_uint(sequence), "duplicate", duplicate));
    printf("%llu\n", (unsigned long long)sequence);
    return 0;
}

static int publish_one(const struct args *args, struct conclave_client *client, const char *topic,
                       uint64_t expect)
{
    bool json = args_on(args, "json");
    const char *id = args_value(args, "id");
    struct value value = {0};
    int exit_code = value_take(args, args->operands[1], &value);
    if (exit_code == 0) {
        struct conclave_message message = {
            .data = value.data, .bytes = value.bytes, .id = id, .id_bytes = id ? strlen(id) : 0};
        struct conclave_published published = {0};
        uint64_t sequence = 0;
        int code = conclave_topic_publish(client, topic, strlen(topic), &message, 1, expect, 0,
                                          &published, &sequence);
        exit_code = code == CONCLAVE_OK
                        ? print_sequence(json, topic, sequence, published.duplicates > 0)
                        : failed(args, client, topic, expect, &published, code);
    }
    free(value.owned);
    return exit_code;
}

/* --- Lines -------------------------------------------------------------------------------------
 */

struct lines {
    const struct args *args;
    struct conclave_client *client;
    const char *topic;
    char *input;
    size_t used;
    bool ended;
    struct conclave_message messages[LINES_MAX];
    uint64_t sequences[LINES_MAX];
};

/* Reads more, at least one byte unless the input ends. Returns an exit code or 0. */
static int lines_read(struct lines *lines)
{
    ssize_t n;
    do
        n = read(STDIN_FILENO, lines->input + lines->used, INPUT_BYTES - lines->used);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return output_error(args_on(lines->args, "json"), CONCLAVE_INVALID, NULL, NULL,
                            "cannot read standard input: %s", strerrordesc_np(errno));
    lines->ended = n == 0;
    lines->used += (size_t)n;
    return 0;
}

/* Publishes the whole lines at the front; *ret_bytes is what they took. */
static int lines_publish(struct lines *lines, size_t *ret_bytes)
{
    bool json = args_on(lines->args, "json");
    uint32_t count = 0;
    size_t at = 0;
    while (count < LINES_MAX && at < lines->used && at < LINES_BYTES_MAX) {
        const char *from = lines->input + at;
        const char *end = memchr(from, '\n', lines->used - at);
        if (!end && !lines->ended)
            break;
        size_t bytes = end ? (size_t)(end - from) : lines->used - at;
        if (count > 0 && at + bytes > LINES_BYTES_MAX)
            break;
        lines->messages[count++] = (struct conclave_message){.data = from, .bytes = bytes};
        at += bytes + (end != NULL);
    }
    *ret_bytes = at;
    if (count == 0)
        return 0;
    struct conclave_published published = {0};
    int code =
        conclave_topic_publish(lines->client, lines->topic, strlen(lines->topic), lines->messages,
                               count, CONCLAVE_EXPECT_ANY, 0, &published, lines->sequences);
    if (code != CONCLAVE_OK)
        return failed(lines->args, lines->client, lines->topic, 0, &published, code);
    int exit_code = 0;
    for (uint32_t i = 0; i < count && exit_code == 0; i++)
        exit_code = print_sequence(json, lines->topic, lines->sequences[i], false);
    output_flush();
    return exit_code;
}

static int lines_run(struct lines *lines)
{
    int exit_code = 0;
    while (exit_code == 0 && !output_failed() && (!lines->ended || lines->used > 0)) {
        size_t bytes = 0;
        exit_code = lines_publish(lines, &bytes);
        if (bytes > 0) {
            lines->used -= bytes;
            memmove(lines->input, lines->input + bytes, lines->used);
        } else if (lines->used == INPUT_BYTES) {
            return output_error(args_on(lines->args, "json"), CONCLAVE_TOO_LARGE, NULL, NULL,
                                "a line is longer than a message may be (%d bytes)",
                                CONCLAVE_VALUE_BYTES_MAX);
        } else if (exit_code == 0) {
            exit_code = lines_read(lines);
        }
    }
    return exit_code;
}

static int publish_lines(const struct args *args, struct conclave_client *client, const char *topic)
{
    struct lines *lines = calloc(1, sizeof *lines);
    char *input = malloc(INPUT_BYTES);
    int exit_code;
    if (lines && input) {
        lines->args = args;
        lines->client = client;
        lines->topic = topic;
        lines->input = input;
        exit_code = lines_run(lines);
    } else {
        exit_code =
            output_error(args_on(args, "json"), CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    }
    free(input);
    free(lines);
    return exit_code;
}

int cmd_pub_run(const struct args *args)
{
    bool json = args_on(args, "json"), lines = args_on(args, "lines");
    const char *topic = args->operands[0], *text = args_value(args, "expect-seq");
    uint64_t expect = CONCLAVE_EXPECT_ANY;
    struct conclave_client *client = NULL;
    int exit_code = 0;
    if (text && !text_uint_parse(text, INT64_MAX, &expect))
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, NULL,
                                 "--expect-seq: '%.40s' is not a sequence", text);
    else if (lines && (text || args_value(args, "id") || strcmp(args->operands[1], "-") != 0))
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, "conclave pub TOPIC - --lines",
                                 "--lines reads standard input, without --id and --expect-seq");
    if (exit_code == 0)
        exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0)
        exit_code =
            lines ? publish_lines(args, client, topic) : publish_one(args, client, topic, expect);
    conclave_client_destroy(client);
    return exit_code;
}
