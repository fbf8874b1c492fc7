/* SPDX-License-Identifier: MIT-0
 *
 * bench.h - what the parts of the benchmark share.
 *
 * It does not include attention.h, because peer_softmax.c includes it and is compiled with
 * -ffast-math, which attention.h refuses.
 */
#ifndef ATTN_BENCH_H
#define ATTN_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ------------------------------------------------------------- roofline -- */

enum { BENCH_WIDTHS = 3 };

/* The loops of one vector width. Data is aligned to 64 bytes; streams is 1 or 4. */
typedef struct bench_loops {
    int width;        /* bits */
    size_t fma_flops; /* float32 operations per repetition of fma */
    void (*fma)(size_t repetitions);
    void (*read)(const void *data, size_t bytes, int streams);
    void (*copy)(void *to, const void *from, size_t bytes, int streams);
    void (*copy_past_cache)(void *to, const void *from, size_t bytes, int streams); /* NULL: no such store */
} bench_loops;

/* The loops this machine runs, widest first; returns their number. */
size_t bench_roofline(const bench_loops *loops[BENCH_WIDTHS]);

/* ---------------------------------------------------------------- cases -- */

typedef enum bench_kind { BENCH_ATTENTION, BENCH_SOFTMAX, BENCH_MATMUL, BENCH_APPEND, BENCH_ROTARY } bench_kind;
typedef enum bench_type { BENCH_F32, BENCH_F64, BENCH_F16, BENCH_BF16, BENCH_I8 } bench_type;

/* What bounds the work: arithmetic, reading the operands, or copying in to out. */
typedef enum bench_bound { BENCH_BY_FMA, BENCH_BY_READ, BENCH_BY_COPY } bench_bound;

/* The unit in which the work is counted. */
typedef enum bench_unit { BENCH_GFLOPS, BENCH_GBS } bench_unit;

/* BENCH_RANDOM hides half of the keys at random. This saves no work, so all pairs are counted.
 * With BENCH_DOCUMENTS queries see the keys of their own 512 positions, with BENCH_TRIANGLE
 * those up to their own. The other keys can be skipped, and are not counted. */
typedef enum bench_mask { BENCH_UNMASKED, BENCH_RANDOM, BENCH_DOCUMENTS, BENCH_TRIANGLE } bench_mask;

enum { BENCH_DOCUMENT = 512 };

/* Weights of all heads: along with the output, or by the three steps of a notebook. */
typedef enum bench_weights { BENCH_NO_WEIGHTS, BENCH_WEIGHTS, BENCH_STEPS } bench_weights;

/* What is put into inputs: a value in each step-th element of the arrays that are named, as in "ab". */
typedef struct bench_poison {
    const char *arrays;
    size_t step;
    double value;
} bench_poison;

typedef struct bench_case {
    const char *name, *what;
    bench_kind kind;
    bench_type type; /* f16, bf16, i8: only K and V, or what is appended to; the rest is float32 */
    bench_bound bound;
    size_t heads, kv_heads;
    /* attention: m queries, n keys, head dimension k; matmul: (m, k) by (k, n);
     * softmax: (m, n); append, rotary: (heads, m, n) */
    size_t m, n, k;
    int causal;
    int axis;         /* softmax: 0 or 1; matmul: 1 where the second factor is stored (n, k) */
    size_t window;    /* keys that a query sees, itself included; 0: all */
    double softcap;   /* 0: none */
    int alibi;        /* slopes per head */
    size_t distances; /* entries of a relative bias, from distance 0 on, not causal: up to it; 0: none */
    bench_weights weights;
    int by_position;     /* keys and values are stored (position, head, d) */
    size_t page;         /* keys and values are in pages of so many positions; 0: they are not */
    bench_mask mask;     /* boolean */
    bench_poison poison; /* NULL: none */
    int threads;         /* 0: one */
    int alone;           /* no peers */
    int plotted;         /* the plot shows it */
    const char *beside;  /* another case to compare with, run in the same rounds; NULL: none */
} bench_case;

