/* SPDX-License-Identifier: MIT-0
 *
 * attn_softmax along any axis of an array of up to 8 dimensions, also in place: within bounds,
 * the same bits on all paths and in any layout.
 */
#include "check/harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct problem {
    attn_array x, y;
    int axis;
} problem;

static attn_status call_softmax(const void *context, attn_exec run)
{
    const problem *p = context;
    return test_softmax(&p->x, p->axis, &p->y, run);
}

static attn_array new_array(attn_dtype type, int ndim, const size_t *shape)
{
    attn_array a = attn_array_1d(type, NULL, 0);
    size_t n = 1;
    a.ndim = ndim;
    for (int i = 0; i < ndim; i++) n *= a.shape[i] = shape[i];
    a.data = test_memory(n * attn_dtype_size(type), 0);
    return a;
}

/* Also in place, and with the axis counted from the end. */
static void try_axis(const attn_array *x, int axis, const char *name)
{
    const attn_array *outputs[1];
    problem p;
    attn_array again;
    ref_report report;
    int pass;
    p.x = *x;
    p.y = test_copy(x);
    p.axis = axis;
    outputs[0] = &p.y;
    if (!test_status(test_all_paths(call_softmax, &p, outputs, 1, &pass), ATTN_OK)) {
        test_ok(0, "%s, axis %d", name, axis);
        return;
    }
    report = ref_check_softmax(x, axis, &p.y);
    test_ok(test_within(&report) && pass, "%s, axis %d", name, axis);
    again = test_copy(x);
    pass = test_status(test_softmax(&again, axis - x->ndim, &again, test_on(ATTN_PATH_AUTO)), ATTN_OK);
    test_ok(pass && test_same(&again, &p.y), "%s, axis %d: in place", name, axis - x->ndim);
    test_poison(&again);
    pass = test_status(test_softmax(x, axis, &again, test_shuffled(ATTN_PATH_AUTO, 3)), ATTN_OK);
    test_ok(pass && test_same(&again, &p.y), "%s, axis %d: three workers", name, axis);
}

static void try_shapes(attn_dtype type)
{
    static const struct {
        int ndim;
        size_t shape[4];
    } shapes[] = {
        {1, {1, 0, 0, 0}},      {1, {17, 0, 0, 0}},    {1, {2500, 0, 0, 0}}, {2, {5, 33, 0, 0}},
        {2, {600, 3, 0, 0}},    {3, {4, 515, 5, 0}},   {4, {3, 2, 7, 9}},    {4, {1, 6, 1, 6}},
        {2, {12000, 3, 0, 0}},  {2, {3, 12000, 0, 0}}, /* several tasks */
        {2, {140000, 2, 0, 0}},                        /* slots of the tree take room from maxima of blocks */
        {1, {32768, 0, 0, 0}},                         /* the largest number of blocks whose maxima are stored */
    };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int axis = 0; axis < shapes[s].ndim; axis++) {
            attn_array x = new_array(type, shapes[s].ndim, shapes[s].shape);
            test_rng rng = {s};
            char name[64];
            test_fill_normal(&x, &rng, s % 2 ? 3 : 20);
            snprintf(name, sizeof name, "%s, shape %zu (%d-D)", attn_dtype_name(type), s, x.ndim);
            try_axis(&x, axis, name);
            test_ok(test_release(), "%s: guards", name);
        }
}

/* Eight dimensions equal three: those before the axis, the axis, those after it. */
static void try_eight_dimensions(attn_dtype type)
{
    static const size_t shape[8] = {2, 1, 3, 2, 5, 1, 2, 3};
    const size_t n = 360;
    attn_array x = new_array(type, 8, shape), y = new_array(type, 8, shape), x1 = attn_array_1d(type, x.data, n);
    test_rng rng = {8};
    test_fill_normal(&x1, &rng, 4);
    for (int axis = 0; axis < 8; axis++) {
        size_t before = 1;
        attn_array x3, y3;
        int pass;
        for (int i = 0; i < axis; i++) before *= shape[i];
        x3 = attn_array_3d(type, x.data, before, shape[axis], n / before / shape[axis]);
        y3 = test_copy(&x3);
        pass = test_status(test_softmax(&x, axis, &y, test_on(ATTN_PATH_AUTO)), ATTN_OK);
        pass = pass && test_status(test_softmax(&x3, 1, &y3, test_on(ATTN_PATH_AUTO)), ATTN_OK);
        test_ok(pass && memcmp(y.data, y3.data, n * attn_dtype_size(type)) == 0, "%s, 8-D, axis %d",
                attn_dtype_name(type), axis);
    }
    test_ok(test_release(), "%s, 8-D: guards", attn_dtype_name(type));
}

