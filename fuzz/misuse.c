/* SPDX-License-Identifier: MIT-0
 *
 * Wrong arguments: sizes near SIZE_MAX, NULL, strides, aliases, alignment, a short
 * workspace, states that are none. A status, and not one byte written; where the
 * arguments turn out to be right, nothing outside of the arrays is touched.
 *
 *   byte 0: function, 1: how many faults; then five bytes a fault: array, field,
 *   index, value (2). The rest as in grammar.h, for the problem that is spoiled.
 */
#include "oracle.h"

#include <math.h>
#include <string.h>

enum {
    ARRAYS = 22,
    BEFORE_SCALES = 14, /* of them */
    FAULT = 5,
    MOST_FAULTS = 4,
    HEADER = 2 + FAULT * MOST_FAULTS,
    MOST_DIM = 600,
    MANY = 300,
    ROOM = 1 << 22
};

/* What is called, and what of it may be spoiled. */
typedef struct call {
    const fuzz_case *c;
    attn_desc desc;
    attn_array *arrays[ARRAYS];
    struct {
        const char *low, *high;
    } memory[ARRAYS];
    attn_exec run;
    int axis, function;
    unsigned absent; /* bits: arguments that are NULL */
    double base;
    size_t rotary_dim;
} call;

enum { FORWARD, SELF_ATTENTION, MATMUL, WEIGHTED_SUM, SCORES, SOFTMAX, ROTARY, CACHE, QKV, LAYER, FUNCTIONS };

static attn_status do_call(const call *k, const attn_exec *run)
{
    const attn_desc *d = &k->desc;
#define OR_NULL(bit, argument) ((k->absent >> (bit)) & 1 ? NULL : (argument))
    const attn_array *q = OR_NULL(0, &d->q), *key = OR_NULL(1, &d->k), *v = OR_NULL(2, &d->v),
                     *out = OR_NULL(3, &d->out);
    const attn_array *scores = OR_NULL(4, &d->scores), *mask = OR_NULL(5, &d->mask), *colsum = OR_NULL(6, &d->colsum);
    switch (k->function) {
    case FORWARD: return attn_forward(OR_NULL(0, d), run);
    case SELF_ATTENTION: return attn_self_attention(q, key, v, out, scores, run);
    case MATMUL: return attn_matmul(q, key, out, run);
    case WEIGHTED_SUM: return attn_weighted_sum(q, v, out, run);
    case SCORES: return attn_scores(q, key, d->scale, scores, run);
    case SOFTMAX: return attn_softmax(mask, k->axis, scores, run);
    case QKV: return attn_compute_qkv(q, key, v, mask, out, scores, colsum, run);
    case LAYER: {
        attn_layer layer = attn_layer_default();
        layer.x = d->q;
        layer.w_q = layer.w_k = d->k;
        layer.w_v = d->v;
        layer.w_o = d->mask;
        layer.b_q = d->alibi;
        layer.b_v = d->sinks;
        layer.b_o = d->colsum;
        layer.out = d->out;
        layer.weights = d->scores;
        layer.num_heads = d->scores_head;
        layer.kv_num_heads = d->scores_query;
        layer.attention.scale = d->scale;
        layer.attention.causal = d->causal;
        layer.attention.window = d->window;
        layer.attention.window_left = d->window_left;
        return attn_layer_forward(OR_NULL(0, &layer), run);
    }
    /* these two have neither workspace nor query */
    case ROTARY:
        if (k->absent & 64) {
            attn_rotation r = attn_rotation_default();
            r.base = k->base;
            r.rotary_dim = k->rotary_dim;
            r.interleaved = d->causal;
            r.scale = d->scale;
            r.magnitude = d->softcap;
            r.factors = d->alibi;
            r.sections[0] = d->scores_head;
            r.sections[3] = d->scores_query;
            r.cosine = d->mask;
            return k->absent & 32 ? attn_cache_append_rotated(out, OR_NULL(4, &r), q, NULL, NULL, NULL)
                                  : attn_rotate(OR_NULL(4, &r), q, d->kv_lens.ndim ? &d->kv_lens : NULL, out);
        }
        if (d->mask.ndim && d->alibi.ndim) return attn_rotary_tables(q, &d->mask, &d->alibi, d->causal, out);
        return attn_rotary(q, d->kv_lens.ndim ? &d->kv_lens : NULL, k->base, k->rotary_dim, d->causal, out);
    default:
        if (d->ring) {
            attn_cache c = attn_cache_default();
            c.data = *out;
            c.block_table = d->block_table;
            c.ring = d->ring;
            c.ring_sinks = d->ring_sinks;
            return attn_cache_write(OR_NULL(0, &c), q, d->kv_lens.ndim ? &d->kv_lens : NULL, NULL, NULL);
        }
        return attn_cache_append(out, q, d->kv_lens.ndim ? &d->kv_lens : NULL,
                                 d->block_table.ndim ? &d->block_table : NULL);
    }
#undef OR_NULL
}

static int has_query(int function) { return function != ROTARY && function != CACHE; }

/* ---- faults ---- */

static size_t odd_size(unsigned value)
{
    static const size_t sizes[16] = {0,
                                     1,
                                     2,
                                     3,
                                     5,
                                     SIZE_MAX,
                                     SIZE_MAX - 1,
                                     SIZE_MAX / 2,
                                     SIZE_MAX / 2 + 1,
                                     SIZE_MAX / 4,
                                     SIZE_MAX / 8 + 1,
                                     SIZE_MAX / 512,
                                     SIZE_MAX / 4096 + 1,
                                     4096,
                                     65536,
                                     17};
    return value & 0x1000 ? (size_t)(value & 0xff) : sizes[value & 15] + (value >> 8 & 1);
}

static ptrdiff_t odd_stride(unsigned value)
{
    static const ptrdiff_t strides[16] = {0,
                                          1,
                                          -1,
                                          2,
                                          -2,
                                          PTRDIFF_MAX,
                                          PTRDIFF_MIN,
                                          PTRDIFF_MIN + 1,
                                          PTRDIFF_MAX / 2,
                                          PTRDIFF_MIN / 2,
                                          PTRDIFF_MAX / 4,
                                          PTRDIFF_MAX / 8 + 1,
                                          PTRDIFF_MIN / 8,
                                          7,
                                          -7,
                                          4096};
    return value & 0x1000 ? (ptrdiff_t)(value & 0xff) - 128 : strides[value & 15];
}

