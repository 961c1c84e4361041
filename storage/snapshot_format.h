/* storage/snapshot_format.h - what the files of snapshots share: names, header, chunks
 * (storage/snapshot.h has the format). Pure but for snapshot_open_path; any thread. */
#ifndef STORAGE_SNAPSHOT_FORMAT_H
#define STORAGE_SNAPSHOT_FORMAT_H

#include "storage/snapshot.h"

enum {
    SNAPSHOT_HEADER_BYTES = 512,
    SNAPSHOT_FRAME_BYTES = 24, /* of a chunk before its payload */
    SNAPSHOT_END_BYTES = 16,
    SNAPSHOT_NAME_BYTES = 40 /* "INDEX-TERM.snap" and NUL fit */
};

enum snapshot_kind {
    SNAPSHOT_CONFIGURATION = 1,
    SNAPSHOT_DATA = 2,
    SNAPSHOT_END = 3,
};

/* DIR/snapshots, and a file in it; to be freed. */
char *snapshot_dir_path(const char *dir);
char *snapshot_file_path(const char *dir, struct raft_id id, const char *suffix);

/* True if the name is one of a snapshot. */
bool snapshot_name_parse(const char *name, struct raft_id *ret);

/* Writes SNAPSHOT_HEADER_BYTES; returns the checksum. */
uint64_t snapshot_header_encode(uint8_t *to, const struct storage_identity *identity,
                                const struct snapshot_meta *meta);

/* Fills last and configuration_index. CORRUPT, VERSION, IDENTITY: another cluster's. */
MUST_USE int snapshot_header_decode(const uint8_t *from, size_t available,
                                    const struct storage_identity *identity,
                                    struct snapshot_meta *ret);

/* Fills the frame in front of `payload_bytes` that are already there. */
void snapshot_chunk_seal(uint8_t *chunk, uint64_t seed, uint64_t offset, enum snapshot_kind kind,
                         size_t payload_bytes);

/* Payload bytes and kind as the frame claims them; false if it claims what cannot be. */
bool snapshot_chunk_frame(const uint8_t *frame, uint64_t offset, enum snapshot_kind *ret_kind,
                          size_t *ret_bytes);

/* True if the whole chunk is what was sealed. */
bool snapshot_chunk_whole(const uint8_t *chunk, uint64_t seed, size_t payload_bytes);

/* As snapshot_reader_open, for any path; always with the meta. */
MUST_USE int snapshot_open_path(const struct io *io, const char *path,
                                const struct storage_identity *identity,
                                struct snapshot_reader **ret_reader, struct snapshot_meta *ret_meta,
                                struct conclave_error *error);

/* Reads everything behind the configuration and checks all but the zstd frame. */
MUST_USE int snapshot_reader_check(struct snapshot_reader *reader, struct conclave_error *error);

#endif
