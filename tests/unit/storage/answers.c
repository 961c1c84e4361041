/* Answers of peers that are wrong, come in parts, hold too much or agree with nothing: a damaged
 * log takes what can be, and in the end has what it had. */
#include "healing.h"

#include "storage/wal_repair_internal.h"

#include <criterion/criterion.h>
#include <string.h>

enum { PLACES_MAX = 1024 };

/* A long beginning of one term, then every entry of a term of its own. */
static const struct step story_late[] = {
    {STEP_APPEND, 2, 2, 150}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 3, 152, 1}, {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 4, 153, 1}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 5, 154, 1}, {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 6, 155, 1}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 7, 156, 1}, {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 8, 157, 3}, {STEP_SYNC, 0, 0, 0}, {STEP_ATTEST, 0, 0, 0},   {STEP_END, 0, 0, 0}};

/* A log that lost the records of the entries `first` to `last` and all between them, and knows it.
 */
struct asking {
    struct peer peer;
    struct memory_disk *disk;
    struct wal_repair *repair;
    struct wal_want want;
};

static uint64_t index_at(const struct memory_disk *disk, const struct placed *place)
{
    size_t bytes = 0;
    uint64_t index;
    const uint8_t *data = memory_disk_bytes(disk, place->path, &bytes);
    memcpy(&index, data + place->offset + 40, sizeof index);
    return index;
}

static void asking_begin(struct asking *asking, uint64_t first, uint64_t last)
{
    struct placed places[PLACES_MAX];
    struct conclave_error error = {0};
    peer_make(&asking->peer, story_late);
    asking->disk = memory_disk_clone(asking->peer.disk);
    size_t count = image_layout(asking->peer.disk, places, PLACES_MAX);
    for (size_t i = 0; i < count; i++) {
        uint64_t index = index_at(asking->peer.disk, &places[i]);
        if (index >= first && (places[i].is_batch ? index < last : index <= last))
            memory_disk_rot(asking->disk, places[i].path, places[i].offset + 4, "\x5a\xa5", 2);
    }
    cr_assert_eq(wal_repair_open(memory_disk_io(asking->disk), STORY_DIR, &story_identity,
                                 &asking->repair, &error),
                 CONCLAVE_OK, "%s", error.message);
    if (first <= last)
        cr_assert(wal_repair_want(asking->repair, &asking->want));
}

static void asking_end(struct asking *asking)
{
    wal_repair_close(asking->repair);
    memory_disk_destroy(asking->disk);
    peer_free(&asking->peer);
}

/* Answers with what the peer has of these. */
static int answer(struct asking *asking, struct raft_id prev, uint64_t first, uint64_t last)
{
    struct raft_runs entries = {0};
    if (first <= last)
        raft_runs_slice(&asking->peer.log.entries, first, last - first + 1, UINT64_MAX, &entries);
    int code = wal_repair_take(asking->repair, prev, &entries, NULL);
    raft_runs_clear(&entries);
    return code;
}

/* Answers with entries of one term. */
static void answer_of(struct asking *asking, struct raft_id prev, uint64_t term, uint64_t first,
                      uint64_t count)
{
    struct raft_runs entries = {0};
    runs_fill(&entries, term, first, count);
    cr_assert_eq(wal_repair_take(asking->repair, prev, &entries, NULL), CONCLAVE_OK);
    raft_runs_clear(&entries);
}

/* What is wanted is the same as before. */
static void expect_ignored(struct asking *asking, const char *what)
{
    struct wal_want want;
    cr_assert(wal_repair_want(asking->repair, &want), "%s", what);
    cr_assert(raft_id_equal(want.prev, asking->want.prev), "%s", what);
    cr_assert(raft_id_equal(want.anchor, asking->want.anchor), "%s", what);
    cr_assert_eq(want.last, asking->want.last, "%s", what);
}

