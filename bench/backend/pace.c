#include "bench/backend/pace.h"

#include <assert.h>
#include <stdlib.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/mem.h"
#include "bench/backend/drip.h"

#define PIECE (64 * 1024) /* of a body in chunks or slow, given at a time */
/* Of a plain one. Measured for 1 MiB: 64 KiB cost 1.5 times the CPU, 1 MiB no less. */
#define PLAIN_PIECE (256 * 1024)
#define SHORT_BODY (16 * 1024) /* up to this a body is given whole */
#define NS_A_MS 1000000

/* A request that waits, or whose body is fed:
 *
 *   WAITING in the heap --its time, no stall--> answered, or its head is out and it is FED
 *   FED: bytes are due -> httpd_feed(), until the client takes no more (on_drain goes on), or no
 *        more is due (it waits in the heap again), or all is fed
 */
struct turn {
    struct pace *pace;
    struct httpd_request *request;
    struct heap_node wait; /* in the pace's waiting, by the time when it goes on */
    struct pace_answer answer;
    struct drip body;
    int refused; /* the status it is refused with; 0: it is answered */
    bool begun;  /* its head is out */
};

struct pace {
    uv_timer_t timer;
    struct heap waiting;
    uint64_t stalled_until_ns; /* 0: it is not */
    struct pace_counts counts;
    struct buffer out; /* bytes with their chunks' framing */
};

/* --- the ends --- */

static void count(struct pace *p, const struct httpd_request *q)
{
    p->counts.answered++;
    p->counts.errors += q->status >= 400;
}

static void on_counted_end(struct httpd_request *q, bool whole)
{
    if (whole)
        count(q->user, q);
}

static void on_uncounted_end(struct httpd_request *q, bool whole)
{
}

static void on_turn_end(struct httpd_request *q, bool whole)
{
    struct turn *t = q->user;
    if (whole && t->answer.counted)
        count(t->pace, q);
    heap_remove(&t->pace->waiting, &t->wait);
    free(t);
}

/* --- waiting --- */

static bool is_stalled(struct pace *p)
{
    if (p->stalled_until_ns && p->stalled_until_ns <= uv_hrtime())
        p->stalled_until_ns = 0;
    return p->stalled_until_ns != 0;
}

/* When the next request goes on. */
static uint64_t wake_ns(const struct pace *p)
{
    uint64_t first = heap_first(&p->waiting)->key;
    return first > p->stalled_until_ns ? first : p->stalled_until_ns;
}

static void on_timer(uv_timer_t *timer);

/* The loop's clock may be behind, and the timer early then: on_timer() looks at the real time. */
static void arm(struct pace *p)
{
    if (heap_first(&p->waiting) == NULL || uv_is_closing((uv_handle_t *)&p->timer))
        return;
    uint64_t now = uv_hrtime(), wake = wake_ns(p);
    uint64_t ms = wake > now ? (wake - now + NS_A_MS - 1) / NS_A_MS : 0;
    int rc = uv_timer_start(&p->timer, on_timer, ms, 0);
    assert(rc == 0); /* fails only for a handle that is closing */
    (void)rc;
}

/* Until then, and until no stall holds it. */
static void wait_until(struct turn *t, uint64_t ns)
{
    struct pace *p = t->pace;
    heap_push(&p->waiting, &t->wait, ns);
    if (heap_first(&p->waiting) == &t->wait)
        arm(p);
}

/* --- going on --- */

/* What of the body goes out now; empty: nothing is due. False: memory is out. */
static bool next_piece(struct turn *t, struct str *piece)
{
    struct drip *b = &t->body;
    struct buffer *out = &t->pace->out;
    if (b->chunk_size == 0 && b->drip_ms == 0) {
        *piece = (struct str){b->p, b->left < PLAIN_PIECE ? b->left : PLAIN_PIECE};
        b->p += piece->n;
        b->left -= piece->n;
        return true;
    }
    buffer_clear(out);
    if (!drip_put(out, b, b->drip_ms ? uv_hrtime() : 0, PIECE))
        return false;
    *piece = (struct str){buffer_head(out), buffer_len(out)};
    return true;
}

/* As far as it is due and the client takes it. The turn may be gone afterwards. */
static void feed(struct turn *t)
{
    struct str piece = STR("");
    bool more = true;
    while (more && !drip_ended(&t->body)) {
        if (is_stalled(t->pace)) {
            wait_until(t, 0);
            return;
        }
        if (!next_piece(t, &piece)) {
            httpd_give_up(t->request);
            return;
        }
        if (piece.n == 0) {
            wait_until(t, drip_due_ns(&t->body));
            return;
        }
        more = httpd_feed(t->request, piece);
    }
    if (drip_ended(&t->body))
        httpd_finish(t->request);
}

static void on_turn_drain(struct httpd_request *q)
{
    struct turn *t = q->user;
    if (!heap_holds(&t->wait))
        feed(t);
}

static const struct httpd_request_ops turn_ops = {on_turn_drain, on_turn_end};

