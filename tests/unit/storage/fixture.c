#include "fixture.h"

#include "base/fatal.h"
#include "storage/identity.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

const struct storage_identity story_identity = {
    .cluster_id = 0x1111, .node_id = 0x2222, .incarnation = 0x3333, .name = "n1"};
const struct wal_options story_options = {.segment_bytes = STORY_SEGMENT_BYTES, .spares_max = 2};

const struct step story_long[] = {
    {STEP_VOTE, 2, 7, 0},    {STEP_APPEND, 2, 2, 3},   {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 2, 5, 1},  {STEP_APPEND, 2, 6, 2},   {STEP_SYNC, 0, 0, 0},
    {STEP_ATTEST, 0, 0, 0},  {STEP_VOTE, 3, 0, 0},     {STEP_VOTE, 3, 9, 0},
    {STEP_APPEND, 3, 6, 1},  {STEP_SYNC, 0, 0, 0},     {STEP_PREPARE, 0, 0, 0},
    {STEP_APPEND, 3, 7, 20}, {STEP_SYNC, 0, 0, 0},     {STEP_PREPARE, 0, 0, 0},
    {STEP_REOPEN, 0, 0, 0},  {STEP_APPEND, 3, 27, 4},  {STEP_SYNC, 0, 0, 0},
    {STEP_VOTE, 5, 2, 0},    {STEP_APPEND, 5, 9, 3},   {STEP_SYNC, 0, 0, 0},
    {STEP_PREPARE, 0, 0, 0}, {STEP_APPEND, 5, 12, 30}, {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 6, 42, 2}, {STEP_APPEND, 7, 43, 2},  {STEP_SYNC, 0, 0, 0},
    {STEP_ATTEST, 0, 0, 0},  {STEP_END, 0, 0, 0},
};

const struct step story_short[] = {
    {STEP_APPEND, 1, 2, 4}, {STEP_SYNC, 0, 0, 0},    {STEP_APPEND, 2, 4, 12},
    {STEP_SYNC, 0, 0, 0},   {STEP_PREPARE, 0, 0, 0}, {STEP_APPEND, 2, 16, 5},
    {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 3, 21, 3}, {STEP_SYNC, 0, 0, 0},
    {STEP_END, 0, 0, 0},
};

struct slice payload_of(struct raft_id id)
{
    static uint8_t bytes[STORY_LARGE_BYTES];
    size_t count = (size_t)((id.index * 7 + id.term * 3) % 41);
    if (id.index == STORY_LARGE_INDEX)
        count = STORY_LARGE_BYTES;
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(id.index * 31 + id.term * 17 + i + 1);
    return (struct slice){.data = bytes, .bytes = count};
}

static enum raft_entry_kind kind_of(struct raft_id id)
{
    if (id.index == 1)
        return RAFT_ENTRY_CONFIG;
    return payload_of(id).bytes == 0 ? RAFT_ENTRY_NOOP : RAFT_ENTRY_COMMAND;
}

void runs_fill(struct raft_runs *runs, uint64_t term, uint64_t index, uint64_t count)
{
    struct raft_batch *batch = raft_batch_create((uint32_t)count);
    for (uint64_t i = 0; i < count; i++) {
        struct raft_entry entry = {.id = {.term = term, .index = index + i}};
        struct slice payload = payload_of(entry.id);
        entry.kind = kind_of(entry.id);
        if (payload.bytes > 0) {
            entry.buf = buf_copy(payload.data, payload.bytes);
            entry.payload = (struct slice){.data = entry.buf->data, .bytes = payload.bytes};
        }
        raft_batch_add(batch, entry);
    }
    raft_runs_append(runs, batch, 0, (uint32_t)count);
    raft_batch_unref(batch);
}

static void stage(struct story *story, uint64_t term, uint64_t index, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        ASSERT(story->staged_count < STORY_ENTRIES_MAX);
        story->staged[story->staged_count++] = (struct raft_id){.term = term, .index = index + i};
    }
}

struct wal *log_begin(struct memory_disk *disk, const struct wal_options *options, uint64_t count)
{
    const struct io *io = memory_disk_io(disk);
    struct wal_recovery found = {0};
    struct wal *wal = NULL;
    struct raft_runs runs = {0};
    cr_assert_eq(io->make_dir(io->ctx, STORY_DIR, NULL), CONCLAVE_OK);
    runs_fill(&runs, 1, 1, count);
    cr_assert_eq(wal_create(io, STORY_DIR, &story_identity, options, &runs, NULL), CONCLAVE_OK);
    raft_runs_clear(&runs);
    cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, options, &wal, &found, NULL), 0);
    raft_runs_clear(&found.entries);
    return wal;
}

static int create(struct story *story, const struct io *io)
{
    struct raft_runs runs = {0};
    int code = io->make_dir(io->ctx, STORY_DIR, &story->error);
    if (code == CONCLAVE_OK)
        code = io->sync_dir(io->ctx, ".", &story->error);
    if (code != CONCLAVE_OK)
        return code;
    runs_fill(&runs, 1, 1, 1);
    stage(story, 1, 1, 1);
    code = wal_create(io, STORY_DIR, &story_identity, &story_options, &runs, &story->error);
    raft_runs_clear(&runs);
    if (code == CONCLAVE_OK) {
        story->acked = 1;
        story->vote_staged = (struct raft_hard_state){.term = 1};
        code = vote_create(io, STORY_DIR, &story_identity, story->vote_staged, &story->error);
    }
    if (code == CONCLAVE_OK) {
        story->vote_acked = story->vote_staged;
        code = identity_write(io, STORY_DIR, &story_identity, &story->error);
    }
    story->created = code == CONCLAVE_OK;
    return code;
}

