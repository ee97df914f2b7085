#include "config/yaml.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "base/mem.h"
#include "config/yaml_hint.h"
#include "config/yaml_merge.h"

#define MAX_DEPTH 32
#define MAX_NODES 4000000
#define MAX_ALIASED 100000 /* the weights of all aliases together */
#define MAX_ANCHORS 1000

struct anchor {
    char *name;
    struct yaml_node *node;
};

struct reader {
    yaml_parser_t parser;
    struct str input;
    struct yaml_tree *tree;
    struct yaml_fault *fault;
    struct anchor anchors[MAX_ANCHORS];
    size_t nanchors;
    size_t aliased;
    size_t passed, passed_chars; /* how far source_of() has walked: bytes, characters */
};

static void set_fault(struct reader *r, const yaml_mark_t *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void set_fault(struct reader *r, const yaml_mark_t *at, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    r->fault->line = (unsigned)at->line + 1;
    r->fault->column = (unsigned)at->column + 1;
    vsnprintf(r->fault->text, sizeof r->fault->text, format, ap);
    va_end(ap);
}

/* For bytes that are not UTF-8 libyaml reports an offset, not a line and column. */
static yaml_mark_t mark_of_offset(struct str input, size_t offset)
{
    yaml_mark_t m = {0};
    for (size_t i = 0; i < offset && i < input.n; i++) {
        unsigned char c = (unsigned char)input.p[i];
        if (c == '\n')
            m.line++, m.column = 0;
        else if ((c & 0xc0) != 0x80)
            m.column++;
    }
    return m;
}

/* True: a hint took the place of libyaml's words, see yaml_hint.h. */
static bool set_hint(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    char text[YAML_HINT_MAX];
    yaml_mark_t at = {0};
    struct yaml_trouble t = {r->input,   p->problem_mark.line, p->problem_mark.column,
                             p->context, p->context_mark.line, p->context_mark.column};
    if (!yaml_hint(&t, text, &at.line, &at.column))
        return false;
    set_fault(r, &at, "not valid YAML: %s", text);
    return true;
}

static void set_parser_fault(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "cannot be read";
    if (p->error == YAML_READER_ERROR) {
        yaml_mark_t at = mark_of_offset(r->input, p->problem_offset);
        set_fault(r, &at, "not valid YAML: %s, allowed UTF-8 text", problem);
    } else if (p->error == YAML_MEMORY_ERROR) {
        set_fault(r, &p->mark, "out of memory");
    } else if (set_hint(r)) {
        return;
    } else if (p->context) {
        set_fault(r, &p->problem_mark, "not valid YAML: %s %s", p->context, problem);
    } else {
        set_fault(r, &p->problem_mark, "not valid YAML: %s", problem);
    }
}

static bool next_event(struct reader *r, yaml_event_t *ev)
{
    if (yaml_parser_parse(&r->parser, ev))
        return true;
    set_parser_fault(r);
    return false;
}

/* A new node, in the list of all nodes from the beginning, so that an error anywhere leaks nothing.
 * NULL: the file has too many values. */
static struct yaml_node *add_node(struct reader *r, enum yaml_kind kind, const yaml_mark_t *at)
{
    if (r->tree->nodes == MAX_NODES) {
        set_fault(r, at, "more than %d values in the file", MAX_NODES);
        return NULL;
    }
    struct yaml_node *n = mem_zalloc(sizeof *n);
    n->kind = kind;
    n->line = (unsigned)at->line + 1;
    n->column = (unsigned)at->column + 1;
    n->weight = 1;
    n->next = r->tree->all;
    r->tree->all = n;
    r->tree->nodes++;
    return n;
}

static struct str copy_of(const char *p, size_t len)
{
    char *copy = mem_zalloc(len + 1);
    if (len)
        memcpy(copy, p, len);
    return (struct str){copy, len};
}

/* ---- bytes by escapes ----
 *
 * YAML's "\xNN" is a character. Who writes bytes of a protocol means the byte NN, and from 0x80 on
 * the two differ: libyaml gives the two bytes of U+00NN, the same as for that character itself. So
 * for a text with characters from U+0080 to U+00FF, which are rare, the source is consulted: the
 * n-th place in it that stands for such a character made the n-th of them. */

/* Whether s begins with a character from U+0080 to U+00FF in UTF-8. */
static bool at_latin1(struct str s)
{
    unsigned char c = s.n ? (unsigned char)s.p[0] : 0;
    return (c == 0xc2 || c == 0xc3) && s.n > 1;
}

static bool has_latin1(struct str s)
{
    for (; s.n; s.p++, s.n--)
        if (at_latin1(s))
            return true;
    return false;
}

static struct str skip(struct str s, size_t n)
{
    n = n < s.n ? n : s.n;
    return (struct str){s.p + n, s.n - n};
}

static unsigned long hex_value(struct str s, size_t digits)
{
    char text[9] = {0};
    if (s.n < digits)
        return 0;
    memcpy(text, s.p, digits);
    return strtoul(text, NULL, 16);
}

/* The value of the escape at the beginning of *s, which it removes; 0 for one that stands for no
 * character from U+0080 to U+00FF. *kind: the letter behind the backslash. */
static unsigned long take_escape(struct str *s, char *kind)
{
    *kind = s->n > 1 ? s->p[1] : 0;
    *s = skip(*s, 2);
    size_t digits = *kind == 'x' ? 2 : *kind == 'u' ? 4 : *kind == 'U' ? 8 : 0;
    unsigned long value = digits         ? hex_value(*s, digits)
                          : *kind == 'N' ? 0x85
                          : *kind == '_' ? 0xa0
                                         : 0;
    *s = skip(*s, digits);
    return value >= 0x80 && value <= 0xff ? value : 0;
}

/* Advances *source behind the next place that stands for a character from U+0080 to U+00FF. True:
 * it is "\xNN". U+0085 itself is a line break, which libyaml folds. */
static bool next_is_byte(struct str *source)
{
    while (source->n) {
        char kind;
        if (source->p[0] == '\\') {
            if (take_escape(source, &kind))
                return kind == 'x';
        } else if (at_latin1(*source)) {
            bool line_break = memcmp(source->p, "\xc2\x85", 2) == 0;
            *source = skip(*source, 2);
            if (!line_break)
                return false;
        } else {
            *source = skip(*source, 1);
        }
    }
    return false;
}

/* The bytes that a text in double quotes stands for. source: from its first quote on. */
static struct str escaped_bytes(struct str source, struct str text)
{
    char *out = mem_zalloc(text.n + 1);
    size_t n = 0;
    for (; text.n; text = skip(text, 1)) {
        out[n] = text.p[0];
        if (at_latin1(text) && next_is_byte(&source)) {
            out[n] = (char)((text.p[0] & 3) << 6 | (text.p[1] & 0x3f));
            text = skip(text, 1);
        }
        n++;
    }
    return (struct str){out, n};
}

/* The input from a mark on. Marks count characters; as texts come in the order of the file, all of
 * it is walked through at most once. */
static struct str source_of(struct reader *r, const yaml_mark_t *at)
{
    assert(at->index >= r->passed_chars);
    for (; r->passed_chars < at->index && r->passed < r->input.n; r->passed_chars++)
        for (r->passed++; r->passed < r->input.n && (r->input.p[r->passed] & 0xc0) == 0x80;)
            r->passed++;
    return skip(r->input, r->passed);
}

static struct yaml_node *read_scalar(struct reader *r, const yaml_event_t *ev)
{
    const char *p = (const char *)ev->data.scalar.value;
    size_t len = ev->data.scalar.length;
    enum yaml_kind kind = memchr(p, 0, len) ? YAML_NUL : YAML_SCALAR;
    struct yaml_node *n = add_node(r, kind, &ev->start_mark);
    if (n == NULL)
        return NULL;
    n->text = n->bytes = copy_of(p, len);
    if (ev->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE && has_latin1(n->text))
        n->bytes = escaped_bytes(source_of(r, &ev->start_mark), n->text);
    return n;
}

/* Finds the node that an alias refers to. Of several anchors of one name the last before the alias
 * counts (YAML 1.1, 3.2.2.2). An anchor is added only after its value was read, so that no value
 * can contain itself. The weight of a value includes the aliases inside it; therefore the bound on
 * the sum holds for nested aliases, too. */
static struct yaml_node *resolve_alias(struct reader *r, const yaml_event_t *ev)
{
    const char *name = (const char *)ev->data.alias.anchor;
    size_t i = r->nanchors;
    while (i > 0 && strcmp(r->anchors[i - 1].name, name) != 0)
        i--;
    if (i == 0) {
        set_fault(r, &ev->start_mark, "alias *%.64s has no anchor before it", name);
        return NULL;
    }
    struct yaml_node *n = r->anchors[i - 1].node;
    r->aliased += n->weight;
    if (r->aliased > MAX_ALIASED) {
        set_fault(r, &ev->start_mark, "aliases stand for more than %d values", MAX_ALIASED);
        return NULL;
    }
    return n;
}

static bool add_anchor(struct reader *r, const yaml_char_t *name, struct yaml_node *node,
                       const yaml_mark_t *at)
{
    if (name == NULL)
        return true;
    if (r->nanchors == MAX_ANCHORS) {
        set_fault(r, at, "more than %d anchors in the file", MAX_ANCHORS);
        return false;
    }
    r->anchors[r->nanchors++] = (struct anchor){mem_strdup((const char *)name), node};
    return true;
}

/* Appends one item of a list, or one key or value of a mapping. *cap is the capacity of
 * to->items. */
static void append(struct yaml_node *to, size_t *cap, struct yaml_node *item)
{
    if (to->count == *cap) {
        *cap = *cap ? *cap * 2 : 8;
        to->items = mem_grow(to->items, *cap, sizeof(struct yaml_node *));
    }
    to->items[to->count++] = item;
    to->weight += item->weight;
}

static const char *kind_name(const struct yaml_node *n)
{
    return n->kind == YAML_LIST  ? "list"
           : n->kind == YAML_MAP ? "mapping"
           : n->kind == YAML_NUL ? "text with a NUL byte"
                                 : "single value";
}

static bool check_key(struct reader *r, const yaml_event_t *ev, const struct yaml_node *key)
{
    if (key->kind == YAML_SCALAR)
        return true;
    set_fault(r, &ev->start_mark, "a key must be a word, found a %s", kind_name(key));
    return false;
}

/* A quoted "<<" is an ordinary key; a plain one asks for the merge of YAML 1.1. */
static bool is_merge(const yaml_event_t *ev, const struct yaml_node *key)
{
    return ev->type == YAML_SCALAR_EVENT && ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           str_eq(key->text, STR("<<"));
}

static struct yaml_node *read_node(struct reader *r, const yaml_event_t *ev, unsigned depth);

static struct yaml_node *read_next(struct reader *r, unsigned depth, yaml_mark_t *at)
{
    yaml_event_t ev;
    if (!next_event(r, &ev))
        return NULL;
    *at = ev.start_mark;
    struct yaml_node *n = read_node(r, &ev, depth);
    yaml_event_delete(&ev);
    return n;
}

/* Reads what a merge key merges. What is wrong is reported at the place of the alias, if there is
 * one, as that is the mistake. */
static bool read_merge(struct reader *r, const yaml_event_t *key, unsigned depth,
                       struct yaml_node **merged)
{
    yaml_mark_t at;
    size_t item;
    if (*merged) {
        set_fault(r, &key->start_mark,
                  "<< given twice in a mapping, allowed once; a list merges several: [*a, *b]");
        return false;
    }
    *merged = read_next(r, depth, &at);
    if (*merged == NULL)
        return false;
    if (yaml_merge_takes(*merged, &item))
        return true;
    if (item == SIZE_MAX)
        set_fault(r, &at, "<< merges a mapping or a list of mappings, found a %s",
                  kind_name(*merged));
    else
        set_fault(r, &at, "<< merges a mapping or a list of mappings, found a %s as item %zu",
                  kind_name((*merged)->items[item]), item);
    return false;
}

static bool is_end(const yaml_event_t *ev)
{
    return ev->type == YAML_SEQUENCE_END_EVENT || ev->type == YAML_MAPPING_END_EVENT;
}

static bool read_list(struct reader *r, struct yaml_node *to, unsigned depth)
{
    size_t cap = 0;
    for (;;) {
        yaml_event_t ev;
        if (!next_event(r, &ev))
            return false;
        bool end = is_end(&ev);
        struct yaml_node *item = end ? NULL : read_node(r, &ev, depth);
        yaml_event_delete(&ev);
        if (item == NULL)
            return end;
        append(to, &cap, item);
    }
}

/* One pair, whose key begins with the event `ev`. */
static bool read_pair(struct reader *r, const yaml_event_t *ev, struct yaml_node *to, size_t *cap,
                      unsigned depth, struct yaml_node **merged)
{
    yaml_mark_t at;
    struct yaml_node *key = read_node(r, ev, depth);
    if (key == NULL || !check_key(r, ev, key))
        return false;
    if (is_merge(ev, key))
        return read_merge(r, ev, depth, merged);
    struct yaml_node *value = read_next(r, depth, &at);
    if (value == NULL)
        return false;
    append(to, cap, key);
    append(to, cap, value);
    return true;
}

/* What is merged comes last, when all keys of the mapping itself are known. */
static bool read_map(struct reader *r, struct yaml_node *to, unsigned depth)
{
    struct yaml_node *merged = NULL;
    size_t cap = 0;
    for (;;) {
        yaml_event_t ev;
        if (!next_event(r, &ev))
            return false;
        bool end = is_end(&ev);
        bool ok = end || read_pair(r, &ev, to, &cap, depth, &merged);
        yaml_event_delete(&ev);
        if (!ok)
            return false;
        if (end)
            break;
    }
    assert(to->count % 2 == 0);
    to->count /= 2;
    if (merged)
        yaml_merge(to, merged);
    return true;
}

/* Reads the value that begins with the event `ev` to its end, then adds its anchor, if it has one.
 * NULL: the fault is set; nodes that exist already are freed with the tree. */
static struct yaml_node *read_node(struct reader *r, const yaml_event_t *ev, unsigned depth)
{
    const yaml_char_t *tag, *anchor;
    struct yaml_node *n;
    if (ev->type == YAML_ALIAS_EVENT)
        return resolve_alias(r, ev);
    if (ev->type == YAML_SCALAR_EVENT) {
        tag = ev->data.scalar.tag;
        anchor = ev->data.scalar.anchor;
        n = read_scalar(r, ev);
    } else if (ev->type == YAML_SEQUENCE_START_EVENT) {
        tag = ev->data.sequence_start.tag;
        anchor = ev->data.sequence_start.anchor;
        n = add_node(r, YAML_LIST, &ev->start_mark);
        if (n)
            n->flow = ev->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
    } else {
        assert(ev->type == YAML_MAPPING_START_EVENT);
        tag = ev->data.mapping_start.tag;
        anchor = ev->data.mapping_start.anchor;
        n = add_node(r, YAML_MAP, &ev->start_mark);
        if (n)
            n->flow = ev->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
    }
    if (n == NULL)
        return NULL;
    if (tag) {
        set_fault(r, &ev->start_mark, "tags are not allowed");
        return NULL;
    }
    if (depth == MAX_DEPTH) {
        set_fault(r, &ev->start_mark, "more than %d levels deep", MAX_DEPTH);
        return NULL;
    }
    if (n->kind == YAML_LIST && !read_list(r, n, depth + 1))
        return NULL;
    if (n->kind == YAML_MAP && !read_map(r, n, depth + 1))
        return NULL;
    return add_anchor(r, anchor, n, &ev->start_mark) ? n : NULL;
}

/* The events of a file: stream start, document start, the value, document end, stream end. */
static bool read_stream(struct reader *r)
{
    bool done = false;
    while (!done) {
        yaml_event_t ev;
        if (!next_event(r, &ev))
            return false;
        bool ok = true;
        if (ev.type == YAML_DOCUMENT_START_EVENT && r->tree->root) {
            set_fault(r, &ev.start_mark, "a second document, only one is allowed");
            ok = false;
        } else if (ev.type == YAML_STREAM_END_EVENT) {
            done = true;
        } else if (ev.type != YAML_STREAM_START_EVENT && ev.type != YAML_DOCUMENT_START_EVENT &&
                   ev.type != YAML_DOCUMENT_END_EVENT) {
            r->tree->root = read_node(r, &ev, 0);
            ok = r->tree->root != NULL;
        }
        yaml_event_delete(&ev);
        if (!ok)
            return false;
    }
    return true;
}

/* UTF-16 and UTF-32, by their byte order marks. Without one the NULs are refused by libyaml. */
static const char *foreign_encoding(struct str s)
{
    static const struct {
        struct str mark;
        const char *name;
    } all[] = {{{"\xff\xfe\0\0", 4}, "UTF-32"},
               {{"\0\0\xfe\xff", 4}, "UTF-32"},
               {{"\xff\xfe", 2}, "UTF-16"},
               {{"\xfe\xff", 2}, "UTF-16"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (s.n >= all[i].mark.n && memcmp(s.p, all[i].mark.p, all[i].mark.n) == 0)
            return all[i].name;
    return NULL;
}

/* What follows a byte order mark of UTF-8, which is no part of the text and has no column. */
static struct str without_mark(struct str s)
{
    static const struct str mark = {"\xef\xbb\xbf", 3};
    if (s.n < mark.n || memcmp(s.p, mark.p, mark.n) != 0)
        return s;
    return (struct str){s.p + mark.n, s.n - mark.n};
}

bool yaml_tree_read(struct yaml_tree *t, const char *text, size_t len, struct yaml_fault *fault)
{
    *t = (struct yaml_tree){0};
    *fault = (struct yaml_fault){.line = 1, .column = 1};
    const char *foreign = foreign_encoding((struct str){text, len});
    if (foreign) {
        snprintf(fault->text, sizeof fault->text, "not valid YAML: %s, allowed UTF-8 text",
                 foreign);
        return false;
    }
    struct reader *r = mem_zalloc(sizeof *r); /* too large for the stack, with its anchors */
    r->input = without_mark((struct str){text, len});
    r->tree = t;
    r->fault = fault;
    bool ok = false;
    if (!yaml_parser_initialize(&r->parser)) {
        snprintf(fault->text, sizeof fault->text, "out of memory");
        goto out;
    }
    /* otherwise libyaml would look for a byte order mark; mark_of_offset() relies on UTF-8 */
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)r->input.p, r->input.n);
    ok = read_stream(r);
    yaml_parser_delete(&r->parser);
out:
    for (size_t i = 0; i < r->nanchors; i++)
        free(r->anchors[i].name);
    free(r);
    if (!ok)
        yaml_tree_free(t);
    return ok;
}

void yaml_tree_free(struct yaml_tree *t)
{
    struct yaml_node *next;
    for (struct yaml_node *n = t->all; n; n = next) {
        next = n->next;
        free(n->items);
        if (n->bytes.p != n->text.p)
            free((void *)(uintptr_t)n->bytes.p);
        free((void *)(uintptr_t)n->text.p); /* by way of an integer: the slice is const */
        free(n);
    }
    *t = (struct yaml_tree){0};
}

/* The first one: read_fields() reports a second one and ignores its value. */
const struct yaml_node *yaml_tree_get(const struct yaml_node *map, const char *key)
{
    if (map == NULL || map->kind != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->count; i++)
        if (str_eq(map->items[2 * i]->text, str_of(key)))
            return map->items[2 * i + 1];
    return NULL;
}
