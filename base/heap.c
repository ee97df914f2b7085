#include "base/heap.h"

#include <assert.h>

/* Merges two trees, whose roots have no siblings, into one: the root with the greater key becomes
 * the first child of the other. The result has no siblings either. */
static struct heap_node *meld(struct heap_node *a, struct heap_node *b)
{
    if (b->key < a->key) {
        struct heap_node *smaller = b;
        b = a;
        a = smaller;
    }
    b->next = a->child;
    if (b->next)
        b->next->prev = b;
    b->prev = a;
    a->child = b;
    return a;
}

/* Merges a list of siblings into one tree; NULL if the list is empty. It merges them in pairs from
 * left to right, then merges the pairs from right to left. A single pass would leave one root with
 * n - 1 children, so that the next removal costs O(n) again; the pairing halves that each time. */
static struct heap_node *meld_siblings(struct heap_node *first)
{
    struct heap_node *pairs = NULL, *root = NULL;
    while (first) {
        struct heap_node *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = NULL;
        if (b) {
            b->next = NULL;
            a = meld(a, b);
        }
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct heap_node *a = pairs;
        pairs = a->next;
        a->next = NULL;
        root = root ? meld(root, a) : a;
    }
    return root;
}

/* prev of the root points to itself, so that it is not NULL, which would mean "in no heap". */
static void set_root(struct heap *h, struct heap_node *root)
{
    h->root = root;
    if (root)
        root->prev = root;
}

void heap_push(struct heap *h, struct heap_node *n, uint64_t key)
{
    assert(!heap_holds(n));
    *n = (struct heap_node){.key = key};
    set_root(h, h->root ? meld(h->root, n) : n);
}

/* Takes a node that is not the root out of its list of siblings. */
static void cut(struct heap_node *n)
{
    if (n->prev->child == n)
        n->prev->child = n->next;
    else
        n->prev->next = n->next;
    if (n->next)
        n->next->prev = n->prev;
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    if (!heap_holds(n))
        return;
    /* The children of the node become one tree, which replaces it or joins the rest. */
    struct heap_node *below = meld_siblings(n->child);
    if (n == h->root) {
        set_root(h, below);
    } else {
        cut(n);
        if (below)
            set_root(h, meld(h->root, below));
    }
    *n = (struct heap_node){0};
}
