/* SPDX-License-Identifier: MIT-0
 *
 * The weights that the fused form returns: rows sum to 1 within 16 u, each is
 * in [0, 1], +0 where masked; they are those of the steps, bit by bit; and
 * asking for them (or for lse) changes no bit of the output.
 */
#include "attn_test.h"

#include <math.h>
#include <stdio.h>

static ref_real unit(attn_dtype type)
{
    return type == ATTN_F64 ? (ref_real)1.1102230246251565e-16 : (ref_real)5.9604644775390625e-8;
}

static int rows_sum_to_one(const attn_array *w, const char *name)
{
    const size_t batch = ref_length(w, 4), heads = ref_length(w, 3), rows = ref_length(w, 2), keys = ref_length(w, 1);
    const ref_real u = unit(w->dtype);
    double worst = 0;
    int in_range = 1;
    for (size_t b = 0; b < batch; b++)
        for (size_t h = 0; h < heads; h++)
            for (size_t i = 0; i < rows; i++) {
                ref_sum sum = {0, 0};
                for (size_t j = 0; j < keys; j++) {
                    const ref_real weight = ref_get(w, b, h, i, j);
                    in_range &= weight >= 0 && weight <= 1 && !signbit(weight);
                    ref_add(&sum, weight);
                }
                worst = fmax(worst, fabs((double)((sum.sum - 1 + sum.rest) / u)));
            }
    if (!in_range || !(worst <= 16))
        test_note("%s: sums err by up to %g u; %s", name, worst, in_range ? "weights in [0, 1]" : "a weight is not in [0, 1]");
    return in_range && worst <= 16;
}

static void try_shape(const test_shape *shape, double deviation, int causal)
{
    test_rng rng = {shape->kv_len};
    attn_desc d = test_problem(shape, &rng), bare = d;
    attn_array steps = test_copy(&d.scores);
    char name[80];
    int pass;
    snprintf(name, sizeof name, "%s, %zu x %zu, deviation %g%s", attn_dtype_name(shape->type), shape->q_len, shape->kv_len, deviation,
             causal ? ", causal" : "");
    test_fill_normal(&d.q, &rng, deviation);
    bare.out = test_copy(&d.out);
    bare.scores = bare.lse = test_absent;
    d.causal = bare.causal = causal;
    d.align = bare.align = ATTN_ALIGN_LOWER_RIGHT;
    pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    if (!test_ok(pass && rows_sum_to_one(&d.scores, name), "%s: rows sum to 1 within 16 u", name))
        return;
    pass = test_status(test_forward(&bare, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same(&bare.out, &d.out);
    test_ok(pass, "%s: the output does not depend on asking for weights", name);
    pass = test_status(test_scores(&d.q, &d.k, 0, &steps, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    if (causal) {
        const ptrdiff_t offset = (ptrdiff_t)shape->kv_len - (ptrdiff_t)shape->q_len;
        for (size_t h = 0; h < shape->q_heads; h++)
            for (size_t i = 0; i < shape->q_len; i++)
                for (size_t j = 0; j < shape->kv_len; j++)
                    if ((ptrdiff_t)j > (ptrdiff_t)i + offset)
                        ref_set(&steps, 0, h, i, j, -(double)INFINITY);
    }
    pass = pass && test_status(test_softmax(&steps, -1, &steps, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    test_ok(pass && test_same(&steps, &d.scores), "%s: the weights are those of scores and softmax", name);
    test_release();
}

/* Where a serial sum in float32 is off by 3 %: one weight of 1 and 2^20 of 2^-25;
 * and where all are equal. */
static void try_long_rows(attn_dtype type)
{
    const size_t n = (size_t)1 << 20;
    for (int uniform = 0; uniform < 2; uniform++) {
        const attn_array x = test_2d(type, 1, n);
        test_fill(&x, uniform ? 3.25 : -25 * log(2.0));
        if (!uniform)
            ref_set(&x, 0, 0, 0, 12345, 0);
        test_ok(test_status(test_softmax(&x, 1, &x, test_on(ATTN_PATH_AUTO)), ATTN_OK) && rows_sum_to_one(&x, "2^20 keys"),
                "%s, 2^20 keys, %s: the row sums to 1 within 16 u", attn_dtype_name(type), uniform ? "all equal" : "one large");
        test_release();
    }
}

int main(void)
{
    static const test_shape shapes[] = {
        {ATTN_F32, 1, 1, 1, 3, 1, 4, 4},   {ATTN_F32, 1, 2, 2, 20, 17, 16, 3},    {ATTN_F32, 1, 1, 1, 10, 512, 64, 8},
        {ATTN_F32, 1, 2, 2, 5, 513, 9, 5}, {ATTN_F32, 1, 1, 1, 7, 1700, 30, 700}, {ATTN_F32, 1, 1, 1, 40, 33, 600, 20},
    };
    static const double deviations[] = {0.01, 1, 40};
    for (size_t t = 0; t < 2; t++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (size_t d = 0; d < 3; d++) {
                test_shape shape = shapes[s];
                shape.type = test_types[t];
                try_shape(&shape, deviations[d], 0);
                if (shape.q_len <= shape.kv_len)
                    try_shape(&shape, deviations[d], 1);
            }
        try_long_rows(test_types[t]);
    }
    return test_done();
}
