#include "codec/session_clock.h"

#include "base/fatal.h"
#include "codec/session.h"

bool session_clock_entry(uint64_t *clock_us, uint64_t now_us, uint64_t step_us,
                         struct raft_entry *ret)
{
    ASSERT(step_us >= 1000); /* or time would be written that does not pass, for ever */
    if (now_us - *clock_us < step_us)
        return false;
    struct session_request clock = {.opcode = SESSION_CLOCK,
                                    .elapsed_ms = (now_us - *clock_us) / 1000};
    *clock_us += clock.elapsed_ms * 1000;
    struct pack pack;
    pack_init(&pack, 0);
    session_request_pack(&pack, &clock);
    struct buf *buf = pack_take(&pack);
    *ret = (struct raft_entry){
        .buf = buf, .payload = {buf->data, buf->bytes}, .kind = RAFT_ENTRY_SESSION};
    return true;
}
