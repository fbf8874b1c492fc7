/* SPDX-License-Identifier: MIT-0
 *
 * The input grammar: bytes become one attention problem. Every input means
 * something (missing bytes are 0), the same bytes always mean the same, and each
 * field stands at a fixed place so that a mutation changes one thing.
 *
 *   byte                                 byte
 *    0  types of q, k, v, out            24  layouts of v, out
 *    1  types of mask, lse, scores       25  layouts of mask, scores
 *    2  batch                            26  first elements: q, k
 *    3  key/value heads                  27  first elements: v, out
 *    4  query heads of each              28  workers; patterns of values
 *    5  queries                          29  path of the first odd schedule
 *    6  keys                             30  seed (4)
 *    7  head_dim                         34  which queries and heads have scores
 *    8  head_dim_v                       35  where keys are cut; page size
 *    9  causal, align, window, caps,     36  rounding mode, flush to zero; what is timed
 *       mask of bits, relative bias      37  extra dimensions left out
 *   10  kv_lens, alibi, sinks, mask      38  how dense masks are; intervals
 *       and its place                    39  keys, values of 8 bits
 *   11  outputs, stage
 *   12  variant: plain, paged, ...       40  patches: operand (1), element (2), raw
 *   13  broadcast mask, q, k, v, slopes      bytes of the element (of ATTN_Q8_0: scale
 *   14  scale                                of the block, number)
 *   15  softcap
 *   16  q_offset (2)
 *   18  window left, 19 window right
 *   20  values of q, k
 *   21  values of v, mask
 *   22  values of alibi, sinks
 *   23  layouts of q, k
 *
 * Where keys or values have 8 bits, patches follow later:
 *
 *   40  which scales and zero points     45  layouts of k's, v's
 *   41  shapes: k_scale, v_scale,        46  values of k_scale, v_scale
 *       k_zero, v_zero (4)               47  values of k_zero, v_zero
 */
#ifndef FUZZ_GRAMMAR_H
#define FUZZ_GRAMMAR_H

#include "check/harness.h"

typedef struct fuzz_input {
    const uint8_t *bytes;
    size_t size;
} fuzz_input;

enum {
    FUZZ_AT_TYPES = 0,
    FUZZ_AT_MORE_TYPES,
    FUZZ_AT_BATCH,
    FUZZ_AT_KV_HEADS,
    FUZZ_AT_GROUP,
    FUZZ_AT_Q_LEN,
    FUZZ_AT_KV_LEN,
    FUZZ_AT_DIM,
    FUZZ_AT_DIM_V,
    FUZZ_AT_POSITION,
    FUZZ_AT_OPTIONS,
    FUZZ_AT_OUTPUTS,
    FUZZ_AT_VARIANT,
    FUZZ_AT_BROADCAST,
    FUZZ_AT_SCALE,
    FUZZ_AT_SOFTCAP,
    FUZZ_AT_OFFSET,
    FUZZ_AT_LEFT = 18,
    FUZZ_AT_RIGHT,
    FUZZ_AT_VALUES_QK,
    FUZZ_AT_VALUES_VM,
    FUZZ_AT_VALUES_AS,
    FUZZ_AT_LAYOUT_QK,
    FUZZ_AT_LAYOUT_VO,
    FUZZ_AT_LAYOUT_MS,
    FUZZ_AT_SHIFT_QK,
    FUZZ_AT_SHIFT_VO,
    FUZZ_AT_WORKERS,
    FUZZ_AT_PATTERNS = FUZZ_AT_WORKERS, /* where there is one worker */
    FUZZ_AT_PATH,
    FUZZ_AT_SEED,
    FUZZ_AT_SCORES = 34,
    FUZZ_AT_CUT,
    FUZZ_AT_MODES,
    FUZZ_AT_NDIM,
    FUZZ_AT_DENSITY,
    FUZZ_AT_CODES,
    FUZZ_AT_PATCHES,
    FUZZ_AT_SCALED = FUZZ_AT_PATCHES,
    FUZZ_AT_SCALE_SHAPES,
    FUZZ_AT_SCALE_LAYOUTS = FUZZ_AT_SCALE_SHAPES + 4,
    FUZZ_AT_SCALE_VALUES,
    FUZZ_AT_CODED_PATCHES = FUZZ_AT_SCALE_VALUES + 2
};

