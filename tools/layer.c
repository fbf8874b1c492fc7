/* SPDX-License-Identifier: MIT-0
 *
 * layer.c - attn layer: projections, attention, output projection.
 */
#include "tool.h"

#include <string.h>

const char layer_help[] = "attn layer - a self-attention layer, single- or multi-head\n"
                          "\n"
                          "  attn layer --x X.npy --wq WQ.npy --wk WK.npy --wv WV.npy -o OUT.npy [options]\n"
                          "\n"
                          "X is (S, d_model) or (B, S, d_model); weights are (d_model, columns), used as\n"
                          "X W + b. The columns of WQ are split into heads. WK may have fewer columns: its\n"
                          "heads are as wide as those of WQ, and their number must divide --heads.\n"
                          "\n"
                          "  --heads N        number of heads (default: 1)\n"
                          "  --wo WO.npy      the output projection\n"
                          "  --bq, --bk, --bv, --bo B.npy    biases\n"
                          "  --causal upper-left|lower-right|N    row i sees rows up to i (or i + N)\n"
                          "  --weights W.npy  also write the attention weights\n" PICTURE_HELP
                          "  --dtype f32|f64  convert the inputs to this type (default: f64 if one of\n"
                          "                   them is float64, else f32)\n" RUN_HELP;

enum { X, WQ, WK, WV, WO, BQ, BK, BV, BO, INPUTS };

typedef struct layer_options {
    const char *inputs[INPUTS];
    const char *out, *weights, *heads, *causal;
    picture_arguments picture;
    run_options run;
} layer_options;

static attn_status forward(const void *layer, const attn_exec *exec)
{
    return attn_layer_forward((const attn_layer *)layer, exec);
}

static int compute(const run_options *o, const attn_layer *l)
{
    const int rank = l->x.ndim;
    const double tokens = (double)l->x.shape[rank - 2], width = (double)l->x.shape[rank - 1],
                 q = (double)l->w_q.shape[1], k = (double)l->w_k.shape[1], v = (double)l->w_v.shape[1],
                 out = l->w_o.ndim ? (double)l->w_o.shape[0] * (double)l->w_o.shape[1] : 0, group = k > 0 ? q / k : 1,
                 seen = l->attention.causal ? tokens / 2 : tokens;
    /* the products of a token: three projections, scores and weighted sums, the output projection */
    const run_steps steps = {5, {width * q, width * k, width * v, seen * (q + v * group), out}};
    return run_in_steps(o, "layer", forward, l, &steps);
}

static int inputs_fit(const tensor *t, size_t heads, size_t *kv_heads)
{
    static const char weight[] = "(d_model, columns)";
    size_t columns, head_dim;
    int i;
    if (!tensor_rank(&t[X], 2, 3, "(S, d_model) or (B, S, d_model)")) return 0;
    for (i = WQ; i <= WO; i++)
        if (t[i].file && !tensor_rank(&t[i], 2, 2, weight)) return 0;
    for (i = BQ; i <= BO; i++)
        if (t[i].file && !tensor_rank(&t[i], 1, 1, "(columns,)")) return 0;
    for (i = WQ; i <= WV; i++)
        if (!tensor_same(&t[i], 0, &t[X], -1, "d_model")) return 0;

    columns = t[WQ].array.shape[1];
    if (columns % heads != 0) return fail("%s: %zu columns cannot be split into %zu heads", t[WQ].file, columns, heads);
    head_dim = columns / heads;
    columns = t[WK].array.shape[1];
    *kv_heads = head_dim ? columns / head_dim : heads;
    if (*kv_heads == 0 || *kv_heads * head_dim != columns || heads % *kv_heads != 0)
        return fail("%s: %zu columns do not match the %zu heads of %zu columns each in %s", t[WK].file, columns, heads,
                    head_dim, t[WQ].file);
    columns = t[WV].array.shape[1];
    if (columns % *kv_heads != 0)
        return fail("%s: %zu columns cannot be split into %zu heads", t[WV].file, columns, *kv_heads);
    columns = columns / *kv_heads * heads;
    if (t[WO].file && t[WO].array.shape[0] != columns)
        return fail("%s: has %zu rows, but the heads have %zu columns in total", t[WO].file, t[WO].array.shape[0],
                    columns);
    if (t[BO].file && !t[WO].file) return fail("%s: --bo needs --wo", t[BO].file);
    for (i = BQ; i <= BO; i++)
        if (t[i].file && !tensor_same(&t[i], 0, &t[i - BQ + WQ], 1, "the number of columns")) return 0;
    return 1;
}

