/* Reads a YAML file into a tree of nodes that know their line and column.
 *
 * What for: the part of YAML that is independent of ringproxy's keys: syntax, anchors, bounds.
 * docs/configuration.md, How values are written.
 * Invariants: one document; the keys of mappings are scalars; no tags; a text with a NUL is of a
 * kind of its own, so that only those who take bytes take it; at most 32 levels deep. Merge keys
 * are carried out: a mapping has the pairs that it merges behind its own (yaml_merge.h). An alias
 * is represented by the node of its anchor, so the tree is in fact a directed graph without cycles.
 * `weight` is the number of nodes that a traversal of a value visits, with each alias followed. The
 * total that aliases add is bounded, so that no file makes a traversal long ("billion laughs").
 * Ownership: the tree owns its nodes and their texts. Threads: a plain value; the caller's.
 *
 * Functions begin with yaml_tree_ because libyaml uses the prefix yaml_. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum yaml_kind {
    YAML_SCALAR, /* a text without a NUL in it */
    YAML_NUL,    /* a text with a NUL in it, by an escape */
    YAML_LIST,
    YAML_MAP,
};

struct yaml_node {
    enum yaml_kind kind;
    bool flow;             /* a list or mapping in brackets or braces */
    unsigned line, column; /* of its first character, from 1; of an alias: of the anchor's value */
    struct str text;       /* YAML_SCALAR: valid UTF-8; a NUL follows it, none is in it */
    struct str bytes; /* YAML_SCALAR, YAML_NUL: the text, where "\xNN" in double quotes is the byte
                         NN and not the character U+00NN */
    struct yaml_node **items; /* YAML_LIST: the items; YAML_MAP: key, value, key, value, ... */
    size_t count;             /* YAML_LIST: number of items; YAML_MAP: number of pairs */
    size_t weight;            /* nodes that a traversal visits, this one included */
    struct yaml_node *next;   /* in yaml_tree.all */
};

struct yaml_tree {
    struct yaml_node *root; /* NULL: the file is empty */
    struct yaml_node *all;  /* every node once, to free them */
    size_t nodes;
};

/* Why a text could not be read, and where. */
struct yaml_fault {
    unsigned line, column;
    char text[256];
};

/* Reads a text of len bytes in UTF-8, with or without a byte order mark. True: the caller frees *t
 * with yaml_tree_free(). False: *fault says why; *t is empty and owns nothing. */
bool yaml_tree_read(struct yaml_tree *t, const char *text, size_t len, struct yaml_fault *fault);
void yaml_tree_free(struct yaml_tree *t);
/* The value of the first such key in a mapping. NULL: map is NULL or no mapping, or has no
 * such key. */
const struct yaml_node *yaml_tree_get(const struct yaml_node *map, const char *key);
