/* Readers of the values with a syntax of their own: names, texts, statuses, networks, keys. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "config/read.h"

#define NAME_MAX_BYTES 255
#define KEY_MAX_BYTES 4096

/* Cuts the part before the next `sep` off *rest and returns it; the separator is dropped. *more: a
 * separator was there, so that another part, possibly empty, follows. */
static struct str cut(struct str *rest, char sep, bool *more)
{
    const char *at = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
    struct str part = {rest->p, at ? (size_t)(at - rest->p) : rest->n};
    size_t used = part.n + (at != NULL);
    *more = at != NULL;
    *rest = (struct str){rest->p + used, rest->n - used};
    return part;
}

/* Names go into logs, metrics and paths of the admin interface, where quotes, white space and
 * slashes would have to be escaped; so names cannot contain them. */
bool read_name(struct report *r, const struct yaml_node *node, const struct report_path *path,
               char **out)
{
    char text[REPORT_QUOTE_MAX];
    if (node->kind != YAML_SCALAR || node->text.n == 0) {
        read_wrong_text(r, node, path, "a name");
        return false;
    }
    if (node->text.n > NAME_MAX_BYTES) {
        report_node(r, node, path, "a name of %zu bytes, allowed 1 to %d", node->text.n,
                    NAME_MAX_BYTES);
        return false;
    }
    if (!report_visible(node->text) || strpbrk(node->text.p, "\"/")) {
        report_node(r, node, path,
                    "%s is not a name, allowed visible characters without white space, '\"' and "
                    "'/'",
                    report_quote(node->text, text));
        return false;
    }
    *out = mem_strdup(node->text.p);
    return true;
}

bool read_text(struct report *r, const struct yaml_node *node, const struct report_path *path,
               size_t max, char **out)
{
    if (node->kind != YAML_SCALAR || node->text.n == 0) {
        read_wrong_text(r, node, path, "a text");
        return false;
    }
    if (node->text.n > max) {
        report_node(r, node, path, "a text of %zu bytes, allowed 1 to %zu", node->text.n, max);
        return false;
    }
    *out = mem_strdup(node->text.p);
    return true;
}

bool read_bytes(struct report *r, const struct yaml_node *node, const struct report_path *path,
                size_t max, char **out, size_t *len)
{
    bool scalar = node->kind == YAML_SCALAR || node->kind == YAML_NUL;
    if (!scalar || node->bytes.n == 0) {
        read_wrong_text(r, node, path, "a text");
        return false;
    }
    if (node->bytes.n > max) {
        report_node(r, node, path, "a text of %zu bytes, allowed 1 to %zu", node->bytes.n, max);
        return false;
    }
    *out = mem_zalloc(node->bytes.n + 1);
    memcpy(*out, node->bytes.p, node->bytes.n);
    *len = node->bytes.n;
    return true;
}

/* ---- statuses ---- */

