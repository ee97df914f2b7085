#include "proxy/ground.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

static void deinit_pool(struct worker_pool *wp)
{
    assert(list_empty(&wp->tunnels));
    deadline_cancel(&wp->probe);
    deadline_queue_deinit(&wp->probes);
    deadline_queue_deinit(&wp->connect);
    deadline_queue_deinit(&wp->response);
    deadline_queue_deinit(&wp->body);
    deadline_queue_deinit(&wp->idle);
    pool_view_deinit(&wp->view);
}

void generation_free(struct generation *g)
{
    for (size_t i = 0; i < g->snapshot->npools; i++)
        deinit_pool(&g->pools[i]);
    for (size_t i = 0; i < g->snapshot->nlisteners; i++) {
        deadline_queue_deinit(&g->listeners[i].request);
        deadline_queue_deinit(&g->listeners[i].idle);
        deadline_queue_deinit(&g->listeners[i].tunnel);
        deadline_queue_deinit(&g->listeners[i].events);
    }
    free(g->pools);
    free(g->listeners);
    snapshot_unref(g->snapshot);
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
