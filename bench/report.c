/* SPDX-License-Identifier: MIT-0
 *
 * report.c - the figures as a table and as JSON; plot.c has the plot.
 */
#define _POSIX_C_SOURCE 200809L
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *bench_unit_name(const bench_case *shape)
{
    return bench_case_unit(shape) == BENCH_GFLOPS ? "GFLOP/s" : "GB/s";
}

/* ---------------------------------------------------------------- table -- */

void bench_print_head(const bench_report *r)
{
    printf("attention.h %s, %s\n", r->version, r->compiler);
    printf("%s%s%s, data caches", r->cpu, *r->cpu_numbers ? ", " : "", r->cpu_numbers);
    for (int level = 1; level <= 3; level++)
        if (r->cache[level]) printf(" L%d %zu KiB", level, r->cache[level] >> 10);
    printf("\nOpenBLAS core: %s; oneDNN: %s\n", r->blas_core ? r->blas_core : "none, built without cblas",
           r->dnnl_core ? r->dnnl_core : "none, built without it");
    const char *name, *description;
    for (size_t i = 0; (name = bench_external_name(i, &description)) != NULL; i++)
        printf("%s%s%s\n", *name ? name : "left out", ": ", description);
    printf("%s, one thread, times are processor time, medians (quartiles)\n", r->date);
    fflush(stdout);
}

void bench_print_roofline(const bench_report *report)
{
    printf("\nroofline\n");
    for (size_t i = 0; i < report->roofs; i++) {
        const bench_roof *r = &report->roof[i];
        printf("  %-28s %8.1f %s (%.1f..%.1f)\n", r->name, r->rate.median, r->unit, r->rate.low, r->rate.high);
    }
    fflush(stdout);
}

void bench_print_growth(const bench_report *report)
{
    printf("\ngrowth: causal, one head, d 64\n");
    printf("  %-8s %8s %16s %22s  %-21s %10s %22s\n", "path", "tokens", "visible scores", "ns per visible score",
           "of its ceiling", "workspace", "other memory at peak");
    for (size_t i = 0; i < report->growths; i++) {
        const bench_growth *g = &report->growth[i];
        char text[64];
        snprintf(text, sizeof text, "%.1f %% (%.1f..%.1f)", 100 * g->fraction.median, 100 * g->fraction.low,
                 100 * g->fraction.high);
        printf("  %-8s %8zu %16.0f %7.3f (%5.3f..%5.3f)  %-21s %6zu KiB %18ld KiB\n", g->path, g->n, g->pairs,
               1e9 * g->per_pair.median, 1e9 * g->per_pair.low, 1e9 * g->per_pair.high, text,
               (g->workspace + 1023) / 1024, g->peak);
    }
    fflush(stdout);
}

static const char *format_time(bench_quartiles s, char *text, size_t size)
{
    static const struct {
        double seconds;
        const char *name;
    } units[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
    size_t u = 0;
    while (u + 1 < sizeof units / sizeof *units && s.median < units[u].seconds) u++;
    snprintf(text, size, "%.4g %s (%.4g..%.4g)", s.median / units[u].seconds, units[u].name, s.low / units[u].seconds,
             s.high / units[u].seconds);
    return text;
}

static void print_ceilings(const bench_report_case *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const bench_result *r = &c->result[i];
        int known = !!r->failure;
        for (size_t k = 0; k < i; k++) known |= !c->result[k].failure && !strcmp(c->result[k].ceiling, r->ceiling);
        if (!known)
            printf("  %-20s %.1f (%.1f..%.1f) %s\n", r->ceiling, r->ceiling_rate.median, r->ceiling_rate.low,
                   r->ceiling_rate.high, bench_unit_name(c->shape));
    }
}

