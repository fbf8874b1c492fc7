/* SPDX-License-Identifier: MIT-0
 *
 * files.c - reads a whole file; writes several files, all or none. The first part is what
 * depends on the operating system.
 */
#ifndef _WIN32
#define _XOPEN_SOURCE 700 /* POSIX 2008 with realpath */
#endif

#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---------------------------------------------------------------- system -- */

#ifdef _WIN32

#include <io.h>
#include <process.h>
#include <windows.h>

static long process_number(void) { return (long)_getpid(); }

static int is_separator(char c) { return c == '/' || c == '\\' || c == ':'; }

/* Creates a file. Fails with NULL and errno if it exists. */
static FILE *create_new(const char *name)
{
    const int descriptor = _open(name, _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY, _S_IREAD | _S_IWRITE);
    FILE *file;
    if (descriptor < 0) return NULL;
    file = _fdopen(descriptor, "wb");
    if (!file) {
        _close(descriptor);
        remove(name);
    }
    return file;
}

static int replace(const char *from, const char *to)
{
    if (MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING)) return 1;
    errno = GetLastError() == ERROR_ACCESS_DENIED ? EACCES : EIO;
    return 0;
}

/* The file that a write to `path` will replace or create. */
static const char *find_target(const char *path, int *exists)
{
    const DWORD attributes = GetFileAttributesA(path);
    *exists = attributes != INVALID_FILE_ATTRIBUTES;
    if (*exists && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
        fail("%s: is a directory", path);
        return NULL;
    }
    return path;
}

#else

#include <unistd.h>

static long process_number(void) { return (long)getpid(); }

static int is_separator(char c) { return c == '/'; }

/* Creates a file. Fails with NULL and errno if it exists. */
static FILE *create_new(const char *name)
{
    const int descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL, 0666);
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

static int replace(const char *from, const char *to) { return rename(from, to) == 0; }

/* The file that a write to `path` will replace or create. Links are followed. Devices are
 * refused, since renaming a file over one would destroy it. */
static const char *find_target(const char *path, int *exists)
{
    const char *target = path;
    struct stat status;
    *exists = lstat(path, &status) == 0;
    if (!*exists && errno == ENOENT) return path;
    if (*exists && S_ISLNK(status.st_mode)) {
        char *resolved = realpath(path, NULL);
        if (resolved && !keep(resolved)) return NULL;
        target = resolved;
    }
    if (!*exists || !target || stat(target, &status) != 0) fail("%s: %s", path, strerror(errno));
    else if (S_ISDIR(status.st_mode)) fail("%s: is a directory", path);
    else if (!S_ISREG(status.st_mode)) fail("%s: is not a regular file", path);
    else if (access(target, W_OK) != 0) fail("%s: %s", path, strerror(errno));
    else return target;
    return NULL;
}

#endif

/* --------------------------------------------------------------- reading -- */

/* Grows the buffer while reading, so that pipes work too. */
int file_read(const char *path, unsigned char **bytes, size_t *length)
{
    FILE *file = fopen(path, "rb");
    unsigned char *buffer = NULL;
    size_t size = 0, used = 0;
    int failed = 0;
    if (!file) return fail("%s: %s", path, strerror(errno));
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
        used += fread(buffer + used, 1, size - used, file);
        failed = ferror(file);
    } while (!failed && !feof(file));
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

typedef struct pending {
    const char *target;
    char *temporary; /* NULL: none left to rename or remove */
    int existed;
} pending;

static int cannot_write(const char *path) { return fail("%s: cannot be written: %s", path, strerror(errno)); }

/* Creates a new file in the directory of the target, so that it can be renamed over it. */
static FILE *create_beside(const file_out *out, pending *p)
{
    const size_t size = strlen(p->target) + 64;
    size_t directory = strlen(p->target);
    char *name = (char *)reserve(size);
    FILE *file = NULL;
    unsigned attempt;
    if (!name) return NULL;
    while (directory > 0 && !is_separator(p->target[directory - 1])) directory--;
    for (attempt = 0; !file && attempt < 1000; attempt++) {
        snprintf(name, size, "%.*s.attn-%ld-%u.tmp", (int)directory, p->target, process_number(), attempt);
        file = create_new(name);
        if (!file && errno != EEXIST) break;
    }
    if (file) p->temporary = name;
    else cannot_write(out->path);
    return file;
}

static int write_temporary(const file_out *out, pending *p)
{
    FILE *file;
    int fine;
    p->target = find_target(out->path, &p->existed);
    if (!p->target) return 0;
    file = create_beside(out, p);
    if (!file) return 0;
    fine = fwrite(out->head, 1, out->head_size, file) == out->head_size &&
           fwrite(out->body, 1, out->body_size, file) == out->body_size && fflush(file) == 0;
    if (!fine) cannot_write(out->path);
    if (fclose(file) != 0 && fine) fine = cannot_write(out->path);
    return fine;
}

int files_write(const file_out *files, size_t count)
{
    pending *p = (pending *)reserve(count * sizeof *p);
    size_t i, j, renamed = 0;
    int fine = p != NULL;
    if (!fine) return 0;
    memset(p, 0, count * sizeof *p);
    for (i = 0; i < count && fine; i++) {
        fine = write_temporary(&files[i], &p[i]);
        for (j = 0; j < i && fine; j++)
            if (strcmp(p[i].target, p[j].target) == 0) fine = fail("%s: is used for two outputs", files[i].path);
    }
    for (; fine && renamed < count; renamed++) {
        if (!replace(p[renamed].temporary, p[renamed].target)) {
            fine = cannot_write(files[renamed].path);
            break;
        }
        p[renamed].temporary = NULL;
    }
    if (fine) return 1;
    /* New files are removed again. Files that have already been replaced stay: they are complete. */
    for (i = 0; i < count; i++) {
        if (p[i].temporary) remove(p[i].temporary);
        if (i < renamed && !p[i].existed) remove(p[i].target);
    }
    return 0;
}
