/* SPDX-License-Identifier: MIT-0
 *
 * Every path gives the bits of the scalar path for any shape: fused and as steps, float32 and
 * float64, with and without causality, weights and groups of heads. The lengths cover every
 * tail of every vector width and of the blocks.
 */
#include "check/harness.h"

static const size_t sizes[] = {1,  2,  3,  7,  8,   9,   15,  16,  17,  31, 32, 33,
                               63, 64, 65, 80, 127, 128, 129, 197, 513, 5,  48};
enum { SIZES = sizeof sizes / sizeof *sizes }; /* 23, a prime */

typedef struct problem {
    attn_desc desc;
    attn_array weights, across; /* softmax along either axis */
} problem;

static attn_status call_forward(const void *context, attn_exec run)
{
    const problem *p = context;
    return test_forward(&p->desc, run);
}

static attn_status call_scores(const void *context, attn_exec run)
{
    const problem *p = context;
    return test_scores(&p->desc.q, &p->desc.k, 0, &p->desc.scores, run);
}

static attn_status call_softmax(const void *context, attn_exec run)
{
    const problem *p = context;
    return test_softmax(&p->desc.scores, -1, &p->weights, run);
}

static attn_status call_softmax_across(const void *context, attn_exec run)
{
    const problem *p = context;
    return test_softmax(&p->desc.scores, -2, &p->across, run);
}

static attn_status call_weighted_sum(const void *context, attn_exec run)
{
    const problem *p = context;
    return test_weighted_sum(&p->weights, &p->desc.v, &p->desc.out, run);
}

static int agree(const char *what, test_call call, const problem *p, const attn_array *const *outputs, size_t count)
{
    int same;
    if (test_all_paths(call, p, outputs, count, &same) == ATTN_OK && same) return 1;
    test_note("%s: batch %zu, heads %zu/%zu, q_len %zu, kv_len %zu, head_dim %zu, head_dim_v %zu, causal %d", what,
              ref_length(&p->desc.q, 4), ref_length(&p->desc.q, 3), ref_length(&p->desc.k, 3),
              ref_length(&p->desc.q, 2), ref_length(&p->desc.k, 2), ref_length(&p->desc.q, 1),
              ref_length(&p->desc.v, 1), p->desc.causal);
    return 0;
}

/* causal: 0 no, 1 upper left, 2 lower right; with weights or without. */
static int try_fused(const test_shape *shape, int causal, int weights, test_rng *rng)
{
    problem p;
    const attn_array *outputs[3];
    p.desc = test_problem(shape, rng);
    p.desc.causal = causal != 0;
    p.desc.align = causal == 2 ? ATTN_ALIGN_LOWER_RIGHT : ATTN_ALIGN_UPPER_LEFT;
    outputs[0] = &p.desc.out;
    outputs[1] = &p.desc.lse;
    outputs[2] = &p.desc.scores;
    if (!weights) p.desc.scores = test_absent;
    return agree("forward", call_forward, &p, outputs, weights ? 3 : 2);
}

static int try_steps(const test_shape *shape, test_rng *rng)
{
    problem p;
    const attn_array *outputs[1];
    int same = 1;
    p.desc = test_problem(shape, rng);
    p.weights = test_copy(&p.desc.scores);
    p.across = test_copy(&p.desc.scores);
    outputs[0] = &p.desc.scores;
    same &= agree("scores", call_scores, &p, outputs, 1);
    outputs[0] = &p.weights;
    same &= agree("softmax", call_softmax, &p, outputs, 1);
    outputs[0] = &p.across;
    same &= agree("softmax across", call_softmax_across, &p, outputs, 1);
    outputs[0] = &p.desc.out;
    same &= agree("weighted_sum", call_weighted_sum, &p, outputs, 1);
    return same;
}

/* Shapes (i, j, i + j, i + 2 j) pair every size of one dimension with every size
 * of every other. */
