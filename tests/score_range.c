/* SPDX-License-Identifier: MIT-0
 *
 * Scores of a range of heads and queries equal that part of the full matrix, at every stage;
 * column sums equal the weights added in the order of the queries; both bit by bit, on every
 * path. Asking for any of them changes no bit of the others.
 */
#include "check/harness.h"

#include <math.h>
#include <stdio.h>

static const char *const stage_names[ATTN_STAGE_COUNT] = {"weights", "raw", "softcapped", "biased"};

/* ---------------------------------------------------------------- problems -- */

enum { PLAIN = 0, MASKED, MODIFIED, EVERYTHING, MANY_QUERIES, OVERFLOWING, POISONED, PROBLEMS };

static const char *const problem_names[PROBLEMS] = {"plain",           "mask and kv_lens", "softcap and sinks",
                                                    "everything",      "many queries",     "rows that overflow",
                                                    "NaN where masked"};

/* Two batches, two query heads per key head. */
static attn_desc problem(attn_dtype type, int which, test_rng *rng)
{
    const int many = which == MANY_QUERIES, masks = which == MASKED || which == EVERYTHING || which == POISONED;
    const test_shape shape = {type, 2, 4, 2, many ? 300 : 7, many ? 40 : 550, 9, 6};
    attn_desc d = test_problem(&shape, rng);
    d.colsum = test_3d(type, 2, 4, shape.kv_len);
    if (masks) {
        d.mask = test_3d(ATTN_BOOL, 4, 7, 550);
        for (size_t e = 0; e < 4 * 7 * 550; e++)
            ref_set(&d.mask, 0, e / 550 / 7, e / 550 % 7, e % 550, test_below(rng, 3) ? 1 : 0);
        d.kv_lens = test_1d(ATTN_I32, 2);
        ref_set(&d.kv_lens, 0, 0, 0, 0, 531);
        ref_set(&d.kv_lens, 0, 0, 0, 1, 100);
    }
    if (which == MODIFIED || which == EVERYTHING) {
        d.softcap = 2;
        d.sinks = test_1d(type, 4);
        test_fill_normal(&d.sinks, rng, 3);
    }
    if (which == EVERYTHING) {
        d.causal = 1;
        d.align = ATTN_ALIGN_OFFSET;
        d.q_offset = 520;
        d.window = 1;
        d.window_left = 300;
        d.window_right = -1;
        d.alibi = test_1d(type, 4);
        test_fill(&d.alibi, 0.125);
        d.mask = test_4d(type, 2, 1, 7, 550);
        test_fill_normal(&d.mask, rng, 1);
    }
    if (many) d.causal = 1;
    if (which == OVERFLOWING)
        for (size_t b = 0; b < 2; b++)
            for (size_t c = 0; c < 9; c++) { /* the first row, one in the middle, one in another head */
                ref_set(&d.q, b, 1, 0, c, type == ATTN_F64 ? 1e308 : 3e38);
                ref_set(&d.q, b, 1, 3, c, type == ATTN_F64 ? -1e308 : -3e38);
                ref_set(&d.q, b, 2, 4, c, type == ATTN_F64 ? 1e308 : 3e38);
            }
    if (which == POISONED) /* key 7, which no row sees, in both heads */
        for (size_t b = 0; b < 2; b++)
            for (size_t h = 0; h < 2; h++) {
                for (size_t e = 0; e < 4 * 7; e++) ref_set(&d.mask, 0, e / 7, e % 7, 7, 0);
                for (size_t c = 0; c < 9; c++) ref_set(&d.k, b, h, 7, c, (double)NAN);
                for (size_t c = 0; c < 6; c++) ref_set(&d.v, b, h, 7, c, (double)NAN);
            }
    return d;
}

/* ------------------------------------------------------------------ ranges -- */

typedef struct range {
    size_t head, heads, query, queries;
} range;

static attn_array cut(const attn_array *full, const range *r)
{
    const attn_array heads = test_part(full, 3, r->head, r->heads);
    return test_part(&heads, 2, r->query, r->queries);
}

static void try_ranges(attn_dtype type, int which, attn_stage stage)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    test_rng rng = {(uint64_t)which};
    attn_desc full = problem(type, which, &rng);
    const size_t q_len = full.q.shape[2];
    const range ranges[] = {
        {0, 1, 0, 1},         {3, 1, q_len - 1, 1}, {1, 2, 2, 3}, {0, 4, q_len / 2, q_len - q_len / 2},
        {2, 2, 0, q_len},     {0, 4, 0, q_len},     {4, 0, 3, 2}, {1, 1, q_len, 0},
        {0, 3, q_len - 1, 1}, {1, 1, 1, q_len - 2}};
    int pass;
    full.stage = stage;
    pass = test_status(test_forward(&full, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t i = (size_t)stage % 2; i < sizeof ranges / sizeof *ranges && pass; i += 2) { /* half of them each */
        const attn_path path = paths[i / 2 % num_paths];
        attn_desc d = full, want = full;
        d.scores = want.scores = cut(&full.scores, &ranges[i]);
        d = test_again(&d); /* its scores are contiguous and have just the range */
        d.scores_head = ranges[i].head;
        d.scores_query = ranges[i].query;
        pass = test_status(test_forward(&d, i % 4 < 2 ? test_shuffled(path, 3) : test_on(path)), ATTN_OK) &&
               test_same_outputs(&d, &want) && test_guards();
        if (!pass)
            test_note("heads %zu + %zu, queries %zu + %zu on %s", ranges[i].head, ranges[i].heads, ranges[i].query,
                      ranges[i].queries, attn_path_name(path));
    }
    test_ok(test_release() && pass, "%s, %s, %s: ranges are parts of the matrix", attn_dtype_name(type),
            problem_names[which], stage_names[stage]);
}

