/* SPDX-License-Identifier: MIT-0
 *
 * heatmap.c - attn heatmap, and the pictures of weights that other commands draw.
 */
#include "npy.h"
#include "picture.h"
#include "tool.h"

#include "check/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char heatmap_help[] =
    "attn heatmap - a picture of attention weights\n"
    "\n"
    "  attn heatmap --weights W.npy [--tokens \"The cat sat\"] [-o FILE] [options]\n"
    "\n"
    "W is (S, T), (H, S, T) or (B, H, S, T): queries by keys, as --weights of other\n"
    "commands writes them. Heads, batches and positions count from 0, as in NumPy.\n"
    "\n"
    "  -o FILE          the picture: PNG (if built with libpng) if the name ends in\n"
    "                   .png, else SVG; - is standard output\n"
    "  --text           print it as text; the default without -o. Colours on a terminal,\n"
    "                   unless NO_COLOR is set; else blocks where the locale has UTF-8\n" LABEL_HELP LOOK_HELP "\n"
    "Colours go from 0 to the largest weight, the same for all heads: from pale yellow to\n"
    "dark violet (with --dark the other way) in even steps of OKLab lightness. Of weights\n"
    "that share a pixel, a line or a character the largest is seen. NaN, what lies\n"
    "outside of 0 to 1, and rows of zeros, which see no key, have colours of their own,\n"
    "explained below the picture. Words are cut to 14 columns, and turned where they do\n"
    "not fit above their column; a pointer that rests on a cell of an SVG is shown query,\n"
    "key and weight, if there are at most 4096 cells. Lines join neighbours so that there\n"
    "are at most 64 on a side and 8192 in all. PNG has letters for ASCII; other\n"
    "characters are boxes.\n";

/* --------------------------------------------------------------- options -- */

static const char **words_of(const char *name, const char *text, size_t *count)
{
    const char **words = (const char **)reserve(MAX_WORDS * sizeof *words);
    *count = 0;
    return words && words_split(name, text, words, count) ? words : NULL;
}

/* The labels of an axis of n positions. */
static int labels_read(const char *name, const char *text, const tensor *weights, size_t n, const char *meaning,
                       const char *const **labels)
{
    char shape[NPY_SHAPE_SIZE];
    size_t count;
    if (!text) return 1;
    *labels = words_of(name, text, &count);
    if (!*labels) return 0;
    if (count == n) return 1;
    npy_shape_text(&weights->array, shape);
    return fail("%s: has %zu word%s, but there are %zu %s (the weights have shape %s)%s", name, count,
                count == 1 ? "" : "s", n, meaning, shape,
                strcmp(meaning, "keys") == 0 && strcmp(name, "--keys") != 0 ? "; --keys has words for them" : "");
}

/* The array without its first axis. */
static attn_array part_of(const attn_array *a, size_t at)
{
    attn_array part = *a;
    int i;
    part.data = (char *)a->data + (ptrdiff_t)at * a->stride[0] * (ptrdiff_t)attn_dtype_size(a->dtype);
    part.ndim--;
    for (i = 0; i < part.ndim; i++) {
        part.shape[i] = a->shape[i + 1];
        part.stride[i] = a->stride[i + 1];
    }
    return part;
}

/* Chooses from the first axis, if there are more than `rest`, and adds to the title what was chosen. */
static int choose(const char *name, const char *text, int rest, attn_array *a, char *title, size_t title_size)
{
    int64_t at = 0;
    const size_t used = strlen(title), most = a->ndim > rest ? a->shape[0] - 1 : 0;
    if (!option_integer(name, text, 0, (int64_t)most, &at)) return 0;
    if (a->ndim <= rest) return 1;
    *a = part_of(a, (size_t)at);
    snprintf(title + used, title_size - used, ", %s %d", name + 2, (int)at);
    return 1;
}

static void show_drawing(double share) { progress_at("attn: drawing", "", share, 1); }

/* What is to be drawn: one batch, all heads or one, and how. */
static int picture_make(const picture_arguments *o, tensor *weights, attn_array *shown, picture_options *look)
{
    static const char *const views[2] = {"map", "lines"};
    enum { TITLE = 96 };
    char *title = (char *)reserve(TITLE), shape[NPY_SHAPE_SIZE];
    int view = PICTURE_MAP, i;
    size_t queries, keys;
    memset(look, 0, sizeof *look);
    if (!title || !option_word("--view", o->view, views, 2, &view)) return 0;
    if (!tensor_rank(weights, 2, 4, "(S, T), (H, S, T) or (B, H, S, T)") || !tensor_is_float(weights)) return 0;
    if (weights->array.dtype == ATTN_F16 && !tensor_convert(weights, ATTN_F32)) return 0;
    npy_shape_text(&weights->array, shape);
    for (i = 0; i < weights->array.ndim; i++)
        if (weights->array.shape[i] == 0)
            return fail("%s: has shape %s, which has no weights to draw", weights->file, shape);
    *shown = weights->array;
    queries = shown->shape[shown->ndim - 2];
    keys = shown->shape[shown->ndim - 1];
    strcpy(title, "Attention weights");
    if (!choose("--batch", o->batch, 3, shown, title, TITLE)) return 0;
    if (o->head && !choose("--head", o->head, 2, shown, title, TITLE)) return 0;
    if (shown->ndim == 3 && shown->shape[0] > PICTURE_HEADS)
        return fail("%s: has %zu heads (shape %s), more than the %d of a picture; --head chooses one", weights->file,
                    shown->shape[0], shape, PICTURE_HEADS);
    look->title = title;
    look->view = (picture_view)view;
    look->dark = o->dark != NULL;
    look->progress = show_drawing;
    if (!labels_read("--tokens", o->tokens, weights, queries, "queries", &look->queries)) return 0;
    if (o->keys) return labels_read("--keys", o->keys, weights, keys, "keys", &look->keys);
    return labels_read("--tokens", o->tokens, weights, keys, "keys", &look->keys);
}

