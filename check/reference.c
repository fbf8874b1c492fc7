/* SPDX-License-Identifier: MIT-0 */
#include "reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef REF_DOUBLE
#define REF_MANT_DIG DBL_MANT_DIG
#define REF_MAX_EXP DBL_MAX_EXP
#define REF_MIN_EXP DBL_MIN_EXP
#define ref_exp exp
#define ref_log log
#define ref_tanh tanh
#define ref_sqrt sqrt
#define ref_abs fabs
#define ref_max fmax
#define ref_ldexp ldexp
#define ref_frexp frexp
#else
#define REF_MANT_DIG LDBL_MANT_DIG
#define REF_MAX_EXP LDBL_MAX_EXP
#define REF_MIN_EXP LDBL_MIN_EXP
#define ref_exp expl
#define ref_log logl
#define ref_tanh tanhl
#define ref_sqrt sqrtl
#define ref_abs fabsl
#define ref_max fmaxl
#define ref_ldexp ldexpl
#define ref_frexp frexpl
#endif

/* What the errors depend on in the library's arithmetic. */
#define BLOCK 512    /* keys that are summed together; blocks begin at absolute positions */
#define EXP_ULP 1.5  /* largest error of exp */
#define TANH_ULP 3.0 /* ... and of tanh */

/* ------------------------------------------------------------ elements -- */

static void *ref_malloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    if (!p) {
        fprintf(stderr, "reference: out of memory\n");
        exit(99);
    }
    return p;
}

size_t ref_length(const attn_array *a, int from_end) { return from_end <= a->ndim ? a->shape[a->ndim - from_end] : 1; }

void *ref_at(const attn_array *a, size_t i0, size_t i1, size_t i2, size_t i3)
{
    const size_t index[4] = {i0, i1, i2, i3};
    ptrdiff_t offset = 0, packed = 1;
    int strided = 0;
    for (int axis = 0; axis < a->ndim; axis++) strided |= a->stride[axis] != 0;
    for (int axis = a->ndim - 1, k = 3; axis >= 0 && k >= 0; axis--, k--) {
        const size_t unit = k == 3 ? attn_dtype_block(a->dtype) : 1;
        if (a->shape[axis] > unit) offset += (ptrdiff_t)(index[k] / unit) * (strided ? a->stride[axis] : packed);
        packed *= (ptrdiff_t)((a->shape[axis] + unit - 1) / unit);
    }
    return (char *)a->data + offset * (ptrdiff_t)attn_dtype_size(a->dtype);
}

/* binary16 (10 fraction bits, smallest exponent -14) and bfloat16 (7, -126) */
static double small_decode(unsigned bits, int fraction_bits, int min_exponent)
{
    const unsigned magnitude = bits & 0x7fffu;
    const unsigned field = magnitude >> fraction_bits;
    const unsigned fraction = magnitude & ((1u << fraction_bits) - 1u);
    double value;
    if ((int)field == 1 - 2 * (min_exponent - 1)) value = fraction ? (double)NAN : (double)INFINITY;
    else if (field == 0) value = ldexp(fraction, min_exponent - fraction_bits);
    else value = ldexp(fraction + (1u << fraction_bits), min_exponent - fraction_bits + (int)field - 1);
    return bits & 0x8000u ? -value : value;
}

static uint16_t small_encode(double value, int fraction_bits, int min_exponent)
{
    const unsigned sign = signbit(value) ? 0x8000u : 0u;
    const unsigned infinity = (unsigned)(1 - 2 * (min_exponent - 1)) << fraction_bits;
    const double magnitude = fabs(value);
    int exponent = min_exponent;
    unsigned bits;
    if (isnan(value)) return (uint16_t)(sign | infinity | 1u << (fraction_bits - 1));
    if (magnitude > 0 && isfinite(value) && ilogb(magnitude) > exponent) exponent = ilogb(magnitude);
    if (exponent > 1 - min_exponent || isinf(value)) return (uint16_t)(sign | infinity);
    /* adding the leading 1 of the fraction increments the exponent field */
    bits = (unsigned)(exponent - min_exponent) << fraction_bits;
    bits += (unsigned)nearbyint(ldexp(magnitude, fraction_bits - exponent));
    return (uint16_t)(sign | bits);
}

/* Four bits of exponent, three of fraction, no infinity. */
static double e4m3_decode(unsigned bits)
{
    const unsigned field = bits >> 3 & 15, fraction = bits & 7;
    const double value = field ? ldexp(8 + fraction, (int)field - 10) : ldexp(fraction, -9);
    if ((bits & 0x7f) == 0x7f) return (double)NAN;
    return bits & 0x80 ? -value : value;
}

/* The nearest of the codes 0 to 0x7e, the even one of two, at most the largest. NaN is 0x7f. */
static uint8_t f8_encode(double value, double (*decode)(unsigned), unsigned largest)
{
    const double magnitude = fabs(value);
    unsigned best = 0;
    if (isnan(value)) return 0x7f;
    for (unsigned code = 1; code <= largest; code++) {
        const double here = fabs(decode(code) - magnitude), there = fabs(decode(best) - magnitude);
        if (here < there || (here <= there && code % 2 == 0)) best = code;
    }
    if (magnitude > decode(largest)) best = largest;
    return (uint8_t)(best | (signbit(value) ? 0x80u : 0u));
}
static double e5m2_decode(unsigned bits) { return small_decode(bits << 8, 10, -14); }

/* To the nearest integer, to even, within the range; 0 for NaN. */
static double whole(double value, double low, double high)
{
    return isnan(value) ? 0 : value < low ? low : value > high ? high : nearbyint(value);
}

ref_real ref_get(const attn_array *a, size_t i0, size_t i1, size_t i2, size_t i3)
{
    const void *e = ref_at(a, i0, i1, i2, i3);
    switch (a->dtype) {
    case ATTN_F32: return (ref_real) * (const float *)e;
    case ATTN_F64: return (ref_real) * (const double *)e;
    case ATTN_F16: return (ref_real)small_decode(*(const uint16_t *)e, 10, -14);
    case ATTN_BF16: return (ref_real)small_decode(*(const uint16_t *)e, 7, -126);
    case ATTN_BOOL: return (ref_real)(*(const unsigned char *)e != 0);
    case ATTN_I32: return (ref_real) * (const int32_t *)e;
    case ATTN_I64: return (ref_real) * (const int64_t *)e;
    case ATTN_I8: return (ref_real) * (const int8_t *)e;
    case ATTN_U8: return (ref_real) * (const uint8_t *)e;
    case ATTN_F8_E4M3: return (ref_real)e4m3_decode(*(const uint8_t *)e);
    case ATTN_F8_E5M2: return (ref_real)e5m2_decode(*(const uint8_t *)e);
    case ATTN_Q8_0:
        return (ref_real)((float)small_decode(*(const uint16_t *)e, 10, -14) *
                          (float)*((const int8_t *)e + 2 + i3 % 32));
    case ATTN_BIT: return (ref_real)(*(const unsigned char *)e >> i3 % 8 & 1);
    case ATTN_DTYPE_COUNT: break;
    }
    return (ref_real)NAN;
}

