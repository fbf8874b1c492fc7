/* SPDX-License-Identifier: MIT-0
 *
 * attention.h - self-attention for C and C++: one file, every CPU, the same bits.
 *
 *     #define ATTENTION_IMPLEMENTATION      // in exactly one source file
 *     #include "attention.h"
 *     cc -O2 program.c -lm
 *
 * ============================================================================
 * MANUAL
 * ============================================================================
 *
 * QUICK START
 *
 *   Arrays are described NumPy-style (data, element type, shape, strides) and
 *   every function takes arrays, then "how to run", and returns a status:
 *
 *     attn_array q = attn_array_2d(ATTN_F32, q_data, q_len, head_dim);
 *     attn_array k = attn_array_2d(ATTN_F32, k_data, kv_len, head_dim);
 *     attn_array v = attn_array_2d(ATTN_F32, v_data, kv_len, head_dim_v);
 *     attn_array o = attn_array_2d(ATTN_F32, o_data, q_len, head_dim_v);
 *     attn_array w = attn_array_2d(ATTN_F32, w_data, q_len, kv_len);
 *     size_t bytes;
 *     attn_exec run = attn_exec_default();
 *     run.query = &bytes;                                  // how much scratch?
 *     attn_self_attention(&q, &k, &v, &o, &w, &run);
 *     run = attn_exec_in(malloc(bytes), bytes);
 *     attn_status s = attn_self_attention(&q, &k, &v, &o, &w, &run);
 *     if (s) puts(attn_status_string(s));
 *
 *   Four levels, each usable alone:
 *     1. steps      attn_matmul, attn_compute_qkv, attn_scores, attn_softmax,
 *                   attn_weighted_sum: what a notebook does, one line each
 *     2. attention  attn_self_attention: softmax(Q K^T / sqrt(d)) V
 *     3. fused      attn_forward: one descriptor for batches, grouped heads,
 *                   causal and other masks, log-sum-exp, weights
 *     4. layers     attn_layer_forward: projections, heads, output projection
 *
 * DEFINITIONS
 *
 *   batch B, heads H, sequence S (q_len, kv_len), head dimension D (head_dim for
 *   Q and K, head_dim_v for V and the output). Strides count elements, not
 *   bytes; 0 broadcasts; negative is allowed; an array whose strides are all 0
 *   is contiguous in C order. Pointers need the alignment of their element type
 *   and no more. Any dimension may be 0 or 1; none has to be a multiple of
 *   anything.
 *
 *   4-D arrays are (B, H, S, D), whatever the strides: packed QKV, (B, S, H, D)
 *   and caches are all just strides. 3-D is (H, S, D), 2-D is (S, D).
 *   q_num_heads is a multiple of kv_num_heads; query head h reads key and value
 *   head h / (q_num_heads / kv_num_heads).
 *
 * WHAT IS COMPUTED
 *
 *   score  = scale * (q . k)                 scale defaults to 1 / sqrt(head_dim)
 *   score  = softcap * tanh(score / softcap) if softcap > 0
 *   score += -slope[h] * |p - j| + mask      ALiBi, additive mask
 *   weight = exp(score) / sum exp(score)     over the visible keys j (and the sink)
 *   out    = sum of weight * v
 *   lse    = log(sum exp(score))             natural logarithm, sink included
 *
 *   p = i + offset is the position of query i among the keys: offset is 0 for
 *   ATTN_ALIGN_UPPER_LEFT (PyTorch, ONNX), kv_len - q_len for
 *   ATTN_ALIGN_LOWER_RIGHT (FlashAttention >= 2.1; with kv_lens the length of
 *   that batch), q_offset for ATTN_ALIGN_OFFSET (chunks, caches).
 *   causal: key j is visible when j <= p. Window: p - left <= j <= p + right,
 *   both ends included. A key counts only where everything allows it.
 *
 *   A row with no visible key gives +0, weights +0 and lse -inf; this follows
 *   from the masks alone, never from the logits. What is masked is never read
 *   into a result: NaN there changes no bit.
 *
 * NUMBERS
 *
 *   Same bits. float32 and float64 results are bit-identical on every path
 *   (scalar, NEON, AVX2, AVX-512, native or emulated), for any thread count,
 *   batch, alignment and tiling, for prefill and for decode. How: every product
 *   is a fused multiply-add in a fixed order (the sum over head_dim and the sum
 *   over keys run in index order), sums of weights use 16 (float64: 8) virtual
 *   lanes, keys are cut into blocks of 512 at absolute positions, and blocks are
 *   joined along a fixed binary tree. exp, tanh and log are our own.
 *
 *   Finite in, finite out. Finite visible inputs, up to the largest float in Q,
 *   K, V, scale and mask alike, give a finite output within the range of the
 *   visible values, and weights that sum to 1. A row whose fast arithmetic
 *   overflows is found and redone alone in wider arithmetic.
 *
 *   Visible NaN and infinity follow IEEE 754, in their own row (for V: their own
 *   column of the rows that see them).
 *
 *   Element types: ATTN_F32 and ATTN_F64 compute in their own precision,
 *   ATTN_F16 and ATTN_BF16 in float32 with one rounding, to nearest even, at
 *   the output.
 *
 *   Under -ffast-math the header refuses to compile: it would break all of this.
 *
 * MEMORY AND THREADS
 *
 *   Nothing is allocated and nothing global changes but one idempotent cache of
 *   the CPU's features. Scratch memory ("workspace") comes from the caller:
 *   set exec.query to learn its size, which depends on head_dim and the number
 *   of workers, and hardly on the lengths (never on q_len * kv_len).
 *
 *   The library starts no threads. Give exec.parallel_for a function that runs
 *   independent tasks in any order; results do not depend on it.
 *
 * ERRORS
 *
 *   Every function is total: bad arguments return a status of their own
 *   (attn_status_string tells what it means) and nothing is written.
 *
 * SIMD AND DISPATCH
 *
 *   x86-64 holds scalar, AVX2+FMA and AVX-512 code, AArch64 scalar and NEON, in
 *   one translation unit without compiler flags; the best path of the machine
 *   the program runs on is chosen at run time. exec.path forces one.
 *
 * BUILD OPTIONS, defined before the implementation
 *
 *   ATTN_STATIC        all functions static (several copies in one program)
 *   ATTN_USE_SIMDE     also compile the paths of other machines, through SIMDe
 *   ATTN_NO_AVX2, ATTN_NO_AVX512, ATTN_NO_NEON    leave a path out
 *   ATTN_FILE          this file's name in quotes, if you renamed it
 *
 * ==========================================================================*/

