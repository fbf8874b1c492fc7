/* SPDX-License-Identifier: MIT-0
 *
 * Small examples whose results were computed with 40 digits, on every path, in both types:
 * as steps, as one call, fused and as a layer.
 */
#include "check/harness.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

typedef struct example {
    const char *name;
    size_t tokens, d_model, d_k, d_v;
    const double *x, *w_q, *w_k, *w_v;          /* (tokens, d_model), (d_model, d_k or d_v) */
    const double *scores, *weights, *out, *lse; /* NULL: not compared */
} example;

static const double identity[4] = {1, 0, 0, 1};
static const double identity_v[4] = {1, 2, 3, 4};
static const double identity_out[4] = {1.6604769013466861488, 2.6604769013466861488, 2.3395230986533138512,
                                       3.3395230986533138512};

static const double w_q[12] = {1, 0, 2, 0, 1, 0, 1, 1, 0, 0, 0, 1};
static const double w_k[12] = {0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 1, 0};
static const double w_v[8] = {0, 2, 0, 3, 1, 0, 1, 1};

static const double small_x[12] = {1, 0, 1, 0, 0, 2, 0, 2, 1, 1, 1, 1};
static const double small_scores[9] = {4.0414518843273803516, 3.4641016151377545871, 5.7735026918962576451,
                                       3.4641016151377545871, 2.309401076758503058,  4.6188021535170061161,
                                       5.7735026918962576451, 4.6188021535170061161, 8.0829037686547607031};
static const double small_weights[9] = {0.1386266998248795788,   0.077822799304720085269, 0.78355050087040033593,
                                        0.22280523120914930524,  0.07021749164966244735,  0.70697727714118824741,
                                        0.087846100599961762852, 0.027684865395027247032, 0.88446903400501099012};
static const double small_out[6] = {1.8613733001751204212, 5.6011387993099218553, 1.7771947687908506948,
                                    5.2492140584627276737, 1.9121538994000382371, 5.7039853283902074427};
static const double small_lse[3] = {6.0174224556771611846, 4.9655589069476538215, 8.2056715442541920758};

static const double large_x[12] = {5, 0, 5, 0, 0, 5, 0, 5, 5, 5, 5, 5};
static const double large_scores[9] = {101.03629710818450879, 43.301270189221932338, 144.33756729740644113,
                                       43.301270189221932338, 14.433756729740644113, 57.735026918962576451,
                                       144.33756729740644113, 57.735026918962576451, 202.07259421636901758};
static const double large_weights[9] = {1.5649385807032107129e-19, 1.3197561485077392677e-44, 0.99999999999999999984,
                                        5.3888843715031097395e-7,  1.5649377373759047216e-19, 0.99999946111156284953,
                                        8.4332776045095785937e-26, 2.0653373139200372714e-63, 1.0};
static const double large_out[6] = {
    9.9999999999999999992, 29.999999999999999997, 9.9999973055578142477, 29.999989222231256992, 10.0, 30.0};
static const double large_lse[3] = {144.33756729740644113, 57.735027457851158802, 202.07259421636901758};

static const example examples[] = {
    {"identity", 2, 2, 2, 2, identity, identity, identity, identity_v, NULL, NULL, identity_out, NULL},
    {"three tokens", 3, 4, 3, 2, small_x, w_q, w_k, w_v, small_scores, small_weights, small_out, small_lse},
    {"three large tokens", 3, 4, 3, 2, large_x, w_q, w_k, w_v, large_scores, large_weights, large_out, large_lse},
};

static attn_array matrix(attn_dtype type, const double *values, size_t rows, size_t columns)
{
    attn_array a = test_2d(type, rows, columns);
    for (size_t i = 0; i < rows * columns; i++) ref_set(&a, 0, 0, i / columns, i % columns, values[i]);
    return a;
}

/* Scores below 256 have errors of about 256 u, and so have the logarithms of weights. In
 * float32, weights below 2^-126 are 0. */
