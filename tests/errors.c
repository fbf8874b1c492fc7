/* SPDX-License-Identifier: MIT-0
 *
 * Each cause of failure has its own status and is detected before anything is written:
 * outputs, workspace and the queried size stay unchanged. exec.argument says what is wrong.
 */
#include "check/harness.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const test_shape shape = {ATTN_F32, 2, 4, 2, 5, 7, 6, 3};

/* The arguments of a call, which the cases change. */
typedef struct call {
    attn_desc desc;
    attn_layer layer;
    attn_array a, b, c;
    int axis;
    double scale;
    attn_exec run;
} call;

typedef attn_status (*function)(const call *c, const attn_exec *run);

static attn_status do_forward(const call *c, const attn_exec *run) { return attn_forward(&c->desc, run); }
static attn_status do_self_attention(const call *c, const attn_exec *run)
{
    return attn_self_attention(&c->desc.q, &c->desc.k, &c->desc.v, &c->desc.out, &c->desc.scores, run);
}
static attn_status do_matmul(const call *c, const attn_exec *run) { return attn_matmul(&c->a, &c->b, &c->c, run); }
static attn_status do_weighted_sum(const call *c, const attn_exec *run)
{
    return attn_weighted_sum(&c->a, &c->b, &c->c, run);
}
static attn_status do_scores(const call *c, const attn_exec *run)
{
    const attn_array k = attn_array_swap(c->b, 0, 1);
    return attn_scores(&c->a, &k, c->scale, &c->c, run);
}
static attn_status do_softmax(const call *c, const attn_exec *run) { return attn_softmax(&c->a, c->axis, &c->c, run); }
static attn_status do_layer(const call *c, const attn_exec *run) { return attn_layer_forward(&c->layer, run); }

static const struct {
    function f;
    const char *name;
} functions[] = {
    {do_forward, "forward"}, {do_self_attention, "self_attention"},
    {do_matmul, "matmul"},   {do_weighted_sum, "weighted_sum"},
    {do_scores, "scores"},   {do_softmax, "softmax"},
    {do_layer, "layer"},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

static const char *name_of(function f)
{
    size_t i = 0;
    while (functions[i].f != f) i++;
    return functions[i].name;
}

static attn_layer good_layer(void)
{
    attn_layer l = attn_layer_default();
    l.x = test_3d(ATTN_F32, 2, 5, 8);
    l.w_q = test_2d(ATTN_F32, 8, 12);
    l.w_k = test_2d(ATTN_F32, 8, 6);
    l.w_v = test_2d(ATTN_F32, 8, 10);
    l.w_o = test_2d(ATTN_F32, 20, 7);
    l.b_q = test_1d(ATTN_F32, 12);
    l.num_heads = 4;
    l.kv_num_heads = 2;
    l.out = test_3d(ATTN_F32, 2, 5, 7);
    l.weights = test_4d(ATTN_F32, 2, 4, 5, 5);
    return l;
}

static call good_call(function f)
{
    test_rng rng = {1};
    call c;
    memset(&c, 0, sizeof c);
    c.desc = test_problem(&shape, &rng);
    c.layer = good_layer();
    c.a = test_2d(ATTN_F32, 5, 7);
    c.b = test_2d(ATTN_F32, 7, 6);
    c.c = f == do_softmax ? test_2d(ATTN_F32, 5, 7) : test_2d(ATTN_F32, 5, 6);
    c.axis = -1;
    return c;
}

static int fresh(const void *memory, size_t bytes)
{
    const unsigned char *p = memory;
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != 0xff) return 0;
    return 1;
}

typedef struct output {
    const unsigned char *data;
    size_t bytes;
} output;

enum { OUTPUTS = 6, ROOM = 1 << 20 };

static void outputs_of(const call *c, output outputs[OUTPUTS])
{
    const attn_array *const arrays[OUTPUTS] = {&c->desc.out, &c->desc.lse,  &c->desc.scores,
                                               &c->c,        &c->layer.out, &c->layer.weights};
    for (int i = 0; i < OUTPUTS; i++) {
        outputs[i].data = arrays[i]->data;
        outputs[i].bytes = arrays[i]->ndim ? 4 : 0;
        for (int axis = 0; axis < arrays[i]->ndim; axis++) outputs[i].bytes *= arrays[i]->shape[axis];
    }
}