static bool has_chunks(const struct httpd_request *q, const struct pace_answer *a)
{
    return a->chunk_size && q->head->minor > 0 && a->status != 204 && a->status != 304;
}

/* Whether its body may be given to httpd as it is. */
static bool is_plain(const struct httpd_request *q, const struct pace_answer *a)
{
    return a->drip_ms == 0 && !has_chunks(q, a) && a->body.n <= SHORT_BODY;
}

/* `content`: HTTPD_WHOLE with the body, or a head. True: the body follows that head. */
static bool answer(struct httpd_request *q, const struct pace_answer *a, enum httpd_content content)
{
    const struct httpd_answer whole = {
        .status = a->status,
        .type = "text/plain",
        .body = content == HTTPD_WHOLE ? a->body : (struct str){0},
        .fields = a->fields,
        .content = content,
        .length = a->body.n,
    };
    return httpd_answer(q, &whole);
}

/* The head is out with that; the body follows if there is one. The turn may be gone afterwards. */
static void begin(struct turn *t)
{
    const struct pace_answer *a = &t->answer;
    bool chunks = has_chunks(t->request, a);
    t->begun = true;
    t->body = drip_of(a->body, chunks ? a->chunk_size : 0, a->drip_ms);
    if (answer(t->request, a, chunks ? HTTPD_FRAMED : HTTPD_SIZED))
        feed(t);
}

/* Its time has come. */
static void go_on(struct turn *t)
{
    if (is_stalled(t->pace))
        wait_until(t, 0);
    else if (t->refused)
        httpd_refuse(t->request, t->refused);
    else if (t->begun)
        feed(t);
    else if (is_plain(t->request, &t->answer))
        answer(t->request, &t->answer, HTTPD_WHOLE);
    else
        begin(t);
}

static void on_timer(uv_timer_t *timer)
{
    struct pace *p = container_of(timer, struct pace, timer);
    uint64_t now = uv_hrtime();
    while (heap_first(&p->waiting) && wake_ns(p) <= now) {
        struct turn *t = container_of(heap_first(&p->waiting), struct turn, wait);
        heap_remove(&p->waiting, &t->wait);
        go_on(t);
    }
    arm(p);
}

/* --- the interface --- */

static struct turn *keep(struct pace *p, struct httpd_request *q)
{
    struct turn *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->pace = p;
    t->request = q;
    httpd_keep(q, &turn_ops, t);
    return t;
}

bool pace_answer(struct pace *p, struct httpd_request *q, const struct pace_answer *a)
{
    static const struct httpd_request_ops counted = {.on_end = on_counted_end};
    static const struct httpd_request_ops uncounted = {.on_end = on_uncounted_end};
    if (a->delay_ms == PACE_NEVER) {
        httpd_keep(q, &uncounted, p);
        return true;
    }
    if (a->delay_ms == 0 && is_plain(q, a) && !is_stalled(p)) {
        httpd_keep(q, a->counted ? &counted : &uncounted, p);
        answer(q, a, HTTPD_WHOLE);
        return true;
    }
    struct turn *t = keep(p, q);
    if (t == NULL)
        return false;
    t->answer = *a;
    uint64_t now = uv_hrtime();
    if (a->delay_ms > (UINT64_MAX - now) / NS_A_MS) /* no clock gets there */
        return true;
    if (a->delay_ms)
        wait_until(t, now + a->delay_ms * NS_A_MS);
    else
        go_on(t);
    return true;
}

bool pace_refuse(struct pace *p, struct httpd_request *q, int status)
{
    if (!is_stalled(p)) {
        httpd_refuse(q, status);
        return true;
    }
    struct turn *t = keep(p, q);
    if (t == NULL)
        return false;
    t->refused = status;
    wait_until(t, 0);
    return true;
}

void pace_stall(struct pace *p, uint64_t ms)
{
    uint64_t now = uv_hrtime();
    p->stalled_until_ns = ms > (UINT64_MAX - now) / NS_A_MS ? UINT64_MAX : now + ms * NS_A_MS;
    if (ms == 0)
        p->stalled_until_ns = 0;
    arm(p);
}

uint64_t pace_stalled(const struct pace *p)
{
    uint64_t now = uv_hrtime(), until = p->stalled_until_ns;
    return until > now ? (until - now + NS_A_MS - 1) / NS_A_MS : 0;
}

const struct pace_counts *pace_counts(const struct pace *p)
{
    return &p->counts;
}

struct pace *pace_new(uv_loop_t *loop)
{
    struct pace *p = mem_zalloc(sizeof *p);
    int rc = uv_timer_init(loop, &p->timer);
    assert(rc == 0); /* it has no way to fail */
    (void)rc;
    return p;
}

void pace_close(struct pace *p)
{
    uv_close((uv_handle_t *)&p->timer, NULL);
}

void pace_free(struct pace *p)
{
    assert(heap_first(&p->waiting) == NULL);
    buffer_release(&p->out);
    free(p);
}
