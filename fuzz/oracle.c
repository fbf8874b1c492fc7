/* SPDX-License-Identifier: MIT-0 */
#include "oracle.h"

#ifdef FUZZ_THREADS /* for TSan: in no order at all, on threads */
#include "examples/pthread_parallel_for.h"
#endif

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The header frees nothing, and memory that is used again is still in the cache. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "quarantine_size_mb=1:malloc_context_size=4"; }

/* MSan does not see what the engine writes. */
#define WRITTEN(bytes, size) ((void)(bytes), (void)(size))
#ifdef __has_feature
#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#undef WRITTEN
#define WRITTEN(bytes, size) __msan_unpoison(bytes, size)
#endif
#endif

#ifdef __ELF__
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t most)
    __attribute__((weak)); /* the engine's, if there is one */

size_t fuzz_mutate(uint8_t *bytes, size_t size, size_t most, unsigned seed)
{
    size = LLVMFuzzerMutate(bytes, size, most);
    WRITTEN(bytes, size);
    for (size_t at = FUZZ_AT_Q_LEN; at <= FUZZ_AT_KV_LEN && at < size && seed % 8; at++)
        if (fuzz_length(bytes[at]) >= 250) bytes[at] = (uint8_t)(seed >> 8 & 127);
    return size;
}
#endif

static double largest_ratio;

double fuzz_largest_ratio(void) { return largest_ratio; }

