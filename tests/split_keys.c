/* SPDX-License-Identifier: MIT-0
 *
 * With few rows and many keys, the keys are cut into tasks. The bits are those of one worker,
 * for any number of workers, any order of tasks, and real threads; so are keys of heads that lie
 * side by side cut, also for one worker.
 */
#include "check/harness.h"

#include "examples/pthread_parallel_for.h"

#include <float.h>
#include <math.h>

enum { WORKERS = 9 };

/* ----------------------------------------------------------------- workers -- */

/* Runs tasks in random order with random workers, and keeps statistics. */
typedef struct shuffler {
    test_rng rng;
    size_t workers, most; /* most: the most tasks in one call */
} shuffler;

static void shuffled_for(void *context, size_t count, attn_task task, void *arg)
{
    enum { MOST = 4096 };
    shuffler *s = context;
    size_t order[MOST];
    if (count > s->most) s->most = count;
    for (size_t first = 0; first < count; first += MOST) {
        const size_t n = count - first < MOST ? count - first : MOST;
        for (size_t i = 0; i < n; i++) { /* inserts each at a random place */
            const size_t at = test_below(&s->rng, i + 1);
            order[i] = order[at];
            order[at] = first + i;
        }
        for (size_t i = 0; i < n; i++) task(arg, order[i], test_below(&s->rng, s->workers));
    }
}

/* ---------------------------------------------------------------- problems -- */

enum {
    ONE_QUERY = 0,
    SHORT,
    TWO_BLOCKS,
    POWER_OF_TWO,
    RAGGED,
    PAGED,
    CAUSAL,
    WINDOW,
    MASKED_BLOCKS,
    MODIFIED,
    HALF_KEYS,
    PACKED,
    PART,
    OVERFLOWING,
    LARGEST,
    POISONED,
    WEIGHTS,
    SIDE_BY_SIDE,
    PROBLEMS
};

static const char *const names[PROBLEMS] = {"one query",         "513 keys",
                                            "1024 keys",         "4096 keys",
                                            "ragged lengths",    "pages",
                                            "causal, 3 queries", "window in the middle",
                                            "masked blocks",     "modifiers",
                                            "keys in float16",   "packed sequences",
                                            "part of the keys",  "rows that overflow",
                                            "largest values",    "NaN where masked",
                                            "weights",           "heads side by side"};

