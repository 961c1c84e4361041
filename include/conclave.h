/* conclave.h - the public interface of libconclave: a Raft node, its state machine, its client.
 *
 * By subject, each of which can be included alone:
 *     conclave_base.h      conventions, codes, limits
 *     conclave_machine.h   state machines of one's own
 *     conclave_node.h      nodes
 *     conclave_client.h    clients, status, members
 *     conclave_propose.h   proposing from within the process that runs the node
 *     conclave_inspect.h   looking at a data directory from outside, without changing it
 * What clients say to the built-in machine is in conclave_kv.h, conclave_lease.h, conclave_txn.h,
 * conclave_watch.h, conclave_lock.h, conclave_presence.h and conclave_topic.h. */
#ifndef CONCLAVE_H
#define CONCLAVE_H

#include "conclave_base.h"
#include "conclave_client.h"
#include "conclave_machine.h"
#include "conclave_node.h"
#include "conclave_propose.h"

#endif
