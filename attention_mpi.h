/* SPDX-License-Identifier: MIT-0 OR Unlicense
 *
 * attention_mpi.h - attention.h past one machine: keys and values over the ranks of MPI, the same bits.
 *
 *     #define ATTENTION_MPI_IMPLEMENTATION  // in exactly one source file; ATTENTION_IMPLEMENTATION in this or another
 *     #include "attention_mpi.h"
 *     mpicc -O2 program.c
 *
 * ============================================================================
 * MANUAL
 * ============================================================================
 *
 * QUICK START
 *
 *   All ranks of a communicator make the same call, each with its own part of the sequence:
 *
 *     attn_mpi ranks;
 *     attn_mpi_open(&ranks, MPI_COMM_WORLD);                  // once: makes a communicator of its own
 *     attn_mpi_desc d = attn_mpi_desc_default();
 *     d.q_len = d.kv_len = length;                            // of the whole
 *     d.q_shard = d.kv_shard = attn_mpi_cut(length, ATTN_MPI_BLOCK, ranks.rank, ranks.ranks, 1);
 *     size_t mine = attn_mpi_rows(&d.kv_shard);               // load or compute those rows of Q, K and V
 *     d.part.q = attn_array_4d(ATTN_F32, q, batch, heads, mine, head_dim);
 *     d.part.k = attn_array_4d(ATTN_F16, k, batch, kv_heads, mine, head_dim);
 *     d.part.v = attn_array_4d(ATTN_F16, v, batch, kv_heads, mine, head_dim);
 *     d.part.out = attn_array_4d(ATTN_F32, out, batch, heads, mine, head_dim);
 *     d.part.causal = 1;
 *     int status = attn_mpi_forward(&ranks, &d, NULL, NULL);  // the same status on every rank
 *     if (status) puts(attn_mpi_status_string(status));
 *     attn_mpi_close(&ranks);
 *
 *   To decode, every rank has all queries (d.q_everywhere = 1, no q_shard) and receives all outputs.
 *
 * SHARDS
 *
 *   The sequence is cut into pieces, and a rank has at most two: rows [begin[0], end[0]) and, behind them in the same
 *   arrays, [begin[1], end[1]). All pieces of all ranks together are the sequence, each row once. A rank may have no
 *   keys, no queries, or neither. Pieces of keys begin at multiples of ATTN_MPI_BLOCK (512), as blocks of the header
 *   do, so that results have the bits of one process; queries may be cut anywhere.
 *
 *   attn_mpi_cut makes such shards: one piece a rank, or (zigzag) piece r and piece 2 N - 1 - r of 2 N, so that the
 *   work of a causal mask is the same for all ranks: with contiguous pieces, the last one has twice the average.
 *
 * SCHEDULES
 *
 *   ATTN_MPI_TREE   few queries (decoding). Keys and values stay; every rank computes the state of all queries over
 *                   its own keys; states are merged along a binary tree of ranks, in the order of keys; results go
 *                   back along the same tree. 2 ceil(log2 N) messages one after the other. Queries that are cut are
 *                   collected first.
 *   ATTN_MPI_RING   many queries. Queries stay; keys and values go around, to the next rank while those of the last
 *                   message are at work, in two buffers. N - 1 steps. A rank keeps the states of its queries over
 *                   what it has seen so far.
 *   ATTN_MPI_HEADS  many queries, and heads suffice (Ulysses): from shards of the sequence to whole heads, rank r
 *                   those of key/value heads [r Hkv / N, (r + 1) Hkv / N), attn_forward, and back. It needs no more
 *                   ranks than there are key/value heads: others have nothing to compute.
 *   ATTN_MPI_AUTO   TREE where all ranks have all queries; otherwise of RING, TREE and (if N divides Hkv) HEADS the
 *                   one whose busiest rank sends the fewest bytes.
 *
 * WHAT IS SUPPORTED
 *
 *   attn_desc with q, k, v, out, scale, softcap, causal in all alignments, window, mask, mask_place, kv_lens, q_bounds,
 *   alibi, rel_bias, sinks, lse, rowmax and rowsum. A mask, rel_bias and q_bounds have the rows of this rank's queries
 *   (or broadcast), a mask all keys of the whole; kv_lens, alibi and sinks are whole, and the same everywhere.
 *   Positions, lengths and alignment are those of the whole. ATTN_ERR_UNSUPPORTED: scores, colsum, pages, rings, packed
 *   sequences, scales of 8 bits, ATTN_Q8_0; of attn_exec query and shares.
 *
 * THE SAME BITS
 *
 *   For any number of ranks, shards and schedule results have the bits of attn_forward in one process. To this end
 *   states are merged in the order of their keys, and what cannot be merged yet is kept: the nodes of a binary tree
 *   over blocks. What that costs is memory and, for TREE, bytes: a state of one rank has one node where it begins at a
 *   multiple of a power of two of blocks and is as long, else at most two for each level. Reductions in any order, with
 *   one node, would save that and nothing else: doc/distributed.md.
 *   A row whose arithmetic overflows, or that sees a value which is not finite, does not merge to the same bits
 *   (attn_state_redone). Where there is one, TREE and RING compute its key/value head, and all between the first such
 *   head and the last, again as HEADS does: with its bytes, its time, and its memory: one rank has all keys of a head.
 *   The report counts these heads. Where there is none this costs nothing: ranks learn it from messages that they
 *   exchange anyway.
 *
 * ERRORS
 *
 *   Every rank returns the same status: arguments are checked and compared before anything else is sent. What fails
 *   later on one rank (memory, say) is told to all at the end, and the rank takes part until then. On an error nothing
 *   is written, and the report says which rank was the first, and what it is about. Statuses are those of attention.h
 *   and the ones of attn_mpi_status. MPI's own errors are returned as ATTN_MPI_ERR_MPI on the ranks that see
 *   them, with its code in the report; what MPI can do afterwards, and what other ranks see, is MPI's.
 *   Where ranks do not make the same call, MPI waits, as in its own collectives.
 *
 * MEMORY, THREADS
 *
 *   Buffers and states come from ATTN_MPI_MALLOC and ATTN_MPI_FREE, by default malloc and free; the report has the
 *   most that was held at once. exec is for the calls of attention.h: path and workers may differ between ranks, a
 *   workspace serves the largest of them (attn_workspace_size of the whole is enough). MPI is called by the calling
 *   thread, and, so that messages move during a computation, by tasks that run on the thread that initialised MPI: with
 *   parallel_for it needs MPI_THREAD_FUNNELED. Without parallel_for and workspace a function is put in its place that
 *   looks at messages between tasks.
 *   Messages have at most d.message bytes, so that none comes near INT_MAX. Machines with other byte orders, or another
 *   arithmetic (attn_arithmetic), cannot be mixed: ATTN_MPI_ERR_DISAGREE.
 *
 * BUILD OPTIONS: those of attention.h (ATTN_STATIC, ATTN_DEF, ATTN_PREFIX), ATTN_MPI_MALLOC and ATTN_MPI_FREE.
 *
 * ==========================================================================*/

#ifndef ATTENTION_MPI_H
#define ATTENTION_MPI_H

#include "attention.h"
#include <mpi.h>

#ifdef ATTN_PREFIX
#define attn_mpi ATTN__PREFIXED(ATTN_PREFIX, mpi)
#define attn_mpi_close ATTN__PREFIXED(ATTN_PREFIX, mpi_close)
#define attn_mpi_cut ATTN__PREFIXED(ATTN_PREFIX, mpi_cut)
#define attn_mpi_desc ATTN__PREFIXED(ATTN_PREFIX, mpi_desc)
#define attn_mpi_desc_default ATTN__PREFIXED(ATTN_PREFIX, mpi_desc_default)
#define attn_mpi_forward ATTN__PREFIXED(ATTN_PREFIX, mpi_forward)
#define attn_mpi_open ATTN__PREFIXED(ATTN_PREFIX, mpi_open)
#define attn_mpi_report ATTN__PREFIXED(ATTN_PREFIX, mpi_report)
#define attn_mpi_rows ATTN__PREFIXED(ATTN_PREFIX, mpi_rows)
#define attn_mpi_schedule ATTN__PREFIXED(ATTN_PREFIX, mpi_schedule)
#define attn_mpi_schedule_name ATTN__PREFIXED(ATTN_PREFIX, mpi_schedule_name)
#define attn_mpi_shard ATTN__PREFIXED(ATTN_PREFIX, mpi_shard)
#define attn_mpi_status ATTN__PREFIXED(ATTN_PREFIX, mpi_status)
#define attn_mpi_status_string ATTN__PREFIXED(ATTN_PREFIX, mpi_status_string)
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ATTN_MPI_BLOCK 512 /* keys; pieces of keys begin at its multiples */

/* What attn_mpi_forward returns besides the statuses of attention.h. */
#define ATTN__MPI_STATUSES(X)                                                                                          \
    X(ATTN_MPI_ERR_DISAGREE, "ranks have different descriptors")                                                       \
    X(ATTN_MPI_ERR_SHARD, "a rank's rows are not those of its shard, or pieces are not in order")                      \
    X(ATTN_MPI_ERR_COVER, "the shards of all ranks do not make up the sequence, or do not begin at blocks of keys")    \
    X(ATTN_MPI_ERR_SCHEDULE, "this schedule needs queries that are cut over the ranks")                                \
    X(ATTN_MPI_ERR_MPI, "a function of MPI failed")
typedef enum attn_mpi_status {
    ATTN_MPI_ERR_NONE = ATTN_STATUS_COUNT, /* those of attention.h come before */
#define ATTN__X(name, text) name,
    ATTN__MPI_STATUSES(ATTN__X)
#undef ATTN__X
        ATTN_MPI_STATUS_COUNT
} attn_mpi_status;

#define ATTN__MPI_SCHEDULES(X) X(AUTO, auto) X(TREE, tree) X(RING, ring) X(HEADS, heads)
typedef enum attn_mpi_schedule {
#define ATTN__X(NAME, name) ATTN_MPI_##NAME,
    ATTN__MPI_SCHEDULES(ATTN__X)
#undef ATTN__X
        ATTN_MPI_SCHEDULE_COUNT
} attn_mpi_schedule;

/* The ranks that compute together. */
typedef struct attn_mpi {
    MPI_Comm comm; /* a duplicate of the caller's, which returns errors */
    int rank, ranks;
    uint64_t *records; /* what ranks tell each other */
} attn_mpi;

/* The rows of a rank: see SHARDS. Zero-initialised it has none. */
typedef struct attn_mpi_shard {
    size_t begin[2], end[2];
} attn_mpi_shard;

/* Zero-initialised but for the arrays of `part`, the lengths and the shards it is plain attention. */
typedef struct attn_mpi_desc {
    attn_desc part;         /* with this rank's rows of q, k, v and outputs */
    size_t q_len, kv_len;   /* of the whole */
    attn_mpi_shard q_shard; /* rows of q and outputs; ignored if q_everywhere */
    attn_mpi_shard kv_shard;
    int q_everywhere; /* not 0: every rank has all queries, and receives all outputs */
    attn_mpi_schedule schedule;
    size_t message; /* bytes that one message has at most; 0: 2^30, which is also the most */
    /* Optional: what part of its work this rank has done, 0 to 1, now and then, on the thread that initialised MPI.
     * Ranks need not agree. */
    void (*progress)(void *context, double done);
    void *progress_context;
} attn_mpi_desc;

