/* SPDX-License-Identifier: MIT-0
 *
 * sdpa.c - attn sdpa: scaled dot-product attention with every option of attn_desc.
 */
#include "npy.h"
#include "tool.h"

#include "check/progress.h"

#include <string.h>

const char sdpa_help[] =
    "attn sdpa - softmax(scale Q K^T) V\n"
    "\n"
    "  attn sdpa --q Q.npy --k K.npy --v V.npy -o OUT.npy [options]\n"
    "\n" SHAPES_HELP "\n" SEES_HELP "  --cu-seqlens-q C.npy    (N + 1), from 0 up: Q is (H, total, D), its rows\n"
    "                   C[n] to C[n + 1] are a batch, K and V (N, H, kv_len, D)\n" SCORES_HELP "More outputs:\n"
    "  --weights W.npy  the attention weights\n" ROWS_HELP
    "  --scores S.npy --stage raw|softcapped|biased|probs    the scores at that stage\n"
    "  --colsum C.npy   sums of the weights over the queries\n" PICTURE_HELP "Computation:\n" TYPE_HELP
    "  --kv-dtype f16|bf16|i8|u8|e4m3|e5m2    convert k and v to this type; of 8 bits\n"
    "                   with the scales given, or with a scale found for each row of\n"
    "                   each head (u8: given). Files of int8 and uint8 are taken as\n"
    "                   they are; e4m3 and e5m2 say that uint8 holds floats.\n"
    "  --k-scale S.npy, --k-zero Z.npy, --v-scale S.npy, --v-zero Z.npy    what an\n"
    "                   element of 8 bits stands for: (number - zero) * scale, in\n"
    "                   float32; (B, H, kv_len, C), where all broadcast and C\n"
    "                   divides the head dimension. i8 and u8 have zero points.\n"
    "  --paged N        store k and v in shuffled pages of N keys, with a block table\n"
    "  --cache          append k and v to a cache and compute one query at a time; with\n"
    "                   --paged the cache has pages. Neither option changes a byte,\n"
    "                   except that raw and softcapped scores of keys that are not\n"
    "                   yet in the cache are -inf.\n"
    "  --ring N, --ring-sinks S    a cache of N rows, which keys after the first S take\n"
    "                   in turn; refused if a query sees one that is gone\n" RUN_HELP;

typedef struct sdpa_options {
    const char *q, *k, *v, *out, *weights, *lse, *scores, *stage, *colsum, *rowmax, *rowsum;
    const char *scale, *causal, *window, *mask, *mask_place, *mask_bits, *softcap, *alibi, *rel_bias, *rel_first,
        *rel_clamp, *sinks, *kv_lens, *kv_dtype, *paged, *cache, *ring, *ring_sinks, *k_scale, *k_zero, *v_scale,
        *v_zero, *q_bounds, *cu_seqlens_q;
    picture_arguments picture;
    run_options run;
} sdpa_options;

static int load(const sdpa_ranks *ranks, tensor *t, const char *file, sdpa_rows rows)
{
    return ranks ? ranks->load(t, file, rows) : tensor_load(t, file);
}

int causal_read(const char *text, attn_desc *desc)
{
    if (!text) return 1;
    desc->causal = 1;
    if (strcmp(text, "upper-left") == 0) {
        desc->align = ATTN_ALIGN_UPPER_LEFT;
        return 1;
    }
    if (strcmp(text, "lower-right") == 0) {
        desc->align = ATTN_ALIGN_LOWER_RIGHT;
        return 1;
    }
    desc->align = ATTN_ALIGN_OFFSET;
    return option_integer("--causal", text, INT64_MIN, INT64_MAX, &desc->q_offset);
}

static int scalars_read(const sdpa_options *o, attn_desc *desc)
{
    static const char *const stages[ATTN_STAGE_COUNT] = {"probs", "raw", "softcapped", "biased"};
    static const char *const places[ATTN_MASK_PLACE_COUNT] = {"all", "keys", "tail"};
    const int64_t farthest = (int64_t)1 << 61; /* that the library accepts */
    int stage = ATTN_STAGE_PROBS, place = ATTN_MASK_ALL;
    if ((o->mask_place || o->mask_bits) && !o->mask)
        return fail("%s needs --mask (see attn sdpa --help)", o->mask_place ? "--mask-place" : "--mask-bits");
    if ((o->ring && !o->cache) || (o->ring_sinks && !o->ring))
        return fail("%s (see attn sdpa --help)", o->ring ? "--ring needs --cache" : "--ring-sinks needs --ring");
    if (o->ring && (o->paged || o->weights || o->scores || o->colsum || pictures_wanted(&o->picture)))
        return fail("--ring goes neither with --paged nor with weights, scores or their sums (see attn sdpa --help)");
    if ((o->rel_first || o->rel_clamp) && !o->rel_bias)
        return fail("%s needs --rel-bias (see attn sdpa --help)", o->rel_first ? "--rel-first" : "--rel-clamp");
    if (o->stage && !o->scores) return fail("--stage needs --scores (see attn sdpa --help)");
    if (!option_number("--scale", o->scale, &desc->scale) || !option_number("--softcap", o->softcap, &desc->softcap) ||
        !option_word("--stage", o->stage, stages, ATTN_STAGE_COUNT, &stage) || !causal_read(o->causal, desc) ||
        !window_read(o->window, desc) ||
        !option_integer("--rel-first", o->rel_first, -farthest, farthest, &desc->rel_first) ||
        !option_word("--mask-place", o->mask_place, places, ATTN_MASK_PLACE_COUNT, &place))
        return 0;
    desc->ring = o->ring != NULL;
    desc->rel_clamp = o->rel_clamp != NULL;
    desc->mask_place = desc->ring && !place ? ATTN_MASK_KEYS : (attn_mask_place)place; /* of all keys, as they come */
    if (place == ATTN_MASK_TAIL && o->cache && o->causal)
        return fail("--mask-place tail: the last keys are others at every step of --cache with --causal");
    /* In the descriptor 0 means the default scale, which is not what was asked for. */
    if (o->scale && desc->scale == 0) return fail("--scale: must not be 0");
    desc->stage = (attn_stage)stage;
    return 1;
}

