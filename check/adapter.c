/* SPDX-License-Identifier: MIT-0
 *
 * adapter.c - see adapter.h.
 */
#include "adapter.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

enum { TASKS = 2000, WORKERS = 4, PATIENCE = 20 };

size_t test_creations = SIZE_MAX;

int test_may_create(void)
{
    if (test_creations == 0) return 0;
    if (test_creations < SIZE_MAX) test_creations--;
    return 1;
}

static int start(const test_adapter *adapter, attn_exec *run, size_t workers)
{
    static size_t count;
    if (adapter->start) return adapter->start(run, workers);
    count = workers;
    run->parallel_for = adapter->parallel_for;
    run->parallel_context = &count;
    run->num_workers = workers;
    return 1;
}
static void stop(const test_adapter *adapter)
{
    if (adapter->stop) adapter->stop();
}

typedef struct tally {
    unsigned char runs[TASKS];
    volatile int busy[WORKERS];
    volatile int twice;
} tally;

static void count_task(void *arg, size_t index, size_t worker)
{
    tally *t = arg;
    if (worker >= WORKERS || t->busy[worker]++) t->twice = 1;
    t->runs[index]++;
    if (worker < WORKERS) t->busy[worker]--;
}

/* Calls of all sizes. */
static int every_task_once(const attn_exec *run)
{
    static tally t;
    int pass = 1;
    memset(&t, 0, sizeof t);
    for (size_t call = 0; call < 20; call++) {
        const size_t count = call * call * 5;
        memset(t.runs, 0, sizeof t.runs);
        run->parallel_for(run->parallel_context, count, count_task, &t);
        for (size_t i = 0; i < TASKS; i++) pass &= t.runs[i] == (i < count);
    }
    return pass && !t.twice;
}

static void try_tasks(const test_adapter *adapter, size_t workers)
{
    attn_exec run = test_on(ATTN_PATH_AUTO);
    if (!test_ok(start(adapter, &run, workers), "%zu workers start", workers)) return;
    test_ok(every_task_once(&run), "%zu workers: every task once, each worker in one place", workers);
    stop(adapter);
}

static void try_bits(const test_adapter *adapter, attn_dtype type, size_t workers)
{
    const test_shape shape = {type, 2, 4, 2, 130, 600, 16, 12};
    test_rng rng = {5};
    attn_desc alone = test_problem(&shape, &rng), together;
    attn_exec run = test_on(ATTN_PATH_AUTO);
    int pass = 1, error = 0;
    alone.causal = 1;
    pass &= test_status(test_forward(&alone, run), ATTN_OK) && start(adapter, &run, workers);
    if (pass) {
        for (int call = 0; call < 5; call++) {
            together = test_again(&alone);
            pass &= test_status(test_forward(&together, run), ATTN_OK) && test_same_outputs(&together, &alone);
        }
        together.softcap = -1;
        error = test_status(test_forward(&together, run), ATTN_ERR_PARAMETER) && test_same_outputs(&together, &alone);
        stop(adapter);
    }
    test_ok(pass, "%s, %zu workers: the bits of one", attn_dtype_name(type), workers);
    test_ok(error, "%s, %zu workers: an error writes nothing", attn_dtype_name(type), workers);
    test_ok(test_release(), "%s, %zu workers: guards", attn_dtype_name(type), workers);
}

void test_threads(const test_adapter *adapter)
{
    for (size_t workers = 0; workers <= WORKERS; workers++) {
        try_tasks(adapter, workers);
        for (size_t t = 0; t < 2; t++) try_bits(adapter, test_types[t], workers);
    }
}

void test_scarcity(const test_adapter *adapter, size_t needed)
{
    for (size_t things = 0; things < needed + WORKERS; things++) {
        attn_exec run = test_on(ATTN_PATH_AUTO);
        int started;
        test_creations = things;
        started = start(adapter, &run, WORKERS);
        if (things < needed) {
            test_ok(!started, "%zu things of the system: no start", things);
        } else {
            test_ok(started && run.num_workers == 1 + things - needed && every_task_once(&run),
                    "%zu things of the system: %zu workers do all", things, 1 + things - needed);
        }
        if (started) stop(adapter);
    }
    test_creations = SIZE_MAX;
}

typedef struct meeting {
    pthread_mutex_t lock;
    pthread_cond_t all;
    int here, met;
    size_t worker[2];
} meeting;

static void meet(void *arg, size_t index, size_t worker)
{
    meeting *m = arg;
    const struct timespec late = {time(NULL) + PATIENCE, 0};
    pthread_mutex_lock(&m->lock);
    m->worker[index] = worker;
    if (++m->here == 2) pthread_cond_broadcast(&m->all);
    while (m->here < 2 && pthread_cond_timedwait(&m->all, &m->lock, &late) == 0) continue;
    m->met += m->here == 2;
    pthread_mutex_unlock(&m->lock);
}

void test_two_at_once(const test_adapter *adapter)
{
    meeting m = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, {0, 0}};
    attn_exec run = test_on(ATTN_PATH_AUTO);
    int pass = start(adapter, &run, 2);
    if (pass) {
        for (int call = 0; call < 20 && pass; call++) { /* of which the later ones may have to wake a worker */
            m.here = m.met = 0;
            run.parallel_for(run.parallel_context, 2, meet, &m);
            pass &= m.met == 2 && m.worker[0] + m.worker[1] == 1;
        }
        stop(adapter);
    }
    test_ok(pass, "two workers at the same time, 0 and 1");
}