static attn_desc problem(attn_dtype type, int which)
{
    static const size_t lens[3] = {5000, 700, 0};
    const size_t batch = which == RAGGED || which == PAGED ? 3 : 1;
    const size_t kv_len = which == SHORT          ? 513
                          : which == TWO_BLOCKS   ? 1024
                          : which == POWER_OF_TWO ? 4096
                          : which == PAGED        ? 5040
                          : which == SIDE_BY_SIDE ? 17000
                                                  : 5000;
    const size_t heads = which == SIDE_BY_SIDE ? 2 : 1;
    const test_shape shape = {type, batch, 2 * heads, heads, which == CAUSAL ? 3 : 1, kv_len, 8, 9};
    test_rng rng = {(uint64_t)which};
    attn_desc d = test_problem(&shape, &rng);
    if (which != WEIGHTS) d.scores = test_absent;
    if (which == RAGGED || which == PAGED) {
        d.kv_lens = test_1d(ATTN_I32, 3);
        for (size_t b = 0; b < 3; b++) ref_set(&d.kv_lens, 0, 0, 0, b, (double)lens[b]);
    }
    if (which == PAGED) { /* the same memory as pages of 70 keys, and pages in reverse order */
        d.k = attn_array_4d(type, d.k.data, 3 * 72, 1, 70, 8);
        d.v = attn_array_4d(type, d.v.data, 3 * 72, 1, 70, 9);
        d.block_table = test_2d(ATTN_I32, 3, 72);
        for (size_t i = 0; i < 3 * 72; i++) ref_set(&d.block_table, 0, 0, i / 72, i % 72, (double)(3 * 72 - 1 - i));
    }
    if (which == SIDE_BY_SIDE) {
        d.kv_lens = test_1d(ATTN_I32, 1);
        test_fill(&d.kv_lens, 16500);
    }
    if (which == CAUSAL) {
        d.causal = 1;
        d.align = ATTN_ALIGN_OFFSET;
        d.q_offset = 4606; /* a block ends between the positions of the queries */
    }
    if (which == WINDOW) {
        d.window = 1;
        d.align = ATTN_ALIGN_OFFSET;
        d.q_offset = 2500;
        d.window_left = 1100;
        d.window_right = 900;
    }
    if (which == MASKED_BLOCKS || which == POISONED) {
        d.mask = test_1d(ATTN_BOOL, kv_len);
        for (size_t j = 0; j < kv_len; j++) ref_set(&d.mask, 0, 0, 0, j, j / 512 % 3 != 1 && j % 5 ? 1 : 0);
    }
    if (which == MODIFIED) {
        d.softcap = 3;
        d.alibi = test_1d(type, 2);
        test_fill(&d.alibi, 0.001);
        d.sinks = test_1d(type, 2);
        test_fill(&d.sinks, 7);
        d.align = ATTN_ALIGN_LOWER_RIGHT;
        d.mask = test_1d(type, kv_len);
        test_fill_normal(&d.mask, &rng, 1);
    }
    if (which == HALF_KEYS) {
        d.k = test_4d(ATTN_F16, 1, 1, kv_len, 8);
        test_fill_normal(&d.k, &rng, 1);
    }
    if (which == PACKED) { /* 1 query over 600 keys, none, 1 over 4400 */
        static const double q[4] = {0, 1, 1, 2}, k[4] = {0, 600, 600, 5000};
        d.q = test_4d(type, 1, 2, 2, 8);
        d.out = test_4d(type, 1, 2, 2, 9);
        d.lse = test_2d(type, 2, 2);
        test_fill_normal(&d.q, &rng, 1);
        d.cu_seqlens_q = test_1d(ATTN_I32, 4);
        d.cu_seqlens_k = test_1d(ATTN_I32, 4);
        for (size_t n = 0; n < 4; n++) {
            ref_set(&d.cu_seqlens_q, 0, 0, 0, n, q[n]);
            ref_set(&d.cu_seqlens_k, 0, 0, 0, n, k[n]);
        }
    }
    if (which == PART) {
        d.kv_begin = 1300;
        d.window = 1;
        d.align = ATTN_ALIGN_OFFSET;
        d.q_offset = 5500;
        d.window_left = 4000;
        d.window_right = -1;
    }
    if (which == OVERFLOWING) /* in one part only */
        for (size_t c = 0; c < 8; c++) {
            ref_set(&d.q, 0, 1, 0, c, type == ATTN_F64 ? 1e200 : 1e30);
            ref_set(&d.k, 0, 0, 3333, c, type == ATTN_F64 ? 1e200 : 1e30);
        }
    if (which == LARGEST)
        for (size_t j = 0; j < kv_len; j++)
            for (size_t c = 0; c < 9; c++)
                ref_set(&d.v, 0, 0, j, c, (j + c) % 7 ? (type == ATTN_F64 ? DBL_MAX : (double)FLT_MAX) : 1);
    if (which == POISONED)
        for (size_t j = 0; j < kv_len; j += 5)
            for (size_t c = 0; c < 9; c++) {
                ref_set(&d.v, 0, 0, j, c, (double)NAN);
                if (c < 8) ref_set(&d.k, 0, 0, j, c, (double)NAN);
            }
    return d;
}

/* The same, stored (position, head, d). */
static attn_array side_by_side(const attn_array *a)
{
    const size_t heads = a->shape[1], keys = a->shape[2], dim = a->shape[3];
    const attn_array b = test_3d(a->dtype, keys, heads, dim);
    for (size_t h = 0; h < heads; h++)
        for (size_t j = 0; j < keys; j++)
            for (size_t c = 0; c < dim; c++) ref_set(&b, 0, j, h, c, (double)ref_get(a, 0, h, j, c));
    return attn_array_strided(a->dtype, b.data, 1, heads, keys, dim, 0, (ptrdiff_t)dim, (ptrdiff_t)(heads * dim), 1);
}

/* --------------------------------------------------------------------- bits -- */

