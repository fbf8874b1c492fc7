/* SPDX-License-Identifier: MIT-0
 *
 * Rotary embedding as models use it: attn_rotate within the stated error of its formula in long double, for factors,
 * scale, magnitude, sections and back; each of them alone to the bit as what it is the same as: another position,
 * tables, other rows. attn_cache_append_rotated to the bit as rotating, then appending, with one rounding. The factors
 * of Llama 3.1 and YaRN as their authors define them. On errors nothing is written.
 */
#include "check/harness.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { BATCH = 2, HEADS = 3, ROWS = 5 };

/* ------------------------------------------------------------ the bound -- */

static long double angle_of(const attn_rotation *r, size_t dim, long double position, size_t pair)
{
    const long double base = r->base > 0 ? (long double)r->base : 10000;
    long double f = powl(base, -2 * (long double)pair / (long double)dim);
    if (r->factors.ndim) f /= (long double)ref_get(&r->factors, 0, 0, 0, pair);
    if (r->scale > 0) f *= (long double)r->scale;
    f *= position;
    return r->inverse ? -f : f;
}

static size_t section_of(const attn_rotation *r, size_t pair)
{
    size_t end = 0;
    for (size_t s = 0; s < 4; s++)
        if (pair < (end += r->sections[s])) return s;
    return 0;
}

/* The largest error of y divided by its bound: that of cosines, sines and two more roundings of the turn; of the
 * magnitude, of both products and of their sum, in double, and of the type. */
static double worst_of(const attn_rotation *r, const attn_array *x, const attn_array *positions, const attn_array *y)
{
    const size_t n = ref_length(x, 1), dim = r->rotary_dim ? r->rotary_dim : n;
    const int sections = r->sections[0] || r->sections[1] || r->sections[2] || r->sections[3];
    const long double u = ldexpl(1, x->dtype == ATTN_F64   ? -53
                                    : x->dtype == ATTN_F32 ? -24
                                    : x->dtype == ATTN_F16 ? -11
                                                           : -8),
                      eta = ldexpl(1, x->dtype == ATTN_F64   ? -1074
                                      : x->dtype == ATTN_F32 ? -149
                                      : x->dtype == ATTN_F16 ? -24
                                                             : -133);
    const long double m = r->magnitude > 0 ? (long double)r->magnitude : 1;
    double worst = 0;
    for (size_t b = 0; b < ref_length(x, 4); b++)
        for (size_t h = 0; h < ref_length(x, 3); h++)
            for (size_t i = 0; i < ref_length(x, 2); i++) {
                for (size_t pair = 0; pair < dim / 2; pair++) {
                    const size_t c0 = r->interleaved ? 2 * pair : pair, c1 = r->interleaved ? c0 + 1 : c0 + dim / 2;
                    const size_t s = section_of(r, pair);
                    const long double p = !positions  ? (long double)i
                                          : !sections ? (long double)ref_get(positions, 0, 0, b, i)
                                                      : (long double)ref_get(positions, 0, b, s, i);
                    const long double angle = angle_of(r, dim, p, pair), v0 = (long double)ref_get(x, b, h, i, c0),
                                      v1 = (long double)ref_get(x, b, h, i, c1);
                    const long double cosine = cosl(angle) * m, sine = sinl(angle) * m,
                                      error = (ldexpl(1, -50) + ldexpl(2, -53) + 16 * LDBL_EPSILON) *
                                                  (1 + fabsl(angle)) * m +
                                              ldexpl(3, -53) * m;
                    for (int k = 0; k < 2; k++) {
                        const long double want = k ? v0 * sine + v1 * cosine : v0 * cosine - v1 * sine,
                                          got = (long double)ref_get(y, b, h, i, k ? c1 : c0);
                        const long double room = error * (fabsl(v0) + fabsl(v1)),
                                          all = room + u * (fabsl(want) + room) + 2 * eta;
                        const double ratio = (double)(fabsl(got - want) / all);
                        if (!(ratio <= 1) && worst <= 1)
                            test_note("[%zu, %zu, %zu], pair %zu: %.17g, wanted %.17g", b, h, i, pair, (double)got,
                                      (double)want);
                        worst = ratio > worst ? ratio : worst;
                    }
                }
                for (size_t c = dim; c < n; c++)
                    if (memcmp(ref_at(y, b, h, i, c), ref_at(x, b, h, i, c), attn_dtype_size(x->dtype)) != 0)
                        worst = (double)INFINITY;
            }
    return worst;
}

