/* SPDX-License-Identifier: MIT-0
 *
 * png.c - a small encoder of PNG. It knows one kind of repetition, that of the pixel before, which is nearly all that
 * pictures of cells have once each row is the difference to the row above. Its bytes depend on no version of a library.
 */
#include "canvas.h"

#include <stdlib.h>
#include <string.h>

static void put_u32(picture_buffer *b, uint32_t x)
{
    const unsigned char bytes[4] = {(unsigned char)(x >> 24), (unsigned char)(x >> 16), (unsigned char)(x >> 8),
                                    (unsigned char)x};
    buffer_put(b, bytes, 4);
}

/* Appends what is behind the name of the chunk as its data, which started at `start`: fills in the length. */
static void end_chunk(picture_buffer *b, size_t start)
{
    uint32_t crc = 0xffffffffu;
    const size_t length = b->size - start - 8;
    size_t i;
    int k;
    if (b->failed) return;
    for (i = 0; i < 4; i++) b->bytes[start + i] = (unsigned char)(length >> (24 - 8 * i));
    for (i = start + 4; i < b->size; i++) {
        crc ^= b->bytes[i];
        for (k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    put_u32(b, ~crc);
}

static size_t begin_chunk(picture_buffer *b, const char *name)
{
    const size_t start = b->size;
    put_u32(b, 0);
    buffer_put(b, name, 4);
    return start;
}

/* Bits of a deflate stream: those of numbers from the lowest, those of Huffman codes from the highest. */
typedef struct bits {
    picture_buffer *out;
    uint32_t held;
    int count;
} bits;

static void put_number(bits *b, uint32_t value, int count)
{
    b->held |= value << b->count;
    for (b->count += count; b->count >= 8; b->count -= 8) {
        const unsigned char byte = (unsigned char)b->held;
        buffer_put(b->out, &byte, 1);
        b->held >>= 8;
    }
}

static void put_code(bits *b, uint32_t code, int count)
{
    while (count--) put_number(b, code >> count & 1, 1);
}

/* A literal, the end of the block (256), or the code of a length, in deflate's fixed code. */
static void put_symbol(bits *b, uint32_t symbol)
{
    if (symbol < 144) put_code(b, 0x30 + symbol, 8);
    else if (symbol < 256) put_code(b, 0x190 + symbol - 144, 9);
    else if (symbol < 280) put_code(b, symbol - 256, 7);
    else put_code(b, 0xc0 + symbol - 280, 8);
}

/* What was `distance` (1 or 3) bytes before, once more. Lengths are 3 to LONGEST; 258 would be a case of its own. */
enum { LONGEST = 257 };
static void put_repetition(bits *b, uint32_t length, uint32_t distance)
{
    uint32_t symbol = 257, base = 3, extra = 0;
    while (length >= base + (1u << extra)) {
        base += 1u << extra;
        symbol++;
        extra = symbol < 265 ? 0 : (symbol - 261) / 4;
    }
    put_symbol(b, symbol);
    put_number(b, length - base, (int)extra);
    put_code(b, distance - 1, 5);
}

static void put_deflated(picture_buffer *out, const unsigned char *bytes, size_t count, size_t distance)
{
    bits b = {NULL, 0, 0};
    uint32_t low = 1, high = 0;
    size_t i, length;
    b.out = out;
    buffer_put(out, "\x78\x01", 2);
    put_number(&b, 3, 3); /* the last block, in the fixed code */
    for (i = 0; i < count; i += length) {
        for (length = 0; i >= distance && i + length < count && length < LONGEST;) {
            if (bytes[i + length] != bytes[i + length - distance]) break;
            length++;
        }
        if (length >= 3) {
            put_repetition(&b, (uint32_t)length, (uint32_t)distance);
        } else {
            put_symbol(&b, bytes[i]);
            length = 1;
        }
    }
    put_symbol(&b, 256);
    put_number(&b, 0, (8 - b.count) % 8);
    for (i = 0; i < count; i++) {
        low = (low + bytes[i]) % 65521;
        high = (high + low) % 65521;
    }
    put_u32(out, high << 16 | low);
}

void png_append(picture_buffer *out, const unsigned char *pixels, size_t width, size_t height, const uint32_t *palette)
{
    const size_t depth = palette ? 1 : 3, row = width * depth;
    const unsigned char kind[5] = {8, (unsigned char)(palette ? 3 : 2), 0, 0, 0};
    unsigned char *rows = (unsigned char *)malloc(height * (row + 1));
    size_t chunk, y, x;
    if (!rows) {
        out->failed = 1;
        return;
    }
    for (y = 0; y < height; y++) {
        rows[y * (row + 1)] = y ? 2 : 0; /* the filter: the difference to the row above */
        for (x = 0; x < row; x++)
            rows[y * (row + 1) + 1 + x] = (unsigned char)(pixels[y * row + x] - (y ? pixels[(y - 1) * row + x] : 0));
    }
    buffer_put(out, "\x89PNG\r\n\x1a\n", 8);
    chunk = begin_chunk(out, "IHDR");
    put_u32(out, (uint32_t)width);
    put_u32(out, (uint32_t)height);
    buffer_put(out, kind, sizeof kind);
    end_chunk(out, chunk);
    if (palette) {
        chunk = begin_chunk(out, "PLTE");
        for (x = 0; x < 256; x++) {
            const unsigned char rgb[3] = {(unsigned char)(palette[x] >> 16), (unsigned char)(palette[x] >> 8),
                                          (unsigned char)palette[x]};
            buffer_put(out, rgb, 3);
        }
        end_chunk(out, chunk);
    }
    chunk = begin_chunk(out, "IDAT");
    put_deflated(out, rows, height * (row + 1), depth);
    end_chunk(out, chunk);
    end_chunk(out, begin_chunk(out, "IEND"));
    free(rows);
}
