/* base/clock.h - the monotonic clock and the boot id. Any thread. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds on CLOCK_BOOTTIME: monotonic, and goes on while the machine is suspended, so that a
 * machine that wakes up sees its leases and timeouts as past. */
uint64_t clock_now_ns(void);

/* The same clock in microseconds: the unit of the Raft core. */
uint64_t clock_now_us(void);

/* The kernel's boot id: equal in two processes means that no reboot lay between them and the page
 * cache survived. All zero when the kernel does not tell. */
void clock_boot_id(uint8_t ret_id[16]);

#endif