static int64_t odd_integer(unsigned value)
{
    static const int64_t integers[8] = {
        INT64_MIN, INT64_MAX, -1, -2, (int64_t)1 << 62, -((int64_t)1 << 62) - 1, 0, ((int64_t)1 << 62) + 1};
    return value & 0x1000 ? (int64_t)(value & 0xff) - 64 : integers[value & 7];
}

static double odd_number(unsigned value)
{
    static const double numbers[8] = {0, -1, 1e39, -1e39, 1e308, 1e-320, 0.5, 3};
    const unsigned kind = value & 15;
    return kind == 8 ? (double)NAN : kind == 9 ? (double)INFINITY : kind == 10 ? -(double)INFINITY : numbers[kind & 7];
}

static void spoil_array(call *k, size_t which, unsigned field, unsigned index, unsigned value)
{
    attn_array *a = k->arrays[which];
    const attn_array *other = k->arrays[index % ARRAYS];
    switch (field % 8) {
    case 0: a->ndim = value & 1 ? (int)(value >> 1 & 15) - 2 : (int)odd_integer(value >> 1); break;
    case 1: a->dtype = (attn_dtype)(value & 1 ? value >> 1 & 15 : value); break;
    case 2:
    case 3: a->shape[index % ATTN_MAX_DIMS] = odd_size(value); break;
    case 4:
    case 5: a->stride[index % ATTN_MAX_DIMS] = odd_stride(value); break;
    case 6: a->data = value & 1 || !a->data ? NULL : (char *)a->data + (value >> 1 & 15); break;
    default:
        if (other->data) a->data = (char *)other->data + (value & 1 ? value >> 1 & 63 : 0);
        break;
    }
}

/* One of the first eight lengths, pages or sequence offsets. */
static void spoil_contents(call *k, unsigned index, unsigned value)
{
    static const int integers[4] = {5, 8, 9, 10};
    const int which = integers[index & 3];
    const int64_t x = odd_integer(value);
    const int32_t narrow = (int32_t)(uint32_t)(uint64_t)x;
    const size_t size = value & 0x2000 ? sizeof x : sizeof narrow, at = (index >> 2 & 7) * size;
    const size_t room = (size_t)(k->memory[which].high - k->memory[which].low);
    if (at + size <= room)
        memcpy((char *)(uintptr_t)k->memory[which].low + at,
               size == sizeof x ? (const void *)&x : (const void *)&narrow, size);
}

static void spoil_scalar(call *k, unsigned index, unsigned value)
{
    attn_desc *d = &k->desc;
    switch (index % 21) {
    case 0: d->scale = odd_number(value); break;
    case 1: d->softcap = odd_number(value); break;
    case 2: d->causal = (int)odd_integer(value); break;
    case 3: d->align = (attn_align)(value & 1 ? value >> 1 & 7 : value); break;
    case 4: d->q_offset = odd_integer(value), d->align = ATTN_ALIGN_OFFSET; break;
    case 5: d->window = 1, d->ring = value & 1, d->ring_sinks = odd_size(value >> 1); break;
    case 6: d->window_left = odd_integer(value); break;
    case 7: d->window_right = odd_integer(value); break;
    case 8: d->kv_begin = odd_size(value); break;
    case 9: d->stage = (attn_stage)(value & 1 ? value >> 1 & 7 : value); break;
    case 10: d->scores_head = odd_size(value); break;
    case 11: d->scores_query = odd_size(value); break;
    case 12: k->run.path = (attn_path)(value & 1 ? value >> 1 & 7 : value); break;
    case 13: k->run.num_workers = odd_size(value); break;
    case 14: k->axis = (int)odd_integer(value); break;
    case 15: k->base = odd_number(value); break;
    case 16: k->rotary_dim = odd_size(value); break;
    case 17: d->mask_place = (attn_mask_place)(value & 1 ? value >> 1 & 3 : value); break;
    case 18: d->rel_first = odd_integer(value); break;
    case 19: d->rel_clamp = (int)odd_integer(value); break;
    default: k->run.parallel_for = NULL; break;
    }
}

/* ---- what a call may look at ---- */

/* Elements in memory along an axis: blocks of ATTN_Q8_0, bytes of ATTN_BIT along the last. */
static size_t count_along(const attn_array *a, int axis)
{
    const size_t block = axis == a->ndim - 1 ? attn_dtype_block(a->dtype) : 1;
    return a->shape[axis] / block + (a->dtype == ATTN_BIT && a->shape[axis] % block > 0);
}
static size_t alignment_of(attn_dtype type) { return type == ATTN_Q8_0 ? 2 : attn_dtype_size(type); }

static int is_integer(const attn_array *a) { return a->dtype == ATTN_I32 || a->dtype == ATTN_I64; }

/* Does the array lie within the memory of some array of the problem, or nowhere that may
 * be looked at, and is it small enough to wait for? In long double, where nothing overflows. */
static int inside(const call *k, const attn_array *a)
{
    long double low = 0, high, packed = 1;
    int strided = 0, empty = 0;
    if (a->ndim == 0 && !a->data) return 1;
    if (a->ndim < 0 || a->ndim > ATTN_MAX_DIMS || (unsigned)a->dtype >= ATTN_DTYPE_COUNT) return 0;
    high = 1;
    for (int i = 0; i < a->ndim; i++) {
        strided |= a->stride[i] != 0;
        empty |= a->shape[i] == 0;
        if (a->shape[i] > MOST_DIM) return 0;
    }
    if (empty || !a->data || (uintptr_t)a->data % alignment_of(a->dtype) != 0) return 1;
    for (int i = a->ndim - 1; i >= 0; i--) {
        const size_t n = count_along(a, i);
        const long double reach = ((long double)n - 1) * (strided ? (long double)a->stride[i] : packed);
        *(reach < 0 ? &low : &high) += n ? reach : 0; /* no whole block: refused */
        packed *= (long double)n;
    }
    for (int i = 0; i < ARRAYS; i++) {
        const long double size = (long double)attn_dtype_size(a->dtype);
        const long double at = (long double)((const char *)a->data - k->memory[i].low),
                          room = (long double)(k->memory[i].high - k->memory[i].low);
        if (k->memory[i].low && a->data && at + low * size >= 0 && at + high * size <= room) return 1;
    }
    return 0;
}

