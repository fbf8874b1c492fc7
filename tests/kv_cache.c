/* SPDX-License-Identifier: MIT-0
 *
 * Key/value caches: appending rounds to nearest even and writes nothing but the new rows;
 * decoding and chunks with a cache give the bits of prefill; pages of any size and order
 * give the bits of contiguous memory, and pages that no query sees change no bit, whatever
 * their numbers; on errors nothing is written.
 */
#include "check/harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const attn_dtype small_types[3] = {ATTN_F32, ATTN_F16, ATTN_BF16};

/* -------------------------------------------------------------- rounding -- */

/* Low halves of floats on or next to a tie. The rounding bit is bit 12 for float16 (higher
 * for its subnormals) and bit 15 for bfloat16; the bit above it decides ties. */
static const uint32_t low_halves[] = {0,      1,      0x0fff, 0x1000, 0x1001, 0x2000, 0x2fff, 0x3000,
                                      0x3001, 0x4000, 0x6000, 0x7fff, 0x8000, 0x8001, 0xc000, 0xffff};

static int bits_or_nan(const attn_array *got, const attn_array *want, const attn_array *rows)
{
    const size_t size = attn_dtype_size(got->dtype);
    for (size_t i = 0; i < 65536; i++) {
        const ref_real x = ref_get(rows, 0, 0, 0, i), y = ref_get(got, 0, 0, 0, i);
        if (isnan(x) ? !isnan(y) : memcmp(ref_at(got, 0, 0, 0, i), ref_at(want, 0, 0, 0, i), size) != 0) {
            test_note("%.9g becomes %.9g, wanted %.9g", (double)x, (double)y, (double)ref_get(want, 0, 0, 0, i));
            return 0;
        }
    }
    return 1;
}

/* All bit patterns of 16-bit types; for float32, those near ties. */
static void try_rounding(attn_dtype from, attn_dtype to)
{
    const attn_array rows = test_4d(from, 1, 1, 1, 65536), cache = test_4d(to, 1, 1, 1, 65536),
                     want = test_copy(&cache);
    const size_t passes = from == ATTN_F32 ? sizeof low_halves / sizeof *low_halves : 1;
    int pass = 1;
    for (size_t p = 0; p < passes && pass; p++) {
        for (uint32_t i = 0; i < 65536; i++) {
            const uint32_t wide = i << 16 | low_halves[p];
            const uint16_t narrow = (uint16_t)i;
            memcpy(ref_at(&rows, 0, 0, 0, i), from == ATTN_F32 ? (const void *)&wide : &narrow, attn_dtype_size(from));
            ref_set(&want, 0, 0, 0, i, (double)ref_get(&rows, 0, 0, 0, i));
        }
        pass = test_status(attn_cache_append(&cache, &rows, NULL, NULL), ATTN_OK) && bits_or_nan(&cache, &want, &rows);
    }
    test_ok(pass, "%s into %s: to nearest even", attn_dtype_name(from), attn_dtype_name(to));
    test_release();
}

static void try_float64(void)
{
    const attn_array rows = test_4d(ATTN_F64, 1, 1, 1, 65536), cache = test_copy(&rows);
    test_rng rng = {1};
    for (size_t i = 0; i < 65536; i++) {
        const uint64_t bits = test_u64(&rng);
        memcpy(ref_at(&rows, 0, 0, 0, i), &bits, sizeof bits);
    }
    test_ok(test_status(attn_cache_append(&cache, &rows, NULL, NULL), ATTN_OK) && bits_or_nan(&cache, &rows, &rows),
            "float64 as it is");
    test_release();
}

/* ----------------------------------------------------------------- pages -- */

/* Distinct pages of a pool for every batch, in random order. */
static attn_array shuffled_table(attn_dtype type, size_t batch, size_t pages, size_t pool, test_rng *rng)
{
    const attn_array table = test_2d(type, batch, pages);
    size_t order[4096];
    for (size_t i = 0; i < pool; i++) order[i] = i;
    for (size_t i = pool; i > 1; i--) {
        const size_t other = test_below(rng, i), last = order[i - 1];
        order[i - 1] = order[other];
        order[other] = last;
    }
    for (size_t i = 0; i < batch * pages; i++) ref_set(&table, 0, 0, i / pages, i % pages, (double)order[i]);
    return table;
}

/* The page and row that hold `position` of a batch. */
static size_t page_of(const attn_array *table, size_t batch, size_t position, size_t page_size)
{
    return (size_t)ref_get(table, 0, 0, batch, position / page_size);
}

/* ------------------------------------------------------------- placement -- */

enum { BATCH = 3, HEADS = 2, DIM = 5, CAPACITY = 36, NEW = 7 };

