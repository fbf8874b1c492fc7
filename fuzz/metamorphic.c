/* SPDX-License-Identifier: MIT-0
 *
 * Two problems whose results are related, whatever they are: no reference needed,
 * except where the relation holds up to rounding.
 */
#include "oracle.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const fuzz_limits limits = {2000, FUZZ_BITS, ATTN_DTYPE_COUNT};

static void run(fuzz_case *c, const char *what, const attn_desc *d)
{
    fuzz_expect(c, what, fuzz_forward(d, fuzz_shuffled(c, fuzz_random_path(c), c->workers)), ATTN_OK);
}

static double unit_of(attn_dtype type)
{
    return type == ATTN_F64 ? 0x1p-53 : type == ATTN_F16 ? 0x1p-11 : type == ATTN_BF16 ? 0x1p-8 : 0x1p-24;
}

static int sees_any(const attn_desc *d, size_t b, size_t h, size_t i)
{
    for (size_t j = 0; j < ref_length(&d->k, 2); j++)
        if (ref_sees(d, b, h, i, j)) return 1;
    return 0;
}

/* V = 1: the output is the sum of the weights. */
static void values_of_one(fuzz_case *c)
{
    attn_desc d = fuzz_into_copies(&c->desc);
    const double u = unit_of(d.out.dtype);
    test_rng ones = {1};
    d.v = test_copy(&d.v);
    d.v_scale = d.v_zero = test_absent;
    fuzz_fill(&d.v, FUZZ_ONES, &ones);
    run(c, "V = 1", &d);
    for (size_t b = 0; b < ref_length(&d.q, 4); b++)
        for (size_t h = 0; h < ref_length(&d.q, 3); h++)
            for (size_t i = 0; i < ref_length(&d.q, 2); i++) {
                const int any = sees_any(&d, b, h, i);
                if (!fuzz_row_finite(&d, b, h, i)) continue;
                for (size_t k = 0; k < ref_length(&d.v, 1); k++) {
                    const double x = (double)ref_get(&d.out, b, h, i, k);
                    /* the sum of the keys goes one by one, that of the weights in lanes */
                    const double room = u * (double)(16 + 2 * ref_length(&d.k, 2));
                    if (!any ? x != 0 : d.sinks.ndim ? !(x >= 0 && x <= 1 + room) : !(fabs(x - 1) <= room))
                        fuzz_fail(c, "V = 1: out[%zu, %zu, %zu, %zu] is %a", b, h, i, k, x);
                }
            }
}

/* V 2^k: the output times 2^k, where nothing is near a denormal. */
static void scaled_values(fuzz_case *c)
{
    const int shift = (int)test_below(&c->rng, 17) - 8;
    attn_desc d = fuzz_into_copies(&c->desc), e = fuzz_into_copies(&c->desc);
    size_t at[4];
    if (fuzz_coded(&d.v) || /* has not these numbers */
        (d.out.dtype != ATTN_F32 && d.out.dtype != ATTN_F64) || c->values[0] > FUZZ_ONES || c->values[1] > FUZZ_ONES ||
        !fuzz_tame(&d) || d.mask.ndim || d.alibi.ndim || d.rel_bias.ndim || d.sinks.ndim || fabs(d.scale) > 1 ||
        c->values[0] == FUZZ_LARGE || c->values[1] == FUZZ_LARGE)
        return;
    d.v = test_copy(&d.v);
    e.v = test_copy(&d.v);
    for (at[0] = 0; at[0] < ref_length(&d.v, 4); at[0]++)
        for (at[1] = 0; at[1] < ref_length(&d.v, 3); at[1]++)
            for (at[2] = 0; at[2] < ref_length(&d.v, 2); at[2]++)
                for (at[3] = 0; at[3] < ref_length(&d.v, 1); at[3]++) {
                    const double x = ((double)test_below(&c->rng, 255) - 127) / 16;
                    ref_set(&d.v, at[0], at[1], at[2], at[3], x);
                    ref_set(&e.v, at[0], at[1], at[2], at[3], ldexp(x, shift));
                }
    run(c, "V", &d);
    run(c, "V 2^k", &e);
    for (at[0] = 0; at[0] < ref_length(&d.out, 4); at[0]++)
        for (at[1] = 0; at[1] < ref_length(&d.out, 3); at[1]++)
            for (at[2] = 0; at[2] < ref_length(&d.out, 2); at[2]++)
                for (at[3] = 0; at[3] < ref_length(&d.out, 1); at[3]++) {
                    const double x = (double)ref_get(&d.out, at[0], at[1], at[2], at[3]);
                    ref_set(&d.out, at[0], at[1], at[2], at[3], ldexp(x, shift));
                }
    fuzz_same(c, "out", &e.out, "V 2^k", &d.out, "2^k times V", NULL);
}

