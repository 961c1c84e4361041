/* cli/heap.h - how the program's memory is allocated. A program that embeds libconclave decides
 * that for itself. */
#ifndef CLI_HEAP_H
#define CLI_HEAP_H

/* At the beginning of the program, while there is no other thread. */
void heap_init(void);

/* Once, before a node runs in the program: what it takes in a hurry is made ready (heap_warm.h). */
void heap_serves(void);

#endif
