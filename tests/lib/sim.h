/* Events in made-up time, and processes that can be stopped, killed and started again.
 *
 * What for: a fleet of proxies runs in one thread, in no time, the same way for each seed.
 * Invariants: events come in the order of their times, and of their making within one microsecond.
 * Nothing here reads a clock of the machine. An event of a process waits while the process is
 * stopped, and is dropped if it was killed meanwhile.
 * Ownership: the argument of sim_post() and sim_send() is allocated, and freed after the call, or
 * when the event is dropped; see `drop` for what else belongs to it. A timer is a member of its
 * owner's object, which stops it before it goes.
 * Threads: one. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"
#include "base/list.h"

#define SIM_MS 1000u /* microseconds */

typedef void sim_fn(void *arg);

struct sim {
    uint64_t now_us;
    uint64_t events; /* so far */
    uint64_t random; /* of splitmix64 */
    struct heap heap;
    bool tells;       /* sim_say() speaks at once */
    struct list line; /* what it said last, for the report of a violation */
    unsigned nlines;
};

/* A process on a machine of its own: its clocks go at their own pace. */
struct sim_process {
    struct sim *sim;
    const char *name;
    bool alive;
    unsigned life;           /* grows with each start */
    uint64_t stopped_us;     /* until then; 0: it runs */
    double pace;             /* of its clocks: 1 is true */
    double offset_ms;        /* of its monotonic clock */
    int64_t wall_ms;         /* of its wall clock, beside the true time */
    void (*on_wake)(void *); /* the first thing after a stop; arg: */
    void *arg;
};

/* A timer of a process (by its clock). {0} is one that doesn't run. */
struct sim_timer {
    void *due; /* NULL: it does not run */
    sim_fn *fn;
    void *arg;
};

void sim_init(struct sim *s, uint64_t seed);
/* Drops all events. */
void sim_deinit(struct sim *s);
/* Until the time comes, or `stop` returns true (NULL: never). */
void sim_run(struct sim *s, uint64_t until_us, bool (*stop)(void *arg), void *arg);

/* From low to below high. */
double sim_between(struct sim *s, double low, double high);
unsigned sim_below(struct sim *s, unsigned n);
bool sim_chance(struct sim *s, double p);
/* Exponential. */
double sim_gap(struct sim *s, double mean);

/* An event of nobody's, such as of the network. arg: allocated, or NULL. */
void sim_post(struct sim *s, uint64_t at_us, sim_fn *fn, void *arg, sim_fn *drop);
/* An event of a process. drop: in place of fn if the process is gone; NULL: nothing is to be done.
 * Both times arg is freed afterwards. */
void sim_send(struct sim_process *p, uint64_t at_us, sim_fn *fn, void *arg, sim_fn *drop);

void sim_process_start(struct sim_process *p);
void sim_process_kill(struct sim_process *p);
/* SIGSTOP, and SIGCONT at that time. */
void sim_process_stop(struct sim_process *p, uint64_t until_us);
bool sim_process_runs(const struct sim_process *p);
/* Milliseconds of its clocks. */
double sim_mono(const struct sim_process *p);
uint64_t sim_mono_ms(const struct sim_process *p);
uint64_t sim_wall_ms(const struct sim_process *p);

/* Starts it, or starts it again: due in so many ms of the process's clock. */
void sim_timer_start(struct sim_timer *t, struct sim_process *p, double in_ms, sim_fn *fn,
                     void *arg);
void sim_timer_stop(struct sim_timer *t);

/* What happens, for whoever looks for the reason of a violation. */
void sim_say(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes the last lines to stderr. */
void sim_show(struct sim *s);
