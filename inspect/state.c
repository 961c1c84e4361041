/* The formats are those of machine/session_snapshot.h and machine/kv_snapshot.h. */
#include "inspect/state.h"

#include "base/fatal.h"
#include "machine/kv_state.h"
#include "machine/tables_digest.h"

#include <stdlib.h>
#include <xxhash.h>

enum { BUFFER_BYTES = 64 << 10, HEAD_BYTES = 8, SECTION_HEAD_BYTES = 16, RECORD_HEAD_BYTES = 12 };
enum { SECTION_END = 0, SECTION_SESSIONS = 1 };

static const char *const table_names[] = {
    [TABLE_KEYS] = "keys",           [TABLE_SESSIONS] = "sessions", [TABLE_HISTORY] = "history",
    [TABLE_COORD] = "coord",         [TABLE_LEASES] = "leases",     [TABLE_ATTACHED] = "attached",
    [TABLE_DEADLINES] = "deadlines", [TABLE_TOPICS] = "topics",     [TABLE_MESSAGES] = "messages",
    [TABLE_GROUPS] = "groups",
};
_Static_assert(sizeof table_names / sizeof table_names[0] == TABLES, "all of them");

struct stream {
    struct snapshot_reader *reader;
    struct conclave_error *error;
    uint8_t *bytes; /* of BUFFER_BYTES */
    size_t at, end;
    bool ended;
    uint64_t passed; /* bytes that were taken */
};

static int damaged(const struct stream *stream, const char *what)
{
    return error_set(stream->error, CONCLAVE_CORRUPT,
                     "byte %llu of the state in it: %s, though its checksums are right",
                     (unsigned long long)stream->passed, what);
}

/* Makes sure that there is a byte, unless the state has ended. */
static int fill(struct stream *stream)
{
    if (stream->at < stream->end || stream->ended)
        return CONCLAVE_OK;
    size_t got = 0;
    const int code =
        snapshot_reader_read(stream->reader, stream->bytes, BUFFER_BYTES, &got, stream->error);
    if (code != CONCLAVE_OK)
        return code;
    stream->at = 0;
    stream->end = got;
    stream->ended = got < BUFFER_BYTES;
    return CONCLAVE_OK;
}

/* Some of the next `bytes`, one at least: *ret has room for none. CORRUPT: the state has ended. */
static int take_some(struct stream *stream, uint64_t bytes, struct slice *ret)
{
    const int code = fill(stream);
    if (code != CONCLAVE_OK)
        return code;
    const size_t there = stream->end - stream->at;
    ret->data = stream->bytes + stream->at;
    if (there == 0)
        return damaged(stream, "it ends too early");
    ret->bytes = there < bytes ? there : (size_t)bytes;
    stream->at += ret->bytes;
    stream->passed += ret->bytes;
    return CONCLAVE_OK;
}

static int take(struct stream *stream, uint8_t *to, size_t bytes)
{
    struct slice some = {0};
    for (size_t got = 0; got < bytes; got += some.bytes) {
        const int code = take_some(stream, bytes - got, &some);
        if (code != CONCLAVE_OK)
            return code;
        memcpy(to + got, some.data, some.bytes);
    }
    return CONCLAVE_OK;
}

static int pass(struct stream *stream, uint64_t bytes)
{
    struct slice some = {0};
    for (; bytes > 0; bytes -= some.bytes) {
        const int code = take_some(stream, bytes, &some);
        if (code != CONCLAVE_OK)
            return code;
    }
    return CONCLAVE_OK;
}

static int pass_rest(struct stream *stream)
{
    for (;;) {
        const int code = fill(stream);
        if (code != CONCLAVE_OK || stream->at == stream->end)
            return code;
        stream->passed += stream->end - stream->at;
        stream->at = stream->end;
    }
}

static uint32_t u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return le32toh(value);
}

static uint64_t u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return le64toh(value);
}

/* --- Sessions --------------------------------------------------------------------------------- */