/* Packed queries have the heads first, and as many keys and values as there are sequences. */
static int inputs_fit(const tensor *q, const tensor *k, const tensor *v, int packed)
{
    static const char wanted[] = "(S, D), (H, S, D) or (B, H, S, D)";
    const int rank = q->array.ndim + packed;
    if (packed && !tensor_rank(q, 3, 3, "(H, total, D)")) return 0;
    if (!tensor_rank(q, 2, 4, wanted) || !tensor_rank(k, 2, 4, wanted) || !tensor_rank(v, 2, 4, wanted)) return 0;
    if (packed && (!tensor_rank(k, 4, 4, "(N, H, S, D)") || !tensor_rank(v, 4, 4, "(N, H, S, D)"))) return 0;
    if (k->array.ndim != rank)
        return fail("%s: has %d dimensions, but %s has %d", k->file, k->array.ndim, q->file, rank);
    if (v->array.ndim != rank)
        return fail("%s: has %d dimensions, but %s has %d", v->file, v->array.ndim, q->file, rank);
    if (!tensor_same(k, -1, q, -1, "the head dimension") || !tensor_same(v, -2, k, -2, "the number of keys")) return 0;
    if (rank > 2) {
        const size_t heads = q->array.shape[rank - 3 - packed], kv_heads = k->array.shape[rank - 3];
        if (!tensor_same(v, -3, k, -3, "the number of heads")) return 0;
        if (kv_heads == 0 || heads % kv_heads != 0)
            return fail("%s: has %zu heads, which do not divide the %zu heads of %s", k->file, kv_heads, heads,
                        q->file);
    }
    if (packed) return tensor_same(v, 0, k, 0, "the batch");
    return rank < 4 || (tensor_same(k, 0, q, 0, "the batch") && tensor_same(v, 0, q, 0, "the batch"));
}

/* ------------------------------------------------- keys and values of 8 bits -- */

static const char *const kv_names[] = {"f16", "bf16", "i8", "u8", "e4m3", "e5m2"};
static const attn_dtype kv_types[] = {ATTN_F16, ATTN_BF16, ATTN_I8, ATTN_U8, ATTN_F8_E4M3, ATTN_F8_E5M2};
enum { KV_TYPES = sizeof kv_types / sizeof kv_types[0] };

static int has_scales(attn_dtype type) { return type >= ATTN_I8; }

/* Keys or values, and what belongs to those of 8 bits. */
typedef struct stored {
    tensor numbers, scale, zero;
    const char *scale_option, *zero_option;
} stored;

static int stored_load(stored *s, const sdpa_ranks *ranks, const char *file, const char *scale_option,
                       const char *scale_file, const char *zero_option, const char *zero_file)
{
    s->scale_option = scale_option;
    s->zero_option = zero_option;
    return load(ranks, &s->numbers, file, SDPA_KEYS) && tensor_load(&s->scale, scale_file) &&
           tensor_load(&s->zero, zero_file);
}

/* Floats, or bytes that are what --kv-dtype, `kv` of its words or -1, says. */
static int stored_type(tensor *t, int kv)
{
    const attn_dtype held = t->array.dtype, wanted = kv < 0 ? held : kv_types[kv];
    if (!has_scales(held)) return tensor_is_float(t);
    if (wanted != held && (held != ATTN_U8 || (wanted != ATTN_F8_E4M3 && wanted != ATTN_F8_E5M2)))
        return fail("--kv-dtype: %s has element type %s, which is not converted to %s", t->file, attn_dtype_name(held),
                    kv_names[kv]);
    t->array.dtype = wanted;
    return 1;
}

/* Scales or zero points for elements of t, which have or will have this type. */
static int scales_fit(const char *name, tensor *scales, int zero, const tensor *t, attn_dtype type)
{
    const attn_array *s = &scales->array, *a = &t->array;
    char have[NPY_SHAPE_SIZE], elements[NPY_SHAPE_SIZE];
    int i, fits = s->ndim >= 1 && s->ndim <= a->ndim;
    if (!scales->file) return 1;
    if (!has_scales(type) || (zero && type != ATTN_I8 && type != ATTN_U8))
        return fail("%s: there are no %s for %s of element type %s", name, zero ? "zero points" : "scales", t->file,
                    attn_dtype_name(type));
    for (i = 1; fits && i <= s->ndim; i++) {
        const size_t n = s->shape[s->ndim - i], whole = a->shape[a->ndim - i];
        fits = n == 1 || n == whole || (i == 1 && n != 0 && whole % n == 0);
    }
    npy_shape_text(s, have);
    npy_shape_text(a, elements);
    if (!fits)
        return fail("%s: %s has shape %s, which does not fit shape %s of %s: axes count from the last one, and are as "
                    "long or 1; the last one divides %zu",
                    name, scales->file, have, elements, t->file, a->shape[a->ndim - 1]);
    if (s->dtype != ATTN_F32 && s->dtype != ATTN_F64 && s->dtype != ATTN_F16)
        return fail("%s: %s has element type %s and shape %s, but must have floats (in NumPy: a.astype('float32'))",
                    name, scales->file, attn_dtype_name(s->dtype), have);
    return tensor_convert(scales, ATTN_F32);
}