/* One key: the output is its value. */
static void one_key(fuzz_case *c)
{
    attn_desc d;
    attn_array want;
    const size_t j = c->cut;
    if (ref_length(&c->desc.k, 2) == 0 || c->desc.sinks.ndim) return;
    d = fuzz_keys(&c->desc, j, 1);
    if (d.mask.ndim) d.mask = fuzz_slice(&d.mask, 1, j, 1);
    d.kv_lens = d.scores = d.colsum = test_absent;
    d = fuzz_into_copies(&d);
    run(c, "one key", &d);
    want = test_4d(d.out.dtype, 1, 1, 1, 1);
    for (size_t b = 0; b < ref_length(&d.q, 4); b++)
        for (size_t h = 0; h < ref_length(&d.q, 3); h++)
            for (size_t i = 0; i < ref_length(&d.q, 2); i++)
                for (size_t k = 0; k < ref_length(&d.v, 1); k++) {
                    const double x = (double)ref_get(&d.out, b, h, i, k);
                    if (!fuzz_row_finite(&d, b, h, i)) continue;
                    ref_set(&want, 0, 0, 0, 0,
                            sees_any(&d, b, h, i)
                                ? (double)fuzz_value(&d, b, h / (ref_length(&d.q, 3) / ref_length(&d.k, 3)), 0, k)
                                : 0);
                    if (x != (double)ref_get(&want, 0, 0, 0, 0))
                        fuzz_fail(c, "one key: out[%zu, %zu, %zu, %zu] is %a, the value is %a", b, h, i, k, x,
                                  (double)ref_get(&want, 0, 0, 0, 0));
                }
}

/* Scales of more keys, if each key has its own. */
static attn_array longer_scales(fuzz_case *c, const attn_array *scales, size_t more)
{
    size_t shape[4];
    attn_array longer, head;
    const size_t n = ref_length(scales, 2);
    if (n == 1) return *scales;
    for (int i = 0; i < 4; i++) shape[i] = ref_length(scales, 4 - i);
    shape[2] += more;
    longer = fuzz_array(ATTN_F32, shape, (unsigned)test_below(&c->rng, 16), 0);
    head = fuzz_slice(&longer, 2, 0, n);
    test_assign(&head, scales);
    return longer;
}

/* More keys that the length excludes, full of NaN. */
static void appended(fuzz_case *c, const fuzz_outputs *whole)
{
    static const size_t counts[] = {1, 3, 15, 16, 17, 33, 500};
    const size_t more = counts[test_below(&c->rng, sizeof counts / sizeof *counts)], n = ref_length(&c->desc.k, 2);
    attn_desc d = fuzz_into_copies(&c->desc);
    size_t shape[4];
    attn_array head;
    for (int i = 0; i < 4; i++) shape[i] = ref_length(&d.k, 4 - i);
    shape[2] = n + more;
    d.k = fuzz_array(d.k.dtype, shape, (unsigned)test_below(&c->rng, 16), 0);
    shape[3] = ref_length(&d.v, 1);
    d.v = fuzz_array(d.v.dtype, shape, (unsigned)test_below(&c->rng, 16), 0);
    head = fuzz_slice(&d.k, 2, 0, n);
    test_assign(&head, &c->desc.k);
    head = fuzz_slice(&d.v, 2, 0, n);
    test_assign(&head, &c->desc.v);
    d.k_scale = longer_scales(c, &d.k_scale, more);
    d.v_scale = longer_scales(c, &d.v_scale, more);
    d.k_zero = longer_scales(c, &d.k_zero, more);
    d.v_zero = longer_scales(c, &d.v_zero, more);
    if (!d.kv_lens.ndim) {
        d.kv_lens = test_1d(ATTN_I64, ref_length(&d.q, 4));
        test_fill(&d.kv_lens, (double)n);
    }
    if (d.mask.ndim) {
        for (int i = 0; i < 4; i++) shape[i] = ref_length(&d.mask, 4 - i);
        shape[3] = n + more;
        d.mask = fuzz_array(d.mask.dtype, shape, (unsigned)test_below(&c->rng, 16), 0);
        head = fuzz_slice(&d.mask, 1, 0, n);
        test_assign(&head, &c->desc.mask);
    }
    d.scores = d.colsum = test_absent;
    run(c, "appended keys", &d);
    fuzz_same_outputs(c, "masked keys appended", &d, "longer", whole, "whole", NULL);
}

