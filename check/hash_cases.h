/* SPDX-License-Identifier: MIT-0
 *
 * hash_cases.h - one hash for each kind of computation, the same wherever this is compiled
 * and run: tests/golden.txt lists them. Includes the implementation, so that compiler flags
 * affect both; inputs are made from integers, which no flag affects. `attn hash` and
 * check/hash.c print
 *
 *   <case> <hash>             every path gives this hash
 *   <case> DIFFERS <path>...  these paths do not give the hash of the scalar path
 *   <arithmetic> <hash>       one hash of all lines above
 */
#ifndef HASH_CASES_H
#define HASH_CASES_H

#ifndef ATTENTION_IMPLEMENTATION
#define ATTN_STATIC
#define ATTENTION_IMPLEMENTATION
#endif
#include "attention.h"

#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
int hash_print(void); /* also called by tools/hash.c */
#ifdef __cplusplus
}
#endif

/* --------------------------------------------------------- hash and inputs -- */

static uint64_t hash_bits(uint64_t h, uint64_t bits, int bytes)
{
    for (; bytes > 0; bytes--, bits >>= 8) h = (h ^ (bits & 255)) * UINT64_C(1099511628211); /* FNV-1a */
    return h;
}

/* All NaN count as the same, since machines differ in which one an operation gives. */
static uint64_t hash_element(uint64_t h, const attn_array *a, size_t i)
{
    if (a->dtype == ATTN_F64) {
        const uint64_t bits = attn__bits_f64(((const double *)a->data)[i]);
        return hash_bits(h, (bits << 1) > UINT64_C(0xffe0000000000000) ? UINT64_C(0x7ff8000000000000) : bits, 8);
    }
    if (a->dtype == ATTN_F32) {
        const uint32_t bits = attn__bits_f32(((const float *)a->data)[i]);
        return hash_bits(h, (bits << 1) > 0xff000000u ? 0x7fc00000u : bits, 4);
    } else {
        const uint16_t bits = ((const uint16_t *)a->data)[i];
        const unsigned infinity = a->dtype == ATTN_F16 ? 0x7c00u : 0x7f80u;
        return hash_bits(h, (bits & 0x7fffu) > infinity ? 0x7fffu : bits, 2);
    }
}

static size_t count_of(const attn_array *a)
{
    size_t n = 1;
    int i;
    for (i = 0; i < a->ndim; i++) n *= a->shape[i];
    return n;
}

static size_t bytes_of(const attn_array *a)
{
    return count_of(a) / attn_dtype_block(a->dtype) * attn_dtype_size(a->dtype);
}

static uint64_t hash_array(uint64_t h, const attn_array *a)
{
    size_t i, n = count_of(a);
    for (i = 0; i < n; i++) h = hash_element(h, a, i);
    return h;
}

static int failures;
static uint64_t hash_status(uint64_t h, attn_status status)
{
    if (status != ATTN_OK) failures++;
    return hash_bits(h, (uint64_t)status, 1);
}

static uint64_t random_state;
static uint64_t random_bits(void) /* splitmix64 */
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Numbers of either sign from 2^(exponent - 3) to 2^(exponent + 1), which may be subnormal. */
static uint64_t random_number(int exponent, int bias, int mantissa)
{
    const uint64_t r = random_bits(), fraction = r >> 8 & ((UINT64_C(1) << mantissa) - 1);
    const int e = exponent + bias - (int)(r & 3);
    const uint64_t sign = (r >> 2 & 1) << (mantissa + (bias > 127 ? 11 : bias > 15 ? 8 : 5));
    return sign | (e > 0 ? (uint64_t)e << mantissa | fraction : fraction >> 2);
}

static void fill(const attn_array *a, int exponent)
{
    size_t i, n = count_of(a);
    for (i = 0; i < n; i++) switch (a->dtype) {
        case ATTN_F64: ((double *)a->data)[i] = attn__from_bits_f64(random_number(exponent, 1023, 52)); break;
        case ATTN_F32: ((float *)a->data)[i] = attn__from_bits_f32((uint32_t)random_number(exponent, 127, 23)); break;
        case ATTN_F16: ((uint16_t *)a->data)[i] = (uint16_t)random_number(exponent, 15, 10); break;
        default: ((uint16_t *)a->data)[i] = (uint16_t)random_number(exponent, 127, 7); break;
        }
}

