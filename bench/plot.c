/* SPDX-License-Identifier: MIT-0
 *
 * plot.c - the figures as an SVG: a panel for each case, with a red line for what the machine
 * can do.
 */
#include "bench.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

static const double width = 900, margin = 24, gap = 36, header = 86, footer = 62;
static const double title = 26, row = 17, bar = 11, below = 18; /* heights within a panel */
static const double names = 92, labels = 112;                   /* widths beside the bars */

/* The contestants of one panel, only the fastest of each library. */
typedef struct lane {
    const bench_result *result;
    char name[BENCH_NAME];
} lane;

static const struct {
    const char *first, *shown;
} shown[] = {
    {"openblas", "OpenBLAS"},        {"onednn", "oneDNN"},       {"numpy", "NumPy"}, {"torch", "PyTorch"},
    {"onnxruntime", "ONNX Runtime"}, {"libmvec,", "C, libmvec"}, {"C", "C loops"},
};

static void name_of(const bench_result *r, char *name)
{
    size_t length = strcspn(r->entry.name, " ");
    snprintf(name, BENCH_NAME, "%.*s", (int)length, r->entry.name);
    for (char *c = name; *c && r->entry.ours && r->entry.width; c++) /* vector instructions are written so */
        *c = (char)toupper((unsigned char)*c);
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (strlen(shown[i].first) == length && !strncmp(shown[i].first, r->entry.name, length))
            snprintf(name, BENCH_NAME, "%s", shown[i].shown);
}

static size_t lanes_of(const bench_report_case *c, lane *lanes)
{
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        const bench_result *r = &c->result[i];
        lane l = {.result = r};
        size_t k = 0;
        if (r->failure || r->companion) continue;
        name_of(r, l.name);
        while (k < count && strcmp(lanes[k].name, l.name)) k++;
        if (k == count) lanes[count++] = l;
        else if (r->seconds.median < lanes[k].result->seconds.median) lanes[k] = l;
    }
    for (size_t i = 1; i < count; i++) /* ours first, in their order, then the others by speed */
        for (size_t k = i; k && !lanes[k - 1].result->entry.ours &&
                           lanes[k].result->seconds.median < lanes[k - 1].result->seconds.median;
             k--) {
            lane l = lanes[k];
            lanes[k] = lanes[k - 1];
            lanes[k - 1] = l;
        }
    return count;
}

static int any_marked(const bench_report *report)
{
    for (size_t i = 0; i < report->cases; i++)
        if (report->at[i].shape->plotted && report->at[i].rounds) return 1;
    return 0;
}

static int shown_case(const bench_report *report, const bench_report_case *c)
{
    return c->rounds && (c->shape->plotted || !any_marked(report));
}

static void text(FILE *f, const char *s)
{
    for (; *s; s++) switch (*s) {
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '&': fputs("&amp;", f); break;
        default: fputc(*s, f);
        }
}

static double panel_height(size_t count) { return title + (double)count * row + below; }

