#include "config/route_values.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/mem.h"

#define HOST_MAX_BYTES 253
#define LABEL_MAX_BYTES 63
#define PATH_MAX_BYTES 4096
#define METHOD_MAX_BYTES 64

static bool read_item(struct report *r, const struct yaml_node *node,
                      const struct report_path *path, const char *allowed)
{
    if (node->kind == YAML_SCALAR && node->text.n)
        return true;
    read_wrong_text(r, node, path, allowed);
    return false;
}

static bool has(struct str s, char c)
{
    return s.n && memchr(s.p, c, s.n);
}

/* ---- hosts ---- */

static bool is_ip(int family, struct str s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr a;
    if (s.n == 0 || s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return inet_pton(family, text, &a) == 1;
}

/* "[V6]", which is compared as it is sent, but for its case. */
static bool is_literal(struct str s)
{
    return s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']' &&
           is_ip(AF_INET6, (struct str){s.p + 1, s.n - 2});
}

/* Labels of letters, digits, '-' and '_', as far as their bytes and lengths are concerned. */
static bool is_name(struct str s)
{
    size_t label = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (c == '.' ? label == 0 : !letter && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > LABEL_MAX_BYTES)
            return false;
    }
    return label > 0;
}

static bool has_port(struct str s)
{
    const char *colon = s.n ? memrchr(s.p, ':', s.n) : NULL;
    struct str host = {s.p, colon ? (size_t)(colon - s.p) : 0};
    return colon && (is_literal(host) || !has(host, ':'));
}

/* What is wrong with a text that is no host, in words; NULL: nothing of what is often mistaken. */
static const char *host_mistake(struct str s, bool sni)
{
    if (has(s, '/'))
        return "is a URL or has a path, allowed a host name alone";
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return "is not ASCII, allowed the form that clients send, such as "
                   "xn--bcher-kva.example";
    if (s.n == 1 && s.p[0] == '*')
        return "is not a host name; a route without this key takes all of them";
    if (has_port(s))
        return "has a port, which is not compared, allowed a host name alone";
    if (sni && (is_literal(s) || is_ip(AF_INET, s) || is_ip(AF_INET6, s)))
        return "is an address, for which clients send no server name";
    if (is_ip(AF_INET6, s))
        return "has no brackets, an IPv6 address is written \"[IPV6]\"";
    if (has(s, '*'))
        return "has a '*' within, allowed \"*.\" in front of a host name";
    return NULL;
}

static struct str without_dot(struct str s)
{
    return (struct str){s.p, s.n > 1 && s.p[s.n - 1] == '.' ? s.n - 1 : s.n};
}

bool read_host(struct report *r, const struct yaml_node *node, const struct report_path *path,
               bool sni, char **out)
{
    char text[REPORT_QUOTE_MAX];
    if (!read_item(r, node, path, "a host name, or \"*.\" and one"))
        return false;
    struct str s = without_dot(node->text);
    bool any = s.n > 2 && s.p[0] == '*' && s.p[1] == '.';
    struct str name = any ? (struct str){s.p + 2, s.n - 2} : s;
    bool address = is_literal(s) || is_ip(AF_INET, name);
    if (s.n > HOST_MAX_BYTES) {
        report_node(r, node, path, "a host name of %zu bytes, allowed 1 to %d", s.n,
                    HOST_MAX_BYTES);
        return false;
    }
    if (address ? sni || any : !is_name(name)) {
        const char *mistake = host_mistake(any ? name : s, sni);
        report_node(r, node, path, "%s %s", report_quote(node->text, text),
                    mistake ? mistake
                            : "is not a host name, allowed labels of 1 to 63 letters, digits, '-' "
                              "and '_', with '.' between them");
        return false;
    }
    *out = mem_strndup(s.p, s.n);
    for (char *c = *out; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c | 0x20);
    return true;
}

/* ---- paths ---- */

