/* What the sources of upstream.h share: how many idle connections are kept, and which go.
 *
 * What for: what was in use at once lately will be needed again. So a connection that comes back is
 * kept, up to the pool's `max_idle_connections`. A sweep, four times a second, closes what is
 * beyond the server's mark (base/need.h), a few at a time, what its server is about to close by
 * itself (Keep-Alive), and what goes to a server that has left the configuration. While descriptors
 * are scarce, a worker keeps a small share of them, and a new connection takes over the descriptor
 * of an idle one: of the server that has the most beyond its mark, or else the most, the one that
 * was unused for longest. upstream.c has the life of a connection, upstream_idle.c these decisions.
 * Invariants: a server's cell is in `stocked` of its worker while it has idle connections, and
 * perhaps for some time after. The sweep is armed while that list has a cell, so a worker that has
 * nothing idle sleeps. Only a cell with a `home` gets into the list; the sweep and
 * upstream_close_idle() take it out. The list holds a reference to the cell's server, which may be
 * in no generation any more. Ownership and threads: as in upstream.h. */
#pragma once
#include "proxy/upstream.h"

/* For upstream_count_idle() alone. */
void upstream_enlist(struct worker *w, struct server_cell *cell);
/* Takes the cell out of the worker's list, if it is in it. That may free the server. */
void upstream_delist(struct server_cell *cell);
static inline uint32_t upstream_idle_of(const struct server_cell *cell)
{
    return atomic_load_explicit(&cell->nidle, memory_order_relaxed);
}
/* A connection became idle (1), or is idle no longer (-1). */
static inline void upstream_count_idle(struct worker *w, struct server_cell *cell, int n)
{
    w->nidle += (unsigned)n;
    atomic_store_explicit(&cell->nidle, upstream_idle_of(cell) + (uint32_t)n, memory_order_relaxed);
    if (n > 0 && list_empty(&cell->stocked))
        upstream_enlist(w, cell);
}
/* Before a connection becomes idle: while descriptors are scarce, another one may have to go. */
void upstream_make_room(struct worker *w);
/* Closes an idle connection, by a reset. */
void upstream_dismiss(struct upstream *u);
