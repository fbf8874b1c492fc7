/* SPDX-License-Identifier: MIT-0
 *
 * The Attention operator of ONNX (opset 23 and later, with softcap before the mask, as
 * corrected in 2026), in cases that can be checked by hand:
 *
 *   order       scale, softcap, mask, softmax, and qk_matmul_output after each of
 *               them: modes 0 to 3 are the stages raw, softcapped, biased, probs
 *   heads       query head h reads key and value head h / (q_num_heads / kv_num_heads)
 *   3-D inputs  (batch, sequence, heads * head_size) are strides
 *   lengths     nonpad_kv_seqlen: keys beyond have no weight, with or without softcap
 *   masks       fewer columns than keys: keys beyond have no weight
 *   nodes       which keys each query sees in the operator's own tests of opsets 23 to 25
 */
#include "check/harness.h"

#include <math.h>

static int near(const char *what, const attn_array *got, const double *want, size_t n)
{
    const double u = got->dtype == ATTN_F64 ? ldexp(1, -53) : ldexp(1, -24);
    for (size_t j = 0; j < n; j++) {
        const double x = (double)ref_get(got, 0, 0, 0, j);
        if (!(isinf(want[j]) ? x < 0 && isinf(x) : fabs(x - want[j]) <= 16 * u * fabs(want[j]))) {
            test_note("%s[%zu] is %.17g, wanted %.17g", what, j, x, want[j]);
            return 0;
        }
    }
    return 1;
}

/* One query, q = 2, and keys 3, 1, 2: scores 3, 1, 2 at scale 1/2; capped to
 * 2 tanh(score / 2); 0, 1 and -inf added. */
static void try_order(attn_dtype type, attn_path path)
{
    static const double keys[3] = {3, 1, 2}, values[3] = {1, 5, 1000}, mask[3] = {0, 1, -(double)INFINITY};
    static const double stages[ATTN_STAGE_COUNT][3] = {
        {0.47154632325288096966, 0.52845367674711903034, 0},
        {3, 1, 2},
        {1.8102965072897328765, 0.92423431452001951700, 1.5231883119115297762},
        {1.8102965072897328765, 1.9242343145200195170, -(double)INFINITY},
    };
    static const double out[1] = {3.1138147069884761213}, lse[1] = {2.5620344424645721908};
    static const struct {
        const char *name;
        attn_stage stage;
    } modes[] = {
        {"0", ATTN_STAGE_RAW}, {"1", ATTN_STAGE_SOFTCAPPED}, {"2", ATTN_STAGE_BIASED}, {"3", ATTN_STAGE_PROBS}};
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
        attn_desc d = attn_desc_onnx(0, 0);
        int pass;
        d.q = test_4d(type, 1, 1, 1, 1);
        d.k = test_4d(type, 1, 1, 3, 1);
        d.v = test_4d(type, 1, 1, 3, 1);
        d.mask = test_4d(type, 1, 1, 1, 3);
        d.out = test_4d(type, 1, 1, 1, 1);
        d.lse = test_3d(type, 1, 1, 1);
        d.scores = test_4d(type, 1, 1, 1, 3);
        d.stage = modes[m].stage;
        d.scale = 0.5;
        d.softcap = 2;
        test_fill(&d.q, 2);
        for (size_t j = 0; j < 3; j++) {
            ref_set(&d.k, 0, 0, j, 0, keys[j]);
            ref_set(&d.v, 0, 0, j, 0, values[j]);
            ref_set(&d.mask, 0, 0, 0, j, mask[j]);
        }
        pass = test_status(test_forward(&d, test_on(path)), ATTN_OK);
        /* scores of masked keys are not promised at stages before the mask: see the manual */
        pass = pass && near("qk_matmul_output", &d.scores, stages[d.stage],
                            d.stage == ATTN_STAGE_RAW || d.stage == ATTN_STAGE_SOFTCAPPED ? 2 : 3);
        pass = pass && near("Y", &d.out, out, 1) && near("lse", &d.lse, lse, 1);
        test_ok(pass && test_release(), "%s, %s: scale, softcap, mask; qk_matmul_output_mode %s", attn_path_name(path),
                attn_dtype_name(type), modes[m].name);
    }
}

