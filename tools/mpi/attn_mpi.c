/* SPDX-License-Identifier: MIT-0
 *
 * attn_mpi.c - attn-mpi: attn sdpa on the ranks of MPI. Each reads its rows of the .npy files and writes its rows of
 * the outputs; no rank has the whole of anything that has rows.
 *
 * A rank that fails tells so at the next `settle`, which all ranks come to, and then all end; the first of them says
 * why.
 */
#define ATTENTION_MPI_IMPLEMENTATION
#include "attention_mpi.h"

#include "check/progress.h"
#include "tools/npy.h"
#include "tools/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
const char mpi_help[] =
    "attn-mpi - attn sdpa on the ranks of MPI, with the bits of one process\n"
    "\n"
    "  mpirun -n N attn-mpi sdpa --q Q.npy --k K.npy --v V.npy -o OUT.npy [options]\n"
    "\n"
    "Each rank reads and writes its own rows of the sequence, of files in C order; no\n"
    "rank has the whole of anything that has rows.\n"
    SHAPES_HELP
    "\n"
    SEES_HELP
    SCORES_HELP
    "More outputs:\n"
    ROWS_HELP
    "Ranks:\n"
    "  --schedule auto|tree|ring|heads    what travels: states of the queries, keys and\n"
    "                   values, or whole heads (default: auto, the fewest bytes)\n"
    "  --order zigzag|contiguous    which rows a rank has: two pieces, so that the work\n"
    "                   of a causal mask is even, or one (default: zigzag)\n"
    "  --report         print what each rank sent, held and did\n"
    "  --progress       show on standard error how far the first rank is; without it only\n"
    "                   where that is a terminal, and most of mpirun put a pipe there\n"
    "Computation:\n"
    TYPE_HELP
    "  --kv-dtype f16|bf16    convert k and v to this type\n"
    RUN_HELP
    "\n"
    "On an error one rank prints one line, and no file is written.\n";
/* clang-format on */

static struct {
    attn_mpi ranks;
    attn_mpi_desc desc; /* lengths, shards, schedule */
    int zigzag, q_dims;
    const char *schedule, *order, *report, *progress;
    tensor keys; /* the first that were read, as the file has them: without data */
} job;

/* ------------------------------------------------------------- failures -- */

static char failure[16384];
static int over; /* all ranks know that one has failed */

static void keep_line(const char *line) { snprintf(failure, sizeof failure, "%s", line); }

/* Have all ranks come here without a failure? If not, the first that has failed prints why. */
static int settle(int fine)
{
    int mine = fine ? job.ranks.ranks : job.ranks.rank, first = 0;
    if (over) return 0;
    if (MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD) != MPI_SUCCESS) first = job.ranks.rank;
    if (first == job.ranks.ranks) return 1;
    over = 1;
    progress_erase();
    if (first == job.ranks.rank) fprintf(stderr, "attn: %s\n", failure);
    return 0;
}

static int fail_mpi(const char *file, int code)
{
    char text[MPI_MAX_ERROR_STRING];
    int length;
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) snprintf(text, sizeof text, "MPI error %d", code);
    return fail("%s: %s", file, text);
}

/* ---------------------------------------------------------------- files -- */

static size_t row_bytes(const attn_array *a, int axis)
{
    size_t bytes = attn_dtype_size(a->dtype);
    for (; axis + 1 < a->ndim; axis++) bytes *= a->shape[axis + 1];
    return bytes;
}

/* Reads or writes the rows along an axis that a shard has, of a file whose array has `length` of them from `offset` on.
 * Messages to MPI count in int. */
static int transfer(MPI_File file, const tensor *t, int axis, const attn_mpi_shard *s, size_t length, size_t offset,
                    int write)
{
    const size_t row = row_bytes(&t->array, axis), most = (size_t)1 << 30;
    char *at = (char *)t->array.data;
    size_t outer = 1, o, done, n;
    int i, code = MPI_SUCCESS;
    for (i = 0; i < axis; i++) outer *= t->array.shape[i];
    progress_begin();
    for (o = 0; o < outer; o++)
        for (i = 0; i < 2; i++)
            for (done = 0; done < (s->end[i] - s->begin[i]) * row && code == MPI_SUCCESS; done += n, at += n) {
                const size_t left = (s->end[i] - s->begin[i]) * row - done;
                const MPI_Offset from = (MPI_Offset)(offset + (o * length + s->begin[i]) * row + done);
                MPI_Status status;
                int count = 0;
                n = left < most ? left : most;
                progress_at(write ? "attn: writing" : "attn: reading", t->file, (double)o, (double)outer);
                code = write ? MPI_File_write_at(file, from, at, (int)n, MPI_BYTE, &status)
                             : MPI_File_read_at(file, from, at, (int)n, MPI_BYTE, &status);
                if (code == MPI_SUCCESS) code = MPI_Get_count(&status, MPI_BYTE, &count);
                if (code == MPI_SUCCESS && (size_t)count != n)
                    return fail("%s: %s of %zu bytes were %s", t->file, count < 0 ? "none" : "a part", n,
                                write ? "written" : "read");
            }
    progress_erase();
    return code == MPI_SUCCESS || fail_mpi(t->file, code);
}

