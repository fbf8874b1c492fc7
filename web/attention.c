/* SPDX-License-Identifier: MIT-0
 *
 * attention.c - the part of `attn` that the page runs, compiled to WebAssembly: its commands sentence, heatmap and
 * hash, with the same arguments and the same messages. Files are in the page's memory, and each command has an
 * instance of the module to itself.
 */
#include "check/progress.h"
#include "tools/npy.h"
#include "tools/tool.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------ the page's files -- */

#define FROM_PAGE(name) __attribute__((__import_module__("page"), __import_name__(#name))) name

extern int FROM_PAGE(page_size)(const char *path); /* -1: there is no such file */
extern void FROM_PAGE(page_read)(const char *path, void *bytes);
extern void FROM_PAGE(page_write)(const char *path, const void *head, size_t head_size, const void *body,
                                  size_t body_size);

int file_read(const char *path, unsigned char **bytes, size_t *length)
{
    const int size = page_size(path);
    if (size < 0) return fail("%s: there is no such file", path);
    *length = (size_t)size;
    *bytes = (unsigned char *)reserve(*length);
    if (!*bytes) return 0;
    page_read(path, *bytes);
    return 1;
}

int files_write(const file_out *files, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        page_write(files[i].path, files[i].head, files[i].head_size, files[i].body, files[i].body_size);
    return 1;
}

int output_is_terminal(void) { return 0; }

/* There is no terminal, so nobody sees progress. */
int progress_begin(void) { return 0; }
void progress_at(const char *what, const char *name, double done, double total)
{
    (void)what, (void)name, (void)done, (void)total;
}
void progress_erase(void) {}

/* --------------------------------------------- in place of tools/run.c -- */

/* The best path on the one thread that there is. */
int run(const run_options *o, const char *what, operation compute, const void *arguments)
{
    const attn_status status = compute(arguments, NULL);
    (void)o;
    return status == ATTN_OK || fail("%s: %s", what, attn_status_string(status));
}

/* ------------------------------------------------------------- commands -- */

/* Any weights that heatmap draws, as the page reads them: float32 in C order. */
static int plain_command(int argc, char **argv)
{
    const char *in = NULL, *out = NULL;
    const option options[] = {{"--weights", &in}, {"-o", &out}};
    tensor weights;
    tensor *const outputs[1] = {&weights};
    if (!options_read(argc, argv, options, sizeof options / sizeof options[0], NULL) || !tensor_load(&weights, in) ||
        !tensor_is_float(&weights) || !tensor_rank(&weights, 2, 3, "(S, T) or (H, S, T)") ||
        !tensor_pack(&weights, ATTN_F32))
        return 0;
    weights.file = out;
    return tensors_save(outputs, 1, NULL);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*function)(int argc, char **argv);
    } commands[] = {
        {"sentence", sentence_command}, {"heatmap", heatmap_command}, {"hash", hash_command}, {"plain", plain_command}};
    size_t i;
    for (i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].function(argc, argv) ? 0 : 2;
    return 2;
}
