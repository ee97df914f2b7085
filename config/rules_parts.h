/* What the files of the rules have in common: items of lists, and paths for messages.
 * Ownership: nothing is owned. Threads: the caller's. */
#pragma once
#include "config/config.h"
#include "config/report.h"

/* Item i of a list; NULL if the node is no list or has no such item, which read_map() has reported
 * then. */
static inline const struct yaml_node *list_item(const struct yaml_node *list, size_t i)
{
    return list && list->kind == YAML_LIST && i < list->count ? list->items[i] : NULL;
}

static inline struct report_path path_key(const struct report_path *up, const char *key)
{
    return (struct report_path){up, .key = str_of(key)};
}

static inline struct report_path path_index(const struct report_path *up, size_t i)
{
    return (struct report_path){up, .index = i};
}

/* Whether the mode of a listener is known: not if the value of `mode` was wrong. What goes with the
 * mode that was meant can't be told then. */
bool rules_know_mode(const struct config_listener *l, const struct yaml_node *node);
/* Checks that keys go with the mode. key: the node of `key`, at the path `at`. */
void rules_check_keys(struct report *r, const struct config_key *keys, size_t nkeys,
                      enum config_mode mode, const struct yaml_node *key,
                      const struct report_path *at);

/* The rules of `cluster`, and of the keys of pools that have a meaning in a fleet:
 * cluster_rules.c. */
void rules_apply_cluster(struct report *r, const struct yaml_node *root, struct config *c);

/* The rules of `pool` and `routes` of all listeners: route_rules.c. Fills in the routes. */
void rules_apply_routes(struct report *r, const struct yaml_node *listeners, struct config *c);
