/* SPDX-License-Identifier: MIT-0
 *
 * Descriptors set up as other libraries define their arguments: which query sees which key
 * when q_len and kv_len differ, judged by which weights are 0, compared with matrices taken
 * from the documentation of those libraries:
 *
 *   PyTorch         scaled_dot_product_attention: is_causal keeps the lower
 *                   triangle from the upper left, torch.ones(L, S).tril()
 *   ONNX            Attention-23: the same, shifted right by the length of the past
 *   FlashAttention  from 2.1 on: causal is aligned to the lower right; a window
 *                   reaches from i + seqlen_k - seqlen_q - left to ... + right,
 *                   both included; -1 means unbounded
 *
 * In all of them, true in a boolean mask means visible, and rows that see nothing are 0.
 */
#include "check/harness.h"

#include <math.h>

enum { MOST = 6 };

typedef struct expectation {
    const char *name;
    size_t q_len, kv_len;
    const char *rows[MOST]; /* x sees, - does not */
} expectation;

static int sees(const expectation *e, size_t i, size_t j) { return e->rows[i][j] == 'x'; }

/* Runs the preset on a problem of this size, on every path. `mask`: with a mask that only odd
 * keys pass. */
static void try_preset(attn_desc preset, const expectation *e, attn_dtype type, int mask)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    const test_shape shape = {type, 1, 2, 1, e->q_len, e->kv_len, 4, 3};
    test_rng rng = {e->q_len};
    const attn_desc plain = test_problem(&shape, &rng);
    attn_desc d = preset;
    int pass = 1;
    d.q = plain.q;
    d.k = plain.k;
    d.v = plain.v;
    d.out = plain.out;
    d.lse = plain.lse;
    d.scores = plain.scores;
    if (mask) {
        d.mask = test_2d(ATTN_BOOL, e->q_len, e->kv_len);
        for (size_t i = 0; i < e->q_len * e->kv_len; i++)
            ref_set(&d.mask, 0, 0, i / e->kv_len, i % e->kv_len, i % e->kv_len % 2 ? 1 : 0);
    }
    for (size_t p = 0; p < num_paths; p++) {
        test_poison(&d.out);
        test_poison(&d.scores);
        pass = pass && test_status(test_forward(&d, test_on(paths[p])), ATTN_OK);
        for (size_t h = 0; h < 2; h++)
            for (size_t i = 0; i < e->q_len; i++) {
                int any = 0;
                for (size_t j = 0; j < e->kv_len; j++) {
                    const int want = sees(e, i, j) && (!mask || j % 2);
                    const ref_real weight = ref_get(&d.scores, 0, h, i, j);
                    any |= want;
                    if (pass && (want ? !(weight > 0) : weight != 0)) {
                        test_note("query %zu, key %zu: weight %g on %s", i, j, (double)weight,
                                  attn_path_name(paths[p]));
                        pass = 0;
                    }
                }
                for (size_t c = 0; c < 3; c++)
                    pass &=
                        any || (ref_get(&d.out, 0, h, i, c) == 0 && ref_get(&d.lse, 0, 0, h, i) == -(ref_real)INFINITY);
            }
    }
    if (pass) { /* and the preset sets nothing else */
        const ref_report report = ref_check(&d, 1);
        pass = test_within(&report);
    }
    test_ok(test_release() && pass, "%s, %zu x %zu%s, %s", e->name, e->q_len, e->kv_len, mask ? ", boolean mask" : "",
            attn_dtype_name(type));
}

static void try_types(attn_desc preset, const expectation *e, int mask)
{
    for (size_t t = 0; t < 2; t++) try_preset(preset, e, test_types[t], mask);
}

static void try_pytorch(void)
{
    static const expectation all[] = {
        {"PyTorch", 2, 5, {"xxxxx", "xxxxx"}},
        {"PyTorch", 5, 2, {"xx", "xx", "xx", "xx", "xx"}},
    };
    static const expectation causal[] = {
        {"PyTorch, is_causal", 3, 4, {"x---", "xx--", "xxx-"}}, /* as in the documentation of causal_upper_left */
        {"PyTorch, is_causal", 2, 5, {"x----", "xx---"}},
        {"PyTorch, is_causal", 5, 2, {"x-", "xx", "xx", "xx", "xx"}},
        {"PyTorch, is_causal", 1, 4, {"x---"}},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int mask = 0; mask < 2; mask++) try_types(attn_desc_pytorch(0), &all[i], mask);
    for (size_t i = 0; i < sizeof causal / sizeof *causal; i++) try_types(attn_desc_pytorch(1), &causal[i], 0);
}

