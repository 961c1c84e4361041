/* Whom votes and pre-votes go to (paper, section 5.4.1; Rule 19). */
#include "tests/sim/check.h"

#include <inttypes.h>

/* A log that ends with `last` is not behind one that ends with `own`. */
static bool is_up_to_date(struct raft_id last, struct raft_id own)
{
    return last.term != own.term ? last.term > own.term : last.index >= own.index;
}

static struct check_asked *asked_by(struct check *check, uint32_t node, uint32_t by, bool pre)
{
    struct check_node *at = &check->nodes[node];
    return pre ? &at->prevotes[by] : &at->votes[by];
}

void check_vote_request(struct check *check, uint32_t node, const struct raft_message *message)
{
    uint32_t from = check_find(check, message->from);
    if (from == check->node_count)
        return;
    struct check_asked *asked = asked_by(check, node, from, message->type == RAFT_PREVOTE_REQUEST);
    if (message->term < asked->term) /* an answer to the newer one may wait for the disk */
        return;
    if (message->term > asked->term)
        *asked = (struct check_asked){.term = message->term};
    if (!asked->open || is_up_to_date(message->vote_request.last, asked->last))
        asked->last = message->vote_request.last;
    asked->open = true;
}

/* An append in the same step may have come first; one that cuts leaves no trace of what the log was
 * in between, nor does a start. */
static void judge(const struct check_node *at, struct check_asked *asked,
                  const struct check_view *before)
{
    if (!asked->open)
        return;
    asked->fits = asked->fits || at->cut || before->last.index == 0 ||
                  is_up_to_date(asked->last, before->last) ||
                  is_up_to_date(asked->last, at->view.last);
    asked->open = false;
}

void check_votes_step(struct check *check, uint32_t node, const struct check_view *before)
{
    struct check_node *at = &check->nodes[node];
    for (uint32_t i = 0; i < check->node_count; i++) {
        judge(at, &at->votes[i], before);
        judge(at, &at->prevotes[i], before);
    }
    at->cut = false;
}

void check_granted(struct check *check, uint32_t node, const struct raft_message *message)
{
    bool pre = message->type == RAFT_PREVOTE_RESPONSE;
    const struct check_asked *asked = asked_by(check, node, check_find(check, message->to), pre);
    if (asked->term == message->vote_response.campaign_term && !asked->open && !asked->fits)
        check_fail(check, "votes go to logs that are not behind",
                   "n%u gives its %s for term %" PRIu64 " to n%" PRIu64
                   ", whose log ends at %" PRIu64 ":%" PRIu64,
                   node + 1, pre ? "pre-vote" : "vote", asked->term, message->to, asked->last.term,
                   asked->last.index);
}

/* --- Lives ------------------------------------------------------------------------------------ */

void check_life(struct check *check, uint32_t node, uint64_t before, uint64_t life)
{
    if (life <= before) /* Rule 15: by it answers of another life are told from those of this one */
        check_fail(check, "each life has a number of its own",
                   "n%u begins life %" PRIu64 " after life %" PRIu64, node + 1, life, before);
}