/* A case with its memory. a, b, c are q, k, v or x, or the two factors. */
typedef struct bench_job {
    const bench_case *shape;
    void *a, *b, *c, *out;
    void *b_narrow, *c_narrow; /* K and V in 8 or 16 bits, holding the same values */
    float *scales;             /* (kv_heads, n), of those of 8 bits */
    int32_t *table, len;       /* (n / page): where pages are; n */
    float *biases;             /* (heads, 1, distances) */
    void *scratch;             /* for the peers */
    uint8_t *mask;             /* (m, n) */
    float *slopes;             /* (heads) */
    void *weights;             /* (heads, m, n) */
    size_t a_count, b_count, c_count, out_count;
    size_t element;      /* bytes of the compute type */
    double flops;        /* 2 per multiply-add of visible work */
    double pairs;        /* visible queries and keys, over all heads */
    double bytes;        /* that have to be moved */
    double peer_bytes;   /* the same for peers, which do not have these types */
    const void *span[2]; /* what BENCH_BY_READ reads */
    size_t span_bytes[2];
} bench_job;

typedef struct bench_entry bench_entry;

/* Does the work once. Returns NULL, or why it cannot. */
typedef const char *(*bench_run)(const bench_job *job, const bench_entry *entry);

/* Seconds for that many runs, if they are measured elsewhere. */
typedef double (*bench_time)(const bench_entry *entry, size_t repetitions);

enum { BENCH_MAX_ENTRIES = 24, BENCH_NAME = 32 };

struct bench_entry {
    char name[BENCH_NAME];
    int ours;
    int width;    /* bits of its vectors, which choose the ceiling; 0: the widest */
    size_t block; /* private to `run`, like the next */
    int library;
    double bytes; /* that it has to move */
    bench_run run;
    bench_time time; /* NULL: our clock around `run` */
    void *state;     /* private to `run` */
};

size_t bench_case_count(void);
const bench_case *bench_case_at(size_t index);
const bench_case *bench_case_named(const char *name); /* NULL: no such case */
int bench_case_has_peers(const bench_case *shape);
bench_unit bench_case_unit(const bench_case *shape);

/* Is `name` one of the comma-separated `list`? */
int bench_listed(const char *list, const char *name);

/* Allocates memory and fills the inputs. NULL: not enough memory. */
bench_job *bench_job_open(const bench_case *shape);
void bench_job_close(bench_job *job);

/* Fills the output with NaN, so that unwritten elements are noticed. */
void bench_job_poison(const bench_job *job);

/* Largest error in the output on a sample of rows, as a multiple of what the reference allows
 * for our arithmetic; NaN if there is a NaN. */
double bench_job_error(const bench_job *job);

/* 64-byte aligned; NULL when there is no memory. Free with free(). */
void *bench_allocate(size_t bytes);

/* Contestants; each appends to entries[count] and returns the new count. `paths`
 * is a list of names with commas; NULL means the machine's vector paths. */
size_t bench_peers(const bench_job *job, bench_entry *entries, size_t count);
size_t bench_ours(const bench_job *job, const char *paths, bench_entry *entries, size_t count);
size_t bench_ours_workspace(const bench_entry *entry); /* bytes */
void bench_ours_free(bench_entry *entry);
int bench_ours_knows(const char *paths); /* does this machine run every path named? */
const char *bench_ours_version(void);

/* ---------------------------------------------------------------- peers -- */

/* What the linked libraries are and which code they chose, or NULL where they are
 * not linked; sets them to one thread. */
const char *bench_blas_core(void);
const char *bench_dnnl_core(void);

/* external.c: programs of other languages. A command reads lines from its input
 * and answers each with one line; bench/peer.py shows how.
 *   (start)                      name and description, or "skip" and the reason
 *   case KIND HEADS KV_HEADS M N K CAUSAL AXIS DIRECTORY UNIT
 *                                "ready" and perhaps how, or "skip" and the reason;
 *                                a, b and c are in that directory as plain float32.
 *                                UNIT: not 0 where b and c are int8, times this number
 *   run COUNT                    does it COUNT times; seconds of processor time
 *   write                        "written": the output is in the same directory, as out
 * The program ends when its input ends. */
int bench_external_add(const char *command); /* 0, or -1: too many */
const char *
bench_external_name(size_t index,
                    const char **description); /* NULL: no such program; an empty name: it is not available */
size_t bench_external(const bench_job *job, bench_entry *entries, size_t count);
void bench_external_end(void);

