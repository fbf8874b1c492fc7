/* SPDX-License-Identifier: MIT-0
 *
 * Boolean and additive masks with every kind of broadcasting, causality with each alignment,
 * windows and key lengths: each alone and all pairs of them, compared with the reference.
 * Masked keys and values are NaN in these tests.
 */
#include "check/harness.h"

#include <math.h>
#include <string.h>

static const size_t batch = 2, heads = 4, q_len = 7, kv_len = 533;

static attn_desc problem(attn_dtype type, test_rng *rng)
{
    const test_shape shape = {type, batch, heads, heads / 2, q_len, kv_len, 11, 6};
    return test_problem(&shape, rng);
}

/* Sets keys that no query sees to NaN. */
static void poison_hidden(const attn_desc *d)
{
    for (size_t b = 0; b < batch; b++)
        for (size_t h = 0; h < heads / 2; h++) {
            unsigned char seen[1024] = {0};
            for (size_t g = 0; g < 2; g++) {
                ref_head *head = ref_open(d, b, 2 * h + g);
                for (size_t i = 0; i < q_len; i++) {
                    const ref_row *row = ref_compute_row(head, i);
                    for (size_t j = 0; j < kv_len; j++) seen[j] |= row->keep[j];
                }
                ref_close(head);
            }
            for (size_t j = 0; j < kv_len; j++) {
                for (size_t c = 0; c < ref_length(&d->k, 1) && !seen[j]; c++) ref_set(&d->k, b, h, j, c, (double)NAN);
                for (size_t c = 0; c < ref_length(&d->v, 1) && !seen[j]; c++) ref_set(&d->v, b, h, j, c, (double)NAN);
            }
        }
}

/* Additive masks: a third is -inf, the rest in [-2, 2]. Boolean masks: two thirds are true.
 * A run of keys is hidden from all queries. */
static attn_array make_mask(attn_dtype type, size_t n0, size_t n1, size_t n2, test_rng *rng)
{
    const attn_array mask = test_4d(type, n0, n1, n2, kv_len);
    for (size_t b = 0; b < n0; b++)
        for (size_t h = 0; h < n1; h++)
            for (size_t i = 0; i < n2; i++)
                for (size_t j = 0; j < kv_len; j++) {
                    const int keep = test_below(rng, 3) > 0 && (j < 100 || j >= 140);
                    ref_set(&mask, b, h, i, j,
                            type == ATTN_BOOL ? keep
                            : keep            ? 4 * test_uniform(rng) - 2
                                              : -(double)INFINITY);
                }
    return mask;
}

static void try_broadcasts(attn_dtype type)
{
    for (unsigned full = 0; full < 8; full++)
        for (int additive = 0; additive < 2; additive++) {
            test_rng rng = {full};
            attn_desc d = problem(type, &rng);
            const size_t n0 = full & 1 ? batch : 1, n1 = full & 2 ? heads : 1, n2 = full & 4 ? q_len : 1;
            d.mask = make_mask(additive ? type : ATTN_BOOL, n0, n1, n2, &rng);
            poison_hidden(&d);
            test_attention(&d, "%s, %s mask (%zu, %zu, %zu, %zu)", attn_dtype_name(type),
                           additive ? "additive" : "boolean", n0, n1, n2, kv_len);
            test_release();
        }
    for (int rank = 1; rank <= 3; rank++) {
        test_rng rng = {(uint64_t)rank};
        attn_desc d = problem(type, &rng);
        d.mask = make_mask(ATTN_BOOL, 1, rank == 3 ? heads : 1, rank >= 2 ? q_len : 1, &rng);
        d.mask = rank == 1   ? attn_array_1d(ATTN_BOOL, d.mask.data, kv_len)
                 : rank == 2 ? attn_array_2d(ATTN_BOOL, d.mask.data, q_len, kv_len)
                             : attn_array_3d(ATTN_BOOL, d.mask.data, heads, q_len, kv_len);
        test_attention(&d, "%s, %d-D mask", attn_dtype_name(type), rank);
        test_release();
    }
    for (int reversed = 0; reversed < 2; reversed++) { /* strides of the mask itself */
        test_rng rng = {9};
        attn_desc d = problem(type, &rng);
        attn_array mask = make_mask(reversed ? ATTN_BOOL : type, 1, 1, q_len, &rng),
                   columns = test_2d(mask.dtype, kv_len, q_len), view;
        view = attn_array_swap(columns, 0, 1);
        mask = attn_array_2d(mask.dtype, mask.data, q_len, kv_len);
        if (reversed) {
            view = attn_array_swap(mask, 0, 0);
            view.data = ref_at(&mask, 0, 0, q_len - 1, kv_len - 1);
            view.stride[0] = -(ptrdiff_t)kv_len;
            view.stride[1] = -1;
        } else test_assign(&view, &mask);
        d.mask = view;
        test_attention(&d, "%s, mask %s", attn_dtype_name(type), reversed ? "reversed" : "transposed");
        test_release();
    }
    { /* any byte other than 0 means visible */
        test_rng rng = {10};
        attn_desc d = problem(type, &rng);
        d.mask = make_mask(ATTN_BOOL, 1, 1, q_len, &rng);
        for (size_t i = 0; i < q_len * kv_len; i++)
            if (((unsigned char *)d.mask.data)[i]) ((unsigned char *)d.mask.data)[i] = (unsigned char)(1u << i % 8);
        test_attention(&d, "%s, true is any byte but 0", attn_dtype_name(type));
        test_release();
    }
}

