/* Building a JSON document out of figures.
 *
 * Documents are small control data: if memory is out, the process aborts, as in base/mem, so no
 * caller checks for it. Ownership: each function takes over the reference of the value it gets.
 * Threads: none. */
#pragma once
#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

/* The value itself; aborts if it is NULL. */
static inline json_t *document_value(json_t *value)
{
    if (value == NULL)
        abort();
    return value;
}

static inline void document_put(json_t *object, const char *key, json_t *value)
{
    assert(json_is_object(object));
    if (json_object_set_new(object, key, document_value(value)) != 0)
        abort();
}

static inline void document_push(json_t *array, json_t *value)
{
    assert(json_is_array(array));
    if (json_array_append_new(array, document_value(value)) != 0)
        abort();
}

/* A count; at most 2^63 - 1, which no count of a run reaches. */
static inline json_t *document_count(uint64_t n)
{
    assert(n <= INT64_MAX);
    return json_integer((json_int_t)n);
}
