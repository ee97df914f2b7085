#include "bench/failover/rig.h"

#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench/failover/ask.h"

#define READY_MS 60000 /* long, for slow machines and sanitizers */
#define STOP_MS 10000
#define ASK_MS 1000

/* ---- ports ---- */

/* The first port that the kernel gives to outgoing connections. */
static unsigned ephemeral_start(void)
{
    unsigned start = 32768;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (f == NULL)
        return start;
    if (fscanf(f, "%u", &start) != 1)
        start = 32768;
    fclose(f);
    return start;
}

static struct addr loopback(uint16_t port)
{
    struct addr a = {.v4 = {.sin_family = AF_INET,
                            .sin_port = htons(port),
                            .sin_addr = {htonl(INADDR_LOOPBACK)}},
                     .len = sizeof a.v4};
    return a;
}

/* On all addresses, not only on 127.0.0.1: a listener on another one may forbid the port, too. */
static bool is_free(uint16_t port)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool ok = bind(fd, (const struct sockaddr *)&any, sizeof any) == 0;
    close(fd);
    return ok;
}

static bool has_port(const struct rig *r, uint16_t port)
{
    bool has = addr_port(&r->target) == port;
    for (unsigned i = 0; i < r->nservers; i++)
        has |= addr_port(&r->servers[i].address) == port;
    return has;
}

static bool find_port(const struct rig *r, struct addr *out, struct error *e)
{
    unsigned top = ephemeral_start(), low = 10240;
    if (top <= 20000)
        low = 20000, top = 65536;
    for (int i = 0; i < 1000; i++) {
        unsigned random;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            break;
        uint16_t port = (uint16_t)(low + random % (top - low)); /* two rigs at once rarely meet */
        if (!has_port(r, port) && is_free(port)) {
            *out = loopback(port);
            return true;
        }
    }
    error_set(e, EADDRINUSE, "no free port between %u and %u", low, top);
    return false;
}

/* ---- folder ---- */

static bool make_folder(struct rig *r, struct error *e)
{
    const char *where = getenv("TMPDIR");
    static const char name[] = "/ringbench-failover.XXXXXX";
    if (where == NULL || *where == 0)
        where = "/tmp";
    size_t n = strlen(where) + sizeof name;
    r->folder = mem_zalloc(n);
    snprintf(r->folder, n, "%s%s", where, name);
    if (mkdtemp(r->folder))
        return true;
    error_errno(e, errno, "%s", r->folder);
    free(r->folder);
    return false;
}

/* For nftw(). */
static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    return remove(path);
}

