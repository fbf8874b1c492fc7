/* SPDX-License-Identifier: MIT-0
 *
 * check.c - checks the output of a contestant on a sample of rows, by the reference of the
 * tests.
 */
#include "arrays.h"

#include "check/reference.h"

#include <math.h>

bench_arrays bench_describe(const bench_job *job)
{
    const bench_case *s = job->shape;
    attn_dtype type = s->type == BENCH_F64 ? ATTN_F64 : ATTN_F32;
    attn_dtype kv_type = s->type == BENCH_F16    ? ATTN_F16
                         : s->type == BENCH_BF16 ? ATTN_BF16
                         : s->type == BENCH_I8   ? ATTN_I8
                                                 : type;
    bench_arrays t = {.desc = attn_desc_default()};
    if (s->kind == BENCH_ATTENTION) {
        t.desc.q = attn_array_4d(type, job->a, 1, s->heads, s->m, s->k);
        t.desc.k = s->by_position ? attn_array_bshd(kv_type, job->span[0], 1, s->n, s->kv_heads, s->k)
                                  : attn_array_4d(kv_type, job->span[0], 1, s->kv_heads, s->n, s->k);
        t.desc.v = s->by_position ? attn_array_bshd(kv_type, job->span[1], 1, s->n, s->kv_heads, s->k)
                                  : attn_array_4d(kv_type, job->span[1], 1, s->kv_heads, s->n, s->k);
        if (job->table) {
            const size_t pages = s->n / s->page;
            t.desc.k = attn_array_4d(kv_type, job->span[0], pages, s->kv_heads, s->page, s->k);
            t.desc.v = attn_array_4d(kv_type, job->span[1], pages, s->kv_heads, s->page, s->k);
            t.desc.block_table = attn_array_2d(ATTN_I32, job->table, 1, pages);
            t.desc.kv_lens = attn_array_1d(ATTN_I32, &job->len, 1);
        }
        if (job->scales)
            t.desc.k_scale = t.desc.v_scale = attn_array_4d(ATTN_F32, job->scales, 1, s->kv_heads, s->n, 1);
        t.desc.out = attn_array_4d(type, job->out, 1, s->heads, s->m, s->k);
        t.desc.causal = s->causal;
        t.desc.softcap = s->softcap;
        t.desc.window = s->window > 0;
        t.desc.window_left = (int64_t)s->window - 1;
        t.desc.window_right = -1;
        if (s->mask) t.desc.mask = attn_array_2d(ATTN_BOOL, job->mask, s->m, s->n);
        if (s->weights) t.desc.scores = attn_array_4d(type, job->weights, 1, s->heads, s->m, s->n);
        if (s->alibi) t.desc.alibi = attn_array_1d(ATTN_F32, job->slopes, s->heads);
        if (s->distances) t.desc.rel_bias = attn_array_3d(ATTN_F32, job->biases, s->heads, 1, s->distances);
        t.desc.rel_clamp = 1;
        t.desc.rel_first = s->causal ? 0 : 1 - (int64_t)s->distances;
    } else if (s->kind == BENCH_APPEND || s->kind == BENCH_ROTARY) {
        t.a = attn_array_4d(type, job->a, 1, s->heads, s->m, s->n);
        t.out = attn_array_4d(s->kind == BENCH_APPEND ? kv_type : type, job->out, 1, s->heads, s->m, s->n);
    } else {
        t.a = attn_array_2d(type, job->a, s->m, s->kind == BENCH_MATMUL ? s->k : s->n);
        t.b = s->axis ? attn_array_swap(attn_array_2d(type, job->b, s->n, s->k), 0, 1)
                      : attn_array_2d(type, job->b, s->k, s->n);
        t.out = attn_array_2d(type, job->out, s->m, s->n);
    }
    return t;
}

enum { SAMPLES = 7, HEADS = 3 };

/* Position i of `samples` among n, including both ends. */
static size_t pick(size_t i, size_t samples, size_t n) { return samples > 1 ? i * (n - 1) / (samples - 1) : 0; }

static void keep_worst(double *worst, double ratio)
{
    if (!(ratio <= *worst)) /* NaN counts as worst */
        *worst = ratio;
}

