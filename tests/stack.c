/* SPDX-License-Identifier: MIT-0
 *
 * stack.c - the stack that the functions of attention.h take. tests/stack.sh links it with the
 * implementation, compiled at several levels. Each call runs in a thread whose stack was painted;
 * what it leaves of the paint tells how deep it went, compared with a call that does nothing.
 * The deepest also run in a coroutine of so many KiB between two guards, if COROUTINES is defined,
 * and in threads of so many.
 * Prints a line for each function: its name, the most bytes, in which call.
 * Usage: stack COROUTINE THREAD ...
 */
#include "attention.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef COROUTINES
#include <ucontext.h>
#endif

enum { STACK = 4 << 20, GUARD = 1 << 20, POOL = 32 << 20, WORKSPACE = 8 << 20, TURNS = 4 };
static const uint64_t paint = UINT64_C(0xa5a5a5a5a5a5a5a5);

static unsigned char *pool, *workspace;
static uint64_t *stack;     /* above the guard */
static unsigned char *room; /* between guards */
static size_t room_size, used, reached;
static pthread_attr_t small[4]; /* threads */
static int num_small;

/* The arguments of a call. They lie here because its own stack is what is measured. */
static struct {
    attn_array a, b, c, d, e, f, g;
    attn_desc desc;
    attn_layer layer;
    attn_exec exec;
    attn_path path;
    double number;
    int axis, flag;
    void *state[3];
    size_t size[3];
    attn_status status;
    attn_array array;
    attn_exec made_exec;
    attn_desc made_desc;
    attn_layer made_layer;
    attn_path made_path;
    attn_rotation rotation;
    attn_cache cache;
    const char *text;
    size_t count;
} with;