void ref_set(const attn_array *a, size_t i0, size_t i1, size_t i2, size_t i3, double value)
{
    void *e = ref_at(a, i0, i1, i2, i3);
    switch (a->dtype) {
    case ATTN_F32: *(float *)e = (float)value; break;
    case ATTN_F64: *(double *)e = value; break;
    case ATTN_F16: *(uint16_t *)e = small_encode(value, 10, -14); break;
    case ATTN_BF16: *(uint16_t *)e = small_encode(value, 7, -126); break;
    case ATTN_BOOL: *(unsigned char *)e = value != 0; break;
    case ATTN_I32: *(int32_t *)e = (int32_t)value; break;
    case ATTN_I64: *(int64_t *)e = (int64_t)value; break;
    case ATTN_I8: *(int8_t *)e = (int8_t)whole(value, -128, 127); break;
    case ATTN_U8: *(uint8_t *)e = (uint8_t)whole(value, 0, 255); break;
    case ATTN_F8_E4M3: *(uint8_t *)e = f8_encode(value, e4m3_decode, 0x7e); break;
    case ATTN_F8_E5M2: *(uint8_t *)e = f8_encode(value, e5m2_decode, 0x7b); break;
    case ATTN_Q8_0: break; /* a block at a time, by whoever knows its scale */
    case ATTN_BIT:
        *(unsigned char *)e &= (unsigned char)~(1u << i3 % 8);
        if (value != 0) *(unsigned char *)e |= (unsigned char)(1u << i3 % 8);
        break;
    case ATTN_DTYPE_COUNT: break;
    }
}

/* In float, one rounding an operation. */
static ref_real scaled(ref_real number, ref_real zero, ref_real scale)
{
    const volatile float moved = (float)number - (float)zero;
    const volatile float product = moved * (float)scale;
    return (ref_real)product;
}

ref_real ref_decoded(const attn_array *a, const attn_array *scale, const attn_array *zero, size_t i0, size_t i1,
                     size_t i2, size_t i3)
{
    const ref_real number = ref_get(a, i0, i1, i2, i3);
    const size_t n = ref_length(a, 1);
    if (scale->ndim == 0 && zero->ndim == 0) return number;
    return scaled(number, zero->ndim ? ref_get(zero, i0, i1, i2, i3 / (n / ref_length(zero, 1))) : 0,
                  scale->ndim ? ref_get(scale, i0, i1, i2, i3 / (n / ref_length(scale, 1))) : 1);
}

void ref_encode(const attn_array *a, size_t i0, size_t i1, size_t i2, size_t i3, float x, float scale, float zero)
{
    const int divides = scale < 0 || scale > 0 || isnan(scale);
    const volatile float quotient = x / (divides ? scale : 1), moved = quotient + zero;
    if (!divides && !isfinite(x)) ref_set(a, i0, i1, i2, i3, (double)NAN);
    else if (a->dtype != ATTN_I8 && a->dtype != ATTN_U8) /* -0 has a code */
        ref_set(a, i0, i1, i2, i3, divides ? (double)quotient : copysign(0.0, (double)x));
    else ref_set(a, i0, i1, i2, i3, (double)(divides ? moved : zero));
}

/* The nearest, but the next one where the largest number would otherwise be more than half a step beyond the top. */
float ref_found_scale(float max, attn_dtype type)
{
    const float top = type == ATTN_F8_E4M3 ? 448 : type == ATTN_F8_E5M2 ? 57344 : 127;
    const volatile float quotient = max / top;
    const double nearest =
        type == ATTN_Q8_0 ? small_decode(small_encode((double)quotient, 10, -14), 10, -14) : (double)quotient;
    if (!isfinite(max)) return NAN;
    if (type == ATTN_Q8_0 && !(nearest < 65504)) return 65504;
    if ((double)max <= nearest * ((double)top + 0.5)) return (float)nearest;
    return type == ATTN_Q8_0 ? (float)small_decode(small_encode(nearest, 10, -14) + 1u, 10, -14)
                             : nextafterf((float)nearest, INFINITY);
}

/* ------------------------------------------------------------ rounding -- */

/* An element type's arithmetic: |fl(x) - x| <= u |x| + eta. */
typedef struct arithmetic {
    ref_real u, eta, max;
    ref_real flushed; /* exp gives 0 below this */
    int products;     /* roundings of a product before it is added to anything */
} arithmetic;

static arithmetic arithmetic_of(attn_dtype type)
{
    arithmetic t;
    int precision = 24, min_exponent = -126, max_exponent = 127;
    if (type == ATTN_F64) precision = 53, min_exponent = -1022, max_exponent = 1023;
    else if (type == ATTN_F16) precision = 11, min_exponent = -14, max_exponent = 15;
    else if (type == ATTN_BF16) precision = 8;
    t.u = ref_ldexp(1, -precision);
    t.eta = ref_ldexp(1, min_exponent - precision + 1);
    t.max = ref_ldexp(2 - 2 * t.u, max_exponent);
    /* exp(-87.3) = 1.04 * 2^-126, exp(-708.3) = 1.11 * 2^-1022; in units of ln 2, what is less than 2^-126 (2^-1022)
     * may come out as anything from 0 to that */
    t.flushed = ref_ldexp((ref_real)1.25, min_exponent);
    t.products = strcmp(attn_arithmetic(), "fused") != 0;
    return t;
}

/* Additions that a weight goes through in the sum of its block. Fused: 16 keys one after the other, then those sums
 * half a block apart, then a tree of 16. Softmax of an array: two halves of 256 keys, each in 16 lanes (float64: 8)
 * one after the other; then the halves; then the tree of the lanes. */
static int sum_depth(attn_dtype type, int fused) { return type == ATTN_F64 && !fused ? 32 + 1 + 3 : 16 + 1 + 4; }

static attn_dtype compute_type(attn_dtype type) { return type == ATTN_F64 ? ATTN_F64 : ATTN_F32; }

/* Relative error of n roundings, n u / (1 - n u), of the library (u) and of the reference
 * itself. */
static ref_real gamma_n(ref_real n, ref_real u)
{
    const ref_real nu = n * (u + ref_ldexp(1, -REF_MANT_DIG));
    return nu < (ref_real)0.5 ? nu / (1 - nu) : 1;
}

void ref_add(ref_sum *s, ref_real x)
{
    const ref_real sum = s->sum + x, part = sum - s->sum;
    s->rest += (s->sum - (sum - part)) + (x - part);
    s->sum = sum;
}

static ref_bounds exactly(ref_real value)
{
    const ref_bounds b = {value, value, value};
    return b;
}

static ref_bounds not_finite(void)
{
    const ref_bounds b = {(ref_real)INFINITY, -(ref_real)INFINITY, (ref_real)INFINITY};
    return b;
}

/* Nothing is promised. */
static ref_bounds anything(void)
{
    const ref_bounds b = {0, (ref_real)INFINITY, -(ref_real)INFINITY};
    return b;
}

static ref_bounds around(ref_real value, ref_real error)
{
    const ref_bounds b = {value, value - error, value + error};
    return b;
}

static ref_real limited(ref_real x, ref_real largest) { return x > largest ? largest : x < -largest ? -largest : x; }

/* Bounds after conversion to an element type: one more rounding if it is narrower than the
 * compute type; beyond its largest number, that number or infinity. */
static ref_bounds stored(ref_bounds b, attn_dtype type, attn_dtype compute)
{
    const arithmetic t = arithmetic_of(type);
    if (b.low > b.high || (!isfinite(b.value) && b.low != b.high)) return b;
    if (isnan(b.value) || (b.low == b.value && b.high == b.value && !(isfinite(b.value) && ref_abs(b.value) > t.max)))
        return b;
    if (type != compute && t.u > arithmetic_of(compute).u) {
        b.low -= t.u * ref_abs(b.low) + t.eta;
        b.high += t.u * ref_abs(b.high) + t.eta;
    }
    b.value = limited(b.value, t.max);
    b.low = b.low < -t.max ? -(ref_real)INFINITY : limited(b.low, t.max);
    b.high = b.high > t.max ? (ref_real)INFINITY : limited(b.high, t.max);
    return b;
}

