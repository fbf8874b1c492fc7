/* SPDX-License-Identifier: MIT-0
 *
 * attention_mpi.h: every schedule gives the bits of one process, for any shards, options and types; every rank returns
 * the same status, of descriptors that are wrong or differ as of memory that is missing on one, and on an error
 * nothing is written; functions of MPI that fail are a status, too; what was sent is what formulas say, and nothing
 * stays allocated. To be run with mpirun, with any number of ranks: see mpi.sh.
 */
#define _POSIX_C_SOURCE 200809L
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

/* Allocations of attention_mpi.h, of which one may fail. */
static long allocated, until_failure;
static void *counted_malloc(size_t bytes)
{
    if (until_failure && --until_failure == 0) return NULL;
    allocated++;
    return malloc(bytes);
}
static void counted_free(void *memory)
{
    allocated -= memory != NULL;
    free(memory);
}
#define ATTN_MPI_MALLOC(n) counted_malloc(n)
#define ATTN_MPI_FREE(p) counted_free(p)
#define ATTENTION_MPI_IMPLEMENTATION
#include "attention_mpi.h"

#include "check/harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static attn_mpi ranks;

/* Functions of MPI, of which one may fail. Those that wait let others have the processor, as here are more ranks than
 * processors, and MPICH does not. */
enum { SEND_AND_RECV, ISEND, IRECV, WAIT, ALLGATHER, ALLREDUCE, FUNCTIONS };
static const char *const function_names[FUNCTIONS] = {"MPI_Send or MPI_Recv", "MPI_Isend",    "MPI_Irecv", "MPI_Wait",
                                                      "MPI_Allgather",        "MPI_Allreduce"};
static int broken = FUNCTIONS;
static int finish(int code, MPI_Request *request, MPI_Status *status)
{
    const struct timespec moment = {0, 20000};
    for (int done = 0, tries = 0; code == MPI_SUCCESS && !done; tries++) {
        code = PMPI_Test(request, &done, status);
        if (!done && tries < 5) sched_yield();
        else if (!done) nanosleep(&moment, NULL);
    }
    return code;
}
int MPI_Send(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm)
{
    MPI_Request r;
    if (broken == SEND_AND_RECV) return MPI_ERR_OTHER;
    return finish(PMPI_Isend(data, count, type, to, tag, comm, &r), &r, MPI_STATUS_IGNORE);
}
int MPI_Recv(void *data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Status *status)
{
    MPI_Request r;
    if (broken == SEND_AND_RECV) return MPI_ERR_OTHER;
    return finish(PMPI_Irecv(data, count, type, from, tag, comm, &r), &r, status);
}
int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
    return broken == ISEND ? MPI_ERR_OTHER : PMPI_Isend(data, count, type, to, tag, comm, request);
}
int MPI_Irecv(void *data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request *request)
{
    return broken == IRECV ? MPI_ERR_OTHER : PMPI_Irecv(data, count, type, from, tag, comm, request);
}
int MPI_Wait(MPI_Request *request, MPI_Status *status)
{
    const int code = finish(MPI_SUCCESS, request, status); /* so that nothing is left under way */
    return broken == WAIT ? MPI_ERR_OTHER : code;
}
int MPI_Allgather(const void *data, int count, MPI_Datatype type, void *all, int all_count, MPI_Datatype all_type,
                  MPI_Comm comm)
{
    MPI_Request r;
    if (broken == ALLGATHER) return MPI_ERR_OTHER;
    return finish(PMPI_Iallgather(data, count, type, all, all_count, all_type, comm, &r), &r, MPI_STATUS_IGNORE);
}
int MPI_Allreduce(const void *data, void *all, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    MPI_Request r;
    if (broken == ALLREDUCE) return MPI_ERR_OTHER;
    return finish(PMPI_Iallreduce(data, all, count, type, op, comm, &r), &r, MPI_STATUS_IGNORE);
}
int MPI_Bcast(void *data, int count, MPI_Datatype type, int root, MPI_Comm comm)
{
    MPI_Request r;
    return finish(PMPI_Ibcast(data, count, type, root, comm, &r), &r, MPI_STATUS_IGNORE);
}

