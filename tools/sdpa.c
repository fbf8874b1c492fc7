/* SPDX-License-Identifier: MIT-0
 *
 * sdpa.c - attn sdpa: scaled dot-product attention with every option of attn_desc.
 */
#include "npy.h"
#include "tool.h"

#include <string.h>

const char sdpa_help[] = "attn sdpa - softmax(scale Q K^T) V\n"
                         "\n"
                         "  attn sdpa --q Q.npy --k K.npy --v V.npy -o OUT.npy [options]\n"
                         "\n"
                         "Arrays are (S, D), (H, S, D) or (B, H, S, D): batch, heads, sequence, head\n"
                         "dimension. K and V may have fewer heads than Q, a divisor of its number.\n"
                         "\n"
                         "What is visible:\n"
                         "  --causal upper-left|lower-right|N    key j is visible to query i when j <= i,\n"
                         "                   j <= i + kv_len - q_len, or j <= i + N\n"
                         "  --window L,R     only L keys before and R after that position; -1: all\n"
                         "  --mask M.npy     bool: true = keep; floats: added, -inf = drop;\n"
                         "                   (B, H, q_len, kv_len), or less where it broadcasts\n"
                         "  --kv-lens N.npy  (B): how many keys of each batch are there; int32 or int64\n"
                         "Scores:\n"
                         "  --scale X        instead of 1/sqrt(head dimension)\n"
                         "  --softcap C      C tanh(score / C)\n"
                         "  --alibi S.npy    (H) or (B, H): slopes\n"
                         "  --sinks S.npy    (H): a logit for the denominator only\n"
                         "More outputs:\n"
                         "  --weights W.npy  the attention weights\n"
                         "  --lse L.npy      log(sum exp(score)) of each row\n"
                         "  --scores S.npy --stage raw|softcapped|biased|probs    the scores on their way\n"
                         "  --colsum C.npy   sums of the weights over the queries\n"
                         "How:\n"
                         "  --dtype f32|f64|f16|bf16   convert q, k and v to this type. Without it: f64 if\n"
                         "                   one of them is float64, else f32. NumPy has no bfloat16: a\n"
                         "                   bf16 result is written as float32, which holds it exactly.\n"
                         "  --kv-dtype f16|bf16        convert k and v to this type\n" RUN_HELP;

typedef struct sdpa_options {
    const char *q, *k, *v, *out, *weights, *lse, *scores, *stage, *colsum;
    const char *scale, *causal, *window, *mask, *softcap, *alibi, *sinks, *kv_lens, *kv_dtype;
    run_options run;
} sdpa_options;

static attn_status forward(const void *desc, const attn_exec *exec) { return attn_forward((const attn_desc *)desc, exec); }

