/* machine/tables_part.h - a part of the file in which a machine's tables are, for who writes it to
 * disk bit by bit (machine/tables_trickle.h). */
#ifndef MACHINE_TABLES_PART_H
#define MACHINE_TABLES_PART_H

#include <stdint.h>

/* In bytes. All zero: there is no file. */
struct tables_part {
    uint64_t at, bytes;
    uint64_t used; /* of the whole file: what lies behind was never used */
};

#endif