double ref_ratio(const ref_bounds *bounds, ref_real number)
{
    const ref_real value = bounds->value;
    ref_real room;
    if (bounds->low > bounds->high) return 0;
    if (isnan(value)) return isnan(number) ? 0 : (double)INFINITY;
    if (isinf(value) && bounds->low != bounds->high) return isfinite(number) ? (double)INFINITY : 0;
    if (isnan(number)) return (double)INFINITY;
    if (value == 0 && bounds->low == bounds->high) return number == 0 && !signbit(number) ? 0 : (double)INFINITY;
    if (number == value ||
        (number == 0 && bounds->low == 0)) /* or else a weight that exp flushes to 0 would always be at its bound */
        return 0;
    if (!(number >= bounds->low && number <= bounds->high) && isinf(number)) return (double)INFINITY;
    room = number > value ? bounds->high - value : value - bounds->low;
    if (isinf(room)) return 0;
    return room > 0 ? (double)(ref_abs(number - value) / room) : (double)INFINITY;
}

/* ------------------------------------------------------------- one head -- */

/* A batch, or a packed sequence. */
typedef struct sequence {
    size_t q_base, q_len, k_base, kv_len; /* bases: where it begins, if sequences are packed */
    int64_t length;                       /* keys at this position and beyond do not count */
    int64_t offset;                       /* position of query 0 */
} sequence;

struct ref_head {
    const attn_desc *desc;
    size_t batch, head;
    sequence s;
    size_t kv_len, head_dim, head_dim_v;
    attn_dtype compute;
    arithmetic t;
    ref_real scale;
    ref_real *q;     /* (head_dim) of the row */
    ref_real *k;     /* (kv_len, head_dim) */
    ref_real *v;     /* (kv_len, head_dim_v) */
    ref_real *score; /* (kv_len), in units of 2^shift */
    ref_real *delta; /* (kv_len) its error */
    ref_real *low;   /* (kv_len) lower and upper bounds of exp(score - max) */
    ref_real *high;
    ref_real *possible; /* (kv_len) upper bounds of score - max */
    unsigned char *keep;
    ref_bounds *scores, *weights, *out;
    int shift, shift_q;
    ref_row row;
};

static int present(const attn_array *a) { return a->ndim > 0; }

static size_t integer(const attn_array *a, size_t i2, size_t i3) { return (size_t)ref_get(a, 0, 0, i2, i3); }

size_t ref_batches(const attn_desc *desc)
{
    return present(&desc->cu_seqlens_q) ? ref_length(&desc->cu_seqlens_q, 1) - 1 : ref_length(&desc->q, 4);
}

static sequence sequence_of(const attn_desc *desc, size_t batch)
{
    sequence s = {0, ref_length(&desc->q, 2), 0, ref_length(&desc->k, 2), 0, 0};
    if (present(&desc->block_table)) s.kv_len *= ref_length(&desc->block_table, 1);
    if (present(&desc->cu_seqlens_q)) {
        s.q_base = integer(&desc->cu_seqlens_q, 0, batch);
        s.q_len = integer(&desc->cu_seqlens_q, 0, batch + 1) - s.q_base;
    }
    if (present(&desc->cu_seqlens_k)) {
        s.k_base = integer(&desc->cu_seqlens_k, 0, batch);
        s.kv_len = integer(&desc->cu_seqlens_k, 0, batch + 1) - s.k_base;
    }
    s.length = (int64_t)(desc->kv_begin + s.kv_len);
    if (present(&desc->kv_lens)) s.length = (int64_t)integer(&desc->kv_lens, 0, batch);
    if (desc->ring) s.kv_len = (size_t)s.length;
    if (desc->align == ATTN_ALIGN_LOWER_RIGHT) s.offset = s.length - (int64_t)s.q_len;
    else if (desc->align == ATTN_ALIGN_OFFSET) s.offset = desc->q_offset;
    return s;
}

static uint64_t distance(int64_t a, int64_t b) { return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a; }

static int64_t position_of(const sequence *s, size_t i)
{
    return s->offset > INT64_MAX - (int64_t)i ? INT64_MAX : (int64_t)i + s->offset;
}

/* Does an interval of the query have the key in it? */
static int within_bounds(const attn_desc *d, const sequence *s, size_t batch, size_t i, int64_t key)
{
    for (size_t n = 0; n + 1 < ref_length(&d->q_bounds, 1); n += 2) {
        const size_t at = present(&d->cu_seqlens_q) ? 0 : batch, row = s->q_base + i;
        if (ref_get(&d->q_bounds, 0, at, row, n) <= (ref_real)key &&
            (ref_real)key < ref_get(&d->q_bounds, 0, at, row, n + 1))
            return 1;
    }
    return 0;
}

/* What the mask adds to the score of key j: -inf where the key goes, 0 where it just stays. */
static ref_real mask_of(const attn_desc *d, const sequence *s, size_t batch, size_t head, size_t i, size_t j)
{
    const int64_t columns = (int64_t)ref_length(&d->mask, 1);
    int64_t column = (int64_t)j + (d->mask_place == ATTN_MASK_ALL ? (int64_t)s->k_base : 0);
    ref_real mask;
    if (!present(&d->mask)) return 0;
    if (d->mask_place != ATTN_MASK_ALL) column += (int64_t)d->kv_begin;
    if (d->mask_place == ATTN_MASK_TAIL) column -= s->length - columns;
    if (column < 0) return 0;
    if (column >= columns) return -(ref_real)INFINITY;
    mask = ref_get(&d->mask, present(&d->cu_seqlens_q) ? 0 : batch, head, s->q_base + i, (size_t)column);
    if (d->mask.dtype == ATTN_BOOL || d->mask.dtype == ATTN_BIT) return mask != 0 ? 0 : -(ref_real)INFINITY;
    return mask;
}

/* What the relative bias adds to the score of key j. */
static ref_real relative_of(const attn_desc *d, const sequence *s, size_t batch, size_t head, size_t i, size_t j)
{
    const size_t n = ref_length(&d->rel_bias, 1);
    const int64_t entry = position_of(s, i) - d->rel_first - (int64_t)(d->kv_begin + j);
    const int before = entry < 0, beyond = entry >= (int64_t)n;
    if (!present(&d->rel_bias) || ((before || beyond) && !d->rel_clamp)) return 0;
    return ref_get(&d->rel_bias, present(&d->cu_seqlens_q) ? 0 : batch, head, s->q_base + i,
                   before   ? 0
                   : beyond ? n - 1
                            : (size_t)entry);
}

/* Visibility: the one rule, independent of the library's. */
static int is_visible(const attn_desc *d, const sequence *s, size_t batch, size_t head, size_t i, size_t j)
{
    const int64_t key = (int64_t)(d->kv_begin + j), p = position_of(s, i);
    if (key >= s->length) return 0;
    if (d->causal && key > p) return 0;
    if (d->window && d->window_left >= 0 && key < p && distance(p, key) > (uint64_t)d->window_left) return 0;
    if (d->window && d->window_right >= 0 && key > p && distance(p, key) > (uint64_t)d->window_right) return 0;
    if (present(&d->q_bounds) && !within_bounds(d, s, batch, i, key)) return 0;
    if (relative_of(d, s, batch, head, i, j) == -(ref_real)INFINITY) return 0;
    return mask_of(d, s, batch, head, i, j) != -(ref_real)INFINITY;
}

ref_real ref_mask(const attn_desc *desc, size_t batch, size_t head, size_t query, size_t key)
{
    const sequence s = sequence_of(desc, batch);
    return mask_of(desc, &s, batch, head, query, key);
}

