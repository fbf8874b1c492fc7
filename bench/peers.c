/* SPDX-License-Identifier: MIT-0
 *
 * peers.c - what a user would write instead: C code over a BLAS with a vectorised exp, and
 * plain loops if the work is too small for a library call.
 */
#include "bench.h"

#include <math.h>
#include <string.h>

static void add(const bench_job *job, bench_entry *entries, size_t *count, const char *name, bench_run run, int width,
                size_t block)
{
    bench_entry *e = &entries[(*count)++];
    memset(e, 0, sizeof *e);
    snprintf(e->name, sizeof e->name, "%s", name);
    e->run = run;
    e->width = width;
    e->block = block;
    e->bytes = job->peer_bytes;
}

/* The library for matrix products. */
enum { CBLAS, DNNL, LIBRARIES };

static const char *const library_name[LIBRARIES] = {"openblas", "onednn"};

#ifdef ATTN_BENCH_CBLAS
#include <cblas.h>

/* Only OpenBLAS has these functions; with another cblas they stay unresolved. */
extern void openblas_set_num_threads(int count) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));

const char *bench_blas_core(void)
{
    if (openblas_set_num_threads) openblas_set_num_threads(1);
    return openblas_get_corename ? openblas_get_corename() : "unknown";
}

static void cblas_multiply(int wide, int transposed, size_t m, size_t n, size_t k, double alpha, const void *a,
                           const void *b, void *c)
{
    int rows = (int)m, columns = (int)n, depth = (int)k, ldb = transposed ? depth : columns;
    CBLAS_TRANSPOSE transpose = transposed ? CblasTrans : CblasNoTrans;
    if (wide)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, transpose, rows, columns, depth, alpha, a, depth, b, ldb, 0, c,
                    columns);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, transpose, rows, columns, depth, (float)alpha, a, depth, b, ldb, 0, c,
                    columns);
}
#else
const char *bench_blas_core(void) { return NULL; }
#endif

#ifdef ATTN_BENCH_DNNL
#include <dnnl.h>

extern void omp_set_num_threads(int count) __attribute__((weak));

const char *bench_dnnl_core(void)
{
    static char text[64];
    const dnnl_version_t *v = dnnl_version();
    const char *isa = "the code of older processors";
    if (omp_set_num_threads) omp_set_num_threads(1);
    if (dnnl_get_effective_cpu_isa() >= dnnl_cpu_isa_avx512_core) isa = "AVX-512";
    else if (dnnl_get_effective_cpu_isa() >= dnnl_cpu_isa_avx2) isa = "AVX2";
    snprintf(text, sizeof text, "%d.%d.%d, %s", v->major, v->minor, v->patch, isa);
    return text;
}

static void dnnl_multiply(int transposed, size_t m, size_t n, size_t k, double alpha, const void *a, const void *b,
                          void *c)
{
    dnnl_dim_t rows = (dnnl_dim_t)m, columns = (dnnl_dim_t)n, depth = (dnnl_dim_t)k;
    dnnl_sgemm('N', transposed ? 'T' : 'N', rows, columns, depth, (float)alpha, a, depth, b,
               transposed ? depth : columns, 0, c, columns);
}
#else
const char *bench_dnnl_core(void) { return NULL; }
#endif

static int has(int library)
{
    int linked = 0;
#ifdef ATTN_BENCH_CBLAS
    linked |= library == CBLAS;
#endif
#ifdef ATTN_BENCH_DNNL
    linked |= library == DNNL;
#endif
    (void)library;
    return linked;
}

