/* SPDX-License-Identifier: MIT-0
 *
 * attn_matmul, attn_compute_qkv, attn_scores, attn_weighted_sum: errors within k u sum |a b|,
 * the same bits on all paths and in any layout, leading dimensions that broadcast, +0 where
 * there is nothing to sum.
 */
#include "check/harness.h"

#include <math.h>

typedef struct problem {
    attn_array a, b, c;
} problem;

static attn_status call_matmul(const void *context, attn_exec run)
{
    const problem *p = context;
    return test_matmul(&p->a, &p->b, &p->c, run);
}

static int right(const problem *p)
{
    const attn_array *outputs[1];
    ref_report report;
    int same;
    outputs[0] = &p->c;
    if (!test_status(test_all_paths(call_matmul, p, outputs, 1, &same), ATTN_OK)) return 0;
    report = ref_check_matmul(&p->a, &p->b, &p->c);
    return test_within(&report) && same;
}

static void try_shapes(attn_dtype type)
{
    static const size_t shapes[][3] = {{1, 1, 1},    {2, 3, 4},    {7, 9, 8},    {16, 16, 16},  {17, 33, 31},
                                       {1, 513, 65}, {65, 1, 129}, {129, 64, 1}, {31, 80, 3},   {40, 600, 20},
                                       {5, 0, 6},    {0, 4, 5},    {3, 4, 0},    {1, 530, 1500}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const size_t m = shapes[i][0], k = shapes[i][1], n = shapes[i][2];
        test_rng rng = {i};
        problem p;
        p.a = test_2d(type, m, k);
        p.b = test_2d(type, k, n);
        p.c = test_2d(type, m, n);
        test_fill_normal(&p.a, &rng, 1);
        test_fill_normal(&p.b, &rng, 1);
        test_ok(right(&p) && test_release(), "%s: (%zu, %zu) by (%zu, %zu)", attn_dtype_name(type), m, k, k, n);
    }
}

/* Operands and result transposed, reversed, with gaps. */
static void try_layouts(attn_dtype type)
{
    const size_t m = 37, k = 50, n = 29;
    for (unsigned layout = 0; layout < 8; layout++) {
        test_rng rng = {layout};
        problem p;
        attn_array *arrays[3];
        arrays[0] = &p.a;
        arrays[1] = &p.b;
        arrays[2] = &p.c;
        p.a = test_2d(type, layout & 1 ? k : m, layout & 1 ? m : k);
        p.b = test_2d(type, layout & 1 ? n : k, layout & 1 ? k : n);
        p.c = test_2d(type, layout & 1 ? n : m, layout & 1 ? m : n);
        for (int i = 0; i < 3; i++) {
            attn_array *x = arrays[i];
            if (layout & 2) { /* in a larger array, with an unaligned start */
                const attn_array large = test_2d(type, 2 * x->shape[0] + 1, 3 * x->shape[1] + 1);
                x->data = ref_at(&large, 0, 0, 1, 1);
                x->stride[0] = 2 * (ptrdiff_t)large.shape[1];
                x->stride[1] = 3;
            }
            if (layout & 1) *x = attn_array_swap(*x, 0, 1);
            if (layout & 4) {
                *x = attn_array_swap(*x, 0, 0); /* makes implied strides explicit */
                if (x->stride[0] == 0) {
                    x->stride[0] = (ptrdiff_t)x->shape[1];
                    x->stride[1] = 1;
                }
                x->data = ref_at(x, 0, 0, x->shape[0] - 1, x->shape[1] - 1);
                x->stride[0] = -x->stride[0];
                x->stride[1] = -x->stride[1];
            }
        }
        test_fill_normal(&p.a, &rng, 1);
        test_fill_normal(&p.b, &rng, 1);
        test_ok(right(&p) && test_release(), "%s:%s%s%s", attn_dtype_name(type), layout & 1 ? " transposed" : "",
                layout & 2 ? " spread" : "", layout & 4 ? " reversed" : "");
    }
}

static void try_batches(attn_dtype type)
{
    /* leading dimensions of a, b and c */
    static const size_t leading[][6] = {{2, 3, 2, 3, 2, 3}, {2, 3, 1, 1, 2, 3}, {1, 3, 2, 3, 2, 3}, {2, 1, 1, 3, 2, 3}};
    for (size_t i = 0; i < sizeof leading / sizeof *leading; i++) {
        const size_t *l = leading[i];
        test_rng rng = {i};
        problem p;
        p.a = test_4d(type, l[0], l[1], 5, 7);
        p.b = test_4d(type, l[2], l[3], 7, 9);
        p.c = test_4d(type, l[4], l[5], 5, 9);
        test_fill_normal(&p.a, &rng, 1);
        test_fill_normal(&p.b, &rng, 1);
        test_ok(right(&p), "%s: (%zu, %zu, ...) by (%zu, %zu, ...)", attn_dtype_name(type), l[0], l[1], l[2], l[3]);
        test_ok(test_release(), "%s: guards", attn_dtype_name(type));
    }
}

