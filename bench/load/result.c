#include "bench/load/result.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report/document.h"

#define MOVES_MAX 1000 /* in the document */
#define GROUPS_MAX 20  /* lines of moves in the text */

static const struct {
    const char *name;
    double q;
} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}};

#define NQUANTILES (sizeof quantiles / sizeof *quantiles)

/* Rounded to so many parts of 1: what a measurement cannot tell only makes the document longer. */
static json_t *real(double v, double digits)
{
    return json_real(round(v * digits) / digits);
}

static json_t *us(uint64_t ns)
{
    return real((double)ns / 1000, 1000);
}

/* 0 where there is nothing to divide by: a run that was broken off at once has no duration. */
static double per(double n, double of)
{
    return of > 0 ? n / of : 0;
}

/* Answers that named no backend are left out: shares are of the backends that are known. */
static uint64_t named_answers(const struct load_result *r)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < r->nbackends; i++)
        n += r->backend_answers[i];
    return n;
}

/* The answers of the busiest backend, divided by the mean of all backends. */
static double balance(const struct load_result *r)
{
    uint64_t most = 0;
    for (unsigned i = 0; i < r->nbackends; i++)
        if (r->backend_answers[i] > most)
            most = r->backend_answers[i];
    return per((double)most * r->nbackends, (double)named_answers(r));
}

/* ---- for programs ---- */

static json_t *errors_json(const uint64_t *errors)
{
    json_t *j = document_value(json_object());
    for (unsigned i = 0; i < LOAD_ERRORS; i++)
        document_put(j, load_error_names[i], document_count(errors[i]));
    return j;
}

static json_t *statuses_json(const struct load_result *r)
{
    json_t *j = document_value(json_object());
    char text[8];
    for (unsigned i = 100; i < 600; i++) {
        if (r->statuses[i] == 0)
            continue;
        snprintf(text, sizeof text, "%u", i);
        document_put(j, text, document_count(r->statuses[i]));
    }
    return j;
}

/* null without answers, as no number would be right. */
static json_t *latency_json(const struct latency *h)
{
    if (h->count == 0)
        return json_null();
    json_t *j = document_value(json_object());
    document_put(j, "min", us(h->min));
    document_put(j, "mean", us((uint64_t)(h->sum / (double)h->count)));
    for (size_t i = 0; i < NQUANTILES; i++)
        document_put(j, quantiles[i].name, us(latency_quantile(h, quantiles[i].q)));
    document_put(j, "max", us(h->max));
    return j;
}

/* Empty buckets are left out: most of them are empty. */
static json_t *histogram_json(const struct latency *h)
{
    json_t *j = document_value(json_array());
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        if (h->counts[i] == 0)
            continue;
        json_t *row = document_value(json_array());
        document_push(row, us(latency_bucket_top(i)));
        document_push(row, document_count(h->counts[i]));
        document_push(j, row);
    }
    return j;
}

static json_t *backends_json(const struct load_result *r)
{
    json_t *j = document_value(json_array());
    double all = (double)named_answers(r);
    for (unsigned i = 0; i < r->nbackends; i++) {
        json_t *row = document_value(json_object());
        document_put(row, "name", json_string(r->backend_names[i]));
        document_put(row, "answers", document_count(r->backend_answers[i]));
        document_put(row, "share", real(per((double)r->backend_answers[i], all), 1e6));
        document_push(j, row);
    }
    return j;
}

static json_t *keys_json(const struct load_result *r)
{
    json_t *j = document_value(json_object());
    document_put(j, "asked", document_count(r->keys_asked));
    document_put(j, "moved", document_count(r->keys_moved));
    document_put(j, "moves", document_count(r->nmoves));
    return j;
}

static json_t *moves_json(const struct result_about *a, const struct load_result *r)
{
    json_t *j = document_value(json_array());
    for (size_t i = 0; i < r->moves_kept && i < MOVES_MAX; i++) {
        const struct load_move *m = &r->moves[i];
        struct str key = keys_text(a->load->keys, m->key);
        json_t *row = document_value(json_object());
        document_put(row, "at_s", real((double)m->at_ns / 1e9, 1e6));
        document_put(row, "key", json_stringn(key.p, key.n));
        document_put(row, "from", json_string(r->backend_names[m->from]));
        document_put(row, "to", json_string(r->backend_names[m->to]));
        document_push(j, row);
    }
    return j;
}

