/* A priority queue whose nodes live in what they order: a pairing heap.
 *
 * What for: things that wait for times of their own, in any number and order, without an
 * allocation. Pushing is O(1); popping and removing are O(log n) on average over many of them.
 * Invariants: a node is in at most one heap; one that is in none has prev NULL and may be removed
 * again without harm. No node has a smaller key than its parent.
 * Ownership: none. Threads: the owner's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    uint64_t key;
    struct heap_node *child; /* the first one */
    struct heap_node *next;  /* sibling */
    struct heap_node *prev;  /* sibling; of a first child its parent; of the root itself */
};

struct heap {
    struct heap_node *root; /* a smallest key; NULL: empty */
};

static inline bool heap_holds(const struct heap_node *n)
{
    return n->prev != NULL;
}

static inline struct heap_node *heap_first(const struct heap *h)
{
    return h->root;
}

/* The node must be in no heap. */
void heap_push(struct heap *h, struct heap_node *n, uint64_t key);
void heap_remove(struct heap *h, struct heap_node *n);
