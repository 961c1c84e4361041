/* base/turn.h - which threads of a program go first where several want the same processor.
 *
 * Linux lets a thread go on for its time slice although another one was woken there, up to 4 ms by
 * its defaults, the other processors idle or not. Since 6.12 a thread that wakes up with a shorter
 * slice than the one that runs need not wait; what it gets in all is the same. Older kernels take
 * the nice value alone. */
#ifndef BASE_TURN_H
#define BASE_TURN_H

enum thread_turn {
    TURN_USUAL,
    TURN_FIRST, /* who does little at a time, and others wait for it */
    TURN_LAST   /* whose work nobody waits for: it has a tenth of a processor that another one wants
                   for itself. Not SCHED_IDLE: where others want all of the processors such a thread
                   does not even get to end, and until it has, what a killed process had open stays
                   open, its sockets too */
};

/* For the calling thread alone, from now on; LAST cannot be taken back. A hint: what the system
 * does not take changes nothing, nor is one of another scheduling class changed. */
void thread_take_turn(enum thread_turn turn);

#endif
