#include "config/yaml_hint.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define V6_MAX 64 /* an address with a scope; longer texts are none */

/* The line of a number, without what ends it. */
static struct str line_of(struct str input, size_t line)
{
    const char *p = input.p, *end = input.p + input.n;
    for (; line && p < end; p++)
        line -= *p == '\n';
    const char *stop = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    return (struct str){p, (size_t)((stop ? stop : end) - p)};
}

static bool begins_character(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

/* From columns, which count characters, to bytes and back. */
static size_t byte_at(struct str line, size_t column)
{
    size_t i = 0;
    for (; i < line.n; i++)
        if (begins_character(line.p[i]) && column-- == 0)
            break;
    return i;
}

static size_t column_at(struct str line, size_t byte)
{
    size_t column = 0;
    for (size_t i = 0; i < byte; i++)
        column += begins_character(line.p[i]);
    return column;
}

/* The name or number of an interface. */
static bool is_scope(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (c == 0 || strchr("._-", c) == NULL))
            return false;
    }
    return s.n > 0;
}

/* An IPv6 address, with or without "%SCOPE" behind it. */
static bool is_v6(struct str s)
{
    char text[V6_MAX];
    struct in6_addr a;
    const char *scope = s.n ? memchr(s.p, '%', s.n) : NULL;
    if (scope) {
        if (!is_scope((struct str){scope + 1, (size_t)(s.p + s.n - scope - 1)}))
            return false;
        s.n = (size_t)(scope - s.p);
    }
    if (s.n == 0 || s.n >= sizeof text || memchr(s.p, 0, s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return inet_pton(AF_INET6, text, &a) == 1;
}

static size_t digits_at(struct str line, size_t at)
{
    size_t n = 0;
    while (at + n < line.n && line.p[at + n] >= '0' && line.p[at + n] <= '9')
        n++;
    return n;
}

/* Finds "[V6]" or "[V6]:PORT" around the byte `at`, at which reading stopped: within it, or right
 * behind the bracket. */
static bool find_bracketed(struct str line, size_t at, struct str *found)
{
    for (size_t from = 0; from < line.n && from <= at; from++) {
        if (line.p[from] != '[')
            continue;
        /* no farther than an address reaches: a line may be long, and full of brackets */
        size_t most = line.n - from <= V6_MAX ? line.n - from : V6_MAX + 1;
        const char *close = memchr(line.p + from, ']', most);
        if (close == NULL)
            continue;
        size_t end = (size_t)(close - line.p);
        struct str inside = {line.p + from + 1, end - from - 1};
        if (end + 1 < at || !is_v6(inside))
            continue;
        end++;
        if (end < line.n && line.p[end] == ':')
            end += 1 + digits_at(line, end + 1);
        *found = (struct str){line.p + from, end - from};
        return true;
    }
    return false;
}

/* next: the character behind it; "*.example.com" is a host of a route, and no address. */
static void hint_quote(char begins, char next, char out[YAML_HINT_MAX])
{
    snprintf(out, YAML_HINT_MAX, "a text that begins with '%c' has to be quoted%s", begins,
             begins == '*' && next != '.'
                 ? "; all addresses of a host are 0.0.0.0:PORT or \"[::]:PORT\""
                 : "");
}

/* The character that made the scanner begin what it could not end; 0: no such. */
static char opener(const struct yaml_trouble *t)
{
    static const struct {
        const char *context;
        char begins;
    } all[] = {{"while scanning an alias", '*'},
               {"while scanning an anchor", '&'},
               {"while scanning a directive", '%'}};
    for (size_t i = 0; t->context && i < sizeof all / sizeof *all; i++)
        if (strcmp(t->context, all[i].context) == 0)
            return all[i].begins;
    return 0;
}

bool yaml_hint(const struct yaml_trouble *t, char out[YAML_HINT_MAX], size_t *line, size_t *column)
{
    struct str text = line_of(t->input, t->line), address;
    size_t at = byte_at(text, t->column);
    char here = at < text.n ? text.p[at] : 0, before = at > 0 && at <= text.n ? text.p[at - 1] : 0;
    char begins = opener(t);
    *line = t->line;
    *column = t->column;
    if (begins) {
        *line = t->context_line;
        *column = t->context_column;
        struct str first = line_of(t->input, t->context_line);
        size_t behind = byte_at(first, t->context_column) + 1;
        hint_quote(begins, behind < first.n ? first.p[behind] : 0, out);
    } else if (find_bracketed(text, at, &address)) {
        *column = column_at(text, (size_t)(address.p - text.p));
        snprintf(out, YAML_HINT_MAX, "an address that begins with '[' has to be quoted: \"%.*s%s\"",
                 (int)address.n, address.p, address.p[address.n - 1] == ']' ? ":PORT" : "");
    } else if (here == '\t') {
        snprintf(out, YAML_HINT_MAX, "a tab, allowed spaces to indent");
    } else if (here && strchr("%@`", here)) {
        hint_quote(here, 0, out);
    } else if (here == ':' && (before == 0 || strchr(" [{,", before))) {
        hint_quote(here, 0, out);
    } else if (here && (before == ']' || before == '}') && !strchr(",]}\r", here)) {
        hint_quote(before == ']' ? '[' : '{', 0, out);
    } else {
        return false;
    }
    return true;
}
