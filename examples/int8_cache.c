/* A sequence decoded with caches of float32, bfloat16 and int8, and how far the last two are from the first. */
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADS = 8, KV_HEADS = 2, CAPACITY = 256, DIM = 64, CACHES = 3 };

static const attn_dtype types[CACHES] = {ATTN_F32, ATTN_BF16, ATTN_I8};
static float keys[CACHES][KV_HEADS * CAPACITY * DIM], values[CACHES][KV_HEADS * CAPACITY * DIM]; /* or less of it */
static float scale[2][KV_HEADS * CAPACITY]; /* of int8: one for each key and value */
static float q[HEADS * DIM], k[KV_HEADS * DIM], v[KV_HEADS * DIM], out[CACHES][HEADS * DIM];

static void fill(float *x, size_t n) /* replace this with your model's projections */
{
    static uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / 8388608 - 1;
    }
}

int main(void)
{
    const attn_array new_k = attn_array_4d(ATTN_F32, k, 1, KV_HEADS, 1, DIM),
                     new_v = attn_array_4d(ATTN_F32, v, 1, KV_HEADS, 1, DIM);
    float most[CACHES] = {0};
    int32_t length = 0;
    attn_desc d[CACHES];
    for (int c = 0; c < CACHES; c++) {
        d[c] = attn_desc_default();
        d[c].q = attn_array_4d(ATTN_F32, q, 1, HEADS, 1, DIM);
        d[c].k = attn_array_4d(types[c], keys[c], 1, KV_HEADS, CAPACITY, DIM);
        d[c].v = attn_array_4d(types[c], values[c], 1, KV_HEADS, CAPACITY, DIM);
        d[c].out = attn_array_4d(ATTN_F32, out[c], 1, HEADS, 1, DIM);
        d[c].kv_lens = attn_array_1d(ATTN_I32, &length, 1);
        d[c].causal = 1;
        d[c].align = ATTN_ALIGN_LOWER_RIGHT;
    }
    d[2].k_scale = attn_array_4d(ATTN_F32, scale[0], 1, KV_HEADS, CAPACITY, 1);
    d[2].v_scale = attn_array_4d(ATTN_F32, scale[1], 1, KV_HEADS, CAPACITY, 1);

    for (; length < CAPACITY;) {
        fill(q, HEADS * DIM);
        fill(k, KV_HEADS * DIM);
        fill(v, KV_HEADS * DIM);
        for (int c = 0; c < CACHES; c++) {
            const attn_array *of_k = c == 2 ? &d[c].k_scale : NULL, *of_v = c == 2 ? &d[c].v_scale : NULL;
            const attn_scaling how = c == 2 ? ATTN_SCALES_FOUND : ATTN_SCALES_GIVEN;
            if (attn_cache_append_scaled(&d[c].k, of_k, NULL, how, &new_k, &d[c].kv_lens, NULL) ||
                attn_cache_append_scaled(&d[c].v, of_v, NULL, how, &new_v, &d[c].kv_lens, NULL))
                return 1;
        }
        length++;
        for (int c = 0; c < CACHES; c++) {
            if (attn_forward(&d[c], NULL)) return 1;
            for (int i = 0; i < HEADS * DIM; i++) {
                const float difference = fabsf(out[c][i] - out[0][i]);
                if (difference > most[c]) most[c] = difference;
            }
        }
    }
    for (int c = 1; c < CACHES; c++)
        printf("%s: %.1f bytes an element, at most %.4f from float32\n", attn_dtype_name(types[c]),
               (double)attn_dtype_size(types[c]) + (c == 2 ? 4.0 / DIM : 0), (double)most[c]);
    return 0;
}
