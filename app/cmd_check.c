/* `ringproxy check` prints every error of a configuration, or its warnings and how its rings are
 * balanced. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/app.h"
#include "app/options.h"
#include "base/mem.h"
#include "pool/routes.h"
#include "ring/ring.h"

_Static_assert(CONFIG_MAX_POINTS == RING_MAX_POINTS, "a valid file has a ring");

static struct ring *build_ring(const struct config_pool *p, struct error *e)
{
    struct ring_member *members = mem_zalloc_array(p->nbackends, sizeof *members);
    for (size_t i = 0; i < p->nbackends; i++)
        members[i] = (struct ring_member){str_of(p->backends[i].name), p->backends[i].weight};
    struct ring *ring = ring_new(members, p->nbackends, p->vnodes, e);
    free(members);
    return ring;
}

/* The exact share of the key space that each backend has; the caller frees. */
static uint64_t *shares_of(const struct ring *ring, size_t n)
{
    uint16_t *self = mem_zalloc_array(n, sizeof *self);
    uint64_t *shares = mem_zalloc_array(n, sizeof *shares);
    for (size_t i = 0; i < n; i++)
        self[i] = (uint16_t)i;
    ring_shares(ring, self, shares, n);
    free(self);
    return shares;
}

/* `deviation` is from the share that a backend's weight promises; the largest one bounds how much
 * more load than planned a backend may get. */
static void print_balance(const struct config_pool *p, const uint64_t *shares)
{
    uint64_t weights = 0;
    double most = 0;
    for (size_t i = 0; i < p->nbackends; i++)
        weights += p->backends[i].weight;
    printf("  %-24s %6s %10s %10s %10s\n", "backend", "weight", "share", "by weight", "deviation");
    for (size_t i = 0; i < p->nbackends; i++) {
        double share = (double)shares[i] / (double)RING_SPACE;
        double fair = (double)p->backends[i].weight / (double)weights;
        printf("  %-24s %6u %9.4f%% %9.4f%% %+9.2f%%\n", p->backends[i].name, p->backends[i].weight,
               share * 100, fair * 100, (share / fair - 1) * 100);
        if (share / fair > most)
            most = share / fair;
    }
    printf("  max/mean, relative to weight: %.4f\n", most);
}

static bool print_pool(const struct config_pool *p)
{
    struct error e;
    struct ring *ring = build_ring(p, &e);
    if (ring == NULL) {
        fprintf(stderr, "ringproxy check: pool %s: %s\n", p->name, e.text);
        return false;
    }
    uint64_t *shares = shares_of(ring, p->nbackends);
    printf("pool %s: %zu backend%s, %zu standby%s, %zu points\n", p->name, p->nbackends,
           p->nbackends == 1 ? "" : "s", p->nstandbys, p->nstandbys == 1 ? "" : "s",
           ring_points(ring));
    print_balance(p, shares);
    free(shares);
    ring_free(ring);
    return true;
}

/* "  api.example.com/v1 GET,HEAD -> pool api" */
static void print_route(const struct config *c, const struct config_route *r)
{
    struct buffer text = {0};
    if (route_text(r, &text))
        printf("  %.*s -> pool %s\n", (int)buffer_len(&text), buffer_head(&text),
               c->pools[r->pool].name);
    buffer_release(&text);
}

static void print_listener(const struct config *c, const struct config_listener *l)
{
    printf("listener %s: %s on %s, ", l->name, l->mode == MODE_TCP ? "tcp" : "http",
           l->listen_text);
    if (l->nroutes == 1 && l->routes[0].host == NULL && l->routes[0].path == NULL &&
        l->routes[0].nmethods == 0 && l->routes[0].sni == NULL) {
        printf("pool %s\n", c->pools[l->routes[0].pool].name);
        return;
    }
    printf("%zu route%s\n", l->nroutes, l->nroutes == 1 ? "" : "s");
    for (size_t i = 0; i < l->nroutes; i++)
        print_route(c, &l->routes[i]);
}

static bool print_summary(const struct config *c)
{
    bool ok = true;
    printf("%s: valid, %zu listener%s, %zu pool%s\n", c->file, c->nlisteners,
           c->nlisteners == 1 ? "" : "s", c->npools, c->npools == 1 ? "" : "s");
    for (size_t i = 0; i < c->nlisteners; i++)
        print_listener(c, &c->listeners[i]);
    for (size_t i = 0; i < c->npools && ok; i++)
        ok = print_pool(&c->pools[i]);
    return ok;
}

int cmd_check(int argc, char **argv)
{
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'}, {0}};
    const char *file = NULL;
    for (int o; (o = getopt_long(argc, argv, ":c:", longs, NULL)) != -1;) {
        if (o != 'c')
            return options_usage("check", o == ':' ? "%s needs a FILE" : "unknown option %s",
                                 argv[optind - 1]);
        file = optarg;
    }
    if (file == NULL || optind != argc)
        return options_usage("check", file ? "unexpected %s" : "-c FILE is required", argv[optind]);
    struct config *c = options_load(file);
    if (c == NULL)
        return APP_USAGE;
    for (size_t i = 0; i < c->warnings.count; i++)
        fprintf(stderr, "%s\n", c->warnings.lines[i]);
    bool ok = print_summary(c);
    ok = options_flush("check") && ok;
    config_unref(c);
    return ok ? APP_OK : APP_FAILED;
}
