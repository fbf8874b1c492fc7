/* SPDX-License-Identifier: MIT-0
 *
 * One problem on every path and by every other way to the same result: the same
 * bits. Then the reference's bounds, and what must hold of any attention.
 */
#include "oracle.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const fuzz_limits limits = {2500, FUZZ_BITS, ATTN_DTYPE_COUNT};

/* Every path, in two schedules. */
static void check_paths(fuzz_case *c, const fuzz_outputs *scalar)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t p = 0; p < num_paths; p++) {
        const int plain = p > 0 && paths[p] != c->path;
        fuzz_poison(&c->desc);
        fuzz_expect(c, attn_path_name(paths[p]),
                    fuzz_forward(&c->desc, plain ? test_on(paths[p]) : fuzz_shuffled(c, paths[p], c->workers)),
                    ATTN_OK);
        fuzz_same_outputs(c, plain ? "in order" : "shuffled", &c->desc, attn_path_name(paths[p]), scalar, "scalar",
                          NULL);
    }
}

/* Keys and values of 8 bits: the bits of the same problem in float32. */
static void check_codes(fuzz_case *c, const fuzz_outputs *scalar)
{
    const attn_desc copies = fuzz_into_copies(&c->desc), d = fuzz_decoded(&copies);
    fuzz_expect(c, "float32", fuzz_forward(&d, fuzz_shuffled(c, fuzz_random_path(c), c->workers)), ATTN_OK);
    fuzz_same_outputs(c, "keys and values of 8 bits decoded", &d, "float32", scalar, "scalar", NULL);
}

/* ---- NaN where nobody looks ---- */

/* What is no number, if there is such an element; another one. For blocks their scale. */
static void spoil_row(const attn_array *a, size_t b, size_t h, size_t j, double bad)
{
    for (size_t e = 0; a->ndim && e < ref_length(a, 1); e++)
        if (a->dtype == ATTN_Q8_0) fuzz_set_bits(a, b, h, j, e, 0x7fffff);
        else if (a->dtype == ATTN_F8_E4M3 || a->dtype == ATTN_F8_E5M2) fuzz_set_bits(a, b, h, j, e, 0x7f);
        else ref_set(a, b, h, j, e, bad);
}

/* Keys that nobody sees become NaN, and so does one that some see: `skip` gets those. */
static void poison_keys(fuzz_case *c, attn_desc *d, unsigned char *skip)
{
    const size_t heads = ref_length(&d->q, 3), queries = ref_length(&d->q, 2), kv_heads = ref_length(&d->k, 3),
                 group = heads / kv_heads;
    const size_t chosen = test_below(&c->rng, ref_length(&d->k, 2) + 1);
    const fuzz_values nan = test_u64(&c->rng) & 1 ? FUZZ_SOME_INFINITE : FUZZ_SOME_NAN;
    for (size_t b = 0; b < ref_length(&d->q, 4); b++)
        for (size_t kv = 0; kv < kv_heads; kv++)
            for (size_t j = 0; j < ref_length(&d->k, 2); j++) {
                const double bad = nan == FUZZ_SOME_NAN ? (double)NAN : (double)INFINITY;
                int seen = 0;
                for (size_t h = kv * group; h < (kv + 1) * group; h++)
                    for (size_t i = 0; i < queries; i++)
                        if (ref_sees(d, b, h, i, j)) {
                            seen = 1;
                            if (j == chosen) skip[(b * heads + h) * queries + i] = 1;
                        }
                if (seen && j != chosen) continue;
                spoil_row(&d->k, b, kv, j, bad);
                spoil_row(&d->v, b, kv, j, bad);
                spoil_row(&d->k_scale, b, kv, j, bad);
                spoil_row(&d->v_scale, b, kv, j, bad);
                spoil_row(&d->k_zero, b, kv, j, bad);
                spoil_row(&d->v_zero, b, kv, j, bad);
            }
}

