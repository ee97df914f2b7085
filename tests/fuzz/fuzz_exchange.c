/* A worker between peers that the input plays: session, exchange, upstream, tunnel and the pool as
 * they are, over memory and on made-up time; world.h says what must hold.
 *
 * Byte 0: bit 0 the configuration, bits 1 and 2 the largest read from clients, bits 3 and 4 from
 * backends, bit 5 that bodies go as bulk soon, bit 6 that the transport has no splice. Then steps,
 * a byte each: bits 0 to 3 what (enum step), bits 4 and 5 who (a client's place, a server, or a
 * backend connection, the newest is 0), bit 7: the next step comes before anything happens. Most
 * are followed by one byte more, RAW steps by a size and so many bytes. */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/fuzz/script.h"
#include "tests/fuzz/world.h"
#include "tests/lib/alloc_fault.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX 2048
#define SILENCE_MS 5000 /* as long as the longest timeout */
#define SILENCES 30     /* after so many nothing may be left */

enum step {
    OPEN,           /* a client connects */
    REQUEST,        /* a request by number; from 128 on: not sent yet */
    CLIENT_RAW,     /* bytes of the input, not sent yet */
    CLIENT_SEND,    /* what was not sent: up to 127 bytes, or more, or (255) all */
    CLIENT_FIN,     /* */
    CLIENT_RESET,   /* */
    CLIENT_WINDOW,  /* 0: full; 255: never full; else so much more is taken */
    ANSWER,         /* as for clients, by a backend connection */
    BACKEND_RAW,    /* */
    BACKEND_SEND,   /* */
    BACKEND_FIN,    /* */
    BACKEND_RESET,  /* */
    BACKEND_WINDOW, /* */
    CONNECT,        /* how connecting to this server goes from now on (enum world_connect), or, from
                       128 on, the end of waiting for it: 128 connected, others refused */
    TICK,           /* time goes on */
    CONTROL,        /* health, operators, stop, want of memory */
};

/* CONTROL with 192: the first allocation that follows fails; with 193: the second one; ... */
#define ALLOCATION_FAILS 192

/* ---- configuration ---- */

#define SERVER(name, port, more) "      - {name: " name ", address: 127.0.0.1:" port more "}\n"

static const char strict[] =
    "listeners:\n"
    "  - name: web\n"
    "    listen: 127.0.0.1:1\n"
    "    pool: p\n"
    "    key: [header:X-Key]\n"
    "    max_connections: 3\n"
    "    max_header_size: 1KiB\n"
    "    timeouts: {request: 2s, idle: 3s, tunnel: 4s}\n"
    "pools:\n"
    "  - name: p\n"
    "    ring: {vnodes: 8}\n"
    "    health: {fall: 1, rise: 1}\n"
    "    passive: {failures: 3}\n"
    "    failback: {after: 0s}\n"
    "    close_moved: always\n"
    "    retries: 2\n"
    "    max_idle_connections: 2\n"
    "    timeouts: {connect: 1s, response: 4s, body: 3s, idle: 5s}\n"
    "    backends:\n" SERVER("b1", "1", "") SERVER("b2", "2", "")
        SERVER("b3", "3", ", max_connections: 1") "    standbys:\n" SERVER("s1", "4", "");

static const char lax[] = "listeners:\n"
                          "  - name: web\n"
                          "    listen: 127.0.0.1:1\n"
                          "    pool: p\n"
                          "    max_connections: 2\n"
                          "    max_header_size: 80KiB\n"
                          "    timeouts: {request: 2s, idle: 3s, tunnel: 4s}\n"
                          "pools:\n"
                          "  - name: p\n"
                          "    ring: {vnodes: 8, max_load: 1.5}\n"
                          "    health: {check: tcp, expect: x, fall: 1, rise: 1}\n"
                          "    passive: {failures: 2, statuses: [500-599]}\n"
                          "    when_down: fail\n"
                          "    failback: {after: 1s}\n"
                          "    close_moved: never\n"
                          "    retries: 3\n"
                          "    retry_statuses: [502-504]\n"
                          "    max_idle_connections: 1\n"
                          "    timeouts: {connect: 2s, response: 1s, body: 2s, idle: 4s}\n"
                          "    backends:\n" SERVER("b1", "1", ", weight: 3") SERVER("b2", "2", "")
                              SERVER("b3", "3", "") "    standbys:\n" SERVER("s1", "4", "");