#ifndef ATTENTION_H
#define ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#define ATTN_VERSION_MAJOR 0
#define ATTN_VERSION_MINOR 1
#define ATTN_VERSION_PATCH 0
#define ATTN_VERSION "0.1.0"

#ifndef ATTN_DEF
#ifdef ATTN_STATIC
#if defined(__GNUC__) || defined(__clang__)
#define ATTN_DEF static __attribute__((unused))
#else
#define ATTN_DEF static
#endif
#else
#define ATTN_DEF extern
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- types -- */

/* One value per cause. ATTN_OK is 0, so `if (status)` means failure. */
typedef enum attn_status {
    ATTN_OK = 0,
    ATTN_ERR_NULL,        /* a required array or argument is missing */
    ATTN_ERR_DTYPE,       /* element type not supported here, or types that do not fit together */
    ATTN_ERR_RANK,        /* an array has the wrong number of dimensions */
    ATTN_ERR_SHAPE,       /* dimensions that should agree do not */
    ATTN_ERR_HEADS,       /* query heads are not a multiple of key/value heads, or 0 heads */
    ATTN_ERR_AXIS,        /* axis out of range */
    ATTN_ERR_STRIDE,      /* an output whose strides make elements overlap */
    ATTN_ERR_ALIGN,       /* a pointer is not aligned for its element type */
    ATTN_ERR_ALIAS,       /* an output overlaps an input or another output */
    ATTN_ERR_OVERFLOW,    /* sizes whose product does not fit in memory */
    ATTN_ERR_PARAMETER,   /* a scalar option out of range (NaN scale, negative softcap, ...) */
    ATTN_ERR_LENGTH,      /* a key/value length or sequence offset out of range */
    ATTN_ERR_PAGE,        /* a page index out of range, or a bad page table */
    ATTN_ERR_PATH,        /* the path is not compiled in, or this machine lacks it */
    ATTN_ERR_WORKSPACE,   /* workspace missing or too small */
    ATTN_ERR_UNSUPPORTED, /* a combination that this version does not compute */
    ATTN_STATUS_COUNT
} attn_status;