/* With heads after positions, as some caches have them, or before. */
static attn_array cache_memory(attn_dtype type, size_t n0, size_t positions, size_t dim, int heads_last)
{
    const attn_array a =
        heads_last ? test_4d(type, n0, positions, HEADS, dim) : test_4d(type, n0, HEADS, positions, dim);
    return heads_last ? attn_array_swap(a, 1, 2) : a;
}

/* Checks every element of the cache, also those that must not change. */
static void try_placement(size_t page_size, attn_dtype index_type, int with_lens, int heads_last)
{
    static const size_t first[BATCH] = {4, 0, CAPACITY - NEW};
    const size_t pages = page_size ? (CAPACITY + page_size - 1) / page_size : 0, pool = BATCH * pages + 2;
    test_rng rng = {page_size};
    const attn_array cache =
        cache_memory(ATTN_F16, page_size ? pool : BATCH, page_size ? page_size : CAPACITY, DIM, heads_last);
    const attn_array want = test_copy(&cache), lens = test_1d(index_type, BATCH);
    attn_array rows = test_4d(ATTN_F32, NEW, DIM, BATCH, HEADS), table = test_absent;
    rows = attn_array_swap(rows, 0, 2); /* (BATCH, DIM, NEW, HEADS) */
    rows = attn_array_swap(rows, 1, 3);
    test_fill_normal(&rows, &rng, 1);
    if (page_size) table = shuffled_table(index_type, BATCH, pages, pool, &rng);
    for (size_t b = 0; b < BATCH; b++) {
        const size_t len = with_lens ? first[b] : 0;
        ref_set(&lens, 0, 0, 0, b, (double)len);
        for (size_t h = 0; h < HEADS; h++)
            for (size_t i = 0; i < NEW; i++)
                for (size_t c = 0; c < DIM; c++)
                    ref_set(&want, page_size ? page_of(&table, b, len + i, page_size) : b, h,
                            page_size ? (len + i) % page_size : len + i, c, (double)ref_get(&rows, b, h, i, c));
    }
    test_ok(
        test_status(attn_cache_append(&cache, &rows, with_lens ? &lens : NULL, page_size ? &table : NULL), ATTN_OK) &&
            test_same(&cache, &want),
        "rows to their places: page size %zu, %s%s%s", page_size, attn_dtype_name(index_type),
        with_lens ? ", with lengths" : "", heads_last ? ", heads last" : "");
    test_ok(test_release(), "... and no others");
}

static void try_nothing(void)
{
    const attn_array cache = test_4d(ATTN_F32, 1, 1, 4, 2), want = test_copy(&cache),
                     none = test_4d(ATTN_F32, 1, 1, 0, 2), lens = test_1d(ATTN_I32, 1);
    test_fill(&lens, 4);
    test_ok(test_status(attn_cache_append(&cache, &none, &lens, NULL), ATTN_OK) && test_same(&cache, &want),
            "no rows to a full cache");
    test_release();
}

/* ---------------------------------------------------------------- errors -- */

/* A call that works, which the cases change so that it fails. */
typedef struct append_call {
    attn_array cache, rows, lens, table;
    int paged;
} append_call;

static attn_status append(const append_call *c)
{
    return attn_cache_append(&c->cache, &c->rows, &c->lens, c->paged ? &c->table : NULL);
}

static append_call good_append(int paged)
{
    append_call c;
    test_rng rng = {3};
    c.cache = test_4d(ATTN_F32, paged ? 9 : BATCH, HEADS, paged ? 4 : 12, DIM);
    c.rows = test_4d(ATTN_F32, BATCH, HEADS, NEW, DIM);
    c.lens = test_1d(ATTN_I64, BATCH);
    c.table = shuffled_table(ATTN_I64, BATCH, 3, 9, &rng);
    test_fill_normal(&c.rows, &rng, 1);
    test_fill(&c.lens, 5);
    c.paged = paged;
    return c;
}

