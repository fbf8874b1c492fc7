/* SPDX-License-Identifier: MIT-0
 *
 * attn__reach and attn__count: any array of one to eight dimensions, any strides, elements of 1, 8 and 34
 * bytes. Here unsigned numbers, too, never
 * wrap around; what strides reach in all is less than half of memory. Of two functions that wrap around on purpose,
 * only the contracts count: they are run for what matters in corners.c.
 */
#include "proof.h"

#define LIMIT (SIZE_MAX / 2)

/*@ assigns \result, *product \from a, b;
    ensures counted: \result == 0 || (\result == 1 && *product == a * b);
    ensures written: \initialized(product); */
static int attn__multiply_size(size_t a, size_t b, size_t *product);
/*@ assigns \result \from stride;
    ensures distance: \result <= 0x8000000000000000; */
static size_t attn__distance(ptrdiff_t stride);

/* Bit i of `signs`: the stride of dimension i is negative. */
static void prove_reach(int ndim, attn_dtype dtype, unsigned signs)
{
    attn_array a;
    attn__view v;
    size_t below = 0, above = 0;
    a.ndim = ndim;
    v.size = (ptrdiff_t)attn_dtype_size(dtype);
    for (int i = 0; i < ATTN_MAX_DIMS; i++) {
        a.stride[i] = any_ptrdiff;
        if (signs >> i & 1) ASSUME(a.stride[i] < 0);
        else ASSUME(a.stride[i] >= 0);
        v.shape[i] = any_size;
        ASSUME(v.shape[i] > (ndim > 2)); /* one of 1 is passed over, as if there were fewer */
        v.stride[i] = 0;
    }
    if (attn__reach(&a, &v, &below, &above) != ATTN_OK) return;
    PROVE(below <= LIMIT, "below its pointer");
    PROVE(above <= LIMIT, "above its pointer");
    PROVE(above >= (size_t)v.size, "an element at its pointer");
}

static void prove_count(attn_dtype dtype)
{
    attn__view v;
    size_t count;
    v.size = (ptrdiff_t)attn_dtype_size(dtype);
    for (int i = 0; i < ATTN_MAX_DIMS; i++) v.shape[i] = any_size;
    if (attn__count(&v, &count) == 0) return;
    PROVE(count <= LIMIT / (size_t)v.size, "bytes that can be counted");
}

int main(void)
{
    static const attn_dtype dtypes[] = {ATTN_I8, ATTN_F64, ATTN_Q8_0}; /* 1, 8 and 34 bytes */
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        for (int ndim = 1; ndim <= ATTN_MAX_DIMS; ndim++)
            for (unsigned signs = 0; signs < 1u << ndim; signs++) prove_reach(ndim, dtypes[i], signs);
        prove_count(dtypes[i]);
    }
    return 0;
}
