/* SPDX-License-Identifier: MIT-0
 *
 * Floating-point environments that a program may have set: in every rounding mode and with
 * subnormals flushed to zero, results stay finite and close; control bits stay unchanged; and
 * ordinary data raise no exception that a program might trap. Only attn_self_test, which
 * overflows on purpose, may.
 *
 * With the argument "denormals", measures how many times slower subnormal inputs are.
 */
#define _GNU_SOURCE /* feenableexcept */
#include "check/harness.h"

#include <fenv.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* ------------------------------------------------------------ environment -- */

typedef struct mode {
    const char *name;
    int rounding;
    int flush; /* subnormal results and operands are flushed to 0 */
} mode;

static const mode modes[] = {
    {"nearest", FE_TONEAREST, 0},           {"upward", FE_UPWARD, 0},
    {"downward", FE_DOWNWARD, 0},           {"toward zero", FE_TOWARDZERO, 0},
    {"nearest, flushing", FE_TONEAREST, 1},
};
enum { MODES = sizeof modes / sizeof *modes };

/* The control bits, without the exception flags. */
static uint64_t control(void)
{
#if defined(__SSE2__) && defined(__GNUC__)
    uint16_t x87;
    __asm__ volatile("fnstcw %0" : "=m"(x87));
    return (uint64_t)x87 << 32 | (_mm_getcsr() & ~0x3fu);
#elif defined(__SSE2__)
    return _mm_getcsr() & ~0x3fu;
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return fpcr;
#else
    return (uint64_t)fegetround();
#endif
}

static int flushing; /* in the mode that was set last */

static int set_mode(const mode *m)
{
    fesetround(m->rounding);
    flushing = m->flush;
    if (!m->flush) return 1;
#if defined(__SSE2__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
    return 1;
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(control() | UINT64_C(1) << 24));
    return 1;
#else
    return 0;
#endif
}

/* ------------------------------------------------------------------ calls -- */

/* One call of every kind; with `modifiers`, masks hide keys and whole rows. */
typedef struct calls {
    attn_desc desc;
    attn_layer layer;
    attn_array product, axis, cosine;
} calls;

static calls make_calls(attn_dtype type, int modifiers, int exponent, test_rng *rng)
{
    const test_shape shape = {type, 1, 2, 1, 9, 600, 24, 20};
    calls c;
    size_t i;
    memset(&c, 0, sizeof c);
    c.desc = test_problem(&shape, rng);
    if (exponent) {
        test_fill_normal(&c.desc.q, rng, ldexp(1, exponent));
        test_fill_normal(&c.desc.k, rng, ldexp(1, exponent));
        test_fill_normal(&c.desc.v, rng, ldexp(1, exponent));
    }
    if (modifiers) {
        c.desc.causal = 1;
        c.desc.align = ATTN_ALIGN_LOWER_RIGHT;
        c.desc.softcap = 15;
        c.desc.mask = test_2d(type, 9, 600);
        test_fill_normal(&c.desc.mask, rng, 1);
        for (i = 0; i < 9 * 600; i += i % 7 + 1) ref_set(&c.desc.mask, 0, 0, i / 600, i % 600, -(double)INFINITY);
        for (i = 0; i < 600; i++) ref_set(&c.desc.mask, 0, 0, 5, i, -(double)INFINITY);
        c.desc.alibi = test_1d(type, 2);
        test_fill(&c.desc.alibi, 0.25);
        c.desc.sinks = test_1d(type, 2);
        test_fill(&c.desc.sinks, 1);
    }
    c.product = test_4d(type, 1, 2, 9, 600);
    c.axis = test_copy(&c.product);
    c.cosine = test_copy(&c.desc.q);
    c.layer.x = test_2d(type, 9, 24);
    c.layer.w_q = test_2d(type, 24, 24);
    c.layer.w_k = c.layer.w_v = c.layer.w_o = c.layer.w_q;
    c.layer.num_heads = 4;
    c.layer.out = test_2d(type, 9, 24);
    test_fill_normal(&c.layer.x, rng, 1);
    test_fill_normal(&c.layer.w_q, rng, 0.2);
    return c;
}

static attn_status run_forward(const calls *c, attn_exec run) { return test_forward(&c->desc, run); }
static attn_status run_scores(const calls *c, attn_exec run)
{
    return test_scores(&c->desc.q, &c->desc.k, 0, &c->product, run);
}
static attn_status run_softmax(const calls *c, attn_exec run) { return test_softmax(&c->product, -2, &c->axis, run); }
static attn_status run_layer(const calls *c, attn_exec run) { return test_layer(&c->layer, run); }
static attn_status run_rotary(const calls *c, attn_exec run)
{
    (void)run;
    return attn_rotary(&c->desc.q, NULL, 0, 0, 0, &c->cosine);
}