ref_real ref_relative(const attn_desc *desc, size_t batch, size_t head, size_t query, size_t key)
{
    const sequence s = sequence_of(desc, batch);
    return relative_of(desc, &s, batch, head, query, key);
}

int ref_sees(const attn_desc *desc, size_t batch, size_t head, size_t query, size_t key)
{
    const sequence s = sequence_of(desc, batch);
    return is_visible(desc, &s, batch, head, query, key);
}

ref_head *ref_open(const attn_desc *desc, size_t batch, size_t head)
{
    ref_head *h = ref_malloc(1, sizeof *h);
    const size_t kv_head = head / (ref_length(&desc->q, 3) / ref_length(&desc->k, 3));
    size_t loaded;
    h->desc = desc;
    h->batch = batch;
    h->head = head;
    h->s = sequence_of(desc, batch);
    h->kv_len = h->s.kv_len;
    h->head_dim = ref_length(&desc->q, 1);
    h->head_dim_v = present(&desc->v) ? ref_length(&desc->v, 1) : 0;
    h->compute = compute_type(desc->q.dtype);
    h->t = arithmetic_of(h->compute);
    if (desc->scale == 0) h->scale = 1 / ref_sqrt((ref_real)(h->head_dim ? h->head_dim : 1));
    else h->scale = h->compute == ATTN_F64 ? (ref_real)desc->scale : (ref_real)(float)desc->scale;

    h->q = ref_malloc(h->head_dim, sizeof *h->q);
    h->k = ref_malloc(h->kv_len * h->head_dim, sizeof *h->k);
    h->v = ref_malloc(h->kv_len * h->head_dim_v, sizeof *h->v);
    h->score = ref_malloc(h->kv_len, sizeof *h->score);
    h->delta = ref_malloc(h->kv_len, sizeof *h->delta);
    h->low = ref_malloc(h->kv_len, sizeof *h->low);
    h->high = ref_malloc(h->kv_len, sizeof *h->high);
    h->possible = ref_malloc(h->kv_len, sizeof *h->possible);
    h->keep = ref_malloc(h->kv_len, sizeof *h->keep);
    h->scores = ref_malloc(h->kv_len, sizeof *h->scores);
    h->weights = ref_malloc(h->kv_len, sizeof *h->weights);
    h->out = ref_malloc(h->head_dim_v, sizeof *h->out);
    loaded = h->kv_len;
    if (present(&desc->block_table) && h->s.length < (int64_t)(desc->kv_begin + loaded)) /* the table may end there */
        loaded = h->s.length > (int64_t)desc->kv_begin ? (size_t)h->s.length - desc->kv_begin : 0;
    for (size_t j = 0; j < loaded; j++) {
        size_t at = batch, row = j;
        if (present(&desc->block_table)) {
            const ref_real page = ref_get(&desc->block_table, 0, 0, batch, j / ref_length(&desc->k, 2));
            if (page < 0 || page >= (ref_real)ref_length(&desc->k, 4)) continue; /* no row sees it */
            at = (size_t)page;
            row = j % ref_length(&desc->k, 2);
        } else if (present(&desc->cu_seqlens_k)) {
            at = 0;
            row = h->s.k_base + j;
        } else if (desc->ring && j >= desc->ring_sinks) {
            row = desc->ring_sinks + (j - desc->ring_sinks) % (ref_length(&desc->k, 2) - desc->ring_sinks);
        }
        for (size_t c = 0; c < h->head_dim; c++)
            h->k[j * h->head_dim + c] = ref_decoded(&desc->k, &desc->k_scale, &desc->k_zero, at, kv_head, row, c);
        for (size_t c = 0; c < h->head_dim_v; c++)
            h->v[j * h->head_dim_v + c] = ref_decoded(&desc->v, &desc->v_scale, &desc->v_zero, at, kv_head, row, c);
    }
    return h;
}

void ref_close(ref_head *h)
{
    free(h->q);
    free(h->k);
    free(h->v);
    free(h->score);
    free(h->delta);
    free(h->low);
    free(h->high);
    free(h->possible);
    free(h->keep);
    free(h->scores);
    free(h->weights);
    free(h->out);
    free(h);
}

static int largest_exponent(const ref_real *x, size_t n)
{
    int e, largest = -REF_MAX_EXP;
    for (size_t i = 0; i < n; i++)
        if (x[i] != 0 && isfinite(x[i])) {
            ref_frexp(x[i], &e);
            largest = e > largest ? e : largest;
        }
    return largest;
}

/* Scores of finite float64 inputs reach 2^3072. If ref_real cannot hold that, the row is
 * computed in units of 2^shift: q is scaled down to 2^500, and k by the rest. Small numbers
 * lose bits by this, own_eta each. */
static void choose_units(ref_head *h)
{
    const int limit = REF_MAX_EXP - 20;
    int scale, dim, exponent, q;
    h->shift = h->shift_q = 0;
    if (REF_MAX_EXP > 4096) return;
    ref_frexp(h->scale, &scale);
    ref_frexp((ref_real)h->head_dim + 1, &dim);
    q = largest_exponent(h->q, h->head_dim) + scale;
    exponent = q + largest_exponent(h->k, h->kv_len * h->head_dim) + dim;
    if (h->desc->softcap > 0) { /* where the score is infinite, this is its value */
        int cap;
        ref_frexp((ref_real)h->desc->softcap, &cap);
        exponent = cap > exponent ? cap : exponent;
    }
    /* a slope times a distance, a relative bias, or a mask */
    if (h->compute == ATTN_F64 &&
        (present(&h->desc->alibi) || present(&h->desc->rel_bias) || present(&h->desc->mask)) && exponent < 1024 + 64)
        exponent = 1024 + 64;
    if (exponent > limit) h->shift = exponent - limit;
    if (q > 500 && (h->shift || q > limit)) h->shift_q = q - 500;
}

static ref_real least_real(void) { return ref_ldexp(1, REF_MIN_EXP - REF_MANT_DIG); }

/* x 2^e, but 0 only if x is 0: times infinity, a result rounded to 0 would give NaN. */
static ref_real in_units(ref_real x, int e)
{
    const ref_real y = ref_ldexp(x, e);
    return y != 0 || x == 0 ? y : x > 0 ? least_real() : -least_real();
}

static ref_real softcapped(ref_real score, ref_real cap, int shift)
{
    return ref_ldexp(cap * ref_tanh(ref_ldexp(score, shift) / cap), -shift);
}

typedef struct scaled_query {
    ref_real sum;  /* of the magnitudes of h->q, which is in units of 2^shift_q */
    ref_real most; /* the largest number met, in units of 2^shift */
    int unscaled;  /* while it meets keys */
} scaled_query;

/* Scores and their absolute errors.
 *
 *   q'     = fl(q scale)              1 rounding, 2 more in the default scale
 *   score  = sum of fl(... + q' k)    1 rounding per element of head_dim. The same bound holds
 *            unfused: products are rounded as well, but the first one is then added to 0
 *            so |error| <= gamma(d + 3) A, A = |scale| sum |q k|. A rounding to a denormal has
 *            an error of eta: d of them in the sum, and one in each q', times k. If a q' or a score
 *            of float64 is beyond its range, keys meet q, and their sums, scaled, have d of eta |scale|
 *   softcap: c tanh(score / c) is monotonic, so the error of the score moves it at most to its
 *            value at score +- error. Added to this are the error of tanh and four roundings:
 *            of c, 1 / c and two products. Those before tanh count in full, since
 *            |x| tanh'(x) <= tanh |x|
 *   bias:    fl(mask - slope distance), with rounded slope and distance (unfused: also a
 *            rounded product), then one addition to the score. With a relative bias, the mask is
 *            fl(relative bias + mask)
 *
 * Scores that become weights are computed in units of ln 2: one more rounding, of scale log2 e (two, if that is too
 * large for a number, and q is multiplied by one after the other); the cap has its own
 * anyway; and of the factor of the bias (unfused: also of its product).
 *
 * Raw and softcapped scores are promised for visible keys only; beyond the last key they are
 * -inf. */
