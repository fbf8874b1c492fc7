/* SPDX-License-Identifier: MIT-0
 *
 * Numbers that are not ordinary cost little time: a problem full of NaN, infinities,
 * huge and subnormal numbers takes at most 8 times as long as its clean twin, the
 * same shapes, types, layouts, options and masks with ordinary numbers, and at most
 * 1.5 times where that is so in one row of 100.
 *
 * Without a clock (make check, CI) small problems have the same bits on the best path
 * and on the scalar one, and what the twins give is finite. Measured is where FUZZ_TIMES
 * is the limit: FUZZ_TIMES=8 ./fuzz/times ..., make fuzz-times. With FUZZ_TIMES_LIST=FILE
 * what is too slow ends nothing: the worst of each kind become lines of that file.
 */
#define _POSIX_C_SOURCE 200809L
#include "oracle.h"

#include "check/clock.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const fuzz_limits small = {2500, FUZZ_BITS, ATTN_DTYPE_COUNT},
                         measurable = {100000, FUZZ_BITS, ATTN_DTYPE_COUNT};

/* Of some rows: few enough for the second limit. Of a clock of nanoseconds whose call takes some hundred of them. */
enum { FEW = 100 };
static const double few_limit = 1.5, allowance = 1e-6;

static double limit; /* 0: no clock */
static const char *list;

static void look_around(void)
{
    const char *const asked = getenv("FUZZ_TIMES");
    limit = asked ? strtod(asked, NULL) : 0;
    list = getenv("FUZZ_TIMES_LIST");
}

/* ---------------------------------------------------------------- numbers -- */

/* The operands that have numbers, in this order in `which`. */
enum { OPERANDS = 11 };
static void operands_of(attn_desc *d, attn_array *to[OPERANDS])
{
    to[0] = &d->q, to[1] = &d->k, to[2] = &d->v, to[3] = &d->mask, to[4] = &d->rel_bias, to[5] = &d->alibi;
    to[6] = &d->sinks, to[7] = &d->k_scale, to[8] = &d->v_scale, to[9] = &d->k_zero, to[10] = &d->v_zero;
}

typedef void (*at_element)(const attn_array *a, const size_t at[4], size_t number, const void *what);

/* In an order and with numbers that no layout changes. */
static void for_elements(const attn_array *a, at_element f, const void *what)
{
    size_t at[4], number = 0;
    for (at[0] = 0; a->ndim && at[0] < ref_length(a, 4); at[0]++)
        for (at[1] = 0; at[1] < ref_length(a, 3); at[1]++)
            for (at[2] = 0; at[2] < ref_length(a, 2); at[2]++)
                for (at[3] = 0; at[3] < ref_length(a, 1); at[3]++) f(a, at, number++, what);
}

static uint64_t hash(size_t which, size_t number)
{
    test_rng rng;
    rng.state = (uint64_t)which << 32 ^ number;
    return test_u64(&rng);
}

/* An ordinary number of this operand at that place; masks keep what they drop. */
static void make_ordinary(const attn_array *a, const size_t at[4], size_t number, const void *what)
{
    const size_t which = *(const size_t *)what;
    const double x = (double)(hash(which, number) >> 11) * 0x1p-52 - 1;
    switch (which) {
    case 3: /* mask, relative bias */
    case 4:
        if (ref_get(a, at[0], at[1], at[2], at[3]) != -(ref_real)INFINITY) ref_set(a, at[0], at[1], at[2], at[3], x);
        return;
    case 5: ref_set(a, at[0], at[1], at[2], at[3], fabs(x)); return; /* slopes */
    case 7:                                                          /* scales */
    case 8: ref_set(a, at[0], at[1], at[2], at[3], (1 + fabs(x)) / 128); return;
    default: break;
    }
    if (a->dtype == ATTN_Q8_0) { /* scale 2^-6 */
        fuzz_set_bits(a, at[0], at[1], at[2], at[3], 0x2400u | (uint64_t)(uint8_t)(int8_t)(x * 64) << 16);
    } else if (a->dtype == ATTN_I8 || a->dtype == ATTN_U8) { /* whatever its scale */
        ref_set(a, at[0], at[1], at[2], at[3], a->dtype == ATTN_I8 ? trunc(x * 9) : trunc(fabs(x) * 9));
    } else ref_set(a, at[0], at[1], at[2], at[3], x);
}

