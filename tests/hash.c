/* SPDX-License-Identifier: MIT-0
 *
 * hash.c - prints the hashes of hash_cases.h, and the path that this machine
 * chooses; fails if paths differ. One file to compile, for tests/flags.sh and
 * tests/cross.sh.
 */
#include "hash_cases.h"

int main(void)
{
    const int same = hash_print();
    printf("best %s\n", attn_path_name(attn_best_path()));
    return !same;
}
