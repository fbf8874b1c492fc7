/* SPDX-License-Identifier: MIT-0
 *
 * The steps, alone: softmax along any axis (and with it exp), matmul, scores and
 * weighted sum, Q K V projections, rotary embedding, caches, numbers in 8 bits,
 * layers. Every path gives the same bits; then the reference's bounds, or the same
 * by other means.
 */
#include "oracle.h"

#include <math.h>
#include <string.h>

enum { MOST_DIMS = 4 };

typedef struct step {
    fuzz_case c; /* for messages: the input, and the operands as q, k, v, mask */
    fuzz_input in;
    attn_dtype type;
    attn_array a, b, out;
    int axis, in_place;
    double scale;
} step;

static attn_status do_softmax(const void *what, const attn_exec *run)
{
    const step *s = what;
    return attn_softmax(s->in_place ? &s->out : &s->a, s->axis, &s->out, run);
}

/* Which NaN a product gives is the machine's. */
static void one_nan(const attn_array *a)
{
    for (size_t b = 0; b < ref_length(a, 4); b++)
        for (size_t h = 0; h < ref_length(a, 3); h++)
            for (size_t i = 0; i < ref_length(a, 2); i++)
                for (size_t j = 0; j < ref_length(a, 1); j++)
                    if (isnan(ref_get(a, b, h, i, j))) ref_set(a, b, h, i, j, (double)NAN);
}

/* On every path, out of order, into s->out: the same bits as the scalar path. */
static void same_on_all_paths(step *s, const char *name, fuzz_call f)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    attn_array scalar = test_absent;
    for (size_t p = 0; p < num_paths; p++) {
        s->c.desc.out = s->out; /* every path by its strides */
        test_poison(&s->out);
        fuzz_expect(&s->c, name,
                    fuzz_run(f, s, p == 0 ? test_on(paths[p]) : fuzz_shuffled(&s->c, paths[p], s->c.workers)), ATTN_OK);
        if (f != do_softmax) one_nan(&s->out);
        if (p == 0) scalar = test_copy(&s->out);
        fuzz_same(&s->c, name, &s->out, attn_path_name(paths[p]), &scalar, "scalar", NULL);
    }
}

/* Erases s->out. */
static void no_gap_written(const step *s)
{
    attn_desc d = attn_desc_default();
    d.out = s->out;
    fuzz_check_gaps(&s->c, &d);
}

static size_t length_at(const step *s, size_t at)
{
    const size_t n = fuzz_length(fuzz_byte(&s->in, at));
    return n < 70 || fuzz_byte(&s->in, at + 1) < 240 ? n % 70 : n;
}

static attn_array operand(step *s, const size_t n[4], size_t layout_at, int first)
{
    const unsigned code = fuzz_byte(&s->in, layout_at);
    attn_array a = fuzz_array(s->type, n, code & 15, code >> 6);
    fuzz_fill(&a, (fuzz_values)(fuzz_byte(&s->in, layout_at + 1) % FUZZ_VALUES_COUNT), &s->c.rng);
    if (first) s->c.desc.q = a;
    else s->c.desc.k = a;
    return a;
}

static size_t at_least_one(size_t n) { return n ? n : 1; }

/* Leaves the longest long: it is the one that crosses a block. */
static void shrink(size_t n[3], size_t most)
{
    while (at_least_one(n[0]) * at_least_one(n[1]) * at_least_one(n[2]) > most) {
        size_t longest = 0, next;
        for (size_t i = 1; i < 3; i++)
            if (n[i] > n[longest]) longest = i;
        next = longest == 0 ? 1 : 0;
        for (size_t i = next + 1; i < 3; i++)
            if (i != longest && n[i] > n[next]) next = i;
        n[n[next] > 3 ? next : longest] /= 2;
    }
}

/* ---- softmax ---- */

