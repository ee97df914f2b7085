/* A document has the servers by kind in the order of their ids, and the words of slots by names:
 *
 *   {"version", "pool", "vnodes", "all_down", "settings": {...},
 *    "backends": [{"name", "address", "phase", ..., "weight", "owner", "from", ...}],
 *    "standbys": [{"name", "address", "phase", ...}]}
 *
 * A length of time is in ms; null: never, or none. Bytes that JSON may not have, and `%`, are
 * written as `%` and two digits. */
#include "pool/roster_save.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "pool/roster_internal.h"

#define VERSION 1
#define MAX_SERVERS 4096
#define LONGEST_MS (INT64_C(1) << 52) /* of what a document may say */

static const char *const phases[] = {[STANDINGS_UP] = "up",
                                     [STANDINGS_DOWN] = "down",
                                     [STANDINGS_WAITING] = "waiting",
                                     [STANDINGS_HELD] = "held"};
static const char *const suspicions[] = {[ROSTER_UNSUSPECTED] = "none",
                                         [ROSTER_PENDING] = "pending",
                                         [ROSTER_CLEARED] = "cleared",
                                         [ROSTER_CONFIRMED] = "confirmed"};

/* ---- texts ---- */

static char *escape(const char *s)
{
    char *out = mem_zalloc_array(3 * strlen(s) + 1, 1), *to = out;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c >= 0x80 || c == '%')
            to += snprintf(to, 4, "%%%02x", c);
        else
            *to++ = *s;
    }
    return out;
}

static json_t *text_of(const char *s)
{
    char *escaped = escape(s);
    json_t *text = json_string(escaped);
    free(escaped);
    return text;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What does not fit is cut off, and so is what follows an escape that is none. */
static void unescape(const char *s, char *out, size_t size)
{
    size_t n = 0;
    for (; *s && n + 1 < size; s++) {
        char c = *s;
        if (c == '%') {
            int high = hex_digit(s[1]), low = high < 0 ? -1 : hex_digit(s[2]);
            if (low < 0)
                break;
            c = (char)(high << 4 | low);
            s += 2;
        }
        out[n++] = c;
    }
    out[n] = 0;
}

/* ---- saving ---- */

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

/* Since at_ms, which has passed. */
static json_t *ago(uint64_t at_ms, uint64_t now_ms)
{
    return number(now_ms - at_ms);
}

static json_t *left(uint64_t at_ms, uint64_t now_ms)
{
    return at_ms == NEVER ? json_null() : number(at_ms > now_ms ? at_ms - now_ms : 0);
}

static json_t *save_quiet(const struct quiet *q, uint64_t now_ms)
{
    return json_pack("{s:o, s:o}", "told_ago", q->told ? ago(q->told_ms, now_ms) : json_null(),
                     "untold", number(q->untold));
}

static json_t *save_last(const struct roster_check *c, uint64_t now_ms)
{
    if (!c->done)
        return json_null();
    return json_pack("{s:b, s:o, s:o}", "ok", c->ok, "reason", text_of(c->reason), "ago",
                     ago(c->at_ms, now_ms));
}

static json_t *save_resolved(const struct server *s)
{
    char text[ADDR_TEXT_MAX];
    struct addr at;
    uint32_t generation;
    if (!server_by_name(s) || !server_address(s, &at, &generation))
        return json_null();
    addr_format(&at, text);
    return text_of(text);
}

/* Of what a check is to decide. */
static json_t *save_blame(const struct server *s, const struct seen *v)
{
    enum blame blame;
    uint64_t at_ms;
    if (v->suspicion != ROSTER_PENDING || !suspicions_last(&s->suspicions, &blame, &at_ms))
        return json_null();
    return number(blame);
}

/* Of a roster that has had an agreement: what is seen may be another thing than what is decided. */
static json_t *save_here(const struct roster *r, unsigned id, uint64_t now_ms)
{
    const struct seen *v = &r->witness->seen[id];
    const struct exception *x = &v->exception;
    if (!r->fleet)
        return json_null();
    return json_pack("{s:b, s:o, s:b, s:o, s:o, s:o}", "up", v->verdict.up, "left",
                     left(v->until_ms, now_ms), "excepted", x->on, "exception_left",
                     x->on ? left(x->until_ms, now_ms) : json_null(), "delay", number(x->delay_ms),
                     "ended_ago", x->ended ? ago(x->ended_ms, now_ms) : json_null());
}

static json_t *save_server(const struct roster *r, unsigned id, uint64_t now_ms)
{
    const struct server *s = r->pool->members[id].server;
    const struct standing *d = &r->standings->servers[id];
    const struct seen *v = &r->witness->seen[id];
    uint64_t until_ms = d->phase == STANDINGS_DOWN ? v->until_ms : d->until_ms;
    return json_pack("{s:o, s:o, s:o, s:s, s:b, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o, "
                     "s:o, s:o, s:o}",
                     "name", text_of(s->name), "address", text_of(s->address_text), "resolved",
                     save_resolved(s), "phase", phases[d->phase], "drained", d->drained, "no_wait",
                     d->no_wait, "tell_held", d->tell_held, "count", number(v->verdict.count),
                     "returned_ago", d->returned ? ago(d->returned_ms, now_ms) : json_null(),
                     "delay", number(d->delay_ms), "left", left(until_ms, now_ms), "last_check",
                     save_last(&v->last, now_ms), "suspicion", suspicions[v->suspicion], "blame",
                     save_blame(s, v), "suspected", save_quiet(&v->suspected, now_ms), "spared",
                     save_quiet(&v->spared, now_ms), "failures",
                     number(atomic_load_explicit(&s->failures, memory_order_relaxed)), "here",
                     save_here(r, id, now_ms));
}

static json_t *save_name(const struct roster *r, uint16_t id)
{
    return id == SERVER_NONE ? json_null() : text_of(r->pool->members[id].server->name);
}

static bool save_slot(const struct roster *r, unsigned b, uint64_t now_ms, json_t *into)
{
    const struct slot *s = &r->standings->slots[b];
    const struct pool_owner *w = &r->words[b];
    bool ramp = w->from != SERVER_NONE;
    json_t *slot = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:f}", "weight", number(r->pool->members[b].weight),
        "owner", save_name(r, w->owner), "from", save_name(r, w->from), "share", number(w->share),
        "ramp_ago", ramp ? ago(s->ramp_start_ms, now_ms) : json_null(), "step_ago",
        ramp ? ago(s->ramp_step_ms, now_ms) : json_null(), "ramp_moved", s->ramp_moved);
    bool ok = slot && json_object_update(into, slot) == 0;
    json_decref(slot);
    return ok;
}

