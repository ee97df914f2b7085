/* A member that goes on in another process: the same instance, so that its requests are carried
 * out once, its numbers go on, and its lock is its own. CLOCK_BOOTTIME is the same for both. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/fleet_internal.h"

#define RESUME_V 1

static json_t *number(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *save_version(const struct version *v)
{
    return json_pack("[o,s,o]", number(v->epoch), v->by, number(v->seq));
}

static json_t *save_asks(const struct fleet *f)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->nasks; i++) {
        const struct ask *a = &f->asks[i];
        json_array_append_new(list, json_pack("[o,s,s,i,o]", number(a->number), a->pool, a->server,
                                              (int)a->verb, number(a->made_ms)));
    }
    return list;
}

static json_t *save_lock(const struct fleet *f)
{
    const struct lock *l = &f->lock;
    return json_pack("{s:s,s:s,s:o,s:o,s:b}", "value", l->value, "previous", l->previous, "epoch",
                     number(l->epoch), "end", number(l->end_ms), "held",
                     (int)(l->held && f->role == FLEET_KEEPER));
}

char *fleet_save(const struct fleet *f)
{
    json_t *j = json_pack(
        "{s:i,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:b}", "v", RESUME_V, "name",
        f->name, "node", f->node, "instance", f->instance, "seq", number(f->seq), "n", number(f->n),
        "asked", number(f->asked), "made", number(f->last_made_ms), "lock", save_lock(f), "asks",
        save_asks(f), "version", save_version(&f->version), "contact", number(f->contact_ms),
        "followed", number(f->followed_ms), "settle", number(f->settle_until_ms), "apart",
        (int)f->apart, "active", (int)f->active);
    if (j && f->body)
        json_object_set_new(j, "body", json_stringn(f->body, f->body_len));
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    return mem_check(text);
}

/* ---- and back ---- */

static bool read_number(const json_t *j, uint64_t *out)
{
    if (!json_is_integer(j) || json_integer_value(j) < 0 ||
        (uint64_t)json_integer_value(j) > NUMBER_MAX)
        return false;
    *out = (uint64_t)json_integer_value(j);
    return true;
}

static bool get_number(const json_t *j, const char *key, uint64_t *out)
{
    return read_number(json_object_get(j, key), out);
}

static bool get_text(const json_t *j, char *out, size_t size)
{
    const char *s = json_string_value(j);
    if (!s || strlen(s) >= size)
        return false;
    memcpy(out, s, strlen(s) + 1);
    return true;
}

static bool is_instance(const char *s)
{
    return strlen(s) == INSTANCE_SIZE - 1 && strspn(s, "0123456789abcdef") == INSTANCE_SIZE - 1;
}

static bool read_version(const json_t *j, struct version *v)
{
    return read_number(json_array_get(j, 0), &v->epoch) &&
           get_text(json_array_get(j, 1), v->by, sizeof v->by) &&
           read_number(json_array_get(j, 2), &v->seq);
}

static bool read_lock(const json_t *j, struct lock *l)
{
    l->held = json_is_true(json_object_get(j, "held"));
    return get_text(json_object_get(j, "value"), l->value, sizeof l->value) &&
           get_text(json_object_get(j, "previous"), l->previous, sizeof l->previous) &&
           get_number(j, "epoch", &l->epoch) && get_number(j, "end", &l->end_ms);
}

/* With another lock_ttl than the lock was taken with, this process can't tell when that one ends:
 * it is to run out, or to be replaced by the next attempt. */
static bool lock_fits(const struct fleet *f, const struct lock *l)
{
    struct lock_holder h;
    return lock_holder_parse(&h, str_of(l->value)) && h.ttl_ms == f->ttl_ms;
}

static bool read_ask(const json_t *j, struct ask *a)
{
    uint64_t verb;
    const char *pool = json_string_value(json_array_get(j, 1));
    const char *server = json_string_value(json_array_get(j, 2));
    if (!pool || !server || !read_number(json_array_get(j, 0), &a->number) ||
        !read_number(json_array_get(j, 3), &verb) || verb > FLEET_FAILBACK ||
        !read_number(json_array_get(j, 4), &a->made_ms))
        return false;
    a->verb = (enum fleet_verb)verb;
    a->pool = mem_strdup(pool);
    a->server = mem_strdup(server);
    return true;
}

