/* SPDX-License-Identifier: MIT-0 */
#include "grammar.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ bytes -- */

int fuzz_shows;

unsigned fuzz_byte(const fuzz_input *input, size_t at) { return at < input->size ? input->bytes[at] : 0; }

/* Small ones mostly; then the widths of vectors, tiles and blocks, and one to
 * either side. */
size_t fuzz_length(unsigned code)
{
    static const uint16_t around[32] = {24,  31,  32,   33,   40,   47,   48,   49,   63,   64,  65,
                                        80,  96,  127,  128,  129,  252,  253,  256,  257,  511, 512,
                                        513, 514, 1000, 1023, 1024, 1025, 1040, 1100, 1536, 1537};
    return code < 224 ? code % 28 : around[code - 224];
}

static size_t at_least_one(size_t n) { return n ? n : 1; }

/* ----------------------------------------------------------------- arrays -- */

/* bits 0 and 1: order of the axes; 2: gaps; 3: one axis runs backwards */
attn_array fuzz_array(attn_dtype type, const size_t n[4], unsigned layout, size_t shift)
{
    static const unsigned char orders[4][4] = {
        {3, 2, 1, 0}, {3, 1, 2, 0}, {2, 3, 1, 0}, {3, 2, 0, 1}}; /* inner to outer */
    const unsigned char *order = orders[layout & 3];
    const size_t size = attn_dtype_size(type);
    const size_t count[4] = {n[0], n[1], n[2], (n[3] + attn_dtype_block(type) - 1) / attn_dtype_block(type)};
    attn_array a = attn_array_4d(type, NULL, n[0], n[1], n[2], n[3]);
    size_t span = 1, offset = 0;
    char *data;
    for (int i = 0; i < 4; i++) {
        const int axis = order[i];
        a.stride[axis] = (ptrdiff_t)span;
        span *= at_least_one(count[axis]);
        if (layout & 4) span += 1 + (size_t)i;
    }
    if (layout & 8) {
        const int axis = count[3] > 2 && (layout & 3) == 2 ? 3 : 2;
        if (n[axis] > 0) offset = (count[axis] - 1) * (size_t)a.stride[axis];
        a.stride[axis] = -a.stride[axis];
    }
    if (layout == 0) memset(a.stride, 0, sizeof a.stride);
    if (n[0] * n[1] * n[2] * n[3] == 0) span = 0, offset = 0;
    data = test_memory(span * size, shift * size);
    a.data = data + offset * size;
    return a;
}

/* Explicit strides, as parts of an array need them. */
static attn_array strided(const attn_array *a)
{
    attn_array s = *a;
    ptrdiff_t stride = 1;
    for (int i = 0; i < a->ndim; i++)
        if (a->stride[i] != 0) return s;
    for (int i = a->ndim - 1; i >= 0; i--) {
        s.stride[i] = stride;
        const size_t block = i == a->ndim - 1 ? attn_dtype_block(a->dtype) : 1;
        stride *= (ptrdiff_t)at_least_one((a->shape[i] + block - 1) / block);
    }
    return s;
}

attn_array fuzz_slice(const attn_array *a, int from_end, size_t first, size_t count)
{
    attn_array s = strided(a);
    const int axis = a->ndim - from_end;
    if (axis < 0 || a->ndim == 0 || (a->shape[axis] == 1 && count != 0 && first == 0)) return s;
    if (s.data && first)
        s.data = (char *)s.data + (ptrdiff_t)first * s.stride[axis] * (ptrdiff_t)attn_dtype_size(a->dtype);
    s.shape[axis] = count;
    return s;
}

/* Leaves out leading dimensions of 1, as many as asked for, but for the last `least`. */
static void shorten(attn_array *a, unsigned by, int least)
{
    attn_array s = strided(a);
    int drop = 0;
    while (drop < (int)by && a->ndim - drop > least && a->shape[drop] == 1) drop++;
    if (drop == 0) return;
    s.ndim = a->ndim - drop;
    for (int i = 0; i < ATTN_MAX_DIMS; i++) {
        s.shape[i] = i < s.ndim ? a->shape[i + drop] : 0;
        s.stride[i] = i < s.ndim ? strided(a).stride[i + drop] : 0;
    }
    *a = s;
}

/* Repeats what is at index 0 of an axis; only with explicit strides, of which one stays. */
static void broadcast(attn_array *a, int axis)
{
    *a = strided(a);
    a->stride[axis] = 0;
}

/* ----------------------------------------------------------------- values -- */

void fuzz_set_bits(const attn_array *a, size_t i0, size_t i1, size_t i2, size_t i3, uint64_t bits)
{
    unsigned char bytes[8];
    const size_t size = attn_dtype_size(a->dtype);
    for (size_t i = 0; i < sizeof bytes; i++) /* little-endian input, on every machine */
        bytes[i] = (unsigned char)(bits >> 8 * i);
    if (a->dtype == ATTN_Q8_0) {
        const uint16_t scale = (uint16_t)bits;
        unsigned char *const block = ref_at(a, i0, i1, i2, i3);
        memcpy(block, &scale, 2);
        block[2 + i3 % 32] = bytes[2];
    } else if (size == 8) {
        memcpy(ref_at(a, i0, i1, i2, i3), &bits, 8);
    } else if (size == 4) {
        const uint32_t narrow = (uint32_t)bits;
        memcpy(ref_at(a, i0, i1, i2, i3), &narrow, 4);
    } else if (size == 2) {
        const uint16_t narrow = (uint16_t)bits;
        memcpy(ref_at(a, i0, i1, i2, i3), &narrow, 2);
    } else {
        memcpy(ref_at(a, i0, i1, i2, i3), bytes, 1);
    }
}

