/* storage/wal_format.h - the bytes of the write-ahead log: what a record is and when it is valid.
 *
 * Files. DIR/wal/SEQUENCE.wal, SEQUENCE being 16 hexadecimal digits that rise by one: segments,
 * allocated and filled with zeros before their first use, so that writing changes no metadata, or
 * made of the file of one that is not needed any more. DIR/wal/next.tmp is a segment being made,
 * and DIR/wal/SEQUENCE.wal.spare was one; they count for nothing.
 *
 * A segment is a header block of 512 bytes (one sector) and then records back to back, each at a
 * multiple of 8; behind the last one everything is zero, or of the file's earlier life. All numbers
 * are little-endian.
 *
 *     segment header                            record
 *     0   48  frame, magic CNCLVWAL             0   8  checksum
 *     48  8   sequence, as in the file's name   8   8  previous: link of the entry before it
 *     56  8   previous: link of the last entry  16  4  payload bytes
 *             before this segment               20  4  offset of this record in its segment
 *     64  8   previous end: where the records   24  4  batch: offset at which its batch begins
 *             of the segment before end         28  1  kind: 1 batch .. 4 mend
 *     72  8   term of the last entry before     29  1  entry kind (raft/entries.h); else 0
 *     80  8   index of the last entry before    30  2  zero
 *     88      zero up to 512                    32  8  term
 *     (frame and checksum: storage/block.h)     40  8  index
 *                                               48     payload, then zeros up to a multiple of 8
 *
 * A record's checksum is XXH3-64 over its bytes 8 to 48 and the XXH3-64 of its payload (0 if it has
 * none), with a seed that is the XXH3-64 of cluster id, node id, incarnation and the segment's
 * sequence. So a record can be verified alone, wherever it is found, and a record of another node,
 * another segment or another offset never passes for one that belongs here.
 *
 * Links. The link of an entry is the XXH3-64 of the link of the entry before it in the log, its
 * term, index and kind, and the size and XXH3-64 of its payload: a sum over all of the log up to
 * it, and over nothing else, neither where the entries stand nor in which batches they came. A log
 * begins with a link that follows from the id of the entry before it. No link is 0, which says that
 * one is not known. What a record calls `previous` is the link of the entry before it in the log:
 * of an entry that replaces others, that of the one before those; of all other records, that of the
 * last entry. So every record says what the log before it was.
 *
 * A batch is what one sync made durable: a batch record and the entries behind it. The first batch
 * of a segment includes the header block, and so begins at 0. A batch never straddles segments:
 * where it does not fit, it is split, and each part is a batch of its own, written and synced in
 * order. (Not a segment of the batch's size: a split costs one sync more for each 16 MiB, needs no
 * second encoding, and leaves all segments alike.) Only an entry too large for an empty segment
 * gets a segment of its own size. The batch record's term and index are the last entry's before it.
 * A batch record without entries behind it is an attestation, written when nothing else comes for a
 * while.
 *
 * An entry record with an index at or below the last one replaces everything from there on.
 *
 *     A record is VALID if and only if
 *       (1) it is whole: it lies in its segment, its checksum fits, its offset is where it stands;
 *       (2) its `previous` is the link of the entry before it, by the valid records before it;
 *       (3) it says what can be: an entry belongs to the batch before it, its index is at most one
 *           above the last, its term is not below that of the entry before it; a batch record
 *           begins at its own offset (0 for the first) and names the last entry; a record of kind 3
 *           is the second of its segment. The log is the valid records from the first segment on,
 *           up to the first that is not. A position is ATTESTED if a whole record
 * (1), valid or not, stands behind it whose batch begins behind it: a batch is written only after
 * everything before it was synced. A whole segment header attests all segments before it. The first
 * header is attested by DIR/identity.
 *
 * What a start does with the first position that holds no valid record:
 *   - it is attested, or the record there fits (1) and (2) but not (3): CORRUPT. Nothing is
 * changed.
 *   - it is not attested: the torn tail of the last batch, or simply the end. It is cut.
 *
 * Why this tells the two apart. A power failure in the middle of a batch leaves any subset of its
 * sectors, so whole records may stand behind a torn one; but they are of the same batch and attest
 * nothing at or behind its beginning. Everything before that was synced, so if it is not valid now
 * it is damage. That the chain is broken at the damage does not matter: attesting needs (1) alone,
 * which is why every record, not only the batch record, names its batch. That a stale record might
 * attest what it knows nothing of is ruled out thus: segments are new and zero, or all that is in
 * them is of another sequence, whose records are not whole here; a cut tail is
 * overwritten with zeros and synced before anything is written in its place (a crash in between
 * leaves less of the same unattested tail). A payload that
 * imitates a record would have to know the node's random incarnation and stand at the right offset;
 * the worst it could do is to turn a cut into CORRUPT.
 *
 * The window. Damage to the last batch, after it was synced and before the next batch or the
 * attestation is, looks like a torn write and is cut. An acknowledged entry is lost that way only
 * if the copies that are left are no longer on a majority; where a bare majority had it, one cut
 * copy is enough.
 *
 * A start may find in the page cache what never reached the disk (a killed process, a failed sync).
 * So before the last batch counts, it is written again and synced, and then attested.
 *
 * The change of segments. The next segment is made ahead: next.tmp, zeros, fsync, rename, fsync of
 * the directory. Its header is written together with its first batch and synced once, and only
 * after the segment before was synced. A crash leaves it zero, torn (it is then made zero again) or
 * whole.
 *
 * A spare. A segment that was let go of is renamed, and the directory synced, as if it had been
 * removed. To be the next one its header is overwritten with zeros and synced, then it is renamed
 * and the directory synced: a file with a header of an earlier sequence is never found under a
 * later name. Before a segment that was a spare is left for the next one, what stands behind its
 * last record is overwritten with zeros and synced: where a segment follows, what is not zero
 * behind the last record is, as ever, what is left of one that was durable. A start overwrites the
 * rest of the last one, as it does with any torn tail.
 *
 * Blocks. What is written are whole blocks of 4096 bytes, so that a file can be written past the
 * page cache: what stands in the first block before the batch is written again as it is, and the
 * last one is filled up with zeros. Sectors that had been durable are overwritten with the very
 * same bytes: whichever of them a power failure leaves, old or new, they are right.
 *
 * Compaction removes whole segments from the front, oldest first, the directory synced after each:
 * the first header then says which entry was before it, and the log begins behind that. So a
 * segment goes only if nothing behind it replaces an entry at or below that one.
 *
 * The log begins anew behind an installed snapshot that it disagrees with: a new segment, a batch
 * record, and then a record of kind 3 that names the snapshot's last entry. From there on nothing
 * before it is part of the log, and all segments before this one can go: a start looks at none of
 * them, and removes them. The header and the batch record name that entry, too, with the link with
 * which a log begins behind it: so nothing is lost with the record of kind 3 alone. (In logs of
 * earlier versions they name what stood before.) A header with such a link counts by itself, though
 * the rest of the first batch be torn: the snapshot was durable before it was written.
 *
 * Repair. Damage that was attested is never cut: what was lost is put back (storage/wal_repair.h).
 * Behind a damaged stretch, a hole, stands the next whole record, or the header of the next
 * segment, and its `previous` is the link of the last entry as of behind the hole, or of the one
 * before those that it replaces.
 *
 * (a) A hole that held one record is filled with the very same bytes: the link proves them. A
 * batch record, an entry without payload and a header follow from what stands around them; any
 * other entry comes from a peer.
 *
 * (b) A hole that held several records cannot always be filled so: where the batches began is not
 * known, and an entry that was replaced later may be left nowhere. It becomes one record of kind 4,
 * a mend, of exactly the hole's size, with
 *
 *     id       the last entry as of behind the hole, as the record behind it says
 *     batch    as the record behind it says
 *     payload  8  the link of the entry that `id` names
 *              8  index of the first entry in it; then entries: 8 term, 4 payload bytes, 1 kind,
 *                 3 zero, payload, zeros up to a multiple of 8; a term of 0 ends them
 *
 * A mend that holds all entries up to `id` is valid only if they lead to that link. Behind one that
 * lacks some the links of what it lacks are not known, and what it held may have replaced others.
 * Entries up to `id` that a mend does not hold are absent. They may have been replaced later; else
 * the log begins behind the last absent one, as after compaction, and a start fails unless a
 * snapshot reaches that far. Where the terms before and behind the hole differ and no record names
 * the last entry in it, that one's term is not known; `id` then has a term of 0, and the log begins
 * behind the first entry that follows.
 *
 * Where the entries for a mend come from. First by log matching (paper, 5.3). A peer is asked only
 * with an anchor, the id of an entry that this log still holds behind the hole, and answers only if
 * its own log holds that entry. Then both logs are equal up to there: at the moment when the anchor
 * was appended to this log, the entries before it were those that the peer has before its own.
 * Whether entries before the hole had been replaced within it is seen by comparing (index, term)
 * with the peer's, backwards until they agree.
 *
 * What one hole lost may have been replaced in another, further on; if the terms before and behind
 * that one differ, from where on is not known. So the anchor stands behind all that may have been
 * replaced so: it is an entry of the log that the others are part of. It is the peers' log that is
 * put back, each entry where the log can hold it: of no later term than what stands behind the
 * hole, or than what replaced the entries right behind it; if it is of a later one, it came in a
 * later hole, and is absent here. And where all in a hole is of one term, that of the entry before
 * it, a peer that has another entry there has nothing of it (5.3): all of it was replaced.
 *
 * An entry that names another link before it than that of what is shown there, or that is of an
 * earlier term, shows that what is shown was replaced in a hole, or in what a mend lacks: it is
 * absent then.
 *
 * Then by links alone (storage/wal_repair_prove.c). Between two entries whose links are known,
 * around a hole or several, the right entries are those that lead from the one link to the other,
 * whoever has them and whatever that log holds besides. So as long as each entry is whole somewhere
 * the log comes back, though no two logs be left with an entry in common.
 *
 * Before anything is written, the log as it would be is judged in memory by the same scan as at a
 * start. What would not be valid up to the same end, or would have a gap that no snapshot covers,
 * is not written: the log stays damaged, not changed into another damaged one. Or all its entries
 * are there, as the links say, and only where they stood cannot be told: then they are written anew
 * as one segment behind all others, which begins with a record of kind 3, and gets its name when it
 * is whole (storage/wal_transcript.h).
 *
 * (c) A header is computed from the segment before, or, for the first one, from the first batch
 * record. If the end of the segment before is lost too, that segment ends with its file, in a mend.
 *
 * A hole is only ever written over as a whole, and synced; a crash in the middle leaves a hole,
 * which is attested as before. A process that dies after the write and before the sync, or a sync
 * that fails, leaves what looks whole and is in memory alone. So DIR/wal/mending is made, durably,
 * before the first hole is written; a start that finds it writes all of the log again, syncs, and
 * removes it. What cannot be filled soundly (a header, the batch record behind it and the end of
 * the segment before, all lost; damage right before a torn batch whose first record is lost) stays
 * CORRUPT.
 *
 * Everything here is pure; any thread. */
