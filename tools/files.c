/* SPDX-License-Identifier: MIT-0
 *
 * files.c - reads a whole file; writes several files, all or none. The first part is what
 * depends on the operating system.
 */
#ifndef _WIN32
#define _XOPEN_SOURCE 700 /* POSIX 2008 with realpath */
#endif

#include "tool.h"

#include "check/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Where an output goes. */
typedef struct pending {
    const char *target; /* a file, whether it is there or not; NULL: standard output */
    char *temporary;    /* beside the target, to be renamed over it; NULL: none */
    int descriptor;     /* of this process, that the path names: /dev/stdout; -1: none */
    int in_place;       /* is written to and not replaced: a device, a pipe, a file of several names */
    int existed;
#ifndef _WIN32
    struct stat status; /* of what existed */
#endif
} pending;

static int cannot_write(const char *path) { return fail("%s: cannot be written: %s", path, strerror(errno)); }

/* ---------------------------------------------------------------- system -- */

#ifdef _WIN32

#include <io.h>
#include <process.h>
#include <windows.h>

int output_is_terminal(void) { return _isatty(1); }

static double size_of(FILE *file) { return (double)_filelengthi64(_fileno(file)); }

static long process_number(void) { return (long)_getpid(); }

static int is_separator(char c) { return c == '/' || c == '\\' || c == ':'; }

static void hold_signals(int hold) { (void)hold; }
static void remove_when_killed(pending *list, size_t count) { (void)list, (void)count; }

/* Creates a file. Fails with NULL and errno if it exists. */
static FILE *create_new(const char *name, const pending *p)
{
    const int descriptor = _open(name, _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY, _S_IREAD | _S_IWRITE);
    FILE *file;
    (void)p;
    if (descriptor < 0) return NULL;
    file = _fdopen(descriptor, "wb");
    if (!file) {
        _close(descriptor);
        remove(name);
    }
    return file;
}

static int keep_owner(FILE *file, const pending *p) { return file && p; }

static int replace(const char *from, const char *to)
{
    if (MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING)) return 1;
    errno = GetLastError() == ERROR_ACCESS_DENIED ? EACCES : EIO;
    return 0;
}

static int find_target(const char *path, pending *p)
{
    const DWORD attributes = GetFileAttributesA(path);
    p->existed = attributes != INVALID_FILE_ATTRIBUTES;
    p->target = path;
    p->descriptor = -1;
    if (strcmp(path, "-") == 0) p->descriptor = p->in_place = p->existed = 1;
    else if (p->existed && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) return fail("%s: is a directory", path);
    return 1;
}

static int same_file(const pending *p, const pending *q)
{
    return p->descriptor == q->descriptor && (p->descriptor >= 0 || strcmp(p->target, q->target) == 0);
}

static FILE *open_in_place(const pending *p, size_t size)
{
    (void)size;
    fflush(stdout);
    _setmode(p->descriptor, _O_BINARY);
    return _fdopen(_dup(p->descriptor), "wb");
}

static int cut(FILE *file, const pending *p, size_t size) { return file && p && size; }

#else

#include <unistd.h>

int output_is_terminal(void) { return isatty(STDOUT_FILENO); }

/* Bytes; 0 or less: not known. */
static double size_of(FILE *file)
{
    struct stat status;
    return fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode) ? (double)status.st_size : 0;
}

static long process_number(void) { return (long)getpid(); }

static int is_separator(char c) { return c == '/'; }

static const int deadly[] = {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM};
enum { DEADLY = sizeof deadly / sizeof *deadly };
static pending *volatile unfinished;
static volatile sig_atomic_t unfinished_count;

