/* SPDX-License-Identifier: MIT-0
 *
 * Rotary position embedding compared with long double: within the error that the header states
 * plus one rounding to the element type, to nearest; in every layout, in place, at any
 * position. Rotation preserves lengths, and scores depend only on distances. Tables of the same
 * cosines and sines give the same bits. On errors nothing is written.
 */
#include "check/harness.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const attn_dtype types[4] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};

/* ------------------------------------------------------------- the bound -- */

/* Half an ulp of the type, and the least denormal. */
typedef struct rounding {
    long double u, eta, largest;
} rounding;

static rounding rounding_of(attn_dtype type)
{
    rounding r;
    r.u = ldexpl(1, type == ATTN_F64 ? -53 : type == ATTN_F32 ? -24 : type == ATTN_F16 ? -11 : -8);
    r.eta = ldexpl(1, type == ATTN_F64 ? -1074 : type == ATTN_F32 ? -149 : type == ATTN_F16 ? -24 : -133);
    r.largest = type == ATTN_F64 ? (long double)DBL_MAX : type == ATTN_F16 ? 65504 : (long double)FLT_MAX;
    return r;
}

/* The rotation of a call: the arguments of attn_rotary. */
typedef struct turning {
    double base; /* never 0 here */
    size_t rotary_dim;
    int interleaved;
} turning;

static long double angle_of(const turning *t, int64_t position, size_t pair)
{
    const long double frequency = powl((long double)t->base, -2 * (long double)pair / (long double)t->rotary_dim);
    return frequency * (long double)position; /* not in one expression: tcc loses a long double across a call */
}

/* The error that the header states for sines and cosines, plus that of this reference: the few
 * roundings of an angle to LDBL_MANT_DIG bits. */
static long double error_of_angle(long double angle)
{
    return (ldexpl(1, -50) + 16 * LDBL_EPSILON) * (1 + fabsl(angle));
}

/* One element of the pair (u, v) rotated by an angle. The two products have the error of sine
 * and cosine and one rounding each, in double; their sum has one more. */
static ref_bounds turned(attn_dtype type, long double u, long double v, long double angle, int second)
{
    const long double sine = sinl(angle), cosine = cosl(angle),
                      value = second ? u * sine + v * cosine : u * cosine - v * sine;
    const rounding r = rounding_of(type);
    long double error = (error_of_angle(angle) + ldexpl(2, -53)) * (fabsl(u) + fabsl(v));
    ref_bounds b;
    error += r.u * (fabsl(value) + error) + 2 * r.eta;
    b.value = (ref_real)value;
    b.low = (ref_real)(value - error);
    b.high = (ref_real)(value + error);
    if (b.high > (ref_real)r.largest) b.high = (ref_real)INFINITY;
    if (b.low < -(ref_real)r.largest) b.low = -(ref_real)INFINITY;
    return b;
}

/* The two elements of a row that form a pair. */
static size_t first_of(const turning *t, size_t pair) { return t->interleaved ? 2 * pair : pair; }
static size_t second_of(const turning *t, size_t pair)
{
    return t->interleaved ? 2 * pair + 1 : pair + t->rotary_dim / 2;
}

/* The largest error of y, the rotated x, divided by its bound; positions are 0, 1, 2, ... if
 * not given. Infinite if an element beyond rotary_dim was not copied exactly. */
static double worst_of(const attn_array *x, const attn_array *positions, const turning *t, const attn_array *y)
{
    double worst = 0;
    for (size_t b = 0; b < ref_length(x, 4); b++)
        for (size_t i = 0; i < ref_length(x, 2); i++) {
            const int64_t position = positions ? (int64_t)ref_get(positions, 0, 0, b, i) : (int64_t)i;
            for (size_t pair = 0; pair < t->rotary_dim / 2; pair++) {
                const size_t c[2] = {first_of(t, pair), second_of(t, pair)};
                const long double angle = angle_of(t, position, pair);
                for (size_t h = 0; h < ref_length(x, 3); h++)
                    for (int k = 0; k < 2; k++) {
                        const ref_bounds want = turned(x->dtype, (long double)ref_get(x, b, h, i, c[0]),
                                                       (long double)ref_get(x, b, h, i, c[1]), angle, k);
                        const ref_real got = ref_get(y, b, h, i, c[k]);
                        const double ratio = ref_ratio(&want, got);
                        if (!(ratio <= 1) && worst <= 1)
                            test_note(
                                "[%zu, %zu, %zu, %zu], position %lld, base %g, pair %zu of %zu: %.17g, wanted %.17g", b,
                                h, i, c[k], (long long)position, t->base, pair, t->rotary_dim / 2, (double)got,
                                (double)want.value);
                        worst = ratio > worst ? ratio : worst;
                    }
            }
            for (size_t h = 0; h < ref_length(x, 3); h++)
                for (size_t c = t->rotary_dim; c < ref_length(x, 1); c++)
                    if (memcmp(ref_at(y, b, h, i, c), ref_at(x, b, h, i, c), attn_dtype_size(x->dtype)) != 0) {
                        test_note("[%zu, %zu, %zu, %zu] should be as it was", b, h, i, c);
                        return (double)INFINITY;
                    }
        }
    return worst;
}

