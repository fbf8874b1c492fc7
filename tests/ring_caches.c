/* SPDX-License-Identifier: MIT-0
 *
 * Ring caches: rows are taken in turn, but for those of the first keys, and attention has the bits that it has with a
 * cache of all keys: windows, sinks of position, chunks, lengths of each batch, packed queries, 16 and 8 bits with
 * their scales, on every path, with any number of workers. What a query sees and the ring no longer holds is refused.
 */
#include "check/harness.h"

#include <math.h>

enum { HEADS = 4, KV_HEADS = 2, DIM = 32, DIM_V = 64, MOST = 3 };

/* A problem with a cache of all keys, and with a ring that was filled a few rows at a time. */
typedef struct ring {
    attn_desc flat, d;
    size_t turns, sinks; /* rows that are taken in turn, and those that are not */
} ring;

/* Row i of a ring holds this position of a sequence of so many keys; -1 if none. */
static int64_t position_in(const ring *r, size_t row, size_t len)
{
    int64_t found = -1;
    for (size_t p = row < len ? row : len; p < len; p += r->turns) {
        found = (int64_t)p;
        if (row < r->sinks) break;
    }
    return found;
}

/* Is each row of the cache that of its position? */
static int holds(const ring *r, const attn_array *cache, const attn_array *flat)
{
    for (size_t b = 0; b < ref_length(flat, 4); b++)
        for (size_t row = 0; row < ref_length(cache, 2); row++) {
            const int64_t p = position_in(r, row, (size_t)ref_get(&r->flat.kv_lens, 0, 0, 0, b));
            const attn_array of = test_part(cache, 4, b, 1), from = test_part(flat, 4, b, 1),
                             got = test_part(&of, 2, row, 1);
            if (p < 0) continue;
            {
                const attn_array want = test_part(&from, 2, (size_t)p, 1);
                if (!test_same(&got, &want)) return 0;
            }
        }
    return 1;
}

/* Rows of all batches, a few at a time: batch b at its own pace, so that each call has lengths of several. */
static attn_status append_all(const attn_cache *to, const attn_array *from, const attn_array *lens, test_rng *rng)
{
    attn_status status = ATTN_OK;
    for (size_t b = 0; b < ref_length(from, 4); b++) {
        const size_t len = (size_t)ref_get(lens, 0, 0, 0, b);
        const attn_array rows = test_part(from, 4, b, 1), at = test_1d(ATTN_I64, 1);
        attn_cache one = *to;
        one.data = test_part(&to->data, 4, b, 1);
        for (size_t i = 0, n; i < len && !status; i += n) {
            const attn_array some = test_part(&rows, 2, i, n = 1 + test_below(rng, len - i));
            ref_set(&at, 0, 0, 0, 0, (double)i);
            status = attn_cache_write(&one, &some, &at, NULL, NULL);
        }
    }
    return status;
}

/* Scales of each key's own, put where its row is. */
static attn_array scales_in(const ring *r, const attn_array *flat)
{
    attn_array scales = test_4d(ATTN_F32, ref_length(flat, 4), KV_HEADS, r->sinks + r->turns, ref_length(flat, 1));
    for (size_t b = 0; b < ref_length(flat, 4); b++)
        for (size_t row = 0; row < r->sinks + r->turns; row++) {
            const int64_t p = position_in(r, row, (size_t)ref_get(&r->flat.kv_lens, 0, 0, 0, b));
            const attn_array of = test_part(&scales, 4, b, 1), from = test_part(flat, 4, b, 1),
                             to = test_part(&of, 2, row, 1);
            if (p < 0) continue;
            {
                const attn_array want = test_part(&from, 2, (size_t)p, 1);
                test_assign(&to, &want);
            }
        }
    return scales;
}

