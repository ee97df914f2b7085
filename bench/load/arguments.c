#include "bench/load/arguments.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <stdlib.h>

#include "base/mem.h"
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

/* `text` is NAME:PORT. */
static bool resolve(const char *text, struct addr *out, struct error *e)
{
    char *name = mem_strdup(text), *colon = strrchr(name, ':');
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    assert(colon); /* addr_parse() has found one */
    *colon = 0;
    int r = getaddrinfo(name, colon + 1, &hints, &found);
    if (r == 0) {
        memset(out, 0, sizeof *out);
        memcpy(&out->sa, found->ai_addr, found->ai_addrlen);
        out->len = found->ai_addrlen;
        freeaddrinfo(found);
    } else {
        error_set(e, 0, "%s: %s", name, gai_strerror(r));
    }
    free(name);
    return r == 0;
}

bool arguments_address(const char *text, struct addr *out, struct error *e)
{
    switch (addr_parse(str_of(text), out)) {
    case ADDR_OK:
        return true;
    case ADDR_NAME:
        return resolve(text, out, e);
    case ADDR_BAD:
    case ADDR_LONG:
    case ADDR_NO_INTERFACE:
    case ADDR_NOT_LOCAL:
        break;
    }
    error_set(e, 0, "%s is no address, allowed are HOST:PORT and [V6]:PORT", text);
    return false;
}
