/* SPDX-License-Identifier: MIT-0
 *
 * The layout of an array changes no bit of a result, and gaps between the elements of an output
 * are not written.
 */
#include "check/harness.h"

#include <stdint.h>

typedef struct layout {
    const char *name;
    int order[4];        /* axes from the outermost to the innermost */
    size_t element_step; /* distance of elements along the innermost axis */
    size_t padding;      /* unused elements after each run of the innermost axis */
    unsigned reversed;   /* bit per axis */
    size_t shift;        /* elements past an aligned address */
} layout;

static const layout layouts[] = {
    {"misaligned", {0, 1, 2, 3}, 1, 0, 0, 1},
    {"padded rows", {0, 1, 2, 3}, 1, 5, 0, 3},
    {"(B, S, H, D)", {0, 2, 1, 3}, 1, 0, 0, 0},
    {"(S, B, H, D)", {2, 0, 1, 3}, 1, 1, 0, 0},
    {"(B, H, D, S)", {0, 1, 3, 2}, 1, 0, 0, 0},
    {"every third element", {0, 1, 2, 3}, 3, 2, 0, 1},
    {"sequence reversed", {0, 1, 2, 3}, 1, 0, 4, 0},
    {"elements reversed", {0, 1, 2, 3}, 1, 3, 8, 0},
    {"all reversed and permuted", {3, 2, 1, 0}, 2, 1, 15, 2},
};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

typedef struct storage {
    attn_array view;
    const unsigned char *memory;
    size_t bytes;
} storage;

/* A view of new memory with the shape of `a`, which has four dimensions. */
static storage laid_out(const attn_array *a, const layout *l)
{
    const size_t size = attn_dtype_size(a->dtype);
    storage s;
    size_t extent = 1;
    ptrdiff_t origin = 0;
    s.view = *a;
    for (int k = 3; k >= 0; k--) {
        const int axis = l->order[k];
        s.view.stride[axis] = (ptrdiff_t)(k == 3 ? l->element_step : extent);
        extent = (size_t)s.view.stride[axis] * a->shape[axis] + (k == 3 ? l->padding : 0);
        if (l->reversed >> axis & 1) {
            origin += (ptrdiff_t)(a->shape[axis] - 1) * s.view.stride[axis];
            s.view.stride[axis] = -s.view.stride[axis];
        }
    }
    s.bytes = extent * size;
    s.memory = test_memory(s.bytes, l->shift * size);
    s.view.data = (void *)(uintptr_t)(s.memory + (size_t)origin * size);
    return s;
}

/* As many elements as there are gaps still hold the pattern of fresh memory. */
static int gaps_intact(const storage *s)
{
    const size_t size = attn_dtype_size(s->view.dtype);
    size_t fresh = 0, elements = 1;
    for (size_t i = 0; i < s->bytes; i += size) {
        int all = 1;
        for (size_t b = 0; b < size; b++) all &= s->memory[i + b] == 0xff;
        fresh += (size_t)all;
    }
    for (int axis = 0; axis < 4; axis++) elements *= s->view.shape[axis];
    if (fresh != s->bytes / size - elements)
        test_note("%zu elements are as before, %zu should be", fresh, s->bytes / size - elements);
    return fresh == s->bytes / size - elements;
}

static void arrays_of(attn_desc *desc, attn_array *arrays[5])
{
    arrays[0] = &desc->q;
    arrays[1] = &desc->k;
    arrays[2] = &desc->v;
    arrays[3] = &desc->out;
    arrays[4] = &desc->scores;
}

