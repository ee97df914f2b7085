#include "config/redis_url.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define URL_MAX 4096
#define DB_MAX 65535
#define FORMS                                                                   \
    "allowed redis://[USER:PASSWORD@]HOST[:PORT][/DB][?password_file=PATH] or " \
    "unix:/PATH[?db=N&user=USER&password_file=PATH]"

/* A URL cut into its parts, still encoded. No message quotes a part: what a mistake has put into
 * the wrong place may be the password. */
struct parts {
    bool is_unix;
    bool has_user, has_password;
    struct str user, password, host, port, path, query;
};

/* The part before the first of `stops`; *rest is what follows, that byte included. */
static struct str cut_at(struct str *rest, const char *stops)
{
    size_t n = 0;
    while (n < rest->n && strchr(stops, rest->p[n]) == NULL)
        n++;
    struct str part = {rest->p, n};
    *rest = (struct str){rest->p + n, rest->n - n};
    return part;
}

static struct str without_first(struct str s)
{
    return s.n ? (struct str){s.p + 1, s.n - 1} : s;
}

static bool skip(struct str *s, const char *prefix)
{
    size_t n = strlen(prefix);
    if (s->n < n || strncasecmp(s->p, prefix, n) != 0)
        return false;
    *s = (struct str){s->p + n, s->n - n};
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The bytes that %XX stand for, with a NUL behind them. NULL: a '%' without two digits, or %00,
 * which no text can hold. */
static char *decode(struct str s)
{
    char *out = mem_zalloc(s.n + 1);
    for (size_t i = 0, n = 0; i < s.n; i++, n++) {
        if (s.p[i] != '%') {
            out[n] = s.p[i];
            continue;
        }
        int high = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
        int low = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;
        if (high < 0 || low < 0 || high + low == 0) {
            free(out);
            return NULL;
        }
        out[n] = (char)(high * 16 + low);
        i += 2;
    }
    return out;
}

static bool parse_number(struct str s, unsigned most, unsigned *out)
{
    unsigned v = 0;
    if (s.n == 0 || s.n > 6 || (s.n > 1 && s.p[0] == '0'))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (unsigned)(s.p[i] - '0');
    }
    *out = v;
    return v <= most;
}

/* ---- cutting ---- */

static bool split_user(struct parts *p, struct str who)
{
    struct str rest = who;
    p->user = cut_at(&rest, ":");
    p->has_user = p->user.n > 0;
    p->has_password = rest.n > 0;
    p->password = without_first(rest);
    return p->has_user || p->has_password;
}

/* The '@' that ends the user's part is the last one, as a password often has one that should be
 * written %40. */
static bool split_authority(struct parts *p, struct str all, struct error *e)
{
    const char *at = all.n ? memrchr(all.p, '@', all.n) : NULL;
    struct str host = all;
    if (at) {
        if (!split_user(p, (struct str){all.p, (size_t)(at - all.p)})) {
            error_set(e, 0, "nothing is before '@', " FORMS);
            return false;
        }
        host = (struct str){at + 1, (size_t)(all.p + all.n - at - 1)};
    }
    if (host.n && host.p[0] == '[') { /* the colons of an IPv6 address are none of a port */
        p->host = cut_at(&host, "]");
        if (host.n == 0) {
            error_set(e, 0, "']' is missing behind the IPv6 address, " FORMS);
            return false;
        }
        p->host.n++;
        host = without_first(host);
    } else {
        p->host = cut_at(&host, ":");
    }
    if (p->host.n == 0 || (host.n && host.p[0] != ':')) {
        error_set(e, 0, "the host is missing or no host, " FORMS);
        return false;
    }
    p->port = host.n ? without_first(host) : STR("6379");
    return true;
}

static bool visible(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f) /* bytes above ASCII too, whatever char is */
            return false;
    return true;
}

static bool split(struct parts *p, struct str s, struct error *e)
{
    if (s.n == 0 || s.n > URL_MAX || !visible(s)) {
        error_set(e, 0,
                  s.n == 0 || s.n > URL_MAX
                      ? "a URL of %zu bytes, allowed 1 to %d"
                      : "the URL has other than visible ASCII characters, which are written %%XX",
                  s.n, URL_MAX);
        return false;
    }
    if (skip(&s, "rediss:")) {
        error_set(e, 0, "rediss (TLS) is not supported by this version, " FORMS);
        return false;
    }
    if (memchr(s.p, '#', s.n)) {
        error_set(e, 0, "a Redis has no part behind '#', in a password it is written %%23");
        return false;
    }
    p->is_unix = skip(&s, "unix:");
    if (p->is_unix && skip(&s, "//") && s.n && s.p[0] != '/') {
        error_set(e, 0, "a Unix socket has no host, " FORMS);
        return false;
    }
    if (!p->is_unix) {
        if (!skip(&s, "redis://")) {
            error_set(e, 0, "not a URL of a Redis, " FORMS);
            return false;
        }
        if (!split_authority(p, cut_at(&s, "/?"), e))
            return false;
    }
    while (p->is_unix && s.n > 1 && s.p[0] == '/' && s.p[1] == '/')
        s = without_first(s); /* "//" would begin a host where the path is shown */
    p->path = cut_at(&s, "?");
    p->query = without_first(s);
    return true;
}

/* ---- meaning ---- */

static bool set_text(char **out, struct str coded, const char *what, struct error *e)
{
    if (*out || coded.n == 0) {
        error_set(e, 0, "the %s is %s, " FORMS, what, *out ? "given twice" : "empty");
        return false;
    }
    *out = decode(coded);
    if (*out == NULL)
        error_set(e, 0, "the %s has a '%%' that is not followed by two hexadecimal digits, or %%00",
                  what);
    return *out != NULL;
}

