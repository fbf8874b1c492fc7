/* SPDX-License-Identifier: MIT-0
 *
 * The paths of unfused arithmetic, compared with multiplications and additions of four lanes
 * in registers, interleaved in one run. For WebAssembly (`make bench-wasm`) and for old
 * machines: cc -O2 -DATTN_UNFUSED -I. bench/simd128.c
 */
#define ATTENTION_IMPLEMENTATION
#include "attention.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 25, CALLS = 300, STEPS = 10000, CHAINS = 12 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(double *x)
{
    qsort(x, ROUNDS, sizeof *x, by_value);
    return x[ROUNDS / 2];
}

/* --------------------------------------------------------------- the ceiling -- */

typedef float four __attribute__((vector_size(16)));
static volatile float one = 0.999f, thousandth = 0.001f, sink;

/* As many chains as fit in registers. The function returns soon, because just-in-time
 * compilers replace it only between calls. */
static __attribute__((noinline)) void chains(int steps)
{
    const four m = {one, one, one, one}, c = {thousandth, thousandth, thousandth, thousandth};
    four a[CHAINS], sum = c;
    int i, k;
    for (k = 0; k < CHAINS; k++) a[k] = c;
    for (i = 0; i < steps; i++)
#define STEP(k) a[k] = a[k] * m + c;
    {
        STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11)
    }
#undef STEP
    for (k = 0; k < CHAINS; k++) sum = sum + a[k];
    sink = sum[0] + sum[1] + sum[2] + sum[3];
}

static double ceiling(void) /* GFLOP/s */
{
    const double start = now();
    int i;
    for (i = 0; i < CALLS; i++) chains(STEPS);
    return 8e-9 * CALLS * STEPS * CHAINS / (now() - start);
}

/* --------------------------------------------------------------------- ours -- */

static float *filled(size_t n)
{
    float *p = (float *)malloc(n * sizeof *p);
    size_t i;
    for (i = 0; p && i < n; i++) p[i] = (float)(rand() % 1000 - 500) * 0.004f;
    return p;
}

static double rate(const attn_desc *desc, attn_path path, double flops)
{
    attn_exec run = attn_exec_default();
    attn_status status;
    size_t bytes = 0;
    double start;
    void *workspace;
    run.path = path;
    run.query = &bytes;
    attn_forward(desc, &run);
    workspace = malloc(bytes);
    run = attn_exec_in(workspace, bytes);
    run.path = path;
    start = now();
    status = attn_forward(desc, &run);
    start = now() - start;
    free(workspace);
    if (status) fprintf(stderr, "%s\n", attn_status_string(status));
    return status ? 0 : 1e-9 * flops / start;
}

static void measure(size_t heads, size_t n, size_t dim)
{
    const size_t count = heads * n * dim;
    const double flops = 4.0 * (double)count * (double)n;
    double limit[ROUNDS], rates[ATTN_PATH_COUNT][ROUNDS], ratio[ATTN_PATH_COUNT][ROUNDS];
    attn_desc desc = attn_desc_default();
    int round, path;
    float *q = filled(count), *k = filled(count), *v = filled(count), *out = filled(count);
    desc.q = attn_array_3d(ATTN_F32, q, heads, n, dim);
    desc.k = attn_array_3d(ATTN_F32, k, heads, n, dim);
    desc.v = attn_array_3d(ATTN_F32, v, heads, n, dim);
    desc.out = attn_array_3d(ATTN_F32, out, heads, n, dim);
    for (round = -2; round < ROUNDS; round++) { /* two to warm up */
        const int at = round < 0 ? 0 : round;
        limit[at] = ceiling();
        for (path = ATTN_PATH_SCALAR; path < ATTN_PATH_COUNT; path++) {
            if (!attn_path_native((attn_path)path)) continue;
            rates[path][at] = rate(&desc, (attn_path)path, flops);
            ratio[path][at] = rates[path][at] / limit[at];
        }
    }
    printf("H%-3zu N%-4zu d%-4zu four lanes %6.1f GFLOP/s", heads, n, dim, median(limit));
    for (path = ATTN_PATH_SCALAR; path < ATTN_PATH_COUNT; path++)
        if (attn_path_native((attn_path)path))
            printf("   %s %.1f (%.2f)", attn_path_name((attn_path)path), median(rates[path]), median(ratio[path]));
    puts("");
    free(q), free(k), free(v), free(out);
}

int main(void)
{
    int i;
    for (i = 0; i < 1000; i++) /* many calls, so that a just-in-time compiler optimises it */
        chains(100);
    printf("%s arithmetic; medians of %d rounds, of their ratios in brackets\n", attn_arithmetic(), ROUNDS);
    measure(8, 512, 64);
    measure(12, 197, 64);
    measure(2, 2048, 64);
    measure(4, 512, 128);
    return 0;
}
