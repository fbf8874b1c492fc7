/* SPDX-License-Identifier: MIT-0
 *
 * exp, tanh, log, sine and cosine compared with long double: the largest error, the
 * argument where it occurs, and the same bits on every path. The functions are internal, so
 * this file includes the implementation; the vector forms are called through the table of
 * each path.
 *
 * With the argument "exhaustive", compares exp and tanh of float32 for every float in their
 * range.
 */
#define ATTN_STATIC
#define ATTENTION_IMPLEMENTATION
#include "check/harness.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { ROW = 512 };

typedef struct worst {
    double ulp, at, got;
    size_t count, split; /* split: how many differ between paths */
} worst;

typedef void (*evaluation)(const attn__kernel *kernel, const double *x, double *y);
typedef void (*scalar_evaluation)(const double *x, double *y);
typedef long double (*reference)(long double);

/* The first element of the row is 0, the maximum, so the softmax gives exp of the others. */
static void evaluate_exp(const attn__kernel *kernel, const double *x, double *y)
{
    double row[ROW];
    size_t i;
    attn__beat beat;
    memset(&beat, 0, sizeof beat);
    beat.from = beat.to = row;
    beat.n = ROW;
    for (i = 0; i < ROW; i++) attn__put((char *)row + i * kernel->size, kernel->dtype, i ? x[i] : 0);
    kernel->softmax(&beat);
    for (i = 0; i < ROW; i++) attn__load_f64(&y[i], (char *)row + i * kernel->size, kernel->dtype, 1, 1);
    y[0] = kernel->exp_difference(x[0], 0, 1);
}

/* The same for the power of two of fused attention, of the first element by itself. */
static void evaluate_exp2(const attn__kernel *kernel, const double *x, double *y)
{
    double row[ROW], max, sum;
    size_t i, n;
    for (n = 2; n <= ROW; n += ROW - 2) {
        for (i = 0; i < n; i++) attn__put((char *)row + i * kernel->size, kernel->dtype, i ? x[n == 2 ? 0 : i] : 0);
        if (kernel->weigh_row(row, 0, 0, n, n == 2 ? kernel->step : n, &max, &sum))
            test_ok(0, "a power near %g is refused", x[1]);
        for (i = 1; i < n; i++) attn__load_f64(&y[n == 2 ? 0 : i], (char *)row + i * kernel->size, kernel->dtype, 1, 1);
    }
}

static void evaluate_tanh(const attn__kernel *kernel, const double *x, double *y)
{
    double row[ROW];
    size_t i;
    for (i = 0; i < ROW; i++) attn__put((char *)row + i * kernel->size, kernel->dtype, x[i]);
    kernel->softcap(row, ROW, 1);
    for (i = 0; i < ROW; i++) attn__load_f64(&y[i], (char *)row + i * kernel->size, kernel->dtype, 1, 1);
}

static void evaluate_log(const attn__kernel *kernel, const double *x, double *y)
{
    memcpy(y, x, ROW * sizeof *x);
    kernel->logs(y, ROW);
}

/* The scalar functions in double, treated like a path. */
static void evaluate_scalar_exp(const double *x, double *y)
{
    size_t i;
    for (i = 0; i < ROW; i++) y[i] = attn__exp_f64(x[i]);
}
static void evaluate_scalar_tanh(const double *x, double *y)
{
    size_t i;
    for (i = 0; i < ROW; i++) y[i] = attn__tanh_f64(x[i]);
}
static void evaluate_scalar_log(const double *x, double *y)
{
    size_t i;
    for (i = 0; i < ROW; i++) y[i] = attn__log_f64(x[i]);
}

/* Error in units of the last place of the exact result. */
static double error_in_ulp(double got, long double want, int digits)
{
    int exponent;
    if (!(want < 0 || want > 0)) return got < 0 || got > 0 ? HUGE_VAL : 0;
    frexpl(want, &exponent);
    return (double)(fabsl((long double)got - want) / ldexpl(1, exponent - digits));
}

