/* The attention of one block of a Vision Transformer (ViT-B/16: 224 x 224 pixels are 196 patches, and a class token
 * goes first), around attention.h: layer norm, Q, K and V by one matrix, 12 heads in which all tokens see each other,
 * output projection, residual. Once as it is, once with K and V stored as bfloat16.
 *
 *     vit [PATH]
 *
 * PATH is a name that attn_path_name gives; without it, the best is chosen. Weights and tokens are random numbers of a
 * fixed seed. Prints checksums of the outputs' bits, how far they are apart, and the patches that the class token looks
 * at most, with the weights of all heads summed up: the same on every path. The time goes to stderr. */
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIDE = 14, TOKENS = 1 + SIDE * SIDE, HEADS = 12, HEAD_DIM = 64, DIM = HEADS * HEAD_DIM, SHOWN = 5, TIMES = 3 };

static float tokens[TOKENS * DIM], gain[DIM], shift[DIM], w_qkv[DIM * 3 * DIM], b_qkv[3 * DIM], w_out[DIM * DIM],
    b_out[DIM];
static float normed[TOKENS * DIM], qkv[TOKENS * 3 * DIM], heads[TOKENS * DIM], out[2][TOKENS * DIM],
    looks[2][HEADS][TOKENS];
static uint16_t k_stored[TOKENS * DIM], v_stored[TOKENS * DIM];

static const char *const names[] = {"float32", "bfloat16"};

static void die(const char *what)
{
    fprintf(stderr, "vit: %s\n", what);
    exit(1);
}
static void check(attn_status status)
{
    if (status) die(attn_status_string(status));
}

/* n numbers around middle, the farthest width / 2 away, for widths that are powers of two. */
static void fill(float *x, size_t n, float middle, float width)
{
    static uint32_t seed = 1;
    while (n--) {
        seed = seed * 1103515245u + 12345u;
        *x++ = middle + ((float)(seed >> 8) / 16777216.0f - 0.5f) * width;
    }
}

static void make_weights(void)
{
    fill(tokens, TOKENS * DIM, 0, 4);
    fill(gain, DIM, 1, 0.25f);
    fill(shift, DIM, 0, 0.25f);
    fill(w_qkv, DIM * 3 * DIM, 0, 0.125f); /* so that numbers in Q, K and V have variance 1 */
    fill(b_qkv, 3 * DIM, 0, 0.125f);
    fill(w_out, DIM * DIM, 0, 0.125f);
    fill(b_out, DIM, 0, 0.125f);
}

/* Compilers may fuse a product with a sum. Products of two floats are exact in double, so that this changes nothing;
 * and a square root is rounded correctly by every libm. */
static void normalize(const float *x, float *y)
{
    for (size_t i = 0; i < TOKENS; i++, x += DIM, y += DIM) {
        double mean = 0, squares = 0, scale;
        for (size_t c = 0; c < DIM; c++) mean += (double)x[c];
        mean /= DIM;
        for (size_t c = 0; c < DIM; c++) {
            y[c] = (float)((double)x[c] - mean);
            squares += (double)y[c] * (double)y[c];
        }
        scale = 1 / sqrt(squares / DIM + 1e-6);
        for (size_t c = 0; c < DIM; c++) {
            y[c] = (float)((double)y[c] * scale);
            y[c] = (float)((double)y[c] * (double)gain[c] + (double)shift[c]);
        }
    }
}

/* y (TOKENS, columns) = x (TOKENS, DIM) w (DIM, columns) + b */
static void project(const float *x, const float *w, const float *b, float *y, size_t columns, const attn_exec *run)
{
    const attn_array from = attn_array_2d(ATTN_F32, x, TOKENS, DIM), by = attn_array_2d(ATTN_F32, w, DIM, columns),
                     to = attn_array_2d(ATTN_F32, y, TOKENS, columns);
    check(attn_matmul(&from, &by, &to, run));
    for (size_t i = 0; i < TOKENS; i++, y += columns)
        for (size_t c = 0; c < columns; c++) y[c] += b[c];
}

/* Q (0), K (1) or V (2): each row of qkv has all three, one after the other, each of all heads. */
static attn_array part(size_t which)
{
    return attn_array_strided(ATTN_F32, qkv + which * DIM, 1, HEADS, TOKENS, HEAD_DIM, 0, HEAD_DIM, 3 * DIM, 1);
}

/* The same rows, rounded, in memory of their own. */
static attn_array stored(attn_array rows, uint16_t *memory)
{
    const attn_array a = attn_array_4d(ATTN_BF16, memory, 1, HEADS, TOKENS, HEAD_DIM);
    check(attn_cache_append(&a, &rows, NULL, NULL));
    return a;
}

static void block(int bfloat16, const attn_exec *run)
{
    attn_desc d = attn_desc_default();
    normalize(tokens, normed);
    project(normed, w_qkv, b_qkv, qkv, 3 * DIM, run);
    d.q = part(0);
    d.k = bfloat16 ? stored(part(1), k_stored) : part(1);
    d.v = bfloat16 ? stored(part(2), v_stored) : part(2);
    d.out = attn_array_bshd(ATTN_F32, heads, 1, TOKENS, HEADS, HEAD_DIM);
    d.scores = attn_array_4d(ATTN_F32, looks[bfloat16], 1, HEADS, 1, TOKENS); /* of the class token alone */
    check(attn_forward(&d, run));
    project(heads, w_out, b_out, out[bfloat16], DIM, run);
    for (size_t i = 0; i < TOKENS * DIM; i++) out[bfloat16][i] += tokens[i];
}

static uint64_t checksum(const float *x, size_t n) /* FNV-1a, a word at a time */
{
    uint64_t hash = 14695981039346656037u;
    for (uint32_t bits; n--; hash = (hash ^ bits) * 1099511628211u) memcpy(&bits, x++, sizeof bits);
    return hash;
}

int main(int argc, char **argv)
{
    float sums[TOKENS] = {0}, farthest = 0;
    attn_exec run = attn_exec_default();
    while (argc > 1 && strcmp(argv[1], attn_path_name(run.path)) != 0)
        if (++run.path == ATTN_PATH_COUNT) die("no path has this name");
    make_weights();
    for (int bfloat16 = 0; bfloat16 < 2; bfloat16++) {
        clock_t least = 0;
        for (int i = 0; i < TIMES; i++) {
            const clock_t start = clock();
            block(bfloat16, &run);
            if (i == 0 || clock() - start < least) least = clock() - start;
        }
        printf("%s: %016llx\n", names[bfloat16], (unsigned long long)checksum(out[bfloat16], TOKENS * DIM));
        fprintf(stderr, "%s: %.1f ms\n", names[bfloat16], 1e3 * (double)least / CLOCKS_PER_SEC);
    }
    for (size_t i = 0; i < TOKENS * DIM; i++) farthest = fmaxf(farthest, fabsf(out[0][i] - out[1][i]));
    printf("largest difference: %.9f\n", (double)farthest);
    for (size_t h = 0; h < HEADS; h++)
        for (size_t j = 1; j < TOKENS; j++) sums[j] += looks[0][h][j];
    for (int n = 0; n < SHOWN; n++) {
        size_t best = 1;
        for (size_t j = 2; j < TOKENS; j++) best = sums[j] > sums[best] ? j : best;
        printf("row %2d, column %2d: %.7f\n", (int)(best - 1) / SIDE, (int)(best - 1) % SIDE, (double)sums[best]);
        sums[best] = 0;
    }
    return 0;
}