/* Element types. Zero is float32. */
typedef enum attn_dtype {
    ATTN_F32 = 0,
    ATTN_F64,
    ATTN_F16,  /* IEEE 754 binary16, held in uint16_t */
    ATTN_BF16, /* bfloat16, held in uint16_t */
    ATTN_BOOL, /* one byte, 0 or not 0 */
    ATTN_I32,
    ATTN_I64,
    ATTN_DTYPE_COUNT
} attn_dtype;

/* Code paths, slowest first. Zero chooses the best that this machine runs. */
typedef enum attn_path {
    ATTN_PATH_AUTO = 0,
    ATTN_PATH_SCALAR,
    ATTN_PATH_NEON,
    ATTN_PATH_AVX2, /* with FMA and F16C */
    ATTN_PATH_AVX512, /* F, DQ, BW and VL */
    ATTN_PATH_COUNT
} attn_path;

/* Where query 0 stands among the keys: see p under WHAT IS COMPUTED. */
typedef enum attn_align {
    ATTN_ALIGN_UPPER_LEFT = 0,
    ATTN_ALIGN_LOWER_RIGHT,
    ATTN_ALIGN_OFFSET,
    ATTN_ALIGN_COUNT
} attn_align;

/* What attn_desc.scores receives. Zero is the weights that one looks at. */
typedef enum attn_stage {
    ATTN_STAGE_PROBS = 0, /* the weights: rows sum to 1, +0 where masked */
    ATTN_STAGE_RAW,       /* scale * (q . k) */
    ATTN_STAGE_SOFTCAPPED,
    ATTN_STAGE_BIASED,    /* with ALiBi and mask; -inf where masked */
    ATTN_STAGE_COUNT
} attn_stage;

#define ATTN_MAX_DIMS 8

/* A strided view of somebody's memory. Zero-initialised it means "absent".
 * Inputs are never written. All strides 0 means contiguous in C order. */
typedef struct attn_array {
    void *data;
    attn_dtype dtype;
    int ndim;
    size_t shape[ATTN_MAX_DIMS];
    ptrdiff_t stride[ATTN_MAX_DIMS]; /* in elements */
} attn_array;

/* Runs task(arg, 0, w) ... task(arg, count - 1, w), in any order, on any
 * threads, and returns when all are done. w < num_workers names the thread that
 * runs it: no two tasks may run at the same time under the same w. */
typedef void (*attn_task)(void *arg, size_t index, size_t worker);
typedef void (*attn_parallel_for)(void *context, size_t count, attn_task task, void *arg);

/* How to run. Zero-initialised: best path, the calling thread, no workspace. */
typedef struct attn_exec {
    attn_path path;
    void *workspace; /* any alignment */
    size_t workspace_size;
    size_t *query; /* not NULL: check all arguments, store the bytes of workspace
                      needed here, compute nothing (data pointers may be NULL) */
    attn_parallel_for parallel_for; /* NULL: the calling thread */
    void *parallel_context;
    size_t num_workers; /* 0 means 1; only with parallel_for */
} attn_exec;

/* One fused attention. Zero-initialised, with q, k, v and out set, it is plain
 * softmax(Q K^T / sqrt(head_dim)) V. */
