/* Linearizable reads by ReadIndex (dissertation, 6.4): the leader notes its commit index, makes
 * sure by a round of appends that it still led afterwards, and the read is answered once everything
 * up to that index is applied. All reads of one step share a round.
 *
 * A follower asks its leader for the index, one request for all reads of a step, and answers when
 * it has applied that much itself: so every node serves reads that are linearizable. */
#include "raft/internal.h"

#include "base/fatal.h"

#include <stdlib.h>

static void read_done(struct raft *raft, uint64_t read, int code, uint64_t index)
{
    raft->read_index = raft_max(raft->read_index, index);
    RAFT_LIST_ADD(&raft->output->reads,
                  (struct raft_read_result){.read = read, .code = code, .index = index});
}

/* Rule 41: the read came before the clock of this step was looked at, the lease lasts longer than
 * that, so what this leader has committed is all that was committed when it came. */
static bool read_by_lease(struct raft *raft, uint64_t read)
{
    uint64_t until_us = raft_lease_until(raft);
    if (until_us == 0)
        return false;
    raft->read_index = raft_max(raft->read_index, raft->commit);
    RAFT_LIST_ADD(&raft->output->reads, (struct raft_read_result){.read = read,
                                                                  .code = CONCLAVE_OK,
                                                                  .index = raft->commit,
                                                                  .valid_until_us = until_us});
    return true;
}

static void read_message(struct raft *raft, enum raft_message_type type, raft_node_id to,
                         struct raft_read_index read_index)
{
    struct raft_message *message = raft_message_create(type, raft->options.id, to, raft->hard.term);
    message->read_index = read_index;
    raft_messages_add(&raft->output->send_now, message);
}

/* --- A follower's reads -------------------------------------------------------------------------
 */

static void follower_read_add(struct raft *raft, uint64_t read)
{
    if (raft->follower_reads.count >= raft->options.reads_max) {
        read_done(raft, read, CONCLAVE_BUSY, 0);
        return;
    }
    RAFT_LIST_ADD(&raft->follower_reads,
                  (struct raft_follower_read){
                      .read = read,
                      .until_us = raft->now_us + raft->options.election_timeout_us,
                  });
}

/* Takes the oldest `count` out of the list. */
static void follower_reads_drop(struct raft *raft, uint32_t count)
{
    if (count == 0)
        return;
    uint32_t left = raft->follower_reads.count - count;
    for (uint32_t i = 0; i < left; i++)
        raft->follower_reads.items[i] = raft->follower_reads.items[i + count];
    raft->follower_reads.count = left;
    raft->follower_reads_confirmed -=
        count < raft->follower_reads_confirmed ? count : raft->follower_reads_confirmed;
}

/* Rule 40: a request leaves after the reads that it is for came. One that is repeated, because it
 * or its answer was lost or the leader is another, has the number of the last one: all that wait
 * came before it. */
static void follower_reads_ask(struct raft *raft)
{
    uint32_t count = raft->follower_reads.count;
    if (count == raft->follower_reads_confirmed || raft->leader == 0)
        return;
    bool fresh = raft->follower_reads.items[count - 1].number == 0;
    bool due = raft->now_us >= raft->read_sent_us + raft->options.heartbeat_us;
    if (!fresh && !due && raft->read_sent_to == raft->leader)
        return;
    if (fresh)
        raft->read_number++;
    for (uint32_t i = count; i > 0 && raft->follower_reads.items[i - 1].number == 0; i--)
        raft->follower_reads.items[i - 1].number = raft->read_number;
    raft->read_sent_us = raft->now_us;
    raft->read_sent_to = raft->leader;
    read_message(raft, RAFT_READ_REQUEST, raft->leader,
                 (struct raft_read_index){.number = raft->read_number});
}

void raft_on_read_response(struct raft *raft, const struct raft_message *message)
{
    const struct raft_read_index *answer = &message->read_index;
    if (raft->role != RAFT_FOLLOWER || answer->index > RAFT_NUMBER_MAX)
        return;
    /* It holds whatever the term: who gave it led after the request had come to it, and so after
     * every read with this or a lower number had come here. */
    uint32_t *confirmed = &raft->follower_reads_confirmed;
    while (*confirmed < raft->follower_reads.count) {
        struct raft_follower_read *read = &raft->follower_reads.items[*confirmed];
        if (read->number == 0 || read->number > answer->number)
            return;
        read->index = answer->index;
        (*confirmed)++;
    }
}

static void follower_reads_confirm(struct raft *raft)
{
    uint32_t done = 0;
    for (; done < raft->follower_reads.count; done++) {
        const struct raft_follower_read *read = &raft->follower_reads.items[done];
        if (done < raft->follower_reads_confirmed && read->index <= raft->commit)
            read_done(raft, read->read, CONCLAVE_OK, read->index);
        else if (raft->now_us >= read->until_us)
            read_done(raft, read->read, raft_refusal_code(raft), 0);
        else
            break;
    }
    follower_reads_drop(raft, done);
}

