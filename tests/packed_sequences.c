/* SPDX-License-Identifier: MIT-0
 *
 * Packed sequences with cumulative offsets: each has the bits that it has alone, whatever its
 * neighbours, the layout, the path and the workers. Inconsistent arguments are refused.
 */
#include "check/harness.h"

#include <math.h>
#include <string.h>

/* Sequences with more and with fewer queries than keys, without queries, without keys, without
 * both, and one whose keys cross a block. */
static const size_t q_lens[] = {3, 0, 17, 2, 1, 40, 0, 9}, k_lens[] = {5, 4, 530, 0, 700, 40, 0, 2};
enum { SEQUENCES = sizeof q_lens / sizeof *q_lens, HEADS = 4, KV_HEADS = 2, DIM = 9, DIM_V = 6 };

/* ----------------------------------------------------------------- options -- */

enum { PLAIN = 0, UPPER_LEFT, LOWER_RIGHT, OFFSET, WINDOW, CAUSAL_WINDOW, ALIBI, SINKS, SOFTCAP, EVERYTHING, OPTIONS };

static const char *const option_names[OPTIONS] = {"plain",
                                                  "causal upper-left",
                                                  "causal lower-right",
                                                  "causal with offset",
                                                  "window",
                                                  "causal lower-right, window",
                                                  "ALiBi, lower-right",
                                                  "sinks",
                                                  "softcap and scale",
                                                  "everything"};

static void add_option(attn_desc *d, int option)
{
    const int all = option == EVERYTHING;
    const attn_dtype type = d->q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32;
    d->causal = all || option == UPPER_LEFT || option == LOWER_RIGHT || option == OFFSET || option == CAUSAL_WINDOW;
    if (all || option == LOWER_RIGHT || option == CAUSAL_WINDOW || option == ALIBI) d->align = ATTN_ALIGN_LOWER_RIGHT;
    if (option == OFFSET) {
        d->align = ATTN_ALIGN_OFFSET;
        d->q_offset = 2;
    }
    if (all || option == WINDOW || option == CAUSAL_WINDOW) {
        d->window = 1;
        d->window_left = all ? 520 : 6;
        d->window_right = 3;
    }
    if (all || option == ALIBI) {
        d->alibi = test_1d(type, HEADS);
        for (size_t h = 0; h < HEADS; h++) ref_set(&d->alibi, 0, 0, 0, h, ldexp(1, -(int)h - 2));
    }
    if (all || option == SINKS) {
        d->sinks = test_1d(type, HEADS);
        for (size_t h = 0; h < HEADS; h++) ref_set(&d->sinks, 0, 0, 0, h, (double)h - 1);
    }
    if (all || option == SOFTCAP) {
        d->softcap = 3;
        d->scale = 0.7;
    }
}

/* ----------------------------------------------------------------- packing -- */

static size_t total(const size_t *lens)
{
    size_t sum = 0;
    for (size_t n = 0; n < SEQUENCES; n++) sum += lens[n];
    return sum;
}

static attn_array offsets(attn_dtype type, const size_t *lens, size_t sequences)
{
    const attn_array cu = test_1d(type, sequences + 1);
    size_t sum = 0;
    ref_set(&cu, 0, 0, 0, 0, 0);
    for (size_t n = 0; n < sequences; n++) ref_set(&cu, 0, 0, 0, n + 1, (double)(sum += lens[n]));
    return cu;
}

/* All sequences, one after the other: (heads, rows, dim). */
static attn_desc packed_problem(attn_dtype type, attn_dtype kv, test_rng *rng)
{
    attn_desc d = attn_desc_default();
    d.q = test_3d(type, HEADS, total(q_lens), DIM);
    d.k = test_3d(kv, KV_HEADS, total(k_lens), DIM);
    d.v = test_3d(kv, KV_HEADS, total(k_lens), DIM_V);
    d.out = test_3d(type, HEADS, total(q_lens), DIM_V);
    d.lse = test_2d(type == ATTN_F64 ? ATTN_F64 : ATTN_F32, HEADS, total(q_lens));
    d.cu_seqlens_q = offsets(ATTN_I32, q_lens, SEQUENCES);
    d.cu_seqlens_k = offsets(ATTN_I64, k_lens, SEQUENCES);
    test_fill_normal(&d.q, rng, 1);
    test_fill_normal(&d.k, rng, 1);
    test_fill_normal(&d.v, rng, 1);
    return d;
}