/* What a call did. Bytes are those of this rank's arrays and states, and of the 24 to 72 bytes beside each state,
 * without the comparison of descriptors and agreements, which are collectives of 24 bytes and of less than 512. */
typedef struct attn_mpi_report {
    char argument[16]; /* of an error: what it is about, empty if nothing says */
    int failed;        /* ... and the rank, the first if there are several; else -1 */
    int mpi_error;     /* the code that MPI returned, of ATTN_MPI_ERR_MPI; else 0 */
    attn_mpi_schedule schedule;
    size_t steps;                      /* exchanges that this rank took part in, one after the other */
    uint64_t sent, received, messages; /* bytes; messages that were sent */
    uint64_t largest_step;             /* most bytes that were sent in one step */
    size_t held;                       /* most bytes of buffers and states at once */
    size_t redone;                     /* key/value heads that were computed again, by HEADS: see THE SAME BITS */
    double seconds, computing;         /* in all; in attention.h. The rest is copying and waiting */
} attn_mpi_report;

/* Collective. comm may be freed afterwards. Returns 0, ATTN_ERR_NULL or ATTN_MPI_ERR_MPI. */
ATTN_DEF int attn_mpi_open(attn_mpi *ranks, MPI_Comm comm);
ATTN_DEF int attn_mpi_close(attn_mpi *ranks);

ATTN_DEF attn_mpi_desc attn_mpi_desc_default(void);

/* Shard `rank` of `ranks` of a sequence: about equal pieces whose beginnings are multiples of unit (0: 1). */
ATTN_DEF attn_mpi_shard attn_mpi_cut(size_t length, size_t unit, int rank, int ranks, int zigzag);
ATTN_DEF size_t attn_mpi_rows(const attn_mpi_shard *shard); /* how many it has */

/* Collective. exec and report may be NULL. */
ATTN_DEF int attn_mpi_forward(const attn_mpi *ranks, const attn_mpi_desc *desc, const attn_exec *exec,
                              attn_mpi_report *report);

ATTN_DEF const char *attn_mpi_status_string(int status);                 /* of attention.h's, too */
ATTN_DEF const char *attn_mpi_schedule_name(attn_mpi_schedule schedule); /* "auto", "tree", "ring", "heads" */

#ifdef __cplusplus
}
#endif

#endif /* ATTENTION_MPI_H */

/* ==========================================================================
 * IMPLEMENTATION
 *
 *   arrays       lifting to four axes, slices, copies
 *   a call       memory, messages, failures
 *   agreement    what ranks compare before they compute
 *   states       of this rank's queries over parts of the keys
 *   schedules    tree, ring, heads
 *   public functions
 * ======================================================================== */

#if defined(ATTENTION_MPI_IMPLEMENTATION) && !defined(ATTN__MPI_IMPLEMENTED)
#define ATTN__MPI_IMPLEMENTED

#include <stdlib.h>
#include <string.h>

#if defined(ATTN_MPI_MALLOC) != defined(ATTN_MPI_FREE)
#error "attention_mpi.h: define both, ATTN_MPI_MALLOC(bytes) and ATTN_MPI_FREE(pointer), or none"
#elif !defined(ATTN_MPI_MALLOC)
#define ATTN_MPI_MALLOC(n) malloc(n)
#define ATTN_MPI_FREE(p) free(p)
#endif

/* ---------------------------------------------------------------- arrays -- */

/* The last axis of masks of bits is in bytes. */
static size_t attn__mpi_units(const attn_array *a, int axis, size_t n)
{
    const size_t block = axis == a->ndim - 1 ? attn_dtype_block(a->dtype) : 1;
    return block ? n / block + (n % block != 0) : n;
}

/* With axes of 1 before, and with strides that say what they are. Absent stays absent. */
static attn_array attn__mpi_lift(const attn_array *a, int ndim)
{
    const int more = ndim - a->ndim;
    attn_array full = *a;
    size_t step = 1;
    int dense = 1;
    if (a->ndim == 0) return full;
    for (int i = 0; i < a->ndim; i++) dense &= a->stride[i] == 0;
    full.ndim = ndim;
    for (int i = ndim; i-- > 0;) {
        full.shape[i] = i < more ? 1 : a->shape[i - more];
        full.stride[i] = i < more ? 0 : dense ? (ptrdiff_t)step : a->stride[i - more];
        step *= attn__mpi_units(&full, i, full.shape[i]);
    }
    return full;
}

static attn_array attn__mpi_slice(const attn_array *a, int axis, size_t first, size_t count)
{
    attn_array part = *a;
    if (a->ndim == 0) return part;
    if (first && a->data)
        part.data = (char *)a->data +
                    (ptrdiff_t)attn__mpi_units(a, axis, first) * a->stride[axis] * (ptrdiff_t)attn_dtype_size(a->dtype);
    part.shape[axis] = count;
    return part;
}

/* The same where an axis of 1 stands for all. */
static attn_array attn__mpi_slice_of(const attn_array *a, int axis, size_t first, size_t count)
{
    return a->ndim && a->shape[axis] == 1 ? *a : attn__mpi_slice(a, axis, first, count);
}

/* (B, H, S) as (B, H, S, 1), (B, S, n) as (B, 1, S, n). */
static attn_array attn__mpi_insert(const attn_array *a, int axis)
{
    attn_array four = *a;
    if (a->ndim == 0) return four;
    for (int i = four.ndim++; i > axis; i--) {
        four.shape[i] = four.shape[i - 1];
        four.stride[i] = four.stride[i - 1];
    }
    four.shape[axis] = 1;
    four.stride[axis] = 1;
    return four;
}
static attn_array attn__mpi_remove(const attn_array *a, int axis)
{
    attn_array three = *a;
    if (a->ndim == 0) return three;
    for (int i = axis; i + 1 < a->ndim; i++) {
        three.shape[i] = three.shape[i + 1];
        three.stride[i] = three.stride[i + 1];
    }
    three.ndim--;
    return three;
}

static size_t attn__mpi_row_bytes(const attn_array *a)
{
    return attn__mpi_units(a, 3, a->shape[3]) * attn_dtype_size(a->dtype);
}

static size_t attn__mpi_bytes(const attn_array *a)
{
    return a->ndim ? a->shape[0] * a->shape[1] * a->shape[2] * attn__mpi_row_bytes(a) : 0;
}

/* The same shape in C order, in other memory. */
static attn_array attn__mpi_packed(const attn_array *a, void *memory)
{
    attn_array dense = *a;
    dense.data = memory;
    memset(dense.stride, 0, sizeof dense.stride);
    return attn__mpi_lift(&dense, a->ndim);
}

/* Of four axes each, of the same shape. */
static void attn__mpi_assign(const attn_array *to, const attn_array *from)
{
    const ptrdiff_t size = (ptrdiff_t)attn_dtype_size(to->dtype);
    const size_t units = attn__mpi_units(to, 3, to->shape[3]),
                 each = to->stride[3] == 1 && from->stride[3] == 1 ? units : 1;
    for (size_t row = 0; row < to->shape[0] * to->shape[1] * to->shape[2]; row++) {
        const ptrdiff_t i = (ptrdiff_t)(row % to->shape[2]), h = (ptrdiff_t)(row / to->shape[2] % to->shape[1]),
                        b = (ptrdiff_t)(row / to->shape[2] / to->shape[1]);
        char *y = (char *)to->data + (b * to->stride[0] + h * to->stride[1] + i * to->stride[2]) * size;
        const char *x =
            (const char *)from->data + (b * from->stride[0] + h * from->stride[1] + i * from->stride[2]) * size;
        for (size_t c = 0; c < units; c += each, y += to->stride[3] * size, x += from->stride[3] * size)
            memcpy(y, x, each * (size_t)size);
    }
}

/* -------------------------------------------------------------- a call -- */

/* What went wrong first, on the lowest rank: the rank, and in the low half the status. Signed, as MPICH 4.0 takes the
 * minimum of unsigned numbers as if they were. */
#define ATTN__MPI_FINE INT64_MAX
typedef struct attn__mpi_outcome {
    int64_t code;
    char argument[16];
} attn__mpi_outcome;
static attn__mpi_outcome attn__mpi_outcome_of(int rank, unsigned status, const char *argument)
{
    attn__mpi_outcome outcome;
    memset(&outcome, 0, sizeof outcome);
    outcome.code = (int64_t)rank << 32 | status;
    for (size_t i = 0; argument && argument[i] && i + 1 < sizeof outcome.argument; i++)
        outcome.argument[i] = argument[i];
    return outcome;
}

/* A state of some queries over keys [begin, end), which lies behind this. */
typedef struct attn__mpi_state {
    struct attn__mpi_state *next;
    uint64_t begin, end;
} attn__mpi_state;

/* Queries with positions that follow one another, of batches that share these. */
typedef struct attn__mpi_item {
    attn_desc desc; /* without k and v */
    size_t batch;   /* the first */
    attn__mpi_state *states;
} attn__mpi_item;

/* What each rank tells all others: see attn__mpi_describe. */
enum { ATTN__MPI_OUTCOME = 0, ATTN__MPI_Q = 3, ATTN__MPI_KV = 7, ATTN__MPI_ROWS = 11, ATTN__MPI_FIRST_FIELD = 13 };
/* clang-format off */
#define ATTN__MPI_FIELDS(X)                                                                                           \
    X(build) X(batch) X(q_heads) X(kv_heads) X(head_dim) X(head_dim_v) X(q_len) X(kv_len) X(q_everywhere)             \
    X(schedule) X(message) X(q) X(k) X(v) X(out) X(scale) X(softcap) X(causal) X(align) X(q_offset) X(window)         \
    X(window_left) X(window_right) X(mask) X(mask_place) X(kv_lens) X(q_bounds) X(alibi) X(rel_bias) X(rel_first)     \
    X(rel_clamp) X(sinks) X(lse) X(rowmax) X(rowsum)
/* clang-format on */
enum {
#define ATTN__X(name) ATTN__MPI_FIELD_##name,
    ATTN__MPI_FIELDS(ATTN__X)
#undef ATTN__X
        ATTN__MPI_FIELD_COUNT,
    ATTN__MPI_WORDS = ATTN__MPI_FIRST_FIELD + ATTN__MPI_FIELD_COUNT
};

typedef struct attn__mpi_run {
    const attn_mpi_desc *d;
    attn_desc part; /* d's, with all axes */
    attn_exec exec;
    attn_parallel_for user_for;
    void *user_context;
    MPI_Comm comm;
    int rank, ranks;
    size_t message;
    uint64_t *records;       /* (ranks, ATTN__MPI_WORDS), then room for all pieces, (2 ranks, 2) */
    int by_rows[2];          /* a mask, rel_bias have a row for every query */
    MPI_Request *requests;   /* under way: those that receive first */
    int under_way, receives; /* how many */
    attn__mpi_item *items;
    size_t item_count, held;
    double before, share, shown; /* of the work: done before this call of attention.h, its share, what was told */
    int64_t *lens;               /* of all keys, where somebody must say it */
    int64_t redo[2]; /* heads that are to be computed again: the first, and minus the end; so minima tell all */
    const attn_desc *results; /* of TREE: of all queries, in memory of this call */
    attn__mpi_outcome outcome;
    const char *argument; /* of exec */
    attn_mpi_report report;
} attn__mpi_run;