/* Keys of 0 give equal weights, so that each output is a mean of values. With integers and a
 * power of two of keys it is exact. */
static void try_heads(attn_dtype type, attn_path path, size_t q_heads, size_t kv_heads, int packed)
{
    enum { BATCH = 2, QUERIES = 3, KEYS = 4, SIZE = 5, SIZE_V = 2 };
    test_rng rng = {q_heads};
    attn_desc d = attn_desc_onnx(0, 0);
    int pass;
    if (packed) { /* 3-D: the heads of a row next to each other */
        const attn_array q = test_4d(type, BATCH, QUERIES, q_heads, SIZE),
                         k = test_4d(type, BATCH, KEYS, kv_heads, SIZE);
        const attn_array v = test_4d(type, BATCH, KEYS, kv_heads, SIZE_V),
                         y = test_4d(type, BATCH, QUERIES, q_heads, SIZE_V);
        d.q = attn_array_swap(q, 1, 2);
        d.k = attn_array_swap(k, 1, 2);
        d.v = attn_array_swap(v, 1, 2);
        d.out = attn_array_swap(y, 1, 2);
    } else {
        d.q = test_4d(type, BATCH, q_heads, QUERIES, SIZE);
        d.k = test_4d(type, BATCH, kv_heads, KEYS, SIZE);
        d.v = test_4d(type, BATCH, kv_heads, KEYS, SIZE_V);
        d.out = test_4d(type, BATCH, q_heads, QUERIES, SIZE_V);
    }
    test_fill_normal(&d.q, &rng, 1);
    test_fill(&d.k, 0);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t h = 0; h < kv_heads; h++)
            for (size_t j = 0; j < KEYS; j++)
                for (size_t c = 0; c < SIZE_V; c++) /* a mean of 100 b + 10 h + c */
                    ref_set(&d.v, b, h, j, c, (double)(100 * b + 10 * h + c) + (j % 2 ? 1 : -1));
    pass = test_status(test_forward(&d, test_on(path)), ATTN_OK);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t h = 0; h < q_heads; h++)
            for (size_t i = 0; i < QUERIES; i++)
                for (size_t c = 0; c < SIZE_V; c++)
                    pass &= ref_get(&d.out, b, h, i, c) == (ref_real)(100 * b + 10 * (h / (q_heads / kv_heads)) + c);
    if (packed && pass) /* in memory: batch, query, head, element */
        for (size_t n = 0; n < BATCH * QUERIES * q_heads * SIZE_V; n++) {
            const attn_array flat = attn_array_1d(type, d.out.data, BATCH * QUERIES * q_heads * SIZE_V);
            const size_t b = n / (QUERIES * q_heads * SIZE_V), h = n / SIZE_V % q_heads;
            pass &= ref_get(&flat, 0, 0, 0, n) == (ref_real)(100 * b + 10 * (h / (q_heads / kv_heads)) + n % SIZE_V);
        }
    test_ok(pass && test_release(), "%s, %s: %zu heads over %zu%s", attn_path_name(path), attn_dtype_name(type),
            q_heads, kv_heads, packed ? ", 3-D" : "");
}

/* 4, 1 and 0 keys of 6: means of the first values; the others are 1000. */
static void try_lengths(attn_dtype type, attn_path path, double softcap)
{
    static const double lengths[3] = {4, 1, 0}, means[3] = {2.5, 1, 0};
    attn_desc d = attn_desc_onnx(0, 0);
    int pass;
    d.q = test_4d(type, 3, 1, 2, 3);
    d.k = test_4d(type, 3, 1, 6, 3);
    d.v = test_4d(type, 3, 1, 6, 1);
    d.out = test_4d(type, 3, 1, 2, 1);
    d.kv_lens = test_1d(ATTN_I64, 3);
    d.softcap = softcap;
    test_fill(&d.q, 1);
    test_fill(&d.k, 0);
    test_fill(&d.v, 1000);
    for (size_t b = 0; b < 3; b++) {
        ref_set(&d.kv_lens, 0, 0, 0, b, lengths[b]);
        for (size_t j = 0; j < (size_t)lengths[b]; j++) ref_set(&d.v, b, 0, j, 0, (double)(j + 1));
    }
    pass = test_status(test_forward(&d, test_on(path)), ATTN_OK);
    for (size_t b = 0; b < 3; b++)
        for (size_t i = 0; i < 2; i++) pass &= ref_get(&d.out, b, 0, i, 0) == (ref_real)means[b];
    test_ok(pass && test_release(), "%s, %s: nonpad_kv_seqlen%s", attn_path_name(path), attn_dtype_name(type),
            softcap > 0 ? " with softcap" : "");
}

