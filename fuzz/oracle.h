/* SPDX-License-Identifier: MIT-0
 *
 * What the targets check with. Every check prints what it found and the whole
 * problem, and then aborts.
 */
#ifndef FUZZ_ORACLE_H
#define FUZZ_ORACLE_H

#include "grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* For targets that take inputs as fuzz_decode does. Blocks of keys and tasks of queries
 * make many features and cost up to ten times as much: without this, half of the time
 * would be theirs. */
#ifdef __ELF__
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed);
size_t fuzz_mutate(uint8_t *bytes, size_t size, size_t most, unsigned seed);
#define FUZZ_MUTATES                                                                                                   \
    size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed)                            \
    {                                                                                                                  \
        return fuzz_mutate(bytes, size, most, seed);                                                                   \
    }
#else
#define FUZZ_MUTATES
#endif

/* Ends the program. `c` may be NULL. */
void fuzz_fail(const fuzz_case *c, const char *format, ...) TEST_PRINTF(2, 3);

/* ATTN_OK, or fails. */
void fuzz_expect(const fuzz_case *c, const char *what, attn_status got, attn_status want);

/* The same bits. `skip`, if there is one, tells which rows (b, h, i) may differ. */
typedef struct fuzz_rows {
    const fuzz_case *c;
    const unsigned char *flags; /* (batch, heads, queries) */
    size_t heads, queries;
} fuzz_rows;
void fuzz_same(const fuzz_case *c, const char *what, const attn_array *got, const char *got_name,
               const attn_array *want, const char *want_name, const fuzz_rows *skip);

/* Those outputs of a descriptor that have a number a row. */
enum { FUZZ_ROW_OUTPUTS = 3 };
extern const char *const fuzz_row_names[FUZZ_ROW_OUTPUTS];
attn_array *fuzz_row_output(attn_desc *desc, int i);

/* The outputs of a descriptor: saved, compared, poisoned. */
typedef struct fuzz_outputs {
    attn_array out, lse, scores, colsum, rowmax, rowsum;
} fuzz_outputs;
fuzz_outputs fuzz_outputs_of(const attn_desc *desc);
fuzz_outputs fuzz_save(const attn_desc *desc);
void fuzz_poison(const attn_desc *desc);
attn_desc fuzz_into_copies(const attn_desc *desc); /* packed outputs of its own */
void fuzz_same_outputs(const fuzz_case *c, const char *what, const attn_desc *got, const char *got_name,
                       const fuzz_outputs *want, const char *want_name, const fuzz_rows *skip);

/* How to run: tasks in random order on random workers. */
attn_exec fuzz_shuffled(fuzz_case *c, attn_path path, size_t workers);
attn_path fuzz_random_path(fuzz_case *c);

/* `call` in a workspace of exactly the size it asks for, full of NaN or of numbers. It
 * is the same memory every time: fresh pages would cost more than the attention. */
typedef attn_status (*fuzz_call)(const void *what, const attn_exec *run);
attn_status fuzz_run(fuzz_call call, const void *what, attn_exec run);
attn_status fuzz_forward(const attn_desc *desc, attn_exec run);
void *fuzz_workspace(size_t bytes);

/* The reference's bounds. */
void fuzz_within(const fuzz_case *c, const char *what, ref_report report);
double fuzz_largest_ratio(void);

/* Everything visible to a row is finite; nothing of any element comes near overflow. */
int fuzz_row_finite(const attn_desc *desc, size_t b, size_t h, size_t i);
int fuzz_tame(const attn_desc *desc);
double fuzz_largest(const attn_array *a); /* magnitude; infinite for NaN */

/* What an element of v is, with its scale; the problem with k and v of 8 bits as float32 arrays of what they are. */
ref_real fuzz_value(const attn_desc *desc, size_t b, size_t h, size_t j, size_t c);
attn_desc fuzz_decoded(const attn_desc *desc);

/* Keys [first, first + count), their values and scales. */
attn_desc fuzz_keys(const attn_desc *desc, size_t first, size_t count);

/* Does any row see one of the keys from `first` on, before its mask? */
int fuzz_any_sees(const attn_desc *desc, size_t b, size_t first, size_t count);

/* The same problem in pages, in random places: see oracle.c. Room for `count` of them. */
int fuzz_into_pages(fuzz_case *c, attn_desc *d, int freed);
attn_array fuzz_pages_for(fuzz_case *c, const attn_array *a, size_t count, size_t page_size);

/* The batches as packed sequences, of which b has rows and keys [at[b], at[b + 1]); 0 where that cannot be. Rows of
 * batch b to where they are packed. */
enum { FUZZ_SEQUENCES = 3 };
int fuzz_into_sequences(fuzz_case *c, attn_desc *to, size_t q_at[FUZZ_SEQUENCES + 1], size_t k_at[FUZZ_SEQUENCES + 1]);
void fuzz_pack_rows(const attn_array *packed, const attn_array *from, size_t b, size_t first, size_t count);

/* Keys [begin, end) at their positions, of a whole that fuzz_for_parts has made fit; the mask of such a part. */
attn_desc fuzz_part(const attn_desc *whole, size_t begin, size_t end);
attn_desc fuzz_mask_of_part(const attn_desc *part, const attn_desc *whole, size_t first, size_t count);
void fuzz_for_parts(attn_desc *desc);

/* Finite where the row's input is finite; weights within [0, 1] and their sum 1. */
void fuzz_check_nan(const fuzz_case *c, const char *what, const attn_array *a);
void fuzz_check_rows(const fuzz_case *c, const char *what, const attn_desc *desc);

/* Nothing between the elements of the outputs, which it erases, is written. */
void fuzz_check_gaps(const fuzz_case *c, const attn_desc *desc);

/* All guards are intact; frees everything. */
void fuzz_end(const fuzz_case *c);

#endif
