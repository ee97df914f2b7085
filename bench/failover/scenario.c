#include "bench/failover/scenario.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "config/read.h"
#include "config/yaml.h"

#define FILE_MAX (1u << 20)
#define EVENTS_MAX 1000

/* ---- what can be done ---- */

static const struct act {
    const char *name;
    unsigned needs, not ; /* troubles of which a server must have all, and must have none */
    const char *whom;     /* the same in words, for messages */
    unsigned sets, clears;
} acts[] = {
    [ACT_KILL] = {"kill", 0, TROUBLE_GONE, "a server that is there", TROUBLE_GONE, ~0u},
    [ACT_TERMINATE] = {"terminate", 0, TROUBLE_GONE | TROUBLE_STOPPED, "a server that runs",
                       TROUBLE_GONE, ~0u},
    [ACT_START] = {"start", TROUBLE_GONE, 0, "a server that was killed or terminated", 0, ~0u},
    [ACT_STOP] = {"stop", 0, TROUBLE_GONE | TROUBLE_STOPPED, "a server that runs", TROUBLE_STOPPED,
                  0},
    [ACT_CONTINUE] = {"continue", TROUBLE_STOPPED, 0, "a server that was stopped", 0,
                      TROUBLE_STOPPED},
    [ACT_FAIL_CHECKS] = {"fail_checks", 0, TROUBLE_GONE | TROUBLE_STOPPED | TROUBLE_CHECKS,
                         "a server that runs and passes its checks", TROUBLE_CHECKS, 0},
    [ACT_PASS_CHECKS] = {"pass_checks", TROUBLE_CHECKS, TROUBLE_GONE | TROUBLE_STOPPED,
                         "a server that runs and fails its checks", 0, TROUBLE_CHECKS},
    [ACT_HANG] = {"hang", 0, TROUBLE_GONE | TROUBLE_STOPPED | TROUBLE_HANGS,
                  "a server that runs and answers", TROUBLE_HANGS, 0},
    [ACT_UNHANG] = {"unhang", TROUBLE_HANGS, TROUBLE_GONE | TROUBLE_STOPPED,
                    "a server that runs and hangs", 0, TROUBLE_HANGS},
    [ACT_STATUS] = {"status", 0, TROUBLE_GONE | TROUBLE_STOPPED, "a server that runs", 0, 0},
};

const char *scenario_act_name(enum scenario_act act)
{
    return acts[act].name;
}

unsigned scenario_after(unsigned troubles, enum scenario_act act, uint32_t value)
{
    /* Clients take an answer below 500 for a good one, so such a status is no trouble. */
    if (act == ACT_STATUS)
        return value >= 500 ? troubles | TROUBLE_STATUS : troubles & ~(unsigned)TROUBLE_STATUS;
    return (troubles & ~acts[act].clears) | acts[act].sets;
}

static const char *describe_troubles(unsigned troubles)
{
    return troubles & TROUBLE_GONE      ? "is gone"
           : troubles & TROUBLE_STOPPED ? "is stopped"
           : troubles & TROUBLE_HANGS   ? "hangs"
           : troubles & TROUBLE_CHECKS  ? "fails its checks"
                                        : "is well";
}

/* ---- the file's keys ---- */

#define FIELD(s, m) .offset = offsetof(struct s, m), .size = sizeof(((struct s *)0)->m)
#define AND(s, m) .second = offsetof(struct s, m)
#define KEYS(array, s)                                             \
    {                                                              \
        (array), sizeof(array) / sizeof *(array), sizeof(struct s) \
    }

static const struct schema_word act_words[] = {{"kill", ACT_KILL},
                                               {"terminate", ACT_TERMINATE},
                                               {"start", ACT_START},
                                               {"stop", ACT_STOP},
                                               {"continue", ACT_CONTINUE},
                                               {"fail_checks", ACT_FAIL_CHECKS},
                                               {"pass_checks", ACT_PASS_CHECKS},
                                               {"hang", ACT_HANG},
                                               {"unhang", ACT_UNHANG},
                                               {"status", ACT_STATUS},
                                               {NULL}};

