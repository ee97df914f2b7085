#include "httpd/reply.h"

#include <assert.h>

#include "http/answer.h"

#define FIXED_MAX 128 /* bytes of a head, without those that the caller gives */

static const char *reason(int status)
{
    switch (status) {
    case 204:
        return "No Content";
    case 304:
        return "Not Modified";
    default:
        return answer_reason(status); /* which has those of errors */
    }
}

static char *put(char *w, struct str s)
{
    if (s.n)
        memcpy(w, s.p, s.n);
    return w + s.n;
}

static char *put_number(char *w, size_t n)
{
    char digits[20]; /* of 2^64 - 1 */
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    return put(w, (struct str){digits + at, sizeof digits - at});
}

static char *put_framing(char *w, const struct reply_head *h)
{
    if (h->status == 204 || h->framing == REPLY_CLOSE)
        return w;
    if (h->framing == REPLY_CHUNKED)
        return put(w, STR("Transfer-Encoding: chunked\r\n"));
    w = put(w, STR("Content-Length: "));
    return put(put_number(w, h->length), STR("\r\n"));
}

static char *put_field(char *w, struct str name, struct str value)
{
    return put(put(put(w, name), value), STR("\r\n"));
}

/* The room is reserved once, so the parts are copied without further checks. */
bool reply_put_head(struct buffer *out, const struct reply_head *h)
{
    assert(h->status >= 200 && h->status <= 999);
    const struct str why = str_of(reason(h->status));
    const struct str persists = h->persists ? str_of(h->persists) : (struct str){0};
    size_t most = FIXED_MAX + why.n + h->date.n + h->type.n + persists.n + h->fields.n;
    if (most > out->cap - out->end && !buffer_reserve(out, most))
        return false;
    char *begin = out->data + out->end;
    char *w = put_number(put(begin, STR("HTTP/1.1 ")), (size_t)h->status);
    w = put_field(w, STR(" "), why);
    w = put(w, h->date);
    if (h->type.n)
        w = put_field(w, STR("Content-Type: "), h->type);
    w = put_framing(w, h);
    if (persists.n)
        w = put_field(w, STR("Connection: "), persists);
    w = put(put(w, h->fields), STR("\r\n"));
    assert((size_t)(w - begin) <= most);
    out->end += (size_t)(w - begin);
    return true;
}
