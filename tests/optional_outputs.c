/* SPDX-License-Identifier: MIT-0
 *
 * Scores at each stage, log-sum-exp and column sums: within bounds, with every modifier, in
 * any layout and in half precision. Asking for one of them changes no bit of the others. Nor
 * does the shortcut for small problems without optional outputs.
 */
#include "check/harness.h"

#include <math.h>

static const char *const stage_names[ATTN_STAGE_COUNT] = {"weights", "raw scores", "softcapped scores",
                                                          "biased scores"};

static attn_desc problem(attn_dtype type, test_rng *rng)
{
    const test_shape shape = {type, 2, 4, 2, 7, 530, 9, 6};
    return test_problem(&shape, rng);
}

static void add_modifiers(attn_desc *d, unsigned which, test_rng *rng)
{
    if (which & 1) d->softcap = 2;
    if (which & 2) {
        d->alibi = test_1d(d->q.dtype, 4);
        test_fill_normal(&d->alibi, rng, 0.1);
        d->mask = test_2d(d->q.dtype, 7, 530);
        test_fill_normal(&d->mask, rng, 1);
        for (size_t j = 200; j < 230; j++) ref_set(&d->mask, 0, 0, 3, j, -(double)INFINITY);
    }
    if (which & 4) {
        d->causal = 1;
        d->align = ATTN_ALIGN_LOWER_RIGHT;
    }
}

static void try_stages(attn_dtype type)
{
    for (int stage = 0; stage < ATTN_STAGE_COUNT; stage++)
        for (unsigned which = 0; which < 8; which++) {
            test_rng rng = {which};
            attn_desc d = problem(type, &rng);
            d.stage = (attn_stage)stage;
            add_modifiers(&d, which, &rng);
            test_attention(&d, "%s, %s%s%s%s", attn_dtype_name(type), stage_names[stage], which & 1 ? ", softcap" : "",
                           which & 2 ? ", ALiBi and mask" : "", which & 4 ? ", causal" : "");
            test_release();
        }
}

/* BIASED is -inf where masked, PROBS is +0: bit by bit. */
static void try_masked_numbers(attn_dtype type)
{
    for (int stage = 0; stage < ATTN_STAGE_COUNT; stage += ATTN_STAGE_BIASED) {
        test_rng rng = {6};
        attn_desc d = problem(type, &rng);
        int pass;
        d.stage = (attn_stage)stage;
        d.causal = 1;
        pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
        for (size_t i = 0; i < 7; i++)
            for (size_t j = i + 1; j < 530; j++) {
                const ref_real x = ref_get(&d.scores, 1, 2, i, j);
                pass &= stage == ATTN_STAGE_PROBS ? x == 0 && !signbit(x) : x == -(ref_real)INFINITY;
            }
        test_ok(pass, "%s, %s: masked ones", attn_dtype_name(type), stage_names[stage]);
        test_release();
    }
}

/* Asks for every subset; the results must be those of asking for everything. */
static void try_subsets(attn_dtype type)
{
    test_rng rng = {7};
    attn_desc all = problem(type, &rng);
    add_modifiers(&all, 7, &rng);
    test_ok(test_status(test_forward(&all, test_on(ATTN_PATH_AUTO)), ATTN_OK), "%s: out, lse and weights",
            attn_dtype_name(type));
    for (unsigned subset = 0; subset < 4; subset++)
        for (int stage = 0; stage < ATTN_STAGE_COUNT; stage++) {
            attn_desc d = all;
            int pass;
            d.out = test_copy(&all.out);
            test_poison(&d.out);
            d.lse = subset & 1 ? test_copy(&all.lse) : test_absent;
            d.scores = subset & 2 ? test_copy(&all.scores) : test_absent;
            d.stage = (attn_stage)stage;
            pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same(&d.out, &all.out);
            if (subset & 1) pass = pass && test_same(&d.lse, &all.lse);
            test_ok(pass, "%s: output%s%s%s", attn_dtype_name(type), subset & 1 ? ", lse" : "", subset & 2 ? ", " : "",
                    subset & 2 ? stage_names[stage] : "");
        }
    test_release();
}