static json_t *timeline_json(const struct load_result *r)
{
    json_t *answered = document_value(json_array()), *failed = document_value(json_array());
    json_t *refused = document_value(json_array()), *moves = document_value(json_array()),
           *slow = document_value(json_array());
    json_t *backends = document_value(json_object()), *j = document_value(json_object());
    for (unsigned i = 0; i < r->ncells; i++) {
        document_push(answered, document_count(r->cells[i].answered));
        document_push(failed, document_count(r->cells[i].failed));
        document_push(refused, document_count(r->cells[i].refused));
        document_push(moves, document_count(r->cells[i].moves));
        document_push(slow, us(r->cells[i].max_ns));
    }
    for (unsigned b = 0; b < r->nbackends; b++) {
        json_t *row = document_value(json_array());
        for (unsigned i = 0; i < r->ncells; i++)
            document_push(row, document_count(r->cell_backends[(size_t)i * r->nbackends + b]));
        document_put(backends, r->backend_names[b], row);
    }
    document_put(j, "interval_s", real((double)r->interval_ns / 1e9, 1e6));
    document_put(j, "answered", answered);
    document_put(j, "failed", failed);
    document_put(j, "refused", refused);
    document_put(j, "moves", moves);
    document_put(j, "max_us", slow);
    document_put(j, "backends", backends);
    return j;
}

static void put_counts(json_t *j, const struct load_result *r)
{
    document_put(j, "seconds", real(r->seconds, 1e6));
    document_put(j, "send_seconds", real(r->send_seconds, 1e6));
    document_put(j, "cpu_seconds", real(r->cpu_seconds, 1e6));
    document_put(j, "sent", document_count(r->sent));
    document_put(j, "answered", document_count(r->answered));
    document_put(j, "failed", document_count(r->failed));
    document_put(j, "unsent", document_count(r->unsent));
    document_put(j, "unasked", document_count(r->unasked));
    document_put(j, "connects", document_count(r->connects));
    document_put(j, "bytes_in", document_count(r->bytes_in));
    document_put(j, "bytes_out", document_count(r->bytes_out));
    document_put(j, "requests_per_second", real(per((double)r->answered, r->seconds), 1000));
    document_put(j, "requests_per_cpu_second",
                 real(per((double)r->answered, r->cpu_seconds), 1000));
}

