/* SPDX-License-Identifier: MIT-0
 *
 * canvas.h - rectangles, lines and text, drawn as SVG or as pixels: the inner half of picture.h. Coordinates are
 * whole CSS pixels, colours 0xrrggbb; nothing depends on the locale, so that the bytes are the same everywhere.
 */
#ifndef CANVAS_H
#define CANVAS_H

#include "picture.h"

enum {
    CANVAS_SCALE = 2,  /* pixels in an image for each unit, so that small text is readable */
    CANVAS_LETTER = 7, /* the width that a column of text gets */
    CANVAS_LINE = 16   /* the height of a line of text */
};

typedef enum canvas_anchor { CANVAS_START, CANVAS_MIDDLE, CANVAS_END } canvas_anchor;

typedef struct canvas {
    picture_buffer *out; /* text of an SVG, or RGB rows */
    int svg, width, height;
    uint32_t paper, ink;
} canvas;

void buffer_put(picture_buffer *b, const void *bytes, size_t count);
void buffer_print(picture_buffer *b, const char *format, ...);

/* `description` is for those who cannot see the picture. */
void canvas_begin(canvas *c, const char *title, const char *description);
void canvas_end(canvas *c);

/* `tip` (may be NULL) is what a pointer that rests there is shown. */
void canvas_rect(canvas *c, int x, int y, int width, int height, uint32_t colour, const char *tip);

/* From left to right. Thickness and opacity in hundredths. */
void canvas_line(canvas *c, int x0, int y0, int x1, int y1, int thickness, uint32_t colour, int opacity,
                 const char *tip);

/* At the left, middle or right end of its base line; `turned`: upwards. */
void canvas_text(canvas *c, int x, int y, canvas_anchor anchor, int turned, int bold, uint32_t colour,
                 const char *text);

/* A matrix of indices into a palette of 256 colours, a rectangle for each; the fewer runs, the shorter the SVG. */
void canvas_matrix(canvas *c, int x, int y, int cell_width, int cell_height, const unsigned char *index, size_t rows,
                   size_t columns, const uint32_t palette[256], const char *tip);

#endif
