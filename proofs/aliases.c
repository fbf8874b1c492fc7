/* SPDX-License-Identifier: MIT-0
 *
 * attn__apart and attn__overlaps_itself, run for all pairs of arrays of these, however far they are from each other:
 * elements of 1, 2 and 4 bytes, two dimensions of up to 3 with strides of -4 to 4, or three of 2 with strides of 0 to
 * 5. Of the second array of a pair strides are not negative, as only their distance counts. Two arrays are apart if and
 * only if no byte belongs to both; and one that does not overlap itself has no byte twice.
 */
#include "proof.h"

#include <string.h>

typedef unsigned __int128 bytes; /* of an array, from its first */

enum { MOST = 4096, BASE = 1 << 20 };

typedef struct sample {
    attn__view v;
    bytes mask;
} sample;

static sample first[MOST], second[MOST];

/* An array, if it is one: all of its bytes, and whether an element is where another one is. */
static size_t add(sample *samples, size_t count, attn_dtype dtype, int ndim, const size_t *shape,
                  const ptrdiff_t *stride)
{
    attn_array a;
    sample *s = samples + count;
    int twice = 0;
    memset(&a, 0, sizeof a);
    a.data = (void *)(uintptr_t)BASE;
    a.dtype = dtype;
    a.ndim = ndim;
    for (int i = 0; i < ndim; i++) a.shape[i] = shape[i], a.stride[i] = stride[i];
    if (attn__check(&a, 1, 3, ~0u, ATTN__INPUT, 0, &s->v)) return count;
    s->mask = 0;
    for (size_t i = 0; i < s->v.shape[ATTN__H]; i++)
        for (size_t j = 0; j < s->v.shape[ATTN__S]; j++)
            for (size_t k = 0; k < s->v.shape[ATTN__D]; k++) {
                const uintptr_t at = (uintptr_t)BASE + (uintptr_t)((ptrdiff_t)i * s->v.stride[ATTN__H] +
                                                                   (ptrdiff_t)j * s->v.stride[ATTN__S] +
                                                                   (ptrdiff_t)k * s->v.stride[ATTN__D]) *
                                                           (uintptr_t)s->v.size;
                PROVE(at >= s->v.low && at + (uintptr_t)s->v.size <= s->v.high, "an element within what is touched");
                for (uintptr_t byte = at - s->v.low; byte < at - s->v.low + (uintptr_t)s->v.size; byte++) {
                    twice |= (int)(s->mask >> byte & 1);
                    s->mask |= (bytes)1 << byte;
                }
            }
    PROVE(s->v.high - s->v.low <= 8 * sizeof(bytes), "all bytes fit");
    PROVE(!twice || attn__overlaps_itself(&s->v), "an element where another one is");
    return count + 1;
}

static size_t add_all(sample *samples, ptrdiff_t least, ptrdiff_t most)
{
    static const attn_dtype dtypes[] = {ATTN_BOOL, ATTN_F16, ATTN_F32};
    size_t count = 0, shape[3];
    ptrdiff_t stride[3];
    for (size_t type = 0; type < sizeof dtypes / sizeof *dtypes; type++) {
        for (shape[0] = 1; shape[0] <= 3; shape[0]++)
            for (shape[1] = 1; shape[1] <= 3; shape[1]++)
                for (stride[0] = shape[0] > 1 ? least : 0; stride[0] <= (shape[0] > 1 ? most : 0); stride[0]++)
                    for (stride[1] = shape[1] > 1 ? least : 0; stride[1] <= (shape[1] > 1 ? most : 0); stride[1]++)
                        count = add(samples, count, dtypes[type], 2, shape, stride);
        shape[0] = shape[1] = shape[2] = 2;
        for (stride[0] = 0; stride[0] <= 5; stride[0]++)
            for (stride[1] = 0; stride[1] <= stride[0]; stride[1]++)
                for (stride[2] = 0; stride[2] <= stride[1]; stride[2]++)
                    count = add(samples, count, dtypes[type], 3, shape, stride);
    }
    return count;
}

int main(void)
{
    const size_t firsts = add_all(first, -4, 4), seconds = add_all(second, 0, 4);
    unsigned long long cases = 0;
    for (size_t i = 0; i < firsts; i++)
        for (size_t j = 0; j < seconds; j++) {
            const sample *a = &first[i];
            const ptrdiff_t size = second[j].v.size;
            const ptrdiff_t before = ((ptrdiff_t)(second[j].v.high - a->v.low) / size + 1) * size;
            /* from where the second one ends before the first to where it begins behind it */
            for (ptrdiff_t by = -before; (ptrdiff_t)second[j].v.low + by <= (ptrdiff_t)a->v.high; by += size) {
                attn__view b = second[j].v;
                ptrdiff_t distance;
                bytes common;
                b.low += (uintptr_t)by, b.high += (uintptr_t)by;
                distance = (ptrdiff_t)(b.low - a->v.low);
                common = distance >= 128 || distance <= -128 ? 0
                         : distance >= 0                     ? a->mask & second[j].mask << distance
                                                             : a->mask & second[j].mask >> -distance;
                PROVE(attn__apart(&a->v, &b) == !common, "apart if and only if no byte is in both");
                PROVE(attn__apart(&b, &a->v) == !common, "the same the other way");
                cases++;
            }
        }
    printf("%zu by %zu arrays, %llu pairs\n", firsts, seconds, cases);
    return 0;
}
