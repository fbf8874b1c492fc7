/* SPDX-License-Identifier: MIT-0
 *
 * bench.c - how fast is attention.h, as a share of what the machine can do and
 * as a multiple of what one would use instead? See NOTES.md.
 */
#define _POSIX_C_SOURCE 200809L
#include "bench.h"
#include "measure.h"

#include "check/progress.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] =
    "usage: bench [OPTION]...\n"
    "Compares attention.h with the limits of the machine and with other ways to\n"
    "compute the same; all measurements are interleaved in one run on one thread.\n"
    "\n"
    "  --list              list the cases\n"
    "  --cases NAME,...    only these; \"roofline\" and \"growth\" are two more\n"
    "  --paths NAME,...    our paths to run (default: the machine's vector paths)\n"
    "  --seconds S         time per case (default 3)\n"
    "  --rounds N          at least N rounds per case, even if they take longer (default 15)\n"
    "  --peer COMMAND      also compare with this program (see bench.h); may be repeated\n"
    "  --json FILE         also write all figures to FILE\n"
    "  --svg FILE          write a bar plot to FILE\n"
    "  --help\n"
    "\n"
    "Exit status: 0, or 1 if an output was wrong or something failed, or 2 for wrong options.\n";

enum { MOST_PEERS = 8 };

typedef struct options {
    bench_plan plan;
    const char *peer[MOST_PEERS];
    size_t peers;
    const char *cases, *paths, *json, *svg;
    int list;
} options;

static int complain(const char *what, const char *argument)
{
    fprintf(stderr, "bench: %s: %s\n", argument, what);
    return 2;
}

/* Variables that make a peer slower. OpenBLAS reads the first one when it is loaded, before
 * main, so the program starts itself again without them. */
static void restart_without_handicaps(char **argv)
{
    static const char *const handicaps[] = {
        "OPENBLAS_CORETYPE",  "ONEDNN_MAX_CPU_ISA",      "DNNL_MAX_CPU_ISA",         "ONEDNN_CPU_ISA_HINTS",
        "DNNL_CPU_ISA_HINTS", "ATEN_CPU_CAPABILITY",     "NPY_DISABLE_CPU_FEATURES", "MKL_DEBUG_CPU_TYPE",
        "GLIBC_TUNABLES",     "MKL_ENABLE_INSTRUCTIONS",
    };
    int found = 0;
    for (size_t i = 0; i < sizeof handicaps / sizeof *handicaps; i++)
        if (getenv(handicaps[i]) && !unsetenv(handicaps[i])) {
            fprintf(stderr, "bench: ignoring %s, which slows peers down\n", handicaps[i]);
            found = 1;
        }
    if (found) {
        execv("/proc/self/exe", argv);
        perror("bench: /proc/self/exe");
        exit(1);
    }
}

static int parse_number(const char *text, double least, double most, double *to)
{
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end || !(x >= least && x <= most)) return 0;
    *to = x;
    return 1;
}

static int every_case_exists(const char *list)
{
    for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        size_t length = strcspn(p, ",");
        int found = (length == 8 && !strncmp(p, "roofline", 8)) || (length == 6 && !strncmp(p, "growth", 6));
        for (size_t i = 0; i < bench_case_count(); i++) {
            const char *name = bench_case_at(i)->name;
            found |= strlen(name) == length && !strncmp(p, name, length);
        }
        if (!found) return 0;
    }
    return 1;
}

/* Checks before the long run whether the file can be written after it. An existing file may be
 * replaced if it is a regular one, unlike /dev/stdout. */
static int writable(const char *path)
{
    char directory[4096];
    struct stat there;
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    if (!*path || length >= sizeof directory) return 0;
    snprintf(directory, sizeof directory, "%.*s.", (int)length, path);
    return access(directory, W_OK) == 0 && (lstat(path, &there) || S_ISREG(there.st_mode));
}

