#include "cli/txn_words.h"

#include "cli/text.h"

#include <stdio.h>
#include <string.h>

/* --- Words ------------------------------------------------------------------------------------ */

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What a backslash in quotes stands for; *at moves to its last character. */
static char escape_take(const char **at)
{
    const char *text = *at;
    int high = text[1] == 'x' ? digit_of(text[2]) : -1;
    int low = high >= 0 ? digit_of(text[3]) : -1;
    if (low >= 0) {
        *at += 3;
        return (char)(high * 16 + low);
    }
    *at += 1;
    return text[1];
}

/* Ends the word that begins at `from` and writes it without quotes; where the rest begins, or NULL:
 * a quote is not closed. */
static char *word_take(char *from, struct txn_bytes *ret)
{
    char *to = from;
    const char *at = from;
    bool quoted = false;
    for (; *at && (quoted || *at != ' '); at++) {
        if (*at == '"')
            quoted = !quoted;
        else if (quoted && *at == '\\' && at[1])
            *to++ = escape_take(&at);
        else
            *to++ = *at;
    }
    if (quoted)
        return NULL;
    char *rest = from + (at - from) + (*at != '\0');
    *to = '\0';
    *ret = (struct txn_bytes){from, (size_t)(to - from)};
    return rest;
}

int txn_words(char *text, struct txn_bytes words[TXN_WORDS_MAX])
{
    int count = 0;
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        if (count == TXN_WORDS_MAX)
            return TXN_WORDS_MANY;
        text = word_take(text, &words[count++]);
        if (!text)
            return TXN_WORDS_QUOTE;
    }
    return count;
}

/* --- Names ------------------------------------------------------------------------------------ */

const char *const txn_compare_names[] = {"rev",   "create",   "version", "lease",
                                         "value", "exists",   "absent",  "seq",
                                         "topic", "no-topic", NULL};

static bool is_word(const char *name, size_t bytes, const char *word)
{
    return strlen(word) == bytes && memcmp(name, word, bytes) == 0;
}

bool txn_what_find(const char *name, size_t bytes, enum conclave_txn_what *ret)
{
    static const struct {
        const char *name;
        enum conclave_txn_what what;
    } names[] = {{"rev", CONCLAVE_TXN_MOD_REVISION}, {"create", CONCLAVE_TXN_CREATE_REVISION},
                 {"version", CONCLAVE_TXN_VERSION},  {"lease", CONCLAVE_TXN_LEASE},
                 {"seq", CONCLAVE_TXN_SEQUENCE},     {"topic", CONCLAVE_TXN_TOPIC}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!is_word(name, bytes, names[i].name))
            continue;
        *ret = names[i].what;
        return true;
    }
    return false;
}

bool txn_exists_find(const char *name, size_t bytes, struct txn_compare *ret)
{
    static const struct {
        const char *name;
        enum conclave_txn_what what;
        enum conclave_txn_how how; /* than 0 */
    } names[] = {{"exists", CONCLAVE_TXN_VERSION, CONCLAVE_TXN_GREATER},
                 {"absent", CONCLAVE_TXN_VERSION, CONCLAVE_TXN_EQUAL},
                 {"topic", CONCLAVE_TXN_TOPIC, CONCLAVE_TXN_GREATER},
                 {"no-topic", CONCLAVE_TXN_TOPIC, CONCLAVE_TXN_EQUAL}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!is_word(name, bytes, names[i].name))
            continue;
        *ret = (struct txn_compare){.what = names[i].what, .how = names[i].how};
        return true;
    }
    return false;
}

const char *txn_how_take(const char *text, enum conclave_txn_how *ret)
{
    static const struct {
        const char *text;
        enum conclave_txn_how how;
    } operators[] = {{"=", CONCLAVE_TXN_EQUAL},
                     {"!=", CONCLAVE_TXN_UNEQUAL},
                     {"<", CONCLAVE_TXN_LESS},
                     {">", CONCLAVE_TXN_GREATER}};
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        size_t length = strlen(operators[i].text);
        if (strncmp(text, operators[i].text, length) == 0) {
            *ret = operators[i].how;
            return text + length;
        }
    }
    return NULL;
}

bool txn_refuse_word(struct txn_build *build, const char *what, const char *word,
                     const char *const *words)
{
    size_t count = 0;
    while (words[count])
        count++;
    const char *meant = text_nearest(word, words, count);
    if (meant)
        return txn_build_refuse(build, "there is no %s '%.40s'; did you mean '%s'?", what, word,
                                meant);
    return txn_build_refuse(build, "there is no %s '%.40s'", what, word);
}

/* --- Compares --------------------------------------------------------------------------------- */

/* The parenthesis that ends the key: the first one that an operator follows, or the last byte. */
static const char *key_end(const char *key)
{
    enum conclave_txn_how how;
    for (const char *end = strchr(key, ')'); end; end = strchr(end + 1, ')'))
        if (!end[1] || txn_how_take(end + 1, &how))
            return end;
    return NULL;
}

