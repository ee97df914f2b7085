/* Each script against a real redis-server. */
#include <stdarg.h>

#include "base/mem.h"
#include "tests/lib/redis_server.h"
#include "tests/lib/unit.h"

#define LOCK "{ringproxy:f}:lock"
#define EPOCH "{ringproxy:f}:epoch"
#define NEXT "{ringproxy:f}:next"
#define STATE "{ringproxy:f}:state"
#define BEATS "{ringproxy:f}:beats"
#define VIEWS "{ringproxy:f}:views"
#define CHANNEL "{ringproxy:f}"
#define MINE "aaaa 3000 web1/a1"
#define OTHERS "bbbb 3000 web2/b2"

static struct redis_server server;
static struct redis_reply *last; /* of the test's last call */

/* ---- calls ---- */

static const struct redis_reply *run(struct script_call *c)
{
    resp_reply_free(last);
    last = redis_server_call(&server, c->argv, c->argvlen, c->n);
    if (last->type == REPLY_ERROR)
        fprintf(stderr, "%s\n", last->text.p);
    return last;
}

/* A script; words end with NULL. */
static const struct redis_reply *script(enum script s, unsigned nkeys, ...)
{
    struct script_call c;
    va_list args;
    const char *word;
    script_begin(&c, s, nkeys);
    va_start(args, nkeys);
    while ((word = va_arg(args, const char *)) != NULL)
        script_add(&c, str_of(word));
    va_end(args);
    return run(&c);
}

/* A plain command, its words apart by '|'. */
__attribute__((format(printf, 1, 2))) static const struct redis_reply *command(const char *format,
                                                                               ...)
{
    char line[512], *save = NULL;
    const char *words[24];
    size_t lens[24], n = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (const char *w = strtok_r(line, "|", &save); w; w = strtok_r(NULL, "|", &save)) {
        words[n] = w;
        lens[n++] = strlen(w);
    }
    resp_reply_free(last);
    last = redis_server_call(&server, words, lens, n);
    return last;
}

static const char *text_of(const struct redis_reply *r)
{
    ck_assert(r->type == REPLY_TEXT || r->type == REPLY_STATUS || r->type == REPLY_ERROR);
    return r->text.p;
}

static int64_t number_of(const struct redis_reply *r)
{
    ck_assert_int_eq(r->type, REPLY_INTEGER);
    return r->integer;
}

static const struct redis_reply *element(size_t i)
{
    ck_assert_int_eq(last->type, REPLY_ARRAY);
    ck_assert_uint_lt(i, last->n);
    return last->elements[i];
}

static const struct redis_reply *acquire(const char *lock, const char *previous, const char *floor,
                                         const char *id)
{
    return script(SCRIPT_ACQUIRE, 4, LOCK, EPOCH, NEXT, STATE, lock, previous, floor, id, NULL);
}

static void check_granted(int64_t epoch)
{
    ck_assert_int_eq(number_of(element(0)), 1);
    ck_assert_int_eq(number_of(element(1)), epoch);
}

static void check_held_by(const char *holder)
{
    ck_assert_int_eq(number_of(element(0)), 0);
    ck_assert_str_eq(text_of(element(2)), holder);
}

static int64_t publish(const char *lock, const char *epoch, const char *by, const char *seq,
                       const char *body)
{
    return number_of(script(SCRIPT_PUBLISH, 3, LOCK, EPOCH, STATE, CHANNEL, by, lock, epoch, by,
                            seq, body, NULL));
}

static int64_t restore(const char *epoch, const char *by, const char *seq, const char *body)
{
    return number_of(
        script(SCRIPT_RESTORE, 2, EPOCH, STATE, CHANNEL, "c3", epoch, by, seq, body, NULL));
}

static int64_t offer(const char *lock, const char *to)
{
    return number_of(script(SCRIPT_OFFER, 2, LOCK, NEXT, CHANNEL, "a1", lock, to, "1000", NULL));
}

struct sync {
    const char *node, *id, *n, *view, *kind, *known, *lock, *epoch, *kepoch, *kby, *kseq, *most;
};

