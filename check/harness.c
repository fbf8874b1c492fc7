/* SPDX-License-Identifier: MIT-0 */
#include "harness.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define GUARDS_POISONED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GUARDS_POISONED 1
#endif
#endif

/* With AddressSanitizer, reads of guards are found too. */
#ifdef GUARDS_POISONED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

/* --------------------------------------------------------------- results -- */

static int lines, failures;
static double largest_ratio[ATTN_DTYPE_COUNT]; /* by the type of q */

static void print_line(const char *prefix, const char *format, va_list arguments)
{
    fputs(prefix, stdout);
    vprintf(format, arguments);
}

int test_ok(int pass, const char *format, ...)
{
    char prefix[32];
    va_list arguments;
    va_start(arguments, format);
    snprintf(prefix, sizeof prefix, "%s %d - ", pass ? "ok" : "not ok", ++lines);
    print_line(prefix, format, arguments);
    va_end(arguments);
    failures += !pass;
    putchar('\n');
    fflush(stdout);
    return pass;
}

void test_skip(const char *reason, const char *format, ...)
{
    char prefix[32];
    va_list arguments;
    va_start(arguments, format);
    snprintf(prefix, sizeof prefix, "ok %d - ", ++lines);
    print_line(prefix, format, arguments);
    va_end(arguments);
    printf(" # SKIP %s\n", reason);
}

void test_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line("# ", format, arguments);
    va_end(arguments);
    putchar('\n');
}

int test_done(void)
{
    if (!test_release()) test_ok(0, "nothing is written outside of the arrays");
    for (int type = 0; type < ATTN_DTYPE_COUNT; type++)
        if (largest_ratio[type] > 0)
            test_note("largest error/bound, %s: %.3f", attn_dtype_name((attn_dtype)type), largest_ratio[type]);
#ifdef _WIN32 /* the harness wants the plan to end in a newline, not in CR LF */
    fflush(stdout);
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    printf("1..%d\n", lines);
    return failures != 0;
}

int test_status(attn_status got, attn_status want)
{
    if (got != want) test_note("status: %s; wanted: %s", attn_status_string(got), attn_status_string(want));
    return got == want;
}

int test_within(const ref_report *r)
{
    if (isfinite(r->worst) && r->worst > largest_ratio[r->type]) largest_ratio[r->type] = r->worst;
    if (r->wrong == 0) return 1;
    test_note("%zu of %zu numbers out of bounds; worst: %s [%zu, %zu, %zu, %zu] is %.17g, wanted %.17g in %.17g ... "
              "%.17g (error/bound %g)",
              r->wrong, r->checked, r->what, r->at[0], r->at[1], r->at[2], r->at[3], r->got, (double)r->want.value,
              (double)r->want.low, (double)r->want.high, r->worst);
    return 0;
}

/* ------------------------------------------------------------- elements -- */

typedef void (*element_function)(const attn_array *a, const size_t at[4], void *context);

static void for_elements(const attn_array *a, element_function function, void *context)
{
    size_t at[4];
    for (at[0] = 0; at[0] < ref_length(a, 4); at[0]++)
        for (at[1] = 0; at[1] < ref_length(a, 3); at[1]++)
            for (at[2] = 0; at[2] < ref_length(a, 2); at[2]++)
                for (at[3] = 0; at[3] < ref_length(a, 1); at[3]++) function(a, at, context);
}

typedef struct comparison {
    const attn_array *want;
    size_t different;
} comparison;

static void compare_element(const attn_array *got, const size_t at[4], void *context)
{
    comparison *c = context;
    if (memcmp(ref_at(got, at[0], at[1], at[2], at[3]), ref_at(c->want, at[0], at[1], at[2], at[3]),
               attn_dtype_size(got->dtype)) == 0)
        return;
    if (c->different++ == 0)
        test_note("first difference at [%zu, %zu, %zu, %zu]: got %.17g, wanted %.17g", at[0], at[1], at[2], at[3],
                  (double)ref_get(got, at[0], at[1], at[2], at[3]),
                  (double)ref_get(c->want, at[0], at[1], at[2], at[3]));
}

