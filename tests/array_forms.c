/* SPDX-License-Identifier: MIT-0
 *
 * Every number of dimensions that an array of attn_desc may have, and every axis that may be 1
 * and broadcast, one batch and several, one head and several, pages and packed sequences: the
 * bits that the array gives where it is written out, which are those of the reference.
 */
#include "check/harness.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* As ATTN__ARRAYS of attention.h has them, which tests/lists.sh compares: name, the least and most dimensions, and
 * which of the last four axes broadcast (1: the first of them). */
#define ARRAYS(X)                                                                                                      \
    X(q, 2, 4, 0)                                                                                                      \
    X(k, 2, 4, 0)                                                                                                      \
    X(v, 2, 4, 0)                                                                                                      \
    X(mask, 1, 4, 7)                                                                                                   \
    X(kv_lens, 1, 1, 0)                                                                                                \
    X(alibi, 1, 2, 4)                                                                                                  \
    X(rel_bias, 1, 4, 7)                                                                                               \
    X(sinks, 1, 1, 0)                                                                                                  \
    X(block_table, 2, 2, 0)                                                                                            \
    X(cu_seqlens_q, 1, 1, 0)                                                                                           \
    X(cu_seqlens_k, 1, 1, 0)                                                                                           \
    X(q_bounds, 2, 3, 2)                                                                                               \
    X(k_scale, 1, 4, 15)                                                                                               \
    X(v_scale, 1, 4, 15)                                                                                               \
    X(k_zero, 1, 4, 15)                                                                                                \
    X(v_zero, 1, 4, 15)                                                                                                \
    X(out, 2, 4, 0)                                                                                                    \
    X(lse, 1, 3, 0)                                                                                                    \
    X(scores, 2, 4, 0)                                                                                                 \
    X(colsum, 1, 3, 0)                                                                                                 \
    X(rowmax, 1, 3, 0)                                                                                                 \
    X(rowsum, 1, 3, 0)

static const struct {
    const char *name;
    size_t at;
    int min, max;
    unsigned broadcasts;
} arrays[] = {
#define X(name, min, max, broadcasts) {#name, offsetof(attn_desc, name), min, max, broadcasts},
    ARRAYS(X)
#undef X
};
enum { COUNT = sizeof arrays / sizeof *arrays, OUTPUTS = 16 /* from here on */ };

static attn_array *array_of(attn_desc *d, size_t which) { return (attn_array *)(void *)((char *)d + arrays[which].at); }

enum { PLAIN, CODES, PAGES, PACKED, CACHES, KINDS }; /* all but the first with keys and values of eight bits */
static const char *const kind_names[KINDS] = {"", ", int8", ", pages", ", packed sequences",
                                              ", packed queries over caches"};
enum { SEQUENCES = 3, Q_LEN = 5, PAGE = 4, KV_LEN = 2 * PAGE, DIM = 6, DIM_V = 3 };

