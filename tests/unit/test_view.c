/* Views as bytes: what is read, what is refused, how long they are. */
#include "cluster/view.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/splitmix.h"
#include "tests/lib/unit.h"

#define I1 "0123456789abcdef0123456789abcdef"
#define VERSION "\"epoch\":7,\"by\":\"a\",\"seq\":3"
#define SELF                                                                           \
    "\"role\":\"follower\",\"listen\":\"always\",\"accepting\":true,\"priority\":100," \
    "\"preempt\":true,\"ready\":true"
#define VIEW(rest) "{\"v\":1,\"id\":\"" I1 "\"," VERSION "," SELF "," rest "}"
#define POOL(rest) VIEW("\"pools\":{\"p\":{\"digest\":\"9f3a\"" rest "}}")
#define ASK(ask) VIEW("\"pools\":{},\"asks\":[" ask "]")

static struct view *decode(const char *text)
{
    struct error e;
    struct view *v = view_decode(str_of(text), &e);
    ck_assert_msg(v != NULL, "%s: %s", text, e.text);
    return v;
}

static char *encode(const struct view *v)
{
    struct error e;
    size_t n;
    char *text = view_encode(v, &n, &e);
    ck_assert_msg(text != NULL, "%s", e.text);
    ck_assert_uint_eq(n, strlen(text));
    return text;
}

/* ---- reading ---- */

START_TEST(all_that_a_view_can_say_is_read)
{
    struct view *v = decode(
        "{\"v\":1,\"id\":\"" I1 "\",\"epoch\":9007199254740991,\"by\":\"" I1
        "\",\"seq\":3,\"role\":"
        "\"keeper\",\"listen\":\"active\",\"accepting\":true,\"priority\":4294967295,\"preempt\":"
        "false,\"ready\":true,\"new\":{\"a\":[]},\"pools\":{\"web\":{\"digest\":\"0\",\"blind\":"
        "true},"
        "\"cache\":{\"digest\":\"9f3a\",\"names\":[\"s1\",\"b1\",\"b2\",\"b3\",\"b4\"],\"blind\":"
        "false,\"d\":[\"b1\"],\"?\":[\"s1\"],\"out\":[\"b1\"],\"except\":[\"b3\"],\"new\":1}},"
        "\"asks\":[[15,\"cache\",\"b2\",\"drain\",1795430400123],[16,\"x\",\"y\",\"failback\",0]]"
        "}");
    ck_assert_str_eq(v->id, I1);
    ck_assert_uint_eq(v->version.epoch, NUMBER_MAX);
    ck_assert_str_eq(v->version.by, I1);
    ck_assert_uint_eq(v->version.seq, 3);
    ck_assert(v->role == VIEW_KEEPER && v->listen_active && v->accepting && !v->preempt &&
              v->ready);
    ck_assert_uint_eq(v->priority, UINT32_MAX);
    ck_assert_uint_eq(v->npools, 2);
    const struct view_pool *p = view_pool_of(v, "cache");
    ck_assert_ptr_eq(p, &v->pools[0]);
    ck_assert(p->named && !p->blind);
    ck_assert_uint_eq(p->nservers, 5);
    const struct view_server *b1 = view_server_of(p, "b1"), *b2 = view_server_of(p, "b2"),
                             *b3 = view_server_of(p, "b3"), *s1 = view_server_of(p, "s1");
    ck_assert(b1->vote == VIEW_DOWN && b1->out && !b1->except);
    ck_assert(b2->vote == VIEW_UP && !b2->out && !b2->except);
    ck_assert(b3->vote == VIEW_UP && !b3->out && b3->except);
    ck_assert(s1->vote == VIEW_UNSURE);
    ck_assert_ptr_null(view_server_of(p, "b5"));
    ck_assert(view_pool_of(v, "web")->blind && !view_pool_of(v, "web")->named);
    ck_assert_ptr_null(view_pool_of(v, "mail"));
    ck_assert(view_blind(v));
    ck_assert_uint_eq(v->nasks, 2);
    ck_assert(v->asks[0].number == 15 && v->asks[0].verb == VIEW_DRAIN);
    ck_assert_uint_eq(v->asks[0].made_ms, 1795430400123);
    ck_assert_str_eq(v->asks[1].server, "y");
    view_free(v);
}
END_TEST