/* Both, which have the same number in a row or one of them 1. */
static int stored_scales(stored *s, attn_dtype type)
{
    const tensor *t = &s->numbers;
    const attn_array *scale = &s->scale.array, *zero = &s->zero.array;
    char scales[NPY_SHAPE_SIZE], zeros[NPY_SHAPE_SIZE];
    size_t columns, zero_columns;
    if (!scales_fit(s->scale_option, &s->scale, 0, t, type) || !scales_fit(s->zero_option, &s->zero, 1, t, type))
        return 0;
    if (!s->scale.file || !s->zero.file) return 1;
    columns = scale->shape[scale->ndim - 1];
    zero_columns = zero->shape[zero->ndim - 1];
    if (columns == zero_columns || columns == 1 || zero_columns == 1) return 1;
    npy_shape_text(scale, scales);
    npy_shape_text(zero, zeros);
    return fail("%s: %s has shape %s, but %s has shape %s: the last axes must agree, or one be 1", s->zero_option,
                s->zero.file, zeros, s->scale.file, scales);
}

/* Floats in 8 bits, by scales and zero points that are given, or else by scales found. */
static int stored_coded(stored *s, attn_dtype type)
{
    const attn_scaling scaling = s->scale.file || s->zero.file ? ATTN_SCALES_GIVEN : ATTN_SCALES_FOUND;
    const attn_array *a = &s->numbers.array;
    tensor codes;
    size_t shape[ATTN_MAX_DIMS];
    attn_status status;
    memcpy(shape, a->shape, sizeof shape);
    if (!tensor_new(&codes, s->numbers.file, type, a->ndim, shape)) return 0;
    shape[a->ndim - 1] = 1;
    if (scaling == ATTN_SCALES_FOUND && !tensor_new(&s->scale, "the scales", ATTN_F32, a->ndim, shape)) return 0;
    status = attn_quantize(a, &codes.array, s->scale.file ? &s->scale.array : NULL,
                           s->zero.file ? &s->zero.array : NULL, scaling);
    if (status) return fail("sdpa: %s", attn_status_string(status));
    s->numbers = codes;
    return 1;
}

/* Converts to a type. `in_cache`: scales that are found are found there, row by row. */
static int stored_convert(stored *s, attn_dtype type, int in_cache)
{
    const int given = s->scale.file || s->zero.file;
    if (has_scales(s->numbers.array.dtype)) return stored_scales(s, s->numbers.array.dtype);
    if (!stored_scales(s, type) || !tensor_convert(&s->numbers, has_scales(type) ? ATTN_F32 : type)) return 0;
    if (type == ATTN_U8 && !given)
        return fail("--kv-dtype: u8 needs %s or %s, as scales and zero points of %s are not found", s->scale_option,
                    s->zero_option, s->numbers.file);
    return !has_scales(type) || (in_cache && !given) || stored_coded(s, type);
}

/* ------------------------------------------------------------- other arrays -- */

/* Checks the shape, and converts integer masks to booleans, float masks to the compute type. `full` is
 * (B, H, q_len, kv_len). */
static int mask_fits(tensor *mask, attn_mask_place place, const size_t full[4], attn_dtype dtype)
{
    const attn_array *m = &mask->array;
    int i;
    if (!mask->file) return 1;
    if (!tensor_rank(mask, 1, 4, "(B, H, q_len, kv_len) or one that broadcasts to it")) return 0;
    /* The axis of keys does not broadcast: a mask with one key is probably a mistake. */
    for (i = 1; i <= m->ndim; i++) {
        const size_t n = m->shape[m->ndim - i], wanted = full[4 - i];
        if (i == 1 && place != ATTN_MASK_ALL && n <= wanted) continue;
        if (n != wanted && (n != 1 || i == 1))
            return fail("%s: axis %d has length %zu instead of %zu%s", mask->file, m->ndim - i, n, wanted,
                        i == 1 ? "" : " or 1");
    }
    if (!tensor_truth(mask)) return 0;
    return m->dtype == ATTN_BOOL || (tensor_is_float(mask) && tensor_convert(mask, dtype));
}

/* The same of a relative bias, which has any number of entries. */
static int biases_fit(tensor *t, const size_t full[4], attn_dtype dtype)
{
    const attn_array *a = &t->array;
    size_t wanted[4];
    if (!t->file) return 1;
    if (!tensor_is_float(t) || !tensor_rank(t, 1, 4, "(B, H, q_len, R) or one that broadcasts to it")) return 0;
    memcpy(wanted, full, sizeof wanted);
    wanted[3] = a->shape[a->ndim - 1];
    if (wanted[3] == 0) return fail("%s: has no entries", t->file);
    return mask_fits(t, ATTN_MASK_ALL, wanted, dtype);
}

/* A boolean mask as bits. */
static int mask_pack(tensor *mask)
{
    const attn_array from = mask->array;
    const size_t columns = from.shape[from.ndim - 1], bytes = (columns + 7) / 8;
    size_t shape[ATTN_MAX_DIMS], rows = 1, i, c;
    if (from.dtype != ATTN_BOOL) return fail("%s: --mask-bits takes a boolean mask", mask->file);
    memcpy(shape, from.shape, sizeof shape);
    shape[from.ndim - 1] = bytes;
    if (!tensor_new(mask, mask->file, ATTN_U8, from.ndim, shape)) return 0;
    for (i = 0; i + 1 < (size_t)from.ndim; i++) rows *= shape[i];
    memset(mask->array.data, 0, rows * bytes);
    for (i = 0; i < rows; i++)
        for (c = 0; c < columns; c++)
            if (((const unsigned char *)from.data)[i * columns + c])
                ((unsigned char *)mask->array.data)[i * bytes + c / 8] |= (unsigned char)(1u << c % 8);
    mask->array.dtype = ATTN_BIT;
    mask->array.shape[from.ndim - 1] = columns;
    return 1;
}

