/* The protocol of the lock, all of it: every interleaving of members that acquire, renew, publish
 * and release, of messages that come late or not at all, of time that passes, and of a Redis that
 * loses its data. The members' side is the real struct lock; Redis is as scripts.c says, in C.
 *
 * Time goes in steps of STEP_MS, and a state holds it relative to the present only, so that there
 * are finitely many states. Bounds: attempts and publications of each member, losses of data,
 * messages that are executed after their sender gave them up.
 *
 * Invariants:
 *  - while Redis keeps its data, at most one member believes in the lock. After a loss two may, for
 *    as long as what was granted before it lasts.
 *  - each epoch given out is above all that Redis has given out since it has its data, and above
 *    all that were ever given out before the question for it was sent, loss of data or not.
 *  - Redis stores no publication of an epoch older than one it has given out since it has its data.
 * Each fault put in on purpose must break one of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/lock.h"
#include "tests/lib/unit.h"

#define TTL_MS 500
#define STEP_MS 250
#define PRESENT_MS 100000 /* all times are relative to it */
#define MEMBERS_MAX 3

enum fault {
    FAULT_NONE,
    FAULT_CLOCK_AFTER_ANSWER, /* the lease counts from the answer */
    FAULT_UNKNOWN_RENEWS,     /* a renewal without an answer counts as granted */
    FAULT_PLAIN_DEL,          /* a release frees whatever lock there is */
    FAULT_NO_COMPARE,         /* a publication is stored without a look at the lock */
    FAULT_NO_TIME_IN_FLOOR,   /* epochs begin again when data is lost */
};

struct bounds {
    unsigned members, attempts, publications, losses, late;
    enum fault fault;
};

enum kind { KIND_NONE, KIND_ACQUIRE, KIND_RENEW, KIND_PUBLISH, KIND_RELEASE };
enum { STAGE_SENT, STAGE_DONE }; /* a message is under way; its answer is */

struct msg {
    uint8_t kind, member, stage, yes;
    uint8_t value, previous; /* of the lock: member * 8 + attempt + 1; 0: none */
    uint8_t epoch, floor;    /* epoch: that of the question, or of the answer */
    uint8_t before;          /* the highest epoch ever given out when it was sent */
    uint16_t age_ms;         /* since it was sent */
};

struct member {
    uint8_t attempts, publications, value, previous, epoch, held;
    uint16_t left_ms; /* of its belief */
    struct msg msg;
};

struct state {
    struct member members[MEMBERS_MAX];
    struct msg late; /* given up by its sender, will be executed some time */
    uint8_t lock, epoch, published, given, given_ever, losses, nlate;
    uint16_t lock_left_ms, excused_ms;
};

/* ---- the set of states ---- */

struct space {
    struct bounds bounds;
    struct state *all;
    size_t n, cap, *table, size; /* table: index + 1 */
    const char *violation;
};

static uint64_t hash(const struct state *s)
{
    uint64_t h = 0, word;
    for (size_t i = 0; i + sizeof word <= sizeof *s; i += sizeof word) {
        memcpy(&word, (const char *)s + i, sizeof word);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return h;
}

static size_t *place(const struct space *sp, const struct state *s)
{
    size_t i = hash(s) & (sp->size - 1);
    while (sp->table[i] && memcmp(&sp->all[sp->table[i] - 1], s, sizeof *s) != 0)
        i = (i + 1) & (sp->size - 1);
    return &sp->table[i];
}

static void grow(struct space *sp)
{
    free(sp->table);
    sp->size = sp->size ? 2 * sp->size : 4096;
    sp->table = mem_zalloc_array(sp->size, sizeof *sp->table);
    for (size_t i = 0; i < sp->n; i++)
        *place(sp, &sp->all[i]) = i + 1;
}

static unsigned believers(const struct space *sp, const struct state *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < sp->bounds.members; i++)
        n += s->members[i].held && s->members[i].left_ms > 0;
    return n;
}

