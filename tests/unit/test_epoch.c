/* The field that tells a server by which decision of the fleet a request goes to it
 * (`epoch_header`). A worker over memory; the oracle of tests/fuzz/world.h watches, too. */
#include <string.h>

#include "tests/fuzz/world.h"
#include "tests/lib/one_client.h"
#include "tests/lib/unit.h"

#define CONFIGURATION(line)                      \
    "listeners:\n"                               \
    "  - name: web\n"                            \
    "    listen: 127.0.0.1:1\n"                  \
    "    pool: p\n"                              \
    "    key: [header:X-Key]\n"                  \
    "pools:\n"                                   \
    "  - name: p\n" line "    backends:\n"       \
    "      - {name: b1, address: 127.0.0.1:1}\n" \
    "      - {name: b2, address: 127.0.0.1:2}\n" \
    "      - {name: b3, address: 127.0.0.1:3}\n" \
    "      - {name: b4, address: 127.0.0.1:4}\n"

#define GET(fields) "GET / HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define KEYED(fields) GET("X-Key: k\r\n" fields)
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static void begin(const char *line)
{
    char text[1024];
    snprintf(text, sizeof text, CONFIGURATION("%s"), line);
    one_client_begin(text);
}

static void settle(void)
{
    memory_run();
    world_check();
}

static void says(struct memory_wire *w, const char *text)
{
    memory_send(w, text, strlen(text));
    settle();
}

/* As the fleet does when a publication is applied in which all servers are in service. */
static void agree(uint64_t epoch, uint64_t seq)
{
    struct agreed_server servers[] = {
        {.name = "b1"}, {.name = "b2"}, {.name = "b3"}, {.name = "b4"}};
    const struct agreed_pool pool = {.name = "p", .digest = "", .servers = servers, .nservers = 4};
    roster_agree(world.snapshot->rosters[0], &pool, time_now());
    pool_set_agreed(world.snapshot->pools[0], epoch, seq);
}

static void part(void)
{
    roster_part(world.snapshot->rosters[0], time_now());
}

/* The one whose request is not answered. */
static struct backend *asked(void)
{
    list_foreach(it, &world.backends)
    {
        struct backend *b = container_of(it, struct backend, link);
        if (b->wire.state == MEMORY_OPEN && b->request && b->request->at == b &&
            b->request->said.state == MESSAGE_HEAD)
            return b;
    }
    ck_abort_msg("nobody was asked");
}

/* Sends a request, answers it; what the server has got of it as the field X-Ring-Epoch. */
static const char *told(const char *request)
{
    static char value[64];
    says(&world.open[0]->wire, request);
    struct backend *b = asked();
    struct str s = http_message_field(&b->request->got, "X-Ring-Epoch");
    snprintf(value, sizeof value, "%.*s", (int)s.n, s.n ? s.p : "");
    says(&b->wire, OK);
    return value;
}

#define ON "    epoch_header: X-Ring-Epoch\n"

START_TEST(the_server_that_the_agreement_gives_is_told_its_number)
{
    begin(ON);
    agree(1795430400123, 7);
    ck_assert_str_eq(told(KEYED("")), "1795430400123.7");
    agree(1795430400124, 1);
    ck_assert_str_eq(told(KEYED("")), "1795430400124.1"); /* on the same connection */
    one_client_end();
}
END_TEST

START_TEST(without_an_agreement_nothing_is_told)
{
    begin(ON);
    ck_assert_str_eq(told(KEYED("")), "");
    agree(5, 7);
    ck_assert_str_eq(told(KEYED("")), "5.7");
    part();
    ck_assert_str_eq(told(KEYED("")), "");
    one_client_end();
}
END_TEST

START_TEST(requests_without_a_key_are_not_agreed_on)
{
    begin(ON);
    agree(5, 7);
    ck_assert_str_eq(told(GET("")), "");
    one_client_end();
}
END_TEST

START_TEST(what_a_client_says_is_never_passed_on)
{
    begin(ON);
    ck_assert_str_eq(told(KEYED("X-Ring-Epoch: 9.9\r\n")), "");
    ck_assert_str_eq(told(KEYED("x-ring-epoch: 9.9\r\nX-RING-EPOCH: 9.8\r\n")), "");
    agree(5, 7);
    ck_assert_str_eq(told(KEYED("X-Ring-Epoch: 9.9\r\n")), "5.7");
    one_client_end();
}
END_TEST