START_TEST(names_may_be_left_out)
{
    struct view *v = decode(POOL(",\"d\":[\"b2\"],\"out\":[\"b2\",\"b1\"]"));
    const struct view_pool *p = &v->pools[0];
    ck_assert(!p->named);
    ck_assert_uint_eq(p->nservers, 2);
    ck_assert(p->servers[0].vote == VIEW_UP && p->servers[0].out);
    ck_assert(p->servers[1].vote == VIEW_DOWN && p->servers[1].out);
    view_free(v);
    v = decode(POOL(",\"names\":[]"));
    ck_assert(v->pools[0].named);
    view_free(v);
}
END_TEST

START_TEST(nothing_was_published_at_first)
{
    struct view *v =
        decode("{\"v\":1,\"id\":\"0\",\"epoch\":0,\"by\":\"\",\"seq\":0," SELF ",\"pools\":{}}");
    ck_assert_int_eq(version_compare(&v->version, &(struct version){0}), 0);
    char *text = encode(v);
    view_free(v);
    v = decode(text);
    ck_assert_str_eq(v->version.by, "");
    view_free(v);
    free(text);
}
END_TEST

static const struct {
    const char *text, *why;
} refused[] = {
    {"", NULL},
    {"[]", "not an object"},
    {"{\"v\":2}", "v: 2, this version knows 1"},
    {VIEW("\"pools\":{}") "x", NULL},
    {"{\"v\":1,\"id\":\"\"," VERSION "," SELF ",\"pools\":{}}",
     "id: not 1 to 32 hexadecimal digits"},
    {"{\"v\":1,\"id\":\"" I1 "0\"," VERSION "," SELF ",\"pools\":{}}", NULL},
    {"{\"v\":1,\"id\":\"0\",\"epoch\":7,\"by\":\"\",\"seq\":0," SELF ",\"pools\":{}}", NULL},
    {"{\"v\":1,\"id\":\"0\",\"epoch\":7,\"seq\":0," SELF ",\"pools\":{}}",
     "by: not 1 to 32 hexadecimal digits"},
    {"{\"v\":1,\"id\":\"0\",\"epoch\":-7,\"by\":\"a\",\"seq\":0," SELF ",\"pools\":{}}", NULL},
    {"{\"v\":1,\"id\":\"0\"," VERSION ",\"role\":\"king\",\"listen\":\"always\",\"accepting\":true,"
     "\"priority\":1,\"preempt\":true,\"ready\":true,\"pools\":{}}",
     "role: not a word that is known"},
    {"{\"v\":1,\"id\":\"0\"," VERSION ",\"role\":\"alone\",\"listen\":\"\",\"accepting\":true,"
     "\"priority\":1,\"preempt\":true,\"ready\":true,\"pools\":{}}",
     NULL},
    {"{\"v\":1,\"id\":\"0\"," VERSION ",\"role\":\"alone\",\"listen\":\"always\",\"accepting\":1,"
     "\"priority\":1,\"preempt\":true,\"ready\":true,\"pools\":{}}",
     "accepting: neither true nor false"},
    {"{\"v\":1,\"id\":\"0\"," VERSION
     ",\"role\":\"alone\",\"listen\":\"always\",\"accepting\":true,"
     "\"priority\":4294967296,\"preempt\":true,\"ready\":true,\"pools\":{}}",
     NULL},
    {VIEW("\"pools\":[]"), NULL},
    {VIEW("\"asks\":[]"), "pools: not an object of at most 4096 members"},
    {VIEW("\"pools\":{\"p\":{}}"), "pools: p: digest: not 1 to 32 hexadecimal digits"},
    {VIEW("\"pools\":{\"p\":1}"), "pools: p: not an object"},
    {VIEW("\"pools\":{\"p\\u001b\":{\"digest\":\"0\"}}"), "pools: \"p\\x1b\": not a name"},
    {VIEW("\"pools\":{\"p\xff\":{\"digest\":\"0\"}}"), NULL},
    {POOL(",\"blind\":0"), "pools: p: blind: neither true nor false"},
    {POOL(",\"names\":{}"), "pools: p: names: not a list of at most 8192"},
    {POOL(",\"names\":[\"a\",\"a\"]"), "pools: p: a: twice in a list"},
    {POOL(",\"names\":[\"a\",\"b\",\"c\",\"b\"]"), "pools: p: b: twice in a list"},
    {POOL(",\"d\":[\"a\",\"a\"]"), "pools: p: a: twice in a list"},
    {POOL(",\"d\":[\"a\"],\"?\":[\"a\"]"), "pools: p: a: in d and ?"},
    {POOL(",\"names\":[\"b\"],\"d\":[\"a\"]"), "pools: p: a: not in names"},
    {POOL(",\"names\":[\"b\"],\"out\":[\"a\"]"), "pools: p: a: not in names"},
    {POOL(",\"names\":[],\"except\":[\"a\"]"), "pools: p: a: not in names"},
    {POOL(",\"d\":[\"a b\"]"), "pools: p: d: not a name"},
    {POOL(",\"?\":[1]"), "pools: p: ?: not a name"},
    {POOL(",\"out\":[\"\\u0007\"]"), NULL},
    {POOL(",\"except\":null"), NULL},
    {VIEW("\"pools\":{},\"asks\":{}"), NULL},
    {ASK("1"), "asks: 0: not a list of 5"},
    {ASK("[1,\"p\",\"a\",\"drain\"]"), NULL},
    {ASK("[1,\"p\",\"a\",\"drown\",1]"), "asks: 0: verb: not a word that is known"},
    {ASK("[1,\"p\",\"\",\"drain\",1]"), "asks: 0: server: not a name"},
    {ASK("[0,\"p\",\"a\",\"drain\",1]"), "asks: numbers that do not ascend from 1"},
    {ASK("[2,\"p\",\"a\",\"drain\",1],[2,\"p\",\"a\",\"drain\",1]"), NULL},
    {ASK("[1,\"p\",\"a\",\"drain\",9007199254740992]"), NULL},
    {ASK("[1,\"p\",\"a\",\"drain\",1.0]"), NULL},
};