/* -------------------------------------------------------------- pictures -- */

typedef const char *(*picture_form)(const attn_array *weights, const picture_options *look, picture_buffer *out);

static int draw(picture_form form, const char *path, const attn_array *shown, const picture_options *look,
                file_out *file)
{
    picture_buffer picture = {NULL, 0, 0, 0};
    const char *wrong;
    progress_begin();
    wrong = form(shown, look, &picture);
    progress_erase();
    if (wrong) return fail("%s: %s", path, wrong);
    memset(file, 0, sizeof *file);
    file->path = path;
    file->head = ""; /* fwrite takes no NULL, even of no bytes */
    file->body = keep(picture.bytes);
    file->body_size = picture.size;
    return file->body != NULL;
}

int pictures_allowed(const picture_arguments *o)
{
    const struct {
        const char *name, *text;
    } others[] = {{"--view", o->view},   {"--dark", o->dark},     {"--head", o->head},
                  {"--batch", o->batch}, {"--tokens", o->tokens}, {"--keys", o->keys}};
    size_t i;
    for (i = 0; i < sizeof others / sizeof others[0] && !o->svg && !o->png; i++)
        if (others[i].text) return fail("%s needs --svg or --png", others[i].name);
    return 1;
}

int pictures_wanted(const picture_arguments *o) { return o->svg || o->png; }

int pictures_draw(const picture_arguments *o, tensor *weights, const char *const *words, pictures *files)
{
    attn_array shown;
    picture_options look;
    files->count = 0;
    if (!pictures_wanted(o)) return 1;
    if (!picture_make(o, weights, &shown, &look)) return 0;
    if (words) look.queries = look.keys = words;
    if (o->svg && !draw(picture_svg, o->svg, &shown, &look, &files->file[files->count++])) return 0;
    return !o->png || draw(picture_png, o->png, &shown, &look, &files->file[files->count++]);
}

/* --------------------------------------------------------------- heatmap -- */

/* What the output can show: the variables that say which locale, in POSIX's order. */
static picture_ink terminal_ink(void)
{
    static const char *const names[3] = {"LC_ALL", "LC_CTYPE", "LANG"};
    const char *locale = NULL, *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    int i;
    for (i = 0; i < 3 && (!locale || !*locale); i++) locale = getenv(names[i]);
    if (output_is_terminal() && !(no_colour && *no_colour) && terminal && strcmp(terminal, "dumb") != 0)
        return PICTURE_COLOURS;
    if (!locale) return PICTURE_ASCII;
    return strstr(locale, "UTF-8") || strstr(locale, "utf8") || strstr(locale, "UTF8") || strstr(locale, "utf-8")
               ? PICTURE_BLOCKS
               : PICTURE_ASCII;
}

/* The form that the name of a file asks for. */
static int form_read(const char *path, picture_arguments *o)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    if (dot && strcmp(dot, ".png") == 0) o->png = path;
    else if (!dot || strcmp(dot, ".svg") == 0) o->svg = path;
    else return fail("-o: %s ends neither in .svg nor in .png", path);
    return 1;
}

static int heatmap(const char *file, const char *out, int text, picture_arguments *o)
{
    picture_buffer printed = {NULL, 0, 0, 0};
    tensor weights;
    attn_array shown;
    picture_options look;
    pictures files;
    const char *wrong;
    if (!out) text = 1;
    if (!out && o->view) return fail("--view needs -o: text is always a map");
    if ((out && !form_read(out, o)) || !tensor_load(&weights, file)) return 0;
    if (!pictures_draw(o, &weights, NULL, &files) || !files_write(files.file, files.count)) return 0;
    if (!text) return 1;
    if (!picture_make(o, &weights, &shown, &look)) return 0;
    progress_begin();
    wrong = picture_text(&shown, &look, terminal_ink(), &printed);
    progress_erase();
    if (wrong) return fail("%s: %s", file, wrong);
    fwrite(printed.bytes, 1, printed.size, stdout);
    return keep(printed.bytes) != NULL;
}

int heatmap_command(int argc, char **argv)
{
    const char *weights = NULL, *out = NULL, *text = NULL;
    picture_arguments o = {0};
    const option options[] = {
        {"--weights", &weights}, {"-o", &out}, {"--text!", &text}, LOOK_OPTIONS(o), LABEL_OPTIONS(o)};
    return options_read(argc, argv, options, sizeof options / sizeof options[0], NULL) &&
           option_required("heatmap", "--weights", weights) && heatmap(weights, out, text != NULL, &o);
}
