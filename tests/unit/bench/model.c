#include "bench/model.h"

#include "bench/model_command.h"
#include "bench/model_points.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static const struct model_case here = {
    .clients = 256, .sync_us = 250, .size = 128, .nodes = 3, .cores = 2};

static struct model_answer predict(struct model_case where)
{
    return model_predict(&model_prior, &where);
}

Test(model, one_client_waits_for_each_operation_alone)
{
    struct model_case where = here;
    where.clients = 1;
    struct model_answer one = predict(where);
    cr_assert_eq(one.batch, 1);
    cr_assert_float_eq(one.ops_per_s * one.p50_us / model_prior.of[MODEL_MIDDLE], 1e6, 1);
    cr_assert_float_eq(one.p50_us / model_prior.of[MODEL_MIDDLE],
                       one.fixed_us + one.disk_us + one.processor_us, 0.01,
                       "there is no batch under way that it could meet");
}

Test(model, outstanding_operations_are_the_clients)
{
    for (double clients = 2; clients < 5000; clients *= 3) {
        struct model_case where = here;
        where.clients = clients;
        struct model_answer answer = predict(where);
        double mean_us = answer.p50_us / model_prior.of[MODEL_MIDDLE];
        cr_assert_float_eq(answer.ops_per_s * mean_us / 1e6, clients, clients / 1000);
        if (answer.batch > 1.001)
            cr_assert_float_eq(answer.batch / answer.cycle_us * 1e6, answer.ops_per_s,
                               answer.ops_per_s / 1000, "a batch a cycle");
    }
}

Test(model, more_clients_end_at_what_the_processors_can_do)
{
    struct model_case where = here;
    double before = 0, per_op_us = model_prior.of[MODEL_OP_US] +
                                   2 * model_prior.of[MODEL_FOLLOW_US] +
                                   3 * where.size * model_prior.of[MODEL_BYTE_NS] / 1e3;
    for (double clients = 1; clients < 1e6; clients *= 4) {
        where.clients = clients;
        struct model_answer answer = predict(where);
        cr_assert_gt(answer.ops_per_s, before);
        before = answer.ops_per_s;
    }
    cr_assert_float_eq(before, 2 / per_op_us * 1e6, before / 50);
    cr_assert_str_eq(predict(where).bottleneck, "processors");
}

Test(model, slower_disks_and_longer_ways_cost_what_they_take)
{
    struct model_case where = here;
    where.clients = 1;
    struct model_answer near = predict(where);
    where.rtt_us = where.client_rtt_us = 30000;
    struct model_answer far = predict(where);
    cr_assert_float_eq((far.p50_us - near.p50_us) / model_prior.of[MODEL_MIDDLE], 60000, 1);
    cr_assert_str_eq(far.bottleneck, "distance");
    where = here;
    where.sync_us = 10000;
    struct model_answer slow = predict(where);
    cr_assert_gt(slow.batch, predict(here).batch, "larger batches make up for some of it");
    cr_assert_str_eq(slow.bottleneck, "disk");
}

Test(model, a_rate_is_carried_or_not)
{
    struct model_case where = here;
    double most = predict((struct model_case){
                              .clients = 1e6, .sync_us = 250, .size = 128, .nodes = 3, .cores = 2})
                      .ops_per_s;
    where.rate = most / 2;
    struct model_answer half = predict(where);
    cr_assert(half.carried);
    cr_assert_float_eq(half.ops_per_s, most / 2, 1);
    where.rate = 100;
    cr_assert_eq(predict(where).batch, 1);
    where.rate = most * 1.2;
    struct model_answer over = predict(where);
    cr_assert_not(over.carried);
    cr_assert_float_eq(over.ops_per_s, most, most / 20);
}