/* Returns -1 to continue, else the exit status. */
static int parse(int argc, char **argv, options *o)
{
    static const struct option names[] = {
        {"list", no_argument, NULL, 'l'},         {"cases", required_argument, NULL, 'c'},
        {"paths", required_argument, NULL, 'p'},  {"seconds", required_argument, NULL, 's'},
        {"rounds", required_argument, NULL, 'r'}, {"json", required_argument, NULL, 'j'},
        {"peer", required_argument, NULL, 'e'},   {"svg", required_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    double rounds = 15;
    o->plan.seconds = 3;
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) switch (c) {
        case 'l': o->list = 1; break;
        case 'c': o->cases = optarg; break;
        case 'p': o->paths = optarg; break;
        case 'j': o->json = optarg; break;
        case 'e':
            if (o->peers == MOST_PEERS) return complain("too many peers", optarg);
            o->peer[o->peers++] = optarg;
            break;
        case 'v': o->svg = optarg; break;
        case 's':
            if (!parse_number(optarg, 0, 3600, &o->plan.seconds))
                return complain("--seconds takes a number from 0 to 3600", optarg);
            break;
        case 'r':
            if (!parse_number(optarg, 1, 1000, &rounds))
                return complain("--rounds takes a number from 1 to 1000", optarg);
            break;
        case 'h': return fputs(usage, stdout) < 0;
        default: fputs("Try bench --help.\n", stderr); return 2;
        }
    o->plan.rounds = (size_t)rounds;
    if (optind < argc) return complain("unexpected argument; see --help", argv[optind]);
    if (o->cases && !every_case_exists(o->cases)) return complain("unknown case among these; see --list", o->cases);
    if (o->paths && !bench_ours_knows(o->paths))
        return complain("this machine cannot run all of these paths", o->paths);
    if (o->json && !writable(o->json)) return complain("cannot be written", o->json);
    if (o->svg && !writable(o->svg)) return complain("cannot be written", o->svg);
    return -1;
}

/* Is this one of the measurements that were asked for? */
static int wanted(const options *o, const char *name) { return !o->cases || bench_listed(o->cases, name); }

/* After a measurement. Returns 1 if it failed. */
static int after(const char *name, int failed, bench_plan *plan)
{
    plan->done++;
    progress_erase();
    if (failed) fprintf(stderr, "bench: %s: not enough memory\n", name);
    return failed != 0;
}

static int run(const options *o, bench_report *report)
{
    int status = 0;
    bench_plan plan = o->plan;
    plan.all = (size_t)wanted(o, "roofline") + (size_t)wanted(o, "growth");
    for (size_t i = 0; i < bench_case_count(); i++) plan.all += (size_t)wanted(o, bench_case_at(i)->name);
    for (size_t i = 0; i < o->peers; i++) bench_external_add(o->peer[i]);
    bench_print_head(report);
    progress_begin();
    if (wanted(o, "roofline")) {
        status |= after("roofline", bench_measure_roofline(report, &plan), &plan);
        bench_print_roofline(report);
    }
    if (wanted(o, "growth")) {
        status |= after("growth", bench_measure_growth(report, o->paths, &plan), &plan);
        bench_print_growth(report);
    }
    for (size_t i = 0; i < bench_case_count(); i++) {
        const bench_case *shape = bench_case_at(i);
        bench_report_case *c = &report->at[report->cases];
        if (!wanted(o, shape->name)) continue;
        if (after(shape->name, bench_measure_case(c, shape, o->paths, &plan), &plan)) {
            status = 1;
            continue;
        }
        for (size_t k = 0; k < c->count; k++) status |= c->result[k].wrong;
        bench_print_case(c);
        report->cases++;
    }
    bench_external_end();
    if (o->json && bench_write_json(report, o->json)) {
        fprintf(stderr, "bench: %s: %s\n", o->json, strerror(errno));
        status = 1;
    }
    if (o->svg && bench_write_svg(report, o->svg)) {
        fprintf(stderr, "bench: %s: %s\n", o->svg, strerror(errno));
        status = 1;
    }
    return status;
}

int main(int argc, char **argv)
{
    static bench_report report;
    options o = {0};
    restart_without_handicaps(argv);
    int status = parse(argc, argv, &o);
    if (status >= 0) return status;
    if (o.list) {
        puts("roofline                the ceilings of the machine");
        puts("growth                  time and memory from 128 to 65536 tokens");
        for (size_t i = 0; i < bench_case_count(); i++)
            printf("%-23s %s\n", bench_case_at(i)->name, bench_case_at(i)->what);
        return ferror(stdout) || fflush(stdout);
    }
    report.at = calloc(bench_case_count(), sizeof *report.at);
    if (!report.at) {
        fputs("bench: not enough memory\n", stderr);
        return 1;
    }
    bench_machine(&report);
    status = run(&o, &report);
    free(report.at);
    return status || ferror(stdout) || fflush(stdout);
}
