/* Every valid frame, cut at every byte and with every byte changed to every value. What must hold
 * of whatever is accepted is checked by check_bytes, which aborts. */
#include "../../fuzz/check.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(hostile, samples_are_valid)
{
    struct sample samples[SAMPLES_MAX];
    size_t count = samples_make(samples);
    cr_assert_gt(count, 10);
    for (size_t i = 0; i < count; i++) {
        const struct buf *bytes = samples[i].bytes;
        cr_assert(check_bytes(samples[i].kind, bytes->data, bytes->bytes), "%s", samples[i].name);
    }
    samples_free(samples, count);
}

Test(hostile, every_prefix_is_refused)
{
    struct sample samples[SAMPLES_MAX];
    size_t count = samples_make(samples);
    for (size_t i = 0; i < count; i++) {
        const struct sample *sample = &samples[i];
        for (size_t bytes = 0; bytes < sample->bytes->bytes; bytes++)
            cr_assert_not(check_bytes(sample->kind, sample->bytes->data, bytes),
                          "%s, cut to %zu bytes", sample->name, bytes);
    }
    samples_free(samples, count);
}

Test(hostile, trailing_bytes_are_refused)
{
    struct sample samples[SAMPLES_MAX];
    size_t count = samples_make(samples);
    for (size_t i = 0; i < count; i++) {
        const struct buf *bytes = samples[i].bytes;
        uint8_t *longer = calloc(1, bytes->bytes + 1);
        memcpy(longer, bytes->data, bytes->bytes);
        cr_assert_not(check_bytes(samples[i].kind, longer, bytes->bytes + 1), "%s",
                      samples[i].name);
        free(longer);
    }
    samples_free(samples, count);
}

Test(hostile, every_byte_may_become_any_other, .timeout = 1200)
{
    struct sample samples[SAMPLES_MAX];
    size_t count = samples_make(samples);
    size_t tried = 0, accepted = 0;
    for (size_t i = 0; i < count; i++) {
        struct buf *bytes = samples[i].bytes;
        for (size_t at = 0; at < bytes->bytes; at++) {
            uint8_t right = bytes->data[at];
            for (unsigned change = 1; change < 256; change++) {
                bytes->data[at] = (uint8_t)(right ^ change);
                accepted += check_bytes(samples[i].kind, bytes->data, bytes->bytes);
                tried++;
            }
            bytes->data[at] = right;
        }
    }
    samples_free(samples, count);
    cr_assert_gt(accepted, 0);
    cr_assert_lt(accepted, tried);
}