static bool remove_folder(const struct rig *r, struct error *e)
{
    if (nftw(r->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0)
        return true;
    error_errno(e, errno, "%s cannot be removed", r->folder);
    return false;
}

/* ---- begin ---- */

static void free_all(struct rig *r)
{
    for (unsigned i = 0; i < r->nservers; i++)
        process_deinit(&r->servers[i].process);
    process_deinit(&r->process);
    free(r->servers);
    free(r->folder);
}

bool rig_open(struct rig *r, struct wait *w, const struct scenario *s, const struct proxy *p,
              const char *program, struct error *e)
{
    *r = (struct rig){.wait = w, .scenario = s, .proxy = p, .program = program};
    if (!make_folder(r, e))
        return false;
    process_init(&r->process, p->name, r->folder);
    r->nservers = p->standbys ? scenario_servers(s) : s->backends;
    r->servers = mem_zalloc_array(scenario_servers(s), sizeof *r->servers);
    bool ok = find_port(r, &r->target, e);
    for (unsigned i = 0; i < r->nservers; i++) {
        struct rig_server *v = &r->servers[i];
        process_init(&v->process, scenario_server_name(s, i, v->name), r->folder);
        ok = ok && find_port(r, &v->address, e);
    }
    if (!ok) {
        struct error ignored;
        remove_folder(r, &ignored); /* the first error is the one to report */
        free_all(r);
    }
    return ok;
}

/* ---- servers ---- */

static bool server_answers(void *server)
{
    struct rig_server *v = server;
    struct ask_answer a;
    struct error e;
    /* A server that has ended will not answer: the wait ends, and await_server() tells why. */
    return !process_running(&v->process) ||
           (ask(&v->address, "GET", "/", "", ASK_MS, &a, &e) && strcmp(a.backend, v->name) == 0);
}

static bool launch_server(struct rig *r, struct rig_server *v, struct error *e)
{
    char address[ADDR_TEXT_MAX];
    addr_format(&v->address, address);
    const char *const argv[] = {"/proc/self/exe", "serve", "--listen", address,
                                "--name",         v->name, NULL};
    r->culprit = &v->process;
    v->gone = v->stopped = false;
    return process_start(&v->process, &r->wait->loop, argv, e);
}

static bool await_server(struct rig *r, struct rig_server *v, struct error *e)
{
    r->culprit = &v->process;
    enum wait_result w = wait_until(r->wait, server_answers, v, READY_MS);
    if (w != WAIT_DONE) {
        wait_explain(r->wait, w, READY_MS, e, "%s answers", v->name);
        return false;
    }
    if (!process_running(&v->process)) {
        process_explain_end(&v->process, e);
        return false;
    }
    return true;
}

/* ---- the proxy ---- */

/* The state of a wait in which keys are requested until every backend has answered one. */
struct warming {
    struct rig *r;
    unsigned key;
    unsigned left; /* number of backends that have not answered */
    bool seen[SCENARIO_MAX_BACKENDS];
    struct error e; /* of the last request */
};

static void warm_answered(struct warming *w, const struct ask_answer *a)
{
    for (unsigned i = 0; i < w->r->scenario->backends; i++) {
        if (strcmp(w->r->servers[i].name, a->backend) == 0 && !w->seen[i]) {
            w->seen[i] = true;
            w->left--;
        }
    }
}

/* Requests a few keys only, so that the wait can notice signals and the ends of processes. */
static bool proxy_answers(void *warming)
{
    struct warming *w = warming;
    struct ask_answer a;
    char field[64];
    for (int i = 0; i < 20 && w->left; i++) {
        if (!rig_is_well(w->r, &w->e))
            return true;
        snprintf(field, sizeof field, "X-Key: warm%u\r\n", w->key++);
        if (!ask(&w->r->target, "GET", "/", field, ASK_MS, &a, &w->e))
            return false;
        if (a.status != 200)
            error_set(&w->e, 0, "the last answer had status %d", a.status);
        warm_answered(w, &a);
    }
    return w->left == 0;
}

static bool await_proxy(struct rig *r, struct error *e)
{
    struct warming warming = {.r = r, .left = r->scenario->backends};
    error_set(&warming.e, 0, "not asked yet");
    enum wait_result w = wait_until(r->wait, proxy_answers, &warming, READY_MS);
    if (w != WAIT_DONE) {
        wait_explain(r->wait, w, READY_MS, e, "%s answers with every backend (%u are missing; %s)",
                     r->proxy->name, warming.left, warming.e.text);
        return false;
    }
    return rig_is_well(r, e);
}

static bool start_proxy(struct rig *r, struct error *e)
{
    uint16_t ports[SCENARIO_MAX_SERVERS];
    const char *argv[PROXY_MAX_ARGV];
    size_t n = strlen(r->folder) + sizeof "/proxy.conf";
    char *config = mem_zalloc(n);
    snprintf(config, n, "%s/proxy.conf", r->folder);
    for (unsigned i = 0; i < r->nservers; i++)
        ports[i] = addr_port(&r->servers[i].address);
    struct proxy_site site = {r->scenario, ports,      addr_port(&r->target),
                              r->folder,   r->program, config};
    r->culprit = NULL; /* an error of writing the configuration is no process's */
    bool ok = r->proxy->configure(&site, e);
    if (ok) {
        r->culprit = &r->process;
        r->proxy->command(&site, argv);
        ok = process_start(&r->process, &r->wait->loop, argv, e) && await_proxy(r, e);
    }
    free(config);
    return ok;
}

bool rig_start(struct rig *r, struct error *e)
{
    for (unsigned i = 0; i < r->nservers; i++) /* all at once, and then a wait for each */
        if (!launch_server(r, &r->servers[i], e))
            return false;
    for (unsigned i = 0; i < r->nservers; i++)
        if (!await_server(r, &r->servers[i], e))
            return false;
    return start_proxy(r, e);
}

/* ---- events ---- */

/* Ends a server by SIGTERM or SIGKILL and waits until it is gone. */
static bool end_server(struct rig *r, struct rig_server *v, int number, struct error *e)
{
    if (!process_signal(&v->process, number, e))
        return false;
    v->gone = true; /* from now on its end is no accident */
    enum wait_result w = wait_until(r->wait, process_over, &v->process, STOP_MS);
    if (w != WAIT_DONE)
        wait_explain(r->wait, w, STOP_MS, e, "%s ends after SIG%s", v->name, sigabbrev_np(number));
    return w == WAIT_DONE;
}

static bool control(struct rig_server *v, const char *name, unsigned value, struct error *e)
{
    char target[64];
    struct ask_answer a;
    snprintf(target, sizeof target, "/__control?%s=%u", name, value);
    if (!ask(&v->address, "POST", target, "", ASK_MS, &a, e)) {
        error_prefix(e, "%s: %s", v->name, target);
        return false;
    }
    if (a.status != 200)
        error_set(e, 0, "%s: %s: answered with status %d", v->name, target, a.status);
    return a.status == 200;
}

bool rig_act(struct rig *r, const struct scenario_event *event, unsigned server, struct error *e)
{
    if (server >= r->nservers)
        return true; /* a standby, which this proxy does not have */
    struct rig_server *v = &r->servers[server];
    r->culprit = &v->process;
    switch (event->act) {
    case ACT_KILL:
        return end_server(r, v, SIGKILL, e);
    case ACT_TERMINATE:
        return end_server(r, v, SIGTERM, e);
    case ACT_START:
        return launch_server(r, v, e) && await_server(r, v, e);
    case ACT_STOP:
        v->stopped = true;
        return process_signal(&v->process, SIGSTOP, e);
    case ACT_CONTINUE:
        v->stopped = false;
        return process_signal(&v->process, SIGCONT, e);
    case ACT_FAIL_CHECKS:
        return control(v, "fail_checks", 1, e);
    case ACT_PASS_CHECKS:
        return control(v, "fail_checks", 0, e);
    case ACT_HANG:
        return control(v, "hang", 1, e);
    case ACT_UNHANG:
        return control(v, "hang", 0, e);
    case ACT_STATUS:
        break;
    }
    return control(v, "status", event->value, e);
}

bool rig_is_well(struct rig *r, struct error *e)
{
    const struct process *ended = process_running(&r->process) ? NULL : &r->process;
    for (unsigned i = 0; i < r->nservers && !ended; i++)
        if (!r->servers[i].gone && !process_running(&r->servers[i].process))
            ended = &r->servers[i].process;
    if (ended) {
        process_explain_end(ended, e);
        r->culprit = ended;
    }
    return ended == NULL;
}

/* ---- the end ---- */

static bool all_over(void *rig)
{
    struct rig *r = rig;
    bool over = process_over(&r->process);
    for (unsigned i = 0; i < r->nservers; i++)
        over = over && process_over(&r->servers[i].process);
    return over;
}

/* A process may have ended by itself meanwhile; that is no error here. */
static void signal_if_running(struct process *p, int number)
{
    struct error ignored;
    if (process_running(p))
        process_signal(p, number, &ignored);
}

/* A process under SIGSTOP receives a SIGTERM only when it is continued. */
static void signal_all(struct rig *r, int number)
{
    signal_if_running(&r->process, number);
    for (unsigned i = 0; i < r->nservers; i++) {
        signal_if_running(&r->servers[i].process, number);
        if (r->servers[i].stopped)
            signal_if_running(&r->servers[i].process, SIGCONT);
    }
}

static void stop_all(struct rig *r)
{
    wait_forget_signal(r->wait);
    signal_all(r, SIGTERM);
    if (wait_until(r->wait, all_over, r, STOP_MS) == WAIT_DONE)
        return;
    signal_all(r, SIGKILL);
    /* SIGKILL always works, so this ends; impatient signals only repeat it. */
    do
        wait_forget_signal(r->wait);
    while (wait_until(r->wait, all_over, r, STOP_MS) != WAIT_DONE);
}

bool rig_close(struct rig *r, bool keep, struct error *e)
{
    assert(r->folder);
    stop_all(r);
    bool ok = keep || remove_folder(r, e);
    free_all(r);
    return ok;
}
