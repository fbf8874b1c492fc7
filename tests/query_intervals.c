/* SPDX-License-Identifier: MIT-0
 *
 * Intervals of each query (q_bounds) have the bits of the boolean mask that keeps the same keys, with every other
 * option, on every path, for batches, packed sequences, pages, parts and what is hidden by NaN; the recipes of the
 * manual are the masks that they are said to be; what is not ascending is refused.
 */
#include "check/harness.h"

#include <math.h>
#include <string.h>

enum { MOST_INTERVALS = 4 };

/* ------------------------------------------------------------ random ones -- */

/* Ascending, some empty, some beyond the keys or before them, some of all. */
static void random_row(const attn_array *bounds, size_t b, size_t i, size_t kv_len, test_rng *rng)
{
    const size_t n = ref_length(bounds, 1) / 2, kind = test_below(rng, 8);
    double at = kind == 0 ? -1e9 : 0;
    for (size_t r = 0; r < n; r++) {
        const double room = (double)kv_len / (double)n * 1.5;
        double begin = at + (double)test_below(rng, (size_t)room + 2) * (test_below(rng, 3) > 0), end;
        end = begin + (double)test_below(rng, (size_t)room + 2);
        if (kind == 1) begin = 0, end = r ? 0 : 1e9; /* all */
        if (kind == 2) begin = 5, end = 5;           /* none */
        if (test_below(rng, 5) == 0) end = begin - (double)test_below(rng, 9);
        if (end > begin) at = end;
        ref_set(bounds, 0, b, i, 2 * r, begin);
        ref_set(bounds, 0, b, i, 2 * r + 1, end);
    }
}

static int in_bounds(const attn_array *bounds, size_t b, size_t i, size_t key)
{
    for (size_t n = 0; n < ref_length(bounds, 1); n += 2)
        if (ref_get(bounds, 0, b, i, n) <= (ref_real)key && (ref_real)key < ref_get(bounds, 0, b, i, n + 1)) return 1;
    return 0;
}

/* The same problem with a mask in place of intervals, or a mask that drops as much more. */
static attn_desc masked(const attn_desc *d)
{
    const size_t heads = d->mask.ndim ? ref_length(&d->mask, 3) : 1, batch = ref_length(&d->q, 4),
                 rows = ref_length(&d->q, 2), keys = ref_length(&d->k, 2);
    attn_desc m = test_again(d);
    m.q_bounds = test_absent;
    m.mask = test_4d(d->mask.ndim ? d->mask.dtype : ATTN_BOOL, batch, heads, rows, keys);
    for (size_t b = 0; b < batch; b++)
        for (size_t h = 0; h < heads; h++)
            for (size_t i = 0; i < rows; i++)
                for (size_t j = 0; j < keys; j++) {
                    if (d->mask.ndim)
                        memcpy(ref_at(&m.mask, b, h, i, j), ref_at(&d->mask, b, h, i, j),
                               attn_dtype_size(d->mask.dtype));
                    else ref_set(&m.mask, b, h, i, j, 1);
                    if (!in_bounds(&d->q_bounds, b, i, d->kv_begin + j))
                        ref_set(&m.mask, b, h, i, j, m.mask.dtype == ATTN_BOOL ? 0 : -(double)INFINITY);
                }
    return m;
}

