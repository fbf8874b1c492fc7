/* SPDX-License-Identifier: MIT-0
 *
 * poisoned.c - what NaN, infinities and numbers beyond the range cost: each kind of them, in each array, with each set
 * of options and shape, against the same problem with ordinary numbers, in turns. Prints the cases above a limit of
 * clean times (8), and the worst of each type and path; then, where one row of 100 is such, those above 1.5:
 *
 *     bench/poisoned [TYPE|all [PATH|auto [LIMIT [PART-OF-A-NAME]]]]
 *
 * TYPE: f32, f64, f16, or bf16 (keys and values; queries are float32).
 */
#define _POSIX_C_SOURCE 200809L
#include "attention.h"

#include "check/clock.h"
#include "check/reference.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* ---------------------------------------------------------------- cases -- */

typedef struct shape {
    size_t heads, kv_heads, queries, keys, dim;
} shape;
static const shape shapes[] = {
    {12, 12, 1, 1, 64},  {12, 12, 1, 8, 64},   {2, 2, 6, 6, 8},     {4, 4, 16, 16, 16},
    {1, 1, 17, 100, 40}, {1, 1, 64, 64, 64},   {8, 2, 1, 512, 64},  {2, 2, 16, 512, 16},
    {1, 1, 64, 512, 64}, {1, 1, 64, 1500, 64}, {2, 1, 4, 1500, 32}, {8, 2, 1, 3000, 128},
};

static const shape long_shapes[] = {
    {1, 1, 200, 512, 64}, {1, 1, 200, 200, 64}, {1, 1, 400, 64, 32}, {2, 2, 200, 300, 128}, {100, 25, 1, 512, 64},
};

/* What an array has: in every STEP-th element, or in the first of each row, or of each hundredth, the value or its
 * opposite. */
enum { EACH = 1, ONE_OF_64 = 64, FIRST_OF_ROW = 0, FIRST_OF_100_ROWS = 2 };
enum { SAME, ALTERNATING };
typedef struct poison {
    const char *name, *arrays; /* q k v mask slopes sinks, by their first letters */
    double value;              /* LARGE: of the largest number */
    size_t step;
    int signs;
    double scale; /* 0: the usual one */
} poison;
/* a part of the largest number of the type; less than that is taken as it is */
#define LARGE(part) (1e300 * (part))
static const poison poisons[] = {
    {"q inf", "q", (double)INFINITY, EACH, SAME, 0},
    {"q inf, first", "q", (double)INFINITY, FIRST_OF_ROW, SAME, 0},
    {"q nan, first", "q", (double)NAN, FIRST_OF_ROW, SAME, 0},
    {"q largest", "q", LARGE(1), EACH, SAME, 0},
    {"q largest, first", "q", LARGE(1), FIRST_OF_ROW, SAME, 0},
    {"q large, signs", "q", LARGE(0.5), EACH, ALTERNATING, 0},
    {"k inf", "k", (double)INFINITY, EACH, SAME, 0},
    {"k inf, signs", "k", (double)INFINITY, EACH, ALTERNATING, 0},
    {"k inf, first", "k", (double)INFINITY, FIRST_OF_ROW, SAME, 0},
    {"k inf, some", "k", (double)INFINITY, ONE_OF_64, SAME, 0},
    {"k nan, some", "k", (double)NAN, ONE_OF_64, SAME, 0},
    {"k nan", "k", (double)NAN, EACH, SAME, 0},
    {"k largest", "k", LARGE(1), EACH, SAME, 0},
    {"k largest, signs", "k", LARGE(1), EACH, ALTERNATING, 0},
    {"k largest, some", "k", LARGE(1), ONE_OF_64, SAME, 0},
    {"v inf", "v", (double)INFINITY, EACH, SAME, 0},
    {"v inf, signs", "v", (double)INFINITY, EACH, ALTERNATING, 0},
    {"v inf, first", "v", (double)INFINITY, FIRST_OF_ROW, SAME, 0},
    {"v inf, some", "v", (double)INFINITY, ONE_OF_64, SAME, 0},
    {"v nan, some", "v", (double)NAN, ONE_OF_64, SAME, 0},
    {"v nan", "v", (double)NAN, EACH, SAME, 0},
    {"v largest", "v", LARGE(1), EACH, SAME, 0},
    {"v largest, signs", "v", LARGE(1), EACH, ALTERNATING, 0},
    {"v largest, some", "v", LARGE(1), ONE_OF_64, SAME, 0},
    {"q k largest", "qk", LARGE(1), EACH, SAME, 0},
    {"q k large, signs", "qk", LARGE(0.5), EACH, ALTERNATING, 0},
    {"q k v largest", "qkv", LARGE(1), EACH, SAME, 0},
    {"q k v large, signs", "qkv", LARGE(0.5), EACH, ALTERNATING, 0},
    {"q k v some", "qkv", LARGE(1), ONE_OF_64, ALTERNATING, 0},
    {"k largest, v nan", "kV", LARGE(1), EACH, SAME, 0},
    {"k v inf", "kv", (double)INFINITY, EACH, SAME, 0},
    {"all largest", "qkvmas", LARGE(1), EACH, SAME, 0},
    {"all large, signs", "qkvmas", LARGE(0.5), EACH, ALTERNATING, 0},
    {"mask largest", "m", LARGE(1), EACH, ALTERNATING, 0},
    {"mask nan, some", "m", (double)NAN, ONE_OF_64, SAME, 0},
    {"slopes inf", "a", (double)INFINITY, EACH, SAME, 0},
    {"slopes largest", "a", LARGE(1), EACH, SAME, 0},
    {"sinks nan", "s", (double)NAN, EACH, SAME, 0},
    {"sinks inf", "s", (double)INFINITY, EACH, SAME, 0},
    {"scale largest", "", 0, EACH, SAME, LARGE(1)},
    {"scale largest, q largest", "q", LARGE(1), EACH, SAME, LARGE(1)},
    {"scale largest, q k v largest", "qkv", LARGE(1), EACH, ALTERNATING, LARGE(1)},
    {"scale largest, all largest", "qkvmas", LARGE(1), EACH, ALTERNATING, LARGE(1)},
    {"scale tiny, q k largest", "qk", LARGE(1), EACH, ALTERNATING, 1e-38},
};

