/* actors/prefix_set.h - which beginnings of names somebody wants, and whether a name has one.
 *
 * Names are looked up once for each length that some prefix has, by a hash that grows with the
 * name. Memory is bounded: with PREFIXES_MAX of them, further ones are not kept but counted, and as
 * long as there are some every name counts as wanted. Owned by one thread. */
#ifndef ACTORS_PREFIX_SET_H
#define ACTORS_PREFIX_SET_H

#include "base/buf.h"

#include <stdbool.h>

enum {
    PREFIXES_MAX = 65536,
    PREFIX_BYTES_MAX = 256 /* longer ones are the beginning of nothing, and not looked at */
};

struct prefix_set;

struct prefix_set *prefix_set_create(void);

/* NULL is allowed. */
void prefix_set_destroy(struct prefix_set *set);

/* Each is added once before it is removed, or it is one and the same. */
void prefix_set_add(struct prefix_set *set, struct slice prefix);
void prefix_set_remove(struct prefix_set *set, struct slice prefix);

bool prefix_set_is_empty(const struct prefix_set *set);

/* Whether one of them is what the name begins with. */
bool prefix_set_covers(const struct prefix_set *set, struct slice name);

#endif
