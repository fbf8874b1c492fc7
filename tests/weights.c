/* SPDX-License-Identifier: MIT-0
 *
 * The weights that the fused form returns: rows sum to 1 within 16 u; each weight is in [0, 1],
 * and +0 if masked; asking for them (or for lse) changes no bit of the output; their bits depend
 * neither on where they are stored nor on what else is asked for; and raw scores are those of
 * attn_scores.
 */
#include "check/harness.h"

#include <math.h>
#include <stdio.h>

static ref_real unit(attn_dtype type)
{
    return type == ATTN_F64 ? (ref_real)1.1102230246251565e-16 : (ref_real)5.9604644775390625e-8;
}

/* The largest distance of a row's sum from 1, in u; infinite if a weight is not in [0, 1]. */
static double sum_error(const attn_array *w)
{
    const size_t batch = ref_length(w, 4), heads = ref_length(w, 3), rows = ref_length(w, 2), keys = ref_length(w, 1);
    const ref_real u = unit(w->dtype);
    double worst = 0;
    for (size_t b = 0; b < batch; b++)
        for (size_t h = 0; h < heads; h++)
            for (size_t i = 0; i < rows; i++) {
                ref_sum sum = {0, 0};
                for (size_t j = 0; j < keys; j++) {
                    const ref_real weight = ref_get(w, b, h, i, j);
                    if (!(weight >= 0 && weight <= 1) || signbit(weight)) return (double)INFINITY;
                    ref_add(&sum, weight);
                }
                worst = fmax(worst, fabs((double)((sum.sum - 1 + sum.rest) / u)));
            }
    return worst;
}

