/* base/clock.h - the monotonic clock and the boot id. Any thread. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds on CLOCK_BOOTTIME: monotonic, and goes on while the machine is suspended, so that a
 * machine that wakes up sees its leases and timeouts as past (Rule 41). */
uint64_t clock_now_ns(void);

/* The same clock in microseconds: the unit of the Raft core. */
uint64_t clock_now_us(void);

/* What the calling thread has used of a CPU, in microseconds. */
uint64_t clock_thread_cpu_us(void);

/* Does nothing for about so long: for pacing work, never for waiting for something. A signal may
 * end it early. */
void clock_pause_us(uint64_t us);

/* The kernel's boot id: equal in two processes means that no reboot lay between them and the page
 * cache survived. All zero when the kernel does not tell. */
void clock_boot_id(uint8_t ret_id[16]);

#endif
