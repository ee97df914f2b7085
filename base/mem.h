/* Allocations that abort the process when memory is out.
 *
 * What for: small control data (configuration, pools, handles), where there is no sensible way to
 * go on without memory and an untested error path would be worse. Never use them for a size or a
 * number that the network decides: bound such a size first, call malloc() and refuse the connection
 * if it fails.
 * Ownership: the caller frees with free(). Threads: any. */
#pragma once
#include <stddef.h>

/* What an allocation by other means returned; aborts if that is NULL. */
void *mem_check(void *p);
/* n zeroed bytes. Never NULL, not even for n 0. */
void *mem_zalloc(size_t n);
/* An array of count zeroed elements of size bytes; aborts if the product overflows. Never NULL, not
 * even for count 0. */
void *mem_zalloc_array(size_t count, size_t size);
/* realloc() to count elements of size bytes; aborts if the product overflows. Never NULL. New
 * elements are not initialised. */
void *mem_grow(void *old, size_t count, size_t size);
/* Copies that end with a NUL; mem_strndup() copies at most n bytes. */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