#ifndef STORAGE_WAL_FORMAT_H
#define STORAGE_WAL_FORMAT_H

#include "raft/entries.h"
#include "storage/identity.h"

enum {
    WAL_HEADER_BYTES = 512,
    WAL_RECORD_BYTES = 48, /* of a record without its payload */
    WAL_NAME_BYTES = 21,   /* "0123456789abcdef.wal" and NUL */
    WAL_PAYLOAD_BYTES_MAX = 1 << 28,
    WAL_SEGMENT_BYTES_MAX = 1 << 30 /* offsets have 32 bits */
};

#define WAL_TEMPORARY_NAME "next.tmp"
#define WAL_SPARE_SUFFIX ".spare"  /* behind the name that the segment had */
#define WAL_MENDING_NAME "mending" /* there while holes may be filled in memory alone */

struct wal_header {
    uint64_t sequence;
    uint64_t previous;     /* the link of `last` */
    uint64_t previous_end; /* 0: the first segment ever */
    struct raft_id last;   /* the last entry before this segment; {0, 0}: none */
};

/* What one segment of the log holds, as far as letting go of others before it needs to be known. */
struct wal_segment {
    uint64_t sequence;
    struct raft_id before; /* the last entry before it */
    uint64_t lowest;       /* index of an entry in it; UINT64_MAX: no entries */
    bool anew;             /* the log begins anew here */
};

