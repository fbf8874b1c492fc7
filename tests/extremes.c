/* SPDX-License-Identifier: MIT-0
 *
 * Finite in, finite out: for inputs up to the largest float, the output is finite and within
 * the range of the visible values, and weights and log-sum-exp are within bounds. A visible
 * NaN or infinity stays in its row (in V: in its column); a masked one changes no bit.
 */
#include "check/harness.h"

#include <math.h>
#include <string.h>
#include <stdio.h>

/* Powers of two: the largest, its square root, beyond the range of exp, ordinary, the least. */
typedef struct size_class {
    const char *name;
    int exponent32, exponent64;
} size_class;

static const size_class classes[] = {
    {"largest", 127, 1023}, {"root of largest", 63, 511},  {"1e6", 20, 20},           {"1", 0, 0},
    {"tiny", -80, -600},    {"least normal", -126, -1022}, {"denormal", -140, -1060},
};
enum { LARGEST, ROOT, MILLION, ONE, TINY, LEAST, DENORMAL, CLASSES };

/* Numbers of either sign in [0.5, 2) times the power; for the largest power in [0.5, 1) times
 * its double, so that the largest float is among them. */
static void fill_class(const attn_array *a, const size_class *c, test_rng *rng)
{
    const int exponent = a->dtype == ATTN_F64 ? c->exponent64 : c->exponent32;
    for (size_t h = 0; h < ref_length(a, 3); h++)
        for (size_t i = 0; i < ref_length(a, 2); i++)
            for (size_t k = 0; k < ref_length(a, 1); k++) {
                const double u = test_uniform(rng);
                const double last = a->dtype == ATTN_F64 ? ldexp(1, -52) : ldexp(1, -23);
                double x = u < 0.1 ? 2 - last : 0.5 + u;
                x = ldexp(x, exponent);
                ref_set(a, 0, h, i, k, test_u64(rng) % 2 ? x : -x);
            }
}

static attn_desc problem(attn_dtype type, size_t q_len, size_t kv_len, size_t dim, test_rng *rng)
{
    test_shape shape = {ATTN_F32, 1, 2, 1, 0, 0, 0, 5};
    shape.type = type;
    shape.q_len = q_len;
    shape.kv_len = kv_len;
    shape.head_dim = dim;
    return test_problem(&shape, rng);
}

static void try_classes(attn_dtype type)
{
    static const size_t kv_lens[] = {1, 6, 600};
    for (size_t q = 0; q < CLASSES; q++)
        for (size_t k = 0; k < CLASSES; k++) {
            const size_t v = (q + 3 * k) % CLASSES, kv_len = kv_lens[(q + k) % 3];
            test_rng rng = {10 * q + k};
            attn_desc d = problem(type, 3, kv_len, q % 2 ? 9 : 1, &rng);
            fill_class(&d.q, &classes[q], &rng);
            fill_class(&d.k, &classes[k], &rng);
            fill_class(&d.v, &classes[v], &rng);
            test_attention(&d, "%s, %zu keys, q %s, k %s, v %s", attn_dtype_name(type), kv_len, classes[q].name,
                           classes[k].name, classes[v].name);
            test_release();
        }
    for (size_t v = 0; v < CLASSES; v++) {
        test_rng rng = {v};
        attn_desc d = problem(type, 20, 1100, 8, &rng);
        fill_class(&d.v, &classes[v], &rng);
        test_attention(&d, "%s, many keys, v %s", attn_dtype_name(type), classes[v].name);
        test_release();
    }
}

/* Sums that overflow although the result does not: a score of 0, or the mean of values that
 * are all the largest float. */
static void try_detours(attn_dtype type)
{
    const int exponent = type == ATTN_F64 ? 1023 : 127;
    const double largest = type == ATTN_F64 ? 1.7976931348623157e308 : 3.4028234663852886e38;
    for (int sign = -1; sign <= 1; sign += 2) {
        test_rng rng = {3};
        attn_desc d = problem(type, 3, 20, 4, &rng);
        for (size_t h = 0; h < 2; h++)
            for (size_t i = 0; i < 3; i++)
                for (size_t k = 0; k < 2; k++) ref_set(&d.q, 0, h, i, k, ldexp(1, exponent / 2 + 2));
        for (size_t j = 0; j < 20; j++)
            for (size_t k = 0; k < 2; k++)
                ref_set(&d.k, 0, 0, j, k, j % 4 ? 0 : ldexp(k ? sign : -sign, exponent / 2 + 2));
        d.scale = 1;
        test_attention(&d, "%s, scores that pass %sinf", attn_dtype_name(type), sign < 0 ? "" : "-");
        test_release();
        for (size_t n = 1; n <= 600; n += 37) {
            d = problem(type, 2, n, 1, &rng);
            d.scores = test_absent;
            test_fill(&d.v, sign * largest);
            if (n % 3 == 0) /* rows that are done again from the start */
                test_fill(&d.q, largest);
            test_attention(&d, "%s, %zu values of %g", attn_dtype_name(type), n, sign * largest);
            test_release();
        }
    }
}