/* ---- what is extraordinary, and where ---- */

enum { AS_DECODED, MAGNITUDES, ALL_THE_FIRST, ONE_IN_64 };

typedef struct pattern {
    size_t which;
    int kind;
    size_t first[4];
} pattern;

static void arrange(const attn_array *a, const size_t at[4], size_t number, const void *what)
{
    const pattern *const p = what;
    const int coded = fuzz_coded(a);
    switch (p->kind) {
    case MAGNITUDES:
        if (!coded) ref_set(a, at[0], at[1], at[2], at[3], fabs((double)ref_get(a, at[0], at[1], at[2], at[3])));
        break;
    case ALL_THE_FIRST:
        memmove(ref_at(a, at[0], at[1], at[2], at[3]), ref_at(a, 0, 0, 0, 0), attn_dtype_size(a->dtype));
        break;
    case ONE_IN_64:
        if (hash(p->which + OPERANDS, number) % 64) make_ordinary(a, at, number, &p->which);
        break;
    default: break;
    }
}

/* Two bits each for q, k, v, and masks with relative biases. Bits of a mask are none. */
static void arrange_all(attn_desc *d, unsigned code)
{
    attn_array *operands[OPERANDS];
    operands_of(d, operands);
    for (size_t i = 0; i < 5; i++) {
        pattern p;
        p.which = i;
        p.kind = (int)(code >> 2 * (i < 4 ? i : 3) & 3);
        if (p.kind != AS_DECODED && operands[i]->dtype != ATTN_BOOL && operands[i]->dtype != ATTN_BIT)
            for_elements(operands[i], arrange, &p);
    }
}

/* The same bytes at the same distance from a multiple of 64. */
static attn_array twin_of(const attn_array *a)
{
    const unsigned char *low = a->data, *high = a->data;
    attn_array twin = *a;
    unsigned char *memory;
    size_t bytes = 0;
    if (a->ndim == 0 || !a->data) return twin;
    if (ref_length(a, 4) * ref_length(a, 3) * ref_length(a, 2) * ref_length(a, 1) > 0) {
        for (unsigned k = 0; k < 16; k++) {
            const unsigned char *corner = ref_at(a, k & 1 ? ref_length(a, 4) - 1 : 0, k & 2 ? ref_length(a, 3) - 1 : 0,
                                                 k & 4 ? ref_length(a, 2) - 1 : 0, k & 8 ? ref_length(a, 1) - 1 : 0);
            low = corner < low ? corner : low;
            high = corner > high ? corner : high;
        }
        bytes = (size_t)(high - low) + attn_dtype_size(a->dtype);
    }
    memory = test_memory(bytes, (uintptr_t)low % 64);
    memcpy(memory, low, bytes);
    twin.data = memory + ((unsigned char *)a->data - low);
    return twin;
}

static int ordinary_factor(double x) { return fabs(x) >= 0x1p-10 && fabs(x) <= 8; }

static attn_desc clean_twin(const attn_desc *bad)
{
    attn_desc d = *bad;
    attn_array *operands[OPERANDS];
    operands_of(&d, operands);
    for (size_t i = 0; i < OPERANDS; i++) {
        if (operands[i]->dtype == ATTN_BOOL || operands[i]->dtype == ATTN_BIT) continue;
        *operands[i] = twin_of(operands[i]);
        for_elements(operands[i], make_ordinary, &i);
    }
    if (!ordinary_factor(d.scale)) d.scale = 0;
    if (d.softcap != 0 && !(d.softcap >= 0.01 && d.softcap <= 1e4)) d.softcap = 30;
    return d;
}

