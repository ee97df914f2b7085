#include "config/report.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/mem.h"

/* Decodes one code point of valid UTF-8 at s.p[*i] and advances *i past it. */
static uint32_t next_char(struct str s, size_t *i)
{
    unsigned char c = (unsigned char)s.p[(*i)++];
    uint32_t v = c < 0x80 ? c : c < 0xe0 ? c & 0x1f : c < 0xf0 ? c & 0x0f : c & 0x07;
    while (c >= 0x80 && *i < s.n && ((unsigned char)s.p[*i] & 0xc0) == 0x80)
        v = v << 6 | ((unsigned char)s.p[(*i)++] & 0x3f);
    return v;
}

bool report_visible(struct str s)
{
    /* Controls, spaces, characters without width, and those that change the direction of text: a
     * name with one of them could look like another name in a log. */
    static const uint32_t hidden[][2] = {
        {0, 0x20},        {0x7f, 0xa0},     {0xad, 0xad},       {0x61c, 0x61c},   {0x1680, 0x1680},
        {0x180e, 0x180e}, {0x2000, 0x200f}, {0x2028, 0x202f},   {0x205f, 0x206f}, {0x3000, 0x3000},
        {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xe0000, 0x10ffff}};
    for (size_t i = 0; i < s.n;) {
        uint32_t c = next_char(s, &i);
        for (size_t h = 0; h < sizeof hidden / sizeof *hidden; h++)
            if (c >= hidden[h][0] && c <= hidden[h][1])
                return false;
    }
    return true;
}

const char *report_quote(struct str s, char out[REPORT_QUOTE_MAX])
{
    const size_t most = 40; /* bytes of the text; \xNN takes four bytes for one */
    if (s.n && s.n <= most && report_visible(s)) {
        memcpy(out, s.p, s.n);
        out[s.n] = 0;
        return out;
    }
    /* here also bytes above ASCII are escaped: the cut could split a character */
    size_t n = 0;
    out[n++] = '"';
    for (size_t i = 0; i < s.n && i < most; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= ' ' && c < 0x7f && c != '"' && c != '\\')
            out[n++] = (char)c;
        else
            n += (size_t)snprintf(out + n, REPORT_QUOTE_MAX - n, "\\x%02x", c);
    }
    snprintf(out + n, REPORT_QUOTE_MAX - n, "%s\"", s.n > most ? "..." : "");
    return out;
}

static void put(struct buffer *b, const char *p, size_t n)
{
    if (!buffer_append(b, p, n))
        abort(); /* control data: see base/mem.h */
}

/* Recursive, because the list runs from the value up and the text from the document down. The depth
 * is bounded by that of the file. */
static void put_path(struct buffer *b, const struct report_path *p)
{
    char text[REPORT_QUOTE_MAX];
    if (p->up)
        put_path(b, p->up);
    if (p->key.p) {
        if (p->up)
            put(b, ".", 1);
        report_quote(p->key, text);
    } else {
        snprintf(text, sizeof text, "[%zu]", p->index);
    }
    put(b, text, strlen(text));
}

void report_at(struct report *r, unsigned line, unsigned column, const struct report_path *path,
               const char *format, ...)
{
    struct buffer b = {0};
    char text[1024];
    va_list ap;
    int n = snprintf(text, sizeof text, ":%u:%u: ", line, column);
    put(&b, r->file, strlen(r->file));
    put(&b, text, (size_t)n);
    if (path)
        put_path(&b, path);
    else
        put(&b, "(document)", 10);
    put(&b, ": ", 2);
    va_start(ap, format);
    n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    assert(n >= 0);
    put(&b, text, strlen(text));
    put(&b, "", 1); /* the NUL */
    if (r->count == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->lines = mem_grow(r->lines, r->cap, sizeof *r->lines);
    }
    r->lines[r->count] = (struct report_line){line, column, r->count, b.data};
    r->count++;
}

/* A total order, as qsort() is not stable. */
static int by_place(const void *a, const void *b)
{
    const struct report_line *x = a, *y = b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return x->sequence < y->sequence ? -1 : 1;
}

/* Errors are found in the order of the schema and of the rules, not in that of the file. */
void report_finish(struct report *r, struct config_errors *out)
{
    *out = (struct config_errors){0};
    if (r->count)
        qsort(r->lines, r->count, sizeof *r->lines, by_place);
    out->lines = mem_zalloc_array(r->count, sizeof *out->lines);
    for (size_t i = 0; i < r->count; i++)
        out->lines[i] = r->lines[i].text;
    out->count = r->count;
    free(r->lines);
    *r = (struct report){0};
}
