/* DIR/vote: two blocks of 4096 bytes; the first 512 of each are a slot:
 *
 *     0   48  frame (storage/block.h), magic CNCLVOTE
 *     48  8   sequence number of the write
 *     56  8   term
 *     64  8   vote: node id, 0: none
 *     72      zero
 *
 * A write goes to one slot, is synced, and goes to the other, is synced; only then it counts. So
 * a torn write leaves the state before it in the other slot, and - what writing only one slot a
 * turn would not give - a slot that rots later never takes an acknowledged vote with it. Elections
 * are rare: the second sync costs nothing that matters.
 *
 * A start writes what it found where it found it, and then, with the next sequence number, to both.
 * So no two starts have one number, and a damaged slot takes none back: it is the number of the
 * node's life. */
#include "storage/vote.h"

#include "base/fatal.h"
#include "storage/block.h"
#include "storage/bytes.h"

#include <stdlib.h>

enum {
    VOTE_SLOT_BYTES = 512,     /* one sector */
    VOTE_SLOT_DISTANCE = 4096, /* one page and one block of any disk */
    VOTE_FILE_BYTES = 2 * VOTE_SLOT_DISTANCE
};

static const char vote_magic[] = "CNCLVOTE";

struct vote_slot {
    uint64_t sequence;
    struct raft_hard_state state;
};

struct vote_file {
    const struct io *io;
    struct io_file *file;
    struct storage_identity identity;
    struct vote_slot slot; /* what both slots hold */
    uint64_t start;        /* its sequence number when it was opened */
    bool failed;
};

static void slot_encode(uint8_t *block, const struct storage_identity *identity,
                        struct vote_slot slot)
{
    memset(block, 0, VOTE_SLOT_BYTES);
    put_u64(block + 48, slot.sequence);
    put_u64(block + 56, slot.state.term);
    put_u64(block + 64, slot.state.vote);
    (void)block_seal(block, VOTE_SLOT_BYTES, vote_magic, identity);
}

static int slot_write(const struct io *io, struct io_file *file, unsigned number, uint8_t *block,
                      struct conclave_error *error)
{
    struct iovec part = {.iov_base = block, .iov_len = VOTE_SLOT_BYTES};
    int code = io->writev(io->ctx, file, (uint64_t)number * VOTE_SLOT_DISTANCE, &part, 1, error);
    return code != CONCLAVE_OK ? code : io->datasync(io->ctx, file, error);
}

int vote_create(const struct io *io, const char *dir, const struct storage_identity *identity,
                struct raft_hard_state initial, struct conclave_error *error)
{
    char *path = path_join(dir, "vote");
    struct io_file *file = NULL;
    int code = io->open(io->ctx, path, IO_OPEN_CREATE, &file, error);
    if (code != CONCLAVE_OK)
        goto free_path;
    uint8_t block[VOTE_SLOT_BYTES];
    slot_encode(block, identity, (struct vote_slot){.sequence = 1, .state = initial});
    code = io->allocate(io->ctx, file, VOTE_FILE_BYTES, NULL, error);
    for (unsigned i = 0; i < 2 && code == CONCLAVE_OK; i++)
        code = slot_write(io, file, i, block, error);
    if (code == CONCLAVE_OK)
        code = io->sync_dir(io->ctx, dir, error);
    io->close(io->ctx, file);
    if (code !=
        CONCLAVE_OK) /* nothing half-made stays; if this fails too, the first error counts */
        (void)io->unlink(io->ctx, path, NULL);
free_path:
    free(path);
    return code;
}

/* Reads a slot: OK, CORRUPT (not a whole slot), VERSION, IDENTITY. */
static int slot_decode(const uint8_t *block, size_t available,
                       const struct storage_identity *identity, struct vote_slot *ret)
{
    int code = block_check(block, available, VOTE_SLOT_BYTES, vote_magic, identity);
    if (code == CONCLAVE_OK)
        *ret =
            (struct vote_slot){.sequence = get_u64(block + 48),
                               .state = {.term = get_u64(block + 56), .vote = get_u64(block + 64)}};
    return code;
}

/* The state that counts, and where it stands. */
static int slots_read(const char *path, const uint8_t *bytes, size_t available,
                      const struct storage_identity *identity, struct vote_slot *ret,
                      unsigned *ret_number, unsigned *ret_damaged, struct conclave_error *error)
{
    struct vote_slot slots[2] = {{0}, {0}};
    bool whole[2];
    for (unsigned i = 0; i < 2; i++) {
        size_t at = (size_t)i * VOTE_SLOT_DISTANCE;
        int code =
            slot_decode(bytes + at, available > at ? available - at : 0, identity, &slots[i]);
        if (code == CONCLAVE_VERSION)
            return error_set(error, code, "%s is of a newer format: use a newer program", path);
        if (code == CONCLAVE_IDENTITY)
            return error_set(error, code, "%s belongs to another node or cluster", path);
        whole[i] = code == CONCLAVE_OK;
    }
    if (!whole[0] && !whole[1])
        return error_set(
            error, CONCLAVE_CORRUPT,
            "%s is damaged in both slots, so it is not known whom this node voted for. "
            "It must not vote again: remove it from the cluster and add it under a new "
            "directory",
            path);
    unsigned number = !whole[0] || (whole[1] && slots[1].sequence > slots[0].sequence) ? 1 : 0;
    unsigned other = 1 - number;
    if (whole[other] && slots[other].state.term > slots[number].state.term)
        return error_set(error, CONCLAVE_CORRUPT, "%s is damaged: its term goes back", path);
    *ret = slots[number];
    *ret_number = number;
    *ret_damaged = whole[other] ? 0 : 1;
    return CONCLAVE_OK;
}