/* An additive mask's elements that other restrictions cover. */
static void poison_mask(attn_desc *d)
{
    attn_desc unmasked = *d;
    unmasked.mask = test_absent;
    if (d->mask.ndim == 0 || d->mask.dtype == ATTN_BOOL) return; /* it is a whole one */
    for (size_t b = 0; b < ref_length(&d->q, 4); b++)
        for (size_t h = 0; h < ref_length(&d->q, 3); h++)
            for (size_t i = 0; i < ref_length(&d->q, 2); i++)
                for (size_t j = 0; j < ref_length(&d->k, 2); j++)
                    if (!ref_sees(&unmasked, b, h, i, j)) ref_set(&d->mask, b, h, i, j, (double)NAN);
}

static attn_array copy_broadcast(const attn_array *a, const size_t n[4])
{
    attn_array copy = test_4d(a->dtype, n[0], n[1], n[2], n[3]);
    for (size_t b = 0; b < n[0]; b++)
        for (size_t h = 0; h < n[1]; h++)
            for (size_t s = 0; s < n[2]; s++)
                for (size_t i = 0; i < n[3]; i++)
                    memcpy(ref_at(&copy, b, h, s, i), ref_at(a, b, h, s, i), attn_dtype_size(a->dtype));
    return copy;
}

/* Scales of each key's own. */
static attn_array full_scales(const attn_array *scales, const attn_array *of)
{
    size_t n[4];
    if (!scales->ndim) return test_absent;
    for (int i = 0; i < 4; i++) n[i] = ref_length(i < 3 ? of : scales, 4 - i);
    return copy_broadcast(scales, n);
}

static void check_poisoned(fuzz_case *c, const fuzz_outputs *scalar)
{
    attn_desc d = fuzz_into_copies(&c->desc);
    fuzz_rows skip;
    unsigned char *flags;
    skip.c = c;
    skip.heads = ref_length(&d.q, 3);
    skip.queries = ref_length(&d.q, 2);
    skip.flags = flags = test_memory(ref_length(&d.q, 4) * skip.heads * skip.queries, 0);
    memset(flags, 0, ref_length(&d.q, 4) * skip.heads * skip.queries);
    d.k = test_copy(&d.k);
    d.v = test_copy(&d.v);
    d.k_scale = full_scales(&d.k_scale, &d.k);
    d.v_scale = full_scales(&d.v_scale, &d.v);
    d.k_zero = full_scales(&d.k_zero, &d.k);
    d.v_zero = full_scales(&d.v_zero, &d.v);
    d = test_whole_mask(&d);
    poison_keys(c, &d, flags);
    poison_mask(&d);
    fuzz_expect(c, "poisoned", fuzz_forward(&d, fuzz_shuffled(c, fuzz_random_path(c), c->workers)), ATTN_OK);
    fuzz_same_outputs(c, "what is masked is NaN", &d, "poisoned", scalar, "scalar", &skip);
}

/* Intervals: a mask that drops what they leave out. */
static void check_intervals(fuzz_case *c, const fuzz_outputs *scalar)
{
    attn_desc d = fuzz_into_copies(&c->desc), only = c->desc;
    if (!d.q_bounds.ndim) return;
    only.mask = only.rel_bias = only.kv_lens = test_absent;
    only.causal = only.window = 0;
    if (!d.mask.ndim) {
        d.mask = test_4d(ATTN_BOOL, 1, 1, 1, ref_length(&d.k, 2));
        d.mask_place = ATTN_MASK_ALL;
        test_fill(&d.mask, 1);
    }
    d = test_whole_mask(&d);
    d.q_bounds = test_absent;
    for (size_t b = 0; b < ref_length(&d.mask, 4); b++)
        for (size_t h = 0; h < ref_length(&d.mask, 3); h++)
            for (size_t i = 0; i < ref_length(&d.mask, 2); i++)
                for (size_t j = 0; j < ref_length(&d.mask, 1); j++)
                    if (!ref_sees(&only, b, h, i, j))
                        ref_set(&d.mask, b, h, i, j, d.mask.dtype == ATTN_BOOL ? 0 : -(double)INFINITY);
    fuzz_expect(c, "a mask for intervals", fuzz_forward(&d, fuzz_shuffled(c, fuzz_random_path(c), c->workers)),
                ATTN_OK);
    fuzz_same_outputs(c, "a mask for intervals", &d, "mask", scalar, "scalar", NULL);
}

/* ---- pages, packed sequences, parts ---- */

