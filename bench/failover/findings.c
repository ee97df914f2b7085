#include "bench/failover/findings.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bench/load/result.h"
#include "bench/report/document.h"

void finding_init(struct finding *f, const struct scenario *s, const struct proxy *p)
{
    unsigned n = scenario_servers(s);
    *f = (struct finding){.scenario = s, .proxy = p, .started = time(NULL)};
    f->names = mem_zalloc_array(n, sizeof *f->names);
    f->begun_ns = mem_zalloc_array(s->nevents, sizeof *f->begun_ns);
    f->done_ns = mem_zalloc_array(s->nevents, sizeof *f->done_ns);
    for (unsigned i = 0; i < n; i++)
        scenario_server_name(s, i, f->names[i]);
}

void finding_deinit(struct finding *f)
{
    load_result_free(f->result);
    json_decref(f->load);
    free(f->names);
    free(f->begun_ns);
    free(f->done_ns);
    free(f->faults);
    *f = (struct finding){0};
}

/* ---- for people ---- */

#define TIME_TEXT 24

/* "0.35 ms", "120 ms", "1.24 s"; "-": never. Returns out. */
static const char *time_text(uint64_t ns, char out[TIME_TEXT])
{
    double ms = (double)ns / 1e6;
    if (ns == AFTERMATH_NONE)
        snprintf(out, TIME_TEXT, "-");
    else if (ns == 0)
        snprintf(out, TIME_TEXT, "0");
    else if (ms < 10)
        snprintf(out, TIME_TEXT, "%.2f ms", ms);
    else if (ms < 1000)
        snprintf(out, TIME_TEXT, "%.0f ms", ms);
    else
        snprintf(out, TIME_TEXT, "%.2f s", ms / 1000);
    return out;
}

