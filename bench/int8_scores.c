/* SPDX-License-Identifier: MIT-0
 *
 * int8_scores.c - what integer instructions would give for scores of int8 keys: loops for llvm-mca, not for use.
 * NOTES.md has the table and the commands. Each is the body of a loop over keys: four query heads that share them,
 * head_dim 128, queries in memory, one sum for each head at the end. Sums of integers are exact, so that their order
 * is free; the scale of a key is a product at the end.
 *
 * float is what attention.h promises today: each element becomes a float32, by one product, before it is added to
 * anything. words: queries of 15 bits as int16. bytes: queries of 8 bits (bytes7: 7, so that maddubs does not
 * saturate). limbs: queries of 15 bits as two of 8.
 */
#include <stdint.h>

enum { DIM = 128 };

#define BEGIN(name) __asm__ volatile("# LLVM-MCA-BEGIN " name ::: "memory")
#define END(name) __asm__ volatile("# LLVM-MCA-END " name ::: "memory")
#define UNROLL _Pragma("clang loop unroll(full)")

#if defined(__aarch64__)
#include <arm_neon.h>

void floats(const int8_t *k, const float *q, const float *scale, float *out, long n)
{
    for (long j = 0; j < n; j++, k += DIM, out += 4) {
        BEGIN("float");
        float32x4_t sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
        const float32x4_t s = vdupq_n_f32(scale[j]);
        UNROLL for (int i = 0; i < DIM; i += 16)
        {
            const int8x16_t bytes = vld1q_s8(k + i);
            const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
            const float32x4_t x[4] = {vmulq_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), s),
                                      vmulq_f32(vcvtq_f32_s32(vmovl_high_s16(low)), s),
                                      vmulq_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), s),
                                      vmulq_f32(vcvtq_f32_s32(vmovl_high_s16(high)), s)};
            for (int part = 0; part < 4; part++)
                for (int g = 0; g < 4; g++) sum[g] = vfmaq_f32(sum[g], x[part], vld1q_f32(q + g * DIM + i + part * 4));
        }
        vst1q_f32(out, vpaddq_f32(vpaddq_f32(sum[0], sum[1]), vpaddq_f32(sum[2], sum[3])));
        END("float");
    }
}

void bytes(const int8_t *k, const int8_t *q, int32_t *out, long n)
{
    for (long j = 0; j < n; j++, k += DIM, out += 4) {
        BEGIN("bytes");
        int32x4_t sum[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
        UNROLL for (int i = 0; i < DIM; i += 16) for (int g = 0; g < 4; g++) sum[g] =
            vdotq_s32(sum[g], vld1q_s8(k + i), vld1q_s8(q + g * DIM + i));
        vst1q_s32(out, vpaddq_s32(vpaddq_s32(sum[0], sum[1]), vpaddq_s32(sum[2], sum[3])));
        END("bytes");
    }
}

void limbs(const int8_t *k, const int8_t *q, int32_t *out, long n)
{
    for (long j = 0; j < n; j++, k += DIM, out += 8) {
        BEGIN("limbs");
        int32x4_t sum[8];
        for (int g = 0; g < 8; g++) sum[g] = vdupq_n_s32(0);
        UNROLL for (int i = 0; i < DIM; i += 16) for (int g = 0; g < 8; g++) sum[g] =
            vdotq_s32(sum[g], vld1q_s8(k + i), vld1q_s8(q + g * DIM + i));
        for (int g = 0; g < 8; g += 4)
            vst1q_s32(out + g, vpaddq_s32(vpaddq_s32(sum[g], sum[g + 1]), vpaddq_s32(sum[g + 2], sum[g + 3])));
        END("limbs");
    }
}

#else
#include <immintrin.h>

static inline __m128i sums(__m256i a, __m256i b, __m256i c, __m256i d)
{
    const __m256i all = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}
static inline __m256i at(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

void floats(const int8_t *k, const float *q, const float *scale, float *out, long n)
{
    for (long j = 0; j < n; j++, k += DIM, out += 4) {
        BEGIN("float");
        __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()}, all;
        const __m256 s = _mm256_broadcast_ss(scale + j);
        UNROLL for (int i = 0; i < DIM; i += 8)
        {
            const __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(k + i)));
            const __m256 x = _mm256_mul_ps(_mm256_cvtepi32_ps(wide), s);
            for (int g = 0; g < 4; g++) sum[g] = _mm256_fmadd_ps(x, _mm256_loadu_ps(q + g * DIM + i), sum[g]);
        }
        all = _mm256_hadd_ps(_mm256_hadd_ps(sum[0], sum[1]), _mm256_hadd_ps(sum[2], sum[3]));
        _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
        END("float");
    }
}

