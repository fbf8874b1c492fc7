/* SPDX-License-Identifier: MIT-0
 *
 * options.c - parses the command line, and the numbers and words in it.
 */
#include "tool.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Reads argv[i] as an option of the table. Sets its value and how many arguments it took. */
static int read_one(int argc, char **argv, int i, const option *options, size_t option_count, int *taken)
{
    const char *word = argv[i];
    const size_t length = strcspn(word, "=");
    const char *value = word[length] == '=' ? word + length + 1 : NULL;
    size_t o = 0;
    while (o < option_count && (strcspn(options[o].name, "!") != length || strncmp(word, options[o].name, length) != 0))
        o++;
    if (o == option_count) return fail("unknown option '%.*s' (see attn %s --help)", (int)length, word, argv[1]);
    if (options[o].name[length] == '!') {
        if (value) return fail("option '%.*s' takes no value (see attn %s --help)", (int)length, word, argv[1]);
        value = word;
    }
    *taken = value ? 1 : 2;
    if (!value && i + 1 < argc) value = argv[i + 1];
    if (!value) return fail("option '%s' needs a value (see attn %s --help)", word, argv[1]);
    if (*options[o].value) return fail("option '%.*s' is given twice", (int)length, word);
    *options[o].value = value;
    return 1;
}

int options_read(int argc, char **argv, const option *options, size_t option_count, int *count)
{
    int i = 2, words = 0, all_words = 0;
    while (i < argc) {
        int taken = 1;
        if (!all_words && strcmp(argv[i], "--") == 0) {
            all_words = 1;
        } else if (!all_words && argv[i][0] == '-' && argv[i][1] != 0) {
            if (!read_one(argc, argv, i, options, option_count, &taken)) return 0;
        } else if (count) {
            argv[2 + words++] = argv[i];
        } else {
            return fail("unexpected argument '%s' (see attn %s --help)", argv[i], argv[1]);
        }
        i += taken;
    }
    if (count) *count = words;
    return 1;
}

int option_required(const char *command, const char *name, const char *value)
{
    return value || fail("%s needs %s (see attn %s --help)", command, name, command);
}

int option_number(const char *name, const char *text, double *value)
{
    char *end;
    if (!text) return 1;
    errno = 0;
    *value = strtod(text, &end);
    if (end == text || *end != 0) return fail("%s: '%s' is not a number", name, text);
    if (errno == ERANGE && fabs(*value) > 1) return fail("%s: '%s' is out of range", name, text);
    return 1;
}

int option_integer(const char *name, const char *text, int64_t low, int64_t high, int64_t *value)
{
    char *end;
    intmax_t number;
    if (!text) return 1;
    errno = 0;
    number = strtoimax(text, &end, 10);
    if (end == text || *end != 0) return fail("%s: '%s' is not an integer", name, text);
    if (errno == ERANGE || number < low || number > high)
        return fail("%s: %s is not between %" PRId64 " and %" PRId64, name, text, low, high);
    *value = number;
    return 1;
}

int option_word(const char *name, const char *text, const char *const *words, int count, int *value)
{
    int i;
    if (!text) return 1;
    for (i = 0; i < count; i++) {
        if (strcmp(text, words[i]) != 0) continue;
        *value = i;
        return 1;
    }
    return fail("%s: unknown value '%s'", name, text);
}

int window_read(const char *text, attn_desc *desc)
{
    const char *comma = text ? strchr(text, ',') : NULL;
    char left[32];
    if (!text) return 1;
    if (!comma || (size_t)(comma - text) >= sizeof left) return fail("--window: '%s' is not LEFT,RIGHT", text);
    memcpy(left, text, (size_t)(comma - text));
    left[comma - text] = 0;
    desc->window = 1;
    return option_integer("--window", left, -1, INT64_MAX, &desc->window_left) &&
           option_integer("--window", comma + 1, -1, INT64_MAX, &desc->window_right);
}
