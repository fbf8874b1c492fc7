/* SPDX-License-Identifier: MIT-0
 *
 * Numbers to eight bits and back: each code exhaustively, the nearest code for all else, scales that are found, what is
 * not finite, caches row by row, and what is refused. The kernels of each path are called by themselves, so this file
 * includes the implementation.
 */
#define ATTN_STATIC
#define ATTENTION_IMPLEMENTATION
#include "check/harness.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const attn_dtype types[] = {ATTN_I8, ATTN_U8, ATTN_F8_E4M3, ATTN_F8_E5M2};
enum { TYPES = sizeof types / sizeof *types, MANY = 4096 };

static attn__codes plain(attn_dtype type, const uint8_t *at, const float *scale, size_t count, size_t n)
{
    attn__codes codes;
    memset(&codes, 0, sizeof codes);
    codes.at = at;
    codes.dtype = type;
    codes.step = 1;
    codes.row = (ptrdiff_t)n;
    codes.scale = scale;
    codes.scale_step = 1;
    codes.group = n / count;
    return codes;
}

/* A number for each code and the middles between them, scaled by s; the neighbours of each; and some at random. */
static size_t numbers_near(attn_dtype type, float s, float *x, test_rng *rng)
{
    size_t n = 0;
    const attn_array code = test_1d(type, 1), next = test_1d(type, 1);
    for (int i = 0; i < 256; i++) {
        float here, there;
        *(uint8_t *)code.data = (uint8_t)i, *(uint8_t *)next.data = (uint8_t)(i + 1);
        here = (float)ref_get(&code, 0, 0, 0, 0) * s, there = (float)ref_get(&next, 0, 0, 0, 0) * s;
        x[n++] = here;
        x[n++] = here + (there - here) / 2;
        x[n] = nextafterf(x[n - 1], INFINITY), n++;
        x[n] = nextafterf(x[n - 2], -INFINITY), n++;
    }
    for (int i = 0; i < 1000; i++) x[n++] = (float)ldexp(test_normal(rng), (int)test_below(rng, 300) - 160);
    x[n++] = 0, x[n++] = -0.0f, x[n++] = FLT_MAX, x[n++] = -FLT_MAX, x[n++] = INFINITY, x[n++] = -INFINITY;
    x[n++] = NAN, x[n++] = -NAN, x[n++] = attn__from_bits_f32(0x7f800001u), x[n++] = attn__from_bits_f32(0xffc00055u);
    return n;
}

static uint8_t nearest(attn_dtype type, float x, float s)
{
    static uint8_t code[1];
    const attn_array a = attn_array_1d(type, code, 1);
    ref_encode(&a, 0, 0, 0, 0, x, s, 0);
    return *code;
}
static void try_nearest(void)
{
    static const float scales[] = {1, 0.013f, -3, 1e-40f, 1e30f, 0, NAN, INFINITY};
    attn_path paths[ATTN_PATH_COUNT];
    const size_t count = test_paths(paths);
    for (size_t t = 0; t < TYPES; t++)
        for (size_t p = 0; p < count; p++) {
            const attn__kernel *kernel = attn__kernel_of(paths[p], ATTN_F32);
            size_t wrong = 0;
            for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
                test_rng rng = {i};
                static float x[MANY];
                uint8_t codes[MANY];
                const size_t n = numbers_near(types[t], isfinite(scales[i]) ? scales[i] : 1, x, &rng);
                attn__codes how = plain(types[t], codes, &scales[i], 1, n);
                how.scale_step = 0;
                kernel->encode(codes, x, &how, 0, n);
                for (size_t j = 0; j < n; j++) {
                    const uint8_t want = nearest(types[t], x[j], scales[i]);
                    if (codes[j] == want) continue;
                    if (!wrong++)
                        test_note("%g / %g is %d, wanted %d", (double)x[j], (double)scales[i], codes[j], want);
                }
            }
            test_ok(!wrong && test_release(), "%s, path %s: the nearest code", attn_dtype_name(types[t]),
                    attn_path_name(paths[p]));
        }
}

