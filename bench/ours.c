/* SPDX-License-Identifier: MIT-0
 *
 * ours.c - attention.h as a contestant, one entry per path, with public functions only.
 */
#define ATTENTION_IMPLEMENTATION
#include "arrays.h"

#include "examples/pthread_parallel_for.h"

#include <stdlib.h>
#include <string.h>

typedef struct state {
    bench_arrays arrays;
    attn_exec exec;
    attn_pthreads threads;
    int threaded;
} state;

/* With a size query, the most that a step asks for. */
static attn_status run_steps(const attn_desc *d, const attn_exec *exec)
{
    attn_status status;
    size_t scores = 0, softmax = 0;
    if ((status = attn_scores(&d->q, &d->k, 0, &d->scores, exec))) return status;
    if (exec->query) scores = *exec->query;
    if ((status = attn_softmax(&d->scores, -1, &d->scores, exec))) return status;
    if (exec->query) softmax = *exec->query;
    if ((status = attn_weighted_sum(&d->scores, &d->v, &d->out, exec))) return status;
    if (exec->query && *exec->query < scores) *exec->query = scores;
    if (exec->query && *exec->query < softmax) *exec->query = softmax;
    return ATTN_OK;
}

static attn_status run_once(const bench_job *job, const bench_arrays *t, const attn_exec *exec)
{
    switch (job->shape->kind) {
    case BENCH_SOFTMAX: return attn_softmax(&t->a, job->shape->axis, &t->out, exec);
    case BENCH_MATMUL: return attn_matmul(&t->a, &t->b, &t->out, exec);
    case BENCH_APPEND: return attn_cache_append(&t->out, &t->a, NULL, NULL);
    case BENCH_ROTARY: return attn_rotary(&t->a, NULL, 0, 0, 0, &t->out);
    case BENCH_ATTENTION: break;
    }
    return job->shape->weights == BENCH_STEPS ? run_steps(&t->desc, exec) : attn_forward(&t->desc, exec);
}

static const char *run(const bench_job *job, const bench_entry *entry)
{
    const state *t = entry->state;
    attn_status status = run_once(job, &t->arrays, &t->exec);
    return status ? attn_status_string(status) : NULL;
}

/* For an entry whose arguments the size query refused. */
static const char *run_refused(const bench_job *job, const bench_entry *entry)
{
    (void)job;
    return attn_status_string((attn_status)entry->block);
}

static int width_of(attn_path path)
{
    switch (path) {
    case ATTN_PATH_AVX512: return 512;
    case ATTN_PATH_AVX2: return 256;
    case ATTN_PATH_NEON:
    case ATTN_PATH_SIMD128: return 128;
    default: return 0;
    }
}

/* Emulated paths have no ceiling to compare with, and scalar code takes minutes for the large
 * cases, so these run only on demand. */
static int wanted(attn_path path, const char *paths)
{
    if (!attn_path_supported(path)) return 0;
    if (paths) return bench_listed(paths, attn_path_name(path));
    return path != ATTN_PATH_SCALAR ? attn_path_native(path) : attn_best_path() == ATTN_PATH_SCALAR;
}

int bench_ours_knows(const char *paths)
{
    for (const char *p = paths; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        size_t length = strcspn(p, ",");
        int found = 0;
        for (int path = ATTN_PATH_SCALAR; path < ATTN_PATH_COUNT; path++) {
            const char *name = attn_path_name((attn_path)path);
            found |= strlen(name) == length && !strncmp(p, name, length) && attn_path_supported((attn_path)path);
        }
        if (!found) return 0;
    }
    return 1;
}

size_t bench_ours(const bench_job *job, const char *paths, bench_entry *entries, size_t count)
{
    for (int path = ATTN_PATH_COUNT - 1; path >= ATTN_PATH_SCALAR; path--) {
        if (!wanted((attn_path)path, paths)) continue;
        if ((job->shape->kind == BENCH_APPEND || job->shape->kind == BENCH_ROTARY) &&
            (attn_path)path != attn_best_path())
            continue; /* which they take by themselves */
        bench_entry *e = &entries[count];
        state *t = calloc(1, sizeof *t);
        if (!t) return count;
        memset(e, 0, sizeof *e);
        snprintf(e->name, sizeof e->name, "%s", attn_path_name((attn_path)path));
        e->ours = 1;
        e->width = width_of((attn_path)path);
        e->bytes = job->bytes;
        e->state = t;
        t->arrays = bench_describe(job);
        size_t bytes = 0;
        attn_exec ask = attn_exec_default();
        ask.path = (attn_path)path;
        t->threaded = job->shape->threads > 1 && attn_pthreads_start(&t->threads, (size_t)job->shape->threads);
        if (t->threaded) {
            ask.parallel_for = attn_pthreads_for;
            ask.parallel_context = &t->threads;
            ask.num_workers = t->threads.num_workers;
        }
        ask.query = &bytes;
        attn_status status = run_once(job, &t->arrays, &ask);
        void *workspace = status || !bytes ? NULL : bench_allocate(bytes);
        if (!status && bytes && !workspace) status = ATTN_ERR_WORKSPACE;
        if (workspace) memset(workspace, 0, bytes); /* touch it now, so that no timed run pays for that */
        t->exec = ask;
        t->exec.query = NULL;
        t->exec.workspace = workspace;
        t->exec.workspace_size = bytes;
        e->run = status ? run_refused : run;
        e->block = (size_t)status;
        count++;
    }
    return count;
}

size_t bench_ours_workspace(const bench_entry *entry)
{
    const state *t = entry->state;
    return t->exec.workspace_size;
}

void bench_ours_free(bench_entry *entry)
{
    state *t = entry->state;
    if (t && t->threaded) attn_pthreads_stop(&t->threads);
    if (t) free(t->exec.workspace);
    free(t);
    entry->state = NULL;
}

const char *bench_ours_version(void) { return attn_version(); }
