/* SPDX-License-Identifier: MIT-0
 *
 * The adapter for C11 threads in examples/: as that for POSIX threads, every task once, each worker
 * in one place, the same bits.
 */
#include "check/adapter.h"

#ifdef ATTN_TEST_C11_THREADS
#include <threads.h>
#define thrd_create(t, f, x) (test_may_create() ? thrd_create(t, f, x) : thrd_error)
#define mtx_init(m, type) (test_may_create() ? mtx_init(m, type) : thrd_error)
#define cnd_init(c) (test_may_create() ? cnd_init(c) : thrd_nomem)
#include "examples/c11_parallel_for.h"

static attn_c11_threads threads;

static int start(attn_exec *run, size_t workers)
{
    if (!attn_c11_start(&threads, workers)) return 0;
    run->parallel_for = attn_c11_for;
    run->parallel_context = &threads;
    run->num_workers = threads.num_workers;
    return 1;
}
static void stop(void) { attn_c11_stop(&threads); }
#endif

int main(void)
{
#ifdef ATTN_TEST_C11_THREADS
    static const test_adapter adapter = {start, stop, NULL};
    test_threads(&adapter);
    test_scarcity(&adapter, 3);
    test_two_at_once(&adapter);
#else
    test_skip("configure found no C11 threads", "C11 threads");
#endif
    return test_done();
}