static void score_keys(ref_head *h, size_t i, scaled_query *query)
{
    const attn_desc *desc = h->desc;
    const arithmetic t = h->t;
    const size_t d = h->head_dim;
    const ref_real cap = (ref_real)desc->softcap, own_eta = h->shift ? least_real() : 0;
    const int before_masks = desc->stage == ATTN_STAGE_RAW || desc->stage == ATTN_STAGE_SOFTCAPPED;
    const int64_t p = position_of(&h->s, i);
    h->row.visible = 0;
    for (size_t j = 0; j < h->kv_len; j++) {
        const ref_real *k = h->k + j * d;
        ref_real s = 0, magnitude = 0, sum_k = 0, delta, shown, shown_delta, in_units_of_ln2;
        h->keep[j] = (unsigned char)is_visible(desc, &h->s, h->batch, h->head, i, j);
        h->scores[j] = exactly(-(ref_real)INFINITY);
        if (!h->keep[j]) {
            if (before_masks && (int64_t)(desc->kv_begin + j) < h->s.length) h->scores[j] = anything();
            continue;
        }
        h->row.visible++;
        for (size_t c = 0; c < d; c++) {
            const ref_real kc = h->shift == h->shift_q ? k[c] : in_units(k[c], h->shift_q - h->shift);
            s += h->q[c] * kc;
            magnitude += ref_abs(h->q[c] * kc);
            sum_k += ref_abs(kc);
        }
        delta = gamma_n((ref_real)d + 3, t.u) * magnitude;
        delta += ref_ldexp(t.eta, -h->shift) * (ref_real)(2 * d) + ref_ldexp(t.eta, -h->shift_q) * 2 * sum_k;
        delta += least_real() * ((ref_real)d + 2 * sum_k) + own_eta * query->sum;
        if (query->unscaled) delta += ref_ldexp(t.eta * ref_abs(h->scale), -h->shift) * (ref_real)d;
        shown = s, shown_delta = delta;
        query->most = ref_max(query->most, magnitude);
        in_units_of_ln2 = gamma_n(ref_abs(h->scale) < t.max / 2 ? 1 : 2, t.u) * magnitude;
        if (cap > 0) {
            const ref_real middle = softcapped(s, cap, h->shift),
                           reach = isinf(s) ? 0 : delta; /* tanh of infinity is exactly 1 */
            const ref_real up = softcapped(s + reach, cap, h->shift) - middle;
            const ref_real down = middle - softcapped(s - reach, cap, h->shift);
            delta = up > down ? up : down;
            /* what is rounded is not the middle, but what the error of the score made of it */
            delta += gamma_n(4 + 2 * (ref_real)TANH_ULP, t.u) * (ref_abs(middle) + delta) +
                     ref_ldexp(2 * t.eta, -h->shift) * (1 + cap) + own_eta;
            s = middle;
        }
        if (desc->stage == ATTN_STAGE_SOFTCAPPED) shown = s, shown_delta = delta;
        if (present(&desc->alibi)) {
            const ref_real slope = ref_get(&desc->alibi, 0, 0, h->batch, h->head);
            const ref_real steps = (ref_real)distance(p, (int64_t)(desc->kv_begin + j)),
                           bias = ref_ldexp(slope, -h->shift) * steps;
            s -= bias;
            query->most = ref_max(query->most, ref_max(ref_abs(bias), ref_abs(s)));
            in_units_of_ln2 += gamma_n((ref_real)(1 + t.products), t.u) * ref_abs(bias);
            delta += gamma_n((ref_real)(3 + t.products), t.u) * ref_abs(bias) + gamma_n(1, t.u) * ref_abs(s);
            delta += ref_ldexp(2 * t.eta, -h->shift) + own_eta * (1 + steps);
        }
        for (int relative = 1; relative >= 0; relative--) {
            ref_real bias;
            if (relative ? !present(&desc->rel_bias)
                         : !present(&desc->mask) || desc->mask.dtype == ATTN_BOOL || desc->mask.dtype == ATTN_BIT)
                continue;
            bias = ref_ldexp((relative ? relative_of : mask_of)(desc, &h->s, h->batch, h->head, i, j), -h->shift);
            s += bias;
            query->most = ref_max(query->most, ref_max(ref_abs(bias), ref_abs(s)));
            in_units_of_ln2 += gamma_n((ref_real)(1 + t.products), t.u) * ref_abs(bias);
            delta += gamma_n(present(&desc->rel_bias) ? 2 : 1, t.u) * ref_abs(bias) + gamma_n(1, t.u) * ref_abs(s);
            delta += own_eta;
        }
        if (desc->stage == ATTN_STAGE_BIASED) shown = s, shown_delta = delta;
        h->score[j] = s;
        h->delta[j] = delta + in_units_of_ln2;
        h->scores[j] = exactly(shown);
        if (isfinite(shown)) {
            h->scores[j].value = limited(ref_ldexp(shown, h->shift), t.max);
            h->scores[j].low = ref_ldexp(shown - shown_delta, h->shift);
            h->scores[j].high = ref_ldexp(shown + shown_delta, h->shift);
        }
    }
}

static void compute_scores(ref_head *h, size_t i)
{
    const attn_desc *desc = h->desc;
    scaled_query query = {0, 0, 0};
    ref_real scale;
    int scale_exponent;
    for (size_t c = 0; c < h->head_dim; c++) {
        h->q[c] = ref_get(&desc->q, present(&desc->cu_seqlens_q) ? 0 : h->batch, h->head, h->s.q_base + i, c);
        query.unscaled |= h->compute == ATTN_F64 && ref_abs(h->q[c]) * ref_abs(h->scale) > h->t.max;
    }
    choose_units(h);
    scale = ref_frexp(h->scale, &scale_exponent);
    for (size_t c = 0; c < h->head_dim; c++) {
        int exponent;
        const ref_real fraction = ref_frexp(h->q[c], &exponent); /* a subnormal q times a scale would lose bits */
        h->q[c] = in_units(fraction * scale, isfinite(fraction) ? exponent + scale_exponent - h->shift_q : 0);
        query.sum += ref_abs(h->q[c]);
    }
    score_keys(h, i, &query);
    if (query.unscaled || h->compute != ATTN_F64 || query.most <= ref_ldexp(h->t.max / 2, -h->shift)) return;
    query.unscaled = 1; /* half: also in units of ln 2 */
    score_keys(h, i, &query);
}

/* ----------------------------------------------------------- weights -- */

typedef struct softmax_row {
    size_t n;
    const ref_real *score, *delta; /* in units of 2^shift */
    const unsigned char *keep;
    int shift;
    int fused; /* or softmax of an array */
    int has_sink;
    ref_real sink; /* likewise */
    ref_real *low, *high, *possible;
    ref_bounds *weight;
    ref_bounds lse, largest, total; /* the last two count the sink, if there is one */
} softmax_row;

/* Where errors are so large, nothing is known. */
#define MOST_EXPONENT ((ref_real)1e300)

static int levels_of(size_t n)
{
    int levels = 0;
    for (size_t blocks = (n + BLOCK - 1) / BLOCK; blocks > 1; blocks = (blocks + 1) / 2) levels++;
    return levels;
}

/* The computed exp(x) lies between exp(*low) and exp(*high), which account for the error
 * `delta` of x, for the roundings when the block's maximum is subtracted from x and maxima from
 * one another (u times the differences, which add up to x), and for one exp at each level. So do *certain and
 * *possible, which know nothing of numbers that become 0 or infinite. */
