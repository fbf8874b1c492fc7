/* SPDX-License-Identifier: MIT-0
 *
 * Packed queries over caches and pages: a batch of prompts, chunks, decoding steps and sequences without queries or
 * keys is one call, of which each sequence has the bits that it has alone, whatever its neighbours, the path, the
 * workers and where its pages lie; masks, scores and column sums too, and states, by which a prefix that all share is
 * computed once. Random batches; and what is refused.
 */
#include "check/harness.h"

#include <math.h>
#include <string.h>

enum { MOST = 7, HEADS = 4, KV_HEADS = 2, DIM = 20, DIM_V = 9, PAGE = 16 };

/* One batch: `d` with caches, `paged` the same with pages. */
typedef struct batch {
    size_t n, q_at[MOST + 1], capacity;
    attn_desc d, paged;
} batch;

static size_t query_count(test_rng *rng)
{
    static const size_t few[8] = {0, 1, 1, 1, 2, 5, 9, 17};
    return test_below(rng, 5) ? few[test_below(rng, 8)] : 33 + test_below(rng, 100);
}

/* Rows of each sequence in pages that lie anywhere; a table may say anything of what is beyond the length. */
static attn_array scattered(const attn_array *from, const attn_array *table, const attn_array *lens, size_t count)
{
    attn_array pages = test_4d(from->dtype, count, KV_HEADS, PAGE, ref_length(from, 1));
    for (size_t n = 0; n < ref_length(table, 2); n++)
        for (size_t i = 0; i * PAGE < (size_t)ref_get(lens, 0, 0, 0, n); i++) {
            const attn_array rows = test_part(from, 4, n, 1), part = test_part(&rows, 2, i * PAGE, PAGE),
                             page = test_part(&pages, 4, (size_t)ref_get(table, 0, 0, n, i), 1);
            test_assign(&page, &part);
        }
    return pages;
}

