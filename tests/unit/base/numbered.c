#include "base/numbered.h"

#include <criterion/criterion.h>

struct element {
    uint64_t number;
    uint64_t square;
};

static struct numbered list;

static void teardown(void)
{
    numbered_deinit(&list);
}

TestSuite(numbered, .fini = teardown, .timeout = 60);

static void add(uint64_t number)
{
    struct element *element = numbered_add(&list, sizeof *element, number);
    cr_assert_eq(element->number, number);
    cr_assert_eq(element->square, 0, "of another one");
    element->square = number * number;
}

static void drop(uint64_t number)
{
    struct element *element = numbered_find(&list, number);
    cr_assert_not_null(element);
    cr_assert_eq(element->square, number * number);
    numbered_remove(&list, element);
    cr_assert_null(numbered_find(&list, number));
}

static void assert_holds(const uint64_t *numbers, uint32_t count)
{
    cr_assert_eq(numbered_count(&list), count);
    for (uint32_t i = 0; i < count; i++) {
        const struct element *element = numbered_at(&list, i);
        cr_assert_eq(element->number, numbers[i]);
        cr_assert_eq(element->square, numbers[i] * numbers[i]);
        cr_assert_eq(numbered_find(&list, numbers[i]), element);
    }
}

Test(numbered, nothing_is_found_in_an_empty_one)
{
    cr_assert_eq(numbered_count(&list), 0);
    cr_assert_null(numbered_find(&list, 0));
    cr_assert_null(numbered_find(&list, 7));
}

Test(numbered, elements_are_in_order_however_they_come)
{
    static const uint64_t order[] = {5, 3, 9, 4, 1, UINT64_MAX};
    for (int i = 0; i < 6; i++)
        add(order[i]);
    assert_holds((const uint64_t[]){1, 3, 4, 5, 9, UINT64_MAX}, 6);
    cr_assert_null(numbered_find(&list, 2));
    cr_assert_null(numbered_find(&list, 10));
}

Test(numbered, any_one_may_go)
{
    for (uint64_t i = 1; i <= 6; i++)
        add(i);
    drop(2);
    assert_holds((const uint64_t[]){1, 3, 4, 5, 6}, 5);
    drop(5);
    assert_holds((const uint64_t[]){1, 3, 4, 6}, 4);
    drop(1);
    drop(6);
    assert_holds((const uint64_t[]){3, 4}, 2);
    add(2); /* before what is left, where some went */
    assert_holds((const uint64_t[]){2, 3, 4}, 3);
    drop(2);
    drop(3);
    drop(4);
    cr_assert_eq(numbered_count(&list), 0);
}

Test(numbered, that_go_as_others_come_take_no_more_room)
{
    add(1);
    for (uint64_t i = 2; i < 1000; i++) {
        add(i);
        drop(i - 1);
    }
    cr_assert_leq(list.capacity, 8);
    assert_holds((const uint64_t[]){999}, 1);
}