/* C (m, n) = alpha A (m, k) B; B is (k, n), or (n, k) if transposed. */
static void gemm(const bench_job *job, const bench_entry *entry, int transposed, size_t m, size_t n, size_t k,
                 double alpha, const void *a, const void *b, void *c)
{
#ifdef ATTN_BENCH_CBLAS
    if (entry->library == CBLAS) cblas_multiply(job->shape->type == BENCH_F64, transposed, m, n, k, alpha, a, b, c);
#endif
#ifdef ATTN_BENCH_DNNL
    if (entry->library == DNNL) dnnl_multiply(transposed, m, n, k, alpha, a, b, c);
#endif
    (void)job, (void)entry, (void)transposed, (void)m, (void)n, (void)k, (void)alpha, (void)a, (void)b, (void)c;
}

/* x = exp(x - max x); returns 1 / sum. */
static double exponentials(const bench_job *job, int width, void *x, size_t n)
{
    if (job->shape->type == BENCH_F64) return 1 / bench_peer_loops(width)->exp_f64(x, n);
    return 1 / (double)bench_peer_loops(width)->exp_f32(x, n);
}

static void scale(const bench_job *job, int width, void *x, size_t n, double factor)
{
    if (job->shape->type == BENCH_F64) bench_peer_loops(width)->scale_f64(x, n, factor);
    else bench_peer_loops(width)->scale_f32(x, n, (float)factor);
}

/* Scores of `block` query rows at a time, for just the keys that they see. Divides the output
 * by the sum, not the weights, of which there are many more. */
static const char *run_attention(const bench_job *job, const bench_entry *entry)
{
    const bench_case *s = job->shape;
    size_t d = s->k, e = job->element;
    double *inverse = job->scratch;
    for (size_t h = 0; h < s->heads; h++) {
        size_t kv = h / (s->heads / s->kv_heads);
        const char *q = (const char *)job->a + h * s->m * d * e;
        const char *k = (const char *)job->b + kv * s->n * d * e;
        const char *v = (const char *)job->c + kv * s->n * d * e;
        char *out = (char *)job->out + h * s->m * d * e;
        char *scores = (char *)(inverse + s->m);
        for (size_t first = 0; first < s->m; first += entry->block) {
            size_t rows = s->m - first < entry->block ? s->m - first : entry->block;
            size_t columns = s->causal ? first + rows : s->n;
            gemm(job, entry, 1, rows, columns, d, 1 / sqrt((double)d), q + first * d * e, k, scores);
            for (size_t r = 0; r < rows; r++) {
                size_t visible = s->causal ? first + r + 1 : s->n;
                char *row = scores + r * columns * e;
                inverse[r] = exponentials(job, entry->width, row, visible);
                memset(row + visible * e, 0, (columns - visible) * e);
            }
            gemm(job, entry, 0, rows, d, columns, 1, scores, v, out + first * d * e);
            for (size_t r = 0; r < rows; r++) scale(job, entry->width, out + (first + r) * d * e, d, inverse[r]);
        }
    }
    return NULL;
}

/* One query per head: one product for all heads of a group, which reads K and V once. */
static const char *run_decode_gemm(const bench_job *job, const bench_entry *entry)
{
    const bench_case *s = job->shape;
    size_t d = s->k, group = s->heads / s->kv_heads;
    float *scores = job->scratch;
    for (size_t kv = 0; kv < s->kv_heads; kv++) {
        const float *q = (const float *)job->a + kv * group * d;
        const float *k = (const float *)job->b + kv * s->n * d, *v = (const float *)job->c + kv * s->n * d;
        float *out = (float *)job->out + kv * group * d;
        gemm(job, entry, 1, group, s->n, d, 1 / sqrt((double)d), q, k, scores);
        for (size_t g = 0; g < group; g++) {
            double inverse = exponentials(job, entry->width, scores + g * s->n, s->n);
            scale(job, entry->width, scores + g * s->n, s->n, inverse);
        }
        gemm(job, entry, 0, group, d, s->n, 1, scores, v, out);
    }
    return NULL;
}

static const char *run_gemm(const bench_job *job, const bench_entry *entry)
{
    const bench_case *s = job->shape;
    gemm(job, entry, s->axis, s->m, s->n, s->k, 1, job->a, job->b, job->out);
    return NULL;
}