/* The header of a file whose rows are in C order. */
static int read_header(MPI_File file, const char *name, npy_header *header)
{
    unsigned char begin[NPY_BEGIN];
    char error[NPY_ERROR_SIZE];
    MPI_Offset length;
    size_t have, step = 1;
    int i, code = MPI_File_get_size(file, &length);
    if (code != MPI_SUCCESS) return fail_mpi(name, code);
    have = (size_t)length < sizeof begin ? (size_t)length : sizeof begin;
    code = MPI_File_read_at(file, 0, begin, (int)have, MPI_BYTE, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS) return fail_mpi(name, code);
    if (!npy_parse_begin(begin, have, (size_t)length, header, error, sizeof error)) return fail("%s: %s", name, error);
    for (i = header->array.ndim - 1; i >= 0; step *= header->array.shape[i--])
        if (header->array.shape[i] > 1 && header->array.stride[i] != (ptrdiff_t)step)
            return fail("%s: is in Fortran order (in NumPy: numpy.ascontiguousarray(a))", name);
    return 1;
}

/* Which rows of an array this rank has, NULL: all, and how many there are. */
static const attn_mpi_shard *rows_of(const npy_header *header, sdpa_rows rows, size_t *length)
{
    const attn_array *a = &header->array;
    *length = a->ndim < 2 ? 0 : a->shape[a->ndim - 2];
    if (a->ndim < 2 || (rows == SDPA_MASK && *length == 1)) return NULL;
    if (rows == SDPA_QUERIES && !job.q_dims) { /* the queries themselves */
        job.q_dims = a->ndim;
        job.desc.q_len = *length;
        job.desc.q_shard = attn_mpi_cut(*length, 1, job.ranks.rank, job.ranks.ranks, job.zigzag);
    }
    if (rows == SDPA_KEYS && !job.keys.file) {
        job.keys.array = *a;
        job.desc.kv_len = *length;
        job.desc.kv_shard = attn_mpi_cut(*length, ATTN_MPI_BLOCK, job.ranks.rank, job.ranks.ranks, job.zigzag);
    }
    return rows == SDPA_KEYS ? &job.desc.kv_shard : &job.desc.q_shard;
}

static int load_from(MPI_File file, tensor *t, const char *name, sdpa_rows rows)
{
    npy_header header;
    tensor whole;
    size_t shape[ATTN_MAX_DIMS], length;
    const attn_mpi_shard *s;
    if (!read_header(file, name, &header)) return 0;
    s = rows_of(&header, rows, &length);
    if (!s) return tensor_load(t, name);
    whole.file = name;
    whole.array = header.array;
    if (rows == SDPA_KEYS && !job.keys.file) job.keys.file = name;
    if (rows == SDPA_KEYS && !tensor_same(&whole, -2, &job.keys, -2, "the number of keys")) return 0;
    if (rows != SDPA_KEYS && length != job.desc.q_len)
        return fail("%s: has %zu rows, but there are %zu queries", name, length, job.desc.q_len);
    if (rows == SDPA_MASK && header.array.dtype != ATTN_BOOL && !tensor_is_float(&whole)) return 0;
    memcpy(shape, header.array.shape, sizeof shape);
    shape[header.array.ndim - 2] = attn_mpi_rows(s);
    if (!tensor_new(t, name, header.array.dtype, header.array.ndim, shape) ||
        !transfer(file, t, header.array.ndim - 2, s, length, header.offset, 0))
        return 0;
    header.offset = 0;
    header.size = row_bytes(&t->array, -1);
    if (header.swapped) npy_take((unsigned char *)t->array.data, &header);
    return 1;
}