static void remember(call *k)
{
    for (int i = 0; i < ARRAYS; i++) {
        const attn_array *a = k->arrays[i];
        ptrdiff_t low = 0, high = 1, packed = 1;
        int strided = 0, empty = 0;
        k->memory[i].low = k->memory[i].high = NULL;
        for (int axis = 0; axis < a->ndim; axis++) strided |= a->stride[axis] != 0;
        for (int axis = a->ndim - 1; axis >= 0; axis--) {
            const ptrdiff_t n = (ptrdiff_t)count_along(a, axis), reach = (n - 1) * (strided ? a->stride[axis] : packed);
            empty |= n == 0;
            *(reach < 0 ? &low : &high) += reach;
            packed *= n;
        }
        if (a->ndim && !empty) {
            k->memory[i].low = (const char *)a->data + low * (ptrdiff_t)attn_dtype_size(a->dtype);
            k->memory[i].high = (const char *)a->data + high * (ptrdiff_t)attn_dtype_size(a->dtype);
        }
    }
}

/* ---- one byte after the other ---- */

typedef struct snapshot {
    unsigned char *bytes[ARRAYS];
} snapshot;

static snapshot take(const call *k)
{
    snapshot s;
    for (int i = 0; i < ARRAYS; i++) {
        const size_t n = (size_t)(k->memory[i].high - k->memory[i].low);
        s.bytes[i] = NULL;
        if (!k->memory[i].low) continue;
        s.bytes[i] = test_memory(n, 0);
        memcpy(s.bytes[i], k->memory[i].low, n);
    }
    return s;
}

static void compare(const call *k, const snapshot *s, const char *when, attn_status status)
{
    for (int i = 0; i < ARRAYS; i++)
        if (k->memory[i].low &&
            memcmp(s->bytes[i], k->memory[i].low, (size_t)(k->memory[i].high - k->memory[i].low)) != 0) {
            fuzz_print_desc(&k->desc);
            fuzz_fail(k->c, "function %d, %s: \"%s\", and yet array %d is written", k->function, when,
                      attn_status_string(status), i);
        }
}

/* ---- which arrays share bytes ---- */

/* What a function is given, and of that what it writes: bits of call.arrays. */
static void arguments_of(const call *k, unsigned *given, unsigned *written)
{
    static const struct {
        unsigned given, written;
    } arguments[FUNCTIONS] = {
        {0x3fffff, 0x183808}, {0x100f, 0x1008}, {0x000b, 0x0008}, {0x000d, 0x0008}, {0x1003, 0x1000},
        {0x1010, 0x1000},     {0x0029, 0x0008}, {0x0129, 0x0008}, {0x301f, 0x3008}, {0x30df, 0x1008},
    };
    *given = arguments[k->function].given;
    *written = arguments[k->function].written;
    if (k->function == SELF_ATTENTION && k->absent >> 4 & 1) *given &= 0xfffu, *written &= 0xfffu;
}

/* Strides as they are meant. Returns how many elements there are, those in one place counted once. */
static size_t explicit_strides(attn_array *a)
{
    size_t n = 1, packed = 1;
    int strided = 0;
    for (int i = 0; i < a->ndim; i++) strided |= a->stride[i] != 0;
    if (a->ndim > 0) a->shape[a->ndim - 1] = count_along(a, a->ndim - 1);
    for (int i = a->ndim - 1; i >= 0; i--) {
        if (!strided) a->stride[i] = (ptrdiff_t)packed;
        packed *= a->shape[i];
        if (a->shape[i] == 0) n = 0;
        if (a->stride[i] == 0 || a->shape[i] == 0) a->shape[i] = 1;
        n *= n < ROOM ? a->shape[i] : 1;
    }
    return a->ndim ? n : 0;
}

/* Marks the bytes of an array. Returns whether one of them is marked. */
static int mark(const call *k, unsigned char *const *marks, attn_array a, int look)
{
    const size_t size = attn_dtype_size(a.dtype), n = explicit_strides(&a);
    int shared = 0;
    for (size_t i = 0; i < n; i++) {
        const char *at = a.data;
        size_t rest = i;
        int region = 0;
        for (int axis = a.ndim - 1; axis >= 0; rest /= a.shape[axis], axis--)
            at += (ptrdiff_t)(rest % a.shape[axis]) * a.stride[axis] * (ptrdiff_t)size;
        while (region < ARRAYS && (at < k->memory[region].low || at >= k->memory[region].high)) region++;
        if (region == ARRAYS) return 0; /* refused before it is looked at */
        for (size_t byte = 0; byte < size; byte++) {
            unsigned char *m = &marks[region][at - k->memory[region].low + (ptrdiff_t)byte];
            if (look) shared |= *m;
            else *m = 1;
        }
    }
    return shared;
}

/* Does each stride step over what the smaller ones of either array span? */
static int nested(attn_array a, attn_array b)
{
    const attn_array *const both[2] = {&a, &b};
    size_t steps[2][ATTN_MAX_DIMS] = {{0}};
    explicit_strides(&a);
    explicit_strides(&b);
    for (int i = 0; i < 2; i++)
        for (int axis = 0; axis < both[i]->ndim; axis++)
            if (both[i]->shape[axis] > 1) {
                const size_t stride = (size_t)both[i]->stride[axis];
                steps[i][axis] = (both[i]->stride[axis] < 0 ? 0 - stride : stride) * attn_dtype_size(both[i]->dtype);
            }
    for (int i = 0; i < 2 * ATTN_MAX_DIMS; i++)
        for (int j = 0; j < 2; j++) {
            const size_t step = steps[i % 2][i / 2];
            size_t span = attn_dtype_size(both[j]->dtype);
            for (int axis = 0; axis < both[j]->ndim; axis++)
                if (steps[j][axis] < step || (steps[j][axis] == step && j == i % 2 && axis > i / 2))
                    span += steps[j][axis] * (both[j]->shape[axis] - 1);
            if (step && step < span) return 0;
        }
    return a.ndim <= 4 && b.ndim <= 4;
}

static int in_place(const call *k, const attn_array *x, const attn_array *y)
{
    if ((k->function != SOFTMAX && k->function != ROTARY) || x->data != y->data || x->dtype != y->dtype) return 0;
    for (int axis = 0; axis < x->ndim; axis++)
        if (x->shape[axis] > 1 && x->stride[axis] != y->stride[axis]) return 0;
    return 1;
}

/* Byte by byte: a call that is taken has no output that meets another array, and one that is refused for that has,
 * unless the manual says that it may not be found out. */
