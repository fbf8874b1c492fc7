/* SPDX-License-Identifier: MIT-0
 *
 * hash.c - prints the hashes of hash_cases.h, the result of attn_self_test and the best path
 * of this machine; fails if paths differ. A single file to compile, for tests/flags.sh and
 * tests/cross.sh.
 */
#include "hash_cases.h"

int main(void)
{
    const int same = hash_print();
    const attn_exec run = attn_exec_in(workspace, sizeof workspace);
    printf("self-test: %s\n", attn_status_string(attn_self_test(&run)));
    printf("best %s\n", attn_path_name(attn_best_path()));
    return !same;
}
