/* SPDX-License-Identifier: MIT-0
 *
 * cases.c - the work that is timed: shapes, inputs, and what the output must be.
 */
#define _POSIX_C_SOURCE 200809L
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Heads, queries, keys, head dimension; a matrix has its rows, columns and depth. */
#define SHAPE(h, kv, rows, columns, depth) .heads = (h), .kv_heads = (kv), .m = (rows), .n = (columns), .k = (depth)

#define MOVED(HEADS, M, N, KIND) SHAPE(HEADS, HEADS, M, N, 0), .kind = (KIND), .bound = BENCH_BY_COPY, .alone = 1
#define POISONED(NAME, TYPE, BESIDE, WHAT, ARRAYS, STEP, VALUE)                                                        \
    {                                                                                                                  \
        .name = (NAME), .what = "8 heads, 512 tokens, d 64, " WHAT, SHAPE(8, 8, 512, 512, 64), .type = (TYPE),         \
        .alone = 1, .poison = {ARRAYS, STEP, (double)(VALUE)}, .beside = (BESIDE)                                      \
    }

/* Members not given are 0: attention, float32, bound by multiply-adds, not causal. */
static const bench_case cases[] = {
    {.name = "prefill-2048-d64",
     .what = "causal prefill, 8 heads, 2048 tokens, d 64",
     SHAPE(8, 8, 2048, 2048, 64),
     .causal = 1,
     .plotted = 1},
    {.name = "prefill-gqa-2048-d128",
     .what = "causal prefill, 8 query and 2 key heads, 2048 tokens, d 128",
     SHAPE(8, 2, 2048, 2048, 128),
     .causal = 1,
     .plotted = 1},
    {.name = "full-512-d64", .what = "8 heads, 512 tokens, d 64", SHAPE(8, 8, 512, 512, 64), .plotted = 1},
    {.name = "full-197-d64", .what = "ViT-B: 12 heads, 197 tokens, d 64", SHAPE(12, 12, 197, 197, 64), .plotted = 1},
    {.name = "prefill-8192-d128",
     .what = "causal prefill, 2 heads, 8192 tokens, d 128",
     SHAPE(2, 2, 8192, 8192, 128),
     .causal = 1,
     .plotted = 1},
    {.name = "decode-1024",
     .what = "decode, 32 query and 8 key heads, 1024 keys, d 128",
     SHAPE(32, 8, 1, 1024, 128),
     .bound = BENCH_BY_READ},
    {.name = "decode-4096",
     .what = "decode, 32 query and 8 key heads, 4096 keys, d 128",
     SHAPE(32, 8, 1, 4096, 128),
     .bound = BENCH_BY_READ,
     .plotted = 1},
    {.name = "decode-32768",
     .what = "decode, 32 query and 8 key heads, 32768 keys, d 128",
     SHAPE(32, 8, 1, 32768, 128),
     .bound = BENCH_BY_READ,
     .plotted = 1},
    {.name = "decode-32768-f16",
     .what = "decode, 32 query and 8 key heads, 32768 float16 keys, d 128",
     SHAPE(32, 8, 1, 32768, 128),
     .type = BENCH_F16,
     .bound = BENCH_BY_READ},
    {.name = "decode-32768-bf16",
     .what = "decode, 32 query and 8 key heads, 32768 bfloat16 keys, d 128",
     SHAPE(32, 8, 1, 32768, 128),
     .type = BENCH_BF16,
     .bound = BENCH_BY_READ},
    {.name = "decode-32768-i8",
     .what = "decode, 32 query and 8 key heads, 32768 int8 keys with a scale each, d 128",
     SHAPE(32, 8, 1, 32768, 128),
     .type = BENCH_I8,
     .bound = BENCH_BY_READ,
     .beside = "decode-32768"},
    {.name = "decode-32768-single",
     .what = "decode, 8 query and 8 key heads, 32768 keys, d 128",
     SHAPE(8, 8, 1, 32768, 128),
     .bound = BENCH_BY_READ,
     .alone = 1},
    {.name = "decode-32768-single-i8",
     .what = "decode, 8 query and 8 key heads, 32768 int8 keys with a scale each, d 128",
     SHAPE(8, 8, 1, 32768, 128),
     .type = BENCH_I8,
     .bound = BENCH_BY_READ,
     .alone = 1,
     .beside = "decode-32768-single"},
    {.name = "prefill-2048-d64-i8",
     .what = "causal prefill, 8 heads, 2048 tokens, int8 keys with a scale each, d 64",
     SHAPE(8, 8, 2048, 2048, 64),
     .type = BENCH_I8,
     .causal = 1,
     .alone = 1,
     .beside = "prefill-2048-d64"},
    {.name = "decode-4096-by-position",
     .what = "decode, 32 query and 8 key heads, 4096 keys stored (position, head, d), d 128",
     SHAPE(32, 8, 1, 4096, 128),
     .bound = BENCH_BY_READ,
     .by_position = 1,
     .alone = 1,
     .beside = "decode-4096"},
    {.name = "decode-4096-pages-16",
     .what = "decode, 32 query and 8 key heads, 4096 keys in pages of 16, d 128",
     SHAPE(32, 8, 1, 4096, 128),
     .bound = BENCH_BY_READ,
     .page = 16,
     .alone = 1,
     .beside = "decode-4096"},
    {.name = "decode-4096-pages-64",
     .what = "decode, 32 query and 8 key heads, 4096 keys in pages of 64, d 128",
     SHAPE(32, 8, 1, 4096, 128),
     .bound = BENCH_BY_READ,
     .page = 64,
     .alone = 1,
     .beside = "decode-4096"},
    {.name = "decode-4096-group-64",
     .what = "decode, 64 query heads of one key head, 4096 keys, d 512",
     SHAPE(64, 1, 1, 4096, 512),
     .alone = 1},
    {.name = "decode-4096-group-16",
     .what = "decode, 16 query heads of one key head, 4096 keys, d 512",
     SHAPE(16, 1, 1, 4096, 512),
     .alone = 1,
     .beside = "decode-4096-group-64"},
    {.name = "decode-1-hot", .what = "decode, 12 heads, one key, d 64", SHAPE(12, 12, 1, 1, 64)},
    {.name = "decode-16-hot", .what = "decode, 12 heads, 16 keys, d 64", SHAPE(12, 12, 1, 16, 64)},
    {.name = "decode-256-hot", .what = "decode, 12 heads, 256 keys, d 64", SHAPE(12, 12, 1, 256, 64)},
    {.name = "steps-1024",
     .what = "12 heads, 1024 tokens, d 64, in three steps",
     SHAPE(12, 12, 1024, 1024, 64),
     .weights = BENCH_STEPS,
     .alone = 1},
    {.name = "weights-1024",
     .what = "12 heads, 1024 tokens, d 64, with all weights",
     SHAPE(12, 12, 1024, 1024, 64),
     .weights = BENCH_WEIGHTS,
     .alone = 1,
     .beside = "steps-1024"},
    {.name = "softmax-4096x4096",
     .what = "softmax of 4096 rows of 4096",
     SHAPE(1, 1, 4096, 4096, 0),
     .kind = BENCH_SOFTMAX,
     .bound = BENCH_BY_COPY,
     .axis = 1,
     .plotted = 1},
    {.name = "softmax-1024x1000",
     .what = "softmax of 1024 rows of 1000",
     SHAPE(1, 1, 1024, 1000, 0),
     .kind = BENCH_SOFTMAX,
     .bound = BENCH_BY_COPY,
     .axis = 1,
     .plotted = 1},
    {.name = "softmax-rows-10",
     .what = "softmax of 65536 rows of 10",
     SHAPE(1, 1, 65536, 10, 0),
     .kind = BENCH_SOFTMAX,
     .bound = BENCH_BY_COPY,
     .axis = 1},
    {.name = "softmax-rows-32",
     .what = "softmax of 32768 rows of 32",
     SHAPE(1, 1, 32768, 32, 0),
     .kind = BENCH_SOFTMAX,
     .bound = BENCH_BY_COPY,
     .axis = 1},
    {.name = "softmax-axis0",
     .what = "softmax of 4096 x 4096 along axis 0",
     SHAPE(1, 1, 4096, 4096, 0),
     .kind = BENCH_SOFTMAX,
     .bound = BENCH_BY_COPY,
     .axis = 0},
    {.name = "small-6-d8", .what = "one head, 6 tokens, d 8", SHAPE(1, 1, 6, 6, 8)},
    {.name = "small-16-d64", .what = "one head, 16 tokens, d 64", SHAPE(1, 1, 16, 16, 64)},
    {.name = "matmul-512", .what = "matmul (512, 512) by (512, 512)", SHAPE(1, 1, 512, 512, 512), .kind = BENCH_MATMUL},
    {.name = "matmul-2048x768x768",
     .what = "matmul (2048, 768) by (768, 768)",
     SHAPE(1, 1, 2048, 768, 768),
     .kind = BENCH_MATMUL,
     .plotted = 1},
    {.name = "matmul-1x4096x4096",
     .what = "matmul (1, 4096) by (4096, 4096)",
     SHAPE(1, 1, 1, 4096, 4096),
     .kind = BENCH_MATMUL,
     .bound = BENCH_BY_READ},
    {.name = "matmul-turned-1x4096",
     .what = "matmul (1, 4096) by (4096, 4096), stored (out, in)",
     SHAPE(1, 1, 1, 4096, 4096),
     .kind = BENCH_MATMUL,
     .axis = 1,
     .bound = BENCH_BY_READ},
    {.name = "matmul-turned-1x768",
     .what = "matmul (1, 768) by (768, 768), stored (out, in)",
     SHAPE(1, 1, 1, 768, 768),
     .kind = BENCH_MATMUL,
     .axis = 1,
     .bound = BENCH_BY_READ},
    {.name = "append-512", .what = "cache append, 512 positions of 12 heads, d 64", MOVED(12, 512, 64, BENCH_APPEND)},
    {.name = "append-512-f16",
     .what = "cache append, 512 positions of 12 heads, d 64, to float16",
     MOVED(12, 512, 64, BENCH_APPEND),
     .type = BENCH_F16},
    {.name = "rotary-512",
     .what = "rotary embedding, 512 positions of 12 heads, d 64",
     MOVED(12, 512, 64, BENCH_ROTARY)},
    {.name = "rotary-1", .what = "rotary embedding, a position of 12 heads, d 64", MOVED(12, 1, 64, BENCH_ROTARY)},
    {.name = "matmul-6x8x8", .what = "matmul (6, 8) by (8, 8)", SHAPE(1, 1, 6, 8, 8), .kind = BENCH_MATMUL},
    {.name = "full-512-d64-f64",
     .what = "8 heads, 512 tokens, d 64, float64",
     SHAPE(8, 8, 512, 512, 64),
     .type = BENCH_F64,
     .beside = "full-512-d64"},
    {.name = "window-256-8192",
     .what = "causal window of 256 keys, 2 heads, 8192 tokens, d 128",
     SHAPE(2, 2, 8192, 8192, 128),
     .causal = 1,
     .window = 256,
     .beside = "prefill-8192-d128"},
    {.name = "documents-8x512",
     .what = "boolean mask of 8 documents of 512 tokens, 8 heads, d 64",
     SHAPE(8, 8, 4096, 4096, 64),
     .mask = BENCH_DOCUMENTS,
     .beside = "full-512-d64"},
    {.name = "triangle-512",
     .what = "boolean mask that is a lower triangle, 8 heads, 512 tokens, d 64",
     SHAPE(8, 8, 512, 512, 64),
     .mask = BENCH_TRIANGLE,
     .beside = "full-512-d64"},
    {.name = "alibi-2048",
     .what = "ALiBi, causal prefill, 8 heads, 2048 tokens, d 64",
     SHAPE(8, 8, 2048, 2048, 64),
     .causal = 1,
     .alibi = 1,
     .beside = "prefill-2048-d64"},
    {.name = "distances-2048",
     .what = "bias by distance, causal prefill, 8 heads, 2048 tokens, d 64",
     SHAPE(8, 8, 2048, 2048, 64),
     .causal = 1,
     .distances = 2048,
     .beside = "prefill-2048-d64"},
    {.name = "distances-128-gqa",
     .what = "bias by distances below 128, causal prefill, 8 query and 2 key heads, 2048 tokens, d 128",
     SHAPE(8, 2, 2048, 2048, 128),
     .causal = 1,
     .distances = 128,
     .beside = "prefill-gqa-2048-d128"},
    {.name = "distances-decode-4096",
     .what = "bias by distance, decode, 32 query and 8 key heads, 4096 keys, d 128",
     SHAPE(32, 8, 1, 4096, 128),
     .bound = BENCH_BY_READ,
     .distances = 4096,
     .alone = 1,
     .beside = "decode-4096"},
    {.name = "softcap-2048",
     .what = "softcap 20, causal prefill, 8 heads, 2048 tokens, d 64",
     SHAPE(8, 8, 2048, 2048, 64),
     .causal = 1,
     .softcap = 20,
     .beside = "prefill-2048-d64"},
    POISONED("full-512-infinity", BENCH_F32, "full-512-d64", "infinity in one value of each head", "c", 512 * 64,
             INFINITY),
    POISONED("full-512-infinities", BENCH_F32, "full-512-d64", "no value but infinity", "c", 1, INFINITY),
    POISONED("full-512-nan", BENCH_F32, "full-512-d64", "NaN in one key of each head", "b", 512 * 64, NAN),
    POISONED("full-512-nan-100", BENCH_F32, "full-512-d64", "NaN in one query of 100", "a", 100 * 64, NAN),
    POISONED("full-512-huge", BENCH_F32, "full-512-d64", "all scores overflow", "ab", 1, 1e30),
    POISONED("full-512-huge-values", BENCH_F32, "full-512-d64", "all sums of values overflow", "c", 1, 3e38),
    POISONED("full-512-f64-nan", BENCH_F64, "full-512-d64-f64", "float64, NaN in one key of each head", "b", 512 * 64,
             NAN),
    POISONED("full-512-f64-huge", BENCH_F64, "full-512-d64-f64", "float64, all scores overflow", "ab", 1, 1e160),
    POISONED("full-512-f64-huge-values", BENCH_F64, "full-512-d64-f64", "float64, all sums of values overflow", "c", 1,
             1.7e308),
    {.name = "softmax-nan",
     .what = "softmax of 1024 rows of 1000, NaN in each row",
     SHAPE(1, 1, 1024, 1000, 0),
     .kind = BENCH_SOFTMAX,
     .bound = BENCH_BY_COPY,
     .axis = 1,
     .alone = 1,
     .poison = {"a", 1000, (double)NAN},
     .beside = "softmax-1024x1000"},
    {.name = "softmax-nan-axis0",
     .what = "softmax of 4096 x 4096 along axis 0, NaN in each column",
     SHAPE(1, 1, 4096, 4096, 0),
     .kind = BENCH_SOFTMAX,
     .bound = BENCH_BY_COPY,
     .axis = 0,
     .alone = 1,
     .poison = {"a", 4097, (double)NAN},
     .beside = "softmax-axis0"},
    {.name = "mask-2048",
     .what = "random boolean mask, causal prefill, 8 heads, 2048 tokens, d 64",
     SHAPE(8, 8, 2048, 2048, 64),
     .causal = 1,
     .mask = BENCH_RANDOM,
     .beside = "prefill-2048-d64"},
    {.name = "threads-2",
     .what = "two threads, causal prefill, 8 heads, 2048 tokens, d 64",
     SHAPE(8, 8, 2048, 2048, 64),
     .causal = 1,
     .threads = 2,
     .beside = "prefill-2048-d64"},
    {.name = "threads-2-gqa",
     .what = "two threads, causal prefill, 8 query and 2 key heads, 2048 tokens, d 128",
     SHAPE(8, 2, 2048, 2048, 128),
     .causal = 1,
     .threads = 2,
     .beside = "prefill-gqa-2048-d128"},
};