static void check_softmax(step *s)
{
    size_t n[4], at[4];
    attn_array in_place;
    attn_exec run = test_on(fuzz_random_path(&s->c));
    const int dims = 1 + (int)(fuzz_byte(&s->in, 8) % MOST_DIMS);
    for (int i = 0; i < 4; i++) n[i] = 1 + fuzz_byte(&s->in, 10 + (size_t)i) % 4;
    s->axis = (int)(fuzz_byte(&s->in, 9) % (2 * (unsigned)dims)) - dims;
    n[4 - dims + (s->axis + dims) % dims] = fuzz_length(fuzz_byte(&s->in, 14));
    if (fuzz_byte(&s->in, 15) & 128 && fuzz_byte(&s->in, 15) < 254 && (s->axis + dims) % dims != dims - 1)
        n[3] = 1 + fuzz_byte(&s->in, 15) % 70; /* columns side by side, of several vectors */
    for (int i = 0; i < 4; i++)                /* short ones beside a long one */
        if (n[0] * n[1] * n[2] * n[3] > 34000 && n[i] <= 4) n[i] = 1;
    if (s->in.size == 16 && fuzz_byte(&s->in, 14) == 255 &&
        fuzz_byte(&s->in, 15) >= 254) { /* as many blocks as are remembered, and more */
        n[0] = n[1] = n[2] = n[3] = 1;
        n[4 - dims + (s->axis + dims) % dims] = 64 * 512 + (fuzz_byte(&s->in, 15) & 1);
    }
    for (int i = 0; i < 4 - dims; i++) n[i] = 1;
    while (n[0] * n[1] * n[2] * n[3] > 34000 && n[3] > 1 && (s->axis + dims) % dims != dims - 1) n[3] /= 2;
    if (s->in.size == 17 && fuzz_byte(&s->in, 14) == 255 && fuzz_byte(&s->in, 15) >= 254 &&
        (s->axis + dims) % dims != dims - 1) {
        n[0] = n[1] = n[2] = 1; /* columns of more blocks than have their maxima remembered */
        n[3] = fuzz_byte(&s->in, 15) & 1 ? 8 : 3;
        n[4 - dims + (s->axis + dims) % dims] = 9 * 512 + 1;
    }
    s->a = operand(s, n, 16, 1);
    if (fuzz_byte(&s->in, 17) >= 248) test_fill(&s->a, -(double)INFINITY);
    s->out = fuzz_array(s->type, n, fuzz_byte(&s->in, 18) & 15, 0);
    s->a = fuzz_slice(&s->a, 1, 0, n[3]);
    for (int i = 0; i < dims; i++) { /* fewer dimensions */
        s->a.shape[i] = s->a.shape[i + 4 - dims];
        s->a.stride[i] = s->a.stride[i + 4 - dims];
    }
    s->out = fuzz_slice(&s->out, 1, 0, n[3]);
    for (int i = 0; i < dims; i++) {
        s->out.shape[i] = s->out.shape[i + 4 - dims];
        s->out.stride[i] = s->out.stride[i + 4 - dims];
    }
    s->a.ndim = s->out.ndim = dims;
    same_on_all_paths(s, "softmax", do_softmax);
    fuzz_within(&s->c, "softmax", ref_check_softmax(&s->a, s->axis, &s->out));
    fuzz_check_nan(&s->c, "softmax", &s->out);

    in_place = test_copy(&s->a);
    {
        step same = *s;
        same.in_place = 1;
        same.out = in_place;
        fuzz_expect(&s->c, "softmax in place", fuzz_run(do_softmax, &same, run), ATTN_OK);
        fuzz_same(&s->c, "softmax", &in_place, "in place", &s->out, "elsewhere", NULL);
    }
    if ((s->axis + dims) % dims != dims - 1) { /* each line by itself in memory */
        step same = *s;
        size_t span = 1;
        same.in_place = 1;
        same.out.data = test_memory(n[0] * n[1] * n[2] * n[3] * attn_dtype_size(s->type), 0);
        for (int i = 0; i < dims; i++) {
            const int axis = (s->axis + 2 * dims - i) % dims;
            same.out.stride[axis] = (ptrdiff_t)span;
            span *= same.out.shape[axis] ? same.out.shape[axis] : 1;
        }
        test_assign(&same.out, &s->a);
        fuzz_expect(&s->c, "softmax turned", fuzz_run(do_softmax, &same, run), ATTN_OK);
        fuzz_same(&s->c, "softmax", &same.out, "turned", &s->out, "as it lies", NULL);
    }
    /* sums, where all is finite */
    n[4 - dims + (s->axis + dims) % dims] = 1;
    for (at[0] = 0; at[0] < n[0]; at[0]++)
        for (at[1] = 0; at[1] < n[1]; at[1]++)
            for (at[2] = 0; at[2] < n[2]; at[2]++)
                for (at[3] = 0; at[3] < n[3]; at[3]++) {
                    const int k = 4 - dims + (s->axis + dims) % dims;
                    const size_t length = ref_length(&s->a, 4 - k);
                    const double u = s->type == ATTN_F64 ? 0x1p-53 : 0x1p-24;
                    ref_sum sum = {0, 0};
                    double error;
                    int finite = 1;
                    size_t e[4];
                    memcpy(e, at, sizeof e);
                    for (e[k] = 0; e[k] < length; e[k]++) {
                        finite &= isfinite((double)ref_get(&s->a, e[0], e[1], e[2], e[3])) != 0;
                        ref_add(&sum, ref_get(&s->out, e[0], e[1], e[2], e[3]));
                    }
                    error = (double)(sum.sum - 1 + sum.rest);
                    if (finite && length > 0 && !(fabs(error) <= 16 * u + (double)length * 0x1p-126))
                        fuzz_fail(&s->c, "softmax: line [%zu, %zu, %zu, %zu] sums to 1 %+g", at[0], at[1], at[2], at[3],
                                  error);
                }
    no_gap_written(s);
}

/* ---- products ---- */

static attn_status do_matmul(const void *what, const attn_exec *run)
{
    const step *s = what;
    return attn_matmul(&s->a, &s->b, &s->out, run);
}

static attn_status do_weighted_sum(const void *what, const attn_exec *run)
{
    const step *s = what;
    return attn_weighted_sum(&s->a, &s->b, &s->out, run);
}

static attn_status do_scores(const void *what, const attn_exec *run)
{
    const step *s = what;
    return attn_scores(&s->a, &s->b, s->scale, &s->out, run);
}

static void check_product(step *s)
{
    const unsigned flags = fuzz_byte(&s->in, 8);
    const size_t batches = ((flags & 5) == 5 ? 1u : 2u) * ((flags & 10) == 10 ? 1u : 3u);
    size_t shape[4], size[3], m, k, n;
    size[0] = length_at(s, 10), size[1] = length_at(s, 12), size[2] = length_at(s, 14);
    shrink(size, 30000 / batches);
    m = size[0], k = size[1], n = size[2];
    shape[0] = flags & 1 ? 1 : 2;
    shape[1] = flags & 2 ? 1 : 3;
    shape[2] = m, shape[3] = k;
    s->a = operand(s, shape, 16, 1);
    shape[0] = flags & 4 ? 1 : 2;
    shape[1] = flags & 8 ? 1 : 3;
    shape[2] = k, shape[3] = n;
    s->b = operand(s, shape, 18, 0);
    shape[0] = (flags & 5) == 5 ? 1 : 2;
    shape[1] = (flags & 10) == 10 ? 1 : 3;
    shape[2] = m;
    s->out = fuzz_array(s->type, shape, fuzz_byte(&s->in, 20) & 15, 0);
    same_on_all_paths(s, "matmul", flags & 16 ? do_weighted_sum : do_matmul);
    if (fuzz_largest(&s->a) * fuzz_largest(&s->b) * (double)(k + 1) <
        (s->type == ATTN_F64 ? 1e307 : 1e38)) /* no partial sum overflows */
        fuzz_within(&s->c, "matmul", ref_check_matmul(&s->a, &s->b, &s->out));
    no_gap_written(s);
}