/* Every public function, and how it is called. tests/stack.sh compares the names with the header's. */
/* clang-format off */
#define FUNCTIONS(X) \
    X(attn_array_1d, with.array = attn_array_1d(ATTN_F32, pool, 2)) \
    X(attn_array_2d, with.array = attn_array_2d(ATTN_F32, pool, 2, 3)) \
    X(attn_array_3d, with.array = attn_array_3d(ATTN_F32, pool, 2, 3, 4)) \
    X(attn_array_4d, with.array = attn_array_4d(ATTN_F32, pool, 2, 3, 4, 5)) \
    X(attn_array_bshd, with.array = attn_array_bshd(ATTN_F32, pool, 2, 3, 4, 5)) \
    X(attn_array_strided, with.array = attn_array_strided(ATTN_F32, pool, 2, 3, 4, 5, 60, 20, 5, 1)) \
    X(attn_array_swap, with.array = attn_array_swap(with.a, 0, 1)) \
    X(attn_exec_default, with.made_exec = attn_exec_default()) \
    X(attn_exec_in, with.made_exec = attn_exec_in(workspace, WORKSPACE)) \
    X(attn_desc_default, with.made_desc = attn_desc_default()) \
    X(attn_layer_default, with.made_layer = attn_layer_default()) \
    X(attn_desc_pytorch, with.made_desc = attn_desc_pytorch(1)) \
    X(attn_desc_onnx, with.made_desc = attn_desc_onnx(1, 7)) \
    X(attn_desc_flash, with.made_desc = attn_desc_flash(1, 7, -1)) \
    X(attn_dtype_size, with.count = attn_dtype_size(ATTN_F16)) \
    X(attn_dtype_block, with.count = attn_dtype_block(ATTN_Q8_0)) \
    X(attn_dtype_name, with.text = attn_dtype_name(ATTN_F16)) \
    X(attn_status_string, with.text = attn_status_string(ATTN_ERR_PAGE)) \
    X(attn_version, with.text = attn_version()) \
    X(attn_path_name, with.text = attn_path_name(with.path)) \
    X(attn_path_compiled, with.flag = attn_path_compiled(with.path)) \
    X(attn_path_supported, with.flag = attn_path_supported(with.path)) \
    X(attn_path_native, with.flag = attn_path_native(with.path)) \
    X(attn_best_path, with.made_path = attn_best_path()) \
    X(attn_arithmetic, with.text = attn_arithmetic()) \
    X(attn_self_test, with.status = attn_self_test(&with.exec)) \
    X(attn_matmul, with.status = attn_matmul(&with.a, &with.b, &with.c, &with.exec)) \
    X(attn_compute_qkv, with.status = attn_compute_qkv(&with.a, &with.b, &with.c, &with.d, &with.e, \
                                                       &with.f, &with.g, &with.exec)) \
    X(attn_scores, with.status = attn_scores(&with.a, &with.b, with.number, &with.c, &with.exec)) \
    X(attn_softmax, with.status = attn_softmax(&with.a, with.axis, &with.b, &with.exec)) \
    X(attn_weighted_sum, with.status = attn_weighted_sum(&with.a, &with.b, &with.c, &with.exec)) \
    X(attn_self_attention, with.status = attn_self_attention(&with.a, &with.b, &with.c, &with.d, \
                                                             with.flag ? &with.e : NULL, &with.exec)) \
    X(attn_sdpa_f32, with.status = attn_sdpa_f32((const float *)with.a.data, (const float *)with.b.data, \
                                                 (const float *)with.b.data, (float *)with.c.data, 1, 2, 1, 60, 600, 8, 1)) \
    X(attn_sdpa_f64, with.status = attn_sdpa_f64((const double *)with.a.data, (const double *)with.b.data, \
                                                 (const double *)with.b.data, (double *)with.c.data, 1, 2, 1, 60, 600, 8, 1)) \
    X(attn_workspace_size, with.status = attn_workspace_size(&with.desc, 2, &with.count)) \
    X(attn_forward, with.status = attn_forward(&with.desc, &with.exec)) \
    X(attn_state_size, with.status = attn_state_size(&with.desc, &with.count)) \
    X(attn_partial, with.status = attn_partial(&with.desc, with.state[0], with.size[0], &with.exec)) \
    X(attn_state_merged_size, with.status = attn_state_merged_size(with.state[0], with.state[1], \
                                                                   &with.count)) \
    X(attn_state_merge, with.status = attn_state_merge(with.state[0], with.state[1], with.state[2], \
                                                       with.size[2], with.path)) \
    X(attn_state_redone, with.status = attn_state_redone(with.state[2], &with.count, &with.size[1])) \
    X(attn_state_finish, with.status = attn_state_finish(&with.desc, with.state[2], with.path)) \
    X(attn_cache_append, with.status = attn_cache_append(&with.a, &with.b, &with.c, \
                                                         with.flag ? &with.d : NULL)) \
    X(attn_cache_append_scaled, \
      with.status = attn_cache_append_scaled(&with.a, &with.e, NULL, ATTN_SCALES_FOUND, &with.b, &with.c, \
                                             with.flag ? &with.d : NULL)) \
    X(attn_quantize, with.status = attn_quantize(&with.b, &with.a, &with.e, NULL, ATTN_SCALES_FOUND)) \
    X(attn_dequantize, with.status = attn_dequantize(&with.a, &with.e, NULL, &with.b)) \
    X(attn_rotary, with.status = attn_rotary(&with.a, &with.b, 0, with.count, with.flag, &with.c)) \
    X(attn_rotate, with.status = attn_rotate(&with.rotation, &with.a, &with.b, &with.c)) \
    X(attn_rotation_default, with.rotation = attn_rotation_default()) \
    X(attn_cache_append_rotated, \
      with.status = attn_cache_append_rotated(&with.c, &with.rotation, &with.a, &with.b, NULL, NULL)) \
    X(attn_cache_default, with.cache = attn_cache_default()) \
    X(attn_cache_write, with.status = attn_cache_write(&with.cache, &with.b, &with.c, \
                                                       with.flag ? &with.rotation : NULL, NULL)) \
    X(attn_rotary_llama3, with.status = attn_rotary_llama3(5e5, 8, 1, 4, 8192, &with.e)) \
    X(attn_rotary_yarn, with.status = attn_rotary_yarn(1e6, 4, 0, 0, 32768, &with.e, &with.number)) \
    X(attn_rotary_tables, with.status = attn_rotary_tables(&with.a, &with.b, &with.d, with.flag, &with.c)) \
    X(attn_layer_forward, with.status = attn_layer_forward(&with.layer, &with.exec))

#define NUMBER(name, call) NUMBER_##name,
#define NAME(name, call) #name,
#define CASE(name, call) \
    case NUMBER_##name: call; break;
/* clang-format on */
typedef enum function { FUNCTIONS(NUMBER) NOTHING } function;
static const char *const names[] = {FUNCTIONS(NAME)};

static size_t most[NOTHING], nothing_takes;
static char worst[NOTHING][80];

static void nothing(void) {}
static void (*volatile do_nothing)(void) = nothing;

/* Bytes from the lowest address that is no longer as it was painted up to the top. */
static size_t depth(void)
{
    size_t at = 0;
    while (at < STACK / sizeof *stack && stack[at] == paint) at++;
    return STACK - at * sizeof *stack;
}

/* Most of it is as it was. */
static void repaint(void)
{
    for (size_t i = 0; i < STACK / sizeof *stack; i++)
        if (stack[i] != paint) stack[i] = paint;
}

static void *call(void *number)
{
    switch (*(const function *)number) {
        FUNCTIONS(CASE)
    case NOTHING: do_nothing(); break;
    }
    return NULL;
}

