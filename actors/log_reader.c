/* The log reader: reads entries back that raft has let go of in memory, for a peer that is behind.
 * A thread of its own: raft must not wait for the disk, the log-writer writes, and the segment
 * helper takes its time over a segment. */
#include "actors/actor.h"

#include "actors/node.h"
#include "storage/wal_reader.h"

static int log_reader_start(struct actor *actor, struct conclave_error *error)
{
    const struct node *node = actor->node;
    (void)error;
    actor->state = wal_reader_create(node->io, node->options.data_dir, &node->identity);
    return CONCLAVE_OK;
}

static void log_reader_stop(struct actor *actor)
{
    wal_reader_destroy(actor->state);
}

/* Answers in any case: raft asks for one thing at a time for each peer. */
static void fetch(struct actor *actor, const struct raft_fetch *wanted)
{
    struct conclave_error error = {0};
    struct envelope *answer = envelope_create(ENVELOPE_FETCHED);
    answer->fetched.number = wanted->number;
    if (wal_reader_read(actor->state, wanted, &answer->fetched.entries, &error))
        log_event(&actor->node->logger, CONCLAVE_LOG_WARN, actor->ops->name, "not_read",
                  "index=%llu term=%llu reason=\"%s\"", (unsigned long long)wanted->first.index,
                  (unsigned long long)wanted->first.term, error.message);
    actor_send(actor, ACTOR_RAFT, &answer);
}

static int log_reader_run(struct actor *actor, struct conclave_error *error)
{
    (void)error;
    for (bool ended = false; !ended;) {
        inbox_wait(&actor->inbox, -1);
        for (struct envelope *envelope; !ended && (envelope = inbox_receive(&actor->inbox));) {
            ended = envelope->type == ENVELOPE_STOP || envelope->type == ENVELOPE_QUIT;
            if (envelope->type == ENVELOPE_FETCH)
                fetch(actor, &envelope->fetch);
            envelope_destroy(envelope);
        }
    }
    return CONCLAVE_OK;
}

const struct actor_ops log_reader_ops = {.name = "log-reader",
                                         .start = log_reader_start,
                                         .run = log_reader_run,
                                         .stop = log_reader_stop};