/* One line of TAP for all ranks: has each passed? */
static void all_ok(int pass, const char *name)
{
    int all = 0;
    MPI_Allreduce(&pass, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (ranks.rank == 0) test_ok(all, "%s", name);
}

/* ------------------------------------------------------------- problems -- */

enum {
    PLAIN,
    UPPER_LEFT,
    LOWER_RIGHT,
    OFFSET,
    WINDOW,
    BOOLEAN_MASK,
    ADDITIVE_MASK,
    MASK_OF_BITS,
    MASK_KEYS,
    MASK_TAIL,
    LENGTHS,
    LENGTHS_LOWER_RIGHT,
    INTERVALS,
    ALIBI,
    DISTANCES,
    DISTANCES_OF_ROWS,
    SOFTCAP,
    SINKS,
    EVERYTHING,
    OPTIONS
};
static const char *const option_names[OPTIONS] = {"plain",
                                                  "causal",
                                                  "causal lower-right",
                                                  "causal by offset",
                                                  "window",
                                                  "boolean mask",
                                                  "additive mask",
                                                  "mask of bits",
                                                  "mask of the first keys",
                                                  "mask of the last keys",
                                                  "kv_lens",
                                                  "kv_lens, causal lower-right",
                                                  "q_bounds",
                                                  "ALiBi",
                                                  "rel_bias",
                                                  "rel_bias of rows, kv_lens, lower-right",
                                                  "softcap and scale",
                                                  "sinks",
                                                  "everything"};

static void add_option(attn_desc *d, int option, test_rng *rng)
{
    const attn_dtype type = d->lse.dtype;
    const size_t batch = d->q.shape[0], heads = d->q.shape[1], q_len = d->q.shape[2], kv_len = d->k.shape[2];
    const int all = option == EVERYTHING;
    if (all || (option >= UPPER_LEFT && option <= OFFSET) || option == LENGTHS_LOWER_RIGHT) {
        d->causal = 1;
        d->align = option == UPPER_LEFT ? ATTN_ALIGN_UPPER_LEFT
                   : option == OFFSET   ? ATTN_ALIGN_OFFSET
                                        : ATTN_ALIGN_LOWER_RIGHT;
        d->q_offset = (int64_t)kv_len / 3;
    }
    if (all || option == WINDOW) {
        d->window = 1;
        d->window_left = (int64_t)(kv_len / 2);
        d->window_right = 5;
        d->align = ATTN_ALIGN_LOWER_RIGHT;
    }
    if (option >= BOOLEAN_MASK && option <= MASK_TAIL && option != ADDITIVE_MASK) {
        const size_t columns = option == MASK_KEYS || option == MASK_TAIL ? kv_len - kv_len / 3 : kv_len;
        d->mask = test_4d(option == MASK_OF_BITS ? ATTN_BIT : ATTN_BOOL, 1, heads, q_len, columns);
        for (size_t i = 0; i < heads * q_len * columns; i++)
            ref_set(&d->mask, 0, i / columns / q_len, i / columns % q_len, i % columns,
                    test_below(rng, 3) && i % columns / ATTN_MPI_BLOCK != 1 ? 1 : 0);
        d->mask_place = option == MASK_KEYS ? ATTN_MASK_KEYS : option == MASK_TAIL ? ATTN_MASK_TAIL : ATTN_MASK_ALL;
    }
    if (all || option == ADDITIVE_MASK) {
        d->mask = test_4d(type, batch, 1, all ? 1 : q_len, kv_len);
        test_fill_normal(&d->mask, rng, 1);
        for (size_t j = 5; j < kv_len; j += 11) ref_set(&d->mask, batch - 1, 0, 0, j, -(double)INFINITY);
    }
    if (all || option == LENGTHS || option == LENGTHS_LOWER_RIGHT || option == DISTANCES_OF_ROWS) {
        d->kv_lens = test_1d(ATTN_I32, batch);
        for (size_t b = 0; b < batch; b++)
            ref_set(&d->kv_lens, 0, 0, 0, b, (double)(b ? kv_len < 600 ? kv_len : 600 : kv_len - kv_len / 5));
    }
    if (all || option == INTERVALS) {
        d->q_bounds = test_3d(ATTN_I32, batch, q_len, 4);
        for (size_t b = 0; b < batch; b++)
            for (size_t i = 0; i < q_len; i++) {
                const size_t from = (i * 37 + b * 100) % (kv_len + 1);
                ref_set(&d->q_bounds, 0, b, i, 0, 0);
                ref_set(&d->q_bounds, 0, b, i, 1, (double)(from / 2));
                ref_set(&d->q_bounds, 0, b, i, 2, (double)from);
                ref_set(&d->q_bounds, 0, b, i, 3, (double)(kv_len - (kv_len - from) / 4));
            }
    }
    if (all || option == ALIBI) {
        d->alibi = test_2d(type, batch, heads);
        d->align = ATTN_ALIGN_LOWER_RIGHT;
        for (size_t b = 0; b < batch; b++)
            for (size_t h = 0; h < heads; h++) ref_set(&d->alibi, 0, 0, b, h, ldexp(1, -(int)(b + h) - 4));
    }
    if (all || option == DISTANCES || option == DISTANCES_OF_ROWS) {
        d->rel_bias = test_4d(type, all ? batch : 1, heads, option == DISTANCES_OF_ROWS ? q_len : 1, kv_len / 2 + 1);
        test_fill_normal(&d->rel_bias, rng, 1);
        d->rel_first = -(int64_t)(kv_len / 8);
        d->rel_clamp = option == DISTANCES;
        d->align = ATTN_ALIGN_LOWER_RIGHT;
    }
    if (all || option == SOFTCAP) {
        d->softcap = 3;
        d->scale = -0.4;
    }
    if (all || option == SINKS) {
        d->sinks = test_1d(type, heads);
        for (size_t h = 0; h < heads; h++) ref_set(&d->sinks, 0, 0, 0, h, 4.0 * (double)h);
    }
}

/* The whole problem, the same on all ranks, with its outputs from one process. */
static attn_desc problem(const test_shape *shape, attn_dtype kv_type, int option)
{
    test_rng rng = {shape->kv_len * 64 + shape->q_len * 8 + (size_t)option};
    attn_desc d = test_problem(shape, &rng);
    d.scores = test_absent;
    if (kv_type != shape->type) {
        d.k = test_4d(kv_type, shape->batch, shape->kv_heads, shape->kv_len, shape->head_dim);
        d.v = test_4d(kv_type, shape->batch, shape->kv_heads, shape->kv_len, shape->head_dim_v);
        for (size_t i = 0; i < shape->batch * shape->kv_heads * shape->kv_len * shape->head_dim; i++)
            ((uint16_t *)d.k.data)[i] = (uint16_t)(0x3c00 + test_below(&rng, 0x100) + 0x8000 * test_below(&rng, 2));
        for (size_t i = 0; i < shape->batch * shape->kv_heads * shape->kv_len * shape->head_dim_v; i++)
            ((uint16_t *)d.v.data)[i] = (uint16_t)(0x3c00 + test_below(&rng, 0x100) + 0x8000 * test_below(&rng, 2));
    }
    d.rowmax = test_copy(&d.lse);
    d.rowsum = test_copy(&d.lse);
    add_option(&d, option, &rng);
    if (!test_status(test_forward(&d, test_on(ATTN_PATH_AUTO)), ATTN_OK)) exit(1);
    return d;
}

/* --------------------------------------------------------------- shards -- */

enum { CONTIGUOUS, ZIGZAG, UNEVEN, BACKWARDS, CUTS };
static const char *const cut_names[CUTS] = {"contiguous", "zigzag", "uneven", "backwards, two without"};

/* Uneven: each rank half of what is left. Backwards: the first rank has the last piece, and there are ranks with
 * nothing if there are three. */
static attn_mpi_shard cut_of(int cut, size_t length, size_t unit)
{
    attn_mpi_shard s = {{0, 0}, {0, 0}};
    const size_t units = (length + unit - 1) / unit;
    size_t from = 0;
    if (cut <= ZIGZAG) return attn_mpi_cut(length, unit, ranks.rank, ranks.ranks, cut == ZIGZAG);
    if (cut == BACKWARDS) {
        const int used = ranks.ranks > 2 ? ranks.ranks - 2 : ranks.ranks;
        return ranks.rank < used ? attn_mpi_cut(length, unit, used - 1 - ranks.rank, used, 0) : s;
    }
    for (int r = 0; r <= ranks.rank; r++) {
        const size_t to = r + 1 == ranks.ranks ? units : from + (units - from + 1) / 2;
        s.begin[0] = from * unit < length ? from * unit : length;
        s.end[0] = to * unit < length ? to * unit : length;
        from = to;
    }
    return s;
}

/* The rows of a shard, in memory of their own; all in C order. Absent stays absent. */
static attn_array rows_of(const attn_array *a, int from_end, const attn_mpi_shard *s)
{
    const int axis = a->ndim - from_end;
    const size_t rows = attn_mpi_rows(s);
    attn_array mine = *a;
    size_t outer = 1, row = attn_dtype_size(a->dtype);
    char *to;
    if (a->ndim == 0) return mine;
    mine = a->ndim == 3 ? test_3d(a->dtype, a->shape[0], axis == 1 ? rows : a->shape[1], axis == 2 ? rows : a->shape[2])
                        : test_4d(a->dtype, a->shape[0], a->shape[1], rows, a->shape[3]);
    for (int i = 0; i < axis; i++) outer *= a->shape[i];
    for (int i = axis + 1; i < a->ndim; i++) row *= a->dtype == ATTN_BIT ? (a->shape[i] + 7) / 8 : a->shape[i];
    to = (char *)mine.data;
    for (size_t o = 0; o < outer; o++)
        for (int i = 0; i < 2; i++) {
            const size_t bytes = (s->end[i] - s->begin[i]) * row;
            memcpy(to, (char *)a->data + (o * a->shape[axis] + s->begin[i]) * row, bytes);
            to += bytes;
        }
    return mine;
}

/* This rank's part of a problem. Outputs are there, full of NaN; *want has what they should become. */
static attn_mpi_desc part_of(const attn_desc *whole, int cut, int everywhere, attn_mpi_schedule schedule,
                             attn_desc *want)
{
    attn_mpi_desc d = attn_mpi_desc_default();
    attn_mpi_shard q;
    d.q_len = whole->q.shape[2];
    d.kv_len = whole->k.shape[2];
    d.kv_shard = cut_of(cut, d.kv_len, ATTN_MPI_BLOCK);
    d.q_shard = q = cut_of(cut, d.q_len, 1);
    d.q_everywhere = everywhere;
    d.schedule = schedule;
    d.part = *whole;
    if (everywhere) q.begin[0] = q.begin[1] = q.end[1] = 0, q.end[0] = d.q_len;
    d.part.k = rows_of(&whole->k, 2, &d.kv_shard);
    d.part.v = rows_of(&whole->v, 2, &d.kv_shard);
    d.part.q = rows_of(&whole->q, 2, &q);
    d.part.out = rows_of(&whole->out, 2, &q);
    d.part.lse = rows_of(&whole->lse, 1, &q);
    d.part.rowmax = rows_of(&whole->rowmax, 1, &q);
    d.part.rowsum = rows_of(&whole->rowsum, 1, &q);
    d.part.q_bounds = rows_of(&whole->q_bounds, 2, &q);
    if (whole->mask.ndim && whole->mask.shape[2] != 1) d.part.mask = rows_of(&whole->mask, 2, &q);
    if (whole->rel_bias.ndim && whole->rel_bias.shape[2] != 1) d.part.rel_bias = rows_of(&whole->rel_bias, 2, &q);
    *want = d.part;
    d.part = test_again(want);
    return d;
}

static int untouched(const attn_desc *d)
{
    const attn_desc fresh = test_again(d);
    return test_same_outputs(d, &fresh);
}

static int done(const attn_mpi_desc *d, const attn_desc *want, attn_mpi_report *report)
{
    return test_status((attn_status)attn_mpi_forward(&ranks, d, NULL, report), ATTN_OK) &&
           test_same_outputs(&d->part, want);
}

/* The schedules, TREE with queries that all ranks have and with such that are cut. */
enum { TREE, TREE_OF_CUT, RING, HEADS, WAYS };
static const char *const way_names[WAYS] = {"tree", "tree, queries cut", "ring", "heads"};
static const attn_mpi_schedule way_schedules[WAYS] = {ATTN_MPI_TREE, ATTN_MPI_TREE, ATTN_MPI_RING, ATTN_MPI_HEADS};

static void test_bits(void)
{
    char name[128];
    const test_shape shape = {ATTN_F32, 2, 4, 2, 13, 7 * ATTN_MPI_BLOCK + 37, 3, 5};
    for (int option = 0; option < OPTIONS; option++) {
        const attn_desc whole = problem(&shape, ATTN_F32, option);
        for (int way = 0; way < WAYS; way++) {
            int pass = 1;
            for (int cut = 0; cut < CUTS; cut++) {
                attn_desc want;
                attn_mpi_desc d = part_of(&whole, cut, way == TREE, way_schedules[way], &want);
                attn_mpi_report report;
                if (cut == ZIGZAG) d.message = 10000;
                if (!done(&d, &want, &report)) {
                    pass = 0;
                    test_note("rank %d, %s", ranks.rank, cut_names[cut]);
                }
                pass &= report.schedule == way_schedules[way] && report.failed == -1;
            }
            snprintf(name, sizeof name, "the same bits: %s, %s", way_names[way], option_names[option]);
            all_ok(pass, name);
        }
        test_release();
    }
}

/* Types, heads, and sizes down to nothing. */
static void test_shapes(void)
{
    static const struct {
        const char *name;
        test_shape shape;
        attn_dtype kv_type;
    } cases[] = {
        {"float64", {ATTN_F64, 1, 2, 2, 9, 3 * ATTN_MPI_BLOCK, 8, 8}, ATTN_F64},
        {"float16 keys and values", {ATTN_F32, 1, 6, 3, 9, 5 * ATTN_MPI_BLOCK + 1, 8, 8}, ATTN_F16},
        {"bfloat16 keys and values", {ATTN_F32, 1, 6, 3, 9, 5 * ATTN_MPI_BLOCK + 1, 8, 8}, ATTN_BF16},
        {"all float16", {ATTN_F16, 2, 4, 1, 9, 4 * ATTN_MPI_BLOCK, 8, 8}, ATTN_F16},
        {"all bfloat16, 7 heads", {ATTN_BF16, 1, 7, 7, 9, 4 * ATTN_MPI_BLOCK, 8, 8}, ATTN_BF16},
        {"as many queries as keys", {ATTN_F32, 1, 2, 1, 1100, 1100, 8, 34}, ATTN_F32},
        {"one query", {ATTN_F32, 3, 4, 2, 1, 9 * ATTN_MPI_BLOCK - 1, 8, 8}, ATTN_F32},
        {"one key", {ATTN_F32, 1, 2, 2, 5, 1, 8, 8}, ATTN_F32},
        {"no keys", {ATTN_F32, 1, 2, 2, 5, 0, 8, 8}, ATTN_F32},
        {"no queries", {ATTN_F32, 1, 2, 2, 0, 600, 8, 8}, ATTN_F32},
        {"no batch", {ATTN_F32, 0, 2, 2, 5, 600, 8, 8}, ATTN_F32},
        {"no columns of values", {ATTN_F32, 1, 2, 2, 5, 600, 8, 0}, ATTN_F32},
    };
    char name[128];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const attn_desc whole = problem(&cases[i].shape, cases[i].kv_type, LOWER_RIGHT);
        int pass = 1;
        for (int way = 0; way < WAYS; way++)
            for (int cut = 0; cut < CUTS; cut++) {
                attn_desc want;
                const attn_mpi_desc d = part_of(&whole, cut, way == TREE, way_schedules[way], &want);
                if (done(&d, &want, NULL)) continue;
                pass = 0;
                test_note("rank %d, %s, %s", ranks.rank, way_names[way], cut_names[cut]);
            }
        snprintf(name, sizeof name, "the same bits: %s", cases[i].name);
        all_ok(pass, name);
        test_release();
    }
}