static void check_paged(fuzz_case *c, const fuzz_outputs *scalar)
{
    attn_desc d = fuzz_into_copies(&c->desc);
    const int raw = d.scores.ndim && (d.stage == ATTN_STAGE_RAW || d.stage == ATTN_STAGE_SOFTCAPPED);
    if (!fuzz_into_pages(c, &d, !raw && test_u64(&c->rng) & 1)) return;
    fuzz_expect(c, "pages", fuzz_forward(&d, fuzz_shuffled(c, fuzz_random_path(c), c->workers)), ATTN_OK);
    /* raw scores of keys beyond the length are not promised */
    if (raw) d.scores = test_absent;
    fuzz_same_outputs(c, "pages", &d, "paged", scalar, "scalar", NULL);
}

/* Keys, values or scales of each sequence in the order of their positions into a ring, where later ones take the rows
 * of earlier ones. */
static attn_array into_ring(fuzz_case *c, const attn_desc *d, const attn_array *a, size_t sinks, size_t turns)
{
    const size_t batch = ref_batches(d), size = attn_dtype_size(a->dtype);
    attn_array ring = *a, shape;
    if (!a->ndim || (a != &d->k && a != &d->v && ref_length(a, 2) == 1)) return ring; /* one scale for all keys */
    shape = attn_array_4d(a->dtype, NULL, batch, ref_length(a, 3), 1, ref_length(a, 1));
    ring = fuzz_pages_for(c, &shape, batch, sinks + turns);
    fuzz_fill(&ring, FUZZ_SOME_NAN, &c->rng);
    for (size_t b = 0; b < batch; b++)
        for (size_t j = 0; j < (size_t)ref_get(&d->kv_lens, 0, 0, 0, b); j++)
            for (size_t h = 0; h < ref_length(a, 3); h++)
                for (size_t e = 0; e < ref_length(a, 1); e++)
                    memcpy(ref_at(&ring, b, h, j < sinks ? j : sinks + (j - sinks) % turns, e), ref_at(a, b, h, j, e),
                           size);
    return ring;
}

/* A ring that is just large enough for what is seen, or a little larger; and refused, if it is too small. */
static void check_ring(fuzz_case *c, const fuzz_outputs *scalar)
{
    attn_desc flat = fuzz_into_copies(&c->desc), d;
    const size_t batch = ref_batches(&flat), kv_len = ref_length(&flat.k, 2);
    size_t sinks, turns = 1;
    int refused = 0;
    if (kv_len == 0) return;
    flat.scores = flat.colsum = test_absent;
    if (flat.mask_place == ATTN_MASK_ALL) flat.mask_place = ATTN_MASK_KEYS;
    if (!flat.kv_lens.ndim) {
        flat.kv_lens = test_1d(ATTN_I32, batch);
        test_fill(&flat.kv_lens, (double)kv_len);
    }
    sinks = test_below(&c->rng, test_u64(&c->rng) & 1 ? kv_len : 1 + kv_len / 8);
    for (size_t b = 0; b < batch; b++) {
        const size_t len = (size_t)ref_get(&flat.kv_lens, 0, 0, 0, b);
        size_t j = sinks;
        while (j < len && !fuzz_any_sees(&flat, b, j, 1)) j++;
        if (j < len && len - j > turns) turns = len - j;
    }
    turns += test_u64(&c->rng) & 1 ? test_below(&c->rng, 9) : 0;
    d = flat;
    d.k = into_ring(c, &flat, &flat.k, sinks, turns);
    d.v = into_ring(c, &flat, &flat.v, sinks, turns);
    d.k_scale = into_ring(c, &flat, &flat.k_scale, sinks, turns);
    d.v_scale = into_ring(c, &flat, &flat.v_scale, sinks, turns);
    d.k_zero = into_ring(c, &flat, &flat.k_zero, sinks, turns);
    d.v_zero = into_ring(c, &flat, &flat.v_zero, sinks, turns);
    d.ring = 1;
    d.ring_sinks = sinks;
    fuzz_expect(c, "a ring", fuzz_forward(&d, fuzz_shuffled(c, fuzz_random_path(c), c->workers)), ATTN_OK);
    fuzz_same_outputs(c, "a ring", &d, "ring", scalar, "scalar", NULL);
    d.ring_sinks++;
    for (size_t b = 0; b < batch && turns > 1; b++) {
        const size_t len = (size_t)ref_get(&flat.kv_lens, 0, 0, 0, b);
        refused |= len > sinks + turns && fuzz_any_sees(&flat, b, sinks + 1, len - turns - sinks);
    }
    fuzz_expect(c, "a smaller ring", fuzz_forward(&d, test_on(fuzz_random_path(c))),
                turns == 1 ? ATTN_ERR_PARAMETER
                : refused  ? ATTN_ERR_RING
                           : ATTN_OK);
}

