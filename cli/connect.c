#include "cli/connect.h"

#include "cli/output.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

/* How long a failed command may ask the nodes why, after its own deadline. */
enum { CONNECT_DIAGNOSIS_MS = 300 };

int connect_timeout(const struct args *args, uint32_t *ret_ms)
{
    const char *text = args_value(args, "timeout");
    if (!text)
        text = "5s"; /* the command has another meaning for it, and none was given */
    if (text_duration_parse(text, ret_ms) && *ret_ms > 0)
        return 0;
    return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL,
                        "write a number with its unit: 500ms, 2s, 1m",
                        "--timeout: '%s' is not a duration", text);
}

int connect_open(const struct args *args, const char *endpoints,
                 struct conclave_client **ret_client)
{
    struct conclave_client_options options;
    conclave_client_options_init(&options);
    options.endpoints = endpoints ? endpoints : args_value(args, "endpoints");
    int exit_code = connect_timeout(args, &options.timeout_ms);
    if (exit_code != 0)
        return exit_code;
    struct conclave_error error;
    int code = conclave_client_create(&options, ret_client, &error);
    if (code == CONCLAVE_OK)
        return 0;
    return output_error(args_on(args, "json"), code, NULL,
                        "endpoints are written tcp://HOST:PORT, with commas between them", "%s",
                        error.message);
}

struct connect_health connect_health(const struct conclave_status *status)
{
    struct connect_health health = {0};
    for (size_t i = 0; i < status->node_count; i++) {
        if (!status->nodes[i].voter)
            continue; /* a learner decides nothing */
        health.nodes++;
        health.answered += status->nodes[i].answered;
        health.healthy += status->nodes[i].healthy;
    }
    health.majority = health.healthy > health.nodes / 2;
    return health;
}

static const char *hint_for(int code)
{
    switch (code) {
    case CONCLAVE_UNREACHABLE:
        return "start a cluster with 'conclave up', or name the client endpoints of one with "
               "--endpoints or CONCLAVE_ENDPOINTS";
    case CONCLAVE_NO_LEADER:
    case CONCLAVE_NOT_LEADER:
    case CONCLAVE_TIMEOUT:
        return "try again, or wait longer with --timeout; 'conclave status' shows the nodes";
    case CONCLAVE_STALE:
        return "allow an older answer, or ask again when there is a leader";
    case CONCLAVE_BUSY:
    case CONCLAVE_STOPPING:
        return "nothing was changed; try again in a moment";
    case CONCLAVE_UNKNOWN:
        return "read the key to see whether the change was made before you try again";
    case CONCLAVE_VERSION:
    case CONCLAVE_MALFORMED:
        return "is that the client endpoint of a node of this version? Peers use another port";
    case CONCLAVE_QUOTA:
        return "delete something, or raise the quota: 'conclave store' shows what takes how much";
    case CONCLAVE_NO_SPACE:
        return "nothing was changed; reads and deletes go on: 'conclave status' names the node";
    case CONCLAVE_COMPACTED:
        return "'conclave store' shows from which revision on the past can be read, and how much "
               "is "
               "kept";
    default:
        return NULL;
    }
}

/* Says in hint if a majority does not answer. */
static void explain_majority(const struct conclave_status *status, char *hint, size_t hint_size)
{
    struct connect_health health = connect_health(status);
    if (health.answered <= health.nodes / 2)
        snprintf(hint, hint_size,
                 "only %zu of %zu nodes answer, and %zu must; start the others ('conclave status' "
                 "shows them)",
                 health.answered, health.nodes, health.nodes / 2 + 1);
}

static int unreachable(bool json, struct conclave_client *client, const char *hint)
{
    return output_error(json, CONCLAVE_UNREACHABLE, NULL, hint, "no node could be reached: %.800s",
                        conclave_client_describe(client));
}

/* The words for a code; those of a read without what is said of a command: it has nothing to apply.
 */
static const char *words_for(int code, bool reads, char *words, size_t size)
{
    static const char ending[] = "; not applied";
    snprintf(words, size, "%s", conclave_code_text(code));
    const size_t bytes = strlen(words), end = sizeof ending - 1;
    if (reads && bytes > end && strcmp(words + bytes - end, ending) == 0)
        words[bytes - end] = '\0';
    return words;
}

static int explain(const struct args *args, struct conclave_client *client, int code, bool reads)
{
    bool json = args_on(args, "json");
    const char *fixed = hint_for(code);
    if (reads && (code == CONCLAVE_BUSY || code == CONCLAVE_STOPPING))
        fixed = "try again in a moment";
    if (code == CONCLAVE_UNREACHABLE)
        return unreachable(json, client, fixed);
    char hint[256], words[128];
    snprintf(hint, sizeof hint, "%s", fixed ? fixed : "");
    bool ask = code == CONCLAVE_NO_LEADER || code == CONCLAVE_NOT_LEADER ||
               code == CONCLAVE_TIMEOUT || code == CONCLAVE_BUSY || code == CONCLAVE_UNKNOWN;
    struct conclave_status *status = ask ? calloc(1, sizeof *status) : NULL;
    int asked = CONCLAVE_INTERNAL;
    if (status)
        asked = conclave_client_status(client, CONNECT_DIAGNOSIS_MS, status);
    if (asked == CONCLAVE_OK && code != CONCLAVE_UNKNOWN)
        explain_majority(status, hint, sizeof hint);
    int exit_code;
    if (asked == CONCLAVE_UNREACHABLE && code == CONCLAVE_TIMEOUT)
        exit_code = unreachable(json, client,
                                "it takes connections but does not answer: is that the client "
                                "endpoint of a node (peers use another port), and does the node "
                                "run?");
    else
        exit_code = output_error(json, code, status ? status->leader : NULL, hint, "%s",
                                 words_for(code, reads, words, sizeof words));
    free(status);
    return exit_code;
}

int connect_error(const struct args *args, struct conclave_client *client, int code)
{
    return explain(args, client, code, false);
}

int connect_read_error(const struct args *args, struct conclave_client *client, int code)
{
    return explain(args, client, code, true);
}

int connect_past_error(const struct args *args, struct conclave_client *client, int code,
                       uint64_t revision)
{
    if (code != CONCLAVE_STALE || revision == 0)
        return connect_read_error(args, client, code);
    return output_error(
        args_on(args, "json"), code, NULL, "'conclave store' shows the revision that there is",
        "--rev: the store has not got to revision %llu yet", (unsigned long long)revision);
}
