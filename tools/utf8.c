/* SPDX-License-Identifier: MIT-0
 *
 * utf8.c - characters of UTF-8, and words cut to fit.
 */
#include "utf8.h"

#include <stdint.h>
#include <string.h>

/* Blocks of characters of another width than one column: the common ones, for labels, not all of Unicode. */
static int columns_of(uint32_t code)
{
    static const struct {
        uint32_t first, last;
        int columns;
    } blocks[] = {
        {0x300, 0x36f, 0},   {0x591, 0x5bd, 0},     {0x610, 0x61a, 0},     {0x64b, 0x65f, 0},
        {0x1100, 0x115f, 2}, {0x200b, 0x200f, 0},   {0x20d0, 0x20ff, 0},   {0x2e80, 0xa4cf, 2},
        {0xac00, 0xd7a3, 2}, {0xf900, 0xfaff, 2},   {0xfe00, 0xfe0f, 0},   {0xfe30, 0xfe6f, 2},
        {0xff00, 0xff60, 2}, {0x1f300, 0x1faff, 2}, {0x20000, 0x3fffd, 2}, {0xe0100, 0xe01ef, 0},
    };
    size_t i;
    for (i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        if (code >= blocks[i].first && code <= blocks[i].last) return blocks[i].columns;
    return 1;
}

static int acts(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069) || (code & 0xfffe) == 0xfffe;
}

size_t utf8_character(const char *s, size_t length, int *columns)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char first = (unsigned char)s[0];
    const size_t bytes = first < 0x80   ? 1
                         : first < 0xc0 ? 0
                         : first < 0xe0 ? 2
                         : first < 0xf0 ? 3
                         : first < 0xf8 ? 4
                                        : 0;
    uint32_t code = bytes < 2 ? first : first & (0x7fu >> bytes);
    size_t i;
    if (bytes == 0 || bytes > length) return 0;
    for (i = 1; i < bytes; i++) {
        if (((unsigned char)s[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | ((unsigned char)s[i] & 0x3f);
    }
    if (code < smallest[bytes] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) || acts(code)) return 0;
    *columns = columns_of(code);
    return bytes;
}

int utf8_cut(const char *s, size_t length, int columns, const char *unknown, const char *dots, char *out, size_t size)
{
    const size_t room = size - strlen(dots) - 1;
    int dot_columns = 0, used = 0, used_at_cut = 0, width;
    size_t at, n, cut = 0, filled = 0;
    for (at = 0; dots[at]; dot_columns++) at += utf8_character(dots + at, strlen(dots + at), &width);
    for (at = 0; at < length; at += n) {
        const char *from = s + at;
        size_t bytes = n = utf8_character(from, length - at, &width);
        if (n == 0) {
            from = unknown;
            bytes = strlen(unknown);
            n = (size_t)(width = 1);
        }
        if (used <= columns - dot_columns) {
            cut = filled;
            used_at_cut = used;
        }
        if (used + width > columns || filled + bytes > room) {
            memcpy(out + cut, dots, strlen(dots) + 1);
            return used_at_cut + dot_columns;
        }
        memcpy(out + filled, from, bytes);
        filled += bytes;
        used += width;
    }
    out[filled] = 0;
    return used;
}
