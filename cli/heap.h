/* cli/heap.h - how the program's memory is allocated. A program that embeds libconclave decides
 * that for itself. */
#ifndef CLI_HEAP_H
#define CLI_HEAP_H

/* At the beginning of the program, while there is no other thread. */
void heap_init(void);

#endif