/* The disk fails to read a part of the file: a slot in it is as good as a damaged one. IO: neither
 * can be read. */
static int slots_load_apart(const struct io *io, struct io_file *file, uint8_t *bytes,
                            size_t *ret_available, struct conclave_error *error)
{
    int code = CONCLAVE_IO;
    memset(bytes, 0, VOTE_FILE_BYTES);
    for (size_t at = 0; at < VOTE_FILE_BYTES; at += VOTE_SLOT_DISTANCE) {
        uint8_t slot[VOTE_SLOT_BYTES];
        size_t got = 0;
        int read = io->read(io->ctx, file, at, slot, sizeof slot, &got, error);
        if (read != CONCLAVE_OK)
            continue;
        memcpy(bytes + at, slot, got);
        code = CONCLAVE_OK;
    }
    *ret_available = VOTE_FILE_BYTES;
    return code;
}

/* The file as it is, and which of its slots counts. */
struct vote_found {
    struct io_file *file;
    struct vote_slot slot;
    unsigned number, damaged;
};

/* Opens and reads it; the file stays open if that is OK. */
static int vote_find(const struct io *io, const char *dir, unsigned flags,
                     const struct storage_identity *identity, struct vote_found *ret,
                     struct conclave_error *error)
{
    char *path = path_join(dir, "vote");
    uint8_t *bytes = mem_zalloc(VOTE_FILE_BYTES);
    size_t available = 0;
    struct vote_found found = {0};
    int code = io->open(io->ctx, path, flags, &found.file, error);
    if (code == CONCLAVE_NOT_FOUND)
        code = error_set(error, CONCLAVE_CORRUPT,
                         "%s is missing, so it is not known whom this node voted for. It must not "
                         "vote again: remove it from the cluster and add it under a new directory",
                         path);
    if (code != CONCLAVE_OK)
        goto free_path;
    code = io->read(io->ctx, found.file, 0, bytes, VOTE_FILE_BYTES, &available, error);
    if (code == CONCLAVE_IO)
        code = slots_load_apart(io, found.file, bytes, &available, error);
    if (code == CONCLAVE_OK)
        code = slots_read(path, bytes, available, identity, &found.slot, &found.number,
                          &found.damaged, error);
    if (code == CONCLAVE_OK)
        *ret = found;
    else
        io->close(io->ctx, found.file);
free_path:
    free(bytes);
    free(path);
    return code;
}

int vote_look(const struct io *io, const char *dir, const struct storage_identity *identity,
              struct vote_view *ret, struct conclave_error *error)
{
    struct vote_found found;
    int code = vote_find(io, dir, IO_OPEN_READ_ONLY, identity, &found, error);
    if (code != CONCLAVE_OK)
        return code;
    io->close(io->ctx, found.file);
    *ret = (struct vote_view){.state = found.slot.state,
                              .sequence = found.slot.sequence,
                              .damaged_slots = found.damaged,
                              .damaged_at = found.number == 0 ? (uint64_t)VOTE_SLOT_DISTANCE : 0};
    return CONCLAVE_OK;
}

int vote_open(const struct io *io, const char *dir, const struct storage_identity *identity,
              struct vote_file **ret_file, struct raft_hard_state *ret_state,
              struct conclave_error *error)
{
    struct vote_found found;
    int code = vote_find(io, dir, 0, identity, &found, error);
    if (code != CONCLAVE_OK)
        return code;
    /* What was read may stand in the page cache alone (a killed process, a failed sync), so it
     * is written again before it is used; only when it is durable in its slot the other one,
     * which may hold the last durable state, is replaced. */
    struct vote_slot slot = found.slot;
    const unsigned number = found.number;
    uint8_t block[VOTE_SLOT_BYTES];
    slot_encode(block, identity, slot);
    code = slot_write(io, found.file, number, block, error);
    slot.sequence++;
    slot_encode(block, identity, slot);
    for (unsigned i = 0; i < 2 && code == CONCLAVE_OK; i++)
        code = slot_write(io, found.file, i == 0 ? 1 - number : number, block, error);
    if (code != CONCLAVE_OK) {
        io->close(io->ctx, found.file);
        return code;
    }
    struct vote_file *vote = mem_zalloc(sizeof(*vote));
    *vote = (struct vote_file){
        .io = io, .file = found.file, .identity = *identity, .slot = slot, .start = slot.sequence};
    *ret_file = vote;
    *ret_state = slot.state;
    return CONCLAVE_OK;
}

uint64_t vote_start_number(const struct vote_file *vote)
{
    return vote->start;
}

int vote_write(struct vote_file *vote, struct raft_hard_state state, struct conclave_error *error)
{
    struct raft_hard_state old = vote->slot.state;
    ASSERT(state.term >= old.term);
    ASSERT(state.term > old.term || old.vote == 0 || state.vote == old.vote);
    if (vote->failed)
        return error_set(error, CONCLAVE_IO, "the vote file is not usable after a failed write");
    struct vote_slot slot = {.sequence = vote->slot.sequence + 1, .state = state};
    uint8_t block[VOTE_SLOT_BYTES];
    slot_encode(block, &vote->identity, slot);
    int code = slot_write(vote->io, vote->file, 0, block, error);
    if (code == CONCLAVE_OK)
        code = slot_write(vote->io, vote->file, 1, block, error);
    if (code != CONCLAVE_OK) {
        vote->failed = true; /* Rule 6: what is on disk is not known */
        return code;
    }
    vote->slot = slot;
    return CONCLAVE_OK;
}

void vote_close(struct vote_file *vote)
{
    if (vote == NULL)
        return;
    vote->io->close(vote->io->ctx, vote->file);
    free(vote);
}