static void *call_and_look(void *number)
{
    call(number);
    reached = depth();
    return NULL;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static size_t measure(function f)
{
    pthread_t thread;
    pthread_attr_t attributes;
    repaint();
    with.status = ATTN_OK;
    if (pthread_attr_init(&attributes) || pthread_attr_setstack(&attributes, stack, STACK))
        die("pthread_attr_setstack", "fails");
    if (pthread_create(&thread, &attributes, call_and_look, &f) || pthread_join(thread, NULL))
        die("pthread_create", "fails");
    pthread_attr_destroy(&attributes);
    return reached;
}

#ifdef COROUTINES
static ucontext_t caller, coroutine;
static function running;

static void run_coroutine(void) { call(&running); }

static void in_coroutine(function f)
{
    running = f;
    if (getcontext(&coroutine)) die("getcontext", "fails");
    coroutine.uc_stack.ss_sp = room;
    coroutine.uc_stack.ss_size = room_size;
    coroutine.uc_link = &caller;
    makecontext(&coroutine, run_coroutine, 0);
    if (swapcontext(&caller, &coroutine)) die("swapcontext", "fails");
}
#else
static void in_coroutine(function f) { (void)f; }
#endif

/* The first call of each function, and those that go deeper. Where a stack is too small, the program ends here. */
static void on_small_stacks(function f)
{
    in_coroutine(f);
    for (int i = 0; i < num_small; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &small[i], call, &f) || pthread_join(thread, NULL)) die("pthread_create", "fails");
    }
}

static void make_small_stacks(int count, char **kib)
{
    unsigned char *guarded;
    if (count < 2 || count > 5) die("usage", "stack COROUTINE THREAD ...");
    room_size = (size_t)atoi(kib[1]) << 10;
    guarded = mmap(NULL, 2 * GUARD + room_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    room = guarded + GUARD;
    if (guarded == MAP_FAILED || mprotect(guarded, GUARD, PROT_NONE) || mprotect(room + room_size, GUARD, PROT_NONE))
        die("memory", "is not to be had");
    for (int i = 2; i < count; i++) {
        if (pthread_attr_init(&small[num_small])) die("pthread_attr_init", "fails");
        if (!pthread_attr_setstacksize(&small[num_small], (size_t)atoi(kib[i]) << 10)) num_small++;
        else fprintf(stderr, "no threads of %s KiB here\n", kib[i]); /* less than PTHREAD_STACK_MIN */
    }
}

/* A second time where it goes deeper than before, since the first call of a library's function may bind it. */
static void take(function f, const char *what)
{
    size_t bytes = measure(f);
    if (bytes > nothing_takes + most[f]) bytes = measure(f);
    if (with.status) die(names[f], attn_status_string(with.status));
    if (bytes <= nothing_takes + most[f] && *worst[f]) return;
    on_small_stacks(f);
    most[f] = bytes > nothing_takes ? bytes - nothing_takes : 0;
    snprintf(worst[f], sizeof worst[f], "%s, %s", attn_path_name(with.path), what);
}

/* A function that runs in a workspace: how much of it, then the work. */
static void run(function f, const char *what)
{
    size_t bytes = 0;
    with.exec.path = with.path;
    with.exec.query = &bytes;
    take(f, what);
    if (bytes > WORKSPACE) die(names[f], "needs a larger workspace");
    with.exec.query = NULL;
    with.exec.workspace = workspace;
    with.exec.workspace_size = bytes;
    take(f, what);
}

/* Tasks of several workers, on the stack of the caller. */
static void by_turns(void *context, size_t count, attn_task task, void *arg)
{
    (void)context;
    for (size_t i = 0; i < count; i++) task(arg, i, i % TURNS);
}

static void workers(int several)
{
    with.exec = attn_exec_default();
    if (!several) return;
    with.exec.parallel_for = by_turns;
    with.exec.num_workers = TURNS;
}

/* ------------------------------------------------------------------ arrays -- */

static void *memory(size_t bytes)
{
    void *p = pool + used;
    used += (bytes + 63) / 64 * 64;
    if (used > POOL) die("the arrays", "do not fit");
    return p;
}

static void put(const attn_array *a, size_t i, double value)
{
    switch (a->dtype) {
    case ATTN_F64: ((double *)a->data)[i] = value; break;
    case ATTN_F32: ((float *)a->data)[i] = (float)value; break;
    case ATTN_I64: ((int64_t *)a->data)[i] = (int64_t)value; break;
    case ATTN_BIT: /* i bits of i bytes */
    case ATTN_BOOL: ((unsigned char *)a->data)[i] = value > -1; break;
    default: ((uint16_t *)a->data)[i] = (uint16_t)(0x3000 + (int)(value * 256)); /* small in either format */
    }
}

/* Numbers in [-2, 2), always the same. */
static attn_array filled(attn_dtype type, size_t n0, size_t n1, size_t n2, size_t n3)
{
    const size_t n = n0 * n1 * n2 * n3;
    const attn_array a = attn_array_4d(type, memory(n * attn_dtype_size(type)), n0, n1, n2, n3);
    uint32_t seed = 1;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        put(&a, i, (double)(seed >> 8) / 4194304 - 2);
    }
    return a;
}