#ifdef ATTN_BENCH_CBLAS
static const char *run_decode_gemv(const bench_job *job, const bench_entry *entry)
{
    const bench_case *s = job->shape;
    size_t d = s->k, group = s->heads / s->kv_heads;
    float *scores = job->scratch;
    for (size_t h = 0; h < s->heads; h++) {
        const float *q = (const float *)job->a + h * d;
        const float *k = (const float *)job->b + h / group * s->n * d,
                    *v = (const float *)job->c + h / group * s->n * d;
        float *out = (float *)job->out + h * d;
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)s->n, (int)d, 1 / sqrtf((float)d), k, (int)d, q, 1, 0, scores, 1);
        double inverse = exponentials(job, entry->width, scores, s->n);
        cblas_sgemv(CblasRowMajor, CblasTrans, (int)s->n, (int)d, (float)inverse, v, (int)d, scores, 1, 0, out, 1);
    }
    return NULL;
}

static const char *run_gemv(const bench_job *job, const bench_entry *entry)
{
    const bench_case *s = job->shape;
    (void)entry;
    if (s->axis)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)s->n, (int)s->k, 1, job->b, (int)s->k, job->a, 1, 0, job->out, 1);
    else cblas_sgemv(CblasRowMajor, CblasTrans, (int)s->k, (int)s->n, 1, job->b, (int)s->n, job->a, 1, 0, job->out, 1);
    return NULL;
}
#endif

enum { BLOCK = 256 };

static void add_named(const bench_job *job, bench_entry *entries, size_t *count, int library, const char *what,
                      bench_run run, int width, size_t block)
{
    char name[BENCH_NAME];
    snprintf(name, sizeof name, "%s %s", library_name[library], what);
    add(job, entries, count, name, run, width, block);
    (entries + *count - 1)->library = library;
}

static void add_library(const bench_job *job, int library, int width, bench_entry *entries, size_t *count)
{
    const bench_case *s = job->shape;
    if (!has(library) || (library == DNNL && s->type == BENCH_F64)) return;
    if (s->kind == BENCH_MATMUL) add_named(job, entries, count, library, "gemm", run_gemm, width, 0);
    else if (s->kind == BENCH_ATTENTION && s->m == 1)
        add_named(job, entries, count, library, "gemm", run_decode_gemm, width, 0);
    else if (s->kind == BENCH_ATTENTION) {
        add_named(job, entries, count, library, "plain", run_attention, width, s->m);
        if (s->m > BLOCK) add_named(job, entries, count, library, "blocks", run_attention, width, BLOCK);
    }
#ifdef ATTN_BENCH_CBLAS
    if (library == CBLAS && s->m == 1 && s->kind != BENCH_SOFTMAX)
        add_named(job, entries, count, library, "gemv", s->kind == BENCH_MATMUL ? run_gemv : run_decode_gemv, width, 0);
#endif
}

