/* Configuration files: the values that are loaded, and the message for every kind of error. */
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "config/config.h"
#include "config/schema.h"
#include "tests/lib/broken_configs.h"
#include "tests/lib/unit.h"

/* Nearly every key of docs/configuration.md, with values other than the defaults where there are
 * any. */
static const char full[] =
    "workers: 3\n"
    "shutdown_timeout: 31s\n"
    "admin:\n"
    "  listen: 127.0.0.1:9900\n"
    "  write: on\n"
    "log:\n"
    "  level: warn   # a comment\n"
    "  access: off\n"
    "listeners:\n"
    "  - name: web\n"
    "    listen: 0.0.0.0:8080\n"
    "    mode: http\n"
    "    pool: cache\n"
    "    key: [header:X-Session, cookie:sid+host, source_ip]\n"
    "    max_connections: 10001\n"
    "    max_header_size: 17KiB\n"
    "    proxy_protocol: off\n"
    "    trusted_proxies: [10.0.0.0/8, \"::1\", 10.1.2.3]\n"
    "    via: off\n"
    "    timeouts: {request: 11s, idle: 61s, tunnel: 90m}\n"
    "pools:\n"
    "  - name: cache\n"
    "    ring: {vnodes: 513, hash: xxh3, max_load: 1.25}\n"
    "    health:\n"
    "      check: http\n"
    "      path: /up\n"
    "      host: b.example:80\n"
    "      expect: [200-299, \"304, 401\"]\n"
    "      interval: 2500ms\n"
    "      timeout: 1500ms\n"
    "      fall: 4\n"
    "      rise: 5\n"
    "    passive: {failures: 6, statuses: \"500, 502-599\"}\n"
    "    when_down: fail\n"
    "    failback: {mode: manual, after: 0s, max_after: 6m, ramp: 10s}\n"
    "    close_moved: never\n"
    "    retries: 0\n"
    "    retry_statuses: [502-504, 429]\n"
    "    max_idle_connections: 0\n"
    "    timeouts: {connect: 250ms, response: 32s, body: 33s, idle: 2m}\n"
    "    proxy_protocol: off\n"
    "    backends:\n"
    "      - {name: b2, address: \"[::1]:9002\"}\n"
    "      - {name: b1, address: 127.0.0.1:9001, weight: 7, max_connections: 100}\n"
    "    standbys:\n"
    "      - {name: s1, address: 127.0.0.1:9101, for: [b2, b1], max_connections: 50}\n"
    "      - {name: s2, address: 127.0.0.1:9102}\n";

static struct config *parse(const char *text)
{
    struct config_errors errors;
    struct config *c = config_parse("t.yaml", text, strlen(text), &errors);
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "unexpected: %s\n", errors.lines[i]);
    ck_assert_ptr_nonnull(c);
    ck_assert_uint_eq(errors.count, 0);
    config_errors_free(&errors);
    return c;
}

/* Expects exactly these errors (the list ends with NULL), in this order. */
static void refuse(const char *text, const char *const *lines)
{
    struct config_errors errors;
    size_t n = 0;
    ck_assert_ptr_null(config_parse("t.yaml", text, strlen(text), &errors));
    for (; lines[n] && n < errors.count; n++)
        ck_assert_str_eq(errors.lines[n], lines[n]);
    ck_assert_msg(lines[n] == NULL && n == errors.count, "%zu lines of %zu for:\n%s", errors.count,
                  n, text);
    config_errors_free(&errors);
}

/* ---- what is loaded ---- */

/* Bytes as they stand in the file between double quotes, and what they are. */
#define BYTES(source, literal)                   \
    {                                            \
        (source), (literal), sizeof(literal) - 1 \
    }
static const struct {
    const char *source, *bytes;
    size_t n;
} byte_cases[] = {
    BYTES("PING\\r\\n", "PING\r\n"),
    BYTES("\\0", "\0"),
    BYTES("a\\0b\\0", "a\0b\0"),
    BYTES("\\x12\\x00\\x7f", "\x12\0\x7f"),
    BYTES("\\x80\\xff\\xC3\\xa9", "\x80\xff\xc3\xa9"),
    BYTES("\xc3\xa9\\xe9\\u00e9\xc3\xa9\\U000000e9\\xE9\xc3\xa9",
          "\xc3\xa9\xe9\xc3\xa9\xc3\xa9\xc3\xa9\xe9\xc3\xa9"),
    BYTES("\\N\\_\\xa0\\x85", "\xc2\x85\xc2\xa0\xa0\x85"),
    BYTES("\\\\xff", "\\xff"),
    BYTES("\\\\\\xff\\\"\\xfe", "\\\xff\"\xfe"),
    BYTES("\xe2\x82\xac\\xff\xf0\x9f\x98\x80\\xfe\\L",
          "\xe2\x82\xac\xff\xf0\x9f\x98\x80\xfe\xe2\x80\xa8"),
    BYTES("a\xc2\x85 \\xff", "a \xff"), /* a line break is folded */
    BYTES("a\n  \\xff\\\n  \\xfe", "a \xff\xfe"),
};

START_TEST(escapes_stand_for_bytes)
{
    char text[512];
    snprintf(text, sizeof text,
             "# \xc3\xa9\xe2\x82\xac\r\n" POOL("health: {send: \"%s\", expect: \"%s\"}"),
             byte_cases[_i].source, byte_cases[_i].source);
    struct config *c = parse(text);
    const struct config_health *h = &c->pools[0].health;
    ck_assert_uint_eq(h->send_len, byte_cases[_i].n);
    ck_assert_uint_eq(h->expect_len, byte_cases[_i].n);
    ck_assert_int_eq(memcmp(h->send, byte_cases[_i].bytes, h->send_len), 0);
    ck_assert_int_eq(memcmp(h->expect, byte_cases[_i].bytes, h->expect_len), 0);
    config_unref(c);
}
END_TEST

/* In single quotes and without quotes a backslash is one, and an escape in any other text is still
 * the character. */
START_TEST(other_texts_are_characters)
{
    struct config *c = parse(POOL("health: {send: '\\x80\\0', expect: \\xff}"));
    ck_assert_str_eq(c->pools[0].health.send, "\\x80\\0");
    ck_assert_str_eq(c->pools[0].health.expect, "\\xff");
    config_unref(c);
    c = parse("listeners: [{name: \"caf\\xe9\", listen: \"[::1]:1\", pool: a}]\n"
              "pools: [{name: a, backends: [{name: b, address: 127.0.0.1:1}]}]\n");
    ck_assert_str_eq(c->listeners[0].name, "caf\xc3\xa9");
    config_unref(c);
}
END_TEST

