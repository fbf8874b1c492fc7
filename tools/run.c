/* SPDX-License-Identifier: MIT-0
 *
 * run.c - path, threads, element type and workspace of a computation.
 */
#include "tool.h"

#include "check/progress.h"
#include "examples/pthread_parallel_for.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 1024 };

static int path_read(const run_options *o, attn_path *path)
{
    const char *names[ATTN_PATH_COUNT];
    const char *source = "--path", *text = o->path;
    int i, chosen = ATTN_PATH_AUTO;
    if (!text) {
        source = "ATTN_PATH";
        text = getenv(source);
        if (text && !*text) text = NULL;
    }
    for (i = 0; i < ATTN_PATH_COUNT; i++) names[i] = attn_path_name((attn_path)i);
    if (!option_word(source, text, names, ATTN_PATH_COUNT, &chosen)) return 0;
    *path = (attn_path)chosen;
    if (!attn_path_compiled(*path)) return fail("%s: path '%s' is not compiled into this program", source, text);
    return attn_path_supported(*path) || fail("%s: this machine cannot run path '%s'", source, text);
}

int run_dtype(const run_options *o, int halves_too, const tensor *const *inputs, size_t count, attn_dtype *dtype)
{
    static const char *const names[4] = {"f32", "f64", "f16", "bf16"}; /* in attn_dtype's order */
    int chosen = ATTN_F32;
    size_t i;
    for (i = 0; i < count; i++)
        if (inputs[i]->array.dtype == ATTN_F64) chosen = ATTN_F64;
    if (!option_word("--dtype", o->dtype, names, halves_too ? 4 : 2, &chosen)) return 0;
    *dtype = (attn_dtype)chosen;
    return 1;
}

/* Takes the place of exec.parallel_for to see how far the work is. */
typedef struct watch {
    attn_pthreads *threads; /* NULL: none but the calling thread */
    const run_steps *steps;
    size_t step;
    double done, cost, total; /* cost: of the current step */
    attn_task task;
    void *arg;
    size_t count;
} watch;

/* Tasks are begun in order: where the calling thread is, the others are, too. */
static void watched_task(void *arg, size_t index, size_t worker)
{
    const watch *w = (const watch *)arg;
    if (worker == 0) progress_at("attn: computing", "", w->done + w->cost * (double)index / (double)w->count, w->total);
    w->task(w->arg, index, worker);
}

static void watched_for(void *context, size_t count, attn_task task, void *arg)
{
    watch *w = (watch *)context;
    size_t i;
    w->cost = w->step < w->steps->count ? w->steps->cost[w->step++] : 0;
    w->task = task;
    w->arg = arg;
    w->count = count;
    if (w->threads) attn_pthreads_for(w->threads, count, watched_task, w);
    else
        for (i = 0; i < count; i++) watched_task(w, i, 0);
    w->done += w->cost;
}

static void watch_exec(watch *w, const run_steps *steps, attn_pthreads *threads, attn_exec *exec)
{
    size_t i;
    memset(w, 0, sizeof *w);
    w->threads = threads;
    w->steps = steps;
    for (i = 0; i < steps->count; i++) w->total += steps->cost[i];
    exec->parallel_for = watched_for;
    exec->parallel_context = w;
    if (!threads) exec->num_workers = 2; /* a function for one is not called */
}

/* Asks for the workspace, then computes. */
static int run_exec(attn_exec *exec, const char *what, operation compute, const void *arguments)
{
    size_t bytes = 0;
    attn_status status;
    exec->query = &bytes;
    status = compute(arguments, exec);
    if (status == ATTN_OK) {
        exec->query = NULL;
        exec->workspace = reserve(bytes);
        exec->workspace_size = bytes;
        if (!exec->workspace) return 0;
        status = compute(arguments, exec);
        progress_erase();
    }
    return status == ATTN_OK || fail("%s: %s", what, attn_status_string(status));
}

int run_in_steps(const run_options *o, const char *what, operation compute, const void *arguments,
                 const run_steps *steps)
{
    attn_exec exec = attn_exec_default();
    attn_pthreads threads;
    watch watching;
    int64_t count = 1;
    int fine;
    if (!path_read(o, &exec.path) || !option_integer("--threads", o->threads, 1, MAX_THREADS, &count)) return 0;
    if (count > 1) {
        if (!attn_pthreads_start(&threads, (size_t)count)) return fail("cannot start %d threads", (int)count);
        exec.parallel_for = attn_pthreads_for;
        exec.parallel_context = &threads;
        exec.num_workers = threads.num_workers;
    }
    if (progress_begin() && steps->count) watch_exec(&watching, steps, count > 1 ? &threads : NULL, &exec);
    fine = run_exec(&exec, what, compute, arguments);
    if (count > 1) attn_pthreads_stop(&threads);
    return fine;
}

int run(const run_options *o, const char *what, operation compute, const void *arguments)
{
    static const run_steps one = {1, {1}};
    return run_in_steps(o, what, compute, arguments, &one);
}
