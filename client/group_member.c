/* A member of a work group: a lease that is renewed, what it holds, and a stream by which it waits
 * for more (conclave_group.h).
 *
 *     fetch ──sequences──> held ──payloads, page by page──> handed out ──ack, nack──> gone
 *       ^                                                        │ extended while it lives
 *       └────────── wake: there may be something ────────────────┘
 *
 * What is held is held by this process's clock too, counted from before it was asked for: what that
 * says is over is not handed out any more. */
#include "client/group_member.h"
#include "base/clock.h"
#include "base/fatal.h"
#include "base/list.h"
#include "codec/kv_lease.h"

#include <stdlib.h>
#include <string.h>

enum {
    TTL_MS_MIN = 500,
    PREFETCH_DEFAULT = 16,
    ACKS_MAX = 256 /* told at once when there are so many */
};

/* --- The lease ----------------------------------------------------------------------------------
 */

static int lease_call(struct conclave_group_member *member, const struct kv_command *command,
                      uint32_t timeout_ms)
{
    struct pack pack;
    struct conclave_op op;
    struct kv_lease_answer answer = {0};
    uint64_t sent_us = clock_now_us();
    pack_init(&pack, CONCLAVE_KV_OVERHEAD);
    kv_command_pack(&pack, command);
    int code = group_call(member->client, CONCLAVE_OP_PROPOSE, &pack, timeout_ms, &op);
    if (!code && command->opcode != KV_LEASE_REVOKE)
        code = kv_lease_answer_decode(op.reply, op.reply_bytes, &answer);
    conclave_op_release(&op);
    if (code || command->opcode == KV_LEASE_REVOKE)
        return code;
    member->lease = answer.lease;
    member->sent_us = sent_us; /* the cluster's own count began later */
    member->renew_us = sent_us + (uint64_t)member->ttl_ms * 1000 / 3;
    return CONCLAVE_OK;
}

static uint32_t left_ms(const struct conclave_group_member *member)
{
    uint64_t end_us = member->sent_us + (uint64_t)member->ttl_ms * 1000, now_us = clock_now_us();
    return member->lost || now_us >= end_us ? 0 : (uint32_t)((end_us - now_us) / 1000);
}

uint32_t group_member_part_ms(const struct conclave_group_member *member)
{
    uint32_t left = left_ms(member), part = member->ttl_ms / 3;
    part = left < part ? left : part;
    return part ? part : 1;
}

static int keep_lease(struct conclave_group_member *member)
{
    if (left_ms(member) > 0 && clock_now_us() >= member->renew_us) {
        struct kv_command renew = {.opcode = KV_LEASE_RENEW, .lease = member->lease};
        uint32_t left = left_ms(member), part = member->ttl_ms / 6;
        int code = lease_call(member, &renew, left < part ? left : part);
        if (code == CONCLAVE_LEASE_EXPIRED)
            member->lost = true;
        else if (code) /* not known, or not now: again soon, as long as it lasts */
            member->renew_us = clock_now_us() + (uint64_t)member->ttl_ms * 1000 / 20;
    }
    if (left_ms(member) == 0)
        member->lost = true;
    return member->lost ? CONCLAVE_LEASE_EXPIRED : CONCLAVE_OK;
}

uint64_t conclave_group_member_lease(const struct conclave_group_member *member)
{
    return member->lease;
}

/* --- What is held -------------------------------------------------------------------------------
 */

uint32_t group_member_ranges(struct pack *pack, const uint64_t *sequences, uint32_t count)
{
    uint32_t ranges = 0;
    for (uint32_t i = 0, end = 0; i < count; i = end) {
        for (end = i + 1; end < count && sequences[end] == sequences[end - 1] + 1;)
            end++;
        if (pack)
            group_range_pack(pack, &(struct conclave_group_range){sequences[i], end - i});
        ranges++;
    }
    return ranges;
}