static void put_start(json_t *j, const char *kind, const char *target, time_t at)
{
    char started[32];
    struct tm tm;
    if (gmtime_r(&at, &tm) == NULL ||
        strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        started[0] = 0;
    document_put(j, "ringbench", json_string(RINGPROXY_VERSION));
    document_put(j, "kind", json_string(kind));
    document_put(j, "target", json_string(target));
    document_put(j, "started", json_string(started));
}

json_t *result_json(const struct result_about *a, const struct load_result *r)
{
    json_t *j = document_value(json_object());
    put_start(j, a->kind, a->target, a->started);
    document_put(j, "options", json_incref(a->options));
    put_counts(j, r);
    document_put(j, "errors", errors_json(r->errors));
    document_put(j, "statuses", statuses_json(r));
    document_put(j, "latency_us", latency_json(&r->latency));
    document_put(j, "histogram", histogram_json(&r->latency));
    document_put(j, "backends", backends_json(r));
    document_put(j, "unnamed", document_count(r->unnamed_answers));
    document_put(j, "balance", r->nbackends ? real(balance(r), 1e6) : json_null());
    document_put(j, "keys", keys_json(r));
    document_put(j, "moves", moves_json(a, r));
    document_put(j, "timeline", timeline_json(r));
    return j;
}

bool result_save(const json_t *document, const char *path, struct error *e)
{
    FILE *f = fopen(path, "we");
    bool ok = f != NULL;
    if (ok) {
        ok = json_dumpf(document, f, JSON_INDENT(1) | JSON_REAL_PRECISION(12)) == 0 &&
             putc('\n', f) != EOF;
        ok = fclose(f) == 0 && ok; /* buffered output may fail only here */
    }
    if (!ok)
        error_errno(e, errno, "%s", path);
    return ok;
}

/* ---- for people ---- */

#define DURATION_MAX 24

static const char *duration(uint64_t ns, char out[DURATION_MAX])
{
    double v = (double)ns;
    if (v < 1e6)
        snprintf(out, DURATION_MAX, "%.1f us", v / 1e3);
    else if (v < 1e9)
        snprintf(out, DURATION_MAX, "%.2f ms", v / 1e6);
    else
        snprintf(out, DURATION_MAX, "%.3f s", v / 1e9);
    return out;
}

static void print_latency(FILE *to, const struct latency *h)
{
    char text[DURATION_MAX];
    fputs("latency    ", to);
    if (h->count == 0) {
        fputs("nothing was answered\n", to);
        return;
    }
    fprintf(to, "%10s", "min");
    for (size_t i = 0; i < NQUANTILES; i++)
        fprintf(to, " %10s", quantiles[i].name);
    fprintf(to, " %10s\n%11s%10s", "max", "", duration(h->min, text));
    for (size_t i = 0; i < NQUANTILES; i++)
        fprintf(to, " %10s", duration(latency_quantile(h, quantiles[i].q), text));
    fprintf(to, " %10s\n", duration(h->max, text));
}

static void print_errors(FILE *to, uint64_t failed, const uint64_t *errors)
{
    fputs("errors     ", to);
    if (failed == 0)
        fputs(" none", to);
    for (unsigned i = 0; i < LOAD_ERRORS; i++)
        if (errors[i])
            fprintf(to, " %s: %" PRIu64, load_error_names[i], errors[i]);
    fputc('\n', to);
}

static void print_unasked(FILE *to, const struct load_result *r)
{
    if (r->unasked)
        fprintf(to, "            %" PRIu64 " connections ended: bytes came that nobody asked for\n",
                r->unasked);
}

static void print_statuses(FILE *to, const struct load_result *r)
{
    fputs("answers    ", to);
    for (unsigned i = 100; i < 600; i++)
        if (r->statuses[i])
            fprintf(to, " %u: %" PRIu64, i, r->statuses[i]);
    fputc('\n', to);
}

static void print_backends(FILE *to, const struct load_result *r)
{
    double all = (double)named_answers(r);
    if (r->nbackends == 0)
        return;
    fputs("backends   ", to);
    for (unsigned i = 0; i < r->nbackends; i++)
        fprintf(to, "%s %s %" PRIu64 " (%.1f %%)", i ? "," : "", r->backend_names[i],
                r->backend_answers[i], per((double)r->backend_answers[i], all) * 100);
    fprintf(to, "\nbalance     %.3f (busiest / mean)", balance(r));
    if (r->unnamed_answers)
        fprintf(to, "; %" PRIu64 " answers named no backend", r->unnamed_answers);
    fputc('\n', to);
}

/* Moves between the same two backends within one second are printed as one line. */
static void print_moves(FILE *to, const struct load_result *r)
{
    size_t i = 0, lines = 0;
    while (i < r->moves_kept && lines < GROUPS_MAX) {
        const struct load_move *first = &r->moves[i];
        size_t n = 0;
        while (i < r->moves_kept && r->moves[i].from == first->from &&
               r->moves[i].to == first->to && r->moves[i].at_ns - first->at_ns < 1000000000)
            i++, n++;
        fprintf(to, "            %8.3f s  %zu %s %s -> %s\n", (double)first->at_ns / 1e9, n,
                n == 1 ? "key" : "keys", r->backend_names[first->from],
                r->backend_names[first->to]);
        lines++;
    }
    if (i < r->nmoves)
        fprintf(to, "            ... and %" PRIu64 " more\n", r->nmoves - i);
}

static void print_keys(FILE *to, const struct result_about *a, const struct load_result *r)
{
    if (a->load->keys == NULL)
        return;
    fprintf(to, "keys        %" PRIu64 " of %u asked, %" PRIu64 " changed their backend",
            r->keys_asked, a->load->keys->n, r->keys_moved);
    if (r->nmoves)
        fprintf(to, " (%" PRIu64 " moves)", r->nmoves);
    fputc('\n', to);
    print_moves(to, r);
}

static void print_throughput(FILE *to, const struct result_about *a, const struct load_result *r)
{
    fprintf(to,
            "throughput  %.1f requests/s, %.2f MiB/s in, %.2f MiB/s out; %.0f requests a CPU "
            "second here\n",
            per((double)r->answered, r->seconds), per((double)r->bytes_in / 1048576, r->seconds),
            per((double)r->bytes_out / 1048576, r->seconds),
            per((double)r->answered, r->cpu_seconds));
    if (a->load->rate > 0)
        fprintf(to, "rate        %.1f requests/s asked, %.1f sent%s", a->load->rate,
                per((double)r->sent, r->send_seconds), r->unsent ? ", " : "\n");
    if (r->unsent)
        fprintf(to, "%" PRIu64 " were due and found no free connection\n", r->unsent);
}

void result_print(FILE *to, const struct result_about *a, const struct load_result *r)
{
    fprintf(to,
            "requests    %" PRIu64 " sent = %" PRIu64 " answered + %" PRIu64
            " failed, in %.2f s over %" PRIu64 " connections\n",
            r->sent, r->answered, r->failed, r->seconds, r->connects);
    print_throughput(to, a, r);
    print_latency(to, &r->latency);
    if (strcmp(a->kind, "http") == 0)
        print_statuses(to, r);
    print_errors(to, r->failed, r->errors);
    print_unasked(to, r);
    print_backends(to, r);
    print_keys(to, a, r);
}

/* ---- bulk ---- */

static double mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

json_t *result_bulk_json(const struct result_bulk_about *a, const struct bulk_result *r)
{
    json_t *j = document_value(json_object()), *line = document_value(json_object());
    json_t *in = document_value(json_array()), *out = document_value(json_array());
    put_start(j, "tcp", a->target, a->started);
    document_put(j, "options",
                 json_pack("{s:s, s:s, s:i}", "mode", "bulk", "direction", a->direction,
                           "connections", (int)a->connections));
    document_put(j, "seconds", real(r->seconds, 1e6));
    document_put(j, "cpu_seconds", real(r->cpu_seconds, 1e6));
    document_put(j, "bytes_in", document_count(r->bytes_in));
    document_put(j, "bytes_out", document_count(r->bytes_out));
    document_put(j, "mib_per_second", real(per(mib(r->bytes_in + r->bytes_out), r->seconds), 1000));
    document_put(j, "mib_per_cpu_second",
                 real(per(mib(r->bytes_in + r->bytes_out), r->cpu_seconds), 1000));
    document_put(j, "failed", document_count(r->failed));
    document_put(j, "errors", errors_json(r->errors));
    for (unsigned i = 0; i < r->ncells; i++) {
        document_push(in, document_count(r->cells[i].bytes_in));
        document_push(out, document_count(r->cells[i].bytes_out));
    }
    document_put(line, "interval_s", real((double)r->interval_ns / 1e9, 1e6));
    document_put(line, "bytes_in", in);
    document_put(line, "bytes_out", out);
    document_put(j, "timeline", line);
    return j;
}

void result_bulk_print(FILE *to, const struct bulk_result *r)
{
    fprintf(to, "moved       %.1f MiB in, %.1f MiB out, in %.2f s\n", mib(r->bytes_in),
            mib(r->bytes_out), r->seconds);
    fprintf(to, "throughput  %.1f MiB/s in, %.1f MiB/s out; %.0f MiB a CPU second here\n",
            per(mib(r->bytes_in), r->seconds), per(mib(r->bytes_out), r->seconds),
            per(mib(r->bytes_in + r->bytes_out), r->cpu_seconds));
    print_errors(to, r->failed, r->errors);
}