static attn_array some_positions(size_t b, size_t r, size_t n, double most, test_rng *rng)
{
    const attn_array p = r ? test_3d(ATTN_I64, b, r, n) : test_2d(ATTN_I32, b, n);
    for (size_t e = 0; e < b * (r ? r : 1) * n; e++) {
        const double x = floor(most * (2 * test_uniform(rng) - 1));
        ref_set(&p, 0, r ? e / n / r : 0, r ? e / n % r : e / n, e % n, e == 0 ? most : e == 1 ? -most : x);
    }
    return p;
}

static attn_array some_factors(attn_dtype type, size_t n, test_rng *rng)
{
    const attn_array f = test_1d(type, n);
    for (size_t i = 0; i < n; i++) ref_set(&f, 0, 0, 0, i, 1 + 30 * test_uniform(rng));
    return f;
}

/* Everything together, positions up to 2^31. */
static void try_bounds(attn_dtype type, size_t n, size_t dim)
{
    for (unsigned which = 0; which < 32; which++) {
        test_rng rng = {which};
        const attn_array x = test_4d(type, BATCH, HEADS, ROWS, n), y = test_copy(&x);
        attn_rotation r = attn_rotation_default();
        const size_t half = dim / 2, sections = which & 8 ? 3 : 0;
        attn_array positions;
        attn_status status;
        double worst;
        r.rotary_dim = dim == n ? 0 : dim;
        r.interleaved = which % 3 == 1;
        r.base = which & 4 ? 500000 : 0;
        if (which & 1) r.factors = some_factors(which & 2 ? ATTN_F32 : ATTN_F64, half, &rng);
        if (which & 2) r.scale = 0.3;
        if (which & 4) r.magnitude = 1.19;
        if (which & 16) r.inverse = 1;
        if (sections) r.sections[0] = half / 4, r.sections[1] = half / 3, r.sections[2] = half - half / 4 - half / 3;
        positions = some_positions(BATCH, sections, ROWS, 2147483647, &rng);
        test_fill_normal(&x, &rng, 1);
        status = attn_rotate(&r, &x, &positions, &y);
        worst = worst_of(&r, &x, &positions, &y);
        test_ok(test_status(status, ATTN_OK) && worst <= 1 && test_release(),
                "%s, %zu of %zu columns%s%s%s%s%s%s (error/bound %.3f)", attn_dtype_name(type), dim, n,
                r.interleaved ? ", interleaved" : "", which & 1 ? ", factors" : "", which & 2 ? ", scale" : "",
                which & 4 ? ", base and magnitude" : "", sections ? ", sections" : "", which & 16 ? ", back" : "",
                worst);
    }
}

/* ---------------------------------------------------- the same as others -- */