START_TEST(what_is_no_view_is_refused_as_a_whole)
{
    struct error e;
    memset(&e, 'x', sizeof e);
    ck_assert_msg(view_decode(str_of(refused[_i].text), &e) == NULL, "%s", refused[_i].text);
    for (const char *p = e.text; *p; p++)
        ck_assert_msg((unsigned char)*p >= ' ' && *p != 0x7f, "%s", refused[_i].text);
    if (refused[_i].why)
        ck_assert_str_eq(e.text, refused[_i].why);
}
END_TEST

START_TEST(sizes_are_bounded)
{
    static char text[VIEW_MAX_BYTES + 2];
    struct error e;
    size_t n = VIEW_MAX_BYTES + 1;
    memset(text, ' ', n);
    memcpy(text, VIEW("\"pools\":{}"), sizeof VIEW("\"pools\":{}") - 1);
    ck_assert_ptr_null(view_decode((struct str){text, n}, &e));
    struct view *v = view_decode((struct str){text, n - 1}, &e);
    ck_assert_ptr_nonnull(v);
    view_free(v);
    for (int many = 256; many <= 257; many++) {
        char *to =
            text + sprintf(text, "%s", VIEW("\"pools\":{},\"asks\":[[1,\"p\",\"a\",\"drain\",1]"));
        to--; /* the brace */
        for (int i = 2; i <= many; i++)
            to += sprintf(to, ",[%d,\"p\",\"a\",\"drain\",1]", i);
        sprintf(to, "]}");
        v = view_decode(str_of(text), &e);
        ck_assert_msg((v != NULL) == (many == 256), "%d: %s", many, e.text);
        view_free(v);
    }
    ck_assert_str_eq(e.text, "asks: not a list of at most 256");
}
END_TEST

/* ---- writing ---- */

START_TEST(a_view_is_written_in_its_order)
{
    struct view_server servers[] = {{"s1", VIEW_UNSURE, false, false},
                                    {"b2", VIEW_DOWN, false, true},
                                    {"b1", VIEW_DOWN, true, false}};
    struct view_pool pools[] = {{"q", "0", false, true, servers, 0},
                                {"p", "9f3a", true, false, servers, 3}};
    struct view_ask asks[] = {{1, "p", "b1", VIEW_ENABLE, 5}};
    struct view v = {.id = "1",
                     .version = {7, "a", 3},
                     .role = VIEW_ALONE,
                     .listen_active = true,
                     .ready = true,
                     .priority = 9,
                     .pools = pools,
                     .npools = 2,
                     .asks = asks,
                     .nasks = 1};
    view_sort(&v);
    char *text = encode(&v);
    ck_assert_str_eq(
        text,
        "{\"accepting\":false,\"asks\":[[1,\"p\",\"b1\",\"enable\",5]],\"by\":\"a\",\"epoch\":7,"
        "\"id\":\"1\",\"listen\":\"active\",\"pools\":{\"p\":{\"?\":[\"s1\"],\"blind\":false,"
        "\"d\":[\"b1\",\"b2\"],\"digest\":\"9f3a\",\"except\":[\"b2\"],\"names\":[\"b1\",\"b2\","
        "\"s1\"],\"out\":[\"b1\"]},\"q\":{\"blind\":true,\"digest\":\"0\"}},\"preempt\":false,"
        "\"priority\":9,\"ready\":true,\"role\":\"alone\",\"seq\":3,\"v\":1}");
    free(text);
}
END_TEST