START_TEST(a_check_has_its_settings)
{
    struct config *c = parse(POOL("health: {check: http, port: 65535, method: HEAD}"));
    ck_assert_uint_eq(c->pools[0].health.port, 65535);
    ck_assert(c->pools[0].health.head && config_health_reads_answer(&c->pools[0].health));
    config_unref(c);
    c = parse(POOL("health: {check: http, method: GET}"));
    ck_assert(!c->pools[0].health.head && c->pools[0].health.port == 0);
    config_unref(c);
    c = parse(POOL("health: {port: 1, send: x}"));
    ck_assert_uint_eq(c->pools[0].health.port, 1);
    ck_assert(!config_health_reads_answer(&c->pools[0].health));
    config_unref(c);
    c = parse(POOL("health: {expect: x}"));
    ck_assert(config_health_reads_answer(&c->pools[0].health));
    config_unref(c);
}
END_TEST

START_TEST(a_file_with_all_keys_has_its_values)
{
    struct config *c = parse(full);
    ck_assert_str_eq(c->file, "t.yaml");
    ck_assert_uint_eq(c->workers, 3);
    ck_assert_uint_eq(c->shutdown_timeout_ms, 31000);
    ck_assert(c->has_admin && addr_port(&c->admin_listen) == 9900);
    ck_assert_str_eq(c->admin_listen_text, "127.0.0.1:9900");
    ck_assert(c->admin_write);
    ck_assert_ptr_null(c->admin_token);
    ck_assert_int_eq(c->log_level, LOG_WARN);
    ck_assert_uint_eq(c->nlisteners, 1);
    ck_assert_uint_eq(c->npools, 1);
    config_unref(c);
}
END_TEST

START_TEST(the_examples_listener_has_its_values)
{
    struct config *c = parse(full);
    const struct config_listener *l = &c->listeners[0];
    ck_assert_str_eq(l->name, "web");
    ck_assert_str_eq(l->listen_text, "0.0.0.0:8080");
    ck_assert_uint_eq(addr_port(&l->listen), 8080);
    ck_assert_uint_eq(l->nroutes, 1);
    ck_assert_uint_eq(l->routes[0].pool, 0);
    ck_assert_ptr_eq(l->routes[0].keys, l->keys);
    ck_assert_uint_eq(l->routes[0].nkeys, l->nkeys);
    ck_assert_ptr_null(l->routes[0].host);
    ck_assert_ptr_null(l->routes[0].path);
    ck_assert_uint_eq(l->nkeys, 3);
    ck_assert_uint_eq(l->keys[0].nparts, 1);
    ck_assert_int_eq(l->keys[0].parts[0].kind, KEY_HEADER);
    ck_assert_str_eq(l->keys[0].parts[0].name, "X-Session");
    ck_assert_uint_eq(l->keys[0].parts[0].name_len, 9);
    ck_assert_uint_eq(l->keys[1].nparts, 2);
    ck_assert_int_eq(l->keys[1].parts[0].kind, KEY_COOKIE);
    ck_assert_str_eq(l->keys[1].parts[0].name, "sid");
    ck_assert_int_eq(l->keys[1].parts[1].kind, KEY_HOST);
    ck_assert_ptr_null(l->keys[1].parts[1].name);
    ck_assert_int_eq(l->keys[2].parts[0].kind, KEY_SOURCE_IP);
    ck_assert_uint_eq(l->max_connections, 10001);
    ck_assert_uint_eq(l->max_header_size, 17 * 1024);
    ck_assert_uint_eq(l->ntrusted_proxies, 2); /* one is within another */
    ck_assert(!l->via);
    ck_assert_uint_eq(l->request_timeout_ms, 11000);
    ck_assert_uint_eq(l->idle_timeout_ms, 61000);
    ck_assert_uint_eq(l->tunnel_timeout_ms, 5400000);
    config_unref(c);
}
END_TEST

START_TEST(the_examples_pool_has_its_values)
{
    struct config *c = parse(full);
    const struct config_pool *p = &c->pools[0];
    ck_assert_str_eq(p->name, "cache");
    ck_assert_uint_eq(p->vnodes, 513);
    ck_assert(p->max_load == 1.25);
    ck_assert_int_eq(p->health.check, CHECK_HTTP);
    ck_assert_str_eq(p->health.path, "/up");
    ck_assert_str_eq(p->health.host, "b.example:80");
    ck_assert_uint_eq(p->health.nexpect_status, 3);
    ck_assert_uint_eq(p->health.expect_status[0].from, 200);
    ck_assert_uint_eq(p->health.expect_status[0].to, 299);
    ck_assert_uint_eq(p->health.expect_status[1].from, 304);
    ck_assert_uint_eq(p->health.expect_status[1].to, 304);
    ck_assert_uint_eq(p->health.expect_status[2].from, 401);
    ck_assert_uint_eq(p->health.interval_ms, 2500);
    ck_assert_uint_eq(p->health.timeout_ms, 1500);
    ck_assert_uint_eq(p->health.fall, 4);
    ck_assert_uint_eq(p->health.rise, 5);
    ck_assert_uint_eq(p->passive.failures, 6);
    ck_assert_uint_eq(p->passive.nstatuses, 2);
    ck_assert_uint_eq(p->passive.statuses[1].to, 599);
    ck_assert_uint_eq(p->nretry_statuses, 2);
    ck_assert_uint_eq(p->retry_statuses[0].from, 502);
    ck_assert_uint_eq(p->retry_statuses[0].to, 504);
    ck_assert_uint_eq(p->retry_statuses[1].from, 429);
    ck_assert_int_eq(p->when_down, WHEN_DOWN_FAIL);
    ck_assert(p->failback.manual);
    ck_assert_uint_eq(p->failback.after_ms, 0);
    ck_assert_uint_eq(p->failback.max_after_ms, 360000);
    ck_assert_uint_eq(p->failback.ramp_ms, 10000);
    ck_assert_int_eq(p->close_moved, CLOSE_MOVED_NEVER);
    ck_assert_uint_eq(p->retries, 0);
    ck_assert_uint_eq(p->max_idle_connections, 0);
    ck_assert_uint_eq(p->connect_timeout_ms, 250);
    ck_assert_uint_eq(p->response_timeout_ms, 32000);
    ck_assert_uint_eq(p->body_timeout_ms, 33000);
    ck_assert_uint_eq(p->idle_timeout_ms, 120000);
    config_unref(c);
}
END_TEST