static void try_same(attn_dtype type, size_t n, size_t dim, int interleaved)
{
    const size_t half = dim / 2;
    test_rng rng = {n};
    const attn_array x = test_4d(type, BATCH, HEADS, ROWS, n), y = test_copy(&x), want = test_copy(&x),
                     positions = some_positions(BATCH, 0, ROWS, 1 << 20, &rng),
                     others = some_positions(BATCH, 0, ROWS, 1 << 20, &rng);
    attn_array units = test_4d(ATTN_F64, BATCH, 1, ROWS, dim), cosine, sine, one;
    attn_rotation plain = attn_rotation_default(), r;
    int pass;
    test_fill_normal(&x, &rng, 1);
    plain.rotary_dim = dim;
    plain.interleaved = interleaved;
    r = plain;
    pass = test_status(attn_rotary(&x, &positions, 0, dim, interleaved, &want), ATTN_OK) &&
           test_status(attn_rotate(&r, &x, &positions, &y), ATTN_OK) && test_same(&y, &want);
    r.scale = r.magnitude = 1;
    r.base = 10000;
    r.factors = test_1d(ATTN_F32, half);
    test_fill(&r.factors, 1);
    pass = pass && test_status(attn_rotate(&r, &x, &positions, &y), ATTN_OK) && test_same(&y, &want);
    test_ok(pass, "%s, %zu of %zu: what is not there, or 1, is attn_rotary", attn_dtype_name(type), dim, n);

    for (size_t e = 0; e < BATCH * ROWS; e++) /* half as far is half the scale, or twice the factors */
        ref_set(&others, 0, 0, e / ROWS, e % ROWS, 2 * (double)ref_get(&positions, 0, 0, e / ROWS, e % ROWS));
    r.scale = 0.5;
    pass = test_status(attn_rotate(&r, &x, &others, &y), ATTN_OK) && test_same(&y, &want);
    r.scale = 0;
    test_fill(&r.factors, 2);
    pass = pass && test_status(attn_rotate(&r, &x, &others, &y), ATTN_OK) && test_same(&y, &want);
    test_ok(pass, "%s, %zu of %zu: scale and factors move positions", attn_dtype_name(type), dim, n);

    for (size_t e = 0; e < BATCH * ROWS; e++)
        ref_set(&others, 0, 0, e / ROWS, e % ROWS, -(double)ref_get(&positions, 0, 0, e / ROWS, e % ROWS));
    r = plain;
    r.inverse = 1;
    test_ok(test_status(attn_rotate(&r, &x, &others, &y), ATTN_OK) && test_same(&y, &want),
            "%s, %zu of %zu: back is from minus the position", attn_dtype_name(type), dim, n);

    /* unit vectors turn into their cosines and sines */
    for (size_t b = 0; b < BATCH; b++)
        for (size_t i = 0; i < ROWS; i++)
            for (size_t c = 0; c < dim; c++) ref_set(&units, b, 0, i, c, interleaved ? c % 2 == 0 : c < half);
    pass = test_status(attn_rotate(&plain, &units, &positions, &units), ATTN_OK);
    r = plain;
    r.factors = test_absent;
    cosine = test_3d(ATTN_F64, BATCH, ROWS, half), sine = test_3d(ATTN_F64, BATCH, ROWS, half);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t i = 0; i < ROWS; i++)
            for (size_t p = 0; p < half; p++) {
                ref_set(&cosine, 0, b, i, p, 1.25 * (double)ref_get(&units, b, 0, i, interleaved ? 2 * p : p));
                ref_set(&sine, 0, b, i, p, 1.25 * (double)ref_get(&units, b, 0, i, interleaved ? 2 * p + 1 : p + half));
            }
    r.magnitude = 1.25;
    pass = pass && test_status(attn_rotate(&r, &x, &positions, &want), ATTN_OK) &&
           test_status(attn_rotary_tables(&x, &cosine, &sine, interleaved, &y), ATTN_OK) && test_same(&y, &want);
    r = attn_rotation_default(); /* and so do tables in the descriptor, to whose sines `inverse` gives another sign */
    r.interleaved = interleaved;
    r.cosine = cosine;
    r.sine = sine;
    pass = pass && test_status(attn_rotate(&r, &x, NULL, &y), ATTN_OK) && test_same(&y, &want);
    for (size_t e = 0; e < BATCH * ROWS * half; e++) ((double *)sine.data)[e] *= -1;
    r.inverse = 1;
    pass = pass && test_status(attn_rotate(&r, &x, NULL, &y), ATTN_OK) && test_same(&y, &want);
    test_ok(pass, "%s, %zu of %zu: a magnitude multiplies cosines and sines", attn_dtype_name(type), dim, n);

    /* sections: each pair as if all went by its position */
    r = plain;
    r.sections[0] = half / 3, r.sections[2] = half - half / 3;
    one = some_positions(BATCH, 4, ROWS, 1 << 30, &rng);
    pass = test_status(attn_rotate(&r, &x, &one, &want), ATTN_OK);
    for (size_t s = 0; s < 3; s += 2) {
        const attn_array row = test_part(&one, 2, s, 1), two = attn_array_2d(ATTN_I64, row.data, BATCH, ROWS);
        attn_array of = two;
        of.stride[0] = row.stride[0], of.stride[1] = 1;
        pass &= test_status(attn_rotate(&plain, &x, &of, &y), ATTN_OK);
        for (size_t b = 0; b < BATCH; b++)
            for (size_t h = 0; h < HEADS; h++)
                for (size_t i = 0; i < ROWS; i++)
                    for (size_t p = s ? half / 3 : 0; p < (s ? half : half / 3); p++)
                        for (int k = 0; k < 2; k++) {
                            const size_t c = interleaved ? 2 * p + (size_t)k : p + (size_t)k * half;
                            pass &=
                                memcmp(ref_at(&y, b, h, i, c), ref_at(&want, b, h, i, c), attn_dtype_size(type)) == 0;
                        }
    }
    one = test_part(&one, 2, 0, 3); /* as many as there are, for all batches */
    one = test_part(&one, 3, 0, 1);
    one.ndim = 2;
    one.shape[0] = 3, one.shape[1] = ROWS, one.stride[0] = one.stride[1], one.stride[1] = one.stride[2];
    pass = pass && test_status(attn_rotate(&r, &x, &one, &y), ATTN_OK);
    {
        const attn_array first = test_part(&y, 4, 0, 1), same = test_part(&want, 4, 0, 1);
        pass = pass && test_same(&first, &same);
    }
    test_ok(test_release() && pass, "%s, %zu of %zu: sections", attn_dtype_name(type), dim, n);
}

