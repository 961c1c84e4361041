/* cli/cmd_topic.c - topic: create, delete, trim, ls, info. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/value.h"
#include "conclave_topic.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct args_flag cmd_topic_flags[] = {
    {"retain", 0, "LIST", NULL, false,
     "what is kept, with commas: a size (1GiB), an age (7d), a number of messages; all of them"},
    {"dedup", 0, "DURATION", "2m", false, "how long message ids are compared; 0s: never"},
    {"dedup-count", 0, "N", NULL, false, "and among how many messages (65536)"},
    {0}};

/* --- Settings ----------------------------------------------------------------------------------
 */

/* One element of --retain. */
static bool retain(const char *text, struct conclave_topic_settings *settings)
{
    return text_size_parse(text, &settings->bytes_max) ||
           text_long_duration_parse(text, &settings->age_ms) ||
           text_uint_parse(text, INT64_MAX, &settings->count_max);
}

static int retain_all(const struct args *args, struct conclave_topic_settings *settings)
{
    const char *text = args_value(args, "retain");
    char *copy = strdup(text ? text : ""), *rest = NULL;
    int exit_code = 0;
    if (!copy)
        return output_error(args_on(args, "json"), CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    for (char *part = strtok_r(copy, ",", &rest); part; part = strtok_r(NULL, ",", &rest))
        if (!retain(part, settings) && exit_code == 0)
            exit_code = output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL,
                                     "for example --retain 1GiB,7d,1000000",
                                     "--retain: '%.40s' is no size, age or number", part);
    free(copy);
    return exit_code;
}

static int read_settings(const struct args *args, struct conclave_topic_settings *settings)
{
    bool json = args_on(args, "json");
    const char *dedup = args_value(args, "dedup"), *count = args_value(args, "dedup-count");
    int exit_code = retain_all(args, settings);
    if (exit_code == 0 && !text_long_duration_parse(dedup, &settings->dedup_ms))
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, NULL,
                                 "--dedup: '%.40s' is not a duration", dedup);
    if (exit_code == 0 && count && !text_uint_parse(count, INT64_MAX, &settings->dedup_count))
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, NULL,
                                 "--dedup-count: '%.40s' is not a number", count);
    return exit_code;
}

/* --- What is printed ---------------------------------------------------------------------------
 */

static json_t *json_of(const struct conclave_topic_info *info)
{
    const struct conclave_topic_settings *settings = &info->settings;
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:{s:o, s:o, s:o}, s:{s:o, s:o}}", "topic",
        output_bytes(info->name, info->name_bytes), "id", output_uint(info->id), "first",
        output_uint(info->first), "last", output_uint(info->end - 1), "messages",
        output_uint(info->end - info->first), "bytes", output_uint(info->bytes), "retain",
        "messages", output_uint(settings->count_max), "bytes", output_uint(settings->bytes_max),
        "age_ms", output_uint(settings->age_ms), "dedup", "ms", output_uint(settings->dedup_ms),
        "messages", output_uint(settings->dedup_count));
}

static int print_info(bool json, const struct conclave_topic_info *info)
{
    if (json)
        return output_line(json_of(info));
    printf("%12llu %12llu %14llu  ", (unsigned long long)(info->end - info->first),
           (unsigned long long)(info->end - 1), (unsigned long long)info->bytes);
    text_escape(stdout, info->name, info->name_bytes);
    putchar('\n');
    return 0;
}

struct listing {
    bool json;
    int exit_code;
};

static int print_listed(void *arg, const struct conclave_topic_info *info)
{
    struct listing *listing = arg;
    listing->exit_code = print_info(listing->json, info);
    return listing->exit_code || output_failed();
}

/* --- The commands ------------------------------------------------------------------------------
 */

static int list(const struct args *args, struct conclave_client *client)
{
    struct listing listing = {args_on(args, "json"), 0};
    if (!listing.json && isatty(STDOUT_FILENO))
        printf("%12s %12s %14s  topic\n", "messages", "last", "bytes");
    int code = conclave_topic_list(client, 0, print_listed, &listing);
    return code == CONCLAVE_OK ? listing.exit_code : connect_read_error(args, client, code);
}

static int missing(const struct args *args, const char *name)
{
    return output_error(args_on(args, "json"), CONCLAVE_NOT_FOUND, NULL,
                        "'conclave topic create' makes one", "no topic '%s'", name);
}

static int info(const struct args *args, struct conclave_client *client, const char *name)
{
    struct conclave_topic_info found;
    int code = conclave_topic_info(client, name, strlen(name), 0, &found);
    if (code == CONCLAVE_NOT_FOUND)
        return missing(args, name);
    if (code != CONCLAVE_OK)
        return connect_read_error(args, client, code);
    return print_info(args_on(args, "json"), &found);
}

