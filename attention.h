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
 *   One call, of float (or double) arrays in C order: q and out (batch, heads, q_len,
 *   head_dim), k and v (batch, kv_heads, kv_len, head_dim). It returns a status:
 *
 *     attn_status s = attn_sdpa_f32(q, k, v, out, batch, heads, kv_heads,
 *                                   q_len, kv_len, head_dim, causal);
 *     if (s) puts(attn_status_string(s));
 *
 *   Everything else takes arrays, described NumPy-style (data, element type, shape,
 *   strides), and then "how to run", which may be NULL:
 *
 *     attn_desc d = attn_desc_default();
 *     d.q = attn_array_bshd(ATTN_F32, q, batch, q_len, heads, head_dim);
 *     d.k = attn_array_4d(ATTN_F16, k, batch, kv_heads, kv_len, head_dim);
 *     d.v = attn_array_4d(ATTN_F16, v, batch, kv_heads, kv_len, head_dim);
 *     d.out = attn_array_bshd(ATTN_F32, out, batch, q_len, heads, head_dim);
 *     d.scores = attn_array_4d(ATTN_F32, w, batch, heads, q_len, kv_len); // the weights
 *     d.causal = 1;
 *     d.align = ATTN_ALIGN_LOWER_RIGHT; // the last query sees all keys, as in attn_sdpa_f32
 *     attn_forward(&d, NULL);
 *
 *   In a loop, give it memory once, and nothing is allocated any more:
 *
 *     size_t bytes;
 *     attn_workspace_size(&d, 1, &bytes);                 // for the longest lengths
 *     attn_exec run = attn_exec_in(malloc(bytes), bytes);
 *     attn_forward(&d, &run);
 *
 *   After this manual come the declarations, each with its comment; then IMPLEMENTATION,
 *   which begins with an outline; at the end the kernels, written once for every
 *   instruction set. CONTRIBUTING.md says what a new one, or a new mask, touches.
 *
 *   Four levels, each usable alone:
 *     1. steps      attn_matmul, attn_compute_qkv, attn_scores, attn_softmax,
 *                   attn_weighted_sum: what a notebook does, one line each
 *     2. attention  attn_sdpa_f32, attn_sdpa_f64, attn_self_attention:
 *                   softmax(Q K^T / sqrt(d)) V
 *     3. fused      attn_forward: one descriptor for batches, grouped heads,
 *                   masks, windows, intervals, ALiBi, biases by distance, softcap,
 *                   sinks, lengths, pages, rings, packed sequences; log-sum-exp,
 *                   weights, scores, column sums, row statistics.
 *                   attn_partial and its states: over parts of the keys.
 *                   attn_cache_append, attn_cache_write (to any cache), attn_quantize,
 *                   attn_dequantize, attn_rotary, attn_rotate: for decoding.
 *     4. layers     attn_layer_forward: projections, heads, output projection
 *
 * IN PLACE OF YOUR LOOP
 *
 *   The attention of a decoder, one token at position pos, caches (position, kv_heads,
 *   head_dim), n = heads / kv_heads:
 *
 *     for (int h = 0; h < heads; h++) {
 *         const float *qh = q + h * head_dim, *kh = k + h / n * head_dim, *vh = v + h / n * head_dim;
 *         for (int t = 0; t <= pos; t++) {
 *             a[t] = 0;
 *             for (int i = 0; i < head_dim; i++) a[t] += qh[i] * kh[t * kv_heads * head_dim + i];
 *             a[t] /= sqrtf(head_dim);
 *         }
 *         softmax(a, pos + 1);
 *         for (int i = 0; i < head_dim; i++) {
 *             out[h * head_dim + i] = 0;
 *             for (int t = 0; t <= pos; t++) out[h * head_dim + i] += a[t] * vh[t * kv_heads * head_dim + i];
 *         }
 *     }
 *
 *   becomes
 *
 *     attn_desc d = attn_desc_default();
 *     d.q = attn_array_bshd(ATTN_F32, q, 1, 1, heads, head_dim);
 *     d.k = attn_array_bshd(ATTN_F32, k, 1, pos + 1, kv_heads, head_dim);
 *     d.v = attn_array_bshd(ATTN_F32, v, 1, pos + 1, kv_heads, head_dim);
 *     d.out = attn_array_bshd(ATTN_F32, out, 1, 1, heads, head_dim);
 *     attn_forward(&d, &run);
 *
 *   A prompt of m tokens from position pos on is one call, too, and many times as fast as
 *   m of them: give q and out m in place of 1, k and v pos + m, and d.causal = 1 with
 *   d.align = ATTN_ALIGN_LOWER_RIGHT. Caches of 16 bits need only another type; caches
 *   (kv_heads, position, head_dim) are attn_array_strided, whose rows of a head are
 *   capacity * head_dim apart. A mask that is added to a[t] is d.mask, and a[t] itself,
 *   of all heads, d.scores. Products by matrices stored (out, in) are attn_matmul by
 *   attn_array_swap(w, 0, 1), the turning of q and k attn_rotary. Where a pool calls your
 *   loop with its threads' numbers, use exec.share. examples/generate.c is a decoder made of
 *   such calls, examples/shares.c a pool.
 *
 * DEFINITIONS
 *
 *   batch B, heads H, sequence S (q_len, kv_len), head dimension D (head_dim for
 *   Q and K, head_dim_v for V and the output). Strides count elements, not
 *   bytes; 0 broadcasts; negative strides are allowed; an array whose strides
 *   are all 0 is contiguous in C order. A pointer must be aligned for its
 *   element type, no more. Any dimension may be 0 or 1; none has to be a
 *   multiple of anything.
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
 *   score += -slope[h] * |p - j| + (r + mask)    ALiBi, relative bias, additive mask
 *   weight = exp(score) / sum exp(score)     over the visible keys j (and the sink)
 *   out    = sum of weight * v
 *   lse    = log(sum exp(score))             natural logarithm, sink included
 *   rowmax = the largest score, rowsum = sum exp(score - rowmax)    without the sink
 *
 *   p = i + offset is the position of query i among the keys: offset is 0 for
 *   ATTN_ALIGN_UPPER_LEFT (PyTorch, ONNX), kv_len - q_len for
 *   ATTN_ALIGN_LOWER_RIGHT (FlashAttention >= 2.1; with kv_lens the length of
 *   that batch), q_offset for ATTN_ALIGN_OFFSET (chunks, caches).
 *   causal: key j is visible when j <= p. Window: p - left <= j <= p + right,
 *   both ends included. Intervals: begin <= j < end in one of the query's. A key counts
 *   only where everything allows it. A mask has a column for every key, or by mask_place
 *   for the first or the last ones. r is entry p - j - rel_first of rel_bias. A relative
 *   bias or an additive mask of -inf drops the key.
 *
 *   A row without a visible key gives +0, weights +0, lse and rowmax -inf and rowsum
 *   +0, with or without a sink. The masks alone decide this, never the scores. What is
 *   masked never affects a result: NaN there changes no bit.
 *
 * DECODING
 *
 *   A cache is a pair of arrays (B, Hkv, capacity, D). Each step: append the new
 *   keys and values at kv_lens by attn_cache_append, add their number to
 *   kv_lens, and call attn_forward with the whole cache, kv_lens, causal and
 *   ATTN_ALIGN_LOWER_RIGHT. The rows have the bits of a single prefill, however
 *   they are cut into steps. Paged caches work alike: block_table says where the
 *   pages are. (Pages of 64 keys are read nearly as fast as one cache, pages of 16 in 1.2
 *   to 1.7 times the time.) With several workers, few queries over many keys are cut into
 *   tasks along the keys.
 *
 *   Prompts, chunks of them and decoding steps of several users are one call: their queries
 *   one after the other, cu_seqlens_q, and caches or pages as before, one for each. Every
 *   sequence is cut into tasks for itself and has the bits that it has alone.
 *
 *     d.q = attn_array_3d(ATTN_F32, q, heads, total_q, head_dim);
 *     d.out = attn_array_3d(ATTN_F32, out, heads, total_q, head_dim);
 *     d.k = attn_array_4d(ATTN_F16, k, num_pages, kv_heads, page_size, head_dim);
 *     d.v = attn_array_4d(ATTN_F16, v, num_pages, kv_heads, page_size, head_dim);
 *     d.block_table = attn_array_2d(ATTN_I32, table, users, pages);
 *     d.kv_lens = attn_array_1d(ATTN_I32, lens, users);
 *     d.cu_seqlens_q = attn_array_1d(ATTN_I32, begins, users + 1);
 *     d.causal = 1;
 *     d.align = ATTN_ALIGN_LOWER_RIGHT; // query i of n is at position kv_lens - n + i
 *
 *   A prompt that all users share need not be read for each: attn_partial of all rows over
 *   its keys, as one plain batch, and of the packed rows over what is each one's own, with
 *   kv_begin; then attn_state_merge (examples/shared_prefix.c).
 *
 *   A cache may be a ring of fewer rows than there are positions: the first ring_sinks keys stay,
 *   and the others take the remaining rows in turn. It needs rows for all keys that a call's
 *   queries see: for a window, and one more for each query but the first. StreamingLLM, whose
 *   queries see 4 sinks and the last w keys, decodes for ever with 4 + w rows:
 *
 *     attn_cache keys = attn_cache_default();                              // and values
 *     keys.data = attn_array_4d(ATTN_F16, k, 1, kv_heads, 4 + w, head_dim);
 *     keys.ring = 1;
 *     keys.ring_sinks = 4;
 *     for (int32_t pos = 0;; pos++) {
 *         int32_t len = pos + 1, bounds[4] = {0, 4, len - w > 4 ? len - w : 4, len};
 *         attn_array at = attn_array_1d(ATTN_I32, &pos, 1);
 *         attn_cache_write(&keys, &new_k, &at, NULL, NULL);                // and values
 *         d.k = keys.data;
 *         d.ring = 1;
 *         d.ring_sinks = 4;
 *         d.kv_lens = attn_array_1d(ATTN_I32, &len, 1);
 *         d.q_bounds = attn_array_2d(ATTN_I32, bounds, 1, 4);
 *         attn_forward(&d, &run);
 *     }
 *
 *   A model with a window alone needs d.window in place of sinks and q_bounds. A prompt that is
 *   longer than the ring goes to it in chunks, each followed by its attn_forward, or as a whole
 *   after an attn_forward over its own keys. Pages are a ring where the entries of a table repeat.
 *
 * EIGHT BITS
 *
 *   Keys, values and caches may be int8, uint8, floats of 8 bits, or ggml's q8_0, beside float32,
 *   float16 or bfloat16 queries. An element is (number - zero) * scale in float32, one rounding
 *   each; results have the bits of the same call on float32 arrays that hold those elements, so
 *   that NaN and infinity of a scale are as if every element it belongs to had them. Scales are
 *   one for all, or for each head, key, group of columns or column, and what these have together:
 *
 *     d.k = attn_array_4d(ATTN_I8, k, batch, kv_heads, capacity, head_dim);
 *     d.k_scale = attn_array_4d(ATTN_F32, k_scale, batch, kv_heads, capacity, 1);
 *     d.v = attn_array_4d(ATTN_Q8_0, blocks, batch, kv_heads, capacity, head_dim); (has its own)
 *
 *   attn_cache_append_scaled rounds new rows to such a cache, attn_quantize whole arrays: a number
 *   becomes x / scale (a division) + zero, rounded to nearest even and limited to the type; what is
 *   too large for a float of 8 bits becomes the largest, infinity too. NaN becomes 0 as an integer,
 *   and stays NaN as a float; by a scale of 0 all finite numbers become 0. A found scale is the
 *   largest magnitude / 127 (448 for e4m3, 57344 for e5m2), rounded to what is stored, up where it
 *   is subnormal, so that integers come back within half a step; NaN, and with it every element, if
 *   one of them is not finite.
 *
 * RECIPES
 *
 *   What needs no option, as arrays may overlap and have any strides:
 *
 *   Latent attention (MLA): values are the first columns of the keys, for all heads.
 *     d.k = attn_array_3d(ATTN_BF16, latent, 1, kv_len, 576);
 *     d.v = d.k; d.v.shape[2] = 512; d.v.stride[0] = d.v.stride[1] = 576; d.v.stride[2] = 1;
 *   One prefix for all of a batch, or one head for several: a stride of 0.
 *     d.k = attn_array_strided(ATTN_F32, k, batch, heads, kv_len, dim, 0, kv_len * dim, dim, 1);
 *   A bias by distance, r[h][j - i + q_len - 1], without its matrix, as a mask. (rel_bias
 *   need not have all distances, stays what it is while a cache grows, and leaves the mask.)
 *     d.mask = attn_array_strided(ATTN_F32, r + q_len - 1, 1, heads, q_len, kv_len,
 *                                 0, q_len + kv_len - 1, -1, 1);
 *   T5: bias[bucket][h] for buckets of j - p, which from 128 on, and from -128, is one.
 *     for (int h = 0; h < heads; h++)
 *         for (int e = 0; e < 257; e++) r[h][e] = bias[bucket_of(128 - e)][h];
 *     d.rel_bias = attn_array_3d(ATTN_F32, r, heads, 1, 257);
 *     d.rel_first = -128, d.rel_clamp = 1, d.scale = 1;
 *   Transformer-XL, Conformer: u is q and a bias, e (heads, n, head_dim) what stands for
 *   distances from `first` on; r (heads, q_len, n).
 *     attn_scores(&u, &e, 0, &r, NULL);
 *     d.rel_bias = r, d.rel_first = first;
 *   Swin: distances in two dimensions are no function of p - j. All pairs of a window's n
 *   tokens, expanded once, as an additive mask that all windows (the batch) share.
 *     d.mask = attn_array_3d(ATTN_F32, pairs, heads, n, n);
 *   A tree of n drafts after a cache (speculative decoding), of which each sees the cache and
 *   its ancestors: n x n bits, a row of bytes for each. Without the cache's part of the mask.
 *     d.mask = attn_array_2d(ATTN_BIT, ancestors, n, n);
 *     d.mask_place = ATTN_MASK_TAIL;
 *   The rotary embedding of Llama 3.1, of keys on their way into a cache.
 *     attn_rotary_llama3(500000, 8, 1, 4, 8192, &factors);
 *     rotation.base = 500000, rotation.factors = factors;
 *     attn_cache_append_rotated(&cache, &rotation, &k, NULL, &kv_lens, NULL);
 *   Softmax off by one, exp(s) / (1 + sum exp(s)): sinks that are 0.
 *     d.sinks = attn_array_1d(ATTN_F32, zeros, heads);
 *   ONNX Attention-24 with nonpad_kv_seqlen: attn_desc_onnx, and d.kv_lens; with is_causal,
 *   d.align = ATTN_ALIGN_LOWER_RIGHT. A row before the first key is zeros.
 *
 *   Which keys a query sees, without a q_len * kv_len matrix: intervals, d.q_bounds, of which
 *   blocks that no query sees are not read. p is the query's position; i32, begin and end:
 *     prefix-LM, a prefix of n keys that sees all of itself    p < n ? 0, n : 0, p + 1
 *     an image [a, b) among text, without causality within it  a <= p && p < b ? 0, b : 0, p + 1
 *     chunks of c (Llama 4)                                    p / c * c, p + 1
 *     streaming speech: chunks of c, and n before              (p / c - n) * c, (p / c + 1) * c
 *     StreamingLLM: the first n keys, and a window of w        0, n, max(n, p - w), p + 1
 *     documents, each [a, b), behind a prefix that all see     0, n, a, p + 1
 *   What is the same for all keys before p is shorter with d.causal: then an end is any number
 *   beyond. Pages between those that are seen can be used for something else.
 *
 * NUMBERS
 *
 *   Same bits. float32 and float64 results are bit-identical on every path
 *   (scalar, NEON, AVX2, AVX-512, native or emulated), for any thread count,
 *   batch, alignment and tiling, for prefill and for decode. To this end every
 *   product is part of a multiply-add in a fixed order (sums over head_dim and
 *   over keys run in index order), weights are summed in chains of 16 keys, keys
 *   are cut into blocks of 512 at absolute positions, and blocks are joined along
 *   a fixed binary tree. exp, tanh and log are the header's own. Scores that
 *   become weights are computed in units of ln 2: q is multiplied by scale * log2 e.
 *
 *   Two arithmetics. Fused rounds a multiply-add once, unfused rounds the product
 *   and then the sum: two sets of bits, each the same everywhere, within the same
 *   error bounds. attn_arithmetic() says which one a program has. Fused is the
 *   default on x86-64 and wherever the target's instruction set has it; unfused
 *   elsewhere: WebAssembly, 32-bit x86, ARMv7 before VFPv4, processors without
 *   floating point. (x86-64 before Haswell and Piledriver gets the fused bits in
 *   software, slowly: what a program computes must not depend on the machine it
 *   happens to run on.) ATTN_FUSED and ATTN_UNFUSED choose, so that a browser and
 *   a server, or old machines and new ones, can agree to the bit.
 *
 *   Finite in, finite out. Finite visible inputs, up to the largest float in Q,
 *   K, V, scale and mask alike, give a finite output, within the range of the
 *   visible values but for rounding, and weights that sum to 1. Rows whose fast
 *   arithmetic overflows are detected and computed again, without the others: in
 *   double, and where that overflows, from numbers that are scaled down.
 *
 *   Visible NaN and infinity follow IEEE 754 in the scores of their own row. In V
 *   they make the column infinite, or NaN where there are both signs or a NaN, for
 *   the rows that see them, however small the weight; other columns keep their bits.
 *   Rows that see them, and those that overflow, take 2 to 8 times as long as others; calls of a
 *   few microseconds up to 8.5 times, and parts of few float64 keys up to 15 times on the scalar
 *   path, which emulates multiply-adds.
 *   attn_forward and attn_softmax write one kind of NaN; in results of attn_matmul and
 *   attn_scores its sign and payload depend on the machine.
 *
 *   Element types. ATTN_F32 and ATTN_F64 compute in their own precision,
 *   ATTN_F16 and ATTN_BF16 in float32 with one rounding, to nearest even, at
 *   the output.
 *
 *   NaN, infinities and huge numbers take attn_softmax hardly longer than others.
 *   Subnormal inputs cost no time, except in scalar float64 code that emulates the
 *   multiply-add, which takes up to 3.5 times as long, products of matrices 6 times.
 *
 *   Ordinary finite inputs raise neither invalid nor divide-by-zero nor overflow.
 *   Rounding modes and flush-to-zero are neither set nor reset, and the bits are
 *   promised for the default modes only. In other modes results stay finite. But
 *   directed rounding turns overflow into the largest number, so that a row which
 *   would be computed again is not detected, and may leave the range of its values.
 *
 *   attn_self_test tells at run time whether a build is sound: clang's
 *   -ffp-contract=fast, for one, fuses unfused arithmetic, and nothing at compile
 *   time shows it.
 *
 * FAST MATH (projects built with -Ofast, -ffast-math)
 *
 *   -ffast-math and the parts of it that would break all of this
 *   (-funsafe-math-optimizations, -fassociative-math, -freciprocal-math,
 *   -ffinite-math-only) do not hold in this file if gcc 12 or later compiles it;
 *   other compilers are refused. For them the implementation needs a file of its own,
 *
 *     #define ATTENTION_IMPLEMENTATION
 *     #include "attention.h"
 *
 *   and that file its own flags, after those of the project:
 *
 *     attention.o: CFLAGS += -fno-fast-math                              (make)
 *     set_source_files_properties(attention.c PROPERTIES
 *                                 COMPILE_OPTIONS -fno-fast-math)        (CMake)
 *
 *   That does not reach the linker: gcc and clang, given these options when they link
 *   a program (gcc before 13 and clang: or a shared library), have it start with
 *   subnormal numbers flushed to zero, in every file of it: the mean of 1e-40 and
 *   3e-40 is then 0. Link without them; attn_self_test returns ATTN_ERR_FLUSH where
 *   numbers are flushed.
 *
 * MEMORY AND THREADS
 *
 *   The only global state is a cache of the CPU's features, which any number of threads
 *   may fill. Scratch memory ("workspace") is the caller's, who learns its size by
 *   attn_workspace_size or, for one call of any function, by exec.query; it depends on
 *   head_dim and the number of workers, and hardly on the lengths (never on
 *   q_len * kv_len); for few queries over keys of several heads side by side also on the
 *   heads: up to 64 rows of values for each query. A call without any (exec is NULL, or
 *   its workspace NULL and of size 0) allocates it, once, and frees it: by malloc and
 *   free, or by ATTN_MALLOC(bytes) and ATTN_FREE(pointer), if you define these; without
 *   memory it returns ATTN_ERR_MEMORY and writes nothing. With ATTN_NO_MALLOC, and in
 *   freestanding programs, nothing is ever allocated: ATTN_ERR_WORKSPACE.
 *
 *   No function needs more than 48 KiB of stack when compiled with optimization, nor
 *   more than 96 KiB without. So it runs in threads of 128 KiB (musl's default) and,
 *   with optimization, in coroutines of 64 KiB.
 *
 *   The library starts no threads. Give exec.parallel_for a function that runs
 *   independent tasks in any order; results do not depend on it. examples/ has
 *   one each for POSIX, C11 and Windows threads, OpenMP and Grand Central Dispatch.
 *   Where all threads of a pool run the same code, each with a number, all call with
 *   exec.share and exec.shares instead.
 *
 * ERRORS
 *
 *   Every function is total: bad arguments return a status of their own, which
 *   attn_status_string explains, and nothing is written. Where it is asked for,
 *   exec.argument receives the name of the argument: "k", "shapes do not agree". Of
 *   two that do not fit together it is the later one.
 *
 *   An output has no byte in common with any other array (but y may be x, where
 *   that is said). It may lie between their elements: in a slot of a buffer that
 *   holds q, k and v, in the other half of their rows, in every second row. Where
 *   each stride, of either array, is larger than what the smaller ones of each
 *   span, up to 8 different ones in all, this is decided exactly; elsewhere by a
 *   search of 1000 steps, and what that leaves open is ATTN_ERR_ALIAS.
 *
 * SIMD AND DISPATCH
 *
 *   x86-64 has scalar, AVX2+FMA and AVX-512 code, AArch64 scalar and NEON, in
 *   one translation unit without compiler flags. The best path of the machine
 *   that the program runs on is chosen at run time; exec.path forces one. In
 *   unfused arithmetic there is also code for the 16-byte vectors of gcc and
 *   clang, wherever the target has them: SSE2 of any x86-64, WebAssembly
 *   compiled with -msimd128, VSX.
 *
 * BUILD OPTIONS, defined before the implementation (as 0: not defined)
 *
 *   ATTN_STATIC        makes all functions static (several copies in a program)
 *   ATTN_PREFIX        replaces the attn_ prefix of every public function and
 *                      type; define it before every inclusion, so that libraries
 *                      that hold different versions can share a program
 *   ATTN_DEF           begins every declaration; extern by default
 *   ATTN_NO_MALLOC     nothing is allocated: see MEMORY
 *   ATTN_MALLOC, ATTN_FREE    what is called instead of malloc and free
 *   ATTN_USE_SIMDE     also compiles the paths of other machines, through SIMDe
 *   ATTN_NO_SIMD128, ATTN_NO_NEON, ATTN_NO_AVX2, ATTN_NO_AVX512    omit a path
 *   ATTN_FUSED, ATTN_UNFUSED    multiply and add with one rounding, or with two
 *   ATTN_FILE          this file's name in quotes, if you renamed it. It includes
 *                      itself, so it cannot be pasted into another file
 *
 *   All names begin with attn_ or ATTN_, and no macro of a system's header breaks
 *   it. In a C++ namespace, include <stddef.h>, <stdint.h>, <stdlib.h> and the
 *   intrinsics (<immintrin.h> or <arm_neon.h>) before.
 *
 *   Shared libraries that each hold a copy export its functions, and a program that
 *   loads two of them calls those of one, whatever its version: define ATTN_STATIC
 *   in such a library, or compile it with -fvisibility=hidden.
 *
 *   An object file needs memcpy, memset, malloc, free.
 *   One that allocates nothing needs memcpy, memset.
 *   It uses nothing else of the C library (gcc and clang call these two in any
 *   case; on small machines they add their own arithmetic, whose names begin
 *   with __). So it can be compiled with -ffreestanding and linked without -lm.
 *
 * ==========================================================================*/

#ifndef ATTENTION_H
#define ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#define ATTN_VERSION_MAJOR 0 /* semantic versioning; all other files take it from here */
#define ATTN_VERSION_MINOR 2
#define ATTN_VERSION_PATCH 0
#define ATTN__TEXT(x) #x
#define ATTN__DOTTED(x, y, z) ATTN__TEXT(x) "." ATTN__TEXT(y) "." ATTN__TEXT(z)
/* "major.minor.patch" */
#define ATTN_VERSION ATTN__DOTTED(ATTN_VERSION_MAJOR, ATTN_VERSION_MINOR, ATTN_VERSION_PATCH)

/* of an option: is it defined as 0? */
#define ATTN__OFF_ 0
#define ATTN__OFF_0 1
#define ATTN__OFF_1 0
#define ATTN__OFF__(x) ATTN__OFF_##x
#define ATTN__OFF(x) ATTN__OFF__(x)

#ifndef ATTN_DEF
#if defined(ATTN_STATIC) && !ATTN__OFF(ATTN_STATIC)
#if defined(__GNUC__) || defined(__clang__)
#define ATTN_DEF static __attribute__((__unused__))
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
#define attn_array_bshd ATTN__PREFIXED(ATTN_PREFIX, array_bshd)
#define attn_array_strided ATTN__PREFIXED(ATTN_PREFIX, array_strided)
#define attn_array_swap ATTN__PREFIXED(ATTN_PREFIX, array_swap)
#define attn_best_path ATTN__PREFIXED(ATTN_PREFIX, best_path)
#define attn_cache ATTN__PREFIXED(ATTN_PREFIX, cache)
#define attn_cache_append ATTN__PREFIXED(ATTN_PREFIX, cache_append)
#define attn_cache_append_rotated ATTN__PREFIXED(ATTN_PREFIX, cache_append_rotated)
#define attn_cache_append_scaled ATTN__PREFIXED(ATTN_PREFIX, cache_append_scaled)
#define attn_cache_default ATTN__PREFIXED(ATTN_PREFIX, cache_default)
#define attn_cache_write ATTN__PREFIXED(ATTN_PREFIX, cache_write)
#define attn_compute_qkv ATTN__PREFIXED(ATTN_PREFIX, compute_qkv)
#define attn_dequantize ATTN__PREFIXED(ATTN_PREFIX, dequantize)
#define attn_desc ATTN__PREFIXED(ATTN_PREFIX, desc)
#define attn_desc_default ATTN__PREFIXED(ATTN_PREFIX, desc_default)
#define attn_desc_flash ATTN__PREFIXED(ATTN_PREFIX, desc_flash)
#define attn_desc_onnx ATTN__PREFIXED(ATTN_PREFIX, desc_onnx)
#define attn_desc_pytorch ATTN__PREFIXED(ATTN_PREFIX, desc_pytorch)
#define attn_dtype ATTN__PREFIXED(ATTN_PREFIX, dtype)
#define attn_dtype_block ATTN__PREFIXED(ATTN_PREFIX, dtype_block)
#define attn_dtype_name ATTN__PREFIXED(ATTN_PREFIX, dtype_name)
#define attn_dtype_size ATTN__PREFIXED(ATTN_PREFIX, dtype_size)
#define attn_exec ATTN__PREFIXED(ATTN_PREFIX, exec)
#define attn_exec_default ATTN__PREFIXED(ATTN_PREFIX, exec_default)
#define attn_exec_in ATTN__PREFIXED(ATTN_PREFIX, exec_in)
#define attn_forward ATTN__PREFIXED(ATTN_PREFIX, forward)
#define attn_layer ATTN__PREFIXED(ATTN_PREFIX, layer)
#define attn_layer_default ATTN__PREFIXED(ATTN_PREFIX, layer_default)
#define attn_layer_forward ATTN__PREFIXED(ATTN_PREFIX, layer_forward)
#define attn_mask_place ATTN__PREFIXED(ATTN_PREFIX, mask_place)
#define attn_matmul ATTN__PREFIXED(ATTN_PREFIX, matmul)
#define attn_parallel_for ATTN__PREFIXED(ATTN_PREFIX, parallel_for)
#define attn_partial ATTN__PREFIXED(ATTN_PREFIX, partial)
#define attn_path ATTN__PREFIXED(ATTN_PREFIX, path)
#define attn_path_compiled ATTN__PREFIXED(ATTN_PREFIX, path_compiled)
#define attn_path_name ATTN__PREFIXED(ATTN_PREFIX, path_name)
#define attn_path_native ATTN__PREFIXED(ATTN_PREFIX, path_native)
#define attn_path_supported ATTN__PREFIXED(ATTN_PREFIX, path_supported)
#define attn_quantize ATTN__PREFIXED(ATTN_PREFIX, quantize)
#define attn_rotary ATTN__PREFIXED(ATTN_PREFIX, rotary)
#define attn_rotary_llama3 ATTN__PREFIXED(ATTN_PREFIX, rotary_llama3)
#define attn_rotary_tables ATTN__PREFIXED(ATTN_PREFIX, rotary_tables)
#define attn_rotary_yarn ATTN__PREFIXED(ATTN_PREFIX, rotary_yarn)
#define attn_rotate ATTN__PREFIXED(ATTN_PREFIX, rotate)
#define attn_rotation ATTN__PREFIXED(ATTN_PREFIX, rotation)
#define attn_rotation_default ATTN__PREFIXED(ATTN_PREFIX, rotation_default)
#define attn_scaling ATTN__PREFIXED(ATTN_PREFIX, scaling)
#define attn_scores ATTN__PREFIXED(ATTN_PREFIX, scores)
#define attn_sdpa_f32 ATTN__PREFIXED(ATTN_PREFIX, sdpa_f32)
#define attn_sdpa_f64 ATTN__PREFIXED(ATTN_PREFIX, sdpa_f64)
#define attn_self_attention ATTN__PREFIXED(ATTN_PREFIX, self_attention)
#define attn_self_test ATTN__PREFIXED(ATTN_PREFIX, self_test)
#define attn_softmax ATTN__PREFIXED(ATTN_PREFIX, softmax)
#define attn_stage ATTN__PREFIXED(ATTN_PREFIX, stage)
#define attn_state_finish ATTN__PREFIXED(ATTN_PREFIX, state_finish)
#define attn_state_merge ATTN__PREFIXED(ATTN_PREFIX, state_merge)
#define attn_state_merged_size ATTN__PREFIXED(ATTN_PREFIX, state_merged_size)
#define attn_state_redone ATTN__PREFIXED(ATTN_PREFIX, state_redone)
#define attn_state_size ATTN__PREFIXED(ATTN_PREFIX, state_size)
#define attn_status ATTN__PREFIXED(ATTN_PREFIX, status)
#define attn_status_string ATTN__PREFIXED(ATTN_PREFIX, status_string)
#define attn_task ATTN__PREFIXED(ATTN_PREFIX, task)
#define attn_version ATTN__PREFIXED(ATTN_PREFIX, version)
#define attn_weighted_sum ATTN__PREFIXED(ATTN_PREFIX, weighted_sum)
#define attn_workspace_size ATTN__PREFIXED(ATTN_PREFIX, workspace_size)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- types -- */

/* One value per cause, and what attn_status_string says of it. ATTN_OK is 0, so `if (status)` means failure. */
#define ATTN__STATUSES(X)                                                                                              \
    X(ATTN_OK, "no error")                                                                                             \
    X(ATTN_ERR_NULL, "a required array or argument is missing (NULL)")                                                 \
    X(ATTN_ERR_DTYPE, "an element type is not supported here, or the element types do not fit together")               \
    X(ATTN_ERR_RANK, "an array has the wrong number of dimensions")                                                    \
    X(ATTN_ERR_SHAPE, "shapes do not agree")                                                                           \
    X(ATTN_ERR_SCALE_SHAPE, "the shape of scales or zero points does not fit what they are for")                       \
    X(ATTN_ERR_SCALE_COUNT, "head_dim is not a multiple of the number of scales in a row")                             \
    X(ATTN_ERR_UNSCALED, "elements of this type have no scales, or no zero points, beside them")                       \
    X(ATTN_ERR_BLOCK, "rows are not whole blocks of 32 elements")                                                      \
    X(ATTN_ERR_HEADS, "the number of query heads is not a multiple of the number of key/value heads")                  \
    X(ATTN_ERR_AXIS, "axis out of range")                                                                              \
    X(ATTN_ERR_STRIDE, "an output's strides make its elements overlap")                                                \
    X(ATTN_ERR_ALIGN, "a pointer is not aligned for its element type")                                                 \
    X(ATTN_ERR_ALIAS, "an output overlaps an input or another output")                                                 \
    X(ATTN_ERR_OVERFLOW, "a size is too large for this machine's memory")                                              \
    X(ATTN_ERR_PARAMETER, "a parameter is out of range") /* a scalar option: NaN scale, negative softcap, ... */       \
    X(ATTN_ERR_LENGTH, "a key/value length or sequence offset is out of range")                                        \
    X(ATTN_ERR_PAGE, "a page index is out of range")                                                                   \
    X(ATTN_ERR_RING, "a query sees a key that its ring cache no longer holds")                                         \
    X(ATTN_ERR_PATH, "this path is not compiled in, or this machine does not support it")                              \
    X(ATTN_ERR_WORKSPACE, "the workspace is missing or too small")                                                     \
    X(ATTN_ERR_MEMORY, "there is no memory for a workspace")                                                           \
    X(ATTN_ERR_UNSUPPORTED, "this version does not compute this combination")                                          \
    X(ATTN_ERR_UNSOUND, "this build computes other bits than it should: check the compiler's floating-point options")  \
    X(ATTN_ERR_FLUSH, "subnormal numbers are flushed to zero here: link without -Ofast and -ffast-math")
typedef enum attn_status {
#define ATTN__X(name, text) name,
    ATTN__STATUSES(ATTN__X)
#undef ATTN__X
        ATTN_STATUS_COUNT
} attn_status;

/* Element types, what attn_dtype_name calls them, and their bytes. Zero is float32. */
#define ATTN__DTYPES(X)                                                                                                \
    X(ATTN_F32, "float32", 4)                                                                                          \
    X(ATTN_F64, "float64", 8)                                                                                          \
    X(ATTN_F16, "float16", 2)   /* IEEE 754 binary16, held in uint16_t */                                              \
    X(ATTN_BF16, "bfloat16", 2) /* held in uint16_t */                                                                 \
    X(ATTN_BOOL, "bool", 1)     /* one byte, 0 or not 0 */                                                             \
    X(ATTN_I32, "int32", 4)                                                                                            \
    X(ATTN_I64, "int64", 8)                                                                                            \
    /* for keys, values and their caches alone, see EIGHT BITS */                                                      \
    X(ATTN_I8, "int8", 1)                                                                                              \
    X(ATTN_U8, "uint8", 1)                                                                                             \
    X(ATTN_F8_E4M3, "float8_e4m3", 1) /* FN: no infinity, NaN is 0x7f and 0xff; the largest is 448 */                  \
    X(ATTN_F8_E5M2, "float8_e5m2", 1)                                                                                  \
    X(ATTN_Q8_0, "q8_0", 34) /* ggml's block of 32 elements: a float16 scale, then 32 int8; strides in blocks */       \
    /* for masks alone: 1 bit a key, the first is the lowest of its byte; rows end with whole bytes, strides in bytes  \
     */                                                                                                                \
    X(ATTN_BIT, "bit", 1)
typedef enum attn_dtype {
#define ATTN__X(name, text, size) name,
    ATTN__DTYPES(ATTN__X)
#undef ATTN__X
        ATTN_DTYPE_COUNT
} attn_dtype;

/* Code paths, slowest first: the one list of them. ATTN_PATH_SCALAR, ... */
#define ATTN__PATHS(X)                                                                                                 \
    X(SCALAR, scalar)                                                                                                  \
    X(SIMD128, simd128) /* the compiler's 16-byte vectors: WebAssembly, SSE2, VSX; unfused only */                     \
    X(NEON, neon)                                                                                                      \
    X(AVX2, avx2)     /* with FMA and F16C */                                                                          \
    X(AVX512, avx512) /* F, DQ, BW and VL */
typedef enum attn_path {
    ATTN_PATH_AUTO = 0, /* the best that this machine runs */
#define ATTN__X(NAME, name) ATTN_PATH_##NAME,
    ATTN__PATHS(ATTN__X)
#undef ATTN__X
        ATTN_PATH_COUNT
} attn_path;

/* The position of query 0 among the keys: see p under WHAT IS COMPUTED. */
typedef enum attn_align {
    ATTN_ALIGN_UPPER_LEFT = 0,
    ATTN_ALIGN_LOWER_RIGHT,
    ATTN_ALIGN_OFFSET,
    ATTN_ALIGN_COUNT
} attn_align;

/* The keys of a mask's columns, where they are not all keys. Zero: they are. Both others count positions from 0 (a part
 * with kv_begin takes the mask of the whole). */
typedef enum attn_mask_place {
    ATTN_MASK_ALL = 0,
    ATTN_MASK_KEYS, /* column c is key c; keys beyond the last column are dropped, as ONNX has it */
    ATTN_MASK_TAIL, /* the last column is the last key, of each batch by kv_lens; keys before the first are open: what a
                       tree of drafts, or a chunk of a prompt, sees of itself */
    ATTN_MASK_PLACE_COUNT
} attn_mask_place;

/* What attn_desc.scores receives. Zero: the attention weights. */
typedef enum attn_stage {
    ATTN_STAGE_PROBS = 0, /* the weights: rows sum to 1, +0 where masked */
    ATTN_STAGE_RAW,       /* scale * (q . k) */
    ATTN_STAGE_SOFTCAPPED,
    ATTN_STAGE_BIASED, /* with ALiBi, relative bias and mask; -inf where masked */
    ATTN_STAGE_COUNT
} attn_stage;

#define ATTN_MAX_DIMS 8

/* A strided view of the caller's memory. Zero-initialised it means "absent".
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

/* How to run. Zero-initialised: best path, the calling thread, memory of its own. */
typedef struct attn_exec {
    void *workspace; /* any alignment; first, so that {0} is zero in C++, too */
    size_t workspace_size;
    size_t *query;                  /* not NULL: check all arguments, store the bytes of workspace
                                       needed here, compute nothing (data pointers may be NULL) */
    attn_parallel_for parallel_for; /* NULL: the calling thread */
    void *parallel_context;
    size_t num_workers; /* 0 means 1; only with parallel_for */
    /* Instead, for pools that give each thread a number: shares > 1 threads make this very call, each with its own
     * share (0, 1, ...) and all with the same workspace, and each does its part of the tasks. Not for layers. */
    size_t share, shares;
    void (*barrier)(void *parallel_context); /* with shares: waits until all are here. Then the call ends when all have
                                                done their part, and few queries over many keys are cut along the
                                                keys; NULL: neither */
    const char **argument; /* not NULL: receives the name of the argument that an error is about, as it is
                              written here, NULL if there is none */
    attn_path path;
} attn_exec;

/* One fused attention. Zero-initialised, with q, k, v and out set, it is plain
 * softmax(Q K^T / sqrt(head_dim)) V. */
typedef struct attn_desc {
    attn_array q;   /* (B, Hq, q_len, head_dim)    or 3-D (H, S, D) or 2-D (S, D) */
    attn_array k;   /* (B, Hkv, kv_len, head_dim)    f32, f64, f16, bf16, or 8 bits */
    attn_array v;   /* (B, Hkv, kv_len, head_dim_v)  */
    attn_array out; /* (B, Hq, q_len, head_dim_v) */

    double scale;   /* 0: 1 / sqrt(head_dim); rounded to the compute type */
    double softcap; /* 0: none; else > 0 */

    int causal;           /* not 0: key j is visible to position p when j <= p */
    attn_align align;     /* of query 0 */
    int64_t q_offset;     /* with ATTN_ALIGN_OFFSET */
    int window;           /* not 0: use window_left and window_right */
    int64_t window_left;  /* keys before p that stay visible; -1: all */
    int64_t window_right; /* keys after p that stay visible; -1: all */

    attn_array mask;            /* optional, (B, Hq, q_len, kv_len), fewer dimensions and
                                   dimensions of 1 but the last broadcast: ATTN_BOOL or ATTN_BIT,
                                   true = keep, or a float type that is added, -inf = drop */
    attn_mask_place mask_place; /* other than ATTN_MASK_ALL: the mask has any number of columns up to kv_begin + kv_len
                                   (of attn_partial and of rings: any number) */
    attn_array kv_lens;         /* optional, (B): visible keys per batch, i32 or i64 */
    attn_array q_bounds;        /* optional, (q_len, 2 R) or (B, q_len, 2 R), i32 or i64: a row
                                   is R intervals of positions, begin and end in turn, and a
                                   key counts only within one of them: begin <= j < end. One
                                   that ends where it begins, or before, is empty; of the
                                   others each begins where the last one ends, or later */
    attn_array alibi;           /* optional, (Hq) or (B, Hq): slopes */
    attn_array rel_bias;        /* optional, (B, Hq, q_len, R), fewer dimensions and dimensions of
                                   1 but the last broadcast: entry (p - j) - rel_first is added
                                   to the score of position p and key j; a float type, -inf = drop */
    int64_t rel_first;          /* the distance p - j of the first entry, from -2^61 to 2^61 */
    int rel_clamp;              /* not 0: distances beyond the table have its first or last entry;
                                   0: nothing is added to them */
    attn_array sinks;           /* optional, (Hq): a logit in the denominator only */

    /* Optional, float32, for k and v of 8 bits: an element is (number - zero) * scale. (B, Hkv, kv_len, C), fewer
     * dimensions and dimensions of 1 broadcast; C divides head_dim, and column c uses c / (head_dim / C); the C of a
     * scale and its zero point are the same, or one of them 1. Zero points are for ATTN_I8 and ATTN_U8. With pages
     * (num_pages, Hkv, page_size, C) */
    attn_array k_scale, v_scale, k_zero, v_zero;

    attn_array block_table;  /* optional, (B, pages), i32 or i64: k and v are then pages
                                (num_pages, Hkv, page_size, D), and key j of batch b is
                                row j % page_size of page block_table[b][j / page_size];
                                kv_len = pages * page_size, of which kv_lens says how
                                many keys there are. A page that no row sees by length,
                                causality, window and q_bounds may have any number,
                                except where raw or softcapped scores of its keys are
                                asked for */
    attn_array cu_seqlens_q; /* optional, (N + 1), i32 or i64, from 0 up to the total: q
                                and out are (Hq, total_q, D), lse (Hq, total_q), and
                                sequence n is the rows [cu_seqlens[n], cu_seqlens[n + 1])
                                of them, and a batch of its own, of N: k, v, kv_lens,
                                block_table, alibi and colsum are as of N batches; mask
                                and scores have the rows of q, (Hq, total_q, kv_len),
                                and so have q_bounds, (total_q, 2 R), and rel_bias,
                                (Hq, total_q, R), where it has one for each query.
                                Rows of no sequence are not written */
    attn_array cu_seqlens_k; /* optional, beside it: the same for k and v, which are
                                (Hkv, total_k, D), and so are the columns of mask and
                                colsum (Hq, total_k); no block_table, no scores */
    size_t kv_begin;         /* position of the first key of k, v, mask and block_table,
                                for parts of a longer sequence; window, causal and
                                kv_lens count positions from 0 */
    int ring;          /* not 0: k and v are rings of `capacity` rows, and so are their scales. The key at position
                          p lies in row p if that is below ring_sinks, else in row ring_sinks + (p - ring_sinks) %
                          (capacity - ring_sinks). kv_lens, which there must be, may then be larger than capacity:
                          ATTN_ERR_RING if a query sees, by length, causality, window, q_bounds and how many columns
                          a mask has, a key whose row was taken by a later one. The bits are those of a cache that
                          holds all. Not with block_table (whose entries may repeat, which is a ring of pages),
                          cu_seqlens_k, kv_begin, a mask without mask_place, scores, colsum or attn_partial */
    size_t ring_sinks; /* with ring, smaller than capacity: so many first keys keep their rows */

    attn_array lse;    /* optional output, (B, Hq, q_len) */
    attn_array scores; /* optional output at `stage`, (B, heads, queries, kv_len): of heads
                          from scores_head on and queries from scores_query on */
    attn_stage stage;
    size_t scores_head, scores_query;
    attn_array colsum; /* optional output, (B, Hq, kv_len): sums of weights over queries
                          (each head is then a single task) */
    /* Optional outputs, (B, Hq, q_len), or (Hq, total_q) like lse: the largest score of the visible keys, as it becomes
     * a weight (limited to the largest number, if all inputs are finite), -inf where there is none, NaN if one is; and
     * the sum of exp(score - rowmax) in the order in which the output has it, so that weights are exp(score - rowmax) /
     * rowsum: +0 where there is none, NaN where rowmax is NaN or an infinite score. Sinks are not among either. For
     * clipping of scores (QK-clip) and for gradients. */
    attn_array rowmax, rowsum;
} attn_desc;

/* A layer: projections, attention, output projection. x is (S, d_model) or
 * (B, S, d_model). Weights are (d_model, columns), used as x W + b. */
typedef struct attn_layer {
    attn_array x;
    attn_array w_q;                /* (d_model, num_heads * head_dim) */
    attn_array w_k;                /* (d_model, kv_num_heads * head_dim) */
    attn_array w_v;                /* (d_model, kv_num_heads * head_dim_v) */
    attn_array w_o;                /* optional, (num_heads * head_dim_v, d_out) */
    attn_array b_q, b_k, b_v, b_o; /* optional, (columns) */
    size_t num_heads;              /* 0 means 1 */
    size_t kv_num_heads;           /* 0 means num_heads */
    attn_array out;                /* (S, d_out) or (B, S, d_out); without w_o
                                      d_out = num_heads * head_dim_v */
    attn_array weights;            /* optional output: (S, S), (B, S, S) for one head,
                                      (H, S, S) or (B, H, S, S) for several */
    attn_desc attention;           /* options: scale, causal, window, mask, ...; its arrays
                                      q, k, v, out and scores are ignored */
} attn_layer;

/* ------------------------------------------------------------- utilities -- */

/* Contiguous arrays. data is written only where the array is an output. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
#define ATTN__NOT_READ __attribute__((__access__(__none__, 2))) /* by these, so it may be uninitialised */
#else
#define ATTN__NOT_READ
#endif
ATTN_DEF attn_array attn_array_1d(attn_dtype dtype, const void *data, size_t n) ATTN__NOT_READ;
ATTN_DEF attn_array attn_array_2d(attn_dtype dtype, const void *data, size_t rows, size_t cols) ATTN__NOT_READ;
ATTN_DEF attn_array attn_array_3d(attn_dtype dtype, const void *data, size_t n0, size_t n1, size_t n2) ATTN__NOT_READ;
ATTN_DEF attn_array attn_array_4d(attn_dtype dtype, const void *data, size_t n0, size_t n1, size_t n2,
                                  size_t n3) ATTN__NOT_READ;

/* (B, H, S, D) of memory that is (B, S, H, D), as llama2.c, llm.c, FlashAttention and most projections have it. */
ATTN_DEF attn_array attn_array_bshd(attn_dtype dtype, const void *data, size_t batch, size_t seq, size_t heads,
                                    size_t dim) ATTN__NOT_READ;

/* (B, H, S, D) with these distances, in elements, between batches, heads, rows and columns. */
ATTN_DEF attn_array attn_array_strided(attn_dtype dtype, const void *data, size_t batch, size_t heads, size_t seq,
                                       size_t dim, ptrdiff_t of_batch, ptrdiff_t of_head, ptrdiff_t of_row,
                                       ptrdiff_t of_column) ATTN__NOT_READ;

/* The same array with two axes exchanged; unchanged if there are no such axes. */
ATTN_DEF attn_array attn_array_swap(attn_array a, int axis_a, int axis_b);

ATTN_DEF attn_exec attn_exec_default(void);
ATTN_DEF attn_exec attn_exec_in(void *workspace, size_t workspace_size);
ATTN_DEF attn_desc attn_desc_default(void);
ATTN_DEF attn_layer attn_layer_default(void);

/* Descriptors with the conventions of other libraries; then set q, k, v and out.
 * Ports break at the alignment of a causal mask when q_len and kv_len differ, and
 * at the polarity of boolean masks (true = keep, here and in all three). */
/* scaled_dot_product_attention: upper-left */
ATTN_DEF attn_desc attn_desc_pytorch(int is_causal);
/* Attention-23 to 25: query 0 is at position past_len, masks may have fewer columns than there are keys */
ATTN_DEF attn_desc attn_desc_onnx(int is_causal, size_t past_len);
/* flash_attn >= 2.1: lower-right, -1 unbounded */
ATTN_DEF attn_desc attn_desc_flash(int causal, int64_t window_left, int64_t window_right);

ATTN_DEF size_t attn_dtype_size(attn_dtype dtype);  /* bytes, of a block for ATTN_Q8_0 and ATTN_BIT; 0 if unknown */
ATTN_DEF size_t attn_dtype_block(attn_dtype dtype); /* elements of a block: ATTN_Q8_0 32, ATTN_BIT 8, otherwise 1 */
ATTN_DEF const char *attn_dtype_name(attn_dtype dtype);
ATTN_DEF const char *attn_status_string(attn_status status);
ATTN_DEF const char *attn_version(void);

/* ----------------------------------------------------------------- paths -- */

ATTN_DEF const char *attn_path_name(attn_path path); /* "auto", "scalar", "simd128", "neon", "avx2", "avx512" */
ATTN_DEF int attn_path_compiled(attn_path path);     /* is it in this program? */
ATTN_DEF int attn_path_supported(attn_path path);    /* ... and does this machine run it? */
ATTN_DEF int attn_path_native(attn_path path);       /* ... without emulation? */
ATTN_DEF attn_path attn_best_path(void);             /* what ATTN_PATH_AUTO chooses, except for very short rows */
ATTN_DEF const char *attn_arithmetic(void);          /* "fused" or "unfused" multiply-add */

/* Is this build sound on this machine? Runs small problems on every path (or on
 * exec.path) and compares the bits with known ones: ATTN_ERR_UNSOUND if they
 * differ. Catches what no macro shows: clang's -fassociative-math, a wrong fma, a
 * broken emulator. ATTN_ERR_FLUSH if the calling thread flushes subnormal numbers
 * to zero: see FAST MATH. Takes about a millisecond, and workspace. One of the problems
 * overflows on purpose: do not call it where floating-point exceptions trap, nor
 * in another rounding mode. */
ATTN_DEF attn_status attn_self_test(const attn_exec *exec);

/* --------------------------------------------------- level 1: the steps -- */

/* C = A B. a (..., m, k), b (..., k, n), c (..., m, n), f32 or f64, all of one
 * type, any strides; leading dimensions agree or are 1. Each element is a chain
 * of multiply-adds over k in index order, starting from +0:
 * |error| <= k u sum |a b|, u = 2^-24 (f64: 2^-53). c must not overlap a or b. */
ATTN_DEF attn_status attn_matmul(const attn_array *a, const attn_array *b, const attn_array *c, const attn_exec *exec);

/* q = x w_q, k = x w_k, v = x w_v. x (..., S, d_model); w_q, w_k (d_model, d_k);
 * w_v (d_model, d_v); q, k (..., S, d_k); v (..., S, d_v). */
ATTN_DEF attn_status attn_compute_qkv(const attn_array *x, const attn_array *w_q, const attn_array *w_k,
                                      const attn_array *w_v, const attn_array *q, const attn_array *k,
                                      const attn_array *v, const attn_exec *exec);

/* s = scale * q k^T. q (..., q_len, d), k (..., kv_len, d), s (..., q_len, kv_len);
 * scale 0 means 1 / sqrt(d). The scale multiplies q first (one rounding). These are
 * the raw scores that attn_desc.scores can ask for, to the bit. */
ATTN_DEF attn_status attn_scores(const attn_array *q, const attn_array *k, double scale, const attn_array *s,
                                 const attn_exec *exec);

/* y = softmax of x along `axis` (negative counts from the end; -1 is the last).
 * x and y have the same shape, f32 or f64; y may be x itself (same pointer and
 * strides). exp(x - max) / sum, in blocks of 512, exp with an error of at most 1 ulp
 * (unfused 1.25): weights of the fused forms differ from it in their last bits, as
 * their scores are rounded in other units. -inf gets weight +0; a row of nothing else
 * gives +0; NaN or +inf makes its whole row NaN. */
ATTN_DEF attn_status attn_softmax(const attn_array *x, int axis, const attn_array *y, const attn_exec *exec);

/* o = w v. w (..., q_len, kv_len), v (..., kv_len, d_v), o (..., q_len, d_v). */
ATTN_DEF attn_status attn_weighted_sum(const attn_array *w, const attn_array *v, const attn_array *o,
                                       const attn_exec *exec);

/* ------------------------------------------------- level 2: attention -- */

/* softmax(q k^T / sqrt(head_dim)) v by plain pointers: q and out (batch, q_num_heads, q_len, head_dim), k and v
 * (batch, kv_num_heads, kv_len, head_dim), contiguous. If causal is not 0, a query sees the keys up to its own place,
 * and the last query all keys, as when decoding (ATTN_ALIGN_LOWER_RIGHT). On this thread, in memory of its own. Any
 * other layout and option: attn_forward. */
ATTN_DEF attn_status attn_sdpa_f32(const float *q, const float *k, const float *v, float *out, size_t batch,
                                   size_t q_num_heads, size_t kv_num_heads, size_t q_len, size_t kv_len,
                                   size_t head_dim, int causal);
ATTN_DEF attn_status attn_sdpa_f64(const double *q, const double *k, const double *v, double *out, size_t batch,
                                   size_t q_num_heads, size_t kv_num_heads, size_t q_len, size_t kv_len,
                                   size_t head_dim, int causal);

/* out = softmax(q k^T / sqrt(d)) v; weights (q_len, kv_len per head) or NULL.
 * q, k, v, out as in attn_desc. */
ATTN_DEF attn_status attn_self_attention(const attn_array *q, const attn_array *k, const attn_array *v,
                                         const attn_array *out, const attn_array *weights, const attn_exec *exec);

/* ----------------------------------------------------- level 3: fused -- */

/* Tiled ("flash") attention with running maxima (Milakov & Gimelshein 2018,
 * Rabe & Staats 2021, Dao et al. 2022): memory bounded by tiles. Asking for
 * scores, weights or lse changes no bit of the output. */
ATTN_DEF attn_status attn_forward(const attn_desc *desc, const attn_exec *exec);

/* Workspace for attn_forward or attn_partial of desc and of all that is like it but for smaller batch, q_len and
 * kv_len, with at most so many workers, on any path: what exec.query says is never more. Data may be NULL. */
ATTN_DEF attn_status attn_workspace_size(const attn_desc *desc, size_t num_workers, size_t *bytes);

/* States: attention over a part of the keys, to be merged with that over others
 * (other tasks, other machines). desc gives the part: k, v and mask hold keys
 * from kv_begin on (so ATTN_ALIGN_LOWER_RIGHT needs kv_lens, the lengths of the
 * whole, where positions count: causal, window, alibi, rel_bias; and so does ATTN_MASK_TAIL);
 * its outputs and sinks are ignored. Rows of packed sequences are those of one batch
 * of total_q, of which attn_state_finish knows no more. A state is plain bytes without
 * pointers, 8-byte aligned, of a size that attn_state_size gives.
 *
 * attn_state_merge joins the states of two adjacent parts, `a` before `b`, into
 * that of both (its size: attn_state_merged_size). attn_state_finish divides, and
 * counts the sinks of its descriptor. Parts cut at multiples of 512 keys and
 * merged in any order of adjacent pairs give the very bits of attn_forward over
 * all keys; other cuts stay within the error bound. A part of no keys is the
 * identity, and so is, for its row, one whose visible scores are all -inf. A row
 * whose part overflows, or comes within 2^24 of it, is computed again in double, and
 * rounded to the compute type, so that what is merged stays finite; it is then no
 * longer bit-identical, and results below 2^24 times the least normal number lose
 * bits. Nor may a row be the same that sees a value which is not finite.
 * attn_state_redone says which heads have such rows: [*first, *end), none if both are 0. */
ATTN_DEF attn_status attn_state_size(const attn_desc *desc, size_t *bytes);
ATTN_DEF attn_status attn_partial(const attn_desc *desc, void *state, size_t state_size, const attn_exec *exec);
ATTN_DEF attn_status attn_state_merged_size(const void *a, const void *b, size_t *bytes);
ATTN_DEF attn_status attn_state_merge(const void *a, const void *b, void *merged, size_t merged_size, attn_path path);
ATTN_DEF attn_status attn_state_redone(const void *state, size_t *first, size_t *end);
/* of desc: out, lse, rowmax, rowsum, sinks */
ATTN_DEF attn_status attn_state_finish(const attn_desc *desc, const void *state, attn_path path);

/* ------------------------------------------------------- caches, rotary -- */

/* Appends rows to a key or value cache, rounding to its element type (to nearest,
 * ties to even). cache (B, H, capacity, D); rows (B, H, n, D); or fewer dimensions; batch b's rows go to
 * positions lens[b] ... lens[b] + n - 1 (lens (B), i32 or i64, or NULL for 0),
 * which must fit. With a block table (B, pages) the cache is (num_pages, H,
 * page_size, D). Neither table nor lengths are changed. No workspace. */
ATTN_DEF attn_status attn_cache_append(const attn_array *cache, const attn_array *rows, const attn_array *lens,
                                       const attn_array *block_table);

/* Are the scales of elements of 8 bits given, or found and stored? See EIGHT BITS. */
typedef enum attn_scaling { ATTN_SCALES_GIVEN = 0, ATTN_SCALES_FOUND, ATTN_SCALES_COUNT } attn_scaling;

/* attn_cache_append to a cache of 8 bits (or of any other type), with the float32 scales and zero points that attn_desc
 * has beside it, in its shapes; each may be NULL: 1 and 0. Found scales are written for the rows that are: each head
 * and row has C of its own, and there are neither zero points nor uint8 (ATTN_ERR_UNSUPPORTED). ATTN_Q8_0 has its own,
 * which are always found. ATTN_ERR_SCALE_SHAPE, ATTN_ERR_SCALE_COUNT, ATTN_ERR_UNSCALED: as in attn_desc. */
ATTN_DEF attn_status attn_cache_append_scaled(const attn_array *cache, const attn_array *scale, const attn_array *zero,
                                              attn_scaling scaling, const attn_array *rows, const attn_array *lens,
                                              const attn_array *block_table);

/* Whole arrays to 8 bits and back: x or y (B, H, S, D) or fewer dimensions, float32, float16 or bfloat16; codes of the
 * same shape; scale and zero (B, H, S, C), where dimensions of 1 broadcast, or NULL. A found scale is that of all that
 * shares it: a row, a head, a column of all rows. y is rounded to its type once more. No workspace; statuses as above.
 */
ATTN_DEF attn_status attn_quantize(const attn_array *x, const attn_array *codes, const attn_array *scale,
                                   const attn_array *zero, attn_scaling scaling);
ATTN_DEF attn_status attn_dequantize(const attn_array *codes, const attn_array *scale, const attn_array *zero,
                                     const attn_array *y);

/* Rotary position embedding (Su et al. 2021). x and y (B, H, S, D) or fewer
 * dimensions; positions (S) or (B, S), i32 or i64, or NULL for 0, 1, 2, ... The
 * first rotary_dim (even; 0: D) elements of a row are rotated in pairs, pair i by
 * position * base^(-2 i / rotary_dim) radians: (2i, 2i + 1) if interleaved, else
 * (i, i + rotary_dim / 2). The rest is copied. base 0 means 10000. Positions lie
 * between -2^31 and 2^31. Angles, sines and cosines are computed in double, with an error
 * below 2^-50 (1 + |angle|), on every machine the same, and what they give is rounded
 * once, to y. y may be x itself. */
ATTN_DEF attn_status attn_rotary(const attn_array *x, const attn_array *positions, double base, size_t rotary_dim,
                                 int interleaved, const attn_array *y);

/* The same by given cosines and sines, as models store or scale them: both float32 or float64, (S, rotary_dim / 2) or
 * (B, S, rotary_dim / 2), row i for row i of x. Of tables that repeat their columns, give the first half. Computed in
 * double and rounded once. Tables of any numbers are taken as they are. */
ATTN_DEF attn_status attn_rotary_tables(const attn_array *x, const attn_array *cosine, const attn_array *sine,
                                        int interleaved, const attn_array *y);

/* Rotary embedding as models have it. Zero-initialised it is attn_rotary(x, positions, 0, 0, 0, y). The angle of pair i
 * at position p is p * f, f = base^(-2 i / rotary_dim), then f /= factors[i], then f *= scale, one rounding each;
 * cosine and sine are multiplied by magnitude, one rounding each. Their error is that of attn_rotary, times magnitude,
 * and of these roundings. ATTN_ERR_LENGTH: an angle is larger than 2^31. */
typedef struct attn_rotation {
    double base;        /* 0: 10000; at least 1 */
    size_t rotary_dim;  /* 0: all columns, or with tables twice theirs */
    int interleaved;    /* not 0: pairs are neighbours, else half of rotary_dim apart */
    int inverse;        /* not 0: back, by minus the angle */
    double scale;       /* of positions (linear interpolation); 0: 1; at least 0 */
    double magnitude;   /* of what is rotated (YaRN); 0: 1; at least 0 */
    attn_array factors; /* optional, (rotary_dim / 2), float32 or float64, above 0: Llama 3.1, YaRN, LongRoPE; see
                           attn_rotary_llama3, attn_rotary_yarn */
    size_t sections[4]; /* if any is not 0: how many pairs go by the first, the second, ... of several positions of a
                           row (M-RoPE); together rotary_dim / 2. positions are then (R, S) or (B, R, S), R being 4, or
                           the number of sections up to the last that is not 0 */
    attn_array cosine, sine; /* optional, together, instead of base, scale, factors, sections and positions, as those of
                                attn_rotary_tables */
} attn_rotation;
ATTN_DEF attn_rotation attn_rotation_default(void);

/* positions as in attn_rotary, but for sections. */
ATTN_DEF attn_status attn_rotate(const attn_rotation *rotation, const attn_array *x, const attn_array *positions,
                                 const attn_array *y);

/* attn_cache_append of rows that are rotated on their way: one pass, one rounding, to the cache's type. positions NULL:
 * those that they have in the cache. */
ATTN_DEF attn_status attn_cache_append_rotated(const attn_array *cache, const attn_rotation *rotation,
                                               const attn_array *rows, const attn_array *positions,
                                               const attn_array *lens, const attn_array *block_table);

/* A cache of keys, or of values, with all that these functions do in one: zero-initialised, with `data` set, it is that
 * of attn_cache_append. What is rotated and has 8 bits is rounded to float32 between both, in rows of up to 2048
 * elements (else ATTN_ERR_UNSUPPORTED). */
typedef struct attn_cache {
    attn_array data;
    attn_array scale, zero; /* optional, see attn_cache_append_scaled */
    attn_scaling scaling;
    attn_array block_table; /* optional; not with ring (ATTN_ERR_UNSUPPORTED) */
    int ring;               /* as in attn_desc: rows go to any position, and take the rows of earlier ones */
    size_t ring_sinks;
} attn_cache;
ATTN_DEF attn_cache attn_cache_default(void);

/* Appends rows at positions lens[b] ...; rotation NULL: as they are. */
ATTN_DEF attn_status attn_cache_write(const attn_cache *cache, const attn_array *rows, const attn_array *lens,
                                      const attn_rotation *rotation, const attn_array *positions);

/* The factors of Llama 3.1 and of YaRN (Peng et al. 2023), (rotary_dim / 2), float32 or float64, from the numbers that
 * models publish: factor, low_freq_factor, high_freq_factor and original_max_position_embeddings (Llama 3.1: 8, 1, 4,
 * 8192, and base 500000); factor, beta_fast and beta_slow (each 0: 32 and 1) and original_max_position_embeddings.
 * *magnitude (which may be NULL) becomes 0.1 log(factor) + 1. Errors below 2^-44 of themselves. */
ATTN_DEF attn_status attn_rotary_llama3(double base, double factor, double low_freq_factor, double high_freq_factor,
                                        double original_len, const attn_array *factors);
ATTN_DEF attn_status attn_rotary_yarn(double base, double factor, double beta_fast, double beta_slow,
                                      double original_len, const attn_array *factors, double *magnitude);

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
 *   kernel table           what a path offers to all the rest
 *   paths                  one vocabulary each, then a self-include
 *   dispatch               CPU detection, choice of a table
 *   arrays                 checking and walking strided views
 *   execution              paths, workspace and workers of a call; the tree of blocks
 *   matmul
 *   attention              the problem, visibility, masks, tiles, states of blocks
 *   attention, with care   rows whose fast result cannot stand, done again
 *   attention, tasks       from states to results
 *   public functions       and what each of them needs besides
 *   kernel template        at the very end: what each path instantiates
 * ======================================================================== */

#ifndef ATTN_FILE
#define ATTN_FILE "attention.h" /* this file, which it includes: if it has another name, define ATTN_FILE */
#endif
#if !defined(ATTENTION_IMPLEMENTATION) || defined(ATTN__IMPLEMENTED)
#elif !defined(_MSC_VER) && ((defined(__cplusplus) && __cplusplus < 201103L) ||                                        \
                             (!defined(__cplusplus) && (!defined(__STDC_VERSION__) || __STDC_VERSION__ < 199901L)))
#error "attention.h: the implementation is C99 or C++11: compile it with -std=c99 (-std=c++11) or later"
#define ATTN__IMPLEMENTED
#elif !ATTN__OFF(ATTENTION_IMPLEMENTATION)
#define ATTN__IMPLEMENT
#ifdef __has_include
#if !__has_include(ATTN_FILE)
#undef ATTN__IMPLEMENT
#define ATTN__IMPLEMENTED
#error "attention.h: cannot include itself: define ATTN_FILE if it was renamed, keep it a file of its own"
#endif
#endif
#endif

#ifdef ATTN__IMPLEMENT
#undef ATTN__IMPLEMENT
#define ATTN__IMPLEMENTED

/* --------------------------------------------------------- configuration -- */

/* Sums keep their order, and every operation rounds once, to its own type. Where
 * the compiler was told otherwise, gcc can be told again, for this file alone;
 * else, and where the machine cannot, there is no answer to give. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 &&                                                      \
    (defined(__FAST_MATH__) || __FINITE_MATH_ONLY__ > 0 || defined(__ASSOCIATIVE_MATH__) ||                            \
     defined(__RECIPROCAL_MATH__))
#define ATTN__MATH_WAS_FAST
#pragma GCC push_options
/* all in one, as each of these begins with -Ofast anew */
/* clang-format off */
#pragma GCC optimize("no-fast-math,no-unsafe-math-optimizations,no-associative-math,no-reciprocal-math,no-finite-math-only,signed-zeros,trapping-math")
/* clang-format on */
#endif
#if defined(ATTN__MATH_WAS_FAST) && defined(__cplusplus) /* where these macros stay what they were */
#elif defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ > 0) || defined(_M_FP_FAST)
#error "attention.h: -ffast-math (-Ofast, -ffinite-math-only) breaks NaN and bits: see FAST MATH in its manual"
#elif defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) ||                                                 \
    (!defined(__clang__) && defined(__GNUC__) && __GNUC__ < 12 && defined(__GCC_IEC_559) && __GCC_IEC_559 == 0)
#error "attention.h: -funsafe-math-optimizations or a part of it breaks bits and accuracy: see FAST MATH in its manual"
#endif
#if (defined(__FLT_EVAL_METHOD__) && (__FLT_EVAL_METHOD__ < 0 || __FLT_EVAL_METHOD__ == 2)) ||                         \
    (defined(_M_IX86_FP) && _M_IX86_FP < 2)
#error "attention.h: x87 arithmetic rounds twice: compile this file with -msse2 -mfpmath=sse (/arch:SSE2)"
#endif
#ifdef __clang__ /* which defines no macro for -funsafe-math-optimizations */
static __attribute__((__unused__)) void attn__refuse_unsafe_math(void)
{
#if __clang_major__ >= 16 && !defined(__apple_build_version__)
#pragma clang fp eval_method(source) /* an error here: attention.h cannot be compiled with that option */
#else
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wignored-pragmas"
#pragma STDC FENV_ACCESS ON /* an error here: attention.h cannot be compiled with -funsafe-math-optimizations */
#pragma clang diagnostic pop
#endif
}
#endif
/* not with -fsingle-precision-constant */
typedef char attn__double_constants_are_double[sizeof(1.0) == sizeof(double) ? 1 : -1];

#if defined(__GNUC__) /* these need no header, so the C library need not have one */
#define attn__memcpy __builtin_memcpy
#define attn__memset __builtin_memset
#define ATTN__HARDWARE_FMA_F32 __builtin_fmaf
#define ATTN__HARDWARE_FMA_F64 __builtin_fma
#else
#include <math.h>
#include <string.h>
#define attn__memcpy memcpy
#define attn__memset memset
#define ATTN__HARDWARE_FMA_F32 fmaf
#define ATTN__HARDWARE_FMA_F64 fma
#endif

#if defined(ATTN_NO_MALLOC) && ATTN__OFF(ATTN_NO_MALLOC)
#undef ATTN_NO_MALLOC
#endif
#if defined(ATTN_MALLOC) != defined(ATTN_FREE)
#error "attention.h: define both, ATTN_MALLOC(bytes) and ATTN_FREE(pointer), or none"
#elif !defined(ATTN_MALLOC) && !defined(ATTN_NO_MALLOC) && (!defined(__STDC_HOSTED__) || __STDC_HOSTED__)
#include <stdlib.h>
#define ATTN_MALLOC(n) malloc(n)
#define ATTN_FREE(p) free(p)
#endif

#if defined(ATTN_USE_SIMDE) && ATTN__OFF(ATTN_USE_SIMDE)
#undef ATTN_USE_SIMDE
#endif
#if (defined(__GNUC__) || defined(__clang__)) && !defined(__OPTIMIZE__) && !defined(ATTN_USE_SIMDE)
/* inlined, each would have its own room on the stack */
#define ATTN__INLINE static inline __attribute__((__unused__))
#define ATTN__NOINLINE __attribute__((__noinline__))
#elif defined(__GNUC__) || defined(__clang__)
#define ATTN__INLINE static inline __attribute__((__always_inline__))
#define ATTN__NOINLINE __attribute__((__noinline__))
#elif defined(_MSC_VER)
#define ATTN__INLINE static __forceinline
#define ATTN__NOINLINE __declspec(noinline)
#else
#define ATTN__INLINE static inline
#define ATTN__NOINLINE
#endif

/* Code that runs once in a call, or less often, is small. With the attribute "cold", the program's own functions that
 * call it would be cold, too. */
#if defined(__clang__) && defined(__OPTIMIZE__)
#define ATTN__COLD __attribute__((__minsize__))
#elif defined(__GNUC__) && defined(__OPTIMIZE__)
#define ATTN__COLD __attribute__((__optimize__("Os")))
#else
#define ATTN__COLD
#endif

/* clang-format off */
#ifdef __cplusplus
#define ATTN__ZEROS {}
#else
#define ATTN__ZEROS {0}
#endif
/* clang-format on */

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
#if defined(__FMA__) || defined(__FP_FAST_FMAF) || defined(__ARM_FEATURE_FMA) || defined(__s390x__) ||                 \
    defined(__powerpc64__) || ATTN__A64
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
#if defined(ATTN_FUSED) && ATTN__OFF(ATTN_FUSED)
#undef ATTN_FUSED
#endif
#if defined(ATTN_UNFUSED) && ATTN__OFF(ATTN_UNFUSED)
#undef ATTN_UNFUSED
#endif
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
/* Of each path but the scalar one: is it this machine's own, and is it compiled? */
#define ATTN__NATIVE_SCALAR 1
#define ATTN__SCALAR 1
#if defined(__wasm_simd128__) || defined(__SSE2__) || defined(__VSX__)
#define ATTN__NATIVE_SIMD128 1
#else
#define ATTN__NATIVE_SIMD128 0
#endif
/* fused, these vectors have no multiply-add; those of ARMv7 flush subnormals */
#if (!defined(ATTN_NO_SIMD128) || ATTN__OFF(ATTN_NO_SIMD128)) && !ATTN__FUSED && defined(__GNUC__) &&                  \
    (ATTN__NATIVE_SIMD128 || (ATTN__SIMDE && !defined(__arm__)))
#define ATTN__SIMD128 1
#else
#define ATTN__SIMD128 0
#endif
#define ATTN__NATIVE_NEON ATTN__A64
#if (!defined(ATTN_NO_NEON) || ATTN__OFF(ATTN_NO_NEON)) && (ATTN__NATIVE_NEON || ATTN__SIMDE)
#define ATTN__NEON 1
#else
#define ATTN__NEON 0
#endif
#define ATTN__NATIVE_AVX2 ATTN__X86
#if (!defined(ATTN_NO_AVX2) || ATTN__OFF(ATTN_NO_AVX2)) && (ATTN__NATIVE_AVX2 || ATTN__SIMDE)
#define ATTN__AVX2 1
#else
#define ATTN__AVX2 0
#endif
#define ATTN__NATIVE_AVX512 ATTN__X86
#if (!defined(ATTN_NO_AVX512) || ATTN__OFF(ATTN_NO_AVX512)) && (ATTN__NATIVE_AVX512 || ATTN__SIMDE)
#define ATTN__AVX512 1
#else
#define ATTN__AVX512 0
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
/* which hides from cl what /arch: does not allow */
#if defined(_MSC_VER) && defined(__clang__) && __clang_major__ < 16
#include <f16cintrin.h>
#include <fmaintrin.h>
#include <avx2intrin.h>
#include <avx512fintrin.h>
#include <avx512vlintrin.h>
#include <avx512bwintrin.h>
#include <avx512dqintrin.h>
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
#ifdef ATTN__MATH_WAS_FAST
/* clang-format off */
#pragma GCC optimize("fp-contract=off,no-fast-math,no-unsafe-math-optimizations,no-associative-math,no-reciprocal-math,no-finite-math-only,signed-zeros,trapping-math")
/* clang-format on */
#else
#pragma GCC optimize("fp-contract=off")
#endif
#endif
#endif
/* has no fma here: ours is of plain operations, and fused, too, must stay so */
#if defined(_MSC_VER) && !defined(__clang__)
#pragma fp_contract(off)
#endif

/* The line at p + n elements, wherever that is, into the second cache, or into the first. */
#if defined(__GNUC__) || defined(__clang__)
#define ATTN__PREFETCH(p, n) __builtin_prefetch((const void *)((uintptr_t)(p) + (uintptr_t)(n) * sizeof *(p)), 0, 2)
#define ATTN__PREFETCH_NEAR(p, n)                                                                                      \
    __builtin_prefetch((const void *)((uintptr_t)(p) + (uintptr_t)(n) * sizeof *(p)), 0, 3)
#else
#define ATTN__PREFETCH(p, n) ((void)(p), (void)(n))
#define ATTN__PREFETCH_NEAR(p, n) ((void)(p), (void)(n))
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

/* x<i> = x<i> op x<i + w> for w = n / 2 ... 1, until x0 has all */
#define ATTN__FOLD_1(op, x)
#define ATTN__FOLD_2(op, x) x##0 = op(x##0, x##1);
#define ATTN__FOLD_4(op, x)                                                                                            \
    x##0 = op(x##0, x##2), x##1 = op(x##1, x##3);                                                                      \
    ATTN__FOLD_2(op, x)
#define ATTN__FOLD_8(op, x)                                                                                            \
    x##0 = op(x##0, x##4), x##1 = op(x##1, x##5), x##2 = op(x##2, x##6), x##3 = op(x##3, x##7);                        \
    ATTN__FOLD_4(op, x)
#define ATTN__FOLD_16(op, x)                                                                                           \
    x##0 = op(x##0, x##8), x##1 = op(x##1, x##9), x##2 = op(x##2, x##10), x##3 = op(x##3, x##11);                      \
    x##4 = op(x##4, x##12), x##5 = op(x##5, x##13), x##6 = op(x##6, x##14), x##7 = op(x##7, x##15);                    \
    ATTN__FOLD_8(op, x)

/* --------------------------------------------------------------- numbers -- */

/* Keys are cut into blocks at absolute positions, and nothing else ever cuts
 * them: sums over keys must not depend on who computes what. */
#define ATTN__BLOCK 512
#define ATTN__ROWS 512         /* query rows that share one copy of a block of keys, or fewer, for several workers */
#define ATTN__GEMM_ROWS 256    /* rows of a matrix product that share a packing of the other factor */
#define ATTN__STORED_BLOCKS 64 /* of weights that are stored as they come, for whose maxima there is room */
#define ATTN__MASK_BLOCKS 16   /* blocks of a mask that are looked at together */
#define ATTN__FEW_ROWS 8       /* for which lanes are keys, and matrices are used where they lie */
#define ATTN__DIRECT_ROWS 16   /* rows of a matrix that few rows are multiplied by at a time, where they lie */
#define ATTN__L1_ELEMENTS 8192
#define ATTN__CACHE_BYTES 2097152.0       /* of a cache that a core has for itself, or more */
#define ATTN__LAST_CACHE_BYTES 16777216.0 /* of one that all cores share */
#define ATTN__COLUMNS 128                 /* lines of a softmax that are done together ... */
#define ATTN__COLUMN_SLOTS 13             /* ... up to 4096 blocks of them */
#define ATTN__COLUMN_MAXIMA 8  /* ... whose first blocks' maxima are kept for the second pass, if there is room */
#define ATTN__LINE_BYTES 32768 /* of a line of a softmax that wait for its sum in a copy */
#define ATTN__AHEAD 4096 /* bytes between what is read and what is fetched in a softmax, half for what is written */
#define ATTN__TURNED_ELEMENTS 2048 /* of rotated rows that wait to be quantised */
#define ATTN__ALIAS_TRIES 1000     /* to find a byte that two arrays have in common: 10 microseconds */
/* Distance between rows of a tile, in elements: a constant, so that rows are
 * immediate offsets, and not a multiple of 4 KiB, so that they spread over the
 * sets of the cache. */
#define ATTN__TILE_STRIDE 528
#define ATTN__KEY_DEPTH 128 /* of head_dim, in one copy of a block of keys ... */
#define ATTN__KEY_STRIDE 144
/* Virtual lanes of a sum of the softmax of an array: 64 bytes' worth on every path. */
#define ATTN__LANES_F32 16
#define ATTN__LANES_F64 8
#define ATTN__CARE_ROWS 32 /* most in a window of those that are done again */
#define ATTN__CHAIN 16     /* keys whose weights are added one after the other */
#define ATTN__CHAINS (ATTN__BLOCK / ATTN__CHAIN)
#define ATTN__NR_MAX 32         /* columns of the widest panel */
#define ATTN__ROWS_AHEAD 32     /* between the row of values that is used and the one that is fetched */
#define ATTN__PARTS 64          /* most of keys of heads that lie side by side */
#define ATTN__NEAR_KEYS 84      /* that are copied at a time, ... */
#define ATTN__NEAR_VALUES 65536 /* ... elements of values that are used at a time, ... */
#define ATTN__NEAR_BYTES 524288 /* ... and of blocks that are fetched whole */

/* A masked score while it waits for exp. It is finite so that the search for
 * overflow need not tell it apart; a row whose maximum comes near it is redone. */
#define ATTN__MASKED_F32 (-3.402823466e+38f)
#define ATTN__MASKED_F64 (-1.7976931348623157e+308)
#define ATTN__LOWEST_SAFE_F32 (-1.0e+38f)
#define ATTN__LOWEST_SAFE_F64 (-1.0e+307)

/* The bits of a number as one of another type. */
#define ATTN__REINTERPRET(name, from, to)                                                                              \
    ATTN__INLINE to name(from x)                                                                                       \
    {                                                                                                                  \
        to y;                                                                                                          \
        attn__memcpy(&y, &x, sizeof y);                                                                                \
        return y;                                                                                                      \
    }
ATTN__REINTERPRET(attn__bits_f32, float, uint32_t)
ATTN__REINTERPRET(attn__bits_f64, double, uint64_t)
ATTN__REINTERPRET(attn__from_bits_f32, uint32_t, float)
ATTN__REINTERPRET(attn__from_bits_f64, uint64_t, double)

/* Integers decide what is finite: compilers may assume things about floats. */
ATTN__INLINE int attn__nan_f32(float x) { return (attn__bits_f32(x) & 0x7fffffffu) > 0x7f800000u; }
ATTN__INLINE int attn__finite_f32(float x) { return (attn__bits_f32(x) & 0x7f800000u) != 0x7f800000u; }
ATTN__INLINE int attn__finite_f64(double x) { return (attn__bits_f64(x) >> 52 & 0x7ffu) != 0x7ffu; }

ATTN__INLINE double attn__infinity(void) { return attn__from_bits_f64(0x7ff0000000000000u); }

ATTN__INLINE int attn__exponent_of(double x) { return (int)(attn__bits_f64(x) >> 52 & 0x7ff); }
ATTN__INLINE double attn__with_exponent(double x, int e)
{
    return attn__from_bits_f64((attn__bits_f64(x) & UINT64_C(0x800fffffffffffff)) | (uint64_t)e << 52);
}
ATTN__INLINE int attn__is_zero(double x) { return attn__bits_f64(x) << 1 == 0; }
/* 2^e, a normal number */
ATTN__INLINE double attn__power2(int e) { return attn__from_bits_f64((uint64_t)(1023 + e) << 52); }
/* x = 2^e m, 0.5 <= |m| < 1, for finite x; e = 0 for x = 0. */
ATTN__INLINE double attn__split(double x, int *e)
{
    *e = 0;
    if (attn__is_zero(x)) return x;
    *e = attn__exponent_of(x) - 1022;
    if (*e == -1022) { /* subnormal: in integers, as operands that are take long */
        const double m = (double)(int64_t)(attn__bits_f64(x) << 1 >> 1);
        *e = attn__exponent_of(m) - 1022 - 1074;
        x = attn__bits_f64(x) >> 63 ? -m : m;
    }
    return attn__with_exponent(x, 1022);
}

/* a * b + c with one rounding. Faster than a library call, and right where the library's is not. */
#if ATTN__FMA_F32
ATTN__INLINE float attn__fma_f32(float a, float b, float c) { return ATTN__HARDWARE_FMA_F32(a, b, c); }
#else
/* The product of two floats is exact in double; the sum, rounded to odd, rounds
 * correctly a second time (Boldo & Melquiond 2008). */
ATTN__NOINLINE static float attn__fma_f32_any(float a, float b, float c)
{
    const double p = (double)a * (double)b, q = (double)c, t = p + q;
    const double v = t - p, e = (p - (t - v)) + (q - v); /* t + e = p + q exactly */
    uint64_t u = attn__bits_f64(t);
    if ((u & 1) == 0 && attn__finite_f64(t) && (e < 0 || e > 0)) u = (e > 0) == (t > 0) ? u + 1 : u - 1;
    return (float)attn__from_bits_f64(u);
}
/* Of numbers that are normal as floats, rounding twice errs only half way between two of them. */
ATTN__INLINE float attn__fma_f32(float a, float b, float c)
{
    const double s = (double)a * (double)b + (double)c;
    const uint64_t u = attn__bits_f64(s);
    if ((u & 0x1fffffffu) != 0x10000000u && (u >> 52 & 0x7ff) > 1023 - 127) return (float)s;
    return attn__fma_f32_any(a, b, c);
}
#endif
#if ATTN__FMA_F64
ATTN__INLINE double attn__fma_f64(double a, double b, double c) { return ATTN__HARDWARE_FMA_F64(a, b, c); }
#else
/* a b = p + e (Dekker 1971) */
ATTN__INLINE double attn__two_product(double a, double b, double *e)
{
    const double split = 134217729.0, ta = split * a, tb = split * b; /* 2^27 + 1 */
    const double ah = ta - (ta - a), al = a - ah, bh = tb - (tb - b), bl = b - bh, p = a * b;
    *e = ((ah * bh - p) + ah * bl + al * bh) + al * bl; /* these products are exact */
    return p;
}
/* a + b = s + e (Knuth) */
ATTN__INLINE double attn__two_sum(double a, double b, double *e)
{
    const double s = a + b, t = s - a;
    *e = (a - (s - t)) + (b - t);
    return s;
}
/* a + b, of the two numbers beside it the one whose last bit is 1, unless it is exact: then its sum with a number that
 * is much larger is rounded as that of a + b (Boldo & Melquiond 2008). */
static double attn__odd_sum(double a, double b)
{
    double e;
    const double s = attn__two_sum(a, b, &e);
    const uint64_t u = attn__bits_f64(s);
    return (u & 1) || !(e < 0 || e > 0) ? s : attn__from_bits_f64((e > 0) == (s > 0) ? u + 1 : u - 1);
}

/* *x = p + e + c, where p + e is a product. In two parts, v + r, that sum has an error of 2^-53 of r, so where more of
 * r and less give the same number, it is right: then 1 is returned (Ziv 1991). */
ATTN__INLINE int attn__sum_is_sure(double p, double e, double c, double *x)
{
    double r, v = attn__two_sum(p, c, &r), less;
    r += e;
    *x = v + (r + r * 4.4408920985006262e-16); /* 2^-51 */
    less = v + (r - r * 4.4408920985006262e-16);
    return *x <= less && *x >= less;
}

/* For numbers of any kind. Of finite ones exponents are set aside, and put back where the result is a normal number;
 * else it is rounded with `end`, of whose size numbers are multiples of the least one, 2^el here. */
ATTN__NOINLINE static double attn__fma_f64_any(double a, double b, double c)
{
    const int special = 0x7ff, remote = 200;
    double p, rest, low, lower, x, end = 0, sign;
    int ea = attn__exponent_of(a), eb = attn__exponent_of(b), ec = attn__exponent_of(c), e, el, tiny;
    if (ec == special && ea != special && eb != special) return c + c; /* even where the product overflows */
    if (ea == special || eb == special || attn__is_zero(a) || attn__is_zero(b)) return a * b + c;
    a = attn__split(a, &ea);
    b = attn__split(b, &eb);
    e = ea + eb; /* of the product */
    el = e < -1074 - remote ? remote : -1074 - e;
    tiny = e < -1023 && attn__bits_f64(c) << 1 >> 51 == 0; /* both less than 2^50 of the least number */
    if (tiny) {
        x = (double)(int64_t)(attn__bits_f64(c) << 1 >> 1) * attn__power2(el);
        c = attn__bits_f64(c) >> 63 ? -x : x;
        end = attn__power2(el + 52) * 1.5;
    } else if (!attn__is_zero(c)) {
        x = attn__split(c, &ec);
        ec -= e;
        if (ec > remote) return c;
        c = attn__with_exponent(x, 1022 + (ec < -remote ? -remote : ec)); /* so small, its sign counts */
    }
    p = attn__two_product(a, b, &rest);
    sign = p + c;
    if (attn__is_zero(sign)) sign = rest;
    c += end; /* exact: c is a multiple of the least number, too */
    if (!attn__sum_is_sure(p, rest, c, &x) || (!tiny && attn__exponent_of(x) + e <= 0)) {
        c = attn__two_sum(c, rest, &lower);
        p = attn__two_sum(p, c, &low);
        low = attn__odd_sum(lower, low); /* for rounding, p + low is all of it */
        x = p + low;
        if (!tiny && !attn__is_zero(x) && attn__exponent_of(x) + e <= 0) {
            sign = x;
            end = x < 0 ? -attn__power2(el + 52) : attn__power2(el + 52);
            x = attn__two_sum(end, p, &lower);
            x += attn__odd_sum(lower, low);
            tiny = 1;
        }
    }
    if (tiny) {
        x = (x - end) * attn__power2(-el);
        return attn__from_bits_f64((attn__bits_f64(sign) >> 63 << 63) | (uint64_t)(int64_t)(x < 0 ? -x : x));
    }
    if (attn__is_zero(x)) return x;
    ec = attn__exponent_of(x) + e;
    return ec < special ? attn__with_exponent(x, ec) : x * attn__infinity();
}
/* Not inlined: it is long, and code for machines with fma may have a * b - c contracted. Where the product is neither
 * large nor small, all parts of it are exact, or if a factor's split overflows, NaN; so is a sum that does. */
ATTN__NOINLINE static double attn__fma_f64(double a, double b, double c)
{
    if ((unsigned)(attn__exponent_of(a) + attn__exponent_of(b)) - 1146 <= 1922) {
        double p, rest, x;
        if (attn__bits_f64(b) << 35 == 0) { /* a float */
            const double high = attn__from_bits_f64(attn__bits_f64(a) >> 24 << 24);
            p = high * b;
            rest = (a - high) * b;
        } else p = attn__two_product(a, b, &rest);
        if (attn__is_zero(rest)) return p + c;
        if (attn__sum_is_sure(p, rest, c, &x)) return x;
    }
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

/* 2^e x, saturating to infinity and 0 as multiplication does. */
ATTN__NOINLINE static double attn__scale2(double x, int e)
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
#define ATTN__EXP_COEFFICIENTS_F32(X)                                                                                  \
    X(8.368819021e-03f) X(4.166823626e-02f) X(1.666651964e-01f) X(4.999999404e-01f) X(1.0f)
#define ATTN__EXP_FIRST_F64 2.500392177050154e-08
/* clang-format off */
#define ATTN__EXP_COEFFICIENTS_F64(X)                                                                           \
    X(2.7630507131537777e-07) X(2.7557574526753285e-06) X(2.480149233606113e-05) X(0.00019841269519485787)    \
    X(0.0013888888944421397) X(0.008333333333488638) X(0.041666666666526804) X(0.16666666666666421)           \
    X(0.5000000000000011) X(1.0)
/* clang-format on */
#define ATTN__LOG2E_F32 1.442695022f
#define ATTN__LOG2E_F64 1.4426950408889634
#define ATTN__LN2 0.69314718055994531
#define ATTN__LN2_HI_F32 6.931457520e-01f
#define ATTN__LN2_HI_F64 0.6931471805598903
#define ATTN__LN2_LO_F32 1.428606765e-06f
#define ATTN__LN2_LO_F64 5.497923018708371e-14
/* 2^x for x <= 0, of scores in units of ln 2: x = n + f, |f| <= 1/2, and a minimax polynomial of relative error with
 * 2^0 = 1 given; the exponent is added to its bits. From MIN down it is +0, so that masked scores need no
 * comparison; less than 2^-126 (2^-1022) it may be off by as much. At most 1 ulp else, in tests/elementary.c. */
#define ATTN__EXP2_MIN_F32 (-127.0f)
#define ATTN__EXP2_MIN_F64 (-1023.0)
#define ATTN__EXP2_FIRST_F32 1.532646420e-04f
#define ATTN__EXP2_COEFFICIENTS_F32(X)                                                                                 \
    X(1.339080627e-03f) X(9.618505836e-03f) X(5.550359935e-02f) X(2.402264774e-01f) X(6.931471825e-01f) X(1.0f)
#define ATTN__EXP2_FIRST_F64 4.07963683838536e-10
/* clang-format off */
#define ATTN__EXP2_COEFFICIENTS_F64(X)                                                                          \
    X(7.072026162870802e-09) X(1.018055811734535e-07) X(1.3215445517964e-06) X(1.5252727822354072e-05)        \
    X(0.00015403530436684305) X(0.0013333558152707787) X(0.009618129107610063) X(0.0555041086647949)          \
    X(0.24022650695910092) X(0.6931471805599456) X(1.0)
/* clang-format on */
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
ATTN__NOINLINE static double attn__exp_f64(double x)
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

/* m and e for a logarithm. */
static double attn__log_split(double x, double *e)
{
    int exponent;
    const double m = attn__split(x, &exponent);
    *e = exponent - (m < 0.70710678118654752);
    return m < 0.70710678118654752 ? m * 2 : m;
}
/* log(x) for finite x > 0: x = 2^e m, sqrt(1/2) <= m < sqrt(2), s = (m-1)/(m+1),
 * log m = 2 atanh(s) = 2 s (1 + s^2/3 + s^4/5 + ...), |s| <= 0.1716: the term
 * after s^20/21 is below 2^-59. At most 2.5 ulp; 1.9951 at 1.00007625, unfused
 * 1.9634 at 1.0000018939465483 (tests/elementary.c). */
ATTN__NOINLINE static double attn__log_f64(double x)
{
    double e, m = attn__log_split(x, &e), s, z, p = 1.0 / 21;
    s = (m - 1) / (m + 1);
    z = s * s;
    for (int i = 19; i >= 3; i -= 2) p = attn__madd_f64(p, z, 1.0 / i);
    p = attn__madd_f64(p, z, 0.0); /* the series less 1 */
    s += s;
    p = attn__madd_f64(s, p, attn__madd_f64(e, ATTN__LN2_LO_F64, s));
    return attn__madd_f64(e, ATTN__LN2_HI_F64, p);
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
    int e, odd;
    const double f = attn__split(x, &e) * 9007199254740992.0; /* 2^53 */
    uint64_t m = (uint64_t)f, root = 0, rest = 0;
    odd = (e - 53) & 1;
    m = m << (10 + odd);                    /* x = m 2^(e - 63 - odd), of which the exponent is even; m < 2^64 */
    for (int i = 0; i < 54; i++, m <<= 2) { /* a bit of the root for two of m */
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

ATTN__INLINE float attn__e4m3_to_f32(uint8_t x)
{
    const int nan = (x & 0x7f) == 0x7f;
    return attn__f16_to_f32((uint16_t)((x & 0x80) << 8 | (x & 0x7f) << 7 | nan << 14)) * 256;
}

/* float32 to binary16 and bfloat16, to nearest even, in integers. NaN stays NaN. */
ATTN__INLINE uint16_t attn__f32_to_f16(float x)
{
    uint32_t u = attn__bits_f32(x), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x3ffu));
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

/* float32 to a float of 8 bits, to nearest even, at most `largest`; NaN is 0x7f. Codes ascend with their numbers, so
 * that a carry goes to the next; subnormal ones are integers, as are the bits of a sum that is too large for others. */
ATTN__INLINE uint8_t attn__f32_to_f8(float x, uint32_t fraction_bits, uint32_t bias, uint32_t largest)
{
    const uint32_t u = attn__bits_f32(x), sign = u >> 24 & 0x80u, a = u & 0x7fffffffu, shift = 23 - fraction_bits;
    const uint32_t unit = (127 + 24 - bias - fraction_bits)
                          << 23; /* where the least code is a unit in the last place */
    uint32_t code;
    if (a > 0x7f800000u) return 0x7fu; /* of which sign, machines differ where infinity is divided by infinity */
    if (a < (128 - bias) << 23) code = attn__bits_f32(attn__from_bits_f32(a) + attn__from_bits_f32(unit)) - unit;
    else code = ((a + (1u << (shift - 1)) - 1 + (a >> shift & 1)) >> shift) - ((127 - bias) << fraction_bits);
    return (uint8_t)(sign | (code < largest ? code : largest));
}
ATTN__INLINE uint8_t attn__f32_to_code(float x, attn_dtype dtype)
{
    return dtype == ATTN_F8_E4M3 ? attn__f32_to_f8(x, 3, 7, 0x7e) : attn__f32_to_f8(x, 2, 15, 0x7b);
}
/* The largest number of a type of 8 bits, but for a sign. */
ATTN__INLINE float attn__top_of(attn_dtype dtype)
{
    return dtype == ATTN_F8_E4M3 ? 448.0f : dtype == ATTN_F8_E5M2 ? 57344.0f : 127.0f;
}
/* The scale of numbers up to max: max / top, rounded to what is stored, and up where a subnormal one would be so much
 * too small that the largest is not within half a step. What is finite stays so. */
static float attn__found_scale(float max, float top, int half)
{
    float scale = max / top;
    uint16_t code = attn__f32_to_f16(scale);
    if (!attn__finite_f32(max)) return attn__from_bits_f32(0x7fc00000u);
    if (half && code > 0x7bffu) code = 0x7bffu;
    if (half) scale = attn__f16_to_f32(code);
    if (!((double)max > (double)scale * ((double)top + 0.5))) return scale; /* as float, 127.5 units would be 128 */
    return half ? attn__f16_to_f32((uint16_t)(code < 0x7bffu ? code + 1 : code))
                : attn__from_bits_f32(attn__bits_f32(scale) + 1);
}

/* A scale, or what becomes one, is at least as large as this number. As integers, NaN is the largest, and stays. */
ATTN__INLINE void attn__raise(float *scale, float x)
{
    const uint32_t magnitude = attn__bits_f32(x) & 0x7fffffffu;
    if (magnitude > attn__bits_f32(*scale)) *scale = attn__from_bits_f32(magnitude);
}
/* One for each of n columns from `first` on, of one for each group: where they lie, or in `room`. */
static const float *attn__spread(const float *from, ptrdiff_t step, size_t group, size_t first, size_t n, float *room)
{
    if (group == 1 && step == 1) return from + first;
    for (size_t i = 0, g = first / group; i < n; g++)
        for (; i < n && first + i < (g + 1) * group; i++) room[i] = from[(ptrdiff_t)g * step];
    return room;
}

/* double to float; the language leaves open what happens beyond FLT_MAX */
ATTN__INLINE float attn__to_f32(double x)
{
    const double limit = 3.4028235677973366e+38; /* rounds to infinity */
    return x >= limit ? attn__from_bits_f32(0x7f800000u) : x <= -limit ? attn__from_bits_f32(0xff800000u) : (float)x;
}

/* bytes: a constant where the type is */
ATTN__INLINE size_t attn__size_of(attn_dtype dtype)
{
#define ATTN__X(name, text, size)                                                                                      \
    if (dtype == name) return size;
    ATTN__DTYPES(ATTN__X)
#undef ATTN__X
    return 0;
}

/* Is it a type of 8 bits? What n elements of a row are in memory, and back: blocks of ATTN_Q8_0,
 * bytes of ATTN_BIT. */
#define ATTN__Q8_BLOCK 32
#define ATTN__CODE_ROWS 64
ATTN__INLINE int attn__coded(attn_dtype dtype) { return dtype >= ATTN_I8 && dtype <= ATTN_Q8_0; }
ATTN__INLINE size_t attn__stored(attn_dtype dtype, size_t n)
{
    return dtype < ATTN_Q8_0 ? n : dtype == ATTN_Q8_0 ? n / ATTN__Q8_BLOCK : n / 8 + (n % 8 != 0);
}
ATTN__INLINE size_t attn__elements(attn_dtype dtype, size_t n)
{
    return dtype < ATTN_Q8_0 ? n : dtype == ATTN_Q8_0 ? n * ATTN__Q8_BLOCK : n * 8;
}

/* One element of any float type. attn__put rounds once, to 16 bits through a float whose last bit is odd where it is
 * not exact (Boldo & Melquiond 2008), and gives NaN one form: machines differ in the sign of what they make themselves.
 */
ATTN__INLINE double attn__get(const void *at, attn_dtype dtype)
{
    switch (dtype) {
    case ATTN_F16: return (double)attn__f16_to_f32(*(const uint16_t *)at);
    case ATTN_BF16: return (double)attn__bf16_to_f32(*(const uint16_t *)at);
    case ATTN_F64: return *(const double *)at;
    default: return (double)*(const float *)at;
    }
}
ATTN__INLINE void attn__put_f32(void *at, attn_dtype dtype, float x)
{
    switch (dtype) {
    case ATTN_F16: *(uint16_t *)at = attn__f32_to_f16(x); break;
    case ATTN_BF16: *(uint16_t *)at = attn__f32_to_bf16(x); break;
    default: *(float *)at = x; break;
    }
}
ATTN__INLINE float attn__to_odd_f32(double x)
{
    const uint64_t u = attn__bits_f64(x), lost = (UINT64_C(1) << 29) - 1;
    float f;
    double rest;
    if ((u >> 52 & 0x7ff) - 900 < 250) /* far from subnormal numbers and infinity */
        return (float)attn__from_bits_f64((u & ~lost) | (uint64_t)((u & lost) != 0) << 29);
    f = attn__to_f32(x);
    rest = x - (double)f;
    if (!attn__finite_f32(f) || (attn__bits_f32(f) & 1) || !(rest < 0 || rest > 0)) return f;
    return attn__from_bits_f32((rest > 0) == (x > 0) ? attn__bits_f32(f) + 1 : attn__bits_f32(f) - 1);
}
static void attn__put(void *at, attn_dtype dtype, double x)
{
    if (attn__nan_f64(x)) x = attn__from_bits_f64(0x7ff8000000000000u);
    if (dtype == ATTN_F64) *(double *)at = x;
    else attn__put_f32(at, dtype, dtype == ATTN_F32 ? attn__to_f32(x) : attn__to_odd_f32(x));
}

/* n elements of any float type to float or double and back, by index order. */
static void attn__load_f32(float *to, const void *from, attn_dtype dtype, ptrdiff_t stride, size_t n)
{
    if (dtype == ATTN_F32 && stride == 1) {
        attn__memcpy(to, from, n * sizeof *to);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const ptrdiff_t at = (ptrdiff_t)i * stride;
        switch (dtype) {
        case ATTN_F16: to[i] = attn__f16_to_f32(((const uint16_t *)from)[at]); break;
        case ATTN_BF16: to[i] = attn__bf16_to_f32(((const uint16_t *)from)[at]); break;
        default: to[i] = ((const float *)from)[at]; break;
        }
    }
}
static void attn__load_f64(double *to, const void *from, attn_dtype dtype, ptrdiff_t stride, size_t n)
{
    const ptrdiff_t step = stride * (ptrdiff_t)attn__size_of(dtype);
    const char *at = (const char *)from;
    if (dtype == ATTN_F64 && stride == 1) attn__memcpy(to, from, n * sizeof *to);
    else
        for (size_t i = 0; i < n; i++, at += step) to[i] = attn__get(at, dtype);
}
static void attn__store_f32(void *to, attn_dtype dtype, ptrdiff_t stride, const float *from, size_t n)
{
    const ptrdiff_t step = stride * (ptrdiff_t)attn__size_of(dtype);
    char *at = (char *)to;
    if (dtype == ATTN_F32 && stride == 1) attn__memcpy(to, from, n * sizeof *from);
    else
        for (size_t i = 0; i < n; i++, at += step) attn__put_f32(at, dtype, from[i]);
}
static void attn__store_f64(void *to, attn_dtype dtype, ptrdiff_t stride, const double *from, size_t n)
{
    const ptrdiff_t step = stride * (ptrdiff_t)attn__size_of(dtype);
    char *at = (char *)to;
    for (size_t i = 0; i < n; i++, at += step)
        if (dtype == ATTN_F64) *(double *)(void *)at = from[i];
        else attn__put(at, dtype, from[i]);
}

static double attn__saturate(double x, attn_dtype dtype)
{
    const double limit = dtype == ATTN_F64 ? 1.7976931348623157e+308 : 3.4028234663852886e+38;
    return x > limit ? limit : x < -limit ? -limit : x;
}

ATTN__INLINE size_t attn__min(size_t a, size_t b) { return a < b ? a : b; }
ATTN__INLINE size_t attn__max(size_t a, size_t b) { return a > b ? a : b; }
ATTN__INLINE size_t attn__round_up(size_t n, size_t to) { return (n + to - 1) & ~(to - 1); } /* a power of two */

/* ---------------------------------------------------------- kernel table -- */

/* Heights of tiles: each takes as much code as its rows do, and two lower ones are as fast. */
#define ATTN__IS_HEIGHT(rows) ((rows) <= 8 || (rows) % 2 == 0)
/* How many of n rows the next tile takes: tiles are balanced, as one of few rows is slow. */
ATTN__INLINE size_t attn__tile_rows(size_t n, const size_t mr)
{
    const size_t tiles = (n + mr - 1) / mr, rows = tiles > 1 ? (n + tiles - 1) / tiles : n;
    return ATTN__IS_HEIGHT(rows) ? rows : tiles > 1 ? rows + 1 : rows / 2 + 1;
}

/* Keys [lo, hi). */
typedef struct attn__range {
    size_t lo, hi;
} attn__range;

/* What a mask does to the keys from the first to the last that it leaves a row. */
#define ATTN__MASK_DROPS_ALL 0
#define ATTN__MASK_MIXED 1
#define ATTN__MASK_KEEPS_ALL 2 /* and adds nothing */

/* What a row sees of a block: keys [lo, hi) of it, and how its mask is there. */
typedef struct attn__block_range {
    unsigned short lo, hi, mask_state;
} attn__block_range;

/* Where columns come from, in whose lines a product works, and so what it fetches meanwhile. */
typedef enum attn__column_kind {
    ATTN__COLUMNS_NEAR, /* a cache: nothing */
    ATTN__COLUMNS_LONG, /* memory: what follows in each */
    ATTN__COLUMNS_MANY, /* memory: columns to come, in four streams */
    ATTN__COLUMNS_FAR   /* the same, and again shortly before they are due: some were lost, or crowded out */
} attn__column_kind;

/* A panel of columns, each contiguous: those of either vector, and what is fetched meanwhile, a quarter of a panel from
 * each place on. */
typedef struct attn__columns {
    const char *at[2];
    uintptr_t after[4];
    ptrdiff_t stride; /* in elements */
    attn_dtype dtype;
    attn__column_kind kind;
} attn__columns;

/* Sizes and distances (in elements) of a small problem, and places in the workspace. */
typedef struct attn__small {
    size_t q_len, kv_len, dim, dim_v;
    size_t visible; /* keys that the first query sees; each other one sees one more */
    ptrdiff_t q_step, k_step, v_step, out_step, weights_step;
    int fetches;  /* are keys so near that the next ones do not crowd out those in use? */
    int alone;    /* one query of each head is done by the kernel of that name, ... */
    int together; /* ... or those of a group are as the queries of one head */
    int weighs;   /* weights are wanted */
    size_t heads; /* of `alone`, which are so far apart: */
    ptrdiff_t q_head, k_head, v_head, out_head, weights_head;
    double scale, unit;  /* of queries, one after the other; unit is 1 where one factor is enough */
    void *queries;       /* (mr or fewer, TILE_STRIDE) */
    void *keys;          /* packed */
    void *values;        /* packed, if rows of v are not whole vectors */
    void *tile;          /* (mr, TILE_STRIDE) */
    void *acc;           /* (mr or fewer, dim_v up to whole vectors) */
    unsigned char *redo; /* (q_len, or heads), zeros that become what is wrong with a row */
} attn__small;
#define ATTN__BAD_SCORES 1 /* one is not safely finite */
#define ATTN__BAD_OUTPUT 2 /* or the result is not finite */

/* Rows that will be wanted soon. Tiles fetch no more than a line of 64 bytes at each step, so that there are never more
 * on the way than the machine keeps track of: along rows that are adjacent, or down a line of each row. */
typedef struct attn__soon {
    const char *at;          /* the next line */
    ptrdiff_t hop;           /* bytes to the one of the next step */
    size_t left, steps;      /* in this run; in each */
    size_t runs;             /* with this one; 0: there is nothing to fetch */
    struct attn__soon *then; /* what comes after the last, or NULL */
} attn__soon;
/* A tile fetches for so many steps: where the next one begins. Beyond the end of a run it is what lies there. */
static void attn__fetched(attn__soon *soon, size_t steps)
{
    soon->at += (ptrdiff_t)steps * soon->hop;
    soon->left -= steps < soon->left ? steps : soon->left;
    if (soon->left > 0) return;
    soon->at += 64 - (ptrdiff_t)soon->steps * soon->hop, soon->left = soon->steps;
    if (--soon->runs == 0 && soon->then) *soon = *soon->then;
}

/* Softmax of contiguous lines: what one loop does to three blocks, of at most BLOCK elements each (0: to none of them),
 * so that their work overlaps. */
typedef struct attn__beat {
    const void *next; /* the largest of these, or the lowest number ... */
    size_t next_n;
    double next_max;
    const void *from; /* ... exp(from - max) and the sum in virtual lanes; NaN if one of them is NaN or +inf ... */
    void *to;
    size_t n;
    double max, sum;
    int look;   /* max is not known: the largest of `from` (or the lowest number) is looked for first */
    void *done; /* ... and products with factor */
    size_t done_n;
    double factor;
} attn__beat;

/* Rows of elements of 8 bits as they lie; distances of them in bytes, of scales and zero points in elements. `group`
 * columns share one of these. */
typedef struct attn__codes {
    const uint8_t *at;
    attn_dtype dtype;
    ptrdiff_t row, step;
    const float *scale, *zero; /* of the first row and column; NULL: 1 and 0 */
    ptrdiff_t scale_row, scale_step, zero_row, zero_step;
    size_t group;
    uintptr_t ahead; /* what is fetched is so many bytes from what is read */
} attn__codes;

/* Where vectors of a row of such elements are, with their scales, and zero points if there are any. */
typedef struct attn__code_places {
    const uint8_t *at[4];
    const float *scale[4], *zero[4];
} attn__code_places;

/* What a row sees: among its scores, or the values of a column. */
#define ATTN__SEES_NAN 1
#define ATTN__SEES_INF 2
#define ATTN__SEES_LOW 4 /* -inf */

/* Scores of float64 that may be beyond the range are there as they are and as multiples of 2^exponent = third^2 * rest,
 * see attn__scaled. A row's largest multiple counts, if it lies beyond `limit`. */
typedef struct attn__beyond {
    double third, rest, limit, top;
    int only; /* what is beyond has a weight */
} attn__beyond;

/* What a path offers to the driver, for one compute type T (float or double).
 * A tile has at most `mr` rows, ATTN__TILE_STRIDE elements apart; a panel has `nr`
 * columns. Element counts everywhere. */
typedef struct attn__kernel {
    size_t size; /* of T */
    size_t mr, nr, lanes;
    size_t step; /* ranges of keys are rounded to this: nr, lanes and CHAIN divide it */
    attn_dtype dtype;

    /* Keys in lanes. For rows a[m][depth], best for no more than few_rows (0: not at all), and keys that
     * are used where they lie, each contiguous: c[i][j] (+)= sum_k a[i][k] keys[j * stride + k], the same chain as
     * multiply's. c has room up to a multiple of nr. */
    size_t few_rows;
    void (*dot_keys)(size_t m, size_t n, size_t depth, const void *a, const void *keys, attn_dtype dtype,
                     ptrdiff_t stride, attn__column_kind kind, void *c, int accumulate);
    /* The same for one panel, whose halves may be apart, as pages are. */
    void (*dot_panel)(size_t m, size_t depth, const void *a, const attn__columns *keys, void *c, int accumulate);
    /* The same for values: c[i][j] (+)= sum_k a[i][k] values[k * stride + j], n a multiple of nr. What is
     * `ahead` bytes further is fetched, wherever that is. */
    void (*add_values)(size_t m, size_t n, size_t depth, const void *a, const void *values, attn_dtype dtype,
                       size_t stride, uintptr_t ahead, void *c, size_t ldc, int accumulate);

    /* panels[column / nr][depth][nr] = src[column * column_stride + k * depth_stride],
     * converted to T, columns beyond `cols` up to a multiple of nr / 2 are 0 */
    void (*pack)(void *panels, const void *src, attn_dtype dtype, size_t cols, size_t depth, ptrdiff_t column_stride,
                 ptrdiff_t depth_stride);

    /* c[i][j] (+)= sum_k a[i][k] b[k][j], k in order, one multiply-add each;
     * b[k][j] = b[j / nr * panel_stride + k * ldb + j % nr]; n counts in vectors:
     * up to the next multiple of nr / 2, c is written */
    void (*multiply)(size_t m, size_t n, size_t depth, const void *a, const void *b, size_t ldb, size_t panel_stride,
                     void *c, size_t ldc, int accumulate);

    /* c = a b where they lie, for a b that the nearest cache holds: contiguous rows at these distances,
     * depth at most a block. `rows` and `tile` are room for (mr, TILE_STRIDE), `panel` for (depth, nr) */
    void (*product)(size_t m, size_t n, size_t depth, const void *a, ptrdiff_t a_step, const void *b, size_t b_step,
                    void *c, size_t c_step, void *rows, void *tile, void *panel);

    void (*softmax)(attn__beat *beat);

    /* row[lo..hi) are scores in units of ln 2; they become 2^(score - max), and the rest of
     * row[first..last) becomes 0. Positions are within a block; first and last are multiples of step. Gives max and
     * sum; -inf and 0 if lo >= hi. Returns 1, with the row undefined, if a score or the maximum is not safely finite.
     * Sums are chains of CHAIN keys, of which those a half block apart are added, then those 8, 4, 2, 1 apart. */
    int (*weigh_row)(void *row, size_t first, size_t lo, size_t hi, size_t last, double *max, double *sum);

    /* The same for up to ATTN__COLUMNS lines side by side, each down a column of n rows, at
     * most a block; their number is a multiple of the vector length. max or sum may be NULL;
     * exp(from[j] - max) is kept in `to` if that is not. `lanes` is room for 128 bytes a line. */
    void (*softmax_columns)(void *to, ptrdiff_t to_stride, const void *from, ptrdiff_t stride, size_t n, size_t cols,
                            double *max, double *sum, void *lanes);
    /* to[j] = exp(from[j] - max) * factor; without max, from[j] * factor. NaN has one form. */
    void (*scale_columns)(void *to, ptrdiff_t to_stride, const void *from, ptrdiff_t stride, size_t n, size_t cols,
                          const double *max, const double *factor);

    /* Queries in lanes. A panel is up to nr queries side by side; a tile of scores has a row of nr for
     * each key. `cols` is how many queries there are.
     *
     * to[c * to_stride + r] = from[r * from_stride + c], 0 for r from `rows` to the next multiple of nr / 2 */
    void (*turn)(void *to, size_t to_stride, const void *from, ptrdiff_t from_stride, size_t rows, size_t cols);
    /* Rows of n elements, `to_stride` apart, as T. Returns the sum of their squares, which is not finite
     * where an element is not, or is too large for what is to come. */
    double (*copy)(void *to, size_t to_stride, const void *from, attn_dtype dtype, ptrdiff_t stride,
                   ptrdiff_t row_stride, size_t rows, size_t n);
    /* scores[j][c] (+)= sum_k keys[j * KEY_STRIDE + k] queries[k][c], the same chain as multiply's; max[c] becomes
     * the largest, or is raised to it, if max is not NULL. Fetches some of the rows ahead, if that is not. */
    void (*score_keys)(size_t n, size_t cols, size_t depth, const void *keys, const void *queries, void *scores,
                       int accumulate, void *max, int raise, attn__soon *ahead);
    /* Scores to weights. Column c sees rows [lo, hi) of ranges[c] (all that are there, if that is NULL), counted from
     * `first`, a multiple of step within the block; rows [from, to) of the tile are there. `seen`: rows that every
     * column sees, whose maxima are in max if `looked`, and then all scores are finite. Gives max and sum; -inf and 0
     * where nothing is seen, and for max NaN where softmax would return 1. */
    void (*weigh)(void *scores, size_t cols, const attn__block_range *ranges, size_t first, attn__range within,
                  attn__range seen, void *max, int looked, double *max_out, double *sum_out);
    /* sums[d][c] (+)= sum_j values[j * stride + d] weights[j][c], j in order. Fetches likewise. */
    void (*sum_values)(size_t dims, size_t cols, size_t keys, const void *values, ptrdiff_t stride, const void *weights,
                       void *sums, int accumulate, attn__soon *ahead);

    /* Contiguous rows of n elements, of which those that are not finite become 0. There above[column] becomes 1, and of
     * -inf below, and of NaN both. Goes on in both to the end of a vector. Returns 1 if one was 0. */
    int (*set_aside)(void *values, size_t rows, size_t n, void *above, void *below);

    /* Of doubles alone, for n scores of a row that may be beyond the range. From products of queries and keys as they
     * are, which are precise where they are finite, and of scaled ones, to scores that are scaled, by these factors: */
    void (*scale_largely)(const double *row, double *scaled, size_t n, double within, double beyond);
    /* Scores that are not finite become those that were scaled. Returns 1 if one is NaN. */
    int (*complete)(double *row, const double *scaled, size_t n, const attn__beyond *beyond);
    /* Raises *top to the largest. Returns what else there is, ATTN__SEES_... */
    int (*find_top)(const double *scaled, size_t n, double *top);
    /* Brings n numbers to within most of 0. NaN stays. */
    void (*limit)(double *x, size_t n, double most);
    /* Scores become units of ln 2, less the largest, which is returned; -inf if none has a weight. */
    double (*decide)(double *row, const double *scaled, size_t n, const attn__beyond *beyond);

    /* Joins two states of `rows` rows, a = a + b. Width is a multiple of nr / 2. */
    void (*join)(size_t rows, size_t width, void *acc_a, double *max_a, double *sum_a, const void *acc_b,
                 const double *max_b, const double *sum_b, int natural);

    /* exp(x - y) for x <= y: of scores that were natural, or in units of ln 2 */
    double (*exp_difference)(double x, double y, int natural);

    /* to[i] = from[i] * factor, never -0 from 0; returns 1 if one of them is not finite */
    int (*scale)(void *to, const void *from, size_t n, double factor);

    /* The same for rows of n elements, each by its factor; returns 1 if any of all is not finite */
    int (*scale_rows)(void *to, ptrdiff_t to_step, const void *from, size_t from_step, size_t rows, size_t n,
                      const double *factors, size_t factor_step);

    /* All of attention for one head of no more than `lanes` keys, causal or not, with
     * nothing else asked for: arrays of T whose rows are contiguous, at these distances,
     * and what the general way needs of the workspace. The same bits in fewer steps.
     * Returns 1 if a row is to be redone: which, and why, is in `redo`. */
    int (*little)(const struct attn__small *p, const void *q, const void *k, const void *v, void *out, void *weights);
    /* The same for one query of each of up to mr heads, which sees all of up to a block of keys; NULL if few_rows is 0.
     */
    int (*alone)(const struct attn__small *p, const void *q, const void *k, const void *v, void *out, void *weights);

    /* row[i] = softcap * tanh(row[i] / softcap), NaN for infinities: their row is
     * redone. This and the next four may go on to the end of a vector. */
    void (*softcap)(void *row, size_t n, double softcap);
    /* bias[i] -= |distance - i| * slope, NaN where that overflows */
    void (*alibi)(void *bias, size_t n, int64_t distance, double slope);
    /* bias[i] += other[i], -inf where one is, NaN where the sum overflows to it */
    void (*join_bias)(void *bias, const void *other, size_t n);
    /* row[i] += bias[i] * unit, or MASKED where bias is -inf */
    void (*bias)(void *row, const void *bias, size_t n, double unit);
    /* The same for n rows of a tile of a panel; bias[column * TILE_STRIDE + row] */
    void (*bias_panel)(void *scores, const void *bias, size_t cols, size_t n, double unit);
    /* row[i] = mask[i * stride] ? row[i] : MASKED, or -inf */
    void (*mask)(void *row, const void *mask, ptrdiff_t stride, size_t n, int infinite);

    /* Rotary embedding, of doubles alone; arrays go on to a multiple of 8.
     * turn[i] = base^(-2 (c + i) / dim), of the logarithm of base in two parts */
    void (*turns)(double *turn, size_t n, size_t c, double dim, double log_base, double log_low);
    /* x[i] becomes its logarithm, finite and more than 0 */
    void (*logs)(double *x, size_t n);
    /* of the angles position * turn[i] */
    void (*cosines)(double *cosine, double *sine, const double *turn, double position, size_t n);
    /* The pairs (u[i], v[i]), or (u[2 i], u[2 i + 1]), go to u[i] and v[i], turned. Returns 1 if one times `limit` is
     * not finite. */
    int (*rotate)(double *u, double *v, const double *cosine, const double *sine, size_t n, int interleaved,
                  double limit);
    /* n numbers below 2^127, and what follows to the end of a vector, to float, rounded to odd. Returns 1 if one may
     * not be, as it is too near to 0. */
    int (*narrow)(float *to, const double *from, size_t n);
    /* The same as rotate of float32 numbers in one step, from x to y, which may be x; n is a multiple of 8, and numbers
     * of a pair are `apart`. For neighbours, cosine and sine are (c0, s0, c1, s1, ...) and (-s0, c0, -s1, c1, ...).
     * Returns 1 if a result is not finite. */
    int (*rotate_singles)(float *y, const float *x, const double *cosine, const double *sine, size_t n, size_t apart);

    void (*load)(void *to, const void *from, attn_dtype dtype, ptrdiff_t stride, size_t n);
    void (*store)(void *to, attn_dtype dtype, ptrdiff_t stride, const void *from, size_t n);
    /* Rows of n elements of 8 bits, from column `first` on, as float32, `to_stride` apart. Returns the sum of their
     * squares, as copy does. */
    double (*decode)(float *to, size_t to_stride, const attn__codes *codes, size_t rows, size_t first, size_t n);
    /* The largest magnitude of n numbers, NaN if one is. */
    float (*magnitude)(const float *x, size_t n);
    /* n elements to 8 bits, the first of which is in column `first`; scales and zero points (may be NULL) as in
     * attn__codes, whose other members are not read. A scale of 0 gives 0. */
    void (*encode)(uint8_t *to, const float *x, const attn__codes *codes, size_t first, size_t n);
    /* dot_panel, of halves of a panel, and add_values for these, where it costs less to decode them in registers, once
     * for all rows. They return whether they did it; NULL: never. add_codes takes up to CODE_ROWS keys, which stay in
     * the nearest cache. */
    int (*dot_codes)(size_t m, size_t depth, const float *a, const attn__codes panel[2], size_t first, float *c,
                     int accumulate);
    int (*add_codes)(size_t m, size_t n, size_t depth, const float *a, const attn__codes *codes, float *c, size_t ldc,
                     int accumulate);
} attn__kernel;

/* ----------------------------------------------------------------- paths --
 *
 * A path is a vocabulary, written below in terms of the machine's instructions, and the
 * kernels that the template at the end of this file makes of it. ATTN__ISA and ATTN__F64
 * (0: float, 1: double) say which path and type the names here mean. A vocabulary is,
 * for each type:
 *   vec                          the vector type; VL is its length
 *   load store set1 add sub mul div max
 *   fma(a, b, c)                 a * b + c with one rounding; unfused: not used
 *   exp2i(p, t)                  adds the low bits of t to the exponent of p
 *   choose(p, x, limit, other)   x < limit ? other : p (NaN in x keeps p)
 *   transpose(p, stride, out)    out[c][i] = p[i * stride + c], c < 16 / sizeof(T)
 *   sum_across(a)                all lanes: a[i] += a[i + w] for w = VL / 2 ... 1
 *   max_across(a)                the largest lane
 * and for float32, widened from uint16_t and uint8_t:
 *   load_f16 load_bf16 load_u8 load_i8 transpose_f16 transpose_bf16
 * and for float64, from float:
 *   load_f32
 * What a path may have besides, as the template has a general form of each:
 *   ATTN__OWN_PARTS              load_part(p, n): n lanes, fewer than all, the others 0;
 *                                store_part(p, a, n): only the first n lanes
 *   ATTN__OWN_REVERSE            reverse(a): the last lane first
 *   ATTN__OWN_MADD               madd(a, b, c): attn__madd_f64 by an instruction
 *   ATTN__OWN_FMA_LANE           fma_lane(c, b, a, lane): c + b * lane of a
 *   ATTN__OWN_HALVES             store_f16(p, a), store_bf16(p, a): narrowed to uint16_t
 *   ATTN__OWN_BYTES              turn_bytes(p, stride, out): lane i of out[w] has bytes 4 w ... 4 w + 3 from
 *                                p + i * stride on, w < 4; store_bytes(p, a): the lowest byte of each lane;
 *                                signed_byte(a, n): byte n of each lane, 0 the lowest, times 2^24;
 *                                unsigned_byte(a, n); float_byte(a, n, mantissa): a finite float with so
 *                                many bits of mantissa; note_special(s, a, mantissa): s with the highest bit
 *                                set in a byte where that of `a` is not finite
 *   ATTN__OWN_F8                 load_e4m3(p), load_e5m2(p)
 *   ATTN__OWN_SINGLES            store_f32(p, a): narrowed to float; store_odd(p, a): the same, rounded to odd, of
 *                                0 and numbers from 2^-126 to 2^127; load_twice(p, i, pair): lane j
 *                                of pair[c] has the float that is number c of p[i + j]'s pair
 * The register tile has MR rows (a number that ATTN__REPEAT_ knows) of two vectors; SET
 * is how many vectors make 64 bytes, the virtual lanes of a sum. */
#define ATTN__SUFFIX_0 _f32
#define ATTN__SUFFIX_1 _f64
#define ATTN__CONSTANT_0 _F32
#define ATTN__CONSTANT_1 _F64
#define ATTN__REAL_0 float
#define ATTN__REAL_1 double
/* attn__fma_f32, ATTN__LANES_F32, attn__avx2_f32_load */
/* `name` is pasted before it is replaced, should it be a macro of the program */
#define ATTN__TYPED(name) ATTN__CAT(name, ATTN__CAT(ATTN__SUFFIX_, ATTN__F64))
#define ATTN__FUNCTION(name) ATTN__TYPED(attn__##name)
#define ATTN__C(name) ATTN__CAT(ATTN__##name, ATTN__CAT(ATTN__CONSTANT_, ATTN__F64))
#define ATTN__V(name) ATTN__CAT(ATTN__TYPED(ATTN__CAT(attn__, ATTN__ISA)), _##name)
#define attn__real ATTN__CAT(ATTN__REAL_, ATTN__F64)
#define ATTN__DTYPE (ATTN__F64 ? ATTN_F64 : ATTN_F32)
#define attn__vec ATTN__V(vec)
#define attn__vload ATTN__V(load)
#define attn__vstore ATTN__V(store)
#define attn__vset1 ATTN__V(set1)
#define attn__vadd ATTN__V(add)
#define attn__vsub ATTN__V(sub)
#define attn__vmul ATTN__V(mul)
#define attn__vdiv ATTN__V(div)
#define attn__vmax ATTN__V(max)
#if ATTN__FUSED
#define attn__vfma ATTN__V(fma)
#else
#define attn__vfma(a, b, c) attn__vadd(attn__vmul(a, b), c)
#endif
#define attn__vexp2i ATTN__V(exp2i)
#define attn__vchoose ATTN__V(choose)
#define attn__vsum_across ATTN__V(sum_across)
#define attn__vmax_across ATTN__V(max_across)
#define ATTN__LANES ATTN__C(LANES)
#define ATTN__VL (ATTN__LANES / ATTN__SET)
#define ATTN__NR (2 * ATTN__VL)                   /* columns of a panel */
#define ATTN__QUAD (16 / (int)sizeof(attn__real)) /* elements of a 128-bit lane */
#define ATTN__STEP_KEYS (ATTN__NR > ATTN__CHAIN ? ATTN__NR : ATTN__CHAIN)
/* X(i) for each row of a tile, each vector of the virtual lanes, each element of 128 bits */
#define ATTN__EACH_ROW ATTN__CAT(ATTN__REPEAT_, ATTN__MR)
#define ATTN__EACH ATTN__CAT(ATTN__REPEAT_, ATTN__SET)
#define ATTN__EACH_OF_QUAD ATTN__CAT(ATTN__REPEAT_OF_QUAD_, ATTN__F64)
#define ATTN__REPEAT_OF_QUAD_0 ATTN__REPEAT_4
#define ATTN__REPEAT_OF_QUAD_1 ATTN__REPEAT_2
#define ATTN__FOLD ATTN__CAT(ATTN__FOLD_, ATTN__SET)

/* The native statement, or for what SIMDe lacks or rounds differently, the other one. */
#define ATTN__NATIVE_ELSE(native) ATTN__CAT(ATTN__NATIVE_ELSE_, native)
#define ATTN__NATIVE_ELSE_1(native, emulated) native
#define ATTN__NATIVE_ELSE_0(native, emulated) emulated
#define ATTN__BY_LANES(a, b, c, expression)                                                                            \
    attn__real x[ATTN__VL], y[ATTN__VL], z[ATTN__VL];                                                                  \
    attn__vstore(x, a);                                                                                                \
    attn__vstore(y, b);                                                                                                \
    attn__vstore(z, c);                                                                                                \
    for (int i = 0; i < ATTN__VL; i++) z[i] = (expression);                                                            \
    return attn__vload(z)
#define ATTN__LOAD_LANES(expression)                                                                                   \
    attn__real x[ATTN__VL];                                                                                            \
    for (int i = 0; i < ATTN__VL; i++) x[i] = (expression);                                                            \
    return attn__vload(x)

/* A transpose of halves, widened one by one before. */
#define ATTN__WIDEN_QUADS(type, p, stride, out)                                                                        \
    float quads[ATTN__VL][4];                                                                                          \
    for (int i = 0; i < ATTN__VL; i++)                                                                                 \
        for (int c = 0; c < 4; c++) quads[i][c] = attn__##type##_to_f32((p)[(ptrdiff_t)i * (stride) + c]);             \
    ATTN__V(transpose)(quads[0], 4, out)

#define ATTN__GREATER(a, b) ((a) > (b) ? (a) : (b))

static const float ATTN__COUNT_F32[ATTN__LANES_F32] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static const double ATTN__COUNT_F64[ATTN__LANES_F64] = {0, 1, 2, 3, 4, 5, 6, 7};

/* ---- scalar: one lane; read this one to know what the others do ---- */
#define ATTN__ISA scalar
#define ATTN__F64 0
typedef float attn__vec;
ATTN__INLINE float attn__vload(const float *p) { return *p; }
ATTN__INLINE void attn__vstore(float *p, float a) { *p = a; }
ATTN__INLINE float attn__vset1(float a) { return a; }
ATTN__INLINE float attn__vadd(float a, float b) { return a + b; }
ATTN__INLINE float attn__vsub(float a, float b) { return a - b; }
ATTN__INLINE float attn__vmul(float a, float b) { return a * b; }
ATTN__INLINE float attn__vdiv(float a, float b) { return a / b; }
ATTN__INLINE float attn__vmax(float a, float b) { return a > b ? a : b; }
ATTN__INLINE float ATTN__V(fma)(float a, float b, float c) { return attn__fma_f32(a, b, c); }
ATTN__INLINE float attn__vchoose(float p, float x, float limit, float other) { return x < limit ? other : p; }
ATTN__INLINE float attn__vexp2i(float p, float t)
{
    return attn__from_bits_f32(attn__bits_f32(p) + (attn__bits_f32(t) << 23));
}
ATTN__INLINE float attn__vsum_across(float a) { return a; }
ATTN__INLINE float attn__vmax_across(float a) { return a; }
ATTN__INLINE void ATTN__V(transpose)(const float *p, ptrdiff_t stride, float out[4])
{
    (void)stride;
    attn__memcpy(out, p, 4 * sizeof *p);
}
ATTN__INLINE float ATTN__V(load_f16)(const uint16_t *p) { return attn__f16_to_f32(*p); }
ATTN__INLINE float ATTN__V(load_bf16)(const uint16_t *p) { return attn__bf16_to_f32(*p); }
ATTN__INLINE float ATTN__V(load_u8)(const uint8_t *p) { return *p; }
ATTN__INLINE float ATTN__V(load_i8)(const int8_t *p) { return *p; }
#undef ATTN__F64

#define ATTN__F64 1
typedef double attn__vec;
ATTN__INLINE double attn__vload(const double *p) { return *p; }
ATTN__INLINE void attn__vstore(double *p, double a) { *p = a; }
ATTN__INLINE double attn__vset1(double a) { return a; }
ATTN__INLINE double attn__vadd(double a, double b) { return a + b; }
ATTN__INLINE double attn__vsub(double a, double b) { return a - b; }
ATTN__INLINE double attn__vmul(double a, double b) { return a * b; }
ATTN__INLINE double attn__vdiv(double a, double b) { return a / b; }
ATTN__INLINE double attn__vmax(double a, double b) { return a > b ? a : b; }
ATTN__INLINE double ATTN__V(fma)(double a, double b, double c) { return attn__fma_f64(a, b, c); }
ATTN__INLINE double attn__vchoose(double p, double x, double limit, double other) { return x < limit ? other : p; }
ATTN__INLINE double attn__vexp2i(double p, double t)
{
    return attn__from_bits_f64(attn__bits_f64(p) + (attn__bits_f64(t) << 52));
}
ATTN__INLINE double attn__vsum_across(double a) { return a; }
ATTN__INLINE double attn__vmax_across(double a) { return a; }
ATTN__INLINE double ATTN__V(load_f32)(const float *p) { return (double)*p; }
ATTN__INLINE void ATTN__V(transpose)(const double *p, ptrdiff_t stride, double out[2])
{
    (void)stride;
    attn__memcpy(out, p, 2 * sizeof *p);
}
#undef ATTN__F64

#define ATTN__SET ATTN__LANES
#define ATTN__MR 4
#define ATTN__KERNEL
#include ATTN_FILE
#undef ATTN__SET
#undef ATTN__MR
#undef ATTN__ISA

/* ---- 16-byte vectors of gcc and clang, which know what instructions they take ---- */
#if ATTN__SIMD128
#define ATTN__ISA simd128
#define ATTN__SET 4
#define ATTN__BASICS(integer, shift, ...)                                                                              \
    typedef attn__real attn__vec __attribute__((__vector_size__(16)));                                                 \
    typedef integer ATTN__V(bits) __attribute__((__vector_size__(16)));                                                \
    ATTN__INLINE attn__vec attn__vload(const attn__real *p)                                                            \
    {                                                                                                                  \
        attn__vec a;                                                                                                   \
        attn__memcpy(&a, p, sizeof a);                                                                                 \
        return a;                                                                                                      \
    }                                                                                                                  \
    ATTN__INLINE void attn__vstore(attn__real *p, attn__vec a) { attn__memcpy(p, &a, sizeof a); }                      \
    ATTN__INLINE attn__vec attn__vset1(attn__real a)                                                                   \
    {                                                                                                                  \
        const attn__vec r = __VA_ARGS__;                                                                               \
        return r;                                                                                                      \
    }                                                                                                                  \
    ATTN__INLINE attn__vec attn__vadd(attn__vec a, attn__vec b) { return a + b; }                                      \
    ATTN__INLINE attn__vec attn__vsub(attn__vec a, attn__vec b) { return a - b; }                                      \
    ATTN__INLINE attn__vec attn__vmul(attn__vec a, attn__vec b) { return a * b; }                                      \
    ATTN__INLINE attn__vec attn__vdiv(attn__vec a, attn__vec b) { return a / b; }                                      \
    ATTN__INLINE attn__vec attn__vchoose(attn__vec p, attn__vec x, attn__vec limit, attn__vec other)                   \
    {                                                                                                                  \
        const ATTN__V(bits) less = (ATTN__V(bits))(x < limit);                                                         \
        return (attn__vec)(((ATTN__V(bits))other & less) | ((ATTN__V(bits))p & ~less));                                \
    }                                                                                                                  \
    ATTN__INLINE attn__vec attn__vmax(attn__vec a, attn__vec b) { return attn__vchoose(b, b, a, a); }                  \
    ATTN__INLINE attn__vec attn__vexp2i(attn__vec p, attn__vec t)                                                      \
    {                                                                                                                  \
        return (attn__vec)((ATTN__V(bits))p + ((ATTN__V(bits))t << shift));                                            \
    }

#define ATTN__F64 0
ATTN__BASICS(uint32_t, 23, {a, a, a, a})
ATTN__INLINE float attn__vsum_across(attn__vec a) { return (a[0] + a[2]) + (a[1] + a[3]); }
ATTN__INLINE float attn__vmax_across(attn__vec a)
{
    return ATTN__GREATER(ATTN__GREATER(a[0], a[2]), ATTN__GREATER(a[1], a[3]));
}
ATTN__INLINE attn__vec ATTN__V(load_f16)(const uint16_t *p) { ATTN__LOAD_LANES(attn__f16_to_f32(p[i])); }
ATTN__INLINE attn__vec ATTN__V(load_u8)(const uint8_t *p) { ATTN__LOAD_LANES((float)p[i]); }
ATTN__INLINE attn__vec ATTN__V(load_i8)(const int8_t *p) { ATTN__LOAD_LANES((float)p[i]); }
ATTN__INLINE attn__vec ATTN__V(load_bf16)(const uint16_t *p)
{
    const ATTN__V(bits) r = {p[0], p[1], p[2], p[3]};
    return (attn__vec)(r << 16);
}
#define ATTN__TURNED(name, type, load)                                                                                 \
    ATTN__INLINE void ATTN__V(name)(const type *p, ptrdiff_t stride, attn__vec out[4])                                 \
    {                                                                                                                  \
        const attn__vec a = load(p), b = load(p + stride), c = load(p + 2 * stride), d = load(p + 3 * stride);         \
        const attn__vec ab0 = {a[0], b[0], a[1], b[1]}, ab1 = {a[2], b[2], a[3], b[3]};                                \
        const attn__vec cd0 = {c[0], d[0], c[1], d[1]}, cd1 = {c[2], d[2], c[3], d[3]};                                \
        const attn__vec out0 = {ab0[0], ab0[1], cd0[0], cd0[1]}, out1 = {ab0[2], ab0[3], cd0[2], cd0[3]};              \
        const attn__vec out2 = {ab1[0], ab1[1], cd1[0], cd1[1]}, out3 = {ab1[2], ab1[3], cd1[2], cd1[3]};              \
        out[0] = out0, out[1] = out1, out[2] = out2, out[3] = out3;                                                    \
    }
ATTN__TURNED(transpose, float, attn__vload)
ATTN__TURNED(transpose_f16, uint16_t, ATTN__V(load_f16))
ATTN__TURNED(transpose_bf16, uint16_t, ATTN__V(load_bf16))
#undef ATTN__TURNED
#undef ATTN__F64

#define ATTN__F64 1
ATTN__BASICS(uint64_t, 52, {a, a})
ATTN__INLINE double attn__vsum_across(attn__vec a) { return a[0] + a[1]; }
ATTN__INLINE double attn__vmax_across(attn__vec a) { return ATTN__GREATER(a[0], a[1]); }
ATTN__INLINE attn__vec ATTN__V(load_f32)(const float *p) { ATTN__LOAD_LANES((double)p[i]); }
ATTN__INLINE void ATTN__V(transpose)(const double *p, ptrdiff_t stride, attn__vec out[2])
{
    const attn__vec a = attn__vload(p), b = attn__vload(p + stride), out0 = {a[0], b[0]}, out1 = {a[1], b[1]};
    out[0] = out0, out[1] = out1;
}
#undef ATTN__F64

#define ATTN__MR 4
#include ATTN_FILE
#undef ATTN__MR
#undef ATTN__SET
#undef ATTN__BASICS
#undef ATTN__ISA
#endif /* ATTN__SIMD128 */

/* ---- what AVX2 and AVX-512 share: W names an operation of the width in use ---- */
#if ATTN__AVX2 || ATTN__AVX512
#if ATTN__X86
#define ATTN__W256(op) _mm256_##op
#define ATTN__W512(op) _mm512_##op
#define ATTN__W128(op) _mm_##op
#define ATTN__VECTOR(t) t
#else
#define ATTN__W256(op) simde_mm256_##op
#define ATTN__W512(op) simde_mm512_##op
#define ATTN__W128(op) simde_mm_##op
#define ATTN__VECTOR(t) simde##t
#endif
#if ATTN__X86 && ATTN__FUSED
#define ATTN__OWN_MADD
#define ATTN__DEFINE_MADD                                                                                              \
    ATTN__INLINE double ATTN__V(madd)(double a, double b, double c)                                                    \
    {                                                                                                                  \
        return _mm_cvtsd_f64(_mm_fmadd_sd(_mm_set_sd(a), _mm_set_sd(b), _mm_set_sd(c)));                               \
    }
#else
#define ATTN__DEFINE_MADD
#endif
#if ATTN__X86
/* A float of 8 bits: its exponent and mantissa, moved to where float32 has them, make the number once the bias is
 * added, if the exponent is not 0. With a bias of 1 more and the number of a leading 1 taken away, they do if it is.
 * The lesser of the two is right in both cases. I is the type of integers, P what the instructions begin with. */
#define ATTN__BYTES(I, P, si)                                                                                          \
    ATTN__INLINE I ATTN__V(moved)(attn__vec a, int left)                                                               \
    {                                                                                                                  \
        const I x = P##castps_##si(a);                                                                                 \
        return left >= 0 ? P##sll_epi32(x, _mm_cvtsi32_si128(left)) : P##srl_epi32(x, _mm_cvtsi32_si128(-left));       \
    }                                                                                                                  \
    ATTN__INLINE attn__vec ATTN__V(signed_byte)(attn__vec a, int n)                                                    \
    {                                                                                                                  \
        return P##cvtepi32_ps(P##and_##si(ATTN__V(moved)(a, 24 - 8 * n), P##set1_epi32(-0x1000000)));                  \
    }                                                                                                                  \
    ATTN__INLINE attn__vec ATTN__V(unsigned_byte)(attn__vec a, int n)                                                  \
    {                                                                                                                  \
        return P##cvtepi32_ps(P##and_##si(ATTN__V(moved)(a, -8 * n), P##set1_epi32(255)));                             \
    }                                                                                                                  \
    ATTN__INLINE attn__vec ATTN__V(float_byte)(attn__vec a, int n, int mantissa)                                       \
    {                                                                                                                  \
        const int bias = 128 - (1 << (6 - mantissa));                                                                  \
        const I sign = P##set1_epi32(-0x7fffffff - 1), least = P##set1_epi32((bias + 1) << 23),                        \
                at_end = n < 3 ? P##sll_epi32(P##castps_##si(a), _mm_cvtsi32_si128(23 - 8 * n - mantissa))             \
                               : P##srl_epi32(P##castps_##si(a), _mm_cvtsi32_si128(mantissa + 1)),                     \
                size = P##and_##si(at_end, P##set1_epi32(0x7f << (23 - mantissa)));                                    \
        const attn__vec normal = P##cast##si##_ps(P##add_epi32(size, P##set1_epi32(bias << 23))),                      \
                        other = P##sub_ps(P##cast##si##_ps(P##add_epi32(size, least)), P##cast##si##_ps(least));       \
        const I x = P##castps_##si(P##min_ps(normal, other));                                                          \
        return P##cast##si##_ps(                                                                                       \
            P##or_##si(P##and_##si(sign, ATTN__V(moved)(a, 24 - 8 * n)), P##andnot_##si(sign, x)));                    \
    }                                                                                                                  \
    ATTN__INLINE attn__vec ATTN__V(note_special)(attn__vec special, attn__vec a, int mantissa)                         \
    {                                                                                                                  \
        const int mask = mantissa == 3 ? 0x7f7f7f7f : 0x7c7c7c7c;                                                      \
        const I x = P##add_epi32(P##and_##si(P##castps_##si(a), P##set1_epi32(mask)),                                  \
                                 P##set1_epi32(mantissa == 3 ? 0x01010101 : 0x04040404));                              \
        return P##cast##si##_ps(P##or_##si(P##castps_##si(special), x));                                               \
    }
#endif
/* p is ps or pd, epi the width of integers, si that of all bits, shift the place of the exponent; an
 * estimate on ARMv7 is what SIMDe's division is */
#define ATTN__BASICS(W, p, epi, si, shift)                                                                             \
    ATTN__INLINE attn__vec attn__vload(const attn__real *at) { return W(loadu_##p)(at); }                              \
    ATTN__INLINE void attn__vstore(attn__real *at, attn__vec a) { W(storeu_##p)(at, a); }                              \
    ATTN__INLINE attn__vec attn__vset1(attn__real a) { return W(set1_##p)(a); }                                        \
    ATTN__INLINE attn__vec attn__vadd(attn__vec a, attn__vec b) { return W(add_##p)(a, b); }                           \
    ATTN__INLINE attn__vec attn__vsub(attn__vec a, attn__vec b) { return W(sub_##p)(a, b); }                           \
    ATTN__INLINE attn__vec attn__vmul(attn__vec a, attn__vec b) { return W(mul_##p)(a, b); }                           \
    ATTN__INLINE attn__vec attn__vmax(attn__vec a, attn__vec b) { return W(max_##p)(a, b); }                           \
    ATTN__INLINE attn__vec attn__vdiv(attn__vec a, attn__vec b)                                                        \
    {                                                                                                                  \
        ATTN__NATIVE_ELSE(ATTN__X86)(return W(div_##p)(a, b), ATTN__BY_LANES(a, b, b, x[i] / y[i]));                   \
    }                                                                                                                  \
    ATTN__INLINE attn__vec ATTN__V(fma)(attn__vec a, attn__vec b, attn__vec c)                                         \
    {                                                                                                                  \
        ATTN__NATIVE_ELSE(ATTN__X86)                                                                                   \
        (return W(fmadd_##p)(a, b, c), ATTN__BY_LANES(a, b, c, ATTN__FUNCTION(fma)(x[i], y[i], z[i])));                \
    }                                                                                                                  \
    ATTN__INLINE attn__vec attn__vexp2i(attn__vec a, attn__vec t)                                                      \
    {                                                                                                                  \
        return W(cast##si##_##p)(W(add_##epi)(W(cast##p##_##si)(a), W(slli_##epi)(W(cast##p##_##si)(t), shift)));      \
    }                                                                                                                  \
    ATTN__DEFINE_MADD
/* 128-bit lane L of row r holds 4 floats of key 4 L + r: the 4 x 4 transpose stays in lanes. */
#define ATTN__TURN(W)                                                                                                  \
    ATTN__INLINE void ATTN__V(turn)(attn__vec r0, attn__vec r1, attn__vec r2, attn__vec r3, attn__vec out[4])          \
    {                                                                                                                  \
        const ATTN__V(pairs) t0 = W(castps_pd)(W(unpacklo_ps)(r0, r1)), t1 = W(castps_pd)(W(unpackhi_ps)(r0, r1));     \
        const ATTN__V(pairs) t2 = W(castps_pd)(W(unpacklo_ps)(r2, r3)), t3 = W(castps_pd)(W(unpackhi_ps)(r2, r3));     \
        out[0] = W(castpd_ps)(W(unpacklo_pd)(t0, t2));                                                                 \
        out[1] = W(castpd_ps)(W(unpackhi_pd)(t0, t2));                                                                 \
        out[2] = W(castpd_ps)(W(unpacklo_pd)(t1, t3));                                                                 \
        out[3] = W(castpd_ps)(W(unpackhi_pd)(t1, t3));                                                                 \
    }
#define ATTN__TURN_ROWS(out) ATTN__V(turn)(ATTN__ROW(0), ATTN__ROW(1), ATTN__ROW(2), ATTN__ROW(3), out)
/* 4 halves of row r and of row r + 4 */
#define ATTN__HALVES_OF(r)                                                                                             \
    _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)(const void *)(p + (r)*stride)),                               \
                       _mm_loadl_epi64((const __m128i *)(const void *)(p + (4 + (r)) * stride)))
/* The last steps of a sum, or of another operation, across 4 floats or 2 doubles. */
#define ATTN__ACROSS_PS(op, b)                                                                                         \
    b = ATTN__W128(op##_ps)(b, ATTN__W128(movehl_ps)(b, b));                                                           \
    return ATTN__W128(cvtss_f32)(ATTN__W128(op##_ss)(b, ATTN__W128(shuffle_ps)(b, b, 1)))
#define ATTN__ACROSS_PD(op, b) return ATTN__W128(cvtsd_f64)(ATTN__W128(op##_sd)(b, ATTN__W128(unpackhi_pd)(b, b)))
#endif

/* ---- AVX2 with FMA and F16C ---- */
#if ATTN__AVX2
#if ATTN__X86 && defined(__clang__)
#pragma clang attribute push(__attribute__((__target__("avx2,fma,f16c"))), apply_to = function)
#elif ATTN__X86 && defined(__GNUC__)
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#define ATTN__ISA avx2
#define ATTN__SET 2
#define ATTN__F64 0
typedef ATTN__VECTOR(__m256) attn__vec;
typedef ATTN__VECTOR(__m256d) ATTN__V(pairs);
ATTN__BASICS(ATTN__W256, ps, epi32, si256, 23)
ATTN__INLINE attn__vec attn__vchoose(attn__vec p, attn__vec x, attn__vec limit, attn__vec other)
{
    return ATTN__W256(blendv_ps)(p, other, ATTN__W256(cmp_ps)(x, limit, 17 /* less than, ordered, quiet */));
}
#define ATTN__ACROSS(name, op)                                                                                         \
    ATTN__INLINE float ATTN__V(name)(attn__vec a)                                                                      \
    {                                                                                                                  \
        ATTN__VECTOR(__m128)                                                                                           \
        b = ATTN__W128(op##_ps)(ATTN__W256(castps256_ps128)(a), ATTN__W256(extractf128_ps)(a, 1));                     \
        ATTN__ACROSS_PS(op, b);                                                                                        \
    }
ATTN__ACROSS(sum_across, add)
ATTN__ACROSS(max_across, max)
#undef ATTN__ACROSS
ATTN__TURN(ATTN__W256)
ATTN__INLINE void ATTN__V(turn_bytes)(const uint8_t *p, ptrdiff_t stride, attn__vec out[4])
{
#define ATTN__PART(r) ATTN__W128(loadu_ps)((const float *)(const void *)(p + (r)*stride))
#define ATTN__ROW(r) ATTN__W256(insertf128_ps)(ATTN__W256(castps128_ps256)(ATTN__PART(r)), ATTN__PART(4 + (r)), 1)
    ATTN__TURN_ROWS(out);
#undef ATTN__ROW
#undef ATTN__PART
}
ATTN__INLINE void ATTN__V(transpose)(const float *p, ptrdiff_t stride, attn__vec out[4])
{
    ATTN__V(turn_bytes)((const uint8_t *)p, stride * (ptrdiff_t)sizeof *p, out);
}
#if ATTN__X86
#define ATTN__OWN_BYTES
ATTN__INLINE void ATTN__V(store_bytes)(uint8_t *p, attn__vec a)
{
    const __m256i low = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(255));
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packus_epi16(words, words));
}
ATTN__BYTES(__m256i, _mm256_, si256)
#define ATTN__OWN_F8
ATTN__INLINE attn__vec ATTN__V(load_e5m2)(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p)), 8));
}
ATTN__INLINE attn__vec ATTN__V(load_e4m3)(const uint8_t *p)
{
    const __m128i bytes = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p)),
                  x = _mm_and_si128(_mm_slli_epi16(bytes, 7), _mm_set1_epi16(-0x4080)), /* sign, 0, the others */
        nan = _mm_and_si128(_mm_add_epi16(x, _mm_set1_epi16(0x80)), _mm_set1_epi16(0x4000));
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(x, nan)), _mm256_set1_ps(256));
}
#define ATTN__OWN_REVERSE
ATTN__INLINE attn__vec ATTN__V(reverse)(attn__vec a)
{
    return _mm256_permutevar8x32_ps(a, _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}
#define ATTN__OWN_PARTS /* masked stores take longer than these */
ATTN__INLINE attn__vec ATTN__V(load_part)(const float *p, size_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane));
}
ATTN__INLINE void ATTN__V(store_part)(float *p, attn__vec a, size_t n)
{
    __m128 x = _mm256_castps256_ps128(a);
    if (n & 4) _mm_storeu_ps(p, x), p += 4, x = _mm256_extractf128_ps(a, 1);
    if (n & 2) _mm_storel_pi((__m64 *)(void *)p, x), p += 2, x = _mm_movehl_ps(x, x);
    if (n & 1) _mm_store_ss(p, x);
}
#define ATTN__OWN_HALVES
ATTN__INLINE void ATTN__V(store_f16)(uint16_t *p, attn__vec a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
ATTN__INLINE void ATTN__V(store_bf16)(uint16_t *p, attn__vec a)
{
    const __m256i u = _mm256_castps_si256(a), last = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1)),
                  nearest = _mm256_add_epi32(u, _mm256_add_epi32(last, _mm256_set1_epi32(0x7fff))),
                  nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)),
                  quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000)),
                  r = _mm256_srli_epi32(_mm256_blendv_epi8(nearest, quiet, nan), 16);
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packus_epi32(r, r), 8)));
}
#endif
ATTN__INLINE attn__vec ATTN__V(load_f16)(const uint16_t *p)
{
    ATTN__NATIVE_ELSE(ATTN__X86)
    (return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)),
            ATTN__LOAD_LANES(attn__f16_to_f32(p[i])));
}
ATTN__INLINE attn__vec ATTN__V(load_bf16)(const uint16_t *p)
{
    const ATTN__VECTOR(__m128i) *halves = (const ATTN__VECTOR(__m128i) *)(const void *)p;
    return ATTN__W256(castsi256_ps)(
        ATTN__W256(slli_epi32)(ATTN__W256(cvtepu16_epi32)(ATTN__W128(loadu_si128)(halves)), 16));
}
ATTN__INLINE attn__vec ATTN__V(load_u8)(const uint8_t *p)
{
    const ATTN__VECTOR(__m128i) *bytes = (const ATTN__VECTOR(__m128i) *)(const void *)p;
    return ATTN__W256(cvtepi32_ps)(ATTN__W256(cvtepu8_epi32)(ATTN__W128(loadl_epi64)(bytes)));
}
ATTN__INLINE attn__vec ATTN__V(load_i8)(const int8_t *p)
{
    const ATTN__VECTOR(__m128i) *bytes = (const ATTN__VECTOR(__m128i) *)(const void *)p;
    return ATTN__W256(cvtepi32_ps)(ATTN__W256(cvtepi8_epi32)(ATTN__W128(loadl_epi64)(bytes)));
}
ATTN__INLINE void ATTN__V(transpose_f16)(const uint16_t *p, ptrdiff_t stride, attn__vec out[4])
{
#define ATTN__ROW(r) _mm256_cvtph_ps(ATTN__HALVES_OF(r))
    ATTN__NATIVE_ELSE(ATTN__X86)(ATTN__TURN_ROWS(out), ATTN__WIDEN_QUADS(f16, p, stride, out));
#undef ATTN__ROW
}
ATTN__INLINE void ATTN__V(transpose_bf16)(const uint16_t *p, ptrdiff_t stride, attn__vec out[4])
{
#define ATTN__ROW(r) _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(ATTN__HALVES_OF(r)), 16))
    ATTN__NATIVE_ELSE(ATTN__X86)(ATTN__TURN_ROWS(out), ATTN__WIDEN_QUADS(bf16, p, stride, out));
#undef ATTN__ROW
}
#undef ATTN__F64

#define ATTN__F64 1
typedef ATTN__VECTOR(__m256d) attn__vec;
ATTN__BASICS(ATTN__W256, pd, epi64, si256, 52)
ATTN__INLINE attn__vec ATTN__V(load_f32)(const float *p) { return ATTN__W256(cvtps_pd)(ATTN__W128(loadu_ps)(p)); }
#if ATTN__X86
ATTN__INLINE attn__vec ATTN__V(reverse)(attn__vec a) { return _mm256_permute4x64_pd(a, 27); }
ATTN__INLINE attn__vec ATTN__V(load_part)(const double *p, size_t n)
{
    const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
    return _mm256_maskload_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x((int)n), lane));
}
ATTN__INLINE void ATTN__V(store_part)(double *p, attn__vec a, size_t n)
{
    __m128d x = _mm256_castpd256_pd128(a);
    if (n & 2) _mm_storeu_pd(p, x), p += 2, x = _mm256_extractf128_pd(a, 1);
    if (n & 1) _mm_store_sd(p, x);
}
#define ATTN__OWN_SINGLES
ATTN__INLINE void ATTN__V(store_f32)(float *p, attn__vec a) { _mm_storeu_ps(p, _mm256_cvtpd_ps(a)); }
ATTN__INLINE void ATTN__V(store_odd)(float *p, attn__vec a)
{
    const __m256i u = _mm256_castpd_si256(a), lost = _mm256_set1_epi64x(0x1fffffff),
                  last =
                      _mm256_add_epi64(_mm256_and_si256(u, lost), lost); /* the last bit that stays, if any is lost */
    ATTN__V(store_f32)(p, _mm256_castsi256_pd(_mm256_andnot_si256(lost, _mm256_or_si256(u, last))));
}
ATTN__INLINE void ATTN__V(load_twice)(const float *p, size_t i, attn__vec pair[2])
{
    const attn__vec a = ATTN__V(load_f32)(p + i);
    pair[0] = _mm256_movedup_pd(a), pair[1] = _mm256_permute_pd(a, 15);
}
#endif
ATTN__INLINE attn__vec attn__vchoose(attn__vec p, attn__vec x, attn__vec limit, attn__vec other)
{
    return ATTN__W256(blendv_pd)(p, other, ATTN__W256(cmp_pd)(x, limit, 17 /* less than, ordered, quiet */));
}
#define ATTN__ACROSS(name, op)                                                                                         \
    ATTN__INLINE double ATTN__V(name)(attn__vec a)                                                                     \
    {                                                                                                                  \
        const ATTN__VECTOR(__m128d) b =                                                                                \
            ATTN__W128(op##_pd)(ATTN__W256(castpd256_pd128)(a), ATTN__W256(extractf128_pd)(a, 1));                     \
        ATTN__ACROSS_PD(op, b);                                                                                        \
    }
ATTN__ACROSS(sum_across, add)
ATTN__ACROSS(max_across, max)
#undef ATTN__ACROSS
ATTN__INLINE void ATTN__V(transpose)(const double *p, ptrdiff_t stride, attn__vec out[2])
{
#define ATTN__ROW(r)                                                                                                   \
    ATTN__W256(insertf128_pd)                                                                                          \
    (ATTN__W256(castpd128_pd256)(ATTN__W128(loadu_pd)(p + (r)*stride)), ATTN__W128(loadu_pd)(p + (2 + (r)) * stride), 1)
    const attn__vec r0 = ATTN__ROW(0), r1 = ATTN__ROW(1);
#undef ATTN__ROW
    out[0] = ATTN__W256(unpacklo_pd)(r0, r1);
    out[1] = ATTN__W256(unpackhi_pd)(r0, r1);
}
#undef ATTN__F64

#define ATTN__MR 6
#include ATTN_FILE
#undef ATTN__MR
#undef ATTN__SET
#undef ATTN__ISA
#undef ATTN__OWN_REVERSE
#undef ATTN__OWN_HALVES
#undef ATTN__OWN_PARTS
#undef ATTN__OWN_BYTES
#undef ATTN__OWN_F8
#undef ATTN__OWN_SINGLES
#if ATTN__X86 && defined(__clang__)
#pragma clang attribute pop
#elif ATTN__X86 && defined(__GNUC__)
#pragma GCC pop_options
#endif
#endif /* ATTN__AVX2 */

/* ---- AVX-512 F, DQ, BW, VL ---- */
#if ATTN__AVX512
#if ATTN__X86 && defined(__clang__)
#pragma clang attribute push(__attribute__((__target__("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c"))),          \
                             apply_to = function)
#elif ATTN__X86 && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized" /* gcc's own _mm512_undefined_epi32 */
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c")
#endif
#define ATTN__ISA avx512
#define ATTN__SET 1
#define ATTN__F64 0
typedef ATTN__VECTOR(__m512) attn__vec;
typedef ATTN__VECTOR(__m512d) ATTN__V(pairs);
ATTN__BASICS(ATTN__W512, ps, epi32, si512, 23)
ATTN__INLINE attn__vec attn__vchoose(attn__vec p, attn__vec x, attn__vec limit, attn__vec other)
{
    return ATTN__W512(mask_mov_ps)(p, ATTN__W512(cmp_ps_mask)(x, limit, 17 /* less than, ordered, quiet */), other);
}
#define ATTN__ACROSS(name, op)                                                                                         \
    ATTN__INLINE float ATTN__V(name)(attn__vec a)                                                                      \
    {                                                                                                                  \
        const ATTN__VECTOR(__m256) upper =                                                                             \
            ATTN__W256(castpd_ps)(ATTN__W512(extractf64x4_pd)(ATTN__W512(castps_pd)(a), 1));                           \
        const ATTN__VECTOR(__m256) h = ATTN__W256(op##_ps)(ATTN__W512(castps512_ps256)(a), upper);                     \
        ATTN__VECTOR(__m128)                                                                                           \
        b = ATTN__W128(op##_ps)(ATTN__W256(castps256_ps128)(h), ATTN__W256(extractf128_ps)(h, 1));                     \
        ATTN__ACROSS_PS(op, b);                                                                                        \
    }
ATTN__ACROSS(sum_across, add)
ATTN__ACROSS(max_across, max)
#undef ATTN__ACROSS
ATTN__TURN(ATTN__W512)
ATTN__INLINE void ATTN__V(turn_bytes)(const uint8_t *p, ptrdiff_t stride, attn__vec out[4])
{
#define ATTN__PART(r) ATTN__W128(loadu_ps)((const float *)(const void *)(p + (r)*stride))
#define ATTN__INSERT ATTN__W512(insertf32x4)
#define ATTN__ROW(r)                                                                                                   \
    ATTN__INSERT(ATTN__INSERT(ATTN__INSERT(ATTN__W512(castps128_ps512)(ATTN__PART(r)), ATTN__PART(4 + (r)), 1),        \
                              ATTN__PART(8 + (r)), 2),                                                                 \
                 ATTN__PART(12 + (r)), 3)
    ATTN__TURN_ROWS(out);
#undef ATTN__ROW
#undef ATTN__INSERT
#undef ATTN__PART
}
ATTN__INLINE void ATTN__V(transpose)(const float *p, ptrdiff_t stride, attn__vec out[4])
{
    ATTN__V(turn_bytes)((const uint8_t *)p, stride * (ptrdiff_t)sizeof *p, out);
}
#if ATTN__X86
#define ATTN__OWN_BYTES
ATTN__INLINE void ATTN__V(store_bytes)(uint8_t *p, attn__vec a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(_mm512_castps_si512(a)));
}
ATTN__BYTES(__m512i, _mm512_, si512)
#define ATTN__OWN_F8
ATTN__INLINE attn__vec ATTN__V(load_e5m2)(const uint8_t *p)
{
    const __m256i x = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm512_cvtph_ps(_mm256_slli_epi16(x, 8));
}
ATTN__INLINE attn__vec ATTN__V(load_e4m3)(const uint8_t *p)
{
    const __m256i bytes = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p)),
                  x = _mm256_and_si256(_mm256_slli_epi16(bytes, 7), _mm256_set1_epi16(-0x4080)),
                  nan = _mm256_and_si256(_mm256_add_epi16(x, _mm256_set1_epi16(0x80)), _mm256_set1_epi16(0x4000));
    return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_or_si256(x, nan)), _mm512_set1_ps(256));
}
#define ATTN__OWN_HALVES
ATTN__INLINE void ATTN__V(store_f16)(uint16_t *p, attn__vec a)
{
    _mm256_storeu_si256((__m256i *)(void *)p,
                        _mm512_maskz_cvtps_ph((__mmask16)0xffffu, a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
ATTN__INLINE void ATTN__V(store_bf16)(uint16_t *p, attn__vec a)
{
    const __m512i u = _mm512_castps_si512(a), last = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1)),
                  nearest = _mm512_add_epi32(u, _mm512_add_epi32(last, _mm512_set1_epi32(0x7fff))),
                  quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000)),
                  r = _mm512_mask_mov_epi32(nearest, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), quiet);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16)));
}
#endif
ATTN__INLINE attn__vec ATTN__V(load_f16)(const uint16_t *p)
{
    ATTN__NATIVE_ELSE(ATTN__X86)
    (return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p)),
            ATTN__LOAD_LANES(attn__f16_to_f32(p[i])));
}
#define ATTN__WIDEN_BF16(halves) _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))
ATTN__INLINE attn__vec ATTN__V(load_bf16)(const uint16_t *p)
{
    ATTN__NATIVE_ELSE(ATTN__X86)
    (return ATTN__WIDEN_BF16(_mm256_loadu_si256((const __m256i *)(const void *)p)),
            ATTN__LOAD_LANES(attn__bf16_to_f32(p[i])));
}
ATTN__INLINE attn__vec ATTN__V(load_u8)(const uint8_t *p)
{
    ATTN__NATIVE_ELSE(ATTN__X86)
    (return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p))),
            ATTN__LOAD_LANES(p[i]));
}
ATTN__INLINE attn__vec ATTN__V(load_i8)(const int8_t *p)
{
    ATTN__NATIVE_ELSE(ATTN__X86)
    (return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p))),
            ATTN__LOAD_LANES(p[i]));
}
#define ATTN__EIGHT(r) _mm256_inserti128_si256(_mm256_castsi128_si256(ATTN__HALVES_OF(r)), ATTN__HALVES_OF(8 + (r)), 1)
ATTN__INLINE void ATTN__V(transpose_f16)(const uint16_t *p, ptrdiff_t stride, attn__vec out[4])
{
#define ATTN__ROW(r) _mm512_cvtph_ps(ATTN__EIGHT(r))
    ATTN__NATIVE_ELSE(ATTN__X86)(ATTN__TURN_ROWS(out), ATTN__WIDEN_QUADS(f16, p, stride, out));
#undef ATTN__ROW
}
ATTN__INLINE void ATTN__V(transpose_bf16)(const uint16_t *p, ptrdiff_t stride, attn__vec out[4])
{
#define ATTN__ROW(r) ATTN__WIDEN_BF16(ATTN__EIGHT(r))
    ATTN__NATIVE_ELSE(ATTN__X86)(ATTN__TURN_ROWS(out), ATTN__WIDEN_QUADS(bf16, p, stride, out));
#undef ATTN__ROW
}
#undef ATTN__EIGHT
#undef ATTN__WIDEN_BF16
#if ATTN__X86
#define ATTN__OWN_REVERSE
ATTN__INLINE attn__vec ATTN__V(reverse)(attn__vec a)
{
    return _mm512_permutexvar_ps(_mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), a);
}
#define ATTN__OWN_PARTS
ATTN__INLINE __m512 ATTN__V(load_part)(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
ATTN__INLINE void ATTN__V(store_part)(float *p, __m512 a, size_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a);
}
#endif
#undef ATTN__F64

#define ATTN__F64 1
typedef ATTN__VECTOR(__m512d) attn__vec;
ATTN__BASICS(ATTN__W512, pd, epi64, si512, 52)
ATTN__INLINE attn__vec ATTN__V(load_f32)(const float *p)
{
    ATTN__NATIVE_ELSE(ATTN__X86)(return _mm512_cvtps_pd(_mm256_loadu_ps(p)), ATTN__LOAD_LANES((double)p[i]));
}
#if ATTN__X86
#define ATTN__OWN_SINGLES
ATTN__INLINE void ATTN__V(store_f32)(float *p, attn__vec a) { _mm256_storeu_ps(p, _mm512_cvtpd_ps(a)); }
ATTN__INLINE void ATTN__V(store_odd)(float *p, attn__vec a)
{
    const __m512i u = _mm512_castpd_si512(a), lost = _mm512_set1_epi64(0x1fffffff),
                  last = _mm512_add_epi64(_mm512_and_si512(u, lost), lost);
    ATTN__V(store_f32)(p, _mm512_castsi512_pd(_mm512_andnot_si512(lost, _mm512_or_si512(u, last))));
}
ATTN__INLINE void ATTN__V(load_twice)(const float *p, size_t i, attn__vec pair[2])
{
    const attn__vec a = ATTN__V(load_f32)(p + i);
    pair[0] = _mm512_movedup_pd(a), pair[1] = _mm512_permute_pd(a, 255);
}
#endif
ATTN__INLINE attn__vec attn__vchoose(attn__vec p, attn__vec x, attn__vec limit, attn__vec other)
{
    return ATTN__W512(mask_mov_pd)(p, ATTN__W512(cmp_pd_mask)(x, limit, 17 /* less than, ordered, quiet */), other);
}
#define ATTN__ACROSS(name, op)                                                                                         \
    ATTN__INLINE double ATTN__V(name)(attn__vec a)                                                                     \
    {                                                                                                                  \
        const ATTN__VECTOR(__m256d) h =                                                                                \
            ATTN__W256(op##_pd)(ATTN__W512(castpd512_pd256)(a), ATTN__W512(extractf64x4_pd)(a, 1));                    \
        const ATTN__VECTOR(__m128d) b =                                                                                \
            ATTN__W128(op##_pd)(ATTN__W256(castpd256_pd128)(h), ATTN__W256(extractf128_pd)(h, 1));                     \
        ATTN__ACROSS_PD(op, b);                                                                                        \
    }
ATTN__ACROSS(sum_across, add)
ATTN__ACROSS(max_across, max)
#undef ATTN__ACROSS
ATTN__INLINE void ATTN__V(transpose)(const double *p, ptrdiff_t stride, attn__vec out[2])
{
#define ATTN__PART(r) ATTN__W128(loadu_pd)(p + (r)*stride)
#define ATTN__INSERT ATTN__W512(insertf64x2)
#define ATTN__ROW(r)                                                                                                   \
    ATTN__INSERT(ATTN__INSERT(ATTN__INSERT(ATTN__W512(castpd128_pd512)(ATTN__PART(r)), ATTN__PART(2 + (r)), 1),        \
                              ATTN__PART(4 + (r)), 2),                                                                 \
                 ATTN__PART(6 + (r)), 3)
    const attn__vec r0 = ATTN__ROW(0), r1 = ATTN__ROW(1);
#undef ATTN__ROW
#undef ATTN__INSERT
#undef ATTN__PART
    out[0] = ATTN__W512(unpacklo_pd)(r0, r1);
    out[1] = ATTN__W512(unpackhi_pd)(r0, r1);
}
#if ATTN__X86
ATTN__INLINE attn__vec ATTN__V(reverse)(attn__vec a)
{
    return _mm512_permutexvar_pd(_mm512_setr_epi64(7, 6, 5, 4, 3, 2, 1, 0), a);
}
ATTN__INLINE __m512d ATTN__V(load_part)(const double *p, size_t n)
{
    return _mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
}
ATTN__INLINE void ATTN__V(store_part)(double *p, __m512d a, size_t n)
{
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), a);
}
#endif
#undef ATTN__F64

#define ATTN__MR 14
#include ATTN_FILE
#undef ATTN__MR
#undef ATTN__SET
#undef ATTN__ISA
#undef ATTN__OWN_PARTS
#undef ATTN__OWN_REVERSE
#undef ATTN__OWN_HALVES
#undef ATTN__OWN_BYTES
#undef ATTN__OWN_F8
#undef ATTN__OWN_SINGLES
#if ATTN__X86 && defined(__clang__)
#pragma clang attribute pop
#elif ATTN__X86 && defined(__GNUC__)
#pragma GCC pop_options
#pragma GCC diagnostic pop
#endif
#endif /* ATTN__AVX512 */
#if ATTN__AVX2 || ATTN__AVX512
#undef ATTN__W256
#undef ATTN__W512
#undef ATTN__W128
#undef ATTN__VECTOR
#undef ATTN__OWN_MADD
#undef ATTN__DEFINE_MADD
#undef ATTN__BASICS
#undef ATTN__BYTES
#endif

/* ---- NEON (AArch64; elsewhere through SIMDe) ---- */
#if ATTN__NEON
#if ATTN__A64 && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("no-schedule-insns") /* it would move accumulators about, 4 cycles of 20 in the register tile */
#endif
#if ATTN__A64
#define ATTN__W(op) v##op
#define ATTN__VECTOR(t) t
#else
#define ATTN__W(op) simde_v##op
#define ATTN__VECTOR(t) simde_##t
#endif
#define ATTN__ISA neon
#define ATTN__SET 4
/* t is f32 or f64, s the signed integers of that size, shift the place of the exponent. SIMDe's st1q
 * aligns its address down on POWER, and its division is an estimate on ARMv7. */
#define ATTN__BASICS(t, s, shift)                                                                                      \
    ATTN__INLINE attn__vec attn__vload(const attn__real *p) { return ATTN__W(ld1q_##t)(p); }                           \
    ATTN__INLINE void attn__vstore(attn__real *p, attn__vec a) { attn__memcpy(p, &a, sizeof a); }                      \
    ATTN__INLINE attn__vec attn__vset1(attn__real a) { return ATTN__W(dupq_n_##t)(a); }                                \
    ATTN__INLINE attn__vec attn__vadd(attn__vec a, attn__vec b) { return ATTN__W(addq_##t)(a, b); }                    \
    ATTN__INLINE attn__vec attn__vsub(attn__vec a, attn__vec b) { return ATTN__W(subq_##t)(a, b); }                    \
    ATTN__INLINE attn__vec attn__vmul(attn__vec a, attn__vec b) { return ATTN__W(mulq_##t)(a, b); }                    \
    ATTN__INLINE attn__vec attn__vmax(attn__vec a, attn__vec b) { return ATTN__W(maxq_##t)(a, b); }                    \
    ATTN__INLINE attn__vec attn__vdiv(attn__vec a, attn__vec b)                                                        \
    {                                                                                                                  \
        ATTN__NATIVE_ELSE(ATTN__A64)(return vdivq_##t(a, b), ATTN__BY_LANES(a, b, b, x[i] / y[i]));                    \
    }                                                                                                                  \
    ATTN__INLINE attn__vec ATTN__V(fma)(attn__vec a, attn__vec b, attn__vec c)                                         \
    {                                                                                                                  \
        ATTN__NATIVE_ELSE(ATTN__A64)                                                                                   \
        (return vfmaq_##t(c, a, b), ATTN__BY_LANES(a, b, c, ATTN__FUNCTION(fma)(x[i], y[i], z[i])));                   \
    }                                                                                                                  \
    ATTN__INLINE attn__vec attn__vexp2i(attn__vec p, attn__vec t_)                                                     \
    {                                                                                                                  \
        return ATTN__W(reinterpretq_##t##_##s)(ATTN__W(addq_##s)(                                                      \
            ATTN__W(reinterpretq_##s##_##t)(p), ATTN__W(shlq_n_##s)(ATTN__W(reinterpretq_##s##_##t)(t_), shift)));     \
    }                                                                                                                  \
    ATTN__INLINE attn__vec attn__vchoose(attn__vec p, attn__vec x, attn__vec limit, attn__vec other)                   \
    {                                                                                                                  \
        return ATTN__W(bslq_##t)(ATTN__W(cltq_##t)(x, limit), other, p);                                               \
    }                                                                                                                  \
    ATTN__FMA_LANE(t)
#if ATTN__FUSED
#define ATTN__OWN_FMA_LANE
#endif
#if !ATTN__FUSED
#define ATTN__FMA_LANE(t)
#elif ATTN__A64
#define ATTN__FMA_LANE(t)
#define attn__neon_f32_fma_lane vfmaq_laneq_f32 /* whose lane is an immediate operand */
#define attn__neon_f64_fma_lane vfmaq_laneq_f64
#else /* a call: emulation inlined this often takes minutes to compile with sanitizers */
#define ATTN__FMA_LANE(t)                                                                                              \
    ATTN__NOINLINE static attn__vec ATTN__V(fma_lane)(attn__vec c, attn__vec b, attn__vec a, int lane)                 \
    {                                                                                                                  \
        attn__real x[ATTN__VL];                                                                                        \
        attn__vstore(x, a);                                                                                            \
        return ATTN__V(fma)(attn__vset1(x[lane]), b, c);                                                               \
    }
#endif

#define ATTN__F64 0
typedef ATTN__VECTOR(float32x4_t) attn__vec;
ATTN__BASICS(f32, s32, 23)
ATTN__INLINE float attn__vsum_across(attn__vec a)
{
    float x[4];
    attn__vstore(x, a);
    return (x[0] + x[2]) + (x[1] + x[3]);
}
ATTN__INLINE float attn__vmax_across(attn__vec a)
{
    float x[4];
    attn__vstore(x, a);
    return ATTN__GREATER(ATTN__GREATER(x[0], x[2]), ATTN__GREATER(x[1], x[3]));
}
#if ATTN__A64
#define ATTN__OWN_REVERSE
ATTN__INLINE attn__vec ATTN__V(reverse)(attn__vec a)
{
    a = vrev64q_f32(a);
    return vextq_f32(a, a, 2);
}
#define ATTN__OWN_HALVES
ATTN__INLINE void ATTN__V(store_f16)(uint16_t *p, attn__vec a) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a))); }
ATTN__INLINE void ATTN__V(store_bf16)(uint16_t *p, attn__vec a)
{
    const uint32x4_t u = vreinterpretq_u32_f32(a), last = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1)),
                     nearest = vaddq_u32(u, vaddq_u32(last, vdupq_n_u32(0x7fff))),
                     quiet = vorrq_u32(u, vdupq_n_u32(0x400000));
    vst1_u16(p, vshrn_n_u32(vbslq_u32(vceqq_f32(a, a), nearest, quiet), 16));
}
#endif
ATTN__INLINE attn__vec ATTN__V(load_f16)(const uint16_t *p)
{
    ATTN__NATIVE_ELSE(ATTN__A64)
    (return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))), ATTN__LOAD_LANES(attn__f16_to_f32(p[i])));
}
ATTN__INLINE attn__vec ATTN__V(load_bf16)(const uint16_t *p)
{
    return ATTN__W(reinterpretq_f32_u32)(ATTN__W(shlq_n_u32)(ATTN__W(movl_u16)(ATTN__W(ld1_u16)(p)), 16));
}
ATTN__INLINE attn__vec ATTN__V(load_u8)(const uint8_t *p) { ATTN__LOAD_LANES((float)p[i]); }
ATTN__INLINE attn__vec ATTN__V(load_i8)(const int8_t *p) { ATTN__LOAD_LANES((float)p[i]); }
ATTN__INLINE void ATTN__V(turn)(attn__vec r0, attn__vec r1, attn__vec r2, attn__vec r3, attn__vec out[4])
{
    const attn__vec t0 = ATTN__W(trn1q_f32)(r0, r1), t1 = ATTN__W(trn2q_f32)(r0, r1);
    const attn__vec t2 = ATTN__W(trn1q_f32)(r2, r3), t3 = ATTN__W(trn2q_f32)(r2, r3);
    out[0] = ATTN__W(combine_f32)(ATTN__W(get_low_f32)(t0), ATTN__W(get_low_f32)(t2));
    out[1] = ATTN__W(combine_f32)(ATTN__W(get_low_f32)(t1), ATTN__W(get_low_f32)(t3));
    out[2] = ATTN__W(combine_f32)(ATTN__W(get_high_f32)(t0), ATTN__W(get_high_f32)(t2));
    out[3] = ATTN__W(combine_f32)(ATTN__W(get_high_f32)(t1), ATTN__W(get_high_f32)(t3));
}
#define ATTN__TURNED(name, type, load)                                                                                 \
    ATTN__INLINE void ATTN__V(name)(const type *p, ptrdiff_t stride, attn__vec out[4])                                 \
    {                                                                                                                  \
        ATTN__V(turn)(load(p), load(p + stride), load(p + 2 * stride), load(p + 3 * stride), out);                     \
    }
ATTN__TURNED(transpose, float, attn__vload)
ATTN__TURNED(transpose_f16, uint16_t, ATTN__V(load_f16))
ATTN__TURNED(transpose_bf16, uint16_t, ATTN__V(load_bf16))
#undef ATTN__TURNED
#if ATTN__A64
#define ATTN__OWN_F8
ATTN__INLINE uint16x4_t ATTN__V(load_four)(const uint8_t *p)
{
    uint64_t bytes = 0;
    attn__memcpy(&bytes, p, 4);
    return vget_low_u16(vmovl_u8(vcreate_u8(bytes)));
}
ATTN__INLINE attn__vec ATTN__V(load_e5m2)(const uint8_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vshl_n_u16(ATTN__V(load_four)(p), 8)));
}
ATTN__INLINE attn__vec ATTN__V(load_e4m3)(const uint8_t *p)
{
    const uint16x4_t x = ATTN__V(load_four)(p), largest = vdup_n_u16(0x3f80),
                     size = vand_u16(vshl_n_u16(x, 7), largest), sign = vshl_n_u16(vshr_n_u16(x, 7), 15),
                     nan = vand_u16(vceq_u16(size, largest), vdup_n_u16(0x4000));
    return vmulq_n_f32(vcvt_f32_f16(vreinterpret_f16_u16(vorr_u16(vorr_u16(size, sign), nan))), 256);
}
#define ATTN__OWN_BYTES
ATTN__INLINE void ATTN__V(turn_bytes)(const uint8_t *p, ptrdiff_t stride, attn__vec out[4])
{
    ATTN__V(turn)
    (vreinterpretq_f32_u8(vld1q_u8(p)), vreinterpretq_f32_u8(vld1q_u8(p + stride)),
     vreinterpretq_f32_u8(vld1q_u8(p + 2 * stride)), vreinterpretq_f32_u8(vld1q_u8(p + 3 * stride)), out);
}
ATTN__INLINE void ATTN__V(store_bytes)(uint8_t *p, attn__vec a)
{
    const uint16x4_t words = vmovn_u32(vreinterpretq_u32_f32(a));
    const uint32_t bytes = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(words, words))), 0);
    attn__memcpy(p, &bytes, sizeof bytes);
}
ATTN__INLINE uint32x4_t ATTN__V(moved)(attn__vec a, int left)
{
    return vshlq_u32(vreinterpretq_u32_f32(a), vdupq_n_s32(left));
}
ATTN__INLINE attn__vec ATTN__V(signed_byte)(attn__vec a, int n)
{
    return vcvtq_f32_s32(vreinterpretq_s32_u32(vandq_u32(ATTN__V(moved)(a, 24 - 8 * n), vdupq_n_u32(0xff000000u))));
}
ATTN__INLINE attn__vec ATTN__V(unsigned_byte)(attn__vec a, int n)
{
    return vcvtq_f32_u32(vandq_u32(ATTN__V(moved)(a, -8 * n), vdupq_n_u32(255)));
}
/* as ATTN__BYTES says */
ATTN__INLINE attn__vec ATTN__V(float_byte)(attn__vec a, int n, int mantissa)
{
    const uint32_t bias = 128 - (1u << (6 - mantissa));
    const uint32x4_t least = vdupq_n_u32((bias + 1) << 23),
                     size = vandq_u32(ATTN__V(moved)(a, 23 - mantissa - 8 * n), vdupq_n_u32(0x7fu << (23 - mantissa)));
    const attn__vec normal = vreinterpretq_f32_u32(vaddq_u32(size, vdupq_n_u32(bias << 23))),
                    other = vsubq_f32(vreinterpretq_f32_u32(vaddq_u32(size, least)), vreinterpretq_f32_u32(least));
    return vbslq_f32(vdupq_n_u32(0x80000000u), vreinterpretq_f32_u32(ATTN__V(moved)(a, 24 - 8 * n)),
                     vminq_f32(normal, other));
}
ATTN__INLINE attn__vec ATTN__V(note_special)(attn__vec special, attn__vec a, int mantissa)
{
    const uint32_t mask = mantissa == 3 ? 0x7f7f7f7fu : 0x7c7c7c7cu;
    const uint32x4_t x =
        vaddq_u32(vandq_u32(vreinterpretq_u32_f32(a), vdupq_n_u32(mask)), vdupq_n_u32(0x80808080u - mask));
    return vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(special), x));
}
#endif
#undef ATTN__F64

#define ATTN__F64 1
typedef ATTN__VECTOR(float64x2_t) attn__vec;
ATTN__BASICS(f64, s64, 52)
ATTN__INLINE attn__vec ATTN__V(load_f32)(const float *p) { ATTN__LOAD_LANES((double)p[i]); }
#if ATTN__A64
ATTN__INLINE attn__vec ATTN__V(reverse)(attn__vec a) { return vextq_f64(a, a, 1); }
#define ATTN__OWN_SINGLES
ATTN__INLINE void ATTN__V(store_f32)(float *p, attn__vec a) { vst1_f32(p, vcvt_f32_f64(a)); }
ATTN__INLINE void ATTN__V(store_odd)(float *p, attn__vec a)
{
    const uint64x2_t u = vreinterpretq_u64_f64(a), lost = vdupq_n_u64(0x1fffffff),
                     last = vaddq_u64(vandq_u64(u, lost), lost);
    ATTN__V(store_f32)(p, vreinterpretq_f64_u64(vbicq_u64(vorrq_u64(u, last), lost)));
}
ATTN__INLINE void ATTN__V(load_twice)(const float *p, size_t i, attn__vec pair[2])
{
    pair[0] = vdupq_n_f64((double)p[i]), pair[1] = vdupq_n_f64((double)p[i + 1]);
}
#endif
ATTN__INLINE double attn__vsum_across(attn__vec a)
{
    double x[2];
    attn__vstore(x, a);
    return x[0] + x[1];
}
ATTN__INLINE double attn__vmax_across(attn__vec a)
{
    double x[2];
    attn__vstore(x, a);
    return ATTN__GREATER(x[0], x[1]);
}
ATTN__INLINE void ATTN__V(transpose)(const double *p, ptrdiff_t stride, attn__vec out[2])
{
    const attn__vec r0 = attn__vload(p), r1 = attn__vload(p + stride);
    out[0] = ATTN__W(combine_f64)(ATTN__W(get_low_f64)(r0), ATTN__W(get_low_f64)(r1));
    out[1] = ATTN__W(combine_f64)(ATTN__W(get_high_f64)(r0), ATTN__W(get_high_f64)(r1));
}
#undef ATTN__F64

#define ATTN__MR 8
#include ATTN_FILE
#undef ATTN__MR
#undef ATTN__SET
#undef ATTN__ISA
#undef ATTN__OWN_FMA_LANE
#undef ATTN__OWN_REVERSE
#undef ATTN__OWN_HALVES
#undef ATTN__OWN_BYTES
#undef ATTN__OWN_F8
#undef ATTN__OWN_SINGLES
#undef ATTN__BASICS
#undef ATTN__W
#undef ATTN__VECTOR
#if ATTN__A64 && defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
#endif /* ATTN__NEON */
#undef ATTN__KERNEL

/* -------------------------------------------------------------- dispatch -- */

/* Bits 1 << path: this machine's own instruction sets. */
static unsigned attn__detect(void)
{
    unsigned paths = 1u << ATTN_PATH_SCALAR | (unsigned)(ATTN__SIMD128 && ATTN__NATIVE_SIMD128) << ATTN_PATH_SIMD128;
#if ATTN__A64
    paths |= 1u << ATTN_PATH_NEON;
#elif ATTN__X86
    /* CPUID says what the CPU has, XGETBV what the system saves: both count. */
    uint32_t leaf0[4], leaf1[4], leaf7[4] = {0, 0, 0, 0}, state = 0;
#ifdef _MSC_VER
#define ATTN__CPUID(leaf, r) __cpuidex((int *)(r), leaf, 0)
#else
#define ATTN__CPUID(leaf, r)                                                                                           \
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
        if ((state & 0xe6) == 0xe6 && (leaf7[1] & 0xc0030000u) == 0xc0030000u /* F, DQ, BW, VL */)
            paths |= 1u << ATTN_PATH_AVX512;
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
#define ATTN__KERNELS_0(name) {NULL, NULL},
#define ATTN__KERNELS_1(name) {&attn__##name##_f32_kernel, &attn__##name##_f64_kernel},
#define ATTN__X(NAME, name) ATTN__CAT(ATTN__KERNELS_, ATTN__##NAME)(name)
    static const attn__kernel *const kernels[ATTN_PATH_COUNT][2] = {{NULL, NULL}, ATTN__PATHS(ATTN__X)};
#undef ATTN__X
    return (unsigned)path < ATTN_PATH_COUNT ? kernels[path][dtype == ATTN_F64] : NULL;
}

ATTN_DEF const char *attn_path_name(attn_path path)
{
#define ATTN__X(NAME, name) #name,
    static const char *const names[ATTN_PATH_COUNT] = {"auto", ATTN__PATHS(ATTN__X)};
#undef ATTN__X
    return (unsigned)path < ATTN_PATH_COUNT ? names[path] : "unknown";
}
ATTN_DEF int attn_path_compiled(attn_path path)
{
    return path == ATTN_PATH_AUTO || attn__kernel_of(path, ATTN_F32) != NULL;
}
ATTN_DEF int attn_path_native(attn_path path)
{
    return attn_path_compiled(path) && (path == ATTN_PATH_AUTO || (attn__machine() >> path & 1));
}
ATTN_DEF int attn_path_supported(attn_path path)
{
    /* A path that is foreign to this architecture is emulated, and so always runs. */
#define ATTN__X(NAME, name) | (unsigned)!ATTN__NATIVE_##NAME << ATTN_PATH_##NAME
    static const unsigned emulated = 0u ATTN__PATHS(ATTN__X);
#undef ATTN__X
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

/* A checked array: 8 dimensions, absent ones 1, strides in elements. Of ATTN_Q8_0 and ATTN_BIT, columns are blocks. */
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

#define ATTN__COMPUTED (1u << ATTN_F32 | 1u << ATTN_F64) /* types that are computed in */
#define ATTN__HALVES (1u << ATTN_F32 | 1u << ATTN_F16 | 1u << ATTN_BF16)
#define ATTN__FLOATS (ATTN__HALVES | 1u << ATTN_F64)
#define ATTN__INTS (1u << ATTN_I32 | 1u << ATTN_I64)
#define ATTN__CODES (1u << ATTN_I8 | 1u << ATTN_U8 | 1u << ATTN_F8_E4M3 | 1u << ATTN_F8_E5M2 | 1u << ATTN_Q8_0)
#define ATTN__INPUT 0
#define ATTN__OUTPUT 1

static int attn__multiply_size(size_t a, size_t b, size_t *product)
{
    *product = a * b;
    return (a | b) >> sizeof a * 4 == 0 || b == 0 || a <= (size_t)-1 / b; /* halves of a word: no division */
}
/* |PTRDIFF_MIN| has no signed form, hence the detour through size_t */
ATTN__INLINE size_t attn__distance(ptrdiff_t stride)
{
    return stride < 0 ? (size_t)0 - (size_t)stride : (size_t)stride;
}

/* The bytes that an array with the strides of `a` reaches below its data and above; strides go to v. */
ATTN__NOINLINE static attn_status attn__reach(const attn_array *a, attn__view *v, size_t *below, size_t *above)
{
    const size_t limit = (size_t)-1 / 2;
    const int first = ATTN_MAX_DIMS - a->ndim;
    for (int i = first; i < ATTN_MAX_DIMS; i++) {
        const ptrdiff_t one = a->stride[i - first];
        size_t step = attn__distance(one), reach, *total = one < 0 ? below : above;
        if (v->shape[i] == 1) continue;
        v->stride[i] = one;
        if (!attn__multiply_size(step, (size_t)v->size, &step) || !attn__multiply_size(step, v->shape[i] - 1, &reach))
            return ATTN_ERR_OVERFLOW;
        if (reach > limit || (*total += reach) > limit) return ATTN_ERR_OVERFLOW; /* two halves do not wrap around */
    }
    if (*above > limit - (size_t)v->size || *below > limit - *above - (size_t)v->size) return ATTN_ERR_OVERFLOW;
    *above += (size_t)v->size;
    return ATTN_OK;
}

/* How many elements there are. Returns whether their bytes can be counted. */
ATTN__NOINLINE static int attn__count(const attn__view *v, size_t *count)
{
    const size_t limit = (size_t)-1 / 2;
    int fits = 1, empty = 0;
    *count = 1;
    for (int i = 0; i < ATTN_MAX_DIMS; i++)
        if (v->shape[i] == 0) empty = 1;
        else if (!attn__multiply_size(*count, v->shape[i], count) || *count > limit) fits = 0, *count = 1;
    if (*count > limit / (size_t)v->size && !empty) fits = 0;
    if (empty) *count = 0;
    return fits;
}

/* Could two elements lie in one place? Not if each stride, sorted by size, steps over all that
 * the smaller ones span: sufficient, and true of every layout in use. */
ATTN__NOINLINE static int attn__overlaps_itself(const attn__view *v)
{
    for (int i = 0; i < ATTN_MAX_DIMS; i++) {
        const size_t step = attn__distance(v->stride[i]);
        size_t span = 1;
        if (v->shape[i] == 1) continue;
        for (int j = 0; j < ATTN_MAX_DIMS; j++) {
            const size_t other = attn__distance(v->stride[j]);
            if (j != i && v->shape[j] > 1 && (other < step || (other == step && j > i)))
                span += other * (v->shape[j] - 1);
        }
        if (step < span) return 1;
    }
    return 0;
}

/* Checks one array by itself. `measuring`: data is not looked at. */
static attn_status attn__check(const attn_array *a, int min_dims, int max_dims, unsigned dtypes, int output,
                               int measuring, attn__view *v)
{
    static const size_t ones[ATTN_MAX_DIMS] = {1, 1, 1, 1, 1, 1, 1, 1};
    size_t below = 0, above = 0, count = 1, bits = 0;
    ptrdiff_t strided = 0;
    int first;
    if (!a) return ATTN_ERR_NULL;
    if (a->ndim < min_dims || a->ndim > max_dims) return ATTN_ERR_RANK;
    if ((unsigned)a->dtype >= ATTN_DTYPE_COUNT || !(dtypes >> a->dtype & 1)) return ATTN_ERR_DTYPE;
    v->data = (char *)a->data;
    v->dtype = a->dtype;
    v->size = (ptrdiff_t)attn_dtype_size(a->dtype);
    if (a->dtype == ATTN_Q8_0 && a->shape[a->ndim - 1] % ATTN__Q8_BLOCK) return ATTN_ERR_BLOCK;
    v->low = v->high = 0;
    first = ATTN_MAX_DIMS - a->ndim;
    attn__memcpy(v->shape, ones, sizeof ones);
    attn__memset(v->stride, 0, sizeof v->stride);
    for (int i = ATTN_MAX_DIMS - 1; i >= first; i--) { /* strides as if none were given */
        const size_t n = v->shape[i] = i == ATTN__D ? attn__stored(a->dtype, a->shape[i - first]) : a->shape[i - first];
        v->stride[i] =
            n == 1 ? 1 : (ptrdiff_t)count; /* one element has no next: nobody multiplies by whatever its stride is */
        strided |= a->stride[i - first];
        bits |= n;
        count *= n;
    }
    if (bits >> (a->ndim > 4 ? sizeof bits - 1 : 2 * sizeof bits - 2)) { /* a product of so many bits may not fit */
        const int fits = attn__count(v, &count);
        if (!strided && !fits) return ATTN_ERR_OVERFLOW;
    }
    if (!strided) above = count * (size_t)v->size;
    else if (count) {
        const attn_status status = attn__reach(a, v, &below, &above);
        if (status) return status;
        if (output && attn__overlaps_itself(v)) return ATTN_ERR_STRIDE;
    }
    if (!count) { /* no element has an address: keep arithmetic on it defined */
        static const double nothing = 0;
        v->data = (char *)(uintptr_t)&nothing;
        attn__memset(v->stride, 0, sizeof v->stride);
        return ATTN_OK;
    }
    if (measuring) return ATTN_OK;
    if (!a->data) return ATTN_ERR_NULL;
    if ((uintptr_t)a->data & ((uintptr_t)(v->size & -v->size) - 1)) return ATTN_ERR_ALIGN;
    v->low = (uintptr_t)a->data - below;
    v->high = (uintptr_t)a->data + above;
    return ATTN_OK;
}

/* Absent arrays have no data and no dimensions. */
static int attn__present(const attn_array *a) { return a->ndim > 0 || a->data; }

/* How far one gets by the steps of two arrays: n of them, which ascend, each at most so often. */
typedef struct attn__steps {
    uint64_t step[2 * ATTN_MAX_DIMS], most[2 * ATTN_MAX_DIMS];
    uint64_t reach[2 * ATTN_MAX_DIMS + 1], divisor[2 * ATTN_MAX_DIMS + 1]; /* all of the first n; what divides them */
    int n, tries;
} attn__steps;

/* Do some of the first n steps add up to within [low, high]? Yes, too, after too many tries. */
static int attn__adds_up(attn__steps *s, int n, uint64_t low, uint64_t high)
{
    uint64_t often;
    if (!low || --s->tries < 0) return 1;
    if (low > s->reach[n] || high / s->divisor[n] * s->divisor[n] < low) return 0;
    n--;
    often = low > s->reach[n] ? (low - s->reach[n] - 1) / s->step[n] + 1 : 0;
    for (; often <= s->most[n] && often * s->step[n] <= high; often++) {
        const uint64_t sum = often * s->step[n];
        if (attn__adds_up(s, n, low > sum ? low - sum : 0, high - sum)) return 1;
    }
    return 0;
}

static void attn__add_step(attn__steps *s, uint64_t step, uint64_t most)
{
    uint64_t a = step, b = s->divisor[s->n];
    s->step[s->n] = step;
    s->most[s->n] = most;
    s->reach[s->n + 1] = s->reach[s->n] + step * most;
    while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    s->divisor[++s->n] = a;
}

/* Bytes from one element to the next along an axis, 0 if there is none. */
static uint64_t attn__step(const attn__view *v, int axis)
{
    return v->shape[axis] > 1 ? (uint64_t)attn__distance(v->stride[axis]) * (uint64_t)v->size : 0;
}

/* Do two views whose spans overlap have a byte in common? Steps no longer than a run of bytes make a longer run of
 * them. By the others one gets from the first run of `a` to any other, and from any of b to its last: do some of
 * them add up to what is between those two, give or take the length of a run? */
ATTN__NOINLINE static int attn__meet(const attn__view *a, const attn__view *b)
{
    const uint64_t high = (uint64_t)(b->high - a->low) - 1;
    uint64_t run[2], last = 0, slack;
    attn__steps s;
    run[0] = (uint64_t)a->size, run[1] = (uint64_t)b->size;
    s.reach[0] = s.divisor[0] = 0;
    s.n = 0;
    s.tries = ATTN__ALIAS_TRIES;
    for (;;) {
        uint64_t step = (uint64_t)-1, most = 0;
        for (int i = 0; i < 2 * ATTN_MAX_DIMS; i++) {
            const uint64_t x = attn__step(i % 2 ? b : a, i / 2);
            if (x > last && x < step) step = x;
        }
        if (step == (uint64_t)-1) break;
        for (int i = 0; i < 2 * ATTN_MAX_DIMS; i++) {
            const attn__view *v = i % 2 ? b : a;
            if (attn__step(v, i / 2) != step) continue;
            if (step <= run[i % 2]) run[i % 2] += step * (v->shape[i / 2] - 1);
            else most += v->shape[i / 2] - 1;
        }
        if (most) attn__add_step(&s, step, most);
        last = step;
    }
    slack = run[0] + run[1] - 2;
    return attn__adds_up(&s, s.n, high > slack ? high - slack : 0, high);
}

ATTN__NOINLINE static int attn__apart(const attn__view *a, const attn__view *b)
{
    return a->high <= b->low || b->high <= a->low || a->low == a->high || b->low == b->high || !attn__meet(a, b);
}
/* Memory that is not an array, for attn__apart: an element of n bytes. */
static attn__view attn__bytes(const void *data, size_t n)
{
    attn__view v;
    attn__memset(&v, 0, sizeof v);
    v.size = (ptrdiff_t)n;
    v.low = (uintptr_t)data;
    v.high = v.low + n;
    return v;
}

/* The element at these places of the last four dimensions. */
ATTN__INLINE char *attn__at(const attn__view *v, size_t b, size_t h, size_t s, size_t d)
{
    return v->data + ((ptrdiff_t)b * v->stride[ATTN__B] + (ptrdiff_t)h * v->stride[ATTN__H] +
                      (ptrdiff_t)s * v->stride[ATTN__S] + (ptrdiff_t)d * v->stride[ATTN__D]) *
                         v->size;
}
/* Bytes from a row to the n-th behind it, for what is fetched: it may be beyond the array. */
static uintptr_t attn__rows_ahead(const attn__view *v, size_t n)
{
    return n * (uintptr_t)v->stride[ATTN__S] * (uintptr_t)v->size;
}
static double attn__element(const attn__view *v, size_t s, size_t d)
{
    return attn__get(attn__at(v, 0, 0, s, d), v->dtype);
}
static int64_t attn__integer_in(const attn__view *v, size_t h, size_t s, size_t d)
{
    const void *at = attn__at(v, 0, h, s, d);
    return v->dtype == ATTN_I64 ? *(const int64_t *)at : (int64_t) * (const int32_t *)at;
}
static int64_t attn__integer(const attn__view *v, size_t s, size_t d) { return attn__integer_in(v, 0, s, d); }
static size_t attn__length(const attn__view *v, size_t i) { return (size_t)attn__integer(v, 0, i); }

/* How many pieces of no more than `each`; a division, which takes as long as ten additions, only where there are
 * several. */
ATTN__INLINE size_t attn__pieces(size_t n, size_t each) { return n <= each ? n > 0 : (n - 1) / each + 1; }

/* ------------------------------------------------------------- execution -- */

/* Workspace as a sequence of pieces, each aligned to 64 bytes; reserve tells where
 * one begins. With base NULL it only measures. */
typedef struct attn__arena {
    char *base;
    size_t taken;
    int overflow, fits; /* fits: sizes are such that there is no overflow to look for */
} attn__arena;
ATTN__INLINE size_t attn__reserve(attn__arena *arena, size_t count, size_t size)
{
    const size_t at = arena->taken;
    size_t bytes;
    if (arena->fits) arena->taken += attn__round_up(count * size, 64);
    else if (!attn__multiply_size(count, size, &bytes) || bytes > (size_t)-1 / 4 || at > (size_t)-1 / 4)
        arena->overflow = 1;
    else arena->taken += attn__round_up(bytes, 64);
    return at;
}
ATTN__INLINE void *attn__take(attn__arena *arena, size_t count, size_t size)
{
    const size_t at = attn__reserve(arena, count, size);
    return arena->base ? arena->base + at : NULL;
}

static int attn__measuring(const attn_exec *exec) { return exec && exec->query; }
static int attn__shared(const attn_exec *exec) { return exec && exec->shares > 1; }
static int attn__first_share(const attn_exec *exec) { return !attn__shared(exec) || exec->share == 0; }
/* Tells what a status is about, if that is wanted. */
ATTN__NOINLINE static attn_status attn__about(const attn_exec *exec, const char *name, attn_status status)
{
    if (exec && exec->argument) *exec->argument = name;
    return status;
}

/* Workspace: the caller's, or our own until it is released. */
typedef struct attn__memory {
    char *base; /* aligned to 64 */
    void *own;
} attn__memory;

/* `bytes` of it; where only the size was asked for, it is stored, and *measured set. */
static attn_status attn__claim(const attn_exec *exec, size_t bytes, attn__memory *memory, int *measured)
{
    char *from = exec ? (char *)exec->workspace : NULL;
    memory->base = NULL;
    memory->own = NULL;
    *measured = attn__measuring(exec);
    if (bytes > (size_t)-1 / 2 - 64) return ATTN_ERR_OVERFLOW;
    if (bytes) bytes += 63; /* to align what there is */
    if (*measured) *exec->query = bytes;
    if (*measured || !bytes) return ATTN_OK;
#if defined(ATTN_MALLOC) && !defined(ATTN_NO_MALLOC)
    if (!exec || (!from && exec->workspace_size == 0 && exec->shares < 2)) {
        from = (char *)(memory->own = ATTN_MALLOC(bytes));
        if (!from) return ATTN_ERR_MEMORY;
    } else
#endif
        if (!from || exec->workspace_size < bytes)
        return attn__about(exec, "workspace", ATTN_ERR_WORKSPACE);
    memory->base = from + (64 - (uintptr_t)from % 64) % 64;
    return ATTN_OK;
}
static void attn__release(const attn__memory *memory)
{
#if defined(ATTN_MALLOC) && !defined(ATTN_NO_MALLOC)
    if (memory->own) ATTN_FREE(memory->own);
#else
    (void)memory;
#endif
}

/* What attn_exec comes to. */
typedef struct attn__run {
    const attn__kernel *kernel;
    size_t workers;
    char *workspace;
    size_t each; /* bytes for one worker */
    attn__memory memory;
    const attn_exec *exec;
} attn__run;

/* The path for scores or products of so many columns. */
static attn_status attn__path_of(const attn_exec *exec, size_t cols, attn_path *path)
{
    *path = exec ? exec->path : ATTN_PATH_AUTO;
    if (attn__shared(exec) && (exec->share >= exec->shares || exec->parallel_for))
        return attn__about(exec, exec->parallel_for ? "parallel_for" : "share", ATTN_ERR_PARAMETER);
    if ((unsigned)*path >= ATTN_PATH_COUNT) return attn__about(exec, "path", ATTN_ERR_PATH);
    if (*path != ATTN_PATH_AUTO) return attn_path_supported(*path) ? ATTN_OK : attn__about(exec, "path", ATTN_ERR_PATH);
    *path = attn_best_path(); /* which is supported */
    /* half of a panel of 512-bit vectors would be empty */
    if (*path == ATTN_PATH_AVX512 && cols <= ATTN__NR_MAX / 2 && attn_path_native(ATTN_PATH_AVX2))
        *path = ATTN_PATH_AVX2;
    return ATTN_OK;
}
static size_t attn__workers(const attn_exec *exec)
{
    const size_t limit = (size_t)-1 / 4; /* a workspace for so many is refused, and twice as many can be counted */
    if (attn__shared(exec)) return attn__min(exec->shares, limit);
    return exec && exec->parallel_for && exec->num_workers ? attn__min(exec->num_workers, limit) : 1;
}

/* Workspace for `each` bytes a worker. */
static attn_status attn__prepare(const attn_exec *exec, const attn__kernel *kernel, size_t each, attn__run *run,
                                 int *measured)
{
    attn_status status;
    size_t total;
    run->kernel = kernel;
    run->workers = attn__workers(exec);
    run->each = each;
    run->exec = exec;
    *measured = 0;
    if (!attn__multiply_size(each, run->workers, &total)) return ATTN_ERR_OVERFLOW;
    status = attn__claim(exec, total, &run->memory, measured);
    run->workspace = run->memory.base;
    return status;
}

static void attn__parallel(const attn__run *run, size_t count, attn_task task, void *arg)
{
    const attn_exec *exec = run->exec;
    const int shared = attn__shared(exec);
    const size_t first = shared ? exec->share : 0, step = shared ? exec->shares : 1;
    if (!shared && exec && exec->parallel_for && run->workers > 1 && count > 1) {
        exec->parallel_for(exec->parallel_context, count, task, arg);
        return;
    }
    for (size_t i = first; i < count; i += step) task(arg, i, first);
    if (shared && exec->barrier) exec->barrier(exec->parallel_context);
}

/* States of blocks of keys are joined along the binary tree over block numbers, whoever computed
 * them: this is the stack of those that wait, in order, for what they join next. */
#define ATTN__TREE_SLOTS 72 /* more than a tree over 2^64 blocks has levels */
typedef struct attn__tree {
    size_t depth;
    size_t last[ATTN__TREE_SLOTS]; /* the last block in each */
} attn__tree;
#define ATTN__TREE_END ((size_t)-1) /* no block meets it before all are joined */

/* Level of the smallest subtree of blocks that holds both. */
static int attn__level(size_t a, size_t b)
{
    int level = 0;
    for (size_t x = a ^ b; x; x >>= 1) level++;
    return level;
}
/* Do the last two meet each other before they meet `block`? Then they are one from now on: the caller
 * joins slot `depth` to the one before. */
ATTN__INLINE int attn__tree_joins(attn__tree *tree, size_t block)
{
    size_t *last = tree->last + tree->depth, each_other, next;
    if (tree->depth < 2) return 0;
    each_other = last[-2] ^ last[-1];
    next = last[-1] ^ block;
    if (each_other >= next) return 0; /* the highest bit tells the level, and of three in order it is never the same */
    last[-2] = last[-1];
    tree->depth--;
    return 1;
}
ATTN__INLINE size_t attn__tree_push(attn__tree *tree, size_t block)
{
    tree->last[tree->depth] = block;
    return tree->depth++;
}

/* ---------------------------------------------------------------- matmul -- */

/* One C = (scale A) B among the batches of a call. */
typedef struct attn__gemm {
    attn__run run;
    attn__view a, b, c;
    size_t m, n, k, batches, row_blocks, column_blocks;
    size_t rows;            /* rows of one task, which packs its part of b ... */
    size_t block;           /* ... and columns */
    size_t direct_cols;     /* columns for which b is used where it lies: for few rows ... */
    int turned;             /* ... of it, or columns, whichever are contiguous */
    attn__column_kind kind; /* then */
    double scale;
} attn__gemm;

/* Rows of a at 0, of c and a block of b at these places; TILE_STRIDE elements are whole cache lines. */
static size_t attn__gemm_workspace(const attn__kernel *kernel, size_t n, size_t k, size_t *c_at, size_t *b_at)
{
    const size_t row = ATTN__TILE_STRIDE * kernel->size;
    *c_at = attn__max(kernel->mr, kernel->few_rows) * row;
    *b_at = 2 * *c_at;
    return *b_at +
           attn__round_up(
               attn__round_up(attn__min(n, ATTN__BLOCK), kernel->nr) * attn__min(k, ATTN__BLOCK) * kernel->size, 64);
}

/* Rows [r0, r1) of scale * a, columns [k0, k0 + depth). */
static void attn__gemm_rows(const attn__gemm *g, const attn__view *a, size_t r0, size_t r1, size_t k0, size_t depth,
                            void *tile)
{
    const attn__kernel *kernel = g->run.kernel;
    for (size_t r = r0; r < r1; r++) {
        char *row = (char *)tile + (r - r0) * ATTN__TILE_STRIDE * kernel->size;
        kernel->load(row, attn__at(a, 0, 0, r, k0), a->dtype, a->stride[ATTN__D], depth);
        if (g->scale < 1 || g->scale > 1)
            kernel->scale(row, row, depth, g->scale); /* the one rounding before the chain */
    }
}

/* Few rows of a, columns [j0, j0 + n) of b, each contiguous; no more than a tile has. */
ATTN__NOINLINE static void attn__gemm_turned(const attn__gemm *g, const attn__view *a, const attn__view *b,
                                             const attn__view *c, size_t i0, size_t i1, size_t j0, size_t n,
                                             char *a_tile, char *c_tile)
{
    const attn__kernel *kernel = g->run.kernel;
    for (size_t k0 = 0; k0 < g->k; k0 += ATTN__BLOCK) {
        const size_t depth = attn__min(g->k - k0, ATTN__BLOCK);
        attn__gemm_rows(g, a, i0, i1, k0, depth, a_tile);
        kernel->dot_keys(i1 - i0, n, depth, a_tile, attn__at(b, 0, 0, k0, j0), b->dtype, b->stride[ATTN__D], g->kind,
                         c_tile, k0 != 0);
    }
    for (size_t r = i0; r < i1; r++)
        kernel->store(attn__at(c, 0, 0, r, j0), c->dtype, c->stride[ATTN__D],
                      c_tile + (r - i0) * ATTN__TILE_STRIDE * kernel->size, n);
}

static void attn__gemm_task(void *arg, size_t index, size_t worker)
{
    const attn__gemm *g = (const attn__gemm *)arg;
    const attn__kernel *kernel = g->run.kernel;
    const size_t es = kernel->size, row_size = ATTN__TILE_STRIDE * es;
    attn__view a = g->a, b = g->b, c = g->c;
    char *a_tile = g->run.workspace + worker * g->run.each, *b_block, *c_tile;
    size_t c_at, b_at, j0 = index % g->column_blocks * g->block, n = attn__min(g->n - j0, g->block), i0, i1, batch;
    int in_place;

    batch = index / g->column_blocks;
    i0 = batch % g->row_blocks * g->rows;
    i1 = attn__min(g->m, i0 + g->rows);
    batch /= g->row_blocks;
    attn__gemm_workspace(kernel, g->n, g->k, &c_at, &b_at);
    c_tile = a_tile + c_at;
    b_block = a_tile + b_at;
    for (int dim = ATTN__H; dim >= 0; dim--) {
        const ptrdiff_t at = (ptrdiff_t)(batch % c.shape[dim]);
        batch /= c.shape[dim];
        a.data += at * a.stride[dim] * a.size;
        b.data += at * b.stride[dim] * b.size;
        c.data += at * c.stride[dim] * c.size;
    }
    if (j0 < g->direct_cols) { /* a few rows of b at a time, in their order in memory */
        const size_t width = attn__min(g->direct_cols - j0, n);
        if (g->turned) attn__gemm_turned(g, &a, &b, &c, i0, i1, j0, width, a_tile, c_tile);
        for (size_t k0 = 0; !g->turned && (k0 < g->k || k0 == 0); k0 += ATTN__BLOCK) {
            const size_t depth = attn__min(g->k - k0, ATTN__BLOCK);
            attn__gemm_rows(g, &a, i0, i1, k0, depth, a_tile);
            for (size_t t = 0; t < depth || t == 0; t += ATTN__DIRECT_ROWS)
                kernel->add_values(i1 - i0, width, attn__min(depth - t, ATTN__DIRECT_ROWS), a_tile + t * es,
                                   attn__at(&b, 0, 0, k0 + t, j0), b.dtype, (size_t)b.stride[ATTN__S],
                                   attn__rows_ahead(&b, ATTN__ROWS_AHEAD), attn__at(&c, 0, 0, i0, j0),
                                   (size_t)c.stride[ATTN__S], k0 + t > 0);
        }
        j0 += width;
        n -= width;
        if (n == 0) return;
    }
    in_place = c.stride[ATTN__D] == 1 && c.stride[ATTN__S] >= 0 && n % (kernel->nr / 2) == 0;
    for (size_t k0 = 0; k0 < g->k || k0 == 0; k0 += ATTN__BLOCK) {
        const size_t depth = attn__min(g->k - k0, ATTN__BLOCK), panel = depth * kernel->nr;
        size_t rows;
        kernel->pack(b_block, attn__at(&b, 0, 0, k0, j0), b.dtype, n, depth, b.stride[ATTN__D], b.stride[ATTN__S]);
        for (size_t r0 = i0; r0 < i1; r0 += rows) {
            rows = attn__tile_rows(i1 - r0, kernel->mr);
            attn__gemm_rows(g, &a, r0, r0 + rows, k0, depth, a_tile);
            if (in_place) {
                kernel->multiply(rows, n, depth, a_tile, b_block, kernel->nr, panel, attn__at(&c, 0, 0, r0, j0),
                                 (size_t)c.stride[ATTN__S], k0 != 0);
                continue;
            }
            for (size_t r = 0; r < rows && k0; r++)
                kernel->load(c_tile + r * row_size, attn__at(&c, 0, 0, r0 + r, j0), c.dtype, c.stride[ATTN__D], n);
            kernel->multiply(rows, n, depth, a_tile, b_block, kernel->nr, panel, c_tile, ATTN__TILE_STRIDE, k0 != 0);
            for (size_t r = 0; r < rows; r++)
                kernel->store(attn__at(&c, 0, 0, r0 + r, j0), c.dtype, c.stride[ATTN__D], c_tile + r * row_size, n);
        }
    }
}

/* Shapes and strides of a product: leading dimensions agree or are 1, and broadcast. */
static attn_status attn__gemm_shape(attn__gemm *g, size_t ndim)
{
    g->m = g->a.shape[ATTN__S];
    g->k = g->a.shape[ATTN__D];
    g->n = g->b.shape[ATTN__D];
    if (g->b.shape[ATTN__S] != g->k || g->c.shape[ATTN__S] != g->m || g->c.shape[ATTN__D] != g->n)
        return ATTN_ERR_SHAPE;
    g->batches = 1;
    for (size_t i = ATTN__S; i-- > ATTN_MAX_DIMS - ndim;) {
        const size_t n = g->a.shape[i] == 1 ? g->b.shape[i] : g->a.shape[i];
        if (g->c.shape[i] != n || (g->b.shape[i] != n && g->b.shape[i] != 1)) return ATTN_ERR_SHAPE;
        if (g->a.shape[i] != n) g->a.stride[i] = 0;
        if (g->b.shape[i] != n) g->b.stride[i] = 0;
        g->batches *= n; /* no overflow where c has elements: its size was checked */
    }
    return ATTN_OK;
}

/* Contiguous rows one after the other, of which b's and c's do not go back? */
static int attn__gemm_plain(const attn__gemm *g)
{
    return g->b.stride[ATTN__D] == 1 && g->c.stride[ATTN__D] == 1 && g->b.stride[ATTN__S] >= 0 &&
           g->c.stride[ATTN__S] >= 0;
}

/* Do so many elements come from memory, at least where other data is used between two calls? 2: also where none is. */
static int attn__beyond_cache(ptrdiff_t size, size_t rows, size_t cols, size_t count)
{
    const double bytes = (double)size * (double)rows * (double)cols * (double)count;
    return (bytes > ATTN__CACHE_BYTES) + (bytes > ATTN__LAST_CACHE_BYTES);
}

/* Are the columns of b contiguous, and not its rows? */
static int attn__gemm_stands(const attn__gemm *g) { return g->b.stride[ATTN__S] == 1 && g->k > 1; }

static void attn__transpose_view(attn__view *v)
{
    const size_t shape = v->shape[ATTN__S];
    const ptrdiff_t stride = v->stride[ATTN__S];
    v->shape[ATTN__S] = v->shape[ATTN__D], v->shape[ATTN__D] = shape;
    v->stride[ATTN__S] = v->stride[ATTN__D], v->stride[ATTN__D] = stride;
}
/* A product of few columns with contiguous rows of a is its transposed one, of few rows: a is used where it lies. */
static void attn__gemm_turn(attn__gemm *g)
{
    const attn__view a = g->a;
    g->a = g->b, g->b = a;
    attn__transpose_view(&g->a), attn__transpose_view(&g->b), attn__transpose_view(&g->c);
    g->m = g->c.shape[ATTN__S], g->n = g->c.shape[ATTN__D];
}

/* Is their distance such that lines of 32 crowd the first cache more than those of 16? */
static int attn__gemm_crowds(const attn__gemm *g) { return g->b.stride[ATTN__D] * g->b.size % 2048 == 0; }

/* What is checked and not empty; where in the workspace factors are packed. */
static void attn__gemm_run(attn__gemm *g, size_t c_at, size_t b_at)
{
    const attn__kernel *kernel = g->run.kernel;
    const int alone = !attn__shared(g->run.exec) && g->batches == 1 && g->m <= ATTN__GEMM_ROWS;
    if (alone && g->k <= ATTN__BLOCK && g->n * g->k <= ATTN__L1_ELEMENTS && !(g->scale < 1 || g->scale > 1) &&
        g->a.stride[ATTN__D] == 1 && attn__gemm_plain(g)) {
        kernel->product(g->m, g->n, g->k, g->a.data, g->a.stride[ATTN__S], g->b.data, (size_t)g->b.stride[ATTN__S],
                        g->c.data, (size_t)g->c.stride[ATTN__S], g->run.workspace, g->run.workspace + c_at,
                        g->run.workspace + b_at);
        return;
    }
    g->block = ATTN__BLOCK;
    g->direct_cols = 0;
    g->turned = attn__gemm_stands(g);
    if (g->m <= kernel->few_rows && (g->turned || attn__gemm_plain(g)))
        g->direct_cols = g->turned ? g->n : g->n / kernel->nr * kernel->nr;
    if (g->direct_cols && !g->turned) {
        g->block =
            attn__round_up(g->n / (g->run.workers > 1 ? 2 * g->run.workers : 1) + 1, ATTN__BLOCK); /* long rows of b */
    }
    g->kind = ATTN__COLUMNS_NEAR;
    if (attn__beyond_cache(g->b.size, g->n, g->k, g->batches))
        g->kind = attn__gemm_crowds(g) ? ATTN__COLUMNS_MANY : ATTN__COLUMNS_LONG;
    g->column_blocks = (g->n + g->block - 1) / g->block;
    g->rows = 4 * ATTN__GEMM_ROWS;
    for (;; g->rows /= 2) { /* as many as leave four tasks for each worker: each copies its columns of b */
        g->row_blocks = attn__pieces(g->m, g->rows);
        if (g->run.workers < 2 || g->rows == ATTN__GEMM_ROWS ||
            g->row_blocks >= attn__pieces(4 * g->run.workers, g->batches * g->column_blocks))
            break;
    }
    attn__parallel(&g->run, g->batches * g->row_blocks * g->column_blocks, attn__gemm_task, g);
}

/* c = (scale a) b, or b transposed; what the caller calls the three. */
ATTN__COLD static attn_status attn__matmul(const attn_array *a, const attn_array *b, int transpose_b, double scale,
                                           const attn_array *c, const char *const *names, const attn_exec *exec)
{
    const attn__kernel *kernel;
    attn__gemm g;
    attn_path path;
    attn_status status;
    size_t ndim, c_at, b_at;
    int measured, narrow, few, measuring = attn__measuring(exec);
    attn__about(exec, NULL, ATTN_OK);
    if (!a || !b || !c) return attn__about(exec, names[!a ? 0 : !b ? 1 : 2], ATTN_ERR_NULL);
    if ((status = attn__check(a, 2, ATTN_MAX_DIMS, ATTN__COMPUTED, ATTN__INPUT, measuring, &g.a)))
        return attn__about(exec, names[0], status);
    if ((status = attn__check(b, 2, ATTN_MAX_DIMS, 1u << a->dtype, ATTN__INPUT, measuring, &g.b)))
        return attn__about(exec, names[1], status);
    if ((status = attn__check(c, 2, ATTN_MAX_DIMS, 1u << a->dtype, ATTN__OUTPUT, measuring, &g.c)))
        return attn__about(exec, names[2], status);
    if (transpose_b) attn__transpose_view(&g.b);
    ndim = attn__max(attn__max((size_t)a->ndim, (size_t)b->ndim), (size_t)c->ndim);
    if ((status = attn__gemm_shape(&g, ndim)))
        return attn__about(exec, names[g.b.shape[ATTN__S] != g.k ? 1 : 2], status);
    if (!attn__apart(&g.c, &g.a) || !attn__apart(&g.c, &g.b)) return attn__about(exec, names[2], ATTN_ERR_ALIAS);
    few = g.n <= 4 && g.m >= 4 * ATTN__FEW_ROWS && g.k >= ATTN__FEW_ROWS && g.a.stride[ATTN__D] == 1 &&
          !(scale < 1 || scale > 1);
    if (few) attn__gemm_turn(&g);
    narrow = g.m <= ATTN__FEW_ROWS && attn__gemm_stands(&g) && attn__gemm_crowds(&g);
    if ((status = attn__path_of(exec, narrow ? 1 : g.n, &path))) return status;
    kernel = attn__kernel_of(path, a->dtype);
    if (few && !kernel->few_rows) attn__gemm_turn(&g), few = 0; /* back */
    status =
        attn__prepare(exec, kernel, attn__gemm_workspace(kernel, few ? 0 : g.n, g.k, &c_at, &b_at), &g.run, &measured);
    if (status || measured) return status;
    g.scale = scale;
    if (g.m && g.n && g.batches) attn__gemm_run(&g, c_at, b_at);
    attn__release(&g.run.memory);
    return ATTN_OK;
}

/* ------------------------------------------------------------- attention -- */

static const attn__range attn__all_keys = {0, (size_t)-1};

/* The arrays of attn_desc, for all that checks them, keeps outputs apart, or takes some of them; outputs last. Name,
 * whether it is needed, the least and most dimensions, element types, and what the last four axes are (members
 * of attn__problem), of which those in the mask at the end (1: the first of the four) may be 1 and broadcast. */
#define ATTN__ARRAYS(X)                                                                                                \
    X(q, 1, 2, 4, ANY_FLOAT, ATTN__INPUT, batch, q_heads, q_len, dim, 0)                                               \
    X(k, 1, 2, 4, CACHED, ATTN__INPUT, kv_batch, kv_heads, kv_rows, k_cols, 0)                                         \
    X(v, 1, 2, 4, CACHED, ATTN__INPUT, kv_batch, kv_heads, kv_rows, v_cols, 0)                                         \
    X(mask, 0, 1, 4, MASK, ATTN__INPUT, batch, q_heads, q_len, mask_cols, 7)                                           \
    X(kv_lens, 0, 1, 1, INTEGER, ATTN__INPUT, one, one, one, seqs, 0)                                                  \
    X(alibi, 0, 1, 2, FLOAT, ATTN__INPUT, one, one, seqs, q_heads, 4)                                                  \
    X(rel_bias, 0, 1, 4, FLOAT, ATTN__INPUT, batch, q_heads, q_len, rel_entries, 7)                                    \
    X(sinks, 0, 1, 1, FLOAT, ATTN__INPUT, one, one, one, q_heads, 0)                                                   \
    X(block_table, 0, 2, 2, INTEGER, ATTN__INPUT, one, one, seqs, pages, 0)                                            \
    X(cu_seqlens_q, 0, 1, 1, INTEGER, ATTN__INPUT, one, one, one, cu_entries, 0)                                       \
    X(cu_seqlens_k, 0, 1, 1, INTEGER, ATTN__INPUT, one, one, one, cu_entries, 0)                                       \
    X(q_bounds, 0, 2, 3, INTEGER, ATTN__INPUT, one, batch, q_len, bounds, 2)                                           \
    X(k_scale, 0, 1, 4, SCALE, ATTN__INPUT, kv_batch, kv_heads, kv_rows, k_groups, 15)                                 \
    X(v_scale, 0, 1, 4, SCALE, ATTN__INPUT, kv_batch, kv_heads, kv_rows, v_groups, 15)                                 \
    X(k_zero, 0, 1, 4, SCALE, ATTN__INPUT, kv_batch, kv_heads, kv_rows, k_groups, 15)                                  \
    X(v_zero, 0, 1, 4, SCALE, ATTN__INPUT, kv_batch, kv_heads, kv_rows, v_groups, 15)                                  \
    X(out, 1, 2, 4, FLOAT, ATTN__OUTPUT, batch, q_heads, q_len, dim_v, 0)                                              \
    X(lse, 0, 1, 3, FLOAT, ATTN__OUTPUT, one, batch, q_heads, q_len, 0)                                                \
    X(scores, 0, 2, 4, FLOAT, ATTN__OUTPUT, batch, scores_heads, scores_queries, kv_len, 0)                            \
    X(colsum, 0, 1, 3, COMPUTED, ATTN__OUTPUT, one, kv_seqs, q_heads, kv_len, 0)                                       \
    X(rowmax, 0, 1, 3, FLOAT, ATTN__OUTPUT, one, batch, q_heads, q_len, 0)                                             \
    X(rowsum, 0, 1, 3, FLOAT, ATTN__OUTPUT, one, batch, q_heads, q_len, 0)

enum {
#define ATTN__X(name, ...) ATTN__ARRAY_##name,
    ATTN__ARRAYS(ATTN__X)
#undef ATTN__X
        ATTN__ARRAY_COUNT
};

/* One worker's scratch: what, and how much of it (a product of two). Slots are states on the stack of the tree of
 * blocks. */
#define ATTN__SCRATCH(X)                                                                                               \
    X(attn__ranges_key, ranges_key, 1, 1) /* first of all, see attn__ready */                                          \
    X(attn__row, row, p->rows, 1) /* what follows may be room for rows that are done again, see attn__lay_out */       \
    /* scaled queries: (512 of dim a chunk, rows, TILE_STRIDE), or (panels, dim, nr) */                                \
    X(char, q, p->few ? es * p->chunks *ATTN__TILE_STRIDE : es * p->dim,                                               \
      p->few ? p->rows : attn__round_up(p->rows, nr))                                                                  \
    /* keys of a block: a panel, or (128 of dim a piece, keys, KEY_STRIDE) */                                          \
    X(char, k, es *keys, p->few ? p->dim : attn__pieces(p->dim, ATTN__KEY_DEPTH) * ATTN__KEY_STRIDE)                   \
    /* values of a block: panels (also of a small problem), or (keys, dim_v) */                                        \
    X(char, v, p->few || p->v_copied || p->dim_v % (nr / 2) || p->v.stride[ATTN__S] < 0 ? es * keys : 0,               \
      attn__round_up(p->width, nr))                                                                                    \
    X(char, rows, p->gather || p->few ? es * keys : 0, attn__max(p->dim, p->dim_v)) /* gathered keys or values */      \
    /* scores, then weights: (mr, TILE_STRIDE), or (keys, nr) */                                                       \
    X(char, tile, es,                                                                                                  \
      attn__max(attn__max(mr, p->few ? p->rows : 0) * ATTN__TILE_STRIDE, p->few ? 0 : (keys + 4) * nr))                \
    X(char, panel, p->few ? 0 : es *attn__max(nr, mr),                                                                 \
      attn__max(ATTN__TILE_STRIDE, p->dim_v))            /* what is turned, or was */                                  \
    X(char, bias, p->few ? es : 0, ATTN__TILE_STRIDE)    /* what is added to a row of scores */                        \
    X(char, acc, es * p->rows * p->slot_count, p->width) /* (slots, rows, width): sum of weight * v */                 \
    X(double, block_max, p->rows, p->stored_blocks)      /* of weights that are in the score matrix already */         \
    X(double, max, p->rows, p->slot_count)                                                                             \
    X(double, sum, p->rows, p->slot_count)                                                                             \
    X(attn__block_range, ranges, ATTN__MASK_BLOCKS, p->rows)                                                           \
    X(uint64_t, special, p->few ? p->rows + 1 : 0, attn__pieces(p->dim_v, 8)) /* ATTN__SEES_..., a byte a column */    \
    X(char, kinds, p->few ? 2 * es : 0, attn__round_up(p->dim_v, 16))         /* as set_aside gives them */            \
    /* scores of float64 beyond its range: of scaled queries and keys, see attn__scaled */                             \
    X(double, scaled_q, p->few && p->q.dtype == ATTN_F64 ? p->chunks * ATTN__TILE_STRIDE : 0, p->rows)                 \
    X(double, scaled_tile, p->few && p->q.dtype == ATTN_F64 ? ATTN__TILE_STRIDE : 0,                                   \
      p->rows + 2) /* the last two: a row of scores as they were */

/* Where in a worker's workspace each begins, and its size. */
typedef struct attn__layout {
#define ATTN__X(type, name, a, b) size_t name;
    ATTN__SCRATCH(ATTN__X)
#undef ATTN__X
    size_t size;
} attn__layout;

typedef struct attn__problem {
    attn__run run;
    attn__layout layout;
    const attn_desc *desc;
#define ATTN__X(name, ...) attn__view name;
    ATTN__ARRAYS(ATTN__X)
#undef ATTN__X
    size_t one, batch, q_heads, kv_heads, q_len, kv_len, dim, dim_v;
    size_t k_cols, v_cols, k_groups, v_groups; /* what a row of k or v has: elements, or blocks, and scales */
    size_t kv_batch, kv_rows, pages;           /* of k and v as they lie: of pages, if there are any */
    size_t cu_entries;                         /* packed sequences, and one */
    size_t bounds;                             /* of each query: two for an interval */
    size_t seqs, kv_seqs;                      /* batches, or packed sequences; 1 if their keys are packed, too */
    size_t arrays;                             /* how many are given ... */
    unsigned char given[ATTN__ARRAY_COUNT];    /* ... and which, as a list ... */
    unsigned has;                              /* ... and as bits, see ATTN__HAS */
    size_t scores_heads, scores_queries;
    size_t mask_cols, mask_keys; /* of a row of the mask, as it is stored, and what they are for */
    int64_t mask_end;            /* keys from here on are dropped for want of columns */
    size_t rel_entries;          /* of a row of the relative bias */
    size_t width;                /* dim_v padded to panels */
    size_t kv_begin;
    size_t ring; /* rows that keys take in turn, 0 if none do */
    size_t group, head_chunk, head_chunks, query_block, query_blocks, rows;
    size_t chunks, slot_count, keys; /* keys: packed at most, of one block */
    int gather;                      /* keys and values are copied together before use */
    int one_mask;                    /* one mask for all heads: those of a query are done one after the other */
    int few;                /* so few rows that lanes are keys, and keys and values used where they lie, if they can */
    attn__column_kind kind; /* then: of keys */
    int v_copied; /* otherwise: are values copied together before use? 1: where several panels read them; 2: yes */
    int modified; /* something is added to scores, or some are dropped */
    int careful;  /* it is a copy that does rows again, ATTN__REDO_..., see attn__careful */
    int find;     /* the largest scaled score of each row, ATTN__FOUND, ATTN__FIND_... */
    const attn__kernel *singles, *doubles; /* of the same path */
    size_t stored_blocks; /* of keys, whose weights are stored as they come, and finished when sums are known; or 0 */
    size_t care_at;       /* where in a worker's workspace the room for rows that are done again begins */
    size_t tasks, parts, first_part, part_blocks, part_bytes; /* long keys for few rows: parts of a task */
    char *part_states;
    double scale, softcap;
    int64_t left, right; /* visible distance from p, each -1 if unbounded */
} attn__problem;

/* Is an optional array there? */
#define ATTN__HAS(p, name) ((p)->has >> ATTN__ARRAY_##name & 1)

/* How a row is done again. */
#define ATTN__REDO_CLEAN 1  /* the output is not finite: without the values that are not, which are then put in */
#define ATTN__REDO_DOUBLE 2 /* a score of float32 is not safely finite, or the output still not: in float64 */
#define ATTN__REDO_LIGHT 3  /* sums of float64 overflow: with light weights */
#define ATTN__REDO_SCALED 4 /* a score of float64 is not safely finite: queries and keys are scaled, too */
#define ATTN__REDO_BOTH 5

/* The largest scaled score of a row, which decides what has a weight. */
#define ATTN__FOUND 0
#define ATTN__FIND_FIRST 1   /* nothing else is done: there are several blocks of keys */
#define ATTN__FIND_AT_ONCE 2 /* and then it decides */
/* Or no scores are needed: */
#define ATTN__WEIGHED 3      /* weights are there, for other sums of values */
#define ATTN__LOOK_SPECIAL 4 /* is a value that meets weights not finite, seen or not? */
#define ATTN__LOOK_LARGE 5   /* who sees what of those, and is another so large that sums may overflow? */

static int attn__needs_scores(const attn__problem *p) { return p->find < ATTN__WEIGHED; }

/* What is known of one row. */
typedef struct attn__row {
    attn__range keys;         /* visible ones, before the mask */
    double factor, max;       /* weight = exp(score - max) * factor */
    double lse, sum;          /* log-sum-exp: lse, and the logarithm of sum if that is not 0 */
    double top;               /* the largest scaled score */
    int exponent;             /* scaled scores are multiples of 2 to the power of it */
    unsigned char not_finite; /* a visible score is not safely finite */
    unsigned char sees;       /* ATTN__SEES_... of the scores, if they are done with care */
    unsigned char redo;       /* what becomes of it, ATTN__REDO_... */
    unsigned char weighed;    /* and its weights are in the score matrix */
} attn__row;

/* Which rows, from which block on and up to which key, `ranges` of a worker are about;
 * count 0 if none. With one mask for all heads they serve the next head, too. */
typedef struct attn__ranges_key {
    size_t b, query, count, block, end;
} attn__ranges_key;

typedef struct attn__scratch {
#define ATTN__X(type, name, a, b) type *name;
    ATTN__SCRATCH(ATTN__X)
#undef ATTN__X
    attn__tree tree;
    int found; /* what attn__look_at_values is to find */
} attn__scratch;

/* Rows that are computed together: row r is query `query + r / heads` of head
 * `head + r % heads`; all read one KV head. Keys are named by position. */
typedef struct attn__rows {
    size_t b, head, heads, kv_head, query, count;
    size_t q_base, k_base;  /* rows before this sequence, when packed */
    size_t q_len, kv_total; /* of this batch or sequence */
    size_t keys, kv_end;    /* so many are in its arrays; [kv_begin, kv_end) of them count, all or a part of kv_total */
    size_t mask_key;        /* that of the mask's first column: before 0 it wraps around ... */
    size_t mask_from;       /* ... and the first that has a column: those before are open */
} attn__rows;

static size_t attn__take_2d(attn__arena *arena, size_t a, size_t b)
{
    size_t n;
    if (arena->fits) return a * b;
    if (!attn__multiply_size(a, b, &n)) arena->overflow = 1;
    return n;
}
static attn_status attn__scratch_layout(const attn__problem *p, size_t es, size_t mr, size_t nr, size_t step,
                                        attn__layout *l)
{
    const size_t keys = p->few ? step : p->keys;
    attn__arena arena = {NULL, 0, 0, 0};
    arena.fits = sizeof(size_t) > 4 && (p->dim | p->dim_v) >> 16 == 0; /* rows, slots and keys come to less than 2^24 */
#define ATTN__X(type, name, a, b) l->name = attn__reserve(&arena, attn__take_2d(&arena, a, b), sizeof(type));
    ATTN__SCRATCH(ATTN__X)
#undef ATTN__X
    l->size = arena.taken;
    return arena.overflow ? ATTN_ERR_OVERFLOW : ATTN_OK;
}
static void attn__scratch_at(const attn__layout *l, char *base, attn__scratch *s)
{
#define ATTN__X(type, name, a, b) s->name = (type *)(void *)(base + l->name);
    ATTN__SCRATCH(ATTN__X)
#undef ATTN__X
}
static void attn__scratch_of(const attn__problem *p, size_t worker, attn__scratch *s)
{
    attn__scratch_at(&p->layout, p->run.workspace + worker * p->run.each, s);
}

/* ---- rows and keys ---- */

/* What batch or sequence b has of queries and keys. */
static void attn__take_sequence(const attn__problem *p, size_t b, attn__rows *r)
{
    r->b = b;
    r->q_base = r->k_base = 0;
    r->q_len = p->q_len;
    r->keys = p->kv_len;
    if (ATTN__HAS(p, cu_seqlens_q)) {
        r->q_base = attn__length(&p->cu_seqlens_q, b);
        r->q_len = attn__length(&p->cu_seqlens_q, b + 1) - r->q_base;
    }
    if (ATTN__HAS(p, cu_seqlens_k)) {
        r->k_base = attn__length(&p->cu_seqlens_k, b);
        r->keys = attn__length(&p->cu_seqlens_k, b + 1) - r->k_base;
    }
    r->kv_end = p->kv_begin + r->keys;
    r->kv_total = ATTN__HAS(p, kv_lens) ? attn__length(&p->kv_lens, b) : r->kv_end;
    r->kv_end = p->ring ? r->kv_total : attn__min(r->kv_end, r->kv_total);
    r->mask_key = r->mask_from = 0;
    if (p->desc->mask_place == ATTN_MASK_ALL) r->mask_key = p->kv_begin - r->k_base;
    else if (p->desc->mask_place == ATTN_MASK_TAIL && ATTN__HAS(p, mask)) {
        r->mask_key = r->kv_total - p->mask_keys;
        r->mask_from = r->kv_total < p->mask_keys ? 0 : r->mask_key;
    }
}
static size_t attn__head_of(const attn__rows *rows, size_t r)
{
    return rows->heads == 1 ? rows->head : rows->head + r % rows->heads;
}
static size_t attn__query_of(const attn__rows *rows, size_t r)
{
    return rows->heads == 1 ? rows->query + r : rows->query + r / rows->heads;
}
/* At most `limit` rows among which is r; the first of them is *start. */
static attn__rows attn__window(const attn__rows *rows, size_t r, size_t limit, size_t *start)
{
    attn__rows window = *rows;
    window.query = attn__query_of(rows, r);
    if (rows->heads <= limit) {
        *start = r - r % rows->heads;
        limit -= limit % rows->heads;
    } else { /* some heads of one query */
        *start = r;
        window.head = attn__head_of(rows, r);
        window.heads = limit = attn__min(limit, rows->heads - r % rows->heads);
    }
    window.count = attn__min(limit, rows->count - *start);
    return window;
}

/* The row of a ring in which a position lies, those below `capacity` in that of their number. Not inlined, as what asks
 * for places is, where there are no rings. */
ATTN__NOINLINE static size_t attn__ring_row(size_t position, size_t capacity, size_t ring)
{
    return position < capacity ? position : capacity - ring + (position - (capacity - ring)) % ring;
}
/* Keys whose rows were taken by later ones, if any. */
static attn__range attn__gone(const attn__problem *p, const attn__rows *rows)
{
    attn__range gone = {p->kv_rows - p->ring, attn__max(rows->kv_total, p->kv_rows) - p->ring};
    return gone;
}

/* Row i of q or out, element d of key or value j, the mask of row i and key j (of ATTN_BIT: the byte of that column),
 * if that has one. */
static char *attn__query_at(const attn__view *v, const attn__rows *rows, size_t h, size_t i)
{
    return attn__at(v, rows->b, h, rows->q_base + i, 0);
}
static char *attn__key_at(const attn__problem *p, const attn__view *v, const attn__rows *rows, size_t j, size_t d)
{
    size_t page;
    j -= p->kv_begin;
    if (p->ring) j = attn__ring_row(j, p->kv_rows, p->ring);
    if (!ATTN__HAS(p, block_table)) return attn__at(v, rows->b, rows->kv_head, rows->k_base + j, d);
    page = (size_t)attn__integer(&p->block_table, rows->b, j / p->kv_rows);
    if (page >= p->kv_batch) page = 0; /* beside what rows see, in the same tile: any memory will do */
    return attn__at(v, page, rows->kv_head, j % p->kv_rows, d);
}
/* How many of keys [j, to) lie where j does: all, or those on its page, or up to the last row of a ring. */
static size_t attn__together(const attn__problem *p, size_t j, size_t to)
{
    if (p->ring) return attn__min(to - j, p->kv_rows - attn__ring_row(j, p->kv_rows, p->ring));
    return ATTN__HAS(p, block_table) ? attn__min(to - j, p->kv_rows - (j - p->kv_begin) % p->kv_rows) : to - j;
}
static int attn__scattered(const attn__problem *p) { return ATTN__HAS(p, block_table) || p->ring; }
/* Bytes from row j of keys or values, which is there, to the n-th behind it, for what is fetched. */
static uintptr_t attn__keys_ahead(const attn__problem *p, const attn__rows *rows, const attn__view *v, const void *at,
                                  size_t j, size_t n)
{
    if (!attn__scattered(p) || j + n >= rows->kv_end) return attn__rows_ahead(v, n);
    return (uintptr_t)attn__key_at(p, v, rows, j + n, 0) - (uintptr_t)at;
}
static char *attn__mask_at(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, size_t j)
{
    const size_t column = j - rows->mask_key;
    return attn__at(&p->mask, rows->b, h, rows->q_base + i, p->mask.dtype == ATTN_BIT ? column / 8 : column);
}

/* ---- visibility: by position, then by intervals, then by mask ---- */

/* Where query i stands among the keys. */
static int64_t attn__position(const attn__problem *p, const attn__rows *rows, size_t i)
{
    int64_t offset = 0;
    if (p->desc->align == ATTN_ALIGN_LOWER_RIGHT) offset = (int64_t)rows->kv_total - (int64_t)rows->q_len;
    else if (p->desc->align == ATTN_ALIGN_OFFSET) offset = p->desc->q_offset;
    return (int64_t)i + offset;
}

/* key, which may be far away, or the end of [lo, hi] that is nearest to it. */
static size_t attn__clamp(int64_t key, size_t lo, size_t hi)
{
    if (key < (int64_t)lo) return lo;
    return key > (int64_t)hi ? hi : (size_t)key;
}

/* What interval n of query i has of these keys; hi <= lo if nothing. */
static attn__range attn__interval(const attn__problem *p, const attn__rows *rows, size_t i, size_t n, attn__range keys)
{
    const int64_t begin = attn__integer_in(&p->q_bounds, rows->b, rows->q_base + i, 2 * n),
                  end = attn__integer_in(&p->q_bounds, rows->b, rows->q_base + i, 2 * n + 1);
    const attn__range part = {attn__clamp(begin, keys.lo, keys.hi), attn__clamp(end, keys.lo, keys.hi)};
    return part;
}
/* Cuts keys to what lies between the first and the last that the intervals of query i leave: ATTN__MASK_..., as they
 * would be as a mask. */
static int attn__bounds_range(const attn__problem *p, const attn__rows *rows, size_t i, attn__range *keys)
{
    attn__range left = {keys->lo, keys->lo};
    int mixed = 0;
    for (size_t n = 0; n < p->bounds / 2; n++) {
        const attn__range part = attn__interval(p, rows, i, n, *keys);
        if (part.lo >= part.hi) continue;
        if (left.lo == left.hi) left.lo = left.hi = part.lo;
        mixed |= part.lo > left.hi;
        left.hi = part.hi;
    }
    *keys = left;
    return left.lo == left.hi ? ATTN__MASK_DROPS_ALL : mixed ? ATTN__MASK_MIXED : ATTN__MASK_KEEPS_ALL;
}
static int attn__within_bounds(const attn__problem *p, const attn__rows *rows, size_t i, size_t j)
{
    attn__range key = {j, j + 1};
    return !ATTN__HAS(p, q_bounds) || attn__bounds_range(p, rows, i, &key) != ATTN__MASK_DROPS_ALL;
}

/* The keys of `within` that length, causality, window and the columns of a mask leave to a query: from the first that
 * position `low` sees to the last that `high` sees. */
static attn__range attn__between(const attn__problem *p, const attn__rows *rows, int64_t low, int64_t high,
                                 attn__range within)
{
    int64_t first = (int64_t)p->kv_begin, end = (int64_t)rows->kv_end;
    attn__range keys;
    if (p->left >= 0 && low >= 0 && low - p->left > first) first = low - p->left;
    if (p->right >= 0 && (high < 0 ? high + p->right < end - 1 : p->right < end - 1 - high)) end = high + p->right + 1;
    if (end > p->mask_end) end = p->mask_end;
    if (first >= end) first = end = (int64_t)p->kv_begin;
    keys.lo = attn__max((size_t)first, within.lo);
    keys.hi = attn__min((size_t)end, within.hi);
    if (keys.lo >= keys.hi) keys.hi = keys.lo;
    return keys;
}
/* Makes `all` as wide as it has to be for these keys, too. */
static void attn__widen(attn__range *all, attn__range keys)
{
    if (keys.lo >= keys.hi) return;
    all->lo = attn__min(all->lo, keys.lo);
    all->hi = attn__max(all->hi, keys.hi);
}
static attn__range attn__visible(const attn__problem *p, const attn__rows *rows, size_t i, attn__range within)
{
    const int64_t at = p->left >= 0 || p->right >= 0 ? attn__position(p, rows, i) : 0;
    attn__range keys = attn__between(p, rows, at, at, within);
    if (ATTN__HAS(p, q_bounds)) attn__bounds_range(p, rows, i, &keys);
    return keys;
}

ATTN__INLINE int attn__zero(const char *at, ptrdiff_t size) /* +0 */
{
    uint64_t x = 0;
    attn__memcpy(&x, at, (size_t)size);
    return !x;
}
/* May keys between the first and the last that a row sees be hidden from it? */
static int attn__masked(const attn__problem *p)
{
    return ATTN__HAS(p, mask) || ATTN__HAS(p, q_bounds) || ATTN__HAS(p, rel_bias);
}

/* The key that entry 0 of the relative bias is for; that of the next entry is the one before. */
static int64_t attn__relative_key(const attn__problem *p, const attn__rows *rows, size_t i)
{
    return attn__position(p, rows, i) - p->desc->rel_first;
}
/* The entry for key j of query i, NULL if it has none. */
static const char *attn__relative_at(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, size_t j)
{
    const int64_t first = attn__relative_key(p, rows, i), key = (int64_t)j;
    const size_t last = p->rel_entries - 1;
    const int before = key > first, beyond = !before && (uint64_t)(first - key) > last;
    if ((before || beyond) && !p->desc->rel_clamp) return NULL;
    return attn__at(&p->rel_bias, rows->b, h, rows->q_base + i, before ? 0 : beyond ? last : (size_t)(first - key));
}
static int attn__relative_keeps(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, size_t j)
{
    const char *at = attn__relative_at(p, rows, h, i, j);
    return !at || !(attn__get(at, p->rel_bias.dtype) <= -attn__infinity());
}

/* Does an element of a mask keep its key? */
static int attn__mask_keeps(const char *at, attn_dtype dtype)
{
    return dtype == ATTN_BOOL ? *at != 0 : !(attn__get(at, dtype) <= -attn__infinity());
}
static int attn__keeps(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, size_t j)
{
    const char *at;
    if (!attn__within_bounds(p, rows, i, j)) return 0;
    if (ATTN__HAS(p, rel_bias) && !attn__relative_keeps(p, rows, h, i, j)) return 0;
    if (!ATTN__HAS(p, mask) || j < rows->mask_from) return 1;
    at = attn__mask_at(p, rows, h, i, j);
    return p->mask.dtype == ATTN_BIT ? *(const unsigned char *)at >> (j - rows->mask_key) % 8 & 1
                                     : attn__mask_keeps(at, p->mask.dtype);
}
/* Does the mask say true or false? */
static int attn__boolean(const attn__problem *p) { return p->mask.dtype == ATTN_BOOL || p->mask.dtype == ATTN_BIT; }
/* Of keys [lo, hi), the first that has a column; hi if there is none. */
static size_t attn__masked_from(const attn__rows *rows, size_t lo, size_t hi)
{
    return attn__min(attn__max(lo, rows->mask_from), hi);
}
static int attn__sees(const attn__problem *p, const attn__rows *rows, const attn__scratch *s, size_t r, size_t j)
{
    const attn__range keys = s->row[r].keys;
    return j >= keys.lo && j < keys.hi && attn__keeps(p, rows, attn__head_of(rows, r), attn__query_of(rows, r), j);
}
/* Up to where, from key j on, does each row see all keys or none? */
static size_t attn__seen_alike(const attn__problem *p, const attn__rows *rows, const attn__scratch *s, size_t j,
                               size_t to)
{
    if (attn__masked(p)) return j + 1;
    for (size_t r = 0; r < rows->count; r++) {
        const attn__range keys = s->row[r].keys;
        if (keys.lo > j) to = attn__min(to, keys.lo);
        if (keys.hi > j) to = attn__min(to, keys.hi);
    }
    return to;
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
#define ATTN__X(i) &attn__word(at + 8 * i, 0)
ATTN__INLINE int attn__line_is_true(const char *at) /* in the usual way */
{
    return (~(uint64_t)0 ATTN__REPEAT_8(ATTN__X)) == UINT64_C(0x0101010101010101);
}
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
    for (; n - i >= 8 && !attn__word(at + i, x); i += 8) {
    }
    return i;
}
ATTN__INLINE size_t attn__behind(const char *at, size_t n, uint64_t x)
{
    const size_t all = n;
    for (; n >= 64 && attn__line_is(at + n - 64, x); n -= 64) {
    }
    for (; n >= 8 && !attn__word(at + n - 8, x); n -= 8) {
    }
    return all - n;
}
ATTN__INLINE size_t attn__true_ahead(const char *at, size_t n)
{
    size_t i = 0;
    for (; n - i >= 64 && attn__line_is_true(at + i); i += 64) ATTN__PREFETCH(at, i + 1024);
    for (; n - i >= 8 && attn__word_is_true(at + i); i += 8) {
    }
    return i;
}

/* The same of bits [from, to), in front, or behind, that are all as those of x: eight bytes of them at a time, where
 * bytes are next to each other. */
static size_t attn__bits_ahead(const char *row, ptrdiff_t step, size_t from, size_t to, uint64_t x)
{
    size_t i = from;
    for (; i < to && (i % 8 || step != 1) && !(((uint64_t)row[(ptrdiff_t)(i / 8) * step] ^ x) >> i % 8 & 1); i++) {
    }
    if (i < to && i % 8 == 0 && step == 1) i += 8 * attn__ahead(row + i / 8, (to - i) / 8, x);
    for (; i < to && !(((uint64_t)row[(ptrdiff_t)(i / 8) * step] ^ x) >> i % 8 & 1); i++) {
    }
    return i - from;
}
static size_t attn__bits_behind(const char *row, ptrdiff_t step, size_t from, size_t to)
{
    size_t i = to;
    for (; i > from && (i % 8 || step != 1) && !(row[(ptrdiff_t)((i - 1) / 8) * step] >> (i - 1) % 8 & 1); i--) {
    }
    if (i > from && i % 8 == 0 && step == 1) i -= 8 * attn__behind(row + (from + 7) / 8, i / 8 - (from + 7) / 8, 0);
    for (; i > from && !(row[(ptrdiff_t)((i - 1) / 8) * step] >> (i - 1) % 8 & 1); i--) {
    }
    return to - i;
}
/* attn__mask_range of bits, of keys [from, keys->hi), which have columns. */
static int attn__bit_range(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, size_t from,
                           attn__range *keys)
{
    const char *row = attn__at(&p->mask, rows->b, h, rows->q_base + i, 0);
    const ptrdiff_t step = p->mask.stride[ATTN__D];
    const size_t end = keys->hi - rows->mask_key;
    size_t begin = from - rows->mask_key;
    if (from == keys->lo) {
        begin += attn__bits_ahead(row, step, begin, end, 0);
        keys->lo = keys->hi = begin + rows->mask_key;
        if (begin == end) return ATTN__MASK_DROPS_ALL;
    }
    keys->hi = end - attn__bits_behind(row, step, begin, end) + rows->mask_key;
    from = keys->hi - rows->mask_key;
    return attn__bits_ahead(row, step, begin, from, ~(uint64_t)0) == from - begin ? ATTN__MASK_KEEPS_ALL
                                                                                  : ATTN__MASK_MIXED;
}

/* Cuts keys to what lies between the first and the last that the mask leaves row i.
 * Returns how the mask is there. */
static int attn__mask_range(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, attn__range *keys)
{
    static const uint64_t dropped[] = {UINT64_C(0xff800000ff800000), UINT64_C(0xfff0000000000000),
                                       UINT64_C(0xfc00fc00fc00fc00), UINT64_C(0xff80ff80ff80ff80)};
    const attn_dtype dtype = p->mask.dtype;
    const int boolean = dtype == ATTN_BOOL;
    const ptrdiff_t step = p->mask.stride[ATTN__D] * p->mask.size;
    const size_t size = step == p->mask.size ? (size_t)step : 0; /* of an element, if it is next to the other */
    const char *at, *end;
    size_t from = attn__masked_from(rows, keys->lo, keys->hi), to = keys->hi, n = (to - from) * size, skip;
    if (from == to) return ATTN__MASK_KEEPS_ALL;
    if (dtype == ATTN_BIT) return attn__bit_range(p, rows, h, i, from, keys);
    at = attn__mask_at(p, rows, h, i, from), end = attn__mask_at(p, rows, h, i, to);
    if (from == keys->lo) {
        skip = boolean ? attn__ahead(at, n, 0) : attn__ahead(at, n, dropped[dtype]);
        if (skip) from += skip / size, at += skip;
        for (; from < to && !attn__mask_keeps(at, dtype); at += step) from++;
        keys->lo = keys->hi = from;
        if (from == to) return ATTN__MASK_DROPS_ALL;
    }
    n = (to - from) * size;
    skip = boolean ? attn__behind(at, n, 0) : attn__behind(at, n, dropped[dtype]);
    if (skip) to -= skip / size, end -= skip;
    for (; from < to && !attn__mask_keeps(end - step, dtype); end -= step) to--;
    keys->hi = to;
    n = (to - from) * size;
    skip = boolean ? attn__true_ahead(at, n) : attn__ahead(at, n, 0);
    if (skip) from += skip / size, at += skip;
    for (; from < to; at += step) {
        if (boolean ? !*at : !attn__zero(at, p->mask.size)) return ATTN__MASK_MIXED;
        from++;
    }
    return ATTN__MASK_KEEPS_ALL;
}

/* Cuts keys to what lies between the first and the last that intervals, relative bias and mask leave row i. Returns how
 * intervals and mask are there; a bias is added in any case, and drops what it drops. Where there are several, one may
 * end within what another leaves out, so that they take turns. */
static int attn__hidden_range(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, attn__range *keys)
{
    int by_bounds = ATTN__MASK_KEEPS_ALL, by_mask = ATTN__MASK_KEEPS_ALL;
    attn__range before;
    do {
        if (ATTN__HAS(p, q_bounds)) by_bounds = attn__bounds_range(p, rows, i, keys);
        before = *keys;
        if (ATTN__HAS(p, rel_bias)) {
            for (; keys->lo < keys->hi && !attn__relative_keeps(p, rows, h, i, keys->lo); keys->lo++) {
            }
            for (; keys->lo < keys->hi && !attn__relative_keeps(p, rows, h, i, keys->hi - 1); keys->hi--) {
            }
        }
        if (keys->lo == keys->hi) return ATTN__MASK_DROPS_ALL;
        if (ATTN__HAS(p, mask)) by_mask = attn__mask_range(p, rows, h, i, keys);
    } while ((ATTN__HAS(p, q_bounds) || ATTN__HAS(p, rel_bias)) && (keys->lo > before.lo || keys->hi < before.hi) &&
             keys->lo < keys->hi);
    return by_bounds < by_mask ? by_bounds : by_mask;
}

/* The keys that row r sees within the block at base, cut to [from, to) of it. */
static attn__block_range attn__row_range(const attn__problem *p, const attn__rows *rows, const attn__scratch *s,
                                         size_t r, size_t base, size_t from, size_t to)
{
    int mask_state = ATTN__MASK_KEEPS_ALL;
    attn__range keys;
    attn__block_range range;
    keys.lo = attn__max(s->row[r].keys.lo, base + from);
    keys.hi = attn__min(s->row[r].keys.hi, base + to);
    if (keys.lo >= keys.hi) keys.lo = keys.hi = base + from, mask_state = ATTN__MASK_DROPS_ALL;
    else if (attn__masked(p))
        mask_state = attn__hidden_range(p, rows, attn__head_of(rows, r), attn__query_of(rows, r), &keys);
    range.lo = (unsigned short)(keys.lo - base);
    range.hi = (unsigned short)(keys.hi - base);
    range.mask_state = (unsigned short)mask_state;
    return range;
}

/* Sets what rows see of blocks from `block` on, up to the next multiple of MASK_BLOCKS:
 * a row of a mask is read in one go. */
static void attn__look_ahead(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t block, size_t end)
{
    attn__ranges_key *key = s->ranges_key;
    if (p->one_mask && key->count == rows->count && key->b == rows->b && key->query == rows->query &&
        key->block == block && key->end == end)
        return;
    key->b = rows->b;
    key->query = rows->query;
    key->count = rows->count;
    key->block = block;
    key->end = end;
    for (size_t r = 0; r < rows->count; r++) {
        const int again = p->one_mask && r % rows->heads; /* as the row before: the same query */
        size_t b = block;
        do {
            attn__block_range *range = s->ranges + b % ATTN__MASK_BLOCKS * p->rows + r;
            *range = again ? range[-1] : attn__row_range(p, rows, s, r, b * ATTN__BLOCK, 0, ATTN__BLOCK);
        } while (++b % ATTN__MASK_BLOCKS && b * ATTN__BLOCK < end);
    }
}

/* ---- queries, keys and values for tiles ---- */

/* Scores that become weights are in units of ln 2, so that exp is a power of two; those that are looked at are not. */
#define ATTN__UNIT_LN2 ATTN__LOG2E_F64
#define ATTN__UNIT_1 1.0
#define ATTN__UNIT_BIAS (1 / 18446744073709551616.0) /* in which slopes times distances are numbers of float64 */

/* Scores of float64 that may be beyond its range are computed from queries as they are, which are multiplied by the
 * scale once they have met keys, and again as multiples of 2^exponent, from queries and keys that were multiplied by
 * 2^-530: no such product overflows, and none that counts beside such a score becomes subnormal, unless the scale is
 * very large: then it comes last. Are these at hand? Those of row r, NULL if not. */
#define ATTN__SCALED 2.8451311993408992e-160
static int attn__scaled(const attn__problem *p) { return p->careful >= ATTN__REDO_SCALED; }
static double *attn__scaled_row(const attn__problem *p, const attn__scratch *s, size_t r)
{
    return attn__scaled(p) ? s->scaled_tile + r * ATTN__TILE_STRIDE : NULL;
}
static int attn__large_scale(const attn__problem *p)
{
    const double large = 2.5822498780869086e+120; /* 2^400 */
    return !(p->scale < large && p->scale > -large);
}

/* Is scale * unit, by which queries are multiplied, a normal number of the type? */
static int attn__one_factor(const attn__problem *p, double unit, double *factor)
{
    const double least = p->run.kernel->dtype == ATTN_F64 ? 2.2250738585072014e-308 : 1.1754943508222875e-38;
    double limited;
    *factor = p->scale * unit;
    limited = attn__saturate(*factor, p->run.kernel->dtype);
    return limited >= *factor && limited <= *factor && (limited >= least || limited <= -least);
}
/* If not, they are by one after the other: first by the scale, after which a subnormal query may be a normal number. */
static void attn__scale_queries(const attn__problem *p, void *to, const void *from, size_t n, double unit)
{
    const attn__kernel *kernel = p->run.kernel;
    double factor = 1;
    if (attn__scaled(p) || attn__one_factor(p, unit, &factor)) {
        kernel->scale(to, from, n, factor);
        return;
    }
    kernel->scale(to, from, n, p->scale);
    kernel->scale(to, to, n, unit);
}

/* Row r of queries, columns [c, c + n), scaled. */
static void attn__load_query(const attn__problem *p, const attn__rows *rows, size_t r, size_t c, size_t n, double unit,
                             void *to)
{
    const attn__kernel *kernel = p->run.kernel;
    const char *q = attn__query_at(&p->q, rows, attn__head_of(rows, r), attn__query_of(rows, r)) +
                    (ptrdiff_t)c * p->q.stride[ATTN__D] * p->q.size;
    const int as_is = p->q.dtype == kernel->dtype && p->q.stride[ATTN__D] == 1;
    if (!as_is) kernel->load(to, q, p->q.dtype, p->q.stride[ATTN__D], n);
    attn__scale_queries(p, to, as_is ? q : to, n, unit);
}

/* The same for rows [r, r + count), in lanes, as they come: to s->panel, of each head in turn. */
static void attn__copy_queries(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r, size_t count,
                               size_t c, size_t n)
{
    const attn__kernel *kernel = p->run.kernel;
    for (size_t i = 0; i < rows->heads && i < count; i++)
        kernel->copy(s->panel + i * ATTN__TILE_STRIDE * kernel->size, rows->heads * ATTN__TILE_STRIDE,
                     attn__query_at(&p->q, rows, attn__head_of(rows, r + i), attn__query_of(rows, r + i)) +
                         (ptrdiff_t)c * p->q.stride[ATTN__D] * p->q.size,
                     p->q.dtype, p->q.stride[ATTN__D], p->q.stride[ATTN__S], (count - i - 1) / rows->heads + 1, n);
}

/* All queries of a task. Returns the sum of their squares, if they are in lanes. */
static double attn__load_queries(const attn__problem *p, const attn__rows *rows, attn__scratch *s, double unit)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, nr = kernel->nr;
    const int as_is = p->q.dtype == kernel->dtype && p->q.stride[ATTN__D] == 1 && rows->heads == 1;
    double squares = 0;
    for (size_t c = 0; c < p->dim; c += ATTN__BLOCK) {
        const size_t n = attn__min(p->dim - c, ATTN__BLOCK);
        if (p->few)
            for (size_t r = 0; r < rows->count; r++) {
                const size_t at = (c / ATTN__BLOCK * p->rows + r) * ATTN__TILE_STRIDE;
                attn__load_query(p, rows, r, c, n, unit, s->q + at * es);
                if (attn__scaled(p))
                    kernel->scale(s->scaled_q + at, s->q + at * es, n,
                                  attn__large_scale(p) ? ATTN__SCALED
                                                       : attn__scale2(p->scale, 530 - s->row[r].exponent));
            }
        else
            for (size_t r = 0; r < rows->count; r += nr) {
                const size_t count = attn__min(nr, rows->count - r);
                char *panel = s->q + (r * p->dim + c * nr) * es;
                if (count < nr) attn__memset(panel, 0, n * nr * es);
                if (as_is)
                    kernel->turn(panel, nr, attn__query_at(&p->q, rows, rows->head, rows->query + r) + c * es,
                                 p->q.stride[ATTN__S], count, n);
                else {
                    attn__copy_queries(p, rows, s, r, count, c, n);
                    kernel->turn(panel, nr, s->panel, ATTN__TILE_STRIDE, count, n);
                }
                attn__scale_queries(p, panel, panel, n * nr, unit);
                squares += kernel->copy(panel, 0, panel, kernel->dtype, 1, 0, 1, n * nr);
            }
    }
    return squares;
}

/* Scales or zero points of row j of k or v, and their distances; NULL if there are none. */
static const float *attn__scales_of(const attn__problem *p, const attn__rows *rows, unsigned present,
                                    const attn__view *v, size_t j, ptrdiff_t *row, ptrdiff_t *step)
{
    *row = present ? v->stride[ATTN__S] : 0;
    *step = present ? v->stride[ATTN__D] : 0;
    return present ? (const float *)(const void *)attn__key_at(p, v, rows, j, 0) : NULL;
}
/* Keys or values of 8 bits from row j on. */
static attn__codes attn__codes_of(const attn__problem *p, const attn__rows *rows, const attn__view *v, size_t j)
{
    const int keys = v == &p->k;
    attn__codes codes;
    codes.at = (const uint8_t *)attn__key_at(p, v, rows, j, 0);
    codes.dtype = v->dtype;
    codes.row = v->stride[ATTN__S] * v->size;
    codes.step = v->stride[ATTN__D] * v->size;
    codes.ahead = 0;
    codes.group = keys ? p->dim / p->k_groups : p->dim_v / p->v_groups;
    codes.scale = attn__scales_of(p, rows, keys ? ATTN__HAS(p, k_scale) : ATTN__HAS(p, v_scale),
                                  keys ? &p->k_scale : &p->v_scale, j, &codes.scale_row, &codes.scale_step);
    codes.zero = attn__scales_of(p, rows, keys ? ATTN__HAS(p, k_zero) : ATTN__HAS(p, v_zero),
                                 keys ? &p->k_zero : &p->v_zero, j, &codes.zero_row, &codes.zero_step);
    return codes;
}
static attn__codes attn__codes_from(const attn__codes *codes, size_t row)
{
    attn__codes from = *codes;
    from.at += (ptrdiff_t)row * from.row;
    if (from.scale) from.scale += (ptrdiff_t)row * from.scale_row;
    if (from.zero) from.zero += (ptrdiff_t)row * from.zero_row;
    return from;
}

/* Rows [from, to) of keys or values, columns [c, c + n), `stride` apart. Returns the sum of their squares. */
static double attn__copy_rows(const attn__problem *p, const attn__rows *rows, const attn__view *v, size_t from,
                              size_t to, size_t c, size_t n, char *copy, size_t stride)
{
    const attn__kernel *kernel = p->run.kernel;
    double squares = 0;
    attn__codes codes;
    size_t count;
    for (; from < to; from += count, copy += count * stride * kernel->size) {
        count = attn__together(p, from, to);
        if (attn__coded(v->dtype)) codes = attn__codes_of(p, rows, v, from);
        if (kernel->dtype == ATTN_F64 && v->dtype != ATTN_F64 && v->dtype != ATTN_F32) { /* by way of float32 */
            float piece[ATTN__BLOCK];
            count = attn__min(count, attn__max(ATTN__BLOCK / attn__max(n, 1), 1));
            for (size_t i = 0, m; i < n; i += m) {
                m = attn__min(n - i, ATTN__BLOCK);
                if (attn__coded(v->dtype)) p->singles->decode(piece, m, &codes, count, c + i, m);
                else
                    p->singles->copy(piece, m, attn__key_at(p, v, rows, from, c + i), v->dtype, v->stride[ATTN__D],
                                     v->stride[ATTN__S], count, m);
                squares += kernel->copy(copy + i * kernel->size, stride, piece, ATTN_F32, 1, (ptrdiff_t)m, count, m);
            }
        } else if (attn__coded(v->dtype)) squares += kernel->decode((float *)(void *)copy, stride, &codes, count, c, n);
        else
            squares += kernel->copy(copy, stride, attn__key_at(p, v, rows, from, c), v->dtype, v->stride[ATTN__D],
                                    v->stride[ATTN__S], count, n);
    }
    return squares;
}

/* The same contiguous in s->rows; 0 before the first key that is there. For pages, and where a part begins within a
 * panel. */
static double attn__gather(const attn__problem *p, const attn__rows *rows, attn__scratch *s, const attn__view *v,
                           size_t from, size_t to, size_t c, size_t n)
{
    const size_t first = attn__max(from, p->kv_begin), missing = (first - from) * n * p->run.kernel->size;
    attn__memset(s->rows, 0, missing);
    return attn__copy_rows(p, rows, v, first, to, c, n, s->rows + missing, n);
}

/* Packs keys [from, to), `from` a multiple of nr. */
static void attn__pack_keys(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t from, size_t to,
                            size_t chunk)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t c = chunk * ATTN__BLOCK, n = attn__min(p->dim - c, ATTN__BLOCK);
    char *panels = s->k;
    if (p->gather) {
        attn__gather(p, rows, s, &p->k, from, to, c, n);
        kernel->pack(panels, s->rows, kernel->dtype, to - from, n, (ptrdiff_t)n, 1);
    } else
        kernel->pack(panels, attn__key_at(p, &p->k, rows, from, c), p->k.dtype, to - from, n, p->k.stride[ATTN__S],
                     p->k.stride[ATTN__D]);
}

/* What row r sees in each column of values that is not finite, ATTN__SEES_... */
static unsigned char *attn__special(const attn__problem *p, const attn__scratch *s, size_t r)
{
    return (unsigned char *)(s->special + r * attn__pieces(p->dim_v, 8));
}
/* ATTN__SEES_... of a score; 0 if it is finite. */
ATTN__INLINE unsigned char attn__take_kind_f64(double *at, double instead)
{
    const double x = *at;
    if (attn__finite_f64(x)) return 0;
    *at = instead;
    return attn__nan_f64(x) ? ATTN__SEES_NAN : x > 0 ? ATTN__SEES_INF : ATTN__SEES_LOW;
}

/* Of columns, of which set_aside noted by 1 what is not finite: a byte each, of whole words. NaN counts as both
 * infinities. The upper bits of the exponent of 1 are 0, then ones. */
static void attn__kinds_of(const attn__problem *p, const void *above, const void *below, unsigned char *kinds)
{
    const int wide = p->run.kernel->dtype == ATTN_F64;
    for (size_t c = 0; c < p->dim_v; c++) {
        const uint64_t high = wide ? attn__bits_f64(((const double *)above)[c]) >> 32
                                   : attn__bits_f32(((const float *)above)[c]),
                       low = wide ? attn__bits_f64(((const double *)below)[c]) >> 32
                                  : attn__bits_f32(((const float *)below)[c]);
        kinds[c] = (unsigned char)((high >> 28 & ATTN__SEES_INF) | (low >> 27 & ATTN__SEES_LOW));
    }
    for (size_t c = p->dim_v; c % 8; c++) kinds[c] = ATTN__SEES_INF | ATTN__SEES_LOW;
}

/* words of 8 columns: what is seen there, and `more`. Is that anything new? */
static int attn__news(const uint64_t *special, const uint64_t *more, size_t words)
{
    uint64_t news = 0;
    for (size_t c = 0; c < words; c++) news |= more[c] & ~special[c];
    return news != 0;
}
static void attn__see(uint64_t *special, const uint64_t *more, size_t words)
{
    for (size_t c = 0; c < words; c++) special[c] |= more[c];
}

/* Have all rows seen all there can be, NaN or both infinities in each column? */
static int attn__all_seen(const attn__problem *p, const attn__rows *rows, const attn__scratch *s)
{
    const uint64_t both = (uint64_t)(ATTN__SEES_INF | ATTN__SEES_LOW) * 0x0101010101010101u;
    for (size_t w = 0; w < rows->count * attn__pieces(p->dim_v, 8); w++)
        if (s->special[w] != both) return 0;
    return 1;
}

/* Values [from, to) to s->rows: what is not finite becomes 0, and is noted with the rows that see it. Returns 1 if
 * there may be large ones. */
static int attn__set_aside(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t from, size_t to)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t n = p->dim_v, words = attn__pieces(n, 8), size = 2 * attn__round_up(n, 16) * kernel->size;
    char *above = s->kinds, *below = above + size / 2;
    uint64_t *kinds = s->special + p->rows * words;
    if (attn__finite_f64(attn__gather(p, rows, s, &p->v, from, to, 0, n))) return 0;
    if (attn__masked(p) && !kernel->scale(s->rows, s->rows, (to - from) * n, 1)) return 1; /* squares overflow */
    attn__memset(above, 0, size);
    for (size_t j = from, next; j < to; j = next) {
        const int known = attn__all_seen(p, rows, s);
        int all = 1; /* rows that may see more know of it */
        next = known ? to : attn__seen_alike(p, rows, s, j, to);
        if (!kernel->set_aside(s->rows + (j - from) * n * kernel->size, next - j, n, above, below) || known) continue;
        attn__kinds_of(p, above, below, (unsigned char *)kinds);
        for (size_t r = 0; r < rows->count; r++) {
            if (j >= s->row[r].keys.hi || !attn__news(s->special + r * words, kinds, words)) continue;
            if (attn__sees(p, rows, s, r, j)) attn__see(s->special + r * words, kinds, words);
            else all = 0;
        }
        if (!all) attn__memset(above, 0, size); /* or else it is no news any more */
    }
    return 1;
}

/* Are values in s->rows before they are used? */
static int attn__gathers_values(const attn__problem *p) { return p->careful || attn__coded(p->v.dtype); }

/* Packs columns [c, dim_v) of values [from, to). All may be in s->rows already, if c is not 0. */
static void attn__pack_values(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t from, size_t to,
                              size_t c)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t n = p->dim_v - c, before = attn__gathers_values(p) ? c : 0;
    if (p->gather) {
        if (before == 0 && p->careful) attn__set_aside(p, rows, s, from, to);
        else if (before == 0) attn__gather(p, rows, s, &p->v, from, to, c, n);
        kernel->pack(s->v, s->rows + before * kernel->size, kernel->dtype, n, to - from, 1, (ptrdiff_t)(before + n));
    } else
        kernel->pack(s->v, attn__key_at(p, &p->v, rows, from, c), p->v.dtype, n, to - from, p->v.stride[ATTN__D],
                     p->v.stride[ATTN__S]);
}

/* Are keys in lanes, without being packed, even if rows are done again? */
static int attn__keys_in_lanes(const attn__problem *p, const attn__rows *rows)
{
    return rows->count <= 3 * p->run.kernel->few_rows;
}
/* Are rows of keys or values from `from` on used where they lie, each contiguous? */
static int attn__in_place(const attn__problem *p, const attn__rows *rows, const attn__view *v, size_t from)
{
    const int may = p->careful ? p->careful == ATTN__REDO_CLEAN && v == &p->k && attn__keys_in_lanes(p, rows) : 1;
    return may && v->stride[ATTN__D] == 1 && from >= p->kv_begin && !attn__coded(v->dtype);
}

/* To fetch `count` rows of n elements from `at` on, or rows [from, to) of keys or values. By vectors of less than 64
 * bytes a step takes less than ten cycles, in which half a line comes. */
static attn__soon attn__rows_at(const attn__problem *p, const attn__view *v, const char *at, size_t count, size_t n)
{
    const size_t bytes = attn__stored(v->dtype, n) * (size_t)v->size;
    const ptrdiff_t step = count > 1 ? v->stride[ATTN__S] * v->size : (ptrdiff_t)bytes;
    attn__soon soon;
    soon.at = at;
    soon.hop = step;
    soon.steps = count;
    soon.runs = v->stride[ATTN__D] == 1 && count ? attn__pieces(bytes, 64) : 0;
    if (soon.runs && step >= 0 && (size_t)step <= bytes + bytes / 4) {
        soon.hop = p->run.kernel->nr * p->run.kernel->size < 128 ? 32 : 64;
        soon.steps = attn__pieces(count * (size_t)step, (size_t)soon.hop);
        soon.runs = soon.steps > 0;
    }
    soon.left = soon.steps;
    soon.then = NULL;
    return soon;
}
static attn__soon attn__soon_of(const attn__problem *p, const attn__rows *rows, const attn__view *v, size_t from,
                                size_t to, size_t n)
{
    return attn__rows_at(p, v, attn__key_at(p, v, rows, from, 0),
                         ATTN__HAS(p, block_table) ? 0 : attn__together(p, from, to), n);
}

/* A block of keys while its rows are done. */
typedef struct attn__key_block {
    size_t base;             /* its first key */
    attn__range keys;        /* what any row sees of it */
    size_t first;            /* the first that is in a panel's tile, a multiple of step */
    attn__range copied[2];   /* of keys and values: those, from `first`, that are at their places in s->k and s->v */
    double squares, queries; /* sums of those of keys that were copied, and of the queries */
    const attn__block_range *ranges; /* (rows), NULL if all of them see `keys` */
    char *acc;                       /* its slot's */
    double *max, *sum;
    attn__soon ahead[2]; /* see attn__look_beyond */
} attn__key_block;

/* Columns of keys [from, to) from c on, to row `row` of s->k. Returns the sum of their squares. */
static double attn__copy_keys(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t from, size_t to,
                              size_t c, size_t row)
{
    return attn__copy_rows(p, rows, &p->k, from, to, c, attn__min(p->dim - c, ATTN__KEY_DEPTH),
                           s->k + row * ATTN__KEY_STRIDE * p->run.kernel->size, ATTN__KEY_STRIDE);
}

/* Is there one panel of queries alone? Then no other needs keys and values that are copied for it. */
static int attn__one_panel(const attn__problem *p, const attn__rows *rows) { return rows->count <= p->run.kernel->nr; }
/* Is a block so small, and used so often, that the whole next one is fetched while it is at work? Otherwise a few keys
 * or values are. */
static int attn__whole_blocks(const attn__problem *p, const attn__rows *rows)
{
    return !attn__one_panel(p, rows) && (p->dim + p->dim_v) * p->run.kernel->size <= ATTN__NEAR_BYTES / ATTN__BLOCK;
}

/* Are keys or values [from, to) at their places? */
static int attn__all_copied(const attn__range *copied, size_t from, size_t to)
{
    return from >= copied->lo && to <= copied->hi;
}
/* From which on they have to be copied: then they are, beside what was adjacent to them. */
static size_t attn__not_copied(attn__range *copied, size_t from, size_t to)
{
    if (from < copied->lo || from > copied->hi) copied->lo = copied->hi = from;
    from = attn__min(copied->hi, to);
    copied->hi = attn__max(copied->hi, to);
    return from;
}

/* What to fetch next: rows [from, to), n long, of keys or values, or if there are none, what `after` has. */
static attn__soon attn__fetch_next(const attn__problem *p, const attn__rows *rows, const attn__view *v, size_t from,
                                   size_t to, size_t n, attn__soon *after)
{
    attn__soon soon;
    if (from < to) return attn__soon_of(p, rows, v, from, to, n);
    soon = *after;
    after->runs = 0;
    return soon;
}

/* ---- scores ---- */

/* As many products with packed columns as rows need. */
static void attn__multiply_rows(const attn__kernel *kernel, size_t m, size_t n, size_t depth, const char *a,
                                const char *b, size_t panel_stride, char *c, size_t ldc, int accumulate)
{
    size_t height;
    for (; m > 0; m -= height, a += height * ATTN__TILE_STRIDE * kernel->size, c += height * ldc * kernel->size) {
        height = attn__tile_rows(m, kernel->mr);
        kernel->multiply(height, n, depth, a, b, kernel->nr, panel_stride, c, ldc, accumulate);
    }
}

/* Softcap and bias go on to the end of a vector, up to 16 elements beyond the last of a row: nothing may trap there. */
static void attn__pad_rows(const attn__problem *p, char *tile, size_t count, size_t end)
{
    const size_t es = p->run.kernel->size;
    for (size_t r = 0; r < count && (p->softcap > 0 || p->modified); r++)
        attn__memset(tile + (r * ATTN__TILE_STRIDE + end) * es, 0, 16 * es);
}

/* Of few rows with as many of keys [from, to), of 8 bits, as can be used where they lie. */
static size_t attn__dot_codes(const attn__problem *p, const attn__rows *rows, size_t from, size_t to, size_t first,
                              size_t depth, const char *q, char *scores, int accumulate)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t nr = kernel->nr, half = nr / 2;
    attn__codes start, panel[2];
    size_t j = from, known = 0; /* whose codes start has */
    if (!kernel->dot_codes || from < p->kv_begin || to - from < nr) return 0;
    for (size_t next; j < to; j = next) {
        next = attn__min(j + nr, to);
        if (next < j + nr && accumulate) break;
        j = next - nr; /* the last ones perhaps again, which changes nothing */
        if (attn__together(p, j, j + half) < half || attn__together(p, j + half, next) < half) break;
        if (j == from || attn__scattered(p)) start = attn__codes_of(p, rows, &p->k, known = j);
        panel[0] = attn__codes_from(&start, j - known);
        panel[1] =
            attn__together(p, j, next) < nr ? attn__codes_of(p, rows, &p->k, j + half) : attn__codes_from(panel, half);
        panel[0].ahead = attn__keys_ahead(p, rows, &p->k, panel[0].at, j, 2 * nr);
        if (!kernel->dot_codes(rows->count, depth, (const float *)(const void *)q, panel, first,
                               (float *)(void *)scores + (j - from), accumulate))
            break;
    }
    return j < to ? (j - from) / nr * nr : to - from;
}

/* Where n groups of `apart` keys or values each lie, from row j on and column d on. Beside what is there, anywhere: the
 * last that is. Returns 0 if a group is cut, by pages. */
static int attn__places(const attn__problem *p, const attn__rows *rows, const attn__view *v, size_t j, size_t d,
                        size_t apart, size_t n, const char **at)
{
    size_t left = 0; /* in the same page */
    int whole = 1;
    for (size_t i = 0; i < n; i++, j += apart) {
        if (left > 0) at[i] = at[i - 1] + (ptrdiff_t)apart * v->stride[ATTN__S] * v->size;
        else if (j < rows->kv_end) {
            at[i] = attn__key_at(p, v, rows, j, d);
            left = attn__together(p, j, (size_t)-1);
        } else if (i) at[i] = at[i - 1];
        else at[i] = v->data;
        whole &= left >= apart;
        left -= attn__min(left, apart);
    }
    return whole;
}

/* The same chains with a panel of keys from base + j on that is in several pages. Returns 0 if vectors are cut. */
static int attn__dot_pages(const attn__problem *p, const attn__rows *rows, size_t j, size_t first, size_t depth,
                           const char *q, char *scores, int accumulate)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t nr = kernel->nr;
    const char *after[4] = {NULL, NULL, NULL, NULL};
    attn__columns panel;
    if (!attn__places(p, rows, &p->k, j, first, nr / 2, 2, panel.at)) return 0;
    if (p->kind >= ATTN__COLUMNS_MANY) attn__places(p, rows, &p->k, j + 2 * nr, first, nr / 4, 4, after);
    for (int i = 0; i < 4; i++) panel.after[i] = (uintptr_t)after[i];
    panel.stride = p->k.stride[ATTN__S];
    panel.dtype = p->k.dtype;
    panel.kind = p->kind;
    kernel->dot_panel(rows->count, depth, q, &panel, scores, accumulate);
    return 1;
}

/* Scores of few rows with keys base + [from, to), from a multiple of nr, to s->tile[row][key - base]. */
static void attn__score_rows(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t base, size_t from,
                             size_t to)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, nr = kernel->nr, end = attn__min(to, rows->kv_end - base);
    attn__pad_rows(p, s->tile, rows->count, end);
    for (size_t c = 0; c < p->chunks; c++) {
        const size_t first = c * ATTN__BLOCK, depth = attn__min(p->dim - first, ATTN__BLOCK);
        const char *q = s->q + c * p->rows * ATTN__TILE_STRIDE * es;
        size_t next;
        for (size_t j = from; j < end; j = next) {
            char *scores = s->tile + j * es;
            const int in_place = attn__in_place(p, rows, &p->k, base + j), pages = ATTN__HAS(p, block_table);
            const size_t run = attn__together(p, base + j, base + end);
            next = attn__min(j + nr, end);
            if (in_place && pages && next == j + nr &&
                attn__dot_pages(p, rows, base + j, first, depth, q, scores, c != 0))
                continue;
            if (in_place && !pages && run >= nr) next = j + run < end ? j + run / nr * nr : end; /* up to a seam */
            if (in_place && run >= next - j)
                kernel->dot_keys(rows->count, next - j, depth, q, attn__key_at(p, &p->k, rows, base + j, first),
                                 p->k.dtype, p->k.stride[ATTN__S], p->kind, scores, c != 0);
            else if (p->careful ? attn__keys_in_lanes(p, rows) : attn__coded(p->k.dtype)) {
                const size_t done =
                    p->careful ? 0 : attn__dot_codes(p, rows, base + j, base + end, first, depth, q, scores, c != 0);
                if (done) {
                    next = j + done;
                    continue;
                }
                attn__gather(p, rows, s, &p->k, base + j, base + next, first, depth);
                kernel->dot_keys(rows->count, next - j, depth, q, s->rows, kernel->dtype, (ptrdiff_t)depth,
                                 ATTN__COLUMNS_NEAR, scores, c != 0);
                if (!attn__scaled(p)) continue;
                kernel->scale(s->rows, s->rows, (next - j) * depth, ATTN__SCALED);
                kernel->dot_keys(rows->count, next - j, depth, s->scaled_q + c * p->rows * ATTN__TILE_STRIDE, s->rows,
                                 kernel->dtype, (ptrdiff_t)depth, ATTN__COLUMNS_NEAR, s->scaled_tile + j, c != 0);
            } else {
                attn__pack_keys(p, rows, s, base + j, base + next, c);
                attn__multiply_rows(kernel, rows->count, next - j, depth, q, s->k, 0, scores, ATTN__TILE_STRIDE,
                                    c != 0);
                if (!attn__scaled(p)) continue;
                kernel->scale(s->rows, s->rows, (next - j) * depth, ATTN__SCALED); /* keys as they were gathered */
                kernel->pack(s->k, s->rows, kernel->dtype, next - j, depth, (ptrdiff_t)depth, 1);
                attn__multiply_rows(kernel, rows->count, next - j, depth,
                                    (char *)(s->scaled_q + c * p->rows * ATTN__TILE_STRIDE), s->k, 0,
                                    (char *)(s->scaled_tile + j), ATTN__TILE_STRIDE, c != 0);
            }
        }
    }
}

/* Those of row r with queries that were not scaled: those are now. */
static void attn__scale_scores(const attn__problem *p, attn__scratch *s, size_t r, size_t lo, size_t hi)
{
    const attn__kernel *kernel = p->run.kernel;
    double *row = (double *)(void *)s->tile + r * ATTN__TILE_STRIDE + lo;
    const int exponent = s->row[r].exponent;
    if (attn__large_scale(p))
        kernel->scale_largely(row, attn__scaled_row(p, s, r) + lo, hi - lo, attn__scale2(p->scale, -exponent),
                              attn__scale2(p->scale, 1060 - exponent));
    kernel->scale(row, row, hi - lo, p->scale);
}

/* Scores of a panel of queries with keys [from, to) of a block, counted from its `first`, to s->tile[key][query]. The
 * largest of each query to max, if that is not NULL. Keys that were not copied before are now, a few at a time, so that
 * they are still near when they are read. */
static void attn__score_panel(const attn__problem *p, const attn__rows *rows, attn__scratch *s, attn__key_block *block,
                              size_t r0, size_t count, size_t from, size_t to, void *max)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, nr = kernel->nr, start = from, first = block->base + block->first;
    const int one = attn__one_panel(p, rows), whole = attn__whole_blocks(p, rows);
    attn__soon soon;
    if (!p->dim && from < to) attn__memset(s->tile + from * nr * es, 0, (to - from) * nr * es);
    for (size_t next; from < to; from = next) {
        const int copies = one || !attn__all_copied(&block->copied[0], from, to);
        size_t absent = from; /* from here on keys are copied */
        next = copies ? attn__min(from + ATTN__NEAR_KEYS, to) : to;
        if (!one) absent = attn__not_copied(&block->copied[0], from, next);
        if (copies && !whole)
            soon = attn__fetch_next(p, rows, &p->k, first + next, first + attn__min(next + ATTN__NEAR_KEYS, to), p->dim,
                                    &block->ahead[1]);
        for (size_t c = 0; c < p->dim; c += ATTN__KEY_DEPTH) {
            const size_t row = one ? 0 : c / ATTN__KEY_DEPTH * p->keys + from;
            if (copies)
                block->squares += attn__copy_keys(p, rows, s, first + absent, first + next, c, row + (absent - from));
            kernel->score_keys(next - from, count, attn__min(p->dim - c, ATTN__KEY_DEPTH),
                               s->k + row * ATTN__KEY_STRIDE * es, s->q + (r0 * p->dim + c * nr) * es,
                               s->tile + from * nr * es, c != 0, c + ATTN__KEY_DEPTH < p->dim ? NULL : max,
                               from > start, copies && !whole ? &soon : block->ahead);
        }
    }
}

/* What the relative bias adds to keys [lo, hi) of query i: to `bias`. */
static void attn__relative_of(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, size_t lo, size_t hi,
                              char *bias)
{
    const attn__kernel *kernel = p->run.kernel;
    const int64_t end = attn__relative_key(p, rows, i) + 1, begin = end - (int64_t)p->rel_entries;
    const size_t es = kernel->size, from = attn__clamp(begin, lo, hi), to = attn__clamp(end, from, hi);
    const size_t cut[4] = {lo, from, to, hi};
    for (int part = 0; part < 3; part++) {
        const size_t j = cut[part], n = cut[part + 1] - j;
        const char *at = n ? attn__relative_at(p, rows, h, i, j) : NULL;
        if (at)
            kernel->load(bias + (j - lo) * es, at, p->rel_bias.dtype, part == 1 ? -p->rel_bias.stride[ATTN__D] : 0, n);
        else attn__memset(bias + (j - lo) * es, 0, n * es);
    }
}

/* What ALiBi, relative bias and an additive mask add to keys [lo, hi) of row r, times `unit`: to `bias`, first the sum
 * of the last two. Adding the 0 of a mask that keeps all is left out: a score stays -0, whose weight is that of 0.
 * Returns 0 if that is nothing. */
static int attn__bias_of(const attn__problem *p, const attn__rows *rows, size_t r, size_t lo, size_t hi, int mask_state,
                         char *bias, double unit)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t h = attn__head_of(rows, r), i = attn__query_of(rows, r);
    const int additive = ATTN__HAS(p, mask) && !attn__boolean(p) && mask_state != ATTN__MASK_KEEPS_ALL;
    const size_t open = additive ? attn__masked_from(rows, lo, hi) - lo : hi - lo;
    double relative[ATTN__TILE_STRIDE]; /* of T */
    if (!ATTN__HAS(p, alibi) && !ATTN__HAS(p, rel_bias) && !additive) return 0;
    if (ATTN__HAS(p, rel_bias)) attn__relative_of(p, rows, h, i, lo, hi, additive ? (char *)relative : bias);
    if (additive || !ATTN__HAS(p, rel_bias)) attn__memset(bias, 0, open * kernel->size);
    if (open < hi - lo)
        kernel->load(bias + open * kernel->size, attn__mask_at(p, rows, h, i, lo + open), p->mask.dtype,
                     p->mask.stride[ATTN__D], hi - lo - open);
    if (unit < 1) kernel->scale(bias, bias, hi - lo, unit);
    attn__memset(bias + (hi - lo) * kernel->size, 0, 16 * kernel->size); /* see attn__pad_rows */
    if (additive && ATTN__HAS(p, rel_bias)) {
        attn__memset((char *)relative + (hi - lo) * kernel->size, 0, 16 * kernel->size);
        if (unit < 1) kernel->scale(relative, relative, hi - lo, unit);
        kernel->join_bias(bias, relative, hi - lo);
    }
    if (ATTN__HAS(p, alibi))
        kernel->alibi(bias, hi - lo, attn__position(p, rows, i) - (int64_t)lo,
                      attn__element(&p->alibi, rows->b, h) * unit);
    return 1;
}

/* Do intervals, or a boolean mask, drop some of the keys between the first and the last that a row sees? */
static int attn__drops(const attn__problem *p, int mask_state)
{
    return mask_state == ATTN__MASK_MIXED && (ATTN__HAS(p, q_bounds) || (ATTN__HAS(p, mask) && attn__boolean(p)));
}
static void attn__drop(const attn__problem *p, const attn__rows *rows, size_t r, size_t lo, size_t hi, char *row,
                       int infinite)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t i = attn__query_of(rows, r), from = attn__masked_from(rows, lo, hi);
    unsigned char keep[ATTN__BLOCK + 16]; /* a byte a key, for bits from the first of a byte on */
    if (ATTN__HAS(p, mask) && attn__boolean(p) && from < hi) {
        const char *at = attn__mask_at(p, rows, attn__head_of(rows, r), i, from);
        char *masked = row + (from - lo) * kernel->size;
        if (p->mask.dtype == ATTN_BIT) {
            const size_t skip = (from - rows->mask_key) % 8;
            for (size_t k = 0; k < skip + hi - from; k += 8, at += p->mask.stride[ATTN__D]) { /* in each byte its bit */
                static const unsigned char one[8] = {1, 2, 4, 8, 16, 32, 64, 128};
                uint64_t bits;
                attn__memcpy(&bits, one, sizeof bits);
                bits &= *(const unsigned char *)at * UINT64_C(0x0101010101010101);
                attn__memcpy(keep + k, &bits, sizeof bits);
            }
            kernel->mask(masked, keep + skip, 1, hi - from, infinite);
        } else kernel->mask(masked, at, p->mask.stride[ATTN__D], hi - from, infinite);
    }
    if (!ATTN__HAS(p, q_bounds)) return;
    attn__memset(keep, 0, hi - lo);
    for (size_t n = 0; n < p->bounds / 2; n++) {
        const attn__range keys = {lo, hi}, part = attn__interval(p, rows, i, n, keys);
        if (part.lo < part.hi) attn__memset(keep + (part.lo - lo), 1, part.hi - part.lo);
    }
    kernel->mask(row, keep, 1, hi - lo, infinite);
}

/* The same in float64 where the slope is not finite. */
static void attn__steep_row(const attn__problem *p, const attn__rows *rows, size_t r, double *row, size_t base,
                            size_t lo, size_t hi, double slope)
{
    const size_t h = attn__head_of(rows, r), i = attn__query_of(rows, r);
    for (size_t j = lo; j < hi; j++) {
        const double distance = (double)(attn__position(p, rows, i) - (int64_t)(base + j));
        const double mask = ATTN__HAS(p, mask) && !attn__boolean(p) && base + j >= rows->mask_from
                                ? attn__get(attn__mask_at(p, rows, h, i, base + j), p->mask.dtype)
                                : 0;
        const char *at = ATTN__HAS(p, rel_bias) ? attn__relative_at(p, rows, h, i, base + j) : NULL;
        const double relative = at ? attn__get(at, p->rel_bias.dtype) : 0;
        row[j] = attn__keeps(p, rows, h, i, base + j)
                     ? row[j] + (distance > 0 ? -distance : distance) * slope + relative + mask
                     : ATTN__MASKED_F64;
    }
}

/* Biases and mask on row r's scores of keys base + [lo, hi): MASKED where one drops the key. `bias` is room. */
static void attn__bias_row(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r, char *row,
                           char *bias, size_t base, size_t lo, size_t hi, int mask_state, double unit)
{
    const attn__kernel *kernel = p->run.kernel;
    double *scaled = attn__scaled_row(p, s, r);
    if (p->careful && kernel->dtype == ATTN_F64 && ATTN__HAS(p, alibi)) {
        const double slope = attn__element(&p->alibi, rows->b, attn__head_of(rows, r));
        if (!attn__finite_f64(slope)) {
            attn__steep_row(p, rows, r, (double *)(void *)row, base, lo, hi, slope);
            if (scaled) attn__steep_row(p, rows, r, scaled, base, lo, hi, slope);
            return;
        }
    }
    row += lo * kernel->size;
    if (attn__bias_of(p, rows, r, base + lo, base + hi, mask_state, bias, ATTN__UNIT_1))
        kernel->bias(row, bias, hi - lo, unit);
    if (scaled && attn__bias_of(p, rows, r, base + lo, base + hi, mask_state, bias, ATTN__UNIT_BIAS)) {
        kernel->scale(bias, bias, hi - lo, attn__scale2(1, -960)); /* in two steps: neither becomes 0 */
        kernel->bias(scaled + lo, bias, hi - lo, attn__scale2(1, 960 + 64 - s->row[r].exponent));
    }
    if (attn__drops(p, mask_state)) attn__drop(p, rows, r, base + lo, base + hi, row, 0);
    if (attn__drops(p, mask_state) && scaled) attn__drop(p, rows, r, base + lo, base + hi, (char *)(scaled + lo), 0);
}

/* The same on a panel's scores of keys base + [from, to), as s->tile begins at base + first: row by row to
 * s->panel, then turned. */
static void attn__bias_panel(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r0, size_t count,
                             const attn__block_range *ranges, size_t base, size_t first, size_t from, size_t to)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, nr = kernel->nr;
    char *scores = s->tile + (from - first) * nr * es;
    int any = 0;
    for (size_t c = 0; c < count; c++) {
        char *row = s->panel + c * ATTN__TILE_STRIDE * es;
        const size_t lo = ranges ? ranges[c].lo : from, hi = ranges ? ranges[c].hi : to;
        const int mask_state = ranges ? ranges[c].mask_state : ATTN__MASK_KEEPS_ALL;
        if (mask_state != ATTN__MASK_DROPS_ALL &&
            attn__bias_of(p, rows, r0 + c, base + lo, base + hi, mask_state, row + (lo - from) * es, ATTN__UNIT_1)) {
            attn__memset(row, 0, (lo - from) * es);
            attn__memset(row + (hi - from) * es, 0, (to - hi) * es);
            any = 1;
        } else attn__memset(row, 0, (to - from) * es);
        if (!attn__drops(p, mask_state)) continue;
        attn__drop(p, rows, r0 + c, base + lo, base + hi, row + (lo - from) * es, 1);
        any = 1;
    }
    if (!any) return;
    kernel->bias_panel(scores, s->panel, count, to - from, ATTN__UNIT_LN2);
}

/* Are float32 rows done in double? */
static int attn__doubled(const attn__problem *p)
{
    return p->careful && p->run.kernel->dtype == ATTN_F64 && p->q.dtype != ATTN_F64;
}

/* Weights that no sum of values overflows with. */
#define ATTN__LIGHT (1 / 1099511627776.0)
static int attn__light(const attn__problem *p)
{
    return p->careful == ATTN__REDO_LIGHT || p->careful == ATTN__REDO_BOTH;
}

/* ---- float64 scores beyond the range ---- */

/* The score of row r and key base + j, of the terms that are not finite: NaN or infinity. */
static double attn__special_score(const attn__problem *p, const attn__rows *rows, size_t r, size_t base, size_t j)
{
    const char *q = attn__query_at(&p->q, rows, attn__head_of(rows, r), attn__query_of(rows, r));
    const char *k = attn__key_at(p, &p->k, rows, base + j, 0);
    const ptrdiff_t q_step = p->q.stride[ATTN__D] * p->q.size, k_step = p->k.stride[ATTN__D] * p->k.size;
    double score = 0;
    for (size_t c = 0; c < p->dim && !attn__nan_f64(score); c++, q += q_step, k += k_step) {
        const double x = attn__get(q, p->q.dtype), y = attn__get(k, p->k.dtype);
        if (!attn__finite_f64(x) || !attn__finite_f64(y)) score += x * y;
    }
    return score * p->scale;
}

static attn__beyond attn__beyond_of(const attn__row *row)
{
    const int exponent = row->exponent, third = exponent / 3, rest = exponent - 2 * third; /* 2^exponent may be none */
    attn__beyond b;
    b.third = attn__power2(third);
    b.rest = attn__power2(rest);
    /* the largest number times 2^-exponent, by its bits: that may be a subnormal number */
    b.limit = attn__from_bits_f64(exponent < 2046 ? ((uint64_t)(2047 - exponent) << 52) - 1
                                                  : (uint64_t)1 << (2098 - exponent));
    b.top = row->top;
    b.only = attn__bits_f64(b.top) << 1 >> 1 > attn__bits_f64(b.limit) && b.top > ATTN__MASKED_F64 &&
             b.top < attn__infinity();
    return b;
}
/* Are all scores that have a weight beyond the range? Then it is the largest alone, as the next one lies further below
 * than exp reaches. */
static int attn__only_beyond(const attn__problem *p, const attn__row *row)
{
    return attn__scaled(p) && attn__beyond_of(row).only;
}

/* With a large scale, where none of a row is, the least beyond the range would be subnormal numbers; with an exponent
 * that is lower by so much they are not. So are scores that are asked for beside NaN, which decides the row. */
#define ATTN__LOWER 100
static int attn__wants_lower(const attn__row *row, int lower)
{
    const double least = attn__power2(lower - 900);
    return row->sees & ATTN__SEES_NAN || (row->top < least && row->top > -least);
}

/* Raw scores [lo, hi) of row r and scaled ones: one is known where the other was not. Returns 1, as the row is decided,
 * at the first NaN, unless `all` are wanted. */
static int attn__complete_row(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r, double *row,
                              size_t base, size_t lo, size_t hi, int all)
{
    const attn__beyond beyond = attn__beyond_of(s->row + r);
    double *scaled = attn__scaled_row(p, s, r);
    if (!p->run.kernel->complete(row + lo, scaled + lo, hi - lo, &beyond)) return 0;
    for (size_t j = lo; j < hi; j++) {
        int dropped;
        if (!attn__nan_f64(row[j])) continue; /* or infinity times what became 0 */
        dropped = !all && !attn__keeps(p, rows, attn__head_of(rows, r), attn__query_of(rows, r), base + j);
        scaled[j] = dropped ? 0 : attn__special_score(p, rows, r, base, j);
        if (attn__nan_f64(scaled[j]) && !all) return 1;
        row[j] = scaled[j] * beyond.third * beyond.third * beyond.rest;
    }
    return 0;
}

/* Softcap of scores [lo, hi) of row r. The kernel gives NaN where a score is infinite; with care it is large instead,
 * and becomes what tanh(infinity) = 1 gives. */
static void attn__cap_row(const attn__problem *p, attn__scratch *s, size_t r, char *row, size_t lo, size_t hi,
                          double softcap)
{
    const attn__kernel *kernel = p->run.kernel;
    const double limit = 1e300; /* a softcap so large leaves sums of products of float32 numbers as they are */
    double *score = (double *)(void *)row, *scaled = attn__scaled_row(p, s, r);
    if (attn__doubled(p) && softcap > limit) {
        kernel->limit(score + lo, hi - lo, limit);
        return;
    }
    if (attn__doubled(p) || (attn__scaled(p) && softcap <= limit))
        kernel->limit(score + lo, hi - lo, -ATTN__MASKED_F64);
    kernel->softcap(row + lo * kernel->size, hi - lo, softcap);
    if (!scaled) return;
    for (size_t j = lo; j < hi && softcap > limit; j++) {
        int e;
        if (!attn__nan_f64(score[j])) continue;
        score[j] = scaled[j] / attn__split(softcap, &e);
        score[j] = softcap * attn__tanh_f64(attn__scale2(score[j], s->row[r].exponent - e));
    }
    kernel->scale(scaled + lo, score + lo, hi - lo, attn__scale2(1, -500)); /* in two steps: neither becomes 0 */
    kernel->scale(scaled + lo, scaled + lo, hi - lo, attn__scale2(1, 500 - s->row[r].exponent));
}

/* Scores [lo, hi) of row r, of float32 numbers in float64, of which some are not finite, since inputs are not: notes
 * what the row sees; -inf has the weight 0, and if there is nothing else, weigh_row says so. Returns 1 if other weights
 * are not known. */
static int attn__decide_row(attn__row *known, double *row, size_t lo, size_t hi)
{
    for (size_t j = lo; j < hi && !(known->sees & ATTN__SEES_NAN); j++)
        known->sees = (unsigned char)(known->sees | attn__take_kind_f64(row + j, ATTN__MASKED_F64));
    return known->sees != ATTN__SEES_LOW;
}

/* Softcap and bias for scores of keys base + [lo, hi) of row r. `unit` is what they are in. */
static void attn__modify_row(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r, char *row,
                             char *bias, size_t base, const attn__block_range *range, double unit)
{
    if (p->softcap > 0) attn__cap_row(p, s, r, row, range->lo, range->hi, p->softcap * unit);
    if (p->modified) attn__bias_row(p, rows, s, r, row, bias, base, range->lo, range->hi, range->mask_state, unit);
}

/* The same of scores that may be beyond the range, and which are the largest of them. Returns 1 if none has a weight,
 * or that is not known yet. */
static int attn__modify_scaled(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r, double *row,
                               char *bias, size_t base, const attn__block_range *range)
{
    const size_t lo = range->lo, hi = range->hi, size = (hi - lo) * sizeof *row;
    double *scaled = attn__scaled_row(p, s, r), *first = attn__scaled_row(p, s, p->rows),
           *first_scaled = attn__scaled_row(p, s, p->rows + 1);
    attn__row *known = s->row + r;
    const int either = p->find == ATTN__FIND_AT_ONCE && attn__large_scale(p), exponent = known->exponent;
    int as_before = either && r > 0 && s->row[r - 1].exponent == exponent,
        lower = either && !as_before ? ATTN__LOWER : 0;
    if (known->sees & (p->find ? ATTN__SEES_NAN : ATTN__SEES_NAN | ATTN__SEES_INF)) return 1;
    if (either) attn__memcpy(first, row + lo, size), attn__memcpy(first_scaled, scaled + lo, size);
    for (;;) { /* the lower one often is the right one, and that of the row before, if there is no doubt */
        known->exponent = exponent - lower;
        attn__scale_scores(p, s, r, lo, hi);
        if (attn__complete_row(p, rows, s, r, row, base, lo, hi, 0)) {
            known->sees |= ATTN__SEES_NAN;
            if (either) known->exponent = exponent - ATTN__LOWER;
            return 1;
        }
        attn__modify_row(p, rows, s, r, (char *)row, bias, base, range, ATTN__UNIT_1);
        if (p->find)
            known->sees = (unsigned char)(known->sees | p->run.kernel->find_top(scaled + lo, hi - lo, &known->top));
        if (as_before ? !attn__wants_lower(known, 10) : !lower || attn__wants_lower(known, lower)) break;
        attn__memcpy(row + lo, first, size), attn__memcpy(scaled + lo, first_scaled, size);
        known->sees = 0, known->top = ATTN__MASKED_F64;
        lower = as_before ? ATTN__LOWER : 0;
        as_before = 0;
    }
    return p->find == ATTN__FIND_FIRST || known->sees & (ATTN__SEES_NAN | ATTN__SEES_INF);
}

/* Softcap, bias and exp for one row of a tile: scores of keys base + [from, to)
 * become weights relative to the row's maximum in this block. Returns 1 if they do not. */
static int attn__row_softmax(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r,
                             const attn__block_range *range, char *row, char *bias, size_t base, size_t from, size_t to,
                             double *max, double *sum)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t lo = range->lo, hi = range->mask_state == ATTN__MASK_DROPS_ALL ? lo : range->hi;
    attn__row *known = s->row + r;
    double *score = (double *)(void *)row;
    if (lo < hi && attn__scaled(p)) {
        attn__beyond beyond;
        double most;
        if (attn__modify_scaled(p, rows, s, r, score, bias, base, range)) return 1;
        beyond = attn__beyond_of(known);
        most = kernel->decide(score + lo, attn__scaled_row(p, s, r) + lo, hi - lo, &beyond);
        if (most <= -attn__infinity()) return 1;
        kernel->weigh_row(row, from, lo, hi, to, max, sum);
        *max = most;
        return 0;
    }
    if (lo < hi) attn__modify_row(p, rows, s, r, row, bias, base, range, ATTN__UNIT_LN2);
    if (!kernel->weigh_row(row, from, lo, hi, to, max, sum)) return 0;
    return !attn__doubled(p) || attn__decide_row(known, score, lo, hi) ||
           kernel->weigh_row(row, from, lo, hi, to, max, sum);
}

/* ---- states of blocks ---- */

/* Joins what will not meet `block` before meeting each other. */
static void attn__join_slots(const attn__problem *p, size_t count, attn__scratch *s, size_t block)
{
    const size_t stride = p->rows * p->width * p->run.kernel->size;
    while (attn__tree_joins(&s->tree, block)) {
        const size_t b = s->tree.depth, a = b - 1;
        p->run.kernel->join(count, p->width, s->acc + a * stride, s->max + a * p->rows, s->sum + a * p->rows,
                            s->acc + b * stride, s->max + b * p->rows, s->sum + b * p->rows, 0);
    }
}

/* Few rows: acc += weights of s->tile * values base + [from, to), of which [0, whole) columns are where they lie, or in
 * s->rows. */
static void attn__add_values(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t base, size_t from,
                             size_t to, size_t whole, char *acc, int accumulate)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, width = p->width;
    const char *weights = s->tile + from * es;
    if (whole && attn__gathers_values(p))
        kernel->add_values(rows->count, whole, to - from, weights, s->rows, kernel->dtype, p->dim_v, 0, acc, width,
                           accumulate);
    else if (whole) {
        const char *at = attn__key_at(p, &p->v, rows, base + from, 0);
        kernel->add_values(rows->count, whole, to - from, weights, at, p->v.dtype, (size_t)p->v.stride[ATTN__S],
                           attn__keys_ahead(p, rows, &p->v, at, base + from, ATTN__ROWS_AHEAD), acc, width, accumulate);
    }
    if (whole < width)
        attn__multiply_rows(kernel, rows->count, width - whole, to - from, weights, s->v, (to - from) * kernel->nr,
                            acc + whole * es, width, accumulate);
}

/* The same of values of 8 bits where they lie, from a key on. Returns of how many, 0 if they cannot be used so. */
static size_t attn__add_codes(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t base,
                              size_t from, const attn__key_block *block, int accumulate)
{
    const attn__kernel *kernel = p->run.kernel;
    size_t to = attn__min(block->keys.hi, (from / ATTN__CODE_ROWS + 1) * ATTN__CODE_ROWS);
    attn__codes codes;
    if (!kernel->add_codes || base + from < p->kv_begin) return 0;
    to = from + attn__together(p, base + from, base + to);
    codes = attn__codes_of(p, rows, &p->v, base + from);
    codes.ahead = attn__keys_ahead(p, rows, &p->v, codes.at, base + from, ATTN__CODE_ROWS);
    return kernel->add_codes(rows->count, p->dim_v, to - from,
                             (const float *)(const void *)(s->tile + from * kernel->size), &codes,
                             (float *)(void *)block->acc, p->width, accumulate)
               ? to - from
               : 0;
}

/* The place of a score, NULL if it is not asked for. */
static char *attn__score_at(const attn__problem *p, const attn__rows *rows, size_t h, size_t i, size_t j)
{
    const size_t head = h - p->desc->scores_head, query = rows->q_base + i - p->desc->scores_query;
    if (!ATTN__HAS(p, scores) || head >= p->scores_heads || query >= p->scores_queries) return NULL;
    return attn__at(&p->scores, rows->b, head, query, j - p->kv_begin);
}

/* Weights of row r, of keys base + [lo, hi) of a block, to the score matrix. What they are multiplied by is known when
 * all blocks are done, unless there is but one. The block's others are 0. */
static void attn__store_weights(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r,
                                const attn__key_block *block, size_t lo, size_t hi, const char *weights)
{
    const int alone = p->stored_blocks == 1 && !ATTN__HAS(p, sinks);
    const size_t es = p->run.kernel->size, number = block->base / ATTN__BLOCK - p->kv_begin / ATTN__BLOCK,
                 begin = p->kv_begin > block->base ? p->kv_begin - block->base : 0,
                 end = attn__min(p->kv_begin + p->kv_len - block->base, ATTN__BLOCK);
    char *at = attn__score_at(p, rows, attn__head_of(rows, r), attn__query_of(rows, r), block->base + begin);
    if (!at || block->max[r] <= -attn__infinity()) return;
    attn__memset(at, 0, (lo - begin) * es);
    if (alone) p->run.kernel->scale(at + (lo - begin) * es, weights, hi - lo, 1 / block->sum[r]);
    else attn__memcpy(at + (lo - begin) * es, weights, (hi - lo) * es);
    attn__memset(at + (hi - begin) * es, 0, (end - hi) * es);
    s->block_max[r * p->stored_blocks + number] = alone ? attn__infinity() : block->max[r];
}

/* Is a row done for its own sake, and not for others in its window? */
static int attn__wanted(const attn__problem *p, const attn__row *row) { return !p->careful || row->redo == p->careful; }
/* Has any of so many rows weights, as far as its scores are known? */
static int attn__any_weight(const attn__problem *p, const attn__row *row, size_t count)
{
    for (size_t r = 0; r < count; r++)
        if (attn__wanted(p, row + r) &&
            (p->careful ? !(row[r].sees & (ATTN__SEES_NAN | ATTN__SEES_INF)) : !row[r].not_finite))
            return 1;
    return 0;
}

/* Values [from, to), until what p->find asks for is found. */
static void attn__look_at_values(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t from,
                                 size_t to)
{
    const attn__kernel *kernel = p->run.kernel;
    const int large = p->find == ATTN__LOOK_LARGE;
    const double most = large ? 2 * (double)p->kv_len : 1; /* weights are at most 1, and sums are rounded */
    for (size_t next; from < to && !s->found; from = next) {
        next = attn__min((from / kernel->step + 1) * kernel->step, to);
        if (large ? attn__set_aside(p, rows, s, from, next)
                  : !attn__finite_f64(attn__gather(p, rows, s, &p->v, from, next, 0, p->dim_v)))
            s->found = kernel->scale(s->rows, s->rows, (next - from) * p->dim_v, most);
    }
}

/* Few rows over one block of keys, which are in lanes: scores, weights, and the sum of their values. */
static void attn__do_rows(const attn__problem *p, const attn__rows *rows, attn__scratch *s,
                          const attn__key_block *block)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, step = kernel->step, base = block->base;
    const size_t from = block->keys.lo / step * step, to = attn__round_up(block->keys.hi, step);
    const int gathered = attn__gathers_values(p), coded = gathered && !p->careful;
    const size_t whole =
        kernel->few_rows && (p->v.stride[ATTN__S] >= 0 || gathered) ? p->dim_v / kernel->nr * kernel->nr : 0;
    const int weighed = p->find == ATTN__WEIGHED;
    int accumulate = 0;
    if (!weighed) attn__score_rows(p, rows, s, base, from, to);
    for (size_t r = 0; r < rows->count; r++) {
        char *row = s->tile + r * ATTN__TILE_STRIDE * es;
        if (attn__wanted(p, s->row + r) &&
            (weighed || !attn__row_softmax(p, rows, s, r, &block->ranges[r], row, s->bias, base, from, to,
                                           &block->max[r], &block->sum[r]))) {
            if (attn__light(p)) kernel->scale(row + from * es, row + from * es, to - from, ATTN__LIGHT);
            continue;
        }
        s->row[r].not_finite = 1;
        block->max[r] = -attn__infinity();
        block->sum[r] = 0;
        if (p->find != ATTN__FIND_FIRST) attn__memset(row + from * es, 0, (to - from) * es);
    }
    if (p->find == ATTN__FIND_FIRST) return;
    if (!attn__any_weight(p, s->row, rows->count)) { /* values do not matter */
        attn__memset(block->acc, 0, rows->count * p->width * es);
        return;
    }
    for (size_t r = 0; r < rows->count && p->stored_blocks && !weighed; r++)
        attn__store_weights(p, rows, s, r, block, block->ranges[r].lo, block->ranges[r].hi,
                            s->tile + (r * ATTN__TILE_STRIDE + block->ranges[r].lo) * es);
    for (size_t lo = block->keys.lo, next; lo < block->keys.hi; lo = next) { /* a piece at a time: it comes in order,
                                                                               and stays in the nearest cache */
        size_t cols = whole;
        next = lo + (coded && cols == p->width ? attn__add_codes(p, rows, s, base, lo, block, accumulate) : 0);
        if (next > lo) {
            accumulate = 1;
            continue;
        }
        next = attn__min((lo / step + 1) * step, block->keys.hi);
        if (attn__in_place(p, rows, &p->v, base + lo)) next = lo + attn__together(p, base + lo, base + next);
        else if (cols && p->careful) {
            if (!weighed || next - lo < block->keys.hi - block->keys.lo) /* or else they are there still */
                attn__set_aside(p, rows, s, base + lo, base + next);
        } else if (cols && coded) attn__gather(p, rows, s, &p->v, base + lo, base + next, 0, p->dim_v);
        else cols = 0;
        if (cols < p->dim_v) attn__pack_values(p, rows, s, base + lo, base + next, cols);
        attn__add_values(p, rows, s, base, lo, next, cols, block->acc, accumulate);
        accumulate = 1;
    }
}

/* How many values are summed at a time. */
static size_t attn__near_values(const attn__problem *p)
{
    return attn__max(ATTN__NEAR_VALUES / attn__max(p->dim_v, 1), ATTN__NEAR_KEYS);
}

/* A panel of rows [r0, r0 + count), which are in lanes, over one block of keys. */
static void attn__do_panel(const attn__problem *p, const attn__rows *rows, attn__scratch *s, attn__key_block *block,
                           size_t r0, size_t count)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, nr = kernel->nr, base = block->base, first = block->first;
    const attn__block_range *ranges = block->ranges ? block->ranges + r0 : NULL;
    char *acc = block->acc + r0 * p->width * es;
    const int one = attn__one_panel(p, rows), whole = attn__whole_blocks(p, rows);
    const size_t piece = attn__near_values(p);
    attn__soon soon;
    double max[ATTN__NR_MAX]; /* of T */
    attn__range within = {ATTN__BLOCK, 0}, seen = {0, ATTN__BLOCK};
    int looked = p->softcap <= 0 && p->dim > 0 && !ATTN__HAS(p, alibi) && !ATTN__HAS(p, rel_bias);
    if (!ranges) within = seen = block->keys;
    for (size_t c = 0; c < count && ranges; c++) {
        if (ranges[c].mask_state == ATTN__MASK_DROPS_ALL) {
            seen.hi = 0;
            continue;
        }
        within.lo = attn__min(within.lo, ranges[c].lo), within.hi = attn__max(within.hi, ranges[c].hi);
        seen.lo = attn__max(seen.lo, ranges[c].lo), seen.hi = attn__min(seen.hi, ranges[c].hi);
        if (ranges[c].mask_state == ATTN__MASK_MIXED) looked = 0;
    }
    for (size_t c = 0; c < count; c++) block->max[r0 + c] = -attn__infinity(), block->sum[r0 + c] = 0;
    if (within.lo >= within.hi) return;
    within.lo -= first, within.hi -= first;
    if (seen.lo >= seen.hi) seen.lo = seen.hi = within.hi, looked = 0;
    else seen.lo -= first, seen.hi -= first;
    if (count <= nr / 2 &&
        (p->softcap > 0 || p->modified)) /* the other half of the tile is not written: nothing may trap */
        attn__memset(s->tile + within.lo * nr * es, 0, (within.hi - within.lo) * nr * es);
    attn__score_panel(p, rows, s, block, r0, count, within.lo, seen.lo, NULL);
    attn__score_panel(p, rows, s, block, r0, count, seen.lo, seen.hi, looked ? max : NULL);
    attn__score_panel(p, rows, s, block, r0, count, seen.hi, within.hi, NULL);
    looked &= block->squares * block->queries < (kernel->dtype == ATTN_F64 ? 1e300 : 1e75); /* a score's square is no
                                                                                                more */
    if (p->softcap > 0)
        kernel->softcap(s->tile + within.lo * nr * es, (within.hi - within.lo) * nr, p->softcap * ATTN__UNIT_LN2);
    if (p->modified) attn__bias_panel(p, rows, s, r0, count, ranges, base, first, first + within.lo, first + within.hi);
    kernel->weigh(s->tile, count, ranges, first, within, seen, max, looked, block->max + r0, block->sum + r0);
    for (size_t r = r0; r < r0 + count; r++)
        if (attn__nan_f64(block->max[r])) block->max[r] = -attn__infinity(), s->row[r].not_finite = 1;
    if (!attn__any_weight(p, s->row + r0, count)) { /* values do not matter */
        attn__memset(acc, 0, count * p->width * es);
        return;
    }
    if (p->stored_blocks) {
        kernel->turn(s->panel, ATTN__TILE_STRIDE, s->tile + within.lo * nr * es, (ptrdiff_t)nr, within.hi - within.lo,
                     count);
        for (size_t c = 0; c < count; c++)
            attn__store_weights(p, rows, s, r0 + c, block, first + within.lo, first + within.hi,
                                s->panel + c * ATTN__TILE_STRIDE * es);
    }
    for (size_t from = within.lo, to; from < within.hi; from = to) {
        const char *values;
        ptrdiff_t stride;
        int fetches = !whole && r0 == 0;
        to = attn__min(from + piece, within.hi);
        if (p->v_copied > one) {
            char *copy = s->v + (one ? 0 : from) * p->dim_v * es;
            const size_t absent = one ? from : attn__not_copied(&block->copied[1], from, to);
            fetches &= absent < to;
            attn__copy_rows(p, rows, &p->v, base + first + absent, base + first + to, 0, p->dim_v,
                            copy + (absent - from) * p->dim_v * es, p->dim_v);
            values = copy, stride = (ptrdiff_t)p->dim_v;
        } else values = attn__key_at(p, &p->v, rows, base + first + from, 0), stride = p->v.stride[ATTN__S];
        if (fetches)
            soon = attn__fetch_next(p, rows, &p->v, base + first + to, base + first + attn__min(to + piece, within.hi),
                                    p->dim_v, &block->ahead[0]);
        kernel->sum_values(p->dim_v, count, to - from, values, stride, s->tile + from * nr * es, s->panel,
                           from > within.lo, fetches ? &soon : block->ahead);
    }
    kernel->turn(acc, p->width, s->panel, (ptrdiff_t)nr, p->dim_v, count);
}

/* What to fetch while a block is at work: keys and values of the next one, below `end`; after the last, the queries of
 * the next task, and where results will go. Or, where it is not whole blocks, keys of the next one, or queries, and
 * first of all values of this one. */
static void attn__look_beyond(const attn__problem *p, const attn__rows *rows, attn__key_block *block, size_t end)
{
    const size_t next = block->base + ATTN__BLOCK, query = rows->query + p->query_block,
                 lo = block->base + block->keys.lo;
    const int whole = attn__whole_blocks(p, rows);
    const attn__soon none = {NULL, 0, 0, 0, 0, NULL};
    block->ahead[0] = block->ahead[1] = none;
    if (!whole)
        block->ahead[1] = attn__soon_of(p, rows, &p->v, lo,
                                        attn__min(lo + attn__near_values(p), block->base + block->keys.hi), p->dim_v);
    if (next < end) {
        end = attn__min(next + (whole ? ATTN__BLOCK : ATTN__NEAR_KEYS), end);
        block->ahead[0] = attn__soon_of(p, rows, &p->k, next, end, p->dim);
        if (whole) block->ahead[1] = attn__soon_of(p, rows, &p->v, next, end, p->dim_v);
    } else if (query < rows->q_len) {
        block->ahead[0] = attn__rows_at(p, &p->q, attn__query_at(&p->q, rows, rows->head, query),
                                        attn__min(p->query_block, rows->q_len - query), p->dim);
        if (whole && ATTN__HAS(p, out)) /* a part has none */
            block->ahead[1] = attn__rows_at(p, &p->out, attn__query_at(&p->out, rows, rows->head, rows->query),
                                            p->query_block, p->dim_v);
    }
    if (whole && block->ahead[1].runs) block->ahead[0].then = &block->ahead[1];
}

/* The first key from `from` on that position and intervals leave to any row: far away between sinks and a window. */
ATTN__NOINLINE static size_t attn__next_seen(const attn__problem *p, const attn__rows *rows, const attn__scratch *s,
                                             size_t from)
{
    size_t next = (size_t)-1;
    for (size_t r = 0; r < rows->count; r++) {
        attn__range keys = {attn__max(s->row[r].keys.lo, from), s->row[r].keys.hi};
        if (keys.lo < keys.hi && attn__bounds_range(p, rows, attn__query_of(rows, r), &keys) != ATTN__MASK_DROPS_ALL)
            next = attn__min(next, keys.lo);
    }
    return next;
}

/* The states of all rows over the keys of `within` that they see, in slot 0.
 *
 * Each block of 512 keys gives a state (max, sum of exp(score - max), sum of
 * weight * v), whatever the other blocks hold. States are joined along the
 * binary tree over block numbers; empty ones are its identity. So any range of
 * blocks can be computed by anybody, at any time, and skipping is free. */
static void attn__states(const attn__problem *p, const attn__rows *rows, attn__scratch *s, attn__range within)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, count = rows->count;
    attn__range all = {(size_t)-1, 0}, each = {0, (size_t)-1}; /* what any row sees, and what every row sees */
    const attn__range nothing = {0, 0};
    attn__key_block block;
    size_t known = (size_t)-1; /* ranges are */

    for (size_t r = 0; r < count; r++) {
        attn__row *row = s->row + r;
        row->keys = attn__visible(p, rows, attn__query_of(rows, r), within);
        attn__widen(&all, row->keys);
        each.lo = attn__max(each.lo, row->keys.lo);
        each.hi = attn__min(each.hi, row->keys.hi);
        if (!attn__needs_scores(p)) continue;
        row->not_finite = 0;
        if (!attn__scaled(p) || p->find) row->sees = 0, row->top = ATTN__MASKED_F64;
        s->max[r] = -attn__infinity();
        s->sum[r] = 0;
    }
    for (size_t i = 0; i < count * p->stored_blocks; i++) s->block_max[i] = -attn__infinity();
    block.queries =
        attn__needs_scores(p) ? attn__load_queries(p, rows, s, attn__scaled(p) ? ATTN__UNIT_1 : ATTN__UNIT_LN2) : 0;

    s->tree.depth = 0;
    for (size_t number = all.lo / ATTN__BLOCK; number * ATTN__BLOCK < all.hi; number++) {
        const size_t base = number * ATTN__BLOCK;
        size_t slot;
        if (!p->careful && !attn__any_weight(p, s->row, count)) break; /* all are done again */
        block.base = base;
        block.keys.lo = all.lo > base ? all.lo - base : 0;
        block.keys.hi = attn__min(all.hi - base, ATTN__BLOCK);
        block.ranges = NULL; /* all rows see those */
        if (p->few || attn__masked(p) || base + block.keys.lo < each.lo || base + block.keys.hi > each.hi) {
            if (known != number / ATTN__MASK_BLOCKS) attn__look_ahead(p, rows, s, number, all.hi);
            known = number / ATTN__MASK_BLOCKS;
            block.ranges = s->ranges + number % ATTN__MASK_BLOCKS * p->rows;
            block.keys.lo = ATTN__BLOCK;
            block.keys.hi = 0;
        }
        for (size_t r = 0; r < count && block.ranges; r++)
            if (block.ranges[r].mask_state != ATTN__MASK_DROPS_ALL) {
                block.keys.lo = attn__min(block.keys.lo, block.ranges[r].lo);
                block.keys.hi = attn__max(block.keys.hi, block.ranges[r].hi);
            }
        if (block.keys.lo >= block.keys.hi) {
            if (ATTN__HAS(p, q_bounds)) number = attn__next_seen(p, rows, s, base + ATTN__BLOCK) / ATTN__BLOCK - 1;
            continue;
        }
        if (p->find >= ATTN__LOOK_SPECIAL) {
            attn__look_at_values(p, rows, s, base + block.keys.lo, base + block.keys.hi);
            if (s->found) break;
            continue;
        }
        if (p->find != ATTN__FIND_FIRST) attn__join_slots(p, count, s, number);
        slot = p->find == ATTN__FIND_FIRST ? 0 : attn__tree_push(&s->tree, number);
        block.acc = s->acc + slot * p->rows * p->width * es;
        block.max = s->max + slot * p->rows;
        block.sum = s->sum + slot * p->rows;
        if (p->few) {
            attn__do_rows(p, rows, s, &block);
            continue;
        }
        block.first = block.keys.lo / kernel->step * kernel->step;
        block.copied[0] = block.copied[1] = nothing;
        block.squares = 0;
        attn__look_beyond(p, rows, &block, all.hi);
        for (size_t r = 0; r < count; r += kernel->nr)
            attn__do_panel(p, rows, s, &block, r, attn__min(kernel->nr, count - r));
    }
    attn__join_slots(p, count, s, ATTN__TREE_END);
}

/* The largest score a row sees, and the sum of exp(score - max). */
typedef struct attn__statistics {
    double max, sum;
} attn__statistics;

/* Those of row r, from its state in slot 0; what its scores have that is not finite is in `sees`. */
static attn__statistics attn__statistics_of(const attn__problem *p, const attn__scratch *s, size_t r)
{
    const attn__row *row = s->row + r;
    const double nan = attn__from_bits_f64(0x7ff8000000000000u);
    attn__statistics t;
    t.max = s->max[r];
    t.sum = s->sum[r];
    if (row->sees & ATTN__SEES_NAN) t.max = t.sum = nan;
    else if (row->sees & ATTN__SEES_INF) t.max = attn__infinity(), t.sum = nan;
    else if (attn__only_beyond(p, row))
        t.max = attn__saturate(row->top > 0 ? attn__infinity() : -attn__infinity(), ATTN_F64);
    else if (row->sees && t.max <= -attn__infinity()) t.sum = nan; /* nothing but -inf */
    if (p->careful && attn__finite_f64(t.max))
        t.max = attn__saturate(t.max, p->q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32);
    return t;
}
static void attn__put_statistics(const attn__problem *p, const attn__rows *rows, size_t r, attn__statistics t)
{
    const size_t h = attn__head_of(rows, r), i = rows->q_base + attn__query_of(rows, r);
    if (ATTN__HAS(p, rowmax)) attn__put(attn__at(&p->rowmax, 0, rows->b, h, i), p->rowmax.dtype, t.max);
    if (ATTN__HAS(p, rowsum)) attn__put(attn__at(&p->rowsum, 0, rows->b, h, i), p->rowsum.dtype, t.sum);
}

/* From the state of row r in slot 0 to what its sum of values is multiplied by, NaN if its output is, and what its
 * log-sum-exp is made of. */
static double attn__row_factor(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r)
{
    const size_t h = attn__head_of(rows, r);
    const double sink = ATTN__HAS(p, sinks) ? attn__element(&p->sinks, 0, h) : -attn__infinity();
    attn__row *row = s->row + r;
    double max = s->max[r], sum = s->sum[r], factor = attn__from_bits_f64(0x7ff8000000000000u), lse = max;
    if (max <= -attn__infinity() && !row->sees) factor = sum = 0; /* no key */
    else if (row->sees & ATTN__SEES_NAN) lse = factor, sum = 0;
    else if (!(sink < attn__infinity())) lse = sink, sum = 0; /* NaN, or infinity minus itself, as here: */
    else if (row->sees & ATTN__SEES_INF) lse = attn__infinity(), sum = 0;
    else if (attn__only_beyond(p, row)) {
        const int above = row->top > 0;
        lse = attn__saturate(above ? attn__infinity() : sink, ATTN_F64);
        factor = above || sink <= -attn__infinity() ? 1 / sum : 0;
        sum = 0;
    } else if (sink > max) { /* the sink is one more logit below the line */
        const double little = p->doubles->exp_difference(max, sink, 1);
        sum = attn__madd_f64(sum, little, 1);
        factor = little / sum;
        lse = sink;
    } else if (!(sum <= 0)) { /* or nothing but -inf is seen */
        if (sink > -attn__infinity()) sum += p->doubles->exp_difference(sink, max, 1);
        factor = 1 / sum;
    }
    row->factor = factor;
    row->max = max;
    if (ATTN__HAS(p, rowmax) || ATTN__HAS(p, rowsum)) attn__put_statistics(p, rows, r, attn__statistics_of(p, s, r));
    /* what is added to a number so large does not change it */
    if (p->careful && attn__finite_f64(lse)) lse = attn__saturate(lse, p->q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32);
    row->lse = lse;
    row->sum = sum;
    return factor;
}

/* The log-sum-exp of up to ROWS rows. */
static void attn__take_logs(const attn__problem *p, const attn__row *row, size_t count, double *lse)
{
    for (size_t r = 0; r < attn__round_up(count, 8); r++)
        lse[r] = r < count && row[r].sum > 0 && attn__finite_f64(row[r].sum) ? row[r].sum : 1;
    p->doubles->logs(lse, count);
    for (size_t r = 0; r < count; r++)
        if (row[r].sum <= 0) lse[r] = row[r].lse;
        else lse[r] = row[r].lse + (attn__finite_f64(row[r].sum) ? lse[r] : row[r].sum);
}
static void attn__put_lse(const attn__problem *p, const attn__rows *rows, const attn__scratch *s)
{
    double lse[ATTN__ROWS];
    if (!ATTN__HAS(p, lse)) return;
    attn__take_logs(p, s->row, rows->count, lse);
    for (size_t r = 0; r < rows->count; r++)
        attn__put(attn__at(&p->lse, 0, rows->b, attn__head_of(rows, r), rows->q_base + attn__query_of(rows, r)),
                  p->lse.dtype, lse[r]);
}

/* From a sum of values to their average, which may have been rounded up. Returns 1 if it is not finite. */
static int attn__average(const attn__problem *p, char *acc, double factor)
{
    const attn__kernel *kernel = p->run.kernel;
    if (kernel->scale(acc, acc, p->dim_v, factor)) return 1;
    if (attn__light(p)) kernel->scale(acc, acc, p->dim_v, 1 / ATTN__LIGHT);
    if (attn__light(p) || attn__doubled(p))
        kernel->limit((double *)(void *)acc, p->dim_v,
                      -(attn__doubled(p) ? (double)ATTN__MASKED_F32 : ATTN__MASKED_F64));
    return 0;
}

/* What a column becomes by the values that are seen in it. */
static double attn__special_value(unsigned sees)
{
    static const unsigned upper[8] = {0x7ff8, 0x7ff8, 0x7ff0, 0x7ff8, 0xfff0, 0x7ff8, 0x7ff8, 0x7ff8};
    return attn__from_bits_f64((uint64_t)upper[sees] << 48); /* NaN, but for one infinity alone */
}
/* Of a row; `special` is NULL where all are NaN. Returns whether there are any. */
static int attn__put_special(const attn__problem *p, char *acc, const unsigned char *special)
{
    const int wide = p->run.kernel->size == sizeof(double);
    unsigned sees = ATTN__SEES_NAN, before = sees; /* often the same again */
    double value = attn__special_value(sees);
    int any = 0;
    for (size_t c = 0, end; c < p->dim_v; c = end) {
        end = attn__min(c + 8, p->dim_v);
        if (special && !attn__word((const char *)special + c, 0)) continue;
        any = 1;
        for (; c < end; c++) {
            if (special) sees = special[c];
            if (sees != before) value = attn__special_value(before = sees);
            if (sees && wide) ((double *)(void *)acc)[c] = value;
            else if (sees) ((float *)(void *)acc)[c] = (float)value;
        }
    }
    return any;
}

/* And to its output, with what is `special` if it is done with care, or else NULL; with light weights, only where that
 * is not finite yet. Returns 1 if it still is not. */
static int attn__finish_row(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r,
                            const unsigned char *special)
{
    const attn__kernel *kernel = p->run.kernel;
    char *acc = s->acc + r * p->width * kernel->size,
         *out = attn__query_at(&p->out, rows, attn__head_of(rows, r), attn__query_of(rows, r));
    const double factor = attn__row_factor(p, rows, s, r);
    const int nan = attn__nan_f64(factor);
    int bad = 0;
    if (s->max[r] <= -attn__infinity() && !nan) attn__memset(acc, 0, p->width * kernel->size);
    else bad = attn__average(p, acc, factor);
    if (nan && !special) return 1; /* also where there are no values */
    if (special) attn__put_special(p, acc, nan ? NULL : special);
    if (!attn__light(p)) kernel->store(out, p->out.dtype, p->out.stride[ATTN__D], acc, p->dim_v);
    for (size_t c = 0; c < p->dim_v && attn__light(p); c++, out += p->out.stride[ATTN__D] * p->out.size)
        if (!attn__finite_f64(*(double *)(void *)out)) *(double *)(void *)out = ((double *)(void *)acc)[c];
    return bad && !nan;
}

/* All rows, where results can be written as they are, but for those that need care, which become 0. Returns 1, with
 * nothing of use in out, if results of others are not finite. */
static int attn__finish_rows(const attn__problem *p, const attn__rows *rows, attn__scratch *s)
{
    const attn__kernel *kernel = p->run.kernel;
    double factors[ATTN__ROWS];
    int bad = 0;
    if (p->out.dtype != kernel->dtype || p->out.stride[ATTN__D] != 1) return 1;
    for (size_t r = 0; r < rows->count; r++) {
        const double factor = attn__row_factor(p, rows, s, r);
        const int care = attn__nan_f64(factor) | s->row[r].not_finite;
        factors[r] = care ? 0 : factor;
        if (care || s->max[r] <= -attn__infinity())
            attn__memset(s->acc + r * p->width * kernel->size, 0, p->width * kernel->size);
    }
    for (size_t i = 0; i < rows->heads && i < rows->count && !bad; i++)
        bad = kernel->scale_rows(attn__query_at(&p->out, rows, rows->head + i, rows->query), p->out.stride[ATTN__S],
                                 s->acc + i * p->width * kernel->size, rows->heads * p->width,
                                 (rows->count - i - 1) / rows->heads + 1, p->dim_v, factors + i, rows->heads);
    return bad;
}

/* ------------------------------------------------- attention, with care -- */

/* Rows whose fast result cannot stand are done again, a window of few rows at a time: in the same arithmetic, if only
 * values are not finite, or in double, where no product of float32 numbers overflows. `careful` is p with another
 * kernel, and as many rows in a window as there is room for. All of it depends on nothing but what the row sees. */
static attn_status attn__careful_layout(attn__problem *p, size_t es, size_t mr, size_t nr, size_t step, size_t rows)
{
    p->few = 1;
    p->rows = rows;
    p->width = attn__round_up(p->dim_v, nr / 2);
    return attn__scratch_layout(p, es, mr, nr, step, &p->layout);
}
static void attn__careful(const attn__problem *p, int redo, attn__scratch *s, attn__problem *careful,
                          attn__scratch *own)
{
    const attn__kernel *kernel = redo == ATTN__REDO_CLEAN ? p->run.kernel : p->doubles;
    size_t rows = attn__min(p->rows, ATTN__CARE_ROWS);
    *careful = *p;
    careful->run.kernel = kernel;
    careful->careful = redo;
    careful->gather = 1;
    /* by others weights are left as they are; those of one block come from the tile, of float32 from another pass */
    if (redo != ATTN__REDO_SCALED || p->stored_blocks == 1) careful->stored_blocks = 0;
    while (attn__careful_layout(careful, kernel->size, kernel->mr, kernel->nr, kernel->step, rows) ||
           careful->layout.size > p->run.each - p->care_at)
        rows -= (rows + 7) / 8; /* four fit */
    attn__scratch_at(&careful->layout, (char *)s->ranges_key + p->care_at, own);
}

/* The states of a window of rows whose scores may be beyond the range: the largest of each row decides which have a
 * weight, so it is found first, unless all keys are one block. Returns whether they are. */
static int attn__scaled_states(attn__problem *careful, const attn__rows *window, attn__scratch *own, attn__range within)
{
    const size_t first = attn__max(within.lo, careful->kv_begin) / ATTN__BLOCK;
    const int at_once = attn__min(within.hi, window->kv_end) <= (first + 1) * ATTN__BLOCK;
    int exponent, again = 0;
    attn__split(careful->scale, &exponent);
    exponent += attn__large_scale(careful) ? 1040 : 1060; /* leaves room for bias, and bits to the least beyond */
    if (exponent < 128) exponent = 128;
    for (size_t r = 0; r < window->count; r++) own->row[r].exponent = exponent;
    careful->find = at_once ? ATTN__FIND_AT_ONCE : ATTN__FIND_FIRST;
    attn__states(careful, window, own, within);
    for (size_t r = 0; r < window->count && attn__large_scale(careful) && !at_once; r++) {
        if (!attn__wants_lower(own->row + r, 0)) continue;
        own->row[r].exponent -= ATTN__LOWER;
        again |= !(own->row[r].sees & ATTN__SEES_NAN);
    }
    if (again) attn__states(careful, window, own, within);
    careful->find = ATTN__FOUND;
    if (!at_once && attn__any_weight(careful, own->row, window->count)) attn__states(careful, window, own, within);
    return at_once;
}

/* What becomes of row r of a window, which is done with care: it goes to `to`, or what is to be tried next is
 * returned, ATTN__REDO_... */
typedef int attn__settle(const attn__problem *p, const attn__problem *careful, const attn__rows *rows, attn__scratch *s,
                         size_t r, const void *to);

/* For a row of which a score is not safely finite. */
static unsigned char attn__redo_scores(const attn__problem *p)
{
    return p->q.dtype == ATTN_F64 ? ATTN__REDO_SCALED : ATTN__REDO_DOUBLE;
}
/* For one of which sums of values overflow. */
static int attn__redo_sums(const attn__problem *careful)
{
    if (careful->careful == ATTN__REDO_SCALED) return ATTN__REDO_BOTH;
    return careful->q.dtype == ATTN_F64 ? ATTN__REDO_LIGHT : ATTN__REDO_DOUBLE;
}

/* Writes row[begin..end) of a tile to the score matrix, `rest` from there to n. */
static void attn__store_scores(const attn__problem *p, char *at, const char *row, size_t begin, size_t end, size_t n,
                               double rest)
{
    const attn__kernel *kernel = p->run.kernel;
    const ptrdiff_t step = p->scores.stride[ATTN__D] * p->scores.size;
    kernel->store(at, p->scores.dtype, p->scores.stride[ATTN__D], row + begin * kernel->size, end - begin);
    for (; end < n; end++) attn__put(at + (ptrdiff_t)(end - begin) * step, p->scores.dtype, rest);
}

/* The weights of a row that is done with care, which are in the tile still if keys are one block. */
static void attn__store_settled(const attn__problem *careful, const attn__rows *rows, attn__scratch *s, size_t r)
{
    const attn__kernel *kernel = careful->run.kernel;
    const size_t block = careful->kv_begin / ATTN__BLOCK, begin = careful->kv_begin % ATTN__BLOCK, es = kernel->size,
                 end = begin + rows->keys;
    const attn__block_range *range = s->ranges + block % ATTN__MASK_BLOCKS * careful->rows + r;
    const int any = range->mask_state != ATTN__MASK_DROPS_ALL && s->max[r] > -attn__infinity();
    const size_t lo = any ? range->lo : begin, hi = any ? range->hi : begin;
    char *row = s->bias, /* room: what is in the tile may be needed */
        *at = attn__score_at(careful, rows, attn__head_of(rows, r), attn__query_of(rows, r), careful->kv_begin);
    s->row[r].weighed = 1;
    if (!at) return;
    attn__memset(row + begin * es, 0, (lo - begin) * es);
    kernel->scale(row + lo * es, s->tile + (r * ATTN__TILE_STRIDE + lo) * es, hi - lo, s->row[r].factor);
    attn__store_scores(careful, at, row, begin, hi, end, 0);
}

/* Weights of row r that are stored, now that their sum is known. */
static void attn__finish_row_weights(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t first = p->kv_begin / ATTN__BLOCK, array_end = p->kv_begin + p->kv_len;
    for (size_t number = 0; number < p->stored_blocks; number++) {
        const size_t from = attn__max((first + number) * ATTN__BLOCK, p->kv_begin),
                     n = attn__min((first + number + 1) * ATTN__BLOCK, array_end) - from;
        const double max = s->block_max[r * p->stored_blocks + number];
        char *at = attn__score_at(p, rows, attn__head_of(rows, r), attn__query_of(rows, r), from);
        if (!at) break;
        if (max <= -attn__infinity()) attn__memset(at, 0, n * kernel->size);
        else if (max < attn__infinity())
            kernel->scale(at, at, n, kernel->exp_difference(max, s->row[r].max, 0) * s->row[r].factor);
    }
}

/* To the arrays of a problem. */
static int attn__settle_row(const attn__problem *p, const attn__problem *careful, const attn__rows *rows,
                            attn__scratch *s, size_t r, const void *to)
{
    const int bad = attn__finish_row(careful, rows, s, r, attn__special(p, s, r)),
              weights = careful->careful == attn__redo_scores(p) && !attn__nan_f64(s->row[r].factor);
    (void)to;
    if (weights && p->stored_blocks == 1) attn__store_settled(careful, rows, s, r); /* others are there already */
    else if (weights && careful->stored_blocks) attn__finish_row_weights(careful, rows, s, r), s->row[r].weighed = 1;
    return bad ? attn__redo_sums(careful) : 0;
}

/* Is a value not finite, of all that met weights of these rows, seen or not, or a sink so that there is no output? If
 * none is, sums of values overflow. Without masks each key between the first and the last is seen by some row. */
static int attn__any_special(attn__problem *careful, const attn__rows *rows, attn__scratch *own, attn__range within)
{
    const int masked = attn__masked(careful);
    attn__range all = {(size_t)-1, 0};
    for (size_t r = 0; r < rows->count; r++) {
        const attn__range keys = attn__visible(careful, rows, attn__query_of(rows, r), within);
        attn__widen(&all, keys);
        if (ATTN__HAS(careful, sinks) &&
            !(attn__element(&careful->sinks, 0, attn__head_of(rows, r)) < attn__infinity()))
            return 1;
    }
    own->found = 0;
    careful->find = ATTN__LOOK_SPECIAL;
    if (!masked) attn__look_at_values(careful, rows, own, all.lo, all.hi);
    for (size_t r = 0, start; masked && r < rows->count && !own->found;) {
        const attn__rows window = attn__window(rows, r, careful->rows, &start);
        own->ranges_key->count = 0;
        attn__states(careful, &window, own, within);
        r = start + window.count;
    }
    careful->find = ATTN__FOUND;
    return own->found;
}

/* What a pass is done with. */
typedef struct attn__prepared {
    int pass; /* 0: nothing yet */
    attn__problem careful;
    attn__scratch own;
} attn__prepared;
static void attn__prepare_pass(const attn__problem *p, int pass, attn__scratch *s, attn__prepared *by)
{
    if (by->pass != pass) attn__careful(p, pass, s, &by->careful, &by->own);
    by->pass = pass;
}

/* Rows of a window, from one on, that wait for this pass. Returns whether one is to be done in another. */
static int attn__settle_window(const attn__problem *p, const attn__problem *careful, const attn__rows *window,
                               attn__scratch *own, int pass, attn__row *rows, size_t from, attn__settle *settle,
                               const void *to)
{
    int others = 0;
    for (size_t r = from; r < window->count; r++) {
        attn__row *again = own->row + r;
        if (rows[r].redo != pass) continue;
        again->redo = (unsigned char)settle(p, careful, window, own, r, to);
        others |= again->redo;
        if (!again->redo && (pass == attn__redo_scores(p) || pass == ATTN__REDO_BOTH))
            again->redo = attn__redo_scores(p);
        rows[r] = *again;
    }
    return others;
}

/* Columns in which row r sees what is not finite, where its result lies. Returns 0 if another is not finite. */
static int attn__mend_row(const attn__problem *p, const attn__rows *rows, const attn__scratch *s, size_t r)
{
    const unsigned char *special = attn__special(p, s, r);
    const ptrdiff_t step = p->out.stride[ATTN__D] * p->out.size;
    char *out = attn__query_at(&p->out, rows, attn__head_of(rows, r), attn__query_of(rows, r));
    for (size_t c = 0; c < p->dim_v; c++, out += step)
        if (special[c]) attn__put(out, p->out.dtype, attn__special_value(special[c]));
        else if (!attn__finite_f64(attn__get(out, p->out.dtype))) return 0;
    return 1;
}

/* Results of a window that are there, and right but for special columns: of rows from one on that wait for new sums.
 * Not where such a column's other values are so large that their sum may overflow, which is seen by summing alone.
 * Returns whether any still waits. */
static int attn__mend_window(attn__problem *careful, const attn__rows *window, attn__scratch *own, attn__row *rows,
                             size_t from, attn__range within)
{
    int waits = 0;
    own->found = 0;
    careful->find = ATTN__LOOK_LARGE;
    attn__states(careful, window, own, within);
    careful->find = ATTN__FOUND;
    for (size_t r = from; r < window->count; r++) {
        if (rows[r].redo != ATTN__REDO_CLEAN) continue;
        if (!own->found && !attn__nan_f64(rows[r].factor) && attn__mend_row(careful, window, own, r)) rows[r].redo = 0;
        else waits = 1;
    }
    return waits;
}

/* Rows that are to be done again, over the keys of `within`. Leaves in redo how their scores and weights are to be had,
 * and of others 0. `prepared`: for the first pass, and for others. */
static void attn__take_care(const attn__problem *p, const attn__rows *rows, attn__scratch *s, attn__range within,
                            attn__settle *settle, const void *to, attn__prepared prepared[2])
{
    /* light weights leave columns as they are that do not overflow, and those of a state are not there before */
    const int leaves = settle != attn__settle_row && p->q.dtype == ATTN_F64;
    for (int pass = ATTN__REDO_CLEAN; pass <= ATTN__REDO_BOTH; pass++) {
        attn__prepared *of = prepared + (pass != ATTN__REDO_CLEAN);
        attn__problem *careful = &of->careful;
        attn__scratch *own = &of->own;
        int ready = 0;
        for (size_t r = 0, start; r < rows->count;) {
            attn__rows window;
            int at_once = 0;
            if (s->row[r].redo != pass) {
                r++;
                continue;
            }
            attn__prepare_pass(p, pass, s, of);
            if (!ready && pass == ATTN__REDO_CLEAN && !leaves && !attn__any_special(careful, rows, own, within)) {
                for (; r < rows->count; r++)
                    if (s->row[r].redo == pass) s->row[r].redo = (unsigned char)attn__redo_sums(careful);
                continue;
            }
            ready = 1;
            window = attn__window(rows, r, careful->rows, &start);
            while (s->row[start + window.count - 1].redo != pass) window.count--;
            attn__memset(own->special, 0, window.count * attn__pieces(p->dim_v, 8) * sizeof *own->special);
            attn__memcpy(own->row, s->row + start, window.count * sizeof *own->row); /* what was found already */
            own->ranges_key->count = 0;
            if (pass == ATTN__REDO_CLEAN && settle == attn__settle_row &&
                !attn__mend_window(careful, &window, own, s->row + start, r - start, within)) {
                r = start + window.count;
                continue;
            }
            if (pass == ATTN__REDO_SCALED) at_once = attn__scaled_states(careful, &window, own, within);
            else if (pass != ATTN__REDO_BOTH || attn__any_weight(careful, own->row, window.count))
                attn__states(careful, &window, own, within);
            if (attn__settle_window(p, careful, &window, own, pass, s->row + start, r - start, settle, to) && at_once) {
                careful->careful = ATTN__REDO_BOTH; /* the weights are there still */
                careful->find = ATTN__WEIGHED;
                attn__states(careful, &window, own, within);
                attn__settle_window(p, careful, &window, own, ATTN__REDO_BOTH, s->row + start, r - start, settle, to);
                careful->careful = ATTN__REDO_SCALED;
                careful->find = ATTN__FOUND;
            }
            r = start + window.count;
        }
    }
    s->ranges_key->count = 0; /* what it was about may lie below */
}

/* ------------------------------------------------------ attention, tasks -- */

/* Row r of a tile of scores of keys base + [begin, end), at the stage wanted. Returns what of it the row sees. */
static attn__block_range attn__stage_row(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r,
                                         char *row, size_t base, size_t begin, size_t end)
{
    const attn_stage stage = p->desc->stage;
    attn__block_range range = attn__row_range(p, rows, s, r, base, begin, end);
    double bias[ATTN__TILE_STRIDE], *score = (double *)(void *)row; /* of T */
    if (stage != ATTN_STAGE_BIASED) range.lo = (unsigned short)begin, range.hi = (unsigned short)end;
    if (attn__scaled(p)) {
        attn__scale_scores(p, s, r, begin, end);
        attn__complete_row(p, rows, s, r, score, base, begin, end, 1);
    }
    if (p->softcap > 0 && stage != ATTN_STAGE_RAW) attn__cap_row(p, s, r, row, begin, end, p->softcap);
    if (stage == ATTN_STAGE_BIASED && range.lo < range.hi)
        attn__bias_row(p, rows, s, r, row, (char *)bias, base, range.lo, range.hi, ATTN__MASK_MIXED, ATTN__UNIT_1);
    for (size_t j = range.lo; j < range.hi && attn__scaled(p); j++)
        if (!attn__finite_f64(score[j])) score[j] = attn__scale2(attn__scaled_row(p, s, r)[j], s->row[r].exponent);
    return range;
}

/* Rows that were done with care, a window at a time. */
typedef struct attn__care {
    attn__prepared *by;
    attn__rows rows;
    size_t start, end;
} attn__care;

/* What attn__sweep does with row r of a tile, whose scores of keys base + [begin, end) are in `row`, n of them in the
 * arrays: scores to the score matrix at the stage wanted. With care, those that are not finite otherwise, which are not
 * as precise where they are subnormal. */
static void attn__sweep_scores(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r, char *row,
                               size_t base, size_t begin, size_t end, size_t n, attn__care *care)
{
    const size_t h = attn__head_of(rows, r), i = attn__query_of(rows, r);
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size;
    const double infinite = -attn__infinity(),
                 masked = kernel->dtype == ATTN_F64 ? ATTN__MASKED_F64 : (double)ATTN__MASKED_F32;
    char *at = attn__score_at(p, rows, h, i, base + begin);
    attn__block_range range;
    if (!at) return;
    range = attn__stage_row(p, rows, s, r, row, base, begin, end);
    if (care) {
        double *score = (double *)(void *)row, *again = (double *)(void *)care->by->own.tile;
        again += (r - care->start) * ATTN__TILE_STRIDE;
        attn__stage_row(&care->by->careful, &care->rows, &care->by->own, r - care->start, (char *)again, base, begin,
                        end);
        for (size_t j = range.lo; j < range.hi; j++)
            if (!attn__finite_f64(score[j])) score[j] = again[j];
    }
    if (kernel->dtype != ATTN_F32 ||
        attn__nan_f64((double)kernel->magnitude((float *)(void *)row + begin, range.hi - begin)))
        for (size_t j = begin; j < range.hi; j++) { /* which NaN an operation gives is up to the machine */
            const double x = attn__get(row + j * es, kernel->dtype);
            if (attn__nan_f64(x)) attn__put(row + j * es, kernel->dtype, x);
        }
    for (size_t j = begin; j < range.lo; j++) attn__put(row + j * es, kernel->dtype, infinite);
    for (size_t j = range.lo; j < range.hi && p->desc->stage == ATTN_STAGE_BIASED && attn__masked(p); j++)
        if (attn__get(row + j * es, kernel->dtype) <= masked && !attn__keeps(p, rows, h, i, base + j))
            attn__put(row + j * es, kernel->dtype, infinite);
    attn__store_scores(p, at, row, begin, range.hi, n, infinite);
}

/* Weights of keys base + [begin, end) of a row that sees a NaN: all that it sees are. */
static void attn__nan_weights(const attn__problem *p, const attn__rows *rows, const attn__block_range *range, size_t r,
                              char *row, size_t base, size_t begin, size_t end)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, lo = range->lo, hi = range->mask_state == ATTN__MASK_DROPS_ALL ? lo : range->hi;
    attn__memset(row + begin * es, 0, (end - begin) * es);
    if (lo == hi) return;
    attn__put(row + lo * es, kernel->dtype, attn__from_bits_f64(0x7ff8000000000000u));
    for (size_t n = 1; n < hi - lo; n *= 2)
        attn__memcpy(row + (lo + n) * es, row + lo * es, attn__min(n, hi - lo - n) * es);
    for (size_t j = lo; j < hi && attn__masked(p); j++)
        if (!attn__keeps(p, rows, attn__head_of(rows, r), attn__query_of(rows, r), base + j))
            attn__put(row + j * es, kernel->dtype, 0);
}

/* The same, as weights, to the score matrix and to the column sums. */
static void attn__sweep_weights(const attn__problem *p, const attn__rows *rows, attn__scratch *s, size_t r, char *row,
                                size_t base, size_t begin, size_t end, size_t n)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, step = kernel->step, from = begin / step * step, to = attn__round_up(end, step);
    const size_t h = attn__head_of(rows, r), i = attn__query_of(rows, r);
    double bias[ATTN__TILE_STRIDE]; /* of T */
    const attn__block_range range = attn__row_range(p, rows, s, r, base, begin, end);
    char *at = p->desc->stage == ATTN_STAGE_PROBS ? attn__score_at(p, rows, h, i, base + begin) : NULL;
    double max, sum;
    if (!ATTN__HAS(p, colsum) && !at) return;
    if (attn__nan_f64(s->row[r].factor)) attn__nan_weights(p, rows, &range, r, row, base, begin, end);
    else if (attn__row_softmax(p, rows, s, r, &range, row, (char *)bias, base, from, to, &max, &sum))
        attn__memset(row + from * es, 0, (to - from) * es); /* nothing but -inf, as the row was fine */
    else if (max > -attn__infinity())
        kernel->scale(row + from * es, row + from * es, to - from,
                      kernel->exp_difference(max, s->row[r].max, 0) * s->row[r].factor);
    if (at) attn__store_scores(p, at, row, begin, end, n, 0);
    if (!ATTN__HAS(p, colsum)) return;
    if (p->colsum.dtype == kernel->dtype && p->colsum.stride[ATTN__D] == 1 && end > begin) { /* whole vectors */
        const size_t whole = (end - begin) / 16 * 16;
        kernel->bias(attn__at(&p->colsum, 0, rows->b, h, rows->k_base + base + begin - p->kv_begin), row + begin * es,
                     whole, 1);
        begin += whole;
    }
    for (size_t j = begin; j < end; j++) {
        void *total = attn__at(&p->colsum, 0, rows->b, h, rows->k_base + base + j - p->kv_begin);
        const double weight = attn__get(row + j * es, kernel->dtype);
        if (p->colsum.dtype == ATTN_F64) *(double *)total += weight;
        else *(float *)total += (float)weight;
    }
}

/* Row r, which was done with care. */
static void attn__sweep_care(const attn__problem *p, const attn__rows *rows, attn__scratch *s, attn__care *care,
                             size_t r, char *row, size_t base, size_t begin, size_t end, size_t n, int weights)
{
    const size_t step = care->by->careful.run.kernel->step;
    char *again;
    int any = 0; /* scores are wanted */
    if (r < care->start || r >= care->end) {
        care->rows = attn__window(rows, r, care->by->careful.rows, &care->start);
        while (!s->row[care->start + care->rows.count - 1].redo) care->rows.count--; /* others need none */
        care->end = care->start + care->rows.count;
        attn__memcpy(care->by->own.row, s->row + care->start, care->rows.count * sizeof *s->row);
        for (size_t i = care->start; i < care->end; i++)
            any |= s->row[i].redo && !(weights && (s->row[i].weighed || attn__nan_f64(s->row[i].factor)));
        if (any && begin < end) {
            attn__load_queries(&care->by->careful, &care->rows, &care->by->own,
                               weights && !attn__scaled(&care->by->careful) ? ATTN__UNIT_LN2 : ATTN__UNIT_1);
            attn__score_rows(&care->by->careful, &care->rows, &care->by->own, base, begin / step * step,
                             attn__round_up(end, step));
        }
    }
    again = care->by->own.tile + (r - care->start) * ATTN__TILE_STRIDE * sizeof(double);
    if (weights)
        attn__sweep_weights(&care->by->careful, &care->rows, &care->by->own, r - care->start, again, base, begin, end,
                            n);
    else if (attn__scaled(&care->by->careful)) attn__sweep_scores(p, rows, s, r, row, base, begin, end, n, care);
    else
        attn__sweep_scores(&care->by->careful, &care->rows, &care->by->own, r - care->start, again, base, begin, end, n,
                           NULL);
}

/* The score matrix at a stage and the column sums, a tile at a time: scores are
 * computed again by the same code, so the weights are the very ones in use. Where
 * weights are stored already, those of rows that were done with care, or see a NaN. */
static void attn__sweep(const attn__problem *p, const attn__rows *rows, attn__scratch *s, int weights,
                        attn__prepared prepared[2])
{
    const attn__kernel *kernel = p->run.kernel;
    const int stored = weights && p->stored_blocks;
    attn__care care;
    int any = 0;
    for (size_t r = 0; r < rows->count; r++) any |= s->row[r].redo;
    care.by = prepared + 1;
    if (any) attn__prepare_pass(p, attn__redo_scores(p), s, care.by);
    const size_t es = kernel->size, step = kernel->step, array_end = p->kv_begin + rows->keys;
    for (size_t r = 0; r < rows->count; r++)
        s->row[r].keys = attn__visible(p, rows, attn__query_of(rows, r), attn__all_keys);
    if (!stored) attn__load_queries(p, rows, s, weights ? ATTN__UNIT_LN2 : ATTN__UNIT_1);
    for (size_t base = p->kv_begin / ATTN__BLOCK * ATTN__BLOCK; base < array_end; base += ATTN__BLOCK) {
        const size_t begin = p->kv_begin > base ? p->kv_begin - base : 0,
                     n = attn__min(array_end - base, ATTN__BLOCK); /* in the arrays ... */
        const size_t end =
            rows->kv_end > base + begin ? attn__min(rows->kv_end - base, n) : begin; /* ... and within the length */
        const size_t from = begin / step * step, to = attn__round_up(end, step),
                     height = p->few ? rows->count : kernel->nr;
        const int scored = !stored && begin < end;
        care.start = care.end = 0;
        attn__key_block block;
        attn__memset(&block, 0, sizeof block);
        block.base = base;
        block.first = from;
        for (size_t r0 = 0; r0 < rows->count; r0 += height) {
            const size_t count = attn__min(height, rows->count - r0);
            if (scored && p->few) attn__score_rows(p, rows, s, base, from, to);
            else if (scored) {
                attn__score_panel(p, rows, s, &block, r0, count, begin - from, end - from, NULL);
                attn__pad_rows(p, s->panel, count, end);
                kernel->turn(s->panel + begin * es, ATTN__TILE_STRIDE, s->tile + (begin - from) * kernel->nr * es,
                             (ptrdiff_t)kernel->nr, end - begin, count);
            }
            for (size_t r = 0; r < count; r++) {
                char *row = (p->few ? s->tile : s->panel) + r * ATTN__TILE_STRIDE * es;
                if (weights && s->row[r0 + r].weighed) continue;
                if (s->row[r0 + r].redo) attn__sweep_care(p, rows, s, &care, r0 + r, row, base, begin, end, n, weights);
                else if (stored && !attn__nan_f64(s->row[r0 + r].factor)) continue;
                else if (weights) attn__sweep_weights(p, rows, s, r0 + r, row, base, begin, end, n);
                else attn__sweep_scores(p, rows, s, r0 + r, row, base, begin, end, n, NULL);
            }
        }
    }
}

/* Weights that are stored, now that the sums of their rows are known; attn__sweep does those of rows that were done
 * with care, or see a NaN. */
static void attn__finish_weights(const attn__problem *p, const attn__rows *rows, attn__scratch *s)
{
    for (size_t r = 0; r < rows->count; r++)
        if (!s->row[r].redo) attn__finish_row_weights(p, rows, s, r);
}

/* Are weights of all rows stored, that were done with care or see a NaN? */
static int attn__all_weighed(const attn__rows *rows, const attn__scratch *s)
{
    for (size_t r = 0; r < rows->count; r++)
        if ((s->row[r].redo || attn__nan_f64(s->row[r].factor)) && !s->row[r].weighed) return 0;
    return 1;
}

/* From the states in slot 0 to all outputs. */
static void attn__finish(const attn__problem *p, const attn__rows *rows, attn__scratch *s)
{
    const int singly = attn__finish_rows(p, rows, s);
    attn__prepared prepared[2];
    int any = 0;
    prepared[0].pass = prepared[1].pass = 0;
    for (size_t r = 0; r < rows->count; r++) {
        attn__row *row = s->row + r;
        row->redo = row->weighed = 0;
        row->exponent = 0; /* of those that are not done again, beside others in a window */
        if (row->not_finite) row->redo = attn__redo_scores(p);
        else if (singly ? attn__finish_row(p, rows, s, r, NULL) : attn__nan_f64(row->factor))
            row->redo = ATTN__REDO_CLEAN;
        any |= row->redo;
    }
    if (any) attn__take_care(p, rows, s, attn__all_keys, attn__settle_row, NULL, prepared);
    attn__put_lse(p, rows, s);
    if (ATTN__HAS(p, scores) && p->desc->stage != ATTN_STAGE_PROBS) attn__sweep(p, rows, s, 0, prepared);
    if (p->stored_blocks) attn__finish_weights(p, rows, s);
    if (p->stored_blocks ? any && !attn__all_weighed(rows, s)
                         : ATTN__HAS(p, colsum) || (ATTN__HAS(p, scores) && p->desc->stage == ATTN_STAGE_PROBS))
        attn__sweep(p, rows, s, 1, prepared);
}

/* Column sums begin at 0. */
static void attn__clear_sums(const attn__problem *p, const attn__rows *rows)
{
    for (size_t h = rows->head; h < rows->head + rows->heads; h++)
        for (size_t j = 0; j < rows->keys; j++)
            attn__put(attn__at(&p->colsum, 0, rows->b, h, rows->k_base + j), p->colsum.dtype, 0);
}

/* So many rows at once, of a problem that is cut otherwise. */
static void attn__shape_tile(attn__problem *p, const attn__kernel *kernel, size_t rows)
{
    const size_t lanes = attn__round_up(rows, kernel->nr / 2);
    p->rows = rows;
    p->gather = attn__scattered(p) || (p->kv_begin & (kernel->step - 1)) != 0;
    /* or not many, and they would leave lanes empty. Measured, a row of few takes 11 / 8 of the time of a lane, and
     * copying keys and values that of a lane for every 160 columns. */
    p->few = rows <= kernel->few_rows ||
             (rows <= 3 * kernel->few_rows && rows < lanes && rows * 11 <= (lanes + (p->dim + p->dim_v) / 160) * 8);
    if (p->few && (attn__coded(p->k.dtype) || attn__coded(p->v.dtype))) p->gather = 1;
}

/* A worker's scratch, and room for rows that are done again, by either kernel: after what they leave alone, or if
 * scores are computed once more, after everything. Few rows are laid out as they would be then. */
static attn_status attn__lay_out(attn__problem *p, const attn__kernel *kernel)
{
    const size_t most = sizeof(double), mr = attn__max(kernel->mr, p->doubles->mr),
                 nr = attn__max(kernel->nr, p->doubles->nr), step = attn__max(kernel->step, p->doubles->step),
                 rows = p->rows, width = p->width;
    const int again = ATTN__HAS(p, scores) || ATTN__HAS(p, colsum); /* scores are computed */
    attn__layout own;
    attn_status status = p->few
                             ? attn__scratch_layout(p, most, mr, nr, step, &p->layout)
                             : attn__scratch_layout(p, kernel->size, kernel->mr, kernel->nr, kernel->step, &p->layout);
    size_t size = p->layout.size;
    own = p->layout;
    if (!status && !p->few) {
        const size_t stored_blocks = p->stored_blocks;
        if (p->q.dtype != ATTN_F64) p->stored_blocks = 0; /* see attn__careful */
        status = attn__careful_layout(p, most, mr, nr, step, attn__min(rows, again ? ATTN__CARE_ROWS : 16));
        size = p->layout.size;
        p->layout = own;
        p->rows = rows, p->width = width, p->few = 0, p->stored_blocks = stored_blocks;
    }
    p->care_at = again ? own.size : own.q;
    if (status || size > (size_t)-1 / 4 - p->care_at) return ATTN_ERR_OVERFLOW;
    p->layout.size = attn__max(own.size, p->care_at + size);
    return ATTN_OK;
}

/* The most that a worker needs for tiles of up to so many rows. */
static attn_status attn__tile_bytes(attn__problem *p, const attn__kernel *kernel, size_t rows, size_t *bytes)
{
    *bytes = 0;
    for (int few = 0; few < 2; few++) {
        attn_status status;
        p->few = few;
        p->rows = few ? attn__min(rows, 3 * kernel->few_rows) : rows;
        if ((status = attn__lay_out(p, kernel))) return status;
        *bytes = attn__max(*bytes, p->layout.size);
    }
    return ATTN_OK;
}

/* n rows in tiles of the same size, which is at most `most`. */
static size_t attn__balanced(size_t n, size_t most)
{
    const size_t tiles = attn__pieces(n, most);
    return tiles < 2 ? n : (n + tiles - 1) / tiles;
}

/* Tasks for packed sequences before the n-th, of each head: one for every query_block of all rows and one more for each
 * sequence, which is never too few (then the last ones have nothing to do), and follows from one number, so that a task
 * finds its sequence by bisection. */
static size_t attn__tasks_before(const attn__problem *p, size_t n)
{
    return ATTN__HAS(p, colsum) ? n : n + attn__length(&p->cu_seqlens_q, n) / p->query_block;
}
static size_t attn__sequence_of(const attn__problem *p, size_t task)
{
    size_t n = 0, last = p->seqs;
    while (n < last) {
        const size_t middle = n + (last - n + 1) / 2;
        if (attn__tasks_before(p, middle) <= task) n = middle;
        else last = middle - 1;
    }
    return n;
}

/* From query rows->query of its sequence on. */
static void attn__take_tile(const attn__problem *p, attn__rows *rows)
{
    rows->count = 0;
    if (rows->query < rows->q_len) rows->count = attn__min(p->query_block, rows->q_len - rows->query) * rows->heads;
}

/* The rows of a task, none if the sequence is too short for it, and the problem as it is cut for them. Packed sequences
 * differ in length, and each is cut for itself, to `own`: where one has a thousand queries, others that decode still
 * have few. */
static const attn__problem *attn__take_task(const attn__problem *p, size_t index, attn__problem *own, attn__rows *rows)
{
    const size_t units = p->kv_heads * p->head_chunks;
    const int sequences = ATTN__HAS(p, cu_seqlens_q);
    size_t b, first, tiles = p->query_blocks, unit;
    attn__memset(rows, 0, sizeof *rows);
    if (sequences) {
        b = attn__sequence_of(p, index / units);
        if (b == p->seqs) return p;
        first = attn__tasks_before(p, b);
        tiles = attn__tasks_before(p, b + 1) - first;
    } else {
        b = index / (units * tiles);
        first = b * tiles;
    }
    attn__take_sequence(p, b, rows);
    if (sequences) {
        *own = *p;
        own->query_block = attn__balanced(rows->q_len, p->query_block);
        attn__shape_tile(own, p->run.kernel, own->query_block * p->head_chunk);
        attn__lay_out(own, p->run.kernel); /* what attn__tile_bytes found is enough */
        p = own;
    }
    index -= first * units;
    rows->query = (p->one_mask ? index / units : index % tiles) * p->query_block;
    unit = p->one_mask ? index % units : index / tiles;
    rows->kv_head = unit / p->head_chunks;
    unit = unit % p->head_chunks * p->head_chunk;
    rows->head = rows->kv_head * p->group + unit;
    rows->heads = attn__min(p->head_chunk, p->group - unit);
    attn__take_tile(p, rows);
    return p;
}

static void attn__task(void *arg, size_t index, size_t worker)
{
    attn__problem own;
    attn__rows rows;
    const attn__problem *p = attn__take_task((const attn__problem *)arg, index, &own, &rows);
    attn__scratch s;
    attn__scratch_of(p, worker, &s);
    if (ATTN__HAS(p, colsum)) attn__clear_sums(p, &rows);
    while (rows.count) {
        attn__states(p, &rows, &s, attn__all_keys);
        attn__finish(p, &rows, &s);
        if (!ATTN__HAS(p, colsum)) break;
        rows.query += p->query_block; /* column sums add up over queries in order: one task for all of them */
        attn__take_tile(p, &rows);
    }
}

/* The state of some rows over some keys as it lies in memory: max (rows), sum (rows), acc (rows, width); and where it
 * is one of attn_partial, statistics (rows). */
typedef struct attn__node {
    double *max, *sum;
    char *acc;
    attn__statistics *own;
} attn__node;
static attn__node attn__node_at(char *at, size_t rows)
{
    attn__node node;
    node.max = (double *)(void *)at;
    node.sum = node.max + rows;
    node.acc = (char *)(node.sum + rows);
    node.own = NULL;
    return node;
}
static int attn__node_size(size_t rows, size_t width, size_t element, size_t *bytes)
{
    return attn__multiply_size(width * element + 2 * sizeof(double), rows, bytes);
}

/* Which of the subtrees is a part. Those of a ring have its sinks, and then what it holds behind them. */
static size_t attn__part_number(const attn__problem *p, const attn__rows *rows, size_t part)
{
    const size_t keys = p->part_blocks * ATTN__BLOCK;
    size_t sinks;
    if (!p->ring) return p->first_part + part;
    sinks = attn__pieces(p->kv_rows - p->ring, keys);
    return part < sinks ? part : attn__max(attn__gone(p, rows).hi / keys, sinks) + part - sinks;
}

/* Few rows and many keys: parts of whole subtrees of blocks are tasks of their
 * own, one part of all heads after the other, and joined in a second round. A row that has to be done again has a
 * maximum of NaN. */
static void attn__part_task(void *arg, size_t index, size_t worker)
{
    const attn__problem *all = (const attn__problem *)arg;
    const size_t keys = all->part_blocks * ATTN__BLOCK;
    attn__range part;
    const attn__node node = attn__node_at(all->part_states + index * all->part_bytes, all->rows);
    attn__problem own;
    attn__rows rows;
    const attn__problem *p = attn__take_task(all, index % all->tasks, &own, &rows);
    attn__scratch s;
    if (!rows.count) return;
    part.lo = attn__part_number(p, &rows, index / all->tasks) * keys;
    part.hi = part.lo + keys;
    attn__scratch_of(p, worker, &s);
    attn__states(p, &rows, &s, part);
    attn__memcpy(node.acc, s.acc, rows.count * p->width * p->run.kernel->size);
    attn__memcpy(node.sum, s.sum, rows.count * sizeof *s.sum);
    for (size_t r = 0; r < rows.count; r++)
        node.max[r] = s.row[r].not_finite ? attn__infinity() - attn__infinity() : s.max[r];
}

static void attn__join_task(void *arg, size_t index, size_t worker)
{
    const attn__problem *all = (const attn__problem *)arg;
    const size_t row_size = all->width * all->run.kernel->size;
    attn__problem own;
    attn__rows rows;
    const attn__problem *p = attn__take_task(all, index, &own, &rows);
    attn__scratch s;
    attn__scratch_of(p, worker, &s);
    if (!rows.count) return;
    for (size_t r = 0; r < rows.count; r++) s.row[r].not_finite = s.row[r].sees = 0;
    s.tree.depth = 0;
    for (size_t part = 0; part < p->parts; part++) {
        const attn__node node =
            attn__node_at(all->part_states + (part * all->tasks + index) * all->part_bytes, all->rows);
        const size_t number = attn__part_number(p, &rows, part);
        size_t slot;
        double *max;
        attn__join_slots(p, rows.count, &s, number);
        slot = attn__tree_push(&s.tree, number);
        max = s.max + slot * p->rows;
        attn__memcpy(s.acc + slot * p->rows * row_size, node.acc, rows.count * row_size);
        attn__memcpy(s.sum + slot * p->rows, node.sum, rows.count * sizeof *s.sum);
        for (size_t r = 0; r < rows.count; r++) {
            s.row[r].not_finite |= (unsigned char)attn__nan_f64(node.max[r]);
            max[r] = attn__nan_f64(node.max[r]) ? -attn__infinity() : node.max[r];
        }
    }
    attn__join_slots(p, rows.count, &s, ATTN__TREE_END);
    attn__finish(p, &rows, &s);
}

/* ------------------------------------------------------ public functions -- */

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
ATTN_DEF attn_array attn_array_2d(attn_dtype dtype, const void *data, size_t rows, size_t cols)
{
    attn_array a = attn_array_4d(dtype, data, rows, cols, 0, 0);
    a.ndim = 2;
    return a;
}
ATTN_DEF attn_array attn_array_1d(attn_dtype dtype, const void *data, size_t n)
{
    attn_array a = attn_array_4d(dtype, data, n, 0, 0, 0);
    a.ndim = 1;
    return a;
}

/* The last `ndim` dimensions of a view, strides and all, as an array. */
static attn_array attn__array_of(const attn__view *v, int ndim)
{
    attn_array a = attn_array_1d(v->dtype, v->data, 0);
    a.ndim = ndim;
    attn__memcpy(a.shape, v->shape + ATTN_MAX_DIMS - ndim, (size_t)ndim * sizeof a.shape[0]);
    attn__memcpy(a.stride, v->stride + ATTN_MAX_DIMS - ndim, (size_t)ndim * sizeof a.stride[0]);
    return a;
}

ATTN_DEF attn_array attn_array_strided(attn_dtype dtype, const void *data, size_t batch, size_t heads, size_t seq,
                                       size_t dim, ptrdiff_t of_batch, ptrdiff_t of_head, ptrdiff_t of_row,
                                       ptrdiff_t of_column)
{
    attn_array a = attn_array_4d(dtype, data, batch, heads, seq, dim);
    a.stride[0] = of_batch;
    a.stride[1] = of_head;
    a.stride[2] = of_row;
    a.stride[3] = of_column;
    return a;
}
ATTN_DEF attn_array attn_array_bshd(attn_dtype dtype, const void *data, size_t batch, size_t seq, size_t heads,
                                    size_t dim)
{
    const size_t one = attn__stored(dtype, dim);
    size_t row, all;
    if (!attn__multiply_size(heads, one, &row)) row = (size_t)-1 / 2; /* which the functions refuse */
    if (!attn__multiply_size(row, seq, &all)) all = (size_t)-1 / 2;
    row = attn__min(row, (size_t)-1 / 2);
    all = attn__min(all, (size_t)-1 / 2);
    return attn_array_strided(dtype, data, batch, heads, seq, dim, (ptrdiff_t)all, (ptrdiff_t)attn__min(one, row),
                              (ptrdiff_t)row, 1);
}

ATTN_DEF attn_array attn_array_swap(attn_array a, int axis_a, int axis_b)
{
    attn_array b = a;
    attn__view v;
    if (axis_a < 0 || axis_b < 0 || axis_a >= a.ndim || axis_b >= a.ndim) return a;
    if (attn__elements(a.dtype, 1) > 1 && axis_a != axis_b && (axis_a == a.ndim - 1 || axis_b == a.ndim - 1))
        return a; /* a block lies along the last one */
    if (attn__check(&a, 1, ATTN_MAX_DIMS, ~0u, ATTN__INPUT, 1, &v)) return a;
    b = attn__array_of(&v, a.ndim); /* whose strides are no longer implied */
    attn__memcpy(b.shape, a.shape, sizeof b.shape);
    b.data = a.data;
    b.shape[axis_a] = a.shape[axis_b];
    b.shape[axis_b] = a.shape[axis_a];
    b.stride[axis_a] = v.stride[ATTN_MAX_DIMS - a.ndim + axis_b];
    b.stride[axis_b] = v.stride[ATTN_MAX_DIMS - a.ndim + axis_a];
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
    d.mask_place = ATTN_MASK_KEYS;
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

ATTN_DEF size_t attn_dtype_block(attn_dtype dtype) { return attn__elements(dtype, 1); }
ATTN_DEF size_t attn_dtype_size(attn_dtype dtype) { return attn__size_of(dtype); }
ATTN_DEF const char *attn_dtype_name(attn_dtype dtype)
{
#define ATTN__X(name, text, size) text,
    static const char *const names[ATTN_DTYPE_COUNT] = {ATTN__DTYPES(ATTN__X)};
#undef ATTN__X
    return (unsigned)dtype < ATTN_DTYPE_COUNT ? names[dtype] : "unknown";
}
ATTN_DEF const char *attn_version(void) { return ATTN_VERSION; }
ATTN_DEF const char *attn_status_string(attn_status status)
{
#define ATTN__X(name, text) text,
    static const char *const strings[ATTN_STATUS_COUNT] = {ATTN__STATUSES(ATTN__X)};
#undef ATTN__X
    return (unsigned)status < ATTN_STATUS_COUNT ? strings[status] : "unknown status";
}

/* ---- the steps ---- */

ATTN_DEF attn_status attn_matmul(const attn_array *a, const attn_array *b, const attn_array *c, const attn_exec *exec)
{
    static const char *const names[3] = {"a", "b", "c"};
    return attn__matmul(a, b, 0, 1, c, names, exec);
}

ATTN_DEF attn_status attn_weighted_sum(const attn_array *w, const attn_array *v, const attn_array *o,
                                       const attn_exec *exec)
{
    static const char *const names[3] = {"w", "v", "o"};
    return attn__matmul(w, v, 0, 1, o, names, exec);
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

ATTN_DEF attn_status attn_scores(const attn_array *q, const attn_array *k, double scale, const attn_array *s,
                                 const attn_exec *exec)
{
    static const char *const names[3] = {"q", "k", "s"};
    attn_status status;
    if (!q || !k || !s) return attn__about(exec, names[!q ? 0 : !k ? 1 : 2], ATTN_ERR_NULL);
    if (q->ndim < 2 || q->ndim > ATTN_MAX_DIMS) return attn__about(exec, "q", ATTN_ERR_RANK);
    if ((status = attn__scale_of(scale, q->shape[q->ndim - 1], q->dtype, &scale)))
        return attn__about(exec, "scale", status);
    return attn__matmul(q, k, 1, scale, s, names, exec);
}

ATTN_DEF ATTN__COLD attn_status attn_compute_qkv(const attn_array *x, const attn_array *w_q, const attn_array *w_k,
                                                 const attn_array *w_v, const attn_array *q, const attn_array *k,
                                                 const attn_array *v, const attn_exec *exec)
{
    static const char *const names[3][3] = {{"x", "w_q", "q"}, {"x", "w_k", "k"}, {"x", "w_v", "v"}};
    const attn_array *arrays[7]; /* three outputs, their factors, x */
    attn_exec ask = exec ? *exec : attn_exec_default();
    attn_status status;
    size_t bytes, largest = 0;
    attn__memory memory;
    int measured;
    arrays[0] = q, arrays[1] = k, arrays[2] = v;
    arrays[3] = w_q, arrays[4] = w_k, arrays[5] = w_v, arrays[6] = x;
    ask.query = &bytes;
    for (int i = 0; i < 3; i++) { /* all arguments before any result */
        if ((status = attn__matmul(x, arrays[3 + i], 0, 1, arrays[i], names[i], &ask))) return status;
        largest = attn__max(largest, bytes);
    }
    if (!attn__measuring(exec)) {
        attn__view views[7];
        for (int i = 0; i < 7; i++)
            if ((status =
                     attn__check(arrays[i], 2, ATTN_MAX_DIMS, ~0u, i < 3 ? ATTN__OUTPUT : ATTN__INPUT, 0, &views[i])))
                return status;
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 7; j++)
                if (i != j && !attn__apart(&views[i], &views[j])) return attn__about(exec, names[i][2], ATTN_ERR_ALIAS);
    }
    if ((status = attn__claim(exec, largest, &memory, &measured)) || measured) return status;
    ask.query = NULL;
    ask.workspace = memory.base;
    ask.workspace_size = largest;
    for (int i = 0; !status && i < 3; i++) status = attn__matmul(x, arrays[3 + i], 0, 1, arrays[i], names[i], &ask);
    attn__release(&memory);
    return status;
}

/* ---- softmax along an axis: lines of n elements ---- */

typedef struct attn__lines {
    attn__run run;
    attn__view x, y;
    size_t line_count, chunk; /* lines of one task */
    size_t n;
    int axis;   /* in the view */
    int beside; /* the axis along which lines are one element apart, -1 if none */
} attn__lines;

/* Joins maxima and sums of `cols` lines, `stride` elements a slot. */
ATTN__INLINE void attn__join_sums(const attn__kernel *kernel, attn__tree *tree, size_t block, size_t cols,
                                  size_t stride, double *max, double *sum)
{
    while (attn__tree_joins(tree, block)) {
        const size_t b = tree->depth * stride, a = b - stride;
        kernel->join(cols, 0, max, max + a, sum + a, max, max + b, sum + b, 1); /* no values: nothing is read of them */
    }
}

/* What is known of the blocks of a line so far. */
typedef struct attn__sums {
    attn__tree tree;
    double max[ATTN__TREE_SLOTS], sum[ATTN__TREE_SLOTS];
} attn__sums;

static void attn__add_block(const attn__kernel *kernel, attn__sums *s, size_t block, const attn__beat *beat)
{
    size_t slot;
    attn__join_sums(kernel, &s->tree, block, 1, 1, s->max, s->sum);
    slot = attn__tree_push(&s->tree, block);
    s->max[slot] = beat->max, s->sum[slot] = beat->sum;
}

/* What a block's exp(x - block_max) are multiplied by. A sum of 0 has nothing but -inf. */
static double attn__line_factor(const attn__kernel *kernel, double block_max, double max, double sum)
{
    if (sum <= 0) return 0;
    return block_max < max ? kernel->exp_difference(block_max, max, 1) * (1 / sum) : 1 / sum;
}

/* NaN, of one form, in all of a line; where it is contiguous, by copies of what is there. */
static void attn__nan_line(const attn__lines *l, char *y)
{
    const ptrdiff_t step = l->y.stride[l->axis] * l->y.size;
    const size_t size = l->run.kernel->size, single = step == l->y.size ? 1 : l->n;
    for (size_t i = 0; i < single; i++)
        attn__put(y + (ptrdiff_t)i * step, l->y.dtype, attn__infinity() - attn__infinity());
    for (size_t i = single; i < l->n; i *= 2) attn__memcpy(y + i * size, y, attn__min(i, l->n - i) * size);
}

/* Contiguous lines of a task, of up to LINE_BLOCKS blocks each. Their blocks are one sequence: while exp of one is
 * taken, the next one's maximum is looked for, and one as far behind as a line and a block is multiplied, whose sum has
 * been known for so long that nothing waits. exp is taken once, and its results wait in y. */
#define ATTN__LINE_BLOCKS 64
#define ATTN__QUEUED_LINES 4 /* fewer are not worth filling and emptying the queue */
typedef struct attn__line {
    const char *x;
    char *y;
    size_t n; /* 0: none */
    double max, sum, maxima[ATTN__LINE_BLOCKS];
} attn__line;
typedef struct attn__queue {
    attn__line line[4];
    size_t count;
    attn__beat beat;
} attn__queue;

ATTN__INLINE size_t attn__block_size(const attn__line *line, size_t block)
{
    return attn__min(line->n - attn__min(line->n, block * ATTN__BLOCK), ATTN__BLOCK);
}

/* Puts a line into the queue, and takes exp of the one before. */
static void attn__queue_line(const attn__lines *l, attn__queue *q, const char *x, char *y, size_t n)
{
    const attn__kernel *kernel = l->run.kernel;
    const size_t last = (l->n - 1) / ATTN__BLOCK, step = ATTN__BLOCK * kernel->size;
    attn__line *line = &q->line[(q->count + 3) % 4], *next = &q->line[q->count % 4];
    attn__line *before = &q->line[(q->count + 2) % 4], *oldest = &q->line[(q->count + 1) % 4];
    const int ends = !line->n && !before->n; /* nothing to do between the first block and the last */
    attn__beat *beat = &q->beat;
    attn__sums sums;
    sums.tree.depth = 0;
    next->x = x, next->y = y, next->n = n;
    for (size_t block = 0; block <= last; block = ends && block < last ? last : block + 1) {
        const attn__line *ahead = block < last ? line : next, *done = block > 0 ? before : oldest;
        const size_t ahead_block = block < last ? block + 1 : 0, done_block = block > 0 ? block - 1 : last;
        beat->n = attn__block_size(line, block);
        beat->next_n = attn__block_size(ahead, ahead_block);
        beat->done_n = attn__block_size(done, done_block);
        if (!beat->n && !beat->next_n && !beat->done_n) continue;
        line->maxima[block] = beat->max = beat->next_max;
        beat->from = line->x + block * step, beat->to = line->y + block * step;
        beat->next = ahead->x + ahead_block * step;
        beat->done = done->y + done_block * step;
        if (beat->done_n) beat->factor = attn__line_factor(kernel, done->maxima[done_block], done->max, done->sum);
        kernel->softmax(beat);
        if (beat->n) attn__add_block(kernel, &sums, block, beat);
    }
    q->count++;
    if (!line->n) return;
    attn__join_sums(kernel, &sums.tree, ATTN__TREE_END, 1, 1, sums.max, sums.sum);
    line->max = sums.max[0], line->sum = sums.sum[0];
    if (attn__nan_f64(line->sum)) attn__nan_line(l, line->y), line->n = 0;
}

/* Where a line begins; `dim` is left out. */
ATTN__INLINE void attn__find_line(const attn__lines *l, size_t index, int dim, const char **x, char **y)
{
    ptrdiff_t from = 0, to = 0;
    for (int i = ATTN_MAX_DIMS - 1; i >= 0; i--) {
        if (i == l->axis || i == dim || l->x.shape[i] == 1) continue;
        from += (ptrdiff_t)(index % l->x.shape[i]) * l->x.stride[i];
        to += (ptrdiff_t)(index % l->x.shape[i]) * l->y.stride[i];
        index /= l->x.shape[i];
    }
    *x = l->x.data + from * l->x.size;
    *y = l->y.data + to * l->y.size;
}

/* Not inlined: see below. */
ATTN__NOINLINE static void attn__queue_lines(const attn__lines *l, size_t first, size_t end)
{
    const char *x = l->x.data;
    char *y = l->y.data;
    attn__queue queue;
    queue.count = 0;
    queue.beat.next_max = queue.beat.factor = queue.beat.look = 0;
    for (int i = 0; i < 4; i++) queue.line[i].x = x, queue.line[i].y = y, queue.line[i].n = 0;
    for (; first < end; first++) {
        attn__find_line(l, first, l->axis, &x, &y);
        attn__queue_line(l, &queue, x, y, l->n);
    }
    for (int i = 0; i < 3; i++) attn__queue_line(l, &queue, x, y, 0);
}

/* Any other line, or one of few, a block at a time. Results wait in y if it is contiguous and they are not too many, or
 * in a copy if they fit; of others, exp is taken twice.
 * Not inlined: its arrays and those of columns are not to be on the stack together. */
ATTN__NOINLINE static void attn__softmax_line(const attn__lines *l, const char *x, char *y)
{
    const attn__kernel *kernel = l->run.kernel;
    const ptrdiff_t x_step = l->x.stride[l->axis], y_step = l->y.stride[l->axis];
    double line[ATTN__LINE_BYTES / sizeof(double)], maxima[ATTN__LINE_BLOCKS]; /* line: of T */
    const int wait = y_step == 1 ? l->n <= ATTN__LINE_BLOCKS * ATTN__BLOCK : l->n * kernel->size <= sizeof line;
    attn__sums sums;
    attn__beat beat;
    sums.tree.depth = 0;
    beat.next = beat.done = NULL;
    beat.next_n = beat.done_n = 0;
    beat.next_max = beat.factor = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t at = 0; at < l->n; at += ATTN__BLOCK) {
            const size_t n = attn__min(l->n - at, ATTN__BLOCK), block = at / ATTN__BLOCK;
            const char *from = x + (ptrdiff_t)at * x_step * l->x.size;
            char *to = y + (ptrdiff_t)at * y_step * l->y.size, *row = (char *)line;
            if (wait) row = y_step == 1 ? to : row + at * kernel->size;
            if (pass == 0 || !wait) {
                beat.from = x_step == 1 ? from : row;
                beat.to = row, beat.n = n, beat.max = beat.next_max;
                beat.look = x_step != 1 || at == 0;
                if (x_step != 1) kernel->load(row, from, l->x.dtype, x_step, n);
                else beat.next = from + n * kernel->size, beat.next_n = attn__min(l->n - at - n, ATTN__BLOCK);
                kernel->softmax(&beat);
                maxima[wait ? block : 0] = beat.max;
                if (pass == 0) attn__add_block(kernel, &sums, block, &beat);
            }
            if (pass == 0) continue;
            kernel->scale(y_step == 1 ? to : row, row, n,
                          attn__line_factor(kernel, maxima[wait ? block : 0], sums.max[0], sums.sum[0]));
            if (y_step != 1) kernel->store(to, l->y.dtype, y_step, row, n);
        }
        if (pass == 0) attn__join_sums(kernel, &sums.tree, ATTN__TREE_END, 1, 1, sums.max, sums.sum);
        if (!attn__nan_f64(sums.sum[0])) continue;
        attn__nan_line(l, y);
        return;
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

/* Doubles of a line on the stack, which has room for those of ATTN__COLUMNS lines: lanes, maxima and sums. Lines that
 * fill no vector of 64 bytes are fewer, and leave room for a copy of a block of them. */
#define ATTN__COLUMN_LANES 16
#define ATTN__COLUMN_SUMS (2 * ATTN__COLUMN_SLOTS)

/* `count` lines side by side; what does not fill vectors goes by way of a copy. */
ATTN__NOINLINE static void attn__softmax_columns(const attn__kernel *kernel, const attn__lines *l, const char *x,
                                                 char *y, size_t count)
{
    double room[ATTN__COLUMNS * (ATTN__COLUMN_LANES + ATTN__COLUMN_SUMS) + 7]; /* lanes begin a cache line */
    const size_t es = kernel->size, cols = attn__round_up(count, kernel->nr / 2);
    double *lanes = room + (64 - (uintptr_t)room % 64) % 64 / sizeof *room, *max = lanes + ATTN__COLUMN_LANES * cols;
    double *sum, *maxima;
    void *rows = max + ATTN__COLUMN_SUMS * cols; /* (BLOCK, columns) of T */
    size_t slot_count = 2, kept;                 /* two at least: the second pass has use for them */
    const ptrdiff_t x_step = l->x.stride[l->axis], y_step = l->y.stride[l->axis];
    const int copied = cols != count;
    int wait; /* exp is taken once where it can wait in y */
    const ptrdiff_t from_step = copied ? (ptrdiff_t)cols : x_step;
    attn__tree tree;

    while (l->n > (size_t)ATTN__BLOCK << (slot_count - 1)) slot_count++;
    kept = attn__min(ATTN__COLUMN_SUMS - 2 * slot_count, ATTN__COLUMN_MAXIMA);
    wait = !copied && (x != y || l->n <= kept * ATTN__BLOCK);
    sum = max + slot_count * cols;
    maxima = sum + slot_count * cols;
    tree.depth = 0;
    for (size_t at = 0; at < l->n; at += ATTN__BLOCK) {
        const size_t n = attn__min(l->n - at, ATTN__BLOCK), block = at / ATTN__BLOCK;
        const char *from = x + (ptrdiff_t)at * x_step * l->x.size;
        size_t slot;
        attn__join_sums(kernel, &tree, block, cols, cols, max, sum);
        slot = attn__tree_push(&tree, block) * cols;
        if (copied) attn__fill_rows(rows, from, x_step * l->x.size, n, count * es, cols * es);
        kernel->softmax_columns(wait ? y + (ptrdiff_t)at * y_step * l->y.size : NULL, y_step, copied ? rows : from,
                                from_step, n, cols, max + slot, sum + slot, lanes);
        if (block < kept) attn__memcpy(maxima + block * cols, max + slot, cols * sizeof *max);
    }
    attn__join_sums(kernel, &tree, ATTN__TREE_END, cols, cols, max, sum);
    for (size_t at = 0; at < l->n; at += ATTN__BLOCK) {
        const size_t n = attn__min(l->n - at, ATTN__BLOCK), block = at / ATTN__BLOCK;
        const char *from = x + (ptrdiff_t)at * x_step * l->x.size;
        char *to = y + (ptrdiff_t)at * y_step * l->y.size;
        double *block_max = block < kept ? maxima + block * cols : max + cols, *factor = sum + cols;
        if (copied) attn__fill_rows(rows, from, x_step * l->x.size, n, count * es, cols * es);
        if (block >= kept)
            kernel->softmax_columns(NULL, 0, copied ? rows : from, from_step, n, cols, block_max, NULL, lanes);
        for (size_t c = 0; c < cols; c++) factor[c] = attn__line_factor(kernel, block_max[c], max[c], sum[c]);
        if (copied) {
            kernel->scale_columns(rows, from_step, rows, from_step, n, cols, block_max, factor);
            for (size_t j = 0; j < n; j++)
                attn__memcpy(to + (ptrdiff_t)j * y_step * l->y.size, (char *)rows + j * cols * es, count * es);
        } else
            kernel->scale_columns(to, y_step, wait ? to : from, wait ? y_step : x_step, n, cols,
                                  wait ? NULL : block_max, factor);
    }
}

/* Lines that are the same distance apart in x, and in y: so many follow one another, along this dimension and those
 * before. */
static size_t attn__even_lines(const attn__lines *l, int *dim)
{
    size_t run = 1;
    *dim = -1;
    for (int i = ATTN_MAX_DIMS - 1; i >= 0; i--) {
        if (i == l->axis || l->x.shape[i] == 1) continue;
        if (*dim < 0) *dim = i;
        else if (l->x.stride[i] != l->x.stride[*dim] * (ptrdiff_t)run ||
                 l->y.stride[i] != l->y.stride[*dim] * (ptrdiff_t)run)
            break;
        run *= l->x.shape[i];
    }
    return run;
}

/* Short contiguous lines, turned so that they are side by side, a few at a time: vectors along them would be mostly
 * empty, and each line would wait for itself. `run` lines from a multiple of it on are as far apart as along `dim`. */
#define ATTN__SHORT_LINE 56
#define ATTN__SHORT_LINES 32
ATTN__NOINLINE static void attn__softmax_short(const attn__lines *l, size_t first, size_t end, size_t run, int dim)
{
    const attn__kernel *kernel = l->run.kernel;
    double tile[ATTN__SHORT_LINE * ATTN__SHORT_LINES], turned[ATTN__SHORT_LINE * ATTN__SHORT_LINES]; /* of T */
    double room[ATTN__SHORT_LINES * ATTN__COLUMN_LANES + 7], sum[ATTN__SHORT_LINES];
    double *lanes = room + (64 - (uintptr_t)room % 64) % 64 / sizeof *room;
    const size_t n = l->n, width = attn__round_up(n, kernel->nr / 2);
    for (size_t count, cols; first < end; first += count) {
        const char *x, *line = (const char *)turned;
        char *y;
        count = attn__min(attn__min(end - first, ATTN__SHORT_LINES), run - first % run);
        cols = attn__round_up(count, kernel->nr / 2);
        attn__find_line(l, first, l->axis, &x, &y);
        kernel->turn(tile, ATTN__SHORT_LINES, x, l->x.stride[dim], count, n);
        kernel->softmax_columns(tile, ATTN__SHORT_LINES, tile, ATTN__SHORT_LINES, n, cols, NULL, sum, lanes);
        for (size_t i = 0; i < cols; i++) sum[i] = attn__line_factor(kernel, 0, 0, sum[i]);
        kernel->scale_columns(tile, ATTN__SHORT_LINES, tile, ATTN__SHORT_LINES, n, cols, NULL, sum);
        kernel->turn(turned, width, tile, ATTN__SHORT_LINES, n, count);
        for (size_t i = 0; i < count; i++, y += l->y.stride[dim] * l->y.size, line += width * kernel->size)
            attn__memcpy(y, line, n * kernel->size);
    }
}

static void attn__softmax_task(void *arg, size_t index, size_t worker)
{
    const attn__lines *l = (const attn__lines *)arg;
    const attn__kernel *kernel = l->run.kernel;
    const size_t end = attn__min(l->line_count, (index + 1) * l->chunk);
    size_t count;
    (void)worker;
    if (l->beside < 0 && l->x.stride[l->axis] == 1 && l->y.stride[l->axis] == 1 &&
        l->n <= ATTN__LINE_BLOCKS * ATTN__BLOCK && end - index * l->chunk >= ATTN__QUEUED_LINES) {
        int dim;
        const size_t run = l->n <= ATTN__SHORT_LINE ? attn__even_lines(l, &dim) : 0;
        if (run >= ATTN__QUEUED_LINES) attn__softmax_short(l, index * l->chunk, end, run, dim);
        else attn__queue_lines(l, index * l->chunk, end);
        return;
    }
    for (size_t line = index * l->chunk; line < end; line += count) {
        size_t rest = line, first = 0;
        const char *from;
        char *to;
        count = 1;
        if (l->beside >= 0) { /* lines that are next to each other come one after the other */
            const size_t beside = l->x.shape[l->beside];
            first = rest % beside;
            rest /= beside;
            count = attn__min(attn__min(ATTN__COLUMNS, beside - first), end - line);
            if (count > kernel->nr / 2) count -= count % (kernel->nr / 2);
        }
        attn__find_line(l, rest, l->beside, &from, &to);
        from += (ptrdiff_t)first * l->x.size;
        to += (ptrdiff_t)first * l->y.size;
        if (count > 1 && l->n <= ATTN__BLOCK << (ATTN__COLUMN_SLOTS - 1)) {
            attn__softmax_columns(kernel, l, from, to, count);
            continue;
        }
        for (size_t i = 0; i < count; i++, from += l->x.size, to += l->y.size) attn__softmax_line(l, from, to);
    }
}

ATTN_DEF attn_status attn_softmax(const attn_array *x, int axis, const attn_array *y, const attn_exec *exec)
{
    attn__lines l;
    attn_path path;
    attn_status status;
    int measured, measuring = attn__measuring(exec), same = 1;
    attn__about(exec, NULL, ATTN_OK);
    if (!x || !y) return attn__about(exec, !x ? "x" : "y", ATTN_ERR_NULL);
    if ((status = attn__check(x, 1, ATTN_MAX_DIMS, ATTN__COMPUTED, ATTN__INPUT, measuring, &l.x)))
        return attn__about(exec, "x", status);
    if ((status = attn__check(y, x->ndim, x->ndim, 1u << x->dtype, ATTN__OUTPUT, measuring, &l.y)))
        return attn__about(exec, "y", status);
    if (axis < -x->ndim || axis >= x->ndim) return attn__about(exec, "axis", ATTN_ERR_AXIS);
    l.axis = axis < 0 ? ATTN_MAX_DIMS + axis : ATTN_MAX_DIMS - x->ndim + axis;
    l.n = l.x.shape[l.axis];
    l.line_count = 1;
    l.beside = -1;
    for (int i = 0; i < ATTN_MAX_DIMS; i++) {
        if (l.x.shape[i] != l.y.shape[i]) return attn__about(exec, "y", ATTN_ERR_SHAPE);
        if (l.x.shape[i] > 1 && l.x.stride[i] != l.y.stride[i]) same = 0;
        if (i == l.axis) continue;
        l.line_count *= l.x.shape[i];
        if (l.x.shape[i] > 1 && l.x.stride[i] == 1 && l.y.stride[i] == 1) l.beside = i;
    }
    if (!attn__apart(&l.x, &l.y) && !(same && l.x.data == l.y.data)) return attn__about(exec, "y", ATTN_ERR_ALIAS);
    if ((status = attn__path_of(exec, l.n, &path))) return status;
    status = attn__prepare(exec, attn__kernel_of(path, x->dtype), 0, &l.run, &measured);
    if (status || measured || l.n == 0 || l.line_count == 0) return status;
    l.chunk = attn__round_up(1 + 16384 / l.n, ATTN__COLUMNS);
    attn__parallel(&l.run, (l.line_count + l.chunk - 1) / l.chunk, attn__softmax_task, &l);
    return ATTN_OK;
}

/* ---- fused attention ---- */

enum {
    ATTN__TYPES_ANY_FLOAT,
    ATTN__TYPES_FLOAT,
    ATTN__TYPES_COMPUTED,
    ATTN__TYPES_MASK,
    ATTN__TYPES_INTEGER,
    ATTN__TYPES_CACHED,
    ATTN__TYPES_SCALE,
    ATTN__TYPES_COUNT
};

/* A line of ATTN__ARRAYS; where its members lie in attn_desc and attn__problem. */
typedef struct attn__spec {
    unsigned short in_desc, in_problem, axis[4];
    unsigned char required, min_dims, max_dims, types, output, broadcasts;
} attn__spec;
#define ATTN__X(name, required, min, max, types, output, a, b, c, d, broadcasts)                                       \
    {offsetof(attn_desc, name),                                                                                        \
     offsetof(attn__problem, name),                                                                                    \
     {offsetof(attn__problem, a), offsetof(attn__problem, b), offsetof(attn__problem, c), offsetof(attn__problem, d)}, \
     required,                                                                                                         \
     min,                                                                                                              \
     max,                                                                                                              \
     ATTN__TYPES_##types,                                                                                              \
     output,                                                                                                           \
     broadcasts},
static const attn__spec attn__specs[ATTN__ARRAY_COUNT] = {ATTN__ARRAYS(ATTN__X)};
#undef ATTN__X
#define ATTN__X(name, ...) #name,
static const char *const attn__names[ATTN__ARRAY_COUNT] = {ATTN__ARRAYS(ATTN__X)};
#undef ATTN__X
/* A status that is about an array of a problem, or about something else of that name. */
#define ATTN__ABOUT(p, name, status) attn__about((p)->run.exec, #name, status)
static attn_status attn__about_array(const attn__problem *p, size_t i, attn_status status)
{
    return attn__about(p->run.exec, attn__names[i], status);
}
ATTN__INLINE attn__view *attn__view_of(const attn__problem *p, size_t i)
{
    return (attn__view *)(void *)((char *)(uintptr_t)p + attn__specs[i].in_problem);
}
/* The arrays of a descriptor; of NULL, none. */
static void attn__given(const attn_desc *d, const attn_array *given[ATTN__ARRAY_COUNT])
{
    for (size_t i = 0; i < ATTN__ARRAY_COUNT; i++)
        given[i] = d ? (const attn_array *)(const void *)((const char *)d + attn__specs[i].in_desc) : NULL;
}

/* Each array by itself. NULL is as good as absent. */
static attn_status attn__check_arrays(attn__problem *p, const attn_array *const *given, attn_dtype compute,
                                      int measuring)
{
    unsigned types[ATTN__TYPES_COUNT];
    types[ATTN__TYPES_ANY_FLOAT] = ATTN__FLOATS;
    types[ATTN__TYPES_FLOAT] = compute == ATTN_F64 ? 1u << ATTN_F64 : ATTN__HALVES;
    types[ATTN__TYPES_COMPUTED] = 1u << compute;
    types[ATTN__TYPES_MASK] = types[ATTN__TYPES_FLOAT] | 1u << ATTN_BOOL | 1u << ATTN_BIT;
    types[ATTN__TYPES_INTEGER] = ATTN__INTS;
    types[ATTN__TYPES_CACHED] = types[ATTN__TYPES_FLOAT] | (compute == ATTN_F64 ? 0 : ATTN__CODES);
    types[ATTN__TYPES_SCALE] = 1u << ATTN_F32;
    p->arrays = p->has = 0;
    for (size_t i = 0; i < ATTN__ARRAY_COUNT; i++) {
        const attn__spec *spec = &attn__specs[i];
        attn_status status;
        if (!given[i] || (!spec->required && !attn__present(given[i]))) continue;
        status = attn__check(given[i], spec->min_dims, spec->max_dims, types[spec->types], spec->output, measuring,
                             attn__view_of(p, i));
        if (status) return attn__about_array(p, i, status);
        p->has |= 1u << i;
        p->given[p->arrays++] = (unsigned char)i;
    }
    return ATTN_OK;
}

ATTN__INLINE size_t attn__size_at(const attn__problem *p, unsigned short at)
{
    return *(const size_t *)(const void *)((const char *)p + at);
}

/* Their shapes against each other, where the sizes of the problem are known. */
static attn_status attn__check_shapes(const attn__problem *p)
{
    for (size_t i = 0; i < p->arrays; i++) {
        const attn__spec *spec = &attn__specs[p->given[i]];
        attn__view *view = attn__view_of(p, p->given[i]);
#define ATTN__X(i) | (view->shape[ATTN__B + i] ^ attn__size_at(p, spec->axis[i]))
        const size_t differs = 0 ATTN__REPEAT_4(ATTN__X);
#undef ATTN__X
        for (int axis = 0; differs && axis < 4; axis++) {
            if (view->shape[ATTN__B + axis] == attn__size_at(p, spec->axis[axis])) continue;
            if (view->shape[ATTN__B + axis] != 1 || !(spec->broadcasts >> axis & 1))
                return attn__about_array(p, p->given[i],
                                         spec->types == ATTN__TYPES_SCALE ? ATTN_ERR_SCALE_SHAPE : ATTN_ERR_SHAPE);
            view->stride[ATTN__B + axis] = 0;
        }
    }
    return ATTN_OK;
}

/* No output may lie on another array. */
static attn_status attn__check_aliases(const attn__problem *p)
{
    for (size_t i = p->arrays; i-- > 0 && attn__specs[p->given[i]].output;)
        for (size_t j = 0; j < i; j++)
            if (!attn__apart(attn__view_of(p, p->given[i]), attn__view_of(p, p->given[j])))
                return attn__about_array(p, p->given[i], ATTN_ERR_ALIAS);
    return ATTN_OK;
}

/* No output may lie on `memory`, or if that is written, no array at all. */
static attn_status attn__check_memory(const attn__problem *p, const void *memory, size_t bytes, int written)
{
    const attn__view v = attn__bytes(memory, bytes);
    for (size_t i = 0; i < p->arrays; i++)
        if ((written || attn__specs[p->given[i]].output) && !attn__apart(&v, attn__view_of(p, p->given[i])))
            return ATTN_ERR_ALIAS;
    return ATTN_OK;
}

/* What a ring goes with, and how many of its rows are taken in turn. */
ATTN__NOINLINE static attn_status attn__check_ring(attn__problem *p, const attn_desc *d)
{
    if (ATTN__HAS(p, block_table) || ATTN__HAS(p, cu_seqlens_k) || p->kv_begin || ATTN__HAS(p, scores) ||
        ATTN__HAS(p, colsum) || !ATTN__HAS(p, out) || (ATTN__HAS(p, mask) && d->mask_place == ATTN_MASK_ALL))
        return ATTN__ABOUT(p, ring, ATTN_ERR_UNSUPPORTED);
    if (!ATTN__HAS(p, kv_lens)) return ATTN__ABOUT(p, kv_lens, ATTN_ERR_NULL); /* which keys the rows hold */
    if (d->ring_sinks >= p->kv_rows) return ATTN__ABOUT(p, ring_sinks, ATTN_ERR_PARAMETER);
    p->ring = p->kv_rows - d->ring_sinks;
    return ATTN_OK;
}

/* The sizes of a problem, from arrays that are right by themselves. */
static attn_status attn__sizes(attn__problem *p, const attn_desc *d, const attn_array *const *given)
{
    const size_t limit = (size_t)-1 / 4;
    attn_status status;
    size_t n;
    p->one = 1;
    p->batch = p->seqs = p->kv_seqs = p->q.shape[ATTN__B];
    p->q_heads = p->q.shape[ATTN__H];
    p->q_len = p->q.shape[ATTN__S];
    p->dim = p->q.shape[ATTN__D];
    p->kv_heads = p->k.shape[ATTN__H];
    p->kv_rows = p->kv_len = p->k.shape[ATTN__S];
    p->k_cols = attn__stored(p->k.dtype, p->dim);
    p->v_cols = p->v.shape[ATTN__D];
    p->dim_v = attn__elements(p->v.dtype, p->v_cols);
    p->bounds = ATTN__HAS(p, q_bounds) ? p->q_bounds.shape[ATTN__D] : 0;
    if (p->bounds % 2) return ATTN__ABOUT(p, q_bounds, ATTN_ERR_SHAPE);
    p->kv_begin = d->kv_begin;
    if (p->kv_begin > limit) return ATTN__ABOUT(p, kv_begin, ATTN_ERR_OVERFLOW);
    if (ATTN__HAS(p, cu_seqlens_q) || ATTN__HAS(p, cu_seqlens_k)) { /* sequences take the place of batches */
        if (!ATTN__HAS(p, cu_seqlens_q)) return ATTN__ABOUT(p, cu_seqlens_q, ATTN_ERR_NULL);
        p->cu_entries = p->cu_seqlens_q.shape[ATTN__D];
        if (p->batch != 1) return ATTN__ABOUT(p, q, ATTN_ERR_SHAPE);
        if (p->cu_entries == 0) return ATTN__ABOUT(p, cu_seqlens_q, ATTN_ERR_SHAPE);
        p->seqs = p->cu_entries - 1;
        if (!ATTN__HAS(p, cu_seqlens_k)) p->kv_seqs = p->seqs;
        else if (ATTN__HAS(p, block_table) || ATTN__HAS(p, scores)) /* a table has rows, scores have columns of each */
            return ATTN__ABOUT(p, cu_seqlens_k, ATTN_ERR_UNSUPPORTED);
    }
    p->kv_batch = p->kv_seqs;
    if (ATTN__HAS(p, block_table)) {
        if (given[ATTN__ARRAY_k]->ndim != 4) return ATTN__ABOUT(p, k, ATTN_ERR_RANK);
        if (given[ATTN__ARRAY_v]->ndim != 4) return ATTN__ABOUT(p, v, ATTN_ERR_RANK);
        if (p->kv_rows == 0) return ATTN__ABOUT(p, k, ATTN_ERR_SHAPE);
        if (!ATTN__HAS(p, kv_lens)) return ATTN__ABOUT(p, kv_lens, ATTN_ERR_NULL); /* how many keys the pages hold */
        p->pages = p->block_table.shape[ATTN__D];
        p->kv_batch = p->k.shape[ATTN__B];
        if (!attn__multiply_size(p->kv_rows, p->pages, &p->kv_len))
            return ATTN__ABOUT(p, block_table, ATTN_ERR_OVERFLOW);
    }
    p->ring = 0;
    if (d->ring && (status = attn__check_ring(p, d))) return status;
    if (ATTN__HAS(p, mask)) {
        p->mask_cols = p->mask.shape[ATTN__D];
        p->mask_keys = given[ATTN__ARRAY_mask]->shape[given[ATTN__ARRAY_mask]->ndim - 1];
        if (d->mask_place == ATTN_MASK_ALL ? p->mask_keys != p->kv_len
                                           : ATTN__HAS(p, out) && !p->ring && p->mask_keys > p->kv_begin + p->kv_len)
            return ATTN__ABOUT(p, mask, ATTN_ERR_SHAPE);
        if (p->mask_keys > limit) return ATTN__ABOUT(p, mask, ATTN_ERR_OVERFLOW);
    }
    if (ATTN__HAS(p, rel_bias)) {
        p->rel_entries = p->rel_bias.shape[ATTN__D];
        if (p->rel_entries == 0) return ATTN__ABOUT(p, rel_bias, ATTN_ERR_SHAPE);
        if (p->rel_entries > limit) return ATTN__ABOUT(p, rel_bias, ATTN_ERR_OVERFLOW);
    }
    if (ATTN__HAS(p, scores)) {
        p->scores_heads = p->scores.shape[ATTN__H];
        p->scores_queries = p->scores.shape[ATTN__S];
        if (d->scores_head > p->q_heads || p->scores_heads > p->q_heads - d->scores_head ||
            d->scores_query > p->q_len || p->scores_queries > p->q_len - d->scores_query)
            return attn__about_array(p, ATTN__ARRAY_scores, ATTN_ERR_SHAPE);
    }
    if (!attn__multiply_size(p->batch, p->q_heads, &n) || !attn__multiply_size(n, p->q_len, &n) || n > 2 * limit ||
        !attn__multiply_size(p->seqs, p->q_heads, &n))
        return ATTN__ABOUT(p, q, ATTN_ERR_OVERFLOW);
    if (p->q_len > limit || p->dim > limit / 1024) return ATTN__ABOUT(p, q, ATTN_ERR_OVERFLOW);
    if (p->kv_len > limit) return ATTN__ABOUT(p, k, ATTN_ERR_OVERFLOW);
    if (p->dim_v > limit / 1024) return ATTN__ABOUT(p, v, ATTN_ERR_OVERFLOW);
    if (attn__elements(p->k.dtype, p->k_cols) != p->dim) return ATTN__ABOUT(p, k, ATTN_ERR_BLOCK);
    return ATTN_OK;
}

/* Scales and zero points of k or v: how many a row has, and whether its elements can have any. */
static attn_status attn__check_scales(const attn__problem *p, const attn__view *v, size_t dim, size_t scale,
                                      size_t zero, size_t *groups)
{
    const unsigned plain = ~(ATTN__CODES & ~(1u << ATTN_Q8_0)), whole = 1u << ATTN_I8 | 1u << ATTN_U8;
    *groups = 1;
    for (int i = 0; i < 2; i++) {
        const size_t at = i ? zero : scale;
        size_t count;
        if (!(p->has >> at & 1)) continue;
        if ((plain | (i ? ~whole : 0)) >> v->dtype & 1) return attn__about_array(p, at, ATTN_ERR_UNSCALED);
        count = attn__view_of(p, at)->shape[ATTN__D];
        if (count == 0 || dim % count) return attn__about_array(p, at, ATTN_ERR_SCALE_COUNT);
        *groups = attn__max(*groups, count);
    }
    return ATTN_OK;
}

/* The numbers among the options. */
static attn_status attn__options(attn__problem *p, const attn_desc *d, attn_dtype compute)
{
    const int64_t farthest = (int64_t)1 << 62;
    const attn_status status = attn__scale_of(d->scale, p->dim, compute, &p->scale);
    if (status) return ATTN__ABOUT(p, scale, status);
    if (!attn__finite_f64(d->softcap) || d->softcap < 0) return ATTN__ABOUT(p, softcap, ATTN_ERR_PARAMETER);
    p->softcap = d->softcap;
    if ((unsigned)d->align >= ATTN_ALIGN_COUNT) return ATTN__ABOUT(p, align, ATTN_ERR_PARAMETER);
    if ((unsigned)d->stage >= ATTN_STAGE_COUNT) return ATTN__ABOUT(p, stage, ATTN_ERR_PARAMETER);
    if (d->align == ATTN_ALIGN_OFFSET && (d->q_offset > farthest || d->q_offset < -farthest))
        return ATTN__ABOUT(p, q_offset, ATTN_ERR_PARAMETER);
    p->left = p->right = -1;
    if (d->window) {
        if (d->window_left < -1) return ATTN__ABOUT(p, window_left, ATTN_ERR_PARAMETER);
        if (d->window_right < -1) return ATTN__ABOUT(p, window_right, ATTN_ERR_PARAMETER);
        p->left = d->window_left;
        p->right = d->window_right;
    }
    if (d->causal) p->right = 0;
    if ((unsigned)d->mask_place >= ATTN_MASK_PLACE_COUNT) return ATTN__ABOUT(p, mask_place, ATTN_ERR_PARAMETER);
    p->mask_end = d->mask_place == ATTN_MASK_KEYS && ATTN__HAS(p, mask) ? (int64_t)p->mask_keys : INT64_MAX;
    if (d->rel_first > farthest / 2 || d->rel_first < -farthest / 2)
        return ATTN__ABOUT(p, rel_first, ATTN_ERR_PARAMETER); /* positions less it are within int64_t */
    return ATTN_OK;
}

/* Does any row see some of these keys, as far as positions and intervals decide it? */
static int attn__any_sees(const attn__problem *p, const attn__rows *rows, attn__range keys)
{
    for (size_t i = 0; i < rows->q_len; i++) {
        const attn__range seen = attn__visible(p, rows, i, keys);
        if (seen.lo < seen.hi) return 1;
    }
    return 0;
}

/* The pages of a sequence that hold a key which some row sees, or whose score is asked for. */
static attn_status attn__check_pages(const attn__problem *p, const attn__rows *rows)
{
    const int all =
        ATTN__HAS(p, scores) && (p->desc->stage == ATTN_STAGE_RAW || p->desc->stage == ATTN_STAGE_SOFTCAPPED);
    attn__range seen = {p->kv_begin, attn__max(rows->kv_end, p->kv_begin)}, keys;
    if (!all && rows->q_len == 0) return ATTN_OK;
    if (!all) /* ranges of rows follow one another, without a gap */
        seen = attn__between(p, rows, attn__position(p, rows, 0), attn__position(p, rows, rows->q_len - 1),
                             attn__all_keys);
    seen.lo -= p->kv_begin, seen.hi -= p->kv_begin;
    for (size_t page = seen.lo / p->kv_rows; page < attn__pieces(seen.hi, p->kv_rows); page++) {
        const int64_t number = attn__integer(&p->block_table, rows->b, page);
        if (number >= 0 && (uint64_t)number < p->kv_batch) continue;
        keys.lo = p->kv_begin + page * p->kv_rows;
        keys.hi = keys.lo + p->kv_rows;
        if (all || attn__any_sees(p, rows, keys)) return ATTN__ABOUT(p, block_table, ATTN_ERR_PAGE);
    }
    return ATTN_OK;
}

/* Are the intervals of each query in ascending order? */
static attn_status attn__check_bounds(const attn__problem *p)
{
    for (size_t b = 0; b < p->q_bounds.shape[ATTN__H] && p->bounds; b++)
        for (size_t i = 0; i < p->q_len; i++) {
            int64_t least = -INT64_MAX - 1;
            for (size_t n = 0; n < p->bounds; n += 2) {
                const int64_t begin = attn__integer_in(&p->q_bounds, b, i, n),
                              end = attn__integer_in(&p->q_bounds, b, i, n + 1);
                if (begin >= end) continue;
                if (begin < least) return ATTN__ABOUT(p, q_bounds, ATTN_ERR_LENGTH);
                least = end;
            }
        }
    return ATTN_OK;
}

/* Where packed sequences begin and end, among rows of which there are `total`. */
static attn_status attn__check_offsets(const attn__problem *p, size_t array, size_t total)
{
    int64_t begin = 0;
    for (size_t n = 0; p->seqs > 0 && n < p->cu_entries; n++) {
        const int64_t end = attn__integer(attn__view_of(p, array), 0, n);
        if (end < begin || (uint64_t)end > total || (n == 0 && end != 0))
            return attn__about_array(p, array, ATTN_ERR_LENGTH);
        begin = end;
    }
    return ATTN_OK;
}

/* Packed sequences, lengths and pages: what their elements say. */
static attn_status attn__check_lengths(const attn__problem *p)
{
    attn_status status = ATTN_OK;
    if (ATTN__HAS(p, cu_seqlens_q)) status = attn__check_offsets(p, ATTN__ARRAY_cu_seqlens_q, p->q_len);
    if (!status && ATTN__HAS(p, cu_seqlens_k)) status = attn__check_offsets(p, ATTN__ARRAY_cu_seqlens_k, p->kv_len);
    if (!status && ATTN__HAS(p, q_bounds)) status = attn__check_bounds(p);
    for (size_t b = 0; ATTN__HAS(p, kv_lens) && b < p->seqs && !status; b++) {
        const int64_t len = attn__integer(&p->kv_lens, 0, b);
        attn__rows rows;
        if (len < 0 || len > (int64_t)1 << 62) return ATTN__ABOUT(p, kv_lens, ATTN_ERR_LENGTH);
        attn__take_sequence(p, b, &rows);
        if (p->ring ? (uint64_t)len > (size_t)-1 / 4 : ATTN__HAS(p, out) && (uint64_t)len > p->kv_begin + rows.keys)
            return ATTN__ABOUT(p, kv_lens, ATTN_ERR_LENGTH); /* a part of the keys may end before */
        if (p->ring && attn__any_sees(p, &rows, attn__gone(p, &rows))) return ATTN__ABOUT(p, ring, ATTN_ERR_RING);
        if (ATTN__HAS(p, block_table)) status = attn__check_pages(p, &rows);
    }
    return status;
}

/* Everything about a problem but its workspace: `given` are its arrays, which need not be those of d. */
static attn_status attn__describe(const attn_desc *d, const attn_array *const *given, const attn_exec *exec,
                                  attn__problem *p)
{
    const attn_dtype compute = given[ATTN__ARRAY_q]->dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32;
    const int measuring = attn__measuring(exec);
    attn_status status;
    p->desc = d;
    p->run.exec = exec;
    attn__about(exec, NULL, ATTN_OK);
    if ((status = attn__check_arrays(p, given, compute, measuring)) || (status = attn__sizes(p, d, given)))
        return status;
    if ((status = attn__check_scales(p, &p->k, p->dim, ATTN__ARRAY_k_scale, ATTN__ARRAY_k_zero, &p->k_groups)) ||
        (status = attn__check_scales(p, &p->v, p->dim_v, ATTN__ARRAY_v_scale, ATTN__ARRAY_v_zero, &p->v_groups)) ||
        (status = attn__check_shapes(p)))
        return status;
    if (p->kv_heads == 0 ? p->q_heads != 0 : p->q_heads % p->kv_heads != 0) return ATTN__ABOUT(p, k, ATTN_ERR_HEADS);
    if ((status = attn__options(p, d, compute))) return status;
    if (ATTN__HAS(p, cu_seqlens_q)) {
        p->q.stride[ATTN__B] = p->mask.stride[ATTN__B] = p->rel_bias.stride[ATTN__B] = p->out.stride[ATTN__B] =
            p->scores.stride[ATTN__B] = 0;
        p->lse.stride[ATTN__H] = p->rowmax.stride[ATTN__H] = p->rowsum.stride[ATTN__H] = p->q_bounds.stride[ATTN__H] =
            0;
    }
    if (ATTN__HAS(p, cu_seqlens_k)) {
        p->k.stride[ATTN__B] = p->v.stride[ATTN__B] = p->colsum.stride[ATTN__H] = 0;
        p->k_scale.stride[ATTN__B] = p->v_scale.stride[ATTN__B] = p->k_zero.stride[ATTN__B] =
            p->v_zero.stride[ATTN__B] = 0;
    }
    if (!measuring && (status = attn__check_lengths(p))) return status;
    return attn__check_aliases(p);
}

/* Can weights be stored as they come, if strides and lengths allow it? */
static int attn__stores_weights(const attn__problem *p, const attn__kernel *kernel)
{
    return ATTN__HAS(p, scores) && p->desc->stage == ATTN_STAGE_PROBS && p->scores.dtype == kernel->dtype &&
           !ATTN__HAS(p, colsum);
}

/* How many subtrees of so many blocks the keys of a ring may lie in, wherever it begins. */
static size_t attn__ring_blocks(const attn__problem *p, size_t blocks)
{
    const size_t keys = blocks * ATTN__BLOCK;
    return attn__pieces(p->kv_rows - p->ring, keys) + attn__pieces(p->ring, keys) + 1;
}

/* Do the keys of several heads lie side by side, so that those of one are spread over all pages of memory? Few rows
 * then take a block of keys of all heads before the next one, while its pages are known. */
static int attn__side_by_side(const attn__problem *p)
{
    return p->kv_heads > 1 && p->left < 0 && !p->ring && !ATTN__HAS(p, block_table) && !ATTN__HAS(p, scores) &&
           !ATTN__HAS(p, colsum) && !ATTN__HAS(p, cu_seqlens_q) && attn__distance(p->k.stride[ATTN__S]) > p->dim;
}

/* Where the keys of few rows are fetched from. To convert numbers leaves time enough to do it; of pages those that are
 * due next may be elsewhere. */
static attn__column_kind attn__kind_of_keys(const attn__problem *p, const attn__kernel *kernel)
{
    const int beyond = attn__beyond_cache(p->k.size, p->kv_len, p->dim + p->dim_v, p->seqs * p->kv_heads);
    if (p->k.dtype == kernel->dtype && !beyond) return ATTN__COLUMNS_NEAR;
    if (ATTN__HAS(p, block_table)) return ATTN__COLUMNS_MANY;
    return (p->k.size == 2 ? kernel->nr >= 32 : p->k.size == 4 && beyond > 1) ? ATTN__COLUMNS_FAR : ATTN__COLUMNS_MANY;
}

/* Cuts a problem into tasks for a kernel and a number of workers. */
static attn_status attn__cut(attn__problem *p, const attn__kernel *kernel, size_t workers)
{
    const size_t end = p->kv_begin + p->kv_len, begin = p->kv_begin / ATTN__BLOCK;
    size_t blocks = p->ring ? attn__ring_blocks(p, 1) : (end + ATTN__BLOCK - 1) / ATTN__BLOCK, needed = 1;
    const int sequences = ATTN__HAS(p, cu_seqlens_q);
    p->group = p->kv_heads == p->q_heads ? p->kv_heads > 0 : p->q_heads / p->kv_heads;
    p->head_chunk = attn__min(p->group, ATTN__ROWS);
    p->head_chunks = attn__pieces(p->group, ATTN__ROWS);
    if (!attn__multiply_size(sequences ? 1 : p->seqs, p->kv_heads * p->head_chunks, &p->tasks))
        return ATTN_ERR_OVERFLOW;
    for (size_t rows = ATTN__ROWS;; rows /= 2) { /* as many rows as leave something for each worker */
        p->query_block = p->head_chunk < 2 ? rows : attn__max(rows / p->head_chunk, 1);
        p->query_blocks = sequences ? p->seqs + p->q_len / p->query_block : attn__pieces(p->q_len, p->query_block);
        if (workers < 2 || rows <= ATTN__ROWS / 8 || p->tasks == 0 ||
            p->query_blocks >= attn__pieces(2 * workers, p->tasks))
            break;
    }
    if (!sequences) p->query_block = attn__balanced(p->q_len, p->query_block);
    if (ATTN__HAS(p, colsum)) p->query_blocks = sequences ? p->seqs : 1; /* see attn__task */
    attn__shape_tile(p, kernel, attn__min(p->query_block, p->q_len) * p->head_chunk);
    p->chunks = p->dim ? (p->dim + ATTN__BLOCK - 1) / ATTN__BLOCK : 1;
    p->width = attn__round_up(p->dim_v, kernel->nr / 2);
    p->slot_count = blocks > begin ? (size_t)attn__level(blocks - 1, begin) + 1 : 1;
    p->keys = attn__min(ATTN__BLOCK, attn__round_up(p->kv_len, kernel->step) + kernel->step);
    if (p->ring) {
        p->slot_count += 2;    /* sinks, and what lies before the highest level that a ring crosses */
        p->keys = ATTN__BLOCK; /* sinks and what is far from them may be of one */
    }
    p->careful = 0;
    p->find = ATTN__FOUND;
    p->kind = attn__kind_of_keys(p, kernel);
    p->v_copied = attn__distance(p->v.stride[ATTN__S]) > p->dim_v;
    if (p->v.dtype != kernel->dtype || p->v.stride[ATTN__D] != 1 || attn__scattered(p) ||
        attn__distance(p->v.stride[ATTN__S]) > p->dim_v + p->dim_v / 2) /* in few sets of a cache, perhaps */
        p->v_copied = 2;
    p->modified = attn__masked(p) || ATTN__HAS(p, alibi);
    p->one_mask = ATTN__HAS(p, mask) && p->mask.stride[ATTN__H] == 0 &&
                  (!ATTN__HAS(p, rel_bias) || p->rel_bias.stride[ATTN__H] == 0) &&
                  !ATTN__HAS(p, colsum); /* column sums add up over queries in order */
    if (!attn__multiply_size(p->tasks, p->query_blocks, &p->tasks)) return ATTN_ERR_OVERFLOW;

    /* Fewer tasks than two for each worker, or keys of several heads side by side: cut the keys too, into whole
     * subtrees. */
    if (workers > 1 && p->tasks && p->tasks < 2 * workers) needed = (2 * workers + p->tasks - 1) / p->tasks;
    if (p->few && attn__side_by_side(p)) {
        size_t most = ATTN__HAS(p, kv_lens) ? 0 : p->kv_len;
        for (size_t b = 0; ATTN__HAS(p, kv_lens) && b < p->seqs; b++)
            most = attn__max(most, attn__length(&p->kv_lens, b));
        if (attn__beyond_cache(p->k.size, most, p->dim + p->dim_v, p->seqs * p->kv_heads)) {
            needed = attn__max(needed, ATTN__PARTS);
            blocks = attn__min(blocks, attn__pieces(p->kv_begin + most, ATTN__BLOCK));
        }
    }
    p->parts = 1;
    p->part_blocks = 1;
    p->first_part = 0;
    p->part_bytes = 0;
    if (needed > 1 && blocks > begin && !ATTN__HAS(p, colsum) &&
        !(attn__shared(p->run.exec) && !p->run.exec->barrier)) {
        while ((blocks - begin + p->part_blocks - 1) / p->part_blocks > needed) p->part_blocks *= 2;
        p->first_part = begin / p->part_blocks;
        p->parts = (blocks + p->part_blocks - 1) / p->part_blocks - p->first_part;
        if (p->ring) p->parts = attn__ring_blocks(p, p->part_blocks);
        if (p->parts > 1 && !attn__node_size(p->rows, p->width, kernel->size, &p->part_bytes)) return ATTN_ERR_OVERFLOW;
        p->part_bytes = attn__round_up(p->part_bytes, 64);
    }
    p->stored_blocks = 0;
    if (attn__stores_weights(p, kernel) && p->scores.stride[ATTN__D] == 1 && p->parts < 2 &&
        blocks - begin <= ATTN__STORED_BLOCKS)
        p->stored_blocks = blocks - begin;
    return ATTN_OK;
}

/* A described problem, cut and ready to run; or `measured`. */
static attn_status attn__ready(attn__problem *p, const attn_exec *exec, int *measured)
{
    const size_t workers = attn__workers(exec);
    const attn__kernel *kernel;
    attn_path path;
    const int sequences = ATTN__HAS(p, cu_seqlens_q);
    size_t shared = 0, each, rows;
    /* few rows, whose keys are so far apart that lines of 32 (float64: 16) crowd the first cache, and of half not */
    const ptrdiff_t crowding = p->q.dtype == ATTN_F64 ? 4096 : 2048;
    const int narrow = !attn__coded(p->k.dtype) && p->k.stride[ATTN__S] * p->k.size % crowding == 0 && p->q_len > 0 &&
                       p->kv_heads > 0 && p->q_heads / p->kv_heads <= 3 * ATTN__FEW_ROWS / p->q_len &&
                       p->q_heads / p->kv_heads * p->q_len % 16; /* those fill lanes: keys are copied together */
    attn_status status = attn__path_of(exec, narrow ? 1 : p->kv_len, &path);
    if (status) return status;
    kernel = attn__kernel_of(path, p->q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32);
    p->singles = attn__kernel_of(path, ATTN_F32);
    if (p->q.dtype != ATTN_F64 && (status = attn__path_of(exec, 2 * p->kv_len, &path)))
        return status; /* half as wide */
    p->doubles = attn__kernel_of(path, ATTN_F64);
    if ((status = attn__cut(p, kernel, workers))) return status;
    rows = p->rows;
    if ((status = sequences ? attn__tile_bytes(p, kernel, rows, &each) : attn__lay_out(p, kernel))) return status;
    if (sequences) p->rows = rows;
    else each = p->layout.size;
    if (p->parts > 1) {
        if (!attn__multiply_size(p->part_bytes, p->tasks * p->parts, &shared)) return ATTN_ERR_OVERFLOW;
        shared = attn__pieces(shared, workers); /* each worker's share of what all use together */
        if (shared > (size_t)-1 / 4) return ATTN_ERR_OVERFLOW;
        shared = attn__round_up(shared, 64);
    }
    status = attn__prepare(exec, kernel, each + shared, &p->run, measured);
    if (status || *measured) return status;
    p->part_states = p->run.workspace;
    p->run.workspace += shared * workers;
    p->run.each = each;
    for (size_t w = 0; w < workers; w++)
        if (!attn__shared(exec) || w == exec->share)
            attn__memset(p->run.workspace + w * p->run.each, 0, sizeof(attn__ranges_key));
    return ATTN_OK;
}

/* Is the whole problem small and plain? Then with what to call kernels. */
static int attn__is_small(const attn__problem *p, attn__small *little)
{
    const attn__kernel *kernel = p->run.kernel;
    const attn_dtype dtype = kernel->dtype;
    const int weights = p->stored_blocks && p->scores_heads == p->q_heads && p->scores_queries == p->q_len;
    attn__scratch s;
    int alike;
    if (p->arrays > (weights ? 5u : 4u) || p->kv_len > ATTN__BLOCK || p->kv_len == 0 || p->q_len == 0 || p->dim == 0 ||
        p->dim > ATTN__BLOCK || p->dim_v == 0 || p->run.workers > 1 || p->left >= 0 || p->softcap > 0 || p->kv_begin)
        return 0;
    if (p->q.dtype != dtype || p->k.dtype != dtype || p->v.dtype != dtype || p->out.dtype != dtype ||
        p->q.stride[ATTN__D] != 1 || p->k.stride[ATTN__D] != 1 || p->v.stride[ATTN__D] != 1 ||
        p->out.stride[ATTN__D] != 1)
        return 0;
    little->unit = 1;
    if (!attn__one_factor(p, ATTN__UNIT_LN2, &little->scale)) little->scale = p->scale, little->unit = ATTN__UNIT_LN2;
    little->visible = p->kv_len;
    if (p->right >= 0) {
        attn__rows all;
        all.q_len = p->q_len;
        all.kv_end = all.kv_total = p->kv_len;
        little->visible = attn__visible(p, &all, 0, attn__all_keys).hi;
        if (!little->visible) return 0; /* nor may the next queries see any */
    }
    alike = p->q_len == 1 && little->visible == p->kv_len;
    little->alone = alike && p->group == 1 && kernel->alone && p->v.stride[ATTN__S] >= 0 && p->q.stride[ATTN__H] >= 0 &&
                    p->kind == ATTN__COLUMNS_NEAR && p->parts < 2;
    little->together = alike && !little->alone; /* queries of a group are as those of a head */
    if (!little->alone && p->kv_len > kernel->lanes) return 0;
    attn__scratch_of(p, 0, &s);
    little->dim = p->dim;
    little->dim_v = p->dim_v;
    little->q_head = p->q.stride[ATTN__H];
    little->k_head = p->k.stride[ATTN__H];
    little->v_head = p->v.stride[ATTN__H];
    little->out_head = p->out.stride[ATTN__H];
    little->weights_head = weights ? p->scores.stride[ATTN__H] : 0;
    little->q_step = little->together ? little->q_head : p->q.stride[ATTN__S];
    little->k_step = p->k.stride[ATTN__S];
    little->v_step = p->v.stride[ATTN__S];
    little->out_step = little->together ? little->out_head : p->out.stride[ATTN__S];
    little->weights_step = little->together || !weights ? little->weights_head : p->scores.stride[ATTN__S];
    little->weighs = weights;
    little->fetches = attn__distance(little->k_step) <= 8192 / (kernel->size * kernel->nr);
    little->queries = p->few ? s.q : s.panel;
    little->keys = s.k;
    little->values = s.v;
    little->tile = s.tile;
    little->acc = s.acc;
    return 1;
}

/* A number of queries from query i of head h on, or one of each of so many heads. Returns 1 if one needs more care. */
static int attn__call_small(const attn__problem *p, attn__small *little, size_t b, size_t h, size_t i, size_t n)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t kv = h / p->group, visible = little->visible;
    const void *q = attn__at(&p->q, b, h, i, 0), *k = attn__at(&p->k, b, kv, 0, 0), *v = attn__at(&p->v, b, kv, 0, 0);
    char *out = attn__at(&p->out, b, h, i, 0), *weights = little->weighs ? attn__at(&p->scores, b, h, i, 0) : NULL;
    int any;
    little->q_len = little->heads = n;
    little->visible += i;
    little->kv_len = attn__min(p->kv_len, little->visible + n - 1); /* of others, values meet no weights */
    any = (little->alone ? kernel->alone : kernel->little)(little, q, k, v, out, weights);
    for (size_t r = 0; r < n && weights && little->kv_len < p->kv_len; r++) {
        char *row = weights + (ptrdiff_t)r * little->weights_step * (ptrdiff_t)kernel->size;
        attn__memset(row + little->kv_len * kernel->size, 0, (p->kv_len - little->kv_len) * kernel->size);
    }
    little->visible = visible;
    return any;
}

/* The rows of a task that need more care, of which `redo` says, head by head, what is wrong with them. */
static void attn__redo_small(const attn__problem *p, const attn__small *little, size_t index, const unsigned char *redo,
                             attn__prepared prepared[2])
{
    attn__problem own;
    attn__rows rows;
    attn__scratch s;
    size_t queries;
    attn__take_task(p, index, &own, &rows);
    attn__scratch_of(p, 0, &s);
    queries = rows.count / rows.heads;
    for (size_t r = 0; r < rows.count; r++) {
        attn__row *row = s.row + r;
        const unsigned char wrong = redo[r % rows.heads * queries + r / rows.heads];
        row->redo = wrong == ATTN__BAD_SCORES ? attn__redo_scores(p) : wrong ? ATTN__REDO_CLEAN : 0;
        row->not_finite = row->weighed = 0;
        row->exponent = 0;
        row->factor = 0;
    }
    attn__take_care(p, &rows, &s, attn__all_keys, attn__settle_row, NULL, prepared);
    if (little->weighs && !attn__all_weighed(&rows, &s)) attn__sweep(p, &rows, &s, 1, prepared);
}

/* The whole problem, if it is small and plain, else 0: a task at a time, or one for each of some heads. */
static int attn__do_small(attn__problem *p)
{
    const size_t mr = p->run.kernel->mr, most = attn__max(mr, p->query_block * p->head_chunk); /* rows at a time */
    unsigned char redo[ATTN__ROWS];
    attn__prepared prepared[2];
    attn__small little;
    size_t index = 0, count = 1;
    if (!attn__is_small(p, &little)) return 0;
    prepared[0].pass = prepared[1].pass = 0;
    attn__memset(redo, 0, most);
    for (size_t b = 0; b < p->batch; b++)
        for (size_t kv = 0; kv < p->kv_heads; kv += count)
            for (size_t chunk = 0; chunk < p->group; chunk += p->head_chunk)
                for (size_t query = 0; query < p->q_len; query += p->query_block, index += count) {
                    const size_t head = kv * p->group + chunk, heads = attn__min(p->head_chunk, p->group - chunk),
                                 n = attn__min(p->query_block, p->q_len - query);
                    int any = 0;
                    little.redo = redo;
                    if (little.alone) count = attn__min(mr, p->kv_heads - kv);
                    if (little.alone || little.together)
                        any = attn__call_small(p, &little, b, head, 0, little.alone ? count : heads);
                    for (size_t h = 0; h < heads && !little.alone && !little.together; h++, little.redo += n)
                        any |= attn__call_small(p, &little, b, head + h, query, n);
                    for (size_t i = 0; i < count && any; i++)
                        if (!little.alone || redo[i]) attn__redo_small(p, &little, index + i, redo + i, prepared);
                    if (any) attn__memset(redo, 0, most);
                }
    return 1;
}

static void attn__do_tasks(attn__problem *p)
{
    if (p->parts > 1) {
        attn__parallel(&p->run, p->tasks * p->parts, attn__part_task, p);
        attn__parallel(&p->run, p->tasks, attn__join_task, p);
    } else attn__parallel(&p->run, p->tasks, attn__task, p);
}

static attn_status attn__forward(const attn_desc *desc, const attn_array *const *given, const attn_exec *exec)
{
    attn__problem p; /* not cleared, as 3 KB take a tenth of a small problem: what is absent is marked so */
    attn_status status;
    int measured;
    if ((status = attn__describe(desc, given, exec, &p))) return status;
    if ((status = attn__ready(&p, exec, &measured)) || measured) return status;
    if (!attn__do_small(&p)) attn__do_tasks(&p);
    attn__release(&p.run.memory);
    return ATTN_OK;
}

ATTN_DEF attn_status attn_forward(const attn_desc *desc, const attn_exec *exec)
{
    const attn_array *given[ATTN__ARRAY_COUNT];
    if (!desc) return attn__about(exec, "desc", ATTN_ERR_NULL);
    attn__given(desc, given);
    return attn__forward(desc, given, exec);
}

/* The most that attn__ready may ask for, of p and shorter problems, by a kernel. */
static attn_status attn__most_workspace(attn__problem *p, const attn__kernel *kernel, size_t workers, size_t *bytes)
{
    const size_t blocks = p->ring ? attn__ring_blocks(p, 1) : attn__pieces(p->kv_begin + p->kv_len, ATTN__BLOCK);
    size_t rows, most, parts, one;
    attn_status status;
    if ((status = attn__cut(p, kernel, workers))) return status;
    p->stored_blocks = 0;
    if (attn__stores_weights(p, kernel)) p->stored_blocks = attn__min(blocks, ATTN__STORED_BLOCKS);
    rows = attn__min(p->q_len, attn__max(ATTN__ROWS / attn__max(p->head_chunk, 1), 1)) * p->head_chunk;
    if ((status = attn__tile_bytes(p, kernel, rows, &most))) return status;
    if (workers > 1 && !ATTN__HAS(p, colsum)) { /* parts, if tasks are fewer than two for each worker */
        rows = attn__min(rows, attn__max(ATTN__ROWS / 8, p->head_chunk));
        if (!attn__node_size(rows, p->width, kernel->size, &one)) return ATTN_ERR_OVERFLOW;
        one = attn__round_up(one, 64);
        /* a worker: 2 w / tasks rounded up and one more, or of a ring two, of each of less than 2 w tasks */
        parts = blocks < 2 ? 0 : p->ring ? 8 : 6;
        if (!attn__multiply_size(one, parts, &one) || one > (size_t)-1 / 4 - most) return ATTN_ERR_OVERFLOW;
        most += one;
    }
    if (attn__side_by_side(p)) { /* parts of that: as many of each head, shared by the workers */
        if (!attn__node_size(attn__min(rows, 3 * kernel->few_rows), p->width, kernel->size, &one) ||
            !attn__multiply_size(attn__round_up(one, 64), attn__min(blocks, ATTN__PARTS) + 1, &one) ||
            !attn__multiply_size(one, p->seqs * p->kv_heads, &one))
            return ATTN_ERR_OVERFLOW;
        one = attn__round_up(attn__pieces(one, workers), 64);
        if (one > (size_t)-1 / 4 - most) return ATTN_ERR_OVERFLOW;
        most += one;
    }
    if (!attn__multiply_size(most, workers, &most) || most > (size_t)-1 / 2 - 64) return ATTN_ERR_OVERFLOW;
    *bytes = attn__max(*bytes, most + 63);
    return ATTN_OK;
}

ATTN_DEF ATTN__COLD attn_status attn_workspace_size(const attn_desc *desc, size_t num_workers, size_t *bytes)
{
    const attn_array *given[ATTN__ARRAY_COUNT];
    attn__problem p;
    attn_exec ask = attn_exec_default();
    size_t most = 0;
    attn_status status;
    if (!desc || !bytes) return ATTN_ERR_NULL;
    ask.query = &most;
    attn__given(desc, given);
    if ((status = attn__describe(desc, given, &ask, &p))) return status;
    for (int i = ATTN_PATH_SCALAR; i < ATTN_PATH_COUNT; i++) {
        const attn_path path = (attn_path)i;
        if (!attn_path_supported(path)) continue;
        p.doubles = attn__kernel_of(path, ATTN_F64);
        status = attn__most_workspace(&p, attn__kernel_of(path, p.q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32),
                                      attn__min(attn__max(num_workers, 1), (size_t)-1 / 4), &most);
        if (status) return status;
    }
    *bytes = most;
    return ATTN_OK;
}

static attn_status attn__sdpa(attn_dtype dtype, const void *q, const void *k, const void *v, void *out, size_t batch,
                              size_t q_num_heads, size_t kv_num_heads, size_t q_len, size_t kv_len, size_t head_dim,
                              int causal)
{
    attn_desc d = attn_desc_flash(causal, -1, -1);
    d.q = attn_array_4d(dtype, q, batch, q_num_heads, q_len, head_dim);
    d.k = attn_array_4d(dtype, k, batch, kv_num_heads, kv_len, head_dim);
    d.v = attn_array_4d(dtype, v, batch, kv_num_heads, kv_len, head_dim);
    d.out = attn_array_4d(dtype, out, batch, q_num_heads, q_len, head_dim);
    return attn_forward(&d, NULL);
}
ATTN_DEF attn_status attn_sdpa_f32(const float *q, const float *k, const float *v, float *out, size_t batch,
                                   size_t q_num_heads, size_t kv_num_heads, size_t q_len, size_t kv_len,
                                   size_t head_dim, int causal)
{
    return attn__sdpa(ATTN_F32, q, k, v, out, batch, q_num_heads, kv_num_heads, q_len, kv_len, head_dim, causal);
}
ATTN_DEF attn_status attn_sdpa_f64(const double *q, const double *k, const double *v, double *out, size_t batch,
                                   size_t q_num_heads, size_t kv_num_heads, size_t q_len, size_t kv_len,
                                   size_t head_dim, int causal)
{
    return attn__sdpa(ATTN_F64, q, k, v, out, batch, q_num_heads, kv_num_heads, q_len, kv_len, head_dim, causal);
}

/* Are scores those of all heads and queries? Yes too where other checks will fail. */
static int attn__whole_scores(const attn_array *of, const attn_array *queries)
{
    attn__view q, scores;
    if (attn__check(queries, 2, 4, ATTN__FLOATS, ATTN__INPUT, 1, &q) ||
        attn__check(of, 2, 4, ATTN__FLOATS, ATTN__INPUT, 1, &scores))
        return 1;
    return scores.shape[ATTN__H] == q.shape[ATTN__H] && scores.shape[ATTN__S] == q.shape[ATTN__S];
}

/* What attn_desc calls scores, others call weights. */
static void attn__about_weights(const attn_exec *exec)
{
    if (exec && exec->argument && *exec->argument == attn__names[ATTN__ARRAY_scores]) *exec->argument = "weights";
}

ATTN_DEF attn_status attn_self_attention(const attn_array *q, const attn_array *k, const attn_array *v,
                                         const attn_array *out, const attn_array *weights, const attn_exec *exec)
{
    static const attn_desc plain = ATTN__ZEROS; /* as attn_desc_default gives */
    const attn_array *given[ATTN__ARRAY_COUNT];
    attn_status status;
    if (!q || !k || !v || !out) return attn__about(exec, !q ? "q" : !k ? "k" : !v ? "v" : "out", ATTN_ERR_NULL);
    if (weights && !attn__whole_scores(weights, q)) return attn__about(exec, "weights", ATTN_ERR_SHAPE);
    attn__given(NULL, given);
    given[ATTN__ARRAY_q] = q;
    given[ATTN__ARRAY_k] = k;
    given[ATTN__ARRAY_v] = v;
    given[ATTN__ARRAY_out] = out;
    given[ATTN__ARRAY_scores] = weights;
    status = attn__forward(&plain, given, exec);
    attn__about_weights(exec);
    return status;
}

/* ---- self test ---- */

#define ATTN__TEST_QUERIES 5
#define ATTN__TEST_KEYS 530 /* crosses a block */
#define ATTN__TEST_DIM 9
#define ATTN__TEST_HEADS 2

static void attn__hash(uint64_t *hash, const attn_array *a, size_t n)
{
    for (size_t i = 0; i < n; i++) { /* FNV-1a over elements, whatever the byte order */
        *hash ^= a->dtype == ATTN_F64 ? attn__bits_f64(((const double *)a->data)[i])
                                      : attn__bits_f32(((const float *)a->data)[i]);
        *hash *= UINT64_C(0x100000001b3);
    }
}

/* Exact small numbers in a fixed order. */
static void attn__test_fill(const attn_array *a, size_t n, uint64_t *seed)
{
    for (size_t i = 0; i < n; i++) {
        *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        attn__put((char *)a->data + i * attn__size_of(a->dtype), a->dtype,
                  (double)(int64_t)(*seed >> 40) / 4194304.0 - 2); /* 24 bits in [-2, 2) */
    }
}

/* The problems of the test in a type, on a path, with `size` bytes from `memory` on; *hash of their
 * results. Without memory, *needed bytes. */
ATTN__COLD static attn_status attn__test(attn_path path, attn_dtype dtype, char *memory, size_t size, size_t *needed,
                                         uint64_t *hash)
{
    const size_t rows = ATTN__TEST_HEADS * ATTN__TEST_QUERIES, queries = rows * ATTN__TEST_DIM,
                 keys = ATTN__TEST_KEYS * ATTN__TEST_DIM;
    attn__arena arena = {NULL, 0, 0, 0};
    attn_desc d = attn_desc_default();
    attn_exec run = attn_exec_default();
    uint64_t seed = 1;
    attn_status status;
    arena.base = memory;
    d.q = attn_array_3d(dtype, attn__take(&arena, queries, sizeof(double)), ATTN__TEST_HEADS, ATTN__TEST_QUERIES,
                        ATTN__TEST_DIM);
    d.k = attn_array_3d(dtype, attn__take(&arena, keys, sizeof(double)), 1, ATTN__TEST_KEYS, ATTN__TEST_DIM);
    d.v = attn_array_3d(dtype, attn__take(&arena, keys, sizeof(double)), 1, ATTN__TEST_KEYS, ATTN__TEST_DIM);
    d.out = attn_array_3d(dtype, attn__take(&arena, queries, sizeof(double)), ATTN__TEST_HEADS, ATTN__TEST_QUERIES,
                          ATTN__TEST_DIM);
    d.alibi = attn_array_1d(dtype, attn__take(&arena, ATTN__TEST_HEADS, sizeof(double)), ATTN__TEST_HEADS);
    d.lse = attn_array_2d(dtype, attn__take(&arena, rows, sizeof(double)), ATTN__TEST_HEADS, ATTN__TEST_QUERIES);
    d.causal = 1;
    d.align = ATTN_ALIGN_OFFSET;
    d.q_offset = ATTN__TEST_KEYS - 8;
    run.path = path;
    run.query = memory ? NULL : needed;
    run.workspace = memory ? memory + arena.taken : NULL;
    run.workspace_size = memory ? size - arena.taken : 0;
    *hash = UINT64_C(0xcbf29ce484222325);
    for (int round = 0; round < 2; round++) { /* as it comes; then softcap, and a row that overflows */
        d.softcap = round ? 3 : 0;
        if (memory) {
            attn__test_fill(&d.q, queries, &seed);
            attn__test_fill(&d.k, keys, &seed);
            attn__test_fill(&d.v, keys, &seed);
            attn__test_fill(&d.alibi, ATTN__TEST_HEADS, &seed);
            if (round) attn__put(d.q.data, dtype, dtype == ATTN_F64 ? 1e308 : 3e38);
        }
        if ((status = attn_forward(&d, &run))) return status;
        if (!memory) {
            *needed += arena.taken;
            return ATTN_OK;
        }
        attn__hash(hash, &d.out, queries);
        attn__hash(hash, &d.lse, rows);
    }
    return ATTN_OK;
}

/* Are subnormal numbers taken for zero, or results that would be subnormal made zero? */
static int attn__flushes(void)
{
    volatile float least = attn__from_bits_f32(1), most = attn__from_bits_f32(0x00800000u), product;
    volatile double least_f64 = attn__from_bits_f64(1), most_f64 = attn__from_bits_f64(UINT64_C(1) << 52), product_f64;
    uint64_t zeros;
    product = least * 16777216.0f, zeros = attn__bits_f32(product) == 0;
    product = most * 0.5f, zeros |= attn__bits_f32(product) == 0;
    product_f64 = least_f64 * 9007199254740992.0, zeros |= attn__bits_f64(product_f64) == 0;
    product_f64 = most_f64 * 0.5, zeros |= attn__bits_f64(product_f64) == 0;
    return zeros != 0;
}

ATTN_DEF ATTN__COLD attn_status attn_self_test(const attn_exec *exec)
{
#if ATTN__FUSED
    static const uint64_t golden[2] = {UINT64_C(0x078617dea1f980ff), UINT64_C(0x8059e6a5d266c563)};
#else
    static const uint64_t golden[2] = {UINT64_C(0xbdf4ba0c63a03c5c), UINT64_C(0x5e350ddb4f70d652)};
#endif
    attn_path only;
    size_t needed = 0, size = 0;
    attn__memory memory = {NULL, NULL};
    int measured;
    attn_status status;
    attn__about(exec, NULL, ATTN_OK);
    status = attn__path_of(exec, ATTN__TEST_KEYS, &only);
    if (attn__shared(exec)) return attn__about(exec, "shares", ATTN_ERR_UNSUPPORTED);
    for (int pass = 0; pass < 2 && !status; pass++) { /* measures, then runs */
        for (int i = ATTN_PATH_SCALAR; i < ATTN_PATH_COUNT; i++) {
            const attn_path path = (attn_path)i;
            if (!attn_path_supported(path) || (exec && exec->path != ATTN_PATH_AUTO && path != only)) continue;
            for (int type = 0; type < 2 && !status; type++) {
                uint64_t hash;
                status = attn__test(path, type ? ATTN_F64 : ATTN_F32, memory.base, size, &needed, &hash);
                if (!status && pass && hash != golden[type]) status = ATTN_ERR_UNSOUND;
                size = attn__max(size, needed);
            }
        }
        if (pass || status) continue;
        if ((status = attn__claim(exec, size, &memory, &measured)) || measured) return status;
        if (attn__flushes()) status = ATTN_ERR_FLUSH;
    }
    attn__release(&memory);
    return status;
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
#define ATTN__STATE_MAGIC UINT64_C(0x3274747461747361)
#define ATTN__NODES 128 /* two for each level of a tree over 2^63 keys */
/* As many states as this can be merged before sums of values overflow; rows that
 * come so near to the largest number are stored smaller. */
#define ATTN__STATE_ROOM 16777216.0

/* May the last two nodes be joined, in a list that covers [begin, end) in all?
 * Both in one block, or halves of a subtree that lies inside. */
static int attn__joinable(const attn__range *a, const attn__range *b, size_t begin, size_t end)
{
    const int level = attn__level((a->hi - 1) / ATTN__BLOCK, (b->hi - 1) / ATTN__BLOCK),
              levels = (int)(8 * sizeof(size_t)) - 10;
    const size_t start = level <= levels ? ((a->hi - 1) / ATTN__BLOCK >> level << level) * ATTN__BLOCK : 0;
    const size_t whole = level < levels ? (size_t)ATTN__BLOCK << level : (size_t)-1;
    if (level == 0) return 1;
    return start >= begin && whole <= end && start <= end - whole && b->hi == start + whole;
}

/* The nodes of [begin, end). A block at a time would be simple; a subtree at a time is quick. */
static size_t attn__nodes(size_t begin, size_t end, attn__range *nodes)
{
    size_t n = 0, at = begin;
    while (at < end) {
        size_t size = ATTN__BLOCK, next;
        if (at % ATTN__BLOCK == 0)
            while (at % (2 * size) == 0 && 2 * size <= end - at) size *= 2;
        next = at % ATTN__BLOCK ? attn__round_up(at, ATTN__BLOCK) : at + size;
        nodes[n].lo = at;
        nodes[n++].hi = at = attn__min(next, end);
    }
    return n;
}

/* A state in memory: head, then the nodes, whose rows are those of all batches and heads. */
static size_t attn__state_width(size_t dim_v) { return attn__round_up(dim_v, ATTN__NR_MAX); }
static attn_status attn__state_bytes(size_t rows, size_t dim_v, attn_dtype dtype, size_t nodes, size_t *node_bytes,
                                     size_t *bytes)
{
    size_t all;
    if (dim_v > (size_t)-1 / 64) return ATTN_ERR_OVERFLOW;
    if (!attn__node_size(rows, attn__state_width(dim_v), attn__size_of(dtype), node_bytes) ||
        !attn__multiply_size(rows, sizeof(attn__statistics), &all) || *node_bytes > (size_t)-1 / 2 ||
        all > (size_t)-1 / 2 - *node_bytes)
        return ATTN_ERR_OVERFLOW;
    *node_bytes += all;
    if (!attn__multiply_size(*node_bytes, nodes, &all) || all > (size_t)-1 / 2) return ATTN_ERR_OVERFLOW;
    *bytes = all + sizeof(attn__state);
    return ATTN_OK;
}

/* A node of a state. The statistics of a row are its max and its sum, which its own say by a sum of -1; but where the
 * row was done again in double, max and sum are as its output needs them, and its own are what they are; so they are
 * where values that it sees are not finite. */
static attn__node attn__node_of(const char *at, size_t rows, size_t node_bytes)
{
    attn__node node = attn__node_at((char *)(uintptr_t)at, rows);
    node.own = (attn__statistics *)(void *)((char *)(uintptr_t)at + node_bytes) - rows;
    return node;
}
static const attn__statistics attn__no_own = {0, -1};

/* Those of a row of x and of y become those of both, in x; then max and sum may be joined. NaN stays, whatever it
 * meets. */
static void attn__join_own(const attn__node *x, const attn__node *y, size_t row, const attn__kernel *kernel)
{
    attn__statistics a = x->own[row], b = y->own[row];
    if (a.sum < 0 && b.sum < 0) return;
    if (a.sum < 0) a.max = x->max[row], a.sum = x->sum[row];
    if (b.sum < 0) b.max = y->max[row], b.sum = y->sum[row];
    if (attn__nan_f64(b.max)) a = b;
    if (!attn__nan_f64(a.max)) kernel->join(1, 0, &a, &a.max, &a.sum, &b, &b.max, &b.sum, 0);
    x->own[row] = a;
}

/* A state somebody hands in: is it one, and what does it hold? */
static attn_status attn__state_check(const void *state, attn__state *head, size_t *rows, size_t *node_bytes,
                                     size_t *bytes)
{
    attn__range nodes[ATTN__NODES];
    if (!state) return ATTN_ERR_NULL;
    if ((uintptr_t)state % sizeof(double)) return ATTN_ERR_ALIGN;
    attn__memcpy(head, state, sizeof *head);
    if (head->magic != ATTN__STATE_MAGIC || head->dtype > ATTN_F64 || head->begin > head->end ||
        head->end > (size_t)-1 / 2)
        return ATTN_ERR_PARAMETER;
    if (head->nodes != attn__nodes((size_t)head->begin, (size_t)head->end, nodes)) return ATTN_ERR_PARAMETER;
    if (!attn__multiply_size((size_t)head->batch, (size_t)head->q_heads, rows) ||
        !attn__multiply_size(*rows, (size_t)head->q_len, rows))
        return ATTN_ERR_OVERFLOW;
    return attn__state_bytes(*rows, (size_t)head->dim_v, (attn_dtype)head->dtype, (size_t)head->nodes, node_bytes,
                             bytes);
}

/* A state to be made. */
typedef struct attn__partial {
    attn__problem p;
    char *nodes;
    size_t rows, node_bytes, bytes, node_count;
    attn__range node[ATTN__NODES];
} attn__partial;

/* The problem of a part: its outputs, and the sinks, are not looked at. */
static attn_status attn__describe_part(const attn_desc *desc, const attn_exec *exec, attn__partial *part)
{
    const attn_array *given[ATTN__ARRAY_COUNT];
    attn__problem *p = &part->p;
    attn_status status;
    attn__given(desc, given);
    for (size_t i = 0; i < ATTN__ARRAY_COUNT; i++)
        if (attn__specs[i].output) given[i] = NULL;
    given[ATTN__ARRAY_sinks] = NULL;
    if ((status = attn__describe(desc, given, exec, p))) return status;
    if (!ATTN__HAS(p, kv_lens) && ((desc->align == ATTN_ALIGN_LOWER_RIGHT &&
                                    (p->left >= 0 || p->right >= 0 || ATTN__HAS(p, alibi) || ATTN__HAS(p, rel_bias))) ||
                                   (desc->mask_place == ATTN_MASK_TAIL && ATTN__HAS(p, mask))))
        return ATTN__ABOUT(p, kv_lens, ATTN_ERR_NULL); /* where the last key is, nobody says */
    part->rows = p->batch * p->q_heads * p->q_len;
    part->node_count = attn__nodes(p->kv_begin, p->kv_begin + p->kv_len, part->node);
    return attn__state_bytes(part->rows, p->dim_v, p->q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32, part->node_count,
                             &part->node_bytes, &part->bytes);
}

ATTN_DEF attn_status attn_state_size(const attn_desc *desc, size_t *bytes)
{
    attn__partial part;
    attn_exec ask = attn_exec_default();
    size_t size;
    attn_status status;
    ask.query = &size;
    status = desc && bytes ? attn__describe_part(desc, &ask, &part) : ATTN_ERR_NULL;
    if (!status) *bytes = part.bytes;
    return status;
}

/* A row of a node: its place in max and sum, and its sum of values. */
static size_t attn__node_row(const attn__problem *p, const attn__rows *rows, size_t r)
{
    const size_t b = ATTN__HAS(p, cu_seqlens_q) ? 0 : rows->b;
    return (b * p->q_heads + attn__head_of(rows, r)) * p->q_len + rows->q_base + attn__query_of(rows, r);
}
static char *attn__node_acc(const attn__problem *p, const attn__node *node, size_t row)
{
    return node->acc + row * attn__state_width(p->dim_v) * p->run.kernel->size;
}

/* A row's output, as if it were one key of score lse, but with room to add others; or only where it is `missing`, as
 * what is there is not finite. Changes `out`. */
static void attn__put_node_row(const attn__problem *p, const attn__node *node, size_t row, double lse, double *out,
                               int missing)
{
    const attn__kernel *kernel = p->run.kernel;
    char *acc = attn__node_acc(p, node, row);
    double max = lse, sum = 1;
    if (attn__finite_f64(lse)) {
        double above = lse + 16.635532333438686; /* ln ROOM */
        if (kernel->dtype == ATTN_F32) above = (double)attn__to_f32(above);
        if (above > lse && above < lse + 40 && attn__finite_f64(above)) {
            max = above;
            sum = p->doubles->exp_difference(lse, above, 1);
        } else sum = 1 / ATTN__STATE_ROOM; /* a score so large does not resolve it */
    }
    node->max[row] = max;
    node->sum[row] = sum;
    p->doubles->scale(out, out, p->dim_v, sum);
    if (!missing) p->doubles->store(acc, kernel->dtype, 1, out, p->dim_v);
    for (size_t c = 0; c < p->dim_v && missing; c++) /* of float64 */
        if (!attn__finite_f64(((double *)(void *)acc)[c])) ((double *)(void *)acc)[c] = out[c];
}

/* acc of a row to that of a node. Returns 1 if it comes too near to the largest number. */
static int attn__store_node_row(const attn__problem *p, char *to, const char *acc)
{
    if (p->run.kernel->scale(to, acc, p->dim_v, ATTN__STATE_ROOM)) return 1;
    return p->run.kernel->scale(to, acc, p->dim_v, 1);
}

/* A row that is done with care, see attn__settle. */
static int attn__settle_node_row(const attn__problem *p, const attn__problem *careful, const attn__rows *rows,
                                 attn__scratch *s, size_t r, const void *to)
{
    const attn__node *node = (const attn__node *)to;
    const attn__kernel *kernel = careful->run.kernel;
    const size_t at = attn__node_row(p, rows, r);
    char *sums = attn__node_acc(p, node, at), *acc = s->acc + r * careful->width * kernel->size;
    int nan = 0; /* all of it */
    if (careful->careful == ATTN__REDO_CLEAN && !attn__store_node_row(p, sums, acc)) {
        node->max[at] = s->max[r];
        node->sum[at] = s->sum[r];
    } else if (kernel->dtype != ATTN_F64) return ATTN__REDO_DOUBLE;
    else {
        const double factor = attn__row_factor(careful, rows, s, r);
        const int bad = attn__average(careful, acc, factor);
        double lse[8];
        nan = attn__nan_f64(factor);
        attn__take_logs(careful, s->row + r, 1, lse);
        node->own[at] = attn__statistics_of(careful, s, r);
        if (node->own[at].max <= -attn__infinity()) node->own[at].sum = 0; /* counts for nothing, as in the output */
        attn__put_node_row(p, node, at, lse[0], (double *)(void *)acc, attn__light(careful));
        if (bad && !nan) return attn__redo_sums(careful);
    }
    if (!nan && attn__put_special(p, sums, attn__special(p, s, r)) && node->own[at].sum < 0)
        node->own[at].max = node->max[at], node->own[at].sum = node->sum[at];
    return 0;
}

/* One node for the rows of one task. */
static void attn__partial_task(void *arg, size_t index, size_t worker)
{
    const attn__partial *part = (const attn__partial *)arg;
    const attn__range keys = part->node[index % part->node_count];
    const attn__node node =
        attn__node_of(part->nodes + index % part->node_count * part->node_bytes, part->rows, part->node_bytes);
    attn__problem own;
    attn__rows rows;
    const attn__problem *p = attn__take_task(&part->p, index / part->node_count, &own, &rows);
    const size_t es = p->run.kernel->size;
    attn__scratch s;
    attn__prepared prepared[2];
    int any = 0;
    if (!rows.count) return;
    attn__scratch_of(p, worker, &s);
    attn__states(p, &rows, &s, keys);
    for (size_t r = 0; r < rows.count; r++) {
        const size_t at = attn__node_row(p, &rows, r);
        char *sums = attn__node_acc(p, &node, at);
        attn__row *row = &s.row[r];
        node.max[at] = s.max[r];
        node.sum[at] = s.sum[r];
        node.own[at] = attn__no_own;
        row->redo = row->not_finite ? attn__redo_scores(p) : 0;
        row->exponent = 0;
        attn__memset(sums, 0, attn__state_width(p->dim_v) * es);
        if (!row->redo && s.max[r] > -attn__infinity() && attn__store_node_row(p, sums, s.acc + r * p->width * es))
            row->redo = ATTN__REDO_CLEAN;
        any |= row->redo;
    }
    prepared[0].pass = prepared[1].pass = 0;
    if (any) attn__take_care(p, &rows, &s, keys, attn__settle_node_row, &node, prepared);
}

/* Rows behind the last packed sequence see nothing. */
static void attn__clear_rest(const attn__partial *part)
{
    const attn__problem *p = &part->p;
    const size_t begin = p->seqs ? attn__length(&p->cu_seqlens_q, p->seqs) : 0;
    for (size_t n = 0; n < part->node_count; n++) {
        const attn__node node = attn__node_of(part->nodes + n * part->node_bytes, part->rows, part->node_bytes);
        for (size_t row = 0; row < part->rows; row++) {
            if (row % p->q_len < begin) continue;
            node.max[row] = -attn__infinity();
            node.sum[row] = 0;
            node.own[row] = attn__no_own;
            attn__memset(attn__node_acc(p, &node, row), 0, attn__state_width(p->dim_v) * p->run.kernel->size);
        }
    }
}

ATTN_DEF attn_status attn_partial(const attn_desc *desc, void *state, size_t state_size, const attn_exec *exec)
{
    attn__partial part;
    attn__state head;
    attn_status status;
    const attn__problem *p = &part.p;
    int measured;
    if (!desc) return attn__about(exec, "desc", ATTN_ERR_NULL);
    if ((status = attn__describe_part(desc, exec, &part))) return status;
    if (!attn__measuring(exec)) {
        if (!state) return attn__about(exec, "state", ATTN_ERR_NULL);
        if ((uintptr_t)state % sizeof(double)) return attn__about(exec, "state", ATTN_ERR_ALIGN);
        if (state_size < part.bytes) return attn__about(exec, "state_size", ATTN_ERR_WORKSPACE);
        if ((status = attn__check_memory(p, state, part.bytes, 1))) return attn__about(exec, "state", status);
    }
    if ((status = attn__ready(&part.p, exec, &measured)) || measured) return status;
    attn__memset(&head, 0, sizeof head);
    head.magic = ATTN__STATE_MAGIC;
    head.dtype = p->run.kernel->dtype;
    head.batch = p->batch;
    head.q_heads = p->q_heads;
    head.q_len = p->q_len;
    head.dim_v = p->dim_v;
    head.begin = p->kv_begin;
    head.end = p->kv_begin + p->kv_len;
    head.nodes = part.node_count;
    if (attn__first_share(exec)) attn__memcpy(state, &head, sizeof head);
    part.nodes = (char *)state + sizeof head;
    if (attn__first_share(exec) && ATTN__HAS(p, cu_seqlens_q)) attn__clear_rest(&part);
    attn__parallel(&p->run, p->tasks * part.node_count, attn__partial_task, &part);
    attn__release(&p->run.memory);
    return ATTN_OK;
}

/* Plays the merge of two states, on memory if there is any: nodes are pushed in
 * order and joined as soon as they may. Returns the room for nodes it needs. */
static size_t attn__merge_nodes(const attn__state *a, const attn__state *b, const char *from_a, const char *from_b,
                                char *to, size_t rows, size_t node_bytes, const attn__kernel *kernel)
{
    attn__range in_a[ATTN__NODES], in_b[ATTN__NODES], stack[2 * ATTN__NODES];
    const size_t n_a = attn__nodes((size_t)a->begin, (size_t)a->end, in_a),
                 n_b = attn__nodes((size_t)b->begin, (size_t)b->end, in_b);
    size_t depth = 0, room = 0;
    for (size_t i = 0; i < n_a + n_b; i++) {
        stack[depth] = i < n_a ? in_a[i] : in_b[i - n_a];
        if (to)
            attn__memcpy(to + depth * node_bytes, i < n_a ? from_a + i * node_bytes : from_b + (i - n_a) * node_bytes,
                         node_bytes);
        room = attn__max(room, ++depth);
        while (depth >= 2 && attn__joinable(&stack[depth - 2], &stack[depth - 1], (size_t)a->begin, (size_t)b->end)) {
            depth--;
            stack[depth - 1].hi = stack[depth].hi;
            if (to) {
                const attn__node x = attn__node_of(to + (depth - 1) * node_bytes, rows, node_bytes),
                                 y = attn__node_of(to + depth * node_bytes, rows, node_bytes);
                for (size_t row = 0; row < rows; row++) attn__join_own(&x, &y, row, kernel);
                kernel->join(rows, attn__state_width((size_t)a->dim_v), x.acc, x.max, x.sum, y.acc, y.max, y.sum, 0);
            }
        }
    }
    return room;
}

/* Two states that can be merged: their heads, sizes and memory. */
typedef struct attn__merge {
    attn__state a, b;
    size_t rows, node_bytes, a_bytes, b_bytes, bytes;
} attn__merge;
static attn_status attn__mergeable(const void *a, const void *b, attn__merge *m)
{
    attn_status status;
    if ((status = attn__state_check(a, &m->a, &m->rows, &m->node_bytes, &m->a_bytes))) return status;
    if ((status = attn__state_check(b, &m->b, &m->rows, &m->node_bytes, &m->b_bytes))) return status;
    if (m->a.dtype != m->b.dtype) return ATTN_ERR_DTYPE;
    if (m->a.batch != m->b.batch || m->a.q_heads != m->b.q_heads || m->a.q_len != m->b.q_len ||
        m->a.dim_v != m->b.dim_v)
        return ATTN_ERR_SHAPE;
    if (m->a.end != m->b.begin) return ATTN_ERR_LENGTH; /* not adjacent, or in the wrong order */
    return attn__state_bytes(m->rows, (size_t)m->a.dim_v, (attn_dtype)m->a.dtype,
                             attn__merge_nodes(&m->a, &m->b, NULL, NULL, NULL, m->rows, m->node_bytes, NULL),
                             &m->node_bytes, &m->bytes);
}

ATTN_DEF attn_status attn_state_merged_size(const void *a, const void *b, size_t *bytes)
{
    attn__merge m;
    const attn_status status = bytes ? attn__mergeable(a, b, &m) : ATTN_ERR_NULL;
    if (!status) *bytes = m.bytes;
    return status;
}

static attn_status attn__state_kernel(attn_path path, uint64_t dtype, const attn__kernel **kernel)
{
    attn_exec exec = attn_exec_default();
    attn_status status;
    exec.path = path;
    if ((status = attn__path_of(&exec, ATTN__BLOCK, &path))) return status;
    *kernel = attn__kernel_of(path, (attn_dtype)dtype);
    return ATTN_OK;
}

ATTN_DEF attn_status attn_state_merge(const void *a, const void *b, void *merged, size_t merged_size, attn_path path)
{
    attn__merge m;
    const attn__kernel *kernel;
    attn__range nodes[ATTN__NODES];
    attn__view memory, in_a, in_b;
    attn_status status = attn__mergeable(a, b, &m);
    if (status || (status = attn__state_kernel(path, m.a.dtype, &kernel))) return status;
    if (!merged) return ATTN_ERR_NULL;
    if ((uintptr_t)merged % sizeof(double)) return ATTN_ERR_ALIGN;
    if (merged_size < m.bytes) return ATTN_ERR_WORKSPACE;
    memory = attn__bytes(merged, m.bytes), in_a = attn__bytes(a, m.a_bytes), in_b = attn__bytes(b, m.b_bytes);
    if (!attn__apart(&memory, &in_a) || !attn__apart(&memory, &in_b)) return ATTN_ERR_ALIAS;
    attn__merge_nodes(&m.a, &m.b, (const char *)a + sizeof m.a, (const char *)b + sizeof m.b,
                      (char *)merged + sizeof m.a, m.rows, m.node_bytes, kernel);
    m.a.end = m.b.end;
    m.a.nodes = attn__nodes((size_t)m.a.begin, (size_t)m.a.end, nodes);
    attn__memcpy(merged, &m.a, sizeof m.a);
    return ATTN_OK;
}

/* Columns [c, c + columns) of one row of a state, of which `nodes` are the nodes: joined, divided, written.
 * Columns do not meet, so that a few at a time fit on the stack. */
static void attn__finish_columns(attn__problem *p, const attn__rows *rows, const attn__state *head, const char *nodes,
                                 size_t all, size_t node_bytes, size_t row, size_t c, size_t cols)
{
    const attn__kernel *kernel = p->run.kernel;
    const size_t es = kernel->size, width = attn__state_width((size_t)head->dim_v);
    const attn__view out = p->out;
    double max[ATTN__NODES + 1], sum[ATTN__NODES + 1], acc[ATTN__NODES][ATTN__NR_MAX]; /* acc of T */
    unsigned char finite[ATTN__NR_MAX];                                                /* is the merged sum? */
    attn__statistics own[ATTN__NODES + 1];
    attn__scratch s;
    attn__row one;
    size_t n;
    attn__memset(&s, 0, sizeof s);
    attn__memset(&one, 0, sizeof one);
    for (n = 0; n < head->nodes; n++) {
        const attn__node node = attn__node_of(nodes + n * node_bytes, all, node_bytes);
        max[n] = node.max[row];
        sum[n] = node.sum[row];
        own[n] = node.own[row];
        attn__memcpy(acc[n], node.acc + (row * width + c) * es, cols * es);
    }
    max[n] = -attn__infinity();
    sum[n] = 0;
    own[n] = attn__no_own;
    for (; n >= 2; n--) {
        const attn__node x = {&max[n - 2], &sum[n - 2], NULL, &own[n - 2]},
                         y = {&max[n - 1], &sum[n - 1], NULL, &own[n - 1]};
        attn__join_own(&x, &y, 0, kernel);
        kernel->join(1, cols, acc[n - 2], x.max, x.sum, acc[n - 1], y.max, y.sum, 0);
    }
    for (n = 0; n < cols; n++)
        finite[n] = (unsigned char)attn__finite_f64(attn__get((char *)acc[0] + n * es, kernel->dtype));
    s.acc = (char *)acc[0];
    s.max = max;
    s.sum = sum;
    s.row = &one;
    p->width = cols;
    p->dim_v = attn__min(cols, (size_t)head->dim_v - c);
    p->out.data = attn__at(&out, 0, 0, 0, c);
    if (attn__finish_row(p, rows, &s, 0, NULL)) /* NaN and infinity as they are; a sum that rounded up comes back */
        for (n = 0; n < p->dim_v; n++) {
            double x = attn__get((char *)acc[0] + n * es, kernel->dtype);
            if (attn__finite_f64(max[0]) && attn__finite_f64(sum[0]) && !attn__nan_f64(x) && finite[n])
                x = attn__saturate(x, kernel->dtype);
            attn__put(attn__at(&p->out, rows->b, rows->head, rows->query, n), p->out.dtype, x);
        }
    if (!(own[0].sum < 0)) attn__put_statistics(p, rows, 0, own[0]);
    if (c == 0) attn__put_lse(p, rows, &s);
    p->out = out;
}

ATTN_DEF attn_status attn_state_redone(const void *state, size_t *first, size_t *end)
{
    attn__state head;
    size_t all, node_bytes, bytes, lo = (size_t)-1, hi = 0;
    const attn_status status =
        first && end ? attn__state_check(state, &head, &all, &node_bytes, &bytes) : ATTN_ERR_NULL;
    if (status) return status;
    for (size_t n = 0; n < head.nodes; n++) {
        const attn__node node = attn__node_of((const char *)state + sizeof head + n * node_bytes, all, node_bytes);
        for (size_t row = 0; row < all; row++)
            if (!(node.own[row].sum < 0)) { /* NaN, too */
                const size_t h = row / (size_t)head.q_len % (size_t)head.q_heads;
                lo = attn__min(lo, h);
                hi = attn__max(hi, h + 1);
            }
    }
    *first = hi ? lo : 0;
    *end = hi;
    return ATTN_OK;
}

ATTN_DEF ATTN__COLD attn_status attn_state_finish(const attn_desc *desc, const void *state, attn_path path)
{
    const attn_array *given[ATTN__ARRAY_COUNT];
    attn__problem p;
    attn__rows rows;
    attn__state head;
    size_t all, node_bytes, bytes, width;
    attn_status status = attn__state_check(state, &head, &all, &node_bytes, &bytes);
    if (status) return status;
    if (!desc) return ATTN_ERR_NULL;
    attn__memset(&p, 0, sizeof p);
    attn__memset(&rows, 0, sizeof rows);
    attn__given(NULL, given);
    p.desc = desc;
    p.one = 1;
    p.batch = (size_t)head.batch;
    p.q_heads = (size_t)head.q_heads;
    p.q_len = (size_t)head.q_len;
    p.dim_v = (size_t)head.dim_v;
    given[ATTN__ARRAY_out] = &desc->out;
    given[ATTN__ARRAY_lse] = &desc->lse;
    given[ATTN__ARRAY_rowmax] = &desc->rowmax;
    given[ATTN__ARRAY_rowsum] = &desc->rowsum;
    given[ATTN__ARRAY_sinks] = &desc->sinks;
    if ((status = attn__check_arrays(&p, given, (attn_dtype)head.dtype, 0)) || (status = attn__check_shapes(&p)))
        return status;
    if ((status = attn__check_aliases(&p)) || (status = attn__check_memory(&p, state, bytes, 0))) return status;
    if ((status = attn__state_kernel(path, head.dtype, &p.run.kernel)) ||
        (status = attn__state_kernel(path, ATTN_F64, &p.doubles)))
        return status;
    rows.heads = rows.count = 1;
    width = attn__state_width((size_t)head.dim_v);
    for (size_t row = 0; row < all; row++) {
        rows.query = row % p.q_len;
        rows.head = row / p.q_len % p.q_heads;
        rows.b = row / p.q_len / p.q_heads;
        for (size_t c = 0; c < width || c == 0; c += ATTN__NR_MAX)
            attn__finish_columns(&p, &rows, &head, (const char *)state + sizeof head, all, node_bytes, row, c,
                                 attn__min(ATTN__NR_MAX, width - c));
    }
    return ATTN_OK;
}

/* ---- caches ---- */

/* n elements of a row to another type, or the same. */
static void attn__convert_row(const attn__view *to, char *y, const attn__view *from, const char *x, size_t n)
{
    const ptrdiff_t y_step = to->stride[ATTN__D], x_step = from->stride[ATTN__D];
    if (to->dtype == from->dtype) { /* bits */
        if (y_step == 1 && x_step == 1) attn__memcpy(y, x, n * (size_t)to->size);
        else
            for (size_t c = 0; c < n; c++, y += y_step * to->size, x += x_step * from->size)
                attn__memcpy(y, x, (size_t)to->size);
        return;
    }
    const attn__kernel *kernel = attn__kernel_of(attn_best_path(), to->dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32);
    for (size_t c = 0; c < n;
         c += ATTN__BLOCK, y += ATTN__BLOCK * y_step * to->size, x += ATTN__BLOCK * x_step * from->size) {
        const size_t count = attn__min(n - c, ATTN__BLOCK);
        double room[ATTN__BLOCK];
        const void *row = x;
        if (from->dtype != kernel->dtype || x_step != 1) {
            kernel->load(room, x, from->dtype, x_step, count);
            row = room;
        }
        kernel->store(y, to->dtype, y_step, row, count);
    }
}
/* n rows of all heads, which follow one another. */
static void attn__convert_rows(const attn__view *to, size_t place, size_t row, const attn__view *from, size_t b,
                               size_t i, size_t n)
{
    const size_t dim = to->shape[ATTN__D];
    const int in_one = to->dtype == from->dtype && to->stride[ATTN__D] == 1 && from->stride[ATTN__D] == 1 &&
                       (n < 2 || (to->stride[ATTN__S] == (ptrdiff_t)dim && from->stride[ATTN__S] == (ptrdiff_t)dim));
    const size_t each = in_one ? n : 1;
    for (size_t h = 0; h < to->shape[ATTN__H]; h++)
        for (size_t j = 0; j < n; j += each)
            attn__convert_row(to, attn__at(to, place, h, row + j, 0), from, attn__at(from, b, h, i + j, 0), each * dim);
}

/* Elements of 8 bits with what belongs to them, to be written or read. */
typedef struct attn__coding {
    const attn__kernel *kernel;
    attn__view codes, scale, zero;
    int has_scale, has_zero, found;
    size_t dim, groups;
} attn__coding;

/* `all`: found scales are those of a whole array, and may be shared. */
static attn_status attn__coding_of(const attn_array *scale, const attn_array *zero, attn_scaling scaling, int all,
                                   attn__coding *c)
{
    const attn_array *const given[2] = {scale, zero};
    const attn_dtype dtype = c->codes.dtype;
    c->kernel = attn__kernel_of(attn_best_path(), ATTN_F32);
    c->has_scale = scale != NULL;
    c->has_zero = zero != NULL;
    c->found = scaling == ATTN_SCALES_FOUND;
    c->dim = attn__elements(dtype, c->codes.shape[ATTN__D]);
    c->groups = 1;
    if ((unsigned)scaling >= ATTN_SCALES_COUNT) return ATTN_ERR_PARAMETER;
    if (scale && (!attn__coded(dtype) || dtype == ATTN_Q8_0)) return ATTN_ERR_UNSCALED;
    if (zero && dtype != ATTN_I8 && dtype != ATTN_U8) return ATTN_ERR_UNSCALED;
    if (!attn__coded(dtype) || dtype == ATTN_Q8_0) return ATTN_OK;
    if (c->found && !scale) return ATTN_ERR_NULL;
    if (c->found && (zero || dtype == ATTN_U8)) return ATTN_ERR_UNSUPPORTED;
    for (int i = 0; i < 2; i++) {
        attn__view *v = i ? &c->zero : &c->scale;
        const int output = c->found ? ATTN__OUTPUT : ATTN__INPUT;
        attn_status status;
        if (!given[i]) continue;
        if ((status = attn__check(given[i], 1, 4, 1u << ATTN_F32, output, 0, v))) return status;
        if (v->shape[ATTN__D] == 0 || c->dim % v->shape[ATTN__D]) return ATTN_ERR_SCALE_COUNT;
        c->groups = attn__max(c->groups, v->shape[ATTN__D]);
    }
    for (int i = 0; i < 2; i++) {
        attn__view *v = i ? &c->zero : &c->scale;
        for (int axis = ATTN__B; given[i] && axis <= ATTN__D; axis++) {
            const size_t n = axis == ATTN__D ? c->groups : c->codes.shape[axis];
            if (v->shape[axis] == n) continue;
            if (v->shape[axis] != 1 || (c->found && !all)) return ATTN_ERR_SCALE_SHAPE;
            v->stride[axis] = 0;
        }
    }
    return ATTN_OK;
}
static attn__codes attn__codes_at(const attn__coding *c, size_t b, size_t h, size_t s)
{
    attn__codes codes;
    attn__memset(&codes, 0, sizeof codes);
    codes.at = (const uint8_t *)attn__at(&c->codes, b, h, s, 0);
    codes.dtype = c->codes.dtype;
    codes.row = c->codes.stride[ATTN__S] * c->codes.size;
    codes.step = c->codes.stride[ATTN__D] * c->codes.size;
    codes.group = c->dim / c->groups;
    if (c->has_scale) {
        codes.scale = (const float *)(const void *)attn__at(&c->scale, b, h, s, 0);
        codes.scale_row = c->scale.stride[ATTN__S];
        codes.scale_step = c->scale.stride[ATTN__D];
    }
    if (c->has_zero) {
        codes.zero = (const float *)(const void *)attn__at(&c->zero, b, h, s, 0);
        codes.zero_row = c->zero.stride[ATTN__S];
        codes.zero_step = c->zero.stride[ATTN__D];
    }
    return codes;
}

/* Numbers [first, first + n) of a row in float32, where they lie or in `room`, n at most a block. */
static const float *attn__numbers(const attn__coding *c, const attn__view *from, const char *row, size_t first,
                                  size_t n, float *room)
{
    const char *at = row + (ptrdiff_t)first * from->stride[ATTN__D] * from->size;
    if (from->dtype == ATTN_F32 && from->stride[ATTN__D] == 1) return (const float *)(const void *)at;
    c->kernel->load(room, at, from->dtype, from->stride[ATTN__D], n);
    return room;
}

/* Scales of a row's groups become the largest magnitudes, of what they were and of the row. */
static void attn__raise_scales(const attn__coding *c, size_t b, size_t h, size_t s, const attn__view *from,
                               const char *row)
{
    const size_t group = c->dim / c->groups;
    const int narrow = group < ATTN__LANES_F32; /* a call for each would cost more than it does */
    float *scale = (float *)(void *)attn__at(&c->scale, b, h, s, 0), room[ATTN__BLOCK];
    const ptrdiff_t step = c->scale.stride[ATTN__D];
    for (size_t i = 0, n; i < c->dim; i += n) {
        const float *x;
        n = attn__min(c->dim - i, ATTN__BLOCK);
        if (!narrow) n = attn__min(n, group - i % group);
        x = attn__numbers(c, from, row, i, n, room);
        if (!narrow) attn__raise(scale + (ptrdiff_t)(i / group) * step, c->kernel->magnitude(x, n));
        for (size_t j = 0, g = i / group; narrow && j < n; g++)
            for (; j < n && i + j < (g + 1) * group; j++) attn__raise(scale + (ptrdiff_t)g * step, x[j]);
    }
}
/* A row of these largest magnitudes become the scales of what has them. */
static void attn__settle_scales(const attn__coding *c, float *scale)
{
    for (size_t g = 0; g < c->groups; g++, scale += c->scale.stride[ATTN__D])
        *scale = attn__found_scale(*scale, attn__top_of(c->codes.dtype), 0);
}

static void attn__encode_row(const attn__coding *c, size_t b, size_t h, size_t s, const attn__view *from,
                             const char *row)
{
    attn__codes codes = attn__codes_at(c, b, h, s);
    uint8_t *to = (uint8_t *)(uintptr_t)codes.at, line[ATTN__BLOCK];
    float room[ATTN__BLOCK];
    const int blocks = codes.dtype == ATTN_Q8_0;
    for (size_t i = 0, n; i < c->dim; i += n) {
        const float *x;
        n = attn__min(c->dim - i, blocks ? ATTN__Q8_BLOCK : ATTN__BLOCK);
        x = attn__numbers(c, from, row, i, n, room);
        if (blocks) {
            const float scale = attn__found_scale(c->kernel->magnitude(x, n), 127, 1);
            const uint16_t half = attn__f32_to_f16(scale);
            attn__memcpy(to, &half, sizeof half);
            codes.scale = &scale;
            codes.group = ATTN__Q8_BLOCK;
            c->kernel->encode(to + sizeof half, x, &codes, 0, n);
            to += codes.step;
        } else {
            uint8_t *at = codes.step == 1 ? to + i : line;
            c->kernel->encode(at, x, &codes, i, n);
            for (size_t j = 0; j < n && at == line; j++) to[(ptrdiff_t)(i + j) * codes.step] = line[j];
        }
    }
}

/* n rows of all heads to a cache of 8 bits. */
static void attn__encode_rows(const attn__coding *c, size_t place, size_t row, const attn__view *from, size_t b,
                              size_t i, size_t n)
{
    for (size_t h = 0; h < c->codes.shape[ATTN__H]; h++)
        for (size_t j = 0; j < n; j++) {
            const char *x = attn__at(from, b, h, i + j, 0);
            if (c->found && c->has_scale) {
                float *scale = (float *)(void *)attn__at(&c->scale, place, h, row + j, 0);
                for (size_t g = 0; g < c->groups; g++) scale[(ptrdiff_t)g * c->scale.stride[ATTN__D]] = 0;
                attn__raise_scales(c, place, h, row + j, from, x);
                attn__settle_scales(c, scale);
            }
            attn__encode_row(c, place, h, row + j, from, x);
        }
}

/* Two arrays of one shape, numbers and codes, and the latters' scales. */
ATTN__COLD static attn_status attn__coding_pair(const attn_array *numbers, int output, const attn_array *codes,
                                                const attn_array *scale, const attn_array *zero, attn_scaling scaling,
                                                attn__view *x, attn__coding *c)
{
    attn_status status;
    if (!numbers || !codes) return ATTN_ERR_NULL;
    if ((status = attn__check(numbers, 1, 4, ATTN__HALVES, output, 0, x))) return status;
    if ((status =
             attn__check(codes, 1, 4, ATTN__CODES, output == ATTN__INPUT ? ATTN__OUTPUT : ATTN__INPUT, 0, &c->codes)))
        return status;
    if ((status = attn__coding_of(scale, zero, scaling, 1, c))) return status;
    for (int axis = ATTN__B; axis < ATTN__D; axis++)
        if (x->shape[axis] != c->codes.shape[axis]) return ATTN_ERR_SHAPE;
    if (x->shape[ATTN__D] != c->dim) return ATTN_ERR_SHAPE;
    if (!attn__apart(x, &c->codes) || (c->has_scale && !attn__apart(x, &c->scale)) ||
        (c->has_zero && !attn__apart(x, &c->zero)))
        return ATTN_ERR_ALIAS;
    if (output == ATTN__INPUT &&
        ((c->has_scale && !attn__apart(&c->codes, &c->scale)) || (c->has_zero && !attn__apart(&c->codes, &c->zero))))
        return ATTN_ERR_ALIAS;
    return ATTN_OK;
}

/* For each row, in the order of memory. */
#define ATTN__EACH_ROW_OF(v)                                                                                           \
    for (size_t b = 0; b < (v).shape[ATTN__B]; b++)                                                                    \
        for (size_t h = 0; h < (v).shape[ATTN__H]; h++)                                                                \
            for (size_t s = 0; s < (v).shape[ATTN__S]; s++)

ATTN_DEF ATTN__COLD attn_status attn_quantize(const attn_array *x, const attn_array *codes, const attn_array *scale,
                                              const attn_array *zero, attn_scaling scaling)
{
    attn__view from;
    attn__coding c;
    attn_status status = attn__coding_pair(x, ATTN__INPUT, codes, scale, zero, scaling, &from, &c);
    if (status) return status;
    if (c.found && c.has_scale) {
        ATTN__EACH_ROW_OF(c.scale)
        for (size_t g = 0; g < c.groups; g++) *(float *)(void *)attn__at(&c.scale, b, h, s, g) = 0;
        ATTN__EACH_ROW_OF(from) attn__raise_scales(&c, b, h, s, &from, attn__at(&from, b, h, s, 0));
        ATTN__EACH_ROW_OF(c.scale) attn__settle_scales(&c, (float *)(void *)attn__at(&c.scale, b, h, s, 0));
    }
    ATTN__EACH_ROW_OF(from) attn__encode_row(&c, b, h, s, &from, attn__at(&from, b, h, s, 0));
    return ATTN_OK;
}

ATTN_DEF ATTN__COLD attn_status attn_dequantize(const attn_array *codes, const attn_array *scale,
                                                const attn_array *zero, const attn_array *y)
{
    attn__view to;
    attn__coding c;
    attn_status status = attn__coding_pair(y, ATTN__OUTPUT, codes, scale, zero, ATTN_SCALES_GIVEN, &to, &c);
    if (status) return status;
    for (size_t b = 0; b < to.shape[ATTN__B]; b++)
        for (size_t h = 0; h < to.shape[ATTN__H]; h++) {
            const int there = to.dtype == ATTN_F32 && to.stride[ATTN__D] == 1 && to.stride[ATTN__S] >= 0;
            const size_t all = to.shape[ATTN__S], each = there ? all : 1; /* rows at once */
            for (size_t s = 0; s < all; s += each) {
                const attn__codes rows = attn__codes_at(&c, b, h, s);
                float room[ATTN__BLOCK];
                for (size_t i = 0, n; i < c.dim; i += n) {
                    char *at = attn__at(&to, b, h, s, i);
                    float *out = there ? (float *)(void *)at : room;
                    const size_t stride = there ? (size_t)to.stride[ATTN__S] : 0;
                    n = there ? c.dim : attn__min(c.dim - i, ATTN__BLOCK);
                    if (attn__nan_f64(c.kernel->decode(out, stride, &rows, each, i, n)))
                        for (size_t r = 0; r < each; r++) /* NaN has one form */
                            for (size_t j = 0; j < n; j++)
                                if (attn__nan_f32(out[r * stride + j]))
                                    out[r * stride + j] = attn__from_bits_f32(0x7fc00000u);
                    if (!there) c.kernel->store(at, to.dtype, to.stride[ATTN__D], room, n);
                }
            }
        }
    return ATTN_OK;
}
#undef ATTN__EACH_ROW_OF

/* ---- rotary embedding ---- */

/* Pairs of columns that are turned together, and their angles. */
#define ATTN__PAIRS 256
typedef struct attn__turning {
    const attn__kernel *doubles, *singles;
    attn__view from, to;
    double log_base, log_low; /* of the turns, if there are no tables: the logarithm of base in two parts */
    double scale, magnitude;
    int scaled, grows, inverse; /* scale or magnitude are given */
    int has_factors, has_positions, has_tables;
    attn__view factors, tables[2];
    attn__view positions;       /* (B, R, S) at H, S and D; without: rows stand at `start` and what follows it */
    int64_t start, farthest;    /* no position is farther away from 0 */
    size_t sections[4];         /* where each ends, in pairs; 0: all belong to the first */
    size_t dim;                 /* columns that are turned */
    size_t first, pairs, apart; /* pairs from this column on; columns between those of one; 1: interleaved */
    /* of pairs; whole vectors from any of them on */
    double turn[ATTN__PAIRS + ATTN__LANES_F64], cosine[ATTN__PAIRS + ATTN__LANES_F64],
        sine[ATTN__PAIRS + ATTN__LANES_F64];
    int singles_alone;                 /* float32 with contiguous rows */
    double beside[2][2 * ATTN__PAIRS]; /* cosines and sines as rotate_singles wants them of neighbours */
} attn__turning;

/* Those of one row. */
static void attn__rotate_row(const attn__turning *t, size_t b, size_t h, size_t i)
{
    const attn__view *from = &t->from, *to = &t->to;
    const int interleaved = t->apart == 1;
    const size_t n = t->pairs, cols = interleaved ? 2 * n : n;
    const double limit = from->dtype == ATTN_F64 ? 1 : 1.0565890622713305e+270; /* 2^897: far enough from overflow */
    double pair[2 * (ATTN__PAIRS + ATTN__LANES_F64)], other[ATTN__PAIRS + ATTN__LANES_F64];
    float narrow[2 * ATTN__PAIRS], odd[ATTN__PAIRS + ATTN__LANES_F64];
    if (t->singles_alone && n % ATTN__LANES_F64 == 0) {
        float *y = (float *)(void *)attn__at(to, b, h, i, t->first);
        if (t->doubles->rotate_singles(y, (const float *)(const void *)attn__at(from, b, h, i, t->first),
                                       interleaved ? t->beside[0] : t->cosine, interleaved ? t->beside[1] : t->sine, n,
                                       t->apart))
            for (size_t c = 0; c < n;
                 c++, y += interleaved ? 2 : 1) /* which NaN an operation gives is up to the machine */
                attn__put(y, ATTN_F32, (double)*y), attn__put(y + t->apart, ATTN_F32, (double)y[t->apart]);
        return;
    }
    for (int part = 0; part < (interleaved ? 1 : 2); part++) {
        const char *x = attn__at(from, b, h, i, t->first + (size_t)part * t->apart);
        double *row = part ? other : pair;
        if (from->size == 2) {
            t->singles->load(narrow, x, from->dtype, from->stride[ATTN__D], cols);
            t->doubles->load(row, narrow, ATTN_F32, 1, cols);
        } else t->doubles->load(row, x, from->dtype, from->stride[ATTN__D], cols);
        attn__memset(row + cols, 0, (interleaved ? 2u : 1u) * ATTN__LANES_F64 * sizeof *row);
    }
    const int special = t->doubles->rotate(pair, other, t->cosine, t->sine, n, interleaved, limit);
    const ptrdiff_t step = (interleaved ? 2 : 1) * to->stride[ATTN__D];
    for (int part = 0; part < 2; part++) {
        char *y = attn__at(to, b, h, i, t->first + (size_t)part * t->apart);
        const double *row = part ? other : pair;
        if (special)
            for (size_t c = 0; c < n; c++) attn__put(y + (ptrdiff_t)c * step * to->size, to->dtype, row[c]);
        else if (to->size == 2) { /* neighbours are stored together */
            if (t->doubles->narrow(odd, row, n))
                for (size_t c = 0; c < n; c++) odd[c] = attn__to_odd_f32(row[c]);
            for (size_t c = 0; c < n && interleaved; c++) narrow[2 * c + (size_t)part] = odd[c];
            if (!interleaved) t->singles->store(y, to->dtype, step, odd, n);
            else if (part)
                t->singles->store(y - to->stride[ATTN__D] * 2, to->dtype, to->stride[ATTN__D], narrow, 2 * n);
        } else if (to->dtype == ATTN_F64)
            for (size_t c = 0; c < n; c++) ((double *)(void *)y)[(ptrdiff_t)c * step] = row[c];
        else
            for (size_t c = 0; c < n; c++) ((float *)(void *)y)[(ptrdiff_t)c * step] = (float)row[c];
    }
}

/* What is turned: from and to are known. */
static attn_status attn__turn_columns(attn__turning *t, size_t rotary_dim, int interleaved)
{
    t->dim = rotary_dim ? rotary_dim : t->from.shape[ATTN__D];
    if (t->dim > t->from.shape[ATTN__D] || t->dim % 2) return ATTN_ERR_SHAPE;
    t->apart = interleaved ? 1 : t->dim / 2;
    t->singles_alone = t->from.dtype == ATTN_F32 && t->to.dtype == ATTN_F32 && t->from.stride[ATTN__D] == 1 &&
                       t->to.stride[ATTN__D] == 1;
    t->doubles = attn__kernel_of(attn_best_path(), ATTN_F64);
    t->singles = attn__kernel_of(attn_best_path(), ATTN_F32);
    return ATTN_OK;
}

/* x and y of the same shape, or y at x's own place. */
static attn_status attn__check_turning(const attn_array *x, const attn_array *y, attn__turning *t)
{
    attn_status status;
    int same = 1;
    if ((status = attn__check(x, 2, 4, ATTN__FLOATS, ATTN__INPUT, 0, &t->from))) return status;
    if ((status = attn__check(y, x->ndim, x->ndim, 1u << x->dtype, ATTN__OUTPUT, 0, &t->to))) return status;
    for (int dim = ATTN__B; dim <= ATTN__D; dim++) {
        if (t->from.shape[dim] != t->to.shape[dim]) return ATTN_ERR_SHAPE;
        if (t->from.shape[dim] > 1 && t->from.stride[dim] != t->to.stride[dim]) same = 0;
    }
    if (!attn__apart(&t->from, &t->to) && !(same && t->from.data == t->to.data)) return ATTN_ERR_ALIAS;
    return ATTN_OK;
}

/* Cosines and sines that are given, for the rows of `from`. */
static attn_status attn__check_tables(const attn_array *cosine, const attn_array *sine, attn__turning *t)
{
    if (!cosine || !sine) return ATTN_ERR_NULL;
    for (int i = 0; i < 2; i++) {
        const attn_status status = attn__check(i ? sine : cosine, 2, 3, ATTN__COMPUTED, ATTN__INPUT, 0, &t->tables[i]);
        if (status) return status;
    }
    if (t->tables[0].shape[ATTN__D] != t->tables[1].shape[ATTN__D]) return ATTN_ERR_SHAPE;
    if (t->tables[0].shape[ATTN__D] == 0 || t->tables[0].shape[ATTN__D] > (size_t)-1 / 2) return ATTN_ERR_SHAPE;
    t->has_tables = 1;
    return ATTN_OK;
}
static attn_status attn__fit_tables(attn__turning *t)
{
    for (int i = 0; i < 2; i++) {
        attn__view *table = &t->tables[i];
        if (table->shape[ATTN__S] != t->from.shape[ATTN__S] ||
            (table->shape[ATTN__H] != 1 && table->shape[ATTN__H] != t->from.shape[ATTN__B]))
            return ATTN_ERR_SHAPE;
        if (table->shape[ATTN__H] != t->from.shape[ATTN__B]) table->stride[ATTN__H] = 0;
        if (!attn__apart(&t->to, table)) return ATTN_ERR_ALIAS;
    }
    return ATTN_OK;
}

static int64_t attn__turn_position(const attn__turning *t, size_t b, size_t section, size_t i)
{
    return t->has_positions ? attn__integer_in(&t->positions, b, section, i) : t->start + (int64_t)i;
}

/* The positions of all rows; how far a cache has them go where none are given is for who appends to it. */
static attn_status attn__check_positions(const attn_array *positions, const attn_rotation *r, attn__turning *t)
{
    attn__view *at = &t->positions;
    const size_t seq = t->from.shape[ATTN__S];
    size_t all = 0, last = 0;
    attn_status status;
    for (size_t i = 0; i < 4; i++) {
        if (r->sections[i] > t->dim / 2 - all) return ATTN_ERR_SHAPE;
        t->sections[i] = all += r->sections[i];
        if (r->sections[i]) last = i + 1;
    }
    if (last && all != t->dim / 2) return ATTN_ERR_SHAPE;
    t->farthest = seq && !t->has_positions ? (int64_t)(seq - 1) : 0;
    if (!positions) return ATTN_OK;
    if ((status = attn__check(positions, last ? 2 : 1, last ? 3 : 2, ATTN__INTS, ATTN__INPUT, 0, at))) return status;
    if (!last) { /* (B, S): each row has one */
        at->shape[ATTN__H] = at->shape[ATTN__S], at->stride[ATTN__H] = at->stride[ATTN__S];
        at->shape[ATTN__S] = 1, at->stride[ATTN__S] = 0;
    } else if (at->shape[ATTN__S] != last && at->shape[ATTN__S] != 4) return ATTN_ERR_SHAPE;
    if (at->shape[ATTN__D] != seq || (at->shape[ATTN__H] != 1 && at->shape[ATTN__H] != t->from.shape[ATTN__B]))
        return ATTN_ERR_SHAPE;
    if (at->shape[ATTN__H] != t->from.shape[ATTN__B]) at->stride[ATTN__H] = 0;
    if (!attn__apart(&t->to, at)) return ATTN_ERR_ALIAS;
    t->has_positions = 1;
    t->farthest = 0;
    for (size_t b = 0; b < t->from.shape[ATTN__B]; b++)
        for (size_t section = 0; section < (last ? last : 1); section++)
            for (size_t i = 0; i < seq; i++) {
                const int64_t p = attn__turn_position(t, b, section, i), most = (int64_t)1 << 31;
                if (p > most || p < -most) return ATTN_ERR_LENGTH;
                if (p > t->farthest || -p > t->farthest) t->farthest = p < 0 ? -p : p;
            }
    return ATTN_OK;
}

/* Turns of pairs from c on: how far each goes at position 1. */
static void attn__turns_of(attn__turning *t, size_t c)
{
    const size_t end = attn__round_up(t->pairs, ATTN__LANES_F64);
    t->doubles->turns(t->turn, t->pairs, c, (double)t->dim, t->log_base, t->log_low);
    for (size_t p = 0; p < t->pairs && (t->has_factors || t->scaled); p++) {
        if (t->has_factors) t->turn[p] /= attn__element(&t->factors, 0, c + p);
        t->turn[p] *= t->scale;
    }
    attn__memset(t->turn + t->pairs, 0, (end + ATTN__LANES_F64 - t->pairs) * sizeof *t->turn);
}

/* What a rotation says, for x and y, or for rows and a cache, which are known. */
static attn_status attn__check_rotation(const attn_rotation *r, const attn_array *positions, attn__turning *t)
{
    const attn_array *cosine = attn__present(&r->cosine) ? &r->cosine : NULL,
                     *sine = attn__present(&r->sine) ? &r->sine : NULL;
    const double base = r->base > 0 || r->base < 0 ? r->base : 10000;
    size_t dim = r->rotary_dim;
    attn_status status;
    t->has_factors = t->has_positions = t->has_tables = 0;
    attn__memset(&t->positions, 0, sizeof t->positions);
    attn__memset(t->tables, 0, sizeof t->tables);
    t->start = 0;
    t->inverse = r->inverse;
    t->grows = r->magnitude > 0;
    t->scaled = r->scale > 0;
    t->scale = r->scale > 0 ? r->scale : 1;
    t->magnitude = r->magnitude > 0 ? r->magnitude : 1;
    if (cosine || sine) {
        if ((status = attn__check_tables(cosine, sine, t))) return status;
        if (dim && dim != 2 * t->tables[0].shape[ATTN__D]) return ATTN_ERR_SHAPE;
        dim = 2 * t->tables[0].shape[ATTN__D];
    }
    if ((status = attn__turn_columns(t, dim, r->interleaved))) return status;
    if (!attn__finite_f64(r->base) || base < 1) return ATTN_ERR_PARAMETER; /* would turn faster than a radian */
    if (!attn__finite_f64(r->scale) || r->scale < 0 || !attn__finite_f64(r->magnitude) || r->magnitude < 0)
        return ATTN_ERR_PARAMETER;
    if (t->has_tables) {
        const int others = r->sections[0] || r->sections[1] || r->sections[2] || r->sections[3];
        if (positions || attn__present(&r->factors) || others || r->scale > 0 || r->base > 0)
            return ATTN_ERR_UNSUPPORTED; /* what they would be for is in the tables */
        return attn__fit_tables(t);
    }
    if (attn__present(&r->factors)) {
        if ((status = attn__check(&r->factors, 1, 1, ATTN__COMPUTED, ATTN__INPUT, 0, &t->factors))) return status;
        if (t->factors.shape[ATTN__D] != t->dim / 2) return ATTN_ERR_SHAPE;
        if (!attn__apart(&t->to, &t->factors)) return ATTN_ERR_ALIAS;
        for (size_t i = 0; i < t->dim / 2; i++) {
            const double factor = attn__element(&t->factors, 0, i);
            if (!attn__finite_f64(factor) || !(factor > 0)) return ATTN_ERR_PARAMETER;
        }
        t->has_factors = 1;
    }
    t->log_base = attn__log_f64(base);
    t->log_low = attn__fma_f64(base, attn__exp_f64(-t->log_base), -1); /* one step of Newton's */
    return attn__check_positions(positions, r, t);
}

/* Up to 2^31 the reduction of angles is exact enough. */
static attn_status attn__check_angles(attn__turning *t)
{
    const double most = 2147483648.0;
    if (t->has_tables || !t->from.shape[ATTN__S] || !t->from.shape[ATTN__B]) return ATTN_OK;
    if (t->farthest > (int64_t)1 << 31) return ATTN_ERR_LENGTH;
    if (!t->has_factors && t->scale <= 1) return ATTN_OK;
    for (size_t c = 0; c < t->dim / 2; c += ATTN__PAIRS) {
        t->pairs = attn__min(t->dim / 2 - c, ATTN__PAIRS);
        attn__turns_of(t, c);
        for (size_t p = 0; p < t->pairs; p++)
            if (!(t->turn[p] * (double)t->farthest <= most)) return ATTN_ERR_LENGTH;
    }
    return ATTN_OK;
}

/* Cosines and sines of pairs from c on for row i of batch b, up to whole vectors. */
static void attn__cosines_of(attn__turning *t, size_t b, size_t i, size_t c)
{
    const size_t n = t->pairs, rest = attn__round_up(n, ATTN__LANES_F64) - n;
    if (t->has_tables) {
        t->doubles->load(t->cosine, attn__at(&t->tables[0], 0, b, i, c), t->tables[0].dtype,
                         t->tables[0].stride[ATTN__D], n);
        t->doubles->load(t->sine, attn__at(&t->tables[1], 0, b, i, c), t->tables[1].dtype, t->tables[1].stride[ATTN__D],
                         n);
    } else if (!t->sections[3])
        t->doubles->cosines(t->cosine, t->sine, t->turn, (double)attn__turn_position(t, b, 0, i), n);
    else
        for (size_t section = 0, from = c; section < 4; section++) { /* each writes beyond its end, into the next */
            const size_t to = attn__min(t->sections[section], c + n);
            if (from >= to) continue;
            t->doubles->cosines(t->cosine + (from - c), t->sine + (from - c), t->turn + (from - c),
                                (double)attn__turn_position(t, b, section, i), to - from);
            from = to;
        }
    for (size_t p = 0; p < n && (t->inverse || t->grows); p++) {
        t->cosine[p] *= t->magnitude;
        t->sine[p] *= t->inverse ? -t->magnitude : t->magnitude;
    }
    attn__memset(t->cosine + n, 0, rest * sizeof *t->cosine);
    attn__memset(t->sine + n, 0, rest * sizeof *t->sine);
    for (size_t p = 0; p < n && t->singles_alone && t->apart == 1; p++) {
        t->beside[0][2 * p] = t->beside[1][2 * p + 1] = t->cosine[p];
        t->beside[0][2 * p + 1] = t->sine[p], t->beside[1][2 * p] = -t->sine[p];
    }
}

/* All rows. */
static void attn__turn(attn__turning *t)
{
    const size_t half = t->dim / 2, dim = t->from.shape[ATTN__D];
    const int each = t->has_tables ? t->tables[0].stride[ATTN__H] || t->tables[1].stride[ATTN__H]
                                   : t->has_positions && t->positions.stride[ATTN__H]; /* batch has its own */
    for (size_t c = 0; c < half; c += ATTN__PAIRS) {
        t->first = t->apart == 1 ? 2 * c : c;
        t->pairs = attn__min(half - c, ATTN__PAIRS);
        if (!t->has_tables) attn__turns_of(t, c);
        for (size_t i = 0; i < t->from.shape[ATTN__S]; i++)
            for (size_t b = 0; b < t->from.shape[ATTN__B]; b++) {
                if (b == 0 || each) attn__cosines_of(t, b, i, c);
                for (size_t h = 0; h < t->from.shape[ATTN__H]; h++) attn__rotate_row(t, b, h, i);
            }
    }
    for (size_t b = 0; b < t->from.shape[ATTN__B] && t->to.data != t->from.data; b++)
        for (size_t h = 0; h < t->from.shape[ATTN__H]; h++)
            for (size_t i = 0; i < t->from.shape[ATTN__S] && t->dim < dim; i++)
                attn__convert_row(&t->to, attn__at(&t->to, b, h, i, t->dim), &t->from,
                                  attn__at(&t->from, b, h, i, t->dim), dim - t->dim);
}

/* Rows [i, i + n) of batch b of another's rows, to rows from `row` on of a place in a cache. */
static void attn__turn_rows(attn__turning *t, size_t b, size_t i, size_t n, int64_t start, size_t place, size_t row)
{
    const attn__view from = t->from, to = t->to, positions = t->positions, cosine = t->tables[0], sine = t->tables[1];
    t->start = start;
    t->from.data = attn__at(&from, b, 0, i, 0);
    t->to.data = attn__at(&to, place, 0, row, 0);
    if (t->has_positions) t->positions.data = attn__at(&positions, 0, b, 0, i);
    if (t->has_tables)
        t->tables[0].data = attn__at(&cosine, 0, b, i, 0), t->tables[1].data = attn__at(&sine, 0, b, i, 0);
    t->from.shape[ATTN__B] = 1;
    t->from.shape[ATTN__S] = n;
    attn__turn(t);
    t->from = from, t->to = to, t->positions = positions, t->tables[0] = cosine, t->tables[1] = sine;
}

ATTN_DEF attn_rotation attn_rotation_default(void)
{
    attn_rotation r;
    attn__memset(&r, 0, sizeof r);
    return r;
}

ATTN_DEF attn_status attn_rotate(const attn_rotation *rotation, const attn_array *x, const attn_array *positions,
                                 const attn_array *y)
{
    attn__turning t;
    attn_status status;
    if (!rotation || !x || !y) return ATTN_ERR_NULL;
    if ((status = attn__check_turning(x, y, &t)) || (status = attn__check_rotation(rotation, positions, &t)) ||
        (status = attn__check_angles(&t)))
        return status;
    attn__turn(&t);
    return ATTN_OK;
}

ATTN_DEF attn_status attn_rotary(const attn_array *x, const attn_array *positions, double base, size_t rotary_dim,
                                 int interleaved, const attn_array *y)
{
    attn_rotation r = attn_rotation_default();
    r.base = base;
    r.rotary_dim = rotary_dim;
    r.interleaved = interleaved;
    return attn_rotate(&r, x, positions, y);
}

ATTN_DEF attn_status attn_rotary_tables(const attn_array *x, const attn_array *cosine, const attn_array *sine,
                                        int interleaved, const attn_array *y)
{
    attn_rotation r = attn_rotation_default();
    if (!cosine || !sine) return ATTN_ERR_NULL;
    if (!attn__present(cosine) || !attn__present(sine)) return ATTN_ERR_RANK;
    r.cosine = *cosine;
    r.sine = *sine;
    r.interleaved = interleaved;
    return attn_rotate(&r, x, NULL, y);
}

/* Factors to be computed, and the logarithm of the base. */
static attn_status attn__check_factors(double base, double factor, double original_len, const attn_array *factors,
                                       attn__view *v, double *log_base)
{
    const attn_status status = attn__check(factors, 1, 1, ATTN__COMPUTED, ATTN__OUTPUT, 0, v);
    if (status) return status;
    if (!attn__finite_f64(base) || !attn__finite_f64(factor) || !attn__finite_f64(original_len) || !(factor > 0) ||
        !(original_len > 0))
        return ATTN_ERR_PARAMETER;
    if (!(base > 0 || base < 0)) base = 10000;
    if (!(base > 1)) return ATTN_ERR_PARAMETER;
    *log_base = attn__log_f64(base);
    return ATTN_OK;
}
#define ATTN__TWO_PI 6.283185307179586

ATTN_DEF attn_status attn_rotary_llama3(double base, double factor, double low_freq_factor, double high_freq_factor,
                                        double original_len, const attn_array *factors)
{
    attn__view v;
    double log_base;
    const attn_status status = attn__check_factors(base, factor, original_len, factors, &v, &log_base);
    if (status) return status;
    if (!attn__finite_f64(high_freq_factor) || !(low_freq_factor > 0) || !(high_freq_factor > low_freq_factor))
        return ATTN_ERR_PARAMETER;
    for (size_t i = 0; i < v.shape[ATTN__D]; i++) {
        const double frequency = attn__exp_f64(-log_base * ((double)i / (double)v.shape[ATTN__D])),
                     turns = original_len * frequency / ATTN__TWO_PI, /* within the original length */
            high = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
        const double share = high < 0 ? 0 : high > 1 ? 1 : high;
        attn__put(attn__at(&v, 0, 0, 0, i), v.dtype, 1 / ((1 - share) / factor + share));
    }
    return ATTN_OK;
}

ATTN_DEF ATTN__COLD attn_status attn_rotary_yarn(double base, double factor, double beta_fast, double beta_slow,
                                                 double original_len, const attn_array *factors, double *magnitude)
{
    attn__view v;
    double log_base, end[2];
    const attn_status status = attn__check_factors(base, factor, original_len, factors, &v, &log_base);
    if (status) return status;
    if (!attn__finite_f64(beta_fast) || !attn__finite_f64(beta_slow) || beta_fast < 0 || beta_slow < 0)
        return ATTN_ERR_PARAMETER;
    if (!(beta_fast > 0)) beta_fast = 32;
    if (!(beta_slow > 0)) beta_slow = 1;
    if (beta_fast < beta_slow) return ATTN_ERR_PARAMETER;
    for (int k = 0; k < 2; k++) { /* the pair that turns so often within that length: down to a whole one, or up */
        const double most = (double)(2 * v.shape[ATTN__D]) - 1,
                     pair = (double)v.shape[ATTN__D] *
                            (attn__log_f64(original_len / ATTN__TWO_PI) - attn__log_f64(k ? beta_slow : beta_fast)) /
                            log_base;
        const double limited = pair < 0 ? 0 : pair > most ? most : pair;
        end[k] = (double)(int64_t)limited;
        if (k && end[k] < limited) end[k] += 1;
    }
    if (!(end[1] > end[0])) end[1] = end[0] + 0.001;
    for (size_t i = 0; i < v.shape[ATTN__D]; i++) {
        const double ramp = ((double)i - end[0]) / (end[1] - end[0]), slow = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        attn__put(attn__at(&v, 0, 0, 0, i), v.dtype, 1 / (slow / factor + (1 - slow)));
    }
    if (magnitude) *magnitude = factor > 1 ? attn__fma_f64(0.1, attn__log_f64(factor), 1) : 1; /* the same everywhere */
    return ATTN_OK;
}

/* ---- appending to caches ---- */

/* Heads [h, h + n) of an array. */
static attn__view attn__some_heads(attn__view v, size_t h, size_t n)
{
    v.data = attn__at(&v, 0, h, 0, 0);
    v.shape[ATTN__H] = n;
    return v;
}

/* Rows that are turned on their way to 8 bits: as many heads, and rows of them, as there is room for. */
static void attn__turn_codes(attn__turning *t, const attn__coding *coding, size_t b, size_t i, size_t n, int64_t start,
                             size_t place, size_t row)
{
    float room[ATTN__TURNED_ELEMENTS];
    const attn__view from = t->from, to = t->to;
    const size_t most = ATTN__TURNED_ELEMENTS / attn__max(coding->dim, 1), all = from.shape[ATTN__H],
                 heads = attn__min(all, most);
    for (size_t h = 0, some; h < all; h += some) {
        attn__coding part = *coding;
        some = attn__min(heads, all - h);
        part.codes = attn__some_heads(coding->codes, h, some);
        if (part.has_scale) part.scale = attn__some_heads(coding->scale, h, some);
        if (part.has_zero) part.zero = attn__some_heads(coding->zero, h, some);
        for (size_t j = 0, m; j < n; j += m) {
            attn_array turned;
            m = attn__min(n - j, most / some);
            turned = attn_array_3d(ATTN_F32, room, some, m, coding->dim);
            attn__check(&turned, 3, 3, ~0u, ATTN__INPUT, 0, &t->to); /* is right */
            t->from = attn__some_heads(from, h, some);
            t->singles_alone = from.dtype == ATTN_F32 && from.stride[ATTN__D] == 1;
            attn__turn_rows(t, b, i + j, m, start + (int64_t)j, 0, 0);
            attn__encode_rows(&part, place, row + j, &t->to, 0, 0, m);
        }
    }
    t->from = from, t->to = to;
}

/* With t, rows are turned on their way. What is not there is NULL. */
ATTN__COLD static attn_status attn__append(const attn_array *cache, const attn_array *scale, const attn_array *zero,
                                           attn_scaling scaling, const attn_array *block_table, const attn_cache *ring,
                                           const attn_array *rows, const attn_array *lens,
                                           const attn_rotation *rotation, const attn_array *positions, attn__turning *t)
{
    attn__view to, from, at, table;
    attn__coding coding;
    attn_status status;
    size_t capacity, page_size, turns = 0; /* rows of a ring that are taken in turn */
    int coded;
    const unsigned floats = cache && cache->dtype == ATTN_F64 ? 1u << ATTN_F64 : ATTN__HALVES;
    if (!cache || !rows) return ATTN_ERR_NULL;
    if ((status = attn__check(cache, 2, 4, floats | ATTN__CODES, ATTN__OUTPUT, 0, &to))) return status;
    if ((status = attn__check(rows, 2, 4, floats, ATTN__INPUT, 0, &from))) return status;
    if (lens && (status = attn__check(lens, 1, 1, ATTN__INTS, ATTN__INPUT, 0, &at))) return status;
    if (block_table && (status = attn__check(block_table, 2, 2, ATTN__INTS, ATTN__INPUT, 0, &table))) return status;
    capacity = page_size = to.shape[ATTN__S];
    if (ring) {
        if (block_table) return ATTN_ERR_UNSUPPORTED;
        if (ring->ring_sinks >= capacity) return ATTN_ERR_PARAMETER;
        turns = capacity - ring->ring_sinks;
        capacity = (size_t)-1 / 4;
    }
    if (block_table) {
        if (table.shape[ATTN__S] != from.shape[ATTN__B] || page_size == 0) return ATTN_ERR_SHAPE;
        if (!attn__multiply_size(page_size, table.shape[ATTN__D], &capacity)) return ATTN_ERR_OVERFLOW;
    } else if (to.shape[ATTN__B] != from.shape[ATTN__B]) return ATTN_ERR_SHAPE;
    if (to.shape[ATTN__H] != from.shape[ATTN__H] || attn__elements(to.dtype, to.shape[ATTN__D]) != from.shape[ATTN__D])
        return ATTN_ERR_SHAPE;
    if (lens && at.shape[ATTN__D] != from.shape[ATTN__B]) return ATTN_ERR_SHAPE;
    if (!attn__apart(&to, &from) || (lens && !attn__apart(&to, &at)) || (block_table && !attn__apart(&to, &table)))
        return ATTN_ERR_ALIAS;
    coding.codes = to;
    if ((status = attn__coding_of(scale, zero, scaling, 0, &coding))) return status;
    coded = attn__coded(to.dtype);
    for (int i = 0; i < 2; i++) {
        const attn__view *v = i ? &coding.zero : &coding.scale;
        if (!(i ? coding.has_zero : coding.has_scale)) continue;
        if (!attn__apart(&to, v) || (coding.found && (!attn__apart(v, &from) || (lens && !attn__apart(v, &at)) ||
                                                      (block_table && !attn__apart(v, &table)))))
            return ATTN_ERR_ALIAS;
    }
    if (t) {
        if (coded && coding.dim > ATTN__TURNED_ELEMENTS) return ATTN_ERR_UNSUPPORTED;
        t->from = from;
        t->to = to;
        if ((status = attn__check_rotation(rotation, positions, t))) return status;
        if (coding.found && coding.has_scale &&
            ((t->has_positions && !attn__apart(&coding.scale, &t->positions)) ||
             (t->has_factors && !attn__apart(&coding.scale, &t->factors)) ||
             (t->has_tables &&
              (!attn__apart(&coding.scale, &t->tables[0]) || !attn__apart(&coding.scale, &t->tables[1])))))
            return ATTN_ERR_ALIAS;
    }
    for (int pass = 0; pass < 2; pass++) { /* checks everything, then writes */
        for (size_t b = 0; b < from.shape[ATTN__B]; b++) {
            const int64_t len = lens ? attn__integer(&at, 0, b) : 0;
            if (len < 0 || (uint64_t)len > capacity || from.shape[ATTN__S] > capacity - (size_t)len)
                return ATTN_ERR_LENGTH;
            if (t && !pass && !t->has_positions && t->farthest < len + (int64_t)from.shape[ATTN__S] - 1)
                t->farthest = len + (int64_t)from.shape[ATTN__S] - 1;
            for (size_t i = 0, n; i < from.shape[ATTN__S]; i += n) { /* rows that lie together */
                size_t row = (size_t)len + i, place = b;
                if (block_table) {
                    const int64_t page = attn__integer(&table, b, row / page_size);
                    if (page < 0 || (uint64_t)page >= to.shape[ATTN__B]) return ATTN_ERR_PAGE;
                    place = (size_t)page;
                    row %= page_size;
                } else if (ring) row = attn__ring_row(row, page_size, turns);
                n = attn__min(from.shape[ATTN__S] - i, page_size - row);
                if (!pass) continue;
                if (t && coded) attn__turn_codes(t, &coding, b, i, n, len + (int64_t)i, place, row);
                else if (t) attn__turn_rows(t, b, i, n, len + (int64_t)i, place, row);
                else if (coded) attn__encode_rows(&coding, place, row, &from, b, i, n);
                else attn__convert_rows(&to, place, row, &from, b, i, n);
            }
        }
        if (t && !pass && (status = attn__check_angles(t))) return status;
    }
    return ATTN_OK;
}

ATTN_DEF attn_cache attn_cache_default(void)
{
    attn_cache c;
    attn__memset(&c, 0, sizeof c);
    return c;
}

ATTN_DEF attn_status attn_cache_write(const attn_cache *cache, const attn_array *rows, const attn_array *lens,
                                      const attn_rotation *rotation, const attn_array *positions)
{
    attn__turning t;
    if (!cache) return ATTN_ERR_NULL;
    return attn__append(&cache->data, attn__present(&cache->scale) ? &cache->scale : NULL,
                        attn__present(&cache->zero) ? &cache->zero : NULL, cache->scaling,
                        attn__present(&cache->block_table) ? &cache->block_table : NULL, cache->ring ? cache : NULL,
                        rows, lens, rotation, positions, rotation ? &t : NULL);
}

ATTN_DEF attn_status attn_cache_append(const attn_array *cache, const attn_array *rows, const attn_array *lens,
                                       const attn_array *block_table)
{
    return attn__append(cache, NULL, NULL, ATTN_SCALES_GIVEN, block_table, NULL, rows, lens, NULL, NULL, NULL);
}

ATTN_DEF attn_status attn_cache_append_scaled(const attn_array *cache, const attn_array *scale, const attn_array *zero,
                                              attn_scaling scaling, const attn_array *rows, const attn_array *lens,
                                              const attn_array *block_table)
{
    return attn__append(cache, scale, zero, scaling, block_table, NULL, rows, lens, NULL, NULL, NULL);
}

ATTN_DEF attn_status attn_cache_append_rotated(const attn_array *cache, const attn_rotation *rotation,
                                               const attn_array *rows, const attn_array *positions,
                                               const attn_array *lens, const attn_array *block_table)
{
    attn__turning t;
    if (!rotation) return ATTN_ERR_NULL;
    return attn__append(cache, NULL, NULL, ATTN_SCALES_GIVEN, block_table, NULL, rows, lens, rotation, positions, &t);
}

/* ---- layers ---- */

/* rows (B, S, columns) += bias (columns), if there is one */
static void attn__add_bias(const attn_array *rows, const attn_array *bias)
{
    attn__view v, b;
    if (!attn__present(bias)) return;
    if (attn__check(rows, 3, 3, ~0u, ATTN__INPUT, 0, &v) || attn__check(bias, 1, 1, ~0u, ATTN__INPUT, 0, &b))
        return; /* checked before */
    for (size_t i = 0; i < v.shape[ATTN__H]; i++)
        for (size_t s = 0; s < v.shape[ATTN__S]; s++)
            for (size_t c = 0; c < v.shape[ATTN__D]; c++) {
                void *at = attn__at(&v, 0, i, s, c);
                const void *add = attn__at(&b, 0, 0, 0, c);
                if (v.dtype == ATTN_F64) *(double *)at += *(const double *)add;
                else *(float *)at += *(const float *)add;
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

/* Contiguous (B, S, N) in the workspace. */
static attn_array attn__temporary(attn__arena *arena, attn_dtype dtype, size_t b, size_t s, size_t n)
{
    attn_array r;
    size_t count;
    if (!attn__multiply_size(b, s, &count) || !attn__multiply_size(count, n, &count)) arena->overflow = 1, count = 0;
    r = attn_array_3d(dtype, attn__take(arena, count, attn__size_of(dtype)), b, s, n);
    r.stride[0] = (ptrdiff_t)(s * n);
    r.stride[1] = (ptrdiff_t)n;
    r.stride[2] = 1;
    return r;
}

/* A checked layer: what its parts are called with. */
typedef struct attn__layers {
    const attn_array *w[4], *bias[4];
    attn_array x, out; /* (B, S, N), with explicit strides */
    attn_desc attention;
    size_t num_heads, kv_heads;
    size_t cols[4]; /* of the results of w */
    size_t joined;  /* num_heads * head_dim_v */
    int has_o;
} attn__layers;

static attn_status attn__layer_check(const attn_layer *layer, const attn_exec *exec, attn__layers *l)
{
    enum { ATTN__OF_X = 8, ATTN__OF_OUT, ATTN__OF_WEIGHTS, ATTN__VIEWS }; /* views: w, bias, and these */
    static const char *const names[ATTN__VIEWS] = {"w_q", "w_k", "w_v", "w_o", "b_q",    "b_k",
                                                   "b_v", "b_o", "x",   "out", "weights"};
    const attn_dtype dtype = layer->x.dtype;
    const int measuring = attn__measuring(exec);
    attn__view views[ATTN__VIEWS];
    attn_status status;
    attn__about(exec, NULL, ATTN_OK);
    if (dtype != ATTN_F32 && dtype != ATTN_F64) return attn__about(exec, "x", ATTN_ERR_DTYPE);
    l->num_heads = layer->num_heads ? layer->num_heads : 1;
    l->kv_heads = layer->kv_num_heads ? layer->kv_num_heads : l->num_heads;
    if (l->num_heads % l->kv_heads) return attn__about(exec, "kv_num_heads", ATTN_ERR_HEADS);
    l->w[0] = &layer->w_q, l->w[1] = &layer->w_k, l->w[2] = &layer->w_v, l->w[3] = &layer->w_o;
    l->bias[0] = &layer->b_q, l->bias[1] = &layer->b_k, l->bias[2] = &layer->b_v, l->bias[3] = &layer->b_o;
    l->has_o = attn__present(&layer->w_o);

    attn__memset(views, 0, sizeof views);
    if ((status = attn__check(&layer->x, 2, 3, 1u << dtype, ATTN__INPUT, measuring, &views[ATTN__OF_X])))
        return attn__about(exec, "x", status);
    if ((status = attn__check(&layer->out, 2, 3, 1u << dtype, ATTN__OUTPUT, measuring, &views[ATTN__OF_OUT])))
        return attn__about(exec, "out", status);
    if (layer->x.ndim != layer->out.ndim) return attn__about(exec, "out", ATTN_ERR_RANK);
    l->x = attn__array_of(&views[ATTN__OF_X], 3);
    l->out = attn__array_of(&views[ATTN__OF_OUT], 3);
    for (int i = 0; i < 4; i++) {
        l->cols[i] = 0;
        if (i == 3 && !l->has_o) {
            if (attn__present(l->bias[i])) return attn__about(exec, "b_o", ATTN_ERR_UNSUPPORTED); /* of nothing */
            continue;
        }
        if ((status = attn__check(l->w[i], 2, 2, 1u << dtype, ATTN__INPUT, measuring, &views[i])))
            return attn__about(exec, names[i], status);
        l->cols[i] = views[i].shape[ATTN__D];
        if (!attn__present(l->bias[i])) continue;
        if ((status = attn__check(l->bias[i], 1, 1, 1u << dtype, ATTN__INPUT, measuring, &views[4 + i])))
            return attn__about(exec, names[4 + i], status);
        if (views[4 + i].shape[ATTN__D] != l->cols[i]) return attn__about(exec, names[4 + i], ATTN_ERR_SHAPE);
    }
    if (l->cols[0] % l->num_heads) return attn__about(exec, "w_q", ATTN_ERR_SHAPE);
    if (l->cols[1] % l->kv_heads || l->cols[0] / l->num_heads != l->cols[1] / l->kv_heads)
        return attn__about(exec, "w_k", ATTN_ERR_SHAPE);
    if (l->cols[2] % l->kv_heads) return attn__about(exec, "w_v", ATTN_ERR_SHAPE);
    if (!attn__multiply_size(l->cols[2] / l->kv_heads, l->num_heads, &l->joined))
        return attn__about(exec, "num_heads", ATTN_ERR_OVERFLOW);
    if (l->has_o && views[3].shape[ATTN__S] != l->joined) return attn__about(exec, "w_o", ATTN_ERR_SHAPE);
    if (l->out.shape[0] != l->x.shape[0] || l->out.shape[1] != l->x.shape[1] ||
        l->out.shape[2] != (l->has_o ? l->cols[3] : l->joined))
        return attn__about(exec, "out", ATTN_ERR_SHAPE);

    l->attention = layer->attention;
    l->attention.scores = attn_array_1d(dtype, NULL, 0);
    l->attention.scores.ndim = 0;
    if (attn__present(&layer->weights)) {
        attn_array *scores = &l->attention.scores;
        if ((status =
                 attn__check(&layer->weights, 2, 4, 1u << dtype, ATTN__OUTPUT, measuring, &views[ATTN__OF_WEIGHTS])))
            return attn__about(exec, "weights", status);
        *scores = attn__array_of(&views[ATTN__OF_WEIGHTS], 4);
        if (layer->weights.ndim == 3 && l->num_heads == 1) { /* (B, S, S) */
            scores->shape[0] = scores->shape[1];
            scores->stride[0] = scores->stride[1];
            scores->shape[1] = 1;
        }
    }
    for (int i = ATTN__OF_OUT; i < ATTN__VIEWS; i++)
        for (int j = 0; j < ATTN__VIEWS; j++)
            if (i != j && !attn__apart(&views[i], &views[j])) return attn__about(exec, names[i], ATTN_ERR_ALIAS);
    return ATTN_OK;
}

/* All parts of a layer, which take what is between them from the arena. *largest: of the sizes that they ask for. */
static attn_status attn__layer_parts(attn__layers *l, attn__arena *arena, const attn_exec *exec, size_t *largest)
{
    static const char *const names[4][3] = {
        {"x", "w_q", NULL}, {"x", "w_k", NULL}, {"x", "w_v", NULL}, {NULL, "w_o", "out"}};
    const int measuring = attn__measuring(exec);
    attn_desc *d = &l->attention;
    attn_array to[4];
    attn_status status;
    arena->taken = 0;
    for (int i = 0; i < 3; i++) {
        to[i] = attn__temporary(arena, l->x.dtype, l->x.shape[0], l->x.shape[1], l->cols[i]);
        if ((status = attn__matmul(&l->x, l->w[i], 0, 1, &to[i], names[i], exec))) return status;
        if (measuring) *largest = attn__max(*largest, *exec->query);
        else attn__add_bias(&to[i], l->bias[i]);
    }
    to[3] = l->has_o ? attn__temporary(arena, l->x.dtype, l->x.shape[0], l->x.shape[1], l->joined) : l->out;
    d->q = attn__heads_of(&to[0], l->num_heads);
    d->k = attn__heads_of(&to[1], l->kv_heads);
    d->v = attn__heads_of(&to[2], l->kv_heads);
    d->out = attn__heads_of(&to[3], l->num_heads);
    if (attn__present(&d->scores) && !attn__whole_scores(&d->scores, &d->q))
        return attn__about(exec, "weights", ATTN_ERR_SHAPE);
    status = attn_forward(d, exec);
    attn__about_weights(exec);
    if (status) return status;
    if (measuring) *largest = attn__max(*largest, *exec->query);
    if (!l->has_o) return ATTN_OK;
    if ((status = attn__matmul(&to[3], l->w[3], 0, 1, &l->out, names[3], exec))) return status;
    if (measuring) *largest = attn__max(*largest, *exec->query);
    else attn__add_bias(&l->out, l->bias[3]);
    return ATTN_OK;
}

ATTN_DEF ATTN__COLD attn_status attn_layer_forward(const attn_layer *layer, const attn_exec *exec)
{
    attn__layers l;
    attn_exec sub = exec ? *exec : attn_exec_default();
    attn__arena arena = {NULL, 0, 0, 0};
    attn__memory memory;
    attn_status status;
    size_t bytes, largest = 0;
    int measured;
    if (!layer) return attn__about(exec, "layer", ATTN_ERR_NULL);
    if (attn__shared(exec)) return attn__about(exec, "shares", ATTN_ERR_UNSUPPORTED);
    if ((status = attn__layer_check(layer, exec, &l))) return status;
    sub.query = &bytes;
    sub.workspace = NULL;
    if ((status = attn__layer_parts(&l, &arena, &sub, &largest))) return status; /* checks what they check, too */
    if (arena.overflow || largest > (size_t)-1 / 4) return ATTN_ERR_OVERFLOW;
    if ((status = attn__claim(exec, arena.taken + largest, &memory, &measured)) || measured) return status;
    arena.base = memory.base;
    sub.query = NULL;
    sub.workspace = memory.base ? memory.base + arena.taken : NULL;
    sub.workspace_size = largest;
    status = attn__layer_parts(&l, &arena, &sub, &largest);
    attn__release(&memory);
    return status;
}

#if !ATTN__FUSED
#if defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif
#endif
#ifdef ATTN__MATH_WAS_FAST
#pragma GCC pop_options
#endif

#endif /* ATTENTION_IMPLEMENTATION */

/* ==========================================================================
 * KERNEL TEMPLATE: one body for every path and compute type
 *
 * A path includes this very file with ATTN__ISA, ATTN__MR and ATTN__SET defined, see
 * "paths"; so the names of its vocabulary and types mean this path's own.
 * ======================================================================== */
#if defined(ATTN__KERNEL) && !defined(ATTN__F64)
#define ATTN__F64 0
#include ATTN_FILE
#undef ATTN__F64
#define ATTN__F64 1
#include ATTN_FILE
#undef ATTN__F64
#elif defined(ATTN__KERNEL)

ATTN__INLINE attn__vec ATTN__V(load_as)(const void *p, attn_dtype dtype)
{
#if !ATTN__F64
    if (dtype == ATTN_F16) return ATTN__V(load_f16)((const uint16_t *)p);
    if (dtype == ATTN_BF16) return ATTN__V(load_bf16)((const uint16_t *)p);
#else
    if (dtype == ATTN_F32) return ATTN__V(load_f32)((const float *)p);
#endif
    (void)dtype;
    return attn__vload((const attn__real *)p);
}

#ifndef ATTN__OWN_MADD
ATTN__INLINE double ATTN__V(madd)(double a, double b, double c) { return attn__madd_f64(a, b, c); }
#endif
#ifndef ATTN__OWN_PARTS
ATTN__INLINE attn__vec ATTN__V(load_part)(const attn__real *p, size_t n)
{
    attn__real x[ATTN__VL];
    for (size_t j = 0; j < ATTN__VL; j++) x[j] = j < n ? p[j] : 0;
    return attn__vload(x);
}
ATTN__INLINE void ATTN__V(store_part)(attn__real *p, attn__vec a, size_t n)
{
    attn__real x[ATTN__VL];
    attn__vstore(x, a);
    for (size_t j = 0; j < n; j++) p[j] = x[j];
}
#endif

#if ATTN__F64
#ifndef ATTN__OWN_SINGLES
ATTN__INLINE void ATTN__V(store_f32)(float *p, attn__vec a)
{
    double x[ATTN__VL];
    attn__vstore(x, a);
    for (size_t i = 0; i < ATTN__VL; i++) p[i] = attn__to_f32(x[i]);
}
ATTN__INLINE void ATTN__V(store_odd)(float *p, attn__vec a)
{
    double x[ATTN__VL];
    attn__vstore(x, a);
    for (size_t i = 0; i < ATTN__VL; i++) p[i] = attn__to_odd_f32(x[i]);
}
ATTN__INLINE void ATTN__V(load_twice)(const float *p, size_t i, attn__vec pair[2])
{
    double x[2][ATTN__VL];
    for (size_t j = 0; j < ATTN__VL; j++)
        x[0][j] = (double)p[(i + j) / 2 * 2], x[1][j] = (double)p[(i + j) / 2 * 2 + 1];
    pair[0] = attn__vload(x[0]), pair[1] = attn__vload(x[1]);
}
#endif
#endif

/* The register tile: `height` rows by `vecs` vectors, one or two, each element one chain of multiply-adds over k,
 * c[i][j] (+)= sum_k a(i, k) b[k][j]. a(i, k) is a[i * apart + k], or a[k * lda + i] if `apart` is 0. Maxima of columns
 * raise max, if that is not NULL. height, vecs, apart and the type of b are constants wherever this is inlined. */
ATTN__INLINE void ATTN__V(tile)(const int height, const int vecs, const int apart, const attn_dtype dtype, size_t depth,
                                const attn__real *a, ptrdiff_t lda, const char *b, size_t ldb, uintptr_t ahead,
                                attn__real *c, size_t ldc, int accumulate, attn__real *max, const char *soon,
                                ptrdiff_t hop)
{
    const size_t size = attn__size_of(dtype), second = ATTN__VL * size;
    size_t k = 0;
    ldb *= size;
#define ATTN__X(i) attn__vec c##i##0 = attn__vset1(0), c##i##1 = c##i##0;
    ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
    if (accumulate) {
#define ATTN__X(i)                                                                                                     \
    if (height > i)                                                                                                    \
        c##i##0 = attn__vload(c + i * ldc), c##i##1 = vecs > 1 ? attn__vload(c + i * ldc + ATTN__VL) : c##i##0;
        ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
    }
#define ATTN__SOON                                                                                                     \
    if (apart != ATTN__TILE_STRIDE) {                                                                                  \
        ATTN__PREFETCH(soon, 0);                                                                                       \
        soon += hop;                                                                                                   \
    }
#ifdef ATTN__OWN_FMA_LANE /* one load for several factors, of a row along the depth or of a column */
    attn__vec x[ATTN__MR];
    for (; apart && k + ATTN__VL <= depth; k += ATTN__VL, a += ATTN__VL) {
        attn__vec b0, b1;
#define ATTN__X(i)                                                                                                     \
    if (height > i) x[i] = attn__vload(a + i * apart);
        ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
#define ATTN__X(i)                                                                                                     \
    if (height > i)                                                                                                    \
        c##i##0 = ATTN__V(fma_lane)(c##i##0, b0, x[i], ATTN__AT),                                                      \
        c##i##1 = vecs > 1 ? ATTN__V(fma_lane)(c##i##1, b1, x[i], ATTN__AT) : c##i##1;
#define ATTN__STEP                                                                                                     \
    b0 = ATTN__V(load_as)(b, dtype), b1 = vecs > 1 ? ATTN__V(load_as)(b + second, dtype) : b0;                         \
    if (apart == ATTN__TILE_STRIDE) ATTN__PREFETCH(b, ahead);                                                          \
    ATTN__SOON                                                                                                         \
    b += ldb;                                                                                                          \
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
    for (; !apart && k < depth; k++, a += lda, b += ldb) {
        attn__vec b0 = ATTN__V(load_as)(b, dtype), b1 = vecs > 1 ? ATTN__V(load_as)(b + second, dtype) : b0;
        ATTN__SOON
#define ATTN__X(i)                                                                                                     \
    if (height > i / ATTN__VL * ATTN__VL + ATTN__VL - 1) {                                                             \
        if (i % ATTN__VL == 0) x[i] = attn__vload(a + i);                                                              \
        c##i##0 = ATTN__V(fma_lane)(c##i##0, b0, x[i / ATTN__VL * ATTN__VL], i % ATTN__VL),                            \
        c##i##1 = vecs > 1 ? ATTN__V(fma_lane)(c##i##1, b1, x[i / ATTN__VL * ATTN__VL], i % ATTN__VL) : c##i##1;       \
    } else if (height > i) {                                                                                           \
        x[i] = attn__vset1(a[i]);                                                                                      \
        c##i##0 = attn__vfma(x[i], b0, c##i##0);                                                                       \
        if (vecs > 1) c##i##1 = attn__vfma(x[i], b1, c##i##1);                                                         \
    }
        ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
    }
#endif
    for (; k < depth; k++, a += apart ? 1 : lda, b += ldb) {
        attn__vec b0 = ATTN__V(load_as)(b, dtype), b1 = vecs > 1 ? ATTN__V(load_as)(b + second, dtype) : b0;
        if (height <= 8 && apart == ATTN__TILE_STRIDE) { /* few rows: b comes from memory as fast as it can */
            ATTN__PREFETCH(b, ahead);
            ATTN__PREFETCH(b, ahead + second);
        }
        ATTN__SOON
#define ATTN__X(i)                                                                                                     \
    if (height > i) {                                                                                                  \
        attn__vec ai = attn__vset1(a[apart ? i * apart : i]);                                                          \
        c##i##0 = attn__vfma(ai, b0, c##i##0);                                                                         \
        if (vecs > 1) c##i##1 = attn__vfma(ai, b1, c##i##1);                                                           \
    }
        ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
    }
#undef ATTN__SOON
#define ATTN__X(i)                                                                                                     \
    if (height > i) {                                                                                                  \
        attn__vstore(c + i * ldc, c##i##0);                                                                            \
        if (vecs > 1) attn__vstore(c + i * ldc + ATTN__VL, c##i##1);                                                   \
    }
    ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
    if (max) { /* in two chains */
        attn__vec max0 = attn__vload(max), max1 = vecs > 1 ? attn__vload(max + ATTN__VL) : max0, odd0 = c00, odd1 = c01;
#define ATTN__X(i)                                                                                                     \
    if (height > i && i % 2) odd0 = attn__vmax(odd0, c##i##0), odd1 = attn__vmax(odd1, c##i##1);                       \
    else if (height > i) max0 = attn__vmax(max0, c##i##0), max1 = attn__vmax(max1, c##i##1);
        ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
        attn__vstore(max, attn__vmax(max0, odd0));
        if (vecs > 1) attn__vstore(max + ATTN__VL, attn__vmax(max1, odd1));
    }
}

/* A tile of so many rows, as attn__tile_rows has it, and one or two vectors; of halves up to four, and two. */
ATTN__INLINE void ATTN__V(any_tile)(size_t rows, int two, const int apart, const attn_dtype dtype, size_t depth,
                                    const attn__real *a, ptrdiff_t lda, const char *b, size_t ldb, uintptr_t ahead,
                                    attn__real *c, size_t ldc, int accumulate, attn__real *max, const char *soon,
                                    ptrdiff_t hop)
{
    const int halves = dtype == ATTN_F16 || dtype == ATTN_BF16;
    switch (rows + (two ? 16 : 0)) {
#define ATTN__CASE(i, vecs)                                                                                            \
    case i + 1 + 16 * (vecs - 1):                                                                                      \
        if (ATTN__IS_HEIGHT(i + 1) && (!halves || (i < 4 && vecs > 1))) ATTN__V(tile)                                  \
        (i + 1, vecs, apart, dtype, depth, a, lda, b, ldb, ahead, c, ldc, accumulate, max, soon, hop);                 \
        break;
#define ATTN__X(i) ATTN__CASE(i, 1) ATTN__CASE(i, 2)
        ATTN__EACH_ROW(ATTN__X)
#undef ATTN__X
#undef ATTN__CASE
    default: break;
    }
}

static void ATTN__V(multiply_ahead)(size_t m, size_t n, size_t depth, const void *a_, const void *b_, size_t ldb,
                                    size_t panel_stride, uintptr_t ahead, void *c_, size_t ldc, int accumulate)
{
    const attn__real *a = (const attn__real *)a_;
    const char *b = (const char *)b_;
    attn__real *c = (attn__real *)c_;
    for (size_t j = 0; j < n; j += ATTN__NR, b += panel_stride * sizeof *c, c += ATTN__NR) {
        /* a narrow tile where the rest of a panel is no more */
        ATTN__V(any_tile)
        (m, n - j > ATTN__VL, ATTN__TILE_STRIDE, ATTN__DTYPE, depth, a, 0, b, ldb, ahead, c, ldc, accumulate, NULL,
         NULL, 0);
    }
}
static void ATTN__V(multiply)(size_t m, size_t n, size_t depth, const void *a, const void *b, size_t ldb,
                              size_t panel_stride, void *c, size_t ldc, int accumulate)
{
    ATTN__V(multiply_ahead)(m, n, depth, a, b, ldb, panel_stride, 32 * ldb * sizeof(attn__real), c, ldc, accumulate);
}

static void ATTN__V(product)(size_t m, size_t n, size_t depth, const void *a_, ptrdiff_t a_step, const void *b_,
                             size_t b_step, void *c_, size_t c_step, void *rows_, void *tile_, void *panel_)
{
    const size_t part = n % ATTN__VL, whole = n - part; /* what is less than a vector is copied */
    const attn__real *a = (const attn__real *)a_, *b = (const attn__real *)b_;
    attn__real *c = (attn__real *)c_, *rows = (attn__real *)rows_, *tile = (attn__real *)tile_,
               *panel = (attn__real *)panel_;
    size_t count, k;
    for (k = 0; k < depth && part; k++)
        attn__vstore(panel + k * ATTN__NR, ATTN__V(load_part)(b + k * b_step + whole, part));
    for (; m > 0; m -= count) {
        count = attn__tile_rows(m, ATTN__MR);
        for (size_t r = 0; r < count; r++, a += a_step) {
            attn__real *row = rows + r * ATTN__TILE_STRIDE;
            for (k = 0; k + ATTN__VL <= depth; k += ATTN__VL) attn__vstore(row + k, attn__vload(a + k));
            for (; k < depth; k++) row[k] = a[k];
        }
        ATTN__V(multiply)(count, whole, depth, rows, b, b_step, ATTN__NR, c, c_step, 0);
        if (part) ATTN__V(multiply)(count, part, depth, rows, panel, ATTN__NR, 0, tile, ATTN__TILE_STRIDE, 0);
        for (size_t r = 0; r < count; r++, c += c_step)
            if (part) ATTN__V(store_part)(c + whole, attn__vload(tile + r * ATTN__TILE_STRIDE), part);
    }
}

static void ATTN__V(load_row)(void *to, const void *from, attn_dtype dtype, ptrdiff_t stride, size_t n)
{
#if ATTN__F64
    const float *single = (const float *)from;
    double *out = (double *)to;
    size_t i = 0;
    if (stride == 1 && dtype == ATTN_F32)
        for (; i + ATTN__VL <= n; i += ATTN__VL) attn__vstore(out + i, ATTN__V(load_f32)(single + i));
    attn__load_f64(out + i, (const char *)from + (ptrdiff_t)i * stride * (ptrdiff_t)attn_dtype_size(dtype), dtype,
                   stride, n - i);
#else
    const uint16_t *half = (const uint16_t *)from;
    float *out = (float *)to;
    size_t i = 0;
    if (stride == 1 && dtype == ATTN_F16)
        for (; i + ATTN__VL <= n; i += ATTN__VL) attn__vstore(out + i, ATTN__V(load_f16)(half + i));
    if (stride == 1 && dtype == ATTN_BF16)
        for (; i + ATTN__VL <= n; i += ATTN__VL) attn__vstore(out + i, ATTN__V(load_bf16)(half + i));
    attn__load_f32(out + i, (const char *)from + (ptrdiff_t)i * stride * (ptrdiff_t)attn_dtype_size(dtype), dtype,
                   stride, n - i);
#endif
}
#ifndef ATTN__OWN_REVERSE
ATTN__INLINE attn__vec ATTN__V(reverse)(attn__vec a) { ATTN__BY_LANES(a, a, a, x[ATTN__VL - 1 - i]); }
#endif
/* The same, in vectors also from the last element back, as a relative bias is read, and where all are one number. */
static void ATTN__V(load_any)(void *to, const void *from_, attn_dtype dtype, ptrdiff_t stride, size_t n)
{
    const char *from = (const char *)from_;
    attn__real *out = (attn__real *)to;
    const size_t whole = n / ATTN__VL * ATTN__VL;
    size_t i = 0;
#define ATTN__X(TYPE, type, load)                                                                                      \
    if (dtype == TYPE)                                                                                                 \
        for (const type *x = (const type *)(const void *)from; i < whole && stride == -1; i += ATTN__VL)               \
            attn__vstore(out + i, ATTN__V(reverse)(load(x - (ptrdiff_t)(i + ATTN__VL - 1))));
#if ATTN__F64
    ATTN__X(ATTN_F64, double, attn__vload)
    ATTN__X(ATTN_F32, float, ATTN__V(load_f32))
#else
    ATTN__X(ATTN_F32, float, attn__vload)
    ATTN__X(ATTN_F16, uint16_t, ATTN__V(load_f16))
    ATTN__X(ATTN_BF16, uint16_t, ATTN__V(load_bf16))
#endif
#undef ATTN__X
    if (!stride && whole) {
        ATTN__V(load_row)(out, from, dtype, 0, 1);
        for (const attn__vec all = attn__vset1(*out); i < whole; i += ATTN__VL) attn__vstore(out + i, all);
    }
    from += (ptrdiff_t)i * stride * (ptrdiff_t)attn_dtype_size(dtype);
    ATTN__V(load_row)(out + i, from, dtype, stride, n - i);
}
static void ATTN__V(store_row)(void *to, attn_dtype dtype, ptrdiff_t stride, const void *from, size_t n)
{
#if ATTN__F64
    const double *x = (const double *)from;
    size_t i = 0;
    if (stride == 1 && dtype == ATTN_F32)
        for (; i + ATTN__VL <= n; i += ATTN__VL) ATTN__V(store_f32)((float *)to + i, attn__vload(x + i));
    attn__store_f64((char *)to + (ptrdiff_t)i * stride * (ptrdiff_t)attn_dtype_size(dtype), dtype, stride, x + i,
                    n - i);
#else
    const float *x = (const float *)from;
    size_t i = 0;
#ifdef ATTN__OWN_HALVES
    if (stride == 1 && dtype == ATTN_F16)
        for (; i + ATTN__VL <= n; i += ATTN__VL) ATTN__V(store_f16)((uint16_t *)to + i, attn__vload(x + i));
    if (stride == 1 && dtype == ATTN_BF16)
        for (; i + ATTN__VL <= n; i += ATTN__VL) ATTN__V(store_bf16)((uint16_t *)to + i, attn__vload(x + i));
#endif
    attn__store_f32((char *)to + (ptrdiff_t)i * stride * (ptrdiff_t)attn_dtype_size(dtype), dtype, stride, x + i,
                    n - i);
#endif
}

ATTN__INLINE attn__vec ATTN__V(magnitudes)(attn__vec x) { return attn__vmax(x, attn__vsub(attn__vset1(0), x)); }

#if !ATTN__F64
#ifndef ATTN__OWN_BYTES
ATTN__INLINE void ATTN__V(store_bytes)(uint8_t *p, attn__vec a)
{
    float lane[ATTN__VL];
    attn__vstore(lane, a);
    for (int i = 0; i < ATTN__VL; i++) p[i] = (uint8_t)attn__bits_f32(lane[i]);
}
#endif
/* Floats of 8 bits are float16 numbers with a part of their bits: e5m2 has the first half, e4m3 is 2^-8 times as large.
 */
#ifndef ATTN__OWN_F8
ATTN__INLINE attn__vec ATTN__V(load_e5m2)(const uint8_t *p)
{
    ATTN__LOAD_LANES(attn__f16_to_f32((uint16_t)(p[i] << 8)));
}
ATTN__INLINE attn__vec ATTN__V(load_e4m3)(const uint8_t *p) { ATTN__LOAD_LANES(attn__e4m3_to_f32(p[i])); }
#endif
/* VL elements of 8 bits, before their scale. `dtype` is a constant. */
ATTN__INLINE attn__vec ATTN__V(load_code)(const uint8_t *p, const attn_dtype dtype)
{
    if (dtype == ATTN_U8) return ATTN__V(load_u8)(p);
    if (dtype == ATTN_F8_E4M3) return ATTN__V(load_e4m3)(p);
    if (dtype == ATTN_F8_E5M2) return ATTN__V(load_e5m2)(p);
    return ATTN__V(load_i8)((const int8_t *)p);
}

/* n elements with one scale and zero point, or where `each` is not 0, with those of an array. Squares may be too many.
 * `dtype`, `zeros` and `each` are constants. */
ATTN__INLINE void ATTN__V(decode_run)(float *to, const uint8_t *from, const attn_dtype dtype, const int zeros,
                                      const int each, size_t n, const float *scale, const float *zero,
                                      attn__vec *squares)
{
    attn__vec s = attn__vset1(*scale), z = attn__vset1(*zero), sum = *squares, x;
    size_t i = 0;
    for (; i + ATTN__VL <= n; i += ATTN__VL) {
        if (each) s = attn__vload(scale + i), z = zeros ? attn__vload(zero + i) : z;
        x = ATTN__V(load_code)(from + i, dtype);
        x = attn__vmul(zeros ? attn__vsub(x, z) : x, s);
        attn__vstore(to + i, x);
        sum = attn__vfma(x, x, sum);
    }
    if (i < n) {
        uint8_t rest[ATTN__VL] = {0};
        attn__memcpy(rest, from + i, n - i);
        if (each) s = ATTN__V(load_part)(scale + i, n - i), z = zeros ? ATTN__V(load_part)(zero + i, n - i) : z;
        x = ATTN__V(load_code)(rest, dtype);
        x = attn__vmul(zeros ? attn__vsub(x, z) : x, s);
        ATTN__V(store_part)(to + i, x, n - i);
        sum = attn__vfma(x, x, sum);
    }
    *squares = sum;
}
ATTN__INLINE void ATTN__V(decode_rows)(float *to, size_t to_stride, const attn__codes *codes, const attn_dtype dtype,
                                       const int zeros, size_t rows, size_t first, size_t n, attn__vec *squares)
{
    const int blocks = dtype == ATTN_Q8_0, each = !blocks && codes->group < ATTN__VL && codes->group < n;
    const size_t group = blocks ? ATTN__Q8_BLOCK : codes->group;
    const float one = 1, none = 0, *scales = NULL, *zero_points = &none;
    float room[2][ATTN__BLOCK];
    uint8_t line[ATTN__BLOCK];
    for (size_t r = 0; r < rows; r++, to += to_stride) {
        const uint8_t *from = codes->at + (ptrdiff_t)r * codes->row;
        const float *scale = codes->scale ? codes->scale + (ptrdiff_t)r * codes->scale_row : &one,
                    *zero = codes->zero && zeros ? codes->zero + (ptrdiff_t)r * codes->zero_row : &none;
        if (!blocks && codes->step != 1) { /* one beside the other */
            for (size_t i = 0; i < n; i++) line[i] = from[(ptrdiff_t)(first + i) * codes->step];
            from = line;
        } else if (!blocks) from += first;
        if (each) {
            if (r == 0 || codes->scale_row) scales = attn__spread(scale, codes->scale_step, group, first, n, room[0]);
            if (zeros && (r == 0 || codes->zero_row))
                zero_points = attn__spread(zero, codes->zero_step, group, first, n, room[1]);
            ATTN__V(decode_run)(to, from, dtype, zeros, 1, n, scales, zero_points, squares);
            continue;
        }
        for (size_t c = first, end = first + n, g = group ? first / group : 0, next; c < end; c = next, g++) {
            const uint8_t *at = from + (c - first);
            float of_block;
            next = (g + 1) * group;
            if (next > end) next = end;
            if (blocks) {
                at = from + (ptrdiff_t)g * codes->step + 2 + c % ATTN__Q8_BLOCK;
                of_block = attn__f16_to_f32(*(const uint16_t *)(const void *)(from + (ptrdiff_t)g * codes->step));
            }
            ATTN__V(decode_run)
            (to + (c - first), at, dtype, zeros, 0, next - c,
             blocks ? &of_block : scale + (ptrdiff_t)g * codes->scale_step, zero + (ptrdiff_t)g * codes->zero_step,
             squares);
        }
    }
}
static float ATTN__V(magnitude)(const float *x, size_t n)
{
    const attn__vec zero = attn__vset1(0);
    attn__vec max = zero, bad = zero;
    float bad_at;
    for (size_t i = 0; i < n; i += ATTN__VL) {
        const attn__vec a = n - i < ATTN__VL ? ATTN__V(load_part)(x + i, n - i) : attn__vload(x + i);
        max = attn__vmax(max, ATTN__V(magnitudes)(a));
        bad = attn__vadd(bad, attn__vsub(a, a));
    }
    bad_at = attn__vsum_across(bad);
    return bad_at >= 0 ? attn__vmax_across(max) : bad_at;
}

/* What to divide by: of a scale that is 0 infinity, so that all becomes 0. */
ATTN__INLINE attn__vec ATTN__V(divisor)(attn__vec s)
{
    const attn__vec least = attn__vset1(attn__from_bits_f32(1)),
                    infinite = attn__vset1(attn__from_bits_f32(0x7f800000u));
    return attn__vchoose(s, ATTN__V(magnitudes)(s), least, infinite);
}
/* `floats` and `zeros` are constants, and dtype where the first is not 0. */
ATTN__INLINE void ATTN__V(encode_run)(uint8_t *to, const float *from, const attn_dtype dtype, const int floats,
                                      const int zeros, int each, size_t n, const float *scale, const float *zero)
{
    const attn__vec none = attn__vset1(0), magic = attn__vset1(12582912), most = attn__vset1(256),
                    low = attn__vset1(dtype == ATTN_U8 ? 0.0f : -128.0f),
                    high = attn__vset1(dtype == ATTN_U8 ? 255.0f : 127.0f), minus_high = attn__vsub(none, high);
    attn__vec s = ATTN__V(divisor)(attn__vset1(*scale)), z = attn__vset1(*zero);
    for (size_t i = 0; i < n; i += ATTN__VL) {
        const int whole = ATTN__VL == 1 || n - i >= ATTN__VL;
        const size_t part = whole ? ATTN__VL : n - i;
        uint8_t few[ATTN__VL], *out = whole ? to + i : few;
        attn__vec x = whole ? attn__vload(from + i) : ATTN__V(load_part)(from + i, part);
        if (each) s = ATTN__V(divisor)(whole ? attn__vload(scale + i) : ATTN__V(load_part)(scale + i, part));
        if (each && zeros) z = whole ? attn__vload(zero + i) : ATTN__V(load_part)(zero + i, part);
        x = attn__vdiv(x, s);
        if (floats) {
            float lane[ATTN__VL];
            attn__vstore(lane, x);
            for (size_t j = 0; j < ATTN__VL; j++) out[j] = attn__f32_to_code(lane[j], dtype);
        } else {
            if (zeros) x = attn__vadd(x, z);
            x = attn__vchoose(x, x, low, low);
            x = attn__vchoose(x, attn__vsub(none, x), minus_high, high);
            x = attn__vchoose(none, x, most, x); /* NaN is 0 */
            x = attn__vadd(x, magic);            /* rounds; the bits of the sum end with those of the integer */
            ATTN__V(store_bytes)(out, x);
        }
        if (!whole) attn__memcpy(to + i, few, part);
    }
}
ATTN__INLINE void ATTN__V(encode_row)(uint8_t *to, const float *x, const attn__codes *codes, const attn_dtype dtype,
                                      const int floats, const int zeros, size_t first, size_t n)
{
    const size_t group = codes->group;
    const float one = 1, none = 0, *scale = codes->scale ? codes->scale : &one, *zero = zeros ? codes->zero : &none;
    float room[2][ATTN__BLOCK];
    for (size_t i = 0, g = first / group, next; i < n; i = next, g++) {
        const float *s = scale + (ptrdiff_t)g * codes->scale_step, *z = zero + (ptrdiff_t)g * codes->zero_step;
        const int each = group < ATTN__VL && group < n;
        next = (g + 1) * group - first;
        if (next > n || each) next = n;
        if (each) s = attn__spread(scale, codes->scale_step, group, first, n, room[0]);
        if (each && zeros) z = attn__spread(zero, codes->zero_step, group, first, n, room[1]);
        ATTN__V(encode_run)(to + i, x + i, dtype, floats, zeros, each, next - i, s, z);
    }
}
static void ATTN__V(encode)(uint8_t *to, const float *x, const attn__codes *codes, size_t first, size_t n)
{
    for (size_t c = 0, count; c < n; c += count) {
        count = n - c < ATTN__BLOCK ? n - c : ATTN__BLOCK;
        switch (codes->dtype) {
        case ATTN_F8_E4M3: ATTN__V(encode_row)(to + c, x + c, codes, ATTN_F8_E4M3, 1, 0, first + c, count); break;
        case ATTN_F8_E5M2: ATTN__V(encode_row)(to + c, x + c, codes, ATTN_F8_E5M2, 1, 0, first + c, count); break;
        default:
            if (codes->zero) ATTN__V(encode_row)(to + c, x + c, codes, codes->dtype, 0, 1, first + c, count);
            else ATTN__V(encode_row)(to + c, x + c, codes, codes->dtype, 0, 0, first + c, count);
            break;
        }
    }
}
static double ATTN__V(decode)(float *to, size_t to_stride, const attn__codes *codes, size_t rows, size_t first,
                              size_t n)
{
    double sum = 0;
    for (size_t c = 0, count; c < n; c += count) { /* as many columns as there is room for their scales */
        attn__vec squares = attn__vset1(0);
        count = n - c < ATTN__BLOCK ? n - c : ATTN__BLOCK;
        switch (codes->dtype) {
#define ATTN__X(type)                                                                                                  \
    case type:                                                                                                         \
        ATTN__V(decode_rows)(to + c, to_stride, codes, type, 0, rows, first + c, count, &squares);                     \
        break;
            ATTN__X(ATTN_F8_E4M3)
            ATTN__X(ATTN_F8_E5M2)
            ATTN__X(ATTN_Q8_0)
#undef ATTN__X
#define ATTN__X(type)                                                                                                  \
    case type:                                                                                                         \
        if (codes->zero || ATTN__VL == 1) /* where 0 is taken away, too, for less code */                              \
            ATTN__V(decode_rows)(to + c, to_stride, codes, type, 1, rows, first + c, count, &squares);                 \
        else ATTN__V(decode_rows)(to + c, to_stride, codes, type, 0, rows, first + c, count, &squares);                \
        break;
            ATTN__X(ATTN_I8)
            ATTN__X(ATTN_U8)
#undef ATTN__X
        default: break;
        }
        sum += (double)attn__vsum_across(squares);
    }
    return sum;
}
#endif

/* QUAD columns of VL rows, as vectors, 0 where there are fewer. `quad`: a copy of them, from clear_quad, for the last.
 */
ATTN__INLINE void ATTN__V(clear_quad)(attn__real quad[ATTN__VL * ATTN__QUAD])
{
#define ATTN__X(i) attn__vstore(quad + i * ATTN__VL, attn__vset1(0));
    ATTN__EACH_OF_QUAD(ATTN__X)
#undef ATTN__X
}
ATTN__INLINE void ATTN__V(turn_quad)(const attn__real *from, ptrdiff_t stride, size_t rows, size_t cols,
                                     attn__real quad[ATTN__VL * ATTN__QUAD], attn__vec x[ATTN__QUAD])
{
    attn__real *row = quad;
    if (rows >= ATTN__VL && cols >= ATTN__QUAD) {
        ATTN__V(transpose)(from, stride, x);
        return;
    }
    if (rows > ATTN__VL) rows = ATTN__VL;
    if (cols >= ATTN__QUAD)
        for (; rows > 0; rows--, row += ATTN__QUAD, from += stride) attn__memcpy(row, from, ATTN__QUAD * sizeof *row);
    else
        for (; rows > 0; rows--, row += ATTN__QUAD, from += stride)
            for (size_t c = 0; c < ATTN__QUAD; c++) row[c] = c < cols ? from[c] : 0;
    ATTN__V(transpose)(quad, ATTN__QUAD, x);
}

/* to[c][r] = from[r][c], and 0 up to a multiple of VL rows. `ahead`: another panel of rows follows. */
ATTN__INLINE void ATTN__V(turn_rows)(attn__real *to, size_t to_stride, const attn__real *from, ptrdiff_t stride,
                                     size_t rows, size_t cols, const int ahead)
{
    for (size_t r = 0; r < rows; r += ATTN__VL, from += ATTN__VL * stride, to += ATTN__VL) {
        const size_t whole = rows - r < ATTN__VL ? 0 : cols / ATTN__QUAD * ATTN__QUAD;
        attn__vec x[ATTN__QUAD];
        attn__real quad[ATTN__VL * ATTN__QUAD];
        size_t c;
        for (c = 0; c < whole; c += ATTN__QUAD) {
            ATTN__V(transpose)(from + c, stride, x);
            for (int i = 0; i < ATTN__VL / 4 && ahead; i++) /* a part of its rows for each part of a cache line */
                ATTN__PREFETCH(from,
                               (ptrdiff_t)(ATTN__NR + (c / ATTN__QUAD % 4) * (ATTN__VL / 4) + (size_t)i) * stride +
                                   (ptrdiff_t)c);
#define ATTN__X(i) attn__vstore(to + (c + i) * to_stride, x[i]);
            ATTN__EACH_OF_QUAD(ATTN__X)
#undef ATTN__X
        }
        ATTN__V(clear_quad)(quad);
        for (; c < cols; c += ATTN__QUAD) {
            ATTN__V(turn_quad)(from + c, stride, rows - r, cols - c, quad, x);
#define ATTN__X(i)                                                                                                     \
    if (c + i < cols) attn__vstore(to + (c + i) * to_stride, x[i]);
            ATTN__EACH_OF_QUAD(ATTN__X)
#undef ATTN__X
        }
    }
}

static void ATTN__V(pack)(void *panels, const void *src_, attn_dtype dtype, size_t cols, size_t depth,
                          ptrdiff_t column_stride, ptrdiff_t depth_stride)
{
    const char *src = (const char *)src_;
    attn__real *to = (attn__real *)panels;
    ptrdiff_t size = (ptrdiff_t)attn_dtype_size(dtype);
    for (size_t j = 0; j < cols; j += ATTN__NR, to += depth * ATTN__NR) {
        const char *from = src + (ptrdiff_t)j * column_stride * size;
        size_t width = cols - j < ATTN__NR ? cols - j : ATTN__NR;
        if (depth_stride != 1) { /* values: rows of the panel as they come */
            for (size_t k = 0; k < depth; k++) {
                const char *row = from + (ptrdiff_t)k * depth_stride * size;
                attn__real *panel = to + k * ATTN__NR;
                ATTN__PREFETCH(row, 64 * (size_t)depth_stride * (size_t)size);
                if (width == ATTN__NR && column_stride == 1) {
                    attn__vstore(panel, ATTN__V(load_as)(row, dtype));
                    attn__vstore(panel + ATTN__VL, ATTN__V(load_as)(row + ATTN__VL * size, dtype));
                } else {
                    attn__vstore(panel, attn__vset1(0));
                    attn__vstore(panel + ATTN__VL, attn__vset1(0));
                    ATTN__V(load_row)(panel, row, dtype, column_stride, width);
                }
            }
        } else if (size == (ptrdiff_t)sizeof(attn__real)) { /* keys: transposed */
            ATTN__V(turn_rows)
            (to, ATTN__NR, (const attn__real *)(const void *)from, column_stride, width, depth, 1);
        } else { /* converted, a piece of the depth at a time */
            attn__real piece[ATTN__NR][64];
            for (size_t k = 0; k < depth; k += 64) {
                size_t i, n = depth - k < 64 ? depth - k : 64;
                for (i = 0; i < width; i++) ATTN__V(load_row)
                (piece[i], from + ((ptrdiff_t)i * column_stride + (ptrdiff_t)k) * size, dtype, 1, n);
                ATTN__V(turn_rows)(to + k * ATTN__NR, ATTN__NR, piece[0], 64, width, n, 0);
            }
        }
    }
}

#if ATTN__VL > 1
/* turn_rows and tile in one, for up to four rows: columns are turned, and widened,
 * in registers. `dtype` is a constant, too. */
ATTN__INLINE void ATTN__V(turn_columns)(const char *p, const attn_dtype dtype, ptrdiff_t stride,
                                        attn__vec out[ATTN__QUAD])
{
#if !ATTN__F64
    if (dtype == ATTN_F16) ATTN__V(transpose_f16)((const uint16_t *)(const void *)p, stride, out);
    else if (dtype == ATTN_BF16) ATTN__V(transpose_bf16)((const uint16_t *)(const void *)p, stride, out);
    else
#endif
        ATTN__V(transpose)((const attn__real *)(const void *)p, stride, out);
    (void)dtype;
}
ATTN__INLINE void ATTN__V(dot_tile)(const int height, const attn_dtype dtype, size_t depth, const attn__real *a,
                                    const attn__columns *panel, attn__real *c, int accumulate)
{
    const ptrdiff_t size = (ptrdiff_t)attn__size_of(dtype), stride = panel->stride, apart = panel->at[1] - panel->at[0];
    const uintptr_t distance = (uintptr_t)(stride * size);
    const attn__column_kind kind = panel->kind;
    const char *keys = panel->at[0];
    uintptr_t after = 0; /* each place */
    size_t k = 0, line = 0;
#define ATTN__X(i) attn__vec c##i##0 = attn__vset1(0), c##i##1 = c##i##0;
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
    if (accumulate) {
#define ATTN__X(i)                                                                                                     \
    if (height > i)                                                                                                    \
        c##i##0 = attn__vload(c + i * ATTN__TILE_STRIDE), c##i##1 = attn__vload(c + i * ATTN__TILE_STRIDE + ATTN__VL);
        ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
    }
#define ATTN__X(i)                                                                                                     \
    if (height > i) {                                                                                                  \
        attn__vec ai = attn__vset1(a[i * ATTN__TILE_STRIDE + step]);                                                   \
        c##i##0 = attn__vfma(ai, x[step], c##i##0);                                                                    \
        c##i##1 = attn__vfma(ai, y[step], c##i##1);                                                                    \
    }
#define ATTN__STEP(n)                                                                                                  \
    {                                                                                                                  \
        const int step = n;                                                                                            \
        ATTN__REPEAT_4(ATTN__X)                                                                                        \
    }
    for (; k + ATTN__QUAD <= depth; k += ATTN__QUAD, a += ATTN__QUAD, keys += ATTN__QUAD * size) {
        attn__vec x[ATTN__QUAD], y[ATTN__QUAD];
        ATTN__V(turn_columns)(keys, dtype, stride, x);
        ATTN__V(turn_columns)(keys + apart, dtype, stride, y);
        if (kind == ATTN__COLUMNS_LONG) { /* a line of each column in turn */
            const size_t fetched = ATTN__NR * ATTN__QUAD * (size_t)size / 64, first = k * ATTN__NR * (size_t)size / 64;
            for (size_t j = 0; j < fetched; j++)
                ATTN__PREFETCH_NEAR(keys, 256 + (uintptr_t)((first + j) % ATTN__NR) * distance);
        }
        for (size_t j = 0; kind >= ATTN__COLUMNS_MANY && j < ATTN__NR * (size_t)size;
             j += 64) { /* often as many pages */
            for (int i = 0; i < 4; i++) ATTN__PREFETCH((const char *)panel->after[i], after);
            for (int i = 0; i < 4 && kind == ATTN__COLUMNS_FAR; i++)
                ATTN__PREFETCH((const char *)panel->after[i], after - ATTN__NR * distance);
            after += 64;
            line += 64;
            if (line >= depth * (size_t)size) after += distance - line, line = 0;
        }
        ATTN__STEP(0)
        ATTN__STEP(1)
#if !ATTN__F64
        ATTN__STEP(2)
        ATTN__STEP(3)
#endif
    }
#undef ATTN__STEP
#undef ATTN__X
#define ATTN__X(i)                                                                                                     \
    if (height > i)                                                                                                    \
        attn__vstore(c + i * ATTN__TILE_STRIDE, c##i##0), attn__vstore(c + i * ATTN__TILE_STRIDE + ATTN__VL, c##i##1);
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
}

/* What is less than QUAD columns of keys, from column k on. */
ATTN__NOINLINE static void ATTN__V(dot_rest)(size_t m, size_t k, size_t depth, const attn__real *a,
                                             const attn__columns *panel, attn__real *c)
{
    const ptrdiff_t size = (ptrdiff_t)attn_dtype_size(panel->dtype);
    for (; k < depth; k++) {
        attn__real column[ATTN__NR];
        for (ptrdiff_t j = 0; j < ATTN__NR; j++) ATTN__V(load_row)
        (column + j, panel->at[j / ATTN__VL] + (j % ATTN__VL * panel->stride + (ptrdiff_t)k) * size, panel->dtype, 1,
         1);
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < ATTN__NR; j += ATTN__VL) {
                attn__real *at = c + i * ATTN__TILE_STRIDE + j;
                attn__vstore(at, attn__vfma(attn__vset1(a[i * ATTN__TILE_STRIDE + k]), attn__vload(column + j),
                                            attn__vload(at)));
            }
    }
}

static void ATTN__V(dot_panel)(size_t m, size_t depth, const void *a_, const attn__columns *keys, void *c_,
                               int accumulate)
{
    const attn__real *a = (const attn__real *)a_;
    attn__real *c = (attn__real *)c_;
    for (; m > 0; a += 4 * ATTN__TILE_STRIDE, c += 4 * ATTN__TILE_STRIDE) {
        const size_t n = m < 4 ? m : 4;
        switch (n + (keys->dtype == ATTN_F16 ? 4 : keys->dtype == ATTN_BF16 ? 8 : 0)) {
#define ATTN__OF(i, first, dtype)                                                                                      \
    case i + 1 + first:                                                                                                \
        if (!ATTN__F64 || !first) ATTN__V(dot_tile)(i + 1, dtype, depth, a, keys, c, accumulate);                      \
        break;
#define ATTN__X(i) ATTN__OF(i, 0, ATTN__DTYPE) ATTN__OF(i, 4, ATTN_F16) ATTN__OF(i, 8, ATTN_BF16)
            ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
#undef ATTN__OF
        default: break;
        }
        if (depth % ATTN__QUAD) ATTN__V(dot_rest)(n, depth / ATTN__QUAD * ATTN__QUAD, depth, a, keys, c);
        m -= n;
    }
}

/* Products of one row with the first `chains` of n columns, or all, added to those in `from` if that is not NULL.
 * Goes on to the end of a vector. `chains` is a constant. */
ATTN__INLINE void ATTN__V(dot_chains)(const size_t chains, size_t n, size_t depth, const attn__real *q,
                                      const attn__real *keys, ptrdiff_t stride, const attn__real *from, attn__real *to)
{
#define ATTN__X(i)                                                                                                     \
    const attn__real *key##i = keys + (i < n && i < chains ? i : 0) * stride;                                          \
    attn__vec c##i = attn__vset1(from && i < n && i < chains ? from[i] : 0);
    ATTN__REPEAT_8(ATTN__X)
#undef ATTN__X
    for (size_t k = 0; k < depth; k++) {
        const attn__vec factor = attn__vset1(q[k]);
#define ATTN__X(i)                                                                                                     \
    if (i < chains) c##i = attn__vfma(factor, attn__vset1(key##i[k]), c##i);
        ATTN__REPEAT_8(ATTN__X)
#undef ATTN__X
    }
#define ATTN__X(i)                                                                                                     \
    if (i < chains) attn__vstore(to + i, c##i); /* in all lanes, of which the first is to stay */
    ATTN__REPEAT_8(ATTN__X)
#undef ATTN__X
}
/* Of fewer than VL columns. */
ATTN__NOINLINE static void ATTN__V(dot_few)(size_t n, size_t depth, const attn__real *q, const attn__real *keys,
                                            ptrdiff_t stride, attn__real *scores, int accumulate)
{
    const attn__real *from = accumulate ? scores : NULL;
    attn__real sums[2 * ATTN__VL + 8]; /* as those that are still to be added to lie behind */
    if (n == 1) ATTN__V(dot_chains)(1, n, depth, q, keys, stride, from, scores);
    else if (n <= 4) ATTN__V(dot_chains)(4, n, depth, q, keys, stride, from, scores);
    if (n <= 4) return;
    for (size_t j = 0; j < n; j += 8)
        ATTN__V(dot_chains)(8, n - j, depth, q, keys + (ptrdiff_t)j * stride, stride, from ? from + j : NULL, sums + j);
    for (size_t j = 0; j < n; j++) scores[j] = sums[j];
}

static void ATTN__V(dot_keys)(size_t m, size_t n, size_t depth, const void *a_, const void *keys, attn_dtype dtype,
                              ptrdiff_t stride, attn__column_kind kind, void *c_, int accumulate)
{
    const attn__real *a = (const attn__real *)a_;
    const ptrdiff_t distance = stride * (ptrdiff_t)attn_dtype_size(dtype);
    attn__real *c = (attn__real *)c_;
    attn__columns panel;
    size_t j, i;
    panel.stride = stride;
    panel.dtype = dtype;
    panel.kind = kind;
    for (i = 0; i < 2; i++) panel.at[i] = (const char *)keys + (ptrdiff_t)(i * ATTN__VL) * distance;
    for (i = 0; i < 4; i++) /* the panel after the next */
        panel.after[i] = (uintptr_t)keys + (2 * ATTN__NR + i * ATTN__NR / 4) * (uintptr_t)distance;
    for (j = 0; j + ATTN__NR <= n; j += ATTN__NR) {
        ATTN__V(dot_panel)(m, depth, a, &panel, c + j, accumulate);
        for (i = 0; i < 2; i++) panel.at[i] += ATTN__NR * distance;
        for (i = 0; i < 4 && kind >= ATTN__COLUMNS_MANY; i++) panel.after[i] += ATTN__NR * (uintptr_t)distance;
    }
    /* the rest: keys up to the last, some perhaps again, in the second vector of a panel */
    if (j < n && n >= ATTN__VL) {
        panel.kind = ATTN__COLUMNS_NEAR;
        panel.at[1] = (const char *)keys + (ptrdiff_t)(n - ATTN__VL) * distance;
        panel.at[0] = n - j > ATTN__VL ? (const char *)keys + (ptrdiff_t)j * distance : panel.at[1];
        for (i = 0; i < m && accumulate; i++, c += ATTN__TILE_STRIDE)
            attn__vstore(c + j + ATTN__VL, attn__vload(c + n - ATTN__VL));
        c = (attn__real *)c_;
        ATTN__V(dot_panel)(m, depth, a, &panel, c + j, accumulate);
        for (i = 0; i < m; i++, c += ATTN__TILE_STRIDE) /* but those that are done already */
            for (size_t k = n - ATTN__VL > j ? n - ATTN__VL : j; k < n; k++) c[k] = c[k + j + ATTN__NR - n];
        return;
    }
    for (i = 0; i < m && j < n && dtype == ATTN__DTYPE; i++) ATTN__V(dot_few)
    (n - j, depth, a + i * ATTN__TILE_STRIDE, (const attn__real *)keys + (ptrdiff_t)j * stride, stride,
     c + i * ATTN__TILE_STRIDE + j, accumulate);
    for (size_t k = 0; j < n && dtype != ATTN__DTYPE && (k < depth || k == 0);
         k += 64) { /* a few, with what is missing 0, a piece of the depth at a time */
        attn__real piece[ATTN__NR][64];
        const size_t part = depth - k < 64 ? depth - k : 64;
        for (i = 0; i < n - j; i++) ATTN__V(load_row)
        (piece[i],
         (const char *)keys + (ptrdiff_t)(j + i) * distance + (ptrdiff_t)k * (ptrdiff_t)attn_dtype_size(dtype), dtype,
         1, part);
        for (; i < ATTN__NR; i++) attn__memset(piece[i], 0, part * sizeof piece[i][0]);
        panel.at[0] = (const char *)piece[0];
        panel.at[1] = (const char *)piece[ATTN__VL];
        panel.stride = 64;
        panel.dtype = ATTN__DTYPE;
        panel.kind = ATTN__COLUMNS_NEAR;
        ATTN__V(dot_panel)(m, part, a + k, &panel, c + j, accumulate || k);
    }
}

/* The same chains for one row, `vecs` vectors of b at a time. Returns how many columns those are. */
ATTN__INLINE size_t ATTN__V(add_row)(const size_t vecs, size_t n, size_t depth, const attn__real *a,
                                     const attn__real *b, size_t stride, uintptr_t ahead, attn__real *c, int accumulate)
{
    const int fetches = n <= ATTN__BLOCK; /* memory is fastest along longer ones */
    attn__vec sum[8];
    size_t j = 0;
    for (; j + vecs * ATTN__VL <= n; j += vecs * ATTN__VL) {
        const attn__real *at = b + j;
#define ATTN__X(i)                                                                                                     \
    if (vecs > i) sum[i] = accumulate ? attn__vload(c + j + i * ATTN__VL) : attn__vset1(0);
        ATTN__REPEAT_8(ATTN__X)
#undef ATTN__X
        for (size_t k = 0; k < depth; k++, at += stride) {
            const attn__vec factor = attn__vset1(a[k]);
            for (size_t i = 0; fetches && i < vecs * ATTN__VL; i += 64 / sizeof *at)
                ATTN__PREFETCH((const char *)(at + i), ahead);
#define ATTN__X(i)                                                                                                     \
    if (vecs > i) sum[i] = attn__vfma(factor, attn__vload(at + i * ATTN__VL), sum[i]);
            ATTN__REPEAT_8(ATTN__X)
#undef ATTN__X
        }
#define ATTN__X(i)                                                                                                     \
    if (vecs > i) attn__vstore(c + j + i * ATTN__VL, sum[i]);
        ATTN__REPEAT_8(ATTN__X)
#undef ATTN__X
    }
    return j;
}

/* The same of as many as are whole vectors. */
ATTN__NOINLINE static size_t ATTN__V(add_columns)(size_t n, size_t depth, const attn__real *a, const attn__real *b,
                                                  size_t stride, uintptr_t ahead, attn__real *c, int accumulate)
{
    size_t done = ATTN__V(add_row)(8, n, depth, a, b, stride, ahead, c, accumulate);
    done += ATTN__V(add_row)(4, n - done, depth, a, b + done, stride, ahead, c + done, accumulate);
    return done + ATTN__V(add_row)(1, n - done, depth, a, b + done, stride, ahead, c + done, accumulate);
}

static void ATTN__V(add_values)(size_t m, size_t n, size_t depth, const void *a_, const void *values, attn_dtype dtype,
                                size_t stride, uintptr_t ahead, void *c_, size_t ldc, int accumulate)
{
    size_t rows;
    const attn__real *a = (const attn__real *)a_;
    attn__real *c = (attn__real *)c_;
    if (m == 1 && dtype == ATTN__DTYPE) {
        const attn__real *b = (const attn__real *)values;
        const size_t done = ATTN__V(add_columns)(n, depth, a, b, stride, ahead, c, accumulate);
        values = (const attn__real *)values + done;
        c += done;
        n -= done;
    }
    for (; m > 0; m -= rows, a += rows * ATTN__TILE_STRIDE, c += rows * ldc) {
        rows = attn__tile_rows(m, attn_dtype_size(dtype) == 2 ? 4 : ATTN__MR);
#if ATTN__F64
        ATTN__V(multiply_ahead)(rows, n, depth, a, values, stride, ATTN__NR, ahead, c, ldc, accumulate);
#else
        const char *b = (const char *)values;
        size_t j;
        if (dtype == ATTN_F32)
            ATTN__V(multiply_ahead)(rows, n, depth, a, values, stride, ATTN__NR, ahead, c, ldc, accumulate);
#define ATTN__HALVES_OF_VALUES(dtype)                                                                                  \
    ATTN__V(any_tile)                                                                                                  \
    (rows, 1, ATTN__TILE_STRIDE, dtype, depth, a, 0, b, stride, ahead, c + j, ldc, accumulate, NULL, NULL, 0)
        for (j = 0; j < n && dtype != ATTN_F32; j += ATTN__NR, b += ATTN__NR * sizeof(uint16_t))
            if (dtype == ATTN_F16) ATTN__HALVES_OF_VALUES(ATTN_F16);
            else ATTN__HALVES_OF_VALUES(ATTN_BF16);
#undef ATTN__HALVES_OF_VALUES
#endif
    }
}
#if !ATTN__F64 && defined(ATTN__OWN_BYTES)
/* VL scales, or zero points, of rows that are `row` apart. */
ATTN__INLINE attn__vec ATTN__V(load_apart)(const float *at, ptrdiff_t row)
{
    float lane[ATTN__VL];
    if (row == 1) return attn__vload(at);
    if (row == 0) return attn__vset1(*at);
    for (ptrdiff_t i = 0; i < ATTN__VL; i++) lane[i] = at[i * row];
    return attn__vload(lane);
}
ATTN__INLINE attn__vec ATTN__V(load_halves_apart)(const uint8_t *at, ptrdiff_t row, size_t n)
{
    uint16_t lane[ATTN__VL] = {0};
    for (size_t i = 0; i < ATTN__VL && i < n; i++) attn__memcpy(&lane[i], at + (ptrdiff_t)i * row, sizeof *lane);
    return ATTN__V(load_f16)(lane);
}

/* dot_tile for elements of 8 bits: of 16 bytes of VL keys, a vector has 4 from each, and gives them one by one; int8 as
 * multiples of 2^24, which scales make up for. `like` is a constant: ATTN_I8 (also for blocks), ATTN_U8, or
 * ATTN_F8_E4M3 (also for e5m2). 0, and nothing done, where a scale is too small for that, or a float not finite. */
ATTN__INLINE int ATTN__V(dot_codes_tile)(const int height, const attn_dtype like, size_t depth, const float *a,
                                         const attn__codes panel[2], size_t first, float *c, int accumulate)
{
    const attn__codes *codes = panel;
    const int blocks = like == ATTN_I8 && codes->dtype == ATTN_Q8_0, floats = like == ATTN_F8_E4M3,
              mantissa = codes->dtype == ATTN_F8_E4M3 ? 3 : 2;
    const size_t group = blocks ? ATTN__Q8_BLOCK : codes->group, row = (size_t)codes->row;
    const ptrdiff_t apart = panel[1].at - panel[0].at;
    const attn__vec up = attn__vset1(16777216), down = attn__vset1(1.0f / 16777216);
    attn__vec special = attn__vset1(0), scale[2], zero[2], turned[2][4];
    uintptr_t after = (uintptr_t)codes->at + codes->ahead;
    size_t at = 0;
    float lane[ATTN__VL];
    uint32_t any = 0;
#define ATTN__X(i)                                                                                                     \
    attn__vec c##i##0 = attn__vset1(0), c##i##1 = c##i##0;                                                             \
    if (height > i && accumulate)                                                                                      \
        c##i##0 = attn__vload(c + i * ATTN__TILE_STRIDE), c##i##1 = attn__vload(c + i * ATTN__TILE_STRIDE + ATTN__VL);
    ATTN__REPEAT_4(ATTN__X);
#undef ATTN__X
    for (size_t k = first, end = first + depth, next; k < end; k = next) { /* what shares a scale */
        const ptrdiff_t g = (ptrdiff_t)(k / group);
        const uint8_t *keys = blocks ? codes->at + g * codes->step + 2 + k % ATTN__Q8_BLOCK : codes->at + k;
        next = ((size_t)g + 1) * group < end ? ((size_t)g + 1) * group : end;
        for (int v = 0; v < 2; v++) {
            attn__vec s = attn__vset1(1), rest;
            if (blocks) s = ATTN__V(load_halves_apart)(panel[v].at + g * codes->step, codes->row, ATTN__VL);
            else if (codes->scale) s = ATTN__V(load_apart)(panel[v].scale + g * codes->scale_step, codes->scale_row);
            zero[v] = attn__vset1(0);
            if (like == ATTN_U8 && codes->zero)
                zero[v] = ATTN__V(load_apart)(panel[v].zero + g * codes->zero_step, codes->zero_row);
            scale[v] = s;
            if (like != ATTN_I8) continue;
            scale[v] = attn__vmul(s, down);
            rest = attn__vsub(s, attn__vmul(scale[v], up));
            special = attn__vmax(special, attn__vmax(rest, attn__vsub(attn__vset1(0), rest)));
        }
        for (; k < next; k += 16, keys += 16) {
            for (int v = 0; v < 2; v++) {
                ATTN__V(turn_bytes)(keys + v * apart, codes->row, turned[v]);
                for (int w = 0; w < 4 && floats; w++) special = ATTN__V(note_special)(special, turned[v][w], mantissa);
            }
            for (size_t j = 0; j < ATTN__NR * 16; j += 64) { /* the panel after the next */
                ATTN__PREFETCH((const char *)after, at);
                at += 64;
                if (at >= depth) at = 0, after += row;
            }
#define ATTN__ROW(i)                                                                                                   \
    if (height > i) {                                                                                                  \
        const attn__vec ai = attn__vset1(a[i * ATTN__TILE_STRIDE]);                                                    \
        c##i##0 = attn__vfma(ai, x, c##i##0);                                                                          \
        c##i##1 = attn__vfma(ai, y, c##i##1);                                                                          \
    }
#define ATTN__OF(v, n)                                                                                                 \
    (floats            ? ATTN__V(float_byte)(turned[v][w], n, mantissa)                                                \
     : like == ATTN_I8 ? ATTN__V(signed_byte)(turned[v][w], n)                                                         \
                       : attn__vsub(ATTN__V(unsigned_byte)(turned[v][w], n), zero[v]))
#define ATTN__COLUMN(n)                                                                                                \
    {                                                                                                                  \
        const attn__vec x = attn__vmul(ATTN__OF(0, n), scale[0]), y = attn__vmul(ATTN__OF(1, n), scale[1]);            \
        ATTN__REPEAT_4(ATTN__ROW)                                                                                      \
        a++;                                                                                                           \
    }
            for (int w = 0; w < 4; w++) {
                ATTN__COLUMN(0) ATTN__COLUMN(1) ATTN__COLUMN(2) ATTN__COLUMN(3)
            }
#undef ATTN__COLUMN
#undef ATTN__OF
#undef ATTN__ROW
        }
    }
    attn__vstore(lane, special);
    for (int i = 0; i < ATTN__VL; i++) any |= attn__bits_f32(lane[i]);
    if (any & (floats ? 0x80808080u : 0x7fffffffu)) return 0;
#define ATTN__X(i)                                                                                                     \
    if (height > i)                                                                                                    \
        attn__vstore(c + i * ATTN__TILE_STRIDE, c##i##0), attn__vstore(c + i * ATTN__TILE_STRIDE + ATTN__VL, c##i##1);
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
    return 1;
}

/* Sums c##i##v of up to 4 rows i and 4 vectors v. */
#define ATTN__SUMS_OF(i) ATTN__SUM(i, 0) ATTN__SUM(i, 1) ATTN__SUM(i, 2) ATTN__SUM(i, 3)
#define ATTN__SUMS ATTN__SUMS_OF(0) ATTN__SUMS_OF(1) ATTN__SUMS_OF(2) ATTN__SUMS_OF(3)
/* Those of vector v, or vectors of one element, times weights a##i. */
#define ATTN__ADD(i, v)                                                                                                \
    if (height > i) c##i##v = attn__vfma(a##i, x, c##i##v);
#define ATTN__ADD_TO(v) ATTN__ADD(0, v) ATTN__ADD(1, v) ATTN__ADD(2, v) ATTN__ADD(3, v)
#define ATTN__ROW(i) const attn__vec a##i = attn__vset1(a[height > i ? i * ATTN__TILE_STRIDE : 0]);

/* add_values for elements of 8 bits: of vectors of columns, each of which has one scale in each row. `dtype` is a
 * constant; blocks are int8 whose scales stand beside them. */
ATTN__INLINE void ATTN__V(add_codes_tile)(const int height, const int vecs, const attn_dtype dtype, size_t depth,
                                          const float *a, const attn__codes *codes, const attn__code_places *places,
                                          float *c, size_t ldc, int accumulate)
{
    const attn__vec none = attn__vset1(0);
    const attn__code_places from = *places;
    const int zeros = dtype == ATTN_U8 && codes->zero;
    const ptrdiff_t scale_row = codes->scale ? codes->scale_row : 0;
#define ATTN__SUM(i, v)                                                                                                \
    attn__vec c##i##v = none;                                                                                          \
    if (height > i && vecs > v && accumulate) c##i##v = attn__vload(c + i * ldc + v * ATTN__VL);
    ATTN__SUMS
#undef ATTN__SUM
    for (ptrdiff_t k = 0; k < (ptrdiff_t)depth; k++, a++) {
        ATTN__REPEAT_4(ATTN__ROW)
        ATTN__PREFETCH((const char *)from.at[0] + k * codes->row, codes->ahead);
#define ATTN__OF(v)                                                                                                    \
    if (vecs > v) {                                                                                                    \
        attn__vec x = ATTN__V(load_code)(from.at[v] + k * codes->row, dtype);                                          \
        if (zeros) x = attn__vsub(x, attn__vset1(from.zero[v][k * codes->zero_row]));                                  \
        x = attn__vmul(x, attn__vset1(from.scale[v][k * scale_row]));                                                  \
        ATTN__ADD_TO(v)                                                                                                \
    }
        ATTN__OF(0) ATTN__OF(1) ATTN__OF(2) ATTN__OF(3)
#undef ATTN__OF
    }
#define ATTN__SUM(i, v)                                                                                                \
    if (height > i && vecs > v) attn__vstore(c + i * ldc + v * ATTN__VL, c##i##v);
    ATTN__SUMS
#undef ATTN__SUM
}
#undef ATTN__ROW
#undef ATTN__ADD_TO
#undef ATTN__ADD
#undef ATTN__SUMS
#undef ATTN__SUMS_OF

/* Can columns [first, first + n) be used where they lie, `each` at a time with one scale? */
static int ATTN__V(codes_in_place)(const attn__codes *codes, size_t first, size_t n, size_t each)
{
    if (codes->dtype == ATTN_Q8_0) return codes->step == 34 && first % each == 0;
    if (codes->step != 1 || (codes->zero && codes->dtype != ATTN_U8)) return 0;
    return (codes->group % each == 0 || codes->group >= first + n) && n % each == 0 && first % each == 0;
}
static int ATTN__V(dot_codes)(size_t m, size_t depth, const float *a, const attn__codes panel[2], size_t first,
                              float *c, int accumulate)
{
    const int floats = panel->dtype == ATTN_F8_E4M3 || panel->dtype == ATTN_F8_E5M2;
    size_t height;
    if (!ATTN__V(codes_in_place)(panel, first, depth, 16)) return 0;
    for (; m > 0; m -= height, a += height * ATTN__TILE_STRIDE, c += height * ATTN__TILE_STRIDE) {
        int done = 0; /* or not, by the first rows already */
        height = m < 2 ? 1 : m < 4 ? 2 : 4;
        switch (height + (panel->dtype == ATTN_U8 ? 8 : floats ? 16 : 0)) {
#define ATTN__OF(number, height, like)                                                                                 \
    case (number) + (height):                                                                                          \
        done = ATTN__V(dot_codes_tile)(height, like, depth, a, panel, first, c, accumulate);                           \
        break;
#define ATTN__X(number, like) ATTN__OF(number, 1, like) ATTN__OF(number, 2, like) ATTN__OF(number, 4, like)
            ATTN__X(0, ATTN_I8)
            ATTN__X(8, ATTN_U8)
            ATTN__X(16, ATTN_F8_E4M3)
#undef ATTN__X
#undef ATTN__OF
        default: break;
        }
        if (!done) return 0;
    }
    return 1;
}
static int ATTN__V(add_codes)(size_t m, size_t n, size_t depth, const float *a, const attn__codes *codes, float *c,
                              size_t ldc, int accumulate)
{
    const int blocks = codes->dtype == ATTN_Q8_0;
    const attn_dtype like = blocks ? ATTN_I8 : codes->dtype;
    const int wide = m <= 2 && (like == ATTN_I8 || like == ATTN_U8);
    attn__codes from = *codes;
    float room[2 * ATTN__CODE_ROWS], one = 1;
    attn__code_places places;
    size_t width, height;
    if (!ATTN__V(codes_in_place)(codes, 0, n, ATTN__VL)) return 0;
    for (size_t j = 0; j < n; j += width) {
        size_t column = j;
        width = wide && n - j >= 2 * ATTN__NR ? 2 * ATTN__NR : ATTN__NR; /* a sum waits for the one before */
        if (blocks) {                                                    /* the scales of up to two */
            from.at = codes->at + (ptrdiff_t)(j / ATTN__Q8_BLOCK) * codes->step;
            from.group = ATTN__Q8_BLOCK;
            from.scale = room, from.scale_row = 1, from.scale_step = ATTN__CODE_ROWS;
            column = j % ATTN__Q8_BLOCK;
            for (size_t k = 0; k < depth; k += ATTN__VL)
                for (size_t b = 0; b * ATTN__Q8_BLOCK < column + width; b++)
                    attn__vstore(
                        room + b * ATTN__CODE_ROWS + k,
                        ATTN__V(load_halves_apart)(from.at + (ptrdiff_t)b * from.step + (ptrdiff_t)k * from.row,
                                                   from.row, depth - k));
        }
        for (size_t v = 0; v * ATTN__VL < width; v++) {
            const ptrdiff_t at = (ptrdiff_t)(column + v * ATTN__VL), g = at / (ptrdiff_t)from.group;
            places.at[v] = from.at + (blocks ? g * from.step + 2 + at % ATTN__Q8_BLOCK : at);
            places.scale[v] = from.scale ? from.scale + g * from.scale_step : &one;
            places.zero[v] = from.zero ? from.zero + g * from.zero_step : NULL;
        }
        for (size_t r = 0; r < m; r += height) {
            const float *rows = a + r * ATTN__TILE_STRIDE;
            float *to = c + r * ldc + j;
            height = m - r < 2 ? 1 : m - r < 4 ? 2 : 4;
            switch ((size_t)like * 8 + height + (width > ATTN__NR ? 4 : 0)) {
#define ATTN__OF(dtype, height, vecs)                                                                                  \
    case (dtype) * 8 + (height) + ((vecs) > 2 ? 4 : 0):                                                                \
        ATTN__V(add_codes_tile)(height, vecs, dtype, depth, rows, &from, &places, to, ldc, accumulate);                \
        break;
#define ATTN__X(dtype) ATTN__OF(dtype, 1, 2) ATTN__OF(dtype, 2, 2) ATTN__OF(dtype, 4, 2)
#define ATTN__WIDE(dtype) ATTN__X(dtype) ATTN__OF(dtype, 1, 4) ATTN__OF(dtype, 2, 4)
                ATTN__WIDE(ATTN_I8)
                ATTN__WIDE(ATTN_U8)
                ATTN__X(ATTN_F8_E4M3)
                ATTN__X(ATTN_F8_E5M2)
#undef ATTN__WIDE
#undef ATTN__X
#undef ATTN__OF
            default: break;
            }
        }
    }
    return 1;
}
#endif
#endif

/* exp and tanh: see attn__exp_f64 and attn__tanh_f64 for the methods. A few vectors go step by step: of chains so long
 * machines see few at a time. */
ATTN__INLINE void ATTN__V(exp_reduce)(const int vecs, attn__vec *x, attn__vec *t, attn__vec *p)
{
    const attn__vec magic = attn__vset1(ATTN__C(MAGIC)), first = attn__vset1(ATTN__C(EXP_FIRST));
    attn__vec n[4], c;
#define ATTN__X(i)                                                                                                     \
    if (vecs > i) t[i] = attn__vfma(x[i], attn__vset1(ATTN__C(LOG2E)), magic);
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
#define ATTN__X(i)                                                                                                     \
    if (vecs > i) n[i] = attn__vsub(t[i], magic), p[i] = first;
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
#define ATTN__X(i)                                                                                                     \
    if (vecs > i) x[i] = attn__vfma(n[i], attn__vset1(-ATTN__C(LN2_HI)), x[i]);
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
#define ATTN__X(i)                                                                                                     \
    if (vecs > i) x[i] = attn__vfma(n[i], attn__vset1(-ATTN__C(LN2_LO)), x[i]);
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
#define ATTN__Y(i)                                                                                                     \
    if (vecs > i) p[i] = attn__vfma(p[i], x[i], c);
#define ATTN__X(coefficient)                                                                                           \
    c = attn__vset1(coefficient);                                                                                      \
    ATTN__REPEAT_4(ATTN__Y)
    ATTN__C(EXP_COEFFICIENTS)(ATTN__X)
#undef ATTN__X
#undef ATTN__Y
}
ATTN__INLINE void ATTN__V(exp_some)(const int vecs, attn__vec *x)
{
    const attn__vec one = attn__vset1(1), zero = attn__vset1(0), least = attn__vset1(ATTN__C(EXP_MIN));
    attn__vec r[4], t[4], p[4];
#define ATTN__X(i)                                                                                                     \
    if (vecs > i) r[i] = attn__vmax(x[i], attn__vset1(2 * ATTN__C(EXP_MIN))); /* no overflow: it may trap */
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
    ATTN__V(exp_reduce)(vecs, r, t, p);
#define ATTN__X(i)                                                                                                     \
    if (vecs > i) p[i] = attn__vfma(p[i], r[i], one);
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
#define ATTN__X(i)                                                                                                     \
    if (vecs > i) x[i] = attn__vchoose(attn__vexp2i(p[i], t[i]), x[i], least, zero);
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
}
ATTN__INLINE void ATTN__V(exp2_some)(const int vecs, attn__vec *x)
{
    const attn__vec magic = attn__vset1(ATTN__C(MAGIC)), least = attn__vset1(ATTN__C(EXP2_MIN)),
                    first = attn__vset1(ATTN__C(EXP2_FIRST));
    attn__vec t[4], p[4], c;
#define ATTN__X(i)                                                                                                     \
    if (vecs > i) x[i] = attn__vmax(least, x[i]), t[i] = attn__vadd(x[i], magic);
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
#define ATTN__X(i)                                                                                                     \
    if (vecs > i) x[i] = attn__vsub(x[i], attn__vsub(t[i], magic)), p[i] = first;
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
#define ATTN__Y(i)                                                                                                     \
    if (vecs > i) p[i] = attn__vfma(p[i], x[i], c);
#define ATTN__X(coefficient)                                                                                           \
    c = attn__vset1(coefficient);                                                                                      \
    ATTN__REPEAT_4(ATTN__Y)
    ATTN__C(EXP2_COEFFICIENTS)
    (ATTN__X)
#undef ATTN__X
#undef ATTN__Y
#define ATTN__X(i)                                                                                                     \
    if (vecs > i) x[i] = attn__vexp2i(p[i], t[i]);
        ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
}
/* As many as go step by step. Lane by lane, a call costs nothing beside what it does, and a copy in each place would
 * take as much code as all else. */
#define ATTN__LOCKSTEP (ATTN__VL > 1 ? 4 : 2)
#if ATTN__VL > 1
#define ATTN__LOCKED ATTN__INLINE
#else
#define ATTN__LOCKED ATTN__NOINLINE static
#endif
ATTN__LOCKED void ATTN__V(exp2_lockstep)(attn__vec *x) { ATTN__V(exp2_some)(ATTN__LOCKSTEP, x); }
ATTN__LOCKED void ATTN__V(exp_lockstep)(attn__vec *x) { ATTN__V(exp_some)(ATTN__LOCKSTEP, x); }
ATTN__LOCKED void ATTN__V(exp2_alone)(attn__vec *x) { ATTN__V(exp2_some)(1, x); }
ATTN__LOCKED attn__vec ATTN__V(exp)(attn__vec x)
{
    ATTN__V(exp_some)(1, &x);
    return x;
}
ATTN__INLINE void ATTN__V(exp_four)(attn__vec *x)
{
    ATTN__V(exp_lockstep)(x);
    if (ATTN__LOCKSTEP < 4) ATTN__V(exp_lockstep)(x + 4 - ATTN__LOCKSTEP);
}
#undef ATTN__LOCKED
ATTN__INLINE void ATTN__V(tanh_pair)(attn__vec *x)
{
    const attn__vec zero = attn__vset1(0), one = attn__vset1(1), two = attn__vset1(2),
                    limit = attn__vset1(ATTN__C(TANH_MIN));
    attn__vec t[2], p[2], r[2], e[2];
#define ATTN__X(i)                                                                                                     \
    {                                                                                                                  \
        r[i] = attn__vsub(zero, attn__vmax(x[i], attn__vsub(zero, x[i]))); /* -|x| */                                  \
        r[i] = attn__vmax(limit, attn__vadd(r[i], r[i]));                  /* NaN stays */                             \
    }
    ATTN__REPEAT_2(ATTN__X)
#undef ATTN__X
    ATTN__V(exp_reduce)(2, r, t, p);
#define ATTN__X(i)                                                                                                     \
    {                                                                                                                  \
        e[i] = attn__vexp2i(one, t[i]);                                                                                \
        e[i] = attn__vfma(e[i], attn__vmul(p[i], r[i]), attn__vsub(e[i], one));                                        \
        e[i] = attn__vdiv(e[i], attn__vadd(two, e[i]));                                                                \
        x[i] = attn__vchoose(attn__vsub(zero, e[i]), x[i], zero, e[i]);                                                \
    }
    ATTN__REPEAT_2(ATTN__X)
#undef ATTN__X
}

#if ATTN__F64
/* a * b + c with one rounding, in either arithmetic */
ATTN__INLINE attn__vec ATTN__V(exact)(attn__vec a, attn__vec b, attn__vec c)
{
#if ATTN__FUSED
    return attn__vfma(a, b, c);
#else
    ATTN__BY_LANES(a, b, c, attn__fma_f64(x[i], y[i], z[i]));
#endif
}

static void ATTN__V(turns)(double *turn, size_t n, size_t c, double dim_, double log_base_, double log_low_)
{
    const attn__vec dim = attn__vset1(dim_), minus = attn__vset1(-log_base_), log_base = attn__vset1(log_base_),
                    log_low = attn__vset1(log_low_), zero = attn__vset1(0), two = attn__vset1(2);
    for (size_t i = 0; i < n; i += ATTN__VL) {
        const attn__vec twice = attn__vmul(two, attn__vadd(attn__vset1((double)(c + i)), attn__vload(ATTN__COUNT_F64))),
                        share = attn__vdiv(twice, dim);
        /* the exponent in two doubles: its error would grow with the position */
        const attn__vec rest = attn__vdiv(ATTN__V(exact)(attn__vsub(zero, share), dim, twice), dim),
                        exponent = attn__vmul(minus, share),
                        low = attn__vsub(ATTN__V(exact)(minus, share, attn__vsub(zero, exponent)),
                                         ATTN__V(exact)(log_base, rest, attn__vmul(log_low, share))),
                        e = ATTN__V(exp)(exponent);
        attn__vstore(turn + i, ATTN__V(exact)(e, low, e));
    }
}

/* attn__log_f64, of vectors */
static void ATTN__V(logs)(double *x, size_t n)
{
    const attn__vec one = attn__vset1(1), zero = attn__vset1(0);
    double exponent[ATTN__VL];
    for (size_t i = 0; i < n; i += ATTN__VL) {
        attn__vec m, e, s, z, p = attn__vset1(1.0 / 21);
        for (size_t k = 0; k < ATTN__VL; k++) x[i + k] = attn__log_split(x[i + k], &exponent[k]);
        m = attn__vload(x + i);
        e = attn__vload(exponent);
        s = attn__vdiv(attn__vsub(m, one), attn__vadd(m, one));
        z = attn__vmul(s, s);
        for (int k = 19; k >= 3; k -= 2) p = attn__vfma(p, z, attn__vset1(1.0 / k));
        p = attn__vfma(p, z, zero);
        s = attn__vadd(s, s);
        p = attn__vfma(s, p, attn__vfma(e, attn__vset1(ATTN__LN2_LO_F64), s));
        attn__vstore(x + i, attn__vfma(e, attn__vset1(ATTN__LN2_HI_F64), p));
    }
}

/* For |x| <= 2^31: x = q pi/2 + r, pi/2 in three parts of 33 bits and more, so that q times the first two is exact;
 * then the Taylor series on |r| <= pi/4, whose next terms are below 2^-58. */
static void ATTN__V(cosines)(double *cosine, double *sine, const double *turn, double position, size_t n)
{
    const attn__vec magic = attn__vset1(ATTN__MAGIC_F64), one = attn__vset1(1), at = attn__vset1(position);
    double quarter[ATTN__VL];
    for (size_t i = 0; i < n; i += ATTN__VL) {
        const attn__vec x = attn__vmul(at, attn__vload(turn + i)),
                        t = attn__vfma(x, attn__vset1(0.63661977236758134), magic), q = attn__vsub(t, magic);
        attn__vec r, z, s = attn__vset1(0), c = s;
        r = ATTN__V(exact)(q, attn__vset1(-1.57079632673412561417), x);
        r = ATTN__V(exact)(q, attn__vset1(-6.07710050630396597660e-11), r);
        r = ATTN__V(exact)(q, attn__vset1(-2.02226624879595063154e-21), r);
        z = attn__vmul(r, r);
        for (int k = 20; k >= 2; k -= 2) {
            c = attn__vmul(attn__vfma(c, z, one), attn__vset1(-1.0 / (k * (k - 1))));
            if (k > 2) s = attn__vmul(attn__vfma(s, z, one), attn__vset1(-1.0 / ((k - 1) * (k - 2))));
        }
        attn__vstore(sine + i, attn__vfma(attn__vmul(s, z), r, r));
        attn__vstore(cosine + i, attn__vfma(c, z, one));
        attn__vstore(quarter, t);
        for (int k = 0; k < ATTN__VL; k++) { /* which of the four: its last two bits */
            const uint64_t turned = attn__bits_f64(quarter[k]), swap = 0 - (turned & 1),
                           u = attn__bits_f64(sine[i + (size_t)k]), v = attn__bits_f64(cosine[i + (size_t)k]);
            sine[i + (size_t)k] = attn__from_bits_f64(((u & ~swap) | (v & swap)) ^ (turned >> 1 & 1) << 63);
            cosine[i + (size_t)k] =
                attn__from_bits_f64(((v & ~swap) | (u & swap)) ^ ((turned >> 1 ^ turned) & 1) << 63);
        }
    }
}

/* `minus` is -1 */
ATTN__INLINE void ATTN__V(rotate_pair)(attn__vec pair[2], attn__vec cosine, attn__vec sine, attn__vec minus)
{
    const attn__vec x = attn__vfma(pair[0], cosine, attn__vmul(pair[1], attn__vmul(sine, minus)));
    pair[1] = attn__vfma(pair[0], sine, attn__vmul(pair[1], cosine));
    pair[0] = x;
}

static int ATTN__V(rotate)(double *u, double *v, const double *cosine, const double *sine, size_t n, int interleaved,
                           double limit)
{
    const attn__vec zero = attn__vset1(0), most = attn__vset1(limit), minus = attn__vset1(-1);
    attn__vec pair[2], bad = zero;
    double sum;
    for (size_t i = 0; i < n; i += ATTN__VL) {
        const attn__vec c = attn__vload(cosine + i), s = attn__vload(sine + i);
        if (interleaved) ATTN__V(transpose)(u + 2 * i, 2, pair);
        else pair[0] = attn__vload(u + i), pair[1] = attn__vload(v + i);
        ATTN__V(rotate_pair)(pair, c, s, minus);
        attn__vstore(u + i, pair[0]);
        attn__vstore(v + i, pair[1]);
        bad = attn__vadd(attn__vfma(attn__vmul(pair[0], most), zero, attn__vmul(attn__vmul(pair[1], most), zero)), bad);
    }
    sum = attn__vsum_across(bad);
    return !(sum >= 0 && sum <= 0);
}

static int ATTN__V(narrow)(float *to, const double *from, size_t n)
{
    const attn__vec zero = attn__vset1(0), one = attn__vset1(1),
                    least = attn__vset1(attn__from_bits_f64((uint64_t)(1023 - 126) << 52));
    attn__vec tiny = zero;
    for (size_t i = 0; i < n; i += ATTN__VL) {
        const attn__vec x = attn__vload(from + i), size = attn__vmax(x, attn__vsub(zero, x));
        tiny = attn__vchoose(tiny, attn__vchoose(one, zero, size, size), least, one);
        ATTN__V(store_odd)(to + i, x);
    }
    return attn__vsum_across(tiny) > 0;
}

static int ATTN__V(rotate_singles)(float *y, const float *x, const double *cosine, const double *sine, size_t n,
                                   size_t apart)
{
    const size_t all = apart == 1 ? 2 * n : n, second = apart == 1 ? ATTN__VL : apart;
    const attn__vec minus = attn__vset1(-1);
    attn__vec pair[2], other[2], bad = attn__vset1(0);
    double sum;
    for (size_t i = 0; i < all; i += apart == 1 ? 2 * ATTN__VL : ATTN__VL) { /* two vectors before either is stored */
        if (apart == 1) {
            ATTN__V(load_twice)(x, i, pair);
            ATTN__V(load_twice)(x, i + ATTN__VL, other);
            pair[0] = attn__vfma(pair[0], attn__vload(cosine + i), attn__vmul(pair[1], attn__vload(sine + i)));
            pair[1] = attn__vfma(other[0], attn__vload(cosine + i + ATTN__VL),
                                 attn__vmul(other[1], attn__vload(sine + i + ATTN__VL)));
        } else {
            pair[0] = ATTN__V(load_f32)(x + i), pair[1] = ATTN__V(load_f32)(x + apart + i);
            ATTN__V(rotate_pair)(pair, attn__vload(cosine + i), attn__vload(sine + i), minus);
        }
        bad = attn__vadd(attn__vadd(attn__vsub(pair[0], pair[0]), attn__vsub(pair[1], pair[1])), bad);
        ATTN__V(store_f32)(y + i, pair[0]);
        ATTN__V(store_f32)(y + i + second, pair[1]);
    }
    sum = attn__vsum_across(bad);
    return !(sum >= 0 && sum <= 0);
}
#endif

static void ATTN__V(softcap)(void *row_, size_t n, double softcap)
{
    attn__real *row = (attn__real *)row_;
    const attn__real reciprocal = (attn__real)(1 / softcap);
    const int beyond = !ATTN__FUNCTION(finite)(reciprocal), divides = beyond && (attn__real)softcap > 0;
    /* where it is too large, a quotient tells, and where the softcap is 0 in T, all is 0 times what is finite */
    const attn__vec cap = attn__vset1((attn__real)softcap), zero = attn__vset1(0),
                    inverse = attn__vset1(beyond ? -ATTN__C(MASKED) : reciprocal);
    attn__vec x[2], y[2];
#define ATTN__X(v)                                                                                                     \
    x[v] = attn__vload(row + i + v * ATTN__VL), y[v] = divides ? attn__vdiv(x[v], cap) : attn__vmul(x[v], inverse);
#define ATTN__Y(v)                                                                                                     \
    attn__vstore(row + i + v * ATTN__VL, attn__vfma(x[v], zero, attn__vmul(cap, y[v]))); /* NaN for infinity */
    for (size_t i = 0; i < n; i += 2 * ATTN__VL) { /* the last may be alone: two take no longer than one */
        const int two = i + ATTN__VL < n;
        ATTN__X(0)
        x[1] = x[0], y[1] = y[0];
        if (two) {
            ATTN__X(1)
        }
        ATTN__V(tanh_pair)(y);
        ATTN__Y(0)
        if (two) ATTN__Y(1)
    }
#undef ATTN__X
#undef ATTN__Y
}

static void ATTN__V(alibi)(void *bias_, size_t n, int64_t distance, double slope_)
{
    const int64_t whole = (int64_t)1 << (ATTN__F64 ? 52 : 23); /* up to here, floats count without rounding */
    const attn__real slope = (attn__real)slope_;
    const attn__vec zero = attn__vset1(0), lowest = attn__vset1(ATTN__C(MASKED)),
                    beyond = attn__vset1((attn__real)attn__from_bits_f64(0x7ff8000000000000u));
    attn__vec away = zero;
    attn__real *bias = (attn__real *)bias_, lane[ATTN__VL];
    for (size_t i = 0; i < n; i += ATTN__VL, distance -= ATTN__VL) {
        attn__vec b = attn__vadd(attn__vload(bias + i), zero), sum;
        if (i > 0 && distance < whole && distance > -whole) away = attn__vsub(away, attn__vset1(ATTN__VL));
        else {
            for (size_t j = 0; j < ATTN__VL; j++) lane[j] = (attn__real)(distance - (int64_t)j);
            away = attn__vload(lane);
        }
        /* never -0; and in software, multiplying and adding to infinity may trap */
        sum = attn__vfma(attn__vsub(zero, attn__vmax(away, attn__vsub(zero, away))), attn__vset1(slope),
                         attn__vchoose(b, b, lowest, zero));
        /* -inf drops a key. One that the mask keeps stays, and has its row redone: the score may be as large */
        attn__vstore(bias + i, attn__vchoose(attn__vchoose(sum, sum, lowest, beyond), b, lowest, b));
    }
}

static void ATTN__V(join_bias)(void *bias_, const void *other_, size_t n)
{
    const attn__vec lowest = attn__vset1(ATTN__C(MASKED)), dropped = attn__vset1(-(attn__real)attn__infinity()),
                    beyond = attn__vset1((attn__real)attn__from_bits_f64(0x7ff8000000000000u));
    attn__real *bias = (attn__real *)bias_;
    const attn__real *other = (const attn__real *)other_;
    for (size_t i = 0; i < n; i += ATTN__VL) {
        const attn__vec a = attn__vload(bias + i), b = attn__vload(other + i), sum = attn__vadd(a, b);
        attn__vstore(bias + i, attn__vchoose(attn__vchoose(attn__vchoose(sum, sum, lowest, beyond), b, lowest, dropped),
                                             a, lowest, dropped));
    }
}

/* x + b * unit, or MASKED where b is -inf. The lowest numbers stay finite, by being less low; beside those, a score so
 * large that the sum would not be as low is NaN, which has its row redone. */
ATTN__INLINE attn__vec ATTN__V(biased)(attn__vec x, attn__vec b, attn__vec unit, attn__vec least, attn__vec most)
{
    const attn__vec lowest = attn__vset1(ATTN__C(MASKED)),
                    beyond = attn__vset1((attn__real)attn__from_bits_f64(0x7ff8000000000000u));
    const attn__vec sum = attn__vfma(attn__vmax(least, b), unit, x), low = attn__vchoose(sum, most, x, beyond);
    return attn__vchoose(attn__vchoose(sum, b, least, low), b, lowest, lowest);
}
/* A bias grows in units of ln 2; in others, powers of two, it fits. */
#define ATTN__GROWS(unit) ((unit) > 1 && (unit) < 2)
#define ATTN__LEAST_BIAS(unit) attn__vset1(ATTN__GROWS(unit) ? (attn__real)0.69 * ATTN__C(MASKED) : ATTN__C(MASKED))
#define ATTN__MOST_BIASED(unit) attn__vset1(ATTN__GROWS(unit) ? -ATTN__C(LOWEST_SAFE) : (attn__real)attn__infinity())

static void ATTN__V(bias)(void *row_, const void *bias_, size_t n, double unit_)
{
    attn__real *row = (attn__real *)row_;
    const attn__real *bias = (const attn__real *)bias_;
    const attn__vec unit = attn__vset1((attn__real)unit_), least = ATTN__LEAST_BIAS(unit_),
                    most = ATTN__MOST_BIASED(unit_);
    for (size_t i = 0; i < n; i += ATTN__VL)
        attn__vstore(row + i, ATTN__V(biased)(attn__vload(row + i), attn__vload(bias + i), unit, least, most));
}

static void ATTN__V(bias_panel)(void *scores_, const void *bias_, size_t cols, size_t n, double unit_)
{
    const attn__vec unit = attn__vset1((attn__real)unit_), least = ATTN__LEAST_BIAS(unit_),
                    most = ATTN__MOST_BIASED(unit_);
    for (size_t r = 0; r < cols; r += ATTN__VL) {
        const attn__real *bias = (const attn__real *)bias_ + r * ATTN__TILE_STRIDE;
        attn__real *scores = (attn__real *)scores_ + r;
        attn__vec x[ATTN__QUAD];
        attn__real quad[ATTN__VL * ATTN__QUAD];
        ATTN__V(clear_quad)(quad);
        for (size_t j = 0; j < n; j += ATTN__QUAD, scores += ATTN__QUAD * ATTN__NR) {
            ATTN__V(turn_quad)(bias + j, ATTN__TILE_STRIDE, cols - r, n - j, quad, x);
#define ATTN__X(i)                                                                                                     \
    if (j + i < n)                                                                                                     \
        attn__vstore(scores + i * ATTN__NR,                                                                            \
                     ATTN__V(biased)(attn__vload(scores + i * ATTN__NR), x[i], unit, least, most));
            ATTN__EACH_OF_QUAD(ATTN__X)
#undef ATTN__X
        }
    }
}
#undef ATTN__LEAST_BIAS
#undef ATTN__MOST_BIASED
#undef ATTN__GROWS

static void ATTN__V(mask)(void *row_, const void *mask_, ptrdiff_t stride, size_t n, int infinite)
{
    const uint8_t *mask = (const uint8_t *)mask_;
    const attn__vec one = attn__vset1(1),
                    drop = attn__vset1(infinite ? -(attn__real)attn__infinity() : ATTN__C(MASKED));
    attn__real *row = (attn__real *)row_, keep[64];
    size_t i = 0, j, m;
#if !ATTN__F64
    if (stride == 1)
        for (; i + ATTN__VL <= n; i += ATTN__VL)
            attn__vstore(row + i, attn__vchoose(attn__vload(row + i), ATTN__V(load_u8)(mask + i), one, drop));
#endif
    for (; i < n; i += m) { /* as numbers first: a branch for each would be guessed wrong */
        m = n - i < 64 ? n - i : 64;
        for (j = 0; j < m; j++) keep[j] = mask[(ptrdiff_t)(i + j) * stride];
        for (; j % ATTN__VL; j++) keep[j] = 1;
        for (j = 0; j < m; j += ATTN__VL)
            attn__vstore(row + i + j, attn__vchoose(attn__vload(row + i + j), attn__vload(keep + j), one, drop));
    }
}

static int ATTN__V(set_aside)(void *values, size_t rows, size_t n, void *above_, void *below_)
{
    const attn__vec zero = attn__vset1(0), one = attn__vset1(1), infinite = attn__vset1((attn__real)attn__infinity());
    attn__real *x = (attn__real *)values, *above = (attn__real *)above_, *below = (attn__real *)below_;
    attn__vec any = zero;
    for (size_t i = 0; i < n; i += ATTN__VL) {
        const size_t part = n - i < ATTN__VL ? n - i : ATTN__VL;
        const attn__vec known = attn__vadd(attn__vload(above + i), attn__vload(below + i));
        attn__vec high = attn__vload(above + i), low = attn__vload(below + i);
        for (size_t r = 0; r < rows; r++) {
            attn__real *at = x + r * n + i;
            attn__vec y = part < ATTN__VL ? ATTN__V(load_part)(at, part) : attn__vload(at);
            high = attn__vmax(high, attn__vchoose(one, y, infinite, zero)); /* also NaN */
            low = attn__vmax(low, attn__vchoose(one, attn__vsub(zero, y), infinite, zero));
            y = attn__vchoose(zero, y, infinite, y);
            y = attn__vchoose(zero, attn__vsub(zero, y), infinite, y);
            if (part < ATTN__VL) ATTN__V(store_part)(at, y, part);
            else attn__vstore(at, y);
        }
        attn__vstore(above + i, high);
        attn__vstore(below + i, low);
        any = attn__vmax(any, attn__vsub(attn__vadd(high, low), known));
    }
    return attn__vmax_across(any) > 0;
}

/* The elements at p, of which n are left, beyond them others. */
ATTN__INLINE attn__vec ATTN__V(load_else)(const attn__real *p, size_t n, attn__vec other)
{
    return attn__vchoose(other, attn__vload(ATTN__C(COUNT)), attn__vset1((attn__real)n), ATTN__V(load_part)(p, n));
}
/* ... beyond them -inf; they may be none. */
ATTN__INLINE attn__vec ATTN__V(load_left)(const attn__real *p, size_t n)
{
    const attn__vec none = attn__vset1(-(attn__real)attn__infinity());
    return n >= ATTN__VL ? attn__vload(p) : n ? ATTN__V(load_else)(p, n, none) : none;
}

#if ATTN__F64
/* The elements at p, of which n are left, beyond them the first again. */
ATTN__INLINE attn__vec ATTN__V(load_end)(const double *p, size_t n)
{
    return n < ATTN__VL ? ATTN__V(load_else)(p, n, attn__vset1(*p)) : attn__vload(p);
}
ATTN__INLINE void ATTN__V(store_end)(double *p, attn__vec a, size_t left)
{
    if (left >= ATTN__VL) attn__vstore(p, a);
    else ATTN__V(store_part)(p, a, left);
}
/* x, or y where it is not finite */
ATTN__INLINE attn__vec ATTN__V(finite_else)(attn__vec x, attn__vec y)
{
    return attn__vchoose(y, ATTN__V(magnitudes)(x), attn__vset1(attn__infinity()), x);
}
/* 1 where x is NaN, or else 0 */
ATTN__INLINE attn__vec ATTN__V(nans)(attn__vec x)
{
    const attn__vec infinite = attn__vset1(attn__infinity()), zero = attn__vset1(0);
    return attn__vchoose(attn__vchoose(attn__vset1(1), x, infinite, zero), attn__vsub(zero, x), infinite, zero);
}
ATTN__INLINE attn__vec ATTN__V(unscaled)(attn__vec x, const attn__beyond *beyond)
{
    const attn__vec third = attn__vset1(beyond->third);
    return attn__vmul(attn__vmul(attn__vmul(x, third), third), attn__vset1(beyond->rest));
}

ATTN__INLINE attn__vec ATTN__V(limited)(attn__vec x, attn__vec most)
{
    const attn__vec least = attn__vsub(attn__vset1(0), most);
    return attn__vchoose(attn__vchoose(x, most, x, most), x, least, least);
}
static void ATTN__V(limit)(double *x, size_t n, double most)
{
    for (size_t i = 0; i < n; i += ATTN__VL)
        ATTN__V(store_end)(x + i, ATTN__V(limited)(ATTN__V(load_end)(x + i, n - i), attn__vset1(most)), n - i);
}
static void ATTN__V(scale_largely)(const double *row, double *scaled, size_t n, double within, double beyond)
{
    const attn__vec infinite = attn__vset1(attn__infinity());
    for (size_t i = 0; i < n; i += ATTN__VL) {
        const attn__vec x = ATTN__V(load_end)(row + i, n - i), y = ATTN__V(load_end)(scaled + i, n - i);
        attn__vec z = attn__vchoose(attn__vmul(y, attn__vset1(beyond)), ATTN__V(magnitudes)(x), infinite,
                                    attn__vmul(x, attn__vset1(within)));
        /* of many thousand columns it may be infinite, as it is not */
        z = attn__vchoose(z, ATTN__V(magnitudes)(y), infinite, ATTN__V(limited)(z, attn__vset1(-ATTN__MASKED_F64)));
        ATTN__V(store_end)(scaled + i, z, n - i);
    }
}
static int ATTN__V(complete)(double *row, const double *scaled, size_t n, const attn__beyond *beyond)
{
    attn__vec bad = attn__vset1(0);
    for (size_t i = 0; i < n; i += ATTN__VL) {
        attn__vec x = ATTN__V(load_end)(row + i, n - i);
        x = ATTN__V(finite_else)(x, ATTN__V(unscaled)(ATTN__V(load_end)(scaled + i, n - i), beyond));
        bad = attn__vmax(bad, ATTN__V(nans)(x));
        ATTN__V(store_end)(row + i, x, n - i);
    }
    return attn__vmax_across(bad) > 0;
}
static int ATTN__V(find_top)(const double *scaled, size_t n, double *top)
{
    const attn__vec masked = attn__vset1(ATTN__MASKED_F64), one = attn__vset1(1), zero = attn__vset1(0);
    attn__vec max = attn__vset1(*top), nan = zero, low = zero;
    for (size_t i = 0; i < n; i += ATTN__VL) {
        const attn__vec x = ATTN__V(load_end)(scaled + i, n - i);
        max = attn__vmax(x, max);
        nan = attn__vmax(nan, ATTN__V(nans)(x));
        low = attn__vmax(low, attn__vchoose(zero, x, masked, one));
    }
    *top = attn__vmax_across(max);
    return (attn__vmax_across(nan) > 0 ? ATTN__SEES_NAN : 0) | (attn__vmax_across(low) > 0 ? ATTN__SEES_LOW : 0) |
           (*top >= attn__infinity() ? ATTN__SEES_INF : 0);
}
static double ATTN__V(decide)(double *row, const double *scaled, size_t n, const attn__beyond *beyond)
{
    const attn__vec none = attn__vset1(-attn__infinity()), masked = attn__vset1(ATTN__MASKED_F64),
                    limit = attn__vset1(beyond->limit), top = attn__vset1(beyond->top), zero = attn__vset1(0);
    attn__vec max = none, x;
    double most;
    for (size_t i = 0; i < n; i += ATTN__VL) {
        const attn__vec y = ATTN__V(load_end)(scaled + i, n - i);
        if (beyond->only) x = attn__vchoose(zero, y, top, none);
        else {
            x = ATTN__V(finite_else)(ATTN__V(load_end)(row + i, n - i), ATTN__V(unscaled)(y, beyond));
            x = attn__vchoose(x, limit, ATTN__V(magnitudes)(y), none);
        }
        max = attn__vmax(x, max);
        ATTN__V(store_end)(row + i, x, n - i);
    }
    most = attn__vmax_across(max) + 0; /* +0: never -0 */
    if (most <= -attn__infinity()) return most;
    for (size_t i = 0; i < n; i += ATTN__VL) {
        x = attn__vsub(ATTN__V(load_end)(row + i, n - i), attn__vset1(most));
        ATTN__V(store_end)(row + i, attn__vmax(attn__vmul(x, attn__vset1(ATTN__LOG2E_F64)), masked), n - i);
    }
    return most;
}
#endif

static double ATTN__V(exp_difference)(double x, double y, int natural)
{
    const attn__real difference = natural ? (attn__real)x - (attn__real)y : (attn__real)((x - y) * ATTN__LOG2E_F64);
    attn__real out[ATTN__VL];
    attn__vec e = attn__vset1(difference);
    if (attn__nan_f64((double)difference)) return (double)difference; /* a state of a row with NaN */
    if (!(difference < 0)) return 1;                                  /* often: one of two states has the maximum */
    if (natural) e = ATTN__V(exp)(e);
    else ATTN__V(exp2_alone)(&e);
    attn__vstore(out, e);
    return (double)out[0];
}

/* MASKED where positions [at, at + LANES) are not in [lo, hi). By vectors, as what
 * reads them will: a load across several stores would wait for them. */
ATTN__INLINE void ATTN__V(mask_ends)(attn__real *row, size_t at, size_t lo, size_t hi)
{
    const attn__vec masked = attn__vset1(ATTN__C(MASKED)), first = attn__vset1((attn__real)lo),
                    end = attn__vset1((attn__real)hi);
    const attn__vec from = attn__vset1((attn__real)at);
    for (size_t i = 0; i < ATTN__LANES; i += ATTN__VL) {
        const attn__vec place = attn__vadd(from, attn__vload(ATTN__C(COUNT) + i)), x = attn__vload(row + at + i);
        attn__vstore(row + at + i, attn__vchoose(masked, place, end, attn__vchoose(x, place, first, masked)));
    }
}

/* The maximum of scores[from..to), whole lanes. `nonfinite` turns NaN, and stays so, at NaN and infinity (by additions:
 * they have units of their own). In two chains each. Returns 1 if a score or the maximum is not safely finite. */
ATTN__INLINE int ATTN__V(row_max)(const attn__real *scores, size_t from, size_t to, attn__real *max)
{
    size_t j;
#define ATTN__X(v)                                                                                                     \
    attn__vec max##v = attn__vset1(ATTN__C(MASKED)), nonfinite##v = attn__vset1(0), max_b##v = max##v,                 \
              nonfinite_b##v = nonfinite##v;
    ATTN__EACH(ATTN__X)
#undef ATTN__X
#define ATTN__LOOK(v, max, nonfinite, at)                                                                              \
    {                                                                                                                  \
        attn__vec x = attn__vload((at) + v * ATTN__VL);                                                                \
        max##v = attn__vmax(max##v, x);                                                                                \
        nonfinite##v = attn__vadd(nonfinite##v, attn__vsub(x, x));                                                     \
    }
#define ATTN__X(v) ATTN__LOOK(v, max, nonfinite, scores + j)
#define ATTN__Y(v) ATTN__LOOK(v, max_b, nonfinite_b, scores + j + ATTN__LANES)
    for (j = from; j + 2 * ATTN__LANES <= to; j += 2 * ATTN__LANES) {
        ATTN__EACH(ATTN__X)
        ATTN__EACH(ATTN__Y)
    }
    if (j < to) {
        ATTN__EACH(ATTN__X)
    }
#undef ATTN__X
#undef ATTN__Y
#undef ATTN__LOOK
#define ATTN__X(v) max##v = attn__vmax(max##v, max_b##v), nonfinite##v = attn__vadd(nonfinite##v, nonfinite_b##v);
    ATTN__EACH(ATTN__X)
#undef ATTN__X
    ATTN__FOLD(attn__vmax, max)
    ATTN__FOLD(attn__vadd, nonfinite)
    if (!ATTN__FUNCTION(finite)(attn__vsum_across(nonfinite0))) return 1;
    *max = attn__vmax_across(max0);
    return !(*max > ATTN__C(LOWEST_SAFE));
}

/* to = from * factor + 0, never -0 from 0. `nonfinite` turns NaN at NaN and infinity, in four chains. */
ATTN__INLINE void ATTN__V(scale_row)(attn__real *to, const attn__real *from, size_t n, double factor,
                                     attn__vec nonfinite[4])
{
    const attn__vec f = attn__vset1((attn__real)factor), zero = attn__vset1(0);
    size_t i = 0;
#define ATTN__X(v)                                                                                                     \
    {                                                                                                                  \
        const attn__vec y = attn__vfma(attn__vload(from + i + v * ATTN__VL), f, zero);                                 \
        attn__vstore(to + i + v * ATTN__VL, y);                                                                        \
        nonfinite[v] = attn__vadd(nonfinite[v], attn__vsub(y, y));                                                     \
    }
    for (; i + 4 * ATTN__VL <= n; i += 4 * ATTN__VL) {
        ATTN__REPEAT_4(ATTN__X)
    }
    for (; i + ATTN__VL <= n; i += ATTN__VL) {
        ATTN__REPEAT_1(ATTN__X)
    }
#undef ATTN__X
    if (i < n) {
        const attn__vec y = attn__vfma(ATTN__V(load_part)(from + i, n - i), f, zero);
        nonfinite[1] = attn__vadd(nonfinite[1], attn__vsub(y, y));
        ATTN__V(store_part)(to + i, y, n - i);
    }
}
ATTN__INLINE int ATTN__V(all_finite)(const attn__vec nonfinite[4])
{
    return ATTN__FUNCTION(finite)(
        attn__vsum_across(attn__vadd(attn__vadd(nonfinite[0], nonfinite[1]), attn__vadd(nonfinite[2], nonfinite[3]))));
}

static int ATTN__V(scale)(void *to, const void *from, size_t n, double factor)
{
    attn__vec nonfinite[4];
    nonfinite[0] = nonfinite[1] = nonfinite[2] = nonfinite[3] = attn__vset1(0);
    ATTN__V(scale_row)((attn__real *)to, (const attn__real *)from, n, factor, nonfinite);
    return !ATTN__V(all_finite)(nonfinite);
}

/* The largest of n elements, or the lowest number: anything if one of them is NaN. */
ATTN__INLINE attn__real ATTN__V(largest)(const attn__real *p, size_t n)
{
    attn__vec max[4];
    size_t i = 0;
    max[0] = max[1] = max[2] = max[3] = attn__vset1(ATTN__C(MASKED));
#define ATTN__X(v) max[v] = attn__vmax(max[v], attn__vload(p + i + v * ATTN__VL));
    for (; i + 4 * ATTN__VL <= n; i += 4 * ATTN__VL) {
        ATTN__REPEAT_4(ATTN__X)
    }
#undef ATTN__X
    for (; i < n; i += ATTN__VL) max[1] = attn__vmax(max[1], ATTN__V(load_left)(p + i, n - i));
    return attn__vmax_across(attn__vmax(attn__vmax(max[0], max[1]), attn__vmax(max[2], max[3])));
}

/* Sums are taken in two halves of a block: shorter chains of additions, and so half the error. `nan` turns NaN, and
 * stays so, at NaN and where infinity is the maximum; every other difference is negative or 0. The maximum is never
 * below the lowest number, so that exp of -inf is 0 also beside that. */
static void ATTN__V(softmax)(attn__beat *beat)
{
    enum { vecs = ATTN__SET > 4 ? ATTN__SET : 4, step = vecs * ATTN__VL, ahead = ATTN__AHEAD / sizeof(attn__real) };
    const size_t n = beat->n, next_n = beat->next_n, done_n = beat->done_n;
    const attn__real *from = (const attn__real *)beat->from, *next = (const attn__real *)beat->next;
    attn__real *to = (attn__real *)beat->to, *done = (attn__real *)beat->done;
    const attn__vec factor = attn__vset1((attn__real)beat->factor), zero = attn__vset1(0);
    attn__vec x[vecs], nan = zero, max = attn__vset1(ATTN__C(MASKED)), m;
#define ATTN__X(v) attn__vec sum##v = zero, total##v = zero;
    ATTN__EACH(ATTN__X)
#undef ATTN__X
    if (beat->look) beat->max = (double)(ATTN__V(largest)(from, n) + 0); /* +0: never -0 */
    m = attn__vset1((attn__real)beat->max);
    for (size_t j = 0, i; j < n || j < next_n || j < done_n; j += step) {
        i = j;
        if (j + step <= next_n) {
#define ATTN__X(v)                                                                                                     \
    if (v < vecs) x[v % vecs] = attn__vload(next + j + v * ATTN__VL);                                                  \
    if (v < vecs && v * ATTN__VL * sizeof *next % 64 == 0) ATTN__PREFETCH_NEAR(next, j + ahead + v * ATTN__VL);
#define ATTN__Y(v)                                                                                                     \
    if (v < vecs && v % 4 == 3)                                                                                        \
        max = attn__vmax(max, attn__vmax(attn__vmax(x[v / 4 * 4 % vecs], x[(v / 4 * 4 + 1) % vecs]),                   \
                                         attn__vmax(x[(v / 4 * 4 + 2) % vecs], x[v % vecs])));
            ATTN__REPEAT_16(ATTN__X)
            ATTN__REPEAT_16(ATTN__Y)
#undef ATTN__X
#undef ATTN__Y
        } else
            for (; i < next_n && i < j + step; i += ATTN__VL)
                max = attn__vmax(max, ATTN__V(load_left)(next + i, next_n - i));
        if (j < n) {
            const attn__real *at = from + j;
            attn__real *to_at = to + j;
            const size_t left = n - j;
            if (j == ATTN__BLOCK / 2) {
#define ATTN__X(v) total##v = sum##v, sum##v = zero;
                ATTN__EACH(ATTN__X)
#undef ATTN__X
            }
#define ATTN__X(v)                                                                                                     \
    if (v < vecs) x[v % vecs] = attn__vsub(attn__vload(at + v * ATTN__VL), m);
            if (left >= step) {
                ATTN__REPEAT_16(ATTN__X)
            }
#undef ATTN__X
#define ATTN__X(v)                                                                                                     \
    if (v < vecs)                                                                                                      \
        x[v % vecs] =                                                                                                  \
            attn__vsub(ATTN__V(load_left)(at + v * ATTN__VL, left > v * ATTN__VL ? left - v * ATTN__VL : 0), m);
            else {
                ATTN__REPEAT_16(ATTN__X)
            }
#undef ATTN__X
#define ATTN__Y(v)                                                                                                     \
    if (v < vecs && v % 4 == 3)                                                                                        \
        nan = attn__vadd(nan, attn__vadd(attn__vadd(x[v / 4 * 4 % vecs], x[(v / 4 * 4 + 1) % vecs]),                   \
                                         attn__vadd(x[(v / 4 * 4 + 2) % vecs], x[v % vecs])));
#define ATTN__Z(v)                                                                                                     \
    if (v < vecs && v % ATTN__LOCKSTEP == 0) ATTN__V(exp_lockstep)(x + v % vecs);
            ATTN__REPEAT_16(ATTN__Y)
            ATTN__REPEAT_16(ATTN__Z)
#undef ATTN__Y
#undef ATTN__Z
#define ATTN__X(v)                                                                                                     \
    if (v < vecs) attn__vstore(to_at + v * ATTN__VL, x[v % vecs]);                                                     \
    if (v < vecs && v * ATTN__VL * sizeof *to % 64 == 0) ATTN__PREFETCH_NEAR(to, j + ahead / 2 + v * ATTN__VL);
            if (left >= step) {
                ATTN__REPEAT_16(ATTN__X)
            }
#undef ATTN__X
#define ATTN__X(v)                                                                                                     \
    if (v < vecs && left >= (v + 1) * ATTN__VL) attn__vstore(to_at + v * ATTN__VL, x[v % vecs]);                       \
    else if (v < vecs && left > v * ATTN__VL)                                                                          \
        ATTN__V(store_part)(to_at + v * ATTN__VL, x[v % vecs], left - v * ATTN__VL);
            else {
                ATTN__REPEAT_16(ATTN__X)
            }
#undef ATTN__X
#define ATTN__X(v)                                                                                                     \
    sum##v = attn__vadd(sum##v, x[v]);                                                                                 \
    if (vecs >= 2 * ATTN__SET) sum##v = attn__vadd(sum##v, x[(v + ATTN__SET) % vecs]);                                 \
    if (vecs >= 4 * ATTN__SET)                                                                                         \
        sum##v = attn__vadd(attn__vadd(sum##v, x[(v + 2 * ATTN__SET) % vecs]), x[(v + 3 * ATTN__SET) % vecs]);
            ATTN__EACH(ATTN__X)
#undef ATTN__X
        }
        if (j + step <= done_n) {
#define ATTN__X(v)                                                                                                     \
    if (v < vecs) attn__vstore(done + j + v * ATTN__VL, attn__vfma(attn__vload(done + j + v * ATTN__VL), factor, zero));
            ATTN__REPEAT_16(ATTN__X)
#undef ATTN__X
        } else if (j < done_n) ATTN__V(scale)(done + j, done + j, done_n - j, beat->factor);
    }
    beat->next_max = (double)(attn__vmax_across(max) + 0);
    if (!n) return;
#define ATTN__X(v) total##v = attn__vadd(total##v, sum##v);
    ATTN__EACH(ATTN__X)
#undef ATTN__X
    ATTN__FOLD(attn__vadd, total)
    beat->sum = (double)attn__vsum_across(nan);
    if (!attn__nan_f64(beat->sum)) beat->sum = (double)attn__vsum_across(total0);
}

/* See weigh_row: the sum of a row's weights in [first, last), whole chains, of which those from hi on are 0. */
ATTN__INLINE attn__real ATTN__V(sum_chains)(const attn__real *row, size_t first, size_t hi, size_t last)
{
    attn__real sums[ATTN__CHAINS], alone = 0;
    size_t at = first / ATTN__CHAIN;
    if (hi <= first + ATTN__CHAIN) {
        for (size_t j = first; j < hi; j++) alone += row[j];
        return alone;
    }
    attn__memset(sums, 0, sizeof sums);
    for (; at + ATTN__VL <= last / ATTN__CHAIN && ATTN__VL > 1; at += ATTN__VL) { /* a chain in each lane */
        attn__vec sum = attn__vset1(0), x[ATTN__QUAD];
        for (size_t j = 0; j < ATTN__CHAIN; j += ATTN__QUAD) {
            ATTN__V(transpose)(row + at * ATTN__CHAIN + j, ATTN__CHAIN, x);
#define ATTN__X(i) sum = attn__vadd(sum, x[i]);
            ATTN__EACH_OF_QUAD(ATTN__X)
#undef ATTN__X
        }
        attn__vstore(sums + at, sum);
    }
    for (; at * ATTN__CHAIN < hi; at++)
        for (size_t j = at * ATTN__CHAIN; j < (at + 1) * ATTN__CHAIN && j < hi; j++) sums[at] += row[j];
    for (size_t w = ATTN__CHAINS / 2; w > 0; w /= 2)
        for (size_t i = 0; i < w && (i + w) * ATTN__CHAIN < hi; i++) sums[i] += sums[i + w];
    return sums[0];
}

static int ATTN__V(weigh_row)(void *row_, size_t first, size_t lo, size_t hi, size_t last, double *max_out,
                              double *sum_out)
{
    attn__real *row = (attn__real *)row_, max = 0;
    const size_t from = lo / ATTN__LANES * ATTN__LANES, to = (hi + ATTN__LANES - 1) / ATTN__LANES * ATTN__LANES;
    size_t j;
    attn__vec x[4], m;
    *max_out = -attn__infinity();
    *sum_out = 0;
    for (j = first; j < (lo < hi ? from : last); j++) row[j] = 0;
    if (lo >= hi) return 0;
    for (j = to; j < last; j++) row[j] = 0;
    if (lo > from) ATTN__V(mask_ends)(row, from, lo, hi);
    if (hi < to) ATTN__V(mask_ends)(row, to - ATTN__LANES, lo, hi);
    if (ATTN__V(row_max)(row, from, to, &max)) return 1;
    m = attn__vset1(max);
    j = from;
#define ATTN__X(i)                                                                                                     \
    if (i < ATTN__LOCKSTEP) x[i] = attn__vsub(attn__vload(row + j + i * ATTN__VL), m);
#define ATTN__Y(i)                                                                                                     \
    if (i < ATTN__LOCKSTEP) attn__vstore(row + j + i * ATTN__VL, x[i]);
    for (; j + ATTN__LOCKSTEP * ATTN__VL <= to; j += ATTN__LOCKSTEP * ATTN__VL) {
        ATTN__REPEAT_4(ATTN__X)
        ATTN__V(exp2_lockstep)(x);
        ATTN__REPEAT_4(ATTN__Y)
    }
    for (; j < to && ATTN__VL > 1; j += ATTN__VL) {
        ATTN__REPEAT_1(ATTN__X)
        ATTN__V(exp2_alone)(x);
        ATTN__REPEAT_1(ATTN__Y)
    }
#undef ATTN__X
#undef ATTN__Y
    *max_out = (double)max * ATTN__LN2 + 0; /* +0: never -0 */
    *sum_out = (double)ATTN__V(sum_chains)(row, first, hi, last);
    return 0;
}

#define ATTN__FETCH(p, n) /* once in a line of the cache */                                                            \
    if (c % (64 / sizeof(attn__real)) == 0) ATTN__PREFETCH(p, n)
static void ATTN__V(softmax_columns)(void *weights_, ptrdiff_t weights_stride, const void *from_, ptrdiff_t stride,
                                     size_t n, size_t cols, double *max_out, double *sum_out, void *lanes_)
{
    const attn__real *from = (const attn__real *)from_, *at;
    attn__real *weights = (attn__real *)weights_, *lanes = (attn__real *)lanes_, *to, *lane; /* (2, LANES, cols) */
    attn__real max[ATTN__COLUMNS], nan[ATTN__COLUMNS];
    size_t c, j;
    attn__vec m, x[4];
    for (c = 0; c < cols; c += ATTN__VL)
        attn__vstore(max + c, attn__vset1(ATTN__C(MASKED))), attn__vstore(nan + c, attn__vset1(0));
#define ATTN__X(i) attn__vec x##i = attn__vload(at + i * stride + (ptrdiff_t)c);
#define ATTN__Y(i) ATTN__FETCH(at, (16 + i) * (uintptr_t)stride + c);
#define ATTN__LOOK(ROWS, largest)                                                                                      \
    for (; j + ROWS <= n; j += ROWS)                                                                                   \
        for (c = 0, at = from + (ptrdiff_t)j * stride; c < cols; c += ATTN__VL) {                                      \
            ATTN__REPEAT_##ROWS(ATTN__X) ATTN__REPEAT_##ROWS(ATTN__Y)                                                  \
                attn__vstore(max + c, attn__vmax(attn__vload(max + c), largest));                                      \
        }
    j = 0;
    ATTN__LOOK(4, attn__vmax(attn__vmax(x0, x1), attn__vmax(x2, x3)))
    ATTN__LOOK(1, x0)
#undef ATTN__X
#undef ATTN__Y
#undef ATTN__LOOK
    for (c = 0; c < cols && max_out; c++) max_out[c] = (double)(max[c] + 0);
    if (!sum_out) return;
    attn__memset(lanes, 0, 2 * ATTN__LANES * cols * sizeof *lanes);
#define ATTN__X(i) x[i] = attn__vsub(attn__vload(at + i * stride + (ptrdiff_t)c), m);
#define ATTN__Y(i)                                                                                                     \
    ATTN__FETCH(at, (8 + i) * (uintptr_t)stride + c);                                                                  \
    attn__vstore(lane + i * cols, attn__vadd(attn__vload(lane + i * cols), x[i]));                                     \
    if (to) {                                                                                                          \
        ATTN__FETCH(to, (8 + i) * weights_stride);                                                                     \
        attn__vstore(to + i * weights_stride, x[i]);                                                                   \
    }
#define ATTN__EXP(ROWS, exps, differences)                                                                             \
    for (; j + ROWS <= n; j += ROWS)                                                                                   \
        for (c = 0, at = from + (ptrdiff_t)j * stride; c < cols; c += ATTN__VL) {                                      \
            lane = lanes + (j / (ATTN__BLOCK / 2) * ATTN__LANES + j % ATTN__LANES) * cols + c;                         \
            to = weights ? weights + (ptrdiff_t)j * weights_stride + (ptrdiff_t)c : NULL;                              \
            m = attn__vload(max + c);                                                                                  \
            ATTN__REPEAT_##ROWS(ATTN__X) attn__vstore(nan + c, attn__vadd(attn__vload(nan + c), differences));         \
            exps;                                                                                                      \
            ATTN__REPEAT_##ROWS(ATTN__Y)                                                                               \
        }
    j = 0;
    ATTN__EXP(4, ATTN__V(exp_four)(x), attn__vadd(attn__vadd(x[0], x[1]), attn__vadd(x[2], x[3])))
    ATTN__EXP(1, x[0] = ATTN__V(exp)(x[0]), x[0])
#undef ATTN__X
#undef ATTN__Y
#undef ATTN__EXP
    for (j = ATTN__LANES * cols; j >= cols; j /= 2) /* as softmax adds them */
        for (c = 0; c < j; c += ATTN__VL)
            attn__vstore(lanes + c, attn__vadd(attn__vload(lanes + c), attn__vload(lanes + j + c)));
    for (c = 0; c < cols; c += ATTN__VL) { /* a sum of differences is less than infinity, or NaN */
        m = attn__vload(nan + c);
        attn__vstore(nan + c, attn__vchoose(m, m, attn__vset1((attn__real)attn__infinity()), attn__vload(lanes + c)));
    }
    for (c = 0; c < cols; c++) sum_out[c] = (double)nan[c];
}

static void ATTN__V(scale_columns)(void *to_, ptrdiff_t to_stride, const void *from_, ptrdiff_t stride, size_t n,
                                   size_t cols, const double *max_, const double *factor_)
{
    const attn__vec zero = attn__vset1(0), two = attn__vset1(2),
                    nan = attn__vset1((attn__real)attn__from_bits_f64(0x7ff8000000000000u)); /* see attn__put */
    attn__real max[ATTN__COLUMNS], factor[ATTN__COLUMNS];
    for (size_t c = 0; c < cols; c++) factor[c] = (attn__real)factor_[c];
    for (size_t c = 0; c < cols && max_; c++) max[c] = (attn__real)max_[c];
    for (size_t j = 0; j < n; j++) {
        const attn__real *from = (const attn__real *)from_ + (ptrdiff_t)j * stride;
        attn__real *to = (attn__real *)to_ + (ptrdiff_t)j * to_stride;
        for (size_t c = 0; c < cols; c += ATTN__VL) {
            attn__vec p = attn__vload(from + c);
            if (max_) p = ATTN__V(exp)(attn__vsub(p, attn__vload(max + c)));
            ATTN__FETCH(from, 8 * (uintptr_t)stride + c);
            ATTN__FETCH(to, 8 * (uintptr_t)to_stride + c);
            p = attn__vfma(p, attn__vload(factor + c), zero);
            attn__vstore(to + c, attn__vchoose(nan, p, two, p));
        }
    }
}
#undef ATTN__FETCH

static void ATTN__V(join)(size_t rows, size_t width, void *acc_a, double *max_a, double *sum_a, const void *acc_b,
                          const double *max_b, const double *sum_b, int natural)
{
    const double empty = -attn__infinity();
    for (size_t i = 0; i < rows; i++) {
        attn__real *a = (attn__real *)acc_a + i * width;
        const attn__real *b = (const attn__real *)acc_b + i * width;
        if (max_b[i] <= empty) continue; /* empty states are the identity */
        if (max_a[i] <= empty) {
            attn__memcpy(a, b, width * sizeof *a);
            max_a[i] = max_b[i];
            sum_a[i] = sum_b[i];
        } else {
            double max = max_a[i] > max_b[i] ? max_a[i] : max_b[i];
            double fa = ATTN__V(exp_difference)(max_a[i], max, natural),
                   fb = ATTN__V(exp_difference)(max_b[i], max, natural); /* one of them is 1 */
            const attn__vec va = attn__vset1((attn__real)fa), vb = attn__vset1((attn__real)fb);
            for (size_t c = 0; c < width; c += ATTN__VL)
                attn__vstore(a + c, attn__vfma(attn__vload(a + c), va, attn__vmul(attn__vload(b + c), vb)));
            max_a[i] = max;
            sum_a[i] = ATTN__V(madd)(sum_a[i], fa, sum_b[i] * fb);
        }
    }
}

static int ATTN__V(scale_rows)(void *to_, ptrdiff_t to_step, const void *from_, size_t from_step, size_t rows, size_t n,
                               const double *factors, size_t factor_step)
{
    attn__real *to = (attn__real *)to_;
    const attn__real *from = (const attn__real *)from_;
    attn__vec nonfinite[4];
    nonfinite[0] = nonfinite[1] = nonfinite[2] = nonfinite[3] = attn__vset1(0);
    for (; rows > 0; rows--, to += to_step, from += from_step, factors += factor_step)
        ATTN__V(scale_row)(to, from, n, *factors, nonfinite);
    return !ATTN__V(all_finite)(nonfinite);
}

/* softmax of rows of n elements, of which the first row sees `visible` and each other one
 * more, in W vectors: all of the virtual lanes or one (lanes beyond would add 0).
 * First all maxima, then exp: rows side by side hide how long each of both takes.
 * Returns 1, with scores as they were, if one or the maximum of a row is not safely finite. */
ATTN__INLINE int ATTN__V(softmax_set)(const int vecs, attn__real *tile, size_t rows, size_t n, size_t visible,
                                      double *sums)
{
    const attn__vec masked = attn__vset1(ATTN__C(MASKED)), one = attn__vset1(1), all = attn__vset1((attn__real)n);
    attn__vec end = attn__vset1((attn__real)(visible < n ? visible : n));
    attn__real largest[ATTN__MR], *row = tile;
    attn__vec nonfinite = attn__vset1(0), x[ATTN__SET];
    int safe = 1;
    size_t r;
    for (r = 0; r < rows; r++, row += ATTN__TILE_STRIDE, end = attn__vchoose(all, end, all, attn__vadd(end, one))) {
#define ATTN__X(v)                                                                                                     \
    attn__vec max##v = masked;                                                                                         \
    if (vecs > v) {                                                                                                    \
        max##v =                                                                                                       \
            attn__vchoose(masked, attn__vload(ATTN__C(COUNT) + v * ATTN__VL), end, attn__vload(row + v * ATTN__VL));   \
        attn__vstore(row + v * ATTN__VL, max##v);                                                                      \
        nonfinite = attn__vadd(nonfinite, attn__vsub(max##v, max##v));                                                 \
    }
        ATTN__EACH(ATTN__X)
#undef ATTN__X
        if (vecs > 1) {
            ATTN__FOLD(attn__vmax, max)
        }
        largest[r] = attn__vmax_across(max0);
        safe &= largest[r] > ATTN__C(LOWEST_SAFE);
    }
    if (!safe || !ATTN__FUNCTION(finite)(attn__vsum_across(nonfinite))) return 1;
    for (r = 0, row = tile; r < rows; r++, row += ATTN__TILE_STRIDE) {
        const attn__vec m = attn__vset1(largest[r]);
#define ATTN__X(v)                                                                                                     \
    if (vecs > v) x[v] = attn__vsub(attn__vload(row + v * ATTN__VL), m);
        ATTN__EACH(ATTN__X)
#undef ATTN__X
#define ATTN__X(v)                                                                                                     \
    if (v % ATTN__LOCKSTEP == 0 && vecs > v)                                                                           \
        vecs - v >= ATTN__LOCKSTEP ? ATTN__V(exp2_lockstep)(x + v)                                                     \
        : vecs - v > 1             ? ATTN__V(exp2_some)(vecs - v, x + v)                                               \
                                   : ATTN__V(exp2_alone)(x + v);
        ATTN__EACH(ATTN__X)
#undef ATTN__X
#define ATTN__X(v)                                                                                                     \
    if (vecs > v) attn__vstore(row + v * ATTN__VL, x[v]);
        ATTN__EACH(ATTN__X)
#undef ATTN__X
    }
    for (r = 0, row = tile; r < rows; r++, row += ATTN__TILE_STRIDE) { /* a chain, see weigh_row */
        attn__real sum = 0;
        for (size_t j = 0; j < n; j++) sum += row[j];
        sums[r] = (double)sum;
    }
    return 0;
}

ATTN__NOINLINE static int ATTN__V(softmax_rows)(attn__real *tile, size_t rows, size_t n, size_t visible, double *sums)
{
    return n > ATTN__VL ? ATTN__V(softmax_set)(ATTN__SET, tile, rows, n, visible, sums)
                        : ATTN__V(softmax_set)(1, tile, rows, n, visible, sums);
}

/* Which of the rows that are not to be redone yet have results that are not finite. `nonfinite`: if any of all has. */
ATTN__INLINE int ATTN__V(look_again)(const attn__small *p, size_t rows, attn__real *out, ptrdiff_t step,
                                     const attn__vec nonfinite[4])
{
    int any = 0;
    if (ATTN__V(all_finite)(nonfinite)) return 0;
    for (size_t r = 0; r < rows; r++, out += step)
        if (!p->redo[r] && ATTN__V(scale)(out, out, p->dim_v, 1)) p->redo[r] = ATTN__BAD_OUTPUT, any = 1;
    return any;
}

static int ATTN__V(small)(const attn__small *p, const void *q_, const void *k_, const void *v_, void *out_,
                          void *weights_)
{
    const attn__real *q = (const attn__real *)q_, *k = (const attn__real *)k_, *values = (const attn__real *)v_;
    const size_t n = p->kv_len, width = (p->dim_v + ATTN__VL - 1) / ATTN__VL * ATTN__VL;
    attn__real *out = (attn__real *)out_, *weights = (attn__real *)weights_, *queries = (attn__real *)p->queries,
               *keys = (attn__real *)p->keys, *tile = (attn__real *)p->tile, *acc = (attn__real *)p->acc;
    attn__vec nonfinite[4], spare[4];
    size_t rows, stride = ATTN__NR, panel = n * ATTN__NR;
    int any = 0;
    for (size_t i = 0; i < n; i += ATTN__NR) ATTN__V(turn_rows)
    (keys + i * p->dim, ATTN__NR, k + (ptrdiff_t)i * p->k_step, p->k_step, n - i < ATTN__NR ? n - i : ATTN__NR, p->dim,
     0);
    if (width == p->dim_v && p->v_step >= 0) stride = (size_t)p->v_step, panel = ATTN__NR;
    else {
        ATTN__V(pack)(p->values, values, ATTN__DTYPE, p->dim_v, n, 1, p->v_step);
        values = (const attn__real *)p->values;
    }
    nonfinite[0] = nonfinite[1] = nonfinite[2] = nonfinite[3] = attn__vset1(0);
    spare[0] = spare[1] = spare[2] = spare[3] = nonfinite[0];
    for (size_t i = 0; i < p->q_len; i += rows) {
        double sum[ATTN__MR];
        rows = attn__tile_rows(p->q_len - i, ATTN__MR);
        for (size_t r = 0; r < rows; r++, q += p->q_step) {
            attn__real *query = queries + r * ATTN__TILE_STRIDE;
            ATTN__V(scale_row)(query, q, p->dim, p->scale, spare);
            if (p->unit > 1) ATTN__V(scale_row)(query, query, p->dim, p->unit, spare);
        }
        ATTN__V(multiply)(rows, n, p->dim, queries, keys, ATTN__NR, p->dim * ATTN__NR, tile, ATTN__TILE_STRIDE, 0);
        if (ATTN__V(softmax_rows)(tile, rows, n, p->visible + i, sum))
            for (size_t r = 0; r < rows; r++)
                if (ATTN__V(softmax_rows)(tile + r * ATTN__TILE_STRIDE, 1, n, p->visible + i + r, sum + r))
                    p->redo[i + r] = ATTN__BAD_SCORES, sum[r] = 1, any = 1;
        ATTN__V(multiply)(rows, width, n, tile, values, stride, panel, acc, width, 0);
        for (size_t r = 0; r < rows; r++, out += p->out_step)
            ATTN__V(scale_row)(out, acc + r * width, p->dim_v, sum[r] = 1 / sum[r], nonfinite);
        if (!weights) continue;
        ATTN__V(scale_rows)(weights, p->weights_step, tile, ATTN__TILE_STRIDE, rows, n, sum, 1);
        weights += (ptrdiff_t)rows * p->weights_step;
    }
    return ATTN__V(look_again)(p, p->q_len, (attn__real *)out_, p->out_step, nonfinite) || any;
}

#if ATTN__VL > 1
/* Scores of one or two queries, each with VL keys, which are in lanes: two chains hide how long each takes.
 * `vecs` is a constant. */
ATTN__INLINE void ATTN__V(dot_vectors)(const int vecs, size_t depth, const attn__real *q0, const attn__real *keys0,
                                       attn__real *to0, const attn__real *q1, const attn__real *keys1, attn__real *to1,
                                       ptrdiff_t stride, int fetches)
{
    attn__vec c0 = attn__vset1(0), c1 = c0, x[ATTN__QUAD], y[ATTN__QUAD];
    attn__real column[2][ATTN__VL];
    size_t k = 0;
#define ATTN__X(i)                                                                                                     \
    c0 = attn__vfma(attn__vset1(q0[k + i]), x[i], c0);                                                                 \
    if (vecs > 1) c1 = attn__vfma(attn__vset1(q1[k + i]), y[i], c1);
#define ATTN__Y(i)                                                                                                     \
    if (i < ATTN__VL / 2) ATTN__PREFETCH_NEAR(keys0, (ptrdiff_t)(first + i) * stride + (ptrdiff_t)k);
    for (; k + ATTN__QUAD <= depth; k += ATTN__QUAD) {
        const size_t first = 2 * ATTN__VL + k / ATTN__QUAD % 4 * (ATTN__VL / 2); /* a line takes so many steps */
        ATTN__V(transpose)(keys0 + k, stride, x);
        if (vecs > 1) ATTN__V(transpose)(keys1 + k, stride, y);
        if (fetches && ATTN__VL >= 8) { /* shorter vectors take so long by themselves */
            ATTN__REPEAT_8(ATTN__Y)
        }
        ATTN__EACH_OF_QUAD(ATTN__X)
    }
#undef ATTN__X
#undef ATTN__Y
    for (; k < depth; k++) {
        for (ptrdiff_t j = 0; j < ATTN__VL; j++) {
            column[0][j] = keys0[j * stride + (ptrdiff_t)k];
            if (vecs > 1) column[1][j] = keys1[j * stride + (ptrdiff_t)k];
        }
        c0 = attn__vfma(attn__vset1(q0[k]), attn__vload(column[0]), c0);
        if (vecs > 1) c1 = attn__vfma(attn__vset1(q1[k]), attn__vload(column[1]), c1);
    }
    attn__vstore(to0, c0);
    if (vecs > 1) attn__vstore(to1, c1);
}

/* Scores of one query with n keys, which may be fewer than VL, or the last ones of which may be done twice. If there
 * are VL, and `apart` is not 0, also of the next query and the keys of the next head, which are so far apart. */
ATTN__NOINLINE static void ATTN__V(dot_alone)(size_t n, size_t depth, const attn__real *q, const attn__real *keys,
                                              ptrdiff_t stride, ptrdiff_t apart, int fetches, attn__real *to)
{
    if (n < ATTN__VL) ATTN__V(dot_few)(n, depth, q, keys, stride, to, 0);
    for (size_t j = 0; n >= ATTN__VL && j < n; j += 2 * ATTN__VL) {
        const size_t first = j + ATTN__VL < n ? j : n - ATTN__VL,
                     second = j + 2 * ATTN__VL < n ? j + ATTN__VL : n - ATTN__VL;
        const attn__real *at = keys + (ptrdiff_t)first * stride;
        if (first < second || apart) ATTN__V(dot_vectors)
        (2, depth, q, at, to + first, apart ? q + depth : q, apart ? at + apart : keys + (ptrdiff_t)second * stride,
         apart ? to + ATTN__TILE_STRIDE : to + second, stride, fetches);
        else ATTN__V(dot_vectors)(1, depth, q, at, to + first, q, NULL, NULL, stride, fetches); }
}

/* The sum of n values, each with its weight. What is more than registers hold is done a piece at a time, so that values
 * come in order. */
ATTN__INLINE void ATTN__V(sum_row)(size_t n, size_t width, const attn__real *weights, const attn__real *values,
                                   ptrdiff_t stride, attn__real *sums)
{
    const uintptr_t ahead = (uintptr_t)stride * ATTN__ROWS_AHEAD * sizeof *values;
    const size_t piece = width > 8 * ATTN__VL ? ATTN__CHAIN : n, rest = width % ATTN__VL;
    for (size_t j = 0, count; j < n; j += count, weights += count, values += (ptrdiff_t)count * stride) {
        size_t c;
        count = n - j < piece ? n - j : piece;
        c = ATTN__V(add_columns)(width, count, weights, values, (size_t)stride, ahead, sums, j > 0);
        if (rest) {
            attn__vec sum = j > 0 ? attn__vload(sums + c) : attn__vset1(0);
            for (size_t i = 0; i < count; i++)
                sum = attn__vfma(attn__vset1(weights[i]), ATTN__V(load_part)(values + (ptrdiff_t)i * stride + c, rest),
                                 sum);
            attn__vstore(sums + c, sum);
        }
    }
}

static int ATTN__V(alone)(const attn__small *p, const void *q, const void *k_, const void *v_, void *out_,
                          void *weights)
{
    const attn__real *query = (const attn__real *)p->keys, *k = (const attn__real *)k_, *v = (const attn__real *)v_;
    attn__real *out = (attn__real *)out_, *tile = (attn__real *)p->tile, *acc = (attn__real *)p->acc, *row = tile;
    const size_t n = p->kv_len, heads = p->heads, last = (n + ATTN__CHAIN - 1) / ATTN__CHAIN * ATTN__CHAIN;
    double sum[ATTN__MR], max;
    int any = 0;
    attn__vec nonfinite[4];
    ATTN__V(scale_rows)(p->keys, (ptrdiff_t)p->dim, q, (size_t)p->q_head, heads, p->dim, &p->scale, 0);
    if (p->unit > 1) ATTN__V(scale_rows)(p->keys, (ptrdiff_t)p->dim, p->keys, p->dim, heads, p->dim, &p->unit, 0);
    for (size_t h = 0, done; h < heads; h += done) {
        done = n == ATTN__VL && p->k_head && h + 1 < heads ? 2 : 1;
        ATTN__V(dot_alone)(n, p->dim, query, k, p->k_step, done > 1 ? p->k_head : 0, p->fetches, row);
        query += done * p->dim, k += (ptrdiff_t)done * p->k_head, row += done * ATTN__TILE_STRIDE;
    }
    if (n > ATTN__LANES || ATTN__V(softmax_rows)(tile, heads, n, n, sum))
        for (size_t h = 0; h < heads; h++)
            if (ATTN__V(weigh_row)(tile + h * ATTN__TILE_STRIDE, 0, 0, n, last, &max, sum + h))
                p->redo[h] = ATTN__BAD_SCORES, any = 1;
    nonfinite[0] = nonfinite[1] = nonfinite[2] = nonfinite[3] = attn__vset1(0);
    for (size_t h = 0; h < heads; h++, v += p->v_head, out += p->out_head) {
        sum[h] = p->redo[h] ? 0 : 1 / sum[h];
        if (p->redo[h]) continue;
        ATTN__V(sum_row)(n, p->dim_v, tile + h * ATTN__TILE_STRIDE, v, p->v_step, acc);
        ATTN__V(scale_row)(out, acc, p->dim_v, sum[h], nonfinite);
    }
    if (weights) ATTN__V(scale_rows)(weights, p->weights_head, tile, ATTN__TILE_STRIDE, heads, n, sum, 1);
    return ATTN__V(look_again)(p, heads, (attn__real *)out_, p->out_head, nonfinite) || any;
}
#endif

static void ATTN__V(turn_tile)(void *to, size_t to_stride, const void *from, ptrdiff_t stride, size_t rows, size_t cols)
{
    ATTN__V(turn_rows)((attn__real *)to, to_stride, (const attn__real *)from, stride, rows, cols, 0);
}

static double ATTN__V(copy)(void *to_, size_t to_stride, const void *from_, attn_dtype dtype, ptrdiff_t stride,
                            ptrdiff_t row_stride, size_t rows, size_t n)
{
    const ptrdiff_t size = (ptrdiff_t)attn_dtype_size(dtype);
    const char *from = (const char *)from_;
    attn__real *to = (attn__real *)to_;
    const size_t whole = stride == 1 ? n / ATTN__VL * ATTN__VL : 0;
    attn__real rest = 0;
#define ATTN__X(v) attn__vec squares##v = attn__vset1(0); /* in four chains */
    ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
    for (; rows > 0; rows--, to += to_stride, from += row_stride * size) {
        size_t i = 0;
#define ATTN__X(v)                                                                                                     \
    {                                                                                                                  \
        const attn__vec x = ATTN__V(load_as)(from + (ptrdiff_t)(i + v * ATTN__VL) * size, dtype);                      \
        attn__vstore(to + i + v * ATTN__VL, x);                                                                        \
        squares##v = attn__vfma(x, x, squares##v);                                                                     \
    }
        for (; i + 4 * ATTN__VL <= whole; i += 4 * ATTN__VL) {
            ATTN__REPEAT_4(ATTN__X)
        }
        for (; i < whole; i += ATTN__VL) {
            ATTN__REPEAT_1(ATTN__X)
        }
#undef ATTN__X
        if (i == n) continue;
        ATTN__V(load_row)(to + i, from + (ptrdiff_t)i * stride * size, dtype, stride, n - i);
        for (; i < n; i++) rest += to[i] * to[i];
    }
    return (double)attn__vsum_across(attn__vadd(attn__vadd(squares0, squares1), attn__vadd(squares2, squares3))) +
           (double)rest;
}

/* As many tiles as n rows of `a` need, over a panel b. */
ATTN__INLINE void ATTN__V(tiles)(const int apart, size_t n, size_t cols, size_t depth, const attn__real *a,
                                 ptrdiff_t lda, const char *b, attn__real *c, int accumulate, attn__real *max,
                                 attn__soon *soon)
{
    size_t rows;
    for (; n > 0; n -= rows, a += rows * (size_t)(apart ? apart : 1), c += rows * ATTN__NR) {
        const char *line = soon->runs ? soon->at : b;
        const ptrdiff_t hop = soon->runs ? soon->hop : 0;
        if (soon->runs) attn__fetched(soon, depth);
        rows = attn__tile_rows(n, ATTN__MR);
        ATTN__V(any_tile)
        (rows, cols > ATTN__VL, apart, ATTN__DTYPE, depth, a, lda, b, ATTN__NR, 0, c, ATTN__NR, accumulate, max, line,
         hop);
    }
}

static void ATTN__V(score_keys)(size_t n, size_t cols, size_t depth, const void *keys, const void *queries,
                                void *scores, int accumulate, void *max_, int raise, attn__soon *ahead)
{
    attn__real *max = (attn__real *)max_;
    for (size_t c = 0; c < ATTN__NR && max && !raise; c++) max[c] = ATTN__C(MASKED);
    ATTN__V(tiles)
    (ATTN__KEY_STRIDE, n, cols, depth, (const attn__real *)keys, 0, (const char *)queries, (attn__real *)scores,
     accumulate, max, ahead);
}

static void ATTN__V(sum_values)(size_t dims, size_t cols, size_t keys, const void *values, ptrdiff_t stride,
                                const void *weights, void *sums, int accumulate, attn__soon *ahead)
{
    ATTN__V(tiles)
    (0, dims, cols, keys, (const attn__real *)values, stride, (const char *)weights, (attn__real *)sums, accumulate,
     NULL, ahead);
}

/* Rows [from, to) of a tile, `vecs` vectors wide: MASKED where a column does not see them, if lo is not NULL. Raises
 * max; `nonfinite` turns NaN, and stays so, at NaN and infinity. */
ATTN__INLINE void ATTN__V(look)(const int vecs, attn__real *tile, size_t from, size_t to, const attn__real *lo,
                                const attn__real *hi, attn__real *max, attn__real *nonfinite)
{
    const attn__vec masked = attn__vset1(ATTN__C(MASKED));
#define ATTN__X(v)                                                                                                     \
    attn__vec max##v = attn__vload(max + (vecs > v ? v * ATTN__VL : 0)),                                               \
              bad##v = attn__vload(nonfinite + (vecs > v ? v * ATTN__VL : 0));
#define ATTN__Y(v)                                                                                                     \
    if (vecs > v) {                                                                                                    \
        attn__vec x = attn__vload(tile + j * ATTN__NR + v * ATTN__VL);                                                 \
        if (lo) {                                                                                                      \
            const attn__vec at = attn__vset1((attn__real)j);                                                           \
            x = attn__vchoose(x, at, attn__vload(lo + v * ATTN__VL), masked);                                          \
            x = attn__vchoose(masked, at, attn__vload(hi + v * ATTN__VL), x);                                          \
            attn__vstore(tile + j * ATTN__NR + v * ATTN__VL, x);                                                       \
        }                                                                                                              \
        max##v = attn__vmax(max##v, x);                                                                                \
        bad##v = attn__vadd(bad##v, attn__vsub(x, x));                                                                 \
    }
    ATTN__REPEAT_2(ATTN__X)
    for (size_t j = from; j < to; j++) {
        ATTN__REPEAT_2(ATTN__Y)
    }
#undef ATTN__X
#undef ATTN__Y
#define ATTN__X(v)                                                                                                     \
    if (vecs > v) attn__vstore(max + v * ATTN__VL, max##v), attn__vstore(nonfinite + v * ATTN__VL, bad##v);
    ATTN__REPEAT_2(ATTN__X)
#undef ATTN__X
}

/* 2^(score - max) of rows [from, to), whole steps, of a panel `vecs` vectors wide, and the sums of its chains: row c /
 * CHAIN of a block is the first of chain c, and row `from` that of `first`. */
ATTN__INLINE void ATTN__V(exp_rows)(const int vecs, attn__real *tile, size_t from, size_t to, size_t first,
                                    const attn__real *max, attn__real *sum)
{
    const attn__vec max0 = attn__vload(max), max1 = attn__vload(max + ATTN__VL);
    attn__real sums[ATTN__CHAINS][ATTN__NR];
    attn__memset(sums, 0, sizeof sums);
    for (size_t j = from; j < to;) {
        const size_t chain = (first + j) / ATTN__CHAIN, next = (chain + 1) * ATTN__CHAIN - first,
                     end = next < to ? next : to;
        attn__vec sum0 = attn__vset1(0), sum1 = sum0;
        for (; j < end; j += (size_t)(ATTN__LOCKSTEP / vecs)) {
            attn__real *at = tile + j * ATTN__NR;
            attn__vec x[4];
#define ATTN__X(i)                                                                                                     \
    if (i < ATTN__LOCKSTEP)                                                                                            \
        x[i] = attn__vsub(attn__vload(at + i / vecs * ATTN__NR + i % vecs * ATTN__VL), i % vecs ? max1 : max0);
            ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
            ATTN__V(exp2_lockstep)(x);
#define ATTN__X(i)                                                                                                     \
    if (i < ATTN__LOCKSTEP) {                                                                                          \
        attn__vstore(at + i / vecs * ATTN__NR + i % vecs * ATTN__VL, x[i]);                                            \
        if (i % vecs) sum1 = attn__vadd(sum1, x[i]);                                                                   \
        else sum0 = attn__vadd(sum0, x[i]);                                                                            \
    }
            ATTN__REPEAT_4(ATTN__X)
#undef ATTN__X
        }
        attn__vstore(sums[chain], sum0);
        if (vecs > 1) attn__vstore(sums[chain] + ATTN__VL, sum1);
    }
    for (size_t w = ATTN__CHAINS / 2; w > 0; w /= 2)
        for (size_t i = 0; i < w; i++)
            for (size_t c = 0; c < (size_t)vecs * ATTN__VL; c += ATTN__VL)
                attn__vstore(sums[i] + c, attn__vadd(attn__vload(sums[i] + c), attn__vload(sums[i + w] + c)));
    attn__memcpy(sum, sums[0], sizeof sums[0]);
}

static void ATTN__V(weigh)(void *scores, size_t cols, const attn__block_range *ranges, size_t first, attn__range within,
                           attn__range seen, void *max_, int looked, double *max_out, double *sum_out)
{
    attn__real *tile = (attn__real *)scores, *max = (attn__real *)max_;
    attn__real lo[ATTN__NR], hi[ATTN__NR], nonfinite[ATTN__NR], sum[ATTN__NR];
    const size_t width = cols > ATTN__VL ? ATTN__NR : ATTN__VL, step = ATTN__LOCKSTEP * ATTN__VL / width;
    const size_t from = within.lo, to = within.hi, begin = from / step * step, end = (to + step - 1) / step * step;
    for (size_t c = 0; c < ATTN__NR; c++) {
        const int sees = c < cols && (!ranges || ranges[c].mask_state != ATTN__MASK_DROPS_ALL);
        lo[c] = sees ? (attn__real)(ranges ? ranges[c].lo - first : from) : 0;
        hi[c] = sees ? (attn__real)(ranges ? ranges[c].hi - first : to) : 0;
        nonfinite[c] = 0;
        if (!looked) max[c] = ATTN__C(MASKED);
    }
    /* lane by lane one column after the other: of two at once clang makes half of a vector, and compares what is in
     * the other half */
#define ATTN__X(vecs, c)                                                                                               \
    {                                                                                                                  \
        ATTN__V(look)(vecs, tile + (c), from, seen.lo, lo + (c), hi + (c), max + (c), nonfinite + (c));                \
        if (!looked) ATTN__V(look)(vecs, tile + (c), seen.lo, seen.hi, NULL, NULL, max + (c), nonfinite + (c));        \
        ATTN__V(look)(vecs, tile + (c), seen.hi, to, lo + (c), hi + (c), max + (c), nonfinite + (c));                  \
    }
    if (ATTN__VL > 1 && width > ATTN__VL) ATTN__X(2, 0)
    else
        for (size_t c = 0; c < width; c += ATTN__VL) ATTN__X(1, c)
#undef ATTN__X
    for (size_t c = 0; c < ATTN__NR; c++) {
        const int safe = ATTN__FUNCTION(finite)(nonfinite[c]) && max[c] > ATTN__C(LOWEST_SAFE);
        if (c < cols)
            max_out[c] = !(lo[c] < hi[c]) ? -attn__infinity()
                         : safe           ? (double)max[c] * ATTN__LN2 + 0 /* never -0 */
                                          : attn__from_bits_f64(0x7ff8000000000000u);
        if (!safe || !(lo[c] < hi[c])) max[c] = 0, hi[c] = lo[c];
    }
    for (size_t c = 0; c < width; c += ATTN__VL) {
        for (size_t j = begin; j < from; j++) attn__vstore(tile + j * ATTN__NR + c, attn__vset1(ATTN__C(MASKED)));
        for (size_t j = to; j < end; j++) attn__vstore(tile + j * ATTN__NR + c, attn__vset1(ATTN__C(MASKED)));
    }
    if (width > ATTN__VL) ATTN__V(exp_rows)(2, tile, begin, end, first, max, sum);
    else ATTN__V(exp_rows)(1, tile, begin, end, first, max, sum);
    for (size_t c = 0; c < cols; c++) sum_out[c] = lo[c] < hi[c] ? (double)sum[c] : 0;
}

#if ATTN__F64
#define ATTN__OF_DOUBLES(name) ATTN__V(name)
#define ATTN__OF_SINGLES(name) NULL
#else
#define ATTN__OF_DOUBLES(name) NULL
#define ATTN__OF_SINGLES(name) ATTN__V(name)
#endif
static const attn__kernel ATTN__V(kernel) = {
    /* .size             = */ sizeof(attn__real),
    /* .mr               = */ ATTN__MR,
    /* .nr               = */ ATTN__NR,
    /* .lanes            = */ ATTN__LANES,
    /* .step             = */ ATTN__STEP_KEYS,
    /* .dtype            = */ ATTN__DTYPE,
#if ATTN__VL > 1
    /* .few_rows         = */ ATTN__FEW_ROWS,
    /* .dot_keys         = */ ATTN__V(dot_keys),
    /* .dot_panel        = */ ATTN__V(dot_panel),
    /* .add_values       = */ ATTN__V(add_values),
#else
    /* no lanes: nothing to gain */ 0,
    NULL,
    NULL,
    NULL,
#endif
    /* .pack             = */ ATTN__V(pack),
    /* .multiply         = */ ATTN__V(multiply),
    /* .product          = */ ATTN__V(product),
    /* .softmax          = */ ATTN__V(softmax),
    /* .weigh_row        = */ ATTN__V(weigh_row),
    /* .softmax_columns  = */ ATTN__V(softmax_columns),
    /* .scale_columns    = */ ATTN__V(scale_columns),
    /* .turn             = */ ATTN__V(turn_tile),
    /* .copy             = */ ATTN__V(copy),
    /* .score_keys       = */ ATTN__V(score_keys),
    /* .weigh            = */ ATTN__V(weigh),
    /* .sum_values       = */ ATTN__V(sum_values),
    /* .set_aside        = */ ATTN__V(set_aside),
    /* .scale_largely    = */ ATTN__OF_DOUBLES(scale_largely),
    /* .complete         = */ ATTN__OF_DOUBLES(complete),
    /* .find_top         = */ ATTN__OF_DOUBLES(find_top),
    /* .limit            = */ ATTN__OF_DOUBLES(limit),
    /* .decide           = */ ATTN__OF_DOUBLES(decide),
    /* .join             = */ ATTN__V(join),
    /* .exp_difference   = */ ATTN__V(exp_difference),
    /* .scale            = */ ATTN__V(scale),
    /* .scale_rows       = */ ATTN__V(scale_rows),
    /* .small            = */ ATTN__V(small),
#if ATTN__VL > 1
    /* .alone            = */ ATTN__V(alone),
#else
    /* .alone            = */ NULL,
#endif
    /* .softcap          = */ ATTN__V(softcap),
    /* .alibi            = */ ATTN__V(alibi),
    /* .join_bias        = */ ATTN__V(join_bias),
    /* .bias             = */ ATTN__V(bias),
    /* .bias_panel       = */ ATTN__V(bias_panel),
    /* .mask             = */ ATTN__V(mask),
    /* .turns            = */ ATTN__OF_DOUBLES(turns),
    /* .logs             = */ ATTN__OF_DOUBLES(logs),
    /* .cosines          = */ ATTN__OF_DOUBLES(cosines),
    /* .rotate           = */ ATTN__OF_DOUBLES(rotate),
    /* .narrow           = */ ATTN__OF_DOUBLES(narrow),
    /* .rotate_singles   = */ ATTN__OF_DOUBLES(rotate_singles),
    /* .load             = */ ATTN__V(load_any),
    /* .store            = */ ATTN__V(store_row),
    /* .decode           = */ ATTN__OF_SINGLES(decode),
    /* .magnitude        = */ ATTN__OF_SINGLES(magnitude),
    /* .encode           = */ ATTN__OF_SINGLES(encode),
#if !ATTN__F64 && ATTN__VL > 1 && defined(ATTN__OWN_BYTES)
    /* .dot_codes        = */ ATTN__V(dot_codes),
    /* .add_codes        = */ ATTN__V(add_codes)
#else
    NULL,
    NULL
#endif
};
#undef ATTN__OF_DOUBLES
#undef ATTN__OF_SINGLES
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