/* Three digits, 100 to 599. */
static bool parse_status(struct str s, uint16_t *out)
{
    if (s.n != 3 || s.p[0] < '1' || s.p[0] > '5')
        return false;
    for (size_t i = 1; i < 3; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    *out = (uint16_t)((s.p[0] - '0') * 100 + (s.p[1] - '0') * 10 + (s.p[2] - '0'));
    return true;
}

static bool parse_range(struct str s, struct config_range *out)
{
    bool more;
    struct str from = cut(&s, '-', &more);
    if (!parse_status(str_trim(from), &out->from))
        return false;
    out->to = out->from;
    /* a reversed range would match nothing: surely a mistake */
    return !more || (parse_status(str_trim(s), &out->to) && out->from <= out->to);
}

/* Appends the ranges of one scalar to an array. The array has no capacity field: its capacity is
 * the next power of two, so it is full exactly when the count is one. */
static bool add_ranges(struct report *r, const struct yaml_node *node,
                       const struct report_path *path, struct config_range **out, size_t *count)
{
    char text[REPORT_QUOTE_MAX];
    struct str rest = node->text;
    bool more = true;
    if (node->kind != YAML_SCALAR || node->text.n == 0) {
        read_wrong_kind(r, node, path, "statuses such as 200 or 200-399");
        return false;
    }
    while (more) {
        struct str part = str_trim(cut(&rest, ',', &more));
        struct config_range range;
        if (!parse_range(part, &range)) {
            report_node(r, node, path,
                        "%s is not a status or a range, allowed N or N-M from 100 "
                        "to 599",
                        report_quote(part, text));
            return false;
        }
        if ((*count & (*count - 1)) == 0)
            *out = mem_grow(*out, *count ? *count * 2 : 1, sizeof **out);
        (*out)[(*count)++] = range;
    }
    return true;
}

/* Either a single scalar or a list of scalars, each of which may hold several ranges. */
bool read_statuses(struct report *r, const struct yaml_node *node, const struct report_path *path,
                   struct config_range **out, size_t *count)
{
    struct config_range *ranges = NULL;
    size_t n = 0;
    bool ok = true;
    if (node->kind == YAML_LIST) {
        for (size_t i = 0; i < node->count; i++) {
            struct report_path at = {path, .index = i};
            ok = add_ranges(r, node->items[i], &at, &ranges, &n) && ok;
        }
        if (node->count == 0) {
            report_node(r, node, path, "the list is empty, allowed 1 or more");
            ok = false;
        }
    } else {
        ok = add_ranges(r, node, path, &ranges, &n);
    }
    if (!ok) {
        free(ranges);
        return false;
    }
    *out = ranges;
    *count = n;
    return true;
}

/* ---- networks ---- */

#define NETWORKS "ADDRESS, ADDRESS/BITS or unix"

static bool read_network(struct report *r, const struct yaml_node *node,
                         const struct report_path *path, struct network *out)
{
    char text[REPORT_QUOTE_MAX];
    if (node->kind != YAML_SCALAR || node->text.n == 0) {
        read_wrong_kind(r, node, path, NETWORKS);
        return false;
    }
    report_quote(node->text, text);
    switch (network_parse(node->text, out)) {
    case NETWORK_OK:
        return true;
    case NETWORK_LENGTH:
        report_node(r, node, path,
                    "%s is longer than an address, allowed 0 to 32 bits, IPv6 0 to 128", text);
        break;
    case NETWORK_BAD:
        report_node(r, node, path, "%s is not an IP address or network, allowed " NETWORKS, text);
        break;
    }
    return false;
}

bool read_networks(struct report *r, const struct yaml_node *node, const struct report_path *path,
                   struct network **out, size_t *count)
{
    bool list = node->kind == YAML_LIST, ok = true;
    size_t n = list ? node->count : 1;
    struct network *networks = mem_zalloc_array(n, sizeof *networks);
    for (size_t i = 0; i < n; i++) {
        struct report_path at = {path, .index = i};
        const struct yaml_node *item = list ? node->items[i] : node;
        ok = read_network(r, item, list ? &at : path, &networks[i]) && ok;
    }
    if (!ok) {
        free(networks);
        return false;
    }
    *out = networks;
    *count = networks_sort(networks, n);
    return true;
}

/* ---- keys ---- */

bool read_is_token(struct str s)
{
    static const char others[] = "!#$%&'*+-.^_`|~"; /* RFC 9110 5.6.2 */
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (c == 0 || strchr(others, c) == NULL))
            return false;
    }
    return s.n > 0;
}

/* True if a name can occur before '=' in a query: queries are compared undecoded. */
static bool is_parameter(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c == 0x7f || strchr("&=#", c))
            return false;
    }
    return s.n > 0;
}

static const struct {
    const char *word;
    enum config_key_kind kind;
    bool (*name_ok)(struct str name); /* NULL: it takes no name */
} key_kinds[] = {
    {"header", KEY_HEADER, read_is_token},
    {"cookie", KEY_COOKIE, read_is_token},
    {"query", KEY_QUERY, is_parameter},
    {"path", KEY_PATH, NULL},
    {"uri", KEY_URI, NULL},
    {"host", KEY_HOST, NULL},
    {"source_ip", KEY_SOURCE_IP, NULL},
    {"client_ip", KEY_CLIENT_IP, NULL},
    {"sni", KEY_SNI, NULL},
    {"issued", KEY_ISSUED, read_is_token},
};

const char *config_key_word(enum config_key_kind kind)
{
    size_t k = 0;
    while (key_kinds[k].kind != kind)
        k++;
    return key_kinds[k].word;
}