static void compare(worst *w, const double *x, const double *y, reference function, int digits)
{
    size_t i;
    for (i = 0; i < ROW; i++) {
        const double ulp = error_in_ulp(y[i], function((long double)x[i]), digits);
        w->count++;
        if (ulp <= w->ulp) continue;
        w->ulp = ulp;
        w->at = x[i];
        w->got = y[i];
    }
}

/* One row on every path and with the scalar function; the first result is compared with the
 * reference. */
static void try_row(worst *w, attn_dtype dtype, const double *x, evaluation evaluate, scalar_evaluation scalar,
                    reference function)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = evaluate ? test_paths(paths) : 0, forms = num_paths + (scalar != NULL);
    double first[ROW], y[ROW];
    size_t i;
    for (i = 0; i < forms; i++) {
        if (i < num_paths) evaluate(attn__kernel_of(paths[i], dtype), x, y);
        else scalar(x, y);
        if (i == 0) memcpy(first, y, sizeof y);
        w->split += memcmp(first, y, sizeof y) != 0;
    }
    compare(w, x, first, function, dtype == ATTN_F64 ? DBL_MANT_DIG : FLT_MANT_DIG);
}

static void report(const worst *w, double limit, const char *what)
{
    test_ok(w->ulp <= limit, "%s: at most %g ulp (%zu arguments)", what, limit, w->count);
    test_note("%s: %.4f ulp at %a = %.17g, which gives %a", what, w->ulp, w->at, w->at, w->got);
    test_ok(w->split == 0, "%s: the same bits in every form", what);
}

/* ---------------------------------------------------------------- float32 -- */

/* Floats from the bits `first` to `last`, every `step`-th, and all within 64 of
 * multiples of ln 2 / 2, where the reduction changes. */
static void try_floats(worst *w, uint32_t first, uint32_t last, uint32_t step, evaluation evaluate, reference function)
{
    double x[ROW];
    size_t n = 0;
    uint64_t bits;
    uint32_t near = 0, k = 0;
    for (bits = first; bits <= last || n; bits += step) {
        x[n++] = (double)attn__from_bits_f32(bits <= last ? (uint32_t)bits : last);
        if (n < ROW) continue;
        try_row(w, ATTN_F32, x, evaluate, NULL, function);
        n = 0;
    }
    if (step == 1) return;
    for (k = 1; k < 256; k++) {
        const float middle = (float)k * 0.34657359f;
        for (n = 0, near = 0; near < ROW; near++) {
            bits = (first & 0x80000000u) | (attn__bits_f32(middle) - ROW / 2 + near);
            x[n++] = (double)attn__from_bits_f32(bits < first ? first : bits <= last ? (uint32_t)bits : last);
        }
        try_row(w, ATTN_F32, x, evaluate, NULL, function);
    }
}

/* The bound of exp. It is larger if products are rounded before they are added. */
static double exp_limit(void) { return strcmp(attn_arithmetic(), "fused") == 0 ? 1 : 1.25; }

static long double power_of_two(long double x) { return exp2l(x); }

/* Results below the least normal number are 0. */
static long double flushed(long double x)
{
    (void)x;
    return 0;
}

/* Between, powers of two are less than 2^-126, and so is what comes out. */
static void try_tiny(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    double x[ROW], y[ROW], largest = 0, least = 0;
    size_t i, p;
    for (p = 0; p < num_paths; p++) {
        for (i = 0; i < ROW; i++) x[i] = (double)(float)(-126 - (double)(i + 1) / ROW);
        evaluate_exp2(attn__kernel_of(paths[p], ATTN_F32), x, y);
        for (i = 1; i < ROW; i++) largest = fmax(largest, y[i]), least = fmin(least, y[i]);
    }
    test_ok(least >= 0 && largest <= ldexp(1, -126), "exp2 float32 from -126 to -127: %g to %g", least, largest);
}