static void check_aliases(const call *k, attn_status status)
{
    unsigned given, written;
    unsigned char *marks[ARRAYS] = {NULL};
    int meet = 0, open = 0;
    arguments_of(k, &given, &written);
    for (int i = 0; i < ARRAYS; i++) {
        attn_array a = *k->arrays[i];
        if (explicit_strides(&a) >= ROOM / 16) return;
        if (k->memory[i].low) marks[i] = test_memory((size_t)(k->memory[i].high - k->memory[i].low), 0);
    }
    for (int i = 0; i < ARRAYS; i++) {
        if (!(written >> i & 1) || k->arrays[i]->ndim == 0) continue;
        for (int j = 0; j < ARRAYS; j++)
            if (marks[j]) memset(marks[j], 0, (size_t)(k->memory[j].high - k->memory[j].low));
        mark(k, marks, *k->arrays[i], 0);
        for (int j = 0; j < ARRAYS; j++) {
            if (j == i || !(given >> j & 1) || k->arrays[j]->ndim == 0 || in_place(k, k->arrays[j], k->arrays[i]))
                continue;
            meet |= mark(k, marks, *k->arrays[j], 1);
            open |= !nested(*k->arrays[i], *k->arrays[j]);
        }
    }
    if (status == ATTN_OK ? meet : !meet && !open) {
        fuzz_print_desc(&k->desc);
        fuzz_fail(k->c, "function %d: \"%s\", and yet %s", k->function, attn_status_string(status),
                  meet ? "an output meets another array" : "no output meets another array");
    }
}

static void random_for(void *context, size_t count, attn_task task, void *arg)
{
    (void)context;
    for (size_t i = count; i-- > 0;) task(arg, i, 0);
}

static void check_call(call *k)
{
    const snapshot before = take(k);
    const size_t untouched = 0x5a5a5a5au;
    size_t bytes = untouched;
    attn_status asked = ATTN_OK, status;
    int all = 1, integers = 1;
    unsigned char *workspace;
    attn_exec run = k->run;
    for (int i = 0; i < ARRAYS; i++) {
        const int fits = inside(k, k->arrays[i]);
        all &= fits;
        integers &= fits || !is_integer(k->arrays[i]);
    }
    if (has_query(k->function)) {
        run.query = &bytes;
        asked = do_call(k, &run);
        compare(k, &before, "asked for the workspace", asked);
        if (asked != ATTN_OK && bytes != untouched)
            fuzz_fail(k->c, "function %d: \"%s\", and yet the size is stored", k->function, attn_status_string(asked));
        run.query = NULL;
    } else {
        bytes = 0;
        integers = all; /* whatever is wrong, sizes may be right */
    }
    if (asked == ATTN_OK && k->function == FORWARD &&
        ((k->desc.q.dtype == ATTN_F64) != (k->desc.k.dtype == ATTN_F64) ||
         (k->desc.q.dtype == ATTN_F64) != (k->desc.v.dtype == ATTN_F64)))
        fuzz_fail(k->c, "float64 together with another type is taken");
    if (asked == ATTN_OK ? !all || bytes > ROOM : !integers) return;
    if (asked == ATTN_OK && bytes > 0) { /* one byte less than needed, none at all */
        workspace = fuzz_workspace(bytes);
        run.workspace = workspace;
        run.workspace_size = bytes - 1;
        status = do_call(k, &run);
        compare(k, &before, "with a short workspace", status);
        for (size_t i = 0; i < bytes; i++)
            if (workspace[i] != 0xff) fuzz_fail(k->c, "function %d: a short workspace is written", k->function);
        if (status == ATTN_OK) fuzz_fail(k->c, "function %d: a short workspace is taken", k->function);
        run.workspace = NULL;
        run.workspace_size = bytes;
        status = do_call(k, &run);
        compare(k, &before, "without workspace", status);
        if (status == ATTN_OK) fuzz_fail(k->c, "function %d: no workspace is taken", k->function);
    }
    if (asked == ATTN_OK && has_query(k->function) && bytes / 64 % 4 == 0) { /* in memory of its own */
        status = do_call(k, NULL);
        if (status == ATTN_OK || status == ATTN_ERR_ALIAS) check_aliases(k, status);
        if (status != ATTN_OK) compare(k, &before, "without exec", status);
        return;
    }
    workspace = fuzz_workspace(asked == ATTN_OK ? bytes : 4096);
    run.workspace = workspace;
    run.workspace_size = asked == ATTN_OK ? bytes : 4096;
    status = do_call(k, &run);
    if (status == ATTN_OK && asked != ATTN_OK)
        fuzz_fail(k->c, "function %d: \"%s\" when asked for the workspace, and then no error", k->function,
                  attn_status_string(asked));
    if (all && (status == ATTN_OK || status == ATTN_ERR_ALIAS)) check_aliases(k, status);
    if (status == ATTN_OK) return;
    compare(k, &before, "called", status);
    for (size_t i = 0; i < run.workspace_size; i++)
        if (workspace[i] != 0xff)
            fuzz_fail(k->c, "function %d: \"%s\", and yet the workspace is written", k->function,
                      attn_status_string(status));
}

/* ---- states ---- */

/* What tells a state from other bytes, and from states of other problems: `state` with
 * a word of its head changed, and with that of the part of no keys that follows it. */