/* Checks that the shape is (last), or, if `two` allows it, (first, last). */
static int vector_fits(const tensor *t, size_t first, size_t last, int two, const char *meaning)
{
    const attn_array *a = &t->array;
    char text[NPY_SHAPE_SIZE];
    if (!t->file || (a->ndim == 1 && a->shape[0] == last) ||
        (two && a->ndim == 2 && a->shape[0] == first && a->shape[1] == last))
        return 1;
    npy_shape_text(a, text);
    return fail("%s: has shape %s, but must have %zu elements, one per %s", t->file, text, last, meaning);
}

static attn_array slice(const attn_array *a, int axis, size_t first, size_t count)
{
    attn_array part = *a;
    if (a->ndim == 0) return part;
    part.data = (char *)a->data + (ptrdiff_t)first * a->stride[axis] * (ptrdiff_t)attn_dtype_size(a->dtype);
    part.shape[axis] = count;
    return part;
}

/* The first of an array of integers. */
static int64_t integer_at(const attn_array *a)
{
    int64_t wide = 0;
    int32_t narrow = 0;
    memcpy(a->dtype == ATTN_I64 ? (void *)&wide : (void *)&narrow, a->data, attn_dtype_size(a->dtype));
    return a->dtype == ATTN_I64 ? wide : narrow;
}

static int integers(const tensor *t)
{
    if (!t->file || t->array.dtype == ATTN_I32 || t->array.dtype == ATTN_I64) return 1;
    return fail("%s: has element type %s, but must have int32 or int64", t->file, attn_dtype_name(t->array.dtype));
}

/* (rows, 2 R), or one of these for each batch. */
static int bounds_fit(const tensor *t, size_t batch, size_t rows)
{
    const attn_array *a = &t->array;
    if (!t->file) return 1;
    if (!integers(t) || !tensor_rank(t, 2, 3, "(q_len, 2 R) or (B, q_len, 2 R)")) return 0;
    if (a->shape[a->ndim - 2] != rows)
        return fail("%s: has %zu rows, but there are %zu queries", t->file, a->shape[a->ndim - 2], rows);
    if (a->ndim == 3 && a->shape[0] != 1 && a->shape[0] != batch)
        return fail("%s: has a batch of %zu instead of %zu", t->file, a->shape[0], batch);
    if (a->shape[a->ndim - 1] % 2)
        return fail("%s: has %zu columns, but each interval has two", t->file, a->shape[a->ndim - 1]);
    return 1;
}

/* Masks are extended to `capacity` keys, of which those beyond kv_len do not count. */
static int extras_load(const sdpa_options *o, const sdpa_ranks *ranks, attn_desc *desc, attn_dtype dtype, size_t kv_len,
                       size_t capacity)
{
    const attn_array *q = &desc->q;
    size_t full[4] = {1, 1, 1, 1};
    const size_t sequences = o->cu_seqlens_q ? desc->k.shape[0] : q->ndim == 4 ? q->shape[0] : 1;
    tensor mask, alibi, rel_bias, sinks, kv_lens, q_bounds, cu_seqlens_q;
    int i;
    for (i = 1; i <= q->ndim; i++) full[4 - i] = q->shape[q->ndim - i];
    full[3] = kv_len;
    if (!load(ranks, &mask, o->mask, SDPA_MASK) || !tensor_load(&alibi, o->alibi) || !tensor_load(&sinks, o->sinks) ||
        !load(ranks, &rel_bias, o->rel_bias, SDPA_MASK) || !tensor_load(&kv_lens, o->kv_lens) ||
        !load(ranks, &q_bounds, o->q_bounds, SDPA_QUERIES) || !tensor_load(&cu_seqlens_q, o->cu_seqlens_q))
        return 0;
    if (!mask_fits(&mask, desc->mask_place, full, dtype) || !vector_fits(&alibi, sequences, full[1], 1, "head") ||
        !vector_fits(&sinks, full[0], full[1], 0, "head") || !vector_fits(&kv_lens, 0, sequences, 0, "batch") ||
        !bounds_fit(&q_bounds, full[0], full[2]) || !biases_fit(&rel_bias, full, dtype) ||
        !vector_fits(&cu_seqlens_q, 0, sequences + 1, 0, "sequence and one more"))
        return 0;
    if (alibi.file && (!tensor_is_float(&alibi) || !tensor_convert(&alibi, dtype))) return 0;
    if (sinks.file && (!tensor_is_float(&sinks) || !tensor_convert(&sinks, dtype))) return 0;
    if (!integers(&kv_lens) || !integers(&cu_seqlens_q)) return 0;
    if (cu_seqlens_q.file) { /* rows of no sequence would not be computed */
        const attn_array last = slice(&cu_seqlens_q.array, 0, sequences, 1);
        const int64_t end = integer_at(&last);
        if (end >= 0 && (uint64_t)end < full[2])
            return fail("%s: ends with %lld, but there are %zu queries", cu_seqlens_q.file, (long long)end, full[2]);
    }
    if (desc->mask_place == ATTN_MASK_ALL && !tensor_resize(&mask, capacity)) return 0;
    if (o->mask_bits && !mask_pack(&mask)) return 0;
    desc->mask = mask.array;
    desc->alibi = alibi.array;
    desc->rel_bias = rel_bias.array;
    desc->sinks = sinks.array;
    desc->kv_lens = kv_lens.array;
    desc->q_bounds = q_bounds.array;
    desc->cu_seqlens_q = cu_seqlens_q.array;
    return 1;
}

/* ------------------------------------------------------- caches and pages -- */

enum { MAX_PAGE = 1 << 20, MAX_RING = 1 << 30 };

enum { NUMBERS, SCALES, ZEROS, PARTS }; /* of keys or values */

