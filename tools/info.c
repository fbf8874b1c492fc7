/* SPDX-License-Identifier: MIT-0
 *
 * info.c - attn info: the CPU, and the code paths of this program.
 */
#include "tool.h"

#include <stdio.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__TINYC__)
#define X86 1
#include <cpuid.h>
#else
#define X86 0
#endif

const char info_help[] = "attn info - version, CPU features and code paths\n"
                         "\n"
                         "  attn info\n"
                         "\n"
                         "cpu: the features of this machine that its code paths use.\n"
                         "arithmetic: fused (multiply-add) or unfused (multiplication, then addition);\n"
                         "machines with the same arithmetic give the same bits.\n"
                         "Then a line for each path, as --path names it. compiled: into this program;\n"
                         "runs: on this machine; native: without emulation; why not: the reason for a no.\n";

/* What a path needs of the CPU, and so do those after it, for the curious: the library looks for itself. */
typedef struct feature {
    const char *name;
    attn_path path;
    int there;
} feature;
enum { MOST_FEATURES = 8 };

static int features_of_cpu(feature *list)
{
    int n = 0;
#if X86
    unsigned eax, ebx, ecx = 0, edx;
    __builtin_cpu_init();
#define NEEDS(first, feature, has) list[n].path = first, list[n].name = feature, list[n++].there = has
#define KNOWN(first, feature) NEEDS(first, feature, __builtin_cpu_supports(feature) != 0)
    KNOWN(ATTN_PATH_AVX2, "avx");
    NEEDS(ATTN_PATH_AVX2, "f16c", __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C)); /* no name of clang's */
    KNOWN(ATTN_PATH_AVX2, "fma");
    KNOWN(ATTN_PATH_AVX2, "avx2");
    KNOWN(ATTN_PATH_AVX512, "avx512f");
    KNOWN(ATTN_PATH_AVX512, "avx512dq");
    KNOWN(ATTN_PATH_AVX512, "avx512bw");
    KNOWN(ATTN_PATH_AVX512, "avx512vl");
#undef KNOWN
#undef NEEDS
#else
    (void)list;
#endif
    return n;
}

static void print_cpu(const feature *features, int count)
{
    printf("cpu         ");
    for (int i = 0; i < count; i++)
        if (features[i].there) printf(" %s", features[i].name);
#if X86
    puts(" (x86-64)");
#elif defined(__aarch64__)
    puts(" neon fma (aarch64)");
#else
    puts(" not known");
#endif
}

static const char *yes_no(int value) { return value ? "yes" : "no"; }

/* Why a path is not compiled in, or does not run, or not natively. */
static void print_why_not(attn_path path, const feature *features, int count)
{
    int lacking = 0;
    if (!attn_path_compiled(path)) {
        printf("not compiled in");
    } else if (attn_path_supported(path)) {
        printf("emulated by %s", path == ATTN_PATH_SIMD128 ? "lanes" : "SIMDe");
    } else {
        for (int i = 0; i < count; i++)
            if (features[i].path <= path && !features[i].there)
                printf("%s%s", lacking++ ? ", " : "the CPU lacks ", features[i].name);
        if (!lacking) printf("the system does not save its registers");
    }
}

int info_command(int argc, char **argv)
{
    feature features[MOST_FEATURES];
    const int count = features_of_cpu(features);
    if (!options_read(argc, argv, NULL, 0, NULL)) return 0;
    printf("attention.h  %s\n", attn_version());
    print_cpu(features, count);
    printf("arithmetic   %s\n", attn_arithmetic());
    printf("best path    %s\n\n", attn_path_name(attn_best_path()));
    puts("path      compiled  runs  native  why not");
    for (int i = ATTN_PATH_SCALAR; i < ATTN_PATH_COUNT; i++) {
        const attn_path path = (attn_path)i;
        const int native = attn_path_native(path);
        printf("%-8s  %-8s  ", attn_path_name(path), yes_no(attn_path_compiled(path)));
        printf("%-4s  %s", yes_no(attn_path_supported(path)), yes_no(native));
        if (!native) {
            printf("      ");
            print_why_not(path, features, count);
        }
        puts("");
    }
    return 1;
}