static attn_array in_eight(attn_dtype type, const size_t *leading, size_t rows, size_t columns)
{
    size_t n = rows * columns;
    attn_array a;
    for (int i = 0; i < 6; i++) n *= leading[i];
    a = test_1d(type, n);
    a.ndim = 8;
    for (int i = 0; i < 6; i++) a.shape[i] = leading[i];
    a.shape[6] = rows;
    a.shape[7] = columns;
    return a;
}

/* Small matrices are used in place, unless one of the two is transposed or the product is scaled. */
static void try_small_matrices(attn_dtype type)
{
    static const size_t depths[] = {0, 1, 7, 8, 64, 130, 512, 1000}, columns[] = {1, 4, 7, 8, 16, 21, 24, 64};
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t p = 0; p < num_paths; p++)
        for (size_t w = 0; w < sizeof columns / sizeof *columns; w++) {
            const size_t n = columns[w];
            int pass = 1;
            for (size_t i = 0; i < 2 * (sizeof depths / sizeof *depths) && pass; i++) {
                const size_t j = i / 2, k = depths[j];
                const size_t m = i % 2 ? j + 1 : j > 4 && n < 8 ? 100 * j + 23 : 1 + 11 * j % 39; /* few, and others */
                test_rng rng = {n + k};
                const attn_array wide = test_2d(type, m, k + 3), store = test_2d(type, n, k),
                                 turned = attn_array_swap(store, 0, 1);
                const attn_array b = test_2d(type, k, n), large = test_2d(type, m, n + j), want = test_2d(type, m, n);
                const attn_array a = test_part(&wide, 1, 2, k), c = test_part(&large, 1, j, n),
                                 other = test_2d(type, k, m);
                const attn_array turned_a = attn_array_swap(other, 0, 1), keys = attn_array_swap(b, 0, 1);
                test_fill_normal(&wide, &rng, 1);
                test_fill_normal(&b, &rng, 1);
                if (j == 4) ref_set(&b, 0, 0, k - 1, n - 1, -(double)INFINITY);
                test_assign(&turned, &b);
                test_assign(&turned_a, &a);
                pass = test_status(test_matmul(&a, &b, &c, test_on(paths[p])), ATTN_OK) &&
                       test_status(test_matmul(&a, &turned, &want, test_on(paths[p])), ATTN_OK) &&
                       test_same(&c, &want) &&
                       test_status(test_matmul(&turned_a, &b, &c, test_on(paths[p])), ATTN_OK) &&
                       test_same(&c, &want) && test_status(test_scores(&a, &keys, 3, &c, test_on(paths[p])), ATTN_OK) &&
                       test_status(test_scores(&a, &store, 3, &want, test_on(paths[p])), ATTN_OK) &&
                       test_same(&c, &want) && test_release();
            }
            test_ok(pass, "%s, %s, %zu columns: the same product by b where it lies and by b turned",
                    attn_path_name(paths[p]), attn_dtype_name(type), n);
        }
}

