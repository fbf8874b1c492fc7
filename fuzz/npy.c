/* SPDX-License-Identifier: MIT-0
 *
 * The parser of .npy files: any bytes; and any dictionary in a file that is
 * otherwise right. What it accepts can be read, written and read again.
 */
#include "oracle.h"
#include "tools/npy.h"

#include <stdlib.h>
#include <string.h>

static size_t elements_of(const attn_array *a)
{
    size_t n = 1;
    for (int i = 0; i < a->ndim; i++) n *= a->shape[i];
    return n;
}

/* Touches every element, through the strides. */
static unsigned read_all(const attn_array *a)
{
    const size_t size = attn_dtype_size(a->dtype);
    unsigned sum = 0;
    for (size_t i = 0; i < elements_of(a); i++) {
        ptrdiff_t offset = 0, packed = 1;
        size_t rest = i;
        int strided = 0;
        for (int axis = 0; axis < a->ndim; axis++) strided |= a->stride[axis] != 0;
        for (int axis = a->ndim - 1; axis >= 0; axis--) {
            offset += (ptrdiff_t)(rest % a->shape[axis]) * (strided ? a->stride[axis] : packed);
            packed *= (ptrdiff_t)a->shape[axis];
            rest /= a->shape[axis];
        }
        for (size_t k = 0; k < size; k++)
            sum += ((const unsigned char *)a->data)[offset * (ptrdiff_t)size + (ptrdiff_t)k];
    }
    return sum;
}

static void check_written(const attn_array *a)
{
    unsigned char written[NPY_HEADER_SIZE];
    char error[NPY_ERROR_SIZE];
    attn_array plain = *a;
    npy_header again;
    unsigned char *file;
    size_t length;
    const size_t bytes = elements_of(a) * attn_dtype_size(a->dtype);
    memset(plain.stride, 0, sizeof plain.stride);
    length = npy_write_header(&plain, written);
    if (length == 0 || length > NPY_HEADER_SIZE || length % NPY_HEADER_ALIGN)
        fuzz_fail(NULL, "npy: a header of %zu bytes is written", length);
    file = malloc(length + bytes + 1);
    if (!file) return;
    memcpy(file, written, length);
    memset(file + length, 0, bytes);
    if (!npy_parse(file, length + bytes, &again, error, sizeof error))
        fuzz_fail(NULL, "npy: what was written cannot be read: %s", error);
    if (again.array.ndim != a->ndim || again.array.dtype != a->dtype ||
        memcmp(again.array.shape, a->shape, sizeof a->shape) != 0 || again.size != bytes)
        fuzz_fail(NULL, "npy: what was written is read as something else");
    free(file);
}

static void check_file(const uint8_t *bytes, size_t size)
{
    unsigned char *file = malloc(size ? size : 1);
    char error[NPY_ERROR_SIZE], text[NPY_SHAPE_SIZE];
    npy_header header;
    if (!file) return;
    if (size) memcpy(file, bytes, size);
    memset(error, 1, sizeof error);
    if (npy_parse(file, size, &header, error, sizeof error)) {
        attn_array a;
        npy_shape_text(&header.array, text);
        if (header.offset > size || header.size != size - header.offset || memchr(text, 0, sizeof text) == NULL)
            fuzz_fail(NULL, "npy: %zu bytes at %zu in a file of %zu", header.size, header.offset, size);
        if (elements_of(&header.array) * attn_dtype_size(header.array.dtype) != header.size)
            fuzz_fail(NULL, "npy: %s of %s in %zu bytes", text, attn_dtype_name(header.array.dtype), header.size);
        a = npy_take(file, &header);
        if (read_all(&a) == 0xffffffffu) fuzz_fail(NULL, "npy: unreadable");
        check_written(&a);
    } else if (memchr(error, 0, sizeof error) == NULL || error[0] == 0 || strchr(error, '\n')) {
        fuzz_fail(NULL, "npy: refused without one line of explanation");
    }
    free(file);
}

/* Magic, version, length, `text`, and as many bytes of data as its first two say. */
static void check_dictionary(const uint8_t *bytes, size_t size)
{
    enum { MOST = 4096 };
    static uint8_t file[MOST + 1024];
    const size_t data = size > 1 ? (bytes[0] | (size_t)bytes[1] << 8) % 1024 : 0;
    const unsigned version = size > 1 ? 1 + (bytes[1] >> 6) % 3 : 1;
    const size_t prefix = version == 1 ? 10 : 12, text = size > 2 && size < MOST - 16 ? size - 2 : 0;
    memset(file, 0, sizeof file);
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (uint8_t)version;
    file[8] = (uint8_t)text;
    file[9] = (uint8_t)(text >> 8);
    if (text) memcpy(file + prefix, bytes + 2, text);
    check_file(file, prefix + text + data);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    check_file(bytes, size);
    check_dictionary(bytes, size);
    return 0;
}
