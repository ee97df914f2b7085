/* Says whose each key is under a layout of bench/ring/layout.h, for tests that compare it with a
 * program that has this layout.
 *
 *   layout_owners LAYOUT VNODES NAME... < keys, one a line > names, one a line
 *
 * Names sorted in byte order. Exit code 2: it can't be done. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "bench/ring/layout.h"

static void print_owners(const struct layout *l, const void *built, char **names)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    while ((n = getline(&line, &size, stdin)) > 0) {
        if (line[n - 1] == '\n')
            n--;
        puts(names[l->find(built, l->hash((struct str){line, (size_t)n}))]);
    }
    free(line);
}

int main(int argc, char **argv)
{
    const struct layout *l = argc > 3 ? layout_named(str_of(argv[1])) : NULL;
    unsigned vnodes = l ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    if (l == NULL || vnodes < 1 || vnodes > 4096 || argc - 3 > 1000) {
        fputs("usage: layout_owners LAYOUT VNODES NAME...\n", stderr);
        return 2;
    }
    size_t n = (size_t)argc - 3;
    struct ring_member *members = mem_zalloc_array(n, sizeof *members);
    for (size_t i = 0; i < n; i++)
        members[i] = (struct ring_member){str_of(argv[3 + i]), 1};
    struct error e;
    void *built = l->build(members, n, vnodes, &e);
    if (built)
        print_owners(l, built, argv + 3);
    else
        fprintf(stderr, "layout_owners: %s\n", e.text);
    bool ok = built && !ferror(stdin) && fflush(stdout) == 0;
    l->free(built);
    free(members);
    return ok ? 0 : 2;
}