static ring make(attn_dtype type, attn_dtype kv, test_rng *rng, int *pass)
{
    const attn_dtype compute = type == ATTN_F64 ? ATTN_F64 : ATTN_F32;
    const unsigned flags = (unsigned)test_u64(rng);
    const size_t batch = 1 + test_below(rng, MOST), queries = test_below(rng, 3) ? 1 + test_below(rng, 6) : 40,
                 window = 1 + test_below(rng, flags & 1 ? 1200 : 90), most = flags & 2 ? 2600 : 700;
    ring r;
    attn_desc *d = &r.flat;
    attn_cache cache = attn_cache_default();
    *d = attn_desc_default();
    r.sinks = flags & 4 ? 0 : test_below(rng, flags & 8 ? 9 : 700);
    r.turns = window + queries + test_below(rng, 5);
    d->kv_lens = test_1d(flags & 16 ? ATTN_I32 : ATTN_I64, batch);
    for (size_t b = 0; b < batch; b++)
        ref_set(&d->kv_lens, 0, 0, 0, b, (double)(flags & 32 ? test_below(rng, most + 1) : most - 3 * b));
    d->q = test_4d(type, batch, HEADS, queries, DIM);
    d->k = test_4d(kv, batch, KV_HEADS, most, DIM);
    d->v = test_4d(kv, batch, KV_HEADS, most, DIM_V);
    test_fill_normal(&d->q, rng, 1);
    test_fill_normal(&d->k, rng, kv == ATTN_I8 ? 40 : 1);
    test_fill_normal(&d->v, rng, kv == ATTN_I8 ? 40 : 1);
    d->out = test_4d(type, batch, HEADS, queries, DIM_V);
    d->lse = test_3d(compute, batch, HEADS, queries);
    d->rowmax = test_3d(compute, batch, HEADS, queries);
    d->rowsum = test_3d(compute, batch, HEADS, queries);
    d->causal = 1;
    d->align = ATTN_ALIGN_LOWER_RIGHT;
    d->softcap = flags & 64 ? 0 : 20;
    if (flags & 128) {
        d->alibi = test_1d(compute, HEADS);
        test_fill_normal(&d->alibi, rng, 0.1);
    }
    if (flags & 256) {
        d->sinks = test_1d(compute, HEADS);
        test_fill_normal(&d->sinks, rng, 1);
    }
    if (flags & 512) {
        d->mask = test_2d(ATTN_BIT, queries, queries); /* drafts, of which not all see each other */
        d->mask_place = ATTN_MASK_TAIL;
        for (size_t i = 0; i < queries; i++)
            for (size_t j = 0; j < queries; j++) ref_set(&d->mask, 0, 0, i, j, j == i || test_below(rng, 2) ? 1 : 0);
    }
    if (r.sinks == 0 && flags & 1024) {
        d->window = 1;
        d->window_left = (int64_t)window;
        d->window_right = -1;
    } else { /* the first keys, some of them, and a window */
        d->q_bounds = test_3d(ATTN_I32, batch, queries, 4);
        for (size_t b = 0; b < batch; b++)
            for (size_t i = 0; i < queries; i++) {
                const double p = (double)ref_get(&d->kv_lens, 0, 0, 0, b) - (double)queries + (double)i,
                             end = (double)r.sinks - (flags & 2048 && r.sinks ? 1 : 0);
                ref_set(&d->q_bounds, 0, b, i, 0, 0);
                ref_set(&d->q_bounds, 0, b, i, 1, end);
                ref_set(&d->q_bounds, 0, b, i, 2, fmax((double)r.sinks, p - (double)window));
                ref_set(&d->q_bounds, 0, b, i, 3, p + 1);
            }
    }
    r.d = *d;
    r.d.ring = 1;
    r.d.ring_sinks = r.sinks;
    r.d.k = test_4d(kv, batch, KV_HEADS, r.sinks + r.turns, DIM);
    r.d.v = test_4d(kv, batch, KV_HEADS, r.sinks + r.turns, DIM_V);
    cache.ring = 1;
    cache.ring_sinks = r.sinks;
    if (kv == ATTN_I8) {
        /* what is appended are numbers, which as float32 are exactly these */
        const attn_array k = test_decoded(&d->k, &test_absent, &test_absent),
                         v = test_decoded(&d->v, &test_absent, &test_absent);
        cache.data = r.d.k, *pass = test_status(append_all(&cache, &k, &d->kv_lens, rng), ATTN_OK) && *pass;
        cache.data = r.d.v, *pass = test_status(append_all(&cache, &v, &d->kv_lens, rng), ATTN_OK) && *pass;
        d->k_scale = test_4d(ATTN_F32, batch, KV_HEADS, most, 2);
        d->v_scale = test_4d(ATTN_F32, 1, 1, 1, DIM_V);
        test_fill_normal(&d->k_scale, rng, 1.0 / 64);
        test_fill_normal(&d->v_scale, rng, 1.0 / 64);
        r.d.v_scale = d->v_scale;
        r.d.k_scale = scales_in(&r, &d->k_scale);
    } else {
        cache.data = r.d.k, *pass = test_status(append_all(&cache, &d->k, &d->kv_lens, rng), ATTN_OK) && *pass;
        cache.data = r.d.v, *pass = test_status(append_all(&cache, &d->v, &d->kv_lens, rng), ATTN_OK) && *pass;
    }
    *pass = holds(&r, &r.d.k, &d->k) && holds(&r, &r.d.v, &d->v) && *pass;
    return r;
}