/* What the numbers of an operand are like. */
typedef enum fuzz_values {
    FUZZ_NORMAL,
    FUZZ_SMALL,
    FUZZ_LARGE,    /* scores far apart */
    FUZZ_INTEGERS, /* ties */
    FUZZ_ONES,
    FUZZ_ZEROS, /* of both signs */
    FUZZ_TINY,  /* 2^-25 and a few 1 */
    FUZZ_PEAKED,
    FUZZ_DENORMAL,
    FUZZ_WIDE, /* any finite bits */
    FUZZ_HUGE, /* up to the largest */
    FUZZ_SOME_HUGE,
    FUZZ_SOME_NAN,
    FUZZ_SOME_INFINITE,
    FUZZ_SPECIAL, /* limits, zeros, infinities, NaN */
    FUZZ_BITS,
    FUZZ_VALUES_COUNT
} fuzz_values;

typedef enum fuzz_variant {
    FUZZ_PLAIN,
    FUZZ_PAGED,  /* block_table */
    FUZZ_PACKED, /* cu_seqlens */
    FUZZ_PART,   /* kv_begin */
    FUZZ_VARIANT_COUNT
} fuzz_variant;

/* What has values, in the order of patches: operands of all problems, and of those of 8 bits. */
enum { FUZZ_OPERANDS = 6, FUZZ_CODED_OPERANDS = 10 };

typedef struct fuzz_case {
    fuzz_input input;
    attn_desc desc; /* plain: no pages, no packed sequences, kv_begin 0 */
    fuzz_variant variant;
    size_t cut; /* a number below kv_len, for parts; the size of a page */
    size_t workers;
    attn_path path; /* one that this machine runs */
    fuzz_values values[FUZZ_CODED_OPERANDS];
    test_rng rng; /* for decisions of the target */
} fuzz_case;

/* What a target wants to be decoded. */
typedef struct fuzz_limits {
    size_t work;      /* multiply-adds, roughly */
    fuzz_values most; /* no wilder values */
    attn_dtype only;  /* ATTN_DTYPE_COUNT: any type */
} fuzz_limits;

unsigned fuzz_byte(const fuzz_input *input, size_t at);
size_t fuzz_length(unsigned code);

/* Inputs filled, outputs full of NaN; memory by test_memory. */
void fuzz_decode(fuzz_case *c, const uint8_t *bytes, size_t size, const fuzz_limits *limits);

/* An array of `n` elements per axis in one of 16 layouts, `shift` elements past an
 * aligned place. */
attn_array fuzz_array(attn_dtype type, const size_t n[4], unsigned layout, size_t shift);
void fuzz_fill(const attn_array *a, fuzz_values values, test_rng *rng);
void fuzz_set_bits(const attn_array *a, size_t i0, size_t i1, size_t i2, size_t i3, uint64_t bits);

/* Keys or values of 8 bits; those of either. */
int fuzz_coded(const attn_array *a);
int fuzz_has_codes(const attn_desc *desc);

/* The part of `count` indices from `first` on an axis counted from the end (1 is the last). */
attn_array fuzz_slice(const attn_array *a, int from_end, size_t first, size_t count);

/* Shapes, strides and flags. fuzz_shows: of each input that is decoded. */
extern int fuzz_shows;
const char *fuzz_values_name(fuzz_values values);
void fuzz_print_array(const char *name, const attn_array *a);
void fuzz_print_desc(const attn_desc *desc);
void fuzz_print(const fuzz_case *c);

#endif
