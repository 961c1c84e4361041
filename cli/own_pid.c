#include "cli/own_pid.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static _Atomic pid_t known; /* 0: it is not */

static pid_t ask(void)
{
    return (pid_t)syscall(SYS_getpid);
}

/* The program's stands in front of the C library's for all libraries too. */
__attribute__((visibility("default"))) pid_t getpid(void)
{
    pid_t pid = atomic_load_explicit(&known, memory_order_relaxed);
    return pid ? pid : ask();
}

static void forget(void)
{
    atomic_store_explicit(&known, 0, memory_order_relaxed);
}

void own_pid_init(void)
{
    if (!pthread_atfork(NULL, NULL, forget)) /* else it is asked for, as ever */
        atomic_store_explicit(&known, ask(), memory_order_relaxed);
}
