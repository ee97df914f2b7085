#include "bench/failover/proxies.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* ---- configurations ---- */

#define CHECK_MS 500
#define CONNECT_MS 1000
#define RESPONSE_MS 5000
#define POINTS 512 /* of a backend on the ring */

/* Opens site->config for writing. */
static FILE *begin_config(const struct proxy_site *site, struct error *e)
{
    FILE *f = fopen(site->config, "we");
    if (f == NULL)
        error_errno(e, errno, "%s", site->config);
    return f;
}

static bool end_config(const struct proxy_site *site, FILE *f, struct error *e)
{
    bool ok = fflush(f) == 0 && !ferror(f);
    if (!ok)
        error_errno(e, errno, "%s", site->config);
    fclose(f);
    return ok;
}

/* Writes a line for each of the servers [from, to): `before`, its name, `between`, its port,
 * `after`.
 */
static void put_servers(FILE *f, const struct proxy_site *site, unsigned from, unsigned to,
                        const char *before, const char *between, const char *after)
{
    char name[SCENARIO_SERVER_NAME];
    for (unsigned i = from; i < to; i++)
        fprintf(f, "%s%s%s%u%s", before, scenario_server_name(site->scenario, i, name), between,
                site->ports[i], after);
}

static bool configure_ringproxy(const struct proxy_site *site, struct error *e)
{
    const struct scenario *s = site->scenario;
    FILE *f = begin_config(site, e);
    if (f == NULL)
        return false;
    fprintf(f,
            "workers: 1\n"
            "shutdown_timeout: 2s\n"
            "listeners:\n"
            "  - {name: web, listen: 127.0.0.1:%u, pool: p, key: header:X-Key}\n"
            "pools:\n"
            "  - name: p\n"
            "    ring: {vnodes: %d}\n"
            "    health: {check: http, path: /healthz, interval: %dms, timeout: %dms, fall: 2,"
            " rise: 2}\n"
            "    failback: {after: 1s}\n"
            "    retries: 2\n"
            "    timeouts: {connect: %dms, response: %dms}\n"
            "    backends:\n",
            site->listen, POINTS, CHECK_MS, CHECK_MS, CONNECT_MS, RESPONSE_MS);
    put_servers(f, site, 0, s->backends, "      - {name: ", ", address: '127.0.0.1:", "'}\n");
    if (s->standbys)
        fputs("    standbys:\n", f);
    put_servers(f, site, s->backends, scenario_servers(s),
                "      - {name: ", ", address: '127.0.0.1:", "'}\n");
    return end_config(site, f, e);
}

/* Each command runs its proxy in the foreground, so that it is a child of this process. */
static void command_ringproxy(const struct proxy_site *site, const char *argv[PROXY_MAX_ARGV])
{
    const char *const words[] = {site->program, "run", "-c", site->config, NULL};
    memcpy(argv, words, sizeof words);
}

/* HAProxy makes 16 points for each unit of weight, so a weight of 32 gives POINTS. ringproxy does
 * by itself what fastinter and observe do here. `on-marked-down shutdown-sessions` is left out:
 * with it requests that wait for a hanging server would go on sooner, but after a kill requests
 * would fail that are tried again without it. */
static bool configure_haproxy(const struct proxy_site *site, struct error *e)
{
    const struct scenario *s = site->scenario;
    FILE *f = begin_config(site, e);
    if (f == NULL)
        return false;
    fprintf(f,
            "global\n"
            "    nbthread 1\n"
            "    maxconn %u\n"
            "defaults\n"
            "    mode http\n"
            "    timeout connect %dms\n"
            "    timeout server %dms\n"
            "    timeout client 60s\n"
            "    timeout check %dms\n"
            "    http-reuse always\n"
            "    retries 3\n"
            "    option redispatch 1\n"
            "    retry-on all-retryable-errors\n"
            "frontend web\n"
            "    bind 127.0.0.1:%u\n"
            "    default_backend p\n"
            "backend p\n"
            "    balance hdr(X-Key)\n"
            "    hash-type consistent\n"
            "    option httpchk GET /healthz\n"
            "    default-server check inter %dms fastinter %dms fall 2 rise 2 weight %d observe "
            "layer4 error-limit 5 on-error mark-down\n",
            s->connections + 100, CONNECT_MS, RESPONSE_MS, CHECK_MS, site->listen, CHECK_MS,
            CHECK_MS / 4, POINTS / 16);
    put_servers(f, site, 0, s->backends, "    server ", " 127.0.0.1:", "\n");
    put_servers(f, site, s->backends, scenario_servers(s), "    server ",
                " 127.0.0.1:", " backup\n");
    return end_config(site, f, e);
}

static void command_haproxy(const struct proxy_site *site, const char *argv[PROXY_MAX_ARGV])
{
    const char *const words[] = {site->program, "-db", "-f", site->config, NULL};
    memcpy(argv, words, sizeof words);
}

/* nginx makes 160 points for each unit of weight, so a weight of 3 gives 480. It has no checks: a
 * failed request takes a server out of service for fail_timeout. Retries are limited by their
 * number: a limit of their time would be over after the first try at a hanging server. */
