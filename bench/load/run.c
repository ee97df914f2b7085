#include "bench/load/run.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"

#define POLL_NS 20000000 /* how often the end of the load is checked */
#define LINE_NS 1000000000u

static void print_line(const struct load *l, struct load_progress *last)
{
    struct load_progress p;
    load_progress(l, &p);
    double seconds = p.seconds - last->seconds;
    double rate = seconds > 0 ? (double)(p.answered - last->answered) / seconds : 0;
    fprintf(stderr, "\r%6.1f s  %9.0f requests/s  %12" PRIu64 " answered  %8" PRIu64 " failed ",
            p.seconds, rate, p.answered, p.failed);
    *last = p;
}

static void on_signal(struct load *l, unsigned *signals)
{
    if ((*signals)++ == 0)
        load_stop(l);
    else
        load_abort(l);
}

static void watch(struct load *l, const sigset_t *stop, bool progress)
{
    const struct timespec interval = {.tv_nsec = POLL_NS};
    struct load_progress last = {0};
    unsigned signals = 0;
    uint64_t line_at = load_started_ns(l) + LINE_NS;
    while (!load_over(l)) {
        /* Blocked and taken here, a signal needs no handler, which could not call load_stop(). */
        if (sigtimedwait(stop, NULL, &interval) > 0)
            on_signal(l, &signals);
        if (progress && clock_now_ns() >= line_at) {
            print_line(l, &last);
            line_at += LINE_NS;
        }
    }
    if (progress)
        fprintf(stderr, "\r%79s\r", "");
}

struct start {
    struct load_options *options;
    struct load *load;
};

static bool start_at(void *arg, const struct addr *to, struct error *e)
{
    struct start *s = arg;
    s->options->target = *to;
    s->load = load_start(s->options, e);
    return s->load != NULL;
}

struct load_result *run_load(struct load_options *o, const struct targets *t, bool progress,
                             struct error *e)
{
    sigset_t stop, before;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    struct start s = {.options = o};
    if (!targets_try(t, start_at, &s, e)) /* while it connects, signals still end the process */
        return NULL;
    struct load *l = s.load;
    pthread_sigmask(SIG_BLOCK, &stop, &before);
    watch(l, &stop, progress);
    struct load_result *r = load_finish(l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}