/* Is what the library names, as this file calls it, spoiled? Of shapes that do not agree, it names the second. */
static int is_about(function f, const char *argument, const char *spoiled, attn_status want)
{
    static const char *const names[][3] = {
        {"weighted_sum", "w", ".a"},
        {"weighted_sum", "v", ".b"},
        {"weighted_sum", "o", ".c"},
        {"scores", "q", ".a"},
        {"scores", "k", ".b"},
        {"scores", "s", ".c"},
        {"softmax", "x", ".a"},
        {"softmax", "y", ".c"},
        {"self_attention", "weights", ".scores"},
        {"forward", "block_table", "page("},
    };
    char member[40];
    if (!argument) return 0;
    snprintf(member, sizeof member, ".%s", argument);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i][0], name_of(f)) && !strcmp(names[i][2], member)) return 0; /* not by this file's name */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i][0], name_of(f)) && !strcmp(names[i][1], argument))
            snprintf(member, sizeof member, "%s", names[i][2]);
    return strstr(spoiled, member) || (want == ATTN_ERR_SHAPE && !strcmp(member, ".b") && strstr(spoiled, ".a"));
}

/* Each case breaks one thing in a call that works. */
static void refuse(function f, const char *spoiled, const call *good, const call *bad, attn_status want)
{
    output outputs[OUTPUTS];
    size_t bytes = 12345;
    void *const workspace = test_memory(ROOM, 0);
    attn_exec run = bad->run;
    attn_status computed, measured;
    const char *argument = NULL;
    int untouched = 1;
    run.argument = &argument;
    outputs_of(good, outputs);
    if (!run.workspace && run.workspace_size == 0) {
        run.workspace = workspace;
        run.workspace_size = ROOM;
    }
    computed = f(bad, &run);
    test_ok(is_about(f, argument, spoiled, want), "%s, %s: is about %s", name_of(f), spoiled,
            argument ? argument : "nothing");
    run.query = &bytes;
    measured = f(bad, &run);
    for (int i = 0; i < OUTPUTS; i++) untouched &= fresh(outputs[i].data, outputs[i].bytes);
    untouched &= fresh(workspace, ROOM) && (measured == ATTN_OK || bytes == 12345);
    test_ok(test_status(computed, want) && untouched && test_guards(), "%s, %s: %s", name_of(f), spoiled,
            attn_status_string(want));
    /* Errors that depend on addresses, on contents or on the workspace cannot be detected in a
     * size query. */
    if (want != ATTN_ERR_NULL && want != ATTN_ERR_ALIGN && want != ATTN_ERR_ALIAS && want != ATTN_ERR_WORKSPACE &&
        want != ATTN_ERR_LENGTH && want != ATTN_ERR_PAGE)
        test_ok(test_status(measured, want), "%s, %s: the same when only the size is asked for", name_of(f), spoiled);
}

