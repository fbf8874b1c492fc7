/* SPDX-License-Identifier: MIT-0
 *
 * rowmax and rowsum: the largest score of each row and the sum of exp(score - rowmax), within bounds with every
 * modifier, in half precision and any layout, whatever the sink; what they are where a row sees nothing, NaN or
 * infinity; the same bits for any workers, packed, alone and merged from states; with rows that are done again. Asking
 * for them changes no bit of anything else.
 */
#include "check/harness.h"

#include <float.h>
#include <math.h>

enum { BATCH = 2, HEADS = 4, Q_LEN = 5, KV_LEN = 1100, DIM = 9, DIM_V = 6 };

static const double inf = (double)INFINITY;

static attn_desc problem(attn_dtype type, size_t q_len, test_rng *rng)
{
    const test_shape shape = {type, BATCH, HEADS, 2, q_len, KV_LEN, DIM, DIM_V};
    attn_desc d = test_problem(&shape, rng);
    d.scores = test_absent;
    d.rowmax = test_copy(&d.lse);
    d.rowsum = test_copy(&d.lse);
    return d;
}

static void add_modifiers(attn_desc *d, unsigned which, test_rng *rng)
{
    if (which & 1) d->softcap = 2;
    if (which & 2) {
        d->alibi = test_1d(d->q.dtype, HEADS);
        test_fill_normal(&d->alibi, rng, 0.1);
        d->mask = test_2d(d->q.dtype, d->q.shape[2], KV_LEN);
        test_fill_normal(&d->mask, rng, 1);
        for (size_t j = 200; j < 730; j++) ref_set(&d->mask, 0, 0, 3, j, -inf);
    }
    if (which & 4) {
        d->causal = 1;
        d->align = ATTN_ALIGN_OFFSET;
        d->q_offset = 700;
    }
    if (which & 8) {
        d->sinks = test_1d(d->q.dtype, HEADS);
        for (size_t h = 0; h < HEADS; h++) ref_set(&d->sinks, 0, 0, 0, h, 8.0 * (double)h - 4);
    }
}

static void try_modifiers(attn_dtype type)
{
    for (unsigned which = 0; which < 16; which++) {
        test_rng rng = {which};
        attn_desc d = problem(type, which % 3 ? Q_LEN : 40, &rng); /* keys, or queries in lanes */
        add_modifiers(&d, which, &rng);
        test_attention(&d, "%s%s%s%s%s", attn_dtype_name(type), which & 1 ? ", softcap" : "",
                       which & 2 ? ", ALiBi and mask" : "", which & 4 ? ", causal" : "", which & 8 ? ", sinks" : "");
        test_release();
    }
}