size_t bench_case_count(void) { return sizeof cases / sizeof *cases; }

const bench_case *bench_case_at(size_t index) { return &cases[index]; }

const bench_case *bench_case_named(const char *name)
{
    for (size_t i = 0; i < bench_case_count(); i++)
        if (!strcmp(cases[i].name, name)) return &cases[i];
    return NULL;
}

int bench_case_has_peers(const bench_case *s)
{
    /* Cases with any of these options are compared with another case, not with peers. */
    return !s->alone && s->threads < 2 && !s->window && !(s->softcap > 0) && !s->alibi && !s->distances && !s->mask;
}

bench_unit bench_case_unit(const bench_case *shape) { return shape->bound == BENCH_BY_FMA ? BENCH_GFLOPS : BENCH_GBS; }

int bench_listed(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        if (!strncmp(p, name, length) && (p[length] == ',' || !p[length])) return 1;
    return 0;
}

void *bench_allocate(size_t bytes)
{
    void *p = NULL;
    return posix_memalign(&p, 64, bytes ? bytes : 1) ? NULL : p;
}

/* --------------------------------------------------------------- inputs -- */

static uint64_t next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Nearly normal, mean 0 and variance 1: the sum of four uniform numbers from one word. */
static double normal(uint64_t *state)
{
    uint64_t z = next(state);
    double sum = (double)((z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48));
    return (sum - 4 * 32767.5) * (1.7320508075688772 / 65536);
}

