/* SPDX-License-Identifier: MIT-0
 *
 * attn__state_check: any head of a state whose keys end before 4096. Nothing overflows, and what is taken has no more
 * nodes than there is room for, and bytes that can be counted.
 */
#include "proof.h"

int main(void)
{
    uint64_t words[sizeof(attn__state) / sizeof(uint64_t)];
    attn__state head;
    size_t rows, node_bytes, bytes;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) words[i] = nondet_uint64();
    ASSUME(words[7] < 4096);
    if (attn__state_check(words, &head, &rows, &node_bytes, &bytes)) return 0;
    PROVE(head.nodes <= ATTN__NODES, "room for the nodes");
    PROVE((unsigned __int128)node_bytes * head.nodes + sizeof head == bytes, "the bytes of the nodes and the head");
    return 0;
}