/* The options that say which rows a rank has, what travels, and who shows how far it is. */
static int words_read(void)
{
    static const char *const orders[] = {"contiguous", "zigzag"};
    const char *schedules[ATTN_MPI_SCHEDULE_COUNT];
    int i, schedule = ATTN_MPI_AUTO;
    for (i = 0; i < ATTN_MPI_SCHEDULE_COUNT; i++) schedules[i] = attn_mpi_schedule_name((attn_mpi_schedule)i);
    job.zigzag = 1;
    if (!option_word("--schedule", job.schedule, schedules, ATTN_MPI_SCHEDULE_COUNT, &schedule) ||
        !option_word("--order", job.order, orders, 2, &job.zigzag))
        return 0;
    job.desc.schedule = (attn_mpi_schedule)schedule;
    if (job.ranks.rank) progress_choose(0);
    else if (job.progress) progress_choose(1);
    return 1;
}

static int load(tensor *t, const char *name, sdpa_rows rows)
{
    MPI_File file;
    int code, fine;
    memset(t, 0, sizeof *t);
    if (!name) return 1;
    if (!job.q_dims && !words_read()) return 0; /* the first file */
    code = MPI_File_open(MPI_COMM_SELF, name, MPI_MODE_RDONLY, MPI_INFO_NULL, &file);
    if (code != MPI_SUCCESS) return fail_mpi(name, code);
    fine = load_from(file, t, name, rows);
    code = MPI_File_close(&file);
    return fine && (code == MPI_SUCCESS || fail_mpi(name, code));
}

static size_t kv_len(void) { return job.desc.kv_len; }

/* The rows of this rank, to a file that the first one makes: its header before them, and as long as all. Each opens it
 * for itself: where ranks open a file together, MPICH 4.0 hangs once in a hundred times. */
static int write_rows(tensor *t, const char *name, int first)
{
    const int axis = job.q_dims - 2; /* of rows without columns, too */
    unsigned char header[NPY_HEADER_SIZE];
    attn_array whole = t->array;
    MPI_File file;
    size_t size;
    int fine = 1, code;
    whole.shape[axis] = job.desc.q_len;
    size = npy_write_header(&whole, header);
    code = MPI_File_open(MPI_COMM_SELF, name, (first ? MPI_MODE_CREATE : 0) | MPI_MODE_WRONLY, MPI_INFO_NULL, &file);
    if (code != MPI_SUCCESS) return fail_mpi(t->file, code);
    if (first) {
        code = MPI_File_set_size(file, (MPI_Offset)(size + row_bytes(&whole, -1)));
        if (code == MPI_SUCCESS) code = MPI_File_write_at(file, 0, header, (int)size, MPI_BYTE, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS) fine = fail_mpi(t->file, code);
    } else fine = transfer(file, t, axis, &job.desc.q_shard, job.desc.q_len, size, 1);
    code = MPI_File_close(&file);
    return fine && (code == MPI_SUCCESS || fail_mpi(t->file, code));
}

/* All outputs or none: each to a file beside it, which then takes its place. */
static int save(tensor *const *outputs, size_t count)
{
    size_t i, room = 0;
    char *names;
    int fine = 1;
    for (i = 0; i < count; i++)
        if (outputs[i]->file) room = strlen(outputs[i]->file) > room ? strlen(outputs[i]->file) : room;
    room += sizeof ".attn-mpi.tmp";
    names = (char *)reserve(count * room);
    for (i = 0; i < count && fine && names; i++) {
        if (!outputs[i]->file) continue;
        if (strcmp(outputs[i]->file, "-") == 0) fine = fail("-: attn-mpi writes to files only");
        /* NumPy has no bfloat16; float32 holds it exactly. */
        else fine = outputs[i]->array.dtype != ATTN_BF16 || tensor_convert(outputs[i], ATTN_F32);
        snprintf(names + i * room, room, "%s.attn-mpi.tmp", outputs[i]->file);
    }
    if (!settle(fine && names)) return 0;
    for (i = 0; i < count && !over; i++)
        if (outputs[i]->file && settle(job.ranks.rank || write_rows(outputs[i], names + i * room, 1)))
            settle(write_rows(outputs[i], names + i * room, 0));
    for (i = 0; i < count && job.ranks.rank == 0; i++) {
        if (!outputs[i]->file) continue;
        if (over) remove(names + i * room);
        else if (fine && rename(names + i * room, outputs[i]->file) != 0)
            fine = fail("%s: cannot be written: %s", outputs[i]->file, strerror(errno));
    }
    return settle(fine);
}

/* -------------------------------------------------------------- computing -- */

static void show_progress(void *context, double done)
{
    (void)context;
    progress_at("attn: computing", "", done, 1);
}

