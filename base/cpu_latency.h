/* base/cpu_latency.h - asks the system to have its idle processors at hand at once (Linux's "PM
 * Quality of Service interface", Documentation/power/pm_qos_interface.rst).
 *
 * Who wakes a thread on an idle processor waits for that processor first. On real hardware that is
 * 1 us or two where it only halted and 100 us and more where it was switched off further. In a
 * virtual machine a processor that halts is given to the host, and to have it back takes 20 to
 * 50 us, though the kernel takes it for 1 us. */
#ifndef BASE_CPU_LATENCY_H
#define BASE_CPU_LATENCY_H

#include <stdint.h>

#define CPU_LATENCY_DEVICE "/dev/cpu_dma_latency"
#define CPU_LATENCY_DRIVER "/sys/devices/system/cpu/cpuidle/current_driver"

/* What to ask for where this file names what stops idle processors: 0, so that they do not halt at
 * all, where that is the driver of virtual machines; else 2 us, with which they still halt. Any
 * thread. */
int32_t cpu_latency_wanted_us(const char *driver);

/* Asks for it for all processors, until *ret_fd is closed, or the process ends (and with it who was
 * forked meanwhile). Returns 0 or errno:
 * EACCES where the process may not write the device, ENOENT where there is none. Any thread. */
int cpu_latency_ask(const char *device, int32_t latency_us, int *ret_fd);

#endif
