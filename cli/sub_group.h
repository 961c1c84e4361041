/* cli/sub_group.h - sub --group: a member of a work group. Main thread. */
#ifndef CLI_SUB_GROUP_H
#define CLI_SUB_GROUP_H

#include "cli/args.h"

/* Prints, or runs a command for, the messages that it is handed, until it is told to stop; then
 * gives back what it still holds. The flags are those of `sub`. Returns the exit code. */
int sub_group_run(const struct args *args);

#endif