typedef struct float_format {
    int bits, fraction;
    double largest;
} float_format;

static float_format format_of(attn_dtype type)
{
    static const float_format f32 = {32, 23, (double)FLT_MAX}, f64 = {64, 52, DBL_MAX}, f16 = {16, 10, 65504},
                              bf16 = {16, 7, 0x1.fep127}, e4m3 = {8, 3, 448}, e5m2 = {8, 2, 57344};
    static const float_format whole = {8, 7, 255}; /* all bits are good */
    switch (type) {
    case ATTN_F64: return f64;
    case ATTN_F16: return f16;
    case ATTN_BF16: return bf16;
    case ATTN_F8_E4M3: return e4m3;
    case ATTN_F8_E5M2: return e5m2;
    case ATTN_I8:
    case ATTN_U8: return whole;
    default: return f32;
    }
}

static uint64_t exponent_mask(float_format f) { return (((uint64_t)1 << (f.bits - 1 - f.fraction)) - 1) << f.fraction; }

/* Limits, with either sign: 0, smallest, largest denormal, smallest normal, 1, the
 * number after 1, largest, infinity, NaN, NaN with another payload. */
static uint64_t special_bits(float_format f, uint64_t random)
{
    const uint64_t exponent = exponent_mask(f), one = (uint64_t)1 << f.fraction;
    const uint64_t table[10] = {
        0,
        1,
        one - 1,
        one,
        exponent >> 1 & exponent,
        (exponent >> 1 & exponent) + 1,
        exponent - 1,
        exponent,
        exponent | one >> 1,
        exponent | one >> 1 | (random >> 32 & 7),
    };
    return table[(random >> 8) % 10] | (random & 1) << (f.bits - 1);
}

static void fill_one(const attn_array *a, const size_t at[4], fuzz_values values, test_rng *rng)
{
    const float_format f = format_of(a->dtype);
    const uint64_t random = test_u64(rng), rare = random >> 40 & 15;
    uint64_t bits = test_u64(rng);
    double x;
    switch (values) {
    case FUZZ_NORMAL: x = test_normal(rng); break;
    case FUZZ_SMALL: x = test_normal(rng) * (f.largest == 255 ? 64 : 1.0 / 16); break; /* of small scales */
    case FUZZ_LARGE: x = test_normal(rng) * 16; break;
    case FUZZ_INTEGERS: x = (double)(random % 5) - 2; break;
    case FUZZ_ONES: x = 1; break;
    case FUZZ_ZEROS: x = random & 1 ? 0.0 : -0.0; break;
    case FUZZ_TINY: x = rare ? 0x1p-25 : 1; break;
    case FUZZ_PEAKED: x = rare ? 0 : 100; break;
    case FUZZ_DENORMAL: fuzz_set_bits(a, at[0], at[1], at[2], at[3], bits & ~exponent_mask(f)); return;
    case FUZZ_WIDE:
        if ((bits & exponent_mask(f)) == exponent_mask(f)) bits ^= (uint64_t)1 << f.fraction;
        fuzz_set_bits(a, at[0], at[1], at[2], at[3], bits);
        return;
    case FUZZ_HUGE:
        x = random & 2 ? f.largest * (2 * test_uniform(rng) - 1) : random & 1 ? f.largest : -f.largest;
        break;
    case FUZZ_SOME_HUGE: x = rare ? test_normal(rng) : random & 1 ? f.largest : -f.largest; break;
    case FUZZ_SOME_NAN: x = rare ? test_normal(rng) : (double)NAN; break;
    case FUZZ_SOME_INFINITE: x = rare ? test_normal(rng) : random & 1 ? (double)INFINITY : -(double)INFINITY; break;
    case FUZZ_SPECIAL: fuzz_set_bits(a, at[0], at[1], at[2], at[3], special_bits(f, random)); return;
    case FUZZ_BITS:
    default: fuzz_set_bits(a, at[0], at[1], at[2], at[3], bits); return;
    }
    ref_set(a, at[0], at[1], at[2], at[3], x);
}

static void fill_block(const attn_array *a, const size_t at[4], fuzz_values values, test_rng *rng)
{
    char *const block = ref_at(a, at[0], at[1], at[2], at[3]);
    const attn_array scale = attn_array_1d(ATTN_F16, block, 1), numbers = attn_array_1d(ATTN_I8, block + 2, 32);
    fuzz_fill(&scale, values, rng);
    fuzz_fill(&numbers, values, rng);
}

void fuzz_fill(const attn_array *a, fuzz_values values, test_rng *rng)
{
    const size_t unit = attn_dtype_block(a->dtype);
    size_t at[4];
    for (at[0] = 0; at[0] < ref_length(a, 4); at[0]++)
        for (at[1] = 0; at[1] < ref_length(a, 3); at[1]++)
            for (at[2] = 0; at[2] < ref_length(a, 2); at[2]++)
                for (at[3] = 0; at[3] < ref_length(a, 1); at[3] += unit)
                    (unit == 1 ? fill_one : fill_block)(a, at, values, rng);
}

