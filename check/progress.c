/* SPDX-License-Identifier: MIT-0
 *
 * progress.c - see progress.h. Each line is one write. It needs no more of the terminal than that \r returns to the
 * start of a line: blanks erase.
 */
#ifndef _WIN32
#define _POSIX_C_SOURCE 200809L
#endif

#include "progress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LONGEST = 160 };

static struct {
    int seen, choice;   /* choice: 1: to be seen, -1: not, 0: on a terminal */
    double begin, last; /* seconds */
    size_t length;      /* of the line on the terminal; 0: none */
} progress;

/* ---------------------------------------------------------------- system -- */

#ifdef _WIN32

#include <io.h>

static int on_terminal(void) { return _isatty(2); }

static int in_background(void) { return 0; }

static size_t terminal_width(void) { return 80; }

#else

#include <sys/ioctl.h>
#include <unistd.h>

static int on_terminal(void) { return isatty(STDERR_FILENO); }

/* There a shell has the terminal, or another program. */
static int in_background(void)
{
    const pid_t group = tcgetpgrp(STDERR_FILENO);
    return group >= 0 && group != getpgrp();
}

static size_t terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

#endif

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ------------------------------------------------------------------ line -- */

void progress_choose(int shown) { progress.choice = shown ? 1 : -1; }

int progress_begin(void)
{
    const char *terminal = getenv("TERM");
    progress_erase();
    progress.seen =
        progress.choice ? progress.choice > 0 : on_terminal() && !(terminal && strcmp(terminal, "dumb") == 0);
    progress.begin = progress.last = progress.seen ? seconds() : 0;
    return progress.seen;
}

/* In place of the line that is there. */
static void put(const char *line)
{
    const int cause = errno; /* of what a message after this will be about */
    char text[3 * LONGEST];
    if (!in_background()) {
        snprintf(text, sizeof text, "\r%*s\r%s", (int)progress.length, "", line);
        fwrite(text, 1, strlen(text), stderr);
        progress.length = strlen(line);
    }
    errno = cause;
}

static void time_text(double time, char *text, size_t size)
{
    if (time < 100) snprintf(text, size, "%d s", (int)time + 1);
    else if (time < 6000) snprintf(text, size, "%.0f min", time / 60);
    else snprintf(text, size, "%.0f h", time / 3600);
}

void progress_at(const char *what, const char *name, double done, double total)
{
    char line[LONGEST], time[32], end[64];
    size_t width, i;
    double now;
    if (!progress.seen || (now = seconds()) - progress.last < 1) return;
    progress.last = now;
    now -= progress.begin;
    time_text(total > 0 && done > 0 ? now * (total - done) / done : now, time, sizeof time);
    if (total > 0)
        snprintf(end, sizeof end, ": %d %%%s%s%s", (int)(100 * done / total), done > 0 ? ", " : "",
                 done > 0 ? time : "", done > 0 ? " left" : "");
    else snprintf(end, sizeof end, ": %s", time);
    width = terminal_width() - 1; /* a full line wraps on some terminals */
    if (width >= sizeof line) width = sizeof line - 1;
    /* No character takes more columns than it has bytes. */
    if (strlen(what) + 1 + strlen(name) + strlen(end) > width) name = "";
    snprintf(line, width + 1, "%s%s%s%s", what, *name ? " " : "", name, end);
    for (i = 0; line[i] != 0; i++) /* what a file name may have in it */
        if ((unsigned char)line[i] < ' ' || line[i] == 127) line[i] = '?';
    put(line);
}

void progress_erase(void)
{
    if (progress.length) put("");
}
