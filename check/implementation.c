/* SPDX-License-Identifier: MIT-0
 *
 * The implementation, compiled once for attn and the tests, and the cases of `attn hash`,
 * which use its internals.
 */
#include "allocation.h"

#define ATTENTION_IMPLEMENTATION
#include "hash_cases.h"
