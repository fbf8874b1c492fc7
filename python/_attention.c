/* SPDX-License-Identifier: MIT-0
 *
 * _attention.c - the functions that attention.py calls. They take numbers and records, so that
 * Python need not know how the structures of attention.h are laid out, and keep nothing between
 * calls. The names of their arrays are those of attention.h: *argument receives one on an error.
 *
 * A record is an array as NumPy describes it: address, number of an element type, number of
 * dimensions, shape, strides in bytes. NULL: no array. A stride must be a multiple of the size of
 * an element, and strides must not all be 0 where there are several elements.
 */
#define ATTN_STATIC
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
#include "examples/pthread_parallel_for.h"
#include "tools/picture.h"

#include <stdlib.h>

#define EXPORT __attribute__((__visibility__("default")))

EXPORT const char *attention_version(void) { return attn_version(); }
EXPORT const char *attention_dtype_name(int dtype) { return attn_dtype_name((attn_dtype)dtype); }
EXPORT const char *attention_status_string(int status) { return attn_status_string((attn_status)status); }
EXPORT int attention_out_of_memory(int status) { return status == ATTN_ERR_MEMORY; }

static attn_array array_of(const int64_t *record)
{
    attn_array a = attn_array_1d(ATTN_F32, NULL, 0);
    a.ndim = 0;
    if (!record) return a;
    a.data = (void *)(uintptr_t)record[0];
    a.dtype = (attn_dtype)record[1];
    a.ndim = (int)record[2];
    for (int i = 0; i < a.ndim && i < ATTN_MAX_DIMS; i++) { /* attention.h refuses more */
        a.shape[i] = (size_t)record[3 + i];
        a.stride[i] = (ptrdiff_t)(record[3 + a.ndim + i] / (int64_t)attn_dtype_size(a.dtype));
        if (a.shape[i] == 1) a.stride[i] = 1; /* NumPy may have anything there */
    }
    return a;
}

/* Threads live as long as a call: none is left over for a fork, and calls on several threads share nothing. */
static attn_exec start(attn_pthreads *pool, size_t threads, const char **argument)
{
    attn_exec run = attn_exec_default();
    run.argument = argument;
    if (threads > 1 && attn_pthreads_start(pool, threads)) {
        run.parallel_for = attn_pthreads_for;
        run.parallel_context = pool;
        run.num_workers = pool->num_workers;
    }
    return run;
}

static int finish(const attn_exec *run, attn_status status)
{
    if (run->parallel_for) attn_pthreads_stop((attn_pthreads *)run->parallel_context);
    return (int)status;
}

EXPORT int attention_compute_qkv(const int64_t *x, const int64_t *w_q, const int64_t *w_k, const int64_t *w_v,
                                 const int64_t *q, const int64_t *k, const int64_t *v, size_t threads,
                                 const char **argument)
{
    const attn_array from = array_of(x), to_q = array_of(w_q), to_k = array_of(w_k), to_v = array_of(w_v),
                     queries = array_of(q), keys = array_of(k), values = array_of(v);
    attn_pthreads pool;
    const attn_exec run = start(&pool, threads, argument);
    return finish(&run, attn_compute_qkv(&from, &to_q, &to_k, &to_v, &queries, &keys, &values, &run));
}

EXPORT int attention_scores(const int64_t *q, const int64_t *k, const int64_t *s, size_t threads, const char **argument)
{
    const attn_array queries = array_of(q), keys = array_of(k), scores = array_of(s);
    attn_pthreads pool;
    const attn_exec run = start(&pool, threads, argument);
    return finish(&run, attn_scores(&queries, &keys, 0, &scores, &run));
}

EXPORT int attention_softmax(const int64_t *x, const int64_t *y, int axis, size_t threads, const char **argument)
{
    const attn_array from = array_of(x), to = array_of(y);
    attn_pthreads pool;
    const attn_exec run = start(&pool, threads, argument);
    return finish(&run, attn_softmax(&from, axis, &to, &run));
}

EXPORT int attention_weighted_sum(const int64_t *w, const int64_t *v, const int64_t *o, size_t threads,
                                  const char **argument)
{
    const attn_array weights = array_of(w), values = array_of(v), out = array_of(o);
    attn_pthreads pool;
    const attn_exec run = start(&pool, threads, argument);
    return finish(&run, attn_weighted_sum(&weights, &values, &out, &run));
}

