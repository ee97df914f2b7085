/* Small allocations of control data: they abort the process when memory is out.
 *
 * Never for a size that the network chooses: such a size is bounded first, and the failure of
 * plain malloc() is handled by refusing the connection. */
#pragma once
#include <stddef.h>

/* n zeroed bytes; never NULL. The caller frees with free(). */
void *mem_zalloc(size_t n);
/* An array of count zeroed elements, overflow checked; count 0 gives a pointer that can be freed.
 */
void *mem_zalloc_array(size_t count, size_t size);
/* realloc() to count elements, overflow checked; never NULL. */
void *mem_grow(void *old, size_t count, size_t size);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