/* The call works unchanged, and fails with `want` after `spoil`. */
#define REFUSE(f, want, spoil)                                                                                         \
    do {                                                                                                               \
        const call good = good_call(f);                                                                                \
        call c = good;                                                                                                 \
        spoil;                                                                                                         \
        refuse(f, #spoil, &good, &c, want);                                                                            \
        test_release();                                                                                                \
    } while (0)

static int writes(function f)
{
    call c = good_call(f);
    attn_exec run = attn_exec_default();
    output outputs[OUTPUTS];
    size_t bytes = 0, written = 0;
    const char *argument = "of an earlier call";
    int pass;
    run.argument = &argument;
    test_fill(&c.a, 1);
    test_fill(&c.b, 1);
    run.query = &bytes;
    pass = test_status(f(&c, &run), ATTN_OK);
    run.query = NULL;
    run.workspace = test_memory(bytes, 0);
    run.workspace_size = bytes;
    pass = pass && test_status(f(&c, &run), ATTN_OK);
    outputs_of(&c, outputs);
    for (int i = 0; i < OUTPUTS; i++) written += !fresh(outputs[i].data, outputs[i].bytes);
    test_release();
    return pass && written > 0 && !argument;
}

static void *shifted(const attn_array *a, size_t bytes) { return (char *)a->data + bytes; }

/* The same elements from the last to the first. Returns the lowest address. */
static void *backwards(attn_array *a)
{
    void *low = a->data;
    a->data = ref_at(a, 0, 0, a->shape[0] - 1, a->shape[1] - 1);
    a->stride[0] = -(ptrdiff_t)a->shape[1];
    a->stride[1] = -1;
    return low;
}

/* Lengths and no other optional array. */
static void only_lengths(call *c)
{
    c->desc.lse = c->desc.scores = test_absent;
    c->desc.kv_lens = test_1d(ATTN_I32, 2);
}

static const size_t huge = SIZE_MAX / 2;

static void try_forward(function f)
{
    REFUSE(f, ATTN_ERR_NULL, c.desc.q.data = NULL);
    REFUSE(f, ATTN_ERR_NULL, c.desc.k.data = NULL);
    REFUSE(f, ATTN_ERR_NULL, c.desc.v.data = NULL);
    REFUSE(f, ATTN_ERR_NULL, c.desc.out.data = NULL);
    REFUSE(f, ATTN_ERR_NULL, c.desc.scores.data = NULL);
    REFUSE(f, ATTN_ERR_DTYPE, c.desc.q.dtype = ATTN_I32);
    REFUSE(f, ATTN_ERR_DTYPE, c.desc.k.dtype = ATTN_F64);
    REFUSE(f, ATTN_ERR_DTYPE, c.desc.v.dtype = ATTN_BOOL);
    REFUSE(f, ATTN_ERR_DTYPE, c.desc.out.dtype = ATTN_DTYPE_COUNT);
    REFUSE(f, ATTN_ERR_DTYPE, c.desc.q.dtype = (attn_dtype)-1);
    REFUSE(f, ATTN_ERR_RANK, c.desc.q.ndim = 1);
    REFUSE(f, ATTN_ERR_RANK, c.desc.q.ndim = 5);
    REFUSE(f, ATTN_ERR_RANK, c.desc.out.ndim = -1);
    REFUSE(f, ATTN_ERR_SHAPE, c.desc.k.shape[3] = 5);
    REFUSE(f, ATTN_ERR_SHAPE, c.desc.v.shape[2] = 6);
    REFUSE(f, ATTN_ERR_SHAPE, c.desc.out.shape[2] = 4);
    REFUSE(f, ATTN_ERR_SHAPE, c.desc.out.shape[3] = 2);
    REFUSE(f, ATTN_ERR_SHAPE, c.desc.k.shape[0] = 1);
    REFUSE(f, ATTN_ERR_SHAPE, c.desc.v.shape[1] = 1);
    REFUSE(f, ATTN_ERR_SHAPE, c.desc.scores.shape[3] = 6);
    REFUSE(f, ATTN_ERR_HEADS, c.desc.k.shape[1] = c.desc.v.shape[1] = 3);
    REFUSE(f, ATTN_ERR_HEADS, c.desc.k.shape[1] = c.desc.v.shape[1] = 0);
    REFUSE(f, ATTN_ERR_STRIDE, c.desc.out.stride[3] = 1);
    REFUSE(f, ATTN_ERR_STRIDE,
           (c.desc.out.stride[3] = 1, c.desc.out.stride[2] = 2, c.desc.out.stride[1] = 15, c.desc.out.stride[0] = 60));
    REFUSE(f, ATTN_ERR_ALIGN, c.desc.q.data = shifted(&c.desc.q, 1));
    REFUSE(f, ATTN_ERR_ALIGN, c.desc.out.data = shifted(&c.desc.out, 2));
    REFUSE(f, ATTN_ERR_ALIAS, c.desc.out.data = c.desc.q.data);
    REFUSE(f, ATTN_ERR_ALIAS, c.desc.out.data = shifted(&c.desc.v, 4 * (2 * 2 * 7 * 3 - 1)));
    REFUSE(f, ATTN_ERR_ALIAS, c.desc.scores.data = c.desc.out.data);
    REFUSE(f, ATTN_ERR_OVERFLOW, c.desc.q.shape[2] = c.desc.out.shape[2] = c.desc.scores.shape[2] = huge);
    REFUSE(f, ATTN_ERR_OVERFLOW, c.desc.q.stride[2] = PTRDIFF_MIN);
    REFUSE(f, ATTN_ERR_OVERFLOW, c.desc.k.stride[0] = PTRDIFF_MAX);
    REFUSE(f, ATTN_ERR_OVERFLOW,
           c.desc.k.stride[0] = c.desc.k.stride[1] = PTRDIFF_MAX / 4 + 2); /* twice 2 of 4 bytes */
    REFUSE(f, ATTN_ERR_OVERFLOW, c.desc.k.stride[0] = c.desc.k.stride[1] = -(PTRDIFF_MAX / 4) - 2);
    REFUSE(f, ATTN_ERR_PATH, c.run.path = ATTN_PATH_COUNT);
    REFUSE(f, ATTN_ERR_PATH, c.run.path = (attn_path)-1);
    REFUSE(f, ATTN_ERR_WORKSPACE, c.run.workspace_size = 1);
}

/* Pages 0 and 1 of 4 keys each exist; each batch has two pages. */
static void page(call *c, double number)
{
    c->desc.k = test_4d(ATTN_F32, 2, 2, 4, 6);
    c->desc.v = test_4d(ATTN_F32, 2, 2, 4, 3);
    c->desc.scores = test_absent;
    c->desc.block_table = test_2d(ATTN_I32, 2, 2);
    c->desc.kv_lens = test_1d(ATTN_I32, 2);
    test_fill(&c->desc.block_table, 1);
    test_fill(&c->desc.kv_lens, 7);
    ref_set(&c->desc.block_table, 0, 0, 1, 1, number);
}

static void lengths(call *c, double number)
{
    c->desc.kv_lens = test_1d(ATTN_I32, 2);
    test_fill(&c->desc.kv_lens, number);
}

static void try_descriptor(void)
{
    REFUSE(do_forward, ATTN_ERR_NULL, c.desc.lse.data = NULL);
    REFUSE(do_forward, ATTN_ERR_SHAPE, c.desc.lse.shape[2] = 4);
    REFUSE(do_forward, ATTN_ERR_ALIAS, c.desc.lse.data = c.desc.scores.data);
    REFUSE(do_forward, ATTN_ERR_STRIDE, c.desc.lse.stride[0] = 1);
    REFUSE(do_forward, ATTN_ERR_PARAMETER, c.desc.scale = (double)NAN);
    REFUSE(do_forward, ATTN_ERR_PARAMETER, c.desc.scale = (double)INFINITY);
    REFUSE(do_forward, ATTN_ERR_UNSCALED, c.desc.k_scale = test_1d(ATTN_F32, 1));
    REFUSE(do_forward, ATTN_ERR_UNSCALED, c.desc.v_zero = test_1d(ATTN_F32, 1));
    REFUSE(do_forward, ATTN_ERR_UNSCALED, (c.desc.k.dtype = ATTN_F8_E5M2, c.desc.k_zero = test_1d(ATTN_F32, 1)));
    REFUSE(do_forward, ATTN_ERR_SCALE_COUNT, (c.desc.k.dtype = ATTN_I8, c.desc.k_scale = test_1d(ATTN_F32, 97)));
    REFUSE(do_forward, ATTN_ERR_SCALE_COUNT, (c.desc.v.dtype = ATTN_U8, c.desc.v_zero = test_2d(ATTN_F32, 1, 0)));
    REFUSE(do_forward, ATTN_ERR_SCALE_SHAPE, (c.desc.k.dtype = ATTN_I8, c.desc.k_scale = test_2d(ATTN_F32, 97, 1)));
    REFUSE(do_forward, ATTN_ERR_SCALE_SHAPE, (c.desc.v.dtype = ATTN_I8, c.desc.v_zero = test_3d(ATTN_F32, 97, 1, 1)));
    REFUSE(do_forward, ATTN_ERR_BLOCK, c.desc.v.dtype = ATTN_Q8_0);
    REFUSE(do_forward, ATTN_ERR_DTYPE, (c.desc.k.dtype = ATTN_I8, c.desc.k_scale = test_1d(ATTN_F64, 1)));
    REFUSE(do_forward, ATTN_ERR_DTYPE, c.desc.q.dtype = ATTN_I8);
    REFUSE(do_forward, ATTN_ERR_PARAMETER, c.desc.softcap = -1);
    REFUSE(do_forward, ATTN_ERR_PARAMETER, c.desc.softcap = (double)NAN);
    REFUSE(do_forward, ATTN_ERR_PARAMETER, c.desc.align = ATTN_ALIGN_COUNT);
    REFUSE(do_forward, ATTN_ERR_PARAMETER,
           (c.desc.align = ATTN_ALIGN_OFFSET, c.desc.q_offset = ((int64_t)1 << 62) + 1));
    REFUSE(do_forward, ATTN_ERR_PARAMETER,
           (c.desc.align = ATTN_ALIGN_OFFSET, c.desc.q_offset = -((int64_t)1 << 62) - 1));
    REFUSE(do_forward, ATTN_ERR_PARAMETER, c.desc.stage = (attn_stage)-1);
    REFUSE(do_forward, ATTN_ERR_PARAMETER, (c.desc.window = 1, c.desc.window_left = -2));
    REFUSE(do_forward, ATTN_ERR_PARAMETER, (c.desc.window = 1, c.desc.window_right = INT64_MIN));
    REFUSE(do_forward, ATTN_ERR_DTYPE, c.desc.mask = test_2d(ATTN_I32, 5, 7));
    REFUSE(do_forward, ATTN_ERR_SHAPE, c.desc.mask = test_2d(ATTN_BOOL, 5, 6));
    REFUSE(do_forward, ATTN_ERR_SHAPE, c.desc.mask = test_2d(ATTN_BOOL, 5, 1));
    REFUSE(do_forward, ATTN_ERR_SHAPE, c.desc.mask = test_2d(ATTN_BOOL, 4, 7));
    REFUSE(do_forward, ATTN_ERR_ALIAS, (c.desc.mask = test_2d(ATTN_F32, 5, 7), c.desc.out.data = c.desc.mask.data));
    REFUSE(do_forward, ATTN_ERR_ALIAS, (c.desc.alibi = test_1d(ATTN_F32, 4), c.desc.out.data = c.desc.alibi.data));
    REFUSE(do_forward, ATTN_ERR_ALIAS, (c.desc.sinks = test_1d(ATTN_F32, 4), c.desc.lse.data = c.desc.sinks.data));
    REFUSE(do_forward, ATTN_ERR_ALIAS, (lengths(&c, 7), c.desc.out.data = c.desc.kv_lens.data));
    REFUSE(do_forward, ATTN_ERR_ALIAS, (page(&c, 0), c.desc.lse.data = c.desc.block_table.data));
    REFUSE(do_forward, ATTN_ERR_ALIAS,
           (c.desc.q_bounds = test_2d(ATTN_I32, 5, 2), test_fill(&c.desc.q_bounds, 0),
            c.desc.lse.data = c.desc.q_bounds.data));
    REFUSE(do_forward, ATTN_ERR_SHAPE, c.desc.q_bounds = test_2d(ATTN_I32, 5, 3));
    REFUSE(do_forward, ATTN_ERR_SHAPE, c.desc.q_bounds = test_2d(ATTN_I32, 4, 2));
    REFUSE(do_forward, ATTN_ERR_LENGTH,
           (c.desc.q_bounds = test_2d(ATTN_I32, 5, 4), test_fill(&c.desc.q_bounds, 0),
            ref_set(&c.desc.q_bounds, 0, 0, 1, 1, 4), ref_set(&c.desc.q_bounds, 0, 0, 1, 2, 3),
            ref_set(&c.desc.q_bounds, 0, 0, 1, 3, 6)));
    REFUSE(do_forward, ATTN_ERR_SHAPE, c.desc.alibi = test_1d(ATTN_F32, 3));
    REFUSE(do_forward, ATTN_ERR_SHAPE, c.desc.alibi = test_1d(ATTN_F32, 1)); /* heads do not broadcast */
    REFUSE(do_forward, ATTN_ERR_DTYPE, c.desc.colsum = test_3d(ATTN_F16, 2, 4, 7));
    REFUSE(do_forward, ATTN_ERR_SHAPE, c.desc.sinks = test_1d(ATTN_F32, 2));
    REFUSE(do_forward, ATTN_ERR_DTYPE, c.desc.kv_lens = test_1d(ATTN_F32, 2));
    REFUSE(do_forward, ATTN_ERR_SHAPE, c.desc.kv_lens = test_1d(ATTN_I32, 3));
    REFUSE(do_forward, ATTN_ERR_LENGTH, (c.desc.kv_lens = test_1d(ATTN_I32, 2), test_fill(&c.desc.kv_lens, 8)));
    REFUSE(do_forward, ATTN_ERR_LENGTH, (c.desc.kv_lens = test_1d(ATTN_I64, 2), test_fill(&c.desc.kv_lens, -1)));
    REFUSE(do_forward, ATTN_ERR_LENGTH, (only_lengths(&c), test_fill(&c.desc.kv_lens, 8)));
    REFUSE(do_forward, ATTN_ERR_PAGE, page(&c, 2));
    REFUSE(do_forward, ATTN_ERR_PAGE, page(&c, -1));
    REFUSE(do_forward, ATTN_ERR_LENGTH, (page(&c, 0), test_fill(&c.desc.kv_lens, 9)));
}

static void try_product(function f)
{
    REFUSE(f, ATTN_ERR_NULL, c.a.data = NULL);
    REFUSE(f, ATTN_ERR_NULL, c.c.data = NULL);
    REFUSE(f, ATTN_ERR_DTYPE, c.a.dtype = ATTN_F16);
    REFUSE(f, ATTN_ERR_DTYPE, c.b.dtype = ATTN_F64);
    REFUSE(f, ATTN_ERR_RANK, c.a.ndim = 1);
    REFUSE(f, ATTN_ERR_RANK, c.c.ndim = ATTN_MAX_DIMS + 1);
    REFUSE(f, ATTN_ERR_SHAPE, c.a.shape[1] = 6);
    REFUSE(f, ATTN_ERR_SHAPE, c.c.shape[0] = 4);
    REFUSE(f, ATTN_ERR_SHAPE, c.c = attn_array_3d(ATTN_F32, c.c.data, 2, 5, 6));
    REFUSE(f, ATTN_ERR_STRIDE, c.c.stride[1] = 1);
    REFUSE(f, ATTN_ERR_ALIGN, c.b.data = shifted(&c.b, 3));
    REFUSE(f, ATTN_ERR_ALIAS, c.c.data = c.a.data);
    REFUSE(f, ATTN_ERR_ALIAS, c.c.data = shifted(&c.b, 8));
    REFUSE(f, ATTN_ERR_ALIAS, c.c.data = backwards(&c.b));
    REFUSE(f, ATTN_ERR_OVERFLOW, (c.a.shape[0] = huge, c.c.shape[0] = huge));
    REFUSE(f, ATTN_ERR_PATH, c.run.path = ATTN_PATH_COUNT);
    REFUSE(f, ATTN_ERR_WORKSPACE, c.run.workspace_size = 1);
}

/* The same size along as many dimensions as are allowed. */
static attn_array in_all_dimensions(attn_array a, size_t n)
{
    a.ndim = ATTN_MAX_DIMS;
    for (int i = 0; i < ATTN_MAX_DIMS; i++) a.shape[i] = n, a.stride[i] = 0;
    return a;
}

static void try_softmax(function f)
{
    REFUSE(f, ATTN_ERR_NULL, c.a.data = NULL);
    REFUSE(f, ATTN_ERR_DTYPE, c.a.dtype = c.c.dtype = ATTN_BF16);
    REFUSE(f, ATTN_ERR_DTYPE, c.c.dtype = ATTN_F64);
    REFUSE(f, ATTN_ERR_RANK, c.a.ndim = 0);
    REFUSE(f, ATTN_ERR_RANK, c.a.ndim = 9);
    REFUSE(f, ATTN_ERR_RANK, c.c.ndim = 1);
    REFUSE(f, ATTN_ERR_SHAPE, c.c.shape[1] = 6);
    REFUSE(f, ATTN_ERR_AXIS, c.axis = 2);
    REFUSE(f, ATTN_ERR_AXIS, c.axis = -3);
    REFUSE(f, ATTN_ERR_STRIDE, c.c.stride[0] = 1);
    REFUSE(f, ATTN_ERR_ALIGN, c.a.data = shifted(&c.a, 2));
    REFUSE(f, ATTN_ERR_ALIAS, c.c.data = shifted(&c.a, 4));
    REFUSE(f, ATTN_ERR_OVERFLOW, c.a.shape[0] = c.c.shape[0] = huge);
    REFUSE(f, ATTN_ERR_OVERFLOW,
           c.a.shape[0] = c.c.shape[0] = SIZE_MAX / 7 + 1); /* times 7 this wraps to a small number */
    /* the product wraps to 0 */
    REFUSE(f, ATTN_ERR_OVERFLOW, (c.a = in_all_dimensions(c.a, 8192), c.c = in_all_dimensions(c.c, 8192)));
    REFUSE(f, ATTN_ERR_PATH, c.run.path = ATTN_PATH_COUNT);
}

static void try_layer(function f)
{
    REFUSE(f, ATTN_ERR_NULL, c.layer.x.data = NULL);
    REFUSE(f, ATTN_ERR_NULL, c.layer.w_v.data = NULL);
    REFUSE(f, ATTN_ERR_NULL, c.layer.out.data = NULL);
    REFUSE(f, ATTN_ERR_DTYPE, c.layer.x.dtype = ATTN_F16);
    REFUSE(f, ATTN_ERR_DTYPE, c.layer.w_q.dtype = ATTN_F64);
    REFUSE(f, ATTN_ERR_RANK, c.layer.w_o.ndim = 3);
    REFUSE(f, ATTN_ERR_RANK, c.layer.out.ndim = 2);
    REFUSE(f, ATTN_ERR_RANK, c.layer.x.ndim = 4);
    REFUSE(f, ATTN_ERR_SHAPE, c.layer.w_k.shape[1] = 8);
    REFUSE(f, ATTN_ERR_SHAPE,
           (c.layer.w_v.shape[1] = 9, c.layer.w_o.shape[0] = 16)); /* 4 for each head, and 1 left over */
    REFUSE(f, ATTN_ERR_SHAPE, c.layer.w_q.shape[0] = 7);
    REFUSE(f, ATTN_ERR_SHAPE, c.layer.w_o.shape[0] = 19);
    REFUSE(f, ATTN_ERR_SHAPE, c.layer.b_q.shape[0] = 11);
    REFUSE(f, ATTN_ERR_SHAPE, c.layer.out.shape[2] = 6);
    REFUSE(f, ATTN_ERR_SHAPE, c.layer.weights.shape[1] = 2);
    REFUSE(f, ATTN_ERR_HEADS, c.layer.kv_num_heads = 3);
    REFUSE(f, ATTN_ERR_STRIDE, c.layer.out.stride[2] = 1);
    REFUSE(f, ATTN_ERR_ALIGN, c.layer.w_o.data = shifted(&c.layer.w_o, 1));
    REFUSE(f, ATTN_ERR_ALIAS, c.layer.out.data = c.layer.x.data);
    REFUSE(f, ATTN_ERR_ALIAS, c.layer.weights.data = c.layer.out.data);
    REFUSE(f, ATTN_ERR_ALIAS, c.layer.weights.data = c.layer.x.data);
    REFUSE(f, ATTN_ERR_PARAMETER, c.layer.attention.scale = (double)NAN);
    REFUSE(f, ATTN_ERR_PATH, c.run.path = ATTN_PATH_COUNT);
    REFUSE(f, ATTN_ERR_WORKSPACE, c.run.workspace_size = 1);
}

static attn_array no_elements(size_t batch, size_t heads)
{
    attn_array a = attn_array_4d(ATTN_F32, NULL, batch, heads, 1, 0);
    for (int i = 0; i < 4; i++) a.stride[i] = 1;
    return a;
}

/* More rows than a size_t can count, without elements. Size query only. */
static void try_many_rows(void)
{
    attn_desc d = attn_desc_default();
    attn_exec run = attn_exec_default();
    size_t bytes = 0;
    run.query = &bytes;
    d.q = d.out = no_elements(SIZE_MAX / 16 + 1, 32);
    d.k = d.v = no_elements(SIZE_MAX / 16 + 1, 1);
    test_ok(test_status(attn_forward(&d, &run), ATTN_ERR_OVERFLOW), "forward, too many rows of no elements");
}

/* Copies of keys and of values that only together are too large. Size query only. */
static void try_large_workspace(void)
{
    const size_t dim = 3 * (SIZE_MAX >> 15); /* times 512 and 4 bytes: three eighths of half the address space */
    attn_desc d = attn_desc_default();
    attn_exec run = attn_exec_default();
    size_t bytes = 0;
    run.query = &bytes;
    d.q = d.out = attn_array_2d(ATTN_F32, NULL, 40, dim);
    d.k = d.v = attn_array_2d(ATTN_F16, NULL, 512, dim);
    test_ok(test_status(attn_forward(&d, &run), ATTN_ERR_OVERFLOW), "forward, too large a workspace");
    d.v.shape[1] = d.out.shape[1] = 20;
    test_ok(test_status(attn_forward(&d, &run), ATTN_OK) && bytes > 2048 * dim, "forward, a large workspace");
}

/* So many workers that together they need more than the address space. */
static void try_many_workers(void)
{
    const call c = good_call(do_matmul);
    attn_exec run = test_shuffled(ATTN_PATH_AUTO, 1);
    size_t bytes = 0;
    run.query = &bytes;
    test_ok(test_status(do_matmul(&c, &run), ATTN_OK) && bytes > 63, "matmul, one worker");
    run.num_workers = SIZE_MAX / 2 / (bytes - 63) + 1;
    test_ok(test_status(do_matmul(&c, &run), ATTN_ERR_OVERFLOW), "matmul, workers for half of the address space");
    run.num_workers *= 3;
    test_ok(test_status(do_matmul(&c, &run), ATTN_ERR_OVERFLOW), "matmul, workers for more than the address space");
    test_release();
}

/* Paths that this machine or program does not have, if any. */
static void try_missing_paths(void)
{
    for (int path = ATTN_PATH_SCALAR; path < ATTN_PATH_COUNT; path++) {
        const char *name = attn_path_name((attn_path)path);
        if (attn_path_supported((attn_path)path)) {
            test_skip("this machine runs it", "a missing path: %s", name);
            continue;
        }
        REFUSE(do_forward, ATTN_ERR_PATH, c.run.path = (attn_path)path);
    }
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__TINYC__)
#include <cpuid.h>

/* The compiler's look at the machine. Emulated paths always run; of a path that is not known here
 * there is no other look. */
static int machine_has(attn_path path)
{
    unsigned eax, ebx, ecx, edx;
    int has = 1;
    switch (path) {
    case ATTN_PATH_SCALAR:
    case ATTN_PATH_SIMD128:
    case ATTN_PATH_NEON: return 1;
    case ATTN_PATH_AVX512:
        has &= __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
        has &= __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
        /* fall through */
    case ATTN_PATH_AVX2:
        has &= __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C) != 0;
        return has && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    default: return attn_path_supported(path);
    }
}

