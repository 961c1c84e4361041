#include "machine/audit_chain.h"

#include "base/fatal.h"

#include <endian.h>
#include <xxhash.h>

void audit_chain_add(struct audit_chain *chain, const struct audit_entry *entry)
{
    if (chain->unknown)
        return;
    ASSERT(entry->index > chain->at.index);
    const uint64_t words[] = {
        htole64(entry->index),          htole64(entry->term),
        htole64(entry->kind),           htole64(XXH3_64bits(entry->payload, entry->payload_bytes)),
        htole64((uint64_t)entry->code), htole64(XXH3_64bits(entry->answer, entry->answer_bytes)),
        htole64(entry->effect),
    };
    chain->at.hash = XXH3_64bits_withSeed(words, sizeof words, chain->at.hash);
    chain->at.index = entry->index;
}
