/* SPDX-License-Identifier: MIT-0
 *
 * What the proofs share: the implementation, values of which nothing is known, and what is to be proved of what comes
 * of them. Where numbers are all that is unknown, Frama-C's Eva analyses the program, which is never run; the others
 * are run, for each input that there is.
 */
#ifndef PROOF_H
#define PROOF_H

#ifdef __FRAMAC__
#include "__fc_builtin.h"
#include <math.h> /* all that attention.h includes, while the compiler is still what it is */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#define __builtin_memcpy memcpy /* which Eva knows */
#define __builtin_memset memset
#undef __x86_64__ /* the scalar path alone: Eva knows neither intrinsics nor vectors */
#endif

#define ATTN_STATIC
#define ATTN_NO_AVX2
#define ATTN_NO_AVX512
#define ATTN_NO_SIMD128
#define ATTN_UNFUSED
#define ATTENTION_IMPLEMENTATION
#include "attention.h"

#ifdef __FRAMAC__
/* anything that the type can hold, each time anew */
static volatile int any_int;
static volatile size_t any_size;
static volatile ptrdiff_t any_ptrdiff;
static volatile int64_t any_int64;
static volatile uint64_t any_uint64;

/* Only from here on. */
#define ASSUME(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) exit(0);                                                                                     \
    } while (0)

/* run.sh counts them, so that none is passed over because nothing ever gets there. */
#define PROVE(condition, what)                                                                                         \
    do {                                                                                                               \
        const int holds = (condition) ? 1 : 0;                                                                         \
        /*@ assert holds == 1; */                                                                                      \
    } while (0)
#else
#include <stdio.h>
#define PROVE(condition, what)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("FAILED: line %d: %s\n", __LINE__, what);                                                           \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)
#endif

#endif
