/* The program of doc/tutorial.md, which explains it: self-attention of a sentence, step by step. */
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 6, DIM = 4, HEADS = 2 };

static void check(attn_status status)
{
    if (status == ATTN_OK) return;
    puts(attn_status_string(status));
    exit(1);
}

static void show(const char *title, const double *numbers, int columns)
{
    puts(title);
    for (int i = 0; i < TOKENS * columns; i++) printf("%6.3f%s", numbers[i], (i + 1) % columns ? "" : "\n");
}

int main(void)
{
    double x[TOKENS][DIM] = {{1, 0, 0, 0}, {0, 1, 0, 1}, {0, 1, 1, 0}, {1, 0, 1, 1}, {1, 0, 0, 0}, {0, 1, 0, 2}};
    attn_array X = attn_array_2d(ATTN_F64, x, TOKENS, DIM);
    double w_q[DIM][DIM] = {{1, 0, 0, 1}, {0, 1, 1, 0}, {1, 2, 0, 0}, {0, 0, 1, 1}};
    double w_k[DIM][DIM] = {{0, 1, 1, 0}, {1, 0, 1, 1}, {0, 1, 0, 2}, {1, 0, 0, 0}};
    double w_v[DIM][DIM] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {1, 0, 0, 2}};
    double q[TOKENS * DIM], k[TOKENS * DIM], v[TOKENS * DIM];
    attn_array W_q = attn_array_2d(ATTN_F64, w_q, DIM, DIM), Q = attn_array_2d(ATTN_F64, q, TOKENS, DIM);
    attn_array W_k = attn_array_2d(ATTN_F64, w_k, DIM, DIM), K = attn_array_2d(ATTN_F64, k, TOKENS, DIM);
    attn_array W_v = attn_array_2d(ATTN_F64, w_v, DIM, DIM), V = attn_array_2d(ATTN_F64, v, TOKENS, DIM);
    check(attn_compute_qkv(&X, &W_q, &W_k, &W_v, &Q, &K, &V, NULL));
    double scores[TOKENS * TOKENS], weights[TOKENS * TOKENS];
    attn_array S = attn_array_2d(ATTN_F64, scores, TOKENS, TOKENS);
    attn_array W = attn_array_2d(ATTN_F64, weights, TOKENS, TOKENS);
    check(attn_scores(&Q, &K, 0, &S, NULL)); /* scale 0: 1 / sqrt(d) */
    check(attn_softmax(&S, -1, &W, NULL));
    double out[TOKENS * DIM];
    attn_array O = attn_array_2d(ATTN_F64, out, TOKENS, DIM);
    check(attn_weighted_sum(&W, &V, &O, NULL));
    show("output", out, DIM);
    check(attn_sdpa_f64(q, k, v, out, 1, 1, 1, TOKENS, TOKENS, DIM, 0)); /* all in one; 0: not causal */
    double causal[TOKENS * DIM];
    attn_desc d = attn_desc_default();
    d.q = Q;
    d.k = K;
    d.v = V;
    d.out = attn_array_2d(ATTN_F64, causal, TOKENS, DIM);
    d.scores = W; /* receives the weights */
    d.causal = 1;
    check(attn_forward(&d, NULL));
    show("causal weights", weights, TOKENS);
    const size_t order[TOKENS] = {0, 5, 2, 3, 4, 1};
    double both[2][TOKENS][DIM], outputs[2 * TOKENS * DIM];
    memcpy(both[0], x, sizeof x);
    for (size_t i = 0; i < TOKENS; i++) memcpy(both[1][i], x[order[i]], sizeof x[i]);
    attn_layer layer = attn_layer_default();
    layer.x = attn_array_3d(ATTN_F64, both, 2, TOKENS, DIM);
    layer.w_q = W_q;
    layer.w_k = W_k;
    layer.w_v = W_v;
    layer.out = attn_array_3d(ATTN_F64, outputs, 2, TOKENS, DIM);
    check(attn_layer_forward(&layer, NULL));
    printf("in a batch: %s\n", memcmp(outputs, out, sizeof out) ? "other bits" : "the same bits");
    layer.num_heads = HEADS;
    check(attn_layer_forward(&layer, NULL));
    show("two heads", outputs, DIM);
    double keys[TOKENS * DIM], values[TOKENS * DIM], query[DIM], row[DIM];
    int same = 1;
    for (size_t t = 0; t < TOKENS; t++) {
        X = attn_array_2d(ATTN_F64, x[t], 1, DIM); /* the new word, whose key and value join the others */
        Q = attn_array_2d(ATTN_F64, query, 1, DIM);
        K = attn_array_2d(ATTN_F64, keys + t * DIM, 1, DIM);
        V = attn_array_2d(ATTN_F64, values + t * DIM, 1, DIM);
        check(attn_compute_qkv(&X, &W_q, &W_k, &W_v, &Q, &K, &V, NULL));
        check(attn_sdpa_f64(query, keys, values, row, 1, 1, 1, 1, t + 1, DIM, 1)); /* one query, t + 1 keys */
        same = same && !memcmp(row, causal + t * DIM, sizeof row);
    }
    printf("word by word: %s\n", same ? "the same bits" : "other bits");
    return 0;
}
