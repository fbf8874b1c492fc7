/* SPDX-License-Identifier: MIT-0
 *
 * openmp_parallel_for.h - OpenMP threads for attention.h, ready to copy.
 *
 *     size_t threads = (size_t)omp_get_max_threads();
 *     run.parallel_for = attn_openmp_for;
 *     run.parallel_context = &threads;
 *     run.num_workers = threads;
 *
 * Compile with -fopenmp. Without it, tasks run one after the other.
 */
#ifndef ATTN_OPENMP_PARALLEL_FOR_H
#define ATTN_OPENMP_PARALLEL_FOR_H

#include "attention.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* context: a size_t, the number of workers. */
static inline void attn_openmp_for(void *context, size_t count, attn_task task, void *arg)
{
    const int threads = (int)*(const size_t *)context;
    ptrdiff_t i;
    (void)threads;
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (i = 0; i < (ptrdiff_t)count; i++) task(arg, (size_t)i, (size_t)omp_get_thread_num());
#else
    for (i = 0; i < (ptrdiff_t)count; i++) task(arg, (size_t)i, 0);
#endif
}

#endif