/* ------------------------------------------------------------- positions -- */

enum { FAR = 2147483647 };

static attn_array position_row(attn_dtype type, size_t batch, size_t n, test_rng *rng)
{
    static const int64_t special[] = {0, 1, -1, 2, 511, 4096, 131071, -131072, 1000003, 16777217, FAR, -FAR};
    const attn_array positions = batch ? test_2d(type, batch, n) : test_1d(type, n);
    for (size_t e = 0; e < (batch ? batch : 1) * n; e++)
        ref_set(&positions, 0, 0, e / n, e % n,
                e < sizeof special / sizeof *special ? (double)special[e]
                                                     : (double)test_below(rng, FAR) * (e % 2 ? 1 : -1));
    return positions;
}

/* A rotated unit vector is (cosine, sine), which shows their errors directly. */
static void try_angles(double base)
{
    static const size_t dims[] = {2, 6, 64, 128};
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        const turning t = {base, dims[d], 1};
        const attn_array x = test_2d(ATTN_F64, 60, dims[d]), y = test_copy(&x);
        test_rng rng = {d};
        const attn_array positions = position_row(ATTN_I64, 0, 60, &rng);
        int pass;
        double worst;
        for (size_t e = 0; e < 60 * dims[d]; e++) ref_set(&x, 0, 0, e / dims[d], e % dims[d], e % 2 == 0);
        pass = test_status(attn_rotary(&x, &positions, base, 0, 1, &y), ATTN_OK);
        worst = worst_of(&x, &positions, &t, &y);
        test_ok(pass && worst <= 1,
                "base %g, %zu angles a position: sines and cosines as exact as stated (error/bound %.3f)", base,
                dims[d] / 2, worst);
        test_release();
    }
}

/* Every type, both ways to pair, part of a row, positions of all kinds. */
static void try_rows(attn_dtype type)
{
    static const char *const kinds[] = {"counted", "(S)", "(B, S)", "(1, S)"};
    static const size_t rotary_dims[] = {2, 10, 16};
    for (int kind = 0; kind < 4; kind++)
        for (int i = 0; i < 6; i++) {
            const turning t = {10000, rotary_dims[i / 2], i % 2};
            const attn_array x = test_4d(type, 2, 3, 14, 16), y = test_copy(&x);
            test_rng rng = {(uint64_t)(10 * kind + i)};
            attn_array positions = test_absent;
            int pass;
            double worst;
            if (kind)
                positions = position_row(kind == 2 ? ATTN_I32 : ATTN_I64, kind == 1 ? 0 : kind == 2 ? 2 : 1, 14, &rng);
            test_fill_normal(&x, &rng, type == ATTN_F64 ? 1e200 : 3);
            pass = test_status(
                attn_rotary(&x, kind ? &positions : NULL, 0, t.rotary_dim == 16 ? 0 : t.rotary_dim, t.interleaved, &y),
                ATTN_OK);
            worst = worst_of(&x, kind ? &positions : NULL, &t, &y);
            test_ok(test_release() && pass && worst <= 1, "%s, %zu of 16 elements, %s, positions %s (error/bound %.3f)",
                    attn_dtype_name(type), t.rotary_dim, t.interleaved ? "interleaved" : "halves", kinds[kind], worst);
        }
}

/* The largest and the least numbers, infinity and NaN. */
static void try_numbers(attn_dtype type)
{
    const long double largest = rounding_of(type).largest, least = rounding_of(type).eta;
    const turning t = {10000, 4, 1};
    const attn_array x = test_2d(type, 4, 4), y = test_copy(&x);
    int pass;
    for (size_t c = 0; c < 4; c++) {
        ref_set(&x, 0, 0, 0, c, (double)(c == 1 ? -largest : largest) * (type == ATTN_BF16 ? 0.5 : 1));
        ref_set(&x, 0, 0, 1, c, (double)(least * (long double)(c + 1)));
        ref_set(&x, 0, 0, 2, c, 0);
        ref_set(&x, 0, 0, 3, c, c == 1 ? (double)INFINITY : 1);
    }
    pass = test_status(attn_rotary(&x, NULL, 0, 0, 1, &y), ATTN_OK);
    {
        const attn_array finite_x = test_part(&x, 2, 0, 3), finite_y = test_part(&y, 2, 0, 3);
        pass = pass && worst_of(&finite_x, NULL, &t, &finite_y) <= 1;
    }
    for (size_t c = 0; c < 4; c++) /* infinity spoils its pair */
        pass &= (isfinite(ref_get(&y, 0, 0, 3, c)) != 0) == (c >= 2);
    test_ok(pass, "%s: numbers of all sizes", attn_dtype_name(type));
    test_release();
}

