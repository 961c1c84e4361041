/* storage/wal_repair_internal.h - a repair at work, shared by wal_repair.c (what is wanted, and
 * writing), wal_repair_take.c (what peers give), wal_repair_links.c (which links of the log are
 * known), wal_repair_way.c (what leads from one to another), wal_repair_prove.c (asking for that)
 * and wal_repair_tell.c (all of the log). Owned by one thread. */
#ifndef STORAGE_WAL_REPAIR_INTERNAL_H
#define STORAGE_WAL_REPAIR_INTERNAL_H

#include "storage/wal_repair.h"
#include "storage/wal_survey.h"

/* A stretch of the log, asked for from any log: its links tell what is right. */
struct wal_proof {
    size_t hole;       /* what is asked for is missing there; WAL_NO_PROOF: there is none */
    unsigned step;     /* how far it goes back, in steps */
    uint64_t from, to; /* the entries behind `from` up to `to`, whose links are known */
    uint32_t giver;    /* which of the others is asked, from 1 on */
    uint64_t next;     /* behind here */
    struct {           /* what came, with others of the same index */
        struct raft_runs *items;
        size_t count, capacity;
    } parts;
};

enum { WAL_PROOF_ENTRIES_MAX = 1 << 18 }; /* in a stretch */

#define WAL_NO_PROOF SIZE_MAX

struct wal_repair {
    const struct io *io;
    char *dir; /* DIR/wal */
    struct storage_identity identity;
    struct wal_survey survey;
    struct raft_runs *filled; /* by hole: the entries that go into it */

    size_t at;          /* the hole being filled */
    uint64_t floor;     /* its entries are asked for from behind here */
    uint64_t step_back; /* how much farther, if the peer has something else there */
    uint64_t skip;      /* the anchor stands so much farther behind the hole than it could */
    struct raft_runs got;
    struct raft_id covered; /* a snapshot here has all up to this entry */
    struct raft_id told;    /* who holds an anchor has this there, so the log has it in the end */
    struct raft_id denied;  /* a snapshot here ends with this, and the log has another one there */

    uint32_t peers; /* so many others can be asked */
    struct wal_proof proof;
    struct { /* what others gave by an anchor, or proved by links, whatever holes it went into */
        struct raft_runs *items;
        size_t count, capacity;
    } came;
    bool tried; /* all that can be asked for was, since something came last */
    bool anew;  /* the log was written anew, as a whole */

    /* For those who ask this log: what was found, and what was proved since. */
    uint64_t doubtful;
    struct {
        struct wal_sure *items;
        size_t count, capacity;
    } sure;
};

/* --- wal_repair.c ----------------------------------------------------------------------------- */

/* What this log has at an index: what a peer gave for a hole, else what was found. */
const struct raft_entry *wal_repair_entry(const struct wal_repair *repair, uint64_t index);
struct raft_id wal_repair_id(const struct wal_repair *repair, uint64_t index);

/* The id of an entry that is lost is known all the same: a record behind it names it, or all that
 * was lost with it is of one term. */
bool wal_repair_sure_id(const struct wal_repair *repair, uint64_t index, struct raft_id *ret);

/* Something of the hole has to come back. */
bool wal_repair_wants(const struct wal_repair *repair, const struct wal_hole *hole);

/* Of what the hole lost a snapshot here holds all, and of its last entry, with which the snapshot
 * ends, nothing here tells the term: nothing is wanted but the word of somebody that it is that
 * entry. */
bool wal_repair_wants_id(const struct wal_repair *repair, const struct wal_hole *hole);

/* Goes to the next hole that wants something. */
void wal_repair_advance(struct wal_repair *repair);

/* Looks anew for what others can be told. */
void wal_repair_find_sure(struct wal_repair *repair);

/* What stands behind this index was written behind the hole at hand, and behind all those in which
 * something before may have been replaced: so it is in the log that the entries are put back into.
 */
uint64_t wal_repair_doubtful(const struct wal_repair *repair);

/* As wal_repair_write, but all of the log anew in a segment of its own, as that does where nothing
 * else is left. NOT_FOUND: its links do not tell all of it, and nothing was changed. */
MUST_USE int wal_repair_write_anew(struct wal_repair *repair, struct conclave_error *error);

/* --- wal_repair_take.c ------------------------------------------------------------------------ */

/* Puts those of the entries behind `floor` that the hole holds into it; they are no others then. */
void wal_repair_fill(struct wal_repair *repair, size_t number, uint64_t floor,
                     struct raft_runs *entries);

/* How many of the entries are not behind `last`. */
uint64_t wal_repair_count(const struct raft_runs *entries, uint64_t last);

/* --- wal_repair_links.c ----------------------------------------------------------------------- */

/* The link of the entry at an index in the log in the end; WAL_LINK_UNKNOWN. */
uint64_t wal_repair_link(const struct wal_repair *repair, uint64_t index);

/* That, or of what is shown there, or was filled in, if it is not known. */
uint64_t wal_repair_found(const struct wal_repair *repair, uint64_t index);

/* The link of the entry behind one with this link. */
uint64_t wal_repair_link_behind(uint64_t link, const struct raft_entry *entry);

/* True if the entries are not what the log's links say of the stretch from behind `from` to `to`.
 */
bool wal_repair_disproved(const struct wal_repair *repair, uint64_t from, uint64_t to,
                          const struct raft_runs *entries);

/* True if the link of the last of these is known, and is another one. */
bool wal_repair_leads_elsewhere(const struct wal_repair *repair, const struct raft_runs *entries,
                                uint64_t link);

/* Notes the links of the entries that were filled into the hole. */
void wal_repair_learn(struct wal_repair *repair, size_t number);

/* Goes back from links that are known by the entries that have them: what is shown before one is
 * the log's if it leads there. */
void wal_repair_trace_links(struct wal_repair *repair);

/* --- wal_repair_way.c ------------------------------------------------------------------------- */

/* True if what came, or is here, leads from the link at proof->from to that at proof->to; appended
 * to *ret: by these entries. */
bool wal_repair_find_way(const struct wal_repair *repair, const struct wal_proof *proof,
                         struct raft_runs *ret);

/* Entries of their own, in one batch. */
void wal_repair_append_copies(const struct raft_entry *const *entries, size_t count,
                              struct raft_runs *ret);

/* --- wal_repair_prove.c ----------------------------------------------------------------------- */

/* Begins with the first stretch of the holes from `number` on; behind the last one nothing is
 * asked for by links any more, and all was tried. */
void wal_repair_prove(struct wal_repair *repair, size_t number);

/* The one that is asked has no more of the stretch: the next of the others, or the next stretch. */
void wal_repair_prove_on(struct wal_repair *repair);

/* What the one that is asked has of the stretch. */
void wal_repair_prove_take(struct wal_repair *repair, const struct raft_runs *entries);

/* The entries are the log's in the end, also those that go into no hole. */
void wal_repair_keep(struct wal_repair *repair, const struct raft_runs *entries);

void wal_repair_prove_end(struct wal_repair *repair);

/* Room for a part of what came, empty. Valid until the next one. */
struct raft_runs *wal_repair_add_part(struct wal_proof *proof);

/* Lets go of what came. */
void wal_repair_forget(struct wal_proof *proof);

/* --- wal_repair_tell.c ------------------------------------------------------------------------ */

/* All entries of the log in the end, in whatever holes they came: from where it began, or where a
 * snapshot here reaches. True if its links say that they are right. */
bool wal_repair_tell(const struct wal_repair *repair, struct raft_id *ret_base,
                     struct raft_runs *ret);

#endif
