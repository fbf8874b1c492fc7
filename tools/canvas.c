/* SPDX-License-Identifier: MIT-0
 *
 * canvas.c - rectangles, lines and text, drawn as SVG or as pixels.
 */
#include "canvas.h"
#include "utf8.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GLYPH_WIDTH = 5,
    GLYPH_HEIGHT = 7,
    GLYPH_STEP = 6, /* from one to the next */
};

/* Printable ASCII from the space on: seven rows for each, from the top, the leftmost pixel in bit 4 of what exceeds
 * 'A'. */
static const char font[] = "AAAAAAAEEEEEAEKKKAAAAKK`K`KKEPUOF_EZZCEITTMSUIVSNEEEAAAACEIIIECIECCCEIAEVOVEAAEE`EEAAAAAEEI"
                           "AAA`AAAAAAAAMMBBCEIQQORTVZROEMEEEEOORBCEI`ORBGBROCGKS`CC`Q_BBROGIQ_RRO`BCEEEEORRORROORRPBCM"
                           "AMMAMMAAMMAMEICEIQIECAA`A`AAIECBCEIORBCEAEORXVXQOORR`RRR_RR_RR_ORQQQRO_RRRRR_`QQ_QQ``QQ_QQQ"
                           "ORQXRRPRRR`RRROEEEEEOHCCCCSMRSUYUSRQQQQQQ`R`VVRRRRZZVTTRORRRRRO_RR_QQQORRRVSN_RR_USRPQQOBB_"
                           "`EEEEEERRRRRRORRRRRKERRRVV`KRRKEKRRRRKEEEE`BCEIQ`OIIIIIOQQIECBBOCCCCCOEKRAAAAAAAAAA`IEAAAAA"
                           "AAOBPRPQQ_RRR_AAPQQQPBBPRRRPAAOR`QOGJI]IIIAAPRPBOQQ_RRRREAMEEEOCAGCCSMQQSUYUSMEEEEEOAA_VVVV"
                           "AA_RRRRAAORRROAA_R_QQAAPRPBBAAWYQQQAAPQOB_II]IIJGAARRRRPAARRRKEAARRVVPAARKEKRAARRPBOAA`CEI`"
                           "CEEIEECEEEEEEEIEECEEIAAIVCAA";
static const char box[] = "`RRRRR`";  /* of any other character */
static const char dots[] = "AAAAAVA"; /* of the three dots of a word that has been cut */

/* --------------------------------------------------------------- buffers -- */

static int grow(picture_buffer *b, size_t count)
{
    size_t room = b->room ? b->room : 4096;
    unsigned char *moved;
    if (b->failed || count > (size_t)PTRDIFF_MAX / 2 - b->size) b->failed = 1;
    if (b->failed || b->room - b->size >= count) return !b->failed;
    while (room - b->size < count) room *= 2;
    moved = (unsigned char *)realloc(b->bytes, room);
    if (!moved) {
        b->failed = 1;
        return 0;
    }
    b->bytes = moved;
    b->room = room;
    return 1;
}

void buffer_put(picture_buffer *b, const void *bytes, size_t count)
{
    if (!grow(b, count)) return;
    memcpy(b->bytes + b->size, bytes, count);
    b->size += count;
}

void buffer_print(picture_buffer *b, const char *format, ...)
{
    char text[512]; /* of all formats here, without what users name */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    buffer_put(b, text, strlen(text));
}

/* As text of XML; what is no character, or none that XML has, becomes U+FFFD. */
static void put_escaped(picture_buffer *b, const char *s)
{
    const size_t length = strlen(s);
    size_t at, n;
    int columns;
    for (at = 0; at < length; at += n) {
        n = utf8_character(s + at, length - at, &columns);
        if (n == 0) buffer_put(b, "\357\277\275", 3);
        else if (s[at] == '&') buffer_put(b, "&amp;", 5);
        else if (s[at] == '<') buffer_put(b, "&lt;", 4);
        else if (s[at] == '>') buffer_put(b, "&gt;", 4);
        else buffer_put(b, s + at, n);
        if (n == 0) n = 1;
    }
}

/* ---------------------------------------------------------------- pixels -- */

/* Mixes a colour into a pixel; opacity 0 to 256. */
static void blend(const canvas *c, int x, int y, uint32_t colour, int opacity)
{
    unsigned char *p = c->out->bytes;
    int i;
    if (x < 0 || y < 0 || x >= c->width * CANVAS_SCALE || y >= c->height * CANVAS_SCALE) return;
    p += 3 * ((size_t)y * (size_t)(c->width * CANVAS_SCALE) + (size_t)x);
    for (i = 0; i < 3; i++)
        p[i] = (unsigned char)((p[i] * (256 - opacity) + (int)(colour >> (16 - 8 * i) & 255) * opacity) / 256);
}