static batch make(attn_dtype type, attn_dtype kv, test_rng *rng)
{
    const attn_dtype compute = type == ATTN_F64 ? ATTN_F64 : ATTN_F32;
    const unsigned flags = (unsigned)test_u64(rng);
    batch b;
    attn_desc *d = &b.d;
    size_t total, pages, place = 0;
    memset(&b, 0, sizeof b);
    *d = attn_desc_default();
    b.n = 1 + test_below(rng, MOST);
    b.capacity = PAGE * (1 + test_below(rng, flags & 1 ? 80 : 9));
    for (size_t n = 0; n < b.n; n++) b.q_at[n + 1] = b.q_at[n] + query_count(rng);
    total = b.q_at[b.n] + test_below(rng, 3); /* rows of no sequence */
    d->q = test_3d(type, HEADS, total, DIM);
    d->k = test_4d(kv, b.n, KV_HEADS, b.capacity, DIM);
    d->v = test_4d(kv, b.n, KV_HEADS, b.capacity, DIM_V);
    d->out = test_3d(type, HEADS, total, DIM_V);
    d->lse = test_2d(compute, HEADS, total);
    test_fill_normal(&d->q, rng, 1);
    test_fill_normal(&d->k, rng, kv == ATTN_I8 ? 40 : 1);
    test_fill_normal(&d->v, rng, kv == ATTN_I8 ? 40 : 1);
    d->cu_seqlens_q = test_1d(flags & 2 ? ATTN_I32 : ATTN_I64, b.n + 1);
    for (size_t n = 0; n <= b.n; n++) ref_set(&d->cu_seqlens_q, 0, 0, 0, n, (double)b.q_at[n]);
    d->kv_lens = test_1d(flags & 4 ? ATTN_I32 : ATTN_I64, b.n);
    for (size_t n = 0; n < b.n; n++)
        ref_set(&d->kv_lens, 0, 0, 0, n, test_below(rng, 6) ? (double)test_below(rng, b.capacity + 1) : 0);
    if (kv == ATTN_I8) {
        d->k_scale = test_1d(ATTN_F32, 1);
        test_fill(&d->k_scale, 1.0 / 64);
    }
    d->causal = (flags & 24) != 0;
    d->align = d->causal ? ATTN_ALIGN_LOWER_RIGHT : (attn_align)(flags >> 5 & 1);
    d->window = (flags & 0xc0) == 0;
    d->window_left = (int64_t)test_below(rng, 40);
    d->window_right = (int64_t)test_below(rng, 3) - 1;
    d->softcap = (flags & 0x700) == 0 ? 20 : 0;
    if ((flags & 0x1800) == 0) {
        d->alibi = test_2d(compute, b.n, HEADS); /* slopes of each sequence */
        test_fill_normal(&d->alibi, rng, 0.1);
    }
    if (flags & 0x2000) {
        d->mask = flags & 0x4000 ? test_2d(ATTN_BOOL, total, b.capacity) : test_3d(compute, HEADS, total, b.capacity);
        test_fill_normal(&d->mask, rng, 1);
        for (size_t h = 0; h < ref_length(&d->mask, 3); h++)
            for (size_t i = 0; i < total; i++)
                for (size_t j = 0; j < b.capacity; j++)
                    if (test_below(rng, 3) == 0) ref_set(&d->mask, 0, h, i, j, flags & 0x4000 ? 0 : -(double)INFINITY);
    }
    if ((flags & 0x300000) == 0) { /* a row of none is read, too */
        d->q_bounds = test_2d(ATTN_I32, total, 4);
        for (size_t i = 0; i < total; i++)
            for (size_t n = 0, at = 0; n < 4; n++)
                ref_set(&d->q_bounds, 0, 0, i, n, (double)(at += test_below(rng, b.capacity / 2 + 1)));
    }
    if (flags & 0x8000) {
        d->sinks = test_1d(compute, HEADS);
        test_fill_normal(&d->sinks, rng, 1);
    }
    d->stage = (attn_stage)(flags >> 16 & 3);
    if (flags & 0x40000) d->scores = test_3d(compute, HEADS, total, b.capacity);
    if (flags & 0x80000) d->colsum = test_3d(compute, b.n, HEADS, b.capacity);

    b.paged = *d;
    pages = b.n * (b.capacity / PAGE) + 3;
    b.paged.block_table = test_2d(flags & 2 ? ATTN_I64 : ATTN_I32, b.n, b.capacity / PAGE);
    for (size_t n = 0; n < b.n; n++)
        for (size_t i = 0; i < b.capacity / PAGE; i++)
            ref_set(&b.paged.block_table, 0, 0, n, i,
                    i * PAGE < (size_t)ref_get(&d->kv_lens, 0, 0, 0, n) ? (double)(pages - 1 - place++)
                                                                        : -1 - (double)i);
    b.paged.k = scattered(&d->k, &b.paged.block_table, &d->kv_lens, pages);
    b.paged.v = scattered(&d->v, &b.paged.block_table, &d->kv_lens, pages);
    return b;
}

static attn_array rows_of(const attn_array *a, int from_end, size_t first, size_t count)
{
    return a->ndim ? test_part(a, from_end, first, count) : test_absent;
}

/* Sequence n of a problem with caches, as a batch of its own. */
static attn_desc sequence(const batch *b, const attn_desc *d, size_t n)
{
    const size_t first = b->q_at[n], count = b->q_at[n + 1] - first;
    attn_desc one = *d;
    one.cu_seqlens_q = test_absent;
    one.q = rows_of(&d->q, 2, first, count);
    one.out = rows_of(&d->out, 2, first, count);
    one.lse = rows_of(&d->lse, 1, first, count);
    one.mask = rows_of(&d->mask, 2, first, count);
    one.scores = rows_of(&d->scores, 2, first, count);
    one.q_bounds = rows_of(&d->q_bounds, 2, first, count);
    one.colsum = rows_of(&d->colsum, 3, n, 1);
    one.k = rows_of(&d->k, 4, n, 1);
    one.v = rows_of(&d->v, 4, n, 1);
    one.kv_lens = rows_of(&d->kv_lens, 1, n, 1);
    one.alibi = rows_of(&d->alibi, 2, n, 1);
    return one;
}

/* Is each sequence of `got` as alone, and are rows of no sequence as they were? */
static int as_alone(const batch *b, const attn_desc *got, const attn_desc *alone)
{
    const size_t total = ref_length(&got->q, 2), end = b->q_at[b->n];
    const attn_array rest = test_part(&got->out, 2, end, total - end);
    for (size_t n = 0; n < b->n; n++) {
        attn_desc caches = *got, part;
        caches.k = b->d.k, caches.v = b->d.v;
        part = sequence(b, &caches, n);
        if (!test_same_outputs(&part, &alone[n])) {
            test_note("sequence %zu of %zu: %zu queries", n, b->n, b->q_at[n + 1] - b->q_at[n]);
            return 0;
        }
    }
    for (size_t h = 0; h < HEADS; h++)
        for (size_t i = 0; i < total - end; i++)
            if (!isnan(ref_get(&rest, 0, h, i, 0))) return 0;
    return 1;
}