static int layer(const layer_options *o)
{
    attn_layer l = attn_layer_default();
    tensor t[INPUTS], out, weights;
    const tensor *inputs[INPUTS];
    tensor *const outputs[2] = {&out, &weights};
    attn_dtype dtype;
    int64_t heads = 1;
    size_t kv_heads = 1, shape[ATTN_MAX_DIMS] = {0};
    pictures drawn;
    int i, rank, at;
    if (!pictures_allowed(&o->picture) || !option_integer("--heads", o->heads, 1, 65536, &heads) ||
        !causal_read(o->causal, &l.attention))
        return 0;
    for (i = 0; i < INPUTS; i++) {
        inputs[i] = &t[i];
        if (!tensor_load(&t[i], o->inputs[i]) || (t[i].file && !tensor_is_float(&t[i]))) return 0;
    }
    if (!inputs_fit(t, (size_t)heads, &kv_heads) || !run_dtype(&o->run, 0, inputs, INPUTS, &dtype)) return 0;
    for (i = 0; i < INPUTS; i++)
        if (!tensor_convert(&t[i], dtype)) return 0;
    l.x = t[X].array;
    l.w_q = t[WQ].array;
    l.w_k = t[WK].array;
    l.w_v = t[WV].array;
    l.w_o = t[WO].array;
    l.b_q = t[BQ].array;
    l.b_k = t[BK].array;
    l.b_v = t[BV].array;
    l.b_o = t[BO].array;
    l.num_heads = (size_t)heads;
    l.kv_num_heads = kv_heads;

    rank = l.x.ndim;
    memcpy(shape, l.x.shape, sizeof shape);
    shape[rank - 1] = t[WO].file ? l.w_o.shape[1] : l.w_v.shape[1] / kv_heads * (size_t)heads;
    if (!tensor_new(&out, o->out, dtype, rank, shape)) return 0;
    at = rank - 2;
    if (heads > 1) shape[at++] = (size_t)heads;
    shape[at] = shape[at + 1] = l.x.shape[rank - 2];
    if (!tensor_new(&weights, pictures_wanted(&o->picture) ? "the weights" : o->weights, dtype, at + 2, shape))
        return 0;
    l.out = out.array;
    l.weights = weights.array;
    if (!compute(&o->run, &l) || !pictures_draw(&o->picture, &weights, NULL, &drawn)) return 0;
    weights.file = o->weights;
    return tensors_save(outputs, 2, &drawn);
}

int layer_command(int argc, char **argv)
{
    layer_options o = {{NULL}, NULL, NULL, NULL, NULL, {0}, {NULL, NULL, NULL}};
    const option options[] = {
        {"--x", &o.inputs[X]},   {"--wq", &o.inputs[WQ]},    {"--wk", &o.inputs[WK]},
        {"--wv", &o.inputs[WV]}, {"--wo", &o.inputs[WO]},    {"--bq", &o.inputs[BQ]},
        {"--bk", &o.inputs[BK]}, {"--bv", &o.inputs[BV]},    {"--bo", &o.inputs[BO]},
        {"-o", &o.out},          {"--weights", &o.weights},  {"--heads", &o.heads},
        {"--causal", &o.causal}, PICTURE_OPTIONS(o.picture), RUN_OPTIONS(o.run),
    };
    return options_read(argc, argv, options, sizeof options / sizeof options[0], NULL) &&
           option_required("layer", "--x", o.inputs[X]) && option_required("layer", "--wq", o.inputs[WQ]) &&
           option_required("layer", "--wk", o.inputs[WK]) && option_required("layer", "--wv", o.inputs[WV]) &&
           option_required("layer", "-o", o.out) && layer(&o);
}