/* Scores are the raw ones of the fused form. */
static void check_steps(step *s)
{
    attn_desc d = attn_desc_default();
    attn_array raw;
    size_t shape[4] = {1, 2, 0, 0}, size[3], q_len, kv_len, dim;
    size[0] = 1 + length_at(s, 10) % 20, size[1] = 1 + fuzz_length(fuzz_byte(&s->in, 14)),
    size[2] = length_at(s, 12) % 40;
    shrink(size, 8000);
    q_len = size[0] ? size[0] : 1, kv_len = size[1] ? size[1] : 1, dim = size[2];
    shape[2] = q_len, shape[3] = dim;
    s->a = operand(s, shape, 16, 1);
    shape[2] = kv_len;
    s->b = operand(s, shape, 18, 0);
    shape[2] = q_len, shape[3] = kv_len;
    s->out = fuzz_array(s->type, shape, fuzz_byte(&s->in, 20) & 15, 0);
    s->scale = fuzz_byte(&s->in, 21) & 3 ? ((double)fuzz_byte(&s->in, 21) - 100) / 64 : 0;
    same_on_all_paths(s, "scores", do_scores);
    raw = test_copy(&s->out);
    no_gap_written(s);
    d.q = s->a;
    d.k = s->b;
    d.scale = s->scale;
    d.v = test_4d(s->type, 1, 2, kv_len, 1);
    test_fill(&d.v, 1);
    d.out = test_4d(s->type, 1, 2, q_len, 1);
    d.scores = test_4d(s->type, 1, 2, q_len, kv_len);
    d.stage = ATTN_STAGE_RAW;
    fuzz_expect(&s->c, "fused", fuzz_forward(&d, test_on(fuzz_random_path(&s->c))), ATTN_OK);
    s->c.desc = d;
    if (fuzz_tame(&d)) fuzz_same(&s->c, "scores", &raw, "attn_scores", &d.scores, "fused, raw", NULL);
}

/* ---- rotary embedding ---- */

/* Sines and cosines are within 2^-50 (1 + |angle|); the angle errs by two roundings. */
static void check_rotary(step *s)
{
    static const attn_dtype types[4] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};
    const unsigned flags = fuzz_byte(&s->in, 8);
    const size_t dim = length_at(s, 12), rotary = flags & 1 ? dim / 2 / 2 * 2 : dim / 2 * 2;
    const double base = flags & 2 ? 0 : 1 + fuzz_byte(&s->in, 21) * 500.0;
    attn_array positions;
    size_t shape[4] = {1, 2, 3, 0}, at[4];
    double u;
    s->type = types[flags >> 6];
    u = s->type == ATTN_F64 ? 0x1p-53 : s->type == ATTN_F16 ? 0x1p-11 : s->type == ATTN_BF16 ? 0x1p-8 : 0x1p-24;
    shape[3] = dim;
    s->a = operand(s, shape, 16, 1);
    s->out = fuzz_array(s->type, shape, fuzz_byte(&s->in, 18) & 15, 0);
    positions = test_1d(flags & 4 ? ATTN_I32 : ATTN_I64, 3);
    for (size_t i = 0; i < 3; i++)
        ref_set(&positions, 0, 0, 0, i,
                (double)test_below(&s->c.rng, flags & 8 ? (size_t)1 << 30 : 100) * (flags & 16 ? -1 : 1));
    if (rotary == 0) return;
    fuzz_expect(&s->c, "rotary", attn_rotary(&s->a, &positions, base, rotary, flags & 32, &s->out), ATTN_OK);
    for (at[1] = 0; at[1] < 2; at[1]++)
        for (at[2] = 0; at[2] < 3; at[2]++)
            for (size_t i = 0; i < dim; i++) {
                const size_t half = rotary / 2, pair = flags & 32 ? i / 2 : i % half;
                const size_t first = flags & 32 ? 2 * pair : pair, second = flags & 32 ? 2 * pair + 1 : pair + half;
                const ref_real got = ref_get(&s->out, 0, at[1], at[2], i);
                if (i >= rotary) {
                    if (memcmp(ref_at(&s->out, 0, at[1], at[2], i), ref_at(&s->a, 0, at[1], at[2], i),
                               attn_dtype_size(s->type)) != 0)
                        fuzz_fail(&s->c, "rotary: element %zu is not copied", i);
                    continue;
                }
                {
                    const long double x = (long double)ref_get(&s->a, 0, at[1], at[2], first),
                                      y = (long double)ref_get(&s->a, 0, at[1], at[2], second);
                    /* in small steps: tcc forgets long doubles during calls and in long expressions */
                    const long double position = (long double)ref_get(&positions, 0, 0, 0, at[2]);
                    const long double frequency =
                        powl(base > 0 ? (long double)base : 10000, -2 * (long double)pair / (long double)rotary);
                    const long double angle = frequency * position;
                    const long double sine = sinl(angle), cosine = cosl(angle), size = fabsl(angle),
                                      length_x = fabsl(x), length_y = fabsl(y);
                    const long double want = i == first ? x * cosine - y * sine : x * sine + y * cosine;
                    const long double of_angle = 0x1p-50L * (1 + size), of_all = of_angle + 2 * (long double)u;
                    const long double eta = s->type == ATTN_F16   ? 0x1p-24L
                                            : s->type == ATTN_F64 ? 0x1p-1073L
                                                                  : 0x1p-133L;
                    const long double length = length_x + length_y, relative = length * of_all, room = relative + eta;
                    if (!isfinite(x) || !isfinite(y) || fabsl(want) > 60000 || !isfinite(want)) continue;
                    if (!(fabsl((long double)got - want) <= room))
                        fuzz_fail(&s->c, "rotary: [0, %zu, %zu, %zu] is %a, wanted %a within %g (angle %a)", at[1],
                                  at[2], i, (double)got, (double)want, (double)room, (double)angle);
                }
            }
}

static attn_array slice_rows(const attn_array *a, int axis, size_t first) /* one index of an axis from the end */
{
    return fuzz_slice(a, axis, first, 1);
}

/* A rotation of everything that there is is that by the cosines and sines into which it turns unit vectors; to a cache,
 * row by row, the same. */