#define REFUSE(want, paged, spoil)                                                                                     \
    do {                                                                                                               \
        append_call c = good_append(paged);                                                                            \
        const attn_array cache = c.cache, unwritten = test_copy(&cache);                                               \
        spoil;                                                                                                         \
        test_ok(test_status(append(&c), want) && test_same(&cache, &unwritten) && test_guards(),                       \
                "refused, nothing written: %s%s", #spoil, paged ? " (paged)" : "");                                    \
        test_release();                                                                                                \
    } while (0)

static void try_append_errors(void)
{
    for (int paged = 0; paged < 2; paged++) {
        const append_call works = good_append(paged);
        test_ok(test_status(append(&works), ATTN_OK), "a call that works before it is spoiled%s",
                paged ? " (paged)" : "");
        test_release();
        REFUSE(ATTN_ERR_LENGTH, paged,
               ref_set(&c.lens, 0, 0, 0, BATCH - 1, 6)); /* one row too many, of the last batch */
        REFUSE(ATTN_ERR_LENGTH, paged, ref_set(&c.lens, 0, 0, 0, BATCH - 1, -1));
        REFUSE(ATTN_ERR_LENGTH, paged, ref_set(&c.lens, 0, 0, 0, BATCH - 1, 13));
        REFUSE(ATTN_ERR_LENGTH, paged, ref_set(&c.lens, 0, 0, 0, 0, 9007199254740992.0));
        REFUSE(ATTN_ERR_NULL, paged, c.cache.data = NULL);
        REFUSE(ATTN_ERR_NULL, paged, c.rows.data = NULL);
        REFUSE(ATTN_ERR_NULL, paged, c.lens.data = NULL);
        REFUSE(ATTN_ERR_DTYPE, paged, c.cache.dtype = ATTN_I32);
        REFUSE(ATTN_ERR_DTYPE, paged, c.rows.dtype = ATTN_BOOL);
        REFUSE(ATTN_ERR_DTYPE, paged, c.rows.dtype = ATTN_F64);
        REFUSE(ATTN_ERR_DTYPE, paged, c.lens.dtype = ATTN_F32);
        REFUSE(ATTN_ERR_RANK, paged, c.cache.ndim = 1);
        REFUSE(ATTN_ERR_RANK, paged, c.rows.ndim = 5);
        REFUSE(ATTN_ERR_RANK, paged, c.lens.ndim = 2);
        REFUSE(ATTN_ERR_SHAPE, paged, c.cache.shape[1] = 1);
        REFUSE(ATTN_ERR_SHAPE, paged, c.cache.shape[3] = DIM - 1);
        REFUSE(ATTN_ERR_SHAPE, paged, c.lens.shape[0] = BATCH - 1);
        REFUSE(ATTN_ERR_STRIDE, paged, (c.cache.stride[3] = 1, c.cache.stride[2] = DIM - 1));
        REFUSE(ATTN_ERR_ALIGN, paged, c.cache.data = (char *)c.cache.data + 2);
        REFUSE(ATTN_ERR_ALIGN, paged, c.lens.data = (char *)c.lens.data + 4);
        REFUSE(ATTN_ERR_ALIAS, paged, c.rows.data = c.cache.data);
        REFUSE(ATTN_ERR_ALIAS, paged,
               c.rows.data = (char *)c.cache.data - sizeof(float) * (BATCH * HEADS * NEW * DIM - 1));
        REFUSE(ATTN_ERR_ALIAS, paged, c.lens.data = c.cache.data);
        REFUSE(ATTN_ERR_OVERFLOW, paged, c.cache.stride[0] = PTRDIFF_MAX / 2);
    }
    REFUSE(ATTN_ERR_SHAPE, 0, c.cache.shape[0] = BATCH - 1);
    REFUSE(ATTN_ERR_PAGE, 1, ref_set(&c.table, 0, 0, BATCH - 1, 2, 9)); /* where the last row goes */
    REFUSE(ATTN_ERR_PAGE, 1, ref_set(&c.table, 0, 0, BATCH - 1, 2, -1));
    REFUSE(ATTN_ERR_PAGE, 1, ref_set(&c.table, 0, 0, 0, 1, 4294967296.0)); /* page 0, if cut to 32 bits */
    REFUSE(ATTN_ERR_NULL, 1, c.table.data = NULL);
    REFUSE(ATTN_ERR_DTYPE, 1, c.table.dtype = ATTN_BF16);
    REFUSE(ATTN_ERR_RANK, 1, c.table.ndim = 1);
    REFUSE(ATTN_ERR_SHAPE, 1, c.table.shape[0] = BATCH - 1);
    REFUSE(ATTN_ERR_SHAPE, 1, c.cache.shape[2] = 0);
    REFUSE(ATTN_ERR_ALIAS, 1, c.table.data = c.cache.data);
    {
        const append_call c = good_append(1);
        test_ok(test_status(attn_cache_append(NULL, &c.rows, NULL, NULL), ATTN_ERR_NULL) &&
                    test_status(attn_cache_append(&c.cache, NULL, NULL, NULL), ATTN_ERR_NULL),
                "refused: no array at all");
        for (size_t b = 0; b < BATCH; b++)
            ref_set(&c.table, 0, 0, b, 0, b % 2 ? -1 : 4294967296.0); /* rows 5 ... 11 are in pages 1 and 2 */
        test_ok(test_status(append(&c), ATTN_OK), "pages without new rows are not looked at");
        test_release();
    }
}

/* ---------------------------------------------------------------- decode -- */

/* The keys and values so far; the rest is NaN. */
typedef struct cache {
    attn_array k, v, lens, table; /* table: absent if k and v are contiguous */
} cache;

static cache empty_cache(const attn_desc *whole, size_t capacity, size_t page_size, test_rng *rng)
{
    const size_t batch = whole->k.shape[0], pages = page_size ? (capacity + page_size - 1) / page_size : 0,
                 pool = batch * pages + 3;
    cache c;
    c.k = test_4d(whole->k.dtype, page_size ? pool : batch, whole->k.shape[1], page_size ? page_size : capacity,
                  whole->k.shape[3]);
    c.v = test_4d(whole->v.dtype, page_size ? pool : batch, whole->v.shape[1], page_size ? page_size : capacity,
                  whole->v.shape[3]);
    c.lens = test_1d(ATTN_I32, batch);
    c.table = page_size ? shuffled_table(ATTN_I32, batch, pages, pool, rng) : test_absent;
    test_fill(&c.lens, 0);
    return c;
}

/* Rows lens[b] ... lens[b] + count - 1 of each batch. */
static attn_array next_rows(const attn_array *whole, const attn_array *lens, size_t count)
{
    const attn_array rows = test_4d(whole->dtype, whole->shape[0], whole->shape[1], count, whole->shape[3]);
    for (size_t b = 0; b < whole->shape[0]; b++) {
        const attn_array batch = test_part(whole, 4, b, 1),
                         from = test_part(&batch, 2, (size_t)ref_get(lens, 0, 0, 0, b), count);
        const attn_array to = test_part(&rows, 4, b, 1);
        test_assign(&to, &from);
    }
    return rows;
}

/* One workspace for many steps. */
enum { ROOM = 1 << 22 };

static attn_status forward_in(void *room, const attn_desc *desc, attn_exec run)
{
    size_t bytes = 0;
    attn_status status;
    run.query = &bytes;
    status = attn_forward(desc, &run);
    if (status != ATTN_OK || bytes > ROOM) return status != ATTN_OK ? status : ATTN_ERR_WORKSPACE;
    run.query = NULL;
    run.workspace = room;
    run.workspace_size = bytes;
    return attn_forward(desc, &run);
}

/* Appends the next `count` rows of all batches and computes their queries. The result must
 * equal these rows of `whole`, a prefill. */
static int step(cache *c, const attn_desc *whole, size_t count, attn_align align, void *room, attn_path path)
{
    const attn_array *const table = c->table.ndim > 0 ? &c->table : NULL;
    const size_t batch = whole->q.shape[0];
    const attn_array k = next_rows(&whole->k, &c->lens, count), v = next_rows(&whole->v, &c->lens, count);
    const attn_array want = next_rows(&whole->out, &c->lens, count);
    attn_desc d = *whole;
    int pass = test_status(attn_cache_append(&c->k, &k, &c->lens, table), ATTN_OK) &&
               test_status(attn_cache_append(&c->v, &v, &c->lens, table), ATTN_OK);
    d.q = next_rows(&whole->q, &c->lens, count);
    d.k = c->k;
    d.v = c->v;
    d.block_table = c->table;
    d.out = test_4d(want.dtype, batch, want.shape[1], count, want.shape[3]);
    d.lse = test_3d(whole->lse.dtype, batch, want.shape[1], count);
    d.align = align;
    d.q_offset = (int64_t)ref_get(&c->lens, 0, 0, 0, 0);
    d.kv_lens = c->lens;
    for (size_t b = 0; b < batch; b++)
        ref_set(&c->lens, 0, 0, 0, b, (double)ref_get(&c->lens, 0, 0, 0, b) + (double)count);
    pass = pass && test_status(forward_in(room, &d, test_on(path)), ATTN_OK) && test_same(&d.out, &want);
    for (size_t b = 0; b < batch && pass; b++) {
        const attn_array all = test_part(&whole->lse, 3, b, 1), lse = test_part(&d.lse, 3, b, 1);
        const attn_array wanted = test_part(&all, 1, (size_t)ref_get(&c->lens, 0, 0, 0, b) - count, count);
        pass = test_same(&lse, &wanted);
    }
    return pass;
}

enum { LENGTH = 530 };

/* Causal attention over whole sequences, keys and values of type kv. */
static attn_desc prefill(attn_dtype type, attn_dtype kv)
{
    const test_shape shape = {type, 2, 2, 1, LENGTH, LENGTH, 6, 5};
    test_rng rng = {11};
    attn_desc d = test_problem(&shape, &rng);
    d.k = test_4d(kv, 2, 1, LENGTH, 6);
    d.v = test_4d(kv, 2, 1, LENGTH, 5);
    test_fill_normal(&d.k, &rng, 1);
    test_fill_normal(&d.v, &rng, 1);
    d.scores = test_absent;
    d.causal = 1;
    return d;
}

/* In chunks of the same size, after a prompt; the last chunk has the remaining rows. */
static int decode(const attn_desc *whole, size_t page_size, size_t prompt, size_t chunk, attn_align align, void *room,
                  attn_path path)
{
    test_rng rng = {page_size};
    cache c = empty_cache(whole, LENGTH + 9, page_size, &rng);
    size_t done = 0, count = prompt;
    int pass = 1;
    for (; pass && done < LENGTH; done += count, count = LENGTH - done < chunk ? LENGTH - done : chunk)
        pass = step(&c, whole, count, align, room, path);
    return pass;
}

/* Batches at different positions in their sequences. */
static int decode_ragged(const attn_desc *whole, size_t page_size, void *room, attn_path path)
{
    static const size_t prompts[2] = {3, 506}, chunks[] = {5, 1, 1, 4, 1, 9};
    test_rng rng = {page_size};
    cache c = empty_cache(whole, LENGTH, page_size, &rng);
    int pass = 1;
    for (size_t b = 0; b < 2; b++) {
        const int paged = c.table.ndim > 0;
        const attn_array batch_k = test_part(&whole->k, 4, b, 1), batch_v = test_part(&whole->v, 4, b, 1);
        const attn_array k = test_part(&batch_k, 2, 0, prompts[b]), v = test_part(&batch_v, 2, 0, prompts[b]);
        const attn_array table = paged ? test_part(&c.table, 2, b, 1) : test_absent;
        const attn_array to_k = paged ? c.k : test_part(&c.k, 4, b, 1), to_v = paged ? c.v : test_part(&c.v, 4, b, 1);
        pass &= test_status(attn_cache_append(&to_k, &k, NULL, paged ? &table : NULL), ATTN_OK);
        pass &= test_status(attn_cache_append(&to_v, &v, NULL, paged ? &table : NULL), ATTN_OK);
        ref_set(&c.lens, 0, 0, 0, b, (double)prompts[b]);
    }
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks && pass; i++)
        pass = step(&c, whole, chunks[i], ATTN_ALIGN_LOWER_RIGHT, room, path);
    return pass;
}

