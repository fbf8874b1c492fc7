/* SPDX-License-Identifier: MIT-0
 *
 * Masks that do not cover all keys (ATTN_MASK_KEYS, ATTN_MASK_TAIL) and masks of bits: on every path the bits of all
 * outputs are those of the same keys given as a mask of all of them, for any number of columns, with everything else
 * that hides keys, in pages, in parts that are merged, on several workers and for any layout. Keys and values for want
 * of a column may be NaN, and bits beyond the last column anything.
 */
#include "check/harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BATCH = 2, HEADS = 4, KV_LEN = 1100, DIM = 9, DIM_V = 6, PAGE = 44 };

static const char *const place_names[ATTN_MASK_PLACE_COUNT] = {"all keys", "the first keys", "the last keys"};

enum { PLAIN, CAUSAL, WINDOW, LENGTHS, ALIBI, PAGES, FEATURES };
static const char *const feature_names[FEATURES] = {"alone", "causal", "window", "lengths", "ALiBi", "pages"};

static attn_desc problem(attn_dtype type, size_t q_len, test_rng *rng)
{
    const test_shape shape = {type, BATCH, HEADS, 2, q_len, KV_LEN, DIM, DIM_V};
    attn_desc d = test_problem(&shape, rng);
    d.rowmax = test_copy(&d.lse);
    return d;
}

/* Some rows keep all, some none, some all but a run, some two keys of a block, some at random. Additive masks have 0
 * where a boolean one is true, or, in every second head, other numbers. */
static void add_mask(attn_desc *d, attn_dtype mask, attn_mask_place place, size_t columns, int for_all_heads,
                     test_rng *rng)
{
    const size_t heads = for_all_heads ? 1 : HEADS, q_len = d->q.shape[2];
    d->mask = test_4d(mask, BATCH, heads, q_len, columns);
    d->mask_place = place;
    if (mask == ATTN_BIT) memset(d->mask.data, 0xff, BATCH * heads * q_len * ((columns + 7) / 8));
    for (size_t b = 0; b < BATCH; b++)
        for (size_t h = 0; h < heads; h++)
            for (size_t i = 0; i < q_len; i++) {
                const size_t kind = test_below(rng, 7), low = test_below(rng, columns + 1),
                             high = test_below(rng, columns + 1);
                for (size_t j = 0; j < columns; j++) {
                    const int keep = kind == 0   ? 0
                                     : kind == 1 ? 1
                                     : kind == 2 ? j < low
                                     : kind == 3 ? j >= low
                                     : kind == 4 ? j < low || j > high
                                     : kind == 5 ? j % 512 == 3 || j % 512 == 510
                                                 : test_below(rng, 3) > 0;
                    const double x = mask == ATTN_BOOL || mask == ATTN_BIT ? keep
                                     : !keep                               ? -(double)INFINITY
                                     : h % 2                               ? test_normal(rng)
                                                                           : 0;
                    ref_set(&d->mask, b, h, i, j, x);
                }
            }
}

static void add_feature(attn_desc *d, int feature, test_rng *rng)
{
    d->causal = feature == CAUSAL;
    d->align = ATTN_ALIGN_LOWER_RIGHT;
    d->window = feature == WINDOW;
    d->window_left = 300;
    d->window_right = 40;
    if (feature == ALIBI) {
        d->alibi = test_1d(d->q.dtype, HEADS);
        test_fill_normal(&d->alibi, rng, 0.02);
    }
    if (feature == LENGTHS || feature == PAGES) {
        d->kv_lens = test_1d(ATTN_I32, BATCH);
        ref_set(&d->kv_lens, 0, 0, 0, 0, 1090);
        ref_set(&d->kv_lens, 0, 0, 0, 1, 13); /* masks have more columns */
    }
}