/* Of magnitude below 4 with few significant bits, so that it fits the narrow types exactly and the peers see the same
 * numbers in float32. */
#define SCALE 0.03125f /* of integers */
static float coarse(bench_type type, double x)
{
    const double unit = type == BENCH_I8 ? (double)SCALE : 0.015625, most = type == BENCH_I8 ? 127 : 255;
    double y = nearbyint(x / unit);
    y = y > most ? most : y < -most ? -most : y;
    return (float)(y * unit);
}

static uint16_t half(bench_type type, float x)
{
    uint32_t bits, magnitude;
    memcpy(&bits, &x, sizeof bits);
    if (type == BENCH_BF16) return (uint16_t)(bits >> 16);
    magnitude = bits & 0x7fffffff;
    return (uint16_t)((bits >> 16 & 0x8000) | (magnitude ? (magnitude - (112u << 23)) >> 13 : 0));
}

static void fill(bench_type type, void *data, void *narrow, size_t count, uint64_t seed)
{
    double *doubles = data;
    float *singles = data;
    for (size_t i = 0; i < count; i++)
        if (type == BENCH_F64) doubles[i] = normal(&seed);
        else singles[i] = narrow ? coarse(type, normal(&seed)) : (float)normal(&seed);
    for (size_t i = 0; narrow && i < count; i++)
        if (type == BENCH_I8) ((int8_t *)narrow)[i] = (int8_t)(singles[i] / SCALE);
        else ((uint16_t *)narrow)[i] = half(type, singles[i]);
}