static void check_rotation(step *s)
{
    static const attn_dtype types[4] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};
    const unsigned flags = fuzz_byte(&s->in, 8), more = fuzz_byte(&s->in, 9);
    const size_t dim = length_at(s, 12), rotary = flags & 1 ? dim / 2 / 2 * 2 : dim / 2 * 2, half = rotary / 2;
    const int sections = (more & 8) != 0, interleaved = (flags & 32) != 0;
    size_t shape[4] = {2, 2, 3, 0};
    attn_rotation r = attn_rotation_default(), tables = r;
    attn_array positions, units, x, cache, lens, cache_want;
    if (rotary == 0) return;
    s->type = types[flags >> 6];
    shape[3] = dim;
    x = operand(s, shape, 16, 1);
    s->a = x;
    s->out = fuzz_array(s->type, shape, fuzz_byte(&s->in, 18) & 15, 0);
    s->b = test_4d(s->type, 2, 2, 3, dim);
    r.base = flags & 2 ? 0 : 1 + fuzz_byte(&s->in, 21) * 500.0;
    r.rotary_dim = rotary;
    r.interleaved = interleaved;
    r.inverse = (more & 1) != 0;
    if (more & 2) r.scale = test_uniform(&s->c.rng);
    if (more & 4) r.magnitude = 2 * test_uniform(&s->c.rng);
    if (more & 16) {
        r.factors = test_1d(more & 32 ? ATTN_F32 : ATTN_F64, half);
        for (size_t i = 0; i < half; i++) ref_set(&r.factors, 0, 0, 0, i, 1 + 40 * test_uniform(&s->c.rng));
    }
    for (size_t i = 0, left = half; i < 4 && sections; i++) {
        r.sections[i] = i < 3 ? test_below(&s->c.rng, left + 1) : left;
        left -= r.sections[i];
    }
    positions = sections ? test_3d(ATTN_I64, 2, 4, 3) : test_2d(ATTN_I32, 2, 3);
    for (size_t e = 0; e < (sections ? 24u : 6u); e++)
        ref_set(&positions, 0, sections ? e / 12 : 0, e / 3 % (sections ? 4 : 2), e % 3,
                (double)test_below(&s->c.rng, flags & 8 ? (size_t)INT32_MAX : 100) * (flags & 16 ? -1 : 1));
    units = test_4d(ATTN_F64, 2, 1, 3, rotary);
    for (size_t e = 0; e < 6 * rotary; e++)
        ref_set(&units, e / rotary / 3, 0, e / rotary % 3, e % rotary,
                interleaved ? e % rotary % 2 == 0 : e % rotary < half);
    fuzz_expect(&s->c, "units", attn_rotate(&r, &units, &positions, &units), ATTN_OK);
    tables.interleaved = interleaved;
    tables.cosine = tables.sine = attn_array_3d(ATTN_F64, units.data, 2, 3, half);
    tables.sine.data = (double *)units.data + (interleaved ? 1 : half);
    tables.cosine.stride[0] = tables.sine.stride[0] = 3 * (ptrdiff_t)rotary;
    tables.cosine.stride[1] = tables.sine.stride[1] = (ptrdiff_t)rotary;
    tables.cosine.stride[2] = tables.sine.stride[2] = interleaved ? 2 : 1;
    fuzz_expect(&s->c, "rotation", attn_rotate(&r, &x, &positions, &s->out), ATTN_OK);
    fuzz_expect(&s->c, "tables", attn_rotate(&tables, &x, NULL, &s->b), ATTN_OK);
    fuzz_same(&s->c, "rotation", &s->out, "angles", &s->b, "tables", NULL);
    cache = test_4d(s->type, 2, 2, 7, dim);
    cache_want = test_copy(&cache);
    lens = test_1d(ATTN_I32, 2);
    for (size_t b = 0; b < 2; b++) ref_set(&lens, 0, 0, 0, b, (double)test_below(&s->c.rng, 5));
    fuzz_expect(&s->c, "rotated to a cache", attn_cache_append_rotated(&cache, &r, &x, &positions, &lens, NULL),
                ATTN_OK);
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < 3; i++) {
            const attn_array to_batch = slice_rows(&cache_want, 4, b), from_batch = slice_rows(&s->out, 4, b),
                             to = slice_rows(&to_batch, 2, (size_t)ref_get(&lens, 0, 0, 0, b) + i),
                             from = slice_rows(&from_batch, 2, i);
            test_assign(&to, &from);
        }
    fuzz_same(&s->c, "rotation", &cache, "to a cache", &cache_want, "then appended", NULL);
}

/* ---- caches ---- */

static void check_cache(step *s)
{
    static const attn_dtype types[3] = {ATTN_F32, ATTN_F16, ATTN_BF16};
    const unsigned flags = fuzz_byte(&s->in, 8);
    const size_t dim = length_at(s, 12) % 20, batch = 1 + (flags & 1), page = 1 + fuzz_byte(&s->in, 10) % 9, pages = 4;
    attn_array cache, lens = test_1d(flags & 2 ? ATTN_I64 : ATTN_I32, batch),
                      table = test_2d(flags & 4 ? ATTN_I64 : ATTN_I32, batch, pages), before;
    size_t shape[4], n = fuzz_byte(&s->in, 11) % (page * pages + 1), most;
    const int paged = (flags & 8) != 0;
    s->type = s->type == ATTN_F64 ? ATTN_F64 : types[flags >> 6 == 3 ? 0 : flags >> 6];
    shape[0] = batch, shape[1] = 2, shape[2] = n, shape[3] = dim;
    s->a = operand(s, shape, 16, 1);
    shape[0] = paged ? batch * pages + 1 : batch;
    shape[2] = paged ? page : page * pages;
    cache = fuzz_array(s->type == ATTN_F64 ? ATTN_F64 : types[(fuzz_byte(&s->in, 18) >> 4 & 3) % 3], shape,
                       fuzz_byte(&s->in, 18) & 15, 0);
    fuzz_fill(&cache, FUZZ_NORMAL, &s->c.rng);
    before = test_copy(&cache);
    most = page * pages - n;
    for (size_t b = 0; b < batch; b++) {
        ref_set(&lens, 0, 0, 0, b, (double)test_below(&s->c.rng, most + 1));
        for (size_t i = 0; i < pages; i++) ref_set(&table, 0, 0, b, i, (double)(batch * pages - b * pages - i));
    }
    fuzz_expect(&s->c, "cache", attn_cache_append(&cache, &s->a, &lens, paged ? &table : NULL), ATTN_OK);
    for (size_t b = 0; b < batch; b++)
        for (size_t i = 0; i < n; i++) {
            const size_t row = (size_t)ref_get(&lens, 0, 0, 0, b) + i;
            for (size_t h = 0; h < 2; h++)
                for (size_t e = 0; e < dim; e++) {
                    const ref_real x = ref_get(&s->a, b, h, i, e);
                    if (paged)
                        ref_set(&before, (size_t)ref_get(&table, 0, 0, b, row / page), h, row % page, e, (double)x);
                    else ref_set(&before, b, h, row, e, (double)x);
                }
        }
    for (size_t b = 0; b < shape[0]; b++)
        for (size_t h = 0; h < 2; h++)
            for (size_t i = 0; i < shape[2]; i++)
                for (size_t e = 0; e < dim; e++) {
                    const ref_real got = ref_get(&cache, b, h, i, e), want = ref_get(&before, b, h, i, e);
                    if (isnan(want) ? !isnan(got) : got != want || signbit(got) != signbit(want))
                        fuzz_fail(&s->c, "cache[%zu, %zu, %zu, %zu] is %a, wanted %a", b, h, i, e, (double)got,
                                  (double)want);
                }
}