EXPORT int attention_self_attention(const int64_t *q, const int64_t *k, const int64_t *v, const int64_t *out,
                                    size_t threads, const char **argument)
{
    const attn_array queries = array_of(q), keys = array_of(k), values = array_of(v), output = array_of(out);
    attn_pthreads pool;
    const attn_exec run = start(&pool, threads, argument);
    return finish(&run, attn_self_attention(&queries, &keys, &values, &output, NULL, &run));
}

EXPORT int attention_forward(const int64_t *q, const int64_t *k, const int64_t *v, const int64_t *out,
                             const int64_t *mask, const int64_t *kv_lens, const int64_t *q_bounds, const int64_t *alibi,
                             const int64_t *rel_bias, const int64_t *sinks, const int64_t *scores, const int64_t *lse,
                             const int64_t *rowmax, const int64_t *rowsum, const int64_t *k_scale,
                             const int64_t *k_zero, const int64_t *v_scale, const int64_t *v_zero, double scale,
                             double softcap, int causal, int lower_right, int64_t window_left, int64_t window_right,
                             int mask_place, int64_t rel_first, int rel_clamp, int64_t ring_sinks, size_t threads,
                             const char **argument)
{
    attn_desc d = attn_desc_default();
    attn_pthreads pool;
    const attn_exec run = start(&pool, threads, argument);
    d.q = array_of(q);
    d.k = array_of(k);
    d.v = array_of(v);
    d.out = array_of(out);
    d.mask = array_of(mask);
    d.mask_place = (attn_mask_place)mask_place;
    if (d.mask.dtype == ATTN_BIT && d.mask.ndim > 0 && d.k.ndim > 1) /* its bytes were counted */
        d.mask.shape[d.mask.ndim - 1] = d.k.shape[d.k.ndim - 2];
    d.kv_lens = array_of(kv_lens);
    d.q_bounds = array_of(q_bounds);
    d.alibi = array_of(alibi);
    d.rel_bias = array_of(rel_bias);
    d.rel_first = rel_first;
    d.rel_clamp = rel_clamp;
    d.sinks = array_of(sinks);
    d.scores = array_of(scores);
    d.lse = array_of(lse);
    d.rowmax = array_of(rowmax);
    d.rowsum = array_of(rowsum);
    d.k_scale = array_of(k_scale);
    d.k_zero = array_of(k_zero);
    d.v_scale = array_of(v_scale);
    d.v_zero = array_of(v_zero);
    d.scale = scale;
    d.softcap = softcap;
    d.causal = causal;
    d.align = lower_right ? ATTN_ALIGN_LOWER_RIGHT : ATTN_ALIGN_UPPER_LEFT;
    d.window = window_left != -1 || window_right != -1;
    d.window_left = window_left;
    d.window_right = window_right;
    d.ring = ring_sinks >= 0; /* -1: none */
    d.ring_sinks = d.ring ? (size_t)ring_sinks : 0;
    return finish(&run, attn_forward(&d, &run));
}

EXPORT int attention_layer(const int64_t *x, const int64_t *w_q, const int64_t *w_k, const int64_t *w_v,
                           const int64_t *w_o, const int64_t *b_q, const int64_t *b_k, const int64_t *b_v,
                           const int64_t *b_o, const int64_t *out, const int64_t *weights, const int64_t *mask,
                           size_t num_heads, size_t kv_num_heads, int causal, size_t threads, const char **argument)
{
    attn_layer layer = attn_layer_default();
    attn_pthreads pool;
    const attn_exec run = start(&pool, threads, argument);
    layer.x = array_of(x);
    layer.w_q = array_of(w_q);
    layer.w_k = array_of(w_k);
    layer.w_v = array_of(w_v);
    layer.w_o = array_of(w_o);
    layer.b_q = array_of(b_q);
    layer.b_k = array_of(b_k);
    layer.b_v = array_of(b_v);
    layer.b_o = array_of(b_o);
    layer.num_heads = num_heads;
    layer.kv_num_heads = kv_num_heads;
    layer.out = array_of(out);
    layer.weights = array_of(weights);
    layer.attention.mask = array_of(mask);
    layer.attention.causal = causal;
    return finish(&run, attn_layer_forward(&layer, &run));
}

