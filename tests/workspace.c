/* SPDX-License-Identifier: MIT-0
 *
 * The queried size is exactly what is needed: with it a call succeeds and writes nothing
 * outside; with one byte less it is refused. The size depends on head_dim and the number of
 * workers, and hardly on the lengths.
 */
#include "check/harness.h"

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
    attn_array w = attn_array_swap(&d->k, 2, 3);
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
            if (run->query == NULL) products[i].data = test_memory(n * attn_dtype_size(d->q.dtype), 0);
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

static const struct {
    function f;
    const char *name;
} functions[] = {
    {do_forward, "forward"}, {do_self_attention, "self_attention"}, {do_scores, "scores"},
    {do_softmax, "softmax"}, {do_weighted_sum, "weighted_sum"},     {do_compute_qkv, "compute_qkv"},
    {do_layer, "layer"},
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

int main(void)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t f = 0; f < FUNCTIONS; f++)
        for (size_t t = 0; t < 2; t++)
            for (size_t p = 0; p < num_paths; p++)
                for (size_t workers = 1; workers <= 3; workers += 2) try_exact(f, test_types[t], paths[p], workers);
    try_growth();
    return test_done();
}