/* Ranks on other paths, with threads, out of order, in memory of their own. */
static void test_runs(void)
{
    const test_shape shape = {ATTN_F32, 2, 4, 2, 40, 5 * ATTN_MPI_BLOCK + 3, 16, 16};
    const attn_desc whole = problem(&shape, ATTN_F32, LOWER_RIGHT);
    attn_path paths[ATTN_PATH_COUNT];
    const size_t count = test_paths(paths);
    for (int way = 0; way < WAYS; way++) {
        attn_desc want;
        const attn_mpi_desc d = part_of(&whole, ZIGZAG, way == TREE, way_schedules[way], &want);
        const attn_path path = paths[(size_t)ranks.rank % count];
        attn_exec run = ranks.rank % 2 ? test_shuffled(path, 3) : test_on(path);
        char name[128];
        if (attn_workspace_size(&whole, 3, &run.workspace_size)) exit(1);
        run.workspace = test_memory(run.workspace_size, 0);
        snprintf(name, sizeof name, "the same bits: each rank runs in another way, %s", way_names[way]);
        all_ok(test_status((attn_status)attn_mpi_forward(&ranks, &d, &run, NULL), ATTN_OK) &&
                   test_same_outputs(&d.part, &want),
               name);
    }
    test_release();
}

/* Progress grows, and comes near to the end. */
static int calls, grows;
static double last_done;
static void see_progress(void *context, double part)
{
    grows &= context == &calls && part > last_done && part <= 1;
    last_done = part;
    calls++;
}
static void test_progress(void)
{
    const test_shape shape = {ATTN_F32, 2, 4, 4, 300, 8 * ATTN_MPI_BLOCK, 4, 4};
    const attn_desc whole = problem(&shape, ATTN_F32, PLAIN);
    for (int way = 0; way < WAYS; way++) {
        attn_desc want;
        attn_mpi_desc d = part_of(&whole, ZIGZAG, way == TREE, way_schedules[way], &want);
        char name[128];
        int pass;
        d.progress = see_progress;
        d.progress_context = &calls;
        calls = 0, grows = 1, last_done = 0;
        pass = done(&d, &want, NULL) && grows;
        if (ranks.ranks <= 4) pass &= calls > 2 && last_done > 0.9; /* some have nothing to do where there are more */
        if (!pass) test_note("rank %d: %d calls, to %g", ranks.rank, calls, last_done);
        snprintf(name, sizeof name, "progress: %s", way_names[way]);
        all_ok(pass, name);
    }
    test_release();
}

