/* cli/cmd_kv.c - put, get, del. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/value.h"
#include "conclave_kv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct args_flag cmd_put_flags[] = {
    {"if-absent", 0, NULL, NULL, false, "only if the key does not exist"},
    {"if-rev", 0, "N", NULL, false, "only if the key's last change has revision N (0: absent)"},
    {"ttl", 0, "DURATION", NULL, false, "the key is gone after that time, unless it is put again"},
    {"lease", 0, "N", NULL, false, "the key ends with this lease (see lease grant)"},
    {"literal", 0, NULL, NULL, false, "take VALUE as it stands, also '-' and '@…'"},
    {0}};

const struct args_flag cmd_get_flags[] = {
    {"quiet", 'q', NULL, NULL, false, "say nothing about a missing key, only exit with 1"},
    {"lease", 0, NULL, NULL, false,
     "a leader with a lease may answer by itself, trusting clocks (see serve --leases)"},
    {"stale", 0, "DURATION", NULL, false,
     "take an answer that is at most so old, from any node; its age goes to standard error"},
    {"rev", 0, "N", NULL, false, "as it was at revision N of the store"},
    {0}};

const struct args_flag cmd_del_flags[] = {
    {"if-rev", 0, "N", NULL, false, "only if the key's last change has revision N"},
    {"prefix", 0, "P", NULL, false, "delete every key that begins with P, in one step"},
    {"prev", 0, NULL, NULL, false, "print the value that was deleted"},
    {"quiet", 'q', NULL, NULL, false, "say nothing about a missing key, only exit with 1"},
    {0}};

/* A flag that is a number; *ret stays as it is if it is not given. */
static int number_flag(const struct args *args, const char *name, const char *what, uint64_t *ret)
{
    const char *text = args_value(args, name);
    uint64_t number = 0;
    if (!text)
        return 0;
    bool zero = strcmp(name, "if-rev") == 0; /* stands for a key that is not there */
    if (text_uint_parse(text, INT64_MAX, &number) && (number > 0 || zero)) {
        *ret = number;
        return 0;
    }
    return output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL, NULL,
                        "--%s: '%.40s' is not a %s", name, text, what);
}

static int revision_flag(const struct args *args, uint64_t *ret)
{
    return number_flag(args, "if-rev", "revision", ret);
}

/* What a put is to do beside storing the value. */
static int put_options(const struct args *args, struct conclave_kv_put_options *options)
{
    bool json = args_on(args, "json");
    const char *ttl = args_value(args, "ttl");
    conclave_kv_put_options_init(options);
    int exit_code = revision_flag(args, &options->if_revision);
    if (exit_code == 0 && args_on(args, "if-absent") && options->if_revision != CONCLAVE_KV_ANY)
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, NULL,
                                 "--if-absent and --if-rev exclude each other");
    if (exit_code == 0)
        exit_code = number_flag(args, "lease", "lease", &options->lease);
    if (exit_code == 0 && ttl && !text_long_duration_parse(ttl, &options->ttl_ms))
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, "write a number with its unit: 30s",
                                 "--ttl: '%.40s' is not a duration", ttl);
    if (exit_code == 0 && ttl)
        exit_code = text_ttl_fault(options->ttl_ms)
                        ? output_error(json, CONCLAVE_INVALID, NULL, NULL, "--ttl: %s",
                                       text_ttl_fault(options->ttl_ms))
                        : 0;
    if (exit_code == 0 && ttl && args_value(args, "lease"))
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, "leave one of them out",
                                 "--ttl and --lease are two ways for a key to end");
    if (exit_code == 0 && args_on(args, "if-absent"))
        options->if_revision = CONCLAVE_KV_ABSENT;
    return exit_code;
}

/* Says which condition did not hold. */
static int compare_failed(bool json, const char *key, uint64_t wanted, uint64_t found)
{
    int code = CONCLAVE_COMPARE_FAILED;
    if (wanted == CONCLAVE_KV_ABSENT)
        return output_error(json, code, NULL, NULL, "'%s' exists already, at revision %llu", key,
                            (unsigned long long)found);
    if (found == 0)
        return output_error(json, code, NULL, NULL, "'%s' does not exist", key);
    return output_error(json, code, NULL, NULL, "'%s' is at revision %llu, not %llu", key,
                        (unsigned long long)found, (unsigned long long)wanted);
}

