/* storage/bytes.h - little-endian numbers in byte blocks, whatever the alignment and the machine.
 * Pure; any thread. */
#ifndef STORAGE_BYTES_H
#define STORAGE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Each is one store or load of its width. What is stored in pieces and loaded whole soon after, to
 * be hashed, waits until all that was stored before it has reached the cache. */
static inline void put_u32(uint8_t *at, uint32_t value)
{
    const uint32_t little = htole32(value);
    memcpy(at, &little, sizeof little);
}

static inline void put_u64(uint8_t *at, uint64_t value)
{
    const uint64_t little = htole64(value);
    memcpy(at, &little, sizeof little);
}

static inline uint32_t get_u32(const uint8_t *at)
{
    uint32_t little;
    memcpy(&little, at, sizeof little);
    return le32toh(little);
}

static inline uint64_t get_u64(const uint8_t *at)
{
    uint64_t little;
    memcpy(&little, at, sizeof little);
    return le64toh(little);
}

/* True if all bytes are zero. */
static inline bool bytes_zero(const uint8_t *at, size_t bytes)
{
    return bytes == 0 || (at[0] == 0 && memcmp(at, at + 1, bytes - 1) == 0);
}

#endif
