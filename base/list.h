/* An intrusive, circular, doubly linked list. The head is a link that belongs to no element.
 *
 * Invariants: a link is in at most one list. A link in no list points at itself (list_init), and
 * removing it does nothing.
 * Ownership: none; links are members of the objects that they connect. Threads: the owner's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

/* The object of this type whose member `member` is at ptr. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

/* True for an empty list, given its head; for a link, true if it is in no list. */
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

/* Inserts a link that is in no list. */
static inline void list_insert_before(struct list *at, struct list *link)
{
    link->next = at;
    link->prev = at->prev;
    at->prev->next = link;
    at->prev = link;
}

static inline void list_push_back(struct list *head, struct list *link)
{
    list_insert_before(head, link);
}

static inline void list_push_front(struct list *head, struct list *link)
{
    list_insert_before(head->next, link);
}

static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* Moves all elements of `from` behind those of `head`. */
static inline void list_append(struct list *head, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = head->prev;
    head->prev->next = from->next;
    from->prev->next = head;
    head->prev = from->prev;
    list_init(from);
}

/* The body of list_foreach_safe() may remove `it`, but no other link. */
#define list_foreach_safe(it, nxt, head) \
    for (struct list *it = (head)->next, *nxt = it->next; it != (head); it = nxt, nxt = it->next)
#define list_foreach(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