/* Rows whose arithmetic overflows, or that see what is not finite: the same bits. Of one head in four, which is the
 * only one that is computed again. Scores of keys differ so much that weights are 0 for some. */
static void test_overflow(void)
{
    enum { POISONED = 2 };
    const double poisons[] = {3e38, (double)INFINITY, -(double)INFINITY, (double)NAN};
    const char *const arrays[] = {"queries", "keys", "values"};
    const attn_dtype types[] = {ATTN_F32, ATTN_F64};
    const int options[] = {EVERYTHING, DISTANCES_OF_ROWS, MASK_OF_BITS};
    char name[128];
    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < 3 * 4; i++) {
            const test_shape shape = {types[t], 2, 8, 4, 9, 4 * ATTN_MPI_BLOCK + 7, 4, 5};
            const double poison = t && i % 4 == 0 ? 1.7e308 : poisons[i % 4];
            attn_desc whole = problem(&shape, types[t], options[i % 3]);
            const attn_array *const poisoned[] = {&whole.q, &whole.k, &whole.v};
            const size_t rows = i < 4 ? 9 : shape.kv_len, head = i < 4 ? 2 * POISONED + 1 : POISONED;
            int pass = 1;
            whole.scale = 60;
            for (size_t row = 0; row < rows; row += rows / 3)
                ref_set(poisoned[i / 4], row % 2, head, row, row % 3, row ? poison : -poison);
            if (!test_status(test_forward(&whole, test_on(ATTN_PATH_AUTO)), ATTN_OK)) exit(1);
            for (int way = 0; way < WAYS; way++) {
                const int cut = i % 2 ? ZIGZAG : BACKWARDS;
                attn_desc want;
                const attn_mpi_desc d = part_of(&whole, cut, way == TREE, way_schedules[way], &want);
                attn_mpi_report report;
                const size_t least = way != HEADS && i != 8; /* weights may be too small for large values to matter */
                if (done(&d, &want, &report) && report.redone >= least && report.redone <= (way != HEADS)) continue;
                pass = 0;
                test_note("rank %d, %s, %s, %zu heads again", ranks.rank, way_names[way], cut_names[cut],
                          report.redone);
            }
            snprintf(name, sizeof name, "the same bits: %s, %g in some %s", attn_dtype_name(types[t]), poison,
                     arrays[i / 4]);
            all_ok(pass, name);
            test_release();
        }
}

