/* `ringproxy plan` prints what a change of the configuration moves, or, in cmd_plan_failures.c,
 * what failures do. */
#include "app/cmd_plan.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/options.h"
#include "plan/document.h"
#include "plan/plan.h"

#define MOVES_SHOWN 20
#define DEFAULT_WORST_ONE 1000
#define DEFAULT_WORST_TWO 20

int plan_width(const char *text, int width)
{
    size_t n = strlen(text);
    return n <= (size_t)width ? width : n < 40 ? (int)n : 40;
}

bool plan_print_json(json_t *document)
{
    bool ok = document && json_dumpf(document, stdout, JSON_INDENT(2)) == 0;
    if (document == NULL)
        fputs("ringproxy plan: no memory for the document\n", stderr);
    json_decref(document);
    putchar('\n');
    return options_flush("plan") && ok;
}

/* ---- arguments ---- */

/* "5%", "0.25%". The sign is required: a bare 0.05 could mean either. */
static bool parse_percent(const char *text, double *out)
{
    char *end;
    if (text[strspn(text, "0123456789.")] != '%' || text[0] == '%')
        return false;
    *out = strtod(text, &end);
    return end != text && strcmp(end, "%") == 0 && *out <= 100;
}

static bool parse_count(const char *text, size_t *out)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] < '1' || text[0] > '9' || *end || n > 10000000)
        return false;
    *out = n;
    return true;
}

/* `--failures`, `--failures=2` or `--failures 2`. */
static bool take_failures(char **argv, struct plan_args *a)
{
    const char *text = optarg;
    if (text == NULL && argv[optind] &&
        (strcmp(argv[optind], "1") == 0 || strcmp(argv[optind], "2") == 0))
        text = argv[optind++];
    a->failures = text == NULL || strcmp(text, "1") == 0 ? 1 : strcmp(text, "2") == 0 ? 2 : 0;
    return a->failures > 0;
}

/* Returns an exit status, or -1: the command goes on. */
static int check_args(int nfiles, char **files, struct plan_args *a)
{
    if (a->failures && a->max_move_text)
        return options_usage("plan", "--max-move goes with OLD and NEW, not with --failures");
    if (a->worst && !a->failures)
        return options_usage("plan", "--worst goes with --failures");
    if (nfiles != (a->failures ? 1 : 2))
        return options_usage("plan",
                             a->failures ? "--failures takes one FILE, not %d"
                                         : "two files are compared, OLD and NEW, not %d",
                             nfiles);
    for (int i = 0; i < nfiles; i++)
        a->files[i] = files[i];
    if (a->worst == 0)
        a->worst = a->failures == 2 ? DEFAULT_WORST_TWO : DEFAULT_WORST_ONE;
    return -1;
}

