/* SPDX-License-Identifier: MIT-0
 *
 * examples/vit.c computes the same bits on every path, and on every machine of one arithmetic.
 */
#include "check/harness.h"

#define ATTN__IMPLEMENTED /* elsewhere, with the paths of other machines */
#define main vit_main
#include "examples/vit.c"
#undef main

int main(void)
{
    static const uint64_t known[2][2] = {{0x6a5ab76272524201u, 0xd657d4b1a943c527u},  /* fused: float32, bfloat16 */
                                         {0x798aec2d739c2279u, 0xc34b22c478c407aau}}; /* unfused */
    const int unfused = strcmp(attn_arithmetic(), "unfused") == 0;
    static float first[HEADS][TOKENS];
    attn_path paths[ATTN_PATH_COUNT];
    const size_t count = test_paths(paths);
    make_weights();
    for (int bfloat16 = 0; bfloat16 < 2; bfloat16++)
        for (size_t p = 0; p < count; p++) {
            const attn_exec run = test_on(paths[p]);
            uint64_t sum;
            block(bfloat16, &run);
            sum = checksum(out[bfloat16], TOKENS * DIM);
            if (!test_ok(sum == known[unfused][bfloat16], "%s, %s: the output", names[bfloat16],
                         attn_path_name(paths[p])))
                test_note("checksum %016llx", (unsigned long long)sum);
            if (p == 0) memcpy(first, looks[bfloat16], sizeof first);
            test_ok(memcmp(first, looks[bfloat16], sizeof first) == 0, "%s, %s: the weights", names[bfloat16],
                    attn_path_name(paths[p]));
        }
    return test_done();
}