/* Raw elements at the end of the input. */
static void patch(fuzz_case *c)
{
    const attn_array *operands[FUZZ_CODED_OPERANDS];
    const fuzz_input *in = &c->input;
    const int coded = fuzz_has_codes(&c->desc);
    const unsigned count = coded ? FUZZ_CODED_OPERANDS : FUZZ_OPERANDS;
    size_t at = coded ? FUZZ_AT_CODED_PATCHES : FUZZ_AT_PATCHES;
    operands[0] = &c->desc.q, operands[1] = &c->desc.k, operands[2] = &c->desc.v;
    operands[3] = &c->desc.mask, operands[4] = &c->desc.alibi, operands[5] = &c->desc.sinks;
    operands[6] = &c->desc.k_scale, operands[7] = &c->desc.v_scale;
    operands[8] = &c->desc.k_zero, operands[9] = &c->desc.v_zero;
    while (at + 3 < in->size) {
        const attn_array *a = operands[fuzz_byte(in, at) % count];
        size_t element = fuzz_byte(in, at + 1) | fuzz_byte(in, at + 2) << 8, index[4];
        const size_t size = a->dtype == ATTN_Q8_0 ? 3 : attn_dtype_size(a->dtype);
        uint64_t bits = 0;
        int empty = a->ndim == 0;
        for (size_t i = 0; i < size; i++) bits |= (uint64_t)fuzz_byte(in, at + 3 + i) << 8 * i;
        for (int i = 3; i >= 0; i--) {
            const size_t n = ref_length(a, 4 - i);
            index[i] = n ? element % n : 0;
            element = n ? element / n : 0;
            empty |= n == 0;
        }
        if (!empty) fuzz_set_bits(a, index[0], index[1], index[2], index[3], bits);
        at += 3 + size;
    }
}

/* ----------------------------------------------------------------- decode -- */

static attn_dtype type_of(unsigned code, attn_dtype q)
{
    static const attn_dtype narrow[4] = {ATTN_F32, ATTN_F16, ATTN_BF16, ATTN_F32};
    return q == ATTN_F64 ? ATTN_F64 : narrow[code & 3];
}

/* Of 8 bits, if the code says so, and q is no float64. */
static attn_dtype coded_type(unsigned code, attn_dtype plain)
{
    static const attn_dtype types[5] = {ATTN_I8, ATTN_U8, ATTN_F8_E4M3, ATTN_F8_E5M2, ATTN_Q8_0};
    return plain == ATTN_F64 || (code & 7) < 3 ? plain : types[(code & 7) - 3];
}

int fuzz_coded(const attn_array *a) { return a->dtype >= ATTN_I8; }
int fuzz_has_codes(const attn_desc *d) { return fuzz_coded(&d->k) || fuzz_coded(&d->v); }

/* Rows of whole blocks, or of whole vectors where that is asked for. */
static size_t whole_blocks(size_t dim, attn_dtype type, int vectors)
{
    const size_t unit = type == ATTN_Q8_0 || (vectors && type >= ATTN_I8) ? 32 : 1;
    return (dim + unit - 1) / unit * unit;
}

typedef struct dimensions {
    size_t batch, kv_heads, group, q_len, kv_len, dim, dim_v;
} dimensions;

/* Keys are the last to be shortened: only many of them cross a block, and those
 * inputs, one in sixteen, may take longer. */
static void shrink(dimensions *n, size_t most)
{
    /* four blocks: a tree of them is no chain; queries of several tasks */
    const size_t needs = n->kv_len > 1500 ? 48000 : n->kv_len >= 500 ? 16000 : n->q_len >= 250 ? 8000 : 0;
    if (most > 1000 && most < needs) most = needs;
    while (at_least_one(n->batch * n->kv_heads) * n->group * at_least_one(n->q_len) * at_least_one(n->kv_len) *
               (n->dim + n->dim_v + 8) >
           most) {
        if (n->q_len > 6) n->q_len = (n->q_len + 1) / 2;
        else if (n->dim_v > 20 && n->dim_v >= n->dim) n->dim_v -= n->dim_v / 2;
        else if (n->dim > 20) n->dim -= n->dim / 2;
        else if (n->group * n->kv_heads * n->batch > 2 && n->group > 1) n->group--;
        else if (n->batch > 1) n->batch--;
        else if (n->kv_heads > 1) n->kv_heads--;
        else if (n->q_len > 1) n->q_len--;
        else if (n->dim > 1 || n->dim_v > 1) n->dim -= n->dim / 2, n->dim_v -= n->dim_v / 2;
        else if (n->group > 1) n->group--;
        else n->kv_len /= 2;
    }
}

static double scale_of(unsigned code, attn_dtype type)
{
    static const double scales[16] = {
        0, 0, 0, 1, 0.125, -0.5, 8, 1e-3, -1e-20, 1e20, 0x1.fffffep127, -0x1.fffffep127, 0x1p-149, 1e-60, 3, 0x1p-126};
    return code == 255 && type == ATTN_F64 ? DBL_MAX : code == 254 && type == ATTN_F64 ? 0x1p-1074 : scales[code & 15];
}

