/* SPDX-License-Identifier: MIT-0
 *
 * A bias by distance (rel_bias) has the bits of the additive mask that holds the same numbers, with every other option,
 * on every path, for batches, packed sequences, pages, parts and what is hidden by NaN; beside an additive mask it is
 * within the bounds; what is no table, or too far, is refused.
 */
#include "check/harness.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* The same problem with an additive mask in place of the relative bias; it has no other one. */
static attn_desc masked(const attn_desc *d)
{
    const size_t batch = ref_length(&d->q, 4), heads = ref_length(&d->q, 3), rows = ref_length(&d->q, 2),
                 keys = ref_length(&d->k, 2);
    attn_desc m = test_again(d);
    m.rel_bias = test_absent;
    m.mask = test_4d(d->rel_bias.dtype, batch, heads, rows, keys);
    for (size_t b = 0; b < batch; b++)
        for (size_t h = 0; h < heads; h++)
            for (size_t i = 0; i < rows; i++)
                for (size_t j = 0; j < keys; j++) {
                    const int drops = d->mask.ndim && ref_mask(d, b, h, i, j) < 0;
                    ref_set(&m.mask, b, h, i, j, drops ? -(double)INFINITY : (double)ref_relative(d, b, h, i, j));
                }
    return m;
}

/* Entries from some distance on: all numbers, some -inf, runs of -inf at an end; in one of several layouts. */
static void add_table(attn_desc *d, unsigned flags, test_rng *rng)
{
    static const attn_dtype narrow[4] = {ATTN_F32, ATTN_F16, ATTN_BF16, ATTN_F32};
    const attn_dtype type = d->q.dtype == ATTN_F64 ? ATTN_F64 : narrow[flags & 3];
    const size_t batch = ref_length(&d->q, 4), heads = ref_length(&d->q, 3), rows = ref_length(&d->q, 2),
                 keys = ref_length(&d->k, 2), drops = test_below(rng, 4);
    const size_t n[5] = {1, 2, 17, rows + keys - 1, 2 * keys};
    const size_t r = n[test_below(rng, 5)], run = test_below(rng, r + 1);
    attn_array *t = &d->rel_bias;
    *t = test_4d(type, flags & 4 ? batch : 1, flags & 8 ? heads : 1, flags & 16 ? rows : 1, r);
    test_fill_normal(t, rng, 2);
    for (size_t b = 0; b < t->shape[0]; b++)
        for (size_t h = 0; h < t->shape[1]; h++)
            for (size_t i = 0; i < t->shape[2]; i++)
                for (size_t e = 0; e < r && drops; e++)
                    if ((drops == 1 && test_below(rng, 3) == 0) || (drops == 2 && e < run) || (drops == 3 && e >= run))
                        ref_set(t, b, h, i, e, -(double)INFINITY);
    if (flags & 32 && r > 1) { /* entries from the last to the first; then of every second element */
        ptrdiff_t *s = t->stride;
        s[3] = -1, s[2] = (ptrdiff_t)r, s[1] = s[2] * (ptrdiff_t)t->shape[2], s[0] = s[1] * (ptrdiff_t)t->shape[1];
        t->data = (char *)t->data + (r - 1) * attn_dtype_size(type);
        if (flags & 64 && r % 2 == 0) s[3] = -2, t->shape[3] = r / 2;
    }
    if (flags & 128 && flags & 4 && !(flags & 32))
        *t = attn_array_4d(type, t->data, 1, t->shape[1], t->shape[2], t->shape[3]);
    if (flags & 256 && t->shape[0] == 1 && t->shape[1] == 1 && t->shape[2] == 1 && !(flags & 32))
        *t = attn_array_1d(type, t->data, r);
    d->rel_first = (int64_t)test_below(rng, rows + keys) - (int64_t)(test_below(rng, 2) ? keys : r / 2);
    d->rel_clamp = (flags & 512) != 0;
}

