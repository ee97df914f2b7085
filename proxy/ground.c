#include "proxy/ground.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

void listener_unref(struct listener *l)
{
    assert(l->refs > 0);
    if (--l->refs == 0)
        free(l);
}

/* Connections that are still kept go to servers that are gone. They need no deadline, as the sweep
 * closes them, a few at a time. */
void pool_line_unref(struct pool_line *line)
{
    assert(line->refs > 0);
    if (--line->refs > 0)
        return;
    assert(list_empty(&line->tunnels) && line->now == NULL);
    deadline_cancel(&line->probe);
    while (!list_empty(&line->idle.entries))
        list_remove(line->idle.entries.next);
    deadline_queue_deinit(&line->probes);
    deadline_queue_deinit(&line->idle);
    free(line);
}

static void clocks_unref(struct client_clocks *c)
{
    assert(c->refs > 0);
    if (--c->refs > 0)
        return;
    deadline_queue_deinit(&c->request);
    deadline_queue_deinit(&c->idle);
    deadline_queue_deinit(&c->tunnel);
    deadline_queue_deinit(&c->events);
    free(c);
}

static void deinit_pool(struct worker_pool *wp)
{
    if (wp->line->now == wp) /* the worker ends */
        wp->line->now = NULL;
    pool_line_unref(wp->line);
    deadline_queue_deinit(&wp->connect);
    deadline_queue_deinit(&wp->response);
    deadline_queue_deinit(&wp->body);
    pool_view_deinit(&wp->view);
}

/* The snapshot goes by mail: its last reference frees the rings that no other one has, and a worker
 * has no time for that. */
void generation_free(struct generation *g)
{
    for (size_t i = 0; i < g->snapshot->npools; i++)
        deinit_pool(&g->pools[i]);
    for (size_t i = 0; i < g->snapshot->nlisteners; i++) {
        clocks_unref(g->listeners[i].clocks);
        listener_unref(g->listeners[i].listener);
    }
    free(g->pools);
    free(g->listeners);
    mailbox_post(g->worker->control, CONTROL_SNAPSHOT, g->worker->index, g->snapshot,
                 snapshot_release);
    free(g);
}

/* Formatting a date costs more than a look at the loop's clock, which is free. */
struct str worker_date(struct worker *w)
{
    uint64_t now = uv_now(&w->loop);
    if (w->date_ms == 0 || now - w->date_ms >= 500) {
        struct tm tm;
        time_t t = time(NULL);
        gmtime_r(&t, &tm);
        w->date_len = strftime(w->date, sizeof w->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        w->date_ms = now;
    }
    return (struct str){w->date, w->date_len};
}

/* The mailbox and the net are the last handles of the loop: when both are closed uv_run() returns.
 */
void worker_maybe_done(struct worker *w)
{
    if (!w->stopping || !list_empty(&w->clients) || !list_empty(&w->upstreams) ||
        uv_is_closing((uv_handle_t *)&w->mailbox.async))
        return;
    mailbox_close(&w->mailbox);
    net_close(&w->net);
}