START_TEST(the_examples_servers_have_their_values)
{
    struct config *c = parse(full);
    const struct config_pool *p = &c->pools[0];
    ck_assert_uint_eq(p->nbackends, 2);
    ck_assert_str_eq(p->backends[0].name, "b1");
    ck_assert_str_eq(p->backends[0].address_text, "127.0.0.1:9001");
    ck_assert_uint_eq(p->backends[0].weight, 7);
    ck_assert_uint_eq(p->backends[0].max_connections, 100);
    ck_assert_uint_eq(p->backends[1].weight, 1);
    ck_assert_uint_eq(addr_port(&p->backends[1].address), 9002);
    ck_assert_int_eq(p->backends[1].address.sa.sa_family, AF_INET6);
    ck_assert_uint_eq(p->nstandbys, 2);
    ck_assert_str_eq(p->standbys[0].name, "s1");
    ck_assert_uint_eq(p->standbys[0].nfor, 2);
    ck_assert_uint_eq(p->standbys[0].for_backends[0], 0);
    ck_assert_uint_eq(p->standbys[0].for_backends[1], 1);
    ck_assert_uint_eq(p->standbys[0].weight, 1);
    ck_assert_uint_eq(p->standbys[0].max_connections, 50);
    ck_assert_uint_eq(p->standbys[1].nfor, 0);
    config_unref(c);
}
END_TEST

START_TEST(listeners_and_servers_may_be_on_unix_sockets)
{
    struct config *c = parse("listeners: [{name: web, listen: 'unix:/run/web', pool: p}]\n"
                             "pools: [{name: p, backends: [{name: b, address: 'unix:b.sock'}],\n"
                             "standbys: [{name: s, address: unix:/run/s}]}]\n");
    const struct config_pool *p = &c->pools[0];
    ck_assert(addr_is_unix(&c->listeners[0].listen));
    ck_assert_str_eq(c->listeners[0].listen.un.sun_path, "/run/web");
    ck_assert_str_eq(c->listeners[0].listen_text, "unix:/run/web");
    ck_assert_str_eq(p->backends[0].address.un.sun_path, "b.sock");
    ck_assert_str_eq(p->standbys[0].address_text, "unix:/run/s");
    config_unref(c);
}
END_TEST

START_TEST(servers_may_be_by_name)
{
    struct config *c = parse("listeners: [{name: web, listen: 127.0.0.1:1, pool: p}]\n"
                             "pools: [{name: p, resolve: 5s,\n"
                             "backends: [{name: b, address: 'cache-1.example:9001'}],\n"
                             "standbys: [{name: s, address: localhost:9002}]}]\n");
    const struct config_pool *p = &c->pools[0];
    ck_assert_uint_eq(p->resolve_ms, 5000);
    ck_assert_uint_eq(p->backends[0].address.len, 0);
    ck_assert_str_eq(p->backends[0].address_text, "cache-1.example:9001");
    ck_assert_uint_eq(p->standbys[0].address.len, 0);
    ck_assert_str_eq(p->standbys[0].address_text, "localhost:9002");
    config_unref(c);
}
END_TEST

START_TEST(a_minimal_listener_has_the_defaults)
{
    struct config *c = parse(LISTENERS POOLS);
    ck_assert(c->workers >= 1 && c->workers <= 256);
    ck_assert_uint_eq(c->shutdown_timeout_ms, 30000);
    ck_assert(!c->has_admin && !c->admin_write);
    ck_assert_ptr_null(c->admin_token);
    ck_assert_int_eq(c->log_level, LOG_INFO);
    const struct config_listener *l = &c->listeners[0];
    ck_assert_uint_eq(l->nkeys, 0);
    ck_assert_uint_eq(l->max_connections, 10000);
    ck_assert_uint_eq(l->max_header_size, 16384);
    ck_assert_uint_eq(l->ntrusted_proxies, 0);
    ck_assert(l->via);
    ck_assert_uint_eq(l->request_timeout_ms, 10000);
    ck_assert_uint_eq(l->idle_timeout_ms, 60000);
    ck_assert_uint_eq(l->tunnel_timeout_ms, 3600000);
    config_unref(c);
}
END_TEST

START_TEST(a_minimal_pool_has_the_defaults)
{
    struct config *c = parse(LISTENERS POOLS);
    const struct config_pool *p = &c->pools[0];
    ck_assert_uint_eq(p->vnodes, 512);
    ck_assert(p->max_load == 0);
    ck_assert_int_eq(p->health.check, CHECK_TCP);
    ck_assert(!p->health.path && !p->health.host && !p->health.send && !p->health.expect);
    ck_assert_uint_eq(p->health.nexpect_status, 0);
    ck_assert_uint_eq(p->health.interval_ms, 2000);
    ck_assert_uint_eq(p->health.timeout_ms, 1000);
    ck_assert_uint_eq(p->health.fall, 3);
    ck_assert_uint_eq(p->health.rise, 2);
    ck_assert_uint_eq(p->passive.failures, 5);
    ck_assert_uint_eq(p->passive.nstatuses, 0);
    ck_assert_int_eq(p->when_down, WHEN_DOWN_NEXT);
    ck_assert(!p->failback.manual);
    ck_assert_uint_eq(p->failback.after_ms, 5000);
    ck_assert_uint_eq(p->failback.max_after_ms, 300000);
    ck_assert_uint_eq(p->failback.ramp_ms, 0);
    ck_assert_int_eq(p->close_moved, CLOSE_MOVED_DOWN);
    ck_assert_uint_eq(p->retries, 2);
    ck_assert_uint_eq(p->nretry_statuses, 0);
    ck_assert_uint_eq(p->max_idle_connections, 4096);
    ck_assert_uint_eq(p->connect_timeout_ms, 1000);
    ck_assert_uint_eq(p->response_timeout_ms, 30000);
    ck_assert_uint_eq(p->body_timeout_ms, 60000);
    ck_assert_uint_eq(p->idle_timeout_ms, 60000);
    ck_assert_uint_eq(p->backends[0].weight, 1);
    ck_assert_uint_eq(p->backends[0].max_connections, 0);
    ck_assert_uint_eq(p->nstandbys, 0);
    config_unref(c);
}
END_TEST

START_TEST(an_http_check_has_its_own_defaults)
{
    struct config *c = parse(POOL("health: {check: http}"));
    const struct config_health *h = &c->pools[0].health;
    ck_assert_str_eq(h->path, "/healthz");
    ck_assert_uint_eq(h->nexpect_status, 1);
    ck_assert_uint_eq(h->expect_status[0].from, 200);
    ck_assert_uint_eq(h->expect_status[0].to, 399);
    config_unref(c);
}
END_TEST

START_TEST(a_tcp_check_sends_and_expects_texts)
{
    struct config *c = parse(POOL("health: {send: \"PING\\r\\n\", expect: +PONG}"));
    ck_assert_str_eq(c->pools[0].health.send, "PING\r\n");
    ck_assert_str_eq(c->pools[0].health.expect, "+PONG");
    config_unref(c);
}
END_TEST