static json_t *save_servers(const struct roster *r, unsigned from, unsigned to, uint64_t now_ms)
{
    json_t *servers = json_array();
    bool ok = servers != NULL;
    for (unsigned id = from; id < to && ok; id++) {
        json_t *s = save_server(r, id, now_ms);
        ok = s && (id >= r->nbackends || save_slot(r, id, now_ms, s)) &&
             json_array_append(servers, s) == 0;
        json_decref(s);
    }
    if (ok)
        return servers;
    json_decref(servers);
    return NULL;
}

json_t *roster_save(const struct roster *r, uint64_t now_ms)
{
    assert(r->started);
    const struct config_pool *c = r->config;
    return json_pack("{s:i, s:o, s:o, s:b, s:{s:b, s:b, s:o, s:o}, s:o, s:o}", "version", VERSION,
                     "pool", text_of(c->name), "vnodes", number(c->vnodes), "all_down", r->all_down,
                     "settings", "checked", c->health.check != CHECK_OFF, "reads_answer",
                     config_health_reads_answer(&c->health), "passive_failures",
                     number(c->passive.failures), "failback_after", number(c->failback.after_ms),
                     "backends", save_servers(r, 0, r->nbackends, now_ms), "standbys",
                     save_servers(r, r->nbackends, r->nservers, now_ms));
}

/* ---- reading ---- */

/* A struct past in memory of its own. */
struct document {
    struct past past;
    char **names, **addresses; /* of each server, as written */
    struct standing *standings;
    struct seen *seen;
    struct slot *slots;
    struct pool_owner *words;
    struct addr *resolved; /* len 0: none */
    uint64_t *failures;
    enum blame *blames; /* 0: none */
    const json_t *backends, *standbys;
    uint64_t now_ms;
    const char *wrong; /* what is */
};

