/* cli/txn_words.h - the text of a transaction's compares and steps. Pure functions; any thread. */
#ifndef CLI_TXN_WORDS_H
#define CLI_TXN_WORDS_H

#include "cli/txn_build.h"

enum { TXN_WORDS_MAX = 5, TXN_WORDS_QUOTE = -1, TXN_WORDS_MANY = -2 };

/* Splits a step into words at spaces, in place; they end with a zero byte. A word may stand in
 * double quotes, in which \xNN is a byte, and a backslash takes any other character behind it as it
 * is. How many; below 0: a quote is not closed, or there are more than TXN_WORDS_MAX. */
int txn_words(char *text, struct txn_bytes words[TXN_WORDS_MAX]);

/* Adds a compare, as "rev(K)=7" or "absent(K)". False: it cannot be taken (txn_build_fault). The
 * text has to stay where it is, as that of a step has. */
bool txn_compare_parse(struct txn_build *build, const char *text);

/* Adds a step, as "put K V ttl=30s", whose text is changed. */
bool txn_step_parse(struct txn_build *build, enum conclave_txn_list list, char *text);

/* --- Shared with cli/txn_json.c ----------------------------------------------------------------
 */

/* "rev", "seq" and so on; of a number, not of a value or of whether it exists. */
bool txn_what_find(const char *name, size_t bytes, enum conclave_txn_what *ret);

/* "exists", "absent", "topic", "no-topic": a compare that needs no operand. */
bool txn_exists_find(const char *name, size_t bytes, struct txn_compare *ret);

/* "=", "!=", "<", ">" at the beginning of the text: what is behind it, or NULL. */
const char *txn_how_take(const char *text, enum conclave_txn_how *ret);

/* Refuses a word that is none of `words`, which NULL ends, and says which one was meant. */
bool txn_refuse_word(struct txn_build *build, const char *what, const char *word,
                     const char *const *words);

extern const char *const txn_compare_names[]; /* ends with NULL */

#endif
