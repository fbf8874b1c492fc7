/* SPDX-License-Identifier: MIT-0
 *
 * Every feature of attn_desc alone and with every other: results are within the bound and have
 * the same bits on every path, and if the keys are split, merged states give the bits of the
 * whole. Combinations that are not possible are refused.
 */
#include "check/harness.h"

#include <math.h>
#include <stdio.h>

enum { BATCH = 2, Q_LEN = 4, KV_LEN = 528, PAGE = 16, PAGES_EACH = KV_LEN / PAGE, CUT = 512, SEQUENCES = 3 };

typedef enum feature {
    SCALE,
    SOFTCAP,
    ALIBI,
    SINKS,
    BOOLEAN,
    ADDITIVE,
    UPPER_LEFT,
    LOWER_RIGHT,
    OFFSET,
    WINDOW,
    LENGTHS,
    GROUPS,
    HALF,
    BFLOAT,
    RAW,
    SOFTCAPPED,
    BIASED,
    COLUMNS,
    STATES,
    PAGED,
    PACKED,
    FEATURES
} feature;

/* Only one option of each kind can be used. */
enum { OWN, MASK, CAUSAL, STORAGE, STAGE };
static const struct {
    const char *name;
    int kind;
} features[FEATURES] = {
    {"scale", OWN},
    {"softcap", OWN},
    {"ALiBi", OWN},
    {"sinks", OWN},
    {"boolean mask", MASK},
    {"additive mask", MASK},
    {"causal, upper-left", CAUSAL},
    {"causal, lower-right", CAUSAL},
    {"causal, offset", CAUSAL},
    {"window", OWN},
    {"lengths", OWN},
    {"grouped heads", OWN},
    {"float16 keys and values", STORAGE},
    {"bfloat16 keys and values", STORAGE},
    {"raw scores", STAGE},
    {"softcapped scores", STAGE},
    {"biased scores", STAGE},
    {"column sums", OWN},
    {"states", OWN},
    {"pages", OWN},
    {"packed sequences", OWN},
};

/* Scores of packed keys: their columns would be those of all sequences. */
static int refused(const int *has) { return has[PACKED] && (has[RAW] || has[SOFTCAPPED] || has[BIASED]); }

static attn_array stored_as(const attn_array *a, attn_dtype type)
{
    attn_array b = test_4d(type, a->shape[0], a->shape[1], a->shape[2], a->shape[3]);
    for (size_t n = 0; n < b.shape[0]; n++)
        for (size_t h = 0; h < b.shape[1]; h++)
            for (size_t j = 0; j < b.shape[2]; j++)
                for (size_t c = 0; c < b.shape[3]; c++) ref_set(&b, n, h, j, c, (double)ref_get(a, n, h, j, c));
    return b;
}

/* The page that holds position j of batch b. */
static size_t page_of(size_t b, size_t j) { return (7 * (b * PAGES_EACH + j / PAGE) + 3) % (BATCH * PAGES_EACH); }

static attn_array paged(const attn_array *a)
{
    attn_array pages = test_4d(a->dtype, BATCH * PAGES_EACH, a->shape[1], PAGE, a->shape[3]);
    for (size_t b = 0; b < a->shape[0]; b++)
        for (size_t h = 0; h < a->shape[1]; h++)
            for (size_t j = 0; j < KV_LEN; j++)
                for (size_t c = 0; c < a->shape[3]; c++)
                    ref_set(&pages, page_of(b, j), h, j % PAGE, c, (double)ref_get(a, b, h, j, c));
    return pages;
}

static attn_array integers(size_t n, const double *values)
{
    const attn_array a = test_1d(ATTN_I64, n);
    for (size_t i = 0; i < n; i++) ref_set(&a, 0, 0, 0, i, values[i]);
    return a;
}