/* "N what" with a comma before all but the first. */
static void put_count(FILE *to, bool *first, uint64_t n, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void put_count(FILE *to, bool *first, uint64_t n, const char *format, ...)
{
    va_list ap;
    if (n == 0)
        return;
    fprintf(to, "%s%" PRIu64 " ", *first ? "" : ", ", n);
    *first = false;
    va_start(ap, format);
    vfprintf(to, format, ap);
    va_end(ap);
}

/* An answer of 500 or more is a failure here, so the counts in parentheses are of both kinds. */
static void print_requests(const struct finding *f, FILE *to)
{
    const struct load_result *r = f->result;
    bool first = true;
    fprintf(to, "  requests  %" PRIu64 " sent, %" PRIu64 " answered, %" PRIu64 " without answer",
            r->sent, r->answered, r->failed);
    if (r->unsent)
        fprintf(to, "; %" PRIu64 " more were due, but no connection was free", r->unsent);
    fprintf(to, "\n  failed    %" PRIu64, f->aftermath.failed);
    fputs(f->aftermath.failed ? " (" : "", to);
    for (unsigned i = 0; i < LOAD_ERRORS; i++)
        put_count(to, &first, r->errors[i], "%s", load_error_names[i]);
    for (unsigned s = 500; s < 600; s++)
        put_count(to, &first, r->statuses[s], "answered %u", s);
    fputs(f->aftermath.failed ? ")\n" : "\n", to);
}

static void print_waits(const struct finding *f, FILE *to)
{
    char p50[TIME_TEXT], p99[TIME_TEXT], slowest[TIME_TEXT], slow[TIME_TEXT];
    fprintf(to, "  waits     median %s, p99 %s, slowest %s; %" PRIu64 " slower than %s\n",
            time_text(latency_quantile(&f->result->latency, 0.5), p50),
            time_text(latency_quantile(&f->result->latency, 0.99), p99),
            time_text(f->aftermath.slowest_ns, slowest), f->aftermath.slow,
            time_text(f->scenario->slow_ms * 1000000, slow));
    if (f->aftermath.before)
        fprintf(to, "            %" PRIu64 " failed or slow requests came before the first fault\n",
                f->aftermath.before);
}

static void print_keys(const struct finding *f, FILE *to)
{
    const struct aftermath *a = &f->aftermath;
    fprintf(to,
            "  keys      %" PRIu64 " of %" PRIu32 " moved, %" PRIu64 " had to; %" PRIu64
            " foreign; %" PRIu64 " not home at the end\n",
            a->moved, f->scenario->keys, a->minimum, a->foreign, a->not_home);
    if (a->early)
        fprintf(to, "            %" PRIu64 " moves came before the first fault\n", a->early);
    if (a->cut)
        fputs("            more happened than was kept: times and keys are lower bounds\n", to);
}

/* A time, unless some keys stayed away. */
static const char *home_text(uint64_t home_ns, uint64_t away, char out[TIME_TEXT])
{
    return home_ns == AFTERMATH_NONE && away ? "not all" : time_text(home_ns, out);
}

/* The name of the act that hurt the server. */
static const char *act_of(const struct finding *f, const struct aftermath_fault *v)
{
    return scenario_act_name(f->scenario->events[v->event].act);
}

/* A line for each fault, also where several servers were hurt by one event. */
static void print_faults(const struct finding *f, FILE *to)
{
    char at[TIME_TEXT], lasted[TIME_TEXT], over[TIME_TEXT], well[TIME_TEXT], home[TIME_TEXT];
    fprintf(to, "\n  %-6s %-12s %9s %9s %7s %11s %11s %7s %7s %11s\n", "fault", "", "at", "lasted",
            "keys", "taken over", "recovered", "failed", "slow", "home again");
    for (size_t i = 0; i < f->nfaults; i++) {
        const struct aftermath_fault *v = &f->faults[i];
        uint64_t lasted_ns = v->to_ns == AFTERMATH_NONE ? AFTERMATH_NONE : v->to_ns - v->from_ns;
        fprintf(to, "  %-6s %-12s %9s %9s %7" PRIu64 " %11s %11s %7" PRIu64 " %7" PRIu64 " %11s\n",
                v->server, act_of(f, v), time_text(v->from_ns, at), time_text(lasted_ns, lasted),
                v->keys, time_text(v->takeover_ns, over), time_text(v->recovery_ns, well),
                v->failed, v->slow, home_text(v->home_ns, v->away, home));
    }
}

/* Prints a text in lines of at most `width` columns, each indented. */
static void print_wrapped(const char *text, int indent, int width, FILE *to)
{
    int column = 0;
    for (const char *p = text + strspn(text, " \n"); *p; p += strspn(p, " \n")) {
        int n = (int)strcspn(p, " \n");
        if (column && column + 1 + n > width) {
            fputc('\n', to);
            column = 0;
        }
        column +=
            column ? fprintf(to, " %.*s", n, p) : fprintf(to, "%*s%.*s", indent, "", n, p) - indent;
        p += n;
    }
    fputc('\n', to);
}

void finding_print(const struct finding *f, FILE *to)
{
    const struct scenario *s = f->scenario;
    fprintf(to, "%s, %s: %" PRIu32 " backend%s", s->name, f->proxy->name, s->backends,
            s->backends > 1 ? "s" : "");
    if (s->standbys)
        fprintf(to, ", %" PRIu32 " standby%s%s", s->standbys, s->standbys > 1 ? "s" : "",
                f->proxy->standbys ? "" : " (not for it)");
    fprintf(to,
            ", %" PRIu32 " keys, %" PRIu32 " requests/s on %" PRIu32 " connections for %.3g s\n",
            s->keys, s->rate, s->connections, (double)s->duration_ms / 1000);
    print_wrapped(s->about, 2, 100, to);
    fputc('\n', to);
    print_requests(f, to);
    print_waits(f, to);
    print_keys(f, to);
    print_faults(f, to);
    fputc('\n', to);
}

void findings_print_summary(const struct finding *findings, size_t n, FILE *to)
{
    char slowest[TIME_TEXT], well[TIME_TEXT], over[TIME_TEXT], home[TIME_TEXT];
    fprintf(to, "%-16s %8s %7s %7s %8s %10s %11s %6s %7s %8s %11s\n", "scenario", "requests",
            "failed", "slow", "slowest", "recovered", "taken over", "moved", "had to", "foreign",
            "home again");
    for (size_t i = 0; i < n; i++) {
        const struct aftermath *a = &findings[i].aftermath;
        fprintf(to,
                "%-16s %8" PRIu64 " %7" PRIu64 " %7" PRIu64 " %8s %10s %11s %6" PRIu64 " %7" PRIu64
                " %8" PRIu64 " %11s\n",
                findings[i].scenario->name, findings[i].result->sent, a->failed, a->slow,
                time_text(a->slowest_ns, slowest), time_text(a->recovery_ns, well),
                time_text(a->takeover_ns, over), a->moved, a->minimum, a->foreign,
                home_text(a->home_ns, a->not_home, home));
    }
    fputs(
        "\nfailed: no answer, or one of 500 and more. recovered: from the fault to the end of the "
        "last request that\nfailed or was slow; - if there was none. taken over: to the first "
        "answer for one of its keys by another\nserver. foreign: keys that moved though their own "
        "backend was well. home again: from the fault's end.\n",
        to);
}

/* ---- for programs ---- */

/* Milliseconds, to the microsecond; AFTERMATH_NONE: null. */
static json_t *ms(uint64_t ns)
{
    return ns == AFTERMATH_NONE ? json_null() : json_real((double)(ns / 1000) / 1000);
}

static json_t *options_json(const struct scenario *s)
{
    json_t *j = json_object();
    document_put(j, "backends", document_count(s->backends));
    document_put(j, "standbys", document_count(s->standbys));
    document_put(j, "keys", document_count(s->keys));
    document_put(j, "rate", document_count(s->rate));
    document_put(j, "connections", document_count(s->connections));
    document_put(j, "duration_ms", document_count(s->duration_ms));
    document_put(j, "slow_ms", document_count(s->slow_ms));
    return j;
}

static json_t *events_json(const struct finding *f)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->scenario->nevents; i++) {
        const struct scenario_event *v = &f->scenario->events[i];
        json_t *j = json_object(), *servers = json_array();
        for (size_t k = 0; k < v->nservers; k++)
            document_push(servers, json_string(f->names[v->servers[k]]));
        document_put(j, "at_ms", ms(f->begun_ns[i]));
        document_put(j, "done_ms", ms(f->done_ns[i]));
        document_put(j, "do", json_string(scenario_act_name(v->act)));
        if (v->act == ACT_STATUS)
            document_put(j, "value", document_count(v->value));
        document_put(j, "servers", servers);
        document_push(list, j);
    }
    return list;
}

