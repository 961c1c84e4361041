/* cli/layout.h - the directory of `up`: one data directory for each node, and a file that says what
 * they were made for.
 *
 *     DIR/up.json   {"nodes":3,"peer_port":7401,"client_port":7501,"token":…,"complete":true}
 *     DIR/n1 …      data directories
 *
 * up.json is written before the first directory is made, and again, complete, after the last: until
 * then missing directories are made, afterwards never. A node that lost its directory may have
 * acknowledged what it has forgotten, and must not come back as if nothing had been. Main thread.
 */
#ifndef CLI_LAYOUT_H
#define CLI_LAYOUT_H

#include "conclave.h"

struct layout {
    const char *dir;
    unsigned nodes, peer_port, client_port; /* ports of the first node; the others follow */
    unsigned feed_port;                     /* likewise, not part of the directory; 0: none */
    char token[17];                         /* told apart from any other cluster on these ports */
};

/* The data directory of a node; index counts from 0. Cut if it does not fit. */
void layout_node_dir(const struct layout *layout, unsigned index, char *path, size_t size);

/* Makes what is missing. Errors: IDENTITY (made for something else, or a node's directory is gone),
 * INVALID, and those of conclave_bootstrap. Sets layout->token. */
CONCLAVE_MUST_USE int layout_make(struct layout *layout, struct conclave_error *error);

#endif
