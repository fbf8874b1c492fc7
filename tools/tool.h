/* SPDX-License-Identifier: MIT-0
 *
 * tool.h - what the parts of the attn program share.
 *
 * Functions that can fail return 1, or 0 after exactly one line on standard
 * error, which main turns into exit status 2.
 */
#ifndef TOOL_H
#define TOOL_H

#include "attention.h"

#if defined(__GNUC__) && !defined(_WIN32) /* where gcc checks formats against another printf */
#define LIKE_PRINTF __attribute__((format(printf, 1, 2)))
#else
#define LIKE_PRINTF
#endif

/* -------------------------------------------------------------- report.c -- */

/* Prints "attn: ..." as one line, even if a file name contains newlines; returns 0. */
int fail(const char *format, ...) LIKE_PRINTF;
extern void (*fail_line)(const char *line); /* what it does with the line, without "attn: " */

/* Memory that lives until the program ends: keep takes over memory from malloc, reserve
 * allocates. On failure they print a message and return NULL. */
void *keep(void *memory);
void *reserve(size_t bytes);
void release_all(void);

/* --------------------------------------------------------------- files.c -- */

struct pictures;

/* A file to write: a head, then a body. */
typedef struct file_out {
    const char *path;
    const void *head, *body;
    size_t head_size, body_size;
} file_out;

int file_read(const char *path, unsigned char **bytes, size_t *length);

/* Writes all files or none: readers see each file either complete or as it was before, with its
 * mode. What is no plain file, or has several names, is written to where it is: "-", pipes. */
int files_write(const file_out *files, size_t count);

int output_is_terminal(void); /* standard output */

/* ------------------------------------------------------------- options.c -- */

/* `--name value` or `--name=value` sets *value. If the table has "--name!", the option
 * takes no value, and `--name` alone sets *value. */
typedef struct option {
    const char *name;
    const char **value;
} option;

/* Reads argv[2...], the arguments of command argv[1]. Positional arguments are moved to
 * argv[2...] and counted; with count NULL there must be none. */
int options_read(int argc, char **argv, const option *options, size_t option_count, int *count);

/* A missing option is NULL: option_required rejects it, the others leave *value unchanged. */
int option_required(const char *command, const char *name, const char *value);
int option_number(const char *name, const char *text, double *value);
int option_integer(const char *name, const char *text, int64_t low, int64_t high, int64_t *value);
int option_word(const char *name, const char *text, const char *const *words, int count, int *value);
int window_read(const char *text, attn_desc *desc); /* --window */

/* --------------------------------------------------------------- arrays.c -- */

/* An array and its file, which messages name. */
typedef struct tensor {
    const char *file; /* NULL: not given */
    attn_array array; /* absent without a file */
} tensor;

int tensor_load(tensor *t, const char *file); /* a NULL file leaves t absent */
int tensor_is_float(const tensor *t);         /* else a message */
int tensor_rank(const tensor *t, int low, int high, const char *wanted);

/* Converts to another float type, rounding to nearest even. A finite value that would
 * become infinite is an error. */
int tensor_convert(tensor *t, attn_dtype dtype);
int tensor_pack(tensor *t, attn_dtype dtype); /* and to C order */

/* Integers 0 and 1 as booleans; other types stay. Other integers, and zeros alone, could be meant in two ways: an
 * error. */
int tensor_truth(tensor *t);

/* Cuts the last axis to length n, or extends it with bytes of 0xff, which are NaN in all
 * float types. */
int tensor_resize(tensor *t, size_t n);

/* Fails unless axis `a` of t (negative: from the end) is as long as axis `b` of u. */
int tensor_same(const tensor *t, int a, const tensor *u, int b, const char *meaning);

/* An output: a new array if there is a `file`, else absent. */
int tensor_new(tensor *t, const char *file, attn_dtype dtype, int ndim, const size_t *shape);
/* With pictures of them; NULL: none. */
int tensors_save(tensor *const *outputs, size_t count, const struct pictures *drawn);

