/* SPDX-License-Identifier: MIT-0
 *
 * What the manual says needs no option: latent attention as a view, a prefix and a head for
 * several by strides of 0, a bias by distance as a strided mask, that of T5 and that of Transformer-XL
 * as masks of all keys, softmax off by one by sinks of 0,
 * and lengths below q_len. Each gives the bits, or what a bound allows, of arrays without tricks.
 */
#include "check/harness.h"

#include <math.h>

/* The same problem on copies of its arrays in C order: the same bits on every path. */
static void try_copies(const attn_desc *d, const char *name)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    int pass = test_attention(d, "%s", name);
    for (size_t p = 0; p < num_paths && pass; p++) {
        attn_desc plain = test_again(d), given = test_again(d);
        plain.k = test_copy(&d->k);
        plain.v = test_copy(&d->v);
        if (d->mask.ndim) plain.mask = test_copy(&d->mask);
        pass = test_status(test_forward(&plain, test_on(paths[p])), ATTN_OK) &&
               test_status(test_forward(&given, test_on(paths[p])), ATTN_OK) && test_same_outputs(&given, &plain);
    }
    test_ok(pass, "%s, %zu queries: the bits of copies", name, d->q.shape[2]);
}

static void try_latent(attn_dtype type, size_t q_len, size_t kv_len)
{
    const test_shape shape = {type, 1, 6, 1, q_len, kv_len, 72, 64};
    test_rng rng = {kv_len};
    attn_desc d = test_problem(&shape, &rng);
    d.v = attn_array_strided(type, d.k.data, 1, 1, kv_len, 64, 0, 0, 72, 1);
    try_copies(&d, "values that are the first columns of keys");
    test_release();
}

static void try_prefix(attn_dtype type, size_t q_len)
{
    const test_shape shape = {type, 3, 2, 2, q_len, 40, 8, 5};
    test_rng rng = {q_len};
    attn_desc d = test_problem(&shape, &rng);
    d.k = attn_array_strided(type, d.k.data, 3, 2, 40, 8, 0, 320, 8, 1);
    d.v = attn_array_strided(type, d.v.data, 3, 2, 40, 5, 0, 0, 5, 1);
    try_copies(&d, "keys for all batches, values for all heads");
    test_release();
}

static void try_distances(attn_dtype type, size_t q_len, size_t kv_len)
{
    const test_shape shape = {type, 1, 2, 2, q_len, kv_len, 8, 5};
    const size_t each = q_len + kv_len - 1, size = attn_dtype_size(type);
    test_rng rng = {kv_len};
    attn_desc d = test_problem(&shape, &rng);
    const attn_array r = test_2d(type, 2, each);
    test_fill_normal(&r, &rng, 3);
    d.mask =
        attn_array_strided(type, (char *)r.data + (q_len - 1) * size, 1, 2, q_len, kv_len, 0, (ptrdiff_t)each, -1, 1);
    try_copies(&d, "a bias by distance");
    test_ok(ref_get(&d.mask, 0, 1, q_len - 1, 0) == ref_get(&r, 0, 0, 1, 0) &&
                ref_get(&d.mask, 0, 0, 0, kv_len - 1) == ref_get(&r, 0, 0, 0, each - 1),
            "a bias by distance: from the most negative to the largest");
    test_release();
}

