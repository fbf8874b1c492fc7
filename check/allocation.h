/* SPDX-License-Identifier: MIT-0
 *
 * Included before the implementation that tests link: what it calls where it is given no
 * workspace is malloc and free, until a test has others. See harness.h.
 */
#include <stdlib.h>

extern void *(*test_malloc)(size_t bytes);
extern void (*test_free)(void *memory);
void *(*test_malloc)(size_t bytes) = malloc;
void (*test_free)(void *memory) = free;
#define ATTN_MALLOC(n) test_malloc(n)
#define ATTN_FREE(p) test_free(p)
