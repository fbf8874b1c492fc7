/* SPDX-License-Identifier: MIT-0
 *
 * peer_softmax_body.h - the loops of one vector width; peer_softmax.c includes
 * this once per width.
 */

TARGET static float NAME(exp_f32)(float *restrict x, size_t n)
{
    float top = x[0], sum = 0;
    for (size_t i = 0; i < n; i++) top = x[i] > top ? x[i] : top;
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - top);
        sum += x[i];
    }
    return sum;
}

TARGET static double NAME(exp_f64)(double *restrict x, size_t n)
{
    double top = x[0], sum = 0;
    for (size_t i = 0; i < n; i++) top = x[i] > top ? x[i] : top;
    for (size_t i = 0; i < n; i++) {
        x[i] = exp(x[i] - top);
        sum += x[i];
    }
    return sum;
}

TARGET static void NAME(scale_f32)(float *restrict x, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++) x[i] *= factor;
}

TARGET static void NAME(scale_f64)(double *restrict x, size_t n, double factor)
{
    for (size_t i = 0; i < n; i++) x[i] *= factor;
}

TARGET static void NAME(softmax_rows)(const float *restrict x, float *restrict y, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++, x += columns, y += columns) {
        float top = x[0], sum = 0;
        for (size_t i = 0; i < columns; i++) top = x[i] > top ? x[i] : top;
        for (size_t i = 0; i < columns; i++) {
            y[i] = expf(x[i] - top);
            sum += y[i];
        }
        float factor = 1 / sum;
        for (size_t i = 0; i < columns; i++) y[i] *= factor;
    }
}

/* sums: 2 * columns. Whole rows at a time, in memory order. */
TARGET static void NAME(softmax_columns)(const float *restrict x, float *restrict y, float *restrict sums, size_t rows,
                                         size_t columns)
{
    float *restrict top = sums + columns;
    for (size_t i = 0; i < columns; i++) {
        top[i] = x[i];
        sums[i] = 0;
    }
    for (size_t r = 1; r < rows; r++)
        for (size_t i = 0; i < columns; i++) top[i] = x[r * columns + i] > top[i] ? x[r * columns + i] : top[i];
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < columns; i++) {
            y[r * columns + i] = expf(x[r * columns + i] - top[i]);
            sums[i] += y[r * columns + i];
        }
    for (size_t i = 0; i < columns; i++) sums[i] = 1 / sums[i];
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < columns; i++) y[r * columns + i] *= sums[i];
}

TARGET static void NAME(small_attention)(const float *restrict q, const float *restrict k, const float *restrict v,
                                         float *restrict out, float *restrict scores, size_t m, size_t n, size_t d)
{
    float scale = 1 / sqrtf((float)d);
    for (size_t i = 0; i < m; i++) {
        float top = -FLT_MAX, sum = 0;
        for (size_t j = 0; j < n; j++) {
            float dot = 0;
            for (size_t c = 0; c < d; c++) dot += q[i * d + c] * k[j * d + c];
            scores[j] = dot * scale;
            top = scores[j] > top ? scores[j] : top;
        }
        for (size_t j = 0; j < n; j++) {
            scores[j] = expf(scores[j] - top);
            sum += scores[j];
        }
        for (size_t c = 0; c < d; c++) out[i * d + c] = 0;
        for (size_t j = 0; j < n; j++) {
            float weight = scores[j] / sum;
            for (size_t c = 0; c < d; c++) out[i * d + c] += weight * v[j * d + c];
        }
    }
}

TARGET static void NAME(small_matmul)(const float *restrict a, const float *restrict b, float *restrict c, size_t m,
                                      size_t n, size_t k)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) c[i * n + j] = 0;
        for (size_t l = 0; l < k; l++)
            for (size_t j = 0; j < n; j++) c[i * n + j] += a[i * k + l] * b[l * n + j];
    }
}

TARGET static void NAME(turned_matmul)(const float *restrict a, const float *restrict b, float *restrict c, size_t m,
                                       size_t n, size_t k)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            float sum = 0;
            for (size_t l = 0; l < k; l++) sum += a[i * k + l] * b[j * k + l];
            c[i * n + j] = sum;
        }
}

static const peer_loops NAME(loops) = {
    NAME(exp_f32),         NAME(exp_f64),         NAME(scale_f32),    NAME(scale_f64),     NAME(softmax_rows),
    NAME(softmax_columns), NAME(small_attention), NAME(small_matmul), NAME(turned_matmul),
};

#undef NAME
#undef TARGET
