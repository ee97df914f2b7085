#include "config/read.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/units.h"

#define ALLOWED_MAX 512

/* One value to be read: its node and its place in the file, and the description of its key. */
struct value {
    struct report *r;
    const struct schema_key *key;
    const struct yaml_node *node;
    const struct report_path *path;
};

void read_wrong_kind(struct report *r, const struct yaml_node *node, const struct report_path *path,
                     const char *allowed)
{
    const char *found = node->kind == YAML_LIST  ? "a list"
                        : node->kind == YAML_MAP ? "a mapping"
                        : node->kind == YAML_NUL ? "a text with a NUL byte"
                        : node->text.n == 0      ? "nothing"
                                                 : "a single value";
    report_node(r, node, path, "found %s, allowed %s", found, allowed);
}

/* Whoever writes {id} for a text, or [fe80::1] for an address, means no mapping and no list. */
void read_wrong_text(struct report *r, const struct yaml_node *node, const struct report_path *path,
                     const char *allowed)
{
    if (node->flow)
        report_node(r, node, path,
                    "found %s, allowed %s; a text that begins with '%c' has to be "
                    "quoted",
                    node->kind == YAML_LIST ? "a list" : "a mapping", allowed,
                    node->kind == YAML_LIST ? '[' : '{');
    else
        read_wrong_kind(r, node, path, allowed);
}

/* ---- what is allowed, in words ---- */

/* Writes a bound as a user would: in the largest unit without a fraction. */
static void format_duration(uint64_t ms, char out[32])
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t u = 0;
    if (ms == 0) {
        strcpy(out, "0s");
        return;
    }
    while (ms % units[u].ms)
        u++;
    snprintf(out, 32, "%" PRIu64 "%s", ms / units[u].ms, units[u].name);
}

/* As format_duration(); the bounds of sizes are below 1 GiB. */
static void format_size(uint64_t bytes, char out[32])
{
    if (bytes % 1048576 == 0)
        snprintf(out, 32, "%" PRIu64 "MiB", bytes / 1048576);
    else if (bytes % 1024 == 0)
        snprintf(out, 32, "%" PRIu64 "KiB", bytes / 1024);
    else
        snprintf(out, 32, "%" PRIu64 "B", bytes);
}

/* "http, tcp, off", without the words that this version does not support: a message must not
 * recommend them. */
static void describe_words(const struct schema_word *words, char out[ALLOWED_MAX])
{
    size_t n = 0;
    for (out[0] = 0; words->word; words++) {
        if (!words->unsupported)
            n += (size_t)snprintf(out + n, ALLOWED_MAX - n, "%s%s", n ? ", " : "", words->word);
        assert(n < ALLOWED_MAX);
    }
}

/* What a key allows, as the last part of a message. */
static const char *describe(const struct schema_key *k, char out[ALLOWED_MAX])
{
    char from[32], to[32];
    switch (k->type) {
    case SCHEMA_NUMBER:
        snprintf(out, ALLOWED_MAX, "%" PRIu64 " to %" PRIu64, k->min, k->max);
        break;
    case SCHEMA_DURATION:
        format_duration(k->min, from);
        format_duration(k->max, to);
        snprintf(out, ALLOWED_MAX, "%s to %s", from, to);
        break;
    case SCHEMA_SIZE:
        format_size(k->min, from);
        format_size(k->max, to);
        snprintf(out, ALLOWED_MAX, "%s to %s", from, to);
        break;
    case SCHEMA_FACTOR:
        snprintf(out, ALLOWED_MAX, "off or %g to %g", (double)k->min / 100, (double)k->max / 100);
        break;
    case SCHEMA_SHARE:
        strcpy(out, "off or 0% to 100%");
        break;
    case SCHEMA_WORD:
        describe_words(k->words, out);
        break;
    case SCHEMA_ADDRESS:
        strcpy(out, k->max & SCHEMA_TAKES_NAME   ? "HOST:PORT, [IPV6]:PORT or unix:PATH"
                    : k->max & SCHEMA_TAKES_UNIX ? "IP:PORT, [IPV6]:PORT or unix:PATH"
                                                 : "IP:PORT or [IPV6]:PORT");
        break;
    case SCHEMA_MAP:
        strcpy(out, "a mapping");
        break;
    case SCHEMA_MAP_OR_OFF:
        strcpy(out, "off or a mapping");
        break;
    default:
        assert(k->type == SCHEMA_LIST);
        strcpy(out, "a list of mappings");
    }
    return out;
}

