/* Files that the configuration refuses, and what it says of each.
 *
 * What for: test_config.c holds the loader to this table, config_facts.c prints it for the tests of
 * reloads. Lines are those of a file that is called t.yaml. */
#pragma once
#include <stddef.h>

/* The smallest file in two lines, and the same with one more line inside. */
#define LISTENERS "listeners: [{name: web, listen: 127.0.0.1:8080, pool: p}]\n"
#define POOLS "pools: [{name: p, backends: [{name: b1, address: 127.0.0.1:9001}]}]\n"
#define TOP(line) line "\n" LISTENERS POOLS
#define LISTENER(line) \
    "listeners: [{name: web, listen: 127.0.0.1:8080, pool: p,\n" line "\n}]\n" POOLS
#define POOL(line) \
    "pools: [{name: p, backends: [{name: b1, address: 127.0.0.1:9001}],\n" line "\n}]\n" LISTENERS
#define BACKEND(line) \
    "pools: [{name: p, backends: [{name: b1, address: 127.0.0.1:9001,\n" line "\n}]}]\n" LISTENERS

#define P10 "0123456789"
#define P100 P10 P10 P10 P10 P10 P10 P10 P10 P10 P10

static const struct broken_config {
    const char *text;
    const char *lines[9];
} broken_configs[] = {
    {"", {"t.yaml:1:1: (document): the file is empty, listeners and pools are required"}},
    {"# nothing\n",
     {"t.yaml:1:1: (document): the file is empty, listeners and pools are required"}},
    {"- a\n", {"t.yaml:1:1: (document): found a list, allowed a mapping"}},
    {"hello\n", {"t.yaml:1:1: (document): found a single value, allowed a mapping"}},
    {"{}\n",
     {"t.yaml:1:1: listeners: missing, it is required",
      "t.yaml:1:1: pools: missing, it is required"}},
    {"a: [1\nb: 2\n",
     {"t.yaml:2:2: (document): not valid YAML: while parsing a flow sequence did not find expected "
      "',' or ']'"}},
    {"a: \"\\q\"\n",
     {"t.yaml:1:5: (document): not valid YAML: while parsing a quoted scalar found unknown escape "
      "character"}},
    {"a: *x\n", {"t.yaml:1:4: (document): alias *x has no anchor before it"}},
    {"a: &x [*x]\n", {"t.yaml:1:8: (document): alias *x has no anchor before it"}},
    {"a: !!int 5\n", {"t.yaml:1:4: (document): tags are not allowed"}},
    {"<<: a\n",
     {"t.yaml:1:5: (document): << merges a mapping or a list of mappings, found a single value"}},
    {"a: &a [1]\nb: {c: {}, <<: *a}\n",
     {"t.yaml:2:16: (document): << merges a mapping or a list of mappings, found a single value as "
      "item 0"}},
    {"a: &a 1\n<<: *a\n",
     {"t.yaml:2:5: (document): << merges a mapping or a list of mappings, found a single value"}},
    {"<<: [{}, [{}]]\n",
     {"t.yaml:1:5: (document): << merges a mapping or a list of mappings, found a list as item 1"}},
    {"<<: {}\n<<: {}\n",
     {"t.yaml:2:1: (document): << given twice in a mapping, allowed once; a list merges several: "
      "[*a, *b]"}},
    {"<<: *x\n", {"t.yaml:1:5: (document): alias *x has no anchor before it"}},
    {"a: &x {<<: *x}\n", {"t.yaml:1:12: (document): alias *x has no anchor before it"}},
    {TOP("\"<<\": 1"),
     {"t.yaml:1:1: <<: unknown key, allowed workers, shutdown_timeout, admin, log, reload, "
      "listeners, pools, cluster"}},
    {"\xff\xfel\0i\0", {"t.yaml:1:1: (document): not valid YAML: UTF-16, allowed UTF-8 text"}},
    {"\xfe\xff", {"t.yaml:1:1: (document): not valid YAML: UTF-16, allowed UTF-8 text"}},
    {"\xef\xbb\xbf- a\n", {"t.yaml:1:1: (document): found a list, allowed a mapping"}},
    {"\xef\xbb\xbf# \xff",
     {"t.yaml:1:3: (document): not valid YAML: invalid leading UTF-8 octet, allowed UTF-8 text"}},
    {"\xef\xbb\xbf",
     {"t.yaml:1:1: (document): the file is empty, listeners and pools are required"}},
    {"a: [::1]:80\n",
     {"t.yaml:1:4: (document): not valid YAML: an address that begins with '[' has to be quoted: "
      "\"[::1]:80\""}},
    {"a:\n  - {b: c, d: [2001:db8::1]:80, e: f}\n",
     {"t.yaml:2:15: (document): not valid YAML: an address that begins with '[' has to be quoted: "
      "\"[2001:db8::1]:80\""}},
    {"a: [::]:80\nb: c\n",
     {"t.yaml:1:4: (document): not valid YAML: an address that begins with '[' has to be quoted: "
      "\"[::]:80\""}},
    {"a: [fe80::1%eth0]:80 # c\n",
     {"t.yaml:1:4: (document): not valid YAML: an address that begins with '[' has to be quoted: "
      "\"[fe80::1%eth0]:80\""}},
    {"\xc3\xa4: [::1]\n",
     {"t.yaml:1:4: (document): not valid YAML: an address that begins with '[' has to be quoted: "
      "\"[::1]:PORT\""}},
    {"a: [1, ::1]\n",
     {"t.yaml:1:8: (document): not valid YAML: a text that begins with ':' has to be quoted"}},
    {"a: *:80\n",
     {"t.yaml:1:4: (document): not valid YAML: a text that begins with '*' has to be quoted; all "
      "addresses of a host are 0.0.0.0:PORT or \"[::]:PORT\""}},
    {"a: &.b\n",
     {"t.yaml:1:4: (document): not valid YAML: a text that begins with '&' has to be quoted"}},
    {"a: @b\n",
     {"t.yaml:1:4: (document): not valid YAML: a text that begins with '@' has to be quoted"}},
    {"a: %b\n",
     {"t.yaml:1:4: (document): not valid YAML: a text that begins with '%' has to be quoted"}},
    {"%: b\n",
     {"t.yaml:1:1: (document): not valid YAML: a text that begins with '%' has to be quoted"}},
    {"a: {id}/x\n",
     {"t.yaml:1:8: (document): not valid YAML: a text that begins with '{' has to be quoted"}},
    {"a:\n\tb: c\n", {"t.yaml:2:1: (document): not valid YAML: a tab, allowed spaces to indent"}},
    {"? [a]\n: b\n", {"t.yaml:1:3: (document): a key must be a word, found a list"}},
    {"\"a\\0\": b\n",
     {"t.yaml:1:1: (document): a key must be a word, found a text with a NUL byte"}},
    {TOP("workers: \"1\\0\""),
     {"t.yaml:1:10: workers: found a text with a NUL byte, allowed 1 to 256"}},
    {TOP("admin: {listen: \"127.0.0.1:1\\0\"}"),
     {"t.yaml:1:17: admin.listen: found a text with a NUL byte, allowed IP:PORT or [IPV6]:PORT"}},
    {TOP("log: {level: \"info\\0\"}"),
     {"t.yaml:1:14: log.level: found a text with a NUL byte, allowed debug, info, warn, error"}},
    {POOL("passive: \"off\\0\""),
     {"t.yaml:2:10: pools[0].passive: found a text with a NUL byte, allowed off or a mapping"}},
    {POOL("health: {check: \"tcp\\0\"}"),
     {"t.yaml:2:17: pools[0].health.check: found a text with a NUL byte, allowed http, tcp, off"}},
    {POOL("health: {check: http, path: \"/\\0\"}"),
     {"t.yaml:2:29: pools[0].health.path: found a text with a NUL byte, allowed a text"}},
    {POOL("health: {check: http, expect: \"200\\0\"}"),
     {"t.yaml:2:31: pools[0].health.expect: found a text with a NUL byte, allowed statuses such as "
      "200 or 200-399"}},
    {POOL("health: {check: http, expect: [200, \"2\\0\"]}"),
     {"t.yaml:2:37: pools[0].health.expect[1]: found a text with a NUL byte, allowed statuses such "
      "as 200 or 200-399"}},
    {POOL("failback: {after: \"1s\\0\", max_after: \"1s\\0\"}"),
     {"t.yaml:2:19: pools[0].failback.after: found a text with a NUL byte, allowed 0s to 24h",
      "t.yaml:2:38: pools[0].failback.max_after: found a text with a NUL byte, allowed 1ms to "
      "24h"}},
    {"a: b\n---\nc: d\n", {"t.yaml:2:1: (document): a second document, only one is allowed"}},
    {"ok: 1\na: \xff",
     {"t.yaml:2:4: (document): not valid YAML: invalid leading UTF-8 octet, allowed UTF-8 text"}},
    {"listeners: [{routes: [{host: *.example.com}]}]\n",
     {"t.yaml:1:30: (document): not valid YAML: a text that begins with '*' has to be quoted"}},
    {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
     {"t.yaml:1:33: (document): more than 32 levels deep"}},
    {"listeners: []\npools: []\n",
     {"t.yaml:1:12: listeners: the list is empty, allowed 1 or more",
      "t.yaml:2:8: pools: the list is empty, allowed 1 or more"}},
    {"listeners: {}\npools: 5\n",
     {"t.yaml:1:12: listeners: found a mapping, allowed a list of mappings",
      "t.yaml:2:8: pools: found a single value, allowed a list of mappings"}},
    {"listeners:\npools:\n",
     {"t.yaml:1:11: listeners: found nothing, allowed a list of mappings",
      "t.yaml:2:7: pools: found nothing, allowed a list of mappings"}},
    {"listeners: [web]\npools: [{}]\n",
     {"t.yaml:1:13: listeners[0]: found a single value, allowed a mapping",
      "t.yaml:2:9: pools[0].name: missing, it is required",
      "t.yaml:2:9: pools[0].backends: missing, it is required"}},
    {TOP("workers: 0"), {"t.yaml:1:10: workers: 0 is out of range, allowed 1 to 256"}},
    {TOP("workers: 257"), {"t.yaml:1:10: workers: 257 is out of range, allowed 1 to 256"}},
    {TOP("workers: two"), {"t.yaml:1:10: workers: two is not a whole number, allowed 1 to 256"}},
    {TOP("workers: [1]"), {"t.yaml:1:10: workers: found a list, allowed 1 to 256"}},
    {TOP("workers: 08"), {"t.yaml:1:10: workers: 08 is not a whole number, allowed 1 to 256"}},
    {TOP("workers: -1"), {"t.yaml:1:10: workers: -1 is out of range, allowed 1 to 256"}},
    {TOP("workers: 99999999999999999999"),
     {"t.yaml:1:10: workers: 99999999999999999999 is out of range, allowed 1 to 256"}},
    {TOP("workers:"), {"t.yaml:1:9: workers: found nothing, allowed 1 to 256"}},
    {TOP("workers: 1.5"), {"t.yaml:1:10: workers: 1.5 is not a whole number, allowed 1 to 256"}},
    {TOP("worker: 2"),
     {"t.yaml:1:1: worker: unknown key, did you mean workers? allowed workers, shutdown_timeout, "
      "admin, log, reload, listeners, pools, cluster"}},
    {TOP("zzz: 2"),
     {"t.yaml:1:1: zzz: unknown key, allowed workers, shutdown_timeout, admin, log, reload, "
      "listeners, pools, cluster"}},
    {TOP("x-a: 1\nx-b: 2\nx-a: 3\nx-a: 3"),
     {"t.yaml:3:1: x-a: given twice, first in line 1; allowed once",
      "t.yaml:4:1: x-a: given twice, first in line 1; allowed once"}},
    {TOP("x-: 1"),
     {"t.yaml:1:1: x-: unknown key, allowed workers, shutdown_timeout, admin, log, reload, "
      "listeners, pools, cluster"}},
    {POOL("x-mine: 1"),
     {"t.yaml:2:1: pools[0].x-mine: unknown key, keys x-NAME are taken at the top level alone"}},
    /* what is merged has the place where it was written, and the path where it is used */
    {"x-pool: &pool\n  retries: 99\n  retrys: 1\n" POOL("<<: *pool"),
     {"t.yaml:2:12: pools[0].retries: 99 is out of range, allowed 0 to 10",
      "t.yaml:3:3: pools[0].retrys: unknown key, did you mean retries? allowed name, ring, health, "
      "passive, when_down, when_all_down, failback, close_moved, agree, epoch_header, retries, "
      "retry_statuses, max_idle_connections, timeouts, proxy_protocol, resolve, backends, "
      "standbys"}},
    {"x-pool: &pool {retries: 1, retries: 2}\n" POOL("<<: *pool"),
     {"t.yaml:1:28: pools[0].retries: given twice, first in line 1; allowed once"}},
    {TOP("admin: {listen: \"*:9900\"}"),
     {"t.yaml:1:17: admin.listen: *:9900 names no address; all addresses of a host are "
      "0.0.0.0:PORT "
      "or \"[::]:PORT\", allowed IP:PORT or [IPV6]:PORT"}},
    {TOP("admin: {listen: 9900}"),
     {"t.yaml:1:17: admin.listen: 9900 is a port without an address; all addresses of a host are "
      "0.0.0.0:PORT or \"[::]:PORT\", allowed IP:PORT or [IPV6]:PORT"}},
    {TOP("admin: {listen: [\"::1\"]}"),
     {"t.yaml:1:17: admin.listen: found a list, allowed IP:PORT or [IPV6]:PORT; a text that begins "
      "with '[' has to be quoted"}},
    {TOP("admin: {listen: \"[fe80::1]:80\"}"),
     {"t.yaml:1:17: admin.listen: [fe80::1]:80 is link-local and names no interface, as in "
      "\"[fe80::1%eth0]:80\", allowed IP:PORT or [IPV6]:PORT"}},
    {TOP("admin: {listen: \"[fe80::1%none]:80\"}"),
     {"t.yaml:1:17: admin.listen: [fe80::1%none]:80 names no interface of this host behind '%', "
      "allowed IP:PORT or [IPV6]:PORT"}},
    {TOP("admin: {listen: \"[::1%lo]:80\"}"),
     {"t.yaml:1:17: admin.listen: [::1%lo]:80 names an interface, which only a link-local address "
      "(fe80::/10) has, allowed IP:PORT or [IPV6]:PORT"}},
    {TOP("admin: {listen: \"fe80::1%lo:80\"}"),
     {"t.yaml:1:17: admin.listen: fe80::1%lo:80 has no brackets, an IPv6 address is written "
      "\"[IPV6]:PORT\", allowed IP:PORT or [IPV6]:PORT"}},
    {TOP("admin: {listen: \"http://127.0.0.1:80\"}"),
     {"t.yaml:1:17: admin.listen: http://127.0.0.1:80 is a URL, an address has no scheme and no "
      "path, allowed IP:PORT or [IPV6]:PORT"}},
    {BACKEND("}, {name: b2, address: /run/b2"),
     {"t.yaml:2:24: pools[0].backends[1].address: /run/b2 is a path, a Unix socket is written "
      "unix:PATH, allowed HOST:PORT, [IPV6]:PORT or unix:PATH"}},
    {POOL("name: {id}"), {"t.yaml:2:1: pools[0].name: given twice, first in line 1; allowed once"}},
    {POOL("health: {check: http, path: {id}}"),
     {"t.yaml:2:29: pools[0].health.path: found a mapping, allowed a text; a text that begins with "
      "'{' has to be quoted"}},
    {POOL("when_all_down: maybe"),
     {"t.yaml:2:16: pools[0].when_all_down: maybe is unknown, allowed refuse, try"}},
    {TOP("workers: 2\nworkers: 3"),
     {"t.yaml:2:1: workers: given twice, first in line 1; allowed once"}},
    {TOP("shutdown_timeout: 30"),
     {"t.yaml:1:19: shutdown_timeout: 30 is not a duration such as 250ms, 2s or 1m, allowed 1ms to "
      "24h"}},
    {TOP("shutdown_timeout: 0s"),
     {"t.yaml:1:19: shutdown_timeout: 0s is out of range, allowed 1ms to 24h"}},
    {TOP("shutdown_timeout: 25h"),
     {"t.yaml:1:19: shutdown_timeout: 25h is out of range, allowed 1ms to 24h"}},
    {TOP("shutdown_timeout: {a: 1s}"),
     {"t.yaml:1:19: shutdown_timeout: found a mapping, allowed 1ms to 24h"}},
    {TOP("cluster: off"), {"t.yaml:1:10: cluster: found a single value, allowed a mapping"}},
    {TOP("cluster: {}"),
     {"t.yaml:1:10: cluster.redis: missing, it is required",
      "t.yaml:1:10: cluster.name: missing, it is required"}},
    {TOP("cluster: {name: a, redis: []}"),
     {"t.yaml:1:27: cluster.redis: a list of 0, allowed 1 to 16"}},
    {TOP("cluster: {name: a, redis: [redis://h, [], 'redis://h/x', 'rediss://:secret@h']}"),
     {"t.yaml:1:39: cluster.redis[1]: found a list, allowed a URL such as redis://HOST:PORT/DB; a "
      "text that begins with '[' has to be quoted",
      "t.yaml:1:43: cluster.redis[2]: the database is not a number from 0 to 65535",
      "t.yaml:1:58: cluster.redis[3]: rediss (TLS) is not supported by this version, allowed "
      "redis://[USER:PASSWORD@]HOST[:PORT][/DB][?password_file=PATH] or "
      "unix:/PATH[?db=N&user=USER&password_file=PATH]"}},
    {TOP("cluster: {name: a, redis: 'unix:/s?password_file=/nonexistent/password'}"),
     {"t.yaml:1:27: cluster.redis: password_file: /nonexistent/password cannot be read: No such "
      "file or directory"}},
#define FLEET(line) TOP("cluster: {redis: 'redis://h', " line "}")
    {FLEET("name: 'a b'"),
     {"t.yaml:1:37: cluster.name: \"a b\" is not a name, allowed visible characters without white "
      "space, '\"' and '/'"}},
    {FLEET("name: 'a{b}', node: '#'"),
     {"t.yaml:1:37: cluster.name: a{b}: allowed are visible ASCII characters but '{', '}' and '#'",
      "t.yaml:1:51: cluster.node: #: allowed are visible ASCII characters but '{', '}' and '#'"}},
    {FLEET("name: \xc3\xa9"),
     {"t.yaml:1:37: cluster.name: \xc3\xa9: allowed are visible ASCII characters but '{', '}' and "
      "'#'"}},
    {FLEET("name: 0123456789012345678901234567890123456789012345678901234567890123x"),
     {"t.yaml:1:37: cluster.name: a name of 65 bytes, allowed 1 to 64"}},
    {FLEET("name: a, node: " P100 "01234567890123456789012345678"),
     {"t.yaml:1:46: cluster.node: a name of 129 bytes, allowed 1 to 128"}},
    {FLEET("name: a, lock_ttl: 999ms"),
     {"t.yaml:1:50: cluster.lock_ttl: 999ms is out of range, allowed 1s to 1m"}},
    {FLEET("name: a, lock_ttl: 61s"),
     {"t.yaml:1:50: cluster.lock_ttl: 61s is out of range, allowed 1s to 1m"}},
    {FLEET("name: a, listen: standby"),
     {"t.yaml:1:48: cluster.listen: standby is unknown, allowed always, active"}},
    {FLEET("name: a, priority: 1001, preempt: on"),
     {"t.yaml:1:50: cluster.priority: 1001 is out of range, allowed 0 to 1000",
      "t.yaml:1:65: cluster.preempt: on is unknown, allowed true, false"}},
    {FLEET("name: a, on_active: ip addr add, on_standby: [ip, [], '']"),
     {"t.yaml:1:51: cluster.on_active: found a single value, allowed a list: [COMMAND, ARGUMENT, "
      "...], there is no shell",
      "t.yaml:1:81: cluster.on_standby[1]: found a list, allowed a text; a text that begins with "
      "'[' has to be quoted",
      "t.yaml:1:85: cluster.on_standby[2]: found nothing, allowed a text"}},
    {FLEET("name: a, nodes: x"),
     {"t.yaml:1:40: cluster.nodes: unknown key, did you mean node? allowed redis, name, node, "
      "lock_ttl, listen, priority, preempt, on_active, on_standby"}},
    {POOL("agree: most"), {"t.yaml:2:8: pools[0].agree: most is unknown, allowed majority, all"}},
    {POOL("epoch_header: X Epoch"),
     {"t.yaml:2:15: pools[0].epoch_header: \"X Epoch\" is not the name of a field, allowed off or "
      "a name"}},
    {POOL("epoch_header: content-length"),
     {"t.yaml:2:15: pools[0].epoch_header: content-length has a meaning of its own, allowed off or "
      "another name"}},
    {POOL("epoch_header: []"),
     {"t.yaml:2:15: pools[0].epoch_header: found a list, allowed a text; a text that begins with "
      "'[' has to be quoted"}},
    {TOP("log: {level: loud}"),
     {"t.yaml:1:14: log.level: loud is unknown, allowed debug, info, warn, error"}},
    {TOP("log: {access: stdout}"),
     {"t.yaml:1:15: log.access: stdout is not supported by this version, allowed off"}},
    {TOP("log: {access: /tmp/x}"),
     {"t.yaml:1:15: log.access: /tmp/x is not supported by this version, allowed off"}},
    {TOP("log: off"), {"t.yaml:1:6: log: found a single value, allowed a mapping"}},
    {TOP("admin: {}"), {"t.yaml:1:8: admin.listen: missing, it is required"}},
    {TOP("admin: {listen: 127.0.0.1:9900, write: yes}"),
     {"t.yaml:1:40: admin.write: yes is unknown, allowed on, off"}},
    {TOP("admin: {listen: 0.0.0.0:9900}"),
     {"t.yaml:1:8: admin.token_file: missing, it is required as admin.listen is not loopback"}},
    {TOP("admin: {listen: 127.0.0.1:8080}"),
     {"t.yaml:1:17: admin.listen: 127.0.0.1:8080 is the address of listeners[0], addresses must "
      "differ"}},
    {TOP("admin: {listen: 127.0.0.1:9900, token_file: /nonexistent/token}"),
     {"t.yaml:1:45: admin.token_file: /nonexistent/token cannot be read: No such file or "
      "directory"}},
    {TOP("admin: {listen: 127.0.0.1:9900, token_file: /}"),
     {"t.yaml:1:45: admin.token_file: / is not a regular file"}},
    {LISTENER("mode: udp"), {"t.yaml:2:7: listeners[0].mode: udp is unknown, allowed http, tcp"}},
    {LISTENER("mode: tcp, key: path"),
     {"t.yaml:2:17: listeners[0].key: path means nothing with mode: tcp, allowed source_ip, sni, "
      "joined with '+'"}},
    {LISTENER("key: [source_ip, \"header:X-Key+source_ip\", sni+host], mode: tcp"),
     {"t.yaml:2:18: listeners[0].key[1]: header:X-Key+source_ip means nothing with mode: tcp, "
      "allowed source_ip, sni, joined with '+'",
      "t.yaml:2:44: listeners[0].key[2]: sni+host means nothing with mode: tcp, allowed source_ip, "
      "sni, joined with '+'"}},
    {LISTENER("mode: tpc, key: path"),
     {"t.yaml:2:7: listeners[0].mode: tpc is unknown, allowed http, tcp"}},
    {LISTENER("key: [source_ip, sni+source_ip]"),
     {"t.yaml:2:18: listeners[0].key[1]: sni+source_ip means nothing with mode: http, allowed "
      "header:NAME, cookie:NAME, query:NAME, path, uri, host, source_ip, client_ip, joined with "
      "'+', and issued:NAME"}},
    {LISTENER("mode: tcp, key: sni:x"),
     {"t.yaml:2:17: listeners[0].key: sni:x takes no name, allowed sni"}},
    {LISTENER("key: header"),
     {"t.yaml:2:6: listeners[0].key: header has no valid name, allowed header:NAME"}},
    {LISTENER("key: \"header:X Y\""),
     {"t.yaml:2:6: listeners[0].key: \"header:X Y\" has no valid name, allowed header:NAME"}},
    {LISTENER("key: path:x"), {"t.yaml:2:6: listeners[0].key: path:x takes no name, allowed path"}},
    {LISTENER("key: path+"),
     {"t.yaml:2:6: listeners[0].key: \"\" is not a key, allowed header:NAME, cookie:NAME, "
      "query:NAME, path, uri, host, source_ip, client_ip, sni, joined with '+', and issued:NAME"}},
    {LISTENER("key: \"\""),
     {"t.yaml:2:6: listeners[0].key: found nothing, allowed a key such as header:NAME or "
      "source_ip"}},
    {LISTENER("key: [[path]]"),
     {"t.yaml:2:7: listeners[0].key[0]: found a list, allowed a key such as header:NAME or "
      "source_ip"}},
    {LISTENER("key: query:a&b"),
     {"t.yaml:2:6: listeners[0].key: query:a&b has no valid name, allowed query:NAME"}},
    {LISTENER("key: cookie:a=b"),
     {"t.yaml:2:6: listeners[0].key: cookie:a=b has no valid name, allowed cookie:NAME"}},
    {LISTENER("key: ip"),
     {"t.yaml:2:6: listeners[0].key: ip is not a key, allowed header:NAME, cookie:NAME, "
      "query:NAME, path, uri, host, source_ip, client_ip, sni, joined with '+', and issued:NAME"}},
    {LISTENER("max_connections: 0"),
     {"t.yaml:2:18: listeners[0].max_connections: 0 is out of range, allowed 1 to 1000000"}},
    {LISTENER("max_connections: 1000001"),
     {"t.yaml:2:18: listeners[0].max_connections: 1000001 is out of range, allowed 1 to 1000000"}},
    {LISTENER("max_header_size: 1023B"),
     {"t.yaml:2:18: listeners[0].max_header_size: 1023B is out of range, allowed 1KiB to 1MiB"}},
    {LISTENER("max_header_size: 2MiB"),
     {"t.yaml:2:18: listeners[0].max_header_size: 2MiB is out of range, allowed 1KiB to 1MiB"}},
    {LISTENER("max_header_size: 4096"),
     {"t.yaml:2:18: listeners[0].max_header_size: 4096 is not a size such as 16KiB or 1MiB, "
      "allowed 1KiB to 1MiB"}},
    {LISTENER("proxy_protocol: v1"),
     {"t.yaml:2:17: listeners[0].proxy_protocol: v1 is unknown, allowed off, accept"}},
    {LISTENER("key: client_ip, mode: tcp"),
     {"t.yaml:2:6: listeners[0].key: client_ip means nothing with mode: tcp, allowed source_ip, "
      "sni, joined with '+'"}},
    {LISTENER("key: client_ip:x"),
     {"t.yaml:2:6: listeners[0].key: client_ip:x takes no name, allowed client_ip"}},
    {LISTENER("trusted_proxies: [10.0.0.0/33, \"::1/129\", localhost, 10.0.0.1:80, {}]"),
     {"t.yaml:2:19: listeners[0].trusted_proxies[0]: 10.0.0.0/33 is longer than an address, "
      "allowed "
      "0 to 32 bits, IPv6 0 to 128",
      "t.yaml:2:32: listeners[0].trusted_proxies[1]: ::1/129 is longer than an address, allowed "
      "0 to 32 bits, IPv6 0 to 128",
      "t.yaml:2:43: listeners[0].trusted_proxies[2]: localhost is not an IP address or network, "
      "allowed ADDRESS, ADDRESS/BITS or unix",
      "t.yaml:2:54: listeners[0].trusted_proxies[3]: 10.0.0.1:80 is not an IP address or network, "
      "allowed ADDRESS, ADDRESS/BITS or unix",
      "t.yaml:2:67: listeners[0].trusted_proxies[4]: found a mapping, allowed ADDRESS, "
      "ADDRESS/BITS "
      "or unix"}},
    {LISTENER("trusted_proxies: 10.0.0.0/x"),
     {"t.yaml:2:18: listeners[0].trusted_proxies: 10.0.0.0/x is not an IP address or network, "
      "allowed ADDRESS, ADDRESS/BITS or unix"}},
    {LISTENER("trusted_proxies:"),
     {"t.yaml:3:1: listeners[0].trusted_proxies: found nothing, allowed ADDRESS, ADDRESS/BITS or "
      "unix"}},
    {LISTENER("trusted_proxies: [10.0.0.0/8], mode: tcp"),
     {"t.yaml:2:18: listeners[0].trusted_proxies: means nothing with mode: tcp, allowed with mode: "
      "http"}},
    {LISTENER("via: off, mode: tcp"),
     {"t.yaml:2:6: listeners[0].via: off means nothing with mode: tcp, allowed with mode: http"}},
    {LISTENER("via: no"), {"t.yaml:2:6: listeners[0].via: no is unknown, allowed on, off"}},
    {LISTENER("via: [off]"), {"t.yaml:2:6: listeners[0].via: found a list, allowed on, off"}},
    {LISTENER("trusted_proxy: []"),
     {"t.yaml:2:1: listeners[0].trusted_proxy: unknown key, allowed name, listen, mode, pool, "
      "routes, key, issued_cookie, max_connections, max_header_size, proxy_protocol, "
      "trusted_proxies, via, timeouts"}},
    {LISTENER("timeouts: {request: 0s}"),
     {"t.yaml:2:21: listeners[0].timeouts.request: 0s is out of range, allowed 1ms to 24h"}},
    {LISTENER("timeouts: {response: 1s}"),
     {"t.yaml:2:12: listeners[0].timeouts.response: unknown key, allowed request, idle, "
      "tunnel"}},
    {LISTENER("timeouts: {tunnel: 0s}"),
     {"t.yaml:2:20: listeners[0].timeouts.tunnel: 0s is out of range, allowed 1ms to 24h"}},
    {LISTENER("timeouts: {tunnel: 25h}"),
     {"t.yaml:2:20: listeners[0].timeouts.tunnel: 25h is out of range, allowed 1ms to 24h"}},
    {LISTENER("timeouts: {tunnel: off}"),
     {"t.yaml:2:20: listeners[0].timeouts.tunnel: off is not a duration such as 250ms, 2s or 1m, "
      "allowed 1ms to 24h"}},
    {LISTENER("timeouts: 10s"),
     {"t.yaml:2:11: listeners[0].timeouts: found a single value, allowed a mapping"}},
    {"listeners:\n  - {name: web, listen: localhost:80, pool: p}\n  - {name: web, listen: "
     "\"unix:\", pool: q}\n  - {name: \"a/b\", listen: 127.0.0.1:0, pool: p}\n" POOLS,
     {"t.yaml:2:25: listeners[0].listen: localhost:80: host names are not supported by this "
      "version, allowed IP:PORT, [IPV6]:PORT or unix:PATH",
      "t.yaml:3:12: listeners[1].name: web is taken already in line 2, names of listeners must "
      "differ",
      "t.yaml:3:25: listeners[1].listen: unix: is not an address with a port from 1 to 65535, "
      "allowed IP:PORT, [IPV6]:PORT or unix:PATH",
      "t.yaml:3:40: listeners[1].pool: q is no pool of this file, allowed a pool's name",
      "t.yaml:4:12: listeners[2].name: a/b is not a name, allowed visible characters without white "
      "space, '\"' and '/'",
      "t.yaml:4:27: listeners[2].listen: 127.0.0.1:0 is not an address with a port from 1 to "
      "65535, allowed IP:PORT, [IPV6]:PORT or unix:PATH"}},
    {"listeners:\n  - {name: a, listen: \"unix:/run/" P100 "123\", pool: p}\n" POOLS,
     {"t.yaml:2:23: listeners[0].listen: a path of 108 bytes, allowed 1 to 107"}},
    {"listeners:\n  - {name: a, listen: \"unix:/run/a\", pool: p}\n  - {name: b, listen: "
     "\"unix:/run/a\", pool: p}\n" POOLS,
     {"t.yaml:3:23: listeners[1].listen: unix:/run/a is taken already in line 2, addresses of "
      "listeners must differ"}},
    {TOP("admin: {listen: \"unix:/run/admin\"}"),
     {"t.yaml:1:17: admin.listen: unix:/run/admin is not supported by this version, allowed "
      "IP:PORT or [IPV6]:PORT"}},
    {"listeners:\n  - {name: a, listen: \"[::1]:80\", pool: p}\n  - {name: b, listen: "
     "\"[0::1]:80\", pool: p}\n" POOLS,
     {"t.yaml:3:23: listeners[1].listen: [::1]:80 is taken already in line 2, addresses of "
      "listeners must differ"}},
    {POOL("ring: {vnodes: 0}"),
     {"t.yaml:2:16: pools[0].ring.vnodes: 0 is out of range, allowed 1 to 4096"}},
    {POOL("ring: {vnodes: 4097}"),
     {"t.yaml:2:16: pools[0].ring.vnodes: 4097 is out of range, allowed 1 to 4096"}},
    {POOL("ring: {hash: md5}"), {"t.yaml:2:14: pools[0].ring.hash: md5 is unknown, allowed xxh3"}},
    {POOL("ring: {max_load: 1.0}"),
     {"t.yaml:2:18: pools[0].ring.max_load: 1.0 is out of range, allowed off or 1.01 to 100"}},
    {POOL("ring: {max_load: 100.1}"),
     {"t.yaml:2:18: pools[0].ring.max_load: 100.1 is out of range, allowed off or 1.01 to 100"}},
    {"reload: {max_move: 101%}\n" LISTENERS POOLS,
     {"t.yaml:1:20: reload.max_move: 101% is not a percentage such as 10%, allowed off or 0% to "
      "100%"}},
    {"reload: {max_move: 0.1}\n" LISTENERS POOLS,
     {"t.yaml:1:20: reload.max_move: 0.1 is not a percentage such as 10%, allowed off or 0% to "
      "100%"}},
    {POOL("ring: {max_load: 1e1}"),
     {"t.yaml:2:18: pools[0].ring.max_load: 1e1 is not a number, allowed off or 1.01 to 100"}},
    {POOL("ring: {max_load: [off]}"),
     {"t.yaml:2:18: pools[0].ring.max_load: found a list, allowed off or 1.01 to 100"}},
    {POOL("health: {check: icmp}"),
     {"t.yaml:2:17: pools[0].health.check: icmp is unknown, allowed http, tcp, off"}},
    {POOL("health: {path: /x}"),
     {"t.yaml:2:16: pools[0].health.path: means nothing with check: tcp, allowed with check: "
      "http"}},
    {POOL("health: {check: http, send: x}"),
     {"t.yaml:2:29: pools[0].health.send: means nothing with check: http, allowed with check: "
      "tcp"}},
    {POOL("health: {check: off, expect: 200}"),
     {"t.yaml:2:30: pools[0].health.expect: means nothing with check: off, allowed with check: "
      "http or tcp"}},
    {POOL("health: {check: http, expect: 600}"),
     {"t.yaml:2:31: pools[0].health.expect: 600 is not a status or a range, allowed N or N-M from "
      "100 to 599"}},
    {POOL("health: {check: http, expect: 300-200}"),
     {"t.yaml:2:31: pools[0].health.expect: 300-200 is not a status or a range, allowed N or N-M "
      "from 100 to 599"}},
    {POOL("health: {check: http, expect: []}"),
     {"t.yaml:2:31: pools[0].health.expect: the list is empty, allowed 1 or more"}},
    {POOL("health: {check: http, expect: \"200,\"}"),
     {"t.yaml:2:31: pools[0].health.expect: \"\" is not a status or a range, allowed N or N-M from "
      "100 to 599"}},
    {POOL("health: {check: http, path: healthz}"),
     {"t.yaml:2:29: pools[0].health.path: healthz is not a path, allowed '/' and visible ASCII "
      "characters"}},
    {POOL("health: {check: http, path: \"/a b\"}"),
     {"t.yaml:2:29: pools[0].health.path: \"/a b\" is not a path, allowed '/' and visible ASCII "
      "characters"}},
    {POOL("health: {check: http, host: a/b}"),
     {"t.yaml:2:29: pools[0].health.host: a/b is not a host, allowed a name or an address, with or "
      "without a port"}},
    {POOL("health: {check: off, port: 80, method: GET}"),
     {"t.yaml:2:28: pools[0].health.port: means nothing with check: off, allowed with check: http "
      "or tcp",
      "t.yaml:2:40: pools[0].health.method: means nothing with check: off, allowed with check: "
      "http"}},
    {POOL("health: {method: HEAD}"),
     {"t.yaml:2:18: pools[0].health.method: means nothing with check: tcp, allowed with check: "
      "http"}},
    {POOL("health: {check: http, method: head}"),
     {"t.yaml:2:31: pools[0].health.method: head is unknown, allowed GET, HEAD"}},
    {POOL("health: {port: 0}"),
     {"t.yaml:2:16: pools[0].health.port: 0 is out of range, allowed 1 to 65535"}},
    {POOL("health: {port: 65536}"),
     {"t.yaml:2:16: pools[0].health.port: 65536 is out of range, allowed 1 to 65535"}},
    {POOL("health: {port: http}"),
     {"t.yaml:2:16: pools[0].health.port: http is not a whole number, allowed 1 to 65535"}},
    {POOL("health: {port: 81}, standbys: [{name: s, address: \"unix:/s\"}]"),
     {"t.yaml:2:16: pools[0].health.port: means nothing for s, whose address is unix:/s, allowed "
      "if "
      "all addresses have a port"}},
    {POOL("health: {send: \"\", expect: [a]}"),
     {"t.yaml:2:16: pools[0].health.send: found nothing, allowed a text",
      "t.yaml:2:28: pools[0].health.expect: found a list, allowed a text; a text that begins with "
      "'[' has to be quoted"}},
    {POOL("health: {fall: 0, rise: 101}"),
     {"t.yaml:2:16: pools[0].health.fall: 0 is out of range, allowed 1 to 100",
      "t.yaml:2:25: pools[0].health.rise: 101 is out of range, allowed 1 to 100"}},
    {POOL("health: {interval: 0s, timeout: 1d}"),
     {"t.yaml:2:20: pools[0].health.interval: 0s is out of range, allowed 1ms to 24h",
      "t.yaml:2:33: pools[0].health.timeout: 1d is not a duration such as 250ms, 2s or 1m, allowed "
      "1ms to 24h"}},
    {POOL("passive: on"),
     {"t.yaml:2:10: pools[0].passive: found a single value, allowed off or a mapping"}},
    {POOL("passive: {failures: 0}"),
     {"t.yaml:2:21: pools[0].passive.failures: 0 is out of range, allowed 1 to 100"}},
    {POOL("passive: {statuses: 5xx}"),
     {"t.yaml:2:21: pools[0].passive.statuses: 5xx is not a status or a range, allowed N or N-M "
      "from 100 to 599"}},
    {POOL("passive: {statuses: [500, 99]}"),
     {"t.yaml:2:27: pools[0].passive.statuses[1]: 99 is not a status or a range, allowed N or N-M "
      "from 100 to 599"}},
    {POOL("when_down: retry"),
     {"t.yaml:2:12: pools[0].when_down: retry is unknown, allowed next, fail"}},
    {POOL("failback: {mode: later}"),
     {"t.yaml:2:18: pools[0].failback.mode: later is unknown, allowed auto, manual"}},
    {POOL("failback: {after: 10m, max_after: 1m}"),
     {"t.yaml:2:35: pools[0].failback.max_after: 1m is less than after, allowed 10m or more"}},
    {POOL("failback: {max_after: 1s}"),
     {"t.yaml:2:23: pools[0].failback.max_after: 1s is less than after, allowed 5s or more"}},
    {POOL("failback: {ramp: 25h}"),
     {"t.yaml:2:18: pools[0].failback.ramp: 25h is out of range, allowed 0s to 24h"}},
    {POOL("close_moved: sometimes"),
     {"t.yaml:2:14: pools[0].close_moved: sometimes is unknown, allowed never, down, always"}},
    {POOL("retries: 11"), {"t.yaml:2:10: pools[0].retries: 11 is out of range, allowed 0 to 10"}},
    {POOL("retry_statuses: 5xx"),
     {"t.yaml:2:17: pools[0].retry_statuses: 5xx is not a status or a range, allowed N or N-M from "
      "100 to 599"}},
    {POOL("retry_statuses: [502, 504-503]"),
     {"t.yaml:2:23: pools[0].retry_statuses[1]: 504-503 is not a status or a range, allowed N or "
      "N-M from 100 to 599"}},
    {POOL("retry_statuses: {from: 502}"),
     {"t.yaml:2:17: pools[0].retry_statuses: found a mapping, allowed statuses such as 200 or "
      "200-399"}},
    {POOL("max_idle_connections: 65537"),
     {"t.yaml:2:23: pools[0].max_idle_connections: 65537 is out of range, allowed 0 to 65536"}},
    {POOL("timeouts: {body: 0s}"),
     {"t.yaml:2:18: pools[0].timeouts.body: 0s is out of range, allowed 1ms to 24h"}},
    {POOL("timeouts: {body: 86400001ms}"),
     {"t.yaml:2:18: pools[0].timeouts.body: 86400001ms is out of range, allowed 1ms to 24h"}},
    {POOL("timeouts: {tunnel: 1h}"),
     {"t.yaml:2:12: pools[0].timeouts.tunnel: unknown key, allowed connect, response, body, "
      "idle"}},
    {POOL("timeouts: {connect: 0s}"),
     {"t.yaml:2:21: pools[0].timeouts.connect: 0s is out of range, allowed 1ms to 24h"}},
    {POOL("proxy_protocol: accept"),
     {"t.yaml:2:17: pools[0].proxy_protocol: accept is unknown, allowed off, v1, v2"}},
    {POOL("resolve: 0s"),
     {"t.yaml:2:10: pools[0].resolve: 0s is out of range, allowed 1ms to 24h"}},
    {POOL("resolve: 5"),
     {"t.yaml:2:10: pools[0].resolve: 5 is not a duration such as 250ms, 2s or 1m, allowed 1ms to "
      "24h"}},
    {POOL("passiv: off"),
     {"t.yaml:2:1: pools[0].passiv: unknown key, did you mean passive? allowed name, ring, health, "
      "passive, when_down, when_all_down, failback, close_moved, agree, epoch_header, retries, "
      "retry_statuses, max_idle_connections, timeouts, proxy_protocol, resolve, backends, "
      "standbys"}},
    {POOL("standbys: [{name: b1, address: 127.0.0.1:9}]"),
     {"t.yaml:2:19: pools[0].standbys[0].name: b1 is taken already in line 1, names of backends "
      "and standbys of a pool must differ"}},
    {POOL("standbys: [{name: s, address: 127.0.0.1:9, for: [b2]}]"),
     {"t.yaml:2:50: pools[0].standbys[0].for[0]: b2 is no backend of this pool, allowed a "
      "backend's name"}},
    {POOL("standbys: [{name: s, address: 127.0.0.1:9, for: [b1, b1]}]"),
     {"t.yaml:2:54: pools[0].standbys[0].for[1]: b1 is in the list already, allowed once"}},
    {POOL("standbys: [{name: s, address: 127.0.0.1:9, for: b1}]"),
     {"t.yaml:2:49: pools[0].standbys[0].for: found a single value, allowed a list of names of "
      "backends"}},
    {POOL("standbys: [{name: s, address: 127.0.0.1:9, weight: 2}]"),
     {"t.yaml:2:44: pools[0].standbys[0].weight: unknown key, allowed name, address, for, "
      "max_connections"}},
    {POOL("standbys: s1"),
     {"t.yaml:2:11: pools[0].standbys: found a single value, allowed a list of mappings"}},
    {BACKEND("weight: 0"),
     {"t.yaml:2:9: pools[0].backends[0].weight: 0 is out of range, allowed 1 to 256"}},
    {BACKEND("weight: 257"),
     {"t.yaml:2:9: pools[0].backends[0].weight: 257 is out of range, allowed 1 to 256"}},
    {BACKEND("max_connections: -1"),
     {"t.yaml:2:18: pools[0].backends[0].max_connections: -1 is out of range, allowed 0 to "
      "1000000"}},
    {BACKEND("for: [b1]"),
     {"t.yaml:2:1: pools[0].backends[0].for: unknown key, allowed name, address, weight, "
      "max_connections"}},
    {BACKEND("name: b2"),
     {"t.yaml:2:1: pools[0].backends[0].name: given twice, first in line 1; allowed once"}},
    {"pools:\n  - name: p\n    backends:\n      - {name: \"\", address: 127.0.0.1:1}\n      - "
     "{name: \"a b\", address: \"::1:80\"}\n      - {name: \"x\\ty\", address: 300.0.0.1:80}\n     "
     " - {address: 127.0.0.1:99999}\n" LISTENERS,
     {"t.yaml:4:16: pools[0].backends[0].name: found nothing, allowed a name",
      "t.yaml:5:16: pools[0].backends[1].name: \"a b\" is not a name, allowed visible characters "
      "without white space, '\"' and '/'",
      "t.yaml:5:32: pools[0].backends[1].address: ::1:80 has no brackets, an IPv6 address is "
      "written \"[IPV6]:PORT\", allowed HOST:PORT, [IPV6]:PORT or unix:PATH",
      "t.yaml:6:16: pools[0].backends[2].name: \"x\\x09y\" is not a name, allowed visible "
      "characters without white space, '\"' and '/'",
      "t.yaml:6:33: pools[0].backends[2].address: 300.0.0.1:80 is not an address with a port from "
      "1 to 65535, allowed HOST:PORT, [IPV6]:PORT or unix:PATH",
      "t.yaml:7:9: pools[0].backends[3].name: missing, it is required",
      "t.yaml:7:19: pools[0].backends[3].address: 127.0.0.1:99999 is not an address with a port "
      "from 1 to 65535, allowed HOST:PORT, [IPV6]:PORT or unix:PATH"}},
    {"pools:\n  - {name: p, backends: [{name: a, address: 127.0.0.1:1}]}\n  - {name: p, backends: "
     "[{name: a, address: 127.0.0.1:1}]}\n" LISTENERS,
     {"t.yaml:3:12: pools[1].name: p is taken already in line 2, names of pools must differ"}},
};

