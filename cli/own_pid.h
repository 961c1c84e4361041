/* cli/own_pid.h - the program's process id without a system call.
 *
 * libzmq asks for it before and behind each wait, to find out whether it is in a forked child: 150
 * system calls for one put on three nodes. While own_pid_init() has not been called, and in a child
 * until it calls it, the system is asked as ever. */
#ifndef CLI_OWN_PID_H
#define CLI_OWN_PID_H

/* At the beginning of the program, while there is no other thread. */
void own_pid_init(void);

#endif