static attn_status run_matmul(const calls *c, attn_exec run)
{
    return test_matmul(&c->layer.x, &c->layer.w_q, &c->layer.out, run);
}
static attn_status run_compute_qkv(const calls *c, attn_exec run)
{
    const attn_array q = test_copy(&c->layer.out), k = test_copy(&q), v = test_copy(&q);
    return test_compute_qkv(&c->layer.x, &c->layer.w_q, &c->layer.w_k, &c->layer.w_v, &q, &k, &v, run);
}
static attn_status run_weighted_sum(const calls *c, attn_exec run)
{
    const attn_array out = test_copy(&c->desc.out);
    return test_weighted_sum(&c->axis, &c->desc.v, &out, run);
}
static attn_status run_self_attention(const calls *c, attn_exec run)
{
    const attn_array out = test_copy(&c->desc.out);
    return test_self_attention(&c->desc.q, &c->desc.k, &c->desc.v, &out, NULL, run);
}
static attn_status run_states(const calls *c, attn_exec run)
{
    static const size_t cuts[] = {0, 512, 600};
    attn_desc d = c->desc;
    void *states[2], *merged;
    size_t bytes, i;
    attn_status status;
    for (i = 0; i < 2; i++) {
        attn_desc part = c->desc;
        part.align = ATTN_ALIGN_OFFSET;
        part.q_offset = 600 - 9;
        part.kv_begin = cuts[i];
        part.k = test_part(&d.k, 2, cuts[i], cuts[i + 1] - cuts[i]);
        part.v = test_part(&d.v, 2, cuts[i], cuts[i + 1] - cuts[i]);
        if (d.mask.ndim > 0) part.mask = test_part(&d.mask, 1, cuts[i], cuts[i + 1] - cuts[i]);
        if ((status = attn_state_size(&part, &bytes))) return status;
        states[i] = test_memory(bytes, 0);
        if ((status = test_partial(&part, states[i], bytes, run))) return status;
    }
    if ((status = attn_state_merged_size(states[0], states[1], &bytes))) return status;
    merged = test_memory(bytes, 0);
    if ((status = attn_state_merge(states[0], states[1], merged, bytes, run.path))) return status;
    d.out = test_copy(&d.out);
    return attn_state_finish(&d, merged, run.path);
}
static attn_status run_cache_append(const calls *c, attn_exec run)
{
    const attn_array cache = test_4d(c->desc.k.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F16, 1, 1, 16, 24),
                     rows = test_part(&c->desc.k, 2, 0, 9);
    (void)run;
    return attn_cache_append(&cache, &rows, NULL, NULL);
}

/* Results must have the bits of rounding to nearest, and flushing must be reported. */
static attn_status run_self_test(const calls *c, attn_exec run)
{
    attn_status status;
    size_t bytes;
    (void)c;
    run.query = &bytes;
    if ((status = attn_self_test(&run))) return status;
    run.query = NULL;
    run.workspace = test_memory(bytes, 0);
    run.workspace_size = bytes;
    status = attn_self_test(&run);
    if (flushing) return status == ATTN_ERR_FLUSH ? ATTN_OK : ATTN_ERR_UNSOUND;
    return status == ATTN_ERR_UNSOUND && fegetround() != FE_TONEAREST ? ATTN_OK : status;
}