/* Is what attn_workspace_size says enough, whatever the lengths are? */
static int fits(const attn_desc *d, attn_exec run)
{
    attn_desc unknown = *d;
    size_t bytes = 0, blind = 0, most = 0;
    run.query = &bytes;
    if (!test_status(attn_forward(d, &run), ATTN_OK)) return 0;
    run.query = &blind;
    unknown.kv_lens.data = NULL;
    return test_status(attn_forward(&unknown, &run), ATTN_OK) &&
           test_status(attn_workspace_size(d, run.num_workers, &most), ATTN_OK) && bytes <= most && bytes == blind;
}

/* The same queries end to end. */
static attn_desc packed(const attn_desc *d)
{
    const size_t batch = ref_length(&d->q, 4), queries = ref_length(&d->q, 2);
    attn_desc p = *d;
    p.q = test_3d(d->q.dtype, HEADS, batch * queries, DIM);
    p.out = test_3d(d->out.dtype, HEADS, batch * queries, DIM_V);
    p.lse = p.rowmax = p.rowsum = test_absent;
    p.cu_seqlens_q = test_1d(ATTN_I32, batch + 1);
    if (d->mask.ndim) {
        p.mask = test_2d(ATTN_BIT, batch * queries, queries);
        for (size_t i = 0; i < batch * queries; i++)
            for (size_t j = 0; j < queries; j++)
                ref_set(&p.mask, 0, 0, i, j, (double)ref_get(&d->mask, 0, 0, i % queries, j));
    }
    if (d->q_bounds.ndim) p.q_bounds = attn_array_2d(ATTN_I32, d->q_bounds.data, batch * queries, 4);
    for (size_t b = 0; b <= batch; b++) ref_set(&p.cu_seqlens_q, 0, 0, 0, b, (double)(b * queries));
    for (size_t b = 0; b < batch; b++) {
        const attn_array from = test_part(&d->q, 4, b, 1), to = test_part(&p.q, 2, b * queries, queries);
        test_assign(&to, &from);
    }
    return p;
}
static int same_as_packed(const attn_desc *p, const attn_desc *want)
{
    const size_t queries = ref_length(&want->q, 2);
    for (size_t b = 0; b < ref_length(&want->q, 4); b++) {
        const attn_array got = test_part(&p->out, 2, b * queries, queries), rows = test_part(&want->out, 4, b, 1),
                         three = attn_array_3d(rows.dtype, rows.data, HEADS, queries, DIM_V);
        if (!test_same(&got, &three)) return 0;
    }
    return 1;
}

static void try_random(attn_dtype type, attn_dtype kv, int count)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    int pass = 1;
    for (int i = 0; i < count && pass; i++) {
        test_rng rng = {(uint64_t)(i + 1000 * (int)type + 100000 * (int)kv)};
        const ring r = make(type, kv, &rng, &pass);
        pass = pass && test_status(test_forward(&r.flat, test_on(ATTN_PATH_SCALAR)), ATTN_OK);
        for (size_t p = 0; p < num_paths && pass; p++) {
            const attn_desc d = test_again(&r.d), end_to_end = packed(&r.d);
            const attn_exec run = test_shuffled(paths[p], 1 + test_below(&rng, 5));
            pass = test_status(test_forward(&d, run), ATTN_OK) && test_same_outputs(&d, &r.flat) && fits(&d, run) &&
                   test_status(test_forward(&end_to_end, run), ATTN_OK) && same_as_packed(&end_to_end, &r.flat);
            if (pass && p == 0 && i % 10 == 0) {
                const ref_report report = ref_check(&d, 1);
                pass = test_within(&report);
            }
            if (!pass)
                test_note("problem %d, %s, %zu workers, %zu sinks and %zu rows in turn", i, attn_path_name(paths[p]),
                          run.num_workers, r.sinks, r.turns);
        }
        pass = test_release() && pass;
    }
    test_ok(pass, "%s, keys of %s: %d rings, the bits of caches of all keys", attn_dtype_name(type),
            attn_dtype_name(kv), count);
}

