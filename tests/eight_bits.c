/* SPDX-License-Identifier: MIT-0
 *
 * Keys and values of eight bits: whatever is computed of them has the very bits of the same call on the float32 numbers
 * that they stand for, in every layout, with scales of every shape, on every path.
 */
#include "check/harness.h"

#include <math.h>
#include <string.h>

static const attn_dtype types[] = {ATTN_I8, ATTN_U8, ATTN_F8_E4M3, ATTN_F8_E5M2, ATTN_Q8_0};
enum { TYPES = sizeof types / sizeof *types };

static size_t bytes_of(const attn_array *a)
{
    size_t n = attn_dtype_size(a->dtype);
    for (int i = 0; i < a->ndim; i++) n *= a->shape[i];
    return n / attn_dtype_block(a->dtype);
}

/* Any bytes, but no code that is not finite; of blocks, scales near 1 / 100. */
static void fill_codes(const attn_array *a, test_rng *rng)
{
    uint8_t *byte = a->data;
    const size_t n = bytes_of(a);
    for (size_t i = 0; i < n; i++) {
        byte[i] = (uint8_t)test_u64(rng);
        if (a->dtype == ATTN_F8_E4M3 && (byte[i] & 0x7f) == 0x7f) byte[i] ^= 1;
        if (a->dtype == ATTN_F8_E5M2) byte[i] &= 0xbf; /* below 2 */
        if (a->dtype == ATTN_F8_E4M3) byte[i] &= 0xbf;
    }
    for (size_t i = 0; i < n && a->dtype == ATTN_Q8_0; i += 34) {
        const uint16_t scale = (uint16_t)(0x2000 | (test_u64(rng) & 0x83ff));
        memcpy(byte + i, &scale, sizeof scale);
    }
}

/* Shapes of scales: absent, then (columns of 4 axes, 1 or all) by bits. */
static attn_array scales_for(const attn_array *a, unsigned shape, size_t count, test_rng *rng, double least)
{
    attn_array s = test_absent;
    if (!shape) return s;
    s = test_4d(ATTN_F32, shape & 1 ? ref_length(a, 4) : 1, shape & 2 ? ref_length(a, 3) : 1,
                shape & 4 ? ref_length(a, 2) : 1, count);
    for (size_t i = 0; i < s.shape[0] * s.shape[1] * s.shape[2] * count; i++)
        ((float *)s.data)[i] = (float)(least + 0.02 * test_uniform(rng));
    if (shape & 8 && s.shape[0] == 1 && s.shape[1] == 1) { /* fewer dimensions */
        s.ndim = 2;
        s.shape[0] = s.shape[2], s.shape[1] = s.shape[3];
    }
    return s;
}

/* d and the same on float32 arrays, on every path. */
static int same_as_decoded(const attn_desc *d)
{
    attn_desc codes = test_again(d), floats;
    attn_path paths[ATTN_PATH_COUNT];
    const size_t count = test_paths(paths);
    int pass = 1;
    floats = test_again(d);
    floats.k = test_decoded(&d->k, &d->k_scale, &d->k_zero);
    floats.v = test_decoded(&d->v, &d->v_scale, &d->v_zero);
    floats.k_scale = floats.v_scale = floats.k_zero = floats.v_zero = test_absent;
    for (size_t i = 0; i < count && pass; i++)
        for (size_t workers = 1; workers < 4 && pass; workers += 2) {
            pass = test_status(test_forward(&codes, test_shuffled(paths[i], workers)), ATTN_OK) &&
                   test_status(test_forward(&floats, test_shuffled(paths[i], workers)), ATTN_OK) &&
                   test_same_outputs(&codes, &floats);
            if (!pass) test_note("path %s, %zu workers", attn_path_name(paths[i]), workers);
        }
    return pass;
}

typedef struct problem {
    size_t batch, q_heads, kv_heads, q_len, kv_len, dim, dim_v;
} problem;