/* Scores minus their maximum range from -0 down to the lowest float. */
static void try_float32(uint32_t step)
{
    const uint32_t exp_min = attn__bits_f32(ATTN__EXP_MIN_F32), lowest = attn__bits_f32(-FLT_MAX),
                   largest = attn__bits_f32(FLT_MAX);
    worst w = {0, 0, 0, 0, 0};
    try_floats(&w, 0x80000000u, exp_min, step, evaluate_exp, expl);
    report(&w, exp_limit(), "exp float32");
    memset(&w, 0, sizeof w);
    try_floats(&w, exp_min + 1, lowest, step, evaluate_exp, flushed);
    report(&w, 0, "exp float32 below -87.3");
    memset(&w, 0, sizeof w);
    try_floats(&w, 0x80000000u, attn__bits_f32(-126), step, evaluate_exp2, power_of_two);
    report(&w, exp_limit(), "exp2 float32");
    memset(&w, 0, sizeof w);
    try_floats(&w, attn__bits_f32(ATTN__EXP2_MIN_F32), lowest, step, evaluate_exp2, flushed);
    report(&w, 0, "exp2 float32 from -127 down");
    try_tiny();
    memset(&w, 0, sizeof w);
    try_floats(&w, 0, largest, step, evaluate_tanh, tanhl);
    report(&w, 3, "tanh float32");
}

/* ---------------------------------------------------------------- float64 -- */

/* Half of them uniform up to the limit, half with a uniform exponent from 2^-60 on. */
static double random_argument(test_rng *rng, double limit)
{
    const double u = test_uniform(rng);
    return test_u64(rng) % 2 ? u * limit : ldexp(1 + u, (int)test_below(rng, 63) - 60);
}

static double argument_of_exp(test_rng *rng) { return -random_argument(rng, -ATTN__EXP_MIN_F64); }
static double argument_of_exp2(test_rng *rng) { return -random_argument(rng, 1022); }
static double argument_of_tanh(test_rng *rng) { return random_argument(rng, 20); }

/* Arguments around 1, those of sums of weights, and any. */
static double argument_of_log(test_rng *rng)
{
    const double u = test_uniform(rng);
    switch (test_below(rng, 3)) {
    case 0: return 1 + (u - 0.5) * ldexp(1, -(int)test_below(rng, 50));
    case 1: return 1 + random_argument(rng, 1000);
    default: return ldexp(1 + u, (int)test_below(rng, 2090) - 1070);
    }
}

static void try_float64(const char *what, double limit, double (*argument)(test_rng *), evaluation evaluate,
                        scalar_evaluation scalar, reference function)
{
    test_rng rng = {1};
    worst w = {0, 0, 0, 0, 0};
    double x[ROW];
    size_t i, n;
    if (LDBL_MANT_DIG < DBL_MANT_DIG + 10) {
        test_skip("long double is no wider", "%s", what);
        return;
    }
    for (n = 0; n < 2000; n++) {
        for (i = 0; i < ROW; i++) x[i] = argument(&rng);
        try_row(&w, ATTN_F64, x, evaluate, scalar, function);
    }
    report(&w, limit, what);
}

/* Absolute errors, as attn_rotary promises for its factors, and the same bits on every path. */
static void try_sine(void)
{
    const double limit = ldexp(1, -52);
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    test_rng rng = {2};
    double x[ROW], first[3][ROW], y[3][ROW], error = 0, at = 0;
    size_t n, i, split = 0;
    for (n = 0; n < 2000; n++) {
        const double base = n % 2 ? 10000 : 1 + 1e6 * test_uniform(&rng) * test_uniform(&rng),
                     log_base = attn__log_f64(base), low = attn__fma_f64(base, attn__exp_f64(-log_base), -1);
        for (i = 0; i < ROW; i++) x[i] = (test_uniform(&rng) - 0.5) * ldexp(1, (int)test_below(&rng, 50) - 19);
        for (size_t p = 0; p < num_paths; p++) {
            const attn__kernel *kernel = attn__kernel_of(paths[p], ATTN_F64);
            kernel->cosines(y[0], y[1], x, 1, ROW);
            kernel->turns(y[2], ROW, n % 7 * 8, 2 * ROW + 112, log_base, low);
            if (p == 0) memcpy(first, y, sizeof y);
            split += memcmp(first, y, sizeof y) != 0;
        }
        for (i = 0; i < ROW; i++) {
            double e = fabs((double)((long double)first[1][i] - sinl((long double)x[i])));
            const double f = fabs((double)((long double)first[0][i] - cosl((long double)x[i])));
            if (f > e) e = f;
            if (e > error) {
                error = e;
                at = x[i];
            }
        }
    }
    test_ok(error <= limit, "sine and cosine: at most %g", limit);
    test_note("sine and cosine: %g at %a", error, at);
    test_ok(split == 0, "angles, sines and cosines: the same bits in every form");
}

