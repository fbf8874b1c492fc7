/* SPDX-License-Identifier: MIT-0
 *
 * peer_softmax.c - what a good C programmer writes by hand: plain loops, left
 * to the compiler. Build with -O3 -ffast-math (clang: also -fveclib=libmvec), so
 * that expf becomes libmvec's; the loops are compiled for 512 and 256 bits too.
 */
#ifndef __FAST_MATH__
#error "without -ffast-math these loops run at an eighth of their speed"
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3") /* even where a user's -O2 comes last */
#endif

#include "bench.h"

#include <float.h>
#include <math.h>

#if defined(__x86_64__)
#if defined(__clang__)
#define PREFER_512
#else
#define PREFER_512 ",prefer-vector-width=512"
#endif
#define NAME(f) f##_512
#define TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma" PREFER_512)))
#include "peer_softmax_body.h"

#define NAME(f) f##_256
#define TARGET __attribute__((target("avx2,fma")))
#include "peer_softmax_body.h"
#endif

#define NAME(f) f##_128
#define TARGET
#include "peer_softmax_body.h"

const peer_loops *bench_peer_loops(int width)
{
#if defined(__x86_64__)
    if (width == 512) return &loops_512;
    if (width == 256) return &loops_256;
#endif
    (void)width;
    return &loops_128;
}