static const struct redis_reply *sync_with(struct sync s)
{
#define OR(text, other) ((text) ? (text) : (other))
    return script(SCRIPT_SYNC, 6, LOCK, EPOCH, NEXT, STATE, BEATS, VIEWS, CHANNEL, s.node, s.id,
                  OR(s.n, "1"), OR(s.view, ""), OR(s.kind, ""), OR(s.known, "0"), OR(s.lock, ""),
                  OR(s.epoch, "0"), OR(s.kepoch, "0"), OR(s.kby, ""), OR(s.kseq, "0"),
                  OR(s.most, "9007199254740991"), NULL);
}

enum {
    HOLDER,
    LEFT,
    OFFERED,
    RENEWED,
    S_EPOCH,
    S_BY,
    S_SEQ,
    BODY,
    HIGHEST,
    S_BEATS,
    S_VIEWS,
    BROKEN
};

/* "a=1 b=2": an array of pairs, in the order of the names. */
static const char *pairs(const struct redis_reply *r)
{
    static char out[1024];
    const char *before = "";
    size_t at = 0;
    ck_assert_int_eq(r->type, REPLY_ARRAY);
    out[0] = '\0';
    for (;;) {
        const struct redis_reply *best = NULL, *value = NULL;
        for (size_t i = 0; i < r->n; i += 2)
            if (strcmp(text_of(r->elements[i]), before) > 0 &&
                (best == NULL || strcmp(text_of(r->elements[i]), text_of(best)) < 0)) {
                best = r->elements[i];
                value = r->elements[i + 1];
            }
        if (best == NULL)
            return out;
        before = text_of(best);
        at += (size_t)snprintf(out + at, sizeof out - at, "%s%s=%s", at ? "; " : "", before,
                               text_of(value));
    }
}

static void flush(void)
{
    command("FLUSHALL");
}

/* ---- the lock ---- */

START_TEST(a_free_lock_is_granted_with_an_epoch_above_the_floor)
{
    acquire(MINE, "", "1795430400123", "a1");
    check_granted(1795430400124);
    ck_assert_str_eq(text_of(command("GET|" LOCK)), MINE);
    ck_assert_int_gt(number_of(command("PTTL|" LOCK)), 0);
    ck_assert_int_le(number_of(command("PTTL|" LOCK)), 3000);
    ck_assert_str_eq(text_of(command("GET|" EPOCH)), "1795430400124");
    ck_assert_int_eq(number_of(command("PTTL|" EPOCH)), -1);
}
END_TEST

START_TEST(epochs_grow_whatever_the_floor_is)
{
    acquire(MINE, "", "100", "a1");
    acquire(MINE, MINE, "5", "a1");
    check_granted(102);
    restore("200", "a1", "1", "{}");
    command("SET|" EPOCH "|7");
    acquire(MINE, MINE, "5", "a1");
    check_granted(201);
}
END_TEST

START_TEST(an_epoch_is_exact_up_to_the_last)
{
    acquire(MINE, "", "9007199254740989", "a1");
    check_granted(9007199254740990);
    acquire(MINE, MINE, "0", "a1");
    check_granted(9007199254740991);
    ck_assert_str_eq(text_of(command("GET|" EPOCH)), "9007199254740991");
    ck_assert_int_eq(acquire(MINE, MINE, "0", "a1")->type, REPLY_ERROR);
    ck_assert_str_eq(text_of(command("GET|" LOCK)), MINE);
}
END_TEST

START_TEST(a_held_lock_is_not_granted_and_its_holder_told)
{
    acquire(OTHERS, "", "1", "b2");
    acquire(MINE, "", "1", "a1");
    check_held_by(OTHERS);
    ck_assert_int_gt(number_of(element(3)), 0);
    ck_assert_int_le(number_of(element(3)), 3000);
    ck_assert_str_eq(text_of(command("GET|" EPOCH)), "2");
}
END_TEST

START_TEST(an_attempt_replaces_the_own_one_whose_answer_never_came)
{
    acquire("cccc 3000 web1/a1", "", "1", "a1");
    acquire(MINE, "cccc 3000 web1/a1", "1", "a1");
    check_granted(3);
    ck_assert_str_eq(text_of(command("GET|" LOCK)), MINE);
}
END_TEST