static void attn__mpi_fail(attn__mpi_run *run, unsigned status, const char *argument)
{
    if (status && run->outcome.code == ATTN__MPI_FINE) run->outcome = attn__mpi_outcome_of(run->rank, status, argument);
}
static int attn__mpi_fine(const attn__mpi_run *run) { return run->outcome.code == ATTN__MPI_FINE; }

/* Is MPI? After an error of its own nothing more is sent. */
static int attn__mpi_works(const attn__mpi_run *run) { return run->report.mpi_error == MPI_SUCCESS; }
static int attn__mpi_did(attn__mpi_run *run, int code)
{
    if (code == MPI_SUCCESS) return 1;
    if (attn__mpi_works(run)) run->report.mpi_error = code;
    attn__mpi_fail(run, ATTN_MPI_ERR_MPI, NULL);
    return 0;
}

/* Of two outcomes the one of the lower rank. */
static void attn__mpi_first(attn__mpi_run *run, const attn__mpi_outcome *other)
{
    if (other->code < run->outcome.code) run->outcome = *other;
}

/* Memory that knows its size, aligned to 16 bytes where that of ATTN_MPI_MALLOC is. */
static void *attn__mpi_take(attn__mpi_run *run, size_t bytes)
{
    char *memory = bytes <= (size_t)-1 / 2 ? (char *)ATTN_MPI_MALLOC(bytes + 16) : NULL;
    if (!memory) {
        attn__mpi_fail(run, ATTN_ERR_MEMORY, NULL);
        return NULL;
    }
    memcpy(memory, &bytes, sizeof bytes);
    run->held += bytes;
    if (run->held > run->report.held) run->report.held = run->held;
    return memory + 16;
}
static void attn__mpi_release(attn__mpi_run *run, void *memory)
{
    size_t bytes;
    if (!memory) return;
    memcpy(&bytes, (char *)memory - 16, sizeof bytes);
    run->held -= bytes;
    ATTN_MPI_FREE((char *)memory - 16);
}

/* ---- messages: all of them pass through here, and are counted ---- */

enum { ATTN__MPI_TAG = 0 };

static void attn__mpi_count(attn__mpi_run *run, size_t bytes, int send)
{
    if (send) run->report.sent += bytes, run->report.messages++;
    else run->report.received += bytes;
}

/* Sends or receives, as messages of a size that an int can say, and waits. */
static void attn__mpi_move(attn__mpi_run *run, void *data, size_t bytes, int peer, int send)
{
    char *at = (char *)data;
    for (size_t n; bytes && attn__mpi_works(run); at += n, bytes -= n) {
        n = bytes < run->message ? bytes : run->message;
        if (attn__mpi_did(run, send
                                   ? MPI_Send(at, (int)n, MPI_BYTE, peer, ATTN__MPI_TAG, run->comm)
                                   : MPI_Recv(at, (int)n, MPI_BYTE, peer, ATTN__MPI_TAG, run->comm, MPI_STATUS_IGNORE)))
            attn__mpi_count(run, n, send);
    }
}

/* Room for the requests of an exchange of so many bytes in each direction. */
static void attn__mpi_request_room(attn__mpi_run *run, size_t bytes)
{
    run->requests = (MPI_Request *)attn__mpi_take(run, 2 * (bytes / run->message + 1) * sizeof *run->requests);
}

static void attn__mpi_begin(attn__mpi_run *run, void *data, size_t bytes, int peer, int send)
{
    char *at = (char *)data;
    for (size_t n; bytes && attn__mpi_works(run); at += n, bytes -= n) {
        MPI_Request *request = run->requests + run->under_way;
        n = bytes < run->message ? bytes : run->message;
        if (!attn__mpi_did(run, send ? MPI_Isend(at, (int)n, MPI_BYTE, peer, ATTN__MPI_TAG, run->comm, request)
                                     : MPI_Irecv(at, (int)n, MPI_BYTE, peer, ATTN__MPI_TAG, run->comm, request)))
            break;
        run->under_way++;
        run->receives += !send;
        attn__mpi_count(run, n, send);
    }
}

/* Until all have arrived. Where MPI has failed, what has not is given up. */
static void attn__mpi_end(attn__mpi_run *run)
{
    for (int i = 0; i < run->under_way && attn__mpi_works(run); i++)
        attn__mpi_did(run, MPI_Wait(&run->requests[i], MPI_STATUS_IGNORE));
    for (int i = 0; i < run->under_way && !attn__mpi_works(run); i++) {
        if (run->requests[i] == MPI_REQUEST_NULL) continue;
        if (i >= run->receives) MPI_Request_free(&run->requests[i]);
        else if (MPI_Cancel(&run->requests[i]) == MPI_SUCCESS) MPI_Wait(&run->requests[i], MPI_STATUS_IGNORE);
    }
    run->under_way = run->receives = 0;
}

/* One step of a schedule: to one rank, and from one. */
static void attn__mpi_begin_step(attn__mpi_run *run, void *out, size_t out_bytes, int to, void *in, size_t in_bytes,
                                 int from)
{
    run->report.steps++;
    if (out_bytes > run->report.largest_step) run->report.largest_step = out_bytes;
    attn__mpi_begin(run, in, in_bytes, from, 0);
    attn__mpi_begin(run, out, out_bytes, to, 1);
}

/* Is all well everywhere, and what is to be done again? The same answer on all ranks. */
static int attn__mpi_agree(attn__mpi_run *run)
{
    const int64_t mine[3] = {run->outcome.code, run->redo[0], run->redo[1]};
    int64_t first[3];
    if (!attn__mpi_works(run) || !attn__mpi_did(run, MPI_Allreduce(mine, first, 3, MPI_INT64_T, MPI_MIN, run->comm)))
        return 0;
    memcpy(run->redo, first + 1, sizeof run->redo);
    if (first[0] == ATTN__MPI_FINE) return 1;
    run->outcome.code = first[0];
    attn__mpi_did(run, MPI_Bcast(run->outcome.argument, sizeof run->outcome.argument, MPI_BYTE, (int)(first[0] >> 32),
                                 run->comm));
    return 0;
}

/* ---- calls of attention.h ---- */

/* So much of the current call is done. Where that goes back, as in a second round of tasks, nobody is told. */
static void attn__mpi_progress(attn__mpi_run *run, double part)
{
    const double all = run->before + part * run->share, done = all < 1 ? all : 1;
    if (!run->d->progress || done <= run->shown) return;
    run->shown = done;
    run->d->progress(run->d->progress_context, done);
}

typedef struct attn__mpi_tasks {
    attn__mpi_run *run;
    size_t count;
    attn_task task;
    void *arg;
} attn__mpi_tasks;
/* Between tasks messages move on. */
static void attn__mpi_task(void *arg, size_t index, size_t worker)
{
    const attn__mpi_tasks *tasks = (const attn__mpi_tasks *)arg;
    attn__mpi_run *run = tasks->run;
    int here = 0, done;
    tasks->task(tasks->arg, index, worker);
    if ((!run->under_way && !run->d->progress) || MPI_Is_thread_main(&here) != MPI_SUCCESS || !here) return;
    for (int i = 0; i < run->under_way && attn__mpi_works(run); i++)
        attn__mpi_did(run, MPI_Test(&run->requests[i], &done, MPI_STATUS_IGNORE));
    attn__mpi_progress(run, (double)(index + 1) / (double)tasks->count);
}
static void attn__mpi_for(void *context, size_t count, attn_task task, void *arg)
{
    attn__mpi_tasks tasks;
    tasks.run = (attn__mpi_run *)context;
    tasks.count = count;
    tasks.task = task;
    tasks.arg = arg;
    if (tasks.run->user_for) tasks.run->user_for(tasks.run->user_context, count, attn__mpi_task, &tasks);
    else
        for (size_t i = 0; i < count; i++) attn__mpi_task(&tasks, i, 0);
}

/* ------------------------------------------------------------- agreement -- */

/* FNV-1a of what is in an array, and of its shape and type; 0: absent. */
static uint64_t attn__mpi_hash_bytes(uint64_t hash, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ ((const unsigned char *)data)[i]) * UINT64_C(0x100000001b3);
    return hash;
}
static uint64_t attn__mpi_hash(const attn_array *a, int contents)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    const attn_array full = attn__mpi_lift(a, 4);
    if (a->ndim == 0) return 0;
    hash = attn__mpi_hash_bytes(hash, &full.dtype, sizeof full.dtype);
    hash = attn__mpi_hash_bytes(hash, contents ? full.shape : &full.shape[0], contents ? 4 * sizeof(size_t) : 0);
    for (size_t i = 0; contents && i < full.shape[2]; i++)
        for (size_t c = 0; c < full.shape[3]; c++) {
            const attn_array row = attn__mpi_slice(&full, 2, i, 1), one = attn__mpi_slice(&row, 3, c, 1);
            hash = attn__mpi_hash_bytes(hash, one.data, attn_dtype_size(one.dtype));
        }
    return hash;
}
/* Of a mask or rel_bias: what its rows must have in common. */
static uint64_t attn__mpi_hash_but_rows(const attn_array *a)
{
    return a->ndim ? attn__mpi_hash(a, 0) ^ (a->shape[0] << 48) ^ (a->shape[1] << 32) ^ a->shape[3] : 0;
}
static uint64_t attn__mpi_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Notes what a call of attention.h returned, and the argument that it was about. */
static void attn__mpi_note(attn__mpi_run *run, attn_status status)
{
    attn__mpi_fail(run, status, run->argument);
    run->argument = NULL;
}

/* Has attn_forward check all arguments, and compute nothing: it comes to the workspace last. */
static void attn__mpi_ask(attn__mpi_run *run, const attn_desc *desc)
{
    char nothing;
    attn_exec ask = attn_exec_in(&nothing, 1);
    attn_status status;
    ask.path = run->exec.path;
    ask.argument = &run->argument;
    status = attn_forward(desc, &ask);
    attn__mpi_note(run, status == ATTN_ERR_WORKSPACE ? ATTN_OK : status);
}

static int attn__mpi_orderly(const attn_mpi_shard *s, size_t length, size_t rows)
{
    return s->begin[0] <= s->end[0] && s->begin[1] <= s->end[1] && s->end[0] <= length && s->end[1] <= length &&
           (s->end[0] <= s->begin[1] || s->begin[1] == s->end[1]) && attn_mpi_rows(s) == rows;
}

/* Integer i of (B). */
static int64_t attn__mpi_length(const attn_array *lens, size_t i)
{
    int64_t wide;
    int32_t narrow;
    const attn_array full = attn__mpi_lift(lens, 4), one = attn__mpi_slice(&full, 3, i, 1);
    if (lens->dtype == ATTN_I64) memcpy(&wide, one.data, sizeof wide);
    else memcpy(&narrow, one.data, sizeof narrow), wide = narrow;
    return wide;
}

