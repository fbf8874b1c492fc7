/* SPDX-License-Identifier: MIT-0
 *
 * A query that sees no key gets output +0, weights +0 and log-sum-exp -inf, whatever hides
 * the keys and whatever they contain; it does not affect the other queries.
 */
#include "check/harness.h"

#include <math.h>

enum { Q_LEN = 40, KV_LEN = 600 };

static int positive_zero(ref_real x) { return x == 0 && !signbit(x); }

/* Exactly the given rows see no key, and they have the required results. */
static int rows_are_empty(const attn_desc *d, size_t first, size_t last)
{
    for (size_t b = 0; b < ref_length(&d->q, 4); b++)
        for (size_t h = 0; h < ref_length(&d->q, 3); h++)
            for (size_t i = 0; i < ref_length(&d->q, 2); i++) {
                const ref_real lse = ref_get(&d->lse, 0, b, h, i);
                int zero = 1;
                if (i < first || i >= last) {
                    if (lse == -(ref_real)INFINITY) {
                        test_note("row %zu is empty, but should not be", i);
                        return 0;
                    }
                    continue;
                }
                for (size_t c = 0; c < ref_length(&d->out, 1); c++) zero &= positive_zero(ref_get(&d->out, b, h, i, c));
                for (size_t j = 0; j < ref_length(&d->scores, 1); j++)
                    zero &= positive_zero(ref_get(&d->scores, b, h, i, j));
                if (!zero || lse != -(ref_real)INFINITY) {
                    test_note("row %zu: %s, lse %g", i, zero ? "+0" : "not all +0", (double)lse);
                    return 0;
                }
            }
    return 1;
}

static attn_desc problem(attn_dtype type, size_t q_len, size_t kv_len, test_rng *rng)
{
    const test_shape shape = {type, 2, 2, 1, 1, 1, 24, 20};
    test_shape sized = shape;
    sized.q_len = q_len;
    sized.kv_len = kv_len;
    return test_problem(&sized, rng);
}

static void judge(attn_desc *d, const char *what, size_t first, size_t last)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    test_attention(d, "%s, %s: right", attn_dtype_name(d->q.dtype), what);
    for (size_t p = 0; p < num_paths; p++) {
        const attn_status status = test_forward(d, test_on(paths[p]));
        if (status == ATTN_ERR_UNSUPPORTED) test_skip("not yet supported", "%s", what);
        else
            test_ok(test_status(status, ATTN_OK) && rows_are_empty(d, first, last), "%s, %s: +0, +0 and -inf on %s",
                    attn_dtype_name(d->q.dtype), what, attn_path_name(paths[p]));
    }
    test_release();
}

static void try_type(attn_dtype type)
{
    const double garbage[] = {0, (double)NAN, (double)INFINITY};
    test_rng rng = {11};
    attn_desc d;

    d = problem(type, Q_LEN, 25, &rng);
    d.causal = 1;
    d.align = ATTN_ALIGN_LOWER_RIGHT;
    judge(&d, "causal, more queries than keys", 0, 15);

    d = problem(type, Q_LEN, KV_LEN, &rng);
    d.causal = 1;
    d.align = ATTN_ALIGN_OFFSET;
    d.q_offset = -7;
    judge(&d, "causal, negative offset", 0, 7);

    d = problem(type, Q_LEN, KV_LEN, &rng);
    d.window = 1;
    d.window_left = 3;
    d.window_right = 0;
    d.align = ATTN_ALIGN_OFFSET;
    d.q_offset = KV_LEN - 30;
    judge(&d, "window past the end", 33, Q_LEN);

    d = problem(type, Q_LEN, 0, &rng);
    judge(&d, "no keys", 0, Q_LEN);

    d = problem(type, Q_LEN, KV_LEN, &rng);
    d.kv_lens = test_1d(ATTN_I32, 2);
    ref_set(&d.kv_lens, 0, 0, 0, 0, 0);
    ref_set(&d.kv_lens, 0, 0, 0, 1, 0);
    judge(&d, "length 0", 0, Q_LEN);

    for (size_t g = 0; g < sizeof garbage / sizeof *garbage; g++) {
        d = problem(type, Q_LEN, KV_LEN, &rng);
        d.mask = test_2d(ATTN_BOOL, Q_LEN, KV_LEN);
        for (size_t i = 0; i < Q_LEN; i++)
            for (size_t j = 0; j < KV_LEN; j++) ref_set(&d.mask, 0, 0, i, j, !(i >= 10 && i < 12) && j % 7 != 3);
        for (size_t j = 3; j < KV_LEN && g; j += 7)
            for (size_t c = 0; c < 20; c++) {
                ref_set(&d.k, 0, 0, j, c, garbage[g]);
                ref_set(&d.v, 0, 0, j, c, garbage[g]);
            }
        judge(&d, g == 0 ? "boolean mask" : g == 1 ? "boolean mask over NaN" : "boolean mask over infinity", 10, 12);

        d = problem(type, Q_LEN, KV_LEN, &rng);
        d.mask = test_2d(type, Q_LEN, KV_LEN);
        for (size_t i = 0; i < Q_LEN; i++)
            for (size_t j = 0; j < KV_LEN; j++)
                ref_set(&d.mask, 0, 0, i, j, i == 5 || j % 7 == 3 ? -(double)INFINITY : 0.5);
        for (size_t j = 3; j < KV_LEN && g; j += 7)
            for (size_t c = 0; c < 20; c++) {
                ref_set(&d.k, 0, 0, j, c, garbage[g]);
                ref_set(&d.v, 0, 0, j, c, garbage[g]);
            }
        judge(&d, g == 0 ? "additive mask" : g == 1 ? "additive mask over NaN" : "additive mask over infinity", 5, 6);
    }

    /* decided by the masks, never by the logits: all scores are -inf or lowest */
    d = problem(type, 3, KV_LEN, &rng);
    d.mask = test_2d(type, 3, KV_LEN);
    test_fill(&d.mask, type == ATTN_F64 ? -1.7976931348623157e308 : -3.4028234663852886e38);
    judge(&d, "the lowest finite mask hides nothing", 0, 0);

    d = problem(type, Q_LEN, KV_LEN, &rng);
    d.sinks = test_1d(type, 2);
    test_fill(&d.sinks, 1.5);
    d.causal = 1;
    d.align = ATTN_ALIGN_OFFSET;
    d.q_offset = -4;
    judge(&d, "a sink, and no key", 0, 4);
}

int main(void)
{
    for (size_t t = 0; t < 2; t++) try_type(test_types[t]);
    return test_done();
}