/* With all arrays that go together, each in its longest form. */
static attn_desc whole(int kind, size_t batch, size_t q_heads, size_t k_heads, attn_dtype mask)
{
    const size_t all = kind >= PACKED ? SEQUENCES : 1; /* in the rows of an array, or as batches of it: */
    const size_t sequences = all * batch, caches = kind == PACKED ? batch : sequences,
                 keys = kind == PACKED ? all * KV_LEN : KV_LEN, pages = kind == PAGES ? 2 * batch : caches,
                 rows = kind == PAGES ? PAGE : keys;
    attn_desc d = attn_desc_default();
    test_rng rng = {batch + 10 * q_heads};
    d.q = test_4d(ATTN_F32, batch, q_heads, all * Q_LEN, DIM);
    d.k = test_4d(kind == PLAIN ? ATTN_F32 : ATTN_I8, pages, k_heads, rows, DIM);
    d.v = test_4d(kind == PLAIN ? ATTN_F32 : ATTN_I8, pages, k_heads, rows, DIM_V);
    d.out = test_4d(ATTN_F32, batch, q_heads, all * Q_LEN, DIM_V);
    d.lse = test_3d(ATTN_F32, batch, q_heads, all * Q_LEN);
    d.rowmax = test_copy(&d.lse);
    d.rowsum = test_copy(&d.lse);
    d.alibi = test_2d(ATTN_F32, sequences, q_heads);
    d.sinks = test_1d(ATTN_F32, q_heads);
    test_fill_normal(&d.q, &rng, 1);
    test_fill_normal(&d.k, &rng, kind == PLAIN ? 1 : 30);
    test_fill_normal(&d.v, &rng, kind == PLAIN ? 1 : 30);
    if (kind != PLAIN) {
        attn_array *const beside[4] = {&d.k_scale, &d.k_zero, &d.v_scale, &d.v_zero};
        for (int i = 0; i < 4; i++) {
            *beside[i] = test_4d(ATTN_F32, pages, k_heads, rows, i < 2 ? DIM / 3 : DIM_V);
            test_fill_normal(beside[i], &rng, i % 2 ? 20 : 0.03);
        }
    }
    test_fill_normal(&d.alibi, &rng, 0.3);
    d.rel_bias = test_4d(ATTN_F32, batch, q_heads, all * Q_LEN, 5);
    test_fill_normal(&d.rel_bias, &rng, 1);
    test_fill_normal(&d.sinks, &rng, 1);
    if (kind >= PACKED) d.cu_seqlens_q = test_1d(ATTN_I32, SEQUENCES + 1);
    if (kind == PACKED) d.cu_seqlens_k = test_1d(ATTN_I32, SEQUENCES + 1);
    for (size_t n = 0; n <= SEQUENCES; n++) {
        if (kind >= PACKED) ref_set(&d.cu_seqlens_q, 0, 0, 0, n, (double)(n * Q_LEN));
        if (kind == PACKED) ref_set(&d.cu_seqlens_k, 0, 0, 0, n, (double)(n * KV_LEN));
    }
    if (kind != PACKED) d.scores = test_4d(ATTN_F32, batch, q_heads, all * Q_LEN, KV_LEN);
    d.colsum = test_3d(ATTN_F32, caches, q_heads, keys);
    d.kv_lens = test_1d(ATTN_I64, sequences);
    d.q_bounds = test_3d(ATTN_I32, batch, all * Q_LEN, 4);
    for (size_t i = 0; i < batch * all * Q_LEN; i++) /* two intervals, between which lies a key */
        for (size_t n = 0; n < 4; n++)
            ref_set(&d.q_bounds, 0, i / (all * Q_LEN), i % (all * Q_LEN), n, (double)(i % 3 + (n < 2 ? 3 * n : 2 * n)));
    d.mask = test_4d(mask, batch, q_heads, all * Q_LEN, keys);
    test_fill_normal(&d.mask, &rng, 1);
    for (size_t i = 0; mask != ATTN_F32 && i < batch * q_heads * all * Q_LEN * keys; i++)
        ref_set(&d.mask, i / keys / (all * Q_LEN) / q_heads, i / keys / (all * Q_LEN) % q_heads,
                i / keys % (all * Q_LEN), i % keys, test_below(&rng, 4) > 0);
    for (size_t b = 0; b < sequences; b++) ref_set(&d.kv_lens, 0, 0, 0, b, (double)(KV_LEN - b));
    if (kind == PAGES) {
        d.block_table = test_2d(ATTN_I32, batch, 2);
        for (size_t i = 0; i < 2 * batch; i++) ref_set(&d.block_table, 0, 0, i / 2, i % 2, (double)(2 * batch - 1 - i));
    }
    return d;
}

/* `ndim` dimensions, those of `ones` of length 1, with the elements at index 0 of what is gone. */
static attn_array shortened(const attn_array *a, int ndim, unsigned ones)
{
    attn_array from = *a, to = test_1d(a->dtype, 0);
    size_t n = 1;
    to.ndim = ndim;
    for (int axis = 4 - ndim; axis < 4; axis++)
        n *= to.shape[axis - 4 + ndim] = ones >> axis & 1 ? 1 : ref_length(a, 4 - axis);
    to.data = test_memory(n * attn_dtype_size(a->dtype), 0);
    for (int axis = 0; axis < 4; axis++)
        if (axis < 4 - ndim || ones >> axis & 1) from = axis >= 4 - from.ndim ? test_part(&from, 4 - axis, 0, 1) : from;
    test_assign(&to, &from);
    return to;
}

/* The same elements in an array of the shape of `like`. */
static attn_array spread(const attn_array *a, const attn_array *like)
{
    const attn_array full = test_copy(like);
    for (size_t i = 0; i < ref_length(like, 4); i++)
        for (size_t j = 0; j < ref_length(like, 3); j++)
            for (size_t k = 0; k < ref_length(like, 2); k++)
                for (size_t l = 0; l < ref_length(like, 1); l++)
                    memcpy(ref_at(&full, i, j, k, l), ref_at(a, i, j, k, l), attn_dtype_size(a->dtype));
    return full;
}

static size_t forms;

/* One form of one array, beside the others written out. */
static int try_form(const attn_desc *d, size_t which, int ndim, unsigned ones)
{
    attn_desc full = test_again(d), form = test_again(d);
    const attn_array like = *array_of(&full, which);
    ref_report report;
    *array_of(&form, which) = shortened(&like, ndim, ones);
    if (which < OUTPUTS) *array_of(&full, which) = spread(array_of(&form, which), &like); /* an input */
    forms++;
    if (!test_status(test_forward(&full, test_on(ATTN_PATH_SCALAR)), ATTN_OK) ||
        !test_status(test_forward(&form, test_shuffled(ATTN_PATH_AUTO, 2)), ATTN_OK))
        return 0;
    report = ref_check(&form, 1);
    if (!test_within(&report)) return 0;
    for (size_t i = OUTPUTS; i < COUNT; i++) {
        const attn_array *a = array_of(&form, i), *b = array_of(&full, i);
        const attn_array same = a->ndim ? spread(a, b) : *a;
        if (a->ndim && !test_same(&same, b)) return 0;
    }
    return 1;
}

