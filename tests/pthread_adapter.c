/* SPDX-License-Identifier: MIT-0
 *
 * The adapter for POSIX threads in examples/: every task runs once, no worker runs two tasks at
 * a time, and any number of threads gives the same bits. Other threads do get work.
 */
#include "check/adapter.h"

#include <errno.h>
#include <pthread.h>
#define pthread_create(t, a, f, x) (test_may_create() ? pthread_create(t, a, f, x) : EAGAIN)
#define pthread_mutex_init(m, a) (test_may_create() ? pthread_mutex_init(m, a) : ENOMEM)
#define pthread_cond_init(c, a) (test_may_create() ? pthread_cond_init(c, a) : ENOMEM)
#include "examples/pthread_parallel_for.h"

static attn_pthreads threads;

static int start(attn_exec *run, size_t workers)
{
    if (!attn_pthreads_start(&threads, workers)) return 0;
    run->parallel_for = attn_pthreads_for;
    run->parallel_context = &threads;
    run->num_workers = threads.num_workers;
    return 1;
}
static void stop(void) { attn_pthreads_stop(&threads); }

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
    static const test_adapter adapter = {start, stop, NULL};
    test_threads(&adapter);
    test_scarcity(&adapter, 3);
    test_two_at_once(&adapter);
    for (size_t workers = 1; workers <= 4; workers++) try_handing_out(workers);
    return test_done();
}