/* Keys and values on their way through a cache. */
typedef struct cached {
    attn_desc desc; /* all arrays have 4 dimensions (lse, rowmax, rowsum, colsum: 3); k and v, with what belongs to
                       them, are the cache, kv_lens (B) is the number of keys in it */
    attn_array from[2][PARTS]; /* (B, H, kv_len, D or C): what will be appended to these parts */
    attn_array to[2][PARTS];   /* of the cache */
    int64_t *ends;             /* (B): the number of keys that each batch will have */
    attn_array sums;           /* (B, H, kv_len): column sums over all queries, if asked for */
} cached;

/* Of keys (0) or values (1). */
static attn_array *part_of(attn_desc *desc, int kv, int part)
{
    attn_array *const parts[2][PARTS] = {{&desc->k, &desc->k_scale, &desc->k_zero},
                                         {&desc->v, &desc->v_scale, &desc->v_zero}};
    return parts[kv][part];
}

static attn_array lift(const attn_array *a, int ndim)
{
    const int more = ndim - a->ndim;
    attn_array lifted = *a;
    int i;
    if (a->ndim == 0) return lifted;
    lifted.ndim = ndim;
    for (i = 0; i < ndim; i++) {
        lifted.shape[i] = i < more ? 1 : a->shape[i - more];
        lifted.stride[i] = i < more ? 0 : a->stride[i - more];
    }
    return lifted;
}

/* Room for `blocks` (H, rows, n) of each part that there is of keys or values, filled with NaN. */
static int cache_new(cached *c, int kv, attn_dtype kv_type, size_t blocks, size_t rows)
{
    attn_array *from = c->from[kv];
    const int found = has_scales(kv_type) && !has_scales(from[NUMBERS].dtype);
    int part, axis;
    for (part = NUMBERS; part < PARTS; part++) {
        attn_array *a = &from[part], *cache = &c->to[kv][part];
        const int there = a->ndim != 0;
        size_t shape[4] = {blocks, from->shape[1], rows, there ? a->shape[3] : 1};
        tensor t;
        for (axis = 0; there && axis < 3; axis++) { /* broadcast */
            if (a->shape[axis] == 1) a->stride[axis] = 0;
            a->shape[axis] = from->shape[axis];
        }
        if (!tensor_new(&t, there || (found && part == SCALES) ? "the cache" : NULL,
                        part != NUMBERS ? ATTN_F32
                        : found         ? kv_type
                                        : a->dtype,
                        4, shape))
            return 0;
        *cache = *part_of(&c->desc, kv, part) = t.array;
        if (t.file) memset(cache->data, 0xff, blocks * shape[1] * rows * shape[3] * attn_dtype_size(cache->dtype));
    }
    return 1;
}

/* A block table (B, pages) with all pages of the cache, shuffled. */
static int table_new(tensor *t, size_t batch, size_t pages)
{
    const size_t shape[2] = {batch, pages};
    uint64_t random = 1;
    int64_t *table;
    size_t i;
    if (!tensor_new(t, "the block table", ATTN_I64, 2, shape)) return 0;
    table = (int64_t *)t->array.data;
    for (i = 0; i < batch * pages; i++) { /* inserts page i at a random place */
        size_t place;
        random = random * 6364136223846793005u + 1442695040888963407u;
        place = (size_t)((random >> 33) % (i + 1));
        table[i] = table[place];
        table[place] = (int64_t)i;
    }
    return 1;
}

/* The number of keys in each batch, and lengths of 0 for the empty cache. */
static int lengths_new(cached *c, const attn_array *kv_lens, size_t batch, size_t kv_len)
{
    tensor lens, ends;
    size_t b;
    if (!tensor_new(&lens, "the lengths", ATTN_I64, 1, &batch) ||
        !tensor_new(&ends, "the lengths", ATTN_I64, 1, &batch))
        return 0;
    memset(lens.array.data, 0, batch * sizeof(int64_t));
    c->desc.kv_lens = lens.array;
    c->ends = (int64_t *)ends.array.data;
    for (b = 0; b < batch; b++) {
        const attn_array len = slice(kv_lens, 0, b, 1);
        c->ends[b] = len.ndim ? integer_at(&len) : (int64_t)kv_len;
        if (c->ends[b] < 0 || (uint64_t)c->ends[b] > kv_len)
            return fail("sdpa: %s", attn_status_string(ATTN_ERR_LENGTH));
    }
    return 1;
}

/* Prepares to compute desc with a cache that has room for `capacity` keys, a multiple of
 * page_size (0: no pages). Other arrays with an axis of keys must be of that length. */
static int cached_new(cached *c, const attn_desc *desc, attn_dtype kv_type, size_t page_size, size_t capacity)
{
    tensor table, sums;
    size_t batch, pages, blocks, rows;
    int kv, part;
    memset(c, 0, sizeof *c);
    c->desc = *desc;
    c->desc.q = lift(&desc->q, 4);
    c->desc.out = lift(&desc->out, 4);
    c->desc.mask = lift(&desc->mask, 4);
    c->desc.rel_bias = lift(&desc->rel_bias, 4);
    c->desc.scores = lift(&desc->scores, 4);
    c->desc.lse = lift(&desc->lse, 3);
    c->desc.q_bounds = lift(&desc->q_bounds, 3);
    c->desc.rowmax = lift(&desc->rowmax, 3);
    c->desc.rowsum = lift(&desc->rowsum, 3);
    c->desc.colsum = lift(&desc->colsum, 3);
    for (kv = 0; kv < 2; kv++)
        for (part = NUMBERS; part < PARTS; part++) c->from[kv][part] = lift(part_of(&c->desc, kv, part), 4);
    batch = c->from[0]->shape[0];
    pages = page_size ? capacity / page_size : 0;
    blocks = page_size ? batch * pages : batch;
    rows = page_size ? page_size : capacity;
    if (!lengths_new(c, &desc->kv_lens, batch, c->from[0]->shape[2]) ||
        (page_size && !table_new(&table, batch, pages)) || !cache_new(c, 0, kv_type, blocks, rows) ||
        !cache_new(c, 1, kv_type, blocks, rows) ||
        !tensor_new(&sums, desc->colsum.ndim ? "the sums" : NULL, c->desc.colsum.dtype, 3, c->desc.colsum.shape))
        return 0;
    if (page_size) c->desc.block_table = table.array;
    c->sums = c->desc.colsum;
    c->desc.colsum = sums.array;
    return 1;
}

