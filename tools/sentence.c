/* SPDX-License-Identifier: MIT-0
 *
 * sentence.c - attn sentence: shows what attention does with the words of a sentence.
 */
#include "npy.h"
#include "tool.h"
#include "utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const char sentence_help[] = "attn sentence - attention between the words of a sentence\n"
                             "\n"
                             "  attn sentence \"The cat sat on the mat\" [options]\n"
                             "\n"
                             "Splits the sentence at spaces, gives every word an embedding (upper and lower case\n"
                             "have the same), projects to queries, keys and values, and prints the attention\n"
                             "weights, the word that each word attends to most, and the output. Nothing is\n"
                             "trained: embeddings and projections come from a fixed generator, the same on\n"
                             "every machine, so the weights show how the arithmetic works, not what words mean.\n"
                             "\n"
                             "  --dim N          numbers in an embedding (default: 8)\n"
                             "  --heads N        attention heads, a divisor of --dim (default: 1)\n"
                             "  --seed N         selects the embeddings and projections (default: 1)\n"
                             "  --wq WQ.npy, --wk WK.npy, --wv WV.npy    projections of your own, (dim, columns):\n"
                             "                   --dim is then their number of rows\n"
                             "  --causal         a word sees none that comes after it\n"
                             "  --window L,R     it sees L words before and R after it; -1: no limit\n"
                             "  --temperature T  divides the scores: the weights are more even above 1 (the\n"
                             "                   default), and sharper below\n"
                             "  --arrays PREFIX  also write PREFIX-X.npy, -Wq, -Wk, -Wv, -Q, -K, -V, -scores (-inf\n"
                             "                   where a word is not seen), -weights, -output\n"
                             "  --svg FILE, --png FILE    draw the weights (see attn heatmap --help); to -, that\n"
                             "                   alone, without the tables; with\n" LOOK_HELP "\n"
                             "The generator: splitmix64 from the state seed + FNV-1a(name), where the name is\n"
                             "the word with A to Z in lower case, or W_q, W_k, W_v. Each number is the top 24\n"
                             "bits of one step as a fraction in [-1, 1); projections are scaled by the largest\n"
                             "power of two whose square times --dim is at most 16.\n";

enum {
    MAX_DIM = 1024,
    SHOWN_WORDS = 24,  /* rows and columns printed */
    SHOWN_NUMBERS = 8, /* of each output row */
    LABEL = 10,        /* columns of a word in a table */
    LABEL_BYTES = 4 * LABEL + 1,
    LINE = 80
};

typedef struct word {
    const char *text;
    size_t length;
    char label[LABEL_BYTES];
    int width; /* of the label, in columns */
} word;

/* ---------------------------------------------------------------- words -- */

int words_split(const char *what, const char *text, const char **words, size_t *count)
{
    static const char space[] = " \t\r\n";
    for (text += strspn(text, space); *text; text += strspn(text, space)) {
        const size_t length = strcspn(text, space);
        char *copy = (char *)reserve(length + 1);
        if (*count == MAX_WORDS) return fail("%s has more than %d words", what, MAX_WORDS);
        if (!copy) return 0;
        memcpy(copy, text, length);
        copy[length] = 0;
        words[(*count)++] = copy;
        text += length;
    }
    return 1;
}

static unsigned char lower(char c) { return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); }

static int same_word(const word *a, const word *b)
{
    size_t i;
    if (a->length != b->length) return 0;
    for (i = 0; i < a->length; i++)
        if (lower(a->text[i]) != lower(b->text[i])) return 0;
    return 1;
}

static size_t count_distinct(const word *words, size_t count)
{
    size_t i, j, distinct = 0;
    for (i = 0; i < count; i++) {
        for (j = 0; j < i && !same_word(&words[i], &words[j]);) j++;
        distinct += j == i;
    }
    return distinct;
}

/* ------------------------------------------------------------ generator -- */

