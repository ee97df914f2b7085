/* Connections that a server logs in: they are tied to one client. A worker over memory and on
 * made-up time; the oracle of tests/fuzz/world.h watches, too. */
#include <string.h>

#include "proxy/descriptors.h"
#include "proxy/generation.h"
#include "proxy/session.h"
#include "proxy/upstream.h"
#include "tests/fuzz/world.h"
#include "tests/lib/one_client.h"
#include "tests/lib/unit.h"

#define LISTENER                       \
    "listeners:\n"                     \
    "  - name: web\n"                  \
    "    listen: 127.0.0.1:1\n"        \
    "    pool: p\n"                    \
    "    key: [header:X-Key]\n"        \
    "    timeouts: {idle: 100s}\n"     \
    "pools:\n"                         \
    "  - name: p\n"                    \
    "    timeouts: {idle: 60s}\n"      \
    "    health: {fall: 1, rise: 1}\n" \
    "    max_idle_connections: 1\n"
#define SERVERS                                  \
    "    backends:\n"                            \
    "      - {name: b1, address: 127.0.0.1:1}\n" \
    "      - {name: b2, address: 127.0.0.1:2}\n" \
    "      - {name: b3, address: 127.0.0.1:3}\n"
#define LAST "      - {name: b4, address: 127.0.0.1:4}\n"

static const char configuration[] = LISTENER SERVERS LAST;

#define GET(fields) "GET / HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define KEYED(fields) GET("X-Key: k\r\n" fields)
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define ANSWER(status, fields) "HTTP/1.1 " status " S\r\nContent-Length: 0\r\n" fields "\r\n"
#define CHALLENGE ANSWER("401", "WWW-Authenticate: Negotiate\r\n")
#define CREDENTIALS "Authorization: Negotiate dG9rZW4=\r\n"

/* ---- what the peers do ---- */

