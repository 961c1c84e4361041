/* Nodes whose logs are the same in the end and became so in different ways: each has heard its part
 * of what several leaders made, has let go of another front, has snapshots of its own. Entries rot
 * so that each is left whole on one of them, and with them records of batches and what was
 * replaced. All have to be whole again, by what they give each other. */
#include "lives.h"

#include "base/prng.h"
#include "storage/identity.h"
#include "storage/wal_repair.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS_MAX = 1024, ROUNDS_MAX = 4000 };

struct follower {
    struct memory_disk *disk;
    struct placed places[RECORDS_MAX];
    struct raft_id ids[RECORDS_MAX]; /* of the entries */
    size_t count;
    struct raft_id snapshot;   /* index 0: it has none */
    uint64_t base;             /* its log begins behind */
    struct wal_repair *repair; /* NULL: it is whole */
    struct wal_recovery log;   /* then */
};

struct scene {
    struct follower followers[LIFE_FOLLOWERS_MAX];
    size_t count;
    struct wal_recovery log; /* all of it, as it was */
    const char *what;
    struct prng *restless; /* nodes begin their repairs again and again; NULL: they do not */
    size_t again, cut;     /* so often */
};

/* How much rots. */
struct rot {
    uint64_t entries, batches, replaced; /* so many of a hundred */
    uint64_t stretch;                    /* so many entries one after the other are left on one */
};

static struct raft_id id_at(const struct scene *scene, uint64_t index)
{
    const struct raft_entry *entry = raft_runs_find(&scene->log.entries, index);
    return entry ? entry->id : (struct raft_id){0};
}

static void find_records(struct follower *follower)
{
    follower->count = image_layout(follower->disk, follower->places, RECORDS_MAX);
    for (size_t i = 0; i < follower->count; i++) {
        size_t bytes = 0;
        const struct placed *place = &follower->places[i];
        const uint8_t *record =
            memory_disk_bytes(follower->disk, place->path, &bytes) + place->offset;
        memcpy(&follower->ids[i].term, record + 32, sizeof follower->ids[i].term);
        memcpy(&follower->ids[i].index, record + 40, sizeof follower->ids[i].index);
    }
}

/* The log lets go of what the snapshot holds, as far as whole segments go. */
static void compact(struct follower *follower)
{
    const struct io *io = memory_disk_io(follower->disk);
    struct wal_recovery recovery = {0};
    struct wal *wal = NULL;
    cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, &story_options, &wal, &recovery, NULL),
                 CONCLAVE_OK);
    cr_assert_eq(wal_remove(wal, wal_release(wal, follower->snapshot.index), NULL), CONCLAVE_OK);
    wal_close(wal);
    raft_runs_clear(&recovery.entries);
    cr_assert_eq(log_read(io, &recovery, NULL), CONCLAVE_OK);
    follower->base = recovery.base.index;
    raft_runs_clear(&recovery.entries);
}

static void scene_begin(struct scene *scene, struct prng *prng, size_t count, const char *what)
{
    static struct step steps[LIFE_FOLLOWERS_MAX][LIFE_MANY_STEPS_MAX];
    *scene = (struct scene){.count = count, .what = what};
    life_draw_followers(prng, steps, count);
    for (size_t i = 0; i < count; i++) {
        struct follower *follower = &scene->followers[i];
        struct story story;
        follower->disk = memory_disk_create();
        cr_assert_eq(story_play(&story, memory_disk_io(follower->disk), steps[i]), CONCLAVE_OK);
        find_records(follower);
        if (i == 0)
            cr_assert_eq(log_read(memory_disk_io(follower->disk), &scene->log, NULL), CONCLAVE_OK);
    }
    const uint64_t last = raft_runs_last(&scene->log.entries).index;
    bool snapshots = prng_below(prng, 3) > 0;
    for (size_t i = 0; i < count && snapshots; i++) {
        struct follower *follower = &scene->followers[i];
        follower->snapshot = id_at(scene, prng_below(prng, last + 1));
        if (follower->snapshot.index > 0 && prng_below(prng, 2))
            compact(follower);
    }
}

