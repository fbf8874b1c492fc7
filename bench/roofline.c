/* SPDX-License-Identifier: MIT-0
 *
 * roofline.c - the ceilings: how fast this core multiplies and adds, and how
 * fast it reads and copies.
 */
#include "bench.h"

enum { LINE = 64 };

/* The loops store their results here, so that the compiler cannot remove them. */
static float sink[LINE / sizeof(float)] __attribute__((aligned(LINE)));
static volatile float used;

#if defined(__x86_64__)
#include <immintrin.h>

#define WIDTH 512
#define NAME(f) f##_512
#define TARGET __attribute__((target("avx512f")))
#define VECTOR __m512
#define SET _mm512_set1_ps
#define FMA _mm512_fmadd_ps
#define STORE _mm512_store_ps
#define WORDS __m512i
#define ZERO _mm512_setzero_si512
#define OR _mm512_or_si512
#define READ(p) _mm512_load_si512((const void *)(p))
#define WRITE(p, x) _mm512_store_si512((void *)(p), x)
#define WRITE_PAST_CACHE(p, x) _mm512_stream_si512((void *)(p), x)
#include "roofline_body.h"

#define WIDTH 256
#define NAME(f) f##_256
#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR __m256
#define SET _mm256_set1_ps
#define FMA _mm256_fmadd_ps
#define STORE _mm256_store_ps
#define WORDS __m256i
#define ZERO _mm256_setzero_si256
#define OR _mm256_or_si256
#define READ(p) _mm256_load_si256((const void *)(p))
#define WRITE(p, x) _mm256_store_si256((void *)(p), x)
#define WRITE_PAST_CACHE(p, x) _mm256_stream_si256((void *)(p), x)
#include "roofline_body.h"
#endif

/* 128 bits in the compiler's own vectors, for any machine: with fused multiply-add if an
 * instruction is named here, else with a product and a sum. */
typedef float floats __attribute__((vector_size(16), may_alias));
typedef uint64_t words __attribute__((vector_size(16), may_alias));

#if defined(__aarch64__)
#include <arm_neon.h>
#define FMA(x, a, b) ((floats)vfmaq_f32((float32x4_t)(b), (float32x4_t)(x), (float32x4_t)(a)))
#else
#define FMA(x, a, b) ((x) * (a) + (b))
#endif
#define WIDTH 128
#define NAME(f) f##_128
#define TARGET
#define VECTOR floats
#define SET(x) ((floats){x, x, x, x})
#define STORE(p, x) (*(floats *)(void *)(p) = (x))
#define WORDS words
#define ZERO() ((words){0, 0})
#define OR(a, b) ((a) | (b))
#define READ(p) (*(const words *)(const void *)(p))
#define WRITE(p, x) (*(words *)(void *)(p) = (x))
#include "roofline_body.h"

size_t bench_roofline(const bench_loops *loops[BENCH_WIDTHS])
{
    size_t n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) loops[n++] = &loops_512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) loops[n++] = &loops_256;
#endif
    if (!n) loops[n++] = &loops_128;
    return n;
}
