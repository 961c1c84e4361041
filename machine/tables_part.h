/* machine/tables_part.h - a part of the file in which a machine's tables are, for who writes it to
 * disk bit by bit (machine/tables_trickle.h). */
#ifndef MACHINE_TABLES_PART_H
#define MACHINE_TABLES_PART_H

#include <stdbool.h>
#include <stdint.h>

/* In bytes. All zero: there is no file. `bytes` 0: nothing of it is to be written now. */
struct tables_part {
    uint64_t at, bytes;
    uint64_t used; /* of the whole file: what lies behind was never used */
    bool huge;     /* what is used next is to have large pages, and is whole huge ones here */
    char *map;     /* where the file is mapped, until it is mapped anew or closed; NULL: not told */
    uint64_t map_bytes; /* how much of it */
};

/* What the kernel maps at once if it can, in bytes: on the usual machines. */
enum { TABLES_HUGE_BYTES = 2 << 20 };

/* So far behind what is used there are pages for what is yet to come, if they are huge ones. */
enum { TABLES_AHEAD_HUGE_BYTES = 8 << 20 };

#endif