/* Sequences of several lengths, end to end. */
static void check_packed(fuzz_case *c)
{
    const attn_desc *p = &c->desc;
    const size_t batch = ref_length(&p->q, 4), heads = ref_length(&p->q, 3);
    size_t q_at[FUZZ_SEQUENCES + 1], k_at[FUZZ_SEQUENCES + 1];
    attn_desc d;
    const attn_path path = fuzz_random_path(c);
    if (!fuzz_into_sequences(c, &d, q_at, k_at)) return;
    fuzz_expect(c, "packed sequences", fuzz_forward(&d, fuzz_shuffled(c, path, c->workers)), ATTN_OK);
    for (size_t b = 0; b < batch; b++) {
        attn_desc one = fuzz_keys(&d, k_at[b], k_at[b + 1] - k_at[b]);
        const size_t n = q_at[b + 1] - q_at[b];
        const attn_array out = fuzz_slice(&d.out, 2, q_at[b], n);
        one.cu_seqlens_q = one.cu_seqlens_k = test_absent;
        one.q = fuzz_slice(&d.q, 2, q_at[b], n);
        one = fuzz_decoded(&one);
        one.out = test_3d(p->out.dtype, heads, n, ref_length(&p->out, 1));
        for (int i = 0; i < FUZZ_ROW_OUTPUTS; i++) {
            attn_array *a = fuzz_row_output(&one, i);
            if (a->ndim) *a = test_3d(a->dtype, 1, heads, n);
        }
        fuzz_expect(c, "a sequence alone", fuzz_forward(&one, test_on(ATTN_PATH_SCALAR)), ATTN_OK);
        fuzz_same(c, "out", &out, "packed", &one.out, "the sequence alone", NULL);
        for (int i = 0; i < FUZZ_ROW_OUTPUTS; i++) {
            const attn_array *a = fuzz_row_output(&d, i);
            const attn_array rows = a->ndim ? fuzz_slice(a, 1, q_at[b], n) : test_absent;
            fuzz_same(c, fuzz_row_names[i], &rows, "packed", fuzz_row_output(&one, i), "the sequence alone", NULL);
        }
    }
}

/* Batch b of what broadcasts, or may be absent. */
static attn_array batch_of(const attn_array *a, int axis, size_t b)
{
    return ref_length(a, axis) > 1 ? fuzz_slice(a, axis, b, 1) : *a;
}

/* The rows of a mask or of a relative bias as packed queries have them, or the one that it has for all. */
static attn_array packed_masks(const attn_array *a, const size_t *q_at, size_t batch, size_t total)
{
    attn_array packed;
    if (!a->ndim || (ref_length(a, 4) == 1 && ref_length(a, 2) == 1)) return *a;
    packed = test_3d(a->dtype, ref_length(a, 3), total, ref_length(a, 1));
    for (size_t b = 0; b < batch; b++)
        for (size_t i = q_at[b]; i < q_at[b + 1]; i++) {
            const attn_array to = fuzz_slice(&packed, 2, i, 1), all = batch_of(a, 4, b),
                             from = batch_of(&all, 2, i - q_at[b]);
            test_assign(&to, &from);
        }
    return packed;
}
static attn_array masks_of(const attn_array *packed, size_t first, size_t count)
{
    return ref_length(packed, 2) == 1 ? *packed : fuzz_slice(packed, 2, first, count);
}

/* Each batch is a sequence, some with fewer queries than the problem has: over caches, or pages, with all that they
 * have, and the same sequences alone, of which rows may be left over. */
