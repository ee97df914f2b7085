#include "bench/report/stored.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The type of a member. A NUMBER is finite, as JSON knows no other, and a COUNT is an integer. */
enum shape { TEXT, NUMBER, COUNT, OBJECT, ARRAY };

static const char *const shape_names[] = {
    [TEXT] = "a string",
    [NUMBER] = "a number of 0 or more",
    [COUNT] = "an integer of 0 or more",
    [OBJECT] = "an object",
    [ARRAY] = "an array",
};

struct member {
    const char *name;
    enum shape shape;
    bool or_null;
};

static const struct member every_kind[] = {
    {"ringbench", TEXT, false},  {"target", TEXT, false},        {"options", OBJECT, false},
    {"seconds", NUMBER, false},  {"cpu_seconds", NUMBER, false}, {"bytes_in", COUNT, false},
    {"bytes_out", COUNT, false}, {"failed", COUNT, false},       {"errors", OBJECT, false},
    {"timeline", OBJECT, false},
};

static const struct member of_requests[] = {
    {"sent", COUNT, false},
    {"answered", COUNT, false},
    {"requests_per_second", NUMBER, false},
    {"requests_per_cpu_second", NUMBER, true},
    {"statuses", OBJECT, false},
    {"latency_us", OBJECT, true},
    {"histogram", ARRAY, false},
    {"backends", ARRAY, false},
    {"balance", NUMBER, true},
    {"keys", OBJECT, true},
    {"moves", ARRAY, false},
};

static const struct member of_bulk[] = {
    {"mib_per_second", NUMBER, false},
    {"mib_per_cpu_second", NUMBER, true},
};

static const struct member of_ring[] = {
    {"version", TEXT, false},
    {"keys", COUNT, false},
    {"rounds", COUNT, false},
    {"rings", ARRAY, false},
};

static const struct member of_one_ring[] = {
    {"layout", TEXT, false},       {"backends", COUNT, false}, {"vnodes", COUNT, true},
    {"find_ns", NUMBER, false},    {"shares", TEXT, false},    {"share_max", NUMBER, false},
    {"moved", NUMBER, false},      {"least", NUMBER, false},   {"added_moved", NUMBER, true},
    {"added_least", NUMBER, true},
};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static bool has_shape(const json_t *v, enum shape shape)
{
    switch (shape) {
    case TEXT:
        return json_is_string(v);
    case NUMBER:
        return json_is_number(v) && json_number_value(v) >= 0;
    case COUNT:
        return json_is_integer(v) && json_integer_value(v) >= 0;
    case OBJECT:
        return json_is_object(v);
    case ARRAY:
        return json_is_array(v);
    }
    return false;
}

static bool check_members(const json_t *o, const struct member *m, size_t n, struct error *e)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_object_get(o, m[i].name);
        if (has_shape(v, m[i].shape) || (json_is_null(v) && m[i].or_null))
            continue;
        error_set(e, 0, v ? "%s: not %s" : "%s is missing, %s", m[i].name, shape_names[m[i].shape]);
        return false;
    }
    return true;
}

/* Checks all values of an object whose names are not fixed, such as {"200": 99}. */
static bool check_values(const json_t *result, const char *name, enum shape shape, struct error *e)
{
    json_t *o = json_object_get(result, name), *v;
    const char *key;
    json_object_foreach(o, key, v)
    {
        if (has_shape(v, shape))
            continue;
        error_set(e, 0, "%s: a value is not %s", name, shape_names[shape]);
        return false;
    }
    return true;
}

static bool check_histogram(const json_t *h, struct error *e)
{
    double last = -1;
    json_int_t sum = 0;
    size_t i;
    json_t *pair;
    json_array_foreach(h, i, pair)
    {
        const json_t *bound = json_array_get(pair, 0), *count = json_array_get(pair, 1);
        if (json_array_size(pair) != 2 || !has_shape(bound, NUMBER) || !has_shape(count, COUNT)) {
            error_set(e, 0, "histogram[%zu]: not a pair of a number and a count", i);
            return false;
        }
        if (json_number_value(bound) <= last) {
            error_set(e, 0, "histogram[%zu]: bounds do not ascend", i);
            return false;
        }
        /* Readers sum the counts up without a check of their own. */
        if (__builtin_add_overflow(sum, json_integer_value(count), &sum)) {
            error_set(e, 0, "histogram[%zu]: more answers than can be counted", i);
            return false;
        }
        last = json_number_value(bound);
    }
    return true;
}