/* Position 0, and NULL positions with one row, mean no rotation. */
static void try_no_turn(attn_dtype type)
{
    const attn_array x = test_4d(type, 1, 2, 1, 8), y = test_copy(&x), zero = test_1d(ATTN_I64, 1);
    test_rng rng = {3};
    int pass;
    test_fill_normal(&x, &rng, 1);
    test_fill(&zero, 0);
    pass = test_status(attn_rotary(&x, NULL, 0, 0, 0, &y), ATTN_OK) && test_same(&y, &x);
    test_poison(&y);
    pass = pass && test_status(attn_rotary(&x, &zero, 500000, 4, 1, &y), ATTN_OK) && test_same(&y, &x);
    test_ok(pass, "%s: position 0 changes no bit", attn_dtype_name(type));
    test_release();
}

/* --------------------------------------------------------------- layouts -- */

static void try_layouts(attn_dtype type)
{
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        const attn_array x = test_4d(type, 2, 3, 5, 12), want = test_copy(&x);
        const attn_array three = attn_array_3d(type, x.data, 3, 5, 12), two = attn_array_2d(type, x.data, 5, 12);
        attn_array memory = test_4d(type, 12, 5, 2, 3), turned_x, y, part;
        test_rng rng = {4};
        int pass;
        test_fill_normal(&x, &rng, 1);
        pass = test_status(attn_rotary(&x, NULL, 0, 8, interleaved, &want), ATTN_OK);

        y = test_copy(&x);
        test_ok(pass && test_status(attn_rotary(&y, NULL, 0, 8, interleaved, &y), ATTN_OK) && test_same(&y, &want),
                "%s, in place", attn_dtype_name(type));

        memory = attn_array_swap(memory, 0, 2); /* (2, 5, 12, 3), then (2, 3, 12, 5) and (2, 3, 5, 12) */
        memory = attn_array_swap(memory, 1, 3);
        turned_x = attn_array_swap(memory, 2, 3);
        test_assign(&turned_x, &x);
        test_poison(&y);
        test_ok(test_status(attn_rotary(&turned_x, NULL, 0, 8, interleaved, &y), ATTN_OK) && test_same(&y, &want),
                "%s, from other strides", attn_dtype_name(type));
        test_ok(test_status(attn_rotary(&turned_x, NULL, 0, 8, interleaved, &turned_x), ATTN_OK) &&
                    test_same(&turned_x, &want),
                "%s, other strides in place", attn_dtype_name(type));
        turned_x = x;
        turned_x.stride[3] = 1, turned_x.stride[2] = 12, turned_x.stride[1] = 0, turned_x.stride[0] = 180;
        test_poison(&y);
        pass = test_status(attn_rotary(&turned_x, NULL, 0, 8, interleaved, &y), ATTN_OK);
        for (size_t h = 0; h < 3 && pass; h++) {
            const attn_array got = test_part(&y, 3, h, 1), first = test_part(&want, 3, 0, 1);
            pass = test_same(&got, &first);
        }
        test_ok(pass, "%s, one head for three", attn_dtype_name(type));

        part = test_part(&want, 4, 0, 1);
        y = test_3d(type, 3, 5, 12);
        pass = test_status(attn_rotary(&three, NULL, 0, 8, interleaved, &y), ATTN_OK) &&
               memcmp(y.data, part.data, 180 * attn_dtype_size(type)) == 0;
        y = test_2d(type, 5, 12);
        pass = pass && test_status(attn_rotary(&two, NULL, 0, 8, interleaved, &y), ATTN_OK) &&
               memcmp(y.data, part.data, 60 * attn_dtype_size(type)) == 0;
        test_ok(pass, "%s, three and two dimensions", attn_dtype_name(type));
        test_ok(test_release(), "%s, layouts: guards", attn_dtype_name(type));
    }
}

/* ------------------------------------------------------------ properties -- */

/* Rotation preserves u^2 + v^2, except for the errors that `turned` allows each element. */
static void try_norm(attn_dtype type)
{
    const turning t = {10000, 32, 0};
    const attn_array x = test_2d(type, 50, 32), y = test_copy(&x);
    test_rng rng = {5};
    const attn_array positions = position_row(ATTN_I32, 0, 50, &rng);
    double worst = 0;
    int pass;
    test_fill_normal(&x, &rng, 1);
    pass = test_status(attn_rotary(&x, &positions, 0, 0, 0, &y), ATTN_OK);
    for (size_t e = 0; e < 50 * 16; e++) {
        const size_t row = e / 16, pair = e % 16, a = first_of(&t, pair), b = second_of(&t, pair);
        const long double u = (long double)ref_get(&x, 0, 0, row, a), v = (long double)ref_get(&x, 0, 0, row, b);
        const long double p = (long double)ref_get(&y, 0, 0, row, a), q = (long double)ref_get(&y, 0, 0, row, b);
        const ref_bounds bound = turned(type, u, v, angle_of(&t, (int64_t)ref_get(&positions, 0, 0, 0, row), pair), 0);
        const long double error = (long double)(bound.high - bound.value) + rounding_of(type).u * (fabsl(u) + fabsl(v));
        const long double room = 2 * error * (fabsl(p) + fabsl(q) + error);
        worst = fmax(worst, (double)(fabsl(p * p + q * q - u * u - v * v) / room));
    }
    test_ok(pass && worst <= 1, "%s: lengths stay (error/bound %.3f)", attn_dtype_name(type), worst);
    test_release();
}

