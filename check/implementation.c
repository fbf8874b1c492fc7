/* SPDX-License-Identifier: MIT-0
 *
 * The implementation, compiled once for attn and for the tests, and the cases of
 * `attn hash`, which look inside it.
 */
#define ATTENTION_IMPLEMENTATION
#include "hash_cases.h"