enum wal_kind { WAL_BATCH = 1, WAL_ENTRY = 2, WAL_ANEW = 3, WAL_MEND = 4 };

/* The kind of an entry of which only the id is known. In memory alone, while a log is read. */
enum { WAL_ABSENT = 0xff };

/* The term of an absent entry, where it is not known; no entry has it. */
enum { WAL_TERM_UNKNOWN = 0 };

/* A link that is not known. No entry has it. */
enum { WAL_LINK_UNKNOWN = 0 };

struct wal_record {
    uint64_t link;     /* of the last entry behind it; of one that was read */
    uint64_t previous; /* of the entry before it in the log */
    uint32_t offset;
    uint32_t batch;
    enum wal_kind kind;
    uint8_t entry_kind;
    struct raft_id id;
    struct slice payload;
};

/* "0123456789abcdef.wal" into name[WAL_NAME_BYTES]. */
void wal_name_format(uint64_t sequence, char *name);

/* True if the name is a segment's. */
bool wal_name_parse(const char *name, uint64_t *ret_sequence);

/* The seed of a segment's record checksums. */
uint64_t wal_key(const struct storage_identity *identity, uint64_t sequence);

/* Writes WAL_HEADER_BYTES. */
void wal_header_encode(uint8_t *to, const struct storage_identity *identity,
                       const struct wal_header *header);

