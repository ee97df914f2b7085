#include "bench/load/targets.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>

#include "base/mem.h"

static void add(struct targets *t, const struct addrinfo *found)
{
    struct addr a = {.len = found->ai_addrlen};
    if (t->n == TARGETS_MAX || found->ai_addrlen > ADDR_LEN_MAX)
        return;
    memcpy(&a, found->ai_addr, found->ai_addrlen);
    for (unsigned i = 0; i < t->n; i++)
        if (addr_eq(&t->at[i], &a))
            return;
    t->at[t->n++] = a;
}

/* `text` is NAME:PORT. */
static bool resolve(const char *text, struct targets *out, struct error *e)
{
    char *name = mem_strdup(text), *colon = strrchr(name, ':');
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    assert(colon); /* addr_parse() has found one */
    *colon = 0;
    int r = getaddrinfo(name, colon + 1, &hints, &found);
    for (const struct addrinfo *i = r == 0 ? found : NULL; i; i = i->ai_next)
        add(out, i);
    if (r == 0)
        freeaddrinfo(found);
    else
        error_set(e, 0, "%s: %s", name, gai_strerror(r));
    free(name);
    return r == 0;
}

bool targets_resolve(const char *text, struct targets *out, struct error *e)
{
    *out = (struct targets){0};
    switch (addr_parse(str_of(text), &out->at[0])) {
    case ADDR_OK:
        out->n = 1;
        return true;
    case ADDR_NAME:
        return resolve(text, out, e);
    case ADDR_NO_INTERFACE:
        error_set(e, 0, "%s names no interface of this host behind '%%'", text);
        return false;
    case ADDR_NOT_LOCAL:
        error_set(e, 0, "%s names an interface, which only a link-local address (fe80::/10) has",
                  text);
        return false;
    case ADDR_BAD:
    case ADDR_LONG:
        break;
    }
    error_set(e, 0, "%s is no address, allowed are HOST:PORT and [V6]:PORT", text);
    return false;
}

bool targets_try(const struct targets *t, targets_fn *start, void *arg, struct error *e)
{
    struct error before;
    assert(t->n > 0);
    for (unsigned i = 0; i < t->n; i++) {
        if (start(arg, &t->at[i], e))
            return true;
        if (e->code == EMFILE || e->code == ENFILE)
            return false;
        struct error last = *e;
        if (i > 0)
            error_set(e, last.code, "%s; %s", before.text, last.text);
        before = *e;
    }
    return false;
}
