/* The functions by which handlers read a request and fill in an answer. */
#include <assert.h>

#include "httpd/httpd.h"

bool httpd_header(const struct httpd_request *q, const char *name, struct str *value)
{
    const struct head_field *f = head_find(q->head, q->base, str_of(name));
    if (f)
        *value = head_value(q->base, f);
    return f != NULL;
}

/* A CR or LF in a value would let its author write further fields, or a second answer. */
bool httpd_field(struct httpd_answer *a, const char *name, struct str value)
{
    for (size_t i = 0; i < value.n; i++)
        assert(value.p[i] != '\r' && value.p[i] != '\n');
    return buffer_append(a->fields, name, strlen(name)) && buffer_append(a->fields, ": ", 2) &&
           buffer_append(a->fields, value.p, value.n) && buffer_append(a->fields, "\r\n", 2);
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool httpd_decode(struct str s, struct buffer *out)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            if (s.n - i < 3 || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
                return false;
            c = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
            i += 2;
        }
        if (!buffer_append(out, &c, 1))
            return false;
    }
    return true;
}

/* Takes the next `name=value` off a query that is not empty; value is empty without a '='. */
static struct str next_parameter(struct str *query, struct str *value)
{
    const char *amp = memchr(query->p, '&', query->n);
    size_t n = amp ? (size_t)(amp - query->p) : query->n;
    const char *eq = memchr(query->p, '=', n);
    struct str name = {query->p, eq ? (size_t)(eq - query->p) : n};
    size_t skip = eq ? name.n + 1 : n;
    *value = (struct str){query->p + skip, n - skip};
    skip = amp ? n + 1 : n;
    query->p += skip;
    query->n -= skip;
    return name;
}

enum httpd_query httpd_query(struct str query, const char *name, struct buffer *value)
{
    while (query.n) {
        struct str raw;
        if (str_eq(next_parameter(&query, &raw), str_of(name)))
            return httpd_decode(raw, value) ? QUERY_FOUND : QUERY_BAD;
    }
    return QUERY_ABSENT;
}

bool httpd_query_knows(struct str query, const char *const names[], size_t n)
{
    while (query.n) {
        struct str value, name = next_parameter(&query, &value);
        size_t i = 0;
        while (i < n && !str_eq(name, str_of(names[i])))
            i++;
        if (i == n)
            return false;
    }
    return true;
}