static int in_c_order(const attn_array *a)
{
    for (int axis = 0; axis < a->ndim; axis++)
        if (a->stride[axis] != 0) return 0;
    return 1;
}

/* A row of n elements: whole blocks. */
static size_t row_bytes(attn_dtype type, size_t n)
{
    return (n + attn_dtype_block(type) - 1) / attn_dtype_block(type) * attn_dtype_size(type);
}

static size_t bytes_of(const attn_array *a)
{
    return ref_length(a, 4) * ref_length(a, 3) * ref_length(a, 2) * row_bytes(a->dtype, ref_length(a, 1));
}

int test_same(const attn_array *got, const attn_array *want)
{
    comparison c;
    c.want = want;
    c.different = 0;
    for (int k = 1; k <= 4; k++)
        if (ref_length(got, k) != ref_length(want, k) || got->dtype != want->dtype) {
            test_note("shapes or types differ");
            return 0;
        }
    if (in_c_order(got) && in_c_order(want) && memcmp(got->data, want->data, bytes_of(got)) == 0) return 1;
    for_elements(got, compare_element, &c);
    return c.different == 0;
}

static void copy_element(const attn_array *to, const size_t at[4], void *from)
{
    memcpy(ref_at(to, at[0], at[1], at[2], at[3]), ref_at(from, at[0], at[1], at[2], at[3]),
           attn_dtype_size(to->dtype));
}

void test_assign(const attn_array *to, const attn_array *from)
{
    attn_array source = *from;
    if (in_c_order(to) && in_c_order(from)) memcpy(to->data, from->data, bytes_of(to));
    else for_elements(to, copy_element, &source);
}

attn_array test_copy(const attn_array *a)
{
    attn_array copy = *a;
    memset(copy.stride, 0, sizeof copy.stride);
    copy.data = test_memory(bytes_of(a), 0);
    test_assign(&copy, a);
    return copy;
}

attn_array test_decoded(const attn_array *a, const attn_array *scale, const attn_array *zero)
{
    attn_array x = test_4d(ATTN_F32, ref_length(a, 4), ref_length(a, 3), ref_length(a, 2), ref_length(a, 1));
    for (size_t b = 0; b < ref_length(a, 4); b++)
        for (size_t h = 0; h < ref_length(a, 3); h++)
            for (size_t j = 0; j < ref_length(a, 2); j++)
                for (size_t c = 0; c < ref_length(a, 1); c++)
                    ref_set(&x, b, h, j, c, (double)ref_decoded(a, scale, zero, b, h, j, c));
    x.ndim = a->ndim;
    for (int i = 0; i < a->ndim; i++) x.shape[i] = a->shape[i];
    return x;
}

static void fill_element(const attn_array *a, const size_t at[4], void *value)
{
    ref_set(a, at[0], at[1], at[2], at[3], *(double *)value);
}

void test_fill(const attn_array *a, double value) { for_elements(a, fill_element, &value); }

void test_poison(const attn_array *a)
{
    if (in_c_order(a)) memset(a->data, 0xff, bytes_of(a));
    else test_fill(a, (double)NAN);
}

attn_array test_part(const attn_array *a, int from_end, size_t first, size_t count)
{
    const int cut = a->ndim - from_end;
    attn_array part = *a;
    if (in_c_order(a))
        for (ptrdiff_t axis = a->ndim - 1, step = 1; axis >= 0; axis--) {
            part.stride[axis] = step;
            step *= (ptrdiff_t)(axis < a->ndim - 1 ? a->shape[axis]
                                                   : row_bytes(a->dtype, a->shape[axis]) / attn_dtype_size(a->dtype));
        }
    part.data = (char *)a->data + (ptrdiff_t)first * part.stride[cut] * (ptrdiff_t)attn_dtype_size(a->dtype);
    part.shape[cut] = count;
    return part;
}

/* ---------------------------------------------------------------- memory -- */

enum { GUARD = 256, ALIGNMENT = 64 };

typedef struct block {
    struct block *next;
    unsigned char *memory; /* guard, data, guard */
    size_t bytes, front, total;
} block;

static block *blocks;