/* One part of "a+b+c". */
static bool read_part(struct report *r, const struct yaml_node *node,
                      const struct report_path *path, struct str s, struct config_key_part *out)
{
    char text[REPORT_QUOTE_MAX];
    struct str name = s;
    bool named;
    struct str word = cut(&name, ':', &named);
    size_t k = 0;
    const size_t kinds = sizeof key_kinds / sizeof *key_kinds;
    report_quote(s, text);
    while (k < kinds && !str_eq(word, str_of(key_kinds[k].word)))
        k++;
    if (k == kinds) {
        report_node(r, node, path,
                    "%s is not a key, allowed header:NAME, cookie:NAME, query:NAME, path, uri, "
                    "host, source_ip, client_ip, sni, joined with '+', and issued:NAME",
                    text);
    } else if (key_kinds[k].name_ok == NULL && named) {
        report_node(r, node, path, "%s takes no name, allowed %s", text, key_kinds[k].word);
    } else if (key_kinds[k].name_ok && !key_kinds[k].name_ok(name)) {
        report_node(r, node, path, "%s has no valid name, allowed %s:NAME", text,
                    key_kinds[k].word);
    } else {
        /* which kinds go with the mode of the listener is checked in rules.c */
        *out = (struct config_key_part){.kind = key_kinds[k].kind};
        if (named) {
            out->name = mem_strndup(name.p, name.n);
            out->name_len = name.n;
        }
        return true;
    }
    return false;
}

/* What is issued is one cookie, and the key has to be the bytes that come back in it. */
static bool check_issued_alone(struct report *r, const struct yaml_node *node,
                               const struct report_path *path, const struct config_key *key)
{
    char text[REPORT_QUOTE_MAX];
    for (size_t i = 0; i < key->nparts && key->nparts > 1; i++)
        if (key->parts[i].kind == KEY_ISSUED) {
            report_node(r, node, path, "%s joins issued:%s with another key, allowed alone",
                        report_quote(node->text, text), key->parts[i].name);
            return false;
        }
    return true;
}

/* Reads one alternative. False: it was reported, and *out may hold some parts, to be freed. */
static bool read_key(struct report *r, const struct yaml_node *node, const struct report_path *path,
                     struct config_key *out)
{
    if (node->kind != YAML_SCALAR || node->text.n == 0) {
        read_wrong_kind(r, node, path, "a key such as header:NAME or source_ip");
        return false;
    }
    if (node->text.n > KEY_MAX_BYTES) {
        report_node(r, node, path, "a key of %zu bytes, allowed 1 to %d", node->text.n,
                    KEY_MAX_BYTES);
        return false;
    }
    size_t parts = 1; /* no name may contain '+', so every one of them separates parts */
    for (size_t i = 0; i < node->text.n; i++)
        parts += node->text.p[i] == '+';
    out->parts = mem_zalloc_array(parts, sizeof *out->parts);
    struct str rest = node->text;
    /* continues after a wrong part, so that all of them are reported */
    bool ok = true, more = true;
    while (more) {
        struct str part = cut(&rest, '+', &more);
        if (read_part(r, node, path, part, &out->parts[out->nparts]))
            out->nparts++;
        else
            ok = false;
    }
    assert(!ok || out->nparts == parts);
    return ok && check_issued_alone(r, node, path, out);
}

bool read_keys(struct report *r, const struct yaml_node *node, const struct report_path *path,
               struct config_key **out, size_t *count)
{
    char text[REPORT_QUOTE_MAX];
    bool list = node->kind == YAML_LIST, ok = true;
    size_t n = list ? node->count : 1;
    struct config_key *keys = mem_zalloc_array(n, sizeof *keys);
    for (size_t i = 0; i < n; i++) {
        struct report_path at = {path, .index = i};
        const struct yaml_node *item = list ? node->items[i] : node;
        ok = read_key(r, item, list ? &at : path, &keys[i]) && ok;
        if (i + 1 < n && config_issued(&keys[i], 1)) {
            report_node(r, item, &at,
                        "%s is never absent, so no key behind it is used, allowed last",
                        report_quote(item->text, text));
            ok = false;
        }
    }
    if (!ok) {
        read_keys_free(keys, n);
        return false;
    }
    *out = keys;
    *count = n;
    return true;
}

void read_keys_free(struct config_key *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t p = 0; p < keys[i].nparts; p++)
            free(keys[i].parts[p].name);
        free(keys[i].parts);
    }
    free(keys);
}