static const poison rare[] = {
    {"q inf in one row of 100", "q", (double)INFINITY, FIRST_OF_100_ROWS, SAME, 0},
    {"q nan in one row of 100", "q", (double)NAN, FIRST_OF_100_ROWS, SAME, 0},
    {"q largest in one row of 100", "q", LARGE(1), FIRST_OF_100_ROWS, SAME, 0},
};

typedef struct options {
    const char *name;
    int causal, window, mask, slopes, sinks, weights, colsum, statistics, softcap, part;
} options;
static const options sets[] = {
    {"plain", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
    {"causal", 1, 0, 0, 0, 0, 0, 0, 0, 0, 0},
    {"window", 1, 1, 0, 0, 0, 0, 0, 0, 0, 0},
    {"mask", 0, 0, 1, 0, 0, 0, 0, 0, 0, 0},
    {"alibi", 1, 0, 0, 1, 0, 0, 0, 0, 0, 0},
    {"sinks", 0, 0, 0, 0, 1, 0, 0, 0, 0, 0},
    {"softcap", 0, 0, 0, 0, 0, 0, 0, 0, 1, 0},
    {"softcap, mask", 0, 0, 1, 0, 0, 0, 0, 0, 1, 0},
    {"weights", 0, 0, 0, 0, 0, 1, 0, 0, 0, 0},
    {"weights, causal", 1, 0, 0, 0, 0, 1, 0, 0, 0, 0},
    {"weights, mask, softcap", 0, 0, 1, 0, 0, 1, 0, 0, 1, 0},
    {"colsum", 0, 0, 0, 0, 0, 0, 1, 0, 0, 0},
    {"statistics", 0, 0, 0, 0, 0, 0, 0, 1, 0, 0},
    {"all of them", 1, 1, 1, 1, 1, 1, 1, 1, 1, 0},
    {"part", 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
    {"part, causal, alibi", 1, 0, 0, 1, 0, 0, 0, 0, 0, 1},
    {"part, mask, softcap", 0, 0, 1, 0, 0, 0, 0, 0, 1, 1},
};

/* -------------------------------------------------------------- problem -- */

static double largest(attn_dtype type)
{
    return type == ATTN_F64    ? DBL_MAX
           : type == ATTN_F16  ? 65504
           : type == ATTN_BF16 ? 3.3895313892515355e38
                               : (double)FLT_MAX;
}

static void put(const attn_array *a, size_t at, double x)
{
    attn_array flat = *a;
    flat.ndim = 1;
    flat.shape[0] = at + 1;
    flat.stride[0] = 1;
    ref_set(&flat, 0, 0, 0, at, x);
}

static attn_array array(attn_dtype type, size_t heads, size_t rows, size_t columns)
{
    const size_t n = heads * rows * columns;
    attn_array a = attn_array_3d(type, NULL, heads, rows, columns);
    unsigned seed = 1;
    a.data = malloc(n * attn_dtype_size(type) + 1);
    if (!a.data) exit(1);
    for (size_t i = 0; i < n; i++) put(&a, i, (double)((seed = seed * 1664525u + 1013904223u) >> 8) / 8388608.0 - 1);
    return a;
}

static void spoil(const attn_array *a, size_t row, const poison *by, double value)
{
    const size_t n = a->ndim == 3 ? a->shape[0] * a->shape[1] * a->shape[2] : a->shape[0],
                 step = by->step == FIRST_OF_ROW        ? row
                        : by->step == FIRST_OF_100_ROWS ? row * 100
                                                        : by->step;
    if (isfinite(value)) value = value / 1e300 * largest(a->dtype);
    for (size_t i = 0; i < n; i += step) put(a, i, by->signs == ALTERNATING && i * 7 / 3 % 2 ? -value : value);
}

static attn_desc make(const shape *s, const options *o, const poison *by, attn_dtype q, attn_dtype kv)
{
    attn_desc desc = attn_desc_default(), *const d = &desc;
    const attn_dtype real = q == ATTN_F64 ? ATTN_F64 : ATTN_F32;
    d->q = array(q, s->heads, s->queries, s->dim);
    d->k = array(kv, s->kv_heads, s->keys, s->dim);
    d->v = array(kv, s->kv_heads, s->keys, s->dim);
    d->out = array(q, s->heads, s->queries, s->dim);
    d->causal = o->causal;
    d->align = o->part ? ATTN_ALIGN_UPPER_LEFT : ATTN_ALIGN_LOWER_RIGHT;
    d->window = o->window;
    d->window_left = o->window ? (int64_t)(s->keys / 2) : 0;
    d->softcap = o->softcap ? 30 : 0;
    if (o->mask) d->mask = array(real, 1, s->queries, s->keys);
    if (o->slopes) {
        d->alibi = array(real, 1, 1, s->heads);
        d->alibi.ndim = 1, d->alibi.shape[0] = s->heads;
        for (size_t h = 0; h < s->heads; h++) put(&d->alibi, h, 1 / (1.0 + (double)h));
    }
    if (o->sinks) d->sinks = array(real, 1, 1, s->heads), d->sinks.ndim = 1, d->sinks.shape[0] = s->heads;
    if (o->weights) d->scores = array(real, s->heads, s->queries, s->keys);
    if (o->colsum)
        d->colsum = array(real, 1, s->heads, s->keys), d->colsum.ndim = 2, d->colsum.shape[0] = s->heads,
        d->colsum.shape[1] = s->keys;
    if (o->statistics) {
        attn_array *const to[] = {&d->lse, &d->rowmax, &d->rowsum};
        for (size_t i = 0; i < 3; i++)
            *to[i] = array(real, 1, s->heads, s->queries), to[i]->ndim = 2, to[i]->shape[0] = s->heads,
            to[i]->shape[1] = s->queries;
    }
    if (!by) return desc;
    if (by->scale != 0) d->scale = by->scale >= 1e300 ? largest(real) : by->scale;
    if (strchr(by->arrays, 'q')) spoil(&d->q, s->dim, by, by->value);
    if (strchr(by->arrays, 'k')) spoil(&d->k, s->dim, by, by->value);
    if (strchr(by->arrays, 'v')) spoil(&d->v, s->dim, by, by->value);
    if (strchr(by->arrays, 'V')) spoil(&d->v, s->dim, by, (double)NAN);
    if (o->mask && strchr(by->arrays, 'm')) spoil(&d->mask, s->keys, by, by->value);
    if (o->slopes && strchr(by->arrays, 'a')) spoil(&d->alibi, 1, by, fabs(by->value));
    if (o->sinks && strchr(by->arrays, 's')) spoil(&d->sinks, 1, by, by->value);
    return desc;
}

static void unmake(const attn_desc *d)
{
    void *const all[] = {d->q.data,     d->k.data,      d->v.data,      d->out.data, d->mask.data,   d->alibi.data,
                         d->sinks.data, d->scores.data, d->colsum.data, d->lse.data, d->rowmax.data, d->rowsum.data};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* ------------------------------------------------------------ measuring -- */

/* How to run, and room for a state, where that of a part is wanted. */
typedef struct workspace {
    attn_exec exec;
    void *state;
    size_t state_size;
} workspace;

static double once(const attn_desc *d, const workspace *run, int calls)
{
    const double begin = thread_seconds();
    for (int i = 0; i < calls; i++) {
        const attn_status status =
            run->state ? attn_partial(d, run->state, run->state_size, &run->exec) : attn_forward(d, &run->exec);
        if (status) {
            fprintf(stderr, "poisoned: %s\n", attn_status_string(status));
            exit(1);
        }
    }
    return (thread_seconds() - begin) / calls;
}

/* The least of several rounds, in turns; of few where it is far below the limit. */
static double ratio(const attn_desc *clean, const attn_desc *bad, const workspace *run, int rounds, double limit,
                    double *clean_time)
{
    double a = (double)INFINITY, b = a, first;
    int calls;
    once(clean, run, 1);
    first = once(clean, run, 1);
    calls = first > 20e-6 ? 1 : 1 + (int)(20e-6 / (first + 1e-7));
    once(bad, run, 1);
    for (int i = 0; i < rounds; i++) {
        a = fmin(a, once(clean, run, calls));
        b = fmin(b, once(bad, run, calls));
        if (i > 1 && b < a * limit * 0.6) break;
    }
    *clean_time = a;
    return b / a;
}

typedef struct element_types {
    const char *name;
    attn_dtype q, kv;
} element_types;
static const element_types types[] = {{"f32", ATTN_F32, ATTN_F32},
                                      {"f64", ATTN_F64, ATTN_F64},
                                      {"f16", ATTN_F16, ATTN_F16},
                                      {"bf16", ATTN_F32, ATTN_BF16}};

typedef struct tally {
    double limit, worst;
    int cases, above;
    const char *only;
} tally;

/* All poisons in a shape with a set of options, whose clean problem is measured beside each. */
static void measure(const element_types *type, const shape *s, const options *o, const poison *list, size_t count,
                    attn_path path, tally *to)
{
    attn_desc clean = make(s, o, NULL, type->q, type->kv);
    workspace run = {attn_exec_default(), NULL, 0};
    run.exec.path = path;
    if (attn_workspace_size(&clean, 1, &run.exec.workspace_size) ||
        !(run.exec.workspace = malloc(run.exec.workspace_size)))
        exit(1);
    if (o->part && (attn_state_size(&clean, &run.state_size) || !(run.state = malloc(run.state_size)))) exit(1);
    for (size_t k = 0; k < count; k++) {
        attn_desc bad;
        double seconds, r;
        char name[200];
        snprintf(name, sizeof name, "%s  %zu/%zu x (%zu, %zu, %zu)  %s: %s", type->name, s->heads, s->kv_heads,
                 s->queries, s->keys, s->dim, o->name, list[k].name);
        if (to->only && !strstr(name, to->only)) continue;
        bad = make(s, o, list + k, type->q, type->kv);
        r = ratio(&clean, &bad, &run, 7, to->limit, &seconds);
        if (r > to->limit * 0.95) r = ratio(&clean, &bad, &run, 41, to->limit, &seconds);
        to->cases++;
        to->worst = fmax(to->worst, r);
        if (r > to->limit) {
            to->above++;
            printf("%5.2f  %9.2f us  %s\n", r, seconds * 1e6, name);
            fflush(stdout);
        }
        unmake(&bad);
    }
    unmake(&clean);
    free(run.exec.workspace);
    free(run.state);
}

static void measure_all(const element_types *type, attn_path path, const shape *list, size_t count, const poison *kinds,
                        size_t kind_count, double limit, const char *only)
{
    tally of = {limit, 0, 0, 0, only};
    for (size_t s = 0; s < count; s++)
        for (size_t o = 0; o < COUNT(sets); o++) measure(type, list + s, sets + o, kinds, kind_count, path, &of);
    printf("%s, %s: %d of %d above %g, the worst %.2f\n", type->name, attn_path_name(path), of.above, of.cases,
           of.limit, of.worst);
}

int main(int argc, char **argv)
{
    attn_path path = ATTN_PATH_AUTO;
    int known = argc < 2 || strcmp(argv[1], "all") == 0, found = argc < 3;
    for (size_t t = 0; t < COUNT(types); t++) known |= argc > 1 && strcmp(argv[1], types[t].name) == 0;
    for (int p = 0; p < ATTN_PATH_COUNT && !found; p++)
        if (strcmp(argv[2], attn_path_name((attn_path)p)) == 0) path = (attn_path)p, found = 1;
    if (!known || !found || !attn_path_supported(path)) {
        fprintf(stderr,
                "poisoned: no such type, or no such path here: [f32|f64|f16|bf16|all [PATH|auto [LIMIT [PART]]]]\n");
        return 2;
    }
    for (size_t t = 0; t < COUNT(types); t++) {
        const double limit = argc > 3 ? atof(argv[3]) : 8;
        const char *only = argc > 4 ? argv[4] : NULL;
        if (argc > 1 && strcmp(argv[1], types[t].name) != 0 && strcmp(argv[1], "all") != 0) continue;
        measure_all(types + t, path, shapes, COUNT(shapes), poisons, COUNT(poisons), limit, only);
        measure_all(types + t, path, long_shapes, COUNT(long_shapes), rare, COUNT(rare), fmin(limit, 1.5), only);
    }
    return 0;
}