static void try_decode(attn_dtype type, attn_dtype kv, attn_path path)
{
    static const struct {
        size_t prompt, chunk, page_size;
        attn_align align;
    } schedules[] = {{1, 1, 0, ATTN_ALIGN_OFFSET},
                     {497, 1, 16, ATTN_ALIGN_LOWER_RIGHT},
                     {60, 47, 16, ATTN_ALIGN_OFFSET},
                     {511, 2, 0, ATTN_ALIGN_LOWER_RIGHT}};
    const attn_desc whole = prefill(type, kv);
    void *const room = test_memory(ROOM, 1);
    char name[100];
    snprintf(name, sizeof name, "%s, cache of %s, %s", attn_dtype_name(type), attn_dtype_name(kv),
             attn_path_name(path));
    test_ok(test_status(test_forward(&whole, test_on(path)), ATTN_OK), "%s: prefill", name);
    for (size_t i = 0; i < sizeof schedules / sizeof *schedules; i += type == kv ? 1 : 2) /* all of them once */
        test_ok(decode(&whole, schedules[i].page_size, schedules[i].prompt, schedules[i].chunk, schedules[i].align,
                       room, path),
                "%s, page size %zu: %zu, then %zu at a time, are the rows of prefill", name, schedules[i].page_size,
                schedules[i].prompt, schedules[i].chunk);
    for (size_t page_size = 0; page_size <= 3; page_size += 3)
        test_ok(decode_ragged(&whole, page_size, room, path), "%s, page size %zu: ragged lengths", name, page_size);
    test_ok(test_release(), "%s: guards", name);
}