static attn_desc problem(attn_dtype type, const int *has, test_rng *rng)
{
    static const double lengths[BATCH] = {519, 40};
    static const double begins_q[] = {0, 1, 1, Q_LEN}, begins_k[] = {0, 3, 7, KV_LEN};
    static const double sequence_lengths[SEQUENCES] = {2, 4, 500}, all[SEQUENCES] = {KV_LEN, KV_LEN, KV_LEN};
    const int caches = has[PACKED] && (has[PAGED] || has[STATES]); /* or keys are packed, too */
    const size_t sequences = has[PACKED] ? SEQUENCES : BATCH;
    test_shape shape = {type, BATCH, 2, 2, Q_LEN, KV_LEN, 6, 5};
    attn_desc d;
    shape.batch = has[PACKED] ? 1 : BATCH;
    shape.q_heads = has[GROUPS] ? 4 : 2;
    d = test_problem(&shape, rng);
    if (has[PACKED] && !has[RAW] && !has[SOFTCAPPED] && !has[BIASED]) d.scores = test_absent;
    if (has[SCALE]) d.scale = -0.7;
    if (has[SOFTCAP]) d.softcap = 1.5;
    if (has[ALIBI]) {
        d.alibi = test_1d(type, shape.q_heads);
        for (size_t h = 0; h < shape.q_heads; h++) ref_set(&d.alibi, 0, 0, 0, h, ldexp(1, -3 - (int)h));
    }
    if (has[SINKS]) {
        d.sinks = test_1d(type, shape.q_heads);
        for (size_t h = 0; h < shape.q_heads; h++) ref_set(&d.sinks, 0, 0, 0, h, 5.0 * (double)h - 3);
    }
    if (has[BOOLEAN]) {
        d.mask = test_3d(ATTN_BOOL, 1, Q_LEN, KV_LEN); /* for all heads */
        for (size_t i = 0; i < Q_LEN; i++)
            for (size_t j = 0; j < KV_LEN; j++)
                ref_set(&d.mask, 0, 0, i, j, i != 2 && test_below(rng, 3) ? 1 : 0); /* one row sees nothing */
    }
    if (has[ADDITIVE]) {
        d.mask = test_4d(type, shape.batch, 1, 1, KV_LEN);
        test_fill_normal(&d.mask, rng, 1);
        for (size_t j = 0; j < KV_LEN; j += 5) ref_set(&d.mask, shape.batch - 1, 0, 0, j, -(double)INFINITY);
    }
    d.causal = has[UPPER_LEFT] || has[LOWER_RIGHT] || has[OFFSET];
    d.align = has[LOWER_RIGHT] ? ATTN_ALIGN_LOWER_RIGHT : has[OFFSET] ? ATTN_ALIGN_OFFSET : ATTN_ALIGN_UPPER_LEFT;
    d.q_offset = 515;
    if (has[WINDOW]) {
        d.window = 1;
        d.window_left = 12;
        d.window_right = has[UPPER_LEFT] ? 600 : 2;
    }
    if (has[LENGTHS]) d.kv_lens = integers(sequences, has[PACKED] ? sequence_lengths : lengths);
    if (has[HALF] || has[BFLOAT]) {
        d.k = stored_as(&d.k, has[HALF] ? ATTN_F16 : ATTN_BF16);
        d.v = stored_as(&d.v, has[HALF] ? ATTN_F16 : ATTN_BF16);
    }
    d.stage = has[RAW]          ? ATTN_STAGE_RAW
              : has[SOFTCAPPED] ? ATTN_STAGE_SOFTCAPPED
              : has[BIASED]     ? ATTN_STAGE_BIASED
                                : ATTN_STAGE_PROBS;
    if (has[COLUMNS]) d.colsum = test_3d(type, shape.batch, shape.q_heads, KV_LEN);
    if (has[PACKED]) {
        d.cu_seqlens_q = integers(sizeof begins_q / sizeof *begins_q, begins_q);
        if (!caches) d.cu_seqlens_k = integers(sizeof begins_k / sizeof *begins_k, begins_k);
    }
    if (caches && !has[PAGED]) {                                        /* one cache for all */
        d.k = test_part(&d.k, 4, 0, 1), d.v = test_part(&d.v, 4, 0, 1); /* explicit strides */
        d.k.shape[0] = d.v.shape[0] = SEQUENCES;
        d.k.stride[0] = d.v.stride[0] = 0;
    }
    if (has[PAGED]) {
        d.k = paged(&d.k);
        d.v = paged(&d.v);
        d.block_table = test_2d(ATTN_I32, sequences, PAGES_EACH);
        for (size_t b = 0; b < sequences; b++)
            for (size_t j = 0; j < KV_LEN; j += PAGE)
                ref_set(&d.block_table, 0, 0, b, j / PAGE, (double)page_of(has[PACKED] ? 0 : b, j));
        if (!has[LENGTHS]) d.kv_lens = integers(sequences, all);
    }
    return d;
}

