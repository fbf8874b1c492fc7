/* SPDX-License-Identifier: MIT-0
 *
 * picture.h - pictures of attention weights: SVG, pixels, PNG, and text for a terminal.
 *
 * Needs nothing but attention.h's types: no files, no options; for PNG, libpng, where ATTN_PNG is defined. (picture.c,
 * canvas.c and utf8.c belong together.)
 */
#ifndef PICTURE_H
#define PICTURE_H

#include "attention.h"

typedef enum picture_view {
    PICTURE_MAP,  /* a cell for each weight: rows are queries, columns are keys */
    PICTURE_LINES /* queries at the left, keys at the right, a line for each weight */
} picture_view;

/* Zero-initialised: a map on white, positions as labels. */
typedef struct picture_options {
    const char *const *queries, *const *keys; /* UTF-8, one for each, or NULL: positions, from 0 */
    const char *title;                        /* NULL: "Attention weights" */
    picture_view view;
    int dark;
    void (*progress)(double share); /* NULL, or called while weights are read, if that is what takes long */
} picture_options;

/* Zero-initialised it is empty; free(bytes). */
typedef struct picture_buffer {
    unsigned char *bytes;
    size_t size, room;
    int failed; /* there was no memory */
} picture_buffer;

enum { PICTURE_HEADS = 64 }; /* the most in one picture */

/* Weights are (queries, keys) or (heads, queries, keys), float32 or float64, with any strides. These return NULL, or
 * in words what is wrong, and then leave an empty buffer.
 *
 * The scale of colours goes from 0 to the largest weight. Of weights that share a pixel (or a line, or a character)
 * the largest is seen, and NaN and what lies outside of 0 to 1 before any other; these, and rows that see no key, have
 * colours of their own. */
const char *picture_svg(const attn_array *weights, const picture_options *options, picture_buffer *out);

/* Without ATTN_PNG, this only says so. */
const char *picture_png(const attn_array *weights, const picture_options *options, picture_buffer *out);

/* Rows of red, green and blue bytes, from the top. */
const char *picture_rgb(const attn_array *weights, const picture_options *options, picture_buffer *out, size_t *width,
                        size_t *height);

typedef enum picture_ink {
    PICTURE_ASCII,
    PICTURE_BLOCKS, /* UTF-8 block elements */
    PICTURE_COLOURS /* escape sequences for 24-bit colours */
} picture_ink;
const char *picture_text(const attn_array *weights, const picture_options *options, picture_ink ink,
                         picture_buffer *out);

#endif
