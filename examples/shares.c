/* Where all threads of a pool run the same code, each with a number (ggml's ith of nth), they all make the same call,
 * and each does its share. Here OpenMP's threads are the pool:
 *
 *     cc -O2 -fopenmp shares.c && ./a.out 4
 *
 * Prints how many threads there were, and whether they gave the bits of one. */
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum { HEADS = 2, QUERIES = 3, KEYS = 5000, HEAD_DIM = 64, ALL = HEADS * KEYS * HEAD_DIM };

static float q[ALL], k[ALL], v[ALL], alone[ALL], together[ALL];

/* Waits until all threads of the pool are here: ggml_barrier, pthread_barrier_wait. */
static void barrier(void *pool)
{
    (void)pool;
#ifdef _OPENMP
#pragma omp barrier
#endif
}

/* What each thread runs; the workspace is the same for all. */
static attn_status compute(const attn_desc *d, void *workspace, size_t bytes, size_t ith, size_t nth)
{
    attn_exec run = attn_exec_in(workspace, bytes);
    run.share = ith;
    run.shares = nth;
    run.barrier = barrier;
    run.parallel_context = NULL; /* barrier gets it */
    return attn_forward(d, &run);
}

int main(int argc, char **argv)
{
    const int wanted = argc > 1 ? atoi(argv[1]) : 2;
    int threads = 1, errors = 0, same;
    void *workspace;
    size_t bytes;
    attn_desc d = attn_desc_default();
    d.q = attn_array_3d(ATTN_F32, q, HEADS, QUERIES, HEAD_DIM);
    d.k = attn_array_3d(ATTN_F32, k, HEADS, KEYS, HEAD_DIM);
    d.v = attn_array_3d(ATTN_F32, v, HEADS, KEYS, HEAD_DIM);
    d.out = attn_array_3d(ATTN_F32, alone, HEADS, QUERIES, HEAD_DIM);
    for (size_t i = 0; i < ALL; i++) {
        q[i] = (float)(i * 7919 % 1000) / 300 - 1.6f;
        k[i] = (float)(i * 6007 % 1000) / 300 - 1.6f;
        v[i] = (float)(i * 5003 % 1000) / 300 - 1.6f;
    }
    errors += attn_forward(&d, NULL) != ATTN_OK;
    d.out.data = together;
    if (wanted < 1 || attn_workspace_size(&d, (size_t)wanted, &bytes) || !(workspace = malloc(bytes))) {
        fprintf(stderr, "shares: %s\n", wanted < 1 ? "the number of threads is less than 1" : "no memory");
        return 1;
    }
#ifdef _OPENMP
#pragma omp parallel num_threads(wanted) reduction(+ : errors)
    {
        errors += compute(&d, workspace, bytes, (size_t)omp_get_thread_num(), (size_t)omp_get_num_threads()) != ATTN_OK;
#pragma omp single
        threads = omp_get_num_threads();
    }
#else
    errors += compute(&d, workspace, bytes, 0, 1) != ATTN_OK;
#endif
    same = memcmp(alone, together, sizeof alone) == 0;
    printf("threads: %d, errors: %d, bits: %s\n", threads, errors, same ? "the same" : "different");
    free(workspace);
    return errors > 0 || !same;
}