/* Sets every `step`-th element to the float with these bits. */
static void plant(const attn_array *a, size_t first, size_t step, uint32_t bits)
{
    const float x = attn__from_bits_f32(bits);
    size_t i, n = count_of(a);
    for (i = first; i < n; i += step) {
        if (a->dtype == ATTN_F64) ((double *)a->data)[i] = (double)x;
        else attn__store_f32((char *)a->data + i * attn_dtype_size(a->dtype), a->dtype, 1, &x, 1);
    }
}
#define INFINITE 0x7f800000u
#define MINUS_INFINITE 0xff800000u
#define NOT_A_NUMBER 0x7fc00000u

static double memory[1 << 17];
static size_t taken;
static char workspace[1 << 22];

static attn_array array_4d(attn_dtype dtype, size_t n0, size_t n1, size_t n2, size_t n3)
{
    const attn_array a = attn_array_4d(dtype, (char *)memory + taken, n0, n1, n2, n3);
    taken += (bytes_of(&a) + 63) / 64 * 64;
    if (taken > sizeof memory) {
        failures++;
        taken = 0;
    }
    return a;
}
static attn_array array_1d(attn_dtype dtype, size_t n)
{
    attn_array a = array_4d(dtype, 1, 1, 1, n);
    a.ndim = 1;
    a.shape[0] = n;
    return a;
}

static attn_exec on(attn_path path)
{
    attn_exec run = attn_exec_in(workspace, sizeof workspace);
    run.path = path;
    return run;
}

/* ------------------------------------------------------------------ cases -- */

/* Each case returns the hash of what a path computes, including statuses. */
typedef uint64_t (*case_function)(attn_path path, int argument);

/* Called through pointers: inlined here, they would be compiled with this file's flags, of which some
 * do not hold inside of the header. */
static float (*volatile fma_f32)(float, float, float) = attn__fma_f32;
static double (*volatile fma_f64)(double, double, double) = attn__fma_f64;
static double (*volatile log_f64)(double) = attn__log_f64;

static uint64_t case_fma(attn_path path, int f64)
{
    uint64_t h = 0;
    int i;
    (void)path;
    for (i = 0; i < 3000; i++) {
        const int e = i % 20 - 10;
        if (f64) {
            const double a = attn__from_bits_f64(random_number(e, 1023, 52)),
                         b = attn__from_bits_f64(random_number(e, 1023, 52));
            h = hash_bits(h, attn__bits_f64(fma_f64(a, b, attn__from_bits_f64(random_number(-e, 1023, 52)))), 8);
        } else {
            const float a = attn__from_bits_f32((uint32_t)random_number(e, 127, 23)),
                        b = attn__from_bits_f32((uint32_t)random_number(e, 127, 23));
            h = hash_bits(h, attn__bits_f32(fma_f32(a, b, attn__from_bits_f32((uint32_t)random_number(-e, 127, 23)))),
                          4);
        }
    }
    return h;
}

static uint64_t case_elementary(attn_path path, int f64)
{
    const attn__kernel *kernel = attn__kernel_of(path, f64 ? ATTN_F64 : ATTN_F32);
    const attn_array row = array_1d(kernel->dtype, 512);
    attn__beat beat;
    uint64_t h = 0;
    int e;
    for (e = -30; e < 10; e += 2) {
        fill(&row, e);
        memset(&beat, 0, sizeof beat);
        beat.next = row.data, beat.next_n = 500;
        kernel->softmax(&beat);
        beat.max = beat.next_max, beat.next_n = 0;
        beat.from = beat.to = row.data, beat.n = 500;
        kernel->softmax(&beat);
        memset((char *)row.data + 500 * kernel->size, 0, 12 * kernel->size);
        h = hash_array(hash_bits(h, 0, 1), &row);
        h = hash_bits(hash_bits(h, attn__bits_f64(beat.max), 8), attn__bits_f64(beat.sum), 8);
        fill(&row, e);
        kernel->softcap(row.data, 512, 1.5);
        h = hash_array(h, &row);
        h = hash_bits(
            h, attn__bits_f64(log_f64(attn__from_bits_f64(random_number(e, 1023, 52) & UINT64_C(0x7fffffffffffffff)))),
            8);
    }
    return h;
}

typedef struct forward_case {
    attn_dtype dtype;
    size_t q_heads, kv_heads, q_len, kv_len, dim, dim_v;
    int exponent;
    int causal, modifiers, specials, colsum;
} forward_case;