static void scene_end(struct scene *scene)
{
    for (size_t i = 0; i < scene->count; i++) {
        wal_repair_close(scene->followers[i].repair);
        raft_runs_clear(&scene->followers[i].log.entries);
        memory_disk_destroy(scene->followers[i].disk);
    }
    raft_runs_clear(&scene->log.entries);
}

/* --- Damage ----------------------------------------------------------------------------------- */

/* Where the entry is left; the number of followers: on all. */
static size_t choose_keeper(const struct scene *scene, struct prng *prng, uint64_t index)
{
    const size_t first = (size_t)prng_below(prng, scene->count);
    for (size_t i = 0; i < scene->count; i++) {
        const size_t keeper = (first + i) % scene->count;
        if (scene->followers[keeper].base < index)
            return keeper;
    }
    return scene->count;
}

static bool is_final(const struct scene *scene, const struct follower *follower, size_t record)
{
    if (!raft_id_equal(id_at(scene, follower->ids[record].index), follower->ids[record]))
        return false;
    for (size_t i = record + 1; i < follower->count; i++)
        if (!follower->places[i].is_batch && follower->ids[i].index <= follower->ids[record].index)
            return false;
    return true;
}

static void spoil(struct scene *scene, struct prng *prng, const struct rot *rot)
{
    const uint64_t last = raft_runs_last(&scene->log.entries).index;
    size_t *keepers = calloc(last + 1, sizeof *keepers);
    cr_assert_not_null(keepers);
    for (uint64_t index = 1; index <= last; index++) {
        const size_t before = index > 1 ? keepers[index - 1] : scene->count;
        bool on = prng_below(prng, rot->stretch) > 0 && before < scene->count &&
                  scene->followers[before].base < index;
        keepers[index] = on ? before : choose_keeper(scene, prng, index);
    }
    for (size_t i = 0; i < scene->count; i++) {
        struct follower *follower = &scene->followers[i];
        for (size_t k = 0; k + 1 < follower->count; k++) { /* the last one attests all others */
            const struct placed *place = &follower->places[k];
            size_t bytes = 0;
            bool final = !place->is_batch && is_final(scene, follower, k);
            const uint64_t chance = place->is_batch ? rot->batches
                                    : !final        ? rot->replaced
                                                    : rot->entries;
            if ((final && keepers[follower->ids[k].index] == i) ||
                prng_below(prng, 100) >= chance ||
                !memory_disk_bytes(follower->disk, place->path, &bytes))
                continue;
            memory_disk_rot(follower->disk, place->path, place->offset + 4, "\x5a\xa5", 2);
        }
    }
    free(keepers);
}

/* --- Healing ---------------------------------------------------------------------------------- */

static bool ask(const struct scene *scene, struct follower *follower, const struct follower *giver)
{
    struct wal_want want, after;
    struct raft_id prev = {0};
    struct raft_runs entries = {0};
    struct conclave_error error = {0};
    struct wal_supplier log = {.log = &giver->log.entries, .base = giver->log.base};
    if (!wal_repair_want(follower->repair, &want))
        return false;
    if (giver->repair)
        log = wal_repair_log(giver->repair);
    if (wal_supply_from(&log, &want, 100, &prev, &entries) != WAL_SUPPLY_HERE)
        return false;
    const int code = wal_repair_take(follower->repair, prev, &entries, &error);
    cr_assert(code == CONCLAVE_OK || code == CONCLAVE_INVALID, "%s: %s", scene->what,
              error.message);
    raft_runs_clear(&entries);
    if (code == CONCLAVE_INVALID)
        return false;
    return !wal_repair_want(follower->repair, &after) || memcmp(&want, &after, sizeof want) != 0;
}

