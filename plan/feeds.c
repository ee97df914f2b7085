/* A listener is the one of the same name, or else at the same address. A route of a listener is the
 * first one with the same conditions: further ones with these never match. */
#include "plan/feeds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "plan/texts.h"

static const struct config_listener *find_listener(const struct config *c,
                                                   const struct config_listener *like)
{
    for (size_t i = 0; i < c->nlisteners; i++)
        if (strcmp(c->listeners[i].name, like->name) == 0)
            return &c->listeners[i];
    for (size_t i = 0; i < c->nlisteners; i++)
        if (addr_eq(&c->listeners[i].listen, &like->listen))
            return &c->listeners[i];
    return NULL;
}

/* ---- routes ---- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool has_method(const struct config_route *r, const char *method)
{
    for (size_t i = 0; i < r->nmethods; i++)
        if (strcmp(r->methods[i], method) == 0)
            return true;
    return false;
}

static bool same_methods(const struct config_route *a, const struct config_route *b)
{
    if ((a->nmethods == 0) != (b->nmethods == 0))
        return false;
    for (size_t i = 0; i < a->nmethods; i++)
        if (!has_method(b, a->methods[i]))
            return false;
    for (size_t i = 0; i < b->nmethods; i++)
        if (!has_method(a, b->methods[i]))
            return false;
    return true;
}

static bool same_conditions(const struct config_route *a, const struct config_route *b)
{
    return same_text(a->host, b->host) && same_text(a->path, b->path) &&
           a->path_exact == b->path_exact && same_text(a->sni, b->sni) && same_methods(a, b);
}

static const struct config_route *find_route(const struct config_listener *l,
                                             const struct config_route *like)
{
    for (size_t i = 0; i < l->nroutes; i++)
        if (same_conditions(&l->routes[i], like))
            return &l->routes[i];
    return NULL;
}

static char *route_text(const struct config_route *r)
{
    char *text = NULL;
    size_t n;
    FILE *f = mem_check(open_memstream(&text, &n));
    if (r->host)
        fprintf(f, " host %s", r->host);
    if (r->sni)
        fprintf(f, " sni %s", r->sni);
    if (r->path)
        fprintf(f, " path %s%s", r->path_exact ? "=" : "", r->path);
    for (size_t i = 0; i < r->nmethods; i++)
        fprintf(f, "%s%s", i ? "," : " methods ", r->methods[i]);
    if (fclose(f) != 0)
        mem_check(NULL);
    if (text[0] == ' ')
        memmove(text, text + 1, strlen(text));
    return text;
}

static void add_route(struct plan *p, const struct config_listener *l, const struct config_route *r,
                      const char *from, const char *to)
{
    p->routes = mem_grow(p->routes, p->nroutes + 1, sizeof *p->routes);
    p->routes[p->nroutes++] = (struct plan_route){l->name, route_text(r), from, to};
}

/* ---- keys ---- */

/* Names of header fields have no case. */
static bool same_part(const struct config_key_part *a, const struct config_key_part *b)
{
    if (a->kind != b->kind || (a->name == NULL) != (b->name == NULL))
        return false;
    if (a->name == NULL)
        return true;
    struct str x = {a->name, a->name_len}, y = {b->name, b->name_len};
    return a->kind == KEY_HEADER ? str_eq_nocase(x, y) : str_eq(x, y);
}

static bool same_key(const struct config_key *a, const struct config_key *b)
{
    if (a->nparts != b->nparts)
        return false;
    for (size_t i = 0; i < a->nparts; i++)
        if (!same_part(&a->parts[i], &b->parts[i]))
            return false;
    return true;
}

static bool same_keys(const struct config_route *a, const struct config_route *b)
{
    if (a->nkeys != b->nkeys)
        return false;
    for (size_t i = 0; i < a->nkeys; i++)
        if (!same_key(&a->keys[i], &b->keys[i]))
            return false;
    return true;
}

/* As in the file; the caller frees. */
static char *keys_text(const struct config_route *r)
{
    char *text = NULL;
    size_t n;
    FILE *f = mem_check(open_memstream(&text, &n));
    fputc('[', f);
    for (size_t i = 0; i < r->nkeys; i++)
        for (size_t k = 0; k < r->keys[i].nparts; k++) {
            const struct config_key_part *part = &r->keys[i].parts[k];
            fprintf(f, "%s%s%s%s",
                    k   ? "+"
                    : i ? ", "
                        : "",
                    config_key_word(part->kind), part->name ? ":" : "",
                    part->name ? part->name : "");
        }
    fputc(']', f);
    if (fclose(f) != 0)
        mem_check(NULL);
    return text;
}

