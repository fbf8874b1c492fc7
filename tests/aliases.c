/* SPDX-License-Identifier: MIT-0
 *
 * An output may lie between the elements of other arrays, and gives the bits it has elsewhere;
 * where it shares a byte with one of them, it is refused.
 */
#include "check/harness.h"

#include <stdint.h>
#include <string.h>

/* --------------------------------------------- any strides, byte by byte -- */

enum { BYTES = 8192, PAIRS = 60000 };

/* Up to three dimensions of random strides, which may be those of some layout. */
static void scatter(attn_array *a, unsigned char *memory, test_rng *rng)
{
    const size_t size = attn_dtype_size(a->dtype), layout = test_below(rng, 2);
    ptrdiff_t span = 1, any = 0;
    for (int axis = a->ndim - 1; axis >= 0; axis--) {
        a->stride[axis] = (ptrdiff_t)test_below(rng, 25) - 12;
        if (layout) a->stride[axis] = span + (ptrdiff_t)(test_below(rng, 3) * test_below(rng, 3));
        if (layout) span = a->stride[axis] * (ptrdiff_t)a->shape[axis];
        any |= a->stride[axis];
    }
    if (!any) a->stride[0] = 1; /* or they would be those of C order */
    a->data = memory + BYTES / 2 + test_below(rng, 16) * size;
}

/* Marks the bytes of all elements. Returns whether another array has one of them. */
static int mark(unsigned char *marks, const unsigned char *memory, const attn_array *a, unsigned char number)
{
    int shared = 0;
    for (size_t i = 0; i < ref_length(a, 3); i++)
        for (size_t j = 0; j < ref_length(a, 2); j++)
            for (size_t k = 0; k < ref_length(a, 1); k++) {
                unsigned char *at = marks + ((const unsigned char *)ref_at(a, 0, i, j, k) - memory);
                for (size_t byte = 0; byte < attn_dtype_size(a->dtype); byte++) {
                    shared |= at[byte] != 0 && at[byte] != number;
                    at[byte] = number;
                }
            }
    return shared;
}

/* In place is allowed, and not looked at here. */
static int in_place(const attn_array *x, const attn_array *y)
{
    int same = x->data == y->data;
    for (int axis = 0; axis < x->ndim; axis++) same &= x->shape[axis] == 1 || x->stride[axis] == y->stride[axis];
    return same;
}

static void try_random(int product)
{
    static double memory[BYTES / sizeof(double)], zeros[16], workspace[1 << 16];
    static unsigned char marks[BYTES];
    const attn_exec run = attn_exec_in(workspace, sizeof workspace);
    const char *name = product ? "matmul" : "softmax";
    test_rng rng = {16};
    size_t apart = 0, shared = 0, wrong = 0;
    for (size_t i = 0; i < PAIRS; i++) {
        const attn_dtype type = test_types[test_below(&rng, 2)];
        const size_t n = 1 + test_below(&rng, 4), m = 1 + test_below(&rng, 4), k = 1 + test_below(&rng, 4),
                     columns = product ? 1 + test_below(&rng, 4) : k;
        const attn_array b = attn_array_2d(type, zeros, k, columns);
        attn_array x = attn_array_3d(type, NULL, n, m, k), y = attn_array_3d(type, NULL, n, m, columns);
        attn_status status;
        int overlap;
        scatter(&x, (unsigned char *)memory, &rng);
        scatter(&y, (unsigned char *)memory, &rng);
        memset(marks, 0, sizeof marks);
        mark(marks, (unsigned char *)memory, &x, 1);
        overlap = mark(marks, (unsigned char *)memory, &y, 2);
        status = product ? attn_matmul(&x, &b, &y, &run) : attn_softmax(&x, -1, &y, &run);
        if (status == ATTN_ERR_STRIDE || (!product && in_place(&x, &y))) continue;
        if (overlap) shared++;
        else apart++;
        if (status == (overlap ? ATTN_ERR_ALIAS : ATTN_OK)) continue;
        if (!wrong++)
            test_note("%s (%zu, %zu, %zu) strides (%td, %td, %td), (%td, %td, %td), %td bytes further: %s",
                      attn_dtype_name(type), n, m, k, x.stride[0], x.stride[1], x.stride[2], y.stride[0], y.stride[1],
                      y.stride[2], (char *)y.data - (char *)x.data, attn_status_string(status));
    }
    test_ok(wrong == 0 && apart > PAIRS / 8 && shared > PAIRS / 8,
            "%s: %zu outputs share no byte with the input, %zu do: %zu decisions are wrong", name, apart, shared,
            wrong);
}

