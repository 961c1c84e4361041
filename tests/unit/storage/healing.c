#include "healing.h"

#include "storage/identity.h"

#include <criterion/criterion.h>
#include <string.h>

enum { GIVEN_BYTES = 64 /* so that a want takes several answers */ };

size_t heal_anew;

void peer_make(struct peer *peer, const struct step *steps)
{
    struct memory_disk *disk = memory_disk_create();
    cr_assert_eq(story_play(&peer->story, memory_disk_io(disk), steps), CONCLAVE_OK);
    peer->disk = memory_disk_clone(disk);
    cr_assert_eq(log_read(memory_disk_io(disk), &peer->log, NULL), CONCLAVE_OK);
    memory_disk_destroy(disk);
}

void peer_free(struct peer *peer)
{
    raft_runs_clear(&peer->log.entries);
    memory_disk_destroy(peer->disk);
}

/* Asks the peer until nothing is wanted any more. */
static int fetch(struct wal_repair *repair, const struct peer *peer, struct conclave_error *error)
{
    struct wal_want want;
    int code = CONCLAVE_OK;
    for (int rounds = 0; code == CONCLAVE_OK && wal_repair_want(repair, &want); rounds++) {
        struct raft_id prev = {0};
        struct raft_runs entries = {0};
        cr_assert_lt(rounds, 1000, "it never ends");
        const struct wal_supplier log = {.log = &peer->log.entries, .base = peer->log.base};
        enum wal_supply supply = wal_supply_from(&log, &want, GIVEN_BYTES, &prev, &entries);
        cr_assert_eq(supply, WAL_SUPPLY_HERE, "anchor %llu:%llu",
                     (unsigned long long)want.anchor.term, (unsigned long long)want.anchor.index);
        code = wal_repair_take(repair, prev, &entries, error);
        raft_runs_clear(&entries);
    }
    return code;
}

int repair_through(const struct io *io, const struct peer *peer, struct conclave_error *error)
{
    struct wal_repair *repair = NULL;
    int code = wal_repair_open(io, STORY_DIR, &story_identity, &repair, error);
    if (code == CONCLAVE_OK)
        code = fetch(repair, peer, error);
    if (code == CONCLAVE_OK)
        code = wal_repair_write(repair, error);
    heal_anew += repair && wal_repair_is_anew(repair) ? 1 : 0;
    wal_repair_close(repair);
    return code;
}

int repair_all(struct memory_disk *disk, const struct peer *peer, struct conclave_error *error)
{
    return repair_through(memory_disk_io(disk), peer, error);
}

enum outcome heal(const struct peer *peer, struct memory_disk *damaged, const char *what)
{
    struct memory_disk *before = memory_disk_clone(damaged);
    struct conclave_error error = {0};
    struct wal_recovery recovery = {0};
    enum outcome outcome = OUTCOME_WHOLE;
    int code = log_read(memory_disk_io(damaged), &recovery, &error);
    if (code == CONCLAVE_OK) {
        raft_runs_clear(&recovery.entries);
        memory_disk_destroy(before);
        return OUTCOME_WHOLE;
    }
    cr_assert_eq(code, CONCLAVE_CORRUPT, "%s", what);
    code = repair_all(damaged, peer, &error);
    if (code == CONCLAVE_OK) {
        cr_assert_eq(log_read(memory_disk_io(damaged), &recovery, &error), CONCLAVE_OK, "%s: %s",
                     what, error.message);
        cr_assert_leq(recovery.cut_bytes, WAL_RECORD_BYTES, "%s", what); /* the last attestation */
        cr_assert(story_matches(&peer->story, peer->story.staged_count, &recovery.entries), "%s",
                  what);
        raft_runs_clear(&recovery.entries);
        outcome = memory_disk_equal(peer->disk, damaged) ? OUTCOME_SAME_BYTES : OUTCOME_MENDED;
    } else {
        outcome = OUTCOME_REFUSED;
        cr_assert_eq(code, CONCLAVE_CORRUPT, "%s: %s", what, error.message);
        cr_assert_not_null(strstr(error.message, ".wal"), "%s: no place: %s", what, error.message);
        cr_assert(memory_disk_equal(before, damaged), "%s: changed", what);
    }
    cr_assert_eq(memory_disk_handles(damaged), 0);
    memory_disk_destroy(before);
    return outcome;
}
