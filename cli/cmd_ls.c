/* cli/cmd_ls.c - ls: keys in the order of their bytes, page by page, whatever their number. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/text.h"
#include "conclave_kv.h"

#include <string.h>

const struct args_flag cmd_ls_flags[] = {
    {"long", 'l', NULL, NULL, false,
     "with revision of the last change, version, size of the value"},
    {"from", 0, "K", NULL, false, "from this key on"},
    {"to", 0, "K", NULL, false, "up to this key, without it"},
    {"limit", 0, "N", NULL, false, "N keys at most"},
    {"rev", 0, "N", NULL, false, "as it was at revision N of the store"},
    {"null", '0', NULL, NULL, false, "end keys with a zero byte and escape nothing"},
    {0}};

struct listing {
    bool json, details, null;
    int exit_code;
};

static int print_item(void *arg, const struct conclave_kv_item *item)
{
    struct listing *listing = arg;
    if (listing->json) {
        json_t *line =
            json_pack("{s:o, s:o, s:o, s:o}", "key", output_bytes(item->key, item->key_bytes),
                      "create_revision", output_uint(item->create_revision), "mod_revision",
                      output_uint(item->mod_revision), "version", output_uint(item->version));
        if (line && listing->details)
            json_object_set_new(line, "size", output_uint(item->value_bytes));
        listing->exit_code = output_line(line);
        return listing->exit_code || output_failed();
    }
    if (listing->details)
        printf("%10llu %6llu %9zu  ", (unsigned long long)item->mod_revision,
               (unsigned long long)item->version, item->value_bytes);
    if (listing->null)
        fwrite(item->key, 1, item->key_bytes, stdout);
    else
        text_escape(stdout, item->key, item->key_bytes);
    putchar(listing->null ? '\0' : '\n');
    return output_failed();
}

static int bound(bool json, const char *name, const char *text, const void **ret, size_t *ret_bytes)
{
    if (!text)
        return 0;
    *ret = text;
    *ret_bytes = strlen(text);
    if (*ret_bytes <= CONCLAVE_KEY_BYTES_MAX)
        return 0;
    return output_error(json, CONCLAVE_TOO_LARGE, NULL, NULL,
                        "%s has %zu bytes; the limit of a key is %d", name, *ret_bytes,
                        CONCLAVE_KEY_BYTES_MAX);
}

static int read_options(const struct args *args, struct conclave_kv_list_options *options)
{
    bool json = args_on(args, "json");
    const char *limit = args_value(args, "limit");
    conclave_kv_list_options_init(options);
    options->keys_only = !args_on(args, "long");
    if (limit && (!text_uint_parse(limit, INT64_MAX, &options->limit) || options->limit == 0))
        return output_error(json, CONCLAVE_INVALID, NULL, NULL,
                            "--limit: '%.40s' is not a number of keys", limit);
    const char *rev = args_value(args, "rev");
    if (rev && (!text_uint_parse(rev, INT64_MAX, &options->revision) || options->revision == 0))
        return output_error(json, CONCLAVE_INVALID, NULL, NULL, "--rev: '%.40s' is not a revision",
                            rev);
    int exit_code = bound(json, "the prefix", args->operand_count > 0 ? args->operands[0] : NULL,
                          &options->prefix, &options->prefix_bytes);
    if (exit_code == 0)
        exit_code =
            bound(json, "--from", args_value(args, "from"), &options->from, &options->from_bytes);
    if (exit_code == 0)
        exit_code = bound(json, "--to", args_value(args, "to"), &options->to, &options->to_bytes);
    return exit_code;
}

int cmd_ls_run(const struct args *args)
{
    struct conclave_kv_list_options options;
    struct conclave_client *client = NULL;
    struct listing listing = {args_on(args, "json"), args_on(args, "long"), args_on(args, "null"),
                              0};
    int exit_code = read_options(args, &options);
    if (exit_code == 0)
        exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0) {
        int code = conclave_kv_list(client, &options, print_item, &listing, NULL);
        exit_code = code == CONCLAVE_OK ? listing.exit_code
                                        : connect_past_error(args, client, code, options.revision);
    }
    conclave_client_destroy(client);
    return exit_code;
}
