#include "base/buf.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

static atomic_uint released;

static void count_release(struct buf *buf)
{
    (void)buf;
    atomic_fetch_add(&released, 1);
}

Test(buf, starts_with_one_reference_and_room_for_its_bytes)
{
    struct buf *buf = buf_create(1000);
    cr_assert_eq(buf->bytes, 1000);
    cr_assert_eq(atomic_load(&buf->refs), 1);
    memset(buf->data, 0xa5, buf->bytes);
    cr_assert_eq(buf->data[999], 0xa5);
    buf_unref(buf);
}

Test(buf, holds_a_copy_of_the_bytes)
{
    char text[] = "payload";
    struct buf *buf = buf_copy(text, sizeof text);
    text[0] = 'X';
    cr_assert_str_eq((const char *)buf->data, "payload");
    buf_unref(buf);
}

Test(buf, may_be_empty)
{
    struct buf *buf = buf_copy(NULL, 0);
    cr_assert_eq(buf->bytes, 0);
    buf_unref(buf);
    buf_unref(NULL);
}

Test(buf, is_released_by_the_last_reference_only)
{
    struct buf buf = {.bytes = 0, .release = count_release};
    atomic_init(&buf.refs, 1);
    cr_assert_eq(buf_ref(&buf), &buf);
    buf_unref(&buf);
    cr_assert_eq(atomic_load(&released), 0);
    buf_unref(&buf);
    cr_assert_eq(atomic_load(&released), 1);
}

static void *ref_and_unref(void *arg)
{
    struct buf *buf = arg;
    for (int i = 0; i < 20000; i++)
        buf_unref(buf_ref(buf));
    buf_unref(buf);
    return NULL;
}

Test(buf, counts_references_of_several_threads)
{
    enum { THREADS = 4 };
    struct buf buf = {.bytes = 0, .release = count_release};
    atomic_init(&buf.refs, 1);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        buf_ref(&buf);
        cr_assert_eq(pthread_create(&threads[i], NULL, ref_and_unref, &buf), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(atomic_load(&buf.refs), 1);
    cr_assert_eq(atomic_load(&released), 0);
    buf_unref(&buf);
    cr_assert_eq(atomic_load(&released), 1);
}