/* Everything ordinary but one row of queries in FEW. Returns 0 where there are too few rows. */
static int spoil_few(attn_desc *bad, attn_desc *clean)
{
    const attn_array rows = bad->q;
    size_t number = 0;
    *bad = *clean;
    bad->q = twin_of(&clean->q);
    for (size_t b = 0; b < ref_length(&rows, 4); b++)
        for (size_t h = 0; h < ref_length(&rows, 3); h++)
            for (size_t i = 0; i < ref_length(&rows, 2); i++)
                if (++number % FEW == 0)
                    for (size_t e = 0; e < ref_length(&rows, 1); e++)
                        memcpy(ref_at(&bad->q, b, h, i, e), ref_at(&rows, b, h, i, e), attn_dtype_size(rows.dtype));
    return number >= FEW;
}

/* ------------------------------------------------------------------ calls -- */

typedef enum step { FORWARD, WEIGHTS, FEW_ROWS, PARTIAL, MERGE, FINISH, SOFTMAX, STEPS } step;
static const char *const step_names[STEPS] = {"attn_forward", "attn_forward with weights", "attn_forward, few rows",
                                              "attn_partial", "attn_state_merge",          "attn_state_finish",
                                              "attn_softmax"};

/* A call with all that it needs. */
typedef struct work {
    attn_desc desc;
    attn_array x; /* of softmax, to desc.out */
    int axis;
    void *state[2], *merged; /* of two parts, and of both */
    size_t state_bytes[2], merged_bytes;
} work;

static attn_status do_forward(const void *what, const attn_exec *run)
{
    return attn_forward(&((const work *)what)->desc, run);
}
static attn_status do_partial(const void *what, const attn_exec *run) /* the later part */
{
    const work *const w = what;
    return attn_partial(&w->desc, w->state[1], w->state_bytes[1], run);
}
static attn_status do_merge(const void *what, const attn_exec *run)
{
    const work *const w = what;
    if (run->query) *run->query = 0;
    return attn_state_merge(w->state[0], w->state[1], w->merged, w->merged_bytes, run->path);
}
static attn_status do_finish(const void *what, const attn_exec *run)
{
    const work *const w = what;
    if (run->query) *run->query = 0;
    return attn_state_finish(&w->desc, w->merged, run->path);
}
static attn_status do_softmax(const void *what, const attn_exec *run)
{
    const work *const w = what;
    return attn_softmax(&w->x, w->axis, &w->desc.out, run);
}
static const fuzz_call calls[STEPS] = {do_forward, do_forward, do_forward, do_partial, do_merge, do_finish, do_softmax};

typedef struct twins {
    fuzz_case *c;
    step of;
    work bad, clean;
} twins;

/* ------------------------------------------------------------------ times -- */

/* What a call of either takes, in seconds. */
typedef struct times {
    double bad, clean;
} times;

static double lesser(double a, double b) { return a < b ? a : b; }

static double time_of(const twins *t, const work *w, const attn_exec *run, size_t repeated)
{
    const double start = thread_seconds();
    for (size_t i = 0; i < repeated; i++) fuzz_expect(t->c, step_names[t->of], calls[t->of](w, run), ATTN_OK);
    return (thread_seconds() - start) / (double)repeated;
}

/* The fastest of so many rounds, both in turn; no longer than a tenth of a second, but twice. */
static void measure(const twins *t, const attn_exec *run, size_t rounds, size_t repeated, times *least)
{
    const double start = thread_seconds();
    for (size_t i = 0; i < rounds && (i < 2 || thread_seconds() - start < 0.1); i++) {
        least->bad = lesser(least->bad, time_of(t, &t->bad, run, repeated));
        least->clean = lesser(least->clean, time_of(t, &t->clean, run, repeated));
    }
}

static int too_slow(const times *t, double most) { return t->bad > most * t->clean + allowance; }

