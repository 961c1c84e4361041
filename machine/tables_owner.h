/* machine/tables_owner.h - the owner file of the tables in files: whose they are, of which boot of
 * the operating system, and whether everything is on the disk. State-machine thread. */
#ifndef MACHINE_TABLES_OWNER_H
#define MACHINE_TABLES_OWNER_H

#include <stdbool.h>
#include <stdint.h>

struct tables_owner {
    int dir_fd;
    uint64_t cluster_id, node_id;
    uint8_t boot_id[16];
};

/* Whether the directory holds this node's tables, whole. */
bool tables_owner_trusts(const struct tables_owner *owner);

/* Replaces the file, durably: taking `clean` back must be on the disk before the change that makes
 * it untrue, or the next boot would believe torn tables. Returns an errno. */
int tables_owner_write(const struct tables_owner *owner, bool clean);

/* Removes it. Returns an errno. */
int tables_owner_remove(const struct tables_owner *owner);

#endif
