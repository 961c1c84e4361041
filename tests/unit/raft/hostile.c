/* Nothing that a message holds can stop a node, but for the proofs of broken safety. */
#include "cluster.h"

#include "base/prng.h"

#include <criterion/criterion.h>

static struct cluster c;

Test(hostile, messages_to_others_and_answers_of_strangers_are_ignored)
{
    cluster_setup(&c, 3, 1);
    struct raft_message *other = vote_request(RAFT_VOTE_REQUEST, 2, 1, 9, id_of(9, 9));
    other->to = 3;
    struct raft_event event = {.type = RAFT_EVENT_RECEIVE, .receive = other};
    cluster_step(&c, 1, &event, 1);
    cluster_receive(&c, vote_response(RAFT_VOTE_RESPONSE, 44, 1, 1, 1, true));
    cluster_receive(&c, vote_request(RAFT_VOTE_REQUEST, 1, 1, 9, id_of(9, 9)));
    cluster_receive(&c, append_accepted(44, 1, 1, 1, 0));
    cr_assert_eq(c.nodes[1].code, CONCLAVE_OK);
    cr_assert_eq(raft_hard_state(c.nodes[1].raft).term, 1);
    cr_assert_eq(c.wire.count, 0);
    cr_assert_eq(c.nodes[1].persist_count, 0);
    cluster_deinit(&c);
}

Test(hostile, terms_that_sums_could_overflow_are_ignored)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, vote_request(RAFT_VOTE_REQUEST, 2, 1, UINT64_MAX, id_of(9, 9)));
    cluster_receive(&c, vote_request(RAFT_PREVOTE_REQUEST, 2, 1, 0, id_of(9, 9)));
    cluster_receive(&c, append_request(2, 1, UINT64_MAX, id_of(1, 1), 0, NULL, 0));
    cluster_receive(&c, append_request(2, 1, 5, id_of(1, UINT64_MAX), 0, NULL, 0));
    cr_assert_eq(c.nodes[1].code, CONCLAVE_OK);
    cr_assert_eq(raft_hard_state(c.nodes[1].raft).term, 1);
    cr_assert_eq(c.wire.count, 0);
    cluster_deinit(&c);
}

Test(hostile, an_acknowledgement_beyond_the_log_is_ignored)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, UINT64_MAX, 0));
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cr_assert_eq(raft_commit(c.nodes[1].raft), 1);
    cluster_deinit(&c);
}

/* An append of one entry behind `prev`, of this term and kind. */
static struct raft_message *append_of(struct raft_id prev, uint64_t term, enum raft_entry_kind kind)
{
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch, (struct raft_entry){.id = id_of(term, prev.index + 1), .kind = kind});
    struct raft_message *message = append_request(2, 1, 2, prev, 0, NULL, 0);
    raft_runs_append(&message->append_request.entries, batch, 0, 1);
    raft_batch_unref(batch);
    return message;
}

Test(hostile, entries_of_no_term_or_of_an_unknown_kind_are_ignored)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, append_of(id_of(1, 1), 2, (enum raft_entry_kind)(RAFT_ENTRY_SESSION + 1)));
    cluster_receive(&c, append_of(id_of(0, 0), 0, RAFT_ENTRY_NOOP));
    cr_assert_eq(c.nodes[1].code, CONCLAVE_OK);
    cr_assert_eq(raft_hard_state(c.nodes[1].raft).term, 1, "not even their term is taken");
    cr_assert_eq(c.wire.count, 0);
    static const enum raft_entry_kind known[] = {RAFT_ENTRY_NOOP, RAFT_ENTRY_COMMAND,
                                                 RAFT_ENTRY_SESSION};
    for (uint64_t index = 1; index <= 3; index++) {
        cluster_receive(&c, append_of(id_of(index == 1 ? 1 : 2, index), 2, known[index - 1]));
        cr_assert_eq(raft_last(c.nodes[1].raft).index, index + 1);
    }
    cluster_deinit(&c);
}

static uint64_t any(struct prng *prng)
{
    switch (prng_below(prng, 4)) {
    case 0:
        return prng_next(prng);
    case 1:
        return UINT64_MAX - prng_below(prng, 2);
    default:
        return prng_below(prng, 8);
    }
}

/* A message with every number at random, mostly small. */
static struct raft_message *garbage(struct prng *prng, raft_node_id to)
{
    enum raft_message_type type = (enum raft_message_type)prng_below(prng, 14);
    struct raft_message *m = raft_message_create(type, prng_below(prng, 5), to, any(prng));
    uint64_t terms[3];
    for (int i = 0; i < 3; i++)
        terms[i] = prng_below(prng, 6);
    switch (type) {
    case RAFT_PREVOTE_REQUEST:
    case RAFT_VOTE_REQUEST:
        m->vote_request.last = id_of(any(prng), any(prng));
        break;
    case RAFT_PREVOTE_RESPONSE:
    case RAFT_VOTE_RESPONSE:
        m->vote_response.granted = prng_below(prng, 2);
        m->vote_response.campaign_term = any(prng);
        break;
    case RAFT_APPEND_REQUEST: {
        raft_node_id from = m->from;
        uint64_t term = m->term;
        raft_message_destroy(m);
        m = append_request(from, to, term, id_of(prng_below(prng, 6), prng_below(prng, 8)),
                           any(prng), terms, prng_below(prng, 4));
        if (prng_below(prng, 4) == 0)
            m->append_request.prev = id_of(any(prng), any(prng));
        m->append_request.round = any(prng);
        break;
    }
    case RAFT_APPEND_RESPONSE:
        m->append_response =
            (struct raft_append_response){.result = (enum raft_append_result)prng_below(prng, 5),
                                          .match = any(prng),
                                          .rejected = any(prng),
                                          .conflict = id_of(any(prng), any(prng)),
                                          .last_index = any(prng),
                                          .round = any(prng)};
        break;
    case RAFT_READ_REQUEST:
    case RAFT_READ_RESPONSE:
        m->read_index = (struct raft_read_index){.number = any(prng), .index = any(prng)};
        break;
    case RAFT_TIMEOUT_NOW:
        break;
    }
    return m;
}

Test(hostile, random_messages_never_stop_a_node_without_a_reason)
{
    struct prng prng;
    prng_init(&prng, 1);
    for (int run = 0; run < 300; run++) {
        cluster_setup(&c, 3, 1);
        for (int i = 0; i < 200 && c.nodes[1].code == CONCLAVE_OK; i++) {
            cluster_receive(&c, garbage(&prng, 1));
            if (c.nodes[1].code == CONCLAVE_OK && prng_below(&prng, 3) == 0)
                cluster_persist_all(&c, 1);
            if (c.nodes[1].code == CONCLAVE_OK && prng_below(&prng, 4) == 0) {
                cluster_advance(&c, prng_below(&prng, T_US));
                cluster_timeout(&c, 1);
                cluster_propose(&c, 1, 1, 1);
                cluster_read(&c, 1, 1);
            }
            cluster_drop_all(&c);
        }
        cr_assert(c.nodes[1].code == CONCLAVE_OK || c.nodes[1].code == CONCLAVE_INTERNAL);
        cluster_deinit(&c);
    }
}
