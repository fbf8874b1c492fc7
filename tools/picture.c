/* SPDX-License-Identifier: MIT-0
 *
 * picture.c - pictures of attention weights. Each weight becomes a shade, a byte whose order says what is seen where
 * several share a place; maps, lines and text are drawn from the shades.
 */
#include "picture.h"
#include "canvas.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef ATTN_PNG
#include <png.h>
#endif

/* What a shade means. A row without a visible key has weights of 0 only. */
enum {
    SHADE_EMPTY = 0, /* 0 in such a row */
    SHADE_ZERO = 1,  /* other weights, up to SHADE_TOP */
    LEVELS = 241,
    SHADE_TOP = SHADE_ZERO + LEVELS - 1,
    SHADE_OUTSIDE, /* of 0 to 1 */
    SHADE_NAN
};

enum {
    SCALE_STEP = 4,   /* levels for each colour of the scale */
    TIPPED = 4096,    /* most cells that are elements of their own, with a tip; else runs of the scale's colours */
    LINES_SIDE = 64,  /* most labels on a side of lines */
    LINES_ALL = 8192, /* most lines */
    LINES_LEAST = SHADE_ZERO + LEVELS / 30,
    LABEL_COLUMNS = 14,
    LABEL_BYTES = 96,
    TIP_BYTES = 3 * LABEL_BYTES,
    TERMINAL = 80,      /* columns, */
    TERMINAL_ROWS = 64, /* and rows of a map */
    MARGIN = 16,
    GAP = 20,
    LEAST_WIDTH = 320, /* for notes */
    LINES_WIDTH = 180,
    NUMBER_BYTES = 32
};

#define DOTS "\342\200\246"    /* U+2026 */
#define UNKNOWN "\357\277\275" /* U+FFFD */

typedef struct plan {
    attn_array w; /* (heads, queries, keys) */
    const picture_options *o;
    size_t heads, queries, keys;
    size_t join_rows, join_columns, rows, columns; /* a shade is for so many weights; so many shades */
    double largest, top;                           /* weight, 0 if none is above; of the scale */
    size_t strongest[3];                           /* where the largest is */
    size_t nans, outside, empty;                   /* weights, weights, rows */
    unsigned char *shade;                          /* (heads, rows, columns) */
    uint32_t palette[256];
} plan;

/* ---------------------------------------------------------------- shades -- */

static double weight_at(const plan *p, size_t head, size_t query, size_t key)
{
    const ptrdiff_t at =
        (ptrdiff_t)head * p->w.stride[0] + (ptrdiff_t)query * p->w.stride[1] + (ptrdiff_t)key * p->w.stride[2];
    return p->w.dtype == ATTN_F64 ? ((const double *)p->w.data)[at] : (double)((const float *)p->w.data)[at];
}

/* A weight of 1 may be rounded up, in float16 by 2^-10. */
static int is_outside(double w) { return w < 0 || w > 1 + 1. / 1024; }

static int is_empty(const plan *p, size_t head, size_t query)
{
    size_t key;
    for (key = 0; key < p->keys; key++)
        if (weight_at(p, head, query, key) != 0) return 0;
    return 1;
}

static int shade_of(const plan *p, double w, int empty)
{
    int level;
    if (w != w) return SHADE_NAN;
    if (is_outside(w)) return SHADE_OUTSIDE;
    if (empty) return SHADE_EMPTY;
    level = (int)(w / p->top * LEVELS);
    return SHADE_ZERO + (level < LEVELS ? level : LEVELS - 1);
}

/* Before each row is read for the first or the second time. */
static void at_row(const plan *p, int before, size_t head, size_t query)
{
    const double rows = (double)p->heads * (double)p->queries, done = (double)head * (double)p->queries + (double)query;
    if (p->o->progress) p->o->progress((before * rows + done) / (2 * rows));
}

static void survey(plan *p)
{
    size_t head, query, key;
    for (head = 0; head < p->heads; head++) {
        for (query = 0; query < p->queries; query++) {
            at_row(p, 0, head, query);
            p->empty += (size_t)is_empty(p, head, query);
            for (key = 0; key < p->keys; key++) {
                const double w = weight_at(p, head, query, key);
                p->nans += w != w;
                p->outside += w == w && is_outside(w);
                if (w != w || is_outside(w) || w <= p->largest) continue;
                p->largest = w;
                p->strongest[0] = head;
                p->strongest[1] = query;
                p->strongest[2] = key;
            }
        }
    }
    p->top = p->largest > 0 ? p->largest : 1;
}

