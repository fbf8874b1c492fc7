/* SPDX-License-Identifier: MIT-0
 *
 * The queried size is exactly what is needed: with it a call succeeds and writes nothing
 * outside; with one byte less it is refused. Without a workspace the library allocates one, and frees it. The size
 * depends on head_dim and the number of workers, and hardly on the lengths. What attn_workspace_size says is enough for
 * every shorter problem.
 */
#include "check/harness.h"

/* What the library allocates: counted, guarded, and refused if that is wanted. */
static size_t allocated, held, last_bytes;
static int refuse;
static void *last;
static void *allocate(size_t bytes)
{
    if (refuse) return NULL;
    allocated++;
    held++;
    last_bytes = bytes;
    return last = test_memory(bytes, allocated % 64);
}
static void release(void *memory) { held -= memory == last; }

typedef attn_status (*function)(const attn_desc *desc, const attn_exec *run);

static attn_status do_forward(const attn_desc *d, const attn_exec *run) { return attn_forward(d, run); }
static attn_status do_self_attention(const attn_desc *d, const attn_exec *run)
{
    return attn_self_attention(&d->q, &d->k, &d->v, &d->out, &d->scores, run);
}
static attn_status do_scores(const attn_desc *d, const attn_exec *run)
{
    return attn_scores(&d->q, &d->k, 0, &d->scores, run);
}
static attn_status do_softmax(const attn_desc *d, const attn_exec *run) { return attn_softmax(&d->q, 2, &d->q, run); }
static attn_status do_weighted_sum(const attn_desc *d, const attn_exec *run)
{
    return attn_weighted_sum(&d->scores, &d->v, &d->out, run);
}
/* x w: q is x, the keys of one head are the weights */
static attn_status do_compute_qkv(const attn_desc *d, const attn_exec *run)
{
    attn_array w = attn_array_swap(d->k, 2, 3);
    w.ndim = 2;
    w.shape[0] = w.shape[2];
    w.shape[1] = w.shape[3];
    w.stride[0] = w.stride[2];
    w.stride[1] = w.stride[3];
    {
        attn_array products[3];
        const size_t n = ref_length(&d->scores, 4) * ref_length(&d->scores, 3) * ref_length(&d->scores, 2) *
                         ref_length(&d->scores, 1);
        for (int i = 0; i < 3; i++) {
            products[i] = d->scores;
            if (!run || run->query == NULL) products[i].data = test_memory(n * attn_dtype_size(d->q.dtype), 0);
        }
        return attn_compute_qkv(&d->q, &w, &w, &w, &products[0], &products[1], &products[2], run);
    }
}
static attn_status do_layer(const attn_desc *d, const attn_exec *run)
{
    const attn_dtype type = d->q.dtype;
    const size_t tokens = ref_length(&d->q, 2), width = ref_length(&d->q, 1);
    attn_layer l = attn_layer_default();
    l.x = attn_array_2d(type, d->q.data, tokens, width);
    l.w_q = l.w_k = l.w_v = l.w_o = attn_array_2d(type, d->q.data, width, width);
    l.out = attn_array_2d(type, d->out.data, tokens, width);
    return attn_layer_forward(&l, run);
}

static attn_status do_partial(const attn_desc *d, const attn_exec *run)
{
    size_t bytes;
    const attn_status status = attn_state_size(d, &bytes);
    return status ? status : attn_partial(d, run && run->query ? NULL : test_memory(bytes, 0), bytes, run);
}
static attn_status do_self_test(const attn_desc *d, const attn_exec *run)
{
    (void)d;
    return attn_self_test(run);
}

