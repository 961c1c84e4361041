/* schemata.h - what `tests/mutants/auto.py` puts in front of every source file of its own build,
 * and of no other. All mutants of a file are compiled in at once; MUTANT in the environment says
 * which of them is alive, by its number from 1 on. With MUTANT_RECORD=FILE nothing is mutated, and
 * the bytes of the file that stand at the numbers of those mutants become 1 that would have changed
 * something: a run that leaves a byte 0 is the same with that mutant, event by event. */
#ifndef TESTS_MUTANTS_SCHEMATA_H
#define TESTS_MUTANTS_SCHEMATA_H

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

extern int close(int fd); /* not of unistd.h: its other names are those of functions here */

enum { MUTANTS_MAX = 1 << 16 };
#define MUTANT_RECORDING UINT32_MAX

/* One for all objects of a program. */
__attribute__((weak)) uint32_t conclave_mutant;
__attribute__((weak)) unsigned char *conclave_mutants_seen;

__attribute__((weak, constructor)) void conclave_mutants_begin(void)
{
    const char *alive = getenv("MUTANT");
    const char *record = getenv("MUTANT_RECORD");
    if (conclave_mutant != 0 || (!alive && !record))
        return;
    if (!record) {
        conclave_mutant = (uint32_t)strtoul(alive, NULL, 10);
        return;
    }
    int fd = open(record, O_RDWR);
    void *seen =
        fd < 0 ? MAP_FAILED : mmap(NULL, MUTANTS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (seen == MAP_FAILED)
        abort();
    close(fd);
    conclave_mutants_seen = seen;
    conclave_mutant = MUTANT_RECORDING;
}

/* Whether `number` is alive. `differs`: what it would do is something else. */
static inline int mutant_alive(uint32_t number, int differs)
{
    if (__builtin_expect(conclave_mutant == 0, 1))
        return 0;
    if (conclave_mutant == MUTANT_RECORDING && differs)
        conclave_mutants_seen[number] = 1;
    return conclave_mutant == number;
}

static inline int mutant_on(uint32_t number)
{
    return mutant_alive(number, 1);
}

static inline int mutant_pick(uint32_t number, int value, int other)
{
    return mutant_alive(number, value != other) ? other : value;
}

static inline int mutant_off(uint32_t number)
{
    int up = mutant_on(number);
    return mutant_on(number + 1) ? -1 : up;
}

/* Of each: the numbers of its mutants begin at `n`. Operands are evaluated once. */
#define MUTANT_TRUE(n, a) mutant_pick(n, (a) ? 1 : 0, 1)
#define MUTANT_FALSE(n, a) mutant_pick(n, (a) ? 1 : 0, 0)
#define MUTANT_BOOL(n, a) MUTANT_FALSE((n) + 1, MUTANT_TRUE(n, a))
#define MUTANT_NOT(n, a) ((a) ? !mutant_on(n) : mutant_on(n))
#define MUTANT_AND(n, a, b)              \
    ({                                   \
        int l_ = (a) ? 1 : 0;            \
        l_ != mutant_on(n) ? !!(b) : l_; \
    })
#define MUTANT_OR(n, a, b)               \
    ({                                   \
        int l_ = (a) ? 1 : 0;            \
        l_ == mutant_on(n) ? !!(b) : l_; \
    })
#define MUTANT_TWO(n, a, operator, other, b)                   \
    ({                                                         \
        __auto_type l_ = (a);                                  \
        __auto_type r_ = (b);                                  \
        mutant_alive(n, 1) ? (l_ other r_) : (l_ operator r_); \
    })
#define MUTANT_COMPARED(n, a, operator, other, b)        \
    ({                                                   \
        __auto_type l_ = (a);                            \
        __auto_type r_ = (b);                            \
        mutant_pick(n, (l_ operator r_), (l_ other r_)); \
    })
#define MUTANT_OFF(n, a)                      \
    ({                                        \
        __auto_type v_ = (a);                 \
        (__typeof__(v_))(v_ + mutant_off(n)); \
    })
#define MUTANT_MORE(n, a)                    \
    ({                                       \
        __auto_type v_ = (a);                \
        (__typeof__(v_))(v_ + mutant_on(n)); \
    })
#define MUTANT_NEGATED(n, a)                                        \
    ({                                                              \
        __auto_type v_ = (a);                                       \
        mutant_alive(n, v_ != 0) ? 0 - (uint64_t)v_ : (uint64_t)v_; \
    })
#define MUTANT_ZERO(n, a)                                  \
    ({                                                     \
        __auto_type v_ = (a);                              \
        mutant_alive(n, v_ != 0) ? (__typeof__(v_))0 : v_; \
    })

#endif