/* --------------------------------------------------------------- errors -- */

/* What is wrong with the descriptor, of all ranks or only of the last one. */
enum {
    NO_DESC,
    NO_KEYS,
    BAD_SCHEDULE,
    LARGE_MESSAGE,
    NEGATIVE_SOFTCAP,
    OTHER_TYPE,
    ASKS_SCORES,
    HAS_KV_BEGIN,
    HAS_RING,
    HAS_PAGES,
    IN_PLACE,
    LONG_LENGTH,
    SHORT_SHARD,
    REVERSED_SHARD,
    SPLIT_OF_ALL,
    NO_PATH,
    FIRST_DIFFERENCE, /* from here on: the last rank alone */
    OTHER_SOFTCAP = FIRST_DIFFERENCE,
    OTHER_CAUSAL,
    OTHER_SCHEDULE,
    OTHER_MESSAGE,
    OTHER_SLOPES,
    OTHER_DISTANCES,
    ROWS_OF_DISTANCES,
    NO_LSE,
    FIRST_COVER, /* all ranks */
    MORE_KEYS = FIRST_COVER,
    MORE_QUERIES,
    NOT_AT_BLOCKS,
    FAULTS
};
static const struct {
    const char *name, *argument;
    int status;
} faults[FAULTS] = {
    {"no descriptor", "desc", ATTN_ERR_NULL},
    {"no keys", "k", ATTN_ERR_NULL},
    {"no such schedule", "schedule", ATTN_ERR_PARAMETER},
    {"messages of more than 2^30 bytes", "message", ATTN_ERR_PARAMETER},
    {"a negative softcap", "softcap", ATTN_ERR_PARAMETER},
    {"keys of another type", "k", ATTN_ERR_DTYPE},
    {"scores", "scores", ATTN_ERR_UNSUPPORTED},
    {"kv_begin", "kv_begin", ATTN_ERR_UNSUPPORTED},
    {"a ring", "ring", ATTN_ERR_UNSUPPORTED},
    {"pages", "block_table", ATTN_ERR_UNSUPPORTED},
    {"out is q", "out", ATTN_ERR_ALIAS},
    {"a length beyond the last key", "kv_lens", ATTN_ERR_LENGTH},
    {"a shard of fewer rows", "kv_shard", ATTN_MPI_ERR_SHARD},
    {"a shard that ends before it begins", "q_shard", ATTN_MPI_ERR_SHARD},
    {"a ring of queries that all ranks have", "schedule", ATTN_MPI_ERR_SCHEDULE},
    {"a path that is none", "path", ATTN_ERR_PATH},
    {"another softcap", "softcap", ATTN_MPI_ERR_DISAGREE},
    {"not causal", "causal", ATTN_MPI_ERR_DISAGREE},
    {"another schedule", "schedule", ATTN_MPI_ERR_DISAGREE},
    {"other messages", "message", ATTN_MPI_ERR_DISAGREE},
    {"other slopes", "alibi", ATTN_MPI_ERR_DISAGREE},
    {"other distances", "rel_first", ATTN_MPI_ERR_DISAGREE},
    {"distances for each row", "rel_bias", ATTN_MPI_ERR_DISAGREE},
    {"no lse", "lse", ATTN_MPI_ERR_DISAGREE},
    {"keys that nobody has", "kv_shard", ATTN_MPI_ERR_COVER},
    {"queries that nobody has", "q_shard", ATTN_MPI_ERR_COVER},
    {"a piece that does not begin at a block", "kv_shard", ATTN_MPI_ERR_COVER},
};

