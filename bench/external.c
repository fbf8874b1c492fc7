/* SPDX-License-Identifier: MIT-0
 *
 * external.c - peers that run as separate programs: NumPy, ONNX Runtime, PyTorch. bench.h
 * describes the protocol. Like all contestants, they are asked for a slice of runs; they
 * measure their own processor time.
 */
#define _POSIX_C_SOURCE 200809L
#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 8, LINE = 512 };

typedef struct program {
    char name[BENCH_NAME], description[LINE];
    char directory[LINE]; /* of the case's files; empty: none */
    const bench_job *job;
    FILE *to, *from;
    pid_t pid;
} program;

static program programs[MOST];
static size_t program_count;

/* Sends a line and reads the answer, without its newline. 0: the program has ended. */
static int ask(program *p, const char *line, char *answer)
{
    if (!p->to) return 0;
    if (line && (fprintf(p->to, "%s\n", line) < 0 || fflush(p->to))) return 0;
    if (!fgets(answer, LINE, p->from)) return 0;
    answer[strcspn(answer, "\n")] = 0;
    return 1;
}

static void end(program *p)
{
    if (p->to) fclose(p->to);
    if (p->from) fclose(p->from);
    if (p->pid > 0) waitpid(p->pid, NULL, 0);
    p->to = p->from = NULL;
    p->pid = 0;
}

/* One thread, and no variables that select slower code. */
static void set_environment(void)
{
    static const char *const one[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"};
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) setenv(one[i], "1", 1);
}

static int start(program *p, const char *command)
{
    int in[2], out[2];
    if (pipe(in)) return 0;
    if (pipe(out)) {
        close(in[0]), close(in[1]);
        return 0;
    }
    p->pid = fork();
    if (p->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[0]), close(in[1]), close(out[0]), close(out[1]);
        set_environment();
        for (size_t i = 0; i < program_count;
             i++) { /* or else other programs would keep pipes open and never see the end of input */
            if (programs[i].to) close(fileno(programs[i].to));
            if (programs[i].from) close(fileno(programs[i].from));
        }
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(in[0]), close(out[1]);
    p->to = fdopen(in[1], "w");
    p->from = fdopen(out[0], "r");
    return p->pid > 0 && p->to && p->from;
}

int bench_external_add(const char *command)
{
    char answer[LINE];
    if (program_count == MOST) return -1;
    signal(SIGPIPE, SIG_IGN);
    program *p = &programs[program_count];
    if (!start(p, command) || !ask(p, NULL, answer)) {
        snprintf(p->description, sizeof p->description, "%.*s: does not start", LINE - 32, command);
        end(p);
    } else if (!strncmp(answer, "skip ", 5)) {
        snprintf(p->description, sizeof p->description, "%s", answer + 5);
        end(p);
    } else {
        size_t length = strcspn(answer, " ");
        snprintf(p->name, sizeof p->name, "%.*s", (int)(length < BENCH_NAME ? length : BENCH_NAME - 1), answer);
        snprintf(p->description, sizeof p->description, "%s", answer + length + (answer[length] == ' '));
    }
    program_count++;
    return 0;
}

const char *bench_external_name(size_t index, const char **description)
{
    if (index >= program_count) return NULL;
    *description = programs[index].description;
    return programs[index].name;
}

/* ---------------------------------------------------------------- files -- */

static void path_of(const program *p, const char *name, char *path)
{
    snprintf(path, LINE + 8, "%s/%s", p->directory, name);
}

static int write_file(const program *p, const char *name, const void *data, size_t count)
{
    char path[LINE + 8];
    path_of(p, name, path);
    FILE *f = fopen(path, "wb");
    if (!f) return 0;
    int good = fwrite(data, sizeof(float), count, f) == count;
    return !fclose(f) && good;
}

static void remove_files(program *p)
{
    static const char *const names[] = {"a", "b", "c", "out"};
    char path[LINE + 8];
    if (!*p->directory) return;
    for (size_t i = 0; i < 4; i++) {
        path_of(p, names[i], path);
        remove(path);
    }
    rmdir(p->directory);
    *p->directory = 0;
}

