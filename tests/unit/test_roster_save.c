/* A roster that was saved and restored in another process behaves like one that was adopted in the
 * same process, whatever happens before and after. */
#include "pool/roster_save.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/lib/pool_line.h"
#include "tests/lib/unit.h"

struct side {
    struct file *file;
    struct pool *pool;
    struct roster *roster;
    uint64_t offset_ms; /* what this process' clock is ahead */
    char told[4096];
    unsigned published; /* how often new owners were told of */
};

static void on_notice(void *arg, const struct roster_notice *n)
{
    struct side *s = arg;
    size_t at = strlen(s->told);
    s->published += n->event == ROSTER_OWNERS;
    if (n->event == ROSTER_OWNERS)
        return;
    snprintf(s->told + at, sizeof s->told - at, "%d %s %s %s %" PRIu64 " %u %d %u %.9f\n", n->event,
             n->member ? n->member->server->name : "-", n->by ? n->by->server->name : "-",
             n->reason ? n->reason : "-", n->wait_ms, n->count, n->blame, n->ok, n->moved);
}

static void open_side(struct side *s, const char *line, const struct pool *old)
{
    struct error e;
    s->file = read_file(line);
    s->pool = pool_new(&s->file->pool, 1, old, &e);
    ck_assert_msg(s->pool != NULL, "%s", e.text);
    s->roster = roster_new(s->pool, on_notice, s);
    s->told[0] = 0;
}

static void close_side(const struct side *s)
{
    roster_free(s->roster);
    pool_free(s->pool);
    free(s->file);
}

static void advance(const struct side *s, uint64_t to_ms)
{
    uint64_t to = to_ms + s->offset_ms;
    while (roster_next_ms(s->roster) <= to)
        roster_tick(s->roster, roster_next_ms(s->roster));
}

/* ---- through a text, as from process to process ---- */

static json_t *pass_on(const struct side *s, uint64_t now_ms)
{
    json_error_t e;
    json_t *saved = roster_save(s->roster, now_ms + s->offset_ms);
    ck_assert(saved != NULL);
    char *text = json_dumps(saved, JSON_COMPACT);
    json_decref(saved);
    json_t *read = json_loads(text, 0, &e);
    ck_assert_msg(read != NULL, "%s", e.text);
    free(text);
    return read;
}

/* ---- both at a time ---- */

static void live_failure(struct side *s, unsigned id, bool suspect, uint64_t now_ms)
{
    struct server *v = s->pool->members[id].server;
    if (suspect)
        suspicions_note(&v->suspicions, BLAME_SILENT, now_ms + s->offset_ms);
    switch (pool_member_failed(&s->pool->members[id], suspect)) {
    case SERVER_ROW_GOES_ON:
        break;
    case SERVER_ROW_DOWN:
        roster_passive_down(s->roster, id, now_ms + s->offset_ms);
        break;
    case SERVER_ROW_SUSPECT:
        roster_suspect(s->roster, id);
        break;
    }
}

static void happen(struct side *s, unsigned what, unsigned id, bool ok, uint64_t at_ms)
{
    uint64_t now_ms = at_ms + s->offset_ms;
    bool checked = s->file->pool.health.check != CHECK_OFF;
    if (what < 9 && checked)
        roster_check(s->roster, id, what < 5, "x% \xc3\xa4 y", now_ms, now_ms);
    else if (what < 10)
        roster_passive_down(s->roster, id, now_ms);
    else if (what < 14)
        live_failure(s, id, ok, at_ms);
    else if (what == 14 && checked)
        roster_verdict(s->roster, id, ok, "y", now_ms, now_ms);
    else if (what == 15)
        roster_drain(s->roster, id, now_ms);
    else if (what < 18)
        roster_enable(s->roster, id, now_ms);
    else
        roster_failback(s->roster, id, now_ms);
}

