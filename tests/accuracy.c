/* SPDX-License-Identifier: MIT-0
 *
 * Every output, weight and log-sum-exp lies within the error bound that
 * check/reference.c derives for it, for data that is difficult in different ways.
 */
#include "check/harness.h"

#include <math.h>

typedef enum data {
    NORMAL,    /* ordinary data */
    SHARP,     /* scores around 1e4: one weight is 1 */
    FLAT,      /* all weights nearly equal */
    RISING,    /* scores rise with the key, so that the maximum keeps changing */
    FALLING,   /* the first key has the largest score */
    ONE_BIG,   /* weight 1 for one key, 2^-25 for all others */
    CANCELLING /* values that nearly cancel */
} data;

static const char *const data_names[] = {"normal", "sharp", "flat", "rising", "falling", "one big", "cancelling"};

static attn_desc problem(const test_shape *shape, data kind)
{
    test_rng rng;
    attn_desc desc;
    rng.state = (uint64_t)kind;
    desc = test_problem(shape, &rng);
    if (kind == SHARP || kind == FLAT) {
        test_fill_normal(&desc.q, &rng, kind == SHARP ? 60 : 0.01);
        test_fill_normal(&desc.k, &rng, kind == SHARP ? 60 : 0.01);
    }
    if (kind == RISING || kind == FALLING || kind == ONE_BIG) {
        test_fill(&desc.q, 1);
        for (size_t b = 0; b < shape->batch; b++)
            for (size_t h = 0; h < shape->kv_heads; h++)
                for (size_t j = 0; j < shape->kv_len; j++)
                    for (size_t c = 0; c < shape->head_dim; c++) {
                        const double place = (double)j / 64;
                        const double score = kind == RISING           ? place
                                             : kind == FALLING        ? -place
                                             : j == shape->kv_len / 3 ? 25 * log(2.0)
                                                                      : 0;
                        ref_set(&desc.k, b, h, j, c, score / sqrt((double)shape->head_dim));
                    }
    }
    if (kind == CANCELLING)
        for (size_t j = 0; j < shape->kv_len; j++)
            for (size_t c = 0; c < shape->head_dim_v; c++)
                ref_set(&desc.v, 0, 0, j, c, (j % 2 ? -1000 : 1000) + test_uniform(&rng));
    return desc;
}

int main(void)
{
    static const test_shape shapes[] = {
        {ATTN_F32, 1, 1, 1, 5, 7, 3, 2},      {ATTN_F32, 2, 4, 2, 33, 65, 64, 48},
        {ATTN_F32, 1, 1, 1, 9, 513, 80, 33},  {ATTN_F32, 1, 2, 1, 3, 2100, 128, 16},
        {ATTN_F32, 1, 1, 1, 40, 40, 513, 40}, {ATTN_F32, 1, 1, 1, 1, 9000, 8, 3},
    };
    for (size_t t = 0; t < 2; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int kind = NORMAL; kind <= CANCELLING; kind++) {
                test_shape shape = shapes[s];
                attn_desc desc;
                shape.type = test_types[t];
                desc = problem(&shape, (data)kind);
                desc.causal = (s + (size_t)kind) % 2 == 1;
                desc.align = ATTN_ALIGN_LOWER_RIGHT;
                test_attention(&desc, "%s, %zu x %zu, head_dim %zu: %s", attn_dtype_name(shape.type), shape.q_len,
                               shape.kv_len, shape.head_dim, data_names[kind]);
                test_release();
            }
    return test_done();
}