/* Transposed scores, reversed lse, float16 scores. */
static void try_layouts(attn_dtype type)
{
    test_rng rng = {8};
    attn_desc d = problem(type, &rng), plain = d;
    const attn_array turned = test_4d(type, 2, 4, 530, 7), lse = test_3d(type, 7, 4, 2);
    int pass;
    d.scores = attn_array_swap(turned, 2, 3);
    d.lse = attn_array_swap(lse, 0, 2);
    d.out = test_copy(&plain.out);
    pass = test_status(test_forward(&plain, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
           test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    test_ok(pass && test_same(&d.scores, &plain.scores) && test_same(&d.lse, &plain.lse),
            "%s: scores and lse transposed", attn_dtype_name(type));
    if (type == ATTN_F32)
        for (int stage = 0; stage < ATTN_STAGE_COUNT; stage++) {
            d = plain;
            d.stage = (attn_stage)stage;
            d.scores = test_4d(ATTN_F16, 2, 4, 7, 530);
            d.lse = test_3d(ATTN_BF16, 2, 4, 7);
            test_attention(&d, "float16 %s, bfloat16 lse", stage_names[stage]);
        }
    test_release();
}

static void try_colsum(attn_dtype type)
{
    for (unsigned which = 0; which < 8; which++) {
        test_rng rng = {which};
        attn_desc d = problem(type, &rng);
        add_modifiers(&d, which, &rng);
        d.colsum = test_3d(type, 2, 4, 530);
        test_attention(&d, "%s, column sums%s%s%s", attn_dtype_name(type), which & 1 ? ", softcap" : "",
                       which & 2 ? ", ALiBi and mask" : "", which & 4 ? ", causal" : "");
        test_release();
    }
}

/* In a workspace with numbers of an earlier call, none of which may matter. */
static attn_status forward_in_used_workspace(const attn_desc *d, attn_path path)
{
    attn_exec exec = attn_exec_default();
    size_t bytes = 0;
    const attn_status status = attn_workspace_size(d, 1, &bytes);
    float *used = test_memory(bytes, 0);
    for (size_t i = 0; i < bytes / sizeof *used; i++) used[i] = (float)(i % 7) * 0.25f;
    exec.path = path;
    exec.workspace = used;
    exec.workspace_size = bytes;
    return status ? status : attn_forward(d, &exec);
}

/* With few keys, the output is the same with and without log-sum-exp (which prevents the shortcut). */
static int small_as_general(const test_shape *shape, attn_path path, int spoilt, int apart, int causal, int weights)
{
    test_rng rng = {shape->kv_len + 100 * shape->head_dim + 10000 * shape->head_dim_v};
    attn_desc general = test_problem(shape, &rng), small;
    const size_t h = (shape->kv_len + 1) % shape->kv_heads, j = shape->kv_len / 2;
    const double large = shape->type == ATTN_F64 ? 1.5e308 : 3e38;
    if (!weights) general.scores = test_absent;
    general.causal = causal;
    if (causal)
        general.align =
            (attn_align)((shape->q_len + shape->kv_len) % 2 ? ATTN_ALIGN_LOWER_RIGHT : ATTN_ALIGN_UPPER_LEFT);
    if (apart == 2) { /* transposed: neighbours in memory belong to different rows */
        const attn_array from = general.q,
                         other = test_4d(shape->type, from.shape[0], from.shape[1], from.shape[3], from.shape[2]);
        general.q = attn_array_swap(other, 2, 3);
        test_assign(&general.q, &from);
    }
    for (int i = 0; i < 2 && apart == 3; i++) { /* one head of keys for all */
        attn_array *of = i ? &general.v : &general.k;
        const size_t rows = of->shape[2], cols = of->shape[3];
        *of = attn_array_strided(shape->type, of->data, of->shape[0], of->shape[1], rows, cols,
                                 (ptrdiff_t)(of->shape[1] * rows * cols), 0, (ptrdiff_t)cols, 1);
    }
    if (apart == 1) { /* rows of wider arrays; keys in reverse order */
        attn_array *arrays[4] = {&general.q, &general.k, &general.v, &general.out};
        for (size_t a = 0; a < 4; a++) {
            const attn_array from = *arrays[a];
            const attn_array wide =
                test_4d(shape->type, from.shape[0], from.shape[1], from.shape[2], from.shape[3] + a + 1);
            *arrays[a] = test_part(&wide, 1, 1, from.shape[3]);
            test_assign(arrays[a], &from);
        }
        general.k.data = (char *)general.k.data +
                         (ptrdiff_t)(shape->kv_len - 1) * general.k.stride[2] * (ptrdiff_t)attn_dtype_size(shape->type);
        general.k.stride[2] = -general.k.stride[2];
    }
    if (spoilt == 1) ref_set(&general.k, shape->batch - 1, h, j, 0, (double)NAN);
    if (spoilt == 2) ref_set(&general.v, shape->batch - 1, h, j, shape->head_dim_v - 1, -(double)INFINITY);
    if (spoilt == 3) ref_set(&general.q, 0, shape->q_heads - 1, shape->q_len - 1, 0, large);
    if (spoilt == 4) test_fill(&general.v, large); /* rounding may exceed it */
    if (spoilt == 5) test_fill(&general.v, -0.0);
    if (spoilt == 6) ref_set(&general.k, 0, 0, j, 0, 90); /* other weights are flushed to 0 */
    if (spoilt == 7)
        for (size_t i = 0; i < shape->kv_len; i++) { /* with one dimension, all scores of a row are hugely negative */
            ref_set(&general.k, 0, 0, i, 0, 2 + (double)i / 64);
            ref_set(&general.q, 0, 0, 0, 0, -large / 4);
        }
    small = test_again(&general);
    small.lse = test_absent;
    if (!test_status(test_forward(&general, test_on(path)), ATTN_OK) ||
        !test_status(test_forward(&small, test_on(path)), ATTN_OK) || !test_same(&small.out, &general.out) ||
        (weights && !test_same(&small.scores, &general.scores)))
        return 0;
    test_poison(&small.out);
    if (weights) test_poison(&small.scores);
    return test_status(forward_in_used_workspace(&small, path), ATTN_OK) && test_same(&small.out, &general.out) &&
           (!weights || test_same(&small.scores, &general.scores));
}

static void try_small(attn_dtype type)
{
    static const size_t dims[] = {1, 8, 13, 64, 512, 1100}, dims_v[] = {1, 8, 16, 21, 40};
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t p = 0; p < num_paths; p++)
        for (size_t keys = 1; keys <= 17; keys++) {
            int pass = 1;
            for (size_t c = keys % 3; c < 30 && pass; c += 3) {
                const size_t more = c % 14 == 10 ? 530 : 1; /* than one task has */
                const test_shape shape = {type,        1 + c % 2,    4, 2, more + (c * 7 + keys) % 23, keys,
                                          dims[c % 6], dims_v[c / 6]};
                pass = small_as_general(&shape, paths[p], (int)(c + keys) % 8, (int)(c / 2 + keys) % 4,
                                        (int)(c / 3) % 2, 0);
                test_release();
            }
            test_ok(pass, "%s, %s, %zu keys: the same result alone and with lse", attn_path_name(paths[p]),
                    attn_dtype_name(type), keys);
        }
}

/* Nor is it with one query a head, over no more than a block. */
static void try_one_query(attn_dtype type)
{
    static const size_t heads[] = {1, 3, 9, 17}, lengths[] = {31, 32, 33, 47, 48, 64, 100, 257, 511, 512, 513},
                        dims[] = {1, 7, 16, 64, 130, 512}, dims_v[] = {1, 8, 21, 64, 67, 130, 300};
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t p = 0; p < num_paths; p++)
        for (size_t l = 1; l <= 17 + sizeof lengths / sizeof *lengths; l++) {
            const size_t keys = l <= 17 ? l : lengths[l - 18];
            int pass = 1;
            for (size_t c = 0; c < (l <= 17 ? 16 : 6) && pass; c++) {
                const size_t group = c % 5 == 0 ? 3 : 1, kv_heads = heads[(c + l) % (l <= 17 ? 4 : 2)];
                const test_shape shape = {type, 1 + c % 2, group * kv_heads,  kv_heads,
                                          1,    keys,      dims[(c + l) % 6], dims_v[(c * 3 + l) % 7]};
                pass = small_as_general(&shape, paths[p], (int)(c + l) % 8, (int)(c / 3 + l) % 4, (int)(c + l / 2) % 2,
                                        (int)(c / 2 + l) % 2);
                test_release();
            }
            test_ok(pass, "%s, %s, %zu keys, one query: the same result alone and with lse", attn_path_name(paths[p]),
                    attn_dtype_name(type), keys);
        }
}

int main(void)
{
    for (size_t t = 0; t < 2; t++) {
        try_one_query(test_types[t]);
        try_stages(test_types[t]);
        try_masked_numbers(test_types[t]);
        try_subsets(test_types[t]);
        try_layouts(test_types[t]);
        try_colsum(test_types[t]);
        try_small(test_types[t]);
    }
    return test_done();
}