typedef struct attn_desc {
    attn_array q;   /* (B, Hq, q_len, head_dim)    or 3-D (H, S, D) or 2-D (S, D) */
    attn_array k;   /* (B, Hkv, kv_len, head_dim)    f32, f64, f16, bf16 */
    attn_array v;   /* (B, Hkv, kv_len, head_dim_v)  */
    attn_array out; /* (B, Hq, q_len, head_dim_v) */

    double scale;   /* 0: 1 / sqrt(head_dim); rounded to the compute type */
    double softcap; /* 0: none; else > 0 */

    int causal;            /* not 0: key j is visible to position p when j <= p */
    attn_align align;      /* of query 0 */
    int64_t q_offset;      /* with ATTN_ALIGN_OFFSET */
    int window;            /* not 0: use window_left and window_right */
    int64_t window_left;   /* keys before p that stay visible; -1: all */
    int64_t window_right;  /* keys after p that stay visible; -1: all */

    attn_array mask;    /* optional, (B, Hq, q_len, kv_len), fewer dimensions and
                           dimensions of 1 broadcast: ATTN_BOOL, true = keep, or
                           a float type that is added, -inf = drop */
    attn_array kv_lens; /* optional, (B): visible keys per batch, i32 or i64 */
    attn_array alibi;   /* optional, (Hq) or (B, Hq): slopes */
    attn_array sinks;   /* optional, (Hq): a logit in the denominator only */

    attn_array block_table; /* optional, (B, pages): k and v are then pages
                               (num_pages, Hkv, page_size, D); i32 or i64 */
    attn_array cu_seqlens_q; /* optional, (sequences + 1): q is (Hq, total, D), packed */
    attn_array cu_seqlens_k; /* with cu_seqlens_q */

    attn_array lse;    /* optional output, (B, Hq, q_len) */
    attn_array scores; /* optional output, (B, Hq, q_len, kv_len) at `stage` */
    attn_stage stage;
    attn_array colsum; /* optional output, (B, Hq, kv_len): sums of weights over queries */
} attn_desc;

/* A layer: projections, attention, output projection. x is (S, d_model) or
 * (B, S, d_model). Weights are (d_model, columns), used as x W + b. */
typedef struct attn_layer {
    attn_array x;
    attn_array w_q; /* (d_model, num_heads * head_dim) */
    attn_array w_k; /* (d_model, kv_num_heads * head_dim) */
    attn_array w_v; /* (d_model, kv_num_heads * head_dim_v) */
    attn_array w_o; /* optional, (num_heads * head_dim_v, d_out) */
    attn_array b_q, b_k, b_v, b_o; /* optional, (columns) */
    size_t num_heads;    /* 0 means 1 */
    size_t kv_num_heads; /* 0 means num_heads */
    attn_array out;      /* (S, d_out) or (B, S, d_out); without w_o
                            d_out = num_heads * head_dim_v */
    attn_array weights;  /* optional output: (S, S), (B, S, S) for one head,
                            (H, S, S) or (B, H, S, S) for several */
    attn_desc attention; /* options: scale, causal, window, mask, ...; its arrays
                            q, k, v, out and scores are ignored */
} attn_layer;

/* ------------------------------------------------------------- utilities -- */

/* Contiguous arrays. data is written only where the array is an output. */
ATTN_DEF attn_array attn_array_1d(attn_dtype dtype, const void *data, size_t n);
ATTN_DEF attn_array attn_array_2d(attn_dtype dtype, const void *data, size_t rows, size_t columns);
ATTN_DEF attn_array attn_array_3d(attn_dtype dtype, const void *data, size_t n0, size_t n1, size_t n2);
ATTN_DEF attn_array attn_array_4d(attn_dtype dtype, const void *data, size_t n0, size_t n1, size_t n2, size_t n3);

/* The same array with axes a and b exchanged; wrong axes give it back as it is. */
ATTN_DEF attn_array attn_array_swap(const attn_array *a, int axis_a, int axis_b);

ATTN_DEF attn_exec attn_exec_default(void);
ATTN_DEF attn_exec attn_exec_in(void *workspace, size_t workspace_size);
ATTN_DEF attn_desc attn_desc_default(void);
ATTN_DEF attn_layer attn_layer_default(void);

ATTN_DEF size_t attn_dtype_size(attn_dtype dtype); /* bytes; 0 if unknown */
ATTN_DEF const char *attn_dtype_name(attn_dtype dtype);
ATTN_DEF const char *attn_status_string(attn_status status);
ATTN_DEF const char *attn_version(void);