/* Does the mask let query i see key j? */
static int visible(const bench_case *s, size_t i, size_t j)
{
    if ((s->causal && j > i) || (s->window && j + s->window <= i)) return 0;
    if (s->mask == BENCH_TRIANGLE) return j <= i;
    return s->mask != BENCH_DOCUMENTS || i / BENCH_DOCUMENT == j / BENCH_DOCUMENT;
}

static double visible_pairs(const bench_case *s)
{
    double pairs = 0;
    for (size_t i = 0; i < s->m; i++) {
        size_t end = s->causal && i < s->n ? i + 1 : s->n;
        if (s->mask == BENCH_DOCUMENTS || s->mask == BENCH_TRIANGLE)
            for (size_t j = 0; j < s->n; j++) pairs += visible(s, i, j);
        else pairs += (double)(s->window && end > s->window ? s->window : end);
    }
    return pairs;
}

static void fill_mask(const bench_job *job)
{
    const bench_case *s = job->shape;
    uint64_t seed = 4;
    for (size_t i = 0; i < s->m; i++)
        for (size_t j = 0; j < s->n; j++)
            job->mask[i * s->n + j] =
                s->mask == BENCH_RANDOM ? (uint8_t)(next(&seed) >> 63) : (uint8_t)visible(s, i, j);
}