/* The same of floats, in place, and of n that is a multiple of 8: what rotate makes of them, rounded. */
static size_t wrong_singles(attn_path path, double from[2][160], const double *cosine, const double *sine, size_t n,
                            int interleaved)
{
    const attn__kernel *kernel = attn__kernel_of(path, ATTN_F64);
    const size_t apart = interleaved ? 1 : n + 3, step = interleaved ? 2 : 1;
    double u[160] = {0}, v[80] = {0}, beside[2][160];
    float single[160];
    size_t wrong = 0;
    int found, finite = 1;
    for (size_t i = 0; i < n;
         i++) /* by themselves: gcc 12 vectorises both loops in one, and forgets to round to float */
        for (size_t part = 0; part < 2; part++)
            single[step * i + part * apart] = (float)(interleaved ? from[0][2 * i + part] : from[part][i]);
    for (size_t i = 0; i < n; i++) {
        for (size_t part = 0; part < 2; part++) {
            const float x = single[step * i + part * apart];
            if (interleaved) u[2 * i + part] = (double)x;
            else *(part ? &v[i] : &u[i]) = (double)x;
        }
        beside[0][2 * i] = beside[1][2 * i + 1] = cosine[i];
        beside[0][2 * i + 1] = sine[i], beside[1][2 * i] = -sine[i];
    }
    found = kernel->rotate_singles(single, single, interleaved ? beside[0] : cosine, interleaved ? beside[1] : sine, n,
                                   apart);
    kernel->rotate(u, v, cosine, sine, n, interleaved, 1);
    for (size_t i = 0; i < n; i++)
        for (size_t part = 0; part < 2; part++) {
            const float got = single[step * i + part * apart], want = attn__to_f32(part ? v[i] : u[i]);
            if (!isfinite(want)) finite = 0;
            if (isnan(want) ? !isnan(got) : attn__bits_f32(got) != attn__bits_f32(want)) wrong++;
        }
    return wrong + (!finite && !found);
}

