/* The published state as bytes: what is read, what is refused, what goes on. */
#include "cluster/state.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/splitmix.h"
#include "tests/lib/unit.h"

#define I1 "0123456789abcdef0123456789abcdef"
#define POOLS(servers) "{\"v\":1,\"pools\":{\"p\":{\"digest\":\"9f3a\"," servers "}}}"
#define SERVER(fields) POOLS("\"servers\":{\"b\":{" fields "}}")

static struct state *decode(const char *text)
{
    struct error e;
    struct state *s = state_decode(str_of(text), &e);
    ck_assert_msg(s != NULL, "%s: %s", text, e.text);
    return s;
}

static char *encode(const struct state *s, const struct state *before)
{
    struct error e;
    size_t n;
    char *text = state_encode(s, before, &n, &e);
    ck_assert_msg(text != NULL, "%s", e.text);
    ck_assert_uint_eq(n, strlen(text));
    return text;
}

/* ---- reading ---- */

START_TEST(all_that_a_state_can_say_is_read)
{
    struct state *s = decode(
        "{\"v\":1,\"pools\":{\"web\":{\"digest\":\"0\"},\"cache\":{\"digest\":\"9f3a\",\"up\":"
        "[\"s1\",\"b5\"],\"servers\":{\"b1\":{\"phase\":\"down\",\"delay\":10000},\"b2\":{"
        "\"phase\":"
        "\"wait\",\"left\":4200,\"delay\":20000},\"b3\":{\"phase\":\"ramp\",\"from\":\"s1\","
        "\"share\":12288,\"delay\":5000,\"back\":900},\"b4\":{\"phase\":\"up\",\"drained\":true,"
        "\"asked\":1795430400123},\"b6\":{\"phase\":\"held\"}}}},\"done\":{\"" I1
        "\":[14,\"ok\"]},\"role\":{\"nodes\":{\"web1\":{\"wait\":12000,\"lost\":4000}}}}");
    ck_assert_uint_eq(s->npools, 2);
    ck_assert_str_eq(s->pools[0].name, "cache");
    const struct agreed_pool *p = state_pool(s, "cache");
    ck_assert_str_eq(p->digest, "9f3a");
    ck_assert_uint_eq(p->nservers, 7);
    ck_assert_uint_eq(state_server(p, "b5")->phase, AGREED_UP);
    ck_assert_uint_eq(state_server(p, "b1")->phase, AGREED_DOWN);
    ck_assert_uint_eq(state_server(p, "b1")->delay_ms, 10000);
    ck_assert_uint_eq(state_server(p, "b2")->phase, AGREED_WAIT);
    ck_assert_uint_eq(state_server(p, "b2")->left_ms, 4200);
    const struct agreed_server *ramp = state_server(p, "b3");
    ck_assert(ramp->phase == AGREED_RAMP && ramp->share == 12288 && ramp->returned);
    ck_assert_str_eq(ramp->from, "s1");
    ck_assert_uint_eq(ramp->back_ms, 900);
    ck_assert(state_server(p, "b4")->drained && !state_server(p, "b4")->returned);
    ck_assert_uint_eq(state_server(p, "b4")->asked_ms, 1795430400123);
    ck_assert_uint_eq(state_server(p, "b6")->phase, AGREED_HELD);
    ck_assert_ptr_null(state_server(p, "b7"));
    ck_assert_uint_eq(state_pool(s, "web")->nservers, 0);
    ck_assert_ptr_null(state_pool(s, "mail"));
    ck_assert_uint_eq(state_done_of(s, I1)->number, 14);
    ck_assert_str_eq(state_done_of(s, I1)->result, "ok");
    ck_assert_ptr_null(state_done_of(s, "0"));
    ck_assert_uint_eq(state_node_of(s, "web1")->wait_ms, 12000);
    ck_assert_ptr_null(state_node_of(s, "web2"));
    state_free(s);
}
END_TEST