enum { CAUSAL_LEFT = 1, CAUSAL_RIGHT, CAUSAL_OFFSET, WINDOW, ONE_SIDED, LENGTHS, BOOLEAN, ADDITIVE, FEATURES };

static const char *const feature_names[FEATURES] = {
    "",        "causal upper-left", "causal lower-right", "causal with offset", "window", "one-sided window",
    "kv_lens", "boolean mask",      "additive mask"};

static void add_feature(attn_desc *d, int feature, test_rng *rng)
{
    switch (feature) {
    case CAUSAL_LEFT:
    case CAUSAL_RIGHT:
    case CAUSAL_OFFSET:
        d->causal = 1;
        d->align = feature == CAUSAL_LEFT    ? ATTN_ALIGN_UPPER_LEFT
                   : feature == CAUSAL_RIGHT ? ATTN_ALIGN_LOWER_RIGHT
                                             : ATTN_ALIGN_OFFSET;
        d->q_offset = 500;
        break;
    case WINDOW:
    case ONE_SIDED:
        d->window = 1;
        d->window_left = feature == WINDOW ? 5 : 40;
        d->window_right = feature == WINDOW ? 2 : -1;
        break;
    case LENGTHS:
        d->kv_lens = test_1d(ATTN_I64, batch);
        ref_set(&d->kv_lens, 0, 0, 0, 0, 523);
        ref_set(&d->kv_lens, 0, 0, 0, 1, 17);
        break;
    case BOOLEAN: d->mask = make_mask(ATTN_BOOL, batch, 1, q_len, rng); break;
    case ADDITIVE: d->mask = make_mask(d->q.dtype, 1, heads, 1, rng); break;
    default: break;
    }
}

static void try_pairs(attn_dtype type)
{
    for (int a = 1; a < FEATURES; a++)
        for (int b = a; b < FEATURES; b++) {
            test_rng rng = {(uint64_t)(10 * a + b)};
            attn_desc d = problem(type, &rng);
            add_feature(&d, a, &rng);
            if (b != a) add_feature(&d, b, &rng);
            poison_hidden(&d);
            test_attention(&d, "%s, %s%s%s", attn_dtype_name(type), feature_names[a], b != a ? " and " : "",
                           b != a ? feature_names[b] : "");
            test_release();
        }
}

/* Both ends are included; -1 means unbounded; a causal window ends at p. */
static void try_windows(attn_dtype type)
{
    static const int64_t sides[] = {-1, 0, 1, 7, 511, 512, 600, INT64_MAX};
    for (size_t l = 0; l < sizeof sides / sizeof *sides; l++)
        for (size_t r = 0; r < sizeof sides / sizeof *sides; r++) {
            const test_shape shape = {type, 1, 1, 1, 10, 600, 3, 2};
            test_rng rng = {l};
            attn_desc d = test_problem(&shape, &rng);
            d.window = 1;
            d.window_left = sides[l];
            d.window_right = sides[r];
            d.align = l % 2 ? ATTN_ALIGN_LOWER_RIGHT : ATTN_ALIGN_UPPER_LEFT;
            test_attention(&d, "%s, window %lld, %lld", attn_dtype_name(type), (long long)sides[l],
                           (long long)sides[r]);
            test_release();
        }
}