static attn_array matrix(attn_dtype type, size_t rows, size_t columns)
{
    const attn_array a = filled(type, 1, 1, rows, columns);
    return attn_array_2d(type, a.data, rows, columns);
}

static attn_array vector(attn_dtype type, size_t n)
{
    const attn_array a = filled(type, 1, 1, 1, n);
    return attn_array_1d(type, a.data, n);
}

/* The same numbers, with the last two axes the other way round in memory. */
static attn_array turned(attn_dtype type, size_t rows, size_t columns)
{
    const attn_array a = matrix(type, columns, rows);
    return attn_array_swap(a, 0, 1);
}

static double huge(attn_dtype type) { return type == ATTN_F64 ? 1e308 : 3e38; }

/* --------------------------------------------------------------- attention -- */

static void problem(attn_dtype type, size_t q_len, size_t kv_len, size_t dim, size_t dim_v)
{
    used = 0;
    with.desc = attn_desc_default();
    with.desc.q = filled(type, 1, 4, q_len, dim);
    with.desc.k = filled(type, 1, 2, kv_len, dim);
    with.desc.v = filled(type, 1, 2, kv_len, dim_v);
    with.desc.out = filled(type, 1, 4, q_len, dim_v);
}

/* Some more of what scores depend on, and of what can be asked for. */
static void options(attn_dtype type, attn_dtype mask)
{
    const size_t q_len = with.desc.q.shape[2], kv_len = with.desc.k.shape[2];
    with.desc.causal = 1;
    with.desc.align = ATTN_ALIGN_LOWER_RIGHT;
    with.desc.window = 1;
    with.desc.window_left = 700;
    with.desc.window_right = -1;
    with.desc.softcap = 5;
    with.desc.mask = filled(mask, 1, 1, q_len, kv_len);
    with.desc.alibi = vector(type, 4);
    with.desc.rel_bias = vector(type, 900);
    with.desc.sinks = vector(type, 4);
    with.desc.lse = filled(type, 1, 1, 4, q_len);
    with.desc.lse = attn_array_3d(type, with.desc.lse.data, 1, 4, q_len);
    with.desc.rowmax = with.desc.rowsum = with.desc.lse;
    with.desc.rowmax.data = filled(type, 1, 1, 4, q_len).data;
    with.desc.rowsum.data = filled(type, 1, 1, 4, q_len).data;
}

static void outputs(attn_dtype type, attn_stage stage)
{
    const size_t q_len = with.desc.q.shape[2], kv_len = with.desc.k.shape[2];
    with.desc.stage = stage;
    with.desc.scores = filled(type, 1, 4, q_len, kv_len);
}

static void column_sums(attn_dtype type)
{
    const size_t kv_len = with.desc.k.shape[2];
    const attn_array a = filled(type, 1, 1, 4, kv_len);
    with.desc.colsum = attn_array_3d(type, a.data, 1, 4, kv_len);
}

/* One row's scores overflow, and are done again from scaled numbers; or sums of values do. */
static void overflow(attn_dtype type, int of_values)
{
    if (of_values)
        for (size_t i = 0; i < with.desc.v.shape[2] * with.desc.v.shape[3]; i++) put(&with.desc.v, i, huge(type));
    for (size_t i = 0; i < with.desc.q.shape[3] && !of_values; i++) put(&with.desc.q, i, huge(type));
    for (size_t i = 0; i < with.desc.k.shape[3] && !of_values; i++) put(&with.desc.k, i, huge(type));
}

static void pages(attn_dtype type, size_t q_len, size_t count, size_t size)
{
    used = 0;
    with.desc = attn_desc_default();
    with.desc.q = filled(type, 2, 4, q_len, 16);
    with.desc.out = filled(type, 2, 4, q_len, 16);
    with.desc.k = filled(type, count, 2, size, 16);
    with.desc.v = filled(type, count, 2, size, 16);
    with.desc.block_table = matrix(ATTN_I64, 2, count);
    with.desc.kv_lens = vector(ATTN_I64, 2);
    for (size_t i = 0; i < 2 * count; i++) put(&with.desc.block_table, i, (double)((i * 5 + 3) % count));
    for (size_t i = 0; i < 2; i++) put(&with.desc.kv_lens, i, (double)(size * count - i));
    with.desc.causal = 1;
    with.desc.align = ATTN_ALIGN_LOWER_RIGHT;
}