uint64_t raft_reads_deadline(const struct raft *raft)
{
    if (raft->follower_reads.count == 0)
        return UINT64_MAX;
    uint64_t deadline = raft->follower_reads.items[0].until_us;
    if (raft->follower_reads_confirmed < raft->follower_reads.count && raft->leader != 0)
        deadline = raft_min(deadline, raft->read_sent_us + raft->options.heartbeat_us);
    return deadline;
}

/* --- A leader's reads, its own and those of followers -------------------------------------------
 */

static void reads_grow(struct raft *raft)
{
    uint32_t capacity = raft->read_capacity;
    if (raft->read_count * 2 >= capacity)
        capacity = capacity > 0 ? capacity * 2 : 16;
    struct raft_pending_read *reads = mem_alloc((size_t)capacity * sizeof *reads);
    for (uint32_t i = 0; i < raft->read_count; i++)
        reads[i] = raft->reads[raft->read_head + i];
    free(raft->reads);
    raft->reads = reads;
    raft->read_head = 0;
    raft->read_capacity = capacity;
}

/* False: too many wait. */
static bool read_add(struct raft *raft, struct raft_pending_read read)
{
    if (raft->read_count >= raft->options.reads_max)
        return false;
    if (raft->read_head + raft->read_count == raft->read_capacity)
        reads_grow(raft);
    raft->reads[raft->read_head + raft->read_count++] = read;
    return true;
}

void raft_on_read(struct raft *raft, uint64_t read, bool lease)
{
    if (lease && read_by_lease(raft, read))
        return;
    if (raft->role == RAFT_FOLLOWER && raft->leader != 0)
        follower_read_add(raft, read);
    else if (raft->role != RAFT_LEADER)
        read_done(raft, read, raft_refusal_code(raft), 0);
    else if (!read_add(raft, (struct raft_pending_read){.read = read}))
        read_done(raft, read, CONCLAVE_BUSY, 0);
}

void raft_on_read_request(struct raft *raft, const struct raft_message *message)
{
    /* Not answered: by somebody who does not lead, or has too much to do. The follower asks again,
     * and at last gives up. */
    if (raft->role != RAFT_LEADER)
        return;
    (void)read_add(raft, (struct raft_pending_read){.read = message->read_index.number,
                                                    .from = message->from});
    raft_prompt_wanted(raft, raft_peer(raft, message->from));
}

void raft_reads_start(struct raft *raft)
{
    if (raft->role == RAFT_FOLLOWER)
        follower_reads_ask(raft);
    /* Rule 40: before an own-term commit a leader does not know what is committed. */
    if (!raft_is_serving(raft))
        return;
    uint32_t end = raft->read_head + raft->read_count;
    uint32_t first = end;
    while (first > raft->read_head && raft->reads[first - 1].round == 0)
        first--;
    if (first == end)
        return;
    /* Rule 40: the index is taken before the round, and the round begins after the reads came. Its
     * number is the core's own, so no answer to an earlier round can confirm it. */
    raft_round_begin(raft);
    for (uint32_t i = first; i < end; i++) {
        struct raft_pending_read *read = &raft->reads[i];
        read->index = raft->commit;
        read->round = raft->round;
        read->begun_us = raft->now_us;
        if (read->from == 0)
            RAFT_LIST_ADD(&raft->output->reads_begun,
                          (struct raft_read_begun){.read = read->read, .index = read->index});
    }
}

static uint64_t round_of(const void *arg, raft_node_id id)
{
    const struct raft *raft = arg;
    if (id == raft->options.id)
        return UINT64_MAX;
    const struct raft_progress *peer = raft_peer(raft, id);
    return peer ? peer->round_acked : 0;
}

void raft_reads_confirm(struct raft *raft)
{
    if (raft->role == RAFT_FOLLOWER)
        follower_reads_confirm(raft);
    if (raft->role != RAFT_LEADER || raft->read_count == 0)
        return;
    uint64_t confirmed = raft_configuration_committed(raft_members(raft), round_of, raft);
    while (raft->read_count > 0) {
        const struct raft_pending_read *oldest = &raft->reads[raft->read_head];
        if (oldest->round == 0 || oldest->round > confirmed)
            return;
        if (oldest->from == 0)
            read_done(raft, oldest->read, CONCLAVE_OK, oldest->index);
        else
            read_message(raft, RAFT_READ_RESPONSE, oldest->from,
                         (struct raft_read_index){.number = oldest->read, .index = oldest->index});
        raft->read_head++;
        raft->read_count--;
    }
    raft->read_head = 0;
}

void raft_reads_fail(struct raft *raft, int code)
{
    ASSERT(code != CONCLAVE_OK);
    for (uint32_t i = 0; i < raft->read_count; i++) {
        const struct raft_pending_read *read = &raft->reads[raft->read_head + i];
        if (read->from == 0)
            read_done(raft, read->read, code, 0);
    }
    raft->read_head = 0;
    raft->read_count = 0;
    for (uint32_t i = 0; i < raft->follower_reads.count; i++)
        read_done(raft, raft->follower_reads.items[i].read, code, 0);
    raft->follower_reads.count = 0;
    raft->follower_reads_confirmed = 0;
}