static void exponent_bounds(const softmax_row *r, arithmetic t, int levels, ref_real x, ref_real delta, ref_real *low,
                            ref_real *high, ref_real *certain, ref_real *possible)
{
    const ref_real inf = (ref_real)INFINITY, least = ref_log(t.flushed);
    const ref_real exps = gamma_n(2 * (ref_real)EXP_ULP, t.u) * (ref_real)(1 + levels);
    const ref_real error = delta + gamma_n(1, t.u) * (ref_abs(x) + delta);
    *certain = *low = ref_ldexp(x - error, r->shift) - exps;
    *possible = *high = ref_ldexp(x + error, r->shift) + exps;
    if (*low < least) *low = -inf;
    if (*high < least) *high = least;
    if (*high > MOST_EXPONENT) *high = MOST_EXPONENT;
}

/* Weights and log-sum-exp.
 *
 *   D_j       = error of the score + u |x_j| + errors of exp, x_j = s_j - max; fused, maxima and their differences are
 *               also multiplied by ln 2 and log2 e in double
 *   exp       lies in p_j e^(-D_j) ... p_j e^(D_j), p_j = exp(x_j)
 *   their sum has the error of sum_depth roundings in the type, and in double of two at each
 *             level of the tree of blocks and two for the sink
 *   weight    exp * (T)(factor / sum): two more roundings, and two in double
 *   lse       max + log(sum) in double, fused with max from units of ln 2, rounded once, limited to the largest number
 *             of the type
 *   rowmax    a score is the largest that is computed only if it may be; in double to units of 1, rounded to the type
 *   rowsum    the sum over exp(s_j - max), and max is the one that was computed
 *
 * The sink's exp is computed in double. */
static void compute_weights(softmax_row *r, attn_dtype type)
{
    const arithmetic t = arithmetic_of(type);
    const ref_real inf = (ref_real)INFINITY;
    const ref_real in_double = ref_ldexp(1, -53), own_eta = r->shift ? least_real() : 0;
    const int levels = levels_of(r->n);
    ref_sum sum = {0, 0}, sum_low = {0, 0}, sum_high = {0, 0};
    ref_real max = -inf, above = -inf, max_delta = 0, shift_of_max;
    ref_real total, least, largest, sum_error, weight_error, cap, lse, lse_error;
    ref_real sink_low = -inf, sink_high = -inf, max_low = -inf, max_high = -inf, in_units;
    ref_real largest_certain = -inf, sink_certain = -inf, sink_possible = -inf, rest = 0;
    size_t first = r->n; /* the key of largest_certain */
    size_t terms = 0;
    int nan = 0, infinite = 0, any = 0;

    for (size_t j = 0; j < r->n; j++) {
        r->weight[j] = exactly(0);
        if (!r->keep[j]) continue;
        any = 1;
        nan |= isnan(r->score[j]);
        infinite |= r->score[j] == inf;
        if (r->score[j] > max) max = r->score[j], max_delta = r->delta[j];
        if (r->score[j] + r->delta[j] > above) above = r->score[j] + r->delta[j];
    }
    r->total = exactly(any ? (ref_real)NAN : 0);
    if (!any) {
        r->lse = r->largest = exactly(-inf);
        return;
    }
    if (r->has_sink) {
        nan |= isnan(r->sink);
        infinite |= r->sink == inf;
        if (r->sink > max) max = r->sink, max_delta = own_eta;
    }
    in_units = r->fused && isfinite(max) ? gamma_n(5, in_double) : 0;
    if (nan || infinite || max == -inf) { /* infinity minus infinity */
        for (size_t j = 0; j < r->n; j++)
            if (r->keep[j]) r->weight[j] = exactly((ref_real)NAN);
        r->lse = nan ? exactly((ref_real)NAN) : not_finite();
        r->largest = exactly(nan ? (ref_real)NAN : max);
        return;
    }
    /* The computed maximum is between max - max_delta and `above`. x_j changes with it, which
     * matters only for rounding. */
    shift_of_max = gamma_n(1, t.u) * (above - max > max_delta ? above - max : max_delta);

    for (size_t j = 0; j < r->n; j++) {
        if (!r->keep[j] || r->score[j] == -inf) continue;
        ref_real certain;
        exponent_bounds(r, t, levels, r->score[j] - max,
                        r->delta[j] + shift_of_max + in_units * (2 * ref_abs(max) + ref_abs(r->score[j])), &r->low[j],
                        &r->high[j], &certain, &r->possible[j]);
        if (certain > largest_certain) largest_certain = certain, first = j;
        max_low = r->low[j] > max_low ? r->low[j] : max_low;
        max_high = r->high[j] > max_high ? r->high[j] : max_high;
    }
    if (r->has_sink && r->sink > -inf) {
        exponent_bounds(r, arithmetic_of(ATTN_F64), 0, r->sink - max, own_eta + shift_of_max + in_units * ref_abs(max),
                        &sink_low, &sink_high, &sink_certain, &sink_possible);
        if (sink_certain > largest_certain) largest_certain = sink_certain, first = r->n;
        max_low = sink_low > max_low ? sink_low : max_low;
        max_high = sink_high > max_high ? sink_high : max_high;
        ref_add(&sum, ref_exp(ref_ldexp(r->sink - max, r->shift)));
        ref_add(&sum_low, ref_exp(sink_low - max_high));
        ref_add(&sum_high, ref_exp(sink_high - max_high));
    }
    for (size_t j = 0; j < r->n; j++) { /* bounds relative to exp(max_high) from here */
        if (!r->keep[j] || r->score[j] == -inf) continue;
        terms++;
        r->low[j] = ref_exp(r->low[j] - max_high);
        r->high[j] = ref_exp(r->high[j] - max_high);
        r->weight[j].value = ref_exp(ref_ldexp(r->score[j] - max, r->shift));
        ref_add(&sum, r->weight[j].value);
        ref_add(&sum_low, r->low[j]);
        ref_add(&sum_high, r->high[j]);
    }
    total = sum.sum + sum.rest;
    least = sum_low.sum + sum_low.rest;
    largest = sum_high.sum + sum_high.rest;
    sum_error = gamma_n((ref_real)sum_depth(type, r->fused), t.u) + gamma_n((ref_real)(2 * levels + 2), in_double);
    weight_error = sum_error + gamma_n(2, t.u) + gamma_n(2, in_double);
    cap = 1 + weight_error; /* no term of a sum is larger */
    lse_error = gamma_n(1, t.u) + gamma_n(4, in_double) + in_units;
    r->largest.value = limited(ref_ldexp(max, r->shift), t.max);
    r->largest.low = ref_ldexp(max - max_delta - lse_error * (ref_abs(max) + max_delta) - 4 * own_eta, r->shift);
    r->largest.high = ref_ldexp(above + lse_error * ref_abs(above) + 4 * own_eta, r->shift);
    r->largest.low = limited(r->largest.low - t.eta, t.max);
    r->largest.high = limited(r->largest.high + t.eta, t.max);
    r->total.value = total;
    r->total.low = least * (1 - sum_error) < 1 ? 1 - sum_error : least * (1 - sum_error); /* its own term is 1 */
    r->total.high = largest * ref_exp(max_high - max_low);
    if (!(r->total.high < (ref_real)terms)) r->total.high = (ref_real)terms;
    r->total.high *= 1 + weight_error;

    for (size_t j = 0; j < r->n; j++) {
        ref_bounds *w = &r->weight[j];
        if (!r->keep[j] || r->score[j] == -inf) continue;
        w->value /= total;
        w->low = r->low[j] > 0 ? r->low[j] / largest * (1 - weight_error) - 3 * t.eta : 0;
        w->high = r->high[j] / least * (1 + weight_error) + 3 * t.eta;
        /* also where there is no bound for the sum: it has one term of exp(largest_certain) at least */
        if (j != first && largest_certain > -inf) {
            const ref_real most = ref_exp(r->possible[j] - largest_certain);
            rest += most;
            if (!(w->high < most * (1 + weight_error) + 3 * t.eta)) w->high = most * (1 + weight_error) + 3 * t.eta;
        }
        if (!(w->high < cap)) w->high = cap;
        if (w->low < 0) w->low = 0;
    }
    if (first < r->n) { /* and what is left of 1 by all others is that term's */
        ref_real *low = &r->weight[first].low, most;
        if (r->has_sink) rest += ref_exp(sink_possible - largest_certain);
        most = 1 / (1 + rest) * (1 - weight_error) - 3 * t.eta;
        if (most > *low) *low = most;
    }
    /* Also in units of 2^shift, so that a score of 2^1024 plus a logarithm does not overflow. */
    least = max_high + ref_log(least);
    if (least < max_low) /* if exp underflowed */
        least = max_low;
    lse = max + ref_ldexp(ref_log(total), -r->shift);
    lse_error = ref_ldexp(sum_error + t.eta + gamma_n(4, in_double) * ref_abs(ref_log(total)), -r->shift) + 4 * own_eta;
    lse_error += (gamma_n(1, t.u) + gamma_n(4, in_double)) * ref_abs(lse) + in_units * ref_abs(max);
    r->lse.value = limited(ref_ldexp(lse, r->shift), t.max);
    r->lse.low = limited(ref_ldexp(max + ref_ldexp(least, -r->shift) - lse_error, r->shift), t.max);
    r->lse.high =
        limited(ref_ldexp(max + ref_ldexp(max_high + ref_log(largest), -r->shift) + lse_error, r->shift), t.max);
    if (max_high >= MOST_EXPONENT) r->lse.high = t.max;
}