static attn_desc with_codes(const problem *of, attn_dtype k, attn_dtype v, test_rng *rng)
{
    attn_desc d = attn_desc_default();
    d.q = test_4d(ATTN_F32, of->batch, of->q_heads, of->q_len, of->dim);
    d.k = test_4d(k, of->batch, of->kv_heads, of->kv_len, of->dim);
    d.v = test_4d(v, of->batch, of->kv_heads, of->kv_len, of->dim_v);
    d.out = test_4d(ATTN_F32, of->batch, of->q_heads, of->q_len, of->dim_v);
    d.lse = test_3d(ATTN_F32, of->batch, of->q_heads, of->q_len);
    test_fill_normal(&d.q, rng, 1);
    fill_codes(&d.k, rng);
    fill_codes(&d.v, rng);
    return d;
}

static int takes_scales(attn_dtype type) { return type != ATTN_Q8_0; }
static int takes_zeros(attn_dtype type) { return type == ATTN_I8 || type == ATTN_U8; }

static const problem problems[] = {
    {1, 4, 1, 1, 700, 64, 64},   /* decoding, heads of a group */
    {2, 3, 3, 1, 33, 96, 32},    /* ... each its own */
    {1, 8, 2, 3, 130, 32, 160},  /* a few queries */
    {1, 2, 1, 70, 600, 64, 96},  /* many */
    {1, 1, 1, 1, 1, 32, 32},     /* one key */
    {1, 40, 1, 1, 65, 640, 544}, /* more than a block of columns */
};
enum { PROBLEMS = sizeof problems / sizeof *problems };

static void try_scales(void)
{
    static const unsigned shapes[] = {0, 1 | 2 | 4, 4, 2, 8 | 4, 7, 16, 7 | 16};
    for (size_t t = 0; t < TYPES; t++)
        for (size_t n = 0; n < PROBLEMS; n++) {
            int pass = 1;
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes && pass; i++) {
                const problem *of = &problems[n];
                test_rng rng = {100 * t + 10 * n + i};
                attn_desc d = with_codes(of, types[t], types[(t + i) % TYPES], &rng);
                const size_t k_count = i < 3    ? 1
                                       : i == 3 ? of->dim
                                       : i == 4 ? of->dim / 32
                                       : i == 5 ? of->dim / 4
                                                : 2,
                             v_count = i < 3    ? 1
                                       : i == 3 ? of->dim_v / 2
                                       : i == 4 ? of->dim_v / 16
                                                : 4;
                if (takes_scales(d.k.dtype)) d.k_scale = scales_for(&d.k, shapes[i], k_count, &rng, 0.005);
                if (takes_scales(d.v.dtype)) d.v_scale = scales_for(&d.v, shapes[i], v_count, &rng, 0.005);
                if (takes_zeros(d.k.dtype) && i % 2) d.k_zero = scales_for(&d.k, shapes[i], k_count, &rng, 1);
                if (takes_zeros(d.v.dtype) && i % 3 == 1) d.v_zero = scales_for(&d.v, 4, 1, &rng, 120);
                pass = same_as_decoded(&d);
                if (!pass) test_note("shape %zu of scales, values %s", i, attn_dtype_name(d.v.dtype));
                pass &= test_release();
            }
            test_ok(pass, "%s, %zu queries, %zu keys, head_dim %zu: scales of all shapes", attn_dtype_name(types[t]),
                    problems[n].q_len, problems[n].kv_len, problems[n].dim);
        }
}

/* Every other option that reads keys and values. */
enum { CAUSAL, WEIGHTS, RAW, COLSUM, LENGTHS, BEGIN, MASK, HALVES, KEYS_ALONE, VALUES_ALONE, OPTIONS };
static const char *const option_names[OPTIONS] = {"causal, window and ALiBi",
                                                  "weights",
                                                  "raw scores",
                                                  "column sums",
                                                  "lengths",
                                                  "a first key within a block",
                                                  "mask and softcap",
                                                  "queries and output in 16 bits",
                                                  "float32 values",
                                                  "bfloat16 keys"};