/* Ordinary rows beside rows that overflow: only the latter may be redone. */
static void try_mixture(attn_dtype type)
{
    test_rng rng = {77};
    attn_desc d = problem(type, 21, 700, 16, &rng), plain = test_again(&d);
    int pass;
    pass = test_status(test_forward(&plain, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t i = 0; i < 21; i += 4)
        for (size_t k = 0; k < 16; k++) ref_set(&d.q, 0, 0, i, k, ldexp(k % 2 ? 1 : -1, type == ATTN_F64 ? 1023 : 127));
    test_attention(&d, "%s, some rows overflow", attn_dtype_name(type));
    for (size_t h = 0; h < 2; h++)
        for (size_t i = 0; i < 21; i++)
            for (size_t c = 0; c < 5; c++)
                if (h == 1 || i % 4) pass &= ref_get(&d.out, 0, h, i, c) == ref_get(&plain.out, 0, h, i, c);
    test_ok(pass, "%s, some rows overflow: the others are as before", attn_dtype_name(type));
    test_release();
}

static void try_parameters(attn_dtype type)
{
    const double largest = type == ATTN_F64 ? 1.7976931348623157e308 : 3.4028234663852886e38;
    const double scales[] = {largest, -largest, 1e30, -3, type == ATTN_F64 ? 5e-324 : 1.5e-45};
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++)
        for (size_t v = 0; v < CLASSES; v++) {
            test_rng rng = {s};
            attn_desc d = problem(type, 4, 530, 8, &rng);
            fill_class(&d.q, &classes[v], &rng);
            if (v == DENORMAL) fill_class(&d.k, &classes[LARGEST], &rng); /* which makes scores of all their bits */
            d.scale = scales[s];
            test_attention(&d, "%s, scale %g, q %s", attn_dtype_name(type), scales[s], classes[v].name);
            test_release();
        }
    for (size_t both = 0; both < 4; both++) { /* scores just beyond the range, above or below, which differ by little */
        const size_t n = both < 2 ? 4 : 530;
        test_rng rng = {4};
        attn_desc d = problem(type, 4, n, 2, &rng);
        d.scale = both % 2 ? -largest : largest;
        test_fill(&d.q, 1);
        for (size_t j = 0; j < n; j++)
            for (size_t c = 0; c < 2; c++)
                ref_set(&d.k, 0, 0, j, c, 1 + (double)(j * 7 % n) * ldexp(1, type == ATTN_F64 ? -40 : -20));
        test_attention(&d, "%s, scale %g, %zu keys that are nearly the same", attn_dtype_name(type), d.scale, n);
        test_release();
    }
    if (type == ATTN_F64) { /* so many columns that scaled scores overflow as well */
        test_rng rng = {5};
        attn_desc d = problem(type, 1, 3, 70000, &rng);
        d.scale = largest;
        test_fill(&d.q, largest);
        test_fill(&d.k, largest);
        test_attention(&d, "%s, the largest of 70000 columns", attn_dtype_name(type));
        test_release();
    }
    for (size_t n = 30; n <= 530; n += 500) { /* biases whose sum overflows until it meets a score */
        test_rng rng = {6};
        attn_desc d = problem(type, 4, n, 1, &rng);
        d.scale = 1;
        test_fill(&d.q, 1);
        for (size_t j = 0; j < n; j++) ref_set(&d.k, 0, 0, j, 0, -0.9 * largest * (1 - 0.001 * (double)(j % 7)));
        d.mask = test_1d(type, n);
        test_fill(&d.mask, 0.95 * largest);
        d.alibi = test_1d(type, 2);
        test_fill(&d.alibi, -0.9 * largest / (double)n);
        test_attention(&d, "%s, %zu keys, biases that overflow alone", attn_dtype_name(type), n);
        test_release();
    }
    for (int sign = -1; sign <= 2; sign++) { /* 2: mixed signs */
        test_rng rng = {(uint64_t)(sign + 1)};
        attn_desc d = problem(type, 4, 530, 8, &rng);
        d.mask = test_2d(type, 4, 530);
        for (size_t i = 0; i < 4 * 530; i++)
            ref_set(&d.mask, 0, 0, i / 530, i % 530,
                    sign == 2 ? (test_u64(&rng) % 2 ? largest : -largest) : sign * largest);
        test_attention(&d, "%s, additive mask of the largest numbers, case %d", attn_dtype_name(type), sign);
        if (sign) {
            d.mask = test_absent;
            d.alibi = test_1d(type, 2);
            test_fill(&d.alibi, sign == 2 ? largest / 600 : sign * largest);
            test_attention(&d, "%s, slopes of the largest numbers, case %d", attn_dtype_name(type), sign);
            d.alibi = test_absent;
            d.sinks = test_1d(type, 2);
            test_fill(&d.sinks, sign == 2 ? 1e6 : sign * largest);
            test_attention(&d, "%s, sinks of the largest numbers, case %d", attn_dtype_name(type), sign);
            d.sinks = test_absent;
            d.softcap = sign == -1 ? ldexp(1, -100) : sign == 1 ? ldexp(1, 100) : 1;
            fill_class(&d.q, &classes[LARGEST], &rng);
            test_attention(&d, "%s, softcap %g of largest scores", attn_dtype_name(type), d.softcap);
        }
        test_release();
    }
}

/* Sinks of every size, or none, with ordinary scores and with scores that overflow up or
 * down; the sink may be the maximum in each case. */
static void try_sinks(attn_dtype type)
{
    const double largest = type == ATTN_F64 ? 1.7976931348623157e308 : 3.4028234663852886e38;
    const double sinks[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 0, largest, -largest};
    static const char *const names[] = {"ordinary", "above all numbers", "below all numbers"};
    for (size_t s = 0; s < sizeof sinks / sizeof *sinks; s++)
        for (int scores = 0; scores < 3; scores++) {
            test_rng rng = {s};
            attn_desc d = problem(type, 3, 530, 4, &rng);
            if (scores) {
                test_fill(&d.q, scores == 1 ? largest : -largest);
                test_fill(&d.k, largest / 2);
            }
            d.sinks = test_1d(type, 2);
            ref_set(&d.sinks, 0, 0, 0, 0, 1);
            ref_set(&d.sinks, 0, 0, 0, 1, sinks[s]);
            test_attention(&d, "%s, sink %g, scores %s", attn_dtype_name(type), sinks[s], names[scores]);
            test_release();
        }
}