static void check_packed_caches(fuzz_case *c)
{
    const attn_desc *p = &c->desc;
    const size_t batch = ref_length(&p->q, 4), heads = ref_length(&p->q, 3), kv_len = ref_length(&p->k, 2);
    size_t q_at[FUZZ_SEQUENCES + 1] = {0}, total;
    attn_desc d = *p;
    if (batch > FUZZ_SEQUENCES || (batch != 1 && ref_length(&p->k, 4) != batch)) return;
    for (size_t b = 0; b < batch; b++) q_at[b + 1] = q_at[b] + test_below(&c->rng, ref_length(&p->q, 2) + 1);
    total = q_at[batch] + test_below(&c->rng, 2);
    d.q = test_3d(p->q.dtype, heads, total, ref_length(&p->q, 1));
    d.out = test_3d(p->out.dtype, heads, total, ref_length(&p->out, 1));
    for (int i = 0; i < FUZZ_ROW_OUTPUTS; i++) {
        attn_array *row_output = fuzz_row_output(&d, i);
        if (row_output->ndim) *row_output = test_2d(row_output->dtype, heads, total);
    }
    d.mask = packed_masks(&p->mask, q_at, batch, total);
    d.rel_bias = packed_masks(&p->rel_bias, q_at, batch, total);
    if (d.scores.ndim) d.scores = test_3d(p->scores.dtype, heads, total, kv_len);
    if (d.colsum.ndim) d.colsum = test_3d(p->colsum.dtype, batch, heads, kv_len);
    d.scores_head = d.scores_query = 0;
    if (d.q_bounds.ndim) {
        d.q_bounds = test_2d(p->q_bounds.dtype, total, ref_length(&p->q_bounds, 1));
        test_fill(&d.q_bounds, 0);
    }
    d.cu_seqlens_q = test_1d(c->cut & 1 ? ATTN_I64 : ATTN_I32, batch + 1);
    for (size_t b = 0; b <= batch; b++) ref_set(&d.cu_seqlens_q, 0, 0, 0, b, (double)q_at[b]);
    for (size_t b = 0; b < batch; b++) {
        const size_t n = q_at[b + 1] - q_at[b];
        fuzz_pack_rows(&d.q, &p->q, b, q_at[b], n);
        if (d.q_bounds.ndim) {
            const attn_array from = batch_of(&p->q_bounds, 3, b), rows = fuzz_slice(&from, 2, 0, n),
                             to = fuzz_slice(&d.q_bounds, 2, q_at[b], n);
            test_assign(&to, &rows);
        }
    }
    if (test_u64(&c->rng) & 1) fuzz_into_pages(c, &d, 0);
    fuzz_expect(c, "packed queries", fuzz_forward(&d, fuzz_shuffled(c, fuzz_random_path(c), c->workers)), ATTN_OK);
    for (size_t b = 0; b < batch; b++) {
        const size_t n = q_at[b + 1] - q_at[b];
        attn_desc one = *p, packed = d;
        packed.out = fuzz_slice(&d.out, 2, q_at[b], n);
        for (int i = 0; i < FUZZ_ROW_OUTPUTS; i++) {
            attn_array *row_output = fuzz_row_output(&packed, i);
            if (row_output->ndim) *row_output = fuzz_slice(row_output, 1, q_at[b], n);
        }
        if (d.scores.ndim) packed.scores = fuzz_slice(&d.scores, 2, q_at[b], n);
        if (d.colsum.ndim) packed.colsum = fuzz_slice(&d.colsum, 3, b, 1);
        one.scores_head = one.scores_query = 0;
        one.q = fuzz_slice(&d.q, 2, q_at[b], n);
        one.k = batch_of(&p->k, 4, b);
        one.v = batch_of(&p->v, 4, b);
        one.k_scale = batch_of(&p->k_scale, 4, b), one.v_scale = batch_of(&p->v_scale, 4, b);
        one.k_zero = batch_of(&p->k_zero, 4, b), one.v_zero = batch_of(&p->v_zero, 4, b);
        one.alibi = batch_of(&p->alibi, 2, b);
        if (d.kv_lens.ndim) one.kv_lens = fuzz_slice(&d.kv_lens, 1, b, 1);
        one.mask = masks_of(&d.mask, q_at[b], n);
        one.rel_bias = masks_of(&d.rel_bias, q_at[b], n);
        if (d.q_bounds.ndim) one.q_bounds = fuzz_slice(&d.q_bounds, 2, q_at[b], n);
        one.out = packed.out, one.lse = packed.lse, one.rowmax = packed.rowmax, one.rowsum = packed.rowsum;
        one.scores = packed.scores, one.colsum = packed.colsum;
        one = fuzz_into_copies(&one);
        fuzz_expect(c, "a sequence alone", fuzz_forward(&one, test_on(ATTN_PATH_SCALAR)), ATTN_OK);
        {
            const fuzz_outputs want = fuzz_outputs_of(&one);
            fuzz_same_outputs(c, "queries over caches", &packed, "packed", &want, "the sequence alone", NULL);
        }
    }
}