static void reach(struct space *sp, const struct state *s)
{
    if (believers(sp, s) > 1 && s->excused_ms == 0)
        sp->violation = "two believe in the lock";
    if (2 * (sp->n + 1) > sp->size)
        grow(sp);
    size_t *at = place(sp, s);
    if (*at)
        return;
    if (sp->n == sp->cap) {
        sp->cap = sp->cap ? 2 * sp->cap : 4096;
        sp->all = mem_grow(sp->all, sp->cap, sizeof *sp->all);
    }
    sp->all[sp->n++] = *s;
    *at = sp->n;
}

/* ---- a member: between what a state keeps and the real struct ---- */

static unsigned id_of(const char *value)
{
    static const char digits[] = "0123456789abcdef";
    if (*value == '\0')
        return 0;
    return (unsigned)((strchr(digits, value[0]) - digits) * 16 +
                      (strchr(digits, value[1]) - digits));
}

static void value_of(char *out, unsigned id)
{
    static char values[MEMBERS_MAX * 8 + 8][LOCK_VALUE_SIZE];
    if (id && values[id][0] == '\0')
        snprintf(values[id], LOCK_VALUE_SIZE, "%02x%030d %d m/%u", id, 0, TTL_MS, id / 8);
    memcpy(out, values[id], 64);
}

static struct lock lock_of(const struct state *s, unsigned i)
{
    const struct member *m = &s->members[i];
    struct lock l;
    const char who[] = {'m', '/', (char)('0' + i), '\0'};
    lock_init(&l, who, TTL_MS);
    value_of(l.value, m->value);
    value_of(l.previous, m->previous);
    l.epoch = m->epoch;
    l.held = m->held;
    l.end_ms = PRESENT_MS + m->left_ms;
    l.asked_ms = PRESENT_MS - m->msg.age_ms;
    return l;
}

static void keep(struct state *s, unsigned i, const struct lock *l)
{
    struct member *m = &s->members[i];
    m->value = (uint8_t)id_of(l->value);
    m->previous = (uint8_t)id_of(l->previous);
    m->epoch = (uint8_t)l->epoch;
    m->held = l->held;
    m->left_ms = (uint16_t)lock_left_ms(l, PRESENT_MS);
}

/* ---- Redis ---- */

static void acquire(struct space *sp, struct state *s, struct msg *q)
{
    if (s->lock && s->lock != q->value && s->lock != q->previous)
        return;
    uint8_t floor = q->floor > s->published ? q->floor : s->published;
    s->epoch = (uint8_t)((s->epoch > floor ? s->epoch : floor) + 1);
    if (s->epoch <= s->given || s->epoch <= q->before)
        sp->violation = "an epoch came again";
    s->given = s->epoch;
    if (s->given_ever < s->epoch)
        s->given_ever = s->epoch;
    s->lock = q->value;
    s->lock_left_ms = TTL_MS;
    q->yes = 1;
    q->epoch = s->epoch;
}

static void execute(struct space *sp, struct state *s, struct msg *q)
{
    bool mine = s->lock && s->lock == q->value;
    q->stage = STAGE_DONE;
    q->yes = 0;
    if (q->kind == KIND_ACQUIRE) {
        acquire(sp, s, q);
    } else if (q->kind == KIND_RENEW && mine && s->epoch == q->epoch) {
        s->lock_left_ms = TTL_MS;
        q->yes = 1;
    } else if (q->kind == KIND_PUBLISH &&
               ((mine && s->epoch == q->epoch && q->epoch >= s->published) ||
                sp->bounds.fault == FAULT_NO_COMPARE)) {
        if (q->epoch < s->given)
            sp->violation = "a stale publication was stored";
        s->published = q->epoch;
        q->yes = 1;
    } else if (q->kind == KIND_RELEASE && (mine || sp->bounds.fault == FAULT_PLAIN_DEL)) {
        s->lock = 0;
        s->lock_left_ms = 0;
        q->yes = 1;
    }
}

/* ---- what may happen next ---- */

static uint16_t less(uint16_t a)
{
    return a > STEP_MS ? a - STEP_MS : 0;
}