static unsigned char guard_byte(size_t i) { return (unsigned char)(0xa5u ^ (i * 37u)); }

static void poison_guards(const block *b)
{
    ASAN_POISON_MEMORY_REGION(b->memory, b->front);
    ASAN_POISON_MEMORY_REGION(b->memory + b->front + b->bytes, b->total - b->front - b->bytes);
}

static int block_intact(const block *b)
{
    int intact = 1;
    ASAN_UNPOISON_MEMORY_REGION(b->memory, b->total);
    for (size_t i = 0; i < b->front; i++) intact &= b->memory[i] == guard_byte(i);
    for (size_t i = b->front + b->bytes; i < b->total; i++) intact &= b->memory[i] == guard_byte(i);
    poison_guards(b);
    return intact;
}

void *test_memory(size_t bytes, size_t shift)
{
    block *b = calloc(1, sizeof *b);
    if (b) b->memory = malloc(bytes + shift + 2 * GUARD + ALIGNMENT);
    if (!b || !b->memory) {
        printf("Bail out! out of memory\n");
        exit(99);
    }
    b->bytes = bytes;
    b->front = GUARD + shift + (ALIGNMENT - (size_t)((uintptr_t)(b->memory + GUARD) % ALIGNMENT)) % ALIGNMENT;
    b->total = b->front + bytes + GUARD;
    for (size_t i = 0; i < b->front; i++) b->memory[i] = guard_byte(i);
    memset(b->memory + b->front, 0xff, bytes); /* NaN in all float types */
    for (size_t i = b->front + bytes; i < b->total; i++) b->memory[i] = guard_byte(i);
    b->next = blocks;
    blocks = b;
    poison_guards(b);
    return b->memory + b->front;
}

int test_untouched(const void *memory, size_t bytes)
{
    const unsigned char *p = memory;
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != 0xff) return 0;
    return 1;
}

int test_guards(void)
{
    int intact = 1;
    for (const block *b = blocks; b; b = b->next) intact &= block_intact(b);
    return intact;
}

int test_release(void)
{
    const int intact = test_guards();
    while (blocks) {
        block *b = blocks;
        blocks = b->next;
        ASAN_UNPOISON_MEMORY_REGION(b->memory, b->total);
        free(b->memory);
        free(b);
    }
    return intact;
}

static void *elements(attn_dtype type, size_t rows, size_t columns)
{
    return test_memory(rows * row_bytes(type, columns), 0);
}

attn_array test_1d(attn_dtype type, size_t n) { return attn_array_1d(type, elements(type, 1, n), n); }

attn_array test_2d(attn_dtype type, size_t rows, size_t columns)
{
    return attn_array_2d(type, elements(type, rows, columns), rows, columns);
}

attn_array test_3d(attn_dtype type, size_t n0, size_t n1, size_t n2)
{
    return attn_array_3d(type, elements(type, n0 * n1, n2), n0, n1, n2);
}

attn_array test_4d(attn_dtype type, size_t n0, size_t n1, size_t n2, size_t n3)
{
    return attn_array_4d(type, elements(type, n0 * n1 * n2, n3), n0, n1, n2, n3);
}

const attn_array test_absent;

/* ---------------------------------------------------------------- random -- */

