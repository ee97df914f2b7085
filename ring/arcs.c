/* The circle is cut open at 0. So that the arcs at the cut need no special case, the iterator
 * starts with the last point of the ring, at its position minus RING_SPACE, and ends with the first
 * point once more, at its position plus RING_SPACE. */
#include "ring/arcs.h"

#include "ring/ring_internal.h"

static unsigned owner_at(const struct arcs *a, size_t i)
{
    return a->owner_of[a->entry[i] & 0xffff];
}

/* Sets `next` to the first point with an owner after `now`. There must be one. Later entries at the
 * position of `now` own nothing: their slot is a higher one. */
static void find_next(struct arcs *a)
{
    size_t n = a->n;
    for (;; a->i++) {
        size_t turn = a->i >= n;
        size_t i = a->i - turn * n;
        int64_t position = (int64_t)(a->entry[i] >> 16) + (int64_t)(turn * RING_SPACE);
        unsigned owner = owner_at(a, i);
        if (owner != RING_NONE && position > a->now.position) {
            a->next = (struct owned_point){position, owner};
            return;
        }
    }
}

/* Sets `next` and `end`. An arc includes the position halfway to the next point (at equal distance
 * the point before a key owns it), so it ends one after. */
static void set_end(struct arcs *a)
{
    if (a->now.position >= (int64_t)RING_SPACE) {
        a->end = RING_SPACE;
        return;
    }
    find_next(a);
    int64_t end = a->now.position + (a->next.position - a->now.position) / 2 + 1;
    a->end = end < (int64_t)RING_SPACE ? end : (int64_t)RING_SPACE;
}

void arcs_seek(struct arcs *a, int64_t position)
{
    while (a->end <= position && position < (int64_t)RING_SPACE) {
        a->now = a->next;
        set_end(a);
    }
}

void arcs_open(struct arcs *a, const struct ring *r, const uint16_t *owner_of)
{
    size_t i = ring_points(r);
    *a = (struct arcs){.owner_of = owner_of, .entry = ring_entries(r), .n = i};
    while (i > 0 && owner_at(a, i - 1) == RING_NONE)
        i--;
    if (i == 0) {
        a->now.owner = RING_NONE;
        a->end = RING_SPACE;
        return;
    }
    /* at the position of the last owned entry, the first entry with an owner counts */
    for (i = ring_first_at_place(r, i - 1); owner_at(a, i) == RING_NONE;)
        i++;
    a->now.position = (int64_t)(a->entry[i] >> 16) - (int64_t)RING_SPACE;
    a->now.owner = owner_at(a, i);
    set_end(a);
    arcs_seek(a, 0);
}
