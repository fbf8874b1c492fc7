/* SPDX-License-Identifier: MIT-0
 *
 * attn__check_pages and attn__key_at, run for up to 3 pages of up to 2 keys in a pool of up to 2, up to 2 queries, each
 * alignment, the first key at 0 or 1, each number of keys, and offsets, windows, columns of a mask and numbers in the
 * table of two lists, with the ends of 64 bits. Nothing outside of the table is read; if the table is taken, every key
 * that a row sees is in the page that it names, and every other one in some page of the pool.
 */
#include "proof.h"

enum { MOST = 2, PAGES = 3, ENTRIES = 5, OFFSETS = 9, WINDOWS = 6, ENDS = 4 };

static const int64_t entries[ENTRIES] = {-INT64_MAX - 1, -1, 0, 1, 2};
static const int64_t offsets[OFFSETS] = {-((int64_t)1 << 62), -3, -2, -1, 0, 1, 2, 3, (int64_t)1 << 62};
static const int64_t windows[WINDOWS] = {-1, 0, 1, 2, 3, INT64_MAX};
static const int64_t ends[ENDS] = {0, 1, 3, INT64_MAX};

static char pool[MOST * MOST];
static int64_t *table; /* of p.pages, in memory of that size */
static attn_desc d;
static attn__problem p;

static attn__view view_of(void *data, attn_dtype dtype, ptrdiff_t size, size_t rows, size_t columns)
{
    attn__view v;
    for (int i = 0; i < ATTN_MAX_DIMS; i++) v.shape[i] = 1, v.stride[i] = 0;
    v.data = (char *)data;
    v.dtype = dtype;
    v.size = size;
    v.low = v.high = 0;
    v.shape[ATTN__S] = rows, v.shape[ATTN__D] = columns;
    v.stride[ATTN__S] = (ptrdiff_t)columns, v.stride[ATTN__D] = 1;
    return v;
}

static void prove_case(size_t len)
{
    attn__rows rows;
    rows.b = rows.kv_head = rows.q_base = rows.k_base = 0;
    rows.q_len = p.q_len;
    rows.keys = p.kv_len;
    rows.kv_total = rows.kv_end = len;
    if (attn__check_pages(&p, &rows) || p.kv_batch == 0) return;
    for (size_t i = 0; i < p.q_len; i++) {
        const attn__range keys = attn__visible(&p, &rows, i, attn__all_keys);
        PROVE(keys.lo >= keys.hi || (keys.lo >= p.kv_begin && keys.hi <= len), "keys that there are");
        for (size_t j = p.kv_begin; j < len; j++) {
            const char *at = attn__key_at(&p, &p.k, &rows, j, 0);
            const size_t page = (j - p.kv_begin) / p.kv_rows, row = (j - p.kv_begin) % p.kv_rows;
            PROVE(at >= pool && at < pool + p.kv_batch * p.kv_rows, "within the pool");
            if (j < keys.lo || j >= keys.hi) continue;
            PROVE(table[page] >= 0 && (uint64_t)table[page] < p.kv_batch, "a page that there is");
            PROVE(at == pool + (size_t)table[page] * p.kv_rows + row, "the key where the table says");
        }
    }
}

/* All that there is to see, of this table. */
static void prove_table(void)
{
    for (int align = 0; align < ATTN_ALIGN_COUNT; align++)
        for (int offset = 0; offset < (align == ATTN_ALIGN_OFFSET ? OFFSETS : 1); offset++)
            for (int left = 0; left < WINDOWS; left++)
                for (int right = 0; right < WINDOWS; right++)
                    for (int end = 0; end < ENDS; end++)
                        for (p.q_len = 0; p.q_len <= MOST; p.q_len++)
                            for (size_t len = 0; len <= p.kv_begin + p.kv_len; len++) {
                                d.align = (attn_align)align;
                                d.q_offset = offsets[offset];
                                p.left = windows[left], p.right = windows[right], p.mask_end = ends[end];
                                prove_case(len);
                            }
}

int main(void)
{
    d.stage = ATTN_STAGE_PROBS;
    p.desc = &d;
    p.has = 1u << ATTN__ARRAY_block_table | 1u << ATTN__ARRAY_kv_lens;
    for (p.pages = 0; p.pages <= PAGES; p.pages++) {
        size_t tables = 1;
        table = (int64_t *)malloc(p.pages ? p.pages * sizeof *table : 1);
        if (!table) return 1;
        for (size_t i = 0; i < p.pages; i++) tables *= ENTRIES;
        p.block_table = view_of(table, ATTN_I64, sizeof *table, 1, p.pages);
        for (p.kv_rows = 1; p.kv_rows <= MOST; p.kv_rows++)
            for (p.kv_batch = 0; p.kv_batch <= MOST; p.kv_batch++)
                for (p.kv_begin = 0; p.kv_begin < 2; p.kv_begin++)
                    for (size_t number = 0; number < tables; number++) {
                        for (size_t i = 0, rest = number; i < p.pages; i++, rest /= ENTRIES)
                            table[i] = entries[rest % ENTRIES];
                        p.kv_len = p.kv_rows * p.pages;
                        p.k = view_of(pool, ATTN_BOOL, 1, p.kv_rows, 1);
                        p.k.stride[ATTN__B] = (ptrdiff_t)p.kv_rows;
                        prove_table();
                    }
        free(table);
    }
    return 0;
}
