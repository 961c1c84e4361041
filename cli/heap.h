/* cli/heap.h - how the program's memory is allocated. A program that embeds libconclave decides
 * that for itself. */
#ifndef CLI_HEAP_H
#define CLI_HEAP_H

#include <stddef.h>

/* At the beginning of the program, while there is no other thread. */
void heap_init(void);

/* What a heap with one node may hold before what is free of it goes back at once. */
enum { HEAP_NODE_BYTES = 320 << 20 };

/* Once, before nodes run in the program: what they take in a hurry is made ready (heap_warm.h), and
 * within a second what is free goes back as long as the heap holds more than `held_bytes` (with
 * jemalloc; SIZE_MAX: it takes its time). */
void heap_serves(size_t held_bytes);

#endif