START_TEST(a_lock_goes_to_whom_it_is_offered)
{
    acquire(MINE, "", "1", "a1");
    ck_assert_int_eq(offer(OTHERS, "b2"), 0);
    ck_assert_int_eq(offer(MINE, "b2"), 1);
    ck_assert_int_le(number_of(command("PTTL|" NEXT)), 1000);
    acquire("dddd 3000 web3/d4", "", "1", "d4");
    check_held_by(MINE);
    acquire(OTHERS, "", "1", "b2");
    check_granted(3);
    ck_assert_int_eq(number_of(command("EXISTS|" NEXT)), 0);
}
END_TEST

START_TEST(a_lock_without_an_expiry_or_of_another_type_is_held)
{
    command("SET|" LOCK "|by hand");
    acquire(MINE, "", "1", "a1");
    check_held_by("by hand");
    ck_assert_int_eq(number_of(element(3)), -1);
    command("DEL|" LOCK);
    command("HSET|" LOCK "|a|b");
    acquire(MINE, "", "1", "a1");
    check_held_by("?");
    sync_with((struct sync){.node = "web1", .id = "a1"});
    ck_assert_str_eq(text_of(element(HOLDER)), "?");
    ck_assert_int_eq(number_of(script(SCRIPT_RELEASE, 1, LOCK, "", "a1", MINE, NULL)), 0);
}
END_TEST

START_TEST(a_lock_that_outlives_its_ttl_is_shortened)
{
    command("SET|" LOCK "|" OTHERS "|PX|900000");
    acquire(MINE, "", "1", "a1");
    check_held_by(OTHERS);
    ck_assert_int_le(number_of(element(3)), 3000);
    ck_assert_int_le(number_of(command("PTTL|" LOCK)), 3000);
    command("SET|" LOCK "|" OTHERS "|PX|900000");
    sync_with((struct sync){.node = "web1", .id = "a1"});
    ck_assert_int_le(number_of(element(LEFT)), 3000);
    ck_assert_int_le(number_of(command("PTTL|" LOCK)), 3000);
    command("SET|" LOCK "|" OTHERS "|PX|900000");
    ck_assert_int_eq(number_of(script(SCRIPT_RENEW, 2, LOCK, EPOCH, MINE, "1", NULL)), 0);
    ck_assert_int_le(number_of(command("PTTL|" LOCK)), 3000);
}
END_TEST

START_TEST(a_lock_of_a_command_needs_two_keys)
{
    const char *lock = "{ringlock:n}:x", *epoch = "{ringlock:n}:epoch";
    script(SCRIPT_ACQUIRE, 2, lock, epoch, "aa 500 h/1", "", "7", "", NULL);
    check_granted(8);
    script(SCRIPT_ACQUIRE, 2, lock, epoch, "bb 500 h/2", "", "7", "", NULL);
    check_held_by("aa 500 h/1");
    ck_assert_int_eq(number_of(script(SCRIPT_RENEW, 2, lock, epoch, "aa 500 h/1", "8", NULL)), 1);
    ck_assert_int_eq(number_of(script(SCRIPT_RENEW, 2, lock, epoch, "aa 500 h/1", "7", NULL)), 0);
    ck_assert_int_eq(number_of(script(SCRIPT_RENEW, 2, lock, epoch, "bb 500 h/2", "8", NULL)), 0);
    ck_assert_int_eq(number_of(script(SCRIPT_RELEASE, 1, lock, "", "", "bb 500 h/2", NULL)), 0);
    ck_assert_int_eq(number_of(script(SCRIPT_RELEASE, 1, lock, "", "", "aa 500 h/1", NULL)), 1);
    script(SCRIPT_ACQUIRE, 2, lock, epoch, "bb 500 h/2", "", "7", "", NULL);
    check_granted(9);
}
END_TEST

START_TEST(a_broken_epoch_is_replaced)
{
    static const char *const broken[] = {"SET|" EPOCH "|x", "SET|" EPOCH "|1e300",
                                         "SET|" EPOCH "|99999999999999999", "SET|" EPOCH "|-4",
                                         "HSET|" EPOCH "|a|b"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        flush();
        command("%s", broken[i]);
        acquire(MINE, "", "10", "a1");
        check_granted(11);
        ck_assert_str_eq(text_of(command("GET|" EPOCH)), "11");
    }
}
END_TEST