static const struct {
    const char *name;
    attn_status (*run)(const calls *c, attn_exec run);
    int may_trap;
} functions[] = {
    {"attn_forward", run_forward, 0},
    {"attn_scores", run_scores, 0},
    {"attn_softmax", run_softmax, 0},
    {"attn_rotary", run_rotary, 0},
    {"attn_layer_forward", run_layer, 0},
    {"attn_matmul", run_matmul, 0},
    {"attn_compute_qkv", run_compute_qkv, 0},
    {"attn_weighted_sum", run_weighted_sum, 0},
    {"attn_self_attention", run_self_attention, 0},
    {"states", run_states, 0},
    {"attn_cache_append", run_cache_append, 0},
    {"attn_self_test", run_self_test, 1},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

static int all_finite(const attn_array *a)
{
    size_t b, h, i, j;
    for (b = 0; b < ref_length(a, 4); b++)
        for (h = 0; h < ref_length(a, 3); h++)
            for (i = 0; i < ref_length(a, 2); i++)
                for (j = 0; j < ref_length(a, 1); j++)
                    if (!isfinite((double)ref_get(a, b, h, i, j))) return 0;
    return 1;
}

/* -------------------------------------------------------------- the modes -- */

/* How many times the error of the default mode is allowed. Directed rounding has twice the
 * error, and rounds n of exp to the wrong integer: the polynomial is used up to ln 2, twice as
 * far as intended. */
static const double tolerance[2] = {8, 4096};

/* Distance beyond what is allowed in any mode, in units of the bound. */
static double excess(const ref_bounds *bounds, ref_real number, double allowance)
{
    const ref_real distance = number > bounds->value ? number - bounds->value : bounds->value - number;
    const ref_real bound = number > bounds->value ? bounds->high - bounds->value : bounds->value - bounds->low;
    return distance <= (ref_real)allowance ? 0 : (double)((distance - (ref_real)allowance) / bound);
}

/* The largest error of out, weights and lse. If subnormals are flushed, each step of the sum
 * over keys may lose the least normal number. */
static double worst_excess(const attn_desc *d, int flush)
{
    const double least = d->out.dtype == ATTN_F64 ? DBL_MIN : (double)FLT_MIN;
    double worst = 0;
    size_t h, i, j;
    for (h = 0; h < ref_length(&d->q, 3); h++) {
        ref_head *head = ref_open(d, 0, h);
        for (i = 0; i < ref_length(&d->q, 2); i++) {
            const ref_row *row = ref_compute_row(head, i);
            const double allowance = flush ? least * (double)(row->kv_len + 2) : 0;
            for (j = 0; j < row->head_dim_v; j++)
                worst = fmax(worst, excess(&row->out[j], ref_get(&d->out, 0, h, i, j), allowance));
            for (j = 0; j < row->kv_len; j++)
                worst = fmax(worst, excess(&row->weights[j], ref_get(&d->scores, 0, h, i, j), allowance));
            if (row->visible) worst = fmax(worst, excess(&row->lse, ref_get(&d->lse, 0, 0, h, i), 0));
        }
        ref_close(head);
    }
    return worst;
}

static void try_mode(const mode *m, attn_dtype type, attn_path path)
{
    fenv_t environment;
    test_rng rng = {1};
    double worst = 0;
    int modifiers, steady = 1, finite = 1;
    size_t f;
    for (modifiers = 0; modifiers < 2; modifiers++) {
        const calls c = make_calls(type, modifiers, 0, &rng);
        fegetenv(&environment);
        if (!set_mode(m)) {
            test_skip("no such mode", "%s, %s, %s", attn_path_name(path), attn_dtype_name(type), m->name);
            return;
        }
        for (f = 0; f < FUNCTIONS; f++) {
            const uint64_t before = control();
            const attn_status status = functions[f].run(&c, test_on(path));
            if (control() != before || fegetround() != m->rounding || status != ATTN_OK) {
                test_note("%s changes the mode, or fails", functions[f].name);
                steady = 0;
            }
        }
        fesetenv(&environment);
        finite &= all_finite(&c.desc.out) && all_finite(&c.product) && all_finite(&c.axis) && all_finite(&c.cosine) &&
                  all_finite(&c.layer.out);
        worst = fmax(worst, worst_excess(&c.desc, m->flush));
    }
    test_ok(steady, "%s, %s, %s: control bits stay", attn_path_name(path), attn_dtype_name(type), m->name);
    test_ok(finite, "%s, %s, %s: finite", attn_path_name(path), attn_dtype_name(type), m->name);
    test_ok(worst <= tolerance[type == ATTN_F64], "%s, %s, %s: error/bound %.3f", attn_path_name(path),
            attn_dtype_name(type), m->name, worst);
    test_release();
}

/* Inputs up to the largest number, and subnormal ones. */
static void try_extremes(const mode *m, attn_dtype type, attn_path path)
{
    static const int exponents[2][4] = {{120, 60, -60, -135}, {1020, 500, -500, -1060}};
    int i, finite = 1;
    for (i = 0; i < 4; i++) {
        test_rng rng = {(uint64_t)i};
        fenv_t environment;
        const calls c = make_calls(type, 0, exponents[type == ATTN_F64][i], &rng);
        fegetenv(&environment);
        if (set_mode(m)) finite &= run_forward(&c, test_on(path)) == ATTN_OK;
        fesetenv(&environment);
        finite &= all_finite(&c.desc.out);
    }
    test_ok(finite, "%s, %s, %s: huge and subnormal inputs give finite output", attn_path_name(path),
            attn_dtype_name(type), m->name);
    test_release();
    finite = 1;
    for (size_t keys = 2; keys < 8; keys++) { /* an average of the largest number may round up */
        const test_shape shape = {type, 1, 1, 1, 2, keys, 1, 3};
        test_rng rng = {keys};
        fenv_t environment;
        attn_desc d = test_problem(&shape, &rng);
        d.lse = d.scores = test_absent;
        test_fill(&d.v, type == ATTN_F64 ? DBL_MAX : (double)FLT_MAX);
        fegetenv(&environment);
        if (set_mode(m)) finite &= test_forward(&d, test_on(path)) == ATTN_OK;
        fesetenv(&environment);
        finite &= all_finite(&d.out);
        test_release();
    }
    test_ok(finite, "%s, %s, %s: averages of the largest number are finite", attn_path_name(path),
            attn_dtype_name(type), m->name);
}

/* -------------------------------------------------------------- exceptions -- */

#if defined(__GLIBC__) && (defined(__x86_64__) || defined(__i386__))
static sigjmp_buf trapped;
static void on_trap(int number)
{
    (void)number;
    siglongjmp(trapped, 1);
}

static void try_exceptions(attn_dtype type, attn_path path)
{
    static const int exceptions[] = {FE_INVALID, FE_DIVBYZERO, FE_OVERFLOW};
    static const char *const names[] = {"invalid", "division by zero", "overflow"};
    fenv_t environment;
    volatile int modifiers, e;
    volatile size_t f;
    fegetenv(&environment);
    for (e = 0; e < 3; e++) {
        volatile int traps = 0;
        for (modifiers = 0; modifiers < 2; modifiers++) {
            test_rng rng = {2};
            const calls c = make_calls(type, modifiers, 0, &rng);
            for (f = 0; f < FUNCTIONS; f++) {
                if (functions[f].may_trap) continue;
                if (sigsetjmp(trapped, 1) == 0) {
                    feclearexcept(FE_ALL_EXCEPT);
                    feenableexcept(exceptions[e]);
                    functions[f].run(&c, test_on(path));
                } else {
                    test_note("%s, modifiers %d, traps", functions[f].name, modifiers);
                    traps++;
                }
                fesetenv(&environment);
            }
        }
        test_ok(traps == 0, "%s, %s: ordinary data raise no %s", attn_path_name(path), attn_dtype_name(type), names[e]);
        test_release();
    }
}

/* In memory with leftovers: signalling NaN, the largest numbers, quiet NaN. Visible keys begin
 * and end anywhere in a vector, and some rows see nothing of a block. */
static void try_left_over(attn_dtype type, attn_path path)
{
    enum { SOFTCAP, MASK, LOWEST, ALIBI, PART, PAGES, KINDS, Q_LEN = 30 };
    static const uint64_t left[] = {UINT64_C(0x7fa000007fa00000), UINT64_C(0x7ff4000000000001),
                                    UINT64_C(0x7f7fffff7f7fffff), UINT64_C(0x7fefffffffffffff),
                                    UINT64_C(0xffffffffffffffff)};
    static const size_t kv_lens[] = {8, 16, 31, 32, 33, 64}, q_lens[] = {1, Q_LEN};
    size_t raised = 0;
    for (size_t n = 0; n < sizeof kv_lens / sizeof *kv_lens * KINDS * 2; n++) {
        const size_t kv_len = kv_lens[n / 2 / KINDS], kind = n / 2 % KINDS;
        const test_shape shape = {type, 1, 1, 1, q_lens[n % 2], kv_len, 5, 7};
        test_rng rng = {n};
        attn_desc d = test_problem(&shape, &rng);
        attn_exec run = test_on(path);
        size_t bytes = 0;
        d.causal = d.window = 1;
        d.window_left = 20;
        d.align = ATTN_ALIGN_OFFSET;
        d.q_offset = (int64_t)kv_len - (int64_t)shape.q_len;
        if (kind == SOFTCAP) d.softcap = 5;
        if (kind == MASK) {
            d.mask = test_2d(ATTN_BOOL, shape.q_len, kv_len);
            test_fill(&d.mask, 1);
        }
        if (kind == LOWEST) { /* what some use for -inf */
            d.mask = test_2d(type, shape.q_len, kv_len);
            test_fill(&d.mask, -(double)FLT_MAX);
        }
        if (kind == ALIBI) {
            d.alibi = test_1d(type, 1);
            test_fill(&d.alibi, 0.25);
        }
        if (kind == PART) { /* the first rows end with the first block, the last ones begin after it */
            d.kv_begin = 500;
            d.q_offset = 502;
            d.window_left = 5;
        }
        if (kind == PAGES) { /* one page, whose last rows are beyond the keys */
            d.block_table = test_2d(ATTN_I32, 1, 1);
            test_fill(&d.block_table, 0);
            d.kv_lens = test_1d(ATTN_I32, 1);
            test_fill(&d.kv_lens, (double)kv_len - 3);
        }
        run.query = &bytes;
        test_status(attn_forward(&d, &run), ATTN_OK);
        run.query = NULL;
        run.workspace = test_memory(bytes, 0);
        run.workspace_size = bytes;
        for (size_t l = 0; l < sizeof left / sizeof *left; l++) {
            int pass;
            for (size_t i = 0; i < bytes; i++)
                ((unsigned char *)run.workspace)[i] =
                    (unsigned char)(left[l] >> (uintptr_t)((unsigned char *)run.workspace + i) % 8 * 8);
            feclearexcept(FE_ALL_EXCEPT);
            pass = attn_forward(&d, &run) == ATTN_OK;
            if (!pass || fetestexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW)) {
                if (raised++ == 0)
                    test_note("%zu queries, %zu keys, kind %zu, left over %zu", shape.q_len, kv_len, kind, l);
            }
        }
        test_release();
    }
    feclearexcept(FE_ALL_EXCEPT);
    test_ok(raised == 0, "%s, %s: nothing is raised by what memory held before", attn_path_name(path),
            attn_dtype_name(type));
}
#endif