static void add_option(attn_desc *d, int option, test_rng *rng)
{
    const size_t batch = ref_length(&d->q, 4), heads = ref_length(&d->q, 3), q_len = ref_length(&d->q, 2),
                 kv_len = ref_length(&d->k, 2);
    switch (option) {
    case CAUSAL:
        d->causal = d->window = 1;
        d->align = ATTN_ALIGN_LOWER_RIGHT;
        d->window_left = 100;
        d->alibi = test_1d(ATTN_F32, heads);
        test_fill_normal(&d->alibi, rng, 0.1);
        break;
    case RAW:
    case WEIGHTS:
        d->scores = test_4d(ATTN_F32, batch, heads, q_len, kv_len);
        if (option == RAW) d->stage = ATTN_STAGE_RAW;
        break;
    case COLSUM: d->colsum = test_3d(ATTN_F32, batch, heads, kv_len); break;
    case LENGTHS:
        d->kv_lens = test_1d(ATTN_I32, batch);
        for (size_t b = 0; b < batch; b++) ref_set(&d->kv_lens, 0, 0, 0, b, (double)(kv_len - b - kv_len / 3));
        break;
    case BEGIN: d->kv_begin = 5; break;
    case MASK:
        d->mask = test_2d(ATTN_F32, q_len, kv_len);
        test_fill_normal(&d->mask, rng, 1);
        d->softcap = 5;
        break;
    case HALVES:
        d->q = test_4d(ATTN_BF16, batch, heads, q_len, ref_length(&d->q, 1));
        d->out = test_4d(ATTN_F16, batch, heads, q_len, ref_length(&d->v, 1));
        test_fill_normal(&d->q, rng, 1);
        break;
    case KEYS_ALONE:
        d->v = test_decoded(&d->v, &d->v_scale, &d->v_zero);
        d->v_scale = test_absent;
        break;
    case VALUES_ALONE:
        d->k = test_4d(ATTN_BF16, batch, ref_length(&d->k, 3), kv_len, ref_length(&d->k, 1));
        test_fill_normal(&d->k, rng, 1);
        d->k_scale = test_absent;
        break;
    default: break;
    }
}

static void try_options(void)
{
    for (int option = 0; option < OPTIONS; option++)
        for (size_t t = 0; t < TYPES; t++) {
            int pass = 1;
            for (size_t n = 0; n < PROBLEMS && pass; n++) {
                test_rng rng = {7 + n};
                attn_desc d = with_codes(&problems[n], types[t], types[t], &rng);
                if (takes_scales(types[t]))
                    d.k_scale = scales_for(&d.k, 7, 1, &rng, 0.005), d.v_scale = scales_for(&d.v, 7, 2, &rng, 0.005);
                add_option(&d, option, &rng);
                pass = same_as_decoded(&d) && test_release();
            }
            test_ok(pass, "%s: %s", attn_dtype_name(types[t]), option_names[option]);
        }
}

/* Rows apart, heads beside one another, columns backwards; a view of the first columns, as values are of latent keys.
 */
static void try_strides(void)
{
    for (size_t t = 0; t < TYPES; t++) {
        const ptrdiff_t unit = (ptrdiff_t)attn_dtype_block(types[t]);
        int pass = 1;
        for (int q_len = 1; q_len < 50 && pass; q_len += 48) {
            test_rng rng = {3};
            const problem of = {1, 4, 2, (size_t)q_len, 150, 64, 32};
            attn_desc d = with_codes(&of, types[t], types[t], &rng);
            attn_array wide = test_4d(types[t], 1, 150, 2, 96), shown;
            fill_codes(&wide, &rng);
            shown = attn_array_swap(wide, 1, 2); /* (position, head, D) */
            shown.shape[3] = 64;
            d.k = shown;
            shown.shape[3] = 32; /* values: the last columns, backwards */
            shown.data = (char *)shown.data + (95 / unit) * (ptrdiff_t)attn_dtype_size(types[t]);
            shown.stride[3] = -shown.stride[3];
            d.v = shown;
            if (takes_scales(types[t])) {
                attn_array s = scales_for(&d.k, 7, 2, &rng, 0.005);
                s.stride[3] = -1, s.stride[2] = 2, s.stride[1] = 300;
                s.data = (float *)s.data + 1;
                d.k_scale = s;
                s.shape[3] = 1;
                d.v_scale = s;
            }
            pass = same_as_decoded(&d) && test_release();
        }
        test_ok(pass, "%s: rows of all heads together, columns backwards", attn_dtype_name(types[t]));
    }
}