void bench_print_case(const bench_report_case *c)
{
    char text[96];
    printf("\n%s: %s\n", c->shape->name, c->shape->what);
    if (c->rounds && c->share > 0)
        printf("  %zu rounds on %.0f %% of a processor; ceilings:\n", c->rounds, 100 * c->share);
    else if (c->rounds) printf("  %zu rounds, wall clock; ceilings:\n", c->rounds);
    print_ceilings(c);
    printf("  %-32s %-32s %8s  %-21s %s\n", "contestant", "time", bench_unit_name(c->shape), "of its ceiling",
           "speed, best peer = 1");
    for (size_t i = 0; i < c->count; i++) {
        const bench_result *r = &c->result[i];
        snprintf(text, sizeof text, "%s%s", r->entry.name, r->companion ? ", beside" : "");
        printf("  %-32s ", text);
        if (r->failure) {
            printf("not timed: %s", r->failure);
            if (r->wrong) printf(", %.3g times the error allowed", r->error);
            printf("\n");
            continue;
        }
        printf("%-32s %8.2f", format_time(r->seconds, text, sizeof text), r->rate.median);
        snprintf(text, sizeof text, "%.1f %% (%.1f..%.1f)", 100 * r->fraction.median, 100 * r->fraction.low,
                 100 * r->fraction.high);
        printf("  %-21s", text);
        if (r->has_peer) printf(" %.2f (%.2f..%.2f)", r->speedup.median, r->speedup.low, r->speedup.high);
        if (r->has_beside)
            printf(" %.3f (%.3f..%.3f) of %s", r->beside.median, r->beside.low, r->beside.high, c->shape->beside);
        printf("\n");
    }
    fflush(stdout);
}

/* ---------------------------------------------------------------- files -- */

int bench_open_draft(bench_draft *d, const char *path)
{
    size_t size = strlen(path) + sizeof ".part";
    d->path = path;
    d->name = malloc(size);
    if (!d->name) return -1;
    snprintf(d->name, size, "%s.part", path);
    d->file = fopen(d->name, "w");
    if (!d->file) free(d->name);
    return d->file ? 0 : -1;
}

int bench_close_draft(bench_draft *d)
{
    int failed = ferror(d->file);
    failed |= fclose(d->file);
    if (!failed && rename(d->name, d->path)) failed = 1;
    int error = errno;
    if (failed) remove(d->name);
    free(d->name);
    errno = error;
    return failed ? -1 : 0;
}

/* ----------------------------------------------------------------- JSON -- */

static void json_string(FILE *f, const char *text)
{
    fputc('"', f);
    for (const char *p = text; *p; p++)
        if (*p == '"' || *p == '\\') fprintf(f, "\\%c", *p);
        else if ((unsigned char)*p < 0x20) fprintf(f, "\\u%04x", (unsigned)(unsigned char)*p);
        else fputc(*p, f);
    fputc('"', f);
}

static void json_text(FILE *f, const char *key, const char *text)
{
    fprintf(f, "\"%s\": ", key);
    if (text) json_string(f, text);
    else fputs("null", f);
}

/* JSON has no infinity and no NaN. */
static void json_number(FILE *f, double x)
{
    if (isfinite(x)) fprintf(f, "%.6g", x);
    else fputs("null", f);
}

static void json_quartiles(FILE *f, const char *key, bench_quartiles q)
{
    fprintf(f, "\"%s\": [", key);
    json_number(f, q.low);
    fputs(", ", f);
    json_number(f, q.median);
    fputs(", ", f);
    json_number(f, q.high);
    fputc(']', f);
}

static void json_result(FILE *f, const bench_result *r)
{
    fputs("\n      {", f);
    json_text(f, "name", r->entry.name);
    fprintf(f, ", \"ours\": %s, ", r->entry.ours ? "true" : "false");
    if (r->companion) fputs("\"companion\": true, ", f);
    if (r->failure) {
        json_text(f, "failure", r->failure);
        fputc('}', f);
        return;
    }
    fputs("\"error\": ", f);
    json_number(f, r->error);
    fputs(", ", f);
    json_quartiles(f, "seconds", r->seconds);
    fputs(",\n       ", f);
    json_quartiles(f, "rate", r->rate);
    fputs(", ", f);
    json_text(f, "ceiling", r->ceiling);
    fputs(", ", f);
    json_quartiles(f, "ceiling_rate", r->ceiling_rate);
    fputs(",\n       ", f);
    json_quartiles(f, "of_ceiling", r->fraction);
    if (r->has_peer) {
        fputs(", ", f);
        json_quartiles(f, "of_best_peer", r->speedup);
    }
    if (r->has_beside) {
        fputs(", ", f);
        json_quartiles(f, "of_beside", r->beside);
    }
    fputc('}', f);
}