/* peer_softmax.c: loops written by hand, compiled for one vector width. */
typedef struct peer_loops {
    /* x[i] = exp(x[i] - max x), returns their sum */
    float (*exp_f32)(float *x, size_t n);
    double (*exp_f64)(double *x, size_t n);
    void (*scale_f32)(float *x, size_t n, float factor);
    void (*scale_f64)(double *x, size_t n, double factor);
    /* y = softmax of x (rows, columns) along the rows, or along axis 0 */
    void (*softmax_rows)(const float *x, float *y, size_t rows, size_t columns);
    void (*softmax_columns)(const float *x, float *y, float *sums, size_t rows, size_t columns);
    /* one head, q (m, d), k and v (n, d), scores (n); matmul (m, k) by (k, n) */
    void (*small_attention)(const float *q, const float *k, const float *v, float *out, float *scores, size_t m,
                            size_t n, size_t d);
    void (*small_matmul)(const float *a, const float *b, float *c, size_t m, size_t n, size_t k);
    void (*turned_matmul)(const float *a, const float *b, float *c, size_t m, size_t n, size_t k); /* b (n, k) */
} peer_loops;

const peer_loops *bench_peer_loops(int width);

/* --------------------------------------------------------------- results -- */

typedef struct bench_quartiles {
    double low, median, high;
} bench_quartiles;

typedef struct bench_result {
    bench_entry entry;
    const char *failure;      /* not NULL: why there are no figures */
    int wrong;                /* the output did not match */
    double error;             /* see bench_job_error */
    double work;              /* per run, in the unit of the case */
    bench_quartiles seconds;  /* per run */
    bench_quartiles rate;     /* 1e9 work per second */
    bench_quartiles fraction; /* of the ceiling in the same round */
    bench_quartiles speedup;  /* over the best peer in the same round */
    bench_quartiles beside;   /* work per second over that of the case beside */
    int has_peer, has_beside;
    int companion; /* it does the case to compare with */
    char ceiling[BENCH_NAME];
    bench_quartiles ceiling_rate;
} bench_result;

typedef struct bench_report_case {
    const bench_case *shape;
    size_t count, rounds;
    double share; /* share of a processor that this process got */
    bench_result result[BENCH_MAX_ENTRIES];
} bench_report_case;

typedef struct bench_roof {
    char name[40];
    const char *unit;
    bench_quartiles rate;
} bench_roof;

enum { BENCH_MAX_ROOFS = 64 };

/* Does time grow only with the visible work, and memory not at all? */
typedef struct bench_growth {
    size_t n; /* causal, one head, d 64 */
    char path[BENCH_NAME];
    double pairs;             /* visible */
    bench_quartiles per_pair; /* seconds */
    bench_quartiles fraction; /* of the FMA ceiling */
    size_t workspace;         /* bytes asked for */
    long peak;                /* KiB by which the process grew beyond inputs, outputs and workspace; -1: unknown */
} bench_growth;

enum { BENCH_MAX_GROWTH = 64 };

typedef struct bench_report {
    char cpu[128], cpu_numbers[64];
    size_t cache[4]; /* bytes of data per level; [0] unused; 0: unknown */
    const char *compiler, *version, *blas_core, *dnnl_core;
    char date[16];
    size_t roofs, cases, growths;
    bench_roof roof[BENCH_MAX_ROOFS];
    bench_growth growth[BENCH_MAX_GROWTH];
    bench_report_case *at;
} bench_report;

void bench_machine(bench_report *report); /* fills in everything before the figures */

void bench_print_head(const bench_report *report);
void bench_print_roofline(const bench_report *report);
void bench_print_growth(const bench_report *report);
void bench_print_case(const bench_report_case *c);

const char *bench_unit_name(const bench_case *shape);

/* A file that gets its name only when it is complete. */
typedef struct bench_draft {
    FILE *file;
    char *name;
    const char *path;
} bench_draft;

int bench_open_draft(bench_draft *d, const char *path);
int bench_close_draft(bench_draft *d);

/* Writes the whole file or nothing. Returns 0, or -1 with errno. */
int bench_write_json(const bench_report *report, const char *path);
int bench_write_svg(const bench_report *report, const char *path);

#endif