/* Each says in `why` where and what; the text is the whole message. */
static const struct {
    const char *text, *why;
} refused[] = {
    {"", "not JSON, at byte 0"},
    {"{\"v\":1,\"pools\":{}", NULL},
    {"{\"v\":1,\"pools\":{}} x", NULL},
    {"[]", "not an object"},
    {"{}", "v: not a whole number from 0 to 9007199254740991"},
    {"{\"v\":2,\"pools\":{}}", "v: 2, this version knows 1"},
    {"{\"v\":\"1\",\"pools\":{}}", NULL},
    {"{\"v\":1.0,\"pools\":{}}", NULL},
    {"{\"v\":1}", "pools: not an object of at most 4096 members"},
    {"{\"v\":1,\"pools\":[]}", NULL},
    {"{\"v\":1,\"v\":1,\"pools\":{}}", "a member twice, at byte 10"},
    {"{\"v\":1,\"pools\":{\"p\":{\"digest\":\"0\"},\"p\":{\"digest\":\"0\"}}}", NULL},
    {"{\"v\":1,\"pools\":{\"a b\":{\"digest\":\"0\"}}}", "pools: \"a b\": not a name"},
    {"{\"v\":1,\"pools\":{\"a\\u001b[1m\":{\"digest\":\"0\"}}}",
     "pools: \"a\\x1b[1m\": not a name"},
    {"{\"v\":1,\"pools\":{\"a\\u0000\":{\"digest\":\"0\"}}}", NULL},
    {"{\"v\":1,\"pools\":{\"p\":{}}}", "pools: p: digest: not 1 to 32 hexadecimal digits"},
    {"{\"v\":1,\"pools\":{\"p\":{\"digest\":\"xyz\"}}}", NULL},
    {"{\"v\":1,\"pools\":{\"p\":{\"digest\":\"\"}}}", NULL},
    {"{\"v\":1,\"pools\":{\"p\":[]}}", "pools: p: not an object"},
    {POOLS("\"up\":{}"), "pools: p: up: not a list of at most 8192"},
    {POOLS("\"up\":[1]"), "pools: p: up: not a name"},
    {POOLS("\"up\":[\"\"]"), NULL},
    {POOLS("\"up\":[\"a\\u0000b\"]"), NULL},
    {POOLS("\"up\":[\"a\\\"\"]"), NULL},
    {POOLS("\"up\":[\"a/b\"]"), NULL},
    {POOLS("\"up\":[\"a\\u200bb\"]"), NULL},
    {POOLS("\"up\":[\"\\ud800\"]"), NULL},
    {POOLS("\"up\":[\"\xff\"]"), NULL},
    {POOLS("\"up\":[\"a\",\"a\"]"), "pools: p: a: a server twice"},
    {POOLS("\"up\":[\"a\"],\"servers\":{\"a\":{\"phase\":\"up\"}}"), NULL},
    {POOLS("\"servers\":[]"), NULL},
    {POOLS("\"servers\":{\"b\":1}"), "pools: p: servers: b: not an object"},
    {SERVER(""), "pools: p: servers: b: phase: not a word that is known"},
    {SERVER("\"phase\":\"sideways\""), NULL},
    {SERVER("\"phase\":\"wait\""),
     "pools: p: servers: b: left: not a whole number from 0 to 86400000"},
    {SERVER("\"phase\":\"wait\",\"left\":-1"), NULL},
    {SERVER("\"phase\":\"wait\",\"left\":86400001"), NULL},
    {SERVER("\"phase\":\"wait\",\"left\":1.5"), NULL},
    {SERVER("\"phase\":\"wait\",\"left\":\"1\""), NULL},
    {SERVER("\"phase\":\"ramp\",\"share\":1"), "pools: p: servers: b: from: not a name"},
    {SERVER("\"phase\":\"ramp\",\"from\":\"s\""), NULL},
    {SERVER("\"phase\":\"ramp\",\"from\":\"s\",\"share\":65537"), NULL},
    {SERVER("\"phase\":\"up\",\"share\":65537"), NULL},
    {SERVER("\"phase\":\"up\",\"drained\":1"),
     "pools: p: servers: b: drained: neither true nor false"},
    {SERVER("\"phase\":\"up\",\"carried\":0"), NULL},
    {SERVER("\"phase\":\"up\",\"asked\":9007199254740992"), NULL},
    {SERVER("\"phase\":\"up\",\"asked\":99999999999999999999"), NULL},
    {SERVER("\"phase\":\"up\",\"asked\":1e999"), NULL},
    {SERVER("\"phase\":\"up\",\"delay\":null"), NULL},
    {"{\"v\":1,\"pools\":{},\"done\":[]}", NULL},
    {"{\"v\":1,\"pools\":{},\"done\":{\"me\":[1,\"ok\"]}}",
     "done: an instance that is not 1 to 32 hexadecimal digits"},
    {"{\"v\":1,\"pools\":{},\"done\":{\"" I1 "0\":[1,\"ok\"]}}", NULL},
    {"{\"v\":1,\"pools\":{},\"done\":{\"0\":[1]}}", "done: 0: not a list of 2"},
    {"{\"v\":1,\"pools\":{},\"done\":{\"0\":[1,2]}}", NULL},
    {"{\"v\":1,\"pools\":{},\"done\":{\"0\":[1,\"a\\nb\"]}}", NULL},
    {"{\"v\":1,\"pools\":{},\"done\":{\"0\":[1,\"\"]}}", NULL},
    {"{\"v\":1,\"pools\":{},\"role\":1}", NULL},
    {"{\"v\":1,\"pools\":{},\"role\":{\"nodes\":{\"n\":{\"wait\":1}}}}",
     "role: nodes: n: lost: not a whole number from 0 to 86400000"},
    {"{\"v\":1,\"pools\":{},\"role\":{\"nodes\":{\"n/\":{\"wait\":1,\"lost\":1}}}}", NULL},
};

