/* cli/cmd_txn.c - txn: compares and steps from flags, what each step did. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/txn_words.h"

#include <stdlib.h>
#include <string.h>

const struct args_flag cmd_txn_flags[] = {
    {"if", 0, "COMPARE", NULL, false, "rev(K)=N and so on; all of them have to hold"},
    {"then", 0, "STEP", NULL, false, "put K V and so on, if they do"},
    {"else", 0, "STEP", NULL, false, "the same, if one does not"},
    {0}};

/* Adds what one flag says. Returns an exit code or 0. */
static int flag_take(const struct args *args, const struct args_given *given,
                     struct conclave_txn *txn)
{
    bool json = args_on(args, "json");
    if (strcmp(given->name, "if") == 0) {
        if (txn_compare_parse(txn, given->value))
            return 0;
        return output_error(json, CONCLAVE_INVALID, NULL,
                            "rev(K)=N, version(K)>N, value(K)=V, exists(K), absent(K)",
                            "--if: '%.80s' is no compare", given->value);
    }
    bool then = strcmp(given->name, "then") == 0;
    if (!then && strcmp(given->name, "else") != 0)
        return 0;
    char *text = strdup(given->value);
    if (!text)
        return output_error(json, CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
    bool taken = txn_step_parse(txn, then ? CONCLAVE_TXN_THEN : CONCLAVE_TXN_ELSE, text);
    free(text);
    if (taken)
        return 0;
    return output_error(json, CONCLAVE_INVALID, NULL,
                        "put K V [ttl=30s], get K, del K, del-prefix P, ls P, pub T M [id=I]",
                        "--%s: '%.80s' is no step", given->name, given->value);
}

/* --- What is printed ---------------------------------------------------------------------------
 */

static json_t *item_json(const struct conclave_kv_item *item)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "key", output_bytes(item->key, item->key_bytes),
                     "value", output_bytes(item->value, item->value_bytes), "create_revision",
                     output_uint(item->create_revision), "mod_revision",
                     output_uint(item->mod_revision), "version", output_uint(item->version));
}

static int range_json(void *arg, const struct conclave_kv_item *item)
{
    json_t *items = arg;
    return json_array_append_new(items, item_json(item));
}

/* NULL without memory. */
static json_t *step_json(const struct conclave_txn_step *step)
{
    struct conclave_kv_page page;
    json_t *items = NULL;
    if (step->code == CONCLAVE_TOO_LARGE)
        return json_pack("{s:s}", "error", conclave_code_name(step->code));
    switch (step->kind) {
    case CONCLAVE_TXN_KIND_PUT:
        return json_pack("{s:o}", "revision", output_uint(step->result.revision));
    case CONCLAVE_TXN_KIND_DELETE:
        return json_pack("{s:o}", "deleted", output_uint(step->result.deleted));
    case CONCLAVE_TXN_KIND_GET:
        return json_pack("{s:o}", "item",
                         step->code == CONCLAVE_OK ? item_json(&step->item) : json_null());
    case CONCLAVE_TXN_KIND_PUBLISH:
        return json_pack("{s:o, s:b}", "sequence", output_uint(step->sequence), "duplicate",
                         step->duplicate);
    case CONCLAVE_TXN_KIND_RANGE:
        items = json_array();
        if (items && conclave_kv_decode_range(&step->answer, range_json, items, &page))
            json_array_clear(items);
        return json_pack("{s:o}", "items", items);
    }
    return NULL;
}

static int print_json(const struct conclave_txn_result *result)
{
    json_t *steps = json_array();
    for (uint32_t i = 0; steps && i < result->count; i++)
        if (json_array_append_new(steps, step_json(&result->steps[i])))
            break;
    return output_line(json_pack("{s:b, s:o, s:o}", "held", result->held, "revision",
                                 output_uint(result->revision), "steps", steps));
}

static void print_item(const struct conclave_kv_item *item)
{
    text_escape(stdout, item->key, item->key_bytes);
    putchar(' ');
    text_escape(stdout, item->value, item->value_bytes);
}

static int range_text(void *arg, const struct conclave_kv_item *item)
{
    (void)arg;
    fputs("ls ", stdout);
    print_item(item);
    putchar('\n');
    return output_failed();
}

static void print_step(const struct conclave_txn_step *step)
{
    struct conclave_kv_page page;
    if (step->code == CONCLAVE_TOO_LARGE) {
        puts("too large");
        return;
    }
    switch (step->kind) {
    case CONCLAVE_TXN_KIND_PUT:
        printf("put %llu\n", (unsigned long long)step->result.revision);
        return;
    case CONCLAVE_TXN_KIND_DELETE:
        printf("del %llu\n", (unsigned long long)step->result.deleted);
        return;
    case CONCLAVE_TXN_KIND_GET:
        fputs("get", stdout);
        if (step->code == CONCLAVE_OK) {
            putchar(' ');
            print_item(&step->item);
        }
        putchar('\n');
        return;
    case CONCLAVE_TXN_KIND_PUBLISH:
        printf("pub %llu\n", (unsigned long long)step->sequence);
        return;
    case CONCLAVE_TXN_KIND_RANGE:
        if (conclave_kv_decode_range(&step->answer, range_text, NULL, &page))
            puts("ls");
        return;
    }
}

/* --- The command -------------------------------------------------------------------------------
 */

static int commit(const struct args *args, struct conclave_client *client,
                  const struct conclave_txn *txn)
{
    struct conclave_txn_result result = {0};
    int code = conclave_txn_commit(client, txn, 0, &result);
    if (code != CONCLAVE_OK)
        return connect_error(args, client, code);
    int exit_code = 0;
    if (args_on(args, "json"))
        exit_code = print_json(&result);
    for (uint32_t i = 0; !args_on(args, "json") && i < result.count; i++)
        print_step(&result.steps[i]);
    if (exit_code == 0 && !result.held)
        exit_code = conclave_code_exit(CONCLAVE_COMPARE_FAILED);
    conclave_txn_result_release(&result);
    return exit_code;
}

int cmd_txn_run(const struct args *args)
{
    struct conclave_txn *txn = conclave_txn_create();
    struct conclave_client *client = NULL;
    int exit_code = 0;
    for (size_t i = 0; i < args->given_count && exit_code == 0; i++)
        exit_code = flag_take(args, &args->given[i], txn);
    if (exit_code == 0 && !args_value(args, "then") && !args_value(args, "else"))
        exit_code = output_error(args_on(args, "json"), CONCLAVE_INVALID, NULL,
                                 "conclave txn --if 'absent(a)' --then 'put a x'",
                                 "a transaction needs a step: --then or --else");
    if (exit_code == 0)
        exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0)
        exit_code = commit(args, client, txn);
    conclave_client_destroy(client);
    conclave_txn_destroy(txn);
    return exit_code;
}
