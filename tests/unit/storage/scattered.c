/* Logs that lost different entries, and have none in common by which one could ask the other: as
 * long as one of them has each entry, all come back, and never another one. */
#include "lives.h"

#include "base/prng.h"
#include "storage/identity.h"
#include "storage/wal_repair.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { SIDES_MAX = 3, RECORDS_MAX = 512 };

static size_t anew; /* so many logs were written anew: what was lost fitted nowhere */

struct side {
    struct memory_disk *disk;
    struct wal_repair *repair; /* NULL: it is whole */
    struct wal_recovery log;   /* then */
};

struct scene {
    struct story story;
    struct memory_disk *whole;
    struct placed places[RECORDS_MAX];
    size_t count;
    struct side sides[SIDES_MAX];
    size_t side_count;
};

/* Every entry of a term of its own: what a hole held is of no known term. */
static const struct step story_terms[] = {
    {STEP_APPEND, 2, 2, 1}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 3, 3, 1}, {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 4, 4, 1}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 5, 5, 1}, {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 6, 6, 1}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 7, 7, 1}, {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 8, 8, 1}, {STEP_SYNC, 0, 0, 0}, {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};

static void scene_begin(struct scene *scene, const struct step *steps, size_t sides)
{
    struct memory_disk *disk = memory_disk_create();
    *scene = (struct scene){.side_count = sides};
    cr_assert_eq(story_play(&scene->story, memory_disk_io(disk), steps), CONCLAVE_OK);
    scene->whole = memory_disk_clone(disk);
    memory_disk_destroy(disk);
    scene->count = image_layout(scene->whole, scene->places, RECORDS_MAX);
    for (size_t i = 0; i < sides; i++)
        scene->sides[i].disk = memory_disk_clone(scene->whole);
}

static void scene_end(struct scene *scene)
{
    for (size_t i = 0; i < scene->side_count; i++) {
        wal_repair_close(scene->sides[i].repair);
        raft_runs_clear(&scene->sides[i].log.entries);
        memory_disk_destroy(scene->sides[i].disk);
    }
    memory_disk_destroy(scene->whole);
}

static uint64_t index_of(const struct scene *scene, size_t place)
{
    size_t bytes = 0;
    uint64_t index;
    const uint8_t *data = memory_disk_bytes(scene->whole, scene->places[place].path, &bytes);
    memcpy(&index, data + scene->places[place].offset + 40, sizeof index);
    return index;
}

/* True if no later record replaced what this one says. */
static bool is_final(const struct scene *scene, size_t place)
{
    for (size_t i = place + 1; i < scene->count; i++)
        if (!scene->places[i].is_batch && index_of(scene, i) <= index_of(scene, place))
            return false;
    return !scene->places[place].is_batch;
}

static void spoil(struct side *side, const struct placed *place)
{
    memory_disk_rot(side->disk, place->path, place->offset + 4, "\x5a\xa5", 2);
}

/* One answer of a giver, if it has one. True if it helped. */
static bool ask(struct side *side, const struct side *giver, const char *what)
{
    struct wal_want want, after;
    struct raft_id prev = {0};
    struct raft_runs entries = {0};
    struct conclave_error error = {0};
    struct wal_supplier log = {.log = &giver->log.entries, .base = giver->log.base};
    if (!wal_repair_want(side->repair, &want))
        return false;
    if (giver->repair)
        log = wal_repair_log(giver->repair);
    if (wal_supply_from(&log, &want, 100, &prev, &entries) != WAL_SUPPLY_HERE)
        return false;
    cr_assert_eq(wal_repair_take(side->repair, prev, &entries, &error), CONCLAVE_OK, "%s: %s", what,
                 error.message);
    raft_runs_clear(&entries);
    return !wal_repair_want(side->repair, &after) || memcmp(&want, &after, sizeof want) != 0;
}

static void finish(const struct scene *scene, struct side *side, const char *what)
{
    struct conclave_error error = {0};
    cr_assert_eq(wal_repair_write(side->repair, &error), CONCLAVE_OK, "%s: %s", what,
                 error.message);
    anew += wal_repair_is_anew(side->repair) ? 1 : 0;
    wal_repair_close(side->repair);
    side->repair = NULL;
    cr_assert_eq(log_read(memory_disk_io(side->disk), &side->log, &error), CONCLAVE_OK, "%s: %s",
                 what, error.message);
    cr_assert(story_matches(&scene->story, scene->story.staged_count, &side->log.entries), "%s",
              what);
}