/* Bytes of an element of K and V, if they have a type of their own; otherwise 0. */
static size_t narrow_size(const bench_case *s)
{
    return s->type == BENCH_F16 || s->type == BENCH_BF16 ? 2 : s->type == BENCH_I8 ? 1 : 0;
}

static int allocate(bench_job *job)
{
    const bench_case *s = job->shape;
    size_t scratch = 2 * s->n * sizeof(float);
    if (s->kind == BENCH_ATTENTION && bench_case_has_peers(s))
        scratch = s->m * sizeof(double) + (s->m > 1 ? s->m : s->heads) * s->n * job->element;
    job->a = bench_allocate(job->a_count * job->element);
    job->b = bench_allocate(job->b_count * job->element);
    job->c = bench_allocate(job->c_count * job->element);
    job->out = bench_allocate(job->out_count * job->element);
    job->scratch = bench_allocate(scratch);
    if (narrow_size(s)) {
        job->b_narrow = bench_allocate(job->b_count * narrow_size(s));
        job->c_narrow = bench_allocate(job->c_count * narrow_size(s));
    }
    if (s->type == BENCH_I8) job->scales = bench_allocate(s->kv_heads * s->n * sizeof(float));
    if (s->page) job->table = bench_allocate(s->n / s->page * sizeof(int32_t));
    if (s->mask) job->mask = bench_allocate(s->m * s->n);
    if (s->alibi) job->slopes = bench_allocate(s->heads * sizeof(float));
    if (s->distances) job->biases = bench_allocate(s->heads * s->distances * sizeof(float));
    if (s->weights) job->weights = bench_allocate(s->heads * s->m * s->n * job->element);
    if ((s->mask && !job->mask) || (s->alibi && !job->slopes) || (s->distances && !job->biases) ||
        (s->weights && !job->weights))
        return 0;
    if (!job->a || !job->b || !job->c || !job->out || !job->scratch ||
        (narrow_size(s) && (!job->b_narrow || !job->c_narrow)) || (s->type == BENCH_I8 && !job->scales) ||
        (s->page && !job->table))
        return 0;
    /* Touch the memory now, so that no timed run pays for that. */
    memset(job->scratch, 0, scratch);
    if (job->weights) memset(job->weights, 0, s->heads * s->m * s->n * job->element);
    bench_job_poison(job);
    return 1;
}

