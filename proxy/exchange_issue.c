/* Issued keys: a request without a key gets one that the proxy makes, and its answer tells the
 * client of it by a cookie, with which the client's next requests come. The key is made once, so
 * that it is the same for each try. An answer of the proxy's own sets no cookie: the client may
 * meet a better server with another key. */
#include <strings.h>

#include "base/log.h"
#include "proxy/client.h"
#include "proxy/exchange_parts.h"

#define LOG_EVERY_MS 1000

static void log_failure(struct exchange *x, const struct error *e)
{
    struct worker *w = exchange_worker(x);
    uint64_t now = uv_now(&w->loop);
    struct log_line l;
    if (w->random_failed_ms && now - w->random_failed_ms < LOG_EVERY_MS)
        return;
    w->random_failed_ms = now;
    if (log_begin(&l, LOG_WARN, "no key issued")) {
        log_str(&l, "listener", x->wl->config->name);
        log_str(&l, "reason", e->text);
        log_end(&l);
    }
}

/* False: the kernel has no random bytes. */
static bool issue(struct exchange *x, const struct key_source *from)
{
    uint8_t random[KEY_ISSUED_LEN / 2];
    struct error e;
    if (!random_take(&exchange_worker(x)->random, random, sizeof random, &e)) {
        log_failure(x, &e);
        return false;
    }
    key_issue(random, x->issued_key);
    x->made_key = true;
    x->secure = key_is_secure(from);
    lease_give_key(&x->lease, (struct str){x->issued_key, KEY_ISSUED_LEN});
    return true;
}

/* A client that a server has logged in by its connection has to stay with that server, and without
 * cookies it would get a new key with each step of a login. */
void exchange_without_key(struct exchange *x, const struct key_source *from)
{
    if (!x->issued || x->lease.client->tied || !issue(x, from))
        cell_add(&x->wl->cell->keyless, 1);
}

/* Browsers take a cookie with such a name, and one for other sites, only if it is Secure (RFC
 * 6265bis 4.1.2.7, 4.1.3): without it each of their requests would get a new key. */
static bool needs_secure(const struct config_key_part *issued, const struct config_issued_cookie *c)
{
    return c->same_site == SAME_SITE_NONE || strncasecmp(issued->name, "__Secure-", 9) == 0 ||
           strncasecmp(issued->name, "__Host-", 7) == 0;
}

/* A server that sets this cookie takes it for its own: the key changes with it. */
static void log_clash(struct exchange *x)
{
    struct log_line l;
    if (x->wl->told_of_cookie ||
        !log_begin(&l, LOG_WARN, "servers set the cookie of an issued key"))
        return;
    x->wl->told_of_cookie = true;
    log_str(&l, "listener", x->wl->config->name);
    log_str(&l, "cookie", x->issued->name);
    log_str(&l, "server", lease_server(&x->lease)->name);
    log_str(&l, "remedy", "issued:NAME with the name of a cookie that no server sets");
    log_end(&l);
}

const struct rewrite_cookie *exchange_cookie(struct exchange *x, const struct head *h,
                                             const char *base, struct rewrite_cookie *out)
{
    static const struct str same_sites[] = {[SAME_SITE_LAX] = {"Lax", 3},
                                            [SAME_SITE_STRICT] = {"Strict", 6},
                                            [SAME_SITE_NONE] = {"None", 4}};
    const struct config_issued_cookie *c = &x->wl->config->issued_cookie;
    struct str name = {x->issued->name, x->issued->name_len};
    if (head_sets_cookie(h, base, name)) {
        log_clash(x);
        return NULL;
    }
    if (!x->made_key)
        return NULL;
    *out = (struct rewrite_cookie){.name = name,
                                   .value = {x->issued_key, KEY_ISSUED_LEN},
                                   .path = str_of(c->path),
                                   .same_site = same_sites[c->same_site],
                                   .domain = c->domain ? str_of(c->domain) : (struct str){0},
                                   .max_age_s = c->max_age_ms / 1000,
                                   .secure = x->secure || needs_secure(x->issued, c)};
    return out;
}