/* All sides ask all others in turns until they are whole; the number of those that are. */
static size_t heal_all(struct scene *scene, const char *what)
{
    size_t whole = 0;
    for (size_t i = 0; i < scene->side_count; i++) {
        struct side *side = &scene->sides[i];
        struct conclave_error error = {0};
        cr_assert_eq(wal_repair_open(memory_disk_io(side->disk), STORY_DIR, &story_identity,
                                     &side->repair, &error),
                     CONCLAVE_OK, "%s: %s", what, error.message);
        wal_repair_ask(side->repair, (uint32_t)scene->side_count - 1);
    }
    for (int round = 0; round < 2000 && whole < scene->side_count; round++) {
        struct side *side = &scene->sides[(size_t)round % scene->side_count];
        struct wal_want want;
        bool helped = false;
        if (!side->repair)
            continue;
        uint64_t other = 0;
        for (size_t k = 0; k < scene->side_count && !helped; k++) {
            if (&scene->sides[k] == side || !wal_repair_want(side->repair, &want))
                continue;
            other++;
            helped = (want.giver == 0 || want.giver == other) && ask(side, &scene->sides[k], what);
        }
        if (!wal_repair_want(side->repair, &want)) {
            finish(scene, side, what);
            whole++;
        } else if (!helped) {
            wal_repair_turn(side->repair);
        }
    }
    return whole;
}

/* Every entry is left on one side, those of even index on the first. */
static void alternately(const struct step *steps)
{
    struct scene scene;
    scene_begin(&scene, steps, 2);
    for (size_t i = 0; i < scene.count; i++)
        if (is_final(&scene, i))
            spoil(&scene.sides[index_of(&scene, i) % 2], &scene.places[i]);
    cr_assert_eq(heal_all(&scene, "alternately"), 2);
    scene_end(&scene);
}

Test(scattered, every_other_entry_comes_back_from_the_other_log)
{
    alternately(story_long);
}

Test(scattered, also_where_every_entry_is_of_another_term)
{
    alternately(story_terms);
}

/* Stretches of records, each left whole on one of two or three. */
Test(scattered, stretches_come_back_whoever_has_them, .timeout = 1200)
{
    struct prng prng;
    size_t whole = 0, all = 0;
    prng_init(&prng, 1);
    for (int life = 0; life < 600 / SPARSELY(3); life++) {
        struct scene scene;
        char what[64];
        (void)snprintf(what, sizeof(what), "life %d", life);
        scene_begin(&scene, life % 2 == 0 ? story_long : story_terms, 2 + (size_t)life % 2);
        for (size_t i = 0; i < scene.count;) {
            size_t keeper = (size_t)prng_below(&prng, scene.side_count);
            size_t length = (size_t)prng_between(&prng, 1, 4);
            for (; length > 0 && i < scene.count; length--, i++)
                for (size_t k = 0; k < scene.side_count; k++)
                    if (k != keeper && is_final(&scene, i))
                        spoil(&scene.sides[k], &scene.places[i]);
        }
        all += scene.side_count;
        whole += heal_all(&scene, what);
        scene_end(&scene);
    }
    cr_assert_eq(whole, all, "%zu of %zu", whole, all);
}

/* How many records there are before those of the last segment, which may look torn. */
static size_t count_sealed(const struct scene *scene)
{
    size_t count = scene->count;
    while (count > 0 &&
           strcmp(scene->places[count - 1].path, scene->places[scene->count - 1].path) == 0)
        count--;
    return count;
}

/* Whole stretches of the log go, with the batch records and with what was replaced: on all sides
 * but one, which is another one for each stretch. Of what stood there nothing is left but the link
 * that what follows names. */
static void lose_stretches(struct prng *prng, const struct step *steps, size_t sides,
                           const char *what)
{
    struct scene scene;
    scene_begin(&scene, steps, sides);
    const size_t sealed = count_sealed(&scene);
    for (size_t i = 0; i < sealed;) {
        size_t keeper = (size_t)prng_below(prng, scene.side_count);
        size_t length = (size_t)prng_between(prng, 1, 12);
        for (; length > 0 && i < sealed; length--, i++)
            for (size_t k = 0; k < scene.side_count; k++)
                if (k != keeper)
                    spoil(&scene.sides[k], &scene.places[i]);
    }
    cr_assert_eq(heal_all(&scene, what), scene.side_count, "%s", what);
    scene_end(&scene);
}

