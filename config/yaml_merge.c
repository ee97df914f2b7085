#include "config/yaml_merge.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"

/* A pair that the mapping may get, or has. */
struct candidate {
    struct yaml_node *key, *value;
    size_t source; /* 0: the mapping itself; then the mappings that are merged, in their order */
    size_t rank;   /* its number in the order of all pairs */
    bool kept;
};

bool yaml_merge_takes(const struct yaml_node *from, size_t *item)
{
    *item = SIZE_MAX;
    if (from->kind != YAML_LIST)
        return from->kind == YAML_MAP;
    for (*item = 0; *item < from->count; (*item)++)
        if (from->items[*item]->kind != YAML_MAP)
            return false;
    return true;
}

static size_t put_pairs(struct candidate *all, size_t n, const struct yaml_node *map, size_t source)
{
    for (size_t i = 0; i < map->count; i++, n++)
        all[n] = (struct candidate){map->items[2 * i], map->items[2 * i + 1], source, n, false};
    return n;
}

/* By key; pairs of one key in the order of the mappings. */
static int by_key(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int c = strcmp(x->key->text.p, y->key->text.p);
    if (c)
        return c;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static int by_rank(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Of each key the pairs of the first mapping that has it. */
static void choose(struct candidate *all, size_t n)
{
    qsort(all, n, sizeof *all, by_key);
    for (size_t i = 0, first = 0; i < n; i++) {
        if (!str_eq(all[i].key->text, all[first].key->text))
            first = i;
        all[i].kept = all[i].source == all[first].source;
    }
    qsort(all, n, sizeof *all, by_rank);
}

static void rebuild(struct yaml_node *map, const struct candidate *all, size_t n)
{
    free(map->items);
    map->items = mem_zalloc_array(2 * n, sizeof(struct yaml_node *));
    map->count = 0;
    map->weight = 1;
    for (size_t i = 0; i < n; i++) {
        if (!all[i].kept)
            continue;
        map->items[2 * map->count] = all[i].key;
        map->items[2 * map->count + 1] = all[i].value;
        map->count++;
        map->weight += all[i].key->weight + all[i].value->weight;
    }
}

void yaml_merge(struct yaml_node *map, const struct yaml_node *from)
{
    assert(map->kind == YAML_MAP);
    struct yaml_node *const *maps = from->items;
    size_t nmaps = from->count, n = map->count;
    struct yaml_node *one = (struct yaml_node *)(uintptr_t)from;
    if (from->kind == YAML_MAP) {
        maps = &one;
        nmaps = 1;
    }
    for (size_t m = 0; m < nmaps; m++)
        n += maps[m]->count;
    if (n == map->count)
        return;
    struct candidate *all = mem_zalloc_array(n, sizeof *all);
    size_t at = put_pairs(all, 0, map, 0);
    for (size_t m = 0; m < nmaps; m++)
        at = put_pairs(all, at, maps[m], m + 1);
    assert(at == n);
    choose(all, n);
    rebuild(map, all, n);
    free(all);
}