/* ----------------------------------------------------------- paged forward -- */

enum { PAGED_BATCH = 3, PLAIN = 0, CAUSAL, WINDOW, BOOLEAN_MASK, ADDITIVE_MASK, OPTIONS };

static const size_t paged_lens[PAGED_BATCH] = {1061, 0, 513};
static const char *const option_names[OPTIONS] = {"plain", "causal", "window and ALiBi", "boolean mask and softcap",
                                                  "additive mask and sinks"};

static void add_option(attn_desc *d, int option, size_t kv_len, test_rng *rng)
{
    const attn_dtype type = d->q.dtype;
    const size_t q_len = d->q.shape[2];
    if (option == CAUSAL || option == WINDOW) {
        d->causal = option == CAUSAL;
        d->align = ATTN_ALIGN_LOWER_RIGHT;
    }
    if (option == WINDOW) {
        d->window = 1;
        d->window_left = 600;
        d->window_right = -1;
        d->alibi = test_1d(type, 2);
        test_fill(&d->alibi, 0.01);
    }
    if (option == BOOLEAN_MASK) {
        d->softcap = 2;
        d->mask = test_2d(ATTN_BOOL, q_len, kv_len);
        for (size_t i = 0; i < q_len * kv_len; i++)
            ref_set(&d->mask, 0, 0, i / kv_len, i % kv_len, (double)test_below(rng, 2));
    }
    if (option == ADDITIVE_MASK) {
        d->mask = test_4d(type, PAGED_BATCH, 1, 1, kv_len);
        test_fill_normal(&d->mask, rng, 1);
        d->sinks = test_1d(type, 2);
        test_fill(&d->sinks, 3);
        d->stage = ATTN_STAGE_BIASED;
    }
}