/* Runs of each length from each column on, with groups of each size: as one by one. */
static void try_runs(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t count = test_paths(paths);
    for (size_t t = 0; t < TYPES; t++)
        for (size_t p = 0; p < count; p++) {
            enum { N = 96 };
            const attn__kernel *kernel = attn__kernel_of(paths[p], ATTN_F32);
            float x[N], back[N + 1], scale[N], zero[N];
            uint8_t codes[N + 1];
            test_rng rng = {3};
            size_t wrong = 0;
            for (size_t i = 0; i < N; i++)
                x[i] = (float)test_normal(&rng), scale[i] = (float)(0.01 + 0.1 * test_uniform(&rng)),
                zero[i] = (float)(100 * test_uniform(&rng));
            for (size_t group = 1; group <= N; group++)
                for (size_t first = 0; first < N && N % group == 0; first += 7)
                    for (size_t n = 1; first + n <= N; n += 5) {
                        attn__codes how = plain(types[t], codes, scale, N / group, N);
                        const int zeros = types[t] == ATTN_U8 || (types[t] == ATTN_I8 && group % 2);
                        if (zeros) how.zero = zero, how.zero_step = 1;
                        memset(codes, 0x55, sizeof codes);
                        back[n] = 77;
                        kernel->encode(codes + first, x + first, &how, first, n);
                        for (size_t i = first; i < first + n; i++) {
                            const attn_array a = attn_array_1d(types[t], &codes[N], 1);
                            const volatile float quotient = x[i] / scale[i / group],
                                                 moved = zeros ? quotient + zero[i / group] : quotient;
                            ref_set(&a, 0, 0, 0, 0, (double)moved);
                            wrong += codes[i] != codes[N];
                            codes[N] = 0x55;
                        }
                        wrong += (first > 0 && codes[first - 1] != 0x55) || codes[first + n] != 0x55;
                        kernel->decode(back, 0, &how, 1, first, n);
                        wrong += !(back[n] >= 77 && back[n] <= 77);
                        for (size_t i = 0; i < n; i++) {
                            const attn_array a = attn_array_1d(types[t], &codes[first + i], 1),
                                             s = attn_array_1d(ATTN_F32, &scale[(first + i) / group], 1),
                                             z = attn_array_1d(ATTN_F32, &zero[(first + i) / group], 1);
                            const float want = (float)ref_decoded(&a, &s, zeros ? &z : &test_absent, 0, 0, 0, 0);
                            wrong += memcmp(&want, &back[i], sizeof want) != 0;
                        }
                    }
            if (wrong) test_note("%zu are wrong", wrong);
            test_ok(!wrong, "%s, path %s: runs of all lengths, groups of all sizes", attn_dtype_name(types[t]),
                    attn_path_name(paths[p]));
        }
}

/* ---- found scales ---- */