#if defined(ATTN_BENCH_DNNL) && DNNL_VERSION_MAJOR == 2
/* Built for the shape in the first run, which is not timed. */
static const char *run_dnnl_softmax(const bench_job *job, const bench_entry *entry)
{
    static struct {
        const bench_case *shape;
        dnnl_engine_t engine;
        dnnl_stream_t stream;
        dnnl_primitive_t softmax;
        dnnl_memory_t from, to;
    } at;
    if (at.shape != job->shape) {
        dnnl_dims_t dims = {(dnnl_dim_t)job->shape->m, (dnnl_dim_t)job->shape->n};
        dnnl_memory_desc_t memory;
        dnnl_softmax_desc_t softmax;
        dnnl_primitive_desc_t primitive;
        if (at.shape) {
            dnnl_primitive_destroy(at.softmax);
            dnnl_memory_destroy(at.from);
            dnnl_memory_destroy(at.to);
        }
        at.shape = NULL;
        if ((!at.engine && (dnnl_engine_create(&at.engine, dnnl_cpu, 0) ||
                            dnnl_stream_create(&at.stream, at.engine, dnnl_stream_in_order))) ||
            dnnl_memory_desc_init_by_tag(&memory, 2, dims, dnnl_f32, dnnl_ab) ||
            dnnl_softmax_forward_desc_init(&softmax, dnnl_forward_inference, &memory, job->shape->axis) ||
            dnnl_primitive_desc_create(&primitive, &softmax, NULL, at.engine, NULL) ||
            dnnl_primitive_create(&at.softmax, primitive) || dnnl_memory_create(&at.from, &memory, at.engine, job->a) ||
            dnnl_memory_create(&at.to, &memory, at.engine, job->out))
            return "oneDNN refused";
        dnnl_primitive_desc_destroy(primitive);
        at.shape = job->shape;
    }
    const dnnl_exec_arg_t args[2] = {{DNNL_ARG_SRC, at.from}, {DNNL_ARG_DST, at.to}};
    (void)entry;
    dnnl_primitive_execute(at.softmax, at.stream, 2, args);
    dnnl_stream_wait(at.stream);
    return NULL;
}
#endif

static const char *run_softmax(const bench_job *job, const bench_entry *entry)
{
    const bench_case *s = job->shape;
    const peer_loops *loops = bench_peer_loops(entry->width);
    if (s->axis == 0) loops->softmax_columns(job->a, job->out, job->scratch, s->m, s->n);
    else loops->softmax_rows(job->a, job->out, s->m, s->n);
    return NULL;
}

/* Head by head; the query heads of a group find their K and V in the cache. */
static const char *run_loops(const bench_job *job, const bench_entry *entry)
{
    const bench_case *s = job->shape;
    const peer_loops *loops = bench_peer_loops(entry->width);
    for (size_t h = 0; h < s->heads; h++) {
        size_t q = h * s->m * s->k, kv = h / (s->heads / s->kv_heads) * s->n * s->k;
        loops->small_attention((const float *)job->a + q, (const float *)job->b + kv, (const float *)job->c + kv,
                               (float *)job->out + q, job->scratch, s->m, s->n, s->k);
    }
    return NULL;
}

static const char *run_matmul_loops(const bench_job *job, const bench_entry *entry)
{
    const bench_case *s = job->shape;
    const peer_loops *loops = bench_peer_loops(entry->width);
    (s->axis ? loops->turned_matmul : loops->small_matmul)(job->a, job->b, job->out, s->m, s->n, s->k);
    return NULL;
}

/* The number of operations up to which one would write plain loops. They are also good if each
 * operand is used only once. */
static const double small = 1e5;

size_t bench_peers(const bench_job *job, bench_entry *entries, size_t count)
{
    const bench_case *s = job->shape;
    const bench_loops *loops[BENCH_WIDTHS];
    size_t widths = bench_roofline(loops);
    if (!bench_case_has_peers(s)) return count;
    for (int library = 0; library < LIBRARIES; library++) add_library(job, library, loops[0]->width, entries, &count);
#if defined(ATTN_BENCH_DNNL) && DNNL_VERSION_MAJOR == 2
    if (s->kind == BENCH_SOFTMAX) add(job, entries, &count, "onednn softmax", run_dnnl_softmax, loops[0]->width, 0);
#endif
    count = bench_external(job, entries, count);
    bench_run run = s->kind == BENCH_SOFTMAX ? run_softmax : s->kind == BENCH_MATMUL ? run_matmul_loops : run_loops;
    if (s->kind != BENCH_SOFTMAX && s->m > 1 && job->flops > small) return count;
    for (size_t i = 0; i < widths; i++) {
        char name[BENCH_NAME];
        snprintf(name, sizeof name, "%s, %d bits", s->kind == BENCH_SOFTMAX ? "libmvec" : "C loops", loops[i]->width);
        add(job, entries, &count, name, run, loops[i]->width, 0);
    }
    return count;
}
