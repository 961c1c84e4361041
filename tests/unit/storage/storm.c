/* Many places damaged at once, again and again, with the power lost in between: the log is healed,
 * or refused and left alone; never is an entry another one. */
#include "healing.h"

#include "base/prng.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { SPOILED_MAX = 4, ROUNDS = 5 };

/* Spoils a few stretches, of a few bytes or of several records; not in the last segment, whose last
 * batch looks torn if what attests it goes with it. */
static void spoil(struct memory_disk *disk, const struct placed *places, size_t count,
                  struct prng *prng)
{
    while (strcmp(places[count - 1].path, places[count - 2].path) == 0)
        count--;
    for (uint64_t times = prng_between(prng, 1, SPOILED_MAX); times > 0; times--) {
        uint8_t junk[256];
        size_t bytes = 0;
        const struct placed *place = &places[prng_below(prng, count - 1)];
        if (!memory_disk_bytes(disk, place->path, &bytes)) /* written anew, behind it */
            continue;
        size_t at = prng_below(prng, 8) == 0 ? 0 : place->offset + (size_t)prng_below(prng, 48);
        size_t length = (size_t)prng_between(prng, 1, prng_below(prng, 2) ? 4 : sizeof(junk));
        length = length < bytes - at ? length : bytes - at;
        bool zeros = prng_below(prng, 2) == 0;
        for (size_t i = 0; i < length; i++)
            junk[i] = zeros ? 0 : (uint8_t)prng_next(prng);
        memory_disk_rot(disk, place->path, at, junk, length);
    }
}

struct storm {
    struct peer peer;
    struct placed places[512];
    size_t count;
    struct prng prng;
    size_t outcomes[4];
};

static void storm_begin(struct storm *storm, const struct step *steps, uint64_t seed)
{
    *storm = (struct storm){0};
    peer_make(&storm->peer, steps);
    storm->count = image_layout(storm->peer.disk, storm->places, 512);
    prng_init(&storm->prng, seed);
}

static enum outcome strike(struct storm *storm, struct memory_disk *disk, const char *what)
{
    spoil(disk, storm->places, storm->count, &storm->prng);
    enum outcome outcome = heal(&storm->peer, disk, what);
    storm->outcomes[outcome]++;
    return outcome;
}

/* Segment 3 loses entries of term 3 and segment 7 what replaced them: a peer has only the latter,
 * and they must not come to stand in segment 3, right before others of term 3. */
Test(storm, what_replaced_the_lost_goes_where_it_stood)
{
    static const uint8_t zeros[300];
    struct storm storm;
    storm_begin(&storm, story_long, 0);
    struct memory_disk *disk = memory_disk_clone(storm.peer.disk);
    memory_disk_rot(disk, STORY_DIR "/wal/0000000000000003.wal", 640, zeros, 280);
    memory_disk_rot(disk, STORY_DIR "/wal/0000000000000007.wal", 520, zeros, 240);
    cr_assert_eq(heal(&storm.peer, disk, "both"), OUTCOME_MENDED);
    memory_disk_destroy(disk);
    peer_free(&storm.peer);
}

static void junk_everywhere(const struct step *steps, int lives, size_t outcomes[4])
{
    struct storm storm;
    storm_begin(&storm, steps, 1);
    for (int life = 0; life < lives; life++) {
        struct memory_disk *disk = memory_disk_clone(storm.peer.disk);
        char what[64];
        (void)snprintf(what, sizeof(what), "life %d", life);
        strike(&storm, disk, what);
        memory_disk_destroy(disk);
    }
    memcpy(outcomes, storm.outcomes, sizeof storm.outcomes);
    peer_free(&storm.peer);
}

Test(storm, junk_in_several_places_is_healed, .timeout = 1200)
{
    size_t outcomes[4];
    junk_everywhere(story_long, 3000 / SPARSELY(3), outcomes);
    cr_assert_gt(outcomes[OUTCOME_MENDED], 2000 / SPARSELY(3));
    cr_assert_eq(outcomes[OUTCOME_REFUSED], 0, "%zu", outcomes[OUTCOME_REFUSED]);
    cr_assert_gt(heal_anew, 0);
    cr_assert_lt(heal_anew, 60 / SPARSELY(3), "%zu", heal_anew);
}

