#include "cli/txn_json.h"

#include "cli/text.h"
#include "cli/txn_words.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that were made while it was read. */
struct made {
    struct made *next;
    char *data;
};

struct txn_json {
    struct txn_build *build;
    json_t *root;
    struct made *made;
};

static bool keep(struct txn_json *json, char *data)
{
    struct made *made = data ? malloc(sizeof *made) : NULL;
    if (!made) {
        free(data);
        (void)txn_build_refuse(json->build, "out of memory");
        return false;
    }
    *made = (struct made){json->made, data};
    json->made = made;
    return true;
}

void txn_json_destroy(struct txn_json *json)
{
    if (!json)
        return;
    for (struct made *made = json->made; made;) {
        struct made *next = made->next;
        free(made->data);
        free(made);
        made = next;
    }
    json_decref(json->root);
    free(json);
}

/* --- Values ----------------------------------------------------------------------------------- */

static bool base64_take(struct txn_json *json, const char *field, const json_t *text,
                        struct txn_bytes *ret)
{
    size_t bytes;
    char *data = text_base64_decode(json_string_value(text), json_string_length(text), &bytes);
    if (!data)
        return txn_build_refuse(json->build, "the b64 of '%s' is not base64", field);
    *ret = (struct txn_bytes){data, bytes};
    return keep(json, data);
}

/* A field of any bytes, which has to be there. */
static bool bytes_field(struct txn_json *json, const json_t *object, const char *field,
                        struct txn_bytes *ret)
{
    const json_t *value = json_object_get(object, field);
    if (!value)
        return txn_build_refuse(json->build, "'%s' is missing", field);
    if (json_is_string(value)) {
        *ret = (struct txn_bytes){json_string_value(value), json_string_length(value)};
        return true;
    }
    const json_t *encoded = json_object_get(value, "b64");
    if (!json_is_string(encoded) || json_object_size(value) != 1)
        return txn_build_refuse(json->build,
                                "'%s' has to be a string, or {\"b64\": \"...\"} for bytes that are "
                                "no text",
                                field);
    return base64_take(json, field, encoded, ret);
}

/* A field that is a number; *ret stays as it is where it is left out. */
static bool number_field(struct txn_json *json, const json_t *object, const char *field,
                         uint64_t least, uint64_t *ret)
{
    const json_t *value = json_object_get(object, field);
    if (!value)
        return true;
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < (json_int_t)least)
        return txn_build_refuse(json->build, "'%s' has to be a whole number from %llu on", field,
                                (unsigned long long)least);
    *ret = (uint64_t)number;
    return true;
}

/* A name of ours: text without zero bytes. NULL, and refused, if it is none. */
static const char *word_field(struct txn_json *json, const json_t *object, const char *field)
{
    const json_t *value = json_object_get(object, field);
    const char *text = json_string_value(value);
    if (text && strlen(text) == json_string_length(value))
        return text;
    txn_build_refuse(json->build, value ? "'%s' has to be a word" : "'%s' is missing", field);
    return NULL;
}

/* Refuses fields that would be ignored. `fields` ends with NULL. */
static bool fields_known(struct txn_json *json, json_t *object, const char *const *fields)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        const char *const *field = fields;
        while (*field && strcmp(*field, name) != 0)
            field++;
        if (!*field)
            return txn_refuse_word(json->build, "field", name, fields);
    }
    return true;
}

/* --- Compares --------------------------------------------------------------------------------- */

/* What it is compared with, and how. */
static bool operand_fields(struct txn_json *json, const json_t *object, struct txn_compare *compare)
{
    if (json_object_get(object, "op")) {
        const char *text = word_field(json, object, "op");
        const char *rest = text ? txn_how_take(text, &compare->how) : NULL;
        if (!rest || *rest)
            return txn_build_refuse(json->build, "'op' has to be one of = != < >");
    }
    if (compare->of_value)
        return bytes_field(json, object, "to", &compare->value);
    if (!json_object_get(object, "to"))
        return txn_build_refuse(json->build, "'to' is missing");
    return number_field(json, object, "to", 0, &compare->number);
}

static bool compare_object(struct txn_json *json, json_t *object)
{
    static const char *const of_key[] = {"compare", "key", "op", "to", NULL};
    static const char *const of_topic[] = {"compare", "topic", "op", "to", NULL};
    static const char *const key_exists[] = {"compare", "key", NULL};
    static const char *const topic_exists[] = {"compare", "topic", NULL};
    struct txn_compare compare = {0}, operand = {.how = CONCLAVE_TXN_EQUAL};
    const char *name = word_field(json, object, "compare");
    if (!name)
        return false;
    bool exists = txn_exists_find(name, strlen(name), &compare);
    operand.of_value = strcmp(name, "value") == 0;
    bool known = operand.of_value || txn_what_find(name, strlen(name), &operand.what);
    if (!known && !exists)
        return txn_refuse_word(json->build, "compare", name, txn_compare_names);
    bool compared = known && (!exists || json_object_get(object, "to"));
    if (compared)
        compare = operand;
    bool topic = !compare.of_value &&
                 (compare.what == CONCLAVE_TXN_SEQUENCE || compare.what == CONCLAVE_TXN_TOPIC);
    const char *const *fields =
        compared ? (topic ? of_topic : of_key) : (topic ? topic_exists : key_exists);
    return fields_known(json, object, fields) &&
           bytes_field(json, object, topic ? "topic" : "key", &compare.name) &&
           (!compared || operand_fields(json, object, &compare)) &&
           txn_build_compare(json->build, &compare);
}