/* Points that a model makes of itself. */
static size_t invent(const struct model *truth, struct model_point *points)
{
    static const struct model_case cases[] = {
        {.clients = 1, .size = 128, .nodes = 3},     {.clients = 4, .size = 128, .nodes = 3},
        {.clients = 16, .size = 128, .nodes = 3},    {.clients = 64, .size = 128, .nodes = 3},
        {.clients = 256, .size = 128, .nodes = 3},   {.clients = 1000, .size = 128, .nodes = 3},
        {.clients = 64, .size = 16, .nodes = 3},     {.clients = 64, .size = 4096, .nodes = 3},
        {.clients = 16, .size = 65536, .nodes = 3},  {.clients = 1, .size = 128, .nodes = 1},
        {.clients = 64, .size = 128, .nodes = 1},    {.clients = 1, .size = 128, .nodes = 5},
        {.clients = 64, .size = 128, .nodes = 5},    {.clients = 1000, .size = 16384, .nodes = 3},
        {.clients = 1, .size = 1048576, .nodes = 3},
    };
    size_t count = sizeof cases / sizeof cases[0];
    for (size_t i = 0; i < count; i++) {
        points[i].where = cases[i];
        points[i].where.sync_us = 300;
        points[i].where.cores = 2;
        struct model_answer answer = model_predict(truth, &points[i].where);
        points[i].ops_per_s = answer.ops_per_s;
        points[i].p50_us = answer.p50_us;
        points[i].p99_us = answer.p99_us;
    }
    return count;
}

static const struct model truth = {
    .of = {[MODEL_CLIENT_US] = 220,
           [MODEL_HOP_US] = 90,
           [MODEL_SYNC] = 1.6,
           [MODEL_SHARE] = 0.3,
           [MODEL_OP_US] = 5,
           [MODEL_FOLLOW_US] = 2,
           [MODEL_BATCH_US] = 25,
           [MODEL_BYTE_NS] = 2.5,
           [MODEL_DISK_NS] = 3,
           [MODEL_MIDDLE] = 0.9},
    .tail_share = 0.7,
    .tail_cycle = 1.3,
};

Test(model, that_made_the_points_is_found_again)
{
    struct model_point points[32];
    struct model found;
    size_t count = invent(&truth, points);
    cr_assert(model_fit(points, count, &found));
    for (size_t i = 0; i < count; i++) {
        struct model_answer answer = model_predict(&found, &points[i].where);
        cr_assert_float_eq(answer.ops_per_s / points[i].ops_per_s, 1, 0.02, "point %zu", i);
        cr_assert_float_eq(answer.p50_us / points[i].p50_us, 1, 0.02, "point %zu", i);
        cr_assert_float_eq(answer.p99_us / points[i].p99_us, 1, 0.03, "point %zu", i);
    }
    /* Those that these points tell apart. */
    static const enum model_parameter told[] = {MODEL_CLIENT_US, MODEL_OP_US, MODEL_FOLLOW_US,
                                                MODEL_BYTE_NS, MODEL_MIDDLE};
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
        cr_assert_float_eq(found.of[told[i]] / truth.of[told[i]], 1, 0.25, "%s: %g",
                           model_parameter_name(told[i]), found.of[told[i]]);
    cr_assert_float_eq(found.tail_share, truth.tail_share, 0.1);
    cr_assert_float_eq(found.tail_cycle, truth.tail_cycle, 0.1);
}

Test(model, says_what_it_was_not_fitted_to)
{
    struct model_point points[32];
    struct model found;
    struct model_answer left_out[32];
    size_t count = invent(&truth, points);
    cr_assert(model_fit(points, count, &found));
    struct model_case where = points[4].where;
    where.sync_us = 900;
    double wanted = model_predict(&truth, &where).ops_per_s;
    cr_assert_float_eq(model_predict(&found, &where).ops_per_s / wanted, 1, 0.1);
    cr_assert(model_leave_out(points, count, left_out));
    for (size_t i = 2; i < 5; i++)
        cr_assert_float_eq(left_out[i].ops_per_s / points[i].ops_per_s, 1, 0.05, "point %zu", i);
}