/* Pairs of any numbers, beside one another or apart, of any count. */
static void try_rotate(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    test_rng rng = {8};
    size_t wrong = 0, missed = 0, singles = 0;
    for (size_t n = 1; n < 70; n++)
        for (int kind = 0; kind < 8; kind++) {
            const int interleaved = kind & 1, zeros = kind & 2, special = kind & 4;
            double from[2][160], cosine[80], sine[80], first[2][80], u[160], v[80];
            memset(from, 0, sizeof from);
            for (size_t i = 0; i < 80; i++) {
                const double angle = test_normal(&rng);
                cosine[i] = cos(angle), sine[i] = sin(angle);
                if (zeros) cosine[i] = i % 5 < 3 ? -1 : 0, sine[i] = i % 5 < 3 ? -0.0 : 1; /* one alone is large, too */
            }
            for (size_t i = 0; i < (interleaved ? 2 * n : n); i++)
                for (int part = 0; part < 2; part++)
                    from[part][i] = !zeros || i % 2 == 0 ? test_normal(&rng) : (i / 2 + (size_t)part) % 2 ? -0.0 : 0.0;
            if (special) from[interleaved ? 0 : n % 2][n - 1] = n % 3 ? (double)INFINITY : n % 2 ? (double)NAN : 1e40;
            for (size_t p = 0; p < num_paths; p++) {
                int found, expected = 0;
                memcpy(u, from[0], sizeof u), memcpy(v, from[1], sizeof v);
                found = attn__kernel_of(paths[p], ATTN_F64)->rotate(u, v, cosine, sine, n, interleaved, ldexp(1, 897));
                for (size_t i = 0; i < n && !expected; i++)
                    expected = !(fabs(u[i]) < ldexp(1, 127)) || !(fabs(v[i]) < ldexp(1, 127));
                missed += found != expected;
                if (n % 8 == 0) singles += wrong_singles(paths[p], from, cosine, sine, n, interleaved);
                if (p == 0) memcpy(first[0], u, sizeof first[0]), memcpy(first[1], v, sizeof first[1]);
                for (size_t i = 0; i < n; i++)
                    wrong += (attn__bits_f64(u[i]) != attn__bits_f64(first[0][i]) && u[i] <= (double)INFINITY) ||
                             (attn__bits_f64(v[i]) != attn__bits_f64(first[1][i]) && v[i] <= (double)INFINITY);
            }
            for (size_t i = 0; i < n && !special; i++) { /* and the formula's, on the first */
                const double x = from[0][interleaved ? 2 * i : i], y = interleaved ? from[0][2 * i + 1] : from[1][i];
                const double want[2] = {attn__madd_f64(x, cosine[i], -(y * sine[i])),
                                        attn__madd_f64(x, sine[i], y * cosine[i])};
                wrong += attn__bits_f64(first[0][i]) != attn__bits_f64(want[0]) ||
                         attn__bits_f64(first[1][i]) != attn__bits_f64(want[1]);
            }
        }
    test_ok(wrong == 0, "pairs turned: the same bits in every form (%zu wrong)", wrong);
    test_ok(singles == 0, "pairs of floats turned: those of doubles, rounded (%zu wrong)", singles);
    test_ok(missed == 0, "pairs turned: numbers that are not finite, or large, are noticed (%zu missed)", missed);
}

/* All 16-bit numbers, the floats between two of them and their neighbours, and any bits: rows of all lengths. */
static void try_halves(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    const attn_dtype types[] = {ATTN_F16, ATTN_BF16};
    test_rng rng = {9};
    for (int t = 0; t < 2; t++) {
        size_t wrong = 0, back = 0;
        for (uint32_t h = 0; h < 0x10000; h++) {
            float x[21];
            uint16_t y[21];
            const float value = t ? attn__bf16_to_f32((uint16_t)h) : attn__f16_to_f32((uint16_t)h);
            const uint32_t bits = attn__bits_f32(value), half = t ? 0x8000u : 0x1000u;
            const size_t n = 1 + h % 21;
            for (size_t i = 0; i < n; i++)
                x[i] = attn__from_bits_f32(i < 7 ? bits + (i < 3 ? (uint32_t)i - 1 : half + (uint32_t)i - 5)
                                                 : (uint32_t)test_u64(&rng));
            for (size_t p = 0; p < num_paths; p++) {
                attn__kernel_of(paths[p], ATTN_F32)->store(y, types[t], 1, x, n);
                for (size_t i = 0; i < n; i++) wrong += y[i] != (t ? attn__f32_to_bf16(x[i]) : attn__f32_to_f16(x[i]));
            }
            if (!attn__nan_f64((double)value)) back += (t ? attn__f32_to_bf16(value) : attn__f32_to_f16(value)) != h;
        }
        test_ok(wrong == 0, "%s of float32: the same bits in every form (%zu wrong)", attn_dtype_name(types[t]), wrong);
        test_ok(back == 0, "%s to float32 and back (%zu wrong)", attn_dtype_name(types[t]), back);
    }
}