/* In layouts and types other than those of the full matrix. */
static void try_layouts(void)
{
    for (int stage = 0; stage < ATTN_STAGE_COUNT; stage++) {
        static const range r = {1, 2, 3, 3};
        test_rng rng = {5};
        attn_desc full = problem(ATTN_F32, EVERYTHING, &rng), d;
        const attn_array memory = test_4d(ATTN_F32, 550, 3, 2, 2), half = test_4d(ATTN_BF16, 2, 2, 3, 550),
                         want_half = test_copy(&half);
        attn_array want;
        int pass;
        full.stage = (attn_stage)stage;
        pass = test_status(test_forward(&full, test_on(ATTN_PATH_AUTO)), ATTN_OK);
        want = cut(&full.scores, &r);
        d = test_again(&full);
        d.scores_head = r.head;
        d.scores_query = r.query;
        d.scores = attn_array_swap(memory, 0, 3); /* (2, 3, 2, 550) */
        d.scores = attn_array_swap(d.scores, 1, 2);
        pass = pass && test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same(&d.scores, &want);
        test_ok(pass, "a range of %s, transposed", stage_names[stage]);
        d.scores = half;
        for (size_t e = 0; e < 2 * 2 * 3 * 550; e++) {
            const size_t j = e % 550, i = e / 550 % 3, h = e / 1650 % 2, b = e / 3300;
            ref_set(&want_half, b, h, i, j, (double)ref_get(&want, b, h, i, j));
        }
        pass =
            pass && test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same(&d.scores, &want_half);
        test_ok(test_release() && pass, "a range of %s, in bfloat16", stage_names[stage]);
    }
}

/* ------------------------------------------------------------- column sums -- */

/* Starting at 0, one addition for each query in order, in the compute type. */
static void try_colsum(attn_dtype type, int which)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    test_rng rng = {(uint64_t)which};
    attn_desc d = problem(type, which, &rng);
    const size_t q_len = d.q.shape[2], kv_len = d.k.shape[2];
    const attn_array sums = test_copy(&d.colsum);
    int pass;
    test_fill(&sums, 0);
    pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t b = 0; b < 2; b++)
        for (size_t h = 0; h < 4; h++)
            for (size_t i = 0; i < q_len; i++)
                for (size_t j = 0; j < kv_len; j++) {
                    void *sum = ref_at(&sums, 0, b, h, j);
                    const void *weight = ref_at(&d.scores, b, h, i, j);
                    if (type == ATTN_F64) *(double *)sum += *(const double *)weight;
                    else *(float *)sum += *(const float *)weight;
                }
    for (size_t p = 0; p < num_paths && pass; p++)
        for (size_t workers = 1; workers < 5 && pass; workers += 3) {
            attn_desc again = test_again(&d);
            again.scores = test_absent;
            pass = test_status(test_forward(&again, test_shuffled(paths[p], workers)), ATTN_OK) &&
                   test_same(&again.colsum, &sums) && test_same_outputs(&again, &d);
            if (!pass) test_note("on %s with %zu workers", attn_path_name(paths[p]), workers);
        }
    test_ok(test_release() && pass, "%s, %s: column sums are sums of the weights", attn_dtype_name(type),
            problem_names[which]);
}

/* No queries: the sums are 0. No keys: nothing to write. */
static void try_empty(attn_dtype type)
{
    const test_shape no_queries = {type, 2, 2, 1, 0, 20, 3, 2}, no_keys = {type, 2, 2, 1, 5, 0, 3, 2};
    test_rng rng = {6};
    attn_desc d = test_problem(&no_queries, &rng);
    int pass;
    d.colsum = test_3d(type, 2, 2, 20);
    pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t e = 0; e < 2 * 2 * 20; e++) {
        const ref_real sum = ref_get(&d.colsum, 0, e / 40, e / 20 % 2, e % 20);
        pass &= sum == 0 && !signbit(sum);
    }
    test_ok(pass, "%s: without queries all column sums are 0", attn_dtype_name(type));
    d = test_problem(&no_keys, &rng);
    d.colsum = test_3d(type, 2, 2, 0);
    test_ok(test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK), "%s: without keys there are none",
            attn_dtype_name(type));
    test_release();
}

