/* SPDX-License-Identifier: MIT-0
 *
 * measure.c - how times are measured.
 *
 * If the speed of a machine varies, absolute figures are worthless, so all measurements of a
 * case are interleaved: a round runs a short slice of every contestant, each between two
 * slices of its ceiling, and ratios are formed within the round. The results are medians and
 * quartiles over the rounds. The clock is the thread's processor time; with the wall clock,
 * other programs would interrupt long slices but not short ones. For cases with several
 * threads, it is the wall clock for all contestants.
 */
#define _POSIX_C_SOURCE 200809L
#include "measure.h"

#include "check/clock.h"
#include "check/progress.h"
#include "examples/pthread_parallel_for.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ROUNDS = 1000, CHOOSING_ROUNDS = 9 };

/* Seconds. The slice of a ceiling grows with that of its contestant, up to a limit. */
static const double slice = 5e-3, ceiling_slice = 1.5e-3, ceiling_share = 0.05, ceiling_most = 20e-3;

static clockid_t the_clock = CLOCK_THREAD_CPUTIME_ID;

static double now(void) { return seconds_of(the_clock); }

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the samples. */
static bench_quartiles quartiles(double *x, size_t n)
{
    bench_quartiles q;
    qsort(x, n, sizeof *x, ascending);
    q.low = x[(n - 1) / 4];
    q.median = n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
    q.high = x[n - 1 - (n - 1) / 4];
    return q;
}

/* ------------------------------------------------------------- ceilings -- */

/* A loop of the roofline with its memory. */
typedef struct ceiling {
    const bench_loops *loops;
    bench_bound bound;
    int streams, past_cache;
    attn_pthreads *threads; /* NULL: only the calling thread */
    const void *from[2];
    size_t bytes[2];
    void *to;
    size_t repetitions;
    double work; /* per repetition: operations, or bytes read and written */
} ceiling;

static const size_t fma_steps = 1000;

static void run_ceiling(const ceiling *c, size_t repetitions)
{
    for (size_t i = 0; i < repetitions; i++) switch (c->bound) {
        case BENCH_BY_FMA: c->loops->fma(fma_steps); break;
        case BENCH_BY_READ:
            for (size_t j = 0; j < 2; j++)
                if (c->bytes[j]) c->loops->read(c->from[j], c->bytes[j], c->streams);
            break;
        case BENCH_BY_COPY:
            (c->past_cache ? c->loops->copy_past_cache : c->loops->copy)(c->to, c->from[0], c->bytes[0], c->streams);
            break;
        }
}

typedef struct ceiling_run {
    const ceiling *c;
    size_t repetitions;
} ceiling_run;

static void run_ceiling_task(void *arg, size_t index, size_t worker)
{
    const ceiling_run *r = arg;
    (void)index, (void)worker;
    run_ceiling(r->c, r->repetitions);
}

/* Work per second; with several threads, each does the whole work. */
static double ceiling_rate(const ceiling *c, size_t repetitions)
{
    double start = now();
    if (c->threads) {
        ceiling_run r = {c, repetitions};
        attn_pthreads_for(c->threads, c->threads->num_workers, run_ceiling_task, &r);
    } else run_ceiling(c, repetitions);
    return c->work * (double)repetitions * (c->threads ? (double)c->threads->num_workers : 1) / (now() - start);
}

static void set_repetitions(ceiling *c)
{
    c->repetitions = 1;
    for (;;) {
        double rate = ceiling_rate(c, c->repetitions), wanted = ceil(ceiling_slice * rate / c->work);
        if (wanted <= (double)c->repetitions * 2) {
            c->repetitions = wanted > 1 ? (size_t)wanted : 1;
            return;
        }
        c->repetitions *= 2;
    }
}