static void put_panel(FILE *f, const bench_report_case *c, double x, double y, double across)
{
    lane lanes[BENCH_MAX_ENTRIES];
    size_t count = lanes_of(c, lanes);
    double left = x + names, full = across - names - labels, ceiling = 0, end = y + title + (double)count * row;
    for (size_t i = 0; i < count; i++) ceiling = fmax(ceiling, lanes[i].result->ceiling_rate.median);
    fprintf(f, "<text class=\"title\" x=\"%.1f\" y=\"%.1f\">", x, y + 14);
    fputc(toupper((unsigned char)c->shape->what[0]), f);
    text(f, c->shape->what + 1);
    fputs("</text>\n", f);
    fprintf(f, "<path class=\"grid\" d=\"M%.1f %.1fV%.1fM%.1f %.1fV%.1fM%.1f %.1fV%.1fM%.1f %.1fV%.1f\"/>\n", left,
            y + title - 4, end, left + full / 4, y + title - 4, end, left + full / 2, y + title - 4, end,
            left + 3 * full / 4, y + title - 4, end);
    for (size_t i = 0; i < count; i++) {
        const bench_result *r = lanes[i].result;
        double top = y + title + (double)i * row, middle = top + bar / 2, unit = full / ceiling;
        double length = fmin(r->rate.median * unit, full * 1.04);
        fprintf(f, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", r->entry.ours ? "us" : "name",
                left - 7, top + 9.5);
        text(f, lanes[i].name);
        fprintf(f, "</text>\n<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.0f\" rx=\"2\"/>\n",
                !r->entry.ours         ? "peer"
                : r->entry.width > 256 ? "ours"
                                       : "ours2",
                left, top, fmax(length, 1), bar);
        fprintf(f, "<path class=\"spread\" d=\"M%.1f %.1fH%.1f\"/>\n", left + fmin(r->rate.low * unit, full * 1.04),
                middle, left + fmin(r->rate.high * unit, full * 1.04));
        fprintf(f, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%.*f", r->entry.ours ? "us" : "figure", left + full + 12,
                top + 9.5, r->rate.median < 9.95, r->rate.median);
        if (r->entry.ours && r->has_peer) fprintf(f, " \302\267 %.2f\303\227", r->speedup.median);
        fputs("</text>\n", f);
    }
    fprintf(f, "<path class=\"roof\" d=\"M%.1f %.1fV%.1f\"/>\n", left + full, y + title - 4, end);
    fprintf(f, "<text class=\"axis\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">0</text>\n", left, end + 10);
    fprintf(f, "<text class=\"top\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.0f %s</text>\n", left + full,
            end + 10, ceiling, bench_unit_name(c->shape));
}

/* Two panels side by side, then the next two. */
static double put_panels(FILE *f, const bench_report *report)
{
    double across = (width - 2 * margin - gap) / 2, y = header, tallest = 0;
    int column = 0;
    for (size_t i = 0; i < report->cases; i++) {
        const bench_report_case *c = &report->at[i];
        lane lanes[BENCH_MAX_ENTRIES];
        if (!shown_case(report, c)) continue;
        if (f) put_panel(f, c, margin + column * (across + gap), y, across);
        tallest = fmax(tallest, panel_height(lanes_of(c, lanes)));
        column = !column;
        if (!column) {
            y += tallest;
            tallest = 0;
        }
    }
    return y + tallest;
}

static void put_footer(FILE *f, const bench_report *r, double y)
{
    const char *name, *description;
    fprintf(f, "<text class=\"name\" x=\"%.0f\" y=\"%.1f\">%s, one thread of ", margin, y + 14, r->date);
    text(f, r->cpu);
    if (*r->cpu_numbers) {
        fputs(" (", f);
        text(f, r->cpu_numbers);
        fputc(')', f);
    }
    fputs("; ", f);
    text(f, r->compiler);
    fprintf(f, "; attention.h %s</text>\n<text class=\"name\" x=\"%.0f\" y=\"%.1f\">", r->version, margin, y + 30);
    if (r->blas_core) fprintf(f, "OpenBLAS for %s; ", r->blas_core);
    if (r->dnnl_core) fprintf(f, "oneDNN %s; ", r->dnnl_core);
    fprintf(f, "float32</text>\n<text class=\"name\" x=\"%.0f\" y=\"%.1f\">", margin, y + 46);
    for (size_t i = 0, written = 0; (name = bench_external_name(i, &description)) != NULL; i++)
        if (*name) {
            fputs(written++ ? "; " : "", f);
            text(f, description);
        }
    fputs("</text>\n", f);
}

int bench_write_svg(const bench_report *report, const char *path)
{
    bench_draft d;
    if (bench_open_draft(&d, path)) return -1;
    FILE *f = d.file;
    double end = put_panels(NULL, report), height = end + footer;
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
            "role=\"img\">\n",
            width, height, width, height);
    /* With its own background the plot is readable in light and dark themes. */
    fputs("<!-- SPDX-License-Identifier: MIT-0 -->\n"
          "<title>Speed of attention.h and of what one would use instead</title>\n"
          "<style>\n"
          "text { font: 11px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #424a53 }\n"
          ".head { font-size: 17px; font-weight: 600; fill: #1f2328 }\n"
          ".title { font-size: 12px; font-weight: 600; fill: #1f2328 }\n"
          ".us { font-weight: 600; fill: #116149 }\n"
          ".axis { font-size: 9.5px; fill: #6e7781 }\n"
          ".top { font-size: 9.5px; fill: #cf222e }\n"
          ".ground { fill: #ffffff; stroke: #d0d7de }\n"
          ".ours { fill: #1a7f64 }\n"
          ".ours2 { fill: #57b894 }\n"
          ".peer { fill: #afb8c1 }\n"
          ".grid { stroke: #d8dee4 }\n"
          ".roof { stroke: #cf222e; stroke-width: 1.5 }\n"
          ".spread { stroke: #1f2328; stroke-opacity: 0.6 }\n"
          "@media (prefers-color-scheme: dark) {\n"
          "text { fill: #b1bac4 }\n"
          ".head, .title { fill: #f0f6fc }\n"
          ".us { fill: #56d4a8 }\n"
          ".axis { fill: #8b949e }\n"
          ".top { fill: #ff7b72 }\n"
          ".ground { fill: #0d1117; stroke: #30363d }\n"
          ".ours { fill: #2fa884 }\n"
          ".ours2 { fill: #1c6b54 }\n"
          ".peer { fill: #57606a }\n"
          ".grid { stroke: #21262d }\n"
          ".roof { stroke: #ff7b72 }\n"
          ".spread { stroke: #f0f6fc }\n"
          "}\n"
          "</style>\n",
          f);
    fprintf(f, "<rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"%.0f\" height=\"%.0f\" rx=\"8\"/>\n", width - 1,
            height - 1);
    fprintf(f,
            "<text class=\"head\" x=\"%.0f\" y=\"32\">attention.h against the machine, and against what else there "
            "is</text>\n",
            margin);
    fprintf(f,
            "<text x=\"%.0f\" y=\"52\">Green: attention.h, and how many times as fast as the fastest other. Grey: the "
            "others, each in "
            "its fastest form.</text>\n"
            "<text x=\"%.0f\" y=\"68\">Red: what the processor can multiply and add, or its memory read or copy, "
            "measured between the "
            "runs. Medians; thin lines: quartiles.</text>\n",
            margin, margin);
    put_panels(f, report);
    put_footer(f, report, end);
    fputs("</svg>\n", f);
    return bench_close_draft(&d);
}