static attn_desc make(attn_dtype type, test_rng *rng)
{
    static const size_t q_lens[4] = {1, 3, 20, 70}, kv_lens[4] = {9, 130, 600, 1300};
    const unsigned flags = (unsigned)test_u64(rng);
    test_shape shape = {type, 0, 4, 0, 0, 0, 12, 17};
    attn_desc d;
    shape.batch = 1 + test_below(rng, 2);
    shape.kv_heads = flags & 0x80000000u ? 2 : 4;
    shape.q_len = q_lens[flags & 3];
    shape.kv_len = kv_lens[flags >> 2 & 3];
    d = test_problem(&shape, rng);
    add_table(&d, flags >> 4, rng);
    d.causal = (flags & 0x4000) != 0;
    d.align = (attn_align)(flags >> 15 & 1);
    d.window = (flags & 0x30000) == 0;
    d.window_left = (int64_t)test_below(rng, 300);
    d.window_right = -1;
    d.softcap = (flags & 0xc0000) == 0 ? 9 : 0;
    d.stage = (attn_stage)(flags >> 20 & 3);
    if (flags & 0x400000) d.scores = test_absent;
    if (flags & 0x800000) d.colsum = test_3d(type, shape.batch, 4, shape.kv_len);
    d.rowmax = test_3d(type, shape.batch, 4, shape.q_len);
    if ((flags & 0x3000000) == 0) {
        d.alibi = test_1d(type, 4);
        test_fill_normal(&d.alibi, rng, 0.1);
    }
    if (flags & 0x4000000) {
        d.sinks = test_1d(type, 4);
        test_fill_normal(&d.sinks, rng, 1);
    }
    if ((flags & 0x18000000) == 0) {
        d.kv_lens = test_1d(ATTN_I32, shape.batch);
        for (size_t b = 0; b < shape.batch; b++)
            ref_set(&d.kv_lens, 0, 0, 0, b, (double)test_below(rng, shape.kv_len + 1));
    }
    if ((flags & 0x60000000) == 0) { /* of runs, so that it leaves out what the table leaves, and that it */
        d.mask = test_4d(ATTN_BOOL, 1, flags & 16 ? 4 : 1, shape.q_len, shape.kv_len);
        for (size_t h = 0; h < ref_length(&d.mask, 3); h++)
            for (size_t i = 0; i < shape.q_len; i++)
                for (size_t j = 0, run = 0, keep = 1; j < shape.kv_len; j++, run--) {
                    if (run == 0) run = 1 + test_below(rng, 90), keep = test_below(rng, 2);
                    ref_set(&d.mask, 0, h, i, j, (double)keep);
                }
    } else if ((flags & 0x60000000) == 0x60000000) {
        d.q_bounds = test_2d(ATTN_I32, shape.q_len, 4);
        for (size_t i = 0; i < shape.q_len; i++)
            for (size_t n = 0, at = 0; n < 4; n++)
                ref_set(&d.q_bounds, 0, 0, i, n, (double)(at += test_below(rng, shape.kv_len / 2)));
    }
    return d;
}

/* NaN in keys and values that no row sees: of one batch, as the mask that is compared has none. */
static void poison(attn_desc *d)
{
    const size_t group = ref_length(&d->q, 3) / ref_length(&d->k, 3);
    for (size_t b = 0; b < ref_length(&d->k, 4); b++)
        for (size_t h = 0; h < ref_length(&d->k, 3); h++)
            for (size_t j = 0; j < ref_length(&d->k, 2); j++) {
                int seen = 0;
                for (size_t i = 0; i < ref_length(&d->q, 2) * group && !seen; i++)
                    seen = ref_sees(d, b, h * group + i % group, i / group, j);
                if (seen) continue;
                ref_set(&d->k, b, h, j, 3, (double)NAN);
                ref_set(&d->v, b, h, j, 5, j % 2 ? (double)INFINITY : (double)NAN);
            }
}