static void check_merges(call *k, const fuzz_input *in, const attn_desc *whole, const unsigned char *state,
                         size_t bytes, attn_exec *run)
{
    const size_t room = 4 * bytes + 4096, at = fuzz_byte(in, 2) % 9 * 8;
    const int wrong = fuzz_byte(in, 4) % 8;
    attn_desc d = fuzz_keys(whole, 0, 0);
    size_t empty_bytes = 0, scratch = 0, merged = 0x5a5a5a5au;
    unsigned char *empty, *copy, *to = test_memory(room, 0), *place = to;
    attn_status status;
    d.kv_begin += ref_length(&whole->k, 2);
    d.mask = test_absent;
    if (attn_state_size(&d, &empty_bytes) != ATTN_OK) return;
    run->query = &scratch;
    if (attn_partial(&d, NULL, 0, run) != ATTN_OK || scratch > ROOM) return;
    run->query = NULL;
    run->workspace = fuzz_workspace(scratch);
    run->workspace_size = scratch;
    empty = test_memory(empty_bytes, 0);
    if (attn_partial(&d, empty, empty_bytes, run) != ATTN_OK) return;
    for (int second = 0; second < 2; second++) {
        const size_t n = second ? empty_bytes : bytes;
        uint64_t word;
        copy = test_memory(n, 0);
        memcpy(copy, second ? empty : state, n);
        memcpy(&word, copy + at, 8);
        word ^= (uint64_t)1 << fuzz_byte(in, 3) % 64;
        memcpy(copy + at, &word, 8);
        merged = 0x5a5a5a5au;
        status = attn_state_merged_size(state, copy, &merged);
        if (status == ATTN_OK) continue; /* a number of the part, perhaps */
        if (merged != 0x5a5a5a5au)
            fuzz_fail(k->c, "attn_state_merged_size: \"%s\", and yet the size is stored", attn_status_string(status));
        status = attn_state_merge(state, copy, to, room, ATTN_PATH_AUTO);
        if (status == ATTN_OK) fuzz_fail(k->c, "attn_state_merge takes what attn_state_merged_size refuses");
        if (!test_untouched(to, room))
            fuzz_fail(k->c, "attn_state_merge: \"%s\", and yet the result is written", attn_status_string(status));
    }
    if (attn_state_merged_size(state, empty, &merged) != ATTN_OK || merged > room)
        return; /* another length of the batch */
    copy = test_memory(bytes, 0);
    memcpy(copy, state, bytes);
    if (wrong == 0) place = NULL;
    else if (wrong == 1) place = to + 4;
    else if (wrong == 2) place = copy;
    else if (wrong == 3) place = empty;
    status = attn_state_merge(wrong == 4 ? NULL : copy, wrong == 5 ? copy + 4 : empty, place, merged - (wrong == 6),
                              wrong == 7 ? ATTN_PATH_COUNT : ATTN_PATH_AUTO);
    if (status == ATTN_OK) fuzz_fail(k->c, "attn_state_merge: no error in case %d", wrong);
    if (!test_untouched(to, room) || memcmp(copy, state, bytes) != 0)
        fuzz_fail(k->c, "attn_state_merge: \"%s\", and yet something is written", attn_status_string(status));
    if (attn_state_merged_size(state, empty, NULL) == ATTN_OK || attn_state_size(NULL, &merged) == ATTN_OK ||
        attn_state_size(whole, NULL) == ATTN_OK || attn_partial(NULL, to, room, run) == ATTN_OK)
        fuzz_fail(k->c, "states: NULL is taken");
}

/* Outputs that lie on the state, on each other or on the sinks; sinks of other heads. */
static void check_finish(call *k, const fuzz_input *in, const attn_desc *whole, unsigned char *state, size_t bytes)
{
    attn_desc d = *whole;
    unsigned char *copy = test_memory(bytes, 0);
    const size_t heads = ref_length(&d.q, 3), elements = ref_length(&d.q, 4) * heads * ref_length(&d.q, 2);
    const attn_dtype type = d.q.dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32;
    attn_status status;
    if (elements == 0 || ref_length(&d.v, 1) == 0) return;
    memcpy(copy, state, bytes);
    d.out = test_4d(type, ref_length(&d.q, 4), heads, ref_length(&d.q, 2), ref_length(&d.v, 1));
    d.lse = test_3d(type, ref_length(&d.q, 4), heads, ref_length(&d.q, 2));
    d.sinks = test_1d(type, heads);
    switch (fuzz_byte(in, 4) >> 3 & 7) {
    case 0: d.out.data = state; break;
    case 1: d.lse.data = state; break;
    case 2: d.lse.data = d.out.data; break;
    case 3: d.sinks.data = d.out.data; break;
    case 4: d.sinks.data = d.lse.data; break;
    case 5: d.sinks.shape[0] = heads + 1; break;
    case 6: d.lse.dtype = ATTN_I32; break;
    default: d.sinks.dtype = ATTN_BOOL; break;
    }
    status = attn_state_finish(&d, state, ATTN_PATH_AUTO);
    if (status == ATTN_OK) fuzz_fail(k->c, "attn_state_finish: no error in case %u", fuzz_byte(in, 4) >> 3 & 7);
    if (memcmp(copy, state, bytes) != 0)
        fuzz_fail(k->c, "attn_state_finish: \"%s\", and yet the state is written", attn_status_string(status));
}

/* A state that would lie on one of the inputs. */
static void check_overlap(call *k, size_t bytes, const attn_exec *run)
{
    static const int inputs[11] = {0, 1, 2, 4, 5, 6, 14, 15, 16, 17, 21};
    const snapshot before = take(k);
    for (size_t i = 0; i < 11; i++) {
        const attn_array *a = k->arrays[inputs[i]];
        attn_status status;
        int empty = a->ndim == 0;
        for (int axis = 0; axis < a->ndim; axis++) empty |= a->shape[axis] == 0;
        if (empty) continue;
        status = attn_partial(&k->desc, (char *)a->data - (uintptr_t)a->data % 8, bytes, run);
        compare(k, &before, "on an input", status);
        fuzz_expect(k->c, "attn_partial on an input", status, ATTN_ERR_ALIAS);
    }
}

static void check_states(call *k, const fuzz_input *in)
{
    attn_desc d = k->desc;
    attn_exec run = k->run;
    size_t bytes = 0x5a5a5a5au, scratch = 0;
    unsigned char *state;
    attn_status status = attn_state_size(&d, &bytes);
    if (status != ATTN_OK) {
        run.query = &scratch;
        if (bytes != 0x5a5a5a5au || scratch != 0)
            fuzz_fail(k->c, "attn_state_size: \"%s\", and yet the size is stored", attn_status_string(status));
        if (attn_partial(&d, NULL, 0, &run) == ATTN_OK)
            fuzz_fail(k->c, "attn_state_size: \"%s\", and attn_partial takes it", attn_status_string(status));
        return;
    }
    for (int i = 0; i < ARRAYS; i++)
        if (!inside(k, k->arrays[i])) return;
    run.query = &scratch;
    if (bytes > ROOM || attn_partial(&d, NULL, 0, &run) != ATTN_OK || scratch > ROOM) return;
    run.query = NULL;
    run.workspace = fuzz_workspace(scratch);
    run.workspace_size = scratch;
    state = test_memory(bytes, 0);
    for (int wrong = 0; wrong < 3; wrong++) {
        status = attn_partial(&d,
                              wrong == 0   ? NULL
                              : wrong == 1 ? state + 4
                                           : state,
                              wrong == 2 ? bytes - 1 : bytes, &run);
        if (status == ATTN_OK) fuzz_fail(k->c, "attn_partial: no error in case %d", wrong);
        for (size_t i = 0; i < bytes; i++)
            if (state[i] != 0xff)
                fuzz_fail(k->c, "attn_partial: \"%s\", and yet the state is written", attn_status_string(status));
    }
    if (attn_partial(&d, state, bytes, &run) != ATTN_OK) return;
    check_overlap(k, bytes, &run);
    check_merges(k, in, &d, state, bytes, &run);
    status = attn_state_finish(&d, state + 4, ATTN_PATH_AUTO);
    if (status == ATTN_OK) fuzz_fail(k->c, "attn_state_finish: a state that is not aligned is taken");
    if (attn_state_finish(&d, NULL, ATTN_PATH_AUTO) == ATTN_OK ||
        attn_state_finish(NULL, state, ATTN_PATH_AUTO) == ATTN_OK ||
        attn_state_finish(&d, state, ATTN_PATH_COUNT) == ATTN_OK)
        fuzz_fail(k->c, "attn_state_finish: no error");
    check_finish(k, in, &d, state, bytes);
    attn_state_finish(&d, state, ATTN_PATH_AUTO);
}