static double attention_ratio(const bench_case *s, const attn_desc *desc)
{
    size_t heads = s->heads < HEADS ? s->heads : HEADS, rows = s->m < SAMPLES ? s->m : SAMPLES;
    double worst = 0;
    for (size_t i = 0; i < heads; i++) {
        size_t h = pick(i, heads, s->heads);
        ref_head *head = ref_open(desc, 0, h);
        for (size_t j = 0; j < rows; j++) {
            size_t query = pick(j, rows, s->m);
            const ref_row *row = ref_compute_row(head, query);
            for (size_t c = 0; c < row->head_dim_v; c++)
                keep_worst(&worst, ref_ratio(&row->out[c], ref_get(&desc->out, 0, h, query, c)));
        }
        ref_close(head);
    }
    return worst;
}

/* The row `row` and the column `column` of a; all rows or columns if that is past the end. */
static attn_array part(const attn_array *a, size_t row, size_t column)
{
    attn_array p = *a;
    size_t width = a->shape[1], first = 0;
    p.stride[0] = (ptrdiff_t)width;
    p.stride[1] = 1;
    if (row < a->shape[0]) {
        p.shape[0] = 1;
        first += row * width;
    }
    if (column < width) {
        p.shape[1] = 1;
        first += column;
    }
    p.data = (char *)a->data + first * attn_dtype_size(a->dtype);
    return p;
}

/* What is appended is rounded once; of what is turned, sums of two products by cosines and sines. */
static double moved_ratio(const bench_case *s, const bench_arrays *t)
{
    const double u = s->kind == BENCH_ROTARY ? ldexp(1, -23)
                     : s->type == BENCH_F16  ? ldexp(1, -11)
                     : s->type == BENCH_BF16 ? ldexp(1, -8)
                                             : 0;
    double worst = 0;
    for (size_t h = 0; h < s->heads; h++)
        for (size_t i = 0; i < SAMPLES; i++)
            for (size_t c = 0; c < s->n; c++) {
                const size_t row = pick(i, SAMPLES, s->m), half = s->n / 2;
                const double x = (double)ref_get(&t->a, 0, h, row, c),
                             y = (double)ref_get(&t->a, 0, h, row, c < half ? c + half : c - half);
                const double angle = (double)row * pow(10000, -2 * (double)(c % half) / (double)s->n);
                const double want = s->kind == BENCH_APPEND ? x : x * cos(angle) + (c < half ? -y : y) * sin(angle);
                const double error = fabs((double)ref_get(&t->out, 0, h, row, c) - want),
                             bound = u * (fabs(x) + fabs(y));
                keep_worst(&worst, error > 0 || isnan(error) ? error / bound : 0);
            }
    return worst;
}

double bench_job_error(const bench_job *job)
{
    const bench_case *s = job->shape;
    const bench_arrays t = bench_describe(job);
    double worst = 0;
    if (s->kind == BENCH_APPEND || s->kind == BENCH_ROTARY) return moved_ratio(s, &t);
    for (size_t i = 0; i < job->out_count && !s->poison.arrays; i++)
        if (job->element == sizeof(double) ? isnan(((double *)job->out)[i]) : isnan(((float *)job->out)[i]))
            return (double)NAN;
    if (s->kind == BENCH_ATTENTION) return attention_ratio(s, &t.desc);
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t row = pick(i, SAMPLES, s->m);
        if (s->kind == BENCH_SOFTMAX) {
            size_t r = s->axis ? row : SIZE_MAX, c = s->axis ? SIZE_MAX : pick(i, SAMPLES, s->n);
            attn_array x = part(&t.a, r, c), y = part(&t.out, r, c);
            keep_worst(&worst, ref_check_softmax(&x, s->axis, &y).worst);
        }
        for (size_t j = 0; j < SAMPLES && s->kind == BENCH_MATMUL; j++) {
            size_t column = pick(j, SAMPLES, s->n);
            attn_array a = part(&t.a, row, SIZE_MAX), c = part(&t.out, row, column), b;
            if (s->axis) {
                const attn_array stored = attn_array_2d(t.b.dtype, t.b.data, s->n, s->k);
                b = attn_array_swap(part(&stored, column, SIZE_MAX), 0, 1);
            } else b = part(&t.b, SIZE_MAX, column);
            keep_worst(&worst, ref_check_matmul(&a, &b, &c).worst);
        }
    }
    return worst;
}
