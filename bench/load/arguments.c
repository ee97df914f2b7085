#include "bench/load/arguments.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/units.h"

bool arguments_count(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false; /* strtoull() would take white space and a sign */
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    *out = v;
    return errno == 0 && *end == 0 && v >= min && v <= max;
}

bool arguments_duration(const char *text, uint64_t *ns)
{
    uint64_t ms;
    if (!units_parse_duration(str_of(text), &ms) || ms < 1 || ms > 86400000)
        return false;
    *ns = ms * 1000000;
    return true;
}

/* units_parse_size() wants a unit, but a plain number of bytes is allowed here, too. */
bool arguments_size(const char *text, uint64_t max, uint64_t *out)
{
    return arguments_count(text, 0, max, out) ||
           (units_parse_size(str_of(text), out) && *out <= max);
}

bool arguments_number(const char *text, double max, double *out)
{
    char *end;
    if ((*text < '0' || *text > '9') && *text != '.')
        return false;
    errno = 0;
    *out = strtod(text, &end);
    return errno == 0 && *end == 0 && isfinite(*out) && *out > 0 && *out <= max;
}