START_TEST(an_epoch_beyond_what_is_believed_is_as_none)
{
    restore("5000", "c3", "1", "{}");
    ck_assert_str_eq(text_of(command("GET|" EPOCH)), "5000");
    sync_with((struct sync){.node = "web1", .id = "a1", .most = "4999"});
    ck_assert_int_eq(number_of(element(S_EPOCH)), 0);
    ck_assert_str_eq(text_of(element(BROKEN)), " state");
    script(SCRIPT_ACQUIRE, 4, LOCK, EPOCH, NEXT, STATE, MINE, "", "10", "a1", "4999", NULL);
    check_granted(11);
    ck_assert_int_eq(publish(MINE, "11", "a1", "1", "{}"), 0); /* who believes in more */
    ck_assert_int_eq(number_of(script(SCRIPT_PUBLISH, 3, LOCK, EPOCH, STATE, CHANNEL, "a1", MINE,
                                      "11", "a1", "1", "{}", "4999", NULL)),
                     1);
    command("HSET|" STATE "|epoch|5000");
    ck_assert_int_eq(number_of(script(SCRIPT_RESTORE, 2, EPOCH, STATE, CHANNEL, "c3", "11", "a1",
                                      "1", "{}", "4999", NULL)),
                     1);
    script(SCRIPT_ACQUIRE, 4, LOCK, EPOCH, NEXT, STATE, MINE, MINE, "10", "a1", "11", NULL);
    check_granted(12);
}
END_TEST

/* ---- publications ---- */

START_TEST(only_the_holder_of_lock_and_epoch_publishes)
{
    acquire(MINE, "", "9", "a1");
    ck_assert_int_eq(publish(OTHERS, "10", "a1", "1", "{}"), 0);
    ck_assert_int_eq(publish(MINE, "9", "a1", "1", "{}"), 0);
    ck_assert_int_eq(publish(MINE, "11", "a1", "1", "{}"), 0);
    ck_assert_int_eq(number_of(command("EXISTS|" STATE)), 0);
    ck_assert_int_eq(publish(MINE, "10", "a1", "1", "{}"), 1);
    ck_assert_int_eq(publish(MINE, "10", "a1", "1", "[]"), 0);
    ck_assert_str_eq(text_of(command("HGET|" STATE "|body")), "{}");
    ck_assert_int_eq(publish(MINE, "10", "a1", "2", "[]"), 1);
    ck_assert_str_eq(text_of(command("HGET|" STATE "|body")), "[]");
    command("DEL|" LOCK);
    ck_assert_int_eq(publish(MINE, "10", "a1", "3", "{}"), 0);
}
END_TEST

START_TEST(versions_compare_as_numbers_and_instances)
{
    ck_assert_int_eq(restore("9", "ff", "100", "1"), 1);
    ck_assert_int_eq(restore("10", "0a", "9", "2"), 1);
    ck_assert_int_eq(restore("10", "0a", "10", "3"), 1);
    ck_assert_int_eq(restore("10", "09", "11", "4"), 0);
    ck_assert_int_eq(restore("10", "a0", "1", "5"), 1);
    ck_assert_int_eq(restore("9007199254740990", "00", "9007199254740990", "6"), 1);
    ck_assert_int_eq(restore("9007199254740990", "00", "9007199254740990", "7"), 0);
    ck_assert_int_eq(restore("9007199254740990", "00", "9007199254740991", "8"), 1);
    ck_assert_str_eq(text_of(command("HGET|" STATE "|seq")), "9007199254740991");
    ck_assert_str_eq(text_of(command("GET|" EPOCH)), "9007199254740990");
}
END_TEST

START_TEST(a_restore_never_lowers_the_epoch)
{
    command("SET|" EPOCH "|50");
    ck_assert_int_eq(restore("40", "a1", "1", "{}"), 1);
    ck_assert_str_eq(text_of(command("GET|" EPOCH)), "50");
    ck_assert_int_eq(restore("60", "a1", "1", "{}"), 1);
    ck_assert_str_eq(text_of(command("GET|" EPOCH)), "60");
}
END_TEST

