/* SPDX-License-Identifier: MIT-0
 *
 * utf8.h - characters of UTF-8, and words cut to fit.
 */
#ifndef UTF8_H
#define UTF8_H

#include <stddef.h>

/* The length in bytes of the character at s, at most `length`, and the columns that it takes on a terminal: 0, 1
 * or 2. 0 if it is invalid, or one on which a terminal might act: a control character, or what turns the direction. */
size_t utf8_character(const char *s, size_t length, int *columns);

/* Writes the word to `out`, of `size` bytes, cut between characters so that it takes no more columns than that; what
 * has been cut ends in `dots`, each of one column. `unknown` stands for each byte that is no character. Returns the
 * columns taken. */
int utf8_cut(const char *s, size_t length, int columns, const char *unknown, const char *dots, char *out, size_t size);

#endif
