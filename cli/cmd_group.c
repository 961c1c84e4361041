/* cli/cmd_group.c - group: create, delete, info, ls, pending. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/message.h"
#include "cli/output.h"
#include "cli/text.h"
#include "conclave_group.h"

#include <string.h>
#include <unistd.h>

const struct args_flag cmd_group_flags[] = {
    {"from", 0, "WHERE", "new", false,
     "create: where it begins: first, last, new, a sequence, or -DURATION for so long ago"},
    {"ack-time", 0, "DURATION", "30s", false,
     "create: what is not done so long after a member got it goes to another one"},
    {"deliveries", 0, "N", NULL, false, "create: after so many a message goes to --dead"},
    {"dead", 0, "TOPIC", NULL, false, "create: the topic for messages delivered too often"},
    {"held-max", 0, "N", "1024", false, "create: messages that one member may hold"},
    {"pending-max", 0, "N", "65536", false, "create: messages handed out and not done, at most"},
    {0}};

struct asked {
    const struct args *args;
    struct conclave_client *client;
    const char *topic, *group; /* group NULL: `ls` */
    bool json;
    int exit_code; /* of what is printed */
};

/* --- What is printed ---------------------------------------------------------------------------
 */

static json_t *json_of(const struct asked *asked, const struct conclave_group_info *info)
{
    json_t *line =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                  "topic", output_bytes(asked->topic, strlen(asked->topic)), "group",
                  output_bytes(info->name, info->name_bytes), "id", output_uint(info->id), "start",
                  output_uint(info->start), "next", output_uint(info->next), "waiting",
                  output_uint(info->end > info->next ? info->end - info->next : 0), "held",
                  output_uint(info->held), "delayed", output_uint(info->delayed), "ready",
                  output_uint(info->ready), "acked", output_uint(info->acked), "dead_letters",
                  output_uint(info->dead_letters), "lost", output_uint(info->lost), "redelivered",
                  output_uint(info->redelivered), "members", output_uint(info->members), "ack_ms",
                  output_uint(info->ack_ms));
    if (!line)
        return NULL;
    json_object_set_new(line, "held_max", output_uint(info->held_max));
    json_object_set_new(line, "pending_max", output_uint(info->pending_max));
    if (info->deliveries_max) {
        json_object_set_new(line, "deliveries_max", output_uint(info->deliveries_max));
        json_object_set_new(line, "dead", output_bytes(info->dead, info->dead_bytes));
    }
    return line;
}

static int print_info(const struct asked *asked, const struct conclave_group_info *info)
{
    const uint64_t again = info->ready + info->delayed;
    if (asked->json)
        return output_line(json_of(asked, info));
    printf("%10llu %10llu %10llu %10llu %10llu %8llu %8llu  ",
           (unsigned long long)(info->end > info->next ? info->end - info->next : 0),
           (unsigned long long)info->held, (unsigned long long)again,
           (unsigned long long)info->acked, (unsigned long long)info->dead_letters,
           (unsigned long long)info->lost, (unsigned long long)info->members);
    text_escape(stdout, info->name, info->name_bytes);
    putchar('\n');
    return 0;
}

static void print_head(const struct asked *asked)
{
    if (!asked->json && isatty(STDOUT_FILENO))
        printf("%10s %10s %10s %10s %10s %8s %8s  group\n", "waiting", "held", "again", "acked",
               "dead", "lost", "members");
}

static int print_listed(void *arg, const struct conclave_group_info *info)
{
    struct asked *asked = arg;
    asked->exit_code = print_info(asked, info);
    return asked->exit_code || output_failed();
}

static int print_pending(void *arg, const struct conclave_group_pending *pending)
{
    struct asked *asked = arg;
    if (!asked->json)
        printf("%12llu %10llu %10llums %10llu\n", (unsigned long long)pending->sequence,
               (unsigned long long)pending->deliveries, (unsigned long long)pending->left_ms,
               (unsigned long long)pending->lease);
    else
        asked->exit_code = output_line(json_pack(
            "{s:o, s:o, s:o, s:o*}", "sequence", output_uint(pending->sequence), "deliveries",
            output_uint(pending->deliveries), "left_ms", output_uint(pending->left_ms), "lease",
            pending->lease ? output_uint(pending->lease) : NULL));
    return asked->exit_code || output_failed();
}