START_TEST(a_broken_state_is_told_and_replaced)
{
    static const char *const broken[] = {
        "SET|" STATE "|x",
        "HSET|" STATE "|epoch|x|by|a1|seq|1|body|{}",
        "HSET|" STATE "|epoch|5|by|NOBODY|seq|1|body|{}",
        "HSET|" STATE "|epoch|5|by|a1|seq|0|body|{}",
        "HSET|" STATE "|epoch|9007199254740992|by|a1|seq|1|body|{}",
        "HSET|" STATE "|epoch|5|by|a1|body|{}",
        "HSET|" STATE "|epoch|5|by|a1|seq|1", /* no body */
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        flush();
        command("%s", broken[i]);
        sync_with((struct sync){.node = "web1", .id = "a1"});
        ck_assert_str_eq(text_of(element(BROKEN)), " state");
        ck_assert_int_eq(number_of(element(S_EPOCH)), 0);
        ck_assert_str_eq(text_of(element(S_BY)), "");
        ck_assert_int_eq(restore("1", "0a", "1", "{}"), 1);
        sync_with((struct sync){.node = "web1", .id = "a1"});
        ck_assert_str_eq(text_of(element(BROKEN)), "");
        ck_assert_str_eq(text_of(element(BODY)), "{}");
    }
}
END_TEST

/* ---- syncs ---- */

START_TEST(a_view_is_numbered_and_told_to_those_who_do_not_know_it)
{
    sync_with((struct sync){.node = "web1", .id = "a1", .n = "1", .view = "A"});
    ck_assert_str_eq(pairs(element(S_BEATS)), "web1=a1 1 1");
    ck_assert_str_eq(pairs(element(S_VIEWS)), "");
    ck_assert_int_eq(number_of(element(HIGHEST)), 1);
    sync_with((struct sync){.node = "web2", .id = "b2", .n = "7", .view = "B"});
    ck_assert_str_eq(pairs(element(S_BEATS)), "web1=a1 1 1; web2=b2 7 2");
    ck_assert_str_eq(pairs(element(S_VIEWS)), "web1=A");
    sync_with((struct sync){.node = "web2", .id = "b2", .n = "8", .known = "2"});
    ck_assert_str_eq(pairs(element(S_BEATS)), "web1=a1 1 1; web2=b2 8 2");
    ck_assert_str_eq(pairs(element(S_VIEWS)), "");
    sync_with((struct sync){.node = "web1", .id = "a1", .n = "2", .known = "1"});
    ck_assert_str_eq(pairs(element(S_BEATS)), "web1=a1 2 1; web2=b2 8 2");
    ck_assert_str_eq(pairs(element(S_VIEWS)), "web2=B");
    ck_assert_int_eq(number_of(element(HIGHEST)), 2);
    ck_assert_int_gt(number_of(command("TTL|" BEATS)), 86000);
    ck_assert_int_gt(number_of(command("TTL|" VIEWS)), 86000);
}
END_TEST

START_TEST(after_a_loss_all_views_are_told_and_numbers_go_on)
{
    sync_with((struct sync){.node = "web1", .id = "a1", .view = "A"});
    flush();
    sync_with((struct sync){.node = "web2", .id = "b2", .view = "B", .known = "8"});
    ck_assert_int_eq(number_of(element(HIGHEST)), 9);
    /* what it does not hold of web2 has a number below the one that it knows */
    sync_with((struct sync){.node = "web1", .id = "a1", .view = "A", .known = "9"});
    ck_assert_str_eq(pairs(element(S_VIEWS)), "web2=B");
    ck_assert_str_eq(pairs(element(S_BEATS)), "web1=a1 1 10; web2=b2 1 9");
    flush();
    sync_with((struct sync){.node = "web1", .id = "a1", .known = "10"});
    ck_assert_str_eq(pairs(element(S_BEATS)), "web1=a1 1 0");
    ck_assert_int_eq(number_of(element(HIGHEST)), 0);
}
END_TEST

START_TEST(another_instance_under_the_own_name_is_told)
{
    sync_with((struct sync){.node = "web1", .id = "a1", .n = "5", .view = "A"});
    sync_with((struct sync){.node = "web1", .id = "b2", .n = "1", .view = "B"});
    const struct redis_reply *beats = element(S_BEATS);
    ck_assert_uint_eq(beats->n, 4);
    ck_assert_str_eq(text_of(beats->elements[1]), "a1 5 1");
    ck_assert_str_eq(text_of(beats->elements[3]), "b2 1 2");
}
END_TEST