/* From the ttl on no age makes a difference, and of other messages none does. */
static uint16_t older(const struct msg *q)
{
    bool counts = (q->kind == KIND_ACQUIRE || q->kind == KIND_RENEW) && q->age_ms < TTL_MS;
    return counts ? q->age_ms + STEP_MS : q->age_ms;
}

static void pass_time(struct space *sp, struct state s)
{
    for (unsigned i = 0; i < sp->bounds.members; i++) {
        s.members[i].left_ms = less(s.members[i].left_ms);
        s.members[i].msg.age_ms = older(&s.members[i].msg);
    }
    s.excused_ms = less(s.excused_ms);
    s.lock_left_ms = less(s.lock_left_ms);
    if (s.lock_left_ms == 0)
        s.lock = 0;
    reach(sp, &s);
}

static void lose_data(struct space *sp, struct state s)
{
    if (s.losses >= sp->bounds.losses)
        return;
    s.losses++;
    s.lock = s.epoch = s.published = s.given = 0;
    s.lock_left_ms = 0;
    s.excused_ms = TTL_MS;
    reach(sp, &s);
}

static struct msg question(const struct state *s, unsigned i, enum kind kind)
{
    const struct member *m = &s->members[i];
    return (struct msg){
        .kind = (uint8_t)kind, .member = (uint8_t)i, .value = m->value, .epoch = m->epoch};
}

static void begin_attempt(struct space *sp, struct state s, unsigned i)
{
    struct member *m = &s.members[i];
    struct random_store bytes = {.left = RANDOM_STOCK};
    struct error e;
    struct lock l = lock_of(&s, i);
    if (m->attempts >= sp->bounds.attempts)
        return;
    m->attempts++;
    bytes.bytes[0] = (uint8_t)(i * 8 + m->attempts);
    ck_assert(lock_begin(&l, &bytes, PRESENT_MS, &e));
    keep(&s, i, &l);
    m->msg = question(&s, i, KIND_ACQUIRE);
    m->msg.previous = m->previous;
    /* the wall clock is above every epoch there was */
    uint64_t wall = sp->bounds.fault == FAULT_NO_TIME_IN_FLOOR ? 0 : s.given_ever;
    m->msg.floor = (uint8_t)lock_floor(&l, 0, wall);
    m->msg.epoch = 0;
    m->msg.before = s.given_ever;
    reach(sp, &s);
}

static void begin_other(struct space *sp, struct state s, unsigned i, enum kind kind)
{
    struct member *m = &s.members[i];
    struct lock l = lock_of(&s, i);
    if (!m->held || (kind == KIND_PUBLISH && m->publications >= sp->bounds.publications))
        return;
    m->publications += kind == KIND_PUBLISH;
    m->msg = question(&s, i, kind);
    if (kind == KIND_RELEASE) {
        lock_released(&l);
        keep(&s, i, &l);
    }
    reach(sp, &s);
}

static void take_acquired(struct space *sp, struct lock *l, const struct msg *q)
{
    if (sp->bounds.fault == FAULT_CLOCK_AFTER_ANSWER)
        l->asked_ms = PRESENT_MS;
    if (q->yes)
        lock_granted(l, q->epoch, PRESENT_MS);
    else
        lock_refused(l);
}

static void take_answer(struct space *sp, struct state s, unsigned i)
{
    struct member *m = &s.members[i];
    struct msg q = m->msg;
    struct lock l = lock_of(&s, i);
    if (q.kind == KIND_ACQUIRE)
        take_acquired(sp, &l, &q);
    else if (q.kind == KIND_RENEW && q.yes)
        lock_renewed(&l, q.epoch, PRESENT_MS - q.age_ms);
    else if ((q.kind == KIND_RENEW || q.kind == KIND_PUBLISH) && !q.yes)
        lock_lost(&l, q.epoch);
    m->msg = (struct msg){0};
    keep(&s, i, &l);
    reach(sp, &s);
}