static void compute_alone(const batch *b, attn_desc *alone, int *pass)
{
    for (size_t n = 0; n < b->n; n++) {
        const attn_desc part = sequence(b, &b->d, n);
        alone[n] = test_again(&part);
        *pass = test_status(test_forward(&alone[n], test_on(ATTN_PATH_SCALAR)), ATTN_OK) && *pass;
    }
}

/* Is what attn_workspace_size says enough? */
static int fits(const attn_desc *d, attn_exec run)
{
    size_t bytes = 0, most = 0;
    run.query = &bytes;
    return test_status(attn_forward(d, &run), ATTN_OK) &&
           test_status(attn_workspace_size(d, run.num_workers, &most), ATTN_OK) && bytes <= most;
}

static void try_random(attn_dtype type, attn_dtype kv, int count)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    int pass = 1;
    for (int i = 0; i < count && pass; i++) {
        test_rng rng = {(uint64_t)(i + 1000 * (int)type + 100000 * (int)kv)};
        const batch b = make(type, kv, &rng);
        attn_desc alone[MOST];
        compute_alone(&b, alone, &pass);
        for (size_t p = 0; p < num_paths && pass; p++)
            for (int pages = 0; pages < 2 && pass; pages++) {
                const attn_desc d = test_again(pages ? &b.paged : &b.d);
                const size_t workers = 1 + test_below(&rng, 4);
                pass = test_status(test_forward(&d, test_shuffled(paths[p], workers)), ATTN_OK) &&
                       as_alone(&b, &d, alone) && fits(&d, test_shuffled(paths[p], workers));
                if (pass && p == 0 && i % 10 == 0) {
                    const ref_report report = ref_check(&d, 1);
                    pass = test_within(&report);
                }
                if (!pass)
                    test_note("batch %d, %s, %s, %zu workers", i, attn_path_name(paths[p]), pages ? "pages" : "caches",
                              workers);
            }
        pass = test_release() && pass;
    }
    test_ok(pass, "%s, keys of %s: %d batches over caches and over pages, each sequence as if alone",
            attn_dtype_name(type), attn_dtype_name(kv), count);
}