static void try_present_paths(void)
{
    for (int i = ATTN_PATH_SCALAR; i < ATTN_PATH_COUNT; i++) {
        const attn_path path = (attn_path)i;
        const int runs = attn_path_supported(path), native = attn_path_native(path);
        const int asks = path == ATTN_PATH_AVX2 || path == ATTN_PATH_AVX512;
        test_ok(runs == (attn_path_compiled(path) && machine_has(path)), "%s runs where the machine has it",
                attn_path_name(path));
        test_ok(asks ? native == runs : native <= runs, "%s is native where the machine has it", attn_path_name(path));
    }
}
#else
static void try_present_paths(void)
{
    test_skip("no other look at this machine", "paths run where the machine has them");
}
#endif

/* NULL for pointers to arguments. */
static void try_null_arguments(void)
{
    const attn_array a = test_2d(ATTN_F32, 2, 2);
    const attn_exec run = attn_exec_default();
    test_ok(test_status(attn_forward(NULL, &run), ATTN_ERR_NULL), "forward(NULL)");
    test_ok(test_status(attn_layer_forward(NULL, &run), ATTN_ERR_NULL), "layer_forward(NULL)");
    for (int i = 0; i < 3; i++) {
        const attn_array *const x = i == 0 ? NULL : &a, *const y = i == 1 ? NULL : &a, *const z = i == 2 ? NULL : &a;
        test_ok(test_status(attn_matmul(x, y, z, &run), ATTN_ERR_NULL), "matmul, argument %d NULL", i);
        test_ok(test_status(attn_scores(x, y, 0, z, &run), ATTN_ERR_NULL), "scores, argument %d NULL", i);
        test_ok(test_status(attn_weighted_sum(x, y, z, &run), ATTN_ERR_NULL), "weighted_sum, argument %d NULL", i);
        test_ok(test_status(attn_self_attention(x, y, z, &a, NULL, &run), ATTN_ERR_NULL),
                "self_attention, argument %d NULL", i);
        test_ok(test_status(attn_compute_qkv(x, y, z, &a, &a, &a, &a, &run), ATTN_ERR_NULL),
                "compute_qkv, argument %d NULL", i);
    }
    test_ok(test_status(attn_compute_qkv(&a, &a, &a, &a, NULL, &a, &a, &run), ATTN_ERR_NULL), "compute_qkv, no q");
    test_ok(test_status(attn_softmax(NULL, 0, &a, &run), ATTN_ERR_NULL), "softmax(NULL)");
    test_ok(test_status(attn_softmax(&a, 0, NULL, &run), ATTN_ERR_NULL), "softmax into NULL");
    test_release();
}

