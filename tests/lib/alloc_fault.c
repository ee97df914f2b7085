#include "tests/lib/alloc_fault.h"

#include <assert.h>
#include <stddef.h>

#include "base/mem.h"

/* The linker (--wrap) gives calls of malloc() to __wrap_malloc(), and __real_malloc() is the
 * libc's, or a sanitizer's. */
void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t n);
void *__real_mem_zalloc(size_t n);
void *__real_mem_zalloc_array(size_t count, size_t size);
void *__real_mem_grow(void *old, size_t count, size_t size);
void *__wrap_mem_zalloc(size_t n);
void *__wrap_mem_zalloc_array(size_t count, size_t size);
void *__wrap_mem_grow(void *old, size_t count, size_t size);
char *__real_mem_strdup(const char *s);
char *__real_mem_strndup(const char *s, size_t n);
char *__wrap_mem_strdup(const char *s);
char *__wrap_mem_strndup(const char *s, size_t n);

static _Thread_local struct {
    unsigned left; /* allocations until one fails; 0: none does */
    unsigned held;
    bool failed;
} fault;

void alloc_fault_after(unsigned n)
{
    assert(n > 0);
    fault.left = n;
    fault.failed = false;
}

bool alloc_fault_off(void)
{
    fault.left = 0;
    return fault.failed;
}

void alloc_fault_hold(void)
{
    fault.held++;
}

void alloc_fault_release(void)
{
    assert(fault.held > 0);
    fault.held--;
}

static bool fails(void)
{
    if (fault.held || fault.left == 0 || --fault.left > 0)
        return false;
    fault.failed = true;
    return true;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t n)
{
    return fails() ? NULL : __real_realloc(old, n);
}

void *__wrap_mem_zalloc(size_t n)
{
    alloc_fault_hold();
    void *p = __real_mem_zalloc(n);
    alloc_fault_release();
    return p;
}

void *__wrap_mem_zalloc_array(size_t count, size_t size)
{
    alloc_fault_hold();
    void *p = __real_mem_zalloc_array(count, size);
    alloc_fault_release();
    return p;
}

void *__wrap_mem_grow(void *old, size_t count, size_t size)
{
    alloc_fault_hold();
    void *p = __real_mem_grow(old, count, size);
    alloc_fault_release();
    return p;
}

char *__wrap_mem_strdup(const char *s)
{
    alloc_fault_hold();
    char *copy = __real_mem_strdup(s);
    alloc_fault_release();
    return copy;
}

char *__wrap_mem_strndup(const char *s, size_t n)
{
    alloc_fault_hold();
    char *copy = __real_mem_strndup(s, n);
    alloc_fault_release();
    return copy;
}
