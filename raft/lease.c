/* Leader leases (dissertation, 6.4.1; Rule 41): reads without a round.
 *
 * Voters promise, with each answer to an append, to help nobody else to lead for an election
 * timeout from the moment when they took the append in (they hold to a leader anyway, Rule 21; with
 * the option `leases` nothing but the leader's own wish may end that early). So from the moment
 * when a round of appends was *sent*, which is before any of them took it in, nobody else can be
 * elected for the shortest of a majority's promises, and what is committed is what this leader has
 * committed. A read that comes in that time needs to ask nobody.
 *
 * Promises end by the voters' clocks and the lease by the leader's. With clocks that run fast or
 * slow by at most d, a promise of P lasts at least P / (1 + d) of true time, and L on the leader's
 * clock at most L / (1 - d): so L = P * (1 - d) / (1 + d). With the default d of 20 % and an
 * election timeout of 500 ms that is 333 ms, which leaves room for a round lost and a slow answer
 * between heartbeats of 100 ms; a tighter bound would gain nothing, for a lease is renewed with
 * each heartbeat.
 *
 * What may end a promise early makes the lease void first: the leader that tells a voter to
 * campaign (a transfer; Rule 25) has no lease for the rest of its term. A voter that restarts keeps
 * its promise by waiting (Rule 42), one that loses its connection to the leader by not taking that
 * for its end (raft_on_peer_down). Nodes without the option promise nothing and are not counted. */
#include "raft/internal.h"

#include "base/fatal.h"

uint64_t raft_promise(const struct raft *raft)
{
    return raft->options.leases ? raft->options.election_timeout_us : 0;
}

void raft_lease_reset(struct raft *raft)
{
    raft->lease = (struct raft_lease){0};
    for (uint32_t i = 0; i < raft->peer_count; i++)
        raft->peers[i].lease_until_us = 0;
}

/* One round a heartbeat is enough: it rides on what would be sent anyway. */
void raft_lease_round(struct raft *raft)
{
    struct raft_lease *lease = &raft->lease;
    if (raft->role != RAFT_LEADER || !raft->options.leases ||
        (lease->count > 0 && raft->now_us < lease->begun_us + raft->options.heartbeat_us))
        return;
    raft->round++;
    lease->begun_us = raft->now_us;
    lease->rounds[lease->count++ % RAFT_LEASE_ROUNDS] =
        (struct raft_lease_round){.round = raft->round, .begun_us = raft->now_us};
}

uint64_t raft_lease_newest_round(const struct raft *raft)
{
    const struct raft_lease *lease = &raft->lease;
    return lease->count > 0 ? lease->rounds[(lease->count - 1) % RAFT_LEASE_ROUNDS].round : 0;
}

uint64_t raft_lease_deadline(const struct raft *raft)
{
    if (!raft->options.leases || raft->peer_count == 0)
        return UINT64_MAX;
    return raft->lease.begun_us + raft->options.heartbeat_us;
}

/* How long a promise of the peer's clock surely holds by this one's. */
static uint64_t without_drift(const struct raft *raft, uint64_t promise_us)
{
    uint64_t drift = raft->options.clock_drift_percent;
    ASSERT(drift < 100);
    /* Not more than the own timeout: no use, and the product stays small. */
    return raft_min(promise_us, raft->options.election_timeout_us) * (100 - drift) / (100 + drift);
}

void raft_lease_promised(struct raft *raft, struct raft_progress *peer, uint64_t round,
                         uint64_t promise_us)
{
    const struct raft_lease *lease = &raft->lease;
    uint64_t known = raft_min(lease->count, RAFT_LEASE_ROUNDS);
    /* The newest one that the answer covers: an append of a later round left after it. */
    for (uint64_t i = 1; i <= known; i++) {
        const struct raft_lease_round *begun =
            &lease->rounds[(lease->count - i) % RAFT_LEASE_ROUNDS];
        if (begun->round > round)
            continue;
        /* Rule 41: from when it was sent. When the answer came says nothing of when the promise
         * was given. */
        uint64_t until_us = begun->begun_us + without_drift(raft, promise_us);
        if (promise_us > 0)
            peer->lease_until_us = raft_max(peer->lease_until_us, until_us);
        return;
    }
}

static uint64_t promised_until(const void *arg, raft_node_id id)
{
    const struct raft *raft = arg;
    if (id == raft->options.id) /* while it leads it votes for nobody else */
        return raft->now_us + without_drift(raft, raft->options.election_timeout_us);
    const struct raft_progress *peer = raft_peer(raft, id);
    return peer ? peer->lease_until_us : 0;
}

uint64_t raft_lease_until(const struct raft *raft)
{
    /* Rule 40: before an own-term commit a leader does not know what is committed. Rule 41: a
     * leader that hands over may have a successor at any moment, also long after it gave up. */
    if (!raft->options.leases || !raft_is_serving(raft) || raft->transfer.target != 0 ||
        raft->lease.given_up)
        return 0;
    /* What a majority has promised; in the joint phase both (Rule 30). */
    uint64_t until_us = raft_configuration_committed(raft_members(raft), promised_until, raft);
    return until_us > raft->now_us ? until_us : 0;
}
