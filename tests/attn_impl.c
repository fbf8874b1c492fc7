/* SPDX-License-Identifier: MIT-0 */
#define ATTENTION_IMPLEMENTATION
#include "attention.h"