/* Kinds of problems, of which a list has the worst each, and an engine all that are slower than others before. */
enum { KINDS = 2048, BUCKETS = 32 };

static size_t kind_of(const twins *t, attn_path path, double clean)
{
    const attn_desc *const d = &t->bad.desc;
    size_t kind = t->of;
    kind = kind * 3 + (clean < 2e-6 ? 0u : clean < 20e-6 ? 1u : 2u);
    kind = 2 * kind + (d->q.dtype == ATTN_F64);
    kind = 2 * kind + (path == ATTN_PATH_SCALAR);
    kind = 2 * kind + (d->softcap > 0);
    kind = 2 * kind + (d->scale != 0 && !ordinary_factor(d->scale));
    kind = 2 * kind + (d->rel_bias.ndim || d->alibi.ndim ||
                       (d->mask.ndim && d->mask.dtype != ATTN_BOOL && d->mask.dtype != ATTN_BIT));
    return 2 * kind + (fuzz_has_codes(d) != 0);
}

#ifdef __linux__ /* libFuzzer takes what is counted here for code that was reached */
__attribute__((used, section("__libfuzzer_extra_counters")))
#endif
static uint8_t counters[KINDS * BUCKETS];

/* A quarter of an octave is a bucket. */
static void count(size_t kind, double ratio)
{
    const double quarters = ratio > 1 ? 4 * log2(ratio) : 0;
    counters[kind * BUCKETS + (quarters < BUCKETS - 1 ? (size_t)quarters : BUCKETS - 1)] = 1;
}

static double worst_listed[KINDS];

/* If it is much worse than what its kind has in the list. */
static int belongs_to_list(size_t kind, const times *took)
{
    return took->bad > 1.1 * worst_listed[kind] * took->clean;
}

static void add_to_list(const twins *t, attn_path path, size_t kind, const times *took)
{
    const attn_desc *const d = &t->bad.desc;
    const fuzz_input *const in = &t->c->input;
    const double ratio = took->bad / took->clean;
    FILE *file;
    if (!belongs_to_list(kind, took)) return;
    worst_listed[kind] = ratio;
    file = fopen(list, "a");
    if (!file) fuzz_fail(NULL, "%s cannot be written", list);
    fprintf(file, "%6.2f = %.3f/%.3f us: %s, %s, %s (%zu, %zu, %zu, %zu), keys %s (%zu, %zu), values %s (%zu)", ratio,
            1e6 * took->bad, 1e6 * took->clean, step_names[t->of], attn_path_name(path), attn_dtype_name(d->q.dtype),
            ref_length(&d->q, 4), ref_length(&d->q, 3), ref_length(&d->q, 2), ref_length(&d->q, 1),
            attn_dtype_name(d->k.dtype), ref_length(&d->k, 3), ref_length(&d->k, 2), attn_dtype_name(d->v.dtype),
            ref_length(&d->v, 1));
    fprintf(file, "; q %s, k %s, v %s", fuzz_values_name(t->c->values[0]), fuzz_values_name(t->c->values[1]),
            fuzz_values_name(t->c->values[2]));
    if (d->mask.ndim || d->rel_bias.ndim)
        fprintf(file, ", %s %s", d->mask.ndim ? attn_dtype_name(d->mask.dtype) : "relative",
                fuzz_values_name(t->c->values[3]));
    if (d->alibi.ndim) fprintf(file, ", slopes %s", fuzz_values_name(t->c->values[4]));
    fprintf(file, "; patterns %02x, scale %g, softcap %g; ", fuzz_byte(in, FUZZ_AT_PATTERNS), d->scale, d->softcap);
    for (size_t i = 0; i < in->size; i++) fprintf(file, "%02x", in->bytes[i]);
    fputc('\n', file);
    fclose(file);
}