/* q at m with k at n has the score of q at m + s with k at n + s: tested with the same row of q
 * and of k at several positions, and attn_scores. */
static void try_distance(attn_dtype type, int interleaved)
{
    enum { PLACES = 8, D = 24 };
    static const double q_at[PLACES] = {0, 5, 100, 1000, -7, 4095, 70000, 1048576};
    const turning t = {10000, D, interleaved};
    const attn_array row_q = test_2d(type, 1, D), row_k = test_2d(type, 1, D), q = test_2d(type, PLACES, D),
                     k = test_2d(type, PLACES, D);
    const attn_array scores = test_2d(type, PLACES, PLACES), at = test_1d(ATTN_I64, PLACES),
                     k_at = test_1d(ATTN_I64, PLACES);
    test_rng rng = {6};
    double worst = 0;
    long double want = 0;
    int pass;
    test_fill_normal(&row_q, &rng, 1);
    test_fill_normal(&row_k, &rng, 1);
    for (size_t i = 0; i < PLACES; i++) {
        const attn_array to_q = test_part(&q, 2, i, 1), to_k = test_part(&k, 2, i, 1);
        test_assign(&to_q, &row_q);
        test_assign(&to_k, &row_k);
        ref_set(&at, 0, 0, 0, i, q_at[i]);
        ref_set(&k_at, 0, 0, 0, i, q_at[i] - 3);
    }
    pass = test_status(attn_rotary(&q, &at, 0, 0, interleaved, &q), ATTN_OK) &&
           test_status(attn_rotary(&k, &k_at, 0, 0, interleaved, &k), ATTN_OK) &&
           test_status(test_scores(&q, &k, 1, &scores, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t pair = 0; pair < D / 2; pair++) { /* the score for a distance of 3 */
        const long double angle = angle_of(&t, 3, pair);
        const long double a = (long double)ref_get(&row_q, 0, 0, 0, first_of(&t, pair)),
                          b = (long double)ref_get(&row_q, 0, 0, 0, second_of(&t, pair));
        const long double c = (long double)ref_get(&row_k, 0, 0, 0, first_of(&t, pair)),
                          d = (long double)ref_get(&row_k, 0, 0, 0, second_of(&t, pair));
        want += (a * c + b * d) * cosl(angle) + (a * d - b * c) * sinl(angle);
    }
    for (size_t i = 0; i < PLACES; i++) {
        /* each factor has an error of at most e as above, and the sum has D roundings */
        const rounding r = rounding_of(type);
        long double room = 0;
        for (size_t pair = 0; pair < D / 2; pair++) {
            const long double x = hypotl((long double)ref_get(&row_q, 0, 0, 0, first_of(&t, pair)),
                                         (long double)ref_get(&row_q, 0, 0, 0, second_of(&t, pair)));
            const long double y = hypotl((long double)ref_get(&row_k, 0, 0, 0, first_of(&t, pair)),
                                         (long double)ref_get(&row_k, 0, 0, 0, second_of(&t, pair)));
            const long double e = 2 * (error_of_angle(angle_of(&t, (int64_t)q_at[i], pair)) +
                                       error_of_angle(angle_of(&t, (int64_t)q_at[i] - 3, pair)));
            room += 2 * x * y * (e + 2 * r.u + (D + 1) * r.u);
        }
        worst = fmax(worst, (double)(fabsl((long double)ref_get(&scores, 0, 0, i, i) - want) / room));
    }
    test_ok(pass && worst <= 1, "%s, %s: scores depend on distances (error/bound %.3f)", attn_dtype_name(type),
            interleaved ? "interleaved" : "halves", worst);
    test_release();
}

/* Rows of more pairs than are turned together, by neighbours and by halves, with strides; NaN and infinities, of which
 * the result is NaN in one form, or infinite. */
static void try_long_rows(attn_dtype type)
{
    enum { D = 1300 };
    for (int i = 0; i < 4; i++) {
        const turning t = {10000, i / 2 ? 1100 : D, i % 2};
        const attn_array wide = test_3d(type, 3, 5, 2 * D), x = test_3d(type, 3, 5, D), y = test_part(&wide, 1, 1, D);
        attn_array apart = y;
        test_rng rng = {(uint64_t)i};
        double worst;
        int pass;
        apart.stride[2] = 2;
        apart.stride[1] = 2 * D;
        apart.stride[0] = 10 * D;
        test_fill_normal(&x, &rng, 1);
        pass = test_status(attn_rotary(&x, NULL, 0, t.rotary_dim, t.interleaved, &apart), ATTN_OK);
        worst = worst_of(&x, NULL, &t, &apart);
        test_ok(pass && test_guards() && worst <= 1, "%s, %zu of %d elements apart, %s (error/bound %.3f)",
                attn_dtype_name(type), t.rotary_dim, D, t.interleaved ? "interleaved" : "halves", worst);
        test_release();
    }
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        const attn_array x = test_2d(type, 4, 34), y = test_2d(type, 4, 34), nan = test_1d(type, 1);
        test_rng rng = {3};
        int pass;
        test_fill_normal(&x, &rng, 1);
        ref_set(&x, 0, 0, 1, 5, -(double)NAN);
        ref_set(&x, 0, 0, 2, 7, (double)INFINITY);
        ref_set(&x, 0, 0, 3, 32, -(double)INFINITY);
        ref_set(&nan, 0, 0, 0, 0, (double)NAN);
        pass = test_status(attn_rotary(&x, NULL, 0, 0, interleaved, &y), ATTN_OK);
        for (size_t row = 0; row < 4; row++) {
            size_t special = 0;
            for (size_t c = 0; c < 34; c++) {
                const double got = (double)ref_get(&y, 0, 0, row, c);
                special += !(fabs(got) < (double)INFINITY);
                if (isnan(got)) pass &= memcmp(ref_at(&y, 0, 0, row, c), nan.data, attn_dtype_size(type)) == 0;
            }
            pass &= special == (row ? 2 : 0);
        }
        test_ok(pass && test_guards(), "%s, %s: NaN and infinities stay in their pair, NaN in one form",
                attn_dtype_name(type), interleaved ? "interleaved" : "halves");
        test_release();
    }
}