static void name_ceiling(const ceiling *c, char *name, size_t size)
{
    switch (c->bound) {
    case BENCH_BY_FMA:
        if (c->threads) snprintf(name, size, "FMA, %d bits, %zu threads", c->loops->width, c->threads->num_workers);
        else snprintf(name, size, "FMA, %d bits", c->loops->width);
        break;
    case BENCH_BY_READ: snprintf(name, size, "read x%d, %d bits", c->streams, c->loops->width); break;
    case BENCH_BY_COPY:
        snprintf(name, size, "copy%s x%d, %d bits", c->past_cache ? " nt" : "", c->streams, c->loops->width);
        break;
    }
}

/* The fastest loop of this width on the case's own memory, if there are several: four streams
 * or one, stores through the cache or past it. A later variant must be clearly faster than an
 * earlier one to be chosen. The upper quartile decides, because disturbances only slow a loop
 * down. */
static ceiling choose_ceiling(const bench_job *job, const bench_loops *loops, attn_pthreads *threads)
{
    ceiling candidate[4];
    double rate[4][CHOOSING_ROUNDS];
    size_t count = 0, best = 0;
    for (int past_cache = 0; past_cache < 2; past_cache++)
        for (int streams = 4; streams >= 1; streams -= 3) {
            ceiling c = {.loops = loops,
                         .bound = job->shape->bound,
                         .streams = streams,
                         .past_cache = past_cache,
                         .threads = threads};
            if (c.bound == BENCH_BY_FMA ? streams < 4 || past_cache : c.bound == BENCH_BY_READ && past_cache) continue;
            if (past_cache && !loops->copy_past_cache) continue;
            if (c.bound == BENCH_BY_FMA) {
                c.work = (double)(loops->fma_flops * fma_steps);
                if (job->shape->type == BENCH_F64) /* as many instructions, half as many lanes */
                    c.work /= 2;
            } else if (c.bound == BENCH_BY_READ) {
                memcpy(c.from, job->span, sizeof c.from);
                memcpy(c.bytes, job->span_bytes, sizeof c.bytes);
                c.work = job->bytes;
            } else {
                c.from[0] = job->a;
                c.to = job->out;
                c.bytes[0] = job->a_count * job->element;
                c.work = 2 * (double)c.bytes[0];
            }
            set_repetitions(&c);
            candidate[count++] = c;
        }
    for (size_t r = 0; r < CHOOSING_ROUNDS; r++)
        for (size_t i = 0; i < count; i++) rate[i][r] = ceiling_rate(&candidate[i], candidate[i].repetitions);
    for (size_t i = 0; i < count; i++)
        if (quartiles(rate[i], CHOOSING_ROUNDS).high > 1.05 * quartiles(rate[best], CHOOSING_ROUNDS).high) best = i;
    return candidate[best];
}

/* ---------------------------------------------------------------- cases -- */

typedef struct contestant {
    bench_result *result;
    const bench_job *job;
    const ceiling *roof;
    const struct contestant *beside; /* the same path on the other case, or NULL */
    size_t repetitions, roof_repetitions;
    double seconds[MAX_ROUNDS], roofs[MAX_ROUNDS];
} contestant;

static double time_entry(const bench_job *job, const bench_entry *e, size_t repetitions)
{
    if (e->time) return e->time(e, repetitions) / (double)repetitions;
    double start = now();
    for (size_t i = 0; i < repetitions; i++) e->run(job, e);
    return (now() - start) / (double)repetitions;
}

/* Runs the contestant once and checks its output. Can it be timed? */
static int admit(const bench_job *job, bench_result *r)
{
    bench_job_poison(job);
    r->failure = r->entry.run(job, &r->entry);
    if (r->failure) return 0;
    r->error = bench_job_error(job);
    /* The bound is derived for our arithmetic; a faster exp may exceed it slightly. */
    if (r->error <= (r->entry.ours ? 1 : 4)) return 1;
    r->wrong = 1;
    r->failure = "wrong output";
    return 0;
}