/* compute_qkv has three outputs: if one is invalid, none may be written. */
static void try_compute_qkv(void)
{
    for (int spoiled = 0; spoiled < 5; spoiled++) {
        const attn_array x = test_2d(ATTN_F32, 5, 8), w = test_2d(ATTN_F32, 8, 3);
        attn_array y[3];
        attn_status want = ATTN_ERR_SHAPE;
        for (int i = 0; i < 3; i++) y[i] = test_2d(ATTN_F32, 5, 3);
        if (spoiled < 3) y[spoiled].shape[1] = 2;
        else if (spoiled == 3) y[2].data = y[0].data, want = ATTN_ERR_ALIAS;
        else y[2].data = w.data, want = ATTN_ERR_ALIAS;
        {
            attn_exec run = attn_exec_in(test_memory(ROOM, 0), ROOM);
            const attn_status status = attn_compute_qkv(&x, &w, &w, &w, &y[0], &y[1], &y[2], &run);
            test_ok(test_status(status, want) && fresh(y[0].data, 40) && fresh(y[1].data, 40) && fresh(y[2].data, 40),
                    "compute_qkv, case %d: %s", spoiled, attn_status_string(want));
        }
        test_release();
    }
}

/* Only attn_forward accepts weights for fewer queries, with any number of dimensions. */
static void try_few_weights(void)
{
    const attn_array q = test_2d(ATTN_F32, 5, 6), k = test_2d(ATTN_F32, 7, 6), v = test_2d(ATTN_F32, 7, 3);
    const attn_array out = test_2d(ATTN_F32, 5, 3), weights = test_2d(ATTN_F32, 4, 7);
    const attn_exec run = attn_exec_in(test_memory(ROOM, 0), ROOM);
    const attn_status status = attn_self_attention(&q, &k, &v, &out, &weights, &run);
    test_ok(test_status(status, ATTN_ERR_SHAPE) && fresh(out.data, 15 * 4) && fresh(weights.data, 28 * 4),
            "self_attention of two dimensions, weights of fewer queries");
    test_release();
}

