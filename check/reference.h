/* SPDX-License-Identifier: MIT-0
 *
 * The reference: computes attn_desc in the plainest way, and derives for every single result
 * the error that the library's arithmetic may have. Tests, fuzzers and benchmarks all use it
 * to decide what is right. Link with reference.c.
 *
 * It computes in long double. For float32 results, binary64 would suffice; for float64
 * results, the wider the better. The bounds include the reference's own rounding, which
 * matters only where long double is binary64. Define REF_DOUBLE to compute in binary64 where
 * long double is emulated and slow. This is the default where long double is a pair of doubles
 * (POWER), which is wide only in the middle of its range and turns infinities into NaN, and
 * with tcc, which loses one of three long doubles in an expression.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include "attention.h"

#include <float.h>

#if (LDBL_MANT_DIG == 106 || defined(__TINYC__)) && !defined(REF_DOUBLE)
#define REF_DOUBLE
#endif

#ifdef REF_DOUBLE
typedef double ref_real;
#else
typedef long double ref_real;
#endif

/* A sum with an error of about one rounding, however long it is (Neumaier 1974). */
typedef struct ref_sum {
    ref_real sum, rest;
} ref_sum;
void ref_add(ref_sum *sum, ref_real x);

/* What a computed number may be:
 *   value finite      low <= number <= high
 *   value NaN         NaN
 *   value infinite    this infinity where low == high, else anything not finite
 * A number that must be +0 has value = low = high = 0. If nothing is promised, low > high. */
typedef struct ref_bounds {
    ref_real value, low, high;
} ref_bounds;

/* Distance from the value in units of the allowed error: at most 1 if the number is right,
 * infinite where a distance makes no sense. */
double ref_ratio(const ref_bounds *bounds, ref_real number);

/* One element, aligned to the last axis: i3 is the last index, and dimensions of
 * 1 and missing dimensions broadcast. */
void *ref_at(const attn_array *a, size_t i0, size_t i1, size_t i2, size_t i3);
ref_real ref_get(const attn_array *a, size_t i0, size_t i1, size_t i2, size_t i3);

/* An element of 8 bits with its scale and zero point, which may be absent: (number - zero) * scale in float. */
ref_real ref_decoded(const attn_array *a, const attn_array *scale, const attn_array *zero, size_t i0, size_t i1,
                     size_t i2, size_t i3);

/* Sets an element of any type but ATTN_Q8_0, rounding to nearest even, types of 8 bits within their range. */
void ref_set(const attn_array *a, size_t i0, size_t i1, size_t i2, size_t i3, double value);

/* Sets an element of 8 bits, not of ATTN_Q8_0, to what quantising makes of x: x / scale + zero, in float, as above; by
 * a scale of 0, zero for finite numbers. And the scale that is found for numbers up to max, which ATTN_Q8_0 stores as
 * float16. */
void ref_encode(const attn_array *a, size_t i0, size_t i1, size_t i2, size_t i3, float x, float scale, float zero);
float ref_found_scale(float max, attn_dtype type);

/* One query row of one head. The pointers stay valid until the next row. */
typedef struct ref_row {
    size_t kv_len, head_dim_v;
    size_t visible;            /* number of visible keys */
    const unsigned char *keep; /* (kv_len) which keys are visible */
    const ref_bounds *scores;  /* (kv_len) at desc->stage */
    const ref_bounds *weights; /* (kv_len) */
    const ref_bounds *out;     /* (head_dim_v) */
    ref_bounds lse, max, sum;  /* log-sum-exp, rowmax, rowsum */
} ref_row;

/* The computation of one head of one batch, or of one packed sequence. */
typedef struct ref_head ref_head;
size_t ref_batches(const attn_desc *desc);
ref_head *ref_open(const attn_desc *desc, size_t batch, size_t head);
const ref_row *ref_compute_row(ref_head *head, size_t query);
void ref_close(ref_head *head);

/* Does query i of a batch, or packed sequence, and head see key j? */
int ref_sees(const attn_desc *desc, size_t batch, size_t head, size_t query, size_t key);

/* What its mask adds to that score: -inf where the key goes, 0 where it just stays, or has no column and stays. */
ref_real ref_mask(const attn_desc *desc, size_t batch, size_t head, size_t query, size_t key);

/* What its relative bias adds to that score. */
ref_real ref_relative(const attn_desc *desc, size_t batch, size_t head, size_t query, size_t key);

/* The worst number in a whole result. */
typedef struct ref_report {
    attn_dtype type;  /* of the first input */
    size_t checked;   /* numbers checked */
    size_t wrong;     /* numbers out of bounds */
    double worst;     /* the largest ref_ratio */
    const char *what; /* where it was found */
    size_t at[4];     /* batch, head, query, column */
    double got;
    ref_bounds want;
} ref_report;

/* The length of an axis counted from the end (1 is the last); 1 where missing. */
size_t ref_length(const attn_array *a, int from_end);

/* Checks out, lse, rowmax, rowsum, scores and colsum of a finished call, whichever are present,
 * on every `step`-th query (colsum where step is 1). */
ref_report ref_check(const attn_desc *desc, size_t step);

/* The steps: c = a b of up to 4 dimensions; y = softmax of x along an axis. */
ref_report ref_check_matmul(const attn_array *a, const attn_array *b, const attn_array *c);
ref_report ref_check_softmax(const attn_array *x, int axis, const attn_array *y);

#endif
