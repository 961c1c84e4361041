#include "cluster.h"

#include <criterion/criterion.h>

#include <string.h>

/* A batch of entries of one term with consecutive indexes and payloads of `bytes`. */
static struct raft_batch *numbered(uint64_t first, uint32_t count, size_t bytes)
{
    struct raft_batch *batch = command_batch(count, bytes);
    for (uint32_t i = 0; i < count; i++)
        batch->entries[i].id = id_of(1, first + i);
    return batch;
}

/* Appends a whole new batch and gives up its own reference. */
static void append_new(struct raft_runs *runs, uint64_t first, uint32_t count, size_t bytes)
{
    struct raft_batch *batch = numbered(first, count, bytes);
    raft_runs_append(runs, batch, 0, count);
    raft_batch_unref(batch);
}

Test(entries, consecutive_runs_of_one_batch_become_one)
{
    struct raft_runs runs = {0};
    struct raft_batch *batch = numbered(1, 5, 10);
    raft_runs_append(&runs, batch, 0, 2);
    raft_runs_append(&runs, batch, 2, 3);
    cr_assert_eq(runs.count, 1);
    cr_assert_eq(runs.entry_count, 5);
    cr_assert_eq(runs.payload_bytes, 50);
    cr_assert_eq(atomic_load(&batch->refs), 2, "one reference a run, not one an entry");
    raft_runs_clear(&runs);
    cr_assert_eq(atomic_load(&batch->refs), 1);
    raft_batch_unref(batch);
}

Test(entries, nothing_appended_is_nothing)
{
    struct raft_runs runs = {0};
    struct raft_batch *batch = numbered(1, 1, 1);
    raft_runs_append(&runs, batch, 0, 0);
    cr_assert_eq(runs.count, 0);
    cr_assert_eq(raft_runs_last(&runs).index, 0);
    cr_assert_eq(raft_runs_first(&runs).index, 0);
    raft_batch_unref(batch);
}

Test(entries, are_walked_in_order_across_batches)
{
    struct raft_runs runs = {0};
    append_new(&runs, 1, 3, 0);
    append_new(&runs, 4, 1, 0);
    append_new(&runs, 5, 2, 0);
    struct raft_runs_iter iter = {0};
    uint64_t index = 0;
    for (const struct raft_entry *entry; (entry = raft_runs_next(&runs, &iter));)
        cr_assert_eq(entry->id.index, ++index);
    cr_assert_eq(index, 6);
    raft_runs_clear(&runs);
}

Test(entries, are_found_by_index_and_only_those_held)
{
    struct raft_runs runs = {0};
    cr_assert_null(raft_runs_find(&runs, 1));
    uint64_t next = 3;
    for (uint32_t i = 0; i < 200; i++) {
        append_new(&runs, next, i % 7 + 1, 0);
        next += i % 7 + 1;
    }
    for (uint64_t index = 3; index < next; index++)
        cr_assert_eq(raft_runs_find(&runs, index)->id.index, index);
    cr_assert_null(raft_runs_find(&runs, 2));
    cr_assert_null(raft_runs_find(&runs, 0));
    cr_assert_null(raft_runs_find(&runs, next));
    cr_assert_null(raft_runs_find(&runs, UINT64_MAX));
    raft_runs_clear(&runs);
}

Test(entries, a_slice_of_a_part_of_a_batch_counts_the_bytes_of_that_part)
{
    struct raft_runs runs = {0}, slice = {0};
    struct raft_batch *batch = numbered(1, 5, 10);
    raft_runs_append(&runs, batch, 0, 2);
    raft_batch_unref(batch);
    raft_runs_slice(&runs, 1, 100, 1000, &slice);
    cr_assert_eq(slice.entry_count, 2);
    cr_assert_eq(slice.payload_bytes, 20);
    raft_runs_clear(&slice);
    raft_runs_slice(&runs, 1, 100, 20, &slice); /* what fits exactly */
    cr_assert_eq(slice.entry_count, 2);
    raft_runs_clear(&slice);
    raft_runs_clear(&runs);
}