/* The rows of sequence n, in place. */
static attn_desc part_of(const attn_desc *packed, size_t n)
{
    const size_t q = (size_t)ref_get(&packed->cu_seqlens_q, 0, 0, 0, n),
                 k = (size_t)ref_get(&packed->cu_seqlens_k, 0, 0, 0, n);
    attn_desc d = *packed;
    d.q = test_part(&packed->q, 2, q, q_lens[n]);
    d.out = test_part(&packed->out, 2, q, q_lens[n]);
    d.lse = test_part(&packed->lse, 1, q, q_lens[n]);
    d.k = test_part(&packed->k, 2, k, k_lens[n]);
    d.v = test_part(&packed->v, 2, k, k_lens[n]);
    d.cu_seqlens_q = d.cu_seqlens_k = test_absent;
    return d;
}

/* The same rows in memory of their own. */
static attn_desc alone(const attn_desc *packed, size_t n)
{
    const attn_desc part = part_of(packed, n);
    attn_desc d = test_again(&part);
    d.q = test_copy(&part.q);
    d.k = test_copy(&part.k);
    d.v = test_copy(&part.v);
    return d;
}

/* The results of all sequences, computed one at a time. */
static int compute_alone(const attn_desc *packed, attn_desc results[SEQUENCES])
{
    int pass = 1;
    for (size_t n = 0; n < SEQUENCES; n++) {
        results[n] = alone(packed, n);
        pass &= test_status(test_forward(&results[n], test_on(ATTN_PATH_AUTO)), ATTN_OK);
    }
    return pass;
}

static int agree(const attn_desc *packed, const attn_desc results[SEQUENCES], size_t except)
{
    for (size_t n = 0; n < SEQUENCES; n++) {
        const attn_desc part = part_of(packed, n);
        if (n != except && !test_same_outputs(&part, &results[n])) {
            test_note("in sequence %zu: %zu queries, %zu keys", n, q_lens[n], k_lens[n]);
            return 0;
        }
    }
    return 1;
}

/* -------------------------------------------------------------------- bits -- */

/* On all paths, by one worker and by three. */
static int as_if_alone(const attn_desc *packed)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    attn_desc results[SEQUENCES];
    int pass = compute_alone(packed, results);
    for (size_t p = 0; p < num_paths && pass; p++)
        for (size_t workers = 1; workers <= 3 && pass; workers += 2) {
            const attn_desc d = test_again(packed);
            pass = test_status(test_forward(&d, test_shuffled(paths[p], workers)), ATTN_OK) &&
                   agree(&d, results, SEQUENCES);
            if (!pass) test_note("on %s with %zu workers", attn_path_name(paths[p]), workers);
        }
    return pass;
}

static void try_options(attn_dtype type, attn_dtype kv, int option)
{
    test_rng rng = {(uint64_t)option};
    attn_desc packed = packed_problem(type, kv, &rng);
    int pass;
    add_option(&packed, option);
    pass = as_if_alone(&packed);
    test_ok(test_release() && pass, "%s, keys of %s, %s: each sequence as if alone", attn_dtype_name(type),
            attn_dtype_name(kv), option_names[option]);
}

