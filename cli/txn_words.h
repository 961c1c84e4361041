/* cli/txn_words.h - the text of a transaction's compares and steps. Pure functions; any thread. */
#ifndef CLI_TXN_WORDS_H
#define CLI_TXN_WORDS_H

#include "conclave_txn.h"

enum { TXN_WORDS_MAX = 5 };

/* Splits a step into words at spaces, in place. A word may stand in double quotes, in which a
 * backslash takes the character behind it as it is. How many; -1: a quote is not closed, or there
 * are more than TXN_WORDS_MAX. */
int txn_words(char *text, char *words[TXN_WORDS_MAX]);

/* Adds a compare, as "rev(K)=7" or "absent(K)". False: it is none. */
bool txn_compare_parse(struct conclave_txn *txn, const char *text);

/* Adds a step, as "put K V ttl=30s", whose text is changed. False: it is none. */
bool txn_step_parse(struct conclave_txn *txn, enum conclave_txn_list list, char *text);

#endif