/* ---- numbers in 8 bits ---- */

/* A scale or zero point for each group of columns of each index of an axis, or for all of them: bits 0 to 2 are axes
 * that have one for all, 3 to 5 choose among the numbers of groups, 6 drops dimensions of 1. */
static attn_array scales_of(step *s, const attn_array *codes, size_t groups, unsigned code, unsigned layout)
{
    size_t n[4];
    attn_array a;
    for (int axis = 0; axis < 3; axis++) n[axis] = code >> axis & 1 ? 1 : codes->shape[axis];
    n[3] = groups;
    a = fuzz_array(ATTN_F32, n, layout & 15, layout >> 6);
    fuzz_fill(&a, (fuzz_values)(fuzz_byte(&s->in, 22) % FUZZ_VALUES_COUNT), &s->c.rng);
    for (int drop = 0; code & 64 && drop < 3 && a.shape[0] == 1; drop++) {
        for (int i = 0; i + 1 < a.ndim; i++) a.shape[i] = a.shape[i + 1], a.stride[i] = a.stride[i + 1];
        a.ndim--;
    }
    return a;
}

static size_t divisor_of(size_t n, unsigned code)
{
    size_t divisors[64], count = 0;
    for (size_t i = 1; i <= n && count < 64; i++)
        if (n % i == 0) divisors[count++] = i;
    return count ? divisors[code % count] : 1;
}

/* The scale of an element, found or given; NULL: 1. */
static size_t group_of(const attn_array *scale, size_t dim, size_t e) { return e / (dim / ref_length(scale, 1)); }
static float scale_at(const attn_array *scale, size_t b, size_t h, size_t i, size_t dim, size_t e, float absent)
{
    return scale->ndim ? (float)ref_get(scale, b, h, i, group_of(scale, dim, e)) : absent;
}

/* What row i of x becomes as row `at` of place `to`. */
static void encode_row(const attn_array *codes, const attn_array *scale, const attn_array *zero, size_t to, size_t at,
                       const attn_array *x, size_t b, size_t h, size_t i)
{
    const size_t dim = ref_length(x, 1);
    for (size_t e = 0; e < dim; e++) {
        if (codes->dtype == ATTN_Q8_0) {
            unsigned char *const block = ref_at(codes, to, h, at, e);
            const attn_array stored = attn_array_1d(ATTN_F16, block, 1), code = attn_array_1d(ATTN_I8, block + 2, 32);
            float most = 0, found;
            for (size_t j = e / 32 * 32; j < e / 32 * 32 + 32; j++) {
                const float size = fabsf((float)ref_get(x, b, h, i, j));
                if (!isfinite(size)) most = NAN;
                else if (size > most) most = size;
            }
            found = ref_found_scale(most, ATTN_Q8_0);
            ref_set(&stored, 0, 0, 0, 0, (double)found);
            ref_encode(&code, 0, 0, 0, e % 32, (float)ref_get(x, b, h, i, e), found, 0);
        } else
            ref_encode(codes, to, h, at, e, (float)ref_get(x, b, h, i, e), scale_at(scale, to, h, at, dim, e, 1),
                       scale_at(zero, to, h, at, dim, e, 0));
    }
}

/* Found scales become the largest magnitudes of what shares them, NaN where not all is finite; then scales. */
static void raise_scales(const attn_array *scale, size_t to, size_t at, const attn_array *x, size_t b, size_t h,
                         size_t i)
{
    const size_t dim = ref_length(x, 1);
    for (size_t e = 0; e < dim; e++) {
        const size_t g = group_of(scale, dim, e);
        const float most = (float)ref_get(scale, to, h, at, g), size = fabsf((float)ref_get(x, b, h, i, e));
        if (!isfinite(size)) ref_set(scale, to, h, at, g, (double)NAN);
        else if (size > most) ref_set(scale, to, h, at, g, (double)size);
    }
}
static void settle_scale(const attn_array *scale, attn_dtype type, size_t b, size_t h, size_t i, size_t g)
{
    ref_set(scale, b, h, i, g, (double)ref_found_scale((float)ref_get(scale, b, h, i, g), type));
}

static void same_codes(step *s, const char *what, const attn_array *got, const attn_array *want)
{
    const size_t block = attn_dtype_block(got->dtype), size = attn_dtype_size(got->dtype);
    for (size_t b = 0; b < ref_length(got, 4); b++)
        for (size_t h = 0; h < ref_length(got, 3); h++)
            for (size_t i = 0; i < ref_length(got, 2); i++)
                for (size_t e = 0; e < ref_length(got, 1); e += block) {
                    const unsigned char *x = ref_at(got, b, h, i, e), *y = ref_at(want, b, h, i, e);
                    size_t j = 0;
                    while (j < size && x[j] == y[j]) j++;
                    if (j == size) continue;
                    fuzz_fail(&s->c, "%s: byte %zu of [%zu, %zu, %zu, %zu] is %d, wanted %d", what, j, b, h, i, e, x[j],
                              y[j]);
                }
}

/* Rows [0, n) of a batch to their places in a cache. */
typedef struct placing {
    attn_array lens, table;
    size_t page, turns, sinks; /* turns: 0 if it is no ring */
} placing;
static void place_of(const placing *p, size_t b, size_t i, size_t *to, size_t *at)
{
    const size_t row = (size_t)ref_get(&p->lens, 0, 0, 0, b) + i;
    *to = p->table.ndim ? (size_t)ref_get(&p->table, 0, 0, b, row / p->page) : b;
    *at = p->table.ndim ? row % p->page : p->turns && row >= p->sinks ? p->sinks + (row - p->sinks) % p->turns : row;
}

