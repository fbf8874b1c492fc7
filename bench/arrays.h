/* SPDX-License-Identifier: MIT-0
 *
 * arrays.h - a job as attention.h sees it.
 */
#ifndef ATTN_BENCH_ARRAYS_H
#define ATTN_BENCH_ARRAYS_H

#include "attention.h"

#include "bench.h"

typedef struct bench_arrays {
    attn_desc desc;       /* attention */
    attn_array a, b, out; /* softmax: a; matmul: a and b */
} bench_arrays;

bench_arrays bench_describe(const bench_job *job);

#endif
