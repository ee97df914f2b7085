#include "proxy/key.h"

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

/* The host without its port, in the case as sent; an IPv6 literal keeps its brackets. */
static struct str host_name(struct str host)
{
    const char *end = host.n && host.p[0] == '[' ? memchr(host.p, ']', host.n) : NULL;
    if (end)
        return (struct str){host.p, (size_t)(end - host.p) + 1};
    const char *colon = host.n ? memchr(host.p, ':', host.n) : NULL;
    return (struct str){host.p, colon ? (size_t)(colon - host.p) : host.n};
}

/* The value of a part as it was sent; put_part() turns a host into lower case. Empty: it
 * is absent. */
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
        return find_cookie(h, base, name);
    case KEY_QUERY:
        return find_query(head_str(base, h->query), name);
    case KEY_PATH:
        return head_str(base, h->path);
    case KEY_URI: /* one slice, from the beginning of the path to the end of the query */
        return (struct str){base + h->path.off,
                            h->query.len ? h->query.off + h->query.len - h->path.off : h->path.len};
    case KEY_HOST:
        return host_name(head_str(base, h->host));
    case KEY_SOURCE_IP:
    case KEY_SNI: /* not in the head: see find_part() */
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

/* Appends the value of a part, a host in lower case. False: out of memory. */
static bool put_part(struct buffer *out, enum config_key_kind kind, struct str value)
{
    if (!buffer_append(out, value.p, value.n))
        return false;
    char *p = out->data + out->end - value.n;
    for (size_t i = 0; kind == KEY_HOST && i < value.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] | 0x20);
    return true;
}

/* Composes the key of one alternative. A single part is returned as a slice of the source, without
 * a copy; only joined parts, and a host, which must be changed, go through scratch. */
static bool extract_one(const struct config_key *key, const struct key_source *from,
                        struct buffer *scratch, struct str *out)
{
    if (key->nparts == 1 && key->parts[0].kind != KEY_HOST) {
        *out = find_part(&key->parts[0], from);
        return out->n > 0;
    }
    buffer_clear(scratch);
    for (size_t i = 0; i < key->nparts; i++) {
        struct str value = find_part(&key->parts[i], from);
        if (value.n == 0 || !put_part(scratch, key->parts[i].kind, value))
            return false;
    }
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