static bool takes(const struct config_route *r, enum config_key_kind kind)
{
    for (size_t i = 0; i < r->nkeys; i++)
        for (size_t k = 0; k < r->keys[i].nparts; k++)
            if (r->keys[i].parts[k].kind == kind)
                return true;
    return false;
}

static bool same_networks(const struct config_listener *a, const struct config_listener *b)
{
    if (a->ntrusted_proxies != b->ntrusted_proxies)
        return false;
    for (size_t i = 0; i < a->ntrusted_proxies; i++) {
        const struct network *x = &a->trusted_proxies[i], *y = &b->trusted_proxies[i];
        if (x->family != y->family || memcmp(x->first, y->first, sizeof x->first) != 0 ||
            memcmp(x->last, y->last, sizeof x->last) != 0)
            return false;
    }
    return true;
}

/* ---- comparing ---- */

/* A route, with the listener that has it. */
struct feed {
    const struct config_listener *listener;
    const struct config_route *route;
};

static void compare_keys(const struct feed *before, const struct feed *after, struct plan_pool *p)
{
    const struct config_listener *l = after->listener;
    char *route = route_text(after->route);
    const char *of = route[0] ? ", route " : "";
    if (before->listener->mode != l->mode)
        texts_add(&p->why, "mode of listener %s has changed", l->name);
    if (!same_keys(before->route, after->route)) {
        char *was = keys_text(before->route), *is = keys_text(after->route);
        texts_add(&p->why, "key of listener %s%s%s: was %s, is %s", l->name, of, route, was, is);
        free(was);
        free(is);
    }
    bool client = takes(after->route, KEY_CLIENT_IP);
    if (before->listener->accept_head != l->accept_head &&
        (client || takes(after->route, KEY_SOURCE_IP)))
        texts_add(&p->why,
                  "proxy_protocol of listener %s has changed, from which source_ip and client_ip "
                  "are taken",
                  l->name);
    if (client && !same_networks(before->listener, l))
        texts_add(&p->notes,
                  "trusted_proxies of listener %s have changed: keys of client_ip may be others",
                  l->name);
    free(route);
}

static struct plan_pool *find_pool(struct plan *p, const char *name)
{
    for (size_t i = 0; i < p->npools; i++)
        if (strcmp(p->pools[i].name, name) == 0)
            return &p->pools[i];
    return NULL;
}

/* One listener that both have: what was and is at each route. */
static void compare_listener(const struct config *before, const struct config_listener *was,
                             const struct config *after, const struct config_listener *is,
                             struct plan *p)
{
    const struct config_route *last = NULL;
    bool ordered = true;
    for (const struct config_route *r = is->routes; r < is->routes + is->nroutes; r++) {
        const struct config_route *old = find_route(was, r);
        const char *to = after->pools[r->pool].name;
        if (find_route(is, r) != r)
            continue;
        if (old == NULL) {
            add_route(p, is, r, NULL, to);
            continue;
        }
        ordered = ordered && (last == NULL || last < old);
        last = old;
        const char *from = before->pools[old->pool].name;
        struct feed a = {was, old}, b = {is, r};
        if (strcmp(from, to) == 0)
            compare_keys(&a, &b, find_pool(p, to));
        else
            add_route(p, is, r, from, to);
    }
    if (!ordered)
        texts_add(&p->notes,
                  "listener %s: its routes have another order, so a request may match another one",
                  is->name);
}

void feeds_compare(const struct config *before, const struct config *after, struct plan *p)
{
    for (size_t i = 0; i < after->nlisteners; i++) {
        const struct config_listener *l = &after->listeners[i], *was = find_listener(before, l);
        if (was)
            compare_listener(before, was, after, l, p);
        for (size_t k = 0; k < l->nroutes && was == NULL; k++)
            add_route(p, l, &l->routes[k], NULL, after->pools[l->routes[k].pool].name);
    }
    for (size_t i = 0; i < before->nlisteners; i++) {
        const struct config_listener *l = &before->listeners[i], *is = find_listener(after, l);
        for (size_t k = 0; k < l->nroutes; k++)
            if (is == NULL || find_route(is, &l->routes[k]) == NULL)
                add_route(p, l, &l->routes[k], before->pools[l->routes[k].pool].name, NULL);
    }
}

void feeds_free(struct plan *p)
{
    for (size_t i = 0; i < p->nroutes; i++)
        free(p->routes[i].route);
    free(p->routes);
}