/* Hidden keys with scores above all visible ones, which overflow too. */
static void try_hidden_giants(attn_dtype type)
{
    const int exponent = type == ATTN_F64 ? 1023 : 127;
    for (int additive = 0; additive < 2; additive++) {
        test_rng rng = {6};
        attn_desc d = problem(type, 3, 530, 4, &rng);
        test_fill(&d.q, ldexp(1, exponent));
        d.mask = test_1d(additive ? type : ATTN_BOOL, 530);
        for (size_t j = 0; j < 530; j++) {
            for (size_t c = 0; c < 4; c++) ref_set(&d.k, 0, 0, j, c, ldexp(1, j % 3 ? exponent / 2 : exponent));
            ref_set(&d.mask, 0, 0, 0, j, additive ? (j % 3 ? 0 : -(double)INFINITY) : j % 3 != 0);
        }
        test_attention(&d, "%s, hidden giants, %s mask", attn_dtype_name(type), additive ? "additive" : "boolean");
        test_release();
    }
}

/* Subnormal queries in rows that are redone because of their values. With keys as large as the
 * values, such queries have scores that matter. */
static void try_subnormal_queries(attn_dtype type)
{
    test_rng rng = {7};
    attn_desc d = problem(type, 3, 40, 4, &rng);
    fill_class(&d.q, &classes[DENORMAL], &rng);
    fill_class(&d.k, &classes[LARGEST], &rng);
    fill_class(&d.v, &classes[LARGEST], &rng);
    for (size_t j = 0; j < 40; j++)
        for (size_t c = 0; c < 5; c++) ref_set(&d.v, 0, 0, j, c, fabs((double)ref_get(&d.v, 0, 0, j, c)));
    test_attention(&d, "%s, subnormal queries, keys and values of the largest", attn_dtype_name(type));
    test_release();
}

/* Scores beyond the range that a bias brings back, beside a key that makes the row NaN: as precise as without it. */
static void try_scores_beside_nan(attn_dtype type)
{
    const double largest = type == ATTN_F64 ? 1.7976931348623157e308 : 3.4028234663852886e38;
    for (size_t kv_len = 9; kv_len <= 600; kv_len += 591)
        for (size_t key = 0; key < kv_len + 8; key += kv_len / 2 + 1) { /* of which the last is none */
            test_rng rng = {kv_len};
            attn_desc d = problem(type, 3, kv_len, 1, &rng);
            d.scale = largest;
            test_fill(&d.q, 1);
            for (size_t j = 0; j < kv_len; j++) ref_set(&d.k, 0, 0, j, 0, 1.5 + 0.0001234567891 * (double)j);
            if (key < kv_len) ref_set(&d.k, 0, 0, key, 0, (double)NAN);
            d.mask = test_1d(type, kv_len);
            test_fill(&d.mask, -0.95 * largest);
            d.stage = ATTN_STAGE_BIASED;
            test_attention(&d, "%s, %zu keys, biased scores beside NaN in key %zu", attn_dtype_name(type), kv_len, key);
            test_release();
        }
}

/* Scores at every stage that overflow while they are computed. */
static void try_stages(attn_dtype type)
{
    for (int stage = ATTN_STAGE_RAW; stage < ATTN_STAGE_COUNT; stage++)
        for (int capped = 0; capped < 2; capped++) {
            test_rng rng = {8};
            attn_desc d = problem(type, 4, 530, 6, &rng);
            fill_class(&d.q, &classes[LARGEST], &rng);
            fill_class(&d.k, &classes[ROOT], &rng);
            d.scale =
                ldexp(1, type == ATTN_F64 ? -511 : -63); /* applied to q first; products overflow, some sums do not */
            d.softcap = capped ? 2 : 0;
            d.stage = (attn_stage)stage;
            test_attention(&d, "%s, stage %d of scores that overflow%s", attn_dtype_name(type), stage,
                           capped ? ", softcap" : "");
            fill_class(&d.k, &classes[LARGEST], &rng);
            test_attention(&d, "%s, stage %d of the largest scores%s", attn_dtype_name(type), stage,
                           capped ? ", softcap" : "");
            for (size_t i = 0; i < 4; i++) /* scaled queries overflow, and scores do not */
                for (size_t c = 0; c < 6; c++)
                    ref_set(&d.q, 0, 0, i, c, ldexp(8 + (double)((i + c) % 5), type == ATTN_F64 ? 1000 : 104));
            for (size_t j = 0; j < 530; j++)
                for (size_t c = 0; c < 6; c++) ref_set(&d.k, 0, 0, j, c, ldexp((double)((j + c) % 7) - 3, -40));
            d.scale = ldexp(1, 30);
            test_attention(&d, "%s, stage %d of queries that the scale makes infinite%s", attn_dtype_name(type), stage,
                           capped ? ", softcap" : "");
            fill_class(&d.q, &classes[DENORMAL], &rng);
            fill_class(&d.k, &classes[ONE], &rng);
            ref_set(&d.k, 0, 0, 7, 0, (double)INFINITY);
            d.scale = ldexp(1, 100);
            d.mask = test_2d(type, 4, 530);
            test_fill(&d.mask, type == ATTN_F64 ? 4.9406564584124654e-324 : 1.4e-45);
            test_attention(&d, "%s, stage %d of tiny scores and infinite ones%s", attn_dtype_name(type), stage,
                           capped ? ", softcap" : "");
            test_release();
        }
}