/* ---- problems that are right before they are spoiled ---- */

static void shape_for(call *k, const fuzz_case *c)
{
    attn_desc *d = &k->desc;
    switch (k->function) {
    case MATMUL:
    case SCORES:
    case WEIGHTED_SUM:
        d->q = test_3d(ATTN_F32, 2, 5, 7);
        d->k = k->function == SCORES ? test_3d(ATTN_F32, 2, 6, 7) : test_3d(ATTN_F32, 2, 7, 6);
        d->v = test_2d(ATTN_F32, 7, 6);
        d->out = d->scores = test_3d(ATTN_F32, 2, 5, 6);
        break;
    case SOFTMAX:
        d->mask = test_3d(ATTN_F32, 3, 4, 5);
        d->scores = test_3d(ATTN_F32, 3, 4, 5);
        break;
    case QKV:
        d->q = test_2d(ATTN_F32, 5, 4);
        d->k = test_2d(ATTN_F32, 4, 3);
        d->v = test_2d(ATTN_F32, 4, 3);
        d->mask = test_2d(ATTN_F32, 4, 2);
        d->out = test_2d(ATTN_F32, 5, 3);
        d->scores = test_2d(ATTN_F32, 5, 3);
        d->colsum = test_2d(ATTN_F32, 5, 2);
        break;
    case LAYER:
        d->q = test_3d(ATTN_F32, 2, 5, 8);
        d->k = test_2d(ATTN_F32, 8, 12);
        d->v = test_2d(ATTN_F32, 8, 8);
        d->mask = test_2d(ATTN_F32, 8, 7);
        d->colsum = test_1d(ATTN_F32, 7);
        d->alibi = test_1d(ATTN_F32, 12);
        d->sinks = test_1d(ATTN_F32, 8);
        d->out = test_3d(ATTN_F32, 2, 5, 7);
        d->scores = test_4d(ATTN_F32, 2, 4, 5, 5);
        d->scores_head = 4;
        d->scores_query = 4;
        break;
    case ROTARY:
        d->q = test_3d(ATTN_F32, 2, 5, 8);
        d->out = test_3d(ATTN_F32, 2, 5, 8);
        d->kv_lens = test_1d(ATTN_I32, 5);
        test_fill(&d->kv_lens, 3);
        break;
    case CACHE:
        d->out = test_4d(ATTN_F16, 3, 2, 4, 5);
        d->q = test_4d(ATTN_F32, 1, 2, 3, 5);
        d->kv_lens = test_1d(ATTN_I32, 1);
        d->block_table = test_2d(ATTN_I64, 1, 3);
        test_fill(&d->kv_lens, 2);
        test_fill(&d->block_table, 1);
        break;
    default:
        if (fuzz_byte(&c->input, 1) & 16) { /* pages */
            d->block_table = test_2d(ATTN_I32, ref_length(&d->q, 4), 1);
            test_fill(&d->block_table, 0);
        } else if (fuzz_byte(&c->input, 1) & 32) { /* sequences */
            d->cu_seqlens_q = test_1d(ATTN_I32, 3);
            test_fill(&d->cu_seqlens_q, 0);
            if (fuzz_byte(&c->input, 1) & 64) break; /* a cache of each, as many or not */
            d->cu_seqlens_k = test_1d(ATTN_I64, 3);
            test_fill(&d->cu_seqlens_k, 0);
        }
        break;
    }
}

/* Arrays without elements may have any shape, and products of their lengths overflow. */
static void check_huge(const fuzz_case *c)
{
    const size_t huge = (size_t)1 << (8 * sizeof(size_t) - 2);
    const attn_exec run = attn_exec_default();
    attn_array none = attn_array_3d(ATTN_F32, NULL, huge, huge, 1), swapped = attn_array_swap(none, 0, 2);
    attn_layer layer = attn_layer_default();
    if (swapped.shape[0] != huge || swapped.shape[2] != 1)
        fuzz_fail(c, "axes of an array that cannot be were exchanged");
    layer.w_q = layer.w_k = layer.w_v = attn_array_2d(ATTN_F32, NULL, 0, 4);
    layer.w_o = attn_array_2d(ATTN_F32, NULL, 4, 0);
    none.shape[2] = 0;
    none.stride[0] = none.stride[1] = 1;
    for (int i = 0; i < 2; i++) { /* huge by huge, huge by 1 */
        none.shape[1] = i ? 1 : huge;
        layer.x = layer.out = none;
        fuzz_expect(c, "attn_layer_forward, too many rows", attn_layer_forward(&layer, &run), ATTN_ERR_OVERFLOW);
    }
    layer.num_heads = 4;
    layer.kv_num_heads = 1;
    layer.w_k = attn_array_2d(ATTN_F32, NULL, 0, 1);
    layer.w_v = attn_array_2d(ATTN_F32, NULL, 0, huge);
    fuzz_expect(c, "attn_layer_forward, too many columns", attn_layer_forward(&layer, &run), ATTN_ERR_OVERFLOW);
}

/* Ever more workers: at some number the workspace of the last product alone is larger than
 * there can be. Until then it grows with them. */
static void check_workers(const fuzz_case *c)
{
    attn_layer layer = attn_layer_default();
    attn_exec run = attn_exec_default();
    size_t bytes = 0, before = 0;
    layer.x = test_2d(ATTN_F32, 1, 1);
    layer.w_q = layer.w_k = layer.w_v = test_2d(ATTN_F32, 1, MANY);
    layer.w_o = test_2d(ATTN_F32, MANY, MANY);
    layer.out = test_2d(ATTN_F32, 1, MANY);
    run.query = &bytes;
    run.parallel_for = random_for;
    for (run.num_workers = 1; run.num_workers; run.num_workers *= 2) {
        const attn_status status = attn_layer_forward(&layer, &run);
        if (status != ATTN_OK) fuzz_expect(c, "attn_layer_forward with many workers", status, ATTN_ERR_OVERFLOW);
        if (status == ATTN_OK ? bytes < before + before / 2 || run.num_workers > SIZE_MAX / 4096
                              : run.num_workers < 1024 || bytes != before)
            fuzz_fail(c, "attn_layer_forward: %zu bytes for %zu workers, after %zu: \"%s\"", bytes, run.num_workers,
                      before, attn_status_string(status));
        before = bytes;
    }
}

