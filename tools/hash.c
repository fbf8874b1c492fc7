/* SPDX-License-Identifier: MIT-0
 *
 * hash.c - attn hash: are these the published bits?
 */
#include "tool.h"

const char hash_help[] = "attn hash - a hash of the results of each kind of computation\n"
                         "\n"
                         "  attn hash\n"
                         "\n"
                         "Runs small fixed problems on every path of this machine. The hashes are the same\n"
                         "on every machine with the same arithmetic; tests/golden.txt (fused) and\n"
                         "tests/golden-unfused.txt in the sources list them. The last line names the\n"
                         "arithmetic and has one hash of all the lines before. If paths differ, the exit\n"
                         "status is 2.\n";

int hash_command(int argc, char **argv)
{
    if (!options_read(argc, argv, NULL, 0, NULL)) return 0;
    return hash_print() || fail("the paths of this program give different results: see DIFFERS above");
}
