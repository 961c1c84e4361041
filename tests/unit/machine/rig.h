/* A key-value machine in a directory of its own under /tmp, and short ways to use it. Every failure
 * that the test did not ask for fails the test. */
#ifndef TESTS_MACHINE_RIG_H
#define TESTS_MACHINE_RIG_H

#include "codec/kv.h"
#include "machine/kv.h"
#include "machine/reply.h"

#include <string.h>

struct rig {
    struct kv *kv;
    const struct conclave_machine_ops *ops;
    char dir[64];
    struct conclave_machine_env env;
    uint64_t index; /* of the last command */
    struct conclave_reply_sink sink;
    struct kv_outcome outcome; /* of the last command, if it has one */
    struct kv_clock clock;
};

struct rig *rig_create(void);      /* a new directory, open, boot id all 1 */
void rig_destroy(struct rig *rig); /* closes and removes the directory */

/* Opens again what was closed; the applied index. */
uint64_t rig_open(struct rig *rig);
void rig_close(struct rig *rig);

/* The path of a file of the machine; valid until the next call. */
const char *rig_path(const struct rig *rig, const char *file);

static inline struct slice text(const char *text)
{
    return (struct slice){(const uint8_t *)text, strlen(text)};
}

#define BYTES(literal)                                  \
    (struct slice)                                      \
    {                                                   \
        (const uint8_t *)(literal), sizeof(literal) - 1 \
    }

/* One command as an apply of its own; the answer's code. */
int rig_command(struct rig *rig, const struct kv_command *command);
int rig_command_bytes(struct rig *rig, const void *data, size_t bytes);
/* The same with an answer of any form, which stays in rig->sink. */
int rig_apply(struct rig *rig, const struct kv_command *command);

/* Cluster time: passes as an entry of its own, and what is due ends. */
void rig_pass(struct rig *rig, uint64_t ms);

int rig_put(struct rig *rig, const char *key, const char *value);
int rig_put_if(struct rig *rig, const char *key, const char *value, uint64_t revision);
int rig_delete(struct rig *rig, const char *key);
int rig_delete_if(struct rig *rig, const char *key, uint64_t revision);
int rig_delete_range(struct rig *rig, const char *from, const char *to); /* to NULL: no end */

/* One query; its answer stays in rig->sink until the next. */
int rig_query(struct rig *rig, const struct kv_query *query);
int rig_get(struct rig *rig, const char *key, struct kv_item *ret);

/* "revision key=value(create,mod,version) ...", everything in order; to be freed. */
char *rig_dump(struct rig *rig);
void rig_expect(struct rig *rig, const char *dump);

#endif