static attn_desc make(attn_dtype type, test_rng *rng)
{
    static const size_t q_lens[4] = {1, 3, 20, 70}, kv_lens[4] = {9, 130, 600, 1300};
    const unsigned flags = (unsigned)test_u64(rng);
    test_shape shape = {type, 0, 4, 2, 0, 0, 12, 17};
    attn_desc d;
    shape.batch = 1 + test_below(rng, 2);
    shape.q_len = q_lens[flags & 3];
    shape.kv_len = kv_lens[flags >> 2 & 3];
    d = test_problem(&shape, rng);
    d.q_bounds = flags & 16 ? test_3d(flags & 32 ? ATTN_I32 : ATTN_I64, shape.batch, shape.q_len,
                                      2 * test_below(rng, MOST_INTERVALS + 1))
                            : test_2d(flags & 32 ? ATTN_I32 : ATTN_I64, shape.q_len, 2 + 2 * test_below(rng, 3));
    for (size_t b = 0; b < ref_length(&d.q_bounds, 3); b++)
        for (size_t i = 0; i < shape.q_len; i++) random_row(&d.q_bounds, b, i, shape.kv_len, rng);
    d.causal = (flags & 0x40) != 0;
    d.align = (attn_align)(flags >> 7 & 1);
    d.window = (flags & 0x300) == 0;
    d.window_left = (int64_t)test_below(rng, 300);
    d.window_right = -1;
    d.softcap = (flags & 0xc00) == 0 ? 9 : 0;
    d.stage = (attn_stage)(flags >> 12 & 3);
    if (flags & 0x4000) d.scores = test_absent;
    if (flags & 0x8000) d.colsum = test_3d(type, shape.batch, 4, shape.kv_len);
    if ((flags & 0x30000) == 0) {
        d.alibi = test_1d(type, 4);
        test_fill_normal(&d.alibi, rng, 0.1);
    }
    if ((flags & 0xc0000) == 0) {
        d.sinks = test_1d(type, 4);
        test_fill_normal(&d.sinks, rng, 1);
    }
    if ((flags & 0x300000) == 0) {
        d.kv_lens = test_1d(ATTN_I32, shape.batch);
        for (size_t b = 0; b < shape.batch; b++)
            ref_set(&d.kv_lens, 0, 0, 0, b, (double)test_below(rng, shape.kv_len + 1));
    }
    if (flags & 0x400000) { /* a mask beside them: of runs, so that it leaves out what intervals leave, and they it */
        d.mask = test_4d(flags & 0x800000 ? ATTN_BOOL : type, 1, flags & 0x1000000 ? 4 : 1, shape.q_len, shape.kv_len);
        for (size_t h = 0; h < ref_length(&d.mask, 3); h++)
            for (size_t i = 0; i < shape.q_len; i++)
                for (size_t j = 0, run = 0, keep = 1; j < shape.kv_len; j++, run--) {
                    if (run == 0) run = 1 + test_below(rng, 90), keep = test_below(rng, 2);
                    ref_set(&d.mask, 0, h, i, j,
                            d.mask.dtype == ATTN_BOOL ? (double)keep
                            : keep                    ? test_normal(rng) * (double)test_below(rng, 2)
                                                      : -(double)INFINITY);
                }
    }
    return d;
}

/* NaN in keys, values and an additive mask where intervals hide them from all rows. */
static void poison(attn_desc *d, test_rng *rng)
{
    for (size_t b = 0; b < ref_length(&d->k, 4); b++)
        for (size_t j = 0; j < ref_length(&d->k, 2); j++) {
            int seen = 0;
            for (size_t i = 0; i < ref_length(&d->q, 2); i++) seen |= in_bounds(&d->q_bounds, b, i, j);
            for (size_t h = 0; h < 2 && !seen; h++) {
                ref_set(&d->k, b, h, j, 3, (double)NAN);
                ref_set(&d->v, b, h, j, 5, test_below(rng, 2) ? (double)INFINITY : (double)NAN);
            }
        }
    for (size_t h = 0; d->mask.ndim && d->mask.dtype != ATTN_BOOL && h < ref_length(&d->mask, 3); h++)
        for (size_t i = 0; i < ref_length(&d->mask, 2); i++)
            for (size_t j = 0; j < ref_length(&d->mask, 1); j++)
                if (!in_bounds(&d->q_bounds, 0, i, j) && !in_bounds(&d->q_bounds, 1 % ref_length(&d->q, 4), i, j))
                    ref_set(&d->mask, 0, h, i, j, (double)NAN);
}

static void try_random(attn_dtype type, int count, int poisoned)
{
    int pass = 1;
    for (int i = 0; i < count && pass; i++) {
        test_rng rng = {(uint64_t)(i + 1000 * (int)type)};
        attn_desc d = make(type, &rng), m = masked(&d);
        if (d.scores.ndim && (d.stage == ATTN_STAGE_RAW || d.stage == ATTN_STAGE_SOFTCAPPED) && poisoned)
            d.scores = m.scores = test_absent; /* which are of all keys */
        if (poisoned) poison(&d, &rng);
        pass = test_same_problem(&d, &m, &rng, i % 20 == 0 && !poisoned);
        if (!pass) test_note("problem %d", i);
        pass = test_release() && pass;
    }
    test_ok(pass, "%s: %d random problems%s as with a mask", attn_dtype_name(type), count,
            poisoned ? ", NaN in what is hidden," : "");
}