static void hold_signals(int hold)
{
    sigset_t set;
    int i;
    sigemptyset(&set);
    for (i = 0; i < DEADLY; i++) sigaddset(&set, deadly[i]);
    sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static void on_signal(int number)
{
    int i;
    for (i = 0; i < unfinished_count; i++)
        if (unfinished[i].temporary) unlink(unfinished[i].temporary);
    signal(number, SIG_DFL);
    raise(number); /* comes when this returns */
}

/* From now on, a signal that ends the program removes the temporary files of the list first. A
 * file that grows beyond its limit is an error of a write like others. */
static void remove_when_killed(pending *list, size_t count)
{
    struct sigaction action, old;
    int i;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    hold_signals(1);
    unfinished = list;
    unfinished_count = (sig_atomic_t)count;
    for (i = 0; i < DEADLY; i++)
        if (sigaction(deadly[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL) sigaction(deadly[i], &action, NULL);
    signal(SIGXFSZ, SIG_IGN);
    hold_signals(0);
}

/* Creates a file, which nobody else may read before it has the mode of the one that it will
 * replace. Fails with NULL and errno if it exists. */
static FILE *create_new(const char *name, const pending *p)
{
    const int descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL, p->existed ? 0600 : 0666);
    FILE *file;
    if (descriptor < 0) return NULL;
    file = fdopen(descriptor, "wb");
    if (!file) {
        const int cause = errno;
        close(descriptor);
        remove(name);
        errno = cause;
    }
    return file;
}

/* Of the file that will be replaced: the mode; owner and group where that is allowed. */
static int keep_owner(FILE *file, const pending *p)
{
    const int descriptor = fileno(file);
    mode_t mode = p->status.st_mode & 07777;
    if (!p->existed) return 1;
    if (fchown(descriptor, p->status.st_uid, p->status.st_gid) != 0 &&
        fchown(descriptor, (uid_t)-1, p->status.st_gid) != 0)
        mode &= 0777; /* programs do not run as somebody else */
    return fchmod(descriptor, mode) == 0;
}

static int replace(const char *from, const char *to) { return rename(from, to) == 0; }

/* The descriptor of this process that a file in this folder stands for, as in /dev/fd; or -1. */
static int descriptor_of(const char *folder, const char *name)
{
    static const char *const folders[] = {"/dev/fd", "/proc/self/fd"};
    size_t i;
    if (!*name || strspn(name, "0123456789") != strlen(name) || strlen(name) > 6) return -1;
    for (i = 0; i < 2; i++) {
        char *own = realpath(folders[i], NULL);
        const int is = own && strcmp(own, folder) == 0;
        free(own);
        if (is) return atoi(name);
    }
    return -1;
}

/* Follows links, also to what is not there yet, up to a descriptor of this process or a file. */
static int follow(const char *path, pending *p)
{
    const char *name = path;
    int links;
    for (links = 0; links < 40; links++) {
        const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
        const size_t length = slash ? (size_t)(slash - name) : 0;
        const size_t room = strlen(name) + PATH_MAX + 2;
        char *text = (char *)reserve(2 * room), *folder;
        ssize_t n;
        if (!text) return 0;
        snprintf(text, room, "%.*s", (int)length, name);
        folder = realpath(length ? text : slash ? "/" : ".", NULL);
        if (!folder) return fail("%s: %s", path, strerror(errno));
        if (!keep(folder)) return 0;
        p->descriptor = descriptor_of(folder, base);
        if (p->descriptor >= 0) return 1;
        snprintf(text, room, "%s/%s", folder[1] ? folder : "", base);
        p->target = text;
        if (lstat(text, &p->status) != 0) return errno == ENOENT || fail("%s: %s", path, strerror(errno));
        if (!S_ISLNK(p->status.st_mode)) {
            p->existed = 1;
            return 1;
        }
        name = text + room;
        n = snprintf(text + room, room, "%s/", folder);
        if (n < 0 || (n = readlink(text, text + room + n, room - (size_t)n - 1)) < 0)
            return fail("%s: %s", path, strerror(errno));
        text[room + strlen(folder) + 1 + (size_t)n] = 0;
        if (name[strlen(folder) + 1] == '/') name += strlen(folder) + 1; /* an absolute link */
    }
    return fail("%s: %s", path, strerror(ELOOP));
}

static int find_target(const char *path, pending *p)
{
    if (strcmp(path, "-") == 0) p->descriptor = STDOUT_FILENO;
    else if (!follow(path, p)) return 0;
    if (p->descriptor >= 0) {
        p->in_place = p->existed = 1;
        return fstat(p->descriptor, &p->status) == 0 || cannot_write(path);
    }
    if (!p->existed) return 1;
    if (S_ISDIR(p->status.st_mode)) return fail("%s: is a directory", path);
    if (access(p->target, W_OK) != 0) return fail("%s: %s", path, strerror(errno));
    p->in_place = !S_ISREG(p->status.st_mode) || p->status.st_nlink > 1;
    return 1;
}

/* A device like /dev/null takes any number of outputs. */
static int same_file(const pending *p, const pending *q)
{
    if (p->existed && q->existed)
        return p->status.st_dev == q->status.st_dev && p->status.st_ino == q->status.st_ino &&
               !S_ISCHR(p->status.st_mode);
    return p->existed == q->existed && strcmp(p->target, q->target) == 0;
}

/* Opens what is written to in place. A file gets the room for all of it before any of it changes. */
static FILE *open_in_place(const pending *p, size_t size)
{
    const int descriptor = p->descriptor >= 0 ? dup(p->descriptor) : open(p->target, O_WRONLY | O_NOCTTY);
    FILE *file = descriptor >= 0 ? fdopen(descriptor, "wb") : NULL;
    int cause = errno;
    if (!file && descriptor >= 0) close(descriptor);
#if defined(_POSIX_ADVISORY_INFO) && _POSIX_ADVISORY_INFO > 0
    if (file && p->descriptor < 0 && S_ISREG(p->status.st_mode)) {
        const int full = posix_fallocate(descriptor, 0, (off_t)size);
        if (full == ENOSPC || full == EFBIG) {
            cause = ftruncate(descriptor, p->status.st_size) == 0 ? full : errno;
            fclose(file);
            file = NULL;
        }
    }
#else
    (void)size;
#endif
    errno = cause;
    return file;
}

/* Nothing of what a file held before stays behind its new end. */
static int cut(FILE *file, const pending *p, size_t size)
{
    return p->descriptor >= 0 || !S_ISREG(p->status.st_mode) || ftruncate(fileno(file), (off_t)size) == 0;
}

#endif

/* Bytes that are read or written between two looks at the clock. */
enum { STEP = 1 << 24 };

/* --------------------------------------------------------------- reading -- */

/* Grows the buffer while reading, so that pipes work too. */
int file_read(const char *path, unsigned char **bytes, size_t *length)
{
    FILE *file = fopen(path, "rb");
    unsigned char *buffer = NULL;
    size_t size = 0, used = 0;
    double total;
    int failed = 0;
    if (!file) return fail("%s: %s", path, strerror(errno));
    total = size_of(file);
    progress_begin();
    do {
        if (used == size) {
            const size_t larger = size ? 2 * size : 65536;
            unsigned char *moved = larger > size ? (unsigned char *)realloc(buffer, larger) : NULL;
            if (!moved) {
                errno = ENOMEM;
                failed = 1;
                break;
            }
            buffer = moved;
            size = larger;
        }
        used += fread(buffer + used, 1, size - used < STEP ? size - used : STEP, file);
        failed = ferror(file);
        progress_at("attn: reading", path, (double)used, total);
    } while (!failed && !feof(file));
    progress_erase();
    if (failed) fail("%s: %s", path, strerror(errno));
    fclose(file);
    if (failed) {
        free(buffer);
        return 0;
    }
    *bytes = buffer;
    *length = used;
    return keep(buffer) != NULL;
}

/* --------------------------------------------------------------- writing -- */

/* Creates a new file in the directory of the target, so that it can be renamed over it. */
static FILE *create_beside(pending *p)
{
    const size_t size = strlen(p->target) + 64;
    size_t directory = strlen(p->target);
    char *name = (char *)reserve(size);
    FILE *file = NULL;
    unsigned attempt;
    if (!name) return NULL;
    while (directory > 0 && !is_separator(p->target[directory - 1])) directory--;
    hold_signals(1);
    for (attempt = 0; !file && attempt < 1000; attempt++) {
        snprintf(name, size, "%.*s.attn-%ld-%u.tmp", (int)directory, p->target, process_number(), attempt);
        file = create_new(name, p);
        if (!file && errno != EEXIST) break;
    }
    if (file) p->temporary = name;
    hold_signals(0);
    return file;
}

static int write_body(const file_out *out, FILE *file)
{
    size_t done = 0, n = 1;
    progress_begin();
    for (; done < out->body_size && n > 0; done += n) {
        const size_t left = out->body_size - done;
        progress_at("attn: writing", out->path, (double)done, (double)out->body_size);
        n = fwrite((const char *)out->body + done, 1, left < STEP ? left : STEP, file);
    }
    progress_erase();
    return done == out->body_size;
}

static int write_all(const file_out *out, const pending *p, FILE *file)
{
    const size_t size = out->head_size + out->body_size;
    int fine = file && fwrite(out->head, 1, out->head_size, file) == out->head_size && write_body(out, file) &&
               fflush(file) == 0 && (p->temporary ? keep_owner(file, p) : cut(file, p, size));
    if (!fine) cannot_write(out->path);
    if (file && fclose(file) != 0 && fine) fine = cannot_write(out->path);
    return fine;
}

/* Where no file can be created beside the target, it may still be writable itself. */
static int write_temporary(const file_out *out, pending *p)
{
    FILE *file = create_beside(p);
    if (!file && p->existed && (errno == EACCES || errno == EPERM || errno == EROFS)) {
        p->in_place = 1;
        return 1;
    }
    return write_all(out, p, file);
}

int files_write(const file_out *files, size_t count)
{
    pending *p = (pending *)reserve(count * sizeof *p);
    size_t i, j, renamed = 0;
    int fine = p != NULL;
    if (!fine) return 0;
    memset(p, 0, count * sizeof *p);
    for (i = 0; i < count && fine; i++) {
        p[i].descriptor = -1;
        fine = find_target(files[i].path, &p[i]);
        for (j = 0; j < i && fine; j++)
            if (same_file(&p[i], &p[j])) fine = fail("%s: is used for two outputs", files[i].path);
    }
    remove_when_killed(p, count);
    for (i = 0; i < count && fine; i++)
        if (!p[i].in_place) fine = write_temporary(&files[i], &p[i]);
    for (i = 0; i < count && fine; i++)
        if (p[i].in_place)
            fine = write_all(&files[i], &p[i], open_in_place(&p[i], files[i].head_size + files[i].body_size));
    hold_signals(1); /* all or none of what is left to do */
    for (; fine && renamed < count; renamed++) {
        if (!p[renamed].temporary) continue;
        if (!replace(p[renamed].temporary, p[renamed].target)) {
            fine = cannot_write(files[renamed].path);
            break;
        }
        p[renamed].temporary = NULL;
    }
    /* New files are removed again. Files that have already been replaced stay: they are complete. */
    for (i = 0; i < count && !fine; i++) {
        if (p[i].temporary) remove(p[i].temporary);
        p[i].temporary = NULL;
        if (i < renamed && !p[i].existed) remove(p[i].target);
    }
    remove_when_killed(NULL, 0);
    return fine;
}