/* ------------------------------------------------------------------ run.c -- */

/* Options that all computing commands have. */
typedef struct run_options {
    const char *path, *threads, *dtype;
} run_options;
/* clang-format off */
#define RUN_OPTIONS(o) {"--path", &(o).path}, {"--threads", &(o).threads}, {"--dtype", &(o).dtype}
#define RUN_HELP \
    "  --path NAME      the code path: auto, or one that runs here by attn info (default:\n" \
    "                   $ATTN_PATH, or else auto); all give the same bits\n" \
    "  --threads N      number of threads (default: 1); any number gives the same bits\n"
/* clang-format on */

/* The type to compute in: that of --dtype, else float64 if any input is float64, else float32. */
int run_dtype(const run_options *o, int halves_too, const tensor *const *inputs, size_t count, attn_dtype *dtype);

typedef attn_status (*operation)(const void *arguments, const attn_exec *exec);

/* Runs `compute` with the chosen path and threads and with the workspace that it needs.
 * Messages start with `what`. */
int run(const run_options *o, const char *what, operation compute, const void *arguments);

/* For progress: the calls of parallel_for, and what each costs, in any unit. None: `compute` shows progress itself. */
typedef struct run_steps {
    size_t count;
    double cost[5];
} run_steps;
int run_in_steps(const run_options *o, const char *what, operation compute, const void *arguments,
                 const run_steps *steps); /* run has one */

/* -------------------------------------------------------------- heatmap.c -- */

/* Options of commands that draw weights. */
typedef struct picture_arguments {
    const char *svg, *png, *view, *dark, *head, *batch, *tokens, *keys;
} picture_arguments;
/* clang-format off */
#define LOOK_OPTIONS(o) {"--view", &(o).view}, {"--dark!", &(o).dark}, {"--head", &(o).head}
#define LABEL_OPTIONS(o) {"--batch", &(o).batch}, {"--tokens", &(o).tokens}, {"--keys", &(o).keys}
#define PICTURE_OPTIONS(o) {"--svg", &(o).svg}, {"--png", &(o).png}, LOOK_OPTIONS(o), LABEL_OPTIONS(o)
#define LABEL_HELP \
    "  --tokens WORDS   labels of queries and keys, split at spaces (default: positions)\n" \
    "  --keys WORDS     other labels for the keys\n" \
    "  --batch N        which batch of (B, H, S, T) (default: 0)\n"
#define LOOK_HELP \
    "  --head N         only this head (default: all, side by side)\n" \
    "  --view map|lines    cells (the default), or lines from queries to keys\n" \
    "  --dark           on a dark ground\n"
#define PICTURE_HELP \
    "  --svg FILE, --png FILE    draw the weights (see attn heatmap --help), with\n" LABEL_HELP LOOK_HELP
/* clang-format on */

typedef struct pictures {
    file_out file[2];
    size_t count;
} pictures;

/* Fails if there are options for pictures, but no picture. */
int pictures_allowed(const picture_arguments *o);
int pictures_wanted(const picture_arguments *o);

/* Draws what is wanted. `words`: the labels, if not those of the options. */
int pictures_draw(const picture_arguments *o, tensor *weights, const char *const *words, pictures *files);

/* ------------------------------------------------------------- sentence.c -- */

enum { MAX_WORDS = 4096 };

/* Appends the words of a text, as strings of their own. Fails, in the name of `what`, if there are too many. */
int words_split(const char *what, const char *text, const char **words, size_t *count);

/* The commands. They get the arguments of main; argv[1] is the name of the command. */
int sdpa_command(int argc, char **argv);
int layer_command(int argc, char **argv);
int softmax_command(int argc, char **argv);
int matmul_command(int argc, char **argv);
int sentence_command(int argc, char **argv);
int hash_command(int argc, char **argv);
int heatmap_command(int argc, char **argv);
int info_command(int argc, char **argv);
extern const char sdpa_help[], layer_help[], softmax_help[], matmul_help[], sentence_help[], heatmap_help[],
    hash_help[], info_help[];