static int64_t offset_of(const attn_desc *d, size_t b)
{
    if (d->align == ATTN_ALIGN_OFFSET) return d->q_offset;
    if (d->align == ATTN_ALIGN_UPPER_LEFT) return 0;
    return (d->kv_lens.ndim ? (int64_t)ref_get(&d->kv_lens, 0, 0, 0, b) : (int64_t)ref_length(&d->k, 2)) -
           (int64_t)ref_length(&d->q, 2);
}

static attn_array part_of(const attn_array *a, int from_end, size_t first, size_t count)
{
    return ref_length(a, from_end) == 1 && count == 1 ? *a : fuzz_slice(a, from_end, first, count);
}

/* Queries [first, first + count) of one batch and of `heads` heads from `head` on:
 * a chunk of a prefill, or a step of decoding. */
static void alone(fuzz_case *c, const fuzz_outputs *whole, size_t b, size_t head, size_t heads, size_t first,
                  size_t count)
{
    const attn_desc *p = &c->desc;
    const size_t group = ref_length(&p->q, 3) / ref_length(&p->k, 3), kv_head = head / group,
                 kv_heads = heads == 1 ? 1 : ref_length(&p->k, 3);
    attn_desc d = *p;
    attn_array *const scales[4] = {&d.k_scale, &d.v_scale, &d.k_zero, &d.v_zero};
    attn_desc all = *p;
    attn_array out, rows;
    d.q = part_of(&d.q, 4, b, 1);
    d.q = heads == 1 ? part_of(&d.q, 3, head, 1) : d.q;
    d.q = fuzz_slice(&d.q, 2, first, count);
    d.k = part_of(&d.k, 4, b, 1);
    d.v = part_of(&d.v, 4, b, 1);
    if (kv_heads == 1) {
        d.k = part_of(&d.k, 3, kv_head, 1);
        d.v = part_of(&d.v, 3, kv_head, 1);
    }
    for (int i = 0; i < 4; i++) {
        *scales[i] = part_of(scales[i], 4, ref_length(scales[i], 4) == 1 ? 0 : b, 1);
        if (kv_heads == 1) *scales[i] = part_of(scales[i], 3, ref_length(scales[i], 3) == 1 ? 0 : kv_head, 1);
    }
    for (int i = 0; i < 2; i++) {
        attn_array *mask = i ? &d.rel_bias : &d.mask;
        if (!mask->ndim) continue;
        *mask = part_of(mask, 4, b, 1);
        if (heads == 1) *mask = part_of(mask, 3, head, 1);
        if (ref_length(mask, 2) > 1) *mask = fuzz_slice(mask, 2, first, count);
    }
    if (d.kv_lens.ndim) d.kv_lens = fuzz_slice(&d.kv_lens, 1, b, 1);
    if (ref_length(&d.q_bounds, 3) > 1) d.q_bounds = fuzz_slice(&d.q_bounds, 3, b, 1);
    if (d.q_bounds.ndim) d.q_bounds = fuzz_slice(&d.q_bounds, 2, first, count);
    if (ref_length(&d.alibi, 2) > 1) d.alibi = fuzz_slice(&d.alibi, 2, b, 1);
    if (d.alibi.ndim && heads == 1) d.alibi = part_of(&d.alibi, 1, head, 1);
    if (d.sinks.ndim && heads == 1) d.sinks = part_of(&d.sinks, 1, head, 1);
    d.align = ATTN_ALIGN_OFFSET;
    d.q_offset = offset_of(p, b) + (int64_t)first;
    if (d.q_offset > (int64_t)1 << 62) /* no position that far */
        return;
    d.out = test_4d(p->out.dtype, 1, heads, count, ref_length(&p->out, 1));
    for (int i = 0; i < FUZZ_ROW_OUTPUTS; i++) {
        attn_array *a = fuzz_row_output(&d, i);
        if (a->ndim) *a = test_3d(a->dtype, 1, heads, count);
    }
    d.scores = d.colsum = test_absent;
    run(c, "some rows alone", &d);
    out = part_of(&whole->out, 4, b, 1);
    out = heads == 1 ? part_of(&out, 3, head, 1) : out;
    out = fuzz_slice(&out, 2, first, count);
    fuzz_same(c, "out", &d.out, "alone", &out, "within the whole", NULL);
    all.lse = whole->lse;
    all.rowmax = whole->rowmax;
    all.rowsum = whole->rowsum;
    for (int i = 0; i < FUZZ_ROW_OUTPUTS; i++) {
        if (!fuzz_row_output(&d, i)->ndim) continue;
        rows = part_of(fuzz_row_output(&all, i), 3, b, 1);
        rows = heads == 1 ? part_of(&rows, 2, head, 1) : rows;
        rows = fuzz_slice(&rows, 1, first, count);
        fuzz_same(c, fuzz_row_names[i], fuzz_row_output(&d, i), "alone", &rows, "within the whole", NULL);
    }
}