static void check_append(step *s, const attn_array *x, attn_dtype type, int found, int scaled, int zeros)
{
    const unsigned flags = fuzz_byte(&s->in, 8), shared = found ? 0 : fuzz_byte(&s->in, 19);
    const size_t batch = x->shape[0], dim = x->shape[3], pages = 3,
                 groups = divisor_of(dim, fuzz_byte(&s->in, 19) >> 3);
    attn_array cache, scale = test_absent, zero = test_absent, want, want_scale = test_absent;
    placing p = {test_1d(flags & 4 ? ATTN_I64 : ATTN_I32, batch), test_absent, 1 + fuzz_byte(&s->in, 10) / 4 % 9, 0, 0};
    const int ring = !(flags & 8) && flags & 128;
    attn_cache c = attn_cache_default();
    size_t shape[4], most;
    while (p.page * pages < x->shape[2]) p.page++;
    most = p.page * pages - x->shape[2];
    if (flags & 8) p.table = test_2d(flags & 2 ? ATTN_I64 : ATTN_I32, batch, pages);
    shape[0] = flags & 8 ? batch * pages + 1 : batch, shape[1] = x->shape[1], shape[3] = dim;
    shape[2] = flags & 8 ? p.page : p.page * pages;
    if (ring) { /* of any number of rows */
        shape[2] = p.page;
        p.sinks = fuzz_byte(&s->in, 11) / 10 % p.page;
        p.turns = p.page - p.sinks;
        most = 1000;
    }
    cache = s->out = fuzz_array(type, shape, fuzz_byte(&s->in, 18) & 15, fuzz_byte(&s->in, 18) >> 6);
    if (scaled) scale = scales_of(s, &cache, groups, shared, fuzz_byte(&s->in, 20));
    if (zeros) zero = scales_of(s, &cache, flags & 64 ? 1 : groups, fuzz_byte(&s->in, 21), fuzz_byte(&s->in, 20));
    for (size_t b = 0; b < batch; b++) {
        ref_set(&p.lens, 0, 0, 0, b, (double)test_below(&s->c.rng, most + 1));
        for (size_t i = 0; p.table.ndim && i < pages; i++)
            ref_set(&p.table, 0, 0, b, i, (double)(batch * pages - b * pages - i));
    }
    s->c.desc.out = cache, s->c.desc.k_scale = scale, s->c.desc.k_zero = zero;
    fuzz_poison(&s->c.desc);
    want = test_copy(&cache);
    if (scaled) want_scale = test_copy(&scale);
    for (size_t b = 0; b < batch; b++)
        for (size_t h = 0; h < shape[1]; h++)
            for (size_t i = 0, to, at; i < x->shape[2]; i++) {
                place_of(&p, b, i, &to, &at);
                for (size_t g = 0; found && g < groups; g++) ref_set(&want_scale, to, h, at, g, 0);
                if (found) raise_scales(&want_scale, to, at, x, b, h, i);
                for (size_t g = 0; found && g < groups; g++) settle_scale(&want_scale, type, to, h, at, g);
                encode_row(&want, &want_scale, &zero, to, at, x, b, h, i);
            }
    c.data = cache, c.scale = scale, c.zero = zero, c.block_table = p.table;
    c.scaling = found ? ATTN_SCALES_FOUND : ATTN_SCALES_GIVEN;
    c.ring = ring, c.ring_sinks = p.sinks;
    fuzz_expect(&s->c, "cache of 8 bits",
                flags & 128 ? attn_cache_write(&c, x, &p.lens, NULL, NULL)
                            : attn_cache_append_scaled(&cache, scaled ? &scale : NULL, zeros ? &zero : NULL, c.scaling,
                                                       x, &p.lens, p.table.ndim ? &p.table : NULL),
                ATTN_OK);
    if (scaled) fuzz_same(&s->c, "scales", &scale, "of the cache", &want_scale, "the reference", NULL);
    same_codes(s, "cache of 8 bits", &cache, &want);
    no_gap_written(s);
}

/* Quantised, back, and appended to a cache, by scales that are given or found: the reference's bits. */
static void check_codes(step *s)
{
    static const attn_dtype types[5] = {ATTN_I8, ATTN_U8, ATTN_F8_E4M3, ATTN_F8_E5M2, ATTN_Q8_0},
                            floats[4] = {ATTN_F32, ATTN_F16, ATTN_BF16, ATTN_F32};
    const unsigned flags = fuzz_byte(&s->in, 8), kind = fuzz_byte(&s->in, 9);
    const attn_dtype type = types[kind % 5];
    const int found = flags & 1 && type != ATTN_U8 && type != ATTN_Q8_0,
              scaled = found || (type != ATTN_Q8_0 && flags & 2),
              zeros = !found && flags & 4 && (type == ATTN_I8 || type == ATTN_U8);
    attn_array scale = test_absent, zero = test_absent, want, want_scale = test_absent, x, y;
    size_t shape[4], groups;
    shape[0] = 1 + (fuzz_byte(&s->in, 10) & 1), shape[1] = 1 + (fuzz_byte(&s->in, 10) >> 1 & 1);
    shape[2] = fuzz_byte(&s->in, 11) % 10, shape[3] = length_at(s, 12);
    if (type == ATTN_Q8_0) shape[3] = (shape[3] + 31) / 32 * 32;
    if (shape[3] > 300) shape[0] = shape[1] = 1, shape[2] = shape[2] % 2;
    groups = divisor_of(shape[3], fuzz_byte(&s->in, 19) >> 3);
    s->type = floats[kind >> 6];
    x = operand(s, shape, 16, 1);
    if (flags & 16) {
        check_append(s, &x, type, found, scaled, zeros);
        return;
    }
    s->out = fuzz_array(type, shape, fuzz_byte(&s->in, 18) & 15, fuzz_byte(&s->in, 18) >> 6);
    if (scaled) scale = scales_of(s, &s->out, groups, fuzz_byte(&s->in, 19), fuzz_byte(&s->in, 20));
    if (zeros) zero = scales_of(s, &s->out, flags & 64 ? 1 : groups, fuzz_byte(&s->in, 21), fuzz_byte(&s->in, 20));
    s->c.desc.out = s->out, s->c.desc.k_scale = scale, s->c.desc.k_zero = zero;
    fuzz_poison(&s->c.desc);
    want = test_copy(&s->out);
    if (scaled) want_scale = test_copy(&scale);
    if (found) {
        test_fill(&want_scale, 0);
        for (size_t b = 0; b < shape[0]; b++)
            for (size_t h = 0; h < shape[1]; h++)
                for (size_t i = 0; i < shape[2]; i++) raise_scales(&want_scale, b, i, &x, b, h, i);
        for (size_t b = 0; b < ref_length(&scale, 4); b++)
            for (size_t h = 0; h < ref_length(&scale, 3); h++)
                for (size_t i = 0; i < ref_length(&scale, 2); i++)
                    for (size_t g = 0; g < groups; g++) settle_scale(&want_scale, type, b, h, i, g);
    }
    for (size_t b = 0; b < shape[0]; b++)
        for (size_t h = 0; h < shape[1]; h++)
            for (size_t i = 0; i < shape[2]; i++) encode_row(&want, &want_scale, &zero, b, i, &x, b, h, i);
    fuzz_expect(&s->c, "quantize",
                attn_quantize(&x, &s->out, scaled ? &scale : NULL, zeros ? &zero : NULL,
                              found ? ATTN_SCALES_FOUND : ATTN_SCALES_GIVEN),
                ATTN_OK);
    if (scaled) fuzz_same(&s->c, "scales", &scale, "quantize", &want_scale, "the reference", NULL);
    same_codes(s, "quantize", &s->out, &want);

    y = fuzz_array(floats[kind >> 4 & 3], shape, fuzz_byte(&s->in, 23) & 15, 0);
    fuzz_expect(&s->c, "dequantize", attn_dequantize(&s->out, scaled ? &scale : NULL, zeros ? &zero : NULL, &y),
                ATTN_OK);
    want = test_copy(&y);
    for (size_t b = 0; b < shape[0]; b++)
        for (size_t h = 0; h < shape[1]; h++)
            for (size_t i = 0; i < shape[2]; i++)
                for (size_t e = 0; e < shape[3]; e++)
                    ref_set(&want, b, h, i, e, (double)ref_decoded(&s->out, &scale, &zero, b, h, i, e));
    one_nan(&want);
    one_nan(&y);
    fuzz_same(&s->c, "numbers", &y, "dequantize", &want, "the reference", NULL);
    no_gap_written(s);
    s->out = y;
    no_gap_written(s);
}

