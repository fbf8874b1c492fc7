/* SPDX-License-Identifier: MIT-0
 *
 * attn_sdpa_f32 and attn_sdpa_f64: the bits of attn_forward, from plain pointers; what makes no
 * sense is refused, and nothing is written.
 */
#include "check/harness.h"

#include <stdint.h>

static attn_status call(const attn_desc *d, size_t batch, size_t q_heads, size_t kv_heads, size_t q_len, size_t kv_len,
                        size_t dim)
{
    if (d->q.dtype == ATTN_F64)
        return attn_sdpa_f64(d->q.data, d->k.data, d->v.data, d->out.data, batch, q_heads, kv_heads, q_len, kv_len, dim,
                             d->causal);
    return attn_sdpa_f32(d->q.data, d->k.data, d->v.data, d->out.data, batch, q_heads, kv_heads, q_len, kv_len, dim,
                         d->causal);
}

static void try_shape(attn_dtype type, size_t batch, size_t q_heads, size_t kv_heads, size_t q_len, size_t kv_len,
                      size_t dim)
{
    const test_shape shape = {type, batch, q_heads, kv_heads, q_len, kv_len, dim, dim};
    for (int causal = 0; causal < 2; causal++) {
        test_rng rng = {q_len + kv_len};
        attn_desc want = test_problem(&shape, &rng), got;
        int pass;
        want.causal = causal;
        want.align = ATTN_ALIGN_LOWER_RIGHT;
        want.lse = want.scores = test_absent;
        got = test_again(&want);
        pass = test_status(test_forward(&want, test_on(ATTN_PATH_AUTO)), ATTN_OK);
        pass &= test_status(call(&got, batch, q_heads, kv_heads, q_len, kv_len, dim), ATTN_OK);
        test_ok(pass && test_same_outputs(&got, &want) && test_guards(), "%s, (%zu, %zu/%zu, %zu, %zu, %zu)%s",
                attn_dtype_name(type), batch, q_heads, kv_heads, q_len, kv_len, dim, causal ? ", causal" : "");
        test_release();
    }
}

static void try_errors(attn_dtype type)
{
    const test_shape shape = {type, 1, 2, 2, 3, 4, 5, 5};
    test_rng rng = {1};
    const attn_desc d = test_problem(&shape, &rng);
    attn_desc bad = d;
    int pass = test_status(call(&d, 1, 3, 2, 3, 4, 5), ATTN_ERR_HEADS);
    pass &= test_status(call(&d, 1, 2, 2, 3, 4, (size_t)-1), ATTN_ERR_OVERFLOW);
    pass &= test_status(call(&d, (size_t)-1 / 8, 2, 2, 3, 4, 5), ATTN_ERR_OVERFLOW);
    bad.k.data = NULL;
    pass &= test_status(call(&bad, 1, 2, 2, 3, 4, 5), ATTN_ERR_NULL);
    bad = d;
    bad.out.data = d.v.data;
    pass &= test_status(call(&bad, 1, 2, 2, 3, 4, 5), ATTN_ERR_ALIAS);
    bad.out.data = (char *)d.out.data + 1;
    pass &= test_status(call(&bad, 1, 2, 2, 3, 4, 5), ATTN_ERR_ALIGN);
    test_ok(pass && test_untouched(d.out.data, 2 * 3 * 5 * attn_dtype_size(type)), "%s: refused, nothing written",
            attn_dtype_name(type));
    test_release();
}

int main(void)
{
    for (int t = 0; t < 2; t++) {
        const attn_dtype type = test_types[t];
        try_shape(type, 1, 1, 1, 6, 6, 8);
        try_shape(type, 2, 4, 2, 9, 13, 16);
        try_shape(type, 1, 2, 1, 70, 600, 20);
        try_shape(type, 1, 3, 3, 1, 1100, 64);
        try_shape(type, 3, 6, 2, 5, 3, 7); /* fewer keys than queries */
        try_shape(type, 0, 2, 2, 3, 4, 5);
        try_shape(type, 1, 2, 2, 0, 4, 5);
        try_shape(type, 1, 2, 2, 3, 0, 5);
        try_shape(type, 1, 2, 2, 3, 4, 0);
        try_errors(type);
    }
    return test_done();
}