static void packed(attn_dtype type)
{
    static const double ends[3] = {0, 9, 30};
    used = 0;
    with.desc = attn_desc_default();
    with.desc.q = filled(type, 1, 4, 30, 16);
    with.desc.k = filled(type, 1, 2, 30, 16);
    with.desc.v = filled(type, 1, 2, 30, 16);
    with.desc.out = filled(type, 1, 4, 30, 16);
    with.desc.cu_seqlens_q = vector(ATTN_I64, 3);
    with.desc.cu_seqlens_k = vector(ATTN_I64, 3);
    for (size_t i = 0; i < 3; i++) {
        put(&with.desc.cu_seqlens_q, i, ends[i]);
        put(&with.desc.cu_seqlens_k, i, ends[i]);
    }
    with.desc.causal = 1;
}

/* The same over pages, with intervals, scores and column sums. */
static void packed_pages(attn_dtype type)
{
    packed(type);
    with.desc.cu_seqlens_k.ndim = 0, with.desc.cu_seqlens_k.data = NULL;
    with.desc.k = filled(type, 80, 2, 8, 16);
    with.desc.v = filled(type, 80, 2, 8, 16);
    with.desc.block_table = matrix(ATTN_I64, 2, 75);
    with.desc.kv_lens = vector(ATTN_I64, 2);
    with.desc.q_bounds = matrix(ATTN_I64, 30, 4);
    for (size_t i = 0; i < 2 * 75; i++) put(&with.desc.block_table, i, (double)(i * 7 % 80));
    for (size_t i = 0; i < 2; i++) put(&with.desc.kv_lens, i, (double)(600 - 9 * i));
    for (size_t i = 0; i < 30 * 4; i++) put(&with.desc.q_bounds, i, (double)(i % 4 * 200));
    with.desc.scores = filled(type, 1, 4, 30, 600);
    with.desc.colsum = filled(type, 1, 2, 4, 600);
    with.desc.colsum = attn_array_3d(type, with.desc.colsum.data, 2, 4, 600);
}

static void try_plain_call(attn_dtype type)
{
    used = 0;
    with.a = filled(type, 1, 2, 60, 8);
    with.b = filled(type, 1, 1, 600, 8);
    with.c = filled(type, 1, 2, 60, 8);
    take(type == ATTN_F64 ? NUMBER_attn_sdpa_f64 : NUMBER_attn_sdpa_f32, "60 queries, 600 keys");
}

static void try_forward(attn_dtype type)
{
    for (int several = 0; several < 2; several++) {
        workers(several);
        problem(type, 6, 8, 4, 4);
        run(NUMBER_attn_forward, "6 queries, 8 keys");
        take(NUMBER_attn_workspace_size, "6 queries, 8 keys");
        with.desc.causal = 1;
        run(NUMBER_attn_forward, "6 queries, 8 keys, causal");
        overflow(type, 0);
        run(NUMBER_attn_forward, "6 queries, 8 keys, rows that overflow");
        problem(type, 19, 600, 20, 24);
        run(NUMBER_attn_forward, "prefill");
        options(type, ATTN_BOOL);
        run(NUMBER_attn_forward, "prefill, all options");
        problem(type, 19, 600, 20, 24);
        options(type, type);
        for (int stage = 0; stage < ATTN_STAGE_COUNT; stage++) {
            outputs(type, (attn_stage)stage);
            run(NUMBER_attn_forward, "prefill, all options, scores");
        }
        column_sums(type);
        run(NUMBER_attn_forward, "prefill, all options, scores, column sums");
        overflow(type, 0);
        run(NUMBER_attn_forward, "prefill, all options, scores, column sums, rows that overflow");
        for (int of_values = 0; of_values < 2; of_values++) {
            problem(type, 19, 600, 20, 24);
            overflow(type, of_values);
            run(NUMBER_attn_forward, "prefill, rows that overflow");
        }
        problem(type, 1, 1100, 20, 24);
        run(NUMBER_attn_forward, "decode");
        options(type, ATTN_BIT);
        run(NUMBER_attn_forward, "decode, all options");
        overflow(type, 0);
        run(NUMBER_attn_forward, "decode, all options, rows that overflow");
        problem(type, 1, 5000, 3, 2);
        run(NUMBER_attn_forward, "decode, 5000 keys");
        problem(type, 150, 40, 5, 5);
        run(NUMBER_attn_forward, "150 queries");
        problem(type, 3, 40, 600, 530);
        run(NUMBER_attn_forward, "600 elements a row");
        pages(type, 5, 37, 16);
        run(NUMBER_attn_forward, "pages");
        pages(type, 1, 3, 512);
        run(NUMBER_attn_forward, "decode, pages");
        packed(type);
        run(NUMBER_attn_forward, "packed sequences");
        packed_pages(type);
        run(NUMBER_attn_forward, "packed queries over pages");
        overflow(type, 0);
        run(NUMBER_attn_forward, "packed queries over pages, rows that overflow");
    }
}