Test(entries, a_slice_keeps_to_its_limits)
{
    struct raft_runs runs = {0};
    append_new(&runs, 1, 4, 10);
    append_new(&runs, 5, 4, 10);
    struct raft_runs slice = {0};
    raft_runs_slice(&runs, 3, 4, UINT64_MAX, &slice);
    cr_assert_eq(raft_runs_first(&slice).index, 3);
    cr_assert_eq(raft_runs_last(&slice).index, 6);
    raft_runs_clear(&slice);
    raft_runs_slice(&runs, 2, 100, 35, &slice);
    cr_assert_eq(slice.entry_count, 3);
    cr_assert_eq(slice.payload_bytes, 30);
    raft_runs_clear(&slice);
    raft_runs_slice(&runs, 2, 100, 50, &slice);
    cr_assert_eq(raft_runs_last(&slice).index, 6);
    raft_runs_clear(&slice);
    raft_runs_clear(&runs);
}

Test(entries, a_slice_has_one_entry_however_large)
{
    struct raft_runs runs = {0};
    append_new(&runs, 1, 2, 1000);
    struct raft_runs slice = {0};
    raft_runs_slice(&runs, 1, 10, 10, &slice);
    cr_assert_eq(slice.entry_count, 1);
    raft_runs_clear(&slice);
    raft_runs_clear(&runs);
}

Test(entries, a_slice_of_whole_batches_keeps_to_its_limits)
{
    static const struct {
        uint64_t index, entries_max, bytes_max, count;
    } cases[] = {{1, 8, 80, 8}, {1, 9, 81, 8}, {1, 7, 80, 7}, {1, 8, 79, 7}, {1, 4, 80, 4},
                 {1, 8, 40, 4}, {1, 8, 39, 3}, {5, 4, 40, 4}, {5, 3, 40, 3}, {1, 1, 1, 1}};
    struct raft_runs runs = {0};
    append_new(&runs, 1, 4, 10);
    append_new(&runs, 5, 4, 10);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct raft_runs slice = {0};
        raft_runs_slice(&runs, cases[i].index, cases[i].entries_max, cases[i].bytes_max, &slice);
        cr_assert_eq(slice.entry_count, cases[i].count, "case %zu", i);
        cr_assert_eq(slice.payload_bytes, 10 * cases[i].count, "case %zu", i);
        raft_runs_clear(&slice);
    }
    raft_runs_clear(&runs);
}

Test(entries, nothing_comes_behind_one_that_is_too_large_for_the_slice)
{
    struct raft_runs runs = {0}, slice = {0};
    append_new(&runs, 1, 1, 1000);
    append_new(&runs, 2, 1, 0);
    raft_runs_slice(&runs, 1, 10, 10, &slice);
    cr_assert_eq(slice.entry_count, 1);
    raft_runs_clear(&slice);
    raft_runs_clear(&runs);
}

Test(entries, a_buffer_is_held_by_one_entry_for_all_that_lie_in_it)
{
    struct buf *shared = buf_create(8), *own = buf_create(4);
    struct raft_batch *batch = raft_batch_create(4);
    raft_batch_add(batch,
                   (struct raft_entry){.buf = buf_ref(shared), .payload = {shared->data, 4}});
    raft_batch_add(batch, (struct raft_entry){.payload = {shared->data + 4, 4}});
    raft_batch_add(batch, (struct raft_entry){.buf = buf_ref(own), .payload = {own->data, 4}});
    raft_batch_add(batch, (struct raft_entry){0});
    raft_batch_unref(batch);
    cr_assert_eq(atomic_load(&shared->refs), 1);
    cr_assert_eq(atomic_load(&own->refs), 1);
    buf_unref(shared);
    buf_unref(own);
}

