/* SPDX-License-Identifier: MIT-0
 *
 * report.c - the figures as a table, as JSON and as a plot.
 */
#define _POSIX_C_SOURCE 200809L
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *unit_name(const bench_case *shape) { return bench_case_unit(shape) == BENCH_GFLOPS ? "GFLOP/s" : "GB/s"; }

/* ---------------------------------------------------------------- table -- */

void bench_print_head(const bench_report *r)
{
    printf("attention.h %s, %s\n", r->version, r->compiler);
    printf("%s%s%s, data caches", r->cpu, *r->cpu_numbers ? ", " : "", r->cpu_numbers);
    for (int level = 1; level <= 3; level++)
        if (r->cache[level])
            printf(" L%d %zu KiB", level, r->cache[level] >> 10);
    printf("\nOpenBLAS core: %s; one thread, times are processor time, medians (quartiles)\n",
           r->blas_core ? r->blas_core : "none, built without cblas");
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

static const char *format_time(bench_quartiles s, char *text, size_t size)
{
    static const struct {
        double seconds;
        const char *name;
    } units[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
    size_t u = 0;
    while (u + 1 < sizeof units / sizeof *units && s.median < units[u].seconds)
        u++;
    snprintf(text, size, "%.4g %s (%.4g..%.4g)", s.median / units[u].seconds, units[u].name, s.low / units[u].seconds,
             s.high / units[u].seconds);
    return text;
}

static void print_ceilings(const bench_report_case *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const bench_result *r = &c->result[i];
        int known = !!r->failure;
        for (size_t k = 0; k < i; k++)
            known |= !c->result[k].failure && !strcmp(c->result[k].ceiling, r->ceiling);
        if (!known)
            printf("  %-20s %.1f (%.1f..%.1f) %s\n", r->ceiling, r->ceiling_rate.median, r->ceiling_rate.low, r->ceiling_rate.high,
                   unit_name(c->shape));
    }
}

void bench_print_case(const bench_report_case *c)
{
    char text[96];
    printf("\n%s: %s\n", c->shape->name, c->shape->what);
    if (c->rounds && c->share > 0)
        printf("  %zu rounds on %.0f %% of a processor; ceilings:\n", c->rounds, 100 * c->share);
    else if (c->rounds)
        printf("  %zu rounds, wall clock; ceilings:\n", c->rounds);
    print_ceilings(c);
    printf("  %-20s %-32s %8s  %-21s %s\n", "contestant", "time", unit_name(c->shape), "of its ceiling", "speed, best peer = 1");
    for (size_t i = 0; i < c->count; i++) {
        const bench_result *r = &c->result[i];
        snprintf(text, sizeof text, "%s%s", r->entry.name, r->companion ? ", beside" : "");
        printf("  %-20s ", text);
        if (r->failure) {
            printf("not timed: %s", r->failure);
            if (r->wrong)
                printf(", %.3g times the error allowed", r->error);
            printf("\n");
            continue;
        }
        printf("%-32s %8.2f", format_time(r->seconds, text, sizeof text), r->rate.median);
        snprintf(text, sizeof text, "%.1f %% (%.1f..%.1f)", 100 * r->fraction.median, 100 * r->fraction.low, 100 * r->fraction.high);
        printf("  %-21s", text);
        if (r->has_peer)
            printf(" %.2f (%.2f..%.2f)", r->speedup.median, r->speedup.low, r->speedup.high);
        if (r->has_beside)
            printf(" %.3f (%.3f..%.3f) of %s", r->beside.median, r->beside.low, r->beside.high, c->shape->beside);
        printf("\n");
    }
    fflush(stdout);
}

/* ---------------------------------------------------------------- files -- */

/* A file that appears under its name only when it is complete. */
typedef struct draft {
    FILE *file;
    char *name;
    const char *path;
} draft;

static int open_draft(draft *d, const char *path)
{
    size_t size = strlen(path) + sizeof ".part";
    d->path = path;
    d->name = malloc(size);
    if (!d->name)
        return -1;
    snprintf(d->name, size, "%s.part", path);
    d->file = fopen(d->name, "w");
    if (!d->file)
        free(d->name);
    return d->file ? 0 : -1;
}

static int close_draft(draft *d)
{
    int failed = ferror(d->file);
    failed |= fclose(d->file);
    if (!failed && rename(d->name, d->path))
        failed = 1;
    int error = errno;
    if (failed)
        remove(d->name);
    free(d->name);
    errno = error;
    return failed ? -1 : 0;
}

/* ----------------------------------------------------------------- JSON -- */

static void json_string(FILE *f, const char *text)
{
    fputc('"', f);
    for (const char *p = text; *p; p++)
        if (*p == '"' || *p == '\\')
            fprintf(f, "\\%c", *p);
        else if ((unsigned char)*p < 0x20)
            fprintf(f, "\\u%04x", (unsigned)(unsigned char)*p);
        else
            fputc(*p, f);
    fputc('"', f);
}

static void json_text(FILE *f, const char *key, const char *text)
{
    fprintf(f, "\"%s\": ", key);
    if (text)
        json_string(f, text);
    else
        fputs("null", f);
}

/* JSON has no words for infinity and NaN. */
static void json_number(FILE *f, double x)
{
    if (isfinite(x))
        fprintf(f, "%.6g", x);
    else
        fputs("null", f);
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
    if (r->companion)
        fputs("\"companion\": true, ", f);
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
    draft d;
    if (open_draft(&d, path))
        return -1;
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
    json_text(f, "openblas_core", report->blas_core);
    fputs(",\n  \"quartiles\": \"every triple is the 25th, 50th and 75th percentile over the rounds\",\n  \"roofline\": [", f);
    for (size_t i = 0; i < report->roofs; i++) {
        fputs(i ? ",\n    {" : "\n    {", f);
        json_text(f, "name", report->roof[i].name);
        fputs(", ", f);
        json_text(f, "unit", report->roof[i].unit);
        fputs(", ", f);
        json_quartiles(f, "rate", report->roof[i].rate);
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
        json_text(f, "unit", unit_name(c->shape));
        if (c->shape->beside) {
            fputs(", ", f);
            json_text(f, "beside", c->shape->beside);
        }
        fprintf(f, ", \"rounds\": %zu, \"processor_share\": ", c->rounds);
        json_number(f, c->share);
        fputs(", \"contestants\": [", f);
        for (size_t k = 0; k < c->count; k++) {
            if (k)
                fputc(',', f);
            json_result(f, &c->result[k]);
        }
        fputs("\n    ]}", f);
    }
    fputs("\n  ]\n}\n", f);
    return close_draft(&d);
}

/* ------------------------------------------------------------------ SVG -- */

static const double width = 820, margin = 16, header = 64, left = 170, longest_bar = 420;
static const double bar = 12, step = 16, title = 30; /* heights */

/* Round figures for the end of an axis. */
static double axis_end(double most)
{
    double unit = pow(10, floor(log10(most)));
    for (double k = 1; k < 10; k += k < 2 ? 0.5 : 1)
        if (k * unit >= most)
            return k * unit;
    return 10 * unit;
}

static double largest_rate(const bench_report *report, bench_unit unit)
{
    double most = 0;
    for (size_t i = 0; i < report->cases; i++)
        for (size_t k = 0; k < report->at[i].count; k++) {
            const bench_result *r = &report->at[i].result[k];
            if (bench_case_unit(report->at[i].shape) == unit && !r->failure)
                most = fmax(most, fmax(r->rate.high, r->ceiling_rate.median));
        }
    return most;
}

static void svg_text(FILE *f, const char *text)
{
    for (const char *p = text; *p; p++)
        switch (*p) {
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '&': fputs("&amp;", f); break;
        default: fputc(*p, f);
        }
}

/* One bar, its quartiles as a whisker and its ceiling as a tick. */
static void svg_bar(FILE *f, const bench_result *r, const char *unit, double y, double scale)
{
    double middle = y + bar / 2, roof = left + r->ceiling_rate.median * scale;
    fprintf(f, "<text class=\"name\" x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">", left - 8, y + 10);
    svg_text(f, r->entry.name);
    fprintf(f, "</text>\n<rect class=\"%s\" x=\"%.0f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\"/>\n", r->entry.ours ? "ours" : "peer",
            left, y, r->rate.median * scale, bar);
    fprintf(f, "<path class=\"spread\" d=\"M%.1f %.1fH%.1f\"/>\n", left + r->rate.low * scale, middle, left + r->rate.high * scale);
    fprintf(f, "<path class=\"roof\" d=\"M%.1f %.1fv%.0f\"/>\n", roof, y - 2, step);
    fprintf(f, "<text class=\"figure\" x=\"%.0f\" y=\"%.1f\">%.3g %s, %.0f %%", left + longest_bar + 12, y + 10, r->rate.median, unit,
            100 * r->fraction.median);
    if (r->entry.ours && r->has_peer)
        fprintf(f, ", %.2f\303\227", r->speedup.median);
    fputs("</text>\n", f);
}

static double svg_cases(FILE *f, const bench_report *report, bench_unit unit, double y)
{
    double most = largest_rate(report, unit), scale = most > 0 ? longest_bar / axis_end(most) : 0;
    for (size_t i = 0; i < report->cases; i++) {
        const bench_report_case *c = &report->at[i];
        if (bench_case_unit(c->shape) != unit || !c->rounds)
            continue;
        fprintf(f, "<text class=\"title\" x=\"%.0f\" y=\"%.1f\">", left, y + title - 10);
        svg_text(f, c->shape->what);
        fputs("</text>\n", f);
        y += title;
        for (size_t k = 0; k < c->count; k++) {
            if (c->result[k].failure)
                continue;
            svg_bar(f, &c->result[k], unit_name(c->shape), y, scale);
            y += step;
        }
    }
    return y;
}

static double svg_height(const bench_report *report)
{
    double height = header + margin;
    for (size_t i = 0; i < report->cases; i++) {
        if (!report->at[i].rounds)
            continue;
        height += title;
        for (size_t k = 0; k < report->at[i].count; k++)
            height += report->at[i].result[k].failure ? 0 : step;
    }
    return height;
}

int bench_write_svg(const bench_report *report, const char *path)
{
    draft d;
    if (open_draft(&d, path))
        return -1;
    FILE *f = d.file;
    double height = svg_height(report);
    fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n", width, height,
            width, height);
    /* With a ground of its own it is readable where the theme is not known. */
    fputs("<style>\n"
          "text { font: 11px system-ui, sans-serif; fill: #24292f }\n"
          ".title { font-weight: bold }\n"
          ".ground { fill: #ffffff }\n"
          ".ours { fill: #1a7f64 }\n"
          ".peer { fill: #9aa4af }\n"
          ".roof { stroke: #cf222e; stroke-width: 2 }\n"
          ".spread { stroke: #24292f }\n"
          "@media (prefers-color-scheme: dark) {\n"
          "text { fill: #e6edf3 }\n"
          ".ground { fill: #161b22 }\n"
          ".ours { fill: #2bb590 }\n"
          ".peer { fill: #6e7681 }\n"
          ".roof { stroke: #ff7b72 }\n"
          ".spread { stroke: #e6edf3 }\n"
          "}\n"
          "</style>\n"
          "<rect class=\"ground\" width=\"100%\" height=\"100%\" rx=\"8\"/>\n",
          f);
    fprintf(f, "<text class=\"title\" x=\"%.0f\" y=\"24\">attention.h %s, one thread, ", margin, report->version);
    svg_text(f, report->cpu);
    fprintf(f,
            "</text>\n<text x=\"%.0f\" y=\"42\">Green: attention.h. Grey: other ways. Red: the machine's ceiling in the same run. "
            "Thin line: quartiles.</text>\n",
            margin);
    fprintf(f, "<text x=\"%.0f\" y=\"58\">Figures: speed, its share of the ceiling, speed over the best other way.</text>\n", margin);
    svg_cases(f, report, BENCH_GBS, svg_cases(f, report, BENCH_GFLOPS, header));
    fputs("</svg>\n", f);
    return close_draft(&d);
}
