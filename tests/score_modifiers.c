/* SPDX-License-Identifier: MIT-0
 *
 * Scale, softcap, ALiBi and sinks, in the documented order: each alone, all pairs, all
 * together with a mask, compared with the reference; and the results for special values.
 */
#include "check/harness.h"

#include <math.h>

static attn_desc problem(attn_dtype type, test_rng *rng)
{
    const test_shape shape = {type, 2, 4, 2, 6, 523, 16, 5};
    attn_desc d = test_problem(&shape, rng);
    test_fill_normal(&d.q, rng, 3);
    return d;
}

enum { SCALE = 1, SOFTCAP, ALIBI, SINKS, MASK, CAUSAL, FEATURES };

static const char *const names[FEATURES] = {"", "scale", "softcap", "ALiBi", "sinks", "additive mask", "causal"};

static void add_feature(attn_desc *d, int feature, test_rng *rng)
{
    const attn_dtype type = d->q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32;
    switch (feature) {
    case SCALE: d->scale = 0.7; break;
    case SOFTCAP: d->softcap = 5; break;
    case ALIBI:
        d->alibi = test_1d(type, 4);
        for (size_t h = 0; h < 4; h++) ref_set(&d->alibi, 0, 0, 0, h, ldexp(1, -(int)(2 * h + 2)));
        break;
    case SINKS:
        d->sinks = test_1d(type, 4);
        for (size_t h = 0; h < 4; h++) ref_set(&d->sinks, 0, 0, 0, h, 6.0 * (double)h - 4);
        break;
    case MASK:
        d->mask = test_2d(type, 6, 523);
        test_fill_normal(&d->mask, rng, 2);
        break;
    case CAUSAL:
        d->causal = 1;
        d->align = ATTN_ALIGN_LOWER_RIGHT;
        break;
    default: break;
    }
}

static void try_pairs(attn_dtype type)
{
    for (int a = 1; a < FEATURES; a++)
        for (int b = a; b < FEATURES; b++) {
            test_rng rng = {(uint64_t)(10 * a + b)};
            attn_desc d = problem(type, &rng);
            add_feature(&d, a, &rng);
            if (b != a) add_feature(&d, b, &rng);
            test_attention(&d, "%s, %s%s%s", attn_dtype_name(type), names[a], b != a ? " and " : "",
                           b != a ? names[b] : "");
            test_release();
        }
    {
        test_rng rng = {1};
        attn_desc d = problem(type, &rng);
        for (int f = 1; f < FEATURES; f++) add_feature(&d, f, &rng);
        test_attention(&d, "%s, everything", attn_dtype_name(type));
        test_release();
    }
}

static void try_values(attn_dtype type)
{
    static const double softcaps[] = {1e-30, 0.01, 1, 50, 1e6, 1e30};
    static const double scales[] = {1, -1, 1e-6, 30};
    static const double sinks[] = {-1e4, -100, -20, 0, 20, 100, 1e4};
    for (size_t i = 0; i < sizeof softcaps / sizeof *softcaps; i++) {
        test_rng rng = {i};
        attn_desc d = problem(type, &rng);
        d.softcap = softcaps[i];
        test_attention(&d, "%s, softcap %g", attn_dtype_name(type), softcaps[i]);
        test_release();
    }
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        test_rng rng = {i};
        attn_desc d = problem(type, &rng);
        d.scale = scales[i];
        test_attention(&d, "%s, scale %g", attn_dtype_name(type), scales[i]);
        test_release();
    }
    for (size_t i = 0; i < sizeof sinks / sizeof *sinks; i++) {
        test_rng rng = {i};
        attn_desc d = problem(type, &rng);
        d.sinks = test_1d(type, 4);
        test_fill(&d.sinks, sinks[i]);
        test_attention(&d, "%s, sinks %g", attn_dtype_name(type), sinks[i]);
        test_release();
    }
    { /* slopes by batch and head, strided */
        test_rng rng = {3};
        attn_desc d = problem(type, &rng);
        const attn_array slopes = test_2d(type, 4, 2);
        d.alibi = attn_array_swap(slopes, 0, 1);
        for (size_t i = 0; i < 8; i++) ref_set(&d.alibi, 0, 0, i / 4, i % 4, 0.01 * (double)(i + 1));
        d.align = ATTN_ALIGN_OFFSET;
        d.q_offset = 300;
        test_attention(&d, "%s, slopes by batch and head", attn_dtype_name(type));
        test_release();
    }
}

static int same_output(const attn_desc *d, const attn_desc *plain)
{
    const attn_desc again = test_again(d);
    return test_status(test_forward(&again, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same_outputs(&again, plain);
}

/* Neutral values change no bit. */
static void try_neutral(attn_dtype type)
{
    test_rng rng = {4};
    attn_desc plain = problem(type, &rng), d;
    test_ok(test_status(test_forward(&plain, test_on(ATTN_PATH_AUTO)), ATTN_OK), "%s, plain", attn_dtype_name(type));
    d = plain;
    d.scale = 0.25; /* 1 / sqrt(16) */
    test_ok(same_output(&d, &plain), "%s: the default scale", attn_dtype_name(type));
    d = plain;
    d.alibi = test_1d(type, 4);
    test_fill(&d.alibi, 0);
    test_ok(same_output(&d, &plain), "%s: slopes of 0", attn_dtype_name(type));
    d = plain;
    d.sinks = test_1d(type, 4);
    test_fill(&d.sinks, -(double)INFINITY);
    test_ok(same_output(&d, &plain), "%s: sinks of -inf", attn_dtype_name(type));
    d = plain;
    d.mask = test_1d(type, 523);
    test_fill(&d.mask, 0);
    test_ok(same_output(&d, &plain), "%s: a mask of 0", attn_dtype_name(type));
    d = plain;
    d.window = 1;
    d.window_left = d.window_right = 1000;
    test_ok(same_output(&d, &plain), "%s: a window over everything", attn_dtype_name(type));
    test_release();
}

int main(void)
{
    for (size_t t = 0; t < 2; t++) {
        try_pairs(test_types[t]);
        try_values(test_types[t]);
        try_neutral(test_types[t]);
    }
    return test_done();
}
