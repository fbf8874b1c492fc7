/* What a notebook does: tokens times W_q, W_k, W_v, softmax(Q K^T / sqrt(d)) V, and the weights to look at. */
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
#include <stdio.h>

int main(void)
{
    float x[2][2] = {{1, 0}, {0, 1}}, wq[2][2] = {{1, 0}, {0, 1}}, wv[2][2] = {{1, 2}, {3, 4}}, weights[2][2],
          out[2][2];
    attn_layer layer = attn_layer_default();
    layer.x = attn_array_2d(ATTN_F32, x, 2, 2);
    layer.w_q = layer.w_k = attn_array_2d(ATTN_F32, wq, 2, 2);
    layer.w_v = attn_array_2d(ATTN_F32, wv, 2, 2);
    layer.weights = attn_array_2d(ATTN_F32, weights, 2, 2);
    layer.out = attn_array_2d(ATTN_F32, out, 2, 2);
    puts(attn_status_string(attn_layer_forward(&layer, NULL)));
    printf("weights %.7f %.7f\n        %.7f %.7f\n", (double)weights[0][0], (double)weights[0][1],
           (double)weights[1][0], (double)weights[1][1]);
    printf("output  %.7f %.7f\n        %.7f %.7f\n", (double)out[0][0], (double)out[0][1], (double)out[1][0],
           (double)out[1][1]);
    return 0;
}
