/* tests/sim/report.h - what happened in a run: the last events for a reader, one hash over all of
 * them for exact replay, counts of faults and coverage marks. One thread.
 *
 * Events are kept as numbers and put into words only when somebody reads them. */
#ifndef TESTS_SIM_REPORT_H
#define TESTS_SIM_REPORT_H

#include "raft/raft.h"
#include "tests/sim/decisions.h"

#include <stdio.h>

/* X(NAME, text): situations that a good set of seeds must have been in. */
#define SIM_MARKS(X)                                                                    \
    X(LEADER, "leaders elected")                                                        \
    X(PREVOTE_REJECTED, "prevotes rejected")                                            \
    X(VOTE_REJECTED, "votes rejected")                                                  \
    X(SPLIT_VOTE, "elections without a winner")                                         \
    X(QUORUM_LOST, "leaders that stepped down for want of a quorum")                    \
    X(TWO_LEADERS, "two leaders (of different terms) at one time")                      \
    X(LEADER_CRASHED, "leaders crashed")                                                \
    X(TRUNCATED, "logs truncated")                                                      \
    X(APPEND_REJECTED, "appends rejected")                                              \
    X(APPEND_STALE, "appends of a deposed leader answered")                             \
    X(OLD_TERM_AT_LEADER, "leaders elected with uncommitted entries of older terms")    \
    X(COMMIT_OLD_TERM, "entries of older terms committed with one of the leader's own") \
    X(WRITE_OK, "writes applied")                                                       \
    X(WRITE_REFUSED, "writes refused")                                                  \
    X(WRITE_BUSY, "writes refused as busy")                                             \
    X(WRITE_UNKNOWN, "writes whose entry was replaced")                                 \
    X(WRITE_LOST, "operations lost in a crash")                                         \
    X(LOST_COMMITTED, "writes committed though never answered")                         \
    X(READ_OK, "reads answered")                                                        \
    X(READ_REFUSED, "reads refused")                                                    \
    X(READ_AHEAD, "reads executed before they were confirmed")                          \
    X(READ_AHEAD_VOID, "reads begun that were refused in the end")                      \
    X(READ_WAITED, "reads that waited for the state machine")                           \
    X(PERSIST_LOST, "crashes that lost unsynced writes")                                \
    X(PERSIST_PARTIAL, "crashes that kept a part of a write")                           \
    X(HARD_STATE_AHEAD, "crashes that kept a term without the entries before it")       \
    X(RESTART_UNAPPLIED, "restarts with entries not applied")                           \
    X(MACHINE_RESET, "state machines emptied by a crash")                               \
    X(DISK_UNHURRIED, "durable batches told with the next event")                       \
    X(BATCHED_SYNC, "several writes made durable by one sync")                          \
    X(APPLY_BATCHED, "several apply batches made one")                                  \
    X(DEAD_LETTER, "messages for a node that was down")                                 \
    X(REAL_WIRE, "messages decoded from frames")                                        \
    X(REAL_SYNC, "batches written to real logs")                                        \
    X(REAL_START, "starts from real logs")                                              \
    X(REAL_KILLED, "processes killed over real logs")                                   \
    X(REAL_CUT, "torn tails cut off real logs")                                         \
    X(DISK_STOPPED, "nodes stopped by a failed write or sync")                          \
    X(REAL_APPLY, "batches applied by real machines")                                   \
    X(REAL_STORE_KEPT, "real machines that started with what they had")                 \
    X(REAL_STORE_RESET, "real machines begun anew after a loss of power")               \
    X(VOTE_DAMAGED, "starts with one slot of the vote damaged")                         \
    X(START_FAILED, "starts that failed and were tried again")                          \
    X(DISK_WAITS, "log batches that wait for room")                                     \
    X(UNREADABLE, "logs of which blocks cannot be read")                                \
    X(MISDIRECTED, "logs of which a block is what belongs to another, or zero")         \
    X(REFUSED, "damaged logs refused")                                                  \
    X(REPAIRED, "damaged logs that got everything back")                                \
    X(REPAIR_SERVED, "repairs served by running nodes")                                 \
    X(REPAIR_SERVED_DAMAGED, "repairs served by nodes that are damaged too")            \
    X(SCATTERED, "times that several nodes lost what the others have")                  \
    X(SCATTERED_BATCH, "logs in which records of batches rot as well")                  \
    X(SCATTERED_REPLACED, "entries that had been replaced and rotted with others")      \
    X(SCATTER_REPAIRED, "repairs of nodes that lost what only others with damage have") \
    X(REPAIR_PROVED, "what came for a hole by links, without an anchor")                \
    X(REPAIR_ANEW, "repaired logs that were written anew behind the damage")            \
    X(REWRITE_CUT, "logs that were being written anew when the power went")             \
    X(REPAIR_NO_ROOM, "repairs that wait for room to be written")                       \
    X(REPAIR_PAST, "repairs served from a segment behind what is in memory")            \
    X(FETCHED, "times that entries were read back for a peer")                          \
    X(FETCH_OVERTAKEN, "entries read back for a peer that needs others by then")        \
    X(LOG_SNAPSHOT, "snapshots asked for in the place of what cannot be read")          \
    X(REPAIR_COVERED, "repairs to which the own snapshot is enough")                    \
    X(REPAIR_SNAPSHOT, "repairs by the snapshot of another node")                       \
    X(REPAIR_WAITS, "repairs that wait because nobody has it")                          \
    X(ALTERED_FOUND, "nodes that found that they differ and stopped")                   \
    X(ALTERED_TOLD, "nodes that others found to differ")                                \
    X(ALTERED_SPLIT, "differences in which nobody has a majority")                      \
    X(ALTERED_SNAPSHOT, "altered machines of nodes with snapshots")                     \
    X(ALTERED_JOINED, "altered machines of nodes that joined")                          \
    X(ALTERED_REFUSED, "altered machines that no snapshot was taken of")                \
    X(ALTERED_RESTORED, "altered machines that a snapshot of another made right")       \
    X(ALTERED_CHANGE, "changes of the members asked for while a machine is altered")    \
    X(MAJORITY_DOWN, "times with a majority down")                                      \
    X(MINORITY_AWAY, "majorities that went on while others stayed away")                \
    X(TRANSFER_DONE, "transfers of leadership that came about")                         \
    X(TRANSFER_ENDED, "transfers of leadership given up")                               \
    X(WRITE_HANDOVER, "writes refused because of a transfer")                           \
    X(DISK_TRANSFER, "leaders that hand over because their disk hangs")                 \
    X(PRIORITY_TRANSFER, "leaders that hand over to a higher priority")                 \
    X(READ_FOLLOWER, "reads answered by followers")                                     \
    X(COMPARE_FAILED, "conditional writes that lost the race")                          \
    X(COMMAND_SENT_AGAIN, "commands of sessions sent again")                            \
    X(REPEAT_ANSWERED, "repeated commands answered from the table")                     \
    X(REPEAT_ELSEWHERE, "repeats answered by another node than the first")              \
    X(REPEAT_LOST, "repeats answered after the first answer was lost")                  \
    X(REPEAT_RESTART, "repeats answered after a restart")                               \
    X(SESSION_EXPIRED, "commands refused because their session is over")                \
    X(SESSION_FORGOTTEN, "repeats whose answer is forgotten")                           \
    X(SESSION_NO_ROOM, "commands without room in their session")                        \
    X(SESSION_LIMIT, "sessions ended because there were too many")                      \
    X(SESSION_TIME, "sessions expired")                                                 \
    X(SESSION_SWEPT, "answers forgotten to save memory")                                \
    X(CLOCK_DUE, "cluster time written because something ends")                         \
    X(LEASE_EXPIRED, "leases that ended by their time")                                 \
    X(LEASE_KEYS_EXPIRED, "leases that ended with keys")                                \
    X(LEASE_SURVIVED, "leases that ended under a later leader than they began")         \
    X(LEASE_REFUSED, "commands refused because their lease is over")                    \
    X(PUBLISHED, "messages published")                                                  \
    X(PUBLISHED_BEFORE, "messages that had been published before")                      \
    X(PUBLISH_BEHIND, "messages refused because others came before")                    \
    X(CLOCK_CAPPED, "steps of cluster time too long to be believed")                    \
    X(STALE_SERVED, "stale reads answered with an older state")                         \
    X(STALE_REFUSED, "stale reads refused as too old")                                  \
    X(MACHINE_SYNCED, "state machines that a loss of power left as they were synced")   \
    X(TWIN_APPLY, "batches applied in memory and in files")                             \
    X(HISTORY_SEARCHED, "histories searched to the end")                                \
    X(HISTORY_UNDECIDED, "histories not decided")                                       \
    X(DISK_STALLED, "leaders that stepped down because their disk hangs")               \
    X(PEER_RESTARTED, "peers that a leader heard to have been restarted")               \
    X(READ_LEASE, "reads answered by a lease")                                          \
    X(LEASE_ENDED, "reads whose lease had ended when they were executed")               \
    X(CHANGE_ADD, "members added")                                                      \
    X(CHANGE_PROMOTE, "learners promoted by request")                                   \
    X(CHANGE_REMOVE, "members removed")                                                 \
    X(CHANGE_REPLACE, "members replaced")                                               \
    X(CHANGE_REFUSED, "changes of the members refused")                                 \
    X(CHANGE_UNKNOWN, "changes of the members whose leader fell")                       \
    X(CHANGE_BEFORE_COMMIT, "changes refused before a commit of the own term")          \
    X(CHANGE_PENDING, "changes refused because one was under way")                      \
    X(CHANGE_TWO_PROMOTIONS, "promotions asked for while another was under way")        \
    X(CHANGE_LAG, "promotions refused because the learner lagged")                      \
    X(PROMOTED, "learners promoted by themselves")                                      \
    X(JOINED, "nodes that joined a running cluster")                                    \
    X(CONFIG_TRUNCATED, "configurations truncated")                                     \
    X(JOINT_INHERITED, "joint phases ended by a later leader")                          \
    X(RETIRED, "leaders that were removed and stepped down")                            \
    X(NEW_VOTER_LEADS, "leaders whose promotion was not committed")                     \
    X(REMOVED_UNAWARE, "removed nodes that did not know and disturbed nobody")          \
    X(REFUSED_REMOVED, "messages of removed nodes refused")                             \
    X(REFUSED_BLANK, "messages of blank disks refused")                                 \
    X(SNAPSHOT_TAKEN, "snapshots taken")                                                \
    X(SNAPSHOT_FAILED, "snapshots that could not be written")                           \
    X(SNAPSHOT_WAITS, "snapshots that wait for the one being written")                  \
    X(SNAPSHOT_LOST, "crashes while a snapshot was written")                            \
    X(SNAPSHOT_UNTOLD, "snapshots durable just before a crash, and nobody told")        \
    X(SNAPSHOT_CRASH, "nodes that died of the files of snapshots")                      \
    X(SNAPSHOT_OVERTAKEN, "snapshots older than one received meanwhile")                \
    X(SNAPSHOT_ROTTEN, "snapshots that rotted")                                         \
    X(SNAPSHOT_ASIDE, "damaged snapshots set aside")                                    \
    X(SNAPSHOT_NOT_SENT, "snapshots found damaged when they were to be sent")           \
    X(SNAPSHOT_ASKED_AGAIN, "snapshots asked for again in place of a damaged one")      \
    X(SNAPSHOT_REPLACED, "damaged snapshots replaced by another one")                   \
    X(SNAPSHOT_AHEAD, "starts of machines that come up to the snapshot by the log")     \
    X(CUT, "logs cut behind a snapshot")                                                \
    X(NEEDS_SNAPSHOT, "peers that need a snapshot")                                     \
    X(NEEDS_NONE, "peers behind a snapshot that need none")                             \
    X(STREAM, "snapshots sent")                                                         \
    X(STREAMS, "steps with several peers that need one")                                \
    X(STREAM_ROTTEN, "snapshots that rotted while they were sent")                      \
    X(STREAM_REFUSED, "snapshots refused by a peer, and looked at again")               \
    X(STREAM_DEPOSED, "snapshots whose sender lost leadership")                         \
    X(STREAM_CRASHED, "crashes of a sender in the middle of one")                       \
    X(PIECE_LOST, "pieces of snapshots lost")                                           \
    X(PART_CRASHED, "crashes of a receiver in the middle of one")                       \
    X(PART_RESUMED, "transfers that went on after a crash of the receiver")             \
    X(PART_MOVED, "transfers that went on with another sender or life of it")           \
    X(PART_REPLACED, "transfers given up for another snapshot")                         \
    X(RECEIVED, "snapshots received")                                                   \
    X(RECEIVED_BAD, "snapshots received and refused")                                   \
    X(INSTALLED, "snapshots installed")                                                 \
    X(INSTALL_WAITED, "snapshots that waited for room, and were installed")             \
    X(INSTALL_WAITED_START, "likewise, after a restart in between")                     \
    X(INSTALL_WAITED_OVER, "likewise, when another one had taken their place")          \
    X(INSTALL_ANEW, "logs thrown away for a snapshot")                                  \
    X(INSTALL_KEPT, "logs that agree with a received snapshot")                         \
    X(INSTALL_BUSY, "pieces refused while a snapshot was installed")                    \
    X(INSTALL_CONFIG, "configurations replaced by that of a snapshot")                  \
    X(RESTORED_AT_START, "starts that restored a snapshot")                             \
    X(START_BEHIND_BASE, "starts from a log that begins behind a snapshot")             \
    X(START_BEFORE_ANEW, "starts with a snapshot that the log does not know")           \
    X(WATCH_EVENT, "events told to watchers")                                           \
    X(WATCH_AGAIN, "watches that went on elsewhere")                                    \
    X(WATCH_LOST, "frames to watchers lost")                                            \
    X(WATCH_FORGOTTEN, "watchers that forgot everything")                               \
    X(WATCH_PIECE, "pieces of states told to watchers, of which more come")             \
    X(WATCH_STATE, "states told to watchers")                                           \
    X(WATCH_ASKED, "progress marks that were asked for")                                \
    X(TXN_THEN, "transactions whose compares held")                                     \
    X(TXN_ELSE, "transactions whose compares did not hold")                             \
    X(TXN_REFUSED, "transactions refused for one of their steps")                       \
    X(TXN_PUBLISHED, "transactions that changed keys and published")                    \
    X(READ_PAST, "reads of an earlier revision")                                        \
    X(READ_COMPACTED, "reads of a revision that is not kept any more")                  \
    X(WATCH_RESYNC, "watchers told that changes are not kept any more")                 \
    X(TOPIC_READ, "reads of messages")                                                  \
    X(TOPIC_TRIMMED, "publishes given up by retention")                                 \
    X(TOPIC_DELETED, "topics deleted")                                                  \
    X(TOPIC_CUT, "topics cut by request")                                               \
    X(ADVANCED, "revisions left out by request")                                        \
    X(QUOTA_SET, "quotas set or lifted")                                                \
    X(OVER_QUOTA, "commands refused for want of quota")                                 \
    X(QUOTA_ALARM, "reads of what is used while the alarm of the quota is on")          \
    X(ASKED_RANGE, "questions for a page of keys, or their number")                     \
    X(ASKED_KEY, "questions for one key, or one place in a queue")                      \
    X(ASKED_PLACES, "questions about the space of queues")                              \
    X(QUEUE_PAGE, "pages of queues that are not the last")                              \
    X(ASKED_USAGE, "questions what there is in all")                                    \
    X(ASKED_LEASES, "questions which leases there are")                                 \
    X(ASKED_LEASE, "questions what ends with a lease")                                  \
    X(ASKED_TOPICS, "questions which topics there are")                                 \
    X(ASKED_TOPIC, "questions about a topic")                                           \
    X(ASKED_MESSAGES, "questions for single messages")                                  \
    X(ASKED_GROUPS, "questions which work groups there are")                            \
    X(ASKED_GROUP, "questions about a work group")                                      \
    X(ASKED_PENDING, "questions what members have in hand")                             \
    X(DUPLICATE_LATER, "duplicates known under a later leader")                         \
    X(SUBSCRIBED, "subscriptions to topics begun")                                      \
    X(SUBSCRIPTION_MOVED, "subscriptions to topics that went on elsewhere")             \
    X(SUBSCRIPTION_MESSAGE, "messages told to subscribers")                             \
    X(SUBSCRIPTION_GAP, "gaps told to subscribers")                                     \
    X(SUBSCRIPTION_DELETED, "topics deleted under a subscriber")                        \
    X(LOCK_HELD, "places in queues that hold, as their clients know")                   \
    X(LOCK_WAITED, "clients that wait in queues")                                       \
    X(LOCK_HANDED, "places that hold since another one went")                           \
    X(LOCK_EXPIRED, "places that went with the time of their lease")                    \
    X(LOCK_LOST, "places lost by their clients")                                        \
    X(LOCK_FENCED, "holders that came too late with an old token")                      \
    X(LOCK_DIED, "clients that died with a place in a queue")                           \
    X(HANDED, "messages handed to members of groups")                                   \
    X(HANDED_ONCE, "messages done when they were handed out")                           \
    X(HANDED_AGAIN, "messages handed out again")                                        \
    X(HANDED_LATER, "messages handed out again under a later leader")                   \
    X(HANDED_FULL, "fetches that get less than there is")                               \
    X(ACKED, "messages acknowledged")                                                   \
    X(NACKED, "messages given back")                                                    \
    X(EXTENDED, "ack times extended")                                                   \
    X(SETTLED_LATE, "messages that were not in hand any more")                          \
    X(LETTER, "dead letters")                                                           \
    X(LETTER_HOMELESS, "dead letters without a topic to go to")                         \
    X(MEMBER_ENDED, "members that ended with messages in hand")                         \
    X(WORKER_DIED, "members that died with messages in hand")                           \
    X(GROUP_DROPPED, "messages dropped before their group was done with them")          \
    X(GROUP_DELETED, "work groups deleted")                                             \
    X(GROUP_WAITED, "waits for work groups begun")                                      \
    X(GROUP_WOKEN, "waits for work groups that something came to")                      \
    X(GROUP_WAIT_INSTALLED, "waits for work groups that a snapshot came under")         \
    X(GROUP_WAIT_ENDED, "work groups deleted under one who waits")

