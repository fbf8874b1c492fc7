/* SPDX-License-Identifier: MIT-0
 *
 * Threads that make the same call, each with its share: together the bits of one thread, with and
 * without a barrier, in any order; what makes no sense is refused.
 */
#include "check/harness.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

enum { MOST = 5 };

static attn_status do_forward(const attn_desc *d, const attn_exec *run) { return attn_forward(d, run); }
static attn_status do_scores(const attn_desc *d, const attn_exec *run)
{
    return attn_scores(&d->q, &d->k, 0, &d->scores, run);
}
static attn_status do_softmax(const attn_desc *d, const attn_exec *run) { return attn_softmax(&d->q, -2, &d->q, run); }
static attn_status do_projections(const attn_desc *d, const attn_exec *run)
{
    const attn_array w = attn_array_2d(d->q.dtype, d->k.data, d->q.shape[3], d->out.shape[3]);
    return attn_compute_qkv(&d->q, &w, &w, &w, &d->out, &d->scores, &d->lse, run);
}

/* ---- a barrier ---- */

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t open;
    size_t threads, here, rounds;
} gate;

static void wait_at(void *context)
{
    gate *g = context;
    size_t round;
    pthread_mutex_lock(&g->lock);
    round = g->rounds;
    if (++g->here == g->threads) {
        g->here = 0;
        g->rounds++;
        pthread_cond_broadcast(&g->open);
    }
    while (round == g->rounds) pthread_cond_wait(&g->open, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

typedef attn_status (*function)(const attn_desc *d, const attn_exec *run);
typedef struct thread {
    pthread_t thread;
    function f;
    const attn_desc *desc;
    attn_exec run;
    attn_status status;
} thread;

static void *call(void *arg)
{
    thread *t = arg;
    t->status = t->f(t->desc, &t->run);
    return NULL;
}

/* With a barrier threads run; without, one after the other does its share, the last one first. */
static int in_shares(function f, const attn_desc *d, size_t shares, int with_barrier)
{
    thread threads[MOST];
    gate g = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0};
    attn_exec run = test_on(ATTN_PATH_AUTO);
    size_t bytes = 0;
    int pass;
    g.threads = shares;
    run.shares = shares;
    run.barrier = with_barrier ? wait_at : NULL;
    run.parallel_context = &g;
    run.query = &bytes;
    pass = test_status(f(d, &run), ATTN_OK);
    run.query = NULL;
    run.workspace = test_memory(bytes, 3);
    run.workspace_size = bytes;
    for (size_t i = shares; i-- > 0;) {
        threads[i].f = f;
        threads[i].desc = d;
        threads[i].run = run;
        threads[i].run.share = i;
        if (!with_barrier) call(&threads[i]);
        else if (pthread_create(&threads[i].thread, NULL, call, &threads[i])) return 0;
    }
    for (size_t i = 0; i < shares; i++) {
        if (with_barrier) pthread_join(threads[i].thread, NULL);
        pass &= test_status(threads[i].status, ATTN_OK);
    }
    return pass && test_guards();
}

static void try_forward(attn_dtype type, size_t q_len, size_t kv_len, int extras, const char *what)
{
    const test_shape shape = {type, 2, 4, 2, q_len, kv_len, 16, 12};
    for (size_t shares = 2; shares <= MOST; shares++)
        for (int barrier = 0; barrier < 2; barrier++) {
            test_rng rng = {q_len};
            attn_desc want = test_problem(&shape, &rng), got;
            int pass;
            want.causal = 1;
            want.align = ATTN_ALIGN_LOWER_RIGHT;
            if (!(extras & 1)) want.scores = test_absent;
            if (extras & 2) want.colsum = test_3d(type, 2, 4, kv_len);
            if (extras & 4) ref_set(&want.k, 1, 1, kv_len / 2, 3, (double)INFINITY);
            got = test_again(&want);
            pass = test_status(test_forward(&want, test_on(ATTN_PATH_AUTO)), ATTN_OK);
            pass &= in_shares(do_forward, &got, shares, barrier);
            test_ok(pass && test_same_outputs(&got, &want), "%s, %s, %zu shares%s", attn_dtype_name(type), what, shares,
                    barrier ? ", barrier" : "");
            test_release();
        }
}

static void try_step(function f, attn_dtype type, const char *what)
{
    const test_shape shape = {type, 2, 2, 2, 40, 300, 30, 30};
    for (size_t shares = 2; shares <= MOST; shares++)
        for (int barrier = 0; barrier < 2; barrier++) {
            attn_desc d[2];
            int pass = 1;
            for (int i = 0; i < 2; i++) {
                test_rng rng = {4};
                d[i] = test_problem(&shape, &rng);
                if (f == do_projections) d[i].scores = test_again(&d[i]).out, d[i].lse = test_again(&d[i]).out;
            }
            pass &= test_status(f(&d[0], NULL), ATTN_OK) && in_shares(f, &d[1], shares, barrier);
            pass &= test_same(&d[1].q, &d[0].q) && test_same_outputs(&d[1], &d[0]);
            test_ok(pass, "%s, %s, %zu shares%s", attn_dtype_name(type), what, shares, barrier ? ", barrier" : "");
            test_release();
        }
}

static void try_parts(attn_dtype type)
{
    const test_shape shape = {type, 1, 4, 2, 3, 700, 8, 8};
    test_rng rng = {5};
    attn_desc d = test_problem(&shape, &rng);
    attn_exec run = test_on(ATTN_PATH_AUTO);
    size_t state_bytes = 0, bytes = 0;
    void *states[2];
    int pass = test_status(attn_state_size(&d, &state_bytes), ATTN_OK);
    for (int i = 0; i < 2; i++) states[i] = test_memory(state_bytes, 0);
    pass &= test_status(test_partial(&d, states[0], state_bytes, run), ATTN_OK);
    run.shares = 3;
    run.query = &bytes;
    pass &= test_status(attn_partial(&d, NULL, state_bytes, &run), ATTN_OK);
    run.query = NULL;
    run.workspace = test_memory(bytes, 0);
    run.workspace_size = bytes;
    for (run.share = 0; run.share < 3; run.share++)
        pass &= test_status(attn_partial(&d, states[1], state_bytes, &run), ATTN_OK);
    test_ok(pass && memcmp(states[0], states[1], state_bytes) == 0, "%s, states, 3 shares", attn_dtype_name(type));
    test_release();
}

static void unused_for(void *context, size_t count, attn_task task, void *arg)
{
    (void)context;
    for (size_t i = 0; i < count; i++) task(arg, i, 0);
}

static void try_errors(void)
{
    const test_shape shape = {ATTN_F32, 1, 2, 2, 5, 6, 7, 8};
    test_rng rng = {7};
    attn_desc d = test_problem(&shape, &rng);
    attn_layer layer = attn_layer_default();
    attn_exec run = attn_exec_in(test_memory(1 << 20, 0), 1 << 20);
    const char *argument = NULL;
    int pass;
    run.argument = &argument;
    run.shares = 2;
    run.share = 2;
    pass = test_status(attn_forward(&d, &run), ATTN_ERR_PARAMETER) && argument && !strcmp(argument, "share");
    run.share = 0;
    pass &= test_status(attn_layer_forward(&layer, &run), ATTN_ERR_UNSUPPORTED) && !strcmp(argument, "shares");
    pass &= test_status(attn_self_test(&run), ATTN_ERR_UNSUPPORTED) && !strcmp(argument, "shares");
    run.parallel_for = unused_for;
    pass &= test_status(attn_forward(&d, &run), ATTN_ERR_PARAMETER) && !strcmp(argument, "parallel_for");
    run.parallel_for = NULL;
    run.workspace = NULL;
    run.workspace_size = 0; /* each would allocate its own */
    pass &= test_status(attn_forward(&d, &run), ATTN_ERR_WORKSPACE) && !strcmp(argument, "workspace");
    test_ok(pass && test_untouched(d.out.data, 2 * 5 * 8 * sizeof(float)), "what makes no sense is refused");
    test_release();
}

int main(void)
{
    for (int t = 0; t < 2; t++) {
        const attn_dtype type = test_types[t];
        try_forward(type, 150, 600, 0, "prefill");
        try_forward(type, 1, 5000, 0, "decode");
        try_forward(type, 3, 2000, 4, "decode, infinity in a key");
        try_forward(type, 70, 530, 3, "weights and column sums");
        try_forward(type, 0, 60, 2, "no queries, column sums");
        try_step(do_scores, type, "scores");
        try_step(do_softmax, type, "softmax");
        try_step(do_projections, type, "projections");
        try_parts(type);
    }
    try_errors();
    return test_done();
}