int causal_read(const char *text, attn_desc *desc)
{
    if (!text)
        return 1;
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

static int window_read(const char *text, attn_desc *desc)
{
    const char *comma = text ? strchr(text, ',') : NULL;
    char left[32];
    if (!text)
        return 1;
    if (!comma || (size_t)(comma - text) >= sizeof left)
        return fail("--window: '%s' is not LEFT,RIGHT", text);
    memcpy(left, text, (size_t)(comma - text));
    left[comma - text] = 0;
    desc->window = 1;
    return option_integer("--window", left, -1, INT64_MAX, &desc->window_left) &&
           option_integer("--window", comma + 1, -1, INT64_MAX, &desc->window_right);
}

static int scalars_read(const sdpa_options *o, attn_desc *desc)
{
    static const char *const stages[ATTN_STAGE_COUNT] = {"probs", "raw", "softcapped", "biased"};
    int stage = ATTN_STAGE_PROBS;
    if (o->stage && !o->scores)
        return fail("--stage without --scores (see attn sdpa --help)");
    if (!option_number("--scale", o->scale, &desc->scale) || !option_number("--softcap", o->softcap, &desc->softcap) ||
        !option_word("--stage", o->stage, stages, ATTN_STAGE_COUNT, &stage) || !causal_read(o->causal, desc) ||
        !window_read(o->window, desc))
        return 0;
    /* In the descriptor 0 stands for the default, which is not what was asked for. */
    if (o->scale && desc->scale == 0)
        return fail("--scale: 0 is not possible");
    desc->stage = (attn_stage)stage;
    return 1;
}

static int inputs_fit(const tensor *q, const tensor *k, const tensor *v)
{
    static const char wanted[] = "(S, D), (H, S, D) or (B, H, S, D)";
    const int rank = q->array.ndim;
    if (!tensor_rank(q, 2, 4, wanted) || !tensor_rank(k, 2, 4, wanted) || !tensor_rank(v, 2, 4, wanted))
        return 0;
    if (k->array.ndim != rank)
        return fail("%s: has %d dimensions, but %s has %d", k->file, k->array.ndim, q->file, rank);
    if (v->array.ndim != rank)
        return fail("%s: has %d dimensions, but %s has %d", v->file, v->array.ndim, q->file, rank);
    if (!tensor_same(k, -1, q, -1, "the head dimension") || !tensor_same(v, -2, k, -2, "the number of keys"))
        return 0;
    if (rank > 2) {
        const size_t heads = q->array.shape[rank - 3], kv_heads = k->array.shape[rank - 3];
        if (!tensor_same(v, -3, k, -3, "the number of heads"))
            return 0;
        if (kv_heads == 0 || heads % kv_heads != 0)
            return fail("%s: has %zu heads, which do not divide the %zu of %s", k->file, kv_heads, heads, q->file);
    }
    return rank < 4 || (tensor_same(k, 0, q, 0, "the batch") && tensor_same(v, 0, q, 0, "the batch"));
}

/* Bool masks stay; floats come in the compute type. `full` is (B, H, q_len, kv_len). */
static int mask_fits(tensor *mask, const size_t full[4], attn_dtype dtype)
{
    const attn_array *m = &mask->array;
    int i;
    if (!mask->file)
        return 1;
    if (!tensor_rank(mask, 1, 4, "(B, H, q_len, kv_len) or a part that broadcasts"))
        return 0;
    /* Keys do not broadcast: a mask that is too short is a mistake. */
    for (i = 1; i <= m->ndim; i++) {
        const size_t n = m->shape[m->ndim - i], wanted = full[4 - i];
        if (n != wanted && (n != 1 || i == 1))
            return fail("%s: axis %d has length %zu, but %zu%s is wanted", mask->file, m->ndim - i, n, wanted, i == 1 ? "" : " or 1");
    }
    return m->dtype == ATTN_BOOL || (tensor_is_float(mask) && tensor_convert(mask, dtype));
}

/* (last), or (first, last) where `two` allows it. */
static int vector_fits(const tensor *t, size_t first, size_t last, int two, const char *meaning)
{
    const attn_array *a = &t->array;
    char text[NPY_SHAPE_SIZE];
    if (!t->file || (a->ndim == 1 && a->shape[0] == last) || (two && a->ndim == 2 && a->shape[0] == first && a->shape[1] == last))
        return 1;
    npy_shape_text(a, text);
    return fail("%s: has shape %s, but %zu, a number per %s, is wanted", t->file, text, last, meaning);
}

static int extras_load(const sdpa_options *o, attn_desc *desc, attn_dtype dtype)
{
    const attn_array *q = &desc->q;
    size_t full[4] = {1, 1, 1, 1};
    tensor mask, alibi, sinks, kv_lens;
    int i;
    for (i = 1; i <= q->ndim; i++)
        full[4 - i] = q->shape[q->ndim - i];
    full[3] = desc->k.shape[q->ndim - 2];
    if (!tensor_load(&mask, o->mask) || !tensor_load(&alibi, o->alibi) || !tensor_load(&sinks, o->sinks) ||
        !tensor_load(&kv_lens, o->kv_lens))
        return 0;
    if (!mask_fits(&mask, full, dtype) || !vector_fits(&alibi, full[0], full[1], 1, "head") ||
        !vector_fits(&sinks, full[0], full[1], 0, "head") || !vector_fits(&kv_lens, 0, full[0], 0, "batch"))
        return 0;
    if (alibi.file && (!tensor_is_float(&alibi) || !tensor_convert(&alibi, dtype)))
        return 0;
    if (sinks.file && (!tensor_is_float(&sinks) || !tensor_convert(&sinks, dtype)))
        return 0;
    if (kv_lens.file && kv_lens.array.dtype != ATTN_I32 && kv_lens.array.dtype != ATTN_I64)
        return fail("%s: holds %s, but int32 or int64 is wanted", kv_lens.file, attn_dtype_name(kv_lens.array.dtype));
    desc->mask = mask.array;
    desc->alibi = alibi.array;
    desc->sinks = sinks.array;
    desc->kv_lens = kv_lens.array;
    return 1;
}

/* Loads the inputs, computes, saves the outputs. */
static int sdpa(const sdpa_options *o)
{
    static const char *const kv_types[2] = {"f16", "bf16"}; /* from ATTN_F16 on */
    attn_desc desc = attn_desc_default();
    tensor q, k, v, out, weights, scores, lse, colsum;
    const tensor *const inputs[3] = {&q, &k, &v};
    tensor *const outputs[5] = {&out, &weights, &scores, &lse, &colsum};
    attn_dtype dtype, compute;
    size_t shape[ATTN_MAX_DIMS] = {0};
    int rank, kv_type = -1;
    if (!scalars_read(o, &desc) || !option_word("--kv-dtype", o->kv_dtype, kv_types, 2, &kv_type))
        return 0;
    if (!tensor_load(&q, o->q) || !tensor_load(&k, o->k) || !tensor_load(&v, o->v))
        return 0;
    if (!tensor_is_float(&q) || !tensor_is_float(&k) || !tensor_is_float(&v) || !inputs_fit(&q, &k, &v))
        return 0;
    if (!run_dtype(&o->run, 1, inputs, 3, &dtype))
        return 0;
    compute = dtype == ATTN_F64 ? ATTN_F64 : ATTN_F32;
    rank = q.array.ndim;
    if (!tensor_convert(&q, dtype))
        return 0;
    if (!tensor_convert(&k, kv_type < 0 ? dtype : (attn_dtype)(ATTN_F16 + kv_type)))
        return 0;
    if (!tensor_convert(&v, kv_type < 0 ? dtype : (attn_dtype)(ATTN_F16 + kv_type)))
        return 0;
    desc.q = q.array;
    desc.k = k.array;
    desc.v = v.array;
    if (!extras_load(o, &desc, compute))
        return 0;

    memcpy(shape, q.array.shape, sizeof shape);
    shape[rank - 1] = v.array.shape[rank - 1];
    if (!tensor_new(&out, o->out, dtype, rank, shape) || !tensor_new(&lse, o->lse, compute, rank - 1, shape))
        return 0;
    shape[rank - 1] = k.array.shape[rank - 2];
    if (!tensor_new(&weights, o->weights, compute, rank, shape) || !tensor_new(&scores, o->scores, compute, rank, shape))
        return 0;
    shape[rank - 2] = k.array.shape[rank - 2];
    if (!tensor_new(&colsum, o->colsum, compute, rank - 1, shape))
        return 0;
    desc.out = out.array;
    desc.lse = lse.array;
    desc.colsum = colsum.array;

    /* One matrix of scores per run; asking for one changes no bit of the rest. */
    desc.scores = scores.array;
    if ((scores.file || !weights.file) && !run(&o->run, "sdpa", forward, &desc))
        return 0;
    desc.scores = weights.array;
    desc.stage = ATTN_STAGE_PROBS;
    if (weights.file && !run(&o->run, "sdpa", forward, &desc))
        return 0;
    return tensors_save(outputs, 5);
}

int sdpa_command(int argc, char **argv)
{
    sdpa_options o = {0};
    const option options[] = {
        {"--q", &o.q},
        {"--k", &o.k},
        {"--v", &o.v},
        {"-o", &o.out},
        {"--weights", &o.weights},
        {"--lse", &o.lse},
        {"--scores", &o.scores},
        {"--stage", &o.stage},
        {"--colsum", &o.colsum},
        {"--scale", &o.scale},
        {"--causal", &o.causal},
        {"--window", &o.window},
        {"--mask", &o.mask},
        {"--softcap", &o.softcap},
        {"--alibi", &o.alibi},
        {"--sinks", &o.sinks},
        {"--kv-lens", &o.kv_lens},
        {"--kv-dtype", &o.kv_dtype},
        RUN_OPTIONS(o.run),
    };
    return options_read(argc, argv, options, sizeof options / sizeof options[0], NULL) && option_required("sdpa", "--q", o.q) &&
           option_required("sdpa", "--k", o.k) && option_required("sdpa", "--v", o.v) && option_required("sdpa", "-o", o.out) && sdpa(&o);
}
