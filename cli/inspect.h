/* cli/inspect.h - what the forms of `conclave inspect` share. Main thread. */
#ifndef CLI_INSPECT_H
#define CLI_INSPECT_H

#include "cli/args.h"
#include "conclave_inspect.h"

#include <jansson.h>

/* A directory that is looked at. */
struct inspect {
    const struct args *args;
    bool json;
    const char *dir;
    struct conclave_inspection *inspection;
    struct conclave_inspect_identity identity;
};

/* Prints a failure to look at something; returns its exit code. */
int inspect_error(const struct inspect *inspect, int code, const struct conclave_error *error);

/* "wal/0123456789abcdef.wal" */
const char *inspect_segment(uint64_t segment, char name[32]);

/* "16.0 MiB", "512 B" */
const char *inspect_size(uint64_t bytes, char text[32]);

/* Text that is made of what anybody wrote. */
json_t *inspect_text(const char *text);

int inspect_meta(struct inspect *inspect); /* cmd_inspect_meta.c */
int inspect_wal(struct inspect *inspect);  /* cmd_inspect_log.c, as the next two */
int inspect_entry(struct inspect *inspect, uint64_t index);
int inspect_diff(struct inspect *left, struct inspect *right);
int inspect_snapshots(struct inspect *inspect); /* cmd_inspect_check.c, as the next */
int inspect_integrity(struct inspect *inspect);

#endif