static struct config *configs[2];
static int null_fd;
static uv_loop_t control_loop;
static struct mailbox control;
static size_t client_piece, backend_piece;
static bool full_reads;

static void on_control(struct mailbox *m, struct message *msg)
{
    abort(); /* its loop never runs: take_mail() does it */
}

static struct config *parse(const char *text)
{
    struct config_errors errors;
    struct config *c = config_parse("fuzz.yaml", text, strlen(text), &errors);
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "%s\n", errors.lines[i]);
    MUST(c);
    config_errors_free(&errors);
    return c;
}

static void init_once(void)
{
    if (configs[0])
        return;
    log_set_level(LOG_ERROR);
    configs[0] = parse(strict);
    configs[1] = parse(lax);
    null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    MUST(null_fd >= 0);
    MUST(uv_loop_init(&control_loop) == 0);
    MUST(mailbox_init(&control, &control_loop, on_control) == 0);
}

/* ---- control ---- */

static void post(enum worker_message kind, void *object, message_release_fn *release)
{
    struct mailbox *m = &world.worker.mailbox;
    struct message *msg = mem_zalloc(sizeof *msg);
    msg->kind = (int)kind;
    msg->object = object;
    msg->release = release;
    if (m->closed)
        message_free(msg);
    else
        m->on_message(m, msg);
}

static struct list went_down; /* messages to be: a notice's receiver may not act */
static bool owners_changed;

struct down {
    struct list link;
    unsigned server;
};

static void on_notice(void *arg, const struct roster_notice *n)
{
    owners_changed = owners_changed || n->event == ROSTER_OWNERS;
    if (n->event != ROSTER_SERVER_DOWN)
        return;
    struct down *d = mem_zalloc(sizeof *d);
    d->server = n->member->id;
    list_push_back(&went_down, &d->link);
}

static void tell_changes(void)
{
    while (!list_empty(&went_down)) {
        struct down *d = container_of(went_down.next, struct down, link);
        list_remove(&d->link);
        world.downs++;
        struct server *s = world.snapshot->pools[0]->members[d->server].server;
        post(WORKER_SERVER_DOWN, server_ref(s), server_release);
        free(d);
    }
    if (owners_changed)
        post(WORKER_OWNERS_CHANGED, pool_totals_ref(world.snapshot->pools[0]->totals),
             pool_totals_release);
    owners_changed = false;
}

/* Who is suspected fails the check that is asked for. */
static void live_failures(struct roster *r, unsigned server, bool suspect)
{
    if (!suspect)
        roster_passive_down(r, server, time_now());
    else if (roster_suspect(r, server))
        roster_verdict(r, server, false, "asked", time_now(), time_now());
}

/* What the worker has said to control. */
static void take_mail(void)
{
    while (!list_empty(&control.messages)) {
        struct message *msg = container_of(control.messages.next, struct message, link);
        list_remove(&msg->link);
        if (msg->kind == CONTROL_SNAPSHOT) { /* the worker has ended */
            message_free(msg);
            continue;
        }
        MUST(msg->kind == CONTROL_PASSIVE_DOWN || msg->kind == CONTROL_SUSPICION);
        const struct pool_member *m = pool_find_server(world.snapshot->pools[0], msg->object);
        live_failures(world.snapshot->rosters[0], m->id, msg->kind == CONTROL_SUSPICION);
        message_free(msg);
        tell_changes();
    }
}

static void advance(uint64_t ms)
{
    struct roster *r = world.snapshot->rosters[0];
    time_advance(ms);
    take_mail();
    if (roster_next_ms(r) <= time_now())
        roster_tick(r, time_now());
    tell_changes();
}

static unsigned fault; /* the number of the allocation that fails next; 0: none does */

static void run(void)
{
    if (fault)
        alloc_fault_after(fault);
    memory_run();
    alloc_fault_off();
    fault = 0;
}

static void settle(void)
{
    do {
        run();
        take_mail();
    } while (!list_empty(&control.messages));
    run();
    world_check();
}