/* Everything that this rank can see alone. */
static void attn__mpi_check(attn__mpi_run *run)
{
    const attn_mpi_desc *d = run->d;
    const attn_desc *p = &d->part;
    const struct {
        const attn_array *array;
        const char *name;
    } unsupported[] = {{&p->scores, "scores"},
                       {&p->colsum, "colsum"},
                       {&p->block_table, "block_table"},
                       {&p->cu_seqlens_q, "cu_seqlens_q"},
                       {&p->cu_seqlens_k, "cu_seqlens_k"},
                       {&p->k_scale, "k_scale"},
                       {&p->v_scale, "v_scale"},
                       {&p->k_zero, "k_zero"},
                       {&p->v_zero, "v_zero"}};
    static const double nowhere = 0;
    attn_desc whole = *p, mine = *p;
    if ((unsigned)d->schedule >= ATTN_MPI_SCHEDULE_COUNT) attn__mpi_fail(run, ATTN_ERR_PARAMETER, "schedule");
    if (d->message > (size_t)1 << 30) attn__mpi_fail(run, ATTN_ERR_PARAMETER, "message");
    if (run->exec.query || run->exec.shares > 1) attn__mpi_fail(run, ATTN_ERR_UNSUPPORTED, "exec");
    if (p->kv_begin) attn__mpi_fail(run, ATTN_ERR_UNSUPPORTED, "kv_begin");
    if (p->ring) attn__mpi_fail(run, ATTN_ERR_UNSUPPORTED, "ring");
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (unsupported[i].array->ndim) attn__mpi_fail(run, ATTN_ERR_UNSUPPORTED, unsupported[i].name);
    if (p->k.dtype == ATTN_Q8_0) attn__mpi_fail(run, ATTN_ERR_UNSUPPORTED, "k");
    if (p->v.dtype == ATTN_Q8_0) attn__mpi_fail(run, ATTN_ERR_UNSUPPORTED, "v");

    /* with the keys that are here, and then with all keys, in place of which there is one: a mask has columns for all
     */
    mine.mask = mine.kv_lens = attn_desc_default().mask;
    mine.mask_place = ATTN_MASK_ALL;
    attn__mpi_ask(run, &mine);
    if (!attn__mpi_fine(run)) return;
    for (int kv = 0; kv < 2; kv++) {
        attn_array *a = kv ? &whole.v : &whole.k;
        *a = attn__mpi_lift(a, a->ndim);
        if (a->shape[a->ndim - 2] == 0 || !a->data) a->data = (void *)(uintptr_t)&nowhere;
        a->shape[a->ndim - 2] = d->kv_len;
        a->stride[a->ndim - 2] = 0;
    }
    attn__mpi_ask(run, &whole);
    if (!attn__mpi_orderly(&d->kv_shard, d->kv_len, p->k.shape[p->k.ndim - 2]))
        attn__mpi_fail(run, ATTN_MPI_ERR_SHARD, "kv_shard");
    if (d->q_everywhere ? d->q_len != p->q.shape[p->q.ndim - 2]
                        : !attn__mpi_orderly(&d->q_shard, d->q_len, p->q.shape[p->q.ndim - 2]))
        attn__mpi_fail(run, ATTN_MPI_ERR_SHARD, d->q_everywhere ? "q_len" : "q_shard");
    if (d->q_everywhere && (d->schedule == ATTN_MPI_RING || d->schedule == ATTN_MPI_HEADS))
        attn__mpi_fail(run, ATTN_MPI_ERR_SCHEDULE, "schedule");
}

/* The arrays with all their axes: four, or three of q_bounds, lse, rowmax and rowsum; and with strides. */
static void attn__mpi_lift_all(attn_desc *p)
{
    p->q = attn__mpi_lift(&p->q, 4);
    p->k = attn__mpi_lift(&p->k, 4);
    p->v = attn__mpi_lift(&p->v, 4);
    p->out = attn__mpi_lift(&p->out, 4);
    p->mask = attn__mpi_lift(&p->mask, 4);
    p->rel_bias = attn__mpi_lift(&p->rel_bias, 4);
    p->q_bounds = attn__mpi_lift(&p->q_bounds, 3);
    p->lse = attn__mpi_lift(&p->lse, 3);
    p->rowmax = attn__mpi_lift(&p->rowmax, 3);
    p->rowsum = attn__mpi_lift(&p->rowsum, 3);
    p->kv_lens = attn__mpi_lift(&p->kv_lens, p->kv_lens.ndim);
    p->alibi = attn__mpi_lift(&p->alibi, p->alibi.ndim);
    p->sinks = attn__mpi_lift(&p->sinks, p->sinks.ndim);
}

/* This rank's words: how it stands, what is its own, and what must be the same everywhere. */
static void attn__mpi_describe(const attn__mpi_run *run, uint64_t *words)
{
    const attn_mpi_desc *d = run->d;
    const attn_desc *p = &run->part;
    const size_t width = sizeof(size_t); /* its bytes also tell their order */
    const uint64_t build =
        attn__mpi_hash_bytes(attn__mpi_hash_bytes(0, &width, sizeof width), ATTN_VERSION, sizeof ATTN_VERSION);
    uint64_t *field = words + ATTN__MPI_FIRST_FIELD;
    memset(words, 0, ATTN__MPI_WORDS * sizeof *words);
    memcpy(words + ATTN__MPI_OUTCOME, &run->outcome, sizeof run->outcome);
    if (!attn__mpi_fine(run)) return;
    for (int i = 0; i < 2; i++) {
        words[ATTN__MPI_Q + 2 * i] = d->q_everywhere ? 0 : d->q_shard.begin[i];
        words[ATTN__MPI_Q + 2 * i + 1] = d->q_everywhere ? i ? 0 : d->q_len : d->q_shard.end[i];
        words[ATTN__MPI_KV + 2 * i] = d->kv_shard.begin[i];
        words[ATTN__MPI_KV + 2 * i + 1] = d->kv_shard.end[i];
    }
    words[ATTN__MPI_ROWS] = p->mask.ndim ? p->mask.shape[2] : 1;
    words[ATTN__MPI_ROWS + 1] = p->rel_bias.ndim ? p->rel_bias.shape[2] : 1;
#define ATTN__MPI_SAYS(name, value) field[ATTN__MPI_FIELD_##name] = (uint64_t)(value)
    ATTN__MPI_SAYS(build, attn__mpi_hash_bytes(build, attn_arithmetic(), strlen(attn_arithmetic())));
    ATTN__MPI_SAYS(batch, p->q.shape[0]);
    ATTN__MPI_SAYS(q_heads, p->q.shape[1]);
    ATTN__MPI_SAYS(kv_heads, p->k.shape[1]);
    ATTN__MPI_SAYS(head_dim, p->q.shape[3]);
    ATTN__MPI_SAYS(head_dim_v, p->v.shape[3]);
    ATTN__MPI_SAYS(q_len, d->q_len);
    ATTN__MPI_SAYS(kv_len, d->kv_len);
    ATTN__MPI_SAYS(q_everywhere, d->q_everywhere != 0);
    ATTN__MPI_SAYS(schedule, d->schedule);
    ATTN__MPI_SAYS(message, run->message);
    ATTN__MPI_SAYS(q, p->q.dtype);
    ATTN__MPI_SAYS(k, p->k.dtype);
    ATTN__MPI_SAYS(v, p->v.dtype);
    ATTN__MPI_SAYS(out, p->out.dtype);
    ATTN__MPI_SAYS(scale, attn__mpi_bits(p->scale));
    ATTN__MPI_SAYS(softcap, attn__mpi_bits(p->softcap));
    ATTN__MPI_SAYS(causal, p->causal != 0);
    ATTN__MPI_SAYS(align, p->align);
    ATTN__MPI_SAYS(q_offset, p->align == ATTN_ALIGN_OFFSET ? p->q_offset : 0);
    ATTN__MPI_SAYS(window, p->window != 0);
    ATTN__MPI_SAYS(window_left, p->window ? p->window_left : 0);
    ATTN__MPI_SAYS(window_right, p->window ? p->window_right : 0);
    ATTN__MPI_SAYS(mask, attn__mpi_hash_but_rows(&p->mask));
    ATTN__MPI_SAYS(mask_place, p->mask_place);
    ATTN__MPI_SAYS(kv_lens, attn__mpi_hash(&p->kv_lens, 1));
    if (p->q_bounds.ndim)
        ATTN__MPI_SAYS(q_bounds, attn__mpi_hash(&p->q_bounds, 0) ^ (p->q_bounds.shape[0] << 32) ^ p->q_bounds.shape[2]);
    ATTN__MPI_SAYS(alibi, attn__mpi_hash(&p->alibi, 1));
    ATTN__MPI_SAYS(rel_bias, attn__mpi_hash_but_rows(&p->rel_bias));
    ATTN__MPI_SAYS(rel_first, p->rel_bias.ndim ? p->rel_first : 0);
    ATTN__MPI_SAYS(rel_clamp, p->rel_bias.ndim && p->rel_clamp);
    ATTN__MPI_SAYS(sinks, attn__mpi_hash(&p->sinks, 1));
    ATTN__MPI_SAYS(lse, attn__mpi_hash(&p->lse, 0));
    ATTN__MPI_SAYS(rowmax, attn__mpi_hash(&p->rowmax, 0));
    ATTN__MPI_SAYS(rowsum, attn__mpi_hash(&p->rowsum, 0));
#undef ATTN__MPI_SAYS
}

static attn_mpi_shard attn__mpi_shard_of(const attn__mpi_run *run, int rank, int which)
{
    const uint64_t *words = run->records + (size_t)rank * ATTN__MPI_WORDS + which;
    attn_mpi_shard s;
    for (int i = 0; i < 2; i++) s.begin[i] = (size_t)words[2 * i], s.end[i] = (size_t)words[2 * i + 1];
    return s;
}
static size_t attn__mpi_rows_of(const attn__mpi_run *run, int rank, int which)
{
    const attn_mpi_shard s = attn__mpi_shard_of(run, rank, which);
    return attn_mpi_rows(&s);
}

static int attn__mpi_compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Are the pieces of all ranks the sequence? */
static int attn__mpi_covers(const attn__mpi_run *run, int which, size_t length, size_t unit)
{
    uint64_t *pieces = run->records + (size_t)run->ranks * ATTN__MPI_WORDS, at = 0;
    size_t count = 0;
    for (int r = 0; r < run->ranks; r++) {
        const attn_mpi_shard s = attn__mpi_shard_of(run, r, which);
        for (int i = 0; i < 2; i++)
            if (s.begin[i] < s.end[i]) pieces[count++] = s.begin[i], pieces[count++] = s.end[i];
    }
    qsort(pieces, count / 2, 2 * sizeof *pieces, attn__mpi_compare);
    for (size_t i = 0; i < count; at = pieces[i + 1], i += 2)
        if (pieces[i] != at || pieces[i] % unit != 0) return 0;
    return at == length;
}

