/* SPDX-License-Identifier: MIT-0
 *
 * machine.c - what the system reports about the processor.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The value of `key` in a line "key : value", or 0. */
static int value_of(const char *line, const char *key, char *value, size_t size)
{
    size_t length = strlen(key);
    const char *colon = strchr(line, ':');
    if (strncmp(line, key, length) || !colon || strspn(line + length, " \t") != (size_t)(colon - line) - length)
        return 0;
    colon += 1 + strspn(colon + 1, " \t");
    snprintf(value, size, "%.*s", (int)strcspn(colon, "\n"), colon);
    return 1;
}

static void read_cpuinfo(bench_report *report)
{
    char line[4096], family[32] = "", model[32] = "", stepping[32] = "";
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(report->cpu, sizeof report->cpu, "unknown processor");
    /* the first processor ends at the empty line */
    while (f && fgets(line, sizeof line, f) && line[0] != '\n') {
        value_of(line, "model name", report->cpu, sizeof report->cpu);
        value_of(line, "cpu family", family, sizeof family);
        value_of(line, "model", model, sizeof model);
        value_of(line, "stepping", stepping, sizeof stepping);
    }
    if (f) fclose(f);
    if (*family)
        snprintf(report->cpu_numbers, sizeof report->cpu_numbers, "family %.8s, model %.8s, stepping %.8s", family,
                 model, stepping);
}

static int read_line(char *line, int size, int index, const char *file)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, file);
    FILE *f = fopen(path, "r");
    int found = f && fgets(line, size, f);
    if (f) fclose(f);
    return found;
}

/* Not taken from the C library: glibc returns the sum of all third-level caches of an EPYC, of
 * which a core uses one. */
static void read_caches(bench_report *report)
{
    char type[64], level[64], size[64];
    for (int i = 0; i < 8; i++) {
        if (!read_line(type, sizeof type, i, "type") || !read_line(level, sizeof level, i, "level") ||
            !read_line(size, sizeof size, i, "size") || !strncmp(type, "Instruction", 11))
            continue;
        char *unit;
        unsigned long n = strtoul(level, NULL, 10), bytes = strtoul(size, &unit, 10);
        if (n < sizeof report->cache / sizeof *report->cache)
            report->cache[n] = (size_t)bytes << (*unit == 'M' ? 20 : *unit == 'K' ? 10 : 0);
    }
}

void bench_machine(bench_report *report)
{
    read_cpuinfo(report);
    read_caches(report);
    if (!report->cache[2]) report->cache[2] = (size_t)1 << 20; /* a small guess, which the table shows */
#ifdef __VERSION__
#ifdef __clang__
    report->compiler = __VERSION__;
#else
    report->compiler = "gcc " __VERSION__;
#endif
#else
    report->compiler = "unknown compiler";
#endif
    report->version = bench_ours_version();
    report->blas_core = bench_blas_core();
    report->dnnl_core = bench_dnnl_core();
    time_t now = time(NULL);
    const struct tm *day = gmtime(&now);
    if (!day || !strftime(report->date, sizeof report->date, "%Y-%m-%d", day)) *report->date = 0;
}