/* which: bits for q, k, v, out, scores */
static void try_layout(const attn_desc *plain, const layout *l, unsigned which, const char *name, attn_path path)
{
    attn_desc desc = *plain;
    attn_array *arrays[5];
    storage stored[5];
    int pass;
    arrays_of(&desc, arrays);
    for (int a = 0; a < 5; a++) {
        const layout contiguous = {"contiguous", {0, 1, 2, 3}, 1, 0, 0, 0};
        stored[a] = laid_out(arrays[a], which >> a & 1 ? l : &contiguous);
        if (a < 3) test_assign(&stored[a].view, arrays[a]);
        *arrays[a] = stored[a].view;
    }
    pass = test_status(test_forward(&desc, test_on(path)), ATTN_OK);
    pass = pass && test_same(&desc.out, &plain->out) && test_same(&desc.scores, &plain->scores);
    pass &= gaps_intact(&stored[3]) && gaps_intact(&stored[4]) && test_guards();
    test_ok(pass, "%s, %s: %s %s", attn_dtype_name(desc.q.dtype), attn_path_name(path), name, l->name);
}

/* q, k and v as they come out of one projection: (B, S, q heads + 2 kv heads, D). */
static void try_packed_qkv(const attn_desc *plain, attn_path path)
{
    const size_t b = plain->q.shape[0], h = plain->q.shape[1], hkv = plain->k.shape[1], s = plain->q.shape[2],
                 d = plain->q.shape[3];
    attn_array packed = test_4d(plain->q.dtype, b, s, h + 2 * hkv, d), all = attn_array_swap(packed, 1, 2);
    attn_desc desc = *plain;
    const size_t starts[3] = {0, h, h + hkv}, counts[3] = {h, hkv, hkv};
    attn_array *parts[3];
    parts[0] = &desc.q;
    parts[1] = &desc.k;
    parts[2] = &desc.v;
    for (int a = 0; a < 3; a++) {
        const attn_array from = *parts[a];
        *parts[a] = all;
        parts[a]->shape[1] = counts[a];
        parts[a]->data = ref_at(&all, 0, starts[a], 0, 0);
        test_assign(parts[a], &from);
    }
    desc.out = test_copy(&plain->out);
    desc.scores = test_copy(&plain->scores);
    test_poison(&desc.out);
    test_poison(&desc.scores);
    test_ok(test_status(test_forward(&desc, test_on(path)), ATTN_OK) && test_same(&desc.out, &plain->out) &&
                test_same(&desc.scores, &plain->scores),
            "%s, %s: packed q, k and v", attn_dtype_name(desc.q.dtype), attn_path_name(path));
}

/* Stride 0 along an axis of the inputs: the same data for all batches, heads or rows, or the
 * same element throughout a row. */
static void try_broadcast(const attn_desc *plain, attn_path path)
{
    static const char *const names[4] = {"batches", "heads", "rows", "elements"};
    for (int axis = 0; axis < 4; axis++) {
        attn_desc shared = *plain, copied = *plain;
        attn_array *views[3], *copies[3];
        views[0] = &shared.q, copies[0] = &copied.q;
        views[1] = &shared.k, copies[1] = &copied.k;
        views[2] = &shared.v, copies[2] = &copied.v;
        for (int a = 0; a < 3; a++) {
            ptrdiff_t step = 1;
            for (int k = 3; k >= 0; k--) {
                views[a]->stride[k] = k == axis ? 0 : step;
                step *= (ptrdiff_t)views[a]->shape[k];
            }
            *copies[a] = test_copy(views[a]);
        }
        shared.out = test_copy(&plain->out);
        copied.out = test_copy(&plain->out);
        test_poison(&shared.out);
        test_poison(&copied.out);
        test_ok(test_status(test_forward(&shared, test_on(path)), ATTN_OK) &&
                    test_status(test_forward(&copied, test_on(path)), ATTN_OK) && test_same(&shared.out, &copied.out),
                "%s, %s: the same for all %s", attn_dtype_name(plain->q.dtype), attn_path_name(path), names[axis]);
    }
}

