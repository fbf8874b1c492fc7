/* SPDX-License-Identifier: MIT-0
 *
 * attn__scratch_layout: rows of any length below 2^47, up to 512 rows and keys of a block, 67 slots of the tree, every
 * width of vectors. Here unsigned numbers, too, never wrap around; rows of less than 2^16 always have a layout, and
 * what is given has a size that can be counted. Of a function that wraps around on purpose, only the contract counts.
 */
#include "proof.h"

/*@ assigns \result, *product \from a, b;
    ensures counted: \result == 0 || (\result == 1 && *product == a * b);
    ensures written: \initialized(product); */
static int attn__multiply_size(size_t a, size_t b, size_t *product);

static size_t up_to(size_t n)
{
    const size_t i = any_size;
    ASSUME(i <= n);
    return i;
}

static void prove_case(size_t es, size_t nr, int few, attn_dtype dtype, size_t least, size_t most)
{
    static attn__problem p;
    attn__layout l;
    attn_status status;
    p.dim = up_to(most);
    p.dim_v = up_to(most);
    ASSUME(p.dim >= least);
    p.few = few;
    p.gather = any_int;
    p.v_copied = any_int;
    p.rows = up_to(ATTN__ROWS);
    p.keys = up_to(ATTN__BLOCK);
    p.slot_count = up_to(67); /* levels of 64 bits, one more, and two of a ring */
    p.stored_blocks = up_to(ATTN__STORED_BLOCKS);
    p.chunks = p.dim ? (p.dim + ATTN__BLOCK - 1) / ATTN__BLOCK : 1;
    p.width = attn__round_up(p.dim_v, nr / 2);
    p.q.dtype = dtype;
    p.v.stride[ATTN__S] = any_ptrdiff;
    status = attn__scratch_layout(&p, es, up_to(14), nr, nr > ATTN__CHAIN ? nr : ATTN__CHAIN, &l);
    if (most < 65536) PROVE(status == ATTN_OK && l.size < (size_t)1 << 40, "room for short rows");
    if (status != ATTN_OK) return;
    PROVE(l.size <= SIZE_MAX / 2 + 64, "a size that can be counted");
}

int main(void)
{
    for (size_t es = 4; es <= 8; es += 4)
        for (size_t nr = 2; nr <= ATTN__NR_MAX; nr *= 2)
            for (int flags = 0; flags < 4; flags++) {
                prove_case(es, nr, flags & 1, flags >> 1 ? ATTN_F64 : ATTN_F32, 0, 65535);
                prove_case(es, nr, flags & 1, flags >> 1 ? ATTN_F64 : ATTN_F32, 65536, ((size_t)1 << 47) - 1);
            }
    return 0;
}