/* ---- steps ---- */

struct input {
    const uint8_t *data;
    size_t n;
};

static uint8_t byte(struct input *in)
{
    if (in->n == 0)
        return 0;
    in->n--;
    return *in->data++;
}

static void raw(struct input *in, struct buffer *out)
{
    size_t n = byte(in);
    if (n > in->n)
        n = in->n;
    MUST(buffer_append(out, in->data, n));
    in->data += n;
    in->n -= n;
}

/* How many bytes a byte stands for. */
static size_t amount(uint8_t code)
{
    return code < 128 ? code : (size_t)(code - 127) * 1024;
}

static void send_some(struct memory_wire *w, struct buffer *outbox, uint8_t code, size_t piece)
{
    size_t n = code == 255 || amount(code) > buffer_len(outbox) ? buffer_len(outbox) : amount(code);
    w->piece = n + buffer_len(&w->in) > 2048 ? 0 : piece;
    w->full = full_reads;
    memory_send(w, buffer_head(outbox), n);
    buffer_consume(outbox, n);
}

static void set_window(struct memory_wire *w, uint8_t code)
{
    if (code == 0 || code == 255)
        w->room = code ? MEMORY_ROOM_MAX : 0;
    else
        w->room = (w->room == MEMORY_ROOM_MAX ? 0 : w->room) + amount(code);
}

/* The client at this place, which connects if there is none; NULL: the worker takes no more. */
static struct caller *client_at(unsigned place)
{
    struct caller *c = world.open[place];
    if (c && c->wire.state != MEMORY_CLOSED)
        return c;
    if (world.worker.stopping || world.nclients >= WORLD_MAX_CONNECTIONS)
        return NULL;
    world_open(place);
    return world.open[place];
}

static void client_step(enum step what, unsigned place, struct input *in)
{
    struct caller *c = client_at(place);
    uint8_t arg = what == OPEN || what == CLIENT_FIN || what == CLIENT_RESET || what == CLIENT_RAW
                      ? 0
                      : byte(in);
    if (c == NULL)
        return;
    if (what == REQUEST) {
        script_request(&c->outbox, arg & 127, ++world.serial);
        if (arg < 128)
            send_some(&c->wire, &c->outbox, 255, client_piece);
    } else if (what == CLIENT_RAW) {
        raw(in, &c->outbox);
    } else if (what == CLIENT_SEND) {
        send_some(&c->wire, &c->outbox, arg, client_piece);
    } else if (what == CLIENT_FIN) {
        memory_fin(&c->wire);
    } else if (what == CLIENT_RESET) {
        memory_reset(&c->wire);
    } else if (what == CLIENT_WINDOW) {
        c->excused = true;
        set_window(&c->wire, arg);
    }
}

/* An open connection to a backend, n counted from the newest; NULL: there are not so many. */
static struct backend *backend_at(unsigned n)
{
    list_foreach(it, &world.backends)
    {
        struct backend *b = container_of(it, struct backend, link);
        if (b->wire.state == MEMORY_OPEN && n-- == 0)
            return b;
    }
    return NULL;
}

static void backend_step(enum step what, unsigned n, struct input *in)
{
    struct backend *b = backend_at(n);
    uint8_t arg =
        what == BACKEND_FIN || what == BACKEND_RESET || what == BACKEND_RAW ? 0 : byte(in);
    if (b == NULL)
        return;
    if (what == ANSWER) {
        script_answer(&b->outbox, arg & 127, ++world.serial);
        if (arg < 128)
            send_some(&b->wire, &b->outbox, 255, backend_piece);
    } else if (what == BACKEND_RAW) {
        raw(in, &b->outbox);
    } else if (what == BACKEND_SEND) {
        send_some(&b->wire, &b->outbox, arg, backend_piece);
    } else if (what == BACKEND_FIN) {
        memory_fin(&b->wire);
    } else if (what == BACKEND_RESET) {
        memory_reset(&b->wire);
    } else if (what == BACKEND_WINDOW) {
        set_window(&b->wire, arg);
    }
}