/* 0: there is nothing wrong, as this needs more ranks. */
static int add_fault(int fault, attn_mpi_desc *d, attn_exec *run)
{
    switch (fault) {
    case NO_KEYS: d->part.k.data = NULL; return attn_mpi_rows(&d->kv_shard) > 0;
    case BAD_SCHEDULE: d->schedule = ATTN_MPI_SCHEDULE_COUNT; return 1;
    case LARGE_MESSAGE: d->message = ((size_t)1 << 30) + 1; return 1;
    case NEGATIVE_SOFTCAP: d->part.softcap = -1; return 1;
    case OTHER_TYPE: d->part.k.dtype = ATTN_I32; return 1;
    case ASKS_SCORES: d->part.scores = d->part.out; return 1;
    case HAS_KV_BEGIN: d->part.kv_begin = 512; return 1;
    case HAS_RING: d->part.ring = 1; return 1;
    case HAS_PAGES: d->part.block_table = d->part.q; return 1;
    case IN_PLACE: d->part.out.data = d->part.q.data; return 1;
    case LONG_LENGTH:
        d->part.kv_lens = test_1d(ATTN_I64, 1);
        ref_set(&d->part.kv_lens, 0, 0, 0, 0, (double)d->kv_len + 1);
        return 1;
    case SHORT_SHARD: d->kv_shard.end[0]--; return 1;
    case REVERSED_SHARD: d->q_shard.begin[1] = d->q_shard.end[1] + 1; return 1;
    case SPLIT_OF_ALL:
        d->q_everywhere = 1;
        d->q_len = d->part.q.shape[2];
        d->schedule = ATTN_MPI_RING;
        return 1;
    case NO_PATH: run->path = ATTN_PATH_COUNT; return 1;
    case OTHER_SOFTCAP: d->part.softcap = 2; break;
    case OTHER_CAUSAL: d->part.causal = 0; break;
    case OTHER_SCHEDULE: d->schedule = ATTN_MPI_RING; break;
    case OTHER_MESSAGE: d->message = 4096; break;
    case OTHER_SLOPES:
        d->part.alibi = test_1d(ATTN_F32, d->part.q.shape[1]);
        test_fill(&d->part.alibi, 0.5);
        break;
    case OTHER_DISTANCES: d->part.rel_first = 5; break;
    case ROWS_OF_DISTANCES:
        d->part.rel_bias = test_4d(ATTN_F32, 1, 1, d->part.q.shape[2], 3);
        test_fill(&d->part.rel_bias, 0.5);
        return ranks.ranks > 1 && d->part.q.shape[2] != 1;
    case NO_LSE: d->part.lse = test_absent; break;
    case MORE_KEYS: d->kv_len += 512; return 1;
    case MORE_QUERIES: d->q_len++; return 1;
    case NOT_AT_BLOCKS: d->kv_shard = cut_of(CONTIGUOUS, d->kv_len, 100); break;
    }
    return fault == NO_DESC || ranks.ranks > 1;
}

static void test_errors(void)
{
    const test_shape shape = {ATTN_F32, 1, 2, 2, 16, 8 * ATTN_MPI_BLOCK, 4, 4};
    const attn_desc whole = problem(&shape, ATTN_F32, LOWER_RIGHT);
    const int last = ranks.ranks - 1;
    char name[128];
    for (int fault = 0; fault < FAULTS; fault++)
        for (int alone = 0; alone < 2; alone++) {
            attn_desc want;
            attn_exec run = attn_exec_default();
            attn_mpi_desc d = part_of(&whole, CONTIGUOUS, 0, ATTN_MPI_AUTO, &want);
            attn_mpi_report report;
            int status, fails = 1, pass;
            if (alone ? fault >= FIRST_COVER : fault >= FIRST_DIFFERENCE && fault < FIRST_COVER) continue;
            if (fault == NOT_AT_BLOCKS) {
                const attn_mpi_shard at = cut_of(CONTIGUOUS, d.kv_len, 100);
                d.part.k = rows_of(&whole.k, 2, &at);
                d.part.v = rows_of(&whole.v, 2, &at);
            }
            if (fault == OTHER_DISTANCES || fault == ROWS_OF_DISTANCES) {
                d.part.rel_bias = test_2d(ATTN_F32, 1, 3);
                test_fill(&d.part.rel_bias, 0.5);
            }
            if (!alone || ranks.rank == last) fails = add_fault(fault, &d, &run);
            status =
                attn_mpi_forward(&ranks, fault == NO_DESC && (!alone || ranks.rank == last) ? NULL : &d, &run, &report);
            MPI_Bcast(&fails, 1, MPI_INT, last, MPI_COMM_WORLD);
            pass = fails ? status == faults[fault].status && report.failed == (alone ? last : 0) &&
                               strcmp(report.argument, faults[fault].argument) == 0
                         : status == ATTN_OK;
            if (!pass)
                test_note("rank %d: \"%s\" instead of \"%s\", rank %d, argument '%s'", ranks.rank,
                          attn_mpi_status_string(status), attn_mpi_status_string(faults[fault].status), report.failed,
                          report.argument);
            if (fails && fault != IN_PLACE) {
                if (fault == NO_LSE) d.part.lse = test_absent;
                pass &= untouched(&d.part);
            }
            snprintf(name, sizeof name, "%s, %s", faults[fault].name, alone ? "on one rank" : "on all ranks");
            all_ok(pass, name);
        }
    all_ok(attn_mpi_forward(NULL, NULL, NULL, NULL) == ATTN_ERR_NULL &&
               attn_mpi_open(NULL, MPI_COMM_WORLD) == ATTN_ERR_NULL && attn_mpi_close(NULL) == ATTN_ERR_NULL,
           "without ranks");
    test_release();
}

/* Every allocation fails once, on the first rank or the last: all return that, write nothing, and go on with the next
 * call. */