static int reopen(struct story *story, const struct io *io, struct wal **wal)
{
    struct wal_recovery recovery = {0};
    wal_close(*wal);
    *wal = NULL;
    int code =
        wal_open(io, STORY_DIR, &story_identity, &story_options, wal, &recovery, &story->error);
    raft_runs_clear(&recovery.entries);
    return code;
}

static int play_step(struct story *story, const struct io *io, const struct step *step,
                     struct wal **wal, struct vote_file *vote)
{
    struct raft_runs runs = {0};
    int code = CONCLAVE_OK;
    switch (step->kind) {
    case STEP_APPEND:
        runs_fill(&runs, step->term, step->index, step->count);
        stage(story, step->term, step->index, step->count);
        wal_append(*wal, &runs);
        raft_runs_clear(&runs);
        break;
    case STEP_SYNC:
        code = wal_sync(*wal, &story->error);
        if (code == CONCLAVE_OK)
            story->acked = story->staged_count;
        break;
    case STEP_ATTEST:
        code = wal_attest(*wal, &story->error);
        break;
    case STEP_PREPARE:
        if (wal_needs_segment(*wal))
            code = wal_prepare_segment(*wal, &story->error);
        break;
    case STEP_VOTE:
        story->vote_staged = (struct raft_hard_state){.term = step->term, .vote = step->index};
        code = vote_write(vote, story->vote_staged, &story->error);
        if (code == CONCLAVE_OK)
            story->vote_acked = story->vote_staged;
        break;
    case STEP_REOPEN:
        code = reopen(story, io, wal);
        break;
    case STEP_END:
        break;
    }
    return code;
}

int story_play(struct story *story, const struct io *io, const struct step *steps)
{
    *story = (struct story){0};
    int code = create(story, io);
    if (code != CONCLAVE_OK)
        return code;
    struct wal *wal = NULL;
    struct vote_file *vote = NULL;
    struct raft_hard_state state;
    code = reopen(story, io, &wal);
    if (code == CONCLAVE_OK)
        code = vote_open(io, STORY_DIR, &story_identity, &vote, &state, &story->error);
    for (; code == CONCLAVE_OK && steps->kind != STEP_END; steps++)
        code = play_step(story, io, steps, &wal, vote);
    wal_close(wal);
    vote_close(vote);
    return code;
}

bool story_matches(const struct story *story, size_t count, const struct raft_runs *runs)
{
    uint64_t terms[STORY_ENTRIES_MAX] = {0}, last = 0;
    for (size_t i = 0; i < count; i++) {
        last = story->staged[i].index;
        terms[last] = story->staged[i].term;
    }
    if (runs->entry_count != last)
        return false;
    struct raft_runs_iter iter = {0};
    uint64_t index = 0;
    for (const struct raft_entry *entry; (entry = raft_runs_next(runs, &iter)) != NULL;) {
        index++;
        struct slice payload = payload_of((struct raft_id){.term = terms[index], .index = index});
        if (entry->id.index != index || entry->id.term != terms[index] ||
            entry->kind != kind_of(entry->id) || entry->payload.bytes != payload.bytes ||
            (payload.bytes > 0 && memcmp(entry->payload.data, payload.data, payload.bytes) != 0))
            return false;
    }
    return index == last;
}

size_t story_find(const struct story *story, size_t from, const struct raft_runs *runs)
{
    for (size_t count = story->staged_count + 1; count-- > from;)
        if (story_matches(story, count, runs))
            return count;
    return SIZE_MAX;
}

int log_read(const struct io *io, struct wal_recovery *ret, struct conclave_error *error)
{
    struct wal *wal = NULL;
    int code = wal_open(io, STORY_DIR, &story_identity, &story_options, &wal, ret, error);
    wal_close(wal);
    return code;
}

size_t image_layout(const struct memory_disk *disk, struct placed *ret, size_t max)
{
    size_t count = 0, batches = 0, entries = 0, before = 0;
    for (uint64_t sequence = 1;; sequence++) {
        char name[WAL_NAME_BYTES], path[64];
        wal_name_format(sequence, name);
        (void)snprintf(path, sizeof(path), "%s/wal/%s", STORY_DIR, name);
        size_t bytes = 0;
        const uint8_t *data = memory_disk_bytes(disk, path, &bytes);
        struct wal_header header;
        if (data == NULL || wal_header_decode(data, bytes, &story_identity, &header) != CONCLAVE_OK)
            return count;
        uint64_t key = wal_key(&story_identity, sequence);
        struct wal_record record;
        for (size_t at = WAL_HEADER_BYTES; wal_record_decode(data, bytes, at, key, &record);
             at += wal_record_bytes(record.payload.bytes)) {
            ASSERT(count < max);
            if (record.kind == WAL_BATCH) {
                batches++;
                before = entries;
            }
            struct placed *placed = &ret[count++];
            *placed = (struct placed){.offset = at,
                                      .bytes = wal_record_bytes(record.payload.bytes),
                                      .is_batch = record.kind == WAL_BATCH,
                                      .batch = batches - 1,
                                      .entries_before = before};
            memcpy(placed->path, path, sizeof(path));
            entries += record.kind == WAL_ENTRY ? 1 : 0;
        }
    }
}

struct wal *story_log_open(struct memory_disk *disk, uint64_t *ret_last)
{
    struct wal *wal = NULL;
    struct wal_recovery recovery = {0};
    struct conclave_error error = {0};
    cr_assert_eq(wal_open(memory_disk_io(disk), STORY_DIR, &story_identity, &story_options, &wal,
                          &recovery, &error),
                 CONCLAVE_OK, "%s", error.message);
    *ret_last = raft_runs_last(&recovery.entries).index;
    raft_runs_clear(&recovery.entries);
    return wal;
}