/* What is wrong with a path, in words; NULL: nothing. */
static const char *path_mistake(struct str s, bool exact)
{
    if (s.n == 0 || s.p[0] != '/')
        return "does not begin with '/', allowed /PREFIX or =/PATH";
    if (has(s, '?'))
        return "has a query, which is not compared, allowed the path alone";
    if (has(s, '#'))
        return "has a fragment, which clients do not send, allowed the path alone";
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f)
            return "has characters that are not sent in a path, allowed visible ASCII, and what "
                   "clients percent-encode as they do it";
    if (!exact && s.n >= 2 && memcmp(s.p + s.n - 2, "/*", 2) == 0)
        return "ends in \"/*\"; a path takes all that is below it without that";
    return NULL;
}

bool read_route_path(struct report *r, const struct yaml_node *node, const struct report_path *path,
                     char **out, bool *exact)
{
    char text[REPORT_QUOTE_MAX];
    if (!read_item(r, node, path, "/PREFIX or =/PATH"))
        return false;
    bool equals = node->text.p[0] == '=';
    struct str s = {node->text.p + equals, node->text.n - equals};
    if (s.n > PATH_MAX_BYTES) {
        report_node(r, node, path, "a path of %zu bytes, allowed 1 to %d", s.n, PATH_MAX_BYTES);
        return false;
    }
    const char *mistake = path_mistake(s, equals);
    if (mistake) {
        report_node(r, node, path, "%s %s", report_quote(node->text, text), mistake);
        return false;
    }
    *out = mem_strndup(s.p, s.n);
    *exact = equals;
    return true;
}

/* ---- methods ---- */

/* The usual method that a text means in another case; NULL: none. */
static const char *usual_method(struct str s)
{
    static const char *const usual[] = {"GET",    "HEAD",    "POST",  "PUT",
                                        "DELETE", "OPTIONS", "TRACE", "PATCH"};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (str_eq_nocase(s, str_of(usual[i])) && !str_eq(s, str_of(usual[i])))
            return usual[i];
    return NULL;
}

static bool read_method(struct report *r, const struct yaml_node *node,
                        const struct report_path *path, char **out)
{
    char text[REPORT_QUOTE_MAX];
    if (!read_item(r, node, path, "a method such as GET"))
        return false;
    report_quote(node->text, text);
    const char *usual = usual_method(node->text);
    if (node->text.n > METHOD_MAX_BYTES)
        report_node(r, node, path, "a method of %zu bytes, allowed 1 to %d", node->text.n,
                    METHOD_MAX_BYTES);
    else if (!read_is_token(node->text))
        report_node(r, node, path, "%s is not a method, allowed names such as GET", text);
    else if (usual)
        report_node(r, node, path, "%s is another method than %s, as their case counts", text,
                    usual);
    else if (str_eq(node->text, STR("CONNECT")))
        report_node(r, node, path, "CONNECT is refused before routes are looked at");
    else
        *out = mem_strdup(node->text.p);
    return *out != NULL;
}

static bool is_twice(char *const *methods, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (methods[n] && methods[i] && strcmp(methods[i], methods[n]) == 0)
            return true;
    return false;
}

bool read_methods(struct report *r, const struct yaml_node *node, const struct report_path *path,
                  char ***out, size_t *count)
{
    bool list = node->kind == YAML_LIST, ok = true;
    size_t n = list ? node->count : 1;
    if (n == 0 || n > ROUTE_METHODS_MAX) {
        report_node(r, node, path, "%zu methods, allowed 1 to %d", n, ROUTE_METHODS_MAX);
        return false;
    }
    char **methods = mem_zalloc_array(n, sizeof *methods);
    for (size_t i = 0; i < n; i++) {
        struct report_path at = {path, .index = i};
        const struct yaml_node *item = list ? node->items[i] : node;
        ok = read_method(r, item, list ? &at : path, &methods[i]) && ok;
        if (is_twice(methods, i)) {
            report_node(r, item, &at, "%s is given twice, allowed once", methods[i]);
            ok = false;
        }
    }
    *out = methods;
    *count = n;
    if (ok)
        return true;
    for (size_t i = 0; i < n; i++)
        free(methods[i]);
    free(methods);
    *out = NULL;
    *count = 0;
    return false;
}
