/* SPDX-License-Identifier: MIT-0
 *
 * attn__check_pages and attn__key_at: up to 3 pages of up to 3 keys in a pool of up to 3, up to 3 queries, any
 * alignment, offset and window, the first key at 0 to 2, any numbers in the table. Nothing outside of the table is
 * read; if the table is taken, every key that a row sees is in the page that it names, and every other one in some page
 * of the pool.
 */
#include "proof.h"

enum { MOST = 3 };

static attn__view view_of(void *data, attn_dtype dtype, ptrdiff_t size, size_t rows, size_t columns)
{
    attn__view v;
    for (int i = 0; i < ATTN_MAX_DIMS; i++) v.shape[i] = 1, v.stride[i] = 0;
    v.data = (char *)data;
    v.dtype = dtype;
    v.size = size;
    v.shape[ATTN__S] = rows, v.shape[ATTN__D] = columns;
    v.stride[ATTN__S] = (ptrdiff_t)columns, v.stride[ATTN__D] = 1;
    return v;
}

int main(void)
{
    static char pool[MOST * MOST];
    int64_t table[MOST];
    attn_desc d;
    attn__problem p;
    attn__rows rows;
    const size_t len = below(MOST * MOST + MOST);
    size_t i, j;
    attn__range keys;
    const char *at;
    d.align = (attn_align)below(ATTN_ALIGN_COUNT);
    d.q_offset = nondet_int64();
    ASSUME(d.q_offset >= -((int64_t)1 << 62) && d.q_offset <= (int64_t)1 << 62);
    d.stage = ATTN_STAGE_PROBS;
    p.desc = &d;
    p.run.exec = NULL;
    p.has = 1u << ATTN__ARRAY_block_table | 1u << ATTN__ARRAY_kv_lens;
    p.left = nondet_int64();
    p.right = nondet_int64();
    p.mask_end = nondet_int64();
    ASSUME(p.left >= -1 && p.right >= -1 && p.mask_end >= 0);
    p.ring = 0;
    p.kv_begin = below(MOST);
    p.q_len = below(MOST + 1);
    p.kv_rows = 1 + below(MOST);
    p.pages = below(MOST + 1);
    p.kv_batch = below(MOST + 1);
    p.kv_len = p.kv_rows * p.pages;
    ASSUME(len <= p.kv_begin + p.kv_len);
    for (i = 0; i < MOST; i++) table[i] = nondet_int64();
    p.block_table = view_of(table + (MOST - p.pages), ATTN_I64, sizeof *table, 1, p.pages); /* ends with its memory */
    rows.b = rows.kv_head = rows.q_base = rows.k_base = 0;
    rows.q_len = p.q_len;
    rows.keys = p.kv_len;
    rows.kv_total = rows.kv_end = len;
    if (attn__check_pages(&p, &rows)) return 0;
    if (len <= p.kv_begin || p.q_len == 0 || p.kv_batch == 0) return 0;

    p.k = view_of(pool, ATTN_BOOL, 1, p.kv_rows, 1);
    p.k.stride[ATTN__B] = (ptrdiff_t)p.kv_rows;
    i = below(p.q_len);
    j = p.kv_begin + below(len - p.kv_begin);
    keys = attn__visible(&p, &rows, i, attn__all_keys);
    at = attn__key_at(&p, &p.k, &rows, j, 0);
    PROVE(at >= pool && at < pool + p.kv_batch * p.kv_rows, "within the pool");
    if (j >= keys.lo && j < keys.hi)
        PROVE(at == pool + table[MOST - p.pages + (j - p.kv_begin) / p.kv_rows] * (int64_t)p.kv_rows +
                        (int64_t)((j - p.kv_begin) % p.kv_rows),
              "the key where the table says");
    return 0;
}