/* Doubles to floats by way of which a 16-bit number is rounded once: exact, or with the last bit set. */
static void try_odd(void)
{
    test_rng rng = {10};
    size_t wrong = 0;
    for (size_t n = 0; n < 1000000; n++) {
        const uint64_t any = test_u64(&rng), lost = n % 3 ? test_u64(&rng) >> (35 + n % 30) : 0;
        double x = attn__from_bits_f64(any);
        float f;
        if (n % 4) x = attn__from_bits_f64(attn__bits_f64((double)attn__from_bits_f32((uint32_t)any)) | lost);
        if (!attn__finite_f64(x) || fabs(x) > (double)FLT_MAX) continue;
        f = attn__to_odd_f32(x);
        if ((double)f < x || (double)f > x) { /* one of the two neighbours, the odd one */
            const double other = (double)nextafterf(f, (float)(x < (double)f ? -INFINITY : INFINITY));
            wrong += !(attn__bits_f32(f) & 1) || (x < (double)f ? other > x : other < x);
        }
    }
    test_ok(wrong == 0, "double to odd floats (%zu wrong)", wrong);
}

/* For head dimensions, and for any numbers. */
static void try_sqrt(void)
{
    test_rng rng = {4};
    size_t n, wrong = 0;
    for (n = 1; n < 300000; n++) {
        const double x = n < 100000 ? (double)n : attn__from_bits_f64(test_u64(&rng) >> 1);
        if (attn__finite_f64(x) && x > 0) wrong += attn__bits_f64(attn__sqrt(x)) != attn__bits_f64(sqrt(x));
    }
    test_ok(wrong == 0, "square roots are rounded to nearest (%zu wrong)", wrong);
}

/* -------------------------------------------------------------- multiply-add -- */

/* The same bits, but with an exponent within 256 of that of 1. */
static uint64_t moderate(uint64_t bits) { return (bits & ~(UINT64_C(0x7ff) << 52)) | (767 + (bits >> 52) % 512) << 52; }
/* With 20 bits, within 2^16 of 2^511: products are exact, and some overflow. */
static double large(uint64_t bits)
{
    return attn__from_bits_f64((bits & UINT64_C(0x800fffff) << 32) | (1518 + bits % 32) << 52);
}

/* Random bits, or bits with moderate exponents. The addend is often close to the product, for
 * cancellation, ties, overflow and subnormal results. */
static void try_fma(void)
{
    test_rng rng = {3};
    size_t n, wrong32 = 0, wrong64 = 0, wrong_large = 0;
    for (n = 0; n < 200000; n++) { /* products that an addend brings back from beyond the range */
        const double x = large(test_u64(&rng)), y = large(test_u64(&rng)), most = ldexp(1 + test_uniform(&rng), 1022),
                     z = (x > 0) == (y > 0) ? -most : most, want = fma(x, y, z), got = attn__fma_f64(x, y, z);
        wrong_large += attn__bits_f64(got) != attn__bits_f64(want);
    }
    for (n = 0; n < 2000000; n++) {
        const float a = attn__from_bits_f32((uint32_t)test_u64(&rng)),
                    b = attn__from_bits_f32((uint32_t)test_u64(&rng));
        const uint64_t u = test_u64(&rng), v = test_u64(&rng);
        const double x = attn__from_bits_f64(n % 4 < 2 ? u : moderate(u)),
                     y = attn__from_bits_f64(n % 4 < 2 ? v : moderate(v));
        float c = attn__from_bits_f32((uint32_t)test_u64(&rng)), want32, got32;
        double z = attn__from_bits_f64(test_u64(&rng)), want64, got64;
        if (n % 2) {
            c = attn__from_bits_f32(attn__bits_f32(a * b) ^ 0x80000000u ^
                                    ((uint32_t)test_u64(&rng) >> test_below(&rng, 32)));
            z = attn__from_bits_f64(attn__bits_f64(x * y) ^ UINT64_C(1) << 63 ^
                                    (test_u64(&rng) >> test_below(&rng, 64)));
        }
        if (n % 8 == 6) z = attn__from_bits_f64(moderate(test_u64(&rng)));
        want32 = fmaf(a, b, c);
        got32 = attn__fma_f32(a, b, c);
        want64 = fma(x, y, z);
        got64 = attn__fma_f64(x, y, z);
        wrong32 += attn__bits_f32(got32) != attn__bits_f32(want32) && !(isnan(got32) && isnan(want32));
        wrong64 += attn__bits_f64(got64) != attn__bits_f64(want64) && !(isnan(got64) && isnan(want64));
    }
    test_ok(wrong32 == 0, "float32 multiply-add rounds once (%zu wrong)", wrong32);
    test_ok(wrong64 == 0, "float64 multiply-add rounds once (%zu wrong)", wrong64);
    test_ok(wrong_large == 0, "float64 multiply-add, products beyond the range (%zu wrong)", wrong_large);
}

