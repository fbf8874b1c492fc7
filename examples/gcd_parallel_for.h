/* SPDX-License-Identifier: MIT-0
 *
 * gcd_parallel_for.h - Grand Central Dispatch for attention.h, ready to copy.
 *
 *     size_t workers = 4;
 *     run.parallel_for = attn_gcd_for;
 *     run.parallel_context = &workers;
 *     run.num_workers = workers;
 *
 * dispatch_apply_f does not tell which thread it is on. So what it runs are the workers, and these
 * take the tasks. C99 or C++, without blocks; compiled with clang, as the headers of libdispatch
 * ask for; outside of macOS -ldispatch.
 */
#ifndef ATTN_GCD_PARALLEL_FOR_H
#define ATTN_GCD_PARALLEL_FOR_H

#include "attention.h"

#include <dispatch/dispatch.h>

typedef struct attn_gcd_call {
    attn_task task;
    void *arg;
    size_t next, count; /* tasks next ... count - 1 are not yet taken */
} attn_gcd_call;

static inline void attn_gcd_work(void *argument, size_t worker)
{
    attn_gcd_call *c = (attn_gcd_call *)argument;
    size_t index;
    while ((index = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED)) < c->count) c->task(c->arg, index, worker);
}

/* The function for attn_exec.parallel_for; context: a size_t, the number of workers. */
static inline void attn_gcd_for(void *context, size_t count, attn_task task, void *arg)
{
    attn_gcd_call call = {task, arg, 0, count};
    const size_t workers = *(const size_t *)context;
    /* NULL is DISPATCH_APPLY_AUTO, which strict C compilers warn of */
    dispatch_apply_f(workers > 0 ? workers : 1, NULL, &call, attn_gcd_work);
}

#endif
