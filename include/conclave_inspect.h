/* conclave_inspect.h - looking at a node's data directory from outside, without changing it.
 *
 * Everything is opened to be read only, nothing is created or locked, and a directory that may not
 * be written to will do. The node may run meanwhile: then what is told was true at some moment
 * while it was read. A log or a snapshot of any size takes a few segments of memory.
 *
 * Nothing here stops at damage: it is told, and reading goes on behind it. Errors say that nothing
 * can be read at all. Strings and bytes that a callback is given are there until it returns. A
 * handle belongs to one thread at a time. */
#ifndef CONCLAVE_INSPECT_H
#define CONCLAVE_INSPECT_H

#include "conclave_base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct conclave_inspection;

/* Errors: NOT_FOUND (not a node's directory), CORRUPT (its identity is damaged: nothing else can
 * then be judged), VERSION, DENIED, IO. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_inspect_open(const char *data_dir,
                                                         struct conclave_inspection **ret,
                                                         struct conclave_error *error);
CONCLAVE_API void conclave_inspect_close(struct conclave_inspection *inspection);

/* --- What it is ------------------------------------------------------------------------------- */

struct conclave_inspect_identity {
    char cluster[17]; /* 16 hexadecimal digits */
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    uint64_t id;
    uint64_t incarnation;    /* of this directory, random */
    uint32_t format_version; /* of what is on disk */
    long pid;                /* of the process that uses it now; 0: none that can be seen */
};
CONCLAVE_API void conclave_inspect_identity(const struct conclave_inspection *inspection,
                                            struct conclave_inspect_identity *ret);

struct conclave_inspect_vote {
    uint64_t term;
    uint64_t voted_for;     /* id of a node; 0: none */
    uint64_t writes;        /* sequence number of the record */
    unsigned damaged_slots; /* of two; the other one counts, and the next start mends it */
    uint64_t damaged_at;    /* offset of that in the file */
};

/* Errors: CORRUPT (both slots are damaged, or it is missing), VERSION, IDENTITY, IO. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_inspect_vote(const struct conclave_inspection *inspection,
                      struct conclave_inspect_vote *ret, struct conclave_error *error);

/* The file that says who the members were when the node joined them. Errors: NOT_FOUND (it was
 * there from the start), CORRUPT, VERSION, IDENTITY, IO. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_inspect_joined(const struct conclave_inspection *inspection, struct conclave_error *error);

struct conclave_inspect_member {
    uint64_t id;
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    char peer[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    char client[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    bool voter, leaving; /* leaving: it votes until the change under way is done */
};

struct conclave_inspect_members {
    const char *source; /* "log", "snapshot", "joined" */
    uint64_t index;     /* of the entry that says so; not of "joined" */
    bool joint;         /* a change is under way */
    size_t removed;     /* ids that may never be members again */
    size_t count;
    struct conclave_inspect_member members[CONCLAVE_MEMBERS_MAX];
};

/* The newest configuration that is known here, committed or not. Errors: NOT_FOUND (none can be
 * read), and those of the log. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_inspect_members(const struct conclave_inspection *inspection,
                         struct conclave_inspect_members *ret, struct conclave_error *error);

/* --- The log ---------------------------------------------------------------------------------- */

enum conclave_inspect_kind {
    CONCLAVE_INSPECT_SEGMENT = 1,  /* a segment begins; index, term: the last entry before it */
    CONCLAVE_INSPECT_SKIPPED = 2,  /* a segment before the one in which the log begins anew */
    CONCLAVE_INSPECT_ENTRY = 3,    /* an entry */
    CONCLAVE_INSPECT_ANEW = 4,     /* the log begins anew behind index and term, of a snapshot */
    CONCLAVE_INSPECT_MEND = 5,     /* a repair put this in the place of several records */
    CONCLAVE_INSPECT_DAMAGE = 6,   /* what had been durable is not valid */
    CONCLAVE_INSPECT_TORN = 7,     /* of a batch that was being written; a start cuts it */
    CONCLAVE_INSPECT_PREPARED = 8, /* a segment that holds nothing yet */
    CONCLAVE_INSPECT_GONE = 9      /* a segment that was removed while the log was read */
};