int bench_write_json(const bench_report *report, const char *path)
{
    bench_draft d;
    if (bench_open_draft(&d, path)) return -1;
    FILE *f = d.file;
    fputs("{\n  ", f);
    json_text(f, "version", report->version);
    fputs(",\n  ", f);
    json_text(f, "compiler", report->compiler);
    fputs(",\n  ", f);
    json_text(f, "cpu", report->cpu);
    fputs(",\n  ", f);
    json_text(f, "cpu_numbers", report->cpu_numbers);
    fprintf(f, ",\n  \"data_caches\": [%zu, %zu, %zu],\n  ", report->cache[1], report->cache[2], report->cache[3]);
    json_text(f, "date", report->date);
    fputs(",\n  ", f);
    json_text(f, "openblas_core", report->blas_core);
    fputs(",\n  ", f);
    json_text(f, "onednn", report->dnnl_core);
    fputs(",\n  \"programs\": [", f);
    const char *name, *description;
    for (size_t i = 0; (name = bench_external_name(i, &description)) != NULL; i++) {
        fputs(i ? ", {" : "{", f);
        json_text(f, "name", *name ? name : NULL);
        fputs(", ", f);
        json_text(f, "description", description);
        fputc('}', f);
    }
    fputc(']', f);
    fputs(",\n  \"quartiles\": \"every triple is the 25th, 50th and 75th percentile over the rounds\",\n  "
          "\"roofline\": [",
          f);
    for (size_t i = 0; i < report->roofs; i++) {
        fputs(i ? ",\n    {" : "\n    {", f);
        json_text(f, "name", report->roof[i].name);
        fputs(", ", f);
        json_text(f, "unit", report->roof[i].unit);
        fputs(", ", f);
        json_quartiles(f, "rate", report->roof[i].rate);
        fputc('}', f);
    }
    fputs("\n  ],\n  \"growth\": [", f);
    for (size_t i = 0; i < report->growths; i++) {
        const bench_growth *g = &report->growth[i];
        fputs(i ? ",\n    {" : "\n    {", f);
        json_text(f, "path", g->path);
        fprintf(f, ", \"tokens\": %zu, \"visible_scores\": %.0f, \"workspace\": %zu, \"other_kib\": %ld, ", g->n,
                g->pairs, g->workspace, g->peak);
        json_quartiles(f, "seconds_per_score", g->per_pair);
        fputs(", ", f);
        json_quartiles(f, "of_ceiling", g->fraction);
        fputc('}', f);
    }
    fputs("\n  ],\n  \"cases\": [", f);
    for (size_t i = 0; i < report->cases; i++) {
        const bench_report_case *c = &report->at[i];
        fputs(i ? ",\n    {" : "\n    {", f);
        json_text(f, "name", c->shape->name);
        fputs(", ", f);
        json_text(f, "what", c->shape->what);
        fputs(", ", f);
        json_text(f, "unit", bench_unit_name(c->shape));
        if (c->shape->beside) {
            fputs(", ", f);
            json_text(f, "beside", c->shape->beside);
        }
        fprintf(f, ", \"rounds\": %zu, \"processor_share\": ", c->rounds);
        json_number(f, c->share);
        fputs(", \"contestants\": [", f);
        for (size_t k = 0; k < c->count; k++) {
            if (k) fputc(',', f);
            json_result(f, &c->result[k]);
        }
        fputs("\n    ]}", f);
    }
    fputs("\n  ]\n}\n", f);
    return bench_close_draft(&d);
}
