/* SPDX-License-Identifier: MIT-0
 *
 * States of parts of the keys: cut at multiples of 512 and merged in any order of neighbours,
 * on any paths and workers, they give the bits of the whole; cut elsewhere, they stay within
 * the bound. An empty part is the identity, a sink counts once, masked elements change no bit,
 * the largest numbers stay finite, and what is not a state or does not match is refused, with
 * nothing written.
 */
#include "check/harness.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { BATCH = 2, HEADS = 2, Q_LEN = 3, DIM = 7, DIM_V = 34, FEW = 4, BLOCK = 512, MOST = 64 };

/* ----------------------------------------------------------------- options -- */

enum {
    PLAIN = 0,
    CAUSAL,
    WINDOW,
    BOOLEAN_MASK,
    ADDITIVE_MASK,
    LENGTHS,
    LOWER_RIGHT,
    ALIBI,
    SOFTCAP,
    SINKS,
    EVERYTHING,
    OPTIONS
};

static const char *const option_names[OPTIONS] = {"plain",
                                                  "causal",
                                                  "window",
                                                  "boolean mask",
                                                  "additive mask",
                                                  "kv_lens",
                                                  "kv_lens, causal lower-right",
                                                  "ALiBi",
                                                  "softcap and scale",
                                                  "sinks",
                                                  "everything"};

static void add_option(attn_desc *d, int option, test_rng *rng)
{
    const attn_dtype type = d->q.dtype;
    const size_t kv_len = d->k.shape[2], q_len = d->q.shape[2];
    const int all = option == EVERYTHING;
    if (all || option == CAUSAL || option == LOWER_RIGHT || option == WINDOW) {
        d->causal = option != WINDOW;
        d->align = option == LOWER_RIGHT ? ATTN_ALIGN_LOWER_RIGHT : ATTN_ALIGN_OFFSET;
        d->q_offset = (int64_t)(kv_len / 2);
    }
    if (all || option == WINDOW) {
        d->window = 1;
        d->window_left = (int64_t)(kv_len / 3);
        d->window_right = 700;
    }
    if (option == BOOLEAN_MASK) { /* hides all keys of the second block */
        d->mask = test_2d(ATTN_BOOL, q_len, kv_len);
        for (size_t i = 0; i < q_len * kv_len; i++)
            ref_set(&d->mask, 0, 0, i / kv_len, i % kv_len, i % kv_len / BLOCK != 1 && test_below(rng, 3) ? 1 : 0);
    }
    if (all || option == ADDITIVE_MASK) {
        d->mask = test_4d(type, BATCH, 1, 1, kv_len);
        test_fill_normal(&d->mask, rng, 1);
        for (size_t j = 5; j < kv_len; j += 11) ref_set(&d->mask, 1, 0, 0, j, -(double)INFINITY);
    }
    if (all || option == LENGTHS || option == LOWER_RIGHT) {
        d->kv_lens = test_1d(ATTN_I32, BATCH);
        ref_set(&d->kv_lens, 0, 0, 0, 0, (double)(kv_len - kv_len / 5));
        ref_set(&d->kv_lens, 0, 0, 0, 1, (double)(kv_len < 600 ? kv_len : 600));
    }
    if (all || option == ALIBI) {
        d->alibi = test_2d(type, BATCH, HEADS);
        for (size_t b = 0; b < BATCH; b++)
            for (size_t h = 0; h < HEADS; h++) ref_set(&d->alibi, 0, 0, b, h, ldexp(1, -(int)(2 * b + h) - 4));
    }
    if (all || option == SOFTCAP) {
        d->softcap = 3;
        d->scale = -0.4;
    }
    if (all || option == SINKS) {
        d->sinks = test_1d(type, HEADS);
        for (size_t h = 0; h < HEADS; h++) ref_set(&d->sinks, 0, 0, 0, h, 4.0 * (double)h);
    }
}

static attn_desc problem_of(attn_dtype type, size_t kv_len, size_t dim_v, int option)
{
    const test_shape shape = {type, BATCH, HEADS, 1, Q_LEN, kv_len, DIM, dim_v};
    test_rng rng = {kv_len + (size_t)option};
    attn_desc d = test_problem(&shape, &rng);
    d.scores = test_absent;
    d.rowmax = test_copy(&d.lse);
    d.rowsum = test_copy(&d.lse);
    add_option(&d, option, &rng);
    return d;
}

static attn_desc problem(attn_dtype type, size_t kv_len, int option) { return problem_of(type, kv_len, DIM_V, option); }

/* ------------------------------------------------------------------ states -- */

typedef struct state {
    void *data; /* NULL: a call failed */
    size_t bytes;
} state;

static const state no_state;

/* Aligned to 8 bytes, not more. */
static state room_for(size_t bytes)
{
    state s;
    s.data = test_memory(bytes, 8);
    s.bytes = bytes;
    return s;
}

/* Keys [begin, end) of the problem, with their values and mask. */
static attn_desc part_of(const attn_desc *whole, size_t begin, size_t end)
{
    attn_desc d = *whole;
    d.k = test_part(&whole->k, 2, begin, end - begin);
    d.v = test_part(&whole->v, 2, begin, end - begin);
    if (whole->mask.ndim > 0) d.mask = test_part(&whole->mask, 1, begin, end - begin);
    d.kv_begin = begin;
    return d;
}

static state partial(const attn_desc *whole, size_t begin, size_t end, attn_exec run)
{
    attn_desc d = part_of(whole, begin, end);
    size_t bytes;
    state s;
    if (begin / BLOCK % 2) { /* in memory of its own, away from its neighbours */
        d.k = test_copy(&d.k);
        d.v = test_copy(&d.v);
    }
    if (!test_status(attn_state_size(&d, &bytes), ATTN_OK)) return no_state;
    s = room_for(bytes);
    return test_status(test_partial(&d, s.data, s.bytes, run), ATTN_OK) ? s : no_state;
}

static state merge(state a, state b, attn_path path)
{
    size_t bytes;
    state s;
    if (!a.data || !b.data || !test_status(attn_state_merged_size(a.data, b.data, &bytes), ATTN_OK)) return no_state;
    s = room_for(bytes);
    return test_status(attn_state_merge(a.data, b.data, s.data, s.bytes, path), ATTN_OK) ? s : no_state;
}