static void document_init(struct document *d, unsigned nbackends, unsigned nservers)
{
    d->past.nbackends = nbackends;
    d->past.nservers = nservers;
    d->past.servers = mem_zalloc_array(nservers, sizeof *d->past.servers);
    d->names = mem_zalloc_array(nservers, sizeof *d->names);
    d->addresses = mem_zalloc_array(nservers, sizeof *d->addresses);
    d->past.standings = d->standings = mem_zalloc_array(nservers, sizeof *d->standings);
    d->past.seen = d->seen = mem_zalloc_array(nservers, sizeof *d->seen);
    d->past.slots = d->slots = mem_zalloc_array(nbackends, sizeof *d->slots);
    d->past.words = d->words = mem_zalloc_array(nbackends, sizeof *d->words);
    d->resolved = mem_zalloc_array(nservers, sizeof *d->resolved);
    d->failures = mem_zalloc_array(nservers, sizeof *d->failures);
    d->blames = mem_zalloc_array(nservers, sizeof *d->blames);
}

static void document_deinit(struct document *d)
{
    for (unsigned id = 0; id < d->past.nservers; id++) {
        free(d->names[id]);
        free(d->addresses[id]);
    }
    free(d->names);
    free(d->addresses);
    free(d->past.servers);
    free(d->standings);
    free(d->seen);
    free(d->slots);
    free(d->words);
    free(d->resolved);
    free(d->failures);
    free(d->blames);
}

/* The getters note the first thing that is wrong, and go on with something harmless. */
static void wrong(struct document *d, const char *key)
{
    if (d->wrong == NULL)
        d->wrong = key;
}

static bool get_bool(struct document *d, const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_boolean(v))
        wrong(d, key);
    return json_is_true(v);
}

static uint64_t get_number(struct document *d, const json_t *o, const char *key, int64_t most)
{
    const json_t *v = json_object_get(o, key);
    if (json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= most)
        return (uint64_t)json_integer_value(v);
    wrong(d, key);
    return 0;
}

/* False: it is null. */
static bool get_length(struct document *d, const json_t *o, const char *key, uint64_t *ms)
{
    if (json_is_null(json_object_get(o, key)))
        return false;
    *ms = get_number(d, o, key, LONGEST_MS);
    return true;
}

/* A copy; the caller frees it. */
static char *get_text(struct document *d, const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    if (text == NULL)
        wrong(d, key);
    size_t size = (text ? strlen(text) : 0) + 1;
    char *copy = mem_zalloc_array(size, 1);
    unescape(text ? text : "", copy, size);
    return copy;
}