static const forward_case forward_cases[] = {
    {ATTN_F32, 2, 1, 7, 70, 24, 20, 1, 1, 0, 0, 0},   {ATTN_F64, 2, 1, 7, 70, 24, 20, 1, 1, 0, 0, 0},
    {ATTN_F16, 2, 1, 7, 70, 24, 20, 1, 1, 0, 0, 0},   {ATTN_BF16, 2, 1, 7, 70, 24, 20, 1, 1, 0, 0, 0},
    {ATTN_F32, 1, 1, 40, 600, 16, 9, 2, 0, 0, 0, 0},  {ATTN_F64, 1, 1, 40, 600, 16, 9, 2, 0, 0, 0, 0},
    {ATTN_F32, 4, 2, 1, 1100, 16, 32, 2, 0, 0, 0, 0}, {ATTN_F32, 2, 2, 5, 40, 8, 8, 3, 1, 1, 0, 0},
    {ATTN_F64, 2, 2, 5, 40, 8, 8, 3, 1, 1, 0, 0},     {ATTN_F32, 1, 1, 9, 20, 7, 5, 100, 1, 1, 0, 0},
    {ATTN_F64, 1, 1, 9, 20, 7, 5, 1000, 1, 1, 0, 0},  {ATTN_F32, 1, 1, 9, 20, 7, 5, 127, 0, 0, 0, 0},
    {ATTN_F32, 1, 1, 9, 20, 7, 5, -128, 0, 0, 0, 0},  {ATTN_F64, 1, 1, 9, 20, 7, 5, -1024, 0, 0, 0, 0},
    {ATTN_F32, 1, 1, 9, 20, 7, 5, 1, 1, 0, 1, 0},     {ATTN_F64, 1, 1, 9, 20, 7, 5, 1, 1, 0, 1, 0},
    {ATTN_F32, 2, 1, 9, 50, 7, 5, 1, 1, 1, 0, 1},
};

static attn_desc problem_of(const forward_case *c)
{
    attn_desc d = attn_desc_default();
    const attn_dtype wide = c->dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32;
    d.q = array_4d(c->dtype, 1, c->q_heads, c->q_len, c->dim);
    d.k = array_4d(c->dtype, 1, c->kv_heads, c->kv_len, c->dim);
    d.v = array_4d(c->dtype, 1, c->kv_heads, c->kv_len, c->dim_v);
    fill(&d.q, c->exponent);
    fill(&d.k, c->exponent);
    fill(&d.v, c->exponent);
    d.out = array_4d(c->dtype, 1, c->q_heads, c->q_len, c->dim_v);
    d.lse = array_4d(wide, 1, 1, c->q_heads, c->q_len);
    d.lse.ndim = 3;
    d.lse.shape[1] = c->q_heads;
    d.lse.shape[2] = c->q_len;
    d.scores = array_4d(wide, 1, c->q_heads, c->q_len, c->kv_len);
    d.causal = c->causal;
    d.align = ATTN_ALIGN_LOWER_RIGHT;
    if (c->modifiers) {
        d.softcap = 20;
        d.window = 1;
        d.window_left = (int64_t)c->kv_len / 2;
        d.window_right = -1;
        d.mask = array_4d(wide, 1, 1, c->q_len, c->kv_len);
        fill(&d.mask, 1);
        plant(&d.mask, 2, 5, MINUS_INFINITE);
        d.alibi = array_1d(wide, c->q_heads);
        fill(&d.alibi, -2);
        d.sinks = array_1d(wide, c->q_heads);
        fill(&d.sinks, 1);
        if (!c->colsum) d.stage = ATTN_STAGE_BIASED;
    }
    if (c->specials) { /* causal: some of them are visible, some are not */
        plant(&d.k, c->dim * 15, c->dim * 2, NOT_A_NUMBER);
        plant(&d.v, c->dim_v * 13 + 1, c->dim_v * 3, INFINITE);
        plant(&d.v, c->dim_v * 14 + 2, c->dim_v * 4, NOT_A_NUMBER);
    }
    if (c->colsum) {
        d.colsum = array_4d(wide, 1, 1, c->q_heads, c->kv_len);
        d.colsum.ndim = 3;
        d.colsum.shape[1] = c->q_heads;
        d.colsum.shape[2] = c->kv_len;
    }
    return d;
}

