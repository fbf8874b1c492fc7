/* A complete decoder in the manner of Llama 2, around attention.h: grouped heads, rotary embedding, a prompt in one
 * call, then a token at a time with a cache.
 *
 *     generate [CHECKPOINT [TOKENS]]
 *
 * CHECKPOINT is a file of llama2.c (version 0, float32); without one, a small model of random weights is made, so that
 * there is something to run. Prints the numbers of tokens, the most likely one each time, and how many in a second; and
 * does it all with both layouts of the cache, which give the same. */
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PROMPT = 16, MOST_TOKENS = 4096 };

static const int32_t small_model[7] = {96, 256, 3, 6, 2, 500, 256}; /* as the file begins */

typedef struct model {
    size_t dim, hidden, layers, heads, kv_heads, vocab, capacity, head_dim, kv_dim;
    const float *embedding, *norm_attention, *w_q, *w_k, *w_v, *w_o, *norm_hidden, *w_1, *w_2, *w_3, *norm_last, *w_out;
} model;

/* What one token after the other is computed with; rows for the whole prompt. */
typedef struct work {
    float *x, *y, *z, *q, *k, *v, *h, *g, *logits, *keys, *values;
    attn_exec run;
} work;

static void die(const char *what)
{
    fprintf(stderr, "generate: %s\n", what);
    exit(1);
}
static void check(attn_status status)
{
    if (status) die(attn_status_string(status));
}
static float *room(size_t n)
{
    float *p = calloc(n ? n : 1, sizeof *p);
    if (!p) die("no memory");
    return p;
}

/* Weights lie one after the other, those of all layers together. */
static model read_model(const char *path)
{
    const float *at, *end;
    int32_t head[7];
    size_t count, per_layer;
    float *weights;
    int shared;
    model m;
    FILE *file = path ? fopen(path, "rb") : NULL;
    if (path && !file) die("cannot open the checkpoint");
    memcpy(head, small_model, sizeof head);
    if (file && fread(head, sizeof head, 1, file) != 1) die("cannot read the checkpoint");
    shared = head[5] > 0; /* the last matrix is the embedding, too */
    head[5] = shared ? head[5] : -head[5];
    for (int i = 0; i < 7; i++)
        if (head[i] < 1 || head[i] > 1 << 20) die("this is no checkpoint of llama2.c");
    m.dim = (size_t)head[0], m.hidden = (size_t)head[1], m.layers = (size_t)head[2], m.heads = (size_t)head[3];
    m.kv_heads = (size_t)head[4], m.vocab = (size_t)head[5], m.capacity = (size_t)head[6];
    if (m.dim % m.heads || m.heads % m.kv_heads || m.capacity < PROMPT) die("heads do not divide the model");
    m.head_dim = m.dim / m.heads, m.kv_dim = m.head_dim * m.kv_heads;
    per_layer = 2 * m.dim + 2 * m.dim * m.dim + 2 * m.dim * m.kv_dim + 3 * m.dim * m.hidden;
    count = m.vocab * m.dim + m.layers * per_layer + m.dim;
    if (!shared) count += m.capacity * m.head_dim + m.vocab * m.dim;
    at = weights = room(count);
    end = at + count;
    if (file && fread(weights, sizeof *weights, count, file) != count) die("the checkpoint ends early");
    if (file) fclose(file);
    for (size_t i = 0, seed = 1; i < count && !file; i++) {
        seed = (seed * 1103515245u + 12345u) & 0x7fffffffu;
        weights[i] = ((float)(seed >> 8) / 8388608.0f - 0.5f) * 0.5f;
    }
#define TAKE(name, n) m.name = at, at += (n)
    TAKE(embedding, m.vocab * m.dim);
    TAKE(norm_attention, m.layers * m.dim);
    TAKE(w_q, m.layers * m.dim * m.dim);
    TAKE(w_k, m.layers * m.dim * m.kv_dim);
    TAKE(w_v, m.layers * m.dim * m.kv_dim);
    TAKE(w_o, m.layers * m.dim * m.dim);
    TAKE(norm_hidden, m.layers * m.dim);
    TAKE(w_1, m.layers * m.dim * m.hidden);
    TAKE(w_2, m.layers * m.dim * m.hidden);
    TAKE(w_3, m.layers * m.dim * m.hidden);
    TAKE(norm_last, m.dim);
    m.w_out = shared ? m.embedding : end - m.vocab * m.dim; /* after tables of angles, which nobody needs */
    return m;
}

/* y = x / sqrt(mean of squares) * weight */
static void normalize(const float *x, const float *weight, float *y, size_t n, size_t dim)
{
    for (size_t i = 0; i < n; i++, x += dim, y += dim) {
        float sum = 0;
        for (size_t c = 0; c < dim; c++) sum += x[c] * x[c];
        sum = 1 / sqrtf(sum / (float)dim + 1e-5f);
        for (size_t c = 0; c < dim; c++) y[c] = x[c] * sum * weight[c];
    }
}

/* y (n, out) = x (n, in) W^T, W stored (out, in). */
static void multiply(const work *w, const float *x, const float *weight, float *y, size_t n, size_t in, size_t out)
{
    const attn_array a = attn_array_2d(ATTN_F32, x, n, in), c = attn_array_2d(ATTN_F32, y, n, out),
                     b = attn_array_swap(attn_array_2d(ATTN_F32, weight, out, in), 0, 1);
    check(attn_matmul(&a, &b, &c, &w->run));
}

static void add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] += y[i];
}