/* Reads all records, and comes to the same end on every rank. */
static attn__mpi_outcome attn__mpi_judge(attn__mpi_run *run)
{
#define ATTN__X(name) #name,
    static const char *const names[] = {ATTN__MPI_FIELDS(ATTN__X)};
#undef ATTN__X
    attn__mpi_outcome all = run->outcome;
    for (int r = 0; r < run->ranks; r++) {
        attn__mpi_outcome other;
        memcpy(&other, run->records + (size_t)r * ATTN__MPI_WORDS + ATTN__MPI_OUTCOME, sizeof other);
        if (other.code < all.code) all = other;
    }
    if (all.code != ATTN__MPI_FINE) return all;
    for (int r = 1; r < run->ranks; r++)
        for (int f = 0; f < ATTN__MPI_FIELD_COUNT; f++)
            if (run->records[ATTN__MPI_FIRST_FIELD + f] !=
                run->records[(size_t)r * ATTN__MPI_WORDS + (size_t)(ATTN__MPI_FIRST_FIELD + f)])
                return attn__mpi_outcome_of(r, ATTN_MPI_ERR_DISAGREE, names[f]);
    for (int i = 0; i < 2; i++) {
        int one = 1;
        run->by_rows[i] = 1;
        for (int r = 0; r < run->ranks; r++) {
            const uint64_t rows = run->records[(size_t)r * ATTN__MPI_WORDS + (size_t)(ATTN__MPI_ROWS + i)];
            run->by_rows[i] &= rows == attn__mpi_rows_of(run, r, ATTN__MPI_Q);
            one &= rows == 1;
            if (!run->by_rows[i] && !one)
                return attn__mpi_outcome_of(r, ATTN_MPI_ERR_DISAGREE, i ? "rel_bias" : "mask");
        }
    }
    if (!attn__mpi_covers(run, ATTN__MPI_KV, run->d->kv_len, ATTN_MPI_BLOCK))
        return attn__mpi_outcome_of(0, ATTN_MPI_ERR_COVER, "kv_shard");
    if (!run->d->q_everywhere && !attn__mpi_covers(run, ATTN__MPI_Q, run->d->q_len, 1))
        return attn__mpi_outcome_of(0, ATTN_MPI_ERR_COVER, "q_shard");
    return all;
}

/* ---------------------------------------------------------------- states -- */

static void *attn__mpi_data(attn__mpi_state *state) { return state + 1; }

/* Where query 0 of the whole is among the keys of a batch. */
static int64_t attn__mpi_offset(const attn__mpi_run *run, const attn_desc *p, size_t batch)
{
    const int64_t keys =
        p->kv_lens.ndim ? p->kv_lens.shape[0] ? attn__mpi_length(&p->kv_lens, batch) : 0 : (int64_t)run->d->kv_len;
    return p->align == ATTN_ALIGN_LOWER_RIGHT ? keys - (int64_t)run->d->q_len
           : p->align == ATTN_ALIGN_OFFSET    ? p->q_offset
                                              : 0;
}

/* Rows [at, at + rows) of some batches of p, whose positions begin with `begin`. */
static attn_desc attn__mpi_rows_part(const attn__mpi_run *run, const attn_desc *p, size_t batch, size_t batches,
                                     size_t at, size_t rows, size_t begin)
{
    const int64_t farthest = (int64_t)1 << 62; /* the largest that attention.h takes; all keys are nearer */
    attn_desc d = *p;
    attn_array *const outputs[] = {&d.out, &d.lse, &d.rowmax, &d.rowsum};
    d.q = attn__mpi_slice(&d.q, 0, batch, batches);
    d.q = attn__mpi_slice(&d.q, 2, at, rows);
    for (int i = 0; i < 4; i++) {
        *outputs[i] = attn__mpi_slice(outputs[i], 0, batch, batches);
        *outputs[i] = attn__mpi_slice(outputs[i], 2, at, rows);
    }
    d.mask = attn__mpi_slice_of(&d.mask, 0, batch, batches);
    d.mask = attn__mpi_slice_of(&d.mask, 2, at, rows);
    d.rel_bias = attn__mpi_slice_of(&d.rel_bias, 0, batch, batches);
    d.rel_bias = attn__mpi_slice_of(&d.rel_bias, 2, at, rows);
    d.q_bounds = attn__mpi_slice_of(&d.q_bounds, 0, batch, batches);
    d.q_bounds = attn__mpi_slice(&d.q_bounds, 1, at, rows);
    d.kv_lens = attn__mpi_slice(&d.kv_lens, 0, batch, batches);
    if (d.alibi.ndim == 2) d.alibi = attn__mpi_slice(&d.alibi, 0, batch, batches);
    d.q_offset = attn__mpi_offset(run, p, batch);
    d.q_offset = d.q_offset > farthest - (int64_t)begin ? farthest : d.q_offset + (int64_t)begin;
    d.align = ATTN_ALIGN_OFFSET;
    return d;
}

/* Rows of an item: those whose states over one part of the keys are some megabytes, so that they are merged in caches,
 * and in memory that a free has returned. */
static size_t attn__mpi_item_rows(const attn_desc *p)
{
    const size_t row = (p->v.shape[3] + 64) * (p->q.dtype == ATTN_F64 ? 8 : 4) * p->q.shape[0] * p->q.shape[1],
                 rows = row ? ((size_t)4 << 20) / row / 64 * 64 : 0;
    return rows < 64 ? 64 : rows;
}

/* The items of p, which has the rows of a shard: some rows of a piece; of one batch where queries of batches are at
 * other positions. */
static void attn__mpi_make_items(attn__mpi_run *run, const attn_desc *p, const attn_mpi_shard *s)
{
    const size_t batch = p->q.shape[0], most = attn__mpi_item_rows(p);
    const int apart = p->kv_lens.ndim && p->align == ATTN_ALIGN_LOWER_RIGHT &&
                      (p->causal || p->window || p->alibi.ndim || p->rel_bias.ndim);
    const size_t each = apart ? 1 : batch, groups = apart ? batch : 1, first = s->end[0] - s->begin[0],
                 second = s->end[1] - s->begin[1];
    attn_desc all = *p;
    run->items =
        (attn__mpi_item *)attn__mpi_take(run, groups * (first / most + second / most + 2) * sizeof *run->items);
    if (p->mask_place == ATTN_MASK_TAIL && p->mask.ndim && !p->kv_lens.ndim) { /* parts do not know the last key */
        run->lens = (int64_t *)attn__mpi_take(run, batch * sizeof *run->lens);
        for (size_t b = 0; run->lens && b < batch; b++) run->lens[b] = (int64_t)run->d->kv_len;
        all.kv_lens = attn_array_1d(ATTN_I64, run->lens, batch);
        all.kv_lens = attn__mpi_lift(&all.kv_lens, 1);
    }
    if (!attn__mpi_fine(run)) return;
    for (size_t g = 0; g < groups; g++)
        for (size_t at = 0, rows; at < first + second; at += rows) {
            const int piece = at >= first;
            const size_t left = (piece ? first + second : first) - at,
                         begin = piece ? s->begin[1] + at - first : s->begin[0] + at;
            attn__mpi_item *item = &run->items[run->item_count++];
            rows = left < most ? left : most;
            item->desc = attn__mpi_rows_part(run, &all, g, each, at, rows, begin);
            item->batch = g;
            item->states = NULL;
        }
}

/* The part of an item over keys [begin, begin + n), which k and v have; a mask has all. */
static attn_desc attn__mpi_keys_part(const attn__mpi_item *item, const attn_array *k, const attn_array *v, size_t begin,
                                     size_t n)
{
    const size_t batches = item->desc.q.shape[0];
    attn_desc d = item->desc;
    d.k = attn__mpi_slice(k, 0, item->batch, batches);
    d.v = attn__mpi_slice(v, 0, item->batch, batches);
    d.kv_begin = begin;
    if (d.mask_place == ATTN_MASK_ALL) d.mask = attn__mpi_slice(&d.mask, 3, begin, n);
    return d;
}

/* The bytes of a state of an item over some keys: their number is all that it depends on. */
static size_t attn__mpi_state_bytes(const attn__mpi_run *run, const attn__mpi_item *item, size_t begin, size_t end)
{
    attn_array k = run->part.k, v = run->part.v;
    attn_desc d;
    size_t bytes = 0;
    k.shape[2] = v.shape[2] = end - begin;
    k = attn__mpi_packed(&k, NULL);
    v = attn__mpi_packed(&v, NULL);
    d = attn__mpi_keys_part(item, &k, &v, begin, end - begin);
    return attn_state_size(&d, &bytes) ? 0 : bytes;
}

static attn__mpi_state *attn__mpi_new_state(attn__mpi_run *run, size_t begin, size_t end, size_t bytes)
{
    attn__mpi_state *state = (attn__mpi_state *)attn__mpi_take(run, sizeof *state + bytes);
    if (!state) return NULL;
    state->next = NULL;
    state->begin = begin;
    state->end = end;
    return state;
}

/* Of neighbours in a list, which it takes the place of. NULL: it failed, and they stay. */
static attn__mpi_state *attn__mpi_merge(attn__mpi_run *run, attn__mpi_state *a, attn__mpi_state *b)
{
    const double began = MPI_Wtime();
    size_t bytes = 0;
    attn__mpi_state *both = NULL;
    attn__mpi_note(run, attn_state_merged_size(attn__mpi_data(a), attn__mpi_data(b), &bytes));
    if (attn__mpi_fine(run)) both = attn__mpi_new_state(run, (size_t)a->begin, (size_t)b->end, bytes);
    if (!both) return NULL;
    attn__mpi_note(run,
                   attn_state_merge(attn__mpi_data(a), attn__mpi_data(b), attn__mpi_data(both), bytes, run->exec.path));
    both->next = b->next;
    attn__mpi_release(run, a);
    attn__mpi_release(run, b);
    run->report.computing += MPI_Wtime() - began;
    return both;
}

/* Puts a state among those of its item, which are in the order of keys, and merges neighbours: so they stay few. */
static void attn__mpi_add_state(attn__mpi_run *run, attn__mpi_item *item, attn__mpi_state *state)
{
    attn__mpi_state **at = &item->states, *both;
    while (*at && (*at)->begin < state->begin) at = &(*at)->next;
    state->next = *at;
    *at = state;
    for (at = &item->states; *at && (*at)->next;)
        if ((*at)->end != (*at)->next->begin) at = &(*at)->next;
        else if ((both = attn__mpi_merge(run, *at, (*at)->next)) != NULL) *at = both;
        else return;
}

