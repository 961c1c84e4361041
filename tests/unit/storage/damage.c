/* Every byte of every file changed, zeroed, cut: the log is whole, or a prefix with everything
 * attested, or CORRUPT with the place; never wrong, and CORRUPT changes nothing. */
#include "fixture.h"

#include "storage/identity.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { PLACES_MAX = 512 };

struct image {
    struct memory_disk *disk;
    struct story story;
    struct placed places[PLACES_MAX];
    size_t place_count;
};

static void image_make(struct image *image, const struct step *steps)
{
    struct memory_disk *disk = memory_disk_create();
    cr_assert_eq(story_play(&image->story, memory_disk_io(disk), steps), CONCLAVE_OK);
    image->disk = memory_disk_clone(disk);
    memory_disk_destroy(disk);
    image->place_count = image_layout(image->disk, image->places, PLACES_MAX);
    cr_assert_gt(image->place_count, 20);
}

static void image_free(struct image *image)
{
    memory_disk_destroy(image->disk);
}

/* What the image attests: everything before its last batch. */
static size_t image_attested(const struct image *image)
{
    return image->places[image->place_count - 1].entries_before;
}

/* Opens a damaged copy. Returns the code; checks everything that holds for every damage. */
static int open_damaged(const struct image *image, struct memory_disk *damaged, size_t attested,
                        const char *path, const char *what)
{
    struct memory_disk *before = memory_disk_clone(damaged);
    const struct io *io = memory_disk_io(damaged);
    struct conclave_error error = {0};
    struct wal_recovery recovery = {0};
    int code = log_read(io, &recovery, &error);
    if (code == CONCLAVE_OK) {
        cr_assert_neq(story_find(&image->story, attested, &recovery.entries), SIZE_MAX,
                      "%s: something attested is lost or an entry is wrong", what);
        raft_runs_clear(&recovery.entries);
        cr_assert_eq(log_read(io, &recovery, &error), CONCLAVE_OK, "%s, again: %s", what,
                     error.message);
        cr_assert_eq(recovery.cut_bytes, 0, "%s", what);
        raft_runs_clear(&recovery.entries);
    } else {
        cr_assert_eq(code, CONCLAVE_CORRUPT, "%s: %s", what, error.message);
        cr_assert_not_null(strstr(error.message, strrchr(path, '/') + 1), "%s: not the place: %s",
                           what, error.message);
        cr_assert_eq(memory_disk_changes(damaged), 0, "%s: CORRUPT wrote", what);
        cr_assert(memory_disk_equal(before, damaged), "%s: CORRUPT changed the disk", what);
    }
    cr_assert_eq(memory_disk_handles(damaged), 0);
    memory_disk_destroy(before);
    return code;
}

static size_t flip_every_byte(const struct image *image)
{
    size_t corrupt = 0;
    const char *path;
    for (size_t file = 0; (path = memory_disk_file(image->disk, file)) != NULL; file++) {
        if (strstr(path, ".wal") == NULL)
            continue;
        size_t bytes = 0;
        const uint8_t *data = memory_disk_bytes(image->disk, path, &bytes);
        for (size_t at = 0; at < bytes; at += SPARSELY(5)) {
            for (int whole = 0; whole < 2; whole++) {
                char what[128];
                uint8_t mask = whole == 1 ? 0xff : (uint8_t)(1u << (at % 8));
                uint8_t value = data[at] ^ mask;
                (void)snprintf(what, sizeof(what), "%s at %zu ^ %02x", path, at, mask);
                struct memory_disk *damaged = memory_disk_clone(image->disk);
                memory_disk_rot(damaged, path, at, &value, 1);
                int code = open_damaged(image, damaged, image_attested(image), path, what);
                corrupt += code == CONCLAVE_CORRUPT ? 1 : 0;
                memory_disk_destroy(damaged);
            }
        }
    }
    return corrupt;
}

Test(damage, every_flipped_byte_of_an_attested_log)
{
    struct image image;
    image_make(&image, story_long);
    cr_assert_eq(image_attested(&image), image.story.staged_count);
    cr_assert_gt(flip_every_byte(&image), 4000 / SPARSELY(5));
    image_free(&image);
}

Test(damage, every_flipped_byte_of_an_unattested_log)
{
    struct image image;
    image_make(&image, story_short);
    cr_assert_lt(image_attested(&image), image.story.staged_count);
    cr_assert_gt(flip_every_byte(&image), 2000 / SPARSELY(5));
    image_free(&image);
}