/* What no fault makes of a right call. */
static void check_corners(const fuzz_case *c)
{
    const size_t huge = (size_t)1 << (8 * sizeof(size_t) - 2);
    const attn_array x = test_4d(ATTN_F32, 2, 1, 4, 4), table = test_2d(ATTN_I32, 1, 1),
                     pages = test_4d(ATTN_F32, 1, 1, 0, 4);
    const attn_array wrong = test_2d(ATTN_I32, 3, 4), some = test_2d(ATTN_I32, 2, 4),
                     none = attn_array_2d(ATTN_F32, x.data, 0, 3);
    const attn_array row = test_4d(ATTN_F32, 1, 1, 1, 4);
    const attn_exec run = attn_exec_default(), lost = attn_exec_in(NULL, 1 << 20);
    attn_array y = x, long_table = table, long_pages = test_4d(ATTN_F32, 1, 1, huge, 0),
               empty = test_4d(ATTN_F32, 1, 1, 1, 0), swapped;
    attn_layer layer = attn_layer_default();
    if (!attn_path_compiled(ATTN_PATH_AUTO) || !attn_path_native(ATTN_PATH_AUTO)) fuzz_fail(c, "no automatic path");
    fuzz_expect(c, "attn_self_test", attn_self_test(&lost), ATTN_ERR_WORKSPACE);
    swapped = attn_array_swap(row, 0, -1);
    if (memcmp(&swapped, &row, sizeof row) != 0) fuzz_fail(c, "axes that are not there were exchanged");

    test_fill(&x, 1);
    test_fill(&some, 1);
    test_fill(&wrong, 1);
    y.stride[0] = 16, y.stride[2] = 1, y.stride[3] = 4; /* the same memory turned */
    fuzz_expect(c, "attn_softmax turned in place", attn_softmax(&x, -1, &y, &run), ATTN_ERR_ALIAS);
    fuzz_expect(c, "attn_rotary turned in place", attn_rotary(&x, NULL, 0, 0, 0, &y), ATTN_ERR_ALIAS);
    y = x;
    y.shape[0] = 1;
    y.data = ref_at(&x, 1, 0, 0, 0);
    long_pages.data = empty.data = x.data;
    fuzz_expect(c, "attn_softmax of another part", attn_softmax(&y, -1, &y, &run), ATTN_OK);
    y.shape[2] = 3;
    swapped = y;
    swapped.data = ref_at(&x, 1, 0, 1, 0);
    fuzz_expect(c, "attn_softmax moved in place", attn_softmax(&y, -1, &swapped, &run), ATTN_ERR_ALIAS);
    fuzz_expect(c, "attn_rotary moved in place", attn_rotary(&y, NULL, 0, 0, 0, &swapped), ATTN_ERR_ALIAS);
    fuzz_expect(c, "attn_softmax of no lines", attn_softmax(&none, 1, &none, &run), ATTN_OK);
    fuzz_expect(c, "attn_rotary, positions of 3 batches", attn_rotary(&x, &wrong, 0, 0, 0, &x), ATTN_ERR_SHAPE);
    fuzz_expect(c, "attn_rotary, positions of 2 batches", attn_rotary(&x, &some, 0, 0, 0, &x), ATTN_OK);
    test_fill(&x, 1);
    ref_set(&some, 0, 0, 1, 0, 2);
    swapped = attn_array_2d(ATTN_I32, some.data, 1, 4); /* one row for both batches; half of each turns */
    fuzz_expect(c, "attn_rotary, positions of all batches", attn_rotary(&x, &swapped, 0, 2, 0, &x), ATTN_OK);
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < 4; i++)
            for (size_t e = 0; e < 4; e++)
                if ((ref_get(&x, b, 0, i, e) == 1) != (e >= 2) || ref_get(&x, b, 0, i, e) != ref_get(&x, 0, 0, 0, e))
                    fuzz_fail(c, "attn_rotary of two elements in place: [%zu, 0, %zu, %zu] is %a", b, i, e,
                              (double)ref_get(&x, b, 0, i, e));

    fuzz_expect(c, "attn_cache_append, empty pages", attn_cache_append(&pages, &row, NULL, &table), ATTN_ERR_SHAPE);
    long_table.shape[1] = huge; /* the same element everywhere */
    long_table.stride[0] = 1;
    fuzz_expect(c, "attn_cache_append, huge pages", attn_cache_append(&long_pages, &empty, NULL, &long_table),
                ATTN_ERR_OVERFLOW);

    layer.x = test_2d(ATTN_F32, 2, 2);
    layer.w_q = layer.w_k = test_2d(ATTN_F32, 2, 4);
    layer.w_v = test_2d(ATTN_F32, 2, 3);
    layer.out = test_2d(ATTN_F32, 2, 6);
    layer.num_heads = 2;
    fuzz_expect(c, "attn_layer_forward, values of half a head", attn_layer_forward(&layer, &run), ATTN_ERR_SHAPE);
    layer.w_k = test_2d(ATTN_F32, 2, 3);
    fuzz_expect(c, "attn_layer_forward, keys of half a head", attn_layer_forward(&layer, &run), ATTN_ERR_SHAPE);
    layer.b_o = test_1d(ATTN_F32, 6);
    fuzz_expect(c, "attn_layer_forward, a bias of nothing", attn_layer_forward(&layer, &run), ATTN_ERR_UNSUPPORTED);
    check_huge(c);
    check_workers(c);
}