int cmd_put_run(const struct args *args)
{
    bool json = args_on(args, "json");
    const char *key = args->operands[0];
    struct conclave_kv_put_options options;
    struct value value = {0};
    struct conclave_client *client = NULL;
    int exit_code = value_check_name(json, "key", key, CONCLAVE_KEY_BYTES_MAX);
    if (exit_code == 0)
        exit_code = put_options(args, &options);
    if (exit_code == 0)
        exit_code = value_take(args, args->operands[1], &value);
    if (exit_code == 0)
        exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0) {
        struct conclave_kv_result result = {0};
        int code = conclave_kv_put_with(client, key, strlen(key), value.data, value.bytes, &options,
                                        0, &result);
        if (code == CONCLAVE_COMPARE_FAILED)
            exit_code = compare_failed(json, key, options.if_revision, result.mod_revision);
        else if (code != CONCLAVE_OK)
            exit_code = connect_error(args, client, code);
        else if (json)
            exit_code = output_line(json_pack("{s:o, s:o}", "key", output_bytes(key, strlen(key)),
                                              "revision", output_uint(result.revision)));
    }
    conclave_client_destroy(client);
    free(value.owned);
    return exit_code;
}

static int missing(const struct args *args, const char *key)
{
    if (args_on(args, "quiet"))
        return conclave_code_exit(CONCLAVE_NOT_FOUND);
    return output_error(args_on(args, "json"), CONCLAVE_NOT_FOUND, NULL, NULL, "no key '%s'", key);
}

static int print_found(bool json, const struct conclave_kv_item *item, json_t *age)
{
    if (json)
        return output_line(json_pack("{s:o, s:o, s:o, s:o, s:o, s:o*, s:o*}", "key",
                                     output_bytes(item->key, item->key_bytes), "value",
                                     output_bytes(item->value, item->value_bytes),
                                     "create_revision", output_uint(item->create_revision),
                                     "mod_revision", output_uint(item->mod_revision), "version",
                                     output_uint(item->version), "lease",
                                     item->lease ? output_uint(item->lease) : NULL, "age_ms", age));
    if (item->value_bytes > 0)
        fwrite(item->value, 1, item->value_bytes, stdout);
    /* Bytes stay bytes; only a person's next prompt should not stand behind them. */
    const char *value = item->value;
    if (isatty(STDOUT_FILENO) && (item->value_bytes == 0 || value[item->value_bytes - 1] != '\n'))
        putchar('\n');
    return 0;
}

/* By the way of reading that was asked for; max_age_ms NULL: not a stale one; revision 0: now. */
static int get_by(struct conclave_client *client, const struct args *args, const char *key,
                  const uint32_t *max_age_ms, uint64_t revision,
                  struct conclave_kv_found *ret_found)
{
    if (revision)
        return conclave_kv_get_at(client, key, strlen(key), revision, 0, ret_found);
    if (max_age_ms)
        return conclave_kv_get_stale(client, key, strlen(key), *max_age_ms, 0, ret_found);
    if (args_on(args, "lease"))
        return conclave_kv_get_lease(client, key, strlen(key), 0, ret_found);
    return conclave_kv_get(client, key, strlen(key), 0, ret_found);
}

int cmd_get_run(const struct args *args)
{
    bool json = args_on(args, "json");
    const char *key = args->operands[0];
    struct conclave_client *client = NULL;
    const char *stale = args_value(args, "stale");
    uint32_t max_age_ms = 0;
    int exit_code = value_check_name(json, "key", key, CONCLAVE_KEY_BYTES_MAX);
    if (exit_code == 0 && stale && !text_duration_parse(stale, &max_age_ms))
        exit_code =
            output_error(json, CONCLAVE_INVALID, NULL, "write a number with its unit: 500ms, 2s",
                         "--stale: '%.40s' is not a duration", stale);
    uint64_t revision = 0;
    if (exit_code == 0)
        exit_code = number_flag(args, "rev", "revision", &revision);
    if (exit_code == 0 && (stale != NULL) + args_on(args, "lease") + (revision > 0) > 1)
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, "leave all but one out",
                                 "--lease, --stale and --rev are ways to read");
    if (exit_code == 0)
        exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0) {
        struct conclave_kv_found found = {0};
        int code = get_by(client, args, key, stale ? &max_age_ms : NULL, revision, &found);
        if (stale && !json && (code == CONCLAVE_OK || code == CONCLAVE_NOT_FOUND))
            fprintf(stderr, "as of %llu ms ago\n", (unsigned long long)found.op.age_ms);
        if (code == CONCLAVE_OK) {
            json_t *age = json && stale ? output_uint(found.op.age_ms) : NULL;
            exit_code = print_found(json, &found.item, age);
            conclave_kv_found_release(&found);
        } else if (code == CONCLAVE_NOT_FOUND) {
            exit_code = missing(args, key);
        } else {
            exit_code = connect_past_error(args, client, code, revision);
        }
    }
    conclave_client_destroy(client);
    return exit_code;
}