static size_t joined(size_t count, size_t join) { return (count + join - 1) / join; }

static void make_shades(plan *p)
{
    size_t head, query, key;
    memset(p->shade, SHADE_EMPTY, p->heads * p->rows * p->columns);
    for (head = 0; head < p->heads; head++) {
        for (query = 0; query < p->queries; query++) {
            unsigned char *row = p->shade + (head * p->rows + query / p->join_rows) * p->columns;
            const int empty = is_empty(p, head, query);
            at_row(p, 1, head, query);
            for (key = 0; key < p->keys; key++) {
                const int shade = shade_of(p, weight_at(p, head, query, key), empty);
                if (shade > row[key / p->join_columns]) row[key / p->join_columns] = (unsigned char)shade;
            }
        }
    }
}

static int is_tipped(const plan *p) { return p->heads * p->rows * p->columns <= TIPPED; }

/* Only the colours of the scale, so that neighbours have the same more often. */
static void coarsen_shades(plan *p)
{
    size_t i;
    for (i = 0; i < p->heads * p->rows * p->columns; i++)
        if (p->shade[i] >= SHADE_ZERO && p->shade[i] <= SHADE_TOP)
            p->shade[i] = (unsigned char)(p->shade[i] - (p->shade[i] - SHADE_ZERO) % SCALE_STEP);
}

/* Anchors of the colour map, chosen in OKLab: from one to the next, lightness falls by an eighth of the way from 0.98
 * to 0.24, while the hue turns from yellow over green and blue to violet. Between them, a line in sRGB. */
static void make_palette(plan *p)
{
    static const uint32_t anchors[9] = {0xfbf9ea, 0xc5e5b9, 0x77d2aa, 0x0bb7ae, 0x0993a8,
                                        0x03719c, 0x034d97, 0x272b72, 0x241244};
    enum { STEPS = (LEVELS - 1) / 8 };
    int level, i;
    for (level = 0; level < LEVELS; level++) {
        const int at = p->o->dark ? LEVELS - 1 - level : level; /* more is always further from the paper */
        const uint32_t from = anchors[at / STEPS], to = anchors[at / STEPS + (at % STEPS != 0)];
        uint32_t colour = 0;
        for (i = 16; i >= 0; i -= 8) {
            const int a = (int)(from >> i & 255), b = (int)(to >> i & 255);
            colour |= (uint32_t)(a + (b - a) * (at % STEPS) / STEPS) << i;
        }
        p->palette[SHADE_ZERO + level] = colour;
    }
    p->palette[SHADE_EMPTY] = p->o->dark ? 0x5a5a5a : 0xc4c4c4;
    p->palette[SHADE_OUTSIDE] = 0xf28c00;
    p->palette[SHADE_NAN] = 0xe0218a;
}

/* Checks the weights and makes their shades: at most so many rows and columns, and cells of all heads. */
static const char *plan_make(plan *p, const attn_array *weights, const picture_options *o, size_t rows, size_t columns,
                             size_t cells)
{
    size_t least = 1;
    int i, contiguous = 1;
    memset(p, 0, sizeof *p);
    p->w = *weights;
    p->o = o;
    if (weights->dtype != ATTN_F32 && weights->dtype != ATTN_F64) return "weights must be float32 or float64";
    if (!weights->data && weights->ndim >= 2) return "there are no weights to draw";
    if (weights->ndim < 2 || weights->ndim > 3) return "weights must be (queries, keys) or (heads, queries, keys)";
    for (i = 0; i < weights->ndim; i++) {
        if (weights->shape[i] == 0) return "there are no weights to draw";
        if (weights->stride[i] != 0) contiguous = 0;
    }
    p->w.ndim = 3;
    for (i = 0; i < 3; i++) {
        const int from = i - (3 - weights->ndim);
        p->w.shape[i] = from < 0 ? 1 : weights->shape[from];
        p->w.stride[i] = from < 0 ? 0 : weights->stride[from];
    }
    p->heads = p->w.shape[0];
    p->queries = p->w.shape[1];
    p->keys = p->w.shape[2];
    if (contiguous) {
        p->w.stride[0] = (ptrdiff_t)(p->queries * p->keys);
        p->w.stride[1] = (ptrdiff_t)p->keys;
        p->w.stride[2] = 1;
    }
    if (p->heads > PICTURE_HEADS) return "there are more than 64 heads: choose one";
    do { /* the same number both ways, where one alone would not be enough */
        p->join_rows = joined(p->queries, rows) > least ? joined(p->queries, rows) : least;
        p->join_columns = joined(p->keys, columns) > least ? joined(p->keys, columns) : least;
        p->rows = joined(p->queries, p->join_rows);
        p->columns = joined(p->keys, p->join_columns);
        least++;
    } while (p->heads * p->rows * p->columns > cells);
    p->shade = (unsigned char *)malloc(p->heads * p->rows * p->columns);
    if (!p->shade) return "there is no memory";
    survey(p);
    make_shades(p);
    make_palette(p);
    return NULL;
}