/* max / top, so that what is stored is within half a step of each number. */
static int within_half_a_step(attn_dtype type, float max, test_rng *rng)
{
    enum { N = 32 };
    const attn_array x = test_1d(ATTN_F32, N), codes = test_1d(type, N), y = test_1d(ATTN_F32, N),
                     scale = type == ATTN_Q8_0 ? test_absent : test_1d(ATTN_F32, 1);
    const attn_array *scales = type == ATTN_Q8_0 ? NULL : &scale;
    double step = 0;
    int pass;
    for (size_t i = 0; i < N; i++) ((float *)x.data)[i] = (float)((2 * test_uniform(rng) - 1) * (double)max);
    ((float *)x.data)[test_below(rng, N)] = test_u64(rng) & 1 ? max : -max;
    pass = test_status(attn_quantize(&x, &codes, scales, NULL, ATTN_SCALES_FOUND), ATTN_OK) &&
           test_status(attn_dequantize(&codes, scales, NULL, &y), ATTN_OK);
    step = type == ATTN_Q8_0 ? (double)attn__f16_to_f32(*(const uint16_t *)codes.data) : (double)*(float *)scale.data;
    if (max > 0 && !(step > 0)) pass = 0;
    pass &= step >= (double)ref_found_scale(max, type) && step <= (double)ref_found_scale(max, type);
    for (size_t i = 0; i < N; i++) {
        const double number = (double)((float *)x.data)[i], back = (double)((float *)y.data)[i];
        double allowed = step / 2;
        if (type == ATTN_F8_E4M3) allowed = fmax(fabs(number) / 16, step * ldexp(1, -10));
        if (type == ATTN_F8_E5M2) allowed = fmax(fabs(number) / 8, step * ldexp(1, -17));
        allowed += ldexp(fabs(number), -22) + ldexp(1, -149); /* the quotient and the product are rounded */
        pass &= fabs(back - number) <= allowed;
    }
    if (!pass) test_note("largest %g, scale %g", (double)max, step);
    return pass & test_release();
}
static void try_found(void)
{
    static const attn_dtype found[] = {ATTN_I8, ATTN_Q8_0, ATTN_F8_E4M3, ATTN_F8_E5M2};
    for (size_t t = 0; t < sizeof found / sizeof *found; t++) {
        test_rng rng = {40 + t};
        int pass = 1;
        for (int i = 0; i < 300 && pass; i++) {
            const int top = found[t] == ATTN_Q8_0 ? 22 : 127; /* 127 * 65504 is the largest of blocks */
            const double bits = ldexp(1 + test_uniform(&rng), (int)test_below(&rng, (size_t)(top + 149)) - 149);
            pass = within_half_a_step(found[t], i ? (float)bits : 0, &rng);
        }
        for (int i = 1; i < 400 && pass; i++) /* subnormal scales */
            pass = within_half_a_step(found[t], ldexpf((float)i, found[t] == ATTN_Q8_0 ? -24 : -149), &rng);
        test_ok(pass, "%s: numbers of all sizes come back within half a step of the scale that is stored",
                attn_dtype_name(found[t]));
    }
}

/* A scale of each shape is that of all that shares it. */
static void try_shared(void)
{
    static const size_t counts[] = {1, 2, 12, 24};
    for (int shape = 0; shape < 8; shape++)
        for (size_t i = 0; i < 4; i++) {
            test_rng rng = {(uint64_t)shape};
            const attn_array x = test_4d(ATTN_F32, 2, 3, 5, 24), codes = test_4d(ATTN_I8, 2, 3, 5, 24),
                             scale =
                                 test_4d(ATTN_F32, shape & 1 ? 2 : 1, shape & 2 ? 3 : 1, shape & 4 ? 5 : 1, counts[i]);
            const size_t group = 24 / counts[i];
            int pass;
            test_fill_normal(&x, &rng, 3);
            pass = test_status(attn_quantize(&x, &codes, &scale, NULL, ATTN_SCALES_FOUND), ATTN_OK);
            for (size_t b = 0; b < scale.shape[0]; b++)
                for (size_t h = 0; h < scale.shape[1]; h++)
                    for (size_t s = 0; s < scale.shape[2]; s++)
                        for (size_t g = 0; g < counts[i]; g++) {
                            float max = 0;
                            for (size_t at = 0; at < 2 * 3 * 5 * group; at++) {
                                const size_t b1 = at / (15 * group), h1 = at / (5 * group) % 3, s1 = at / group % 5;
                                if ((shape & 1 && b1 != b) || (shape & 2 && h1 != h) || (shape & 4 && s1 != s))
                                    continue;
                                max = fmaxf(max, fabsf((float)ref_get(&x, b1, h1, s1, g * group + at % group)));
                            }
                            pass &= (float)ref_get(&scale, b, h, s, g) <= max / 127 &&
                                    (float)ref_get(&scale, b, h, s, g) >= max / 127;
                        }
            test_ok(pass && test_release(), "scales (%d, %d, %d, %zu) are found", shape & 1 ? 2 : 1, shape & 2 ? 3 : 1,
                    shape & 4 ? 5 : 1, counts[i]);
        }
}

