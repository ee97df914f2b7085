#include "proxy/key.h"

#include "base/network.h"
#include "pool/routes.h"

#define RARE __attribute__((noinline)) /* see http/parser.c */

/* The value of the first cookie with this name, not decoded. RFC 6265 4.2.1 has one Cookie field in
 * a request; HTTP/2 clients behind another proxy may send several (RFC 9113 8.2.3). */
static struct str find_cookie(const struct head *h, const char *base, struct str name)
{
    for (unsigned i = 0; i < h->nfields; i++) {
        if (h->fields[i].id != FIELD_COOKIE)
            continue;
        struct str rest = head_value(base, &h->fields[i]);
        while (rest.n) {
            const char *end = memchr(rest.p, ';', rest.n);
            struct str pair = {rest.p, end ? (size_t)(end - rest.p) : rest.n};
            rest.p += pair.n + (end != NULL);
            rest.n -= pair.n + (end != NULL);
            pair = str_trim(pair);
            /* the names of cookies are case-sensitive, unlike those of fields */
            if (pair.n > name.n && pair.p[name.n] == '=' && memcmp(pair.p, name.p, name.n) == 0)
                return (struct str){pair.p + name.n + 1, pair.n - name.n - 1};
        }
    }
    return (struct str){0};
}

/* The value of the first parameter with this name, not decoded: servers differ in how they decode,
 * but the key must be the same in every proxy. */
static struct str find_query(struct str query, struct str name)
{
    while (query.n) {
        const char *end = memchr(query.p, '&', query.n);
        struct str pair = {query.p, end ? (size_t)(end - query.p) : query.n};
        query.p += pair.n + (end != NULL);
        query.n -= pair.n + (end != NULL);
        if (pair.n > name.n && pair.p[name.n] == '=' && memcmp(pair.p, name.p, name.n) == 0)
            return (struct str){pair.p + name.n + 1, pair.n - name.n - 1};
    }
    return (struct str){0};
}

/* ---- client_ip ---- */

/* Parses an element of X-Forwarded-For: an IP address, in brackets or not, with or without a
 * port. */
static bool parse_forwarded(struct str s, struct addr *out)
{
    const char *close = s.n && s.p[0] == '[' ? memchr(s.p, ']', s.n) : NULL;
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    struct str ip = s, port = {0};
    if (close) {
        ip = (struct str){s.p + 1, (size_t)(close - s.p) - 1};
        port = (struct str){close + 1, s.n - ip.n - 2};
        if (ip.n == 0 || memchr(ip.p, ':', ip.n) == NULL)
            return false;
    } else if (colon && memchr(colon + 1, ':', s.n - (size_t)(colon - s.p) - 1) == NULL) {
        ip.n = (size_t)(colon - s.p); /* one colon: a port, as IPv6 has two at least */
        port = (struct str){colon, s.n - ip.n};
        if (ip.n == 0)
            return false;
    }
    if (port.n && (port.p[0] != ':' || port.n < 2 || port.n > 6))
        return false;
    for (size_t i = 1; i < port.n; i++)
        if (port.p[i] < '0' || port.p[i] > '9')
            return false;
    return addr_parse_ip(ip, out);
}

/* Cuts the last element off a list; empty elements mean nothing (RFC 9110 5.6.1). False: there is
 * none. */
static bool last_element(struct str *list, struct str *element)
{
    while (list->n) {
        size_t from = list->n;
        while (from && list->p[from - 1] != ',')
            from--;
        *element = str_trim((struct str){list->p + from, list->n - from});
        list->n = from ? from - 1 : 0;
        if (element->n)
            return true;
    }
    return false;
}

/* What the trusted proxies say of the client, from the right: each has appended the address that it
 * saw. The first address that is not theirs is the client; what stands left of it, or of an element
 * that is no address, the client may have invented. False: they name none. */
static bool find_forwarded(const struct key_source *from, struct addr *out)
{
    const struct head *h = from->head;
    for (unsigned i = h->nfields; i-- > 0;) {
        if (h->fields[i].id != FIELD_X_FORWARDED_FOR)
            continue;
        struct str list = head_value(from->base, &h->fields[i]), element;
        while (last_element(&list, &element)) {
            if (!parse_forwarded(element, out))
                return false;
            if (!networks_contain(from->trusted, from->ntrusted, out))
                return true;
        }
    }
    return false;
}

/* Appends the client's address. False: it has none, or memory is out. */
RARE static bool put_client_ip(struct buffer *out, const struct key_source *from)
{
    struct addr a;
    char text[ADDR_IP_MAX];
    struct str ip = from->peer;
    if (from->ntrusted && from->head && find_forwarded(from, &a))
        ip = (struct str){text, (size_t)addr_format_ip(&a, text)};
    return ip.n && buffer_append(out, ip.p, ip.n);
}

/* ---- parts ---- */

/* The path and the query as they stand in the target. */
RARE static struct str find_uri(const struct head *h, const char *base)
{
    uint32_t end = h->query.off + h->query.len;
    if (head_path_is_sent(h, base))
        return (struct str){base + h->path.off, end - h->path.off};
    uint32_t question = h->query.off - head_has_query(h, base); /* see lacks_path() */
    return (struct str){base + question, end - question};
}