/* The least softcap. Its inverse is infinite, and 0 times that is NaN. */
static void try_least_softcap(attn_dtype type)
{
    test_rng rng = {5};
    attn_desc d = problem(type, 4, 530, 3, &rng);
    d.softcap = 4.9406564584124654e-324;
    for (size_t h = 0; h < 2; h++)
        for (size_t c = 0; c < 3; c++) ref_set(&d.q, 0, h, 1, c, 0);
    test_attention(&d, "%s, the least softcap, and a row of scores 0", attn_dtype_name(type));
    d.scores = test_4d(type, 1, 2, 4, 530);
    d.stage = ATTN_STAGE_SOFTCAPPED;
    d.scale = 1;
    for (size_t j = 0; j < 530; j++)
        for (size_t c = 0; c < 3; c++) ref_set(&d.k, 0, 0, j, c, (double)(1 + 2 * c));
    for (size_t h = 0; h < 2; h++) /* 3 * 1 - 1 * 3 is 0, but not where it is first multiplied by log2 e */
        for (size_t c = 0; c < 3; c++) ref_set(&d.q, 0, h, 1, c, c == 0 ? 3 : c == 1 ? -1 : 0);
    test_attention(&d, "%s, ... and scores that are 0", attn_dtype_name(type));
    test_release();
}

/* Large numbers of two kinds that meet in one score, and small ones beside large ones. */
static void try_meetings(attn_dtype type, size_t q_len)
{
    const int exponent = type == ATTN_F64 ? 1023 : 127;
    const double largest = type == ATTN_F64 ? 1.7976931348623157e308 : 3.4028234663852886e38;
    test_rng rng = {9};
    attn_desc d = problem(type, q_len, 540, 2, &rng);
    test_fill(&d.q, ldexp(1, exponent / 2));
    test_fill(&d.k, 0);
    for (size_t c = 0; c < 2; c++)
        ref_set(&d.k, 0, 0, 3, c, ldexp(0.5, exponent - exponent / 2)); /* score 2^exponent */
    d.scale = 1;
    d.mask = test_2d(type, q_len, 540);
    test_fill(&d.mask, -(double)INFINITY);
    for (size_t i = 0; i < q_len; i++) {
        ref_set(&d.mask, 0, 0, i, 3, -largest);
        if (i % 2)
            ref_set(&d.mask, 0, 0, i, 5, -0.485 * largest); /* is above that, but below the lowest that is safe */
    }
    test_attention(&d, "%s, %zu queries, a large score and the lowest bias", attn_dtype_name(type), q_len);
    test_release();
    for (size_t additive = 0; additive < 2; additive++) { /* which paths apply in different ways */
        d = problem(type, q_len, 540, 2, &rng);
        test_fill(&d.q, ldexp(1, exponent / 2));
        for (size_t j = 0; j < 540; j++)
            for (size_t c = 0; c < 2; c++)
                ref_set(&d.k, 0, 0, j, c, ldexp(test_uniform(&rng) - 0.5, exponent - exponent / 2 - 1));
        d.scale = 1;
        d.mask = test_2d(additive ? type : ATTN_BOOL, q_len, 540);
        for (size_t i = 0; i < q_len; i++)
            for (size_t j = 0; j < 540; j++)
                ref_set(&d.mask, 0, 0, i, j, additive ? (j % 3 ? 0 : -(double)INFINITY) : j % 3 != 0);
        test_attention(&d, "%s, %zu queries, large scores and a mask, %s", attn_dtype_name(type), q_len,
                       additive ? "additive" : "boolean");
        for (size_t j = 0; j < 540; j += 3) ref_set(&d.k, 0, 0, j, 1, j % 2 ? (double)NAN : -(double)INFINITY);
        test_fill(&d.q, ldexp(1, exponent / 2 + 3));
        test_attention(&d, "%s, %zu queries, scores beyond the range, NaN is masked, %s", attn_dtype_name(type), q_len,
                       additive ? "additive" : "boolean");
        test_release();
    }
    for (size_t all = 0; all < 2; all++) { /* or of the first block of keys */
        d = problem(type, q_len, 540, 2, &rng);
        test_fill(&d.q, 1);
        for (size_t j = 0; j < (all ? 540 : 512); j++) ref_set(&d.k, 0, 0, j, 1, -(double)INFINITY);
        test_attention(&d, "%s, %zu queries, no score but -inf%s", attn_dtype_name(type), q_len,
                       all ? "" : " in a block");
        test_release();
    }
    d = problem(type, q_len, 540, 2, &rng);
    test_fill(&d.q, largest);
    test_fill(&d.k, type == ATTN_F64 ? 1e-310 : 1e-40);
    d.scale = 1073741824;
    test_attention(&d, "%s, %zu queries, that overflow until they meet keys", attn_dtype_name(type), q_len);
    test_release();
    d = problem(type, q_len, 540, 2, &rng); /* all that is seen is below the range */
    test_fill(&d.q, ldexp(1, exponent / 2 + 1));
    d.mask = test_1d(ATTN_BOOL, 540);
    for (size_t j = 0; j < 540; j++) {
        ref_set(&d.mask, 0, 0, 0, j, j % 3 != 0);
        for (size_t c = 0; c < 2; c++)
            ref_set(&d.k, 0, 0, j, c, j % 3 ? -ldexp(1 + (double)(j % 7), exponent - exponent / 2) : 1);
    }
    d.scale = 1;
    test_attention(&d, "%s, %zu queries, scores below the range, others masked", attn_dtype_name(type), q_len);
    test_release();
    for (size_t some = 0; some < 2; some++) {
        d = problem(type, q_len, 540, 2, &rng);
        d.mask = test_2d(type, q_len, 540);
        test_fill(&d.mask, -largest);
        for (size_t j = 0; j < 540 && some; j += 2) ref_set(&d.mask, 0, 0, 0, j, 0);
        d.alibi = test_1d(type, 2);
        test_fill(&d.alibi, largest / 100);
        d.scale = type == ATTN_F64 ? 4.9406564584124654e-324 : 1.4e-45;
        test_attention(&d, "%s, %zu queries, the least scale, %s of biases below the range", attn_dtype_name(type),
                       q_len, some ? "half of the sums" : "sums");
        test_release();
    }
    for (size_t large = 0; large < 2; large++) {
        d = problem(type, q_len, 540, 2, &rng);
        for (size_t j = 0; j < 540; j++)
            for (size_t c = 0; c < 5; c++)
                ref_set(&d.v, 0, 0, j, c,
                        c % 2 ? largest : ldexp(1 + 0.1 * (double)j, type == ATTN_F64 ? -1060 : -140));
        if (large) test_fill(&d.q, largest);
        test_attention(&d, "%s, %zu queries, columns that overflow beside tiny ones, scores %s", attn_dtype_name(type),
                       q_len, large ? "beyond the range" : "within");
        test_release();
    }
    for (size_t low = 0; low < 2; low++) {
        d = problem(type, q_len, 540, 2, &rng);
        test_fill(&d.q, 1);
        test_fill(&d.k, low ? -(double)INFINITY : -largest);
        ref_set(&d.k, 0, 0, 7, 1, low ? 1 : (double)INFINITY);
        d.softcap = 1.7976931348623157e308;
        test_attention(&d, "%s, %zu queries, the largest softcap, scores %g", attn_dtype_name(type), q_len,
                       low ? -(double)INFINITY : (double)INFINITY);
        test_release();
    }
}