static uint64_t case_forward(attn_path path, int number)
{
    const attn_exec run = on(path);
    attn_desc d = problem_of(&forward_cases[number]);
    uint64_t h = hash_status(0, attn_forward(&d, &run));
    h = hash_array(hash_array(hash_array(h, &d.out), &d.lse), &d.scores);
    return forward_cases[number].colsum ? hash_array(h, &d.colsum) : h;
}

static uint64_t case_states(attn_path path, int f64)
{
    const forward_case c = {f64 ? ATTN_F64 : ATTN_F32, 2, 1, 3, 1300, 8, 5, 1, 0, 0, 0, 0};
    const attn_exec run = on(path);
    attn_desc d = problem_of(&c), part = d;
    size_t sizes[3], i;
    char *states[3];
    uint64_t h = 0;
    for (i = 0; i < 2; i++) {
        const size_t begin = i * 700;
        part.k.data = (char *)d.k.data + begin * c.dim * attn_dtype_size(c.dtype);
        part.v.data = (char *)d.v.data + begin * c.dim_v * attn_dtype_size(c.dtype);
        part.k.shape[2] = part.v.shape[2] = i ? c.kv_len - begin : 700;
        part.kv_begin = begin;
        part.align = ATTN_ALIGN_UPPER_LEFT;
        h = hash_status(h, attn_state_size(&part, &sizes[i]));
        states[i] = (char *)array_1d(ATTN_F64, sizes[i] / 8 + 1).data;
        h = hash_status(h, attn_partial(&part, states[i], sizes[i], &run));
    }
    h = hash_status(h, attn_state_merged_size(states[0], states[1], &sizes[2]));
    states[2] = (char *)array_1d(ATTN_F64, sizes[2] / 8 + 1).data;
    h = hash_status(h, attn_state_merge(states[0], states[1], states[2], sizes[2], path));
    h = hash_status(h, attn_state_finish(&d, states[2], path));
    return hash_array(hash_array(h, &d.out), &d.lse);
}

static uint64_t case_steps(attn_path path, int f64)
{
    const attn_dtype dtype = f64 ? ATTN_F64 : ATTN_F32;
    const attn_exec run = on(path);
    const attn_array a = array_4d(dtype, 1, 1, 33, 530), b = array_4d(dtype, 1, 1, 41, 530),
                     v = array_4d(dtype, 1, 1, 41, 19);
    const attn_array s = array_4d(dtype, 1, 1, 33, 41), w = array_4d(dtype, 1, 1, 33, 41),
                     o = array_4d(dtype, 1, 1, 33, 19);
    uint64_t h;
    int axis;
    fill(&a, -1);
    fill(&b, 1);
    fill(&v, 1);
    h = hash_status(0, attn_scores(&a, &b, 0, &s, &run));
    h = hash_array(h, &s);
    for (axis = -2; axis < 0; axis++) {
        h = hash_status(h, attn_softmax(&s, axis, &w, &run));
        h = hash_array(h, &w);
    }
    h = hash_status(h, attn_weighted_sum(&w, &v, &o, &run));
    h = hash_array(h, &o);
    plant(&s, 3, 71, MINUS_INFINITE); /* in rows of 41, so that rows have different ones */
    plant(&s, 205, 410, INFINITE);
    plant(&s, 300, 533, NOT_A_NUMBER);
    h = hash_status(h, attn_softmax(&s, -1, &w, &run));
    return hash_array(h, &w);
}

static uint64_t case_rotary(attn_path path, int number)
{
    static const attn_dtype dtypes[4] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};
    const attn_array x = array_4d(dtypes[number], 1, 2, 50, 12), y = array_4d(dtypes[number], 1, 2, 50, 12);
    uint64_t h;
    (void)path;
    fill(&x, 1);
    h = hash_status(0, attn_rotary(&x, NULL, 0, 8, number % 2, &y));
    return hash_array(h, &y);
}