/* ---------------------------------------------------------- one rounding -- */

/* Half of the heads have subnormal numbers. Nothing of the type is nearer to the exact result, by more than what
 * double may lose, than what is given. */
static void try_nearest(attn_dtype type)
{
    enum { N = 64 };
    const turning t = {10000, N, 1};
    const double small = type == ATTN_F16 ? 0x1p-16 : 0x1p-130;
    const attn_array x = test_4d(type, 1, N, N, N), y = test_4d(type, 1, N, N, N), low = test_part(&x, 3, 0, N / 2);
    test_rng rng = {(uint64_t)type};
    size_t wrong = 0;
    test_fill_normal(&x, &rng, 1);
    test_fill_normal(&low, &rng, small);
    if (!test_status(attn_rotary(&x, NULL, 0, 0, 1, &y), ATTN_OK)) wrong++;
    for (size_t i = 0; i < N; i++)
        for (size_t pair = 0; pair < N / 2; pair++) {
            const long double angle = angle_of(&t, (int64_t)i, pair), sine = sinl(angle), cosine = cosl(angle);
            for (size_t h = 0; h < N; h++)
                for (size_t k = 0; k < 2; k++) {
                    const long double u = (long double)ref_get(&x, 0, h, i, 2 * pair),
                                      v = (long double)ref_get(&x, 0, h, i, 2 * pair + 1);
                    const long double want = k ? u * sine + v * cosine : u * cosine - v * sine;
                    const long double room = 2 * (error_of_angle(angle) + ldexpl(2, -53)) * (fabsl(u) + fabsl(v)),
                                      off = fabsl((long double)ref_get(&y, 0, h, i, 2 * pair + k) - want);
                    uint16_t *bits = ref_at(&y, 0, h, i, 2 * pair + k);
                    for (int step = -1; step <= 1; step += 2) {
                        *bits = (uint16_t)(*bits + step);
                        wrong += off > fabsl((long double)ref_get(&y, 0, h, i, 2 * pair + k) - want) + room;
                        *bits = (uint16_t)(*bits - step);
                    }
                }
        }
    test_ok(test_release() && wrong == 0, "%s: of %d results %zu are not the nearest", attn_dtype_name(type), N * N * N,
            wrong);
}

/* The least number times a sine of 3e-6, which a float does not hold. */
static void try_vanishing(void)
{
    const attn_array x = test_2d(ATTN_BF16, 1, 2), y = test_2d(ATTN_BF16, 1, 2), positions = test_1d(ATTN_I32, 1);
    ref_set(&x, 0, 0, 0, 0, 0x1p-133);
    ref_set(&x, 0, 0, 0, 1, 0);
    ref_set(&positions, 0, 0, 0, 0, 312689);
    test_ok(test_status(attn_rotary(&x, &positions, 0, 0, 0, &y), ATTN_OK) && ref_get(&y, 0, 0, 0, 1) == 0 &&
                fabsl((long double)ref_get(&y, 0, 0, 0, 0)) == 0x1p-133L,
            "bfloat16: a result below all floats is 0");
    test_release();
}

