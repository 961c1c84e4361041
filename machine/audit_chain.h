/* machine/audit_chain.h - a hash over everything that a node applied and what came of it.
 *
 *     hash' = XXH3-64(index, term, kind, XXH3(payload), code, XXH3(answer), effect; seeded with
 * hash)
 *
 * `effect` is what the machine found in its own state where the command changed something
 * (machine/reply.h): the built-in one says there what it overwrote or deleted. Two nodes whose
 * chains are equal at an index applied the same entries with the same results; state that no
 * command has touched since it went bad is not seen (docs/guarantees.md).
 *
 * The chain is part of the replicated state: it is stored with the table of sessions, atomic with
 * the applied index, and travels in snapshots. A node that cannot know it (its machine remembered
 * commands whose answers nobody kept) says so and is not compared. One thread: the state-machine
 * actor's. */
#ifndef MACHINE_AUDIT_CHAIN_H
#define MACHINE_AUDIT_CHAIN_H

#include "base/audit_mark.h"

#include <stdbool.h>
#include <stddef.h>

/* Every so many entries nodes compare: an index at which all of them have a value. */
enum { AUDIT_INTERVAL = 1024 };

struct audit_chain {
    bool unknown;
    struct audit_mark at; /* all zero: nothing was applied yet */
};

/* One applied entry. */
struct audit_entry {
    uint64_t index, term;
    uint32_t kind;
    const void *payload;
    size_t payload_bytes;
    int code;
    const void *answer;
    size_t answer_bytes;
    uint64_t effect;
};

/* Adds an entry: the next one, though indexes may be left out. Nothing if the chain is unknown. */
void audit_chain_add(struct audit_chain *chain, const struct audit_entry *entry);

#endif