/* Keys and values packed, too, with a mask, lengths and column sums, the first key at some position. */
static void try_packed_keys(attn_dtype type)
{
    static const size_t q_len[4] = {3, 0, 40, 1}, k_len[4] = {30, 7, 600, 0}, begins[2] = {0, 512};
    int pass = 1;
    for (int i = 0; i < 8; i++) {
        test_rng rng = {(uint64_t)i};
        attn_desc d = attn_desc_default();
        size_t q_at = 0, k_at = 0;
        d.q = test_3d(type, HEADS, 45, DIM);
        d.k = test_3d(type, KV_HEADS, 637, DIM);
        d.v = test_3d(type, KV_HEADS, 637, DIM_V);
        d.out = test_3d(type, HEADS, 45, DIM_V);
        d.lse = test_2d(type, HEADS, 45);
        d.colsum = test_2d(type, HEADS, 637);
        d.mask = test_2d(i & 1 ? ATTN_BOOL : type, 45, 637);
        d.kv_begin = begins[i >> 2];
        d.causal = 1;
        d.align = ATTN_ALIGN_LOWER_RIGHT;
        test_fill_normal(&d.q, &rng, 1);
        test_fill_normal(&d.k, &rng, 1);
        test_fill_normal(&d.v, &rng, 1);
        test_fill_normal(&d.mask, &rng, 1);
        for (size_t r = 0; r < 45 && i & 1; r++)
            for (size_t j = 0; j < 637; j++) ref_set(&d.mask, 0, 0, r, j, (double)test_below(&rng, 2));
        d.cu_seqlens_q = test_1d(ATTN_I32, 5);
        d.cu_seqlens_k = test_1d(ATTN_I32, 5);
        if (i & 2) d.kv_lens = test_1d(ATTN_I32, 4);
        for (size_t n = 0; n < 4; n++) {
            ref_set(&d.cu_seqlens_q, 0, 0, 0, n + 1, (double)(q_at += q_len[n]));
            ref_set(&d.cu_seqlens_k, 0, 0, 0, n + 1, (double)(k_at += k_len[n]));
            if (i & 2) ref_set(&d.kv_lens, 0, 0, 0, n, (double)(d.kv_begin + k_len[n] / 2));
        }
        ref_set(&d.cu_seqlens_q, 0, 0, 0, 0, 0);
        ref_set(&d.cu_seqlens_k, 0, 0, 0, 0, 0);
        pass = test_attention(&d, "%s, packed keys, problem %d", attn_dtype_name(type), i) && pass;
        q_at = k_at = 0;
        for (size_t n = 0; n < 4 && pass; q_at += q_len[n], k_at += k_len[n++]) {
            attn_desc one = d, alone;
            one.cu_seqlens_q = one.cu_seqlens_k = test_absent;
            one.q = test_part(&d.q, 2, q_at, q_len[n]);
            one.out = test_part(&d.out, 2, q_at, q_len[n]);
            one.lse = test_part(&d.lse, 1, q_at, q_len[n]);
            one.k = test_part(&d.k, 2, k_at, k_len[n]);
            one.v = test_part(&d.v, 2, k_at, k_len[n]);
            one.colsum = test_part(&d.colsum, 1, k_at, k_len[n]);
            one.mask = test_part(&d.mask, 1, k_at, k_len[n]);
            one.mask = test_part(&one.mask, 2, q_at, q_len[n]);
            one.kv_lens = rows_of(&d.kv_lens, 1, n, 1);
            alone = test_again(&one);
            pass = test_status(test_forward(&alone, test_on(ATTN_PATH_SCALAR)), ATTN_OK) &&
                   test_same_outputs(&one, &alone);
            if (!pass) test_note("problem %d, sequence %zu", i, n);
        }
        pass = test_release() && pass;
    }
    test_ok(pass, "%s, packed keys with masks, lengths and column sums: each sequence as if alone",
            attn_dtype_name(type));
}

/* ------------------------------------------------------------------ states -- */

static void *state_of(const attn_desc *d, int *pass)
{
    void *state;
    size_t bytes = 0;
    *pass = test_status(attn_state_size(d, &bytes), ATTN_OK) && *pass;
    state = test_memory(bytes, 0);
    *pass = test_status(test_partial(d, state, bytes, test_shuffled(ATTN_PATH_AUTO, 3)), ATTN_OK) && *pass;
    return state;
}

/* States of the first and the last keys, merged: what is computed at once. */
static void try_merge(const attn_desc *first, const attn_desc *last, const attn_desc *want, int *pass)
{
    void *a = state_of(first, pass), *b = state_of(last, pass), *both;
    attn_desc got = *want;
    size_t bytes = 0;
    got.scores = got.colsum = test_absent;
    got = test_again(&got);
    *pass = test_status(attn_state_merged_size(a, b, &bytes), ATTN_OK) && *pass;
    both = test_memory(bytes, 0);
    *pass = test_status(attn_state_merge(a, b, both, bytes, ATTN_PATH_AUTO), ATTN_OK) &&
            test_status(attn_state_finish(&got, both, ATTN_PATH_AUTO), ATTN_OK) && *pass;
    if (*pass) *pass = test_same_outputs(&got, want);
}