START_TEST(what_is_no_state_is_refused_as_a_whole)
{
    struct error e;
    memset(&e, 'x', sizeof e);
    ck_assert_msg(state_decode(str_of(refused[_i].text), &e) == NULL, "%s", refused[_i].text);
    for (const char *p = e.text; *p; p++)
        ck_assert_msg((unsigned char)*p >= ' ' && *p != 0x7f, "%s", refused[_i].text);
    if (refused[_i].why)
        ck_assert_str_eq(e.text, refused[_i].why);
}
END_TEST

START_TEST(long_names_and_texts_are_refused)
{
    char text[1024], name[300];
    struct error e;
    for (int n = 255; n <= 256; n++) {
        memset(name, 'a', (size_t)n);
        name[n] = 0;
        snprintf(text, sizeof text, POOLS("\"up\":[\"%s\"]"), name);
        struct state *s = state_decode(str_of(text), &e);
        ck_assert_int_eq(s != NULL, n == 255);
        state_free(s);
        snprintf(text, sizeof text, "{\"v\":1,\"pools\":{},\"done\":{\"0\":[1,\"%s\"]}}", name);
        s = state_decode(str_of(text), &e);
        ck_assert_int_eq(s != NULL, n == 255);
        state_free(s);
    }
}
END_TEST

START_TEST(sizes_are_bounded)
{
    struct error e;
    static char text[STATE_MAX_BYTES + 2];
    size_t n = STATE_MAX_BYTES + 1;
    memset(text, ' ', n);
    memcpy(text, "{\"v\":1,\"pools\":{}}", 18);
    ck_assert_ptr_null(state_decode((struct str){text, n}, &e));
    ck_assert_str_eq(e.text, "1048577 bytes, allowed 1048576");
    struct state *s = state_decode((struct str){text, n - 1}, &e);
    ck_assert_ptr_nonnull(s);
    state_free(s);
    for (int many = 8192; many <= 8193; many++) {
        char *to =
            text + sprintf(text, "{\"v\":1,\"pools\":{\"p\":{\"digest\":\"0\",\"up\":[\"x\"");
        for (int i = 2; i < many; i++)
            to += sprintf(to, ",\"b%d\"", i);
        sprintf(to, "],\"servers\":{\"b\":{\"phase\":\"up\"}}}}}");
        s = state_decode(str_of(text), &e);
        ck_assert_msg((s != NULL) == (many == 8192), "%d", many);
        state_free(s);
    }
    ck_assert_str_eq(e.text, "pools: p: 8193 servers, allowed 8192");
}
END_TEST