START_TEST(a_sync_renews_only_the_own_lock_of_the_own_epoch)
{
    acquire(MINE, "", "9", "a1");
    command("PEXPIRE|" LOCK "|900");
    struct sync s = {.node = "web1", .id = "a1", .lock = MINE, .epoch = "9"};
    sync_with(s);
    ck_assert_int_eq(number_of(element(RENEWED)), 0);
    ck_assert_int_le(number_of(element(LEFT)), 900);
    s.epoch = "10";
    sync_with(s);
    ck_assert_int_eq(number_of(element(RENEWED)), 1);
    ck_assert_int_eq(number_of(element(LEFT)), 3000);
    ck_assert_int_gt(number_of(command("PTTL|" LOCK)), 900);
    s.lock = OTHERS;
    sync_with(s);
    ck_assert_int_eq(number_of(element(RENEWED)), 0);
    ck_assert_str_eq(text_of(element(HOLDER)), MINE);
}
END_TEST

START_TEST(a_body_comes_only_to_whom_it_is_new)
{
    restore("10", "a1", "2", "{1}");
    sync_with((struct sync){.node = "web1", .id = "a1", .kepoch = "10", .kby = "a1", .kseq = "1"});
    ck_assert_str_eq(text_of(element(BODY)), "{1}");
    ck_assert_int_eq(number_of(element(S_EPOCH)), 10);
    ck_assert_str_eq(text_of(element(S_BY)), "a1");
    ck_assert_int_eq(number_of(element(S_SEQ)), 2);
    sync_with((struct sync){.node = "web1", .id = "a1", .kepoch = "10", .kby = "a1", .kseq = "2"});
    ck_assert_str_eq(text_of(element(BODY)), "");
    ck_assert_int_eq(number_of(element(S_SEQ)), 2);
}
END_TEST

START_TEST(keys_of_another_type_do_not_stop_a_sync)
{
    command("SET|" BEATS "|x");
    command("SET|" VIEWS "|x");
    command("HSET|" NEXT "|a|b");
    command("SET|" STATE "|x");
    command("RPUSH|" EPOCH "|x");
    sync_with((struct sync){.node = "web1", .id = "a1", .view = "A", .lock = MINE, .epoch = "1"});
    ck_assert_str_eq(pairs(element(S_BEATS)), "web1=a1 1 1");
    ck_assert_str_eq(text_of(element(BROKEN)), " beats state");
    ck_assert_str_eq(text_of(element(OFFERED)), "");
    sync_with((struct sync){.node = "web2", .id = "b2"});
    ck_assert_str_eq(pairs(element(S_VIEWS)), "web1=A");
    ck_assert_str_eq(text_of(element(BROKEN)), " state");
}
END_TEST

START_TEST(the_holder_forgets_nodes)
{
    acquire(MINE, "", "9", "a1");
    sync_with((struct sync){.node = "web1", .id = "a1", .view = "A"});
    sync_with((struct sync){.node = "web2", .id = "b2", .view = "B"});
    sync_with((struct sync){.node = "web3", .id = "c3", .view = "C"});
    ck_assert_int_eq(
        number_of(script(SCRIPT_FORGET, 3, LOCK, BEATS, VIEWS, OTHERS, "web1\n", NULL)), 0);
    ck_assert_int_eq(
        number_of(script(SCRIPT_FORGET, 3, LOCK, BEATS, VIEWS, MINE, "web1\nweb3\n", NULL)), 1);
    sync_with((struct sync){.node = "web2", .id = "b2", .n = "2"});
    ck_assert_str_eq(pairs(element(S_BEATS)), "web2=b2 2 2");
    ck_assert_int_eq(number_of(command("HLEN|" VIEWS)), 1);
}
END_TEST

/* ---- hints ---- */

/* The payloads that came to a subscriber, in order. */
static const char *heard(struct redis_server *subscriber, unsigned n)
{
    static char out[256];
    out[0] = '\0';
    for (unsigned i = 0; i < n; i++) {
        struct redis_reply *r = redis_server_reply(subscriber);
        ck_assert(r->type == REPLY_ARRAY && r->n == 3);
        strcat(out, i ? ", " : "");
        strcat(out, text_of(r->elements[2]));
        resp_reply_free(r);
    }
    return out;
}