/* splitmix64 (Steele, Lea, Flood 2014) */
uint64_t test_u64(test_rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

size_t test_below(test_rng *rng, size_t n) { return (size_t)(test_u64(rng) % n); }

double test_uniform(test_rng *rng) { return ldexp((double)(test_u64(rng) >> 11), -53); }

/* A sum of 12 uniform numbers. It is exact, so it does not depend on libm. */
double test_normal(test_rng *rng)
{
    int64_t sum = 0;
    for (int i = 0; i < 6; i++) {
        const uint64_t bits = test_u64(rng);
        sum += (int64_t)(bits & 0xffffffffu) + (int64_t)(bits >> 32);
    }
    return ldexp((double)(sum - ((int64_t)6 << 32)), -32);
}

typedef struct normal_fill {
    test_rng *rng;
    double deviation;
} normal_fill;

static void fill_normal_element(const attn_array *a, const size_t at[4], void *context)
{
    const normal_fill *f = context;
    ref_set(a, at[0], at[1], at[2], at[3], test_normal(f->rng) * f->deviation);
}

void test_fill_normal(const attn_array *a, test_rng *rng, double deviation)
{
    normal_fill f;
    f.rng = rng;
    f.deviation = deviation;
    for_elements(a, fill_normal_element, &f);
}

/* ----------------------------------------------------------------- calls -- */

const attn_dtype test_types[2] = {ATTN_F32, ATTN_F64};

size_t test_paths(attn_path paths[ATTN_PATH_COUNT])
{
    size_t count = 0;
    for (int path = ATTN_PATH_SCALAR; path < ATTN_PATH_COUNT; path++)
        if (attn_path_supported((attn_path)path)) paths[count++] = (attn_path)path;
    return count;
}

attn_exec test_on(attn_path path)
{
    attn_exec run = attn_exec_default();
    run.path = path;
    return run;
}

/* Runs odd tasks from the last to the first, then even ones, so that neither the order nor
 * the worker is the obvious one. */
static void shuffled_for(void *context, size_t count, attn_task task, void *arg)
{
    const size_t workers = *(const size_t *)context;
    for (size_t i = count; i-- > 0;)
        if (i % 2) task(arg, i, (count - i) % workers);
    for (size_t i = 0; i < count; i += 2) task(arg, i, i / 2 % workers);
}

attn_exec test_shuffled(attn_path path, size_t workers)
{
    static size_t contexts[65];
    attn_exec run = test_on(path);
    contexts[workers % 65] = workers;
    run.parallel_for = shuffled_for;
    run.parallel_context = &contexts[workers % 65];
    run.num_workers = workers;
    return run;
}

/* Queries the workspace size, then computes in a workspace of exactly that size. */
#define IN_EXACT_WORKSPACE(call)                                                                                       \
    size_t bytes = 0;                                                                                                  \
    attn_status status;                                                                                                \
    run.query = &bytes;                                                                                                \
    status = (call);                                                                                                   \
    if (status != ATTN_OK) return status;                                                                              \
    run.query = NULL;                                                                                                  \
    run.workspace = test_memory(bytes, 1);                                                                             \
    run.workspace_size = bytes;                                                                                        \
    return (call)

attn_status test_matmul(const attn_array *a, const attn_array *b, const attn_array *c, attn_exec run)
{
    IN_EXACT_WORKSPACE(attn_matmul(a, b, c, &run));
}

attn_status test_compute_qkv(const attn_array *x, const attn_array *w_q, const attn_array *w_k, const attn_array *w_v,
                             const attn_array *q, const attn_array *k, const attn_array *v, attn_exec run)
{
    IN_EXACT_WORKSPACE(attn_compute_qkv(x, w_q, w_k, w_v, q, k, v, &run));
}

attn_status test_scores(const attn_array *q, const attn_array *k, double scale, const attn_array *s, attn_exec run)
{
    IN_EXACT_WORKSPACE(attn_scores(q, k, scale, s, &run));
}

attn_status test_softmax(const attn_array *x, int axis, const attn_array *y, attn_exec run)
{
    IN_EXACT_WORKSPACE(attn_softmax(x, axis, y, &run));
}

attn_status test_weighted_sum(const attn_array *w, const attn_array *v, const attn_array *o, attn_exec run)
{
    IN_EXACT_WORKSPACE(attn_weighted_sum(w, v, o, &run));
}

attn_status test_self_attention(const attn_array *q, const attn_array *k, const attn_array *v, const attn_array *out,
                                const attn_array *weights, attn_exec run)
{
    IN_EXACT_WORKSPACE(attn_self_attention(q, k, v, out, weights, &run));
}

attn_status test_forward(const attn_desc *desc, attn_exec run) { IN_EXACT_WORKSPACE(attn_forward(desc, &run)); }

attn_status test_layer(const attn_layer *layer, attn_exec run) { IN_EXACT_WORKSPACE(attn_layer_forward(layer, &run)); }

attn_status test_partial(const attn_desc *desc, void *state, size_t state_size, attn_exec run)
{
    IN_EXACT_WORKSPACE(attn_partial(desc, state, state_size, &run));
}

enum { MAX_OUTPUTS = 6 };

attn_status test_all_paths(test_call call, const void *context, const attn_array *const *outputs, size_t count,
                           int *same)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    attn_array scalar[MAX_OUTPUTS];
    *same = 1;
    for (size_t p = 0; p < num_paths; p++) {
        attn_status status;
        for (size_t i = 0; i < count; i++) test_poison(outputs[i]);
        status = call(context, test_on(paths[p]));
        if (status != ATTN_OK) {
            test_note("%s: %s", attn_path_name(paths[p]), attn_status_string(status));
            return status;
        }
        for (size_t i = 0; i < count; i++) {
            if (p == 0) {
                scalar[i] = test_copy(outputs[i]);
            } else if (!test_same(outputs[i], &scalar[i])) {
                test_note("output %zu: %s differs from scalar", i, attn_path_name(paths[p]));
                *same = 0;
            }
        }
    }
    return ATTN_OK;
}

