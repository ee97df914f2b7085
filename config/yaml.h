/* A YAML file as a tree of nodes that know their place.
 *
 * What for: everything about YAML that is not about ringproxy: syntax, anchors, bounds.
 * Invariants: one document; mapping keys are scalars; no tags, no merge keys, no NUL in a text; at
 * most 32 levels deep. An alias is the very node of its anchor, so the tree is a graph without
 * cycles; `weight` counts a node as often as a walk would meet it, and what aliases add to it is
 * bounded, so that a walk over everything ends soon whatever the file says.
 * Ownership: the tree owns its nodes and their texts. Threads: none; a plain value.
 *
 * The names begin with yaml_tree_ because libyaml exports short ones of its own. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    unsigned line, column;    /* where it begins, from 1; an alias: where its anchor's value does */
    struct str text;          /* YAML_SCALAR: terminated by a NUL and free of others */
    struct yaml_node **items; /* YAML_LIST: the items; YAML_MAP: key, value, key, value, ... */
    size_t count;             /* YAML_LIST: of items; YAML_MAP: of pairs */
    size_t weight;            /* nodes in it, itself too */
    struct yaml_node *next;   /* in yaml_tree.all */
};

struct yaml_tree {
    struct yaml_node *root; /* NULL: an empty file */
    struct yaml_node *all;
    size_t nodes;
};

/* Why a text is not such a tree, and where. */
struct yaml_fault {
    unsigned line, column;
    char text[256];
};

/* Reads a whole text (UTF-8). False: *fault says why; the tree is empty and owns nothing. */
bool yaml_tree_read(struct yaml_tree *t, const char *text, size_t len, struct yaml_fault *fault);
void yaml_tree_free(struct yaml_tree *t);
/* The first value of a key; NULL: the node is NULL, not a mapping or has no such key. */
const struct yaml_node *yaml_tree_get(const struct yaml_node *map, const char *key);
