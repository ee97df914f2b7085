/* ringbench: a table of subcommands, nothing else. */
#include <stdio.h>
#include <string.h>

#include "base/streams.h"
#include "bench/bench.h"

static const struct command {
    const char *name;
    const char *help;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"diff", "compares two results", bench_diff},
    {"failover", "failing servers behind a proxy under load, and who notices", bench_failover},
    {"http", "a load of HTTP requests: latency, errors, who answered which keys", bench_http},
    {"report", "draws results as a page", bench_report},
    {"ring", "figures of the ring without a network: lookup, balance, keys moved", bench_ring},
    {"serve", "test backends: slow, failing, hanging, echoing, as told while they run",
     bench_serve},
    {"tcp", "a load of TCP: ping-pong or bulk", bench_tcp},
};

#define NCOMMANDS (sizeof commands / sizeof commands[0])

static void print_usage(FILE *to)
{
    fputs("usage: ringbench COMMAND [OPTION]...\n\ncommands:\n", to);
    for (size_t i = 0; i < NCOMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
    fputs("\n`ringbench COMMAND --help` shows the options of a command.\n"
          "`ringbench --version` shows the version.\n",
          to);
}

/* A success whose output could not be written becomes a failure. */
static int finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    perror("ringbench: stdout");
    return code ? code : BENCH_FAILED;
}

int main(int argc, char **argv)
{
    if (!streams_open_missing()) {
        perror("ringbench: /dev/null");
        return BENCH_FAILED;
    }
    if (argc < 2) {
        print_usage(stderr);
        return BENCH_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout);
        return finish(BENCH_OK);
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("ringbench " RINGPROXY_VERSION);
        return finish(BENCH_OK);
    }
    for (size_t i = 0; i < NCOMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return finish(commands[i].run(argc - 1, argv + 1));
    fprintf(stderr, "ringbench: no such command: %s\n", argv[1]);
    print_usage(stderr);
    return BENCH_USAGE;
}