static void wrong_kind(const struct value *v)
{
    char allowed[ALLOWED_MAX];
    describe(v->key, allowed);
    if (v->key->type == SCHEMA_ADDRESS)
        read_wrong_text(v->r, v->node, v->path, allowed);
    else
        read_wrong_kind(v->r, v->node, v->path, allowed);
}

/* "abc is not a number, allowed 1 to 256" */
static void wrong(const struct value *v, const char *what)
{
    char text[REPORT_QUOTE_MAX], allowed[ALLOWED_MAX];
    report_node(v->r, v->node, v->path, "%s %s, allowed %s", report_quote(v->node->text, text),
                what, describe(v->key, allowed));
}

/* ---- scalars ---- */

/* The field's size tells its type; size 0 is a key that is only checked, not kept. */
static void store_uint(void *fields, const struct schema_key *k, uint64_t x)
{
    char *at = (char *)fields + k->offset;
    if (k->size == sizeof(uint64_t)) {
        memcpy(at, &x, sizeof x);
    } else if (k->size == sizeof(uint32_t)) {
        uint32_t y = (uint32_t)x;
        assert(y == x);
        memcpy(at, &y, sizeof y);
    } else if (k->size == sizeof(bool)) {
        bool y = x != 0;
        memcpy(at, &y, sizeof y);
    } else {
        assert(k->size == 0);
    }
}

/* The message names the value as it was written ("0"), which may differ from what was parsed. */
static void store_range(const struct value *v, uint64_t x, void *fields)
{
    if (x < v->key->min || x > v->key->max)
        wrong(v, "is out of range");
    else
        store_uint(fields, v->key, x);
}

/* Also rejects an empty text, a sign and white space, which strtoull() would accept. */
static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

/* A decimal number. A leading zero is refused because YAML 1.1 reads such a number as octal. The
 * message for a negative number, or for one of more digits than strtoull() takes, is that it is out
 * of range: it is a number, so "not a whole number" would be wrong. */
static void read_number(const struct value *v, void *fields)
{
    struct str s = v->node->text;
    struct str digits = s.n && s.p[0] == '-' ? (struct str){s.p + 1, s.n - 1} : s;
    if (!all_digits(digits) || (digits.n > 1 && digits.p[0] == '0'))
        wrong(v, "is not a whole number");
    else if (digits.n != s.n || s.n > 18)
        wrong(v, "is out of range");
    else
        store_range(v, strtoull(s.p, NULL, 10), fields);
}

static void read_duration(const struct value *v, void *fields)
{
    uint64_t ms;
    if (units_parse_duration(v->node->text, &ms))
        store_range(v, ms, fields);
    else
        wrong(v, "is not a duration such as 250ms, 2s or 1m");
}

static void read_size(const struct value *v, void *fields)
{
    uint64_t bytes;
    if (units_parse_size(v->node->text, &bytes))
        store_range(v, bytes, fields);
    else
        wrong(v, "is not a size such as 16KiB or 1MiB");
}