static int compare_sequences(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Some of what was to be settled is not held any more: others may have it. */
static void note_missing(struct conclave_group_member *member, struct group_ranges *missing)
{
    for (uint32_t i = 0; i < missing->count; i++) {
        struct conclave_group_range range = group_ranges_next(missing);
        for (uint32_t at = 0; at < member->held.count; at++)
            if (member->held.items[at].sequence - range.first < range.count)
                member->held.items[at].until_us = 0;
    }
}

int group_member_settle(struct conclave_group_member *member, enum group_opcode opcode,
                        uint64_t *sequences, uint32_t count, uint64_t delay_ms, uint32_t timeout_ms,
                        uint64_t *ret_settled)
{
    struct group_command command = {.opcode = opcode,
                                    .topic = group_member_topic(member),
                                    .group = group_member_group(member),
                                    .lease = member->lease,
                                    .delay_ms = delay_ms};
    struct group_settle_answer answer;
    struct pack pack;
    struct conclave_op op;
    qsort(sequences, count, sizeof *sequences, compare_sequences);
    pack_init(&pack, 0);
    group_command_pack(&pack, &command, group_member_ranges(NULL, sequences, count));
    (void)group_member_ranges(&pack, sequences, count);
    group_command_end(&pack, &command);
    int code = group_call(member->client, CONCLAVE_OP_PROPOSE, &pack,
                          timeout_ms ? timeout_ms : group_member_part_ms(member), &op);
    if (!code)
        code = group_settle_answer_decode(op.reply, op.reply_bytes, &answer);
    if (!code) {
        note_missing(member, &answer.missing);
        *ret_settled = answer.settled;
        member->idle = member->idle && answer.settled == 0;
    }
    conclave_op_release(&op);
    if (code == CONCLAVE_LEASE_EXPIRED)
        member->lost = true;
    return code;
}

/* Those whose time is half over, handed out or not. */
static int extend(struct conclave_group_member *member)
{
    uint64_t sequences[CONCLAVE_GROUP_FETCH_MAX], now_us = clock_now_us(), settled;
    uint32_t count = 0;
    for (uint32_t i = 0; i < member->held.count && count < CONCLAVE_GROUP_FETCH_MAX; i++) {
        const struct held *held = &member->held.items[i];
        if (held->until_us > now_us && held->until_us - now_us <= member->ack_us / 2)
            sequences[count++] = held->sequence;
    }
    if (count == 0)
        return CONCLAVE_OK;
    int code = group_member_settle(member, GROUP_EXTEND, sequences, count, 0, 0, &settled);
    for (uint32_t i = 0; !code && i < count; i++) {
        struct held *held = &member->held.items[group_member_find(member, sequences[i])];
        if (held->until_us) /* counted from before it was asked for */
            held->until_us = now_us + member->ack_us;
    }
    return code;
}

/* --- Settling -----------------------------------------------------------------------------------
 */

/* The first ones of what is to be told. */
static int flush_some(struct conclave_group_member *member, uint32_t timeout_ms, bool *ret_all)
{
    struct sequence_list *acks = &member->acks;
    uint32_t count =
        acks->count < CONCLAVE_GROUP_SETTLE_MAX ? acks->count : CONCLAVE_GROUP_SETTLE_MAX;
    uint64_t settled = 0;
    int code = group_member_settle(member, GROUP_ACK, acks->items, count, 0, timeout_ms, &settled);
    if (code && code != CONCLAVE_LEASE_EXPIRED && code != CONCLAVE_NOT_FOUND)
        return code; /* they are told again */
    acks->count -= count;
    memmove(acks->items, acks->items + count, acks->count * sizeof *acks->items);
    member->late_count += count - settled;
    *ret_all = *ret_all && settled == count;
    return code;
}

int conclave_group_flush(struct conclave_group_member *member, uint32_t timeout_ms)
{
    bool all = true;
    int code = CONCLAVE_OK;
    while (!code && member->acks.count > 0)
        code = flush_some(member, timeout_ms, &all);
    return code || all ? code : CONCLAVE_NOT_FOUND;
}

int conclave_group_ack(struct conclave_group_member *member, uint64_t sequence)
{
    uint32_t at = group_member_find(member, sequence);
    if (at >= member->next)
        return CONCLAVE_NOT_FOUND;
    group_member_remove(member, at);
    if (member->once)
        return CONCLAVE_OK;
    LIST_RESERVE(&member->acks);
    member->acks.items[member->acks.count++] = sequence;
    return member->acks.count < ACKS_MAX ? CONCLAVE_OK : conclave_group_flush(member, 0);
}

int conclave_group_nack(struct conclave_group_member *member, uint64_t sequence, uint64_t delay_ms,
                        uint32_t timeout_ms)
{
    uint32_t at = group_member_find(member, sequence);
    uint64_t settled = 0;
    if (at >= member->next)
        return CONCLAVE_NOT_FOUND;
    group_member_remove(member, at);
    if (member->once)
        return CONCLAVE_OK;
    int code =
        group_member_settle(member, GROUP_NACK, &sequence, 1, delay_ms, timeout_ms, &settled);
    return code || settled ? code : CONCLAVE_NOT_FOUND;
}

int conclave_group_poll(struct conclave_group_member *member)
{
    int code = keep_lease(member);
    if (!code)
        code = extend(member);
    return code == CONCLAVE_LEASE_EXPIRED ? code : CONCLAVE_OK; /* else tried again in time */
}

uint32_t conclave_group_poll_ms(const struct conclave_group_member *member)
{
    uint64_t now_us = clock_now_us(), due_us = member->renew_us;
    for (uint32_t i = 0; i < member->held.count; i++) {
        const struct held *held = &member->held.items[i];
        uint64_t half_us = held->until_us - member->ack_us / 2;
        if (held->until_us > now_us && half_us < due_us)
            due_us = half_us;
    }
    return member->lost || now_us >= due_us ? 0 : (uint32_t)((due_us - now_us) / 1000);
}

/* --- Life ---------------------------------------------------------------------------------------
 */

void conclave_group_member_options_init(struct conclave_group_member_options *options)
{
    *options = (struct conclave_group_member_options){
        .size = sizeof *options, .ttl_ms = 10000, .prefetch = PREFETCH_DEFAULT};
}

static int options_check(const struct conclave_group_member_options *options,
                         struct conclave_error *error)
{
    if (!options || options->size != sizeof *options || options->topic_bytes == 0 ||
        options->group_bytes == 0 || options->ttl_ms < TTL_MS_MIN || options->prefetch == 0)
        return error_set(error, CONCLAVE_INVALID,
                         "member options: use conclave_group_member_options_init, set topic "
                         "and group; ttl_ms is at least %d",
                         TTL_MS_MIN);
    if (options->topic_bytes > CONCLAVE_TOPIC_BYTES_MAX ||
        options->group_bytes > CONCLAVE_GROUP_BYTES_MAX ||
        options->prefetch > CONCLAVE_GROUP_FETCH_MAX)
        return error_set(error, CONCLAVE_TOO_LARGE,
                         "names of topics and groups have at most %d bytes, a fetch %d messages",
                         CONCLAVE_TOPIC_BYTES_MAX, CONCLAVE_GROUP_FETCH_MAX);
    return CONCLAVE_OK;
}

static int take_lease(struct conclave_group_member *member)
{
    struct conclave_group_info info;
    struct kv_command grant = {.opcode = KV_LEASE_GRANT, .ttl_ms = member->ttl_ms};
    int code = conclave_group_info(member->client, member->topic, member->topic_bytes,
                                   member->group, member->group_bytes, 0, &info);
    if (code)
        return code;
    member->group_id = info.id;
    member->ack_us = info.ack_ms * 1000;
    return lease_call(member, &grant, 0);
}

int conclave_group_join(struct conclave_client *client,
                        const struct conclave_group_member_options *options,
                        struct conclave_group_member **ret_member, struct conclave_error *error)
{
    int code = options_check(options, error);
    if (code)
        return code;
    struct conclave_group_member *member = mem_zalloc(sizeof *member);
    member->client = client;
    member->topic_bytes = options->topic_bytes;
    member->group_bytes = options->group_bytes;
    memcpy(member->topic, options->topic, options->topic_bytes);
    memcpy(member->group, options->group, options->group_bytes);
    member->ttl_ms = options->ttl_ms;
    member->prefetch = options->prefetch;
    member->once = options->once;
    code = take_lease(member);
    if (code) {
        (void)conclave_group_leave(member, 0);
        return error_set(error, code, "%s",
                         code == CONCLAVE_NOT_FOUND ? "no such topic, or no such group on it"
                                                    : conclave_code_text(code));
    }
    *ret_member = member;
    return CONCLAVE_OK;
}

int conclave_group_leave(struct conclave_group_member *member, uint32_t timeout_ms)
{
    int code = CONCLAVE_OK;
    if (!member)
        return code;
    if (member->lease && !member->lost) {
        struct kv_command revoke = {.opcode = KV_LEASE_REVOKE, .lease = member->lease};
        code = conclave_group_flush(member, timeout_ms);
        int revoked = lease_call(member, &revoke, timeout_ms);
        if (revoked && revoked != CONCLAVE_LEASE_EXPIRED)
            code = revoked;
    }
    group_member_page_drop(member);
    client_stream_destroy(member->stream);
    free(member->held.items);
    free(member->acks.items);
    free(member);
    return code == CONCLAVE_NOT_FOUND || code == CONCLAVE_LEASE_EXPIRED ? CONCLAVE_OK : code;
}