static const struct schema_key event_keys[] = {
    {"at", SCHEMA_DURATION, .required = true, .min = 1, .max = SCHEMA_DAY_MS,
     FIELD(scenario_event, at_ms)},
    {"do", SCHEMA_WORD, .required = true, FIELD(scenario_event, act), .words = act_words},
    {"server", SCHEMA_NAME, FIELD(scenario_event, server)},
    {"servers", SCHEMA_RULE},
    {"value", SCHEMA_NUMBER, .min = 200, .max = 599, FIELD(scenario_event, value)},
};
static const struct schema event_schema = KEYS(event_keys, scenario_event);

static const struct schema_key scenario_keys[] = {
    {"name", SCHEMA_NAME, .required = true, FIELD(scenario, name)},
    {"about", SCHEMA_TEXT, .required = true, .max = 1000, FIELD(scenario, about)},
    {"backends", SCHEMA_NUMBER, .required = true, .min = 1, .max = SCENARIO_MAX_BACKENDS,
     FIELD(scenario, backends)},
    {"standbys", SCHEMA_NUMBER, .fallback = "0", .max = SCENARIO_MAX_STANDBYS,
     FIELD(scenario, standbys)},
    {"keys", SCHEMA_NUMBER, .fallback = "1000", .min = 1, .max = 1000000, FIELD(scenario, keys)},
    {"rate", SCHEMA_NUMBER, .fallback = "2000", .min = 1, .max = 100000, FIELD(scenario, rate)},
    {"connections", SCHEMA_NUMBER, .fallback = "100", .min = 1, .max = 5000,
     FIELD(scenario, connections)},
    {"duration", SCHEMA_DURATION, .required = true, .min = 1, .max = 3600000,
     FIELD(scenario, duration_ms)},
    {"slow", SCHEMA_DURATION, .fallback = "250ms", .min = 1, .max = 60000,
     FIELD(scenario, slow_ms)},
    {"events", SCHEMA_LIST, .required = true, .min = 1, FIELD(scenario, events),
     AND(scenario, nevents), .inner = &event_schema},
};
static const struct schema scenario_schema = KEYS(scenario_keys, scenario);

/* ---- servers ---- */

unsigned scenario_servers(const struct scenario *s)
{
    return s->backends + s->standbys;
}

const char *scenario_server_name(const struct scenario *s, unsigned server,
                                 char out[SCENARIO_SERVER_NAME])
{
    bool backend = server < s->backends;
    snprintf(out, SCENARIO_SERVER_NAME, "%c%u", backend ? 'b' : 's',
             (backend ? server : server - s->backends) + 1);
    return out;
}

/* The context in which the rules for one event are checked. */
struct event_rules {
    struct report *r;
    struct scenario *s;
    struct scenario_event *event;
    const struct yaml_node *node;
    const struct report_path *path;
};

static struct report_path path_key(const struct report_path *up, const char *key)
{
    return (struct report_path){up, .key = str_of(key)};
}

/* "b1 to b5, s1 to s2" */
static void describe_servers(const struct scenario *s, char *out, size_t size)
{
    int n = snprintf(out, size, s->backends > 1 ? "b1 to b%u" : "b%u", s->backends);
    if (s->standbys)
        snprintf(out + n, size - (size_t)n, s->standbys > 1 ? ", s1 to s%u" : ", s%u", s->standbys);
}

/* Adds a server by its name, or reports why that is none of this scenario. */
static void add_server(const struct event_rules *v, const struct yaml_node *node,
                       const struct report_path *path)
{
    char *name = NULL, other[SCENARIO_SERVER_NAME], quoted[REPORT_QUOTE_MAX], allowed[64];
    if (!read_name(v->r, node, path, &name))
        return;
    unsigned n = scenario_servers(v->s), server = 0;
    while (server < n && strcmp(scenario_server_name(v->s, server, other), name) != 0)
        server++;
    free(name);
    if (server == n) {
        describe_servers(v->s, allowed, sizeof allowed);
        report_node(v->r, node, path, "%s is no server, allowed %s",
                    report_quote(node->text, quoted), allowed);
        return;
    }
    for (size_t i = 0; i < v->event->nservers; i++) {
        if (v->event->servers[i] == server) {
            report_node(v->r, node, path, "%s is in the list already, allowed once", other);
            return;
        }
    }
    assert(v->event->nservers < SCENARIO_MAX_SERVERS);
    v->event->servers[v->event->nservers++] = server;
}

