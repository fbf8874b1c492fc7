/* SPDX-License-Identifier: MIT-0
 *
 * npy.c - see npy.h. The header is a Python dictionary; this parser accepts just the
 * part of Python that the format uses, and trusts nothing in the file.
 */
#include "npy.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const unsigned char magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

static const struct element_type {
    const char code[3], letter[2], name[8];
    attn_dtype dtype;
    size_t size;
} element_types[] = {
    {"f2", "e", "float16", ATTN_F16, 2}, {"f4", "f", "float32", ATTN_F32, 4}, {"f8", "d", "float64", ATTN_F64, 8},
    {"b1", "?", "bool", ATTN_BOOL, 1},   {"i4", "i", "int32", ATTN_I32, 4},   {"i8", "q", "int64", ATTN_I64, 8},
    {"i1", "b", "int8", ATTN_I8, 1},     {"u1", "B", "uint8", ATTN_U8, 1},
};
enum { ELEMENT_TYPES = sizeof element_types / sizeof element_types[0] };

static int native_is_little(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

/* ---------------------------------------------------------------- parser -- */

typedef struct parser {
    const unsigned char *bytes; /* the file */
    size_t at, end;             /* the part of the header not yet read */
    char *error;
    size_t error_size;
} parser;

/* A string literal's content: printable ASCII. */
typedef struct literal {
    const char *text;
    size_t length;
} literal;

/* The values of the dictionary. */
typedef struct dictionary {
    literal descr;
    const struct element_type *type;
    int swapped, fortran_order;
    int ndim;
    size_t shape[ATTN_MAX_DIMS];
} dictionary;

#if defined(__GNUC__) && !defined(_WIN32) /* where gcc checks formats against another printf */
static int complain(parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
#endif
static int complain(parser *p, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(p->error, p->error_size, format, arguments);
    va_end(arguments);
    return 0;
}

static void skip_space(parser *p)
{
    while (p->at < p->end && p->bytes[p->at] != 0 && strchr(" \t\r\n", p->bytes[p->at])) p->at++;
}

static int next_is(parser *p, char c)
{
    skip_space(p);
    return p->at < p->end && p->bytes[p->at] == (unsigned char)c;
}

static int accept(parser *p, char c)
{
    if (!next_is(p, c)) return 0;
    p->at++;
    return 1;
}

static int expect(parser *p, char c)
{
    return accept(p, c) || complain(p, "bad header: expected '%c' at byte %zu", c, p->at);
}

static int parse_string(parser *p, literal *string)
{
    const unsigned char *bytes = p->bytes;
    unsigned char quote;
    skip_space(p);
    if (p->at >= p->end || (bytes[p->at] != '\'' && bytes[p->at] != '"'))
        return complain(p, "bad header: expected a quoted string at byte %zu", p->at);
    quote = bytes[p->at++];
    string->text = (const char *)bytes + p->at;
    string->length = 0;
    for (; p->at < p->end && bytes[p->at] != quote; p->at++, string->length++)
        if (bytes[p->at] < ' ' || bytes[p->at] > '~' || bytes[p->at] == '\\')
            return complain(p, "bad header: invalid character in the string at byte %zu", p->at);
    if (p->at >= p->end) return complain(p, "bad header: unterminated string");
    p->at++;
    return 1;
}

static int literal_is(literal string, const char *text)
{
    return string.length == strlen(text) && memcmp(string.text, text, string.length) == 0;
}

/* How much of it a message shows. */
static int shown(literal string) { return string.length < 32 ? (int)string.length : 32; }

/* As NumPy reads it: '<f4', 'f4', '<f', 'f', 'float32'. */
static int parse_descr(parser *p, dictionary *d)
{
    literal type;
    char order;
    size_t i;
    if (next_is(p, '[')) return complain(p, "holds records, not a plain array of numbers");
    if (!parse_string(p, &d->descr)) return 0;
    type = d->descr;
    if (type.length && strchr("<>=|", order = type.text[0])) type.text++, type.length--;
    else order = '=';
    for (i = 0; i < ELEMENT_TYPES; i++) {
        const struct element_type *e = &element_types[i];
        if (!literal_is(type, e->code) && !literal_is(type, e->letter) && !literal_is(d->descr, e->name)) continue;
        d->type = e;
        d->swapped = e->size > 1 && order == (native_is_little() ? '>' : '<');
        return 1;
    }
    return complain(p, "element type '%.*s' is not one of f2, f4, f8, b1, i1, u1, i4, i8", shown(d->descr),
                    d->descr.text);
}

static int parse_bool(parser *p, int *value)
{
    static const char *const words[2] = {"False", "True"};
    skip_space(p);
    for (*value = 0; *value < 2; ++*value) {
        const size_t length = strlen(words[*value]);
        if (p->end - p->at < length || memcmp(p->bytes + p->at, words[*value], length) != 0) continue;
        p->at += length;
        return 1;
    }
    return complain(p, "bad header: expected True or False at byte %zu", p->at);
}

static int is_digit(const parser *p) { return p->at < p->end && p->bytes[p->at] >= '0' && p->bytes[p->at] <= '9'; }

static int parse_dimension(parser *p, size_t *value)
{
    size_t start;
    skip_space(p);
    start = p->at;
    if (!is_digit(p)) return complain(p, "bad header: expected a dimension (0, 1, 2, ...) at byte %zu", p->at);
    for (*value = 0; is_digit(p); p->at++) {
        const size_t digit = (size_t)(p->bytes[p->at] - '0');
        if (p->at > start && *value == 0)
            return complain(p, "bad header: number with leading zeros at byte %zu", start);
        if (*value > (SIZE_MAX - digit) / 10)
            return complain(p, "bad header: the dimension at byte %zu is too large", start);
        *value = *value * 10 + digit;
    }
    if (p->at < p->end && p->bytes[p->at] == 'L') p->at++; /* as Python 2 wrote large numbers */
    return 1;
}

/* A tuple: (), (3,), (3, 4) or (3, 4,). (3) is a number in Python. */
static int parse_shape(parser *p, dictionary *d)
{
    int comma = 0;
    if (!expect(p, '(')) return 0;
    for (d->ndim = 0; !accept(p, ')'); d->ndim++) {
        if (d->ndim > 0 && !comma) return complain(p, "bad header: expected ',' or ')' at byte %zu", p->at);
        if (d->ndim == ATTN_MAX_DIMS) return complain(p, "has more than %d dimensions", ATTN_MAX_DIMS);
        if (!parse_dimension(p, &d->shape[d->ndim])) return 0;
        comma = accept(p, ',');
    }
    if (d->ndim == 1 && !comma) return complain(p, "bad header: the shape is not a tuple");
    return 1;
}

static int parse_dictionary(parser *p, dictionary *d)
{
    static const char *const keys[3] = {"descr", "fortran_order", "shape"};
    int seen[3] = {0, 0, 0};
    int key, comma = 1;
    if (!expect(p, '{')) return 0;
    while (!accept(p, '}')) {
        literal name;
        if (!comma) return complain(p, "bad header: expected ',' or '}' at byte %zu", p->at);
        if (!parse_string(p, &name)) return 0;
        for (key = 0; key < 3 && !literal_is(name, keys[key]);) key++;
        if (key == 3) return complain(p, "bad header: unknown key '%.*s'", shown(name), name.text);
        if (seen[key]++) return complain(p, "bad header: '%s' appears twice", keys[key]);
        if (!expect(p, ':')) return 0;
        if (key == 0 && !parse_descr(p, d)) return 0;
        if (key == 1 && !parse_bool(p, &d->fortran_order)) return 0;
        if (key == 2 && !parse_shape(p, d)) return 0;
        comma = accept(p, ',');
    }
    for (key = 0; key < 3; key++)
        if (!seen[key]) return complain(p, "bad header: '%s' is missing", keys[key]);
    skip_space(p);
    return p->at == p->end || complain(p, "bad header: unexpected data after the dictionary at byte %zu", p->at);
}

/* Computes the strides of a packed array and its size in bytes. Dimensions of 0 count as
 * 1 for the strides, which must fit even if there are no elements. */
static int lay_out(parser *p, const dictionary *d, npy_header *header)
{
    size_t step = 1;
    int i, empty = 0;
    for (i = 0; i < d->ndim; i++) {
        const int axis = d->fortran_order ? i : d->ndim - 1 - i;
        const size_t n = d->shape[axis];
        header->array.shape[axis] = n;
        header->array.stride[axis] = (ptrdiff_t)step;
        if (n == 0) empty = 1;
        if (n > 1 && step > (size_t)PTRDIFF_MAX / d->type->size / n)
            return complain(p, "the header describes more elements than fit in memory");
        if (n > 1) step *= n;
    }
    header->array.ndim = d->ndim;
    header->array.dtype = d->type->dtype;
    header->size = empty ? 0 : step * d->type->size;
    return 1;
}

/* Where the header's text starts and ends. */
static int find_header(parser *p, size_t length)
{
    const unsigned char *b = p->bytes;
    size_t text;
    int version_1;
    if (length == 0) return complain(p, "the file is empty");
    if (length >= 2 && b[0] == 'P' && b[1] == 'K')
        return complain(p, "is an .npz archive, not an .npy file (save the arrays one by one, with numpy.save)");
    if (memcmp(b, magic, length < sizeof magic ? length : sizeof magic) != 0)
        return complain(p, "is not an .npy file (bad magic)");
    if (length < 12) return complain(p, "the file ends inside its header");
    if (b[6] < 1 || b[6] > 3 || b[7] != 0)
        return complain(p, ".npy version %d.%d is not supported (1.0, 2.0 and 3.0 are)", b[6], b[7]);
    version_1 = b[6] == 1;
    p->at = version_1 ? 10 : 12;
    text = (size_t)b[8] | (size_t)b[9] << 8;
    if (!version_1) text |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (text > length - p->at)
        return complain(p, "the file ends inside its header (%zu bytes needed, %zu left)", text, length - p->at);
    p->end = p->at + text;
    return 1;
}

int npy_parse(const unsigned char *bytes, size_t length, npy_header *header, char *error, size_t error_size)
{
    return npy_parse_begin(bytes, length, length, header, error, error_size);
}

int npy_parse_begin(const unsigned char *bytes, size_t have, size_t length, npy_header *header, char *error,
                    size_t error_size)
{
    parser p = {0};
    dictionary d = {{0}, 0, 0, 0, 0, {0}};
    char shape[NPY_SHAPE_SIZE];
    p.bytes = bytes;
    p.error = error;
    p.error_size = error_size;
    memset(header, 0, sizeof *header);
    if (!find_header(&p, have) || !parse_dictionary(&p, &d) || !lay_out(&p, &d, header)) return 0;
    header->swapped = d.swapped;
    header->offset = p.end;
    if (header->size == length - p.end) return 1;
    npy_shape_text(&header->array, shape);
    return complain(&p, "the header describes %s of %.*s (%zu bytes), but the file has %zu bytes of data", shape,
                    shown(d.descr), d.descr.text, header->size, length - p.end);
}

attn_array npy_take(unsigned char *bytes, const npy_header *header)
{
    attn_array array = header->array;
    size_t i, j, element = 1;
    for (i = 0; i < ELEMENT_TYPES; i++)
        if (element_types[i].dtype == array.dtype) element = element_types[i].size;
    memmove(bytes, bytes + header->offset, header->size);
    if (header->swapped) {
        for (i = 0; i < header->size; i += element) {
            for (j = 0; j < element / 2; j++) {
                const unsigned char other = bytes[i + element - 1 - j];
                bytes[i + element - 1 - j] = bytes[i + j];
                bytes[i + j] = other;
            }
        }
    }
    array.data = bytes;
    return array;
}

/* ---------------------------------------------------------------- writer -- */

void npy_shape_text(const attn_array *array, char text[NPY_SHAPE_SIZE])
{
    size_t at = 1;
    int i;
    text[0] = '(';
    for (i = 0; i < array->ndim && i < ATTN_MAX_DIMS; i++)
        at += (size_t)snprintf(text + at, NPY_SHAPE_SIZE - at, i ? ", %zu" : "%zu", array->shape[i]);
    snprintf(text + at, NPY_SHAPE_SIZE - at, array->ndim == 1 ? ",)" : ")");
}

size_t npy_write_header(const attn_array *array, unsigned char header[NPY_HEADER_SIZE])
{
    const size_t prefix = sizeof magic + 4; /* magic, version, length */
    const char order = native_is_little() ? '<' : '>';
    char shape[NPY_SHAPE_SIZE];
    size_t i, length;
    for (i = 0; i < ELEMENT_TYPES && element_types[i].dtype != array->dtype;) i++;
    if (i == ELEMENT_TYPES) return 0;
    npy_shape_text(array, shape);
    length = prefix + (size_t)snprintf((char *)header + prefix, NPY_HEADER_SIZE - prefix,
                                       "{'descr': '%c%s', 'fortran_order': False, 'shape': %s, }",
                                       element_types[i].size == 1 ? '|' : order, element_types[i].code, shape);
    do header[length++] = ' ';
    while (length % NPY_HEADER_ALIGN != 0);
    header[length - 1] = '\n';
    memcpy(header, magic, sizeof magic);
    header[6] = 1;
    header[7] = 0;
    header[8] = (unsigned char)((length - prefix) & 255);
    header[9] = (unsigned char)((length - prefix) >> 8);
    return length;
}
