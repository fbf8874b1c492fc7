/* SPDX-License-Identifier: MIT-0
 *
 * arrays.c - arrays: reading and writing .npy files, conversion to other float types.
 */
#include "npy.h"
#include "tool.h"

#include "check/progress.h"

#include <math.h>
#include <string.h>

/* ----------------------------------------------------------- conversion -- */

/* A 16-bit float type: a sign, then an exponent, then precision - 1 bits. */
typedef struct half_type {
    int precision;
    int min_exponent; /* of normal numbers */
    unsigned infinity;
} half_type;

static const half_type f16 = {11, -14, 0x7c00}, bf16 = {8, -126, 0x7f80};

static double half_value(const half_type *h, unsigned bits)
{
    const unsigned magnitude = bits & 0x7fff, hidden = 1u << (h->precision - 1);
    const int exponent = (int)(magnitude >> (h->precision - 1));
    const unsigned fraction = magnitude & (hidden - 1);
    double value;
    if (magnitude > h->infinity) return nan("");
    if (magnitude == h->infinity) value = HUGE_VAL;
    else if (exponent == 0) value = ldexp(fraction, h->min_exponent - h->precision + 1);
    else value = ldexp(fraction + hidden, exponent - 1 + h->min_exponent - h->precision + 1);
    return bits & 0x8000 ? -value : value;
}

/* Rounds to nearest even. A carry out of the fraction increments the exponent, as it should. */
static unsigned half_bits(const half_type *h, double value)
{
    const unsigned sign = copysign(1, value) < 0 ? 0x8000 : 0;
    const double magnitude = fabs(value);
    int exponent;
    if (value != value) return sign | h->infinity | 1u << (h->precision - 2);
    frexp(magnitude, &exponent);
    exponent--;
    if (magnitude == HUGE_VAL || exponent > 1 - h->min_exponent) return sign | h->infinity;
    if (magnitude == 0 || exponent < h->min_exponent) exponent = h->min_exponent;
    return sign | (((unsigned)(exponent - h->min_exponent) << (h->precision - 1)) +
                   (unsigned)rint(ldexp(magnitude, h->precision - 1 - exponent)));
}

static double value_at(const attn_array *a, ptrdiff_t at)
{
    switch (a->dtype) {
    case ATTN_F32: return (double)((const float *)a->data)[at];
    case ATTN_F16: return half_value(&f16, ((const uint16_t *)a->data)[at]);
    case ATTN_BF16: return half_value(&bf16, ((const uint16_t *)a->data)[at]);
    default: return ((const double *)a->data)[at];
    }
}

static void set_value(const attn_array *a, size_t at, double value)
{
    switch (a->dtype) {
    case ATTN_F32: ((float *)a->data)[at] = (float)value; break;
    case ATTN_F16: ((uint16_t *)a->data)[at] = (uint16_t)half_bits(&f16, value); break;
    case ATTN_BF16: ((uint16_t *)a->data)[at] = (uint16_t)half_bits(&bf16, value); break;
    default: ((double *)a->data)[at] = value; break;
    }
}

/* Half an ulp above the largest finite number: from here on, values round to infinity. */
static double overflow_limit(attn_dtype dtype)
{
    switch (dtype) {
    case ATTN_F32: return 0x1.ffffffp+127;
    case ATTN_F16: return 65520;
    case ATTN_BF16: return 0x1.ffp+127;
    default: return HUGE_VAL;
    }
}

static size_t element_count(const attn_array *a)
{
    size_t count = 1;
    int i;
    for (i = 0; i < a->ndim; i++) count *= a->shape[i];
    return count;
}

enum { STEP = 65536 }; /* elements that are converted between two looks at the clock */

static void show_step(const tensor *t, size_t i, size_t count)
{
    progress_at("attn: converting", t->file, (double)i, (double)count);
}

/* Moves to the next element in C order; *at is its offset. */
static void next_element(const attn_array *a, size_t index[ATTN_MAX_DIMS], ptrdiff_t *at)
{
    int axis = a->ndim - 1;
    for (; axis >= 0; axis--) {
        *at += a->stride[axis];
        if (++index[axis] < a->shape[axis]) break;
        *at -= a->stride[axis] * (ptrdiff_t)a->shape[axis];
        index[axis] = 0;
    }
}

