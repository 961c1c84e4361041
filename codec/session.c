#include "codec/session.h"

#include "base/fatal.h"

#define SESSION_NUMBER_LIMIT (UINT64_C(1) << 53)

static uint64_t read_number(struct cursor *cursor, uint64_t min)
{
    uint64_t number = cursor_uint(cursor);
    if (number < min || number >= SESSION_NUMBER_LIMIT)
        cursor_fail(cursor);
    return number;
}

/* The fields behind the opcode. Returns how many. */
static uint32_t read_fields(struct cursor *cursor, uint64_t opcode, struct session_request *request)
{
    switch (opcode) {
    case SESSION_OPEN:
        return 0;
    case SESSION_COMMAND:
        request->session = read_number(cursor, 1);
        request->sequence = read_number(cursor, 1);
        request->acknowledged = read_number(cursor, 0);
        request->command = cursor_bin(cursor);
        if (request->acknowledged >= request->sequence)
            cursor_fail(cursor);
        return 4;
    case SESSION_KEEP_ALIVE:
        request->session = read_number(cursor, 1);
        request->acknowledged = read_number(cursor, 0);
        return 2;
    case SESSION_CLOSE:
        request->session = read_number(cursor, 1);
        return 1;
    case SESSION_CLOCK:
        request->elapsed_ms = read_number(cursor, 0);
        return 1;
    default:
        cursor_fail(cursor);
        return 0;
    }
}

int session_request_decode(const void *data, size_t bytes, struct session_request *ret)
{
    struct session_request request = {0};
    struct cursor cursor;
    cursor_init(&cursor, data, bytes);
    uint32_t count = cursor_array(&cursor);
    uint64_t opcode = cursor_uint(&cursor);
    uint32_t fields = 1 + read_fields(&cursor, opcode, &request);
    for (; fields < count && cursor_ok(&cursor); fields++)
        cursor_skip(&cursor);
    if (!cursor_done(&cursor) || fields != count)
        return CONCLAVE_MALFORMED;
    if (request.command.bytes > CONCLAVE_COMMAND_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    request.opcode = (enum session_opcode)opcode;
    *ret = request;
    return CONCLAVE_OK;
}

void session_request_pack(struct pack *pack, const struct session_request *request)
{
    switch (request->opcode) {
    case SESSION_OPEN:
        pack_array(pack, 1);
        pack_uint(pack, SESSION_OPEN);
        return;
    case SESSION_COMMAND:
        pack_array(pack, 5);
        pack_uint(pack, SESSION_COMMAND);
        pack_uint(pack, request->session);
        pack_uint(pack, request->sequence);
        pack_uint(pack, request->acknowledged);
        pack_bin(pack, request->command.data, request->command.bytes);
        return;
    case SESSION_KEEP_ALIVE:
        pack_array(pack, 3);
        pack_uint(pack, SESSION_KEEP_ALIVE);
        pack_uint(pack, request->session);
        pack_uint(pack, request->acknowledged);
        return;
    case SESSION_CLOSE:
        pack_array(pack, 2);
        pack_uint(pack, SESSION_CLOSE);
        pack_uint(pack, request->session);
        return;
    case SESSION_CLOCK:
        pack_array(pack, 2);
        pack_uint(pack, SESSION_CLOCK);
        pack_uint(pack, request->elapsed_ms);
        return;
    }
    ASSERT(!"an opcode of a session");
}

/* --- As a bin --------------------------------------------------------------------------------- */

static size_t uint_bytes(uint64_t value)
{
    return value < 0x80          ? 1
           : value <= UINT8_MAX  ? 2
           : value <= UINT16_MAX ? 3
           : value <= UINT32_MAX ? 5
                                 : 9;
}

static size_t bin_header_bytes(size_t bytes)
{
    return bytes <= UINT8_MAX ? 2 : bytes <= UINT16_MAX ? 3 : 5;
}

static size_t request_bytes(const struct session_request *request)
{
    switch (request->opcode) {
    case SESSION_COMMAND:
        return 2 + uint_bytes(request->session) + uint_bytes(request->sequence) +
               uint_bytes(request->acknowledged) + bin_header_bytes(request->command.bytes) +
               request->command.bytes;
    case SESSION_KEEP_ALIVE:
        return 2 + uint_bytes(request->session) + uint_bytes(request->acknowledged);
    case SESSION_CLOSE:
        return 2 + uint_bytes(request->session);
    case SESSION_CLOCK:
        return 2 + uint_bytes(request->elapsed_ms);
    case SESSION_OPEN:
        break;
    }
    return 2;
}

void session_request_pack_bin(struct pack *pack, const struct session_request *request)
{
    size_t bytes = request_bytes(request);
    uint8_t header[5] = {0xc6, (uint8_t)(bytes >> 24), (uint8_t)(bytes >> 16),
                         (uint8_t)(bytes >> 8), (uint8_t)bytes};
    if (bytes <= UINT8_MAX) {
        header[3] = 0xc4;
        pack_raw(pack, header + 3, 2);
    } else if (bytes <= UINT16_MAX) {
        header[2] = 0xc5;
        pack_raw(pack, header + 2, 3);
    } else {
        pack_raw(pack, header, 5);
    }
    size_t begin = pack->bytes;
    session_request_pack(pack, request);
    ASSERT(pack->bytes - begin == bytes);
}

/* --- Answers ---------------------------------------------------------------------------------- */

void session_opened_pack(struct pack *pack, const struct session_opened *opened)
{
    pack_array(pack, 3);
    pack_uint(pack, opened->session);
    pack_uint(pack, opened->lifetime_ms);
    pack_uint(pack, opened->window);
}

int session_opened_decode(const void *data, size_t bytes, struct session_opened *ret)
{
    struct cursor cursor;
    cursor_init(&cursor, data, bytes);
    uint32_t fields = cursor_array(&cursor);
    struct session_opened opened;
    opened.session = read_number(&cursor, 1);
    opened.lifetime_ms = read_number(&cursor, 1);
    opened.window = read_number(&cursor, 1);
    if (fields < 3)
        cursor_fail(&cursor);
    for (; fields > 3 && cursor_ok(&cursor); fields--)
        cursor_skip(&cursor);
    if (!cursor_done(&cursor))
        return CONCLAVE_MALFORMED;
    *ret = opened;
    return CONCLAVE_OK;
}
