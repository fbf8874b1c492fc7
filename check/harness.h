/* SPDX-License-Identifier: MIT-0
 *
 * What tests and fuzzers share: results in TAP, random numbers, guarded memory, calls.
 * Link with harness.c, reference.c and one implementation of attention.h.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include "attention.h"
#include "reference.h"

#if defined(__GNUC__) && !defined(_WIN32) /* where gcc checks formats against another printf */
#define TEST_PRINTF(string, first) __attribute__((format(printf, string, first)))
#else
#define TEST_PRINTF(string, first)
#endif

/* --------------------------------------------------------------- results -- */

/* Each prints one line. test_ok returns `pass`. */
int test_ok(int pass, const char *format, ...) TEST_PRINTF(2, 3);
void test_skip(const char *reason, const char *format, ...) TEST_PRINTF(2, 3);
void test_note(const char *format, ...) TEST_PRINTF(1, 2);

/* Prints the plan, releases all memory and returns the exit status for main. */
int test_done(void);

/* Have both arrays (of up to 4 dimensions) the same bits? Notes the first difference. */
int test_same(const attn_array *got, const attn_array *want);

/* Is it the wanted status? If not, notes what the status means. */
int test_status(attn_status got, attn_status want);

/* Is nothing in the report wrong? If something is, notes the worst number. */
int test_within(const ref_report *report);

/* ---------------------------------------------------------------- memory -- */

/* Memory full of NaN between two guards, at `shift` bytes past a multiple of 64. */
void *test_memory(size_t bytes, size_t shift);

/* Is the memory still as test_memory returned it? */
int test_untouched(const void *memory, size_t bytes);

/* Frees all memory of test_memory. Returns whether all guards are intact. */
int test_release(void);
int test_guards(void);

/* What the library calls where it is given no workspace: malloc and free, until a test has others. */
extern void *(*test_malloc)(size_t bytes);
extern void (*test_free)(void *memory);

/* Such memory as arrays in C order. */
attn_array test_1d(attn_dtype type, size_t n);
attn_array test_2d(attn_dtype type, size_t rows, size_t columns);
attn_array test_3d(attn_dtype type, size_t n0, size_t n1, size_t n2);
attn_array test_4d(attn_dtype type, size_t n0, size_t n1, size_t n2, size_t n3);

/* An absent array, for optional ones. */
extern const attn_array test_absent;

/* Functions on the elements of arrays of up to 4 dimensions. */
void test_assign(const attn_array *to, const attn_array *from);
attn_array test_copy(const attn_array *a); /* in C order */
/* float32 numbers that elements of 8 bits stand for */
attn_array test_decoded(const attn_array *a, const attn_array *scale, const attn_array *zero);
void test_fill(const attn_array *a, double value);
void test_poison(const attn_array *a); /* NaN */

/* A view of `count` positions from `first` on, along the axis that `from_end` counts from the
 * end (1 is the last). */
attn_array test_part(const attn_array *a, int from_end, size_t first, size_t count);

/* ---------------------------------------------------------------- random -- */

typedef struct test_rng {
    uint64_t state;
} test_rng;

uint64_t test_u64(test_rng *rng);
size_t test_below(test_rng *rng, size_t n);
double test_uniform(test_rng *rng); /* [0, 1) */
double test_normal(test_rng *rng);  /* the same numbers on every machine */
void test_fill_normal(const attn_array *a, test_rng *rng, double deviation);

/* ----------------------------------------------------------------- calls -- */

/* The paths that this machine runs, the scalar one first. */
size_t test_paths(attn_path paths[ATTN_PATH_COUNT]);

/* The types with arithmetic of their own precision. */
extern const attn_dtype test_types[2];

/* How to run: on a path; with tasks out of order on `workers` workers. */
attn_exec test_on(attn_path path);
attn_exec test_shuffled(attn_path path, size_t workers);

/* The library's functions, called with a workspace of exactly the size they ask for. */
attn_status test_matmul(const attn_array *a, const attn_array *b, const attn_array *c, attn_exec run);
attn_status test_compute_qkv(const attn_array *x, const attn_array *w_q, const attn_array *w_k, const attn_array *w_v,
                             const attn_array *q, const attn_array *k, const attn_array *v, attn_exec run);
attn_status test_scores(const attn_array *q, const attn_array *k, double scale, const attn_array *s, attn_exec run);
attn_status test_softmax(const attn_array *x, int axis, const attn_array *y, attn_exec run);
attn_status test_weighted_sum(const attn_array *w, const attn_array *v, const attn_array *o, attn_exec run);
attn_status test_self_attention(const attn_array *q, const attn_array *k, const attn_array *v, const attn_array *out,
                                const attn_array *weights, attn_exec run);
attn_status test_forward(const attn_desc *desc, attn_exec run);
attn_status test_layer(const attn_layer *layer, attn_exec run);
attn_status test_partial(const attn_desc *desc, void *state, size_t state_size, attn_exec run);

/* Makes the call on every path, into outputs full of NaN, and compares them with
 * those of the scalar path. Returns the first status that is not ATTN_OK. */
typedef attn_status (*test_call)(const void *context, attn_exec run);
attn_status test_all_paths(test_call call, const void *context, const attn_array *const *outputs, size_t count,
                           int *same);

/* Prints one result: within bounds, the same bits on all paths, guards intact. Skipped if the
 * library does not implement the problem. */
int test_attention(const attn_desc *desc, const char *format, ...) TEST_PRINTF(2, 3);

/* A plain attention problem: q, k and v normal numbers, and out, lse and scores of the right
 * shapes. */
typedef struct test_shape {
    attn_dtype type;
    size_t batch, q_heads, kv_heads, q_len, kv_len, head_dim, head_dim_v;
} test_shape;

attn_desc test_problem(const test_shape *shape, test_rng *rng);

/* The same problem with a mask that has a column for every key, and a byte for every bit. */
attn_desc test_whole_mask(const attn_desc *desc);

/* The same problem with outputs of its own, full of NaN; and whether out, lse, scores, colsum,
 * rowmax and rowsum, if present, have the same bits. */
attn_desc test_again(const attn_desc *desc);
int test_same_outputs(const attn_desc *got, const attn_desc *want);

/* Has d, on every path and with tasks out of order, the outputs of `want` on the scalar path? `bounds`: and is it
 * within them? */
int test_same_problem(const attn_desc *d, const attn_desc *want, test_rng *rng, int bounds);

/* Have parts of d's keys, from cuts[n] to cuts[n + 1], merged in turn, its outputs? It has no scores or column sums. */
int test_in_parts(const attn_desc *d, const size_t *cuts, int parts, attn_exec run);

#endif