/* Columns for 2 of 4 keys; with causality the first query sees one of them. A mask with a column too many is refused.
 */
static void try_short_mask(attn_dtype type, attn_path path, attn_dtype mask, int causal)
{
    attn_desc d = attn_desc_onnx(causal, 0);
    int pass;
    d.q = test_4d(type, 1, 1, 3, 2);
    d.k = test_4d(type, 1, 1, 4, 2);
    d.v = test_4d(type, 1, 1, 4, 1);
    d.out = test_4d(type, 1, 1, 3, 1);
    d.mask = test_2d(mask, 3, 2);
    test_fill(&d.q, 1);
    test_fill(&d.k, 0);
    test_fill(&d.mask, mask == ATTN_BOOL);
    for (size_t j = 0; j < 4; j++) ref_set(&d.v, 0, 0, j, 0, j < 2 ? (double)(4 * j) : 1000);
    pass = test_status(test_forward(&d, test_on(path)), ATTN_OK);
    for (size_t i = 0; i < 3; i++) pass &= ref_get(&d.out, 0, 0, i, 0) == (ref_real)(causal && i == 0 ? 0 : 2);
    d.mask = test_2d(mask, 3, 5);
    pass &= test_status(test_forward(&d, test_on(path)), ATTN_ERR_SHAPE);
    test_ok(pass && test_release(), "%s, %s: a short %s mask%s", attn_path_name(path), attn_dtype_name(type),
            attn_dtype_name(mask), causal ? ", causal" : "");
}

/* Which keys [from, to) each query sees in the operator's own tests of opsets 23 to 25, by their names there. With keys
 * of 0, an output is the mean of these numbers. */
typedef struct node {
    const char *name;
    size_t batch, q_len, kv_len, past;
    double lens[2];     /* nonpad_kv_seqlen; 0: none */
    int causal, window; /* left_window_size and right_window_size: opset 25 */
    int64_t left, right;
    size_t columns;            /* of an additive mask that is 0 */
    const unsigned char *bits; /* of a boolean one */
    size_t sees[2][5][2];
} node;

static void try_node(const node *n, attn_dtype type, attn_path path)
{
    attn_desc d = attn_desc_onnx(n->causal, n->past);
    int pass;
    d.q = test_4d(type, n->batch, 4, n->q_len, 8);
    d.k = test_4d(type, n->batch, 2, n->kv_len, 8);
    d.v = test_4d(type, n->batch, 2, n->kv_len, 1);
    d.out = test_4d(type, n->batch, 4, n->q_len, 1);
    test_fill(&d.q, 1);
    test_fill(&d.k, 0);
    for (size_t b = 0; b < n->batch; b++)
        for (size_t h = 0; h < 2; h++)
            for (size_t j = 0; j < n->kv_len; j++) ref_set(&d.v, b, h, j, 0, (double)j);
    if (n->lens[0] > 0) {
        d.kv_lens = test_1d(ATTN_I64, n->batch);
        for (size_t b = 0; b < n->batch; b++) ref_set(&d.kv_lens, 0, 0, 0, b, n->lens[b]);
        d.align = ATTN_ALIGN_LOWER_RIGHT;
    }
    d.window = n->window, d.window_left = n->left, d.window_right = n->right;
    if (n->columns) {
        d.mask = test_4d(type, n->batch, 4, n->q_len, n->columns);
        test_fill(&d.mask, 0);
    }
    if (n->bits) d.mask = attn_array_2d(ATTN_BOOL, n->bits, n->q_len, n->kv_len);
    pass = test_status(test_forward(&d, test_on(path)), ATTN_OK);
    for (size_t b = 0; b < n->batch && pass; b++)
        for (size_t i = 0; i < n->q_len && pass; i++) {
            const size_t lo = n->sees[b][i][0], hi = n->sees[b][i][1];
            const double mean = lo < hi ? (double)(lo + hi - 1) / 2 : 0;
            for (size_t h = 0; h < 4 && pass; h++) {
                const attn_array got = attn_array_1d(type, ref_at(&d.out, b, h, i, 0), 1);
                pass = near("Y", &got, &mean, 1);
            }
        }
    test_ok(pass && test_release(), "%s, %s: %s", attn_path_name(path), attn_dtype_name(type), n->name);
}

