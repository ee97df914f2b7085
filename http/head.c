#include "http/head.h"

const struct head_field *head_find(const struct head *h, const char *base, struct str name)
{
    for (unsigned i = 0; i < h->nfields; i++)
        if (str_eq_nocase(head_name(base, &h->fields[i]), name))
            return &h->fields[i];
    return NULL;
}

/* name=value; attributes (RFC 6265 4.1.1) */
bool head_sets_cookie(const struct head *h, const char *base, struct str name)
{
    for (unsigned i = 0; i < h->nfields; i++) {
        const struct head_field *f = &h->fields[i];
        struct str value = head_value(base, f);
        const char *equals = value.n ? memchr(value.p, '=', value.n) : NULL;
        if (equals && str_eq_nocase(head_name(base, f), STR("set-cookie")) &&
            str_eq(str_trim((struct str){value.p, (size_t)(equals - value.p)}), name))
            return true;
    }
    return false;
}

bool method_idempotent(enum method m)
{
    switch (m) {
    case METHOD_GET:
    case METHOD_HEAD:
    case METHOD_PUT:
    case METHOD_DELETE:
    case METHOD_OPTIONS:
    case METHOD_TRACE:
        return true;
    case METHOD_POST:
    case METHOD_CONNECT:
    case METHOD_OTHER: /* an unknown method may have any effect */
        return false;
    }
    return false;
}
