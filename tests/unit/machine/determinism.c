/* The same commands give the same answers and the same keys, however they are cut into batches, and
 * the answers are those of a model: an array with the rules written down once more. */
#include "rig.h"

#include "base/prng.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 30, COMMANDS = 6000 };

/* Keys are one byte, 'A' + n; a value is the number of the command that put it. */
struct model {
    uint64_t revision;
    struct {
        bool exists;
        uint64_t create, mod, version, value;
    } keys[KEYS];
};

struct step {
    struct kv_command command;
    uint8_t key, from, to;
    char value[24];
    bool garbage;
    struct buf *bytes;
    int code;                  /* what the model answers */
    struct kv_outcome outcome; /* likewise */
};

static void step_draw(struct step *step, struct prng *prng, const struct model *model, size_t n)
{
    uint64_t kind = prng_below(prng, 20);
    uint64_t key = prng_below(prng, KEYS);
    *step = (struct step){.key = (uint8_t)('A' + key)};
    snprintf(step->value, sizeof step->value, "%zu", n);
    step->garbage = kind == 0;
    step->command.opcode = kind < 12 ? KV_PUT : kind < 18 ? KV_DELETE : KV_DELETE_RANGE;
    if (kind < 18) {
        step->command.key = (struct slice){&step->key, 1};
        uint64_t which = prng_below(prng, 4);
        step->command.condition.given = which < 3;
        if (which == 1)
            step->command.condition.revision = model->keys[key].mod;
        if (which == 2)
            step->command.condition.revision = prng_below(prng, model->revision + 2);
    } else {
        step->from = (uint8_t)('A' + prng_below(prng, KEYS));
        step->to = (uint8_t)(step->from + prng_below(prng, 5));
        step->command.bounds = (struct kv_bounds){{&step->from, 1}, {&step->to, 1}, false};
    }
    if (kind < 12)
        step->command.value = text(step->value);
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, &step->command);
    step->bytes = pack_take(&pack);
    step->bytes->bytes -= step->garbage;
}

static void model_delete(struct model *model, struct step *step)
{
    size_t first = step->key - 'A', end = first + 1;
    if (step->command.opcode == KV_DELETE_RANGE) {
        first = step->from - 'A';
        end = step->to - 'A';
    }
    for (size_t i = first; i < end && i < KEYS; i++) {
        step->outcome.value += model->keys[i].exists;
        memset(&model->keys[i], 0, sizeof model->keys[i]);
    }
    model->revision += step->outcome.value > 0;
    step->outcome.revision = model->revision;
}

static void model_apply(struct model *model, struct step *step, size_t n)
{
    if (step->garbage) {
        step->code = CONCLAVE_MALFORMED;
        return;
    }
    const struct kv_condition *condition = &step->command.condition;
    if (condition->given && condition->revision != model->keys[step->key - 'A'].mod) {
        step->code = CONCLAVE_COMPARE_FAILED;
        step->outcome = (struct kv_outcome){.revision = model->revision,
                                            .value = model->keys[step->key - 'A'].mod};
        return;
    }
    if (step->command.opcode != KV_PUT) {
        model_delete(model, step);
        return;
    }
    size_t i = step->key - 'A';
    model->revision++;
    step->outcome = (struct kv_outcome){.revision = model->revision, .value = model->keys[i].mod};
    if (!model->keys[i].exists)
        model->keys[i].create = model->revision;
    model->keys[i].exists = true;
    model->keys[i].mod = model->revision;
    model->keys[i].version++;
    model->keys[i].value = n;
}

static void check_answer(const struct step *step, const struct conclave_reply_sink *sink, size_t n)
{
    cr_assert_eq(sink->code, step->code, "command %zu: %d, not %d", n, sink->code, step->code);
    if (step->garbage) {
        cr_assert_null(sink->body);
        return;
    }
    struct kv_outcome outcome;
    cr_assert_eq(kv_outcome_decode(sink->body->data, sink->body->bytes, &outcome), CONCLAVE_OK);
    cr_assert_eq(outcome.revision, step->outcome.revision, "command %zu", n);
    cr_assert_eq(outcome.value, step->outcome.value, "command %zu", n);
}

/* Applies all steps in batches of up to `largest` and checks every answer; some batches are applied
 * without anybody to answer to, as followers do. */
static char *run(struct step *steps, size_t largest, uint64_t seed)
{
    struct rig *rig = rig_create();
    struct prng prng;
    prng_init(&prng, seed);
    struct conclave_command *commands = calloc(largest, sizeof *commands);
    struct conclave_reply_sink *sinks = calloc(largest, sizeof *sinks);
    struct conclave_reply_sink **replies = calloc(largest, sizeof(struct conclave_reply_sink *));
    for (size_t done = 0; done < COMMANDS;) {
        size_t count = 1 + prng_below(&prng, largest);
        if (count > COMMANDS - done)
            count = COMMANDS - done;
        for (size_t i = 0; i < count; i++) {
            rig->index += 1 + prng_below(&prng, 2);
            commands[i] = (struct conclave_command){rig->index, 1, steps[done + i].bytes->data,
                                                    steps[done + i].bytes->bytes};
            replies[i] = &sinks[i];
        }
        bool asked = prng_below(&prng, 8) > 0;
        cr_assert_eq(rig->ops->apply(rig->kv, commands, count, rig->index, asked ? replies : NULL),
                     CONCLAVE_OK);
        for (size_t i = 0; asked && i < count; i++) {
            check_answer(&steps[done + i], &sinks[i], done + i);
            reply_sink_clear(&sinks[i]);
        }
        done += count;
        if (prng_below(&prng, 50) == 0) { /* a restart */
            uint64_t index = rig->index;
            rig_close(rig);
            cr_assert_eq(rig_open(rig), index);
        }
    }
    char *dump = rig_dump(rig);
    free(commands);
    free(sinks);
    free(replies);
    rig_destroy(rig);
    return dump;
}

static char *model_dump(const struct model *model)
{
    char *dump = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&dump, &bytes);
    fprintf(out, "%lu", model->revision);
    for (size_t i = 0; i < KEYS; i++)
        if (model->keys[i].exists)
            fprintf(out, " %c=%lu(%lu,%lu,%lu)", (char)('A' + i), model->keys[i].value,
                    model->keys[i].create, model->keys[i].mod, model->keys[i].version);
    fclose(out);
    return dump;
}

Test(determinism, batches_do_not_show, .timeout = 1200)
{
    struct model model = {0};
    struct step *steps = calloc(COMMANDS, sizeof *steps);
    struct prng prng;
    prng_init(&prng, 3);
    size_t codes[CONCLAVE_MALFORMED + 1] = {0};
    for (size_t n = 0; n < COMMANDS; n++) {
        step_draw(&steps[n], &prng, &model, n);
        model_apply(&model, &steps[n], n);
        codes[steps[n].code]++;
    }
    cr_assert(codes[CONCLAVE_OK] > 1000 && codes[CONCLAVE_COMPARE_FAILED] > 1000 &&
              codes[CONCLAVE_MALFORMED] > 100);
    char *expected = model_dump(&model);
    const size_t largest[] = {1, 7, 64, 1000};
    for (size_t i = 0; i < sizeof largest / sizeof *largest; i++) {
        char *dump = run(steps, largest[i], i + 1);
        cr_assert_str_eq(dump, expected, "batches of up to %zu", largest[i]);
        free(dump);
    }
    free(expected);
    for (size_t n = 0; n < COMMANDS; n++)
        buf_unref(steps[n].bytes);
    free(steps);
}