/* --prev: prints what was there, in the form of get. */
static int take_key(const struct args *args, struct conclave_client *client, const char *key,
                    uint64_t wanted)
{
    bool json = args_on(args, "json");
    struct conclave_kv_found found = {0};
    int code = conclave_kv_take(client, key, strlen(key), wanted, 0, &found);
    if (code == CONCLAVE_NOT_FOUND)
        return missing(args, key);
    if (code == CONCLAVE_COMPARE_FAILED)
        return output_error(json, code, NULL, NULL, "'%s' is not at revision %llu", key,
                            (unsigned long long)wanted);
    if (code != CONCLAVE_OK)
        return connect_error(args, client, code);
    int exit_code = print_found(json, &found.item, NULL);
    conclave_kv_found_release(&found);
    return exit_code;
}

static int delete_key(const struct args *args, struct conclave_client *client, const char *key,
                      uint64_t wanted)
{
    if (args_on(args, "prev"))
        return take_key(args, client, key, wanted);
    bool json = args_on(args, "json");
    struct conclave_kv_result result = {0};
    int code = conclave_kv_delete(client, key, strlen(key), wanted, 0, &result);
    if (code == CONCLAVE_COMPARE_FAILED)
        return compare_failed(json, key, wanted, result.mod_revision);
    if (code != CONCLAVE_OK)
        return connect_error(args, client, code);
    if (result.deleted == 0)
        return missing(args, key);
    if (!json)
        return 0;
    return output_line(json_pack("{s:o, s:o, s:o}", "key", output_bytes(key, strlen(key)),
                                 "deleted", output_uint(result.deleted), "revision",
                                 output_uint(result.revision)));
}

static int delete_prefix(const struct args *args, struct conclave_client *client,
                         const char *prefix)
{
    struct conclave_kv_result result = {0};
    int code = conclave_kv_delete_prefix(client, prefix, strlen(prefix), 0, &result);
    if (code != CONCLAVE_OK)
        return connect_error(args, client, code);
    if (args_on(args, "json"))
        return output_line(
            json_pack("{s:o, s:o, s:o}", "prefix", output_bytes(prefix, strlen(prefix)), "deleted",
                      output_uint(result.deleted), "revision", output_uint(result.revision)));
    printf("%llu\n", (unsigned long long)result.deleted);
    return 0;
}

/* Many keys go only after a yes: by flag, or by a person at a terminal. Returns an exit code or 0.
 */
static int confirm(const struct args *args, const char *prefix)
{
    bool json = args_on(args, "json");
    if (args_on(args, "yes"))
        return 0;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return output_error(json, CONCLAVE_INVALID, NULL, "add --yes",
                            *prefix
                                ? "deleting every key that begins with '%s' needs a confirmation"
                                : "deleting every key%s needs a confirmation",
                            prefix);
    if (*prefix)
        fprintf(stderr, "Delete every key that begins with '%s'? [y/N] ", prefix);
    else
        fprintf(stderr, "Delete every key? [y/N] ");
    char answer[16] = "";
    if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return 0;
    return output_error(json, CONCLAVE_INVALID, NULL, NULL, "nothing was deleted");
}

int cmd_del_run(const struct args *args)
{
    bool json = args_on(args, "json");
    const char *prefix = args_value(args, "prefix");
    const char *key = args->operand_count > 0 ? args->operands[0] : NULL;
    uint64_t wanted = CONCLAVE_KV_ANY;
    if (!key == !prefix)
        return output_error(json, CONCLAVE_INVALID, NULL,
                            "conclave del KEY, or conclave del --prefix P --yes",
                            "'del' needs a key or a prefix%s", key ? ", not both" : "");
    int exit_code = revision_flag(args, &wanted);
    if (exit_code == 0 && wanted == CONCLAVE_KV_ABSENT)
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, NULL,
                                 "--if-rev: 0 is a key that does not exist: nothing to delete");
    if (exit_code == 0 && key)
        exit_code = value_check_name(json, "key", key, CONCLAVE_KEY_BYTES_MAX);
    if (exit_code == 0 && prefix && wanted != CONCLAVE_KV_ANY)
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, NULL,
                                 "--if-rev belongs to one key, not to a prefix");
    if (exit_code == 0 && prefix && args_on(args, "prev"))
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, NULL,
                                 "--prev belongs to one key, not to a prefix");
    if (exit_code == 0 && prefix && *prefix)
        exit_code = value_check_name(json, "key", prefix, CONCLAVE_KEY_BYTES_MAX);
    if (exit_code == 0 && prefix)
        exit_code = confirm(args, prefix);
    struct conclave_client *client = NULL;
    if (exit_code == 0)
        exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0)
        exit_code = key ? delete_key(args, client, key, wanted) //
                        : delete_prefix(args, client, prefix);
    conclave_client_destroy(client);
    return exit_code;
}
