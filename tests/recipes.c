/* SPDX-License-Identifier: MIT-0
 *
 * What the manual says needs no option: latent attention as a view, a prefix and a head for
 * several by strides of 0, a bias by distance as a strided mask, softmax off by one by sinks of 0,
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
            try_off_by_one(test_types[t], rows[i]);
        }
        try_short(test_types[t]);
    }
    return test_done();
}