/* Digits with at most one dot. strtod() alone would also accept "inf", "1e9" and "0x1". */
static void read_factor(const struct value *v, void *fields)
{
    struct str s = v->node->text;
    double x = 0;
    if (!str_eq(s, STR("off"))) {
        const char *dot = s.n ? memchr(s.p, '.', s.n) : NULL;
        size_t whole = dot ? (size_t)(dot - s.p) : s.n;
        struct str rest = {s.p + whole + 1, dot ? s.n - whole - 1 : 0};
        if (!all_digits((struct str){s.p, whole}) || (dot && !all_digits(rest))) {
            wrong(v, "is not a number");
            return;
        }
        x = strtod(s.p, NULL); /* the dot is right: the program never leaves the C locale */
        if (x < (double)v->key->min / 100 || x > (double)v->key->max / 100) {
            wrong(v, "is out of range");
            return;
        }
    }
    assert(v->key->size == sizeof x);
    memcpy((char *)fields + v->key->offset, &x, sizeof x);
}

static void read_share(const struct value *v, void *fields)
{
    double x = SCHEMA_NO_BOUND;
    if (!str_eq(v->node->text, STR("off")) && !units_parse_percent(v->node->text, &x))
        wrong(v, "is not a percentage such as 10%");
    else
        memcpy((char *)fields + v->key->offset, &x, sizeof x);
}

static void read_word(const struct value *v, void *fields)
{
    char text[REPORT_QUOTE_MAX], allowed[ALLOWED_MAX];
    const struct schema_word *w = v->key->words;
    while (w->word && !str_eq(v->node->text, str_of(w->word)))
        w++;
    if (w->unsupported)
        report_node(v->r, v->node, v->path, "%s is not supported by this version, allowed %s",
                    report_quote(v->node->text, text), describe(v->key, allowed));
    else if (w->word == NULL)
        wrong(v, "is unknown");
    else
        store_uint(fields, v->key, w->value);
}

/* Replaces the text of a field, which may be its default. */
static void store_text(void *fields, size_t offset, char *text)
{
    char **at = (char **)(void *)((char *)fields + offset);
    free(*at);
    *at = text;
}

/* The text is kept beside the address: logs and GET /status show addresses as the user
 * wrote them. */
static void store_address(const struct value *v, const struct addr *a, void *fields)
{
    assert(v->key->size == sizeof *a);
    memcpy((char *)fields + v->key->offset, a, sizeof *a);
    store_text(fields, v->key->second, mem_strdup(v->node->text.p));
}

/* Hexadecimal digits, with two colons at least: an IPv6 address, or what was to be one. */
static bool looks_like_v6(const char *s)
{
    const char *first = strchr(s, ':');
    return first && strchr(first + 1, ':') &&
           strspn(s, "0123456789abcdefABCDEF:") == strcspn(s, "%");
}

/* What is missing or wrong in a text that is no address, as most such texts are one of few. */
static const char *address_mistake(struct str s, bool takes_unix)
{
    if (strstr(s.p, "://"))
        return "is a URL, an address has no scheme and no path";
    if (s.p[0] == '/' && takes_unix)
        return "is a path, a Unix socket is written unix:PATH";
    if (looks_like_v6(s.p))
        return "has no brackets, an IPv6 address is written \"[IPV6]:PORT\"";
    if (s.p[0] == '*' || s.p[0] == ':')
        return "names no address; all addresses of a host are 0.0.0.0:PORT or \"[::]:PORT\"";
    if (all_digits(s))
        return "is a port without an address; all addresses of a host are 0.0.0.0:PORT or "
               "\"[::]:PORT\"";
    return "is not an address with a port from 1 to 65535";
}

