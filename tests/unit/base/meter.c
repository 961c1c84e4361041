#include "base/buf.h"

#include <criterion/criterion.h>
#include <pthread.h>

Test(meter, counts_here_and_above)
{
    struct meter *all = meter_create(NULL);
    struct meter *a = meter_create(all), *b = meter_create(all);
    meter_take(a, 100);
    meter_take(b, 7);
    cr_assert_eq(meter_held(a), 100);
    cr_assert_eq(meter_held(b), 7);
    cr_assert_eq(meter_held(all), 107);
    cr_assert_eq(meter_above(a), all);
    cr_assert_null(meter_above(all));
    meter_give_back(a, 100);
    cr_assert_eq(meter_held(a), 0);
    cr_assert_eq(meter_held(all), 7);
    meter_give_back(b, 7);
    meter_unref(a);
    meter_unref(b);
    meter_unref(all);
}

Test(meter, counts_a_buf_until_its_last_reference_is_gone)
{
    struct meter *all = meter_create(NULL);
    struct meter *meter = meter_create(all);
    struct buf *buf = buf_create(5000);
    buf_charge(buf, meter);
    cr_assert_eq(meter_held(meter), 5000);
    buf_unref(buf_ref(buf));
    cr_assert_eq(meter_held(meter), 5000);
    buf_unref(buf);
    cr_assert_eq(meter_held(meter), 0);
    cr_assert_eq(meter_held(all), 0);
    meter_unref(meter);
    meter_unref(all);
}

Test(meter, lives_as_long_as_what_it_counts)
{
    struct meter *all = meter_create(NULL);
    struct meter *meter = meter_create(all);
    struct buf *buf = buf_create(5000);
    buf_charge(buf, meter);
    meter_unref(meter); /* the buf has the last reference */
    cr_assert_eq(meter_held(all), 5000);
    buf_unref(buf);
    cr_assert_eq(meter_held(all), 0);
    meter_unref(all);
    meter_unref(NULL);
}

enum { THREADS = 4, ROUNDS = 5000 };

static void *charge_and_free(void *arg)
{
    struct meter *meter = meter_create(arg);
    for (size_t i = 0; i < ROUNDS; i++) {
        struct buf *buf = buf_create(i % 100);
        buf_charge(buf, meter);
        buf_unref(buf);
    }
    size_t held = meter_held(meter);
    meter_unref(meter);
    cr_assert_eq(held, 0);
    return NULL;
}

Test(meter, several_threads_lose_no_byte)
{
    struct meter *all = meter_create(NULL);
    meter_take(all, 1);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, charge_and_free, all), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(meter_held(all), 1);
    meter_give_back(all, 1);
    meter_unref(all);
}
