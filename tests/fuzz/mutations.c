/* Seeded random changes of valid frames, as a plain program: what the fuzzers look for, in a form
 * that every run of the tests can afford and every compiler can build.
 *
 *     mutations [SEED [COUNT]]     check COUNT changed frames
 *     mutations --seeds DIR        write the frames as a corpus for the fuzzers: DIR/peer,
 * DIR/client
 */
#include "check.h"

#include "base/fatal.h"
#include "base/prng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BYTES_MAX = 4096, COUNT_DEFAULT = 100000, SEED_DEFAULT = 1 };

struct frame {
    uint8_t data[BYTES_MAX];
    size_t bytes;
};

static uint8_t random_byte(struct prng *prng)
{
    /* Headers that claim much, and the ends of ranges. */
    static const uint8_t hostile[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xc0, 0xc1, 0xc4, 0xc6,
                                      0xc9, 0xcb, 0xcf, 0xd3, 0xd9, 0xdb, 0xdd, 0xdf, 0xe0, 0xff};
    if (prng_next(prng) & 1)
        return (uint8_t)prng_next(prng);
    return hostile[prng_below(prng, sizeof hostile)];
}

static void insert(struct frame *frame, size_t at, const uint8_t *data, size_t bytes)
{
    if (bytes > BYTES_MAX - frame->bytes)
        bytes = BYTES_MAX - frame->bytes;
    memmove(frame->data + at + bytes, frame->data + at, frame->bytes - at);
    memmove(frame->data + at, data, bytes);
    frame->bytes += bytes;
}

static void erase(struct frame *frame, size_t at, size_t bytes)
{
    memmove(frame->data + at, frame->data + at + bytes, frame->bytes - at - bytes);
    frame->bytes -= bytes;
}

/* A piece of a valid frame, put in somewhere. */
static void splice(struct frame *frame, struct prng *prng, const struct buf *other)
{
    size_t from = prng_below(prng, other->bytes);
    size_t bytes = prng_between(prng, 1, other->bytes - from);
    insert(frame, prng_below(prng, frame->bytes + 1), other->data + from, bytes);
}

static void mutate(struct frame *frame, struct prng *prng, const struct buf *other)
{
    if (frame->bytes == 0)
        return;
    size_t at = prng_below(prng, frame->bytes);
    uint8_t byte = random_byte(prng);
    switch (prng_below(prng, 7)) {
    case 0:
        frame->data[at] = (uint8_t)(frame->data[at] ^ 1u << prng_below(prng, 8));
        break;
    case 1:
    case 2:
        frame->data[at] = byte;
        break;
    case 3:
        insert(frame, at, &byte, 1);
        break;
    case 4:
        erase(frame, at, prng_between(prng, 1, frame->bytes - at));
        break;
    case 5:
        splice(frame, prng, other);
        break;
    default: /* a whole hostile header */
        insert(frame, at, (const uint8_t *)"\xdd\xff\xff\xff\xff", 5);
        frame->data[at] = byte;
    }
}

static int run(uint64_t seed, uint64_t count)
{
    struct sample samples[SAMPLES_MAX];
    size_t sample_count = samples_make(samples);
    struct prng prng;
    prng_init(&prng, seed);
    uint64_t accepted = 0;
    static struct frame frame;
    for (uint64_t i = 0; i < count; i++) {
        const struct sample *sample = &samples[prng_below(&prng, sample_count)];
        ASSERT(sample->bytes->bytes <= BYTES_MAX);
        memcpy(frame.data, sample->bytes->data, sample->bytes->bytes);
        frame.bytes = sample->bytes->bytes;
        for (uint64_t changes = prng_between(&prng, 1, 4); changes > 0; changes--)
            mutate(&frame, &prng, samples[prng_below(&prng, sample_count)].bytes);
        accepted += check_bytes(sample->kind, frame.data, frame.bytes);
    }
    samples_free(samples, sample_count);
    printf("seed %" PRIu64 ": %" PRIu64 " changed frames, %" PRIu64 " accepted\n", seed, count,
           accepted);
    /* Some changes leave a frame valid and most do not: anything else means nothing was tried. */
    return accepted > 0 && accepted < count / 2 ? 0 : 1;
}

static int write_seed(const char *dir, const struct sample *sample, size_t number)
{
    bool peer = sample->kind == SAMPLE_PEER;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, peer ? "peer" : "client");
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%02zu", dir, peer ? "peer" : "client", number);
    FILE *file = fopen(path, "wb");
    if (!file) {
        perror(path);
        return 1;
    }
    if (!peer)
        fputc((int)sample->kind - SAMPLE_REQUEST, file);
    size_t written = fwrite(sample->bytes->data, 1, sample->bytes->bytes, file);
    return fclose(file) == 0 && written == sample->bytes->bytes ? 0 : 1;
}

static int write_seeds(const char *dir)
{
    struct sample samples[SAMPLES_MAX];
    size_t count = samples_make(samples);
    int failed = 0;
    for (size_t i = 0; i < count; i++)
        failed |= write_seed(dir, &samples[i], i);
    samples_free(samples, count);
    return failed;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
        return write_seeds(argv[2]);
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : SEED_DEFAULT;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : COUNT_DEFAULT;
    return run(seed, count);
}