static void try_nodes(attn_dtype type, attn_path path)
{
    static const unsigned char causal_bits[4] = {1, 0, 0, 0}, empty_row[4] = {0, 0, 1, 1};
    /* clang-format off */
    static const node nodes[] = {
        {"4d_gqa_causal_nonpad_decode", 2, 1, 8, 0, {8, 5}, 1, 0, 0, 0, 0, NULL, {{{0, 8}}, {{0, 5}}}},
        {"4d_causal_nonpad_continued_prefill", 1, 2, 4, 0, {4}, 1, 0, 0, 0, 0, NULL, {{{0, 3}, {0, 4}}}},
        {"4d_causal_nonpad_negative_offset_structural_empty", 1, 4, 4, 0, {2}, 1, 0, 0, 0, 0, NULL,
         {{{0, 0}, {0, 0}, {0, 1}, {0, 2}}}},
        {"4d_diff_heads_mask4d_padded_kv", 2, 4, 6, 0, {3, 4}, 0, 0, 0, 0, 4, NULL,
         {{{0, 3}, {0, 3}, {0, 3}, {0, 3}}, {{0, 4}, {0, 4}, {0, 4}, {0, 4}}}},
        {"4d_causal_with_past_and_present", 1, 4, 7, 3, {0}, 1, 0, 0, 0, 0, NULL, {{{0, 4}, {0, 5}, {0, 6}, {0, 7}}}},
        {"causal_boolmask_nan_robustness", 1, 2, 2, 0, {0}, 1, 0, 0, 0, 0, causal_bits, {{{0, 1}, {0, 0}}}},
        {"23_boolmask_fullymasked_row_nan_robustness", 1, 2, 2, 0, {0}, 0, 0, 0, 0, 0, empty_row, {{{0, 0}, {0, 2}}}},
        {"asymmetric_bidirectional_window", 1, 5, 5, 0, {0}, 0, 1, 1, 2, 0, NULL,
         {{{0, 3}, {0, 4}, {1, 5}, {2, 5}, {3, 5}}}},
        {"external_cache, causal, left_window_size 2 and a mask", 2, 2, 4, 0, {3, 4}, 1, 1, 2, -1, 4, NULL,
         {{{0, 2}, {0, 3}}, {{0, 3}, {1, 4}}}},
    };
    /* clang-format on */
    for (size_t n = 0; n < sizeof nodes / sizeof *nodes; n++) try_node(&nodes[n], type, path);
}

int main(void)
{
    static const attn_dtype types[] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t p = 0; p < num_paths; p++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            if (t < 2) try_order(types[t], paths[p]);
            if (t < 3) try_nodes(types[t], paths[p]);
            for (int packed = 0; packed < 2; packed++) {
                try_heads(types[t], paths[p], 4, 4, packed);
                try_heads(types[t], paths[p], 9, 3, packed);
                try_heads(types[t], paths[p], 6, 1, packed);
            }
            try_lengths(types[t], paths[p], 0);
            try_lengths(types[t], paths[p], 2);
            for (int causal = 0; causal < 2 && t < 2; causal++) {
                try_short_mask(types[t], paths[p], ATTN_BOOL, causal);
                try_short_mask(types[t], paths[p], types[t], causal);
            }
        }
    return test_done();
}