/* The states of all items over the pieces of a shard, which k and v have. */
static void attn__mpi_compute(attn__mpi_run *run, const attn_array *k, const attn_array *v, const attn_mpi_shard *s,
                              size_t done, size_t all)
{
    const size_t rows = attn_mpi_rows(s);
    for (size_t i = 0; i < run->item_count; i++)
        for (int piece = 0; piece < 2; piece++) {
            attn__mpi_item *item = &run->items[i];
            const size_t n = s->end[piece] - s->begin[piece], at = piece ? s->end[0] - s->begin[0] : 0;
            const attn_array keys = attn__mpi_slice(k, 2, at, n), values = attn__mpi_slice(v, 2, at, n);
            const attn_desc d = attn__mpi_keys_part(item, &keys, &values, s->begin[piece], n);
            const double began = MPI_Wtime();
            size_t bytes = 0;
            attn__mpi_state *state;
            if ((!n && (piece || run->d->kv_len)) || !attn__mpi_fine(run))
                continue; /* of no keys at all there is one */
            attn__mpi_note(run, attn_state_size(&d, &bytes));
            state = attn__mpi_new_state(run, s->begin[piece], s->end[piece], bytes);
            if (!state) continue;
            run->share = (rows ? (double)n / (double)rows : 1) / (double)(all * run->item_count);
            run->before =
                ((double)done + ((double)i + (rows ? (double)at / (double)rows : 0)) / (double)run->item_count) /
                (double)all;
            attn__mpi_note(run, attn_partial(&d, attn__mpi_data(state), bytes, &run->exec));
            run->report.computing += MPI_Wtime() - began;
            attn__mpi_progress(run, 1);
            attn__mpi_add_state(run, item, state);
        }
}

/* Which heads have rows that states over all keys do not give the bits of? */
static void attn__mpi_look(attn__mpi_run *run)
{
    for (size_t i = 0; i < run->item_count && attn__mpi_fine(run); i++) {
        size_t first = 0, end = 0;
        attn__mpi_note(run, attn_state_redone(attn__mpi_data(run->items[i].states), &first, &end));
        if (end && (int64_t)first < run->redo[0]) run->redo[0] = (int64_t)first;
        if (-(int64_t)end < run->redo[1]) run->redo[1] = -(int64_t)end;
    }
}

/* From states over all keys to outputs. */
static void attn__mpi_finish(attn__mpi_run *run)
{
    for (size_t i = 0; i < run->item_count && attn__mpi_fine(run); i++)
        attn__mpi_note(run,
                       attn_state_finish(&run->items[i].desc, attn__mpi_data(run->items[i].states), run->exec.path));
}

static void attn__mpi_drop(attn__mpi_run *run)
{
    for (size_t i = 0; i < run->item_count; i++)
        while (run->items[i].states) {
            attn__mpi_state *next = run->items[i].states->next;
            attn__mpi_release(run, run->items[i].states);
            run->items[i].states = next;
        }
    attn__mpi_release(run, run->items);
    attn__mpi_release(run, run->lens);
}

/* ----------------------------------------------------------- collecting -- */

/* Heads [*lo, *hi) of `heads` that a rank has under HEADS: those of whole key/value heads. */
static void attn__mpi_heads_of(const attn__mpi_run *run, int rank, size_t heads, int everyone, size_t *lo, size_t *hi)
{
    const size_t kv_heads = run->part.k.shape[1], each = kv_heads ? heads / kv_heads : 0;
    *lo = everyone ? 0 : (size_t)rank * kv_heads / (size_t)run->ranks * each;
    *hi = everyone ? heads : ((size_t)rank + 1) * kv_heads / (size_t)run->ranks * each;
}

/* An array of which each rank has the rows of its shard, with all heads, and the whole sequence with those heads that
 * are its own, or with all. */
typedef struct attn__mpi_spread {
    attn_array part, whole; /* four axes */
    int shard, everyone;    /* shard: ATTN__MPI_Q or ATTN__MPI_KV */
} attn__mpi_spread;

static attn__mpi_spread attn__mpi_spread_of(const attn__mpi_run *run, attn_array part, int shard, int everyone)
{
    attn__mpi_spread s;
    size_t lo, hi;
    s.part = s.whole = part;
    s.shard = shard;
    s.everyone = everyone || (part.ndim && part.shape[1] == 1 && shard == ATTN__MPI_Q && run->part.q.shape[1] != 1);
    if (part.ndim == 0) return s;
    attn__mpi_heads_of(run, run->rank, part.shape[1], s.everyone, &lo, &hi);
    s.whole.shape[1] = hi - lo;
    s.whole.shape[2] = shard == ATTN__MPI_Q ? run->d->q_len : run->d->kv_len;
    s.whole = attn__mpi_packed(&s.whole, NULL);
    return s;
}

/* The bytes of what `holder`, which has the rows, and `owner`, which has the heads, exchange. */
static size_t attn__mpi_shared_bytes(const attn__mpi_run *run, const attn__mpi_spread *s, int holder, int owner)
{
    attn_array a = s->part;
    size_t lo, hi;
    if (a.ndim == 0) return 0;
    attn__mpi_heads_of(run, owner, a.shape[1], s->everyone, &lo, &hi);
    a.shape[1] = hi - lo;
    a.shape[2] = attn__mpi_rows_of(run, holder, s->shard);
    return attn__mpi_bytes(&a);
}

/* What this rank and a peer share, of its part or of its whole, to bytes or back. */
static void attn__mpi_pass(const attn__mpi_run *run, const attn__mpi_spread *s, int peer, int of_part, char *bytes,
                           int back)
{
    const attn_mpi_shard shard = attn__mpi_shard_of(run, of_part ? run->rank : peer, s->shard);
    attn_array a = of_part ? s->part : s->whole;
    size_t lo, hi, at = 0;
    if (of_part) {
        attn__mpi_heads_of(run, peer, a.shape[1], s->everyone, &lo, &hi);
        a = attn__mpi_slice(&a, 1, lo, hi - lo);
    }
    for (int i = 0; i < 2; i++) {
        const size_t n = shard.end[i] - shard.begin[i];
        const attn_array rows = attn__mpi_slice(&a, 2, of_part ? at : shard.begin[i], n);
        const attn_array dense = attn__mpi_packed(&rows, bytes);
        if (back) attn__mpi_assign(&rows, &dense);
        else attn__mpi_assign(&dense, &rows);
        bytes += attn__mpi_bytes(&rows);
        at += n;
    }
}

/* Of all ranks in turn: parts to wholes, or back. */
static void attn__mpi_exchange(attn__mpi_run *run, const attn__mpi_spread *s, char *out, char *in, int back)
{
    for (int step = 0; step < run->ranks && s->part.ndim; step++) {
        const int to = (run->rank + step) % run->ranks, from = (run->rank - step + run->ranks) % run->ranks;
        const size_t out_bytes = attn__mpi_shared_bytes(run, s, back ? to : run->rank, back ? run->rank : to),
                     in_bytes = attn__mpi_shared_bytes(run, s, back ? run->rank : from, back ? from : run->rank);
        if (!attn__mpi_works(run)) return;
        attn__mpi_pass(run, s, to, !back, out, 0);
        if (step) {
            attn__mpi_begin_step(run, out, out_bytes, to, in, in_bytes, from);
            attn__mpi_end(run);
        }
        if (attn__mpi_works(run)) attn__mpi_pass(run, s, from, back, step ? in : out, 1);
    }
}

/* The most that one step of any of these takes, in any direction. */
static size_t attn__mpi_step_bytes(const attn__mpi_run *run, const attn__mpi_spread *s, size_t count)
{
    size_t most = 0;
    for (size_t i = 0; i < count; i++)
        for (int r = 0; r < run->ranks; r++) {
            const size_t a = attn__mpi_shared_bytes(run, &s[i], run->rank, r),
                         b = attn__mpi_shared_bytes(run, &s[i], r, run->rank);
            most = a > most ? a : most;
            most = b > most ? b : most;
        }
    return most;
}

/* q, mask, rel_bias, q_bounds; k, v; out, lse, rowmax, rowsum */
enum { ATTN__MPI_SPREADS_OF_Q = 4, ATTN__MPI_SPREADS_IN = 6, ATTN__MPI_SPREADS = 10 };

/* Memory of wholes, and two buffers. */
static void attn__mpi_spread_room(attn__mpi_run *run, attn__mpi_spread *s, size_t count, char *buffers[2])
{
    const size_t step = attn__mpi_step_bytes(run, s, count);
    for (size_t i = 0; i < count; i++)
        if (s[i].part.ndim) s[i].whole.data = attn__mpi_take(run, attn__mpi_bytes(&s[i].whole));
    for (int i = 0; i < 2; i++) buffers[i] = (char *)attn__mpi_take(run, step);
    attn__mpi_request_room(run, step);
}
static void attn__mpi_spread_drop(attn__mpi_run *run, attn__mpi_spread *s, size_t count, char *buffers[2])
{
    for (size_t i = 0; i < count; i++)
        if (s[i].part.ndim) attn__mpi_release(run, s[i].whole.data);
    for (int i = 0; i < 2; i++) attn__mpi_release(run, buffers[i]);
    attn__mpi_release(run, run->requests);
    run->requests = NULL;
}

/* What queries bring with them, of p whose rows are a shard's. */
static void attn__mpi_spread_queries(const attn__mpi_run *run, const attn_desc *p, int everyone, attn__mpi_spread *s)
{
    attn_array arrays[ATTN__MPI_SPREADS_OF_Q];
    arrays[0] = p->q;
    arrays[1] = p->mask;
    arrays[2] = p->rel_bias;
    arrays[3] = attn__mpi_insert(&p->q_bounds, 1);
    for (int i = 0; i < 2; i++)
        if (!run->by_rows[i]) memset(&arrays[i + 1], 0, sizeof *arrays);
    for (int i = 0; i < ATTN__MPI_SPREADS_OF_Q; i++) s[i] = attn__mpi_spread_of(run, arrays[i], ATTN__MPI_Q, everyone);
}
static void attn__mpi_take_queries(const attn__mpi_spread *s, attn_desc *p)
{
    if (s[0].part.ndim) p->q = s[0].whole;
    if (s[1].part.ndim) p->mask = s[1].whole;
    if (s[2].part.ndim) p->rel_bias = s[2].whole;
    if (s[3].part.ndim) p->q_bounds = attn__mpi_remove(&s[3].whole, 1);
}

/* ------------------------------------------------------------- schedules -- */

/* Packed outputs for the queries of p, in memory, or none: then their addresses mean nothing. Returns the bytes. */
static size_t attn__mpi_results(attn_desc *p, char *memory)
{
    attn_array *const outputs[] = {&p->out, &p->lse, &p->rowmax, &p->rowsum};
    size_t bytes = 0;
    for (int i = 0; i < 4; i++) {
        attn_array four = i ? attn__mpi_insert(outputs[i], 3) : *outputs[i];
        if (four.ndim == 0) continue;
        four.shape[2] = p->q.shape[2];
        four = attn__mpi_packed(&four, memory ? memory + bytes : NULL);
        *outputs[i] = i ? attn__mpi_remove(&four, 3) : four;
        bytes += (attn__mpi_bytes(&four) + 15) / 16 * 16;
    }
    return bytes;
}

/* The rows of a shard, from outputs of all queries. */
static void attn__mpi_keep_rows(const attn_desc *to, const attn_desc *from, const attn_mpi_shard *s)
{
    const attn_array *const outputs[][2] = {
        {&to->out, &from->out}, {&to->lse, &from->lse}, {&to->rowmax, &from->rowmax}, {&to->rowsum, &from->rowsum}};
    for (int i = 0; i < 4; i++)
        for (int piece = 0; piece < 2 && outputs[i][0]->ndim; piece++) {
            const size_t n = s->end[piece] - s->begin[piece], at = piece ? s->end[0] - s->begin[0] : 0;
            const attn_array a = i ? attn__mpi_insert(outputs[i][0], 3) : *outputs[i][0],
                             b = i ? attn__mpi_insert(outputs[i][1], 3) : *outputs[i][1];
            const attn_array y = attn__mpi_slice(&a, 2, at, n), x = attn__mpi_slice(&b, 2, s->begin[piece], n);
            attn__mpi_assign(&y, &x);
        }
}