/* ------------------------------------------------------------------ far away -- */

/* No array has so many keys. A window's bits are those of the same keys 2^40 positions before, where they lie the same
 * in blocks; and with sinks in front it takes no longer. */
static void try_far(attn_dtype type)
{
    enum { TURNS = 1300, QUERIES = 3 };
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    int pass = 1;
    for (size_t p = 0; p < num_paths && pass; p++) {
        test_rng rng = {9};
        attn_desc d = attn_desc_default(), far_away, sinks;
        const double shift = 1099511627776.0; /* a multiple of TURNS is added, so that rows are the same */
        const double add = shift * TURNS, len = 4000;
        d.q = test_4d(type, 1, HEADS, QUERIES, DIM);
        d.k = test_4d(type, 1, KV_HEADS, TURNS, DIM);
        d.v = test_4d(type, 1, KV_HEADS, TURNS, DIM_V);
        d.out = test_4d(type, 1, HEADS, QUERIES, DIM_V);
        d.kv_lens = test_1d(ATTN_I64, 1);
        test_fill_normal(&d.q, &rng, 1);
        test_fill_normal(&d.k, &rng, 1);
        test_fill_normal(&d.v, &rng, 1);
        ref_set(&d.kv_lens, 0, 0, 0, 0, len);
        d.causal = d.window = d.ring = 1;
        d.align = ATTN_ALIGN_LOWER_RIGHT;
        d.window_left = TURNS - QUERIES, d.window_right = 0;
        far_away = test_again(&d);
        far_away.kv_lens = test_1d(ATTN_I64, 1);
        ref_set(&far_away.kv_lens, 0, 0, 0, 0, len + add);
        sinks = test_again(&far_away);
        sinks.ring_sinks = 4;
        sinks.window = 0;
        sinks.q_bounds = test_2d(ATTN_I64, QUERIES, 4);
        for (size_t i = 0; i < QUERIES; i++) {
            ref_set(&sinks.q_bounds, 0, 0, i, 0, 0);
            ref_set(&sinks.q_bounds, 0, 0, i, 1, 4);
            ref_set(&sinks.q_bounds, 0, 0, i, 2, len + add - 1000);
            ref_set(&sinks.q_bounds, 0, 0, i, 3, len + add);
        }
        pass = test_status(test_forward(&d, test_on(paths[p])), ATTN_OK) &&
               test_status(test_forward(&far_away, test_shuffled(paths[p], 2)), ATTN_OK) &&
               test_same_outputs(&far_away, &d) && test_status(test_forward(&sinks, test_on(paths[p])), ATTN_OK);
        if (pass) {
            const attn_desc shared = test_again(&sinks);
            pass = test_status(test_forward(&shared, test_shuffled(paths[p], 5)), ATTN_OK) &&
                   test_same_outputs(&shared, &sinks);
        }
        pass = test_release() && pass;
    }
    test_ok(pass, "%s: positions beyond 2^50", attn_dtype_name(type));
}

/* Blocks 0, 5, 6 and 7, of which no two are joined before the last has been computed: no ring of so few rows has more
 * states that wait. */
static void try_states(attn_dtype type, size_t queries)
{
    enum { SINKS = 4, TURNS = 1000, LEN = 3612 };
    const test_shape shape = {type, 1, HEADS, KV_HEADS, queries, LEN, DIM, DIM_V};
    test_rng rng = {queries};
    attn_desc flat = test_problem(&shape, &rng), d;
    attn_cache cache = attn_cache_default();
    int pass;
    flat.scores = test_absent;
    flat.causal = 1;
    flat.align = ATTN_ALIGN_LOWER_RIGHT;
    flat.kv_lens = test_1d(ATTN_I64, 1);
    flat.q_bounds = test_2d(ATTN_I32, queries, 4);
    ref_set(&flat.kv_lens, 0, 0, 0, 0, LEN);
    for (size_t i = 0; i < queries; i++) {
        ref_set(&flat.q_bounds, 0, 0, i, 0, 0);
        ref_set(&flat.q_bounds, 0, 0, i, 1, SINKS);
        ref_set(&flat.q_bounds, 0, 0, i, 2, LEN - TURNS);
        ref_set(&flat.q_bounds, 0, 0, i, 3, LEN);
    }
    d = test_again(&flat);
    d.ring = cache.ring = 1;
    d.ring_sinks = cache.ring_sinks = SINKS;
    d.k = cache.data = test_4d(type, 1, KV_HEADS, SINKS + TURNS, DIM);
    pass = test_status(attn_cache_write(&cache, &flat.k, NULL, NULL, NULL), ATTN_OK);
    d.v = cache.data = test_4d(type, 1, KV_HEADS, SINKS + TURNS, DIM_V);
    pass = pass && test_status(attn_cache_write(&cache, &flat.v, NULL, NULL, NULL), ATTN_OK) &&
           test_status(test_forward(&flat, test_on(ATTN_PATH_SCALAR)), ATTN_OK) &&
           test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same_outputs(&d, &flat);
    test_ok(test_release() && pass, "%s, %zu queries: as many states at once as there can be", attn_dtype_name(type),
            queries);
}