static bool refuse_name(struct txn_build *build, const char *name, size_t bytes)
{
    char word[41];
    snprintf(word, sizeof word, "%.*s", (int)(bytes < 40 ? bytes : 40), name);
    return txn_refuse_word(build, "compare", word, txn_compare_names);
}

static bool operand_take(struct txn_build *build, const char *text, struct txn_compare *compare)
{
    const char *operand = txn_how_take(text, &compare->how);
    if (compare->of_value)
        compare->value = (struct txn_bytes){operand, strlen(operand)};
    else if (!text_uint_parse(operand, INT64_MAX, &compare->number))
        return txn_build_refuse(build, "'%.40s' is not a number", operand);
    return true;
}

bool txn_compare_parse(struct txn_build *build, const char *text)
{
    struct txn_compare compare = {0};
    size_t length = strcspn(text, "(");
    const char *key = text[length] ? text + length + 1 : NULL, *end = key ? key_end(key) : NULL;
    if (!end)
        return txn_build_refuse(build, "'%.80s' is no compare", text);
    bool bare = !end[1], exists = txn_exists_find(text, length, &compare);
    compare.of_value = is_word(text, length, "value");
    bool known = compare.of_value || txn_what_find(text, length, &compare.what);
    if (!known && !exists)
        return refuse_name(build, text, length);
    if (bare && !exists)
        return txn_build_refuse(build, "%.*s(...) needs something to be compared with", (int)length,
                                text);
    if (!bare && !known)
        return txn_build_refuse(build, "%.*s(...) is compared with nothing", (int)length, text);
    compare.name = (struct txn_bytes){key, (size_t)(end - key)};
    if (!bare && !operand_take(build, end + 1, &compare))
        return false;
    return txn_build_compare(build, &compare);
}

/* --- Steps ------------------------------------------------------------------------------------ */

/* "NAME=", and what is behind it. */
static bool option_take(struct txn_bytes word, const char *name, const char **ret)
{
    size_t length = strlen(name);
    if (word.bytes < length || memcmp(word.data, name, length) != 0)
        return false;
    *ret = word.data + length;
    return true;
}

static bool put_option(struct txn_build *build, struct txn_bytes word, struct txn_step *step)
{
    const char *text;
    if (option_take(word, "ttl=", &text)) {
        if (text_long_duration_parse(text, &step->ttl_ms))
            return !text_ttl_fault(step->ttl_ms) ||
                   txn_build_refuse(build, "ttl: %s", text_ttl_fault(step->ttl_ms));
        return txn_build_refuse(build, "ttl: '%.40s' is not a duration, as 30s is", text);
    }
    if (option_take(word, "lease=", &text)) {
        if (text_uint_parse(text, INT64_MAX, &step->lease) && step->lease)
            return true;
        return txn_build_refuse(build, "lease: '%.40s' is not the number of a lease", text);
    }
    return txn_build_refuse(build,
                            "'%.40s' is one word too many: put a value with spaces in double "
                            "quotes, or say ttl= or lease=",
                            word.data);
}

static bool options_take(struct txn_build *build, const struct txn_bytes *words, int count,
                         struct txn_step *step)
{
    const char *id;
    for (int i = 0; i < count; i++) {
        if (step->verb == TXN_PUT) {
            if (!put_option(build, words[i], step))
                return false;
            continue;
        }
        if (step->verb != TXN_PUB || !option_take(words[i], "id=", &id))
            return txn_build_refuse(build,
                                    "'%.40s' is one word too many: words with spaces stand "
                                    "in double quotes",
                                    words[i].data);
        step->id = (struct txn_bytes){id, words[i].bytes - (size_t)(id - words[i].data)};
    }
    return true;
}

bool txn_step_parse(struct txn_build *build, enum conclave_txn_list list, char *text)
{
    struct txn_bytes words[TXN_WORDS_MAX];
    struct txn_step step = {0};
    int count = txn_words(text, words);
    if (count == TXN_WORDS_QUOTE)
        return txn_build_refuse(build, "a double quote is not closed");
    if (count == TXN_WORDS_MANY)
        return txn_build_refuse(build, "too many words: those with spaces stand in double quotes");
    if (count == 0)
        return txn_build_refuse(build, "the step is empty");
    while (txn_verbs[step.verb] && strcmp(words[0].data, txn_verbs[step.verb]) != 0)
        step.verb++;
    if (step.verb == TXN_VERBS)
        return txn_refuse_word(build, "step", words[0].data, txn_verbs);
    int wanted = step.verb == TXN_PUT || step.verb == TXN_PUB ? 3 : 2;
    if (count < wanted)
        return txn_build_refuse(build, "'%s' needs %s", txn_verbs[step.verb],
                                step.verb == TXN_PUT   ? "a key and a value"
                                : step.verb == TXN_PUB ? "a topic and a message"
                                : step.verb == TXN_LS || step.verb == TXN_DEL_PREFIX ? "a prefix"
                                                                                     : "a key");
    step.name = words[1];
    if (wanted == 3)
        step.value = words[2];
    return options_take(build, words + wanted, count - wanted, &step) &&
           txn_build_step(build, list, &step);
}