static double softcap_of(unsigned code)
{
    static const double caps[16] = {30,    50,       1,     0.01, 5,       1e4,       1e20,           1e38,
                                    1e-20, 0x1p-140, 1e-60, 1e60, DBL_MAX, 0x1p-1074, 0x1.fffffep127, 20};
    return caps[code & 15];
}

static int64_t side_of(unsigned code)
{
    return code == 255   ? -1
           : code == 254 ? INT64_MAX
           : code == 253 ? (int64_t)1 << 62
           : code >= 240 ? 100 * (int64_t)(code - 239)
                         : code % 40;
}

static void decode_position(fuzz_case *c)
{
    const fuzz_input *in = &c->input;
    const unsigned flags = fuzz_byte(in, FUZZ_AT_POSITION);
    attn_desc *d = &c->desc;
    d->causal = (flags & 1) != 0;
    d->align = (attn_align)((flags >> 1 & 3) % ATTN_ALIGN_COUNT);
    d->window = (flags >> 3 & 1) != 0;
    d->softcap = flags & 16 ? softcap_of(fuzz_byte(in, FUZZ_AT_SOFTCAP)) : 0;
    d->scale = scale_of(fuzz_byte(in, FUZZ_AT_SCALE), d->q.dtype);
    d->q_offset = (int8_t)fuzz_byte(in, FUZZ_AT_OFFSET);
    switch (fuzz_byte(in, FUZZ_AT_OFFSET + 1)) {
    case 255: d->q_offset = d->q_offset < 0 ? -((int64_t)1 << 62) : (int64_t)1 << 62; break;
    case 254: d->q_offset *= (int64_t)1 << 47; break;
    case 252: d->q_offset *= (int64_t)1 << 24; break; /* where float32 no longer counts */
    case 250: d->q_offset *= (int64_t)1 << 17; break;
    default: d->q_offset *= fuzz_byte(in, FUZZ_AT_OFFSET + 1) & 1 ? 16 : 1; break;
    }
    d->window_left = side_of(fuzz_byte(in, FUZZ_AT_LEFT));
    d->window_right = side_of(fuzz_byte(in, FUZZ_AT_RIGHT));
}

static fuzz_values values_of(unsigned code, const fuzz_limits *limits)
{
    return (fuzz_values)((code & 15) % ((unsigned)limits->most + 1));
}

static void decode_mask(fuzz_case *c, const dimensions *n, unsigned kind)
{
    const fuzz_input *in = &c->input;
    const unsigned flags = fuzz_byte(in, FUZZ_AT_BROADCAST), density = fuzz_byte(in, FUZZ_AT_DENSITY);
    const unsigned ndim = fuzz_byte(in, FUZZ_AT_NDIM), place = fuzz_byte(in, FUZZ_AT_OPTIONS) >> 6;
    const attn_dtype truth_type = fuzz_byte(in, FUZZ_AT_POSITION) & 32 ? ATTN_BIT : ATTN_BOOL;
    attn_desc *d = &c->desc;
    size_t shape[4], at[4];
    d->mask_place = (attn_mask_place)(place % ATTN_MASK_PLACE_COUNT);
    shape[0] = flags & 1 ? 1 : n->batch;
    shape[1] = flags & 2 ? 1 : n->kv_heads * n->group;
    shape[2] = flags & 4 ? 1 : n->q_len;
    shape[3] = n->kv_len;
    if (d->mask_place != ATTN_MASK_ALL) shape[3] = test_below(&c->rng, n->kv_len + 1);
    d->mask = fuzz_array(kind == 1 ? truth_type : type_of(fuzz_byte(in, FUZZ_AT_MORE_TYPES), d->q.dtype), shape,
                         fuzz_byte(in, FUZZ_AT_LAYOUT_MS) & 15, 0);
    if (kind == 2) fuzz_fill(&d->mask, c->values[3], &c->rng);
    for (at[0] = 0; at[0] < shape[0]; at[0]++)
        for (at[1] = 0; at[1] < shape[1]; at[1]++)
            for (at[2] = 0; at[2] < shape[2]; at[2]++) {
                const uint64_t row = test_u64(&c->rng); /* some rows keep everything, some nothing */
                const uint64_t truth = row & 256 ? 1 : 1 + row % 255;
                for (at[3] = 0; at[3] < shape[3]; at[3]++) {
                    const int keep = row % 16 == 0 ? 0 : row % 16 == 1 ? 1 : (test_u64(&c->rng) & 255) >= density;
                    if (kind == 1 && truth_type == ATTN_BIT) ref_set(&d->mask, at[0], at[1], at[2], at[3], keep);
                    else if (kind == 1)
                        ref_set(&d->mask, at[0], at[1], at[2], at[3], 0),
                            fuzz_set_bits(&d->mask, at[0], at[1], at[2], at[3], keep ? truth : 0);
                    else if (!keep) ref_set(&d->mask, at[0], at[1], at[2], at[3], -(double)INFINITY);
                }
            }
    if (ndim & 0x80) shorten(&d->mask, 1 + (ndim >> 4 & 3), 1);
}