/* Each kind of wrong address has a message of its own, since all are common mistakes. */
static void read_address(const struct value *v, void *fields)
{
    struct addr a;
    char text[REPORT_QUOTE_MAX], allowed[ALLOWED_MAX];
    switch (addr_parse(v->node->text, &a)) {
    case ADDR_OK:
        if (addr_is_unix(&a) && !(v->key->max & SCHEMA_TAKES_UNIX))
            wrong(v, "is not supported by this version");
        else if (addr_lacks_scope(&a))
            wrong(v, "is link-local and names no interface, as in \"[fe80::1%eth0]:80\"");
        else
            store_address(v, &a, fields);
        break;
    case ADDR_NAME:
        if (v->key->max & SCHEMA_TAKES_NAME) {
            store_address(v, &(struct addr){0}, fields);
            break;
        }
        report_node(v->r, v->node, v->path,
                    "%s: host names are not supported by this version, allowed %s",
                    report_quote(v->node->text, text), describe(v->key, allowed));
        break;
    case ADDR_LONG:
        report_node(v->r, v->node, v->path, "a path of %zu bytes, allowed 1 to %zu",
                    v->node->text.n - strlen("unix:"), (size_t)ADDR_PATH_MAX);
        break;
    case ADDR_NO_INTERFACE:
        wrong(v, "names no interface of this host behind '%'");
        break;
    case ADDR_NOT_LOCAL:
        wrong(v, "names an interface, which only a link-local address (fe80::/10) has");
        break;
    case ADDR_BAD:
        wrong(v, address_mistake(v->node->text, v->key->max & SCHEMA_TAKES_UNIX));
        break;
    }
}

/* ---- values made of values ---- */

/* Each item is read even if one before it had an error, so that one run reports all errors. */
static void read_list(const struct value *v, void *fields)
{
    size_t n = v->node->count, size = v->key->inner->size;
    if (n < v->key->min) {
        report_node(v->r, v->node, v->path, "the list is empty, allowed %" PRIu64 " or more",
                    v->key->min);
        return;
    }
    char *items = mem_zalloc_array(n, size);
    for (size_t i = 0; i < n; i++) {
        struct report_path path = {v->path, .index = i};
        read_map(v->r, v->key->inner, v->node->items[i], &path, items + i * size);
    }
    memcpy((char *)fields + v->key->offset, &items, sizeof items);
    memcpy((char *)fields + v->key->second, &n, sizeof n);
}

static void read_fields(struct report *r, const struct schema *s, const struct yaml_node *node,
                        const struct report_path *path, void *fields);

static void read_inner(const struct value *v, void *fields)
{
    /* Not read_map(): the defaults of inner mappings were set with those of the outer one. */
    char *inner = (char *)fields + v->key->offset;
    if (v->node->kind == YAML_MAP)
        read_fields(v->r, v->key->inner, v->node, v->path, inner);
    else if (v->key->type == SCHEMA_MAP_OR_OFF && str_eq(v->node->text, STR("off")))
        memset(inner, 0, v->key->inner->size);
    else
        wrong_kind(v);
}

/* A key without a field is checked here and read again by rules.c, from its node. */
static void read_string(const struct value *v, void *fields)
{
    char *text = NULL;
    if (v->key->type == SCHEMA_NAME)
        read_name(v->r, v->node, v->path, &text);
    else
        read_text(v->r, v->node, v->path, v->key->max, &text);
    if (v->key->size)
        store_text(fields, v->key->offset, text);
    else
        free(text);
}

static void read_byte_string(const struct value *v, void *fields)
{
    char *bytes;
    size_t n;
    if (!read_bytes(v->r, v->node, v->path, v->key->max, &bytes, &n))
        return;
    store_text(fields, v->key->offset, bytes);
    memcpy((char *)fields + v->key->second, &n, sizeof n);
}

static void read_array(const struct value *v, void *fields)
{
    struct config_range *ranges = NULL;
    struct config_key *keys = NULL;
    struct network *networks = NULL;
    char *at = (char *)fields + v->key->offset;
    size_t n = 0;
    if (v->key->type == SCHEMA_STATUSES) {
        if (v->node->kind != YAML_LIST || v->node->count > 0) /* an empty list is the default */
            read_statuses(v->r, v->node, v->path, &ranges, &n);
        memcpy(at, &ranges, sizeof ranges);
    } else if (v->key->type == SCHEMA_NETWORKS) {
        read_networks(v->r, v->node, v->path, &networks, &n);
        memcpy(at, &networks, sizeof networks);
    } else {
        read_keys(v->r, v->node, v->path, &keys, &n);
        memcpy(at, &keys, sizeof keys);
    }
    memcpy((char *)fields + v->key->second, &n, sizeof n);
}