/* Sums very close to the midpoint of two floats: a b is 1 - i^2 2^-46 (2^-104 for doubles)
 * times half a unit of c. An intermediate rounding loses the difference. Above and below 1,
 * of either sign. */
static void try_fma_ties(void)
{
    static const float sizes[4] = {1, -1, 0.125F, -0.125F};
    test_rng rng = {6};
    size_t wrong32 = 0, wrong64 = 0;
    int i, sign, odd;
    for (i = 1; i < 200; i++)
        for (sign = -1; sign <= 1; sign += 2)
            for (odd = 0; odd < 16; odd++) {
                const float size = sizes[odd / 4];
                const float a = (float)sign * size * (float)ldexp(1 + ldexp(i, -23), -24),
                            b = (float)(1 - ldexp(i, -23));
                const float c = size * (float)(1 + ldexp(odd % 4, -23));
                const double x = sign * (double)size * ldexp(1 + ldexp(i, -52), -53), y = 1 - ldexp(i, -52);
                const double z = (double)size * (1 + ldexp(odd % 4, -52));
                wrong32 += attn__bits_f32(attn__fma_f32(a, b, c)) != attn__bits_f32(fmaf(a, b, c));
                wrong64 += attn__bits_f64(attn__fma_f64(x, y, z)) != attn__bits_f64(fma(x, y, z));
            }
    for (i = 1; i < 53; i++) /* a product on a tie, which a bit a thousand places lower decides */
        for (sign = -1; sign <= 1; sign += 2) {
            const double x = 1 + ldexp(1, -i), y = 1 + ldexp(1, i - 53), z = sign * ldexp(1, -1000);
            wrong64 += attn__bits_f64(attn__fma_f64(x, y, z)) != attn__bits_f64(fma(x, y, z));
            wrong64 += attn__bits_f64(attn__fma_f64(-x, y, z)) != attn__bits_f64(fma(-x, y, z));
        }
    for (i = 0; i < 4000; i++) { /* sums exactly on a tie whose parts are not: there is no remainder to decide it */
        const double x = 1 + test_uniform(&rng), y = 1 + test_uniform(&rng), h = x * y,
                     half = ldexp(1, h < 2 ? -53 : -52);
        const double z = (i % 2 ? half : -half) - fma(x, y, -h);
        const int scale = i % 4 < 2 ? 0 : -450; /* distant exponents use other code */
        const double a = ldexp(x, scale), b = ldexp(y, scale), c = ldexp(z, 2 * scale);
        wrong64 += attn__bits_f64(attn__fma_f64(a, b, c)) != attn__bits_f64(fma(a, b, c));
    }
    for (i = 1; i < 23; i++) /* results below normal numbers, where ties of floats have fewer bits */
        for (sign = -1; sign <= 1; sign += 2) {
            const float x = ldexpf(1 + ldexpf(1, -i), -75), y = ldexpf(1 + (float)sign * ldexpf(1, i - 23), -75);
            for (int k = 4194300; k < 4194310; k++) {
                const float z = ldexpf((float)k, -149);
                wrong32 += attn__bits_f32(attn__fma_f32(x, y, z)) != attn__bits_f32(fmaf(x, y, z));
                wrong32 += attn__bits_f32(attn__fma_f32(-x, y, z)) != attn__bits_f32(fmaf(-x, y, z));
            }
        }
    {
        const float x = ldexpf(1 + ldexpf(1, -23), -75), y = ldexpf(1 - ldexpf(1, -23), -75);
        wrong32 += attn__bits_f32(attn__fma_f32(x, y, ldexpf(4194305, -149))) != attn__bits_f32(0x1.000004p-127f);
    }
    test_ok(wrong32 == 0, "float32 multiply-add beside ties (%zu wrong)", wrong32);
    test_ok(wrong64 == 0, "float64 multiply-add beside ties (%zu wrong)", wrong64);
}