static void try_not_finite(void)
{
    static const attn_dtype all[] = {ATTN_I8, ATTN_Q8_0, ATTN_F8_E4M3, ATTN_F8_E5M2};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t t = 0; t < 4; t++) {
        int pass = 1;
        for (size_t i = 0; i < 3; i++) {
            const attn_array x = test_2d(ATTN_F32, 2, 64), codes = test_2d(all[t], 2, 64), y = test_2d(ATTN_F32, 2, 64),
                             s = test_2d(ATTN_F32, 2, 2);
            const attn_array *scale = all[t] == ATTN_Q8_0 ? NULL : &s;
            test_fill(&x, 1);
            ref_set(&x, 0, 0, 1, 40, (double)bad[i]);
            pass &= test_status(attn_quantize(&x, &codes, scale, NULL, ATTN_SCALES_FOUND), ATTN_OK) &&
                    test_status(attn_dequantize(&codes, scale, NULL, &y), ATTN_OK);
            for (size_t r = 0; r < 2; r++)
                for (size_t c = 0; c < 64; c++) {
                    const uint32_t bits = attn__bits_f32(((float *)y.data)[r * 64 + c]);
                    pass &= r == 1 && c >= 32 ? bits == 0x7fc00000u : (bits & 0x7fffffffu) < 0x7f800000u;
                }
        }
        test_ok(pass && test_release(), "%s: NaN and infinity make all that shares their scale NaN, and nothing else",
                attn_dtype_name(all[t]));
    }
}

/* Also where numbers that are finite share it, and come later. */
static void try_shared_nan(void)
{
    const attn_array x = test_2d(ATTN_F32, 3, 600), codes = test_2d(ATTN_I8, 3, 600), scale = test_2d(ATTN_F32, 1, 2);
    int pass;
    test_fill(&x, 1);
    ref_set(&x, 0, 0, 0, 5, (double)NAN);
    pass = test_status(attn_quantize(&x, &codes, &scale, NULL, ATTN_SCALES_FOUND), ATTN_OK);
    test_ok(pass && isnan((float)ref_get(&scale, 0, 0, 0, 0)) && isfinite((float)ref_get(&scale, 0, 0, 0, 1)) &&
                test_release(),
            "a NaN in the first of rows that share a scale");
}

/* Finite numbers beyond the largest that a block holds. */
static void try_too_large(void)
{
    const attn_array x = test_1d(ATTN_F32, 32), codes = test_1d(ATTN_Q8_0, 32), y = test_1d(ATTN_F32, 32);
    int pass;
    test_fill(&x, -3e38);
    pass = test_status(attn_quantize(&x, &codes, NULL, NULL, ATTN_SCALES_FOUND), ATTN_OK) &&
           test_status(attn_dequantize(&codes, NULL, NULL, &y), ATTN_OK);
    for (size_t c = 0; c < 32; c++) pass &= (float)ref_get(&y, 0, 0, 0, c) <= -127.0f * 65504.0f;
    test_ok(pass && test_release(), "q8_0: numbers beyond its range stay finite");
}

/* ---- caches ---- */