/* Pages, packed sequences, parts: the same as one array. */
static void try_pages(void)
{
    enum { PAGE = 16, COUNT = 9, LENGTH = 131 };
    for (size_t t = 0; t < TYPES; t++) {
        const problem of = {1, 4, 2, 1, PAGE * COUNT, 64, 64};
        test_rng rng = {11};
        attn_desc d, one;
        int pass;
        d = with_codes(&of, types[t], types[t], &rng);
        d.k = test_4d(types[t], COUNT, 2, PAGE, 64), d.v = test_4d(types[t], COUNT, 2, PAGE, 64);
        fill_codes(&d.k, &rng), fill_codes(&d.v, &rng);
        if (takes_scales(types[t]))
            d.k_scale = scales_for(&d.k, 7, 2, &rng, 0.005), d.v_scale = scales_for(&d.v, 4, 1, &rng, 0.005);
        d.block_table = test_2d(ATTN_I32, 1, COUNT);
        d.kv_lens = test_1d(ATTN_I32, 1);
        ref_set(&d.kv_lens, 0, 0, 0, 0, LENGTH);
        for (size_t i = 0; i < COUNT; i++) ref_set(&d.block_table, 0, 0, 0, i, (double)((i * 4 + 2) % COUNT));
        one = test_again(&d);
        one.block_table = one.k_scale = one.v_scale = test_absent;
        one.k = test_4d(ATTN_F32, 1, 2, PAGE * COUNT, 64), one.v = test_4d(ATTN_F32, 1, 2, PAGE * COUNT, 64);
        for (size_t h = 0; h < 2; h++)
            for (size_t j = 0; j < PAGE * COUNT; j++)
                for (size_t c = 0; c < 64; c++) {
                    const size_t page = (size_t)ref_get(&d.block_table, 0, 0, 0, j / PAGE);
                    ref_set(&one.k, 0, h, j, c,
                            (double)ref_decoded(&d.k, &d.k_scale, &test_absent, page, h, j % PAGE, c));
                    ref_set(&one.v, 0, h, j, c,
                            (double)ref_decoded(&d.v, &d.v_scale, &test_absent, page, h, j % PAGE, c));
                }
        pass = same_as_decoded(&d) && test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
               test_status(test_forward(&one, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same_outputs(&d, &one);
        test_ok(pass && test_release(), "%s: pages, their scales, and the same in one piece",
                attn_dtype_name(types[t]));
    }
}

static void try_packed(void)
{
    static const int32_t starts_q[] = {0, 1, 1, 40}, starts_k[] = {0, 70, 75, 300};
    for (size_t t = 0; t < TYPES; t++) {
        const problem of = {1, 4, 2, 40, 300, 64, 64};
        test_rng rng = {12};
        attn_desc d = with_codes(&of, types[t], types[t], &rng);
        attn_array *const packed[] = {&d.q, &d.k, &d.v, &d.out};
        for (int i = 0; i < 4; i++) { /* no batch */
            packed[i]->ndim = 3;
            for (int axis = 0; axis < 3; axis++) packed[i]->shape[axis] = packed[i]->shape[axis + 1];
        }
        d.lse.ndim = 2, d.lse.shape[0] = 4, d.lse.shape[1] = 40;
        if (takes_scales(types[t]))
            d.k_scale = scales_for(&d.k, 7, 1, &rng, 0.005), d.v_scale = scales_for(&d.v, 7, 4, &rng, 0.005);
        d.cu_seqlens_q = attn_array_1d(ATTN_I32, starts_q, 4);
        d.cu_seqlens_k = attn_array_1d(ATTN_I32, starts_k, 4);
        d.causal = 1, d.align = ATTN_ALIGN_LOWER_RIGHT;
        test_ok(same_as_decoded(&d) && test_release(), "%s: packed sequences", attn_dtype_name(types[t]));
    }
}

static void try_parts(void)
{
    static const size_t cuts[3] = {0, 512, 1200};
    for (size_t t = 0; t < TYPES; t++) {
        const problem of = {1, 4, 2, 3, 1200, 64, 64};
        test_rng rng = {13};
        attn_desc d = with_codes(&of, types[t], types[t], &rng);
        int pass;
        if (takes_scales(types[t]))
            d.k_scale = scales_for(&d.k, 7, 1, &rng, 0.005), d.v_scale = scales_for(&d.v, 7, 2, &rng, 0.005);
        pass = test_in_parts(&d, cuts, 2, test_on(ATTN_PATH_AUTO));
        test_ok(pass && test_release(), "%s: parts, merged", attn_dtype_name(types[t]));
    }
}

/* NaN and infinity, of a scale or a code: as in float32 arrays, where the row sees them and where it does not. */
static void try_special(void)
{
    static const double values[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 0, 1e-42, 1e38, -0.01};
    for (size_t t = 0; t < TYPES; t++)
        for (size_t n = 0; n < 4; n++) {
            int pass = 1;
            for (size_t i = 0; i < sizeof values / sizeof *values && pass; i++)
                for (int visible = 0; visible < 2 && pass; visible++) {
                    test_rng rng = {21 + i};
                    const problem *of = &problems[n];
                    attn_desc d = with_codes(of, types[t], types[t], &rng);
                    const size_t key = of->kv_len / 2;
                    if (takes_scales(types[t])) {
                        d.k_scale = scales_for(&d.k, 7, 1, &rng, 0.005),
                        d.v_scale = scales_for(&d.v, 7, 2, &rng, 0.005);
                        ref_set(&d.k_scale, 0, 0, key, 0, values[i]);
                        ref_set(&d.v_scale, 0, 0, key / 2, 1, values[i]);
                    } else {
                        attn_array scale = test_1d(ATTN_F16, 1);
                        ref_set(&scale, 0, 0, 0, 0, values[i]);
                        memcpy(ref_at(&d.k, 0, 0, key, 0), scale.data, 2);
                        memcpy(ref_at(&d.v, 0, 0, key / 2, 0), scale.data, 2);
                    }
                    if (!visible) {
                        d.mask = test_1d(ATTN_BOOL, of->kv_len);
                        for (size_t j = 0; j < of->kv_len; j++) ref_set(&d.mask, 0, 0, 0, j, j != key && j != key / 2);
                    }
                    pass = same_as_decoded(&d) && test_release();
                    if (!pass) test_note("%g, %s", values[i], visible ? "visible" : "masked");
                }
            test_ok(pass, "%s, %zu queries, %zu keys: scales of NaN, infinity, 0, subnormal, huge, negative",
                    attn_dtype_name(types[t]), problems[n].q_len, problems[n].kv_len);
        }
}

/* Scores that show what becomes of a small scale, and of a large zero point. */
static void try_small_scales(void)
{
    static const double scales[] = {1e-45, 1e-42, 1e-38, 1e-32, 1e-30}, zeros[] = {0, 3e35, -1e38};
    for (size_t t = 0; t < TYPES; t++) {
        int pass = 1;
        for (size_t i = 0; i < 5 && takes_scales(types[t]) && pass; i++)
            for (size_t z = 0; z < (types[t] == ATTN_U8 ? 3u : 1u) && pass; z++) {
                test_rng rng = {i};
                attn_desc d = with_codes(&problems[0], types[t], types[t], &rng);
                d.k_scale = scales_for(&d.k, 7, 1, &rng, 0), test_fill(&d.k_scale, scales[i]);
                if (z > 0) d.k_zero = scales_for(&d.k, 7, 1, &rng, 0), test_fill(&d.k_zero, zeros[z]);
                d.scale = 1e35;
                d.scores = test_4d(ATTN_F32, 1, 4, 1, 700);
                d.stage = ATTN_STAGE_RAW;
                pass = same_as_decoded(&d) && test_release();
                if (!pass) test_note("scales of %g, zero points of %g", scales[i], zeros[z]);
            }
        test_ok(pass, "%s: keys of small scales", attn_dtype_name(types[t]));
    }
}

/* As many rows as there are heights of tiles, and more; keys that fill no panel; a float that is not finite here or
 * there.
 */
static void try_heights(void)
{
    for (size_t t = 0; t < TYPES; t++)
        for (size_t rows = 1; rows <= 9; rows++) {
            const problem of = {1, rows, 1, 1, 139, rows % 3 ? 96 : 640, 160}; /* a block of columns, or more */
            int pass = 1;
            for (size_t bad = 0; bad < 4 && pass; bad++) {
                test_rng rng = {rows};
                attn_desc d = with_codes(&of, types[t], types[t], &rng);
                if (takes_scales(types[t])) d.k_scale = d.v_scale = scales_for(&d.k, 7, 1, &rng, 0.01);
                if (takes_zeros(types[t]) && bad) d.k_zero = d.v_zero = scales_for(&d.k, 7, 1, &rng, 3);
                if (bad > 1 && takes_scales(types[t])) *(uint8_t *)ref_at(&d.k, 0, 0, bad == 2 ? 3 : 138, 7) = 0x7f;
                d.scores = test_4d(ATTN_F32, 1, rows, 1, 139);
                pass = same_as_decoded(&d) && test_release();
            }
            test_ok(pass, "%s: %zu rows", attn_dtype_name(types[t]), rows);
        }
}

/* Each code by itself, in a key. */
static void try_keys(void)
{
    for (size_t t = 0; t < TYPES; t++) {
        test_rng rng = {5};
        const problem of = {1, 3, 1, 1, 256, 32, 32};
        attn_desc d = with_codes(&of, types[t], types[t], &rng);
        for (size_t j = 0; j < 256; j++) {
            const int finite =
                (types[t] != ATTN_F8_E4M3 || (j & 0x7f) != 0x7f) && (types[t] != ATTN_F8_E5M2 || (j & 0x7c) != 0x7c);
            memset((uint8_t *)ref_at(&d.k, 0, 0, j, 0) + (types[t] == ATTN_Q8_0 ? 2 : 0), finite ? (int)j : 0, 32);
        }
        d.scores = test_4d(ATTN_F32, 1, 3, 1, 256);
        d.stage = ATTN_STAGE_RAW;
        test_ok(same_as_decoded(&d) && test_release(), "%s: each code, in a key", attn_dtype_name(types[t]));
    }
}

/* Each code by itself, as a value of weight 1. */
static void try_codes(void)
{
    for (size_t t = 0; t < TYPES; t++) {
        attn_path paths[ATTN_PATH_COUNT];
        const size_t count = test_paths(paths);
        for (size_t i = 0; i < count; i++) {
            size_t wrong = 0;
            attn_desc d = attn_desc_default();
            d.q = test_4d(ATTN_F32, 1, 256, 1, 32), d.k = test_4d(types[t], 1, 256, 1, 32);
            d.v = test_4d(types[t], 1, 256, 1, 32), d.out = test_4d(ATTN_F32, 1, 256, 1, 32);
            test_fill(&d.q, 0);
            memset(d.k.data, 0, bytes_of(&d.k));
            for (size_t code = 0; code < 256; code++)
                memset(ref_at(&d.v, 0, code, 0, 0), (int)code, types[t] == ATTN_Q8_0 ? 34 : 32);
            for (size_t h = 0; h < 256 && types[t] == ATTN_Q8_0; h++) memset(ref_at(&d.v, 0, h, 0, 0), 0x2c, 2);
            wrong += !test_status(test_forward(&d, test_on(paths[i])), ATTN_OK);
            for (size_t code = 0; code < 256; code++)
                for (size_t c = 0; c < 32; c++) {
                    const float got = (float)ref_get(&d.out, 0, code, 0, c), want = (float)ref_get(&d.v, 0, code, 0, c);
                    wrong += (size_t)(isnan(want) ? !isnan(got) : !(got == want));
                }
            if (wrong) test_note("%zu numbers", wrong);
            test_ok(!wrong && test_release(), "%s, path %s: each code is its number", attn_dtype_name(types[t]),
                    attn_path_name(paths[i]));
        }
    }
}

int main(void)
{
    try_codes();
    try_scales();
    try_options();
    try_strides();
    try_pages();
    try_packed();
    try_parts();
    try_special();
    try_small_scales();
    try_heights();
    try_keys();
    return test_done();
}
