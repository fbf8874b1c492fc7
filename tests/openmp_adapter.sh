#!/bin/sh
# SPDX-License-Identifier: MIT-0
# shellcheck disable=SC2086 # $CC is a list
#
# openmp_adapter.sh - tests the OpenMP parallel_for that users copy from examples/, and the shares of
# examples/shares.c: with several threads and without OpenMP they give the bits of one thread. TAP.

# shellcheck source=tests/tap.sh
. "${srcdir:-.}/tests/tap.sh"

cat >"$dir/adapter.c" <<'END'
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
#include "examples/openmp_parallel_for.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float q[4 * 700 * 16], k[2 * 3000 * 16], v[2 * 3000 * 16], alone[4 * 700 * 16], together[4 * 700 * 16];

static attn_status forward(size_t q_len, float *out, size_t threads)
{
    attn_exec run = attn_exec_default();
    size_t bytes;
    attn_status status;
    attn_desc d = attn_desc_default();
    d.q = attn_array_3d(ATTN_F32, q, 4, q_len, 16);
    d.k = attn_array_3d(ATTN_F32, k, 2, 3000, 16);
    d.v = attn_array_3d(ATTN_F32, v, 2, 3000, 16);
    d.out = attn_array_3d(ATTN_F32, out, 4, q_len, 16);
    if (threads) {
        run.parallel_for = attn_openmp_for;
        run.parallel_context = &threads;
        run.num_workers = threads;
    }
    run.query = &bytes;
    status = attn_forward(&d, &run);
    run.query = NULL;
    run.workspace = malloc(bytes);
    run.workspace_size = bytes;
    if (status == ATTN_OK) status = attn_forward(&d, &run);
    free(run.workspace);
    return status;
}

int main(void)
{
    size_t i, threads, q_len;
    for (i = 0; i < sizeof q / sizeof *q; i++) q[i] = (float)(i * 7919 % 1000) / 300 - 1.6f;
    for (i = 0; i < sizeof k / sizeof *k; i++) k[i] = (float)(i * 6007 % 1000) / 300 - 1.6f, v[i] = (float)(i * 5003 % 1000) / 300 - 1.6f;
    for (q_len = 1; q_len <= 700; q_len += 699)
        for (threads = 1; threads < 6; threads++)
            if (forward(q_len, alone, 0) || forward(q_len, together, threads) || memcmp(alone, together, 4 * q_len * 16 * sizeof(float))) {
                printf("%lu queries, %lu threads\n", (unsigned long)q_len, (unsigned long)threads);
                return 1;
            }
    return 0;
}
END

check() { # NAME SOURCE FLAGS
    ${CC:-cc} -O2 -Wall -Wextra -Werror $3 -I"$top" "$2" -o "$dir/program" -lm 2>"$dir/log" && ${RUN-} "$dir/program" >"$dir/log"
    ok "$1"
}

check "without OpenMP: the same bits" "$dir/adapter.c" ""
printf '#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n' >"$dir/probe.c"
if ${CC:-cc} -fopenmp "$dir/probe.c" -o "$dir/probe" 2>/dev/null; then
    check "OpenMP, 1 to 5 threads: the same bits" "$dir/adapter.c" -fopenmp
    check "OpenMP, shares of 2 threads: the same bits" "$top/examples/shares.c" -fopenmp
    for threads in 1 3 4; do
        ${RUN-} "$dir/program" $threads >"$dir/log" && grep -q "^threads: $threads, " "$dir/log"
        ok "OpenMP, shares of $threads threads: the same bits"
    done
else
    skip "OpenMP, 1 to 5 threads, and shares: the same bits" 'the compiler has no OpenMP'
fi
plan