/* Rows that are done again: huge scores. */
static void try_redone(attn_dtype type)
{
    int pass = 1;
    for (int i = 0; i < 20 && pass; i++) {
        const double huge = type == ATTN_F64 ? 1e307 : 1e38;
        test_rng rng = {(uint64_t)(9000 + i)};
        attn_desc d = make(type, &rng), m;
        for (size_t b = 0; b < ref_length(&d.q, 4); b++)
            for (size_t h = 0; h < 4; h++)
                for (size_t r = 0; r < ref_length(&d.q, 2); r += 2) ref_set(&d.q, b, h, r, 1, huge);
        for (size_t j = 0; j < ref_length(&d.k, 2); j += 3) ref_set(&d.k, 0, 1, j, 1, -huge);
        m = masked(&d);
        d = test_again(&d);
        pass = test_status(test_forward(&m, test_on(ATTN_PATH_SCALAR)), ATTN_OK) &&
               test_status(test_forward(&d, test_shuffled(ATTN_PATH_AUTO, 3)), ATTN_OK) && test_same_outputs(&d, &m);
        if (!pass) test_note("problem %d", i);
        pass = test_release() && pass;
    }
    test_ok(pass, "%s: rows whose scores overflow as with a mask", attn_dtype_name(type));
}

/* Two parts of the keys, merged. */
static void try_parts(attn_dtype type)
{
    int pass = 1, tried = 0;
    for (int i = 0; i < 40 && pass; i++) {
        test_rng rng = {(uint64_t)(7000 + i)};
        attn_desc d = make(type, &rng);
        const size_t cuts[3] = {0, 512, ref_length(&d.k, 2)};
        d.scores = d.colsum = test_absent;
        if (cuts[2] > 512 && (d.align != ATTN_ALIGN_LOWER_RIGHT || d.kv_lens.ndim)) {
            tried++;
            pass = test_in_parts(&d, cuts, 2, test_on(ATTN_PATH_AUTO));
        }
        pass = test_release() && pass;
    }
    test_ok(pass && tried > 5, "%s: parts of the keys, merged, as the whole", attn_dtype_name(type));
}

/* Sinks and the newest keys of packed queries over pages, of which those between are gone. */
static void try_pages(void)
{
    enum { N = 2, PAGE = 8, PAGES = 100, SINKS = 4, LAST = 20 };
    static const size_t queries[N] = {1, 5}, lens[N] = {800, 777};
    test_rng rng = {3};
    attn_desc d = attn_desc_default(), caches;
    size_t used = 0, at = 0;
    int pass;
    d.q = test_3d(ATTN_F32, 2, 6, 8);
    d.k = test_4d(ATTN_F32, N, 1, PAGE * PAGES, 8);
    d.v = test_4d(ATTN_F32, N, 1, PAGE * PAGES, 8);
    d.out = test_3d(ATTN_F32, 2, 6, 8);
    test_fill_normal(&d.q, &rng, 1);
    test_fill_normal(&d.k, &rng, 1);
    test_fill_normal(&d.v, &rng, 1);
    d.cu_seqlens_q = test_1d(ATTN_I32, N + 1);
    d.kv_lens = test_1d(ATTN_I32, N);
    d.q_bounds = test_2d(ATTN_I64, 6, 4);
    d.causal = 1;
    d.align = ATTN_ALIGN_LOWER_RIGHT;
    ref_set(&d.cu_seqlens_q, 0, 0, 0, 0, 0);
    for (size_t n = 0; n < N; n++) {
        for (size_t i = 0; i < queries[n]; i++, at++) {
            const double p = (double)(lens[n] - queries[n] + i);
            ref_set(&d.q_bounds, 0, 0, at, 0, 0), ref_set(&d.q_bounds, 0, 0, at, 1, SINKS);
            ref_set(&d.q_bounds, 0, 0, at, 2, p - LAST), ref_set(&d.q_bounds, 0, 0, at, 3, p + 1);
        }
        ref_set(&d.cu_seqlens_q, 0, 0, 0, n + 1, (double)at);
        ref_set(&d.kv_lens, 0, 0, 0, n, (double)lens[n]);
    }
    caches = test_again(&d);
    pass = test_status(test_forward(&caches, test_on(ATTN_PATH_SCALAR)), ATTN_OK);
    d = test_again(&d);
    d.block_table = test_2d(ATTN_I32, N, PAGES);
    d.k = test_4d(ATTN_F32, 12, 1, PAGE, 8);
    d.v = test_4d(ATTN_F32, 12, 1, PAGE, 8);
    for (size_t n = 0; n < N; n++)
        for (size_t page = 0; page < PAGES; page++) {
            const int seen = page == 0 || ((page + 1) * PAGE > lens[n] - queries[n] - LAST && page * PAGE < lens[n]);
            const attn_array *const from[2] = {&caches.k, &caches.v}, *const to[2] = {&d.k, &d.v};
            ref_set(&d.block_table, 0, 0, n, page, seen ? (double)used : -1);
            for (int i = 0; i < 2 && seen; i++) {
                const attn_array here = test_part(from[i], 4, n, 1), rows = test_part(&here, 2, page * PAGE, PAGE),
                                 there = test_part(to[i], 4, used, 1);
                test_assign(&there, &rows);
            }
            used += (size_t)seen;
        }
    pass = pass && used <= 12 && test_status(test_forward(&d, test_shuffled(ATTN_PATH_AUTO, 2)), ATTN_OK) &&
           test_same_outputs(&d, &caches);
    test_ok(pass, "packed queries that see the first keys and the last: pages between are gone");
    ref_set(&d.block_table, 0, 0, 1, 0, -1);
    test_ok(test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_ERR_PAGE), "refused: a page that is seen");
    test_release();
}