/* ----------------------------------------------- slots of one buffer -- */

enum { SLOTS = 4, B = 2, H = 2, S = 9, D = 6, ELEMENTS = SLOTS * B * H * S * D };

/* Where the slots are: strides of B, H, S, D, and of slots. */
static const struct {
    const char *name;
    ptrdiff_t stride[5];
} layouts[] = {
    {"(B, S, slots, H, D)", {S * SLOTS * H * D, D, SLOTS *H *D, 1, H *D}},
    {"(B, slots, H, S, D)", {SLOTS * H * S * D, S *D, D, 1, H *S *D}},
    {"(S, B, H, slots, D), sequence reversed", {H * SLOTS * D, SLOTS *D, -B *H *SLOTS *D, 1, D}},
    {"(B, H, S, D, slots)", {H * S * D * SLOTS, S *D *SLOTS, D *SLOTS, SLOTS, 1}},
};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

/* (B, H, S, D), `moved` elements beside the slot. */
static attn_array slot(const attn_array *buffer, int layout, size_t which, ptrdiff_t moved)
{
    const ptrdiff_t *stride = layouts[layout].stride, last = stride[2] < 0 ? -stride[2] * (S - 1) : 0;
    attn_array a = attn_array_4d(buffer->dtype, NULL, B, H, S, D);
    memcpy(a.stride, stride, 4 * sizeof *stride);
    a.data = (char *)buffer->data +
             (last + (ptrdiff_t)which * stride[4] + moved) * (ptrdiff_t)attn_dtype_size(buffer->dtype);
    return a;
}

/* From `in` to `out`, as many as the function has; `w` (D, D) is what it needs besides. */
typedef attn_status (*function)(const attn_array *in, const attn_array *w, const attn_array *out, attn_exec run);

static attn_status do_forward(const attn_array *in, const attn_array *w, const attn_array *out, attn_exec run)
{
    attn_desc d = attn_desc_default();
    (void)w;
    d.q = in[0];
    d.k = in[1];
    d.v = in[2];
    d.out = out[0];
    return test_forward(&d, run);
}
static attn_status do_compute_qkv(const attn_array *in, const attn_array *w, const attn_array *out, attn_exec run)
{
    return test_compute_qkv(in, w, w, w, &out[0], &out[1], &out[2], run);
}
static attn_status do_matmul(const attn_array *in, const attn_array *w, const attn_array *out, attn_exec run)
{
    return test_matmul(in, w, out, run);
}
static attn_status do_softmax(const attn_array *in, const attn_array *w, const attn_array *out, attn_exec run)
{
    (void)w;
    return test_softmax(in, -1, out, run);
}
static attn_status do_rotary(const attn_array *in, const attn_array *w, const attn_array *out, attn_exec run)
{
    (void)w, (void)run;
    return attn_rotary(in, NULL, 0, 0, 0, out);
}
static attn_status do_append(const attn_array *in, const attn_array *w, const attn_array *out, attn_exec run)
{
    (void)w, (void)run;
    return attn_cache_append(out, in, NULL, NULL);
}
static attn_status do_layer(const attn_array *in, const attn_array *w, const attn_array *out, attn_exec run)
{
    attn_layer layer = attn_layer_default();
    const attn_array x = attn_array_swap(*in, 1, 2),
                     y = attn_array_swap(*out, 1, 2); /* (B, S, H, D), of which the first */
    layer.x = x;
    layer.out = y;
    layer.x.ndim = layer.out.ndim = 3;
    layer.x.shape[2] = layer.out.shape[2] = D;
    layer.x.stride[2] = x.stride[3];
    layer.out.stride[2] = y.stride[3];
    layer.w_q = layer.w_k = layer.w_v = *w;
    layer.num_heads = 2;
    return test_layer(&layer, run);
}