/* A band across blocks of keys and tiles of queries: of rows that are computed together, some
 * do not see the first block and some not the last. */
static void try_bands(attn_dtype type)
{
    static const int64_t sides[][2] = {{20, 0}, {0, 20}, {3, -1}, {-1, 3}, {530, 0}};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        const test_shape shape = {type, 1, 1, 1, 620, 620, 3, 2};
        test_rng rng = {i};
        attn_desc d = test_problem(&shape, &rng);
        d.scores = test_absent;
        d.window = 1;
        d.window_left = sides[i][0];
        d.window_right = sides[i][1];
        test_attention(&d, "%s, 620 queries, window %lld, %lld", attn_dtype_name(type), (long long)sides[i][0],
                       (long long)sides[i][1]);
        test_release();
    }
}

static void try_offsets(attn_dtype type)
{
    static const int64_t offsets[] = {-50, -1, 0, 1, 470, 512, 599, 100000, -((int64_t)1 << 62), (int64_t)1 << 62};
    for (size_t o = 0; o < sizeof offsets / sizeof *offsets; o++)
        for (int window = 0; window < 3; window++) {
            static const char *const names[] = {"", ", window 30, 4", ", as far to the right"};
            const test_shape shape = {type, 1, 1, 1, 10, 600, 3, 2};
            test_rng rng = {o};
            attn_desc d = test_problem(&shape, &rng);
            d.causal = window < 2;
            d.align = ATTN_ALIGN_OFFSET;
            d.q_offset = offsets[o];
            d.window = window > 0;
            d.window_left = window < 2 ? 30 : INT64_MAX;
            d.window_right = window < 2 ? 4 : offsets[o] < 0 ? 300 - offsets[o] : INT64_MAX;
            test_attention(&d, "%s, offset %lld%s", attn_dtype_name(type), (long long)offsets[o], names[window]);
            test_release();
        }
}

/* One query that sees the keys [first, end). How the others are hidden and what they contain
 * must not matter. */
static void try_hiding(attn_dtype type, attn_path path, size_t first, size_t end)
{
    enum { BY_WINDOW, BY_BOOLEAN, BY_ADDITIVE, BY_LENGTH, WAYS, KEYS = 1100 };
    const test_shape shape = {type, 1, 6, 1, 1, KEYS, 5, 35};
    test_rng rng = {first};
    attn_desc d = test_problem(&shape, &rng), by_window;
    int pass;
    d.colsum = test_3d(type, 1, 6, KEYS);
    by_window = test_again(&d);
    by_window.align = ATTN_ALIGN_OFFSET;
    by_window.q_offset = (int64_t)first;
    by_window.window = 1;
    by_window.window_left = 0;
    by_window.window_right = (int64_t)(end - first) - 1;
    pass = test_status(test_forward(&by_window, test_on(path)), ATTN_OK);
    for (int poison = 0; poison < 2; poison++) {
        for (size_t j = 0; j < KEYS && poison; j++)
            if (j < first || j >= end) {
                for (size_t c = 0; c < 5; c++) ref_set(&d.k, 0, 0, j, c, (double)NAN);
                for (size_t c = 0; c < 35; c++) ref_set(&d.v, 0, 0, j, c, j % 2 ? (double)NAN : -(double)INFINITY);
            }
        for (int way = BY_WINDOW; way < WAYS; way++) {
            attn_desc other = test_again(way == BY_WINDOW ? &by_window : &d);
            if (way == BY_BOOLEAN || way == BY_ADDITIVE || (way == BY_LENGTH && first > 0)) {
                other.mask = test_1d(way == BY_ADDITIVE ? type : ATTN_BOOL, KEYS);
                for (size_t j = 0; j < KEYS; j++) {
                    const int keep = j >= first && (j < end || way == BY_LENGTH);
                    ref_set(&other.mask, 0, 0, 0, j, way != BY_ADDITIVE ? keep : keep ? 0 : -(double)INFINITY);
                }
            }
            if (way == BY_LENGTH) {
                other.kv_lens = test_1d(ATTN_I32, 1);
                ref_set(&other.kv_lens, 0, 0, 0, 0, (double)end);
            }
            if (!test_status(test_forward(&other, test_on(path)), ATTN_OK) || !test_same_outputs(&other, &by_window)) {
                static const char *const names[WAYS] = {"window", "boolean mask", "additive mask", "length"};
                test_note("%s, hidden keys are %s", names[way], poison ? "NaN and infinite" : "ordinary");
                pass = 0;
            }
        }
    }
    test_ok(pass, "%s, %s, keys %zu to %zu of %d: whatever hides the others, the same bits", attn_path_name(path),
            attn_dtype_name(type), first, end, KEYS);
    test_release();
}

