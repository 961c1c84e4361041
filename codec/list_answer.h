/* codec/list_answer.h - a page of a list of topics or of groups: `[revision, clock, [info, ...],
 * next]`. Packed from infos that are packed one after the other; read with begin, then with the
 * next of what it is a list of. Pure; any thread. */
#ifndef CODEC_LIST_ANSWER_H
#define CODEC_LIST_ANSWER_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/pack.h"

struct list_answer {
    uint64_t revision, clock_ms;
    struct slice next; /* `from` of the query that goes on; empty: nothing is left */
    uint32_t count;
    struct cursor infos;
};

void list_answer_pack(struct pack *pack, const struct list_answer *answer, struct slice infos);

/* Errors: MALFORMED. */
MUST_USE int list_answer_begin(const void *data, size_t bytes, struct list_answer *ret);

#endif