/* --------------------------------------------------------------- StreamingLLM -- */

/* As in the manual: a decoder that never ends, with 4 sinks of position and a window. */
static void try_streaming(void)
{
    enum { SINKS = 4, WINDOW = 60, STEPS = 300 };
    test_rng rng = {4};
    const attn_array all_k = test_4d(ATTN_F32, 1, KV_HEADS, STEPS, DIM),
                     all_v = test_4d(ATTN_F32, 1, KV_HEADS, STEPS, DIM_V), q = test_4d(ATTN_F32, 1, HEADS, 1, DIM),
                     out = test_4d(ATTN_F32, 1, HEADS, 1, DIM_V), want = test_4d(ATTN_F32, 1, HEADS, 1, DIM_V);
    attn_cache keys = attn_cache_default(), values = attn_cache_default();
    attn_desc d = attn_desc_default();
    int32_t pos = 0;
    int pass = 1;
    keys.data = test_4d(ATTN_F16, 1, KV_HEADS, SINKS + WINDOW, DIM);
    values.data = test_4d(ATTN_F16, 1, KV_HEADS, SINKS + WINDOW, DIM_V);
    keys.ring = values.ring = 1;
    keys.ring_sinks = values.ring_sinks = SINKS;
    d.q = q, d.k = keys.data, d.v = values.data, d.out = out;
    d.ring = 1, d.ring_sinks = SINKS;
    test_fill_normal(&all_k, &rng, 1);
    test_fill_normal(&all_v, &rng, 1);
    test_fill_normal(&q, &rng, 1);
    for (; pos < STEPS && pass; pos++) {
        const attn_array k = test_part(&all_k, 2, (size_t)pos, 1), v = test_part(&all_v, 2, (size_t)pos, 1),
                         seen_k = test_4d(ATTN_F16, 1, KV_HEADS, (size_t)pos + 1, DIM),
                         seen_v = test_4d(ATTN_F16, 1, KV_HEADS, (size_t)pos + 1, DIM_V),
                         from_k = test_part(&all_k, 2, 0, (size_t)pos + 1),
                         from_v = test_part(&all_v, 2, 0, (size_t)pos + 1);
        const int32_t len = pos + 1, first = len - WINDOW;
        const int32_t bounds[4] = {0, SINKS, first > SINKS ? first : SINKS, len};
        const attn_array at = attn_array_1d(ATTN_I32, &pos, 1);
        attn_desc flat;
        attn_cache_write(&keys, &k, &at, NULL, NULL);
        attn_cache_write(&values, &v, &at, NULL, NULL);
        d.kv_lens = attn_array_1d(ATTN_I32, &len, 1);
        d.q_bounds = attn_array_2d(ATTN_I32, bounds, 1, 4);
        pass = test_status(attn_forward(&d, NULL), ATTN_OK);
        flat = d;
        flat.ring = 0;
        flat.k = seen_k, flat.v = seen_v, flat.out = want;
        pass = pass && test_status(attn_cache_append(&seen_k, &from_k, NULL, NULL), ATTN_OK) &&
               test_status(attn_cache_append(&seen_v, &from_v, NULL, NULL), ATTN_OK) &&
               test_status(attn_forward(&flat, NULL), ATTN_OK) && test_same(&out, &want);
    }
    test_ok(test_release() && pass, "StreamingLLM: %d steps with a cache of %d rows", STEPS, SINKS + WINDOW);
}

/* ------------------------------------------------------------------ appending -- */