static int close_to(const char *what, const attn_array *got, const double *want)
{
    const size_t columns = ref_length(got, 1), n = ref_length(got, 2) * columns;
    const double relative = got->dtype == ATTN_F64 ? 1e-13 : 5e-5;
    const double absolute = got->dtype == ATTN_F64 ? 0 : 1.2e-38;
    for (size_t i = 0; want && i < n; i++) {
        const double number = (double)ref_get(got, 0, 0, i / columns, i % columns);
        if (!(fabs(number - want[i]) <= relative * fabs(want[i]) + absolute)) {
            test_note("%s[%zu] is %.17g, wanted %.17g", what, i, number, want[i]);
            return 0;
        }
    }
    return 1;
}

static void try_example(const example *e, attn_dtype type, attn_path path)
{
    const attn_exec run = test_on(path);
    const char *names[2];
    attn_array x = matrix(type, e->x, e->tokens, e->d_model);
    attn_array wq = matrix(type, e->w_q, e->d_model, e->d_k);
    attn_array wk = matrix(type, e->w_k, e->d_model, e->d_k);
    attn_array wv = matrix(type, e->w_v, e->d_model, e->d_v);
    attn_array q = test_2d(type, e->tokens, e->d_k), k = test_2d(type, e->tokens, e->d_k),
               v = test_2d(type, e->tokens, e->d_v);
    attn_array scores = test_2d(type, e->tokens, e->tokens), weights = test_2d(type, e->tokens, e->tokens);
    attn_array out = test_2d(type, e->tokens, e->d_v);
    attn_desc desc = attn_desc_default();
    attn_layer layer = attn_layer_default();
    int pass;
    names[0] = attn_dtype_name(type);
    names[1] = attn_path_name(path);

    pass = test_status(test_compute_qkv(&x, &wq, &wk, &wv, &q, &k, &v, run), ATTN_OK);
    pass = pass && test_status(test_scores(&q, &k, 0, &scores, run), ATTN_OK) && close_to("scores", &scores, e->scores);
    pass = pass && test_status(test_softmax(&scores, -1, &weights, run), ATTN_OK) &&
           close_to("weights", &weights, e->weights);
    pass = pass && test_status(test_weighted_sum(&weights, &v, &out, run), ATTN_OK) && close_to("out", &out, e->out);
    test_ok(pass, "%s, %s, %s: steps", e->name, names[0], names[1]);

    test_poison(&out);
    test_poison(&weights);
    pass = test_status(test_self_attention(&q, &k, &v, &out, &weights, run), ATTN_OK);
    pass = pass && close_to("out", &out, e->out) && close_to("weights", &weights, e->weights);
    test_ok(pass, "%s, %s, %s: self_attention", e->name, names[0], names[1]);

    test_poison(&out);
    test_poison(&weights);
    desc.q = q;
    desc.k = k;
    desc.v = v;
    desc.out = out;
    desc.lse = test_1d(type, e->tokens);
    pass = test_status(test_forward(&desc, run), ATTN_OK) && close_to("out", &out, e->out) &&
           close_to("lse", &desc.lse, e->lse);
    test_ok(pass, "%s, %s, %s: forward", e->name, names[0], names[1]);

    test_poison(&out);
    layer.x = x;
    layer.w_q = wq;
    layer.w_k = wk;
    layer.w_v = wv;
    layer.out = out;
    layer.weights = weights;
    pass = test_status(test_layer(&layer, run), ATTN_OK) && close_to("out", &out, e->out) &&
           close_to("weights", &weights, e->weights);
    test_ok(pass, "%s, %s, %s: layer", e->name, names[0], names[1]);
    test_ok(test_release(), "%s, %s, %s: guards", e->name, names[0], names[1]);
}