static int finish(const attn_desc *desc, state s, attn_path path)
{
    return s.data && test_status(attn_state_finish(desc, s.data, path), ATTN_OK);
}

static int same_state(state a, state b)
{
    return a.data && b.data && a.bytes == b.bytes && memcmp(a.data, b.data, a.bytes) == 0;
}

static attn_path any_path(test_rng *rng)
{
    attn_path paths[ATTN_PATH_COUNT];
    return paths[test_below(rng, test_paths(paths))];
}

/* Computes the parts between the cuts, each on a random path with a random number of workers,
 * then merges neighbours in random order on random paths. */
static state compute_in_parts(const attn_desc *whole, const size_t *cuts, size_t parts, test_rng *rng)
{
    state states[MOST];
    for (size_t i = 0; i < parts; i++)
        states[i] = partial(whole, cuts[i], cuts[i + 1], test_shuffled(any_path(rng), 1 + test_below(rng, 3)));
    for (; parts > 1; parts--) {
        const size_t i = test_below(rng, parts - 1);
        states[i] = merge(states[i], states[i + 1], any_path(rng));
        memmove(&states[i + 1], &states[i + 2], (parts - i - 2) * sizeof *states);
    }
    return states[0];
}

/* Random cuts at multiples of `unit`, also at both ends; some are the same. */
static size_t random_cuts(size_t cuts[MOST + 1], size_t kv_len, size_t unit, test_rng *rng)
{
    size_t parts = 0;
    cuts[0] = 0;
    for (size_t at = test_below(rng, 4) ? unit : 0; at < kv_len && parts < MOST - 2; at += unit)
        if (test_below(rng, 3) > 0) {
            cuts[++parts] = at;
            if (test_below(rng, 4) == 0) cuts[++parts] = at;
        }
    cuts[++parts] = kv_len;
    return parts;
}

/* ------------------------------------------------------------ the same bits -- */