void fuzz_fail(const fuzz_case *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("\nFAILED: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    if (c) fuzz_print(c);
    fflush(NULL);
    abort();
}

void fuzz_expect(const fuzz_case *c, const char *what, attn_status got, attn_status want)
{
    if (got != want) fuzz_fail(c, "%s: %s; wanted: %s", what, attn_status_string(got), attn_status_string(want));
}

/* ------------------------------------------------------------------- bits -- */

static uint64_t bits_at(const attn_array *a, const size_t at[4])
{
    const void *p = ref_at(a, at[0], at[1], at[2], at[3]);
    uint64_t wide;
    uint32_t single;
    uint16_t half;
    switch (attn_dtype_size(a->dtype)) {
    case 8: memcpy(&wide, p, 8); return wide;
    case 4: memcpy(&single, p, 4); return single;
    case 2: memcpy(&half, p, 2); return half;
    default: return *(const unsigned char *)p;
    }
}

void fuzz_same(const fuzz_case *c, const char *what, const attn_array *got, const char *got_name,
               const attn_array *want, const char *want_name, const fuzz_rows *skip)
{
    size_t at[4];
    const int rows_last = strcmp(what, "lse") == 0 || strncmp(what, "row", 3) == 0; /* (batch, heads, queries) */
    if (got->ndim == 0) return;
    for (int k = 1; k <= 4; k++)
        if (ref_length(got, k) != ref_length(want, k) || got->dtype != want->dtype)
            fuzz_fail(c, "%s: shapes of %s and %s differ", what, got_name, want_name);
    for (at[0] = 0; at[0] < ref_length(got, 4); at[0]++)
        for (at[1] = 0; at[1] < ref_length(got, 3); at[1]++)
            for (at[2] = 0; at[2] < ref_length(got, 2); at[2]++)
                for (at[3] = 0; at[3] < ref_length(got, 1); at[3]++) {
                    const uint64_t x = bits_at(got, at), y = bits_at(want, at);
                    if (x == y) continue;
                    if (skip && skip->flags[rows_last ? (at[1] * skip->heads + at[2]) * skip->queries + at[3]
                                                      : (at[0] * skip->heads + at[1]) * skip->queries + at[2]])
                        continue;
                    fuzz_fail(c, "%s[%zu, %zu, %zu, %zu]: %s gives %.17g (0x%0*llx), %s gives %.17g (0x%0*llx)", what,
                              at[0], at[1], at[2], at[3], got_name, (double)ref_get(got, at[0], at[1], at[2], at[3]),
                              (int)(2 * attn_dtype_size(got->dtype)), (unsigned long long)x, want_name,
                              (double)ref_get(want, at[0], at[1], at[2], at[3]), (int)(2 * attn_dtype_size(got->dtype)),
                              (unsigned long long)y);
                }
}

const char *const fuzz_row_names[FUZZ_ROW_OUTPUTS] = {"lse", "rowmax", "rowsum"};

attn_array *fuzz_row_output(attn_desc *desc, int i)
{
    return i == 0 ? &desc->lse : i == 1 ? &desc->rowmax : &desc->rowsum;
}

fuzz_outputs fuzz_outputs_of(const attn_desc *desc)
{
    fuzz_outputs o;
    o.out = desc->out;
    o.lse = desc->lse;
    o.scores = desc->scores;
    o.colsum = desc->colsum;
    o.rowmax = desc->rowmax;
    o.rowsum = desc->rowsum;
    return o;
}

static attn_array copy_of(const attn_array *a) { return a->ndim ? test_copy(a) : test_absent; }

fuzz_outputs fuzz_save(const attn_desc *desc)
{
    fuzz_outputs o;
    o.out = copy_of(&desc->out);
    o.lse = copy_of(&desc->lse);
    o.scores = copy_of(&desc->scores);
    o.colsum = copy_of(&desc->colsum);
    o.rowmax = copy_of(&desc->rowmax);
    o.rowsum = copy_of(&desc->rowsum);
    return o;
}

attn_desc fuzz_into_copies(const attn_desc *desc)
{
    const fuzz_outputs o = fuzz_save(desc);
    attn_desc d = *desc;
    d.out = o.out;
    d.lse = o.lse;
    d.scores = o.scores;
    d.colsum = o.colsum;
    d.rowmax = o.rowmax;
    d.rowsum = o.rowsum;
    fuzz_poison(&d);
    return d;
}

/* All bits 1, a NaN. (test_poison would write another NaN to strided arrays.) */
static void poison(const attn_array *a)
{
    for (size_t b = 0; a->ndim && b < ref_length(a, 4); b++)
        for (size_t h = 0; h < ref_length(a, 3); h++)
            for (size_t s = 0; s < ref_length(a, 2); s++)
                for (size_t i = 0; i < ref_length(a, 1); i++)
                    memset(ref_at(a, b, h, s, i), 0xff, attn_dtype_size(a->dtype));
}

/* The bytes from the first element to the last, of an array that is poisoned. */
static void check_gaps(const fuzz_case *c, const char *name, const attn_array *a)
{
    const unsigned char *low = a->data, *high = a->data;
    if (a->ndim == 0 || ref_length(a, 4) * ref_length(a, 3) * ref_length(a, 2) * ref_length(a, 1) == 0) return;
    for (unsigned k = 0; k < 16; k++) {
        const unsigned char *corner = ref_at(a, k & 1 ? ref_length(a, 4) - 1 : 0, k & 2 ? ref_length(a, 3) - 1 : 0,
                                             k & 4 ? ref_length(a, 2) - 1 : 0, k & 8 ? ref_length(a, 1) - 1 : 0);
        low = corner < low ? corner : low;
        high = corner > high ? corner : high;
    }
    for (high += attn_dtype_size(a->dtype); low < high; low++)
        if (*low != 0xff) fuzz_fail(c, "a gap between the elements of %s is written", name);
}

void fuzz_check_gaps(const fuzz_case *c, const attn_desc *desc)
{
    fuzz_poison(desc);
    check_gaps(c, "out", &desc->out);
    check_gaps(c, "scores", &desc->scores);
}

void fuzz_poison(const attn_desc *desc)
{
    poison(&desc->out);
    poison(&desc->lse);
    poison(&desc->scores);
    poison(&desc->colsum);
    poison(&desc->rowmax);
    poison(&desc->rowsum);
}

void fuzz_same_outputs(const fuzz_case *c, const char *what, const attn_desc *got, const char *got_name,
                       const fuzz_outputs *want, const char *want_name, const fuzz_rows *skip)
{
    char name[160];
    snprintf(name, sizeof name, "%s (%s)", got_name, what);
    fuzz_same(c, "out", &got->out, name, &want->out, want_name, skip);
    fuzz_same(c, "lse", &got->lse, name, &want->lse, want_name, skip);
    fuzz_same(c, "rowmax", &got->rowmax, name, &want->rowmax, want_name, skip);
    fuzz_same(c, "rowsum", &got->rowsum, name, &want->rowsum, want_name, skip);
    if (!skip) { /* scores may be of some heads and queries; sums of columns mix rows */
        fuzz_same(c, "scores", &got->scores, name, &want->scores, want_name, NULL);
        fuzz_same(c, "colsum", &got->colsum, name, &want->colsum, want_name, NULL);
    }
}

/* -------------------------------------------------------------- schedules -- */

enum { MOST_TASKS = 4096, MOST_WORKERS = 9 };

typedef struct schedule {
    test_rng rng;
    size_t workers;
} schedule;

/* Random order, random workers. */
static void random_for(void *context, size_t count, attn_task task, void *arg)
{
    static size_t order[MOST_TASKS];
    schedule *s = context;
    if (count > MOST_TASKS) fuzz_fail(NULL, "%zu tasks for so small a problem", count);
    for (size_t i = 0; i < count; i++) {
        const size_t j = test_below(&s->rng, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (size_t i = 0; i < count; i++) task(arg, order[i], test_below(&s->rng, s->workers));
}

attn_exec fuzz_shuffled(fuzz_case *c, attn_path path, size_t workers)
{
    static schedule s;
    attn_exec run = test_on(path);
    s.rng.state = test_u64(&c->rng);
    s.workers = workers;
    run.parallel_for = random_for;
    run.parallel_context = &s;
#ifdef FUZZ_THREADS
    {
        static attn_pthreads pools[MOST_WORKERS + 1];
        if (pools[workers].num_workers == 0 && !attn_pthreads_start(&pools[workers], workers))
            fuzz_fail(c, "no threads");
        run.parallel_for = attn_pthreads_for;
        run.parallel_context = &pools[workers];
    }
#endif
    run.num_workers = workers;
    return run;
}

attn_path fuzz_random_path(fuzz_case *c)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t n = test_paths(paths);
    return paths[test_below(&c->rng, n)];
}

/* ---------------------------------------------------------------- workspace -- */

enum { GUARD = 64 };

static unsigned char *workspace_memory;
static size_t workspace_capacity, workspace_used, workspace_turn;

/* At the end of the memory, where the allocator's guard finds what goes beyond,
 * after a guard of ours. */
void *fuzz_workspace(size_t bytes)
{
    if (bytes + GUARD > workspace_capacity) {
        free(workspace_memory);
        workspace_capacity = bytes + GUARD;
        workspace_memory = malloc(workspace_capacity);
        if (!workspace_memory) fuzz_fail(NULL, "no memory for a workspace of %zu bytes", bytes);
    }
    workspace_used = bytes;
    memset(workspace_memory + workspace_capacity - bytes - GUARD, 0xff, bytes + GUARD);
    return workspace_memory + workspace_capacity - bytes;
}

static void check_workspace(const fuzz_case *c)
{
    for (size_t i = 0; workspace_memory && i < GUARD; i++)
        if (workspace_memory[workspace_capacity - workspace_used - 1 - i] != 0xff)
            fuzz_fail(c, "memory before the workspace is written");
}

attn_status fuzz_run(fuzz_call call, const void *what, attn_exec run)
{
    size_t bytes = 0;
    attn_status status;
    run.query = &bytes;
    status = call(what, &run);
    if (status != ATTN_OK) return status;
    run.query = NULL;
    run.workspace = fuzz_workspace(bytes);
    run.workspace_size = bytes;
    if (workspace_turn++ % 2) /* a row where NaN gets in is computed again, and might hide that it did */
        memset(run.workspace, 0x3f, bytes);
    status = call(what, &run);
    check_workspace(NULL);
    return status;
}

static attn_status do_forward(const void *what, const attn_exec *run)
{
    return attn_forward((const attn_desc *)what, run);
}

attn_status fuzz_forward(const attn_desc *desc, attn_exec run) { return fuzz_run(do_forward, desc, run); }

/* ------------------------------------------------------------------ bounds -- */

void fuzz_within(const fuzz_case *c, const char *what, ref_report r)
{
    if (isfinite(r.worst) && r.worst > largest_ratio) largest_ratio = r.worst;
    if (r.wrong)
        fuzz_fail(c,
                  "%s: %zu of %zu numbers out of bounds; worst: %s[%zu, %zu, %zu, %zu] is %.17g (%a), wanted %.17g in "
                  "%.17g ... %.17g "
                  "(error/bound %g)",
                  what, r.wrong, r.checked, r.what, r.at[0], r.at[1], r.at[2], r.at[3], r.got, r.got,
                  (double)r.want.value, (double)r.want.low, (double)r.want.high, r.worst);
}

static int finite_at(const attn_array *a, size_t i0, size_t i1, size_t i2, size_t i3)
{
    return a->ndim == 0 || isfinite((double)ref_get(a, i0, i1, i2, i3));
}

ref_real fuzz_value(const attn_desc *d, size_t b, size_t h, size_t j, size_t c)
{
    return ref_decoded(&d->v, &d->v_scale, &d->v_zero, b, h, j, c);
}

attn_desc fuzz_decoded(const attn_desc *desc)
{
    attn_desc d = *desc;
    if (fuzz_coded(&d.k)) d.k = test_decoded(&d.k, &d.k_scale, &d.k_zero);
    if (fuzz_coded(&d.v)) d.v = test_decoded(&d.v, &d.v_scale, &d.v_zero);
    d.k_scale = d.v_scale = d.k_zero = d.v_zero = test_absent;
    return d;
}

static attn_array scales_of(const attn_array *scales, size_t first, size_t count) /* or those of all keys */
{
    return ref_length(scales, 2) == 1 ? *scales : fuzz_slice(scales, 2, first, count);
}

attn_desc fuzz_keys(const attn_desc *desc, size_t first, size_t count)
{
    attn_desc d = *desc;
    d.k = fuzz_slice(&d.k, 2, first, count);
    d.v = fuzz_slice(&d.v, 2, first, count);
    d.k_scale = scales_of(&d.k_scale, first, count);
    d.v_scale = scales_of(&d.v_scale, first, count);
    d.k_zero = scales_of(&d.k_zero, first, count);
    d.v_zero = scales_of(&d.v_zero, first, count);
    return d;
}

/* ---- other forms of a problem ---- */

/* Does any row see one of the keys from `first` on, before its mask? */
int fuzz_any_sees(const attn_desc *desc, size_t b, size_t first, size_t count)
{
    const int short_mask =
        desc->mask.ndim && desc->mask_place == ATTN_MASK_KEYS; /* keys without a column are dropped */
    const size_t columns = short_mask ? ref_length(&desc->mask, 1) : SIZE_MAX;
    attn_desc d = *desc;
    d.mask = d.rel_bias = test_absent;
    for (size_t i = 0; i < ref_length(&d.q, 2); i++)
        for (size_t j = first; j < first + count && j < columns; j++)
            if (ref_sees(&d, b, 0, i, j)) return 1;
    return 0;
}

/* Keys of one page, or values, or their scales, which may be the same for all keys of a page. */
static void fill_page(const attn_array *pages, size_t page, size_t page_size, const attn_array *from, size_t b,
                      size_t first)
{
    const size_t size = attn_dtype_size(from->dtype);
    for (size_t h = 0; pages->ndim && h < ref_length(pages, 3); h++)
        for (size_t s = 0; s < page_size; s++)
            for (size_t e = 0; e < ref_length(pages, 1); e++)
                memcpy(ref_at(pages, page, h, s, e), ref_at(from, b, h, first + s, e), size);
}

/* Room for them. */
attn_array fuzz_pages_for(fuzz_case *c, const attn_array *a, size_t count, size_t page_size)
{
    size_t shape[4];
    shape[0] = count, shape[1] = ref_length(a, 3), shape[2] = page_size, shape[3] = ref_length(a, 1);
    return fuzz_array(a->dtype, shape, (unsigned)test_below(&c->rng, 16), 0);
}
static attn_array scale_pages(fuzz_case *c, const attn_array *a, size_t count, size_t page_size)
{
    attn_array pages;
    if (!a->ndim) return test_absent;
    pages = fuzz_pages_for(c, a, count, ref_length(a, 2) == 1 ? 1 : page_size);
    fuzz_fill(&pages, FUZZ_SOME_NAN, &c->rng);
    return pages;
}

/* Takes k, v and their scales to pages in random places; what lies beyond the length, or if it is `freed` what no row
 * sees, is not looked at. Returns 0 where there is no key. */
int fuzz_into_pages(fuzz_case *c, attn_desc *d, int freed)
{
    const attn_desc p = *d;
    const size_t batch = ref_batches(d), kv_len = ref_length(&p.k, 2);
    size_t page_size = 1 + c->cut % (fuzz_has_codes(d) ? 40 : 17), pages, count, place = 0;
    if (kv_len == 0) return 0;
    while (kv_len % page_size) page_size--;
    pages = kv_len / page_size;
    count = batch * pages + 1 + test_below(&c->rng, 3); /* some to spare */
    d->k = fuzz_pages_for(c, &p.k, count, page_size);
    d->v = fuzz_pages_for(c, &p.v, count, page_size);
    fuzz_fill(&d->k, FUZZ_SOME_NAN, &c->rng);
    fuzz_fill(&d->v, FUZZ_SOME_NAN, &c->rng);
    d->k_scale = scale_pages(c, &p.k_scale, count, page_size);
    d->v_scale = scale_pages(c, &p.v_scale, count, page_size);
    d->k_zero = scale_pages(c, &p.k_zero, count, page_size);
    d->v_zero = scale_pages(c, &p.v_zero, count, page_size);
    d->block_table = test_2d(c->cut & 1 ? ATTN_I32 : ATTN_I64, batch, pages);
    if (!d->kv_lens.ndim) {
        d->kv_lens = test_1d(ATTN_I64, batch);
        test_fill(&d->kv_lens, (double)kv_len);
    }
    for (size_t b = 0; b < batch; b++)
        for (size_t i = 0; i < pages; i++) {
            const size_t page = count - 1 - place++, first = i * page_size;
            const int beyond = first >= (size_t)ref_get(&d->kv_lens, 0, 0, 0, b);
            if (beyond || (freed && !fuzz_any_sees(d, b, first, page_size))) {
                ref_set(&d->block_table, 0, 0, b, i, i % 2 ? -7 : 1 << 30);
                continue;
            }
            ref_set(&d->block_table, 0, 0, b, i, (double)page);
            fill_page(&d->k, page, page_size, &p.k, b, first);
            fill_page(&d->v, page, page_size, &p.v, b, first);
            fill_page(&d->k_scale, page, page_size, &p.k_scale, b, first);
            fill_page(&d->v_scale, page, page_size, &p.v_scale, b, first);
            fill_page(&d->k_zero, page, page_size, &p.k_zero, b, first);
            fill_page(&d->v_zero, page, page_size, &p.v_zero, b, first);
        }
    return 1;
}

static attn_array rows_of(const attn_array *a, size_t b, size_t count)
{
    attn_array part = ref_length(a, 4) > 1 ? fuzz_slice(a, 4, b, 1) : *a;
    return fuzz_slice(&part, 2, 0, count);
}

/* Room for scales of packed keys; those of all keys of all sequences stay what they are. */
static attn_array packed_scales(const attn_array *scales, size_t total)
{
    if (!scales->ndim || (ref_length(scales, 4) == 1 && ref_length(scales, 2) == 1)) return *scales;
    return test_3d(ATTN_F32, ref_length(scales, 3), total, ref_length(scales, 1));
}

/* Puts rows of batch b to where they are packed. */
void fuzz_pack_rows(const attn_array *packed, const attn_array *from, size_t b, size_t first, size_t count)
{
    const attn_array to = fuzz_slice(packed, 2, first, count), rows = rows_of(from, b, count);
    test_assign(&to, &rows);
}
static void pack_scales(const attn_array *packed, const attn_array *from, size_t b, size_t first, size_t count)
{
    if (packed->data != from->data) fuzz_pack_rows(packed, from, b, first, count);
}

/* Sequences of several lengths, end to end. */
int fuzz_into_sequences(fuzz_case *c, attn_desc *to, size_t q_at[FUZZ_SEQUENCES + 1], size_t k_at[FUZZ_SEQUENCES + 1])
{
    const attn_desc *p = &c->desc;
    const size_t batch = ref_length(&p->q, 4), heads = ref_length(&p->q, 3), kv_heads = ref_length(&p->k, 3);
    attn_desc d = *p;
    if (batch > FUZZ_SEQUENCES || (p->alibi.ndim == 2 && ref_length(&p->alibi, 2) != 1)) return 0;
    q_at[0] = k_at[0] = 0;
    for (size_t b = 0; b < batch; b++) {
        q_at[b + 1] = q_at[b] + test_below(&c->rng, ref_length(&p->q, 2) + 1);
        k_at[b + 1] = k_at[b] + (p->kv_lens.ndim ? (size_t)ref_get(&p->kv_lens, 0, 0, 0, b) : ref_length(&p->k, 2));
    }
    d.q = test_3d(p->q.dtype, heads, q_at[batch], ref_length(&p->q, 1));
    d.out = test_3d(p->out.dtype, heads, q_at[batch], ref_length(&p->out, 1));
    d.k = test_3d(p->k.dtype, kv_heads, k_at[batch], ref_length(&p->k, 1));
    d.v = test_3d(p->v.dtype, kv_heads, k_at[batch], ref_length(&p->v, 1));
    d.k_scale = packed_scales(&p->k_scale, k_at[batch]);
    d.v_scale = packed_scales(&p->v_scale, k_at[batch]);
    d.k_zero = packed_scales(&p->k_zero, k_at[batch]);
    d.v_zero = packed_scales(&p->v_zero, k_at[batch]);
    for (int i = 0; i < FUZZ_ROW_OUTPUTS; i++) {
        attn_array *a = fuzz_row_output(&d, i);
        if (a->ndim) *a = test_2d(a->dtype, heads, q_at[batch]);
    }
    d.mask = d.kv_lens = d.q_bounds = d.scores = d.colsum = test_absent;
    if (ref_length(&p->rel_bias, 4) != 1 || ref_length(&p->rel_bias, 2) != 1) d.rel_bias = test_absent;
    d.scores_head = d.scores_query = 0;
    d.cu_seqlens_q = test_1d(ATTN_I32, batch + 1);
    d.cu_seqlens_k = test_1d(ATTN_I64, batch + 1);
    for (size_t b = 0; b <= batch; b++) {
        ref_set(&d.cu_seqlens_q, 0, 0, 0, b, (double)q_at[b]);
        ref_set(&d.cu_seqlens_k, 0, 0, 0, b, (double)k_at[b]);
    }
    for (size_t b = 0; b < batch; b++) {
        const size_t first = k_at[b], n = k_at[b + 1] - first;
        fuzz_pack_rows(&d.q, &p->q, b, q_at[b], q_at[b + 1] - q_at[b]);
        fuzz_pack_rows(&d.k, &p->k, b, first, n);
        fuzz_pack_rows(&d.v, &p->v, b, first, n);
        pack_scales(&d.k_scale, &p->k_scale, b, first, n);
        pack_scales(&d.v_scale, &p->v_scale, b, first, n);
        pack_scales(&d.k_zero, &p->k_zero, b, first, n);
        pack_scales(&d.v_zero, &p->v_zero, b, first, n);
    }
    *to = d;
    return 1;
}

/* The mask of a part of the whole's keys. One that knows positions stays what it is; bits are cut as bytes. */
attn_desc fuzz_mask_of_part(const attn_desc *part, const attn_desc *whole, size_t first, size_t count)
{
    attn_desc d = *part;
    if (!whole->mask.ndim || whole->mask_place != ATTN_MASK_ALL) return d;
    d.mask = whole->mask.dtype == ATTN_BIT ? test_whole_mask(whole).mask : whole->mask;
    d.mask = fuzz_slice(&d.mask, 1, first, count);
    return d;
}

attn_desc fuzz_part(const attn_desc *whole, size_t begin, size_t end)
{
    attn_desc d = fuzz_keys(whole, begin, end - begin);
    d.kv_begin = begin;
    return fuzz_mask_of_part(&d, whole, begin, end - begin);
}

/* Parts do not know how many keys there are, nor where they end: the same problem where nothing counts from there. */
void fuzz_for_parts(attn_desc *d)
{
    const size_t kv_len = ref_length(&d->k, 2);
    if (d->kv_lens.ndim) return;
    if (d->align == ATTN_ALIGN_LOWER_RIGHT) {
        d->align = ATTN_ALIGN_OFFSET;
        d->q_offset = (int64_t)kv_len - (int64_t)ref_length(&d->q, 2);
    }
    if (d->mask.ndim && d->mask_place == ATTN_MASK_TAIL) {
        d->kv_lens = test_1d(ATTN_I32, ref_length(&d->q, 4));
        test_fill(&d->kv_lens, (double)kv_len);
    }
}

/* ---- what a row sees ---- */

int fuzz_row_finite(const attn_desc *d, size_t b, size_t h, size_t i)
{
    const size_t kv_head = h / (ref_length(&d->q, 3) / ref_length(&d->k, 3));
    if (!finite_at(&d->alibi, 0, 0, b, h) || !finite_at(&d->sinks, 0, 0, 0, h)) return 0;
    for (size_t c = 0; c < ref_length(&d->q, 1); c++)
        if (!finite_at(&d->q, b, h, i, c)) return 0;
    for (size_t j = 0; j < ref_length(&d->k, 2); j++) {
        if (!ref_sees(d, b, h, i, j)) continue;
        if (!isfinite((double)ref_mask(d, b, h, i, j)) || !isfinite((double)ref_relative(d, b, h, i, j))) return 0;
        for (size_t c = 0; c < ref_length(&d->k, 1); c++)
            if (!isfinite(ref_decoded(&d->k, &d->k_scale, &d->k_zero, b, kv_head, j, c))) return 0;
        for (size_t c = 0; c < ref_length(&d->v, 1); c++)
            if (!isfinite(fuzz_value(d, b, kv_head, j, c))) return 0;
    }
    return 1;
}

/* But for -inf, if it is `masked`. */
static double largest_of(const attn_array *a, const attn_array *scale, const attn_array *zero, int masked)
{
    double most = 0;
    for (size_t b = 0; a->ndim && b < ref_length(a, 4); b++)
        for (size_t h = 0; h < ref_length(a, 3); h++)
            for (size_t s = 0; s < ref_length(a, 2); s++)
                for (size_t i = 0; i < ref_length(a, 1); i++) {
                    const double x = (double)ref_decoded(a, scale, zero, b, h, s, i);
                    if (masked && x == -(double)INFINITY) continue;
                    if (!(fabs(x) <= most)) most = isnan(x) ? (double)INFINITY : fabs(x);
                }
    return most;
}

double fuzz_largest(const attn_array *a) { return largest_of(a, &test_absent, &test_absent, 0); }

static double largest_value(const attn_desc *d) { return largest_of(&d->v, &d->v_scale, &d->v_zero, 0); }

int fuzz_tame(const attn_desc *d)
{
    const double limit = d->q.dtype == ATTN_F64 ? 1e280 : 1e30;
    const double scale = d->scale == 0 ? 1 : fabs(d->scale), q = fuzz_largest(&d->q) * scale,
                 k = largest_of(&d->k, &d->k_scale, &d->k_zero, 0);
    const double reach = 1e6 + (double)(d->q_offset < 0 ? -d->q_offset : d->q_offset);
    return q < limit && k < limit && q * k * (double)(1 + ref_length(&d->q, 1)) < limit &&
           largest_value(d) * (double)(1 + ref_length(&d->k, 2)) < limit &&
           largest_of(&d->mask, &test_absent, &test_absent, 1) < limit &&
           largest_of(&d->rel_bias, &test_absent, &test_absent, 1) < limit && fuzz_largest(&d->alibi) * reach < limit &&
           fuzz_largest(&d->sinks) < limit && (d->softcap == 0 || (d->softcap > 1 / limit && d->softcap < limit));
}

/* ------------------------------------------------------------------- rows -- */

static void check_weights(const fuzz_case *c, const char *what, const attn_desc *d, size_t b, size_t h, size_t i,
                          int any, int finite)
{
    const attn_array *s = &d->scores;
    const size_t n = ref_length(s, 1), head = h - d->scores_head, query = i - d->scores_query;
    const double u = s->dtype == ATTN_F64    ? 0x1p-53
                     : s->dtype == ATTN_F16  ? 0x1p-11
                     : s->dtype == ATTN_BF16 ? 0x1p-8
                                             : 0x1p-24;
    const double smallest = s->dtype == ATTN_F64 ? DBL_MIN : s->dtype == ATTN_F16 ? 0x1p-24 : (double)FLT_MIN;
    ref_sum total = {0, 0};
    double sum, error;
    if (h < d->scores_head || i < d->scores_query || head >= ref_length(s, 3) || query >= ref_length(s, 2) || !finite)
        return;
    for (size_t j = 0; j < n; j++) {
        const double w = (double)ref_get(s, b, head, query, j);
        if (!(w >= 0 && w <= 1 + 16 * u)) fuzz_fail(c, "%s: weight [%zu, %zu, %zu, %zu] is %a", what, b, h, i, j, w);
        ref_add(&total, (ref_real)w);
    }
    sum = (double)(total.sum + total.rest);
    error = (double)(total.sum - 1 + total.rest);
    if (!any ? sum != 0 : d->sinks.ndim ? error > 16 * u : fabs(error) > 16 * u + (double)n * smallest)
        fuzz_fail(c, "%s: the weights of row [%zu, %zu, %zu] sum to 1 %+.3g (%.3g u)", what, b, h, i, error, error / u);
}

/* NaN has sign and payload of one kind. */
void fuzz_check_nan(const fuzz_case *c, const char *what, const attn_array *a)
{
    const uint64_t one = a->dtype == ATTN_F64    ? 0x7ff8000000000000u
                         : a->dtype == ATTN_F16  ? 0x7e00u
                         : a->dtype == ATTN_BF16 ? 0x7fc0u
                                                 : 0x7fc00000u;
    size_t at[4];
    if (a->ndim == 0) return;
    for (at[0] = 0; at[0] < ref_length(a, 4); at[0]++)
        for (at[1] = 0; at[1] < ref_length(a, 3); at[1]++)
            for (at[2] = 0; at[2] < ref_length(a, 2); at[2]++)
                for (at[3] = 0; at[3] < ref_length(a, 1); at[3]++)
                    if (isnan(ref_get(a, at[0], at[1], at[2], at[3])) && bits_at(a, at) != one)
                        fuzz_fail(c, "%s[%zu, %zu, %zu, %zu] is NaN of another kind: 0x%llx", what, at[0], at[1], at[2],
                                  at[3], (unsigned long long)bits_at(a, at));
}

/* The largest magnitude in a column of values, of all keys, seen or not; NaN and infinity are infinity. */
static double largest_in_column(const attn_desc *d, size_t b, size_t kv_head, size_t column)
{
    double most = 0;
    for (size_t j = 0; j < ref_length(&d->k, 2); j++) {
        const double x = fabs((double)fuzz_value(d, b, kv_head, j, column));
        if (!(x <= most)) most = isnan(x) ? (double)INFINITY : x;
    }
    return most;
}

void fuzz_check_rows(const fuzz_case *c, const char *what, const attn_desc *d)
{
    const double most = d->out.dtype == ATTN_F16    ? 65504
                        : d->out.dtype == ATTN_F64  ? DBL_MAX
                        : d->out.dtype == ATTN_BF16 ? 0x1.fep127
                                                    : (double)FLT_MAX;
    /* of results that are subnormal numbers, of float32 and float64 also in states that were computed again */
    const double tiny = d->out.dtype == ATTN_F16 ? 0x1p-24 : d->out.dtype == ATTN_F64 ? 0x1p-1048 : 0x1p-123;
    const int narrow = largest_value(d) > most;
    const size_t group = ref_length(&d->q, 3) / (ref_length(&d->k, 3) ? ref_length(&d->k, 3) : 1);
    double *const columns = test_memory(ref_length(&d->out, 1) * sizeof *columns, 0);
    fuzz_check_nan(c, "out", &d->out);
    fuzz_check_nan(c, "lse", &d->lse);
    fuzz_check_nan(c, "scores", &d->scores);
    fuzz_check_nan(c, "colsum", &d->colsum);
    fuzz_check_nan(c, "rowmax", &d->rowmax);
    fuzz_check_nan(c, "rowsum", &d->rowsum);
    for (size_t b = 0; b < ref_length(&d->q, 4); b++)
        for (size_t h = 0; h < ref_length(&d->q, 3); h++)
            for (size_t i = 0; i < ref_length(&d->q, 2); i++) {
                const int finite = fuzz_row_finite(d, b, h, i);
                int any = 0;
                for (size_t j = 0; j < ref_length(&d->k, 2) && !any; j++) any = ref_sees(d, b, h, i, j);
                for (size_t k = 0; k < ref_length(&d->out, 1); k++) {
                    const double x = (double)ref_get(&d->out, b, h, i, k);
                    if (i == 0 && h % group == 0) columns[k] = largest_in_column(d, b, h / group, k);
                    /* an average, but for rounding, of bfloat16, too */
                    if (finite && !narrow && fabs(x) > columns[k] * (1 + 0x1p-7) + tiny)
                        fuzz_fail(c, "%s: out[%zu, %zu, %zu, %zu] is %a, and no value of the column is above %a", what,
                                  b, h, i, k, x, columns[k]);
                    if ((finite && !narrow && !isfinite(x)) || (!any && (x != 0 || signbit(x))))
                        fuzz_fail(c, "%s: out[%zu, %zu, %zu, %zu] is %a, though the row's input is finite%s", what, b,
                                  h, i, k, x, any ? "" : " and nothing is visible");
                }
                if (d->stage == ATTN_STAGE_PROBS && d->scores.ndim) check_weights(c, what, d, b, h, i, any, finite);
            }
}

void fuzz_end(const fuzz_case *c)
{
    workspace_turn = 0; /* the same input gives the same again */
    if (!test_release()) fuzz_fail(c, "memory outside of an array is written");
}
