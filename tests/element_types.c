/* SPDX-License-Identifier: MIT-0
 *
 * float16 and bfloat16 for q, k, v and the output: for every bit pattern and on every path,
 * inputs are converted exactly and outputs rounded to nearest even; mixed types stay within
 * bounds; results are those of float32 on the converted arrays.
 */
#include "check/harness.h"

#include <math.h>
#include <string.h>

static const attn_dtype halves[2] = {ATTN_F16, ATTN_BF16};
static const attn_dtype all_types[3] = {ATTN_F32, ATTN_F16, ATTN_BF16};

/* One key has weight 1: the output is the value, converted twice. */
static attn_desc identity(attn_dtype from, attn_dtype to, size_t n)
{
    attn_desc d = attn_desc_default();
    d.q = test_2d(ATTN_F32, 1, 1);
    d.k = test_2d(ATTN_F32, 1, 1);
    d.v = test_2d(from, 1, n);
    d.out = test_2d(to, 1, n);
    test_fill(&d.q, 0);
    test_fill(&d.k, 0);
    return d;
}

/* -0 comes out as +0, as from any sum that starts at +0. */
static int same_number(ref_real got, ref_real want) { return isnan(want) ? isnan(got) : got == want; }

static void try_inwards(attn_dtype type, attn_path path)
{
    attn_desc d = identity(type, ATTN_F32, 65536);
    size_t wrong = 0;
    int pass;
    for (size_t i = 0; i < 65536; i++) {
        const uint16_t bits = (uint16_t)i;
        memcpy(ref_at(&d.v, 0, 0, 0, i), &bits, sizeof bits);
    }
    pass = test_status(test_forward(&d, test_on(path)), ATTN_OK);
    for (size_t i = 0; i < 65536 && pass; i++) {
        const ref_real want = ref_get(&d.v, 0, 0, 0, i), got = ref_get(&d.out, 0, 0, 0, i);
        if (!same_number(got, want) && wrong++ == 0)
            test_note("bits %#zx: %g, wanted %g", i, (double)got, (double)want);
    }
    test_ok(pass && wrong == 0, "%s to float32 on %s: all 65536", attn_dtype_name(type), attn_path_name(path));
    test_release();
}

/* Every finite value, the midpoint to the next one, and the floats around that. */
static void try_outwards(attn_dtype type, attn_path path)
{
    const size_t n = 65536 * 4;
    attn_desc d = identity(ATTN_F32, type, n);
    const attn_array want = test_2d(type, 1, 1), bits_array = test_2d(type, 1, 2);
    size_t wrong = 0;
    int pass;
    for (size_t i = 0; i < 65536; i++) {
        const uint16_t bits[2] = {(uint16_t)i, (uint16_t)(i + 1)};
        ref_real value, next;
        float middle;
        memcpy(bits_array.data, bits, sizeof bits);
        value = ref_get(&bits_array, 0, 0, 0, 0);
        next = ref_get(&bits_array, 0, 0, 0, 1);
        if (!isfinite(value)) value = 0;
        if (!isfinite(next)) /* the midpoint between the largest number and what would follow it */
            next = value * (type == ATTN_F16 ? (ref_real)65536 / 65504 : 1);
        middle = (float)((value + next) / 2);
        ref_set(&d.v, 0, 0, 0, 4 * i, (double)value);
        ref_set(&d.v, 0, 0, 0, 4 * i + 1, (double)middle);
        ref_set(&d.v, 0, 0, 0, 4 * i + 2, (double)nextafterf(middle, INFINITY));
        ref_set(&d.v, 0, 0, 0, 4 * i + 3, (double)nextafterf(middle, -INFINITY));
    }
    pass = test_status(test_forward(&d, test_on(path)), ATTN_OK);
    for (size_t i = 0; i < n && pass; i++) {
        const ref_real got = ref_get(&d.out, 0, 0, 0, i), v = ref_get(&d.v, 0, 0, 0, i);
        ref_set(&want, 0, 0, 0, 0, (double)v);
        if (!same_number(got, ref_get(&want, 0, 0, 0, 0)) && wrong++ == 0)
            test_note("%.9g becomes %.9g, wanted %.9g", (double)v, (double)got, (double)ref_get(&want, 0, 0, 0, 0));
    }
    test_ok(pass && wrong == 0, "float32 to %s on %s: to nearest even", attn_dtype_name(type), attn_path_name(path));
    test_release();
}

