/* cli/cmd_txn.c - txn: compares and steps from flags or JSON, what each step did. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/txn_json.h"
#include "cli/txn_words.h"
#include "cli/value.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_BYTES_MAX = 8 << 20 }; /* of JSON: base64 and escapes of what a command may have */

const struct args_flag cmd_txn_flags[] = {
    {"if", 0, "COMPARE", NULL, false, "rev(K)=N and so on; all of them have to hold"},
    {"then", 0, "STEP", NULL, false, "put K V and so on, if they do"},
    {"else", 0, "STEP", NULL, false, "the same, if one does not"},
    {0}};

/* What the command line or a text says; the build borrows from the rest. */
struct asked {
    struct txn_build *build;
    struct txn_json *json;
    struct value text;
    char **steps; /* copies of the flags' words */
    size_t step_count;
};

static int no_memory(bool json)
{
    return output_error(json, CONCLAVE_NO_MEMORY, NULL, NULL, "out of memory");
}

static int fault_code(const struct txn_build *build)
{
    return txn_build_too_large(build) ? CONCLAVE_TOO_LARGE : CONCLAVE_INVALID;
}

/* Adds what one flag says. Returns an exit code or 0. */
static int flag_take(const struct args *args, const struct args_given *given, struct asked *asked)
{
    static const char compares[] = "rev(K)=N, create, version, lease, value(K)=V, also != < >; "
                                   "exists(K), absent(K), seq(T)=N, topic(T), no-topic(T)";
    static const char steps[] = "put K V [ttl=30s|lease=N], get K, del K, del-prefix P, ls P, "
                                "pub T M [id=I]";
    bool json = args_on(args, "json"), compare = strcmp(given->name, "if") == 0, taken;
    if (compare) {
        taken = txn_compare_parse(asked->build, given->value);
    } else {
        bool then = strcmp(given->name, "then") == 0;
        if (!then && strcmp(given->name, "else") != 0)
            return 0;
        char *text = strdup(given->value);
        if (!text)
            return no_memory(json);
        asked->steps[asked->step_count++] = text;
        taken = txn_step_parse(asked->build, then ? CONCLAVE_TXN_THEN : CONCLAVE_TXN_ELSE, text);
    }
    if (taken)
        return 0;
    return output_error(json, fault_code(asked->build), NULL, compare ? compares : steps,
                        "--%s '%.80s': %s", given->name, given->value,
                        txn_build_fault(asked->build));
}

static int take_flags(const struct args *args, struct asked *asked)
{
    int exit_code = 0;
    asked->steps = calloc(args->given_count + 1, sizeof *asked->steps);
    if (!asked->steps)
        return no_memory(args_on(args, "json"));
    for (size_t i = 0; i < args->given_count && exit_code == 0; i++)
        exit_code = flag_take(args, &args->given[i], asked);
    return exit_code;
}

static int take_text(const struct args *args, const char *name, struct asked *asked)
{
    bool json = args_on(args, "json");
    const char *path = name[0] == '@' ? name + 1 : name;
    int exit_code = value_read(json, path, TEXT_BYTES_MAX, &asked->text);
    if (exit_code)
        return exit_code;
    if (asked->text.bytes > TEXT_BYTES_MAX)
        return output_error(json, CONCLAVE_TOO_LARGE, NULL, NULL,
                            "the JSON is larger than the limit of %d bytes", TEXT_BYTES_MAX);
    if (txn_json_read(asked->build, asked->text.data, asked->text.bytes, &asked->json))
        return 0;
    return output_error(json, fault_code(asked->build), NULL,
                        "{\"if\":[\"absent(a)\"],\"then\":[\"put a x\"],\"else\":[\"get a\"]}; "
                        "'conclave txn --help' has the rest",
                        "%s: %s", strcmp(path, "-") == 0 ? "standard input" : path,
                        txn_build_fault(asked->build));
}

static bool is_given(const struct args *args)
{
    return args_value(args, "if") || args_value(args, "then") || args_value(args, "else");
}

/* By flags, or as JSON from where the operand says; from standard input too if that is no terminal
 * and nothing else is said. */
