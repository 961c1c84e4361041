#include "machine/session_snapshot.h"

#include "base/fatal.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t MAGIC[8] = "CNCLSTA\1";

enum { SECTION_END = 0, SECTION_SESSIONS = 1 };

enum {
    SECTION_BYTES_MAX = 1 << 30, /* more than the limits of session_table.h make possible */
    PIECE_BYTES = 1 << 20        /* memory is taken as bytes come, not as a header promises them */
};

struct section {
    uint32_t kind, zero;
    uint64_t bytes;
};
_Static_assert(sizeof(struct section) == 16, "no padding");

struct session_snapshot {
    const struct conclave_machine_ops *ops;
    void *machine;
    void *state; /* the machine's */
    struct buf *table;
};

int session_snapshot_begin(const struct conclave_machine_ops *ops, void *machine,
                           const struct session_table *table,
                           struct session_snapshot **ret_snapshot)
{
    void *state = NULL;
    int code = ops->snapshot_begin(machine, &state);
    if (code)
        return code;
    struct session_snapshot *snapshot = mem_zalloc(sizeof *snapshot);
    *snapshot = (struct session_snapshot){
        .ops = ops, .machine = machine, .state = state, .table = session_table_encode(table)};
    *ret_snapshot = snapshot;
    return CONCLAVE_OK;
}

static int add_section(struct conclave_snapshot_sink *sink, uint32_t kind,
                       const struct buf *payload)
{
    struct section section = {.kind = htole32(kind),
                              .bytes = htole64(payload ? payload->bytes : 0)};
    int code = conclave_snapshot_add(sink, &section, sizeof section);
    if (!code && payload)
        code = conclave_snapshot_add(sink, payload->data, payload->bytes);
    return code;
}

int session_snapshot_write(struct session_snapshot *snapshot, snapshot_add add, void *arg)
{
    struct conclave_snapshot_sink sink = {.add = add, .arg = arg};
    int code = conclave_snapshot_add(&sink, MAGIC, sizeof MAGIC);
    if (!code) /* Rule 43: sessions are in the snapshot */
        code = add_section(&sink, SECTION_SESSIONS, snapshot->table);
    if (!code)
        code = add_section(&sink, SECTION_END, NULL);
    if (!code)
        code = snapshot->ops->snapshot_write(snapshot->machine, snapshot->state, &sink);
    return sink.failed ? sink.failed : code; /* even if the machine did not look */
}

void session_snapshot_end(struct session_snapshot *snapshot)
{
    snapshot->ops->snapshot_end(snapshot->machine, snapshot->state);
    buf_unref(snapshot->table);
    free(snapshot);
}

/* --- Reading -----------------------------------------------------------------------------------
 */

static int read_exactly(struct conclave_snapshot_source *source, void *data, size_t bytes)
{
    size_t got = 0;
    int code = conclave_snapshot_read(source, data, bytes, &got);
    return code ? code : got < bytes ? CONCLAVE_CORRUPT : CONCLAVE_OK;
}

static int read_section(struct conclave_snapshot_source *source, struct section *ret)
{
    int code = read_exactly(source, ret, sizeof *ret);
    if (code)
        return code;
    *ret = (struct section){le32toh(ret->kind), le32toh(ret->zero), le64toh(ret->bytes)};
    if (ret->kind != SECTION_END && ret->kind != SECTION_SESSIONS)
        return CONCLAVE_VERSION;
    bool possible = ret->kind == SECTION_END ? ret->bytes == 0 : ret->bytes <= SECTION_BYTES_MAX;
    return possible && ret->zero == 0 ? CONCLAVE_OK : CONCLAVE_CORRUPT;
}

static int read_sessions(struct conclave_snapshot_source *source, size_t bytes,
                         struct session_table *table)
{
    uint8_t *data = NULL;
    int code = CONCLAVE_OK;
    for (size_t used = 0; used < bytes && !code;) {
        size_t piece = bytes - used < PIECE_BYTES ? bytes - used : PIECE_BYTES;
        data = mem_realloc(data, used + piece);
        code = read_exactly(source, data + used, piece);
        used += piece;
    }
    if (!code && session_table_decode(table, data, bytes))
        code = CONCLAVE_CORRUPT;
    free(data);
    return code;
}

int session_snapshot_read_table(struct conclave_snapshot_source *source,
                                struct session_table *table)
{
    uint8_t magic[sizeof MAGIC];
    int code = read_exactly(source, magic, sizeof magic);
    if (!code && memcmp(magic, MAGIC, sizeof MAGIC - 1) != 0)
        return CONCLAVE_CORRUPT;
    if (!code && magic[sizeof MAGIC - 1] != MAGIC[sizeof MAGIC - 1])
        return CONCLAVE_VERSION;
    for (bool sessions = false; !code;) {
        struct section section;
        code = read_section(source, &section);
        if (!code && section.kind == SECTION_END)
            return sessions ? CONCLAVE_OK : CONCLAVE_CORRUPT;
        if (!code && sessions)
            return CONCLAVE_CORRUPT;
        sessions = true;
        if (!code)
            code = read_sessions(source, (size_t)section.bytes, table);
    }
    return code;
}