static int bits_of_whole(const attn_desc *whole, size_t repeats, test_rng *rng)
{
    size_t cuts[MOST + 1];
    int pass = test_status(test_forward(whole, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    for (size_t i = 0; i < repeats && pass; i++) {
        const size_t parts = random_cuts(cuts, whole->k.shape[2], BLOCK, rng);
        const attn_desc d = test_again(whole);
        pass = finish(&d, compute_in_parts(whole, cuts, parts, rng), any_path(rng)) && test_same_outputs(&d, whole);
        if (!pass) test_note("in %zu parts", parts);
    }
    return pass;
}

static void try_cuts(attn_dtype type, int option)
{
    test_rng rng = {(uint64_t)option};
    const attn_desc whole = problem(type, 2700, option);
    const int pass = bits_of_whole(&whole, 5, &rng);
    test_ok(test_release() && pass, "%s, %s: any cuts at multiples of 512 give the bits of the whole",
            attn_dtype_name(type), option_names[option]);
}

/* Deep trees; many queries, also more than a task has; 16-bit types. */
static void try_shapes(attn_dtype type)
{
    static const test_shape shapes[] = {{ATTN_F32, 1, 1, 1, 1, 20000, 1, 1},
                                        {ATTN_F32, 1, 4, 2, 140, 1100, 2, 1},
                                        {ATTN_F32, 1, 3, 1, 2, 1024, 3, 32},
                                        {ATTN_F32, 1, 1, 1, 700, 600, 2, 1}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        test_shape shape = shapes[s];
        test_rng rng = {s};
        attn_desc whole;
        int pass;
        shape.type = type;
        whole = test_problem(&shape, &rng);
        whole.scores = test_absent;
        pass = bits_of_whole(&whole, s == 0 ? 20 : 3, &rng);
        test_ok(test_release() && pass, "%s, %zu queries, %zu keys: any cuts at multiples of 512",
                attn_dtype_name(type), shape.q_len, shape.kv_len);
    }
}

static void try_halves(attn_dtype type, attn_dtype kv)
{
    const test_shape shape = {type, BATCH, HEADS, 1, Q_LEN, 1600, DIM, DIM_V};
    test_rng rng = {31};
    attn_desc whole = test_problem(&shape, &rng);
    int pass;
    whole.scores = test_absent;
    whole.k = test_4d(kv, BATCH, 1, 1600, DIM);
    whole.v = test_4d(kv, BATCH, 1, 1600, DIM_V);
    test_fill_normal(&whole.k, &rng, 1);
    test_fill_normal(&whole.v, &rng, 1);
    pass = bits_of_whole(&whole, 4, &rng);
    test_ok(test_release() && pass, "%s, keys of %s: the same", attn_dtype_name(type), attn_dtype_name(kv));
}

/* The bytes of a state do not depend on how it was computed. */
static void try_bytes(attn_dtype type, int option)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    const attn_desc whole = problem(type, 2100, option);
    const state first = partial(&whole, 512, 2100, test_on(ATTN_PATH_SCALAR));
    int pass = first.data != NULL;
    for (size_t p = 0; p < num_paths; p++)
        for (size_t workers = 1; workers < 8; workers += 3)
            pass = pass && same_state(partial(&whole, 512, 2100, test_shuffled(paths[p], workers)), first);
    for (size_t p = 0; p < num_paths; p++)
        for (size_t cut = 512; cut < 2100; cut += 512) {
            const state a = partial(&whole, 512, cut, test_on(paths[p])),
                        b = partial(&whole, cut, 2100, test_on(paths[num_paths - 1 - p]));
            pass = pass && same_state(merge(a, b, paths[p]), first);
        }
    test_ok(test_release() && pass, "%s, %s: the bytes do not depend on path, workers or cuts", attn_dtype_name(type),
            option_names[option]);
}

/* ------------------------------------------------------------- other cuts -- */

/* Where the same bits are not promised, the error must be within the bound. */
static void try_anywhere(attn_dtype type, int option)
{
    static const size_t units[] = {1, 37, 200, 511, 600};
    test_rng rng = {(uint64_t)option};
    const attn_desc whole = option % 2 ? problem_of(type, 700, FEW, option) : problem(type, 40, option);
    size_t cuts[MOST + 1];
    int pass = 1;
    for (size_t u = option % 2 ? 1 : 0; u < sizeof units / sizeof *units && pass; u++) {
        const size_t parts = random_cuts(cuts, whole.k.shape[2], units[u], &rng);
        const attn_desc d = test_again(&whole);
        pass = finish(&d, compute_in_parts(&whole, cuts, parts, &rng), any_path(&rng));
        if (pass) {
            const ref_report report = ref_check(&d, 1);
            pass = test_within(&report);
        }
    }
    test_ok(test_release() && pass, "%s, %s: cut anywhere, within the bound", attn_dtype_name(type),
            option_names[option]);
}

/* ------------------------------------------------------------------- empty -- */

static void try_empty(attn_dtype type)
{
    static const size_t begins[] = {0, 512, 700, 1500};
    const attn_desc whole = problem(type, 1500, PLAIN), sunk = problem(type, 1500, SINKS);
    attn_desc d = test_again(&whole), none = part_of(&whole, 0, 0);
    test_rng rng = {41};
    int pass = 1;
    for (size_t b = 0; b < sizeof begins / sizeof *begins; b++) {
        const size_t at = begins[b];
        const state empty = partial(&whole, at, at, test_on(any_path(&rng))),
                    after = partial(&whole, at, 1500, test_on(any_path(&rng)));
        const state before = partial(&whole, 0, at, test_on(any_path(&rng)));
        pass = pass && same_state(merge(empty, after, any_path(&rng)), after) &&
               same_state(merge(before, empty, any_path(&rng)), before) &&
               same_state(merge(empty, empty, any_path(&rng)), empty) && (at > 0 || same_state(before, empty));
    }
    test_ok(pass, "%s: an empty part is the identity", attn_dtype_name(type));

    none.out = test_copy(&whole.out);
    none.lse = test_copy(&whole.lse);
    none.rowmax = test_copy(&whole.lse);
    none.rowsum = test_copy(&whole.lse);
    pass = test_status(test_forward(&none, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
           finish(&d, partial(&whole, 700, 700, test_on(ATTN_PATH_AUTO)), ATTN_PATH_AUTO) &&
           test_same_outputs(&d, &none);
    test_ok(pass && ref_get(&d.lse, 0, 0, 0, 0) == -(ref_real)INFINITY,
            "%s: of nothing else, the result is that of no keys", attn_dtype_name(type));

    none.sinks = d.sinks = sunk.sinks;
    pass = test_status(test_forward(&none, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
           finish(&d, partial(&whole, 0, 0, test_on(ATTN_PATH_AUTO)), ATTN_PATH_AUTO);
    test_ok(pass && test_same_outputs(&d, &none), "%s: with a sink too", attn_dtype_name(type));
    test_release();
}

/* Sinks are ignored in parts, and count once in attn_state_finish. */
static void try_sinks(attn_dtype type)
{
    const attn_desc with = problem(type, 1500, SINKS);
    attn_desc without = test_again(&with), d;
    const size_t cuts[] = {0, 512, 1024, 1500};
    test_rng rng = {42};
    state s = compute_in_parts(&with, cuts, 3, &rng);
    int pass = test_status(test_forward(&with, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    without.sinks = test_absent;
    pass = pass && test_status(test_forward(&without, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    d = test_again(&with);
    test_ok(pass && finish(&d, s, ATTN_PATH_AUTO) && test_same_outputs(&d, &with), "%s: a sink counts once",
            attn_dtype_name(type));
    d = test_again(&without);
    test_ok(pass && finish(&d, s, ATTN_PATH_AUTO) && test_same_outputs(&d, &without),
            "%s: and not where the end has none", attn_dtype_name(type));
    test_release();
}

/* ------------------------------------------------------------------ values -- */

/* NaN or infinity in keys and values that no query sees. */
static void try_masked(attn_dtype type, int option)
{
    const double garbage[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    static const size_t cuts[] = {0, 512, 800, 1536, 1700};
    attn_desc whole = problem_of(type, 1700, FEW, option);
    const attn_desc clean = test_again(&whole);
    size_t hidden = 0;
    int pass = 1;
    whole.k = test_copy(&whole.k);
    whole.v = test_copy(&whole.v);
    for (size_t b = 0; b < BATCH; b++) {
        unsigned char seen[1700] = {0};
        for (size_t h = 0; h < HEADS; h++) {
            ref_head *head = ref_open(&clean, b, h);
            for (size_t i = 0; i < Q_LEN; i++) {
                const ref_row *row = ref_compute_row(head, i);
                for (size_t j = 0; j < 1700; j++) seen[j] |= row->keep[j];
            }
            ref_close(head);
        }
        for (size_t j = 0; j < 1700; j++)
            for (size_t c = 0; c < DIM && !seen[j]; c++, hidden++) {
                ref_set(&whole.k, b, 0, j, c, garbage[(j + c) % 3]);
                if (c < FEW) ref_set(&whole.v, b, 0, j, c, garbage[(j + c) % 3]);
            }
    }
    for (size_t i = 0; i + 1 < sizeof cuts / sizeof *cuts && pass; i++) {
        test_rng rng = {i};
        pass = same_state(partial(&whole, cuts[i], cuts[i + 1], test_on(any_path(&rng))),
                          partial(&clean, cuts[i], cuts[i + 1], test_on(any_path(&rng))));
    }
    test_ok(test_release() && pass && hidden > 0, "%s, %s: what is masked changes no byte", attn_dtype_name(type),
            option_names[option]);
}

/* Inputs up to the largest number, with sums that exceed it: within each part, or only when
 * parts are merged. */
static void try_largest(attn_dtype type, int what, int aligned)
{
    enum { VALUES, EITHER_SIGN, QUERIES_AND_KEYS, ALL };
    static const char *const names[] = {"values", "values of either sign", "queries and keys", "of everything"};
    static const size_t anywhere[] = {0, 1, 300, 512, 1024, 1100}, multiples[] = {0, 512, 1024, 1100};
    const double largest = type == ATTN_F64 ? DBL_MAX : (double)FLT_MAX;
    const attn_desc whole = problem_of(type, 1100, FEW, PLAIN);
    const attn_desc d = test_again(&whole);
    test_rng rng = {(uint64_t)what};
    int pass;
    for (size_t e = 0; e < BATCH * 1100; e++) {
        const size_t b = e / 1100, j = e % 1100;
        for (size_t c = 0; c < FEW && what != QUERIES_AND_KEYS; c++)
            ref_set(&whole.v, b, 0, j, c, what != VALUES && test_below(&rng, 2) ? -largest : largest);
        for (size_t c = 0; c < DIM && what >= QUERIES_AND_KEYS; c++)
            ref_set(&whole.k, b, 0, j, c, test_below(&rng, 2) ? -largest : largest / 3);
    }
    if (what >= QUERIES_AND_KEYS) test_fill(&whole.q, largest);
    pass = finish(&d, compute_in_parts(&whole, aligned ? multiples : anywhere, aligned ? 3 : 5, &rng), any_path(&rng));
    if (pass) {
        const ref_report report = ref_check(&d, 1);
        pass = test_within(&report);
    }
    for (size_t e = 0; e < BATCH * HEADS * Q_LEN * FEW && pass; e++) {
        const size_t c = e % FEW, i = e / FEW % Q_LEN, h = e / FEW / Q_LEN % HEADS, b = e / FEW / Q_LEN / HEADS;
        pass = isfinite(ref_get(&d.out, b, h, i, c)) && isfinite(ref_get(&d.lse, 0, b, h, i));
    }
    test_ok(test_release() && pass, "%s, the largest %s, cut %s: finite and within the bound", attn_dtype_name(type),
            names[what], aligned ? "at multiples of 512" : "anywhere");
}

/* Where sums of one column of float64 overflow, weights are made light for it; others do not lose their last bits by
 * that, though they are so small that light sums are subnormal numbers. It takes six roundings more. */
static void try_small_beside_largest(void)
{
    static const size_t all[] = {0, 1100};
    const attn_desc whole = problem_of(ATTN_F64, 1100, FEW, PLAIN);
    const attn_desc with = test_again(&whole), without = test_again(&whole);
    test_rng rng = {1};
    int pass;
    for (size_t e = 0; e < BATCH * 1100; e++)
        for (size_t c = 0; c < FEW; c++)
            ref_set(&whole.v, e / 1100, 0, e % 1100, c, c ? ldexp(1 + test_uniform(&rng) / 4, -990) : 1);
    pass = finish(&without, compute_in_parts(&whole, all, 1, &rng), any_path(&rng));
    for (size_t e = 0; e < BATCH * 1100; e++) ref_set(&whole.v, e / 1100, 0, e % 1100, 0, DBL_MAX);
    pass = pass && finish(&with, compute_in_parts(&whole, all, 1, &rng), any_path(&rng));
    for (size_t e = 0; e < BATCH * HEADS * Q_LEN * FEW && pass; e++) {
        const size_t c = e % FEW, i = e / FEW % Q_LEN, h = e / FEW / Q_LEN % HEADS, b = e / FEW / Q_LEN / HEADS;
        const double x = (double)ref_get(&with.out, b, h, i, c), y = (double)ref_get(&without.out, b, h, i, c);
        pass = c ? fabs(x - y) <= 7 * DBL_EPSILON / 2 * y : isfinite(x);
    }
    test_ok(test_release() && pass, "float64, small values beside a column of the largest: as without it");
}

/* Sums that may be added 2^24 times without overflow, but not twice as often. */
static void try_room(attn_dtype type)
{
    const test_shape shape = {type, BATCH, HEADS, 1, Q_LEN, 3, DIM, FEW};
    const double most = ldexp(type == ATTN_F64 ? DBL_MAX : (double)FLT_MAX, -24);
    test_rng rng = {44};
    attn_desc whole = test_problem(&shape, &rng);
    int pass;
    whole.scores = test_absent;
    for (size_t b = 0; b < BATCH; b++)
        for (size_t j = 0; j < 3; j++)
            for (size_t c = 0; c < FEW; c++) /* three of them stay below it */
                ref_set(&whole.v, b, 0, j, c, most * (0.2 + 0.1 * test_uniform(&rng)));
    pass = bits_of_whole(&whole, 1, &rng);
    test_ok(test_release() && pass, "%s, sums with room for 2^24: the bits of the whole", attn_dtype_name(type));
}

/* A visible NaN or infinity appears in the rows that see it, and only there. */
static void try_visible(attn_dtype type, double poison, int option, size_t keys)
{
    const size_t cuts[] = {0, 512, 1024, keys}, whole_block[] = {0, keys};
    static const char *const names[] = {"q", "k", "v", "all columns of v", "a sink"};
    for (int where = 0; where < (option == SINKS ? 5 : 4); where++) {
        const attn_desc whole = problem_of(type, keys, FEW, option);
        const attn_desc d = test_again(&whole);
        const attn_array blind = test_part(&d.out, 4, 0, 1);
        attn_array result, other;
        const attn_array *const arrays[] = {&whole.q, &whole.k, &whole.v, &whole.v};
        test_rng rng = {43};
        int pass;
        if (where == 4) ref_set(&whole.sinks, 0, 0, 0, 1, poison);
        else ref_set(arrays[where], 1, 0, where == 0 ? 2 : keys - 200, 3, poison);
        for (size_t c = 0; c < FEW && where == 3; c++) ref_set(&whole.v, 1, 0, keys - 200, c, poison);
        test_fill(&d.out, 1234); /* NaN could be mistaken for a result */
        test_fill(&d.lse, 1234);
        pass = test_status(test_forward(&whole, test_on(ATTN_PATH_AUTO)), ATTN_OK);
        result = test_copy(&whole.out);
        result = test_part(&result, 4, 0, 1);
        test_fill(&whole.out, 1234); /* which parts do not write */
        other = test_copy(&whole.out);
        pass = pass &&
               finish(&d, compute_in_parts(&whole, keys > 512 ? cuts : whole_block, keys > 512 ? 3 : 1, &rng),
                      any_path(&rng)) &&
               test_same(&blind, &result) && test_same(&whole.out, &other);
        if (pass) {
            const ref_report report = ref_check(&d, 1);
            pass = test_within(&report);
        }
        test_ok(test_release() && pass, "%s, %zu keys, %s, a visible %g in %s: where it must be", attn_dtype_name(type),
                keys, option_names[option], poison, names[where]);
    }
}

/* attn_state_redone: heads with a row that overflows, or sees what is not finite, in whichever part. */
static void try_redone(attn_dtype type)
{
    enum { FIRST = 1 };
    const size_t cuts[] = {0, 512, 1024, 1500};
    int pass = 1;
    for (int what = 0; what < 6;
         what++) { /* nothing; a query; a key; a value; a value that no query sees; large values */
        const attn_desc whole = problem(type, 1500, what == 4 ? LENGTHS : PLAIN);
        const size_t wanted[2] = {what == 1 ? FIRST : 0, what == 0 || what == 4 ? 0 : what == 1 ? FIRST + 1 : HEADS};
        test_rng rng = {45};
        size_t got[2] = {77, 77};
        if (what == 1) ref_set(&whole.q, 0, FIRST, 2, 1, (double)INFINITY);
        if (what == 2) ref_set(&whole.k, 1, 0, 700, 1, (double)INFINITY);
        if (what == 3 || what == 4) ref_set(&whole.v, 1, 0, what == 3 ? 0 : 1499, 1, (double)INFINITY);
        if (what == 5) test_fill(&whole.v, type == ATTN_F64 ? DBL_MAX : (double)FLT_MAX);
        pass &= test_status(attn_state_redone(compute_in_parts(&whole, cuts, 3, &rng).data, &got[0], &got[1]), ATTN_OK);
        if (memcmp(got, wanted, sizeof got) == 0) continue;
        pass = 0;
        test_note("%d: heads [%zu, %zu) instead of [%zu, %zu)", what, got[0], got[1], wanted[0], wanted[1]);
    }
    test_ok(pass, "%s: the heads with rows that may have other bits", attn_dtype_name(type));
    {
        const attn_desc whole = problem(type, 600, PLAIN);
        const state s = partial(&whole, 0, 600, test_on(ATTN_PATH_AUTO));
        size_t n = 77;
        test_ok(test_status(attn_state_redone(NULL, &n, &n), ATTN_ERR_NULL) &&
                    test_status(attn_state_redone(s.data, NULL, &n), ATTN_ERR_NULL) &&
                    test_status(attn_state_redone(s.data, &n, NULL), ATTN_ERR_NULL) &&
                    test_status(attn_state_redone((char *)s.data + 4, &n, &n), ATTN_ERR_ALIGN) &&
                    test_status(attn_state_redone(whole.q.data, &n, &n), ATTN_ERR_PARAMETER) && n == 77,
                "%s: of no state", attn_dtype_name(type));
    }
    test_release();
}

/* ------------------------------------------------------------------ errors -- */

static void *shifted(const void *p, size_t bytes) { return (char *)(uintptr_t)p + bytes; }

#define REFUSE_PARTIAL(want, spoil)                                                                                    \
    do {                                                                                                               \
        const attn_desc whole = problem(ATTN_F32, 1500, EVERYTHING);                                                   \
        attn_desc d = part_of(&whole, 512, 1500);                                                                      \
        attn_exec run = attn_exec_in(test_memory(WORKSPACE, 0), WORKSPACE);                                            \
        const size_t needed = partial(&whole, 512, 1500, test_on(ATTN_PATH_AUTO)).bytes;                               \
        const state out = room_for(needed + 64);                                                                       \
        void *to = out.data;                                                                                           \
        size_t bytes = needed;                                                                                         \
        spoil;                                                                                                         \
        test_ok(test_status(attn_partial(&d, to, bytes, &run), want) && test_untouched(out.data, out.bytes) &&         \
                    test_guards(),                                                                                     \
                "partial, nothing written: %s", #spoil);                                                               \
        test_release();                                                                                                \
    } while (0)

static void try_partial_errors(void)
{
    enum { WORKSPACE = 1 << 22 };
    REFUSE_PARTIAL(ATTN_ERR_WORKSPACE, bytes--);
    REFUSE_PARTIAL(ATTN_ERR_WORKSPACE, bytes = 0);
    REFUSE_PARTIAL(ATTN_ERR_WORKSPACE, run.workspace_size = 100);
    REFUSE_PARTIAL(ATTN_ERR_NULL, to = NULL);
    REFUSE_PARTIAL(ATTN_ERR_NULL, d.k.data = NULL);
    REFUSE_PARTIAL(ATTN_ERR_NULL, d.mask.data = NULL);
    REFUSE_PARTIAL(ATTN_ERR_ALIGN, to = shifted(to, 1));
    REFUSE_PARTIAL(ATTN_ERR_ALIGN, to = shifted(to, 4));
    REFUSE_PARTIAL(ATTN_ERR_PATH, run.path = ATTN_PATH_COUNT);
    REFUSE_PARTIAL(ATTN_ERR_SHAPE, d.k.shape[3] = DIM - 1);
    REFUSE_PARTIAL(ATTN_ERR_SHAPE, d.mask = whole.mask);
    REFUSE_PARTIAL(ATTN_ERR_PARAMETER, d.softcap = -1);
    REFUSE_PARTIAL(ATTN_ERR_DTYPE, d.v.dtype = ATTN_I32);
    REFUSE_PARTIAL(ATTN_ERR_LENGTH, ref_set(&d.kv_lens, 0, 0, 0, 1, -1));
    REFUSE_PARTIAL(ATTN_ERR_OVERFLOW, d.kv_begin = SIZE_MAX);
    REFUSE_PARTIAL(ATTN_ERR_ALIAS, to = d.v.data);
    REFUSE_PARTIAL(ATTN_ERR_ALIAS, to = shifted(d.k.data, 16));
    REFUSE_PARTIAL(ATTN_ERR_PAGE,
                   (d.mask = test_absent, d.causal = d.window = 0, d.block_table = test_2d(ATTN_I32, BATCH, 1),
                    test_fill(&d.block_table, 1e6), test_fill(&d.kv_lens, (double)d.kv_begin + 1)));
    { /* lengths as the only optional array; sinks, which are ignored, whatever they are */
        attn_desc d = problem(ATTN_F32, 40, PLAIN);
        size_t bytes = 0;
        const attn_status sized = attn_state_size(&d, &bytes);
        const state out = room_for(bytes);
        d.kv_lens = test_1d(ATTN_I32, BATCH);
        test_fill(&d.kv_lens, -1);
        test_ok(test_status(sized, ATTN_OK) &&
                    test_status(test_partial(&d, out.data, out.bytes, test_on(ATTN_PATH_AUTO)), ATTN_ERR_LENGTH) &&
                    test_untouched(out.data, out.bytes),
                "a negative length and no other optional array");
        test_fill(&d.kv_lens, 30);
        d.sinks = test_1d(ATTN_I32, 3);
        test_ok(test_status(test_partial(&d, out.data, out.bytes, test_on(ATTN_PATH_AUTO)), ATTN_OK),
                "sinks of a part are not looked at");
        test_release();
    }
    {
        const attn_desc whole = problem(ATTN_F32, 1500, PLAIN);
        const state out = room_for(1000);
        size_t bytes = 77;
        attn_desc bare = whole;
        attn_exec query = attn_exec_default(), bare_query = query;
        size_t sizes[4] = {1, 2, 3, 4};
        query.query = &sizes[0], bare_query.query = &sizes[1];
        bare.q.data = bare.k.data = bare.v.data = NULL;
        test_ok(test_status(attn_partial(&whole, NULL, 0, &query), ATTN_OK) &&
                    test_status(attn_partial(&bare, NULL, 0, &bare_query), ATTN_OK) && sizes[0] == sizes[1] &&
                    test_status(attn_state_size(&whole, &sizes[2]), ATTN_OK) &&
                    test_status(attn_state_size(&bare, &sizes[3]), ATTN_OK) && sizes[2] == sizes[3],
                "sizes are asked for without data");
        attn_desc large = whole; /* rows of only a maximum and a sum, a quarter of the address space */
        large.q = attn_array_4d(ATTN_F32, NULL, 1, 1, SIZE_MAX / 64 + 1, 0);
        for (size_t nodes = 2; nodes <= 4; nodes += 2) {
            large.k = large.v = attn_array_4d(ATTN_F32, NULL, 1, 1, nodes == 2 ? 513 : 7680, 0);
            test_ok(test_status(attn_state_size(&large, &bytes), ATTN_ERR_OVERFLOW) && bytes == 77,
                    "a state too large, of %zu nodes", nodes);
        }
        test_ok(test_status(attn_partial(NULL, out.data, 1000, NULL), ATTN_ERR_NULL) &&
                    test_status(attn_state_size(NULL, &bytes), ATTN_ERR_NULL) &&
                    test_status(attn_state_size(&whole, NULL), ATTN_ERR_NULL) && bytes == 77 &&
                    test_untouched(out.data, out.bytes),
                "a part of NULL");
        test_release();
    }
}

/* Where a part says nothing of the length of the whole, lower-right positions cannot be known: refused where they
 * count. With lengths, or where positions do not matter, parts are the whole. */
static void try_lower_right(void)
{
    static const char *const names[] = {"without positions", "causal", "left of a window", "right of a window",
                                        "ALiBi"};
    for (int counts = 0; counts < 5; counts++)
        for (int lengths = 0; lengths < 2; lengths++) {
            attn_desc whole = problem(ATTN_F32, 1500, PLAIN), d, merged;
            size_t bytes = 77;
            attn_status sized;
            const int works = lengths || !counts;
            state out;
            whole.align = ATTN_ALIGN_LOWER_RIGHT;
            whole.window = 1;
            whole.window_left = counts == 2 ? 700 : -1;
            whole.window_right = counts == 3 ? 0 : -1;
            whole.causal = counts == 1;
            if (counts == 4) whole.alibi = test_1d(ATTN_F32, HEADS), test_fill(&whole.alibi, 0.125);
            if (lengths) whole.kv_lens = test_1d(ATTN_I64, BATCH), test_fill(&whole.kv_lens, 1500);
            d = part_of(&whole, 512, 1500);
            sized = attn_state_size(&d, &bytes);
            if (works) {
                merged = test_again(&whole);
                test_ok(test_status(sized, ATTN_OK) &&
                            test_status(test_forward(&whole, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
                            finish(&merged,
                                   merge(partial(&whole, 0, 512, test_on(ATTN_PATH_AUTO)),
                                         partial(&whole, 512, 1500, test_on(ATTN_PATH_AUTO)), ATTN_PATH_AUTO),
                                   ATTN_PATH_AUTO) &&
                            test_same_outputs(&merged, &whole),
                        "parts, lower right, %s%s: those of the whole", names[counts], lengths ? ", lengths" : "");
            } else {
                attn_exec run = attn_exec_in(test_memory(1 << 20, 0), 1 << 20);
                out = room_for(1 << 20);
                test_ok(test_status(sized, ATTN_ERR_NULL) && bytes == 77 &&
                            test_status(attn_partial(&d, out.data, out.bytes, &run), ATTN_ERR_NULL) &&
                            test_untouched(out.data, out.bytes) && test_untouched(run.workspace, run.workspace_size),
                        "parts, lower right, %s, no lengths: refused", names[counts]);
            }
            test_release();
        }
}

static void try_merge_errors(void)
{
    const attn_desc whole = problem(ATTN_F32, 1500, PLAIN), wide = problem(ATTN_F64, 1500, PLAIN);
    attn_desc narrow = part_of(&whole, 512, 1500), one = narrow;
    const state a = partial(&whole, 0, 512, test_on(ATTN_PATH_AUTO)),
                b = partial(&whole, 512, 1500, test_on(ATTN_PATH_AUTO));
    const state late = partial(&whole, 600, 1500, test_on(ATTN_PATH_AUTO)),
                early = partial(&whole, 300, 1500, test_on(ATTN_PATH_AUTO));
    const state doubles = partial(&wide, 512, 1500, test_on(ATTN_PATH_AUTO)), good = merge(a, b, ATTN_PATH_AUTO);
    const state out = room_for(good.bytes + 64), a_copy = room_for(a.bytes), odd = room_for(a.bytes + 64);
    state fewer, other;
    size_t bytes = 77;
    narrow.v = test_part(&narrow.v, 1, 0, DIM_V - 1);
    one.q = test_part(&whole.q, 2, 0, Q_LEN - 1);
    attn_state_size(&narrow, &fewer.bytes);
    attn_state_size(&one, &other.bytes);
    fewer = room_for(fewer.bytes);
    other = room_for(other.bytes);
    test_partial(&narrow, fewer.data, fewer.bytes, test_on(ATTN_PATH_AUTO));
    test_partial(&one, other.data, other.bytes, test_on(ATTN_PATH_AUTO));
    memcpy(a_copy.data, a.data, a.bytes);
    memcpy(shifted(odd.data, 4), a.data, a.bytes);
    {
        const struct {
            const char *name;
            const void *a, *b;
            void *out;
            size_t bytes;
            attn_status want;
        } cases[] = {
            {"in the wrong order", b.data, a.data, out.data, good.bytes, ATTN_ERR_LENGTH},
            {"with a gap between", a.data, late.data, out.data, good.bytes, ATTN_ERR_LENGTH},
            {"that overlap", a.data, early.data, out.data, good.bytes, ATTN_ERR_LENGTH},
            {"the same twice", b.data, b.data, out.data, good.bytes, ATTN_ERR_LENGTH},
            {"of different types", a.data, doubles.data, out.data, good.bytes, ATTN_ERR_DTYPE},
            {"of different head_dim_v", a.data, fewer.data, out.data, good.bytes, ATTN_ERR_SHAPE},
            {"of different q_len", a.data, other.data, out.data, good.bytes, ATTN_ERR_SHAPE},
            {"into a byte less", a.data, b.data, out.data, good.bytes - 1, ATTN_ERR_WORKSPACE},
            {"into nothing", a.data, b.data, NULL, good.bytes, ATTN_ERR_NULL},
            {"the first NULL", NULL, b.data, out.data, good.bytes, ATTN_ERR_NULL},
            {"the second NULL", a.data, NULL, out.data, good.bytes, ATTN_ERR_NULL},
            {"into misaligned memory", a.data, b.data, shifted(out.data, 4), good.bytes, ATTN_ERR_ALIGN},
            {"the first misaligned", shifted(odd.data, 4), b.data, out.data, good.bytes, ATTN_ERR_ALIGN},
            {"into the first", a_copy.data, b.data, a_copy.data, good.bytes, ATTN_ERR_ALIAS},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const attn_status status =
                attn_state_merge(cases[i].a, cases[i].b, cases[i].out, cases[i].bytes, ATTN_PATH_AUTO);
            test_ok(test_status(status, cases[i].want) && test_untouched(out.data, out.bytes) &&
                        same_state(a_copy, a) && test_guards(),
                    "states %s: %s", cases[i].name, attn_status_string(cases[i].want));
        }
    }
    test_ok(test_status(attn_state_merge(a.data, b.data, out.data, good.bytes, ATTN_PATH_COUNT), ATTN_ERR_PATH) &&
                test_untouched(out.data, out.bytes),
            "states on an unknown path");
    test_ok(test_status(attn_state_merged_size(b.data, a.data, &bytes), ATTN_ERR_LENGTH) && bytes == 77 &&
                test_status(attn_state_merged_size(a.data, b.data, NULL), ATTN_ERR_NULL),
            "no size of states that do not fit");
    test_ok(test_status(attn_state_merge(a.data, b.data, out.data, good.bytes, ATTN_PATH_AUTO), ATTN_OK) &&
                memcmp(out.data, good.data, good.bytes) == 0,
            "and the same states where nothing is spoiled");
    test_release();
}

#define REFUSE_FINISH(want, spoil)                                                                                     \
    do {                                                                                                               \
        const attn_desc whole = problem(ATTN_F32, 600, SINKS);                                                         \
        attn_desc d = test_again(&whole);                                                                              \
        const attn_desc outputs = d, unwritten = test_again(&whole);                                                   \
        const state s = partial(&whole, 0, 600, test_on(ATTN_PATH_AUTO));                                              \
        const void *from = s.data;                                                                                     \
        attn_path path = ATTN_PATH_AUTO;                                                                               \
        spoil;                                                                                                         \
        test_ok(test_status(attn_state_finish(&d, from, path), want) && test_same_outputs(&outputs, &unwritten) &&     \
                    test_guards(),                                                                                     \
                "finish, nothing written: %s", #spoil);                                                                \
        test_release();                                                                                                \
    } while (0)

static void try_finish_errors(void)
{
    REFUSE_FINISH(ATTN_ERR_NULL, from = NULL);
    REFUSE_FINISH(ATTN_ERR_ALIGN, from = shifted(from, 4));
    REFUSE_FINISH(ATTN_ERR_PATH, path = (attn_path)-1);
    REFUSE_FINISH(ATTN_ERR_NULL, d.out.data = NULL);
    REFUSE_FINISH(ATTN_ERR_NULL, d.sinks.data = NULL);
    REFUSE_FINISH(ATTN_ERR_DTYPE, d.out = test_4d(ATTN_F64, BATCH, HEADS, Q_LEN, DIM_V));
    REFUSE_FINISH(ATTN_ERR_DTYPE, d.lse.dtype = ATTN_I32);
    REFUSE_FINISH(ATTN_ERR_SHAPE, d.out.shape[2] = Q_LEN - 1);
    REFUSE_FINISH(ATTN_ERR_SHAPE, d.out.shape[3] = DIM_V - 1);
    REFUSE_FINISH(ATTN_ERR_SHAPE, d.lse.shape[2] = Q_LEN - 1);
    REFUSE_FINISH(ATTN_ERR_SHAPE, d.rowmax.shape[1] = HEADS - 1);
    REFUSE_FINISH(ATTN_ERR_DTYPE, d.rowsum.dtype = ATTN_F64);
    REFUSE_FINISH(ATTN_ERR_SHAPE, d.sinks.shape[0] = HEADS - 1);
    REFUSE_FINISH(ATTN_ERR_RANK, d.out.ndim = 1);
    REFUSE_FINISH(ATTN_ERR_STRIDE, (d.out.stride[3] = 1, d.out.stride[2] = 2));
    REFUSE_FINISH(ATTN_ERR_ALIAS, d.out.data = s.data);
    REFUSE_FINISH(ATTN_ERR_ALIAS, d.lse.data = d.out.data);
    REFUSE_FINISH(ATTN_ERR_ALIAS, d.rowmax.data = d.lse.data);
    REFUSE_FINISH(ATTN_ERR_ALIAS, d.rowsum.data = d.rowmax.data);
    REFUSE_FINISH(ATTN_ERR_ALIAS, d.sinks.data = d.out.data);
}

/* Changes each byte of the header in three ways. The state must be refused, with nothing
 * written, or, if the change cannot be detected, give the same result. */
static void try_corrupted(void)
{
    static const unsigned char changes[] = {0x01, 0x80, 0xff};
    const attn_desc whole = problem(ATTN_F32, 1500, PLAIN);
    const state a = partial(&whole, 0, 512, test_on(ATTN_PATH_AUTO)),
                b = partial(&whole, 512, 1500, test_on(ATTN_PATH_AUTO));
    const state good = merge(a, b, ATTN_PATH_AUTO), merged = room_for(good.bytes), bad = room_for(a.bytes),
                zeros = room_for(a.bytes);
    const size_t head = partial(&whole, 0, 0, test_on(ATTN_PATH_AUTO)).bytes; /* an empty state has nothing else */
    const attn_desc want = test_again(&whole), unwritten = test_again(&whole), d = test_again(&whole);
    size_t refused = 0, refused_merges = 0;
    int pass = finish(&want, a, ATTN_PATH_AUTO);
    for (size_t byte = 0; byte < head; byte++)
        for (size_t i = 0; i < sizeof changes && pass; i++) {
            size_t bytes = 0;
            memcpy(bad.data, a.data, a.bytes);
            ((unsigned char *)bad.data)[byte] ^= changes[i];
            test_poison(&d.out);
            test_poison(&d.lse);
            test_poison(&d.rowmax);
            test_poison(&d.rowsum);
            memset(merged.data, 0xff, merged.bytes);
            if (attn_state_finish(&d, bad.data, ATTN_PATH_AUTO) == ATTN_OK) pass = test_same_outputs(&d, &want);
            else pass = ++refused && test_same_outputs(&d, &unwritten);
            if (attn_state_merged_size(bad.data, b.data, &bytes) != ATTN_OK || bytes > merged.bytes) refused_merges++;
            else
                pass &=
                    attn_state_merge(bad.data, b.data, merged.data, bytes, ATTN_PATH_AUTO) == ATTN_OK && test_guards();
            if (!pass) test_note("byte %zu, changed by %#x", byte, (unsigned)changes[i]);
        }
    test_note("of %zu changed heads, %zu are refused at the end, %zu in a merge", head * sizeof changes, refused,
              refused_merges);
    test_ok(pass && test_guards(), "a changed head does no harm");
    test_ok(refused >= head * sizeof changes * 3 / 4, "and is refused in nearly all cases");
    memset(zeros.data, 0, zeros.bytes);
    test_ok(test_status(attn_state_finish(&d, zeros.data, ATTN_PATH_AUTO), ATTN_ERR_PARAMETER), "zeros are no state");
    test_release();
}

/* More keys than fit in memory, all at one address (stride 0), seen through a window in the
 * middle, where the parts meet. */
static void try_far(attn_dtype type)
{
    static const ptrdiff_t one_place[4] = {0, 0, 0, 1};
    const size_t half = SIZE_MAX / 16 + 1;
    const test_shape shape = {type, 1, 1, 1, Q_LEN, 1, DIM, DIM_V};
    test_rng rng = {11};
    attn_desc d = test_problem(&shape, &rng), merged;
    state a, b;
    int pass;
    d.scores = test_absent;
    d.k.shape[2] = d.v.shape[2] = 2 * half;
    memcpy(d.k.stride, one_place, sizeof one_place);
    memcpy(d.v.stride, one_place, sizeof one_place);
    d.align = ATTN_ALIGN_OFFSET;
    d.q_offset = (int64_t)half;
    d.window = 1;
    d.window_left = 2;
    d.window_right = 1;
    merged = test_again(&d);
    a = partial(&d, 0, half, test_on(ATTN_PATH_AUTO));
    b = partial(&d, half, 2 * half, test_on(ATTN_PATH_AUTO));
    pass = test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
           finish(&merged, merge(a, b, ATTN_PATH_AUTO), ATTN_PATH_AUTO) && test_same_outputs(&merged, &d);
    test_ok(pass, "%s: parts of %zu keys", attn_dtype_name(type), half);
    test_release();
}

int main(void)
{
    for (int option = 0; option < OPTIONS; option++)
        for (size_t t = 0; t < 2; t++) {
            try_cuts(test_types[t], option);
            try_anywhere(test_types[t], option);
        }
    try_halves(ATTN_F32, ATTN_F16);
    try_halves(ATTN_F16, ATTN_BF16);
    try_small_beside_largest();
    for (size_t t = 0; t < 2; t++) {
        try_shapes(test_types[t]);
        try_bytes(test_types[t], PLAIN);
        try_bytes(test_types[t], EVERYTHING);
        try_empty(test_types[t]);
        try_far(test_types[t]);
        try_sinks(test_types[t]);
        for (int option = CAUSAL; option <= LOWER_RIGHT; option++) try_masked(test_types[t], option);
        try_masked(test_types[t], EVERYTHING);
        for (int what = 0; what < 8; what++) try_largest(test_types[t], what / 2, what % 2);
        try_room(test_types[t]);
        try_redone(test_types[t]);
        try_visible(test_types[t], (double)NAN, PLAIN, 1100);
        try_visible(test_types[t], (double)NAN, PLAIN, 500);
        try_visible(test_types[t], (double)NAN, SINKS, 1100);
        try_visible(test_types[t], (double)NAN, SINKS, 500);
        try_visible(test_types[t], (double)INFINITY, PLAIN, 1100);
        try_visible(test_types[t], (double)INFINITY, PLAIN, 500);
        try_visible(test_types[t], (double)INFINITY, SINKS, 1100);
        try_visible(test_types[t], (double)INFINITY, SINKS, 500);
    }
    try_partial_errors();
    try_lower_right();
    try_merge_errors();
    try_finish_errors();
    try_corrupted();
    return test_done();
}