/* Of the weights that share a shade, the one that it shows. */
static double shown_weight(const plan *p, size_t head, size_t row, size_t column)
{
    const size_t first = row * p->join_rows, left = column * p->join_columns;
    const int shade = p->shade[(head * p->rows + row) * p->columns + column];
    double best = 0;
    size_t i, j;
    for (i = first; i < p->queries && i < first + p->join_rows; i++) {
        for (j = left; j < p->keys && j < left + p->join_columns; j++) {
            const double w = weight_at(p, head, i, j);
            if (shade >= SHADE_OUTSIDE && shade_of(p, w, 0) == shade) return w;
            if (shade < SHADE_OUTSIDE && w > best) best = w;
        }
    }
    return best;
}

/* ---------------------------------------------------------------- labels -- */

/* With a point, whatever the locale has instead. */
static void number(char out[NUMBER_BYTES], const char *format, double value)
{
    char text[4 * NUMBER_BYTES];
    size_t from, to = 0;
    snprintf(text, sizeof text, format, value);
    if (value != value) strcpy(text, "NaN"); /* printf may give it a sign */
    for (from = 0; text[from] && to < NUMBER_BYTES - 1; from++)
        if (strchr("0123456789+-einfNa", text[from])) out[to++] = text[from];
        else if (to && out[to - 1] != '.') out[to++] = '.';
    out[to] = 0;
}

typedef struct axis {
    const char *const *labels; /* or NULL: numbers */
    size_t count, join;        /* of what is drawn; of labels for each */
    size_t step;               /* every so manieth has its label */
    int pitch, turned, room;   /* in pixels, from one to the next; upwards; what the labels take */
    int ascii;
} axis;

static int label_of(const axis *a, size_t at, int columns, char out[LABEL_BYTES])
{
    if (a->labels) {
        const char *label = a->labels[at * a->join];
        return utf8_cut(label, strlen(label), columns, a->ascii ? "?" : UNKNOWN, a->ascii ? ".." : DOTS, out,
                        LABEL_BYTES);
    }
    return snprintf(out, LABEL_BYTES, "%zu", at * a->join);
}

static int widest_label(const axis *a)
{
    char text[LABEL_BYTES];
    int widest = 1;
    size_t i;
    if (!a->labels) return label_of(a, a->count - 1, LABEL_COLUMNS, text);
    for (i = 0; i < a->count; i++) {
        const int width = label_of(a, i, LABEL_COLUMNS, text);
        if (width > widest) widest = width;
    }
    return widest;
}

/* 1, 2, 5, 10, 20, ... so that labels have the room that they need. */
static size_t label_step(int pitch, int need)
{
    size_t step = 1;
    int i;
    for (i = 0; step * (size_t)pitch < (size_t)need; i++) step = i % 3 == 1 ? step / 2 * 5 : step * 2;
    return step;
}

/* Labels of columns are turned where the widest does not fit its column. */
static axis axis_make(const plan *p, int is_columns, int pitch)
{
    axis a;
    int widest;
    memset(&a, 0, sizeof a);
    a.labels = is_columns ? p->o->keys : p->o->queries;
    a.count = is_columns ? p->columns : p->rows;
    a.join = is_columns ? p->join_columns : p->join_rows;
    a.pitch = pitch;
    widest = widest_label(&a) * CANVAS_LETTER;
    a.turned = is_columns && a.labels && widest > pitch;
    a.room = is_columns && !a.turned ? CANVAS_LINE : widest + 6;
    a.step = label_step(pitch, is_columns && !a.turned && !a.labels ? widest + CANVAS_LETTER : 12);
    return a;
}