static void try_strings(void)
{
    int distinct = 1, known = 1;
    for (int s = 0; s < ATTN_STATUS_COUNT; s++)
        for (int t = 0; t < s; t++)
            distinct &= strcmp(attn_status_string((attn_status)s), attn_status_string((attn_status)t)) != 0;
    test_ok(distinct, "each status has its own message");
    for (int s = -1; s <= ATTN_STATUS_COUNT + 1; s++)
        if (s < 0 || s >= ATTN_STATUS_COUNT)
            known &=
                attn_status_string((attn_status)s) && strcmp(attn_status_string((attn_status)s), "unknown status") == 0;
    test_ok(known, "unknown statuses have one");
}

int main(void)
{
    for (size_t i = 0; i < FUNCTIONS; i++)
        test_ok(writes(functions[i].f), "%s works before it is spoiled", functions[i].name);
    try_forward(do_forward);
    try_forward(do_self_attention);
    try_descriptor();
    try_product(do_matmul);
    try_product(do_weighted_sum);
    REFUSE(do_scores, ATTN_ERR_PARAMETER, c.scale = (double)NAN);
    REFUSE(do_scores, ATTN_ERR_SHAPE, c.a.shape[1] = 6);
    REFUSE(do_scores, ATTN_ERR_ALIAS, c.c.data = c.a.data);
    try_softmax(do_softmax);
    try_layer(do_layer);
    try_many_rows();
    try_large_workspace();
    try_many_workers();
    try_missing_paths();
    try_present_paths();
    try_null_arguments();
    try_few_weights();
    try_compute_qkv();
    try_strings();
    return test_done();
}