/* Each came back to where it stood. */
static void expect_none_anew(void)
{
    cr_assert_eq(anew, 0, "%zu", anew);
}

Test(scattered, stretches_of_many_batches_come_back_with_changes_of_the_term_in_them,
     .timeout = 1200)
{
    struct prng prng;
    struct step steps[LIFE_STEPS_MAX];
    char what[64];
    prng_init(&prng, 2);
    for (int life = 0; life < 400 / SPARSELY(3); life++) {
        (void)snprintf(what, sizeof(what), "life %d", life);
        life_draw(&prng, steps);
        lose_stretches(&prng, steps, 2 + (size_t)life % 2, what);
    }
    expect_none_anew();
}

Test(scattered, stretches_come_back_that_replaced_entries_of_later_terms, .timeout = 240)
{
    struct prng prng;
    struct step steps[LIFE_MANY_STEPS_MAX];
    char what[64];
    prng_init(&prng, 3);
    for (int life = 0; life < 400 / SPARSELY(3); life++) {
        (void)snprintf(what, sizeof(what), "life %d", life);
        life_draw_under_many(&prng, steps);
        lose_stretches(&prng, steps, 2 + (size_t)life % 2, what);
    }
    expect_none_anew();
}

/* What came in which hole is not told right by what is left: the log would not be valid with it, or
 * would lack entries, or there is no room. All of it is here, and is written anew. */
Test(scattered, what_cannot_stand_where_it_stood_is_written_behind_the_rest)
{
    static const uint64_t lives[] = {234, 342, 470};
    struct step steps[LIFE_MANY_STEPS_MAX];
    char what[64];
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++) {
        struct prng prng;
        prng_init(&prng, 1000000 + lives[i]);
        (void)snprintf(what, sizeof(what), "life %llu", (unsigned long long)lives[i]);
        life_draw_under_many(&prng, steps);
        lose_stretches(&prng, steps, 2 + (size_t)lives[i] % 2, what);
    }
    cr_assert_eq(anew, sizeof lives / sizeof lives[0], "%zu", anew);
}

/* 4:4 and 4:5 were replaced by what a leader of term 5 had from that of term 3. The entry that
 * shows it is there, the first of them is lost: 4:4 is not what the other followed. */
Test(scattered, an_entry_behind_a_lost_one_may_be_of_an_earlier_term_than_was_there)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 2}, {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 4, 4, 2},
        {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 3, 4, 2}, {STEP_APPEND, 5, 6, 1},
        {STEP_SYNC, 0, 0, 0},   {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct scene scene;
    scene_begin(&scene, steps, 2);
    for (size_t i = 0; i < scene.count; i++)
        if (is_final(&scene, i) && index_of(&scene, i) == 4)
            spoil(&scene.sides[0], &scene.places[i]);
    cr_assert_eq(heal_all(&scene, "an earlier term"), 2);
    cr_assert(memory_disk_equal(scene.sides[0].disk, scene.sides[1].disk));
    scene_end(&scene);
}

/* The only log loses the entry, and asks until it asks for what has its checksum: *ret_want. */
static struct side *lose_entry(struct scene *scene, uint64_t index, struct wal_want *ret_want)
{
    struct side *side = &scene->sides[0];
    for (size_t i = 0; i < scene->count; i++)
        if (is_final(scene, i) && index_of(scene, i) == index)
            spoil(side, &scene->places[i]);
    cr_assert_eq(wal_repair_open(memory_disk_io(side->disk), STORY_DIR, &story_identity,
                                 &side->repair, NULL),
                 CONCLAVE_OK);
    for (int turns = 0; wal_repair_want(side->repair, ret_want) && ret_want->anchor.index > 0;
         turns++) {
        cr_assert_lt(turns, 100, "it is never asked for by its checksum");
        wal_repair_turn(side->repair);
    }
    return side;
}

