/* SPDX-License-Identifier: MIT-0
 *
 * attn_layer_forward equals its parts: projections (and biases), attention, output
 * projection. Compared bit by bit with the other public functions, on every path;
 * single-head, multi-head, grouped, batched.
 */
#include "check/harness.h"

typedef struct layer_shape {
    size_t batch;                                                         /* 0: two-dimensional x */
    size_t tokens, d_model, heads, kv_heads, head_dim, head_dim_v, d_out; /* d_out 0: no w_o */
    int bias, causal;
} layer_shape;

static attn_array normal_2d(attn_dtype type, size_t rows, size_t columns, test_rng *rng)
{
    const attn_array a = test_2d(type, rows, columns);
    test_fill_normal(&a, rng, 1);
    return a;
}

static attn_layer make_layer(const layer_shape *s, attn_dtype type)
{
    const size_t columns_v = s->heads * s->head_dim_v;
    const size_t d_out = s->d_out ? s->d_out : columns_v;
    attn_layer l = attn_layer_default();
    test_rng rng = {s->tokens};
    l.x = s->batch ? test_3d(type, s->batch, s->tokens, s->d_model) : test_2d(type, s->tokens, s->d_model);
    test_fill_normal(&l.x, &rng, 1);
    l.w_q = normal_2d(type, s->d_model, s->heads * s->head_dim, &rng);
    l.w_k = normal_2d(type, s->d_model, s->kv_heads * s->head_dim, &rng);
    l.w_v = normal_2d(type, s->d_model, s->kv_heads * s->head_dim_v, &rng);
    if (s->d_out) l.w_o = normal_2d(type, columns_v, s->d_out, &rng);
    if (s->bias) {
        attn_array *const biases[4] = {&l.b_q, &l.b_k, &l.b_v, &l.b_o};
        const size_t columns[4] = {s->heads * s->head_dim, s->kv_heads * s->head_dim, s->kv_heads * s->head_dim_v,
                                   d_out};
        for (int i = 0; i < (s->d_out ? 4 : 3); i++) {
            *biases[i] = test_1d(type, columns[i]);
            test_fill_normal(biases[i], &rng, 1);
        }
    }
    l.num_heads = s->heads;
    l.kv_num_heads = s->kv_heads;
    l.out = s->batch ? test_3d(type, s->batch, s->tokens, d_out) : test_2d(type, s->tokens, d_out);
    if (s->batch)
        l.weights = s->heads > 1 ? test_4d(type, s->batch, s->heads, s->tokens, s->tokens)
                                 : test_3d(type, s->batch, s->tokens, s->tokens);
    else l.weights = s->heads > 1 ? test_3d(type, s->heads, s->tokens, s->tokens) : test_2d(type, s->tokens, s->tokens);
    l.attention.causal = s->causal;
    return l;
}

/* x w + b, (..., S, columns), as a view (B, H, S, D) */
static attn_array project(const attn_array *x, const attn_array *w, const attn_array *bias, size_t heads, attn_exec run,
                          int *pass)
{
    const size_t batch = ref_length(x, 3), tokens = ref_length(x, 2), columns = w->shape[1];
    attn_array y = test_3d(x->dtype, batch, tokens, columns), x3 = *x, split;
    x3.ndim = 3;
    x3.shape[0] = batch;
    x3.shape[1] = tokens;
    x3.shape[2] = ref_length(x, 1);
    *pass &= test_status(test_matmul(&x3, w, &y, run), ATTN_OK);
    for (size_t b = 0; b < batch && bias->ndim > 0; b++)
        for (size_t i = 0; i < tokens; i++)
            for (size_t c = 0; c < columns; c++) {
                const ref_real sum = ref_get(&y, 0, b, i, c), addend = ref_get(bias, 0, 0, 0, c);
                ref_set(&y, 0, b, i, c,
                        x->dtype == ATTN_F64 ? (double)sum + (double)addend : (double)((float)sum + (float)addend));
            }
    split = attn_array_4d(y.dtype, y.data, batch, tokens, heads, columns / heads);
    return attn_array_swap(split, 1, 2);
}

static int same_numbers(const attn_array *got, const attn_array *want, size_t count)
{
    const attn_array g = attn_array_1d(got->dtype, got->data, count), w = attn_array_1d(want->dtype, want->data, count);
    return test_same(&g, &w);
}