enum sim_mark {
#define SIM_MARK_ENUM(name, text) SIM_MARK_##name,
    SIM_MARKS(SIM_MARK_ENUM)
#undef SIM_MARK_ENUM
        SIM_MARK_COUNT
};

enum record_kind {
    RECORD_SEND =
        1, /* message records: v = type, peer, term, and by type what message_record says */
    RECORD_RECEIVE,
    RECORD_DROP,
    RECORD_STEP,    /* role, term, commit, last term, last index, durable index, applied, events */
    RECORD_PERSIST, /* seq, term, vote, first index, last term, last index */
    RECORD_SYNCED,  /* seq, last term, last index */
    RECORD_APPLY,   /* first, last */
    RECORD_APPLIED, /* index, state hash */
    RECORD_PROPOSE, /* first op, count */
    RECORD_READ,    /* op */
    RECORD_READ_AT, /* op, code, index */
    RECORD_ANSWER,  /* op, state, index, value */
    RECORD_START,   /* incarnation, term, vote, last term, last index, applied */
    RECORD_CRASH,   /* power lost, machine kept */
    RECORD_PAUSE,   /* until */
    RECORD_CUT,     /* mask of nodes on the one side, one way */
    RECORD_HEAL,
    RECORD_SNAPSHOT,  /* a snapshot was written: term, index, code */
    RECORD_RESTORED,  /* the state machine became one: term, index */
    RECORD_PIECE,     /* sent: to, index, offset, bytes, of */
    RECORD_PIECE_ACK, /* likewise, the answer: offset, done */
    RECORD_CHANGE,    /* number, type, subject, replacement (numbers shown), incarnation */
    RECORD_CHANGED,   /* number, code, index */
    RECORD_WIPE,      /* the number of the node that comes back blank; 0: none */
    RECORD_TRACE,     /* raft_trace: type, a, b */
    RECORD_DECISION   /* kind, number: a fault or an action that was granted */
};