static void set_connect(unsigned server, uint8_t arg)
{
    if (arg < 128) {
        world.connect[server] = arg % (CONNECT_NO_WAY + 1);
        return;
    }
    list_foreach(it, &world.backends)
    {
        struct backend *b = container_of(it, struct backend, link);
        if (b->server == server)
            memory_connected(&b->wire, arg == 128 ? 0 : UV_ECONNREFUSED);
    }
}

/* Health and operators for server `who`, then what concerns all. */
static void control_step(unsigned who, uint8_t arg)
{
    struct roster *r = world.snapshot->rosters[0];
    uint64_t now = time_now();
    struct backend *b = backend_at(who);
    if (arg >= ALLOCATION_FAILS) {
        world.failing = true;
        fault = arg - ALLOCATION_FAILS + 1u;
        return;
    }
    switch (arg % 9) {
    case 0:
        roster_check(r, who, false, "fuzz", now, now);
        break;
    case 1:
        roster_check(r, who, true, "fuzz", now, now);
        break;
    case 2:
        roster_drain(r, who, now);
        break;
    case 3:
        roster_enable(r, who, now);
        break;
    case 4:
        post(WORKER_STOP, NULL, NULL);
        break;
    case 5:
        world.failing = true;
        post(WORKER_ABORT, NULL, NULL);
        break;
    case 6:
        roster_failback(r, who, now);
        break;
    case 7: /* a write finds no memory */
        world.failing = true;
        if (b)
            b->wire.fail_write = UV_ENOBUFS;
        break;
    case 8:
        if (world.open[who % WORLD_CLIENTS]) {
            world.open[who % WORLD_CLIENTS]->excused = true;
            world.open[who % WORLD_CLIENTS]->wire.fail_write = UV_ENOBUFS;
        }
        break;
    }
    tell_changes();
}

static void do_step(struct input *in)
{
    static const uint16_t ticks[] = {1, 50, 100, 250, 500, 1000, 2000, 5000};
    uint8_t code = byte(in);
    enum step what = code & 15;
    unsigned who = code >> 4 & 3;
    if (what <= CLIENT_WINDOW)
        client_step(what, who % WORLD_CLIENTS, in);
    else if (what <= BACKEND_WINDOW)
        backend_step(what, who, in);
    else if (what == CONNECT)
        set_connect(who, byte(in));
    else if (what == TICK)
        advance(ticks[byte(in) & 7]);
    else
        control_step(who, byte(in));
    if (code < 128)
        settle();
}

/* ---- a run ---- */

static void begin(uint8_t options)
{
    static const size_t pieces[] = {0, 1, 13, 600};
    struct config *config = configs[options & 1];
    struct error e;
    client_piece = pieces[options >> 1 & 3];
    backend_piece = pieces[options >> 3 & 3];
    full_reads = options & 32;
    list_init(&went_down);
    owners_changed = false;
    fault = 0;
    world_init();
    world.max_head = config->listeners[0].max_header_size;
    world.retries = config->pools[0].retries;
    world.snapshot = snapshot_new(config, NULL, 1, 1, on_notice, NULL, &e);
    MUST(world.snapshot);
    for (unsigned i = 0; i < WORLD_SERVERS; i++)
        roster_first(world.snapshot->rosters[0], i, true, "fuzz", time_now(), time_now());
    roster_start(world.snapshot->rosters[0], time_now());
    MUST(worker_init(&world.worker, 0, world.snapshot, &control, &null_fd, &e));
    world.worker.net.transport = options & 64 ? &memory_transport_plain : &memory_transport;
}

/* Nobody says anything more: what is left has to end by its deadlines. */
static void end(void)
{
    struct worker *w = &world.worker;
    settle();
    for (unsigned i = 0; i < SILENCES; i++) {
        advance(SILENCE_MS);
        settle();
    }
    MUST(list_empty(&w->clients) && list_empty(&w->upstreams));
    post(WORKER_STOP, NULL, NULL);
    settle();
    MUST(w->mailbox.closed);
    worker_deinit(w);
    take_mail();
    snapshot_retire(world.snapshot);
    snapshot_unref(world.snapshot);
    world_deinit();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    if (size > INPUT_MAX)
        return 0;
    init_once();
    begin(byte(&in));
    while (in.n)
        do_step(&in);
    end();
    return 0;
}
