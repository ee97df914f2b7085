#include "cluster/lock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "cluster/version.h"

void lock_init(struct lock *l, const char *who, uint64_t ttl_ms)
{
    size_t n = strlen(who);
    assert(n > 0 && n <= LOCK_WHO_MAX);
    assert(ttl_ms >= LOCK_TTL_MIN_MS && ttl_ms <= LOCK_TTL_MAX_MS);
    *l = (struct lock){.ttl_ms = ttl_ms};
    memcpy(l->who, who, n);
}

bool lock_begin(struct lock *l, struct random_store *random, uint64_t now_ms, struct error *e)
{
    uint8_t bytes[LOCK_TOKEN_LEN / 2];
    char token[LOCK_TOKEN_LEN + 1];
    if (!random_take(random, bytes, sizeof bytes, e))
        return false;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(token + 2 * i, 3, "%02x", bytes[i]);
    memcpy(l->previous, l->value, sizeof l->previous);
    snprintf(l->value, sizeof l->value, "%s %" PRIu64 " %s", token, l->ttl_ms, l->who);
    l->asked_ms = now_ms;
    l->held = false;
    return true;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t lock_floor(const struct lock *l, uint64_t seen, uint64_t wall_ms)
{
    uint64_t floor = larger(l->epoch, larger(seen, wall_ms));
    return floor < NUMBER_MAX ? floor : NUMBER_MAX - 1;
}

/* A tenth is kept back: for clocks that go at different speeds, and for the time between a look at
 * the clock and the act. */
static uint64_t end_of(const struct lock *l, uint64_t start_ms)
{
    return start_ms + l->ttl_ms - l->ttl_ms / 10;
}

bool lock_granted(struct lock *l, uint64_t epoch, uint64_t now_ms)
{
    if (epoch <= l->epoch || epoch > NUMBER_MAX)
        return false;
    l->epoch = epoch;
    l->end_ms = end_of(l, l->asked_ms);
    l->held = now_ms < l->end_ms;
    return l->held;
}

void lock_refused(struct lock *l)
{
    l->held = false;
    l->value[0] = l->previous[0] = '\0';
}

/* Each request that was granted gave the lock until its own start + ttl at least, so the latest
 * start counts, in whatever order the answers come. */
void lock_renewed(struct lock *l, uint64_t epoch, uint64_t start_ms)
{
    if (l->held && epoch == l->epoch)
        l->end_ms = larger(l->end_ms, end_of(l, start_ms));
}

bool lock_lost(struct lock *l, uint64_t epoch)
{
    if (!l->held || epoch != l->epoch)
        return false;
    l->held = false;
    return true;
}

/* The value stays: if the release does not get there, the next attempt replaces it. */
void lock_released(struct lock *l)
{
    l->held = false;
}

bool lock_believes(const struct lock *l, uint64_t now_ms)
{
    return lock_left_ms(l, now_ms) > 0;
}

uint64_t lock_left_ms(const struct lock *l, uint64_t now_ms)
{
    return l->held && now_ms < l->end_ms ? l->end_ms - now_ms : 0;
}

static bool is_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (strchr("0123456789abcdef", s.p[i]) == NULL || s.p[i] == '\0')
            return false;
    return true;
}

static bool read_ttl(struct str s, uint64_t *ms)
{
    *ms = 0;
    if (s.n == 0 || s.n > 8 || s.p[0] == '0')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        *ms = *ms * 10 + (uint64_t)(s.p[i] - '0');
    }
    return *ms <= LOCK_TTL_MAX_MS;
}

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    return true;
}

/* The part before the next space, which is taken off *rest with it. */
static struct str part(struct str *rest)
{
    const char *space = rest->n ? memchr(rest->p, ' ', rest->n) : NULL;
    struct str s = {rest->p, space ? (size_t)(space - rest->p) : rest->n};
    size_t gone = s.n + (space != NULL);
    *rest = (struct str){rest->p ? rest->p + gone : NULL, rest->n - gone};
    return s;
}

bool lock_holder_parse(struct lock_holder *h, struct str value)
{
    struct str rest = value;
    h->token = part(&rest);
    if (h->token.n != LOCK_TOKEN_LEN || !is_hex(h->token) || !read_ttl(part(&rest), &h->ttl_ms))
        return false;
    h->who = rest;
    if (rest.n == 0 || rest.n > LOCK_WHO_MAX || !is_plain(rest))
        return false;
    const char *slash = memrchr(rest.p, '/', rest.n);
    size_t node = slash ? (size_t)(slash - rest.p) : rest.n;
    h->node = (struct str){rest.p, node};
    h->instance =
        slash ? (struct str){slash + 1, rest.n - node - 1} : (struct str){rest.p + node, 0};
    return true;
}