/* Whoever is whole and has let go of what is wanted gives a snapshot that reaches the anchor. */
static bool ask_snapshot(const struct scene *scene, struct follower *follower,
                         const struct follower *giver)
{
    struct wal_want want;
    struct raft_id prev;
    struct raft_runs entries = {0};
    const struct wal_supplier log = {.log = &giver->log.entries, .base = giver->log.base};
    if (giver->repair || !wal_repair_want(follower->repair, &want) || want.anchor.index == 0)
        return false;
    const enum wal_supply supply = wal_supply_from(&log, &want, 100, &prev, &entries);
    raft_runs_clear(&entries);
    if (supply != WAL_SUPPLY_COMPACTED)
        return false;
    follower->snapshot = id_at(scene, want.anchor.index);
    wal_repair_cover(follower->repair, follower->snapshot);
    return true;
}

/* What is found after the repair is the log, from where a snapshot reaches or where it began. */
static void judge(const struct scene *scene, const struct follower *follower)
{
    const struct wal_recovery *found = &follower->log;
    const uint64_t last = raft_runs_last(&scene->log.entries).index;
    cr_assert(found->base.index <= follower->base || found->base.index <= follower->snapshot.index,
              "%s: begins behind %d", scene->what, (int)found->base.index);
    cr_assert(found->base.index == 0 || raft_id_equal(found->base, id_at(scene, found->base.index)),
              "%s: begins behind %d:%d", scene->what, (int)found->base.term,
              (int)found->base.index);
    cr_assert_eq(found->base.index + found->entries.entry_count, last, "%s", scene->what);
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry;
         (entry = raft_runs_next(&found->entries, &iter)) != NULL;) {
        const struct slice payload = payload_of(entry->id);
        cr_assert(raft_id_equal(entry->id, id_at(scene, entry->id.index)), "%s", scene->what);
        cr_assert(entry->payload.bytes == payload.bytes || entry->id.index == 1, "%s", scene->what);
        cr_assert(payload.bytes == 0 || entry->id.index == 1 ||
                      memcmp(entry->payload.data, payload.data, payload.bytes) == 0,
                  "%s", scene->what);
    }
}

static void begin_repair(const struct scene *scene, struct follower *follower)
{
    struct conclave_error error = {0};
    cr_assert_eq(wal_repair_open(memory_disk_io(follower->disk), STORY_DIR, &story_identity,
                                 &follower->repair, &error),
                 CONCLAVE_OK, "%s: %s", scene->what, error.message);
    wal_repair_ask(follower->repair, (uint32_t)scene->count - 1);
    if (follower->snapshot.index > 0)
        wal_repair_cover(follower->repair, follower->snapshot);
}

/* What came is forgotten, but for a snapshot. */
static void begin_again(struct scene *scene, struct follower *follower)
{
    scene->again++;
    wal_repair_close(follower->repair);
    begin_repair(scene, follower);
}

/* The power fails while what came is written. False: it did not come to that. */
static bool is_cut(struct scene *scene, struct follower *follower)
{
    struct memory_disk *disk = follower->disk;
    if (!scene->restless || prng_below(scene->restless, 2))
        return false;
    const uint64_t changes = prng_between(scene->restless, 1, 8);
    memory_disk_power_off_at_change(disk, memory_disk_changes(disk) + changes);
    const int code = wal_repair_write(follower->repair, NULL);
    memory_disk_power_off_at_change(disk, 0);
    wal_repair_close(follower->repair);
    memory_disk_crash(disk, prng_next(scene->restless));
    begin_repair(scene, follower);
    scene->cut += code != CONCLAVE_OK;
    return true;
}

static void finish(const struct scene *scene, struct follower *follower)
{
    struct conclave_error error = {0};
    cr_assert_eq(wal_repair_write(follower->repair, &error), CONCLAVE_OK, "%s: %s", scene->what,
                 error.message);
    wal_repair_close(follower->repair);
    follower->repair = NULL;
    cr_assert_eq(log_read(memory_disk_io(follower->disk), &follower->log, &error), CONCLAVE_OK,
                 "%s: %s", scene->what, error.message);
    judge(scene, follower);
}

