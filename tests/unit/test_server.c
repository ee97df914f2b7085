/* Where a server is: for good, or by name and changing under the eyes of all threads. */
#include "pool/server.h"

#include <pthread.h>
#include <stdio.h>

#include "tests/lib/unit.h"

static struct addr addr(const char *text)
{
    struct addr a;
    ck_assert_int_eq(addr_parse(str_of(text), &a), ADDR_OK);
    return a;
}

static struct server by_name(void)
{
    static char name[] = "b1", text[] = "b1.example:80";
    return (struct server){.name = name, .address_text = text};
}

static void check_is_at(const struct server *s, const char *text, uint32_t generation)
{
    struct addr at;
    char formatted[ADDR_TEXT_MAX];
    uint32_t g;
    ck_assert(server_address(s, &at, &g));
    addr_format(&at, formatted);
    ck_assert_str_eq(formatted, text);
    ck_assert_uint_eq(g, generation);
    ck_assert_uint_eq(server_generation(s), generation);
}

START_TEST(a_literal_address_is_for_good)
{
    static char texts[][24] = {"10.0.0.1:80", "[2001:db8::1]:80", "unix:/run/b1"};
    struct server s = {.address_text = texts[_i], .address = addr(texts[_i])};
    ck_assert(!server_by_name(&s));
    check_is_at(&s, texts[_i], 0);
    ck_assert_str_eq(server_host(&s), _i == 2 ? "localhost" : texts[_i]);
}
END_TEST

START_TEST(an_interface_is_not_in_the_host)
{
    static const struct {
        const char *text, *host;
    } cases[] = {{"[fe80::1%lo]:80", "[fe80::1]:80"},
                 {"[::1]:80", "[::1]:80"},
                 {"unix:/run/[a%b]", "localhost"}};
    struct addr at = addr(cases[_i].text);
    struct server *s = server_new("p", "b1", cases[_i].text, &at, 1);
    ck_assert_str_eq(server_host(s), cases[_i].host);
    ck_assert_str_eq(s->address_text, cases[_i].text);
    server_unref(s);
}
END_TEST

START_TEST(a_name_has_no_address_until_it_is_resolved)
{
    struct server s = by_name();
    struct addr at, to = addr("10.0.0.1:80");
    uint32_t g;
    ck_assert(server_by_name(&s));
    ck_assert(!server_address(&s, &at, &g));
    ck_assert_uint_eq(g, 0);
    ck_assert_str_eq(server_host(&s), "b1.example:80");
    ck_assert(server_move(&s, &to));
    check_is_at(&s, "10.0.0.1:80", 1);
    ck_assert_str_eq(server_host(&s), "b1.example:80");
}
END_TEST

START_TEST(each_change_is_a_generation)
{
    struct server s = by_name();
    struct addr a = addr("10.0.0.1:80"), b = addr("[2001:db8::1]:80");
    ck_assert(server_move(&s, &a));
    ck_assert(!server_move(&s, &a)); /* no change */
    check_is_at(&s, "10.0.0.1:80", 1);
    ck_assert_int_eq(server_failed(&s, 5, false), SERVER_ROW_GOES_ON);
    ck_assert(!server_move(&s, &a));
    ck_assert_uint_eq(s.failures, 1);
    ck_assert(server_move(&s, &b));
    ck_assert_uint_eq(s.failures, 0); /* those were of the other address */
    check_is_at(&s, "[2001:db8::1]:80", 2);
    ck_assert(server_move(&s, &a));
    check_is_at(&s, "10.0.0.1:80", 3);
    atomic_store(&s.place.generation, UINT32_MAX); /* after a very long life */
    ck_assert(server_move(&s, &b));
    check_is_at(&s, "[2001:db8::1]:80", 2);
    ck_assert(server_move(&s, &a));
    check_is_at(&s, "10.0.0.1:80", 3);
}
END_TEST

/* ---- failures in a row ---- */

/* Of the failures one after another, 'u' does not make it suspect, 's' does, 'a' is an answer.
 * told: 'D' down, 'S' suspect, '.' nothing. */
static const struct {
    unsigned threshold;
    const char *failures, *told;
} rows[] = {
    {3, "uuuuu", "..D.."},   {3, "sssss", "..S.."},   {3, "uuassu", ".....S"},
    {3, "ssasas", "......"}, {3, "usuuu", "..SD."}, /* it was suspect, and then it was proved */
    {3, "ssuuu", "..S.D"},   {3, "suasuu", ".....S"}, {1, "uasau", "D.S.D"},
    {0, "uuusss", "......"},
};

START_TEST(a_row_is_suspect_or_takes_the_server_down)
{
    struct server s = by_name();
    for (unsigned i = 0; rows[_i].failures[i]; i++) {
        enum server_row row = SERVER_ROW_GOES_ON;
        if (rows[_i].failures[i] == 'a')
            server_succeeded(&s);
        else
            row = server_failed(&s, rows[_i].threshold, rows[_i].failures[i] == 's');
        ck_assert_msg(".DS"[row] == rows[_i].told[i], "%s: failure %u", rows[_i].failures, i);
    }
}
END_TEST