/* On this thread. Scales, where there are some, are found. ring_sinks: as above. */
EXPORT int attention_cache_append(const int64_t *cache, const int64_t *rows, const int64_t *scale, const int64_t *lens,
                                  int64_t ring_sinks, size_t threads, const char **argument)
{
    attn_cache to = attn_cache_default();
    const attn_array from = array_of(rows), at = array_of(lens);
    (void)threads, (void)argument;
    to.data = array_of(cache);
    to.scale = array_of(scale);
    to.scaling = scale ? ATTN_SCALES_FOUND : ATTN_SCALES_GIVEN;
    to.ring = ring_sinks >= 0;
    to.ring_sinks = to.ring ? (size_t)ring_sinks : 0;
    return (int)attn_cache_write(&to, &from, &at, NULL, NULL);
}

EXPORT int attention_rotate(const int64_t *x, const int64_t *positions, const int64_t *factors, const int64_t *y,
                            double base, size_t rotary_dim, int interleaved, int inverse, double scale,
                            double magnitude, size_t threads, const char **argument)
{
    attn_rotation r = attn_rotation_default();
    const attn_array from = array_of(x), at = array_of(positions), to = array_of(y);
    (void)threads, (void)argument;
    r.base = base;
    r.rotary_dim = rotary_dim;
    r.interleaved = interleaved;
    r.inverse = inverse;
    r.scale = scale;
    r.magnitude = magnitude;
    r.factors = array_of(factors);
    return (int)attn_rotate(&r, &from, positions ? &at : NULL, &to);
}

EXPORT int attention_llama3(const int64_t *factors, double base, double factor, double low, double high,
                            double original, size_t threads, const char **argument)
{
    const attn_array to = array_of(factors);
    (void)threads, (void)argument;
    return (int)attn_rotary_llama3(base, factor, low, high, original, &to);
}

EXPORT int attention_yarn(const int64_t *factors, const int64_t *magnitude, double base, double factor, double fast,
                          double slow, double original, size_t threads, const char **argument)
{
    const attn_array to = array_of(factors), grows = array_of(magnitude);
    (void)threads, (void)argument;
    return (int)attn_rotary_yarn(base, factor, fast, slow, original, &to, (double *)grows.data);
}

EXPORT int attention_quantize(const int64_t *x, const int64_t *codes, const int64_t *scale, const int64_t *zero,
                              int found, size_t threads, const char **argument)
{
    const attn_array from = array_of(x), to = array_of(codes), scales = array_of(scale), zeros = array_of(zero);
    (void)threads, (void)argument;
    return (int)attn_quantize(&from, &to, scale ? &scales : NULL, zero ? &zeros : NULL,
                              found ? ATTN_SCALES_FOUND : ATTN_SCALES_GIVEN);
}

EXPORT int attention_dequantize(const int64_t *codes, const int64_t *scale, const int64_t *zero, const int64_t *y,
                                size_t threads, const char **argument)
{
    const attn_array from = array_of(codes), scales = array_of(scale), zeros = array_of(zero), to = array_of(y);
    (void)threads, (void)argument;
    return (int)attn_dequantize(&from, scale ? &scales : NULL, zero ? &zeros : NULL, &to);
}

/* As attention.py numbers them. */
enum { SVG, PNG, ASCII, BLOCKS };

/* Draws weights: returns NULL, or in words what is wrong. attention_free frees the bytes. */
EXPORT const char *attention_picture(int form, const int64_t *weights, const char *const *queries,
                                     const char *const *keys, const char *title, int lines, int dark,
                                     unsigned char **bytes, size_t *size)
{
    const attn_array shown = array_of(weights);
    const picture_options look = {queries, keys, title, lines ? PICTURE_LINES : PICTURE_MAP, dark, NULL};
    picture_buffer out = {NULL, 0, 0, 0};
    const char *wrong;
    if (form == SVG) wrong = picture_svg(&shown, &look, &out);
    else if (form == PNG) wrong = picture_png(&shown, &look, &out);
    else wrong = picture_text(&shown, &look, form == BLOCKS ? PICTURE_BLOCKS : PICTURE_ASCII, &out);
    *bytes = out.bytes;
    *size = out.size;
    return wrong;
}

EXPORT void attention_free(unsigned char *bytes) { free(bytes); }
