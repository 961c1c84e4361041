/* base/list.h - room for one more element in a growable array {items, count, capacity}. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/fatal.h"

/* Makes sure that list->items[list->count] is there; grows by doubling. */
#define LIST_RESERVE(list)                                                                        \
    do {                                                                                          \
        if ((list)->count == (list)->capacity) {                                                  \
            (list)->capacity = (list)->capacity ? (list)->capacity * 2 : 8;                       \
            (list)->items = mem_realloc((list)->items, (list)->capacity * sizeof *(list)->items); \
        }                                                                                         \
    } while (0)

#endif
