/* Fitting of bench/model.h: Levenberg (1944) and Marquardt (1963), in the logarithms of the
 * parameters, which keeps them above 0 and makes errors relative. */
#include "bench/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 300, EACH = 2 /* residuals of a point */ };

/* How far, in logarithms, the prior lets a parameter go before that weighs as much as an error of
 * 1 % in one figure. */
static const double PRIOR_WIDTH = 60;
/* From where on, in logarithms, an error counts as an accident of the measurement, and less. */
static const double ACCIDENT = 0.25;
static const double DIFFERENCE = 1e-5;

struct fit {
    const struct model_point *points;
    size_t count, residuals;
    double *now, *moved;
    double *slopes; /* a row of MODEL_PARAMETERS for each residual */
};

static void parameters_of(const double *logs, double *of)
{
    for (int i = 0; i < MODEL_PARAMETERS; i++)
        of[i] = exp(logs[i]);
}

/* Of the middle too, though it is never far from 1: it must not make up for the rest. */
static double prior_weight(int parameter)
{
    return (parameter == MODEL_MIDDLE ? 10 : 1) / PRIOR_WIDTH;
}

static double tempered(double error)
{
    return ACCIDENT * asinh(error / ACCIDENT);
}

static double residuals(const struct fit *fit, const double *logs, double *ret)
{
    struct model model;
    double sum = 0;
    parameters_of(logs, model.of);
    model.tail_share = model.tail_cycle = 0;
    for (size_t i = 0; i < fit->count; i++) {
        const struct model_point *point = &fit->points[i];
        struct model_answer answer = model_predict(&model, &point->where);
        double late = answer.carried ? log(answer.p50_us / point->p50_us) : 10;
        ret[EACH * i] = tempered(log(answer.ops_per_s / point->ops_per_s));
        ret[EACH * i + 1] = tempered(late);
    }
    for (int i = 0; i < MODEL_PARAMETERS; i++)
        ret[EACH * fit->count + (size_t)i] = (logs[i] - log(model_prior.of[i])) * prior_weight(i);
    for (size_t i = 0; i < fit->residuals; i++)
        sum += ret[i] * ret[i];
    return sum;
}

/* Solves a x = b in place by elimination with pivots; a is regular: the prior sees to that. */
static void solve(double a[MODEL_PARAMETERS][MODEL_PARAMETERS], double *b)
{
    enum { N = MODEL_PARAMETERS };
    for (int column = 0; column < N; column++) {
        int best = column;
        for (int row = column + 1; row < N; row++)
            if (fabs(a[row][column]) > fabs(a[best][column]))
                best = row;
        for (int i = 0; i < N && best != column; i++) {
            double swap = a[column][i];
            a[column][i] = a[best][i];
            a[best][i] = swap;
        }
        double swap = b[column];
        b[column] = b[best];
        b[best] = swap;
        for (int row = column + 1; row < N; row++) {
            double factor = a[row][column] / a[column][column];
            for (int i = column; i < N; i++)
                a[row][i] -= factor * a[column][i];
            b[row] -= factor * b[column];
        }
    }
    for (int row = N - 1; row >= 0; row--) {
        for (int i = row + 1; i < N; i++)
            b[row] -= a[row][i] * b[i];
        b[row] /= a[row][row];
    }
}

/* The step that makes the residuals smaller if they are straight, the shorter the greater `damping`
 * is. */
static void step(const struct fit *fit, double damping, double *ret)
{
    double square[MODEL_PARAMETERS][MODEL_PARAMETERS] = {{0}};
    memset(ret, 0, MODEL_PARAMETERS * sizeof *ret);
    for (size_t r = 0; r < fit->residuals; r++) {
        const double *slope = &fit->slopes[r * MODEL_PARAMETERS];
        for (int i = 0; i < MODEL_PARAMETERS; i++) {
            ret[i] -= slope[i] * fit->now[r];
            for (int j = 0; j < MODEL_PARAMETERS; j++)
                square[i][j] += slope[i] * slope[j];
        }
    }
    for (int i = 0; i < MODEL_PARAMETERS; i++)
        square[i][i] += damping * (square[i][i] + 1e-6);
    solve(square, ret);
}

