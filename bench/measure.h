/* SPDX-License-Identifier: MIT-0
 *
 * measure.h - see measure.c for the method.
 */
#ifndef ATTN_BENCH_MEASURE_H
#define ATTN_BENCH_MEASURE_H

#include "bench.h"

typedef struct bench_plan {
    double seconds;   /* per case */
    size_t rounds;    /* at least, even if they take longer */
    size_t done, all; /* measurements, for progress */
} bench_plan;

/* Returns 0, or -1 if there is not enough memory. */
int bench_measure_case(bench_report_case *to, const bench_case *shape, const char *paths, const bench_plan *plan);
int bench_measure_growth(bench_report *report, const char *paths, const bench_plan *plan);
int bench_measure_roofline(bench_report *report, const bench_plan *plan);

#endif