/* Rows that are appended, one step at a time, over pages or not, are those of the whole array. */
static void try_append(void)
{
    static const attn_dtype all[] = {ATTN_I8, ATTN_U8, ATTN_F8_E4M3, ATTN_F8_E5M2, ATTN_Q8_0};
    enum { STEPS = 3, ROWS = 4, PAGE = 5, PAGES = 3 };
    static const int32_t pages[2 * PAGES] = {4, 0, 2, 1, 5, 3};
    for (size_t t = 0; t < 5; t++)
        for (int paged = 0; paged < 2; paged++)
            for (int found = 0; found < 2; found++) {
                test_rng rng = {90 + t};
                const size_t places = paged ? 2 * PAGES : 2, capacity = paged ? PAGE : PAGE * PAGES;
                const int takes = all[t] != ATTN_Q8_0;
                const attn_array x = test_4d(ATTN_F32, 2, 3, STEPS * ROWS, 64),
                                 cache = test_4d(all[t], places, 3, capacity, 64),
                                 s = test_4d(ATTN_F32, places, 3, capacity, 2), lens = test_1d(ATTN_I32, 2),
                                 table = attn_array_2d(ATTN_I32, pages, 2, PAGES),
                                 whole = test_4d(all[t], 2, 3, STEPS * ROWS, 64),
                                 of_whole = test_4d(ATTN_F32, 2, 3, STEPS * ROWS, 2);
                const attn_array *scale = takes ? &s : NULL, *whole_scale = takes ? &of_whole : NULL;
                const attn_scaling scaling = found ? ATTN_SCALES_FOUND : ATTN_SCALES_GIVEN;
                int pass = 1;
                if (all[t] == ATTN_U8 && found) {
                    test_release();
                    continue;
                }
                test_fill_normal(&x, &rng, 1);
                if (takes && !found) test_fill(&s, 0.03), test_fill(&of_whole, 0.03);
                for (int step = 0; step < STEPS && pass; step++) {
                    const attn_array rows = test_part(&x, 2, (size_t)(step * ROWS), ROWS);
                    test_fill(&lens, step * ROWS);
                    pass = test_status(
                        attn_cache_append_scaled(&cache, scale, NULL, scaling, &rows, &lens, paged ? &table : NULL),
                        ATTN_OK);
                }
                pass = pass && test_status(attn_quantize(&x, &whole, whole_scale, NULL, scaling), ATTN_OK);
                for (size_t b = 0; b < 2 && pass; b++)
                    for (size_t h = 0; h < 3; h++)
                        for (size_t j = 0; j < STEPS * ROWS; j++) {
                            const size_t place = paged ? (size_t)pages[b * PAGES + j / PAGE] : b,
                                         row = paged ? j % PAGE : j, bytes = all[t] == ATTN_Q8_0 ? 68 : 64;
                            pass &= !memcmp(ref_at(&cache, place, h, row, 0), ref_at(&whole, b, h, j, 0), bytes);
                            if (takes) pass &= !memcmp(ref_at(&s, place, h, row, 0), ref_at(&of_whole, b, h, j, 0), 8);
                        }
                for (size_t b = 0; b < 2 && !paged; b++) /* rows that were not written */
                    pass &= test_untouched(ref_at(&cache, b, 1, STEPS * ROWS, 0), all[t] == ATTN_Q8_0 ? 68 : 64);
                test_ok(pass && test_release(), "%s%s, scales %s: appended step by step", attn_dtype_name(all[t]),
                        paged ? ", pages" : "", found ? "found" : "given");
            }
}

/* Other types, strides along a row, back to 16 bits. */
static void try_views(void)
{
    for (size_t t = 0; t < TYPES; t++) {
        test_rng rng = {5};
        const attn_array x = test_2d(ATTN_F32, 3, 700), half = test_2d(ATTN_BF16, 3, 700),
                         codes = test_2d(types[t], 3, 700), y = test_2d(ATTN_F32, 3, 700),
                         back = test_2d(ATTN_F16, 700, 3), scale = test_1d(ATTN_F32, 1);
        attn_array apart = test_2d(types[t], 700, 3), turned = attn_array_swap(apart, 0, 1),
                   y_turned = attn_array_swap(back, 0, 1);
        int pass;
        test_fill_normal(&half, &rng, 20);
        for (size_t r = 0; r < 3; r++)
            for (size_t c = 0; c < 700; c++) ref_set(&x, 0, 0, r, c, (double)ref_get(&half, 0, 0, r, c));
        test_fill(&scale, 0.5);
        pass = test_status(attn_quantize(&x, &codes, &scale, NULL, ATTN_SCALES_GIVEN), ATTN_OK) &&
               test_status(attn_quantize(&half, &turned, &scale, NULL, ATTN_SCALES_GIVEN), ATTN_OK) &&
               test_same(&turned, &codes) && test_status(attn_dequantize(&codes, &scale, NULL, &y), ATTN_OK) &&
               test_status(attn_dequantize(&turned, &scale, NULL, &y_turned), ATTN_OK);
        for (size_t r = 0; r < 3 && pass; r++)
            for (size_t c = 0; c < 700; c++) {
                const attn_array rounded = test_1d(ATTN_F16, 1);
                ref_set(&rounded, 0, 0, 0, 0, (double)ref_decoded(&codes, &scale, &test_absent, 0, 0, r, c));
                pass &= ref_get(&y, 0, 0, r, c) == ref_decoded(&codes, &scale, &test_absent, 0, 0, r, c) &&
                        ref_get(&y_turned, 0, 0, r, c) == ref_get(&rounded, 0, 0, 0, 0);
            }
        test_ok(pass && test_release(), "%s: from bfloat16, strided, and back to float16", attn_dtype_name(types[t]));
    }
}