static const struct {
    function f;
    const char *name;
} functions[] = {
    {do_forward, "forward"},
    {do_self_attention, "self_attention"},
    {do_scores, "scores"},
    {do_softmax, "softmax"},
    {do_weighted_sum, "weighted_sum"},
    {do_compute_qkv, "compute_qkv"},
    {do_layer, "layer"},
    {do_partial, "partial"},
    {do_self_test, "self_test"},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

static void try_exact(size_t f, attn_dtype type, attn_path path, size_t workers)
{
    /* as many rows as columns, so that q can serve as the weights of the layer */
    const test_shape shape = {type, 1, 1, 1, 33, 530, 33, 33};
    char pass[4] = {0, 0, 0, 0};
    for (size_t shift = 0; shift < 2; shift++) { /* at any alignment */
        test_rng rng = {f};
        attn_desc d = test_problem(&shape, &rng);
        attn_exec run = test_shuffled(path, workers);
        size_t bytes = 0;
        test_fill_normal(&d.scores, &rng, 1);
        run.query = &bytes;
        if (!test_status(functions[f].f(&d, &run), ATTN_OK)) break;
        run.query = NULL;
        if (bytes > 0) {
            run.workspace = test_memory(bytes - 1, shift);
            run.workspace_size = bytes - 1;
            pass[2 * shift] = (char)test_status(functions[f].f(&d, &run), ATTN_ERR_WORKSPACE);
            run.workspace = NULL;
            run.workspace_size = bytes;
            pass[2 * shift] &= (char)test_status(functions[f].f(&d, &run), ATTN_ERR_WORKSPACE);
        } else pass[2 * shift] = 1;
        run.workspace = test_memory(bytes, 1 + 30 * shift);
        run.workspace_size = bytes;
        pass[2 * shift + 1] = (char)test_status(functions[f].f(&d, &run), ATTN_OK) && test_guards();
        test_release();
    }
    test_ok(pass[0] && pass[2], "%s, %s, %s, %zu workers: a byte less is refused", functions[f].name,
            attn_dtype_name(type), attn_path_name(path), workers);
    test_ok(pass[1] && pass[3], "%s, %s, %s, %zu workers: exactly enough", functions[f].name, attn_dtype_name(type),
            attn_path_name(path), workers);
}

static attn_desc same_problem(attn_dtype type)
{
    const test_shape shape = {type, 1, 1, 1, 33, 530, 33, 33};
    test_rng rng = {3};
    attn_desc d = test_problem(&shape, &rng);
    test_fill_normal(&d.scores, &rng, 1);
    return d;
}
static int same_arrays(const attn_desc *a, const attn_desc *b)
{
    return test_same(&a->q, &b->q) && test_same(&a->out, &b->out) && test_same(&a->scores, &b->scores);
}

/* Without a workspace: the bits of a call that has one, nothing left, a status if there is no memory. */
static void try_allocation(size_t f, attn_dtype type, size_t workers)
{
    const char *name = functions[f].name;
    attn_desc with = same_problem(type), without = same_problem(type), plain = same_problem(type),
              failed = same_problem(type), before = same_problem(type);
    attn_exec run = test_shuffled(ATTN_PATH_AUTO, workers);
    size_t bytes = 0;
    int pass;
    run.query = &bytes;
    pass = test_status(functions[f].f(&before, &run), ATTN_OK);
    run.query = NULL;
    run.workspace = test_memory(bytes, 5);
    run.workspace_size = bytes;
    allocated = held = 0;
    test_malloc = allocate;
    test_free = release;
    pass &= test_status(functions[f].f(&with, &run), ATTN_OK);
    test_ok(pass && allocated == 0, "%s, %s, %zu workers: nothing is allocated beside a workspace", name,
            attn_dtype_name(type), workers);
    run.workspace = NULL;
    run.workspace_size = 0;
    pass = test_status(functions[f].f(&without, &run), ATTN_OK) && same_arrays(&without, &with);
    pass &= test_status(functions[f].f(&plain, NULL), ATTN_OK) && same_arrays(&plain, &with);
    test_ok(pass && test_guards(), "%s, %s, %zu workers: the same without a workspace", name, attn_dtype_name(type),
            workers);
    test_ok(held == 0 && allocated == (bytes ? 2 : 0) && (!bytes || last_bytes <= bytes),
            "%s, %s, %zu workers: allocated once, as much as is needed, and freed", name, attn_dtype_name(type),
            workers);
    refuse = 1;
    pass = test_status(functions[f].f(&failed, &run), bytes ? ATTN_ERR_MEMORY : ATTN_OK);
    if (bytes) pass &= test_status(functions[f].f(&failed, NULL), ATTN_ERR_MEMORY) && same_arrays(&failed, &before);
    refuse = 0;
    test_ok(pass && held == 0, "%s, %s, %zu workers: no memory, nothing written", name, attn_dtype_name(type), workers);
    test_release();
}

/* Without data, which a size query does not need. */
static size_t size_of(function f, size_t q_len, size_t kv_len, size_t dim, size_t workers)
{
    attn_desc d = attn_desc_default();
    attn_exec run = test_shuffled(ATTN_PATH_AUTO, workers);
    size_t bytes = 0;
    d.q = attn_array_4d(ATTN_F32, NULL, 1, 2, q_len, dim);
    d.k = attn_array_4d(ATTN_F32, NULL, 1, 2, kv_len, dim);
    d.v = attn_array_4d(ATTN_F32, NULL, 1, 2, kv_len, dim);
    d.out = attn_array_4d(ATTN_F32, NULL, 1, 2, q_len, dim);
    d.scores = attn_array_4d(ATTN_F32, NULL, 1, 2, q_len, kv_len);
    run.query = &bytes;
    return test_status(f(&d, &run), ATTN_OK) ? bytes : 0;
}

static void try_growth(void)
{
    for (size_t f = 0; f < FUNCTIONS; f++) {
        const size_t small = size_of(functions[f].f, 2048, 2048, 64, 1),
                     large = size_of(functions[f].f, 65536, 65536, 64, 1);
        const size_t many = size_of(functions[f].f, 2048, 2048, 64, 4);
        const int layer = functions[f].f == do_layer; /* holds q, k, v and the heads */
        if (functions[f].f == do_self_test) continue;
        test_ok(layer ? large <= 32 * small : large <= 2 * small, "%s: 32 times as long needs %s (%zu and %zu bytes)",
                functions[f].name, layer ? "32 times at most" : "twice at most", small, large);
        test_ok(many <= 4 * small + 256, "%s: 4 workers need 4 times at most (%zu and %zu bytes)", functions[f].name,
                small, many);
    }
    {
        const size_t bytes = size_of(do_forward, 4096, 4096, 64, 1), scores = sizeof(float) * 4096 * 4096;
        test_ok(bytes > 0 && bytes < scores / 16, "forward: %zu bytes, the score matrix would take %zu", bytes, scores);
    }
}

/* A longest problem, and shorter ones, by any path and with fewer workers. */
static void try_promise(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    test_rng rng = {11};
    size_t above = 0, largest = 0, tried = 0, generous = 0;
    for (int n = 0; n < 400; n++) {
        const size_t workers = 1 + test_below(&rng, 9), kv_heads = 1 + test_below(&rng, 3),
                     heads = kv_heads * (1 + test_below(&rng, n % 5 ? 4 : 600)), batch = 1 + test_below(&rng, 3),
                     q_len = 1 + test_below(&rng, n % 2 ? 40 : 3000),
                     kv_len = 1 + test_below(&rng, n % 3   ? n % 13 ? 700 : 2
                                                   : n % 2 ? 80000
                                                           : 20000),
                     dim = 1 + test_below(&rng, 100), dim_v = n % 7 ? dim : 1 + test_below(&rng, 700);
        const attn_dtype type = n % 4 == 3 ? ATTN_F64 : ATTN_F32, of_kv = n % 4 == 2 ? ATTN_BF16 : type;
        const int heads_last = n % 11 == 0, extras = (int)test_below(&rng, 8);
        size_t bytes = 0, exact = 0;
        for (int shorter = 0; shorter < 12; shorter++) {
            const size_t b = shorter ? 1 + test_below(&rng, batch) : batch,
                         i = shorter ? test_below(&rng, q_len + 1) : q_len,
                         j = shorter ? test_below(&rng, kv_len + 1) : kv_len;
            attn_exec run =
                test_shuffled(paths[test_below(&rng, num_paths)], shorter ? 1 + test_below(&rng, workers) : workers);
            attn_desc d = attn_desc_default();
            d.q = attn_array_4d(type, NULL, b, heads, i, dim);
            d.k = heads_last ? attn_array_bshd(of_kv, NULL, b, j, kv_heads, dim)
                             : attn_array_4d(of_kv, NULL, b, kv_heads, j, dim);
            d.v = heads_last ? attn_array_bshd(of_kv, NULL, b, j, kv_heads, dim_v)
                             : attn_array_4d(of_kv, NULL, b, kv_heads, j, dim_v);
            d.out = attn_array_4d(type, NULL, b, heads, i, dim_v);
            if (extras & 1) d.mask = attn_array_4d(ATTN_BOOL, NULL, 1, 1, i, j);
            if (extras & 2) d.colsum = attn_array_3d(type, NULL, b, heads, j);
            if (extras & 4) d.scores = attn_array_4d(type, NULL, b, heads, i, j);
            if (n % 13 == 0 && d.scores.ndim) /* every second element */
                d.scores = attn_array_strided(type, NULL, b, heads, i, j, (ptrdiff_t)(heads * i * j * 2),
                                              (ptrdiff_t)(i * j * 2), (ptrdiff_t)(j * 2), 2);
            if (shorter % 4 == 3) { /* shares without a barrier: keys are not cut */
                run.shares = run.num_workers;
                run.parallel_for = NULL;
            }
            if (shorter % 3 == 1) run.path = ATTN_PATH_AUTO;
            if (!shorter && !test_status(attn_workspace_size(&d, workers, &bytes), ATTN_OK)) return;
            run.query = &exact;
            if (!test_status(attn_forward(&d, &run), ATTN_OK)) return;
            above += exact > bytes;
            if (exact > largest) largest = exact;
            tried++;
            if (!shorter) generous += bytes > 3 * exact && bytes > 3000000;
        }
    }
    test_ok(above == 0, "attn_workspace_size is enough for shorter problems, on any path (%zu of %zu need more)", above,
            tried);
    test_note("the largest of them takes %zu bytes; %zu of 400 sizes are more than three times what is needed", largest,
              generous);
    {
        attn_desc d = attn_desc_default();
        size_t bytes = 7;
        int pass = test_status(attn_workspace_size(NULL, 1, &bytes), ATTN_ERR_NULL) &&
                   test_status(attn_workspace_size(&d, 1, NULL), ATTN_ERR_NULL);
        pass &= test_status(attn_workspace_size(&d, 1, &bytes), ATTN_ERR_RANK);
        d.q = d.k = d.v = d.out = attn_array_2d(ATTN_F32, NULL, 4, 4);
        pass &= test_status(attn_workspace_size(&d, (size_t)-1, &bytes), ATTN_ERR_OVERFLOW) && bytes == 7;
        test_ok(pass, "attn_workspace_size refuses what makes no sense, and stores nothing");
    }
}

int main(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t f = 0; f < FUNCTIONS; f++)
        for (size_t t = 0; t < 2; t++)
            for (size_t p = 0; p < num_paths; p++)
                for (size_t workers = 1; workers <= 3; workers += 2) try_exact(f, test_types[t], paths[p], workers);
    for (size_t f = 0; f < FUNCTIONS; f++)
        for (size_t t = 0; t < 2; t++)
            for (size_t workers = 1; workers <= 3; workers += 2) try_allocation(f, test_types[t], workers);
    try_growth();
    try_promise();
    return test_done();
}
