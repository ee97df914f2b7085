#include "app/lock_run.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/app.h"
#include "app/boot_alarm.h"
#include "base/boot_clock.h"
#include "cluster/lock_redis.h"
#include "net/conn.h"
#include "net/lookup.h"

#define PAUSE_FIRST_MS 20 /* between attempts; doubles */
#define PAUSE_MOST_MS 250
#define AFTER_EXPIRY_MS 5 /* an attempt comes so long after the holder's lock runs out */
#define RELEASE_MS 1000
#define GRACE_MOST_MS 5000 /* from TERM to KILL when another may have the lock already */
#define GROUP_POLL_MS 20   /* of what is left of the group after TERM */
#define TERMINAL_POLL_MS 100
#define DEADLINE_MOST_MS 3000 /* of a connect or a command */
#define RECONNECT_MOST_MS 1000
#define HOST_MAX 64

enum run_state { RUN_WAITING, RUN_RUNNING, RUN_STOPPING, RUN_RELEASING, RUN_DONE };

/* Those that end the waiting, and go on to the command. */
static const int passed_on[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
#define NPASSED (sizeof passed_on / sizeof *passed_on)
#define NSIGNALS (NPASSED + 2) /* and CHLD, CONT */

struct run {
    const struct lock_run_options *o;
    struct lock_child *child;
    enum run_state state;
    int status; /* the exit status, once known */
    uv_loop_t loop;
    struct net net;
    struct lookups *lookups;
    struct boot_alarm alarm;
    uv_signal_t signals[NSIGNALS];
    unsigned nsignals;
    struct redis *redis;
    struct lock_redis lock;
    uint64_t began_ms;
    uint64_t next_ms;  /* of the next attempt or renewal; 0: an answer is waited for */
    uint64_t until_ms; /* the end of WAITING, STOPPING (then KILL) or RELEASING */
    uint64_t pause_ms; /* before the next attempt, without the jitter */
    bool killed;
    /* Whom the last refusal named, and since when it has been the same one. */
    char holder[LOCK_VALUE_SIZE];
    uint64_t holder_since_ms;
    char trouble[256]; /* the last answer that was an error; "": none since Redis answered well */
};

/* ---- words ---- */

static void tell(const struct run *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void tell(const struct run *r, const char *format, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    fprintf(stderr, "ringproxy lock: %s: %s\n", r->o->name, text);
}

#define TELL_MORE(r, ...)         \
    do {                          \
        if ((r)->o->verbose)      \
            tell(r, __VA_ARGS__); \
    } while (0)

static double seconds(uint64_t ms)
{
    return (double)ms / 1000;
}

/* "held by web1/4711 for 12 s": for as long as we have seen it. */
static const char *holder_words(const struct run *r, char *out, size_t size)
{
    struct lock_holder h;
    char who[LOCK_WHO_MAX + 1];
    uint64_t ms = boot_clock_ms() - r->holder_since_ms;
    if (!lock_holder_parse(&h, str_of(r->holder))) {
        snprintf(out, size, "held by something that is not ringproxy lock: look at the key %s",
                 r->lock.key);
        return out;
    }
    for (size_t i = 0; i < h.who.n; i++)
        who[i] = h.who.p[i] <= '~' && h.who.p[i] > ' ' ? h.who.p[i] : '?';
    who[h.who.n] = '\0';
    snprintf(out, size, "held by %s", who);
    if (ms >= 1000)
        snprintf(out + strlen(out), size - strlen(out), " for %" PRIu64 " s", ms / 1000);
    return out;
}

/* Why there is no lock yet. */
static const char *why_none(const struct run *r, char *out, size_t size)
{
    if (r->redis && !redis_is_up(r->redis) && *redis_why(r->redis))
        snprintf(out, size, "%s", redis_why(r->redis));
    else if (*r->trouble)
        snprintf(out, size, "%s", r->trouble);
    else if (*r->holder)
        return holder_words(r, out, size);
    else
        snprintf(out, size, "Redis has not answered");
    return out;
}

/* ---- time ---- */

static uint64_t jittered(uint64_t ms)
{
    return ms / 2 + (uint64_t)random() % (ms + 1);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a && (b == 0 || a < b) ? a : b;
}

/* When the command is to be told, so that it has a sixth of the time to the end. */
static uint64_t warning_ms(const struct run *r)
{
    return r->lock.lock.end_ms - r->o->ttl_ms / 6;
}

static uint64_t grace_ms(const struct run *r)
{
    uint64_t sixth = r->o->ttl_ms / 6;
    return sixth < GRACE_MOST_MS ? sixth : GRACE_MOST_MS;
}

static void set_alarm(struct run *r)
{
    uint64_t at = earlier(r->next_ms, r->until_ms);
    if (r->state == RUN_RUNNING)
        at = earlier(at, warning_ms(r));
    if (r->child->wants_terminal) /* a shell's `fg` need not send a signal */
        at = earlier(at, boot_clock_ms() + TERMINAL_POLL_MS);
    if (r->state != RUN_DONE)
        boot_alarm_set(&r->alarm, at);
}

/* ---- the end ---- */

static void on_lookups_gone(void *arg)
{
}

static void finish(struct run *r)
{
    r->state = RUN_DONE;
    if (r->redis)
        redis_close(r->redis, on_lookups_gone, NULL);
    r->redis = NULL;
    if (r->lookups)
        lookups_close(r->lookups);
    r->lookups = NULL;
    boot_alarm_close(&r->alarm);
    for (unsigned i = 0; i < r->nsignals; i++)
        uv_close((uv_handle_t *)&r->signals[i], NULL);
    net_close(&r->net);
}

static void on_released(void *arg, const struct lock_answer *a)
{
    struct run *r = arg;
    if (r->state != RUN_RELEASING)
        return;
    TELL_MORE(r, a->outcome == LOCK_GRANTED   ? "released"
                 : a->outcome == LOCK_REFUSED ? "it was not ours any more"
                                              : "the release was not confirmed; it ends by itself");
    finish(r);
}

/* status: the exit status. held: whether there may be something to release. */
static void release(struct run *r, int status, bool held)
{
    r->state = RUN_RELEASING;
    r->status = status;
    r->next_ms = 0;
    r->until_ms = boot_clock_ms() + RELEASE_MS;
    if (held && *r->lock.lock.value && redis_is_up(r->redis))
        lock_redis_release(&r->lock, on_released);
    else
        finish(r);
}

/* ---- STOPPING ---- */

static void kill_group(struct run *r)
{
    TELL_MORE(r, "SIGKILL to %s", r->o->command);
    lock_child_signal(r->child, SIGKILL);
    r->killed = true;
    r->until_ms = boot_clock_ms() + GRACE_MOST_MS;
}

/* The command has until kill_ms to end. */
static void stop_command(struct run *r, uint64_t kill_ms)
{
    r->state = RUN_STOPPING;
    r->status = LOCK_EXIT_LOST;
    r->next_ms = 0;
    r->until_ms = kill_ms;
    if (boot_clock_ms() >= kill_ms) {
        kill_group(r);
        return;
    }
    lock_child_signal(r->child, SIGTERM);
    lock_child_signal(r->child, SIGCONT);
}

static void turn_stopping(struct run *r, uint64_t now)
{
    bool lives = !r->child->ended || (!r->killed && lock_child_group_lives(r->child));
    if (!lives) {
        release(r, LOCK_EXIT_LOST, r->lock.lock.held);
    } else if (now >= r->until_ms && !r->killed) {
        kill_group(r);
        turn_stopping(r, now);
    } else if (now >= r->until_ms) {
        tell(r, "%s (process %d) does not end", r->o->command, (int)r->child->pid);
        release(r, LOCK_EXIT_LOST, false);
    } else {
        r->next_ms = r->child->ended ? now + GROUP_POLL_MS : 0;
    }
}

/* ---- RUNNING ---- */

static void on_renewed(void *arg, const struct lock_answer *a)
{
    struct run *r = arg;
    uint64_t now = boot_clock_ms();
    snprintf(r->trouble, sizeof r->trouble, "%s", a->error);
    if (r->state != RUN_RUNNING)
        return;
    if (a->outcome == LOCK_REFUSED) {
        tell(r,
             "lost the lock while %s ran: Redis has it no more, or gave it to another; "
             "stopping it",
             r->o->command);
        stop_command(r, now + grace_ms(r));
    } else {
        uint64_t third = r->o->ttl_ms / 3, soon = r->o->ttl_ms / 30;
        r->next_ms = a->outcome == LOCK_GRANTED ? r->lock.start_ms + third : now + soon;
    }
    set_alarm(r);
}

static void renew(struct run *r)
{
    lock_redis_renew(&r->lock, on_renewed);
}

/* The status that a shell would give, or what kept the command from running. */
static int status_of(const struct run *r)
{
    int s = r->child->status, code = lock_child_failure(r->child);
    if (code) {
        tell(r, "%s: %s", r->o->command, strerror(code));
        return code == ENOENT ? LOCK_EXIT_NOT_FOUND : LOCK_EXIT_NOT_RUNNABLE;
    }
    return WIFSIGNALED(s) ? 128 + WTERMSIG(s) : WEXITSTATUS(s);
}

/* Why the lock was not renewed. */
static const char *why_silent(const struct run *r)
{
    if (!redis_is_up(r->redis) && *redis_why(r->redis))
        return redis_why(r->redis);
    if (*r->trouble)
        return r->trouble;
    return r->lock.asking ? "no answer in time" : "this process was stopped, or got no time";
}

static void turn_running(struct run *r, uint64_t now)
{
    const struct lock *l = &r->lock.lock;
    if (r->child->ended && now >= l->end_ms) {
        tell(r, "%s has ended, but after the lock's time: %s", r->o->command, why_silent(r));
        release(r, LOCK_EXIT_LOST, true);
    } else if (r->child->ended) {
        release(r, status_of(r), true);
    } else if (now >= warning_ms(r)) {
        uint64_t start = l->end_ms - (r->o->ttl_ms - r->o->ttl_ms / 10);
        tell(r, "lost the lock while %s ran, last renewed %.1f s ago: %s; stopping it",
             r->o->command, seconds(now - start), why_silent(r));
        stop_command(r, l->end_ms);
    } else if (r->next_ms && now >= r->next_ms) {
        r->next_ms = 0; /* if not now, on_up or the answer comes */
        if (!r->lock.asking && redis_is_up(r->redis))
            renew(r);
    }
}

/* From now on nothing may stop us by the terminal, as we have a lock to renew. */
static void start_command(struct run *r)
{
    signal(SIGTSTP, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    signal(SIGTTIN, SIG_IGN);
    TELL_MORE(r, "acquired after %.3f s, epoch %" PRIu64, seconds(boot_clock_ms() - r->began_ms),
              r->lock.lock.epoch);
    r->state = RUN_RUNNING;
    r->until_ms = 0;
    r->next_ms = r->lock.lock.asked_ms + r->o->ttl_ms / 3;
    lock_child_start(r->child, r->o->name, r->lock.lock.epoch); /* if not, SIGCHLD tells it */
}

/* ---- WAITING ---- */

static void give_up(struct run *r)
{
    char why[768];
    why_none(r, why, sizeof why);
    if (r->o->wait_ms)
        tell(r, "no lock within %g s: %s", seconds(r->o->wait_ms), why);
    else
        tell(r, "no lock: %s", why);
    release(r, LOCK_EXIT_NONE, true);
}

static void note_holder(struct run *r, const struct lock_answer *a)
{
    size_t n = a->holder.n < sizeof r->holder - 1 ? a->holder.n : sizeof r->holder - 1;
    const char *bytes = n ? a->holder.p : "";
    if (n == 0 || strlen(r->holder) != n || memcmp(r->holder, bytes, n) != 0) {
        char words[512];
        memcpy(r->holder, n ? bytes : "?", n ? n : 1);
        r->holder[n ? n : 1] = '\0';
        r->holder_since_ms = boot_clock_ms();
        TELL_MORE(r, "%s", holder_words(r, words, sizeof words));
    }
}

static void wait_for_next(struct run *r, const struct lock_answer *a)
{
    uint64_t now = boot_clock_ms();
    r->next_ms = now + jittered(r->pause_ms);
    r->pause_ms = 2 * r->pause_ms < PAUSE_MOST_MS ? 2 * r->pause_ms : PAUSE_MOST_MS;
    if (a->outcome == LOCK_REFUSED && a->left_ms)
        r->next_ms = earlier(r->next_ms, now + a->left_ms + AFTER_EXPIRY_MS);
}

static void on_acquired(void *arg, const struct lock_answer *a)
{
    struct run *r = arg;
    snprintf(r->trouble, sizeof r->trouble, "%s", a->error);
    if (r->state != RUN_WAITING)
        return;
    if (*a->error)
        TELL_MORE(r, "%s", a->error);
    if (a->outcome == LOCK_REFUSED)
        note_holder(r, a);
    if (a->outcome == LOCK_GRANTED)
        start_command(r);
    else if (r->o->wait_ms == 0)
        give_up(r);
    else
        wait_for_next(r, a);
    set_alarm(r);
}

static void attempt(struct run *r)
{
    struct error e;
    r->next_ms = 0;
    if (lock_redis_acquire(&r->lock, on_acquired, &e))
        return;
    tell(r, "%s", e.text);
    release(r, APP_FAILED, false);
}

static void turn_waiting(struct run *r, uint64_t now)
{
    if (r->child->ended) {
        tell(r, "the process for the command was killed");
        release(r, APP_FAILED, true);
    } else if (now >= r->until_ms) {
        give_up(r);
    } else if (r->next_ms && now >= r->next_ms && !r->lock.asking && redis_is_up(r->redis)) {
        attempt(r);
    } else if (r->next_ms && now >= r->next_ms) {
        r->next_ms = 0; /* on_up comes, or the end */
    }
}

/* ---- what happens ---- */

static void look_at_command(struct run *r)
{
    int stopped = lock_child_look(r->child);
    if (!stopped && r->child->wants_terminal)
        lock_child_continued(r->child);
    else if (stopped && r->child->wants_terminal)
        tell(r, "%s waits for the terminal, which another has", r->o->command);
    else if (stopped)
        TELL_MORE(r, "%s was stopped by signal %d: undone, as the lock goes on", r->o->command,
                  stopped);
}

/* Before anything that happened is acted upon: what the clock says comes first. It is read after
 * the look at the command, so that one that counts as ended in time has ended by then. */
static void turn(struct run *r)
{
    look_at_command(r);
    uint64_t now = boot_clock_ms();
    if (r->state == RUN_WAITING)
        turn_waiting(r, now);
    else if (r->state == RUN_RUNNING)
        turn_running(r, now);
    if (r->state == RUN_STOPPING)
        turn_stopping(r, now);
    else if (r->state == RUN_RELEASING && now >= r->until_ms)
        finish(r);
    set_alarm(r);
}

static void on_alarm(void *arg)
{
    turn(arg);
}

static void on_up(void *arg, const char *where)
{
    struct run *r = arg;
    TELL_MORE(r, "connected to %s", where);
    if (r->state == RUN_WAITING || r->state == RUN_RUNNING)
        r->next_ms = boot_clock_ms();
    turn(r);
}

static void on_down(void *arg, const char *why)
{
    struct run *r = arg;
    TELL_MORE(r, "%s", why);
    if (r->state == RUN_WAITING && r->o->wait_ms == 0)
        give_up(r);
    turn(r);
}

static void on_passed(struct run *r, int signum)
{
    if (r->state == RUN_WAITING)
        release(r, 128 + signum, true);
    else if (r->state == RUN_RUNNING || r->state == RUN_STOPPING)
        lock_child_signal(r->child, signum);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct run *r = handle->data;
    turn(r);
    if (r->state == RUN_DONE || signum == SIGCHLD)
        return;
    if (signum == SIGCONT) {
        lock_child_continued(r->child);
    } else {
        on_passed(r, signum);
    }
}

/* ---- the beginning ---- */

/* What was ignored when we were started (nohup, a shell's &) stays so, for the command, too. */
static bool was_ignored(int signum)
{
    struct sigaction a;
    return sigaction(signum, NULL, &a) == 0 && a.sa_handler == SIG_IGN;
}

static int watch_signals(struct run *r)
{
    int wanted[NSIGNALS], e = 0;
    size_t n = 0;
    for (size_t i = 0; i < NPASSED; i++)
        if (!was_ignored(passed_on[i]))
            wanted[n++] = passed_on[i];
    wanted[n++] = SIGCHLD;
    wanted[n++] = SIGCONT;
    for (size_t i = 0; i < n && e == 0; i++) {
        uv_signal_t *s = &r->signals[i];
        if ((e = uv_signal_init(&r->loop, s)) == 0) {
            s->data = r;
            r->nsignals++;
            e = uv_signal_start(s, on_signal, wanted[i]);
        }
    }
    return e;
}

static const char *who(char *out, size_t size)
{
    char host[HOST_MAX + 1] = "?";
    if (gethostname(host, sizeof host - 1) != 0 || *host == '\0')
        snprintf(host, sizeof host, "?");
    for (char *p = host; *p; p++)
        if (*p <= ' ' || *p > '~')
            *p = '-';
    snprintf(out, size, "%s/%ld", host, (long)getpid());
    return out;
}

static void open_redis(struct run *r)
{
    char me[LOCK_WHO_MAX + 1];
    uint64_t sixth = r->o->ttl_ms / 6;
    const struct redis_options o = {
        .net = &r->net,
        .lookups = r->lookups,
        .urls = r->o->urls,
        .nurls = r->o->nurls,
        .deadline_ms = sixth < DEADLINE_MOST_MS ? sixth : DEADLINE_MOST_MS,
        .period_ms = 2 * sixth < RECONNECT_MOST_MS ? 2 * sixth : RECONNECT_MOST_MS,
        .on_up = on_up,
        .on_down = on_down,
        .arg = r};
    r->redis = redis_open(&o);
    lock_redis_init(&r->lock, r->redis, r->o->name, who(me, sizeof me), r->o->ttl_ms, r);
}

static bool init(struct run *r, struct error *e)
{
    int uv = uv_loop_init(&r->loop);
    if (uv < 0) {
        error_set(e, -uv, "the event loop: %s", uv_strerror(uv));
        return false;
    }
    net_init(&r->net, &r->loop);
    if (!boot_alarm_init(&r->alarm, &r->loop, on_alarm, r, e))
        return false;
    if ((uv = watch_signals(r)) == 0)
        r->lookups = lookups_new(&r->loop, NULL, &uv);
    if (uv < 0)
        error_set(e, -uv, "the event loop: %s", uv_strerror(uv));
    return uv == 0;
}

int lock_run(const struct lock_run_options *o, struct lock_child *child)
{
    struct run r = {.o = o, .child = child, .pause_ms = PAUSE_FIRST_MS, .status = APP_FAILED};
    struct error e;
    signal(SIGPIPE, SIG_IGN);
    srandom((unsigned)getpid() ^ (unsigned)boot_clock_ms());
    if (!init(&r, &e)) {
        tell(&r, "%s", e.text);
        return APP_FAILED; /* the process ends: nothing is taken apart that is half there */
    }
    r.began_ms = boot_clock_ms();
    r.until_ms = r.began_ms + o->wait_ms + (o->wait_ms == 0 ? DEADLINE_MOST_MS : 0);
    open_redis(&r);
    set_alarm(&r);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    net_deinit(&r.net);
    uv_loop_close(&r.loop);
    return r.status;
}