/* The rows of a head go to float32 at once if there is room for them there, and elsewhere one by one. */
static void try_rows_at_once(void)
{
    static const attn_dtype all[] = {ATTN_I8, ATTN_U8, ATTN_F8_E4M3, ATTN_F8_E5M2, ATTN_Q8_0};
    for (size_t t = 0; t < 5; t++)
        for (int shape = 0; shape < 8; shape++) {
            test_rng rng = {t};
            const int takes = all[t] != ATTN_Q8_0, zeros = all[t] <= ATTN_U8;
            const size_t rows = shape & 1 ? 5 : 1, columns = shape & 2 ? 64 : 2;
            const attn_array x = test_4d(ATTN_F32, 2, 3, 5, 64), codes = test_4d(all[t], 2, 3, 5, 64),
                             s = test_4d(ATTN_F32, 2, 3, rows, columns), z = test_4d(ATTN_F32, 2, 3, rows, columns),
                             y = test_4d(ATTN_F32, 2, 3, 5, 64), wide = test_4d(ATTN_F32, 2, 3, 5, 128),
                             *scale = takes ? &s : NULL, *zero = zeros ? &z : NULL;
            attn_array apart = wide;
            int pass;
            apart.shape[3] = 64;
            apart.stride[3] = shape & 4 ? 2 : 1, apart.stride[2] = 128, apart.stride[1] = 640, apart.stride[0] = 1920;
            test_fill_normal(&x, &rng, 1);
            test_fill_normal(&z, &rng, 9);
            for (size_t i = 0; i < 2 * 3 * rows * columns; i++)
                ((float *)s.data)[i] = i == 7 ? NAN : (float)(0.01 + 0.1 * test_uniform(&rng));
            pass = test_status(attn_quantize(&x, &codes, scale, zero, ATTN_SCALES_GIVEN), ATTN_OK) &&
                   test_status(attn_dequantize(&codes, scale, zero, &y), ATTN_OK) &&
                   test_status(attn_dequantize(&codes, scale, zero, &apart), ATTN_OK) && test_same(&apart, &y);
            for (size_t i = 0; i < 2 * 3 * 5 * 64 && pass; i++) {
                const ref_real want = ref_decoded(&codes, takes ? &s : &test_absent, zeros ? &z : &test_absent, i / 960,
                                                  i / 320 % 3, i / 64 % 5, i % 64);
                const float rounded = isnan((float)want) ? attn__from_bits_f32(0x7fc00000u) : (float)want;
                pass &= !memcmp(&rounded, (float *)y.data + i, sizeof rounded);
            }
            test_ok(pass && test_release(), "%s: rows back at once, %zu x %zu scales%s", attn_dtype_name(all[t]), rows,
                    columns, shape & 4 ? ", columns apart" : "");
        }
}

/* ---- what is refused ---- */