/* Copies rows [begin, end) of batch b to their places in the cache. */
static void place_rows(const attn_desc *desc, const attn_array *cache, const attn_array *from, size_t b, size_t begin,
                       size_t end)
{
    const attn_array *table = &desc->block_table;
    const size_t size = attn_dtype_size(from->dtype), page_size = cache->shape[2], sinks = desc->ring_sinks;
    size_t h, j, i;
    for (j = begin; j < end; j++) {
        const size_t page = table->ndim ? (size_t)((int64_t *)table->data)[b * table->shape[1] + j / page_size] : b;
        const size_t place = table->ndim                ? j % page_size
                             : desc->ring && j >= sinks ? sinks + (j - sinks) % (page_size - sinks)
                                                        : j;
        for (h = 0; h < from->shape[1]; h++) {
            const attn_array block = slice(cache, 0, page, 1), head = slice(&block, 1, h, 1),
                             to = slice(&head, 2, place, 1);
            const char *row =
                (const char *)from->data +
                ((ptrdiff_t)b * from->stride[0] + (ptrdiff_t)h * from->stride[1] + (ptrdiff_t)j * from->stride[2]) *
                    (ptrdiff_t)size;
            for (i = 0; i < from->shape[3]; i++)
                memcpy((char *)to.data + i * size, row + (ptrdiff_t)i * from->stride[3] * (ptrdiff_t)size, size);
        }
    }
}

/* Appends keys and values to the cache of batch b until it has `end` of them. */
static attn_status append_until(const cached *c, size_t b, int64_t end)
{
    int64_t *len = (int64_t *)c->desc.kv_lens.data + b;
    const int paged = c->desc.block_table.ndim > 0;
    const attn_array at = slice(&c->desc.kv_lens, 0, b, 1);
    int kv, part;
    if (*len >= end) return ATTN_OK;
    for (kv = 0; kv < 2; kv++) {
        const attn_array *from = c->from[kv], *to = c->to[kv];
        const attn_array batch = slice(from, 0, b, 1), rows = slice(&batch, 2, (size_t)*len, (size_t)(end - *len));
        attn_cache cache = attn_cache_default();
        attn_status status;
        if (has_scales(from->dtype)) {
            for (part = NUMBERS; part < PARTS; part++)
                if (from[part].ndim) place_rows(&c->desc, &to[part], &from[part], b, (size_t)*len, (size_t)end);
            continue;
        }
        cache.data = paged ? to[NUMBERS] : slice(&to[NUMBERS], 0, b, 1);
        cache.scale = paged ? to[SCALES] : slice(&to[SCALES], 0, b, 1);
        cache.scaling = cache.scale.ndim ? ATTN_SCALES_FOUND : ATTN_SCALES_GIVEN;
        cache.block_table = slice(&c->desc.block_table, 0, b, 1);
        cache.ring = c->desc.ring, cache.ring_sinks = c->desc.ring_sinks;
        status = attn_cache_write(&cache, &rows, &at, NULL, NULL);
        if (status) return status;
    }
    *len = end;
    return ATTN_OK;
}

/* The number of keys that batch b has in the cache when query i is computed: if causal,
 * those up to the position of the query, else all. */
static int64_t keys_for(const cached *c, size_t b, size_t i)
{
    const attn_desc *d = &c->desc;
    const int64_t end = c->ends[b], q_len = (int64_t)d->q.shape[2];
    int64_t p = d->align == ATTN_ALIGN_LOWER_RIGHT ? end - q_len : d->align == ATTN_ALIGN_OFFSET ? d->q_offset : 0;
    if (!d->causal || p >= end) return end;
    if (p < -q_len) return 0;
    p += (int64_t)i + 1;
    return p < 0 ? 0 : p < end ? p : end;
}

/* The descriptor of query i alone. */
static attn_desc step_of(const cached *c, size_t i)
{
    const int64_t farthest = (int64_t)1 << 62; /* the largest the library accepts; from there all keys are visible */
    const size_t one = c->desc.q.shape[2] ? 1 : 0;
    attn_desc d = c->desc;
    d.q = slice(&d.q, 2, i, one);
    d.out = slice(&d.out, 2, i, one);
    d.lse = slice(&d.lse, 2, i, one);
    d.rowmax = slice(&d.rowmax, 2, i, one);
    d.rowsum = slice(&d.rowsum, 2, i, one);
    d.scores = slice(&d.scores, 2, i, one);
    d.q_bounds = slice(&d.q_bounds, 1, i, one);
    if (d.mask.ndim && d.mask.shape[2] != 1) d.mask = slice(&d.mask, 2, i, one);
    if (d.rel_bias.ndim && d.rel_bias.shape[2] != 1) d.rel_bias = slice(&d.rel_bias, 2, i, one);
    /* With lower-right alignment, the query is at the last of the keys so far. */
    if (d.align != ATTN_ALIGN_LOWER_RIGHT) {
        d.q_offset = d.align == ATTN_ALIGN_OFFSET ? d.q_offset : 0;
        d.q_offset += d.q_offset <= farthest - (int64_t)i ? (int64_t)i : 0;
        d.align = ATTN_ALIGN_OFFSET;
    }
    return d;
}