static void try_layer(const layer_shape *s, attn_dtype type, attn_path path)
{
    const attn_exec run = test_on(path);
    const size_t batch = s->batch ? s->batch : 1;
    const attn_layer l = make_layer(s, type);
    attn_desc d = l.attention;
    attn_array heads, out;
    int pass = 1;
    d.q = project(&l.x, &l.w_q, &l.b_q, s->heads, run, &pass);
    d.k = project(&l.x, &l.w_k, &l.b_k, s->kv_heads, run, &pass);
    d.v = project(&l.x, &l.w_v, &l.b_v, s->kv_heads, run, &pass);
    heads = test_4d(type, batch, s->tokens, s->heads, s->head_dim_v);
    d.out = attn_array_swap(heads, 1, 2);
    d.scores = test_4d(type, batch, s->heads, s->tokens, s->tokens);
    pass &= test_status(test_forward(&d, run), ATTN_OK);
    out = attn_array_3d(type, heads.data, batch, s->tokens, s->heads * s->head_dim_v);
    if (s->d_out) {
        const attn_array whole = project(&out, &l.w_o, &l.b_o, 1, run, &pass);
        out = attn_array_3d(type, whole.data, batch, s->tokens, s->d_out);
    }
    pass = pass && test_status(test_layer(&l, run), ATTN_OK);
    pass = pass && same_numbers(&l.out, &out, batch * s->tokens * out.shape[2]);
    pass = pass && same_numbers(&l.weights, &d.scores, batch * s->heads * s->tokens * s->tokens);
    test_ok(pass, "%s, %s: %zu x %zu x %zu, heads %zu/%zu of %zu and %zu, output %zu%s%s", attn_dtype_name(type),
            attn_path_name(path), batch, s->tokens, s->d_model, s->heads, s->kv_heads, s->head_dim, s->head_dim_v,
            s->d_out, s->bias ? ", biases" : "", s->causal ? ", causal" : "");
    test_ok(test_release(), "%s, %s: guards", attn_dtype_name(type), attn_path_name(path));
}

/* Without weights, and on several workers: the same output. */
static void try_variants(attn_dtype type)
{
    static const layer_shape s = {2, 23, 20, 6, 2, 8, 5, 13, 1, 1};
    attn_layer l = make_layer(&s, type), plain = l, parallel = l;
    int pass = test_status(test_layer(&l, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    plain.weights = test_absent;
    plain.out = test_copy(&l.out);
    test_poison(&plain.out);
    pass &= test_status(test_layer(&plain, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same(&plain.out, &l.out);
    parallel.out = test_copy(&l.out);
    parallel.weights = test_copy(&l.weights);
    test_poison(&parallel.out);
    test_poison(&parallel.weights);
    pass &= test_status(test_layer(&parallel, test_shuffled(ATTN_PATH_AUTO, 3)), ATTN_OK) &&
            test_same(&parallel.out, &l.out) && test_same(&parallel.weights, &l.weights);
    test_ok(pass && test_release(), "%s: with and without weights, on one worker and three", attn_dtype_name(type));
}

/* 0 means one head, and as many key/value heads as query heads. */
static void try_defaults(attn_dtype type)
{
    static const layer_shape s = {0, 6, 8, 1, 1, 6, 8, 0, 0, 0};
    attn_layer l = make_layer(&s, type), zero = l;
    int pass = test_status(test_layer(&l, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    zero.num_heads = zero.kv_num_heads = 0;
    zero.out = test_copy(&l.out);
    test_poison(&zero.out);
    pass &= test_status(test_layer(&zero, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same(&zero.out, &l.out);
    test_ok(pass && test_release(), "%s: zero heads are one head", attn_dtype_name(type));
}

int main(void)
{
    static const layer_shape shapes[] = {
        {1, 6, 8, 1, 1, 6, 8, 0, 0, 0},    {0, 6, 8, 1, 1, 6, 8, 0, 0, 0},    {0, 5, 8, 1, 1, 3, 4, 7, 1, 0},
        {1, 10, 16, 4, 4, 4, 4, 16, 0, 0}, {3, 17, 24, 6, 2, 8, 5, 24, 1, 1}, {2, 33, 12, 3, 1, 16, 9, 0, 1, 0},
        {0, 40, 9, 9, 3, 2, 3, 11, 0, 1},
    };
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t t = 0; t < 2; t++) {
        for (size_t p = 0; p < num_paths; p++)
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) try_layer(&shapes[i], test_types[t], paths[p]);
        try_variants(test_types[t]);
        try_defaults(test_types[t]);
    }
    return test_done();
}
