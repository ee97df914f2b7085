#include "cluster/fields.h"

#include <string.h>

#include "cluster/version.h"
#include "config/report.h"

#define FORMAT 1 /* "v" */

static const char *syntax_error(const json_error_t *at)
{
    switch (json_error_code(at)) {
    case json_error_out_of_memory:
        return "memory is out";
    case json_error_invalid_utf8:
        return "not UTF-8";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "a NUL";
    case json_error_duplicate_key:
        return "a member twice";
    case json_error_stack_overflow:
        return "too deep";
    case json_error_numeric_overflow:
        return "a number beyond all bounds";
    default:
        return "not JSON";
    }
}

static bool known_format(json_t *o, struct error *e)
{
    uint64_t v;
    if (!json_is_object(o)) {
        error_set(e, 0, "not an object");
        return false;
    }
    if (!fields_number(o, "v", FIELDS_MUST, NUMBER_MAX, &v, e))
        return false;
    if (v != FORMAT)
        error_set(e, 0, "v: %llu, this version knows %d", (unsigned long long)v, FORMAT);
    return v == FORMAT;
}

json_t *fields_parse(struct str text, size_t most, struct error *e)
{
    json_error_t at;
    if (text.n > most) {
        error_set(e, 0, "%zu bytes, allowed %zu", text.n, most);
        return NULL;
    }
    json_t *o = json_loadb(text.n ? text.p : "", text.n, JSON_REJECT_DUPLICATES, &at);
    if (o == NULL) {
        error_set(e, 0, "%s, at byte %d", syntax_error(&at), at.position);
        return NULL;
    }
    if (known_format(o, e))
        return o;
    json_decref(o);
    return NULL;
}