/* All ask all others in turns until they are whole; the number of those that are. */
static size_t heal_all(struct scene *scene)
{
    size_t whole = 0;
    for (size_t i = 0; i < scene->count; i++)
        begin_repair(scene, &scene->followers[i]);
    for (int round = 0; round < ROUNDS_MAX && whole < scene->count; round++) {
        struct follower *follower = &scene->followers[(size_t)round % scene->count];
        struct wal_want want;
        bool helped = false;
        if (!follower->repair)
            continue;
        if (scene->restless && prng_below(scene->restless, 60) == 0)
            begin_again(scene, follower);
        uint64_t other = 0;
        for (size_t k = 0; k < scene->count && !helped; k++) {
            if (&scene->followers[k] == follower || !wal_repair_want(follower->repair, &want))
                continue;
            other++;
            helped = (want.giver == 0 || want.giver == other) &&
                     ask(scene, follower, &scene->followers[k]);
        }
        for (size_t k = 0; k < scene->count && !helped; k++)
            helped = ask_snapshot(scene, follower, &scene->followers[k]);
        if (!wal_repair_want(follower->repair, &want)) {
            if (is_cut(scene, follower))
                continue;
            finish(scene, follower);
            whole++;
        } else if (!helped) {
            wal_repair_turn(follower->repair);
        }
    }
    return whole;
}

/* Returns how often a repair was begun again, or cut short. */
static size_t live(uint64_t number, bool restless)
{
    struct prng prng, own;
    struct scene scene;
    char what[64];
    prng_init(&prng, number);
    (void)snprintf(what, sizeof(what), "life %llu", (unsigned long long)number);
    const struct rot rot = {.entries = prng_below(&prng, 2) ? 100 : prng_between(&prng, 10, 90),
                            .batches = prng_below(&prng, 2) ? 30 : 0,
                            .replaced = prng_below(&prng, 2) ? 50 : 0,
                            .stretch = prng_between(&prng, 1, 4)};
    scene_begin(&scene, &prng, (size_t)prng_between(&prng, 2, LIFE_FOLLOWERS_MAX), what);
    spoil(&scene, &prng, &rot);
    prng_init(&own, number ^ UINT64_C(0x7e57));
    scene.restless = restless ? &own : NULL;
    cr_assert_eq(heal_all(&scene), scene.count, "%s: not all are whole", what);
    scene_end(&scene);
    return scene.again + scene.cut;
}

Test(followers, all_are_whole_again, .timeout = 1200)
{
    for (uint64_t life = 1; life <= 600 / SPARSELY(3); life++)
        (void)live(life, false);
}

/* Lives in which something went wrong once. 627, 1526, 1752: the link from which a proved stretch
 * goes on was not taken for known. 682, 1630, 2121, 2348, 2620: what stood there before was
 * replaced in what is lost, so the link that is shown is of another entry. 1395, 1648, 2435: with
 * what is before a stretch that was proved, too. 20346, 20990: what is shown before an entry was
 * not known to be the log's, though the entry shows it. 20563: what is lost, and was replaced where
 * that is lost too, was taken for what the log begins behind. */
Test(followers, all_are_whole_again_where_it_went_wrong_once, .timeout = 600)
{
    static const uint64_t lives[] = {627,  682,  1395, 1526, 1630,  1648,  1752,
                                     2121, 2348, 2435, 2620, 20346, 20990, 20563};
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++)
        (void)live(lives[i], false);
}

/* The same with restarts. 10292, 11220: as 20563. 12924: entries of a hole came back, and what is
 * left out behind them, since it was replaced, was taken for entries of the last one's term. */
Test(followers, all_are_whole_again_where_beginning_anew_went_wrong_once, .timeout = 600)
{
    static const uint64_t lives[] = {10292, 11220, 12924};
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++)
        cr_assert_gt(live(lives[i], true), 0);
}

/* Nodes are restarted in the middle of it, and lose their power while they write. */
Test(followers, all_are_whole_again_however_often_they_begin_anew, .timeout = 1200)
{
    size_t disturbed = 0;
    for (uint64_t life = 10001; life <= 10150; life++)
        disturbed += live(life, true);
    cr_assert_gt(disturbed, 300);
}