/* Keys from `cut` on, at their positions, are the whole with a mask over those before. */
static void check_part(fuzz_case *c)
{
    const attn_desc *p = &c->desc;
    const size_t kv_len = ref_length(&p->k, 2), n = kv_len - c->cut;
    attn_desc whole = fuzz_into_copies(p), part;
    fuzz_outputs want;
    if (p->mask.ndim) {
        whole = test_whole_mask(&whole);
    } else {
        whole.mask = test_4d(ATTN_BOOL, 1, 1, 1, kv_len);
        test_fill(&whole.mask, 1);
    }
    for (size_t b = 0; b < ref_length(&whole.mask, 4); b++)
        for (size_t h = 0; h < ref_length(&whole.mask, 3); h++)
            for (size_t i = 0; i < ref_length(&whole.mask, 2); i++)
                for (size_t j = 0; j < c->cut; j++)
                    ref_set(&whole.mask, b, h, i, j, whole.mask.dtype == ATTN_BOOL ? 0 : -(double)INFINITY);
    whole = fuzz_decoded(&whole);
    fuzz_expect(c, "the whole", fuzz_forward(&whole, test_on(ATTN_PATH_SCALAR)), ATTN_OK);
    want = fuzz_outputs_of(&whole);
    if (want.scores.ndim) want.scores = fuzz_slice(&want.scores, 1, c->cut, n);
    if (want.colsum.ndim) want.colsum = fuzz_slice(&want.colsum, 1, c->cut, n);

    part = fuzz_keys(p, c->cut, n);
    part.kv_begin = c->cut;
    part = fuzz_mask_of_part(&part, p, c->cut, n);
    if (p->scores.ndim)
        part.scores = test_4d(p->scores.dtype, ref_length(&p->scores, 4), ref_length(&p->scores, 3),
                              ref_length(&p->scores, 2), n);
    if (p->colsum.ndim) part.colsum = test_3d(p->colsum.dtype, ref_length(&p->colsum, 3), ref_length(&p->colsum, 2), n);
    part.out = test_copy(&p->out);
    for (int i = 0; i < FUZZ_ROW_OUTPUTS; i++)
        if (fuzz_row_output(&part, i)->ndim) *fuzz_row_output(&part, i) = test_copy(fuzz_row_output(&part, i));
    fuzz_poison(&part);
    fuzz_expect(c, "a part", fuzz_forward(&part, fuzz_shuffled(c, fuzz_random_path(c), c->workers)), ATTN_OK);
    if (part.stage == ATTN_STAGE_RAW || part.stage == ATTN_STAGE_SOFTCAPPED) part.scores = test_absent;
    fuzz_same_outputs(c, "from kv_begin on", &part, "part", &want, "the whole, masked", NULL);
}

/* ---- states ---- */

enum { MOST_PARTS = 4 };

typedef struct state {
    void *memory;
    size_t bytes;
} state;

typedef struct partial_call {
    const attn_desc *desc;
    const state *to;
} partial_call;

static attn_status do_partial(const void *what, const attn_exec *run)
{
    const partial_call *call = what;
    return attn_partial(call->desc, call->to->memory, call->to->bytes, run);
}

static void run_partial(fuzz_case *c, const attn_desc *d, size_t most_workers, const state *s, const char *what)
{
    const attn_path path = fuzz_random_path(c);
    partial_call call;
    call.desc = d;
    call.to = s;
    fuzz_expect(c, what, fuzz_run(do_partial, &call, fuzz_shuffled(c, path, 1 + test_below(&c->rng, most_workers))),
                ATTN_OK);
}

