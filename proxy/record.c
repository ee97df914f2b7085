#include "proxy/record.h"

#include <assert.h>

/* Histogram and counters are the worker's own cells, so a request costs no atomic addition. */
void record_end(struct worker_listener *wl, const struct request_record *r)
{
    assert(r->reason != END_OPEN && r->status < STATUS_CODES);
    if (!r->answered)
        return; /* an answer that was cut does not count as one with its status */
    assert(r->status >= 100);
    cell_add(&wl->cell->codes[r->status], 1);
    if (r->started_ms)
        histogram_record(&wl->cell->duration, (uv_now(&wl->worker->loop) - r->started_ms) * 1000);
}

const char *end_reason_name(enum end_reason r)
{
    static const char *const names[] = {
        [END_OPEN] = "open",
        [END_ANSWERED] = "answered",
        [END_UPGRADED] = "upgraded",
        [END_REFUSED] = "refused",
        [END_SLOW] = "request too slow",
        [END_OVERFLOW] = "too many connections",
        [END_NO_ROUTE] = "no route",
        [END_NO_SERVER] = "no server",
        [END_FAILED] = "all tries failed",
        [END_TIMED_OUT] = "timed out",
        [END_CUT] = "answer cut",
        [END_STALLED] = "answer stalled",
        [END_NO_MEMORY] = "out of memory or descriptors",
        [END_CLIENT_LEFT] = "client left",
    };
    assert(r < sizeof names / sizeof *names);
    return names[r];
}
