/* SPDX-License-Identifier: MIT-0
 *
 * roofline_body.h - the loops of one vector width; only roofline.c includes this, once per
 * width, with the operations defined.
 */

/* Twelve chains: more than latency times issue width on the cores we know, and few enough for
 * 16 registers. Each tends to 1 and stays a normal number. They start with different values, or
 * else the compiler would merge them into one. */
TARGET static void NAME(fma)(size_t repetitions)
{
    VECTOR a = SET(0.5f), b = SET(0.5f);
    VECTOR x0 = SET(0.10f), x1 = SET(0.11f), x2 = SET(0.12f), x3 = SET(0.13f), x4 = SET(0.14f), x5 = SET(0.15f);
    VECTOR x6 = SET(0.16f), x7 = SET(0.17f), x8 = SET(0.18f), x9 = SET(0.19f), x10 = SET(0.20f), x11 = SET(0.21f);
    for (size_t i = 0; i < repetitions; i++) {
        x0 = FMA(x0, a, b), x1 = FMA(x1, a, b), x2 = FMA(x2, a, b), x3 = FMA(x3, a, b);
        x4 = FMA(x4, a, b), x5 = FMA(x5, a, b), x6 = FMA(x6, a, b), x7 = FMA(x7, a, b);
        x8 = FMA(x8, a, b), x9 = FMA(x9, a, b), x10 = FMA(x10, a, b), x11 = FMA(x11, a, b);
    }
    x0 = FMA(x0, x1, FMA(x2, x3, FMA(x4, x5, FMA(x6, x7, FMA(x8, x9, FMA(x10, x11, b))))));
    STORE(sink, x0);
    used = sink[0];
}

/* Four lines per step: four neighbours, or one from each quarter. */
TARGET static void NAME(read)(const void *data, size_t bytes, int streams)
{
    const char *p = data;
    size_t steps = bytes / (4 * LINE), gap = streams > 1 ? steps * LINE : LINE, step = streams > 1 ? LINE : 4 * LINE;
    WORDS w0 = ZERO(), w1 = w0, w2 = w0, w3 = w0;
    for (size_t i = 0; i < steps; i++, p += step)
        for (size_t j = 0; j < LINE; j += sizeof(WORDS)) {
            w0 = OR(w0, READ(p + j)), w1 = OR(w1, READ(p + j + gap));
            w2 = OR(w2, READ(p + j + 2 * gap)), w3 = OR(w3, READ(p + j + 3 * gap));
        }
    WRITE(sink, OR(OR(w0, w1), OR(w2, w3)));
    used = sink[0];
}

/* Whole lines at a time: stores past the cache are combined by line. */
#define COPY_LOOP(write)                                                                                               \
    char *o = to;                                                                                                      \
    const char *p = from;                                                                                              \
    size_t steps = bytes / (4 * LINE), gap = streams > 1 ? steps * LINE : LINE, step = streams > 1 ? LINE : 4 * LINE;  \
    for (size_t i = 0; i < steps; i++, p += step, o += step)                                                           \
        for (size_t s = 0; s < 4; s++)                                                                                 \
            for (size_t j = s * gap; j < s * gap + LINE; j += sizeof(WORDS)) write(o + j, READ(p + j));

TARGET static void NAME(copy)(void *to, const void *from, size_t bytes, int streams){COPY_LOOP(WRITE)}

#ifdef WRITE_PAST_CACHE
TARGET static void NAME(copy_past_cache)(void *to, const void *from, size_t bytes, int streams)
{
    COPY_LOOP(WRITE_PAST_CACHE)
    _mm_sfence();
}
#define PAST_CACHE NAME(copy_past_cache)
#else
#define PAST_CACHE NULL
#endif

static const bench_loops NAME(loops) = {
    WIDTH, 12 * 2 * sizeof(VECTOR) / sizeof(float), NAME(fma), NAME(read), NAME(copy), PAST_CACHE,
};

#undef COPY_LOOP
#undef PAST_CACHE
#undef NAME
#undef WIDTH
#undef TARGET
#undef VECTOR
#undef SET
#undef FMA
#undef STORE
#undef WORDS
#undef ZERO
#undef OR
#undef READ
#undef WRITE
#undef WRITE_PAST_CACHE