START_TEST(news_is_told_in_hints)
{
    struct redis_server subscriber = server;
    ck_assert(redis_server_connect(&subscriber));
    subscriber.reader = resp_new();
    const char *words[] = {"SUBSCRIBE", CHANNEL};
    resp_reply_free(redis_server_call(&subscriber, words, (size_t[]){9, strlen(CHANNEL)}, 2));

    acquire(MINE, "", "9", "a1");
    sync_with((struct sync){.node = "web1", .id = "a1", .view = "A", .kind = "claim"});
    sync_with((struct sync){.node = "web2", .id = "b2", .view = "B", .kind = "view"});
    sync_with((struct sync){.node = "web2", .id = "b2", .view = "B2"});
    sync_with((struct sync){.node = "web2", .id = "b2"});
    publish(MINE, "10", "a1", "1", "{}");
    publish(MINE, "10", "a1", "1", "{}");
    restore("11", "d4", "1", "{}");
    offer(MINE, "b2");
    script(SCRIPT_RELEASE, 1, LOCK, CHANNEL, "a1", OTHERS, NULL);
    script(SCRIPT_RELEASE, 1, LOCK, CHANNEL, "a1", MINE, NULL);
    ck_assert_str_eq(heard(&subscriber, 6),
                     "claim a1, view b2, state a1, state c3, lock a1, lock a1");
    command("PUBLISH|" CHANNEL "|end");
    ck_assert_str_eq(heard(&subscriber, 1), "end");
    close(subscriber.fd);
    resp_free(subscriber.reader);
}
END_TEST

/* ---- permissions and sizes ---- */

#define RIGHTS                                                                               \
    "on|>pw|~{ringproxy:*|~{ringlock:*|&{ringproxy:*|+eval|+subscribe|+publish|+ping|+auth|" \
    "+select|+role|+get"

START_TEST(the_rights_that_the_pages_name_suffice)
{
    command("ACL|SETUSER|ring|reset|" RIGHTS);
    command("ACL|SETUSER|ring|+set|+del|+pttl|+pexpire|+expire|+hget|+hmget|+hset|+hgetall|+hdel");
    ck_assert_str_eq(text_of(command("AUTH|ring|pw")), "OK");
    acquire(MINE, "", "9", "a1");
    check_granted(10);
    sync_with((struct sync){
        .node = "web1", .id = "a1", .view = "A", .kind = "claim", .lock = MINE, .epoch = "10"});
    ck_assert_int_eq(number_of(element(RENEWED)), 1);
    ck_assert_int_eq(publish(MINE, "10", "a1", "1", "{}"), 1);
    ck_assert_int_eq(restore("10", "a1", "2", "{}"), 1);
    ck_assert_int_eq(offer(MINE, "b2"), 1);
    ck_assert_int_eq(number_of(script(SCRIPT_RENEW, 2, LOCK, EPOCH, MINE, "10", NULL)), 1);
    ck_assert_int_eq(number_of(script(SCRIPT_FORGET, 3, LOCK, BEATS, VIEWS, MINE, "w\n", NULL)), 1);
    ck_assert_int_eq(number_of(script(SCRIPT_RELEASE, 1, LOCK, CHANNEL, "a1", MINE, NULL)), 1);
    ck_assert_int_eq(command("FLUSHALL")->type, REPLY_ERROR);
    close(server.fd);
    resp_free(server.reader);
    ck_assert(redis_server_connect(&server));
    server.reader = resp_new();
}
END_TEST

START_TEST(a_quiet_sync_of_fifty_members_is_small)
{
    char node[16], id[40];
    for (unsigned i = 0; i < 50; i++) {
        snprintf(node, sizeof node, "edge-%02u", i);
        snprintf(id, sizeof id, "%032x", i);
        sync_with((struct sync){.node = node, .id = id, .n = "86400", .view = "{...}"});
    }
    size_t sent = server.sent, received = server.received;
    sync_with((struct sync){.node = node,
                            .id = id,
                            .n = "86401",
                            .known = "50",
                            .kepoch = "1795430400123",
                            .kby = id,
                            .kseq = "77"});
    sent = server.sent - sent;
    received = server.received - received;
    size_t text = strlen(script_text(SCRIPT_SYNC));
    printf("a quiet sync of 50 members: %zu bytes out, %zu of them the script; %zu back\n", sent,
           text, received);
    ck_assert_uint_lt(sent - text, 700);
    ck_assert_uint_lt(text, 4000);
    ck_assert_uint_lt(received, 3600);
}
END_TEST

