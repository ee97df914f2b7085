#include "cluster/answers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/store_redis.h"

/* The elements of the answers, see scripts.h. */
enum {
    SYNC_HOLDER,
    SYNC_LEFT,
    SYNC_NEXT,
    SYNC_RENEWED,
    SYNC_EPOCH,
    SYNC_BY,
    SYNC_SEQ,
    SYNC_BODY,
    SYNC_HIGHEST,
    SYNC_BEATS,
    SYNC_VIEWS,
    SYNC_BROKEN,
    SYNC_ELEMENTS
};
enum {
    ACQUIRE_GRANTED,
    ACQUIRE_NEW,
    ACQUIRE_HOLDER,
    ACQUIRE_LEFT,
    ACQUIRE_EPOCH,
    ACQUIRE_BY,
    ACQUIRE_SEQ,
    ACQUIRE_ELEMENTS
};

struct refusals {
    answer_refused_fn *tell;
    void *arg;
};

static void refuse(const struct refusals *r, const char *what)
{
    r->tell(r->arg, what);
}

static void refuse_of(const struct refusals *r, const char *what, struct str node)
{
    char text[STORE_NODE_MAX + 64];
    snprintf(text, sizeof text, "%s of %.*s", what, (int)node.n, node.p);
    r->tell(r->arg, text);
}

/* ---- values ---- */

static bool is_number(const struct redis_reply *r)
{
    return r->type == REPLY_INTEGER && r->integer >= 0 && (uint64_t)r->integer <= NUMBER_MAX;
}

/* Digits alone, no zero in front, as the scripts write them. */
static bool parse_number(struct str s, uint64_t *out)
{
    uint64_t n = 0;
    if (s.n == 0 || s.n > 16 || (s.p[0] == '0' && s.n > 1))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(s.p[i] - '0');
    }
    *out = n;
    return n <= NUMBER_MAX;
}

static bool is_printable(struct str s, char lowest)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < lowest || s.p[i] > '~')
            return false;
    return true;
}