static uint64_t case_layer(attn_path path, int f64)
{
    const attn_dtype dtype = f64 ? ATTN_F64 : ATTN_F32;
    const attn_exec run = on(path);
    attn_layer layer = attn_layer_default();
    attn_array *const arrays[8] = {&layer.x,   &layer.w_q, &layer.w_k, &layer.w_v,
                                   &layer.w_o, &layer.b_q, &layer.b_v, &layer.out};
    static const size_t shapes[8][2] = {{11, 24}, {24, 24}, {24, 12}, {24, 12}, {24, 24}, {0, 24}, {0, 12}, {11, 24}};
    uint64_t h;
    int i;
    layer.num_heads = 4;
    layer.kv_num_heads = 2;
    for (i = 0; i < 8; i++) {
        const size_t rows = shapes[i][0], columns = shapes[i][1];
        *arrays[i] = array_1d(dtype, (rows ? rows : 1) * columns);
        *arrays[i] = rows ? attn_array_2d(dtype, arrays[i]->data, rows, columns)
                          : attn_array_1d(dtype, arrays[i]->data, columns);
        fill(arrays[i], -1);
    }
    h = hash_status(0, attn_layer_forward(&layer, &run));
    return hash_array(h, &layer.out);
}

/* Numbers rounded to 8 bits: how, and in what shape their scales are. With zero points both are given. */
typedef struct coded_case {
    attn_dtype dtype;
    int each_head, each_row, zeros;
    size_t groups;
} coded_case;

static const coded_case coded_cases[] = {
    {ATTN_I8, 1, 1, 0, 1},      {ATTN_U8, 1, 0, 1, 4},   {ATTN_F8_E4M3, 0, 0, 0, 32},
    {ATTN_F8_E5M2, 0, 0, 0, 1}, {ATTN_Q8_0, 0, 0, 0, 0},
};

static uint64_t quantize(uint64_t h, const coded_case *c, const attn_array *x, attn_array *codes, attn_array *scale,
                         attn_array *zero)
{
    const size_t heads = x->shape[1], rows = x->shape[2];
    const attn_scaling scaling = c->zeros ? ATTN_SCALES_GIVEN : ATTN_SCALES_FOUND;
    const unsigned char *bytes;
    size_t i;
    *codes = array_4d(c->dtype, 1, heads, rows, x->shape[3]);
    if (c->groups) *scale = array_4d(ATTN_F32, 1, c->each_head ? heads : 1, c->each_row ? rows : 1, c->groups);
    if (c->zeros) {
        *zero = array_4d(ATTN_F32, 1, c->each_head ? heads : 1, c->each_row ? rows : 1, c->groups);
        fill(scale, -6);
        fill(zero, 6);
    }
    h = hash_status(h, attn_quantize(x, codes, c->groups ? scale : NULL, c->zeros ? zero : NULL, scaling));
    bytes = (const unsigned char *)codes->data;
    for (i = 0; i < bytes_of(codes); i++) h = hash_bits(h, bytes[i], 1);
    return c->groups ? hash_array(h, scale) : h;
}

static uint64_t case_quantize(attn_path path, int number)
{
    const coded_case *c = &coded_cases[number];
    const attn_array x = array_4d(ATTN_F32, 1, 3, 50, 64), y = array_4d(ATTN_F32, 1, 3, 50, 64);
    attn_array codes, scale, zero;
    uint64_t h = 0;
    int e;
    (void)path;
    for (e = -140; e < 120; e += 47) { /* from subnormal numbers on */
        const size_t before = taken;
        fill(&x, e);
        h = quantize(h, c, &x, &codes, &scale, &zero);
        h = hash_status(h, attn_dequantize(&codes, c->groups ? &scale : NULL, c->zeros ? &zero : NULL, &y));
        h = hash_array(h, &y);
        taken = before;
    }
    return h;
}

/* Few queries and many. */
static uint64_t case_coded(attn_path path, int number)
{
    static const forward_case shapes[2] = {{ATTN_F32, 4, 2, 1, 600, 64, 32, 1, 1, 0, 0, 0},
                                           {ATTN_F16, 4, 2, 20, 100, 64, 32, 1, 1, 1, 0, 0}};
    const attn_exec run = on(path);
    uint64_t h = 0;
    int i;
    for (i = 0; i < 2; i++) {
        attn_desc d = problem_of(&shapes[i]);
        const attn_array k = d.k, v = d.v;
        h = quantize(h, &coded_cases[number], &k, &d.k, &d.k_scale, &d.k_zero);
        h = quantize(h, &coded_cases[number], &v, &d.v, &d.v_scale, &d.v_zero);
        h = hash_status(h, attn_forward(&d, &run));
        h = hash_array(hash_array(hash_array(h, &d.out), &d.lse), &d.scores);
        taken = 0;
    }
    return h;
}