/* What seems too slow is measured again, and again: noise makes calls longer, never shorter. */
static void check_times(const twins *t, attn_path path)
{
    const double most = t->of == FEW_ROWS ? lesser(few_limit, limit) : limit;
    size_t bytes = 0, other_bytes = 0, repeated, kind;
    times least = {HUGE_VAL, HUGE_VAL};
    attn_exec run = test_on(path);
    run.query = &bytes;
    fuzz_expect(t->c, "workspace", calls[t->of](&t->bad, &run), ATTN_OK);
    run.query = &other_bytes;
    fuzz_expect(t->c, "workspace", calls[t->of](&t->clean, &run), ATTN_OK);
    if (bytes != other_bytes) fuzz_fail(t->c, "workspaces of %zu and %zu bytes", bytes, other_bytes);
    run.query = NULL;
    run.workspace = fuzz_workspace(bytes);
    run.workspace_size = bytes;
    time_of(t, &t->bad, &run, 1); /* what they read comes nearer */
    least.clean = time_of(t, &t->clean, &run, 1);
    repeated = least.clean < 1e-5 ? 1 + (size_t)(1e-5 / (least.clean + 1e-7)) : 1;
    measure(t, &run, 3, repeated, &least);
    kind = kind_of(t, path, least.clean);
    for (int again = 0; again < 5 && too_slow(&least, most) && (!list || belongs_to_list(kind, &least)); again++)
        measure(t, &run, 10, repeated, &least);
    if (fuzz_shows)
        fprintf(stderr, "%s, %s: %.2f times as long: %.3f us, its clean twin %.3f us\n", step_names[t->of],
                attn_path_name(path), least.bad / least.clean, 1e6 * least.bad, 1e6 * least.clean);
    count(kind, (least.bad - allowance) / least.clean);
    if (!too_slow(&least, most)) return;
    if (list) add_to_list(t, path, kind, &least);
    else
        fuzz_fail(t->c, "%s, %s: %.2f times as long as with ordinary numbers: %.3f us instead of %.3f us",
                  step_names[t->of], attn_path_name(path), least.bad / least.clean, 1e6 * least.bad, 1e6 * least.clean);
}

/* ------------------------------------------------------- without a clock -- */

/* Nothing that an ordinary problem gives is NaN or +inf; -inf is what logarithms and scores of what is masked are, and
 * float16 has little room for scores. */
static void check_ordinary(const fuzz_case *c, const char *name, const attn_array *a, int masked)
{
    size_t at[4];
    for (at[0] = 0; a->ndim && at[0] < ref_length(a, 4); at[0]++)
        for (at[1] = 0; at[1] < ref_length(a, 3); at[1]++)
            for (at[2] = 0; at[2] < ref_length(a, 2); at[2]++)
                for (at[3] = 0; at[3] < ref_length(a, 1); at[3]++) {
                    const double x = (double)ref_get(a, at[0], at[1], at[2], at[3]);
                    if (isfinite(x) || (masked && isinf(x) && (x < 0 || a->dtype == ATTN_F16))) continue;
                    fuzz_fail(c, "ordinary numbers: %s[%zu, %zu, %zu, %zu] is %g", name, at[0], at[1], at[2], at[3], x);
                }
}

static void check_clean(const twins *t)
{
    const attn_desc *const d = &t->clean.desc;
    check_ordinary(t->c, "out", &d->out, 0);
    if (t->of == SOFTMAX) return;
    check_ordinary(t->c, "lse", &d->lse, 1);
    check_ordinary(t->c, "rowmax", &d->rowmax, 1);
    check_ordinary(t->c, "rowsum", &d->rowsum, 0);
    check_ordinary(t->c, "scores", &d->scores, d->stage != ATTN_STAGE_PROBS);
    check_ordinary(t->c, "colsum", &d->colsum, 0);
}

/* The bytes of a state that a call writes; none where it writes arrays. */
static void *state_of(const twins *t, const work *w, size_t *bytes)
{
    *bytes = t->of == PARTIAL ? w->state_bytes[1] : t->of == MERGE ? w->merged_bytes : 0;
    return t->of == PARTIAL ? w->state[1] : t->of == MERGE ? w->merged : NULL;
}

