/* SPDX-License-Identifier: MIT-0
 *
 * The adapter for POSIX threads in examples/: every task runs once, no worker runs two tasks at
 * a time, and any number of threads gives the same bits. Other threads do get work.
 */
#include "check/harness.h"

#include "examples/pthread_parallel_for.h"

enum { TASKS = 2000, WORKERS = 4 };

typedef struct tally {
    unsigned char runs[TASKS];
    volatile int busy[WORKERS];
    volatile int twice;
} tally;

static void count_task(void *arg, size_t index, size_t worker)
{
    tally *t = arg;
    if (t->busy[worker]++) t->twice = 1;
    t->runs[index]++;
    t->busy[worker]--;
}

static void try_adapter(size_t workers)
{
    static tally t;
    attn_pthreads threads;
    int pass = 1;
    if (!test_ok(attn_pthreads_start(&threads, workers), "%zu threads start", workers)) return;
    for (size_t call = 0; call < 20; call++) {
        const size_t count = call * call * 5;
        for (size_t i = 0; i < TASKS; i++) t.runs[i] = 0;
        attn_pthreads_for(&threads, count, count_task, &t);
        for (size_t i = 0; i < TASKS; i++) pass &= t.runs[i] == (i < count);
    }
    attn_pthreads_stop(&threads);
    test_ok(pass && !t.twice, "%zu threads: every task once, each worker in one place", workers);
}

static void try_bits(attn_dtype type, size_t workers)
{
    const test_shape shape = {type, 2, 4, 2, 130, 600, 16, 12};
    test_rng rng = {5};
    attn_desc alone = test_problem(&shape, &rng), together;
    attn_exec run = test_on(ATTN_PATH_AUTO);
    attn_pthreads threads;
    int pass = 1;
    alone.causal = 1;
    pass &= test_status(test_forward(&alone, run), ATTN_OK) && attn_pthreads_start(&threads, workers);
    if (pass) {
        run.parallel_for = attn_pthreads_for;
        run.parallel_context = &threads;
        run.num_workers = threads.num_workers;
        for (int call = 0; call < 5; call++) {
            together = test_again(&alone);
            pass &= test_status(test_forward(&together, run), ATTN_OK) && test_same_outputs(&together, &alone);
        }
        attn_pthreads_stop(&threads);
    }
    test_ok(pass, "%s, %zu threads: the bits of one", attn_dtype_name(type), workers);
    test_ok(test_release(), "%s, %zu threads: guards", attn_dtype_name(type), workers);
}

typedef struct handed {
    size_t calls, fewest;
} handed;

static void count_for(void *context, size_t count, attn_task task, void *arg)
{
    handed *h = context;
    h->calls++;
    h->fewest = count < h->fewest ? count : h->fewest;
    for (size_t i = 0; i < count; i++) task(arg, i, 0);
}

/* With two workers, work is handed to the other thread; with one, it is not. */
static void try_handing_out(size_t workers)
{
    const test_shape shape = {ATTN_F32, 2, 4, 2, 9, 20, 5, 3};
    test_rng rng = {6};
    attn_desc d = test_problem(&shape, &rng);
    attn_exec run = test_on(ATTN_PATH_AUTO);
    handed h = {0, (size_t)-1};
    int pass;
    run.parallel_for = count_for;
    run.parallel_context = &h;
    run.num_workers = workers;
    pass = test_status(test_forward(&d, run), ATTN_OK);
    test_ok(pass && (workers > 1 ? h.calls > 0 && h.fewest > 1 : h.calls == 0),
            "%zu workers: %zu calls of parallel_for", workers, h.calls);
    test_release();
}

int main(void)
{
    for (size_t workers = 1; workers <= WORKERS; workers++) {
        try_adapter(workers);
        try_handing_out(workers);
        for (size_t t = 0; t < 2; t++) try_bits(test_types[t], workers);
    }
    return test_done();
}