static void try_random(attn_dtype type, int count, int poisoned)
{
    int pass = 1;
    for (int i = 0; i < count && pass; i++) {
        test_rng rng = {(uint64_t)(i + 1000 * (int)type)};
        attn_desc d = make(type, &rng), m = masked(&d);
        if (d.scores.ndim && (d.stage == ATTN_STAGE_RAW || d.stage == ATTN_STAGE_SOFTCAPPED) && poisoned)
            d.scores = m.scores = test_absent; /* which are of all keys */
        if (poisoned) poison(&d);
        pass = test_same_problem(&d, &m, &rng, i % 20 == 0 && !poisoned);
        if (!pass) test_note("problem %d", i);
        pass = test_release() && pass;
    }
    test_ok(pass, "%s: %d random problems%s as with a mask", attn_dtype_name(type), count,
            poisoned ? ", NaN in what is hidden," : "");
}

/* Beside an additive mask, with and without ALiBi; then so large that a sum overflows, or drops nothing though it is
 * below the lowest number. */
static void try_sums(attn_dtype type)
{
    const double most = type == ATTN_F64 ? DBL_MAX : (double)FLT_MAX;
    for (int i = 0; i < 12; i++) {
        test_rng rng = {(uint64_t)i};
        const test_shape shape = {type, 1, 2, 1, i % 2 ? 1 : 40, 90, 8, 8};
        const int large = i / 4;
        attn_desc d = test_problem(&shape, &rng);
        d.stage = i & 4 ? ATTN_STAGE_BIASED : ATTN_STAGE_PROBS;
        d.align = ATTN_ALIGN_LOWER_RIGHT;
        add_table(&d, i & 2 ? 0x208 : 0, &rng);
        d.mask = test_3d(type, 2, ref_length(&d.q, 2), 90);
        test_fill_normal(&d.mask, &rng, 1);
        if (i & 2) {
            d.alibi = test_1d(type, 2);
            test_fill_normal(&d.alibi, &rng, 0.1);
            if (large == 2 && type == ATTN_F64) ref_set(&d.alibi, 0, 0, 0, 1, (double)INFINITY); /* all but p = j */
        }
        for (size_t j = 0; j < 90; j++) {
            if (large) ref_set(&d.mask, 0, 1, 0, j, large == 1 ? most : -most);
            if (j % 7 == 3) ref_set(&d.mask, 0, 0, 0, j, -(double)INFINITY);
        }
        for (size_t e = 0; e < ref_length(&d.rel_bias, 1) && large; e++) {
            ref_set(&d.rel_bias, 0, 0, 0, e, e % 5 == 1 ? -(double)INFINITY : large == 1 ? most / 2 : -most);
            if (e % 5 == 2) ref_set(&d.rel_bias, 0, 0, 0, e, (double)FLT_MAX / 4);
        }
        test_attention(&d, "%s, beside an additive mask%s%s", attn_dtype_name(type), i & 2 ? " and ALiBi" : "",
                       large ? large == 1 ? ", up to infinity" : ", below the lowest number" : "");
        test_release();
    }
}

/* Equal scores of float64 beyond its range, in which the mask counts for more than the table: no bound tells which. */
static void try_beyond(void)
{
    const test_shape shape = {ATTN_F64, 1, 1, 1, 1, 10, 8, 8};
    test_rng rng = {7};
    attn_desc d = test_problem(&shape, &rng);
    int pass;
    test_fill(&d.q, sqrt(DBL_MAX / 2));
    test_fill(&d.k, sqrt(DBL_MAX / 2));
    d.align = ATTN_ALIGN_LOWER_RIGHT;
    d.mask = test_2d(ATTN_F64, 1, 10);
    d.rel_bias = test_1d(ATTN_F64, 10);
    for (size_t j = 0; j < 10; j++) { /* at distance 9 - j */
        ref_set(&d.mask, 0, 0, 0, j, DBL_MAX / (j % 2 ? 8 : 4));
        ref_set(&d.rel_bias, 0, 0, 0, 9 - j, DBL_MAX / 1e8 * (j % 2 ? 2 : 1));
    }
    pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t j = 0; j < 10; j++) pass &= ref_get(&d.scores, 0, 0, 0, j) == (j % 2 ? 0 : (ref_real)(1 / 5.0));
    test_ok(pass, "float64: a mask and a table beside scores beyond the range");
    test_release();
}