static void test_memory_failures(void)
{
    const test_shape shape = {ATTN_F32, 2, 2, 2, 16, 8 * ATTN_MPI_BLOCK, 4, 4};
    attn_desc whole;
    const long before = allocated;
    if (ranks.ranks > 4) return; /* it takes long where they share processors, and shows nothing new */
    whole = problem(&shape, ATTN_F32, LENGTHS_LOWER_RIGHT);
    for (int way = 0; way < WAYS + HEADS; way++) { /* last, but for whole heads, with one that is computed again */
        int status = ATTN_ERR_MEMORY, pass = 1, n = 1;
        char name[128];
        if (way == WAYS) {
            ref_set(&whole.q, 1, 1, 3, 0, (double)INFINITY);
            if (!test_status(test_forward(&whole, test_on(ATTN_PATH_AUTO)), ATTN_OK)) exit(1);
        }
        test_malloc = counted_malloc; /* that of attention.h, too */
        test_free = counted_free;
        for (; status; n++) {
            attn_desc want;
            const attn_mpi_desc d = part_of(&whole, ZIGZAG, way % WAYS == TREE, way_schedules[way % WAYS], &want);
            attn_mpi_report report;
            const int failing = n % 2 ? ranks.ranks - 1 : 0;
            until_failure = ranks.rank == failing ? (n + 1) / 2 : 0;
            status = attn_mpi_forward(&ranks, &d, NULL, &report);
            if (status) pass &= status == ATTN_ERR_MEMORY && report.failed == failing && untouched(&d.part);
            else pass &= test_same_outputs(&d.part, &want);
            pass &= allocated == before;
            until_failure = 0;
        }
        test_malloc = malloc;
        test_free = free;
        snprintf(name, sizeof name, "no memory on one rank: %s%s", way_names[way % WAYS],
                 way < WAYS ? "" : ", a head again");
        all_ok(pass && n > (way < WAYS ? 8 : 16), name);
    }
    test_release();
}

static void test_mpi_failures(void)
{
    static const int needs[WAYS][FUNCTIONS] = {
        {1, 0, 0, 0, 1, 1}, {1, 1, 1, 1, 1, 1}, {0, 1, 1, 1, 1, 1}, {0, 1, 1, 1, 1, 1}};
    const test_shape shape = {ATTN_F32, 1, 8, 8, 16, 8 * ATTN_MPI_BLOCK, 1, 1};
    const attn_desc whole = problem(&shape, ATTN_F32, PLAIN);
    const long before = allocated;
    char name[128];
    for (int way = 0; way < WAYS; way++) {
        attn_mpi own; /* what is left of messages stays there */
        const int opened = attn_mpi_open(&own, MPI_COMM_WORLD) == ATTN_OK;
        for (int function = 0; function < FUNCTIONS; function++) {
            attn_desc want;
            const attn_mpi_desc d = part_of(&whole, CONTIGUOUS, way == TREE, way_schedules[way], &want);
            attn_mpi_report report;
            int pass;
            if (!needs[way][function] || (function < ALLGATHER && ranks.ranks == 1)) continue;
            broken = function;
            pass = opened && attn_mpi_forward(&own, &d, NULL, &report) == ATTN_MPI_ERR_MPI &&
                   report.mpi_error == MPI_ERR_OTHER;
            broken = FUNCTIONS;
            snprintf(name, sizeof name, "%s fails: %s", function_names[function], way_names[way]);
            all_ok(pass && untouched(&d.part), name);
        }
        snprintf(name, sizeof name, "nothing stays after functions of MPI have failed: %s", way_names[way]);
        all_ok(attn_mpi_close(&own) == ATTN_OK && allocated == before, name);
    }
    test_release();
}

/* ------------------------------------------------------------- counters -- */

static uint64_t up(uint64_t x, uint64_t unit) { return (x + unit - 1) / unit * unit; }

/* The nodes of a state over blocks [a, b): the largest subtrees. */
static uint64_t nodes_of(size_t a, size_t b)
{
    uint64_t n = 0;
    for (size_t size; a < b; a += size, n++)
        for (size = 1; a % (2 * size) == 0 && 2 * size <= b - a;) size *= 2;
    return n;
}

enum { BATCH = 2, KV_HEADS = 4, GROUP = 2, ROWS = 21, BLOCKS = 16, DIM = 6, DIM_V = 10 }; /* of test_counters */

/* What a rank sends under HEADS, or to compute so many key/value heads again: all its keys, and queries, if they are
 * cut; and results. */
static uint64_t heads_bytes(int heads, const uint64_t *keys, const uint64_t *queries, int everywhere)
{
    const int n = ranks.ranks, me = ranks.rank;
    uint64_t sent = 0;
    for (int i = 0; i < n; i++) {
        const uint64_t his = (uint64_t)((i + 1) * heads / n - i * heads / n),
                       mine = (uint64_t)((me + 1) * heads / n - me * heads / n);
        if (i == me) continue;
        sent += BATCH * his * ((everywhere ? 0 : queries[me] * GROUP * DIM * 4) + keys[me] * (DIM + DIM_V) * 2);
        sent += BATCH * mine * (everywhere ? ROWS : queries[i]) * GROUP * (4 * DIM_V + 3 * 4);
    }
    return sent;
}

