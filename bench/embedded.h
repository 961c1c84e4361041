/* bench/embedded.h - nodes inside this program, as a program has them that embeds the library, with
 * a state machine that counts.
 *
 * A command begins with its number (8 bytes); the machine knows how many it was given and a digest
 * of their numbers in which their order does not matter: nodes that applied each of a set of
 * commands once have what embedded_digest says of the set. Main thread. */
#ifndef BENCH_EMBEDDED_H
#define BENCH_EMBEDDED_H

#include "bench/options.h"
#include "conclave.h"

#include <limits.h>
#include <signal.h>

enum { EMBEDDED_COMMAND_BYTES_MIN = 8 };

/* What a machine has applied. */
struct embedded_count {
    uint64_t commands;
    uint64_t digest; /* sum of embedded_digest over their numbers */
};

struct embedded;

/* Makes and starts the nodes in a directory of their own where data goes, and waits until all of
 * them serve. Errors: those of a node; INVALID, IO; with a sentence. */
int embedded_start(const struct bench_options *bench, struct embedded **ret,
                   struct conclave_error *error);

/* Stops the nodes and removes their data. */
void embedded_stop(struct embedded *embedded);

struct conclave_node *embedded_node(struct embedded *embedded, unsigned node);

/* What a node has applied. Any thread. */
struct embedded_count embedded_applied(struct embedded *embedded, unsigned node);

/* What one command adds to a digest. */
uint64_t embedded_digest(uint64_t number);

#endif