/* OK; CORRUPT: not whole; VERSION, IDENTITY: whole, and not for us. */
MUST_USE int wal_header_decode(const uint8_t *from, size_t available,
                               const struct storage_identity *identity, struct wal_header *ret);

/* The link of an entry behind one with the link `before`. */
uint64_t wal_link(uint64_t before, struct raft_id id, uint8_t entry_kind, struct slice payload);

/* The link with which a log begins behind this entry. */
uint64_t wal_link_begin(struct raft_id base);

/* Bytes of a record with this payload, padding included. */
size_t wal_record_bytes(size_t payload_bytes);

/* What is in a record of kind 4. */
struct wal_mend {
    uint64_t stands_for;
    uint64_t index; /* of the next entry */
    struct slice left;
};

/* Bytes that an entry takes in a mend, and those of a mend without its entries. */
size_t wal_mend_entry_bytes(size_t payload_bytes);
enum { WAL_MEND_BYTES = WAL_RECORD_BYTES + 8, WAL_MEND_ENTRIES_AT = 16 };

/* False: it cannot be read. */
bool wal_mend_begin(const struct wal_record *record, struct wal_mend *ret);

/* The next entry, its payload pointing into the segment. 1: here it is, 0: there is none, -1: it
 * cannot be read. */
int wal_mend_next(struct wal_mend *mend, struct wal_record *ret);

/* Writes an entry at `to`, wal_mend_entry_bytes() of room. */
void wal_mend_put(uint8_t *to, const struct raft_entry *entry);

/* Writes wal_record_bytes(record->payload.bytes); returns the link of the last entry behind it
 * (record->link is not looked at). */
uint64_t wal_record_encode(uint8_t *to, uint64_t key, const struct wal_record *record);

/* True if a whole record (1) stands at `offset` of the segment; the payload points into it. */
bool wal_record_decode(const uint8_t *segment, size_t segment_bytes, size_t offset, uint64_t key,
                       struct wal_record *ret);

/* The same of so many bytes that stand at `offset` of a segment. */
bool wal_record_decode_at(const uint8_t *at, size_t available, size_t offset, uint64_t key,
                          struct wal_record *ret);

/* How long the record would be of which the first WAL_RECORD_BYTES stand here, if it is one. */
size_t wal_record_claims(const uint8_t *at);

#endif
