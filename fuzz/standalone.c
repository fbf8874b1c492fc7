/* SPDX-License-Identifier: MIT-0
 *
 * A target without an engine: runs the files and folders given, or, without any,
 * pseudo-random inputs that are the same everywhere. A file NAME.seeds holds an
 * input a line, in hexadecimal; lines that begin with # are comments.
 *
 *     target [-n inputs] [-s first] [-v] [-d] [-p] [file or folder ...]
 *
 * Input number i depends on i alone: -s 4711 -n 1 repeats one. -v prints each
 * number, -d what each input means, -p writes inputs to standard output, as lines of
 * NAME.seeds, instead of running them.
 */
#include "oracle.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_BYTES = 256, MOST_PATH = 4096 };

static size_t executed;
static int prints;

static void run_bytes(const uint8_t *bytes, size_t size)
{
    if (!prints) LLVMFuzzerTestOneInput(bytes, size);
    for (size_t i = 0; prints && i < size; i++) printf("%02x%s", bytes[i], i + 1 == size ? "\n" : "");
    executed++;
}

static int digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *const at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* In memory of exactly its size, so that sanitizers notice what is read beyond it. */
static int run_line(const char *line, size_t length)
{
    uint8_t *bytes;
    size_t size = 0;
    if (length == 0 || length % 2 != 0 || !(bytes = malloc(length / 2))) return 0;
    for (; 2 * size < length; size++) {
        const int high = digit(line[2 * size]), low = digit(line[2 * size + 1]);
        if (high < 0 || low < 0) break;
        bytes[size] = (uint8_t)(high << 4 | low);
    }
    if (2 * size == length) run_bytes(bytes, size);
    free(bytes);
    return 2 * size == length;
}

static int run_lines(const char *path, const char *text, size_t size)
{
    const size_t before = executed;
    size_t number = 0;
    int fine = 1;
    for (size_t from = 0, to; from < size; from = to + 1) {
        number++;
        for (to = from; to < size && text[to] != '\n'; to++)
            ;
        if (text[from] == '#') continue;
        fprintf(stderr, "%s:%zu\n", path, number);
        if (!run_line(text + from, to - from)) {
            fprintf(stderr, "%s:%zu: not pairs of hexadecimal digits\n", path, number);
            fine = 0;
        }
    }
    if (executed == before) {
        fprintf(stderr, "%s: no inputs\n", path);
        fine = 0;
    }
    return fine;
}

static int named_seeds(const char *path)
{
    static const char end[] = ".seeds";
    const size_t length = strlen(path);
    return length >= sizeof end && strcmp(path + length - (sizeof end - 1), end) == 0;
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = NULL;
    long size = -1;
    int fine = 0;
    if (f && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0) {
        bytes = malloc(size ? (size_t)size : 1);
        fine = bytes && fread(bytes, 1, (size_t)size, f) == (size_t)size;
    }
    if (f) fclose(f);
    if (!fine) fprintf(stderr, "%s: %s\n", path, strerror(errno));
    else if (named_seeds(path)) fine = run_lines(path, (const char *)bytes, (size_t)size);
    else {
        fprintf(stderr, "%s\n", path);
        run_bytes(bytes, (size_t)size);
    }
    free(bytes);
    return fine;
}

static int run_path(const char *path)
{
    struct stat info;
    DIR *folder;
    const struct dirent *entry;
    const size_t before = executed;
    int fine = 1;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) return run_file(path);
    folder = opendir(path);
    if (!folder) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 0;
    }
    for (errno = 0; (entry = readdir(folder)) != NULL; errno = 0) {
        char name[MOST_PATH];
        if (entry->d_name[0] == '.') continue;
        if (snprintf(name, sizeof name, "%s/%s", path, entry->d_name) >= (int)sizeof name) {
            fprintf(stderr, "%s: name too long\n", path);
            fine = 0;
        } else fine &= run_path(name);
    }
    if (errno || executed == before) {
        fprintf(stderr, "%s: %s\n", path, errno ? strerror(errno) : "no inputs");
        fine = 0;
    }
    closedir(folder);
    return fine;
}

/* Half of the bytes small: plain problems are the ones most found. */
static size_t random_input(uint64_t number, uint8_t bytes[MOST_BYTES])
{
    test_rng rng;
    size_t size;
    rng.state = number * 0x9e3779b97f4a7c15u;
    size = 30 + test_below(&rng, 50);
    for (size_t i = 0; i < size; i++) {
        const uint64_t random = test_u64(&rng);
        bytes[i] = (uint8_t)(random & 256 ? random : random & 512 ? random & 15 : 0);
    }
    return size;
}

int main(int argc, char **argv)
{
    uint64_t first = 0, count = 1000;
    int fine = 1, paths = 0, verbose = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-n") == 0 && i + 1 < argc) {
            count = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "-s") == 0 && i + 1 < argc) {
            first = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "-p") == 0) {
            prints = 1;
        } else if (strcmp(argv[i], "-d") == 0) {
            fuzz_shows = 1;
        } else if (strcmp(argv[i], "-v") == 0) {
            verbose = 1;
        } else {
            fine &= run_path(argv[i]);
            paths++;
        }
    }
    for (uint64_t i = first; paths == 0 && i < first + count; i++) {
        uint8_t bytes[MOST_BYTES];
        const size_t size = random_input(i, bytes);
        if (verbose) fprintf(stderr, "#%llu\n", (unsigned long long)i);
        run_bytes(bytes, size);
    }
    fprintf(stderr, "%zu inputs, largest error/bound %.3f\n", executed, fuzz_largest_ratio());
    return !fine;
}