/* ----------------------------------------------------------------- recipes -- */

enum { LENGTH = 150, PREFIX = 40, CHUNK = 32, LEFT_CHUNKS = 2, FIRST = 4, LAST = 30, RECIPES = 6 };
static const size_t image[2] = {50, 90}, documents[4] = {PREFIX, 60, 61, LENGTH};

static size_t lesser(size_t a, size_t b) { return a < b ? a : b; }

/* begin and end of two intervals of query i, as the manual says, and whether the call is causal, too. */
static void recipe(int which, size_t i, size_t to[4], int *causal)
{
    size_t n = 0;
    memset(to, 0, 4 * sizeof *to);
    *causal = 0;
    switch (which) {
    case 0: to[1] = i < PREFIX ? PREFIX : i + 1; break;
    case 1: to[1] = i >= image[0] && i < image[1] ? image[1] : i + 1; break;
    case 2: to[0] = i / CHUNK * CHUNK, to[1] = i + 1; break;
    case 3:
        to[0] = i / CHUNK < LEFT_CHUNKS ? 0 : (i / CHUNK - LEFT_CHUNKS) * CHUNK;
        to[1] = lesser((i / CHUNK + 1) * CHUNK, LENGTH);
        break;
    case 4: to[1] = FIRST, to[2] = i < FIRST + LAST ? FIRST : i - LAST, to[3] = LENGTH, *causal = 1; break;
    default:
        while (n < 2 && i >= documents[n + 1]) n++;
        to[1] = PREFIX, to[2] = documents[n], to[3] = LENGTH, *causal = 1;
    }
}
static int wanted(int which, size_t i, size_t j)
{
    switch (which) {
    case 0: return j <= i || (i < PREFIX && j < PREFIX);
    case 1: return j <= i || (i >= image[0] && i < image[1] && j >= image[0] && j < image[1]);
    case 2: return j <= i && i / CHUNK == j / CHUNK;
    case 3: return j / CHUNK <= i / CHUNK && i / CHUNK - j / CHUNK <= LEFT_CHUNKS;
    case 4: return j <= i && (j < FIRST || i - j <= LAST);
    default:
        if (j > i) return 0;
        for (size_t n = 0; n < 3; n++)
            if (i >= documents[n] && i < documents[n + 1] && j >= documents[n] && j < documents[n + 1]) return 1;
        return j < PREFIX;
    }
}