static void try_ways_to_hide(attn_dtype type)
{
    static const size_t ranges[][2] = {{0, 1100},   {0, 512},     {0, 530},    {512, 1024}, {513, 700},
                                       {600, 1100}, {1030, 1100}, {500, 1030}, {700, 701}};
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t p = 0; p < num_paths; p++)
        for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
            try_hiding(type, paths[p], ranges[r][0], ranges[r][1]);
}

/* A boolean mask gives the bits of an additive one with -inf. */
static int as_additive(const attn_desc *d, attn_path path)
{
    const size_t queries = ref_length(&d->q, 2), keys = ref_length(&d->k, 2);
    attn_desc boolean = test_again(d), additive = test_again(d);
    additive.mask = test_2d(d->q.dtype, queries, keys);
    for (size_t i = 0; i < queries; i++)
        for (size_t j = 0; j < keys; j++)
            ref_set(&additive.mask, 0, 0, i, j, ref_get(&d->mask, 0, 0, i, j) != 0 ? 0 : -(double)INFINITY);
    return test_status(test_forward(&boolean, test_on(path)), ATTN_OK) &&
           test_status(test_forward(&additive, test_on(path)), ATTN_OK) && test_same_outputs(&boolean, &additive);
}

/* Masks in which one key, or all keys from one on, differ from the others, at every position:
 * the library reads rows of a mask many keys at a time. */
static void try_odd_one_out(attn_dtype type, attn_path path)
{
    static const size_t lengths[] = {1, 7, 31, 32, 33, 64, 65, 100};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
        for (int kind = 0; kind < 4; kind++) {
            const size_t n = lengths[l];
            const int others = kind & 1, all_from_it = kind & 2;
            int pass = 1;
            for (size_t at = 0; at < n && pass; at++) {
                test_rng rng = {n + at};
                const test_shape shape = {type, 1, 1, 1, 2, n, 3, 2};
                attn_desc d = test_problem(&shape, &rng);
                unsigned char *mask;
                d.mask = test_2d(ATTN_BOOL, 2, n);
                mask = d.mask.data;
                for (size_t j = 0; j < n; j++) { /* anything but 0 is true */
                    const int odd = all_from_it ? j >= at : j == at;
                    mask[j] = odd != others;
                    mask[n + j] = odd != others ? (unsigned char)(1u << j % 8) : 0;
                }
                pass = as_additive(&d, path);
                test_release();
            }
            test_ok(pass, "%s, %s, boolean mask of %zu keys, %s %s from each place on", attn_path_name(path),
                    attn_dtype_name(type), n, others ? "drops" : "keeps", all_from_it ? "all" : "one");
        }
}

/* Many blocks, of which each row sees some. */
static void try_many_blocks(attn_dtype type, attn_path path)
{
    enum { BLOCKS = 35, KEYS = BLOCKS * 512 - 100, ROWS = 3 };
    const test_shape shape = {type, 1, 1, 1, ROWS, KEYS, 2, 3};
    test_rng rng = {35};
    attn_desc d = test_problem(&shape, &rng);
    int pass = 1;
    d.mask = test_2d(ATTN_BOOL, ROWS, KEYS);
    for (int begin = 0; begin < 2 && pass; begin++) {
        for (size_t i = 0; i < ROWS; i++)
            for (size_t j = 0; j < KEYS; j++) {
                static const unsigned char kinds[] = {2, 0, 1, 1, 0, 2, 1}; /* 2: all keys, 0: none, 1: some */
                const unsigned char kind = kinds[(j / 512 + i * j / 4096) % sizeof kinds];
                ref_set(&d.mask, 0, 0, i, j, kind == 2 || (kind == 1 && test_below(&rng, 2)));
            }
        d.window = begin; /* visible keys begin inside a block */
        d.causal = begin;
        d.align = ATTN_ALIGN_LOWER_RIGHT;
        d.window_left = 30 * 512 + 77;
        pass = as_additive(&d, path);
    }
    test_ok(pass, "%s, %s, boolean mask of %d blocks", attn_path_name(path), attn_dtype_name(type), BLOCKS);
    test_release();
}