static void set_slices(contestant *c)
{
    double t = 0;
    c->repetitions = 1;
    for (;;) {
        t = time_entry(c->job, &c->result->entry, c->repetitions);
        if (t * (double)c->repetitions * 4 >= slice) break;
        c->repetitions *= 4;
    }
    if (t * (double)c->repetitions < slice) c->repetitions = (size_t)ceil(slice / t);
    double beside = fmin(ceiling_most, ceiling_share * t * (double)c->repetitions);
    c->roof_repetitions = (size_t)ceil((double)c->roof->repetitions * fmax(1, beside / ceiling_slice));
}

/* Of a measurement: it lasts until both its rounds and its time are over. */
static double part_done(const bench_plan *plan, size_t round, double time)
{
    const double rounds = (double)round / (double)plan->rounds;
    return time < rounds * plan->seconds ? time / plan->seconds : rounds;
}

/* Between rounds, where it disturbs no slice. */
static void show_progress(const bench_plan *plan, const char *name, double part)
{
    progress_at("bench:", name, (double)plan->done + part, (double)plan->all);
}

/* Processor time of this process, without other programs. */
typedef struct share {
    double processor, wall;
} share;

static void one_round(share *of, contestant *all, size_t count, size_t round)
{
    for (size_t i = 0; i < count; i++) {
        /* Each round begins with another contestant, and the direction alternates, so that
         * none always follows the same one. */
        size_t j = (round + i) % count;
        contestant *c = &all[round % 2 ? count - 1 - j : j];
        double start = now(), start_wall = wall_seconds(), before = ceiling_rate(c->roof, c->roof_repetitions);
        c->seconds[round] = time_entry(c->job, &c->result->entry, c->repetitions);
        c->roofs[round] = (before + ceiling_rate(c->roof, c->roof_repetitions)) / 2;
        if (!c->result->entry.time) {
            of->processor += now() - start;
            of->wall += wall_seconds() - start_wall;
        }
    }
}

static void summarise(contestant *all, size_t count, size_t rounds, double *buffer)
{
    const contestant *peer = NULL;
    double best = DBL_MAX;
    for (size_t i = 0; i < count; i++) {
        contestant *c = &all[i];
        bench_result *r = c->result;
        int flops = bench_case_unit(c->job->shape) == BENCH_GFLOPS;
        r->work = flops ? c->job->flops : r->entry.bytes;
        memcpy(buffer, c->seconds, rounds * sizeof *buffer);
        r->seconds = quartiles(buffer, rounds);
        r->rate.low = 1e-9 * r->work / r->seconds.high;
        r->rate.median = 1e-9 * r->work / r->seconds.median;
        r->rate.high = 1e-9 * r->work / r->seconds.low;
        for (size_t k = 0; k < rounds; k++) buffer[k] = r->work / c->seconds[k] / c->roofs[k];
        r->fraction = quartiles(buffer, rounds);
        for (size_t k = 0; k < rounds; k++) buffer[k] = 1e-9 * c->roofs[k];
        r->ceiling_rate = quartiles(buffer, rounds);
        name_ceiling(c->roof, r->ceiling, sizeof r->ceiling);
        if (!r->entry.ours && r->seconds.median < best) {
            best = r->seconds.median;
            peer = c;
        }
    }
    for (size_t i = 0; i < count; i++) {
        contestant *c = &all[i];
        if (peer && !c->result->companion) {
            for (size_t k = 0; k < rounds; k++) buffer[k] = peer->seconds[k] / c->seconds[k];
            c->result->speedup = quartiles(buffer, rounds);
            c->result->has_peer = 1;
        }
        if (c->beside) { /* work per second; what is read for it is no work */
            const double work = c->job->shape->bound == BENCH_BY_FMA ? c->result->work / c->beside->result->work : 1;
            for (size_t k = 0; k < rounds; k++) buffer[k] = work * c->beside->seconds[k] / c->seconds[k];
            c->result->beside = quartiles(buffer, rounds);
            c->result->has_beside = 1;
        }
    }
}

/* A case, and the one it is compared with, with their ceilings. */
typedef struct stage {
    bench_job *job[2];
    ceiling roof[2][BENCH_WIDTHS];
    attn_pthreads threads;
    int threaded;
    contestant all[BENCH_MAX_ENTRIES];
    double buffer[MAX_ROUNDS];
} stage;

