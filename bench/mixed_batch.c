/* SPDX-License-Identifier: MIT-0
 *
 * mixed_batch.c - a batch as a server has it, in one call and one by one: a prompt of 512, 128 queries after 4,096
 * keys, and six users who decode after 1,000 to 32,000; 32 query and 8 key heads, d 128, pages of 64. With one worker
 * and with two, all in turn; the results must be the same bits. Wall-clock time: a second worker needs a processor of
 * its own.
 */
#define ATTENTION_IMPLEMENTATION
#include "attention.h"

#include "check/clock.h"
#include "examples/pthread_parallel_for.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADS = 32,
    KV_HEADS = 8,
    DIM = 128,
    PAGE = 64,
    USERS = 8,
    LONGEST = 32000,
    PAGES = LONGEST / PAGE,
    ROUNDS = 11
};
enum { BATCH, ONE_BY_ONE, ALONE, WAYS };

static int queries[USERS] = {512, 128, 1, 1, 1, 1, 1, 1},
           keys[USERS] = {512, 4096 + 128, 1000, 2000, 4000, 8000, 16000, 32000}, begins[USERS + 1],
           table[USERS][PAGES];

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void require(attn_status status)
{
    if (!status) return;
    fprintf(stderr, "mixed_batch: %s\n", attn_status_string(status));
    exit(1);
}

static float *numbers(size_t n)
{
    float *x = malloc(n * sizeof *x);
    unsigned seed = 1;
    if (!x) require(ATTN_ERR_MEMORY);
    for (size_t i = 0; i < n; i++) x[i] = (float)((seed = seed * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1;
    return x;
}

/* Users [first, first + count) of the batch. */
static attn_desc users(const attn_desc *all, int first, int count)
{
    const int rows = begins[USERS];
    const size_t at = (size_t)begins[first] * DIM;
    attn_desc desc = *all;
    if (count == USERS) return desc;
    memset(&desc.cu_seqlens_q, 0, sizeof desc.cu_seqlens_q);
    desc.q = attn_array_strided(ATTN_F32, (float *)all->q.data + at, 1, HEADS, (size_t)queries[first], DIM,
                                (ptrdiff_t)HEADS * rows * DIM, (ptrdiff_t)rows * DIM, DIM, 1);
    desc.out = attn_array_strided(ATTN_F32, (float *)all->out.data + at, 1, HEADS, (size_t)queries[first], DIM,
                                  (ptrdiff_t)HEADS * rows * DIM, (ptrdiff_t)rows * DIM, DIM, 1);
    desc.kv_lens = attn_array_1d(ATTN_I32, keys + first, 1);
    desc.block_table = attn_array_2d(ATTN_I32, table[first], 1, PAGES);
    return desc;
}

static void run(int way, const attn_desc *all, const attn_exec *exec)
{
    attn_desc desc = users(all, USERS - 1, way == ALONE ? 1 : USERS);
    if (way != ONE_BY_ONE) require(attn_forward(&desc, exec));
    for (int n = 0; n < USERS && way == ONE_BY_ONE; n++) {
        desc = users(all, n, 1);
        require(attn_forward(&desc, exec));
    }
}

int main(void)
{
    static double times[2][WAYS][ROUNDS];
    attn_pthreads threads;
    attn_exec exec[2] = {attn_exec_default(), attn_exec_default()};
    attn_desc all = attn_desc_default();
    size_t pages = 0, elements, bytes = 0, most = 0;
    float *out[2];
    void *workspace;
    for (int n = 0; n < USERS; n++) {
        begins[n + 1] = begins[n] + queries[n];
        for (int i = 0; i * PAGE < keys[n]; i++) table[n][i] = (int)pages++;
    }
    elements = (size_t)begins[USERS] * HEADS * DIM;
    out[0] = numbers(elements), out[1] = numbers(elements);
    all.q = attn_array_3d(ATTN_F32, numbers(elements), HEADS, (size_t)begins[USERS], DIM);
    all.out = attn_array_3d(ATTN_F32, out[0], HEADS, (size_t)begins[USERS], DIM);
    all.k = attn_array_4d(ATTN_F32, numbers(pages * KV_HEADS * PAGE * DIM), pages, KV_HEADS, PAGE, DIM);
    all.v = attn_array_4d(ATTN_F32, numbers(pages * KV_HEADS * PAGE * DIM), pages, KV_HEADS, PAGE, DIM);
    all.block_table = attn_array_2d(ATTN_I32, table, USERS, PAGES);
    all.kv_lens = attn_array_1d(ATTN_I32, keys, USERS);
    all.cu_seqlens_q = attn_array_1d(ATTN_I32, begins, USERS + 1);
    all.causal = 1;
    all.align = ATTN_ALIGN_LOWER_RIGHT;

    if (!attn_pthreads_start(&threads, 2)) require(ATTN_ERR_MEMORY);
    exec[1].parallel_for = attn_pthreads_for;
    exec[1].parallel_context = &threads;
    exec[1].num_workers = threads.num_workers;
    for (int n = -1; n < USERS; n++) {
        attn_desc desc = users(&all, n < 0 ? 0 : n, n < 0 ? USERS : 1);
        exec[1].query = &bytes;
        require(attn_forward(&desc, &exec[1]));
        most = bytes > most ? bytes : most;
    }
    exec[1].query = NULL;
    if (!(workspace = malloc(most))) require(ATTN_ERR_MEMORY);
    exec[0].workspace = exec[1].workspace = workspace;
    exec[0].workspace_size = exec[1].workspace_size = most;

    for (int round = 0; round < ROUNDS; round++)
        for (int workers = 0; workers < 2; workers++)
            for (int way = 0; way < WAYS; way++) {
                const double start = wall_seconds();
                all.out.data = out[way == ONE_BY_ONE];
                run(way, &all, &exec[workers]);
                times[workers][way][round] = wall_seconds() - start;
                if (way != ONE_BY_ONE || !memcmp(out[0], out[1], elements * sizeof **out)) continue;
                fprintf(stderr, "mixed_batch: one call and eight give other bits\n");
                return 1;
            }
    for (int workers = 0; workers < 2; workers++)
        for (int way = 0; way < WAYS; way++) {
            static const char *const names[WAYS] = {"one call", "one by one", "the last of them"};
            double *t = times[workers][way];
            qsort(t, ROUNDS, sizeof *t, ascending);
            printf("%d worker%s %-18s %7.1f ms (%.1f..%.1f)", workers + 1, workers ? "s," : ", ", names[way],
                   1e3 * t[ROUNDS / 2], 1e3 * t[ROUNDS / 4], 1e3 * t[ROUNDS - 1 - ROUNDS / 4]);
            if (workers) printf("  %.2f times as fast as with one", times[0][way][ROUNDS / 2] / t[ROUNDS / 2]);
            puts("");
        }
    printf("one by one / one call: %.3f with one worker, %.3f with two\n",
           times[0][ONE_BY_ONE][ROUNDS / 2] / times[0][BATCH][ROUNDS / 2],
           times[1][ONE_BY_ONE][ROUNDS / 2] / times[1][BATCH][ROUNDS / 2]);
    attn_pthreads_stop(&threads);
    free(workspace);
    free(out[0]);
    free(out[1]);
    free((void *)all.q.data);
    free((void *)all.k.data);
    free((void *)all.v.data);
    return 0;
}
