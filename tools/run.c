/* SPDX-License-Identifier: MIT-0
 *
 * run.c - path, threads, element type and workspace of a computation.
 */
#include "tool.h"

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
    }
    return status == ATTN_OK || fail("%s: %s", what, attn_status_string(status));
}

int run(const run_options *o, const char *what, operation compute, const void *arguments)
{
    attn_exec exec = attn_exec_default();
    attn_pthreads threads;
    int64_t count = 1;
    int fine;
    if (!path_read(o, &exec.path) || !option_integer("--threads", o->threads, 1, MAX_THREADS, &count)) return 0;
    if (count == 1) return run_exec(&exec, what, compute, arguments);
    if (!attn_pthreads_start(&threads, (size_t)count)) return fail("cannot start %d threads", (int)count);
    exec.parallel_for = attn_pthreads_for;
    exec.parallel_context = &threads;
    exec.num_workers = threads.num_workers;
    fine = run_exec(&exec, what, compute, arguments);
    attn_pthreads_stop(&threads);
    return fine;
}
