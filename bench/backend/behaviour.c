#include "bench/backend/behaviour.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/units.h"
#include "httpd/httpd.h"

#define TIME_MAX_MS 86400000
#define VALUE_MAX 32 /* longer text is no value */

enum kind { FLAG, STATUS, TIME, SIZE, PIECE, RATE };

static const char *const allowed[] = {
    [FLAG] = "0 or 1",
    [STATUS] = "0 or 200 to 599",
    [TIME] = "0 to 24h, a number of milliseconds or 250ms, 2s, 1m",
    [SIZE] = "0 to 64MiB, a number of bytes or 512B, 16KiB, 1MiB",
    [PIECE] = "1 to 64MiB, a number of bytes or 512B, 16KiB, 1MiB",
    [RATE] = "0 to 1, as in 0.05",
};

static const struct setting {
    const char *name;
    enum kind kind;
    size_t offset;
} settings[] = {
    {"delay", TIME, offsetof(struct behaviour, delay_ms)},
    {"jitter", TIME, offsetof(struct behaviour, jitter_ms)},
    {"body_size", SIZE, offsetof(struct behaviour, body_size)},
    {"error_rate", RATE, offsetof(struct behaviour, error_rate)},
    {"hang_rate", RATE, offsetof(struct behaviour, hang_rate)},
    {"chunked", FLAG, offsetof(struct behaviour, chunked)},
    {"chunk_size", PIECE, offsetof(struct behaviour, chunk_size)},
    {"slow_body", TIME, offsetof(struct behaviour, slow_body_ms)},
    {"status", STATUS, offsetof(struct behaviour, status)},
    {"hang", FLAG, offsetof(struct behaviour, hang)},
    {"fail_checks", FLAG, offsetof(struct behaviour, fail_checks)},
    {"stall", TIME, offsetof(struct behaviour, stall_ms)},
};

#define NSETTINGS (sizeof settings / sizeof settings[0])

void behaviour_init(struct behaviour *b)
{
    *b = (struct behaviour){.chunk_size = 4096, .stall_ms = BEHAVIOUR_NO_STALL};
}

static bool same_name(struct str given, struct str name)
{
    if (given.n != name.n)
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (given.p[i] != name.p[i] && (given.p[i] != '-' || name.p[i] != '_'))
            return false;
    return true;
}

/* NULL: there is none of that name, and the error lists those there are. */
static const struct setting *find(struct str name, struct error *e)
{
    char all[256] = "";
    size_t n = 0;
    for (size_t i = 0; i < NSETTINGS; i++) {
        if (same_name(name, str_of(settings[i].name)))
            return &settings[i];
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", settings[i].name);
    }
    error_set(e, EINVAL, "no such setting; there are %s", all);
    return NULL;
}

static bool refuse(const struct setting *s, struct error *e)
{
    error_set(e, EINVAL, "%s: allowed is %s", s->name, allowed[s->kind]);
    return false;
}

static bool in_range(const struct setting *s, uint64_t v)
{
    switch (s->kind) {
    case FLAG:
        return v <= 1;
    case STATUS:
        return v == 0 || (v >= 200 && v <= 599);
    case TIME:
        return v <= TIME_MAX_MS;
    case SIZE:
        return v <= BEHAVIOUR_BODY_MAX;
    case PIECE:
        return v >= 1 && v <= BEHAVIOUR_BODY_MAX;
    case RATE:
        break;
    }
    return false;
}

static bool store(struct behaviour *b, const struct setting *s, uint64_t v, struct error *e)
{
    if (!in_range(s, v))
        return refuse(s, e);
    memcpy((char *)b + s->offset, &v, sizeof v);
    return true;
}

static bool store_rate(struct behaviour *b, const struct setting *s, double v, struct error *e)
{
    if (s->kind != RATE || !(v >= 0 && v <= 1)) /* a NaN is neither */
        return refuse(s, e);
    memcpy((char *)b + s->offset, &v, sizeof v);
    return true;
}

/* "25", "0.25": no sign, no exponent, nothing else that strtod() would take. */
static bool parse_decimal(const char *text, double *v)
{
    size_t whole = strspn(text, "0123456789");
    size_t point = text[whole] == '.';
    size_t part = point ? strspn(text + whole + 1, "0123456789") : 0;
    *v = strtod(text, NULL);
    return whole && (!point || part) && text[whole + point + part] == 0;
}

static bool parse_whole(const struct setting *s, const char *text, uint64_t *v)
{
    size_t digits = strspn(text, "0123456789");
    if (digits && digits < 19 && text[digits] == 0) {
        *v = strtoull(text, NULL, 10);
        return true;
    }
    return (s->kind == TIME && units_parse_duration(str_of(text), v)) ||
           ((s->kind == SIZE || s->kind == PIECE) && units_parse_size(str_of(text), v));
}

