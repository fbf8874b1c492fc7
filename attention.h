/* SPDX-License-Identifier: MIT-0 OR Unlicense
 *
 * attention.h - self-attention for C and C++: one file, every CPU, the same bits.
 *
 *     #define ATTENTION_IMPLEMENTATION      // in exactly one source file
 *     #include "attention.h"
 *     cc -O2 program.c
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
 *                   masks, windows, ALiBi, softcap, sinks, lengths, pages, packed
 *                   sequences; log-sum-exp, weights, scores, column sums.
 *                   attn_partial and its states: over parts of the keys.
 *                   attn_cache_append, attn_rotary: what decoding needs besides.
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
 *   A row with no visible key gives +0, weights +0 and lse -inf, with or without
 *   a sink; this follows from the masks alone, never from the logits. What is
 *   masked is never read into a result: NaN there changes no bit.
 *
 * DECODING
 *
 *   A cache is a pair of arrays (B, Hkv, capacity, D). Each step: attn_cache_append
 *   the new keys and values at kv_lens, add to kv_lens, and call attn_forward with
 *   the whole cache, kv_lens, causal and ATTN_ALIGN_LOWER_RIGHT. The rows are
 *   those of one prefill, bit for bit, however they are cut into steps. The same
 *   with pages: block_table says where they are. Few queries over many keys are
 *   cut into tasks along the keys when there are several workers.
 *
 * NUMBERS
 *
 *   Same bits. float32 and float64 results are bit-identical on every path
 *   (scalar, NEON, AVX2, AVX-512, native or emulated), for any thread count,
 *   batch, alignment and tiling, for prefill and for decode. How: every product
 *   is part of a multiply-add in a fixed order (the sum over head_dim and the sum
 *   over keys run in index order), sums of weights use 16 (float64: 8) virtual
 *   lanes, keys are cut into blocks of 512 at absolute positions, and blocks are
 *   joined along a fixed binary tree. exp, tanh and log are our own.
 *
 *   Two arithmetics. Fused rounds a multiply-add once, unfused rounds the product
 *   and then the sum: two sets of bits, each the same everywhere, within the same
 *   error bounds. attn_arithmetic() says which one a program has. Fused is the
 *   default on x86-64 and wherever the target's instruction set has it; unfused
 *   elsewhere: WebAssembly, 32-bit x86, ARMv7 before VFPv4, processors without
 *   floating point. (x86-64 before Haswell and Piledriver gets the fused bits in
 *   software, slowly: what a program computes must not depend on the machine it
 *   finds itself on.) ATTN_FUSED and ATTN_UNFUSED choose, so that a browser and a
 *   server, or old machines and new ones, can agree to the bit.
 *
 *   Finite in, finite out. Finite visible inputs, up to the largest float in Q,
 *   K, V, scale and mask alike, give a finite output within the range of the
 *   visible values, and weights that sum to 1. A row whose fast arithmetic
 *   overflows is found and redone alone in wider arithmetic.
 *
 *   Visible NaN and infinity follow IEEE 754, in their own row (for V: their own
 *   column of the rows that see them). attn_forward and attn_softmax write one NaN;
 *   in results of attn_matmul and attn_scores sign and payload are the machine's.
 *
 *   Element types: ATTN_F32 and ATTN_F64 compute in their own precision,
 *   ATTN_F16 and ATTN_BF16 in float32 with one rounding, to nearest even, at
 *   the output.
 *
 *   Subnormal inputs cost no time, except in scalar float64 code that emulates the
 *   multiply-add: up to 3.3 times as long.
 *
 *   Ordinary finite inputs raise neither invalid nor divide-by-zero nor overflow.
 *   Rounding modes and flush-to-zero are neither set nor reset, and the bits are
 *   promised for the default modes only. In others results stay finite; directed
 *   rounding makes the largest number of what would overflow, so there a row is
 *   not seen to need wide arithmetic, and may leave the range of its values.
 *
 *   Under -ffast-math, and under the parts of it that would break all of this
 *   (-funsafe-math-optimizations, -fassociative-math, -freciprocal-math,
 *   -ffinite-math-only), the header refuses to compile. attn_self_test tells at
 *   run time whether a build is sound: clang's -ffp-contract=fast, for one, makes
 *   unfused arithmetic fused, and nothing at compile time tells.
 *
 * MEMORY AND THREADS
 *
 *   Nothing is allocated and nothing global changes but one idempotent cache of
 *   the CPU's features. Scratch memory ("workspace") comes from the caller:
 *   set exec.query to learn its size, which depends on head_dim and the number
 *   of workers, and hardly on the lengths (never on q_len * kv_len).
 *   Of the stack attn_softmax takes up to 90 KiB, everything else less than 48
 *   (gcc -O2).
 *
 *   The library starts no threads. Give exec.parallel_for a function that runs
 *   independent tasks in any order; results do not depend on it. examples/ has
 *   one for pthreads and one for OpenMP.
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
 *   the program runs on is chosen at run time. exec.path forces one. Unfused,
 *   there is also code for the 16-byte vectors of gcc and clang, wherever the
 *   target has them: SSE2 of any x86-64, WebAssembly compiled with -msimd128, VSX.
 *
 * BUILD OPTIONS, defined before the implementation
 *
 *   ATTN_STATIC        all functions static (several copies in one program)
 *   ATTN_PREFIX        what stands in place of attn_ before the name of every function
 *                      and type; before every inclusion, so that libraries that
 *                      hold different versions can share a program
 *   ATTN_DEF           what declarations begin with: extern, unless you say
 *   ATTN_USE_SIMDE     also compile the paths of other machines, through SIMDe
 *   ATTN_NO_SIMD128, ATTN_NO_NEON, ATTN_NO_AVX2, ATTN_NO_AVX512    leave a path out
 *   ATTN_FUSED, ATTN_UNFUSED    multiply and add with one rounding, or with two
 *   ATTN_FILE          this file's name in quotes, if you renamed it
 *
 *   An object file needs memcpy, memset.
 *   That is all of the C library (gcc and clang call these two in any case; on small
 *   machines they add their own arithmetic, whose names begin with __), so that it
 *   can be compiled with -ffreestanding, and linked without -lm.
 *
 * ==========================================================================*/

#ifndef ATTENTION_H
#define ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#define ATTN_VERSION_MAJOR 0 /* semantic versioning; all other files take it from here */
#define ATTN_VERSION_MINOR 1
#define ATTN_VERSION_PATCH 0
#define ATTN__TEXT(x) #x
#define ATTN__DOTTED(x, y, z) ATTN__TEXT(x) "." ATTN__TEXT(y) "." ATTN__TEXT(z)
#define ATTN_VERSION ATTN__DOTTED(ATTN_VERSION_MAJOR, ATTN_VERSION_MINOR, ATTN_VERSION_PATCH) /* "major.minor.patch" */

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

#ifdef ATTN_PREFIX
#define ATTN__PREFIXED_(prefix, name) prefix##name
#define ATTN__PREFIXED(prefix, name) ATTN__PREFIXED_(prefix, name)
#define attn_align ATTN__PREFIXED(ATTN_PREFIX, align)
#define attn_arithmetic ATTN__PREFIXED(ATTN_PREFIX, arithmetic)
#define attn_array ATTN__PREFIXED(ATTN_PREFIX, array)
#define attn_array_1d ATTN__PREFIXED(ATTN_PREFIX, array_1d)
#define attn_array_2d ATTN__PREFIXED(ATTN_PREFIX, array_2d)
#define attn_array_3d ATTN__PREFIXED(ATTN_PREFIX, array_3d)
#define attn_array_4d ATTN__PREFIXED(ATTN_PREFIX, array_4d)
#define attn_array_swap ATTN__PREFIXED(ATTN_PREFIX, array_swap)
#define attn_best_path ATTN__PREFIXED(ATTN_PREFIX, best_path)
#define attn_cache_append ATTN__PREFIXED(ATTN_PREFIX, cache_append)
#define attn_compute_qkv ATTN__PREFIXED(ATTN_PREFIX, compute_qkv)
#define attn_desc ATTN__PREFIXED(ATTN_PREFIX, desc)
#define attn_desc_default ATTN__PREFIXED(ATTN_PREFIX, desc_default)
#define attn_desc_flash ATTN__PREFIXED(ATTN_PREFIX, desc_flash)
#define attn_desc_onnx ATTN__PREFIXED(ATTN_PREFIX, desc_onnx)
#define attn_desc_pytorch ATTN__PREFIXED(ATTN_PREFIX, desc_pytorch)
#define attn_dtype ATTN__PREFIXED(ATTN_PREFIX, dtype)
#define attn_dtype_name ATTN__PREFIXED(ATTN_PREFIX, dtype_name)
#define attn_dtype_size ATTN__PREFIXED(ATTN_PREFIX, dtype_size)
#define attn_exec ATTN__PREFIXED(ATTN_PREFIX, exec)
#define attn_exec_default ATTN__PREFIXED(ATTN_PREFIX, exec_default)
#define attn_exec_in ATTN__PREFIXED(ATTN_PREFIX, exec_in)
#define attn_forward ATTN__PREFIXED(ATTN_PREFIX, forward)
#define attn_layer ATTN__PREFIXED(ATTN_PREFIX, layer)
#define attn_layer_default ATTN__PREFIXED(ATTN_PREFIX, layer_default)
#define attn_layer_forward ATTN__PREFIXED(ATTN_PREFIX, layer_forward)
#define attn_matmul ATTN__PREFIXED(ATTN_PREFIX, matmul)
#define attn_parallel_for ATTN__PREFIXED(ATTN_PREFIX, parallel_for)
#define attn_partial ATTN__PREFIXED(ATTN_PREFIX, partial)
#define attn_path ATTN__PREFIXED(ATTN_PREFIX, path)
#define attn_path_compiled ATTN__PREFIXED(ATTN_PREFIX, path_compiled)
#define attn_path_name ATTN__PREFIXED(ATTN_PREFIX, path_name)
#define attn_path_native ATTN__PREFIXED(ATTN_PREFIX, path_native)
#define attn_path_supported ATTN__PREFIXED(ATTN_PREFIX, path_supported)
#define attn_rotary ATTN__PREFIXED(ATTN_PREFIX, rotary)
#define attn_scores ATTN__PREFIXED(ATTN_PREFIX, scores)
#define attn_self_attention ATTN__PREFIXED(ATTN_PREFIX, self_attention)
#define attn_self_test ATTN__PREFIXED(ATTN_PREFIX, self_test)
#define attn_softmax ATTN__PREFIXED(ATTN_PREFIX, softmax)
#define attn_stage ATTN__PREFIXED(ATTN_PREFIX, stage)
#define attn_state_finish ATTN__PREFIXED(ATTN_PREFIX, state_finish)
#define attn_state_merge ATTN__PREFIXED(ATTN_PREFIX, state_merge)
#define attn_state_merged_size ATTN__PREFIXED(ATTN_PREFIX, state_merged_size)
#define attn_state_size ATTN__PREFIXED(ATTN_PREFIX, state_size)
#define attn_status ATTN__PREFIXED(ATTN_PREFIX, status)
#define attn_status_string ATTN__PREFIXED(ATTN_PREFIX, status_string)
#define attn_task ATTN__PREFIXED(ATTN_PREFIX, task)
#define attn_version ATTN__PREFIXED(ATTN_PREFIX, version)
#define attn_weighted_sum ATTN__PREFIXED(ATTN_PREFIX, weighted_sum)
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
    ATTN_ERR_UNSOUND,     /* attn_self_test: this build does not compute what it should */
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
    ATTN_PATH_SIMD128, /* the compiler's 16-byte vectors: WebAssembly, SSE2, VSX; unfused only */
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

    attn_array block_table;  /* optional, (B, pages), i32 or i64: k and v are then pages
                                (num_pages, Hkv, page_size, D), and key j of batch b is
                                row j % page_size of page block_table[b][j / page_size];
                                kv_len = pages * page_size, of which kv_lens says how
                                many keys there are (pages beyond are not looked at) */
    attn_array cu_seqlens_q; /* optional, (sequences + 1), i32 or i64, from 0 up to the
                                total: q and out are (Hq, total_q, D), k and v
                                (Hkv, total_k, D), sequence n is the rows
                                [cu_seqlens[n], cu_seqlens[n + 1]) of each, and a batch
                                of its own; lse is then (Hq, total_q) */
    attn_array cu_seqlens_k; /* together with cu_seqlens_q */
    size_t kv_begin;         /* position of the first key of k, v and mask, for parts of
                                a longer sequence; window, causal and kv_lens count
                                positions from 0 */

    attn_array lse;    /* optional output, (B, Hq, q_len) */
    attn_array scores; /* optional output at `stage`, (B, heads, queries, kv_len): of heads
                          from scores_head on and queries from scores_query on */
    attn_stage stage;
    size_t scores_head, scores_query;
    attn_array colsum; /* optional output, (B, Hq, kv_len): sums of weights over queries
                          (tasks are then whole heads) */
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
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
#define ATTN__NOT_READ __attribute__((access(none, 2))) /* by these, so it may be uninitialised */
#else
#define ATTN__NOT_READ
#endif
ATTN_DEF attn_array attn_array_1d(attn_dtype dtype, const void *data, size_t n) ATTN__NOT_READ;
ATTN_DEF attn_array attn_array_2d(attn_dtype dtype, const void *data, size_t rows, size_t columns) ATTN__NOT_READ;
ATTN_DEF attn_array attn_array_3d(attn_dtype dtype, const void *data, size_t n0, size_t n1, size_t n2) ATTN__NOT_READ;
ATTN_DEF attn_array attn_array_4d(attn_dtype dtype, const void *data, size_t n0, size_t n1, size_t n2, size_t n3) ATTN__NOT_READ;

/* The same array with axes a and b exchanged; wrong axes give it back as it is. */
ATTN_DEF attn_array attn_array_swap(const attn_array *a, int axis_a, int axis_b);

ATTN_DEF attn_exec attn_exec_default(void);
ATTN_DEF attn_exec attn_exec_in(void *workspace, size_t workspace_size);
ATTN_DEF attn_desc attn_desc_default(void);
ATTN_DEF attn_layer attn_layer_default(void);

/* Descriptors set up as other libraries define their arguments; then set q, k, v
 * and out. Where ports break is the alignment of a causal mask when q_len and
 * kv_len differ, and the polarity of boolean masks (here and there: true = keep). */
ATTN_DEF attn_desc attn_desc_pytorch(int is_causal); /* scaled_dot_product_attention: upper-left */
ATTN_DEF attn_desc attn_desc_onnx(int is_causal, size_t past_len); /* Attention-23: query 0 stands at past_len */
ATTN_DEF attn_desc attn_desc_flash(int causal, int64_t window_left, int64_t window_right); /* flash_attn >= 2.1: lower-right, -1 unbounded */

ATTN_DEF size_t attn_dtype_size(attn_dtype dtype); /* bytes; 0 if unknown */
ATTN_DEF const char *attn_dtype_name(attn_dtype dtype);
ATTN_DEF const char *attn_status_string(attn_status status);
ATTN_DEF const char *attn_version(void);

/* ----------------------------------------------------------------- paths -- */

ATTN_DEF const char *attn_path_name(attn_path path);  /* "auto", "scalar", "simd128", "neon", "avx2", "avx512" */
ATTN_DEF int attn_path_compiled(attn_path path);      /* is it in this program? */
ATTN_DEF int attn_path_supported(attn_path path);     /* ... and does this machine run it? */
ATTN_DEF int attn_path_native(attn_path path);        /* ... without emulation? */
ATTN_DEF attn_path attn_best_path(void);              /* what ATTN_PATH_AUTO chooses, but for very short rows */
ATTN_DEF const char *attn_arithmetic(void);           /* "fused" or "unfused" multiply-add */

/* Is the build this program sits in sound on this machine? Runs small problems
 * on every path (or on exec.path) and compares the bits with known ones. Catches
 * what no macro tells: clang's -fassociative-math, a wrong fma, a broken emulator.
 * Costs about a millisecond; ATTN_ERR_UNSOUND says no. One of the problems
 * overflows on purpose: not for a program that traps exceptions, nor in another
 * rounding mode. */
ATTN_DEF attn_status attn_self_test(const attn_exec *exec);

/* --------------------------------------------------- level 1: the steps -- */

/* C = A B. a (..., m, k), b (..., k, n), c (..., m, n), f32 or f64, all of one
 * type, any strides; leading dimensions agree or are 1. Each element is a chain
 * of multiply-adds over k in index order, starting from +0:
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
 * a row of nothing else gives +0; NaN or +inf makes its whole row NaN. */
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

/* States: attention over a part of the keys, to be merged with that over others
 * (other tasks, other machines). desc gives the part: k, v and mask hold keys
 * from kv_begin on (so ATTN_ALIGN_LOWER_RIGHT needs kv_lens, the lengths of the
 * whole); its out, lse, scores, colsum and sinks are ignored. A state
 * is plain bytes without pointers, 8-byte aligned, of a size that
 * attn_state_size gives.
 *
 * attn_state_merge joins the states of two adjacent parts, `a` before `b`, into
 * that of both (its size: attn_state_merged_size). attn_state_finish divides, and
 * counts the sinks of its descriptor. Parts cut at multiples of 512 keys and
 * merged in any order of adjacent pairs give the very bits of attn_forward over
 * all keys; other cuts stay within the error bound. A part of no keys is the
 * identity, and so is, for its row, one whose visible scores are all -inf. A row
 * whose part overflows, or comes within 2^24 of it, is computed in wide arithmetic
 * and rounded to the compute type, so that what is merged stays
 * finite; it is then no longer bit-identical. */
ATTN_DEF attn_status attn_state_size(const attn_desc *desc, size_t *bytes);
ATTN_DEF attn_status attn_partial(const attn_desc *desc, void *state, size_t state_size, const attn_exec *exec);
ATTN_DEF attn_status attn_state_merged_size(const void *a, const void *b, size_t *bytes);
ATTN_DEF attn_status attn_state_merge(const void *a, const void *b, void *merged, size_t merged_size, attn_path path);
ATTN_DEF attn_status attn_state_finish(const attn_desc *desc, const void *state, attn_path path); /* desc: out, lse, sinks */

/* ------------------------------------------------------- caches, rotary -- */

/* Appends rows to a key or value cache, rounding to its element type (to nearest,
 * ties to even). cache (B, H, capacity, D); rows (B, H, n, D); batch b's rows go to
 * positions lens[b] ... lens[b] + n - 1 (lens (B), i32 or i64, or NULL for 0),
 * which must fit. With a block table (B, pages) the cache is (num_pages, H,
 * page_size, D). Neither table nor lengths are changed. No workspace. */
ATTN_DEF attn_status attn_cache_append(const attn_array *cache, const attn_array *rows, const attn_array *lens, const attn_array *block_table);

/* Rotary position embedding (Su et al. 2021). x and y (B, H, S, D) or fewer
 * dimensions; positions (S) or (B, S), i32 or i64, or NULL for 0, 1, 2, ... The
 * first rotary_dim (even; 0: D) elements of a row are rotated in pairs, pair i by
 * position * base^(-2 i / rotary_dim) radians: (2i, 2i + 1) if interleaved, else
 * (i, i + rotary_dim / 2). The rest is copied. base 0 means 10000. Angles, sines
 * and cosines are computed in double, with an error below
 * 2^-50 (1 + |angle|), on every machine the same. y may be x itself. */
ATTN_DEF attn_status attn_rotary(const attn_array *x, const attn_array *positions, double base, size_t rotary_dim, int interleaved,
                                 const attn_array *y);

/* ---------------------------------------------------- level 4: layers -- */

/* Single-head, multi-head, grouped-query and multi-query self-attention layers
 * (Vaswani et al. 2017, section 3.2.2). Workspace holds Q, K, V and the heads. */
ATTN_DEF attn_status attn_layer_forward(const attn_layer *layer, const attn_exec *exec);

#ifdef __cplusplus
}
#endif

#endif /* ATTENTION_H */

/* ==========================================================================
 * IMPLEMENTATION
 *
 *   configuration          compiler, machine, refusals
 *   numbers                what scalar code and every path share
 *   kernel table           what a path offers to the driver
 *   paths                  one vocabulary each, then one self-include per type
 *   dispatch               CPU detection, choice of a table
 *   arrays                 checking and walking strided views
 *   driver                 tiles, blocks, the tree of states, redone rows
 *   public functions
 *   kernel template        at the very end: what each path instantiates
 * ======================================================================== */

#if defined(ATTENTION_IMPLEMENTATION) && !defined(ATTN__IMPLEMENTED)
#define ATTN__IMPLEMENTED

/* --------------------------------------------------------- configuration -- */

/* Sums keep their order, and every operation rounds once, to its own type. Where
 * the compiler was told otherwise, or cannot, there is no answer to give. */
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ > 0) || defined(_M_FP_FAST)
#error "attention.h: -ffast-math (or -ffinite-math-only, -Ofast) breaks NaN handling, determinism and accuracy: compile this file without it"
#endif
#if defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || (!defined(__clang__) && defined(__GNUC__) && __GNUC__ < 12 && defined(__GCC_IEC_559) && __GCC_IEC_559 == 0)
#error "attention.h: -funsafe-math-optimizations (or -fassociative-math, -freciprocal-math) breaks determinism and accuracy: compile this file without it"
#endif
#if (defined(__FLT_EVAL_METHOD__) && (__FLT_EVAL_METHOD__ < 0 || __FLT_EVAL_METHOD__ == 2)) || (defined(_M_IX86_FP) && _M_IX86_FP < 2)
#error "attention.h: x87 arithmetic rounds twice: compile this file with -msse2 -mfpmath=sse (/arch:SSE2)"
#endif
#ifdef __clang__ /* which defines no macro for -funsafe-math-optimizations */
static __attribute__((unused)) void attn__refuse_unsafe_math(void)
{
#if __clang_major__ >= 16 && !defined(__apple_build_version__)
#pragma clang fp eval_method(source) /* an error here: attention.h cannot be compiled with that option */
#else
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wignored-pragmas"
#pragma STDC FENV_ACCESS ON /* an error here: attention.h cannot be compiled with -funsafe-math-optimizations and the like */
#pragma clang diagnostic pop
#endif
}
#endif
typedef char attn__double_constants_are_double[sizeof(1.0) == sizeof(double) ? 1 : -1]; /* not with -fsingle-precision-constant */

#if defined(__GNUC__) /* these need no header, so the C library need not have one */
#define attn__memcpy __builtin_memcpy
#define attn__memset __builtin_memset
#define attn__fmaf __builtin_fmaf
#define attn__fma __builtin_fma
#else
#include <math.h>
#include <string.h>
#define attn__memcpy memcpy
#define attn__memset memset
#define attn__fmaf fmaf
#define attn__fma fma
#endif

#ifndef ATTN_FILE
#define ATTN_FILE "attention.h"
#endif

#if defined(__GNUC__) || defined(__clang__)
#define ATTN__INLINE static inline __attribute__((always_inline))
#define ATTN__NOINLINE __attribute__((noinline))
#elif defined(_MSC_VER)
#define ATTN__INLINE static __forceinline
#define ATTN__NOINLINE __declspec(noinline)
#else
#define ATTN__INLINE static inline
#define ATTN__NOINLINE
#endif

#ifdef __cplusplus
#define ATTN__ZEROS {}
#else
#define ATTN__ZEROS {0}
#endif

#if (defined(__x86_64__) && defined(__GNUC__)) || defined(_M_X64) /* small compilers have no intrinsics */
#define ATTN__X86 1
#else
#define ATTN__X86 0
#endif
#if defined(__aarch64__) && !defined(__AARCH64EB__)
#define ATTN__A64 1
#else
#define ATTN__A64 0
#endif
/* Where one instruction multiplies and adds; compilers call a function without
 * optimization, and then our own will do. */
#if defined(__FMA__) || defined(__FP_FAST_FMAF) || defined(__ARM_FEATURE_FMA) || defined(__s390x__) || defined(__powerpc64__) || ATTN__A64
#define ATTN__HAS_FMA_F32 1
#elif defined(__riscv_flen)
#define ATTN__HAS_FMA_F32 (__riscv_flen >= 32)
#else
#define ATTN__HAS_FMA_F32 0
#endif
#if defined(__FMA__) || defined(__FP_FAST_FMA) || defined(__s390x__) || defined(__powerpc64__) || ATTN__A64
#define ATTN__HAS_FMA_F64 1
#elif defined(__riscv_flen)
#define ATTN__HAS_FMA_F64 (__riscv_flen >= 64)
#else
#define ATTN__HAS_FMA_F64 0
#endif
#if defined(__GNUC__) && !defined(__OPTIMIZE__)
#define ATTN__FMA_F32 0
#define ATTN__FMA_F64 0
#else
#define ATTN__FMA_F32 ATTN__HAS_FMA_F32
#define ATTN__FMA_F64 ATTN__HAS_FMA_F64
#endif
/* The arithmetic: see NUMBERS in the manual. x86-64 may find its multiply-add at
 * run time, and then must not give other bits. */
#if defined(ATTN_FUSED) && defined(ATTN_UNFUSED)
#error "attention.h: define ATTN_FUSED or ATTN_UNFUSED, not both"
#elif defined(ATTN_UNFUSED)
#define ATTN__FUSED 0
#elif defined(ATTN_FUSED) || defined(__x86_64__) || defined(_M_X64)
#define ATTN__FUSED 1
#else
#define ATTN__FUSED ATTN__HAS_FMA_F32
#endif
#ifdef ATTN_USE_SIMDE
#define ATTN__SIMDE 1
#else
#define ATTN__SIMDE 0
#endif
#if defined(__wasm_simd128__) || defined(__SSE2__) || defined(__VSX__)
#define ATTN__VECTORS 1
#else
#define ATTN__VECTORS 0
#endif
/* fused, these vectors have no multiply-add; those of ARMv7 flush subnormals */
#if !defined(ATTN_NO_SIMD128) && !ATTN__FUSED && defined(__GNUC__) && (ATTN__VECTORS || (ATTN__SIMDE && !defined(__arm__)))
#define ATTN__SIMD128 1
#else
#define ATTN__SIMD128 0
#endif
#if !defined(ATTN_NO_AVX2) && (ATTN__X86 || ATTN__SIMDE)
#define ATTN__AVX2 1
#else
#define ATTN__AVX2 0
#endif
#if !defined(ATTN_NO_AVX512) && (ATTN__X86 || ATTN__SIMDE)
#define ATTN__AVX512 1
#else
#define ATTN__AVX512 0
#endif
#if !defined(ATTN_NO_NEON) && (ATTN__A64 || ATTN__SIMDE)
#define ATTN__NEON 1
#else
#define ATTN__NEON 0
#endif

#if ATTN__X86 && !defined(__clang__) && defined(__STDC_HOSTED__) && !__STDC_HOSTED__ && !defined(_MM_MALLOC_H_INCLUDED)
#define _MM_MALLOC_H_INCLUDED /* for which gcc's intrinsics would include stdlib.h */
#endif
#if ATTN__SIMDE && defined(__arm__) /* whose own vectors flush subnormals: SIMDe is to do without them */
#define SIMDE_ARM_NEON_A32V7_NO_NATIVE
#define SIMDE_ARM_NEON_A32V8_NO_NATIVE
#endif
#if ATTN__X86 && !ATTN__AVX2 && !ATTN__AVX512
#include <emmintrin.h>
#elif ATTN__X86
#include <immintrin.h> /* before any target region */
#ifdef _MSC_VER
#include <intrin.h>
#endif
#elif ATTN__AVX2 || ATTN__AVX512 /* SIMDe piecemeal: whole families are 85,000 lines */
#include <simde/x86/avx2.h>
#include <simde/x86/avx512/add.h>
#include <simde/x86/avx512/cast.h>
#include <simde/x86/avx512/cmp.h>
#include <simde/x86/avx512/extract.h>
#include <simde/x86/avx512/div.h>
#include <simde/x86/avx512/insert.h>
#include <simde/x86/avx512/loadu.h>
#include <simde/x86/avx512/max.h>
#include <simde/x86/avx512/mov.h>
#include <simde/x86/avx512/mul.h>
#include <simde/x86/avx512/set1.h>
#include <simde/x86/avx512/sll.h>
#include <simde/x86/avx512/slli.h>
#include <simde/x86/avx512/storeu.h>
#include <simde/x86/avx512/sub.h>
#include <simde/x86/avx512/unpackhi.h>
#include <simde/x86/avx512/unpacklo.h>
#endif
#if ATTN__NEON && ATTN__A64
#include <arm_neon.h>
#elif ATTN__NEON
#include <simde/arm/neon/add.h>
#include <simde/arm/neon/bsl.h>
#include <simde/arm/neon/clt.h>
#include <simde/arm/neon/combine.h>
#include <simde/arm/neon/dup_n.h>
#include <simde/arm/neon/get_high.h>
#include <simde/arm/neon/get_low.h>
#include <simde/arm/neon/ld1.h>
#include <simde/arm/neon/max.h>
#include <simde/arm/neon/movl.h>
#include <simde/arm/neon/mul.h>
#include <simde/arm/neon/reinterpret.h>
#include <simde/arm/neon/shl_n.h>
#include <simde/arm/neon/st1.h>
#include <simde/arm/neon/sub.h>
#include <simde/arm/neon/trn1.h>
#include <simde/arm/neon/trn2.h>
#endif

#if !ATTN__FUSED /* from here on a * b + c rounds twice, whatever the machine has */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif
#endif
#if defined(_MSC_VER) && !defined(__clang__) /* has no fma here: ours is of plain operations, and fused, too, must stay so */
#pragma fp_contract(off)
#endif

/* The line at p + n elements, wherever that is. */
#if defined(__GNUC__) || defined(__clang__)
#define ATTN__PREFETCH(p, n) __builtin_prefetch((const void *)((uintptr_t)(p) + (uintptr_t)(n) * sizeof *(p)), 0, 2)
#else
#define ATTN__PREFETCH(p, n) ((void)(p), (void)(n))
#endif

#define ATTN__CAT_(a, b) a##b
#define ATTN__CAT(a, b) ATTN__CAT_(a, b)

/* X(0) ... X(n - 1): unrolling that every compiler performs. */
#define ATTN__REPEAT_1(X) X(0)
#define ATTN__REPEAT_2(X) ATTN__REPEAT_1(X) X(1)
#define ATTN__REPEAT_4(X) ATTN__REPEAT_2(X) X(2) X(3)
#define ATTN__REPEAT_6(X) ATTN__REPEAT_4(X) X(4) X(5)
#define ATTN__REPEAT_8(X) ATTN__REPEAT_6(X) X(6) X(7)
#define ATTN__REPEAT_14(X) ATTN__REPEAT_8(X) X(8) X(9) X(10) X(11) X(12) X(13)
#define ATTN__REPEAT_16(X) ATTN__REPEAT_14(X) X(14) X(15)

/* x0 = x0 op x1 and so on: x<i> = x<i> op x<i + w> for w = n / 2 ... 1. */
#define ATTN__FOLD_2(op, x) x##0 = op(x##0, x##1);
#define ATTN__FOLD_4(op, x) x##0 = op(x##0, x##2), x##1 = op(x##1, x##3); ATTN__FOLD_2(op, x)
#define ATTN__FOLD_8(op, x) \
    x##0 = op(x##0, x##4), x##1 = op(x##1, x##5), x##2 = op(x##2, x##6), x##3 = op(x##3, x##7); ATTN__FOLD_4(op, x)
#define ATTN__FOLD_16(op, x)                                                                      \
    x##0 = op(x##0, x##8), x##1 = op(x##1, x##9), x##2 = op(x##2, x##10), x##3 = op(x##3, x##11); \
    x##4 = op(x##4, x##12), x##5 = op(x##5, x##13), x##6 = op(x##6, x##14), x##7 = op(x##7, x##15); ATTN__FOLD_8(op, x)

/* --------------------------------------------------------------- numbers -- */

/* Keys are cut into blocks at absolute positions, and nothing else ever cuts
 * them: sums over keys must not depend on who computes what. */
#define ATTN__BLOCK 512
#define ATTN__SEEN 16 /* blocks of a mask that are looked at together */
#define ATTN__FEW_KEYS 16 /* rows of a matrix that few rows are multiplied by at a time */
#define ATTN__NEAR 8192   /* elements that the nearest cache holds */
#define ATTN__COLUMNS 128 /* lines of a softmax that are done together ... */
#define ATTN__COLUMN_SLOTS 14 /* ... up to 4096 blocks of them */
#define ATTN__COLUMN_MAXIMA 8 /* ... whose first blocks' maxima are kept for the second pass */
#define ATTN__LINE 32768 /* bytes of a line of a softmax that wait for its sum */
/* Distance between rows of a tile, in elements: a constant, so that rows are
 * immediate offsets, and not a multiple of 4 KiB, so that they spread over the
 * sets of the cache. */
#define ATTN__LD 528
/* Virtual lanes of a sum of weights: 64 bytes' worth on every path. */
#define ATTN__LANES_F32 16
#define ATTN__LANES_F64 8
/* Query rows that share one packing of a block of keys. */
#define ATTN__ROWS 256
#define ATTN__MR_MAX 14
#define ATTN__NR_MAX 32

/* A masked score while it waits for exp. It is finite so that the search for
 * overflow need not tell it apart; a row whose maximum comes near it is redone. */
#define ATTN__MASKED_F32 (-3.402823466e+38f)
#define ATTN__MASKED_F64 (-1.7976931348623157e+308)
#define ATTN__ODD_F32 (-1.0e+38f)
#define ATTN__ODD_F64 (-1.0e+307)

ATTN__INLINE uint32_t attn__bits_f32(float x) { uint32_t b; attn__memcpy(&b, &x, sizeof b); return b; }
ATTN__INLINE uint64_t attn__bits_f64(double x) { uint64_t b; attn__memcpy(&b, &x, sizeof b); return b; }
ATTN__INLINE float attn__from_bits_f32(uint32_t b) { float x; attn__memcpy(&x, &b, sizeof x); return x; }
ATTN__INLINE double attn__from_bits_f64(uint64_t b) { double x; attn__memcpy(&x, &b, sizeof x); return x; }

/* Integers decide what is finite: compilers may assume things about floats. */
ATTN__INLINE int attn__finite_f32(float x) { return (attn__bits_f32(x) & 0x7f800000u) != 0x7f800000u; }
ATTN__INLINE int attn__finite_f64(double x) { return (attn__bits_f64(x) >> 52 & 0x7ffu) != 0x7ffu; }

/* a * b + c with one rounding. The product of two floats is exact in double;
 * the sum, rounded to odd, rounds correctly a second time (Boldo & Melquiond
 * 2008). Faster than a library call, and right where the library's is not. */
ATTN__INLINE float attn__fma_f32(float a, float b, float c)
{
#if ATTN__FMA_F32
    return attn__fmaf(a, b, c);
#else
    double p = (double)a * (double)b, q = (double)c, s = p + q;
    double t = s - p, e = (p - (s - t)) + (q - t); /* s + e = p + q exactly */
    uint64_t u = attn__bits_f64(s);
    if ((u & 1) == 0 && attn__finite_f64(s) && (e < 0 || e > 0)) {
        u = (e > 0) == (s > 0) ? u + 1 : u - 1;
        s = attn__from_bits_f64(u);
    }
    return (float)s;
#endif
}
#if ATTN__FMA_F64
ATTN__INLINE double attn__fma_f64(double a, double b, double c) { return attn__fma(a, b, c); }
#else
/* x >> n, with the last bit 1 if a bit is lost */
ATTN__INLINE void attn__shift_128(uint64_t x[2], unsigned n)
{
    uint64_t lost = 0;
    for (; n; n -= n < 32 ? n : 32) {
        const unsigned by = n < 32 ? n : 32;
        lost |= x[0] << (64 - by);
        x[0] = x[0] >> by | x[1] << (64 - by);
        x[1] >>= by;
        if (!x[0] && !x[1]) break;
    }
    x[0] |= lost != 0;
}

/* |x| = m 2^e, 2^52 <= m < 2^53, or m = 0 and e low, for finite x */
ATTN__INLINE uint64_t attn__integer_of(double x, int *e)
{
    const uint64_t u = attn__bits_f64(x);
    uint64_t m = u & UINT64_C(0xfffffffffffff);
    *e = (int)(u >> 52 & 0x7ff);
    if (*e) m |= UINT64_C(1) << 52;
    else *e = 1;
    if (!m) *e = -4000;
    else
        for (; !(m >> 52); m <<= 1) *e -= 1;
    *e -= 1075;
    return m;
}

/* In integers, for finite numbers of any size; a and b are not 0. */
static double attn__fma_f64_any(double a, double b, double c)
{
    int ea, eb, ec, e, shift;
    const uint64_t x = attn__integer_of(a, &ea), y = attn__integer_of(b, &eb), z = attn__integer_of(c, &ec);
    const uint64_t low = (x & 0xffffffffu) * (y & 0xffffffffu), middle = (x >> 32) * (y & 0xffffffffu) + (x & 0xffffffffu) * (y >> 32);
    uint64_t p[2], q[2], sign = (attn__bits_f64(a) ^ attn__bits_f64(b)) >> 63, u;
    const int less = sign != attn__bits_f64(c) >> 63; /* signs differ */
    /* both from 2^124 up: where bits are lost, nothing cancels */
    p[0] = low + (middle << 32);
    p[1] = (x >> 32) * (y >> 32) + (middle >> 32) + (p[0] < low);
    p[1] = p[1] << 20 | p[0] >> 44;
    p[0] <<= 20;
    q[1] = z << 9;
    q[0] = 0;
    e = ea + eb - 20;
    ec -= 73;
    if (e >= ec) attn__shift_128(q, (unsigned)(e - ec));
    else attn__shift_128(p, (unsigned)(ec - e)), e = ec;
    if (!less) {
        p[0] += q[0];
        p[1] += q[1] + (p[0] < q[0]);
    } else {
        const int swap = p[1] < q[1] || (p[1] == q[1] && p[0] < q[0]);
        const uint64_t l0 = swap ? q[0] : p[0], l1 = swap ? q[1] : p[1], s0 = swap ? p[0] : q[0], s1 = swap ? p[1] : q[1];
        p[0] = l0 - s0;
        p[1] = l1 - s1 - (l0 < s0);
        sign ^= (uint64_t)swap;
    }
    if (!p[0] && !p[1]) return 0;
    for (; !(p[1] >> 63); e--) {
        p[1] = p[1] << 1 | p[0] >> 63;
        p[0] <<= 1;
    }
    p[1] |= p[0] != 0;
    e += 127; /* of the first bit */
    shift = e < -1022 ? 11 - 1022 - e : 11;
    if (shift < 64) {
        u = p[1] >> shift;
        p[1] <<= 64 - shift;
    } else { /* a part of the least subnormal */
        u = 0;
        if (shift > 64) p[1] = 0;
    }
    u += p[1] > UINT64_C(1) << 63 || (p[1] == UINT64_C(1) << 63 && (u & 1));
    if (e >= -1022) u += (uint64_t)(e + 1022) << 52; /* u has the implicit bit */
    if (e > 1023 || u > UINT64_C(0x7ff) << 52) u = UINT64_C(0x7ff) << 52;
    return attn__from_bits_f64(u | sign << 63);
}

/* The product in two parts (Dekker 1971), sums in two parts (Knuth), the last but
 * one rounded to odd (Boldo & Melquiond 2008); far exponents in integers. Not
 * inlined: code for machines with fma may have a * b - c contracted. */
ATTN__NOINLINE static double attn__fma_f64(double a, double b, double c)
{
    const unsigned ea = (unsigned)(attn__bits_f64(a) >> 52 & 0x7ff), eb = (unsigned)(attn__bits_f64(b) >> 52 & 0x7ff);
    const unsigned ec = (unsigned)(attn__bits_f64(c) >> 52 & 0x7ff);
    if (ea - 623 <= 800 && eb - 623 <= 800 && (ec - 123 <= 1800 || attn__bits_f64(c) << 1 == 0)) {
        const double split = 134217729.0, ta = split * a, tb = split * b; /* 2^27 + 1 */
        const double ah = ta - (ta - a), al = a - ah, bh = tb - (tb - b), bl = b - bh;
        const double p = a * b, e = ((ah * bh - p) + ah * bl + al * bh) + al * bl; /* p + e = a b: all products here are exact */
        const double s = c + e, t = s - c, f = (c - (s - t)) + (e - t);             /* s + f = c + e */
        const double v = p + s, w = v - p, g = (p - (v - w)) + (s - w);             /* v + g = p + s */
        const double h = f + g, d = h - f, r = (f - (h - d)) + (g - d);             /* h + r = f + g */
        uint64_t u = attn__bits_f64(h);
        if ((u & 1) == 0 && (r < 0 || r > 0)) u = (r > 0) == (h > 0) ? u + 1 : u - 1;
        return v + attn__from_bits_f64(u);
    }
    if (ec == 0x7ff && ea != 0x7ff && eb != 0x7ff) return c + c; /* even where the product overflows */
    if (ea == 0x7ff || eb == 0x7ff || attn__bits_f64(a) << 1 == 0 || attn__bits_f64(b) << 1 == 0) return a * b + c;
    return attn__fma_f64_any(a, b, c);
}
#endif

/* a * b + c as this arithmetic has it. Where a result needs the exact product in
 * either arithmetic, it says fma. */
#if ATTN__FUSED
#define attn__madd_f32 attn__fma_f32
#define attn__madd_f64 attn__fma_f64
#else
ATTN__INLINE float attn__madd_f32(float a, float b, float c) { return a * b + c; }
ATTN__INLINE double attn__madd_f64(double a, double b, double c) { return a * b + c; }
#endif

ATTN__INLINE int attn__nan_f64(double x) { return (attn__bits_f64(x) & 0x7fffffffffffffffu) > 0x7ff0000000000000u; }

ATTN__INLINE double attn__infinity(void) { return attn__from_bits_f64(0x7ff0000000000000u); }

/* x = 2^e m, 0.5 <= |m| < 1, for finite x; e = 0 for x = 0. */
ATTN__INLINE double attn__split(double x, int *e)
{
    uint64_t u = attn__bits_f64(x);
    int k = (int)(u >> 52 & 0x7ff), shift = 0;
    if ((u & 0x7fffffffffffffffu) == 0) {
        *e = 0;
        return x;
    }
    if (k == 0) { /* subnormal */
        u = attn__bits_f64(x * 18014398509481984.0); /* 2^54 */
        k = (int)(u >> 52 & 0x7ff);
        shift = 54;
    }
    *e = k - 1022 - shift;
    return attn__from_bits_f64((u & 0x800fffffffffffffu) | (uint64_t)1022 << 52);
}

/* 2^e x, saturating to infinity and 0 as multiplication does. */
ATTN__INLINE double attn__scale2(double x, int e)
{
    while (e > 1000) {
        x *= attn__from_bits_f64((uint64_t)2023 << 52); /* 2^1000 */
        e -= 1000;
        if (e > 3000) e = 3000;
    }
    while (e < -1000) {
        x *= attn__from_bits_f64((uint64_t)23 << 52); /* 2^-1000 */
        e += 1000;
        if (e < -3000) e = -3000;
    }
    return x * attn__from_bits_f64((uint64_t)(1023 + e) << 52);
}

/* exp(x) for x <= 0: x = n ln 2 + r, |r| <= ln 2 / 2, exp(x) = 2^n exp(r). The
 * coefficients are minimax in relative error on that interval with 1 + r given.
 * The vector forms, in the template, take the same steps.
 * float32: 0 below -87.3, else at most 1 ulp (0.8913 at -5.8486419, over every
 * float); float64: 0 below -708.3, at most 1 ulp (0.8730 at -0x1.732c15358633ep+8).
 * Unfused at most 1.25 ulp (1.1671 at -38.4349747, over every float; float64 1.1211 at
 * -0x1.4d364689c4d2p+9): the products of n and the first part of ln 2 are exact,
 * since that part ends in zeros. All in tests/elementary.c. */
#define ATTN__EXP_MIN_F32 (-87.3f)
#define ATTN__EXP_MIN_F64 (-708.3)
#define ATTN__EXP_FIRST_F32 1.382352202e-03f
#define ATTN__EXP_COEFFICIENTS_F32(X) X(8.368819021e-03f) X(4.166823626e-02f) X(1.666651964e-01f) X(4.999999404e-01f) X(1.0f)
#define ATTN__EXP_FIRST_F64 2.500392177050154e-08
#define ATTN__EXP_COEFFICIENTS_F64(X)                                                                           \
    X(2.7630507131537777e-07) X(2.7557574526753285e-06) X(2.480149233606113e-05) X(0.00019841269519485787)    \
    X(0.0013888888944421397) X(0.008333333333488638) X(0.041666666666526804) X(0.16666666666666421)           \
    X(0.5000000000000011) X(1.0)
#define ATTN__LOG2E_F32 1.442695022f
#define ATTN__LOG2E_F64 1.4426950408889634
#define ATTN__LN2_HI_F32 6.931457520e-01f
#define ATTN__LN2_HI_F64 0.6931471805598903
#define ATTN__LN2_LO_F32 1.428606765e-06f
#define ATTN__LN2_LO_F64 5.497923018708371e-14
/* 1.5 * 2^23 (2^52): adding it leaves the nearest integer in the low bits. */
#define ATTN__MAGIC_F32 12582912.0f
#define ATTN__MAGIC_F64 6755399441055744.0

/* r with x = n ln 2 + r, and (exp(r) - 1) / r; the low bits of *t hold n. */
ATTN__INLINE double attn__exp_reduce_f64(double x, double *t, double *p)
{
    double n, r;
    *t = attn__madd_f64(x, ATTN__LOG2E_F64, ATTN__MAGIC_F64);
    n = *t - ATTN__MAGIC_F64;
    r = attn__madd_f64(n, -ATTN__LN2_LO_F64, attn__madd_f64(n, -ATTN__LN2_HI_F64, x));
    *p = ATTN__EXP_FIRST_F64;
#define ATTN__X(c) *p = attn__madd_f64(*p, r, c);
    ATTN__EXP_COEFFICIENTS_F64(ATTN__X)
#undef ATTN__X
    return r;
}
ATTN__INLINE double attn__exp_f64(double x)
{
    double t, p, r;
    if (attn__nan_f64(x)) return x;
    if (x < ATTN__EXP_MIN_F64) return 0;
    r = attn__exp_reduce_f64(x, &t, &p);
    return attn__from_bits_f64(attn__bits_f64(attn__madd_f64(p, r, 1)) + (attn__bits_f64(t) << 52));
}

/* tanh(x) = -e / (2 + e), e = exp(-2 |x|) - 1 = 2^n (exp(r) - 1) + (2^n - 1); with
 * the sign of x. Beyond the clamp tanh rounds to 1. At most 3 ulp: float32 2.6205
 * at 0.19935156 over every float, float64 2.8350 at 0x1.8c5f13732a0c8p-3; unfused
 * 2.6522 at 0.213007644 and 2.5571 at 0x1.ceb9b32030c2p-3 (tests/elementary.c). */
#define ATTN__TANH_MIN_F32 (-20.0f)
#define ATTN__TANH_MIN_F64 (-40.0)
static double attn__tanh_f64(double x)
{
    double t, p, r, e, a = x < 0 ? x + x : -x - x;
    if (a < ATTN__TANH_MIN_F64) a = ATTN__TANH_MIN_F64;
    r = attn__exp_reduce_f64(a, &t, &p);
    e = attn__from_bits_f64(attn__bits_f64(1.0) + (attn__bits_f64(t) << 52));
    e = attn__madd_f64(e, p * r, e - 1);
    e = -e / (2 + e);
    return x < 0 ? -e : e;
}

/* log(x) for finite x > 0: x = 2^e m, sqrt(1/2) <= m < sqrt(2), s = (m-1)/(m+1),
 * log m = 2 atanh(s) = 2 s (1 + s^2/3 + s^4/5 + ...), |s| <= 0.1716: the term
 * after s^20/21 is below 2^-59. At most 2.5 ulp; 1.9951 at 1.00007625, unfused
 * 1.9634 at 1.0000018939465483 (tests/elementary.c). */
ATTN__INLINE double attn__log_f64(double x)
{
    int e, i;
    double m = attn__split(x, &e), s, z, p = 1.0 / 21;
    if (m < 0.70710678118654752) {
        m *= 2;
        e -= 1;
    }
    s = (m - 1) / (m + 1);
    z = s * s;
    for (i = 19; i >= 3; i -= 2) p = attn__madd_f64(p, z, 1.0 / i);
    p = attn__madd_f64(p, z, 0.0); /* the series less 1 */
    s += s;
    p = attn__madd_f64(s, p, attn__madd_f64((double)e, ATTN__LN2_LO_F64, s));
    return attn__madd_f64((double)e, ATTN__LN2_HI_F64, p);
}

/* sqrt(x) for x > 0, rounded to nearest, of which functions may not be at hand. */
static double attn__sqrt(double x)
{
#if ATTN__X86
    return _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set1_pd(x)));
#elif ATTN__A64 && ATTN__NEON
    return vgetq_lane_f64(vsqrtq_f64(vdupq_n_f64(x)), 0);
#elif defined(__wasm__)
    return __builtin_sqrt(x);
#else
    int e, i, odd;
    const double f = attn__split(x, &e) * 9007199254740992.0; /* 2^53 */
    uint64_t m = (uint64_t)f, root = 0, rest = 0;
    odd = (e - 53) & 1;
    m = m << (10 + odd); /* x = m 2^(e - 63 - odd), of which the exponent is even; m < 2^64 */
    for (i = 0; i < 54; i++, m <<= 2) { /* a bit of the root for two of m */
        rest = rest << 2 | m >> 62;
        root <<= 1;
        if (rest > 2 * root) {
            rest -= 2 * root + 1;
            root++;
        }
    }
    return attn__scale2((double)((root >> 1) + (root & 1)), (e - odd - 1) / 2 - 52); /* never a tie */
#endif
}

/* binary16 and bfloat16 to float32, exactly. */
ATTN__INLINE float attn__f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = (uint32_t)(h & 0x7fffu) << 13;
    if (rest >= 0x0f800000u) return attn__from_bits_f32(sign | (rest + 0x70000000u)); /* inf, NaN */
    if (rest >= 0x00800000u) return attn__from_bits_f32(sign | (rest + 0x38000000u));
    /* subnormal: rest is an integer multiple of 2^-24 */
    return attn__from_bits_f32(sign | attn__bits_f32((float)(rest >> 13) * 5.9604644775390625e-08f));
}
ATTN__INLINE float attn__bf16_to_f32(uint16_t h) { return attn__from_bits_f32((uint32_t)h << 16); }

/* float32 to binary16 and bfloat16, to nearest even, in integers. NaN stays NaN. */
ATTN__INLINE uint16_t attn__f32_to_f16(float x)
{
    uint32_t u = attn__bits_f32(x), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (a >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and more */
    if (a < 0x38800000u) {                                   /* below 2^-14: subnormal */
        uint32_t shift = 126 - (a >> 23), m = (a & 0x7fffffu) | 0x800000u, q, rest;
        if (shift > 24) return (uint16_t)sign;
        q = m >> shift;
        rest = m & ((1u << shift) - 1);
        q += rest > 1u << (shift - 1) || (rest == 1u << (shift - 1) && (q & 1));
        return (uint16_t)(sign | q);
    }
    a -= 0x38000000u;
    return (uint16_t)(sign | ((a + 0xfffu + (a >> 13 & 1)) >> 13));
}
ATTN__INLINE uint16_t attn__f32_to_bf16(float x)
{
    uint32_t u = attn__bits_f32(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

/* double to float; the language leaves open what happens beyond FLT_MAX */
ATTN__INLINE float attn__to_f32(double x)
{
    const double limit = 3.4028235677973366e+38; /* rounds to infinity */
    return x >= limit ? attn__from_bits_f32(0x7f800000u) : x <= -limit ? attn__from_bits_f32(0xff800000u) : (float)x;
}

/* n elements of any float type to float or double and back, by index order. */
static void attn__load_f32(float *to, const void *from, attn_dtype dtype, ptrdiff_t stride, size_t n)
{
    size_t i;
    if (dtype == ATTN_F32 && stride == 1) {
        attn__memcpy(to, from, n * sizeof *to);
        return;
    }
    for (i = 0; i < n; i++) {
        ptrdiff_t at = (ptrdiff_t)i * stride;
        switch (dtype) {
        case ATTN_F16: to[i] = attn__f16_to_f32(((const uint16_t *)from)[at]); break;
        case ATTN_BF16: to[i] = attn__bf16_to_f32(((const uint16_t *)from)[at]); break;
        default: to[i] = ((const float *)from)[at]; break;
        }
    }
}
static void attn__load_f64(double *to, const void *from, attn_dtype dtype, ptrdiff_t stride, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        ptrdiff_t at = (ptrdiff_t)i * stride;
        switch (dtype) {
        case ATTN_F16: to[i] = (double)attn__f16_to_f32(((const uint16_t *)from)[at]); break;
        case ATTN_BF16: to[i] = (double)attn__bf16_to_f32(((const uint16_t *)from)[at]); break;
        case ATTN_F64: to[i] = ((const double *)from)[at]; break;
        default: to[i] = (double)((const float *)from)[at]; break;
        }
    }
}
static void attn__store_f32(void *to, attn_dtype dtype, ptrdiff_t stride, const float *from, size_t n)
{
    size_t i;
    if (dtype == ATTN_F32 && stride == 1) {
        attn__memcpy(to, from, n * sizeof *from);
        return;
    }
    for (i = 0; i < n; i++) {
        ptrdiff_t at = (ptrdiff_t)i * stride;
        switch (dtype) {
        case ATTN_F16: ((uint16_t *)to)[at] = attn__f32_to_f16(from[i]); break;
        case ATTN_BF16: ((uint16_t *)to)[at] = attn__f32_to_bf16(from[i]); break;
        default: ((float *)to)[at] = from[i]; break;
        }
    }
}
static void attn__store_f64(void *to, attn_dtype dtype, ptrdiff_t stride, const double *from, size_t n)
{
    size_t i;
    (void)dtype; /* float64 is computed in and stored as float64 only */
    for (i = 0; i < n; i++) ((double *)to)[(ptrdiff_t)i * stride] = from[i];
}

static double attn__saturate(double x, attn_dtype dtype)
{
    const double limit = dtype == ATTN_F64 ? 1.7976931348623157e+308 : 3.4028234663852886e+38;
    return x > limit ? limit : x < -limit ? -limit : x;
}

/* One element, rounded through float32 to the narrow types. NaN gets one form:
 * machines differ in the sign of what they make themselves. */
static void attn__put(void *to, attn_dtype dtype, double x)
{
    float narrow;
    if (attn__nan_f64(x)) x = attn__from_bits_f64(0x7ff8000000000000u);
    narrow = attn__to_f32(x);
    if (dtype == ATTN_F64) attn__memcpy(to, &x, sizeof x);
    else attn__store_f32(to, dtype, 1, &narrow, 1);
}

/* ---------------------------------------------------------- kernel table -- */

/* How many of n rows the next tile takes: tiles are balanced, as one of few rows is slow. */
ATTN__INLINE size_t attn__tile_rows(size_t n, const size_t mr)
{
    const size_t tiles = (n + mr - 1) / mr;
    return tiles > 1 ? (n + tiles - 1) / tiles : n;
}

/* Sizes and distances (in elements) of a small problem, and places in the workspace. */
typedef struct attn__small {
    size_t q_len, kv_len, dim, dim_v;
    size_t seen; /* keys that the first query sees; each other one sees one more */
    ptrdiff_t q_step, k_step, v_step, out_step;
    double scale;
    void *queries; /* (mr or fewer, LD) */
    void *keys;    /* packed */
    void *values;  /* packed, if rows of v are not whole vectors */
    void *tile;    /* (mr, LD) */
    void *acc;     /* (mr or fewer, dim_v up to whole vectors) */
} attn__small;

/* What a path offers to the driver, for one compute type T (float or double).
 * A tile has at most `mr` rows, ATTN__LD elements apart; a panel has `nr`
 * columns. Element counts everywhere. */
typedef struct attn__kernel {
    size_t size; /* of T */
    size_t mr, nr, lanes;
    size_t step; /* ranges of keys are rounded to this: both nr and lanes divide it */
    attn_dtype dtype;

    /* For at most `few` rows a[m][depth] and keys that are used where they lie, each
     * contiguous: c[i][j] (+)= sum_k a[i][k] keys[j * stride + k], the same chain as
     * multiply's. c has room up to a multiple of nr. */
    size_t few;
    void (*score)(size_t m, size_t n, size_t depth, const void *a, const void *keys, attn_dtype dtype, ptrdiff_t stride, void *c, int accumulate);
    /* The same for values: c[i][j] (+)= sum_k a[i][k] values[k * stride + j], n a multiple of nr. */
    void (*weigh)(size_t m, size_t n, size_t depth, const void *a, const void *values, attn_dtype dtype, size_t stride, void *c, size_t ldc, int accumulate);

    /* panels[column / nr][depth][nr] = src[column * column_stride + k * depth_stride],
     * converted to T, columns beyond `columns` up to a multiple of nr / 2 are 0 */
    void (*pack)(void *panels, const void *src, attn_dtype dtype, size_t columns, size_t depth, ptrdiff_t column_stride,
                 ptrdiff_t depth_stride);

    /* c[i][j] (+)= sum_k a[i][k] b[k][j], k in order, one multiply-add each;
     * b[k][j] = b[j / nr * panel_stride + k * ldb + j % nr]; n counts in vectors:
     * up to the next multiple of nr / 2, c is written */
    void (*multiply)(size_t m, size_t n, size_t depth, const void *a, const void *b, size_t ldb, size_t panel_stride, void *c,
                     size_t ldc, int accumulate);

    /* c = a b where they lie, for a b that the nearest cache holds: contiguous rows at these distances,
     * depth at most a block. `rows` and `tile` are room for (mr, LD), `panel` for (depth, nr) */
    void (*product)(size_t m, size_t n, size_t depth, const void *a, ptrdiff_t a_step, const void *b, size_t b_step, void *c, size_t c_step, void *rows, void *tile,
                    void *panel);

    /* row[lo..hi) are scores; they become exp(score - max), and the rest of
     * row[first..last) becomes 0. Positions are within a block; first and last
     * are multiples of step. Gives max and sum; -inf and 0 if lo >= hi.
     * Returns 1, with the row undefined, if a score or the maximum is not safely finite.
     * Scores may come from another place if nothing is filled in: first = lo = 0 and
     * hi = last, which need not be a multiple then: nothing beyond is touched. */
    int (*softmax)(void *row, const void *scores, size_t first, size_t lo, size_t hi, size_t last, double *max, double *sum);

    /* The same for up to ATTN__COLUMNS lines side by side, each down a column of n rows, at
     * most a block; their number is a multiple of the vector length. -inf has weight 0.
     * Returns 1 where softmax would, for any of them. No sum is wanted if it is NULL;
     * exp(from[j] - max) is kept in `to` if that is not.
     * spread: to[j] = exp(from[j] - max) * factor; without max, from[j] * factor. */
    int (*columns)(void *to, ptrdiff_t to_stride, const void *from, ptrdiff_t stride, size_t n, size_t columns, double *max, double *sum);
    void (*spread)(void *to, ptrdiff_t to_stride, const void *from, ptrdiff_t stride, size_t n, size_t columns, const double *max, const double *factor);

    /* Joins two states of `rows` rows, a = a + b. Width is a multiple of nr / 2. */
    void (*join)(size_t rows, size_t width, void *acc_a, double *max_a, double *sum_a, const void *acc_b, const double *max_b,
                 const double *sum_b);

    /* exp((T)x - (T)y), for x <= y */
    double (*exp)(double x, double y);

    /* to[i] = from[i] * factor, never -0 from 0; returns 1 if one of them is not finite */
    int (*scale)(void *to, const void *from, size_t n, double factor);

    /* All of attention for one head of no more than `lanes` keys, causal or not, with
     * nothing else asked for: arrays of T whose rows are contiguous, at these distances,
     * and what the general way needs of the workspace. The same bits in fewer steps.
     * Returns 1, with nothing of use in out, if it would have to redo a row. */
    int (*small)(const struct attn__small *p, const void *q, const void *k, const void *v, void *out);

    /* row[i] = softcap * tanh(row[i] / softcap), NaN for infinities: their row is
     * redone. May go on to the end of a vector. */
    void (*softcap)(void *row, size_t n, double softcap);
    /* bias[i] -= |distance - i| * slope, NaN where that overflows. May go on to the end of a vector. */
    void (*alibi)(void *bias, size_t n, int64_t distance, double slope);
    /* row[i] += bias[i], or MASKED where bias is -inf. May go on to the end of a vector. */
    void (*bias)(void *row, const void *bias, size_t n);
    /* row[i] = mask[i * stride] ? row[i] : MASKED. May go on to the end of a vector. */
    void (*mask)(void *row, const void *mask, ptrdiff_t stride, size_t n);

    void (*load)(void *to, const void *from, attn_dtype dtype, ptrdiff_t stride, size_t n);
    void (*store)(void *to, attn_dtype dtype, ptrdiff_t stride, const void *from, size_t n);
} attn__kernel;

/* ----------------------------------------------------------------- paths --
 *
 * To add one: a value of attn_path with its name, a block like those below and
 * a line in attn__kernels and attn__machine. A block is, per element type:
 *   vec, VL                      vector type and its length
 *   load store set1 add sub mul div max
 *   fma(a, b, c)                 a * b + c with one rounding; unfused: not used
 *   exp2i(p, t)                  adds the low bits of t to the exponent of p
 *   choose(p, x, limit, other)   x < limit ? other : p (NaN in x keeps p)
 *   transpose(p, stride, out)    out[c][i] = p[i * stride + c], c < 16 / sizeof(T)
 *   sum(a)                       all lanes: a[i] += a[i + w] for w = VL / 2 ... 1
 *   madd(a, b, c)                a * b + c of doubles; most paths have only attn__madd_f64
 *   load_f16 load_bf16 load_u8   float32 only: widened from uint16_t, uint8_t
 *   transpose_f16 transpose_bf16 likewise
 * MR rows by two vectors is the register tile. With ATTN__PARTS defined a block
 * has two more, which the template else makes of the others:
 *   load_part(p, n)              n lanes, fewer than all; the others are 0
 *   store_part(p, a, n)          only the first n lanes */

/* For what a machine lacks, or rounds differently: lane by lane. */
#define ATTN__BY_LANES(T, n, load, store, a, b, c, expression) \
    T x[n], y[n], z[n];                                        \
    int i;                                                     \
    store(x, a);                                               \
    store(y, b);                                               \
    store(z, c);                                               \
    for (i = 0; i < (n); i++) z[i] = (expression);             \
    return load(z)

/* A transpose of halves, widened one by one before. */
#define ATTN__WIDEN_QUADS(n, type, p, stride, out, transpose)                                        \
    float quads[n][4];                                                                               \
    int i, c;                                                                                        \
    for (i = 0; i < (n); i++)                                                                        \
        for (c = 0; c < 4; c++) quads[i][c] = attn__##type##_to_f32((p)[(ptrdiff_t)i * (stride) + c]); \
    transpose(quads[0], 4, out)

#define ATTN__GREATER(a, b) ((a) > (b) ? (a) : (b))

static const float ATTN__COUNT_F32[ATTN__LANES_F32] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static const double ATTN__COUNT_F64[ATTN__LANES_F64] = {0, 1, 2, 3, 4, 5, 6, 7};

/* scalar: one lane; read this one to know what the others do */
#define attn__scalar_madd attn__madd_f64
ATTN__INLINE float attn__scalar_f32_load(const float *p) { return *p; }
ATTN__INLINE void attn__scalar_f32_store(float *p, float a) { *p = a; }
ATTN__INLINE float attn__scalar_f32_set1(float a) { return a; }
ATTN__INLINE float attn__scalar_f32_add(float a, float b) { return a + b; }
ATTN__INLINE float attn__scalar_f32_sub(float a, float b) { return a - b; }
ATTN__INLINE float attn__scalar_f32_mul(float a, float b) { return a * b; }
ATTN__INLINE float attn__scalar_f32_div(float a, float b) { return a / b; }
ATTN__INLINE float attn__scalar_f32_max(float a, float b) { return a > b ? a : b; }
ATTN__INLINE float attn__scalar_f32_fma(float a, float b, float c) { return attn__fma_f32(a, b, c); }
ATTN__INLINE float attn__scalar_f32_exp2i(float p, float t) { return attn__from_bits_f32(attn__bits_f32(p) + (attn__bits_f32(t) << 23)); }
ATTN__INLINE float attn__scalar_f32_choose(float p, float x, float limit, float other) { return x < limit ? other : p; }
ATTN__INLINE void attn__scalar_f32_transpose(const float *p, ptrdiff_t stride, float out[4])
{
    (void)stride;
    attn__memcpy(out, p, 4 * sizeof *p);
}
ATTN__INLINE float attn__scalar_f32_sum(float a) { return a; }
ATTN__INLINE float attn__scalar_f32_most(float a) { return a; }
ATTN__INLINE float attn__scalar_f32_load_f16(const uint16_t *p) { return attn__f16_to_f32(*p); }
ATTN__INLINE float attn__scalar_f32_load_bf16(const uint16_t *p) { return attn__bf16_to_f32(*p); }
ATTN__INLINE float attn__scalar_f32_load_u8(const uint8_t *p) { return *p; }
typedef float attn__scalar_f32_vec;
#define ATTN__ISA scalar
#define ATTN__VL 1
#define ATTN__MR 4
#define ATTN__F64 0
#define ATTN__KERNEL
#include ATTN_FILE
#undef ATTN__VL
#undef ATTN__F64

ATTN__INLINE double attn__scalar_f64_load(const double *p) { return *p; }
ATTN__INLINE void attn__scalar_f64_store(double *p, double a) { *p = a; }
ATTN__INLINE double attn__scalar_f64_set1(double a) { return a; }
ATTN__INLINE double attn__scalar_f64_add(double a, double b) { return a + b; }
ATTN__INLINE double attn__scalar_f64_sub(double a, double b) { return a - b; }
ATTN__INLINE double attn__scalar_f64_mul(double a, double b) { return a * b; }
ATTN__INLINE double attn__scalar_f64_div(double a, double b) { return a / b; }
ATTN__INLINE double attn__scalar_f64_max(double a, double b) { return a > b ? a : b; }
ATTN__INLINE double attn__scalar_f64_fma(double a, double b, double c) { return attn__fma_f64(a, b, c); }
ATTN__INLINE double attn__scalar_f64_exp2i(double p, double t) { return attn__from_bits_f64(attn__bits_f64(p) + (attn__bits_f64(t) << 52)); }
ATTN__INLINE double attn__scalar_f64_choose(double p, double x, double limit, double other) { return x < limit ? other : p; }
ATTN__INLINE void attn__scalar_f64_transpose(const double *p, ptrdiff_t stride, double out[2])
{
    (void)stride;
    attn__memcpy(out, p, 2 * sizeof *p);
}
ATTN__INLINE double attn__scalar_f64_sum(double a) { return a; }
ATTN__INLINE double attn__scalar_f64_most(double a) { return a; }
typedef double attn__scalar_f64_vec;
#define ATTN__VL 1
#define ATTN__F64 1
#include ATTN_FILE
#undef ATTN__VL
#undef ATTN__F64
#undef ATTN__MR
#undef ATTN__ISA

/* 16-byte vectors of gcc and clang, which know what instructions they take */
#if ATTN__SIMD128
typedef float attn__simd128_f32_vec __attribute__((vector_size(16)));
typedef uint32_t attn__simd128_u32_vec __attribute__((vector_size(16)));
ATTN__INLINE attn__simd128_f32_vec attn__simd128_f32_load(const float *p)
{
    attn__simd128_f32_vec a;
    attn__memcpy(&a, p, sizeof a);
    return a;
}
ATTN__INLINE void attn__simd128_f32_store(float *p, attn__simd128_f32_vec a) { attn__memcpy(p, &a, sizeof a); }
ATTN__INLINE attn__simd128_f32_vec attn__simd128_f32_set1(float a)
{
    const attn__simd128_f32_vec r = {a, a, a, a};
    return r;
}
ATTN__INLINE attn__simd128_f32_vec attn__simd128_f32_add(attn__simd128_f32_vec a, attn__simd128_f32_vec b) { return a + b; }
ATTN__INLINE attn__simd128_f32_vec attn__simd128_f32_sub(attn__simd128_f32_vec a, attn__simd128_f32_vec b) { return a - b; }
ATTN__INLINE attn__simd128_f32_vec attn__simd128_f32_mul(attn__simd128_f32_vec a, attn__simd128_f32_vec b) { return a * b; }
ATTN__INLINE attn__simd128_f32_vec attn__simd128_f32_div(attn__simd128_f32_vec a, attn__simd128_f32_vec b) { return a / b; }
ATTN__INLINE attn__simd128_f32_vec attn__simd128_f32_choose(attn__simd128_f32_vec p, attn__simd128_f32_vec x, attn__simd128_f32_vec limit,
                                                            attn__simd128_f32_vec other)
{
    const attn__simd128_u32_vec less = (attn__simd128_u32_vec)(x < limit);
    return (attn__simd128_f32_vec)(((attn__simd128_u32_vec)other & less) | ((attn__simd128_u32_vec)p & ~less));
}
ATTN__INLINE attn__simd128_f32_vec attn__simd128_f32_max(attn__simd128_f32_vec a, attn__simd128_f32_vec b) { return attn__simd128_f32_choose(b, b, a, a); }
ATTN__INLINE attn__simd128_f32_vec attn__simd128_f32_exp2i(attn__simd128_f32_vec p, attn__simd128_f32_vec t)
{
    return (attn__simd128_f32_vec)((attn__simd128_u32_vec)p + ((attn__simd128_u32_vec)t << 23));
}
ATTN__INLINE float attn__simd128_f32_sum(attn__simd128_f32_vec a) { return (a[0] + a[2]) + (a[1] + a[3]); }
ATTN__INLINE float attn__simd128_f32_most(attn__simd128_f32_vec a) { return ATTN__GREATER(ATTN__GREATER(a[0], a[2]), ATTN__GREATER(a[1], a[3])); }
ATTN__INLINE attn__simd128_f32_vec attn__simd128_f32_load_f16(const uint16_t *p)
{
    const attn__simd128_f32_vec r = {attn__f16_to_f32(p[0]), attn__f16_to_f32(p[1]), attn__f16_to_f32(p[2]), attn__f16_to_f32(p[3])};
    return r;
}
ATTN__INLINE attn__simd128_f32_vec attn__simd128_f32_load_bf16(const uint16_t *p)
{
    const attn__simd128_u32_vec r = {p[0], p[1], p[2], p[3]};
    return (attn__simd128_f32_vec)(r << 16);
}
ATTN__INLINE attn__simd128_f32_vec attn__simd128_f32_load_u8(const uint8_t *p)
{
    const attn__simd128_f32_vec r = {(float)p[0], (float)p[1], (float)p[2], (float)p[3]};
    return r;
}
#define ATTN__TURNED(name, type, load)                                                                                     \
    ATTN__INLINE void attn__simd128_f32_##name(const type *p, ptrdiff_t stride, attn__simd128_f32_vec out[4])              \
    {                                                                                                                      \
        const attn__simd128_f32_vec a = load(p), b = load(p + stride), c = load(p + 2 * stride), d = load(p + 3 * stride); \
        const attn__simd128_f32_vec ab0 = {a[0], b[0], a[1], b[1]}, ab1 = {a[2], b[2], a[3], b[3]};                        \
        const attn__simd128_f32_vec cd0 = {c[0], d[0], c[1], d[1]}, cd1 = {c[2], d[2], c[3], d[3]};                        \
        const attn__simd128_f32_vec out0 = {ab0[0], ab0[1], cd0[0], cd0[1]}, out1 = {ab0[2], ab0[3], cd0[2], cd0[3]};      \
        const attn__simd128_f32_vec out2 = {ab1[0], ab1[1], cd1[0], cd1[1]}, out3 = {ab1[2], ab1[3], cd1[2], cd1[3]};      \
        out[0] = out0, out[1] = out1, out[2] = out2, out[3] = out3;                                                        \
    }
ATTN__TURNED(transpose, float, attn__simd128_f32_load)
ATTN__TURNED(transpose_f16, uint16_t, attn__simd128_f32_load_f16)
ATTN__TURNED(transpose_bf16, uint16_t, attn__simd128_f32_load_bf16)
#undef ATTN__TURNED
#define attn__simd128_madd attn__madd_f64
#define ATTN__ISA simd128
#define ATTN__VL 4
#define ATTN__MR 4
#define ATTN__F64 0
#include ATTN_FILE
#undef ATTN__VL
#undef ATTN__F64

typedef double attn__simd128_f64_vec __attribute__((vector_size(16)));
typedef uint64_t attn__simd128_u64_vec __attribute__((vector_size(16)));
ATTN__INLINE attn__simd128_f64_vec attn__simd128_f64_load(const double *p)
{
    attn__simd128_f64_vec a;
    attn__memcpy(&a, p, sizeof a);
    return a;
}
ATTN__INLINE void attn__simd128_f64_store(double *p, attn__simd128_f64_vec a) { attn__memcpy(p, &a, sizeof a); }
ATTN__INLINE attn__simd128_f64_vec attn__simd128_f64_set1(double a)
{
    const attn__simd128_f64_vec r = {a, a};
    return r;
}
ATTN__INLINE attn__simd128_f64_vec attn__simd128_f64_add(attn__simd128_f64_vec a, attn__simd128_f64_vec b) { return a + b; }
ATTN__INLINE attn__simd128_f64_vec attn__simd128_f64_sub(attn__simd128_f64_vec a, attn__simd128_f64_vec b) { return a - b; }
ATTN__INLINE attn__simd128_f64_vec attn__simd128_f64_mul(attn__simd128_f64_vec a, attn__simd128_f64_vec b) { return a * b; }
ATTN__INLINE attn__simd128_f64_vec attn__simd128_f64_div(attn__simd128_f64_vec a, attn__simd128_f64_vec b) { return a / b; }
ATTN__INLINE attn__simd128_f64_vec attn__simd128_f64_choose(attn__simd128_f64_vec p, attn__simd128_f64_vec x, attn__simd128_f64_vec limit,
                                                            attn__simd128_f64_vec other)
{
    const attn__simd128_u64_vec less = (attn__simd128_u64_vec)(x < limit);
    return (attn__simd128_f64_vec)(((attn__simd128_u64_vec)other & less) | ((attn__simd128_u64_vec)p & ~less));
}
ATTN__INLINE attn__simd128_f64_vec attn__simd128_f64_max(attn__simd128_f64_vec a, attn__simd128_f64_vec b) { return attn__simd128_f64_choose(b, b, a, a); }
ATTN__INLINE attn__simd128_f64_vec attn__simd128_f64_exp2i(attn__simd128_f64_vec p, attn__simd128_f64_vec t)
{
    return (attn__simd128_f64_vec)((attn__simd128_u64_vec)p + ((attn__simd128_u64_vec)t << 52));
}
ATTN__INLINE void attn__simd128_f64_transpose(const double *p, ptrdiff_t stride, attn__simd128_f64_vec out[2])
{
    const attn__simd128_f64_vec a = attn__simd128_f64_load(p), b = attn__simd128_f64_load(p + stride), out0 = {a[0], b[0]}, out1 = {a[1], b[1]};
    out[0] = out0, out[1] = out1;
}
ATTN__INLINE double attn__simd128_f64_sum(attn__simd128_f64_vec a) { return a[0] + a[1]; }
ATTN__INLINE double attn__simd128_f64_most(attn__simd128_f64_vec a) { return ATTN__GREATER(a[0], a[1]); }
#define ATTN__VL 2
#define ATTN__F64 1
#include ATTN_FILE
#undef ATTN__VL
#undef ATTN__F64
#undef ATTN__MR
#undef ATTN__ISA
#endif /* ATTN__SIMD128 */

/* AVX2 with FMA and F16C */
#if ATTN__AVX2
#if ATTN__X86
#define ATTN__I(op) _mm256_##op
#define ATTN__I128(op) _mm_##op
#define ATTN__TYPE(t) t
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#else
#define ATTN__I(op) simde_mm256_##op
#define ATTN__I128(op) simde_mm_##op
#define ATTN__TYPE(t) simde##t
#endif

typedef ATTN__TYPE(__m256) attn__avx2_f32_vec;
ATTN__INLINE attn__avx2_f32_vec attn__avx2_f32_load(const float *p) { return ATTN__I(loadu_ps)(p); }
ATTN__INLINE void attn__avx2_f32_store(float *p, attn__avx2_f32_vec a) { ATTN__I(storeu_ps)(p, a); }
ATTN__INLINE attn__avx2_f32_vec attn__avx2_f32_set1(float a) { return ATTN__I(set1_ps)(a); }
ATTN__INLINE attn__avx2_f32_vec attn__avx2_f32_add(attn__avx2_f32_vec a, attn__avx2_f32_vec b) { return ATTN__I(add_ps)(a, b); }
ATTN__INLINE attn__avx2_f32_vec attn__avx2_f32_sub(attn__avx2_f32_vec a, attn__avx2_f32_vec b) { return ATTN__I(sub_ps)(a, b); }
ATTN__INLINE attn__avx2_f32_vec attn__avx2_f32_mul(attn__avx2_f32_vec a, attn__avx2_f32_vec b) { return ATTN__I(mul_ps)(a, b); }
ATTN__INLINE attn__avx2_f32_vec attn__avx2_f32_div(attn__avx2_f32_vec a, attn__avx2_f32_vec b)
{
#if ATTN__X86
    return _mm256_div_ps(a, b);
#else /* SIMDe's is an estimate on ARMv7 */
    ATTN__BY_LANES(float, 8, attn__avx2_f32_load, attn__avx2_f32_store, a, b, b, x[i] / y[i]);
#endif
}
ATTN__INLINE attn__avx2_f32_vec attn__avx2_f32_max(attn__avx2_f32_vec a, attn__avx2_f32_vec b) { return ATTN__I(max_ps)(a, b); }
ATTN__INLINE attn__avx2_f32_vec attn__avx2_f32_fma(attn__avx2_f32_vec a, attn__avx2_f32_vec b, attn__avx2_f32_vec c)
{
#if ATTN__X86
    return _mm256_fmadd_ps(a, b, c);
#else
    ATTN__BY_LANES(float, 8, attn__avx2_f32_load, attn__avx2_f32_store, a, b, c, attn__fma_f32(x[i], y[i], z[i]));
#endif
}
ATTN__INLINE attn__avx2_f32_vec attn__avx2_f32_exp2i(attn__avx2_f32_vec p, attn__avx2_f32_vec t)
{
    return ATTN__I(castsi256_ps)(ATTN__I(add_epi32)(ATTN__I(castps_si256)(p), ATTN__I(slli_epi32)(ATTN__I(castps_si256)(t), 23)));
}
ATTN__INLINE attn__avx2_f32_vec attn__avx2_f32_choose(attn__avx2_f32_vec p, attn__avx2_f32_vec x, attn__avx2_f32_vec limit, attn__avx2_f32_vec other)
{
    return ATTN__I(blendv_ps)(p, other, ATTN__I(cmp_ps)(x, limit, 17 /* less than, ordered, quiet */));
}
/* 128-bit lane L of row r holds 4 floats of key 4 L + r: the 4 x 4 transpose stays in lanes. */
ATTN__INLINE void attn__avx2_f32_turn(attn__avx2_f32_vec r0, attn__avx2_f32_vec r1, attn__avx2_f32_vec r2, attn__avx2_f32_vec r3, attn__avx2_f32_vec out[4])
{
    attn__avx2_f32_vec t0 = ATTN__I(unpacklo_ps)(r0, r1), t1 = ATTN__I(unpackhi_ps)(r0, r1);
    attn__avx2_f32_vec t2 = ATTN__I(unpacklo_ps)(r2, r3), t3 = ATTN__I(unpackhi_ps)(r2, r3);
    out[0] = ATTN__I(shuffle_ps)(t0, t2, 0x44);
    out[1] = ATTN__I(shuffle_ps)(t0, t2, 0xee);
    out[2] = ATTN__I(shuffle_ps)(t1, t3, 0x44);
    out[3] = ATTN__I(shuffle_ps)(t1, t3, 0xee);
}
ATTN__INLINE void attn__avx2_f32_transpose(const float *p, ptrdiff_t stride, attn__avx2_f32_vec out[4])
{
#define ATTN__ROW(r) \
    ATTN__I(insertf128_ps)(ATTN__I(castps128_ps256)(ATTN__I128(loadu_ps)(p + (r) * stride)), ATTN__I128(loadu_ps)(p + (4 + (r)) * stride), 1)
    attn__avx2_f32_turn(ATTN__ROW(0), ATTN__ROW(1), ATTN__ROW(2), ATTN__ROW(3), out);
#undef ATTN__ROW
}
#if ATTN__X86
#define ATTN__ROW(r) _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)(const void *)(p + (r) * stride)), _mm_loadl_epi64((const __m128i *)(const void *)(p + (4 + (r)) * stride)))
ATTN__INLINE void attn__avx2_f32_transpose_f16(const uint16_t *p, ptrdiff_t stride, __m256 out[4])
{
#define ATTN__WIDE(r) _mm256_cvtph_ps(ATTN__ROW(r))
    attn__avx2_f32_turn(ATTN__WIDE(0), ATTN__WIDE(1), ATTN__WIDE(2), ATTN__WIDE(3), out);
#undef ATTN__WIDE
}
ATTN__INLINE void attn__avx2_f32_transpose_bf16(const uint16_t *p, ptrdiff_t stride, __m256 out[4])
{
#define ATTN__WIDE(r) _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(ATTN__ROW(r)), 16))
    attn__avx2_f32_turn(ATTN__WIDE(0), ATTN__WIDE(1), ATTN__WIDE(2), ATTN__WIDE(3), out);
#undef ATTN__WIDE
}
#undef ATTN__ROW
#else
ATTN__INLINE void attn__avx2_f32_transpose_f16(const uint16_t *p, ptrdiff_t stride, attn__avx2_f32_vec out[4]) { ATTN__WIDEN_QUADS(8, f16, p, stride, out, attn__avx2_f32_transpose); }
ATTN__INLINE void attn__avx2_f32_transpose_bf16(const uint16_t *p, ptrdiff_t stride, attn__avx2_f32_vec out[4]) { ATTN__WIDEN_QUADS(8, bf16, p, stride, out, attn__avx2_f32_transpose); }
#endif
#define ATTN__ACROSS(name, op)                                                                                     \
    ATTN__INLINE float attn__avx2_f32_##name(attn__avx2_f32_vec a)                                                 \
    {                                                                                                              \
        ATTN__TYPE(__m128) b = ATTN__I128(op##_ps)(ATTN__I(castps256_ps128)(a), ATTN__I(extractf128_ps)(a, 1)); \
        b = ATTN__I128(op##_ps)(b, ATTN__I128(movehl_ps)(b, b));                                                   \
        return ATTN__I128(cvtss_f32)(ATTN__I128(op##_ss)(b, ATTN__I128(shuffle_ps)(b, b, 1)));                     \
    }
ATTN__ACROSS(sum, add)
ATTN__ACROSS(most, max)
#undef ATTN__ACROSS
ATTN__INLINE attn__avx2_f32_vec attn__avx2_f32_load_f16(const uint16_t *p)
{
#if ATTN__X86
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
#else
    float x[8];
    int i;
    for (i = 0; i < 8; i++) x[i] = attn__f16_to_f32(p[i]);
    return attn__avx2_f32_load(x);
#endif
}
ATTN__INLINE attn__avx2_f32_vec attn__avx2_f32_load_bf16(const uint16_t *p)
{
    return ATTN__I(castsi256_ps)(ATTN__I(slli_epi32)(ATTN__I(cvtepu16_epi32)(ATTN__I128(loadu_si128)((const ATTN__TYPE(__m128i) *)(const void *)p)), 16));
}
ATTN__INLINE attn__avx2_f32_vec attn__avx2_f32_load_u8(const uint8_t *p)
{
    return ATTN__I(cvtepi32_ps)(ATTN__I(cvtepu8_epi32)(ATTN__I128(loadl_epi64)((const ATTN__TYPE(__m128i) *)(const void *)p)));
}
#if ATTN__X86 && ATTN__FUSED
ATTN__INLINE double attn__avx2_madd(double a, double b, double c) { return _mm_cvtsd_f64(_mm_fmadd_sd(_mm_set_sd(a), _mm_set_sd(b), _mm_set_sd(c))); }
#else
#define attn__avx2_madd attn__madd_f64
#endif
#define ATTN__ISA avx2
#define ATTN__VL 8
#define ATTN__MR 6
#define ATTN__F64 0
#include ATTN_FILE
#undef ATTN__VL
#undef ATTN__F64

typedef ATTN__TYPE(__m256d) attn__avx2_f64_vec;
ATTN__INLINE attn__avx2_f64_vec attn__avx2_f64_load(const double *p) { return ATTN__I(loadu_pd)(p); }
ATTN__INLINE void attn__avx2_f64_store(double *p, attn__avx2_f64_vec a) { ATTN__I(storeu_pd)(p, a); }
ATTN__INLINE attn__avx2_f64_vec attn__avx2_f64_set1(double a) { return ATTN__I(set1_pd)(a); }
ATTN__INLINE attn__avx2_f64_vec attn__avx2_f64_add(attn__avx2_f64_vec a, attn__avx2_f64_vec b) { return ATTN__I(add_pd)(a, b); }
ATTN__INLINE attn__avx2_f64_vec attn__avx2_f64_sub(attn__avx2_f64_vec a, attn__avx2_f64_vec b) { return ATTN__I(sub_pd)(a, b); }
ATTN__INLINE attn__avx2_f64_vec attn__avx2_f64_mul(attn__avx2_f64_vec a, attn__avx2_f64_vec b) { return ATTN__I(mul_pd)(a, b); }
ATTN__INLINE attn__avx2_f64_vec attn__avx2_f64_div(attn__avx2_f64_vec a, attn__avx2_f64_vec b) { return ATTN__I(div_pd)(a, b); }
ATTN__INLINE attn__avx2_f64_vec attn__avx2_f64_max(attn__avx2_f64_vec a, attn__avx2_f64_vec b) { return ATTN__I(max_pd)(a, b); }
ATTN__INLINE attn__avx2_f64_vec attn__avx2_f64_fma(attn__avx2_f64_vec a, attn__avx2_f64_vec b, attn__avx2_f64_vec c)
{
#if ATTN__X86
    return _mm256_fmadd_pd(a, b, c);
#else
    ATTN__BY_LANES(double, 4, attn__avx2_f64_load, attn__avx2_f64_store, a, b, c, attn__fma_f64(x[i], y[i], z[i]));
#endif
}
ATTN__INLINE attn__avx2_f64_vec attn__avx2_f64_exp2i(attn__avx2_f64_vec p, attn__avx2_f64_vec t)
{
    return ATTN__I(castsi256_pd)(ATTN__I(add_epi64)(ATTN__I(castpd_si256)(p), ATTN__I(slli_epi64)(ATTN__I(castpd_si256)(t), 52)));
}
ATTN__INLINE attn__avx2_f64_vec attn__avx2_f64_choose(attn__avx2_f64_vec p, attn__avx2_f64_vec x, attn__avx2_f64_vec limit, attn__avx2_f64_vec other)
{
    return ATTN__I(blendv_pd)(p, other, ATTN__I(cmp_pd)(x, limit, 17 /* less than, ordered, quiet */));
}
ATTN__INLINE void attn__avx2_f64_transpose(const double *p, ptrdiff_t stride, attn__avx2_f64_vec out[2])
{
#define ATTN__ROW(r) \
    ATTN__I(insertf128_pd)(ATTN__I(castpd128_pd256)(ATTN__I128(loadu_pd)(p + (r) * stride)), ATTN__I128(loadu_pd)(p + (2 + (r)) * stride), 1)
    attn__avx2_f64_vec r0 = ATTN__ROW(0), r1 = ATTN__ROW(1);
#undef ATTN__ROW
    out[0] = ATTN__I(unpacklo_pd)(r0, r1);
    out[1] = ATTN__I(unpackhi_pd)(r0, r1);
}
#define ATTN__ACROSS(name, op)                                                                                      \
    ATTN__INLINE double attn__avx2_f64_##name(attn__avx2_f64_vec a)                                                 \
    {                                                                                                               \
        ATTN__TYPE(__m128d) b = ATTN__I128(op##_pd)(ATTN__I(castpd256_pd128)(a), ATTN__I(extractf128_pd)(a, 1)); \
        return ATTN__I128(cvtsd_f64)(ATTN__I128(op##_sd)(b, ATTN__I128(unpackhi_pd)(b, b)));                        \
    }
ATTN__ACROSS(sum, add)
ATTN__ACROSS(most, max)
#undef ATTN__ACROSS
#define ATTN__VL 4
#define ATTN__F64 1
#include ATTN_FILE
#undef ATTN__VL
#undef ATTN__F64
#undef ATTN__MR
#undef ATTN__ISA

#if ATTN__X86
#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif
#endif
#undef ATTN__I
#undef ATTN__I128
#undef ATTN__TYPE
#endif /* ATTN__AVX2 */

/* AVX-512 F, DQ, BW, VL */
#if ATTN__AVX512
#if ATTN__X86
#define ATTN__I(op) _mm512_##op
#define ATTN__I256(op) _mm256_##op
#define ATTN__I128(op) _mm_##op
#define ATTN__TYPE(t) t
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized" /* gcc's own _mm512_undefined_epi32 */
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c")
#endif
#else
#define ATTN__I(op) simde_mm512_##op
#define ATTN__I256(op) simde_mm256_##op
#define ATTN__I128(op) simde_mm_##op
#define ATTN__TYPE(t) simde##t
#endif

typedef ATTN__TYPE(__m512) attn__avx512_f32_vec;
ATTN__INLINE attn__avx512_f32_vec attn__avx512_f32_load(const float *p) { return ATTN__I(loadu_ps)(p); }
ATTN__INLINE void attn__avx512_f32_store(float *p, attn__avx512_f32_vec a) { ATTN__I(storeu_ps)(p, a); }
#if ATTN__X86
#define ATTN__PARTS
ATTN__INLINE __m512 attn__avx512_f32_load_part(const float *p, size_t n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
ATTN__INLINE void attn__avx512_f32_store_part(float *p, __m512 a, size_t n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a); }
ATTN__INLINE __m512d attn__avx512_f64_load_part(const double *p, size_t n) { return _mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p); }
ATTN__INLINE void attn__avx512_f64_store_part(double *p, __m512d a, size_t n) { _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), a); }
#endif
ATTN__INLINE attn__avx512_f32_vec attn__avx512_f32_set1(float a) { return ATTN__I(set1_ps)(a); }
ATTN__INLINE attn__avx512_f32_vec attn__avx512_f32_add(attn__avx512_f32_vec a, attn__avx512_f32_vec b) { return ATTN__I(add_ps)(a, b); }
ATTN__INLINE attn__avx512_f32_vec attn__avx512_f32_sub(attn__avx512_f32_vec a, attn__avx512_f32_vec b) { return ATTN__I(sub_ps)(a, b); }
ATTN__INLINE attn__avx512_f32_vec attn__avx512_f32_mul(attn__avx512_f32_vec a, attn__avx512_f32_vec b) { return ATTN__I(mul_ps)(a, b); }
ATTN__INLINE attn__avx512_f32_vec attn__avx512_f32_div(attn__avx512_f32_vec a, attn__avx512_f32_vec b)
{
#if ATTN__X86
    return _mm512_div_ps(a, b);
#else /* SIMDe's is an estimate on ARMv7 */
    ATTN__BY_LANES(float, 16, attn__avx512_f32_load, attn__avx512_f32_store, a, b, b, x[i] / y[i]);
#endif
}
ATTN__INLINE attn__avx512_f32_vec attn__avx512_f32_max(attn__avx512_f32_vec a, attn__avx512_f32_vec b) { return ATTN__I(max_ps)(a, b); }
ATTN__INLINE attn__avx512_f32_vec attn__avx512_f32_fma(attn__avx512_f32_vec a, attn__avx512_f32_vec b, attn__avx512_f32_vec c)
{
#if ATTN__X86
    return _mm512_fmadd_ps(a, b, c);
#else
    ATTN__BY_LANES(float, 16, attn__avx512_f32_load, attn__avx512_f32_store, a, b, c, attn__fma_f32(x[i], y[i], z[i]));
#endif
}
ATTN__INLINE attn__avx512_f32_vec attn__avx512_f32_exp2i(attn__avx512_f32_vec p, attn__avx512_f32_vec t)
{
    return ATTN__I(castsi512_ps)(ATTN__I(add_epi32)(ATTN__I(castps_si512)(p), ATTN__I(slli_epi32)(ATTN__I(castps_si512)(t), 23)));
}
ATTN__INLINE attn__avx512_f32_vec attn__avx512_f32_choose(attn__avx512_f32_vec p, attn__avx512_f32_vec x, attn__avx512_f32_vec limit, attn__avx512_f32_vec other)
{
    return ATTN__I(mask_mov_ps)(p, ATTN__I(cmp_ps_mask)(x, limit, 17 /* less than, ordered, quiet */), other);
}
ATTN__INLINE void attn__avx512_f32_turn(attn__avx512_f32_vec r0, attn__avx512_f32_vec r1, attn__avx512_f32_vec r2, attn__avx512_f32_vec r3, attn__avx512_f32_vec out[4])
{
    attn__avx512_f32_vec t0 = ATTN__I(unpacklo_ps)(r0, r1), t1 = ATTN__I(unpackhi_ps)(r0, r1);
    attn__avx512_f32_vec t2 = ATTN__I(unpacklo_ps)(r2, r3), t3 = ATTN__I(unpackhi_ps)(r2, r3);
    out[0] = ATTN__I(castpd_ps)(ATTN__I(unpacklo_pd)(ATTN__I(castps_pd)(t0), ATTN__I(castps_pd)(t2)));
    out[1] = ATTN__I(castpd_ps)(ATTN__I(unpackhi_pd)(ATTN__I(castps_pd)(t0), ATTN__I(castps_pd)(t2)));
    out[2] = ATTN__I(castpd_ps)(ATTN__I(unpacklo_pd)(ATTN__I(castps_pd)(t1), ATTN__I(castps_pd)(t3)));
    out[3] = ATTN__I(castpd_ps)(ATTN__I(unpackhi_pd)(ATTN__I(castps_pd)(t1), ATTN__I(castps_pd)(t3)));
}
ATTN__INLINE void attn__avx512_f32_transpose(const float *p, ptrdiff_t stride, attn__avx512_f32_vec out[4])
{
#define ATTN__ROW(r)                                                                                             \
    ATTN__I(insertf32x4)                                                                                         \
    (ATTN__I(insertf32x4)(ATTN__I(insertf32x4)(ATTN__I(castps128_ps512)(ATTN__I128(loadu_ps)(p + (r) * stride)), \
                                               ATTN__I128(loadu_ps)(p + (4 + (r)) * stride), 1),                 \
                          ATTN__I128(loadu_ps)(p + (8 + (r)) * stride), 2),                                      \
     ATTN__I128(loadu_ps)(p + (12 + (r)) * stride), 3)
    attn__avx512_f32_turn(ATTN__ROW(0), ATTN__ROW(1), ATTN__ROW(2), ATTN__ROW(3), out);
#undef ATTN__ROW
}
#if ATTN__X86
#define ATTN__HALF(r) _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)(const void *)(p + (r) * stride)), _mm_loadl_epi64((const __m128i *)(const void *)(p + (4 + (r)) * stride)))
#define ATTN__ROW(r) _mm256_inserti128_si256(_mm256_castsi128_si256(ATTN__HALF(r)), ATTN__HALF(8 + (r)), 1)
ATTN__INLINE void attn__avx512_f32_transpose_f16(const uint16_t *p, ptrdiff_t stride, __m512 out[4])
{
#define ATTN__WIDE(r) _mm512_cvtph_ps(ATTN__ROW(r))
    attn__avx512_f32_turn(ATTN__WIDE(0), ATTN__WIDE(1), ATTN__WIDE(2), ATTN__WIDE(3), out);
#undef ATTN__WIDE
}
ATTN__INLINE void attn__avx512_f32_transpose_bf16(const uint16_t *p, ptrdiff_t stride, __m512 out[4])
{
#define ATTN__WIDE(r) _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(ATTN__ROW(r)), 16))
    attn__avx512_f32_turn(ATTN__WIDE(0), ATTN__WIDE(1), ATTN__WIDE(2), ATTN__WIDE(3), out);
#undef ATTN__WIDE
}
#undef ATTN__ROW
#undef ATTN__HALF
#else
ATTN__INLINE void attn__avx512_f32_transpose_f16(const uint16_t *p, ptrdiff_t stride, attn__avx512_f32_vec out[4]) { ATTN__WIDEN_QUADS(16, f16, p, stride, out, attn__avx512_f32_transpose); }
ATTN__INLINE void attn__avx512_f32_transpose_bf16(const uint16_t *p, ptrdiff_t stride, attn__avx512_f32_vec out[4]) { ATTN__WIDEN_QUADS(16, bf16, p, stride, out, attn__avx512_f32_transpose); }
#endif
#define ATTN__ACROSS(name, op)                                                                                                \
    ATTN__INLINE float attn__avx512_f32_##name(attn__avx512_f32_vec a)                                                        \
    {                                                                                                                         \
        ATTN__TYPE(__m256) upper = ATTN__I256(castpd_ps)(ATTN__I(extractf64x4_pd)(ATTN__I(castps_pd)(a), 1));                 \
        ATTN__TYPE(__m256) h = ATTN__I256(op##_ps)(ATTN__I(castps512_ps256)(a), upper);                                       \
        ATTN__TYPE(__m128) b = ATTN__I128(op##_ps)(ATTN__I256(castps256_ps128)(h), ATTN__I256(extractf128_ps)(h, 1)); \
        b = ATTN__I128(op##_ps)(b, ATTN__I128(movehl_ps)(b, b));                                                              \
        return ATTN__I128(cvtss_f32)(ATTN__I128(op##_ss)(b, ATTN__I128(shuffle_ps)(b, b, 1)));                                \
    }
ATTN__ACROSS(sum, add)
ATTN__ACROSS(most, max)
#undef ATTN__ACROSS
ATTN__INLINE attn__avx512_f32_vec attn__avx512_f32_load_f16(const uint16_t *p)
{
#if ATTN__X86
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
#else
    float x[16];
    int i;
    for (i = 0; i < 16; i++) x[i] = attn__f16_to_f32(p[i]);
    return attn__avx512_f32_load(x);
#endif
}
ATTN__INLINE attn__avx512_f32_vec attn__avx512_f32_load_bf16(const uint16_t *p)
{
#if ATTN__X86
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p)), 16));
#else
    float x[16];
    int i;
    for (i = 0; i < 16; i++) x[i] = attn__bf16_to_f32(p[i]);
    return attn__avx512_f32_load(x);
#endif
}
ATTN__INLINE attn__avx512_f32_vec attn__avx512_f32_load_u8(const uint8_t *p)
{
#if ATTN__X86
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
#else
    float x[16];
    int i;
    for (i = 0; i < 16; i++) x[i] = p[i];
    return attn__avx512_f32_load(x);
#endif
}
#if ATTN__X86 && ATTN__FUSED
ATTN__INLINE double attn__avx512_madd(double a, double b, double c) { return _mm_cvtsd_f64(_mm_fmadd_sd(_mm_set_sd(a), _mm_set_sd(b), _mm_set_sd(c))); }
#else
#define attn__avx512_madd attn__madd_f64
#endif
#define ATTN__ISA avx512
#define ATTN__VL 16
#define ATTN__MR 14
#define ATTN__F64 0
#include ATTN_FILE
#undef ATTN__VL
#undef ATTN__F64

typedef ATTN__TYPE(__m512d) attn__avx512_f64_vec;
ATTN__INLINE attn__avx512_f64_vec attn__avx512_f64_load(const double *p) { return ATTN__I(loadu_pd)(p); }
ATTN__INLINE void attn__avx512_f64_store(double *p, attn__avx512_f64_vec a) { ATTN__I(storeu_pd)(p, a); }
ATTN__INLINE attn__avx512_f64_vec attn__avx512_f64_set1(double a) { return ATTN__I(set1_pd)(a); }
ATTN__INLINE attn__avx512_f64_vec attn__avx512_f64_add(attn__avx512_f64_vec a, attn__avx512_f64_vec b) { return ATTN__I(add_pd)(a, b); }
ATTN__INLINE attn__avx512_f64_vec attn__avx512_f64_sub(attn__avx512_f64_vec a, attn__avx512_f64_vec b) { return ATTN__I(sub_pd)(a, b); }
ATTN__INLINE attn__avx512_f64_vec attn__avx512_f64_mul(attn__avx512_f64_vec a, attn__avx512_f64_vec b) { return ATTN__I(mul_pd)(a, b); }
ATTN__INLINE attn__avx512_f64_vec attn__avx512_f64_div(attn__avx512_f64_vec a, attn__avx512_f64_vec b) { return ATTN__I(div_pd)(a, b); }
ATTN__INLINE attn__avx512_f64_vec attn__avx512_f64_max(attn__avx512_f64_vec a, attn__avx512_f64_vec b) { return ATTN__I(max_pd)(a, b); }
ATTN__INLINE attn__avx512_f64_vec attn__avx512_f64_fma(attn__avx512_f64_vec a, attn__avx512_f64_vec b, attn__avx512_f64_vec c)
{
#if ATTN__X86
    return _mm512_fmadd_pd(a, b, c);
#else
    ATTN__BY_LANES(double, 8, attn__avx512_f64_load, attn__avx512_f64_store, a, b, c, attn__fma_f64(x[i], y[i], z[i]));
#endif
}
ATTN__INLINE attn__avx512_f64_vec attn__avx512_f64_exp2i(attn__avx512_f64_vec p, attn__avx512_f64_vec t)
{
    return ATTN__I(castsi512_pd)(ATTN__I(add_epi64)(ATTN__I(castpd_si512)(p), ATTN__I(slli_epi64)(ATTN__I(castpd_si512)(t), 52)));
}
ATTN__INLINE attn__avx512_f64_vec attn__avx512_f64_choose(attn__avx512_f64_vec p, attn__avx512_f64_vec x, attn__avx512_f64_vec limit, attn__avx512_f64_vec other)
{
    return ATTN__I(mask_mov_pd)(p, ATTN__I(cmp_pd_mask)(x, limit, 17 /* less than, ordered, quiet */), other);
}
ATTN__INLINE void attn__avx512_f64_transpose(const double *p, ptrdiff_t stride, attn__avx512_f64_vec out[2])
{
#define ATTN__ROW(r)                                                                                             \
    ATTN__I(insertf64x2)                                                                                         \
    (ATTN__I(insertf64x2)(ATTN__I(insertf64x2)(ATTN__I(castpd128_pd512)(ATTN__I128(loadu_pd)(p + (r) * stride)), \
                                               ATTN__I128(loadu_pd)(p + (2 + (r)) * stride), 1),                 \
                          ATTN__I128(loadu_pd)(p + (4 + (r)) * stride), 2),                                      \
     ATTN__I128(loadu_pd)(p + (6 + (r)) * stride), 3)
    attn__avx512_f64_vec r0 = ATTN__ROW(0), r1 = ATTN__ROW(1);
#undef ATTN__ROW
    out[0] = ATTN__I(unpacklo_pd)(r0, r1);
    out[1] = ATTN__I(unpackhi_pd)(r0, r1);
}
#define ATTN__ACROSS(name, op)                                                                                                 \
    ATTN__INLINE double attn__avx512_f64_##name(attn__avx512_f64_vec a)                                                        \
    {                                                                                                                          \
        ATTN__TYPE(__m256d) h = ATTN__I256(op##_pd)(ATTN__I(castpd512_pd256)(a), ATTN__I(extractf64x4_pd)(a, 1));              \
        ATTN__TYPE(__m128d) b = ATTN__I128(op##_pd)(ATTN__I256(castpd256_pd128)(h), ATTN__I256(extractf128_pd)(h, 1)); \
        return ATTN__I128(cvtsd_f64)(ATTN__I128(op##_sd)(b, ATTN__I128(unpackhi_pd)(b, b)));                                   \
    }
ATTN__ACROSS(sum, add)
ATTN__ACROSS(most, max)
#undef ATTN__ACROSS
#define ATTN__VL 8
#define ATTN__F64 1
#include ATTN_FILE
#undef ATTN__VL
#undef ATTN__F64
#undef ATTN__MR
#undef ATTN__ISA

#if ATTN__X86
#if defined(__clang__)
#pragma clang attribute pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#pragma GCC diagnostic pop
#endif
#endif
#undef ATTN__I
#undef ATTN__I256
#undef ATTN__I128
#undef ATTN__TYPE
#undef ATTN__PARTS
#endif /* ATTN__AVX512 */

/* NEON (AArch64; elsewhere through SIMDe) */
#if ATTN__NEON
#if ATTN__A64 && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("no-schedule-insns") /* it would move accumulators about, 4 cycles of 20 in the register tile */
#endif
#if ATTN__A64
#define ATTN__I(op) v##op
#define ATTN__TYPE(t) t
#else
#define ATTN__I(op) simde_v##op
#define ATTN__TYPE(t) simde_##t
#endif

typedef ATTN__TYPE(float32x4_t) attn__neon_f32_vec;
ATTN__INLINE attn__neon_f32_vec attn__neon_f32_load(const float *p) { return ATTN__I(ld1q_f32)(p); }
ATTN__INLINE void attn__neon_f32_store(float *p, attn__neon_f32_vec a) { attn__memcpy(p, &a, sizeof a); } /* SIMDe's st1q aligns p down on POWER */
ATTN__INLINE attn__neon_f32_vec attn__neon_f32_set1(float a) { return ATTN__I(dupq_n_f32)(a); }
ATTN__INLINE attn__neon_f32_vec attn__neon_f32_add(attn__neon_f32_vec a, attn__neon_f32_vec b) { return ATTN__I(addq_f32)(a, b); }
ATTN__INLINE attn__neon_f32_vec attn__neon_f32_sub(attn__neon_f32_vec a, attn__neon_f32_vec b) { return ATTN__I(subq_f32)(a, b); }
ATTN__INLINE attn__neon_f32_vec attn__neon_f32_mul(attn__neon_f32_vec a, attn__neon_f32_vec b) { return ATTN__I(mulq_f32)(a, b); }
ATTN__INLINE attn__neon_f32_vec attn__neon_f32_div(attn__neon_f32_vec a, attn__neon_f32_vec b)
{
#if ATTN__A64
    return vdivq_f32(a, b);
#else
    ATTN__BY_LANES(float, 4, attn__neon_f32_load, attn__neon_f32_store, a, b, b, x[i] / y[i]);
#endif
}
ATTN__INLINE attn__neon_f32_vec attn__neon_f32_max(attn__neon_f32_vec a, attn__neon_f32_vec b) { return ATTN__I(maxq_f32)(a, b); }
ATTN__INLINE attn__neon_f32_vec attn__neon_f32_fma(attn__neon_f32_vec a, attn__neon_f32_vec b, attn__neon_f32_vec c)
{
#if ATTN__A64
    return vfmaq_f32(c, a, b);
#else
    ATTN__BY_LANES(float, 4, attn__neon_f32_load, attn__neon_f32_store, a, b, c, attn__fma_f32(x[i], y[i], z[i]));
#endif
}
/* c + b * lane of a */
#if ATTN__A64
#define attn__neon_f32_fma_lane(c, b, a, lane) vfmaq_laneq_f32(c, b, a, lane)
#else /* a call: emulation inlined this often takes minutes to compile with sanitizers */
ATTN__NOINLINE static attn__neon_f32_vec attn__neon_f32_fma_lane(attn__neon_f32_vec c, attn__neon_f32_vec b, attn__neon_f32_vec a, int lane)
{
    float x[4];
    attn__neon_f32_store(x, a);
    return attn__neon_f32_fma(attn__neon_f32_set1(x[lane]), b, c);
}
#endif
ATTN__INLINE attn__neon_f32_vec attn__neon_f32_exp2i(attn__neon_f32_vec p, attn__neon_f32_vec t)
{
    return ATTN__I(reinterpretq_f32_s32)(ATTN__I(addq_s32)(ATTN__I(reinterpretq_s32_f32)(p), ATTN__I(shlq_n_s32)(ATTN__I(reinterpretq_s32_f32)(t), 23)));
}
ATTN__INLINE attn__neon_f32_vec attn__neon_f32_choose(attn__neon_f32_vec p, attn__neon_f32_vec x, attn__neon_f32_vec limit, attn__neon_f32_vec other)
{
    return ATTN__I(bslq_f32)(ATTN__I(cltq_f32)(x, limit), other, p);
}
ATTN__INLINE void attn__neon_f32_turn(attn__neon_f32_vec r0, attn__neon_f32_vec r1, attn__neon_f32_vec r2, attn__neon_f32_vec r3, attn__neon_f32_vec out[4])
{
    attn__neon_f32_vec t0 = ATTN__I(trn1q_f32)(r0, r1), t1 = ATTN__I(trn2q_f32)(r0, r1);
    attn__neon_f32_vec t2 = ATTN__I(trn1q_f32)(r2, r3), t3 = ATTN__I(trn2q_f32)(r2, r3);
    out[0] = ATTN__I(combine_f32)(ATTN__I(get_low_f32)(t0), ATTN__I(get_low_f32)(t2));
    out[1] = ATTN__I(combine_f32)(ATTN__I(get_low_f32)(t1), ATTN__I(get_low_f32)(t3));
    out[2] = ATTN__I(combine_f32)(ATTN__I(get_high_f32)(t0), ATTN__I(get_high_f32)(t2));
    out[3] = ATTN__I(combine_f32)(ATTN__I(get_high_f32)(t1), ATTN__I(get_high_f32)(t3));
}
#define ATTN__TURNED(name, type, load)                                                                 \
    ATTN__INLINE void attn__neon_f32_##name(const type *p, ptrdiff_t stride, attn__neon_f32_vec out[4]) \
    {                                                                                                  \
        attn__neon_f32_turn(load(p), load(p + stride), load(p + 2 * stride), load(p + 3 * stride), out); \
    }
ATTN__TURNED(transpose, float, attn__neon_f32_load)
ATTN__INLINE float attn__neon_f32_sum(attn__neon_f32_vec a)
{
    float x[4];
    attn__neon_f32_store(x, a);
    return (x[0] + x[2]) + (x[1] + x[3]);
}
ATTN__INLINE float attn__neon_f32_most(attn__neon_f32_vec a)
{
    float x[4];
    attn__neon_f32_store(x, a);
    return ATTN__GREATER(ATTN__GREATER(x[0], x[2]), ATTN__GREATER(x[1], x[3]));
}
ATTN__INLINE attn__neon_f32_vec attn__neon_f32_load_f16(const uint16_t *p)
{
#if ATTN__A64
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
#else
    float x[4];
    int i;
    for (i = 0; i < 4; i++) x[i] = attn__f16_to_f32(p[i]);
    return attn__neon_f32_load(x);
#endif
}
ATTN__INLINE attn__neon_f32_vec attn__neon_f32_load_bf16(const uint16_t *p)
{
    return ATTN__I(reinterpretq_f32_u32)(ATTN__I(shlq_n_u32)(ATTN__I(movl_u16)(ATTN__I(ld1_u16)(p)), 16));
}
ATTN__INLINE attn__neon_f32_vec attn__neon_f32_load_u8(const uint8_t *p)
{
    const float x[4] = {(float)p[0], (float)p[1], (float)p[2], (float)p[3]};
    return attn__neon_f32_load(x);
}
ATTN__TURNED(transpose_f16, uint16_t, attn__neon_f32_load_f16)
ATTN__TURNED(transpose_bf16, uint16_t, attn__neon_f32_load_bf16)
#undef ATTN__TURNED
#define attn__neon_madd attn__madd_f64
#define ATTN__ISA neon
#if ATTN__FUSED
#define ATTN__LANE_FMA
#endif
#define ATTN__VL 4
#define ATTN__MR 8
#define ATTN__F64 0
#include ATTN_FILE
#undef ATTN__VL
#undef ATTN__F64

typedef ATTN__TYPE(float64x2_t) attn__neon_f64_vec;
ATTN__INLINE attn__neon_f64_vec attn__neon_f64_load(const double *p) { return ATTN__I(ld1q_f64)(p); }
ATTN__INLINE void attn__neon_f64_store(double *p, attn__neon_f64_vec a) { attn__memcpy(p, &a, sizeof a); }
ATTN__INLINE attn__neon_f64_vec attn__neon_f64_set1(double a) { return ATTN__I(dupq_n_f64)(a); }
ATTN__INLINE attn__neon_f64_vec attn__neon_f64_add(attn__neon_f64_vec a, attn__neon_f64_vec b) { return ATTN__I(addq_f64)(a, b); }
ATTN__INLINE attn__neon_f64_vec attn__neon_f64_sub(attn__neon_f64_vec a, attn__neon_f64_vec b) { return ATTN__I(subq_f64)(a, b); }
ATTN__INLINE attn__neon_f64_vec attn__neon_f64_mul(attn__neon_f64_vec a, attn__neon_f64_vec b) { return ATTN__I(mulq_f64)(a, b); }
ATTN__INLINE attn__neon_f64_vec attn__neon_f64_div(attn__neon_f64_vec a, attn__neon_f64_vec b)
{
#if ATTN__A64
    return vdivq_f64(a, b);
#else
    ATTN__BY_LANES(double, 2, attn__neon_f64_load, attn__neon_f64_store, a, b, b, x[i] / y[i]);
#endif
}
ATTN__INLINE attn__neon_f64_vec attn__neon_f64_max(attn__neon_f64_vec a, attn__neon_f64_vec b) { return ATTN__I(maxq_f64)(a, b); }
ATTN__INLINE attn__neon_f64_vec attn__neon_f64_fma(attn__neon_f64_vec a, attn__neon_f64_vec b, attn__neon_f64_vec c)
{
#if ATTN__A64
    return vfmaq_f64(c, a, b);
#else
    ATTN__BY_LANES(double, 2, attn__neon_f64_load, attn__neon_f64_store, a, b, c, attn__fma_f64(x[i], y[i], z[i]));
#endif
}
/* c + b * lane of a */
#if ATTN__A64
#define attn__neon_f64_fma_lane(c, b, a, lane) vfmaq_laneq_f64(c, b, a, lane)
#else /* a call: emulation inlined this often takes minutes to compile with sanitizers */
ATTN__NOINLINE static attn__neon_f64_vec attn__neon_f64_fma_lane(attn__neon_f64_vec c, attn__neon_f64_vec b, attn__neon_f64_vec a, int lane)
{
    double x[2];
    attn__neon_f64_store(x, a);
    return attn__neon_f64_fma(attn__neon_f64_set1(x[lane]), b, c);
}
#endif
ATTN__INLINE attn__neon_f64_vec attn__neon_f64_exp2i(attn__neon_f64_vec p, attn__neon_f64_vec t)
{
    return ATTN__I(reinterpretq_f64_s64)(ATTN__I(addq_s64)(ATTN__I(reinterpretq_s64_f64)(p), ATTN__I(shlq_n_s64)(ATTN__I(reinterpretq_s64_f64)(t), 52)));
}
ATTN__INLINE attn__neon_f64_vec attn__neon_f64_choose(attn__neon_f64_vec p, attn__neon_f64_vec x, attn__neon_f64_vec limit, attn__neon_f64_vec other)
{
    return ATTN__I(bslq_f64)(ATTN__I(cltq_f64)(x, limit), other, p);
}
ATTN__INLINE void attn__neon_f64_transpose(const double *p, ptrdiff_t stride, attn__neon_f64_vec out[2])
{
    attn__neon_f64_vec r0 = ATTN__I(ld1q_f64)(p), r1 = ATTN__I(ld1q_f64)(p + stride);
    out[0] = ATTN__I(combine_f64)(ATTN__I(get_low_f64)(r0), ATTN__I(get_low_f64)(r1));
    out[1] = ATTN__I(combine_f64)(ATTN__I(get_high_f64)(r0), ATTN__I(get_high_f64)(r1));
}
ATTN__INLINE double attn__neon_f64_sum(attn__neon_f64_vec a)
{
    double x[2];
    attn__neon_f64_store(x, a);
    return x[0] + x[1];
}
ATTN__INLINE double attn__neon_f64_most(attn__neon_f64_vec a)
{
    double x[2];
    attn__neon_f64_store(x, a);
    return ATTN__GREATER(x[0], x[1]);
}
#define ATTN__VL 2
#define ATTN__F64 1
#include ATTN_FILE
#undef ATTN__VL
#undef ATTN__F64
#undef ATTN__MR
#undef ATTN__ISA
#undef ATTN__LANE_FMA
#undef ATTN__I
#undef ATTN__TYPE
#if ATTN__A64 && defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
#endif /* ATTN__NEON */
#undef ATTN__KERNEL

/* -------------------------------------------------------------- dispatch -- */

/* Bits 1 << path: this machine's own instruction sets. */
static unsigned attn__detect(void)
{
    unsigned paths = 1u << ATTN_PATH_SCALAR | (unsigned)(ATTN__SIMD128 && ATTN__VECTORS) << ATTN_PATH_SIMD128;
#if ATTN__A64
    paths |= 1u << ATTN_PATH_NEON;
#elif ATTN__X86
    /* CPUID says what the CPU has, XGETBV what the system saves: both count. */
    uint32_t leaf0[4], leaf1[4], leaf7[4] = {0, 0, 0, 0}, state = 0;
#ifdef _MSC_VER
#define ATTN__CPUID(leaf, r) __cpuidex((int *)(r), leaf, 0)
#else
#define ATTN__CPUID(leaf, r) \
    __asm__ volatile("cpuid" : "=a"((r)[0]), "=b"((r)[1]), "=c"((r)[2]), "=d"((r)[3]) : "a"(leaf), "c"(0))
#endif
    ATTN__CPUID(0, leaf0);
    ATTN__CPUID(1, leaf1);
    if (leaf0[0] >= 7) ATTN__CPUID(7, leaf7);
#undef ATTN__CPUID
    if (leaf1[2] >> 27 & 1) { /* OSXSAVE */
#ifdef _MSC_VER
        state = (uint32_t)_xgetbv(0);
#else
        uint32_t high;
        __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(state), "=d"(high) : "c"(0)); /* xgetbv */
        (void)high;
#endif
    }
    if ((state & 0x06) == 0x06 && (leaf1[2] & 0x30001000u) == 0x30001000u /* AVX, F16C, FMA */ && (leaf7[1] >> 5 & 1)) {
        paths |= 1u << ATTN_PATH_AVX2;
        if ((state & 0xe6) == 0xe6 && (leaf7[1] & 0xc0030000u) == 0xc0030000u /* F, DQ, BW, VL */) paths |= 1u << ATTN_PATH_AVX512;
    }
#endif
    return paths;
}

/* Detected once; threads that race store the same value. */
static unsigned attn__machine(void)
{
#if defined(__GNUC__) || defined(__clang__)
    static unsigned cache;
    unsigned paths = __atomic_load_n(&cache, __ATOMIC_RELAXED);
    if (!paths) {
        paths = attn__detect();
        __atomic_store_n(&cache, paths, __ATOMIC_RELAXED);
    }
#else
    static volatile unsigned cache;
    unsigned paths = cache;
    if (!paths) cache = paths = attn__detect();
#endif
    return paths;
}

/* The table of a path for a compute type, NULL if not compiled in. */
static const attn__kernel *attn__kernel_of(attn_path path, attn_dtype dtype)
{
    static const attn__kernel *const kernels[ATTN_PATH_COUNT][2] = {
        {NULL, NULL},
        {&attn__scalar_f32_kernel, &attn__scalar_f64_kernel},
#if ATTN__SIMD128
        {&attn__simd128_f32_kernel, &attn__simd128_f64_kernel},
#else
        {NULL, NULL},
#endif
#if ATTN__NEON
        {&attn__neon_f32_kernel, &attn__neon_f64_kernel},
#else
        {NULL, NULL},
#endif
#if ATTN__AVX2
        {&attn__avx2_f32_kernel, &attn__avx2_f64_kernel},
#else
        {NULL, NULL},
#endif
#if ATTN__AVX512
        {&attn__avx512_f32_kernel, &attn__avx512_f64_kernel},
#else
        {NULL, NULL},
#endif
    };
    return (unsigned)path < ATTN_PATH_COUNT ? kernels[path][dtype == ATTN_F64] : NULL;
}

ATTN_DEF const char *attn_path_name(attn_path path)
{
    static const char *const names[ATTN_PATH_COUNT] = {"auto", "scalar", "simd128", "neon", "avx2", "avx512"};
    return (unsigned)path < ATTN_PATH_COUNT ? names[path] : "unknown";
}
ATTN_DEF int attn_path_compiled(attn_path path) { return path == ATTN_PATH_AUTO || attn__kernel_of(path, ATTN_F32) != NULL; }
ATTN_DEF int attn_path_native(attn_path path)
{
    return attn_path_compiled(path) && (path == ATTN_PATH_AUTO || (attn__machine() >> path & 1));
}
ATTN_DEF int attn_path_supported(attn_path path)
{
    /* A path that is foreign to this architecture is emulated, and so always runs. */
    static const unsigned emulated = (ATTN__VECTORS ? 0u : 1u << ATTN_PATH_SIMD128) | (ATTN__A64 ? 0u : 1u << ATTN_PATH_NEON) | (ATTN__X86 ? 0u : 1u << ATTN_PATH_AVX2 | 1u << ATTN_PATH_AVX512);
    return attn_path_compiled(path) && (attn_path_native(path) || (emulated >> path & 1));
}
ATTN_DEF attn_path attn_best_path(void)
{
    int path = ATTN_PATH_COUNT - 1;
    while (!attn_path_native((attn_path)path)) path--;
    return (attn_path)path;
}
ATTN_DEF const char *attn_arithmetic(void) { return ATTN__FUSED ? "fused" : "unfused"; }

/* ---------------------------------------------------------------- arrays -- */

/* A checked array: 8 dimensions, absent ones 1, strides in elements. */
typedef struct attn__view {
    char *data;
    attn_dtype dtype;
    ptrdiff_t size; /* bytes of an element */
    size_t shape[ATTN_MAX_DIMS];
    ptrdiff_t stride[ATTN_MAX_DIMS];
    uintptr_t low, high; /* bytes it touches: [low, high) */
} attn__view;

/* The last four dimensions of a view, as attention names them. */
#define ATTN__B 4
#define ATTN__H 5
#define ATTN__S 6
#define ATTN__D 7

#define ATTN__FLOATS (1u << ATTN_F32 | 1u << ATTN_F64 | 1u << ATTN_F16 | 1u << ATTN_BF16)
#define ATTN__HALVES (1u << ATTN_F32 | 1u << ATTN_F16 | 1u << ATTN_BF16)
#define ATTN__INTS (1u << ATTN_I32 | 1u << ATTN_I64)
#define ATTN__INPUT 0
#define ATTN__OUTPUT 1

static int attn__multiply_size(size_t a, size_t b, size_t *product)
{
    *product = a * b;
    return (a | b) >> sizeof a * 4 == 0 || b == 0 || a <= (size_t)-1 / b; /* halves of a word: no division */
}

/* Checks one array by itself. `measuring`: data is not looked at. */
static attn_status attn__check(const attn_array *a, int min_dims, int max_dims, unsigned dtypes, int output, int measuring, attn__view *v)
{
    const size_t limit = (size_t)-1 / 2;
    size_t below = 0, above = 0, count = 1, bits = 0;
    ptrdiff_t given = 0;
    int i, j, first;
    if (!a) return ATTN_ERR_NULL;
    if (a->ndim < min_dims || a->ndim > max_dims) return ATTN_ERR_RANK;
    if ((unsigned)a->dtype >= ATTN_DTYPE_COUNT || !(dtypes >> a->dtype & 1)) return ATTN_ERR_DTYPE;
    v->data = (char *)a->data;
    v->dtype = a->dtype;
    v->size = (ptrdiff_t)attn_dtype_size(a->dtype);
    v->low = v->high = 0;
    first = ATTN_MAX_DIMS - a->ndim;
    for (i = 0; i < ATTN_MAX_DIMS; i++) v->shape[i] = 1, v->stride[i] = 0;
    for (i = ATTN_MAX_DIMS - 1; i >= first; i--) { /* strides as if none were given */
        const size_t n = v->shape[i] = a->shape[i - first];
        v->stride[i] = n == 1 ? 1 : (ptrdiff_t)count; /* one element has no next: nobody multiplies by whatever its stride is */
        given |= a->stride[i - first];
        bits |= n;
        count *= n;
    }
    if (bits >> (a->ndim > 4 ? sizeof bits - 1 : 2 * sizeof bits - 2)) { /* a product of so many bits may not fit */
        int fits = 1, empty = 0;
        for (i = first, count = 1; i < ATTN_MAX_DIMS; i++)
            if (v->shape[i] == 0) empty = 1;
            else if (!attn__multiply_size(count, v->shape[i], &count) || count > limit) fits = 0, count = 1;
        if (!given && (!fits || (!empty && count > limit / (size_t)v->size))) return ATTN_ERR_OVERFLOW;
        if (empty) count = 0;
    }
    if (!given) above = count * (size_t)v->size;
    else if (count) {
        for (i = first; i < ATTN_MAX_DIMS; i++) {
            /* |PTRDIFF_MIN| has no signed form, hence the detour through size_t */
            const ptrdiff_t one = a->stride[i - first];
            size_t step = one < 0 ? (size_t)0 - (size_t)one : (size_t)one, reach;
            if (v->shape[i] == 1) continue;
            v->stride[i] = one;
            if (!attn__multiply_size(step, (size_t)v->size, &step) || !attn__multiply_size(step, v->shape[i] - 1, &reach)) return ATTN_ERR_OVERFLOW;
            if (one < 0) {
                if (reach > limit || below > limit - reach) return ATTN_ERR_OVERFLOW;
                below += reach;
            } else {
                if (reach > limit || above > limit - reach) return ATTN_ERR_OVERFLOW;
                above += reach;
            }
        }
        if (above > limit - (size_t)v->size || below > limit - above - (size_t)v->size) return ATTN_ERR_OVERFLOW;
        above += (size_t)v->size;
    }
    if (output && count && given) {
        /* No two elements in one place: sorted by size, each stride steps over
         * all that the smaller ones span. Sufficient, and true of every layout in use. */
        for (i = first; i < ATTN_MAX_DIMS; i++) {
            size_t span = 1, step = v->stride[i] < 0 ? (size_t)0 - (size_t)v->stride[i] : (size_t)v->stride[i];
            if (v->shape[i] == 1) continue;
            for (j = first; j < ATTN_MAX_DIMS; j++) {
                size_t other = v->stride[j] < 0 ? (size_t)0 - (size_t)v->stride[j] : (size_t)v->stride[j];
                if (j != i && v->shape[j] > 1 && (other < step || (other == step && j > i))) span += other * (v->shape[j] - 1);
            }
            if (step < span) return ATTN_ERR_STRIDE;
        }
    }
    if (!count) { /* no element has an address: keep arithmetic on it defined */
        static const double nothing = 0;
        v->data = (char *)(uintptr_t)&nothing;
        attn__memset(v->stride, 0, sizeof v->stride);
        return ATTN_OK;
    }
    if (measuring) return ATTN_OK;
    if (!a->data) return ATTN_ERR_NULL;
    if ((uintptr_t)a->data & ((uintptr_t)v->size - 1)) return ATTN_ERR_ALIGN;
    v->low = (uintptr_t)a->data - below;
    v->high = (uintptr_t)a->data + above;
    return ATTN_OK;
}

static int attn__apart(const attn__view *a, const attn__view *b) { return a->high <= b->low || b->high <= a->low || a->low == a->high || b->low == b->high; }

/* Absent arrays have no data and no dimensions; they touch no bytes. */
static int attn__present(const attn_array *a) { return a->ndim > 0 || a->data; }
static int attn__given(const attn_array *a, attn__view *v)
{
    v->low = v->high = 0;
    return attn__present(a);
}

ATTN__INLINE char *attn__at(const attn__view *v, size_t b, size_t h, size_t s)
{
    return v->data + ((ptrdiff_t)b * v->stride[ATTN__B] + (ptrdiff_t)h * v->stride[ATTN__H] + (ptrdiff_t)s * v->stride[ATTN__S]) * v->size;
}

static int64_t attn__integer(const attn__view *v, ptrdiff_t at)
{
    return v->dtype == ATTN_I64 ? ((const int64_t *)(const void *)v->data)[at] : (int64_t)((const int32_t *)(const void *)v->data)[at];
}

/* Lets dimensions of 1 broadcast to those of the problem; others must agree. */
static attn_status attn__broadcast(attn__view *v, const size_t shape[4])
{
    int i;
    for (i = 0; i < 4; i++) {
        if (v->shape[4 + i] == shape[i]) continue;
        if (v->shape[4 + i] != 1) return ATTN_ERR_SHAPE;
        v->stride[4 + i] = 0;
    }
    return ATTN_OK;
}
static int attn__shape_is(const attn__view *v, size_t b, size_t h, size_t s, size_t d)
{
    return v->shape[ATTN__B] == b && v->shape[ATTN__H] == h && v->shape[ATTN__S] == s && v->shape[ATTN__D] == d;
}

ATTN__INLINE size_t attn__min(size_t a, size_t b) { return a < b ? a : b; }
ATTN__INLINE size_t attn__round_up(size_t n, size_t to) { return (n + to - 1) & ~(to - 1); } /* a power of two */
/* How many pieces of no more than `each`; a division only where there are several: it takes as long as ten additions. */
ATTN__INLINE size_t attn__pieces(size_t n, size_t each) { return n <= each ? n > 0 : (n - 1) / each + 1; }

/* Workspace as a sequence of pieces, each aligned to 64 bytes; reserve tells where
 * one begins. With base NULL it only measures. */
typedef struct attn__arena {
    char *base;
    size_t used;
    int overflow, fits; /* fits: sizes are such that there is no overflow to look for */
} attn__arena;
ATTN__INLINE size_t attn__reserve(attn__arena *arena, size_t count, size_t size)
{
    const size_t at = arena->used;
    size_t bytes;
    if (arena->fits) arena->used += attn__round_up(count * size, 64);
    else if (!attn__multiply_size(count, size, &bytes) || bytes > (size_t)-1 / 4 || at > (size_t)-1 / 4) arena->overflow = 1;
    else arena->used += attn__round_up(bytes, 64);
    return at;
}
ATTN__INLINE void *attn__take(attn__arena *arena, size_t count, size_t size)
{
    const size_t at = attn__reserve(arena, count, size);
    return arena->base ? arena->base + at : NULL;
}

/* -------------------------------------------------------------- execution -- */

/* What attn_exec comes to. */
typedef struct attn__run {
    const attn__kernel *kernel;
    size_t workers;
    char *workspace; /* aligned to 64 bytes */
    size_t each;     /* bytes for one worker */
    const attn_exec *exec;
} attn__run;

/* The path for scores or products of so many columns. */
static attn_status attn__path_of(const attn_exec *exec, size_t columns, attn_path *path)
{
    *path = exec ? exec->path : ATTN_PATH_AUTO;
    if ((unsigned)*path >= ATTN_PATH_COUNT) return ATTN_ERR_PATH;
    if (*path == ATTN_PATH_AUTO) {
        *path = attn_best_path();
        /* half of a panel of 512-bit vectors would be empty */
        if (*path == ATTN_PATH_AVX512 && columns <= ATTN__NR_MAX / 2 && attn_path_native(ATTN_PATH_AVX2)) *path = ATTN_PATH_AVX2;
        return ATTN_OK; /* the best one is supported */
    }
    return attn_path_supported(*path) ? ATTN_OK : ATTN_ERR_PATH;
}
static int attn__measuring(const attn_exec *exec) { return exec && exec->query; }
static size_t attn__workers(const attn_exec *exec)
{
    const size_t most = (size_t)-1 / 4; /* a workspace for so many is refused, and twice as many can be counted */
    if (!exec || !exec->parallel_for || !exec->num_workers) return 1;
    return exec->num_workers < most ? exec->num_workers : most;
}

/* Workspace for `each` bytes a worker. `*measured` says that the caller only
 * asked for the size, and has it now. */
static attn_status attn__prepare(const attn_exec *exec, const attn__kernel *kernel, size_t each, attn__run *run, int *measured)
{
    size_t total;
    uintptr_t start;
    *measured = 0;
    run->kernel = kernel;
    run->workers = attn__workers(exec);
    run->each = each;
    run->exec = exec;
    if (!attn__multiply_size(each, run->workers, &total) || total > (size_t)-1 / 2 - 64) return ATTN_ERR_OVERFLOW;
    if (total) total += 63; /* to align what the caller gives */
    if (attn__measuring(exec)) {
        *exec->query = total;
        *measured = 1;
        return ATTN_OK;
    }
    if (total && (!exec || !exec->workspace || exec->workspace_size < total)) return ATTN_ERR_WORKSPACE;
    start = total ? (uintptr_t)exec->workspace : 0;
    run->workspace = total ? (char *)exec->workspace + (64 - start % 64) % 64 : NULL;
    return ATTN_OK;
}

static void attn__parallel(const attn__run *run, size_t count, attn_task task, void *arg)
{
    size_t i;
    if (run->exec && run->exec->parallel_for && run->workers > 1 && count > 1) run->exec->parallel_for(run->exec->parallel_context, count, task, arg);
    else
        for (i = 0; i < count; i++) task(arg, i, 0);
}

/* ---------------------------------------------------------------- matmul -- */

/* One C = (scale A) B among the batches of a call. */
typedef struct attn__gemm {
    attn__run run;
    attn__view a, b, c;
    size_t m, n, k, batches, row_blocks, column_blocks;
    size_t rows;   /* rows of one task, which packs its part of b ... */
    size_t block;  /* ... and columns */
    size_t direct; /* columns for which b and c are used where they lie: for few rows */
    double scale;
} attn__gemm;

/* Rows of a at 0, of c and a block of b at these places; LD elements are whole cache lines. */
static size_t attn__gemm_workspace(const attn__kernel *kernel, size_t n, size_t k, size_t *c_at, size_t *b_at)
{
    *c_at = (kernel->mr > kernel->few ? kernel->mr : kernel->few) * ATTN__LD * kernel->size;
    *b_at = *c_at + kernel->mr * ATTN__LD * kernel->size;
    return *b_at + attn__round_up(attn__round_up(attn__min(n, ATTN__BLOCK), kernel->nr) * attn__min(k, ATTN__BLOCK) * kernel->size, 64);
}

/* Rows [r0, r1) of scale * a, columns [k0, k0 + depth). */
static void attn__gemm_rows(const attn__gemm *g, const char *a, size_t r0, size_t r1, size_t k0, size_t depth, void *tile)
{
    const attn__kernel *kernel = g->run.kernel;
    size_t r;
    for (r = r0; r < r1; r++) {
        char *row = (char *)tile + (r - r0) * ATTN__LD * kernel->size;
        kernel->load(row, a + ((ptrdiff_t)r * g->a.stride[ATTN__S] + (ptrdiff_t)k0 * g->a.stride[ATTN__D]) * g->a.size, g->a.dtype, g->a.stride[ATTN__D], depth);
        if (g->scale < 1 || g->scale > 1) kernel->scale(row, row, depth, g->scale); /* the one rounding before the chain */
    }
}

static void attn__gemm_task(void *arg, size_t index, size_t worker)
{
    const attn__gemm *g = (const attn__gemm *)arg;
    const attn__kernel *kernel = g->run.kernel;
    const size_t es = kernel->size;
    char *a_tile = g->run.workspace + worker * g->run.each, *b_block, *c_tile;
    size_t c_at, b_at, j0 = index % g->column_blocks * g->block, i0, i1, k0, t, tiles, batch = index / g->column_blocks;
    size_t n = attn__min(g->n - j0, g->block);
    const char *a = g->a.data, *b = g->b.data;
    char *c = g->c.data;
    int dim, in_place;

    i0 = batch % g->row_blocks * g->rows;
    i1 = attn__min(g->m, i0 + g->rows);
    batch /= g->row_blocks;
    attn__gemm_workspace(kernel, g->n, g->k, &c_at, &b_at);
    c_tile = a_tile + c_at;
    b_block = a_tile + b_at;
    for (dim = ATTN__H; dim >= 0; dim--) {
        ptrdiff_t at = (ptrdiff_t)(batch % g->c.shape[dim]);
        batch /= g->c.shape[dim];
        a += at * g->a.stride[dim] * g->a.size;
        b += at * g->b.stride[dim] * g->b.size;
        c += at * g->c.stride[dim] * g->c.size;
    }
    if (j0 < g->direct) { /* a few rows of b at a time, in their order in memory */
        const size_t width = attn__min(g->direct - j0, n);
        for (k0 = 0; k0 < g->k || k0 == 0; k0 += ATTN__BLOCK) {
            const size_t depth = attn__min(g->k - k0, ATTN__BLOCK);
            attn__gemm_rows(g, a, i0, i1, k0, depth, a_tile);
            for (t = 0; t < depth || t == 0; t += ATTN__FEW_KEYS)
                kernel->weigh(i1 - i0, width, attn__min(depth - t, ATTN__FEW_KEYS), a_tile + t * es,
                              b + ((ptrdiff_t)(k0 + t) * g->b.stride[ATTN__S] + (ptrdiff_t)j0) * g->b.size, g->b.dtype, (size_t)g->b.stride[ATTN__S],
                              c + ((ptrdiff_t)i0 * g->c.stride[ATTN__S] + (ptrdiff_t)j0) * g->c.size, (size_t)g->c.stride[ATTN__S], k0 + t > 0);
        }
        j0 += width;
        n -= width;
        if (n == 0) return;
    }
    tiles = (i1 - i0 + kernel->mr - 1) / kernel->mr;
    in_place = g->c.stride[ATTN__D] == 1 && g->c.stride[ATTN__S] >= 0 && n % (kernel->nr / 2) == 0;
    for (k0 = 0; k0 < g->k || k0 == 0; k0 += ATTN__BLOCK) {
        size_t depth = attn__min(g->k - k0, ATTN__BLOCK);
        kernel->pack(b_block, b + ((ptrdiff_t)k0 * g->b.stride[ATTN__S] + (ptrdiff_t)j0 * g->b.stride[ATTN__D]) * g->b.size, g->b.dtype, n, depth,
                     g->b.stride[ATTN__D], g->b.stride[ATTN__S]);
        for (t = 0; t < tiles; t++) {
            size_t r0 = i0 + (i1 - i0) * t / tiles, r1 = i0 + (i1 - i0) * (t + 1) / tiles, r;
            attn__gemm_rows(g, a, r0, r1, k0, depth, a_tile);
            if (in_place) {
                kernel->multiply(r1 - r0, n, depth, a_tile, b_block, kernel->nr, depth * kernel->nr,
                                 c + ((ptrdiff_t)r0 * g->c.stride[ATTN__S] + (ptrdiff_t)j0) * g->c.size, (size_t)g->c.stride[ATTN__S], k0 != 0);
                continue;
            }
            for (r = r0; r < r1 && k0; r++)
                kernel->load(c_tile + (r - r0) * ATTN__LD * es, c + ((ptrdiff_t)r * g->c.stride[ATTN__S] + (ptrdiff_t)j0 * g->c.stride[ATTN__D]) * g->c.size,
                             g->c.dtype, g->c.stride[ATTN__D], n);
            kernel->multiply(r1 - r0, n, depth, a_tile, b_block, kernel->nr, depth * kernel->nr, c_tile, ATTN__LD, k0 != 0);
            for (r = r0; r < r1; r++)
                kernel->store(c + ((ptrdiff_t)r * g->c.stride[ATTN__S] + (ptrdiff_t)j0 * g->c.stride[ATTN__D]) * g->c.size, g->c.dtype, g->c.stride[ATTN__D],
                              c_tile + (r - r0) * ATTN__LD * es, n);
        }
    }
}

/* c = (scale a) b, or b transposed. */
static attn_status attn__matmul(const attn_array *a, const attn_array *b, int transpose_b, double scale, const attn_array *c, const attn_exec *exec)
{
    const attn__kernel *kernel;
    attn__gemm g;
    attn_path path;
    attn_status status;
    size_t c_at, b_at;
    int i, most, measured, measuring = attn__measuring(exec);
    if (!a || !b || !c) return ATTN_ERR_NULL;
    if ((status = attn__check(a, 2, ATTN_MAX_DIMS, 1u << ATTN_F32 | 1u << ATTN_F64, ATTN__INPUT, measuring, &g.a))) return status;
    if ((status = attn__check(b, 2, ATTN_MAX_DIMS, 1u << a->dtype, ATTN__INPUT, measuring, &g.b))) return status;
    if ((status = attn__check(c, 2, ATTN_MAX_DIMS, 1u << a->dtype, ATTN__OUTPUT, measuring, &g.c))) return status;
    if (transpose_b) {
        size_t n = g.b.shape[ATTN__S];
        ptrdiff_t stride = g.b.stride[ATTN__S];
        g.b.shape[ATTN__S] = g.b.shape[ATTN__D];
        g.b.stride[ATTN__S] = g.b.stride[ATTN__D];
        g.b.shape[ATTN__D] = n;
        g.b.stride[ATTN__D] = stride;
    }
    g.m = g.a.shape[ATTN__S];
    g.k = g.a.shape[ATTN__D];
    g.n = g.b.shape[ATTN__D];
    if (g.b.shape[ATTN__S] != g.k || g.c.shape[ATTN__S] != g.m || g.c.shape[ATTN__D] != g.n) return ATTN_ERR_SHAPE;
    g.batches = 1;
    most = a->ndim > b->ndim ? a->ndim : b->ndim;
    if (most < c->ndim) most = c->ndim;
    for (i = ATTN__S - 1; i >= ATTN_MAX_DIMS - most; i--) {
        size_t n = g.a.shape[i] == 1 ? g.b.shape[i] : g.a.shape[i];
        if (g.c.shape[i] != n || (g.b.shape[i] != n && g.b.shape[i] != 1)) return ATTN_ERR_SHAPE;
        if (g.a.shape[i] != n) g.a.stride[i] = 0;
        if (g.b.shape[i] != n) g.b.stride[i] = 0;
        g.batches *= n; /* no overflow where c has elements: its size was checked */
    }
    if (!attn__apart(&g.c, &g.a) || !attn__apart(&g.c, &g.b)) return ATTN_ERR_ALIAS;
    if ((status = attn__path_of(exec, g.n, &path))) return status;
    kernel = attn__kernel_of(path, a->dtype);
    if ((status = attn__prepare(exec, kernel, attn__gemm_workspace(kernel, g.n, g.k, &c_at, &b_at), &g.run, &measured)) || measured) return status;
    if (g.m == 0 || g.n == 0 || g.batches == 0) return ATTN_OK;
    g.scale = scale;
    if (g.batches == 1 && g.k <= ATTN__BLOCK && g.n * g.k <= ATTN__NEAR && g.m <= ATTN__ROWS && !(scale < 1 || scale > 1) &&
        g.a.stride[ATTN__D] == 1 && g.b.stride[ATTN__D] == 1 && g.c.stride[ATTN__D] == 1 && g.b.stride[ATTN__S] >= 0 && g.c.stride[ATTN__S] >= 0) {
        kernel->product(g.m, g.n, g.k, g.a.data, g.a.stride[ATTN__S], g.b.data, (size_t)g.b.stride[ATTN__S], g.c.data, (size_t)g.c.stride[ATTN__S], g.run.workspace,
                        g.run.workspace + c_at, g.run.workspace + b_at);
        return ATTN_OK;
    }
    g.rows = g.run.workers > 1 ? ATTN__ROWS : 4 * ATTN__ROWS;
    g.row_blocks = (g.m + g.rows - 1) / g.rows;
    g.block = ATTN__BLOCK;
    g.direct = 0;
    if (g.m <= g.run.kernel->few && g.b.stride[ATTN__D] == 1 && g.b.stride[ATTN__S] >= 0 && g.c.stride[ATTN__D] == 1 && g.c.stride[ATTN__S] >= 0) {
        g.direct = g.n / g.run.kernel->nr * g.run.kernel->nr;
        g.block = attn__round_up(g.n / (g.run.workers > 1 ? 2 * g.run.workers : 1) + 1, ATTN__BLOCK); /* long rows of b */
    }
    g.column_blocks = (g.n + g.block - 1) / g.block;
    attn__parallel(&g.run, g.batches * g.row_blocks * g.column_blocks, attn__gemm_task, &g);
    return ATTN_OK;
}

/* ------------------------------------------------- attention: the problem -- */

/* Where in a worker's workspace each array of attn__scratch begins, and its size. */
typedef struct attn__layout {
    size_t q, k, v, rows, tile, bias, acc, max, sum, row, seen, wide, size;
} attn__layout;

typedef struct attn__problem {
    attn__run run;
    attn__layout layout;
    const attn_desc *desc;
    attn__view q, k, v, out, mask, kv_lens, alibi, sinks, table, cu_q, cu_k, lse, scores, colsum;
    int has_mask, has_lens, has_alibi, has_sinks, has_pages, has_cu, has_lse, has_scores, has_colsum;
    size_t batch, q_heads, kv_heads, q_len, kv_len, dim, dim_v, width; /* width: dim_v padded to panels */
    size_t kv_begin, page_size;
    size_t group, head_chunk, head_chunks, query_block, query_blocks, rows;
    size_t chunks, slots, keys; /* keys: packed at most, of one block */
    int gather;                 /* keys and values are copied together before use */
    int one_mask;               /* one mask for all heads: those of a query are done one after the other */
    int few;                    /* so few rows that keys and values are used where they lie, if they can */
    size_t tasks, parts, first_part, part_blocks, part_bytes; /* long keys for few rows: parts of a task */
    char *part_states;
    int stand_in;               /* out is the shape of a result only */
    double scale, softcap;
    int64_t left, right; /* visible distance from p, each -1 if unbounded */
} attn__problem;

/* m * 2^e with 0.5 <= |m| < 1: doubles that neither overflow nor underflow. NaN
 * and infinities are in m. Used for rows that fast arithmetic cannot do. */
typedef struct attn__wide {
    double m;
    int e;
} attn__wide;

/* A row's maximum and sum in wide arithmetic, over the keys [lo, hi). */
typedef struct attn__wide_sum {
    attn__wide max;
    double sum, lse;
    size_t lo, hi, first; /* the first key it sees; hi if none */
    int nan;              /* all weights are */
} attn__wide_sum;

/* What a row sees of a block: keys [lo, hi), and what attn__mask_range says of them. */
typedef struct attn__seen {
    unsigned short lo, hi, kept;
} attn__seen;

/* What is known of one row. */
typedef struct attn__row {
    size_t lo, hi;       /* visible keys, before the mask */
    double factor, max;  /* weight = exp(score - max) * factor */
    attn__wide_sum sums; /* if it is done in wide arithmetic */
    unsigned char odd;   /* a visible score is not safely finite */
    unsigned char redo;  /* what becomes of it, ATTN__REDO_... */
} attn__row;

/* Which rows, from which block on and up to which key, `seen` of a worker is about;
 * count 0 if none. With one mask for all heads it serves the next head, too. */
typedef struct attn__looked {
    size_t b, query, count, block, end;
} attn__looked;

/* One worker's scratch. Slots are states on the stack of the tree of blocks. */
typedef struct attn__scratch {
    char *q;            /* (chunks, rows, LD): scaled queries, 512 of head_dim a chunk */
    char *k;            /* one block of keys, packed: (chunks, panels, <= 512, nr); for few rows, a panel */
    char *v;            /* one block of values, packed: (panels, keys, nr); for few rows, a piece of it */
    char *rows;         /* (keys, dim or dim_v): gathered rows */
    char *tile;         /* (mr, LD): scores, then weights */
    char *bias;         /* (LD): what is added to one row of scores */
    char *acc;          /* (slots, rows, width): sum of weight * v */
    double *max, *sum;  /* (slots, rows) */
    attn__row *row;     /* (rows) */
    attn__looked *looked; /* first of all, see attn__ready */
    attn__seen *seen;   /* (ATTN__SEEN blocks, rows) */
    double *wide;       /* (3, dim_v): a row in wide arithmetic */
    size_t last[72];    /* (slots): the last block in each state */
} attn__scratch;

/* Rows that are computed together: row r is query `query + r / heads` of head
 * `head + r % heads`; all read one KV head. Keys are named by position. */
typedef struct attn__rows {
    size_t b, head, heads, kv_head, query, count;
    size_t q_base, k_base; /* rows before this sequence, when packed */
    size_t q_len, kv_total; /* of this batch or sequence */
    size_t kv_end;          /* keys are [kv_begin, kv_end), all or a part of kv_total */
} attn__rows;

#define ATTN__REDO_EXACT 1 /* the output is not finite: perhaps by a value that the row does not see */
#define ATTN__REDO_WIDE 2  /* a score is not safely finite, or the exact output is not */

static size_t attn__take_2d(attn__arena *arena, size_t a, size_t b)
{
    size_t n;
    if (arena->fits) return a * b;
    if (!attn__multiply_size(a, b, &n)) arena->overflow = 1;
    return n;
}
static attn_status attn__scratch_layout(const attn__problem *p, const attn__kernel *kernel, attn__layout *l)
{
    const size_t es = kernel->size, keys = p->few ? kernel->step : p->keys;
    attn__arena arena = {NULL, 0, 0, 0};
    arena.fits = sizeof(size_t) > 4 && (p->dim | p->dim_v) >> 16 == 0; /* rows, slots and keys come to less than 2^24 */
    attn__reserve(&arena, 1, sizeof(attn__looked)); /* at 0, see attn__ready */
    l->q = attn__reserve(&arena, attn__take_2d(&arena, p->chunks * ATTN__LD, p->rows), es);
    l->k = attn__reserve(&arena, attn__take_2d(&arena, keys, p->dim), es);
    l->v = attn__reserve(&arena, attn__take_2d(&arena, keys, attn__round_up(p->width, kernel->nr)), es);
    l->rows = attn__reserve(&arena, p->gather ? attn__take_2d(&arena, keys, p->dim > p->dim_v ? p->dim : p->dim_v) : 0, es);
    l->tile = attn__reserve(&arena, kernel->mr * ATTN__LD, es);
    l->bias = attn__reserve(&arena, ATTN__LD, es);
    l->acc = attn__reserve(&arena, attn__take_2d(&arena, p->rows * p->slots, p->width), es);
    l->max = attn__reserve(&arena, p->rows * p->slots, sizeof(double));
    l->sum = attn__reserve(&arena, p->rows * p->slots, sizeof(double));
    l->row = attn__reserve(&arena, p->rows, sizeof(attn__row));
    l->seen = attn__reserve(&arena, attn__take_2d(&arena, ATTN__SEEN, p->rows), sizeof(attn__seen));
    l->wide = attn__reserve(&arena, attn__take_2d(&arena, 3, p->dim_v), sizeof(double));
    l->size = arena.used;
    return arena.overflow ? ATTN_ERR_OVERFLOW : ATTN_OK;
}

static size_t attn__integer_at(const attn__view *v, size_t i) { return (size_t)attn__integer(v, (ptrdiff_t)i * v->stride[ATTN__D]); }

/* The rows of a task; count 0 if the sequence is too short for it. */
static attn__rows attn__rows_of(const attn__problem *p, size_t index)
{
    attn__rows r;
    size_t chunk;
    attn__memset(&r, 0, sizeof r);
    if (!p->one_mask) {
        r.query = index % p->query_blocks * p->query_block;
        index /= p->query_blocks;
    }
    chunk = index % p->head_chunks * p->head_chunk;
    index /= p->head_chunks;
    r.kv_head = index % p->kv_heads;
    r.b = index / p->kv_heads;
    if (p->one_mask) {
        r.query = r.b % p->query_blocks * p->query_block;
        r.b /= p->query_blocks;
    }
    r.head = r.kv_head * p->group + chunk;
    r.heads = attn__min(p->head_chunk, p->group - chunk);
    r.q_len = p->q_len;
    r.kv_end = p->kv_begin + p->kv_len;
    r.kv_total = r.kv_end;
    if (p->has_lens) r.kv_total = attn__integer_at(&p->kv_lens, r.b);
    if (r.kv_end > r.kv_total) r.kv_end = r.kv_total;
    if (p->has_cu) {
        r.q_base = attn__integer_at(&p->cu_q, r.b);
        r.q_len = attn__integer_at(&p->cu_q, r.b + 1) - r.q_base;
        r.k_base = attn__integer_at(&p->cu_k, r.b);
        r.kv_end = r.kv_total = attn__integer_at(&p->cu_k, r.b + 1) - r.k_base;
    }
    r.count = r.query < r.q_len ? attn__min(p->query_block, r.q_len - r.query) * r.heads : 0;
    return r;
}
static size_t attn__head_of(const attn__rows *rows, size_t r) { return rows->heads == 1 ? rows->head : rows->head + r % rows->heads; }
static size_t attn__query_of(const attn__rows *rows, size_t r) { return rows->heads == 1 ? rows->query + r : rows->query + r / rows->heads; }

/* Row i of a query-shaped array, or key j of a key-shaped one. */
static char *attn__query_at(const attn__view *v, const attn__rows *rows, size_t h, size_t i) { return attn__at(v, rows->b, h, rows->q_base + i); }
static char *attn__key_at(const attn__problem *p, const attn__view *v, const attn__rows *rows, size_t j)
{
    if (p->has_pages) {
        const ptrdiff_t at = (ptrdiff_t)rows->b * p->table.stride[ATTN__S] + (ptrdiff_t)(j / p->page_size) * p->table.stride[ATTN__D];
        return attn__at(v, (size_t)attn__integer(&p->table, at), rows->kv_head, j % p->page_size);
    }
    return attn__at(v, rows->b, rows->kv_head, rows->k_base + j - p->kv_begin);
}
static char *attn__mask_at(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, size_t j)
{
    return attn__at(&p->mask, rows->b, h, i) + (ptrdiff_t)(j - p->kv_begin) * p->mask.stride[ATTN__D] * p->mask.size;
}
static char *attn__lse_at(const attn__problem *p, const attn__rows *rows, size_t h, size_t i)
{
    return p->lse.data + ((ptrdiff_t)rows->b * p->lse.stride[ATTN__H] + (ptrdiff_t)h * p->lse.stride[ATTN__S] + (ptrdiff_t)(rows->q_base + i) * p->lse.stride[ATTN__D]) * p->lse.size;
}
static double attn__slope_of(const attn__problem *p, const attn__rows *rows, size_t h)
{
    double x;
    attn__load_f64(&x, p->alibi.data + ((ptrdiff_t)rows->b * p->alibi.stride[ATTN__S] + (ptrdiff_t)h * p->alibi.stride[ATTN__D]) * p->alibi.size, p->alibi.dtype, 1, 1);
    return x;
}
static double attn__sink_of(const attn__problem *p, size_t h)
{
    double x;
    attn__load_f64(&x, p->sinks.data + (ptrdiff_t)h * p->sinks.stride[ATTN__D] * p->sinks.size, p->sinks.dtype, 1, 1);
    return x;
}

/* Where query i stands among the keys. */
static int64_t attn__position(const attn__problem *p, const attn__rows *rows, size_t i)
{
    int64_t offset = 0;
    if (p->desc->align == ATTN_ALIGN_LOWER_RIGHT) offset = (int64_t)rows->kv_total - (int64_t)rows->q_len;
    else if (p->desc->align == ATTN_ALIGN_OFFSET) offset = p->desc->q_offset;
    return (int64_t)i + offset;
}

/* The keys [*lo, *hi) that length, causality and window leave to query i. */
static void attn__visible(const attn__problem *p, const attn__rows *rows, size_t i, size_t *lo, size_t *hi)
{
    int64_t at, first = (int64_t)p->kv_begin, end = (int64_t)rows->kv_end;
    at = p->left >= 0 || p->right >= 0 ? attn__position(p, rows, i) : 0;
    if (p->left >= 0 && at >= 0 && at - p->left > first) first = at - p->left;
    if (p->right >= 0 && (at < 0 ? at + p->right < end - 1 : p->right < end - 1 - at)) end = at + p->right + 1;
    if (first >= end) first = end = (int64_t)p->kv_begin;
    *lo = (size_t)first;
    *hi = (size_t)end;
}

ATTN__INLINE int attn__zero(const char *at, ptrdiff_t size) /* +0 */
{
    uint64_t x = 0;
    attn__memcpy(&x, at, (size_t)size);
    return !x;
}
/* Does an element of a mask keep its key? */
static int attn__kept(const char *at, attn_dtype dtype)
{
    double value;
    if (dtype == ATTN_BOOL) return *at != 0;
    attn__load_f64(&value, at, dtype, 1, 1);
    return !(value <= -attn__infinity());
}
static int attn__keeps(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, size_t j)
{
    return !p->has_mask || attn__kept(attn__mask_at(p, rows, h, i, j), p->mask.dtype);
}
/* 8 bytes, wherever they lie, and how they differ from x: 0 if they do not */
ATTN__INLINE uint64_t attn__word(const char *at, uint64_t x)
{
    uint64_t w;
    attn__memcpy(&w, at, sizeof w);
    return w ^ x;
}
#define ATTN__X(i) | attn__word(at + 8 * i, x)
ATTN__INLINE int attn__line_is(const char *at, uint64_t x) { return !(0 ATTN__REPEAT_8(ATTN__X)); }
#undef ATTN__X
#define ATTN__X(i) & attn__word(at + 8 * i, 0)
ATTN__INLINE int attn__line_is_true(const char *at) { return (~(uint64_t)0 ATTN__REPEAT_8(ATTN__X)) == UINT64_C(0x0101010101010101); } /* in the usual way */
#undef ATTN__X
ATTN__INLINE int attn__word_is_true(const char *at)
{
    const uint64_t w = attn__word(at, 0);
    return !((w - UINT64_C(0x0101010101010101)) & ~w & UINT64_C(0x8080808080808080)); /* taken from 0, 1 borrows */
}

/* Of n bytes, those in front and those behind that are words x, and those in front
 * that are true; in whole words. */
ATTN__INLINE size_t attn__ahead(const char *at, size_t n, uint64_t x)
{
    size_t i = 0;
    for (; n - i >= 64 && attn__line_is(at + i, x); i += 64) ATTN__PREFETCH(at, i + 1024);
    for (; n - i >= 8 && !attn__word(at + i, x); i += 8) {}
    return i;
}
ATTN__INLINE size_t attn__behind(const char *at, size_t n, uint64_t x)
{
    const size_t all = n;
    for (; n >= 64 && attn__line_is(at + n - 64, x); n -= 64) {}
    for (; n >= 8 && !attn__word(at + n - 8, x); n -= 8) {}
    return all - n;
}
ATTN__INLINE size_t attn__true_ahead(const char *at, size_t n)
{
    size_t i = 0;
    for (; n - i >= 64 && attn__line_is_true(at + i); i += 64) ATTN__PREFETCH(at, i + 1024);
    for (; n - i >= 8 && attn__word_is_true(at + i); i += 8) {}
    return i;
}

/* Cuts keys [*lo, *hi) to what lies between the first and the last that the mask
 * leaves row i. 0: it leaves none, 1: some, 2: all from the first to the last, and
 * adds nothing to them. */
static int attn__mask_range(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, size_t *lo, size_t *hi)
{
    static const uint64_t dropped[] = {UINT64_C(0xff800000ff800000), UINT64_C(0xfff0000000000000), UINT64_C(0xfc00fc00fc00fc00), UINT64_C(0xff80ff80ff80ff80)};
    const attn_dtype dtype = p->mask.dtype;
    const int boolean = dtype == ATTN_BOOL;
    const ptrdiff_t step = p->mask.stride[ATTN__D] * p->mask.size;
    const size_t size = step == p->mask.size ? (size_t)step : 0; /* of an element, if it is next to the other */
    const char *at = attn__mask_at(p, rows, h, i, *lo), *end = attn__mask_at(p, rows, h, i, *hi);
    size_t from = *lo, to = *hi, n = (to - from) * size, skip = boolean ? attn__ahead(at, n, 0) : attn__ahead(at, n, dropped[dtype]);
    if (skip) from += skip / size, at += skip;
    for (; from < to && !attn__kept(at, dtype); at += step) from++;
    *lo = *hi = from;
    if (from == to) return 0;
    n = (to - from) * size;
    skip = boolean ? attn__behind(at, n, 0) : attn__behind(at, n, dropped[dtype]);
    if (skip) to -= skip / size, end -= skip;
    for (; !attn__kept(end - step, dtype); end -= step) to--;
    *hi = to;
    n = (to - from) * size;
    skip = boolean ? attn__true_ahead(at, n) : attn__ahead(at, n, 0);
    if (skip) from += skip / size, at += skip;
    for (; from < to; at += step) {
        if (boolean ? !*at : !attn__zero(at, p->mask.size)) return 1;
        from++;
    }
    return 2;
}

static void attn__load_queries(const attn__problem *p, const attn__rows *rows, attn__scratch *s)
{
    const attn__kernel *kernel = p->run.kernel;
    size_t r, c;
    for (r = 0; r < rows->count; r++) {
        const char *q = attn__query_at(&p->q, rows, attn__head_of(rows, r), attn__query_of(rows, r));
        for (c = 0; c < p->chunks; c++) {
            char *to = s->q + (c * p->rows + r) * ATTN__LD * kernel->size;
            size_t n = attn__min(p->dim - c * ATTN__BLOCK, ATTN__BLOCK);
            const char *from = q + (ptrdiff_t)(c * ATTN__BLOCK) * p->q.stride[ATTN__D] * p->q.size;
            const int as_is = p->q.dtype == kernel->dtype && p->q.stride[ATTN__D] == 1;
            if (!as_is) kernel->load(to, from, p->q.dtype, p->q.stride[ATTN__D], n);
            kernel->scale(to, as_is ? from : to, n, p->scale);
        }
    }
}

/* Rows [from, to) of keys or values, columns [c, c + n), contiguous in s->rows;
 * what is not there is 0. For pages, and where a part begins within a panel. */
static void attn__gather(const attn__problem *p, const attn__rows *rows, attn__scratch *s, const attn__view *v, size_t from, size_t to, size_t c, size_t n)
{
    const attn__kernel *kernel = p->run.kernel;
    char *row = s->rows;
    for (; from < to; from++, row += n * kernel->size) {
        if (from < p->kv_begin || from >= rows->kv_end) attn__memset(row, 0, n * kernel->size);
        else kernel->load(row, attn__key_at(p, v, rows, from) + (ptrdiff_t)c * v->stride[ATTN__D] * v->size, v->dtype, v->stride[ATTN__D], n);
    }
}

/* Packs keys [from, to), `from` a multiple of nr. */
static void attn__pack_keys(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t from, size_t to, size_t chunk)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t c = chunk * ATTN__BLOCK, n = attn__min(p->dim - c, ATTN__BLOCK);
    char *panels = s->k + (p->few ? 0 : c * p->keys * kernel->size);
    if (p->gather) {
        attn__gather(p, rows, s, &p->k, from, to, c, n);
        kernel->pack(panels, s->rows, kernel->dtype, to - from, n, (ptrdiff_t)n, 1);
    } else
        kernel->pack(panels, attn__key_at(p, &p->k, rows, from) + (ptrdiff_t)c * p->k.stride[ATTN__D] * p->k.size, p->k.dtype, to - from, n, p->k.stride[ATTN__S],
                     p->k.stride[ATTN__D]);
}

/* Packs columns [c, dim_v) of values [from, to). */
static void attn__pack_values(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t from, size_t to, size_t c)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t n = p->dim_v - c;
    if (p->gather) {
        attn__gather(p, rows, s, &p->v, from, to, c, n);
        kernel->pack(s->v, s->rows, kernel->dtype, n, to - from, 1, (ptrdiff_t)n);
    } else
        kernel->pack(s->v, attn__key_at(p, &p->v, rows, from) + (ptrdiff_t)c * p->v.stride[ATTN__D] * p->v.size, p->v.dtype, n, to - from, p->v.stride[ATTN__D],
                     p->v.stride[ATTN__S]);
}

/* Do rows [from, to) of keys or values lie there, at one distance, each contiguous? */
static int attn__in_place(const attn__problem *p, const attn__rows *rows, const attn__view *v, size_t from, size_t to)
{
    if (v->stride[ATTN__D] != 1 || from < p->kv_begin || to > rows->kv_end) return 0;
    return !p->has_pages || from / p->page_size == (to - 1) / p->page_size;
}

/* Is a number added to scores? A boolean mask is none. */
static int attn__adds(const attn__problem *p) { return p->has_alibi || (p->has_mask && p->mask.dtype != ATTN_BOOL); }

/* Scores of rows [r0, r1) with keys base + [from, to), from a multiple of nr, to
 * s->tile[row][key - base]. Keys from base + packed on were packed before, unless
 * the rows are few. */
static void attn__tile_scores(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r0, size_t r1, size_t base, size_t from, size_t to,
                              size_t packed)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, nr = kernel->nr, end = attn__min(to, rows->kv_end - base);
    /* softcap and bias go on to the end of a vector, from anywhere: up to 16 more, where nothing may trap */
    const int beyond = p->softcap > 0 || attn__adds(p);
    const size_t columns = beyond ? attn__round_up(end - from, nr / 2) : end - from;
    size_t r, c, j, next;
    for (r = 0; beyond && r < r1 - r0; r++) attn__memset(s->tile + (r * ATTN__LD + from + columns) * es, 0, 16 * es);
    for (c = 0; c < p->chunks; c++) {
        const size_t first = c * ATTN__BLOCK, depth = attn__min(p->dim - first, ATTN__BLOCK);
        const char *q = s->q + (c * p->rows + r0) * ATTN__LD * es;
        if (!p->few) {
            kernel->multiply(r1 - r0, columns, depth, q, s->k + (first * p->keys + (from - packed) * depth) * es, nr, depth * nr,
                             s->tile + from * es, ATTN__LD, c != 0);
            continue;
        }
        for (j = from; j < end; j = next) {
            char *scores = s->tile + j * es;
            const int in_place = attn__in_place(p, rows, &p->k, base + j, base + end);
            next = in_place ? end : attn__min(j + nr, end);
            if (in_place || attn__in_place(p, rows, &p->k, base + j, base + next))
                kernel->score(r1 - r0, next - j, depth, q, attn__key_at(p, &p->k, rows, base + j) + (ptrdiff_t)first * p->k.size, p->k.dtype, p->k.stride[ATTN__S], scores,
                              c != 0);
            else {
                attn__pack_keys(p, rows, s, base + j, base + next, c);
                kernel->multiply(r1 - r0, next - j, depth, q, s->k, nr, 0, scores, ATTN__LD, c != 0);
            }
        }
    }
}

/* acc (+)= weights of a tile * values base + [from, to). Columns [0, whole) are
 * where they lie, the others are packed, from base + packed to base + packed_end.
 * `exact`: one row, and only values that it sees. */
static void attn__add_values(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t height, size_t base, size_t from, size_t to, size_t whole,
                             size_t packed, size_t packed_end, char *acc, int accumulate, int exact)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, nr = kernel->nr, width = p->width, stride = (packed_end - packed) * nr;
    const size_t each = exact ? 1 : to - from;
    for (; from < to; from += each) {
        const char *weights = s->tile + from * es;
        if (exact && !attn__keeps(p, rows, attn__head_of(rows, 0), attn__query_of(rows, 0), base + from)) continue;
        if (whole && p->few)
            kernel->weigh(height, whole, each, weights, attn__key_at(p, &p->v, rows, base + from), p->v.dtype, (size_t)p->v.stride[ATTN__S], acc, width, accumulate);
        else if (whole)
            kernel->multiply(height, whole, each, weights, attn__key_at(p, &p->v, rows, base + from), (size_t)p->v.stride[ATTN__S], nr, acc, width, accumulate);
        if (whole < width) kernel->multiply(height, width - whole, each, weights, s->v + (from - packed) * nr * es, nr, stride, acc + whole * es, width, accumulate);
    }
}

/* ALiBi and mask on a row's scores of keys base + [lo, hi): MASKED where the mask
 * drops the key. `kept` is 2 if it drops none and adds 0: left out, that leaves a
 * score -0, whose weight is that of 0. */
static void attn__bias_row(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t h, size_t i, char *row, size_t base, size_t lo, size_t hi, int kept)
{
    const attn__kernel *kernel = p->run.kernel;
    const char *mask = p->has_mask ? attn__mask_at(p, rows, h, i, base + lo) : NULL;
    const int boolean = mask && p->mask.dtype == ATTN_BOOL, additive = mask && !boolean && kept < 2;
    char *bias = s->bias + lo * kernel->size;
    row += lo * kernel->size;
    if (p->has_alibi || additive) {
        if (additive) kernel->load(bias, mask, p->mask.dtype, p->mask.stride[ATTN__D], hi - lo);
        else attn__memset(bias, 0, (hi - lo) * kernel->size);
        attn__memset(bias + (hi - lo) * kernel->size, 0, 16 * kernel->size); /* comparing what a vector has beyond must not trap */
        if (p->has_alibi) kernel->alibi(bias, hi - lo, attn__position(p, rows, i) - (int64_t)(base + lo), attn__slope_of(p, rows, h));
        kernel->bias(row, bias, hi - lo);
    }
    if (boolean && kept < 2) kernel->mask(row, mask, p->mask.stride[ATTN__D], hi - lo);
}

/* The keys that row r sees within the block at base, cut to [from, to); returns as
 * attn__mask_range does. */
static int attn__row_range(const attn__problem *p, const attn__rows *rows, const attn__scratch *s, size_t r, size_t base, size_t from, size_t to, size_t *lo, size_t *hi)
{
    int kept = 2;
    from += base;
    to += base;
    *lo = s->row[r].lo > from ? s->row[r].lo : from;
    *hi = attn__min(s->row[r].hi, to);
    if (*lo >= *hi) *lo = *hi = from, kept = 0;
    else if (p->has_mask) kept = attn__mask_range(p, rows, attn__head_of(rows, r), attn__query_of(rows, r), lo, hi);
    *lo -= base;
    *hi -= base;
    return kept;
}

/* Sets what rows see of blocks from `block` on, up to the next multiple of ATTN__SEEN:
 * a row of a mask is read in one go. */
static void attn__look_ahead(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t block, size_t end)
{
    attn__looked *looked = s->looked;
    size_t r, lo, hi;
    if (p->one_mask && looked->count == rows->count && looked->b == rows->b && looked->query == rows->query && looked->block == block && looked->end == end) return;
    looked->b = rows->b;
    looked->query = rows->query;
    looked->count = rows->count;
    looked->block = block;
    looked->end = end;
    for (r = 0; r < rows->count; r++) {
        const int again = p->one_mask && r % rows->heads; /* as the row before: the same query */
        size_t b = block;
        do {
            const size_t base = b * ATTN__BLOCK;
            attn__seen *seen = s->seen + b % ATTN__SEEN * p->rows + r;
            if (again) {
                *seen = seen[-1];
                continue;
            }
            seen->kept = (unsigned short)attn__row_range(p, rows, s, r, base, 0, ATTN__BLOCK, &lo, &hi);
            seen->lo = (unsigned short)lo;
            seen->hi = (unsigned short)hi;
        } while (++b % ATTN__SEEN && b * ATTN__BLOCK < end);
    }
}

/* Softcap, bias and exp for one row of a tile: scores of keys base + [from, to)
 * become weights relative to the row's maximum in this block. */
static int attn__row_softmax(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r, const attn__seen *seen, char *row, size_t base, size_t from, size_t to,
                             double *max, double *sum)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t h = attn__head_of(rows, r), i = attn__query_of(rows, r);
    const size_t lo = seen->lo, hi = seen->kept ? seen->hi : lo;
    if (lo < hi) {
        if (p->softcap > 0) kernel->softcap(row + lo * kernel->size, hi - lo, p->softcap);
        if (p->has_mask || p->has_alibi) attn__bias_row(p, rows, s, h, i, row, base, lo, hi, seen->kept);
    }
    return kernel->softmax(row, row, from, lo, hi, to, max, sum);
}

/* Level of the smallest subtree of blocks that holds both. */
static int attn__level(size_t a, size_t b)
{
    size_t x = a ^ b;
    int level = 0;
    while (x) x >>= 1, level++;
    return level;
}

static void attn__join_slots(const attn__problem *p, size_t count, attn__scratch *s, size_t a)
{
    const size_t b = a + 1, stride = p->rows * p->width * p->run.kernel->size;
    p->run.kernel->join(count, p->width, s->acc + a * stride, s->max + a * p->rows, s->sum + a * p->rows, s->acc + b * stride, s->max + b * p->rows,
                        s->sum + b * p->rows);
    s->last[a] = s->last[b];
}

/* Makes room for the state of `block` on the stack: joins what will not meet it
 * before meeting each other. Returns its slot. */
static size_t attn__push(const attn__problem *p, size_t count, attn__scratch *s, size_t *depth, size_t block)
{
    while (*depth >= 2 && attn__level(s->last[*depth - 2], s->last[*depth - 1]) < attn__level(s->last[*depth - 1], block)) attn__join_slots(p, count, s, --*depth - 1);
    s->last[*depth] = block;
    return (*depth)++;
}

/* The states of all rows over their visible keys in [key_lo, key_hi), in slot 0.
 *
 * Each block of 512 keys gives a state (max, sum of exp(score - max), sum of
 * weight * v), whatever the other blocks hold. States are joined along the
 * binary tree over block numbers; empty ones are its identity. So any range of
 * blocks can be computed by anybody, at any time, and skipping is free.
 *
 * `exact`: values of keys that a row does not see are not even multiplied by 0. */
static void attn__states(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t key_lo, size_t key_hi, int exact)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, width = p->width, count = rows->count, tiles = (count + kernel->mr - 1) / kernel->mr;
    /* columns of v that may be used where they are: for few rows, or if its rows are next
     * to each other and a panel takes more than a line of each */
    const size_t in_place = (p->few || p->v.dtype == kernel->dtype) && p->v.stride[ATTN__S] >= 0 ? p->dim_v / kernel->nr * kernel->nr : 0;
    const size_t whole = !p->gather && !p->few && p->v.stride[ATTN__D] == 1 && (size_t)p->v.stride[ATTN__S] <= p->dim_v && kernel->nr * es >= 128 ? in_place : 0;
    size_t block, r, t, c, depth = 0, all_lo = (size_t)-1, all_hi = 0;

    for (r = 0; r < count; r++) {
        attn__row *row = s->row + r;
        attn__visible(p, rows, attn__query_of(rows, r), &row->lo, &row->hi);
        if (row->lo < key_lo) row->lo = key_lo;
        if (row->hi > key_hi) row->hi = key_hi;
        if (row->lo < row->hi) {
            if (row->lo < all_lo) all_lo = row->lo;
            if (row->hi > all_hi) all_hi = row->hi;
        } else row->hi = row->lo;
        row->odd = 0;
        s->max[r] = -attn__infinity();
        s->sum[r] = 0;
    }
    attn__load_queries(p, rows, s);

    for (block = all_lo / ATTN__BLOCK; block * ATTN__BLOCK < all_hi; block++) {
        const size_t base = block * ATTN__BLOCK;
        const attn__seen *seen = s->seen + block % ATTN__SEEN * p->rows;
        size_t slot, packed, lo = ATTN__BLOCK, hi = 0; /* packed: the first key that is */
        char *acc;
        double *max, *sum;
        if (block == all_lo / ATTN__BLOCK || block % ATTN__SEEN == 0) attn__look_ahead(p, rows, s, block, all_hi);
        for (r = 0; r < count; r++)
            if (seen[r].kept) lo = attn__min(lo, seen[r].lo), hi = seen[r].hi > hi ? seen[r].hi : hi;
        if (lo >= hi) continue;
        packed = lo / kernel->step * kernel->step;
        slot = attn__push(p, count, s, &depth, block);
        acc = s->acc + slot * p->rows * width * es;
        max = s->max + slot * p->rows;
        sum = s->sum + slot * p->rows;

        if (!p->few) {
            for (c = 0; c < p->chunks; c++) attn__pack_keys(p, rows, s, base + packed, attn__min(base + attn__round_up(hi, kernel->step), rows->kv_end), c);
            if (whole < p->dim_v) attn__pack_values(p, rows, s, base + lo, base + hi, whole);
        }

        for (t = 0; t < tiles; t++) { /* of balanced heights: no nearly empty last one */
            const size_t r0 = count * t / tiles, r1 = count * (t + 1) / tiles;
            size_t tile_lo = ATTN__BLOCK, tile_hi = 0, from, to;
            char *tile_acc = acc + r0 * width * es;
            int accumulate = exact;
            for (r = r0; r < r1; r++) {
                max[r] = -attn__infinity();
                sum[r] = 0;
                if (!seen[r].kept) continue;
                tile_lo = attn__min(tile_lo, seen[r].lo);
                if (seen[r].hi > tile_hi) tile_hi = seen[r].hi;
            }
            if (tile_lo >= tile_hi) continue;
            from = tile_lo / kernel->step * kernel->step;
            to = attn__round_up(tile_hi, kernel->step);
            attn__tile_scores(p, rows, s, r0, r1, base, from, to, packed);
            for (r = r0; r < r1; r++) {
                char *row = s->tile + (r - r0) * ATTN__LD * es;
                if (attn__row_softmax(p, rows, s, r, &seen[r], row, base, from, to, &max[r], &sum[r])) {
                    s->row[r].odd = 1;
                    max[r] = -attn__infinity();
                    sum[r] = 0;
                    attn__memset(row + from * es, 0, (to - from) * es);
                }
            }
            if (exact) attn__memset(tile_acc, 0, width * es);
            if (p->few) /* a piece at a time: it comes in order, and stays in the nearest cache */
                for (; tile_lo < tile_hi; tile_lo = from) {
                    size_t columns = in_place;
                    from = attn__min((tile_lo / kernel->step + 1) * kernel->step, tile_hi);
                    if (!attn__in_place(p, rows, &p->v, base + tile_lo, base + from)) columns = 0;
                    if (columns < p->dim_v) attn__pack_values(p, rows, s, base + tile_lo, base + from, columns);
                    attn__add_values(p, rows, s, r1 - r0, base, tile_lo, from, columns, tile_lo, from, tile_acc, accumulate, exact);
                    accumulate = 1;
                }
            else attn__add_values(p, rows, s, r1 - r0, base, tile_lo, tile_hi, whole, lo, hi, tile_acc, accumulate, exact);
        }
    }
    while (depth >= 2) attn__join_slots(p, count, s, --depth - 1);
}

static void attn__store_one(const attn__view *view, char *at, double x) { attn__put(at, view->dtype, x); }

/* From the state of row r in slot 0 to its output: divides, writes, and sets
 * what the weights need. Returns 1, with what it would be in acc, if it is not finite. */
static int attn__finish_row(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t h = attn__head_of(rows, r), i = attn__query_of(rows, r);
    char *acc = s->acc + r * p->width * kernel->size, *out = attn__query_at(&p->out, rows, h, i);
    const int as_is = p->out.dtype == kernel->dtype && p->out.stride[ATTN__D] == 1;
    double max = s->max[r], sum = s->sum[r], factor = 0, lse = max;
    const int empty = max <= -attn__infinity();
    if (p->has_sinks && !empty) { /* one more logit below the line */
        const double sink = attn__sink_of(p, h);
        if (!(sink < attn__infinity())) factor = attn__from_bits_f64(0x7ff8000000000000u), lse = sink; /* NaN, or infinity minus itself */
        else if (sink <= max) sum += attn__exp_f64(sink - max), factor = 1 / sum;
        else {
            double small = attn__exp_f64(max - sink);
            sum = attn__madd_f64(sum, small, 1);
            factor = small / sum;
            lse = sink;
        }
    } else if (!empty) factor = 1 / sum;
    s->row[r].factor = factor;
    s->row[r].max = max;
    if (p->has_lse) {
        if (!empty) lse += attn__finite_f64(sum) ? attn__log_f64(sum) : sum;
        attn__store_one(&p->lse, attn__lse_at(p, rows, h, i), lse);
    }
    if (empty) attn__memset(acc, 0, p->width * kernel->size);
    else if (kernel->scale(as_is ? out : acc, acc, p->dim_v, factor) || attn__nan_f64(factor)) { /* also where there are no values */
        if (as_is) attn__memcpy(acc, out, p->dim_v * kernel->size);
        return 1;
    }
    if (empty || !as_is) kernel->store(out, p->out.dtype, p->out.stride[ATTN__D], acc, p->dim_v);
    return 0;
}

/* ------------------------------------------- attention: wide arithmetic -- */

static attn__wide attn__widen(double x)
{
    attn__wide w;
    w.m = x;
    w.e = 0;
    if (attn__finite_f64(x)) w.m = attn__split(x, &w.e);
    return w;
}
static double attn__narrow(attn__wide w) { return attn__finite_f64(w.m) ? attn__scale2(w.m, w.e) : w.m; }
static attn__wide attn__wide_mul(attn__wide a, attn__wide b)
{
    attn__wide w = attn__widen(a.m * b.m);
    if (attn__finite_f64(w.m)) w.e += a.e + b.e;
    return w;
}
static attn__wide attn__wide_add(attn__wide a, attn__wide b)
{
    attn__wide w;
    if (!attn__finite_f64(a.m) || !attn__finite_f64(b.m)) return attn__widen(a.m + b.m);
    if (!(a.m < 0 || a.m > 0)) {
        b.m += a.m; /* +0 and -0 are +0 */
        return b;
    }
    if (!(b.m < 0 || b.m > 0)) return a;
    if (a.e < b.e) {
        w = a;
        a = b;
        b = w;
    }
    if (a.e - b.e > 200) return a;
    w = attn__widen(a.m + attn__scale2(b.m, b.e - a.e)); /* scaling is exact here */
    w.e += a.e;
    return w;
}
static attn__wide attn__wide_sub(attn__wide a, attn__wide b)
{
    b.m = -b.m;
    return attn__wide_add(a, b);
}

/* The score of one key at a stage. q and k are read again, unscaled. */
static attn__wide attn__wide_score(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, size_t j, attn_stage stage)
{
    const char *q = attn__query_at(&p->q, rows, h, i), *k = attn__key_at(p, &p->k, rows, j);
    attn__wide score = {0, 0};
    double x, y;
    size_t c;
    for (c = 0; c < p->dim; c++) {
        attn__load_f64(&x, q + (ptrdiff_t)c * p->q.stride[ATTN__D] * p->q.size, p->q.dtype, 1, 1);
        attn__load_f64(&y, k + (ptrdiff_t)c * p->k.stride[ATTN__D] * p->k.size, p->k.dtype, 1, 1);
        score = attn__wide_add(score, attn__wide_mul(attn__widen(x), attn__widen(y)));
    }
    score = attn__wide_mul(score, attn__widen(p->scale));
    score.m += 0; /* +0 where the terms cancel, as in the chain */
    if (stage == ATTN_STAGE_RAW) return score;
    if (p->softcap > 0) {
        const attn__wide cap = attn__widen(p->softcap);
        attn__wide inverse = attn__widen(1 / cap.m);
        inverse.e -= cap.e;
        x = attn__tanh_f64(attn__narrow(attn__wide_mul(score, inverse)));
        score = attn__wide_mul(attn__widen(x), attn__widen(p->softcap));
    }
    if (stage == ATTN_STAGE_SOFTCAPPED) return score;
    if (p->has_alibi) {
        int64_t distance = attn__position(p, rows, i) - (int64_t)j;
        if (distance > 0) distance = -distance;
        score = attn__wide_add(score, attn__wide_mul(attn__widen(attn__slope_of(p, rows, h)), attn__widen((double)distance)));
    }
    if (p->has_mask && p->mask.dtype != ATTN_BOOL) {
        attn__load_f64(&x, attn__mask_at(p, rows, h, i, j), p->mask.dtype, 1, 1);
        score = attn__wide_add(score, attn__widen(x));
    }
    return score;
}

/* The place of a score, NULL if it is not asked for. */
static char *attn__score_at(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, size_t j)
{
    const size_t head = h - p->desc->scores_head, query = i - p->desc->scores_query;
    if (!p->has_scores || head >= p->scores.shape[ATTN__H] || query >= p->scores.shape[ATTN__S]) return NULL;
    return attn__at(&p->scores, rows->b, head, query) + (ptrdiff_t)(j - p->kv_begin) * p->scores.stride[ATTN__D] * p->scores.size;
}
static void attn__add_column(const attn__problem *p, const attn__rows *rows, size_t h, size_t j, double weight)
{
    char *at = attn__at(&p->colsum, 0, rows->b, h) + (ptrdiff_t)(j - p->kv_begin) * p->colsum.stride[ATTN__D] * p->colsum.size;
    if (p->colsum.dtype == ATTN_F64) *(double *)(void *)at += weight;
    else *(float *)(void *)at += (float)weight;
}

/* sum + rest += x, the rounding of the sum kept in the rest (Knuth's two-sum). */
static void attn__add_exactly(double *sum, double *rest, double x)
{
    const double s = *sum + x, t = s - *sum;
    *rest += (*sum - (s - t)) + (x - t);
    *sum = s;
}

/* Passes 1 and 2 over the keys that row r sees in [key_lo, key_hi). */
static attn__wide_sum attn__wide_row_sum(const attn__problem *p, const attn__rows *rows, size_t r, size_t key_lo, size_t key_hi, int sinks)
{
    const size_t h = attn__head_of(rows, r), i = attn__query_of(rows, r);
    attn__wide_sum w;
    attn__wide sink = {0, 0};
    double rest = 0;
    size_t j;
    attn__memset(&w, 0, sizeof w);
    attn__visible(p, rows, i, &w.lo, &w.hi);
    if (w.lo < key_lo) w.lo = key_lo;
    if (w.hi > key_hi) w.hi = key_hi;
    w.first = w.hi;
    for (j = w.lo; j < w.hi; j++) {
        attn__wide score;
        if (!attn__keeps(p, rows, h, i, j)) continue;
        score = attn__wide_score(p, rows, h, i, j, ATTN_STAGE_BIASED);
        if (attn__nan_f64(score.m)) w.nan = 1;
        if (w.first == w.hi) w.first = j, w.max = score;
        else if (attn__narrow(attn__wide_sub(score, w.max)) > 0) w.max = score;
    }
    if (sinks) {
        sink = attn__widen(attn__sink_of(p, h));
        if (attn__nan_f64(sink.m)) w.nan = 1;
        if (attn__narrow(attn__wide_sub(sink, w.max)) > 0) w.max = sink;
        if (attn__finite_f64(w.max.m)) w.sum = attn__exp_f64(attn__narrow(attn__wide_sub(sink, w.max)));
    }
    w.lse = w.nan ? attn__infinity() - attn__infinity() : w.max.m;
    if (!attn__finite_f64(w.max.m)) w.nan = 1; /* infinity minus itself */
    if (w.nan) return w;
    for (j = w.first; j < w.hi; j++)
        if (attn__keeps(p, rows, h, i, j))
            attn__add_exactly(&w.sum, &rest, attn__exp_f64(attn__narrow(attn__wide_sub(attn__wide_score(p, rows, h, i, j, ATTN_STAGE_BIASED), w.max))));
    w.sum += rest;
    w.lse = attn__narrow(attn__wide_add(w.max, attn__widen(attn__log_f64(w.sum))));
    w.lse = attn__saturate(w.lse, p->run.kernel->dtype); /* the largest score is finite here */
    return w;
}

/* The weight of key j, which the row sees. */
static double attn__wide_weight(const attn__problem *p, const attn__rows *rows, size_t r, size_t j, const attn__wide_sum *w)
{
    if (w->nan) return attn__infinity() - attn__infinity();
    return attn__exp_f64(attn__narrow(attn__wide_sub(attn__wide_score(p, rows, attn__head_of(rows, r), attn__query_of(rows, r), j, ATTN_STAGE_BIASED), w->max))) / w->sum;
}

/* Pass 3, to s->wide: the weighted sum, and the hull of the values, from which
 * only rounding could have led out. */
static void attn__wide_row(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r, const attn__wide_sum *w, int sinks)
{
    const size_t h = attn__head_of(rows, r), i = attn__query_of(rows, r), n = p->dim_v;
    double *acc = s->wide, *low = acc + n, *high = low + n, x;
    size_t j, c;
    for (c = 0; c < n; c++) acc[c] = low[c] = high[c] = 0;
    for (j = w->first; j < w->hi; j++) {
        double weight;
        if (!attn__keeps(p, rows, h, i, j)) continue;
        weight = attn__wide_weight(p, rows, r, j, w);
        for (c = 0; c < n; c++) {
            attn__load_f64(&x, attn__key_at(p, &p->v, rows, j) + (ptrdiff_t)c * p->v.stride[ATTN__D] * p->v.size, p->v.dtype, 1, 1);
            acc[c] = attn__fma_f64(weight, x * 0.5, acc[c]); /* halves: the sum may round up */
            if (j == w->first && !sinks) low[c] = high[c] = x;
            if (x < low[c]) low[c] = x;
            if (x > high[c]) high[c] = x;
        }
    }
    for (c = 0; c < n; c++) {
        acc[c] *= 2;
        if (acc[c] < low[c]) acc[c] = low[c];
        if (acc[c] > high[c]) acc[c] = high[c];
    }
}

/* -------------------------------------------------- attention: the tasks -- */

/* Writes row[begin..end) of a tile to the score matrix, `rest` from there to n. */
static void attn__store_scores(const attn__problem *p, char *at, char *row, size_t begin, size_t end, size_t n, double rest)
{
    const attn__kernel *kernel = p->run.kernel;
    const ptrdiff_t step = p->scores.stride[ATTN__D] * p->scores.size;
    size_t j;
    for (j = begin; j < end; j++) { /* which NaN an operation gives is up to the machine */
        double x;
        attn__load_f64(&x, row + j * kernel->size, kernel->dtype, 1, 1);
        if (attn__nan_f64(x)) attn__put(row + j * kernel->size, kernel->dtype, x);
    }
    kernel->store(at, p->scores.dtype, p->scores.stride[ATTN__D], row + begin * kernel->size, end - begin);
    for (; end < n; end++) attn__store_one(&p->scores, at + (ptrdiff_t)(end - begin) * step, rest);
}

/* The same for a row in wide arithmetic: its scores at the stage wanted, where it
 * sees the key, and its weights. */
static void attn__wide_scores(const attn__problem *p, const attn__rows *rows, const attn__scratch *s, size_t r, char *row, size_t base, size_t begin, size_t end)
{
    const size_t h = attn__head_of(rows, r), i = attn__query_of(rows, r), es = p->run.kernel->size;
    for (; begin < end; begin++)
        if (base + begin >= s->row[r].lo && base + begin < s->row[r].hi && attn__keeps(p, rows, h, i, base + begin))
            attn__put(row + begin * es, p->run.kernel->dtype, attn__narrow(attn__wide_score(p, rows, h, i, base + begin, p->desc->stage)));
}
static void attn__wide_weights(const attn__problem *p, const attn__rows *rows, const attn__scratch *s, size_t r, char *row, size_t base, size_t begin, size_t end)
{
    const size_t h = attn__head_of(rows, r), i = attn__query_of(rows, r), es = p->run.kernel->size;
    for (; begin < end; begin++) {
        const int sees = base + begin >= s->row[r].lo && base + begin < s->row[r].hi && attn__keeps(p, rows, h, i, base + begin);
        attn__put(row + begin * es, p->run.kernel->dtype, sees ? attn__wide_weight(p, rows, r, base + begin, &s->row[r].sums) : 0);
    }
}

/* The score matrix at a stage and the column sums, a tile at a time: scores are
 * computed again by the same code, so the weights are the very ones in use. */
static void attn__sweep(const attn__problem *p, const attn__rows *rows, attn__scratch *s)
{
    const attn__kernel *kernel = p->run.kernel;
    const double infinite = -attn__infinity();
    const size_t es = kernel->size, tiles = (rows->count + kernel->mr - 1) / kernel->mr, array_end = p->kv_begin + p->kv_len;
    const attn_stage stage = p->desc->stage;
    size_t base, t, r, c, j;

    for (r = 0; r < rows->count; r++) attn__visible(p, rows, attn__query_of(rows, r), &s->row[r].lo, &s->row[r].hi);
    attn__load_queries(p, rows, s);
    for (base = p->kv_begin / ATTN__BLOCK * ATTN__BLOCK; base < array_end; base += ATTN__BLOCK) {
        const size_t begin = p->kv_begin > base ? p->kv_begin - base : 0, n = attn__min(array_end - base, ATTN__BLOCK); /* in the arrays ... */
        const size_t end = rows->kv_end > base + begin ? attn__min(rows->kv_end - base, n) : begin; /* ... and within the length */
        const size_t from = begin / kernel->step * kernel->step, to = attn__round_up(end, kernel->step);
        if (!p->few && begin < end)
            for (c = 0; c < p->chunks; c++) attn__pack_keys(p, rows, s, base + from, base + end, c);
        for (t = 0; t < tiles; t++) {
            const size_t r0 = rows->count * t / tiles, r1 = rows->count * (t + 1) / tiles;
            if (begin < end) attn__tile_scores(p, rows, s, r0, r1, base, from, to, from);
            for (r = r0; r < r1; r++) {
                const size_t h = attn__head_of(rows, r), i = attn__query_of(rows, r);
                char *row = s->tile + (r - r0) * ATTN__LD * es, *at = attn__score_at(p, rows, h, i, base + begin);
                double max, sum, x;
                size_t lo, hi;
                int kept;
                kept = attn__row_range(p, rows, s, r, base, begin, end, &lo, &hi);
                if (s->row[r].redo == ATTN__REDO_WIDE && stage != ATTN_STAGE_PROBS) attn__wide_scores(p, rows, s, r, row, base, begin, end);
                if (at && stage == ATTN_STAGE_RAW) attn__store_scores(p, at, row, begin, end, n, infinite);
                if (p->softcap > 0 && s->row[r].redo != ATTN__REDO_WIDE) kernel->softcap(row + begin * es, end - begin, p->softcap);
                if (at && stage == ATTN_STAGE_SOFTCAPPED) attn__store_scores(p, at, row, begin, end, n, infinite);
                if (lo < hi && s->row[r].redo != ATTN__REDO_WIDE) attn__bias_row(p, rows, s, h, i, row, base, lo, hi, stage == ATTN_STAGE_BIASED ? 1 : kept);
                if (at && stage == ATTN_STAGE_BIASED) {
                    attn__store_scores(p, at, row, begin, hi, n, infinite);
                    for (j = begin; j < hi; j++)
                        if (j < lo || !attn__keeps(p, rows, h, i, base + j)) attn__store_one(&p->scores, attn__score_at(p, rows, h, i, base + j), infinite);
                }
                if (!p->has_colsum && (!at || stage != ATTN_STAGE_PROBS)) continue;
                if (!kept) hi = lo;
                if (s->row[r].redo == ATTN__REDO_WIDE) attn__wide_weights(p, rows, s, r, row, base, begin, end);
                else if (kernel->softmax(row, row, from, lo, hi, to, &max, &sum)) attn__memset(row + from * es, 0, (to - from) * es); /* cannot be: the row was fine */
                else if (lo < hi) kernel->scale(row + from * es, row + from * es, to - from, kernel->exp(max, s->row[r].max) * s->row[r].factor);
                if (at && stage == ATTN_STAGE_PROBS) attn__store_scores(p, at, row, begin, end, n, 0);
                if (p->has_colsum)
                    for (j = begin; j < end; j++) {
                        attn__load_f64(&x, row + j * es, kernel->dtype, 1, 1);
                        attn__add_column(p, rows, h, base + j, x);
                    }
            }
        }
    }
}

/* Rows whose fast result cannot stand, one by one. The second try leaves out what
 * a row does not see, and so gives the bits it would have had without it; the
 * third is wide. Both depend on nothing but what the row sees. */
static void attn__redo(const attn__problem *p, const attn__rows *rows, attn__scratch *s)
{
    const double factor = s->row[0].factor, row_max = s->row[0].max;
    size_t r;
    for (r = rows->count; r-- > 0;) { /* the last one to use the place of row 0 is row 0 */
        attn__rows one = *rows;
        if (s->row[r].redo != ATTN__REDO_EXACT) continue;
        one.head = attn__head_of(rows, r);
        one.heads = 1;
        one.query = attn__query_of(rows, r);
        one.count = 1;
        attn__states(p, &one, s, 0, (size_t)-1, 1);
        if (attn__finish_row(p, &one, s, 0)) s->row[r].redo = ATTN__REDO_WIDE;
        s->row[r].factor = s->row[0].factor;
        s->row[r].max = s->row[0].max;
    }
    if (s->row[0].redo != ATTN__REDO_EXACT) {
        s->row[0].factor = factor;
        s->row[0].max = row_max;
    }
}

/* From the states in slot 0 to all outputs. */
static void attn__finish(const attn__problem *p, const attn__rows *rows, attn__scratch *s)
{
    size_t r, c;
    int any = 0;
    for (r = 0; r < rows->count; r++) {
        s->row[r].redo = s->row[r].odd ? ATTN__REDO_WIDE : attn__finish_row(p, rows, s, r) ? ATTN__REDO_EXACT : 0;
        any |= s->row[r].redo;
    }
    if (any) attn__redo(p, rows, s);
    for (r = 0; any && r < rows->count; r++) {
        const size_t h = attn__head_of(rows, r), i = attn__query_of(rows, r);
        if (s->row[r].redo != ATTN__REDO_WIDE) continue;
        s->row[r].sums = attn__wide_row_sum(p, rows, r, 0, (size_t)-1, p->has_sinks);
        attn__wide_row(p, rows, s, r, &s->row[r].sums, p->has_sinks);
        for (c = 0; c < p->dim_v; c++)
            attn__store_one(&p->out, attn__query_at(&p->out, rows, h, i) + (ptrdiff_t)c * p->out.stride[ATTN__D] * p->out.size, s->wide[c]);
        if (p->has_lse) attn__store_one(&p->lse, attn__lse_at(p, rows, h, i), s->row[r].sums.lse);
    }
    if (p->has_scores || p->has_colsum) attn__sweep(p, rows, s);
}

static void attn__scratch_of(const attn__problem *p, size_t worker, attn__scratch *s)
{
    const attn__layout *l = &p->layout;
    char *base = p->run.workspace + worker * p->run.each;
    s->looked = (attn__looked *)(void *)base;
    s->q = base + l->q;
    s->k = base + l->k;
    s->v = base + l->v;
    s->rows = base + l->rows;
    s->tile = base + l->tile;
    s->bias = base + l->bias;
    s->acc = base + l->acc;
    s->max = (double *)(void *)(base + l->max);
    s->sum = (double *)(void *)(base + l->sum);
    s->row = (attn__row *)(void *)(base + l->row);
    s->seen = (attn__seen *)(void *)(base + l->seen);
    s->wide = (double *)(void *)(base + l->wide);
}

static void attn__task(void *arg, size_t index, size_t worker)
{
    const attn__problem *p = (const attn__problem *)arg;
    attn__scratch s;
    attn__rows rows;
    size_t j;

    attn__scratch_of(p, worker, &s);
    if (!p->has_colsum) {
        rows = attn__rows_of(p, index);
        if (!rows.count) return;
        attn__states(p, &rows, &s, 0, (size_t)-1, 0);
        attn__finish(p, &rows, &s);
        return;
    }
    /* Column sums add up over queries in order: one task for all of them. */
    for (j = 0; j < p->query_blocks; j++) {
        rows = attn__rows_of(p, index * p->query_blocks + j);
        attn__states(p, &rows, &s, 0, (size_t)-1, 0);
        attn__finish(p, &rows, &s);
    }
}

/* Few rows and many keys: parts of whole subtrees of blocks are tasks of their
 * own, and joined in a second round. */
typedef struct attn__part {
    char *acc;
    double *max, *sum;
    unsigned char *odd;
} attn__part;
static size_t attn__part_layout(const attn__problem *p, size_t es, char *base, attn__part *part)
{
    attn__arena arena = {NULL, 0, 0, 0};
    arena.base = base;
    part->acc = (char *)attn__take(&arena, p->rows * p->width, es);
    part->max = (double *)attn__take(&arena, p->rows, sizeof(double));
    part->sum = (double *)attn__take(&arena, p->rows, sizeof(double));
    part->odd = (unsigned char *)attn__take(&arena, p->rows, 1);
    return arena.used;
}

static void attn__part_task(void *arg, size_t index, size_t worker)
{
    const attn__problem *p = (const attn__problem *)arg;
    const size_t es = p->run.kernel->size, keys = p->part_blocks * ATTN__BLOCK, number = p->first_part + index % p->parts;
    const attn__rows rows = attn__rows_of(p, index / p->parts);
    attn__scratch s;
    attn__part part;
    size_t r;
    attn__scratch_of(p, worker, &s);
    attn__part_layout(p, es, p->part_states + index * p->part_bytes, &part);
    attn__states(p, &rows, &s, number * keys, (number + 1) * keys, 0);
    attn__memcpy(part.acc, s.acc, rows.count * p->width * es);
    attn__memcpy(part.max, s.max, rows.count * sizeof *s.max);
    attn__memcpy(part.sum, s.sum, rows.count * sizeof *s.sum);
    for (r = 0; r < rows.count; r++) part.odd[r] = s.row[r].odd;
}

static void attn__join_task(void *arg, size_t index, size_t worker)
{
    const attn__problem *p = (const attn__problem *)arg;
    const size_t es = p->run.kernel->size;
    const attn__rows rows = attn__rows_of(p, index);
    attn__scratch s;
    size_t number, r, depth = 0;
    attn__scratch_of(p, worker, &s);
    if (!rows.count) return;
    for (r = 0; r < rows.count; r++) s.row[r].odd = 0;
    for (number = 0; number < p->parts; number++) {
        const size_t slot = attn__push(p, rows.count, &s, &depth, p->first_part + number);
        attn__part part;
        attn__part_layout(p, es, p->part_states + (index * p->parts + number) * p->part_bytes, &part);
        attn__memcpy(s.acc + slot * p->rows * p->width * es, part.acc, rows.count * p->width * es);
        attn__memcpy(s.max + slot * p->rows, part.max, rows.count * sizeof *s.max);
        attn__memcpy(s.sum + slot * p->rows, part.sum, rows.count * sizeof *s.sum);
        for (r = 0; r < rows.count; r++) s.row[r].odd |= part.odd[r];
    }
    while (depth >= 2) attn__join_slots(p, rows.count, &s, --depth - 1);
    attn__finish(p, &rows, &s);
}

/* ------------------------------------------------------- public functions -- */

ATTN_DEF attn_array attn_array_4d(attn_dtype dtype, const void *data, size_t n0, size_t n1, size_t n2, size_t n3)
{
    attn_array a;
    attn__memset(&a, 0, sizeof a);
    attn__memcpy(&a.data, &data, sizeof data); /* inputs are never written */
    a.dtype = dtype;
    a.ndim = 4;
    a.shape[0] = n0;
    a.shape[1] = n1;
    a.shape[2] = n2;
    a.shape[3] = n3;
    return a;
}
ATTN_DEF attn_array attn_array_3d(attn_dtype dtype, const void *data, size_t n0, size_t n1, size_t n2)
{
    attn_array a = attn_array_4d(dtype, data, n0, n1, n2, 0);
    a.ndim = 3;
    return a;
}
ATTN_DEF attn_array attn_array_2d(attn_dtype dtype, const void *data, size_t rows, size_t columns)
{
    attn_array a = attn_array_4d(dtype, data, rows, columns, 0, 0);
    a.ndim = 2;
    return a;
}
ATTN_DEF attn_array attn_array_1d(attn_dtype dtype, const void *data, size_t n)
{
    attn_array a = attn_array_4d(dtype, data, n, 0, 0, 0);
    a.ndim = 1;
    return a;
}

ATTN_DEF attn_array attn_array_swap(const attn_array *a, int axis_a, int axis_b)
{
    attn_array b;
    size_t n;
    ptrdiff_t stride;
    attn__view v;
    if (!a) return attn_array_1d(ATTN_F32, NULL, 0);
    b = *a;
    if (axis_a < 0 || axis_b < 0 || axis_a >= a->ndim || axis_b >= a->ndim) return b;
    if (attn__check(a, 1, ATTN_MAX_DIMS, ~0u, ATTN__INPUT, 1, &v)) return b;
    for (n = 0; n < (size_t)b.ndim; n++) b.stride[n] = v.stride[ATTN_MAX_DIMS - (size_t)b.ndim + n]; /* no longer implied */
    n = b.shape[axis_a];
    b.shape[axis_a] = b.shape[axis_b];
    b.shape[axis_b] = n;
    stride = b.stride[axis_a];
    b.stride[axis_a] = b.stride[axis_b];
    b.stride[axis_b] = stride;
    return b;
}

ATTN_DEF attn_exec attn_exec_default(void)
{
    attn_exec e;
    attn__memset(&e, 0, sizeof e);
    return e;
}
ATTN_DEF attn_exec attn_exec_in(void *workspace, size_t workspace_size)
{
    attn_exec e = attn_exec_default();
    e.workspace = workspace;
    e.workspace_size = workspace_size;
    return e;
}
ATTN_DEF attn_desc attn_desc_default(void)
{
    attn_desc d;
    attn__memset(&d, 0, sizeof d);
    return d;
}
ATTN_DEF attn_layer attn_layer_default(void)
{
    attn_layer l;
    attn__memset(&l, 0, sizeof l);
    return l;
}

ATTN_DEF attn_desc attn_desc_pytorch(int is_causal)
{
    attn_desc d = attn_desc_default();
    d.causal = is_causal;
    return d;
}
ATTN_DEF attn_desc attn_desc_onnx(int is_causal, size_t past_len)
{
    attn_desc d = attn_desc_default();
    d.causal = is_causal;
    d.align = ATTN_ALIGN_OFFSET;
    d.q_offset = (int64_t)past_len;
    return d;
}
ATTN_DEF attn_desc attn_desc_flash(int causal, int64_t window_left, int64_t window_right)
{
    attn_desc d = attn_desc_default();
    d.causal = causal;
    d.align = ATTN_ALIGN_LOWER_RIGHT;
    d.window = 1;
    d.window_left = window_left;
    d.window_right = window_right;
    return d;
}

ATTN_DEF size_t attn_dtype_size(attn_dtype dtype)
{
    static const unsigned char sizes[ATTN_DTYPE_COUNT] = {4, 8, 2, 2, 1, 4, 8};
    return (unsigned)dtype < ATTN_DTYPE_COUNT ? sizes[dtype] : 0;
}
ATTN_DEF const char *attn_dtype_name(attn_dtype dtype)
{
    static const char *const names[ATTN_DTYPE_COUNT] = {"float32", "float64", "float16", "bfloat16", "bool", "int32", "int64"};
    return (unsigned)dtype < ATTN_DTYPE_COUNT ? names[dtype] : "unknown";
}
ATTN_DEF const char *attn_version(void) { return ATTN_VERSION; }
ATTN_DEF const char *attn_status_string(attn_status status)
{
    static const char *const strings[ATTN_STATUS_COUNT] = {
        "no error",
        "a required array or argument is missing (NULL)",
        "an element type is not supported here, or the element types do not fit together",
        "an array has the wrong number of dimensions",
        "shapes do not agree",
        "the number of query heads is not a multiple of the number of key/value heads",
        "axis out of range",
        "an output's strides make its elements overlap",
        "a pointer is not aligned for its element type",
        "an output overlaps an input or another output",
        "a size is too large for this machine's memory",
        "a parameter is out of range",
        "a key/value length or sequence offset is out of range",
        "a page index is out of range",
        "this path is not compiled in, or this machine does not support it",
        "the workspace is missing or too small",
        "this version does not compute this combination",
        "this build computes other bits than it should: look at the compiler's floating-point options",
    };
    return (unsigned)status < ATTN_STATUS_COUNT ? strings[status] : "unknown status";
}

ATTN_DEF attn_status attn_matmul(const attn_array *a, const attn_array *b, const attn_array *c, const attn_exec *exec)
{
    return attn__matmul(a, b, 0, 1, c, exec);
}

ATTN_DEF attn_status attn_weighted_sum(const attn_array *w, const attn_array *v, const attn_array *o, const attn_exec *exec)
{
    return attn__matmul(w, v, 0, 1, o, exec);
}

/* The scale that a problem uses, rounded to its compute type. */
static attn_status attn__scale_of(double scale, size_t dim, attn_dtype compute, double *out)
{
    if (!attn__finite_f64(scale)) return ATTN_ERR_PARAMETER;
    if (!(scale < 0 || scale > 0)) scale = dim ? 1 / attn__sqrt((double)dim) : 1;
    if (compute != ATTN_F64) {
        if (scale > 3.4028234663852886e+38 || scale < -3.4028234663852886e+38) return ATTN_ERR_PARAMETER;
        scale = (double)(float)scale;
    }
    *out = scale;
    return ATTN_OK;
}

ATTN_DEF attn_status attn_scores(const attn_array *q, const attn_array *k, double scale, const attn_array *s, const attn_exec *exec)
{
    attn_status status;
    if (!q || !k || !s) return ATTN_ERR_NULL;
    if (q->ndim < 2 || q->ndim > ATTN_MAX_DIMS) return ATTN_ERR_RANK;
    if ((status = attn__scale_of(scale, q->shape[q->ndim - 1], q->dtype, &scale))) return status;
    return attn__matmul(q, k, 1, scale, s, exec);
}

ATTN_DEF attn_status attn_compute_qkv(const attn_array *x, const attn_array *w_q, const attn_array *w_k, const attn_array *w_v, const attn_array *q,
                                      const attn_array *k, const attn_array *v, const attn_exec *exec)
{
    const attn_array *w[3], *to[3];
    attn_exec ask = exec ? *exec : attn_exec_default();
    size_t bytes, most = 0;
    int i, j;
    w[0] = w_q, w[1] = w_k, w[2] = w_v;
    to[0] = q, to[1] = k, to[2] = v;
    for (i = 0; i < 3; i++) { /* all arguments before any result */
        attn_status status;
        ask.query = &bytes;
        if ((status = attn_matmul(x, w[i], to[i], &ask))) return status;
        if (bytes > most) most = bytes;
    }
    if (attn__measuring(exec)) {
        *exec->query = most;
        return ATTN_OK;
    }
    for (i = 0; i < 3; i++) {
        attn__view a, b;
        attn_status status;
        if ((status = attn__check(to[i], 2, ATTN_MAX_DIMS, ~0u, ATTN__OUTPUT, 0, &a))) return status;
        for (j = 0; j < 7; j++) {
            const attn_array *other = j == 0 ? x : j < 4 ? w[j - 1] : to[j - 4];
            if (j - 4 == i) continue;
            if ((status = attn__check(other, 2, ATTN_MAX_DIMS, ~0u, ATTN__INPUT, 0, &b))) return status;
            if (!attn__apart(&a, &b)) return ATTN_ERR_ALIAS;
        }
    }
    if (most && (!exec || !exec->workspace || exec->workspace_size < most)) return ATTN_ERR_WORKSPACE;
    for (i = 0; i < 3; i++) {
        attn_status status = attn_matmul(x, w[i], to[i], exec);
        if (status) return status;
    }
    return ATTN_OK;
}

/* ---- softmax along an axis: lines of n elements ---- */

typedef struct attn__lines {
    attn__run run;
    attn__view x, y;
    size_t lines, chunk; /* lines of one task */
    size_t n;
    int axis; /* in the view */
    int near; /* the axis along which lines are one element apart, -1 if none */
} attn__lines;

/* One block of a line, in row: exp(x - max), max and sum. -inf is a masked
 * element. Returns 1 for what needs double arithmetic: NaN, +inf, huge values. */
static int attn__softmax_block(const attn__kernel *kernel, const attn__lines *l, void *row, const char *x, size_t n, double *max, double *sum)
{
    const size_t to = attn__round_up(n, kernel->step);
    size_t i, masked = 0;
    if (!kernel->softmax(row, row, 0, 0, n, to, max, sum)) return 0;
    kernel->load(row, x, l->x.dtype, l->x.stride[l->axis], n); /* it is undefined now */
    for (i = 0; i < n; i++) {
        double e;
        attn__load_f64(&e, (char *)row + i * kernel->size, kernel->dtype, 1, 1);
        if (!(e <= -attn__infinity())) continue;
        if (kernel->dtype == ATTN_F64) ((double *)row)[i] = ATTN__MASKED_F64;
        else ((float *)row)[i] = ATTN__MASKED_F32;
        masked++;
    }
    return kernel->softmax(row, row, 0, 0, masked == n ? 0 : n, to, max, sum);
}

static void attn__softmax_in_double(const char *x, const attn__view *v, ptrdiff_t stride, char *y, ptrdiff_t y_stride, size_t n)
{
    double max = -attn__infinity(), sum = 0, rest = 0, e;
    int nan = 0;
    size_t i;
    for (i = 0; i < n; i++) {
        attn__load_f64(&e, x + (ptrdiff_t)i * stride * v->size, v->dtype, 1, 1);
        if (attn__nan_f64(e) || e >= attn__infinity()) nan = 1;
        if (e > max) max = e;
    }
    for (i = 0; i < n; i++) {
        attn__load_f64(&e, x + (ptrdiff_t)i * stride * v->size, v->dtype, 1, 1);
        if (nan) sum = attn__infinity() - attn__infinity();
        else attn__add_exactly(&sum, &rest, attn__exp_f64(e - max));
    }
    if (!nan) sum += rest;
    for (i = 0; i < n; i++) {
        attn__load_f64(&e, x + (ptrdiff_t)i * stride * v->size, v->dtype, 1, 1);
        attn__put(y + (ptrdiff_t)i * y_stride * v->size, v->dtype, nan ? sum : attn__exp_f64(e - max) / sum);
    }
}

/* exp is taken once where its results can wait for the whole sum: here, or in y if
 * that is not x. */
static void attn__softmax_line(const attn__kernel *kernel, const attn__lines *l, const char *x, char *y)
{
    double row[ATTN__LD], line[ATTN__LINE / sizeof(double)]; /* of T */
    double max[72], sum[72], maxima[64], factor;
    size_t last[72], depth = 0, at, c;
    const size_t es = kernel->size;
    const ptrdiff_t stride = l->x.stride[l->axis], y_stride = l->y.stride[l->axis];
    char *kept = NULL;
    int odd = 0;
    if (y_stride == 1 && l->x.data != l->y.data && l->n <= 64 * ATTN__BLOCK) kept = y; /* its lines come while exp is at work */
    else if (l->n <= ATTN__LINE / es) kept = (char *)line;

    for (at = 0; at < l->n && !odd; at += ATTN__BLOCK) {
        const size_t n = attn__min(l->n - at, ATTN__BLOCK), block = at / ATTN__BLOCK;
        const char *from = x + (ptrdiff_t)at * stride * l->x.size;
        while (depth >= 2 && attn__level(last[depth - 2], last[depth - 1]) < attn__level(last[depth - 1], block)) {
            depth--;
            kernel->join(1, 0, row, &max[depth - 1], &sum[depth - 1], row, &max[depth], &sum[depth]);
            last[depth - 1] = last[depth];
        }
        if (stride == 1)
            for (c = n * es; c < 2 * n * es && c < (l->n - at) * es; c += 64) ATTN__PREFETCH(from, c); /* the next block comes while exp is at work */
        if (!kept || stride != 1 || kernel->softmax(kept + at * es, from, 0, 0, n, n, &max[depth], &sum[depth])) {
            char *to = kept == (char *)line ? kept + at * es : (char *)row;
            kernel->load(to, from, l->x.dtype, stride, n);
            odd = attn__softmax_block(kernel, l, to, from, n, &max[depth], &sum[depth]);
            if (kept == y) attn__memcpy(kept + at * es, row, n * es);
        }
        if (kept) maxima[block] = max[depth];
        last[depth++] = block;
    }
    if (odd) {
        attn__softmax_in_double(x, &l->x, stride, y, y_stride, l->n);
        return;
    }
    while (depth >= 2) {
        depth--;
        kernel->join(1, 0, row, &max[depth - 1], &sum[depth - 1], row, &max[depth], &sum[depth]);
    }
    for (at = 0; at < l->n; at += ATTN__BLOCK) {
        const size_t n = attn__min(l->n - at, ATTN__BLOCK);
        char *to = y + (ptrdiff_t)at * y_stride * l->y.size, *weights = kept ? kept + at * es : (char *)row;
        double block_max = maxima[kept ? at / ATTN__BLOCK : 0], block_sum;
        if (!kept) {
            const char *from = x + (ptrdiff_t)at * stride * l->x.size;
            kernel->load(row, from, l->x.dtype, stride, n);
            attn__softmax_block(kernel, l, row, from, n, &block_max, &block_sum);
        }
        factor = block_max > -attn__infinity() ? kernel->exp(block_max, max[0]) * (1 / sum[0]) : 0;
        kernel->scale(y_stride == 1 ? to : (char *)row, weights, n, factor);
        if (y_stride != 1) kernel->store(to, l->y.dtype, y_stride, row, n);
    }
}

/* Rows of `count` elements, with zeros up to `width`. */
static void attn__fill_rows(void *to, const char *from, ptrdiff_t stride, size_t n, size_t count, size_t width)
{
    char *row = (char *)to;
    for (; n-- > 0; row += width, from += stride) {
        attn__memcpy(row, from, count);
        attn__memset(row + count, 0, width - count);
    }
}

/* `count` lines side by side; what does not fill vectors goes by way of a copy.
 * Returns 1, with nothing of use in y, if one of them needs more care. */
static int attn__softmax_columns(const attn__kernel *kernel, const attn__lines *l, const char *x, char *y, size_t count)
{
    double rows[ATTN__BLOCK * 64 / sizeof(double)]; /* of T; no vector has more than 64 bytes */
    double max[ATTN__COLUMN_SLOTS][ATTN__COLUMNS], sum[ATTN__COLUMN_SLOTS][ATTN__COLUMNS], maxima[ATTN__COLUMN_MAXIMA][ATTN__COLUMNS];
    size_t last[ATTN__COLUMN_SLOTS], depth = 0, at, c, j;
    const size_t es = kernel->size, columns = attn__round_up(count, kernel->nr / 2);
    const ptrdiff_t x_step = l->x.stride[l->axis], y_step = l->y.stride[l->axis];
    const int copied = columns != count, kept = !copied && x != y; /* exp is taken once where it can wait in y */

    for (at = 0; at < l->n; at += ATTN__BLOCK) {
        const size_t n = attn__min(l->n - at, ATTN__BLOCK), block = at / ATTN__BLOCK;
        const char *from = x + (ptrdiff_t)at * x_step * l->x.size;
        while (depth >= 2 && attn__level(last[depth - 2], last[depth - 1]) < attn__level(last[depth - 1], block)) {
            depth--;
            kernel->join(columns, 0, rows, max[depth - 1], sum[depth - 1], rows, max[depth], sum[depth]);
            last[depth - 1] = last[depth];
        }
        if (copied) attn__fill_rows(rows, from, x_step * l->x.size, n, count * es, columns * es);
        if (kernel->columns(kept ? y + (ptrdiff_t)at * y_step * l->y.size : NULL, y_step, copied ? (const void *)rows : from, copied ? (ptrdiff_t)columns : x_step, n,
                            columns, max[depth], sum[depth]))
            return 1;
        if (block < ATTN__COLUMN_MAXIMA) attn__memcpy(maxima[block], max[depth], columns * sizeof max[0][0]);
        last[depth++] = block;
    }
    while (depth >= 2) {
        depth--;
        kernel->join(columns, 0, rows, max[depth - 1], sum[depth - 1], rows, max[depth], sum[depth]);
    }
    for (at = 0; at < l->n; at += ATTN__BLOCK) {
        const size_t n = attn__min(l->n - at, ATTN__BLOCK);
        const char *from = x + (ptrdiff_t)at * x_step * l->x.size;
        char *to = y + (ptrdiff_t)at * y_step * l->y.size;
        double *block_max = at / ATTN__BLOCK < ATTN__COLUMN_MAXIMA ? maxima[at / ATTN__BLOCK] : max[1], *factor = sum[1];
        if (copied) attn__fill_rows(rows, from, x_step * l->x.size, n, count * es, columns * es);
        if (block_max == max[1]) kernel->columns(NULL, 0, copied ? (const void *)rows : from, copied ? (ptrdiff_t)columns : x_step, n, columns, block_max, NULL);
        for (c = 0; c < columns; c++) factor[c] = kernel->exp(block_max[c], max[0][c]) * (1 / sum[0][c]);
        if (copied) {
            kernel->spread(rows, (ptrdiff_t)columns, rows, (ptrdiff_t)columns, n, columns, block_max, factor);
            for (j = 0; j < n; j++) attn__memcpy(to + (ptrdiff_t)j * y_step * l->y.size, (char *)rows + j * columns * es, count * es);
        } else kernel->spread(to, y_step, kept ? to : from, kept ? y_step : x_step, n, columns, kept ? NULL : block_max, factor);
    }
    return 0;
}

static void attn__softmax_task(void *arg, size_t index, size_t worker)
{
    const attn__lines *l = (const attn__lines *)arg;
    size_t line, end = attn__min(l->lines, (index + 1) * l->chunk), count;
    (void)worker;
    for (line = index * l->chunk; line < end; line += count) {
        size_t rest = line, i = 0;
        ptrdiff_t x = 0, y = 0;
        const char *from;
        char *to;
        int dim;
        count = 1;
        if (l->near >= 0) { /* lines that are next to each other come one after the other */
            const size_t near = l->x.shape[l->near];
            i = rest % near;
            rest /= near;
            count = attn__min(attn__min(ATTN__COLUMNS, near - i), end - line);
            if (count > l->run.kernel->nr / 2) count -= count % (l->run.kernel->nr / 2);
        }
        for (dim = ATTN_MAX_DIMS - 1; dim >= 0; dim--) {
            if (dim == l->axis || dim == l->near || l->x.shape[dim] == 1) continue;
            x += (ptrdiff_t)(rest % l->x.shape[dim]) * l->x.stride[dim];
            y += (ptrdiff_t)(rest % l->x.shape[dim]) * l->y.stride[dim];
            rest /= l->x.shape[dim];
        }
        from = l->x.data + (x + (ptrdiff_t)i) * l->x.size;
        to = l->y.data + (y + (ptrdiff_t)i) * l->y.size;
        if (count == 1 || l->n > ATTN__BLOCK << (ATTN__COLUMN_SLOTS - 2) || attn__softmax_columns(l->run.kernel, l, from, to, count))
            for (i = 0; i < count; i++) attn__softmax_line(l->run.kernel, l, from + i * (size_t)l->x.size, to + i * (size_t)l->y.size);
    }
}

ATTN_DEF attn_status attn_softmax(const attn_array *x, int axis, const attn_array *y, const attn_exec *exec)
{
    attn__lines l;
    attn_path path;
    attn_status status;
    int i, measured, measuring = attn__measuring(exec), same = 1;
    if (!x || !y) return ATTN_ERR_NULL;
    attn__memset(&l, 0, sizeof l);
    if ((status = attn__check(x, 1, ATTN_MAX_DIMS, 1u << ATTN_F32 | 1u << ATTN_F64, ATTN__INPUT, measuring, &l.x))) return status;
    if ((status = attn__check(y, x->ndim, x->ndim, 1u << x->dtype, ATTN__OUTPUT, measuring, &l.y))) return status;
    if (axis < -x->ndim || axis >= x->ndim) return ATTN_ERR_AXIS;
    l.axis = axis < 0 ? ATTN_MAX_DIMS + axis : ATTN_MAX_DIMS - x->ndim + axis;
    l.n = l.x.shape[l.axis];
    l.lines = 1;
    for (i = 0; i < ATTN_MAX_DIMS; i++) {
        if (l.x.shape[i] != l.y.shape[i]) return ATTN_ERR_SHAPE;
        if (l.x.shape[i] > 1 && l.x.stride[i] != l.y.stride[i]) same = 0;
        if (i != l.axis) l.lines *= l.x.shape[i];
    }
    if (!attn__apart(&l.x, &l.y) && !(same && l.x.data == l.y.data)) return ATTN_ERR_ALIAS;
    if ((status = attn__path_of(exec, l.n, &path)) || (status = attn__prepare(exec, attn__kernel_of(path, x->dtype), 0, &l.run, &measured)) || measured) return status;
    if (l.n == 0 || l.lines == 0) return ATTN_OK;
    l.near = -1;
    for (i = 0; i < ATTN_MAX_DIMS; i++)
        if (i != l.axis && l.x.shape[i] > 1 && l.x.stride[i] == 1 && l.y.stride[i] == 1) l.near = i;
    l.chunk = attn__round_up(1 + 16384 / l.n, ATTN__COLUMNS);
    attn__parallel(&l.run, (l.lines + l.chunk - 1) / l.chunk, attn__softmax_task, &l);
    return ATTN_OK;
}

/* ---- fused attention ---- */

/* Everything about a problem but its workspace and where data lies. q, k, v and out
 * need not be those of d. `stand_in`: out is the shape of a result only. */
static attn_status attn__describe(const attn_desc *d, const attn_array *q, const attn_array *k, const attn_array *v, const attn_array *out, int stand_in, int measuring,
                                  attn__problem *p)
{
    const int64_t far = (int64_t)1 << 62;
    attn_dtype compute;
    attn_status status;
    unsigned floats;
    size_t heads[4], n, b, kv_batch;
    int i, j;

    p->desc = d;
    p->stand_in = stand_in;
    if ((status = attn__check(q, 2, 4, ATTN__FLOATS, ATTN__INPUT, measuring, &p->q))) return status;
    compute = q->dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32;
    floats = compute == ATTN_F64 ? 1u << ATTN_F64 : ATTN__HALVES;
    if ((status = attn__check(k, 2, 4, floats, ATTN__INPUT, measuring, &p->k))) return status;
    if ((status = attn__check(v, 2, 4, floats, ATTN__INPUT, measuring, &p->v))) return status;
    if ((status = attn__check(out, 2, 4, floats, ATTN__OUTPUT, measuring || stand_in, &p->out))) return status;
    p->batch = p->q.shape[ATTN__B];
    p->q_heads = p->q.shape[ATTN__H];
    p->q_len = p->q.shape[ATTN__S];
    p->dim = p->q.shape[ATTN__D];
    p->kv_heads = p->k.shape[ATTN__H];
    p->kv_len = p->k.shape[ATTN__S];
    p->dim_v = p->v.shape[ATTN__D];
    kv_batch = p->batch;
    p->has_lens = attn__given(&d->kv_lens, &p->kv_lens);
    if (p->has_lens && (status = attn__check(&d->kv_lens, 1, 1, ATTN__INTS, ATTN__INPUT, measuring, &p->kv_lens))) return status;
    p->has_pages = attn__given(&d->block_table, &p->table);
    if (p->has_pages) {
        if ((status = attn__check(&d->block_table, 2, 2, ATTN__INTS, ATTN__INPUT, measuring, &p->table))) return status;
        if (k->ndim != 4 || v->ndim != 4) return ATTN_ERR_RANK;
        if (p->table.shape[ATTN__S] != p->batch || p->kv_len == 0) return ATTN_ERR_SHAPE;
        if (!p->has_lens) return ATTN_ERR_NULL; /* how many keys the pages hold */
        p->page_size = p->kv_len;
        kv_batch = p->k.shape[ATTN__B];
        if (!attn__multiply_size(p->page_size, p->table.shape[ATTN__D], &p->kv_len)) return ATTN_ERR_OVERFLOW;
    }
    if (!attn__shape_is(&p->k, kv_batch, p->kv_heads, p->has_pages ? p->page_size : p->kv_len, p->dim) ||
        !attn__shape_is(&p->v, kv_batch, p->kv_heads, p->k.shape[ATTN__S], p->dim_v) || !attn__shape_is(&p->out, p->batch, p->q_heads, p->q_len, p->dim_v))
        return ATTN_ERR_SHAPE;
    p->has_cu = attn__given(&d->cu_seqlens_q, &p->cu_q) | attn__given(&d->cu_seqlens_k, &p->cu_k);
    if (p->has_cu) { /* sequences take the place of batches */
        if (!attn__present(&d->cu_seqlens_q) || !attn__present(&d->cu_seqlens_k)) return ATTN_ERR_NULL;
        if ((status = attn__check(&d->cu_seqlens_q, 1, 1, ATTN__INTS, ATTN__INPUT, measuring, &p->cu_q))) return status;
        if ((status = attn__check(&d->cu_seqlens_k, 1, 1, ATTN__INTS, ATTN__INPUT, measuring, &p->cu_k))) return status;
        if (p->batch != 1 || p->cu_q.shape[ATTN__D] == 0 || p->cu_q.shape[ATTN__D] != p->cu_k.shape[ATTN__D]) return ATTN_ERR_SHAPE;
        if (attn__present(&d->mask) || p->has_lens || p->has_pages || attn__present(&d->scores) || attn__present(&d->colsum) || d->kv_begin) return ATTN_ERR_UNSUPPORTED;
    }
    p->kv_begin = d->kv_begin;
    if (p->kv_begin && p->has_pages) return ATTN_ERR_UNSUPPORTED;
    if (p->kv_begin > (size_t)-1 / 4) return ATTN_ERR_OVERFLOW;
    if (p->kv_heads == 0 ? p->q_heads != 0 : p->q_heads % p->kv_heads != 0) return ATTN_ERR_HEADS;
    if (!attn__multiply_size(p->batch, p->q_heads, &n) || !attn__multiply_size(n, p->q_len, &n) || n > (size_t)-1 / 2) return ATTN_ERR_OVERFLOW;
    if (p->kv_len > (size_t)-1 / 4 || p->q_len > (size_t)-1 / 4 || p->dim > (size_t)-1 / 4096 || p->dim_v > (size_t)-1 / 4096) return ATTN_ERR_OVERFLOW;

    if ((status = attn__scale_of(d->scale, p->dim, compute, &p->scale))) return status;
    if (!attn__finite_f64(d->softcap) || d->softcap < 0) return ATTN_ERR_PARAMETER;
    p->softcap = d->softcap;
    if ((unsigned)d->align >= ATTN_ALIGN_COUNT || (unsigned)d->stage >= ATTN_STAGE_COUNT) return ATTN_ERR_PARAMETER;
    if (d->align == ATTN_ALIGN_OFFSET && (d->q_offset > far || d->q_offset < -far)) return ATTN_ERR_PARAMETER;
    p->left = p->right = -1;
    if (d->window) {
        if (d->window_left < -1 || d->window_right < -1) return ATTN_ERR_PARAMETER;
        p->left = d->window_left;
        p->right = d->window_right;
    }
    if (d->causal && (p->right < 0 || p->right > 0)) p->right = 0;

    heads[0] = p->batch, heads[1] = p->q_heads, heads[2] = p->q_len, heads[3] = p->kv_len;
    p->has_mask = attn__given(&d->mask, &p->mask);
    if (p->has_mask) {
        if ((status = attn__check(&d->mask, 1, 4, floats | 1u << ATTN_BOOL, ATTN__INPUT, measuring, &p->mask))) return status;
        if (p->mask.shape[ATTN__D] != p->kv_len) return ATTN_ERR_SHAPE; /* keys are not broadcast: a short mask is a mistake */
        if ((status = attn__broadcast(&p->mask, heads))) return status;
    }
    p->has_scores = attn__given(&d->scores, &p->scores);
    if (p->has_scores) {
        const size_t most_heads = p->q_heads - d->scores_head, most_queries = p->q_len - d->scores_query;
        if ((status = attn__check(&d->scores, 2, 4, floats, ATTN__OUTPUT, measuring, &p->scores))) return status;
        if (d->scores_head > p->q_heads || d->scores_query > p->q_len || p->scores.shape[ATTN__H] > most_heads || p->scores.shape[ATTN__S] > most_queries ||
            p->scores.shape[ATTN__B] != p->batch || p->scores.shape[ATTN__D] != p->kv_len)
            return ATTN_ERR_SHAPE;
    }
    p->has_lse = attn__given(&d->lse, &p->lse);
    if (p->has_lse) {
        if ((status = attn__check(&d->lse, 1, 3, floats, ATTN__OUTPUT, measuring, &p->lse))) return status;
        if (!attn__shape_is(&p->lse, 1, p->batch, p->q_heads, p->q_len)) return ATTN_ERR_SHAPE;
    }
    p->has_colsum = attn__given(&d->colsum, &p->colsum);
    if (p->has_colsum) {
        if ((status = attn__check(&d->colsum, 1, 3, 1u << compute, ATTN__OUTPUT, measuring, &p->colsum))) return status;
        if (!attn__shape_is(&p->colsum, 1, p->batch, p->q_heads, p->kv_len)) return ATTN_ERR_SHAPE;
    }
    p->has_alibi = attn__given(&d->alibi, &p->alibi);
    if (p->has_alibi) {
        if ((status = attn__check(&d->alibi, 1, 2, floats, ATTN__INPUT, measuring, &p->alibi))) return status;
        if (p->alibi.shape[ATTN__D] != p->q_heads || (p->alibi.shape[ATTN__S] != 1 && p->alibi.shape[ATTN__S] != p->batch)) return ATTN_ERR_SHAPE;
        if (p->alibi.shape[ATTN__S] != p->batch) p->alibi.stride[ATTN__S] = 0;
    }
    p->has_sinks = attn__given(&d->sinks, &p->sinks);
    if (p->has_sinks) {
        if ((status = attn__check(&d->sinks, 1, 1, floats, ATTN__INPUT, measuring, &p->sinks))) return status;
        if (p->sinks.shape[ATTN__D] != p->q_heads) return ATTN_ERR_SHAPE;
    }
    if (p->has_lens) {
        if (p->kv_lens.shape[ATTN__D] != p->batch) return ATTN_ERR_SHAPE;
        for (b = 0; b < p->batch && !measuring; b++) {
            const int64_t len = attn__integer(&p->kv_lens, (ptrdiff_t)b * p->kv_lens.stride[ATTN__D]);
            if (len < 0 || len > far || (!stand_in && (uint64_t)len > p->kv_begin + p->kv_len)) return ATTN_ERR_LENGTH;
            for (n = 0; p->has_pages && n < (size_t)len; n += p->page_size) {
                const int64_t page = attn__integer(&p->table, (ptrdiff_t)b * p->table.stride[ATTN__S] + (ptrdiff_t)(n / p->page_size) * p->table.stride[ATTN__D]);
                if (page < 0 || (uint64_t)page >= p->k.shape[ATTN__B]) return ATTN_ERR_PAGE;
            }
        }
    }
    if (p->has_cu && !measuring)
        for (b = 0; b + 1 < p->cu_q.shape[ATTN__D]; b++) {
            const attn__view *cu[2];
            size_t total[2];
            cu[0] = &p->cu_q, cu[1] = &p->cu_k;
            total[0] = p->q_len, total[1] = p->kv_len;
            for (i = 0; i < 2; i++) {
                const int64_t x = attn__integer(cu[i], (ptrdiff_t)b * cu[i]->stride[ATTN__D]), y = attn__integer(cu[i], (ptrdiff_t)(b + 1) * cu[i]->stride[ATTN__D]);
                if ((b == 0 && x != 0) || x < 0 || y < x || (uint64_t)y > total[i]) return ATTN_ERR_LENGTH;
            }
        }
    {
        const attn__view *outputs[4], *inputs[10];
        int n_outputs = 0, n_inputs = 3;
#define ATTN__LIST(list, has, view) \
    if (has) list[n_##list++] = &view;
        outputs[n_outputs++] = &p->out;
        ATTN__LIST(outputs, p->has_lse, p->lse)
        ATTN__LIST(outputs, p->has_scores, p->scores)
        ATTN__LIST(outputs, p->has_colsum, p->colsum)
        inputs[0] = &p->q, inputs[1] = &p->k, inputs[2] = &p->v;
        ATTN__LIST(inputs, p->has_mask, p->mask)
        ATTN__LIST(inputs, p->has_lens, p->kv_lens)
        ATTN__LIST(inputs, p->has_alibi, p->alibi)
        ATTN__LIST(inputs, p->has_sinks, p->sinks)
        ATTN__LIST(inputs, p->has_pages, p->table)
        ATTN__LIST(inputs, p->has_cu, p->cu_q)
        ATTN__LIST(inputs, p->has_cu, p->cu_k)
#undef ATTN__LIST
        for (i = 0; i < n_outputs; i++) {
            for (j = 0; j < n_inputs; j++)
                if (!attn__apart(outputs[i], inputs[j])) return ATTN_ERR_ALIAS;
            for (j = 0; j < i; j++)
                if (!attn__apart(outputs[i], outputs[j])) return ATTN_ERR_ALIAS;
        }
    }
    if (p->has_cu) {
        p->batch = p->cu_q.shape[ATTN__D] - 1;
        p->q.stride[ATTN__B] = p->k.stride[ATTN__B] = p->v.stride[ATTN__B] = p->out.stride[ATTN__B] = p->lse.stride[ATTN__H] = p->alibi.stride[ATTN__S] = 0;
    }
    return ATTN_OK;
}

/* Cuts a problem into tasks for a kernel and a number of workers. */
static attn_status attn__cut(attn__problem *p, const attn__kernel *kernel, size_t workers)
{
    const size_t end = p->kv_begin + p->kv_len, blocks = (end + ATTN__BLOCK - 1) / ATTN__BLOCK, begin = p->kv_begin / ATTN__BLOCK;
    size_t needed;
    attn__part part;
    p->group = p->kv_heads == p->q_heads ? p->kv_heads > 0 : p->q_heads / p->kv_heads;
    p->head_chunk = attn__min(p->group, ATTN__ROWS);
    p->head_chunks = attn__pieces(p->group, ATTN__ROWS);
    p->query_block = p->head_chunk < 2 ? ATTN__ROWS : ATTN__ROWS / p->head_chunk;
    p->query_blocks = attn__pieces(p->q_len, p->query_block);
    p->query_block = p->query_blocks < 2 ? p->q_len : (p->q_len + p->query_blocks - 1) / p->query_blocks; /* balanced */
    p->rows = p->query_block * p->head_chunk;
    p->chunks = p->dim ? (p->dim + ATTN__BLOCK - 1) / ATTN__BLOCK : 1;
    p->width = attn__round_up(p->dim_v, kernel->nr / 2);
    p->slots = blocks > begin ? (size_t)attn__level(blocks - 1, begin) + 1 : 1;
    p->keys = attn__min(ATTN__BLOCK, attn__round_up(p->kv_len, kernel->step) + kernel->step);
    p->gather = p->has_pages || (p->kv_begin & (kernel->step - 1)) != 0;
    p->few = p->rows <= kernel->few;
    p->one_mask = p->has_mask && p->mask.stride[ATTN__H] == 0 && !p->has_colsum; /* column sums add up over queries in order */
    if (!attn__multiply_size(p->batch, p->kv_heads * p->head_chunks, &p->tasks) || !attn__multiply_size(p->tasks, p->query_blocks, &p->tasks)) return ATTN_ERR_OVERFLOW;

    /* Fewer tasks than two for each worker: cut the keys too, into whole subtrees. */
    p->parts = 1;
    p->part_blocks = 1;
    p->first_part = 0;
    if (p->tasks && p->tasks < 2 * workers && blocks > begin && !p->has_colsum && workers > 1) {
        needed = (2 * workers + p->tasks - 1) / p->tasks;
        while ((blocks - begin + p->part_blocks - 1) / p->part_blocks > needed) p->part_blocks *= 2;
        p->first_part = begin / p->part_blocks;
        p->parts = (blocks + p->part_blocks - 1) / p->part_blocks - p->first_part;
    }
    p->part_bytes = p->parts > 1 ? attn__part_layout(p, kernel->size, NULL, &part) : 0;
    return ATTN_OK;
}

/* A described problem, cut and ready to run; or `measured`. */
static attn_status attn__ready(attn__problem *p, const attn_exec *exec, int *measured)
{
    const size_t workers = attn__workers(exec);
    const attn__kernel *kernel;
    attn_path path;
    size_t shared = 0, w;
    attn_status status = attn__path_of(exec, p->kv_len, &path);
    if (status) return status;
    kernel = attn__kernel_of(path, p->q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32);
    if ((status = attn__cut(p, kernel, workers)) || (status = attn__scratch_layout(p, kernel, &p->layout))) return status;
    if (p->parts > 1) {
        if (!attn__multiply_size(p->part_bytes, p->tasks * p->parts, &shared)) return ATTN_ERR_OVERFLOW;
        shared = attn__pieces(shared, workers); /* each worker's share of what all use together */
        if (shared > (size_t)-1 / 4) return ATTN_ERR_OVERFLOW;
        shared = attn__round_up(shared, 64);
    }
    status = attn__prepare(exec, kernel, p->layout.size + shared, &p->run, measured);
    p->part_states = p->run.workspace;
    if (!status && !*measured) {
        p->run.workspace += shared * workers;
        p->run.each = p->layout.size;
        for (w = 0; w < workers; w++) attn__memset(p->run.workspace + w * p->run.each, 0, sizeof(attn__looked));
    }
    return status;
}

/* The whole problem, if it is small and plain; 0 if it is not, or a row needs more care. */
static int attn__do_small(const attn__problem *p)
{
    const attn__kernel *kernel = p->run.kernel;
    const attn_dtype dtype = kernel->dtype;
    attn__scratch s;
    attn__small small;
    size_t b, h, lo;
    if (p->kv_len > kernel->lanes || p->kv_len == 0 || p->q_len == 0 || p->dim == 0 || p->dim > ATTN__BLOCK || p->dim_v == 0 || p->run.workers > 1 || p->left >= 0 ||
        p->softcap > 0 || p->kv_begin || p->has_mask || p->has_lens || p->has_alibi || p->has_sinks || p->has_pages || p->has_cu || p->has_lse || p->has_scores ||
        p->has_colsum)
        return 0;
    if (p->q.dtype != dtype || p->k.dtype != dtype || p->v.dtype != dtype || p->out.dtype != dtype || p->q.stride[ATTN__D] != 1 || p->k.stride[ATTN__D] != 1 ||
        p->v.stride[ATTN__D] != 1 || p->out.stride[ATTN__D] != 1)
        return 0;
    small.seen = p->kv_len;
    if (p->right >= 0) {
        attn__rows all;
        all.q_len = p->q_len;
        all.kv_end = all.kv_total = p->kv_len;
        attn__visible(p, &all, 0, &lo, &small.seen);
    }
    attn__scratch_of(p, 0, &s);
    small.q_len = p->q_len;
    small.kv_len = p->kv_len;
    small.dim = p->dim;
    small.dim_v = p->dim_v;
    small.q_step = p->q.stride[ATTN__S];
    small.k_step = p->k.stride[ATTN__S];
    small.v_step = p->v.stride[ATTN__S];
    small.out_step = p->out.stride[ATTN__S];
    small.scale = p->scale;
    small.queries = s.q;
    small.keys = s.k;
    small.values = s.v;
    small.tile = s.tile;
    small.acc = s.acc;
    for (b = 0; b < p->batch; b++)
        for (h = 0; h < p->q_heads; h++)
            if (kernel->small(&small, attn__at(&p->q, b, h, 0), attn__at(&p->k, b, h / p->group, 0), attn__at(&p->v, b, h / p->group, 0), attn__at(&p->out, b, h, 0))) return 0;
    return 1;
}

static attn_status attn__forward(const attn_desc *desc, const attn_array *q, const attn_array *k, const attn_array *v, const attn_array *out, const attn_exec *exec)
{
    attn__problem p; /* not cleared, as 3 KB take a tenth of a small problem: what is absent is marked so */
    attn_status status;
    int measured;
    if ((status = attn__describe(desc, q, k, v, out, 0, attn__measuring(exec), &p))) return status;
    if ((status = attn__ready(&p, exec, &measured)) || measured) return status;
    if (attn__do_small(&p)) return ATTN_OK;
    if (p.has_colsum) { /* sums begin at 0, also where there is nothing to add */
        size_t b, h, j;
        for (b = 0; b < p.batch; b++)
            for (h = 0; h < p.q_heads; h++)
                for (j = 0; j < p.kv_len; j++)
                    attn__store_one(&p.colsum, attn__at(&p.colsum, 0, b, h) + (ptrdiff_t)j * p.colsum.stride[ATTN__D] * p.colsum.size, 0);
    }
    if (p.has_colsum && p.query_blocks) attn__parallel(&p.run, p.tasks / p.query_blocks, attn__task, &p);
    else if (p.parts > 1) {
        attn__parallel(&p.run, p.tasks * p.parts, attn__part_task, &p);
        attn__parallel(&p.run, p.tasks, attn__join_task, &p);
    } else attn__parallel(&p.run, p.tasks, attn__task, &p);
    return ATTN_OK;
}

ATTN_DEF attn_status attn_forward(const attn_desc *desc, const attn_exec *exec)
{
    return desc ? attn__forward(desc, &desc->q, &desc->k, &desc->v, &desc->out, exec) : ATTN_ERR_NULL;
}

/* Are scores those of all heads and queries? Yes too where other checks will fail. */
static int attn__whole_scores(const attn_array *of, const attn_array *queries)
{
    attn__view q, scores;
    if (attn__check(queries, 2, 4, ATTN__FLOATS, ATTN__INPUT, 1, &q) || attn__check(of, 2, 4, ATTN__FLOATS, ATTN__INPUT, 1, &scores)) return 1;
    return scores.shape[ATTN__H] == q.shape[ATTN__H] && scores.shape[ATTN__S] == q.shape[ATTN__S];
}

ATTN_DEF attn_status attn_self_attention(const attn_array *q, const attn_array *k, const attn_array *v, const attn_array *out, const attn_array *weights,
                                         const attn_exec *exec)
{
    static const attn_desc plain = ATTN__ZEROS; /* as attn_desc_default gives */
    attn_desc d;
    if (!q || !k || !v || !out) return ATTN_ERR_NULL;
    if (!weights) return attn__forward(&plain, q, k, v, out, exec);
    if (!attn__whole_scores(weights, q)) return ATTN_ERR_SHAPE;
    d = attn_desc_default();
    d.scores = *weights;
    return attn__forward(&d, q, k, v, out, exec);
}

/* ---- self test ---- */

#define ATTN__TEST_QUERIES 5
#define ATTN__TEST_KEYS 530 /* crosses a block */
#define ATTN__TEST_DIM 9
#define ATTN__TEST_HEADS 2

static void attn__hash(uint64_t *hash, const void *data, size_t n, attn_dtype dtype)
{
    size_t i;
    for (i = 0; i < n; i++) { /* FNV-1a over elements, whatever the byte order */
        *hash ^= dtype == ATTN_F64 ? attn__bits_f64(((const double *)data)[i]) : attn__bits_f32(((const float *)data)[i]);
        *hash *= UINT64_C(0x100000001b3);
    }
}

/* Exact small numbers in a fixed order. */
static void attn__test_fill(void *to, size_t n, attn_dtype dtype, uint64_t *seed)
{
    size_t i;
    for (i = 0; i < n; i++) {
        double x;
        *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        x = (double)(int64_t)(*seed >> 40) / 4194304.0 - 2; /* 24 bits in [-2, 2) */
        if (dtype == ATTN_F64) ((double *)to)[i] = x;
        else ((float *)to)[i] = (float)x;
    }
}

ATTN_DEF attn_status attn_self_test(const attn_exec *exec)
{
#if ATTN__FUSED
    static const uint64_t golden[2] = {UINT64_C(0x10d022eb3bb4a89d), UINT64_C(0x6e0b6fc82e52694d)};
#else
    static const uint64_t golden[2] = {UINT64_C(0x5ac7403c14bc5d99), UINT64_C(0xbb4be2c2f1b4ccdf)};
#endif
    const size_t nq = ATTN__TEST_HEADS * ATTN__TEST_QUERIES, queries = nq * ATTN__TEST_DIM, keys = ATTN__TEST_KEYS * ATTN__TEST_DIM;
    attn_exec sub = exec ? *exec : attn_exec_default();
    attn_path only;
    attn_status status = attn__path_of(exec, ATTN__TEST_KEYS, &only);
    size_t bytes, most = 0;
    int path, measured = 0, type, round;
    if (status) return status;
    for (;; measured = 1) {
        for (path = ATTN_PATH_SCALAR; path < ATTN_PATH_COUNT; path++) {
            if (!attn_path_supported((attn_path)path) || (sub.path != ATTN_PATH_AUTO && path != (int)only)) continue;
            for (type = 0; type < 2; type++) {
                const attn_dtype dtype = type ? ATTN_F64 : ATTN_F32;
                uint64_t hash = UINT64_C(0xcbf29ce484222325), seed = 1;
                attn__arena arena = {NULL, 0, 0, 0};
                attn_desc d = attn_desc_default();
                attn_exec one = attn_exec_default();
                uintptr_t start = measured ? (uintptr_t)exec->workspace : 0;
                if (measured) arena.base = (char *)exec->workspace + (64 - start % 64) % 64;
                d.q = attn_array_3d(dtype, attn__take(&arena, queries, sizeof(double)), ATTN__TEST_HEADS, ATTN__TEST_QUERIES, ATTN__TEST_DIM);
                d.k = attn_array_3d(dtype, attn__take(&arena, keys, sizeof(double)), 1, ATTN__TEST_KEYS, ATTN__TEST_DIM);
                d.v = attn_array_3d(dtype, attn__take(&arena, keys, sizeof(double)), 1, ATTN__TEST_KEYS, ATTN__TEST_DIM);
                d.out = attn_array_3d(dtype, attn__take(&arena, queries, sizeof(double)), ATTN__TEST_HEADS, ATTN__TEST_QUERIES, ATTN__TEST_DIM);
                d.alibi = attn_array_1d(dtype, attn__take(&arena, ATTN__TEST_HEADS, sizeof(double)), ATTN__TEST_HEADS);
                d.lse = attn_array_2d(dtype, attn__take(&arena, nq, sizeof(double)), ATTN__TEST_HEADS, ATTN__TEST_QUERIES);
                d.causal = 1;
                d.align = ATTN_ALIGN_OFFSET;
                d.q_offset = ATTN__TEST_KEYS - 8;
                one.path = (attn_path)path;
                for (round = 0; round < 2; round++) { /* as it comes; then softcap, and a row that overflows */
                    d.softcap = round ? 3 : 0;
                    if (measured) {
                        attn__test_fill(d.q.data, queries, dtype, &seed);
                        attn__test_fill(d.k.data, keys, dtype, &seed);
                        attn__test_fill(d.v.data, keys, dtype, &seed);
                        attn__test_fill(d.alibi.data, ATTN__TEST_HEADS, dtype, &seed);
                        if (round) attn__put(d.q.data, dtype, dtype == ATTN_F64 ? 1e308 : 3e38);
                    }
                    one.query = measured ? NULL : &bytes;
                    one.workspace = measured ? arena.base + arena.used : NULL;
                    one.workspace_size = measured ? most - arena.used : 0;
                    if ((status = attn_forward(&d, &one))) return status;
                    if (!measured && bytes + arena.used > most) most = bytes + arena.used;
                    if (!measured) continue;
                    attn__hash(&hash, d.out.data, queries, dtype);
                    attn__hash(&hash, d.lse.data, nq, dtype);
                }
                if (measured && hash != golden[type]) return ATTN_ERR_UNSOUND;
            }
        }
        if (measured) return ATTN_OK;
        if (attn__measuring(exec)) {
            *exec->query = most + 63;
            return ATTN_OK;
        }
        if (!exec || !exec->workspace || exec->workspace_size < most + 63) return ATTN_ERR_WORKSPACE;
    }
}

/* ---- states of parts ---- */

/* The head of a state. Its nodes are the largest whole subtrees of blocks in
 * [begin, end), and the cut blocks at both ends: that list follows from begin and
 * end alone, so states of the same part are the same bytes whoever makes them. */
typedef struct attn__state {
    uint64_t magic;
    uint64_t dtype, batch, q_heads, q_len, dim_v;
    uint64_t begin, end, nodes;
} attn__state;
#define ATTN__STATE_MAGIC UINT64_C(0x3174747461747361)
#define ATTN__NODES 128 /* two for each level of a tree over 2^63 keys */
/* As many states as this can be merged before sums of values overflow; rows that
 * come so near to the largest number are stored smaller. */
#define ATTN__STATE_ROOM 16777216.0

typedef struct attn__node {
    size_t begin, end;
} attn__node;

/* May the last two nodes be joined, in a list that covers [begin, end) in all?
 * Both in one block, or halves of a subtree that lies inside. */
static int attn__joinable(const attn__node *a, const attn__node *b, size_t begin, size_t end)
{
    const size_t x = (a->end - 1) / ATTN__BLOCK, y = (b->end - 1) / ATTN__BLOCK;
    const int level = attn__level(x, y);
    const size_t start = level < (int)(8 * sizeof(size_t)) - 9 ? (x >> level << level) * ATTN__BLOCK : 0;
    const size_t whole = level < (int)(8 * sizeof(size_t)) - 10 ? (size_t)ATTN__BLOCK << level : (size_t)-1;
    if (level == 0) return 1;
    return start >= begin && whole <= end && start <= end - whole && b->end == start + whole;
}

/* The nodes of [begin, end). A block at a time would be simple; a subtree at a time is quick. */
static size_t attn__nodes(size_t begin, size_t end, attn__node *nodes)
{
    size_t n = 0, at = begin;
    while (at < end) {
        size_t size = ATTN__BLOCK, next;
        if (at % ATTN__BLOCK == 0)
            while (at % (2 * size) == 0 && 2 * size <= end - at) size *= 2;
        next = at % ATTN__BLOCK ? attn__round_up(at, ATTN__BLOCK) : at + size;
        nodes[n].begin = at;
        nodes[n++].end = at = attn__min(next, end);
    }
    return n;
}

/* A state in memory: head, then per node max (rows), sum (rows), acc (rows, width). */
static size_t attn__state_width(size_t dim_v) { return attn__round_up(dim_v, ATTN__NR_MAX); }
static attn_status attn__state_bytes(size_t rows, size_t dim_v, attn_dtype dtype, size_t nodes, size_t *node_bytes, size_t *bytes)
{
    size_t row, all;
    if (dim_v > (size_t)-1 / 64) return ATTN_ERR_OVERFLOW;
    row = attn__state_width(dim_v) * attn_dtype_size(dtype) + 2 * sizeof(double);
    if (!attn__multiply_size(row, rows, node_bytes) || !attn__multiply_size(*node_bytes, nodes, &all) || all > (size_t)-1 / 2) return ATTN_ERR_OVERFLOW;
    *bytes = all + sizeof(attn__state);
    return ATTN_OK;
}
static void attn__node_parts(char *node, size_t rows, double **max, double **sum, char **acc)
{
    *max = (double *)(void *)node;
    *sum = *max + rows;
    *acc = (char *)(void *)(*sum + rows);
}

/* A state somebody hands in: is it one, and what does it hold? */
static attn_status attn__state_check(const void *state, attn__state *head, size_t *rows, size_t *node_bytes)
{
    attn__node nodes[ATTN__NODES];
    size_t bytes;
    if (!state) return ATTN_ERR_NULL;
    if ((uintptr_t)state % sizeof(double)) return ATTN_ERR_ALIGN;
    attn__memcpy(head, state, sizeof *head);
    if (head->magic != ATTN__STATE_MAGIC || head->dtype > ATTN_F64 || head->begin > head->end || head->end > (size_t)-1 / 2) return ATTN_ERR_PARAMETER;
    if (head->nodes != attn__nodes((size_t)head->begin, (size_t)head->end, nodes)) return ATTN_ERR_PARAMETER;
    if (!attn__multiply_size((size_t)head->batch, (size_t)head->q_heads, rows) || !attn__multiply_size(*rows, (size_t)head->q_len, rows)) return ATTN_ERR_OVERFLOW;
    return attn__state_bytes(*rows, (size_t)head->dim_v, (attn_dtype)head->dtype, (size_t)head->nodes, node_bytes, &bytes);
}

/* A problem without its own outputs: those of a state stand in. */
static attn_status attn__part_describe(const attn_desc *desc, attn_desc *d, int measuring, attn__problem *p)
{
    attn_status status;
    attn__view out;
    *d = *desc;
    attn__memset(&d->lse, 0, sizeof d->lse);
    d->scores = d->colsum = d->sinks = d->lse;
    /* out is not written; what stands in has its shape and touches no memory of ours */
    if ((status = attn__check(&d->q, 2, 4, ATTN__FLOATS, ATTN__INPUT, 1, &out))) return status;
    d->out = attn_array_4d(d->q.dtype, NULL, out.shape[ATTN__B], out.shape[ATTN__H], out.shape[ATTN__S], 0);
    if ((status = attn__check(&d->v, 2, 4, ATTN__FLOATS, ATTN__INPUT, 1, &out))) return status;
    d->out.shape[3] = out.shape[ATTN__D];
    if ((status = attn__describe(d, &d->q, &d->k, &d->v, &d->out, 1, measuring, p))) return status;
    return p->has_cu || p->has_pages ? ATTN_ERR_UNSUPPORTED : ATTN_OK;
}

ATTN_DEF attn_status attn_state_size(const attn_desc *desc, size_t *bytes)
{
    attn_desc d;
    attn__problem p;
    attn_status status;
    attn__node nodes[ATTN__NODES];
    size_t node_bytes;
    if (!desc || !bytes) return ATTN_ERR_NULL;
    if ((status = attn__part_describe(desc, &d, 1, &p))) return status;
    return attn__state_bytes(p.batch * p.q_heads * p.q_len, p.dim_v, d.q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32,
                             attn__nodes(p.kv_begin, p.kv_begin + p.kv_len, nodes), &node_bytes, bytes);
}

typedef struct attn__partial {
    attn__problem p;
    char *nodes;
    size_t node_bytes, node_count;
    attn__node node[ATTN__NODES];
} attn__partial;

/* One node for the rows of one task. */
static void attn__partial_task(void *arg, size_t index, size_t worker)
{
    const attn__partial *part = (const attn__partial *)arg;
    const attn__problem *p = &part->p;
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, width = attn__state_width(p->dim_v), all = p->batch * p->q_heads * p->q_len;
    const attn__node *node = &part->node[index % part->node_count];
    const attn__rows rows = attn__rows_of(p, index / part->node_count);
    attn__scratch s;
    double *max, *sum;
    char *acc;
    size_t r;

    attn__scratch_of(p, worker, &s);
    attn__node_parts(part->nodes + index % part->node_count * part->node_bytes, all, &max, &sum, &acc);
    attn__states(p, &rows, &s, node->begin, node->end, 0);
    for (r = 0; r < rows.count; r++) {
        const size_t at = (rows.b * p->q_heads + attn__head_of(&rows, r)) * p->q_len + attn__query_of(&rows, r);
        char *to = acc + at * width * es;
        max[at] = s.max[r];
        sum[at] = s.sum[r];
        s.row[r].redo = s.row[r].odd ? ATTN__REDO_WIDE : 0;
        attn__memset(to, 0, width * es);
        if (s.row[r].redo || s.max[r] <= -attn__infinity()) continue;
        if (kernel->scale(to, s.acc + r * p->width * es, p->dim_v, ATTN__STATE_ROOM)) s.row[r].redo = ATTN__REDO_EXACT;
        else kernel->scale(to, s.acc + r * p->width * es, p->dim_v, 1);
    }
    for (r = 0; r < rows.count; r++) {
        const size_t at = (rows.b * p->q_heads + attn__head_of(&rows, r)) * p->q_len + attn__query_of(&rows, r);
        char *to = acc + at * width * es;
        size_t c;
        if (s.row[r].redo == ATTN__REDO_EXACT) {
            attn__rows one = rows;
            one.head = attn__head_of(&rows, r);
            one.heads = 1;
            one.query = attn__query_of(&rows, r);
            one.count = 1;
            attn__states(p, &one, &s, node->begin, node->end, 1);
            if (kernel->scale(to, s.acc, p->dim_v, ATTN__STATE_ROOM)) s.row[r].redo = ATTN__REDO_WIDE;
            else kernel->scale(to, s.acc, p->dim_v, 1);
        }
        if (s.row[r].redo == ATTN__REDO_WIDE) { /* as if it were one key of score lse, but with room to add others */
            const attn__wide_sum w = attn__wide_row_sum(p, &rows, r, node->begin, node->end, 0);
            attn__wide_row(p, &rows, &s, r, &w, 0);
            max[at] = w.lse;
            sum[at] = 1;
            if (attn__finite_f64(w.lse)) {
                double above = w.lse + 16.635532333438686; /* ln ROOM */
                if (kernel->dtype == ATTN_F32) above = (double)attn__to_f32(above);
                if (above > w.lse && above < w.lse + 40 && attn__finite_f64(above)) {
                    max[at] = above;
                    sum[at] = attn__exp_f64(w.lse - above);
                } else sum[at] = 1 / ATTN__STATE_ROOM; /* a score so large does not resolve it */
            }
            for (c = 0; c < p->dim_v; c++) attn__put(to + c * es, kernel->dtype, s.wide[c] * sum[at]);
        }
    }
}

ATTN_DEF attn_status attn_partial(const attn_desc *desc, void *state, size_t state_size, const attn_exec *exec)
{
    attn_desc d;
    attn__partial part;
    attn__state head;
    attn_status status;
    size_t bytes;
    int measured;
    if (!desc) return ATTN_ERR_NULL;
    if ((status = attn__part_describe(desc, &d, attn__measuring(exec), &part.p))) return status;
    part.node_count = attn__nodes(part.p.kv_begin, part.p.kv_begin + part.p.kv_len, part.node);
    if ((status = attn__state_bytes(part.p.batch * part.p.q_heads * part.p.q_len, part.p.dim_v, d.q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32, part.node_count,
                                    &part.node_bytes, &bytes)))
        return status;
    if (!attn__measuring(exec)) {
        attn__view view, *inputs[7];
        int i;
        if (!state) return ATTN_ERR_NULL;
        if ((uintptr_t)state % sizeof(double)) return ATTN_ERR_ALIGN;
        if (state_size < bytes) return ATTN_ERR_WORKSPACE;
        view.low = (uintptr_t)state;
        view.high = view.low + bytes;
        inputs[0] = &part.p.q, inputs[1] = &part.p.k, inputs[2] = &part.p.v, inputs[3] = &part.p.mask, inputs[4] = &part.p.kv_lens, inputs[5] = &part.p.alibi;
        for (i = 0; i < 6; i++)
            if (!attn__apart(&view, inputs[i])) return ATTN_ERR_ALIAS;
    }
    if ((status = attn__ready(&part.p, exec, &measured)) || measured) return status;
    attn__memset(&head, 0, sizeof head);
    head.magic = ATTN__STATE_MAGIC;
    head.dtype = part.p.run.kernel->dtype;
    head.batch = part.p.batch;
    head.q_heads = part.p.q_heads;
    head.q_len = part.p.q_len;
    head.dim_v = part.p.dim_v;
    head.begin = part.p.kv_begin;
    head.end = part.p.kv_begin + part.p.kv_len;
    head.nodes = part.node_count;
    attn__memcpy(state, &head, sizeof head);
    part.nodes = (char *)state + sizeof head;
    attn__parallel(&part.p.run, part.p.tasks * part.node_count, attn__partial_task, &part);
    return ATTN_OK;
}

/* Plays the merge of two states, on memory if there is any: nodes are pushed in
 * order and joined as soon as they may. Returns the room for nodes it needs. */
static size_t attn__merge_nodes(const attn__state *a, const attn__state *b, const char *from_a, const char *from_b, char *to, size_t rows, size_t node_bytes,
                                const attn__kernel *kernel)
{
    attn__node in_a[ATTN__NODES], in_b[ATTN__NODES], stack[2 * ATTN__NODES];
    const size_t n_a = attn__nodes((size_t)a->begin, (size_t)a->end, in_a), n_b = attn__nodes((size_t)b->begin, (size_t)b->end, in_b);
    size_t i, depth = 0, most = 0;
    for (i = 0; i < n_a + n_b; i++) {
        stack[depth] = i < n_a ? in_a[i] : in_b[i - n_a];
        if (to) attn__memcpy(to + depth * node_bytes, i < n_a ? from_a + i * node_bytes : from_b + (i - n_a) * node_bytes, node_bytes);
        if (++depth > most) most = depth;
        while (depth >= 2 && attn__joinable(&stack[depth - 2], &stack[depth - 1], (size_t)a->begin, (size_t)b->end)) {
            depth--;
            stack[depth - 1].end = stack[depth].end;
            if (to) {
                double *max[2], *sum[2];
                char *acc[2];
                attn__node_parts(to + (depth - 1) * node_bytes, rows, &max[0], &sum[0], &acc[0]);
                attn__node_parts(to + depth * node_bytes, rows, &max[1], &sum[1], &acc[1]);
                kernel->join(rows, attn__state_width((size_t)a->dim_v), acc[0], max[0], sum[0], acc[1], max[1], sum[1]);
            }
        }
    }
    return most;
}

static attn_status attn__mergeable(const void *a, const void *b, attn__state *head_a, attn__state *head_b, size_t *rows, size_t *node_bytes, size_t *bytes)
{
    attn_status status;
    if ((status = attn__state_check(a, head_a, rows, node_bytes)) || (status = attn__state_check(b, head_b, rows, node_bytes))) return status;
    if (head_a->dtype != head_b->dtype) return ATTN_ERR_DTYPE;
    if (head_a->batch != head_b->batch || head_a->q_heads != head_b->q_heads || head_a->q_len != head_b->q_len || head_a->dim_v != head_b->dim_v) return ATTN_ERR_SHAPE;
    if (head_a->end != head_b->begin) return ATTN_ERR_LENGTH; /* not adjacent, or in the wrong order */
    return attn__state_bytes(*rows, (size_t)head_a->dim_v, (attn_dtype)head_a->dtype, attn__merge_nodes(head_a, head_b, NULL, NULL, NULL, *rows, *node_bytes, NULL),
                             node_bytes, bytes);
}

ATTN_DEF attn_status attn_state_merged_size(const void *a, const void *b, size_t *bytes)
{
    attn__state head_a, head_b;
    size_t rows, node_bytes;
    if (!bytes) return ATTN_ERR_NULL;
    return attn__mergeable(a, b, &head_a, &head_b, &rows, &node_bytes, bytes);
}

static attn_status attn__state_kernel(attn_path path, attn_dtype dtype, const attn__kernel **kernel)
{
    attn_exec exec = attn_exec_default();
    attn_status status;
    exec.path = path;
    if ((status = attn__path_of(&exec, ATTN__BLOCK, &path))) return status;
    *kernel = attn__kernel_of(path, dtype);
    return ATTN_OK;
}

ATTN_DEF attn_status attn_state_merge(const void *a, const void *b, void *merged, size_t merged_size, attn_path path)
{
    attn__state head_a, head_b;
    const attn__kernel *kernel;
    attn__node nodes[ATTN__NODES];
    attn__view views[3];
    size_t rows, node_bytes, bytes;
    attn_status status = attn__mergeable(a, b, &head_a, &head_b, &rows, &node_bytes, &bytes);
    if (status) return status;
    if ((status = attn__state_kernel(path, (attn_dtype)head_a.dtype, &kernel))) return status;
    if (!merged) return ATTN_ERR_NULL;
    if ((uintptr_t)merged % sizeof(double)) return ATTN_ERR_ALIGN;
    if (merged_size < bytes) return ATTN_ERR_WORKSPACE;
    views[0].low = (uintptr_t)merged, views[0].high = views[0].low + bytes;
    views[1].low = (uintptr_t)a, views[1].high = views[1].low + sizeof head_a + (size_t)head_a.nodes * node_bytes;
    views[2].low = (uintptr_t)b, views[2].high = views[2].low + sizeof head_b + (size_t)head_b.nodes * node_bytes;
    if (!attn__apart(&views[0], &views[1]) || !attn__apart(&views[0], &views[2])) return ATTN_ERR_ALIAS;
    attn__merge_nodes(&head_a, &head_b, (const char *)a + sizeof head_a, (const char *)b + sizeof head_b, (char *)merged + sizeof head_a, rows, node_bytes, kernel);
    head_a.end = head_b.end;
    head_a.nodes = attn__nodes((size_t)head_a.begin, (size_t)head_a.end, nodes);
    attn__memcpy(merged, &head_a, sizeof head_a);
    return ATTN_OK;
}

ATTN_DEF attn_status attn_state_finish(const attn_desc *desc, const void *state, attn_path path)
{
    attn__problem p;
    attn__rows rows;
    attn__state head;
    attn__scratch s;
    attn__row one;
    double max[ATTN__NODES], sum[ATTN__NODES];
    double acc[ATTN__NODES][ATTN__NR_MAX]; /* T; one row, a few columns at a time: columns do not meet */
    size_t all, node_bytes, row, n, c, last, width;
    attn_status status = attn__state_check(state, &head, &all, &node_bytes);
    if (status) return status;
    if (!desc) return ATTN_ERR_NULL;
    attn__memset(&p, 0, sizeof p);
    attn__memset(&rows, 0, sizeof rows);
    attn__memset(&s, 0, sizeof s);
    p.desc = desc;
    if ((status = attn__check(&desc->out, 2, 4, head.dtype == ATTN_F64 ? 1u << ATTN_F64 : ATTN__HALVES, ATTN__OUTPUT, 0, &p.out))) return status;
    if (!attn__shape_is(&p.out, (size_t)head.batch, (size_t)head.q_heads, (size_t)head.q_len, (size_t)head.dim_v)) return ATTN_ERR_SHAPE;
    p.has_lse = attn__present(&desc->lse);
    if (p.has_lse) {
        if ((status = attn__check(&desc->lse, 1, 3, head.dtype == ATTN_F64 ? 1u << ATTN_F64 : ATTN__HALVES, ATTN__OUTPUT, 0, &p.lse))) return status;
        if (!attn__shape_is(&p.lse, 1, (size_t)head.batch, (size_t)head.q_heads, (size_t)head.q_len)) return ATTN_ERR_SHAPE;
    }
    p.has_sinks = attn__present(&desc->sinks);
    if (p.has_sinks) {
        if ((status = attn__check(&desc->sinks, 1, 1, ATTN__FLOATS, ATTN__INPUT, 0, &p.sinks))) return status;
        if (p.sinks.shape[ATTN__D] != head.q_heads) return ATTN_ERR_SHAPE;
    }
    { /* what is written may overlap neither the state nor the sinks */
        attn__view whole;
        whole.low = (uintptr_t)state, whole.high = whole.low + sizeof head + (size_t)head.nodes * node_bytes;
        if (!attn__apart(&p.out, &whole) || !attn__apart(&p.lse, &whole) || !attn__apart(&p.out, &p.lse) || !attn__apart(&p.out, &p.sinks) || !attn__apart(&p.lse, &p.sinks))
            return ATTN_ERR_ALIAS;
    }
    if ((status = attn__state_kernel(path, (attn_dtype)head.dtype, &p.run.kernel))) return status;
    width = attn__state_width((size_t)head.dim_v);
    for (row = 0; row < all; row++) {
        size_t rest = row;
        rows.query = rest % (size_t)head.q_len;
        rest /= (size_t)head.q_len;
        rows.head = rest % (size_t)head.q_heads;
        rows.b = rest / (size_t)head.q_heads;
        rows.heads = rows.count = 1;
        for (c = 0; c < width || c == 0; c += ATTN__NR_MAX) {
            const size_t columns = attn__min(ATTN__NR_MAX, width - c);
            attn__view out = p.out;
            unsigned char kept[ATTN__NR_MAX]; /* is the merged sum finite? */
            for (n = 0; n < head.nodes; n++) {
                double *from_max, *from_sum;
                char *from;
                attn__node_parts((char *)(uintptr_t)state + sizeof head + n * node_bytes, all, &from_max, &from_sum, &from);
                max[n] = from_max[row];
                sum[n] = from_sum[row];
                attn__memcpy(acc[n], from + (row * width + c) * p.run.kernel->size, columns * p.run.kernel->size);
            }
            max[n] = -attn__infinity();
            sum[n] = 0;
            for (last = n; last >= 2; last--) p.run.kernel->join(1, columns, acc[last - 2], &max[last - 2], &sum[last - 2], acc[last - 1], &max[last - 1], &sum[last - 1]);
            for (n = 0; n < columns; n++) {
                double x;
                attn__load_f64(&x, (char *)acc[0] + n * p.run.kernel->size, (attn_dtype)head.dtype, 1, 1);
                kept[n] = (unsigned char)attn__finite_f64(x);
            }
            s.acc = (char *)acc[0];
            s.max = max;
            s.sum = sum;
            s.row = &one;
            p.width = columns;
            p.dim_v = attn__min(columns, (size_t)head.dim_v - c);
            p.out.data = out.data + (ptrdiff_t)c * out.stride[ATTN__D] * out.size;
            if (attn__finish_row(&p, &rows, &s, 0)) /* NaN and infinity as they are; a sum that rounded up comes back */
                for (n = 0; n < p.dim_v; n++) {
                    double x;
                    attn__load_f64(&x, (char *)acc[0] + n * p.run.kernel->size, (attn_dtype)head.dtype, 1, 1);
                    if (attn__finite_f64(max[0]) && attn__finite_f64(sum[0]) && !attn__nan_f64(x) && kept[n]) x = attn__saturate(x, (attn_dtype)head.dtype);
                    attn__store_one(&p.out, attn__query_at(&p.out, &rows, rows.head, rows.query) + (ptrdiff_t)n * out.stride[ATTN__D] * out.size, x);
                }
            p.out = out;
        }
    }
    return ATTN_OK;
}

/* ---- caches ---- */

ATTN_DEF attn_status attn_cache_append(const attn_array *cache, const attn_array *rows, const attn_array *lens, const attn_array *block_table)
{
    attn__view to, from, at, table;
    attn_status status;
    size_t b, h, i, c, capacity, page_size;
    int pass;
    const unsigned floats = cache && cache->dtype == ATTN_F64 ? 1u << ATTN_F64 : ATTN__HALVES;
    if (!cache || !rows) return ATTN_ERR_NULL;
    if ((status = attn__check(cache, 4, 4, floats, ATTN__OUTPUT, 0, &to))) return status;
    if ((status = attn__check(rows, 4, 4, floats, ATTN__INPUT, 0, &from))) return status;
    if (lens && (status = attn__check(lens, 1, 1, ATTN__INTS, ATTN__INPUT, 0, &at))) return status;
    if (block_table && (status = attn__check(block_table, 2, 2, ATTN__INTS, ATTN__INPUT, 0, &table))) return status;
    capacity = page_size = to.shape[ATTN__S];
    if (block_table) {
        if (table.shape[ATTN__S] != from.shape[ATTN__B] || page_size == 0) return ATTN_ERR_SHAPE;
        if (!attn__multiply_size(page_size, table.shape[ATTN__D], &capacity)) return ATTN_ERR_OVERFLOW;
    }
    if ((!block_table && to.shape[ATTN__B] != from.shape[ATTN__B]) || to.shape[ATTN__H] != from.shape[ATTN__H] || to.shape[ATTN__D] != from.shape[ATTN__D]) return ATTN_ERR_SHAPE;
    if (lens && at.shape[ATTN__D] != from.shape[ATTN__B]) return ATTN_ERR_SHAPE;
    if (!attn__apart(&to, &from) || (lens && !attn__apart(&to, &at)) || (block_table && !attn__apart(&to, &table))) return ATTN_ERR_ALIAS;
    for (pass = 0; pass < 2; pass++) /* checks everything, then writes */
        for (b = 0; b < from.shape[ATTN__B]; b++) {
            const int64_t len = lens ? attn__integer(&at, (ptrdiff_t)b * at.stride[ATTN__D]) : 0;
            if (len < 0 || (uint64_t)len > capacity || from.shape[ATTN__S] > capacity - (size_t)len) return ATTN_ERR_LENGTH;
            for (i = 0; i < from.shape[ATTN__S]; i++) {
                size_t row = (size_t)len + i, place = b;
                if (block_table) {
                    const int64_t page = attn__integer(&table, (ptrdiff_t)b * table.stride[ATTN__S] + (ptrdiff_t)(row / page_size) * table.stride[ATTN__D]);
                    if (page < 0 || (uint64_t)page >= to.shape[ATTN__B]) return ATTN_ERR_PAGE;
                    place = (size_t)page;
                    row %= page_size;
                }
                for (h = 0; pass && h < from.shape[ATTN__H]; h++) {
                    char *x = attn__at(&to, place, h, row);
                    const char *y = attn__at(&from, b, h, i);
                    for (c = 0; c < from.shape[ATTN__D]; c++, x += to.stride[ATTN__D] * to.size, y += from.stride[ATTN__D] * from.size) {
                        float narrow;
                        if (to.dtype == ATTN_F64) *(double *)(void *)x = *(const double *)(const void *)y;
                        else {
                            attn__load_f32(&narrow, y, from.dtype, 1, 1);
                            attn__store_f32(x, to.dtype, 1, &narrow, 1);
                        }
                    }
                }
            }
        }
    return ATTN_OK;
}

/* ---- rotary embedding ---- */

/* sin and cos of any |x| < 2^30: x = n pi/2 + r, pi/2 in three parts of 33 bits
 * and more, so that n times the first two is exact; then the Taylor series on
 * |r| <= pi/4, whose next terms are below 2^-58. */
static void attn__sin_cos(double x, double *sine, double *cosine)
{
    const double n = attn__madd_f64(x, 0.63661977236758134, ATTN__MAGIC_F64) - ATTN__MAGIC_F64;
    double r, z, s = 0, c = 0;
    int i, quarter;
    r = attn__fma_f64(n, -1.57079632673412561417, x);
    r = attn__fma_f64(n, -6.07710050630396597660e-11, r);
    r = attn__fma_f64(n, -2.02226624879595063154e-21, r);
    z = r * r;
    for (i = 19; i >= 3; i -= 2) s = attn__madd_f64(s, z, 1.0) * (-1.0 / (i * (i - 1)));
    for (i = 20; i >= 2; i -= 2) c = attn__madd_f64(c, z, 1.0) * (-1.0 / (i * (i - 1)));
    s = attn__madd_f64(s * z, r, r);
    c = attn__madd_f64(c, z, 1.0);
    quarter = (int)((int64_t)n & 3);
    *sine = quarter == 0 ? s : quarter == 1 ? c : quarter == 2 ? -s : -c;
    *cosine = quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s;
}

ATTN_DEF attn_status attn_rotary(const attn_array *x, const attn_array *positions, double base, size_t rotary_dim, int interleaved, const attn_array *y)
{
    attn__view from, to, at;
    attn_status status;
    size_t b, h, i, c, half;
    double log_base, log_low;
    int same = 1, dim;
    if (!x || !y) return ATTN_ERR_NULL;
    if ((status = attn__check(x, 2, 4, ATTN__FLOATS, ATTN__INPUT, 0, &from))) return status;
    if ((status = attn__check(y, x->ndim, x->ndim, 1u << x->dtype, ATTN__OUTPUT, 0, &to))) return status;
    for (dim = ATTN__B; dim <= ATTN__D; dim++) {
        if (from.shape[dim] != to.shape[dim]) return ATTN_ERR_SHAPE;
        if (from.shape[dim] > 1 && from.stride[dim] != to.stride[dim]) same = 0;
    }
    if (!attn__apart(&from, &to) && !(same && from.data == to.data)) return ATTN_ERR_ALIAS;
    if (!rotary_dim) rotary_dim = from.shape[ATTN__D];
    if (rotary_dim > from.shape[ATTN__D] || rotary_dim % 2) return ATTN_ERR_SHAPE;
    if (!attn__finite_f64(base) || base < 0) return ATTN_ERR_PARAMETER;
    if (!(base > 0)) base = 10000;
    half = rotary_dim / 2;
    log_base = attn__log_f64(base);
    log_low = attn__fma_f64(base, attn__exp_f64(-log_base), -1); /* one step of Newton's */
    if (positions) {
        if ((status = attn__check(positions, 1, 2, ATTN__INTS, ATTN__INPUT, 0, &at))) return status;
        if (at.shape[ATTN__D] != from.shape[ATTN__S] || (at.shape[ATTN__S] != 1 && at.shape[ATTN__S] != from.shape[ATTN__B])) return ATTN_ERR_SHAPE;
        if (at.shape[ATTN__S] != from.shape[ATTN__B]) at.stride[ATTN__S] = 0;
        if (!attn__apart(&to, &at)) return ATTN_ERR_ALIAS;
    }
    for (b = 0; b < from.shape[ATTN__B]; b++) /* angles below 2^30, where the reduction is exact enough */
        for (i = 0; i < from.shape[ATTN__S]; i++) {
            const int64_t p = positions ? attn__integer(&at, (ptrdiff_t)b * at.stride[ATTN__S] + (ptrdiff_t)i * at.stride[ATTN__D]) : (int64_t)i;
            if (p >= (int64_t)1 << 30 || p <= -((int64_t)1 << 30)) return ATTN_ERR_LENGTH;
        }
    if (base < 1) return ATTN_ERR_PARAMETER; /* would turn faster than a radian a position */
    for (c = 0; c < half; c++) {
        const size_t first = interleaved ? 2 * c : c, second = interleaved ? 2 * c + 1 : c + half;
        /* base^(-2c/rotary_dim), the exponent in two doubles: its error would grow with the position */
        const double share = (double)(2 * c) / (double)rotary_dim, share_low = attn__fma_f64(-share, (double)rotary_dim, (double)(2 * c)) / (double)rotary_dim;
        const double exponent = -log_base * share;
        const double low = attn__fma_f64(-log_base, share, -exponent) - attn__fma_f64(log_base, share_low, log_low * share);
        const double e = attn__exp_f64(exponent), turn = attn__fma_f64(e, low, e);
        for (b = 0; b < from.shape[ATTN__B]; b++)
            for (i = 0; i < from.shape[ATTN__S]; i++) {
                const int64_t p = positions ? attn__integer(&at, (ptrdiff_t)b * at.stride[ATTN__S] + (ptrdiff_t)i * at.stride[ATTN__D]) : (int64_t)i;
                double sine, cosine, u, v;
                attn__sin_cos((double)p * turn, &sine, &cosine);
                for (h = 0; h < from.shape[ATTN__H]; h++) {
                    const char *row = attn__at(&from, b, h, i);
                    char *out = attn__at(&to, b, h, i);
                    attn__load_f64(&u, row + (ptrdiff_t)first * from.stride[ATTN__D] * from.size, from.dtype, 1, 1);
                    attn__load_f64(&v, row + (ptrdiff_t)second * from.stride[ATTN__D] * from.size, from.dtype, 1, 1);
                    attn__put(out + (ptrdiff_t)first * to.stride[ATTN__D] * to.size, to.dtype, attn__madd_f64(u, cosine, -(v * sine)));
                    attn__put(out + (ptrdiff_t)second * to.stride[ATTN__D] * to.size, to.dtype, attn__madd_f64(u, sine, v * cosine));
                }
            }
    }
    for (b = 0; b < from.shape[ATTN__B]; b++)
        for (h = 0; h < from.shape[ATTN__H]; h++)
            for (i = 0; i < from.shape[ATTN__S]; i++)
                for (c = rotary_dim; c < from.shape[ATTN__D] && to.data != from.data; c++)
                    attn__memcpy(attn__at(&to, b, h, i) + (ptrdiff_t)c * to.stride[ATTN__D] * to.size, attn__at(&from, b, h, i) + (ptrdiff_t)c * from.stride[ATTN__D] * from.size,
                            (size_t)to.size);
    return ATTN_OK;
}

/* ---- layers ---- */

/* rows (B, S, columns) += bias (columns) */
static void attn__add_bias(const attn_array *rows, const attn_array *bias)
{
    attn__view v, b;
    size_t i, s, c;
    if (attn__check(rows, 3, 3, ~0u, ATTN__INPUT, 0, &v) || attn__check(bias, 1, 1, ~0u, ATTN__INPUT, 0, &b)) return; /* checked before */
    for (i = 0; i < v.shape[ATTN__H]; i++)
        for (s = 0; s < v.shape[ATTN__S]; s++)
            for (c = 0; c < v.shape[ATTN__D]; c++) {
                char *at = attn__at(&v, 0, i, s) + (ptrdiff_t)c * v.stride[ATTN__D] * v.size;
                const char *add = b.data + (ptrdiff_t)c * b.stride[ATTN__D] * b.size;
                if (v.dtype == ATTN_F64) *(double *)(void *)at += *(const double *)(const void *)add;
                else *(float *)(void *)at += *(const float *)(const void *)add;
            }
}

/* A (B, S, heads * n) array as (B, heads, S, n). */
static attn_array attn__heads_of(const attn_array *a, size_t heads)
{
    attn_array r = attn_array_4d(a->dtype, a->data, a->shape[0], heads, a->shape[1], heads ? a->shape[2] / heads : 0);
    r.stride[0] = a->stride[0];
    r.stride[1] = a->stride[2] * (ptrdiff_t)r.shape[3];
    r.stride[2] = a->stride[1];
    r.stride[3] = a->stride[2];
    return r;
}

/* (S, N) or (B, S, N) as (B, S, N) with explicit strides. */
static attn_status attn__batched(const attn_array *a, attn_dtype dtype, int output, int measuring, attn_array *r)
{
    attn__view v;
    int i;
    attn_status status = attn__check(a, 2, 3, 1u << dtype, output, measuring, &v);
    if (status) return status;
    *r = attn_array_3d(a->dtype, a->data, v.shape[ATTN__H], v.shape[ATTN__S], v.shape[ATTN__D]);
    for (i = 0; i < 3; i++) r->stride[i] = v.stride[ATTN__H + i];
    return ATTN_OK;
}

/* Contiguous (B, S, N) in the workspace. */
static attn_array attn__temporary(attn__arena *arena, attn_dtype dtype, size_t b, size_t s, size_t n)
{
    attn_array r;
    size_t count;
    if (!attn__multiply_size(b, s, &count) || !attn__multiply_size(count, n, &count)) arena->overflow = 1, count = 0;
    r = attn_array_3d(dtype, attn__take(arena, count, attn_dtype_size(dtype)), b, s, n);
    r.stride[0] = (ptrdiff_t)(s * n);
    r.stride[1] = (ptrdiff_t)n;
    r.stride[2] = 1;
    return r;
}

ATTN_DEF attn_status attn_layer_forward(const attn_layer *layer, const attn_exec *exec)
{
    const int measuring = attn__measuring(exec);
    const attn_array *w[4], *bias[4];
    attn_array x, out, to[4];
    attn_desc d;
    attn_exec sub = exec ? *exec : attn_exec_default();
    attn__view views[11];
    attn__arena arena = {NULL, 0, 0, 0};
    attn_dtype dtype;
    attn_status status;
    size_t num_heads, kv_heads, bytes, most = 0, columns[4];
    uintptr_t start;
    int i, j, pass, has_o;

    if (!layer) return ATTN_ERR_NULL;
    dtype = layer->x.dtype;
    if (dtype != ATTN_F32 && dtype != ATTN_F64) return ATTN_ERR_DTYPE;
    num_heads = layer->num_heads ? layer->num_heads : 1;
    kv_heads = layer->kv_num_heads ? layer->kv_num_heads : num_heads;
    if (num_heads % kv_heads) return ATTN_ERR_HEADS;
    w[0] = &layer->w_q, w[1] = &layer->w_k, w[2] = &layer->w_v, w[3] = &layer->w_o;
    bias[0] = &layer->b_q, bias[1] = &layer->b_k, bias[2] = &layer->b_v, bias[3] = &layer->b_o;
    has_o = attn__present(&layer->w_o);

    attn__memset(views, 0, sizeof views);
    if ((status = attn__batched(&layer->x, dtype, ATTN__INPUT, measuring, &x))) return status;
    if ((status = attn__batched(&layer->out, dtype, ATTN__OUTPUT, measuring, &out))) return status;
    if (layer->x.ndim != layer->out.ndim) return ATTN_ERR_RANK;
    for (i = 0; i < 4; i++) {
        columns[i] = 0;
        if (i == 3 && !has_o) {
            if (attn__present(bias[i])) return ATTN_ERR_UNSUPPORTED; /* a bias of nothing */
            continue;
        }
        if ((status = attn__check(w[i], 2, 2, 1u << dtype, ATTN__INPUT, measuring, &views[i]))) return status;
        columns[i] = views[i].shape[ATTN__D];
        if (attn__present(bias[i])) {
            if ((status = attn__check(bias[i], 1, 1, 1u << dtype, ATTN__INPUT, measuring, &views[4 + i]))) return status;
            if (views[4 + i].shape[ATTN__D] != columns[i]) return ATTN_ERR_SHAPE;
        }
    }
    if (columns[0] % num_heads || columns[1] % kv_heads || columns[2] % kv_heads || columns[0] / num_heads != columns[1] / kv_heads) return ATTN_ERR_SHAPE;
    if (!attn__multiply_size(columns[2] / kv_heads, num_heads, &bytes)) return ATTN_ERR_OVERFLOW;
    if (out.shape[0] != x.shape[0] || out.shape[1] != x.shape[1] || out.shape[2] != (has_o ? columns[3] : bytes) || (has_o && views[3].shape[ATTN__S] != bytes))
        return ATTN_ERR_SHAPE;

    d = layer->attention;
    d.q = d.k = d.v = d.out = d.scores = attn_desc_default().scores;
    if (attn__present(&layer->weights)) {
        if ((status = attn__check(&layer->weights, 2, 4, 1u << dtype, ATTN__OUTPUT, measuring, &views[10]))) return status;
        d.scores = attn_array_4d(dtype, layer->weights.data, views[10].shape[ATTN__B], views[10].shape[ATTN__H], views[10].shape[ATTN__S], views[10].shape[ATTN__D]);
        for (i = 0; i < 4; i++) d.scores.stride[i] = views[10].stride[4 + i];
        if (layer->weights.ndim == 3 && num_heads == 1) { /* (B, S, S) */
            d.scores.shape[0] = d.scores.shape[1];
            d.scores.stride[0] = d.scores.stride[1];
            d.scores.shape[1] = 1;
        }
    }
    if ((status = attn__check(&x, 3, 3, ~0u, ATTN__INPUT, measuring, &views[8])) || (status = attn__check(&out, 3, 3, ~0u, ATTN__OUTPUT, measuring, &views[9]))) return status;
    for (i = 9; i < 11; i++)
        for (j = 0; j < 11; j++)
            if (i != j && !attn__apart(&views[i], &views[j])) return ATTN_ERR_ALIAS;

    /* Pass 0 measures, and checks what the parts check; pass 1 computes. */
    sub.query = &bytes;
    sub.workspace = NULL;
    for (pass = 0;; pass++) {
        arena.used = 0;
        for (i = 0; i < 3; i++) {
            to[i] = attn__temporary(&arena, dtype, x.shape[0], x.shape[1], columns[i]);
            if ((status = attn_matmul(&x, w[i], &to[i], &sub))) return status;
            if (bytes > most) most = bytes;
            if (pass && attn__present(bias[i])) attn__add_bias(&to[i], bias[i]);
        }
        to[3] = has_o ? attn__temporary(&arena, dtype, x.shape[0], x.shape[1], columns[2] / kv_heads * num_heads) : out;
        d.q = attn__heads_of(&to[0], num_heads);
        d.k = attn__heads_of(&to[1], kv_heads);
        d.v = attn__heads_of(&to[2], kv_heads);
        d.out = attn__heads_of(&to[3], num_heads);
        if (attn__present(&d.scores) && !attn__whole_scores(&d.scores, &d.q)) return ATTN_ERR_SHAPE;
        if ((status = attn_forward(&d, &sub))) return status;
        if (bytes > most) most = bytes;
        if (has_o) {
            if ((status = attn_matmul(&to[3], w[3], &out, &sub))) return status;
            if (bytes > most) most = bytes;
            if (pass && attn__present(bias[3])) attn__add_bias(&out, bias[3]);
        }
        if (pass) return ATTN_OK;

        if (arena.overflow || most > (size_t)-1 / 4) return ATTN_ERR_OVERFLOW;
        bytes = arena.used + most;
        if (bytes) bytes += 63;
        if (measuring) {
            *exec->query = bytes;
            return ATTN_OK;
        }
        if (bytes && (!exec || !exec->workspace || exec->workspace_size < bytes)) return ATTN_ERR_WORKSPACE;
        start = (uintptr_t)exec->workspace;
        arena.base = (char *)exec->workspace + (64 - start % 64) % 64;
        sub.query = NULL;
        sub.workspace = arena.base + arena.used;
        sub.workspace_size = most;
    }
}

#if !ATTN__FUSED
#if defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif
#endif

#endif /* ATTENTION_IMPLEMENTATION */

/* ==========================================================================
 * KERNEL TEMPLATE: one body for every path and compute type
 *
 * Included by this very file with ATTN__ISA, ATTN__VL (vector length), ATTN__MR
 * (rows of the register tile) and ATTN__F64 (0: float, 1: double) defined, and
 * the vocabulary of the path. "attn_v" names are this path's own.
 * ======================================================================== */
#if defined(ATTN__KERNEL)

#if ATTN__F64
#define ATTN__V(name) ATTN__CAT(attn__, ATTN__CAT(ATTN__ISA, ATTN__CAT(_f64_, name)))
#define ATTN__C(name) ATTN__CAT(ATTN__, ATTN__CAT(name, _F64))
#define attn_real double
#define attn_vfinite attn__finite_f64
#else
#define ATTN__V(name) ATTN__CAT(attn__, ATTN__CAT(ATTN__ISA, ATTN__CAT(_f32_, name)))
#define ATTN__C(name) ATTN__CAT(ATTN__, ATTN__CAT(name, _F32))
#define attn_real float
#define attn_vfinite attn__finite_f32
#endif
#define attn_madd ATTN__CAT(attn__, ATTN__CAT(ATTN__ISA, _madd))
#define attn_vec ATTN__V(vec)
#define attn_vload ATTN__V(load)
#define attn_vstore ATTN__V(store)
#define attn_vset1 ATTN__V(set1)
#define attn_vadd ATTN__V(add)
#define attn_vsub ATTN__V(sub)
#define attn_vmul ATTN__V(mul)
#define attn_vmax ATTN__V(max)
#if ATTN__FUSED
#define attn_vfma ATTN__V(fma)
#else
#define attn_vfma(a, b, c) attn_vadd(attn_vmul(a, b), c)
#endif
#define attn_vfma_lane ATTN__V(fma_lane)
#define attn_vexp2i ATTN__V(exp2i)
#define attn_vdiv ATTN__V(div)
#define attn_vchoose ATTN__V(choose)
#define attn_vtranspose ATTN__V(transpose)
#define attn_vsum ATTN__V(sum)
#define attn_vmost ATTN__V(most)
#define attn_vexp ATTN__V(vexp)

#define ATTN__NR (2 * ATTN__VL)                    /* columns of a panel */
#define ATTN__QUAD (16 / (int)sizeof(attn_real)) /* elements of a 128-bit lane */
#define ATTN__LANES ATTN__C(LANES)
#define ATTN__SET (ATTN__LANES / ATTN__VL)       /* vectors in the virtual lanes */
#define ATTN__STEP_KEYS (ATTN__NR > ATTN__LANES ? ATTN__NR : ATTN__LANES)

/* X(0) ... X(vectors in the virtual lanes - 1); FOLD joins those vectors, first
 * half with second half, until one is left */
#if ATTN__F64
#if ATTN__VL == 8
#define ATTN__EACH ATTN__REPEAT_1
#define ATTN__FOLD(op, x)
#elif ATTN__VL == 4
#define ATTN__EACH ATTN__REPEAT_2
#define ATTN__FOLD ATTN__FOLD_2
#elif ATTN__VL == 2
#define ATTN__EACH ATTN__REPEAT_4
#define ATTN__FOLD ATTN__FOLD_4
#else
#define ATTN__EACH ATTN__REPEAT_8
#define ATTN__FOLD ATTN__FOLD_8
#endif
#else
#if ATTN__VL == 16
#define ATTN__EACH ATTN__REPEAT_1
#define ATTN__FOLD(op, x)
#elif ATTN__VL == 8
#define ATTN__EACH ATTN__REPEAT_2
#define ATTN__FOLD ATTN__FOLD_2
#elif ATTN__VL == 4
#define ATTN__EACH ATTN__REPEAT_4
#define ATTN__FOLD ATTN__FOLD_4
#else
#define ATTN__EACH ATTN__REPEAT_16
#define ATTN__FOLD ATTN__FOLD_16
#endif
#endif

/* ... X(QUAD - 1) */
#if ATTN__F64
#define ATTN__EACH_OF_QUAD ATTN__REPEAT_2
#else
#define ATTN__EACH_OF_QUAD ATTN__REPEAT_4
#endif

/* ... X(MR - 1) */
#if ATTN__MR == 14
#define ATTN__EACH_ROW ATTN__REPEAT_14
#elif ATTN__MR == 8
#define ATTN__EACH_ROW ATTN__REPEAT_8
#elif ATTN__MR == 6
#define ATTN__EACH_ROW ATTN__REPEAT_6
#else
#define ATTN__EACH_ROW ATTN__REPEAT_4
#endif

ATTN__INLINE attn_vec ATTN__V(load_as)(const void *p, attn_dtype dtype)
{
#if !ATTN__F64
    if (dtype == ATTN_F16) return ATTN__V(load_f16)((const uint16_t *)p);
    if (dtype == ATTN_BF16) return ATTN__V(load_bf16)((const uint16_t *)p);
#endif
    (void)dtype;
    return attn_vload((const attn_real *)p);
}

#ifndef ATTN__PARTS
ATTN__INLINE attn_vec ATTN__V(load_part)(const attn_real *p, size_t n)
{
    attn_real x[ATTN__VL];
    size_t j;
    for (j = 0; j < ATTN__VL; j++) x[j] = j < n ? p[j] : 0;
    return attn_vload(x);
}
ATTN__INLINE void ATTN__V(store_part)(attn_real *p, attn_vec a, size_t n)
{
    attn_real x[ATTN__VL];
    size_t j;
    attn_vstore(x, a);
    for (j = 0; j < n; j++) p[j] = x[j];
}
#endif

/* The register tile: M rows by W vectors, one or two, each element one chain of
 * multiply-adds over k. M, W and the type of b are constants wherever this is inlined. */
ATTN__INLINE void ATTN__V(tile)(const int M, const int W, const attn_dtype dtype, size_t depth, const attn_real *a, const char *b, size_t ldb, attn_real *c, size_t ldc, int accumulate)
{
    const size_t size = dtype == ATTN_F64 ? 8 : dtype == ATTN_F32 ? 4 : 2, second = ATTN__VL * size;
    size_t k;
    ldb *= size;
#define ATTN__X(i) attn_vec c##i##0 = attn_vset1(0), c##i##1 = c##i##0;
    ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
    if (accumulate) {
#define ATTN__X(i) \
    if (M > i) c##i##0 = attn_vload(c + i * ldc), c##i##1 = W > 1 ? attn_vload(c + i * ldc + ATTN__VL) : c##i##0;
        ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
    }
    k = 0;
#ifdef ATTN__LANE_FMA /* one load along the depth for each row, whose lanes multiply */
#define ATTN__X(i) attn_vec x##i = c##i##0;
    ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
    for (; k + ATTN__VL <= depth; k += ATTN__VL, a += ATTN__VL) {
        attn_vec b0, b1;
#define ATTN__X(i) \
    if (M > i) x##i = attn_vload(a + i * ATTN__LD);
        ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
#define ATTN__X(i) \
    if (M > i) c##i##0 = attn_vfma_lane(c##i##0, b0, x##i, ATTN__AT), c##i##1 = W > 1 ? attn_vfma_lane(c##i##1, b1, x##i, ATTN__AT) : c##i##1;
#define ATTN__STEP                                                                          \
    b0 = ATTN__V(load_as)(b, dtype), b1 = W > 1 ? ATTN__V(load_as)(b + second, dtype) : b0; \
    ATTN__PREFETCH(b, 16 * ldb);                                                            \
    b += ldb;                                                                               \
    ATTN__EACH_ROW(ATTN__X)
#define ATTN__AT 0
        ATTN__STEP
#undef ATTN__AT
#define ATTN__AT 1
        ATTN__STEP
#undef ATTN__AT
#if ATTN__VL > 2
#define ATTN__AT 2
        ATTN__STEP
#undef ATTN__AT
#define ATTN__AT 3
        ATTN__STEP
#undef ATTN__AT
#endif
#undef ATTN__STEP
#undef ATTN__X
    }
#endif
    for (; k < depth; k++, a++, b += ldb) {
        attn_vec b0 = ATTN__V(load_as)(b, dtype), b1 = W > 1 ? ATTN__V(load_as)(b + second, dtype) : b0;
        if (M <= 8) { /* few rows: b comes from memory as fast as it can */
            ATTN__PREFETCH(b, 32 * ldb);
            ATTN__PREFETCH(b, 32 * ldb + second);
        }
#define ATTN__X(i)                                      \
    if (M > i) {                                        \
        attn_vec ai = attn_vset1(a[i * ATTN__LD]);      \
        c##i##0 = attn_vfma(ai, b0, c##i##0);           \
        if (W > 1) c##i##1 = attn_vfma(ai, b1, c##i##1); \
    }
        ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
    }
#define ATTN__X(i) \
    if (M > i) {                                                     \
        attn_vstore(c + i * ldc, c##i##0);                           \
        if (W > 1) attn_vstore(c + i * ldc + ATTN__VL, c##i##1);     \
    }
    ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
}

static void ATTN__V(multiply)(size_t m, size_t n, size_t depth, const void *a_, const void *b_, size_t ldb, size_t panel_stride, void *c_, size_t ldc,
                              int accumulate)
{
    const attn_dtype dtype = ATTN__F64 ? ATTN_F64 : ATTN_F32;
    const attn_real *a = (const attn_real *)a_;
    const char *b = (const char *)b_;
    attn_real *c = (attn_real *)c_;
    size_t j;
    for (j = 0; j < n; j += ATTN__NR, b += panel_stride * sizeof *c, c += ATTN__NR) {
        switch (n - j > ATTN__VL ? m : m + 16) { /* a narrow tile where the rest of a panel is no more */
#define ATTN__X(i)                                                                              \
    case i + 1: ATTN__V(tile)(i + 1, 2, dtype, depth, a, b, ldb, c, ldc, accumulate); break;    \
    case i + 17: ATTN__V(tile)(i + 1, 1, dtype, depth, a, b, ldb, c, ldc, accumulate); break;
            ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
        default: break;
        }
    }
}

static void ATTN__V(product)(size_t m, size_t n, size_t depth, const void *a_, ptrdiff_t a_step, const void *b_, size_t b_step, void *c_, size_t c_step, void *rows_,
                             void *tile_, void *panel_)
{
    const size_t part = n % ATTN__VL, whole = n - part; /* what is less than a vector is copied */
    const attn_real *a = (const attn_real *)a_, *b = (const attn_real *)b_;
    attn_real *c = (attn_real *)c_, *rows = (attn_real *)rows_, *tile = (attn_real *)tile_, *panel = (attn_real *)panel_;
    size_t count, r, k;
    for (k = 0; k < depth && part; k++) attn_vstore(panel + k * ATTN__NR, ATTN__V(load_part)(b + k * b_step + whole, part));
    for (; m > 0; m -= count) {
        count = attn__tile_rows(m, ATTN__MR);
        for (r = 0; r < count; r++, a += a_step) {
            attn_real *row = rows + r * ATTN__LD;
            for (k = 0; k + ATTN__VL <= depth; k += ATTN__VL) attn_vstore(row + k, attn_vload(a + k));
            for (; k < depth; k++) row[k] = a[k];
        }
        ATTN__V(multiply)(count, whole, depth, rows, b, b_step, ATTN__NR, c, c_step, 0);
        if (part) ATTN__V(multiply)(count, part, depth, rows, panel, ATTN__NR, 0, tile, ATTN__LD, 0);
        for (r = 0; r < count; r++, c += c_step)
            if (part) ATTN__V(store_part)(c + whole, attn_vload(tile + r * ATTN__LD), part);
    }
}

static void ATTN__V(load_row)(void *to, const void *from, attn_dtype dtype, ptrdiff_t stride, size_t n)
{
#if ATTN__F64
    attn__load_f64((double *)to, from, dtype, stride, n);
#else
    const uint16_t *half = (const uint16_t *)from;
    float *out = (float *)to;
    size_t i = 0;
    if (stride == 1 && dtype == ATTN_F16)
        for (; i + ATTN__VL <= n; i += ATTN__VL) attn_vstore(out + i, ATTN__V(load_f16)(half + i));
    if (stride == 1 && dtype == ATTN_BF16)
        for (; i + ATTN__VL <= n; i += ATTN__VL) attn_vstore(out + i, ATTN__V(load_bf16)(half + i));
    attn__load_f32(out + i, (const char *)from + (ptrdiff_t)i * stride * (ptrdiff_t)attn_dtype_size(dtype), dtype, stride, n - i);
#endif
}
static void ATTN__V(store_row)(void *to, attn_dtype dtype, ptrdiff_t stride, const void *from, size_t n)
{
#if ATTN__F64
    attn__store_f64(to, dtype, stride, (const double *)from, n);
#else
    attn__store_f32(to, dtype, stride, (const float *)from, n);
#endif
}

/* One panel: `columns` <= NR of them, contiguous along the depth. Where they fill no
 * more than a vector, the other one is not written. `ahead`: another panel follows. */
ATTN__INLINE void ATTN__V(pack_columns)(attn_real *to, const attn_real *src, size_t columns, size_t depth, ptrdiff_t column_stride, const int ahead)
{
    const size_t quads = ATTN__VL == 1 ? 0 : depth / ATTN__QUAD * ATTN__QUAD; /* one lane: nothing to transpose */
    attn_vec x[ATTN__QUAD], y[ATTN__QUAD];
    size_t v, k, j;
    int i;
    if (columns == ATTN__NR) {
        for (k = 0; k < quads; k += ATTN__QUAD) {
            attn_vtranspose(src + k, column_stride, x);
            attn_vtranspose(src + k + ATTN__VL * column_stride, column_stride, y);
            for (i = 0; i < ATTN__NR / 4 && ahead; i++) /* a part of its columns for each part of a cache line */
                ATTN__PREFETCH(src, (ptrdiff_t)(ATTN__NR + (k / ATTN__QUAD % 4) * (ATTN__NR / 4) + (size_t)i) * column_stride + (ptrdiff_t)k);
#define ATTN__X(i) attn_vstore(to + (k + i) * ATTN__NR, x[i]), attn_vstore(to + (k + i) * ATTN__NR + ATTN__VL, y[i]);
            ATTN__EACH_OF_QUAD(ATTN__X)
#undef ATTN__X
        }
        for (; k < depth; k++)
            for (j = 0; j < columns; j++) to[k * ATTN__NR + j] = src[(ptrdiff_t)j * column_stride + (ptrdiff_t)k];
        return;
    }
    for (v = 0; v < columns; v += ATTN__VL, src += ATTN__VL * column_stride, to += ATTN__VL) {
        const size_t n = columns - v < ATTN__VL ? columns - v : ATTN__VL;
        attn_real quad[ATTN__VL][ATTN__QUAD];
        for (j = n; j < ATTN__VL; j++) attn__memset(quad[j], 0, sizeof quad[j]);
        for (k = 0; k < quads; k += ATTN__QUAD) {
            for (j = 0; j < n; j++) attn__memcpy(quad[j], src + (ptrdiff_t)j * column_stride + (ptrdiff_t)k, sizeof quad[j]);
            attn_vtranspose(quad[0], ATTN__QUAD, x);
#define ATTN__X(i) attn_vstore(to + (k + i) * ATTN__NR, x[i]);
            ATTN__EACH_OF_QUAD(ATTN__X)
#undef ATTN__X
        }
        for (; k < depth; k++) {
            attn_vstore(to + k * ATTN__NR, attn_vset1(0));
            for (j = 0; j < n; j++) to[k * ATTN__NR + j] = src[(ptrdiff_t)j * column_stride + (ptrdiff_t)k];
        }
    }
}

static void ATTN__V(pack)(void *panels, const void *src_, attn_dtype dtype, size_t columns, size_t depth, ptrdiff_t column_stride, ptrdiff_t depth_stride)
{
    const char *src = (const char *)src_;
    attn_real *to = (attn_real *)panels;
    ptrdiff_t size = (ptrdiff_t)attn_dtype_size(dtype);
    size_t j, k;
    for (j = 0; j < columns; j += ATTN__NR, to += depth * ATTN__NR) {
        const char *from = src + (ptrdiff_t)j * column_stride * size;
        size_t width = columns - j < ATTN__NR ? columns - j : ATTN__NR;
        if (depth_stride != 1) { /* values: rows of the panel as they come */
            for (k = 0; k < depth; k++) {
                const char *row = from + (ptrdiff_t)k * depth_stride * size;
                attn_real *panel = to + k * ATTN__NR;
                ATTN__PREFETCH(row, 64 * (size_t)depth_stride * (size_t)size);
                if (width == ATTN__NR && column_stride == 1) {
                    attn_vstore(panel, ATTN__V(load_as)(row, dtype));
                    attn_vstore(panel + ATTN__VL, ATTN__V(load_as)(row + ATTN__VL * size, dtype));
                } else {
                    attn_vstore(panel, attn_vset1(0));
                    attn_vstore(panel + ATTN__VL, attn_vset1(0));
                    ATTN__V(load_row)(panel, row, dtype, column_stride, width);
                }
            }
        } else if (size == (ptrdiff_t)sizeof(attn_real)) { /* keys: transposed */
            ATTN__V(pack_columns)(to, (const attn_real *)(const void *)from, width, depth, column_stride, 1);
        } else { /* converted, a piece of the depth at a time */
            attn_real piece[ATTN__NR][64];
            for (k = 0; k < depth; k += 64) {
                size_t i, n = depth - k < 64 ? depth - k : 64;
                for (i = 0; i < width; i++) ATTN__V(load_row)(piece[i], from + ((ptrdiff_t)i * column_stride + (ptrdiff_t)k) * size, dtype, 1, n);
                ATTN__V(pack_columns)(to + k * ATTN__NR, piece[0], width, n, 64, 0);
            }
        }
    }
}

#if ATTN__VL > 1
/* pack_columns and tile in one, for up to four rows: columns are turned, and widened,
 * in registers. `dtype` is a constant, too. */
ATTN__INLINE void ATTN__V(turn_columns)(const char *p, const attn_dtype dtype, ptrdiff_t stride, attn_vec out[ATTN__QUAD])
{
#if !ATTN__F64
    if (dtype == ATTN_F16) ATTN__V(transpose_f16)((const uint16_t *)(const void *)p, stride, out);
    else if (dtype == ATTN_BF16) ATTN__V(transpose_bf16)((const uint16_t *)(const void *)p, stride, out);
    else
#endif
        attn_vtranspose((const attn_real *)(const void *)p, stride, out);
    (void)dtype;
}
ATTN__INLINE void ATTN__V(score_tile)(const int M, const attn_dtype dtype, size_t depth, const attn_real *a, const char *keys, ptrdiff_t stride, attn_real *c, int accumulate)
{
    const ptrdiff_t size = dtype == ATTN_F64 ? 8 : dtype == ATTN_F32 ? 4 : 2;
    const ptrdiff_t quarter = ATTN__NR / 4 * stride * size;
    const char *ahead = keys + 2 * ATTN__NR * stride * size;
    size_t k = 0, j, at = 0;
#define ATTN__X(i) attn_vec c##i##0 = attn_vset1(0), c##i##1 = c##i##0;
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
    if (accumulate) {
#define ATTN__X(i) \
    if (M > i) c##i##0 = attn_vload(c + i * ATTN__LD), c##i##1 = attn_vload(c + i * ATTN__LD + ATTN__VL);
        ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
    }
#define ATTN__X(i)                                        \
    if (M > i) {                                          \
        attn_vec ai = attn_vset1(a[i * ATTN__LD + step]); \
        c##i##0 = attn_vfma(ai, x[step], c##i##0);        \
        c##i##1 = attn_vfma(ai, y[step], c##i##1);        \
    }
#define ATTN__STEP(n)           \
    {                           \
        const int step = n;     \
        ATTN__REPEAT_4(ATTN__X) \
    }
    for (; k + ATTN__QUAD <= depth; k += ATTN__QUAD, a += ATTN__QUAD, keys += ATTN__QUAD * size) {
        attn_vec x[ATTN__QUAD], y[ATTN__QUAD];
        ATTN__V(turn_columns)(keys, dtype, stride, x);
        ATTN__V(turn_columns)(keys + ATTN__VL * stride * size, dtype, stride, y);
        for (j = 0; j < ATTN__NR * (size_t)size; j += 64) { /* columns to come, in four streams: often as many pages */
            ATTN__PREFETCH(ahead, at);
            ATTN__PREFETCH(ahead + quarter, at);
            ATTN__PREFETCH(ahead + 2 * quarter, at);
            ATTN__PREFETCH(ahead + 3 * quarter, at);
            at += 64;
            if (at >= depth * (size_t)size) at = 0, ahead += stride * size;
        }
        ATTN__STEP(0)
        ATTN__STEP(1)
#if !ATTN__F64
        ATTN__STEP(2)
        ATTN__STEP(3)
#endif
    }
    for (; k < depth; k++, a++, keys += size) {
        attn_real column[ATTN__NR];
        attn_vec x[1], y[1];
        for (j = 0; j < ATTN__NR; j++) ATTN__V(load_row)(column + j, keys + (ptrdiff_t)j * stride * size, dtype, 1, 1);
        x[0] = attn_vload(column);
        y[0] = attn_vload(column + ATTN__VL);
        ATTN__STEP(0)
    }
#undef ATTN__STEP
#undef ATTN__X
#define ATTN__X(i) \
    if (M > i) attn_vstore(c + i * ATTN__LD, c##i##0), attn_vstore(c + i * ATTN__LD + ATTN__VL, c##i##1);
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
}

static void ATTN__V(score_columns)(size_t m, size_t depth, const attn_real *a, const char *keys, attn_dtype dtype, ptrdiff_t stride, attn_real *c, int accumulate)
{
    for (; m > 0; a += 4 * ATTN__LD, c += 4 * ATTN__LD) {
        const size_t n = m < 4 ? m : 4;
        switch (n + (dtype == ATTN_F16 ? 4 : dtype == ATTN_BF16 ? 8 : 0)) {
#define ATTN__X(i)                                                                                                       \
    case i + 1: ATTN__V(score_tile)(i + 1, ATTN__F64 ? ATTN_F64 : ATTN_F32, depth, a, keys, stride, c, accumulate); break;
            ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
#if !ATTN__F64
#define ATTN__X(i)                                                                                     \
    case i + 5: ATTN__V(score_tile)(i + 1, ATTN_F16, depth, a, keys, stride, c, accumulate); break; \
    case i + 9: ATTN__V(score_tile)(i + 1, ATTN_BF16, depth, a, keys, stride, c, accumulate); break;
            ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
#endif
        default: break;
        }
        m -= n;
    }
}

static void ATTN__V(score)(size_t m, size_t n, size_t depth, const void *a_, const void *keys, attn_dtype dtype, ptrdiff_t stride, void *c_, int accumulate)
{
    const attn_real *a = (const attn_real *)a_;
    const ptrdiff_t size = (ptrdiff_t)attn_dtype_size(dtype);
    attn_real *c = (attn_real *)c_;
    size_t j, k, i;
    for (j = 0; j + ATTN__NR <= n; j += ATTN__NR) ATTN__V(score_columns)(m, depth, a, (const char *)keys + (ptrdiff_t)j * stride * size, dtype, stride, c + j, accumulate);
    for (k = 0; j < n && (k < depth || k == 0); k += 64) { /* the rest, with what is missing 0, a piece of the depth at a time */
        attn_real piece[ATTN__NR][64];
        const size_t part = depth - k < 64 ? depth - k : 64;
        for (i = 0; i < n - j; i++) ATTN__V(load_row)(piece[i], (const char *)keys + ((ptrdiff_t)(j + i) * stride + (ptrdiff_t)k) * size, dtype, 1, part);
        for (; i < ATTN__NR; i++) attn__memset(piece[i], 0, part * sizeof piece[i][0]);
        ATTN__V(score_columns)(m, part, a + k, (const char *)piece[0], ATTN__F64 ? ATTN_F64 : ATTN_F32, 64, c + j, accumulate || k);
    }
}

static void ATTN__V(weigh)(size_t m, size_t n, size_t depth, const void *a_, const void *values, attn_dtype dtype, size_t stride, void *c_, size_t ldc, int accumulate)
{
    const size_t most = attn_dtype_size(dtype) == 2 ? 4 : ATTN__MR;
    const attn_real *a = (const attn_real *)a_;
    attn_real *c = (attn_real *)c_;
    for (; m > 0; a += most * ATTN__LD, c += most * ldc) {
        const size_t rows = m < most ? m : most;
#if ATTN__F64
        ATTN__V(multiply)(rows, n, depth, a, values, stride, ATTN__NR, c, ldc, accumulate);
#else
        const char *b = (const char *)values;
        size_t j;
        if (dtype == ATTN_F32) ATTN__V(multiply)(rows, n, depth, a, values, stride, ATTN__NR, c, ldc, accumulate);
        for (j = 0; j < n && dtype != ATTN_F32; j += ATTN__NR, b += ATTN__NR * sizeof(uint16_t)) {
            switch (dtype == ATTN_F16 ? rows : rows + 4) {
#define ATTN__X(i)                                                                                     \
    case i + 1: ATTN__V(tile)(i + 1, 2, ATTN_F16, depth, a, b, stride, c + j, ldc, accumulate); break; \
    case i + 5: ATTN__V(tile)(i + 1, 2, ATTN_BF16, depth, a, b, stride, c + j, ldc, accumulate); break;
                ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
            default: break;
            }
        }
#endif
        m -= rows;
    }
}
#define ATTN__FEW 8, ATTN__V(score), ATTN__V(weigh)
#else /* no lanes: nothing to gain */
#define ATTN__FEW 0, NULL, NULL
#endif

/* exp and tanh: see attn__exp_f64 and attn__tanh_f64 for the methods. N
 * vectors, 1 or 2, go step by step: of chains so long machines see few at a time. */
ATTN__INLINE void ATTN__V(exp_reduce)(const int N, attn_vec *x, attn_vec *t, attn_vec *p)
{
    const attn_vec magic = attn_vset1(ATTN__C(MAGIC)), first = attn_vset1(ATTN__C(EXP_FIRST));
    attn_vec n[2], c;
#define ATTN__X(i) \
    if (N > i) t[i] = attn_vfma(x[i], attn_vset1(ATTN__C(LOG2E)), magic);
    ATTN__REPEAT_2(ATTN__X)
#undef ATTN__X
#define ATTN__X(i) \
    if (N > i) n[i] = attn_vsub(t[i], magic), p[i] = first;
    ATTN__REPEAT_2(ATTN__X)
#undef ATTN__X
#define ATTN__X(i) \
    if (N > i) x[i] = attn_vfma(n[i], attn_vset1(-ATTN__C(LN2_HI)), x[i]);
    ATTN__REPEAT_2(ATTN__X)
#undef ATTN__X
#define ATTN__X(i) \
    if (N > i) x[i] = attn_vfma(n[i], attn_vset1(-ATTN__C(LN2_LO)), x[i]);
    ATTN__REPEAT_2(ATTN__X)
#undef ATTN__X
#define ATTN__Y(i) \
    if (N > i) p[i] = attn_vfma(p[i], x[i], c);
#define ATTN__X(coefficient) c = attn_vset1(coefficient); ATTN__REPEAT_2(ATTN__Y)
    ATTN__C(EXP_COEFFICIENTS)(ATTN__X)
#undef ATTN__X
#undef ATTN__Y
}
ATTN__INLINE void ATTN__V(exp_pair)(const int N, attn_vec *x)
{
    const attn_vec one = attn_vset1(1), zero = attn_vset1(0), least = attn_vset1(ATTN__C(EXP_MIN));
    attn_vec r[2], t[2], p[2];
#define ATTN__X(i) \
    if (N > i) r[i] = attn_vmax(x[i], attn_vset1(2 * ATTN__C(EXP_MIN))); /* no overflow: it may trap */
    ATTN__REPEAT_2(ATTN__X)
#undef ATTN__X
    ATTN__V(exp_reduce)(N, r, t, p);
#define ATTN__X(i) \
    if (N > i) p[i] = attn_vfma(p[i], r[i], one);
    ATTN__REPEAT_2(ATTN__X)
#undef ATTN__X
#define ATTN__X(i) \
    if (N > i) x[i] = attn_vchoose(attn_vexp2i(p[i], t[i]), x[i], least, zero);
    ATTN__REPEAT_2(ATTN__X)
#undef ATTN__X
}
ATTN__INLINE attn_vec attn_vexp(attn_vec x)
{
    ATTN__V(exp_pair)(1, &x);
    return x;
}
ATTN__INLINE void ATTN__V(tanh_pair)(const int N, attn_vec *x)
{
    const attn_vec zero = attn_vset1(0), one = attn_vset1(1), two = attn_vset1(2), limit = attn_vset1(ATTN__C(TANH_MIN));
    attn_vec t[2], p[2], r[2], e[2];
#define ATTN__X(i)                                                                        \
    if (N > i) {                                                                          \
        r[i] = attn_vsub(zero, attn_vmax(x[i], attn_vsub(zero, x[i]))); /* -|x| */        \
        r[i] = attn_vmax(limit, attn_vadd(r[i], r[i])); /* NaN stays */                   \
    }
    ATTN__REPEAT_2(ATTN__X)
#undef ATTN__X
    ATTN__V(exp_reduce)(N, r, t, p);
#define ATTN__X(i)                                                                        \
    if (N > i) {                                                                          \
        e[i] = attn_vexp2i(one, t[i]);                                                    \
        e[i] = attn_vfma(e[i], attn_vmul(p[i], r[i]), attn_vsub(e[i], one));              \
        e[i] = attn_vdiv(e[i], attn_vadd(two, e[i]));                                     \
        x[i] = attn_vchoose(attn_vsub(zero, e[i]), x[i], zero, e[i]);                     \
    }
    ATTN__REPEAT_2(ATTN__X)
#undef ATTN__X
}

static void ATTN__V(softcap)(void *row_, size_t n, double softcap)
{
    attn_real *row = (attn_real *)row_;
    const attn_real reciprocal = (attn_real)(1 / softcap);
    const int divides = !attn_vfinite(reciprocal) && (attn_real)softcap > 0; /* so small that only a quotient tells */
    const attn_vec cap = attn_vset1((attn_real)softcap), inverse = attn_vset1(reciprocal), zero = attn_vset1(0);
    attn_vec x[2], y[2];
    size_t i = 0;
#define ATTN__X(v) x[v] = attn_vload(row + i + v * ATTN__VL), y[v] = divides ? attn_vdiv(x[v], cap) : attn_vmul(x[v], inverse);
#define ATTN__Y(v) attn_vstore(row + i + v * ATTN__VL, attn_vfma(x[v], zero, attn_vmul(cap, y[v]))); /* NaN for infinity */
    for (; i + ATTN__VL < n; i += 2 * ATTN__VL) {
        ATTN__REPEAT_2(ATTN__X)
        ATTN__V(tanh_pair)(2, y);
        ATTN__REPEAT_2(ATTN__Y)
    }
    if (i < n) {
        ATTN__REPEAT_1(ATTN__X)
        ATTN__V(tanh_pair)(1, y);
        ATTN__REPEAT_1(ATTN__Y)
    }
#undef ATTN__X
#undef ATTN__Y
}

static void ATTN__V(alibi)(void *bias_, size_t n, int64_t distance, double slope_)
{
    const int64_t whole = (int64_t)1 << (ATTN__F64 ? 52 : 23); /* up to here, floats count without rounding */
    const attn_real slope = (attn_real)slope_;
    const attn_vec zero = attn_vset1(0), lowest = attn_vset1(ATTN__C(MASKED)), beyond = attn_vset1((attn_real)attn__from_bits_f64(0x7ff8000000000000u));
    attn_vec away = zero;
    attn_real *bias = (attn_real *)bias_, lane[ATTN__VL];
    size_t i, j;
    for (i = 0; i < n; i += ATTN__VL, distance -= ATTN__VL) {
        attn_vec b = attn_vadd(attn_vload(bias + i), zero), sum;
        if (i > 0 && distance < whole && distance > -whole) away = attn_vsub(away, attn_vset1(ATTN__VL));
        else {
            for (j = 0; j < ATTN__VL; j++) lane[j] = (attn_real)(distance - (int64_t)j);
            away = attn_vload(lane);
        }
        /* never -0; and in software, multiplying and adding to infinity may trap */
        sum = attn_vfma(attn_vsub(zero, attn_vmax(away, attn_vsub(zero, away))), attn_vset1(slope), attn_vchoose(b, b, lowest, zero));
        /* -inf drops a key. One that the mask keeps stays, and has its row redone: the score may be as large */
        attn_vstore(bias + i, attn_vchoose(attn_vchoose(sum, sum, lowest, beyond), b, lowest, b));
    }
}

static void ATTN__V(bias)(void *row_, const void *bias_, size_t n)
{
    attn_real *row = (attn_real *)row_;
    const attn_real *bias = (const attn_real *)bias_;
    const attn_vec lowest = attn_vset1(ATTN__C(MASKED));
    size_t i;
    for (i = 0; i < n; i += ATTN__VL) {
        attn_vec b = attn_vload(bias + i);
        attn_vstore(row + i, attn_vchoose(attn_vadd(attn_vload(row + i), b), b, lowest, lowest));
    }
}

static void ATTN__V(mask)(void *row_, const void *mask_, ptrdiff_t stride, size_t n)
{
    const uint8_t *mask = (const uint8_t *)mask_;
    const attn_vec one = attn_vset1(1), drop = attn_vset1(ATTN__C(MASKED));
    attn_real *row = (attn_real *)row_, kept[64];
    size_t i = 0, j, m;
#if !ATTN__F64
    if (stride == 1)
        for (; i + ATTN__VL <= n; i += ATTN__VL) attn_vstore(row + i, attn_vchoose(attn_vload(row + i), ATTN__V(load_u8)(mask + i), one, drop));
#endif
    for (; i < n; i += m) { /* as numbers first: a branch for each would be guessed wrong */
        m = n - i < 64 ? n - i : 64;
        for (j = 0; j < m; j++) kept[j] = mask[(ptrdiff_t)(i + j) * stride];
        for (; j % ATTN__VL; j++) kept[j] = 1;
        for (j = 0; j < m; j += ATTN__VL) attn_vstore(row + i + j, attn_vchoose(attn_vload(row + i + j), attn_vload(kept + j), one, drop));
    }
}

static double ATTN__V(exp)(double x, double y)
{
    const attn_real difference = (attn_real)x - (attn_real)y;
    attn_real out[ATTN__VL];
    if (attn__nan_f64((double)difference)) return (double)difference; /* a state of a row with NaN */
    if (!(difference < 0)) return 1; /* often: one of two states has the maximum */
    attn_vstore(out, attn_vexp(attn_vset1(difference)));
    return (double)out[0];
}

/* MASKED where positions [at, at + LANES) are not in [lo, hi). By vectors, as what
 * reads them will: a load across several stores would wait for them. */
ATTN__INLINE void ATTN__V(mask_ends)(attn_real *row, size_t at, size_t lo, size_t hi)
{
    const attn_vec masked = attn_vset1(ATTN__C(MASKED)), first = attn_vset1((attn_real)lo), end = attn_vset1((attn_real)hi);
    const attn_vec from = attn_vset1((attn_real)at);
    size_t i;
    for (i = 0; i < ATTN__LANES; i += ATTN__VL) {
        const attn_vec place = attn_vadd(from, attn_vload(ATTN__C(COUNT) + i)), x = attn_vload(row + at + i);
        attn_vstore(row + at + i, attn_vchoose(masked, place, end, attn_vchoose(x, place, first, masked)));
    }
}

static int ATTN__V(softmax)(void *row_, const void *scores_, size_t first, size_t lo, size_t hi, size_t last, double *max_out, double *sum_out)
{
    const attn_real *scores = (const attn_real *)scores_;
    attn_real *row = (attn_real *)row_, max;
    attn_real rest[ATTN__LANES]; /* of scores that lie elsewhere, so that none beyond is touched */
    size_t from = lo / ATTN__LANES * ATTN__LANES, to = (hi + ATTN__LANES - 1) / ATTN__LANES * ATTN__LANES, whole = to, j, half;

    if (lo >= hi) {
        for (j = first; j < last; j++) row[j] = 0;
        *max_out = -attn__infinity();
        *sum_out = 0;
        return 0;
    }
    for (j = first; j < from; j++) row[j] = 0;
    for (j = to; j < last; j++) row[j] = 0;
    if (row != scores) {
        whole = hi / ATTN__LANES * ATTN__LANES;
        for (j = whole; j < to; j++) rest[j - whole] = j < hi ? scores[j] : ATTN__C(MASKED);
    } else {
        if (lo > from) ATTN__V(mask_ends)(row, from, lo, hi);
        if (hi < to) ATTN__V(mask_ends)(row, to - ATTN__LANES, lo, hi);
    }

    { /* pass 1: the maximum; `odd` turns NaN, and stays so, at NaN and infinity
         (by additions: they have units of their own). In two chains each. */
#define ATTN__X(v) attn_vec max##v = attn_vset1(ATTN__C(MASKED)), odd##v = attn_vset1(0), max_b##v = max##v, odd_b##v = odd##v;
        ATTN__EACH(ATTN__X)
#undef ATTN__X
#define ATTN__LOOK(v, max, odd, at)                        \
    {                                                      \
        attn_vec x = attn_vload((at) + v * ATTN__VL);      \
        max##v = attn_vmax(max##v, x);                     \
        odd##v = attn_vadd(odd##v, attn_vsub(x, x));       \
    }
#define ATTN__X(v) ATTN__LOOK(v, max, odd, scores + j)
#define ATTN__Y(v) ATTN__LOOK(v, max_b, odd_b, scores + j + ATTN__LANES)
        for (j = from; j + 2 * ATTN__LANES <= whole; j += 2 * ATTN__LANES) {
            ATTN__EACH(ATTN__X)
            ATTN__EACH(ATTN__Y)
        }
        if (j < whole) {
            ATTN__EACH(ATTN__X)
        }
#undef ATTN__X
#undef ATTN__Y
        if (whole < to) {
#define ATTN__X(v) ATTN__LOOK(v, max_b, odd_b, rest)
            ATTN__EACH(ATTN__X)
#undef ATTN__X
        }
#undef ATTN__LOOK
#define ATTN__X(v) max##v = attn_vmax(max##v, max_b##v), odd##v = attn_vadd(odd##v, odd_b##v);
        ATTN__EACH(ATTN__X)
#undef ATTN__X
        ATTN__FOLD(attn_vmax, max)
        ATTN__FOLD(attn_vadd, odd)
        if (!attn_vfinite(attn_vsum(odd0))) return 1;
        max = attn_vmost(max0);
    }
    if (!(max > ATTN__C(ODD))) return 1;

    { /* pass 2: exp and sum, lane by lane, in two halves of a block: shorter
         chains of additions, and so half the error */
        const attn_vec m = attn_vset1(max);
#define ATTN__X(v) attn_vec total##v = attn_vset1(0);
        ATTN__EACH(ATTN__X)
#undef ATTN__X
        j = from;
        for (half = ATTN__BLOCK / 2; half <= ATTN__BLOCK; half += ATTN__BLOCK / 2) {
            const size_t end = whole < half ? whole : half;
            attn_vec x[ATTN__SET];
#define ATTN__X(v) attn_vec sum##v = attn_vset1(0);
            ATTN__EACH(ATTN__X)
#undef ATTN__X
#define ATTN__X(v) x[v] = attn_vsub(attn_vload(at + v * ATTN__VL), m);
#define ATTN__Z(v) \
    if (v % 2 == 0) ATTN__V(exp_pair)(ATTN__SET > 1 ? 2 : 1, x + v);
#define ATTN__Y(v) attn_vstore(to_at + v * ATTN__VL, x[v]), sum##v = attn_vadd(sum##v, x[v]);
            for (; j < end; j += ATTN__LANES) {
                const attn_real *at = scores + j;
                attn_real *to_at = row + j;
                ATTN__EACH(ATTN__X)
                ATTN__EACH(ATTN__Z)
                ATTN__EACH(ATTN__Y)
            }
            if (j == whole && whole < to && whole < half) {
                const attn_real *at = rest;
                attn_real *to_at = rest;
                ATTN__EACH(ATTN__X)
                ATTN__EACH(ATTN__Z)
                ATTN__EACH(ATTN__Y)
                for (; j < hi; j++) row[j] = rest[j - whole];
            }
#undef ATTN__X
#undef ATTN__Y
#undef ATTN__Z
#define ATTN__X(v) total##v = attn_vadd(total##v, sum##v);
            ATTN__EACH(ATTN__X)
#undef ATTN__X
        }
        ATTN__FOLD(attn_vadd, total)
        *sum_out = (double)attn_vsum(total0);
    }
    *max_out = (double)(max + 0); /* +0: never -0 */
    return 0;
}

static int ATTN__V(columns)(void *kept_, ptrdiff_t kept_stride, const void *from_, ptrdiff_t stride, size_t n, size_t columns, double *max_out, double *sum_out)
{
    const attn_real *from = (const attn_real *)from_, *at;
    attn_real *kept = (attn_real *)kept_;
    const attn_vec lowest = attn_vset1(ATTN__C(MASKED));
    attn_real max[ATTN__COLUMNS], odd[ATTN__COLUMNS], lanes[2][ATTN__LANES][ATTN__COLUMNS];
    size_t c, j, i;
    for (c = 0; c < columns; c++) max[c] = ATTN__C(MASKED), odd[c] = 0;
#define ATTN__X(i) attn_vec x##i = attn_vmax(lowest, attn_vload(at + i * stride + (ptrdiff_t)c)); /* NaN stays */
#define ATTN__LOOK(ROWS, most, rest)                                                          \
    for (; j + ROWS <= n; j += ROWS)                                                          \
        for (c = 0, at = from + (ptrdiff_t)j * stride; c < columns; c += ATTN__VL) {          \
            ATTN__REPEAT_##ROWS(ATTN__X)                                                      \
            ATTN__REPEAT_##ROWS(ATTN__Y)                                                      \
            attn_vstore(max + c, attn_vmax(attn_vload(max + c), most));                       \
            attn_vstore(odd + c, attn_vadd(attn_vload(odd + c), rest));                       \
        }
#define ATTN__Y(i) ATTN__PREFETCH(at, (16 + i) * (uintptr_t)stride + c);
    j = 0;
    ATTN__LOOK(4, attn_vmax(attn_vmax(x0, x1), attn_vmax(x2, x3)), attn_vadd(attn_vadd(attn_vsub(x0, x0), attn_vsub(x1, x1)), attn_vadd(attn_vsub(x2, x2), attn_vsub(x3, x3))))
    ATTN__LOOK(1, x0, attn_vsub(x0, x0))
#undef ATTN__X
#undef ATTN__Y
#undef ATTN__LOOK
    for (c = 0; c < columns; c++)
        if (!attn_vfinite(odd[c]) || !(max[c] > ATTN__C(ODD))) return 1;
    for (c = 0; c < columns; c++) max_out[c] = (double)(max[c] + 0);
    if (!sum_out) return 0;
    attn__memset(lanes, 0, sizeof lanes);
    for (j = 0; j < n; j++) {
        attn_real *to = lanes[j / (ATTN__BLOCK / 2)][j % ATTN__LANES];
        at = from + (ptrdiff_t)j * stride;
        for (c = 0; c < columns; c += ATTN__VL) {
            const attn_vec p = attn_vexp(attn_vsub(attn_vmax(lowest, attn_vload(at + c)), attn_vload(max + c)));
            ATTN__PREFETCH(at, 8 * (uintptr_t)stride + c);
            attn_vstore(to + c, attn_vadd(attn_vload(to + c), p));
            if (!kept) continue;
            ATTN__PREFETCH(kept, ((ptrdiff_t)j + 8) * kept_stride + (ptrdiff_t)c);
            attn_vstore(kept + (ptrdiff_t)j * kept_stride + (ptrdiff_t)c, p);
        }
    }
    for (c = 0; c < columns; c++) { /* as softmax adds them */
        for (i = 0; i < ATTN__LANES; i++) lanes[0][i][c] += lanes[1][i][c];
        for (j = ATTN__LANES / 2; j > 0; j /= 2)
            for (i = 0; i < j; i++) lanes[0][i][c] += lanes[0][i + j][c];
        sum_out[c] = (double)lanes[0][0][c];
    }
    return 0;
}

static void ATTN__V(spread)(void *to_, ptrdiff_t to_stride, const void *from_, ptrdiff_t stride, size_t n, size_t columns, const double *max_, const double *factor_)
{
    const attn_vec lowest = attn_vset1(ATTN__C(MASKED)), zero = attn_vset1(0);
    attn_real max[ATTN__COLUMNS], factor[ATTN__COLUMNS];
    size_t c, j;
    for (c = 0; c < columns; c++) factor[c] = (attn_real)factor_[c];
    for (c = 0; c < columns && max_; c++) max[c] = (attn_real)max_[c];
    for (j = 0; j < n; j++) {
        const attn_real *from = (const attn_real *)from_ + (ptrdiff_t)j * stride;
        attn_real *to = (attn_real *)to_ + (ptrdiff_t)j * to_stride;
        for (c = 0; c < columns; c += ATTN__VL) {
            attn_vec p = attn_vload(from + c);
            if (max_) p = attn_vexp(attn_vsub(attn_vmax(lowest, p), attn_vload(max + c)));
            ATTN__PREFETCH(from, 8 * (uintptr_t)stride + c);
            ATTN__PREFETCH(to, 8 * (uintptr_t)to_stride + c);
            attn_vstore(to + c, attn_vfma(p, attn_vload(factor + c), zero));
        }
    }
}

static void ATTN__V(join)(size_t rows, size_t width, void *acc_a, double *max_a, double *sum_a, const void *acc_b, const double *max_b,
                          const double *sum_b)
{
    const double empty = -attn__infinity();
    size_t i, c;
    for (i = 0; i < rows; i++) {
        attn_real *a = (attn_real *)acc_a + i * width;
        const attn_real *b = (const attn_real *)acc_b + i * width;
        if (max_b[i] <= empty) continue; /* empty states are the identity */
        if (max_a[i] <= empty) {
            attn__memcpy(a, b, width * sizeof *a);
            max_a[i] = max_b[i];
            sum_a[i] = sum_b[i];
        } else {
            double max = max_a[i] > max_b[i] ? max_a[i] : max_b[i];
            double fa = ATTN__V(exp)(max_a[i], max), fb = ATTN__V(exp)(max_b[i], max); /* one of them is 1 */
            const attn_vec va = attn_vset1((attn_real)fa), vb = attn_vset1((attn_real)fb);
            for (c = 0; c < width; c += ATTN__VL) attn_vstore(a + c, attn_vfma(attn_vload(a + c), va, attn_vmul(attn_vload(b + c), vb)));
            max_a[i] = max;
            sum_a[i] = attn_madd(sum_a[i], fa, sum_b[i] * fb);
        }
    }
}

/* to = from * factor + 0, never -0 from 0. `odd` turns NaN at NaN and infinity, in four chains. */
ATTN__INLINE void ATTN__V(times)(attn_real *to, const attn_real *from, size_t n, double factor, attn_vec odd[4])
{
    const attn_vec f = attn_vset1((attn_real)factor), zero = attn_vset1(0);
    size_t i = 0;
#define ATTN__X(v)                                                                      \
    {                                                                                   \
        const attn_vec y = attn_vfma(attn_vload(from + i + v * ATTN__VL), f, zero);     \
        attn_vstore(to + i + v * ATTN__VL, y);                                          \
        odd[v] = attn_vadd(odd[v], attn_vsub(y, y));                                    \
    }
    for (; i + 4 * ATTN__VL <= n; i += 4 * ATTN__VL) {
        ATTN__REPEAT_4(ATTN__X)
    }
    for (; i + ATTN__VL <= n; i += ATTN__VL) {
        ATTN__REPEAT_1(ATTN__X)
    }
#undef ATTN__X
    if (i < n) {
        const attn_vec y = attn_vfma(ATTN__V(load_part)(from + i, n - i), f, zero);
        odd[1] = attn_vadd(odd[1], attn_vsub(y, y));
        ATTN__V(store_part)(to + i, y, n - i);
    }
}
ATTN__INLINE int ATTN__V(all_finite)(const attn_vec odd[4]) { return attn_vfinite(attn_vsum(attn_vadd(attn_vadd(odd[0], odd[1]), attn_vadd(odd[2], odd[3])))); }

static int ATTN__V(scale)(void *to, const void *from, size_t n, double factor)
{
    attn_vec odd[4];
    odd[0] = odd[1] = odd[2] = odd[3] = attn_vset1(0);
    ATTN__V(times)((attn_real *)to, (const attn_real *)from, n, factor, odd);
    return !ATTN__V(all_finite)(odd);
}

/* softmax of rows of n elements, of which the first row sees `seen` and each other one
 * more, in W vectors: all of the virtual lanes or one (lanes beyond would add 0).
 * First all maxima, then exp: rows side by side hide how long each of both takes.
 * Returns 1 as softmax does. */
ATTN__INLINE int ATTN__V(softmax_set)(const int W, attn_real *tile, size_t rows, size_t n, size_t seen, double *sums)
{
    const attn_vec masked = attn_vset1(ATTN__C(MASKED)), one = attn_vset1(1), all = attn_vset1((attn_real)n);
    attn_vec end = attn_vset1((attn_real)(seen < n ? seen : n));
    attn_real most[ATTN__MR], *row = tile;
    attn_vec odd = attn_vset1(0), x[ATTN__SET];
    size_t r;
    for (r = 0; r < rows; r++, row += ATTN__LD, end = attn_vchoose(all, end, all, attn_vadd(end, one))) {
#define ATTN__X(v)                                                                                                       \
    attn_vec max##v = masked;                                                                                            \
    if (W > v) {                                                                                                         \
        max##v = attn_vchoose(masked, attn_vload(ATTN__C(COUNT) + v * ATTN__VL), end, attn_vload(row + v * ATTN__VL));   \
        attn_vstore(row + v * ATTN__VL, max##v);                                                                         \
        odd = attn_vadd(odd, attn_vsub(max##v, max##v));                                                                 \
    }
        ATTN__EACH(ATTN__X)
#undef ATTN__X
        if (W > 1) {
            ATTN__FOLD(attn_vmax, max)
        }
        most[r] = attn_vmost(max0);
    }
    if (!attn_vfinite(attn_vsum(odd))) return 1;
    for (r = 0, row = tile; r < rows; r++, row += ATTN__LD) {
        const attn_vec m = attn_vset1(most[r]);
        if (!(most[r] > ATTN__C(ODD))) return 1;
#define ATTN__X(v) \
    if (W > v) x[v] = attn_vsub(attn_vload(row + v * ATTN__VL), m);
        ATTN__EACH(ATTN__X)
#undef ATTN__X
#define ATTN__X(v) \
    if (v % 2 == 0 && W > v) ATTN__V(exp_pair)(W > 1 ? 2 : 1, x + v);
        ATTN__EACH(ATTN__X)
#undef ATTN__X
#define ATTN__X(v)            \
    attn_vec sum##v = masked; \
    if (W > v) attn_vstore(row + v * ATTN__VL, x[v]), sum##v = x[v];
        ATTN__EACH(ATTN__X)
#undef ATTN__X
        if (W > 1) {
            ATTN__FOLD(attn_vadd, sum)
        }
        sums[r] = (double)attn_vsum(sum0);
    }
    return 0;
}

static int ATTN__V(small)(const attn__small *p, const void *q_, const void *k_, const void *v_, void *out_)
{
    const attn_real *q = (const attn_real *)q_, *k = (const attn_real *)k_, *values = (const attn_real *)v_;
    const size_t n = p->kv_len, width = (p->dim_v + ATTN__VL - 1) / ATTN__VL * ATTN__VL;
    attn_real *out = (attn_real *)out_, *queries = (attn_real *)p->queries, *keys = (attn_real *)p->keys, *tile = (attn_real *)p->tile, *acc = (attn_real *)p->acc;
    attn_vec odd[4], unused[4];
    size_t i, r, rows, stride = ATTN__NR, panel = n * ATTN__NR;
    for (i = 0; i < n; i += ATTN__NR)
        ATTN__V(pack_columns)(keys + i * p->dim, k + (ptrdiff_t)i * p->k_step, n - i < ATTN__NR ? n - i : ATTN__NR, p->dim, p->k_step, 0);
    if (width == p->dim_v && p->v_step >= 0) stride = (size_t)p->v_step, panel = ATTN__NR;
    else {
        ATTN__V(pack)(p->values, values, ATTN__F64 ? ATTN_F64 : ATTN_F32, p->dim_v, n, 1, p->v_step);
        values = (const attn_real *)p->values;
    }
    odd[0] = odd[1] = odd[2] = odd[3] = attn_vset1(0);
    unused[0] = unused[1] = unused[2] = unused[3] = odd[0];
    for (i = 0; i < p->q_len; i += rows) {
        double sum[ATTN__MR];
        rows = attn__tile_rows(p->q_len - i, ATTN__MR);
        for (r = 0; r < rows; r++, q += p->q_step) ATTN__V(times)(queries + r * ATTN__LD, q, p->dim, p->scale, unused);
        ATTN__V(multiply)(rows, n, p->dim, queries, keys, ATTN__NR, p->dim * ATTN__NR, tile, ATTN__LD, 0);
        if (n > ATTN__VL ? ATTN__V(softmax_set)(ATTN__SET, tile, rows, n, p->seen + i, sum) : ATTN__V(softmax_set)(1, tile, rows, n, p->seen + i, sum)) return 1;
        ATTN__V(multiply)(rows, width, n, tile, values, stride, panel, acc, width, 0);
        for (r = 0; r < rows; r++, out += p->out_step) ATTN__V(times)(out, acc + r * width, p->dim_v, 1 / sum[r], odd);
    }
    return !ATTN__V(all_finite)(odd);
}

static const attn__kernel ATTN__V(kernel) = {
    sizeof(attn_real), ATTN__MR, ATTN__NR, ATTN__LANES, ATTN__STEP_KEYS, ATTN__F64 ? ATTN_F64 : ATTN_F32, ATTN__FEW,
    ATTN__V(pack), ATTN__V(multiply), ATTN__V(product), ATTN__V(softmax), ATTN__V(columns), ATTN__V(spread), ATTN__V(join), ATTN__V(exp), ATTN__V(scale), ATTN__V(small), ATTN__V(softcap), ATTN__V(alibi), ATTN__V(bias), ATTN__V(mask), ATTN__V(load_row), ATTN__V(store_row)
};

#undef ATTN__V
#undef ATTN__C
#undef attn_real
#undef attn_vfinite
#undef attn_madd
#undef attn_vec
#undef attn_vload
#undef attn_vstore
#undef attn_vset1
#undef attn_vadd
#undef attn_vsub
#undef attn_vmul
#undef attn_vmax
#undef attn_vfma
#undef attn_vfma_lane
#undef attn_vexp2i
#undef attn_vdiv
#undef attn_vchoose
#undef attn_vtranspose
#undef attn_vsum
#undef attn_vmost
#undef attn_vexp
#undef ATTN__NR
#undef ATTN__QUAD
#undef ATTN__LANES
#undef ATTN__STEP_KEYS
#undef ATTN__EACH
#undef ATTN__FOLD
#undef ATTN__EACH_ROW
#undef ATTN__EACH_OF_QUAD
#undef ATTN__SET
#undef ATTN__FEW
#endif /* ATTN__KERNEL */

/* ==========================================================================
 * LICENSE: choose the one that you prefer.
 *
 * A: MIT No Attribution (MIT-0)
 *
 * Copyright the attention.h contributors
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy
 * of this software and associated documentation files (the "Software"), to deal
 * in the Software without restriction, including without limitation the rights
 * to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
 * copies of the Software, and to permit persons to whom the Software is
 * furnished to do so.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
 * IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
 * FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
 * AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
 * LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
 * OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
 * SOFTWARE.
 *
 * B: public domain (Unlicense)
 *
 * This is free and unencumbered software released into the public domain.
 *
 * Anyone is free to copy, modify, publish, use, compile, sell, or distribute
 * this software, either in source code form or as a compiled binary, for any
 * purpose, commercial or non-commercial, and by any means.
 *
 * In jurisdictions that recognize copyright laws, the author or authors of
 * this software dedicate any and all copyright interest in the software to the
 * public domain. We make this dedication for the benefit of the public at
 * large and to the detriment of our heirs and successors. We intend this
 * dedication to be an overt act of relinquishment in perpetuity of all present
 * and future rights to this software under copyright law.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
 * IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
 * FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
 * AUTHORS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN
 * ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION
 * WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
 * ======================================================================== */