/* Only what readers rely on: a newer ringbench may write more. */
static bool check_requests(const json_t *r, struct error *e)
{
    return check_members(r, of_requests, COUNT_OF(of_requests), e) &&
           check_values(r, "statuses", COUNT, e) && check_values(r, "latency_us", NUMBER, e) &&
           check_values(r, "keys", COUNT, e) && check_histogram(json_object_get(r, "histogram"), e);
}

static bool check_timeline(const json_t *t, struct error *e)
{
    const json_t *interval = json_object_get(t, "interval_s");
    if (json_is_number(interval) && json_number_value(interval) > 0)
        return true;
    error_set(e, 0, "timeline.interval_s: not a number above 0");
    return false;
}

static bool check_ring(const json_t *r, struct error *e)
{
    size_t i;
    json_t *ring;
    if (!check_members(r, of_ring, COUNT_OF(of_ring), e))
        return false;
    json_array_foreach(json_object_get(r, "rings"), i, ring)
    {
        if (check_members(ring, of_one_ring, COUNT_OF(of_one_ring), e))
            continue;
        error_prefix(e, "rings[%zu]", i);
        return false;
    }
    return true;
}

static bool check(const json_t *r, struct error *e)
{
    if (stored_is_ring(r))
        return check_ring(r, e);
    /* First of all: in another program's file every further message would mislead. */
    if (!json_is_object(r) || !json_object_get(r, "ringbench")) {
        error_set(e, 0, "not a result of ringbench");
        return false;
    }
    if (!check_members(r, every_kind, COUNT_OF(every_kind), e) ||
        !check_values(r, "errors", COUNT, e) || !check_timeline(json_object_get(r, "timeline"), e))
        return false;
    if (stored_kind(r) == NULL) {
        error_set(e, 0, "kind: neither http nor tcp in mode ping-pong or bulk");
        return false;
    }
    return stored_is_bulk(r) ? check_members(r, of_bulk, COUNT_OF(of_bulk), e)
                             : check_requests(r, e);
}

static const char *text_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : "";
}

/* `ringbench ring` writes "version" where a load's result has "ringbench", and no "kind". */
bool stored_is_ring(const json_t *result)
{
    return json_object_get(result, "ringbench") == NULL &&
           json_is_array(json_object_get(result, "rings"));
}

const char *stored_kind(const json_t *result)
{
    if (stored_is_ring(result))
        return "ring";
    const char *kind = text_of(result, "kind");
    const char *mode = text_of(json_object_get(result, "options"), "mode");
    if (strcmp(kind, "http") == 0)
        return "http";
    if (strcmp(kind, "tcp") != 0)
        return NULL;
    if (strcmp(mode, "ping-pong") == 0)
        return "tcp ping-pong";
    return strcmp(mode, "bulk") == 0 ? "tcp bulk" : NULL;
}

bool stored_comparable(const char *file_a, const json_t *a, const char *file_b, const json_t *b,
                       struct error *e)
{
    if (strcmp(stored_kind(a), stored_kind(b)) == 0)
        return true;
    error_set(e, 0, "%s: a result of kind %s, but %s is of kind %s", file_b, stored_kind(b), file_a,
              stored_kind(a));
    return false;
}

bool stored_is_bulk(const json_t *result)
{
    const char *kind = stored_kind(result);
    return kind && strcmp(kind, "tcp bulk") == 0;
}

double stored_refused(const json_t *result)
{
    json_t *statuses = json_object_get(result, "statuses"), *count;
    const char *status;
    double sum = 0;
    json_object_foreach(statuses, status, count)
    {
        if (strtol(status, NULL, 10) >= 400)
            sum += (double)json_integer_value(count);
    }
    return sum;
}

/* jansson takes a failed read for the end of the file, so ferror() is asked, too. */
static json_t *parse(const char *path, FILE *f, struct error *e)
{
    json_error_t why;
    json_t *r = json_loadf(f, JSON_REJECT_DUPLICATES, &why);
    if (ferror(f))
        error_errno(e, errno, "%s", path);
    else if (r == NULL)
        error_set(e, 0, "%s:%d:%d: not JSON: %s", path, why.line, why.column, why.text);
    else
        return r;
    json_decref(r);
    return NULL;
}

json_t *stored_load(const char *path, struct error *e)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        error_errno(e, errno, "%s", path);
        return NULL;
    }
    json_t *r = parse(path, f, e);
    fclose(f);                    /* no error: the file was only read */
    if (r == NULL || check(r, e)) /* the error of parse() names the file already */
        return r;
    error_prefix(e, "%s", path);
    json_decref(r);
    return NULL;
}