/* ---- layers ---- */

static void add_bias(const attn_array *rows, const attn_array *bias)
{
    for (size_t i = 0; i < ref_length(rows, 2); i++)
        for (size_t c = 0; c < ref_length(rows, 1); c++) {
            const double x = (double)ref_get(rows, 0, 0, i, c), y = (double)ref_get(bias, 0, 0, 0, c);
            ref_set(rows, 0, 0, i, c, rows->dtype == ATTN_F64 ? x + y : (double)((float)x + (float)y));
        }
}

static attn_status do_layer(const void *what, const attn_exec *run)
{
    return attn_layer_forward((const attn_layer *)what, run);
}

/* A layer is its steps, one after the other. */
static void check_layer(step *s)
{
    const unsigned flags = fuzz_byte(&s->in, 8), more = fuzz_byte(&s->in, 9);
    const size_t length = 1 + length_at(s, 10) % 12, model = 1 + length_at(s, 12) % 12,
                 dim = 1 + fuzz_byte(&s->in, 14) % 6, dim_v = 1 + fuzz_byte(&s->in, 15) % 6;
    const size_t kv_heads = 1 + (flags & 1), heads = kv_heads * (1 + (flags >> 1 & 1));
    const int batched = (more & 4) != 0;
    attn_layer l = attn_layer_default();
    attn_array q = test_2d(s->type, length, heads * dim), k = test_2d(s->type, length, kv_heads * dim),
               v = test_2d(s->type, length, kv_heads * dim_v);
    attn_array joined = test_2d(s->type, length, heads * dim_v), want, x;
    attn_desc d = attn_desc_default();
    const attn_exec run = test_on(fuzz_random_path(&s->c));
    size_t shape[4] = {1, 1, 0, 0};
    shape[2] = length, shape[3] = model;
    s->a = operand(s, shape, 16, 1);
    x = attn_array_2d(s->type, test_copy(&s->a).data, length, model);
    l.x = batched ? attn_array_3d(s->type, x.data, 1, length, model) : x;
    shape[2] = model, shape[3] = heads * dim;
    l.w_q = attn_array_2d(s->type, NULL, model, heads * dim);
    s->b = operand(s, shape, 18, 0);
    l.w_q.data = test_copy(&s->b).data;
    l.w_k = test_2d(s->type, model, kv_heads * dim);
    l.w_v = test_2d(s->type, model, kv_heads * dim_v);
    fuzz_fill(&l.w_k, FUZZ_NORMAL, &s->c.rng);
    fuzz_fill(&l.w_v, FUZZ_NORMAL, &s->c.rng);
    l.num_heads = heads == 1 && more & 8 ? 0 : heads; /* what 0 means */
    l.kv_num_heads = kv_heads == heads && more & 16 ? 0 : kv_heads;
    l.attention.causal = flags >> 2 & 1;
    want = joined;
    if (flags & 8) {
        l.w_o = test_2d(s->type, heads * dim_v, 3);
        fuzz_fill(&l.w_o, FUZZ_NORMAL, &s->c.rng);
        want = test_2d(s->type, length, 3);
    }
    if (more & 1) {
        l.b_q = test_1d(s->type, heads * dim);
        l.b_k = test_1d(s->type, kv_heads * dim);
        l.b_v = test_1d(s->type, kv_heads * dim_v);
        fuzz_fill(&l.b_q, FUZZ_NORMAL, &s->c.rng);
        fuzz_fill(&l.b_k, FUZZ_NORMAL, &s->c.rng);
        fuzz_fill(&l.b_v, FUZZ_NORMAL, &s->c.rng);
        if (flags & 8) {
            l.b_o = test_1d(s->type, 3);
            fuzz_fill(&l.b_o, FUZZ_NORMAL, &s->c.rng);
        }
    }
    if (more & 2) {
        l.weights = test_3d(s->type, heads, length, length);
        d.scores = test_3d(s->type, heads, length, length);
    }
    l.out =
        batched ? test_3d(s->type, 1, length, ref_length(&want, 1)) : test_2d(s->type, length, ref_length(&want, 1));
    fuzz_expect(&s->c, "layer", fuzz_run(do_layer, &l, run), ATTN_OK);

    fuzz_expect(&s->c, "Q K V",
                test_compute_qkv(&x, &l.w_q, &l.w_k, &l.w_v, &q, &k, &v, test_on(fuzz_random_path(&s->c))), ATTN_OK);
    if (more & 1) {
        add_bias(&q, &l.b_q);
        add_bias(&k, &l.b_k);
        add_bias(&v, &l.b_v);
    }
    d.causal = l.attention.causal;
    d.q = attn_array_3d(s->type, q.data, length, heads, dim);
    d.k = attn_array_3d(s->type, k.data, length, kv_heads, dim);
    d.v = attn_array_3d(s->type, v.data, length, kv_heads, dim_v);
    d.out = attn_array_3d(s->type, joined.data, length, heads, dim_v);
    d.q = attn_array_swap(d.q, 0, 1);
    d.k = attn_array_swap(d.k, 0, 1);
    d.v = attn_array_swap(d.v, 0, 1);
    d.out = attn_array_swap(d.out, 0, 1);
    fuzz_expect(&s->c, "attention of a layer", fuzz_forward(&d, test_on(fuzz_random_path(&s->c))), ATTN_OK);
    if (flags & 8)
        fuzz_expect(&s->c, "output projection", test_matmul(&joined, &l.w_o, &want, test_on(fuzz_random_path(&s->c))),
                    ATTN_OK);
    if (flags & 8 && more & 1) add_bias(&want, &l.b_o);
    one_nan(&l.out);
    one_nan(&want);
    fuzz_same(&s->c, "layer", &l.out, "the layer", &want, "its steps", NULL);
    fuzz_same(&s->c, "weights", &l.weights, "the layer", &d.scores, "its steps", NULL);
}