static uint64_t fnv1a(const word *w, int fold)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    size_t i;
    for (i = 0; i < w->length; i++)
        hash = (hash ^ (fold ? lower(w->text[i]) : (unsigned char)w->text[i])) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Every step is exact in float32. */
static void generate(uint64_t state, float scale, float *values, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++) {
        const int32_t bits = (int32_t)(splitmix64(&state) >> 40);
        values[i] = scale * ((float)(bits - (1 << 23)) * 0x1p-23f);
    }
}

static float projection_scale(size_t dim)
{
    float scale = 1;
    while (scale * scale * (float)dim > 16) scale *= 0.5f;
    while (4 * scale * scale * (float)dim <= 16) scale *= 2;
    return scale;
}

/* ------------------------------------------------------------- printing -- */

static void print_label(const word *w, int width, int right)
{
    const int pad = width - w->width;
    printf("%*s%s%*s", right ? pad : 0, "", w->label, right ? 0 : pad, "");
}

static void print_shape(const char *name, const attn_array *a, const char *meaning)
{
    char shape[NPY_SHAPE_SIZE];
    npy_shape_text(a, shape);
    printf("  %-14s %-12s %s\n", name, shape, meaning);
}

static int label_width(const word *words, size_t count)
{
    int width = 5; /* of a number */
    size_t i;
    for (i = 0; i < count; i++)
        if (words[i].width > width) width = words[i].width;
    return width;
}

/* Prints the table in bands of columns, each as wide as a line. weights (count, count) */
static void print_weights(const word *words, size_t count, const float *weights)
{
    const size_t shown = count < SHOWN_WORDS ? count : SHOWN_WORDS;
    const int width = label_width(words, shown);
    const size_t band = (size_t)((LINE - 2 - width) / (width + 2));
    size_t row, column, first;
    for (first = 0; first < shown; first += band) {
        const size_t end = first + band < shown ? first + band : shown;
        printf("\n  %*s", width, "");
        for (column = first; column < end; column++) {
            printf("  ");
            print_label(&words[column], width, 1);
        }
        printf("\n");
        for (row = 0; row < shown; row++) {
            printf("  ");
            print_label(&words[row], width, 0);
            for (column = first; column < end; column++)
                printf("  %*.3f", width, (double)weights[row * count + column]);
            printf("\n");
        }
    }
    if (shown < count) printf("  (the first %zu of %zu words)\n", shown, count);
}

static void print_most_attended(const word *words, size_t count, const float *weights)
{
    const size_t shown = count < SHOWN_WORDS ? count : SHOWN_WORDS;
    const int width = label_width(words, shown);
    size_t row, column;
    printf("\n  attends most to\n");
    for (row = 0; row < shown; row++) {
        const float *w = weights + row * count;
        size_t best = 0;
        for (column = 1; column < count; column++)
            if (w[column] > w[best]) best = column;
        printf("  ");
        print_label(&words[row], width, 0);
        printf("  ->  %s (%.3f)\n", words[best].label, (double)w[best]);
    }
}

static void print_output(const word *words, size_t count, const float *out, size_t dim)
{
    const size_t shown = count < SHOWN_WORDS ? count : SHOWN_WORDS;
    const size_t numbers = dim < SHOWN_NUMBERS ? dim : SHOWN_NUMBERS;
    const int width = label_width(words, shown);
    size_t row, i;
    printf("\nOutput: for each word, the values of all words, weighted by its row and summed\n\n");
    for (row = 0; row < shown; row++) {
        printf("  ");
        print_label(&words[row], width, 0);
        for (i = 0; i < numbers; i++) printf(" %7.3f", (double)out[row * dim + i]);
        printf(numbers < dim ? " ...\n" : "\n");
    }
}

/* ------------------------------------------------------------- sentence -- */

enum { X, WQ, WK, WV, Q, K, V, SCORES, WEIGHTS, OUTPUT, ARRAYS };
static const char *const array_names[ARRAYS] = {"X", "Wq", "Wk", "Wv", "Q", "K", "V", "scores", "weights", "output"};

