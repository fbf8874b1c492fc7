/* SPDX-License-Identifier: MIT-0
 *
 * windows_parallel_for.h - the thread pool of Windows for attention.h, ready to copy.
 *
 *     size_t workers = 4;
 *     run.parallel_for = attn_windows_for;
 *     run.parallel_context = &workers;
 *     run.num_workers = workers;
 *
 * The pool is the process's own: nothing to start or to stop. If it cannot help, the calling
 * thread does the work alone. Windows Vista or later, C99 or C++.
 */
#ifndef ATTN_WINDOWS_PARALLEL_FOR_H
#define ATTN_WINDOWS_PARALLEL_FOR_H

#include "attention.h"

#include <windows.h>

typedef struct attn_windows_call {
    attn_task task;
    void *arg;
    LONG64 next; /* tasks next ... count - 1 are not yet taken */
    size_t count;
    LONG workers; /* beside the calling thread, which is worker 0 */
} attn_windows_call;

static inline void attn_windows_work(attn_windows_call *c, size_t worker)
{
    size_t index;
    while ((index = (size_t)(InterlockedIncrement64(&c->next) - 1)) < c->count) c->task(c->arg, index, worker);
}

static inline void CALLBACK attn_windows_main(PTP_CALLBACK_INSTANCE instance, void *argument, PTP_WORK work)
{
    attn_windows_call *c = (attn_windows_call *)argument;
    (void)instance;
    (void)work;
    attn_windows_work(c, (size_t)InterlockedIncrement(&c->workers));
}

/* The function for attn_exec.parallel_for; context: a size_t, the number of workers. */
static inline void attn_windows_for(void *context, size_t count, attn_task task, void *arg)
{
    attn_windows_call call = {task, arg, 0, count, 0};
    const size_t workers = *(const size_t *)context;
    const PTP_WORK work = CreateThreadpoolWork(attn_windows_main, &call, NULL);
    size_t i;
    for (i = 1; work && i < workers && i < count; i++) SubmitThreadpoolWork(work);
    attn_windows_work(&call, 0);
    if (work) {
        WaitForThreadpoolWorkCallbacks(work, TRUE); /* those that have not begun would find no task */
        CloseThreadpoolWork(work);
    }
}

#endif
