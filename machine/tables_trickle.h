/* machine/tables_trickle.h - writes what changed in the store's file to disk, bit by bit.
 *
 * The tables in LMDB are a cache of the log and need not be on disk before a clean stop. But the
 * kernel writes pages that have been dirty for long (30 s as a rule) all at once: with three
 * stores of 400 MB on one disk no fdatasync of a log came back for 400 ms. So each step has a small
 * part of the file written, a little sooner than the kernel would. Nothing depends on it.
 *
 * That is not enough for a file in which something changes all the time: it is never clean, so the
 * kernel takes it for as old as its first change and, when that is 30 s ago, writes all of it,
 * again and again as it changes meanwhile (a store of 70 MB five times in 1.5 s). So from time to
 * time the trickle has it look at the file's age anew.
 *
 * Owned by one thread, which is not the one that changes the tables. */
#ifndef MACHINE_TABLES_TRICKLE_H
#define MACHINE_TABLES_TRICKLE_H

#include "base/error.h"
#include "machine/tables_part.h"

#include <stdbool.h>
#include <stdint.h>

/* A huge page for the file takes a tenth of a millisecond or two where there is memory, and 3 to
 * 8 ms where the host of a virtual machine has to find it, in which whoever is woken on that
 * processor may wait for it. With more than this it is smaller ones from then on (tables_pages.h):
 * between two of them others have their turn. */
enum { TABLES_HUGE_US_MAX = 1000 };

/* All zero but for `fd` -1 and `huge_us_max`: nothing was written. */
struct tables_trickle {
    int fd;               /* -1: to be opened */
    uint64_t ahead;       /* so far there are pages for what is yet to come */
    const char *map;      /* where the file was mapped the last time, ... */
    uint64_t map_bytes;   /* ... and how much of it */
    uint64_t mapped;      /* so far what is yet to come is mapped there, too */
    uint64_t young_ns;    /* when the kernel was made to look at the file's age; 0: not yet */
    bool failed;          /* the file system cannot do it: there is nothing to be done */
    bool small;           /* a huge page took more than this of the processor */
    uint64_t huge_us_max; /* TABLES_HUGE_US_MAX */
};

/* This part of the tables' file in this directory. Waits for the disk every ten seconds only, for
 * what was given to it before. OK too if there is no such file; IO, once. With the first part the
 * file is opened anew: it may be another.
 *
 * Behind what of the file is used it has the kernel make pages for the next few
 * megabytes: zeroing a page costs more than a command that is the first to touch it, above all in a
 * virtual machine. The next of these it has mapped where the part says that the file is; if the
 * disk has not read a page of it yet, that waits for it. */
MUST_USE int tables_trickle_step(struct tables_trickle *trickle, const char *dir,
                                 const struct tables_part *part);

void tables_trickle_close(struct tables_trickle *trickle);

#endif
