/* SPDX-License-Identifier: MIT-0
 *
 * c11_parallel_for.h - C11 threads for attention.h, ready to copy.
 *
 *     attn_c11_threads threads;
 *     if (attn_c11_start(&threads, 4)) {
 *         run.parallel_for = attn_c11_for;
 *         run.parallel_context = &threads;
 *         run.num_workers = threads.num_workers;   // before asking for the workspace
 *         ...
 *         attn_c11_stop(&threads);
 *     }
 *
 * The threads sleep between calls. If the system cannot start all of them, the others do
 * the work. Only one call at a time may use them. C11; where the C library needs it, -lpthread.
 */
#ifndef ATTN_C11_PARALLEL_FOR_H
#define ATTN_C11_PARALLEL_FOR_H

#include "attention.h"

#include <threads.h>
#include <stdlib.h>

typedef struct attn_c11_threads attn_c11_threads;

typedef struct attn_c11_worker {
    attn_c11_threads *threads;
    size_t index;
    thrd_t thread;
} attn_c11_worker;

struct attn_c11_threads {
    size_t num_workers;       /* includes the calling thread, which is worker 0 */
    attn_c11_worker *workers; /* (num_workers); [0] is not used */
    mtx_t lock;               /* protects the members below */
    cnd_t started, finished;
    attn_task task;
    void *arg;
    size_t next, count; /* tasks next ... count - 1 are not yet taken */
    size_t busy;        /* tasks taken and not yet done */
    int stop;
};

/* Runs tasks until none is left. The caller must hold the lock, and holds it afterwards. */
static inline void attn_c11_work(attn_c11_threads *t, size_t worker)
{
    while (t->next < t->count) {
        const attn_task task = t->task;
        void *const arg = t->arg;
        const size_t index = t->next++;
        t->busy++;
        mtx_unlock(&t->lock);
        task(arg, index, worker);
        mtx_lock(&t->lock);
        t->busy--;
    }
    if (t->busy == 0) cnd_signal(&t->finished);
}

static inline int attn_c11_main(void *argument)
{
    attn_c11_worker *self = (attn_c11_worker *)argument;
    attn_c11_threads *t = self->threads;
    mtx_lock(&t->lock);
    while (!t->stop) {
        attn_c11_work(t, self->index);
        while (!t->stop && t->next >= t->count) cnd_wait(&t->started, &t->lock);
    }
    mtx_unlock(&t->lock);
    return 0;
}

/* The function for attn_exec.parallel_for; context points to the attn_c11_threads. */
static inline void attn_c11_for(void *context, size_t count, attn_task task, void *arg)
{
    attn_c11_threads *t = (attn_c11_threads *)context;
    mtx_lock(&t->lock);
    t->task = task;
    t->arg = arg;
    t->next = 0;
    t->count = count;
    if (count > 1) cnd_broadcast(&t->started);
    attn_c11_work(t, 0);
    while (t->busy > 0) cnd_wait(&t->finished, &t->lock);
    mtx_unlock(&t->lock);
}

static inline void attn_c11_stop(attn_c11_threads *t)
{
    size_t i;
    mtx_lock(&t->lock);
    t->stop = 1;
    cnd_broadcast(&t->started);
    mtx_unlock(&t->lock);
    for (i = 1; i < t->num_workers; i++) thrd_join(t->workers[i].thread, NULL);
    cnd_destroy(&t->finished);
    cnd_destroy(&t->started);
    mtx_destroy(&t->lock);
    free(t->workers);
}

/* Starts num_workers - 1 threads, or as many as the system can start. Returns 0, with
 * nothing to stop, if it cannot allocate the workers or create the locks. */
static inline int attn_c11_start(attn_c11_threads *t, size_t num_workers)
{
    int locks = 0;
    t->num_workers = 1;
    t->task = NULL;
    t->arg = NULL;
    t->next = t->count = t->busy = 0;
    t->stop = 0;
    if (num_workers < 1) num_workers = 1;
    t->workers = (attn_c11_worker *)calloc(num_workers, sizeof *t->workers);
    if (!t->workers) return 0;
    locks += mtx_init(&t->lock, mtx_plain) == thrd_success;
    if (locks == 1) locks += cnd_init(&t->started) == thrd_success;
    if (locks == 2) locks += cnd_init(&t->finished) == thrd_success;
    if (locks == 3) {
        for (; t->num_workers < num_workers; t->num_workers++) {
            attn_c11_worker *w = &t->workers[t->num_workers];
            w->threads = t;
            w->index = t->num_workers;
            if (thrd_create(&w->thread, attn_c11_main, w) != thrd_success) break;
        }
        return 1;
    }
    if (locks > 1) cnd_destroy(&t->started);
    if (locks > 0) mtx_destroy(&t->lock);
    free(t->workers);
    return 0;
}

#endif
