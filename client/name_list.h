/* client/name_list.h - a list of topics or of groups on its way through its pages, which go on by
 * name. Its thread is its caller's; owns nothing. */
#ifndef CLIENT_NAME_LIST_H
#define CLIENT_NAME_LIST_H

#include "base/cursor.h"
#include "base/error.h"
#include "conclave_group.h"

struct name_list {
    bool more;    /* another page is to be asked for, from here on: */
    bool stopped; /* by who gets it */
    size_t from_bytes;
    uint8_t from[CONCLAVE_GROUP_BYTES_MAX + 1]; /* a name, and one byte behind it */
};

/* Behind a page: `got` is what its reader returned last, `next` is where it says that the list goes
 * on; empty: nowhere. Errors: MALFORMED. */
MUST_USE int name_list_go_on(struct name_list *list, int got, struct slice next);

#endif