/* Reads one value into its field, or reports why not. */
typedef void read_fn(const struct value *v, void *fields);

static void read_value(const struct value *v, void *fields)
{
    static const struct {
        read_fn *read;
        bool scalar, list; /* the only kind of node it takes; neither: it checks the kind itself */
    } types[] = {
        [SCHEMA_NUMBER] = {read_number, .scalar = true},
        [SCHEMA_DURATION] = {read_duration, .scalar = true},
        [SCHEMA_SIZE] = {read_size, .scalar = true},
        [SCHEMA_FACTOR] = {read_factor, .scalar = true},
        [SCHEMA_SHARE] = {read_share, .scalar = true},
        [SCHEMA_WORD] = {read_word, .scalar = true},
        [SCHEMA_ADDRESS] = {read_address, .scalar = true},
        [SCHEMA_NAME] = {read_string},
        [SCHEMA_TEXT] = {read_string},
        [SCHEMA_BYTES] = {read_byte_string},
        [SCHEMA_STATUSES] = {read_array},
        [SCHEMA_KEYS] = {read_array},
        [SCHEMA_NETWORKS] = {read_array},
        [SCHEMA_MAP] = {read_inner},
        [SCHEMA_MAP_OR_OFF] = {read_inner},
        [SCHEMA_LIST] = {read_list, .list = true},
    };
    enum schema_type t = v->key->type;
    if (t == SCHEMA_RULE)
        return;
    if (t == SCHEMA_UNSUPPORTED)
        report_node(v->r, v->node, v->path, "not supported by this version");
    else if (types[t].scalar && (v->node->kind != YAML_SCALAR || v->node->text.n == 0))
        wrong_kind(v);
    else if (types[t].list && v->node->kind != YAML_LIST)
        wrong_kind(v);
    else
        types[t].read(v, fields);
}

/* ---- mappings ---- */

/* Reads the defaults as if they were in the file, with the same checks. A report from here means
 * that schema.c is wrong; the assertion makes every test find that. */
static void read_defaults(const struct schema *s, void *fields)
{
    struct report r = {.file = "default"};
    for (const struct schema_key *k = s->keys; k < s->keys + s->nkeys; k++) {
        if (k->type == SCHEMA_MAP || k->type == SCHEMA_MAP_OR_OFF)
            read_defaults(k->inner, (char *)fields + k->offset);
        if (k->fallback == NULL || k->size == 0)
            continue;
        struct yaml_node node = {YAML_SCALAR, .text = str_of(k->fallback)};
        read_value(&(struct value){&r, k, &node, NULL}, fields);
    }
    assert(r.count == 0);
}

/* The Levenshtein distance of two short words. `row` is one row of the usual matrix; `corner` is
 * the element above and to the left of row[j]. */
static unsigned distance(struct str a, struct str b)
{
    unsigned row[32];
    assert(b.n < 32);
    for (unsigned j = 0; j <= b.n; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned corner = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned change = corner + (a.p[i - 1] != b.p[j - 1]);
            unsigned longer = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            corner = row[j];
            row[j] = change < longer ? change : longer;
        }
    }
    return row[b.n];
}

/* The allowed key that is most similar to the word; NULL if none is similar enough to suggest. */
static const char *nearest(const struct schema *s, struct str word)
{
    const char *best = NULL;
    unsigned least = 3; /* at most two typing errors */
    for (size_t i = 0; i < s->nkeys && word.n < 32; i++) {
        unsigned d = distance(word, str_of(s->keys[i].name));
        if (d < least && d < word.n) {
            least = d;
            best = s->keys[i].name;
        }
    }
    return best;
}

/* A key of the user's own, to hold what anchors name. */
static bool is_own(const struct yaml_node *key)
{
    return key->text.n > 2 && memcmp(key->text.p, "x-", 2) == 0;
}

/* The message suggests the most similar key, as most unknown keys are typing errors, and
 * lists all. */