static void fill(const canvas *c, int x, int y, int width, int height, uint32_t colour)
{
    int i, k;
    for (k = 0; k < height; k++)
        for (i = 0; i < width; i++) blend(c, x + i, y + k, colour, 256);
}

static void draw_glyph(const canvas *c, const char *rows, int x, int y, int turned, int bold, uint32_t colour)
{
    int row, column;
    for (row = 0; row < GLYPH_HEIGHT; row++) {
        const int pixels = (rows[row] - 'A') << 1 | (bold ? rows[row] - 'A' : 0);
        for (column = 0; column <= GLYPH_WIDTH; column++) {
            const int along = column * CANVAS_SCALE, down = (row - GLYPH_HEIGHT) * CANVAS_SCALE;
            if (!(pixels >> (GLYPH_WIDTH - column) & 1)) continue;
            if (turned) fill(c, x + down, y - along - CANVAS_SCALE, CANVAS_SCALE, CANVAS_SCALE, colour);
            else fill(c, x + along, y + down, CANVAS_SCALE, CANVAS_SCALE, colour);
        }
    }
}

static void draw_text(const canvas *c, int x, int y, canvas_anchor anchor, int turned, int bold, uint32_t colour,
                      const char *text)
{
    const size_t length = strlen(text);
    const int step = (GLYPH_STEP + bold) * CANVAS_SCALE;
    int pass, columns, along = 0;
    for (pass = 0; pass < 2; pass++) { /* the first measures */
        const int start = anchor == CANVAS_START ? 0 : anchor == CANVAS_MIDDLE ? -along / 2 : -along;
        size_t at, n;
        along = pass ? start : 0;
        for (at = 0; at < length; at += n) {
            const char *rows = box;
            n = utf8_character(text + at, length - at, &columns);
            if (n == 1) rows = font + (text[at] - ' ') * GLYPH_HEIGHT;
            else if (n == 3 && memcmp(text + at, "\342\200\246", 3) == 0) rows = dots;
            if (n && columns == 0) continue;
            if (pass)
                draw_glyph(c, rows, x * CANVAS_SCALE + (turned ? 0 : along), y * CANVAS_SCALE - (turned ? along : 0),
                           turned, bold, colour);
            along += step;
            if (n == 0) n = 1;
        }
    }
}

/* In 256ths of a pixel: the height of the line at each column of pixels, by how much of each pixel it covers. */
static void draw_line(const canvas *c, int x0, int y0, int x1, int y1, int thickness, uint32_t colour, int opacity)
{
    const int scale = CANVAS_SCALE, across = (x1 - x0) * scale, rise = (y1 - y0) * scale;
    const int half = (int)(1.28 * thickness * scale * sqrt((double)across * across + (double)rise * rise) / across);
    int x, y;
    for (x = 0; x < across; x++) {
        const int middle = y0 * scale * 256 + (int)((int64_t)rise * 128 * (2 * x + 1) / across);
        const int top = middle - half, bottom = middle + half;
        for (y = top / 256; y * 256 < bottom; y++) {
            const int from = top > y * 256 ? top : y * 256, to = bottom < y * 256 + 256 ? bottom : y * 256 + 256;
            blend(c, x0 * scale + x, y, colour, (to - from) * opacity / 100);
        }
    }
}

/* --------------------------------------------------------------- drawing -- */

void canvas_begin(canvas *c, const char *title, const char *description)
{
    if (!c->svg) {
        const size_t size = 3 * (size_t)(c->width * CANVAS_SCALE) * (size_t)(c->height * CANVAS_SCALE);
        if (grow(c->out, size)) c->out->size = size;
    } else {
        buffer_print(c->out,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
                     "class=\"attention-weights\" role=\"img\" fill=\"#%06x\" font-family=\"system-ui,'Segoe "
                     "UI','DejaVu Sans',sans-serif\" "
                     "font-size=\"11\">\n<title>",
                     c->width, c->height, c->width, c->height, (unsigned)c->ink);
        put_escaped(c->out, title);
        buffer_print(c->out, "</title>\n<desc>");
        put_escaped(c->out, description);
        /* In a page, a style counts outside of its picture, too. A pointer meets cells and lines, not the numbers in
         * them; each label has the direction of its own letters. */
        buffer_print(c->out,
                     "</desc>\n<style>.attention-weights rect,.attention-weights .cells{shape-rendering:"
                     "crispEdges}.attention-weights text{pointer-events:none;unicode-bidi:plaintext}</style>\n");
    }
    canvas_rect(c, 0, 0, c->width, c->height, c->paper, NULL);
}