static int open_stage(stage *t, const bench_case *shape)
{
    t->job[0] = bench_job_open(shape);
    t->job[1] = shape->beside ? bench_job_open(bench_case_named(shape->beside)) : NULL;
    t->threaded = shape->threads > 1 && attn_pthreads_start(&t->threads, (size_t)shape->threads);
    return t->job[0] && (t->job[1] || !shape->beside) && (t->threaded || shape->threads < 2);
}

static void close_stage(stage *t)
{
    if (t->threaded) attn_pthreads_stop(&t->threads);
    bench_job_close(t->job[0]);
    bench_job_close(t->job[1]);
    free(t);
}

/* Fills in a contestant, if it can be timed. */
static int enter(stage *t, contestant *c, bench_result *r, const bench_entry *entry, int beside)
{
    const bench_loops *loops[BENCH_WIDTHS];
    size_t widths = bench_roofline(loops);
    r->entry = *entry;
    r->companion = beside;
    if (!admit(t->job[beside], r)) return 0;
    c->result = r;
    c->job = t->job[beside];
    c->beside = NULL;
    c->roof = &t->roof[beside][0];
    for (size_t k = 0; k < widths; k++)
        if (loops[k]->width == r->entry.width) c->roof = &t->roof[beside][k];
    set_slices(c);
    return 1;
}

int bench_measure_case(bench_report_case *to, const bench_case *shape, const char *paths, const bench_plan *plan)
{
    const bench_loops *loops[BENCH_WIDTHS];
    size_t widths = bench_roofline(loops), entries = 0, count = 0, round = 0;
    bench_entry entry[BENCH_MAX_ENTRIES];
    stage *t = calloc(1, sizeof *t);
    memset(to, 0, sizeof *to);
    to->shape = shape;
    if (!t || !open_stage(t, shape)) {
        if (t) close_stage(t);
        return -1;
    }
    the_clock = t->threaded ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID;
    for (int beside = 0; beside < 2 && t->job[beside]; beside++) {
        for (size_t i = 0; i < widths; i++)
            t->roof[beside][i] = choose_ceiling(t->job[beside], loops[i], !beside && t->threaded ? &t->threads : NULL);
        size_t first = entries;
        entries = bench_ours(t->job[beside], paths, entry, entries);
        for (size_t i = first; i < entries; i++) {
            contestant *c = &t->all[count];
            if (!enter(t, c, &to->result[i], &entry[i], beside)) continue;
            count++;
            for (contestant *other = t->all; beside && other < c; other++)
                if (!other->result->companion && !strcmp(other->result->entry.name, entry[i].name)) other->beside = c;
        }
    }
    size_t first = entries;
    entries = bench_peers(t->job[0], entry, entries);
    for (size_t i = first; i < entries; i++) count += (size_t)enter(t, &t->all[count], &to->result[i], &entry[i], 0);
    to->count = entries;
    share of = {0, 0};
    for (double start = wall_seconds();
         count && round < MAX_ROUNDS && (round < plan->rounds || wall_seconds() - start < plan->seconds);) {
        show_progress(plan, shape->name, part_done(plan, round, wall_seconds() - start));
        one_round(&of, t->all, count, round++);
    }
    to->rounds = round;
    to->share = of.wall > 0 && !t->threaded ? of.processor / of.wall : 0;
    if (round) summarise(t->all, count, round, t->buffer);
    for (size_t i = 0; i < first; i++) bench_ours_free(&entry[i]);
    for (size_t i = 0; i < entries; i++) to->result[i].entry.state = NULL;
    close_stage(t);
    the_clock = CLOCK_THREAD_CPUTIME_ID;
    return 0;
}

/* --------------------------------------------------------------- growth -- */

enum { SMALLEST = 128, LARGEST = 65536 };

static long peak_now(void) /* KiB */
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* By how many KiB one run raises the peak of a process that has touched inputs,
 * outputs and workspace; in a child, because a peak never falls. */