/* Keys that no row sees. */
static void poison_hidden(const attn_desc *d)
{
    for (size_t b = 0; b < BATCH; b++)
        for (size_t kv = 0; kv < 2; kv++)
            for (size_t j = 0; j < KV_LEN; j++) {
                int seen = 0;
                for (size_t h = 2 * kv; h < 2 * kv + 2; h++)
                    for (size_t i = 0; i < d->q.shape[2] && !seen; i++) seen = ref_sees(d, b, h, i, j);
                for (size_t c = 0; c < DIM && !seen; c++) ref_set(&d->k, b, kv, j, c, (double)NAN);
                for (size_t c = 0; c < DIM_V && !seen; c++) ref_set(&d->v, b, kv, j, c, (double)NAN);
            }
}

static attn_array pages_of(const attn_array *a)
{
    attn_array pages = test_4d(a->dtype, BATCH * (KV_LEN / PAGE), 2, PAGE, a->shape[3]);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t h = 0; h < 2; h++)
            for (size_t j = 0; j < KV_LEN; j++)
                for (size_t c = 0; c < a->shape[3]; c++)
                    ref_set(&pages, b * (KV_LEN / PAGE) + j / PAGE, h, j % PAGE, c, (double)ref_get(a, b, h, j, c));
    return pages;
}

static void into_pages(attn_desc *d)
{
    d->k = pages_of(&d->k);
    d->v = pages_of(&d->v);
    d->block_table = test_2d(ATTN_I32, BATCH, KV_LEN / PAGE);
    for (size_t i = 0; i < BATCH * (KV_LEN / PAGE); i++)
        ref_set(&d->block_table, 0, 0, i / (KV_LEN / PAGE), i % (KV_LEN / PAGE), (double)i);
}

static attn_status call_forward(const void *desc, attn_exec run) { return test_forward(desc, run); }

/* On every path, and by several workers, the outputs of `want`. */
static int same_everywhere(const attn_desc *d, const attn_desc *want)
{
    const attn_array *const outputs[] = {&d->out, &d->lse, &d->rowmax, &d->scores};
    int same;
    return test_status(test_all_paths(call_forward, d, outputs, 4, &same), ATTN_OK) && same &&
           test_same_outputs(d, want) && test_status(test_forward(d, test_shuffled(ATTN_PATH_AUTO, 3)), ATTN_OK) &&
           test_same_outputs(d, want);
}

static void try_place(attn_dtype type, attn_dtype mask, attn_mask_place place, int feature, size_t q_len)
{
    static const size_t columns[] = {0, 1, 7, 8, 40, 511, 512, 513, 777, KV_LEN};
    int pass = 1;
    for (size_t n = place == ATTN_MASK_ALL ? 9 : 0; n < 10 && pass; n++) {
        if (feature != PLAIN && place != ATTN_MASK_ALL && (n + (size_t)feature) % 3) continue;
        test_rng rng = {n + 100 * (uint64_t)feature + 10000 * q_len};
        attn_desc d = problem(type, q_len, &rng), want;
        add_mask(&d, mask, place, columns[n], n % 3 == 0, &rng);
        add_feature(&d, feature, &rng);
        d.stage = (attn_stage)(n % ATTN_STAGE_COUNT);
        poison_hidden(&d);
        if (d.stage == ATTN_STAGE_RAW || d.stage == ATTN_STAGE_SOFTCAPPED) d.stage = ATTN_STAGE_BIASED;
        want = test_again(&d);
        want = test_whole_mask(&want);
        if (feature == PAGES) into_pages(&d);
        pass = test_status(test_forward(&want, test_on(ATTN_PATH_SCALAR)), ATTN_OK) && same_everywhere(&d, &want);
        if (!pass) test_note("%zu columns", columns[n]);
        test_release();
    }
    test_ok(pass, "%s, %s mask for %s, %s, %zu queries", attn_dtype_name(type), attn_dtype_name(mask),
            place_names[place], feature_names[feature], q_len);
}

