/* An intrusive priority queue: a pairing heap (Fredman et al., 1986).
 *
 * What for: objects that each wait for a time of their own, without an allocation for each entry.
 * heap_push() takes O(1), heap_remove() amortised O(log n).
 * Invariants: a node is in at most one heap. A node in no heap has prev NULL (a zeroed one is in
 * none), and removing it does nothing. No node has a smaller key than its parent.
 * Ownership: none; nodes are members of the objects that they order. Threads: the owner's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    uint64_t key;
    struct heap_node *child; /* first child */
    struct heap_node *next;  /* next sibling */
    struct heap_node *prev;  /* previous sibling; a first child's parent; the root's is the root */
};

struct heap {
    struct heap_node *root; /* a node with the smallest key; NULL: the heap is empty */
};

/* True if the node is in a heap. */
static inline bool heap_holds(const struct heap_node *n)
{
    return n->prev != NULL;
}

/* A node with the smallest key, still in the heap; NULL if the heap is empty. */
static inline struct heap_node *heap_first(const struct heap *h)
{
    return h->root;
}

/* Inserts a node that is in no heap. */
void heap_push(struct heap *h, struct heap_node *n, uint64_t key);
/* Removes a node of this heap; does nothing with one that is in no heap. */
void heap_remove(struct heap *h, struct heap_node *n);