/* ------------------------------------------------------------------ states -- */

static attn_status part_state(const attn_desc *whole, size_t begin, size_t end, attn_path path, void **state)
{
    attn_desc d = *whole;
    size_t bytes;
    attn_status status;
    if (d.block_table.ndim > 0) {
        d.block_table = test_part(&whole->block_table, 1, begin / PAGE, (end - begin + PAGE - 1) / PAGE);
    } else {
        d.k = test_part(&whole->k, 2, begin, end - begin);
        d.v = test_part(&whole->v, 2, begin, end - begin);
    }
    if (whole->mask.ndim > 0) d.mask = test_part(&whole->mask, 1, begin, end - begin);
    d.kv_begin = begin;
    if (d.align == ATTN_ALIGN_LOWER_RIGHT && d.kv_lens.ndim == 0) {
        d.align = ATTN_ALIGN_OFFSET;
        d.q_offset = KV_LEN - Q_LEN;
    }
    status = attn_state_size(&d, &bytes);
    if (status != ATTN_OK) return status;
    *state = test_memory(bytes, 0);
    return test_partial(&d, *state, bytes, test_on(path));
}

/* The keys in two parts, merged, give the bits of out and lse. */
static attn_status merge_parts(const attn_desc *whole, attn_path path, int *same)
{
    attn_desc d = *whole;
    void *a = NULL, *b = NULL, *merged;
    size_t bytes;
    attn_status status;
    d.scores = d.colsum = test_absent;
    d = test_again(&d);
    if ((status = part_state(whole, 0, CUT, path, &a)) || (status = part_state(whole, CUT, KV_LEN, path, &b)) ||
        (status = attn_state_merged_size(a, b, &bytes)))
        return status;
    merged = test_memory(bytes, 0);
    if ((status = attn_state_merge(a, b, merged, bytes, path)) || (status = attn_state_finish(&d, merged, path)))
        return status;
    *same = test_same_outputs(&d, whole);
    return ATTN_OK;
}

/* ------------------------------------------------------------------- pairs -- */

static void try_pair(attn_dtype type, feature a, feature b)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    int has[FEATURES] = {0}, pass = 1;
    test_rng rng = {(uint64_t)(FEATURES * a + b)};
    attn_desc d;
    char name[100];
    has[a] = has[b] = 1;
    snprintf(name, sizeof name, "%s, %s%s%s", attn_dtype_name(type), features[a].name, a != b ? " and " : "",
             a != b ? features[b].name : "");
    d = problem(type, has, &rng);
    if (refused(has)) {
        for (size_t p = 0; p < num_paths; p++) {
            void *state;
            const attn_status status =
                has[STATES] ? part_state(&d, 0, CUT, paths[p], &state) : test_forward(&d, test_on(paths[p]));
            pass &= test_status(status, ATTN_ERR_UNSUPPORTED);
        }
        test_ok(pass, "%s: refused", name);
    } else if (test_attention(&d, "%s", name) && has[STATES]) {
        for (size_t p = 0; p < num_paths; p++) {
            int same = 0;
            pass &= test_status(merge_parts(&d, paths[p], &same), ATTN_OK) && same;
        }
        test_ok(pass, "%s: merged", name);
    }
    test_release();
}

int main(void)
{
    for (size_t t = 0; t < 2; t++)
        for (int a = 0; a < FEATURES; a++)
            for (int b = a; b < FEATURES; b++) {
                const int taken = a != b && features[a].kind != OWN && features[a].kind == features[b].kind;
                const int half = features[a].kind == STORAGE || features[b].kind == STORAGE;
                if (!taken && !(half && test_types[t] == ATTN_F64)) /* float64 cannot be mixed with other types */
                    try_pair(test_types[t], (feature)a, (feature)b);
            }
    return test_done();
}