static state partial(fuzz_case *c, size_t begin, size_t end, int tame)
{
    const attn_desc d = fuzz_part(&c->desc, begin, end);
    state s;
    fuzz_expect(c, "attn_state_size", attn_state_size(&d, &s.bytes), ATTN_OK);
    s.memory = test_memory(s.bytes, 8 * test_below(&c->rng, 4));
    run_partial(c, &d, 4, &s, "attn_partial");
    if (tame) { /* the same bytes from another path */
        state again = s;
        again.memory = test_memory(s.bytes, 0);
        memset(again.memory, 0x5a, s.bytes); /* every byte is written */
        run_partial(c, &d, 1, &again, "attn_partial again");
        if (memcmp(again.memory, s.memory, s.bytes) != 0) fuzz_fail(c, "states of keys [%zu, %zu) differ", begin, end);
    }
    return s;
}

static state merge(fuzz_case *c, const state *a, const state *b)
{
    state s;
    fuzz_expect(c, "attn_state_merged_size", attn_state_merged_size(a->memory, b->memory, &s.bytes), ATTN_OK);
    s.memory = test_memory(s.bytes, 8);
    fuzz_expect(c, "attn_state_merge", attn_state_merge(a->memory, b->memory, s.memory, s.bytes, fuzz_random_path(c)),
                ATTN_OK);
    return s;
}

/* A part whose visible scores are all -inf counts for nothing, and so does the NaN that
 * weights of 0 make of its values in the whole. */
static int counts_for_nothing(attn_desc part, size_t b, size_t h, size_t i)
{
    ref_head *head;
    const ref_row *row;
    int nothing;
    part.stage = ATTN_STAGE_BIASED;
    head = ref_open(&part, b, h);
    row = ref_compute_row(head, i);
    nothing = row->visible > 0;
    for (size_t j = 0; j < row->kv_len; j++) nothing &= !row->keep[j] || row->scores[j].value == -(ref_real)INFINITY;
    ref_close(head);
    return nothing;
}

/* Where the whole is NaN or infinite, parts merged are not finite. (Which of both differs:
 * 0 times infinity is NaN, but a weight of 0 in the whole need not be 0 in a part.) */
static void check_nan(const fuzz_case *c, const attn_desc *merged, const fuzz_outputs *whole, const size_t *cuts,
                      size_t parts)
{
    const int half = attn_dtype_size(whole->out.dtype) == 2; /* a last bit decides whether it rounds to infinity */
    size_t at[4];
    for (at[0] = 0; at[0] < ref_length(&whole->out, 4); at[0]++)
        for (at[1] = 0; at[1] < ref_length(&whole->out, 3); at[1]++)
            for (at[2] = 0; at[2] < ref_length(&whole->out, 2); at[2]++) {
                for (at[3] = 0; at[3] < ref_length(&whole->out, 1); at[3]++) {
                    const ref_real x = ref_get(&merged->out, at[0], at[1], at[2], at[3]),
                                   y = ref_get(&whole->out, at[0], at[1], at[2], at[3]);
                    int nothing = 0;
                    if (!(isnan(y) || (isinf(y) && !half)) || !isfinite(x)) continue;
                    for (size_t p = 0; p < parts && !nothing; p++)
                        nothing = counts_for_nothing(fuzz_part(&c->desc, cuts[p], cuts[p + 1]), at[0], at[1], at[2]);
                    if (!nothing)
                        fuzz_fail(c, "parts merged: out[%zu, %zu, %zu, %zu] is finite, of the whole it is %g", at[0],
                                  at[1], at[2], at[3], (double)y);
                }
                if (whole->lse.ndim) {
                    const ref_real x = ref_get(&merged->lse, 0, at[0], at[1], at[2]),
                                   y = ref_get(&whole->lse, 0, at[0], at[1], at[2]);
                    if ((isnan(y) && isfinite(x)) || (isnan(x) && isfinite(y)))
                        fuzz_fail(c, "parts merged: lse[%zu, %zu, %zu] is %g, of the whole %g", at[0], at[1], at[2],
                                  (double)x, (double)y);
                }
            }
}