static void check_same(const struct side *a, const struct side *b, uint64_t now_ms)
{
    for (unsigned i = 0; i < a->pool->nservers; i++) {
        ck_assert_int_eq(roster_state(a->roster, i), roster_state(b->roster, i));
        ck_assert_int_eq(roster_suspicion(a->roster, i), roster_suspicion(b->roster, i));
        ck_assert_int_eq(roster_changing(a->roster, i), roster_changing(b->roster, i));
        ck_assert_int_eq(roster_is_down(a->roster, i), roster_is_down(b->roster, i));
        const struct server *s = a->pool->members[i].server, *t = b->pool->members[i].server;
        ck_assert_int_eq(server_usable(s), server_usable(t));
        ck_assert_uint_eq(atomic_load(&s->failures), atomic_load(&t->failures));
        const struct roster_check *x = roster_last_check(a->roster, i);
        const struct roster_check *y = roster_last_check(b->roster, i);
        ck_assert(x->done == y->done && x->ok == y->ok && !strcmp(x->reason, y->reason));
        ck_assert(!x->done || now_ms + a->offset_ms - x->at_ms == now_ms + b->offset_ms - y->at_ms);
    }
    for (unsigned b0 = 0; b0 < a->pool->nbackends; b0++) {
        struct pool_owner o = pool_owner_of(a->pool, b0), p = pool_owner_of(b->pool, b0);
        ck_assert(o.owner == p.owner && o.from == p.from && o.share == p.share);
    }
    ck_assert_int_eq(roster_all_down(a->roster), roster_all_down(b->roster));
    uint64_t next = roster_next_ms(a->roster), other = roster_next_ms(b->roster);
    if (next == UINT64_MAX || other == UINT64_MAX)
        ck_assert_uint_eq(next, other);
    else
        ck_assert_uint_eq(next - a->offset_ms, other - b->offset_ms);
}

/* Servers that are new to the one are new to the other, and are checked first. */
static void first_checks(struct random *r, const struct side *adopting, const struct pool *old,
                         const struct side *restored, uint64_t now_ms)
{
    for (unsigned i = 0; i < adopting->pool->nservers; i++) {
        bool new = pool_find_server(old, adopting->pool->members[i].server) == NULL;
        ck_assert_int_eq(roster_is_known(restored->roster, i), !new);
        if (!new)
            continue;
        bool ok = below(r, 3) > 0;
        roster_first(adopting->roster, i, ok, "first", now_ms + adopting->offset_ms,
                     now_ms + adopting->offset_ms);
        roster_first(restored->roster, i, ok, "first", now_ms + restored->offset_ms,
                     now_ms + restored->offset_ms);
    }
}

START_TEST(a_restored_roster_behaves_like_an_adopted_one)
{
    struct random r = {(uint64_t)_i + 1};
    struct side was = {.offset_ms = 0}, adopting = {.offset_ms = 0}, restored = {0};
    uint64_t now_ms = 1000000;
    char line[256];
    struct error e;
    random_line(&r, line, sizeof line);
    open_side(&was, line, NULL);
    roster_start(was.roster, now_ms);
    for (int i = 0; i < 60; i++) {
        happen(&was, below(&r, 20), below(&r, was.pool->nservers), below(&r, 2), now_ms);
        now_ms += below(&r, below(&r, 8) ? 300 : 6000);
        advance(&was, now_ms);
    }
    bool same = below(&r, 2);
    if (!same)
        random_line(&r, line, sizeof line);
    json_t *document = pass_on(&was, now_ms);
    open_side(&adopting, line, was.pool);
    restored.offset_ms = _i % 2 ? 12345678 : 10 - now_ms; /* its clock has only just begun */
    open_side(&restored, line, NULL);
    bool done = roster_restore(restored.roster, document, now_ms + restored.offset_ms, &e);
    ck_assert_msg(done, "%s", e.text);
    json_decref(document);
    first_checks(&r, &adopting, was.pool, &restored, now_ms);
    roster_adopt(adopting.roster, was.roster, now_ms);
    close_side(&was);
    roster_start(restored.roster, now_ms + restored.offset_ms);
    check_same(&adopting, &restored, now_ms);
    if (same) /* else the one knows what the other can't, of servers that are gone */
        ck_assert_str_eq(adopting.told, restored.told);
    for (int i = 0; i < 200; i++) {
        unsigned what = below(&r, 20), id = below(&r, adopting.pool->nservers), ok = below(&r, 2);
        adopting.told[0] = restored.told[0] = 0;
        adopting.published = restored.published = 0;
        happen(&adopting, what, id, ok, now_ms);
        happen(&restored, what, id, ok, now_ms);
        now_ms += below(&r, below(&r, 8) ? 300 : 6000);
        advance(&adopting, now_ms);
        advance(&restored, now_ms);
        check_same(&adopting, &restored, now_ms);
        ck_assert_str_eq(adopting.told, restored.told);
        ck_assert_uint_eq(adopting.published, restored.published);
    }
    close_side(&adopting);
    close_side(&restored);
}
END_TEST

/* ---- what is no such document ---- */