/* In software, a product has two parts or three, by how many bits its factors have, and beside the least numbers it is
 * added in multiples of them. */
static void try_fma_parts(void)
{
    test_rng rng = {9};
    size_t wrong = 0, below = 0;
    for (int bits = 1; bits <= 53; bits++)
        for (int i = 0; i < 4000; i++) {
            const double a = 1 + test_uniform(&rng),
                         b = floor(ldexp(1 + test_uniform(&rng), bits - 1)) * ldexp(1, 1 - bits),
                         c = i % 2 ? -a * b * (1 + ldexp(test_uniform(&rng), -30))
                                   : ldexp(test_uniform(&rng), i % 120 - 60);
            wrong += attn__bits_f64(attn__fma_f64(a, b, c)) != attn__bits_f64(fma(a, b, c));
        }
    for (int e = -1080; e < -1010; e++)
        for (int i = 0; i < 4000; i++) {
            const double a = ldexp(1 + test_uniform(&rng), i % 2 ? -530 : -400),
                         b = ldexp(i % 3 ? 1 + test_uniform(&rng) : 1, e - (i % 2 ? -530 : -400)),
                         d = ldexp(test_uniform(&rng) - 0.5, -1074 + (int)test_below(&rng, 57)),
                         c = i % 5 ? d : -(a * b);
            below += attn__bits_f64(attn__fma_f64(a, b, c)) != attn__bits_f64(fma(a, b, c));
            below += attn__bits_f64(attn__fma_f64(-a, b, c)) != attn__bits_f64(fma(-a, b, c));
        }
    for (int i = 1; i < 53; i++) /* a hair less than half of the least number, beside odd and even multiples of it */
        for (int n = 0; n < 53; n++)
            for (int odd = 0; odd < 4; odd++) {
                const double a = ldexp(1 + ldexp(1, -i), -500), b = ldexp(1 - ldexp(1, -i), odd < 2 ? -575 : -1070),
                             c = (ldexp(1, n) + odd % 2) * 0x1p-1074;
                below += attn__bits_f64(attn__fma_f64(a, b, c)) != attn__bits_f64(fma(a, b, c));
                below += attn__bits_f64(attn__fma_f64(a, -b, c)) != attn__bits_f64(fma(a, -b, c));
                below += attn__bits_f64(attn__fma_f64(b, b, c)) != attn__bits_f64(fma(b, b, c));
                below += attn__bits_f64(attn__fma_f64(b, -b, 0 * c)) != attn__bits_f64(fma(b, -b, 0 * c));
            }
    test_ok(wrong == 0, "float64 multiply-add of factors of 1 to 53 bits (%zu wrong)", wrong);
    test_ok(below == 0, "float64 multiply-add below normal numbers (%zu wrong)", below);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "exhaustive") == 0) {
        try_float32(1);
        return test_done();
    }
    try_float32(4099);
    try_float64("exp float64", exp_limit(), argument_of_exp, evaluate_exp, evaluate_scalar_exp, expl);
    try_float64("exp2 float64", exp_limit(), argument_of_exp2, evaluate_exp2, NULL, power_of_two);
    try_float64("tanh float64", 3, argument_of_tanh, evaluate_tanh, evaluate_scalar_tanh, tanhl);
    try_float64("log float64", 2, argument_of_log, evaluate_log, evaluate_scalar_log, logl);
    try_sine();
    try_rotate();
    try_halves();
    try_odd();
    try_sqrt();
    try_fma();
    try_fma_ties();
    try_fma_parts();
    return test_done();
}
