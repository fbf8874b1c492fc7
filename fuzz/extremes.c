/* SPDX-License-Identifier: MIT-0
 *
 * Everything finite, up to the largest number, in every rounding mode and with
 * denormals flushed: the output is finite and (where directed rounding hides no
 * overflow) within the range of the visible values, weights sum to 1, the floating-point environment stays as it is. In
 * the usual mode: the same bits on all paths, within the reference's bounds.
 */
#include "oracle.h"

#include <fenv.h>
#include <float.h>
#include <math.h>

static const fuzz_limits limits = {2500, FUZZ_SOME_HUGE, ATTN_DTYPE_COUNT};

/* The control register: MXCSR without its flags, FPCR. */
#if defined(__SSE__)
#include <xmmintrin.h>
#define FLUSH 0x8040u /* flush to zero, denormals are zero */
static unsigned get_control(void) { return _mm_getcsr() & 0xffc0u; }
static void set_control(unsigned control) { _mm_setcsr(control); }
#elif defined(__aarch64__)
#define FLUSH 0x1000000u
static unsigned get_control(void)
{
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    return (unsigned)control;
}
static void set_control(unsigned control)
{
    const uint64_t wide = control;
    __asm__ volatile("msr fpcr, %0" : : "r"(wide));
}
#else
#define FLUSH 0u
static unsigned get_control(void) { return 0; }
static void set_control(unsigned control) { (void)control; }
#endif

/* Does a mode change what keys and values of 8 bits are by more than they are rounded? Then nothing is promised but in
 * the usual one: a scale or zero point may be subnormal, and a number become infinite that was the largest. */
static int mode_matters(const attn_desc *d)
{
    const attn_array *const given[4] = {&d->k_scale, &d->v_scale, &d->k_zero, &d->v_zero};
    size_t at[4];
    int subnormal = 0;
    if (!fuzz_has_codes(d)) return 0;
    for (int i = 0; i < 4; i++)
        for (at[0] = 0; given[i]->ndim && at[0] < ref_length(given[i], 4); at[0]++)
            for (at[1] = 0; at[1] < ref_length(given[i], 3); at[1]++)
                for (at[2] = 0; at[2] < ref_length(given[i], 2); at[2]++)
                    for (at[3] = 0; at[3] < ref_length(given[i], 1); at[3]++)
                        subnormal |= fpclassify((float)ref_get(given[i], at[0], at[1], at[2], at[3])) == FP_SUBNORMAL;
    return subnormal || !fuzz_tame(d);
}

static attn_status run_in_mode(fuzz_case *c, attn_path path, int rounding, int flush)
{
    const attn_exec run = fuzz_shuffled(c, path, c->workers);
    const unsigned before = get_control();
    unsigned mode;
    attn_status status;
    int kept;
    fesetround(rounding);
    rounding = fegetround(); /* WebAssembly has one mode */
    if (flush) set_control(get_control() | FLUSH);
    mode = get_control();
    status = fuzz_forward(&c->desc, run);
    kept = get_control() == mode && fegetround() == rounding;
    fesetround(FE_TONEAREST);
    set_control(before);
    if (!kept) fuzz_fail(c, "%s changes the floating-point environment", attn_path_name(path));
    return status;
}

/* Range and sums with an error of one ulp, twice the usual, in each operation, and
 * all that is below the smallest normal number lost. */
