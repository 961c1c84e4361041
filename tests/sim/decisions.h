/* tests/sim/decisions.h - the decisions of a run that could have gone otherwise: every fault that
 * is injected and everything that clients do of their own will. One thread.
 *
 * A decision is known by its kind and its number among those of its kind in the run, counted from 1
 * whether or not it is granted. Usually all are granted. A replay, and the search for a shorter run
 * (shrink.h), grant only those of a set and veto all others: the draw has been made, and nothing
 * comes of it. Which of them a run with fewer still meets is up to that run. */
#ifndef TESTS_SIM_DECISIONS_H
#define TESTS_SIM_DECISIONS_H

#include "raft/raft.h"
#include "tests/sim/knobs.h"

#include <stdio.h>

/* X(NAME, text): what is not a fault. Numbered after the faults. */
#define SIM_ACTIONS(X)                            \
    X(REQUEST, "requests of clients")             \
    X(STRAY, "requests to replaced leaders")      \
    X(LOCK, "steps of those who queue")           \
    X(CHANGE, "changes of the members asked for") \
    X(WORK, "steps of members of work groups")    \
    X(STAY_AWAY, "nodes that come back later than a majority")

enum sim_action {
    SIM_ACTION_FIRST = SIM_FAULT_COUNT - 1,
#define SIM_ACTION_ENUM(name, text) SIM_ACTION_##name,
    SIM_ACTIONS(SIM_ACTION_ENUM)
#undef SIM_ACTION_ENUM
        SIM_DECISION_KINDS
};

struct decision {
    uint32_t kind; /* an enum sim_fault or sim_action */
    uint64_t number;
    uint64_t at_us;
};

/* All zero is empty; in the order in which they came, or sorted by kind and number. */
struct decision_list {
    struct decision *items;
    uint32_t count, capacity;
};

/* Those of a run. All zero: every decision is granted. */
struct decisions {
    const struct decision_list *only; /* grants these alone, sorted; NULL: all. Borrowed */
    struct decision_list granted;
    uint64_t drawn[SIM_DECISION_KINDS];
};

/* Numbers one more decision of this kind. True: it is granted; its number is in *ret_number. */
bool decisions_grant(struct decisions *decisions, uint32_t kind, uint64_t at_us,
                     uint64_t *ret_number);

void decisions_deinit(struct decisions *decisions);

/* "messages lost"; "LOSS" as in the table. */
const char *decision_text(uint32_t kind);
const char *decision_name(uint32_t kind);

void decision_list_add(struct decision_list *list, struct decision decision);
void decision_list_sort(struct decision_list *list);
void decision_list_deinit(struct decision_list *list);

/* Adds what a text like "loss:1,4-9" names. False: it names nothing. "none" adds nothing. */
bool decision_list_parse(struct decision_list *list, const char *text);

/* Writes a sorted list as options that bring it back: " --grant loss:1,4-9 --grant crash:2". */
void decision_list_print(const struct decision_list *list, FILE *out);

#endif