static void read_asks(struct fleet *f, const json_t *list)
{
    size_t n = json_array_size(list);
    f->asks = mem_zalloc_array(n, sizeof *f->asks);
    for (size_t i = 0; i < n && f->nasks < ASKS_MAX; i++)
        if (read_ask(json_array_get(list, i), &f->asks[f->nasks]))
            f->nasks++;
}

/* What is read in one go, before any of it is believed. */
struct past_life {
    char instance[INSTANCE_SIZE];
    struct lock lock;
    struct version version;
    uint64_t seq, n, asked, made, contact, followed, settle, v;
};

static bool read_life(const struct fleet *f, const json_t *j, struct past_life *p)
{
    const char *name = json_string_value(json_object_get(j, "name"));
    const char *node = json_string_value(json_object_get(j, "node"));
    return name && node && strcmp(name, f->name) == 0 && strcmp(node, f->node) == 0 &&
           get_number(j, "v", &p->v) && p->v == RESUME_V &&
           get_text(json_object_get(j, "instance"), p->instance, sizeof p->instance) &&
           is_instance(p->instance) && get_number(j, "seq", &p->seq) && get_number(j, "n", &p->n) &&
           get_number(j, "asked", &p->asked) && get_number(j, "made", &p->made) &&
           get_number(j, "contact", &p->contact) && get_number(j, "followed", &p->followed) &&
           get_number(j, "settle", &p->settle) &&
           read_version(json_object_get(j, "version"), &p->version) &&
           read_lock(json_object_get(j, "lock"), &p->lock);
}

static void resume_state(struct fleet *f, const struct version *v, const char *body)
{
    struct error e;
    struct state *s = body ? state_decode(str_of(body), &e) : NULL;
    if (!s)
        return;
    f->version = *v;
    f->state = s;
    f->body = mem_strdup(body);
    f->body_len = strlen(body);
}

static void resume_role(struct fleet *f, const struct past_life *p, bool apart, bool active)
{
    f->apart = apart || !f->state;
    f->unapplied = !f->apart;
    f->active = active || !f->listen_active;
    f->contact_ms = p->contact;
    f->contacted = p->contact > 0;
    f->followed_ms = p->followed;
    if (p->lock.held) {
        f->role = FLEET_KEEPER;
        f->keeper_since_ms = f->now_ms;
        f->unfit_ms = NEVER;
        f->settle_until_ms = p->settle;
    } else if (!f->apart) {
        f->role = FLEET_FOLLOWER;
    }
}

void fleet_resume(struct fleet *f, const char *text)
{
    struct past_life p = {0};
    json_t *j = json_loads(text, JSON_ALLOW_NUL, NULL);
    if (!j || !read_life(f, j, &p)) {
        get_text(json_object_get(j, "instance"), f->before, sizeof f->before);
    } else {
        memcpy(f->instance, p.instance, sizeof f->instance);
        f->seq = p.seq + RESUME_LEAP;
        f->n = p.n + RESUME_LEAP;
        f->asked = p.asked + RESUME_LEAP;
        f->last_made_ms = p.made;
        p.lock.held = p.lock.held && lock_fits(f, &p.lock);
        f->lock = p.lock;
        read_asks(f, json_object_get(j, "asks"));
        resume_state(f, &p.version, json_string_value(json_object_get(j, "body")));
        resume_role(f, &p, json_is_true(json_object_get(j, "apart")),
                    json_is_true(json_object_get(j, "active")));
    }
    json_decref(j);
}

/* lock_init() has been called since; the value and the epoch are those of the process before. */
void fleet_resume_lock(struct fleet *f, const struct lock *before)
{
    memcpy(f->lock.value, before->value, sizeof f->lock.value);
    memcpy(f->lock.previous, before->previous, sizeof f->lock.previous);
    f->lock.epoch = before->epoch;
    f->lock.end_ms = before->end_ms;
    f->lock.held = before->held;
}