/* The bytes of the character that begins there; 0: it is not UTF-8 (RFC 3629 4). */
static size_t char_size(const unsigned char *p)
{
    size_t more = p[0] < 0x80 ? 0 : p[0] < 0xc2 ? 4 : p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : 3;
    unsigned low = p[0] == 0xe0   ? 0xa0
                   : p[0] == 0xf0 ? 0x90
                                  : 0x80,
             high = p[0] == 0xed   ? 0x9f
                    : p[0] == 0xf4 ? 0x8f
                                   : 0xbf;
    if (more > 3 || p[0] > 0xf4 || (more && (p[1] < low || p[1] > high)))
        return 0;
    for (size_t i = 2; i <= more; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return 1 + more;
}

static bool is_utf8(const char *text)
{
    size_t n = 1;
    for (const unsigned char *p = (const unsigned char *)text; *p && n; p += n)
        n = char_size(p);
    return n > 0;
}

bool fields_is_name(const char *text)
{
    size_t n = 0;
    while (n <= FIELDS_MAX_NAME && text[n] > ' ' && text[n] < 0x7f && text[n] != '"' &&
           text[n] != '/')
        n++;
    if (text[n] == 0) /* as most are: of ASCII alone */
        return n >= 1 && n <= FIELDS_MAX_NAME;
    n = strnlen(text, FIELDS_MAX_NAME + 1);
    return n <= FIELDS_MAX_NAME && is_utf8(text) && report_visible((struct str){text, n}) &&
           strpbrk(text, "\"/") == NULL;
}

bool fields_is_text(const char *text, size_t most)
{
    size_t n = strnlen(text, most + 1);
    bool good = n >= 1 && n <= most && is_utf8(text);
    for (size_t i = 0; i < n && good; i++)
        good = (unsigned char)text[i] >= ' ' && text[i] != 0x7f;
    return good;
}

bool fields_is_hex(const char *text)
{
    size_t n = strlen(text);
    return n >= 1 && n <= 32 && strspn(text, "0123456789abcdef") == n;
}

/* ---- values ---- */

bool fields_as_number(json_t *v, const char *what, uint64_t most, uint64_t *out, struct error *e)
{
    if (json_is_integer(v) && json_integer_value(v) >= 0 &&
        (uint64_t)json_integer_value(v) <= most) {
        *out = (uint64_t)json_integer_value(v);
        return true;
    }
    error_set(e, 0, "%s: not a whole number from 0 to %llu", what, (unsigned long long)most);
    return false;
}

bool fields_as_text(json_t *v, const char *what, size_t most, const char **out, struct error *e)
{
    const char *text = json_string_value(v);
    if (text && fields_is_text(text, most)) {
        *out = text;
        return true;
    }
    error_set(e, 0, "%s: not a text of 1 to %zu bytes without control characters", what, most);
    return false;
}

bool fields_as_name(json_t *v, const char *what, const char **out, struct error *e)
{
    const char *text = json_string_value(v);
    if (text && fields_is_name(text)) {
        *out = text;
        return true;
    }
    error_set(e, 0, "%s: not a name", what);
    return false;
}

bool fields_as_word(json_t *v, const char *what, const char *const *words, size_t n, unsigned *out,
                    struct error *e)
{
    const char *text = json_string_value(v);
    for (unsigned i = 0; i < n && text; i++) {
        if (strcmp(words[i], text) == 0) {
            *out = i;
            return true;
        }
    }
    error_set(e, 0, "%s: not a word that is known", what);
    return false;
}

/* ---- members ---- */

/* The member, or NULL if it is not there; *miss: that is fine. */
static json_t *member(json_t *o, const char *key, enum fields_need need, bool *miss)
{
    json_t *v = json_object_get(o, key);
    *miss = v == NULL && need == FIELDS_MAY;
    return v;
}

bool fields_number(json_t *o, const char *key, enum fields_need need, uint64_t most, uint64_t *out,
                   struct error *e)
{
    bool miss;
    json_t *v = member(o, key, need, &miss);
    *out = 0;
    return miss || fields_as_number(v, key, most, out, e);
}

bool fields_flag(json_t *o, const char *key, enum fields_need need, bool *out, struct error *e)
{
    bool miss;
    json_t *v = member(o, key, need, &miss);
    *out = json_is_true(v);
    if (miss || json_is_boolean(v))
        return true;
    error_set(e, 0, "%s: neither true nor false", key);
    return false;
}

bool fields_name(json_t *o, const char *key, enum fields_need need, const char **out,
                 struct error *e)
{
    bool miss;
    json_t *v = member(o, key, need, &miss);
    *out = NULL;
    return miss || fields_as_name(v, key, out, e);
}

bool fields_hex(json_t *o, const char *key, const char **out, struct error *e)
{
    const char *text = json_string_value(json_object_get(o, key));
    *out = text;
    if (text && fields_is_hex(text))
        return true;
    error_set(e, 0, "%s: not 1 to 32 hexadecimal digits", key);
    return false;
}

bool fields_word(json_t *o, const char *key, const char *const *words, size_t n, unsigned *out,
                 struct error *e)
{
    return fields_as_word(json_object_get(o, key), key, words, n, out, e);
}

bool fields_object(json_t *o, const char *key, enum fields_need need, size_t most, json_t **out,
                   struct error *e)
{
    bool miss;
    *out = member(o, key, need, &miss);
    if (miss || (json_is_object(*out) && json_object_size(*out) <= most))
        return true;
    error_set(e, 0, "%s: not an object of at most %zu members", key, most);
    return false;
}

bool fields_array(json_t *o, const char *key, enum fields_need need, size_t most, json_t **out,
                  struct error *e)
{
    bool miss;
    *out = member(o, key, need, &miss);
    if (miss || (json_is_array(*out) && json_array_size(*out) <= most))
        return true;
    error_set(e, 0, "%s: not a list of at most %zu", key, most);
    return false;
}

/* ---- places ---- */

bool fields_at(struct error *e, const char *key)
{
    char quoted[REPORT_QUOTE_MAX];
    error_prefix(e, "%s", report_quote(str_of(key), quoted));
    return false;
}

bool fields_key(const char *key, struct error *e)
{
    if (fields_is_name(key))
        return true;
    error_set(e, 0, "not a name");
    return fields_at(e, key);
}
