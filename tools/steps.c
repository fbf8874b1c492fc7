/* SPDX-License-Identifier: MIT-0
 *
 * steps.c - attn softmax and attn matmul: single steps of attention.
 */
#include "npy.h"
#include "tool.h"

const char softmax_help[] =
    "attn softmax - softmax along an axis\n"
    "\n"
    "  attn softmax --in X.npy -o Y.npy [options]\n"
    "\n"
    "  --axis A         the axis (default: -1); negative axes count from the end\n"
    "  --dtype f32|f64  convert to this type (default: f64 for float64 input, else f32)\n" RUN_HELP;

const char matmul_help[] = "attn matmul - C = A B\n"
                           "\n"
                           "  attn matmul --a A.npy --b B.npy -o C.npy [options]\n"
                           "\n"
                           "A is (..., m, k), B is (..., k, n), C is (..., m, n); leading dimensions\n"
                           "broadcast as in NumPy.\n"
                           "\n"
                           "  --dtype f32|f64  convert to this type (default: f64 if A or B is float64,\n"
                           "                   else f32)\n" RUN_HELP;

/* -------------------------------------------------------------- softmax -- */

typedef struct softmax_arguments {
    attn_array x, y;
    int axis;
} softmax_arguments;

static attn_status compute_softmax(const void *arguments, const attn_exec *exec)
{
    const softmax_arguments *s = (const softmax_arguments *)arguments;
    return attn_softmax(&s->x, s->axis, &s->y, exec);
}

static int softmax(const char *in, const char *out, const char *axis_text, const run_options *o)
{
    tensor x, y;
    const tensor *const inputs[1] = {&x};
    tensor *const outputs[1] = {&y};
    softmax_arguments s;
    attn_dtype dtype;
    int64_t axis = -1;
    char shape[NPY_SHAPE_SIZE];
    if (!option_integer("--axis", axis_text, -ATTN_MAX_DIMS, ATTN_MAX_DIMS - 1, &axis)) return 0;
    if (!tensor_load(&x, in) || !tensor_is_float(&x)) return 0;
    if (axis < -x.array.ndim || axis >= x.array.ndim) {
        npy_shape_text(&x.array, shape);
        return fail("%s: axis %d is out of range for shape %s", in, (int)axis, shape);
    }
    if (!run_dtype(o, 0, inputs, 1, &dtype) || !tensor_convert(&x, dtype) ||
        !tensor_new(&y, out, dtype, x.array.ndim, x.array.shape))
        return 0;
    s.x = x.array;
    s.y = y.array;
    s.axis = (int)axis;
    return run(o, in, compute_softmax, &s) && tensors_save(outputs, 1, NULL);
}

int softmax_command(int argc, char **argv)
{
    const char *in = NULL, *out = NULL, *axis = NULL;
    run_options o = {NULL, NULL, NULL};
    const option options[] = {{"--in", &in}, {"-o", &out}, {"--axis", &axis}, RUN_OPTIONS(o)};
    return options_read(argc, argv, options, sizeof options / sizeof options[0], NULL) &&
           option_required("softmax", "--in", in) && option_required("softmax", "-o", out) &&
           softmax(in, out, axis, &o);
}

/* --------------------------------------------------------------- matmul -- */

static attn_status compute_matmul(const void *arguments, const attn_exec *exec)
{
    const attn_array *m = (const attn_array *)arguments;
    return attn_matmul(&m[0], &m[1], &m[2], exec);
}

/* The same array with leading dimensions of 1. */
static attn_array with_rank(const attn_array *a, int ndim)
{
    attn_array b = *a;
    int i;
    b.ndim = ndim;
    for (i = 0; i < ndim; i++) {
        const int from = i - (ndim - a->ndim);
        b.shape[i] = from < 0 ? 1 : a->shape[from];
        b.stride[i] = from < 0 ? 1 : a->stride[from];
    }
    return b;
}

static int matmul(const char *a_file, const char *b_file, const char *out, const run_options *o)
{
    tensor a, b, c;
    const tensor *const inputs[2] = {&a, &b};
    tensor *const outputs[1] = {&c};
    attn_array m[3];
    attn_dtype dtype;
    size_t shape[ATTN_MAX_DIMS];
    int i, ndim;
    if (!tensor_load(&a, a_file) || !tensor_load(&b, b_file) || !tensor_is_float(&a) || !tensor_is_float(&b) ||
        !tensor_rank(&a, 2, ATTN_MAX_DIMS, "(..., m, k)") || !tensor_rank(&b, 2, ATTN_MAX_DIMS, "(..., k, n)") ||
        !tensor_same(&b, -2, &a, -1, "the inner dimension") || !run_dtype(o, 0, inputs, 2, &dtype) ||
        !tensor_convert(&a, dtype) || !tensor_convert(&b, dtype))
        return 0;
    ndim = a.array.ndim > b.array.ndim ? a.array.ndim : b.array.ndim;
    m[0] = with_rank(&a.array, ndim);
    m[1] = with_rank(&b.array, ndim);
    for (i = 0; i < ndim - 2; i++) {
        const size_t n = m[0].shape[i], other = m[1].shape[i];
        if (n != other && n != 1 && other != 1)
            return fail("%s: a leading dimension of %zu does not broadcast with %zu in %s", b_file, other, n, a_file);
        shape[i] = n == 1 ? other : n;
    }
    shape[ndim - 2] = m[0].shape[ndim - 2];
    shape[ndim - 1] = m[1].shape[ndim - 1];
    if (!tensor_new(&c, out, dtype, ndim, shape)) return 0;
    m[2] = c.array;
    return run(o, "matmul", compute_matmul, m) && tensors_save(outputs, 1, NULL);
}

int matmul_command(int argc, char **argv)
{
    const char *a = NULL, *b = NULL, *out = NULL;
    run_options o = {NULL, NULL, NULL};
    const option options[] = {{"--a", &a}, {"--b", &b}, {"-o", &out}, RUN_OPTIONS(o)};
    return options_read(argc, argv, options, sizeof options / sizeof options[0], NULL) &&
           option_required("matmul", "--a", a) && option_required("matmul", "--b", b) &&
           option_required("matmul", "-o", out) && matmul(a, b, out, &o);
}