/* -------------------------------------------------------------------- table -- */

/* How far a row's output is outside the range of its values, relative to the largest value, in
 * units of u; infinite if it is not finite. */
static double beyond_hull(const attn_desc *d)
{
    const double u = d->q.dtype == ATTN_F64 ? ldexp(1, -53) : ldexp(1, -24);
    double worst = 0;
    for (size_t c = 0; c < ref_length(&d->v, 1); c++) {
        double low = (double)INFINITY, high = -low, beyond;
        for (size_t j = 0; j < ref_length(&d->v, 2); j++) {
            low = fmin(low, (double)ref_get(&d->v, 0, 0, j, c));
            high = fmax(high, (double)ref_get(&d->v, 0, 0, j, c));
        }
        for (size_t h = 0; h < ref_length(&d->out, 3); h++)
            for (size_t i = 0; i < ref_length(&d->out, 2); i++) {
                const double x = (double)ref_get(&d->out, 0, h, i, c);
                if (!isfinite(x) || !isfinite((double)ref_get(&d->lse, 0, 0, h, i))) return (double)INFINITY;
                beyond = fmax(low - x, x - high) / fmax(fabs(low), fabs(high)) / u;
                worst = fmax(worst, beyond);
            }
    }
    return worst;
}

static double beyond_one(const attn_array *w)
{
    const double u = w->dtype == ATTN_F64 ? ldexp(1, -53) : ldexp(1, -24);
    double worst = 0;
    for (size_t h = 0; h < ref_length(w, 3); h++)
        for (size_t i = 0; i < ref_length(w, 2); i++) {
            ref_sum sum = {0, 0};
            for (size_t j = 0; j < ref_length(w, 1); j++) ref_add(&sum, ref_get(w, 0, h, i, j));
            worst = fmax(worst, fabs((double)(sum.sum - 1 + sum.rest)) / u);
        }
    return worst;
}

/* A line for each combination of sizes, a column for each path: how far the output is outside
 * the range of the values and the sum of the weights is from 1, in units of u, and the largest
 * error in units of its bound. */
static void print_table(attn_dtype type)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    double largest[ATTN_PATH_COUNT] = {0};
    printf("\n%s: beyond the hull (u), sum of weights from 1 (u), error/bound\n\n| q | k | v |", attn_dtype_name(type));
    for (size_t p = 0; p < num_paths; p++) printf(" %s |", attn_path_name(paths[p]));
    printf("\n|---|---|---|");
    for (size_t p = 0; p < num_paths; p++) printf("---|");
    for (size_t q = 0; q < CLASSES; q++)
        for (size_t k = 0; k < CLASSES; k++) {
            const size_t v = (q + 3 * k) % CLASSES;
            test_rng rng = {10 * q + k};
            const attn_desc d = problem(type, 3, 600, 9, &rng);
            fill_class(&d.q, &classes[q], &rng);
            fill_class(&d.k, &classes[k], &rng);
            fill_class(&d.v, &classes[v], &rng);
            printf("\n| %s | %s | %s |", classes[q].name, classes[k].name, classes[v].name);
            for (size_t p = 0; p < num_paths; p++) {
                ref_report report;
                const attn_desc on = test_again(&d);
                const attn_status status = test_forward(&on, test_on(paths[p]));
                report = ref_check(&on, 1);
                if (status != ATTN_OK || !isfinite(beyond_hull(&on)) || report.wrong)
                    printf(" NOT FINITE OR OUT OF BOUNDS |");
                else printf(" %.1f, %.1f, %.3f |", beyond_hull(&on), beyond_one(&on.scores), report.worst);
                largest[p] = fmax(largest[p], report.worst);
            }
            test_release();
        }
    printf("\n| largest | error/bound | |");
    for (size_t p = 0; p < num_paths; p++) printf(" %.3f |", largest[p]);
    printf("\n");
}