START_TEST(statuses_can_be_none)
{
    struct config *c = parse(POOL("retry_statuses: [], passive: {statuses: []}"));
    ck_assert_uint_eq(c->pools[0].nretry_statuses, 0);
    ck_assert_uint_eq(c->pools[0].passive.nstatuses, 0);
    config_unref(c);
}
END_TEST

START_TEST(passive_checks_can_be_off)
{
    struct config *c = parse(POOL("passive: off"));
    ck_assert_uint_eq(c->pools[0].passive.failures, 0);
    config_unref(c);
}
END_TEST

START_TEST(a_longer_after_alone_takes_max_after_with_it)
{
    struct config *c = parse(POOL("failback: {after: 10m}"));
    ck_assert_uint_eq(c->pools[0].failback.after_ms, 600000);
    ck_assert_uint_eq(c->pools[0].failback.max_after_ms, 600000);
    config_unref(c);
}
END_TEST

START_TEST(trusted_proxies_are_a_set_of_networks)
{
    struct config *c = parse(LISTENER("trusted_proxies: []"));
    ck_assert_uint_eq(c->listeners[0].ntrusted_proxies, 0);
    config_unref(c);
    c = parse(LISTENER("trusted_proxies: 10.1.2.3/8"));
    ck_assert_uint_eq(c->listeners[0].ntrusted_proxies, 1);
    config_unref(c);
    c = parse(LISTENER("trusted_proxies: [unix, \"fd00::/8\", 192.0.2.1, 10.0.0.0/8]"));
    const struct config_listener *l = &c->listeners[0];
    struct addr a;
    ck_assert_uint_eq(l->ntrusted_proxies, 4);
    ck_assert(addr_parse_ip(STR("10.9.9.9"), &a));
    ck_assert(networks_contain(l->trusted_proxies, 4, &a));
    ck_assert(addr_parse_ip(STR("192.0.2.2"), &a));
    ck_assert(!networks_contain(l->trusted_proxies, 4, &a));
    config_unref(c);
    c = parse(LISTENER("trusted_proxies: [], via: on, mode: tcp")); /* as good as not given */
    config_unref(c);
}
END_TEST

START_TEST(quotes_do_not_matter)
{
    struct config *c = parse(POOL("\"retries\": \"7\", passive: 'off', ring: {max_load: '2'}"));
    ck_assert_uint_eq(c->pools[0].retries, 7);
    ck_assert_uint_eq(c->pools[0].passive.failures, 0);
    ck_assert(c->pools[0].max_load == 2);
    config_unref(c);
}
END_TEST

START_TEST(bounds_themselves_are_allowed)
{
    struct config *c = parse(
        "workers: 256\nshutdown_timeout: 1ms\n"
        "listeners: [{name: web, listen: 127.0.0.1:65535, pool: p, max_connections: 1000000,\n"
        "  max_header_size: 1MiB, timeouts: {request: 24h, idle: 86400000ms, tunnel: 24h}}]\n"
        "pools: [{name: p, ring: {vnodes: 4096, max_load: 1.01}, retries: 10,\n"
        "  max_idle_connections: 65536, health: {fall: 100, rise: 1}, passive: {failures: 100},\n"
        "  failback: {after: 0s, max_after: 1ms, ramp: 24h},\n"
        "  backends: [{name: b, address: 127.0.0.1:1, weight: 256, max_connections: 1000000}]}]\n");
    ck_assert_uint_eq(c->listeners[0].request_timeout_ms, 86400000);
    ck_assert_uint_eq(c->listeners[0].max_header_size, 1048576);
    ck_assert_uint_eq(c->pools[0].backends[0].weight, 256);
    ck_assert(c->pools[0].max_load == 1.01);
    config_unref(c);
}
END_TEST

START_TEST(slots_do_not_depend_on_the_order_of_the_file)
{
    static const char *const files[] = {
        LISTENERS
        "pools: [{name: p,\n"
        "  backends: [{name: b, address: 127.0.0.1:2}, {name: B, address: 127.0.0.1:1},\n"
        "    {name: \"\xc3\xa9\", address: 127.0.0.1:4}, {name: b0, address: 127.0.0.1:3}],\n"
        "  standbys: [{name: t, address: 127.0.0.1:6},\n"
        "    {name: s, address: 127.0.0.1:5, for: [b0, B]}]}]\n",
        LISTENERS
        "pools: [{name: p,\n"
        "  standbys: [{name: s, address: 127.0.0.1:5, for: [B, b0]},\n"
        "    {name: t, address: 127.0.0.1:6}],\n"
        "  backends: [{name: B, address: 127.0.0.1:1}, {name: b0, address: 127.0.0.1:3},\n"
        "    {name: b, address: 127.0.0.1:2}, {name: \"\xc3\xa9\", address: 127.0.0.1:4}]}]\n"};
    static const char *const names[] = {"B", "b", "b0", "\xc3\xa9"};
    for (size_t f = 0; f < 2; f++) {
        struct config *c = parse(files[f]);
        const struct config_pool *p = &c->pools[0];
        ck_assert_uint_eq(p->nbackends, 4);
        for (unsigned i = 0; i < 4; i++) {
            ck_assert_str_eq(p->backends[i].name, names[i]);
            ck_assert_uint_eq(addr_port(&p->backends[i].address), i + 1);
        }
        ck_assert_str_eq(p->standbys[0].name, "s");
        ck_assert_uint_eq(p->standbys[0].nfor, 2);
        ck_assert_uint_eq(p->standbys[0].for_backends[0], 0);
        ck_assert_uint_eq(p->standbys[0].for_backends[1], 2);
        ck_assert_uint_eq(p->standbys[1].nfor, 0);
        config_unref(c);
    }
}
END_TEST

START_TEST(listeners_find_their_pools_by_name)
{
    struct config *c = parse("listeners:\n"
                             "  - {name: x, listen: 127.0.0.1:1, pool: q}\n"
                             "  - {name: y, listen: 127.0.0.1:2, pool: p}\n"
                             "  - {name: z, listen: 127.0.0.1:3, pool: q}\n"
                             "pools:\n"
                             "  - &p {name: q, backends: [{name: a, address: 127.0.0.1:4}]}\n"
                             "  - {name: p, backends: [{name: a, address: 127.0.0.1:4}]}\n");
    ck_assert_uint_eq(c->listeners[0].routes[0].pool, 0);
    ck_assert_uint_eq(c->listeners[1].routes[0].pool, 1);
    ck_assert_uint_eq(c->listeners[2].routes[0].pool, 0);
    config_unref(c);
}
END_TEST

