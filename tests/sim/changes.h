/* tests/sim/changes.h - requests of the operator for other members, and what became of them. */
#ifndef TESTS_SIM_CHANGES_H
#define TESTS_SIM_CHANGES_H

#include "raft/raft.h"
#include "tests/sim/ops.h"

struct change {
    enum raft_change_type type;
    uint32_t subject, replacement; /* nodes; UINT32_MAX: a name that nobody has */
    struct raft_member member;     /* ADD: as asked for */
    bool nonsense;                 /* it has to be refused */
    uint32_t node, life;           /* who was asked, in which life */
    enum op_state state;
};

#endif