static struct caller *client(unsigned place)
{
    if (world.open[place] == NULL)
        world_open(place);
    return world.open[place];
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

static void pass(uint64_t ms)
{
    time_advance(ms);
    settle();
}

/* The one whose request is not answered. */
static struct backend *asked(void)
{
    struct backend *found = NULL;
    list_foreach(it, &world.backends)
    {
        struct backend *b = container_of(it, struct backend, link);
        if (b->wire.state == MEMORY_OPEN && b->request && b->request->at == b &&
            b->request->said.state == MESSAGE_HEAD) {
            ck_assert_ptr_null(found);
            found = b;
        }
    }
    ck_assert_ptr_nonnull(found);
    return found;
}

/* A request and its answer; the backend that served it. */
static struct backend *talk(unsigned place, const char *request, const char *answer)
{
    says(&client(place)->wire, request);
    struct backend *b = asked();
    says(&b->wire, answer);
    return b;
}

static bool is_open(const struct backend *b)
{
    return b->wire.state == MEMORY_OPEN;
}

static struct client *session_of(unsigned place)
{
    struct session *s = container_of(world.open[place]->wire.conn, struct session, client.conn);
    return &s->client;
}

static unsigned ties_of(unsigned place)
{
    unsigned n = 0;
    for (const struct upstream *u = session_of(place)->tied; u; u = u->next_tied)
        n++;
    return n;
}

/* ---- who gets which connection ---- */

START_TEST(a_connection_with_a_challenge_serves_its_client_alone)
{
    static const char *const challenges[] = {
        CHALLENGE,
        ANSWER("401", "WWW-Authenticate: NTLM\r\n"),
        ANSWER("401", "www-authenticate: kERBEROS\r\n"),
        ANSWER("401", "WWW-Authenticate: Basic realm=\"a, b\", nEGOTIATE\r\n"),
        ANSWER("401", "WWW-Authenticate: Basic realm=\"x\"\r\nX: y\r\nWWW-Authenticate: NTLM\r\n"),
        ANSWER("407", "Proxy-Authenticate: NTLM\r\n"),
        ANSWER("200", "WWW-Authenticate: Negotiate b2s=\r\n"),
    };
    for (size_t i = 0; i < sizeof challenges / sizeof *challenges; i++) {
        one_client_begin(configuration);
        struct backend *a = talk(0, KEYED(""), challenges[i]);
        struct backend *b = talk(1, KEYED(""), OK);
        ck_assert(is_open(a) && a != b && a->server == b->server);
        ck_assert_ptr_eq(talk(0, KEYED(""), OK), a);
        ck_assert_ptr_eq(talk(1, KEYED(""), OK), b);
        one_client_end();
    }
}
END_TEST

START_TEST(a_connection_with_credentials_serves_its_client_alone)
{
    static const char *const requests[] = {
        KEYED(CREDENTIALS),
        KEYED("Authorization: ntlm dG9rZW4=\r\n"),
        KEYED("AUTHORIZATION: Kerberos dG9rZW4=\r\n"),
        KEYED("Proxy-Authorization: NTLM dG9rZW4=\r\n"),
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        one_client_begin(configuration);
        struct backend *pooled = talk(1, KEYED(""), OK);
        struct backend *a = talk(0, requests[i], OK);
        ck_assert_ptr_eq(a, pooled); /* it was nobody's */
        struct backend *b = talk(1, KEYED(""), OK);
        ck_assert(is_open(a) && a != b);
        ck_assert_ptr_eq(talk(0, KEYED(""), OK), a);
        one_client_end();
    }
}
END_TEST

START_TEST(other_schemes_tie_nothing)
{
    static const char *const requests[] = {
        KEYED("Authorization: Basic TlRMTQ==\r\n"),
        KEYED("Authorization: Bearer NTLM\r\n"),
        KEYED("Authorization: Digest realm=\"x, NTLM\"\r\n"),
        KEYED("X-Authorization: NTLM x\r\n"),
        KEYED("WWW-Authenticate: NTLM\r\n"),
    };
    static const char *const answers[] = {
        ANSWER("401", "WWW-Authenticate: Basic realm=\"NTLM\"\r\n"),
        ANSWER("401", "WWW-Authenticate: Basic realm=\"x, NTLM\", Bearer\r\n"),
        ANSWER("401", "WWW-Authenticate: NTLMv9\r\n"),
        ANSWER("200", "Authorization: NTLM x\r\n"),
    };
    one_client_begin(configuration);
    struct backend *b = talk(1, KEYED(""), OK);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        ck_assert_ptr_eq(talk(i % 2, requests[i], OK), b);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        ck_assert_ptr_eq(talk(i % 2, KEYED(""), answers[i]), b);
    one_client_end();
}
END_TEST

START_TEST(a_login_without_a_key_stays_with_its_server)
{
    one_client_begin(configuration);
    struct backend *a = talk(0, GET(""), CHALLENGE);
    for (unsigned i = 0; i < 8; i++) {
        ck_assert_ptr_eq(talk(0, i % 2 ? GET("") : GET(CREDENTIALS), OK), a);
        ck_assert_ptr_ne(talk(1, GET(""), OK), a);
    }
    one_client_end();
}
END_TEST

START_TEST(a_client_has_few_ties_and_one_to_a_server)
{
    char text[100];
    one_client_begin(configuration);
    for (unsigned i = 0; i < 60; i++) {
        snprintf(text, sizeof text, GET("X-Key: %u\r\n" CREDENTIALS), i);
        talk(0, text, OK);
    }
    ck_assert_uint_eq(world.nbackends, WORLD_SERVERS);
    ck_assert_uint_eq(ties_of(0), WORLD_SERVERS);
    ck_assert_uint_le(WORLD_SERVERS, UPSTREAM_TIES_MAX);
    one_client_end();
}
END_TEST

/* ---- how long ---- */

START_TEST(a_tied_connection_goes_with_its_client)
{
    one_client_begin(configuration);
    struct backend *a = talk(1, KEYED(CREDENTIALS), OK);
    memory_fin(&world.open[1]->wire);
    settle();
    ck_assert(!is_open(a));
    world.open[1] = NULL;
    struct backend *b = talk(1, KEYED(CREDENTIALS "Connection: close\r\n"), OK);
    ck_assert(!is_open(b)); /* the client may still linger */
    world.open[1] = NULL;
    struct backend *c = talk(1, KEYED(CREDENTIALS), OK);
    memory_reset(&world.open[1]->wire);
    settle();
    ck_assert(!is_open(c));
    one_client_end();
}
END_TEST

START_TEST(a_tied_connection_that_the_server_closes_is_forgotten)
{
    one_client_begin(configuration);
    struct backend *a = talk(0, KEYED(CREDENTIALS), OK);
    memory_fin(&a->wire);
    settle();
    ck_assert(!is_open(a));
    ck_assert_uint_eq(ties_of(0), 0);
    struct backend *b = talk(0, KEYED(""), OK);
    ck_assert_ptr_eq(talk(1, KEYED(""), OK), b); /* not tied */
    one_client_end();
}
END_TEST

START_TEST(a_tied_connection_that_breaks_before_a_byte_is_replaced)
{
    one_client_begin(configuration);
    struct backend *a = talk(0, KEYED(CREDENTIALS), OK);
    says(&client(0)->wire, KEYED(""));
    ck_assert_ptr_eq(asked(), a);
    memory_fin(&a->wire);
    settle();
    struct backend *b = asked();
    ck_assert_uint_eq(b->server, a->server);
    says(&b->wire, CHALLENGE);
    ck_assert_ptr_eq(talk(0, KEYED(CREDENTIALS), OK), b);
    ck_assert_uint_eq(server_errors(world.snapshot->pools[0]->members[b->server].server), 0);
    one_client_end();
}
END_TEST

START_TEST(a_tied_connection_is_idle_no_longer_than_others)
{
    one_client_begin(configuration);
    struct backend *a = talk(0, KEYED(CREDENTIALS), OK);
    pass(59000);
    ck_assert(is_open(a));
    pass(1000);
    ck_assert(!is_open(a));
    one_client_end();
}
END_TEST

START_TEST(tied_connections_take_no_place_of_kept_ones)
{
    one_client_begin(configuration); /* max_idle_connections: 1 */
    struct backend *a = talk(0, KEYED(CREDENTIALS), OK);
    struct backend *b = talk(1, KEYED(""), OK);
    ck_assert(is_open(a) && is_open(b) && a != b);
    ck_assert_ptr_eq(talk(0, KEYED(""), OK), a);
    ck_assert(is_open(a) && is_open(b));
    one_client_end();
}
END_TEST

START_TEST(tied_connections_give_way_when_descriptors_are_short)
{
    one_client_begin(configuration);
    struct backend *tied = talk(0, KEYED(CREDENTIALS), OK);
    client(1);
    memory_run();
    const unsigned rest = UINT32_MAX - 3; /* two clients and that connection have one each */
    ck_assert(descriptors_take(DESCRIPTORS_BACKEND, rest));
    struct backend *b = talk(1, KEYED(""), OK);
    ck_assert(is_open(b) && !is_open(tied));
    descriptors_give(rest);
    one_client_end();
}
END_TEST

static void post(enum worker_message kind, unsigned server)
{
    struct message *m = calloc(1, sizeof *m);
    m->kind = (int)kind;
    m->object = server_ref(world.snapshot->pools[0]->members[server].server);
    m->release = server_release;
    world.worker.mailbox.on_message(&world.worker.mailbox, m);
    settle();
}

START_TEST(tied_connections_end_when_their_server_goes_down_or_moves)
{
    static const enum worker_message news[] = {WORKER_SERVER_DOWN, WORKER_SERVER_MOVED};
    for (unsigned i = 0; i < 2; i++) {
        one_client_begin(configuration);
        struct backend *a = talk(0, KEYED(CREDENTIALS), OK);
        post(news[i], (a->server + 1) % WORLD_SERVERS);
        ck_assert(is_open(a));
        post(news[i], a->server);
        ck_assert(!is_open(a));
        one_client_end();
    }
}
END_TEST

static void ignore_notice(void *arg, const struct roster_notice *n)
{
}

static struct snapshot *next_generation(struct snapshot *old, const char *text)
{
    struct config_errors errors = {0};
    struct error e;
    struct config *c = config_parse("next.yaml", text, strlen(text), &errors);
    ck_assert_ptr_nonnull(c);
    config_errors_free(&errors);
    struct snapshot *s = snapshot_new(c, old, old->generation + 1, 1, ignore_notice, NULL, &e);
    config_unref(c);
    ck_assert_ptr_nonnull(s);
    return s;
}

static void take_up(struct snapshot *s)
{
    static const int has_it = -1;
    struct error e;
    struct worker_update *u = worker_update_new(s, &has_it, &e);
    ck_assert_ptr_nonnull(u);
    ck_assert(generation_take_up(&world.worker, u, &e));
    worker_update_release(u);
}

START_TEST(a_tied_connection_outlives_generations_that_have_its_server)
{
    one_client_begin(configuration);
    struct snapshot *same = next_generation(world.snapshot, configuration);
    struct snapshot *less = next_generation(same, LISTENER SERVERS);
    struct backend *tied[WORLD_SERVERS] = {NULL};
    char text[100];
    for (unsigned i = 0; i < 60; i++) {
        snprintf(text, sizeof text, GET("X-Key: %u\r\n" CREDENTIALS), i);
        struct backend *b = talk(0, text, OK);
        tied[b->server] = b;
    }
    snapshot_start(same, world.snapshot, time_now());
    take_up(same);
    settle();
    ck_assert_ptr_eq(talk(0, GET("X-Key: 7\r\n"), OK)->owner, world.open[0]);
    ck_assert_uint_eq(ties_of(0), 4);
    snapshot_start(less, same, time_now());
    take_up(less);
    settle();
    ck_assert(is_open(tied[0]) && is_open(tied[1]) && is_open(tied[2]) && !is_open(tied[3]));
    ck_assert_uint_eq(ties_of(0), 3);
    pass(60000); /* the deadlines have moved, too */
    ck_assert_uint_eq(ties_of(0), 0);
    one_client_end();
    snapshot_retire(same);
    snapshot_retire(less);
    snapshot_unref(same);
    snapshot_unref(less);
}
END_TEST

START_TEST(a_tied_connection_may_have_carried_a_proxy_head)
{
    one_client_begin(LISTENER "    proxy_protocol: v1\n" SERVERS LAST);
    world.proxy_head = true;
    struct backend *a = talk(0, KEYED(CREDENTIALS), OK);
    ck_assert_ptr_eq(talk(0, KEYED(""), OK), a);
    struct backend *b = talk(1, KEYED(""), OK);
    ck_assert(!is_open(b)); /* as ever */
    one_client_end();
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("identity");
    TCase *c = tcase_create("identity");
    log_set_level(LOG_ERROR);
    tcase_add_test(c, a_connection_with_a_challenge_serves_its_client_alone);
    tcase_add_test(c, a_connection_with_credentials_serves_its_client_alone);
    tcase_add_test(c, other_schemes_tie_nothing);
    tcase_add_test(c, a_login_without_a_key_stays_with_its_server);
    tcase_add_test(c, a_client_has_few_ties_and_one_to_a_server);
    tcase_add_test(c, a_tied_connection_goes_with_its_client);
    tcase_add_test(c, a_tied_connection_that_the_server_closes_is_forgotten);
    tcase_add_test(c, a_tied_connection_that_breaks_before_a_byte_is_replaced);
    tcase_add_test(c, a_tied_connection_is_idle_no_longer_than_others);
    tcase_add_test(c, tied_connections_take_no_place_of_kept_ones);
    tcase_add_test(c, tied_connections_give_way_when_descriptors_are_short);
    tcase_add_test(c, tied_connections_end_when_their_server_goes_down_or_moves);
    tcase_add_test(c, a_tied_connection_outlives_generations_that_have_its_server);
    tcase_add_test(c, a_tied_connection_may_have_carried_a_proxy_head);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