START_TEST(what_no_reader_would_take_is_not_written)
{
    struct view_server servers[] = {{.name = "a"}, {.name = "b"}};
    struct view_pool pools[] = {{"p", "0", true, false, servers, 2},
                                {"q", "0", true, false, NULL, 0}};
    struct view_ask asks[] = {{1, "p", "a", VIEW_DRAIN, 1}, {2, "p", "a", VIEW_DRAIN, 1}};
    struct view v = {
        .id = "1", .version = {7, "a", 3}, .pools = pools, .npools = 2, .asks = asks, .nasks = 2};
    struct error e;
    size_t n;
    free(encode(&v));
#define REFUSED(change, undo)                        \
    do {                                             \
        change;                                      \
        ck_assert_ptr_null(view_encode(&v, &n, &e)); \
        ck_assert_uint_gt(strlen(e.text), 0);        \
        undo;                                        \
    } while (0)
    REFUSED(servers[0].name = "b", servers[0].name = "a");
    REFUSED(servers[0].name = "c", servers[0].name = "a");
    REFUSED(servers[0].name = "", servers[0].name = "a");
    REFUSED(pools[1].name = "p", pools[1].name = "q");
    REFUSED(pools[1].digest = "", pools[1].digest = "0");
    REFUSED(v.id[0] = 'x', v.id[0] = '1');
    REFUSED(v.version.by[0] = 0, v.version.by[0] = 'a');
    REFUSED(v.version.epoch = NUMBER_MAX + 1, v.version.epoch = 7);
    REFUSED(asks[1].number = 1, asks[1].number = 2);
    REFUSED(asks[0].pool = "/", asks[0].pool = "p");
    free(encode(&v));
}
END_TEST

