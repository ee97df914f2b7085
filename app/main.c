#include <stdio.h>
#include <string.h>

#include "app/app.h"
#include "app/options.h"
#include "app/program.h"
#include "base/streams.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments, *does;
} commands[] = {
    {"demo", cmd_demo, "", "a proxy, four backends and a standby to try things on"},
    {"run", cmd_run, "-c FILE", "run the proxy in the foreground"},
    {"status", cmd_status,
     "[-c FILE] [--admin URL] [--token-file FILE] [--timeout 10s] [--json] [--watch]",
     "print the state of the running proxy: listeners, servers, its fleet"},
    {"reload", cmd_reload,
     "[-c FILE] [--admin URL] [--token-file FILE] [--force] [--timeout 60s] [--json]",
     "have the running proxy read its file again, print what came of it"},
    {"upgrade", cmd_upgrade, "[-c FILE] [--admin URL] [--token-file FILE] [--timeout 60s]",
     "have the running proxy hand over to the program that is installed now"},
    {"check", cmd_check, "-c FILE", "validate a configuration, print every error or its balance"},
    {"route", cmd_route,
     "-c FILE [--pool P | --listener L [--host H] [--path P] [--method M] [--sni S]] "
     "[--down B]... KEY...",
     "print who would serve each key (keys from stdin if none)"},
    {"plan", cmd_plan, "OLD NEW [--pool P] [--max-move 5%] [--json]",
     "print what a change of the configuration moves; exit 3: more than --max-move"},
    {"plan", cmd_plan, "FILE --failures [1 or 2] [--pool P] [--worst N] [--json]",
     "print who would serve what with each server, or each two, out"},
    {"lock", cmd_lock, "[--redis URL]... [--ttl 10s] [--wait 30s] [-v] NAME -- COMMAND...",
     "run a command under a distributed lock; exit 75: no lock, 69: it was lost meanwhile"},
};
static const size_t ncommands = sizeof commands / sizeof *commands;

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < ncommands; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* name: of a command, all of whose forms are printed; NULL: of every command. */
static void print_commands(FILE *to, const char *name)
{
    for (const struct command *c = commands; c < commands + ncommands; c++)
        if (name == NULL || strcmp(c->name, name) == 0)
            fprintf(to, "  ringproxy %s%s%s\n        %s\n", c->name, *c->arguments ? " " : "",
                    c->arguments, c->does);
}

static void print_help(FILE *to)
{
    fputs("ringproxy " RINGPROXY_VERSION
          ", a consistent-hashing reverse proxy for HTTP and TCP\n\n",
          to);
    print_commands(to, NULL);
    fputs("  ringproxy -c FILE\n        the same as ringproxy run -c FILE\n"
          "  ringproxy --help | --version\n",
          to);
}

int main(int argc, char **argv)
{
    if (!streams_open_missing()) {
        perror("ringproxy: /dev/null");
        return APP_FAILED;
    }
    program_remember(argv);
    const char *word = argc > 1 ? argv[1] : "";
    if (is_help(word)) {
        print_help(stdout);
        return options_flush("--help") ? APP_OK : APP_FAILED;
    }
    if (strcmp(word, "--version") == 0) {
        puts("ringproxy " RINGPROXY_VERSION);
        return options_flush("--version") ? APP_OK : APP_FAILED;
    }
    const struct command *c = find(word);
    if (c && argc > 2 && is_help(argv[2])) {
        print_commands(stdout, word);
        return options_flush(word) ? APP_OK : APP_FAILED;
    }
    if (c)
        return c->run(argc - 1, argv + 1);
    /* `ringproxy -c FILE`: an option in place of a command means `run`, and argv[0] stays. */
    if (word[0] == '-' && (c = find("run")) != NULL)
        return c->run(argc, argv);
    if (argc > 1)
        fprintf(stderr, "ringproxy: unknown command %s\n", word);
    print_help(stderr);
    return APP_USAGE;
}
