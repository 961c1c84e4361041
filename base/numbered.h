/* base/numbered.h - elements that are numbered in order and go mostly in that order: the one of a
 * number is found by halves, and the oldest goes without moving the others. An element begins with
 * its number, a uint64_t. Zeroed, it is empty. Owned by one thread. */
#ifndef BASE_NUMBERED_H
#define BASE_NUMBERED_H

#include <stddef.h>
#include <stdint.h>

struct numbered {
    unsigned char *items; /* the elements from `head` on, up to `end` */
    size_t bytes;         /* of an element */
    uint32_t head, end, capacity;
};

uint32_t numbered_count(const struct numbered *list);

/* The element at a place from the front on; valid until one is added or removed. */
void *numbered_at(const struct numbered *list, uint32_t place);

/* NULL: there is none of this number. Valid until one is added or removed. */
void *numbered_find(const struct numbered *list, uint64_t number);

/* A new element of so many bytes, the same for all, zeroed but for its number, which has none yet.
 */
void *numbered_add(struct numbered *list, size_t bytes, uint64_t number);

/* Whichever side of it is shorter moves. What the element owns is the caller's. */
void numbered_remove(struct numbered *list, void *element);

/* Frees the elements' memory, not what they own. It is empty then. */
void numbered_deinit(struct numbered *list);

#endif
