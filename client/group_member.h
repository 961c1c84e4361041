/* client/group_member.h - the inside of struct conclave_group_member, shared by its files:
 * group_member.c (its lease, what it says of what it holds), group_member_next.c (what it gets).
 * One thread at a time. */
#ifndef CLIENT_GROUP_MEMBER_H
#define CLIENT_GROUP_MEMBER_H

#include "client/group.h"
#include "client/stream.h"

#include <string.h>

/* A message in hand. */
struct held {
    uint64_t sequence, deliveries;
    uint64_t until_us;
};

struct held_list {
    struct held *items;
    uint32_t count, capacity;
};

struct sequence_list {
    uint64_t *items;
    uint32_t count, capacity;
};

struct conclave_group_member {
    struct conclave_client *client;
    uint8_t topic[CONCLAVE_TOPIC_BYTES_MAX], group[CONCLAVE_GROUP_BYTES_MAX];
    size_t topic_bytes, group_bytes;
    uint64_t group_id, lease;
    uint32_t ttl_ms, prefetch;
    bool once, lost;
    uint64_t sent_us, renew_us; /* of the lease: as of a lock's */
    uint64_t ack_us;            /* the group's ack time */

    struct held_list held; /* those that were not handed out are the last ones */
    uint32_t next;         /* the first of those */
    struct sequence_list acks;
    uint64_t lost_count, late_count; /* that nobody was told of yet */

    struct conclave_op page; /* payloads of held messages from `next` on */
    struct group_messages_answer payloads;
    uint64_t covered; /* so many of them are still answered by it */
    bool peeked;
    struct topic_item item; /* if peeked */

    struct client_stream *stream; /* NULL: it has not waited yet */
    bool idle;                    /* the last fetch found nothing, and nothing happened since */
    uint64_t wake;
    struct conclave_group_fetched fetched;
};

static inline struct slice group_member_topic(const struct conclave_group_member *member)
{
    return (struct slice){member->topic, member->topic_bytes};
}
static inline struct slice group_member_group(const struct conclave_group_member *member)
{
    return (struct slice){member->group, member->group_bytes};
}

/* In the order of the list; behind `next` they are not handed out yet. */
static inline uint32_t group_member_find(const struct conclave_group_member *member,
                                         uint64_t sequence)
{
    uint32_t i = 0;
    while (i < member->held.count && member->held.items[i].sequence != sequence)
        i++;
    return i;
}

static inline void group_member_remove(struct conclave_group_member *member, uint32_t at)
{
    struct held_list *held = &member->held;
    memmove(held->items + at, held->items + at + 1, (held->count - at - 1) * sizeof *held->items);
    held->count--;
    member->next -= at < member->next;
}

/* Nothing that was not handed out can be used: it is asked for again, or comes back by itself. */
static inline void group_member_page_drop(struct conclave_group_member *member)
{
    conclave_op_release(&member->page);
    member->covered = 0;
    member->peeked = false;
}

/* How long a question may take, so that the lease can be renewed behind it. */
uint32_t group_member_part_ms(const struct conclave_group_member *member);

/* Sequences as ranges; how many there are. pack NULL: they are counted alone. */
uint32_t group_member_ranges(struct pack *pack, const uint64_t *sequences, uint32_t count);

/* Ack, nack or extend of up to CONCLAVE_GROUP_SETTLE_MAX sequences, which are sorted here. */
CONCLAVE_MUST_USE int group_member_settle(struct conclave_group_member *member,
                                          enum group_opcode opcode, uint64_t *sequences,
                                          uint32_t count, uint64_t delay_ms, uint32_t timeout_ms,
                                          uint64_t *ret_settled);

#endif