/* A mask that all heads share is read once for all of them. The results must be as if each had
 * its own. With two batches, two lots of queries and more blocks than are read together. A NaN
 * value that few queries see makes rows be recomputed, also after parts of long rows. What the
 * workspace holds of another mask must not matter. */
static void try_one_for_all_heads(attn_dtype type, attn_path path, size_t batches, size_t kv_heads, size_t queries,
                                  size_t keys)
{
    enum { HEADS = 4 };
    const test_shape shape = {type, batches, HEADS, kv_heads, queries, keys, 2, 3};
    test_rng rng = {keys};
    attn_desc one = test_problem(&shape, &rng), each;
    attn_exec run = test_on(path);
    size_t bytes = 0;
    unsigned char *mask;
    int pass;
    one.scores = test_absent;
    if (keys < 50) one.colsum = test_3d(type, batches, HEADS, keys);
    one.mask = test_4d(ATTN_BOOL, batches, 1, queries, keys);
    mask = one.mask.data;
    for (size_t i = 0; i < batches * queries; i++) {
        const size_t lo = test_below(&rng, keys), hi = lo + 1 + test_below(&rng, keys - lo),
                     hole = test_below(&rng, 3) ? keys : lo + test_below(&rng, hi - lo);
        for (size_t j = 0; j < keys; j++) mask[i * keys + j] = i ? j >= lo && j < hi && j != hole : j != keys - 2;
    }
    for (size_t h = 0; h < kv_heads; h += 2) ref_set(&one.v, batches - 1, h, keys - 2, 0, (double)NAN);
    each = test_again(&one);
    each.mask = test_4d(ATTN_BOOL, batches, HEADS, queries, keys);
    for (size_t b = 0; b < batches; b++)
        for (size_t h = 0; h < HEADS; h++)
            memcpy((unsigned char *)each.mask.data + (b * HEADS + h) * queries * keys, mask + b * queries * keys,
                   queries * keys);

    run.query = &bytes;
    pass = test_status(attn_forward(&one, &run), ATTN_OK);
    run.query = NULL;
    run.workspace = test_memory(bytes, 0);
    run.workspace_size = bytes;
    memset(mask, 1, batches * queries * keys);
    pass = pass && test_status(attn_forward(&one, &run), ATTN_OK);
    for (size_t b = 0; b < batches; b++)
        memcpy(mask + b * queries * keys, (unsigned char *)each.mask.data + b * HEADS * queries * keys, queries * keys);
    pass = pass && test_status(attn_forward(&one, &run), ATTN_OK) &&
           test_status(test_forward(&each, test_on(path)), ATTN_OK) && test_same_outputs(&one, &each);
    for (size_t workers = 3; workers <= (queries > 1 ? 3 : 15) && pass; workers += 2) {
        test_poison(&one.out);
        pass = test_status(test_forward(&one, test_shuffled(path, workers)), ATTN_OK) && test_same_outputs(&one, &each);
    }
    test_ok(pass, "%s, %s, %zu x %zu heads of keys, %zu x %zu: one mask for all heads", attn_path_name(path),
            attn_dtype_name(type), batches, kv_heads, queries, keys);
    test_release();
}

static void try_boolean(attn_dtype type)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t p = 0; p < num_paths; p++) {
        try_odd_one_out(type, paths[p]);
        try_many_blocks(type, paths[p]);
        try_one_for_all_heads(type, paths[p], 2, 2, 130, 700);
        try_one_for_all_heads(type, paths[p], 2, 4, 260, 40);
        try_one_for_all_heads(type, paths[p], 2, 2, 260, 90);
        try_one_for_all_heads(type, paths[p], 2, 2, 5, 17 * 512);
        try_one_for_all_heads(type, paths[p], 1, 4, 1, 9 * 512);
    }
}

int main(void)
{
    for (size_t t = 0; t < 2; t++) {
        try_boolean(test_types[t]);
        try_broadcasts(test_types[t]);
        try_pairs(test_types[t]);
        try_windows(test_types[t]);
        try_bands(test_types[t]);
        try_offsets(test_types[t]);
        try_ways_to_hide(test_types[t]);
    }
    return test_done();
}
