/* SPDX-License-Identifier: MIT-0
 *
 * attn__state_check: any head of a state whose keys begin anywhere in blocks 0 to 8 and end in those at the places
 * named in `rests`; the other seven words are anything. Nothing overflows that is signed, no node is written outside of
 * the list, and what is taken has a node for each block at most, and bytes that a ptrdiff_t can count.
 */
#include "proof.h"

enum { BLOCKS = 8 };

static void prove_case(uint64_t begin, uint64_t end, size_t most)
{
    uint64_t words[sizeof(attn__state) / sizeof(uint64_t)];
    attn__state head;
    size_t rows, node_bytes, bytes;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) words[i] = any_uint64;
    words[6] = begin;
    words[7] = end;
    if (attn__state_check(words, &head, &rows, &node_bytes, &bytes)) return;
    PROVE(head.nodes <= most, "a node for each block");
    PROVE(head.dtype <= ATTN_F64, "a type that there is");
    PROVE(bytes >= sizeof head && bytes - sizeof head <= SIZE_MAX / 2, "bytes that can be counted");
}

/* What is refused before the nodes are counted, wherever the keys begin. */
static void prove_refused(void)
{
    uint64_t words[sizeof(attn__state) / sizeof(uint64_t)];
    attn__state head;
    size_t rows, node_bytes, bytes;
    attn_status status;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) words[i] = any_uint64;
    words[7] = (uint64_t)SIZE_MAX / 2 + 1;
    status = attn__state_check(words, &head, &rows, &node_bytes, &bytes);
    PROVE(status != ATTN_OK, "an end that nothing has");
    for (size_t i = 0; i < 8; i++) {
        words[7] = i;
        words[6] = i + 1;
        status = attn__state_check(words, &head, &rows, &node_bytes, &bytes);
        PROVE(status != ATTN_OK, "an end before the beginning");
    }
}

int main(void)
{
    static const size_t rests[] = {0, 1, 2, 300, 511};
    prove_refused();
    for (size_t first = 0; first <= BLOCKS; first++)
        for (size_t last = first; last <= BLOCKS; last++)
            for (size_t i = 0; i < sizeof rests / sizeof *rests; i++) {
                const uint64_t begin = first * ATTN__BLOCK, end = last * ATTN__BLOCK + rests[i];
                prove_case(begin, end, last - first + 1);
                prove_case(begin + (uint64_t)Frama_C_interval(1, ATTN__BLOCK - 1), end, last - first + 1);
            }
    return 0;
}