/* Rows that are rotated and have 8 bits: those of attn_rotate, quantised. */
static void try_rotated_codes(attn_dtype rows, attn_dtype codes, size_t heads, size_t dim)
{
    enum { N = 50, CAPACITY = 20, SINKS = 3 };
    test_rng rng = {dim};
    const int found = codes != ATTN_Q8_0;
    const attn_array x = test_4d(rows, 2, heads, N, dim), turned = test_4d(ATTN_F32, 2, heads, N, dim),
                     positions = test_2d(ATTN_I64, 2, N), lens = test_1d(ATTN_I32, 2);
    attn_rotation r = attn_rotation_default();
    attn_cache c = attn_cache_default(), want;
    attn_array wide;
    int pass;
    test_fill_normal(&x, &rng, 1);
    wide = test_decoded(&x, &test_absent, &test_absent);
    for (size_t b = 0; b < 2; b++) {
        ref_set(&lens, 0, 0, 0, b, (double)(1000 * b));
        for (size_t i = 0; i < N; i++) ref_set(&positions, 0, 0, b, i, (double)(1000 * b + i));
    }
    r.interleaved = dim % 3 == 0;
    r.rotary_dim = dim / 2 - dim / 2 % 2;
    c.data = test_4d(codes, 2, heads, CAPACITY, dim);
    if (found) c.scale = test_4d(ATTN_F32, 2, heads, CAPACITY, 2);
    c.scaling = ATTN_SCALES_FOUND;
    c.ring = 1, c.ring_sinks = SINKS;
    want = c;
    want.data = test_copy(&c.data);
    if (found) want.scale = test_copy(&c.scale);
    pass = test_status(attn_rotate(&r, &wide, &positions, &turned), ATTN_OK) &&
           test_status(attn_cache_write(&want, &turned, &lens, NULL, NULL), ATTN_OK) &&
           test_status(attn_cache_write(&c, &x, &lens, &r, NULL), ATTN_OK) && test_same(&c.data, &want.data) &&
           (!found || test_same(&c.scale, &want.scale));
    test_ok(test_release() && pass, "%s, rotated, to %s: %zu heads of %zu", attn_dtype_name(rows),
            attn_dtype_name(codes), heads, dim);
}

/* attn_cache_write does what each of the others does. */
static void try_one_for_all(void)
{
    test_rng rng = {6};
    const attn_array x = test_4d(ATTN_F32, 2, 2, 3, 8), lens = test_1d(ATTN_I32, 2), table = test_2d(ATTN_I32, 2, 2);
    attn_rotation r = attn_rotation_default();
    attn_cache c = attn_cache_default(), want;
    int pass;
    test_fill_normal(&x, &rng, 1);
    test_fill(&lens, 2);
    for (size_t i = 0; i < 4; i++) ref_set(&table, 0, 0, i / 2, i % 2, (double)(3 - i));
    c.data = test_4d(ATTN_BF16, 4, 2, 4, 8), c.block_table = table;
    want.data = test_copy(&c.data);
    pass = test_status(attn_cache_write(&c, &x, &lens, &r, NULL), ATTN_OK) &&
           test_status(attn_cache_append_rotated(&want.data, &r, &x, NULL, &lens, &table), ATTN_OK) &&
           test_same(&c.data, &want.data);
    c.data = test_4d(ATTN_I8, 4, 2, 4, 8);
    want.data = test_copy(&c.data);
    c.scale = test_4d(ATTN_F32, 4, 2, 4, 1), want.scale = test_copy(&c.scale);
    c.scaling = ATTN_SCALES_FOUND;
    pass = pass && test_status(attn_cache_write(&c, &x, &lens, NULL, NULL), ATTN_OK) &&
           test_status(attn_cache_append_scaled(&want.data, &want.scale, NULL, ATTN_SCALES_FOUND, &x, &lens, &table),
                       ATTN_OK) &&
           test_same(&c.data, &want.data) && test_same(&c.scale, &want.scale);
    test_ok(test_release() && pass, "pages, scales and a rotation in one description");
}

/* ------------------------------------------------------------------ errors -- */