START_TEST(aliases_stand_for_their_anchors)
{
    struct config *c =
        parse("listeners:\n"
              "  - {name: x, listen: 127.0.0.1:1, pool: &p cache, timeouts: &t {idle: 1s}}\n"
              "  - {name: y, listen: 127.0.0.1:2, pool: *p, timeouts: *t}\n"
              "pools: [{name: *p, backends: [{name: a, address: 127.0.0.1:4}]}]\n");
    ck_assert_uint_eq(c->listeners[1].idle_timeout_ms, 1000);
    ck_assert_str_eq(c->pools[0].name, "cache");
    config_unref(c);
}
END_TEST

static const char merging[] =
    "x-pool: &pool\n"
    "  retries: 5\n"
    "  close_moved: never\n"
    "  health: &health {check: http, path: /a, fall: 7}\n"
    "x-slow: &slow\n"
    "  <<: *pool\n"
    "  resolve: 9s\n"
    "  retries: 4\n"
    "x-listed: &both [*slow, {retries: 3, max_idle_connections: 9}]\n"
    "pools:\n"
    "  - {name: own, <<: *pool, retries: 1, backends: &b [{name: b, address: 127.0.0.1:1}]}\n"
    "  - {<<: *slow, name: nested, backends: *b}\n"
    "  - {<<: [{retries: 2}, *slow], name: first, backends: *b}\n"
    "  - {<<: *both, name: listed, backends: *b}\n"
    "  - {<<: [], name: none, backends: *b, health: {<<: *health, fall: 1}}\n" LISTENERS;

START_TEST(a_mapping_has_what_it_merges_and_its_own_keys_first)
{
    char text[sizeof merging + 64];
    snprintf(text, sizeof text, "%s", merging);
    memcpy(strstr(text, "pool: p}"), "pool: own}]\n", 13);
    struct config *c = parse(text);
    const struct config_pool *p = c->pools;
    ck_assert_uint_eq(c->npools, 5);
    ck_assert_uint_eq(p[0].retries, 1);
    ck_assert_int_eq(p[0].close_moved, CLOSE_MOVED_NEVER);
    ck_assert_str_eq(p[0].health.path, "/a");
    ck_assert_uint_eq(p[1].retries, 4);
    ck_assert_uint_eq(p[1].resolve_ms, 9000);
    ck_assert_int_eq(p[1].close_moved, CLOSE_MOVED_NEVER);
    ck_assert_uint_eq(p[2].retries, 2);
    ck_assert_uint_eq(p[2].resolve_ms, 9000);
    ck_assert_uint_eq(p[3].retries, 4);
    ck_assert_uint_eq(p[3].max_idle_connections, 9);
    ck_assert_uint_eq(p[4].retries, 2);
    ck_assert_uint_eq(p[4].health.fall, 1);
    ck_assert_str_eq(p[4].health.path, "/a");
    config_unref(c);
}
END_TEST

START_TEST(a_byte_order_mark_is_no_text)
{
    config_unref(parse("\xef\xbb\xbf" LISTENERS POOLS));
}
END_TEST

START_TEST(own_keys_are_taken_at_the_top_level)
{
    config_unref(parse(TOP("x-a: [1, {b: c}]\nx-b:\n\"x-c\": \"\"")));
}
END_TEST

START_TEST(when_all_down_can_be_try)
{
    struct config *c = parse(POOL("when_all_down: try"));
    ck_assert_int_eq(c->pools[0].when_all_down, WHEN_ALL_DOWN_TRY);
    config_unref(c);
    c = parse(LISTENERS POOLS);
    ck_assert_int_eq(c->pools[0].when_all_down, WHEN_ALL_DOWN_REFUSE);
    config_unref(c);
}
END_TEST

START_TEST(a_link_local_address_has_its_interface)
{
    struct config *c = parse(BACKEND("<<: {weight: 2}}, {name: b2, address: \"[fe80::1%lo]:80\""));
    const struct addr *a = &c->pools[0].backends[1].address;
    ck_assert_uint_eq(a->v6.sin6_scope_id, if_nametoindex("lo"));
    config_unref(c);
}
END_TEST

START_TEST(a_config_lives_until_its_last_reference)
{
    struct config *c = parse(LISTENERS POOLS);
    ck_assert_ptr_eq(config_ref(c), c);
    config_unref(c);
    ck_assert_str_eq(c->pools[0].name, "p");
    config_unref(c);
    config_unref(NULL);
}
END_TEST

/* ---- what is refused ---- */

START_TEST(each_mistake_has_its_message)
{
    refuse(broken_configs[_i].text, broken_configs[_i].lines);
}
END_TEST

static void append(struct buffer *b, const char *text)
{
    ck_assert(buffer_append(b, text, strlen(text)));
}

/* A file with one pool of n backends and m standbys; `fields` is added to each backend. */
static char *make_pool(unsigned n, unsigned m, const char *fields)
{
    struct buffer b = {0};
    char line[128];
    append(&b, LISTENERS "pools: [{name: p, ring: {vnodes: 4096}, backends: [\n");
    for (unsigned i = 0; i < n + m; i++) {
        if (i == n)
            append(&b, "], standbys: [\n");
        snprintf(line, sizeof line, "{name: s%u, address: 127.0.0.1:%u%s},\n", i, i % 60000 + 1,
                 i < n ? fields : "");
        append(&b, line);
    }
    append(&b, "]}]\n");
    ck_assert(buffer_append(&b, "", 1));
    return b.data;
}

START_TEST(a_ring_can_have_its_greatest_number_of_points)
{
    char *text = make_pool(4, 0, ", weight: 256"); /* 4 x 256 x 4096 = 4194304 */
    struct config *c = parse(text);
    ck_assert_uint_eq(c->pools[0].nbackends, 4);
    config_unref(c);
    free(text);
}
END_TEST

START_TEST(a_ring_cannot_have_more_points)
{
    static const char *const lines[] = {
        "t.yaml:2:51: pools[0].backends: 5242880 points (weights 1280 x vnodes 4096), "
        "allowed 4194304",
        NULL};
    char *text = make_pool(5, 0, ", weight: 256");
    refuse(text, lines);
    free(text);
}
END_TEST

START_TEST(a_pool_cannot_have_more_servers)
{
    static const char *const lines[] = {
        "t.yaml:1027:14: pools[0].standbys: 4097 backends and standbys in the pool, allowed 4096",
        NULL};
    char *text = make_pool(1024, 3072, "");
    struct config *c = parse(text);
    ck_assert_uint_eq(c->pools[0].nstandbys, 3072);
    config_unref(c);
    free(text);
    text = make_pool(1024, 3073, "");
    refuse(text, lines);
    free(text);
}
END_TEST