static const struct {
    const char *name;
    function f;
    size_t in, out;
} functions[] = {{"forward", do_forward, 3, 1}, {"compute_qkv", do_compute_qkv, 1, 3},
                 {"matmul", do_matmul, 1, 1},   {"softmax", do_softmax, 1, 1},
                 {"rotary", do_rotary, 1, 1},   {"cache_append", do_append, 1, 1},
                 {"layer", do_layer, 1, 1}};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* Slots for the inputs, then for the outputs; the last of them once more where it meets the one before. */
static void try_slots(size_t which, int layout, attn_dtype type, attn_path path)
{
    const size_t n_in = functions[which].in, n_out = functions[which].out, all = n_in + n_out;
    const attn_array buffer = test_1d(type, ELEMENTS), w = test_2d(type, D, D), before = test_1d(type, ELEMENTS);
    attn_array slots[SLOTS], alone[SLOTS];
    test_rng rng = {which + 1};
    int pass;
    test_fill_normal(&buffer, &rng, 1);
    test_fill_normal(&w, &rng, 1);
    for (size_t i = 0; i < all; i++) {
        slots[i] = slot(&buffer, layout, i, 0);
        alone[i] = test_4d(type, B, H, S, D);
        test_assign(&alone[i], &slots[i]);
    }
    pass = test_status(functions[which].f(alone, &w, alone + n_in, test_on(ATTN_PATH_SCALAR)), ATTN_OK);
    pass &= test_status(functions[which].f(slots, &w, slots + n_in, test_shuffled(path, 3)), ATTN_OK);
    for (size_t i = 0; i < all; i++) pass &= test_same(&slots[i], &alone[i]);
    test_ok(pass && test_guards(), "%s, %s, %s: slots of %s", functions[which].name, attn_dtype_name(type),
            attn_path_name(path), layouts[layout].name);
    slots[all - 1] = slot(&buffer, layout, all - 2, 1);
    if (layouts[layout].stride[3] != 1) slots[all - 1] = slot(&buffer, layout, all - 2, SLOTS);
    test_assign(&before, &buffer);
    pass = test_status(functions[which].f(slots, &w, slots + n_in, test_on(path)), ATTN_ERR_ALIAS);
    test_ok(pass && test_same(&before, &buffer), "%s, %s, %s: slots of %s that meet", functions[which].name,
            attn_dtype_name(type), attn_path_name(path), layouts[layout].name);
    test_release();
}

/* lse as one more column of out; and as the last that out has. */
static void try_lse(attn_dtype type, attn_path path)
{
    const test_shape shape = {type, B, H, H, S, S, D, D};
    test_rng rng = {3};
    attn_desc plain = test_problem(&shape, &rng), d;
    const attn_array joined = test_4d(type, B, H, S, D + 1);
    attn_status status;
    plain.scores = test_absent;
    d = plain;
    for (size_t column = D; column + 1 >= D; column--) {
        d.out = test_part(&joined, 1, 0, D);
        d.lse = test_part(&joined, 1, column, 1);
        d.lse.ndim = 3;
        status = test_forward(&d, test_shuffled(path, 3));
        if (column < D) break;
        test_ok(test_status(test_forward(&plain, test_on(path)), ATTN_OK) && test_status(status, ATTN_OK) &&
                    test_same(&d.out, &plain.out) && test_same(&d.lse, &plain.lse) && test_guards(),
                "%s, %s: forward, lse between the rows of out", attn_dtype_name(type), attn_path_name(path));
    }
    test_ok(test_status(status, ATTN_ERR_ALIAS), "%s, %s: forward, lse in the last column of out",
            attn_dtype_name(type), attn_path_name(path));
    test_release();
}