/* Contiguous, with room for whole pages; zeros beyond the lengths. */
static attn_desc contiguous(attn_dtype type, attn_dtype kv, size_t q_len, size_t kv_len, int option)
{
    const test_shape shape = {type, PAGED_BATCH, 2, 1, q_len, kv_len, 11, 7};
    test_rng rng = {(uint64_t)option};
    attn_desc d = test_problem(&shape, &rng);
    d.k = test_4d(kv, PAGED_BATCH, 1, kv_len, 11);
    d.v = test_4d(kv, PAGED_BATCH, 1, kv_len, 7);
    d.kv_lens = test_1d(ATTN_I64, PAGED_BATCH);
    test_fill(&d.k, 0);
    test_fill(&d.v, 0);
    for (size_t b = 0; b < PAGED_BATCH; b++) {
        const attn_array batch_k = test_part(&d.k, 4, b, 1), batch_v = test_part(&d.v, 4, b, 1);
        const attn_array k = test_part(&batch_k, 2, 0, paged_lens[b]), v = test_part(&batch_v, 2, 0, paged_lens[b]);
        test_fill_normal(&k, &rng, 1);
        test_fill_normal(&v, &rng, 1);
        ref_set(&d.kv_lens, 0, 0, 0, b, (double)paged_lens[b]);
    }
    d.colsum = test_3d(type, PAGED_BATCH, 2, kv_len);
    add_option(&d, option, kv_len, &rng);
    return d;
}

/* The same keys and values in pages. Unused rows and unused pages are NaN, and table entries
 * beyond the lengths are invalid. */
static attn_desc in_pages(const attn_desc *plain, size_t page_size, attn_dtype index_type, int heads_last)
{
    const size_t pages = plain->k.shape[2] / page_size, pool = PAGED_BATCH * pages + 2;
    test_rng rng = {page_size};
    attn_desc d = test_again(plain);
    const attn_array table = shuffled_table(index_type, PAGED_BATCH, pages, pool, &rng),
                     across = test_2d(index_type, pages, PAGED_BATCH);
    d.k =
        heads_last ? test_4d(plain->k.dtype, pool, page_size, 1, 11) : test_4d(plain->k.dtype, pool, 1, page_size, 11);
    if (heads_last) d.k = attn_array_swap(d.k, 1, 2);
    d.v = test_4d(plain->v.dtype, pool, 1, page_size, 7);
    for (size_t b = 0; b < PAGED_BATCH; b++) {
        for (size_t j = 0; j < paged_lens[b]; j++) {
            const size_t page = page_of(&table, b, j, page_size);
            for (size_t c = 0; c < 11; c++)
                ref_set(&d.k, page, 0, j % page_size, c, (double)ref_get(&plain->k, b, 0, j, c));
            for (size_t c = 0; c < 7; c++)
                ref_set(&d.v, page, 0, j % page_size, c, (double)ref_get(&plain->v, b, 0, j, c));
        }
        for (size_t page = (paged_lens[b] + page_size - 1) / page_size; page < pages; page++)
            ref_set(&table, 0, 0, b, page, page % 2 ? -1 : (double)pool);
    }
    d.block_table = heads_last ? attn_array_swap(across, 0, 1) : table;
    test_assign(&d.block_table, &table);
    return d;
}

