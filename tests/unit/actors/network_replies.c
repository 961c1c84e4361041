/* What clients are told of an operation: the node's own sentences, and the machine's answers as
 * they are, whatever their codes. */
#include "actors/network.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct network *network;
static struct actor actor;

enum { CLIENT = 3 };

static void setup(void)
{
    network = calloc(1, sizeof *network);
    actor = (struct actor){.state = network};
    network->clients.pending = pending_create(1 << 20);
}

static void teardown(void)
{
    for (uint32_t i = 0; i < network->clients.replies.count; i++)
        buf_unref(network->clients.replies.items[i].body);
    free(network->clients.replies.items);
    free(network->clients.frames.items);
    free(network->clients.frame_of[0].items);
    pending_destroy(network->clients.pending);
    reads_ahead_deinit(&network->reads);
    free(network);
}

TestSuite(network_replies, .init = setup, .fini = teardown, .timeout = 600);

/* What becomes of an operation of the client's. */
static const struct staged_reply *take(struct reply reply)
{
    static uint64_t request;
    struct reply_list list = {0};
    struct raft_origin origin;
    cr_assert(pending_enter(network->clients.pending, CLIENT, ++request, 1, &origin));
    reply_add(&list, origin, reply.code, reply.body);
    reply.origin = origin;
    list.items[0] = reply;
    network_take_replies(&actor, &list);
    cr_assert_eq(list.count, 0);
    reply_list_clear(&list);
    cr_assert_eq(pending_count(network->clients.pending), 0, "it is answered");
    const struct staged_reply *staged =
        &network->clients.replies.items[network->clients.replies.count - 1];
    cr_assert_eq(staged->request, request);
    cr_assert_eq(staged->code, reply.code);
    return staged;
}

Test(network_replies, refusal_says_why)
{
    static const char why[] = "another change of the members is under way";
    cr_assert_str_eq(take((struct reply){.code = CONCLAVE_BUSY, .text = why})->text, why);
    cr_assert_str_eq(take((struct reply){.code = CONCLAVE_INVALID, .text = why})->text, why);
}

Test(network_replies, refusal_without_a_reason_has_the_sentence_of_its_code)
{
    static const int codes[] = {CONCLAVE_BUSY,     CONCLAVE_STOPPING,        CONCLAVE_UNKNOWN,
                                CONCLAVE_HANDOVER, CONCLAVE_SESSION_EXPIRED, CONCLAVE_FORGOTTEN,
                                CONCLAVE_STALE};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        const struct staged_reply *staged = take((struct reply){.code = codes[i]});
        cr_assert_not_null(staged->text, "%s", conclave_code_text(codes[i]));
        cr_assert_str_eq(staged->text, conclave_code_text(codes[i]));
        cr_assert_not(staged->redirect);
    }
    cr_assert_null(take((struct reply){.code = CONCLAVE_OK})->text);
}

Test(network_replies, refusal_by_who_does_not_lead_says_who_does)
{
    cr_assert(take((struct reply){.code = CONCLAVE_NOT_LEADER})->redirect);
    cr_assert(take((struct reply){.code = CONCLAVE_NO_LEADER})->redirect);
}

/* Or a client would send a command again that was applied. */
Test(network_replies, answer_of_the_machine_is_no_refusal_whatever_its_code)
{
    static const int codes[] = {CONCLAVE_BUSY, CONCLAVE_NOT_LEADER, CONCLAVE_UNKNOWN};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        const struct staged_reply *staged =
            take((struct reply){.code = codes[i], .answer = true, .text = "no"});
        cr_assert_null(staged->text);
        cr_assert_not(staged->redirect);
    }
}

Test(network_replies, body_is_handed_on_and_stands_for_itself)
{
    struct buf *body = buf_copy("body", 4);
    const struct staged_reply *staged = take((struct reply){.code = CONCLAVE_BUSY, .body = body});
    cr_assert_eq(staged->body, body);
    cr_assert_null(staged->text);
}