/* -------------------------------------------------------------------- asking -- */

/* Asking for any subset of lse, scores at any stage and column sums, with and without workers,
 * changes no bit of the others. */
static void try_subsets(attn_dtype type, int which)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    test_rng rng = {(uint64_t)which};
    const attn_desc all = problem(type, which, &rng);
    int pass = test_status(test_forward(&all, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (unsigned subset = 0; subset < 8 && pass; subset++)
        for (int stage = 0; stage < (subset & 2 ? ATTN_STAGE_COUNT : 1) && pass; stage++) {
            attn_desc d = all, want = all;
            const attn_path path = paths[(subset + (unsigned)stage) % num_paths];
            if (!(subset & 1)) d.lse = test_absent;
            if (!(subset & 2)) d.scores = test_absent;
            if (!(subset & 4)) d.colsum = test_absent;
            d.stage = (attn_stage)stage;
            d = test_again(&d);
            pass = test_status(test_forward(&d, subset % 3 ? test_shuffled(path, 2) : test_on(path)), ATTN_OK);
            if (stage != ATTN_STAGE_PROBS) /* another stage is another matrix */
                want.scores = d.scores;
            pass = pass && test_same_outputs(&d, &want);
            if (!pass)
                test_note("%s%s%s%s on %s", subset & 1 ? "lse, " : "", subset & 2 ? stage_names[stage] : "",
                          subset & 2 ? " scores, " : "", subset & 4 ? "column sums" : "", attn_path_name(path));
        }
    test_ok(test_release() && pass, "%s, %s: what is asked for changes no bit of the rest", attn_dtype_name(type),
            problem_names[which]);
}

/* ------------------------------------------------------------------ errors -- */

#define REFUSE(want, spoil)                                                                                            \
    do {                                                                                                               \
        test_rng rng = {8};                                                                                            \
        attn_desc d = problem(ATTN_F32, PLAIN, &rng);                                                                  \
        const attn_desc outputs = d, unwritten = test_again(&d);                                                       \
        spoil;                                                                                                         \
        test_ok(test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), want) &&                                        \
                    test_same_outputs(&outputs, &unwritten) && test_guards(),                                          \
                "refused, nothing written: %s", #spoil);                                                               \
        test_release();                                                                                                \
    } while (0)

static void try_errors(void)
{
    REFUSE(ATTN_ERR_SHAPE, d.scores_head = 1);
    REFUSE(ATTN_ERR_SHAPE, d.scores_query = 1);
    REFUSE(ATTN_ERR_SHAPE, d.scores_head = SIZE_MAX);
    REFUSE(ATTN_ERR_SHAPE, d.scores_query = SIZE_MAX - 3);
    REFUSE(ATTN_ERR_SHAPE, (d.scores = test_4d(ATTN_F32, 2, 2, 7, 550), d.scores_head = 3));
    REFUSE(ATTN_ERR_SHAPE, (d.scores = test_4d(ATTN_F32, 2, 0, 7, 550), d.scores_head = 5));
    REFUSE(ATTN_ERR_SHAPE, (d.scores = test_4d(ATTN_F32, 2, 4, 0, 550), d.scores_query = 8));
    REFUSE(ATTN_ERR_SHAPE, d.scores = test_4d(ATTN_F32, 2, 4, 7, 549));
    REFUSE(ATTN_ERR_SHAPE, d.scores = test_4d(ATTN_F32, 1, 4, 7, 550));
    REFUSE(ATTN_ERR_SHAPE, d.colsum = test_3d(ATTN_F32, 2, 4, 549));
    REFUSE(ATTN_ERR_SHAPE, d.colsum = test_3d(ATTN_F32, 2, 2, 550));
    REFUSE(ATTN_ERR_DTYPE, d.colsum = test_3d(ATTN_F16, 2, 4, 550));
    REFUSE(ATTN_ERR_DTYPE, d.colsum = test_3d(ATTN_F64, 2, 4, 550));
    REFUSE(ATTN_ERR_RANK, d.colsum = attn_array_4d(ATTN_F32, d.colsum.data, 1, 2, 4, 550));
    REFUSE(ATTN_ERR_NULL, d.colsum.data = NULL);
    REFUSE(ATTN_ERR_STRIDE, d.colsum.stride[0] = 1);
    REFUSE(ATTN_ERR_ALIAS, d.colsum.data = d.scores.data);
    REFUSE(ATTN_ERR_ALIAS, d.colsum.data = d.k.data);
    REFUSE(ATTN_ERR_PARAMETER, d.stage = ATTN_STAGE_COUNT);
}

int main(void)
{
    for (size_t t = 0; t < 2; t++) {
        for (int which = 0; which < PROBLEMS; which++) {
            for (int stage = 0; stage < ATTN_STAGE_COUNT; stage++) try_ranges(test_types[t], which, (attn_stage)stage);
            try_colsum(test_types[t], which);
            try_subsets(test_types[t], which);
        }
        try_empty(test_types[t]);
    }
    try_layouts();
    try_errors();
    return test_done();
}
