#include "cli/txn_words.h"

#include "cli/text.h"

#include <string.h>

/* Ends the word that begins at `from` and writes it without quotes; where the rest begins, or NULL:
 * a quote is not closed. */
static char *word_take(char *from)
{
    char *to = from;
    bool quoted = false;
    for (; *from && (quoted || *from != ' '); from++) {
        if (*from == '"') {
            quoted = !quoted;
            continue;
        }
        if (quoted && *from == '\\' && from[1])
            from++;
        *to++ = *from;
    }
    if (quoted)
        return NULL;
    char *rest = *from ? from + 1 : from;
    *to = '\0';
    return rest;
}

int txn_words(char *text, char *words[TXN_WORDS_MAX])
{
    int count = 0;
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        if (count == TXN_WORDS_MAX)
            return -1;
        words[count++] = text;
        text = word_take(text);
        if (!text)
            return -1;
    }
    return count;
}

/* --- Compares --------------------------------------------------------------------------------- */

/* Behind the key's parenthesis: what is left of the operator is the operand; NULL: there is none.
 */
static const char *operator_take(const char *text, enum conclave_txn_how *ret)
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

/* The parenthesis that ends the key: the first one that an operator follows, or the last byte. */
static const char *key_end(const char *key)
{
    enum conclave_txn_how how;
    for (const char *end = strchr(key, ')'); end; end = strchr(end + 1, ')'))
        if (!end[1] || operator_take(end + 1, &how))
            return end;
    return NULL;
}

bool txn_compare_parse(struct conclave_txn *txn, const char *text)
{
    static const struct {
        const char *name;
        enum conclave_txn_what what;
    } names[] = {{"rev", CONCLAVE_TXN_MOD_REVISION},
                 {"create", CONCLAVE_TXN_CREATE_REVISION},
                 {"version", CONCLAVE_TXN_VERSION},
                 {"lease", CONCLAVE_TXN_LEASE}};
    size_t length = strcspn(text, "(");
    if (!text[length])
        return false;
    const char *key = text + length + 1, *end = key_end(key);
    enum conclave_txn_how how;
    if (!end || end == key)
        return false;
    size_t key_bytes = (size_t)(end - key);
    if (!end[1]) {
        bool exists = length == 6 && strncmp(text, "exists", length) == 0;
        if (!exists && (length != 6 || strncmp(text, "absent", length) != 0))
            return false;
        conclave_txn_compare(txn, CONCLAVE_TXN_VERSION,
                             exists ? CONCLAVE_TXN_GREATER : CONCLAVE_TXN_EQUAL, key, key_bytes, 0);
        return true;
    }
    const char *operand = operator_take(end + 1, &how);
    if (length == 5 && strncmp(text, "value", length) == 0) {
        conclave_txn_compare_value(txn, how, key, key_bytes, operand, strlen(operand));
        return true;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint64_t number;
        if (strlen(names[i].name) != length || strncmp(text, names[i].name, length) != 0)
            continue;
        if (!text_uint_parse(operand, INT64_MAX, &number))
            return false;
        conclave_txn_compare(txn, names[i].what, how, key, key_bytes, number);
        return true;
    }
    return false;
}

/* --- Steps ------------------------------------------------------------------------------------ */

static bool put_parse(struct conclave_txn *txn, enum conclave_txn_list list, char **words,
                      int count)
{
    uint64_t lease = 0, ttl_ms = 0;
    if (count < 3 || count > 4)
        return false;
    if (count == 4 && strncmp(words[3], "ttl=", 4) == 0) {
        if (!text_long_duration_parse(words[3] + 4, &ttl_ms) || ttl_ms == 0)
            return false;
    } else if (count == 4) {
        if (strncmp(words[3], "lease=", 6) != 0 ||
            !text_uint_parse(words[3] + 6, INT64_MAX, &lease) || lease == 0)
            return false;
    }
    conclave_txn_put(txn, list, words[1], strlen(words[1]), words[2], strlen(words[2]), lease,
                     ttl_ms);
    return true;
}

/* All keys that begin with the word. */
static void prefix_add(struct conclave_txn *txn, enum conclave_txn_list list, const char *prefix,
                       bool deletes)
{
    uint8_t end[CONCLAVE_KEY_BYTES_MAX];
    size_t bytes = strlen(prefix), kept = bytes < sizeof end ? bytes : sizeof end;
    size_t end_bytes = conclave_kv_prefix_end(prefix, kept, end);
    const void *to = end_bytes ? end : NULL;
    if (deletes)
        conclave_txn_delete_range(txn, list, prefix, bytes, to, end_bytes);
    else
        conclave_txn_range(txn, list, prefix, bytes, to, end_bytes, 0);
}

static bool publish_parse(struct conclave_txn *txn, enum conclave_txn_list list, char **words,
                          int count)
{
    bool has_id = count == 4 && strncmp(words[3], "id=", 3) == 0;
    if (count != 3 + has_id)
        return false;
    struct conclave_message message = {.data = words[2],
                                       .bytes = strlen(words[2]),
                                       .id = has_id ? words[3] + 3 : NULL,
                                       .id_bytes = has_id ? strlen(words[3] + 3) : 0};
    conclave_txn_publish(txn, list, words[1], strlen(words[1]), &message);
    return true;
}

bool txn_step_parse(struct conclave_txn *txn, enum conclave_txn_list list, char *text)
{
    char *words[TXN_WORDS_MAX];
    int count = txn_words(text, words);
    if (count < 2)
        return false;
    if (strcmp(words[0], "put") == 0)
        return put_parse(txn, list, words, count);
    if (strcmp(words[0], "pub") == 0)
        return publish_parse(txn, list, words, count);
    if (count != 2)
        return false;
    if (strcmp(words[0], "get") == 0)
        conclave_txn_get(txn, list, words[1], strlen(words[1]));
    else if (strcmp(words[0], "del") == 0)
        conclave_txn_delete(txn, list, words[1], strlen(words[1]));
    else if (strcmp(words[0], "del-prefix") == 0 || strcmp(words[0], "ls") == 0)
        prefix_add(txn, list, words[1], words[0][0] == 'd');
    else
        return false;
    return true;
}