Test(entries, are_cut_inside_a_run_and_across_runs)
{
    struct raft_runs runs = {0};
    append_new(&runs, 1, 4, 10);
    append_new(&runs, 5, 4, 10);
    raft_runs_truncate(&runs, 9);
    cr_assert_eq(runs.entry_count, 8, "nothing there to cut");
    raft_runs_truncate(&runs, 7);
    cr_assert_eq(raft_runs_last(&runs).index, 6);
    cr_assert_eq(runs.payload_bytes, 60);
    raft_runs_truncate(&runs, 2);
    cr_assert_eq(runs.count, 1);
    cr_assert_eq(runs.entry_count, 1);
    cr_assert_eq(runs.payload_bytes, 10);
    append_new(&runs, 2, 1, 5);
    cr_assert_eq(raft_runs_last(&runs).index, 2);
    raft_runs_truncate(&runs, 1);
    cr_assert_eq(runs.entry_count, 0);
    raft_runs_clear(&runs);
}

Test(entries, lose_their_front_inside_a_run_and_across_runs)
{
    struct raft_runs runs = {0};
    append_new(&runs, 1, 4, 10);
    append_new(&runs, 5, 4, 20);
    append_new(&runs, 9, 2, 30);
    raft_runs_drop_front(&runs, 0);
    cr_assert_eq(runs.entry_count, 10, "nothing there to drop");
    raft_runs_drop_front(&runs, 3);
    cr_assert_eq(raft_runs_first(&runs).index, 4);
    cr_assert_eq(runs.entry_count, 7);
    cr_assert_eq(runs.payload_bytes, 10 + 4 * 20 + 2 * 30);
    raft_runs_drop_front(&runs, 4);
    cr_assert_eq(runs.count, 2, "a run that is used up goes");
    cr_assert_eq(runs.payload_bytes, 4 * 20 + 2 * 30);
    raft_runs_drop_front(&runs, 9);
    cr_assert_eq(raft_runs_first(&runs).index, 10);
    cr_assert_eq(runs.entry_count, 1);
    cr_assert_eq(runs.payload_bytes, 30);
    cr_assert_eq(raft_runs_find(&runs, 10)->id.index, 10);
    raft_runs_drop_front(&runs, 10);
    cr_assert_eq(runs.count, 0);
    cr_assert_eq(runs.payload_bytes, 0);
    raft_runs_clear(&runs);
}

Test(entries, that_were_dropped_are_freed_bit_by_bit)
{
    struct raft_runs runs = {0};
    struct raft_dropped dropped = {0};
    struct raft_batch *batches[3];
    for (uint32_t i = 0; i < 3; i++) {
        batches[i] = numbered(1 + 4 * i, 4, 1);
        raft_runs_append(&runs, batches[i], 0, 4);
    }
    raft_runs_set_aside(&runs, 12, &dropped);
    cr_assert_eq(dropped.count, 3);
    for (uint32_t left = 3; left > 0; left--) {
        cr_assert_eq(atomic_load(&batches[left - 1]->refs), 2, "it is kept until its turn");
        raft_dropped_free(&dropped, 4);
        cr_assert_eq(dropped.count, left - 1);
        cr_assert_eq(atomic_load(&batches[left - 1]->refs), 1);
    }
    raft_dropped_free(&dropped, 4);
    cr_assert_null(dropped.items);
    for (uint32_t i = 0; i < 3; i++)
        raft_batch_unref(batches[i]);
    raft_runs_clear(&runs);
}

Test(entries, moved_runs_leave_nothing_behind)
{
    struct raft_runs from = {0};
    struct raft_runs to = {0};
    append_new(&from, 1, 2, 1);
    raft_runs_move(&to, &from);
    cr_assert_eq(from.count, 0);
    cr_assert_eq(from.entry_count, 0);
    cr_assert_eq(to.entry_count, 2);
    raft_runs_clear(&to);
}

Test(messages, a_destroyed_append_gives_its_entries_back)
{
    struct raft_batch *batch = numbered(1, 2, 1);
    struct raft_message *message = raft_message_create(RAFT_APPEND_REQUEST, 1, 2, 3);
    raft_runs_append(&message->append_request.entries, batch, 0, 2);
    struct raft_messages list = {0};
    raft_messages_add(&list, message);
    cr_assert_eq(atomic_load(&batch->refs), 2);
    raft_messages_clear(&list);
    cr_assert_eq(atomic_load(&batch->refs), 1);
    cr_assert_eq(list.count, 0);
    raft_batch_unref(batch);
}
