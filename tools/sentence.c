/* SPDX-License-Identifier: MIT-0
 *
 * sentence.c - attn sentence: shows what attention does with the words of a sentence.
 */
#include "npy.h"
#include "tool.h"
#include "utf8.h"

#include <inttypes.h>
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

static attn_status forward(const void *layer, const attn_exec *exec)
{
    return attn_layer_forward((const attn_layer *)layer, exec);
}

static void print_all(const word *words, size_t count, const attn_layer *l, int64_t seed)
{
    const size_t dim = l->x.shape[1];
    const attn_array heads = attn_array_3d(ATTN_F32, NULL, l->num_heads, count, dim / l->num_heads);
    const attn_array q = l->num_heads > 1 ? heads : l->x;
    const size_t distinct = count_distinct(words, count);
    char softmax[64];
    size_t head;
    printf("%zu word%s", count, count == 1 ? "" : "s");
    if (distinct < count) printf(", %zu different", distinct);
    printf("; embeddings of %zu number%s, seed %" PRId64 "\n\n", dim, dim == 1 ? "" : "s", seed);
    snprintf(softmax, sizeof softmax, "softmax(Q K^T / sqrt(%zu))", dim / l->num_heads);
    print_shape("X", &l->x, "an embedding per word");
    print_shape("W_q, W_k, W_v", &l->w_q, "projections");
    print_shape("Q, K, V", &q, "X W_q, X W_k and X W_v, one row per word");
    print_shape("weights", &l->weights, softmax);
    print_shape("output", &l->out, "weights V");
    for (head = 0; head < l->num_heads; head++) {
        const float *weights = (const float *)l->weights.data + head * count * count;
        printf("\nWeights");
        if (l->num_heads > 1) printf(" of head %zu", head);
        printf(": how much a row's word attends to each word (rows sum to 1)\n");
        print_weights(words, count, weights);
        print_most_attended(words, count, weights);
    }
    print_output(words, count, (const float *)l->out.data, dim);
}

static int show(const word *words, const char *const *labels, size_t count, size_t dim, size_t heads, int64_t seed,
                const picture_arguments *picture)
{
    static const char *const names[3] = {"W_q", "W_k", "W_v"};
    const run_options defaults = {NULL, NULL, NULL};
    const size_t square = dim * dim * sizeof(float), rows = count * dim * sizeof(float);
    attn_layer l = attn_layer_default();
    attn_array *projections[3];
    const size_t shape[3] = {heads, count, count};
    tensor weights;
    pictures drawn;
    size_t i;
    projections[0] = &l.w_q;
    projections[1] = &l.w_k;
    projections[2] = &l.w_v;
    for (i = 0; i < 3; i++) {
        word name = {0};
        float *values = (float *)reserve(square);
        if (!values) return 0;
        name.text = names[i];
        name.length = strlen(names[i]);
        generate((uint64_t)seed + fnv1a(&name, 0), projection_scale(dim), values, dim * dim);
        *projections[i] = attn_array_2d(ATTN_F32, values, dim, dim);
    }
    l.x = attn_array_2d(ATTN_F32, reserve(rows), count, dim);
    l.out = attn_array_2d(ATTN_F32, reserve(rows), count, dim);
    if (!tensor_new(&weights, "the weights", ATTN_F32, heads == 1 ? 2 : 3, heads == 1 ? shape + 1 : shape)) return 0;
    l.weights = weights.array;
    if (!l.x.data || !l.out.data) return 0;
    for (i = 0; i < count; i++) generate((uint64_t)seed + fnv1a(&words[i], 1), 1, (float *)l.x.data + i * dim, dim);
    l.num_heads = heads;
    if (!run(&defaults, "sentence", forward, &l)) return 0;
    if (!pictures_draw(picture, &weights, labels, &drawn) || !files_write(drawn.file, drawn.count)) return 0;
    for (i = 0; i < drawn.count; i++)
        if (strcmp(drawn.file[i].path, "-") == 0) return 1;
    print_all(words, count, &l, seed);
    return 1;
}

int sentence_command(int argc, char **argv)
{
    const char *dim_text = NULL, *heads_text = NULL, *seed_text = NULL;
    picture_arguments picture = {0};
    const option options[] = {{"--dim", &dim_text},    {"--heads", &heads_text}, {"--seed", &seed_text},
                              {"--svg", &picture.svg}, {"--png", &picture.png},  LOOK_OPTIONS(picture)};
    int64_t dim = 8, heads = 1, seed = 1;
    const char **labels = (const char **)reserve(MAX_WORDS * sizeof *labels);
    word *words;
    size_t count = 0, at;
    int i, texts;
    if (!labels || !options_read(argc, argv, options, sizeof options / sizeof options[0], &texts) ||
        !pictures_allowed(&picture) || !option_integer("--dim", dim_text, 1, MAX_DIM, &dim) ||
        !option_integer("--heads", heads_text, 1, dim, &heads) ||
        !option_integer("--seed", seed_text, INT64_MIN, INT64_MAX, &seed))
        return 0;
    if (dim % heads != 0) return fail("--heads: %d does not divide the dimension %d", (int)heads, (int)dim);
    for (i = 0; i < texts; i++)
        if (!words_split("the sentence", argv[2 + i], labels, &count)) return 0;
    if (count == 0) return fail("sentence needs at least one word (see attn sentence --help)");
    words = (word *)reserve(count * sizeof *words);
    if (!words) return 0;
    for (at = 0; at < count; at++) {
        word *w = &words[at];
        w->text = labels[at];
        w->length = strlen(w->text);
        w->width = utf8_cut(w->text, w->length, LABEL, "?", "..", w->label, sizeof w->label);
    }
    return show(words, labels, count, (size_t)dim, (size_t)heads, seed, &picture);
}