static void try_strided(attn_dtype type)
{
    problem(type, 19, 70, 20, 24);
    with.desc.q = turned(type, 19, 20);
    with.desc.k = turned(type, 70, 20);
    with.desc.v = turned(type, 70, 24);
    with.desc.out = turned(type, 19, 24);
    with.desc.mask = turned(ATTN_BOOL, 19, 70);
    workers(0);
    run(NUMBER_attn_forward, "strides");
}

static void try_halves(void)
{
    static const attn_dtype halves[2] = {ATTN_F16, ATTN_BF16};
    for (int i = 0; i < 2; i++)
        for (size_t q_len = 1; q_len < 30; q_len += 18) {
            workers(0);
            problem(halves[i], q_len, 600, 20, 64);
            run(NUMBER_attn_forward, attn_dtype_name(halves[i]));
            options(ATTN_F32, halves[i]);
            run(NUMBER_attn_forward, attn_dtype_name(halves[i]));
            pages(halves[i], q_len, 37, 16);
            run(NUMBER_attn_forward, attn_dtype_name(halves[i]));
        }
}

/* The state of the keys from kv_begin on, in with.state[0]. */
static void part(const attn_desc *whole, size_t begin, size_t end, const char *what)
{
    const size_t size = attn_dtype_size(whole->k.dtype);
    with.desc = *whole;
    with.desc.kv_begin = begin;
    with.desc.k.data = (char *)whole->k.data + begin * size * whole->k.shape[3];
    with.desc.v.data = (char *)whole->v.data + begin * size * whole->v.shape[3];
    for (int i = 0; i < ATTN_MAX_DIMS; i++) with.desc.k.stride[i] = with.desc.v.stride[i] = 0;
    with.desc.k.shape[0] = with.desc.v.shape[0] = 1;
    with.desc.k.shape[1] = with.desc.v.shape[1] = 1;
    with.desc.k.shape[2] = with.desc.v.shape[2] = end - begin;
    take(NUMBER_attn_state_size, what);
    with.size[0] = with.count;
    with.state[0] = memory(with.count);
    run(NUMBER_attn_partial, what);
}

static void try_states(attn_dtype type, int odd, int several, size_t cut, const char *what)
{
    used = 0;
    attn_desc whole = attn_desc_default();
    whole.q = filled(type, 1, 2, 7, 20);
    whole.k = filled(type, 1, 1, 1300, 20);
    whole.v = filled(type, 1, 1, 1300, 24);
    whole.out = filled(type, 1, 2, 7, 24);
    with.desc = whole;
    if (odd) overflow(type, odd > 1);
    workers(several);
    part(&whole, cut, 1300, what);
    with.state[1] = with.state[0];
    part(&whole, 0, cut, what);
    take(NUMBER_attn_state_merged_size, what);
    with.size[2] = with.count;
    with.state[2] = memory(with.count);
    take(NUMBER_attn_state_merge, what);
    take(NUMBER_attn_state_redone, what);
    with.desc.sinks = vector(type, 2);
    with.desc.lse = filled(type, 1, 1, 2, 7);
    with.desc.lse = attn_array_3d(type, with.desc.lse.data, 1, 2, 7);
    take(NUMBER_attn_state_finish, what);
}

static void try_self_attention(attn_dtype type)
{
    for (size_t n = 6; n < 600; n += 564) {
        used = 0;
        with.a = matrix(type, 6, 20);
        with.b = matrix(type, n, 20);
        with.c = matrix(type, n, 24);
        with.d = matrix(type, 6, 24);
        with.e = matrix(type, 6, n);
        workers(0);
        for (with.flag = 0; with.flag < 2; with.flag++) run(NUMBER_attn_self_attention, n == 6 ? "6 keys" : "570 keys");
    }
}

/* ------------------------------------------------------------------- steps -- */

