/* SPDX-License-Identifier: MIT-0
 *
 * attn__check: any array of up to three dimensions, any numbers in it, also in place of its pointer, its types and
 * the number of dimensions. Nothing overflows that is signed, and nothing outside of it is read.
 */
#include "proof.h"

enum { MOST = 3 };

int main(void)
{
    attn_array a;
    attn__view v;
    const int least = 1 + (int)below(MOST), most = least + (int)below(MOST);
    for (int i = 0; i < ATTN_MAX_DIMS; i++) {
        a.shape[i] = nondet_size();
        a.stride[i] = nondet_ptrdiff();
    }
    a.ndim = nondet_int();
    a.dtype = (attn_dtype)nondet_int();
    a.data = (void *)(uintptr_t)nondet_size();
    ASSUME(most <= MOST);
    if (attn__check(&a, least, most, (unsigned)nondet_int(), nondet_int(), nondet_int(), &v)) return 0;
    PROVE(a.ndim >= least && a.ndim <= most, "as many dimensions as are allowed");
    PROVE((unsigned)a.dtype < ATTN_DTYPE_COUNT, "a type that there is");
    PROVE(v.size == (ptrdiff_t)attn_dtype_size(a.dtype), "the bytes of an element");
    return 0;
}