/* The elements that a MessagePack array says to have; 0: it is none. */
static uint32_t array_count(const uint8_t *at)
{
    if ((at[0] & 0xf0) == 0x90)
        return at[0] & 0x0f;
    if (at[0] == 0xdc)
        return (uint32_t)at[1] << 8 | at[2];
    if (at[0] == 0xdd)
        return (uint32_t)at[1] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 8 | at[4];
    return 0;
}

static int read_sessions(struct stream *stream, uint64_t bytes,
                         struct conclave_inspect_snapshot *found)
{
    uint8_t head[5] = {0};
    const size_t first = bytes < sizeof head ? (size_t)bytes : sizeof head;
    int code = take(stream, head, first);
    if (code == CONCLAVE_OK)
        code = pass(stream, bytes - first);
    const uint32_t count = array_count(head);
    if (code == CONCLAVE_OK && (count == 0 || count > bytes))
        code = damaged(stream, "the table of the sessions cannot be read");
    if (code == CONCLAVE_OK)
        found->sessions = count - 1; /* the first one is the table's own */
    return code;
}

static int read_sections(struct stream *stream, struct conclave_inspect_snapshot *found)
{
    uint8_t head[SECTION_HEAD_BYTES];
    int code = take(stream, head, HEAD_BYTES);
    if (code != CONCLAVE_OK)
        return code;
    if (memcmp(head, "CNCLSTA", HEAD_BYTES - 1) != 0)
        return damaged(stream, "it does not begin as a state does");
    for (bool sessions = false;;) {
        if (head[HEAD_BYTES - 1] != 1 && !sessions)
            return error_set(stream->error, CONCLAVE_VERSION,
                             "the state in it is of format %u: use a newer program",
                             head[HEAD_BYTES - 1]);
        code = take(stream, head, sizeof head);
        if (code != CONCLAVE_OK)
            return code;
        const uint32_t kind = u32(head);
        if (kind == SECTION_END)
            return sessions ? CONCLAVE_OK : damaged(stream, "the sessions are missing");
        if (kind != SECTION_SESSIONS)
            return error_set(stream->error, CONCLAVE_VERSION,
                             "the state in it has a section of kind %u: use a newer program", kind);
        if (sessions)
            return damaged(stream, "it has the sessions twice");
        sessions = true;
        code = read_sessions(stream, u64(head + 8), found);
        if (code != CONCLAVE_OK)
            return code;
    }
}

/* --- The key-value machine -------------------------------------------------------------------- */

static int read_note(struct stream *stream, struct conclave_inspect_snapshot *found)
{
    uint8_t head[HEAD_BYTES], note[TABLES_NOTE_BYTES_MAX];
    struct kv_state state = {0};
    int code = take(stream, head, sizeof head);
    const uint32_t bytes = code == CONCLAVE_OK ? u32(head) : 0;
    if (code == CONCLAVE_OK && (bytes == 0 || bytes > sizeof note))
        code = damaged(stream, "what the machine notes has another size");
    if (code == CONCLAVE_OK)
        code = take(stream, note, bytes);
    if (code == CONCLAVE_OK && kv_state_unpack((struct slice){note, bytes}, &state) != CONCLAVE_OK)
        code = damaged(stream, "what the machine notes cannot be read");
    if (code != CONCLAVE_OK)
        return code;
    found->revision = state.revision;
    found->keys = state.keys;
    found->leases = state.leases;
    found->topics = state.topics;
    return CONCLAVE_OK;
}

/* The XXH3-64 of the next bytes. */
static int hash_next(struct stream *stream, XXH3_state_t *hash, uint64_t bytes, uint64_t *ret)
{
    struct slice some = {0};
    (void)XXH3_64bits_reset(hash);
    for (; bytes > 0; bytes -= some.bytes) {
        const int code = take_some(stream, bytes, &some);
        if (code != CONCLAVE_OK)
            return code;
        (void)XXH3_64bits_update(hash, some.data, some.bytes);
    }
    *ret = XXH3_64bits_digest(hash);
    return CONCLAVE_OK;
}