static void try_products(attn_dtype type)
{
    static const size_t sizes[][3] = {{6, 8, 5}, {1, 300, 530}, {40, 45, 530}, {300, 21, 7}, {3, 130, 70}};
    with.number = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int several = 0; several < 2; several++)
            for (int strided = 0; strided < 2; strided++) {
                const size_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
                attn_array (*const made)(attn_dtype, size_t, size_t) = strided ? turned : matrix;
                char what[40];
                snprintf(what, sizeof what, "%zu x %zu x %zu%s", m, n, k, strided ? ", strides" : "");
                workers(several);
                used = 0;
                with.a = made(type, m, k);
                with.b = made(type, k, n);
                with.c = made(type, m, n);
                run(NUMBER_attn_matmul, what);
                run(NUMBER_attn_weighted_sum, what);
                with.b = made(type, n, k);
                run(NUMBER_attn_scores, what);
                with.b = made(type, k, n);
                with.c = with.d = with.b;
                with.e = made(type, m, n);
                with.f = made(type, m, n);
                with.g = made(type, m, n);
                run(NUMBER_attn_compute_qkv, what);
            }
}

static void softmax(attn_dtype type, size_t rows, size_t columns, int axis, int special, const char *what)
{
    used = 0;
    with.axis = axis;
    with.a = matrix(type, rows, columns);
    if (special) /* a line of -inf; one of the largest numbers and infinity */
        for (size_t i = 0; i < (axis ? columns : rows); i++) {
            put(&with.a, axis ? i : i * columns, i % 2 ? -huge(type) : -HUGE_VAL);
            put(&with.a, axis ? (rows - 1) * columns + i : (i + 1) * columns - 1, i % 3 ? huge(type) : HUGE_VAL);
        }
    with.b = matrix(type, rows, columns);
    run(NUMBER_attn_softmax, what);
    with.b = with.a;
    run(NUMBER_attn_softmax, what);
}

static void try_softmax(attn_dtype type)
{
    static const size_t counts[] = {3, 21, 128, 130, 300};
    char what[40];
    for (int special = 0; special < 2; special++) {
        workers(special);
        softmax(type, 7, 300, 1, special, "7 rows of 300");
        softmax(type, 2, 5000, 1, special, "2 rows of 5000");
        softmax(type, 2, 40000, 1, special, "2 rows of 40000");
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            snprintf(what, sizeof what, "%zu columns of 40", counts[i]);
            softmax(type, 40, counts[i], 0, special, what);
            snprintf(what, sizeof what, "%zu columns of 700", counts[i]);
            softmax(type, 700, counts[i], 0, special, what);
        }
        softmax(type, 6000, 3, 0, special, "3 columns of 6000");
    }
    used = 0;
    with.a = turned(type, 5, 600);
    with.a.shape[0] = 3; /* every other row */
    with.a.stride[0] *= 2;
    with.b = matrix(type, 3, 600);
    with.axis = 1;
    run(NUMBER_attn_softmax, "strides");
}

/* ------------------------------------------------------------ all the rest -- */

static void try_layer(attn_dtype type, size_t n)
{
    used = 0;
    with.layer = attn_layer_default();
    with.layer.x = filled(type, 1, 2, n, 24);
    with.layer.x = attn_array_3d(type, with.layer.x.data, 2, n, 24);
    with.layer.w_q = matrix(type, 24, 32);
    with.layer.w_k = matrix(type, 24, 16);
    with.layer.w_v = matrix(type, 24, 10);
    with.layer.w_o = matrix(type, 20, 12);
    with.layer.b_q = vector(type, 32);
    with.layer.b_k = vector(type, 16);
    with.layer.b_v = vector(type, 10);
    with.layer.b_o = vector(type, 12);
    with.layer.num_heads = 2;
    with.layer.kv_num_heads = 1;
    with.layer.out = filled(type, 1, 2, n, 12);
    with.layer.out = attn_array_3d(type, with.layer.out.data, 2, n, 12);
    with.layer.attention.causal = 1;
    for (int several = 0; several < 2; several++) {
        workers(several);
        run(NUMBER_attn_layer_forward, n == 6 ? "6 rows" : "60 rows");
    }
    with.layer.weights = filled(type, 2, 2, n, n);
    workers(0);
    run(NUMBER_attn_layer_forward, n == 6 ? "6 rows, weights" : "60 rows, weights");
}

static void try_rotary(attn_dtype type)
{
    used = 0;
    with.a = filled(type, 2, 2, 5, 20);
    with.b = vector(ATTN_I64, 5);
    with.c = filled(type, 2, 2, 5, 20);
    with.count = 16;
    for (with.flag = 0; with.flag < 2; with.flag++) take(NUMBER_attn_rotary, attn_dtype_name(type));
    take(NUMBER_attn_rotation_default, attn_dtype_name(type));
    with.e = vector(ATTN_F64, 8);
    take(NUMBER_attn_rotary_llama3, attn_dtype_name(type));
    take(NUMBER_attn_rotary_yarn, attn_dtype_name(type));
    with.rotation.rotary_dim = 16;
    with.rotation.factors = with.e;
    with.rotation.magnitude = 1.5;
    take(NUMBER_attn_rotate, attn_dtype_name(type));
    take(NUMBER_attn_cache_append_rotated, attn_dtype_name(type));
    with.b = filled(ATTN_F32, 1, 2, 5, 8);
    with.b.ndim = 3, with.b.shape[0] = 2, with.b.shape[1] = 5, with.b.shape[2] = 8;
    with.d = with.b;
    for (with.flag = 0; with.flag < 2; with.flag++) take(NUMBER_attn_rotary_tables, attn_dtype_name(type));
}

