/* SPDX-License-Identifier: MIT-0
 *
 * mpi.c - what attention_mpi.h reaches of N times one process: make bench-mpi. In each round the first rank computes
 * the whole alone, then all ranks share it; both by one thread each. Prints medians of the rounds' ratios, and the
 * least times. doc/distributed.md has figures and what follows from them.
 */
#define ATTENTION_IMPLEMENTATION
#define ATTENTION_MPI_IMPLEMENTATION
#include "attention_mpi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 9 };

static const struct {
    const char *name;
    size_t heads, kv_heads, q_len, kv_len, dim;
    int causal, everywhere;
    attn_mpi_schedule schedule;
} cases[] = {{"prefill 4096, causal", 8, 2, 4096, 4096, 128, 1, 0, ATTN_MPI_RING},
             {"prefill 4096, causal", 8, 2, 4096, 4096, 128, 1, 0, ATTN_MPI_HEADS},
             {"prefill 2048", 8, 8, 2048, 2048, 64, 0, 0, ATTN_MPI_RING},
             {"prefill 2048", 8, 8, 2048, 2048, 64, 0, 0, ATTN_MPI_HEADS},
             {"decode 32768", 32, 8, 1, 32768, 128, 0, 1, ATTN_MPI_TREE},
             {"decode 4096", 32, 8, 1, 4096, 128, 0, 1, ATTN_MPI_TREE}};

/* Numbers that differ, the same on every rank, as bfloat16 or float32. */
static void *fill(attn_dtype dtype, size_t n, uint32_t seed)
{
    void *memory = malloc(n * attn_dtype_size(dtype) + 1);
    if (!memory) exit(1);
    for (size_t i = 0; i < n; i++) {
        const float x = (float)((seed = seed * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1.0f;
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        if (dtype == ATTN_F32) ((float *)memory)[i] = x;
        else ((uint16_t *)memory)[i] = (uint16_t)(bits >> 16);
    }
    return memory;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Rows of a shard of (heads, length, dim), the array itself if it is all. */
static void *rows_of(const void *whole, size_t heads, size_t length, size_t row, const attn_mpi_shard *s)
{
    const size_t mine = attn_mpi_rows(s) * row;
    char *rows = (char *)malloc(heads * mine + 1), *to = rows;
    if (!rows) exit(1);
    for (size_t h = 0; h < heads; h++)
        for (int i = 0; i < 2; i++) {
            const size_t n = (s->end[i] - s->begin[i]) * row;
            memcpy(to, (const char *)whole + (h * length + s->begin[i]) * row, n);
            to += n;
        }
    return rows;
}

static void measure(const attn_mpi *ranks, size_t c)
{
    const size_t heads = cases[c].heads, kv_heads = cases[c].kv_heads, q_len = cases[c].q_len, kv_len = cases[c].kv_len,
                 dim = cases[c].dim;
    float *q = (float *)fill(ATTN_F32, heads * q_len * dim, 1), *out = (float *)fill(ATTN_F32, heads * q_len * dim, 4);
    uint16_t *k = (uint16_t *)fill(ATTN_BF16, kv_heads * kv_len * dim, 2),
             *v = (uint16_t *)fill(ATTN_BF16, kv_heads * kv_len * dim, 3);
    attn_desc whole = attn_desc_default();
    attn_mpi_desc d = attn_mpi_desc_default();
    attn_mpi_shard all = {{0, 0}, {0, 0}};
    attn_mpi_report report;
    double ratios[ROUNDS], alone = 1e9, shared = 1e9, computing = 0;
    void *parts[4];
    size_t rows, mine;
    all.end[0] = q_len;
    whole.q = attn_array_3d(ATTN_F32, q, heads, q_len, dim);
    whole.k = attn_array_3d(ATTN_BF16, k, kv_heads, kv_len, dim);
    whole.v = attn_array_3d(ATTN_BF16, v, kv_heads, kv_len, dim);
    whole.out = attn_array_3d(ATTN_F32, out, heads, q_len, dim);
    whole.causal = cases[c].causal;
    d.part = whole;
    d.q_len = q_len;
    d.kv_len = kv_len;
    d.q_everywhere = cases[c].everywhere;
    d.schedule = cases[c].schedule;
    d.kv_shard = attn_mpi_cut(kv_len, ATTN_MPI_BLOCK, ranks->rank, ranks->ranks, cases[c].causal);
    d.q_shard = d.q_everywhere ? all : attn_mpi_cut(q_len, 1, ranks->rank, ranks->ranks, cases[c].causal);
    mine = attn_mpi_rows(&d.kv_shard);
    rows = attn_mpi_rows(&d.q_shard);
    parts[0] = rows_of(q, heads, q_len, dim * 4, &d.q_shard);
    parts[1] = rows_of(k, kv_heads, kv_len, dim * 2, &d.kv_shard);
    parts[2] = rows_of(v, kv_heads, kv_len, dim * 2, &d.kv_shard);
    parts[3] = rows_of(out, heads, q_len, dim * 4, &d.q_shard);
    d.part.q = attn_array_3d(ATTN_F32, parts[0], heads, rows, dim);
    d.part.k = attn_array_3d(ATTN_BF16, parts[1], kv_heads, mine, dim);
    d.part.v = attn_array_3d(ATTN_BF16, parts[2], kv_heads, mine, dim);
    d.part.out = attn_array_3d(ATTN_F32, parts[3], heads, rows, dim);
    for (int round = -1; round < ROUNDS; round++) { /* the first is not counted */
        double begin = MPI_Wtime(), one;
        if (ranks->rank == 0 && attn_forward(&whole, NULL)) exit(1);
        one = MPI_Wtime() - begin;
        MPI_Barrier(ranks->comm);
        begin = MPI_Wtime();
        if (attn_mpi_forward(ranks, &d, NULL, &report)) exit(1);
        MPI_Barrier(ranks->comm);
        begin = MPI_Wtime() - begin;
        if (round < 0) continue;
        ratios[round] = one / begin / ranks->ranks;
        if (one < alone) alone = one;
        if (begin < shared) shared = begin, computing = report.computing;
    }
    qsort(ratios, ROUNDS, sizeof *ratios, compare);
    if (ranks->rank == 0)
        printf("%-22s %-6s %d   %9.3f ms %9.3f ms %9.3f ms %5.0f %% %12.0f %12.0f\n", cases[c].name,
               attn_mpi_schedule_name(report.schedule), ranks->ranks, 1e3 * alone, 1e3 * shared, 1e3 * computing,
               100 * ratios[ROUNDS / 2], (double)report.sent, (double)report.held);
    for (int i = 0; i < 4; i++) free(parts[i]);
    free(q);
    free(k);
    free(v);
    free(out);
}

int main(int argc, char **argv)
{
    attn_mpi ranks;
    if (MPI_Init(&argc, &argv) || attn_mpi_open(&ranks, MPI_COMM_WORLD)) return 1;
    if (ranks.rank == 0)
        printf("case                   sched. N    one alone     all N    computing  efficiency   bytes sent   bytes "
               "held\n");
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) measure(&ranks, c);
    attn_mpi_close(&ranks);
    MPI_Finalize();
    return 0;
}