/* 2-D and 3-D arrays are the 4-D ones without their leading dimensions. */
static void try_ranks(const attn_desc *plain, attn_path path)
{
    for (int rank = 2; rank <= 3; rank++) {
        attn_desc desc = *plain;
        attn_array *arrays[5], want = plain->out;
        arrays[0] = &desc.q;
        arrays[1] = &desc.k;
        arrays[2] = &desc.v;
        arrays[3] = &desc.out;
        arrays[4] = &desc.scores;
        desc.lse = test_absent;
        want.shape[0] = 1;
        desc.out = test_copy(&plain->out);
        desc.scores = test_copy(&plain->scores);
        test_poison(&desc.out);
        for (int a = 0; a < 5; a++) {
            attn_array r = *arrays[a];
            r.ndim = rank;
            for (int axis = 0; axis < rank; axis++) r.shape[axis] = arrays[a]->shape[axis + 4 - rank];
            *arrays[a] = r;
        }
        if (rank == 2) want.shape[1] = 1;
        test_ok(test_status(test_forward(&desc, test_on(path)), ATTN_OK) && test_same(&desc.out, &want),
                "%s, %s: %d-D arrays", attn_dtype_name(desc.q.dtype), attn_path_name(path), rank);
    }
}

/* An axis of length 1 may have any stride. */
static void try_one_element(attn_dtype type, attn_path path)
{
    const test_shape shape = {type, 1, 1, 1, 5, 7, 6, 3};
    test_rng rng = {4};
    const attn_desc plain = test_problem(&shape, &rng);
    attn_desc desc = test_again(&plain);
    attn_array *arrays[5];
    arrays_of(&desc, arrays);
    for (int a = 0; a < 5; a++) {
        arrays[a]->stride[0] = PTRDIFF_MIN;
        arrays[a]->stride[1] = PTRDIFF_MAX;
        arrays[a]->stride[2] = (ptrdiff_t)arrays[a]->shape[3];
        arrays[a]->stride[3] = 1;
    }
    test_ok(test_status(test_forward(&plain, test_on(path)), ATTN_OK) &&
                test_status(test_forward(&desc, test_on(path)), ATTN_OK) && test_same(&desc.out, &plain.out) &&
                test_same(&desc.scores, &plain.scores) && test_release(),
            "%s, %s: strides of one batch and one head", attn_dtype_name(type), attn_path_name(path));
}

static void try_type(attn_dtype type, attn_path path)
{
    const test_shape shape = {type, 2, 4, 2, 19, 37, 21, 21};
    test_rng rng = {1};
    attn_desc plain = test_problem(&shape, &rng);
    if (!test_ok(test_status(test_forward(&plain, test_on(path)), ATTN_OK), "%s, %s: contiguous", attn_dtype_name(type),
                 attn_path_name(path)))
        return;
    for (size_t l = 0; l < LAYOUTS; l++) {
        static const char *const names[5] = {"q", "k", "v", "out", "weights"};
        for (unsigned a = 0; a < 5; a++) try_layout(&plain, &layouts[l], 1u << a, names[a], path);
        try_layout(&plain, &layouts[l], 31, "everything", path);
    }
    try_broadcast(&plain, path);
    try_ranks(&plain, path);
    test_ok(test_release(), "%s, %s: guards", attn_dtype_name(type), attn_path_name(path));
}

static void try_halves(attn_dtype type, attn_path path)
{
    const test_shape shape = {type, 2, 4, 2, 19, 37, 21, 21};
    test_rng rng = {3};
    const attn_desc plain = test_problem(&shape, &rng);
    try_broadcast(&plain, path);
    test_ok(test_release(), "%s, %s: guards", attn_dtype_name(type), attn_path_name(path));
}

/* As many queries as keys, which packing needs. */
static void try_packing(attn_dtype type, attn_path path)
{
    const test_shape shape = {type, 2, 4, 2, 37, 37, 21, 21};
    test_rng rng = {2};
    attn_desc plain = test_problem(&shape, &rng);
    if (test_status(test_forward(&plain, test_on(path)), ATTN_OK)) try_packed_qkv(&plain, path);
    test_release();
}