static int parse_args(int argc, char **argv, struct plan_args *a)
{
    static const struct option longs[] = {
        {"pool", required_argument, NULL, 'p'},     {"max-move", required_argument, NULL, 'm'},
        {"failures", optional_argument, NULL, 'f'}, {"worst", required_argument, NULL, 'w'},
        {"json", no_argument, NULL, 'j'},           {NULL, 0, NULL, 0}};
    int o;
    a->max_move = -1;
    while ((o = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
        if (o == 'p')
            a->pool = optarg;
        else if (o == 'j')
            a->json = true;
        else if (o == 'm' && parse_percent(optarg, &a->max_move))
            a->max_move_text = optarg;
        else if (o == 'm')
            return options_usage("plan", "--max-move %s: allowed 0%% to 100%%", optarg);
        else if (o == 'f' && !take_failures(argv, a))
            return options_usage("plan", "--failures %s: allowed 1 or 2", optarg);
        else if (o == 'w' && !parse_count(optarg, &a->worst))
            return options_usage("plan", "--worst %s: allowed 1 to 10000000", optarg);
        else if (o == ':' || o == '?')
            return options_usage("plan", o == ':' ? "%s needs a value" : "unknown option %s",
                                 argv[optind - 1]);
    }
    return check_args(argc - optind, argv + optind, a);
}

/* ---- two configurations ---- */

static const char *nobody_or(const struct plan_pool *p, unsigned id)
{
    return id < p->nservers ? p->servers[id].name : "nobody";
}

static void print_moves(const struct plan_pool *p)
{
    char text[PLAN_PERCENT];
    int from = 4, to = 2;
    size_t shown = p->ring.nmoves < MOVES_SHOWN ? p->ring.nmoves : MOVES_SHOWN;
    for (size_t i = 0; i < shown; i++) {
        from = plan_width(nobody_or(p, p->ring.moves[i].from), from);
        to = plan_width(nobody_or(p, p->ring.moves[i].to), to);
    }
    if (shown)
        printf("  %-*s  %-*s  %10s\n", from, "from", to, "to", "share");
    uint64_t rest = p->moved;
    for (size_t i = 0; i < shown; i++) {
        const struct ring_move *m = &p->ring.moves[i];
        printf("  %-*s  %-*s  %10s\n", from, nobody_or(p, m->from), to, nobody_or(p, m->to),
               plan_percent(m->positions, text));
        rest -= m->positions;
    }
    if (p->ring.nmoves > shown)
        printf("  and %zu further moves of %s together\n", p->ring.nmoves - shown,
               plan_percent(rest, text));
}

static const char *weight_text(uint32_t weight, char out[12])
{
    snprintf(out, 12, weight ? "%u" : "-", weight);
    return out;
}

static void print_servers(const struct plan_pool *p)
{
    int name = 7;
    for (size_t i = 0; i < p->nservers; i++)
        name = plan_width(p->servers[i].name, name);
    printf("  %-*s  %6s  %10s  %6s  %10s  %7s\n", name, "backend", "weight", "share", "after",
           "share", "of fair");
    for (size_t i = 0; i < p->nservers; i++) {
        const struct plan_server *s = &p->servers[i];
        char before[PLAN_PERCENT], after[PLAN_PERCENT], weight[2][12];
        printf("  %-*s  %6s  %10s  %6s  %10s", name, s->name,
               weight_text(s->weight_before, weight[0]),
               s->weight_before ? plan_percent(p->ring.before[i], before) : "-",
               weight_text(s->weight_after, weight[1]),
               s->weight_after ? plan_percent(p->ring.after[i], after) : "-");
        if (s->weight_after)
            printf("  %7.4f\n", plan_relative(p, i, true));
        else
            printf("  %7s\n", "-");
    }
    char share[PLAN_PERCENT];
    printf("  fullest: %s with %s, %.4f times what its weight promises\n",
           p->servers[p->fullest].name, plan_percent(p->ring.after[p->fullest], share),
           plan_relative(p, p->fullest, true));
}

static void print_headline(const struct plan_pool *p)
{
    char moved[PLAN_PERCENT], least[PLAN_PERCENT];
    printf("pool %s: ", p->name);
    switch (p->change) {
    case PLAN_SAME:
        puts("no key moves");
        break;
    case PLAN_MOVED:
        printf("%s of the keys move, the least possible is %s\n", plan_percent(p->moved, moved),
               plan_percent(p->least, least));
        break;
    case PLAN_ADDED:
        puts("added");
        break;
    case PLAN_REMOVED:
        puts("removed");
        break;
    case PLAN_ALL_KEYS:
        puts("all keys move, as they are others");
        break;
    }
}

static void print_pool(const struct plan_pool *p)
{
    print_headline(p);
    for (size_t i = 0; i < p->why.n; i++)
        printf("  %s\n", p->why.text[i]);
    print_moves(p);
    if (p->change != PLAN_SAME && p->change != PLAN_REMOVED)
        print_servers(p);
    for (size_t i = 0; i < p->naddresses; i++)
        printf("  note: %s keeps its keys at another address: %s, was %s\n", p->addresses[i].name,
               p->addresses[i].after, p->addresses[i].before);
    for (size_t i = 0; i < p->notes.n; i++)
        printf("  note: %s\n", p->notes.text[i]);
}

static void print_routes(const struct plan *p, const struct plan_pool *only)
{
    for (size_t i = 0; i < p->nroutes; i++) {
        const struct plan_route *r = &p->routes[i];
        if (!plan_route_concerns(r, only))
            continue;
        printf("listener %s%s%s: ", r->listener, r->route[0] ? ", route " : "", r->route);
        if (r->from_pool == NULL)
            printf("new, to pool %s\n", r->to_pool);
        else if (r->to_pool == NULL)
            printf("removed, was to pool %s\n", r->from_pool);
        else
            printf("goes to pool %s, was to pool %s\n", r->to_pool, r->from_pool);
    }
    for (size_t i = 0; i < p->notes.n; i++)
        printf("%s\n", p->notes.text[i]);
}

/* Whether a pool moves more than it may, which is said then. */
static bool is_beyond(const struct plan_pool *p, const struct plan_args *a)
{
    char text[PLAN_PERCENT];
    if (a->max_move_text == NULL || p->change == PLAN_ADDED || p->change == PLAN_REMOVED ||
        (double)p->moved * 100 <= a->max_move * (double)RING_SPACE)
        return false;
    fprintf(stderr, "ringproxy plan: pool %s: %s of the keys move, more than --max-move %s\n",
            p->name, plan_percent(p->moved, text), a->max_move_text);
    return true;
}

static const struct plan_pool *find_pool(const struct plan *p, const char *name)
{
    for (size_t i = 0; i < p->npools; i++)
        if (strcmp(p->pools[i].name, name) == 0)
            return &p->pools[i];
    options_usage("plan", "neither file has a pool %s", name);
    return NULL;
}

static int print_plan(const struct plan *p, const struct plan_args *a)
{
    const struct plan_pool *only = NULL;
    bool beyond = false, ok = true;
    if (a->pool && (only = find_pool(p, a->pool)) == NULL)
        return APP_USAGE;
    if (a->json)
        ok = plan_print_json(document_plan(p, only));
    else
        print_routes(p, only);
    for (size_t i = 0; i < p->npools; i++) {
        if (only && only != &p->pools[i])
            continue;
        if (!a->json)
            print_pool(&p->pools[i]);
        beyond = is_beyond(&p->pools[i], a) || beyond;
    }
    ok = options_flush("plan") && ok;
    return !ok ? APP_FAILED : beyond ? APP_BEYOND : APP_OK;
}

static int compare(const struct config *old, const struct config *new, const struct plan_args *a)
{
    struct error e;
    struct plan_side before = {old, NULL}, after = {new, NULL};
    struct plan *p = plan_new(&before, &after, &e);
    if (p == NULL) {
        fprintf(stderr, "ringproxy plan: %s\n", e.text);
        return APP_FAILED;
    }
    int status = print_plan(p, a);
    plan_free(p);
    return status;
}

int cmd_plan(int argc, char **argv)
{
    struct plan_args a = {0};
    int status = parse_args(argc, argv, &a);
    if (status >= 0)
        return status;
    struct config *old = options_load(a.files[0]);
    struct config *new = a.files[1] ? options_load(a.files[1]) : NULL;
    status = APP_USAGE;
    if (old && a.failures)
        status = plan_failures(old, &a);
    else if (old && new)
        status = compare(old, new, &a);
    config_unref(old);
    config_unref(new);
    return status;
}