void canvas_end(canvas *c)
{
    if (c->svg) buffer_print(c->out, "</svg>\n");
}

static void put_tip(canvas *c, const char *name, const char *tip)
{
    if (!tip) {
        buffer_print(c->out, "/>\n");
        return;
    }
    buffer_print(c->out, "><title>");
    put_escaped(c->out, tip);
    buffer_print(c->out, "</title></%s>\n", name);
}

void canvas_rect(canvas *c, int x, int y, int width, int height, uint32_t colour, const char *tip)
{
    if (c->out->failed) return;
    if (!c->svg) {
        fill(c, x * CANVAS_SCALE, y * CANVAS_SCALE, width * CANVAS_SCALE, height * CANVAS_SCALE, colour);
        return;
    }
    buffer_print(c->out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#%06x\"", x, y, width, height,
                 (unsigned)colour);
    put_tip(c, "rect", tip);
}

void canvas_line(canvas *c, int x0, int y0, int x1, int y1, int thickness, uint32_t colour, int opacity,
                 const char *tip)
{
    if (c->out->failed) return;
    if (!c->svg) {
        draw_line(c, x0, y0, x1, y1, thickness, colour, opacity);
        return;
    }
    buffer_print(c->out,
                 "<path d=\"M%d %dL%d %d\" stroke=\"#%06x\" stroke-width=\"%d.%02d\" stroke-opacity=\"%d.%02d\"", x0,
                 y0, x1, y1, (unsigned)colour, thickness / 100, thickness % 100, opacity / 100, opacity % 100);
    put_tip(c, "path", tip);
}

void canvas_text(canvas *c, int x, int y, canvas_anchor anchor, int turned, int bold, uint32_t colour, const char *text)
{
    static const char *const anchors[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
    if (c->out->failed) return;
    if (!c->svg) {
        draw_text(c, x, y, anchor, turned, bold, colour, text);
        return;
    }
    if (turned) buffer_print(c->out, "<text transform=\"translate(%d %d)rotate(-90)\"%s", x, y, anchors[anchor]);
    else buffer_print(c->out, "<text x=\"%d\" y=\"%d\"%s", x, y, anchors[anchor]);
    if (bold) buffer_print(c->out, " font-weight=\"600\"");
    if (colour != c->ink) buffer_print(c->out, " fill=\"#%06x\"", (unsigned)colour);
    buffer_print(c->out, ">");
    put_escaped(c->out, text);
    buffer_print(c->out, "</text>\n");
}

/* The runs of one index, from left to right and down: a line as wide as a cell for each. */
static void put_runs(picture_buffer *out, const unsigned char *index, size_t rows, size_t columns, unsigned char wanted)
{
    size_t row, column, length, last_row = 0, last_column = 0;
    int first = 1;
    for (row = 0; row < rows; row++) {
        const unsigned char *line = index + row * columns;
        for (column = 0; column < columns; column += length) {
            for (length = 1; column + length < columns && line[column + length] == line[column];) length++;
            if (line[column] != wanted) continue;
            if (first) buffer_print(out, "M%zu %zu.5h%zu", column, row, length);
            else buffer_print(out, "m%td %zuh%zu", (ptrdiff_t)column - (ptrdiff_t)last_column, row - last_row, length);
            first = 0;
            last_row = row;
            last_column = column + length;
        }
    }
}

void canvas_matrix(canvas *c, int x, int y, int cell_width, int cell_height, const unsigned char *index, size_t rows,
                   size_t columns, const uint32_t palette[256], const char *tip)
{
    size_t i, j;
    int k;
    if (c->out->failed) return;
    if (!c->svg) {
        for (i = 0; i < rows; i++)
            for (j = 0; j < columns; j++)
                canvas_rect(c, x + (int)j * cell_width, y + (int)i * cell_height, cell_width, cell_height,
                            palette[index[i * columns + j]], NULL);
        return;
    }
    buffer_print(c->out, "<g class=\"cells\" transform=\"translate(%d %d)scale(%d %d)\"", x, y, cell_width,
                 cell_height);
    if (tip) {
        buffer_print(c->out, "><title>");
        put_escaped(c->out, tip);
        buffer_print(c->out, "</title");
    }
    buffer_print(c->out, ">\n");
    for (k = 0; k < 256; k++) {
        if (!memchr(index, k, rows * columns)) continue;
        buffer_print(c->out, "<path stroke=\"#%06x\" d=\"", (unsigned)palette[k]);
        put_runs(c->out, index, rows, columns, (unsigned char)k);
        buffer_print(c->out, "\"/>\n");
    }
    buffer_print(c->out, "</g>\n");
}