/* "query → key: weight" */
static void tip_of(const plan *p, const axis *rows, const axis *columns, size_t head, size_t row, size_t column,
                   char tip[TIP_BYTES])
{
    char query[LABEL_BYTES], key[LABEL_BYTES], value[NUMBER_BYTES];
    label_of(rows, row, 2 * LABEL_COLUMNS, query);
    label_of(columns, column, 2 * LABEL_COLUMNS, key);
    number(value, "%.4g", shown_weight(p, head, row, column));
    snprintf(tip, TIP_BYTES, "%s%s \342\206\222 %s%s: %s", query, rows->join > 1 ? DOTS : "", key,
             columns->join > 1 ? DOTS : "", value);
}

/* ---------------------------------------------------------------- layout -- */

/* Panels in a grid, one for each head. Labels are at the first panel of each line and, of a map, above the first line;
 * those at the right, of lines, at the last panel. */
typedef struct layout {
    axis rows, columns;
    size_t across, down;
    int left, right, above, head; /* room for labels and for the names of heads */
    int width, height;            /* of a panel */
} layout;

static size_t panels_across(size_t heads)
{
    size_t across = 4;
    while (across * across < heads) across++;
    return heads < across ? heads : across;
}

/* The most pixels that the side of a panel takes. */
static size_t panel_side(size_t heads)
{
    const size_t side = heads == 1 ? 768 : 960 / panels_across(heads);
    return side > 120 ? side : 120;
}

static int clamp(size_t x, int low, int high) { return x < (size_t)low ? low : x > (size_t)high ? high : (int)x; }

static layout layout_make(const plan *p)
{
    enum { CELL = 48, THIN = 12, PITCH = 18 };
    const size_t side = panel_side(p->heads);
    layout l;
    memset(&l, 0, sizeof l);
    l.across = panels_across(p->heads);
    l.down = joined(p->heads, l.across);
    l.head = p->heads > 1 ? CANVAS_LINE + 2 : 0;
    if (p->o->view == PICTURE_LINES) {
        l.rows = axis_make(p, 0, PITCH);
        l.columns = axis_make(p, 1, PITCH);
        l.right = widest_label(&l.columns) * CANVAS_LETTER + 6;
        l.width = LINES_WIDTH;
        l.height = PITCH * (int)(p->rows > p->columns ? p->rows : p->columns);
    } else {
        /* squares, unless that would make them thin */
        int width = clamp(side / p->columns, 1, CELL), height = clamp(side / p->rows, 1, CELL);
        const int square = width < height ? width : height, least = square > THIN ? square : THIN;
        if (width > least) width = least;
        if (height > least) height = least;
        l.rows = axis_make(p, 0, height);
        l.columns = axis_make(p, 1, width);
        l.above = l.columns.room;
        l.width = width * (int)p->columns;
        l.height = height * (int)p->rows;
    }
    l.left = l.rows.room;
    return l;
}

static int panel_x(const layout *l, size_t head)
{
    return MARGIN + l->left + (int)(head % l->across) * (l->width + GAP);
}

static int panel_y(const layout *l, size_t head)
{
    const int line = (int)(head / l->across);
    return MARGIN + CANVAS_LINE + 8 + l->above + l->head + line * (l->height + l->head + GAP);
}

static int notes_y(const layout *l) { return panel_y(l, (l->down - 1) * l->across) + l->height + GAP; }

/* --------------------------------------------------------------- drawing -- */

static void draw_names(const plan *p, const layout *l, canvas *c, size_t head, int lines)
{
    const int x = panel_x(l, head), y = panel_y(l, head), above = head < l->across ? l->above : 0;
    char text[LABEL_BYTES];
    size_t i;
    if (l->head) {
        snprintf(text, sizeof text, "head %zu", head);
        canvas_text(c, x, y - above - 6, CANVAS_START, 0, 1, c->ink, text);
    }
    for (i = 0; i < l->rows.count && head % l->across == 0; i += l->rows.step) {
        label_of(&l->rows, i, LABEL_COLUMNS, text);
        canvas_text(c, x - 6, y + (int)i * l->rows.pitch + l->rows.pitch / 2 + 4, CANVAS_END, 0, 0, c->ink, text);
    }
    for (i = 0; i < l->columns.count; i += l->columns.step) {
        const int middle = (int)i * l->columns.pitch + l->columns.pitch / 2;
        label_of(&l->columns, i, LABEL_COLUMNS, text);
        if (lines && (head % l->across == l->across - 1 || head == p->heads - 1))
            canvas_text(c, x + l->width + 6, y + middle + 4, CANVAS_START, 0, 0, c->ink, text);
        if (above && l->columns.turned) canvas_text(c, x + middle + 4, y - 6, CANVAS_START, 1, 0, c->ink, text);
        if (above && !l->columns.turned) canvas_text(c, x + middle, y - 6, CANVAS_MIDDLE, 0, 0, c->ink, text);
    }
}