/* A problem small and plain but for the distance of elements, one array after the other. */
static void try_small(attn_dtype type, attn_path path)
{
    const test_shape shape = {type, 1, 2, 2, 5, 6, 8, 8};
    test_rng rng = {4};
    attn_desc plain = test_problem(&shape, &rng);
    int same = 1;
    plain.lse = plain.scores = test_absent;
    same &= test_status(test_forward(&plain, test_on(path)), ATTN_OK);
    for (int i = 0; i < 4; i++) {
        attn_desc d = test_again(&plain);
        attn_array *const a = i == 0 ? &d.q : i == 1 ? &d.k : i == 2 ? &d.v : &d.out;
        attn_array wide = test_4d(type, a->shape[0], a->shape[1], a->shape[2], 2 * a->shape[3]);
        test_fill(&wide, 3); /* NaN would have the row done again, the general way */
        for (int axis = 0; axis < 4; axis++) {
            size_t stride = axis == 3 ? 2 : 1;
            for (int inner = axis + 1; inner < 4; inner++) stride *= wide.shape[inner];
            wide.stride[axis] = (ptrdiff_t)stride;
        }
        wide.shape[3] = a->shape[3];
        if (i < 3) test_assign(&wide, a);
        *a = wide;
        same &= test_status(test_forward(&d, test_on(path)), ATTN_OK) && test_same(&d.out, &plain.out);
    }
    test_ok(same, "%s, %s: a small problem with elements two apart", attn_dtype_name(type), attn_path_name(path));
    {
        attn_desc d = test_again(&plain);
        const size_t row = plain.v.shape[3], rows = plain.v.shape[2];
        d.v = test_4d(type, 1, 2, rows, row);
        d.v.data = ref_at(&d.v, 0, 0, rows - 1, 0);
        d.v.stride[0] = (ptrdiff_t)(2 * rows * row), d.v.stride[1] = (ptrdiff_t)(rows * row);
        d.v.stride[2] = -(ptrdiff_t)row, d.v.stride[3] = 1;
        test_assign(&d.v, &plain.v);
        same = test_status(test_forward(&d, test_on(path)), ATTN_OK) && test_same(&d.out, &plain.out);
    }
    test_ok(same, "%s, %s: a small problem whose rows of values go backwards", attn_dtype_name(type),
            attn_path_name(path));
    test_release();
}

/* One element repeated along an axis, next to an axis of length 1, and the same transposed. */
static void try_turned(void)
{
    const float one = 2.5f;
    attn_array row = attn_array_2d(ATTN_F32, &one, 1, 3), column, from = test_2d(ATTN_F32, 1, 2),
               to = test_2d(ATTN_F32, 3, 2);
    row.stride[0] = 5; /* the other is 0 */
    column = attn_array_swap(row, 0, 1);
    ((float *)from.data)[0] = 3;
    ((float *)from.data)[1] = -7;
    test_ok(column.shape[0] == 3 && column.stride[0] == 0 && column.stride[1] != 0, "a repeated element, turned");
    test_status(test_matmul(&column, &from, &to, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t i = 0; i < 3; i++) {
        const float *product = (const float *)to.data + 2 * i;
        test_ok(product[0] <= 7.5f && product[0] >= 7.5f && product[1] <= -17.5f && product[1] >= -17.5f,
                "a repeated element, turned: row %zu of a product", i);
    }
    test_release();
}

int main(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t p = 0; p < num_paths; p++) {
        try_halves(ATTN_F16, paths[p]);
        try_halves(ATTN_BF16, paths[p]);
    }
    for (size_t t = 0; t < 2; t++)
        for (size_t p = 0; p < num_paths; p++) {
            try_type(test_types[t], paths[p]);
            try_packing(test_types[t], paths[p]);
            try_one_element(test_types[t], paths[p]);
            try_small(test_types[t], paths[p]);
        }
    try_turned();
    return test_done();
}