/* A boolean mask of four keys in the gaps between rows of out, which are one float wide; a byte to either side it
 * meets one. */
static void try_mask(attn_path path)
{
    const test_shape shape = {ATTN_F32, 1, 1, 1, S, 4, D, D};
    test_rng rng = {4};
    attn_desc plain = test_problem(&shape, &rng);
    plain.scores = plain.lse = test_absent;
    plain.mask = test_2d(ATTN_BOOL, S, 4);
    test_fill(&plain.mask, 1);
    for (size_t i = 0; i < S; i++) ref_set(&plain.mask, 0, 0, i, i % 4, 0);
    test_ok(test_status(test_forward(&plain, test_on(path)), ATTN_OK), "%s: forward, a mask", attn_path_name(path));
    for (ptrdiff_t moved = -1; moved <= 1; moved++) {
        const attn_array rows = test_4d(ATTN_F32, 1, 1, S + 1, D + 1);
        attn_desc d = plain;
        attn_status status;
        d.out = test_part(&rows, 1, 0, D);
        d.out.shape[2] = S;
        d.out.data = ref_at(&rows, 0, 0, 0, 1);
        d.mask.data = (unsigned char *)rows.data + moved;
        d.mask.stride[0] = (D + 1) * sizeof(float);
        d.mask.stride[1] = 1;
        if (moved < 0) d.mask.data = (unsigned char *)ref_at(&rows, 0, 0, 1, 0) - 1;
        test_assign(&d.mask, &plain.mask);
        status = test_forward(&d, test_on(path));
        if (moved)
            test_ok(test_status(status, ATTN_ERR_ALIAS), "%s: forward, a mask %td bytes beside the gaps",
                    attn_path_name(path), moved);
        else
            test_ok(test_status(status, ATTN_OK) && test_same(&d.out, &plain.out) && test_same(&d.mask, &plain.mask) &&
                        test_guards(),
                    "%s: forward, a mask in the gaps of out", attn_path_name(path));
    }
    test_release();
}

/* Eight dimensions each, and strides in no relation: the output meets the input nowhere, but only some 10,000 of
 * the ways to add strides up show it. Refused, as the manual says. */
static void try_undecided(void)
{
    static const ptrdiff_t from[ATTN_MAX_DIMS] = {46455, 9657, 61409, 13953, 84990, 18132, 54590, 62352};
    static const ptrdiff_t to[ATTN_MAX_DIMS] = {267, 807, 2507, 7530, 23197, 72230, 224730, 674600};
    static double memory[2500000], workspace[1 << 12];
    const attn_exec run = attn_exec_in(workspace, sizeof workspace);
    attn_array x = attn_array_1d(ATTN_F64, memory, 3), y;
    x.ndim = ATTN_MAX_DIMS;
    for (int axis = 0; axis < x.ndim; axis++) x.shape[axis] = 3;
    y = x;
    y.data = memory + 384675;
    memcpy(x.stride, from, sizeof from);
    memcpy(y.stride, to, sizeof to);
    test_ok(test_status(attn_softmax(&x, -1, &y, &run), ATTN_ERR_ALIAS), "what a short search leaves open is refused");
}

int main(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    try_random(0);
    try_random(1);
    for (size_t p = 0; p < num_paths; p++) {
        try_mask(paths[p]);
        for (size_t t = 0; t < 2; t++) {
            for (size_t i = 0; i < FUNCTIONS; i++)
                for (int layout = 0; layout < LAYOUTS; layout++) try_slots(i, layout, test_types[t], paths[p]);
            try_lse(test_types[t], paths[p]);
        }
    }
    try_undecided();
    return test_done();
}