/* Black or white, whichever has the greater contrast on it: at least 4.5 on every colour of the palette. */
static uint32_t ink_on(uint32_t colour)
{
    const uint32_t light = 3 * (colour >> 16 & 255) + 6 * (colour >> 8 & 255) + (colour & 255);
    return light > 940 ? 0x000000 : 0xffffff;
}

static void draw_cells(const plan *p, const layout *l, canvas *c, size_t head)
{
    const int x = panel_x(l, head), y = panel_y(l, head), width = l->columns.pitch, height = l->rows.pitch;
    const int gap = width >= 8 && height >= 8;
    const unsigned char *shade = p->shade + head * p->rows * p->columns;
    char text[TIP_BYTES], value[NUMBER_BYTES];
    size_t i, j;
    if (!is_tipped(p)) {
        snprintf(text, sizeof text, "head %zu", head);
        canvas_matrix(c, x, y, width, height, shade, p->rows, p->columns, p->palette, l->head ? text : NULL);
        return;
    }
    for (i = 0; i < p->rows; i++) {
        for (j = 0; j < p->columns; j++) {
            const uint32_t colour = p->palette[shade[i * p->columns + j]];
            const int left = x + (int)j * width, top = y + (int)i * height;
            const double w = shown_weight(p, head, i, j);
            tip_of(p, &l->rows, &l->columns, head, i, j, text);
            canvas_rect(c, left, top, width - gap, height - gap, colour, text);
            number(value, is_outside(w) ? "%.2g" : "%.2f", w);
            if (w != 0 && height >= CANVAS_LINE && (int)strlen(value) * CANVAS_LETTER <= width)
                canvas_text(c, left + width / 2, top + height / 2 + 4, CANVAS_MIDDLE, 0, 0, ink_on(colour), value);
        }
    }
}

/* The colour of lines and of their ends. */
static uint32_t line_colour(const plan *p) { return p->palette[SHADE_ZERO + 3 * LEVELS / 4]; }

static void draw_line(const plan *p, canvas *c, int x0, int y0, int x1, int y1, int shade, const char *tip)
{
    const int marked = shade > SHADE_TOP, level = marked ? LEVELS - 1 : shade - SHADE_ZERO;
    canvas_line(c, x0, y0, x1, y1, 50 + 350 * level / LEVELS, marked ? p->palette[shade] : line_colour(p),
                8 + 84 * level / LEVELS, tip);
}

static void draw_lines(const plan *p, const layout *l, canvas *c, size_t head)
{
    enum { DOT = 6 };
    const int x = panel_x(l, head), pitch = l->rows.pitch, y = panel_y(l, head) + pitch / 2;
    const unsigned char *shade = p->shade + head * p->rows * p->columns;
    char tip[TIP_BYTES];
    size_t i, j;
    for (i = 0; i < p->rows; i++) {
        for (j = 0; j < p->columns; j++) {
            const int s = shade[i * p->columns + j];
            if (s < LINES_LEAST) continue;
            tip_of(p, &l->rows, &l->columns, head, i, j, tip);
            draw_line(p, c, x + DOT, y + (int)i * pitch, x + l->width - DOT, y + (int)j * pitch, s, tip);
        }
    }
    for (i = 0; i < p->rows; i++) {
        const int empty = shade[i * p->columns] == SHADE_EMPTY;
        canvas_rect(c, x, y + (int)i * pitch - DOT / 2, DOT, DOT, empty ? p->palette[SHADE_EMPTY] : line_colour(p),
                    NULL);
    }
    for (j = 0; j < p->columns; j++)
        canvas_rect(c, x + l->width - DOT, y + (int)j * pitch - DOT / 2, DOT, DOT, line_colour(p), NULL);
}

/* What the picture says below itself, a line each; with a colour, or NO_SHADE. */
typedef struct note {
    int shade;
    char text[LABEL_BYTES];
} note;
enum { NOTES = 6, NO_SHADE = -1 };