void words(const int8_t *k, const int16_t *q, int32_t *out, long n)
{
    for (long j = 0; j < n; j++, k += DIM, out += 4) {
        BEGIN("words");
        __m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                          _mm256_setzero_si256()};
        UNROLL for (int i = 0; i < DIM; i += 16)
        {
            const __m256i x = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(k + i)));
            for (int g = 0; g < 4; g++) sum[g] = _mm256_add_epi32(sum[g], _mm256_madd_epi16(x, at(q + g * DIM + i)));
        }
        _mm_storeu_si128((__m128i *)out, sums(sum[0], sum[1], sum[2], sum[3]));
        END("words");
    }
}

void bytes_by_sign(const int8_t *k, const int8_t *q, int32_t *out, long n)
{
    const __m256i ones = _mm256_set1_epi16(1);
    for (long j = 0; j < n; j++, k += DIM, out += 4) {
        BEGIN("bytes-maddubs");
        __m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                          _mm256_setzero_si256()};
        UNROLL for (int i = 0; i < DIM; i += 32)
        {
            const __m256i x = at(k + i), size = _mm256_abs_epi8(x);
            for (int g = 0; g < 4; g++) {
                const __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(at(q + g * DIM + i), x));
                sum[g] = _mm256_add_epi32(sum[g], _mm256_madd_epi16(pairs, ones));
            }
        }
        _mm_storeu_si128((__m128i *)out, sums(sum[0], sum[1], sum[2], sum[3]));
        END("bytes-maddubs");
    }
}

/* Keys + 128; 128 times the sum of a query is subtracted at the end, with the other products. */
void bytes7(const int8_t *k, const int8_t *q, int32_t *out, long n)
{
    const __m256i ones = _mm256_set1_epi16(1), high = _mm256_set1_epi8(-128);
    for (long j = 0; j < n; j++, k += DIM, out += 4) {
        BEGIN("bytes7-maddubs");
        __m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                          _mm256_setzero_si256()};
        UNROLL for (int i = 0; i < DIM; i += 32)
        {
            const __m256i x = _mm256_xor_si256(at(k + i), high);
            for (int g = 0; g < 4; g++)
                sum[g] =
                    _mm256_add_epi32(sum[g], _mm256_madd_epi16(_mm256_maddubs_epi16(x, at(q + g * DIM + i)), ones));
        }
        _mm_storeu_si128((__m128i *)out, sums(sum[0], sum[1], sum[2], sum[3]));
        END("bytes7-maddubs");
    }
}

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#ifdef __AVX512VNNI__
typedef __m512i vector;
enum { STEP = 64 };
#define LOAD(p) _mm512_loadu_si512(p)
#define SET(x) _mm512_set1_epi8(x)
#define XOR(a, b) _mm512_xor_si512(a, b)
#define DOT(sum, a, b) _mm512_dpbusd_epi32(sum, a, b)
#define HALVES(a) _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1))
#else
typedef __m256i vector;
enum { STEP = 32 };
#define LOAD(p) at(p)
#define SET(x) _mm256_set1_epi8(x)
#define XOR(a, b) _mm256_xor_si256(a, b)
#define DOT(sum, a, b) _mm256_dpbusd_avx_epi32(sum, a, b)
#define HALVES(a) (a)
#endif

void bytes(const int8_t *k, const int8_t *q, int32_t *out, long n)
{
    for (long j = 0; j < n; j++, k += DIM, out += 4) {
        BEGIN("bytes-dpbusd");
        vector sum[4] = {SET(0), SET(0), SET(0), SET(0)};
        UNROLL for (int i = 0; i < DIM; i += STEP)
        {
            const vector x = XOR(LOAD(k + i), SET(-128));
            for (int g = 0; g < 4; g++) sum[g] = DOT(sum[g], x, LOAD(q + g * DIM + i));
        }
        _mm_storeu_si128((__m128i *)out, sums(HALVES(sum[0]), HALVES(sum[1]), HALVES(sum[2]), HALVES(sum[3])));
        END("bytes-dpbusd");
    }
}

void limbs(const int8_t *k, const int8_t *q, int32_t *out, long n)
{
    for (long j = 0; j < n; j++, k += DIM, out += 8) {
        BEGIN("limbs-dpbusd");
        vector sum[8] = {SET(0), SET(0), SET(0), SET(0), SET(0), SET(0), SET(0), SET(0)};
        UNROLL for (int i = 0; i < DIM; i += STEP)
        {
            const vector x = XOR(LOAD(k + i), SET(-128));
            for (int g = 0; g < 8; g++) sum[g] = DOT(sum[g], x, LOAD(q + g * DIM + i));
        }
        for (int g = 0; g < 8; g += 4)
            _mm_storeu_si128((__m128i *)(out + g),
                             sums(HALVES(sum[g]), HALVES(sum[g + 1]), HALVES(sum[g + 2]), HALVES(sum[g + 3])));
        END("limbs-dpbusd");
    }
}
#endif
#endif