/* Scores before the mask of keys without a column are what they are. */
static void try_raw(attn_dtype type, attn_mask_place place)
{
    test_rng rng = {3};
    attn_desc d = problem(type, 5, &rng), want;
    add_mask(&d, ATTN_BIT, place, 700, 0, &rng);
    d.stage = ATTN_STAGE_RAW;
    d.colsum = test_3d(type, BATCH, HEADS, KV_LEN);
    want = test_again(&d);
    want = test_whole_mask(&want);
    test_ok(test_status(test_forward(&want, test_on(ATTN_PATH_SCALAR)), ATTN_OK) && same_everywhere(&d, &want) &&
                test_same(&d.colsum, &want.colsum),
            "%s, raw scores and column sums with a mask for %s", attn_dtype_name(type), place_names[place]);
    test_release();
}

/* Against the reference; and scores that overflow beside a mask, which is then looked at key by key. */
static void try_bounds(attn_dtype type, attn_dtype mask, attn_mask_place place, int large)
{
    test_rng rng = {4};
    attn_desc d = problem(type, 6, &rng);
    add_mask(&d, mask, place, 600, 0, &rng);
    d.alibi = test_1d(type, HEADS);
    test_fill(&d.alibi, 0.01);
    if (large) {
        for (size_t c = 0; c < DIM; c++) ref_set(&d.q, 0, 1, 2, c, type == ATTN_F64 ? 1e308 : 3e38);
        ref_set(&d.alibi, 0, 0, 0, 3, large > 1 ? (double)INFINITY : type == ATTN_F64 ? 1e308 : 3e38);
    }
    test_attention(&d, "%s, %s mask for %s: within bounds%s", attn_dtype_name(type), attn_dtype_name(mask),
                   place_names[place],
                   large > 1 ? ", infinite slopes"
                   : large   ? ", large numbers"
                             : "");
    test_release();
}

/* Rows padded, in reverse, one for all; bytes apart from each other. */
static void try_layouts(attn_dtype type, attn_dtype mask)
{
    for (int layout = 0; layout < 5; layout++) {
        static const char *const names[] = {"gaps between rows", "rows in reverse", "one row for all queries",
                                            "columns apart", "columns in reverse"};
        test_rng rng = {(uint64_t)layout};
        attn_desc d = problem(type, 5, &rng), want;
        const size_t columns = 803, unit = mask == ATTN_BIT ? 8 : 1, units = (columns + unit - 1) / unit,
                     size = attn_dtype_size(mask);
        attn_array from;
        char *room;
        add_mask(&d, mask, ATTN_MASK_TAIL, columns, 0, &rng);
        from = d.mask;
        d.mask.stride[3] = layout == 3 ? 3 : layout == 4 ? -1 : 1;
        d.mask.stride[2] = (ptrdiff_t)(3 * units + 5);
        d.mask.stride[1] = 5 * d.mask.stride[2];
        d.mask.stride[0] = HEADS * d.mask.stride[1];
        if (layout == 1) d.mask.stride[2] = -d.mask.stride[2];
        if (layout == 2) d.mask.stride[2] = 0, d.mask.shape[2] = 5;
        room = test_memory((size_t)(BATCH * HEADS * 5) * (3 * units + 5) * size, 0);
        memset(room, 0xff, (size_t)(BATCH * HEADS * 5) * (3 * units + 5) * size); /* true, or NaN */
        if (layout == 1) room += 4 * (3 * units + 5) * size;
        if (layout == 4) room += (units - 1) * size;
        d.mask.data = room;
        for (size_t b = 0; b < BATCH; b++)
            for (size_t h = 0; h < HEADS; h++)
                for (size_t i = layout == 2 ? 4 : 0; i < 5; i++)
                    for (size_t j = 0; j < columns; j++)
                        ref_set(&d.mask, b, h, i, j, (double)ref_get(&from, b, h, i, j));
        want = test_again(&d);
        want = test_whole_mask(&want);
        test_ok(test_status(test_forward(&want, test_on(ATTN_PATH_SCALAR)), ATTN_OK) && same_everywhere(&d, &want),
                "%s, %s mask: %s", attn_dtype_name(type), attn_dtype_name(mask), names[layout]);
        test_release();
    }
}

