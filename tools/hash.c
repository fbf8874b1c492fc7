/* SPDX-License-Identifier: MIT-0
 *
 * hash.c - attn hash: are these the bits that everybody gets?
 */
#include "tool.h"

const char hash_help[] = "attn hash - a hash of the results of each kind of computation\n"
                         "\n"
                         "  attn hash\n"
                         "\n"
                         "Runs small fixed problems on every path of this machine. The hashes are the same\n"
                         "on every machine with the same arithmetic (the last line names it and sums them\n"
                         "up); tests/golden.txt and tests/golden-unfused.txt of the sources list them. Exit\n"
                         "status 2 if paths differ.\n";

int hash_command(int argc, char **argv)
{
    if (!options_read(argc, argv, NULL, 0, NULL))
        return 0;
    return hash_print() || fail("the paths of this program do not agree: see DIFFERS above");
}