static void try_pages(attn_dtype type, attn_dtype kv, size_t page_size, int option)
{
    static const size_t q_lens[] = {1, 5, 33};
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    const size_t kv_len = (paged_lens[0] / page_size + 2) * page_size;
    const size_t q_len = q_lens[(page_size + (size_t)option) % 3]; /* 33 is more than a tile */
    const attn_desc plain = contiguous(type, kv, q_len, kv_len, option);
    int pass = test_status(test_forward(&plain, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t p = 0; p < num_paths && pass; p++) {
        const attn_desc d = in_pages(&plain, page_size, p % 2 ? ATTN_I32 : ATTN_I64, option % 2);
        pass = test_status(test_forward(&d, p ? test_on(paths[p]) : test_shuffled(paths[p], 3)), ATTN_OK) &&
               test_same_outputs(&d, &plain);
        if (!pass) test_note("on %s", attn_path_name(paths[p]));
    }
    test_ok(test_release() && pass, "%s, pages of %s, page size %zu, %zu queries, %s: bits of contiguous memory",
            attn_dtype_name(type), attn_dtype_name(kv), page_size, q_len, option_names[option]);
}

/* A window as engines have it that give back the pages before it; one over the first keys; two sides. */
static const struct {
    const char *name;
    attn_align align;
    int64_t left, right, offset;
} windows[] = {{"the last 20 keys", ATTN_ALIGN_LOWER_RIGHT, 20, 0, 0},
               {"the last 500 keys", ATTN_ALIGN_LOWER_RIGHT, 500, 0, 0},
               {"keys around the queries", ATTN_ALIGN_OFFSET, 3, 40, 500},
               {"the first keys", ATTN_ALIGN_UPPER_LEFT, -1, 0, 0},
               {"no key at all", ATTN_ALIGN_OFFSET, 5, 5, -100},
               {"none but the first query's", ATTN_ALIGN_OFFSET, 2, 0, 1060},
               {"from before the first key on", ATTN_ALIGN_OFFSET, 0, 0, -2}};
enum { WINDOWS = sizeof windows / sizeof *windows };

static int any_sees(const attn_desc *d, size_t b, size_t first, size_t count)
{
    for (size_t i = 0; i < d->q.shape[2]; i++)
        for (size_t j = first; j < first + count; j++)
            if (ref_sees(d, b, 0, i, j)) return 1;
    return 0;
}

/* Pages that no query sees have any number, and what they held is gone: the bits are the same. One page more is
 * an error, and so is asking for scores of what is gone. */
static void try_freed_pages(size_t window, size_t page_size, attn_stage stage)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths), kv_len = (paged_lens[0] / page_size + 2) * page_size,
                 q_len = 1 + (window * 7 + page_size) % 9;
    attn_desc plain = contiguous(ATTN_F32, ATTN_F32, q_len, kv_len, PLAIN);
    size_t freed = 0, kept = 0, refused = 0;
    int pass;
    plain.align = windows[window].align;
    plain.q_offset = windows[window].offset;
    plain.window = 1;
    plain.window_left = windows[window].left;
    plain.window_right = windows[window].right;
    plain.stage = stage;
    pass = test_status(test_forward(&plain, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t p = 0; p < num_paths; p++) {
        attn_desc d = in_pages(&plain, page_size, ATTN_I64, 0), raw;
        const size_t pool = d.k.shape[0];
        int any = 0;
        size_t seen[2][2] = {{0}}; /* the first page that counts, and the last */
        for (size_t b = 0; b < PAGED_BATCH; b++)
            for (size_t page = 0; page * page_size < paged_lens[b]; page++) {
                const size_t number = page_of(&d.block_table, b, page * page_size, page_size);
                const attn_array k = test_part(&d.k, 4, number, 1), v = test_part(&d.v, 4, number, 1);
                if (any_sees(&plain, b, page * page_size, page_size)) {
                    seen[1][0] = b, seen[1][1] = page;
                    if (!any) seen[0][0] = b, seen[0][1] = page;
                    any = 1;
                    kept++;
                    continue;
                }
                test_poison(&k);
                test_poison(&v);
                ref_set(&d.block_table, 0, 0, b, page, page % 3 == 0 ? -1 : page % 3 == 1 ? (double)pool : 2e9);
                freed++;
            }
        pass = pass && test_status(test_forward(&d, test_shuffled(paths[p], 1 + 2 * (page_size & 1))), ATTN_OK) &&
               test_same_outputs(&d, &plain);
        if (!pass) test_note("on %s", attn_path_name(paths[p]));
        raw = d;
        raw.stage = stage == ATTN_STAGE_PROBS ? ATTN_STAGE_RAW : ATTN_STAGE_SOFTCAPPED;
        refused += test_forward(&raw, test_on(paths[p])) == ATTN_ERR_PAGE;
        for (int i = 0; i < 2; i++) {
            const double number = (double)ref_get(&d.block_table, 0, 0, seen[i][0], seen[i][1]);
            ref_set(&d.block_table, 0, 0, seen[i][0], seen[i][1], (double)pool);
            refused += test_forward(&d, test_on(paths[p])) == (any ? ATTN_ERR_PAGE : ATTN_OK);
            ref_set(&d.block_table, 0, 0, seen[i][0], seen[i][1], number);
        }
    }
    test_ok(test_release() && pass && freed && refused == 3 * num_paths,
            "page size %zu, %zu queries, %s: %zu pages freed, %zu kept", page_size, q_len, windows[window].name, freed,
            kept);
}