/* Ascending intervals, some empty; bits 0 and 1 of the mask's density: how many. */
static void decode_bounds(fuzz_case *c, const dimensions *n, size_t batch)
{
    const size_t count = fuzz_byte(&c->input, FUZZ_AT_DENSITY) & 3;
    const attn_dtype type = fuzz_byte(&c->input, FUZZ_AT_MORE_TYPES) & 128 ? ATTN_I64 : ATTN_I32;
    const attn_array bounds = c->desc.q_bounds =
        batch > 1 ? test_3d(type, batch, n->q_len, 2 * count) : test_2d(type, n->q_len, 2 * count);
    for (size_t b = 0; b < batch; b++)
        for (size_t i = 0; i < n->q_len; i++) {
            const uint64_t row = test_u64(&c->rng); /* some begin before the first key */
            int64_t at = row % 8 ? 0 : -(int64_t)(row >> 8 & 15);
            for (size_t r = 0; r < 2 * count; r++) {
                const int empty = r % 2 && (row >> (16 + r) & 3) == 0;
                if (!empty) at += (int64_t)test_below(&c->rng, n->kv_len / count + 2);
                ref_set(&bounds, 0, b, i, r, (double)(empty ? at - (int64_t)(row >> 32 & 7) : at));
            }
        }
}

/* Of a shape and from a distance that no byte says; values and layout are the mask's. */
static void decode_relative(fuzz_case *c, const dimensions *n, int clamp)
{
    const fuzz_input *in = &c->input;
    const uint64_t random = test_u64(&c->rng);
    attn_desc *d = &c->desc;
    size_t shape[4];
    shape[0] = random & 1 ? n->batch : 1;
    shape[1] = random & 2 ? n->kv_heads * n->group : 1;
    shape[2] = random & 4 ? n->q_len : 1;
    shape[3] = 1 + test_below(&c->rng, random & 8 ? n->q_len + n->kv_len + 1 : 20);
    d->rel_bias = fuzz_array(type_of(fuzz_byte(in, FUZZ_AT_MORE_TYPES), d->q.dtype), shape,
                             fuzz_byte(in, FUZZ_AT_LAYOUT_MS) & 15, 0);
    fuzz_fill(&d->rel_bias, c->values[3], &c->rng);
    for (size_t b = 0; random & 16 && b < shape[0]; b++) /* drops runs of keys */
        for (size_t h = 0; h < shape[1]; h++)
            for (size_t i = 0; i < shape[2]; i++)
                for (size_t e = test_below(&c->rng, shape[3] + 1), to = e + test_below(&c->rng, shape[3] + 1 - e);
                     e < to; e++)
                    ref_set(&d->rel_bias, b, h, i, e, -(double)INFINITY);
    d->rel_first = (random & 32 ? d->q_offset / 4 : 0) - (int64_t)test_below(&c->rng, n->kv_len + 20) +
                   (int64_t)test_below(&c->rng, n->q_len + 20);
    if (random & 64) shorten(&d->rel_bias, 1 + (random >> 7 & 3), 1);
    d->rel_clamp = clamp;
}

static attn_array decode_lens(fuzz_case *c, size_t n, size_t most)
{
    const attn_dtype type = fuzz_byte(&c->input, FUZZ_AT_MORE_TYPES) & 128 ? ATTN_I64 : ATTN_I32;
    attn_array lens = test_1d(type, n);
    for (size_t b = 0; b < n; b++)
        ref_set(&lens, 0, 0, 0, b, (double)(test_u64(&c->rng) % 4 ? test_below(&c->rng, most + 1) : most));
    return lens;
}

static void decode_options(fuzz_case *c, const dimensions *n)
{
    const fuzz_input *in = &c->input;
    const unsigned flags = fuzz_byte(in, FUZZ_AT_OPTIONS), types = fuzz_byte(in, FUZZ_AT_MORE_TYPES);
    const size_t heads = n->kv_heads * n->group;
    attn_desc *d = &c->desc;
    if (flags & 1) d->kv_lens = decode_lens(c, n->batch, n->kv_len);
    if (flags & 2) {
        const size_t rows = fuzz_byte(in, FUZZ_AT_BROADCAST) & 128 ? 1 : n->batch;
        d->alibi = flags & 4 ? test_2d(type_of(types >> 6, d->q.dtype), rows, heads)
                             : test_1d(type_of(types >> 6, d->q.dtype), heads);
        fuzz_fill(&d->alibi, c->values[4], &c->rng);
    }
    if (flags & 8) {
        d->sinks = test_1d(type_of(types >> 4, d->q.dtype), heads);
        fuzz_fill(&d->sinks, c->values[5], &c->rng);
    }
    if ((flags >> 4 & 3) == 1 || (flags >> 4 & 3) == 2) decode_mask(c, n, flags >> 4 & 3);
    if (flags & 64) decode_bounds(c, n, flags & 128 ? n->batch : 1);
    if (fuzz_byte(in, FUZZ_AT_POSITION) & 64) decode_relative(c, n, fuzz_byte(in, FUZZ_AT_POSITION) > 127);
}