/* Adds the sums of one query, in the order and type in which the library adds them. */
static void add_sums(const attn_array *sums, const attn_array *one)
{
    const size_t count = sums->ndim ? sums->shape[0] * sums->shape[1] * sums->shape[2] : 0;
    size_t i;
    for (i = 0; i < count; i++)
        if (sums->dtype == ATTN_F64) ((double *)sums->data)[i] += ((const double *)one->data)[i];
        else ((float *)sums->data)[i] += ((const float *)one->data)[i];
}

/* One query at a time, with the keys that are in the cache by then. */
static attn_status decode(const void *arguments, const attn_exec *exec)
{
    cached *c = (cached *)(uintptr_t)arguments;
    const size_t batch = c->desc.q.shape[0];
    attn_desc d = step_of(c, 0);
    attn_status status = ATTN_OK;
    size_t i, b;
    if (exec->query) return attn_forward(&d, exec);
    memset(c->desc.kv_lens.data, 0, batch * sizeof(int64_t));
    if (c->sums.ndim)
        memset(c->sums.data, 0,
               c->sums.shape[0] * c->sums.shape[1] * c->sums.shape[2] * attn_dtype_size(c->sums.dtype));
    for (i = 0; i < c->desc.q.shape[2] && status == ATTN_OK; i++) {
        progress_at("attn: computing", "", (double)i, (double)c->desc.q.shape[2]);
        for (b = 0; b < batch && status == ATTN_OK; b++) status = append_until(c, b, keys_for(c, b, i));
        d = step_of(c, i);
        if (status == ATTN_OK) status = attn_forward(&d, exec);
        if (status == ATTN_OK) add_sums(&c->sums, &d.colsum);
    }
    return status;
}

/* All keys at once, then all queries at once. */
static attn_status from_pages(const void *arguments, const attn_exec *exec)
{
    const cached *c = (const cached *)arguments;
    attn_desc d = c->desc;
    size_t b;
    d.colsum = c->sums;
    for (b = 0; b < c->from[0]->shape[0] && !exec->query; b++) {
        const attn_status status = append_until(c, b, c->ends[b]);
        if (status) return status;
    }
    return attn_forward(&d, exec);
}

/* ------------------------------------------------------------------- sdpa -- */

static attn_status forward(const void *desc, const attn_exec *exec)
{
    return attn_forward((const attn_desc *)desc, exec);
}

static int compute(const sdpa_options *o, const sdpa_ranks *ranks, const attn_desc *desc, attn_dtype kv_type,
                   size_t page_size, size_t capacity)
{
    cached c;
    static const run_steps none = {0, {0}};
    if (ranks) return run_in_steps(&o->run, "sdpa", ranks->compute, desc, &none);
    if (!o->paged && !o->cache) return run(&o->run, "sdpa", forward, desc);
    if (!cached_new(&c, desc, kv_type, page_size, capacity)) return 0;
    return o->cache ? run_in_steps(&o->run, "sdpa", decode, &c, &none) : run(&o->run, "sdpa", from_pages, &c);
}

/* Loads the inputs, computes, saves the outputs. */
static int sdpa(const sdpa_options *o, const sdpa_ranks *ranks)
{
    attn_desc desc = attn_desc_default();
    tensor q, out, weights, scores, lse, colsum, rowmax, rowsum;
    stored k, v;
    const tensor *const inputs[3] = {&q, &k.numbers, &v.numbers};
    tensor *const outputs[] = {&out, &weights, &scores, &lse, &colsum, &rowmax, &rowsum};
    attn_dtype dtype, compute_type, kv_type;
    size_t shape[ATTN_MAX_DIMS] = {0}, kv_len, capacity;
    int64_t page_size = 0, ring = 0, ring_sinks = 0;
    pictures drawn;
    const int packed = o->cu_seqlens_q != NULL;
    int rank, in_cache, kv = -1;
    if (!pictures_allowed(&o->picture) || !scalars_read(o, &desc) ||
        !option_word("--kv-dtype", o->kv_dtype, kv_names, KV_TYPES, &kv) ||
        !option_integer("--paged", o->paged, 1, MAX_PAGE, &page_size) ||
        !option_integer("--ring", o->ring, 1, MAX_RING, &ring) ||
        !option_integer("--ring-sinks", o->ring_sinks, 0, ring - 1, &ring_sinks))
        return 0;
    desc.ring_sinks = (size_t)ring_sinks;
    if (packed && o->cache) return fail("--cache does not go with --cu-seqlens-q (see attn sdpa --help)");
    if (!load(ranks, &q, o->q, SDPA_QUERIES) ||
        !stored_load(&k, ranks, o->k, "--k-scale", o->k_scale, "--k-zero", o->k_zero) ||
        !stored_load(&v, ranks, o->v, "--v-scale", o->v_scale, "--v-zero", o->v_zero))
        return 0;
    if (!tensor_is_float(&q) || !stored_type(&k.numbers, kv) || !stored_type(&v.numbers, kv) ||
        !inputs_fit(&q, &k.numbers, &v.numbers, packed) || !run_dtype(&o->run, 1, inputs, 3, &dtype))
        return 0;
    compute_type = dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32;
    rank = q.array.ndim;
    kv_type = kv < 0 ? dtype : kv_types[kv];
    in_cache = o->paged || o->cache;
    if (!tensor_convert(&q, dtype) || !stored_convert(&k, kv_type, in_cache) || !stored_convert(&v, kv_type, in_cache))
        return 0;
    kv_len = capacity = ranks ? ranks->kv_len() : k.numbers.array.shape[k.numbers.array.ndim - 2];
    if (page_size) capacity = (kv_len / (size_t)page_size + (kv_len % (size_t)page_size ? 1 : 0)) * (size_t)page_size;
    desc.q = q.array;
    desc.k = k.numbers.array;
    desc.k_scale = k.scale.array;
    desc.k_zero = k.zero.array;
    desc.v = v.numbers.array;
    desc.v_scale = v.scale.array;
    desc.v_zero = v.zero.array;
    if (!extras_load(o, ranks, &desc, compute_type, kv_len, capacity)) return 0;

    memcpy(shape, q.array.shape, sizeof shape);
    shape[rank - 1] = v.numbers.array.shape[v.numbers.array.ndim - 1];
    if (!tensor_new(&out, o->out, dtype, rank, shape) || !tensor_new(&lse, o->lse, compute_type, rank - 1, shape) ||
        !tensor_new(&rowmax, o->rowmax, compute_type, rank - 1, shape) ||
        !tensor_new(&rowsum, o->rowsum, compute_type, rank - 1, shape))
        return 0;
    shape[rank - 1] = capacity;
    if (!tensor_new(&weights, pictures_wanted(&o->picture) ? "the weights" : o->weights, compute_type, rank, shape) ||
        !tensor_new(&scores, o->scores, compute_type, rank, shape))
        return 0;
    shape[rank - 2] = capacity;
    if (packed) { /* of each sequence */
        shape[0] = k.numbers.array.shape[0];
        shape[1] = q.array.shape[0];
        shape[2] = capacity;
    }
    if (!tensor_new(&colsum, o->colsum, compute_type, rank - 1 + packed, shape)) return 0;
    desc.out = out.array;
    desc.lse = lse.array;
    desc.rowmax = rowmax.array;
    desc.rowsum = rowsum.array;
    desc.colsum = colsum.array;

    /* A run gives one matrix of scores; asking for it changes no bit of the other outputs. */
    desc.scores = scores.array;
    if (ring) capacity = (size_t)ring;
    if ((scores.file || !weights.file) && !compute(o, ranks, &desc, kv_type, (size_t)page_size, capacity)) return 0;
    desc.scores = weights.array;
    desc.stage = ATTN_STAGE_PROBS;
    if (weights.file && !compute(o, ranks, &desc, kv_type, (size_t)page_size, capacity)) return 0;
    if (!tensor_resize(&weights, kv_len) || !tensor_resize(&scores, kv_len) || !tensor_resize(&colsum, kv_len) ||
        !pictures_draw(&o->picture, &weights, NULL, &drawn))
        return 0;
    weights.file = o->weights;
    return ranks ? ranks->save(outputs, sizeof outputs / sizeof outputs[0])
                 : tensors_save(outputs, sizeof outputs / sizeof outputs[0], &drawn);
}