static attn_status call_forward(const void *desc, attn_exec run) { return test_forward(desc, run); }

int test_attention(const attn_desc *desc, const char *format, ...)
{
    const attn_array *all[MAX_OUTPUTS], *outputs[MAX_OUTPUTS];
    attn_status status;
    size_t count = 0;
    char name[200];
    int pass;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    all[0] = &desc->out;
    all[1] = &desc->lse;
    all[2] = &desc->scores;
    all[3] = &desc->colsum;
    all[4] = &desc->rowmax;
    all[5] = &desc->rowsum;
    for (int i = 0; i < MAX_OUTPUTS; i++)
        if (all[i]->ndim > 0) outputs[count++] = all[i];
    status = test_all_paths(call_forward, desc, outputs, count, &pass);
    if (status == ATTN_ERR_UNSUPPORTED) {
        test_skip("not yet supported", "%s", name);
        return 1;
    }
    if (status == ATTN_OK) {
        const ref_report report = ref_check(desc, 1);
        pass &= test_within(&report);
    }
    if (!test_guards()) {
        test_note("written outside of an array");
        pass = 0;
    }
    return test_ok(pass && status == ATTN_OK, "%s", name);
}

attn_desc test_problem(const test_shape *s, test_rng *rng)
{
    attn_desc desc = attn_desc_default();
    desc.q = test_4d(s->type, s->batch, s->q_heads, s->q_len, s->head_dim);
    desc.k = test_4d(s->type, s->batch, s->kv_heads, s->kv_len, s->head_dim);
    desc.v = test_4d(s->type, s->batch, s->kv_heads, s->kv_len, s->head_dim_v);
    desc.out = test_4d(s->type, s->batch, s->q_heads, s->q_len, s->head_dim_v);
    desc.lse = test_3d(s->type == ATTN_F64 ? ATTN_F64 : ATTN_F32, s->batch, s->q_heads, s->q_len);
    desc.scores = test_4d(s->type == ATTN_F64 ? ATTN_F64 : ATTN_F32, s->batch, s->q_heads, s->q_len, s->kv_len);
    test_fill_normal(&desc.q, rng, 1);
    test_fill_normal(&desc.k, rng, 1);
    test_fill_normal(&desc.v, rng, 1);
    return desc;
}

attn_desc test_whole_mask(const attn_desc *desc)
{
    const attn_dtype type = desc->mask.dtype == ATTN_BIT ? ATTN_BOOL : desc->mask.dtype;
    const size_t keys = ref_length(&desc->k, 2) * (desc->block_table.ndim ? ref_length(&desc->block_table, 1) : 1);
    attn_desc d = *desc;
    d.mask_place = ATTN_MASK_ALL;
    if (!desc->mask.ndim) return d;
    d.mask = test_4d(type, ref_length(&d.q, 4), ref_length(&d.q, 3), ref_length(&d.q, 2), keys);
    for (size_t b = 0; b < d.mask.shape[0]; b++)
        for (size_t h = 0; h < d.mask.shape[1]; h++)
            for (size_t i = 0; i < d.mask.shape[2]; i++)
                for (size_t j = 0; j < keys; j++) {
                    const double x = (double)ref_mask(desc, b, h, i, j);
                    ref_set(&d.mask, b, h, i, j, type == ATTN_BOOL ? !(x < 0) : x);
                }
    return d;
}