static const char broken_routes[] =
    "listeners:\n"
    "  - {name: web, listen: 127.0.0.1:8080, pool: p, routes: [{pool: p}]}\n"
    "  - {name: b, listen: 127.0.0.1:8081}\n"
    "  - {name: c, listen: 127.0.0.1:8082, routes: []}\n"
    "  - {name: d, listen: 127.0.0.1:8083, routes: {pool: p}}\n"
    "  - name: e\n"
    "    listen: 127.0.0.1:8084\n"
    "    routes:\n"
    "      - {host: \"a.example:80\", pool: p}\n"
    "      - {host: \"http://a.example/x\", pool: p}\n"
    "      - {host: \"b\xc3\xbc"
    "cher.example\", pool: p}\n"
    "      - {host: \"*\", pool: p}\n"
    "      - {host: \"a.*.example\", pool: p}\n"
    "      - {host: \"::1\", pool: p}\n"
    "      - {host: \"[::1]\", pool: p}\n"
    "      - {host: \"[::1]:80\", pool: p}\n"
    "      - {host: \"a b\", pool: p}\n"
    "      - {host: \"a..b\", pool: p}\n"
    "      - {path: v1, pool: p}\n"
    "      - {path: \"/v1?x\", pool: p}\n"
    "      - {path: \"/v1#x\", pool: p}\n"
    "      - {path: \"/v 1\", pool: p}\n"
    "      - {path: \"/v1/*\", pool: p}\n"
    "      - {path: =v1, pool: p}\n"
    "      - {methods: [get, \"G T\", CONNECT, GET, GET], pool: p}\n"
    "      - {methods: [], pool: p}\n"
    "      - {sni: a.example, pool: p}\n"
    "      - {pool: q}\n"
    "      - {host: a}\n"
    "      - x\n"
    "      - {hosts: a, pool: p}\n"
    "      - {key: sni, pool: p}\n"
    "  - name: f\n"
    "    listen: 127.0.0.1:8085\n"
    "    routes:\n"
    "      - {path: /, pool: p}\n"
    "      - {path: /a, pool: p}\n"
    "      - {host: \"*.x\", methods: [GET, POST], pool: p}\n"
    "      - {host: \"*.y.x\", methods: [POST], pool: p}\n"
    "      - {pool: p}\n"
    "      - {pool: p}\n"
    "  - name: g\n"
    "    listen: 127.0.0.1:8086\n"
    "    mode: tcp\n"
    "    routes: [{host: a, pool: p}, {sni: 127.0.0.1, pool: p}, {path: /, methods: GET, key: "
    "host, pool: p}]\n"
    "pools: [{name: p, backends: [{name: b1, address: 127.0.0.1:9001}]}]\n";