/* A flipped byte in any record before the last batch is CORRUPT, never a cut. */
Test(damage, attested_record_is_never_cut)
{
    struct image image;
    image_make(&image, story_short);
    size_t last = image.places[image.place_count - 1].batch;
    for (size_t i = 0; i < image.place_count; i++) {
        const struct placed *place = &image.places[i];
        size_t bytes = 0;
        const uint8_t *data = memory_disk_bytes(image.disk, place->path, &bytes);
        for (size_t at = place->offset; at < place->offset + place->bytes; at++) {
            struct memory_disk *damaged = memory_disk_clone(image.disk);
            uint8_t value = data[at] ^ 0x10;
            memory_disk_rot(damaged, place->path, at, &value, 1);
            int code =
                open_damaged(&image, damaged, place->entries_before, place->path, "a record");
            cr_assert_eq(code, place->batch < last ? CONCLAVE_CORRUPT : CONCLAVE_OK,
                         "%s at %zu, batch %zu of %zu", place->path, at, place->batch, last);
            memory_disk_destroy(damaged);
        }
    }
    image_free(&image);
}

/* A start attests what it found, so that the window for damage does not stay open. */
Test(damage, after_a_start_nothing_is_cut_any_more)
{
    struct image image;
    struct wal_recovery recovery = {0};
    image_make(&image, story_short);
    size_t count = image.place_count;
    cr_assert_eq(log_read(memory_disk_io(image.disk), &recovery, NULL), CONCLAVE_OK);
    raft_runs_clear(&recovery.entries);
    struct memory_disk *attested = memory_disk_clone(image.disk);
    for (size_t i = 0; i < count; i++) {
        const struct placed *place = &image.places[i];
        size_t bytes = 0;
        struct memory_disk *damaged = memory_disk_clone(attested);
        uint8_t value =
            (uint8_t)(memory_disk_bytes(damaged, place->path, &bytes)[place->offset + 33] ^ 0x40);
        memory_disk_rot(damaged, place->path, place->offset + 33, &value, 1);
        cr_assert_eq(open_damaged(&image, damaged, image.story.staged_count, place->path, "a term"),
                     CONCLAVE_CORRUPT, "record %zu of %zu", i, count);
        memory_disk_destroy(damaged);
    }
    memory_disk_destroy(attested);
    image_free(&image);
}