/* Rows that are done again: every third query, of all sequences. */
static void try_redone_rows(attn_dtype type)
{
    const double largest = type == ATTN_F64 ? 1.7976931348623157e308 : 3.4028234663852886e38;
    const struct {
        const char *name;
        double query, key, scale;
    } cases[] = {
        {"infinity times 0", (double)INFINITY, 0, 0},
        {"infinity times a number that is 0 when scaled", (double)INFINITY, type == ATTN_F64 ? 1e-300 : 1e-40, 0},
        {"scores beyond the range", largest, 3, 0},
        {"the largest scale", 1, 3, largest}};
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        test_rng rng = {19};
        attn_desc packed = packed_problem(type, type, &rng);
        int pass;
        packed.scale = cases[n].scale;
        for (size_t h = 0; h < HEADS; h++)
            for (size_t i = 0; i < total(q_lens); i += 3) ref_set(&packed.q, 0, h, i, 2, cases[n].query);
        for (size_t h = 0; h < KV_HEADS; h++)
            for (size_t j = 0; j < total(k_lens); j++) ref_set(&packed.k, 0, h, j, 2, cases[n].key);
        pass = as_if_alone(&packed);
        test_ok(test_release() && pass, "%s, %s: each sequence as if alone", attn_dtype_name(type), cases[n].name);
    }
}

/* Rows first, as FlashAttention has them, or four dimensions, or reversed rows. */
static void try_layouts(attn_dtype type)
{
    static const char *const names[] = {"(rows, heads, dim)", "(1, heads, rows, dim)", "heads reversed"};
    for (int layout = 0; layout < 3; layout++) {
        test_rng rng = {17};
        attn_desc packed = packed_problem(type, type, &rng), d = packed, results[SEQUENCES];
        attn_array *const arrays[4] = {&d.q, &d.k, &d.v, &d.out};
        int pass;
        add_option(&packed, EVERYTHING);
        add_option(&d, EVERYTHING);
        pass = compute_alone(&packed, results);
        for (int i = 0; i < 4; i++) {
            const attn_array plain = *arrays[i];
            const size_t heads = plain.shape[0], rows = plain.shape[1], dim = plain.shape[2];
            if (layout == 0) {
                const attn_array memory = test_3d(type, rows, heads, dim);
                *arrays[i] = attn_array_swap(memory, 0, 1);
            } else if (layout == 1) {
                *arrays[i] = test_4d(type, 1, heads, rows, dim);
            } else {
                const attn_array memory = test_3d(type, heads, rows, dim);
                *arrays[i] = attn_array_swap(memory, 0, 0); /* makes the strides explicit */
                arrays[i]->data = ref_at(&memory, 0, heads - 1, 0, 0);
                arrays[i]->stride[0] = -arrays[i]->stride[0];
            }
            test_assign(arrays[i], &plain);
        }
        pass = pass && test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK);
        for (size_t n = 0, first = 0; n < SEQUENCES && pass; first += q_lens[n++]) {
            const attn_array out = test_part(&d.out, 2, first, q_lens[n]), lse = test_part(&d.lse, 1, first, q_lens[n]);
            attn_array want = results[n].out;
            if (layout == 1) want = attn_array_4d(type, want.data, 1, HEADS, q_lens[n], DIM_V);
            pass = test_same(&out, &want) && test_same(&lse, &results[n].lse);
        }
        test_ok(test_release() && pass, "%s, %s: each sequence as if alone", attn_dtype_name(type), names[layout]);
    }
}

/* A sequence full of NaN affects no other. */
static void try_neighbours(attn_dtype type)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t n = 0; n < SEQUENCES; n++) {
        test_rng rng = {18};
        attn_desc packed = packed_problem(type, type, &rng), results[SEQUENCES], part;
        int pass = compute_alone(&packed, results);
        part = part_of(&packed, n);
        test_fill(&part.q, (double)NAN);
        test_fill(&part.k, (double)NAN);
        test_fill(&part.v, (double)NAN);
        for (size_t p = 0; p < num_paths && pass; p++)
            pass = test_status(test_forward(&packed, test_on(paths[p])), ATTN_OK) && agree(&packed, results, n);
        test_ok(test_release() && pass, "%s, NaN in sequence %zu: the others as if alone", attn_dtype_name(type), n);
    }
}