static void add_servers(const struct event_rules *v, const struct yaml_node *list,
                        const struct report_path *path)
{
    if (list->kind != YAML_LIST) {
        read_wrong_kind(v->r, list, path, "a list of names of servers");
        return;
    }
    if (list->count == 0)
        report_node(v->r, list, path, "the list is empty, allowed 1 or more");
    for (size_t i = 0; i < list->count && i < SCENARIO_MAX_SERVERS; i++) { /* the array's size */
        struct report_path at = {path, .index = i};
        add_server(v, list->items[i], &at);
    }
    if (list->count > SCENARIO_MAX_SERVERS)
        report_node(v->r, list, path, "%zu names, allowed %d", list->count, SCENARIO_MAX_SERVERS);
}

/* An event has `server` or `servers`, but not both. */
static void check_servers(const struct event_rules *v)
{
    const struct yaml_node *one = yaml_tree_get(v->node, "server");
    const struct yaml_node *many = yaml_tree_get(v->node, "servers");
    struct report_path server = path_key(v->path, "server");
    struct report_path servers = path_key(v->path, "servers");
    v->event->servers = mem_zalloc_array(SCENARIO_MAX_SERVERS, sizeof *v->event->servers);
    if (one && many)
        report_node(v->r, many, &servers, "server is given too, allowed one of both");
    else if (one && v->event->server)
        add_server(v, one, &server);
    else if (many)
        add_servers(v, many, &servers);
    else if (!one)
        report_node(v->r, v->node, &server, "missing, it or servers is required");
}

static void check_value(const struct event_rules *v)
{
    const struct yaml_node *value = yaml_tree_get(v->node, "value");
    const struct yaml_node *act = yaml_tree_get(v->node, "do");
    struct report_path at = path_key(v->path, "value");
    bool wanted = act && act->kind == YAML_SCALAR && str_eq(act->text, STR("status"));
    if (wanted && !value)
        report_node(v->r, v->node, &at, "missing, it is required with do: status");
    else if (value && !wanted)
        report_node(v->r, value, &at, "nothing takes it but do: status");
}

/* ---- times ---- */

/* At the first event every key must have been requested, at the last one the load must still run.
 */
static void check_time(const struct event_rules *v)
{
    const struct yaml_node *at = yaml_tree_get(v->node, "at");
    struct report_path path = path_key(v->path, "at");
    /* Keys are requested in turn, so this is the time until each had its turn. */
    uint64_t round_ms = ((uint64_t)v->s->keys * 1000 + v->s->rate - 1) / v->s->rate;
    if (v->event->at_ms < round_ms)
        report_node(v->r, at, &path,
                    "%" PRIu64 "ms is too early: %" PRIu32 " keys at %" PRIu32
                    " a second are asked once after %" PRIu64 "ms",
                    v->event->at_ms, v->s->keys, v->s->rate, round_ms);
    else if (v->event->at_ms >= v->s->duration_ms)
        report_node(v->r, at, &path,
                    "%" PRIu64
                    "ms is not before the end, allowed less than the duration of %" PRIu64 "ms",
                    v->event->at_ms, v->s->duration_ms);
}

struct placed_event {
    struct scenario_event event;
    size_t index; /* of the event in the list of the file */
};