/* Five pools of 6553 servers each, and one of 3 or 4: 32768, and one more. */
START_TEST(servers_of_all_pools_are_bounded)
{
    static char text[STATE_MAX_BYTES];
    struct error e;
    for (int last = 3; last <= 4; last++) {
        char *to = text + sprintf(text, "{\"v\":1,\"pools\":{");
        for (int p = 0; p < 6; p++) {
            to += sprintf(to, "%s\"%d\":{\"digest\":\"0\",\"up\":[\"x\"", p ? "," : "", p);
            for (int i = 1; i < (p < 5 ? 6553 : last); i++)
                to += sprintf(to, ",\"%d\"", i);
            to += sprintf(to, "]}");
        }
        sprintf(to, "}}");
        struct state *s = state_decode(str_of(text), &e);
        ck_assert_msg((s != NULL) == (last == 3), "%d: %s", last, e.text);
        state_free(s);
    }
    ck_assert_str_eq(e.text, "pools: 32769 servers together, allowed 32768");
}
END_TEST

START_TEST(members_without_a_meaning_are_left_out)
{
    struct state *s =
        decode(SERVER("\"phase\":\"down\",\"from\":\"s\",\"share\":1,\"left\":2,\"back\":3"));
    const struct agreed_server *b = &s->pools[0].servers[0];
    ck_assert(b->from == NULL && !b->returned);
    ck_assert_uint_eq(b->share + b->left_ms + b->back_ms, 0);
    char *text = encode(s, s);
    ck_assert_str_eq(text, "{\"done\":{},\"pools\":{\"p\":{\"digest\":\"9f3a\",\"servers\":{\"b\":{"
                           "\"phase\":\"down\"}}}},\"v\":1}");
    free(text);
    state_free(s);
}
END_TEST

/* ---- writing ---- */