static bool set(struct behaviour *b, const struct setting *s, struct str value, struct error *e)
{
    char text[VALUE_MAX];
    uint64_t whole;
    double part;
    if (value.n >= sizeof text || memchr(value.p, 0, value.n))
        return refuse(s, e);
    snprintf(text, sizeof text, "%.*s", (int)value.n, value.p);
    if (s->kind == RATE)
        return parse_decimal(text, &part) ? store_rate(b, s, part, e) : refuse(s, e);
    return parse_whole(s, text, &whole) ? store(b, s, whole, e) : refuse(s, e);
}

bool behaviour_set(struct behaviour *b, struct str name, struct str value, struct error *e)
{
    const struct setting *s = find(name, e);
    return s && set(b, s, value, e);
}

/* --- query --- */

/* Cuts text at the first sep; *rest is what is behind it, empty if there is none. */
static struct str cut(struct str text, char sep, struct str *rest)
{
    const char *at = text.n ? memchr(text.p, sep, text.n) : NULL;
    size_t n = at ? (size_t)(at - text.p) : text.n, skip = at ? n + 1 : n;
    *rest = (struct str){text.p + skip, text.n - skip};
    return (struct str){text.p, n};
}

static bool set_pair(struct behaviour *b, struct str pair, struct buffer *text, struct error *e)
{
    struct str raw, name = cut(pair, '=', &raw);
    const struct setting *s = find(name, e);
    if (s == NULL)
        return false;
    buffer_clear(text);
    if (!httpd_decode(raw, text))
        return refuse(s, e);
    return set(b, s, (struct str){text->data ? text->data : "", text->end}, e);
}

bool behaviour_set_query(struct behaviour *b, struct str query, struct error *e)
{
    struct behaviour wanted = *b;
    struct buffer text = {0};
    bool ok = true;
    while (query.n && ok) {
        struct str pair = cut(query, '&', &query);
        ok = pair.n == 0 || set_pair(&wanted, pair, &text, e);
    }
    buffer_release(&text);
    if (ok)
        *b = wanted;
    return ok;
}

/* --- JSON --- */

static bool set_value(struct behaviour *b, const struct setting *s, json_t *v, struct error *e)
{
    if (json_is_string(v))
        return set(b, s, (struct str){json_string_value(v), json_string_length(v)}, e);
    if (json_is_boolean(v) && s->kind == FLAG)
        return store(b, s, json_is_true(v), e);
    if (json_is_number(v) && s->kind == RATE)
        return store_rate(b, s, json_number_value(v), e);
    if (json_is_integer(v) && json_integer_value(v) >= 0)
        return store(b, s, (uint64_t)json_integer_value(v), e);
    return refuse(s, e);
}

static bool set_object(struct behaviour *b, json_t *root, struct error *e)
{
    const char *name;
    json_t *v;
    if (!json_is_object(root)) {
        error_set(e, EINVAL, "the body is no JSON object");
        return false;
    }
    json_object_foreach(root, name, v)
    {
        const struct setting *s = find(str_of(name), e);
        if (s == NULL || !set_value(b, s, v, e))
            return false;
    }
    return true;
}

bool behaviour_set_json(struct behaviour *b, struct str text, struct error *e)
{
    struct behaviour wanted = *b;
    json_t *root = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    bool ok = set_object(&wanted, root, e);
    json_decref(root);
    if (ok)
        *b = wanted;
    return ok;
}

static json_t *value_json(const struct behaviour *b, const struct setting *s)
{
    uint64_t whole;
    double part;
    if (s->kind == RATE) {
        memcpy(&part, (const char *)b + s->offset, sizeof part);
        return json_real(part);
    }
    memcpy(&whole, (const char *)b + s->offset, sizeof whole);
    return json_integer((json_int_t)whole);
}

json_t *behaviour_json(const struct behaviour *b)
{
    json_t *root = json_object();
    for (size_t i = 0; i < NSETTINGS && root; i++) {
        const struct setting *s = &settings[i];
        if (s->offset == offsetof(struct behaviour, stall_ms))
            continue;
        if (json_object_set_new(root, s->name, value_json(b, s)) != 0) {
            json_decref(root);
            return NULL;
        }
    }
    return root;
}

bool behaviour_check(const struct behaviour *b, struct error *e)
{
    if (b->error_rate + b->hang_rate <= 1 + 1e-9) /* 0.9 + 0.1 and the like */
        return true;
    error_set(e, EINVAL, "error_rate and hang_rate: allowed is up to 1 together");
    return false;
}
