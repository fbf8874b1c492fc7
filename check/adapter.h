/* SPDX-License-Identifier: MIT-0
 *
 * What the tests of the thread adapters in examples/ share. Link with adapter.c, beside what
 * harness.h needs.
 */
#ifndef ADAPTER_H
#define ADAPTER_H

#include "harness.h"

/* How many threads, locks and other things of the system an adapter may create from now on, if its
 * test has replaced the functions for it by ones that ask first. */
extern size_t test_creations;
int test_may_create(void);

/* start prepares that many workers and fills in the members of run for parallel_for; returns 0 if
 * it cannot. stop ends them. Where there is nothing to start or to stop both are NULL, and
 * parallel_for takes a size_t, the number of workers. */
typedef struct test_adapter {
    int (*start)(attn_exec *run, size_t workers);
    void (*stop)(void);
    attn_parallel_for parallel_for;
} test_adapter;

/* Every task runs once, no worker runs two at a time, any number of workers gives the same bits,
 * and an error is the same. */
void test_threads(const test_adapter *adapter);

/* Of an adapter that needs so many things of the system, and then one for each other worker: with
 * fewer, start fails, or there are fewer workers, who do all. */
void test_scarcity(const test_adapter *adapter, size_t needed);

/* Do two workers, each with its number, work at the same time? */
void test_two_at_once(const test_adapter *adapter);

#endif