static int create(const struct args *args, struct conclave_client *client, const char *name)
{
    bool json = args_on(args, "json");
    struct conclave_topic_settings settings = {0};
    int exit_code = read_settings(args, &settings);
    if (exit_code != 0)
        return exit_code;
    uint64_t id = 0;
    int code = conclave_topic_create(client, name, strlen(name), &settings, 0, &id);
    if (code == CONCLAVE_EXISTS)
        return output_error(json, code, NULL, "'conclave topic info' shows them",
                            "the topic '%s' exists already, with other settings", name);
    if (code != CONCLAVE_OK)
        return connect_error(args, client, code);
    if (!json)
        return 0;
    return output_line(
        json_pack("{s:o, s:o}", "topic", output_bytes(name, strlen(name)), "id", output_uint(id)));
}

/* Messages go only after a yes: by flag, or by a person at a terminal. */
static int confirm(const struct args *args, const char *name)
{
    bool json = args_on(args, "json");
    if (args_on(args, "yes"))
        return 0;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return output_error(json, CONCLAVE_INVALID, NULL, "add --yes",
                            "deleting the topic '%s' needs a confirmation", name);
    fprintf(stderr, "Delete the topic '%s' with all its messages? [y/N] ", name);
    char answer[16] = "";
    if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return 0;
    return output_error(json, CONCLAVE_INVALID, NULL, NULL, "nothing was deleted");
}

static int delete (const struct args *args, struct conclave_client *client, const char *name)
{
    int exit_code = confirm(args, name);
    if (exit_code != 0)
        return exit_code;
    bool deleted = false;
    int code = conclave_topic_delete(client, name, strlen(name), 0, &deleted);
    if (code != CONCLAVE_OK)
        return connect_error(args, client, code);
    if (!deleted)
        return missing(args, name);
    if (!args_on(args, "json"))
        return 0;
    return output_line(
        json_pack("{s:o, s:b}", "topic", output_bytes(name, strlen(name)), "deleted", true));
}

/* The second operand is the sequence. */
static int trim(const struct args *args, struct conclave_client *client, const char *name)
{
    bool json = args_on(args, "json");
    const char *text = args->operand_count > 2 ? args->operands[2] : "";
    uint64_t sequence, first = 0;
    if (!text_uint_parse(text, INT64_MAX, &sequence))
        return output_error(json, CONCLAVE_INVALID, NULL, "conclave topic trim jobs 1000",
                            "topic trim: '%.40s' is not the sequence of a message", text);
    int code = conclave_topic_trim(client, name, strlen(name), sequence, 0, &first);
    if (code == CONCLAVE_NOT_FOUND)
        return missing(args, name);
    if (code != CONCLAVE_OK)
        return connect_error(args, client, code);
    if (json)
        return output_line(json_pack("{s:o, s:o}", "topic", output_bytes(name, strlen(name)),
                                     "first", output_uint(first)));
    printf("%llu\n", (unsigned long long)first);
    return 0;
}

int cmd_topic_run(const struct args *args)
{
    static const struct {
        const char *name;
        int (*run)(const struct args *, struct conclave_client *, const char *);
    } actions[] = {{"create", create}, {"delete", delete}, {"info", info}, {"trim", trim}};
    enum { ACTIONS = sizeof actions / sizeof *actions };
    bool json = args_on(args, "json"), is_list = strcmp(args->operands[0], "ls") == 0;
    const char *name = args->operand_count > 1 ? args->operands[1] : NULL;
    size_t i = 0;
    while (i < ACTIONS && strcmp(args->operands[0], actions[i].name) != 0)
        i++;
    if (i == ACTIONS && !is_list)
        return output_error(json, CONCLAVE_INVALID, NULL, "it is create, delete, trim, ls or info",
                            "'topic %.40s' is not a command", args->operands[0]);
    if (is_list != !name)
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "'topic %s' %s", args->operands[0],
                            is_list ? "takes no name" : "needs the name of a topic");
    bool trims = !is_list && actions[i].run == trim;
    if (args->operand_count > 2 && !trims)
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "'topic %s' takes one name",
                            args->operands[0]);
    int exit_code =
        name ? value_check_name(json, "topic's name", name, CONCLAVE_TOPIC_BYTES_MAX) : 0;
    struct conclave_client *client = NULL;
    if (exit_code == 0)
        exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0)
        exit_code = is_list ? list(args, client) : actions[i].run(args, client, name);
    conclave_client_destroy(client);
    return exit_code;
}
