/* tests/unit/client/stage.h - a node that says what a test tells it to, operation by operation, to
 * a client with its commands, queries and streams. Served by the test's own thread in between turns
 * of whatever is tested, so that at every line it is known what was said. */
#ifndef TEST_STAGE_H
#define TEST_STAGE_H

#include "codec/client.h"
#include "codec/stream.h"
#include "conclave.h"

enum { STAGE_OPS_MAX = 256, STAGE_BODY_MAX = 1024 };

/* What was said to the node. */
struct stage_op {
    uint8_t route[256]; /* by which connection */
    size_t route_bytes;
    uint64_t id, number; /* `number`: of the last frame that was sent for it */
    uint32_t type;
    uint8_t body[STAGE_BODY_MAX];
    size_t body_bytes;
};

struct stage {
    void *context, *router;
    struct conclave_client *client;
    struct stage_op ops[STAGE_OPS_MAX]; /* not looked at yet, in order */
    size_t count;
    size_t frames; /* with operations other than LEADER, so far */

    /* Lets what is tested do its work without waiting; NULL: the client polls. */
    void (*turn)(void *arg);
    void *arg;
};

/* With a client without sessions, whose operations take timeout_ms. */
void stage_open(struct stage *stage, uint32_t timeout_ms);
void stage_close(struct stage *stage);

/* One turn, and what was said then is taken in. LEADER is answered: this one. */
void stage_turn(struct stage *stage);

/* The next operation of this type, which is waited for; others stay. */
struct stage_op stage_hear(struct stage *stage, uint32_t type);

struct slice stage_body(const struct stage_op *op);
struct stream_subscribe stage_subscribe(const struct stage_op *op);
struct stream_credit stage_credit(const struct stage_op *op);

/* How many of this type were said and not heard. */
size_t stage_count(const struct stage *stage, uint32_t type);

void stage_reply(struct stage *stage, const struct stage_op *op, int code, const void *body,
                 size_t bytes);

/* The next frame of a subscription. */
void stage_frame(struct stage *stage, struct stage_op *op, struct stream_frame frame);
void stage_begun(struct stage *stage, struct stage_op *op);

/* EVENTS of one event of this key, or STATE of one item; value NULL: it is gone. */
void stage_event(struct stage *stage, struct stage_op *op, uint64_t kind, struct slice key,
                 const char *value, uint64_t revision);
void stage_item(struct stage *stage, struct stage_op *op, struct slice key, const char *value,
                uint64_t revision, uint64_t position, bool more);

/* Turns until the condition holds. */
#define STAGE_UNTIL(stage, condition)                                         \
    do {                                                                      \
        for (int stage_turns = 0; !(condition); stage_turns++) {              \
            stage_turn(stage);                                                \
            cr_assert(stage_turns < 60000, "waited in vain for " #condition); \
        }                                                                     \
    } while (0)

static inline struct slice stage_text(const char *text)
{
    return (struct slice){(const uint8_t *)text, __builtin_strlen(text)};
}

#endif