/* Half of the least number and a little more: a float has no room for that. */
static void try_above_half(void)
{
    const attn_array x = test_2d(ATTN_BF16, 16, 16), y = test_2d(ATTN_BF16, 16, 16), cosine = test_2d(ATTN_F64, 16, 8),
                     sine = test_2d(ATTN_F64, 16, 8);
    int pass;
    test_fill(&x, 0x1p-133);
    test_fill(&cosine, 0.5 * (1 + 0x1p-40));
    test_fill(&sine, 0);
    pass = test_status(attn_rotary_tables(&x, &cosine, &sine, 0, &y), ATTN_OK);
    for (size_t i = 0; i < 16; i++)
        for (size_t c = 0; c < 16; c++) pass &= ref_get(&y, 0, 0, i, c) == (ref_real)0x1p-133;
    test_ok(pass, "bfloat16: more than half of the least number is that");
    test_release();
}

/* ---------------------------------------------------------------- errors -- */

#define REFUSE(want, spoil)                                                                                            \
    do {                                                                                                               \
        attn_array x = test_4d(ATTN_F32, 2, 3, 5, 8), y = test_copy(&x), positions = test_2d(ATTN_I64, 2, 5);          \
        const attn_array output = y, unwritten = test_copy(&y);                                                        \
        double base = 10000;                                                                                           \
        size_t rotary_dim = 6;                                                                                         \
        test_fill(&x, 1);                                                                                              \
        test_fill(&positions, 7);                                                                                      \
        spoil;                                                                                                         \
        test_ok(test_status(attn_rotary(&x, &positions, base, rotary_dim, 0, &y), want) &&                             \
                    test_same(&output, &unwritten) && test_guards(),                                                   \
                "refused, nothing written: %s", #spoil);                                                               \
        test_release();                                                                                                \
    } while (0)

static void try_errors(void)
{
    REFUSE(ATTN_ERR_LENGTH, ref_set(&positions, 0, 0, 1, 4, FAR + 2.0));
    REFUSE(ATTN_ERR_LENGTH, ref_set(&positions, 0, 0, 1, 4, -FAR - 2.0));
    REFUSE(ATTN_ERR_LENGTH, ref_set(&positions, 0, 0, 0, 0, 9007199254740992.0));
    REFUSE(ATTN_ERR_PARAMETER, base = -1);
    REFUSE(ATTN_ERR_PARAMETER, base = 0.5);
    REFUSE(ATTN_ERR_PARAMETER, base = (double)NAN);
    REFUSE(ATTN_ERR_PARAMETER, base = (double)INFINITY);
    REFUSE(ATTN_ERR_SHAPE, rotary_dim = 5);
    REFUSE(ATTN_ERR_SHAPE, rotary_dim = 10);
    REFUSE(ATTN_ERR_SHAPE, (x.shape[3] = y.shape[3] = 7, rotary_dim = 0));
    REFUSE(ATTN_ERR_SHAPE, y.shape[2] = 4);
    REFUSE(ATTN_ERR_SHAPE, positions.shape[1] = 4);
    REFUSE(ATTN_ERR_SHAPE, positions = test_2d(ATTN_I64, 3, 5));
    REFUSE(ATTN_ERR_RANK, x.ndim = 1);
    REFUSE(ATTN_ERR_RANK, y.ndim = 3);
    REFUSE(ATTN_ERR_RANK, positions.ndim = 3);
    REFUSE(ATTN_ERR_DTYPE, x.dtype = ATTN_I32);
    REFUSE(ATTN_ERR_DTYPE, y.dtype = ATTN_F16);
    REFUSE(ATTN_ERR_DTYPE, positions.dtype = ATTN_F64);
    REFUSE(ATTN_ERR_NULL, x.data = NULL);
    REFUSE(ATTN_ERR_NULL, y.data = NULL);
    REFUSE(ATTN_ERR_NULL, positions.data = NULL);
    REFUSE(ATTN_ERR_ALIGN, x.data = (char *)x.data + 2);
    REFUSE(ATTN_ERR_STRIDE, (y.stride[3] = 1, y.stride[2] = 2));
    REFUSE(ATTN_ERR_ALIAS, (x = test_4d(ATTN_F32, 3, 3, 5, 8), x.shape[0] = 2, y.data = (float *)x.data + 8));
    REFUSE(ATTN_ERR_ALIAS, (x.data = y.data, x.stride[3] = 1, x.stride[2] = 8, x.stride[1] = 40, x.stride[0] = 0));
    REFUSE(ATTN_ERR_ALIAS, positions.data = y.data);
    {
        const attn_array x = test_2d(ATTN_F32, 2, 2), y = test_copy(&x), none = test_2d(ATTN_F32, 0, 2);
        test_fill(&x, 1);
        test_ok(test_status(attn_rotary(NULL, NULL, 0, 0, 0, &y), ATTN_ERR_NULL) &&
                    test_status(attn_rotary(&x, NULL, 0, 0, 0, NULL), ATTN_ERR_NULL),
                "refused: no array");
        test_ok(test_status(attn_rotary(&none, NULL, 0, 0, 0, &none), ATTN_OK), "no rows");
        test_release();
    }
}

/* Cosines and sines that attn_rotary makes of (1, 0), exactly, as tables: the same bits for each batch of positions. */
static void try_tables(attn_dtype type, size_t dim, size_t rotary_dim)
{
    const size_t half = rotary_dim / 2;
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        const attn_array x = test_4d(type, 2, 3, 5, dim), want = test_copy(&x), got = test_copy(&x);
        const attn_array units = test_4d(ATTN_F64, 2, 1, 5, rotary_dim), positions = test_2d(ATTN_I64, 2, 5);
        const attn_array narrow = test_3d(ATTN_F32, 2, 5, half), rounded = test_4d(ATTN_F64, 2, 1, 5, rotary_dim);
        attn_array cosine = attn_array_strided(ATTN_F64, units.data, 1, 2, 5, half, 0, (ptrdiff_t)(5 * rotary_dim),
                                               (ptrdiff_t)rotary_dim, interleaved ? 2 : 1),
                   sine, first;
        test_rng rng = {dim};
        int pass;
        test_fill_normal(&x, &rng, 3);
        for (size_t b = 0; b < 2; b++)
            for (size_t i = 0; i < 5; i++) {
                ref_set(&positions, 0, 0, b, i, (double)(test_below(&rng, 100000)) - 50000);
                for (size_t p = 0; p < rotary_dim; p++)
                    ref_set(&units, b, 0, i, p, interleaved ? p % 2 == 0 : p < half);
            }
        cosine = attn_array_swap(cosine, 0, 1); /* (batch, 1, positions, pairs), of which the heads go */
        cosine.ndim = 3;
        cosine.shape[1] = 5, cosine.shape[2] = half;
        cosine.stride[1] = cosine.stride[2], cosine.stride[2] = cosine.stride[3];
        sine = cosine;
        sine.data = (double *)units.data + (interleaved ? 1 : half);
        pass = test_status(attn_rotary(&units, &positions, 0, 0, interleaved, &units), ATTN_OK) &&
               test_status(attn_rotary(&x, &positions, 0, rotary_dim, interleaved, &want), ATTN_OK) &&
               test_status(attn_rotary_tables(&x, &cosine, &sine, interleaved, &got), ATTN_OK) &&
               test_same(&got, &want);
        test_ok(pass, "%s, %zu of %zu columns%s: the same by tables", attn_dtype_name(type), rotary_dim, dim,
                interleaved ? ", interleaved" : "");
        test_assign(&rounded, &units);
        first = cosine, first.data = rounded.data; /* float32 tables are their numbers in float64 */
        for (size_t b = 0; b < 2; b++)
            for (size_t i = 0; i < 5; i++)
                for (size_t p = 0; p < half; p++) {
                    const float number = (float)ref_get(&cosine, 0, b, i, p);
                    ref_set(&narrow, 0, b, i, p, (double)number), ref_set(&first, 0, b, i, p, (double)number);
                }
        pass = test_status(attn_rotary_tables(&x, &first, &sine, interleaved, &want), ATTN_OK) &&
               test_status(attn_rotary_tables(&x, &narrow, &sine, interleaved, &got), ATTN_OK) &&
               test_same(&got, &want);
        first.shape[0] = sine.shape[0] = 1; /* one table for all batches, then for each of them, in place */
        pass = pass && test_status(attn_rotary_tables(&x, &first, &sine, interleaved, &want), ATTN_OK);
        first.ndim = sine.ndim = 2;
        for (int axis = 0; axis < 2; axis++) {
            first.shape[axis] = first.shape[axis + 1], first.stride[axis] = first.stride[axis + 1];
            sine.shape[axis] = sine.shape[axis + 1], sine.stride[axis] = sine.stride[axis + 1];
        }
        for (size_t b = 0; b < 2; b++) {
            const attn_array of_x = test_part(&x, 4, b, 1), of_want = test_part(&want, 4, b, 1);
            pass = pass && test_status(attn_rotary_tables(&of_x, &first, &sine, interleaved, &of_x), ATTN_OK) &&
                   test_same(&of_x, &of_want);
        }
        test_ok(test_release() && pass, "%s, %zu of %zu columns%s: tables of float32, and for all batches",
                attn_dtype_name(type), rotary_dim, dim, interleaved ? ", interleaved" : "");
    }
}

