#include "admin/config.h"

/* Cuts one list element off the front of *list; commas within quotes are part of it. */
static struct str next_element(struct str *list)
{
    size_t n = 0;
    for (bool quoted = false; n < list->n && (quoted || list->p[n] != ','); n++)
        quoted ^= list->p[n] == '"';
    struct str element = str_trim((struct str){list->p, n});
    size_t skip = n < list->n ? n + 1 : n;
    list->p += skip;
    list->n -= skip;
    return element;
}

/* Whether a list of entity tags has this one. weak: W/"x" is "x" (RFC 9110 8.8.3.2). "*" is any. */
static bool list_has(struct str list, struct str etag, bool weak)
{
    while (list.n) {
        struct str one = next_element(&list);
        if (weak && one.n > 2 && memcmp(one.p, "W/", 2) == 0)
            one = (struct str){one.p + 2, one.n - 2};
        if (str_eq(one, etag) || str_eq(one, STR("*")))
            return true;
    }
    return false;
}

enum found { FOUND_NONE, FOUND_OTHERS, FOUND_IT };

/* Looks through all field lines of that name, which are one list. */
static enum found find_tag(const struct httpd_request *q, const char *name, const char *etag,
                           bool weak)
{
    enum found found = FOUND_NONE;
    const struct head *h = q->head;
    for (unsigned i = 0; i < h->nfields; i++) {
        if (!str_eq_nocase(head_name(q->base, &h->fields[i]), str_of(name)))
            continue;
        if (list_has(head_value(q->base, &h->fields[i]), str_of(etag), weak))
            return FOUND_IT;
        found = FOUND_OTHERS;
    }
    return found;
}

int admin_config_condition(const struct httpd_request *q, const char *etag, bool *matched)
{
    bool get = q->head->method == METHOD_GET || q->head->method == METHOD_HEAD;
    enum found match = find_tag(q, "If-Match", etag, false);
    *matched = match == FOUND_IT;
    if (match == FOUND_OTHERS)
        return 412;
    if (find_tag(q, "If-None-Match", etag, true) == FOUND_IT)
        return get ? 304 : 412;
    return 0;
}

bool admin_config_get(const struct httpd_request *q, struct httpd_answer *a, const struct config *c)
{
    bool matched;
    int status = admin_config_condition(q, c->etag, &matched);
    a->status = status ? status : 200;
    a->type = status ? NULL : "application/yaml"; /* RFC 9512 */
    if (status != 412) /* a 304 tells the length of what it leaves out (RFC 9110 8.6) */
        a->body = (struct str){c->text, c->text_len};
    return httpd_field(a, "ETag", str_of(c->etag));
}

int admin_config_form(const struct httpd_request *q, const char **why)
{
    struct str value;
    if (httpd_header(q, "Content-Encoding", &value) && !str_eq_nocase(value, STR("identity"))) {
        *why = "the file has to be sent as it is, without a Content-Encoding";
        return 415;
    }
    if (httpd_header(q, "Content-Range", &value)) {
        *why = "the file has to be sent as a whole, without a Content-Range";
        return 400;
    }
    return 0;
}