static unsigned get_word(struct document *d, const json_t *o, const char *key,
                         const char *const *words, unsigned n)
{
    const char *text = json_string_value(json_object_get(o, key));
    for (unsigned i = 0; text && i < n; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    wrong(d, key);
    return 0;
}

static void get_quiet(struct document *d, const json_t *o, const char *key, struct quiet *q)
{
    uint64_t ago_ms;
    const json_t *v = json_object_get(o, key);
    q->untold = (unsigned)get_number(d, v, "untold", INT32_MAX);
    q->told = get_length(d, v, "told_ago", &ago_ms);
    if (q->told)
        q->told_ms = d->now_ms - ago_ms;
}

static void get_last(struct document *d, const json_t *o, struct roster_check *c)
{
    const json_t *v = json_object_get(o, "last_check");
    c->done = !json_is_null(v);
    if (!c->done)
        return;
    char *reason = get_text(d, v, "reason");
    snprintf(c->reason, sizeof c->reason, "%s", reason);
    free(reason);
    c->ok = get_bool(d, v, "ok");
    c->at_ms = d->now_ms - get_number(d, v, "ago", LONGEST_MS);
}

static void get_resolved(struct document *d, const json_t *o, struct addr *a)
{
    if (json_is_null(json_object_get(o, "resolved")))
        return;
    char *text = get_text(d, o, "resolved");
    enum addr_result result = addr_parse(str_of(text), a);
    if (result == ADDR_NO_INTERFACE) /* the name will be looked up */
        a->len = 0;
    else if (result != ADDR_OK || addr_is_unix(a))
        wrong(d, "resolved");
    free(text);
}

static void get_standing(struct document *d, const json_t *v, struct standing *s)
{
    uint64_t ms;
    s->phase =
        (enum standings_phase)get_word(d, v, "phase", phases, sizeof phases / sizeof *phases);
    s->drained = get_bool(d, v, "drained");
    s->no_wait = get_bool(d, v, "no_wait");
    s->tell_held = get_bool(d, v, "tell_held") &&
                   (s->phase == STANDINGS_WAITING || s->phase == STANDINGS_HELD);
    s->delay_ms = get_number(d, v, "delay", LONGEST_MS);
    s->until_ms = get_length(d, v, "left", &ms) ? d->now_ms + ms : NEVER;
    s->returned = get_length(d, v, "returned_ago", &ms);
    if (s->returned)
        s->returned_ms = d->now_ms - ms;
}

/* Without this part the server is up by its checks in every phase but one. Documents of programs
 * that knew no fleet have no such part. */
static void get_here(struct document *d, const json_t *v, struct seen *s)
{
    uint64_t ms;
    const json_t *here = json_object_get(v, "here");
    if (here == NULL || json_is_null(here))
        return;
    d->past.fleet = true;
    s->verdict.up = get_bool(d, here, "up");
    s->until_ms = get_length(d, here, "left", &ms) ? d->now_ms + ms : NEVER;
    struct exception *x = &s->exception;
    x->on = get_bool(d, here, "excepted");
    x->until_ms = get_length(d, here, "exception_left", &ms) ? d->now_ms + ms : NEVER;
    x->delay_ms = get_number(d, here, "delay", LONGEST_MS);
    x->ended = get_length(d, here, "ended_ago", &ms);
    if (x->ended)
        x->ended_ms = d->now_ms - ms;
    if (x->on && x->until_ms == NEVER && s->verdict.up) /* else it would never end */
        wrong(d, "exception_left");
}

static void get_seen(struct document *d, const json_t *v, const struct standing *how,
                     struct seen *s)
{
    s->verdict.up = how->phase != STANDINGS_DOWN;
    s->verdict.count = (unsigned)get_number(d, v, "count", INT32_MAX);
    s->until_ms = how->phase == STANDINGS_DOWN ? how->until_ms : NEVER;
    s->exception.delay_ms = how->delay_ms;
    get_last(d, v, &s->last);
    s->suspicion = (enum roster_suspicion)get_word(d, v, "suspicion", suspicions,
                                                   sizeof suspicions / sizeof *suspicions);
    get_quiet(d, v, "suspected", &s->suspected);
    get_quiet(d, v, "spared", &s->spared);
    get_here(d, v, s);
}

static void get_server(struct document *d, const json_t *v, unsigned id)
{
    uint64_t blame;
    d->names[id] = get_text(d, v, "name");
    d->addresses[id] = get_text(d, v, "address");
    get_resolved(d, v, &d->resolved[id]);
    get_standing(d, v, &d->standings[id]);
    get_seen(d, v, &d->standings[id], &d->seen[id]);
    d->failures[id] = get_number(d, v, "failures", INT64_MAX);
    if (!get_length(d, v, "blame", &blame))
        return;
    if (blame < BLAME_KINDS && blame_is_suspect((enum blame)blame))
        d->blames[id] = (enum blame)blame;
    else
        wrong(d, "blame");
}

/* Of slot b: the backend itself, or a standby. */
static uint16_t get_owner(struct document *d, const json_t *v, const char *key, unsigned b)
{
    if (json_is_null(json_object_get(v, key)))
        return SERVER_NONE;
    char *name = get_text(d, v, key);
    unsigned id = b;
    if (strcmp(d->names[b], name) != 0)
        for (id = d->past.nbackends; id < d->past.nservers; id++)
            if (strcmp(d->names[id], name) == 0)
                break;
    free(name);
    if (id < d->past.nservers)
        return (uint16_t)id;
    wrong(d, key);
    return SERVER_NONE;
}

static void get_slot(struct document *d, const json_t *v, unsigned b)
{
    struct slot *s = &d->slots[b];
    struct pool_owner *w = &d->words[b];
    uint64_t start = 0, step = 0;
    const json_t *moved = json_object_get(v, "ramp_moved");
    w->owner = get_owner(d, v, "owner", b);
    w->from = get_owner(d, v, "from", b);
    w->share = (uint32_t)get_number(d, v, "share", SHARE_ALL);
    bool ramp = get_length(d, v, "ramp_ago", &start) && get_length(d, v, "step_ago", &step);
    if (ramp != (w->from != SERVER_NONE) || (ramp && (w->owner != b || w->from == b)) ||
        step > start)
        wrong(d, "from");
    if (!json_is_number(moved))
        wrong(d, "ramp_moved");
    *s = (struct slot){.ramp_from = w->from,
                       .ramp_share = w->share,
                       .ramp_start_ms = d->now_ms - start,
                       .ramp_step_ms = d->now_ms - step,
                       .ramp_moved = json_number_value(moved),
                       .served = true};
}

/* The ring follows from names, weights and `vnodes`. */
static bool same_ring(struct document *d, const struct roster *r, const json_t *v)
{
    bool same = d->past.nbackends == r->nbackends &&
                get_number(d, v, "vnodes", UINT32_MAX) == r->config->vnodes;
    for (unsigned b = 0; b < r->nbackends && same; b++)
        same = strcmp(d->names[b], r->pool->members[b].server->name) == 0 &&
               get_number(d, json_array_get(d->backends, b), "weight", UINT32_MAX) ==
                   r->pool->members[b].weight;
    return same;
}

static void get_settings(struct document *d, const json_t *v)
{
    const json_t *s = json_object_get(v, "settings");
    d->past.all_down = get_bool(d, v, "all_down");
    d->past.checked = get_bool(d, s, "checked");
    d->past.reads_answer = get_bool(d, s, "reads_answer");
    d->past.passive_failures = (unsigned)get_number(d, s, "passive_failures", UINT32_MAX);
    d->past.after_ms = get_number(d, s, "failback_after", LONGEST_MS);
}

static void get_all(struct document *d, const struct roster *r, const json_t *v)
{
    size_t nb = json_array_size(d->backends), ns = json_array_size(d->standbys);
    document_init(d, (unsigned)nb, (unsigned)(nb + ns));
    for (unsigned id = 0; id < nb + ns; id++)
        get_server(d,
                   id < nb ? json_array_get(d->backends, id) : json_array_get(d->standbys, id - nb),
                   id);
    for (unsigned b = 0; b < nb; b++)
        get_slot(d, json_array_get(d->backends, b), b);
    get_settings(d, v);
    d->past.same_ring = same_ring(d, r, v);
}

/* Which servers of this process they are, and what lies on those, before what was seen is adopted
 * by it. */
static void restore_servers(struct roster *r, struct document *d)
{
    for (unsigned id = 0; id < d->past.nservers; id++) {
        struct past_server *was = &d->past.servers[id];
        const struct pool_member *m = pool_find_name(r->pool, d->names[id]);
        was->now = m;
        was->stays = m && strcmp(m->server->address_text, d->addresses[id]) == 0;
        if (!was->stays)
            continue;
        atomic_store_explicit(&m->server->failures, d->failures[id], memory_order_relaxed);
        if (d->blames[id])
            suspicions_note(&m->server->suspicions, d->blames[id], d->now_ms);
        if (server_by_name(m->server) && d->resolved[id].len)
            server_move(m->server, &d->resolved[id]);
    }
}

static bool check_kind(struct document *d, const struct roster *r, const json_t *v, struct error *e)
{
    if (!json_is_object(v) || get_number(d, v, "version", INT32_MAX) != VERSION) {
        error_set(e, 0, "not a state of a pool in version %d", VERSION);
        return false;
    }
    char *name = get_text(d, v, "pool");
    bool same = strcmp(name, r->config->name) == 0;
    if (!same)
        error_set(e, 0, "the state of pool %.100s", name);
    free(name);
    d->backends = json_object_get(v, "backends");
    d->standbys = json_object_get(v, "standbys");
    size_t n = json_array_size(d->backends) + json_array_size(d->standbys);
    bool arrays = json_is_array(d->backends) && json_is_array(d->standbys) && n <= MAX_SERVERS;
    if (same && !arrays)
        error_set(e, 0, "no servers, or too many");
    return same && arrays;
}

bool roster_restore(struct roster *r, const json_t *document, uint64_t now_ms, struct error *e)
{
    struct document d = {.now_ms = now_ms};
    assert(!r->started && !r->live);
    if (!check_kind(&d, r, document, e))
        return false;
    get_all(&d, r, document);
    if (d.wrong) {
        error_set(e, 0, "%s is wrong", d.wrong);
    } else {
        restore_servers(r, &d);
        roster_take_over(r, &d.past, now_ms);
    }
    document_deinit(&d);
    return d.wrong == NULL;
}
