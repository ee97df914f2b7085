/* Allocations that fail by countdown.
 *
 * What for: malloc(), calloc() and realloc() of a program that links memory_dep (tests/meson.build)
 * can be made to fail, so that a test can go over every allocation of a course of events:
 *
 *      for (unsigned n = 1; ; n++) {
 *          alloc_fault_after(n);
 *          ... the course of events ...
 *          if (!alloc_fault_off())
 *              break; // it has fewer than n allocations
 *      }
 *
 * Invariants: the helpers of base/mem.h, which abort, never fail and do not count. Nor do
 * allocations within a library, such as libuv. Threads: each has a countdown of its own. */
#pragma once
#include <stdbool.h>

/* The n-th allocation from now on fails, n >= 1, and no other. */
void alloc_fault_after(unsigned n);
/* None fails any more. Returns whether one has, since alloc_fault_after(). */
bool alloc_fault_off(void);
/* Between these two calls, which nest, allocations are the test's own: they do not count. */
void alloc_fault_hold(void);
void alloc_fault_release(void);