/* *ret_end: it was the end, and the digest stands there. */
static int read_record(struct stream *stream, XXH3_state_t *hash,
                       struct conclave_inspect_snapshot *found, uint64_t *digest, bool *ret_end)
{
    uint8_t head[RECORD_HEAD_BYTES], key[TABLES_KEY_BYTES_MAX];
    int code = take(stream, head, sizeof head);
    if (code != CONCLAVE_OK)
        return code;
    const uint32_t number = u32(head), key_bytes = u32(head + 4), value_bytes = u32(head + 8);
    *ret_end = number == 0;
    if (*ret_end) {
        const uint64_t told = u64(head + 4);
        return told == 0 || told == *digest
                   ? CONCLAVE_OK
                   : damaged(stream, "the digest of the records does not fit");
    }
    if (number > TABLES || number - 1 == TABLE_SESSIONS || key_bytes == 0 || key_bytes > sizeof key)
        return damaged(stream, "a record was to begin here");
    uint64_t value_hash = 0;
    code = take(stream, key, key_bytes);
    if (code == CONCLAVE_OK)
        code = hash_next(stream, hash, value_bytes, &value_hash);
    if (code != CONCLAVE_OK)
        return code;
    if (tables_are_summed(number - 1))
        *digest += digest_mix(digest_place(number - 1, (struct slice){key, key_bytes}), value_hash);
    size_t at = 0;
    while (found->tables[at].name != NULL && found->tables[at].name != table_names[number - 1])
        at++;
    ASSERT(at < CONCLAVE_INSPECT_TABLES_MAX); /* sessions are none of them */
    found->tables[at].name = table_names[number - 1];
    found->tables[at].records++;
    found->tables[at].bytes += (uint64_t)key_bytes + value_bytes;
    return CONCLAVE_OK;
}

static int read_key_value(struct stream *stream, struct conclave_inspect_snapshot *found)
{
    uint64_t digest = 0;
    XXH3_state_t *hash = XXH3_createState();
    ASSERT(hash != NULL);
    int code = read_note(stream, found);
    for (bool ended = false; code == CONCLAVE_OK && !ended;)
        code = read_record(stream, hash, found, &digest, &ended);
    (void)XXH3_freeState(hash);
    return code;
}

/* What stands behind the sessions is the machine's own. */
static int read_machine(struct stream *stream, struct conclave_inspect_snapshot *found)
{
    uint8_t head[HEAD_BYTES] = {0};
    int code = CONCLAVE_OK;
    for (size_t at = 0; at < sizeof head && code == CONCLAVE_OK; at++) {
        code = fill(stream);
        if (code != CONCLAVE_OK || stream->at == stream->end)
            return code; /* another machine's, and a small one */
        code = take(stream, head + at, 1);
    }
    if (code != CONCLAVE_OK || memcmp(head, "CNCLKVS", HEAD_BYTES - 1) != 0)
        return code;
    found->key_value = true;
    if (head[HEAD_BYTES - 1] != 3)
        return error_set(stream->error, CONCLAVE_VERSION,
                         "the keys in it are of format %u: use another program",
                         head[HEAD_BYTES - 1]);
    code = read_key_value(stream, found);
    if (code == CONCLAVE_OK)
        code = fill(stream);
    if (code == CONCLAVE_OK && stream->at < stream->end)
        code = damaged(stream, "there is more behind its end");
    return code;
}

int state_read(struct snapshot_reader *reader, struct conclave_inspect_snapshot *found,
               struct conclave_error *error)
{
    struct stream stream = {.reader = reader, .error = error, .bytes = mem_alloc(BUFFER_BYTES)};
    int code = read_sections(&stream, found);
    if (code == CONCLAVE_OK)
        code = read_machine(&stream, found);
    if (code == CONCLAVE_OK)
        code = pass_rest(&stream);
    found->state_bytes = stream.passed;
    free(stream.bytes);
    return code;
}
