/* Scenarios as people write them: what is loaded, and every message about what is not. */
#include "bench/failover/scenario.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/unit.h"

#define HEAD "name: t\nabout: a test\nbackends: 5\nstandbys: 2\nduration: 10s\n"
#define EVENTS(lines) HEAD "events:\n" lines

static const char full[] = "name: all\n"
                           "about: everything at once\n"
                           "backends: 3\n"
                           "standbys: 1\n"
                           "keys: 500\n"
                           "rate: 1000\n"
                           "connections: 40\n"
                           "duration: 20s\n"
                           "slow: 300ms\n"
                           "events:\n"
                           "  - {at: 9s, do: start, server: b2}\n"
                           "  - {at: 3s, do: kill, servers: [b2, s1]}\n"
                           "  - {at: 4s, do: stop, server: b1}\n"
                           "  - {at: 5s, do: continue, server: b1}\n"
                           "  - {at: 6s, do: fail_checks, server: b3}\n"
                           "  - {at: 7s, do: pass_checks, server: b3}\n"
                           "  - {at: 10s, do: hang, server: b3}\n"
                           "  - {at: 11s, do: unhang, server: b3}\n"
                           "  - {at: 12s, do: status, server: b3, value: 503}\n"
                           "  - {at: 13s, do: status, server: b3, value: 200}\n"
                           "  - {at: 14s, do: terminate, server: b3}\n"
                           "  - {at: 9s, do: start, server: s1}\n";

static struct scenario *parse(const char *text)
{
    struct config_errors errors;
    struct scenario *s = scenario_parse("t.yaml", text, strlen(text), &errors);
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "unexpected: %s\n", errors.lines[i]);
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(errors.count, 0);
    config_errors_free(&errors);
    return s;
}

START_TEST(a_scenario_has_its_values)
{
    struct scenario *s = parse(full);
    ck_assert_str_eq(s->name, "all");
    ck_assert_str_eq(s->about, "everything at once");
    ck_assert_uint_eq(s->backends, 3);
    ck_assert_uint_eq(s->standbys, 1);
    ck_assert_uint_eq(s->keys, 500);
    ck_assert_uint_eq(s->rate, 1000);
    ck_assert_uint_eq(s->connections, 40);
    ck_assert_uint_eq(s->duration_ms, 20000);
    ck_assert_uint_eq(s->slow_ms, 300);
    ck_assert_uint_eq(s->nevents, 12);
    ck_assert_uint_eq(scenario_servers(s), 4);
    scenario_free(s);
}
END_TEST

START_TEST(events_are_played_in_the_order_of_their_times)
{
    static const struct {
        unsigned at_s;
        enum scenario_act act;
        unsigned server;
    } expected[] = {{3, ACT_KILL, 1},        {4, ACT_STOP, 0},        {5, ACT_CONTINUE, 0},
                    {6, ACT_FAIL_CHECKS, 2}, {7, ACT_PASS_CHECKS, 2}, {9, ACT_START, 1},
                    {9, ACT_START, 3},       {10, ACT_HANG, 2},       {11, ACT_UNHANG, 2},
                    {12, ACT_STATUS, 2},     {13, ACT_STATUS, 2},     {14, ACT_TERMINATE, 2}};
    struct scenario *s = parse(full);
    for (size_t i = 0; i < s->nevents; i++) {
        ck_assert_uint_eq(s->events[i].at_ms, expected[i].at_s * 1000);
        ck_assert_int_eq(s->events[i].act, expected[i].act);
        ck_assert_uint_eq(s->events[i].servers[0], expected[i].server);
        ck_assert_uint_eq(s->events[i].nservers, i == 0 ? 2 : 1);
    }
    ck_assert_uint_eq(s->events[0].servers[1], 3);
    ck_assert_uint_eq(s->events[9].value, 503);
    scenario_free(s);
}
END_TEST

START_TEST(what_is_left_out_has_its_default)
{
    struct scenario *s = parse("name: t\nabout: x\nbackends: 1\nduration: 2s\n"
                               "events: [{at: 1s, do: kill, server: b1}]\n");
    ck_assert_uint_eq(s->standbys, 0);
    ck_assert_uint_eq(s->keys, 1000);
    ck_assert_uint_eq(s->rate, 2000);
    ck_assert_uint_eq(s->connections, 100);
    ck_assert_uint_eq(s->slow_ms, 250);
    scenario_free(s);
}
END_TEST

START_TEST(servers_are_named_by_number)
{
    static const char *const names[] = {"b1", "b2", "b3", "s1"};
    struct scenario *s = parse(full);
    char name[SCENARIO_SERVER_NAME];
    for (unsigned i = 0; i < 4; i++)
        ck_assert_str_eq(scenario_server_name(s, i, name), names[i]);
    scenario_free(s);
}
END_TEST