/* Numbers that are no cosines are taken as they are. */
static void try_numbers_in_tables(void)
{
    const attn_array x = test_2d(ATTN_F32, 3, 2), cosine = test_2d(ATTN_F32, 3, 1), sine = test_2d(ATTN_F64, 3, 1);
    test_fill(&x, 3e38);
    ref_set(&cosine, 0, 0, 0, 0, 1.5), ref_set(&cosine, 0, 0, 1, 0, 0), ref_set(&cosine, 0, 0, 2, 0, (double)NAN);
    ref_set(&sine, 0, 0, 0, 0, 1.0), ref_set(&sine, 0, 0, 1, 0, 1e300), ref_set(&sine, 0, 0, 2, 0, 0);
    test_ok(test_status(attn_rotary_tables(&x, &cosine, &sine, 0, &x), ATTN_OK) &&
                ((float *)x.data)[0] == (float)((double)3e38f * 0.5) && isinf(((float *)x.data)[1]) &&
                ((float *)x.data)[2] < -FLT_MAX && ((float *)x.data)[3] > FLT_MAX && isnan(((float *)x.data)[4]),
            "any numbers in tables");
    test_release();
}

#define REFUSE_TABLES(status, spoil)                                                                                   \
    do {                                                                                                               \
        attn_array x = test_4d(ATTN_F32, 2, 3, 5, 8), cosine = test_3d(ATTN_F32, 2, 5, 3),                             \
                   sine = test_3d(ATTN_F64, 2, 5, 3), y = test_copy(&x);                                               \
        const attn_array output = y, unwritten = test_copy(&y);                                                        \
        spoil;                                                                                                         \
        test_ok(test_status(attn_rotary_tables(&x, &cosine, &sine, 0, &y), status) &&                                  \
                    test_same(&output, &unwritten) && test_guards(),                                                   \
                "tables refused: %s", #spoil);                                                                         \
        test_release();                                                                                                \
    } while (0)

static void try_errors_of_tables(void)
{
    REFUSE_TABLES(ATTN_ERR_SHAPE, cosine.shape[2] = 2);
    REFUSE_TABLES(ATTN_ERR_SHAPE, cosine.shape[2] = sine.shape[2] = 0);
    REFUSE_TABLES(ATTN_ERR_SHAPE, sine.shape[1] = 4);
    REFUSE_TABLES(ATTN_ERR_SHAPE, cosine.shape[1] = 4);
    REFUSE_TABLES(ATTN_ERR_SHAPE, (sine = test_3d(ATTN_F64, 3, 5, 3)));
    REFUSE_TABLES(ATTN_ERR_SHAPE, (cosine = test_2d(ATTN_F32, 5, 5), sine = test_2d(ATTN_F32, 5, 5)));
    REFUSE_TABLES(ATTN_ERR_RANK, cosine.ndim = 1);
    REFUSE_TABLES(ATTN_ERR_RANK, sine = test_4d(ATTN_F32, 1, 2, 5, 3));
    REFUSE_TABLES(ATTN_ERR_DTYPE, cosine.dtype = ATTN_F16);
    REFUSE_TABLES(ATTN_ERR_DTYPE, y.dtype = ATTN_F64);
    REFUSE_TABLES(ATTN_ERR_NULL, sine.data = NULL);
    REFUSE_TABLES(ATTN_ERR_NULL, x.data = NULL);
    REFUSE_TABLES(ATTN_ERR_ALIAS, cosine.data = y.data);
    REFUSE_TABLES(ATTN_ERR_ALIAS, sine.data = y.data);
    {
        const attn_array x = test_2d(ATTN_F32, 2, 2), table = test_2d(ATTN_F32, 2, 1);
        test_ok(test_status(attn_rotary_tables(NULL, &table, &table, 0, &x), ATTN_ERR_NULL) &&
                    test_status(attn_rotary_tables(&x, NULL, &table, 0, &x), ATTN_ERR_NULL) &&
                    test_status(attn_rotary_tables(&x, &table, NULL, 0, &x), ATTN_ERR_NULL) &&
                    test_status(attn_rotary_tables(&x, &table, &table, 0, NULL), ATTN_ERR_NULL),
                "tables refused: no array");
        test_release();
    }
}

int main(void)
{
    static const double bases[] = {1, 2, 100, 10000, 500000, 1e6, 1e300};
    for (size_t b = 0; b < sizeof bases / sizeof *bases; b++) try_angles(bases[b]);
    for (int t = 0; t < 4; t++) {
        try_rows(types[t]);
        try_numbers(types[t]);
        try_no_turn(types[t]);
        try_layouts(types[t]);
        try_norm(types[t]);
        try_long_rows(types[t]);
        try_tables(types[t], 8, 8);
        try_tables(types[t], 100, 38);
        try_tables(types[t], 1100, 1030);
    }
    try_numbers_in_tables();
    try_errors_of_tables();
    try_nearest(ATTN_F16);
    try_nearest(ATTN_BF16);
    try_vanishing();
    try_above_half();
    for (int i = 0; i < 4; i++) try_distance(test_types[i / 2], i % 2);
    try_errors();
    return test_done();
}