static attn_desc good(void)
{
    test_rng rng = {3};
    attn_desc d = attn_desc_default();
    d.q = test_4d(ATTN_F32, 2, HEADS, 3, DIM);
    d.k = test_4d(ATTN_F32, 2, KV_HEADS, 20, DIM);
    d.v = test_4d(ATTN_F32, 2, KV_HEADS, 20, DIM_V);
    d.out = test_4d(ATTN_F32, 2, HEADS, 3, DIM_V);
    d.kv_lens = test_1d(ATTN_I64, 2);
    test_fill_normal(&d.q, &rng, 1);
    test_fill_normal(&d.k, &rng, 1);
    test_fill_normal(&d.v, &rng, 1);
    test_fill(&d.kv_lens, 77);
    d.ring = 1;
    d.ring_sinks = 4;
    d.causal = d.window = 1;
    d.align = ATTN_ALIGN_LOWER_RIGHT;
    d.window_left = 13; /* query 0 is at 74 and sees from 61 on: 16 keys, as many as rows are taken in turn */
    return d;
}

static int is(const char *got, const char *want)
{
    while (got && *got && *got == *want) got++, want++;
    return got && *got == *want;
}

#define REFUSE(want, name, spoil)                                                                                      \
    do {                                                                                                               \
        attn_desc d = good();                                                                                          \
        const attn_array out = d.out, unwritten = test_copy(&out);                                                     \
        const char *argument = NULL;                                                                                   \
        attn_exec run = test_on(ATTN_PATH_AUTO);                                                                       \
        run.argument = &argument;                                                                                      \
        spoil;                                                                                                         \
        test_ok(test_status(attn_forward(&d, &run), want) && is(argument, name) && test_same(&out, &unwritten) &&      \
                    test_guards(),                                                                                     \
                "refused, nothing written: %s", #spoil);                                                               \
        test_release();                                                                                                \
    } while (0)

#define REFUSE_WRITE(want, spoil)                                                                                      \
    do {                                                                                                               \
        attn_cache c = attn_cache_default();                                                                           \
        attn_rotation r = attn_rotation_default();                                                                     \
        attn_array x = test_4d(ATTN_F32, 1, 2, 3, 8), lens = test_1d(ATTN_I64, 1), untouched;                          \
        int turned = 0;                                                                                                \
        test_fill(&x, 1);                                                                                              \
        test_fill(&lens, 50);                                                                                          \
        c.data = test_4d(ATTN_I8, 1, 2, 6, 8);                                                                         \
        c.ring = 1, c.ring_sinks = 2;                                                                                  \
        untouched = test_copy(&c.data);                                                                                \
        spoil;                                                                                                         \
        test_ok(test_status(attn_cache_write(&c, &x, &lens, turned ? &r : NULL, NULL), want) &&                        \
                    test_same(&c.data, &untouched) && test_guards(),                                                   \
                "not appended, nothing written: %s", #spoil);                                                          \
        test_release();                                                                                                \
    } while (0)

static void try_errors(void)
{
    {
        attn_desc d = good();
        size_t bytes;
        test_ok(test_status(attn_forward(&d, NULL), ATTN_OK), "what works before it is spoiled");
        test_ok(test_status(attn_state_size(&d, &bytes), ATTN_ERR_UNSUPPORTED), "refused: a part of the keys");
        test_release();
    }
    REFUSE(ATTN_ERR_RING, "ring", d.window_left = 14);
    REFUSE(ATTN_ERR_RING, "ring", d.window_left = -1);
    REFUSE(ATTN_ERR_RING, "ring", d.ring_sinks = 5);
    REFUSE(ATTN_ERR_RING, "ring", d.align = ATTN_ALIGN_UPPER_LEFT; d.q_offset = 0; d.window_left = d.window_right = 5;
           d.causal = 0); /* queries far before the last key */
    REFUSE(ATTN_ERR_RING, "ring", ref_set(&d.kv_lens, 0, 0, 0, 1, 1e15); d.align = ATTN_ALIGN_OFFSET; d.q_offset = 74);
    REFUSE(ATTN_ERR_RING, "ring", d.window = 0; d.q_bounds = test_2d(ATTN_I32, 3, 2); test_fill(&d.q_bounds, 5);
           ref_set(&d.q_bounds, 0, 0, 2, 1, 6));
    REFUSE(ATTN_ERR_RING, "ring", d.window = 0; d.q_bounds = test_2d(ATTN_I32, 3, 2); test_fill(&d.q_bounds, 4);
           for (size_t i = 0; i < 3; i++) ref_set(&d.q_bounds, 0, 0, i, 1, 5)); /* the first that is gone */
    REFUSE(ATTN_ERR_LENGTH, "kv_lens", ref_set(&d.kv_lens, 0, 0, 0, 0, 4611686018427387904.0));
    REFUSE(ATTN_ERR_PARAMETER, "ring_sinks", d.ring_sinks = 20);
    REFUSE(ATTN_ERR_PARAMETER, "ring_sinks", d.ring_sinks = (size_t)-1);
    REFUSE(ATTN_ERR_NULL, "kv_lens", d.kv_lens = test_absent);
    REFUSE(ATTN_ERR_LENGTH, "kv_lens", ref_set(&d.kv_lens, 0, 0, 0, 1, -1));
    REFUSE(ATTN_ERR_LENGTH, "kv_lens", ref_set(&d.kv_lens, 0, 0, 0, 1, 9.2e18));
    REFUSE(ATTN_ERR_UNSUPPORTED, "ring", d.kv_begin = 512);
    REFUSE(ATTN_ERR_UNSUPPORTED, "ring", d.scores = test_4d(ATTN_F32, 2, HEADS, 3, 20));
    REFUSE(ATTN_ERR_UNSUPPORTED, "ring", d.colsum = test_3d(ATTN_F32, 2, HEADS, 20));
    REFUSE(ATTN_ERR_UNSUPPORTED, "ring", d.mask = test_2d(ATTN_BOOL, 3, 20));
    REFUSE(ATTN_ERR_UNSUPPORTED, "ring", d.block_table = test_2d(ATTN_I32, 2, 1); test_fill(&d.block_table, 0));
    REFUSE(ATTN_ERR_UNSUPPORTED, "ring", d.cu_seqlens_q = d.cu_seqlens_k = test_1d(ATTN_I32, 1);
           d.q = test_3d(ATTN_F32, HEADS, 3, DIM); d.k = test_3d(ATTN_F32, KV_HEADS, 20, DIM));

    REFUSE_WRITE(ATTN_ERR_PARAMETER, c.ring_sinks = 6);
    REFUSE_WRITE(ATTN_ERR_UNSUPPORTED, c.block_table = test_2d(ATTN_I32, 1, 1); test_fill(&c.block_table, 0));
    REFUSE_WRITE(ATTN_ERR_LENGTH, ref_set(&lens, 0, 0, 0, 0, -1));
    REFUSE_WRITE(ATTN_ERR_LENGTH, ref_set(&lens, 0, 0, 0, 0, 9.2e18));
    REFUSE_WRITE(ATTN_ERR_LENGTH, c.ring = 0);
    REFUSE_WRITE(ATTN_ERR_LENGTH, ref_set(&lens, 0, 0, 0, 0, 2147483648.0); turned = 1); /* an angle too large */
    REFUSE_WRITE(ATTN_ERR_ALIAS, turned = 1; r.factors = test_1d(ATTN_F32, 4); test_fill(&r.factors, 1);
                 c.scale = test_4d(ATTN_F32, 1, 2, 6, 1); c.scaling = ATTN_SCALES_FOUND; r.factors.data = c.scale.data;
                 test_fill(&r.factors, 1));
    REFUSE_WRITE(ATTN_ERR_UNSUPPORTED, turned = 1; x = test_4d(ATTN_F32, 1, 1, 1, 2050);
                 c.data = test_4d(ATTN_I8, 1, 1, 6, 2050); untouched = test_copy(&c.data));
    test_ok(test_status(attn_cache_write(NULL, NULL, NULL, NULL, NULL), ATTN_ERR_NULL), "not appended: to nothing");
}

int main(void)
{
    try_random(ATTN_F32, ATTN_F32, 40);
    try_random(ATTN_F64, ATTN_F64, 20);
    try_random(ATTN_F32, ATTN_I8, 25);
    try_random(ATTN_BF16, ATTN_BF16, 15);
    for (size_t t = 0; t < 2; t++) try_far(test_types[t]);
    for (size_t t = 0; t < 2; t++) try_states(test_types[t], 1), try_states(test_types[t], 60);
    try_streaming();
    try_rotated_codes(ATTN_F32, ATTN_I8, 2, 12);
    try_rotated_codes(ATTN_BF16, ATTN_F8_E4M3, 3, 64);
    try_rotated_codes(ATTN_F16, ATTN_Q8_0, 5, 96);
    try_rotated_codes(ATTN_F32, ATTN_F8_E5M2, 5, 1030); /* more than there is room for at once */
    try_one_for_all();
    try_errors();
    return test_done();
}
