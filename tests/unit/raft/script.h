/* tests/unit/raft/script.h - a cluster of cores that follows a script, and what comes of it as
 * text.
 *
 * A file in scenario/ has both: lines that begin with # say what it is about, the other ones that
 * do not begin with a blank are commands, and those that do say what comes of the one before:
 *
 *     nodes N         N voters, all alive; before it: `leases`, with leases; `trailing C`, with C
 *                     entries that stay in the log behind a snapshot; `append C`, with as many
 *                     entries at most in a message
 *     elect N         lets time pass in which only N is heard, until it leads
 *     cut A B         no message between the nodes of two lists ("1", "2,3") any more
 *     mute A B        none from those of A to those of B
 *     unheard N       no append of N arrives, but all else does
 *     heal            every message arrives again
 *     crash N         N loses what is not durable
 *     start N         N starts from its disk
 *     recover N       N, which is down, goes on alone by its disk
 *     propose N C     C commands to node N
 *     read N          a read of node N, by ReadIndex
 *     lease N         or by a lease if there is one
 *     transfer N M    N is asked to hand over to M
 *     join N          N, which is no member yet, has an empty disk and knows of the others
 *     change N K NAME add, remove, promote NAME; `add NAME OTHER`: at the address of OTHER;
 *                     `replace NAME OTHER`: by that
 *     full N          the disk of N is full
 *     room N          it has room again
 *     hang N          the disk of N takes no more writes
 *     go N            it does again
 *     still N         the clock of N stands still
 *     tick N          it goes on from there
 *     down N M        N is told that it lost its connection to M
 *     snapshot N I C  N takes a snapshot of what it has applied up to I, its log loses all up to C
 *     fetch N M       the newest snapshot of N has arrived at M
 *     run C           C hundredths of an election timeout pass
 *     sleep C         so do they, and everybody was suspended meanwhile
 *
 * After each command all messages are delivered and all disks written. Then come the role, leader,
 * term, commit and last entry of every node for which one of them is new, the members, and the
 * answers it gave.
 *
 * With SCENARIO_WRITE in the environment the files are written anew, for a look at the difference.
 */
#ifndef TESTS_UNIT_RAFT_SCRIPT_H
#define TESTS_UNIT_RAFT_SCRIPT_H

/* Runs scenario/NAME.txt and compares. */
void script_run(const char *name);

#endif