START_TEST(nested_aliases_do_not_blow_up)
{
    static const char *const lines[] = {
        "t.yaml:5:8: (document): aliases stand for more than 100000 values", NULL};
    refuse("a: &a [x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x]\n"
           "b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
           "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n"
           "d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
           "e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n",
           lines);
}
END_TEST

/* A merge stands for no more values than the aliases in it. */
START_TEST(nested_merges_do_not_blow_up)
{
    struct buffer text = {0};
    char line[256];
    static const char *const lines[] = {
        "t.yaml:64:18: (document): aliases stand for more than 100000 values", NULL};
    ck_assert(buffer_append(&text, "x-a: &a {", 9));
    for (int i = 0; i < 200; i++)
        ck_assert(buffer_append(&text, line, (size_t)sprintf(line, "%sk%d: v", i ? ", " : "", i)));
    ck_assert(buffer_append(&text, "}\n", 2));
    for (int i = 0; i < 100; i++) {
        int n = sprintf(line, "x-b%d: {<<: [*a, *a, *a, *a]}\n", i);
        ck_assert(buffer_append(&text, line, (size_t)n));
    }
    ck_assert(buffer_append(&text, "", 1));
    refuse(text.data, lines);
    buffer_release(&text);
}
END_TEST

/* Time is not quadratic in the number of keys: this would take minutes. */
START_TEST(many_keys_are_merged_quickly)
{
    enum { KEYS = 20000 };
    struct buffer text = {0};
    char line[64];
    ck_assert(buffer_append(&text, "x-a: &a\n", 8));
    for (int i = 0; i < KEYS; i++)
        ck_assert(buffer_append(&text, line, (size_t)sprintf(line, "  k%d: v\n", i)));
    ck_assert(buffer_append(&text, "x-b:\n  <<: *a\n", 14));
    for (int i = 0; i < 3 * KEYS; i++)
        ck_assert(buffer_append(&text, line, (size_t)sprintf(line, "  j%d: v\n", i)));
    ck_assert(buffer_append(&text, LISTENERS POOLS, strlen(LISTENERS POOLS) + 1));
    config_unref(parse(text.data));
    buffer_release(&text);
}
END_TEST

/* Nor in that of brackets in the line in which reading stopped. */
START_TEST(an_address_is_looked_for_quickly)
{
    enum { BRACKETS = 1 << 20 };
    static const char *const lines[] = {
        "t.yaml:1:1048584: (document): not valid YAML: while parsing a block mapping did not "
        "find expected key",
        NULL};
    char *text = malloc(BRACKETS + 32);
    ck_assert_ptr_nonnull(text);
    memcpy(text, "a: \"", 4);
    memset(text + 4, '[', BRACKETS);
    strcpy(text + 4 + BRACKETS, "]\" x: b\n");
    refuse(text, lines);
    free(text);
}
END_TEST

START_TEST(names_are_bounded)
{
    static const char format[] =
        LISTENERS "pools: [{name: p, backends: [{name: %s, address: 127.0.0.1:9001}]}]\n";
    static const char *const lines[] = {
        "t.yaml:2:37: pools[0].backends[0].name: a name of 256 bytes, allowed 1 to 255", NULL};
    char name[257] = "", text[512];
    memset(name, 'n', 255);
    snprintf(text, sizeof text, format, name);
    struct config *c = parse(text);
    ck_assert_str_eq(c->pools[0].backends[0].name, name);
    config_unref(c);
    name[255] = 'n';
    snprintf(text, sizeof text, format, name);
    refuse(text, lines);
}
END_TEST

/* ---- files ---- */

/* A temporary folder for a configuration file and a token file. */
struct scratch {
    char folder[64], config[128], token[128];
};

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void scratch_open(struct scratch *s, const char *config, const char *token)
{
    strcpy(s->folder, "/tmp/test_config.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(s->folder));
    snprintf(s->config, sizeof s->config, "%s/ringproxy.yaml", s->folder);
    snprintf(s->token, sizeof s->token, "%s/admin.token", s->folder);
    write_file(s->config, config);
    write_file(s->token, token);
}

static void scratch_close(struct scratch *s)
{
    ck_assert_int_eq(unlink(s->config), 0);
    ck_assert_int_eq(unlink(s->token), 0);
    ck_assert_int_eq(rmdir(s->folder), 0);
}

#define ADMIN TOP("admin: {listen: 0.0.0.0:9900, token_file: admin.token}")

START_TEST(the_token_is_read_from_beside_the_file_and_trimmed)
{
    struct scratch s;
    struct config_errors errors;
    scratch_open(&s, ADMIN, "\t s3cret-token= \r\n");
    struct config *c = config_load(s.config, &errors);
    ck_assert_ptr_nonnull(c);
    ck_assert_str_eq(c->admin_token, "s3cret-token=");
    ck_assert_str_eq(c->file, s.config);
    config_unref(c);
    config_errors_free(&errors);
    scratch_close(&s);
}
END_TEST

START_TEST(a_token_that_no_field_can_hold_is_refused)
{
    static const char *const tokens[] = {"", " \n", "two words\n", "a\nb", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        struct scratch s;
        struct config_errors errors;
        scratch_open(&s, ADMIN, tokens[i]);
        ck_assert_ptr_null(config_load(s.config, &errors));
        ck_assert_uint_eq(errors.count, 1);
        ck_assert_ptr_nonnull(strstr(errors.lines[0], "ringproxy.yaml:1:43: admin.token_file: "));
        ck_assert_ptr_nonnull(
            strstr(errors.lines[0],
                   "/admin.token holds no token, allowed 1 to 1024 visible ASCII characters"));
        config_errors_free(&errors);
        scratch_close(&s);
    }
}
END_TEST

static void refuse_file(const char *file, const char *line)
{
    struct config_errors errors;
    ck_assert_ptr_null(config_load(file, &errors));
    ck_assert_uint_eq(errors.count, 1);
    ck_assert_str_eq(errors.lines[0], line);
    config_errors_free(&errors);
}

START_TEST(a_file_that_cannot_be_read_is_an_error_of_the_document)
{
    refuse_file("/nonexistent/x.yaml", "/nonexistent/x.yaml:1:1: (document): the file cannot be "
                                       "read: No such file or directory");
    refuse_file("/", "/:1:1: (document): the file cannot be read: Is a directory");
    refuse_file("/dev/null",
                "/dev/null:1:1: (document): the file is empty, listeners and pools are required");
    refuse_file("/dev/zero", "/dev/zero:1:1: (document): the file is larger than 16MiB");
}
END_TEST

/* ---- mutated files ---- */

/* xorshift64*: the same mutations in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

/* Expects "t.yaml:LINE:COLUMN: PATH: text" of printable characters. */
static void check_line(const char *line)
{
    unsigned row, column;
    int n = 0;
    ck_assert_int_eq(sscanf(line, "t.yaml:%u:%u: %n", &row, &column, &n), 2);
    ck_assert(n > 0 && row >= 1 && column >= 1 && line[n] != ':' && line[n] != ' ');
    ck_assert_ptr_nonnull(strstr(line + n, ": "));
    for (; *line; line++)
        ck_assert((unsigned char)*line >= ' ' && *line != 0x7f);
}

/* Parses any text; returns 1 if it loads, 0 if it is refused with errors in the right form. */
static int check_any(const char *text, size_t len)
{
    struct config_errors errors;
    char *copy = malloc(len ? len : 1); /* of this very size, so that a read past its end is seen */
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, len);
    struct config *c = config_parse("t.yaml", copy, len, &errors);
    int loads = c != NULL;
    ck_assert(loads == (errors.count == 0));
    for (size_t i = 0; i < errors.count; i++)
        check_line(errors.lines[i]);
    config_errors_free(&errors);
    config_unref(c);
    free(copy);
    return loads;
}