/* --- Steps ------------------------------------------------------------------------------------ */

static bool ttl_field(struct txn_json *json, const json_t *object, uint64_t *ret)
{
    if (!json_object_get(object, "ttl"))
        return true;
    const char *text = word_field(json, object, "ttl");
    if (!text || !text_long_duration_parse(text, ret))
        return txn_build_refuse(json->build, "'ttl' has to be a duration, as \"30s\" is");
    return !text_ttl_fault(*ret) ||
           txn_build_refuse(json->build, "'ttl': %s", text_ttl_fault(*ret));
}

static bool step_object(struct txn_json *json, enum conclave_txn_list list, json_t *object)
{
    static const char *const fields[TXN_VERBS][6] = {
        [TXN_PUT] = {"do", "key", "value", "ttl", "lease"},
        [TXN_GET] = {"do", "key"},
        [TXN_DEL] = {"do", "key"},
        [TXN_DEL_PREFIX] = {"do", "prefix"},
        [TXN_LS] = {"do", "prefix", "limit"},
        [TXN_PUB] = {"do", "topic", "data", "id"}};
    struct txn_step step = {0};
    const char *verb = word_field(json, object, "do");
    if (!verb)
        return false;
    while (txn_verbs[step.verb] && strcmp(verb, txn_verbs[step.verb]) != 0)
        step.verb++;
    if (step.verb == TXN_VERBS)
        return txn_refuse_word(json->build, "step", verb, txn_verbs);
    const char *value = step.verb == TXN_PUT ? "value" : step.verb == TXN_PUB ? "data" : NULL;
    return fields_known(json, object, fields[step.verb]) &&
           bytes_field(json, object, fields[step.verb][1], &step.name) &&
           (!value || bytes_field(json, object, value, &step.value)) &&
           ttl_field(json, object, &step.ttl_ms) &&
           number_field(json, object, "lease", 1, &step.lease) &&
           number_field(json, object, "limit", 1, &step.limit) &&
           (!json_object_get(object, "id") || bytes_field(json, object, "id", &step.id)) &&
           txn_build_step(json->build, list, &step);
}

/* --- All of it -------------------------------------------------------------------------------- */

static bool text_element(struct txn_json *json, int list, const json_t *element)
{
    const char *text = json_string_value(element);
    if (strlen(text) != json_string_length(element))
        return txn_build_refuse(json->build, "a zero byte: write it as an object, or as \\x00 in "
                                             "double quotes");
    if (list < 0)
        return txn_compare_parse(json->build, text);
    char *copy = strdup(text);
    return keep(json, copy) && txn_step_parse(json->build, (enum conclave_txn_list)list, copy);
}

/* `list`: of steps; below 0: of compares. */
static bool elements(struct txn_json *json, const char *name, int list)
{
    const json_t *array = json_object_get(json->root, name);
    if (array && !json_is_array(array))
        return txn_build_refuse(json->build, "\"%s\" has to be a list", name);
    for (size_t i = 0; i < json_array_size(array); i++) {
        json_t *element = json_array_get(array, i);
        bool taken = false;
        if (json_is_string(element))
            taken = text_element(json, list, element);
        else if (!json_is_object(element))
            txn_build_refuse(json->build, "it has to be a string or an object");
        else if (list < 0)
            taken = compare_object(json, element);
        else
            taken = step_object(json, (enum conclave_txn_list)list, element);
        if (taken)
            continue;
        char fault[TXN_FAULT_BYTES];
        snprintf(fault, sizeof fault, "%s", txn_build_fault(json->build));
        return txn_build_refuse(json->build, "%s[%zu]: %s", name, i, fault);
    }
    return true;
}

bool txn_json_read(struct txn_build *build, const char *text, size_t bytes, struct txn_json **ret)
{
    static const char *const fields[] = {"if", "then", "else", NULL};
    json_error_t error;
    struct txn_json *json = calloc(1, sizeof *json);
    *ret = json;
    if (!json)
        return txn_build_refuse(build, "out of memory");
    json->build = build;
    json->root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!json->root)
        return txn_build_refuse(build, "line %d, column %d: %s", error.line, error.column,
                                error.text);
    if (!json_is_object(json->root))
        return txn_build_refuse(build, "it has to be an object of \"if\", \"then\" and \"else\"");
    return fields_known(json, json->root, fields) && elements(json, "if", -1) &&
           elements(json, "then", CONCLAVE_TXN_THEN) && elements(json, "else", CONCLAVE_TXN_ELSE);
}