/* Some programs take '_' for '-'. */
START_TEST(nor_is_a_name_that_may_be_taken_for_it)
{
    begin(ON);
    says(&world.open[0]->wire, KEYED("X_Ring_Epoch: 9.9\r\nX_Ring_Epochs: 1\r\n"));
    struct backend *b = asked();
    ck_assert_uint_eq(http_message_field(&b->request->got, "X_Ring_Epoch").n, 0);
    ck_assert_uint_eq(http_message_field(&b->request->got, "X_Ring_Epochs").n, 1);
    says(&b->wire, OK);
    one_client_end();
}
END_TEST

START_TEST(a_pool_without_the_header_passes_it_on)
{
    begin("");
    agree(5, 7);
    ck_assert_str_eq(told(KEYED("X-Ring-Epoch: 9.9\r\n")), "9.9");
    one_client_end();
}
END_TEST

/* Which server owns the key: the one that is asked first. */
static unsigned owner(void)
{
    says(&world.open[0]->wire, KEYED(""));
    struct backend *b = asked();
    unsigned server = b->server;
    says(&b->wire, OK);
    memory_fin(&b->wire); /* nothing is kept open */
    settle();
    return server;
}

START_TEST(a_further_try_is_not_agreed_on)
{
    begin(ON);
    agree(5, 7);
    unsigned first = owner();
    world.connect[first] = CONNECT_REFUSE;
    ck_assert_str_eq(told(KEYED("")), "");
    world.connect[first] = CONNECT_ACCEPT;
    ck_assert_str_eq(told(KEYED("")), "5.7");
    one_client_end();
}
END_TEST

START_TEST(an_exception_is_not_agreed_on)
{
    begin(ON);
    agree(5, 7);
    unsigned first = owner();
    for (unsigned i = 0; i < 5; i++) /* more than `fall` */
        roster_check(world.snapshot->rosters[0], first, false, "refused", time_now(), time_now());
    world.downs++;
    ck_assert_str_eq(told(KEYED("")), "");
    ck_assert_str_eq(told(GET("X-Key: another\r\n")), "5.7");
    one_client_end();
}
END_TEST

START_TEST(what_a_limit_passes_on_is_not_agreed_on)
{
    begin(ON "    max_idle_connections: 0\n    ring: {max_load: 1.01}\n");
    agree(5, 7);
    says(&world.open[0]->wire, KEYED(""));
    struct backend *busy = asked();
    ck_assert(str_eq(http_message_field(&busy->request->got, "X-Ring-Epoch"), STR("5.7")));
    world_open(1);
    settle();
    says(&world.open[1]->wire, KEYED(""));
    struct backend *other = container_of(world.backends.next, struct backend, link);
    ck_assert_uint_ne(other->server, busy->server);
    ck_assert_uint_eq(http_message_field(&other->request->got, "X-Ring-Epoch").n, 0);
    says(&other->wire, OK);
    says(&busy->wire, OK);
    memory_fin(&world.open[1]->wire);
    settle();
    one_client_end();
}
END_TEST

/* A kept connection that closes is no try: the request goes to the same server once more. */
START_TEST(a_fresh_connection_to_the_same_server_is_told_again)
{
    begin(ON);
    agree(5, 7);
    ck_assert_str_eq(told(KEYED("")), "5.7");
    says(&world.open[0]->wire, KEYED(""));
    struct backend *kept = asked();
    memory_fin(&kept->wire);
    settle();
    struct backend *fresh = asked();
    ck_assert_ptr_ne(fresh, kept);
    ck_assert_uint_eq(fresh->server, kept->server);
    struct str s = http_message_field(&fresh->request->got, "X-Ring-Epoch");
    ck_assert(str_eq(s, STR("5.7")));
    says(&fresh->wire, OK);
    one_client_end();
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("epoch");
    TCase *t = tcase_create("epoch");
    tcase_add_test(t, the_server_that_the_agreement_gives_is_told_its_number);
    tcase_add_test(t, without_an_agreement_nothing_is_told);
    tcase_add_test(t, requests_without_a_key_are_not_agreed_on);
    tcase_add_test(t, what_a_client_says_is_never_passed_on);
    tcase_add_test(t, nor_is_a_name_that_may_be_taken_for_it);
    tcase_add_test(t, a_pool_without_the_header_passes_it_on);
    tcase_add_test(t, a_further_try_is_not_agreed_on);
    tcase_add_test(t, an_exception_is_not_agreed_on);
    tcase_add_test(t, what_a_limit_passes_on_is_not_agreed_on);
    tcase_add_test(t, a_fresh_connection_to_the_same_server_is_told_again);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