static int print_report(const attn_mpi_report *report)
{
    const double mine[] = {(double)report->steps, (double)report->sent, (double)report->received,
                           (double)report->held,  report->computing,    report->seconds};
    enum { COLUMNS = sizeof mine / sizeof mine[0] };
    double *all = (double *)reserve((size_t)job.ranks.ranks * sizeof mine);
    int r;
    if (!settle(all != NULL) || MPI_Gather(mine, COLUMNS, MPI_DOUBLE, all, COLUMNS, MPI_DOUBLE, 0, MPI_COMM_WORLD))
        return 0;
    if (job.ranks.rank) return 1;
    printf("%s\nrank steps         sent     received         held  computing   in all\n",
           attn_mpi_schedule_name(report->schedule));
    for (r = 0; r < job.ranks.ranks; r++) {
        const double *row = all + r * COLUMNS;
        printf("%4d %5.0f %12.0f %12.0f %12.0f %8.3f s %6.3f s\n", r, row[0], row[1], row[2], row[3], row[4], row[5]);
    }
    return 1;
}

static attn_status compute(const void *arguments, const attn_exec *exec)
{
    const attn_desc *part = (const attn_desc *)arguments;
    attn_exec own = *exec;
    attn_mpi_report report;
    int status;
    if (!own.parallel_for) own.workspace = NULL;
    if (part->k_scale.ndim || part->v_scale.ndim) return ATTN_ERR_UNSUPPORTED;
    if (exec->query && !exec->parallel_for) { /* none: without a workspace messages move on, and progress is seen */
        *exec->query = 0;
        return ATTN_OK;
    }
    if (exec->query) { /* as much as all queries and keys need */
        attn_desc whole = *part;
        attn_array *const long_ones[] = {&whole.q, &whole.out, &whole.k, &whole.v};
        int i;
        for (i = 0; i < 4; i++) {
            long_ones[i]->shape[long_ones[i]->ndim - 2] = i < 2 ? job.desc.q_len : job.desc.kv_len;
            long_ones[i]->data = NULL;
            memset(long_ones[i]->stride, 0, sizeof long_ones[i]->stride);
        }
        whole.lse = whole.rowmax = whole.rowsum = whole.mask = whole.q_bounds = attn_desc_default().mask;
        whole.mask_place = ATTN_MASK_ALL;
        return attn_workspace_size(&whole, exec->num_workers ? exec->num_workers : 1, exec->query);
    }
    if (!settle(1)) return ATTN_ERR_MEMORY; /* not printed */
    job.desc.part = *part;
    if (job.ranks.rank == 0) job.desc.progress = show_progress;
    status = attn_mpi_forward(&job.ranks, &job.desc, &own, &report);
    progress_erase();
    if (!status) return job.report && !print_report(&report) ? ATTN_ERR_MEMORY : ATTN_OK;
    fail("sdpa: %s%s%s", attn_mpi_status_string(status), report.argument[0] ? ": " : "", report.argument);
    settle(0);
    return ATTN_ERR_PARAMETER;
}

static int sdpa(int argc, char **argv)
{
    const option options[] = {{"--schedule", &job.schedule},
                              {"--order", &job.order},
                              {"--report!", &job.report},
                              {"--progress!", &job.progress}};
    const sdpa_ranks by = {options, sizeof options / sizeof options[0], load, kv_len, compute, save};
    return sdpa_by(argc, argv, &by);
}

static int run_command(int argc, char **argv)
{
    int i, asked = argc == 2 && strcmp(argv[1], "--help") == 0;
    for (i = 2; i < argc; i++) asked |= strcmp(argv[i], "--help") == 0;
    if (asked) return job.ranks.rank || fputs(mpi_help, stdout) >= 0;
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return job.ranks.rank || printf("attn %s\n", attn_version()) > 0;
    if (argc < 2 || strcmp(argv[1], "sdpa") != 0) return fail("the only command is sdpa (see attn-mpi --help)");
    return sdpa(argc, argv);
}

int main(int argc, char **argv)
{
    int provided, fine;
    if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) return 2;
    if (attn_mpi_open(&job.ranks, MPI_COMM_WORLD) != ATTN_OK) return 2;
    job.desc = attn_mpi_desc_default();
    fail_line = keep_line;
    fine = run_command(argc, argv);
    fine = settle(fine);
    attn_mpi_close(&job.ranks);
    release_all();
    MPI_Finalize();
    return fine ? 0 : 2;
}