/* Is it the one NaN that attn_forward writes? */
static int is_the_nan(const attn_array *a, size_t h, size_t i, size_t c)
{
    const void *at = ref_at(a, 0, h, i, c);
    uint64_t wide;
    uint32_t narrow;
    if (a->dtype == ATTN_F64) return memcpy(&wide, at, sizeof wide), wide == UINT64_C(0x7ff8000000000000);
    return memcpy(&narrow, at, sizeof narrow), narrow == 0x7fc00000u;
}

/* Puts a NaN or infinity into each input, and checks which rows it reaches, and columns of V. */
static void try_poisoned(attn_dtype type, double poison, double softcap)
{
    enum { Q, K, V, MASK };
    static const char *const names[] = {"q", "k", "v", "the mask"};
    for (int where = Q; where <= MASK; where++)
        for (int visible = 0; visible < 2; visible++) {
            const size_t key = 525, query = where == MASK && !visible ? 10 : 20; /* queries 15 ... 29 see the key */
            test_rng rng = {(uint64_t)where};
            attn_desc d = problem(type, 30, 540, 12, &rng), clean;
            void *at;
            int pass = 1;
            d.causal = 1;
            d.align = ATTN_ALIGN_LOWER_RIGHT;
            d.softcap = softcap;
            if (where == MASK) {
                d.mask = test_2d(type, 30, 540);
                test_fill(&d.mask, 0);
            } else if (!visible) { /* to any query */
                d.mask = test_1d(ATTN_BOOL, 540);
                test_fill(&d.mask, 1);
                ref_set(&d.mask, 0, 0, 0, key, 0);
            }
            clean = test_again(&d);
            pass &= test_status(test_forward(&clean, test_on(ATTN_PATH_AUTO)), ATTN_OK);
            at = where == Q      ? ref_at(&d.q, 0, 1, query, 3)
                 : where == MASK ? ref_at(&d.mask, 0, 0, query, key)
                                 : ref_at(where == K ? &d.k : &d.v, 0, 0, key, 3);
            if (isnan(poison)) memset(at, 0xff, attn_dtype_size(type)); /* with all bits of the payload set */
            else if (type == ATTN_F64) *(double *)at = poison;
            else *(float *)at = (float)poison;
            test_attention(&d, "%s, softcap %g, %g in %s, key %s", attn_dtype_name(type), softcap, poison, names[where],
                           visible ? "visible" : "masked");
            for (size_t h = 0; h < 2; h++)
                for (size_t i = 0; i < 30; i++)
                    for (size_t c = 0; c < 5; c++) {
                        const int reached =
                            where == Q ? h == 1 && i == query
                                       : visible && (where == MASK ? i == query : i >= 15) && (where != V || c == 3);
                        if (reached && isnan(ref_get(&d.out, 0, h, i, c))) pass &= is_the_nan(&d.out, h, i, c);
                        if (reached && where == V && isinf(poison))
                            pass &= ref_get(&d.out, 0, h, i, c) == (ref_real)poison;
                        if (!reached) pass &= ref_get(&d.out, 0, h, i, c) == ref_get(&clean.out, 0, h, i, c);
                    }
            test_ok(pass, "%s, softcap %g, %g in %s, key %s: what does not see it is as before", attn_dtype_name(type),
                    softcap, poison, names[where], visible ? "visible" : "masked");
            test_release();
        }
}

/* Rows of which each sees what is not finite in a key of its own, the same columns, beside keys that all of them see,
 * or none. Which rows see a key: by a mask, or by where they are. */