/* Transposed and reversed input and output, and with gaps. */
static void try_layouts(attn_dtype type)
{
    const attn_array x = test_2d(type, 40, 70), y = test_2d(type, 40, 70);
    test_rng rng = {4};
    test_fill_normal(&x, &rng, 3);
    for (int axis = 0; axis < 2; axis++) {
        const attn_array turned = test_2d(type, 70, 40), backwards = test_2d(type, 40, 70),
                         spread = test_2d(type, 80, 210);
        void *const memory[3] = {turned.data, backwards.data, spread.data};
        void *const to_memory = test_memory(80 * 210 * attn_dtype_size(type), 0);
        attn_array from[3], to[3];
        int pass = test_status(test_softmax(&x, axis, &y, test_on(ATTN_PATH_AUTO)), ATTN_OK);
        from[0] = attn_array_swap(turned, 0, 1);
        from[1] = backwards;
        from[1].data = ref_at(&backwards, 0, 0, 39, 69);
        from[1].stride[0] = -70;
        from[1].stride[1] = -1;
        from[2] = x;
        from[2].data = spread.data;
        from[2].stride[0] = 420;
        from[2].stride[1] = 3;
        for (int f = 0; f < 3; f++) {
            test_assign(&from[f], &x);
            to[f] = from[f];
            to[f].data = (char *)to_memory + ((char *)from[f].data - (char *)memory[f]);
            pass &= test_status(test_softmax(&from[f], axis, &to[f], test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
                    test_same(&to[f], &y);
            pass &= test_status(test_softmax(&from[f], axis, &from[f], test_on(ATTN_PATH_AUTO)), ATTN_OK) &&
                    test_same(&from[f], &y);
        }
        test_ok(pass, "%s: strided, axis %d", attn_dtype_name(type), axis);
    }
    test_ok(test_release(), "%s, strided: guards", attn_dtype_name(type));
}

/* Short lines that are evenly far apart, or only a few of them, in x and y alike or not: what each of them is alone. */
static void try_short_lines(attn_dtype type)
{
    static const struct {
        size_t rows, of, lines; /* `rows` of each `of` */
    } cuts[] = {{5, 5, 9}, {5, 6, 9}, {3, 3, 20}, {3, 4, 20}, {33, 40, 3}, {1, 2, 40}};
    static const size_t lengths[] = {1, 2, 7, 16, 17, 56, 57};
    static const char *const names[] = {"", ", backwards to where there are no gaps", ", to where there are"};
    const ptrdiff_t size = (ptrdiff_t)attn_dtype_size(type);
    for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
            for (int layout = 0; layout < 3; layout++) {
                const size_t n = lengths[l], shape[3] = {cuts[k].lines, cuts[k].of, n};
                const ptrdiff_t row = (ptrdiff_t)n, outer = row * (ptrdiff_t)cuts[k].of;
                const attn_array all = new_array(type, 3, shape), y = new_array(type, 3, shape);
                attn_array x = all, to = y, each = attn_array_1d(type, all.data, n * cuts[k].of * cuts[k].lines);
                test_rng rng = {n};
                int pass;
                test_fill_normal(&each, &rng, 5);
                each = attn_array_1d(type, y.data, n * cuts[k].of * cuts[k].lines);
                test_fill(&each, 7);
                x.shape[1] = to.shape[1] = cuts[k].rows;
                x.stride[0] = to.stride[0] = outer, x.stride[1] = to.stride[1] = row, x.stride[2] = to.stride[2] = 1;
                if (layout == 2) x.stride[0] = row * (ptrdiff_t)cuts[k].rows;
                if (layout == 1) {
                    to.stride[0] = row * (ptrdiff_t)cuts[k].rows;
                    x.data = (char *)x.data + (ptrdiff_t)(cuts[k].rows - 1) * row * size;
                    x.stride[1] = -row;
                }
                pass = test_status(test_softmax(&x, 2, &to, test_on(ATTN_PATH_AUTO)), ATTN_OK);
                for (size_t i = 0; i < cuts[k].lines && pass; i++)
                    for (size_t j = 0; j < (layout == 1 ? cuts[k].rows : cuts[k].of) && pass; j++) {
                        char *line = (char *)y.data + ((ptrdiff_t)i * to.stride[0] + (ptrdiff_t)j * row) * size;
                        attn_array alone = attn_array_2d(type, NULL, 1, n), from = alone, got = alone;
                        alone.data = test_memory(n * (size_t)size, 0);
                        got.data = line;
                        test_fill(&alone, 7); /* what is between is left alone */
                        from.data = (char *)x.data + ((ptrdiff_t)i * x.stride[0] + (ptrdiff_t)j * x.stride[1]) * size;
                        if (j < cuts[k].rows)
                            pass = test_status(test_softmax(&from, 1, &alone, test_on(ATTN_PATH_AUTO)), ATTN_OK);
                        pass = pass && test_same(&got, &alone);
                    }
                test_ok(test_release() && pass, "%s: %zu of %zu lines of %zu%s", attn_dtype_name(type), cuts[k].rows,
                        cuts[k].of, n, names[layout]);
            }
}

/* Rows with special values. */
static void try_special_rows(attn_dtype type)
{
    static const char *const names[] = {
        "magnitudes of 1e4",     "-inf among numbers", "nothing but -inf", "NaN", "+inf",
        "one number among -inf", "largest numbers"};
    enum { ROWS = sizeof names / sizeof *names, N = 530 };
    const double largest = type == ATTN_F64 ? 1.7976931348623157e308 : 3.4028234663852886e38;
    const attn_array x = test_2d(type, ROWS, N);
    attn_array columns;
    test_rng rng = {5};
    test_fill_normal(&x, &rng, 1);
    for (size_t j = 0; j < N; j++) {
        ref_set(&x, 0, 0, 0, j, 1e4 * test_normal(&rng));
        ref_set(&x, 0, 0, 2, j, -(double)INFINITY);
        ref_set(&x, 0, 0, 5, j, -(double)INFINITY);
        ref_set(&x, 0, 0, 6, j, j % 3 ? largest : -largest);
        if (j % 5) ref_set(&x, 0, 0, 1, j, -(double)INFINITY);
    }
    memset(ref_at(&x, 0, 0, 3, 200), 0xff, attn_dtype_size(type)); /* NaN, its payload full */
    ref_set(&x, 0, 0, 4, 17, (double)INFINITY);
    ref_set(&x, 0, 0, 5, 521, -3);
    for (size_t r = 0; r < ROWS; r++) {
        const attn_array row = attn_array_2d(type, ref_at(&x, 0, 0, r, 0), 1, N);
        char name[64];
        snprintf(name, sizeof name, "%s, %s", attn_dtype_name(type), names[r]);
        try_axis(&row, 1, name);
    }
    columns = attn_array_swap(x, 0, 1);
    try_axis(&x, 1, "all of these");
    try_axis(&columns, 0, "all of these as columns");
    columns = test_2d(type, 5, 64); /* wide enough to be used without a copy */
    test_fill(&columns, -(double)INFINITY);
    try_axis(&columns, 0, "columns of nothing but -inf");
    test_fill(&columns, -largest);
    try_axis(&columns, 0, "columns of the lowest number");
    columns = test_2d(type, 1,
                      33000); /* a line with a block that overflows is computed differently, and must be as accurate */
    test_fill(&columns, -1);
    ref_set(&columns, 0, 0, 0, 600, 0);
    for (size_t j = 0; j < 512; j++) ref_set(&columns, 0, 0, 0, j, -largest);
    try_axis(&columns, 1, "a block of the lowest number");
    test_ok(test_release(), "%s: guards", attn_dtype_name(type));
}

/* Lines with NaN, infinity, nothing but -inf, a block of the lowest number: others beside them have the bits that they
 * have alone, and what a line is poisoned with never leaves it. */
static void try_poisoned_lines(attn_dtype type)
{
    static const size_t lengths[] = {1, 40, 512, 1100, 33000};
    const double lowest = type == ATTN_F64 ? -1.7976931348623157e308 : -3.4028234663852886e38;
    const double poisons[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, lowest, -(double)INFINITY};
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        const size_t n = lengths[k], lines = n > 10000 ? 6 : 150;
        const attn_array x = test_2d(type, lines, n), turned = test_2d(type, n, lines), alone = test_2d(type, lines, n);
        const attn_array across = attn_array_swap(turned, 0, 1);
        attn_array y = test_copy(&x), to = test_copy(&turned);
        test_rng rng = {n};
        int pass = 1;
        test_fill_normal(&x, &rng, 3);
        for (size_t i = 1; i<lines; i += lines> 6 ? 4 : 1) {
            const size_t p = i / (lines > 6 ? 4 : 1) % 5, whole = p == 3 ? (n < 512 ? n : 512) : p == 4 ? n : 1;
            for (size_t j = 0; j < whole; j++) ref_set(&x, 0, 0, i, whole > 1 ? j : test_below(&rng, n), poisons[p]);
        }
        test_assign(&across, &x);
        for (size_t i = 0; i < lines; i++) {
            const attn_array from = attn_array_2d(type, ref_at(&x, 0, 0, i, 0), 1, n),
                             row = attn_array_2d(type, ref_at(&alone, 0, 0, i, 0), 1, n);
            pass &= test_status(test_softmax(&from, 1, &row, test_on(ATTN_PATH_SCALAR)), ATTN_OK);
        }
        pass &= test_status(test_softmax(&x, 1, &y, test_on(ATTN_PATH_AUTO)), ATTN_OK) && test_same(&y, &alone);
        test_ok(pass, "%s, poisoned lines of %zu, as they are alone", attn_dtype_name(type), n);
        pass = test_status(test_softmax(&turned, 0, &to, test_on(ATTN_PATH_AUTO)), ATTN_OK);
        to = attn_array_swap(to, 0, 1);
        test_ok(pass && test_same(&to, &alone), "%s, poisoned columns of %zu", attn_dtype_name(type), n);
        pass = test_status(test_softmax(&turned, 0, &turned, test_on(ATTN_PATH_AUTO)), ATTN_OK);
        test_ok(pass && test_same(&across, &alone), "%s, poisoned columns of %zu in place", attn_dtype_name(type), n);
        pass = test_status(test_softmax(&x, 1, &x, test_on(ATTN_PATH_AUTO)), ATTN_OK);
        test_ok(pass && test_same(&x, &alone), "%s, poisoned lines of %zu in place", attn_dtype_name(type), n);
        test_ok(test_release(), "%s, poisoned lines of %zu: guards", attn_dtype_name(type), n);
    }
}

/* x / ln 2 is so close to n + 1/2 that a bit of exp depends on whether n is found with one
 * rounding or with two. Hardly any other number shows the difference. */
static void try_reduction(void)
{
    static const float x[2] = {0, -0x1.686fc2p+4F};
    const float wanted = 0x1.6a09c8p-33F;
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t p = 0; p < num_paths; p++) {
        const attn_array a = attn_array_1d(ATTN_F32, x, 2), y = test_1d(ATTN_F32, 2);
        const int pass = test_status(test_softmax(&a, 0, &y, test_on(paths[p])), ATTN_OK);
        test_ok(pass && memcmp(ref_at(&y, 0, 0, 0, 1), &wanted, sizeof wanted) == 0, "%s: exp(%a) is %a",
                attn_path_name(paths[p]), (double)x[1], (double)wanted);
        test_release();
    }
}

int main(void)
{
    for (size_t t = 0; t < 2; t++) {
        try_shapes(test_types[t]);
        try_eight_dimensions(test_types[t]);
        try_short_lines(test_types[t]);
        try_layouts(test_types[t]);
        try_special_rows(test_types[t]);
        try_poisoned_lines(test_types[t]);
    }
    try_reduction();
    return test_done();
}