static int missing(const struct asked *asked)
{
    if (!asked->group)
        return output_error(asked->json, CONCLAVE_NOT_FOUND, NULL,
                            "'conclave topic create' makes one", "no topic '%s'", asked->topic);
    return output_error(asked->json, CONCLAVE_NOT_FOUND, NULL, "'conclave group create' makes one",
                        "no group '%s' on a topic '%s'", asked->group, asked->topic);
}

/* The exit code of what a list or query came to. */
static int ended(const struct asked *asked, int code)
{
    if (code == CONCLAVE_NOT_FOUND)
        return missing(asked);
    return code == CONCLAVE_OK ? asked->exit_code
                               : connect_read_error(asked->args, asked->client, code);
}

/* --- The commands ------------------------------------------------------------------------------
 */

static int list(struct asked *asked)
{
    print_head(asked);
    return ended(asked, conclave_group_list(asked->client, asked->topic, strlen(asked->topic), 0,
                                            print_listed, asked));
}

static int info(struct asked *asked)
{
    struct conclave_group_info found;
    int code = conclave_group_info(asked->client, asked->topic, strlen(asked->topic), asked->group,
                                   strlen(asked->group), 0, &found);
    if (code != CONCLAVE_OK)
        return ended(asked, code);
    print_head(asked);
    return print_info(asked, &found);
}

static int pending(struct asked *asked)
{
    if (!asked->json && isatty(STDOUT_FILENO))
        printf("%12s %10s %12s %10s\n", "sequence", "delivered", "left", "lease");
    return ended(asked, conclave_group_list_pending(asked->client, asked->topic,
                                                    strlen(asked->topic), asked->group,
                                                    strlen(asked->group), 0, print_pending, asked));
}

static int number_flag(const struct asked *asked, const char *name, uint64_t max, uint64_t *ret)
{
    const char *text = args_value(asked->args, name);
    if (!text || (text_uint_parse(text, max, ret) && *ret > 0))
        return 0;
    return output_error(asked->json, CONCLAVE_INVALID, NULL, NULL,
                        "--%s: '%.40s' is not a number from 1 to %llu", name, text,
                        (unsigned long long)max);
}

static int read_settings(const struct asked *asked, struct conclave_group_settings *settings)
{
    const char *ack = args_value(asked->args, "ack-time"), *dead = args_value(asked->args, "dead");
    conclave_group_settings_init(settings);
    if (!text_long_duration_parse(ack, &settings->ack_ms) || settings->ack_ms == 0)
        return output_error(asked->json, CONCLAVE_INVALID, NULL,
                            "write a number with its unit: 30s, 5m",
                            "--ack-time: '%.40s' is not a duration", ack);
    int exit_code = number_flag(asked, "held-max", CONCLAVE_GROUP_HELD_MAX, &settings->held_max);
    if (exit_code == 0)
        exit_code =
            number_flag(asked, "pending-max", CONCLAVE_GROUP_PENDING_MAX, &settings->pending_max);
    if (exit_code == 0)
        exit_code = number_flag(asked, "deliveries", CONCLAVE_GROUP_DELIVERIES_MAX,
                                &settings->deliveries_max);
    if (exit_code == 0 && (settings->deliveries_max > 0) != (dead != NULL))
        exit_code = output_error(asked->json, CONCLAVE_INVALID, NULL,
                                 "for example --deliveries 5 --dead jobs.dead",
                                 "--deliveries and --dead belong together");
    settings->dead = dead;
    settings->dead_bytes = dead ? strlen(dead) : 0;
    return exit_code;
}