struct record {
    uint64_t at_us;
    enum record_kind kind;
    uint32_t node;
    uint64_t v[8];
};

enum { REPORT_RING = 64, REPORT_SHOWN = 40 };

struct report {
    struct record ring[REPORT_RING];
    uint64_t count;
    uint64_t hash;
    bool trace;                          /* print every event as it happens */
    bool brief;                          /* only those that tell what happened */
    FILE *out;                           /* where to; NULL: standard output */
    uint64_t shown[SIM_NODES_MAX];       /* of each node: a hash of the last step that was told */
    uint64_t shown_reads[SIM_NODES_MAX]; /* likewise: the index of the last read */
    const raft_node_id *ids; /* of the nodes, to show their numbers; node_count of them */
    uint32_t node_count;
    uint64_t marks[SIM_MARK_COUNT];
    uint64_t decisions[SIM_DECISION_KINDS]; /* granted: faults first, then actions */
};

void report_event(struct report *report, struct record record);

/* A message that was sent, received or dropped at `node`. */
void report_message(struct report *report, enum record_kind kind, uint64_t at_us, uint32_t node,
                    const struct raft_message *message);

static inline void report_mark(struct report *report, enum sim_mark mark)
{
    report->marks[mark]++;
}

/* Writes the last events, one a line. */
void report_print_last(const struct report *report, FILE *out);

/* "leaders elected"; "LEADER" as in the table. */
const char *report_mark_text(enum sim_mark mark);
const char *report_mark_name(enum sim_mark mark);

#endif