/* A message along the tree: the outcome so far, how many states follow, each with where it belongs, and, on the way
 * back, which heads are to be computed again. */
typedef struct attn__mpi_notice {
    attn__mpi_outcome outcome;
    uint64_t states;
    int64_t redo[2];
} attn__mpi_notice;
typedef struct attn__mpi_place {
    uint64_t item, begin, end;
} attn__mpi_place;

static void attn__mpi_send_states(attn__mpi_run *run, int to)
{
    attn__mpi_notice notice;
    memset(&notice, 0, sizeof notice);
    for (size_t i = 0; i < run->item_count && attn__mpi_fine(run); i++)
        for (attn__mpi_state *state = run->items[i].states; state; state = state->next) notice.states++;
    notice.outcome = run->outcome;
    attn__mpi_move(run, &notice, sizeof notice, to, 1);
    for (size_t i = 0; i < run->item_count && attn__mpi_fine(run); i++)
        for (attn__mpi_state *state = run->items[i].states; state; state = state->next) {
            attn__mpi_place place;
            place.item = i;
            place.begin = state->begin;
            place.end = state->end;
            attn__mpi_move(run, &place, sizeof place, to, 1);
            attn__mpi_move(run, attn__mpi_data(state),
                           attn__mpi_state_bytes(run, &run->items[i], (size_t)state->begin, (size_t)state->end), to, 1);
        }
}
/* `landing` has room for any state: what fails here must not stop those who send. */
static void attn__mpi_receive_states(attn__mpi_run *run, int from, void *landing)
{
    attn__mpi_notice notice;
    memset(&notice, 0, sizeof notice);
    attn__mpi_move(run, &notice, sizeof notice, from, 0);
    if (attn__mpi_works(run)) attn__mpi_first(run, &notice.outcome);
    for (uint64_t n = 0; n < notice.states && attn__mpi_works(run); n++) {
        attn__mpi_place place;
        attn__mpi_state *state;
        size_t bytes;
        memset(&place, 0, sizeof place);
        attn__mpi_move(run, &place, sizeof place, from, 0);
        bytes = attn__mpi_state_bytes(run, &run->items[place.item], (size_t)place.begin, (size_t)place.end);
        state = attn__mpi_new_state(run, (size_t)place.begin, (size_t)place.end, bytes);
        attn__mpi_move(run, state ? attn__mpi_data(state) : landing, bytes, from, 0);
        if (state) attn__mpi_add_state(run, &run->items[place.item], state);
    }
}