/* A lost write: the bytes of another history, whole by themselves, in the right place. */
Test(damage, record_of_another_history_breaks_the_chain)
{
    /* Terms 41 apart have payloads of the same size: the records lie at the same offsets. */
    static const struct step one[] = {
        {STEP_APPEND, 2, 2, 3}, {STEP_SYNC, 0, 0, 0}, {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    static const struct step two[] = {
        {STEP_APPEND, 43, 2, 3}, {STEP_SYNC, 0, 0, 0}, {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct memory_disk *disks[2] = {memory_disk_create(), memory_disk_create()};
    struct story story;
    struct placed places[PLACES_MAX];
    cr_assert_eq(story_play(&story, memory_disk_io(disks[0]), two), CONCLAVE_OK);
    cr_assert_eq(story_play(&story, memory_disk_io(disks[1]), one), CONCLAVE_OK);
    size_t count = image_layout(disks[1], places, PLACES_MAX), broken = 0;
    for (size_t i = 0; i < count; i++) {
        const struct placed *place = &places[i];
        struct memory_disk *mixed = memory_disk_clone(disks[1]);
        size_t bytes = 0;
        struct wal_recovery recovery = {0};
        const uint8_t *other = memory_disk_bytes(disks[0], place->path, &bytes) + place->offset;
        const uint8_t *own = memory_disk_bytes(disks[1], place->path, &bytes) + place->offset;
        bool same = memcmp(own, other, place->bytes) == 0;
        memory_disk_rot(mixed, place->path, place->offset, other, place->bytes);
        int code = log_read(memory_disk_io(mixed), &recovery, NULL);
        bool last = i + 1 == count; /* an attestation; it holds nothing and can be cut */
        cr_assert_eq(code, same || last ? CONCLAVE_OK : CONCLAVE_CORRUPT, "record %zu", i);
        if (code == CONCLAVE_OK)
            cr_assert(story_matches(&story, story.staged_count, &recovery.entries));
        broken += code == CONCLAVE_CORRUPT ? 1 : 0;
        raft_runs_clear(&recovery.entries);
        memory_disk_destroy(mixed);
    }
    cr_assert_geq(broken, 3);
    memory_disk_destroy(disks[0]);
    memory_disk_destroy(disks[1]);
}

/* Segments of two histories with the same ids at their ends: only the link in the header tells. */
Test(damage, segment_that_follows_another_history_is_refused)
{
    static const struct step one[] = {{STEP_APPEND, 2, 2, 1},
                                      {STEP_APPEND, 50, 3, 20},
                                      {STEP_SYNC, 0, 0, 0},
                                      {STEP_ATTEST, 0, 0, 0},
                                      {STEP_END, 0, 0, 0}};
    static const struct step two[] = {{STEP_APPEND, 43, 2, 1},
                                      {STEP_APPEND, 50, 3, 20},
                                      {STEP_SYNC, 0, 0, 0},
                                      {STEP_ATTEST, 0, 0, 0},
                                      {STEP_END, 0, 0, 0}};
    struct memory_disk *mixed = memory_disk_create(), *other = memory_disk_create();
    struct story story;
    struct conclave_error error = {0};
    struct wal_recovery recovery = {0};
    size_t replaced = 0;
    cr_assert_eq(story_play(&story, memory_disk_io(other), two), CONCLAVE_OK);
    cr_assert_eq(story_play(&story, memory_disk_io(mixed), one), CONCLAVE_OK);
    const char *path;
    for (size_t file = 0; (path = memory_disk_file(other, file)) != NULL; file++) {
        size_t bytes = 0, own_bytes = 0;
        if (strstr(path, ".wal") == NULL || strstr(path, "0000000000000001.wal") != NULL)
            continue;
        const uint8_t *data = memory_disk_bytes(other, path, &bytes);
        cr_assert_not_null(memory_disk_bytes(mixed, path, &own_bytes));
        cr_assert_eq(own_bytes, bytes);
        memory_disk_rot(mixed, path, 0, data, bytes);
        replaced++;
    }
    cr_assert_geq(replaced, 1);
    cr_assert_eq(log_read(memory_disk_io(mixed), &recovery, &error), CONCLAVE_CORRUPT);
    cr_assert_not_null(strstr(error.message, "0000000000000001.wal"), "%s", error.message);
    memory_disk_destroy(mixed);
    memory_disk_destroy(other);
}

/* The last segment's header did not reach the disk, but records of its first batch did. */
Test(damage, torn_first_batch_still_attests_the_segment_before)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 10}, {STEP_SYNC, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    static const uint8_t zeros[STORY_SEGMENT_BYTES];
    struct image image = {0};
    struct memory_disk *disk = memory_disk_create();
    cr_assert_eq(story_play(&image.story, memory_disk_io(disk), steps), CONCLAVE_OK);
    image.place_count = image_layout(disk, image.places, PLACES_MAX);
    size_t last = image.place_count - 1, before = last;
    while (strcmp(image.places[before].path, image.places[last].path) == 0)
        before--;
    const struct placed *end = &image.places[before];
    cr_assert_eq(image.places[last].batch, end->batch + 1, "one batch in the last segment");
    memory_disk_rot(disk, image.places[last].path, 0, zeros, WAL_HEADER_BYTES);

    struct memory_disk *torn = memory_disk_clone(disk);
    size_t attested = image.places[last].entries_before;
    cr_assert_eq(open_damaged(&image, torn, attested, end->path, "only torn"), CONCLAVE_OK);
    memory_disk_destroy(torn);

    struct memory_disk *flipped = memory_disk_clone(disk);
    memory_disk_rot(flipped, end->path, end->offset + 36, "x", 1);
    memory_disk_rot(flipped, image.places[last].path, WAL_HEADER_BYTES, zeros, WAL_RECORD_BYTES);
    cr_assert_eq(open_damaged(&image, flipped, attested, end->path, "flipped"), CONCLAVE_CORRUPT);
    memory_disk_destroy(flipped);

    struct memory_disk *zeroed = memory_disk_clone(disk);
    memory_disk_rot(zeroed, end->path, end->offset, zeros, end->bytes);
    cr_assert_eq(open_damaged(&image, zeroed, attested, end->path, "zeroed"), CONCLAVE_CORRUPT);
    memory_disk_destroy(zeroed);
    memory_disk_destroy(disk);
}

/* A start tells how much of a torn batch it cuts: up to the end of its last whole record. */
Test(damage, what_is_cut_of_a_torn_batch_is_counted)
{
    static const uint8_t zeros[WAL_RECORD_BYTES];
    struct image image;
    struct wal_recovery recovery = {0};
    image_make(&image, story_short);
    const struct placed *last = &image.places[image.place_count - 1], *first = last;
    while (!first->is_batch)
        first--;
    cr_assert_str_eq(first->path, last->path);
    memory_disk_rot(image.disk, first->path, first->offset, zeros, sizeof zeros);
    cr_assert_eq(log_read(memory_disk_io(image.disk), &recovery, NULL), CONCLAVE_OK);
    cr_assert_eq(recovery.cut_bytes, last->offset + last->bytes - first->offset);
    raft_runs_clear(&recovery.entries);
    image_free(&image);
}

/* What a lost tail leaves: zeros from any offset of the last segment on. */
static void truncate_everywhere(const struct image *image)
{
    const char *path = image->places[image->place_count - 1].path;
    size_t bytes = 0;
    static const uint8_t zeros[STORY_SEGMENT_BYTES + STORY_LARGE_BYTES + IO_BLOCK_BYTES];
    cr_assert_not_null(memory_disk_bytes(image->disk, path, &bytes));
    for (size_t at = 0; at < bytes; at += SPARSELY(3)) {
        char what[128];
        (void)snprintf(what, sizeof(what), "%s is zero from %zu on", path, at);
        size_t attested = 0;
        for (size_t i = 0; i < image->place_count; i++) {
            const struct placed *place = &image->places[i];
            if (strcmp(place->path, path) != 0 || place->offset + place->bytes <= at)
                attested = place->entries_before;
        }
        struct memory_disk *damaged = memory_disk_clone(image->disk);
        memory_disk_rot(damaged, path, at, zeros, bytes - at);
        cr_assert_eq(open_damaged(image, damaged, attested, path, what), CONCLAVE_OK, "%s", what);
        memory_disk_destroy(damaged);
    }
}

Test(damage, last_segment_cut_at_every_offset)
{
    struct image image;
    image_make(&image, story_short);
    truncate_everywhere(&image);
    image_free(&image);
    image_make(&image, story_long);
    truncate_everywhere(&image);
    image_free(&image);
}

/* Sectors that are zero, or hold another sector's bytes. */
Test(damage, lost_and_misdirected_sectors)
{
    struct image image;
    size_t corrupt = 0;
    image_make(&image, story_short);
    const char *to, *from;
    for (size_t i = 0; (to = memory_disk_file(image.disk, i)) != NULL; i++) {
        size_t to_bytes = 0;
        (void)memory_disk_bytes(image.disk, to, &to_bytes);
        for (size_t at = 0; strstr(to, ".wal") != NULL && at < to_bytes;
             at += MEMORY_SECTOR_BYTES) {
            for (size_t j = 0; (from = memory_disk_file(image.disk, j)) != NULL; j++) {
                size_t from_bytes = 0;
                const uint8_t *data = memory_disk_bytes(image.disk, from, &from_bytes);
                for (size_t source = 0; source + MEMORY_SECTOR_BYTES <= from_bytes;
                     source += MEMORY_SECTOR_BYTES) {
                    struct memory_disk *damaged = memory_disk_clone(image.disk);
                    memory_disk_rot(damaged, to, at, data + source, MEMORY_SECTOR_BYTES);
                    /* A whole sector of zeros can take the last header with all behind it. */
                    struct conclave_error error = {0};
                    struct wal_recovery recovery = {0};
                    int code = log_read(memory_disk_io(damaged), &recovery, &error);
                    if (code == CONCLAVE_OK)
                        cr_assert_neq(story_find(&image.story, 1, &recovery.entries), SIZE_MAX,
                                      "%s at %zu holds %s at %zu", to, at, from, source);
                    else
                        cr_assert_eq(memory_disk_changes(damaged), 0);
                    corrupt += code == CONCLAVE_CORRUPT ? 1 : 0;
                    raft_runs_clear(&recovery.entries);
                    memory_disk_destroy(damaged);
                }
            }
        }
    }
    cr_assert_gt(corrupt, 50);
    image_free(&image);
}

Test(damage, missing_segment_is_named)
{
    struct image image;
    struct conclave_error error = {0};
    struct wal_recovery recovery;
    image_make(&image, story_long);
    const struct io *io = memory_disk_io(image.disk);
    cr_assert_eq(io->unlink(io->ctx, STORY_DIR "/wal/0000000000000002.wal", &error), CONCLAVE_OK);
    cr_assert_eq(log_read(io, &recovery, &error), CONCLAVE_CORRUPT);
    cr_assert_not_null(strstr(error.message, "0000000000000002.wal"), "%s", error.message);
    image_free(&image);
}

Test(damage, unreadable_segment_changes_nothing)
{
    struct image image;
    image_make(&image, story_short);
    for (uint64_t at = 1; at <= 12; at++) {
        struct memory_disk *disk = memory_disk_clone(image.disk);
        struct conclave_error error = {0};
        struct wal_recovery recovery;
        memory_disk_fail_at(disk, at, CONCLAVE_IO);
        cr_assert_eq(log_read(memory_disk_io(disk), &recovery, &error), CONCLAVE_IO);
        cr_assert_eq(memory_disk_changes(disk), 0);
        memory_disk_destroy(disk);
    }
    image_free(&image);
}
