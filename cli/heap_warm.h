/* cli/heap_warm.h - huge pages that have been touched before somebody needs them.
 *
 * The first touch of a huge page takes from 50 us to 6 ms, the latter in a virtual machine whose
 * host finds the memory only then. A thread that allocates for a message waits for that, and the
 * cluster waits for the thread. So a thread of its own, of lower priority, keeps some ready. */
#ifndef CLI_HEAP_WARM_H
#define CLI_HEAP_WARM_H

enum { HEAP_WARM_BYTES = 2 << 20 };

/* Once, from any thread. If it fails there is nothing to take, ever. `look` is called on the thread
 * whenever somebody took or would have, since the heap grows then, and once a second. */
void heap_warm_start(void (*look)(void));

/* One of HEAP_WARM_BYTES, aligned to as many, all zero and the caller's; NULL: none is ready. The
 * thread makes more then, up to a few. From any thread; neither waits nor allocates. */
void *heap_warm_take(void);

#endif
