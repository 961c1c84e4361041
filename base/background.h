/* base/background.h - threads that stand behind the others of their program.
 *
 * Not SCHED_IDLE, although who wakes up need not wait for such a thread at all: where others want
 * all of the processors it does not even get to end, and until it has, what a killed process had
 * open stays open, its sockets too. */
#ifndef BASE_BACKGROUND_H
#define BASE_BACKGROUND_H

/* The calling thread gives its processor up to whoever wakes up there, and has a tenth of one that
 * another thread wants for itself. Its work must be such that others go on without it. A hint: what
 * the system does not take changes nothing. Cannot be taken back. */
void background_thread(void);

#endif