/* NaN and infinity in the table: rows that see them, and no others. */
static void try_special(attn_dtype type)
{
    static const double special[3] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    for (int which = 0; which < 3; which++) {
        const test_shape shape = {type, 1, 2, 2, 30, 600, 8, 8};
        test_rng rng = {5};
        attn_desc d = test_problem(&shape, &rng), m;
        int pass;
        d.rel_bias = test_3d(type, 2, 1, 40); /* of keys 500 to 568 */
        test_fill_normal(&d.rel_bias, &rng, 1);
        ref_set(&d.rel_bias, 0, 0, 0, 20, -(double)INFINITY); /* seen beside the others, and dropped */
        ref_set(&d.rel_bias, 0, 0, 0, 39, special[which]);
        d.rel_first = -539;
        d.align = ATTN_ALIGN_UPPER_LEFT;
        d.colsum = test_3d(type, 1, 2, 600);
        d.mask = test_2d(ATTN_BOOL, 30, 600);
        for (size_t i = 0; i < 30; i++)
            for (size_t j = 0; j < 600; j++) ref_set(&d.mask, 0, 0, i, j, i % 2 || j + 1 != i + 501);
        pass = test_attention(&d, "%s: %g in a table", attn_dtype_name(type), special[which]);
        m = masked(&d);
        d = test_again(&d);
        pass = pass && test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
               test_status(test_forward(&m, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same_outputs(&d, &m);
        test_fill(&d.rel_bias, special[which]), d.rel_clamp = 1; /* and nothing else */
        pass = pass && test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
        for (size_t i = 0; i < 30; i++) {
            const ref_real x = ref_get(&d.out, 0, 1, i, 2), lse = ref_get(&d.lse, 0, 0, 1, i);
            pass &= which == 2 ? x == 0 && !signbit(x) && lse == -(ref_real)INFINITY : isnan(x);
        }
        test_ok(pass, "%s: %g in a table, as in a mask; a table of nothing else", attn_dtype_name(type),
                special[which]);
        test_release();
    }
}

/* Positions and distances far from the keys: what is added everywhere is the last entry, the first, or nothing. */
static void try_far(attn_dtype type)
{
    const int64_t far_away = (int64_t)1 << 61;
    for (int i = 0; i < 8; i++) {
        const test_shape shape = {type, 1, 2, 2, 5, 40, 8, 8};
        test_rng rng = {6};
        attn_desc d = test_problem(&shape, &rng);
        d.stage = ATTN_STAGE_BIASED;
        d.rel_bias = test_1d(type, 3);
        test_fill_normal(&d.rel_bias, &rng, 1);
        d.align = ATTN_ALIGN_OFFSET;
        d.q_offset = i & 1 ? 2 * far_away : -2 * far_away;
        d.rel_first = i & 2 ? far_away : -far_away;
        d.rel_clamp = i & 4;
        test_attention(&d, "%s: positions of 2^62, distances of 2^61 (%d)", attn_dtype_name(type), i);
        test_release();
    }
}

/* Two parts of the keys, merged. */
static void try_parts(attn_dtype type)
{
    int pass = 1, tried = 0;
    for (int i = 0; i < 40 && pass; i++) {
        test_rng rng = {(uint64_t)(7000 + i)};
        attn_desc d = make(type, &rng);
        const size_t cuts[3] = {0, 512, ref_length(&d.k, 2)};
        size_t bytes = 0;
        d.scores = d.colsum = test_absent;
        if (cuts[2] > 512) {
            tried++;
            if (!d.kv_lens.ndim && d.align == ATTN_ALIGN_LOWER_RIGHT) {
                pass = test_status(attn_state_size(&d, &bytes), ATTN_ERR_NULL); /* where is the last key? */
                d.kv_lens = test_1d(ATTN_I64, ref_length(&d.q, 4));
                test_fill(&d.kv_lens, (double)cuts[2]);
            }
            pass = pass && test_in_parts(&d, cuts, 2, test_on(ATTN_PATH_AUTO));
        }
        pass = test_release() && pass;
    }
    test_ok(pass && tried > 10, "%s: parts of the keys, merged, as the whole", attn_dtype_name(type));
}

/* Packed queries over pages, with a row of the table for each or one for all, as each sequence alone. */
static void try_packed(int each)
{
    enum { N = 3, TOTAL = 38, HEADS = 4, PAGE = 16, PAGES = 40, DIM = 8, R = 50 };
    static const size_t queries[N] = {1, 36, 1}, lens[N] = {600, 300, 0};
    test_rng rng = {3};
    attn_desc d = attn_desc_default();
    size_t at = 0, used = 0;
    int pass;
    d.q = test_3d(ATTN_F32, HEADS, TOTAL, DIM);
    d.k = test_4d(ATTN_F32, N * PAGES, 2, PAGE, DIM);
    d.v = test_4d(ATTN_F32, N * PAGES, 2, PAGE, DIM);
    d.out = test_3d(ATTN_F32, HEADS, TOTAL, DIM);
    d.lse = test_2d(ATTN_F32, HEADS, TOTAL);
    d.block_table = test_2d(ATTN_I32, N, PAGES);
    d.cu_seqlens_q = test_1d(ATTN_I32, N + 1);
    d.kv_lens = test_1d(ATTN_I32, N);
    d.rel_bias = test_3d(ATTN_F16, HEADS, each ? TOTAL : 1, R);
    d.rel_first = -3;
    d.rel_clamp = 1;
    d.causal = each;
    d.align = ATTN_ALIGN_LOWER_RIGHT;
    test_fill_normal(&d.q, &rng, 1);
    test_fill_normal(&d.k, &rng, 1);
    test_fill_normal(&d.v, &rng, 1);
    test_fill_normal(&d.rel_bias, &rng, 1);
    ref_set(&d.cu_seqlens_q, 0, 0, 0, 0, 0);
    for (size_t n = 0; n < N; n++) {
        at += queries[n];
        ref_set(&d.cu_seqlens_q, 0, 0, 0, n + 1, (double)at);
        ref_set(&d.kv_lens, 0, 0, 0, n, (double)lens[n]);
        for (size_t page = 0; page < PAGES; page++) ref_set(&d.block_table, 0, 0, n, page, (double)used++);
    }
    pass = test_attention(&d, "packed queries over pages, %s", each ? "a row for each" : "one row for all");
    for (size_t n = 0, from = 0; n < N && pass; from += queries[n++]) {
        const attn_desc all = d;
        attn_desc one, want;
        one = all;
        one.cu_seqlens_q = test_absent;
        one.q = test_part(&d.q, 2, from, queries[n]);
        one.out = test_part(&d.out, 2, from, queries[n]);
        one.lse = test_part(&d.lse, 1, from, queries[n]);
        one.kv_lens = test_part(&d.kv_lens, 1, n, 1);
        one.block_table = test_part(&d.block_table, 2, n, 1);
        if (each) one.rel_bias = test_part(&d.rel_bias, 2, from, queries[n]);
        want = test_again(&one);
        want.lse.ndim = 3;
        want.lse = attn_array_3d(ATTN_F32, want.lse.data, 1, HEADS, queries[n]);
        pass = test_status(test_forward(&d, test_shuffled(ATTN_PATH_AUTO, 2)), ATTN_OK) &&
               test_status(test_forward(&want, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same_outputs(&one, &want);
    }
    test_ok(pass, "packed queries over pages, %s: as each alone", each ? "a row for each" : "one row for all");
    test_release();
}

/* ------------------------------------------------------------------ errors -- */

#define REFUSE(want, name, spoil)                                                                                      \
    do {                                                                                                               \
        const test_shape shape = {ATTN_F32, 2, 2, 2, 5, 9, 4, 4};                                                      \
        test_rng rng = {5};                                                                                            \
        attn_desc d = test_problem(&shape, &rng), unwritten = test_again(&d), outputs = test_again(&d);                \
        const char *argument = NULL;                                                                                   \
        attn_exec run = test_on(ATTN_PATH_AUTO);                                                                       \
        run.argument = &argument;                                                                                      \
        d.out = outputs.out, d.lse = outputs.lse, d.scores = outputs.scores;                                           \
        d.rel_bias = test_4d(ATTN_F32, 2, 2, 5, 7);                                                                    \
        test_fill(&d.rel_bias, 0);                                                                                     \
        spoil;                                                                                                         \
        test_ok(test_status(attn_forward(&d, &run), want) && argument && !strcmp(argument, name) &&                    \
                    test_same_outputs(&outputs, &unwritten) && test_guards(),                                          \
                "refused, nothing written: %s", #spoil);                                                               \
        test_release();                                                                                                \
    } while (0)

static void try_errors(void)
{
    const int64_t limit = (int64_t)1 << 61;
    REFUSE(ATTN_ERR_SHAPE, "rel_bias", d.rel_bias = test_1d(ATTN_F32, 0));
    REFUSE(ATTN_ERR_SHAPE, "rel_bias", (d.rel_bias = test_4d(ATTN_F32, 2, 2, 5, 0), d.rel_clamp = 1));
    REFUSE(ATTN_ERR_SHAPE, "rel_bias", d.rel_bias.shape[2] = 4);
    REFUSE(ATTN_ERR_SHAPE, "rel_bias", d.rel_bias = test_3d(ATTN_F32, 3, 1, 7));
    REFUSE(ATTN_ERR_SHAPE, "rel_bias", d.rel_bias = test_4d(ATTN_F32, 3, 1, 1, 7));
    REFUSE(ATTN_ERR_OVERFLOW, "rel_bias",
           (d.rel_bias = attn_array_strided(ATTN_F32, d.rel_bias.data, 1, 1, 1, (size_t)-1 / 2, 1, 0, 0, 0)));
    REFUSE(ATTN_ERR_RANK, "rel_bias", d.rel_bias.ndim = 5);
    REFUSE(ATTN_ERR_DTYPE, "rel_bias", d.rel_bias.dtype = ATTN_F64);
    REFUSE(ATTN_ERR_DTYPE, "rel_bias", d.rel_bias.dtype = ATTN_BOOL);
    REFUSE(ATTN_ERR_NULL, "rel_bias", d.rel_bias.data = NULL);
    REFUSE(ATTN_ERR_ALIGN, "rel_bias", d.rel_bias.data = (char *)d.rel_bias.data + 1);
    REFUSE(ATTN_ERR_ALIAS, "out", d.out.data = d.rel_bias.data);
    REFUSE(ATTN_ERR_PARAMETER, "rel_first", d.rel_first = limit + 1);
    REFUSE(ATTN_ERR_PARAMETER, "rel_first", d.rel_first = -limit - 1);
}

int main(void)
{
    for (size_t t = 0; t < 2; t++) {
        try_random(test_types[t], 80, 0);
        try_random(test_types[t], 30, 1);
        try_sums(test_types[t]);
        try_special(test_types[t]);
        try_far(test_types[t]);
        try_parts(test_types[t]);
    }
    try_beyond();
    try_packed(0);
    try_packed(1);
    try_errors();
    return test_done();
}