/* Beside a mask and ALiBi, and alone; clamped, and not. */
static uint64_t case_relative(attn_path path, int f64)
{
    const attn_exec run = on(path);
    uint64_t h = 0;
    int i;
    for (i = 0; i < 4; i++) {
        const forward_case c = {f64 ? ATTN_F64 : ATTN_F32, 4, 2, i < 2 ? 30 : 1, 90, 8, 8, 1, 1, i % 2, 0, 0};
        attn_desc d = problem_of(&c);
        d.rel_bias = array_4d(c.dtype, 1, 4, 1, 40);
        fill(&d.rel_bias, 1);
        plant(&d.rel_bias, 3, 7, MINUS_INFINITE);
        d.rel_first = -10;
        d.rel_clamp = i % 2;
        h = hash_status(h, attn_forward(&d, &run));
        h = hash_array(hash_array(hash_array(h, &d.out), &d.lse), &d.scores);
        taken = 0;
    }
    return h;
}

typedef struct hash_case {
    const char *name;
    case_function function;
    int argument;
} hash_case;

static const hash_case cases[] = {
    {"fma_f32", case_fma, 0},
    {"fma_f64", case_fma, 1},
    {"exp_tanh_log_f32", case_elementary, 0},
    {"exp_tanh_log_f64", case_elementary, 1},
    {"steps_f32", case_steps, 0},
    {"steps_f64", case_steps, 1},
    {"forward_f32", case_forward, 0},
    {"forward_f64", case_forward, 1},
    {"forward_f16", case_forward, 2},
    {"forward_bf16", case_forward, 3},
    {"tiles_f32", case_forward, 4},
    {"tiles_f64", case_forward, 5},
    {"decode_f32", case_forward, 6},
    {"modifiers_f32", case_forward, 7},
    {"modifiers_f64", case_forward, 8},
    {"huge_f32", case_forward, 9},
    {"huge_f64", case_forward, 10},
    {"largest_f32", case_forward, 11},
    {"tiny_f32", case_forward, 12},
    {"tiny_f64", case_forward, 13},
    {"specials_f32", case_forward, 14},
    {"specials_f64", case_forward, 15},
    {"colsum_f32", case_forward, 16},
    {"states_f32", case_states, 0},
    {"states_f64", case_states, 1},
    {"rotary_f32", case_rotary, 0},
    {"rotary_f64", case_rotary, 1},
    {"rotary_f16", case_rotary, 2},
    {"rotary_bf16", case_rotary, 3},
    {"layer_f32", case_layer, 0},
    {"layer_f64", case_layer, 1},
    {"quantize_i8", case_quantize, 0},
    {"quantize_u8", case_quantize, 1},
    {"quantize_e4m3", case_quantize, 2},
    {"quantize_e5m2", case_quantize, 3},
    {"quantize_q8_0", case_quantize, 4},
    {"forward_i8", case_coded, 0},
    {"forward_u8", case_coded, 1},
    {"forward_e4m3", case_coded, 2},
    {"forward_e5m2", case_coded, 3},
    {"forward_q8_0", case_coded, 4},
    {"relative_f32", case_relative, 0},
    {"relative_f64", case_relative, 1},
};

static void print_hash(uint64_t h)
{
    printf(" %08lx%08lx", (unsigned long)(h >> 32), (unsigned long)(h & 0xffffffffu));
}

/* Prints the name, then the hash, or the paths that differ from the first one. */
static uint64_t run_case(const hash_case *c, uint64_t seed)
{
    uint64_t first = 0;
    int path, same = 1;
    printf("%s", c->name);
    for (path = ATTN_PATH_SCALAR; path < ATTN_PATH_COUNT; path++) {
        uint64_t h;
        if (!attn_path_supported((attn_path)path)) continue;
        random_state = seed;
        taken = 0;
        h = c->function((attn_path)path, c->argument);
        if (path == ATTN_PATH_SCALAR) first = h;
        if (h == first) continue;
        printf("%s %s", same ? " DIFFERS" : "", attn_path_name((attn_path)path));
        same = 0;
        failures++;
    }
    if (same) print_hash(first);
    puts("");
    return first;
}

/* Prints all hashes; returns 0 if paths differ or a call fails. */
int hash_print(void)
{
    uint64_t all = 0;
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) all = hash_bits(all, run_case(&cases[i], i), 8);
    printf("%s", attn_arithmetic());
    print_hash(all);
    puts("");
    return failures == 0;
}

#endif