typedef struct sentence {
    word *words;
    const char **labels;
    size_t count, dim, heads;
    int64_t seed;
    double temperature;
    attn_desc desc;   /* which words are seen, and the scale */
    tensor t[ARRAYS]; /* from Q to weights with an axis for the heads, if there are several */
} sentence;

static attn_status project(const void *arguments, const attn_exec *exec)
{
    const attn_array *m = (const attn_array *)arguments;
    return attn_matmul(&m[0], &m[1], &m[2], exec);
}

static attn_status attend(const void *desc, const attn_exec *exec)
{
    return attn_forward((const attn_desc *)desc, exec);
}

/* An array as (1, heads, rows, columns of one head). */
static attn_array by_head(const sentence *s, int which)
{
    const attn_array *a = &s->t[which].array;
    const size_t rows = a->shape[a->ndim - 2], columns = a->shape[a->ndim - 1];
    if (which == X) return attn_array_4d(ATTN_F32, a->data, 1, 1, rows, columns);
    if (which >= Q && which <= WEIGHTS) return attn_array_4d(ATTN_F32, a->data, 1, s->heads, rows, columns);
    return attn_array_bshd(ATTN_F32, a->data, 1, rows, s->heads, columns / s->heads);
}

/* With the scores, too, if their array is there: a run gives those of one stage. */
static int compute(sentence *s)
{
    const run_options defaults = {NULL, NULL, NULL};
    attn_array m[3];
    int i;
    m[0] = by_head(s, X);
    for (i = 0; i < 3; i++) {
        m[1] = by_head(s, WQ + i);
        m[2] = by_head(s, Q + i);
        if (!run(&defaults, array_names[Q + i], project, m)) return 0;
    }
    s->desc.q = by_head(s, Q);
    s->desc.k = by_head(s, K);
    s->desc.v = by_head(s, V);
    s->desc.out = by_head(s, OUTPUT);
    if (s->temperature != 1) {
        s->desc.scale = 1 / (s->temperature * sqrt((double)s->desc.q.shape[3]));
        if (!(s->desc.scale > 0 && s->desc.scale < HUGE_VAL))
            return fail("--temperature: must be above 0, and neither too small nor too large");
    }
    for (i = s->t[SCORES].file ? SCORES : WEIGHTS; i <= WEIGHTS; i++) {
        s->desc.scores = by_head(s, i);
        s->desc.stage = i == SCORES ? ATTN_STAGE_BIASED : ATTN_STAGE_PROBS;
        if (!run(&defaults, array_names[i], attend, &s->desc)) return 0;
    }
    return 1;
}

static int projection_load(tensor *t, const char *file)
{
    const size_t *n = t->array.shape;
    char shape[NPY_SHAPE_SIZE];
    if (!tensor_load(t, file) || !tensor_is_float(t) || !tensor_rank(t, 2, 2, "(dim, columns)")) return 0;
    npy_shape_text(&t->array, shape);
    if (n[0] < 1 || n[0] > MAX_DIM || n[1] < 1 || n[1] > MAX_DIM)
        return fail("%s: has shape %s, but must have 1 to %d rows and columns", file, shape, MAX_DIM);
    return tensor_pack(t, ATTN_F32);
}