static void try_own_poison(attn_dtype type)
{
    static const double poisons[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    static const char *const names[] = {"mask", "causal", "window"};
    for (int how = 0; how < 3; how++)
        for (size_t q_len = 3; q_len <= 21; q_len += 9) {
            test_rng rng = {q_len};
            attn_desc d = problem(type, q_len, q_len + 9, 4, &rng);
            if (how == 0) {
                d.mask = test_2d(ATTN_BOOL, q_len, q_len + 9);
                for (size_t i = 0; i < q_len; i++)
                    for (size_t j = 0; j < q_len + 9; j++) ref_set(&d.mask, 0, 0, i, j, j == i || j > q_len);
            } else d.causal = 1, d.align = ATTN_ALIGN_OFFSET, d.q_offset = 2;
            if (how == 2) d.window = 1, d.window_left = 3, d.window_right = 0;
            for (size_t j = 0; j < q_len; j++) ref_set(&d.v, 0, 0, j, 1, poisons[j / 2 % 3]);
            ref_set(&d.v, 0, 0, q_len, 3, poisons[0]);
            test_attention(&d, "%s, %zu queries, each sees a poison of its own, %s", attn_dtype_name(type), q_len,
                           names[how]);
            test_release();
        }
}

/* Scores beyond the range that are all the same, and values whose sums are: weights are asked for, and used again. */
static void try_equal_giants(attn_dtype type)
{
    const double largest = type == ATTN_F64 ? 1.7976931348623157e308 : 3.4028234663852886e38;
    for (size_t kv_len = 8; kv_len <= 600; kv_len = kv_len * 8 + 5)
        for (int special = 0; special < 2; special++) {
            test_rng rng = {kv_len};
            attn_desc d = problem(type, 9, kv_len, 3, &rng);
            test_fill(&d.q, largest);
            test_fill(&d.k, largest);
            for (size_t j = 0; j < kv_len; j++)
                for (size_t c = 0; c < 4; c++)
                    ref_set(&d.v, 0, 0, j, c, (c % 2 ? -largest : largest) * (1 - (double)j / 1024));
            if (special) ref_set(&d.v, 0, 0, kv_len - 1, 2, (double)INFINITY);
            test_attention(&d, "%s, %zu equal giants%s", attn_dtype_name(type), kv_len,
                           special ? ", a value is infinite" : "");
            test_release();
        }
}

/* Rows that have no result because of their sink, or of a query beside values that are NaN, where `out` has one of
 * before. */
static void try_results_of_before(attn_dtype type)
{
    static const char *const names[] = {"sink NaN", "sink inf", "NaN in a query and in a value"};
    for (int kind = 0; kind < 3; kind++)
        for (size_t queries = 1; queries < 80; queries += 39) {
            test_rng rng = {queries};
            attn_desc d = problem(type, queries, 90, 6, &rng);
            size_t other = 0;
            d.sinks = test_1d(type, 2);
            test_fill(&d.sinks, 0);
            if (kind < 2) ref_set(&d.sinks, 0, 0, 0, 1, kind ? (double)INFINITY : (double)NAN);
            else {
                ref_set(&d.q, 0, 1, queries / 2, 0, (double)NAN);
                ref_set(&d.v, 0, 0, 3, 1, (double)NAN);
            }
            test_fill(&d.out, 1);
            if (attn_forward(&d, NULL)) other++;
            for (size_t i = 0; i < queries; i++)
                for (size_t c = 0; c < 5 && (kind < 2 || i == queries / 2); c++)
                    other += isnan((double)ref_get(&d.out, 0, 1, i, c)) ? 0 : 1;
            test_ok(other == 0, "%s, %zu queries, %s: no result of before stands", attn_dtype_name(type), queries,
                    names[kind]);
            test_release();
        }
}

/* Rows by turns whose scores are far beyond the range, and just beyond it, where their last bits decide. */
static void try_far_and_near(void)
{
    for (size_t first = 0; first < 2; first++)
        for (size_t kv_len = 5; kv_len < 100; kv_len += 70) {
            test_rng rng = {kv_len};
            attn_desc d = problem(ATTN_F64, 6, kv_len, 2, &rng);
            d.scale = 1.7976931348623157e308;
            for (size_t j = 0; j < kv_len; j++) {
                const double away = (double)((7 * j) % kv_len);
                ref_set(&d.k, 0, 0, j, 0, 1 + ldexp(away, -50));
                ref_set(&d.k, 0, 0, j, 1, ldexp(1 + away / 128, 1022));
            }
            for (size_t h = 0; h < 2; h++)
                for (size_t i = 0; i < 6; i++) {
                    ref_set(&d.q, 0, h, i, 0, i % 2 == first ? 64 : 0);
                    ref_set(&d.q, 0, h, i, 1, i % 2 == first ? 0 : ldexp(1, 1020));
                }
            test_attention(&d, "%zu keys, scores far beyond the range beside others, from row %zu on", kv_len,
                           1 - first);
            test_release();
        }
}

/* Queries that are multiplied by the scale and by log2 e, one after the other, as their product is no normal number. */
static void try_small_problems(attn_dtype type)
{
    static const test_shape shapes[] = {
        {ATTN_F32, 1, 2, 2, 6, 6, 8, 8}, {ATTN_F32, 1, 5, 5, 1, 7, 20, 9}, {ATTN_F32, 2, 4, 2, 1, 4, 8, 8}};
    const int most = type == ATTN_F64 ? 1023 : 127;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int large = 0; large < 2; large++) {
            test_shape shape = shapes[i];
            test_rng rng = {i};
            attn_desc d, with_lse;
            int pass;
            shape.type = type;
            d = test_problem(&shape, &rng);
            with_lse = d; /* which is never small */
            with_lse.out = test_copy(&d.out);
            d.lse = d.scores = test_absent;
            with_lse.scale = d.scale = ldexp(1.5, large ? most : -most - 6);
            if (!large) test_fill_normal(&d.k, &rng, 64);
            for (size_t b = 0; b < shape.batch; b++)
                for (size_t h = 0; h < shape.q_heads; h++)
                    for (size_t e = 0; e < shape.q_len * shape.head_dim; e++)
                        ref_set(&d.q, b, h, e / shape.head_dim, e % shape.head_dim,
                                ldexp(test_uniform(&rng) - 0.5, large ? 2 - most : most - 2));
            test_attention(&d, "%s, a small problem of %zu queries, scale %g", attn_dtype_name(type), shape.q_len,
                           d.scale);
            pass = test_status(test_forward(&with_lse, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
                   test_same(&d.out, &with_lse.out);
            test_ok(test_release() && pass, "%s: the bits of others", attn_dtype_name(type));
        }
}

/* Queries that make one panel, whose keys are taken a few at a time: one of any of these few is found. */
static void try_few_at_a_time(attn_dtype type)
{
    static const double poisons[] = {(double)INFINITY, (double)NAN};
    for (size_t p = 0; p < 2; p++)
        for (size_t key = 0; key < 200; key += 33) {
            test_rng rng = {key};
            attn_desc d = problem(type, 8, 200, 12, &rng); /* of two heads */
            d.scores = test_absent;
            ref_set(&d.k, 0, 0, key, 3, poisons[p]);
            test_attention(&d, "%s, 16 rows, %g in key %zu", attn_dtype_name(type), poisons[p], key);
            test_release();
        }
}

/* Sets columns of some keys' values, each key's own. */
enum { SPOILT_KEYS = 3 };
static void spoil(const attn_array *v, const size_t keys[SPOILT_KEYS], const uint64_t columns[SPOILT_KEYS],
                  double value)
{
    for (size_t h = 0; h < ref_length(v, 3); h++)
        for (size_t k = h % 2; k < SPOILT_KEYS; k++)
            for (size_t c = 0; c < ref_length(v, 1); c++)
                if (columns[k] >> c & 1) ref_set(v, 0, h, keys[k], c, value);
}
/* Does a query see one in a column? */
static int sees_spoilt(const attn_desc *d, const size_t keys[SPOILT_KEYS], const uint64_t columns[SPOILT_KEYS],
                       size_t h, size_t i, size_t c)
{
    const size_t kv_head = h / (ref_length(&d->q, 3) / ref_length(&d->k, 3));
    for (size_t k = kv_head % 2; k < SPOILT_KEYS; k++)
        if (columns[k] >> c & 1 && ref_sees(d, 0, h, i, keys[k])) return 1;
    return 0;
}

/* Other columns than those have the bits they have with 0 in place of what is not finite; so have these where no such
 * key is seen. With large values beside them, whose sum may overflow: then the whole row is computed in another way. */
static void try_columns(attn_dtype type, double poison, int large)
{
    const double most = type == ATTN_F64 ? 1.7e308 : 3.3e38;
    const size_t size = attn_dtype_size(type);
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    int pass = 1;
    for (uint64_t seed = 0; seed < 300 && pass; seed++) {
        test_rng rng = {seed};
        const test_shape shape = {type,
                                  1,
                                  2 + 2 * test_below(&rng, 2),
                                  2,
                                  1 + test_below(&rng, 20),
                                  1 + test_below(&rng, seed % 8 ? 40 : 700),
                                  test_below(&rng, 24),
                                  1 + test_below(&rng, 40)};
        attn_desc d = test_problem(&shape, &rng), clean;
        size_t keys[SPOILT_KEYS];
        uint64_t columns[SPOILT_KEYS];
        d.causal = (int)test_below(&rng, 2);
        d.align = test_below(&rng, 2) ? ATTN_ALIGN_UPPER_LEFT : ATTN_ALIGN_LOWER_RIGHT;
        d.lse = test_absent; /* so that small problems are done as such */
        if (test_below(&rng, 2)) d.scores = test_absent;
        if (test_below(&rng, 3) == 0) {
            d.mask = test_2d(ATTN_BOOL, shape.q_len, shape.kv_len);
            for (size_t i = 0; i < shape.q_len; i++)
                for (size_t j = 0; j < shape.kv_len; j++) ref_set(&d.mask, 0, 0, i, j, (double)test_below(&rng, 2));
        }
        for (size_t k = 0; k < SPOILT_KEYS; k++) {
            keys[k] = test_below(&rng, shape.kv_len);
            columns[k] = test_u64(&rng) & test_u64(&rng);
        }
        for (size_t h = 0; h < 2 && large; h++)
            for (size_t j = 0; j < shape.kv_len; j++)
                for (size_t c = 0; c < shape.head_dim_v; c += 5) ref_set(&d.v, 0, h, j, c, most * test_uniform(&rng));
        for (size_t p = 0; p < num_paths && pass; p++) {
            spoil(&d.v, keys, columns, 0);
            clean = test_again(&d);
            pass = test_status(test_forward(&clean, test_on(paths[p])), ATTN_OK);
            spoil(&d.v, keys, columns, poison);
            pass = pass && test_status(test_forward(&d, test_on(paths[p])), ATTN_OK) &&
                   (!d.scores.data || test_same(&d.scores, &clean.scores));
            for (size_t h = 0; h < shape.q_heads && pass; h++)
                for (size_t i = 0; i < shape.q_len; i++)
                    for (size_t c = 0; c < shape.head_dim_v; c++) {
                        const void *got = ref_at(&d.out, 0, h, i, c), *without = ref_at(&clean.out, 0, h, i, c);
                        pass &= sees_spoilt(&d, keys, columns, h, i, c) ? !isfinite((double)ref_get(&d.out, 0, h, i, c))
                                                                        : memcmp(got, without, size) == 0;
                    }
        }
        if (!pass) test_note("seed %d", (int)seed);
        pass = test_release() && pass;
    }
    test_ok(pass, "%s, %g in columns of values%s: others have the same bits", attn_dtype_name(type), poison,
            large ? ", large values beside them" : "");
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "table") == 0) {
        print_table(ATTN_F32);
        print_table(ATTN_F64);
        return 0;
    }
    for (size_t t = 0; t < 2; t++) {
        try_classes(test_types[t]);
        try_detours(test_types[t]);
        try_mixture(test_types[t]);
        try_parameters(test_types[t]);
        try_sinks(test_types[t]);
        try_results_of_before(test_types[t]);
        try_least_softcap(test_types[t]);
        try_meetings(test_types[t], 2);
        try_meetings(test_types[t], 70);
        try_hidden_giants(test_types[t]);
        try_stages(test_types[t]);
        try_subnormal_queries(test_types[t]);
        try_few_at_a_time(test_types[t]);
        try_small_problems(test_types[t]);
        try_own_poison(test_types[t]);
        try_scores_beside_nan(test_types[t]);
        try_equal_giants(test_types[t]);
        for (int large = 0; large < 2; large++) {
            try_columns(test_types[t], (double)NAN, large);
            try_columns(test_types[t], (double)INFINITY, large);
        }
        for (int softcap = 0; softcap <= 5; softcap += 5) {
            try_poisoned(test_types[t], (double)NAN, softcap);
            try_poisoned(test_types[t], (double)INFINITY, softcap);
            try_poisoned(test_types[t], -(double)INFINITY, softcap);
        }
    }
    try_far_and_near();
    return test_done();
}