static void look_for_slopes(const struct fit *fit, const double *logs)
{
    double beside[MODEL_PARAMETERS];
    for (int i = 0; i < MODEL_PARAMETERS; i++) {
        memcpy(beside, logs, sizeof beside);
        beside[i] += DIFFERENCE;
        residuals(fit, beside, fit->moved);
        for (size_t r = 0; r < fit->residuals; r++)
            fit->slopes[r * MODEL_PARAMETERS + (size_t)i] =
                (fit->moved[r] - fit->now[r]) / DIFFERENCE;
    }
}

static void descend(const struct fit *fit, double *logs)
{
    double damping = 1, sum = residuals(fit, logs, fit->now);
    for (int i = 0; i < STEPS && damping < 1e12; i++) {
        double by[MODEL_PARAMETERS], there[MODEL_PARAMETERS], length = 0;
        look_for_slopes(fit, logs);
        step(fit, damping, by);
        for (int j = 0; j < MODEL_PARAMETERS; j++) {
            by[j] = fmax(-1, fmin(1, by[j]));
            there[j] = logs[j] + by[j];
            length += by[j] * by[j];
        }
        double better = residuals(fit, there, fit->moved);
        if (better < sum) {
            memcpy(logs, there, sizeof there);
            sum = residuals(fit, logs, fit->now);
            damping = damping / 3;
            if (length < 1e-14)
                return;
        } else {
            damping *= 4;
        }
    }
}

/* The tail follows from what is fitted: least squares of two numbers that cannot be below 0. */
static void fit_tail(const struct model_point *points, size_t count, struct model *model)
{
    double aa = 0, ab = 0, bb = 0, ay = 0, by = 0;
    model->tail_share = model->tail_cycle = 0;
    for (size_t i = 0; i < count; i++) {
        struct model_answer answer = model_predict(model, &points[i].where);
        if (!answer.carried || points[i].p99_us <= 0)
            continue;
        double a = answer.p50_us / points[i].p99_us, b = answer.cycle_us / points[i].p99_us;
        double y = 1 - a;
        aa += a * a;
        ab += a * b;
        bb += b * b;
        ay += a * y;
        by += b * y;
    }
    double determinant = aa * bb - ab * ab;
    double share = determinant > 1e-12 ? (ay * bb - by * ab) / determinant : -1;
    double cycle = determinant > 1e-12 ? (by * aa - ay * ab) / determinant : -1;
    if (share < 0) {
        share = 0;
        cycle = bb > 0 ? fmax(0, by / bb) : 0;
    } else if (cycle < 0) {
        cycle = 0;
        share = aa > 0 ? fmax(0, ay / aa) : 0;
    }
    model->tail_share = share;
    model->tail_cycle = cycle;
}

bool model_fit(const struct model_point *points, size_t count, struct model *ret)
{
    struct fit fit = {
        .points = points, .count = count, .residuals = EACH * count + MODEL_PARAMETERS};
    double logs[MODEL_PARAMETERS];
    fit.now = calloc(fit.residuals, sizeof *fit.now);
    fit.moved = calloc(fit.residuals, sizeof *fit.moved);
    fit.slopes = calloc(fit.residuals * MODEL_PARAMETERS, sizeof *fit.slopes);
    bool good = count > 0 && fit.now && fit.moved && fit.slopes;
    if (good) {
        for (int i = 0; i < MODEL_PARAMETERS; i++)
            logs[i] = log(model_prior.of[i]);
        descend(&fit, logs);
        parameters_of(logs, ret->of);
        fit_tail(points, count, ret);
    }
    free(fit.now);
    free(fit.moved);
    free(fit.slopes);
    return good;
}

bool model_leave_out(const struct model_point *points, size_t count, struct model_answer *predicted)
{
    struct model_point *others = calloc(count + 1, sizeof *others);
    bool good = others && count > 1;
    for (size_t out = 0; good && out < count; out++) {
        struct model model;
        memcpy(others, points, out * sizeof *points);
        memcpy(others + out, points + out + 1, (count - out - 1) * sizeof *points);
        good = model_fit(others, count - 1, &model);
        if (good)
            predicted[out] = model_predict(&model, &points[out].where);
    }
    free(others);
    return good;
}