static void decode_outputs(fuzz_case *c, const dimensions *n)
{
    const fuzz_input *in = &c->input;
    const unsigned flags = fuzz_byte(in, FUZZ_AT_OUTPUTS), types = fuzz_byte(in, FUZZ_AT_MORE_TYPES),
                   part = fuzz_byte(in, FUZZ_AT_SCORES);
    const size_t heads = n->kv_heads * n->group;
    const attn_dtype compute = c->desc.q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32;
    attn_desc *d = &c->desc;
    size_t shape[4];
    shape[0] = n->batch, shape[1] = heads, shape[2] = n->q_len, shape[3] = n->dim_v;
    d->out = fuzz_array(type_of(fuzz_byte(in, FUZZ_AT_TYPES) >> 6, d->q.dtype), shape,
                        fuzz_byte(in, FUZZ_AT_LAYOUT_VO) >> 4, fuzz_byte(in, FUZZ_AT_SHIFT_VO) >> 4);
    if (flags & 1) d->lse = test_3d(type_of(types >> 2, d->q.dtype), n->batch, heads, n->q_len);
    if (flags & 32) d->rowmax = test_3d(type_of(types >> 2, d->q.dtype), n->batch, heads, n->q_len);
    if (flags & 64) d->rowsum = test_3d(type_of(types >> 2, d->q.dtype), n->batch, heads, n->q_len);
    if (flags & 2) d->colsum = test_3d(compute, n->batch, heads, n->kv_len);
    d->stage = (attn_stage)(flags >> 3 & 3);
    if (flags & 4) {
        if (part & 1) { /* some heads, some queries; both may be none */
            d->scores_head = (part >> 1 & 3) % (heads + 1);
            d->scores_query = (part >> 3 & 3) % (n->q_len + 1);
        }
        shape[1] = heads - d->scores_head;
        shape[2] = n->q_len - d->scores_query;
        if (part & 64 && shape[2] > 0) shape[2]--;
        if (part & 128 && shape[1] > 0) shape[1]--;
        shape[3] = n->kv_len;
        d->scores = fuzz_array(type_of(types >> 4, d->q.dtype), shape, fuzz_byte(in, FUZZ_AT_LAYOUT_MS) >> 4, 0);
    }
    if (fuzz_byte(in, FUZZ_AT_NDIM) & 0x40) {
        shorten(&d->out, 2, 2);
        shorten(&d->scores, 2, 2);
        shorten(&d->lse, 2, 1);
        shorten(&d->colsum, 2, 1);
        shorten(&d->rowmax, 2, 1);
        shorten(&d->rowsum, 2, 1);
    }
}

static void decode_operands(fuzz_case *c, const dimensions *n)
{
    const fuzz_input *in = &c->input;
    const unsigned flags = fuzz_byte(in, FUZZ_AT_BROADCAST), ndim = fuzz_byte(in, FUZZ_AT_NDIM);
    attn_desc *d = &c->desc;
    size_t shape[4];
    shape[0] = n->batch, shape[1] = n->kv_heads * n->group, shape[2] = n->q_len, shape[3] = n->dim;
    d->q = fuzz_array(d->q.dtype, shape, fuzz_byte(in, FUZZ_AT_LAYOUT_QK) & 15, fuzz_byte(in, FUZZ_AT_SHIFT_QK) & 15);
    shape[1] = n->kv_heads, shape[2] = n->kv_len;
    d->k = fuzz_array(d->k.dtype, shape, fuzz_byte(in, FUZZ_AT_LAYOUT_QK) >> 4, fuzz_byte(in, FUZZ_AT_SHIFT_QK) >> 4);
    shape[3] = n->dim_v;
    d->v = fuzz_array(d->v.dtype, shape, fuzz_byte(in, FUZZ_AT_LAYOUT_VO) & 15, fuzz_byte(in, FUZZ_AT_SHIFT_VO) & 15);
    if (flags & 8 && n->q_len > 1 && n->dim > 1) broadcast(&d->q, 0);
    if (flags & 16 && n->kv_len > 1 && n->dim > 1) broadcast(&d->k, flags & 64 ? 1 : 0);
    if (flags & 32 && n->kv_len > 1 && n->dim_v > 1) broadcast(&d->v, flags & 64 ? 1 : 0);
    fuzz_fill(&d->q, c->values[0], &c->rng);
    fuzz_fill(&d->k, c->values[1], &c->rng);
    fuzz_fill(&d->v, c->values[2], &c->rng);
    shorten(&d->q, ndim & 3, 2);
    shorten(&d->k, ndim >> 2 & 3, 2);
    shorten(&d->v, ndim >> 2 & 3, 2);
}

/* Scales, or zero points, of k or v, beside `others`. bits 0 to 2: how many columns share one; 3 to 5: of dimensions 1
 * the others have those of k or v; 6 and 7: fewer dimensions, a stride of 0 */