/* Keys in two parts, cut between blocks, over caches and over pages. Rows of no sequence see nothing. */
static void try_parts(attn_dtype type)
{
    int pass = 1;
    for (int i = 0; i < 30 && pass; i++) {
        test_rng rng = {(uint64_t)(500 + i)};
        batch b = make(type, type, &rng);
        const size_t end = b.q_at[b.n], total = ref_length(&b.d.q, 2), cut = b.capacity > 512 ? 512 : 0;
        for (int pages = 0; pages < 2 && pass; pages++) {
            attn_desc d = test_again(pages ? &b.paged : &b.d), first, last;
            d.scores = d.colsum = test_absent;
            d.rowmax = test_copy(&d.lse);
            d.rowsum = test_copy(&d.lse);
            first = last = d;
            last.kv_begin = cut;
            if (pages) {
                first.block_table = test_part(&d.block_table, 1, 0, cut / PAGE);
                last.block_table = test_part(&d.block_table, 1, cut / PAGE, (b.capacity - cut) / PAGE);
            } else {
                first.k = test_part(&d.k, 2, 0, cut), last.k = test_part(&d.k, 2, cut, b.capacity - cut);
                first.v = test_part(&d.v, 2, 0, cut), last.v = test_part(&d.v, 2, cut, b.capacity - cut);
            }
            first.mask = rows_of(&d.mask, 1, 0, cut);
            last.mask = rows_of(&d.mask, 1, cut, b.capacity - cut);
            pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
            for (size_t h = 0; h < HEADS; h++)
                for (size_t r = end; r < total; r++) {
                    ref_set(&d.lse, 0, 0, h, r, -(double)INFINITY);
                    ref_set(&d.rowmax, 0, 0, h, r, -(double)INFINITY);
                    ref_set(&d.rowsum, 0, 0, h, r, 0);
                    for (size_t c = 0; c < DIM_V; c++) ref_set(&d.out, 0, h, r, c, 0);
                }
            try_merge(&first, &last, &d, &pass);
            if (!pass) test_note("batch %d, %s", i, pages ? "pages" : "caches");
        }
        pass = test_release() && pass;
    }
    test_ok(pass, "%s: two parts of the keys, merged, as the whole", attn_dtype_name(type));
}