static void try_recipes(void)
{
    static const char *const names[RECIPES] = {
        "a prefix without causality", "an image among text",         "chunks",
        "chunks and some before",     "the first keys and the last", "documents behind a prefix"};
    const test_shape shape = {ATTN_F32, 1, 2, 1, LENGTH, LENGTH, 8, 8};
    for (int which = 0; which < RECIPES; which++) {
        test_rng rng = {4};
        attn_desc d = test_problem(&shape, &rng), m = test_again(&d);
        d.q_bounds = test_2d(ATTN_I32, LENGTH, 4);
        m.mask = test_2d(ATTN_BOOL, LENGTH, LENGTH);
        for (size_t i = 0; i < LENGTH; i++) {
            size_t bounds[4];
            recipe(which, i, bounds, &d.causal);
            for (size_t n = 0; n < 4; n++) ref_set(&d.q_bounds, 0, 0, i, n, (double)bounds[n]);
            for (size_t j = 0; j < LENGTH; j++) ref_set(&m.mask, 0, 0, i, j, wanted(which, i, j));
        }
        test_ok(test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
                    test_status(test_forward(&m, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same_outputs(&d, &m),
                "recipe: %s", names[which]);
        test_release();
    }
}

/* ------------------------------------------------------------------ errors -- */

static void set_row(const attn_array *bounds, const double to[4])
{
    for (size_t n = 0; n < 4; n++) ref_set(bounds, 0, 0, 2, n, to[n]);
}

#define REFUSE(want, spoil)                                                                                            \
    do {                                                                                                               \
        const test_shape shape = {ATTN_F32, 2, 2, 2, 5, 9, 4, 4};                                                      \
        test_rng rng = {5};                                                                                            \
        attn_desc d = test_problem(&shape, &rng), unwritten = test_again(&d), outputs = test_again(&d);                \
        const char *argument = NULL;                                                                                   \
        attn_exec run = test_on(ATTN_PATH_AUTO);                                                                       \
        run.argument = &argument;                                                                                      \
        d.out = outputs.out, d.lse = outputs.lse, d.scores = outputs.scores;                                           \
        d.q_bounds = test_2d(ATTN_I64, 5, 4);                                                                          \
        test_fill(&d.q_bounds, 0);                                                                                     \
        spoil;                                                                                                         \
        test_ok(test_status(attn_forward(&d, &run), want) && argument && !strcmp(argument, "q_bounds") &&              \
                    test_same_outputs(&outputs, &unwritten) && test_guards(),                                          \
                "refused, nothing written: %s", #spoil);                                                               \
        test_release();                                                                                                \
    } while (0)

static void try_errors(void)
{
    static const double overlap[4] = {0, 4, 3, 6}, descend[4] = {5, 7, 1, 2}, before[4] = {-9, -3, -4, 2},
                        beyond[4] = {100, 200, 150, 300};
    REFUSE(ATTN_ERR_LENGTH, set_row(&d.q_bounds, overlap));
    REFUSE(ATTN_ERR_LENGTH, set_row(&d.q_bounds, descend));
    REFUSE(ATTN_ERR_LENGTH, set_row(&d.q_bounds, before));
    REFUSE(ATTN_ERR_LENGTH, set_row(&d.q_bounds, beyond));
    REFUSE(ATTN_ERR_SHAPE, d.q_bounds.shape[1] = 3);
    REFUSE(ATTN_ERR_SHAPE, d.q_bounds.shape[0] = 4);
    REFUSE(ATTN_ERR_SHAPE, d.q_bounds = test_3d(ATTN_I32, 3, 5, 2));
    REFUSE(ATTN_ERR_RANK, d.q_bounds = test_1d(ATTN_I32, 10));
    REFUSE(ATTN_ERR_DTYPE, d.q_bounds.dtype = ATTN_F64);
    REFUSE(ATTN_ERR_NULL, d.q_bounds.data = NULL);
    REFUSE(ATTN_ERR_ALIGN, d.q_bounds.data = (char *)d.q_bounds.data + 1);
}

int main(void)
{
    for (size_t t = 0; t < 2; t++) {
        try_random(test_types[t], 100, 0);
        try_random(test_types[t], 50, 1);
        try_redone(test_types[t]);
        try_parts(test_types[t]);
    }
    try_pages();
    try_recipes();
    try_errors();
    return test_done();
}