static attn_array scales_of(fuzz_case *c, const attn_array *of, const attn_array *others, unsigned code,
                            unsigned layout, fuzz_values values)
{
    static const unsigned char few[8] = {0, 1, 2, 4, 8, 16, 32, 3}, many[8] = {0, 16, 32, 8, 16, 64, 16, 48};
    const size_t dim = ref_length(of, 1), shared = (dim % 32 ? few : many)[code & 7];
    size_t shape[4];
    attn_array a;
    for (int i = 0; i < 3; i++) shape[i] = code >> (3 + i) & 1 ? ref_length(of, 4 - i) : 1;
    shape[3] = shared ? at_least_one(dim / shared) : 1;
    while (dim % shape[3]) shape[3]--;
    if (shape[3] > 1 && ref_length(others, 1) > 1) shape[3] = ref_length(others, 1);
    a = fuzz_array(ATTN_F32, shape, layout, 0);
    if (code & 128) broadcast(&a, code & 64 ? 2 : 1);
    fuzz_fill(&a, values, &c->rng);
    if ((code >> 6) == 1) shorten(&a, 3, 1);
    return a;
}

static void decode_scales(fuzz_case *c)
{
    const fuzz_input *in = &c->input;
    const unsigned present = fuzz_byte(in, FUZZ_AT_SCALED);
    attn_desc *d = &c->desc;
    attn_array *const scales[4] = {&d->k_scale, &d->v_scale, &d->k_zero, &d->v_zero};
    for (unsigned i = 0; i < 4; i++) {
        const attn_array *of = i % 2 ? &d->v : &d->k;
        const unsigned code = fuzz_byte(in, FUZZ_AT_SCALE_SHAPES + i),
                       layout = fuzz_byte(in, FUZZ_AT_SCALE_LAYOUTS) >> 4 * (i % 2) & 15;
        if (!(present >> i & 1) || !fuzz_coded(of) || of->dtype == ATTN_Q8_0) continue;
        if (i < 2 || of->dtype == ATTN_I8 || of->dtype == ATTN_U8)
            *scales[i] = scales_of(c, of, scales[i % 2], code, layout, c->values[FUZZ_OPERANDS + i]);
    }
}

void fuzz_decode(fuzz_case *c, const uint8_t *bytes, size_t size, const fuzz_limits *limits)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    dimensions n;
    unsigned code, types, scaled;
    fuzz_input *in = &c->input;
    memset(c, 0, sizeof *c);
    in->bytes = bytes;
    in->size = size;
    for (size_t i = 0; i < 4; i++) c->rng.state |= (uint64_t)fuzz_byte(in, FUZZ_AT_SEED + i) << 8 * i;

    c->desc = attn_desc_default();
    types = fuzz_byte(in, FUZZ_AT_TYPES), code = fuzz_byte(in, FUZZ_AT_CODES), scaled = fuzz_byte(in, FUZZ_AT_SCALED);
    c->desc.q.dtype = limits->only != ATTN_DTYPE_COUNT ? limits->only : (attn_dtype)(types & 3);
    c->desc.k.dtype = coded_type(code, type_of(types >> 2, c->desc.q.dtype));
    c->desc.v.dtype = coded_type(code >> 3, type_of(types >> 4, c->desc.q.dtype));
    n.batch = fuzz_byte(in, FUZZ_AT_BATCH) == 255 ? 0 : 1 + fuzz_byte(in, FUZZ_AT_BATCH) % 3;
    n.kv_heads = 1 + fuzz_byte(in, FUZZ_AT_KV_HEADS) % 3;
    n.group = 1 + fuzz_byte(in, FUZZ_AT_GROUP) % 5;
    n.q_len = fuzz_length(fuzz_byte(in, FUZZ_AT_Q_LEN));
    n.kv_len = fuzz_length(fuzz_byte(in, FUZZ_AT_KV_LEN));
    n.dim = fuzz_length(fuzz_byte(in, FUZZ_AT_DIM));
    n.dim_v = fuzz_length(fuzz_byte(in, FUZZ_AT_DIM_V));
    shrink(&n, limits->work);
    n.dim = whole_blocks(n.dim, c->desc.k.dtype, scaled & 16);
    n.dim_v = whole_blocks(n.dim_v, c->desc.v.dtype, scaled & 32);

    c->variant = (fuzz_variant)(fuzz_byte(in, FUZZ_AT_VARIANT) % FUZZ_VARIANT_COUNT);
    code = fuzz_byte(in, FUZZ_AT_CUT);
    c->cut = n.kv_len ? code * 7 % n.kv_len : 0;
    if (n.kv_len > 512 && code & 1) c->cut = 512 * (1 + (code >> 1) % ((n.kv_len - 1) / 512));
    code = fuzz_byte(in, FUZZ_AT_WORKERS);
    c->workers = 1 + (code < 224 ? code % 3 : code % 9); /* many need much memory */
    c->path = paths[fuzz_byte(in, FUZZ_AT_PATH) % num_paths];
    for (size_t i = 0; i < FUZZ_CODED_OPERANDS; i++) {
        const size_t at =
            i < FUZZ_OPERANDS ? FUZZ_AT_VALUES_QK + i / 2 : FUZZ_AT_SCALE_VALUES + (i - FUZZ_OPERANDS) / 2;
        c->values[i] = values_of(fuzz_byte(in, at) >> (i % 2 ? 4 : 0), limits);
    }
    decode_position(c);
    decode_operands(c, &n);
    decode_options(c, &n);
    decode_outputs(c, &n);
    decode_scales(c);
    patch(c);
    if (fuzz_shows) fuzz_print(c);
}

/* --------------------------------------------------------------- printing -- */

