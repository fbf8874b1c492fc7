/* SPDX-License-Identifier: MIT-0
 *
 * npy.h - NumPy's .npy format (versions 1.0, 2.0, 3.0), read as arrays of attention.h.
 *
 * Works on bytes in memory: no files, no allocation. Element types f2, f4, f8,
 * b1, i1, u1, i4 and i8, either byte order, C or Fortran order, 0 to 8 dimensions.
 */
#ifndef NPY_H
#define NPY_H

#include "attention.h"

typedef struct npy_header {
    attn_array array; /* element type, shape and strides; data is NULL */
    int swapped;      /* the byte order of the elements is not that of this machine */
    size_t offset;    /* of the first element in the file */
    size_t size;      /* of all elements, in bytes; nothing follows them in the file */
} npy_header;

enum {
    NPY_ERROR_SIZE = 512,  /* fits every message of npy_parse */
    NPY_SHAPE_SIZE = 192,  /* fits every npy_shape_text */
    NPY_HEADER_SIZE = 320, /* fits every npy_write_header */
    NPY_HEADER_ALIGN = 64, /* what the format asks of the first element's offset */
    NPY_BEGIN = 65546      /* has any header of version 1.0 */
};

/* Checks a whole file. Returns 1, or 0 with one line of explanation in `error`. */
int npy_parse(const unsigned char *bytes, size_t length, npy_header *header, char *error, size_t error_size);

/* The same of a file of `length` bytes of which the first ones are here, NPY_BEGIN or all. */
int npy_parse_begin(const unsigned char *bytes, size_t have, size_t length, npy_header *header, char *error,
                    size_t error_size);

/* Turns the bytes of the file into its elements, in place: moves them to the front, where
 * the memory is aligned, and converts them to this machine's byte order. `bytes` must come
 * from malloc, and `header` from npy_parse of the same bytes. */
attn_array npy_take(unsigned char *bytes, const npy_header *header);

/* Writes the header (version 1.0) of a C-contiguous array in this machine's byte order.
 * Returns its length, or 0 if .npy does not have the element type (bfloat16). */
size_t npy_write_header(const attn_array *array, unsigned char header[NPY_HEADER_SIZE]);

/* "(4, 8)", as Python writes it. */
void npy_shape_text(const attn_array *array, char text[NPY_SHAPE_SIZE]);

#endif
