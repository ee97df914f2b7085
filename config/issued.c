#include "config/issued.h"

#include <stdio.h>
#include <string.h>

/* ---- lists of keys ---- */

/* Item i of what `key:` has, which may be one key without a list. */
static const struct yaml_node *item_of(const struct yaml_node *node, size_t i)
{
    return node->kind == YAML_LIST ? node->items[i] : node;
}

static bool has_part(const struct config_key *k, enum config_key_kind kind)
{
    for (size_t i = 0; i < k->nparts; i++)
        if (k->parts[i].kind == kind)
            return true;
    return false;
}

/* True if a client that has had its key from `fallback` may come with `k` later. Behind an issued
 * key that is a cookie alone: an answer may set it, while what sends a header or a parameter is
 * rarely what takes cookies. */
static bool comes_later(const struct config_key *k, const struct config_key *fallback)
{
    if (has_part(k, KEY_COOKIE))
        return true;
    return !config_issued(fallback, 1) && (has_part(k, KEY_HEADER) || has_part(k, KEY_QUERY));
}

/* True if a key tells one client from the other, whatever the request says. */
static bool is_fallback(const struct config_key *k)
{
    return has_part(k, KEY_SOURCE_IP) || has_part(k, KEY_CLIENT_IP) || config_issued(k, 1);
}

/* The keys before keys[i] that a client may begin to send, as "header:X or cookie:sid". False:
 * there is none. */
static bool name_later(const struct config_key *keys, size_t i, const struct yaml_node *node,
                       char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (size_t k = 0; k < i && n < size; k++) {
        char text[REPORT_QUOTE_MAX];
        if (comes_later(&keys[k], &keys[i]))
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? " or " : "",
                                  report_quote(item_of(node, k)->text, text));
    }
    return n > 0;
}

/* The first fallback of a list is the one that counts: it is never absent, or hardly ever. */
static void warn_of_change(struct report *r, const struct config_key *keys, size_t nkeys,
                           const struct yaml_node *node, const struct report_path *path)
{
    char later[256], text[REPORT_QUOTE_MAX];
    size_t i = 0;
    while (i < nkeys && !is_fallback(&keys[i]))
        i++;
    if (i == nkeys || !name_later(keys, i, node, later, sizeof later))
        return;
    struct report_path at = {path, .index = i};
    report_node(r->warnings, item_of(node, i), &at,
                "warning: a client that begins to send %s, after a login say, changes servers and "
                "loses what the first one keeps for it, as its key was %s before; with issued:NAME "
                "alone it stays where it began",
                later, report_quote(item_of(node, i)->text, text));
}

/* Browsers refuse a cookie with this prefix and such attributes. (RFC 6265bis 4.1.3.2) */
static void check_prefix(struct report *r, const struct config_listener *l,
                         const struct config_key *keys, size_t nkeys, const struct yaml_node *node,
                         const struct report_path *path)
{
    const struct config_key_part *issued = config_issued(keys, nkeys);
    const struct config_issued_cookie *c = &l->issued_cookie;
    struct report_path item = {path, .index = nkeys - 1};
    char text[REPORT_QUOTE_MAX];
    if (issued && strncasecmp(issued->name, "__Host-", 7) == 0 &&
        (c->domain || (c->path && strcmp(c->path, "/") != 0)))
        report_node(r, item_of(node, nkeys - 1), node->kind == YAML_LIST ? &item : path,
                    "%s begins with __Host-, allowed if issued_cookie has no domain and no path "
                    "other than /",
                    report_quote(str_of(issued->name), text));
}

void issued_check_keys(struct report *r, const struct config_listener *l,
                       const struct config_key *keys, size_t nkeys, const struct yaml_node *node,
                       const struct report_path *path)
{
    if (nkeys == 0)
        return;
    check_prefix(r, l, keys, nkeys, node, path);
    warn_of_change(r, keys, nkeys, node, path);
}

/* ---- issued_cookie ---- */

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Labels of letters, digits and hyphens (RFC 1123 2.1), the last one not of digits alone: that
 * would be an address. A dot in front, which browsers ignore (RFC 6265 5.2.3), is none. */
static bool is_domain(const char *s)
{
    bool digits = true;
    for (const char *label = s;; s++) {
        if (*s == '.' || *s == 0) {
            if (s == label || s - label > 63 || label[0] == '-' || s[-1] == '-')
                return false;
            if (*s == 0)
                return !digits;
            label = s + 1;
            digits = true;
        } else if (is_letter_or_digit(*s) || *s == '-') {
            digits = digits && *s >= '0' && *s <= '9';
        } else {
            return false;
        }
    }
}

/* RFC 6265 4.1.1, path-value, without white space, which browsers would cut off at the end. */
static bool is_cookie_path(const char *s)
{
    if (*s != '/')
        return false;
    for (; *s; s++)
        if (*s <= ' ' || *s > '~' || *s == ';')
            return false;
    return true;
}

static void check_values(struct report *r, const struct config_issued_cookie *c,
                         const struct yaml_node *map, const struct report_path *path)
{
    const struct yaml_node *max_age = yaml_tree_get(map, "max_age");
    struct report_path at = {path, .key = STR("max_age")};
    char text[REPORT_QUOTE_MAX];
    if (max_age && c->max_age_ms % 1000)
        report_node(r, max_age, &at, "%s is not in whole seconds, allowed 1s to 9600h",
                    report_quote(max_age->text, text));
    at.key = STR("domain");
    if (c->domain && !is_domain(c->domain))
        report_node(r, yaml_tree_get(map, "domain"), &at,
                    "%s is not a domain, allowed a name such as shop.example",
                    report_quote(str_of(c->domain), text));
    at.key = STR("path");
    if (c->path && !is_cookie_path(c->path))
        report_node(r, yaml_tree_get(map, "path"), &at,
                    "%s is not a path of cookies, allowed '/' and visible ASCII characters other "
                    "than ';'",
                    report_quote(str_of(c->path), text));
}

/* Notes in each route whether it issues keys. False: none does. */
static bool note_issued(struct config_listener *l)
{
    bool any = false;
    for (size_t i = 0; i < l->nroutes; i++) {
        l->routes[i].issued = config_issued(l->routes[i].keys, l->routes[i].nkeys);
        any = any || l->routes[i].issued;
    }
    return any;
}

/* True if a list of keys was wrong, and so may have been meant to issue one. */
static bool may_issue(const struct config_listener *l, const struct yaml_node *node)
{
    for (size_t i = 0; i < l->nroutes; i++)
        if (l->routes[i].own_keys && l->routes[i].nkeys == 0)
            return true;
    return l->nroutes == 0 || (yaml_tree_get(node, "key") && l->nkeys == 0);
}

void issued_check_cookie(struct report *r, struct config_listener *l, const struct yaml_node *node,
                         const struct report_path *path)
{
    const struct yaml_node *map = yaml_tree_get(node, "issued_cookie");
    struct report_path at = {path, .key = STR("issued_cookie")};
    bool issues = note_issued(l);
    if (map == NULL)
        return;
    check_values(r, &l->issued_cookie, map, &at);
    if (l->mode == MODE_TCP)
        report_node(r, map, &at, "means nothing with mode: tcp, allowed with mode: http");
    else if (!issues && !may_issue(l, node))
        report_node(r, map, &at, "means nothing without a key issued:NAME, allowed with one");
}
