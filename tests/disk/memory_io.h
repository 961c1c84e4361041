/* tests/disk/memory_io.h - a disk in memory behind struct io, which loses what a real one may lose.
 *
 * Every file has two contents: what was written, which reads see, and what was synced. Every name
 * has two meanings: what the running system sees, and what the disk holds since the last sync of
 * its directory. A crash keeps, for each 512-byte sector that was written and not synced, the old
 * or the new bytes, or one up to some byte and the other behind it: disks say that they write a
 * sector as a whole or not at all, and nothing here has to rest on that. Of the unsynced creations,
 * renames and removals it keeps any subset; the seed decides.
 *
 * Each call of the table except close is one operation, numbered from 1. Paths are relative; "." is
 * there from the start. Deterministic. Used by one thread at a time. */
#ifndef TESTS_DISK_MEMORY_IO_H
#define TESTS_DISK_MEMORY_IO_H

#include "storage/io.h"

enum { MEMORY_SECTOR_BYTES = 512 };

struct memory_disk;

struct memory_disk *memory_disk_create(void);
void memory_disk_destroy(struct memory_disk *disk);

/* A new disk that holds, durably, what this one shows now. No handles, faults or counts. */
struct memory_disk *memory_disk_clone(const struct memory_disk *disk);

/* The same with what is not synced yet: a new disk that shows what this one shows, and would lose
 * in a crash what this one would. No changes of directories may be pending. */
struct memory_disk *memory_disk_fork(const struct memory_disk *disk);

/* The table. Valid as long as the disk. */
const struct io *memory_disk_io(struct memory_disk *disk);

/* The power goes and comes back: open handles are dead (only close is allowed), faults are gone. */
void memory_disk_crash(struct memory_disk *disk, uint64_t seed);

/* The worst case without chance: nothing that was not synced survives. */
void memory_disk_crash_hard(struct memory_disk *disk);

/* Operation `number` fails with `code`. Once. 0: none. A write has then written its first half;
 * what a sync should have written stays visible and reaches the disk only if it is written again.
 */
void memory_disk_fail_at(struct memory_disk *disk, uint64_t number, int code);

/* The power goes in the middle of operation `number`: what it writes or renames is done but not
 * synced, what it syncs is not, and it and all later ones fail until memory_disk_crash. 0: never.
 */
void memory_disk_power_off_at(struct memory_disk *disk, uint64_t number);

/* The same at a change: what memory_disk_changes counts. */
void memory_disk_fail_at_change(struct memory_disk *disk, uint64_t number, int code);
void memory_disk_power_off_at_change(struct memory_disk *disk, uint64_t number);

/* Files may grow by so many bytes in all; then NO_SPACE: a write has then written what fits.
 * UINT64_MAX: without end. */
void memory_disk_set_space(struct memory_disk *disk, uint64_t bytes);

/* Before each sync of data `run` is called, as if another thread had done that meanwhile; not for
 * what it does itself. NULL: nobody. */
void memory_disk_meanwhile(struct memory_disk *disk, void (*run)(void *arg), void *arg);

uint64_t memory_disk_operations(const struct memory_disk *disk);
uint64_t
memory_disk_changes(const struct memory_disk *disk); /* operations that changed something */
uint64_t memory_disk_handles(const struct memory_disk *disk); /* open now */

/* The bytes of a file as reads see them; NULL if there is none. Until the next change. */
const uint8_t *memory_disk_bytes(const struct memory_disk *disk, const char *path,
                                 size_t *ret_bytes);

/* True if the disk holds these bytes as reads see them. The range must be in the file. */
bool memory_disk_is_synced(const struct memory_disk *disk, const char *path, size_t offset,
                           size_t count);

/* Rot: changes bytes that were durable, behind everyone's back. The range must be in the file. */
void memory_disk_rot(struct memory_disk *disk, const char *path, size_t offset, const void *bytes,
                     size_t count);

/* The sectors of these bytes cannot be read any more: IO. A write of a whole one mends it, one of a
 * part of it fails as well. */
void memory_disk_break(struct memory_disk *disk, const char *path, size_t offset, size_t count);

/* They can be read again, as they were. */
void memory_disk_unbreak(struct memory_disk *disk, const char *path);

/* The number-th name that is a file, in order of creation; NULL: no more. */
const char *memory_disk_file(const struct memory_disk *disk, size_t number);

/* True if both show the same names with the same bytes. */
bool memory_disk_equal(const struct memory_disk *a, const struct memory_disk *b);

#endif