/* The reference, by which all other tests judge, must give these values too. */
static void try_reference(const example *e)
{
    attn_desc desc = attn_desc_default();
    ref_head *head;
    double worst = 0;
    attn_array x = matrix(ATTN_F64, e->x, e->tokens, e->d_model);
    attn_array w[3], *projected[3] = {&desc.q, &desc.k, &desc.v};
    w[0] = matrix(ATTN_F64, e->w_q, e->d_model, e->d_k);
    w[1] = matrix(ATTN_F64, e->w_k, e->d_model, e->d_k);
    w[2] = matrix(ATTN_F64, e->w_v, e->d_model, e->d_v);
    for (int a = 0; a < 3; a++) {
        *projected[a] = test_2d(ATTN_F64, e->tokens, ref_length(&w[a], 1));
        for (size_t i = 0; i < e->tokens; i++)
            for (size_t j = 0; j < ref_length(&w[a], 1); j++) {
                double sum = 0; /* of small integers */
                for (size_t k = 0; k < e->d_model; k++)
                    sum += (double)(ref_get(&x, 0, 0, i, k) * ref_get(&w[a], 0, 0, k, j));
                ref_set(projected[a], 0, 0, i, j, sum);
            }
    }
    head = ref_open(&desc, 0, 0);
    for (size_t i = 0; i < e->tokens; i++) {
        const ref_row *row = ref_compute_row(head, i);
        for (size_t j = 0; j < e->tokens && e->weights; j++)
            worst = fmax(worst, fabs((double)row->weights[j].value / e->weights[i * e->tokens + j] - 1));
        for (size_t c = 0; c < e->d_v; c++)
            worst = fmax(worst, fabs((double)row->out[c].value / e->out[i * e->d_v + c] - 1));
        if (e->lse) worst = fmax(worst, fabs((double)row->lse.value / e->lse[i] - 1));
    }
    ref_close(head);
    test_ok(worst < 1e-13, "%s: the reference", e->name);
    test_release();
}

/* If all scores are the same and overflow, and all values are the same, the result is that value: of float32, which is
 * computed in double, exactly; of float64 but for n - 1 roundings of the sum, one of 1 / n and one of the product. */
static void try_equal_values(attn_dtype type, attn_path path)
{
    const double giant = type == ATTN_F64 ? 0x1p1000 : 0x1p120;
    int pass = 1;
    for (size_t n = 1; n < 60; n++) {
        attn_desc desc = attn_desc_default();
        desc.q = test_2d(type, 1, 2);
        desc.k = test_2d(type, n, 2);
        desc.v = test_2d(type, n, 4);
        desc.out = test_2d(type, 1, 4);
        test_fill(&desc.q, giant);
        test_fill(&desc.k, giant);
        for (size_t i = 0; i < 4 * n; i++)
            ref_set(&desc.v, 0, 0, i / 4, i % 4, (i & 1 ? -0.1 : 0.1) * (double)(1 + i % 4));
        pass &= test_status(test_forward(&desc, test_on(path)), ATTN_OK);
        for (size_t c = 0; c < 4; c++) {
            const double want = (double)ref_get(&desc.v, 0, 0, 0, c),
                         error = (double)ref_get(&desc.out, 0, 0, 0, c) - want;
            pass &= fabs(error) <= (type == ATTN_F64 ? (double)(n + 1) * 0x1p-53 * fabs(want) : 0);
        }
        pass &= test_release();
    }
    test_ok(pass, "%s, %s: equal values, scores that overflow", attn_dtype_name(type), attn_path_name(path));
}

int main(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t e = 0; e < sizeof examples / sizeof *examples; e++) {
        try_reference(&examples[e]);
        for (size_t t = 0; t < 2; t++)
            for (size_t p = 0; p < num_paths; p++) try_example(&examples[e], test_types[t], paths[p]);
    }
    for (size_t t = 0; t < 2; t++)
        for (size_t p = 0; p < num_paths; p++) try_equal_values(test_types[t], paths[p]);
    return test_done();
}
