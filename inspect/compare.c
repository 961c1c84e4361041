/* Two logs side by side. */
#include "inspect/describe.h"
#include "inspect/inspect.h"

#include <string.h>

/* One of the two, at its next entry. */
struct side {
    struct inspect_entries entries;
    struct wal_record entry;
    bool there; /* else it is at its end */
    bool begun; /* it has been at an entry */
    struct conclave_inspect_side *told;
};

static void step_on(struct side *side)
{
    const uint64_t before = side->told->last;
    side->there = inspect_entries_next(&side->entries, &side->entry);
    if (!side->there)
        return;
    if (!side->begun || side->entry.id.index != before + 1)
        side->told->first = side->entry.id.index;
    side->begun = true;
    side->told->last = side->entry.id.index;
}

static bool is_same(const struct wal_record *left, const struct wal_record *right)
{
    return raft_id_equal(left->id, right->id) && left->entry_kind == right->entry_kind &&
           left->payload.bytes == right->payload.bytes &&
           (left->payload.bytes == 0 ||
            memcmp(left->payload.data, right->payload.data, left->payload.bytes) == 0);
}

static void tell_entry(const struct side *side)
{
    struct conclave_inspect_side *told = side->told;
    struct say text;
    say_begin(&text, told->text, sizeof told->text, 48);
    describe_entry(&text, side->entry.entry_kind, side->entry.payload);
    told->term = side->entry.id.term;
    told->payload_bytes = side->entry.payload.bytes;
    told->entry = describe_kind(side->entry.entry_kind);
}

static void compare(struct side *left, struct side *right,
                    struct conclave_inspect_difference *difference)
{
    while (left->there && right->there && difference->index == 0) {
        const uint64_t index = left->entry.id.index;
        if (index != right->entry.id.index) {
            step_on(index < right->entry.id.index ? left : right);
            continue;
        }
        if (is_same(&left->entry, &right->entry)) {
            if (difference->compared++ == 0)
                difference->same_from = index;
            difference->same_to = index;
            step_on(left);
            step_on(right);
        } else {
            difference->index = index;
            tell_entry(left);
            tell_entry(right);
        }
    }
}

int conclave_inspect_compare(const struct conclave_inspection *left,
                             const struct conclave_inspection *right,
                             struct conclave_inspect_difference *ret, struct conclave_error *error)
{
    struct conclave_inspect_difference difference = {0};
    struct side sides[2] = {{.told = &difference.left}, {.told = &difference.right}};
    if (left->identity.cluster_id != right->identity.cluster_id)
        return error_set(error, CONCLAVE_IDENTITY, "%s and %s are of different clusters", left->dir,
                         right->dir);
    int code = inspect_entries_open(left, &sides[0].entries, error);
    if (code == CONCLAVE_OK)
        code = inspect_entries_open(right, &sides[1].entries, error);
    if (code == CONCLAVE_OK) {
        step_on(&sides[0]);
        step_on(&sides[1]);
        compare(&sides[0], &sides[1], &difference);
        for (size_t i = 0; i < 2; i++) {
            while (sides[i].there)
                step_on(&sides[i]);
            sides[i].told->damaged = sides[i].entries.damaged;
        }
        *ret = difference;
    }
    inspect_entries_close(&sides[0].entries);
    inspect_entries_close(&sides[1].entries);
    return code;
}
