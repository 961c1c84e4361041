/* cli/connect.h - a client made from the flags of every command, and its failures as sentences.
 * Main thread. */
#ifndef CLI_CONNECT_H
#define CLI_CONNECT_H

#include "cli/args.h"
#include "conclave.h"

#define CONNECT_ENDPOINTS_DEFAULT "tcp://127.0.0.1:7501,tcp://127.0.0.1:7502,tcp://127.0.0.1:7503"

/* Reads --timeout. On failure prints the error and returns its exit code, else 0. */
int connect_timeout(const struct args *args, uint32_t *ret_ms);

/* Makes a client of --endpoints (or of `endpoints` if not NULL) with --timeout as its deadline. On
 * failure prints the error and returns its exit code, else 0. */
int connect_open(const struct args *args, const char *endpoints,
                 struct conclave_client **ret_client);

/* Prints why an operation failed: `what` names it ("put greeting" or NULL), the code says why, the
 * hint what to do; where it helps the nodes are asked how many of them answer. Returns the exit
 * code. */
int connect_error(const struct args *args, struct conclave_client *client, int code);

/* The same of what changes nothing. */
int connect_read_error(const struct args *args, struct conclave_client *client, int code);

/* The same of a read of the past, as of this revision; 0: of now. */
int connect_past_error(const struct args *args, struct conclave_client *client, int code,
                       uint64_t revision);

/* Counts over the voters of a status. */
struct connect_health {
    size_t nodes, answered, healthy;
    bool majority; /* of the nodes is healthy */
};
struct connect_health connect_health(const struct conclave_status *status);

#endif