static const char *const route_errors[] = {
    "t.yaml:2:58: listeners[0].routes: given beside pool, allowed one of them",
    "t.yaml:3:5: listeners[1].pool: missing, it or routes is required",
    "t.yaml:4:47: listeners[2].routes: the list is empty, allowed 1 to 4096",
    "t.yaml:5:47: listeners[3].routes: found a mapping, allowed a list of mappings",
    "t.yaml:9:16: listeners[4].routes[0].host: a.example:80 has a port, which is not compared, "
    "allowed a host name alone",
    "t.yaml:10:16: listeners[4].routes[1].host: http://a.example/x is a URL or has a path, allowed "
    "a host name alone",
    "t.yaml:11:16: listeners[4].routes[2].host: b\xc3\xbc"
    "cher.example is not ASCII, allowed the form that clients send, such as xn--bcher-kva.example",
    "t.yaml:12:16: listeners[4].routes[3].host: * is not a host name; a route without this key "
    "takes all of them",
    "t.yaml:13:16: listeners[4].routes[4].host: a.*.example has a '*' within, allowed \"*.\" in "
    "front of a host name",
    "t.yaml:14:16: listeners[4].routes[5].host: ::1 has no brackets, an IPv6 address is written "
    "\"[IPV6]\"",
    "t.yaml:16:16: listeners[4].routes[7].host: [::1]:80 has a port, which is not compared, "
    "allowed a host name alone",
    "t.yaml:17:16: listeners[4].routes[8].host: \"a b\" is not a host name, allowed labels of 1 to "
    "63 letters, digits, '-' and '_', with '.' between them",
    "t.yaml:18:16: listeners[4].routes[9].host: a..b is not a host name, allowed labels of 1 to 63 "
    "letters, digits, '-' and '_', with '.' between them",
    "t.yaml:19:16: listeners[4].routes[10].path: v1 does not begin with '/', allowed /PREFIX or "
    "=/PATH",
    "t.yaml:20:16: listeners[4].routes[11].path: /v1?x has a query, which is not compared, allowed "
    "the path alone",
    "t.yaml:21:16: listeners[4].routes[12].path: /v1#x has a fragment, which clients do not send, "
    "allowed the path alone",
    "t.yaml:22:16: listeners[4].routes[13].path: \"/v 1\" has characters that are not sent in a "
    "path, allowed visible ASCII, and what clients percent-encode as they do it",
    "t.yaml:23:16: listeners[4].routes[14].path: /v1/* ends in \"/*\"; a path takes all that is "
    "below it without that",
    "t.yaml:24:16: listeners[4].routes[15].path: =v1 does not begin with '/', allowed /PREFIX or "
    "=/PATH",
    "t.yaml:25:20: listeners[4].routes[16].methods[0]: get is another method than GET, as their "
    "case counts",
    "t.yaml:25:25: listeners[4].routes[16].methods[1]: \"G T\" is not a method, allowed names such "
    "as GET",
    "t.yaml:25:32: listeners[4].routes[16].methods[2]: CONNECT is refused before routes are looked "
    "at",
    "t.yaml:25:46: listeners[4].routes[16].methods[4]: GET is given twice, allowed once",
    "t.yaml:26:19: listeners[4].routes[17].methods: 0 methods, allowed 1 to 32",
    "t.yaml:27:15: listeners[4].routes[18].sni: means nothing with mode: http, allowed with mode: "
    "tcp",
    "t.yaml:28:16: listeners[4].routes[19].pool: q is no pool of this file, allowed a pool's name",
    "t.yaml:29:9: listeners[4].routes[20].pool: missing, it is required",
    "t.yaml:30:9: listeners[4].routes[21]: found a single value, allowed a mapping",
    "t.yaml:31:10: listeners[4].routes[22].hosts: unknown key, did you mean host? allowed host, "
    "path, methods, sni, pool, key",
    "t.yaml:32:15: listeners[4].routes[23].key: sni means nothing with mode: http, allowed "
    "header:NAME, cookie:NAME, query:NAME, path, uri, host, source_ip, client_ip, joined with '+', "
    "and issued:NAME",
    "t.yaml:37:9: listeners[5].routes[1]: never matches, since routes[0] in line 36 takes all that "
    "it would; a narrower route has to come first",
    "t.yaml:39:9: listeners[5].routes[3]: never matches, since routes[2] in line 38 takes all that "
    "it would; a narrower route has to come first",
    "t.yaml:41:9: listeners[5].routes[5]: never matches, since routes[4] in line 40 takes all that "
    "it would; a narrower route has to come first",
    "t.yaml:45:21: listeners[6].routes[0].host: means nothing with mode: tcp, allowed with mode: "
    "http",
    "t.yaml:45:40: listeners[6].routes[1].sni: 127.0.0.1 is an address, for which clients send no "
    "server name",
    "t.yaml:45:68: listeners[6].routes[2].path: means nothing with mode: tcp, allowed with mode: "
    "http",
    "t.yaml:45:80: listeners[6].routes[2].methods: means nothing with mode: tcp, allowed with "
    "mode: http",
    "t.yaml:45:90: listeners[6].routes[2].key: host means nothing with mode: tcp, allowed "
    "source_ip, sni, joined with '+'"};