/* ----------------------------------------------------------- output -- */

/*   o = (tree of (sum over a block of fma(p_j, v_j, .))) * (T)(1 / sum)
 *
 * The errors of the weights change it by at most sum |w - w_j| |v_j|. The sum over a block has
 * one rounding for each visible key, a level of the tree two, the product one; each rounding
 * to a denormal adds eta. The same exponentials appear in the numerator and the denominator,
 * so their errors cannot push the output out of the range of the visible values (with a sink:
 * of these and zero). Only the roundings of the two sums can. */
static void compute_out(ref_head *h)
{
    const arithmetic t = h->t;
    const size_t visible = h->row.visible;
    const ref_real levels = (ref_real)levels_of(h->kv_len);
    const ref_real in_block = (ref_real)(visible < BLOCK ? visible : BLOCK);
    const ref_real roundings = gamma_n(in_block + 2 * levels + 1, t.u) + gamma_n((ref_real)visible, 0);
    const ref_real underflow = t.eta * (ref_real)(2 * visible + 8);
    const ref_real hull_roundings = roundings + gamma_n((ref_real)(sum_depth(h->compute, 1) + 3) + 2 * levels, t.u);
    for (size_t c = 0; c < h->head_dim_v; c++) {
        ref_real value = 0, moved = 0, magnitude = 0, error, hull, largest;
        ref_real least_v = 0, largest_v = 0;
        int first = !present(&h->desc->sinks), nan = 0, infinite = 0;
        for (size_t j = 0; j < h->kv_len; j++) {
            const ref_bounds *w = &h->weights[j];
            const ref_real v = h->v[j * h->head_dim_v + c];
            const ref_real up = w->high - w->value, down = w->value - w->low;
            if (!h->keep[j]) continue;
            nan |= isnan(v) || isnan(w->value);
            infinite |= isinf(v);
            if (first || v < least_v) least_v = v;
            if (first || v > largest_v) largest_v = v;
            first = 0;
            value += w->value * v;
            moved += (up > down ? up : down) * ref_abs(v);
            magnitude += w->high * ref_abs(v);
        }
        if (visible == 0) {
            h->out[c] = exactly(0);
        } else if (nan) {
            h->out[c] = exactly((ref_real)NAN);
        } else if (infinite) {
            h->out[c] = not_finite();
        } else {
            largest = largest_v > -least_v ? largest_v : -least_v;
            value = value < least_v ? least_v : value > largest_v ? largest_v : value;
            error = moved + roundings * magnitude + underflow;
            hull = hull_roundings * largest + underflow;
            h->out[c] = around(value, error);
            if (h->out[c].low < least_v - hull) h->out[c].low = least_v - hull;
            if (h->out[c].high > largest_v + hull) h->out[c].high = largest_v + hull;
            /* finite in, finite out */
            if (h->out[c].low < -t.max) h->out[c].low = -t.max;
            if (h->out[c].high > t.max) h->out[c].high = t.max;
        }
    }
}

const ref_row *ref_compute_row(ref_head *h, size_t query)
{
    softmax_row r, without;
    memset(&r, 0, sizeof r);
    compute_scores(h, query);
    r.n = h->kv_len;
    r.score = h->score;
    r.delta = h->delta;
    r.keep = h->keep;
    r.shift = h->shift;
    r.fused = 1;
    r.low = h->low;
    r.high = h->high;
    r.possible = h->possible;
    r.weight = h->weights;
    if (present(&h->desc->sinks)) {
        compute_weights(&r, h->compute); /* for what does not count it */
        without = r;
        r.has_sink = 1;
        r.sink = ref_ldexp(ref_get(&h->desc->sinks, 0, 0, 0, h->head), -h->shift);
    }
    compute_weights(&r, h->compute);
    if (!r.has_sink) without = r;
    compute_out(h);
    if (h->desc->stage == ATTN_STAGE_PROBS) memcpy(h->scores, h->weights, h->kv_len * sizeof *h->scores);
    h->row.kv_len = h->kv_len;
    h->row.head_dim_v = h->head_dim_v;
    h->row.keep = h->keep;
    h->row.scores = h->scores;
    h->row.weights = h->weights;
    h->row.out = h->out;
    h->row.lse = r.lse;
    h->row.max = without.largest;
    h->row.sum = without.total;
    return &h->row;
}

/* ------------------------------------------------------------- checking -- */

static void check_number(ref_report *report, const char *what, ref_bounds want, ref_real got, size_t i0, size_t i1,
                         size_t i2, size_t i3)
{
    const double ratio = ref_ratio(&want, got);
    report->checked++;
    report->wrong += !(ratio <= 1);
    if (report->checked > 1 && !(ratio > report->worst)) return;
    report->worst = ratio;
    report->what = what;
    report->at[0] = i0;
    report->at[1] = i1;
    report->at[2] = i2;
    report->at[3] = i3;
    report->got = (double)got;
    report->want = want;
}

/* What the stored weights of a row may sum to: 1, or with a sink the exact sum, within 16 u and
 * the errors of storing them. */
static ref_bounds row_sum(const ref_row *row, attn_dtype type, attn_dtype compute, int sinks)
{
    const arithmetic t = arithmetic_of(compute), stored_as = arithmetic_of(type);
    ref_real error = 16 * t.u + (ref_real)row->visible * t.flushed;
    ref_bounds sum = around(1, 0);
    if (row->visible == 0) return exactly(0);
    if (!isfinite(row->lse.value)) return exactly((ref_real)NAN);
    if (sinks) {
        sum = around(0, 0);
        for (size_t j = 0; j < row->kv_len; j++) {
            sum.value += row->weights[j].value;
            sum.low += row->weights[j].low;
            sum.high += row->weights[j].high;
        }
    }
    if (type != compute) error += stored_as.u * sum.high + (ref_real)row->visible * stored_as.eta;
    sum.low -= error;
    sum.high = sum.high < 1 ? sum.high + error : 1 + error;
    return sum;
}

