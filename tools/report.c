/* SPDX-License-Identifier: MIT-0
 *
 * report.c - error messages of one line; memory that is freed when the program ends.
 */
#include "tool.h"

#include "check/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void print_line(const char *line) { fprintf(stderr, "attn: %s\n", line); }
void (*fail_line)(const char *line) = print_line;

int fail(const char *format, ...)
{
    char line[16384]; /* longer than two paths */
    size_t i;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    /* A file name may contain newlines, but the message must be one line. */
    for (i = 0; line[i] != 0; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 127) line[i] = '?';
    progress_erase();
    fail_line(line);
    return 0;
}

typedef struct block {
    struct block *next;
    void *memory;
} block;

static block *blocks;

void *keep(void *memory)
{
    block *b = (block *)malloc(sizeof *b);
    if (!b) {
        free(memory);
        fail("out of memory");
        return NULL;
    }
    b->memory = memory;
    b->next = blocks;
    blocks = b;
    return memory;
}

void *reserve(size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory) {
        fail("out of memory (%zu bytes requested)", bytes);
        return NULL;
    }
    return keep(memory);
}

void release_all(void)
{
    while (blocks) {
        block *b = blocks;
        blocks = b->next;
        free(b->memory);
        free(b);
    }
}