/* One sequence equals a plain call. Without sequences or queries nothing is computed. */
static void try_few(attn_dtype type)
{
    const test_shape shape = {type, 1, HEADS, KV_HEADS, 23, 41, DIM, DIM_V};
    static const size_t q_len[] = {23}, k_len[] = {41};
    test_rng rng = {19};
    attn_desc plain = test_problem(&shape, &rng), packed, none;
    const attn_array zero = test_1d(ATTN_I32, 1);
    int pass;
    plain.causal = 1;
    plain.align = ATTN_ALIGN_LOWER_RIGHT;
    plain.scores = test_absent;
    packed = test_again(&plain);
    packed.lse = test_2d(type, HEADS, 23);
    packed.cu_seqlens_q = offsets(ATTN_I64, q_len, 1);
    packed.cu_seqlens_k = offsets(ATTN_I32, k_len, 1);
    pass = test_status(test_forward(&plain, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
           test_status(test_forward(&packed, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same(&packed.out, &plain.out);
    plain.lse = attn_array_2d(type, plain.lse.data, HEADS, 23);
    test_ok(pass && test_same(&packed.lse, &plain.lse), "%s, one sequence: as without offsets", attn_dtype_name(type));

    none = packed;
    test_fill(&zero, 0);
    none.q = test_part(&packed.q, 2, 0, 0);
    none.out = test_part(&packed.out, 2, 0, 0);
    none.lse = test_part(&packed.lse, 1, 0, 0);
    none.k = test_part(&packed.k, 2, 0, 0);
    none.v = test_part(&packed.v, 2, 0, 0);
    none.cu_seqlens_q = none.cu_seqlens_k = zero;
    test_ok(test_status(test_forward(&none, test_on(ATTN_PATH_AUTO)), ATTN_OK), "%s, no sequence",
            attn_dtype_name(type));
    test_release();
}

/* A sequence without keys gives +0 and -inf. */
static void try_no_keys(attn_dtype type)
{
    test_rng rng = {20};
    attn_desc packed = packed_problem(type, type, &rng), part = part_of(&packed, 3);
    int pass = test_status(test_forward(&packed, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t h = 0; h < HEADS; h++)
        for (size_t i = 0; i < q_lens[3]; i++) {
            pass &= ref_get(&part.lse, 0, 0, h, i) == -(ref_real)INFINITY;
            for (size_t c = 0; c < DIM_V; c++)
                pass &= ref_get(&part.out, 0, h, i, c) == 0 && !signbit(ref_get(&part.out, 0, h, i, c));
        }
    test_ok(pass, "%s, a sequence without keys: +0, and -inf", attn_dtype_name(type));
    test_release();
}

/* ------------------------------------------------------------------ errors -- */

#define REFUSE(want, spoil)                                                                                            \
    do {                                                                                                               \
        test_rng rng = {21};                                                                                           \
        attn_desc d = packed_problem(ATTN_F32, ATTN_F32, &rng);                                                        \
        const attn_desc unwritten = test_again(&d), outputs = d;                                                       \
        spoil;                                                                                                         \
        test_ok(test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), want) &&                                        \
                    test_same_outputs(&outputs, &unwritten) && test_guards(),                                          \
                "refused, nothing written: %s", #spoil);                                                               \
        test_release();                                                                                                \
    } while (0)

/* Puts the offsets into the memory of an output. */
static attn_array over(attn_array *cu, size_t rows, size_t columns)
{
    const attn_array output = test_2d(ATTN_F32, rows, columns);
    memcpy(output.data, cu->data, cu->shape[0] * attn_dtype_size(cu->dtype));
    cu->data = output.data;
    return output;
}

static void try_errors(void)
{
    const size_t all_q = total(q_lens), all_k = total(k_lens);
    REFUSE(ATTN_ERR_LENGTH, ref_set(&d.cu_seqlens_q, 0, 0, 0, 0, 1));
    REFUSE(ATTN_ERR_LENGTH, ref_set(&d.cu_seqlens_k, 0, 0, 0, 0, -1));
    REFUSE(ATTN_ERR_LENGTH, ref_set(&d.cu_seqlens_q, 0, 0, 0, 3, 2)); /* decreases */
    REFUSE(ATTN_ERR_LENGTH,
           ref_set(&d.cu_seqlens_k, 0, 0, 0, SEQUENCES - 1, (double)all_k + 1)); /* exceeds the total, then decreases */
    REFUSE(ATTN_ERR_LENGTH, ref_set(&d.cu_seqlens_q, 0, 0, 0, SEQUENCES, (double)all_q + 1));
    REFUSE(ATTN_ERR_LENGTH, ref_set(&d.cu_seqlens_k, 0, 0, 0, SEQUENCES, (double)all_k + 1));
    REFUSE(ATTN_ERR_LENGTH, ref_set(&d.cu_seqlens_k, 0, 0, 0, SEQUENCES, (double)all_k + 4294967296.0));
    REFUSE(ATTN_ERR_SHAPE, d.cu_seqlens_k = test_absent); /* a cache of each, then */
    REFUSE(ATTN_ERR_NULL, d.cu_seqlens_q = test_absent);
    REFUSE(ATTN_ERR_NULL, d.cu_seqlens_q.data = NULL);
    REFUSE(ATTN_ERR_DTYPE, d.cu_seqlens_q.dtype = ATTN_F32);
    REFUSE(ATTN_ERR_RANK, d.cu_seqlens_k = attn_array_2d(ATTN_I64, d.cu_seqlens_k.data, 1, SEQUENCES + 1));
    REFUSE(ATTN_ERR_SHAPE, d.cu_seqlens_k.shape[0] = SEQUENCES);
    REFUSE(ATTN_ERR_SHAPE, d.cu_seqlens_q.shape[0] = d.cu_seqlens_k.shape[0] = 0);
    REFUSE(ATTN_ERR_SHAPE, d.lse.shape[1] = all_q - 1);
    REFUSE(ATTN_ERR_ALIAS, d.lse = over(&d.cu_seqlens_q, HEADS, all_q));
    REFUSE(ATTN_ERR_ALIAS, d.lse = over(&d.cu_seqlens_k, HEADS, all_q));
    REFUSE(ATTN_ERR_SHAPE, (d.kv_lens = test_1d(ATTN_I32, 1), test_fill(&d.kv_lens, 1)));
    REFUSE(ATTN_ERR_LENGTH, (d.kv_lens = test_1d(ATTN_I32, SEQUENCES), test_fill(&d.kv_lens, 3))); /* one has less */
    REFUSE(ATTN_ERR_UNSUPPORTED, d.scores = test_3d(ATTN_F32, HEADS, all_q, all_k));
    REFUSE(ATTN_ERR_SHAPE, d.colsum = test_3d(ATTN_F32, SEQUENCES, HEADS, all_k));
    { /* sequences are the batches, so there can be no other batch */
        const test_shape shape = {ATTN_F32, 2, HEADS, KV_HEADS, 8, 8, DIM, DIM_V};
        static const size_t lens[2] = {4, 4};
        test_rng rng = {22};
        attn_desc d = test_problem(&shape, &rng), unwritten;
        d.scores = test_absent;
        d.cu_seqlens_q = d.cu_seqlens_k = offsets(ATTN_I32, lens, 2);
        unwritten = test_again(&d);
        test_ok(test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_ERR_SHAPE) &&
                    test_same_outputs(&d, &unwritten),
                "refused, nothing written: a batch of 2");
        test_release();
    }
}

int main(void)
{
    for (int option = 0; option < OPTIONS; option++) {
        try_options(ATTN_F64, ATTN_F64, option);
        try_options(ATTN_F32, ATTN_F32, option);
    }
    try_options(ATTN_F32, ATTN_F16, EVERYTHING);
    try_options(ATTN_BF16, ATTN_BF16, EVERYTHING);
    for (size_t t = 0; t < 2; t++) {
        try_redone_rows(test_types[t]);
        try_layouts(test_types[t]);
        try_neighbours(test_types[t]);
        try_few(test_types[t]);
        try_no_keys(test_types[t]);
    }
    try_errors();
    return test_done();
}