/* The value of a part as it was sent; put_part() changes some of them. Empty: it is absent. */
static struct str find_in_head(const struct config_key_part *part, const struct head *h,
                               const char *base)
{
    struct str name = {part->name, part->name_len};
    switch (part->kind) {
    case KEY_HEADER: {
        const struct head_field *f = head_find(h, base, name);
        return f ? head_value(base, f) : (struct str){0};
    }
    case KEY_COOKIE:
    case KEY_ISSUED:
        return find_cookie(h, base, name);
    case KEY_QUERY:
        return find_query(head_str(base, h->query), name);
    case KEY_PATH:
        return head_str(base, h->path);
    case KEY_URI:
        return find_uri(h, base);
    case KEY_HOST:
        return route_host(head_str(base, h->host));
    case KEY_SOURCE_IP:
    case KEY_CLIENT_IP:
    case KEY_SNI: /* not in the head: see find_part() and put_part() */
        break;
    }
    return (struct str){0};
}

static struct str find_part(const struct config_key_part *part, const struct key_source *from)
{
    if (part->kind == KEY_SOURCE_IP)
        return from->peer;
    if (part->kind == KEY_SNI)
        return from->sni;
    return from->head ? find_in_head(part, from->head, from->base) : (struct str){0};
}

/* True if the uri begins with a "/" that was not sent: http://h?q means http://h/?q. */
static bool lacks_path(const struct config_key_part *part, const struct key_source *from)
{
    return part->kind == KEY_URI && from->head && !head_path_is_sent(from->head, from->base);
}

/* Appends the value of a part, a host in lower case. False: it is absent, or memory is out. */
static bool put_part(struct buffer *out, const struct config_key_part *part,
                     const struct key_source *from)
{
    struct str value = find_part(part, from);
    if (part->kind == KEY_CLIENT_IP)
        return put_client_ip(out, from);
    if (lacks_path(part, from) && !buffer_append(out, "/", 1))
        return false;
    if (value.n == 0)
        return lacks_path(part, from);
    if (!buffer_append(out, value.p, value.n))
        return false;
    char *p = out->data + out->end - value.n;
    for (size_t i = 0; part->kind == KEY_HOST && i < value.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] | 0x20);
    return true;
}

/* True if the value of a part is a slice of the source. */
static bool is_slice(const struct config_key_part *part, const struct key_source *from)
{
    return part->kind != KEY_HOST && part->kind != KEY_CLIENT_IP && !lacks_path(part, from);
}

/* Composes the key of one alternative. A single part is returned as a slice of the source, without
 * a copy, if it is one; joined parts, and values that have to be changed, go through scratch. */
static bool extract_one(const struct config_key *key, const struct key_source *from,
                        struct buffer *scratch, struct str *out)
{
    if (key->nparts == 1 && is_slice(&key->parts[0], from)) {
        *out = find_part(&key->parts[0], from);
        return out->n > 0;
    }
    buffer_clear(scratch);
    for (size_t i = 0; i < key->nparts; i++)
        if (!put_part(scratch, &key->parts[i], from))
            return false;
    *out = (struct str){buffer_head(scratch), buffer_len(scratch)};
    return true;
}

bool key_extract(const struct config_key *keys, size_t nkeys, const struct key_source *from,
                 struct buffer *scratch, struct str *key)
{
    for (size_t i = 0; i < nkeys; i++)
        if (extract_one(&keys[i], from, scratch, key))
            return true;
    return false;
}

/* ---- issued keys ---- */

void key_issue(const uint8_t random[KEY_ISSUED_LEN / 2], char out[KEY_ISSUED_LEN])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < KEY_ISSUED_LEN / 2; i++) {
        out[2 * i] = digits[random[i] >> 4];
        out[2 * i + 1] = digits[random[i] & 15];
    }
}

/* The first element of the first field that is not empty: proxies that append keep what the
 * client's own one has said. Some say `wss` for WebSockets (Traefik). */
static bool is_forwarded_https(const struct head *h, const char *base)
{
    for (unsigned i = 0; i < h->nfields; i++) {
        struct str list = head_value(base, &h->fields[i]);
        if (h->fields[i].id != FIELD_X_FORWARDED_PROTO || list.n == 0)
            continue;
        const char *comma = memchr(list.p, ',', list.n);
        struct str first =
            str_trim((struct str){list.p, comma ? (size_t)(comma - list.p) : list.n});
        return str_eq_nocase(first, STR("https")) || str_eq_nocase(first, STR("wss"));
    }
    return false;
}

bool key_is_secure(const struct key_source *from)
{
    return from->secure ||
           (from->ntrusted && from->head && is_forwarded_https(from->head, from->base));
}

/* ---- mode tcp ---- */

bool key_wants_sni(const struct config_key *keys, size_t nkeys, const struct key_source *from)
{
    for (size_t i = 0; i < nkeys; i++) {
        bool sni = false, rest = true;
        for (size_t p = 0; p < keys[i].nparts; p++) {
            const struct config_key_part *part = &keys[i].parts[p];
            if (part->kind == KEY_SNI)
                sni = true;
            else
                rest = rest && find_part(part, from).n > 0;
        }
        if (rest)
            return sni;
    }
    return false;
}
