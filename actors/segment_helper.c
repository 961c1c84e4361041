/* The log-writer's helper: prepares the next log segment (allocates and zeroes it, which is slow)
 * while the log-writer goes on writing. */
#include "actors/node.h"

static int segments_run(struct actor *actor, struct conclave_error *error)
{
    for (;;) {
        inbox_wait(&actor->inbox, -1);
        for (struct envelope *envelope; (envelope = inbox_receive(&actor->inbox));) {
            enum envelope_type type = envelope->type;
            envelope_destroy(envelope);
            if (type == ENVELOPE_STOP || type == ENVELOPE_QUIT)
                return CONCLAVE_OK;
            if (type != ENVELOPE_PREPARE_SEGMENT)
                continue;
            int code = wal_prepare_segment(actor->node->wal, error);
            if (code)
                return code;
        }
    }
}

const struct actor_ops segment_helper_ops = {.name = "segments", .run = segments_run};