void fuzz_print_array(const char *name, const attn_array *a)
{
    if (a->ndim == 0) return;
    fprintf(stderr, "  %-12s %-5s (", name, attn_dtype_name(a->dtype));
    for (int i = 0; i < a->ndim && i < ATTN_MAX_DIMS; i++) fprintf(stderr, "%s%zu", i ? ", " : "", a->shape[i]);
    fprintf(stderr, ") strides (");
    for (int i = 0; i < a->ndim && i < ATTN_MAX_DIMS; i++) fprintf(stderr, "%s%td", i ? ", " : "", a->stride[i]);
    fprintf(stderr, "), %u bytes past a multiple of 64\n", (unsigned)((uintptr_t)a->data % 64));
}

void fuzz_print_desc(const attn_desc *d)
{
    static const char *const places[] = {"ALL", "KEYS", "TAIL"};
    static const char *const aligns[] = {"UPPER_LEFT", "LOWER_RIGHT", "OFFSET"}, *const stages[] = {"PROBS", "RAW",
                                                                                                    "SOFTCAPPED",
                                                                                                    "BIASED"};
    fuzz_print_array("q", &d->q);
    fuzz_print_array("k", &d->k);
    fuzz_print_array("v", &d->v);
    fuzz_print_array("k_scale", &d->k_scale);
    fuzz_print_array("v_scale", &d->v_scale);
    fuzz_print_array("k_zero", &d->k_zero);
    fuzz_print_array("v_zero", &d->v_zero);
    fuzz_print_array("out", &d->out);
    fuzz_print_array("mask", &d->mask);
    fuzz_print_array("kv_lens", &d->kv_lens);
    fuzz_print_array("q_bounds", &d->q_bounds);
    fuzz_print_array("alibi", &d->alibi);
    fuzz_print_array("rel_bias", &d->rel_bias);
    fuzz_print_array("sinks", &d->sinks);
    fuzz_print_array("block_table", &d->block_table);
    fuzz_print_array("cu_seqlens_q", &d->cu_seqlens_q);
    fuzz_print_array("cu_seqlens_k", &d->cu_seqlens_k);
    fuzz_print_array("lse", &d->lse);
    fuzz_print_array("scores", &d->scores);
    fuzz_print_array("colsum", &d->colsum);
    fuzz_print_array("rowmax", &d->rowmax);
    fuzz_print_array("rowsum", &d->rowsum);
    fprintf(stderr, "  .scale = %a, .softcap = %a, .causal = %d, .align = ATTN_ALIGN_%s, .q_offset = %lld,\n", d->scale,
            d->softcap, d->causal, aligns[(unsigned)d->align % 3], (long long)d->q_offset);
    fprintf(stderr, "  .window = %d, .window_left = %lld, .window_right = %lld, .kv_begin = %zu,\n", d->window,
            (long long)d->window_left, (long long)d->window_right, d->kv_begin);
    fprintf(stderr, "  .stage = ATTN_STAGE_%s, .scores_head = %zu, .scores_query = %zu\n",
            stages[(unsigned)d->stage % 4], d->scores_head, d->scores_query);
    if (d->ring) fprintf(stderr, "  .ring = %d, .ring_sinks = %zu\n", d->ring, d->ring_sinks);
    if (d->rel_bias.ndim)
        fprintf(stderr, "  .rel_first = %lld, .rel_clamp = %d\n", (long long)d->rel_first, d->rel_clamp);
    if (d->mask.ndim) fprintf(stderr, "  .mask_place = ATTN_MASK_%s\n", places[(unsigned)d->mask_place % 3]);
    for (size_t b = 0; d->kv_lens.ndim && d->kv_lens.data && b < ref_length(&d->kv_lens, 1); b++)
        fprintf(stderr, "  kv_lens[%zu] = %lld\n", b, (long long)ref_get(&d->kv_lens, 0, 0, 0, b));
}

const char *fuzz_values_name(fuzz_values values)
{
    static const char *const names[] = {"normal",   "small",         "large",    "integers", "ones", "zeros",
                                        "tiny",     "peaked",        "denormal", "wide",     "huge", "some huge",
                                        "some NaN", "some infinite", "special",  "bits"};
    return names[values];
}

void fuzz_print(const fuzz_case *c)
{
    static const char *const variants[] = {"plain", "paged", "packed", "part"};
    fprintf(stderr,
            "input of %zu bytes: %s, cut %zu, %zu workers, path %s; q %s, k %s, v %s, mask %s, alibi %s, sinks %s\n",
            c->input.size, variants[c->variant], c->cut, c->workers, attn_path_name(c->path),
            fuzz_values_name(c->values[0]), fuzz_values_name(c->values[1]), fuzz_values_name(c->values[2]),
            fuzz_values_name(c->values[3]), fuzz_values_name(c->values[4]), fuzz_values_name(c->values[5]));
    if (fuzz_has_codes(&c->desc))
        fprintf(stderr, "k_scale %s, v_scale %s, k_zero %s, v_zero %s, where there are any\n",
                fuzz_values_name(c->values[6]), fuzz_values_name(c->values[7]), fuzz_values_name(c->values[8]),
                fuzz_values_name(c->values[9]));
    fuzz_print_desc(&c->desc);
}