/* An additive mask of one constant: the same result within the bounds. */
static void shifted(fuzz_case *c)
{
    attn_desc d = fuzz_into_copies(&c->desc);
    if (d.mask.ndim) return;
    d.mask = test_1d(d.q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32, ref_length(&d.k, 2));
    test_fill(&d.mask, test_normal(&c->rng) * 4);
    run(c, "a constant mask", &d);
    fuzz_within(c, "a constant mask", ref_check(&d, 1));
}

/* Keys in another order, and the bounds of this one. */
static void permuted(fuzz_case *c)
{
    attn_desc d = fuzz_into_copies(&c->desc), original;
    attn_array *const arrays[7] = {&d.mask, &d.k, &d.v, &d.k_scale, &d.v_scale, &d.k_zero, &d.v_zero};
    const size_t n = ref_length(&d.k, 2);
    if (d.causal || d.window || d.kv_lens.ndim || d.alibi.ndim || d.rel_bias.ndim || d.q_bounds.ndim) return;
    d.scores = d.colsum = test_absent;
    original = d;
    for (int a = 0; a < 7; a++)
        if (arrays[a]->ndim) *arrays[a] = test_copy(arrays[a]);
    for (size_t j = 1; j < n; j++) {
        const size_t other = test_below(&c->rng, j + 1);
        for (int a = 0; a < 7; a++) {
            const int axis = a == 0 ? 1 : 2;
            const attn_array x = fuzz_slice(arrays[a], axis, j, 1), y = fuzz_slice(arrays[a], axis, other, 1);
            const size_t unit = attn_dtype_block(x.dtype);
            size_t at[4];
            if (ref_length(arrays[a], axis) == 1) continue; /* absent, or the same for all keys */
            for (at[0] = 0; at[0] < ref_length(&x, 4); at[0]++)
                for (at[1] = 0; at[1] < ref_length(&x, 3); at[1]++)
                    for (at[2] = 0; at[2] < ref_length(&x, 2); at[2]++)
                        for (at[3] = 0; at[3] < ref_length(&x, 1); at[3] += unit) {
                            unsigned char swap[34];
                            const size_t size = attn_dtype_size(x.dtype);
                            void *p = ref_at(&x, at[0], at[1], at[2], at[3]),
                                 *q = ref_at(&y, at[0], at[1], at[2], at[3]);
                            memcpy(swap, p, size);
                            memmove(p, q, size);
                            memcpy(q, swap, size);
                        }
        }
    }
    run(c, "permuted keys", &d);
    fuzz_within(c, "permuted keys", ref_check(&original, 1));
}

FUZZ_MUTATES

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_case c;
    fuzz_outputs whole;
    size_t batch, heads, queries;
    fuzz_decode(&c, bytes, size, &limits);
    run(&c, "the whole", &c.desc);
    whole = fuzz_save(&c.desc);
    c.desc = test_whole_mask(&c.desc);
    values_of_one(&c);
    scaled_values(&c);
    one_key(&c);
    appended(&c, &whole);
    batch = ref_length(&c.desc.q, 4), heads = ref_length(&c.desc.q, 3), queries = ref_length(&c.desc.q, 2);
    if (batch && heads && queries) {
        const size_t first = test_below(&c.rng, queries); /* one draw a statement: arguments have no order */
        size_t b = test_below(&c.rng, batch);
        const size_t head = test_below(&c.rng, heads), query = test_below(&c.rng, queries);
        size_t count;
        alone(&c, &whole, b, head, 1, query, 1);
        b = test_below(&c.rng, batch);
        count = 1 + test_below(&c.rng, queries - first);
        alone(&c, &whole, b, 0, heads, first, count);
    }
    shifted(&c);
    permuted(&c);
    fuzz_end(&c);
    return 0;
}
