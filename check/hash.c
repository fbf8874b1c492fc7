/* SPDX-License-Identifier: MIT-0
 *
 * hash.c - prints the hashes of hash_cases.h, what attn_self_test says and the path
 * that this machine chooses; fails if paths differ. One file to compile, for
 * tests/flags.sh and tests/cross.sh.
 */
#include "hash_cases.h"

int main(void)
{
    static double workspace[1 << 17];
    const int same = hash_print();
    const attn_exec run = attn_exec_in(workspace, sizeof workspace);
    printf("self-test: %s\n", attn_status_string(attn_self_test(&run)));
    printf("best %s\n", attn_path_name(attn_best_path()));
    return !same;
}