START_TEST(a_server_is_written_as_what_there_is_to_say_of_it)
{
    static const struct {
        struct agreed_server server;
        const char *text; /* NULL: it is in `up` */
    } cases[] = {
        {{.name = "b"}, NULL},
        {{.name = "b", .delay_ms = 5000}, NULL},
        {{.name = "b", .back_ms = 5, .left_ms = 5, .share = 5, .from = "s"}, NULL},
        {{.name = "b", .returned = true, .delay_ms = 5000},
         "\"back\":0,\"delay\":5000,\"phase\":\"up\""},
        {{.name = "b", .returned = true, .back_ms = 86400000},
         "\"back\":86400000,\"phase\":\"up\""},
        {{.name = "b", .returned = true, .back_ms = 86400001, .delay_ms = 5000}, NULL},
        {{.name = "b", .drained = true}, "\"drained\":true,\"phase\":\"up\""},
        {{.name = "b", .carried = true}, "\"carried\":true,\"phase\":\"up\""},
        {{.name = "b", .asked_ms = 7}, "\"asked\":7,\"phase\":\"up\""},
        {{.name = "b", .phase = AGREED_DOWN, .delay_ms = 1, .returned = true},
         "\"delay\":1,\"phase\":\"down\""},
        {{.name = "b", .phase = AGREED_DOWN, .drained = true, .asked_ms = NUMBER_MAX},
         "\"asked\":9007199254740991,\"drained\":true,\"phase\":\"down\""},
        {{.name = "b", .phase = AGREED_WAIT}, "\"left\":0,\"phase\":\"wait\""},
        {{.name = "b", .phase = AGREED_WAIT, .left_ms = UINT64_MAX, .delay_ms = UINT64_MAX},
         "\"delay\":86400000,\"left\":86400000,\"phase\":\"wait\""},
        {{.name = "b", .phase = AGREED_HELD, .delay_ms = 1}, "\"delay\":1,\"phase\":\"held\""},
        {{.name = "b",
          .phase = AGREED_RAMP,
          .from = "s",
          .share = 65536,
          .returned = true,
          .back_ms = 1,
          .delay_ms = 2},
         "\"back\":1,\"delay\":2,\"from\":\"s\",\"phase\":\"ramp\",\"share\":65536"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct agreed_server server = cases[i].server;
        struct agreed_pool pool = {"p", "0", &server, 1};
        struct state s = {.pools = &pool, .npools = 1};
        char must[256], *text = encode(&s, NULL);
        if (cases[i].text)
            snprintf(must, sizeof must,
                     "{\"done\":{},\"pools\":{\"p\":{\"digest\":\"0\",\"servers\":{\"b\":{%s}}}},"
                     "\"v\":1}",
                     cases[i].text);
        else
            strcpy(must,
                   "{\"done\":{},\"pools\":{\"p\":{\"digest\":\"0\",\"up\":[\"b\"]}},\"v\":1}");
        ck_assert_str_eq(text, must);
        free(text);
    }
}
END_TEST

START_TEST(what_no_reader_would_take_is_not_written)
{
    struct agreed_server server = {.name = "b"};
    struct agreed_pool pool = {"p", "0", &server, 1};
    struct state_done done = {"0", 1, "ok"};
    struct state_node node = {"n", 0, 0};
    struct state s = {&pool, 1, &done, 1, &node, 1, NULL};
    struct error e;
    size_t n;
    free(encode(&s, NULL));
#define REFUSED(change, undo)                               \
    do {                                                    \
        change;                                             \
        ck_assert_ptr_null(state_encode(&s, NULL, &n, &e)); \
        ck_assert_uint_gt(strlen(e.text), 0);               \
        undo;                                               \
    } while (0)
    REFUSED(server.name = "a b", server.name = "b");
    REFUSED(server.name = "\xff", server.name = "b");
    REFUSED(server.asked_ms = NUMBER_MAX + 1, server.asked_ms = 0);
    REFUSED(server.phase = AGREED_RAMP, server.phase = AGREED_UP); /* from nowhere */
    REFUSED(pool.name = "", pool.name = "p");
    REFUSED(pool.digest = "x", pool.digest = "0");
    REFUSED(done.number = NUMBER_MAX + 1, done.number = 1);
    REFUSED(done.result = "a\nb", done.result = "ok");
    REFUSED(done.instance[0] = 'x', done.instance[0] = '0');
    REFUSED(node.node = "/", node.node = "n");
    free(encode(&s, NULL));
}
END_TEST

/* ---- what is not known ---- */

#define OLD                                                                                    \
    "{\"v\":1,\"x\":{\"a\":[1.5,null]},\"pools\":{\"gone\":{\"digest\":\"0\",\"x\":0},\"p\":{" \
    "\"digest\":\"0\",\"x\":\"pool\",\"servers\":{\"a\":{\"phase\":\"down\",\"x\":1},\"b\":{"  \
    "\"phase\":\"up\",\"x\":2},\"gone\":{\"phase\":\"up\",\"x\":3}}}},\"role\":{\"x\":4,"      \
    "\"nodes\":{"                                                                              \
    "\"n\":{\"wait\":1,\"lost\":2,\"x\":5},\"gone\":{\"wait\":1,\"lost\":2,\"x\":6}}}}"

START_TEST(what_is_not_known_goes_on_with_its_object)
{
    struct state *old = decode(OLD);
    struct agreed_server servers[] = {
        {.name = "c"}, {.name = "b", .phase = AGREED_DOWN}, {.name = "a"}};
    struct agreed_pool pools[] = {{"q", "1", NULL, 0}, {"p", "1", servers, 3}};
    struct state_node node = {"n", 7, 8};
    struct state s = {.pools = pools, .npools = 2, .nodes = &node, .nnodes = 1};
    char *text = encode(&s, old);
    ck_assert_str_eq(text, "{\"done\":{},\"pools\":{\"p\":{\"digest\":\"1\",\"servers\":{\"a\":{"
                           "\"phase\":\"up\",\"x\":1},\"b\":{\"phase\":\"down\",\"x\":2}},\"up\":["
                           "\"c\"],\"x\":\"pool\"},\"q\":{\"digest\":\"1\"}},\"role\":{\"nodes\":{"
                           "\"n\":{\"lost\":8,\"wait\":7,\"x\":5}},\"x\":4},\"v\":1,\"x\":{\"a\":["
                           "1.5,null]}}");
    free(text);
    s.nnodes = 0; /* the role has something to carry even so */
    text = encode(&s, old);
    ck_assert_ptr_nonnull(strstr(text, "\"role\":{\"nodes\":{},\"x\":4}"));
    free(text);
    state_free(old);
}
END_TEST

START_TEST(what_would_make_it_too_long_does_not_go_on)
{
    size_t n = STATE_MAX_BYTES;
    char *text = mem_zalloc(n + 1);
    size_t head = (size_t)sprintf(text, "{\"v\":1,\"pools\":{},\"x\":\"");
    memset(text + head, 'a', n - head);
    memcpy(text + n - 2, "\"}", 2);
    struct state *old = decode(text);
    struct agreed_pool pool = {"p", "0", NULL, 0};
    struct state s = {.pools = &pool, .npools = 1};
    char *out = encode(&s, old);
    ck_assert_str_eq(out, "{\"done\":{},\"pools\":{\"p\":{\"digest\":\"0\"}},\"v\":1}");
    free(out);
    state_free(old);
    free(text);
}
END_TEST

/* ---- round trips ---- */

static uint64_t below(uint64_t *r, uint64_t n)
{
    return splitmix_next(r) % n;
}

static struct agreed_server random_server(uint64_t *r, const char *name)
{
    struct agreed_server s = {.name = name, .phase = (enum agreed_phase)below(r, 5)};
    s.drained = below(r, 4) == 0;
    s.carried = below(r, 4) == 0;
    s.asked_ms = below(r, 3) ? 0 : below(r, NUMBER_MAX + 1);
    s.returned = (s.phase == AGREED_UP || s.phase == AGREED_RAMP) && below(r, 2);
    s.back_ms = s.returned ? below(r, STATE_LONGEST_MS + 1) : 0;
    if (s.phase != AGREED_UP || s.returned)
        s.delay_ms = below(r, STATE_LONGEST_MS + 1);
    s.left_ms = s.phase == AGREED_WAIT ? below(r, STATE_LONGEST_MS + 1) : 0;
    s.from = s.phase == AGREED_RAMP ? "s\\1" : NULL;
    s.share = s.phase == AGREED_RAMP ? (uint32_t)below(r, AGREED_SHARE_ALL + 1) : 0;
    return s;
}

static void must_be_same(const struct agreed_server *a, const struct agreed_server *b)
{
    ck_assert_str_eq(a->name, b->name);
    ck_assert(a->phase == b->phase && a->drained == b->drained && a->carried == b->carried);
    ck_assert_int_eq(a->returned, b->returned);
    ck_assert(a->share == b->share && a->delay_ms == b->delay_ms && a->back_ms == b->back_ms);
    ck_assert(a->left_ms == b->left_ms && a->asked_ms == b->asked_ms);
    ck_assert((a->from == NULL) == (b->from == NULL));
    ck_assert(a->from == NULL || strcmp(a->from, b->from) == 0);
}

START_TEST(what_was_written_is_read)
{
    uint64_t r = 17;
    for (int round = 0; round < 500; round++) {
        char names[64][16];
        struct agreed_server servers[64];
        size_t n = below(&r, 65);
        for (size_t i = 0; i < n; i++) {
            snprintf(names[i], sizeof names[i], "b\xc3\xa9%zu\\", (i * 37 + 11) % 64);
            servers[i] = random_server(&r, names[i]);
        }
        struct agreed_pool pools[] = {{"z", "ffff", NULL, 0}, {"p", "0123", servers, n}};
        struct state_done done[] = {{"f", NUMBER_MAX, "not ok"}, {I1, 0, "ok"}};
        struct state_node nodes[] = {{"z", STATE_LONGEST_MS, 0}, {"a", 1, STATE_LONGEST_MS}};
        struct state s = {pools, 2, done, below(&r, 3), nodes, below(&r, 3), NULL};
        char *text = encode(&s, NULL);
        struct state *again = decode(text);
        ck_assert_uint_eq(again->npools, 2);
        const struct agreed_pool *p = state_pool(again, "p");
        ck_assert_uint_eq(p->nservers, n);
        for (size_t i = 0; i < n; i++)
            must_be_same(&servers[i], state_server(p, servers[i].name));
        ck_assert_uint_eq(again->ndone, s.ndone);
        for (size_t i = 0; i < s.ndone; i++)
            ck_assert_uint_eq(state_done_of(again, done[i].instance)->number, done[i].number);
        ck_assert_uint_eq(again->nnodes, s.nnodes);
        for (size_t i = 0; i < s.nnodes; i++)
            ck_assert_uint_eq(state_node_of(again, nodes[i].node)->lost_ms, nodes[i].lost_ms);
        char *twice = encode(again, again);
        ck_assert_str_eq(twice, text);
        free(twice);
        free(text);
        state_free(again);
    }
}
END_TEST

START_TEST(any_byte_that_changes_is_read_or_refused)
{
    uint64_t r = 18;
    char text[] = OLD;
    struct error e;
    for (int round = 0; round < 20000; round++) {
        size_t at = below(&r, sizeof text - 1);
        char was = text[at];
        text[at] = (char)below(&r, 256);
        state_free(state_decode((struct str){text, below(&r, 8) ? sizeof text - 1 : at}, &e));
        text[at] = was;
    }
}
END_TEST

/* Twenty pools of fifty servers with names of 30 bytes, all of them with all there is to say. */
START_TEST(a_large_fleet_fits)
{
    struct agreed_server servers[20][50];
    struct agreed_pool pools[20];
    struct state_done done[50];
    char names[20][50][32], pool_names[20][32];
    for (unsigned p = 0; p < 20; p++) {
        snprintf(pool_names[p], 32, "pool-with-a-name-of-%02u", p);
        pools[p] = (struct agreed_pool){pool_names[p], I1, servers[p], 50};
        for (unsigned i = 0; i < 50; i++) {
            snprintf(names[p][i], 32, "server-in-a-far-away-place-%03u", i);
            servers[p][i] = (struct agreed_server){names[p][i], AGREED_RAMP, true,     true,
                                                   names[p][0], 65535,       86400000, 86400000,
                                                   0,           NUMBER_MAX,  true};
        }
    }
    for (unsigned i = 0; i < 50; i++) {
        done[i] = (struct state_done){"", NUMBER_MAX, "ok"};
        snprintf(done[i].instance, INSTANCE_SIZE, "%032x", i);
    }
    struct state s = {pools, 20, done, 50, NULL, 0, NULL};
    char *text = encode(&s, NULL);
    ck_assert_uint_lt(strlen(text), STATE_MAX_BYTES / 4);
    free(text);
    for (unsigned p = 0; p < 20; p++)
        for (unsigned i = 0; i < 50; i++)
            servers[p][i] = (struct agreed_server){.name = names[p][i]};
    text = encode(&s, NULL);
    ck_assert_uint_lt(strlen(text), 40000);
    free(text);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("state");
    TCase *t = tcase_create("state");
    tcase_add_test(t, all_that_a_state_can_say_is_read);
    tcase_add_loop_test(t, what_is_no_state_is_refused_as_a_whole, 0,
                        sizeof refused / sizeof *refused);
    tcase_add_test(t, long_names_and_texts_are_refused);
    tcase_add_test(t, sizes_are_bounded);
    tcase_add_test(t, servers_of_all_pools_are_bounded);
    tcase_add_test(t, members_without_a_meaning_are_left_out);
    tcase_add_test(t, a_server_is_written_as_what_there_is_to_say_of_it);
    tcase_add_test(t, what_no_reader_would_take_is_not_written);
    tcase_add_test(t, what_is_not_known_goes_on_with_its_object);
    tcase_add_test(t, what_would_make_it_too_long_does_not_go_on);
    tcase_add_test(t, what_was_written_is_read);
    tcase_add_test(t, any_byte_that_changes_is_read_or_refused);
    tcase_add_test(t, a_large_fleet_fits);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