/* What else is asked for changes no bit; nor does a sink change these. */
static void try_subsets(attn_dtype type)
{
    test_rng rng = {7};
    attn_desc all = problem(type, Q_LEN, &rng), sunk;
    int pass;
    add_modifiers(&all, 7, &rng);
    pass = test_status(test_forward(&all, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (unsigned subset = 0; subset < 16; subset++) {
        attn_desc d = test_again(&all);
        if (!(subset & 1)) d.lse = test_absent;
        if (!(subset & 2)) d.rowmax = test_absent;
        if (!(subset & 4)) d.rowsum = test_absent;
        if (subset & 8) d.scores = test_4d(type, BATCH, HEADS, Q_LEN, KV_LEN);
        pass &= test_status(test_forward(&d, test_shuffled(ATTN_PATH_AUTO, 1 + subset % 3)), ATTN_OK);
        d.scores = test_absent;
        pass &= test_same_outputs(&d, &all);
    }
    test_ok(pass, "%s: every subset of outputs, on 1 to 3 workers", attn_dtype_name(type));
    for (int s = 0; s < 4; s++) {
        static const double sinks[] = {30, -30, (double)NAN, (double)INFINITY};
        sunk = test_again(&all);
        sunk.sinks = test_1d(type, HEADS);
        test_fill(&sunk.sinks, sinks[s]);
        pass = test_status(test_forward(&sunk, test_on(ATTN_PATH_AUTO)), ATTN_OK);
        test_ok(pass && test_same(&sunk.rowmax, &all.rowmax) && test_same(&sunk.rowsum, &all.rowsum),
                "%s: a sink of %g is not among them", attn_dtype_name(type), sinks[s]);
    }
    test_release();
}

static void try_layouts(attn_dtype type)
{
    test_rng rng = {8};
    attn_desc plain = problem(type, Q_LEN, &rng), d = plain;
    const attn_array max = test_3d(type, Q_LEN, HEADS, BATCH), sum = test_3d(type, HEADS, BATCH, Q_LEN);
    int pass;
    d.out = test_copy(&plain.out);
    d.lse = test_absent;
    d.rowmax = attn_array_swap(max, 0, 2);
    d.rowsum = attn_array_swap(sum, 0, 1);
    pass = test_status(test_forward(&plain, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
           test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    test_ok(pass && test_same(&d.rowmax, &plain.rowmax) && test_same(&d.rowsum, &plain.rowsum), "%s: transposed",
            attn_dtype_name(type));
    if (type == ATTN_F32) {
        d = plain;
        d.rowmax = test_3d(ATTN_F16, BATCH, HEADS, Q_LEN);
        d.rowsum = test_3d(ATTN_BF16, BATCH, HEADS, Q_LEN);
        test_attention(&d, "float16 and bfloat16");
    }
    test_release();
}

/* ------------------------------------------------- rows of other kinds -- */

enum { NOTHING_SEEN, A_NAN, AN_INFINITY, BOTH, ALL_LOW, SOME_LOW, OVERFLOWS, FAR_BELOW, VALUES, KINDS };
static const char *const kinds[KINDS] = {"no key",
                                         "a NaN",
                                         "infinity",
                                         "NaN and infinity",
                                         "-inf alone",
                                         "-inf and others",
                                         "scores beyond the range",
                                         "scores far below the range",
                                         "values that overflow"};

/* The numbers of row 1 of head 1 of batch 0, and no other row's. */
static void spoil(attn_desc *d, int kind)
{
    const attn_dtype type = d->q.dtype;
    const double huge = type == ATTN_F64 ? DBL_MAX : (double)FLT_MAX;
    const size_t row = 1, some = 40, far = 900; /* in two blocks */
    d->mask = test_4d(type, 1, HEADS, d->q.shape[2], KV_LEN);
    test_fill(&d->mask, 0);
    switch (kind) {
    case NOTHING_SEEN:
    case ALL_LOW: break;
    case A_NAN: ref_set(&d->mask, 0, 1, row, far, (double)NAN); break;
    case AN_INFINITY: ref_set(&d->mask, 0, 1, row, some, inf); break;
    case BOTH:
        ref_set(&d->mask, 0, 1, row, some, inf);
        ref_set(&d->mask, 0, 1, row, far, (double)NAN);
        break;
    default: break;
    }
    for (size_t c = 0; c < DIM; c++) {
        if (kind == SOME_LOW || kind == ALL_LOW) ref_set(&d->q, 0, 1, row, c, 1);
        if (kind == OVERFLOWS || kind == FAR_BELOW) ref_set(&d->q, 0, 1, row, c, c == 0 ? huge : 0);
    }
    for (size_t j = 0; j < KV_LEN; j++) {
        const int low = kind == ALL_LOW || (kind == SOME_LOW && j % 7 == 0);
        if (kind == NOTHING_SEEN) ref_set(&d->mask, 0, 1, row, j, -inf);
        if (low) ref_set(&d->k, 0, 0, j, 2, -inf);
        if (kind == FAR_BELOW) ref_set(&d->k, 0, 0, j, 0, -4 - (double)(j % 5));
        if (kind == VALUES) ref_set(&d->v, 0, 0, j, 3, huge);
        if (low) /* for the other rows */
            for (size_t h = 0; h < HEADS; h++)
                for (size_t i = 0; i < d->q.shape[2]; i++)
                    if (h != 1 || i != row) ref_set(&d->mask, 0, h, i, j, -inf);
    }
}

static int expected(const attn_desc *d, int kind)
{
    const double max = (double)ref_get(&d->rowmax, 0, 0, 1, 1), sum = (double)ref_get(&d->rowsum, 0, 0, 1, 1),
                 huge = d->q.dtype == ATTN_F64 ? DBL_MAX : (double)FLT_MAX;
    switch (kind) {
    case NOTHING_SEEN: return max == -inf && sum == 0 && !signbit(sum);
    case A_NAN:
    case BOTH: return isnan(max) && isnan(sum);
    case AN_INFINITY: return max == inf && isnan(sum);
    case ALL_LOW: return max == -inf && isnan(sum);
    case OVERFLOWS: return max == huge && sum == 1;
    case FAR_BELOW: return max == -huge && sum >= 1;
    default: return isfinite(max) && sum >= 1;
    }
}

/* The whole in parts cut at blocks, merged. */
static attn_desc merged(const attn_desc *d, attn_path path, int *pass)
{
    static const size_t cuts[] = {0, 512, 1024, KV_LEN};
    void *state[3], *both = NULL;
    attn_desc m = test_again(d);
    for (int i = 0; i < 3 && *pass; i++) {
        attn_desc part = *d;
        size_t bytes = 0;
        part.k = test_part(&d->k, 2, cuts[i], cuts[i + 1] - cuts[i]);
        part.v = test_part(&d->v, 2, cuts[i], cuts[i + 1] - cuts[i]);
        if (d->mask.ndim) part.mask = test_part(&d->mask, 1, cuts[i], cuts[i + 1] - cuts[i]);
        part.kv_begin = cuts[i];
        *pass &= test_status(attn_state_size(&part, &bytes), ATTN_OK);
        state[i] = test_memory(bytes, 8);
        *pass &= test_status(test_partial(&part, state[i], bytes, test_on(path)), ATTN_OK);
    }
    for (int i = 1; i < 3 && *pass; i++) { /* the last two first */
        size_t bytes = 0;
        const void *a = state[2 - i], *b = i == 1 ? state[2] : both;
        *pass &= test_status(attn_state_merged_size(a, b, &bytes), ATTN_OK);
        both = test_memory(bytes, 8);
        *pass &= test_status(attn_state_merge(a, b, both, bytes, path), ATTN_OK);
        if (i == 2) *pass &= test_status(attn_state_finish(&m, both, path), ATTN_OK);
    }
    return m;
}

static void try_kind(attn_dtype type, int kind, size_t q_len)
{
    test_rng rng = {(uint64_t)(10 + kind)};
    attn_desc d = problem(type, q_len, &rng), alone, m;
    attn_array at;
    int pass = 1;
    spoil(&d, kind);
    test_attention(&d, "%s, %zu queries, %s: within bounds on every path", attn_dtype_name(type), q_len, kinds[kind]);
    test_ok(expected(&d, kind), "%s, %zu queries, %s: %g and %g", attn_dtype_name(type), q_len, kinds[kind],
            (double)ref_get(&d.rowmax, 0, 0, 1, 1), (double)ref_get(&d.rowsum, 0, 0, 1, 1));
    m = merged(&d, ATTN_PATH_AUTO, &pass);
    if (kind == ALL_LOW) { /* counts for nothing in a state */
        pass &= ref_get(&m.rowmax, 0, 0, 1, 1) == -(ref_real)INFINITY && ref_get(&m.rowsum, 0, 0, 1, 1) == 0;
        ref_set(&d.rowsum, 0, 0, 1, 1, 0);
    }
    if (type == ATTN_F32 && (kind == SOME_LOW || kind == VALUES)) { /* rows of a part, not the whole, in double */
        ref_report report;
        m.out = m.lse = test_absent;
        report = ref_check(&m, 1);
        pass &= test_within(&report);
    } else {
        pass &= test_same(&m.rowmax, &d.rowmax) && test_same(&m.rowsum, &d.rowsum);
    }
    test_ok(pass, "%s, %s: merged states", attn_dtype_name(type), kinds[kind]);
    at = d.q; /* and it alone */
    d.q = test_part(&at, 2, 1, 1);
    d.mask = test_part(&d.mask, 2, 1, 1);
    alone = test_again(&d);
    alone.out = test_4d(type, BATCH, HEADS, 1, DIM_V);
    alone.lse = test_absent;
    alone.rowmax = test_3d(type, BATCH, HEADS, 1);
    alone.rowsum = test_3d(type, BATCH, HEADS, 1);
    pass = test_status(test_forward(&alone, test_shuffled(ATTN_PATH_AUTO, 4)), ATTN_OK); /* in parts */
    if (kind == ALL_LOW) ref_set(&alone.rowsum, 0, 0, 1, 0, 0);
    m.rowmax = test_part(&d.rowmax, 1, 1, 1);
    m.rowsum = test_part(&d.rowsum, 1, 1, 1);
    test_ok(pass && test_same(&alone.rowmax, &m.rowmax) && test_same(&alone.rowsum, &m.rowsum),
            "%s, %s: one query alone", attn_dtype_name(type), kinds[kind]);
    test_release();
}

/* -------------------------------------------------------------- packed -- */

static void try_packed(attn_dtype type)
{
    static const size_t begin_q[] = {0, 3, 3, 9, 12}, begin_k[] = {0, 40, 41, 600, 600};
    test_rng rng = {12};
    attn_desc d = attn_desc_default();
    int pass;
    d.q = test_3d(type, HEADS, 12, DIM);
    d.k = test_3d(type, 2, 600, DIM);
    d.v = test_3d(type, 2, 600, DIM_V);
    d.out = test_3d(type, HEADS, 12, DIM_V);
    d.rowmax = test_2d(type, HEADS, 12);
    d.rowsum = test_2d(type, HEADS, 12);
    d.cu_seqlens_q = test_1d(ATTN_I32, 5);
    d.cu_seqlens_k = test_1d(ATTN_I32, 5);
    test_fill_normal(&d.q, &rng, 1);
    test_fill_normal(&d.k, &rng, 1);
    test_fill_normal(&d.v, &rng, 1);
    for (size_t i = 0; i < 5; i++) {
        ref_set(&d.cu_seqlens_q, 0, 0, 0, i, (double)begin_q[i]);
        ref_set(&d.cu_seqlens_k, 0, 0, 0, i, (double)begin_k[i]);
    }
    test_attention(&d, "%s, packed: within bounds on every path", attn_dtype_name(type));
    pass = 1;
    for (size_t n = 0; n < 4; n++) {
        const size_t rows = begin_q[n + 1] - begin_q[n], keys = begin_k[n + 1] - begin_k[n];
        attn_desc one = attn_desc_default();
        const attn_array max = test_part(&d.rowmax, 1, begin_q[n], rows),
                         sum = test_part(&d.rowsum, 1, begin_q[n], rows);
        one.q = test_part(&d.q, 2, begin_q[n], rows);
        one.k = test_part(&d.k, 2, begin_k[n], keys);
        one.v = test_part(&d.v, 2, begin_k[n], keys);
        one.out = test_3d(type, HEADS, rows, DIM_V);
        one.rowmax = test_2d(type, HEADS, rows);
        one.rowsum = test_2d(type, HEADS, rows);
        pass &= test_status(test_forward(&one, test_on(ATTN_PATH_SCALAR)), ATTN_OK) && test_same(&max, &one.rowmax) &&
                test_same(&sum, &one.rowsum);
    }
    test_ok(pass, "%s, packed: each sequence as alone", attn_dtype_name(type));
    test_release();
}

int main(void)
{
    for (size_t t = 0; t < 2; t++) {
        const attn_dtype type = test_types[t];
        try_modifiers(type);
        try_subsets(type);
        try_layouts(type);
        for (int kind = 0; kind < KINDS; kind++)
            for (size_t q_len = Q_LEN; q_len <= 40; q_len += 35) try_kind(type, kind, q_len);
        try_packed(type);
    }
    return test_done();
}