/* Projections that are not given are generated: (dim, dim), or with as many columns as Q and K must share. */
static int projections_make(sentence *s, const char *const files[3], int has_dim)
{
    static const char *const names[3] = {"W_q", "W_k", "W_v"};
    tensor *w = &s->t[WQ];
    const tensor *first = NULL;
    size_t shape[2];
    int i;
    for (i = 0; i < 3; i++) {
        if (!files[i]) continue;
        if (!projection_load(&w[i], files[i])) return 0;
        if (has_dim && w[i].array.shape[0] != s->dim)
            return fail("%s: has %zu rows, but --dim is %zu", files[i], w[i].array.shape[0], s->dim);
        if (first && !tensor_same(&w[i], 0, first, 0, "the number of rows")) return 0;
        first = &w[i];
    }
    if (first) s->dim = first->array.shape[0];
    if (files[0] && files[1] && !tensor_same(&w[1], 1, &w[0], 1, "the number of columns")) return 0;
    for (i = 0; i < 3; i++) {
        word name = {0};
        shape[0] = shape[1] = s->dim;
        if (i < 2 && files[1 - i]) shape[1] = w[1 - i].array.shape[1];
        if (files[i]) shape[1] = w[i].array.shape[1];
        if (shape[1] % s->heads != 0)
            return files[i] ? fail("%s: %zu columns cannot be split into %zu heads", files[i], shape[1], s->heads)
                            : fail("--heads: %zu does not divide the dimension %zu", s->heads, shape[1]);
        if (files[i]) continue;
        if (!tensor_new(&w[i], names[i], ATTN_F32, 2, shape)) return 0;
        name.text = names[i];
        name.length = strlen(names[i]);
        generate((uint64_t)s->seed + fnv1a(&name, 0), projection_scale(s->dim), (float *)w[i].array.data,
                 shape[0] * shape[1]);
    }
    return 1;
}

/* All arrays but the projections, and the embeddings. */
static int arrays_make(sentence *s, int with_scores)
{
    const size_t n = s->count, *wide = s->t[WV].array.shape;
    size_t shape[3], i;
    int which;
    for (which = 0; which < ARRAYS; which++) {
        const int of_heads = which >= Q && which <= WEIGHTS && s->heads > 1;
        if ((which >= WQ && which <= WV) || (which == SCORES && !with_scores)) continue;
        shape[0] = s->heads;
        shape[1] = n;
        shape[2] = which == X ? s->dim : which == OUTPUT ? wide[1] : n;
        if (which >= Q && which <= V) shape[2] = s->t[which - Q + WQ].array.shape[1] / s->heads;
        if (!tensor_new(&s->t[which], array_names[which], ATTN_F32, of_heads ? 3 : 2, of_heads ? shape : shape + 1))
            return 0;
    }
    for (i = 0; i < n; i++)
        generate((uint64_t)s->seed + fnv1a(&s->words[i], 1), 1, (float *)s->t[X].array.data + i * s->dim, s->dim);
    return 1;
}

/* The arrays get files to be written to, if any. */
static int name_files(sentence *s, const char *prefix)
{
    int i;
    for (i = 0; i < ARRAYS; i++) {
        const size_t size = prefix ? strlen(prefix) + strlen(array_names[i]) + sizeof "-.npy" : 0;
        char *file = prefix ? (char *)reserve(size) : NULL;
        if (prefix && !file) return 0;
        if (file) snprintf(file, size, "%s-%s.npy", prefix, array_names[i]);
        s->t[i].file = file;
    }
    return 1;
}

static void print_all(const sentence *s)
{
    const attn_array *weights = &s->t[WEIGHTS].array;
    const size_t distinct = count_distinct(s->words, s->count), head_dim = s->t[WQ].array.shape[1] / s->heads;
    char softmax[80];
    size_t head;
    printf("%zu word%s", s->count, s->count == 1 ? "" : "s");
    if (distinct < s->count) printf(", %zu different", distinct);
    printf("; embeddings of %zu number%s, seed %" PRId64 "\n\n", s->dim, s->dim == 1 ? "" : "s", s->seed);
    snprintf(softmax, sizeof softmax, "softmax(Q K^T / sqrt(%zu))", head_dim);
    if (s->temperature != 1)
        snprintf(softmax, sizeof softmax, "softmax(Q K^T / (%g sqrt(%zu)))", s->temperature, head_dim);
    print_shape("X", &s->t[X].array, "an embedding per word");
    if (s->t[WQ].array.shape[1] == s->t[WV].array.shape[1]) {
        print_shape("W_q, W_k, W_v", &s->t[WQ].array, "projections");
        print_shape("Q, K, V", &s->t[Q].array, "X W_q, X W_k and X W_v, one row per word");
    } else {
        print_shape("W_q, W_k", &s->t[WQ].array, "projections to queries and keys");
        print_shape("W_v", &s->t[WV].array, "projection to values");
        print_shape("Q, K", &s->t[Q].array, "X W_q and X W_k, one row per word");
        print_shape("V", &s->t[V].array, "X W_v");
    }
    print_shape("weights", weights, softmax);
    print_shape("output", &s->t[OUTPUT].array, "weights V");
    for (head = 0; head < s->heads; head++) {
        const float *of_head = (const float *)weights->data + head * s->count * s->count;
        printf("\nWeights");
        if (s->heads > 1) printf(" of head %zu", head);
        printf(": how much a row's word attends to each word (rows sum to 1)\n");
        print_weights(s->words, s->count, of_head);
        print_most_attended(s->words, s->count, of_head);
    }
    print_output(s->words, s->count, (const float *)s->t[OUTPUT].array.data, s->t[OUTPUT].array.shape[1]);
}

