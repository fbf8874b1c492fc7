/* SPDX-License-Identifier: MIT-0
 *
 * The implementation, compiled once for attn and the tests, and the cases of `attn hash`,
 * which use its internals.
 */
#include <stdlib.h>

/* What is called where no workspace is given: see harness.h. */
extern void *(*test_malloc)(size_t bytes);
extern void (*test_free)(void *memory);
void *(*test_malloc)(size_t bytes) = malloc;
void (*test_free)(void *memory) = free;
#define ATTN_MALLOC(n) test_malloc(n)
#define ATTN_FREE(p) test_free(p)

#define ATTENTION_IMPLEMENTATION
#include "hash_cases.h"