/* ---------------------------------------------------------------- caches -- */

static void try_append(attn_dtype type, attn_dtype cache_type, int paged, int how)
{
    enum { CAPACITY = 24, PAGE = 8, N = 38, DIM = 30 };
    static const char *const hows[] = {"positions in the cache", "given positions", "tables", "sections, in place"};
    static const double lens[BATCH] = {6, 17};
    test_rng rng = {(uint64_t)(10 * how + paged)};
    const attn_dtype wide = type == ATTN_F64 ? ATTN_F64 : ATTN_F64;
    const attn_array rows = test_4d(type, BATCH, HEADS, ROWS, N), at = test_1d(ATTN_I32, BATCH),
                     x = test_4d(wide, BATCH, HEADS, ROWS, N), table = test_2d(ATTN_I64, BATCH, CAPACITY / PAGE);
    const attn_array cache = paged ? test_4d(cache_type, BATCH * (CAPACITY / PAGE), HEADS, PAGE, N)
                                   : test_4d(cache_type, BATCH, HEADS, CAPACITY, N);
    const attn_array want = test_copy(&cache), positions = some_positions(BATCH, how == 3 ? 4 : 0, ROWS, 1 << 20, &rng);
    attn_array counted = test_2d(ATTN_I64, BATCH, ROWS);
    attn_rotation r = attn_rotation_default();
    int pass;
    r.rotary_dim = how == 2 ? 0 : DIM;
    r.interleaved = paged;
    r.magnitude = 1.1;
    if (how == 2) {
        r.cosine = test_3d(ATTN_F32, BATCH, ROWS, DIM / 2);
        r.sine = test_2d(ATTN_F64, ROWS, DIM / 2);
        test_fill_normal(&r.cosine, &rng, 1);
        test_fill_normal(&r.sine, &rng, 1);
    }
    if (how == 3) r.sections[0] = 5, r.sections[1] = 3, r.sections[3] = 7;
    test_fill_normal(&rows, &rng, 1);
    for (size_t b = 0; b < BATCH; b++) {
        ref_set(&at, 0, 0, 0, b, lens[b]);
        for (size_t i = 0; i < ROWS; i++) ref_set(&counted, 0, 0, b, i, lens[b] + (double)i);
        for (size_t p = 0; p < CAPACITY / PAGE; p++)
            ref_set(&table, 0, 0, b, p, (double)(BATCH * (CAPACITY / PAGE) - 1 - (b * (CAPACITY / PAGE) + p)));
    }
    pass = test_status(attn_cache_append_rotated(&cache, &r, &rows, how == 0 || how == 2 ? NULL : &positions, &at,
                                                 paged ? &table : NULL),
                       ATTN_OK);
    /* rotated in double, which rounds what is computed in double once, as the cache does */
    for (size_t b = 0; b < BATCH; b++)
        for (size_t h = 0; h < HEADS; h++)
            for (size_t i = 0; i < ROWS; i++)
                for (size_t c = 0; c < N; c++) ref_set(&x, b, h, i, c, (double)ref_get(&rows, b, h, i, c));
    pass = pass && test_status(attn_rotate(&r, &x, how == 2 ? NULL : how == 0 ? &counted : &positions, &x), ATTN_OK);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t h = 0; h < HEADS; h++)
            for (size_t i = 0; i < ROWS; i++) {
                const size_t j = (size_t)lens[b] + i;
                const size_t place = paged ? (size_t)ref_get(&table, 0, 0, b, j / PAGE) : b;
                for (size_t c = 0; c < N; c++)
                    ref_set(&want, place, h, paged ? j % PAGE : j, c, (double)ref_get(&x, b, h, i, c));
            }
    test_ok(pass && test_same(&cache, &want) && test_release(), "%s rows into a cache of %s%s: %s",
            attn_dtype_name(type), attn_dtype_name(cache_type), paged ? ", pages" : "", hows[how]);
}