static void try_latin_square(attn_dtype type)
{
    for (size_t i = 0; i < SIZES; i++) {
        int fused = 1, in_steps = 1;
        for (size_t j = 0; j < SIZES; j++) {
            test_rng rng;
            test_shape shape;
            rng.state = 1000 * i + j;
            shape.type = type;
            shape.batch = 1;
            shape.q_len = sizes[i];
            shape.kv_len = sizes[j];
            shape.head_dim = sizes[(i + j) % SIZES];
            shape.head_dim_v = sizes[(i + 2 * j) % SIZES];
            shape.kv_heads = shape.q_len * shape.kv_len < 2000 ? 1 + j % 2 : 1;
            shape.q_heads = shape.kv_heads * (shape.q_len * shape.kv_len < 2000 ? 1 + i % 3 : 1);
            fused &= try_fused(&shape, (int)((i + j) % 3), j % 2 == 0, &rng);
            shape.q_heads = shape.kv_heads;
            if (j % 2) /* the other half is the fused form with weights */
                in_steps &= try_steps(&shape, &rng);
            fused &= test_release();
        }
        test_ok(fused, "%s, q_len %zu with all sizes: fused", attn_dtype_name(type), sizes[i]);
        test_ok(in_steps, "%s, q_len %zu with all sizes: steps", attn_dtype_name(type), sizes[i]);
    }
}

/* Several blocks of 512 keys and several tiles of queries. */
static void try_blocks(attn_dtype type)
{
    static const test_shape shapes[] = {
        {ATTN_F32, 1, 1, 1, 1, 1100, 64, 64},  {ATTN_F32, 1, 4, 1, 3, 1537, 16, 24},
        {ATTN_F32, 2, 2, 2, 17, 1024, 8, 8},   {ATTN_F32, 1, 2, 1, 300, 1025, 8, 5},
        {ATTN_F32, 1, 1, 1, 1100, 1100, 4, 8}, {ATTN_F32, 1, 1, 1, 1100, 530, 9, 1},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int causal = 0; causal < 3; causal++) {
            test_rng rng;
            test_shape shape = shapes[i];
            rng.state = i;
            shape.type = type;
            test_ok(try_fused(&shape, causal, causal == 1, &rng), "%s, %zu x %zu, causal %d: fused",
                    attn_dtype_name(type), shape.q_len, shape.kv_len, causal);
            shape.q_heads = shape.kv_heads;
            if (!causal)
                test_ok(try_steps(&shape, &rng), "%s, %zu x %zu: steps", attn_dtype_name(type), shape.q_len,
                        shape.kv_len);
            test_ok(test_release(), "%s, %zu x %zu: guards", attn_dtype_name(type), shape.q_len, shape.kv_len);
        }
}

/* Heads of more than 512 columns, whose products are joined, with any number of keys beyond whole panels. */
static void try_last_keys(attn_dtype type)
{
    int same = 1;
    for (size_t n = 1; n < 70; n++) {
        test_rng rng = {n};
        test_shape shape = {ATTN_F32, 1, 1, 1, 1, 1, 700, 20};
        shape.type = type;
        shape.q_len = 1 + n % 3;
        shape.kv_len = n;
        same &= try_fused(&shape, 0, 1, &rng) && test_release();
    }
    test_ok(same, "%s, head_dim 700, few queries and 1 to 69 keys", attn_dtype_name(type));
}

int main(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t p = 0; p < num_paths; p++)
        test_note("%s%s", attn_path_name(paths[p]), attn_path_native(paths[p]) ? "" : " (emulated)");
    test_ok(num_paths > 0 && paths[0] == ATTN_PATH_SCALAR, "there is a scalar path");
    for (size_t t = 0; t < 2; t++) {
        try_latin_square(test_types[t]);
        try_blocks(test_types[t]);
        try_last_keys(test_types[t]);
    }
    return test_done();
}