static void run_once(const twins *t, const work *w, attn_path path)
{
    size_t bytes;
    void *const state = state_of(t, w, &bytes);
    if (state) memset(state, 0xff, bytes);
    else fuzz_poison(&w->desc);
    fuzz_expect(t->c, attn_path_name(path), fuzz_run(calls[t->of], w, test_on(path)), ATTN_OK);
}

/* States of a part that overflows or is not finite are promised to no bit. */
static void check_bits(const twins *t, const work *w, const char *name, int promised)
{
    const attn_path paths[2] = {ATTN_PATH_AUTO, t->c->path};
    size_t bytes;
    const void *const state = state_of(t, w, &bytes);
    void *first = NULL;
    fuzz_outputs scalar;
    run_once(t, w, ATTN_PATH_SCALAR);
    if (state) {
        first = test_memory(bytes, 0);
        memcpy(first, state, bytes);
    } else scalar = fuzz_save(&w->desc);
    for (size_t p = 0; p < 2; p++) {
        run_once(t, w, paths[p]);
        if (!state) fuzz_same_outputs(t->c, name, &w->desc, attn_path_name(paths[p]), &scalar, "scalar", NULL);
        else if (promised && memcmp(state, first, bytes) != 0)
            fuzz_fail(t->c, "%s: states of %s and scalar differ", name, attn_path_name(paths[p]));
    }
}

/* --------------------------------------------------------------- problems -- */

static void check(const twins *t)
{
    const unsigned code = fuzz_byte(&t->c->input, FUZZ_AT_MODES) >> 3 & 3;
    t->c->desc = t->bad.desc; /* what is printed */
    if (limit > 0) {
        check_times(t, code < 2                                     ? ATTN_PATH_AUTO
                       : code == 2 || !attn_path_native(t->c->path) ? ATTN_PATH_SCALAR
                                                                    : t->c->path);
    } else {
        check_bits(t, &t->bad, "extraordinary numbers", fuzz_tame(&t->bad.desc));
        check_bits(t, &t->clean, "ordinary numbers", 1);
        if (t->of != PARTIAL && t->of != MERGE) check_clean(t);
    }
}

/* The problem as the input wants it. */
static attn_desc form_of(fuzz_case *c)
{
    attn_desc d = c->desc;
    size_t q_at[FUZZ_SEQUENCES + 1], k_at[FUZZ_SEQUENCES + 1];
    const int raw = d.scores.ndim && (d.stage == ATTN_STAGE_RAW || d.stage == ATTN_STAGE_SOFTCAPPED);
    switch (c->variant) {
    case FUZZ_PAGED:
        if (fuzz_into_pages(c, &d, 0) && raw) d.scores = test_absent; /* of keys beyond the length: not promised */
        break;
    case FUZZ_PACKED: fuzz_into_sequences(c, &d, q_at, k_at); break;
    case FUZZ_PART:
        fuzz_for_parts(&d);
        if (d.scores.ndim || d.colsum.ndim) break; /* they have a column for each key of the whole */
        d = fuzz_part(&d, c->cut, ref_length(&d.k, 2));
        break;
    default: break;
    }
    return d;
}

static void check_forward(fuzz_case *c, unsigned patterns, int few)
{
    twins t;
    memset(&t, 0, sizeof t);
    t.c = c;
    t.bad.desc = form_of(c);
    arrange_all(&t.bad.desc, patterns);
    t.clean.desc = clean_twin(&t.bad.desc);
    t.of = few ? FEW_ROWS : t.bad.desc.scores.ndim || t.bad.desc.colsum.ndim ? WEIGHTS : FORWARD;
    if (!few || spoil_few(&t.bad.desc, &t.clean.desc)) check(&t);
}