int tensor_pack(tensor *t, attn_dtype dtype)
{
    const attn_array from = t->array;
    const double limit = overflow_limit(dtype);
    const size_t count = element_count(&from);
    size_t index[ATTN_MAX_DIMS] = {0}, i;
    ptrdiff_t at = 0;
    if (!t->file) return 1;
    if (!tensor_new(t, t->file, dtype, from.ndim, from.shape)) return 0;
    progress_begin();
    for (i = 0; i < count; i++) {
        const double value = value_at(&from, at);
        if (i % STEP == 0) show_step(t, i, count);
        if (fabs(value) >= limit && fabs(value) < HUGE_VAL)
            return fail("%s: %g is too large for element type %s", t->file, value, attn_dtype_name(dtype));
        set_value(&t->array, i, value);
        next_element(&from, index, &at);
    }
    progress_erase();
    return 1;
}

int tensor_convert(tensor *t, attn_dtype dtype) { return t->array.dtype == dtype || tensor_pack(t, dtype); }

static int64_t integer_at(const attn_array *a, ptrdiff_t at)
{
    switch (a->dtype) {
    case ATTN_I8: return ((const int8_t *)a->data)[at];
    case ATTN_U8: return ((const uint8_t *)a->data)[at];
    case ATTN_I32: return ((const int32_t *)a->data)[at];
    default: return ((const int64_t *)a->data)[at];
    }
}

int tensor_truth(tensor *t)
{
    const attn_array from = t->array;
    const size_t count = element_count(&from);
    size_t index[ATTN_MAX_DIMS] = {0}, i, ones = 0;
    ptrdiff_t at = 0;
    if (!t->file ||
        (from.dtype != ATTN_I8 && from.dtype != ATTN_U8 && from.dtype != ATTN_I32 && from.dtype != ATTN_I64))
        return 1;
    if (!tensor_new(t, t->file, ATTN_BOOL, from.ndim, from.shape)) return 0;
    progress_begin();
    for (i = 0; i < count; i++) {
        const int64_t x = integer_at(&from, at);
        if (i % STEP == 0) show_step(t, i, count);
        if (x != 0 && x != 1)
            return fail("%s: has the integer %lld; integers must be 1 (true) or 0. In NumPy: a.astype(bool) if other "
                        "numbers mean true, a.astype('float32') if they are added to scores",
                        t->file, (long long)x);
        ones += x == 1;
        ((unsigned char *)t->array.data)[i] = x == 1;
        next_element(&from, index, &at);
    }
    progress_erase();
    return ones || !count ||
           fail("%s: has only the integer 0, which may mean false or nothing to add. In NumPy: a.astype(bool) or "
                "a.astype('float32')",
                t->file);
}

int tensor_resize(tensor *t, size_t n)
{
    const attn_array from = t->array;
    const int last = from.ndim - 1;
    const size_t count = element_count(&from), size = attn_dtype_size(from.dtype);
    size_t index[ATTN_MAX_DIMS] = {0}, shape[ATTN_MAX_DIMS], i;
    ptrdiff_t at = 0;
    if (!t->file || from.shape[last] == n) return 1;
    memcpy(shape, from.shape, sizeof shape);
    shape[last] = n;
    if (!tensor_new(t, t->file, from.dtype, from.ndim, shape)) return 0;
    memset(t->array.data, 0xff, element_count(&t->array) * size);
    progress_begin();
    for (i = 0; i < count; i++) {
        const size_t row = i / from.shape[last];
        if (i % STEP == 0) show_step(t, i, count);
        if (index[last] < n)
            memcpy((char *)t->array.data + (row * n + index[last]) * size, (char *)from.data + at * (ptrdiff_t)size,
                   size);
        next_element(&from, index, &at);
    }
    progress_erase();
    return 1;
}

/* ---------------------------------------------------------------- files -- */