/* Byte by byte: also a byte order mark and what is no part of any value. */
START_TEST(a_bound_of_moves_is_a_share)
{
    static const struct {
        const char *text;
        double max_move;
    } cases[] = {{LISTENERS POOLS, SCHEMA_NO_BOUND},
                 {"reload: {}\n" LISTENERS POOLS, SCHEMA_NO_BOUND},
                 {"reload: {max_move: off}\n" LISTENERS POOLS, SCHEMA_NO_BOUND},
                 {"reload: {max_move: 0%}\n" LISTENERS POOLS, 0},
                 {"reload: {max_move: 12.5%}\n" LISTENERS POOLS, 0.125}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config *c = parse(cases[i].text);
        ck_assert(c->max_move == cases[i].max_move);
        config_unref(c);
    }
}
END_TEST

START_TEST(a_config_keeps_its_text)
{
    const char text[] = "\xef\xbb\xbf# why\r\n" LISTENERS POOLS "...\n";
    struct config *c = parse(text);
    ck_assert_uint_eq(c->text_len, sizeof text - 1);
    ck_assert_mem_eq(c->text, text, sizeof text);
    config_unref(c);
}
END_TEST

/* The first two are known values of XXH3_128: the tag has to be the same in every version and on
 * every machine, as a script may keep it. */
START_TEST(an_etag_is_of_the_bytes_alone)
{
    char etag[CONFIG_ETAG_SIZE], other[CONFIG_ETAG_SIZE];
    config_etag_of((struct str){NULL, 0}, etag);
    ck_assert_str_eq(etag, "\"99aa06d3014798d86001c324468d497f\"");
    config_etag_of(STR("a"), etag);
    ck_assert_str_eq(etag, "\"a96faf705af16834e6c632b61e964e1f\"");
    config_etag_of(STR("a\0"), other);
    ck_assert_str_ne(etag, other);
    struct config *c = parse(LISTENERS POOLS);
    config_etag_of(str_of(LISTENERS POOLS), etag);
    ck_assert_str_eq(c->etag, etag);
    config_unref(c);
}
END_TEST

START_TEST(every_truncation_loads_or_says_why)
{
    int loads = 0;
    size_t len = strlen(full);
    for (size_t n = 0; n <= len; n++)
        loads += check_any(full, n);
    ck_assert_int_ge(loads, 1);
    ck_assert_int_lt(loads, 200);
}
END_TEST

START_TEST(flipped_bits_load_or_say_why)
{
    uint64_t state = 42;
    size_t len = strlen(full);
    int loads = 0;
    for (int i = 0; i < 2000; i++) {
        char text[sizeof full];
        memcpy(text, full, sizeof full);
        for (unsigned flips = i % 4 + 1; flips > 0; flips--) {
            uint64_t r = next_random(&state);
            text[r % len] ^= (char)(1u << (r >> 32) % 8);
        }
        loads += check_any(text, len);
    }
    ck_assert_int_ge(loads, 1); /* a digit for another */
    ck_assert_int_lt(loads, 2000);
}
END_TEST

START_TEST(doubled_and_moved_lines_load_or_say_why)
{
    uint64_t state = 7;
    size_t starts[128], lines = 0, len = strlen(full);
    for (size_t i = 0; i < len; i++)
        if (i == 0 || full[i - 1] == '\n')
            starts[lines++] = i;
    starts[lines] = len;
    for (int i = 0; i < 1000; i++) {
        char text[2 * sizeof full];
        size_t from = next_random(&state) % lines, to = next_random(&state) % lines;
        size_t n = starts[to], part = starts[from + 1] - starts[from];
        memcpy(text, full, n);
        memcpy(text + n, full + starts[from], part);
        memcpy(text + n + part, full + n, len - n);
        check_any(text, len + part);
    }
}
END_TEST

/* ---- routes ---- */

START_TEST(each_mistake_in_routes_has_its_message)
{
    struct config_errors errors;
    const size_t n = sizeof route_errors / sizeof *route_errors;
    ck_assert_ptr_null(config_parse("t.yaml", broken_routes, sizeof broken_routes - 1, &errors));
    for (size_t i = 0; i < errors.count && i < n; i++)
        ck_assert_str_eq(errors.lines[i], route_errors[i]);
    ck_assert_uint_eq(errors.count, n);
    config_errors_free(&errors);
}
END_TEST

START_TEST(routes_are_read)
{
    struct config *c =
        parse("listeners:\n"
              "  - {name: web, listen: 127.0.0.1:1, key: host, routes: [\n"
              "     {host: API.Example.com., path: /v1, methods: [GET, PURGE], pool: a, key: []},\n"
              "     {host: '*.Example.com', path: =/v1, pool: b, key: path},\n"
              "     {host: '[FE80::1]', methods: GET, pool: b},\n"
              "     {path: /, pool: b},\n"
              "     {pool: a}]}\n"
              "  - {name: web2, listen: 127.0.0.1:2, pool: b, routes: []}\n"
              "  - {name: tcp, listen: 127.0.0.1:3, mode: tcp, key: sni, routes: [\n"
              "     {sni: 'A.example', pool: b}, {pool: a, key: source_ip}]}\n"
              "pools: [{name: b, backends: [{name: b1, address: 127.0.0.1:9001}]},\n"
              "        {name: a, backends: [{name: b1, address: 127.0.0.1:9001}]}]\n");
    const struct config_listener *l = c->listeners;
    const struct config_route *r = l->routes;
    ck_assert_uint_eq(l->nroutes, 5);
    ck_assert_str_eq(r[0].host, "api.example.com");
    ck_assert_str_eq(r[0].path, "/v1");
    ck_assert(!r[0].path_exact && r[0].nmethods == 2 && r[0].pool == 1);
    ck_assert_str_eq(r[0].methods[1], "PURGE");
    ck_assert(r[0].own_keys && r[0].nkeys == 0);
    ck_assert_str_eq(r[1].host, "*.example.com");
    ck_assert_str_eq(r[1].path, "/v1");
    ck_assert(r[1].path_exact && r[1].nmethods == 0 && r[1].pool == 0 && r[1].own_keys);
    ck_assert_int_eq(r[1].keys[0].parts[0].kind, KEY_PATH);
    ck_assert_str_eq(r[2].host, "[fe80::1]");
    ck_assert(r[2].nmethods == 1 && !r[2].own_keys && r[2].keys == l->keys && r[2].nkeys == 1);
    ck_assert(r[3].host == NULL && r[4].path == NULL);
    ck_assert(l[1].nroutes == 1 && l[1].routes[0].pool == 0 && l[1].routes[0].host == NULL);
    ck_assert_str_eq(l[2].routes[0].sni, "a.example");
    ck_assert_int_eq(l[2].routes[1].keys[0].parts[0].kind, KEY_SOURCE_IP);
    config_unref(c);
}
END_TEST