/* The same bits, but for heads of which a state says that they may differ. */
static void check_heads(const fuzz_case *c, const attn_desc *merged, const fuzz_outputs *scalar, const void *memory)
{
    const size_t heads = ref_length(&merged->q, 3), queries = ref_length(&merged->q, 2),
                 rows = ref_length(&merged->q, 4) * heads * queries;
    unsigned char *flags = test_memory(rows, 0);
    const fuzz_rows skip = {c, flags, heads, queries};
    size_t first = 0, end = 0;
    fuzz_expect(c, "attn_state_redone", attn_state_redone(memory, &first, &end), ATTN_OK);
    if (end && fuzz_tame(&c->desc)) fuzz_fail(c, "heads [%zu, %zu) may have other bits", first, end);
    for (size_t row = 0; row < rows; row++) flags[row] = row / queries % heads >= first && row / queries % heads < end;
    fuzz_same_outputs(c, "parts merged", merged, "states", scalar, "scalar", end ? &skip : NULL);
}

/* Parts of the keys, merged in any order: the same bits if they are cut between
 * blocks, else within the bounds. */
static void check_states(fuzz_case *c, const fuzz_outputs *scalar)
{
    const size_t kv_len = ref_length(&c->desc.k, 2);
    const int blocks = (c->cut & 1) == 0, tame = fuzz_tame(&c->desc);
    size_t cuts[MOST_PARTS + 1], parts = 1 + test_below(&c->rng, MOST_PARTS);
    const size_t num_parts = parts;
    attn_desc d = fuzz_into_copies(&c->desc);
    state states[MOST_PARTS];
    fuzz_for_parts(&c->desc);
    fuzz_for_parts(&d);
    d.scores = d.colsum = test_absent;
    cuts[0] = 0;
    for (size_t i = 1; i < parts; i++) {
        cuts[i] = blocks ? test_below(&c->rng, kv_len / 512 + 1) * 512 : test_below(&c->rng, kv_len + 1);
        for (size_t k = i; k > 1 && cuts[k] < cuts[k - 1]; k--) {
            const size_t swap = cuts[k];
            cuts[k] = cuts[k - 1];
            cuts[k - 1] = swap;
        }
    }
    cuts[parts] = kv_len;
    for (size_t i = 0; i < parts; i++) states[i] = partial(c, cuts[i], cuts[i + 1], tame);
    while (parts > 1) {
        const size_t i = test_below(&c->rng, parts - 1);
        states[i] = merge(c, &states[i], &states[i + 1]);
        memmove(&states[i + 1], &states[i + 2], (parts - i - 2) * sizeof *states);
        parts--;
    }
    fuzz_expect(c, "attn_state_finish", attn_state_finish(&d, states[0].memory, fuzz_random_path(c)), ATTN_OK);
    if (!tame) {
        fuzz_check_rows(c, "parts merged", &d);
        check_nan(c, &d, scalar, cuts, num_parts);
    } else if (!blocks) fuzz_within(c, "parts merged", ref_check(&d, 1));
    if (blocks) check_heads(c, &d, scalar, states[0].memory);
}

FUZZ_MUTATES

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_case c;
    fuzz_outputs scalar;
    fuzz_decode(&c, bytes, size, &limits);
    fuzz_expect(&c, "scalar", fuzz_forward(&c.desc, test_on(ATTN_PATH_SCALAR)), ATTN_OK);
    scalar = fuzz_save(&c.desc);
    fuzz_check_rows(&c, "scalar", &c.desc);
    check_paths(&c, &scalar);
    fuzz_within(&c, "scalar", ref_check(&c.desc, 1));
    if (fuzz_has_codes(&c.desc)) check_codes(&c, &scalar);
    check_poisoned(&c, &scalar);
    check_intervals(&c, &scalar);
    switch (c.variant) {
    case FUZZ_PAGED:
        check_paged(&c, &scalar);
        check_ring(&c, &scalar);
        break;
    case FUZZ_PACKED:
        check_packed(&c);
        check_packed_caches(&c);
        break;
    case FUZZ_PART: check_part(&c); break;
    default: check_states(&c, &scalar); break;
    }
    fuzz_check_gaps(&c, &c.desc);
    fuzz_end(&c);
    return 0;
}