struct conclave_inspect_item {
    enum conclave_inspect_kind kind;
    uint64_t segment;     /* its number; the file is wal/NUMBER.wal, 16 hexadecimal digits */
    uint64_t file_bytes;  /* of the segment */
    uint64_t offset, end; /* the place in it */
    uint64_t index, term; /* ENTRY: of it; DAMAGE: of the last entry before */
    const char *entry;    /* ENTRY: "no-op", "command", "configuration", "session" */
    const void *payload;  /* ENTRY */
    size_t payload_bytes;
    bool replaced;    /* ENTRY: by what stands behind it, so it is not of the log any more */
    const char *text; /* ENTRY: what it does, in printable words; DAMAGE: what is wrong; else "" */
};

struct conclave_inspect_options {
    size_t size;          /* sizeof(struct conclave_inspect_options) */
    uint64_t from, to;    /* entries with these indexes alone are handed out; 0, 0: all */
    size_t value_bytes;   /* so much of a key or value is in the text; 0: 48 */
    bool without_entries; /* none is handed out */
};

/* What was found in the log, as far as it was handed out. */
struct conclave_inspect_log {
    uint64_t segments;               /* that hold something */
    uint64_t prepared;               /* that hold nothing yet */
    uint64_t file_bytes;             /* of all of them */
    uint64_t first, last, last_term; /* of the entries that are there without a gap up to the end */
    uint64_t behind;                 /* the log begins behind this index */
    uint64_t entries, replaced, payload_bytes;
    uint64_t damaged; /* places */
    uint64_t torn_bytes;
    bool mending; /* a repair did not end: the next start goes on with it */
};

/* Hands out the log in the order of the files, until `visit` returns false. Errors: CORRUPT (there
 * are no segments), DENIED, IO. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_inspect_log(const struct conclave_inspection *inspection,
                     const struct conclave_inspect_options *options,
                     bool (*visit)(void *arg, const struct conclave_inspect_item *item), void *arg,
                     struct conclave_inspect_log *ret, struct conclave_error *error);

/* How two logs of one cluster differ. */
struct conclave_inspect_difference {
    struct conclave_inspect_side {
        uint64_t first, last, damaged; /* as of struct conclave_inspect_log */
        uint64_t term;                 /* of the first entry that differs, and below */
        size_t payload_bytes;
        const char *entry;
        char text[512];
    } left, right;
    uint64_t same_from, same_to; /* they hold the same entries; 0, 0: none is in both */
    uint64_t compared;           /* so many entries of those; fewer where damage left gaps */
    uint64_t index;              /* of the first entry that differs; 0: none does */
};

/* Errors: IDENTITY (of two clusters), and those of conclave_inspect_log. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_inspect_compare(const struct conclave_inspection *left,
                                                            const struct conclave_inspection *right,
                                                            struct conclave_inspect_difference *ret,
                                                            struct conclave_error *error);

/* --- Snapshots -------------------------------------------------------------------------------- */

enum conclave_inspect_snapshot_state {
    CONCLAVE_INSPECT_WHOLE = 1,   /* every checksum in it is right */
    CONCLAVE_INSPECT_BAD = 2,     /* it is damaged, or of a newer format: `text` says it */
    CONCLAVE_INSPECT_ASIDE = 3,   /* found damaged by the node and set aside; not read here */
    CONCLAVE_INSPECT_PARTIAL = 4, /* being written, or received; counts for nothing */
    CONCLAVE_INSPECT_UNREAD = 5   /* only its name and size were looked at */
};

enum { CONCLAVE_INSPECT_TABLES_MAX = 9 };

struct conclave_inspect_snapshot {
    const char *file; /* its name in snapshots/ */
    uint64_t file_bytes;
    enum conclave_inspect_snapshot_state state;
    const char *text;     /* BAD: what is wrong; else "" */
    uint64_t index, term; /* of the last entry in it; not of PARTIAL */

    /* WHOLE: */
    uint64_t configuration_index;
    size_t members;
    uint64_t state_bytes; /* of what it holds */
    uint64_t sessions;    /* of clients */
    bool key_value;       /* it is of the built-in machine: */
    uint64_t revision, keys, leases, topics;
    struct {
        const char *name; /* as in docs/disk-format.md; NULL: no more */
        uint64_t records, bytes;
    } tables[CONCLAVE_INSPECT_TABLES_MAX];
};

/* Hands out what is in snapshots/, newest first, each read as a whole if `read` says so. Errors:
 * DENIED, IO. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_inspect_snapshots(const struct conclave_inspection *inspection, bool read,
                           void (*visit)(void *arg, const struct conclave_inspect_snapshot *found),
                           void *arg, struct conclave_error *error);

#ifdef __cplusplus
}
#endif
#endif