/* The buckets of T5 in both directions, 32 of them up to a distance of 128 (Raffel et al. 2020). */
static int bucket_of(int relative)
{
    const int n = relative < 0 ? -relative : relative, side = relative > 0 ? 16 : 0;
    const int large = 8 + (n < 8 ? 0 : (int)(log(n / 8.0) / log(16) * 8 + 1e-9));
    return side + (n < 8 ? n : large < 15 ? large : 15);
}
static void try_t5(attn_dtype type, size_t q_len, size_t kv_len)
{
    enum { HEADS = 2 };
    const test_shape shape = {type, 1, HEADS, HEADS, q_len, kv_len, 8, 5};
    test_rng rng = {kv_len};
    attn_desc d = test_problem(&shape, &rng), m;
    const attn_array bias = test_2d(type, 32, HEADS);
    test_fill_normal(&bias, &rng, 2);
    d.scale = 1;
    d.align = ATTN_ALIGN_LOWER_RIGHT;
    m = test_again(&d);
    m.mask = test_3d(type, HEADS, q_len, kv_len);
    d.rel_bias = test_3d(type, HEADS, 1, 257);
    for (size_t h = 0; h < HEADS; h++) {
        for (int e = 0; e < 257; e++)
            ref_set(&d.rel_bias, 0, h, 0, (size_t)e, (double)ref_get(&bias, 0, 0, (size_t)bucket_of(128 - e), h));
        for (size_t i = 0; i < q_len; i++)
            for (size_t j = 0; j < kv_len; j++) {
                const int relative = (int)j - (int)(i + kv_len - q_len);
                ref_set(&m.mask, 0, h, i, j, (double)ref_get(&bias, 0, 0, (size_t)bucket_of(relative), h));
            }
    }
    d.rel_first = -128;
    d.rel_clamp = 1;
    test_ok(test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
                test_status(test_forward(&m, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same_outputs(&d, &m),
            "%s, %zu queries, %zu keys: T5", attn_dtype_name(type), q_len, kv_len);
    test_release();
}

static void try_transformer_xl(attn_dtype type, size_t q_len, size_t kv_len)
{
    enum { HEADS = 2, DIM = 8 };
    const test_shape shape = {type, 1, HEADS, HEADS, q_len, kv_len, DIM, 5};
    const size_t n = q_len + kv_len - 1;
    test_rng rng = {kv_len};
    attn_desc d = test_problem(&shape, &rng), m;
    const attn_array u = test_3d(type, HEADS, q_len, DIM), e = test_3d(type, HEADS, n, DIM),
                     r = test_3d(type, HEADS, q_len, n);
    int pass;
    test_fill_normal(&u, &rng, 1);
    test_fill_normal(&e, &rng, 1);
    m = test_again(&d);
    m.mask = test_3d(type, HEADS, q_len, kv_len);
    pass = test_status(test_scores(&u, &e, 0, &r, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t h = 0; h < HEADS; h++) /* the distance i - j is at i - j + kv_len - 1 */
        for (size_t i = 0; i < q_len; i++)
            for (size_t j = 0; j < kv_len; j++)
                ref_set(&m.mask, 0, h, i, j, (double)ref_get(&r, 0, h, i, i - j + kv_len - 1));
    d.rel_bias = r;
    d.rel_first = 1 - (int64_t)kv_len;
    pass = pass && test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
           test_status(test_forward(&m, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same_outputs(&d, &m);
    test_ok(pass, "%s, %zu queries, %zu keys: Transformer-XL", attn_dtype_name(type), q_len, kv_len);
    test_release();
}

/* Rows of weights sum to S / (1 + S), where S = exp of the log-sum-exp without sinks. */
static void try_off_by_one(attn_dtype type, size_t q_len)
{
    const test_shape shape = {type, 1, 2, 1, q_len, 30, 8, 5};
    const ref_real u = (ref_real)(type == ATTN_F64 ? ldexp(1, -53) : ldexp(1, -24));
    test_rng rng = {q_len};
    attn_desc d = test_problem(&shape, &rng), without;
    int pass;
    d.lse = test_3d(type, 1, 2, q_len);
    without = test_again(&d);
    d.sinks = test_1d(type, 2);
    test_fill(&d.sinks, 0);
    pass = test_attention(&d, "sinks that are 0") && test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
           test_status(test_forward(&without, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t h = 0; h < 2; h++)
        for (size_t i = 0; i < q_len; i++) {
            const ref_real lse = ref_get(&without.lse, 0, 0, h, i), all = (ref_real)expl((long double)lse);
            ref_sum sum = {0, 0};
            ref_real off;
            for (size_t j = 0; j < 30; j++) ref_add(&sum, ref_get(&d.scores, 0, h, i, j));
            off = (ref_real)fabsl((long double)(sum.sum + sum.rest - all / (1 + all)));
            /* 16 u of a row's sum, and the logarithm's own error: of S / (1 + S) at most a quarter of S's */
            if (!(off <= 16 * u + u * (2 + (ref_real)fabsl((long double)lse)))) pass = 0;
        }
    test_ok(pass, "%s, %zu queries, sinks that are 0: weights sum to S / (1 + S)", attn_dtype_name(type), q_len);
    test_release();
}

/* Fewer keys than queries in a batch: the first rows are before the first key. */
static void try_short(attn_dtype type)
{
    const test_shape shape = {type, 3, 2, 1, 5, 9, 8, 5};
    static const double lengths[] = {2, 9, 0};
    test_rng rng = {5};
    attn_desc d = test_problem(&shape, &rng);
    const attn_desc onnx = attn_desc_onnx(1, 0);
    int pass;
    d.causal = onnx.causal;
    d.align = ATTN_ALIGN_LOWER_RIGHT;
    d.kv_lens = test_1d(ATTN_I64, 3);
    for (size_t b = 0; b < 3; b++) ref_set(&d.kv_lens, 0, 0, 0, b, lengths[b]);
    pass = test_attention(&d, "lengths below q_len");
    pass = pass && test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t i = 0; i < 5; i++)
        for (size_t c = 0; c < 5; c++)
            if ((ref_get(&d.out, 0, 1, i, c) == 0) != (i < 3) || ref_get(&d.out, 2, 1, i, c) != 0) pass = 0;
    test_ok(pass, "%s: rows before the first key are zeros", attn_dtype_name(type));
    test_release();
}

int main(void)
{
    static const size_t rows[] = {1, 3, 20};
    for (size_t t = 0; t < 2; t++) {
        for (size_t i = 0; i < 3; i++) {
            try_latent(test_types[t], rows[i], 50);
            try_latent(test_types[t], rows[i], 530);
            try_prefix(test_types[t], rows[i]);
            try_distances(test_types[t], rows[i], 17);
            try_distances(test_types[t], rows[i], 600);
            try_t5(test_types[t], rows[i], 600);
            try_transformer_xl(test_types[t], rows[i], 50);
            try_off_by_one(test_types[t], rows[i]);
        }
        try_short(test_types[t]);
    }
    return test_done();
}