/* The peer answers until nothing is wanted; then the log is what it was. */
static void expect_whole(struct asking *asking)
{
    struct conclave_error error = {0};
    struct wal_recovery found = {0};
    int rounds = 0;
    for (; wal_repair_want(asking->repair, &asking->want); rounds++) {
        const uint64_t from = asking->want.prev.index;
        const struct raft_entry *prev = raft_runs_find(&asking->peer.log.entries, from);
        cr_assert_lt(rounds, 300, "it never ends");
        cr_assert_eq(
            answer(asking, prev ? prev->id : (struct raft_id){0}, from + 1, asking->want.last),
            CONCLAVE_OK);
    }
    cr_assert_eq(wal_repair_write(asking->repair, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(log_read(memory_disk_io(asking->disk), &found, &error), CONCLAVE_OK, "%s",
                 error.message);
    cr_assert(story_matches(&asking->peer.story, asking->peer.story.staged_count, &found.entries));
    raft_runs_clear(&found.entries);
}

/* Until what is missing is asked for by its checksum. */
static void turn_to_proof(struct asking *asking)
{
    for (int turns = 0; asking->want.anchor.index > 0; turns++) {
        cr_assert_lt(turns, 100, "it is never asked for by its checksum");
        wal_repair_turn(asking->repair);
        cr_assert(wal_repair_want(asking->repair, &asking->want));
    }
}

/* --- By an anchor ----------------------------------------------------------------------------- */

Test(answers, a_log_that_lacks_nothing_asks_for_nothing)
{
    struct asking asking;
    asking_begin(&asking, 1, 0);
    cr_assert_not(wal_repair_want(asking.repair, &asking.want));
    wal_repair_turn(asking.repair);
    wal_repair_cover(asking.repair, (struct raft_id){2, 100});
    cr_assert(wal_repair_is_nearest(asking.repair));
    cr_assert_eq(wal_repair_missing(asking.repair), 0);
    cr_assert_eq(wal_repair_holes(asking.repair), 0);
    cr_assert_eq(answer(&asking, (struct raft_id){2, 10}, 11, 12), CONCLAVE_OK);
    expect_whole(&asking);
    cr_assert(memory_disk_equal(asking.disk, asking.peer.disk));
    asking_end(&asking);
}

Test(answers, entries_behind_what_is_wanted_are_left_out)
{
    struct asking asking;
    asking_begin(&asking, 20, 24);
    wal_repair_turn(asking.repair); /* the nearest anchor may be the last entry that is lost */
    cr_assert(wal_repair_want(asking.repair, &asking.want));
    cr_assert_lt(asking.want.last, asking.want.anchor.index);
    cr_assert_eq(
        answer(&asking, asking.want.prev, asking.want.prev.index + 1, asking.want.anchor.index),
        CONCLAVE_OK);
    struct wal_want next;
    cr_assert(!wal_repair_want(asking.repair, &next) || next.prev.index >= asking.want.last);
    expect_whole(&asking);
    asking_end(&asking);
}

/* The second part comes from a log that has something else where the first one ends, or does not
 * know what it has there. */
Test(answers, a_part_that_does_not_go_on_from_the_one_before_is_ignored)
{
    struct asking asking;
    asking_begin(&asking, 20, 24);
    const struct raft_id prev = asking.want.prev;
    cr_assert_eq(answer(&asking, prev, prev.index + 1, prev.index + 2), CONCLAVE_OK);
    cr_assert(wal_repair_want(asking.repair, &asking.want));
    const struct raft_id got = {2, prev.index + 2};
    cr_assert(raft_id_equal(asking.want.prev, got));
    cr_assert_eq(answer(&asking, (struct raft_id){1, got.index}, got.index + 1, got.index + 1),
                 CONCLAVE_OK);
    expect_ignored(&asking, "another term before it");
    cr_assert_eq(answer(&asking, (struct raft_id){0, got.index}, 1, 0), CONCLAVE_OK);
    expect_ignored(&asking, "nothing behind nothing known");
    answer_of(&asking, (struct raft_id){0, got.index}, 1, got.index + 1, 1);
    expect_ignored(&asking, "what is before it is not known, and it is of another term");
    answer_of(&asking, (struct raft_id){0, got.index}, 2, got.index + 1, 1);
    cr_assert(wal_repair_want(asking.repair, &asking.want));
    cr_assert_eq(asking.want.prev.index, got.index + 1, "of the same term: it was one leader's");
    expect_whole(&asking);
    asking_end(&asking);
}

Test(answers, only_the_anchor_can_stand_at_its_index)
{
    struct asking asking;
    asking_begin(&asking, 153, 154);
    const struct wal_want want = asking.want;
    cr_assert_lt(want.prev.term, want.anchor.term);
    answer_of(&asking, want.prev, want.prev.term, want.prev.index + 1,
              want.anchor.index - want.prev.index);
    expect_ignored(&asking, "of a term below the anchor's");
    expect_whole(&asking);
    asking_end(&asking);
}

Test(answers, no_entry_is_of_no_term)
{
    struct asking asking;
    asking_begin(&asking, 1, 1);
    cr_assert_eq(asking.want.prev.index, 0);
    answer_of(&asking, (struct raft_id){0}, 0, 1, 1);
    expect_ignored(&asking, "term 0");
    expect_whole(&asking);
    asking_end(&asking);
}

/* Whoever has something else before every hole, back to the beginning, has another log. */
Test(answers, a_log_with_nothing_in_common_is_told)
{
    struct asking asking;
    struct conclave_error error = {0};
    struct raft_runs nothing = {0};
    int code = CONCLAVE_OK, steps = 0;
    asking_begin(&asking, 153, 154);
    struct memory_disk *before = memory_disk_clone(asking.disk);
    uint64_t from = UINT64_MAX;
    for (; code == CONCLAVE_OK; steps++) {
        cr_assert(wal_repair_want(asking.repair, &asking.want));
        cr_assert_lt(asking.want.prev.index, from, "it goes back");
        from = asking.want.prev.index;
        code = wal_repair_take(asking.repair, (struct raft_id){99, from}, &nothing, &error);
        if (code == CONCLAVE_OK)
            code = wal_repair_take(asking.repair, (struct raft_id){asking.want.prev.term + 1, from},
                                   &nothing, &error);
        wal_repair_want(asking.repair, &asking.want);
    }
    cr_assert_eq(code, CONCLAVE_CORRUPT);
    cr_assert_not_null(strstr(error.message, "nothing in common"), "%s", error.message);
    cr_assert_eq(from, 0);
    cr_assert(steps > 3 && steps < 20, "in steps that grow, up to a limit: %d", steps);
    cr_assert(memory_disk_equal(before, asking.disk));
    memory_disk_destroy(before);
    asking_end(&asking);
}

/* --- By links --------------------------------------------------------------------------------- */

/* One has the second entry, another one the first, and something else in the place of the second.
 */
Test(answers, what_comes_in_parts_is_put_together_whoever_has_them)
{
    struct asking asking;
    asking_begin(&asking, 153, 154);
    wal_repair_ask(asking.repair, 2);
    turn_to_proof(&asking);
    const uint64_t from = asking.want.prev.index;
    cr_assert_eq(asking.want.last, 154);
    cr_assert_eq(asking.want.giver, 1);
    cr_assert_eq(answer(&asking, (struct raft_id){0, from}, 1, 0), CONCLAVE_OK);
    expect_ignored(&asking, "nothing");
    cr_assert_eq(answer(&asking, (struct raft_id){0, 153}, 154, 154), CONCLAVE_OK);
    cr_assert(wal_repair_want(asking.repair, &asking.want), "the first one is missing");
    cr_assert_eq(asking.want.giver, 2);
    cr_assert_eq(asking.want.prev.index, from, "the second one is asked for all of it");
    cr_assert_eq(answer(&asking, (struct raft_id){0, from}, from + 1, 153), CONCLAVE_OK);
    cr_assert(wal_repair_want(asking.repair, &asking.want));
    cr_assert_eq(asking.want.prev.index, 153);
    answer_of(&asking, asking.want.prev, 4, 154, 1); /* it was of term 5 */
    cr_assert_not(wal_repair_want(asking.repair, &asking.want));
    expect_whole(&asking);
    asking_end(&asking);
}

/* However many answers it takes: each index is looked up in every part. */
Test(answers, what_one_of_the_others_gives_piece_by_piece_is_one_part)
{
    struct asking asking;
    asking_begin(&asking, 140, 154);
    wal_repair_ask(asking.repair, 2);
    turn_to_proof(&asking);
    const struct wal_want all = asking.want;
    cr_assert_geq(all.last, all.prev.index + 10);
    for (uint64_t giver = 1; giver <= 2; giver++) { /* the first one has all but the last entry */
        for (uint64_t index = all.prev.index + 1; index + giver - 1 < all.last; index++) {
            cr_assert(wal_repair_want(asking.repair, &asking.want));
            cr_assert_eq(asking.want.giver, giver);
            cr_assert_eq(answer(&asking, asking.want.prev, index, index), CONCLAVE_OK);
            cr_assert_eq(asking.repair->proof.parts.count, giver, "%zu parts",
                         asking.repair->proof.parts.count);
        }
        if (giver == 1)
            wal_repair_turn(asking.repair);
    }
    cr_assert(wal_repair_want(asking.repair, &asking.want));
    cr_assert_eq(answer(&asking, asking.want.prev, all.last - 1, all.last - 1), CONCLAVE_OK);
    cr_assert_eq(answer(&asking, (struct raft_id){0, all.last - 1}, all.last, all.last),
                 CONCLAVE_OK);
    cr_assert_not(wal_repair_want(asking.repair, &asking.want));
    expect_whole(&asking);
    asking_end(&asking);
}

Test(answers, what_one_log_never_had_another_one_gives)
{
    struct asking asking;
    asking_begin(&asking, 153, 154);
    wal_repair_ask(asking.repair, 2);
    turn_to_proof(&asking);
    const uint64_t from = asking.want.prev.index;
    answer_of(&asking, (struct raft_id){0, from}, 4, from + 1, 154 - from);
    cr_assert(wal_repair_want(asking.repair, &asking.want), "others may have it");
    cr_assert_eq(asking.want.giver, 2);
    cr_assert_eq(answer(&asking, (struct raft_id){0, from}, from + 1, 154), CONCLAVE_OK);
    cr_assert_not(wal_repair_want(asking.repair, &asking.want));
    expect_whole(&asking);
    asking_end(&asking);
}

/* What is of the highest term is tried first, and the others as well. */
Test(answers, what_others_show_in_its_place_hides_nothing)
{
    struct asking asking;
    asking_begin(&asking, 153, 154);
    wal_repair_ask(asking.repair, 3);
    turn_to_proof(&asking);
    const uint64_t from = asking.want.prev.index;
    answer_of(&asking, (struct raft_id){0, from}, 3, from + 1, 154 - from);
    answer_of(&asking, (struct raft_id){0, from}, 9, from + 1, 154 - from);
    cr_assert(wal_repair_want(asking.repair, &asking.want));
    cr_assert_eq(asking.want.giver, 3);
    cr_assert_eq(answer(&asking, (struct raft_id){0, from}, from + 1, 154), CONCLAVE_OK);
    cr_assert_not(wal_repair_want(asking.repair, &asking.want));
    expect_whole(&asking);
    asking_end(&asking);
}

/* The first part is of somebody whose log is another one, or whose memory is: with the second part
 * of whoever has it right it leads to another link. Nothing of the mixture is taken, and it is all
 * asked for again, of whoever. */
Test(answers, what_is_mixed_of_right_and_wrong_is_refused_as_a_whole)
{
    struct asking asking;
    struct raft_runs wrong = {0};
    asking_begin(&asking, 20, 29);
    const struct raft_id prev = asking.want.prev;
    cr_assert_eq(prev.index, 19);
    const uint64_t last = asking.want.last, missing = wal_repair_missing(asking.repair);
    cr_assert_gt(last, 21);
    struct raft_batch *batch = raft_batch_create(2);
    for (uint64_t index = 20; index < 22; index++) {
        const uint8_t byte = (uint8_t)index;
        struct raft_entry entry = {.id = {.term = 2, .index = index}, .kind = RAFT_ENTRY_COMMAND};
        entry.buf = buf_copy(&byte, 1);
        entry.payload = (struct slice){.data = entry.buf->data, .bytes = 1};
        raft_batch_add(batch, entry);
    }
    raft_runs_append(&wrong, batch, 0, 2);
    raft_batch_unref(batch);
    cr_assert_eq(wal_repair_take(asking.repair, prev, &wrong, NULL), CONCLAVE_OK,
                 "alone it shows nothing");
    raft_runs_clear(&wrong);
    cr_assert(wal_repair_want(asking.repair, &asking.want));
    cr_assert_eq(asking.want.prev.index, 21);
    cr_assert_eq(answer(&asking, asking.want.prev, 22, last), CONCLAVE_INVALID);
    cr_assert(wal_repair_want(asking.repair, &asking.want));
    cr_assert(raft_id_equal(asking.want.prev, prev), "from the beginning");
    cr_assert_eq(wal_repair_missing(asking.repair), missing);
    expect_whole(&asking);
    asking_end(&asking);
}

/* --- By nobody -------------------------------------------------------------------------------- */

/* An entry without payload is found by its checksum alone, if not too many terms have to be tried:
 * the last ones before what stands behind it are. */
static bool is_found_alone(uint64_t term, uint64_t term_behind)
{
    const struct step steps[] = {{STEP_APPEND, 2, 2, 1},    {STEP_SYNC, 0, 0, 0},
                                 {STEP_APPEND, term, 3, 1}, {STEP_APPEND, term_behind, 4, 1},
                                 {STEP_SYNC, 0, 0, 0},      {STEP_ATTEST, 0, 0, 0},
                                 {STEP_END, 0, 0, 0}};
    struct peer peer;
    struct placed places[PLACES_MAX];
    struct wal_repair *repair = NULL;
    struct wal_want want;
    cr_assert_eq(payload_of((struct raft_id){term, 3}).bytes, 0);
    peer_make(&peer, steps);
    struct memory_disk *disk = memory_disk_clone(peer.disk);
    size_t count = image_layout(peer.disk, places, PLACES_MAX);
    for (size_t i = 0; i < count; i++)
        if (!places[i].is_batch && index_at(peer.disk, &places[i]) == 3)
            memory_disk_rot(disk, places[i].path, places[i].offset + 4, "x", 1);
    cr_assert_eq(wal_repair_open(memory_disk_io(disk), STORY_DIR, &story_identity, &repair, NULL),
                 CONCLAVE_OK);
    cr_assert_eq(wal_repair_holes(repair), 1);
    bool found = !wal_repair_want(repair, &want);
    wal_repair_close(repair);
    cr_assert_eq(heal(&peer, disk, "one entry"), OUTCOME_SAME_BYTES);
    memory_disk_destroy(disk);
    peer_free(&peer);
    return found;
}

Test(answers, only_so_many_terms_are_tried_before_others_are_asked)
{
    cr_assert(is_found_alone(34, 34));
    cr_assert(is_found_alone(34, 4000));
    cr_assert(is_found_alone(9054, 9054));
    cr_assert(is_found_alone(9054, 9054 + 4096));
    cr_assert_not(is_found_alone(9054, 9054 + 4097));
}

/* Nothing is known of whoever is asked: not that it keeps to what it was asked for. */
Test(answers, what_is_not_of_the_stretch_that_is_asked_for_is_ignored)
{
    struct asking asking;
    asking_begin(&asking, 153, 154);
    turn_to_proof(&asking);
    const uint64_t from = asking.want.prev.index;
    cr_assert_eq(asking.want.last, 154);
    cr_assert_eq(answer(&asking, (struct raft_id){0, from}, from, from), CONCLAVE_OK);
    expect_ignored(&asking, "it is here already");
    cr_assert_eq(answer(&asking, (struct raft_id){0, from}, 155, 156), CONCLAVE_OK);
    expect_ignored(&asking, "it is behind what is missing");
    cr_assert_eq(asking.repair->proof.parts.count, 0);
    expect_whole(&asking);
    asking_end(&asking);
}

/* A snapshot comes while others are asked for a stretch: it ends that only if it holds all of it.
 */
Test(answers, a_snapshot_ends_the_asking_for_what_it_holds)
{
    struct asking asking;
    struct wal_recovery found = {0};
    struct conclave_error error = {0};
    asking_begin(&asking, 20, 24);
    turn_to_proof(&asking);
    wal_repair_cover(asking.repair, (struct raft_id){2, 22});
    expect_ignored(&asking, "it holds a part of it");
    wal_repair_cover(asking.repair, (struct raft_id){2, 40});
    cr_assert_not(wal_repair_want(asking.repair, &asking.want));
    cr_assert_eq(wal_repair_write(asking.repair, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(log_read(memory_disk_io(asking.disk), &found, &error), CONCLAVE_OK, "%s",
                 error.message);
    cr_assert(found.base.index >= 24 && found.base.index <= 40, "behind %d", (int)found.base.index);
    cr_assert(
        raft_id_equal(raft_runs_last(&found.entries), raft_runs_last(&asking.peer.log.entries)));
    raft_runs_clear(&found.entries);
    asking_end(&asking);
}