/* Batches may share pages. */
static void try_shared_pages(void)
{
    attn_desc plain = contiguous(ATTN_F32, ATTN_F32, 5, 1088, PLAIN), d;
    int pass;
    for (size_t j = 0; j < 512; j++)
        for (size_t c = 0; c < 11; c++) {
            ref_set(&plain.k, 2, 0, j, c, (double)ref_get(&plain.k, 0, 0, j, c));
            if (c < 7) ref_set(&plain.v, 2, 0, j, c, (double)ref_get(&plain.v, 0, 0, j, c));
        }
    d = in_pages(&plain, 64, ATTN_I32, 0);
    for (size_t page = 0; page < 8; page++)
        ref_set(&d.block_table, 0, 0, 2, page, (double)ref_get(&d.block_table, 0, 0, 0, page));
    pass = test_status(test_forward(&plain, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
           test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    test_ok(pass && test_same_outputs(&d, &plain), "a prefix in pages that two batches share");
    test_release();
}

/* Page 16 holds the last keys of batch 0; those of batch 2 end in its page 8. */
static void try_page_errors(void)
{
    static const struct {
        const char *name;
        size_t batch, page;
        double value;
        attn_status want;
    } cases[] = {
        {"a negative page", 0, 16, -1, ATTN_ERR_PAGE},       {"a page too far", 2, 8, 56, ATTN_ERR_PAGE},
        {"page 2^32", 2, 0, 4294967296.0, ATTN_ERR_PAGE},    {"the last page there is", 2, 8, 55, ATTN_OK},
        {"a bad page beyond the length", 2, 9, -7, ATTN_OK}, {"a bad page of no keys", 1, 0, -7, ATTN_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const attn_desc plain = contiguous(ATTN_F32, ATTN_F32, 5, 1152, PLAIN), d = in_pages(&plain, 64, ATTN_I64, 0),
                        before = test_again(&d);
        int pass;
        ref_set(&d.block_table, 0, 0, cases[i].batch, cases[i].page, cases[i].value);
        pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), cases[i].want);
        if (cases[i].want != ATTN_OK) pass = pass && test_same_outputs(&d, &before);
        test_ok(pass, "%s: %s", cases[i].name, attn_status_string(cases[i].want));
        test_release();
    }
    for (int paged = 0; paged < 2; paged++)
        for (int negative = 0; negative < 2; negative++) {
            const attn_desc plain = contiguous(ATTN_F32, ATTN_F32, 5, 1152, PLAIN),
                            d = paged ? in_pages(&plain, 64, ATTN_I64, 0) : plain;
            const attn_desc before = test_again(&d), copy = before;
            attn_desc call = d;
            call.out = copy.out;
            call.lse = copy.lse;
            call.scores = copy.scores;
            call.colsum = copy.colsum;
            ref_set(&d.kv_lens, 0, 0, 0, 2, negative ? -1 : 1153);
            test_ok(test_status(test_forward(&call, test_on(ATTN_PATH_AUTO)), ATTN_ERR_LENGTH) &&
                        test_same_outputs(&call, &before),
                    "a length of %d%s: %s", negative ? -1 : 1153, paged ? " in pages" : "",
                    attn_status_string(ATTN_ERR_LENGTH));
            test_release();
        }
    {
        const attn_desc plain = contiguous(ATTN_F32, ATTN_F32, 5, 1152, PLAIN);
        attn_desc d = in_pages(&plain, 64, ATTN_I32, 0), before;
        d.kv_lens = test_absent;
        before = test_again(&d);
        test_ok(test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_ERR_NULL) && test_same_outputs(&d, &before),
                "pages without lengths: %s", attn_status_string(ATTN_ERR_NULL));
        test_release();
    }
}

int main(void)
{
    static const size_t page_sizes[] = {1, 3, 16, 64, 512, 600};
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (int from = 0; from < 3; from++)
        for (int to = 0; to < 3; to++) try_rounding(small_types[from], small_types[to]);
    try_float64();
    for (size_t page_size = 0; page_size <= 16; page_size = page_size ? 3 * page_size + 1 : 1) /* 0, 1, 4, 13 */
        for (int i = 0; i < 8; i++) try_placement(page_size, i & 1 ? ATTN_I64 : ATTN_I32, i >> 1 & 1, i >> 2);
    try_nothing();
    try_append_errors();
    for (size_t p = 0; p < num_paths; p++) {
        try_decode(ATTN_F64, ATTN_F64, paths[p]);
        for (int kv = 0; kv < 3; kv++) try_decode(ATTN_F32, small_types[kv], paths[p]);
    }
    for (size_t s = 0; s < sizeof page_sizes / sizeof *page_sizes; s++)
        for (int option = 0; option < OPTIONS; option++) {
            try_pages(ATTN_F64, ATTN_F64, page_sizes[s], option);
            try_pages(ATTN_F32, small_types[(s + (size_t)option) % 3], page_sizes[s], option);
        }
    for (size_t window = 0; window < WINDOWS; window++)
        for (size_t size = 0; size < 5; size++)
            try_freed_pages(window, page_sizes[size], size % 2 ? ATTN_STAGE_BIASED : ATTN_STAGE_PROBS);
    try_shared_pages();
    try_page_errors();
    return test_done();
}