/* --------------------------------------------------------------- denormals -- */

/* The least processor time of many calls, alternating with calls on ordinary numbers: on a
 * busy machine medians say little. */
static void print_slow_down(attn_dtype type, attn_path path)
{
    static const char *const names[] = {"q", "k", "v", "all"};
    enum { Q, K, V, ALL, KINDS, ROUNDS = 9 };
    const test_shape shape = {type, 1, 1, 1, 32, 512, 64, 64};
    double least[KINDS + 1];
    attn_desc d[KINDS + 1];
    int kind, round;
    printf("%-7s %-8s", attn_path_name(path), attn_dtype_name(type));
    for (kind = 0; kind <= KINDS; kind++) {
        test_rng rng = {1};
        const double tiny = type == ATTN_F64 ? ldexp(1, -1030) : ldexp(1, -134);
        d[kind] = test_problem(&shape, &rng);
        d[kind].scores = test_absent;
        if (kind == Q || kind == ALL) test_fill_normal(&d[kind].q, &rng, tiny);
        if (kind == K || kind == ALL) test_fill_normal(&d[kind].k, &rng, tiny);
        if (kind == V || kind == ALL) test_fill_normal(&d[kind].v, &rng, tiny);
        least[kind] = HUGE_VAL;
    }
    for (round = 0; round < ROUNDS; round++)
        for (kind = 0; kind <= KINDS; kind++) {
            const clock_t start = clock();
            test_status(test_forward(&d[kind], test_on(path)), ATTN_OK);
            least[kind] = fmin(least[kind], (double)(clock() - start));
        }
    for (kind = 0; kind < KINDS; kind++) printf("  %s %.2f", names[kind], least[kind] / least[KINDS]);
    printf("\n");
    fflush(stdout);
    test_release();
}

int main(int argc, char **argv)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    size_t p, t, m;
    if (argc > 1 && strcmp(argv[1], "denormals") == 0) {
        for (p = 0; p < num_paths; p++)
            for (t = 0; t < 2; t++) print_slow_down(test_types[t], paths[p]);
        return 0;
    }
#if defined(__GLIBC__) && (defined(__x86_64__) || defined(__i386__))
    signal(SIGFPE, on_trap);
#endif
    for (p = 0; p < num_paths; p++)
        for (t = 0; t < 2; t++) {
            for (m = 0; m < MODES; m++) {
                try_mode(&modes[m], test_types[t], paths[p]);
                try_extremes(&modes[m], test_types[t], paths[p]);
            }
#if defined(__GLIBC__) && (defined(__x86_64__) || defined(__i386__))
            try_exceptions(test_types[t], paths[p]);
            try_left_over(test_types[t], paths[p]);
#endif
        }
    return test_done();
}
