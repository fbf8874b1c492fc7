/* SPDX-License-Identifier: MIT-0
 *
 * The adapter for the thread pool of Windows in examples/: every task once, each worker in one place,
 * the same bits.
 */
#include "check/adapter.h"

#ifdef _WIN32
#include <windows.h>
#define CreateThreadpoolWork(f, x, e) (test_may_create() ? CreateThreadpoolWork(f, x, e) : NULL)
#include "examples/windows_parallel_for.h"
#endif

int main(void)
{
#ifdef _WIN32
    static const test_adapter adapter = {NULL, NULL, attn_windows_for};
    test_threads(&adapter);
    test_two_at_once(&adapter);
    test_note("the pool cannot help");
    test_creations = 0;
    test_threads(&adapter);
#else
    test_skip("not a program for Windows", "the thread pool of Windows");
#endif
    return test_done();
}