static long measure_peak(const bench_case *shape, const char *path)
{
    int link[2];
    long grown = -1;
    if (pipe(link)) return -1;
    pid_t child = fork();
    if (child == 0) {
        bench_entry entry[BENCH_MAX_ENTRIES];
        bench_job *job = bench_job_open(shape);
        if (job && bench_ours(job, path, entry, 0) == 1) {
            long before = peak_now();
            grown = entry[0].run(job, &entry[0]) ? -1 : peak_now() - before;
        }
        _exit(write(link[1], &grown, sizeof grown) != (ssize_t)sizeof grown);
    }
    close(link[1]);
    if (child < 0 || read(link[0], &grown, sizeof grown) != (ssize_t)sizeof grown) grown = -1;
    close(link[0]);
    if (child > 0) waitpid(child, NULL, 0);
    return grown;
}

/* Measures one length after the other, each between slices of its ceiling, of which it gets a
 * share. The longest, which take seconds, have three rounds. */
int bench_measure_growth(bench_report *report, const char *paths, const bench_plan *plan)
{
    const bench_loops *loops[BENCH_WIDTHS];
    size_t widths = bench_roofline(loops), lengths = 0, count = 0;
    bench_case shape[BENCH_MAX_GROWTH];
    bench_job *job[BENCH_MAX_GROWTH] = {NULL};
    bench_entry entry[BENCH_MAX_GROWTH + BENCH_MAX_ENTRIES];
    bench_result *result = calloc(BENCH_MAX_GROWTH, sizeof *result);
    contestant *all = calloc(BENCH_MAX_GROWTH, sizeof *all);
    ceiling roof[BENCH_WIDTHS];
    double buffer[MAX_ROUNDS];
    int failed = !result || !all;
    for (size_t n = SMALLEST; !failed && n <= LARGEST; n *= 2, lengths++) {
        shape[lengths] =
            (bench_case){.name = "growth", .heads = 1, .kv_heads = 1, .m = n, .n = n, .k = 64, .causal = 1, .alone = 1};
        job[lengths] = bench_job_open(&shape[lengths]);
        failed = !job[lengths];
        if (failed) break;
        for (size_t i = 0; i < widths && !lengths; i++) roof[i] = choose_ceiling(job[0], loops[i], NULL);
        size_t end = bench_ours(job[lengths], paths, entry, count);
        for (; count < end; count++) {
            contestant *c = &all[count];
            result[count].entry = entry[count];
            failed |= !admit(job[lengths], &result[count]);
            *c = (contestant){.result = &result[count], .job = job[lengths], .roof = &roof[0]};
            for (size_t k = 0; k < widths; k++)
                if (loops[k]->width == entry[count].width) c->roof = &roof[k];
            set_slices(c);
        }
        if (count + BENCH_MAX_ENTRIES > BENCH_MAX_GROWTH) break;
    }
    for (size_t i = 0; i < count && !failed; i++) {
        contestant *c = &all[i];
        bench_growth *g = &report->growth[report->growths++];
        size_t round = 0;
        share of = {0, 0};
        *g =
            (bench_growth){.n = c->job->shape->n, .pairs = c->job->pairs, .workspace = bench_ours_workspace(&entry[i])};
        memcpy(g->path, entry[i].name, sizeof g->path);
        show_progress(plan, "growth", (double)i / (double)count);
        g->peak = measure_peak(c->job->shape, entry[i].name);
        for (double start = wall_seconds();
             round < plan->rounds && (round < 3 || wall_seconds() - start < plan->seconds); round++)
            one_round(&of, c, 1, round);
        for (size_t k = 0; k < round; k++) buffer[k] = c->seconds[k] / g->pairs;
        g->per_pair = quartiles(buffer, round);
        for (size_t k = 0; k < round; k++) buffer[k] = c->job->flops / c->seconds[k] / c->roofs[k];
        g->fraction = quartiles(buffer, round);
    }
    for (size_t i = 0; i < count; i++) bench_ours_free(&entry[i]);
    for (size_t i = 0; i < lengths; i++) bench_job_close(job[i]);
    free(result);
    free(all);
    return failed ? -1 : 0;
}

