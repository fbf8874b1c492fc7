/* SPDX-License-Identifier: MIT-0
 *
 * A row has the same bits alone, in its batch, in a chunk of any size and in decoding; with
 * masked keys appended; and for any number of workers and order of tasks.
 */
#include "check/harness.h"

#include <stdio.h>

static const test_shape shape = {ATTN_F32, 2, 2, 1, 37, 1100, 17, 9};

static attn_array plane(const attn_array *a, size_t batch, size_t head)
{
    return attn_array_2d(a->dtype, ref_at(a, batch, head, 0, 0), a->shape[2], a->shape[3]);
}

/* The same call with outputs of its own. */
static int run_again(attn_desc *desc, attn_exec run)
{
    *desc = test_again(desc);
    return test_status(test_forward(desc, run), ATTN_OK);
}

static void try_planes(const attn_desc *whole, attn_path path, const char *name)
{
    int pass = 1;
    for (size_t b = 0; b < shape.batch; b++)
        for (size_t h = 0; h < shape.q_heads; h++) {
            attn_desc desc = *whole;
            const attn_array out = plane(&whole->out, b, h), scores = plane(&whole->scores, b, h);
            desc.q = plane(&whole->q, b, h);
            desc.k = plane(&whole->k, b, h / 2);
            desc.v = plane(&whole->v, b, h / 2);
            desc.out = out;
            desc.scores = scores;
            desc.lse = test_absent;
            pass &= run_again(&desc, test_on(path)) && test_same(&desc.out, &out) && test_same(&desc.scores, &scores);
        }
    test_ok(pass, "%s: one head of one batch alone", name);
}

/* Chunks of queries with all keys, and with only the keys that they can see. */
static void try_chunks(const attn_desc *whole, attn_path path, const char *name)
{
    static const size_t chunks[] = {1, 2, 7, 16, 31, 64};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        int pass = 1, cut_pass = 1;
        for (size_t first = 0; first < shape.q_len; first += chunks[i]) {
            const size_t count = first + chunks[i] < shape.q_len ? chunks[i] : shape.q_len - first;
            const size_t seen = (size_t)whole->q_offset + first + count;
            const attn_array out = test_part(&whole->out, 2, first, count),
                             scores = test_part(&whole->scores, 2, first, count);
            attn_desc desc = *whole, cut;
            desc.q = test_part(&whole->q, 2, first, count);
            desc.out = out;
            desc.scores = scores;
            desc.lse = test_absent;
            desc.q_offset = whole->q_offset + (int64_t)first;
            cut = desc;
            pass &= run_again(&desc, test_on(path)) && test_same(&desc.out, &out) && test_same(&desc.scores, &scores);

            cut.k = test_part(&whole->k, 2, 0, seen);
            cut.v = test_part(&whole->v, 2, 0, seen);
            cut.scores = test_absent;
            cut_pass &= run_again(&cut, test_on(path)) && test_same(&cut.out, &out);
        }
        test_ok(pass, "%s: chunks of %zu queries", name, chunks[i]);
        test_ok(cut_pass, "%s: chunks of %zu queries and only the keys so far", name, chunks[i]);
    }
}

static void try_appended(const attn_desc *whole, attn_path path, const char *name)
{
    static const size_t more[] = {1, 15, 452, 1000};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        const size_t kv_len = shape.kv_len + more[i];
        attn_desc desc = *whole;
        attn_array head;
        desc.k = test_4d(whole->q.dtype, shape.batch, shape.kv_heads, kv_len, shape.head_dim);
        desc.v = test_4d(whole->q.dtype, shape.batch, shape.kv_heads, kv_len, shape.head_dim_v);
        head = test_part(&desc.k, 2, 0, shape.kv_len);
        test_assign(&head, &whole->k); /* the rest stays NaN */
        head = test_part(&desc.v, 2, 0, shape.kv_len);
        test_assign(&head, &whole->v);
        desc.scores = test_4d(whole->q.dtype, shape.batch, shape.q_heads, shape.q_len, kv_len);
        test_ok(run_again(&desc, test_on(path)) && test_same(&desc.out, &whole->out) &&
                    test_same(&desc.lse, &whole->lse),
                "%s: %zu keys more that nobody sees", name, more[i]);
    }
}

static void try_workers(const attn_desc *whole, attn_path path, const char *name)
{
    static const size_t workers[] = {1, 2, 3, 7, 64};
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++) {
        attn_desc desc = *whole;
        test_ok(run_again(&desc, test_shuffled(path, workers[i])) && test_same(&desc.out, &whole->out) &&
                    test_same(&desc.scores, &whole->scores) && test_same(&desc.lse, &whole->lse),
                "%s: %zu workers, tasks out of order", name, workers[i]);
    }
}

/* One query and many keys: a case in which a library may cut the keys. */
static void try_decode_workers(attn_dtype type, attn_path path, const char *name)
{
    const test_shape one = {type, 1, 4, 2, 1, 5000, 16, 16};
    test_rng rng = {3};
    attn_desc whole = test_problem(&one, &rng);
    if (!test_ok(test_status(test_forward(&whole, test_on(path)), ATTN_OK), "%s: decode", name)) return;
    try_workers(&whole, path, name);
}

int main(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t t = 0; t < 2; t++)
        for (size_t p = 0; p < num_paths; p++) {
            test_rng rng = {7};
            test_shape typed = shape;
            attn_desc whole;
            char name[64];
            typed.type = test_types[t];
            snprintf(name, sizeof name, "%s, %s", attn_dtype_name(typed.type), attn_path_name(paths[p]));
            whole = test_problem(&typed, &rng);
            whole.causal = 1;
            whole.align = ATTN_ALIGN_OFFSET;
            whole.q_offset = (int64_t)(shape.kv_len - shape.q_len);
            if (test_ok(test_status(test_forward(&whole, test_on(paths[p])), ATTN_OK), "%s: the whole", name)) {
                try_planes(&whole, paths[p], name);
                try_chunks(&whole, paths[p], name);
                try_appended(&whole, paths[p], name);
                try_workers(&whole, paths[p], name);
            }
            test_release();
            try_decode_workers(typed.type, paths[p], name);
            test_ok(test_release(), "%s: guards", name);
        }
    return test_done();
}