START_TEST(names_are_left_out_where_readers_know_them)
{
    static const struct {
        const char *published;
        bool named;
    } cases[] = {
        {"{\"digest\":\"9f3a\",\"up\":[\"b2\",\"s1\"],\"servers\":{\"b1\":{\"phase\":\"down\"}}}",
         false},
        {"{\"digest\":\"9f3b\",\"up\":[\"b2\",\"s1\",\"b1\"]}", true},
        {"{\"digest\":\"9f3a\",\"up\":[\"b2\",\"s1\"]}", true},
        /* the keeper carries one along that another configuration has */
        {"{\"digest\":\"9f3a\",\"up\":[\"b2\",\"s1\",\"b1\",\"b3\"]}", true},
        {"{\"digest\":\"9f3a\",\"up\":[\"b2\",\"s1\",\"b3\"]}", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error e;
        char text[512];
        struct view *v = decode(POOL(",\"names\":[\"b1\",\"b2\",\"s1\"],\"d\":[\"b1\"]"));
        snprintf(text, sizeof text, "{\"v\":1,\"pools\":{\"p\":%s}}", cases[i].published);
        struct state *s = state_decode(str_of(text), &e);
        ck_assert_msg(s != NULL, "%s", e.text);
        view_leave_names(v, NULL);
        ck_assert(v->pools[0].named);
        view_leave_names(v, s);
        ck_assert_msg(v->pools[0].named == cases[i].named, "%s", text);
        char *out = encode(v);
        ck_assert_int_eq(strstr(out, "names") != NULL, cases[i].named);
        ck_assert_ptr_nonnull(strstr(out, "\"d\":[\"b1\"]"));
        free(out);
        state_free(s);
        view_free(v);
    }
}
END_TEST

/* ---- many ---- */

struct large {
    char names[20][50][256], pool_names[20][32];
    struct view_server servers[20][50];
    struct view_pool pools[20];
    struct view view;
};

static struct large *large_new(unsigned name_size)
{
    struct large *l = mem_zalloc(sizeof *l);
    l->view = (struct view){.id = I1,
                            .version = {NUMBER_MAX, I1, NUMBER_MAX},
                            .pools = l->pools,
                            .npools = 20,
                            .priority = 100};
    for (unsigned p = 0; p < 20; p++) {
        snprintf(l->pool_names[p], 32, "pool-with-a-name-of-%02u", p);
        l->pools[p] = (struct view_pool){l->pool_names[p], I1, true, false, l->servers[p], 50};
        for (unsigned i = 0; i < 50; i++) {
            memset(l->names[p][i], 'n', name_size);
            snprintf(l->names[p][i] + name_size - 3, 4, "%03u", i);
            l->servers[p][i].name = l->names[p][i];
        }
    }
    return l;
}

static size_t size_of(const struct large *l)
{
    char *text = encode(&l->view);
    size_t n = strlen(text);
    free(text);
    return n;
}

START_TEST(a_large_fleet_fits)
{
    struct large *l = large_new(30);
    ck_assert_uint_lt(size_of(l), 40000); /* with names */
    for (unsigned p = 0; p < 20; p++)
        l->pools[p].named = false;
    ck_assert_uint_lt(size_of(l), 3000); /* without */
    for (unsigned p = 0; p < 20; p++) {
        l->pools[p].named = true;
        for (unsigned i = 0; i < 50; i++) {
            l->servers[p][i].vote = VIEW_DOWN;
            l->servers[p][i].out = true;
        }
    }
    ck_assert_uint_lt(size_of(l), VIEW_MAX_BYTES); /* all is down */
    free(l);
    l = large_new(8);
    ck_assert_uint_lt(size_of(l), 15000);
    free(l);
}
END_TEST

START_TEST(a_view_that_is_too_long_goes_without_names)
{
    struct large *l = large_new(255);
    struct error e;
    size_t n;
    l->servers[3][7].vote = VIEW_DOWN;
    char *text = encode(&l->view);
    ck_assert_uint_lt(strlen(text), 4000);
    struct view *v = decode(text);
    ck_assert(!v->pools[3].named);
    ck_assert_uint_eq(v->pools[3].nservers, 1);
    view_free(v);
    free(text);
    for (unsigned p = 0; p < 20; p++)
        for (unsigned i = 0; i < 50; i++)
            l->servers[p][i].vote = VIEW_DOWN;
    ck_assert_ptr_null(view_encode(&l->view, &n, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "bytes, allowed 131072"));
    free(l);
}
END_TEST

START_TEST(what_was_written_is_read)
{
    uint64_t r = 17;
    for (int round = 0; round < 300; round++) {
        struct view_server servers[64];
        char names[64][16];
        size_t n = splitmix_next(&r) % 65;
        for (size_t i = 0; i < n; i++) {
            snprintf(names[i], sizeof names[i], "b\xc3\xa9%zu\\", (i * 37 + 11) % 64);
            servers[i] =
                (struct view_server){names[i], (enum view_vote)(splitmix_next(&r) % 3),
                                     splitmix_next(&r) % 3 == 0, splitmix_next(&r) % 3 == 0};
        }
        struct view_pool pools[] = {{"z", "f", true, true, NULL, 0},
                                    {"p", I1, true, false, servers, n}};
        struct view_ask asks[] = {{5, "p", "x", VIEW_FAILBACK, NUMBER_MAX},
                                  {NUMBER_MAX, "p", "x", VIEW_DRAIN, 0}};
        struct view v = {.id = I1,
                         .version = {1, "0", NUMBER_MAX},
                         .pools = pools,
                         .npools = 2,
                         .asks = asks,
                         .nasks = splitmix_next(&r) % 3,
                         .priority = UINT32_MAX,
                         .role = (enum view_role)(splitmix_next(&r) % 3)};
        view_sort(&v);
        char *text = encode(&v);
        struct view *again = decode(text);
        ck_assert(again->role == v.role && again->nasks == v.nasks && again->npools == 2);
        const struct view_pool *p = view_pool_of(again, "p");
        ck_assert_uint_eq(p->nservers, n);
        for (size_t i = 0; i < n; i++) {
            ck_assert_str_eq(p->servers[i].name, servers[i].name);
            ck_assert(p->servers[i].vote == servers[i].vote && p->servers[i].out == servers[i].out);
            ck_assert(p->servers[i].except == servers[i].except);
        }
        char *twice = encode(again);
        ck_assert_str_eq(text, twice);
        free(twice);
        free(text);
        view_free(again);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("view");
    TCase *t = tcase_create("view");
    tcase_add_test(t, all_that_a_view_can_say_is_read);
    tcase_add_test(t, names_may_be_left_out);
    tcase_add_test(t, nothing_was_published_at_first);
    tcase_add_loop_test(t, what_is_no_view_is_refused_as_a_whole, 0,
                        sizeof refused / sizeof *refused);
    tcase_add_test(t, sizes_are_bounded);
    tcase_add_test(t, a_view_is_written_in_its_order);
    tcase_add_test(t, what_no_reader_would_take_is_not_written);
    tcase_add_test(t, names_are_left_out_where_readers_know_them);
    tcase_add_test(t, a_large_fleet_fits);
    tcase_add_test(t, a_view_that_is_too_long_goes_without_names);
    tcase_add_test(t, what_was_written_is_read);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