static size_t notes_of(const plan *p, note notes[NOTES])
{
    const struct {
        int shade;
        size_t count;
        const char *what;
    } marked[] = {{SHADE_EMPTY, p->empty, "rows that see no key"},
                  {SHADE_OUTSIDE, p->outside, "outside of 0 to 1"},
                  {SHADE_NAN, p->nans, "NaN"}};
    const int lines = p->o->view == PICTURE_LINES;
    size_t count = 0, i;
    notes[count].shade = NO_SHADE;
    snprintf(notes[count++].text, LABEL_BYTES, "%s",
             lines ? "left: queries, right: keys" : "rows: queries, columns: keys");
    if (lines) {
        notes[count].shade = NO_SHADE;
        snprintf(notes[count++].text, LABEL_BYTES, "no line below 1/30 of that");
    }
    if (p->join_rows > 1 || p->join_columns > 1) {
        notes[count].shade = NO_SHADE;
        snprintf(notes[count++].text, LABEL_BYTES, "each %s: the largest of %zu x %zu weights", lines ? "line" : "cell",
                 p->join_rows, p->join_columns);
    }
    for (i = 0; i < sizeof marked / sizeof marked[0]; i++) {
        if (marked[i].count == 0) continue;
        notes[count].shade = marked[i].shade;
        snprintf(notes[count++].text, LABEL_BYTES, "%s: %zu", marked[i].what, marked[i].count);
    }
    return count;
}

/* From 0 to the largest weight; of lines, the strongest. */
static void draw_scale(const plan *p, canvas *c, int x, int y)
{
    enum { BAR = LEVELS / SCALE_STEP * 2, STROKE = 30 };
    char value[NUMBER_BYTES];
    int i;
    number(value, "%.3g", p->top);
    if (p->o->view == PICTURE_LINES) {
        draw_line(p, c, x, y + 6, x + STROKE, y + 6, SHADE_TOP, NULL);
        canvas_text(c, x + STROKE + 6, y + 10, CANVAS_START, 0, 0, c->ink, value);
        return;
    }
    canvas_text(c, x, y + 10, CANVAS_START, 0, 0, c->ink, "0");
    for (i = 0; i < BAR; i += 2)
        canvas_rect(c, x + 12 + i, y, 2, 11, p->palette[SHADE_ZERO + i / 2 * SCALE_STEP], NULL);
    canvas_text(c, x + 12 + BAR + 6, y + 10, CANVAS_START, 0, 0, c->ink, value);
}

/* In a sentence, for those who cannot see it. */
static void describe(const plan *p, const layout *l, char out[2 * TIP_BYTES])
{
    axis rows = l->rows, columns = l->columns;
    char query[LABEL_BYTES], key[LABEL_BYTES], value[NUMBER_BYTES];
    int used = snprintf(out, 2 * TIP_BYTES, "%zu queries, %zu keys, %zu %s. ", p->queries, p->keys, p->heads,
                        p->heads == 1 ? "head" : "heads");
    rows.join = columns.join = 1;
    label_of(&rows, p->strongest[1], LABEL_COLUMNS, query);
    label_of(&columns, p->strongest[2], LABEL_COLUMNS, key);
    number(value, "%.3g", p->largest);
    if (p->largest > 0)
        snprintf(out + used, (size_t)(2 * TIP_BYTES - used), "The largest weight, %s, is that of query %s for key %s",
                 value, query, key);
    else snprintf(out + used, (size_t)(2 * TIP_BYTES - used), "No weight is above 0 and at most 1");
}

