#include "proxy/pipe.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/descriptors.h"

/* Spare pipes. Few are enough: usually a pipe is empty and returned before the next one
 * is needed. */
#define MAX_SPARE 4
#define MAX_PIPES 256   /* of one worker, lent and spare ones together */
#define BACKOFF_MS 1000 /* the time without a further attempt after a pipe could not be opened */
/* The capacity. The kernel counts it in slots of 4 KiB, and each fragment of a socket's data takes
 * a slot, even if it is shorter. */
#define SIZE (1024 * 1024)
#define SIZE_LEAST (256 * 1024) /* with less, splice() is not faster than copying */

static bool open_pipe(struct pipe *p)
{
    int fds[2];
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
        return false;
    p->out = fds[0];
    p->in = fds[1];
    p->held = 0;
    /* A user other than root may have a limited number of pages in pipes (pipe-user-pages-soft);
     * above it, pipes cannot grow, and new ones have only one or two pages. */
    if (fcntl(p->in, F_SETPIPE_SZ, SIZE) >= SIZE_LEAST ||
        fcntl(p->in, F_SETPIPE_SZ, SIZE_LEAST) >= SIZE_LEAST)
        return true;
    close(p->out);
    close(p->in);
    return false;
}

/* Descriptors are taken as for a client: a pipe only speeds up, a backend connection is needed. */
static struct pipe *pipe_new(void)
{
    struct pipe *p = malloc(sizeof *p);
    if (p && descriptors_take(DESCRIPTORS_CLIENT, 2)) {
        if (open_pipe(p))
            return p;
        descriptors_give(2);
    }
    free(p);
    return NULL;
}

static void pipe_close(struct pipe_store *s, struct pipe *p)
{
    close(p->out);
    close(p->in);
    descriptors_give(2);
    free(p);
    s->npipes--;
}

struct pipe *pipe_take(struct pipe_store *s, uint64_t now_ms)
{
    struct pipe *p = s->spare;
    if (p) {
        s->spare = p->next_spare;
        s->nspare--;
        return p;
    }
    if (s->npipes >= MAX_PIPES || now_ms < s->none_until_ms)
        return NULL;
    p = pipe_new();
    if (p)
        s->npipes++;
    else
        s->none_until_ms = now_ms + BACKOFF_MS;
    return p;
}

void pipe_give(struct pipe_store *s, struct pipe *p)
{
    if (p->held || s->nspare >= MAX_SPARE) {
        pipe_close(s, p);
        return;
    }
    p->next_spare = s->spare;
    s->spare = p;
    s->nspare++;
}

void pipe_free_spares(struct pipe_store *s)
{
    while (s->spare) {
        struct pipe *p = s->spare;
        s->spare = p->next_spare;
        pipe_close(s, p);
    }
    s->nspare = 0;
}