/* ---- the rest ---- */

/* Names, presets, the self-test, arguments that say nothing. */
static void check_small(step *s)
{
    const unsigned code = fuzz_byte(&s->in, 1);
    const int number = (int)code - 100;
    const attn_desc torch = attn_desc_pytorch(number), onnx = attn_desc_onnx(number, code),
                    flash = attn_desc_flash(number, code, -1);
    size_t bytes = 0;
    attn_exec run = test_on(code & 1 ? ATTN_PATH_AUTO : fuzz_random_path(&s->c)), in;
    attn_array a = test_3d(ATTN_F32, 2, 3, 4), swapped = attn_array_swap(a, number, code & 3),
               back = attn_array_swap(swapped, number, code & 3), nowhere = a;
    if (!*attn_status_string((attn_status)number) || !*attn_dtype_name((attn_dtype)number) ||
        !*attn_path_name((attn_path)number) || !*attn_version() || !*attn_arithmetic())
        fuzz_fail(&s->c, "an empty name");
    if (attn_dtype_size((attn_dtype)number) > 8 ||
        attn_path_compiled((attn_path)number) < attn_path_supported((attn_path)number) ||
        attn_path_supported((attn_path)number) < attn_path_native((attn_path)number))
        fuzz_fail(&s->c, "number %d is a type or a path", number);
    if (torch.causal != number || torch.align != ATTN_ALIGN_UPPER_LEFT || onnx.causal != number ||
        onnx.align != ATTN_ALIGN_OFFSET || onnx.q_offset != (int64_t)code || flash.causal != number ||
        flash.align != ATTN_ALIGN_LOWER_RIGHT || !flash.window || flash.window_left != (int64_t)code ||
        flash.window_right != -1)
        fuzz_fail(&s->c, "presets are not what they should be");
    if (strcmp(attn_path_name(ATTN_PATH_COUNT), "unknown") != 0 ||
        strcmp(attn_dtype_name(ATTN_DTYPE_COUNT), "unknown") != 0)
        fuzz_fail(&s->c, "there are more names than paths or types");
    if (attn_array_swap(a, -1, 0).shape[0] != 2 || attn_array_swap(a, 0, 3).shape[0] != 2)
        fuzz_fail(&s->c, "axes that are none are swapped");
    for (int i = 0; i < 3; i++)
        if (back.shape[i] != a.shape[i] || (swapped.shape[i] != a.shape[i] && swapped.stride[i] == 0))
            fuzz_fail(&s->c, "axes swapped twice are not as before");
    nowhere.data = NULL;
    nowhere = attn_array_swap(nowhere, 0, 2);
    if (nowhere.shape[0] != 4 || nowhere.stride[0] != 1) fuzz_fail(&s->c, "without data axes are not swapped");
    run.query = &bytes;
    fuzz_expect(&s->c, "self-test", attn_self_test(&run), ATTN_OK);
    in = attn_exec_in(fuzz_workspace(bytes), bytes - (code & 2 ? 1 : 0));
    in.path = run.path;
    fuzz_expect(&s->c, "self-test", attn_self_test(&in), code & 2 ? ATTN_ERR_WORKSPACE : ATTN_OK);
    in.path = (attn_path)(ATTN_PATH_COUNT + code);
    fuzz_expect(&s->c, "self-test", attn_self_test(&in), ATTN_ERR_PATH);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    step s;
    memset(&s, 0, sizeof s);
    s.in.bytes = s.c.input.bytes = bytes;
    s.in.size = s.c.input.size = size;
    for (size_t i = 0; i < 4; i++) s.c.rng.state |= (uint64_t)fuzz_byte(&s.in, 2 + i) << 8 * i;
    s.type = fuzz_byte(&s.in, 1) & 1 ? ATTN_F64 : ATTN_F32;
    s.c.path = ATTN_PATH_SCALAR;
    s.c.workers = 1 + fuzz_byte(&s.in, 6) % 3;
    s.c.desc = attn_desc_default();
    switch (fuzz_byte(&s.in, 0) == 255 ? 9 : fuzz_byte(&s.in, 0) % 9) {
    case 9: check_small(&s); break;
    case 0:
    case 6: check_softmax(&s); break;
    case 1:
    case 7: check_product(&s); break;
    case 2: check_steps(&s); break;
    case 3: (fuzz_byte(&s.in, 9) & 128 ? check_rotation : check_rotary)(&s); break;
    case 4: check_cache(&s); break;
    case 5: check_layer(&s); break;
    default: check_codes(&s); break;
    }
    if (fuzz_shows) fuzz_print(&s.c);
    fuzz_end(&s.c);
    return 0;
}