/* ------------------------------------------------------------- roofline -- */

static void add_roof(bench_report *report, ceiling *roofs, const char *level, const ceiling *c)
{
    if (report->roofs == BENCH_MAX_ROOFS) return;
    bench_roof *r = &report->roof[report->roofs];
    char name[BENCH_NAME];
    name_ceiling(c, name, sizeof name);
    snprintf(r->name, sizeof r->name, "%s%s%s", level, *level ? " " : "", name);
    r->unit = c->bound == BENCH_BY_FMA ? "GFLOP/s" : "GB/s";
    roofs[report->roofs] = *c;
    set_repetitions(&roofs[report->roofs]);
    report->roofs++;
}

/* Every loop, on memory of a size that fits in one level of cache. */
static void add_level(bench_report *report, ceiling *roofs, const char *level, void *to, const void *from, size_t bytes)
{
    const bench_loops *loops[BENCH_WIDTHS];
    size_t widths = bench_roofline(loops);
    for (int what = 0; what < 3; what++)
        for (size_t i = 0; i < widths; i++)
            for (int streams = 1; streams <= 4; streams += 3) {
                ceiling c = {.loops = loops[i], .streams = streams, .from = {from}, .bytes = {bytes}, .to = to};
                c.bound = what ? BENCH_BY_COPY : BENCH_BY_READ;
                c.past_cache = what == 2;
                /* The source and the target of a copy must both fit. */
                if (what) c.bytes[0] /= 2;
                c.work = (double)bytes;
                if (c.past_cache && (!c.loops->copy_past_cache || strcmp(level, "DRAM"))) continue;
                add_roof(report, roofs, level, &c);
            }
}

int bench_measure_roofline(bench_report *report, const bench_plan *plan)
{
    const bench_loops *loops[BENCH_WIDTHS];
    size_t widths = bench_roofline(loops), l2 = report->cache[2], l3 = report->cache[3];
    size_t dram = 8 * (l3 ? l3 : l2), round = 0;
    ceiling roofs[BENCH_MAX_ROOFS];
    if (dram < (size_t)64 << 20) dram = (size_t)64 << 20;
    if (dram > (size_t)512 << 20) dram = (size_t)512 << 20;
    char *from = bench_allocate(dram), *to = bench_allocate(dram / 2);
    double *samples = malloc(BENCH_MAX_ROOFS * MAX_ROUNDS * sizeof *samples);
    if (!from || !to || !samples) {
        free(from);
        free(to);
        free(samples);
        return -1;
    }
    memset(from, 1, dram);
    memset(to, 1, dram / 2);
    for (size_t i = 0; i < widths; i++) {
        ceiling c = {.loops = loops[i], .bound = BENCH_BY_FMA, .work = (double)(loops[i]->fma_flops * fma_steps)};
        add_roof(report, roofs, "", &c);
    }
    if (l2) add_level(report, roofs, "L2", to, from, l2 / 2);
    if (l3) add_level(report, roofs, "L3", to, from, l3 / 4);
    add_level(report, roofs, "DRAM", to, from, dram);
    for (double start = wall_seconds();
         round < MAX_ROUNDS && (round < plan->rounds || wall_seconds() - start < plan->seconds); round++) {
        show_progress(plan, "roofline", part_done(plan, round, wall_seconds() - start));
        for (size_t i = 0; i < report->roofs; i++) {
            run_ceiling(&roofs[i], 1); /* brings its data into that level */
            samples[i * MAX_ROUNDS + round] = 1e-9 * ceiling_rate(&roofs[i], roofs[i].repetitions);
        }
    }
    for (size_t i = 0; i < report->roofs; i++) report->roof[i].rate = quartiles(samples + i * MAX_ROUNDS, round);
    free(from);
    free(to);
    free(samples);
    return 0;
}