static void put_poison(const bench_job *job, char name, void *array, size_t count)
{
    const bench_poison *p = &job->shape->poison;
    for (size_t i = 0; p->arrays && strchr(p->arrays, name) && i < count; i += p->step)
        if (job->element == sizeof(double)) ((double *)array)[i] = p->value;
        else ((float *)array)[i] = (float)p->value;
}

bench_job *bench_job_open(const bench_case *s)
{
    bench_job *job = calloc(1, sizeof *job);
    if (!job) return NULL;
    job->shape = s;
    job->element = s->type == BENCH_F64 ? sizeof(double) : sizeof(float);
    switch (s->kind) {
    case BENCH_ATTENTION:
        job->a_count = job->out_count = s->heads * s->m * s->k;
        job->b_count = job->c_count = s->kv_heads * s->n * s->k;
        job->pairs = (double)s->heads * visible_pairs(s);
        job->flops = job->pairs * 4 * (double)s->k;
        job->peer_bytes = (double)(job->b_count + job->c_count) * (double)job->element;
        break;
    case BENCH_SOFTMAX:
        job->a_count = job->out_count = s->m * s->n;
        job->peer_bytes = 2 * (double)job->a_count * (double)job->element;
        break;
    case BENCH_APPEND:
    case BENCH_ROTARY:
        job->a_count = job->out_count = s->heads * s->m * s->n;
        job->peer_bytes = 2 * (double)job->a_count * (double)job->element;
        break;
    case BENCH_MATMUL:
        job->a_count = s->m * s->k;
        job->b_count = s->k * s->n;
        job->out_count = s->m * s->n;
        job->flops = 2 * (double)s->m * (double)s->n * (double)s->k;
        job->peer_bytes = (double)job->b_count * (double)job->element;
        break;
    }
    job->bytes = narrow_size(s) ? job->peer_bytes * (double)narrow_size(s) / 4 : job->peer_bytes;
    if (s->type == BENCH_I8) job->bytes += 2 * (double)(s->kv_heads * s->n) * sizeof(float);
    if (narrow_size(s) && s->kind == BENCH_APPEND) job->bytes = job->peer_bytes * 3 / 4; /* float32 is read */
    if (!allocate(job)) {
        bench_job_close(job);
        return NULL;
    }
    fill(s->type, job->a, NULL, job->a_count, 1);
    fill(s->type, job->b, job->b_narrow, job->b_count, 2);
    fill(s->type, job->c, job->c_narrow, job->c_count, 3);
    for (size_t i = 0; job->scales && i < s->kv_heads * s->n; i++) job->scales[i] = SCALE;
    job->len = (int32_t)s->n;
    for (size_t i = 0; job->table && i < s->n / s->page; i++) /* neighbours are not */
        job->table[i] = (int32_t)(i * 7 % (s->n / s->page));
    put_poison(job, 'a', job->a, job->a_count);
    put_poison(job, 'b', job->b, job->b_count);
    put_poison(job, 'c', job->c, job->c_count);
    if (s->mask) fill_mask(job);
    for (size_t h = 0; s->alibi && h < s->heads; h++)
        job->slopes[h] = (float)exp2(-8 * (double)(h + 1) / (double)s->heads);
    if (job->biases) fill(BENCH_F32, job->biases, NULL, s->heads * s->distances, 4);
    size_t element = narrow_size(s) ? narrow_size(s) : job->element;
    job->span[0] = narrow_size(s) ? job->b_narrow : job->b;
    job->span[1] = narrow_size(s) ? job->c_narrow : job->c;
    job->span_bytes[0] = job->b_count * element;
    job->span_bytes[1] = job->c_count * element;
    return job;
}

void bench_job_close(bench_job *job)
{
    if (!job) return;
    free(job->a);
    free(job->b);
    free(job->c);
    free(job->out);
    free(job->b_narrow);
    free(job->c_narrow);
    free(job->scales);
    free(job->table);
    free(job->scratch);
    free(job->mask);
    free(job->slopes);
    free(job->biases);
    free(job->weights);
    free(job);
}

void bench_job_poison(const bench_job *job) { memset(job->out, 0xff, job->out_count * job->element); /* NaN */ }