/* What others have in the place of a lost entry is told by its checksum. */
Test(scattered, what_was_never_there_is_not_taken)
{
    struct scene scene;
    struct wal_want want;
    scene_begin(&scene, story_terms, 1);
    struct side *side = lose_entry(&scene, 4, &want);
    cr_assert_eq(want.prev.index, 3);
    cr_assert_eq(want.last, 4);
    for (uint64_t term = 3; term <= 5; term++) { /* 4 is what it was */
        struct raft_runs entries = {0};
        struct wal_want after;
        while (wal_repair_want(side->repair, &want) &&
               (want.anchor.index > 0 || want.prev.index != 3))
            wal_repair_turn(side->repair);
        runs_fill(&entries, term, 4, 1);
        cr_assert_eq(
            wal_repair_take(side->repair, (struct raft_id){.term = 3, .index = 3}, &entries, NULL),
            CONCLAVE_OK);
        cr_assert_eq(wal_repair_want(side->repair, &after), term < 4);
        raft_runs_clear(&entries);
    }
    finish(&scene, side, "by its checksum");
    cr_assert_eq(side->log.entries.entry_count, 8);
    scene_end(&scene);
}

/* The lost entry came in the place of 2:3: that this is gone is seen by nobody who reads the log
 * with the hole in it, and it is given to nobody, also when the hole is known to hold 3:3. */
Test(scattered, what_a_proved_entry_replaced_is_not_given)
{
    static const struct step steps[] = {{STEP_APPEND, 2, 2, 3}, {STEP_SYNC, 0, 0, 0},
                                        {STEP_APPEND, 3, 3, 2}, {STEP_SYNC, 0, 0, 0},
                                        {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct scene scene;
    struct wal_want want;
    struct raft_runs entries = {0}, given = {0};
    struct raft_id prev;
    scene_begin(&scene, steps, 1);
    struct side *side = lose_entry(&scene, 3, &want);
    runs_fill(&entries, 3, 3, 1);
    cr_assert_eq(wal_repair_take(side->repair, want.prev, &entries, NULL), CONCLAVE_OK);
    cr_assert_not(wal_repair_want(side->repair, &want));
    raft_runs_clear(&entries);
    const struct wal_supplier log = wal_repair_log(side->repair);
    const struct wal_want other = {
        .prev = {.term = 2, .index = 2}, .last = 3, .anchor = {.term = 3, .index = 4}};
    cr_assert_neq(wal_supply_from(&log, &other, 1, &prev, &given), WAL_SUPPLY_HERE);
    finish(&scene, side, "by its checksum");
    scene_end(&scene);
}

/* Entries 5 to 7 of term 3 are lost between others of that term: that they were there is known, and
 * 8 is not known to be of the log that holds them. */
Test(scattered, an_id_that_is_known_is_an_anchor_as_good_as_an_entry)
{
    struct raft_runs log = {0}, given = {0};
    struct raft_id prev;
    const struct wal_sure sure = {.first = 5, .last = 7, .term = 3};
    runs_fill(&log, 2, 1, 4);
    struct raft_batch *batch = raft_batch_create(3);
    for (uint64_t index = 5; index <= 7; index++)
        raft_batch_add(batch, (struct raft_entry){.id = {.term = 3, .index = index},
                                                  .kind = (enum raft_entry_kind)WAL_ABSENT});
    raft_runs_append(&log, batch, 0, 3);
    raft_batch_unref(batch);
    struct wal_supplier supplier = {.log = &log};
    struct wal_want want = {
        .prev = {.term = 2, .index = 2}, .last = 3, .anchor = {.term = 3, .index = 6}};
    cr_assert_eq(wal_supply_from(&supplier, &want, 1, &prev, &given), WAL_SUPPLY_LATER,
                 "the id may be a guess");
    supplier.sure = &sure;
    supplier.sure_count = 1;
    cr_assert_eq(wal_supply_from(&supplier, &want, 1, &prev, &given), WAL_SUPPLY_HERE);
    cr_assert_eq(given.entry_count, 1);
    raft_runs_clear(&given);
    want.anchor.term = 4;
    cr_assert_eq(wal_supply_from(&supplier, &want, 1, &prev, &given), WAL_SUPPLY_ABSENT);
    supplier.doubtful = 7; /* another hole may have replaced it by just that */
    cr_assert_eq(wal_supply_from(&supplier, &want, 1, &prev, &given), WAL_SUPPLY_LATER);
    raft_runs_clear(&log);
}
