/* `ringproxy lock` runs a command under a distributed lock. docs/lock.md. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/lock_child.h"
#include "app/lock_run.h"
#include "app/options.h"
#include "base/mem.h"
#include "base/units.h"
#include "cluster/lock_redis.h"

#define URLS_MAX 16
#define WAIT_MAX_MS UINT64_C(31536000000) /* 8760h, a year */

struct lock_args {
    struct lock_run_options run;
    struct redis_url urls[URLS_MAX];
    char **command;
};

static int add_url(struct lock_args *a, const char *text, const char *from)
{
    struct error e;
    if (a->run.nurls == URLS_MAX)
        return options_usage("lock", "%s: more than %d URLs", from, URLS_MAX);
    if (!redis_url_parse(&a->urls[a->run.nurls], text, &e))
        return options_usage("lock", "%s: %s", from, e.text);
    a->run.nurls++;
    return -1;
}

/* RINGPROXY_REDIS: URLs with spaces between. */
static int urls_of_environment(struct lock_args *a)
{
    const char *all = getenv("RINGPROXY_REDIS");
    char *copy = mem_strdup(all ? all : ""), *rest = copy;
    int status = -1;
    for (char *url; status < 0 && (url = strtok_r(rest, " \t\n", &rest)) != NULL;)
        status = add_url(a, url, "RINGPROXY_REDIS");
    free(copy);
    if (status < 0 && a->run.nurls == 0)
        return options_usage("lock", "no Redis is given: --redis redis://HOST:6379, or such a URL "
                                     "in RINGPROXY_REDIS");
    return status;
}

static int set_wait(struct lock_args *a, const char *text)
{
    bool none = strcmp(text, "0") == 0;
    if (none ||
        (units_parse_duration(str_of(text), &a->run.wait_ms) && a->run.wait_ms <= WAIT_MAX_MS)) {
        a->run.wait_ms = none ? 0 : a->run.wait_ms;
        return -1;
    }
    return options_usage("lock", "--wait %s: allowed are 0 to 8760h, such as 30s; 0: one attempt",
                         text);
}

static int set_ttl(struct lock_args *a, const char *text)
{
    if (units_parse_duration(str_of(text), &a->run.ttl_ms) && a->run.ttl_ms >= LOCK_TTL_MIN_MS &&
        a->run.ttl_ms <= LOCK_TTL_MAX_MS)
        return -1;
    return options_usage("lock", "--ttl %s: allowed are 500ms to 24h, such as 10s", text);
}

/* Everything before "--" but its name and options; the name may stand among the options. */
static int parse_options(int argc, char **argv, struct lock_args *a)
{
    static const struct option longs[] = {{"redis", required_argument, NULL, 'r'},
                                          {"ttl", required_argument, NULL, 't'},
                                          {"wait", required_argument, NULL, 'w'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
    int o, status = -1;
    opterr = 0;
    while (status < 0 && (o = getopt_long(argc, argv, ":v", longs, NULL)) != -1) {
        if (o == 'r')
            status = add_url(a, optarg, "--redis");
        else if (o == 't')
            status = set_ttl(a, optarg);
        else if (o == 'w')
            status = set_wait(a, optarg);
        else if (o == 'v')
            a->run.verbose = true;
        else
            status = options_usage("lock", o == ':' ? "%s needs a value" : "unknown option %s",
                                   argv[optind - 1]);
    }
    return status;
}

static int set_name(int argc, char **argv, struct lock_args *a)
{
    const char *outer = getenv("RINGPROXY_LOCK_NAME");
    if (optind == argc)
        return options_usage("lock", "the NAME of the lock is missing: ringproxy lock NAME -- "
                                     "COMMAND");
    if (optind + 1 < argc)
        return options_usage("lock", "unexpected %s: the command comes after --", argv[optind + 1]);
    a->run.name = argv[optind];
    if (!lock_name_is_valid(str_of(a->run.name)))
        return options_usage("lock",
                             "the NAME of a lock has 1 to %d letters, digits and . _ - : / "
                             "@, and no others",
                             LOCK_NAME_MAX);
    if (outer && strcmp(outer, a->run.name) == 0)
        return options_usage("lock",
                             "this already runs under the lock %s, and would wait for "
                             "itself",
                             outer);
    return -1;
}

/* Returns an exit status, or -1: the command goes on. */
static int parse_args(int argc, char **argv, struct lock_args *a)
{
    int end = 1, status;
    while (end < argc && strcmp(argv[end], "--") != 0)
        end++;
    if ((status = parse_options(end, argv, a)) >= 0 || (status = set_name(end, argv, a)) >= 0)
        return status;
    if (end + 1 >= argc || *argv[end + 1] == '\0')
        return options_usage("lock", "the command is missing: ringproxy lock %s -- COMMAND",
                             a->run.name);
    a->command = argv + end + 1;
    a->run.command = a->command[0];
    return a->run.nurls ? -1 : urls_of_environment(a);
}

static int run_command(struct lock_args *a)
{
    struct lock_child child;
    struct error e;
    if (!lock_child_fork(&child, a->command, &e)) {
        fprintf(stderr, "ringproxy lock: %s\n", e.text);
        return APP_FAILED;
    }
    int status = lock_run(&a->run, &child);
    lock_child_deinit(&child);
    return status;
}

int cmd_lock(int argc, char **argv)
{
    struct lock_args a = {.run = {.ttl_ms = 10000, .wait_ms = 30000}};
    a.run.urls = a.urls;
    int status = parse_args(argc, argv, &a);
    if (status < 0)
        status = run_command(&a);
    for (size_t i = 0; i < a.run.nurls; i++)
        redis_url_deinit(&a.urls[i]);
    return status;
}