/* ----------------------------------------------------------------- paths -- */

ATTN_DEF const char *attn_path_name(attn_path path);  /* "auto", "scalar", "neon", "avx2", "avx512" */
ATTN_DEF int attn_path_compiled(attn_path path);      /* is it in this program? */
ATTN_DEF int attn_path_supported(attn_path path);     /* ... and does this machine run it? */
ATTN_DEF int attn_path_native(attn_path path);        /* ... without emulation? */
ATTN_DEF attn_path attn_best_path(void);              /* what ATTN_PATH_AUTO chooses */
ATTN_DEF const char *attn_arithmetic(void);           /* "fused" or "unfused" multiply-add */

/* --------------------------------------------------- level 1: the steps -- */

/* C = A B. a (..., m, k), b (..., k, n), c (..., m, n), f32 or f64, all of one
 * type, any strides; leading dimensions agree or are 1. Each element is a chain
 * of fused multiply-adds over k in index order, starting from +0:
 * |error| <= k u sum |a b|, u = 2^-24 (f64: 2^-53). c must not overlap a or b. */
ATTN_DEF attn_status attn_matmul(const attn_array *a, const attn_array *b, const attn_array *c, const attn_exec *exec);

/* q = x w_q, k = x w_k, v = x w_v. x (..., S, d_model); w_q, w_k (d_model, d_k);
 * w_v (d_model, d_v); q, k (..., S, d_k); v (..., S, d_v). */
ATTN_DEF attn_status attn_compute_qkv(const attn_array *x, const attn_array *w_q, const attn_array *w_k, const attn_array *w_v,
                                      const attn_array *q, const attn_array *k, const attn_array *v, const attn_exec *exec);

/* s = scale * q k^T. q (..., q_len, d), k (..., kv_len, d), s (..., q_len, kv_len);
 * scale 0 means 1 / sqrt(d). The scale multiplies q first (one rounding), so
 * these are the very scores that the fused forms use. */
ATTN_DEF attn_status attn_scores(const attn_array *q, const attn_array *k, double scale, const attn_array *s, const attn_exec *exec);

/* y = softmax of x along `axis` (negative counts from the end; -1 is the last).
 * x and y have the same shape, f32 or f64; y may be x itself (same pointer and
 * strides). exp(x - max) / sum, in blocks of 512: attn_scores followed by
 * attn_softmax gives the very weights of the fused forms. -inf gets weight +0;
 * a row of nothing else gives +0; NaN or +inf gives NaN in its row. */
ATTN_DEF attn_status attn_softmax(const attn_array *x, int axis, const attn_array *y, const attn_exec *exec);

/* o = w v. w (..., q_len, kv_len), v (..., kv_len, d_v), o (..., q_len, d_v). */
ATTN_DEF attn_status attn_weighted_sum(const attn_array *w, const attn_array *v, const attn_array *o, const attn_exec *exec);

/* ------------------------------------------------- level 2: attention -- */

/* out = softmax(q k^T / sqrt(d)) v; weights (q_len, kv_len per head) or NULL.
 * q, k, v, out as in attn_desc. */
ATTN_DEF attn_status attn_self_attention(const attn_array *q, const attn_array *k, const attn_array *v, const attn_array *out,
                                         const attn_array *weights, const attn_exec *exec);

/* ----------------------------------------------------- level 3: fused -- */

/* Tiled ("flash") attention with running maxima (Milakov & Gimelshein 2018,
 * Rabe & Staats 2021, Dao et al. 2022): memory bounded by tiles. Asking for
 * scores, weights or lse changes no bit of the output. */
ATTN_DEF attn_status attn_forward(const attn_desc *desc, const attn_exec *exec);

/* ---------------------------------------------------- level 4: layers -- */

/* Single-head, multi-head, grouped-query and multi-query self-attention layers
 * (Vaswani et al. 2017, section 3.2.2). Workspace holds Q, K, V and the heads. */
ATTN_DEF attn_status attn_layer_forward(const attn_layer *layer, const attn_exec *exec);

#ifdef __cplusplus
}
#endif

#endif /* ATTENTION_H */