/* A product of eight dimensions equals its matrix products one by one. */
static void try_eight_dimensions(attn_dtype type)
{
    static const size_t of_a[6] = {2, 3, 1, 2, 1, 1}, of_b[6] = {2, 1, 1, 2, 1, 1};
    const attn_array a = in_eight(type, of_a, 5, 7), b = in_eight(type, of_b, 7, 9), c = in_eight(type, of_a, 5, 9);
    const attn_array all_a = attn_array_1d(type, a.data, 12 * 5 * 7), all_b = attn_array_1d(type, b.data, 4 * 7 * 9);
    const size_t size = attn_dtype_size(type);
    test_rng rng = {3};
    int pass;
    test_fill_normal(&all_a, &rng, 1);
    test_fill_normal(&all_b, &rng, 1);
    pass = test_status(test_matmul(&a, &b, &c, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t i = 0; i < 12; i++) {
        const size_t of = i / 6 * 2 + i % 2;
        const attn_array one_a = attn_array_2d(type, (char *)a.data + i * 35 * size, 5, 7),
                         product = test_2d(type, 5, 9);
        const attn_array one_b = attn_array_2d(type, (char *)b.data + of * 63 * size, 7, 9);
        const attn_array one_c = attn_array_2d(type, (char *)c.data + i * 45 * size, 5, 9);
        pass = pass && test_status(test_matmul(&one_a, &one_b, &product, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
               test_same(&one_c, &product);
    }
    test_ok(pass && test_release(), "%s: eight dimensions", attn_dtype_name(type));
}

/* Elements that are not finite follow IEEE 754; huge and tiny ones are within bounds. */
static void try_extremes(attn_dtype type)
{
    static const double values[] = {0, -0.0, 1, -1, 1e-30, 1e30, 3e38, -3e38, 1e-45, 1.2e-38};
    const size_t count = sizeof values / sizeof *values;
    test_rng rng = {1};
    problem p;
    p.a = test_2d(type, 20, 3);
    p.b = test_2d(type, 3, 40);
    p.c = test_2d(type, 20, 40);
    for (size_t i = 0; i < 60; i++) ref_set(&p.a, 0, 0, i / 3, i % 3, values[test_below(&rng, count)]);
    for (size_t i = 0; i < 120; i++)
        ref_set(&p.b, 0, 0, i / 40, i % 40,
                (i % 40) % 2 ? values[test_below(&rng, 5)] : ldexp(values[test_below(&rng, count)], -100));
    ref_set(&p.a, 0, 0, 4, 1, (double)NAN);
    ref_set(&p.a, 0, 0, 9, 2, (double)INFINITY);
    ref_set(&p.b, 0, 0, 0, 33, -(double)INFINITY);
    test_ok(right(&p) && test_release(), "%s: extreme values", attn_dtype_name(type));
}

/* compute_qkv, scores and weighted_sum equal such products. */
static void try_steps(attn_dtype type)
{
    const attn_exec run = test_on(ATTN_PATH_AUTO);
    test_rng rng = {2};
    attn_array x = test_3d(type, 2, 21, 18), w[3], y[3], product = test_3d(type, 2, 21, 10), kt, s, o, weighted, scaled;
    int pass = 1;
    test_fill_normal(&x, &rng, 1);
    for (int i = 0; i < 3; i++) {
        w[i] = test_2d(type, 18, i == 2 ? 7 : 10);
        y[i] = test_3d(type, 2, 21, i == 2 ? 7 : 10);
        test_fill_normal(&w[i], &rng, 1);
    }
    pass = test_status(test_compute_qkv(&x, &w[0], &w[1], &w[2], &y[0], &y[1], &y[2], run), ATTN_OK);
    for (int i = 0; i < 2; i++)
        pass = pass && test_status(test_matmul(&x, &w[i], &product, run), ATTN_OK) && test_same(&y[i], &product);
    product = test_3d(type, 2, 21, 7);
    pass = pass && test_status(test_matmul(&x, &w[2], &product, run), ATTN_OK) && test_same(&y[2], &product);
    test_ok(pass, "%s: compute_qkv is three products", attn_dtype_name(type));

    /* a scale of 1/4 is exact, so that the order of scaling does not matter */
    kt = attn_array_swap(y[1], 1, 2);
    s = test_3d(type, 2, 21, 21);
    scaled = test_3d(type, 2, 21, 21);
    pass = test_status(test_scores(&y[0], &y[1], 0.25, &s, run), ATTN_OK) &&
           test_status(test_matmul(&y[0], &kt, &scaled, run), ATTN_OK);
    for (size_t i = 0; i < 2 * 21 * 21; i++) {
        const double number = (double)ref_get(&scaled, 0, i / 441, i / 21 % 21, i % 21);
        ref_set(&scaled, 0, i / 441, i / 21 % 21, i % 21, number * 0.25);
    }
    test_ok(pass && test_same(&s, &scaled), "%s: scores are a product", attn_dtype_name(type));

    o = test_3d(type, 2, 21, 7);
    weighted = test_3d(type, 2, 21, 7);
    pass = test_status(test_weighted_sum(&s, &y[2], &o, run), ATTN_OK) &&
           test_status(test_matmul(&s, &y[2], &weighted, run), ATTN_OK);
    test_ok(pass && test_same(&o, &weighted), "%s: weighted_sum is a product", attn_dtype_name(type));
    test_ok(test_release(), "%s: guards", attn_dtype_name(type));
}

int main(void)
{
    for (size_t t = 0; t < 2; t++) {
        try_shapes(test_types[t]);
        try_layouts(test_types[t]);
        try_batches(test_types[t]);
        try_small_matrices(test_types[t]);
        try_eight_dimensions(test_types[t]);
        try_extremes(test_types[t]);
        try_steps(test_types[t]);
    }
    return test_done();
}
