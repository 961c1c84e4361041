/* Snapshots for nodes in repair, which ask for one themselves: raft knows nothing of them. A gift
 * ends when the node has it, or when it neither asks again nor answers for a while. */
#include "actors/snapshot_actor.h"

enum { GIFT_US = 3000000 };

static struct snapshot_gift *find_gift(struct snapshot_helper *helper, raft_node_id peer)
{
    for (size_t i = 0; i < SNAPSHOT_GIFTS_MAX; i++)
        if (helper->gifts[i].peer == peer)
            return &helper->gifts[i];
    return NULL;
}

void gifts_stream(struct snapshot_helper *helper, raft_node_id peer, bool wanted, uint64_t now_us)
{
    struct snapshot_gift *gift = find_gift(helper, peer);
    if (gift)
        gift->raft = wanted;
    if (wanted || !gift)
        streams_want(helper, peer, wanted, now_us);
}

/* One that reaches the entry that the asking node has behind the damage is surely enough. */
static void renew(struct actor *actor, const struct peer_repair *ask, uint64_t now_us)
{
    struct snapshot_helper *helper = actor->state;
    if (helper->newest.index >= ask->anchor.index || helper->repairing ||
        (helper->gift_wanted_us != 0 &&
         now_us - helper->gift_wanted_us < helper->sender.limits.again_us))
        return;
    helper->gift_wanted_us = now_us;
    struct envelope *wanted = envelope_create(ENVELOPE_SNAPSHOT_WANTED);
    actor_send(actor, ACTOR_MACHINE, &wanted);
}

void gifts_take(struct actor *actor, raft_node_id from, const struct peer_repair *ask,
                uint64_t now_us)
{
    struct snapshot_helper *helper = actor->state;
    renew(actor, ask, now_us);
    if (helper->newest.index == 0 || helper->newest.index < ask->last)
        return; /* it will ask again */
    struct snapshot_gift *gift = find_gift(helper, from);
    if (!gift) {
        gift = find_gift(helper, 0);
        if (!gift)
            return;
        *gift = (struct snapshot_gift){.peer = from,
                                       .raft = flow_stream_of(&helper->sender, from) != NULL};
        streams_want(helper, from, true, now_us);
    }
    gift->until_us = now_us + GIFT_US;
}

uint64_t gifts_tend(struct snapshot_helper *helper, uint64_t now_us)
{
    uint64_t due_us = UINT64_MAX;
    for (size_t i = 0; i < SNAPSHOT_GIFTS_MAX; i++) {
        struct snapshot_gift *gift = &helper->gifts[i];
        if (gift->peer == 0)
            continue;
        const struct flow_stream *stream = flow_stream_of(&helper->sender, gift->peer);
        uint64_t until_us = gift->until_us;
        if (stream && stream->open && stream->answered && stream->acked < stream->bytes &&
            stream->acked_us + GIFT_US > until_us)
            until_us = stream->acked_us + GIFT_US;
        if (now_us < until_us) {
            due_us = until_us < due_us ? until_us : due_us;
            continue;
        }
        if (!gift->raft)
            streams_want(helper, gift->peer, false, now_us);
        *gift = (struct snapshot_gift){0};
    }
    return due_us;
}