static int by_time(const void *a, const void *b)
{
    const struct placed_event *x = a, *y = b;
    if (x->event.at_ms != y->event.at_ms)
        return x->event.at_ms < y->event.at_ms ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

/* Checks whether an event is possible for its servers, and applies it to their troubles. */
static void check_sense(const struct event_rules *v, unsigned *troubles)
{
    struct report_path path = path_key(v->path, "do");
    const struct act *act = &acts[v->event->act];
    for (size_t i = 0; i < v->event->nservers; i++) {
        unsigned *t = &troubles[v->event->servers[i]];
        char name[SCENARIO_SERVER_NAME];
        if ((*t & act->needs) != act->needs || (*t & act->not ))
            report_node(v->r, yaml_tree_get(v->node, "do"), &path,
                        "%s: %s %s by then, allowed for %s", act->name,
                        scenario_server_name(v->s, v->event->servers[i], name),
                        describe_troubles(*t), act->whom);
        *t = scenario_after(*t, v->event->act, v->event->value);
    }
}

/* Sorts the events by time and checks them in that order. */
static void check_order(struct report *r, struct scenario *s, const struct yaml_node *list)
{
    unsigned troubles[SCENARIO_MAX_SERVERS] = {0}, nhurt = 0;
    struct placed_event *placed = mem_zalloc_array(s->nevents, sizeof *placed);
    struct report_path events = {NULL, .key = STR("events")};
    /* The index goes along: messages name the place of an event in the file. */
    for (size_t i = 0; i < s->nevents; i++)
        placed[i] = (struct placed_event){s->events[i], i};
    qsort(placed, s->nevents, sizeof *placed, by_time);
    for (size_t i = 0; i < s->nevents; i++) {
        s->events[i] = placed[i].event;
        struct report_path at = {&events, .index = placed[i].index};
        struct event_rules v = {r, s, &s->events[i], list->items[placed[i].index], &at};
        check_sense(&v, troubles);
        nhurt += scenario_after(0, v.event->act, v.event->value) != 0;
    }
    if (nhurt == 0)
        report_node(r, list, &events, "none of them hurts a server, required 1 or more");
    free(placed);
}

static void check_events(struct report *r, struct scenario *s, const struct yaml_node *root)
{
    const struct yaml_node *list = yaml_tree_get(root, "events");
    struct report_path events = {NULL, .key = STR("events")};
    if (s->nevents > EVENTS_MAX) {
        report_node(r, list, &events, "%zu events, allowed %d", s->nevents, EVENTS_MAX);
        return;
    }
    size_t before = r->count;
    for (size_t i = 0; i < s->nevents; i++) {
        struct report_path at = {&events, .index = i};
        struct event_rules v = {r, s, &s->events[i], list->items[i], &at};
        if (v.node->kind != YAML_MAP)
            continue;    /* it was reported as a wrong event */
        if (s->backends) /* with a wrong number of backends every name would be reported */
            check_servers(&v);
        check_value(&v);
        if (before == 0) /* without errors, since the checks of order rely on correct values */
            check_time(&v);
    }
    if (r->count == 0)
        check_order(r, s, list);
}

/* ---- a file ---- */

/* For a file that cannot be read; its messages have a place, too. */
static void refuse(const char *file, const char *why, struct config_errors *errors)
{
    struct report r = {.file = file};
    report_at(&r, 1, 1, NULL, "%s", why);
    report_finish(&r, errors);
}

struct scenario *scenario_load(const char *file, struct config_errors *errors)
{
    struct buffer text = {0};
    struct scenario *s = NULL;
    struct error e;
    if (file_read(file, FILE_MAX, &text, &e))
        s = scenario_parse(file, text.data, buffer_len(&text), errors);
    else
        refuse(file, e.text, errors);
    buffer_release(&text);
    return s;
}

struct scenario *scenario_parse(const char *file, const char *text, size_t len,
                                struct config_errors *errors)
{
    struct report r = {.file = file};
    struct yaml_tree tree;
    struct yaml_fault fault;
    struct scenario *s = mem_zalloc(sizeof *s);
    if (!yaml_tree_read(&tree, text ? text : "", len, &fault)) {
        report_at(&r, fault.line, fault.column, NULL, "%s", fault.text);
    } else if (tree.root == NULL) {
        report_at(&r, 1, 1, NULL, "the file is empty, a scenario is required");
    } else {
        read_map(&r, &scenario_schema, tree.root, NULL, s);
        check_events(&r, s, tree.root);
    }
    yaml_tree_free(&tree);
    report_finish(&r, errors);
    if (errors->count) {
        scenario_free(s);
        return NULL;
    }
    return s;
}

void scenario_free(struct scenario *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->nevents; i++) {
        free(s->events[i].server);
        free(s->events[i].servers);
    }
    free(s->events);
    free(s->name);
    free(s->about);
    free(s);
}
