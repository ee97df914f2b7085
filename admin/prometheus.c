#include "admin/prometheus.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"

/* The text that is written. When memory is out `ok` becomes false and stays so, which callers need
 * not check after each line. */
struct text {
    struct buffer *out;
    bool ok;
};

static void put(struct text *t, const char *p, size_t n)
{
    t->ok = t->ok && buffer_append(t->out, p, n);
}

/* For numbers and fixed words: text that is longer than `line` is cut. */
static void __attribute__((format(printf, 2, 3))) print(struct text *t, const char *format, ...)
{
    char line[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n < 0)
        t->ok = false;
    else
        put(t, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

static void family(struct text *t, const char *name, const char *type, const char *help)
{
    print(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Writes NAME="VALUE" with backslash, quote and line feed escaped. */
static void label(struct text *t, const char *name, const char *value)
{
    print(t, "%s=\"", name);
    for (const char *p = value; *p; p++) {
        if (*p == '\n')
            put(t, "\\n", 2);
        else if (*p == '\\' || *p == '"')
            put(t, (const char[]){'\\', *p}, 2);
        else
            put(t, p, 1);
    }
    put(t, "\"", 1);
}

static uint64_t load(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

/* --- listeners --- */

static void listener_value(struct text *t, const char *name, const struct snapshot_listener *l,
                           uint64_t value)
{
    print(t, "%s{", name);
    label(t, "listener", l->config->name);
    print(t, "} %" PRIu64 "\n", value);
}

/* Sums a counter of the workers' cells; offset: where in a cell it stands. */
static uint64_t cells_sum(const struct snapshot *s, const struct snapshot_listener *l,
                          size_t offset)
{
    uint64_t sum = 0;
    for (unsigned w = 0; w < s->nworkers; w++)
        sum += load((const _Atomic uint64_t *)((const char *)&l->stats->cells[w] + offset));
    return sum;
}

static void listener_counter(struct text *t, const struct snapshot *s, const char *name,
                             const char *type, const char *help, size_t offset)
{
    family(t, name, type, help);
    for (size_t i = 0; i < s->nlisteners; i++)
        listener_value(t, name, &s->listeners[i], cells_sum(s, &s->listeners[i], offset));
}

static void route_requests(struct text *t, const struct snapshot *s,
                           const struct snapshot_listener *l, size_t i)
{
    const struct config_route *route = &l->config->routes[i];
    struct buffer text = {0};
    uint64_t sum = 0;
    for (unsigned w = 0; w < s->nworkers; w++)
        sum += load(&l->route_stats[i]->cells[w].requests);
    t->ok = t->ok && route_text(route, &text) && buffer_append(&text, "", 1);
    if (t->ok) {
        print(t, "ringproxy_route_requests_total{");
        label(t, "listener", l->config->name);
        print(t, ",");
        label(t, "route", buffer_head(&text));
        print(t, ",");
        label(t, "pool", s->config->pools[route->pool].name);
        print(t, "} %" PRIu64 "\n", sum);
    }
    buffer_release(&text);
}

/* Of listeners with one route without conditions the requests are its own. */
static void route_counters(struct text *t, const struct snapshot *s)
{
    family(t, "ringproxy_route_requests_total", "counter",
           "Requests, in mode tcp connections, by the route that they took.");
    for (size_t i = 0; i < s->nlisteners; i++)
        for (size_t r = 0; s->listeners[i].routes && r < s->listeners[i].config->nroutes; r++)
            route_requests(t, s, &s->listeners[i], r);
}

static void codes(struct text *t, const struct snapshot *s)
{
    family(t, "ringproxy_requests_total", "counter", "Answers to clients by status code.");
    for (size_t i = 0; i < s->nlisteners; i++) {
        const struct snapshot_listener *l = &s->listeners[i];
        for (unsigned code = 100; code < STATUS_CODES; code++) {
            size_t offset = offsetof(struct listener_cell, codes) + code * sizeof(uint64_t);
            uint64_t n = cells_sum(s, l, offset);
            if (n == 0) /* 500 lines for each listener would help nobody */
                continue;
            print(t, "ringproxy_requests_total{");
            label(t, "listener", l->config->name);
            print(t, ",code=\"%03u\"} %" PRIu64 "\n", code, n);
        }
    }
}

/* Writes microseconds as seconds with six digits. */
static void seconds(struct text *t, uint64_t us)
{
    print(t, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
}

static void duration_bucket(struct text *t, const struct snapshot_listener *l, unsigned bucket,
                            uint64_t below)
{
    print(t, "ringproxy_request_duration_seconds_bucket{");
    label(t, "listener", l->config->name);
    print(t, ",le=\"");
    if (bucket == HISTOGRAM_BUCKETS - 1)
        print(t, "+Inf");
    else
        seconds(t, histogram_bounds_us[bucket]);
    print(t, "\"} %" PRIu64 "\n", below);
}

/* Buckets are cumulative in this format, and separate in a cell. The count is their sum, so that it
 * never contradicts them while workers count on. */
static void duration_of(struct text *t, const struct snapshot *s, const struct snapshot_listener *l)
{
    size_t base = offsetof(struct listener_cell, duration);
    uint64_t below = 0;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        below += cells_sum(s, l, base + offsetof(struct histogram, count) + b * sizeof(uint64_t));
        duration_bucket(t, l, b, below);
    }
    print(t, "ringproxy_request_duration_seconds_sum{");
    label(t, "listener", l->config->name);
    print(t, "} ");
    seconds(t, cells_sum(s, l, base + offsetof(struct histogram, sum_us)));
    print(t, "\n");
    listener_value(t, "ringproxy_request_duration_seconds_count", l, below);
}

static void durations(struct text *t, const struct snapshot *s)
{
    family(t, "ringproxy_request_duration_seconds", "histogram",
           "From a complete request head to the last byte of the answer.");
    for (size_t i = 0; i < s->nlisteners; i++)
        duration_of(t, s, &s->listeners[i]);
}

static void listeners(struct text *t, const struct snapshot *s)
{
    codes(t, s);
    route_counters(t, s);
    durations(t, s);
    listener_counter(t, s, "ringproxy_keyless_total", "counter",
                     "Requests without any of the configured keys.",
                     offsetof(struct listener_cell, keyless));
    listener_counter(t, s, "ringproxy_connections", "gauge", "Client connections open now.",
                     offsetof(struct listener_cell, connections));
    listener_counter(t, s, "ringproxy_accepted_total", "counter", "Client connections accepted.",
                     offsetof(struct listener_cell, accepted));
}

/* --- pools and their servers --- */

typedef uint64_t server_figure_fn(const struct roster *r, const struct pool_member *m);

/* A server that is tried although all are down is not up for that. */
static uint64_t server_up(const struct roster *r, const struct pool_member *m)
{
    return server_usable(m->server) && !roster_is_down(r, m->id);
}

static uint64_t server_active(const struct roster *r, const struct pool_member *m)
{
    (void)r;
    return atomic_load_explicit(&m->server->active, memory_order_relaxed);
}

static uint64_t server_kept(const struct roster *r, const struct pool_member *m)
{
    (void)r;
    return server_idle(m->server);
}

static uint64_t server_tries(const struct roster *r, const struct pool_member *m)
{
    (void)r;
    return server_requests(m->server);
}

static uint64_t server_failures(const struct roster *r, const struct pool_member *m)
{
    (void)r;
    return server_errors(m->server);
}

static void server_family(struct text *t, const struct snapshot *s, const char *name,
                          const char *type, const char *help, server_figure_fn *figure)
{
    family(t, name, type, help);
    for (size_t i = 0; i < s->npools; i++) {
        const struct pool *p = s->pools[i];
        for (unsigned id = 0; id < p->nservers; id++) {
            print(t, "%s{", name);
            label(t, "pool", p->config->name);
            print(t, ",");
            label(t, "backend", p->members[id].server->name);
            print(t, "} %" PRIu64 "\n", figure(s->rosters[i], &p->members[id]));
        }
    }
}

/* One series of a server that has a label more. */
static void labelled(struct text *t, const char *name, const struct server *v, const char *key,
                     const char *value, uint64_t figure)
{
    print(t, "%s{", name);
    label(t, "pool", v->pool);
    print(t, ",");
    label(t, "backend", v->name);
    print(t, ",%s=\"%s\"} %" PRIu64 "\n", key, value, figure);
}

static void suspect_tries(struct text *t, const struct server *v)
{
    for (enum blame b = BLAME_FIRST_SUSPECT; b < BLAME_KINDS; b++)
        labelled(t, "ringproxy_backend_suspect_tries_total", v, "reason", blame_name(b),
                 load(&v->suspicions.tries[b]));
}

static void suspicion_checks(struct text *t, const struct server *v)
{
    labelled(t, "ringproxy_backend_suspicions_total", v, "check", "passed",
             load(&v->suspicions.passed));
    labelled(t, "ringproxy_backend_suspicions_total", v, "check", "failed",
             load(&v->suspicions.failed));
}

static void each_server(struct text *t, const struct snapshot *s,
                        void (*write)(struct text *t, const struct server *v))
{
    for (size_t i = 0; i < s->npools; i++)
        for (unsigned id = 0; id < s->pools[i]->nservers; id++)
            write(t, s->pools[i]->members[id].server);
}

static void suspicions(struct text *t, const struct snapshot *s)
{
    family(t, "ringproxy_backend_suspect_tries_total", "counter",
           "Tries that failed and for which the request may be to blame, by reason.");
    each_server(t, s, suspect_tries);
    family(t, "ringproxy_backend_suspicions_total", "counter",
           "Checks that such tries in a row have asked for, by result.");
    each_server(t, s, suspicion_checks);
}

static void pool_counter(struct text *t, const struct snapshot *s, const char *name,
                         const char *help, size_t offset)
{
    family(t, name, "counter", help);
    for (size_t i = 0; i < s->npools; i++) {
        const struct pool *p = s->pools[i];
        print(t, "%s{", name);
        label(t, "pool", p->config->name);
        print(t, "} %" PRIu64 "\n",
              load((const _Atomic uint64_t *)((const char *)p->totals + offset)));
    }
}

static void pools_all_down(struct text *t, const struct snapshot *s)
{
    static const char name[] = "ringproxy_pool_all_down_routing";
    family(t, name, "gauge", "1 while all servers are down and requests are tried at them.");
    for (size_t i = 0; i < s->npools; i++) {
        print(t, "%s{", name);
        label(t, "pool", s->pools[i]->config->name);
        print(t, "} %d\n", roster_all_down(s->rosters[i]));
    }
}

static void pools(struct text *t, const struct snapshot *s)
{
    server_family(t, s, "ringproxy_backend_up", "gauge",
                  "1 if the backend or standby is neither down nor drained.", server_up);
    server_family(t, s, "ringproxy_backend_requests_total", "counter",
                  "Tries sent to the backend or standby.", server_tries);
    server_family(t, s, "ringproxy_backend_errors_total", "counter",
                  "Tries that failed: connect, reset, timeout, broken answer.", server_failures);
    suspicions(t, s);
    server_family(t, s, "ringproxy_backend_active", "gauge",
                  "Requests in flight and tunnels of the backend or standby.", server_active);
    server_family(t, s, "ringproxy_backend_idle_connections", "gauge",
                  "Connections to the backend or standby that are kept for reuse.", server_kept);
    pool_counter(t, s, "ringproxy_failovers_total", "Backends whose keys went to another server.",
                 offsetof(struct pool_totals, failovers));
    pool_counter(t, s, "ringproxy_retries_total", "Further tries of requests.",
                 offsetof(struct pool_totals, retries));
    pools_all_down(t, s);
    pool_counter(t, s, "ringproxy_all_down_total",
                 "How often requests began to be tried although all servers were down.",
                 offsetof(struct pool_totals, all_down));
}

static void reload_results(struct text *t, const struct admin_reloads *r)
{
    family(t, "ringproxy_reloads_total", "counter", "Reloads of the configuration, by result.");
    print(t, "ringproxy_reloads_total{result=\"ok\"} %" PRIu64 "\n", r->ok);
    print(t, "ringproxy_reloads_total{result=\"refused\"} %" PRIu64 "\n", r->refused);
}

/* --- the fleet --- */

static void gauge(struct text *t, const char *name, const char *help, uint64_t value)
{
    family(t, name, "gauge", help);
    print(t, "%s %" PRIu64 "\n", name, value);
}

static void counter(struct text *t, const char *name, const char *help, uint64_t value)
{
    family(t, name, "counter", help);
    print(t, "%s %" PRIu64 "\n", name, value);
}

static void counts(struct text *t, const char *name, const char *help, const char *key,
                   const struct admin_count *c, size_t n)
{
    family(t, name, "counter", help);
    for (size_t i = 0; i < n; i++)
        print(t, "%s{%s=\"%s\"} %" PRIu64 "\n", name, key, c[i].kind, c[i].n);
}

static void role(struct text *t, const struct admin_fleet_status *f)
{
    static const char *const roles[] = {"alone", "follower", "keeper"};
    static const char name[] = "ringproxy_cluster_role";
    family(t, name, "gauge", "1 for the role that this proxy has in its fleet.");
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        print(t, "%s{role=\"%s\"} %d\n", name, roles[i], strcmp(f->role, roles[i]) == 0);
}

static uint64_t server_excepted(const struct roster *r, const struct pool_member *m)
{
    return roster_is_excepted(r, m->id);
}

/* How many members have another configuration of a pool. */
static void differing(struct text *t, const struct snapshot *s, const struct admin_fleet_status *f)
{
    static const char name[] = "ringproxy_cluster_digest_differs";
    family(t, name, "gauge", "Members that have another configuration of the pool.");
    for (size_t p = 0; p < s->npools; p++) {
        const char *pool = s->pools[p]->config->name;
        unsigned n = 0;
        for (size_t i = 0; i < f->nmembers; i++)
            for (size_t d = 0; d < f->members[i].ndiffers; d++)
                n += strcmp(f->members[i].differs[d], pool) == 0;
        print(t, "%s{", name);
        label(t, "pool", pool);
        print(t, "} %u\n", n);
    }
}

static void fleet(struct text *t, const struct snapshot *s, const struct admin_hooks *hooks)
{
    const struct admin_fleet_status *f = hooks->fleet->status(hooks->fleet->arg);
    role(t, f);
    gauge(t, "ringproxy_cluster_members", "Members of the fleet that are not silent, this one too.",
          f->nlive);
    gauge(t, "ringproxy_cluster_accepting", "0 while this proxy stands by for another one.",
          !hooks->stands_by);
    gauge(t, "ringproxy_cluster_redis_up", "1 while Redis answers.", f->redis_up);
    counts(t, "ringproxy_cluster_redis_errors_total", "What failed at Redis, by kind.", "kind",
           f->redis_errors, f->nredis_errors);
    gauge(t, "ringproxy_cluster_epoch", "Of the publication that was applied last; 0: none.",
          f->epoch);
    gauge(t, "ringproxy_cluster_seq", "Of the publication that was applied last.", f->seq);
    counter(t, "ringproxy_cluster_publications_total", "What this proxy has published as keeper.",
            f->publications);
    counts(t, "ringproxy_cluster_refused_total", "Values of others that were refused, by reason.",
           "reason", f->refused, f->nrefused);
    server_family(t, s, "ringproxy_cluster_exceptions", "gauge",
                  "1 while this proxy leaves the server out against the agreement.",
                  server_excepted);
    differing(t, s, f);
    counter(t, "ringproxy_cluster_stalls_total", "How often this process stood still for long.",
            f->stalls);
}

bool prometheus_write(struct buffer *out, const struct snapshot *s, const struct admin_hooks *hooks)
{
    const struct admin_reloads *reloads = hooks ? hooks->reloads : NULL;
    struct text t = {out, true};
    family(&t, "ringproxy_build_info", "gauge", "The version that runs; always 1.");
    print(&t, "ringproxy_build_info{version=\"%s\"} 1\n", RINGPROXY_VERSION);
    family(&t, "ringproxy_generation", "gauge", "The generation of the configuration in service.");
    print(&t, "ringproxy_generation %" PRIu64 "\n", s->generation);
    if (reloads)
        reload_results(&t, reloads);
    family(&t, "ringproxy_log_dropped_total", "counter",
           "Lines of the log that nobody read in time, or that could not be written.");
    print(&t, "ringproxy_log_dropped_total %" PRIu64 "\n", log_dropped());
    listeners(&t, s);
    pools(&t, s);
    if (hooks && hooks->fleet)
        fleet(&t, s, hooks);
    return t.ok;
}
