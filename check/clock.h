/* SPDX-License-Identifier: MIT-0
 *
 * clock.h - the clocks of benchmarks and of the fuzzer of times, in seconds. A file that includes it defines
 * _POSIX_C_SOURCE as 200809L first.
 */
#ifndef CHECK_CLOCK_H
#define CHECK_CLOCK_H

#include <time.h>

#if defined(CLOCK_THREAD_CPUTIME_ID) && !defined(_WIN32)
static inline double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Other programs do not lengthen it. */
static inline double thread_seconds(void) { return seconds_of(CLOCK_THREAD_CPUTIME_ID); }

static inline double wall_seconds(void) { return seconds_of(CLOCK_MONOTONIC); }
#else /* coarse, but there */
static inline double thread_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }
#endif

#endif