/* One value of a good document, wherever it is, is replaced by another one. Takes the reference. */
static json_t *spoil(struct random *r, json_t *v)
{
    static const char *const texts[] = {"up", "held", "b1", "s1", "%", "%zz", ""};
    size_t n = json_is_object(v) ? json_object_size(v) : json_array_size(v);
    if (n == 0 || below(r, 6) == 0) {
        json_decref(v);
        switch (below(r, 7)) {
        case 0:
            return json_null();
        case 1:
            return json_integer(-1);
        case 2:
            return json_integer(below(r, 3) ? below(r, 3) : INT64_MAX);
        case 3:
            return json_string(texts[below(r, sizeof texts / sizeof *texts)]);
        case 4:
            return json_array();
        case 5:
            return json_boolean(below(r, 2));
        default:
            return json_object();
        }
    }
    unsigned which = below(r, (unsigned)n);
    if (json_is_array(v)) {
        json_array_set_new(v, which, spoil(r, json_incref(json_array_get(v, which))));
        return v;
    }
    void *at = json_object_iter(v);
    while (which-- > 0)
        at = json_object_iter_next(v, at);
    const char *key = json_object_iter_key(at);
    json_object_set_new(v, key, spoil(r, json_incref(json_object_iter_value(at))));
    return v;
}

START_TEST(a_document_with_anything_in_it_is_refused_or_works)
{
    struct random r = {(uint64_t)_i + 1};
    unsigned refused = 0, taken = 0;
    for (int k = 0; k < 60; k++) {
        struct side a = {0}, b = {0};
        struct error e = {0};
        char line[256];
        random_line(&r, line, sizeof line);
        open_side(&a, line, NULL);
        roster_start(a.roster, 1000);
        uint64_t now_ms = 1000;
        for (int i = 0; i < 30; i++, advance(&a, now_ms += below(&r, 400)))
            happen(&a, below(&r, 20), below(&r, a.pool->nservers), below(&r, 2), now_ms);
        json_t *document = spoil(&r, pass_on(&a, now_ms));
        open_side(&b, line, NULL);
        bool done = roster_restore(b.roster, document, 5000, &e);
        ck_assert_int_eq(done, e.text[0] == 0);
        refused += !done;
        taken += done;
        for (unsigned i = 0; i < b.pool->nservers; i++)
            ck_assert(done || !roster_is_known(b.roster, i));
        roster_start(b.roster, 5000);
        now_ms = 5000;
        for (int i = 0; i < 50; i++, advance(&b, now_ms += below(&r, 400)))
            happen(&b, below(&r, 20), below(&r, b.pool->nservers), below(&r, 2), now_ms);
        json_decref(document);
        close_side(&a);
        close_side(&b);
    }
    ck_assert_uint_gt(refused, 5);
    ck_assert_uint_gt(taken, 0);
}
END_TEST

START_TEST(another_version_or_pool_is_refused)
{
    struct side a = {0}, b = {0};
    struct error e;
    open_side(&a, "b1 b2 | s1", NULL);
    roster_start(a.roster, 1000);
    open_side(&b, "b1 b2 | s1", NULL);
    json_t *document = pass_on(&a, 1000);
    json_object_set_new(document, "version", json_integer(2));
    ck_assert(!roster_restore(b.roster, document, 1000, &e));
    ck_assert_str_eq(e.text, "not a state of a pool in version 1");
    json_object_set_new(document, "version", json_integer(1));
    json_object_set_new(document, "pool", json_string("other"));
    ck_assert(!roster_restore(b.roster, document, 1000, &e));
    ck_assert_str_eq(e.text, "the state of pool other");
    json_decref(document);
    close_side(&a);
    close_side(&b);
}
END_TEST

START_TEST(a_name_stays_where_it_was)
{
    struct side a = {0}, b = {0};
    struct addr at, found;
    uint32_t generation;
    struct error e;
    open_side(&a, "b1@? b2 | s1", NULL);
    ck_assert_int_eq(addr_parse(str_of("[2001:db8::7]:80"), &at), ADDR_OK);
    server_move(a.pool->members[0].server, &at);
    roster_start(a.roster, 1000);
    open_side(&b, "b1@? b2 | s1", NULL);
    json_t *document = pass_on(&a, 1000);
    ck_assert(roster_restore(b.roster, document, 1000, &e));
    ck_assert(server_address(b.pool->members[0].server, &found, &generation));
    ck_assert(addr_eq(&at, &found));
    json_decref(document);
    close_side(&a);
    close_side(&b);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("roster_save");
    TCase *t = tcase_create("roster_save");
    tcase_add_loop_test(t, a_restored_roster_behaves_like_an_adopted_one, 0, 100);
    tcase_add_loop_test(t, a_document_with_anything_in_it_is_refused_or_works, 0, 8);
    tcase_add_test(t, another_version_or_pool_is_refused);
    tcase_add_test(t, a_name_stays_where_it_was);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