ref_report ref_check(const attn_desc *desc, size_t step)
{
    const attn_dtype compute = compute_type(desc->q.dtype);
    const arithmetic t = arithmetic_of(compute);
    const int packed = present(&desc->cu_seqlens_q);
    ref_report report;
    memset(&report, 0, sizeof report);
    report.type = desc->q.dtype;
    for (size_t b = 0; b < ref_batches(desc); b++)
        for (size_t h = 0; h < ref_length(&desc->q, 3); h++) {
            const size_t at = packed ? 0 : b; /* index of the batch in the arrays */
            ref_head *head = ref_open(desc, b, h);
            ref_bounds *columns = ref_malloc(head->kv_len, sizeof *columns);
            for (size_t i = 0; i < head->s.q_len; i += step) {
                const ref_row *row = ref_compute_row(head, i);
                const size_t query = head->s.q_base + i;
                if (present(&desc->out))
                    for (size_t c = 0; c < row->head_dim_v; c++)
                        check_number(&report, "out", stored(row->out[c], desc->out.dtype, compute),
                                     ref_get(&desc->out, at, h, query, c), b, h, i, c);
                if (present(&desc->lse))
                    check_number(&report, "lse", stored(row->lse, desc->lse.dtype, compute),
                                 ref_get(&desc->lse, 0, at, h, query), b, h, i, 0);
                if (present(&desc->rowmax))
                    check_number(&report, "rowmax", stored(row->max, desc->rowmax.dtype, compute),
                                 ref_get(&desc->rowmax, 0, at, h, query), b, h, i, 0);
                if (present(&desc->rowsum))
                    check_number(&report, "rowsum", stored(row->sum, desc->rowsum.dtype, compute),
                                 ref_get(&desc->rowsum, 0, at, h, query), b, h, i, 0);
                if (present(&desc->scores) && h - desc->scores_head < ref_length(&desc->scores, 3) &&
                    query - desc->scores_query <
                        ref_length(&desc->scores, 2)) { /* negative differences wrap to huge numbers */
                    ref_sum sum = {0, 0};
                    for (size_t j = 0; j < row->kv_len; j++) {
                        const ref_real score =
                            ref_get(&desc->scores, at, h - desc->scores_head, query - desc->scores_query, j);
                        check_number(&report, "scores", stored(row->scores[j], desc->scores.dtype, compute), score, b,
                                     h, i, j);
                        ref_add(&sum, score);
                    }
                    if (desc->stage == ATTN_STAGE_PROBS)
                        check_number(&report, "sum of weights",
                                     row_sum(row, desc->scores.dtype, compute, present(&desc->sinks)),
                                     sum.sum + sum.rest, b, h, i, 0);
                }
                for (size_t j = 0; j < row->kv_len; j++) {
                    columns[j].value += row->weights[j].value;
                    columns[j].low += row->weights[j].low;
                    columns[j].high += row->weights[j].high;
                }
            }
            if (present(&desc->colsum) && step == 1)
                for (size_t j = 0; j < head->kv_len; j++) {
                    const ref_real rows = (ref_real)head->s.q_len,
                                   error = gamma_n(rows, t.u) * columns[j].high + rows * t.eta;
                    if (columns[j].high > 0) {
                        columns[j].low -= error;
                        columns[j].high += error;
                    }
                    check_number(&report, "colsum", stored(columns[j], desc->colsum.dtype, compute),
                                 ref_get(&desc->colsum, 0, present(&desc->cu_seqlens_k) ? 0 : b, h, head->s.k_base + j),
                                 b, h, 0, j);
                }
            free(columns);
            ref_close(head);
        }
    return report;
}

/* A chain of multiply-adds, fused or not: |error| <= k u sum |a b|. */
ref_report ref_check_matmul(const attn_array *a, const attn_array *b, const attn_array *c)
{
    const arithmetic t = arithmetic_of(compute_type(c->dtype));
    const size_t inner = ref_length(a, 1);
    ref_report report;
    memset(&report, 0, sizeof report);
    report.type = a->dtype;
    for (size_t i0 = 0; i0 < ref_length(c, 4); i0++)
        for (size_t i1 = 0; i1 < ref_length(c, 3); i1++)
            for (size_t i = 0; i < ref_length(c, 2); i++)
                for (size_t j = 0; j < ref_length(c, 1); j++) {
                    ref_real value = 0, magnitude = 0, error;
                    for (size_t k = 0; k < inner; k++) {
                        const ref_real product = ref_get(a, i0, i1, i, k) * ref_get(b, i0, i1, k, j);
                        value += product;
                        magnitude += ref_abs(product);
                    }
                    error = gamma_n((ref_real)inner, t.u) * magnitude + (ref_real)inner * t.eta;
                    check_number(&report, "product",
                                 stored(isfinite(value) ? around(value, error) : exactly(value), c->dtype, c->dtype),
                                 ref_get(c, i0, i1, i, j), i0, i1, i, j);
                }
    return report;
}

ref_report ref_check_softmax(const attn_array *x, int axis, const attn_array *y)
{
    const int k = (axis < 0 ? axis + x->ndim : axis) + 4 - x->ndim; /* of four axes */
    size_t shape[4], at[4], n;
    softmax_row r;
    ref_real *score, *delta;
    unsigned char *keep;
    ref_report report;
    memset(&report, 0, sizeof report);
    report.type = x->dtype;
    memset(&r, 0, sizeof r);
    for (int i = 0; i < 4; i++) shape[i] = ref_length(x, 4 - i);
    n = shape[k];
    r.n = n;
    r.score = score = ref_malloc(n, sizeof *score);
    r.delta = delta = ref_malloc(n, sizeof *delta);
    r.keep = keep = ref_malloc(n, sizeof *keep);
    r.low = ref_malloc(n, sizeof *r.low);
    r.high = ref_malloc(n, sizeof *r.high);
    r.possible = ref_malloc(n, sizeof *r.possible);
    r.weight = ref_malloc(n, sizeof *r.weight);
    shape[k] = 1;
    for (at[0] = 0; at[0] < shape[0]; at[0]++)
        for (at[1] = 0; at[1] < shape[1]; at[1]++)
            for (at[2] = 0; at[2] < shape[2]; at[2]++)
                for (at[3] = 0; at[3] < shape[3]; at[3]++) {
                    size_t e[4];
                    memcpy(e, at, sizeof e);
                    for (e[k] = 0; e[k] < n; e[k]++) {
                        score[e[k]] = ref_get(x, e[0], e[1], e[2], e[3]);
                        keep[e[k]] = (unsigned char)(score[e[k]] != -(ref_real)INFINITY);
                    }
                    compute_weights(&r, compute_type(x->dtype));
                    if (!isfinite(r.lse.value) && r.lse.value != -(ref_real)INFINITY) /* NaN or +inf: the whole line */
                        for (e[k] = 0; e[k] < n; e[k]++) r.weight[e[k]] = exactly((ref_real)NAN);
                    for (e[k] = 0; e[k] < n; e[k]++)
                        check_number(&report, "softmax", r.weight[e[k]], ref_get(y, e[0], e[1], e[2], e[3]), e[0], e[1],
                                     e[2], e[3]);
                }
    free(score);
    free(delta);
    free(keep);
    free(r.low);
    free(r.high);
    free(r.possible);
    free(r.weight);
    return report;
}
