/* What the end-to-end tests want to know of the configuration, from where the program knows it.
 *
 *   config_facts keys      each key of config/schema.c by its path, one a line; a list has []
 *   config_facts broken    each file of broken_configs.h: its text, the number of its errors as
 *                          digits, and each error, all ended by NUL
 *
 * A key whose value is a mapping alone is known by the keys in it. */
#include <stdio.h>
#include <string.h>

#include "config/schema.h"
#include "tests/lib/broken_configs.h"

enum { DEEPEST = 8 };

/* The keys of `s`, which is `depth` levels deep below those of `path`. */
static void print_keys(const struct schema *s, const struct schema_key **path, unsigned depth)
{
    for (size_t i = 0; i < s->nkeys && depth < DEEPEST; i++) {
        const struct schema_key *k = &s->keys[i];
        if (k->type != SCHEMA_MAP) {
            for (unsigned d = 0; d < depth; d++)
                printf("%s%s.", path[d]->name, path[d]->type == SCHEMA_LIST ? "[]" : "");
            puts(k->name);
        }
        path[depth] = k;
        if (k->inner)
            print_keys(k->inner, path, depth + 1);
    }
}

static void print_text(const char *text)
{
    fwrite(text, 1, strlen(text) + 1, stdout);
}

static void print_broken(const char *text, const char *const *lines, size_t n)
{
    print_text(text);
    printf("%zu", n);
    putchar('\0');
    for (size_t i = 0; i < n; i++)
        print_text(lines[i]);
}

static void print_all_broken(void)
{
    for (size_t i = 0; i < sizeof broken_configs / sizeof *broken_configs; i++) {
        const struct broken_config *b = &broken_configs[i];
        size_t n = 0;
        while (n < sizeof b->lines / sizeof *b->lines && b->lines[n])
            n++;
        print_broken(b->text, b->lines, n);
    }
    print_broken(broken_routes, route_errors, sizeof route_errors / sizeof *route_errors);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "keys") == 0) {
        const struct schema_key *path[DEEPEST];
        print_keys(&schema_document, path, 0);
    } else if (argc == 2 && strcmp(argv[1], "broken") == 0) {
        print_all_broken();
    } else {
        fputs("usage: config_facts keys|broken\n", stderr);
        return 2;
    }
    return fflush(stdout) == 0 ? 0 : 2;
}