/* Damage on top of mends, and across their borders. */
Test(storm, a_mended_log_is_damaged_again, .timeout = 1200)
{
    struct storm storm;
    size_t rounds = 0;
    storm_begin(&storm, story_long, 2);
    for (int life = 0; life < 800 / SPARSELY(3); life++) {
        struct memory_disk *disk = memory_disk_clone(storm.peer.disk);
        enum outcome outcome = OUTCOME_WHOLE;
        for (int round = 0; round < ROUNDS && outcome != OUTCOME_REFUSED; round++) {
            char what[64];
            (void)snprintf(what, sizeof(what), "life %d, round %d", life, round);
            outcome = strike(&storm, disk, what);
            rounds += outcome != OUTCOME_REFUSED ? 1 : 0;
        }
        memory_disk_destroy(disk);
    }
    cr_assert_gt(rounds, 3000 / SPARSELY(3), "%zu", rounds);
    peer_free(&storm.peer);
}

/* What can be repaired is so too after the power was lost, or something failed, anywhere in the
 * repair; and after that once more. */
Test(storm, an_interrupted_repair_is_taken_up_again, .timeout = 1200)
{
    struct storm storm;
    size_t interrupted = 0;
    storm_begin(&storm, story_long, 3);
    for (int life = 0; life < 1500 / SPARSELY(3); life++) {
        struct conclave_error error = {0};
        char what[64];
        struct memory_disk *disk = memory_disk_clone(storm.peer.disk);
        spoil(disk, storm.places, storm.count, &storm.prng);
        struct memory_disk *undisturbed = memory_disk_clone(disk);
        enum outcome outcome = heal(&storm.peer, undisturbed, "undisturbed");
        uint64_t operations = memory_disk_operations(undisturbed);
        memory_disk_destroy(undisturbed);
        for (int time = 0; time < 2; time++) {
            uint64_t at = prng_between(&storm.prng, 1, operations);
            bool power = prng_below(&storm.prng, 2) == 0;
            if (power)
                memory_disk_power_off_at(disk, memory_disk_operations(disk) + at);
            else
                memory_disk_fail_at(disk, memory_disk_operations(disk) + at, CONCLAVE_IO);
            interrupted +=
                repair_all(disk, &storm.peer, time == 0 ? &error : NULL) == CONCLAVE_IO ? 1 : 0;
            if (power)
                memory_disk_crash(disk, prng_next(&storm.prng));
            memory_disk_fail_at(disk, 0, CONCLAVE_OK);
            cr_assert_eq(memory_disk_handles(disk), 0);
        }
        (void)snprintf(what, sizeof(what), "life %d, taken up again", life);
        if (heal(&storm.peer, disk, what) == OUTCOME_REFUSED)
            cr_assert_eq(outcome, OUTCOME_REFUSED, "%s", what);
        memory_disk_destroy(disk);
    }
    cr_assert_gt(interrupted, 1000 / SPARSELY(3), "%zu", interrupted);
    peer_free(&storm.peer);
}

/* The first start behind a repair writes all of the log again. Whatever of that fails: the start
 * fails, and the next one does it. */
Test(storm, every_operation_of_the_start_behind_a_repair_may_fail)
{
    struct storm storm;
    size_t failed = 0;
    storm_begin(&storm, story_long, 0);
    for (uint64_t at = 1;; at++) {
        struct memory_disk *disk = memory_disk_clone(storm.peer.disk);
        struct wal_recovery recovery = {0};
        struct conclave_error error = {0};
        for (size_t i = 3; i < storm.count; i += storm.count / 4)
            memory_disk_rot(disk, storm.places[i].path, storm.places[i].offset + 5, "x", 1);
        cr_assert_eq(repair_all(disk, &storm.peer, &error), CONCLAVE_OK, "%s", error.message);
        uint64_t last = memory_disk_operations(disk) + at;
        memory_disk_fail_at(disk, last, CONCLAVE_IO);
        int code = log_read(memory_disk_io(disk), &recovery, at % 2 ? &error : NULL);
        bool done = memory_disk_operations(disk) < last;
        memory_disk_fail_at(disk, 0, CONCLAVE_OK);
        raft_runs_clear(&recovery.entries);
        cr_assert_eq(code, done ? CONCLAVE_OK : CONCLAVE_IO, "operation %llu",
                     (unsigned long long)at);
        cr_assert_eq(memory_disk_handles(disk), 0);
        failed += done ? 0 : 1;
        memory_disk_crash(disk, at);
        cr_assert_eq(heal(&storm.peer, disk, "once more"), OUTCOME_WHOLE, "operation %llu",
                     (unsigned long long)at);
        memory_disk_destroy(disk);
        if (done)
            break;
    }
    cr_assert_gt(failed, 50, "%zu", failed);
    peer_free(&storm.peer);
}