static bool set_db(struct redis_url *u, struct str digits, bool *given, struct error *e)
{
    if (*given || !parse_number(digits, DB_MAX, &u->db)) {
        error_set(e, 0,
                  *given ? "the database is given twice, allowed once"
                         : "the database is not a number from 0 to %d",
                  DB_MAX);
        return false;
    }
    *given = true;
    return true;
}

static bool read_query(struct redis_url *u, struct str query, bool *db, struct error *e)
{
    while (query.n) {
        struct str pair = cut_at(&query, "&");
        query = without_first(query);
        struct str name = cut_at(&pair, "="), value = without_first(pair);
        bool ok;
        if (str_eq(name, STR("password_file"))) {
            ok = set_text(&u->password_file, value, "password_file", e);
        } else if (str_eq(name, STR("user"))) {
            ok = set_text(&u->user, value, "user", e);
        } else if (str_eq(name, STR("db"))) {
            ok = set_db(u, value, db, e);
        } else {
            error_set(e, 0, "an unknown parameter, allowed password_file, user, db");
            ok = false;
        }
        if (!ok)
            return false;
    }
    return true;
}

/* A password without a user is that of the default one. A user without a password is taken with a
 * file alone: redis-cli reads redis://WORD@HOST as a password, which must not end in a log. */
static bool check_login(const struct redis_url *u, struct error *e)
{
    if (u->password && u->password_file) {
        error_set(e, 0, "has a password and a password_file, allowed one of them");
        return false;
    }
    if (u->user && !u->password && !u->password_file) {
        error_set(e, 0,
                  "names a user without a password, allowed USER:PASSWORD@, :PASSWORD@ or "
                  "USER@ with ?password_file=PATH");
        return false;
    }
    return true;
}

static bool set_address(struct redis_url *u, const struct parts *p, struct error *e)
{
    struct str host = p->is_unix ? p->path : p->host;
    char *name = decode(host);
    if (name == NULL || !visible(str_of(name)) || (p->is_unix && name[0] != '/')) {
        free(name);
        error_set(e, 0,
                  p->is_unix ? "the path of the socket is not /PATH, " FORMS
                             : "the host is no host, " FORMS);
        return false;
    }
    size_t n = strlen(name) + p->port.n + sizeof "unix:";
    u->address_text = mem_zalloc(n);
    snprintf(u->address_text, n, "%s%s%s%.*s", p->is_unix ? "unix:" : "", name,
             p->is_unix ? "" : ":", (int)p->port.n, p->port.n ? p->port.p : "");
    free(name);
    enum addr_result r = addr_parse(str_of(u->address_text), &u->address);
    if (r == ADDR_NAME)
        u->address.len = 0;
    if (r == ADDR_LONG)
        error_set(e, 0, "a path of a socket of %zu bytes, allowed 1 to %zu", host.n,
                  (size_t)ADDR_PATH_MAX);
    else if (r == ADDR_NO_INTERFACE)
        error_set(e, 0, "the host names no interface of this host behind '%%25'");
    else if (r != ADDR_OK && r != ADDR_NAME)
        error_set(e, 0, "not a host with a port from 1 to 65535, " FORMS);
    else if (addr_lacks_scope(&u->address))
        error_set(e, 0, "the host is link-local and names no interface, as in [fe80::1%%25eth0]");
    else
        return true;
    return false;
}

/* The path of a redis URL is a database. What has an '@' there is the rest of a password. */
static bool set_path(struct redis_url *u, const struct parts *p, bool *db, struct error *e)
{
    struct str digits = without_first(p->path);
    if (p->is_unix || digits.n == 0)
        return true;
    if (memchr(digits.p, '@', digits.n)) {
        error_set(e, 0,
                  "'@' behind the host; '/', '?' and '#' of a password are written %%2F, "
                  "%%3F, %%23");
        return false;
    }
    return set_db(u, digits, db, e);
}

/* From the parts as they were written, as what %XX stands for need not be visible. */
static void set_shown(struct redis_url *u, const struct parts *p)
{
    struct str user = p->has_user ? p->user : STR(""), at = p->is_unix ? p->path : p->host;
    size_t n = user.n + at.n + p->port.n + sizeof "redis://@:?db=65535";
    u->shown = mem_zalloc(n);
    if (!p->is_unix)
        snprintf(u->shown, n, "redis://%.*s%s%.*s:%.*s/%u", (int)user.n, user.p, user.n ? "@" : "",
                 (int)at.n, at.p, (int)p->port.n, p->port.p, u->db);
    else if (u->db)
        snprintf(u->shown, n, "unix:%.*s?db=%u", (int)at.n, at.p, u->db);
    else
        snprintf(u->shown, n, "unix:%.*s", (int)at.n, at.p);
}

bool redis_url_parse(struct redis_url *u, const char *text, struct error *e)
{
    struct parts p = {0};
    bool db = false;
    *u = (struct redis_url){0};
    if (split(&p, str_of(text), e) && (!p.has_user || set_text(&u->user, p.user, "user", e)) &&
        (!p.has_password || set_text(&u->password, p.password, "password", e)) &&
        set_path(u, &p, &db, e) && read_query(u, p.query, &db, e) && check_login(u, e) &&
        set_address(u, &p, e)) {
        set_shown(u, &p);
        return true;
    }
    redis_url_deinit(u);
    return false;
}

void redis_url_deinit(struct redis_url *u)
{
    free(u->shown);
    free(u->address_text);
    free(u->user);
    free(u->password);
    free(u->password_file);
    *u = (struct redis_url){0};
}