/* --------------------------------------------------------------- factors -- */

static double far_from(const attn_array *got, size_t i, long double want)
{
    return (double)(fabsl((long double)ref_get(got, 0, 0, 0, i) - want) / want);
}

/* Wavelengths up to original / high stay, those from original / low on become factor times as long, others between. */
static void try_llama3(size_t dim, double base, double factor, double low, double high, double original)
{
    const attn_array f = test_1d(ATTN_F64, dim / 2), narrow = test_1d(ATTN_F32, dim / 2);
    double worst = 0;
    int pass = test_status(attn_rotary_llama3(base, factor, low, high, original, &f), ATTN_OK) &&
               test_status(attn_rotary_llama3(base, factor, low, high, original, &narrow), ATTN_OK);
    for (size_t i = 0; i < dim / 2; i++) {
        const long double two_pi = 2 * acosl(-1);
        const long double frequency = powl((long double)base, -2 * (long double)i / (long double)dim),
                          wavelength = two_pi / frequency;
        long double want = frequency;
        if (wavelength > (long double)original / (long double)low) want = frequency / (long double)factor;
        else if (wavelength >= (long double)original / (long double)high) {
            const long double smooth =
                ((long double)original / wavelength - (long double)low) / ((long double)high - (long double)low);
            want = (1 - smooth) * frequency / (long double)factor + smooth * frequency;
        }
        worst = fmax(worst, far_from(&f, i, frequency / want));
        pass &= ref_get(&narrow, 0, 0, 0, i) == (ref_real)(float)ref_get(&f, 0, 0, 0, i);
    }
    test_ok(pass && worst < ldexp(1, -44) && ref_get(&f, 0, 0, 0, 0) == 1 &&
                ref_get(&f, 0, 0, 0, dim / 2 - 1) == (ref_real)factor && test_release(),
            "Llama 3.1, %zu columns, factor %g: as published (2^%.1f)", dim, factor, log2(worst));
}

static void try_yarn(size_t dim, double base, double factor, double fast, double slow, double original)
{
    const attn_array f = test_1d(ATTN_F64, dim / 2);
    const long double two_pi = 2 * acosl(-1), n = (long double)dim;
    const double beta[2] = {fast > 0 ? fast : 32, slow > 0 ? slow : 1};
    long double end[2];
    double worst = 0, magnitude = 0;
    int pass = test_status(attn_rotary_yarn(base, factor, fast, slow, original, &f, &magnitude), ATTN_OK);
    for (int k = 0; k < 2; k++)
        end[k] = n * logl((long double)original / ((long double)beta[k] * two_pi)) / (2 * logl((long double)base));
    end[0] = fmaxl(floorl(end[0]), 0);
    end[1] = fminl(ceill(end[1]), n - 1);
    if (end[0] == end[1]) end[1] += 0.001L;
    for (size_t i = 0; i < dim / 2; i++) {
        const long double ramp = fminl(fmaxl(((long double)i - end[0]) / (end[1] - end[0]), 0), 1),
                          frequency = powl((long double)base, -2 * (long double)i / n),
                          want = frequency / (long double)factor * ramp + frequency * (1 - ramp);
        worst = fmax(worst, far_from(&f, i, frequency / want));
    }
    pass &= fabs(magnitude - (0.1 * log(factor) + 1)) < 1e-15;
    test_ok(pass && worst < ldexp(1, -44) && test_release(), "YaRN, %zu columns, factor %g: as published (2^%.1f)", dim,
            factor, log2(worst));
}

/* ---------------------------------------------------------------- errors -- */

