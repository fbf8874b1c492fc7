/* SPDX-License-Identifier: MIT-0
 *
 * info.c - attn info: the CPU, and the code paths of this program.
 */
#include "tool.h"

#include <stdio.h>

const char info_help[] = "attn info - version, CPU features and code paths\n"
                         "\n"
                         "  attn info\n"
                         "\n"
                         "cpu: the features of this machine that the code paths use.\n"
                         "arithmetic: fused (multiply-add) or unfused (multiplication, then addition);\n"
                         "machines with the same arithmetic give the same bits.\n"
                         "compiled: into this program; runs: on this machine; native: without emulation.\n";

static const char *yes_no(int value)
{
    return value ? "yes" : "no";
}

/* Features that the paths need, for information only: the library does its own detection. */
static void print_cpu(void)
{
    printf("cpu         ");
#if defined(__x86_64__) && defined(__GNUC__)
#define PRINT_IF(feature) printf("%s", __builtin_cpu_supports(feature) ? " " feature : "")
    __builtin_cpu_init();
    PRINT_IF("avx");
    PRINT_IF("fma");
    PRINT_IF("avx2");
    PRINT_IF("avx512f");
    PRINT_IF("avx512dq");
    PRINT_IF("avx512bw");
    PRINT_IF("avx512vl");
#undef PRINT_IF
    printf(" (x86-64)\n");
#elif defined(__aarch64__)
    printf(" neon fma (aarch64)\n");
#else
    printf(" unknown\n");
#endif
}

int info_command(int argc, char **argv)
{
    int i;
    if (!options_read(argc, argv, NULL, 0, NULL))
        return 0;
    printf("attention.h  %s\n", attn_version());
    print_cpu();
    printf("arithmetic   %s\n", attn_arithmetic());
    printf("best path    %s\n\n", attn_path_name(attn_best_path()));
    printf("%-8s  %-8s  %-4s  %s\n", "path", "compiled", "runs", "native");
    for (i = ATTN_PATH_SCALAR; i < ATTN_PATH_COUNT; i++) {
        const attn_path path = (attn_path)i;
        printf("%-8s  %-8s  %-4s  %s\n", attn_path_name(path), yes_no(attn_path_compiled(path)), yes_no(attn_path_supported(path)),
               yes_no(attn_path_native(path)));
    }
    return 1;
}