static json_t *faults_json(const struct finding *f)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->nfaults; i++) {
        const struct aftermath_fault *v = &f->faults[i];
        json_t *j = json_object();
        document_put(j, "server", json_string(v->server));
        document_put(j, "do", json_string(act_of(f, v)));
        document_put(j, "from_ms", ms(v->from_ns));
        document_put(j, "to_ms", ms(v->to_ns));
        document_put(j, "keys", document_count(v->keys));
        document_put(j, "takeover_ms", ms(v->takeover_ns));
        document_put(j, "recovery_ms", ms(v->recovery_ns));
        document_put(j, "failed", document_count(v->failed));
        document_put(j, "slow", document_count(v->slow));
        document_put(j, "home_ms", ms(v->home_ns));
        document_put(j, "away", document_count(v->away));
        document_push(list, j);
    }
    return list;
}

static json_t *aftermath_json(const struct aftermath *a)
{
    json_t *j = json_object();
    document_put(j, "failed", document_count(a->failed));
    document_put(j, "slow", document_count(a->slow));
    document_put(j, "before", document_count(a->before));
    document_put(j, "slowest_ms", ms(a->slowest_ns));
    document_put(j, "takeover_ms", ms(a->takeover_ns));
    document_put(j, "recovery_ms", ms(a->recovery_ns));
    document_put(j, "home_ms", ms(a->home_ns));
    document_put(j, "keys_minimum", document_count(a->minimum));
    document_put(j, "keys_moved", document_count(a->moved));
    document_put(j, "keys_foreign", document_count(a->foreign));
    document_put(j, "keys_not_home", document_count(a->not_home));
    document_put(j, "early_moves", document_count(a->early));
    document_put(j, "cut", json_boolean(a->cut));
    return j;
}

/* As a document now, since moves name keys, and the keys go with the load. */
void finding_take(struct finding *f, struct load_result *r, const struct load_options *load)
{
    json_t *options = options_json(f->scenario);
    const struct result_about about = {"failover", f->proxy->name, f->started, options, load};
    f->result = r;
    f->load = result_json(&about, r);
    json_decref(options);
}

json_t *finding_json(const struct finding *f)
{
    json_t *j = json_copy(f->load); /* not deep: the members are shared and stay as they are */
    document_put(j, "scenario", json_string(f->scenario->name));
    document_put(j, "about", json_string(f->scenario->about));
    document_put(j, "proxy", json_string(f->proxy->name));
    document_put(j, "aftermath", aftermath_json(&f->aftermath));
    document_put(j, "faults", faults_json(f));
    document_put(j, "events", events_json(f));
    return j;
}