static void try_mixtures(void)
{
    for (int mix = 0; mix < 81; mix++) {
        const attn_dtype q = all_types[mix % 3], k = all_types[mix / 3 % 3], v = all_types[mix / 9 % 3],
                         out = all_types[mix / 27];
        const test_shape shape = {ATTN_F32, 1, 2, 1, 5, 530, 18, 21};
        test_rng rng = {(uint64_t)mix};
        attn_desc d = test_problem(&shape, &rng);
        d.q = test_4d(q, 1, 2, 5, 18);
        d.k = test_4d(k, 1, 1, 530, 18);
        d.v = test_4d(v, 1, 1, 530, 21);
        d.out = test_4d(out, 1, 2, 5, 21);
        test_fill_normal(&d.q, &rng, 1);
        test_fill_normal(&d.k, &rng, 1);
        test_fill_normal(&d.v, &rng, 1);
        d.causal = mix % 2;
        d.align = ATTN_ALIGN_LOWER_RIGHT;
        test_attention(&d, "q %s, k %s, v %s, output %s", attn_dtype_name(q), attn_dtype_name(k), attn_dtype_name(v),
                       attn_dtype_name(out));
        test_release();
    }
}

static attn_array as_float32(const attn_array *a)
{
    const attn_array f = test_4d(ATTN_F32, ref_length(a, 4), ref_length(a, 3), ref_length(a, 2), ref_length(a, 1));
    for (size_t b = 0; b < ref_length(a, 4); b++)
        for (size_t h = 0; h < ref_length(a, 3); h++)
            for (size_t i = 0; i < ref_length(a, 2); i++)
                for (size_t c = 0; c < ref_length(a, 1); c++) ref_set(&f, b, h, i, c, (double)ref_get(a, b, h, i, c));
    return f;
}

/* In all orders of axes and with several head sizes, since the conversion also handles
 * layouts. */
static void try_as_float32(attn_dtype type)
{
    static const size_t dims[][2] = {{1, 1}, {7, 3}, {32, 32}, {65, 100}, {130, 64}};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        for (int turned = 0; turned < 2; turned++) {
            const test_shape shape = {ATTN_F32, 2, 4, 2, 9, 70, 1, 1};
            test_shape sized = shape;
            test_rng rng = {i};
            attn_desc d, f;
            int pass, same = 1;
            sized.head_dim = dims[i][0];
            sized.head_dim_v = dims[i][1];
            d = test_problem(&sized, &rng);
            d.q = test_4d(type, 2, 4, 9, sized.head_dim);
            d.k = test_4d(type, 2, 2, turned ? sized.head_dim : 70, turned ? 70 : sized.head_dim);
            d.v = test_4d(type, 2, 2, turned ? sized.head_dim_v : 70, turned ? 70 : sized.head_dim_v);
            d.out = test_4d(type, 2, 4, 9, sized.head_dim_v);
            if (turned) {
                d.k = attn_array_swap(d.k, 2, 3);
                d.v = attn_array_swap(d.v, 2, 3);
            }
            test_fill_normal(&d.q, &rng, 1);
            test_fill_normal(&d.k, &rng, 1);
            test_fill_normal(&d.v, &rng, 1);
            f = d;
            f.q = as_float32(&d.q);
            f.k = as_float32(&d.k);
            f.v = as_float32(&d.v);
            f.out = test_4d(ATTN_F32, 2, 4, 9, sized.head_dim_v);
            f.lse = test_copy(&d.lse);
            f.scores = test_copy(&d.scores);
            pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
                   test_status(test_forward(&f, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same(&d.lse, &f.lse) &&
                   test_same(&d.scores, &f.scores);
            for (size_t e = 0; e < 2 * 4 * 9 * sized.head_dim_v && pass; e++) {
                const size_t c = e % sized.head_dim_v, row = e / sized.head_dim_v % 9, h = e / sized.head_dim_v / 9 % 4,
                             b = e / sized.head_dim_v / 36;
                const ref_real got = ref_get(&d.out, b, h, row, c);
                ref_set(&d.out, b, h, row, c, (double)ref_get(&f.out, b, h, row, c));
                same &= got == ref_get(&d.out, b, h, row, c);
            }
            test_ok(pass && same, "%s, head_dim %zu and %zu%s: as float32 with one rounding", attn_dtype_name(type),
                    dims[i][0], dims[i][1], turned ? ", turned" : "");
            test_release();
        }
}

int main(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t t = 0; t < 2; t++) {
        for (size_t p = 0; p < num_paths; p++) {
            try_inwards(halves[t], paths[p]);
            try_outwards(halves[t], paths[p]);
        }
        try_as_float32(halves[t]);
    }
    try_mixtures();
    return test_done();
}