static int create(struct asked *asked)
{
    struct conclave_group_settings settings;
    const char *where = args_value(asked->args, "from");
    enum conclave_from from;
    uint64_t position = 0, id = 0;
    int exit_code = read_settings(asked, &settings);
    if (exit_code == 0 && !message_from_parse(where, &from, &position))
        exit_code =
            output_error(asked->json, CONCLAVE_INVALID, NULL, "first, last, new, a sequence or -1h",
                         "--from: '%.40s' is no place in a topic", where);
    if (exit_code != 0)
        return exit_code;
    int code =
        conclave_group_create(asked->client, asked->topic, strlen(asked->topic), asked->group,
                              strlen(asked->group), &settings, from, position, 0, &id);
    if (code == CONCLAVE_EXISTS)
        return output_error(asked->json, code, NULL, "'conclave group info' shows them",
                            "the group '%s' exists already, with other settings", asked->group);
    if (code == CONCLAVE_NOT_FOUND)
        return output_error(asked->json, code, NULL, "'conclave topic create' makes one",
                            settings.dead ? "no topic '%s', or none '%s' for --dead"
                                          : "no topic '%s'%.0s",
                            asked->topic, settings.dead ? (const char *)settings.dead : "");
    if (code != CONCLAVE_OK)
        return connect_error(asked->args, asked->client, code);
    if (!asked->json)
        return 0;
    return output_line(json_pack(
        "{s:o, s:o, s:o}", "topic", output_bytes(asked->topic, strlen(asked->topic)), "group",
        output_bytes(asked->group, strlen(asked->group)), "id", output_uint(id)));
}

/* Messages stay; where the group is, goes only after a yes. */
static int confirm(const struct asked *asked)
{
    char answer[16] = "";
    if (args_on(asked->args, "yes"))
        return 0;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return output_error(asked->json, CONCLAVE_INVALID, NULL, "add --yes",
                            "deleting the group '%s' needs a confirmation", asked->group);
    fprintf(stderr, "Delete the group '%s', and what it knows to be done? [y/N] ", asked->group);
    if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return 0;
    return output_error(asked->json, CONCLAVE_INVALID, NULL, NULL, "nothing was deleted");
}

static int delete (struct asked *asked)
{
    bool deleted = false;
    int exit_code = confirm(asked);
    if (exit_code != 0)
        return exit_code;
    int code = conclave_group_delete(asked->client, asked->topic, strlen(asked->topic),
                                     asked->group, strlen(asked->group), 0, &deleted);
    if (code != CONCLAVE_OK)
        return connect_error(asked->args, asked->client, code);
    if (!deleted)
        return missing(asked);
    if (!asked->json)
        return 0;
    return output_line(
        json_pack("{s:o, s:o, s:b}", "topic", output_bytes(asked->topic, strlen(asked->topic)),
                  "group", output_bytes(asked->group, strlen(asked->group)), "deleted", true));
}

/* --- The command line --------------------------------------------------------------------------
 */

static int check_name(bool json, const char *what, const char *name)
{
    size_t bytes = strlen(name);
    if (bytes == 0)
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "a %s's name cannot be empty",
                            what);
    if (bytes > CONCLAVE_GROUP_BYTES_MAX)
        return output_error(json, CONCLAVE_TOO_LARGE, NULL, NULL,
                            "the %s's name has %zu bytes; the limit is %d", what, bytes,
                            CONCLAVE_GROUP_BYTES_MAX);
    return 0;
}

int cmd_group_run(const struct args *args)
{
    static const struct {
        const char *name;
        int (*run)(struct asked *);
        bool group; /* it takes the name of one */
    } actions[] = {{"create", create, true},
                   {"delete", delete, true},
                   {"info", info, true},
                   {"ls", list, false},
                   {"pending", pending, true}};
    enum { ACTIONS = sizeof actions / sizeof actions[0] };
    struct asked asked = {.args = args, .json = args_on(args, "json")};
    size_t i = 0;
    while (i < ACTIONS && strcmp(args->operands[0], actions[i].name) != 0)
        i++;
    if (i == ACTIONS)
        return output_error(asked.json, CONCLAVE_INVALID, NULL,
                            "it is create, delete, info, ls or pending",
                            "'group %.40s' is not a command", args->operands[0]);
    if (args->operand_count != (actions[i].group ? 3 : 2))
        return output_error(asked.json, CONCLAVE_INVALID, NULL, NULL, "'group %s' needs %s",
                            args->operands[0],
                            actions[i].group ? "the names of a topic and a group"
                                             : "the name of a topic, and nothing else");
    asked.topic = args->operands[1];
    asked.group = actions[i].group ? args->operands[2] : NULL;
    int exit_code = check_name(asked.json, "topic", asked.topic);
    if (exit_code == 0 && asked.group)
        exit_code = check_name(asked.json, "group", asked.group);
    if (exit_code == 0)
        exit_code = connect_open(args, NULL, &asked.client);
    if (exit_code == 0)
        exit_code = actions[i].run(&asked);
    conclave_client_destroy(asked.client);
    return exit_code;
}