/* What doc/distributed.md says of bytes, for contiguous shards of whole blocks. */
static void test_counters(void)
{
    const test_shape shape = {ATTN_F32, BATCH, KV_HEADS * GROUP, KV_HEADS, ROWS, BLOCKS * ATTN_MPI_BLOCK, DIM, DIM_V};
    attn_desc whole = problem(&shape, ATTN_F16, PLAIN);
    const int n = ranks.ranks, me = ranks.rank;
    const uint64_t state_row = 4 * 32 + 32; /* DIM_V rounded up to 32 floats; maximum and sum twice */
    uint64_t keys[8], queries[8], ring[8], sent, ring_sent, tree_sent, received, held;
    size_t begin[9];
    attn_desc want;
    attn_mpi_desc d;
    attn_mpi_report r;
    for (int i = 0; i < n; i++) {
        const attn_mpi_shard s = attn_mpi_cut(BLOCKS * ATTN_MPI_BLOCK, ATTN_MPI_BLOCK, i, n, 0),
                             q = attn_mpi_cut(ROWS, 1, i, n, 0);
        keys[i] = attn_mpi_rows(&s);
        queries[i] = attn_mpi_rows(&q);
        begin[i] = s.begin[0] / ATTN_MPI_BLOCK;
        ring[i] = up(BATCH * KV_HEADS * keys[i] * DIM * 2, 16) + BATCH * KV_HEADS * keys[i] * DIM_V * 2;
    }
    begin[n] = BLOCKS;

    d = part_of(&whole, CONTIGUOUS, 0, ATTN_MPI_RING, &want);
    d.message = 100000;
    sent = received = held = 0;
    for (int step = 0; step + 1 < n; step++) sent += ring[(me - step + n) % n];
    for (int step = 1; step < n; step++) received += ring[(me - step + n) % n];
    for (int i = 0; i < n && n > 1; i++) held = 2 * ring[i] > held ? 2 * ring[i] : held;
    ring_sent = sent;
    all_ok(done(&d, &want, &r) && r.sent == sent && r.received == received && r.steps == (size_t)n - 1, "bytes: ring");
    if (n <= 2) { /* of each step a state of one node; two of them, and what they become with room for both */
        const uint64_t all = (n == 1 ? 1u : 4u) * BATCH * KV_HEADS * GROUP * queries[me] * state_row +
                             (n == 1 ? 1u : 3u) * (72 + sizeof(attn__mpi_state));
        held += all + 2 * sizeof(attn__mpi_item) + 2 * (held / 2 / d.message + 1) * sizeof(MPI_Request);
        all_ok(r.held == held, "bytes held: ring");
        if (r.held != held) test_note("%lu, not %lu", (unsigned long)r.held, (unsigned long)held);
    }

    d = part_of(&whole, CONTIGUOUS, 1, ATTN_MPI_TREE, &want);
    sent = received = 0;
    for (int step = 1; step < n; step *= 2) {
        const uint64_t results = BATCH * KV_HEADS * GROUP * ROWS * (4 * DIM_V + 3 * 4);
        const int from = me & step ? me : me + step, to = from + step < n ? from + step : n;
        uint64_t up_bytes, down;
        if (me % step || from >= n) continue; /* has sent, or nobody is there */
        up_bytes = 48 + 24 + 72 + nodes_of(begin[from], begin[to]) * BATCH * KV_HEADS * GROUP * ROWS * state_row;
        down = 48 + results;
        sent += me & step ? up_bytes : down;
        received += me & step ? down : up_bytes;
    }
    all_ok(done(&d, &want, &r) && r.sent == sent && r.received == received, "bytes: tree");
    if (r.sent != sent) test_note("rank %d: %lu, not %lu", me, (unsigned long)r.sent, (unsigned long)sent);

    tree_sent = sent;

    d = part_of(&whole, CONTIGUOUS, 0, ATTN_MPI_HEADS, &want);
    sent = heads_bytes(KV_HEADS, keys, queries, 0);
    all_ok(done(&d, &want, &r) && r.sent == sent, "bytes: heads");
    if (r.sent != sent) test_note("rank %d: %lu, not %lu", me, (unsigned long)r.sent, (unsigned long)sent);

    ref_set(&whole.q, 0, GROUP, 7, 0, (double)INFINITY); /* the second key/value head and the third */
    ref_set(&whole.q, 1, 3 * GROUP - 1, 0, 0, (double)INFINITY);
    if (!test_status(test_forward(&whole, test_on(ATTN_PATH_AUTO)), ATTN_OK)) exit(1);
    d = part_of(&whole, CONTIGUOUS, 0, ATTN_MPI_RING, &want);
    sent = ring_sent + heads_bytes(2, keys, queries, 0);
    all_ok(done(&d, &want, &r) && r.sent == sent && r.redone == 2, "bytes: ring, two heads again");
    d = part_of(&whole, CONTIGUOUS, 1, ATTN_MPI_TREE, &want);
    sent = tree_sent + heads_bytes(2, keys, queries, 1);
    all_ok(done(&d, &want, &r) && r.sent == sent && r.redone == 2, "bytes: tree, two heads again");
    test_release();
}

/* What AUTO chooses. */
static void test_choice(void)
{
    static const struct {
        const char *name;
        test_shape shape;
        int everywhere;
        attn_mpi_schedule wanted; /* of more than one rank */
    } cases[] = {{"decoding: tree", {ATTN_F32, 1, 2, 2, 1, 8 * ATTN_MPI_BLOCK, 4, 4}, 1, ATTN_MPI_TREE},
                 {"few queries: tree", {ATTN_F32, 1, 1, 1, 8, 16 * ATTN_MPI_BLOCK, 4, 4}, 0, ATTN_MPI_TREE},
                 {"many queries, one head: ring", {ATTN_F32, 1, 1, 1, 2000, 2000, 4, 4}, 0, ATTN_MPI_RING},
                 {"many queries and heads: heads", {ATTN_F32, 1, 84, 84, 200, 2000, 2, 2}, 0, ATTN_MPI_HEADS}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const attn_desc whole = problem(&cases[i].shape, ATTN_F32, PLAIN);
        attn_desc want;
        const attn_mpi_desc d = part_of(&whole, CONTIGUOUS, cases[i].everywhere, ATTN_MPI_AUTO, &want);
        attn_mpi_report r;
        const int pass = done(&d, &want, &r) && (ranks.ranks == 1 || r.schedule == cases[i].wanted);
        if (!pass) test_note("chose %s", attn_mpi_schedule_name(r.schedule));
        all_ok(pass, cases[i].name);
        test_release();
    }
}

int main(int argc, char **argv)
{
    int status;
    if (MPI_Init(&argc, &argv) != MPI_SUCCESS) return 1;
    if (attn_mpi_open(&ranks, MPI_COMM_WORLD)) return 1;
    test_bits();
    test_shapes();
    test_runs();
    test_progress();
    test_overflow();
    test_errors();
    test_memory_failures();
    test_mpi_failures();
    test_counters();
    test_choice();
    attn_mpi_close(&ranks);
    all_ok(allocated == 0, "nothing stays allocated");
    status = ranks.rank == 0 ? test_done() : !test_release();
    MPI_Finalize();
    return status;
}