/* What is before it leaves something over for each of these. */
START_TEST(a_route_that_can_match_is_no_mistake)
{
    config_unref(parse(
        "listeners:\n"
        "  - {name: web, listen: 127.0.0.1:1, routes: [\n"
        "     {host: '*.b.x', pool: p}, {host: b.x, pool: p}, {host: '*.x', pool: p},\n"
        "     {host: x, pool: p}, {path: =/a, pool: p}, {path: /a/, pool: p},\n"
        "     {path: /a, methods: [GET], pool: p}, {path: /a, methods: [GET, POST], pool: p},\n"
        "     {path: /a, pool: p}, {path: /ab, pool: p}, {path: /, pool: p}, {pool: p}]}\n" POOLS));
}
END_TEST

START_TEST(routes_are_bounded)
{
    for (unsigned n = CONFIG_MAX_ROUTES; n <= CONFIG_MAX_ROUTES + 1; n++) {
        struct buffer text = {0};
        struct config_errors errors;
        char line[64];
        ck_assert(buffer_append(&text, "listeners: [{name: a, listen: 127.0.0.1:1, routes: [", 52));
        for (unsigned i = 0; i < n; i++) {
            int len = snprintf(line, sizeof line, "{path: /%u, pool: p},", i);
            ck_assert(buffer_append(&text, line, (size_t)len));
        }
        ck_assert(buffer_append(&text, "]}]\n" POOLS, sizeof("]}]\n" POOLS) - 1));
        struct config *c = config_parse("t.yaml", text.data, buffer_len(&text), &errors);
        ck_assert((c != NULL) == (n == CONFIG_MAX_ROUTES));
        if (c == NULL)
            ck_assert_str_eq(errors.lines[0],
                             "t.yaml:1:52: listeners[0].routes: 4097 routes, allowed 1 to 4096");
        config_errors_free(&errors);
        config_unref(c);
        buffer_release(&text);
    }
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("config");
    TCase *t = tcase_create("config");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, escapes_stand_for_bytes, 0, sizeof byte_cases / sizeof *byte_cases);
    tcase_add_test(t, other_texts_are_characters);
    tcase_add_test(t, a_check_has_its_settings);
    tcase_add_test(t, a_file_with_all_keys_has_its_values);
    tcase_add_test(t, the_examples_listener_has_its_values);
    tcase_add_test(t, the_examples_pool_has_its_values);
    tcase_add_test(t, the_examples_servers_have_their_values);
    tcase_add_test(t, listeners_and_servers_may_be_on_unix_sockets);
    tcase_add_test(t, servers_may_be_by_name);
    tcase_add_test(t, a_minimal_listener_has_the_defaults);
    tcase_add_test(t, a_minimal_pool_has_the_defaults);
    tcase_add_test(t, an_http_check_has_its_own_defaults);
    tcase_add_test(t, a_tcp_check_sends_and_expects_texts);
    tcase_add_test(t, statuses_can_be_none);
    tcase_add_test(t, passive_checks_can_be_off);
    tcase_add_test(t, a_longer_after_alone_takes_max_after_with_it);
    tcase_add_test(t, trusted_proxies_are_a_set_of_networks);
    tcase_add_test(t, quotes_do_not_matter);
    tcase_add_test(t, bounds_themselves_are_allowed);
    tcase_add_test(t, slots_do_not_depend_on_the_order_of_the_file);
    tcase_add_test(t, listeners_find_their_pools_by_name);
    tcase_add_test(t, each_mistake_in_routes_has_its_message);
    tcase_add_test(t, routes_are_read);
    tcase_add_test(t, a_route_that_can_match_is_no_mistake);
    tcase_add_test(t, routes_are_bounded);
    tcase_add_test(t, aliases_stand_for_their_anchors);
    tcase_add_test(t, a_mapping_has_what_it_merges_and_its_own_keys_first);
    tcase_add_test(t, a_byte_order_mark_is_no_text);
    tcase_add_test(t, own_keys_are_taken_at_the_top_level);
    tcase_add_test(t, when_all_down_can_be_try);
    tcase_add_test(t, a_link_local_address_has_its_interface);
    tcase_add_test(t, a_config_lives_until_its_last_reference);
    tcase_add_loop_test(t, each_mistake_has_its_message, 0,
                        (int)(sizeof broken_configs / sizeof *broken_configs));
    tcase_add_test(t, a_ring_can_have_its_greatest_number_of_points);
    tcase_add_test(t, a_ring_cannot_have_more_points);
    tcase_add_test(t, a_pool_cannot_have_more_servers);
    tcase_add_test(t, nested_aliases_do_not_blow_up);
    tcase_add_test(t, nested_merges_do_not_blow_up);
    tcase_add_test(t, many_keys_are_merged_quickly);
    tcase_add_test(t, an_address_is_looked_for_quickly);
    tcase_add_test(t, names_are_bounded);
    tcase_add_test(t, the_token_is_read_from_beside_the_file_and_trimmed);
    tcase_add_test(t, a_token_that_no_field_can_hold_is_refused);
    tcase_add_test(t, a_file_that_cannot_be_read_is_an_error_of_the_document);
    tcase_add_test(t, a_bound_of_moves_is_a_share);
    tcase_add_test(t, a_config_keeps_its_text);
    tcase_add_test(t, an_etag_is_of_the_bytes_alone);
    tcase_add_test(t, every_truncation_loads_or_says_why);
    tcase_add_test(t, flipped_bits_load_or_say_why);
    tcase_add_test(t, doubled_and_moved_lines_load_or_say_why);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