static bool configure_nginx(const struct proxy_site *site, struct error *e)
{
    const struct scenario *s = site->scenario;
    FILE *f = begin_config(site, e);
    if (f == NULL)
        return false;
    fprintf(f,
            "daemon off;\n"
            "worker_processes 1;\n"
            "pid %s/nginx.pid;\n"
            "error_log stderr warn;\n"
            "events { worker_connections %u; }\n"
            "http {\n"
            "    access_log off;\n"
            "    client_body_temp_path %s/body;\n"
            "    proxy_temp_path %s/proxy;\n"
            "    fastcgi_temp_path %s/fastcgi;\n"
            "    uwsgi_temp_path %s/uwsgi;\n"
            "    scgi_temp_path %s/scgi;\n"
            "    keepalive_requests 1000000;\n"
            "    upstream p {\n"
            "        hash $http_x_key consistent;\n",
            site->folder, 4 * s->connections + 512, site->folder, site->folder, site->folder,
            site->folder, site->folder);
    put_servers(f, site, 0, s->backends, "        # ",
                "\n        server 127.0.0.1:", " weight=3 max_fails=1 fail_timeout=2s;\n");
    fprintf(f,
            "        keepalive 64;\n"
            "        keepalive_requests 1000000;\n"
            "    }\n"
            "    server {\n"
            "        listen 127.0.0.1:%u;\n"
            "        location / {\n"
            "            proxy_pass http://p;\n"
            "            proxy_http_version 1.1;\n"
            "            proxy_set_header Connection \"\";\n"
            "            proxy_set_header Host $host;\n"
            "            proxy_connect_timeout %dms;\n"
            "            proxy_read_timeout %dms;\n"
            "            proxy_send_timeout %dms;\n"
            "            proxy_next_upstream error timeout invalid_header;\n"
            "            proxy_next_upstream_tries 3;\n"
            "        }\n"
            "    }\n"
            "}\n",
            site->listen, CONNECT_MS, RESPONSE_MS, RESPONSE_MS);
    return end_config(site, f, e);
}

static void command_nginx(const struct proxy_site *site, const char *argv[PROXY_MAX_ARGV])
{
    const char *const words[] = {site->program, "-p", site->folder, "-e",
                                 "stderr",      "-c", site->config, NULL};
    memcpy(argv, words, sizeof words);
}

/* ---- the table ---- */

static const struct proxy proxies[] = {
    {"ringproxy", NULL, true, configure_ringproxy, command_ringproxy},
    {"haproxy", "haproxy", true, configure_haproxy, command_haproxy},
    {"nginx", "nginx", false, configure_nginx, command_nginx},
};

const char proxy_names[] = "ringproxy, haproxy, nginx";

const struct proxy *proxy_find(const char *name)
{
    for (size_t i = 0; i < sizeof proxies / sizeof *proxies; i++)
        if (strcmp(proxies[i].name, name) == 0)
            return &proxies[i];
    return NULL;
}

/* ---- programs ---- */

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* "FOLDER/NAME", which the caller frees; NULL: there is no such program. */
static char *program_in(struct str folder, const char *name)
{
    size_t n = folder.n + strlen(name) + 2;
    char *path = mem_zalloc(n);
    snprintf(path, n, "%.*s/%s", (int)folder.n, folder.p, name);
    if (is_program(path))
        return path;
    free(path);
    return NULL;
}

/* An installed program lies in the same folder, the build puts each into a folder of its own. */
static char *program_beside(const char *name)
{
    char self[4096], beside[256];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        return NULL;
    self[n] = 0;
    *strrchr(self, '/') = 0;
    char *found = program_in(str_of(self), name);
    snprintf(beside, sizeof beside, "../app/%s", name);
    return found ? found : program_in(str_of(self), beside);
}

/* Also searches the folders of servers, which the PATH of an ordinary user often lacks. */
static char *program_in_path(const char *name)
{
    static const char more[] = "/usr/local/sbin:/usr/sbin:/sbin";
    const char *path = getenv("PATH"), *lists[] = {path ? path : "", more};
    for (size_t i = 0; i < 2; i++) {
        for (const char *p = lists[i], *end; *p; p = *end ? end + 1 : end) {
            end = strchrnul(p, ':');
            char *found = end > p ? program_in((struct str){p, (size_t)(end - p)}, name) : NULL;
            if (found)
                return found;
        }
    }
    return NULL;
}

char *proxy_program(const struct proxy *p, const char *given, struct error *e)
{
    char *found = NULL;
    if (given) {
        if (is_program(given))
            return mem_strdup(given);
        error_set(e, ENOENT, "%s: no such program", given);
        return NULL;
    }
    if (p->package == NULL)
        found = program_beside(p->name);
    if (found == NULL)
        found = program_in_path(p->name);
    if (found == NULL && p->package)
        error_set(e, ENOENT,
                  "%s is not installed (Debian's package is %s); --binary PATH says where it is",
                  p->name, p->package);
    else if (found == NULL)
        error_set(e, ENOENT, "%s is not beside ringbench; --binary PATH says where it is", p->name);
    return found;
}