static void make_state(fuzz_case *c, const attn_desc *part, void **state, size_t *bytes)
{
    work w;
    memset(&w, 0, sizeof w);
    fuzz_expect(c, "attn_state_size", attn_state_size(part, bytes), ATTN_OK);
    w.desc = *part;
    w.state[1] = *state = test_memory(*bytes, 0);
    w.state_bytes[1] = *bytes;
    fuzz_expect(c, "attn_partial", fuzz_run(do_partial, &w, test_on(ATTN_PATH_AUTO)), ATTN_OK);
}

static void make_states(fuzz_case *c, work *w)
{
    const size_t kv_len = ref_length(&w->desc.k, 2);
    const attn_desc parts[2] = {fuzz_part(&w->desc, 0, c->cut), fuzz_part(&w->desc, c->cut, kv_len)};
    for (int i = 0; i < 2; i++) make_state(c, &parts[i], &w->state[i], &w->state_bytes[i]);
    fuzz_expect(c, "attn_state_merged_size", attn_state_merged_size(w->state[0], w->state[1], &w->merged_bytes),
                ATTN_OK);
    w->merged = test_memory(w->merged_bytes, 0);
    fuzz_expect(c, "attn_state_merge",
                attn_state_merge(w->state[0], w->state[1], w->merged, w->merged_bytes, ATTN_PATH_AUTO), ATTN_OK);
}

static void check_states(fuzz_case *c, unsigned patterns)
{
    twins t;
    memset(&t, 0, sizeof t);
    t.c = c;
    t.bad.desc = c->desc;
    t.bad.desc.scores = t.bad.desc.colsum = test_absent;
    fuzz_for_parts(&t.bad.desc);
    arrange_all(&t.bad.desc, patterns);
    t.clean.desc = clean_twin(&t.bad.desc);
    make_states(c, &t.bad);
    make_states(c, &t.clean);
    for (t.of = MERGE; t.of <= FINISH; t.of++) check(&t);
    t.of = PARTIAL;
    t.bad.desc = fuzz_part(&t.bad.desc, c->cut, ref_length(&t.bad.desc.k, 2));
    t.clean.desc = fuzz_part(&t.clean.desc, c->cut, ref_length(&t.clean.desc.k, 2));
    check(&t);
}

/* Of an array with the shape of the scores and the values of q. */
static void check_softmax(fuzz_case *c, unsigned patterns)
{
    const attn_dtype type = c->desc.q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32;
    twins t;
    size_t shape[4];
    memset(&t, 0, sizeof t);
    t.c = c;
    t.of = SOFTMAX;
    for (int i = 0; i < 3; i++) shape[i] = ref_length(&c->desc.q, 4 - i);
    shape[3] = ref_length(&c->desc.k, 2);
    t.bad.desc.q = fuzz_array(type, shape, fuzz_byte(&c->input, FUZZ_AT_LAYOUT_MS) & 15, 0);
    t.bad.desc.out = fuzz_array(type, shape, fuzz_byte(&c->input, FUZZ_AT_LAYOUT_VO) >> 4, 0);
    fuzz_fill(&t.bad.desc.q, c->values[0], &c->rng);
    arrange_all(&t.bad.desc, patterns);
    t.clean.desc = clean_twin(&t.bad.desc);
    t.bad.x = t.bad.desc.q;
    t.clean.x = t.clean.desc.q;
    t.bad.axis = t.clean.axis = (int)(fuzz_byte(&c->input, FUZZ_AT_MODES) >> 5 & 3);
    check(&t);
}

FUZZ_MUTATES

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static int looked;
    fuzz_case c;
    unsigned patterns;
    if (!looked++) look_around();
    fuzz_decode(&c, bytes, size, limit > 0 ? &measurable : &small);
    patterns = fuzz_byte(&c.input, FUZZ_AT_PATTERNS);
    switch (fuzz_byte(&c.input, FUZZ_AT_MODES) & 7) {
    case 4: check_forward(&c, patterns, 1); break;
    case 5:
    case 6: check_states(&c, patterns); break;
    case 7: check_softmax(&c, patterns); break;
    default: check_forward(&c, patterns, 0); break;
    }
    fuzz_end(&c);
    return 0;
}