attn_desc test_again(const attn_desc *desc)
{
    attn_desc again = *desc;
    attn_array *const outputs[MAX_OUTPUTS] = {&again.out,    &again.lse,    &again.scores,
                                              &again.colsum, &again.rowmax, &again.rowsum};
    for (int i = 0; i < MAX_OUTPUTS; i++)
        if (outputs[i]->ndim > 0) {
            *outputs[i] = test_copy(outputs[i]);
            test_poison(outputs[i]);
        }
    return again;
}

int test_same_outputs(const attn_desc *got, const attn_desc *want)
{
    static const char *const names[MAX_OUTPUTS] = {"out", "lse", "scores", "colsum", "rowmax", "rowsum"};
    const attn_array *const a[MAX_OUTPUTS] = {&got->out,    &got->lse,    &got->scores,
                                              &got->colsum, &got->rowmax, &got->rowsum};
    const attn_array *const b[MAX_OUTPUTS] = {&want->out,    &want->lse,    &want->scores,
                                              &want->colsum, &want->rowmax, &want->rowsum};
    for (int i = 0; i < MAX_OUTPUTS; i++)
        if (a[i]->ndim > 0 && !test_same(a[i], b[i])) {
            test_note("%s differs", names[i]);
            return 0;
        }
    return 1;
}

int test_same_problem(const attn_desc *d, const attn_desc *want, test_rng *rng, int bounds)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    int pass = test_status(test_forward(want, test_on(ATTN_PATH_SCALAR)), ATTN_OK);
    for (size_t p = 0; p < num_paths && pass; p++) {
        const attn_desc got = test_again(d);
        const size_t workers = 1 + test_below(rng, 4);
        pass =
            test_status(test_forward(&got, test_shuffled(paths[p], workers)), ATTN_OK) && test_same_outputs(&got, want);
        if (pass && p == 0 && bounds) {
            const ref_report report = ref_check(&got, 1);
            pass = test_within(&report);
        }
        if (!pass) test_note("%s, %zu workers", attn_path_name(paths[p]), workers);
    }
    return pass;
}

int test_in_parts(const attn_desc *d, const size_t *cuts, int parts, attn_exec run)
{
    const attn_desc whole = test_again(d), merged = test_again(d);
    void *both = NULL;
    int pass = test_status(test_forward(&whole, run), ATTN_OK);
    for (int n = 0; n < parts && pass; n++) {
        const size_t first = cuts[n], count = cuts[n + 1] - first;
        attn_desc part = *d;
        size_t bytes = 0;
        void *state, *to;
        attn_array *const by_key[] = {&part.k, &part.v, &part.k_scale, &part.v_scale, &part.k_zero, &part.v_zero};
        for (int i = 0; i < 6; i++)
            if (by_key[i]->ndim > 1 && ref_length(by_key[i], 2) > 1) *by_key[i] = test_part(by_key[i], 2, first, count);
        if (d->mask.ndim && d->mask_place == ATTN_MASK_ALL && ref_length(&d->mask, 1) > 1)
            part.mask = test_part(&d->mask, 1, first, count);
        part.kv_begin = first;
        pass = test_status(attn_state_size(&part, &bytes), ATTN_OK);
        state = test_memory(bytes, 8);
        pass = pass && test_status(test_partial(&part, state, bytes, run), ATTN_OK);
        if (n == 0) both = state;
        if (n == 0 || !pass) continue;
        pass = test_status(attn_state_merged_size(both, state, &bytes), ATTN_OK);
        to = test_memory(bytes, 8);
        pass = pass && test_status(attn_state_merge(both, state, to, bytes, run.path), ATTN_OK);
        both = to;
    }
    return pass && test_status(attn_state_finish(&merged, both, run.path), ATTN_OK) &&
           test_same_outputs(&merged, &whole);
}
