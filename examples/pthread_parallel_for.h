/* SPDX-License-Identifier: MIT-0
 *
 * pthread_parallel_for.h - POSIX threads for attention.h, ready to copy.
 *
 *     attn_pthreads threads;
 *     if (attn_pthreads_start(&threads, 4)) {
 *         run.parallel_for = attn_pthreads_for;
 *         run.parallel_context = &threads;
 *         run.num_workers = threads.num_workers;   // before asking for the workspace
 *         ...
 *         attn_pthreads_stop(&threads);
 *     }
 *
 * The threads sleep between calls. If the system cannot start all of them, the others do
 * the work. Only one call at a time may use them. C99 or C++, -lpthread.
 */
#ifndef ATTN_PTHREAD_PARALLEL_FOR_H
#define ATTN_PTHREAD_PARALLEL_FOR_H

#include "attention.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct attn_pthreads attn_pthreads;

typedef struct attn_pthreads_worker {
    attn_pthreads *threads;
    size_t index;
    pthread_t thread;
} attn_pthreads_worker;

struct attn_pthreads {
    size_t num_workers;            /* includes the calling thread, which is worker 0 */
    attn_pthreads_worker *workers; /* (num_workers); [0] is not used */
    pthread_mutex_t lock;          /* protects the members below */
    pthread_cond_t started, finished;
    attn_task task;
    void *arg;
    size_t next, count; /* tasks next ... count - 1 are not yet taken */
    size_t busy;        /* tasks taken and not yet done */
    int stop;
};

/* Runs tasks until none is left. The caller must hold the lock, and holds it afterwards. */
static inline void attn_pthreads_work(attn_pthreads *t, size_t worker)
{
    while (t->next < t->count) {
        const attn_task task = t->task;
        void *const arg = t->arg;
        const size_t index = t->next++;
        t->busy++;
        pthread_mutex_unlock(&t->lock);
        task(arg, index, worker);
        pthread_mutex_lock(&t->lock);
        t->busy--;
    }
    if (t->busy == 0) pthread_cond_signal(&t->finished);
}

static inline void *attn_pthreads_main(void *argument)
{
    attn_pthreads_worker *self = (attn_pthreads_worker *)argument;
    attn_pthreads *t = self->threads;
    pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        attn_pthreads_work(t, self->index);
        while (!t->stop && t->next >= t->count) pthread_cond_wait(&t->started, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* The function for attn_exec.parallel_for; context points to the attn_pthreads. */
static inline void attn_pthreads_for(void *context, size_t count, attn_task task, void *arg)
{
    attn_pthreads *t = (attn_pthreads *)context;
    pthread_mutex_lock(&t->lock);
    t->task = task;
    t->arg = arg;
    t->next = 0;
    t->count = count;
    if (count > 1) pthread_cond_broadcast(&t->started);
    attn_pthreads_work(t, 0);
    while (t->busy > 0) pthread_cond_wait(&t->finished, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

static inline void attn_pthreads_stop(attn_pthreads *t)
{
    size_t i;
    pthread_mutex_lock(&t->lock);
    t->stop = 1;
    pthread_cond_broadcast(&t->started);
    pthread_mutex_unlock(&t->lock);
    for (i = 1; i < t->num_workers; i++) pthread_join(t->workers[i].thread, NULL);
    pthread_cond_destroy(&t->finished);
    pthread_cond_destroy(&t->started);
    pthread_mutex_destroy(&t->lock);
    free(t->workers);
}

/* Starts num_workers - 1 threads, or as many as the system can start. Returns 0, with
 * nothing to stop, if it cannot allocate the workers or create the locks. */
static inline int attn_pthreads_start(attn_pthreads *t, size_t num_workers)
{
    int locks = 0;
    t->num_workers = 1;
    t->task = NULL;
    t->arg = NULL;
    t->next = t->count = t->busy = 0;
    t->stop = 0;
    if (num_workers < 1) num_workers = 1;
    t->workers = (attn_pthreads_worker *)calloc(num_workers, sizeof *t->workers);
    if (!t->workers) return 0;
    locks += pthread_mutex_init(&t->lock, NULL) == 0;
    if (locks == 1) locks += pthread_cond_init(&t->started, NULL) == 0;
    if (locks == 2) locks += pthread_cond_init(&t->finished, NULL) == 0;
    if (locks == 3) {
        for (; t->num_workers < num_workers; t->num_workers++) {
            attn_pthreads_worker *w = &t->workers[t->num_workers];
            w->threads = t;
            w->index = t->num_workers;
            if (pthread_create(&w->thread, NULL, attn_pthreads_main, w) != 0) break;
        }
        return 1;
    }
    if (locks > 1) pthread_cond_destroy(&t->started);
    if (locks > 0) pthread_mutex_destroy(&t->lock);
    free(t->workers);
    return 0;
}

#endif