static void try_shape(const test_shape *shape, double deviation, int causal)
{
    test_rng rng = {shape->kv_len};
    attn_desc d = test_problem(shape, &rng), bare = d;
    char name[80];
    attn_array steps = test_copy(&d.scores);
    double error;
    int pass;
    snprintf(name, sizeof name, "%s, %zu x %zu, deviation %g%s", attn_dtype_name(shape->type), shape->q_len,
             shape->kv_len, deviation, causal ? ", causal" : "");
    test_fill_normal(&d.q, &rng, deviation);
    bare.out = test_copy(&d.out);
    bare.scores = bare.lse = test_absent;
    d.causal = bare.causal = causal;
    d.align = bare.align = ATTN_ALIGN_LOWER_RIGHT;
    pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    error = sum_error(&d.scores);
    if (!test_ok(pass && error <= 16, "%s: rows sum to 1 within 16 u (%.1f)", name, error)) return;
    pass = test_status(test_forward(&bare, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same(&bare.out, &d.out);
    test_ok(pass, "%s: the output does not depend on asking for weights", name);
    d.stage = ATTN_STAGE_RAW;
    d.causal = 0;
    pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
           test_status(test_scores(&d.q, &d.k, 0, &steps, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    test_ok(pass && test_same(&steps, &d.scores), "%s: raw scores are those of attn_scores", name);
    test_release();
}

/* Rows for which a serial sum in float32 has an error of 3 %: one weight of 1 and 2^20 weights
 * of 2^-25; and rows of equal weights. */
enum { ONE_LARGE, UNIFORM, LONG_ROWS };
static const char *const long_names[LONG_ROWS] = {"one large", "all equal"};

typedef struct long_rows {
    attn_desc desc;         /* k is the scores, with a head for each kind of row; v is 1 */
    attn_array lines, done; /* the same scores, with a column for each kind of row */
} long_rows;

static attn_status call_forward(const void *context, attn_exec run)
{
    const long_rows *l = context;
    return test_forward(&l->desc, run);
}

static attn_status call_in_parts(const void *context, attn_exec run)
{
    const long_rows *l = context;
    return test_forward(&l->desc, test_shuffled(run.path, 3));
}

static attn_status call_across(const void *context, attn_exec run)
{
    const long_rows *l = context;
    return test_softmax(&l->lines, 0, &l->done, run);
}

static attn_status call_along(const void *context, attn_exec run)
{
    const long_rows *l = context;
    const attn_array rows = attn_array_swap(l->desc.k, 2, 3);
    return test_softmax(&rows, -1, &l->desc.scores, run);
}

/* A block of the lowest numbers makes the whole line be computed in double. */
static void try_long_lines_in_double(attn_dtype type)
{
    const size_t n = (size_t)1 << 20;
    const attn_array x = test_2d(type, 1, n);
    double error;
    test_fill(&x, -17.3); /* its exp has many significant bits, so that each addition rounds the same way */
    ref_set(&x, 0, 0, 0, 12345, 0);
    for (size_t j = 1024; j < 1536; j++)
        ref_set(&x, 0, 0, 0, j, type == ATTN_F64 ? -1.7976931348623157e308 : -3.4028234663852886e38);
    error = test_status(test_softmax(&x, 1, &x, test_on(ATTN_PATH_AUTO)), ATTN_OK) ? sum_error(&x) : (double)INFINITY;
    test_ok(error <= 16, "%s, 2^20 keys, one large, a block of the lowest: weights sum to 1 within 16 u (%.2f)",
            attn_dtype_name(type), error);
    test_release();
}

/* The log-sum-exp of scores, and the error that the computed one may have: 16 u of the sum,
 * 2.5 ulp of the logarithm, and one rounding. */
static ref_bounds long_lse(const attn_array *k, size_t head)
{
    const size_t n = ref_length(k, 2);
    const ref_real u = unit(k->dtype), in_double = unit(ATTN_F64);
    ref_sum sum = {0, 0};
    ref_real max = ref_get(k, 0, head, 0, 0), log_sum, error;
    ref_bounds lse;
    for (size_t j = 1; j < n; j++) max = ref_get(k, 0, head, j, 0) > max ? ref_get(k, 0, head, j, 0) : max;
    for (size_t j = 0; j < n; j++) ref_add(&sum, (ref_real)expl((long double)(ref_get(k, 0, head, j, 0) - max)));
    log_sum = (ref_real)logl((long double)(sum.sum + sum.rest));
    error = 16 * u + 5 * in_double * log_sum + u * (ref_real)fabsl((long double)(max + log_sum));
    lse.value = max + log_sum;
    lse.low = lse.value - error;
    lse.high = lse.value + error;
    return lse;
}

static void try_long_rows(attn_dtype type)
{
    const test_shape shape = {type, 1, LONG_ROWS, LONG_ROWS, 1, (size_t)1 << 20, 1, 1};
    static const struct {
        const char *name;
        test_call run;
    } calls[] = {{"fused", call_forward},
                 {"fused, in parts", call_in_parts},
                 {"softmax of rows", call_along},
                 {"softmax of columns", call_across}};
    const double u = (double)unit(type);
    test_rng rng = {0};
    long_rows l;
    l.desc = test_problem(&shape, &rng);
    l.desc.scale = 1;
    test_fill(&l.desc.q, 1);
    test_fill(&l.desc.v, 1);
    l.lines = test_2d(type, shape.kv_len, LONG_ROWS);
    l.done = test_2d(type, shape.kv_len, LONG_ROWS);
    for (size_t j = 0; j < shape.kv_len; j++)
        for (size_t kind = 0; kind < LONG_ROWS; kind++) {
            const double x = kind == UNIFORM ? 3.25 : j == 12345 ? 0 : -25 * log(2.0);
            ref_set(&l.desc.k, 0, kind, j, 0, x);
            ref_set(&l.lines, 0, 0, j, kind, x);
        }
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
        const attn_array columns = attn_array_swap(l.done, 0, 1),
                         *w = calls[c].run == call_across ? &columns : &l.desc.scores;
        const attn_array *outputs[3];
        const size_t count = calls[c].run == call_along || calls[c].run == call_across ? 1 : 3;
        int same;
        outputs[0] = calls[c].run == call_across ? &l.done : &l.desc.scores;
        outputs[1] = &l.desc.out;
        outputs[2] = &l.desc.lse;
        if (!test_ok(test_status(test_all_paths(calls[c].run, &l, outputs, count, &same), ATTN_OK) && same,
                     "%s, 2^20 keys, %s: the same bits on every path", attn_dtype_name(type), calls[c].name))
            continue;
        for (size_t kind = 0; kind < LONG_ROWS; kind++) {
            const attn_array row = test_part(w, calls[c].run == call_across ? 2 : 3, kind, 1);
            const double error = sum_error(&row);
            test_ok(error <= 16, "%s, 2^20 keys, %s, %s: weights sum to 1 within 16 u (%.2f)", attn_dtype_name(type),
                    long_names[kind], calls[c].name, error);
            if (count == 3) {
                const ref_bounds lse = long_lse(&l.desc.k, kind);
                const ref_real got = ref_get(&l.desc.lse, 0, 0, kind, 0);
                const double off = fabs((double)ref_get(&l.desc.out, 0, kind, 0, 0) - 1) / u;
                /* 1 + 2^-25 rounds to 1: the sum of a block may lose all but one of its 512 terms */
                test_ok(off <= 512 / 2 + 16, "%s, 2^20 keys, %s, %s: values of 1 give 1 within 272 u (%.2f)",
                        attn_dtype_name(type), long_names[kind], calls[c].name, off);
                test_ok(got >= lse.low && got <= lse.high, "%s, 2^20 keys, %s, %s: lse of a sum within 16 u (%.2f)",
                        attn_dtype_name(type), long_names[kind], calls[c].name,
                        (double)((got - lse.value) / (ref_real)u));
            }
        }
    }
    test_release();
}

/* Weights are stored as they are computed, if they can be, and otherwise computed again when sums are known. */
static void try_places(attn_dtype type, const test_shape *of)
{
    enum {
        PLAIN,
        CAUSAL,
        WINDOW,
        LENGTHS,
        SINKS,
        INFINITE_SINKS,
        MASK,
        NAN_KEY,
        LARGE_SCORES,
        LARGE_VALUES,
        LARGE_BOTH,
        NAN_VALUES,
        CASES
    };
    static const char *const names[CASES] = {"plain",        "causal",         "a window",   "lengths",
                                             "sinks",        "infinite sinks", "a mask",     "NaN",
                                             "large scores", "large values",   "large both", "NaN in values"};
    test_shape shape = *of;
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths), n = of->kv_len, heads = of->q_heads, some = of->q_len - of->q_len / 3;
    const double large = type == ATTN_F64 ? 1.5e308 : 3e38;
    shape.type = type;
    for (int c = 0; c < CASES; c++) {
        int pass = 1;
        for (size_t p = 0; p < num_paths && pass; p++) {
            test_rng rng = {n};
            attn_desc whole = test_problem(&shape, &rng), d;
            const attn_array apart = test_4d(type, 2, heads, of->q_len, 2 * n), part = test_4d(type, 2, 1, some, n),
                             rows = test_4d(type, 2, heads, some, n);
            whole.lse = test_absent; /* so that small problems are done as such */
            whole.causal = c == CAUSAL;
            whole.align = ATTN_ALIGN_LOWER_RIGHT;
            if (c == WINDOW || c >= LARGE_SCORES)
                whole.window = 1, whole.window_left = 5, whole.window_right = (int64_t)n / 2;
            if (c == SINKS || c >= LARGE_VALUES) whole.sinks = test_1d(type, heads), test_fill(&whole.sinks, 0.5);
            if (c == INFINITE_SINKS) {
                whole.causal = 1;
                whole.sinks = test_1d(type, heads);
                test_fill(&whole.sinks, (double)INFINITY);
                if (heads > 1) ref_set(&whole.sinks, 0, 0, 0, 1, 0.25);
            }
            if (c == LENGTHS || c == LARGE_BOTH) {
                whole.kv_lens = test_1d(ATTN_I32, 2);
                ref_set(&whole.kv_lens, 0, 0, 0, 0, (double)(n / 2));
                ref_set(&whole.kv_lens, 0, 0, 0, 1, (double)(n - 1));
            }
            if (c == MASK) {
                whole.mask = test_2d(ATTN_BOOL, of->q_len, n);
                for (size_t i = 0; i < of->q_len; i++)
                    for (size_t j = 0; j < n; j++) ref_set(&whole.mask, 0, 0, i, j, i % 4 != 1 && (i + j / 50) % 3 > 0);
            }
            if (c == LARGE_SCORES) /* some rows are done with care: their scores overflow, or their sums of values */
                for (size_t i = 0; i < of->q_len; i += 3) ref_set(&whole.q, 1, i % heads, i, 0, large);
            if (c == LARGE_BOTH) { /* of all keys alike, so that sums of values overflow */
                for (size_t i = 0; i < of->q_len; i += 3) ref_set(&whole.q, 0, i % heads, i, 0, large);
                for (size_t j = 0; j < n; j++) ref_set(&whole.k, 0, 0, j, 0, 4);
            }
            if (c == LARGE_VALUES || c == LARGE_BOTH)
                for (size_t j = n / 4; j < n; j++) ref_set(&whole.v, 0, 0, j, 0, large);
            if (c == NAN_VALUES) ref_set(&whole.v, 0, 0, n - n / 8 - 1, 0, (double)NAN); /* which many see */
            if (c == NAN_KEY) ref_set(&whole.k, 1, 0, n / 2, 0, (double)NAN), whole.causal = 1;
            pass = test_status(test_forward(&whole, test_on(paths[p])), ATTN_OK);
            d = test_again(&whole);
            d.scores =
                attn_array_strided(type, apart.data, 2, heads, of->q_len, n, (ptrdiff_t)(heads * of->q_len * 2 * n),
                                   (ptrdiff_t)(of->q_len * 2 * n), (ptrdiff_t)(2 * n), 2); /* every second element */
            pass = pass && test_status(test_forward(&d, test_on(paths[p])), ATTN_OK) &&
                   test_same(&d.scores, &whole.scores);
            d = test_again(&whole);
            d.colsum = test_3d(type, 2, heads, n);
            pass = pass && test_status(test_forward(&d, test_on(paths[p])), ATTN_OK) &&
                   test_same(&d.scores, &whole.scores) && test_same(&d.out, &whole.out);
            d = test_again(&whole);
            pass = pass && test_status(test_forward(&d, test_shuffled(paths[p], 3)), ATTN_OK) &&
                   test_same(&d.scores, &whole.scores);
            d = test_again(&whole);
            d.scores_query = of->q_len / 3;
            for (int all = 0; all < 2 && pass; all++) { /* heads */
                const attn_array head = test_part(&whole.scores, 3, all ? 0 : heads - 1, all ? heads : 1),
                                 want = test_part(&head, 2, of->q_len / 3, some);
                d.scores = all ? rows : part;
                d.scores_head = all ? 0 : heads - 1;
                pass = test_status(test_forward(&d, test_on(paths[p])), ATTN_OK) && test_same(&d.scores, &want) &&
                       test_same(&d.out, &whole.out);
            }
            if (pass && type == ATTN_F32) { /* rounded once */
                const attn_array want = test_4d(ATTN_BF16, 2, heads, of->q_len, n);
                d = test_again(&whole);
                d.scores = test_4d(ATTN_BF16, 2, heads, of->q_len, n);
                pass = test_status(attn_cache_append(&want, &whole.scores, NULL, NULL), ATTN_OK) &&
                       test_status(test_forward(&d, test_on(paths[p])), ATTN_OK) && test_same(&d.scores, &want);
            }
            pass = test_release() && pass;
        }
        test_ok(pass, "%s, %zu x %zu, %zu heads of %zu, %s: the same weights wherever they are stored",
                attn_dtype_name(type), of->q_len, n, heads, of->kv_heads, names[c]);
    }
}

int main(void)
{
    static const test_shape places[] = {{ATTN_F32, 2, 2, 2, 6, 6, 8, 8},     {ATTN_F32, 2, 2, 1, 3, 40, 8, 9},
                                        {ATTN_F32, 2, 4, 2, 20, 70, 16, 16}, {ATTN_F32, 2, 2, 2, 33, 600, 8, 5},
                                        {ATTN_F32, 2, 2, 2, 2, 1300, 8, 5},  {ATTN_F32, 2, 1, 1, 40, 1100, 5, 16}};
    static const test_shape shapes[] = {
        {ATTN_F32, 1, 1, 1, 3, 1, 4, 4},   {ATTN_F32, 1, 2, 2, 20, 17, 16, 3},    {ATTN_F32, 1, 1, 1, 10, 512, 64, 8},
        {ATTN_F32, 1, 2, 2, 5, 513, 9, 5}, {ATTN_F32, 1, 1, 1, 7, 1700, 30, 700}, {ATTN_F32, 1, 1, 1, 40, 33, 600, 20},
    };
    static const double deviations[] = {0.01, 1, 40};
    for (size_t t = 0; t < 2; t++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (size_t d = 0; d < 3; d++) {
                test_shape shape = shapes[s];
                shape.type = test_types[t];
                try_shape(&shape, deviations[d], 0);
                if (shape.q_len <= shape.kv_len) try_shape(&shape, deviations[d], 1);
            }
        for (size_t s = 0; s < sizeof places / sizeof *places; s++) try_places(test_types[t], places + s);
        try_long_rows(test_types[t]);
        try_long_lines_in_double(test_types[t]);
    }
    return test_done();
}
