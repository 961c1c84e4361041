#include "raft/raft.h"

/* An append of 512 KiB fits a 2 MiB peer message together with the framing of 4096 entries, and a
 * single command of 1 MiB, which goes alone, does too. */
enum { APPEND_ENTRIES_MAX = 4096, APPEND_BYTES_MAX = 512 << 10 };

/* 256 appends cover 100 ms of round trip at 2,500 appends a second; 16 MiB cover it at 160 MB/s. */
enum { INFLIGHT_MESSAGES_MAX = 256, INFLIGHT_BYTES_MAX = 16 << 20 };

/* Proposals that wait for their majority: what 64 MiB a second of disk clears in one second. */
enum { UNCOMMITTED_BYTES_MAX = 64 << 20 };

/* Committed work at the state machine: enough to keep it busy, little enough to bound a restart. */
enum { APPLY_BYTES_MAX = 4 << 20 };

/* Read batches that wait for their round; a host has one for each wake-up, not one a client. */
enum { READS_MAX = 65536 };

/* What a follower may miss without needing a snapshot: some seconds of a busy cluster. */
enum { TRAILING_ENTRIES = 10000, TRAILING_BYTES = 16 << 20 };

/* What a leader keeps of its log for a peer that is being given a snapshot: at 50 MB/s of writes
 * this covers five seconds, and at 5 MB/s the transfer of some gigabytes. */
enum { PINNED_BYTES_MAX = 256 << 20 };

/* See raft/lease.c. Quartz is off by less than 0.01 %, a clock that is being corrected by 0.05 %; a
 * virtual machine that is starved is not known to reach 20 %. */
enum { CLOCK_DRIFT_PERCENT = 20 };

void raft_options_init(struct raft_options *options)
{
    *options = (struct raft_options){
        .election_timeout_us = 500000,
        .heartbeat_us = 100000,
        .priority = RAFT_PRIORITY_MAX,
        .append_entries_max = APPEND_ENTRIES_MAX,
        .append_bytes_max = APPEND_BYTES_MAX,
        .inflight_messages_max = INFLIGHT_MESSAGES_MAX,
        .inflight_bytes_max = INFLIGHT_BYTES_MAX,
        .uncommitted_bytes_max = UNCOMMITTED_BYTES_MAX,
        .apply_bytes_max = APPLY_BYTES_MAX,
        .reads_max = READS_MAX,
        .clock_drift_percent = CLOCK_DRIFT_PERCENT,
        .trailing_entries = TRAILING_ENTRIES,
        .trailing_bytes = TRAILING_BYTES,
        .pinned_bytes_max = PINNED_BYTES_MAX,
        .memory_bytes = UINT64_MAX,
    };
}