/* No state of any item is larger: none of a sequence that is twice as long, without its first and last block, is. */
static size_t attn__mpi_most_state_bytes(const attn__mpi_run *run)
{
    size_t length = 4 * ATTN_MPI_BLOCK, most = 0;
    while (length / 2 < run->d->kv_len) length *= 2;
    for (size_t i = 0; i < run->item_count; i++) {
        const size_t bytes = attn__mpi_state_bytes(run, &run->items[i], ATTN_MPI_BLOCK, length - ATTN_MPI_BLOCK);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* To the caller what TREE or RING has found, when nothing can fail any more. */
static void attn__mpi_deliver(attn__mpi_run *run)
{
    const attn_mpi_shard s = attn__mpi_shard_of(run, run->rank, ATTN__MPI_Q);
    attn_desc to = run->d->part;
    attn__mpi_lift_all(&to);
    if (run->results) attn__mpi_keep_rows(&to, run->results, &s);
    else attn__mpi_finish(run);
}

/* The whole sequence for some of the heads. */
static void attn__mpi_heads(attn__mpi_run *run)
{
    attn_desc d = run->part;
    attn__mpi_spread s[ATTN__MPI_SPREADS];
    const attn_array lse = attn__mpi_insert(&d.lse, 3), rowmax = attn__mpi_insert(&d.rowmax, 3),
                     rowsum = attn__mpi_insert(&d.rowsum, 3);
    char *buffers[2] = {NULL, NULL};
    size_t lo, hi;
    memset(s, 0, sizeof s);
    if (!run->d->q_everywhere) attn__mpi_spread_queries(run, &run->part, 0, s);
    s[4] = attn__mpi_spread_of(run, d.k, ATTN__MPI_KV, 0);
    s[5] = attn__mpi_spread_of(run, d.v, ATTN__MPI_KV, 0);
    s[6] = attn__mpi_spread_of(run, d.out, ATTN__MPI_Q, 0);
    s[7] = attn__mpi_spread_of(run, lse, ATTN__MPI_Q, 0);
    s[8] = attn__mpi_spread_of(run, rowmax, ATTN__MPI_Q, 0);
    s[9] = attn__mpi_spread_of(run, rowsum, ATTN__MPI_Q, 0);
    attn__mpi_spread_room(run, s, ATTN__MPI_SPREADS, buffers);
    if (attn__mpi_agree(run)) {
        double began;
        for (int i = 0; i < ATTN__MPI_SPREADS_IN; i++) attn__mpi_exchange(run, &s[i], buffers[0], buffers[1], 0);
        attn__mpi_take_queries(s, &d);
        d.k = s[4].whole;
        d.v = s[5].whole;
        d.out = s[6].whole;
        d.lse = attn__mpi_remove(&s[7].whole, 3);
        d.rowmax = attn__mpi_remove(&s[8].whole, 3);
        d.rowsum = attn__mpi_remove(&s[9].whole, 3);
        attn__mpi_heads_of(run, run->rank, run->part.q.shape[1], 0, &lo, &hi);
        if (!s[0].part.ndim) d.q = attn__mpi_slice(&d.q, 1, lo, hi - lo);
        if (!s[1].part.ndim) d.mask = attn__mpi_slice_of(&d.mask, 1, lo, hi - lo);
        if (!s[2].part.ndim) d.rel_bias = attn__mpi_slice_of(&d.rel_bias, 1, lo, hi - lo);
        d.alibi = attn__mpi_slice(&d.alibi, d.alibi.ndim - 1, lo, hi - lo);
        d.sinks = attn__mpi_slice(&d.sinks, 0, lo, hi - lo);
        began = MPI_Wtime();
        run->before = 0;
        run->share = 1;
        if (attn__mpi_works(run) && lo < hi) attn__mpi_note(run, attn_forward(&d, &run->exec));
        run->report.computing += MPI_Wtime() - began;
        if (attn__mpi_agree(run)) {
            attn__mpi_deliver(run);
            for (int i = ATTN__MPI_SPREADS_IN; i < ATTN__MPI_SPREADS; i++)
                attn__mpi_exchange(run, &s[i], buffers[0], buffers[1], 1);
        }
    }
    attn__mpi_spread_drop(run, s, ATTN__MPI_SPREADS, buffers);
}

/* The end of TREE and RING: those heads again, and results. */
static void attn__mpi_conclude(attn__mpi_run *run)
{
    attn_desc *p = &run->part;
    const size_t kv_heads = p->k.shape[1], group = kv_heads ? p->q.shape[1] / kv_heads : 0;
    attn_array *const by_head[] = {&p->q, &p->out, &p->lse, &p->rowmax, &p->rowsum};
    size_t lo, n;
    if (!attn__mpi_fine(run)) return;
    if (run->redo[1] == 0) {
        attn__mpi_deliver(run);
        return;
    }
    lo = (size_t)run->redo[0] / group;
    run->report.redone = n = ((size_t)-run->redo[1] - 1) / group + 1 - lo;
    for (int i = 0; i < 5; i++) *by_head[i] = attn__mpi_slice(by_head[i], 1, lo * group, n * group);
    p->k = attn__mpi_slice(&p->k, 1, lo, n);
    p->v = attn__mpi_slice(&p->v, 1, lo, n);
    p->mask = attn__mpi_slice_of(&p->mask, 1, lo * group, n * group);
    p->rel_bias = attn__mpi_slice_of(&p->rel_bias, 1, lo * group, n * group);
    p->alibi = attn__mpi_slice(&p->alibi, p->alibi.ndim - 1, lo * group, n * group);
    p->sinks = attn__mpi_slice(&p->sinks, 0, lo * group, n * group);
    attn__mpi_heads(run);
}

static void attn__mpi_tree(attn__mpi_run *run)
{
    const attn_mpi_desc *d = run->d;
    attn_mpi_shard all = {{0, 0}, {0, 0}};
    attn_desc whole = run->part;
    attn__mpi_spread s[ATTN__MPI_SPREADS_OF_Q];
    attn__mpi_notice notice;
    char *buffers[2] = {NULL, NULL}, *results;
    void *landing;
    size_t bytes;
    int step = 1;
    memset(s, 0, sizeof s);
    memset(&notice, 0, sizeof notice);
    all.end[0] = d->q_len;
    if (!d->q_everywhere) {
        attn__mpi_spread_queries(run, &run->part, 1, s);
        attn__mpi_spread_room(run, s, ATTN__MPI_SPREADS_OF_Q, buffers);
        attn__mpi_take_queries(s, &whole);
    }
    bytes = attn__mpi_results(&whole, NULL);
    results = (char *)attn__mpi_take(run, bytes);
    attn__mpi_results(&whole, results);
    attn__mpi_make_items(run, &whole, &all);
    landing = attn__mpi_take(run, attn__mpi_most_state_bytes(run));
    if (attn__mpi_agree(run)) {
        for (int i = 0; i < ATTN__MPI_SPREADS_OF_Q; i++) attn__mpi_exchange(run, &s[i], buffers[0], buffers[1], 0);
        attn__mpi_compute(run, &run->part.k, &run->part.v, &d->kv_shard, 0, 1);
        for (; step < run->ranks && !(run->rank & step); step *= 2)
            if (run->rank + step < run->ranks) attn__mpi_receive_states(run, run->rank + step, landing);
        if (step < run->ranks) {
            attn__mpi_send_states(run, run->rank - step);
            attn__mpi_move(run, &notice, sizeof notice, run->rank - step, 0);
            if (attn__mpi_works(run)) run->outcome = notice.outcome, memcpy(run->redo, notice.redo, sizeof run->redo);
            if (attn__mpi_fine(run)) attn__mpi_move(run, results, bytes, run->rank - step, 0);
        } else {
            attn__mpi_look(run);
            attn__mpi_finish(run);
        }
        notice.outcome = run->outcome;
        memcpy(notice.redo, run->redo, sizeof run->redo);
        while ((step /= 2) > 0)
            if (run->rank + step < run->ranks) {
                attn__mpi_move(run, &notice, sizeof notice, run->rank + step, 1);
                if (attn__mpi_fine(run)) attn__mpi_move(run, results, bytes, run->rank + step, 1);
            }
    }
    attn__mpi_release(run, landing);
    attn__mpi_spread_drop(run, s, ATTN__MPI_SPREADS_OF_Q, buffers);
    run->results = &whole;
    attn__mpi_conclude(run);
    attn__mpi_release(run, results);
}

/* Keys and values of a rank, packed in memory. Returns the bytes. */
static size_t attn__mpi_payload(const attn__mpi_run *run, int rank, char *memory, attn_array *k, attn_array *v)
{
    size_t k_bytes;
    *k = run->part.k;
    *v = run->part.v;
    k->shape[2] = v->shape[2] = attn__mpi_rows_of(run, rank, ATTN__MPI_KV);
    k_bytes = (attn__mpi_bytes(k) + 15) / 16 * 16;
    *k = attn__mpi_packed(k, memory);
    *v = attn__mpi_packed(v, memory ? memory + k_bytes : NULL);
    return k_bytes + attn__mpi_bytes(v);
}

static void attn__mpi_ring(attn__mpi_run *run)
{
    const int n = run->ranks, right = (run->rank + 1) % n, left = (run->rank + n - 1) % n;
    char *buffers[2] = {NULL, NULL};
    attn_array k, v;
    size_t most = 0;
    for (int r = 0; r < n && n > 1; r++) {
        const size_t bytes = attn__mpi_payload(run, r, NULL, &k, &v);
        most = bytes > most ? bytes : most;
    }
    for (int i = 0; i < 2 && n > 1; i++) buffers[i] = (char *)attn__mpi_take(run, most);
    attn__mpi_request_room(run, most);
    attn__mpi_make_items(run, &run->part, &run->d->q_shard);
    if (attn__mpi_agree(run)) {
        if (n > 1) {
            attn__mpi_payload(run, run->rank, buffers[0], &k, &v);
            attn__mpi_assign(&k, &run->part.k);
            attn__mpi_assign(&v, &run->part.v);
        }
        for (int step = 0; step < n && attn__mpi_works(run); step++) {
            const int owner = (run->rank - step + n) % n, next = (owner - 1 + n) % n;
            const attn_mpi_shard s = attn__mpi_shard_of(run, owner, ATTN__MPI_KV);
            char *here = buffers[step % 2], *coming = buffers[(step + 1) % 2];
            if (step + 1 < n)
                attn__mpi_begin_step(run, here, attn__mpi_payload(run, owner, here, &k, &v), right, coming,
                                     attn__mpi_payload(run, next, coming, &k, &v), left);
            attn__mpi_payload(run, owner, here, &k, &v);
            if (step == 0) k = run->part.k, v = run->part.v;
            attn__mpi_compute(run, &k, &v, &s, (size_t)step, (size_t)n);
            attn__mpi_end(run);
        }
        attn__mpi_look(run);
        attn__mpi_agree(run);
    }
    for (int i = 0; i < 2; i++) attn__mpi_release(run, buffers[i]);
    attn__mpi_release(run, run->requests);
    attn__mpi_conclude(run);
}

/* Bytes that the busiest rank sends, near enough to choose by. */
static attn_mpi_schedule attn__mpi_choose(const attn__mpi_run *run)
{
    const attn_desc *p = &run->part;
    const double n = run->ranks, batch = (double)p->q.shape[0], heads = (double)p->q.shape[1],
                 q_row = (double)attn__mpi_row_bytes(&p->q), out_row = (double)attn__mpi_row_bytes(&p->out),
                 kv_row = (double)(p->k.shape[1] * (attn__mpi_row_bytes(&p->k) + attn__mpi_row_bytes(&p->v))),
                 rows = (double)run->d->q_len, keys = (double)run->d->kv_len, element = p->q.dtype == ATTN_F64 ? 8 : 4,
                 state_row = element * ((double)p->v.shape[3] + 31) + 32;
    double ring = 0, tree, each, levels = 0;
    if (run->d->schedule != ATTN_MPI_AUTO) return run->d->schedule;
    if (run->d->q_everywhere) return ATTN_MPI_TREE;
    for (int reach = 1; reach < run->ranks; reach *= 2) levels++;
    ring = batch * keys * kv_row * (n - 1) / n;
    tree = batch * heads * rows * (q_row * (n - 1) / n + state_row + levels * out_row);
    each = batch * (heads * rows * (q_row + out_row) + keys * kv_row) / n * (n - 1) / n;
    if (p->k.shape[1] && p->k.shape[1] % (size_t)run->ranks == 0 && each <= ring && each <= tree) return ATTN_MPI_HEADS;
    return tree < ring ? ATTN_MPI_TREE : ATTN_MPI_RING;
}

/* ------------------------------------------------------ public functions -- */

ATTN_DEF attn_mpi_desc attn_mpi_desc_default(void)
{
    attn_mpi_desc d;
    memset(&d, 0, sizeof d);
    d.part = attn_desc_default();
    return d;
}

ATTN_DEF size_t attn_mpi_rows(const attn_mpi_shard *shard)
{
    return shard->end[0] - shard->begin[0] + (shard->end[1] - shard->begin[1]);
}

ATTN_DEF attn_mpi_shard attn_mpi_cut(size_t length, size_t unit, int rank, int ranks, int zigzag)
{
    attn_mpi_shard s = {{0, 0}, {0, 0}};
    const size_t one = unit ? unit : 1, units = length / one + (length % one != 0);
    const size_t pieces = ranks < 1 ? 1 : (size_t)ranks * (zigzag ? 2 : 1), base = units / pieces,
                 more = units % pieces;
    if (rank < 0 || rank >= ranks) return s;
    for (int i = 0; i < (zigzag ? 2 : 1); i++) {
        const size_t piece = i ? pieces - 1 - (size_t)rank : (size_t)rank,
                     begin = piece * base + (piece < more ? piece : more), end = begin + base + (piece < more);
        s.begin[i] = begin < units ? begin * one : length;
        s.end[i] = end < units ? end * one : length;
    }
    return s;
}

ATTN_DEF int attn_mpi_open(attn_mpi *ranks, MPI_Comm comm)
{
    int fine, all = 0;
    if (!ranks) return ATTN_ERR_NULL;
    ranks->comm = MPI_COMM_NULL;
    ranks->records = NULL;
    ranks->rank = ranks->ranks = 0;
    if (MPI_Comm_dup(comm, &ranks->comm) != MPI_SUCCESS) return ATTN_MPI_ERR_MPI;
    if (MPI_Comm_set_errhandler(ranks->comm, MPI_ERRORS_RETURN) != MPI_SUCCESS ||
        MPI_Comm_rank(ranks->comm, &ranks->rank) != MPI_SUCCESS ||
        MPI_Comm_size(ranks->comm, &ranks->ranks) != MPI_SUCCESS) {
        attn_mpi_close(ranks);
        return ATTN_MPI_ERR_MPI;
    }
    ranks->records = (uint64_t *)ATTN_MPI_MALLOC((size_t)ranks->ranks * (ATTN__MPI_WORDS + 4) * sizeof *ranks->records);
    fine = ranks->records != NULL;
    if (MPI_Allreduce(&fine, &all, 1, MPI_INT, MPI_MIN, ranks->comm) == MPI_SUCCESS && all) return ATTN_OK;
    attn_mpi_close(ranks);
    return all ? (int)ATTN_MPI_ERR_MPI : (int)ATTN_ERR_MEMORY;
}

ATTN_DEF int attn_mpi_close(attn_mpi *ranks)
{
    int fine = 1;
    if (!ranks) return ATTN_ERR_NULL;
    ATTN_MPI_FREE(ranks->records);
    ranks->records = NULL;
    if (ranks->comm != MPI_COMM_NULL) fine = MPI_Comm_free(&ranks->comm) == MPI_SUCCESS;
    return fine ? (int)ATTN_OK : (int)ATTN_MPI_ERR_MPI;
}

ATTN_DEF int attn_mpi_forward(const attn_mpi *ranks, const attn_mpi_desc *desc, const attn_exec *exec,
                              attn_mpi_report *report)
{
    const attn_mpi_desc absent = attn_mpi_desc_default();
    attn__mpi_run run;
    uint64_t words[ATTN__MPI_WORDS];
    if (!ranks || ranks->comm == MPI_COMM_NULL) return ATTN_ERR_NULL;
    memset(&run, 0, sizeof run);
    run.report.seconds = MPI_Wtime();
    run.d = desc ? desc : &absent;
    run.comm = ranks->comm;
    run.rank = ranks->rank;
    run.ranks = ranks->ranks;
    run.records = ranks->records;
    run.message = run.d->message ? run.d->message : (size_t)1 << 30;
    run.outcome.code = ATTN__MPI_FINE;
    run.redo[0] = INT64_MAX;
    run.exec = exec ? *exec : attn_exec_default();
    run.part = run.d->part;
    if (!desc) attn__mpi_fail(&run, ATTN_ERR_NULL, "desc");
    else attn__mpi_check(&run);
    run.exec.argument = &run.argument;
    run.user_for = run.exec.parallel_for;
    run.user_context = run.exec.parallel_context;
    if (run.user_for || !run.exec.workspace) {
        run.exec.parallel_for = attn__mpi_for;
        run.exec.parallel_context = &run;
        if (!run.user_for) run.exec.num_workers = 2; /* of one it would not be called */
    }
    attn__mpi_lift_all(&run.part);
    attn__mpi_describe(&run, words);
    if (attn__mpi_did(&run, MPI_Allgather(words, ATTN__MPI_WORDS, MPI_UINT64_T, run.records, ATTN__MPI_WORDS,
                                          MPI_UINT64_T, run.comm)))
        run.outcome = attn__mpi_judge(&run);
    if (attn__mpi_fine(&run)) {
        run.report.schedule = attn__mpi_choose(&run);
        if (run.report.schedule == ATTN_MPI_TREE) attn__mpi_tree(&run);
        else if (run.report.schedule == ATTN_MPI_RING) attn__mpi_ring(&run);
        else attn__mpi_heads(&run);
    }
    attn__mpi_drop(&run);
    run.report.seconds = MPI_Wtime() - run.report.seconds;
    run.report.failed = -1;
    if (!attn__mpi_fine(&run)) {
        run.report.failed = (int)(run.outcome.code >> 32);
        memcpy(run.report.argument, run.outcome.argument, sizeof run.report.argument);
    }
    if (report) *report = run.report;
    return attn__mpi_fine(&run) ? ATTN_OK : (int)(run.outcome.code & INT32_MAX);
}

ATTN_DEF const char *attn_mpi_status_string(int status)
{
#define ATTN__X(name, text) text,
    static const char *const texts[] = {ATTN__MPI_STATUSES(ATTN__X)};
#undef ATTN__X
    if (status > ATTN_MPI_ERR_NONE && status < ATTN_MPI_STATUS_COUNT) return texts[status - ATTN_MPI_ERR_NONE - 1];
    return attn_status_string((attn_status)status);
}

ATTN_DEF const char *attn_mpi_schedule_name(attn_mpi_schedule schedule)
{
#define ATTN__X(NAME, name) #name,
    static const char *const names[] = {ATTN__MPI_SCHEDULES(ATTN__X)};
#undef ATTN__X
    return (unsigned)schedule < ATTN_MPI_SCHEDULE_COUNT ? names[schedule] : "unknown";
}

#endif /* ATTENTION_MPI_IMPLEMENTATION */
