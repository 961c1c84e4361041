/* Records that are whole and say what cannot be, alone or with all behind them chained to them: a
 * program with an error may have written them. They are never taken, and looking at them changes
 * nothing. */
#include "healing.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { FORGERIES = 20 };

static void forge(struct wal_record *record, int way)
{
    switch (way) {
    case 0:
    case 1:
    case 2:
    case 3:
        record->kind = (enum wal_kind)(record->kind % 4 + 1 + (unsigned)way % 3);
        record->kind = record->kind > WAL_MEND ? WAL_BATCH : record->kind;
        break;
    case 4:
        record->id.term = 0;
        break;
    case 5:
        record->id.term++;
        break;
    case 6:
        record->id.term += 1u << 20;
        break;
    case 7:
        record->id.term -= record->id.term > 0;
        break;
    case 8:
        record->id.index = 0;
        break;
    case 9:
        record->id.index++;
        break;
    case 10:
        record->id.index += 100;
        break;
    case 11:
        record->id.index -= record->id.index > 0;
        break;
    case 12:
        record->id.index = 1;
        break;
    case 13:
        record->batch = 0;
        record->id.term++;
        break;
    case 14:
        record->batch = record->offset;
        record->id.term++;
        break;
    case 15:
        record->batch = record->offset + 64;
        break;
    case 16:
        record->kind = WAL_MEND;
        record->id = (struct raft_id){.term = 0, .index = 3};
        break;
    case 17:
        record->kind = WAL_ANEW;
        record->payload.bytes = 0;
        break;
    case 18:
        record->kind = WAL_BATCH;
        record->batch = record->offset;
        break;
    default:
        record->previous ^= 1;
        break;
    }
}

/* Forges the record at `place`, and chains those behind it in its segment if `chained`. */
static void forge_at(struct memory_disk *disk, const struct placed *places, size_t count, size_t at,
                     int way, bool chained)
{
    static uint8_t segment[STORY_SEGMENT_BYTES + 2 * STORY_LARGE_BYTES];
    size_t bytes = 0;
    uint64_t sequence = 0, checksum = 0;
    const uint8_t *data = memory_disk_bytes(disk, places[at].path, &bytes);
    cr_assert_leq(bytes, sizeof segment);
    memcpy(segment, data, bytes);
    cr_assert(wal_name_parse(strrchr(places[at].path, '/') + 1, &sequence));
    uint64_t key = wal_key(&story_identity, sequence);
    for (size_t i = at; i < count && strcmp(places[i].path, places[at].path) == 0; i++) {
        struct wal_record record;
        uint8_t payload[STORY_LARGE_BYTES];
        cr_assert(wal_record_decode(segment, bytes, places[i].offset, key, &record));
        if (record.payload.bytes > 0)
            memcpy(payload, record.payload.data, record.payload.bytes);
        record.payload.data = payload;
        if (i == at)
            forge(&record, way);
        else
            record.previous = checksum;
        checksum = wal_record_encode(segment + places[i].offset, key, &record);
        if (!chained || wal_record_bytes(record.payload.bytes) != places[i].bytes)
            break;
    }
    memory_disk_rot(disk, places[at].path, 0, segment, bytes);
}

Test(forged, records_that_cannot_be_are_never_taken, .timeout = 1200)
{
    struct peer peer;
    struct placed places[512];
    size_t refused = 0, mendable = 0, impossible = 0, harmless = 0;
    peer_make(&peer, story_long);
    size_t count = image_layout(peer.disk, places, 512), last = count;
    while (strcmp(places[last - 1].path, places[count - 1].path) == 0)
        last--; /* what is forged at the end may look torn */
    for (size_t i = 0; i < 2 * last * FORGERIES; i++) {
        const size_t at = i / 2 / FORGERIES;
        struct memory_disk *disk = memory_disk_clone(peer.disk);
        struct conclave_error error = {0};
        struct wal_recovery recovery = {0};
        struct wal_repair *repair = NULL;
        char what[128];
        int way = (int)(i / 2 % FORGERIES);
        forge_at(disk, places, count, at, way, i % 2 == 1);
        (void)snprintf(what, sizeof(what), "%s at %zu, forgery %d%s", places[at].path,
                       places[at].offset, way, i % 2 ? ", chained" : "");
        if (!memory_disk_equal(peer.disk, disk)) {
            struct memory_disk *before = memory_disk_clone(disk);
            int read = log_read(memory_disk_io(disk), &recovery, &error);
            if (read == CONCLAVE_OK) {
                cr_assert(story_matches(&peer.story, peer.story.staged_count, &recovery.entries),
                          "%s", what);
                raft_runs_clear(&recovery.entries);
                memory_disk_destroy(before);
                memory_disk_destroy(disk);
                harmless++;
                continue;
            }
            cr_assert_eq(read, CONCLAVE_CORRUPT, "%s", what);
            impossible += strstr(error.message, "cannot stand here") != NULL;
            int code =
                wal_repair_open(memory_disk_io(disk), STORY_DIR, &story_identity, &repair, &error);
            cr_assert(code == CONCLAVE_OK || code == CONCLAVE_CORRUPT, "%s: %s", what,
                      error.message);
            mendable += code == CONCLAVE_OK ? 1 : 0;
            wal_repair_close(repair);
            cr_assert(memory_disk_equal(before, disk), "%s: changed", what);
            cr_assert_eq(memory_disk_handles(disk), 0);
            memory_disk_destroy(before);
            refused++;
        }
        memory_disk_destroy(disk);
    }
    cr_assert_gt(refused, last * FORGERIES, "%zu", refused);
    cr_assert_gt(impossible, refused / 4, "%zu of %zu", impossible, refused);
    cr_assert_gt(mendable, 0, "%zu", mendable);
    cr_assert_lt(harmless, 10, "%zu", harmless);
    peer_free(&peer);
}