static void report_unknown(struct report *r, const struct schema *s, const struct yaml_node *key,
                           const struct report_path *path)
{
    char allowed[ALLOWED_MAX];
    size_t n = 0;
    for (size_t i = 0; i < s->nkeys; i++) {
        if (s->keys[i].type != SCHEMA_UNSUPPORTED)
            n += (size_t)snprintf(allowed + n, sizeof allowed - n, "%s%s", n ? ", " : "",
                                  s->keys[i].name);
        assert(n < sizeof allowed);
    }
    const char *meant = nearest(s, key->text);
    if (is_own(key))
        report_node(r, key, path, "unknown key, keys x-NAME are taken at the top level alone");
    else if (meant)
        report_node(r, key, path, "unknown key, did you mean %s? allowed %s", meant, allowed);
    else
        report_node(r, key, path, "unknown key, allowed %s", allowed);
}

static int by_text_and_place(const void *a, const void *b)
{
    const struct yaml_node *x = *(const struct yaml_node *const *)a;
    const struct yaml_node *y = *(const struct yaml_node *const *)b;
    int c = strcmp(x->text.p, y->text.p);
    if (c)
        return c;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->column < y->column ? -1 : x->column > y->column;
}

static void report_twice(struct report *r, const struct yaml_node *key,
                         const struct report_path *path, const struct yaml_node *first)
{
    report_node(r, key, path, "given twice, first in line %u; allowed once", first->line);
}

/* Keys x-NAME have no description that could remember them, and there may be any number of them. */
static void check_own(struct report *r, const struct yaml_node *map, const struct report_path *path)
{
    const struct yaml_node **own = mem_zalloc_array(map->count, sizeof *own);
    size_t n = 0;
    for (size_t i = 0; i < map->count; i++)
        if (is_own(map->items[2 * i]))
            own[n++] = map->items[2 * i];
    if (n)
        qsort(own, n, sizeof *own, by_text_and_place);
    for (size_t i = 1, first = 0; i < n; i++) {
        struct report_path at = {path, .key = own[i]->text};
        if (!str_eq(own[i]->text, own[first]->text))
            first = i;
        else
            report_twice(r, own[i], &at, own[first]);
    }
    free(own);
}

/* Reads the values of a mapping and reports unknown, repeated and missing keys. */
static void read_fields(struct report *r, const struct schema *s, const struct yaml_node *node,
                        const struct report_path *path, void *fields)
{
    const struct yaml_node *seen[SCHEMA_MAX_KEYS] = {NULL};
    assert(s->nkeys <= SCHEMA_MAX_KEYS && node->kind == YAML_MAP);
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_node *key = node->items[2 * i];
        struct report_path at = {path, .key = key->text};
        size_t k = 0; /* a linear search: a mapping has at most SCHEMA_MAX_KEYS keys */
        while (k < s->nkeys && !str_eq(key->text, str_of(s->keys[k].name)))
            k++;
        if (k == s->nkeys) {
            if (!s->takes_own || !is_own(key))
                report_unknown(r, s, key, &at);
        } else if (seen[k]) {
            report_twice(r, key, &at, seen[k]);
        } else {
            seen[k] = key;
            read_value(&(struct value){r, &s->keys[k], node->items[2 * i + 1], &at}, fields);
        }
    }
    if (s->takes_own)
        check_own(r, node, path);
    /* a key that was given with a wrong value is not reported as missing as well */
    for (size_t k = 0; k < s->nkeys; k++) {
        struct report_path at = {path, .key = str_of(s->keys[k].name)};
        if (s->keys[k].required && !seen[k])
            report_node(r, node, &at, "missing, it is required");
    }
}

void read_map(struct report *r, const struct schema *s, const struct yaml_node *node,
              const struct report_path *path, void *fields)
{
    read_defaults(s, fields);
    if (node->kind == YAML_MAP)
        read_fields(r, s, node, path, fields);
    else
        read_wrong_kind(r, node, path, "a mapping");
}