int sentence_command(int argc, char **argv)
{
    const char *dim_text = NULL, *heads_text = NULL, *seed_text = NULL, *causal = NULL, *window = NULL,
               *temperature = NULL;
    const char *files[3] = {NULL, NULL, NULL}, *prefix = NULL;
    picture_arguments picture = {0};
    const option options[] = {
        {"--dim", &dim_text},   {"--heads", &heads_text}, {"--seed", &seed_text},
        {"--wq", &files[0]},    {"--wk", &files[1]},      {"--wv", &files[2]},
        {"--causal!", &causal}, {"--window", &window},    {"--temperature", &temperature},
        {"--arrays", &prefix},  {"--svg", &picture.svg},  {"--png", &picture.png},
        LOOK_OPTIONS(picture),
    };
    int64_t dim = 8, heads = 1;
    tensor *outputs[ARRAYS];
    pictures drawn;
    sentence s = {0};
    size_t at;
    int i, texts;
    s.seed = 1;
    s.temperature = 1;
    s.desc = attn_desc_default();
    s.labels = (const char **)reserve(MAX_WORDS * sizeof *s.labels);
    if (!s.labels || !options_read(argc, argv, options, sizeof options / sizeof options[0], &texts) ||
        !pictures_allowed(&picture) || !option_integer("--dim", dim_text, 1, MAX_DIM, &dim) ||
        !option_integer("--heads", heads_text, 1, MAX_DIM, &heads) ||
        !option_integer("--seed", seed_text, INT64_MIN, INT64_MAX, &s.seed) || !window_read(window, &s.desc) ||
        !option_number("--temperature", temperature, &s.temperature))
        return 0;
    s.desc.causal = causal != NULL;
    s.dim = (size_t)dim;
    s.heads = (size_t)heads;
    for (i = 0; i < texts; i++)
        if (!words_split("the sentence", argv[2 + i], s.labels, &s.count)) return 0;
    if (s.count == 0) return fail("sentence needs at least one word (see attn sentence --help)");
    s.words = (word *)reserve(s.count * sizeof *s.words);
    if (!s.words) return 0;
    for (at = 0; at < s.count; at++) {
        word *w = &s.words[at];
        w->text = s.labels[at];
        w->length = strlen(w->text);
        w->width = utf8_cut(w->text, w->length, LABEL, "?", "..", w->label, sizeof w->label);
    }
    if (!projections_make(&s, files, dim_text != NULL) || !arrays_make(&s, prefix != NULL) || !compute(&s) ||
        !pictures_draw(&picture, &s.t[WEIGHTS], s.labels, &drawn) || !name_files(&s, prefix))
        return 0;
    for (i = 0; i < ARRAYS; i++) outputs[i] = &s.t[i];
    if (!tensors_save(outputs, ARRAYS, &drawn)) return 0;
    for (at = 0; at < drawn.count; at++)
        if (strcmp(drawn.file[at].path, "-") == 0) return 1;
    print_all(&s);
    return 1;
}