/* The cache of a layer: heads of all positions, or positions of all heads. */
static attn_array cache_of(const model *m, const float *memory, size_t layer, int heads_last)
{
    memory += layer * m->capacity * m->kv_dim;
    return heads_last ? attn_array_bshd(ATTN_F32, memory, 1, m->capacity, m->kv_heads, m->head_dim)
                      : attn_array_4d(ATTN_F32, memory, 1, m->kv_heads, m->capacity, m->head_dim);
}

/* The tokens at positions at, at + 1, ...; returns the most likely next one. */
static size_t forward(const model *m, work *w, const size_t *tokens, size_t n, size_t at, int heads_last)
{
    int32_t positions[PROMPT], before = (int32_t)at, length = (int32_t)(at + n);
    const attn_array where = attn_array_1d(ATTN_I32, positions, n), old = attn_array_1d(ATTN_I32, &before, 1);
    const attn_array q = attn_array_bshd(ATTN_F32, w->q, 1, n, m->heads, m->head_dim),
                     k = attn_array_bshd(ATTN_F32, w->k, 1, n, m->kv_heads, m->head_dim),
                     v = attn_array_bshd(ATTN_F32, w->v, 1, n, m->kv_heads, m->head_dim);
    size_t best = 0;
    for (size_t i = 0; i < n; i++) {
        positions[i] = (int32_t)(at + i);
        memcpy(w->x + i * m->dim, m->embedding + tokens[i] * m->dim, m->dim * sizeof(float));
    }
    for (size_t l = 0; l < m->layers; l++) {
        attn_desc d = attn_desc_flash(1, -1, -1);
        normalize(w->x, m->norm_attention + l * m->dim, w->y, n, m->dim);
        multiply(w, w->y, m->w_q + l * m->dim * m->dim, w->q, n, m->dim, m->dim);
        multiply(w, w->y, m->w_k + l * m->dim * m->kv_dim, w->k, n, m->dim, m->kv_dim);
        multiply(w, w->y, m->w_v + l * m->dim * m->kv_dim, w->v, n, m->dim, m->kv_dim);
        check(attn_rotary(&q, &where, 0, 0, 1, &q));
        check(attn_rotary(&k, &where, 0, 0, 1, &k));
        d.q = q;
        d.k = cache_of(m, w->keys, l, heads_last);
        d.v = cache_of(m, w->values, l, heads_last);
        d.out = attn_array_bshd(ATTN_F32, w->z, 1, n, m->heads, m->head_dim);
        check(attn_cache_append(&d.k, &k, &old, NULL));
        check(attn_cache_append(&d.v, &v, &old, NULL));
        d.kv_lens = attn_array_1d(ATTN_I32, &length, 1);
        check(attn_forward(&d, &w->run));
        multiply(w, w->z, m->w_o + l * m->dim * m->dim, w->y, n, m->dim, m->dim);
        add(w->x, w->y, n * m->dim);

        normalize(w->x, m->norm_hidden + l * m->dim, w->y, n, m->dim);
        multiply(w, w->y, m->w_1 + l * m->dim * m->hidden, w->h, n, m->dim, m->hidden);
        multiply(w, w->y, m->w_3 + l * m->dim * m->hidden, w->g, n, m->dim, m->hidden);
        for (size_t i = 0; i < n * m->hidden; i++) w->h[i] = w->h[i] / (1 + expf(-w->h[i])) * w->g[i];
        multiply(w, w->h, m->w_2 + l * m->dim * m->hidden, w->y, n, m->hidden, m->dim);
        add(w->x, w->y, n * m->dim);
    }
    normalize(w->x + (n - 1) * m->dim, m->norm_last, w->y, 1, m->dim);
    multiply(w, w->y, m->w_out, w->logits, 1, m->dim, m->vocab);
    for (size_t i = 1; i < m->vocab; i++) best = w->logits[i] > w->logits[best] ? i : best;
    return best;
}

int main(int argc, char **argv)
{
    const model m = read_model(argc > 1 ? argv[1] : NULL);
    const size_t wanted = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 64,
                 most = m.capacity < MOST_TOKENS ? m.capacity : MOST_TOKENS,
                 all = wanted + PROMPT < most ? wanted + PROMPT : most;
    static size_t tokens[2][MOST_TOKENS];
    work w;
    w.x = room(PROMPT * m.dim), w.y = room(PROMPT * m.dim), w.z = room(PROMPT * m.dim), w.q = room(PROMPT * m.dim);
    w.k = room(PROMPT * m.kv_dim), w.v = room(PROMPT * m.kv_dim);
    w.h = room(PROMPT * m.hidden), w.g = room(PROMPT * m.hidden), w.logits = room(m.vocab);
    w.keys = room(m.layers * m.capacity * m.kv_dim), w.values = room(m.layers * m.capacity * m.kv_dim);
    w.run = attn_exec_in(room(1 << 21), (1 << 21) * sizeof(float)); /* once, for all calls */
    for (int heads_last = 0; heads_last < 2; heads_last++) {
        size_t *t = tokens[heads_last];
        clock_t start;
        for (size_t i = 0; i < PROMPT; i++) t[i] = (1 + 7 * i) % m.vocab;
        start = clock();
        t[PROMPT] = forward(&m, &w, t, PROMPT, 0, heads_last);
        for (size_t at = PROMPT; at + 1 < all; at++) t[at + 1] = forward(&m, &w, t + at, 1, at, heads_last);
        for (size_t i = PROMPT; i < all && !heads_last; i++) printf("%zu%s", t[i], i + 1 < all ? " " : "\n");
        fprintf(stderr, "%s: %.0f tokens a second\n", heads_last ? "position, head, D" : "head, position, D",
                (double)(all - PROMPT) * CLOCKS_PER_SEC / (double)(clock() - start + 1));
    }
    if (memcmp(tokens[0], tokens[1], sizeof tokens[0]) != 0) die("the layouts of the cache disagree");
    return 0;
}
