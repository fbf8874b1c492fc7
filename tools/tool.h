/* SPDX-License-Identifier: MIT-0
 *
 * tool.h - what the parts of the attn program share.
 *
 * Functions that can fail return 1, or 0 after exactly one line on standard
 * error; main turns 0 into exit status 2.
 */
#ifndef TOOL_H
#define TOOL_H

#include "attention.h"

#if defined(__GNUC__) && !defined(_WIN32) /* there GCC believes in another printf */
#define LIKE_PRINTF __attribute__((format(printf, 1, 2)))
#else
#define LIKE_PRINTF
#endif

/* -------------------------------------------------------------- report.c -- */

/* Prints "attn: ..." as one line, whatever the names in it hold; returns 0. */
int fail(const char *format, ...) LIKE_PRINTF;

/* Memory that lives until the program ends. NULL after a message. */
void *keep(void *memory);
void *reserve(size_t bytes);
void release_all(void);

/* --------------------------------------------------------------- files.c -- */

/* A file to write: some bytes, then some more. */
typedef struct file_out {
    const char *path;
    const void *head, *body;
    size_t head_size, body_size;
} file_out;

int file_read(const char *path, unsigned char **bytes, size_t *length);

/* All of them or none: readers see each file whole, or as it was before. */
int files_write(const file_out *files, size_t count);

/* ------------------------------------------------------------- options.c -- */

/* `--name value` or `--name=value` sets *value; where the table has "--name!" it is
 * `--name` alone that does. */
typedef struct option {
    const char *name;
    const char **value;
} option;

/* Reads argv[2...], the arguments of command argv[1]. Positional arguments move
 * to argv[2...] and are counted; with count NULL there may be none. */
int options_read(int argc, char **argv, const option *options, size_t option_count, int *count);

/* Missing options are NULL and leave *value as it is; `required` is an error. */
int option_required(const char *command, const char *name, const char *value);
int option_number(const char *name, const char *text, double *value);
int option_integer(const char *name, const char *text, int64_t low, int64_t high, int64_t *value);
int option_word(const char *name, const char *text, const char *const *words, int count, int *value);

/* --------------------------------------------------------------- arrays.c -- */

/* An array and the file that messages about it name. */
typedef struct tensor {
    const char *file; /* NULL: not given */
    attn_array array; /* absent without a file */
} tensor;

int tensor_load(tensor *t, const char *file); /* a NULL file leaves t absent */
int tensor_is_float(const tensor *t);         /* or a message */
int tensor_rank(const tensor *t, int low, int high, const char *wanted);

/* The same values in another float type, rounded to nearest even. A finite value
 * that would become infinite is an error. */
int tensor_convert(tensor *t, attn_dtype dtype);

/* The same elements with a last axis of length n: cut, or filled up with bytes of
 * 0xff, which are NaN in floats. */
int tensor_resize(tensor *t, size_t n);

/* Message unless axis `a` of t (negative: from the end) is as long as axis `b` of u. */
int tensor_same(const tensor *t, int a, const tensor *u, int b, const char *meaning);

/* An output: a new array if `file` is given, else absent. */
int tensor_new(tensor *t, const char *file, attn_dtype dtype, int ndim, const size_t *shape);
int tensors_save(tensor *const *outputs, size_t count);

/* ------------------------------------------------------------------ run.c -- */

/* Options that every computing command has. */
typedef struct run_options {
    const char *path, *threads, *dtype;
} run_options;
/* clang-format off */
#define RUN_OPTIONS(o) {"--path", &(o).path}, {"--threads", &(o).threads}, {"--dtype", &(o).dtype}
#define RUN_HELP \
    "  --path NAME      the code to run: auto, or a path that attn info lists as one\n" \
    "                   that runs here; any gives the same bits. Without it the\n" \
    "                   environment variable ATTN_PATH counts.\n" \
    "  --threads N      threads, 1 without it; any number gives the same bits\n"
/* clang-format on */

/* The type to compute in: what --dtype says, else float64 if any input is. */
int run_dtype(const run_options *o, int halves_too, const tensor *const *inputs, size_t count, attn_dtype *dtype);

typedef attn_status (*operation)(const void *arguments, const attn_exec *exec);

/* Runs with the path, threads and workspace that it takes. Messages start with
 * `what`. */
int run(const run_options *o, const char *what, operation compute, const void *arguments);

/* Every command: arguments as main got them, argv[1] being its name. */
int sdpa_command(int argc, char **argv);
int layer_command(int argc, char **argv);
int softmax_command(int argc, char **argv);
int matmul_command(int argc, char **argv);
int sentence_command(int argc, char **argv);
int hash_command(int argc, char **argv);
int info_command(int argc, char **argv);
extern const char sdpa_help[], layer_help[], softmax_help[], matmul_help[], sentence_help[], hash_help[], info_help[];

/* Of tests/hash_cases.h, in tests/attn_impl.c: prints all; 0 if paths differ. */
int hash_print(void);

/* --causal, for the commands that have it. */
int causal_read(const char *text, attn_desc *desc);

#endif
