/* The log-writer's helper: prepares the next log segment (allocates and zeroes it, which is slow)
 * and removes those that are not needed any more, while the log-writer goes on writing. */
#include "actors/node.h"

/* A full disk, or no descriptor, is not fatal here: the log goes on in the segment it has, and asks
 * again. */
static int prepare(struct actor *actor, struct conclave_error *error)
{
    int code = wal_prepare_segment(actor->node->wal, error);
    if (code != CONCLAVE_NO_SPACE && code != CONCLAVE_NO_MEMORY)
        return code;
    log_event(&actor->node->logger, CONCLAVE_LOG_WARN, actor->ops->name, "no_next_segment",
              "reason=\"%s\"", error->message);
    return CONCLAVE_OK;
}

static int segments_run(struct actor *actor, struct conclave_error *error)
{
    for (;;) {
        inbox_wait(&actor->inbox, -1);
        for (struct envelope *envelope; (envelope = inbox_receive(&actor->inbox));) {
            enum envelope_type type = envelope->type;
            int code = CONCLAVE_OK;
            if (type == ENVELOPE_PREPARE_SEGMENT)
                code = prepare(actor, error);
            else if (type == ENVELOPE_REMOVE_SEGMENTS)
                code = wal_remove(actor->node->wal, envelope->segments, error);
            envelope_destroy(envelope);
            if (code || type == ENVELOPE_STOP || type == ENVELOPE_QUIT)
                return code;
        }
    }
}

const struct actor_ops segment_helper_ops = {.name = "segments", .run = segments_run};