static void try_shuffled(attn_dtype type, int which, attn_path path)
{
    attn_desc alone = problem(type, which);
    int pass = test_status(test_forward(&alone, test_on(path)), ATTN_OK), cut = 1;
    for (size_t workers = 1; workers <= WORKERS && pass; workers++) {
        attn_desc d = test_again(&alone);
        attn_exec run = test_on(path);
        shuffler s;
        s.rng.state = workers;
        if (which == SIDE_BY_SIDE) d.k = side_by_side(&d.k), d.v = side_by_side(&d.v);
        s.workers = workers;
        s.most = 0;
        run.parallel_for = shuffled_for;
        run.parallel_context = &s;
        run.num_workers = workers;
        pass = test_status(test_forward(&d, run), ATTN_OK) && test_same_outputs(&d, &alone) && test_guards();
        /* one task per row would leave nothing for the other workers */
        cut &= workers == 1 || s.most >= workers || s.most >= (alone.k.shape[2] + 511) / 512;
        if (which == SIDE_BY_SIDE)
            cut &= workers == 1 || s.most == 2 * 33 || path == ATTN_PATH_SCALAR; /* which has rows in lanes */
        if (!pass || !cut) test_note("%zu workers, %zu tasks", workers, s.most);
    }
    test_ok(test_release() && pass, "%s, %s, %s: any workers and order give the bits of one", attn_dtype_name(type),
            attn_path_name(path), names[which]);
    if (which == ONE_QUERY || which == SHORT || which == SIDE_BY_SIDE)
        test_ok(cut, "%s, %s, %s: there is work for all", attn_dtype_name(type), attn_path_name(path), names[which]);
}

static void try_threads(attn_dtype type, int which)
{
    const attn_desc alone = problem(type, which);
    int pass = test_status(test_forward(&alone, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t workers = 2; workers <= WORKERS && pass; workers += 3) {
        attn_exec run = test_on(ATTN_PATH_AUTO);
        attn_pthreads threads;
        pass = attn_pthreads_start(&threads, workers);
        if (!pass) break;
        run.parallel_for = attn_pthreads_for;
        run.parallel_context = &threads;
        run.num_workers = threads.num_workers;
        for (int call = 0; call < 3 && pass; call++) {
            const attn_desc d = test_again(&alone);
            pass = test_status(test_forward(&d, run), ATTN_OK) && test_same_outputs(&d, &alone);
        }
        attn_pthreads_stop(&threads);
    }
    test_ok(test_release() && pass, "%s, %s: threads give the bits of one", attn_dtype_name(type), names[which]);
}

/* Does the workspace for the longest lengths do for shorter ones, where heads lie side by side? Values are the same. */
static void try_enough(attn_dtype type, attn_path path)
{
    enum { HEADS = 8, KEYS = 17000, VALUES = 512 };
    attn_desc d = attn_desc_default();
    const attn_array k = test_3d(type, KEYS, HEADS, 4), v = test_1d(type, VALUES);
    size_t all, least;
    int pass = 1, cut = 0;
    d.q = test_4d(type, 1, HEADS, 8, 4);
    d.out = test_4d(type, 1, HEADS, 8, VALUES);
    for (size_t workers = 1; workers < 4; workers++) {
        d.k = attn_array_strided(type, k.data, 1, HEADS, KEYS, 4, 0, 4, 4 * HEADS, 1);
        d.v = attn_array_strided(type, v.data, 1, HEADS, KEYS, VALUES, 0, 0, 0, 1);
        d.q.shape[2] = d.out.shape[2] = 8;
        pass &= test_status(attn_workspace_size(&d, workers, &all), ATTN_OK);
        least = all;
        for (size_t n = 1; n <= KEYS; n += 999)
            for (size_t rows = 1; rows <= 8; rows++) {
                size_t needed = 0;
                attn_exec run = test_on(path);
                run.num_workers = workers;
                run.query = &needed;
                d.k.shape[2] = d.v.shape[2] = n;
                d.q.shape[2] = d.out.shape[2] = rows;
                pass &= test_status(attn_forward(&d, &run), ATTN_OK) && needed <= all;
                least = needed;
            }
        cut |= least > all / 2; /* of the parts it is */
    }
    test_ok(test_release() && pass && (cut || path == ATTN_PATH_SCALAR),
            "%s, %s: the workspace for the longest lengths does for shorter ones", attn_dtype_name(type),
            attn_path_name(path));
}

int main(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t t = 0; t < 2; t++) {
        for (size_t p = 0; p < num_paths; p++) try_enough(test_types[t], paths[p]);
        for (int which = 0; which < PROBLEMS; which++) {
            if (which == HALF_KEYS && test_types[t] == ATTN_F64) continue;
            for (size_t p = 0; p < num_paths; p++) try_shuffled(test_types[t], which, paths[p]);
            try_threads(test_types[t], which);
        }
    }
    return test_done();
}