int tensor_load(tensor *t, const char *file)
{
    unsigned char *bytes;
    size_t length;
    npy_header header;
    char error[NPY_ERROR_SIZE];
    memset(t, 0, sizeof *t);
    if (!file) return 1;
    if (!file_read(file, &bytes, &length)) return 0;
    if (!npy_parse(bytes, length, &header, error, sizeof error)) return fail("%s: %s", file, error);
    t->file = file;
    t->array = npy_take(bytes, &header);
    return 1;
}

int tensor_new(tensor *t, const char *file, attn_dtype dtype, int ndim, const size_t *shape)
{
    const size_t limit = (size_t)PTRDIFF_MAX / attn_dtype_size(dtype);
    size_t step = 1;
    char text[NPY_SHAPE_SIZE];
    int i, empty = 0;
    memset(t, 0, sizeof *t);
    if (!file) return 1;
    t->file = file;
    t->array.dtype = dtype;
    t->array.ndim = ndim;
    memcpy(t->array.shape, shape, (size_t)ndim * sizeof *shape);
    for (i = ndim - 1; i >= 0; i--) {
        t->array.stride[i] = (ptrdiff_t)step;
        if (shape[i] == 0) empty = 1;
        if (shape[i] > 1 && step > limit / shape[i]) {
            npy_shape_text(&t->array, text);
            return fail("%s: an array of shape %s does not fit in memory", file, text);
        }
        if (shape[i] > 1) step *= shape[i];
    }
    t->array.data = reserve(empty ? 0 : step * attn_dtype_size(dtype));
    return t->array.data != NULL;
}

int tensors_save(tensor *const *outputs, size_t count, const pictures *drawn)
{
    file_out *files = (file_out *)reserve((count + 2) * sizeof *files);
    unsigned char(*headers)[NPY_HEADER_SIZE] = (unsigned char(*)[NPY_HEADER_SIZE])reserve(count * sizeof *headers);
    size_t i, used = 0;
    if (!files || !headers) return 0;
    for (i = 0; i < count; i++) {
        const attn_array *a = &outputs[i]->array;
        if (!outputs[i]->file) continue;
        /* NumPy has no bfloat16; float32 holds it exactly. */
        if (a->dtype == ATTN_BF16 && !tensor_convert(outputs[i], ATTN_F32)) return 0;
        files[used].path = outputs[i]->file;
        files[used].head = headers[i];
        files[used].head_size = npy_write_header(a, headers[i]);
        files[used].body = a->data;
        files[used].body_size = element_count(a) * attn_dtype_size(a->dtype);
        used++;
    }
    for (i = 0; drawn && i < drawn->count; i++) files[used++] = drawn->file[i];
    return files_write(files, used);
}

/* --------------------------------------------------------------- checks -- */

int tensor_is_float(const tensor *t)
{
    switch (t->array.dtype) {
    case ATTN_F32:
    case ATTN_F64:
    case ATTN_F16: return 1;
    default:
        return fail("%s: has element type %s, but must have floats (in NumPy: a.astype('float32'))", t->file,
                    attn_dtype_name(t->array.dtype));
    }
}

int tensor_rank(const tensor *t, int low, int high, const char *wanted)
{
    char text[NPY_SHAPE_SIZE];
    if (t->array.ndim >= low && t->array.ndim <= high) return 1;
    npy_shape_text(&t->array, text);
    return fail("%s: has shape %s, but must have shape %s", t->file, text, wanted);
}

int tensor_same(const tensor *t, int a, const tensor *u, int b, const char *meaning)
{
    const size_t n = t->array.shape[a < 0 ? t->array.ndim + a : a];
    const size_t wanted = u->array.shape[b < 0 ? u->array.ndim + b : b];
    char t_text[NPY_SHAPE_SIZE], u_text[NPY_SHAPE_SIZE];
    if (n == wanted) return 1;
    npy_shape_text(&t->array, t_text);
    npy_shape_text(&u->array, u_text);
    return fail("%s: %s is %zu (shape %s), but %zu in %s (shape %s)", t->file, meaning, n, t_text, wanted, u->file,
                u_text);
}
