/* SPDX-License-Identifier: MIT-0
 *
 * What the proofs share: the implementation, of which CBMC takes the functions that a proof
 * calls, and values of which nothing is known.
 */
#ifndef PROOF_H
#define PROOF_H

#include <string.h>
#define __builtin_memcpy memcpy /* which CBMC knows */
#define __builtin_memset memset

#define ATTN_STATIC
#define ATTN_NO_AVX2
#define ATTN_NO_AVX512
#define ATTN_NO_SIMD128
#define ATTN_UNFUSED
#define ATTENTION_IMPLEMENTATION
#include "attention.h"

#define ASSUME(condition) __CPROVER_assume(condition)
#define PROVE(condition, what) __CPROVER_assert(condition, what)

size_t nondet_size(void); /* without a body: anything */
ptrdiff_t nondet_ptrdiff(void);
int64_t nondet_int64(void);
uint64_t nondet_uint64(void);
int nondet_int(void);

static size_t below(size_t n)
{
    const size_t i = nondet_size();
    ASSUME(i < n);
    return i;
}

#endif