static int refuses(attn_status got, attn_status want, const attn_array *a, const attn_array *b)
{
    const int pass =
        test_status(got, want) && test_untouched(a->data, 3 * 64) && test_untouched(b->data, 3 * sizeof(float));
    return pass;
}
static void try_refused(void)
{
    const attn_array x = test_2d(ATTN_F32, 3, 64), codes = test_2d(ATTN_I8, 3, 64), s = test_2d(ATTN_F32, 3, 1);
    attn_array bad;
    test_fill(&x, 1);
#define REFUSE(status, x, codes, s, zero, scaling, what)                                                               \
    test_ok(refuses(attn_quantize(x, codes, s, zero, scaling), status, &(codes_of), &(scale_of)), "refused: %s", what)
    {
        const attn_array codes_of = codes, scale_of = s;
        REFUSE(ATTN_ERR_NULL, NULL, &codes, &s, NULL, ATTN_SCALES_FOUND, "no numbers");
        REFUSE(ATTN_ERR_NULL, &x, &codes, NULL, NULL, ATTN_SCALES_FOUND, "no room for found scales");
        REFUSE(ATTN_ERR_PARAMETER, &x, &codes, &s, NULL, ATTN_SCALES_COUNT, "neither given nor found");
        REFUSE(ATTN_ERR_UNSUPPORTED, &x, &codes, &s, &x, ATTN_SCALES_FOUND, "zero points beside found scales");
        bad = codes, bad.dtype = ATTN_U8;
        REFUSE(ATTN_ERR_UNSUPPORTED, &x, &bad, &s, NULL, ATTN_SCALES_FOUND, "found scales of uint8");
        bad = codes, bad.dtype = ATTN_BOOL;
        REFUSE(ATTN_ERR_DTYPE, &x, &bad, &s, NULL, ATTN_SCALES_FOUND, "bool");
        bad = codes, bad.dtype = ATTN_F8_E4M3;
        REFUSE(ATTN_ERR_UNSCALED, &x, &bad, &s, &s, ATTN_SCALES_GIVEN, "zero points of floats");
        bad = codes, bad.dtype = ATTN_Q8_0, bad.ndim = 1, bad.shape[0] = 32;
        REFUSE(ATTN_ERR_UNSCALED, &x, &bad, &s, NULL, ATTN_SCALES_GIVEN, "scales beside blocks");
        bad.shape[0] = 33;
        REFUSE(ATTN_ERR_BLOCK, &x, &bad, NULL, NULL, ATTN_SCALES_GIVEN, "a part of a block");
        bad = codes, bad.shape[1] = 63;
        REFUSE(ATTN_ERR_SHAPE, &x, &bad, &s, NULL, ATTN_SCALES_FOUND, "other columns");
        bad = s, bad.shape[0] = 2;
        REFUSE(ATTN_ERR_SCALE_SHAPE, &x, &codes, &bad, NULL, ATTN_SCALES_FOUND, "scales of other rows");
        bad = s, bad.shape[0] = 1, bad.shape[1] = 3;
        REFUSE(ATTN_ERR_SCALE_COUNT, &x, &codes, &bad, NULL, ATTN_SCALES_FOUND, "3 scales for 64 columns");
        bad = s, bad.dtype = ATTN_F64;
        REFUSE(ATTN_ERR_DTYPE, &x, &codes, &bad, NULL, ATTN_SCALES_GIVEN, "scales of float64");
        bad = s, bad.data = x.data;
        REFUSE(ATTN_ERR_ALIAS, &x, &codes, &bad, NULL, ATTN_SCALES_FOUND, "scales among the numbers");
        bad = s, bad.data = codes.data;
        REFUSE(ATTN_ERR_ALIAS, &x, &codes, &bad, NULL, ATTN_SCALES_FOUND, "scales among the codes");
    }
#undef REFUSE
    test_release();
    {
        const attn_array cache = test_3d(ATTN_I8, 2, 5, 64), rows = test_3d(ATTN_F32, 2, 3, 64),
                         shared = test_3d(ATTN_F32, 2, 1, 1), other = test_3d(ATTN_BF16, 2, 5, 64);
        test_fill(&rows, 1);
        test_ok(test_status(attn_cache_append_scaled(&cache, &shared, NULL, ATTN_SCALES_FOUND, &rows, NULL, NULL),
                            ATTN_ERR_SCALE_SHAPE) &&
                    test_untouched(cache.data, 640),
                "refused: a found scale that rows of a cache share");
        test_ok(test_status(attn_cache_append_scaled(&other, &shared, NULL, ATTN_SCALES_GIVEN, &rows, NULL, NULL),
                            ATTN_ERR_UNSCALED) &&
                    test_untouched(other.data, 1280),
                "refused: scales of a bfloat16 cache");
    }
    test_release();
}

int main(void)
{
    try_nearest();
    try_runs();
    try_found();
    try_shared();
    try_not_finite();
    try_shared_nan();
    try_too_large();
    try_append();
    try_views();
    try_rows_at_once();
    try_refused();
    return test_done();
}