static bool is_instance(struct str s)
{
    if (s.n == 0 || s.n >= INSTANCE_SIZE)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

static void copy_instance(char out[INSTANCE_SIZE], struct str s)
{
    memcpy(out, s.p, s.n);
    out[s.n] = '\0';
}

static bool is_node(struct str s)
{
    return s.n >= 1 && s.n <= STORE_NODE_MAX && is_printable(s, '!') && !str_eq(s, STR("#"));
}

/* All three are nothing, or something. */
static bool read_version(struct version *v, const struct redis_reply *epoch,
                         const struct redis_reply *by, const struct redis_reply *seq)
{
    memset(v, 0, sizeof *v);
    if (!is_number(epoch) || by->type != REPLY_TEXT || !is_number(seq))
        return false;
    if (epoch->integer == 0 && by->text.n == 0 && seq->integer == 0)
        return true;
    if (epoch->integer == 0 || !is_instance(by->text) || seq->integer == 0)
        return false;
    v->epoch = (uint64_t)epoch->integer;
    copy_instance(v->by, by->text);
    v->seq = (uint64_t)seq->integer;
    return true;
}

/* The lock's value and what is left of it. -1: no expiry. */
static bool read_holder(struct str *holder, uint64_t *left_ms, const struct redis_reply *value,
                        const struct redis_reply *left, const struct refusals *refusals)
{
    if (value->type != REPLY_TEXT ||
        !(is_number(left) || (left->type == REPLY_INTEGER && left->integer == -1)))
        return false;
    *holder = value->text;
    *left_ms = left->integer < 0 ? NUMBER_MAX : (uint64_t)left->integer;
    if (value->text.n > STORE_LOCK_MAX || !is_printable(value->text, ' ') ||
        str_eq(value->text, STR("?"))) {
        refuse(refusals, "the lock has a value of nobody");
        *holder = STR("?");
    }
    return true;
}

/* ---- beats and views ---- */

/* "INSTANCE N C" */
static bool parse_beat(struct str s, struct store_beat *b, char instance[INSTANCE_SIZE])
{
    const char *first = memchr(s.p, ' ', s.n);
    if (first == NULL)
        return false;
    const struct str id = {s.p, (size_t)(first - s.p)};
    const struct str rest = {first + 1, s.n - id.n - 1};
    const char *second = memchr(rest.p, ' ', rest.n);
    if (second == NULL || !is_instance(id))
        return false;
    const struct str n = {rest.p, (size_t)(second - rest.p)};
    const struct str c = {second + 1, rest.n - n.n - 1};
    copy_instance(instance, id);
    b->instance = instance;
    return parse_number(n, &b->n) && parse_number(c, &b->c);
}

static bool is_pairs(const struct redis_reply *r)
{
    bool ok = r->type == REPLY_ARRAY && r->n % 2 == 0;
    for (size_t i = 0; ok && i < r->n; i++)
        ok = r->elements[i]->type == REPLY_TEXT;
    return ok;
}

static void read_beats(struct answer_synced *a, const struct redis_reply *r,
                       const struct refusals *refusals)
{
    size_t n = r->n / 2, kept = 0;
    a->beats = mem_zalloc_array(n, sizeof *a->beats);
    a->instances = mem_zalloc_array(n, sizeof *a->instances);
    for (size_t i = 0; i < n; i++) {
        struct str node = r->elements[2 * i]->text;
        if (!is_node(node)) {
            refuse(refusals, "a beat of a node whose name no node can have");
        } else if (!parse_beat(r->elements[2 * i + 1]->text, &a->beats[kept], a->instances[kept])) {
            refuse_of(refusals, "a beat that is none", node);
        } else {
            a->beats[kept++].node = node.p; /* a NUL follows, and none is within */
        }
    }
    a->synced.beats = a->beats;
    a->synced.nbeats = kept;
}

static void read_views(struct answer_synced *a, const struct redis_reply *r,
                       const struct refusals *refusals)
{
    size_t n = r->n / 2, kept = 0;
    a->views = mem_zalloc_array(n, sizeof *a->views);
    for (size_t i = 0; i < n; i++) {
        struct str node = r->elements[2 * i]->text, text = r->elements[2 * i + 1]->text;
        if (!is_node(node))
            refuse(refusals, "a view of a node whose name no node can have");
        else if (text.n == 0 || text.n > STORE_VIEW_MAX)
            refuse_of(refusals, "a view of too many bytes, or none,", node);
        else
            a->views[kept++] = (struct store_view){node.p, text};
    }
    a->synced.views = a->views;
    a->synced.nviews = kept;
}

/* ---- answers ---- */

static bool has_shape(const struct redis_reply *r, size_t n)
{
    return r->type == REPLY_ARRAY && r->n == n;
}

static bool read_sync_head(struct store_synced *s, struct redis_reply *const *e,
                           const struct refusals *refusals)
{
    return read_holder(&s->holder, &s->left_ms, e[SYNC_HOLDER], e[SYNC_LEFT], refusals) &&
           read_version(&s->version, e[SYNC_EPOCH], e[SYNC_BY], e[SYNC_SEQ]) &&
           e[SYNC_NEXT]->type == REPLY_TEXT && is_number(e[SYNC_RENEWED]) &&
           e[SYNC_BODY]->type == REPLY_TEXT && is_number(e[SYNC_HIGHEST]) &&
           is_pairs(e[SYNC_BEATS]) && is_pairs(e[SYNC_VIEWS]) && e[SYNC_BROKEN]->type == REPLY_TEXT;
}

/* A body that nobody takes is as if it were not stored: the next publication replaces it. */
static void read_body(struct store_synced *s, struct str body, const struct version *known,
                      const struct refusals *refusals)
{
    bool newer = version_compare(&s->version, known) > 0;
    s->body = newer ? body : (struct str){0};
    if (!newer || (body.n > 0 && body.n <= STORE_BODY_MAX))
        return;
    refuse(refusals, "a publication of too many bytes, or none");
    s->version = *known;
    s->body = (struct str){0};
}

bool answer_read_sync(struct answer_synced *a, const struct redis_reply *reply,
                      const struct version *known, answer_refused_fn *refused, void *arg)
{
    const struct refusals refusals = {refused, arg};
    struct store_synced *s = &a->synced;
    memset(a, 0, sizeof *a);
    if (!has_shape(reply, SYNC_ELEMENTS) || !read_sync_head(s, reply->elements, &refusals)) {
        refuse(&refusals, "an answer to sync that is none");
        return false;
    }
    struct redis_reply *const *e = reply->elements;
    s->renewed = e[SYNC_RENEWED]->integer == 1;
    s->highest_c = (uint64_t)e[SYNC_HIGHEST]->integer;
    s->next = e[SYNC_NEXT]->text;
    if (s->next.n && !is_instance(s->next)) {
        refuse(&refusals, "the lock is offered to nobody");
        s->next = (struct str){0};
    }
    if (e[SYNC_BROKEN]->text.n) /* its text is the script's, but who knows whose script it was */
        refuse(&refusals, strstr(e[SYNC_BROKEN]->text.p, "state")
                              ? "the key state held no publication"
                              : "the key beats held no beats");
    read_body(s, e[SYNC_BODY]->text, known, &refusals);
    read_beats(a, e[SYNC_BEATS], &refusals);
    read_views(a, e[SYNC_VIEWS], &refusals);
    return true;
}

void answer_synced_free(struct answer_synced *a)
{
    free(a->beats);
    free(a->views);
    free(a->instances);
}

bool answer_read_acquire(struct store_acquired *a, const struct redis_reply *reply,
                         answer_refused_fn *refused, void *arg)
{
    const struct refusals refusals = {refused, arg};
    memset(a, 0, sizeof *a);
    bool ok = has_shape(reply, ACQUIRE_ELEMENTS);
    if (ok) {
        struct redis_reply *const *e = reply->elements;
        ok = is_number(e[ACQUIRE_GRANTED]) && is_number(e[ACQUIRE_NEW]) &&
             read_holder(&a->holder, &a->left_ms, e[ACQUIRE_HOLDER], e[ACQUIRE_LEFT], &refusals) &&
             read_version(&a->version, e[ACQUIRE_EPOCH], e[ACQUIRE_BY], e[ACQUIRE_SEQ]);
        a->granted = ok && e[ACQUIRE_GRANTED]->integer == 1;
        a->epoch = a->granted ? (uint64_t)e[ACQUIRE_NEW]->integer : 0;
        ok = ok && (!a->granted || a->epoch > 0);
    }
    if (!ok)
        refuse(&refusals, "an answer to acquire that is none");
    return ok;
}

bool answer_read_done(bool *yes, const struct redis_reply *reply, answer_refused_fn *refused,
                      void *arg)
{
    bool ok = reply->type == REPLY_INTEGER && (reply->integer == 0 || reply->integer == 1);
    *yes = ok && reply->integer == 1;
    if (!ok)
        refused(arg, "an answer that is neither yes nor no");
    return ok;
}

bool answer_read_hint(struct str payload, enum hint *kind, char instance[INSTANCE_SIZE])
{
    static const char *const names[] = {
        [HINT_STATE] = "state", [HINT_CLAIM] = "claim", [HINT_VIEW] = "view", [HINT_LOCK] = "lock"};
    const char *space = payload.n ? memchr(payload.p, ' ', payload.n) : NULL;
    if (space == NULL)
        return false;
    const struct str name = {payload.p, (size_t)(space - payload.p)};
    const struct str id = {space + 1, payload.n - name.n - 1};
    if (!is_instance(id))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq(name, str_of(names[i]))) {
            *kind = (enum hint)i;
            copy_instance(instance, id);
            return true;
        }
    return false;
}
