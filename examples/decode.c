/* Three decoding steps with 4 query heads, 2 key/value heads and a bfloat16 cache. */
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
#include <stdio.h>
#include <stdlib.h>

enum { HEADS = 4, KV_HEADS = 2, CAPACITY = 64, DIM = 8, STEPS = 3 };

int main(void)
{
    static uint16_t keys[KV_HEADS][CAPACITY][DIM], values[KV_HEADS][CAPACITY][DIM];
    static float q[HEADS][DIM], k[KV_HEADS][DIM], v[KV_HEADS][DIM], out[HEADS][DIM], lse[HEADS];
    const attn_array new_k = attn_array_4d(ATTN_F32, k, 1, KV_HEADS, 1, DIM),
                     new_v = attn_array_4d(ATTN_F32, v, 1, KV_HEADS, 1, DIM);
    int32_t length = 0;
    size_t bytes;
    attn_exec run;
    attn_desc d = attn_desc_default();
    d.q = attn_array_4d(ATTN_F32, q, 1, HEADS, 1, DIM); /* batch, heads, queries, head_dim */
    d.k = attn_array_4d(ATTN_BF16, keys, 1, KV_HEADS, CAPACITY, DIM);
    d.v = attn_array_4d(ATTN_BF16, values, 1, KV_HEADS, CAPACITY, DIM);
    d.out = attn_array_4d(ATTN_F32, out, 1, HEADS, 1, DIM);
    d.lse = attn_array_3d(ATTN_F32, lse, 1, HEADS, 1);
    d.kv_lens = attn_array_1d(ATTN_I32, &length, 1);
    d.causal = 1;
    d.align = ATTN_ALIGN_LOWER_RIGHT;

    if (attn_workspace_size(&d, 1, &bytes)) return 1; /* once, for all steps */
    run = attn_exec_in(malloc(bytes), bytes);

    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < HEADS * DIM; i++) /* replace this with your model's projections */
            q[i / DIM][i % DIM] = (float)((i + step) % 3);
        for (int i = 0; i < KV_HEADS * DIM; i++) {
            k[i / DIM][i % DIM] = (float)((i + step) % 2);
            v[i / DIM][i % DIM] = (float)(i % DIM + step);
        }
        if (attn_cache_append(&d.k, &new_k, &d.kv_lens, NULL) || attn_cache_append(&d.v, &new_v, &d.kv_lens, NULL))
            return 1;
        length++;
        const attn_status status = attn_forward(&d, &run);
        printf("%s: out %.3f %.3f ..., log-sum-exp %.3f\n", attn_status_string(status), (double)out[0][0],
               (double)out[0][1], (double)lse[0]);
    }
    free(run.workspace);
    return 0;
}