START_TEST(what_it_was_suspected_of_is_counted_by_kind)
{
    struct suspicions s = {0};
    enum blame b;
    uint64_t at_ms;
    ck_assert(!suspicions_last(&s, &b, &at_ms));
    for (unsigned i = BLAME_FIRST_SUSPECT; i < BLAME_KINDS; i++) {
        suspicions_note(&s, (enum blame)i, 1000000000 + i);
        ck_assert(suspicions_last(&s, &b, &at_ms));
        ck_assert_int_eq(b, i);
        ck_assert_uint_eq(at_ms, 1000000000 + i);
        ck_assert_uint_eq(atomic_load(&s.tries[i]), 1);
        ck_assert(blame_is_suspect(b) && *blame_name(b));
    }
    ck_assert_uint_eq(suspicions_tries(&s), BLAME_KINDS - BLAME_FIRST_SUSPECT);
    ck_assert(!blame_is_suspect(BLAME_NOBODY) && !blame_is_suspect(BLAME_UNREACHABLE));
}
END_TEST

/* ---- life ---- */

START_TEST(a_server_needs_nobodys_texts_and_lives_until_its_last_reference)
{
    char pool[] = "p", name[] = "b1", text[] = "10.0.0.1:80";
    struct addr at = addr(text);
    struct server *s = server_new(pool, name, text, &at, 3);
    pool[0] = name[0] = text[0] = 'x';
    ck_assert_ptr_eq(server_ref(s), s);
    server_unref(s);
    ck_assert_str_eq(s->pool, "p");
    ck_assert_str_eq(s->name, "b1");
    check_is_at(s, "10.0.0.1:80", 0);
    ck_assert(atomic_load(&s->usable));
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq((uintptr_t)server_cell(s, i) % SERVER_LINE, 0);
        ck_assert(list_empty(&server_cell(s, i)->idle) && list_empty(&server_cell(s, i)->busy));
    }
    server_release(s);
    server_unref(NULL);
}
END_TEST

static void *take_and_give(void *arg)
{
    for (unsigned i = 0; i < 10000; i++)
        server_unref(server_ref(arg));
    server_unref(arg);
    return NULL;
}

START_TEST(the_last_thread_frees_a_server)
{
    struct addr at = addr("10.0.0.1:80");
    struct server *s = server_new("p", "b1", "10.0.0.1:80", &at, 1);
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give, server_ref(s)), 0);
    server_unref(s);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

/* ---- while it moves ---- */

#define READERS 3
#define MOVES 20000

static struct server moving;
static _Atomic bool over;
static _Atomic unsigned wrong, seen;

/* Every byte of the address, and the port, are the generation's: half of one and half of another
 * would show. */
static struct addr address_of(uint32_t generation)
{
    struct addr a = {.v6.sin6_family = AF_INET6, .len = sizeof a.v6};
    memset(&a.v6.sin6_addr, (int)(generation & 0xff), sizeof a.v6.sin6_addr);
    a.v6.sin6_port = htons((uint16_t)generation);
    a.v6.sin6_scope_id = generation;
    return a;
}

static void *read_on(void *arg)
{
    uint32_t last = 0;
    while (!over) {
        struct addr at;
        uint32_t g;
        if (!server_address(&moving, &at, &g))
            continue;
        struct addr expected = address_of(g);
        wrong += !addr_eq(&at, &expected) || g < last;
        last = g;
        seen++;
    }
    return NULL;
}

START_TEST(no_thread_ever_sees_half_an_address)
{
    pthread_t readers[READERS];
    moving = by_name();
    for (int i = 0; i < READERS; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_on, NULL), 0);
    for (uint32_t g = 1; g <= MOVES || seen < MOVES; g++) {
        struct addr to = address_of(g);
        ck_assert(server_move(&moving, &to));
        ck_assert_uint_eq(server_generation(&moving), g);
    }
    over = true;
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("server");
    TCase *t = tcase_create("server");
    tcase_set_timeout(t, 100);
    tcase_add_loop_test(t, a_literal_address_is_for_good, 0, 3);
    tcase_add_loop_test(t, an_interface_is_not_in_the_host, 0, 3);
    tcase_add_test(t, a_name_has_no_address_until_it_is_resolved);
    tcase_add_test(t, each_change_is_a_generation);
    tcase_add_loop_test(t, a_row_is_suspect_or_takes_the_server_down, 0,
                        sizeof rows / sizeof *rows);
    tcase_add_test(t, what_it_was_suspected_of_is_counted_by_kind);
    tcase_add_test(t, a_server_needs_nobodys_texts_and_lives_until_its_last_reference);
    tcase_add_test(t, the_last_thread_frees_a_server);
    tcase_add_test(t, no_thread_ever_sees_half_an_address);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
