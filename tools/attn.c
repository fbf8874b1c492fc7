/* SPDX-License-Identifier: MIT-0
 *
 * attn.c - attention on .npy files and on sentences: the commands of the program.
 */
#include "tool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name, *summary, *help;
    int (*function)(int argc, char **argv);
} commands[] = {
    {"sentence", "attention between the words of a sentence, as a table", sentence_help, sentence_command},
    {"heatmap", "a picture of attention weights: SVG, PNG or text", heatmap_help, heatmap_command},
    {"sdpa", "softmax(scale Q K^T) V on .npy files", sdpa_help, sdpa_command},
    {"layer", "a self-attention layer on .npy files", layer_help, layer_command},
    {"softmax", "softmax along an axis of a .npy file", softmax_help, softmax_command},
    {"matmul", "a matrix product of .npy files", matmul_help, matmul_command},
    {"hash", "hashes of results, for comparing machines", hash_help, hash_command},
    {"info", "version, CPU features and code paths", info_help, info_command},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static int print_help(void)
{
    size_t i;
    puts("attn - self-attention on the CPU, with the same bits on every machine\n\n"
         "  attn sentence \"The cat sat on the mat\"      shows what attention does\n\n"
         "Commands (attn COMMAND --help lists the options):");
    for (i = 0; i < COMMANDS; i++) printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    puts("  --version\n\n"
         "On an error, attn prints one line on standard error, writes no file and exits with\nstatus 2. "
         "On a terminal, work of more than a second shows how far it is.");
    return 1;
}

static int wants_help(int argc, char **argv)
{
    int i;
    for (i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0) return 1;
    return 0;
}

static int run_command(int argc, char **argv)
{
    size_t i;
    if (argc < 2) return fail("no command given (see attn --help)");
    if (strcmp(argv[1], "--help") == 0) return print_help();
    if (strcmp(argv[1], "--version") == 0) {
        printf("attn %s\n", attn_version());
        return 1;
    }
    for (i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) != 0) continue;
        if (!wants_help(argc, argv)) return commands[i].function(argc, argv);
        fputs(commands[i].help, stdout);
        return 1;
    }
    return fail("unknown %s '%s' (see attn --help)", argv[1][0] == '-' ? "option" : "command", argv[1]);
}

int main(int argc, char **argv)
{
    int fine = run_command(argc, argv);
    errno = 0;
    if (fine && (fflush(stdout) != 0 || ferror(stdout)))
        fine = fail("cannot write to standard output%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
    release_all();
    return fine ? 0 : 2;
}