static void check_row(const fuzz_case *c, size_t b, size_t h, size_t i, const char *path)
{
    const attn_desc *d = &c->desc;
    const size_t n = ref_length(&d->k, 2), kv_head = h / (ref_length(&d->q, 3) / ref_length(&d->k, 3));
    const int wide = d->q.dtype == ATTN_F64;
    const double u = wide ? 0x1p-52 : d->out.dtype == ATTN_BF16 ? 0x1p-7 : d->out.dtype == ATTN_F16 ? 0x1p-10 : 0x1p-23;
    const double slack = u * (double)(2 * n + 64), lost = (double)(n + 4) * (d->out.dtype == ATTN_F16 ? 0x1p-14
                                                                             : wide                   ? DBL_MIN
                                                                                    : (double)FLT_MIN);
    for (size_t k = 0; k < ref_length(&d->v, 1); k++) {
        const double x = (double)ref_get(&d->out, b, h, i, k);
        double low = d->sinks.ndim ? 0 : (double)INFINITY, high = -low, most;
        for (size_t j = 0; j < n; j++)
            if (ref_sees(d, b, h, i, j)) {
                const double v = (double)fuzz_value(d, b, kv_head, j, k);
                low = v < low ? v : low;
                high = v > high ? v : high;
            }
        if (low > high) /* nothing visible */
            low = high = 0;
        most = fabs(low) > fabs(high) ? fabs(low) : fabs(high);
        if ((d->out.dtype == ATTN_F16 && most > 65504) ||
            (d->out.dtype == ATTN_BF16 && most > 0x1.fep127)) /* rounds to infinity */
            continue;
        if (!isfinite(x) || x / 2 < low / 2 - most / 2 * slack - lost || x / 2 > high / 2 + most / 2 * slack + lost)
            fuzz_fail(c, "%s: out[%zu, %zu, %zu, %zu] is %a, the visible values are %a ... %a", path, b, h, i, k, x,
                      low, high);
    }
}

/* In directed rounding overflow gives the largest number: finite, but nothing else is promised. */
static void check_finite(const fuzz_case *c, size_t b, size_t h, size_t i, const char *path)
{
    const attn_desc *d = &c->desc;
    for (size_t k = 0; k < ref_length(&d->v, 1); k++)
        if (d->out.dtype == d->v.dtype && !isfinite((double)ref_get(&d->out, b, h, i, k)))
            fuzz_fail(c, "%s: out[%zu, %zu, %zu, %zu] is not finite", path, b, h, i, k);
}

static void check_mode(fuzz_case *c, int rounding, int flush)
{
    const int in_range = rounding == FE_TONEAREST || fuzz_tame(&c->desc), open = mode_matters(&c->desc);
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    for (size_t p = 0; p < num_paths; p++) {
        fuzz_poison(&c->desc);
        fuzz_expect(c, attn_path_name(paths[p]), run_in_mode(c, paths[p], rounding, flush), ATTN_OK);
        for (size_t b = 0; b < ref_length(&c->desc.q, 4); b++)
            for (size_t h = 0; h < ref_length(&c->desc.q, 3); h++)
                for (size_t i = 0; i < ref_length(&c->desc.q, 2); i++)
                    if (!open && fuzz_row_finite(&c->desc, b, h, i))
                        (in_range ? check_row : check_finite)(c, b, h, i, attn_path_name(paths[p]));
    }
}

/* The usual mode: nothing but bits and bounds. */
static void check_nearest(fuzz_case *c)
{
    attn_path paths[ATTN_PATH_COUNT];
    const size_t num_paths = test_paths(paths);
    fuzz_outputs scalar;
    for (size_t p = 0; p < num_paths; p++) {
        fuzz_poison(&c->desc);
        fuzz_expect(c, attn_path_name(paths[p]), run_in_mode(c, paths[p], FE_TONEAREST, 0), ATTN_OK);
        if (p == 0) scalar = fuzz_save(&c->desc);
        else fuzz_same_outputs(c, "extreme values", &c->desc, attn_path_name(paths[p]), &scalar, "scalar", NULL);
    }
    fuzz_check_rows(c, "extreme values", &c->desc);
    fuzz_within(c, "extreme values", ref_check(&c->desc, 1));
}

FUZZ_MUTATES

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const int roundings[4] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
    fuzz_case c;
    unsigned modes;
    fuzz_decode(&c, bytes, size, &limits);
    modes = fuzz_byte(&c.input, FUZZ_AT_MODES);
    check_nearest(&c);
    if (modes & 7) check_mode(&c, roundings[modes & 3], (modes & 4) != 0);
    fuzz_end(&c);
    return 0;
}