START_TEST(a_count_of_views_that_is_at_its_end_begins_again)
{
    command("HSET|" BEATS "|#|9007199254740991");
    sync_with((struct sync){.node = "web1", .id = "a1", .view = "V", .known = "9007199254740991"});
    ck_assert_int_eq(number_of(element(HIGHEST)), 1);
    ck_assert_str_eq(pairs(element(S_BEATS)), "web1=a1 1 1");
    sync_with((struct sync){.node = "web2", .id = "b2", .view = "W"});
    ck_assert_int_eq(number_of(element(HIGHEST)), 2);
}
END_TEST

START_TEST(what_is_too_long_comes_as_what_nobody_takes)
{
    char text[201];
    memset(text, 'x', 200);
    text[200] = '\0';
    command("SET|" NEXT "|%s", text);
    command("HSET|" BEATS "|web2|%s", text);
    command("HSET|" BEATS "|%s|b2 1 1", text);
    sync_with((struct sync){.node = "web1", .id = "a1"});
    ck_assert_str_eq(text_of(element(OFFERED)), "?");
    ck_assert_uint_eq(element(S_BEATS)->n, 6);
    for (size_t i = 0; i < 6; i++)
        ck_assert_uint_le(element(S_BEATS)->elements[i]->text.n, 128);
}
END_TEST

static Suite *build(void)
{
    Suite *suite = suite_create("scripts");
    TCase *tc = tcase_create("scripts");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, flush, flush);
    tcase_add_test(tc, a_free_lock_is_granted_with_an_epoch_above_the_floor);
    tcase_add_test(tc, epochs_grow_whatever_the_floor_is);
    tcase_add_test(tc, an_epoch_is_exact_up_to_the_last);
    tcase_add_test(tc, a_held_lock_is_not_granted_and_its_holder_told);
    tcase_add_test(tc, an_attempt_replaces_the_own_one_whose_answer_never_came);
    tcase_add_test(tc, a_lock_goes_to_whom_it_is_offered);
    tcase_add_test(tc, a_lock_without_an_expiry_or_of_another_type_is_held);
    tcase_add_test(tc, a_lock_that_outlives_its_ttl_is_shortened);
    tcase_add_test(tc, a_lock_of_a_command_needs_two_keys);
    tcase_add_test(tc, a_broken_epoch_is_replaced);
    tcase_add_test(tc, an_epoch_beyond_what_is_believed_is_as_none);
    tcase_add_test(tc, a_count_of_views_that_is_at_its_end_begins_again);
    tcase_add_test(tc, what_is_too_long_comes_as_what_nobody_takes);
    tcase_add_test(tc, only_the_holder_of_lock_and_epoch_publishes);
    tcase_add_test(tc, versions_compare_as_numbers_and_instances);
    tcase_add_test(tc, a_restore_never_lowers_the_epoch);
    tcase_add_test(tc, a_broken_state_is_told_and_replaced);
    tcase_add_test(tc, a_view_is_numbered_and_told_to_those_who_do_not_know_it);
    tcase_add_test(tc, after_a_loss_all_views_are_told_and_numbers_go_on);
    tcase_add_test(tc, another_instance_under_the_own_name_is_told);
    tcase_add_test(tc, a_sync_renews_only_the_own_lock_of_the_own_epoch);
    tcase_add_test(tc, a_body_comes_only_to_whom_it_is_new);
    tcase_add_test(tc, keys_of_another_type_do_not_stop_a_sync);
    tcase_add_test(tc, the_holder_forgets_nodes);
    tcase_add_test(tc, news_is_told_in_hints);
    tcase_add_test(tc, the_rights_that_the_pages_name_suffice);
    tcase_add_test(tc, a_quiet_sync_of_fifty_members_is_small);
    suite_add_tcase(suite, tc);
    return suite;
}

/* `test_scripts sync` prints a script, for redis-cli --eval. */
static int print_script(const char *name)
{
    for (enum script s = 0; s < SCRIPTS; s++)
        if (strcmp(script_name(s), name) == 0)
            return fputs(script_text(s), stdout) < 0;
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return print_script(argv[1]);
    if (!redis_server_start(&server)) {
        printf("there is no redis-server\n");
        return 77; /* meson: skipped */
    }
    int r = unit_main(build);
    resp_reply_free(last);
    redis_server_stop(&server);
    return r;
}
