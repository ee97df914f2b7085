#include "app/admin_where.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "config/token.h"

#define DEFAULT_PORT "9900"
#define DEFAULT_URL "http://127.0.0.1:" DEFAULT_PORT

static bool refuse(struct error *e, const char *url, const char *why)
{
    error_set(e, 0, "%.200s is not the URL of an admin interface: %s", url, why);
    return false;
}

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f)
            return false;
    return true;
}

static bool is_port(struct str s)
{
    unsigned long port = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || s.n > 5)
            return false;
        port = port * 10 + (unsigned long)(s.p[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

/* Splits "HOST", "HOST:PORT", "[V6]" or "[V6]:PORT"; *port is empty if there is none. False: none
 * of these. */
static bool split(struct str s, struct str *host, struct str *port, bool *brackets)
{
    *brackets = s.n && s.p[0] == '[';
    size_t open = *brackets;
    const char *end = s.n ? memchr(s.p, *brackets ? ']' : ':', s.n) : NULL;
    if (*brackets && end == NULL)
        return false;
    *host = (struct str){s.p + open, end ? (size_t)(end - s.p) - open : s.n};
    size_t at = open + host->n + open;
    *port = (struct str){NULL, 0};
    if (at < s.n) {
        *port = (struct str){s.p + at + 1, s.n - at - 1};
        if (s.p[at] != ':' || !is_port(*port))
            return false;
    }
    return host->n > 0;
}

/* The interface in "[fe80::1%eth0]" means nothing to the other side. */
static char *make_authority(struct str host, const char *port, bool brackets)
{
    const char *zone = brackets ? memchr(host.p, '%', host.n) : NULL;
    int n = (int)(zone ? (size_t)(zone - host.p) : host.n);
    size_t size = (size_t)n + strlen(port) + 4;
    char *out = mem_zalloc(size);
    snprintf(out, size, brackets ? "[%.*s]:%s" : "%.*s:%s", n, host.p, port);
    return out;
}

/* Cuts the scheme off. NULL: it is none that can be spoken. */
static const char *after_scheme(const char *url, const char **default_port)
{
    *default_port = DEFAULT_PORT;
    if (strncasecmp(url, "http://", 7) == 0) {
        *default_port = "80";
        return url + 7;
    }
    return strstr(url, "://") || strncmp(url, "unix:", 5) == 0 ? NULL : url;
}

static bool set_url(struct admin_where *w, const char *url, struct error *e)
{
    const char *default_port;
    const char *rest = after_scheme(url, &default_port);
    struct str host, port;
    bool brackets;
    if (rest == NULL)
        return refuse(e, url, "allowed is http://HOST:PORT");
    struct str at = {rest, strcspn(rest, "/?#")}, path = str_of(rest + at.n);
    if (!is_plain(str_of(url)) || strpbrk(url, "@?#\\"))
        return refuse(e, url, "no user, query, fragment or white space is allowed");
    if (!split(at, &host, &port, &brackets))
        return refuse(e, url, "allowed is http://HOST:PORT, or http://[IPV6]:PORT");
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    w->host = mem_strndup(host.p, host.n);
    w->port = port.n ? mem_strndup(port.p, port.n) : mem_strdup(default_port);
    w->prefix = mem_strndup(path.p, path.n);
    w->authority = make_authority(host, w->port, brackets);
    return true;
}

/* An interface on all addresses of the host is reached by loopback. */
static bool set_listen(struct admin_where *w, const struct config *c, struct error *e)
{
    char url[ADDR_TEXT_MAX + 8] = "http://";
    if (!c->has_admin) {
        error_set(e, 0, "%.200s has no admin.listen, so its proxy cannot be asked", c->file);
        return false;
    }
    struct addr a = c->admin_listen;
    if (a.sa.sa_family == AF_INET && a.v4.sin_addr.s_addr == htonl(INADDR_ANY))
        a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (a.sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a.v6.sin6_addr))
        a.v6.sin6_addr = in6addr_loopback;
    addr_format(&a, url + 7);
    return set_url(w, url, e);
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

static bool set_token(struct admin_where *w, const struct admin_hints *h, struct error *e)
{
    const char *token = environment("RINGPROXY_ADMIN_TOKEN");
    if (h->token_file) {
        w->token = token_load("", h->token_file, e);
        return w->token != NULL;
    }
    if (token && !is_plain(str_of(token))) {
        error_set(e, 0, "RINGPROXY_ADMIN_TOKEN: allowed are visible ASCII characters");
        return false;
    }
    if (token == NULL && h->config)
        token = h->config->admin_token;
    w->token = token ? mem_strdup(token) : NULL;
    return true;
}

bool admin_where_init(struct admin_where *w, const struct admin_hints *h, struct error *e)
{
    const char *url = h->url ? h->url : environment("RINGPROXY_ADMIN");
    *w = (struct admin_where){0};
    bool ok = url == NULL && h->config ? set_listen(w, h->config, e)
                                       : set_url(w, url ? url : DEFAULT_URL, e);
    if (ok && set_token(w, h, e))
        return true;
    admin_where_deinit(w);
    return false;
}

void admin_where_deinit(struct admin_where *w)
{
    free(w->host);
    free(w->port);
    free(w->authority);
    free(w->prefix);
    free(w->token);
    *w = (struct admin_where){0};
}