static void draw(const plan *p, canvas *c)
{
    const layout l = layout_make(p);
    const int lines = p->o->view == PICTURE_LINES, wide = (int)l.across * (l.width + GAP) - GAP + l.left + l.right;
    const char *title = p->o->title ? p->o->title : "Attention weights";
    note notes[NOTES];
    const size_t count = notes_of(p, notes);
    char text[2 * TIP_BYTES];
    size_t i, longest = 0;
    int y = notes_y(&l);
    for (i = 0; i < count; i++)
        if (strlen(notes[i].text) > longest) longest = strlen(notes[i].text);
    c->width = 2 * MARGIN + (int)longest * CANVAS_LETTER + CANVAS_LINE;
    if (c->width < 2 * MARGIN + wide) c->width = 2 * MARGIN + wide;
    if (c->width < LEAST_WIDTH) c->width = LEAST_WIDTH;
    c->height = y + (int)(count + 1) * CANVAS_LINE + MARGIN;
    c->paper = p->o->dark ? 0x0d1117 : 0xffffff;
    c->ink = p->o->dark ? 0xd1d7e0 : 0x1f2328;
    describe(p, &l, text);
    canvas_begin(c, title, text);
    utf8_cut(title, strlen(title), (c->width - 2 * MARGIN) / (CANVAS_LETTER + 1), UNKNOWN, DOTS, text, sizeof text);
    canvas_text(c, MARGIN, MARGIN + 10, CANVAS_START, 0, 1, c->ink, text);
    for (i = 0; i < p->heads; i++) {
        draw_names(p, &l, c, i, lines);
        if (lines) draw_lines(p, &l, c, i);
        else draw_cells(p, &l, c, i);
    }
    draw_scale(p, c, MARGIN, y);
    for (i = 0; i < count; i++) {
        const int marked = notes[i].shade != NO_SHADE;
        y += CANVAS_LINE;
        if (marked) canvas_rect(c, MARGIN, y, 11, 11, p->palette[notes[i].shade], NULL);
        canvas_text(c, marked ? MARGIN + CANVAS_LINE : MARGIN, y + 10, CANVAS_START, 0, 0, c->ink, notes[i].text);
    }
    canvas_end(c);
}

/* -------------------------------------------------------------- pictures -- */

static const char *finish(plan *p, const char *wrong, picture_buffer *out)
{
    free(p->shade);
    if (!wrong && out->failed) wrong = "there is no memory";
    if (wrong) {
        free(out->bytes);
        memset(out, 0, sizeof *out);
    }
    return wrong;
}

static const char *drawn(const attn_array *weights, const picture_options *o, int svg, picture_buffer *out,
                         size_t *width, size_t *height)
{
    const size_t heads = weights->ndim == 3 && weights->shape[0] ? weights->shape[0] : 1;
    const size_t side = o->view == PICTURE_LINES ? LINES_SIDE : panel_side(heads);
    plan p;
    canvas c;
    const char *wrong = plan_make(&p, weights, o, side, side, o->view == PICTURE_LINES ? LINES_ALL : SIZE_MAX);
    memset(&c, 0, sizeof c);
    c.out = out;
    c.svg = svg;
    if (!wrong && o->view == PICTURE_MAP && !is_tipped(&p)) coarsen_shades(&p);
    if (!wrong) draw(&p, &c);
    *width = (size_t)(c.width * CANVAS_SCALE);
    *height = (size_t)(c.height * CANVAS_SCALE);
    return finish(&p, wrong, out);
}

const char *picture_svg(const attn_array *weights, const picture_options *options, picture_buffer *out)
{
    size_t width, height;
    return drawn(weights, options, 1, out, &width, &height);
}

const char *picture_rgb(const attn_array *weights, const picture_options *options, picture_buffer *out, size_t *width,
                        size_t *height)
{
    return drawn(weights, options, 0, out, width, height);
}

const char *picture_png(const attn_array *weights, const picture_options *options, picture_buffer *out)
{
#ifdef ATTN_PNG
    picture_buffer rgb = {NULL, 0, 0, 0};
    png_image image;
    png_alloc_size_t size;
    size_t width, height;
    const char *wrong = picture_rgb(weights, options, &rgb, &width, &height);
    if (wrong) return wrong;
    memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    image.width = (png_uint_32)width;
    image.height = (png_uint_32)height;
    image.format = PNG_FORMAT_RGB;
    image.flags = PNG_IMAGE_FLAG_FAST; /* no filters: they make areas of one colour larger, not smaller */
    size = PNG_IMAGE_PNG_SIZE_MAX(image);
    out->bytes = (unsigned char *)malloc(size);
    if (!out->bytes || !png_image_write_to_memory(&image, out->bytes, &size, 0, rgb.bytes, 0, NULL)) {
        wrong = out->bytes ? "libpng failed" : "there is no memory";
        free(out->bytes);
        out->bytes = NULL;
        size = 0;
    }
    out->size = out->room = size;
    free(rgb.bytes);
    return wrong;
#else
    (void)weights, (void)options, (void)out;
    return "PNG needs libpng, without which this was built; SVG does not";
#endif
}

/* ------------------------------------------------------------------ text -- */

