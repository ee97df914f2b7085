#include "cluster/peers.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/fields.h"

struct row {
    struct peer peer;
    char *node;
    struct view *view; /* as last given; its id may be of another instance than the last beat */
    uint64_t shown;    /* N in the last answer */
    bool late;         /* the beat of this answer was sent long ago, and so was a view with it */
};

struct peers {
    struct row *rows; /* ascending by node */
    size_t n;
    uint64_t ttl_ms; /* 0: not told yet */
};

struct peers *peers_new(void)
{
    return mem_zalloc(sizeof(struct peers));
}

static void row_deinit(struct row *r)
{
    view_free(r->view);
    free(r->node);
}

void peers_free(struct peers *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->n; i++)
        row_deinit(&p->rows[i]);
    free(p->rows);
    free(p);
}

/* The first row whose node does not come before this one. */
static size_t place_of(const struct peers *p, const char *node)
{
    size_t from = 0, to = p->n;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (strcmp(p->rows[middle].node, node) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static struct row *find(const struct peers *p, const char *node)
{
    size_t at = place_of(p, node);
    return at < p->n && strcmp(p->rows[at].node, node) == 0 ? &p->rows[at] : NULL;
}

static struct row *insert(struct peers *p, const char *node)
{
    size_t at = place_of(p, node);
    p->rows = mem_grow(p->rows, p->n + 1, sizeof *p->rows);
    memmove(&p->rows[at + 1], &p->rows[at], (p->n - at) * sizeof *p->rows);
    p->n++;
    p->rows[at] = (struct row){.node = mem_strdup(node)};
    p->rows[at].peer.node = p->rows[at].node;
    return &p->rows[at];
}

/* After a beat or a view: does its view count, and since when is it fit for the role? */
static void look_again(struct row *r, uint64_t now_ms)
{
    struct peer *p = &r->peer;
    p->view = r->view && strcmp(r->view->id, p->instance) == 0 ? r->view : NULL;
    bool fit = p->view && p->view->ready && p->view->role == VIEW_FOLLOWER;
    if (fit && !p->fit)
        p->fit_ms = now_ms;
    p->fit = fit;
}

void peers_begin(struct peers *p)
{
    for (size_t i = 0; i < p->n; i++)
        p->rows[i].peer.listed = false;
}

/* A member whose N was too high by somebody else's doing is heard of again once it was gone. */
static bool begins_again(const struct peers *p, const struct row *r, uint64_t n, uint64_t now_ms)
{
    return n > r->shown && p->ttl_ms > 0 && peer_life(&r->peer, now_ms, p->ttl_ms) == PEER_GONE;
}

bool peers_beat(struct peers *p, const char *node, const char *instance, uint64_t n, uint64_t c,
                uint64_t now_ms)
{
    if (!fields_is_name(node) || !fields_is_hex(instance) || n > NUMBER_MAX || c > NUMBER_MAX)
        return false;
    struct row *r = find(p, node);
    if (r == NULL) {
        if (p->n == PEERS_MAX)
            return false;
        r = insert(p, node);
    }
    struct peer *peer = &r->peer;
    bool other = strcmp(peer->instance, instance) != 0;
    peer->listed = true;
    bool again = !other && n <= peer->n && begins_again(p, r, n, now_ms);
    r->late = !other && !again && n < peer->n;
    r->shown = n;
    if (!other && !again && n <= peer->n)
        return true;
    if (other)
        memcpy(peer->instance, instance, strlen(instance) + 1);
    peer->n = n;
    peer->c = c;
    peer->heard_ms = now_ms;
    look_again(r, now_ms);
    return true;
}

void peers_view(struct peers *p, const char *node, struct view *v, uint64_t now_ms)
{
    struct row *r = find(p, node);
    if (r == NULL || r->late) {
        view_free(v);
        return;
    }
    view_free(r->view);
    r->view = v;
    look_again(r, now_ms);
}

void peers_end(struct peers *p, uint64_t now_ms, uint64_t ttl_ms)
{
    size_t kept = 0;
    p->ttl_ms = ttl_ms;
    for (size_t i = 0; i < p->n; i++) {
        struct row *r = &p->rows[i];
        if (r->peer.listed || peer_life(&r->peer, now_ms, ttl_ms) != PEER_GONE)
            p->rows[kept++] = *r;
        else
            row_deinit(r);
    }
    p->n = kept;
}

size_t peers_count(const struct peers *p)
{
    return p->n;
}

const struct peer *peers_at(const struct peers *p, size_t i)
{
    return &p->rows[i].peer;
}

const struct peer *peers_find(const struct peers *p, const char *node)
{
    struct row *r = find(p, node);
    return r ? &r->peer : NULL;
}

enum peer_life peer_life(const struct peer *p, uint64_t now_ms, uint64_t ttl_ms)
{
    uint64_t ago_ms = now_ms - p->heard_ms;
    return ago_ms <= ttl_ms ? PEER_LIVE : ago_ms <= PEERS_SILENT * ttl_ms ? PEER_SILENT : PEER_GONE;
}