/* In memory, if the system has such files, so that all processes read one copy. */
static int make_directory(program *p)
{
    const char *parent = getenv("TMPDIR");
    if (!parent) parent = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
    snprintf(p->directory, sizeof p->directory, "%.*s/attn-bench-XXXXXX", LINE - 32, parent);
    if (mkdtemp(p->directory)) return 1;
    *p->directory = 0;
    return 0;
}

/* ----------------------------------------------------------------- runs -- */

static const char *run(const bench_job *job, const bench_entry *entry)
{
    program *p = entry->state;
    char line[LINE], path[LINE + 8];
    if (!ask(p, "run 1", line) || !ask(p, "write", line) || strcmp(line, "written")) return "it failed";
    path_of(p, "out", path);
    FILE *f = fopen(path, "rb");
    if (!f) return "no output";
    int good = fread(job->out, sizeof(float), job->out_count, f) == job->out_count;
    fclose(f);
    return good ? NULL : "too little output";
}

static double seconds(const bench_entry *entry, size_t repetitions)
{
    char line[LINE];
    snprintf(line, sizeof line, "run %zu", repetitions);
    return ask(entry->state, line, line) ? strtod(line, NULL) : 1e9;
}

/* For a program that does not support this case; its state says why. */
static const char *run_skipped(const bench_job *job, const bench_entry *entry)
{
    (void)job;
    return ((const program *)entry->state)->description;
}

static int introduce(program *p, const bench_job *job, char *line)
{
    static const char *const kinds[] = {"attention", "softmax", "matmul"};
    const bench_case *s = job->shape;
    remove_files(p);
    if (!make_directory(p) || !write_file(p, "a", job->a, job->a_count) || !write_file(p, "b", job->b, job->b_count) ||
        !write_file(p, "c", job->c, job->c_count)) {
        snprintf(line, LINE, "skip its files could not be written");
        return 0;
    }
    snprintf(line, LINE, "case %s %zu %zu %zu %zu %zu %d %d %.*s %.9g", kinds[s->kind], s->heads, s->kv_heads, s->m,
             s->n, s->k, s->causal, s->axis, LINE - 224, p->directory, job->scales ? (double)job->scales[0] : 0);
    return ask(p, line, line) && !strncmp(line, "ready", 5);
}

size_t bench_external(const bench_job *job, bench_entry *entries, size_t count)
{
    static program skipped[MOST];
    char line[LINE];
    for (size_t i = 0; i < program_count && count < BENCH_MAX_ENTRIES; i++) {
        program *p = &programs[i];
        if (!p->to || job->shape->type == BENCH_F64 || (job->shape->kind == BENCH_MATMUL && job->shape->axis)) continue;
        bench_entry *e = &entries[count++];
        memset(e, 0, sizeof *e);
        snprintf(e->name, sizeof e->name, "%s", p->name);
        e->bytes = job->peer_bytes;
        e->state = p;
        e->run = run;
        e->time = seconds;
        if (introduce(p, job, line)) {
            size_t length = strlen(e->name);
            snprintf(e->name + length, sizeof e->name - length, "%.*s", (int)(sizeof e->name - length - 1), line + 5);
            if (strstr(line, "int8")) e->bytes = job->bytes;
            continue;
        }
        snprintf(skipped[i].description, sizeof skipped[i].description, "%s",
                 !strncmp(line, "skip ", 5) ? line + 5 : "it failed");
        e->run = run_skipped;
        e->state = &skipped[i];
        if (!p->to || waitpid(p->pid, NULL, WNOHANG) == p->pid) {
            p->pid = 0;
            end(p);
        }
    }
    return count;
}

void bench_external_end(void)
{
    for (size_t i = 0; i < program_count; i++) {
        remove_files(&programs[i]);
        end(&programs[i]);
    }
}
