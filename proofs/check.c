/* SPDX-License-Identifier: MIT-0
 *
 * attn__check: any array of one to eight dimensions, any numbers in it, also in place of its pointer, its type and the
 * number of its dimensions. Nothing overflows that is signed, nothing outside of it is read; and a
 * ptrdiff_t can count the bytes of one that is taken without strides; of those with strides, see reach.c.
 */
#include "proof.h"

#include <limits.h>

#define LIMIT (SIZE_MAX / 2)

static void prove_any(int ndim, int least, int most, int dtype, int output, int measuring)
{
    attn_array a;
    attn__view v;
    attn_status status;
    for (int i = 0; i < ATTN_MAX_DIMS; i++) {
        a.shape[i] = any_size;
        a.stride[i] = any_ptrdiff;
    }
    a.ndim = ndim;
    a.dtype = (attn_dtype)dtype;
    a.data = (void *)(uintptr_t)any_size;
    status = attn__check(&a, least, most, (unsigned)any_int, output, measuring, &v);
    if (status != ATTN_OK) return;
    PROVE(ndim >= least && ndim <= most, "as many dimensions as are allowed");
    PROVE((unsigned)dtype < ATTN_DTYPE_COUNT, "a type that there is");
    PROVE(v.size == (ptrdiff_t)attn_dtype_size(a.dtype), "the bytes of an element");
}

/* Without strides: dimension `large`, if there is one, is of so many bits that they are looked at; the others are small
 * where none is. */
static void prove_dense(int ndim, int dtype, int large)
{
    const size_t edge = (size_t)1 << (ndim > 4 ? 7 : 14), address = (size_t)1 << 62;
    attn_array a;
    attn__view v;
    for (int i = 0; i < ATTN_MAX_DIMS; i++) {
        size_t least = edge; /* of what is stored so */
        if (i == ndim - 1 && dtype == ATTN_Q8_0) least = edge * ATTN__Q8_BLOCK;
        if (i == ndim - 1 && dtype == ATTN_BIT) least = edge * 8;
        a.shape[i] = any_size;
        a.stride[i] = 0;
        if (large < 0) ASSUME(a.shape[i] < least);
        if (large == i) ASSUME(a.shape[i] >= least);
    }
    a.ndim = ndim;
    a.dtype = (attn_dtype)dtype;
    a.data = (void *)(uintptr_t)address;
    if (attn__check(&a, 1, ATTN_MAX_DIMS, ~0u, ATTN__INPUT, 0, &v) != ATTN_OK) return;
    PROVE((v.low == 0 && v.high == 0) || (v.low == address && v.high - v.low <= LIMIT), "bytes that can be counted");
}

int main(void)
{
    for (int ndim = 1; ndim <= ATTN_MAX_DIMS; ndim++) {
        for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
            for (int large = -1; large < ndim; large++) prove_dense(ndim, dtype, large);
        for (int flags = 0; flags < 4; flags++) {
            const int output = flags & 1, measuring = flags >> 1;
            for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
                prove_any(ndim, 1, ATTN_MAX_DIMS, dtype, output, measuring);
            prove_any(ndim, ndim, ndim, Frama_C_interval(ATTN_DTYPE_COUNT, INT_MAX), output, measuring);
            prove_any(ndim, ndim, ndim, Frama_C_interval(INT_MIN, -1), output, measuring);
            prove_any(Frama_C_interval(INT_MIN, ndim - 1), ndim, ATTN_MAX_DIMS, any_int, output, measuring);
            prove_any(Frama_C_interval(ndim + 1, INT_MAX), 1, ndim, any_int, output, measuring);
        }
    }
    return 0;
}