static int take_all(const struct args *args, struct asked *asked)
{
    bool json = args_on(args, "json");
    const char *name = args->operand_count ? args->operands[0] : NULL;
    int exit_code = 0;
    if (!name && !is_given(args) && !isatty(STDIN_FILENO))
        name = "-";
    if (name && strcmp(name, "-") != 0 && name[0] != '@')
        exit_code = output_error(json, CONCLAVE_INVALID, NULL,
                                 "compares and steps are flags: --if, --then, --else",
                                 "'%.80s' is neither - nor @FILE", name);
    else if (name && is_given(args))
        exit_code = output_error(json, CONCLAVE_INVALID, NULL, "leave one of them out",
                                 "a transaction is told by flags or as JSON, not by both");
    else
        exit_code = name ? take_text(args, name, asked) : take_flags(args, asked);
    if (exit_code == 0 && txn_build_count(asked->build, CONCLAVE_TXN_THEN) == 0 &&
        txn_build_count(asked->build, CONCLAVE_TXN_ELSE) == 0)
        exit_code = output_error(json, CONCLAVE_INVALID, NULL,
                                 name ? "{\"if\":[\"absent(a)\"],\"then\":[\"put a x\"]}"
                                      : "conclave txn --if 'absent(a)' --then 'put a x'",
                                 "a transaction needs a step: %s",
                                 name ? "\"then\" or \"else\"" //
                                      : "--then or --else");
    return exit_code;
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

/* What the step was, for who reads the answer without the question. NULL without memory. */
static json_t *step_name(const struct txn_step *asked)
{
    static const char *const fields[TXN_VERBS] = {
        [TXN_PUT] = "key",           [TXN_GET] = "key",   [TXN_DEL] = "key",
        [TXN_DEL_PREFIX] = "prefix", [TXN_LS] = "prefix", [TXN_PUB] = "topic"};
    return json_pack("{s:s, s:o}", "do", txn_verbs[asked->verb], fields[asked->verb],
                     output_bytes(asked->name.data, asked->name.bytes));
}

static json_t *step_answer(const struct conclave_txn_step *step)
{
    struct conclave_kv_page page = {0};
    json_t *items = NULL;
    if (step->code == CONCLAVE_TOO_LARGE)
        return json_pack("{s:s}", "error", conclave_code_name(step->code));
    switch (step->kind) {
    case CONCLAVE_TXN_KIND_PUT:
        return json_pack("{s:o, s:o}", "revision", output_uint(step->result.revision), "previous",
                         output_uint(step->result.mod_revision));
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
        return json_pack("{s:o, s:b}", "items", items, "more", page.next != NULL);
    }
    return NULL;
}

/* NULL without memory. */
static json_t *step_json(const struct txn_step *asked, const struct conclave_txn_step *step)
{
    json_t *name = step_name(asked), *answer = step_answer(step);
    if (name && answer && json_object_update(name, answer) == 0) {
        json_decref(answer);
        return name;
    }
    json_decref(name);
    json_decref(answer);
    return NULL;
}

static int print_json(const struct txn_build *build, const struct conclave_txn_result *result)
{
    enum conclave_txn_list list = result->held ? CONCLAVE_TXN_THEN : CONCLAVE_TXN_ELSE;
    json_t *steps = json_array();
    for (uint32_t i = 0; steps && i < result->count; i++)
        if (json_array_append_new(steps,
                                  step_json(txn_build_at(build, list, i), &result->steps[i])))
            return no_memory(true);
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
                  const struct txn_build *build)
{
    struct conclave_txn_result result = {0};
    int code = conclave_txn_commit(client, txn_build_txn(build), 0, &result);
    if (code == CONCLAVE_NOT_FOUND)
        return output_error(args_on(args, "json"), code, NULL, "'conclave topic ls' lists them",
                            "a topic that a step publishes to does not exist; nothing was changed");
    if (code == CONCLAVE_LEASE_EXPIRED)
        return output_error(args_on(args, "json"), code, NULL, NULL,
                            "a lease that a step names is no more; nothing was changed");
    if (code != CONCLAVE_OK)
        return connect_error(args, client, code);
    int exit_code = 0;
    if (args_on(args, "json"))
        exit_code = print_json(build, &result);
    for (uint32_t i = 0; !args_on(args, "json") && i < result.count; i++)
        print_step(&result.steps[i]);
    if (exit_code == 0 && !result.held)
        exit_code = conclave_code_exit(CONCLAVE_COMPARE_FAILED);
    conclave_txn_result_release(&result);
    return exit_code;
}

int cmd_txn_run(const struct args *args)
{
    struct asked asked = {.build = txn_build_create()};
    struct conclave_client *client = NULL;
    int exit_code = asked.build ? take_all(args, &asked) : no_memory(args_on(args, "json"));
    if (exit_code == 0)
        exit_code = connect_open(args, NULL, &client);
    if (exit_code == 0)
        exit_code = commit(args, client, asked.build);
    conclave_client_destroy(client);
    txn_build_destroy(asked.build);
    txn_json_destroy(asked.json);
    free(asked.text.owned);
    for (size_t i = 0; i < asked.step_count; i++)
        free(asked.steps[i]);
    free(asked.steps);
    return exit_code;
}