/* What all processes together do not do. */
static int ranks_allowed(const sdpa_options *o)
{
    const char *const given[] = {o->weights, o->scores, o->colsum,  o->cu_seqlens_q, o->paged,       o->cache,
                                 o->k_scale, o->k_zero, o->v_scale, o->v_zero,       o->picture.svg, o->picture.png};
    static const char *const names[] = {"--weights", "--scores", "--colsum",  "--cu-seqlens-q", "--paged", "--cache",
                                        "--k-scale", "--k-zero", "--v-scale", "--v-zero",       "--svg",   "--png"};
    size_t i;
    for (i = 0; i < sizeof given / sizeof given[0]; i++)
        if (given[i]) return fail("%s is for one process (attn)", names[i]);
    return 1;
}

int sdpa_command(int argc, char **argv) { return sdpa_by(argc, argv, NULL); }

int sdpa_by(int argc, char **argv, const sdpa_ranks *ranks)
{
    enum { MORE = 8 }; /* options of ranks */
    sdpa_options o = {0};
    const option own[] = {
        {"--q", &o.q},
        {"--k", &o.k},
        {"--v", &o.v},
        {"-o", &o.out},
        {"--weights", &o.weights},
        {"--lse", &o.lse},
        {"--rowmax", &o.rowmax},
        {"--rowsum", &o.rowsum},
        {"--scores", &o.scores},
        {"--stage", &o.stage},
        {"--colsum", &o.colsum},
        {"--scale", &o.scale},
        {"--causal", &o.causal},
        {"--window", &o.window},
        {"--mask", &o.mask},
        {"--mask-place", &o.mask_place},
        {"--mask-bits!", &o.mask_bits},
        {"--softcap", &o.softcap},
        {"--alibi", &o.alibi},
        {"--rel-bias", &o.rel_bias},
        {"--rel-first", &o.rel_first},
        {"--rel-clamp!", &o.rel_clamp},
        {"--sinks", &o.sinks},
        {"--kv-lens", &o.kv_lens},
        {"--q-bounds", &o.q_bounds},
        {"--cu-seqlens-q", &o.cu_seqlens_q},
        {"--kv-dtype", &o.kv_dtype},
        {"--k-scale", &o.k_scale},
        {"--k-zero", &o.k_zero},
        {"--v-scale", &o.v_scale},
        {"--v-zero", &o.v_zero},
        {"--paged", &o.paged},
        {"--cache!", &o.cache},
        {"--ring", &o.ring},
        {"--ring-sinks", &o.ring_sinks},
        PICTURE_OPTIONS(o.picture),
        RUN_OPTIONS(o.run),
    };
    option options[sizeof own / sizeof own[0] + MORE];
    size_t count = sizeof own / sizeof own[0], i;
    memcpy(options, own, sizeof own);
    for (i = 0; ranks && i < ranks->option_count && i < MORE; i++) options[count++] = ranks->options[i];
    return options_read(argc, argv, options, count, NULL) && option_required("sdpa", "--q", o.q) &&
           option_required("sdpa", "--k", o.k) && option_required("sdpa", "--v", o.v) &&
           option_required("sdpa", "-o", o.out) && (!ranks || ranks_allowed(&o)) && sdpa(&o, ranks);
}