START_TEST(troubles_begin_and_end_with_what_is_done)
{
    static const struct {
        unsigned before;
        enum scenario_act act;
        unsigned value, after;
    } cases[] = {
        {0, ACT_KILL, 0, TROUBLE_GONE},
        {TROUBLE_STOPPED | TROUBLE_CHECKS, ACT_KILL, 0, TROUBLE_GONE},
        {TROUBLE_HANGS, ACT_TERMINATE, 0, TROUBLE_GONE},
        {TROUBLE_GONE, ACT_START, 0, 0},
        {TROUBLE_CHECKS, ACT_STOP, 0, TROUBLE_CHECKS | TROUBLE_STOPPED},
        {TROUBLE_CHECKS | TROUBLE_STOPPED, ACT_CONTINUE, 0, TROUBLE_CHECKS},
        {0, ACT_FAIL_CHECKS, 0, TROUBLE_CHECKS},
        {TROUBLE_CHECKS | TROUBLE_HANGS, ACT_PASS_CHECKS, 0, TROUBLE_HANGS},
        {0, ACT_HANG, 0, TROUBLE_HANGS},
        {TROUBLE_HANGS, ACT_UNHANG, 0, 0},
        {0, ACT_STATUS, 500, TROUBLE_STATUS},
        {0, ACT_STATUS, 404, 0},
        {TROUBLE_STATUS, ACT_STATUS, 200, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_uint_eq(scenario_after(cases[i].before, cases[i].act, cases[i].value),
                          cases[i].after);
}
END_TEST

/* ---- what is wrong ---- */

static const struct {
    const char *text;
    const char *lines[4]; /* exactly these */
} bad[] = {
    {"", {"t.yaml:1:1: (document): the file is empty, a scenario is required"}},
    {"name: [",
     {"t.yaml:2:1: (document): not valid YAML: while parsing a flow node did not find "
      "expected node content"}},
    {"- x", {"t.yaml:1:1: (document): found a list, allowed a mapping"}},
    {"name: t\nabout: x\nduration: 1s\nevents: [{at: 1ms, do: kill, server: b1}]\n",
     {"t.yaml:1:1: backends: missing, it is required"}},
    {HEAD "events: []\n", {"t.yaml:6:9: events: the list is empty, allowed 1 or more"}},
    {HEAD "events: {}\n", {"t.yaml:6:9: events: found a mapping, allowed a list of mappings"}},
    {HEAD "speed: 3\nevents: [{at: 1s, do: kill, server: b1}]\n",
     {"t.yaml:6:1: speed: unknown key, allowed name, about, backends, standbys, keys, rate, "
      "connections, duration, slow, events"}},
    {HEAD "rate: 0\nevents: [{at: 1s, do: kill, server: b1}]\n",
     {"t.yaml:6:7: rate: 0 is out of range, allowed 1 to 100000"}},
    {EVENTS("- [x]\n"), {"t.yaml:7:3: events[0]: found a list, allowed a mapping"}},
    {EVENTS("- {at: 3, do: kill, server: b1}\n"),
     {"t.yaml:7:8: events[0].at: 3 is not a duration such as 250ms, 2s or 1m, allowed 1ms to 24h"}},
    {EVENTS("- {at: 3s, do: murder, server: b1}\n"),
     {"t.yaml:7:16: events[0].do: murder is unknown, allowed kill, terminate, start, stop, "
      "continue, fail_checks, pass_checks, hang, unhang, status"}},
    {EVENTS("- {at: 3s, do: kill, sever: b1}\n"),
     {"t.yaml:7:3: events[0].server: missing, it or servers is required",
      "t.yaml:7:22: events[0].sever: unknown key, did you mean server? allowed at, do, server, "
      "servers, value"}},
    {EVENTS("- {at: 3s, do: kill, server: b6}\n"),
     {"t.yaml:7:30: events[0].server: b6 is no server, allowed b1 to b5, s1 to s2"}},
    {EVENTS("- {at: 3s, do: kill, server: b1, servers: [b2]}\n"),
     {"t.yaml:7:43: events[0].servers: server is given too, allowed one of both"}},
    {EVENTS("- {at: 3s, do: kill, servers: b1}\n"),
     {"t.yaml:7:31: events[0].servers: found a single value, allowed a list of names of servers"}},
    {EVENTS("- {at: 3s, do: kill, servers: []}\n"),
     {"t.yaml:7:31: events[0].servers: the list is empty, allowed 1 or more"}},
    {EVENTS("- {at: 3s, do: kill, servers: [b1, s3, b1]}\n"),
     {"t.yaml:7:36: events[0].servers[1]: s3 is no server, allowed b1 to b5, s1 to s2",
      "t.yaml:7:40: events[0].servers[2]: b1 is in the list already, allowed once"}},
    {EVENTS("- {at: 3s, do: status, server: b1}\n"),
     {"t.yaml:7:3: events[0].value: missing, it is required with do: status"}},
    {EVENTS("- {at: 3s, do: kill, server: b1, value: 500}\n"),
     {"t.yaml:7:41: events[0].value: nothing takes it but do: status"}},
    {EVENTS("- {at: 3s, do: status, server: b1, value: 100}\n"),
     {"t.yaml:7:43: events[0].value: 100 is out of range, allowed 200 to 599"}},
    /* 1000 keys at 2000 a second take half a second */
    {EVENTS("- {at: 499ms, do: kill, server: b1}\n"),
     {"t.yaml:7:8: events[0].at: 499ms is too early: 1000 keys at 2000 a second are asked once "
      "after 500ms"}},
    {EVENTS("- {at: 10s, do: kill, server: b1}\n"),
     {"t.yaml:7:8: events[0].at: 10000ms is not before the end, allowed less than the duration of "
      "10000ms"}},
    {EVENTS("- {at: 3s, do: status, server: b1, value: 499}\n"),
     {"t.yaml:7:1: events: none of them hurts a server, required 1 or more"}},
    {EVENTS("- {at: 2s, do: hang, server: b2}\n- {at: 3s, do: start, server: b1}\n"),
     {"t.yaml:8:16: events[1].do: start: b1 is well by then, allowed for a server that was killed "
      "or terminated"}},
    {EVENTS("- {at: 5s, do: kill, server: b1}\n- {at: 4s, do: kill, servers: [b2, b1]}\n"),
     {"t.yaml:7:16: events[0].do: kill: b1 is gone by then, allowed for a server that is there"}},
    {EVENTS("- {at: 4s, do: stop, server: b1}\n- {at: 5s, do: fail_checks, server: b1}\n"
            "- {at: 6s, do: terminate, server: b1}\n"),
     {"t.yaml:8:16: events[1].do: fail_checks: b1 is stopped by then, allowed for a server that "
      "runs and passes its checks",
      "t.yaml:9:16: events[2].do: terminate: b1 is stopped by then, allowed for a server that "
      "runs"}},
    {EVENTS("- {at: 4s, do: hang, server: s2}\n- {at: 5s, do: hang, server: s2}\n"
            "- {at: 6s, do: pass_checks, server: s2}\n"),
     {"t.yaml:8:16: events[1].do: hang: s2 hangs by then, allowed for a server that runs and "
      "answers",
      "t.yaml:9:16: events[2].do: pass_checks: s2 hangs by then, allowed for a server that runs "
      "and fails its checks"}},
};

START_TEST(what_is_wrong_is_said_with_its_place)
{
    struct config_errors errors;
    const char *text = bad[_i].text;
    size_t n = 0;
    ck_assert_ptr_null(scenario_parse("t.yaml", text, strlen(text), &errors));
    for (; n < 4 && bad[_i].lines[n] && n < errors.count; n++)
        ck_assert_str_eq(errors.lines[n], bad[_i].lines[n]);
    for (size_t i = n; i < errors.count; i++)
        fprintf(stderr, "unexpected: %s\n", errors.lines[i]);
    ck_assert(n == errors.count && bad[_i].lines[n] == NULL);
    config_errors_free(&errors);
}
END_TEST

START_TEST(a_file_that_is_not_there_is_said)
{
    struct config_errors errors;
    ck_assert_ptr_null(scenario_load("/nonexistent.yaml", &errors));
    ck_assert_uint_eq(errors.count, 1);
    ck_assert_str_eq(errors.lines[0], "/nonexistent.yaml:1:1: (document): the file cannot be read: "
                                      "No such file or directory");
    config_errors_free(&errors);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("scenario");
    TCase *t = tcase_create("scenario");
    tcase_add_test(t, a_scenario_has_its_values);
    tcase_add_test(t, events_are_played_in_the_order_of_their_times);
    tcase_add_test(t, what_is_left_out_has_its_default);
    tcase_add_test(t, servers_are_named_by_number);
    tcase_add_test(t, troubles_begin_and_end_with_what_is_done);
    tcase_add_loop_test(t, what_is_wrong_is_said_with_its_place, 0, sizeof bad / sizeof *bad);
    tcase_add_test(t, a_file_that_is_not_there_is_said);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