#define REFUSE(status, spoil)                                                                                          \
    do {                                                                                                               \
        attn_rotation r = attn_rotation_default();                                                                     \
        attn_array x = test_4d(ATTN_F32, 2, 3, 5, 8), positions = test_2d(ATTN_I32, 2, 5), y = test_copy(&x),          \
                   cache = test_4d(ATTN_F32, 2, 3, 9, 8), lens = test_1d(ATTN_I64, 2), *at = &positions;               \
        const attn_array output = y, unwritten = test_copy(&y), empty = cache, untouched = test_copy(&cache);          \
        test_fill(&positions, 3);                                                                                      \
        test_fill(&lens, 4);                                                                                           \
        r.factors = test_1d(ATTN_F64, 4);                                                                              \
        test_fill(&r.factors, 2);                                                                                      \
        spoil;                                                                                                         \
        test_ok(test_status(attn_rotate(&r, &x, at, &y), status) && test_same(&output, &unwritten) && test_guards(),   \
                "refused: %s", #spoil);                                                                                \
        test_ok(test_status(attn_cache_append_rotated(&cache, &r, &x, at, &lens, NULL), status) &&                     \
                    test_same(&empty, &untouched) && test_guards(),                                                    \
                "to a cache: %s", #spoil);                                                                             \
        test_release();                                                                                                \
    } while (0)

static void try_errors(void)
{
    REFUSE(ATTN_ERR_PARAMETER, r.base = 0.5);
    REFUSE(ATTN_ERR_PARAMETER, r.base = (double)NAN);
    REFUSE(ATTN_ERR_PARAMETER, r.scale = -1);
    REFUSE(ATTN_ERR_PARAMETER, r.scale = (double)INFINITY);
    REFUSE(ATTN_ERR_PARAMETER, r.magnitude = (double)NAN);
    REFUSE(ATTN_ERR_PARAMETER, r.magnitude = -0.1);
    REFUSE(ATTN_ERR_PARAMETER, ref_set(&r.factors, 0, 0, 0, 3, 0));
    REFUSE(ATTN_ERR_PARAMETER, ref_set(&r.factors, 0, 0, 0, 0, (double)NAN));
    REFUSE(ATTN_ERR_SHAPE, r.factors.shape[0] = 3);
    REFUSE(ATTN_ERR_SHAPE, r.rotary_dim = 7);
    REFUSE(ATTN_ERR_SHAPE, r.rotary_dim = 10);
    REFUSE(ATTN_ERR_DTYPE, r.factors.dtype = ATTN_F16);
    REFUSE(ATTN_ERR_RANK, r.factors = test_2d(ATTN_F32, 1, 4));
    REFUSE(ATTN_ERR_NULL, r.factors.data = NULL);
    REFUSE(ATTN_ERR_SHAPE, r.sections[0] = 3);
    REFUSE(ATTN_ERR_SHAPE, r.sections[3] = 5);
    REFUSE(ATTN_ERR_SHAPE, r.sections[1] = (size_t)-1);
    REFUSE(ATTN_ERR_SHAPE, r.sections[2] = 4); /* of 3 positions, not of 2 */
    REFUSE(ATTN_ERR_RANK, (r.sections[2] = 4, positions.ndim = 1));
    REFUSE(ATTN_ERR_SHAPE, (r.sections[2] = 4, positions = test_3d(ATTN_I32, 3, 3, 5)));
    REFUSE(ATTN_ERR_RANK, positions = test_3d(ATTN_I32, 2, 1, 5));
    REFUSE(ATTN_ERR_LENGTH,
           (positions.dtype = ATTN_I64, positions = test_1d(ATTN_I64, 5), test_fill(&positions, 2147483649.0)));
    REFUSE(ATTN_ERR_LENGTH, (test_fill(&r.factors, 0.001), test_fill(&positions, 3e6)));
    REFUSE(ATTN_ERR_LENGTH, (test_fill(&r.factors, 1e-300), r.scale = 1e300));
    REFUSE(ATTN_ERR_UNSUPPORTED, (at = NULL, r.cosine = test_2d(ATTN_F32, 5, 4), r.sine = test_2d(ATTN_F32, 5, 4)));
    REFUSE(ATTN_ERR_UNSUPPORTED,
           (r.factors = test_absent, r.cosine = test_2d(ATTN_F32, 5, 4), r.sine = test_2d(ATTN_F32, 5, 4)));
    REFUSE(ATTN_ERR_NULL, (at = NULL, r.factors = test_absent, r.cosine = test_2d(ATTN_F32, 5, 4)));
    REFUSE(ATTN_ERR_SHAPE, (at = NULL, r.factors = test_absent, r.cosine = test_2d(ATTN_F32, 5, 4),
                            r.sine = test_2d(ATTN_F32, 5, 4), r.rotary_dim = 6));
    {
        const attn_array x = test_2d(ATTN_F32, 2, 4), codes = test_2d(ATTN_I8, 4, 4), wide = test_2d(ATTN_F64, 4, 4);
        const attn_rotation r = attn_rotation_default();
        const attn_array f = test_1d(ATTN_F64, 4), unwritten = test_copy(&f);
        double magnitude = 7;
        test_fill(&x, 1);
        test_ok(test_status(attn_rotate(NULL, &x, NULL, &x), ATTN_ERR_NULL) &&
                    test_status(attn_rotate(&r, NULL, NULL, &x), ATTN_ERR_NULL) &&
                    test_status(attn_rotate(&r, &x, NULL, NULL), ATTN_ERR_NULL) &&
                    test_status(attn_cache_append_rotated(&codes, NULL, &x, NULL, NULL, NULL), ATTN_ERR_NULL) &&
                    test_status(attn_cache_append_rotated(NULL, &r, &x, NULL, NULL, NULL), ATTN_ERR_NULL) &&
                    test_status(attn_cache_append_rotated(&wide, &r, &x, NULL, NULL, NULL), ATTN_ERR_DTYPE),
                "refused: nothing, another precision");
        test_ok(test_status(attn_rotary_llama3(1e4, 8, 4, 1, 8192, &f), ATTN_ERR_PARAMETER) &&
                    test_status(attn_rotary_llama3(1e4, 8, 0, 4, 8192, &f), ATTN_ERR_PARAMETER) &&
                    test_status(attn_rotary_llama3(1, 8, 1, 4, 8192, &f), ATTN_ERR_PARAMETER) &&
                    test_status(attn_rotary_llama3(1e4, 0, 1, 4, 8192, &f), ATTN_ERR_PARAMETER) &&
                    test_status(attn_rotary_llama3(1e4, 8, 1, (double)NAN, 8192, &f), ATTN_ERR_PARAMETER) &&
                    test_status(attn_rotary_llama3(1e4, 8, 1, 4, (double)INFINITY, &f), ATTN_ERR_PARAMETER) &&
                    test_status(attn_rotary_llama3(1e4, 8, 1, 4, 8192, NULL), ATTN_ERR_NULL) &&
                    test_status(attn_rotary_yarn(1e4, 4, 1, 32, 8192, &f, &magnitude), ATTN_ERR_PARAMETER) &&
                    test_status(attn_rotary_yarn(1e4, 4, -1, 0, 8192, &f, &magnitude), ATTN_ERR_PARAMETER) &&
                    test_status(attn_rotary_yarn(1e4, -4, 0, 0, 8192, &f, &magnitude), ATTN_ERR_PARAMETER) &&
                    test_status(attn_rotary_yarn(1e4, 4, 0, 0, 8192, &x, &magnitude), ATTN_ERR_RANK) &&
                    test_same(&f, &unwritten) && magnitude == 7,
                "refused: factors");
        test_release();
    }
}

int main(void)
{
    static const attn_dtype types[] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};
    for (size_t t = 0; t < 4; t++) {
        try_bounds(types[t], 16, 16);
        try_bounds(types[t], 74, 58);
        if (t < 2) try_bounds(types[t], 610, 600); /* in two pieces */
        for (int interleaved = 0; interleaved < 2; interleaved++) {
            try_same(types[t], 16, 16, interleaved);
            try_same(types[t], 70, 58, interleaved);
            try_same(types[t], 1100, 1030, interleaved);
        }
        for (int paged = 0; paged < 2; paged++)
            for (int how = 0; how < 4; how++) {
                try_append(types[t], types[t], paged, how);
                if (types[t] != ATTN_F64) try_append(types[t], types[(t + 2) % 4 == 1 ? 0 : (t + 2) % 4], paged, how);
                if (types[t] == ATTN_F32) try_append(types[t], ATTN_BF16, paged, how);
            }
    }
    try_llama3(128, 500000, 8, 1, 4, 8192); /* Llama 3.1 */
    try_llama3(64, 500000, 32, 1, 4, 8192); /* Llama 3.2 1B */
    try_yarn(128, 1e6, 4, 0, 0, 32768);     /* Qwen 2.5 */
    try_yarn(64, 10000, 40, 32, 1, 4096);   /* DeepSeek-V2 and V3 */
    try_yarn(64, 150000, 32, 32, 1, 4096);  /* gpt-oss, but for its untruncated ends */
    try_yarn(128, 10000, 2, 1, 1, 1024);
    try_errors();
    return test_done();
}