/* Parts take the mask of the whole, and merged give its bits. */
static void try_states(attn_dtype type, attn_dtype mask, attn_mask_place place)
{
    static const size_t cuts[] = {0, 512, 1024, KV_LEN};
    test_rng rng = {5};
    attn_desc d = problem(type, 5, &rng), part;
    size_t bytes = 0;
    int pass;
    add_mask(&d, mask, place, 600, 0, &rng);
    add_feature(&d, LENGTHS, &rng);
    d.scores = test_absent;
    pass = test_in_parts(&d, cuts, 3, test_shuffled(ATTN_PATH_AUTO, 2));
    part = d;
    part.kv_lens = test_absent; /* where the last key is, nobody says */
    if (place == ATTN_MASK_TAIL) pass &= test_status(attn_state_size(&part, &bytes), ATTN_ERR_NULL);
    test_ok(pass, "%s, %s mask for %s: parts merged", attn_dtype_name(type), attn_dtype_name(mask), place_names[place]);
    test_release();
}

/* A tree of drafts after a cache, as speculative decoding has it: node 0 is the root, 1 and 2 follow it, 3 and 4 follow
 * 1. Each sees the cache and its ancestors, as a chain of those alone does. */
static void try_tree(attn_dtype type)
{
    static const size_t parents[] = {0, 0, 0, 1, 1};
    enum { NODES = 5, CACHED = 600 };
    test_rng rng = {6};
    const test_shape shape = {type, 1, HEADS, 2, NODES, CACHED + NODES, DIM, DIM_V};
    attn_desc d = test_problem(&shape, &rng);
    unsigned char *rows = test_memory(NODES, 0); /* one byte a node */
    int pass;
    for (size_t i = 0; i < NODES; i++)
        rows[i] = (unsigned char)(1u << i | (i ? rows[parents[i]] : 0)); /* a parent comes before its children */
    d.mask = attn_array_2d(ATTN_BIT, rows, NODES, NODES);
    d.mask_place = ATTN_MASK_TAIL;
    d.scores = test_absent;
    pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t i = 0; i < NODES; i++) {
        attn_desc one = d;
        const attn_array got = test_part(&d.out, 2, i, 1);
        one.q = test_part(&d.q, 2, i, 1);
        one.mask = test_1d(ATTN_BOOL, CACHED + NODES);
        one.mask_place = ATTN_MASK_ALL;
        for (size_t j = 0; j < CACHED + NODES; j++)
            ref_set(&one.mask, 0, 0, 0, j, j < CACHED || (rows[i] >> (j - CACHED) & 1));
        one.out = test_4d(type, 1, HEADS, 1, DIM_V);
        one.lse = test_absent;
        pass &= test_status(test_forward(&one, test_on(ATTN_PATH_SCALAR)), ATTN_OK) && test_same(&got, &one.out);
    }
    test_ok(pass && test_release(), "%s: a tree of drafts, one byte a node", attn_dtype_name(type));
}

int main(void)
{
    for (size_t t = 0; t < 2; t++) {
        const attn_dtype type = test_types[t], masks[] = {ATTN_BOOL, ATTN_BIT, type, ATTN_BF16};
        for (size_t m = 0; m < (type == ATTN_F64 ? 3 : 4); m++) {
            for (int place = 0; place < ATTN_MASK_PLACE_COUNT; place++) {
                for (int feature = 0; feature < FEATURES; feature++)
                    try_place(type, masks[m], (attn_mask_place)place, feature, feature % 2 ? 20 : 3);
                for (int large = 0; large < 3 && place != ATTN_MASK_ALL; large++)
                    try_bounds(type, masks[m], (attn_mask_place)place, large);
                if (place != ATTN_MASK_ALL) try_states(type, masks[m], (attn_mask_place)place);
            }
            try_layouts(type, masks[m]);
        }
        for (int place = 1; place < ATTN_MASK_PLACE_COUNT; place++) try_raw(type, (attn_mask_place)place);
        try_tree(type);
    }
    return test_done();
}