/* Keys and values of 8 bits that are none, each with the status of its own and nothing written. */
static void check_codes(const fuzz_case *c)
{
    static const struct {
        attn_dtype type;
        size_t dim, keys, count; /* of k and v; of k_scale, or k_zero */
        int zero;
        attn_status want;
    } cases[] = {
        {ATTN_I8, 64, 3, 2, 0, ATTN_OK},
        {ATTN_U8, 64, 1, 64, 1, ATTN_OK},
        {ATTN_I8, 64, 2, 1, 0, ATTN_ERR_SCALE_SHAPE},
        {ATTN_U8, 64, 4, 2, 1, ATTN_ERR_SCALE_SHAPE},
        {ATTN_F8_E4M3, 64, 3, 3, 0, ATTN_ERR_SCALE_COUNT},
        {ATTN_I8, 64, 3, 128, 1, ATTN_ERR_SCALE_COUNT},
        {ATTN_F8_E5M2, 64, 3, 0, 0, ATTN_ERR_SCALE_COUNT},
        {ATTN_F32, 64, 3, 1, 0, ATTN_ERR_UNSCALED},
        {ATTN_Q8_0, 64, 3, 2, 0, ATTN_ERR_UNSCALED},
        {ATTN_F8_E4M3, 64, 3, 1, 1, ATTN_ERR_UNSCALED},
        {ATTN_Q8_0, 48, 3, 0, 0, ATTN_ERR_BLOCK},
        {ATTN_BOOL, 64, 3, 1, 0, ATTN_ERR_DTYPE},
    };
    attn_desc blocks = attn_desc_default();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int values = 0; values < 2; values++) {
            const size_t dim = cases[i].dim;
            const attn_array coded = test_4d(cases[i].type, 1, 1, 3, dim), plain = test_4d(ATTN_F32, 1, 1, 3, dim);
            const attn_array scales = test_4d(ATTN_F32, 1, 1, cases[i].keys, cases[i].count);
            const int has = cases[i].want != ATTN_ERR_BLOCK;
            attn_exec run = attn_exec_default();
            attn_desc d = attn_desc_default();
            attn_status status;
            size_t bytes = 0;
            d.q = test_4d(ATTN_F32, 1, 1, 2, dim);
            d.k = values ? plain : coded;
            d.v = values ? coded : plain;
            d.out = test_4d(ATTN_F32, 1, 1, 2, dim);
            if (has && cases[i].zero) *(values ? &d.v_zero : &d.k_zero) = scales;
            if (has && !cases[i].zero) *(values ? &d.v_scale : &d.k_scale) = scales;
            run.query = &bytes;
            status = attn_forward(&d, &run);
            fuzz_expect(c, "scales, asked for the workspace", status, cases[i].want);
            fuzz_expect(c, "scales", attn_forward(&d, NULL), cases[i].want);
            if (status != ATTN_OK && !test_untouched(d.out.data, 2 * dim * sizeof(float)))
                fuzz_fail(c, "scales: \"%s\", and yet the output is written", attn_status_string(status));
            if (status != ATTN_OK) continue;
            *(cases[i].zero ? (values ? &d.v_zero : &d.k_zero) : (values ? &d.v_scale : &d.k_scale)) =
                test_4d(ATTN_F64, 1, 1, cases[i].keys, cases[i].count);
            fuzz_expect(c, "scales of float64", attn_forward(&d, NULL), ATTN_ERR_DTYPE);
        }
    blocks.q = test_4d(ATTN_F32, 1, 1, 2, 40);
    blocks.out = test_4d(ATTN_F32, 1, 1, 2, 40);
    blocks.k = test_4d(ATTN_Q8_0, 1, 1, 3, 32);
    blocks.v = test_4d(ATTN_F32, 1, 1, 3, 40);
    fuzz_expect(c, "queries of more columns than blocks have", attn_forward(&blocks, NULL), ATTN_ERR_BLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const fuzz_limits limits = {400, FUZZ_LARGE, ATTN_DTYPE_COUNT};
    const size_t skip = size < HEADER ? size : HEADER;
    fuzz_input in;
    fuzz_case c;
    call k;
    size_t faults;
    in.bytes = bytes;
    in.size = size;
    fuzz_decode(&c, bytes + skip, size - skip, &limits);
    memset(&k, 0, sizeof k);
    k.c = &c;
    k.function = (int)(fuzz_byte(&in, 0) % (FUNCTIONS + 4));
    if (k.function >= FUNCTIONS) /* the one with most arguments */
        k.function = FORWARD;
    k.axis = -1;
    k.desc = k.function == FORWARD || k.function == SELF_ATTENTION ? c.desc : attn_desc_default();
    shape_for(&k, &c);
    k.run = test_on(ATTN_PATH_AUTO);
    k.run.parallel_for = random_for;
    k.run.num_workers = c.workers;
    k.arrays[0] = &k.desc.q, k.arrays[1] = &k.desc.k, k.arrays[2] = &k.desc.v, k.arrays[3] = &k.desc.out,
    k.arrays[4] = &k.desc.mask;
    k.arrays[5] = &k.desc.kv_lens, k.arrays[6] = &k.desc.alibi, k.arrays[7] = &k.desc.sinks,
    k.arrays[8] = &k.desc.block_table;
    k.arrays[9] = &k.desc.cu_seqlens_q, k.arrays[10] = &k.desc.cu_seqlens_k, k.arrays[11] = &k.desc.lse,
    k.arrays[12] = &k.desc.scores;
    k.arrays[13] = &k.desc.colsum;
    k.arrays[14] = &k.desc.k_scale, k.arrays[15] = &k.desc.v_scale, k.arrays[16] = &k.desc.k_zero,
    k.arrays[17] = &k.desc.v_zero, k.arrays[18] = &k.desc.q_bounds;
    k.arrays[19] = &k.desc.rowmax, k.arrays[20] = &k.desc.rowsum, k.arrays[21] = &k.desc.rel_bias;
    remember(&k);
    faults = fuzz_byte(&in, 1) % (MOST_FAULTS + 1);
    for (size_t i = 0; i < faults; i++) {
        const size_t at = 2 + FAULT * i;
        const unsigned which = fuzz_byte(&in, at), field = fuzz_byte(&in, at + 1), index = fuzz_byte(&in, at + 2);
        const unsigned value = fuzz_byte(&in, at + 3) | fuzz_byte(&in, at + 4) << 8;
        if (which >= 240) spoil_array(&k, BEFORE_SCALES + which % (ARRAYS - BEFORE_SCALES), field, index, value);
        else if (which % 20 < BEFORE_SCALES) spoil_array(&k, which % 20, field, index, value);
        else if (which % 20 == BEFORE_SCALES) spoil_contents(&k, index, value);
        else if (which % 20 == 19) k.absent |= 1u << (value & 7);
        else spoil_scalar(&k, index, value);
    }
    check_call(&k);
    if (k.function == FORWARD) check_states(&k, &in);
    if (k.function == CACHE && faults == 0) check_corners(&c), check_codes(&c);
    fuzz_end(&c);
    return 0;
}