static const char *symbol_of(int shade, picture_ink ink)
{
    static const char *const symbols[2][5] = {{" ", ".", ":", "*", "#"},
                                              {" ", "\342\226\221", "\342\226\222", "\342\226\223", "\342\226\210"}};
    if (shade == SHADE_EMPTY) return "-";
    if (shade == SHADE_OUTSIDE) return "!";
    if (shade == SHADE_NAN) return "?";
    return symbols[ink == PICTURE_BLOCKS][(shade - SHADE_ZERO) * 5 / LEVELS];
}

/* `columns` wide: symbols, or the text on the colour. */
static void put_cell(picture_buffer *out, const plan *p, int shade, picture_ink ink, const char *text, int columns)
{
    const uint32_t paper = p->palette[shade], letters = ink_on(paper);
    int i;
    if (ink != PICTURE_COLOURS) {
        for (i = 0; i < columns; i++) buffer_print(out, "%s", symbol_of(shade, ink));
        return;
    }
    buffer_print(out, "\033[48;2;%u;%u;%um\033[38;2;%u;%u;%um%*s\033[0m", (unsigned)(paper >> 16),
                 (unsigned)(paper >> 8 & 255), (unsigned)(paper & 255), (unsigned)(letters >> 16),
                 (unsigned)(letters >> 8 & 255), (unsigned)(letters & 255), columns, text);
}

/* A word and spaces, `columns` in all. */
static void put_word(picture_buffer *out, const axis *a, size_t at, int columns)
{
    char text[LABEL_BYTES];
    const int width = label_of(a, at, columns, text);
    buffer_print(out, "%s%*s", text, columns - width, "");
}

static void put_rows(picture_buffer *out, const plan *p, picture_ink ink, size_t head, const axis *rows,
                     const axis *columns)
{
    enum { VALUE = 5 };
    const int left = widest_label(rows), widest = widest_label(columns), room = TERMINAL - 3 - left;
    const int cell = clamp((size_t)room / p->columns, 1, widest < VALUE ? VALUE : widest + 1), gap = cell > 2;
    size_t i, j;
    if (p->heads > 1) buffer_print(out, "head %zu\n", head);
    if (gap) {
        buffer_print(out, "  %*s ", left, "");
        for (j = 0; j < p->columns; j++) {
            put_word(out, columns, j, cell - 1);
            buffer_print(out, j + 1 < p->columns ? " " : "\n");
        }
    }
    for (i = 0; i < p->rows; i++) {
        buffer_print(out, "  ");
        put_word(out, rows, i, left);
        buffer_print(out, " ");
        for (j = 0; j < p->columns; j++) {
            const int shade = p->shade[(head * p->rows + i) * p->columns + j];
            char value[NUMBER_BYTES] = "";
            if (cell >= VALUE) number(value, "%.2f", shown_weight(p, head, i, j));
            put_cell(out, p, shade, ink, (int)strlen(value) < cell ? value : "", cell - gap);
            if (gap && j + 1 < p->columns) buffer_print(out, " ");
        }
        buffer_print(out, "\n");
    }
    buffer_print(out, "\n");
}

const char *picture_text(const attn_array *weights, const picture_options *options, picture_ink ink,
                         picture_buffer *out)
{
    picture_options map = *options;
    plan p;
    axis rows, columns;
    note notes[NOTES];
    char value[NUMBER_BYTES];
    size_t i, count;
    int level;
    const char *wrong;
    map.view = PICTURE_MAP;
    wrong = plan_make(&p, weights, &map, TERMINAL_ROWS, TERMINAL - 3 - LABEL_COLUMNS, SIZE_MAX);
    if (wrong) return finish(&p, wrong, out);
    rows = axis_make(&p, 0, 1);
    columns = axis_make(&p, 1, 1);
    rows.ascii = columns.ascii = ink == PICTURE_ASCII;
    for (i = 0; i < p.heads; i++) put_rows(out, &p, ink, i, &rows, &columns);
    number(value, "%.3g", p.top);
    buffer_print(out, "  0 [");
    for (level = 0; level < LEVELS; level += (LEVELS - 1) / 4) put_cell(out, &p, SHADE_ZERO + level, ink, "", 1);
    buffer_print(out, "] %s\n", value);
    count = notes_of(&p, notes);
    for (i = 0; i < count; i++) {
        buffer_print(out, "  ");
        if (notes[i].shade != NO_SHADE) {
            put_cell(out, &p, notes[i].shade, ink, "", 1);
            buffer_print(out, " ");
        }
        buffer_print(out, "%s\n", notes[i].text);
    }
    return finish(&p, NULL, out);
}