Test(model, is_not_thrown_by_points_that_agree_on_nothing)
{
    struct model_point points[2] = {{.where = here, .ops_per_s = 10, .p50_us = 10, .p99_us = 20},
                                    {.where = here, .ops_per_s = 1e6, .p50_us = 1e6, .p99_us = 1}};
    struct model found;
    cr_assert(model_fit(points, 2, &found));
    for (int i = 0; i < MODEL_PARAMETERS; i++)
        cr_assert(isfinite(found.of[i]) && found.of[i] > 0);
    cr_assert_not(model_fit(points, 0, &found));
    struct model_answer answers[2];
    cr_assert_not(model_leave_out(points, 1, answers));
}

Test(model, cases_are_read_in_words)
{
    struct model_case where = here;
    char why[256];
    cr_assert(model_case_parse(&where, "clients=64,fsync=2ms,size=1KiB,nodes=5", why, sizeof why));
    cr_assert_eq(where.clients, 64);
    cr_assert_eq(where.sync_us, 2000);
    cr_assert_eq(where.size, 1024);
    cr_assert_eq(where.nodes, 5);
    cr_assert_eq(where.cores, 2, "what is not named stays");
    cr_assert_not(where.apart);
    cr_assert(model_case_parse(&where, "rtt=30ms,client-rtt=500", why, sizeof why));
    cr_assert_eq(where.rtt_us, 30000);
    cr_assert_eq(where.client_rtt_us, 500);
    cr_assert(where.apart, "at a distance each node has a machine of its own");
    static const char *const wrong[] = {"clients",  "clients=0", "nodes=10", "fsync=x",
                                        "fsync=-1", "speed=3",   "rtt=1h",   "size=2MiB"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert_not(model_case_parse(&where, wrong[i], why, sizeof why), "%s", wrong[i]);
        cr_assert_not_null(strstr(why, "--predict"));
    }
}

static struct model_points take(const char *text, bool *ret_good)
{
    struct model_points points = {0};
    char why[256];
    json_t *report = json_loads(text, 0, NULL);
    cr_assert_not_null(report);
    *ret_good = model_points_take(&points, report, why, sizeof why);
    json_decref(report);
    return points;
}

#define REPORT                                                                                    \
    "{\"environment\":{\"cores\":2,\"fdatasync_p50_us\":210.5},\"targets\":[{\"name\":\"etcd\"}," \
    "{\"name\":\"self\",\"nodes\":5}],\"results\":[{\"workload\":\"put\",\"target\":\"self\","    \
    "\"clients\":8,\"inflight\":2,\"value_size\":64,\"ops_per_s\":1000.5,\"p50_us\":900,"         \
    "\"p99_us\":2000,\"errors\":0},{\"workload\":\"get\",\"target\":\"self\"},"                   \
    "{\"workload\":\"put\",\"target\":\"etcd\"},"                                                 \
    "{\"workload\":\"put\",\"target\":\"self\",\"not_measured\":\"why\"}]}"

Test(model, points_are_taken_from_reports)
{
    bool good;
    struct model_points points = take(REPORT, &good);
    cr_assert(good);
    cr_assert_eq(points.count, 1);
    cr_assert_eq(points.left_out, 3);
    cr_assert_eq(points.of[0].where.clients, 16);
    cr_assert_eq(points.of[0].where.nodes, 5);
    cr_assert_eq(points.of[0].where.size, 64);
    cr_assert_float_eq(points.of[0].where.sync_us, 210.5, 1e-9);
    cr_assert_float_eq(points.of[0].ops_per_s, 1000.5, 1e-9);
    model_points_deinit(&points);
    points = take("{\"reports\":[" REPORT "," REPORT "]}", &good);
    cr_assert(good);
    cr_assert_eq(points.count, 2);
    model_points_deinit(&points);
    points = take("{\"key\":1}", &good);
    cr_assert_not(good);
    model_points_deinit(&points);
}