/* A prefix that all share, for all rows at once, and pages of each from there on. */
static void try_cascade(attn_dtype type)
{
    enum { N = 3, PREFIX = 1024, ROWS = 24, OWN = 3 * ROWS }; /* a page of so many, of which PREFIX is no multiple */
    static const size_t queries[N] = {1, 12, 3}, own[N] = {5, 60, 17};
    test_rng rng = {77};
    attn_desc whole = attn_desc_default(), shared, rest;
    size_t at = 0;
    int pass;
    whole.q = test_3d(type, HEADS, 16, DIM);
    whole.k = test_4d(type, N, KV_HEADS, PREFIX + OWN, DIM);
    whole.v = test_4d(type, N, KV_HEADS, PREFIX + OWN, DIM_V);
    whole.out = test_3d(type, HEADS, 16, DIM_V);
    whole.lse = test_2d(type, HEADS, 16);
    test_fill_normal(&whole.q, &rng, 1);
    test_fill_normal(&whole.k, &rng, 1);
    test_fill_normal(&whole.v, &rng, 1);
    whole.causal = 1;
    whole.align = ATTN_ALIGN_LOWER_RIGHT;
    whole.cu_seqlens_q = test_1d(ATTN_I32, N + 1);
    whole.kv_lens = test_1d(ATTN_I32, N);
    ref_set(&whole.cu_seqlens_q, 0, 0, 0, 0, 0);
    shared = rest = whole;
    rest.block_table = test_2d(ATTN_I32, N, OWN / ROWS);
    rest.k = test_4d(type, N * OWN / ROWS, KV_HEADS, ROWS, DIM);
    rest.v = test_4d(type, N * OWN / ROWS, KV_HEADS, ROWS, DIM_V);
    rest.kv_begin = PREFIX;
    for (size_t n = 0; n < N; n++) {
        attn_array *const of[2] = {&whole.k, &whole.v}, *const pages[2] = {&rest.k, &rest.v};
        ref_set(&whole.cu_seqlens_q, 0, 0, 0, n + 1, (double)(at += queries[n]));
        ref_set(&whole.kv_lens, 0, 0, 0, n, (double)(PREFIX + own[n]));
        for (int i = 0; i < 2; i++) {
            const attn_array first = test_part(of[i], 4, 0, 1), prefix = test_part(&first, 2, 0, PREFIX),
                             here = test_part(of[i], 4, n, 1), same = test_part(&here, 2, 0, PREFIX);
            if (n) test_assign(&same, &prefix);
            for (size_t p = 0; p < OWN / ROWS; p++) {
                const size_t number = N * OWN / ROWS - 1 - n * (OWN / ROWS) - p;
                const attn_array from = test_part(&here, 2, PREFIX + p * ROWS, ROWS),
                                 page = test_part(pages[i], 4, number, 1);
                test_assign(&page, &from);
                ref_set(&rest.block_table, 0, 0, n, p, (double)number);
            }
        }
    }
    shared.cu_seqlens_q = shared.kv_lens = test_absent;
    shared.causal = 0; /* every row sees all of it */
    shared.k = test_part(&whole.k, 4, 0, 1), shared.k = test_part(&shared.k, 2, 0, PREFIX);
    shared.v = test_part(&whole.v, 4, 0, 1), shared.v = test_part(&shared.v, 2, 0, PREFIX);
    pass = test_status(test_forward(&whole, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    try_merge(&shared, &rest, &whole, &pass);
    test_ok(test_release() && pass, "%s: a shared prefix once, and pages of each, as the whole", attn_dtype_name(type));
}

/* ------------------------------------------------------------------ errors -- */

#define REFUSE(want, spoil)                                                                                            \
    do {                                                                                                               \
        test_rng rng = {7}; /* one of which each has pages */                                                          \
        batch b = make(ATTN_F32, ATTN_F32, &rng);                                                                      \
        attn_desc d = test_again(&b.paged);                                                                            \
        const attn_desc outputs = d, unwritten = test_again(&d);                                                       \
        const char *argument = NULL;                                                                                   \
        attn_exec run = test_on(ATTN_PATH_AUTO);                                                                       \
        run.argument = &argument;                                                                                      \
        spoil;                                                                                                         \
        test_ok(test_status(attn_forward(&d, &run), want) && argument && test_same_outputs(&outputs, &unwritten) &&    \
                    test_guards(),                                                                                     \
                "refused, nothing written: %s", #spoil);                                                               \
        test_release();                                                                                                \
    } while (0)

static void try_errors(void)
{
    REFUSE(ATTN_ERR_NULL, d.cu_seqlens_q = test_absent; d.cu_seqlens_k = b.d.cu_seqlens_q);
    REFUSE(ATTN_ERR_NULL, d.kv_lens = test_absent); /* pages do not say how many keys there are */
    REFUSE(ATTN_ERR_SHAPE, d.kv_lens.shape[0]++);
    REFUSE(ATTN_ERR_SHAPE, d.cu_seqlens_q.shape[0]++);
    REFUSE(ATTN_ERR_SHAPE, d.block_table.shape[0]++);
    REFUSE(ATTN_ERR_SHAPE, (d.k = b.d.k, d.v = b.d.v, d.block_table = test_absent, d.k.shape[0]++));
    REFUSE(ATTN_ERR_RANK, d.k = test_3d(ATTN_F32, KV_HEADS, PAGE, DIM));
    REFUSE(ATTN_ERR_LENGTH, ref_set(&d.kv_lens, 0, 0, 0, 0, -1));
    REFUSE(ATTN_ERR_LENGTH, ref_set(&d.kv_lens, 0, 0, 0, b.n - 1, (double)b.capacity + 1));
    REFUSE(ATTN_ERR_LENGTH, ref_set(&d.cu_seqlens_q, 0, 0, 0, b.n, (double)ref_length(&d.q, 2) + 1));
    REFUSE(ATTN_ERR_LENGTH, ref_set(&d.cu_seqlens_q, 0, 0, 0, 0, 1));
    REFUSE(ATTN_ERR_PAGE, (d.causal = d.window = 0, test_fill(&d.kv_lens, 1), test_fill(&d.block_table, 1e6)));
    REFUSE(ATTN_ERR_SHAPE, d.mask = test_2d(ATTN_BOOL, b.q_at[b.n] + 9, b.capacity));
    REFUSE(ATTN_ERR_SHAPE, d.scores = test_3d(ATTN_F32, HEADS, ref_length(&d.q, 2), b.capacity + 1));
    REFUSE(ATTN_ERR_SHAPE, d.colsum = test_3d(ATTN_F32, b.n + 1, HEADS, b.capacity));
    REFUSE(ATTN_ERR_SHAPE, d.alibi = test_2d(ATTN_F32, b.n + 1, HEADS));
    REFUSE(ATTN_ERR_UNSUPPORTED, (d.scores = test_absent, d.cu_seqlens_k = d.cu_seqlens_q));
}

int main(void)
{
    try_random(ATTN_F32, ATTN_F32, 60);
    try_random(ATTN_F64, ATTN_F64, 30);
    try_random(ATTN_F32, ATTN_I8, 30);
    try_random(ATTN_BF16, ATTN_BF16, 20);
    for (size_t t = 0; t < 2; t++) {
        try_packed_keys(test_types[t]);
        try_parts(test_types[t]);
        try_cascade(test_types[t]);
    }
    try_errors();
    return test_done();
}