static void try_onnx(void)
{
    static const expectation all = {"ONNX", 3, 5, {"xxxxx", "xxxxx", "xxxxx"}};
    static const expectation first[] = {
        {"ONNX, is_causal, no past", 3, 3, {"x--", "xx-", "xxx"}},
        {"ONNX, is_causal, no past", 2, 4, {"x---", "xx--"}},
        {"ONNX, is_causal, no past", 4, 2, {"x-", "xx", "xx", "xx"}},
    };
    static const expectation past[] = {
        {"ONNX, is_causal, past of 3", 2, 5, {"xxxx-", "xxxxx"}},
        {"ONNX, is_causal, past of 3", 1, 4, {"xxxx"}},
        {"ONNX, is_causal, past of 3", 3, 6, {"xxxx--", "xxxxx-", "xxxxxx"}},
    };
    for (int mask = 0; mask < 2; mask++) {
        try_types(attn_desc_onnx(0, 0), &all, mask);
        try_types(attn_desc_onnx(0, 2), &all, mask);
        for (size_t i = 0; i < 3; i++) { /* a mask may come with is_causal */
            try_types(attn_desc_onnx(1, 0), &first[i], mask);
            try_types(attn_desc_onnx(1, 3), &past[i], mask);
        }
    }
}

static void try_flash(void)
{
    static const struct {
        int causal;
        int64_t left, right;
        expectation e;
    } cases[] = {
        {0, -1, -1, {"FlashAttention", 2, 5, {"xxxxx", "xxxxx"}}},
        {1, -1, -1, {"FlashAttention, causal", 2, 5, {"xxxx-", "xxxxx"}}}, /* as in its documentation */
        {1, -1, -1, {"FlashAttention, causal", 5, 2, {"--", "--", "--", "x-", "xx"}}},
        {1, -1, -1, {"FlashAttention, causal", 3, 3, {"x--", "xx-", "xxx"}}},
        {0, 1, 0, {"FlashAttention, window (1, 0)", 2, 5, {"--xx-", "---xx"}}},
        {0, 0, 1, {"FlashAttention, window (0, 1)", 3, 5, {"--xx-", "---xx", "----x"}}},
        {0, 1, -1, {"FlashAttention, window (1, -1)", 2, 5, {"--xxx", "---xx"}}},
        {0, -1, 0, {"FlashAttention, window (-1, 0)", 2, 5, {"xxxx-", "xxxxx"}}},
        {0, 1, 1, {"FlashAttention, window (1, 1)", 5, 2, {"--", "--", "x-", "xx", "xx"}}},
        {0, 0, 0, {"FlashAttention, window (0, 0)", 4, 2, {"--", "--", "x-", "-x"}}},
        {1, 1, 1, {"FlashAttention, causal, window (1, 1)", 3, 6, {"--xx--", "---xx-", "----xx"}}},
        {1, 2, -1, {"FlashAttention, causal, window (2, -1)", 2, 5, {"-xxx-", "--xxx"}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        try_types(attn_desc_flash(cases[i].causal, cases[i].left, cases[i].right), &cases[i].e, 0);
}

/* FlashAttention adds -slope |i + seqlen_k - seqlen_q - j|, causal or not. With keys of 0 it is
 * the score. */
static void try_flash_alibi(int causal)
{
    static const double distances[2][5] = {{3, 2, 1, 0, 1}, {4, 3, 2, 1, 0}};
    const test_shape shape = {ATTN_F32, 1, 2, 1, 2, 5, 4, 3};
    test_rng rng = {1};
    const attn_desc plain = test_problem(&shape, &rng);
    attn_desc d = attn_desc_flash(causal, -1, -1);
    int pass;
    d.q = plain.q;
    d.k = plain.k;
    d.v = plain.v;
    d.out = plain.out;
    d.scores = plain.scores;
    d.stage = ATTN_STAGE_BIASED;
    d.alibi = test_1d(ATTN_F32, 2);
    ref_set(&d.alibi, 0, 0, 0, 0, 0.5);
    ref_set(&d.alibi, 0, 0, 0, 1, 0.25);
    test_fill(&d.k, 0);
    pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t h = 0; h < 2; h++)
        for (size_t i = 0; i < 2; i++)
            for (size_t j = 0; j < 5; j++) {
                const ref_real want =
                    causal && j > i + 3 ? -(ref_real)INFINITY : (ref_real)(-distances[i][j] * (h ? 0.25 : 0.5));
                pass &= ref_get(&d.scores, 0, h, i, j) == want;
            }
    test_ok(pass, "FlashAttention, ALiBi%s", causal ? ", causal" : "");
    test_release();
}

int main(void)
{
    try_pytorch();
    try_onnx();
    try_flash();
    for (int causal = 0; causal < 2; causal++) try_flash_alibi(causal);
    return test_done();
}
