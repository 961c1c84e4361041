/* Lists of answers to clients: actors/envelope.h. */
#include "actors/envelope.h"
#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>

void reply_add(struct reply_list *list, struct raft_origin origin, int code, struct buf *body)
{
    LIST_RESERVE(list);
    list->items[list->count++] = (struct reply){.origin = origin, .code = code, .body = body};
}

void reply_add_answer(struct reply_list *list, struct raft_origin origin, int code,
                      struct buf *body)
{
    reply_add(list, origin, code, body);
    list->items[list->count - 1].answer = true;
}

void reply_list_clear(struct reply_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        buf_unref(list->items[i].body);
    free(list->items);
    *list = (struct reply_list){0};
}