/* The sender does not wait any longer; the message may be lost, or be executed later. */
static void give_up(struct space *sp, struct state s, unsigned i)
{
    struct member *m = &s.members[i];
    struct msg q = m->msg;
    struct lock l = lock_of(&s, i);
    if (sp->bounds.fault == FAULT_UNKNOWN_RENEWS && q.kind == KIND_RENEW)
        lock_renewed(&l, q.epoch, PRESENT_MS - q.age_ms);
    m->msg = (struct msg){0};
    keep(&s, i, &l);
    reach(sp, &s);
    if (q.stage == STAGE_DONE || s.late.kind || s.nlate >= sp->bounds.late)
        return;
    s.nlate++;
    s.late = q;
    s.late.age_ms = 0; /* nobody looks at it any more */
    reach(sp, &s);
}

static void next_of_member(struct space *sp, const struct state *s, unsigned i)
{
    struct state after = *s;
    const struct msg *q = &s->members[i].msg;
    if (q->kind == KIND_NONE) {
        if (!s->members[i].held)
            begin_attempt(sp, *s, i);
        begin_other(sp, *s, i, KIND_RENEW);
        begin_other(sp, *s, i, KIND_PUBLISH);
        begin_other(sp, *s, i, KIND_RELEASE);
        return;
    }
    if (q->stage == STAGE_SENT) {
        execute(sp, &after, &after.members[i].msg);
        reach(sp, &after);
    } else {
        take_answer(sp, *s, i);
    }
    give_up(sp, *s, i);
}

static void next(struct space *sp, const struct state *s)
{
    pass_time(sp, *s);
    lose_data(sp, *s);
    if (s->late.kind) {
        struct state after = *s;
        execute(sp, &after, &after.late);
        after.late = (struct msg){0};
        reach(sp, &after);
    }
    for (unsigned i = 0; i < sp->bounds.members; i++)
        next_of_member(sp, s, i);
}

/* What was violated, NULL: nothing. */
static const char *explore(struct bounds b, size_t *states)
{
    struct space sp = {.bounds = b};
    struct state first;
    memset(&first, 0, sizeof first);
    reach(&sp, &first);
    for (size_t i = 0; i < sp.n && sp.violation == NULL; i++) {
        struct state s = sp.all[i]; /* the array moves as it grows */
        next(&sp, &s);
    }
    *states = sp.n;
    free(sp.all);
    free(sp.table);
    return sp.violation;
}

/* ---- tests ---- */

static const struct bounds spaces[] = {
    {.members = 2, .attempts = 2, .publications = 0, .losses = 0, .late = 1},
    {.members = 2, .attempts = 1, .publications = 1, .losses = 1, .late = 1},
    {.members = 3, .attempts = 1, .publications = 0, .losses = 0, .late = 1},
};

START_TEST(nothing_breaks_the_invariants)
{
    size_t states;
    const char *violation = explore(spaces[_i], &states);
    ck_assert_msg(violation == NULL, "%s after %zu states", violation, states);
    printf("%zu states\n", states);
}
END_TEST

/* The space that has what the fault needs. */
static const struct {
    enum fault fault;
    unsigned space;
} faults[] = {{FAULT_CLOCK_AFTER_ANSWER, 0},
              {FAULT_UNKNOWN_RENEWS, 0},
              {FAULT_PLAIN_DEL, 0},
              {FAULT_NO_COMPARE, 1},
              {FAULT_NO_TIME_IN_FLOOR, 1}};

START_TEST(each_fault_breaks_one)
{
    struct bounds b = spaces[faults[_i].space];
    size_t states;
    b.fault = faults[_i].fault;
    const char *violation = explore(b, &states);
    ck_assert_msg(violation != NULL, "it was not found in %zu states", states);
    printf("%s, after %zu states\n", violation, states);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("lock_space");
    TCase *t = tcase_create("lock_space");
    tcase_set_timeout(t, 0);
    tcase_add_loop_test(t, nothing_breaks_the_invariants, 0, sizeof spaces / sizeof *spaces);
    tcase_add_loop_test(t, each_fault_breaks_one, 0, sizeof faults / sizeof *faults);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
