/* SPDX-License-Identifier: MIT-0
 *
 * What Eva cannot follow in attn__check, as it would have to know how a quotient limits a product: run for all arrays
 * of up to three dimensions whose shape and strides are numbers of two lists, where sums and products begin not to fit.
 * What is taken, and the bytes that it touches, are those of exact arithmetic. And attn__nodes: any part of 4096 keys,
 * and parts that begin and end near powers of two.
 */
#include "proof.h"

#include <string.h>

typedef unsigned __int128 wide;

#define LIMIT (SIZE_MAX / 2)

static const size_t shapes[] = {0,        1,           2,           3,         16777216,  128,
                                16383,    16384,       LIMIT / 2,   LIMIT / 8, LIMIT / 3, LIMIT - 1,
                                SIZE_MAX, 4294967295u, 4294967296u, LIMIT + 1};
static const size_t strides[] = {0, 1, 2, 3, 4294967296u, LIMIT / 3, LIMIT / 4, LIMIT / 8, LIMIT / 8 + 1, LIMIT};

enum { SHAPES = sizeof shapes / sizeof *shapes, STRIDES = sizeof strides / sizeof *strides };

/* min(a * b, 2^100): no sum of some of these wraps around */
static wide times(wide a, wide b)
{
    const wide most = (wide)1 << 100;
    return b && a > most / b ? most : a * b;
}

static void prove_array(const attn_array *a)
{
    const wide size = attn_dtype_size(a->dtype);
    const size_t address = (size_t)1 << 62;
    wide count = 1, below = 0, above = size;
    attn__view v;
    int strided = 0, empty = 0, fits;
    attn_status status;
    for (int i = 0; i < a->ndim; i++) {
        const size_t n = i == a->ndim - 1 ? attn__stored(a->dtype, a->shape[i]) : a->shape[i];
        const wide distance = a->stride[i] < 0 ? -(wide)a->stride[i] : (wide)a->stride[i];
        strided |= a->stride[i] != 0;
        empty |= n == 0;
        count = times(count, n);
        if (n > 1) *(a->stride[i] < 0 ? &below : &above) += times(times(n - 1, distance), size);
    }
    if (!strided) above = times(count, size);
    status = attn__check(a, 1, 3, ~0u, ATTN__INPUT, 0, &v);
    fits = below <= LIMIT && above <= LIMIT && below + above <= LIMIT;
    if (empty) PROVE(status || (v.low == 0 && v.high == 0), "no bytes");
    else {
        PROVE((status == ATTN_OK) == fits, "taken if its bytes can be counted");
        if (!status)
            PROVE(v.low == address - (size_t)below && v.high == address + (size_t)above, "the bytes it touches");
    }
}

static void prove_arrays(attn_dtype dtype, int ndim, int axis, attn_array *a)
{
    if (axis == ndim) {
        prove_array(a);
        return;
    }
    for (int i = 0; i < SHAPES; i++)
        for (int j = 0; j < STRIDES; j++)
            for (int sign = 0; sign < 2; sign++) {
                a->shape[axis] = shapes[i] * (axis == ndim - 1 && dtype == ATTN_Q8_0 ? ATTN__Q8_BLOCK : 1);
                a->stride[axis] = (ptrdiff_t)(sign ? 0 - strides[j] - (j == STRIDES - 1) : strides[j]);
                prove_arrays(dtype, ndim, axis + 1, a);
            }
}

/* The nodes of [begin, end): of whole blocks that a node of the tree holds, or within one; one after the other. */
static void prove_nodes(size_t begin, size_t end)
{
    attn__range nodes[ATTN__NODES];
    const size_t n = attn__nodes(begin, end, nodes);
    size_t at = begin;
    PROVE(n <= ATTN__NODES, "room for the nodes");
    for (size_t i = 0; i < n; i++) {
        const size_t size = nodes[i].hi - nodes[i].lo;
        PROVE(nodes[i].lo == at && nodes[i].hi > at, "one after the other");
        at = nodes[i].hi;
        if (size > ATTN__BLOCK) PROVE((size & (size - 1)) == 0 && nodes[i].lo % size == 0, "a subtree");
        else PROVE(nodes[i].lo / ATTN__BLOCK == (at - 1) / ATTN__BLOCK, "of one block");
    }
    PROVE(at == end || begin >= end, "all keys");
}

int main(void)
{
    static const attn_dtype dtypes[] = {ATTN_I8, ATTN_F16, ATTN_F32, ATTN_F64, ATTN_Q8_0, ATTN_BIT};
    size_t near[64 * 3], count = 0;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        for (int ndim = 1; ndim <= 3; ndim++) {
            attn_array a;
            if (ndim == 3 && dtypes[i] != ATTN_F32) continue;
            memset(&a, 0, sizeof a);
            a.data = (void *)((uintptr_t)1 << 62);
            a.dtype = dtypes[i];
            a.ndim = ndim;
            prove_arrays(dtypes[i], ndim, 0, &a);
        }
    for (size_t begin = 0; begin <= 4096; begin++)
        for (size_t end = begin; end <= 4096; end++) prove_nodes(begin, end);
    for (int bit = 0; bit < 63; bit++)
        for (size_t by = 0; by < 3; by++) near[count++] = ((size_t)1 << bit) + by - 1;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            const size_t begin = near[i] <= near[j] ? near[i] : near[j];
            prove_nodes(begin, near[i] <= near[j] ? near[j] : near[i]);
            prove_nodes(begin, LIMIT - begin > begin ? LIMIT - begin : begin);
            if (near[j] <= LIMIT - near[i]) prove_nodes(begin, near[i] + near[j]);
        }
    return 0;
}