/* In check/implementation.c, from check/hash_cases.h: prints all hashes; returns 0 if paths differ. */
int hash_print(void);

/* Reads --causal, for sdpa and layer. */
int causal_read(const char *text, attn_desc *desc);

/* --------------------------------------------------------------- sdpa.c -- */

/* What attn sdpa and attn-mpi have in common. */
/* clang-format off */
#define SHAPES_HELP \
    "Arrays are (S, D), (H, S, D) or (B, H, S, D): batch, heads, sequence, head\n" \
    "dimension. K and V may have fewer heads than Q; their number must divide Q's.\n"
#define SEES_HELP \
    "Visible keys:\n" \
    "  --causal upper-left|lower-right|N    key j is visible to query i when j <= i,\n" \
    "                   j <= i + kv_len - q_len, or j <= i + N\n" \
    "  --window L,R     only L keys before and R keys after that position; -1: no limit\n" \
    "  --mask M.npy     bool, or integers 1 and 0: true = visible; floats: added to\n" \
    "                   scores, -inf = hidden; (B, H, q_len, kv_len), where all but\n" \
    "                   kv_len broadcast\n" \
    "  --mask-place keys|tail    the mask has columns for the first keys only, and\n" \
    "                   others are hidden, or for the last, and others are visible\n" \
    "  --mask-bits      store a boolean mask as bits; changes no byte of the results\n" \
    "  --kv-lens N.npy  (B): the number of keys in each batch; int32 or int64\n" \
    "  --q-bounds I.npy    (q_len, 2 R) or (B, q_len, 2 R): intervals of keys, begin\n" \
    "                   and end in turn, of each query; int32 or int64\n"
#define SCORES_HELP \
    "Scores:\n" \
    "  --scale X        instead of 1/sqrt(head dimension)\n" \
    "  --softcap C      C tanh(score / C)\n" \
    "  --alibi S.npy    (H) or (B, H): slopes\n" \
    "  --rel-bias R.npy    (B, H, q_len, R), broadcast: added by distance\n" \
    "  --rel-first N    the distance of its first entry (default: 0)\n" \
    "  --rel-clamp      distances beyond have the first or the last entry\n" \
    "  --sinks S.npy    (H): a logit for the denominator only\n"
#define ROWS_HELP \
    "  --lse L.npy      log(sum exp(score)) of each row\n" \
    "  --rowmax M.npy   the largest score of each row\n" \
    "  --rowsum S.npy   sum exp(score - that), without the sink\n"
#define TYPE_HELP \
    "  --dtype f32|f64|f16|bf16   convert q, k and v to this type (default: f64 if\n" \
    "                   one of them is float64, else f32). NumPy has no bfloat16: a\n" \
    "                   bf16 result is written as float32, which holds it exactly.\n"
/* clang-format on */

typedef enum sdpa_rows { SDPA_QUERIES, SDPA_KEYS, SDPA_MASK } sdpa_rows;

/* Several processes that do one sdpa: each has some rows of what has rows. */
typedef struct sdpa_ranks {
    const option *options; /* of their own */
    size_t option_count;
    /* tensor_load of this process's rows of q (and what has the same), of k and v, or of a mask. q and k come first. */
    int (*load)(tensor *t, const char *file, sdpa_rows rows);
    size_t (*kv_len)(void);                            /* of all */
    operation compute;                                 /* of an attn_desc with rows of this process */
    int (*save)(tensor *const *outputs, size_t count); /* tensors_save */
} sdpa_ranks;
int sdpa_by(int argc, char **argv, const sdpa_ranks *ranks); /* NULL: this process alone */

#endif
