/* SPDX-License-Identifier: MIT-0
 *
 * The adapter for Grand Central Dispatch in examples/: every task once, each worker in one place,
 * the same bits.
 */
#include "check/adapter.h"

#ifdef ATTN_TEST_GCD
#include "examples/gcd_parallel_for.h"
#include <unistd.h>
#endif

int main(void)
{
#ifdef ATTN_TEST_GCD
    static const test_adapter adapter = {NULL, NULL, attn_gcd_for};
    test_threads(&adapter);
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        test_skip("libdispatch works alone on one processor", "two workers at the same time");
    } else {
        test_two_at_once(&adapter);
    }
#else
    test_skip("configure did not find libdispatch for this compiler", "Grand Central Dispatch");
#endif
    return test_done();
}