static void try_forms(const attn_desc *d, size_t which, const char *name)
{
    const attn_array a = *array_of((attn_desc *)(uintptr_t)d, which);
    const size_t before = forms;
    int pass = 1;
    if (a.ndim == 0 || (d->block_table.ndim && (which == 1 || which == 2))) return; /* pages have four dimensions */
    for (int ndim = arrays[which].min; ndim <= arrays[which].max; ndim++)
        for (unsigned ones = 0; ones < 16; ones++) {
            int possible = (ones & ~arrays[which].broadcasts) == 0;
            for (int axis = 0; axis < 4; axis++) {
                const int gone = axis < 4 - ndim;
                const size_t length = ref_length(&a, 4 - axis);
                if (ones >> axis & 1 && (gone || length == 1)) possible = 0; /* another form */
                if (gone && length != 1 && !(arrays[which].broadcasts >> axis & 1)) possible = 0;
            }
            if (possible) pass = try_form(d, which, ndim, ones) && pass;
        }
    test_ok(pass, "%s: %zu forms of %s", name, forms - before, arrays[which].name);
}

/* The constructors of views: the bits of the same numbers in C order; sizes that overflow are refused later. */
static void try_constructors(void)
{
    enum { B = 2, S = 5, H = 3, D = 4 };
    const test_shape shape = {ATTN_F32, B, H, H, S, S, D, D};
    test_rng rng = {12};
    const attn_desc want = test_problem(&shape, &rng);
    const attn_array *plain[4] = {&want.q, &want.k, &want.v, &want.out};
    attn_desc bshd = attn_desc_default(), strided = bshd, swapped = bshd;
    attn_array *views[3][4] = {{&bshd.q, &bshd.k, &bshd.v, &bshd.out},
                               {&strided.q, &strided.k, &strided.v, &strided.out},
                               {&swapped.q, &swapped.k, &swapped.v, &swapped.out}};
    const size_t huge = (size_t)-1 / 4;
    int pass = test_status(test_forward(&want, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (int i = 0; i < 4; i++) {
        *views[0][i] = attn_array_bshd(ATTN_F32, test_1d(ATTN_F32, B * S * H * D).data, B, S, H, D);
        *views[1][i] = attn_array_strided(ATTN_F32, (float *)test_1d(ATTN_F32, 2 * B * S * H * D).data + D - 1, B, H, S,
                                          D, 2 * H * S * D, D, 2 * H * D, -1);
        *views[2][i] =
            attn_array_swap(attn_array_4d(ATTN_F32, test_1d(ATTN_F32, B * S * H * D).data, B, S, H, D), 1, 2);
        for (int form = 0; form < 3; form++)
            if (i < 3) test_assign(views[form][i], plain[i]);
    }
    pass &= memcmp(bshd.q.stride, swapped.q.stride, sizeof bshd.q.stride) == 0 && bshd.q.shape[1] == H;
    for (int form = 0; form < 3; form++) {
        const attn_desc *d = form == 0 ? &bshd : form == 1 ? &strided : &swapped;
        pass &= test_status(test_forward(d, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same(&d->out, &want.out);
    }
    test_ok(pass && test_guards(), "bshd, strided and swapped views");
    bshd.k = attn_array_bshd(ATTN_F32, bshd.k.data, 2, 5, huge, 16);
    pass = test_status(attn_forward(&bshd, NULL), ATTN_ERR_OVERFLOW);
    bshd.k = attn_array_bshd(ATTN_F32, bshd.k.data, 2, huge, 3, 4);
    pass &= test_status(attn_forward(&bshd, NULL), ATTN_ERR_OVERFLOW);
    test_ok(pass, "sizes whose product overflows are refused");
    test_release();
}

int main(void)
{
    static const size_t heads[3][2] = {{1, 1}, {2, 2}, {4, 1}};
    static const attn_dtype masks[3] = {ATTN_BOOL, ATTN_F32, ATTN_BIT};
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t batch = 1; batch <= (kind >= PACKED ? 1 : 3); batch += 2)
            for (size_t h = 0; h < 3; h++)
                for (size_t which = 0; which < COUNT; which++) {
                    char name[80];
                    const attn_desc d = whole(kind, batch, heads[h][0], heads[h][1], masks[h]);
                    snprintf(name, sizeof name, "%zu batches, %zu heads for %zu%s", batch, heads[h][0], heads[h][1],
                             kind_names[kind]);
                    try_forms(&d, which, name);
                    test_release();
                }
    try_constructors();
    return test_done();
}