static void try_cache(attn_dtype type, attn_dtype rows)
{
    used = 0;
    with.b = filled(rows, 2, 2, 5, 20);
    with.c = vector(ATTN_I64, 2);
    put(&with.c, 0, 3);
    put(&with.c, 1, 14);
    with.d = matrix(ATTN_I64, 2, 2);
    for (size_t i = 0; i < 4; i++) put(&with.d, i, (double)i);
    for (with.flag = 0; with.flag < 2; with.flag++) {
        with.a = with.flag ? filled(type, 4, 2, 16, 20) : filled(type, 2, 2, 32, 20);
        take(NUMBER_attn_cache_append, attn_dtype_name(type));
        if (type == ATTN_F64) continue;
        with.a.dtype = ATTN_I8;
        with.e = with.flag ? filled(ATTN_F32, 4, 2, 16, 2) : filled(ATTN_F32, 2, 2, 32, 2);
        take(NUMBER_attn_cache_append_scaled, "int8");
    }
    take(NUMBER_attn_cache_default, attn_dtype_name(type));
    if (type == ATTN_F64) return;
    with.cache.ring = 1;
    with.cache.data = with.a, with.cache.scale = with.e;
    with.cache.data.shape[0] = with.cache.scale.shape[0] = 2; /* rows that are rotated, and then quantised, too */
    with.cache.scaling = ATTN_SCALES_FOUND;
    with.rotation = attn_rotation_default();
    for (with.flag = 0; with.flag < 2; with.flag++) take(NUMBER_attn_cache_write, "int8, a ring");
    with.a = filled(ATTN_F32, 2, 2, 5, 20);
    with.a.dtype = ATTN_I8;
    with.e = filled(ATTN_F32, 2, 2, 5, 4);
    take(NUMBER_attn_quantize, "int8");
    take(NUMBER_attn_dequantize, "int8");
}

/* What takes no arrays, or only looks at them. */
static void try_constants(void)
{
    with.a = matrix(ATTN_F32, 2, 3);
    for (int f = NUMBER_attn_array_1d; f <= NUMBER_attn_arithmetic; f++) take((function)f, "any");
}

static void try_computations(attn_dtype type)
{
    try_forward(type);
    try_strided(type);
    for (int several = 0; several < 2; several++) {
        try_states(type, 0, several, 512, "parts");
        try_states(type, 1, several, 512, "parts, rows that overflow");
        try_states(type, 2, several, 512, "parts, values that overflow");
        try_states(type, 0, several, 300, "parts within a block");
    }
    try_self_attention(type);
    try_plain_call(type);
    try_products(type);
    try_softmax(type);
    try_layer(type, 6);
    try_layer(type, 60);
}

int main(int argc, char **argv)
{
    const int how = MAP_PRIVATE | MAP_ANONYMOUS;
    unsigned char *const memory_of_stack = mmap(NULL, GUARD + STACK, PROT_READ | PROT_WRITE, how, -1, 0);
    pool = malloc(POOL);
    workspace = malloc(WORKSPACE);
    if (memory_of_stack == MAP_FAILED || !pool || !workspace || mprotect(memory_of_stack, GUARD, PROT_NONE))
        die("memory", "is not to be had");
    stack = (uint64_t *)(void *)(memory_of_stack + GUARD);
    make_small_stacks(argc, argv);
    for (int i = 0; i < 2; i++) nothing_takes = measure(NOTHING);
    for (int path = ATTN_PATH_SCALAR; path < ATTN_PATH_COUNT; path++) {
        with.path = (attn_path)path;
        if (!attn_path_supported(with.path)) continue;
        try_constants();
        workers(0);
        run(NUMBER_attn_self_test, "any");
        try_computations(ATTN_F32);
        try_computations(ATTN_F64);
        try_halves();
    }
    for (int type = ATTN_F32; type <= ATTN_BF16; type++) {
        try_rotary((attn_dtype)type);
        try_cache((attn_dtype)type, type == ATTN_F64 ? ATTN_F64 : ATTN_F32);
    }
    for (int f = 0; f < NOTHING; f++) printf("%-22s %8zu  %s\n", names[f], most[f], worst[f]);
    return 0;
}
