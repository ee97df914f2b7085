#include "bench/load/result.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOVES_MAX 1000 /* in the document */
#define GROUPS_MAX 20  /* lines of moves in the text */

static const struct {
    const char *name;
    double q;
} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}};

#define NQUANTILES (sizeof quantiles / sizeof *quantiles)

/* Documents are small control data: if memory is out, the process aborts, as in base/mem. */
static json_t *made(json_t *j)
{
    if (j == NULL)
        abort();
    return j;
}

static void put(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, made(value)) != 0)
        abort();
}

static void push(json_t *array, json_t *value)
{
    if (json_array_append_new(array, made(value)) != 0)
        abort();
}

static json_t *whole(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static json_t *real(double v, double digits)
{
    return json_real(round(v * digits) / digits);
}

static json_t *us(uint64_t ns)
{
    return real((double)ns / 1000, 1000);
}

static double per(double n, double of)
{
    return of > 0 ? n / of : 0;
}

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
    json_t *j = made(json_object());
    for (unsigned i = 0; i < LOAD_ERRORS; i++)
        put(j, load_error_names[i], whole(errors[i]));
    return j;
}

static json_t *statuses_json(const struct load_result *r)
{
    json_t *j = made(json_object());
    char text[8];
    for (unsigned i = 100; i < 600; i++) {
        if (r->statuses[i] == 0)
            continue;
        snprintf(text, sizeof text, "%u", i);
        put(j, text, whole(r->statuses[i]));
    }
    return j;
}

static json_t *latency_json(const struct latency *h)
{
    if (h->count == 0)
        return json_null();
    json_t *j = made(json_object());
    put(j, "min", us(h->min));
    put(j, "mean", us((uint64_t)(h->sum / (double)h->count)));
    for (size_t i = 0; i < NQUANTILES; i++)
        put(j, quantiles[i].name, us(latency_quantile(h, quantiles[i].q)));
    put(j, "max", us(h->max));
    return j;
}

static json_t *histogram_json(const struct latency *h)
{
    json_t *j = made(json_array());
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        if (h->counts[i] == 0)
            continue;
        json_t *row = made(json_array());
        push(row, us(latency_bucket_top(i)));
        push(row, whole(h->counts[i]));
        push(j, row);
    }
    return j;
}

static json_t *backends_json(const struct load_result *r)
{
    json_t *j = made(json_array());
    double all = (double)named_answers(r);
    for (unsigned i = 0; i < r->nbackends; i++) {
        json_t *row = made(json_object());
        put(row, "name", json_string(r->backend_names[i]));
        put(row, "answers", whole(r->backend_answers[i]));
        put(row, "share", real(per((double)r->backend_answers[i], all), 1e6));
        push(j, row);
    }
    return j;
}

static json_t *keys_json(const struct load_result *r)
{
    json_t *j = made(json_object());
    put(j, "asked", whole(r->keys_asked));
    put(j, "moved", whole(r->keys_moved));
    put(j, "moves", whole(r->nmoves));
    return j;
}

static json_t *moves_json(const struct result_about *a, const struct load_result *r)
{
    json_t *j = made(json_array());
    for (size_t i = 0; i < r->moves_kept && i < MOVES_MAX; i++) {
        const struct load_move *m = &r->moves[i];
        struct str key = keys_text(a->load->keys, m->key);
        json_t *row = made(json_object());
        put(row, "at_s", real((double)m->at_ns / 1e9, 1e6));
        put(row, "key", json_stringn(key.p, key.n));
        put(row, "from", json_string(r->backend_names[m->from]));
        put(row, "to", json_string(r->backend_names[m->to]));
        push(j, row);
    }
    return j;
}

static json_t *timeline_json(const struct load_result *r)
{
    json_t *answered = made(json_array()), *failed = made(json_array());
    json_t *refused = made(json_array()), *moves = made(json_array()), *slow = made(json_array());
    json_t *backends = made(json_object()), *j = made(json_object());
    for (unsigned i = 0; i < r->ncells; i++) {
        push(answered, whole(r->cells[i].answered));
        push(failed, whole(r->cells[i].failed));
        push(refused, whole(r->cells[i].refused));
        push(moves, whole(r->cells[i].moves));
        push(slow, us(r->cells[i].max_ns));
    }
    for (unsigned b = 0; b < r->nbackends; b++) {
        json_t *row = made(json_array());
        for (unsigned i = 0; i < r->ncells; i++)
            push(row, whole(r->cell_backends[(size_t)i * r->nbackends + b]));
        put(backends, r->backend_names[b], row);
    }
    put(j, "interval_s", real((double)r->interval_ns / 1e9, 1e6));
    put(j, "answered", answered);
    put(j, "failed", failed);
    put(j, "refused", refused);
    put(j, "moves", moves);
    put(j, "max_us", slow);
    put(j, "backends", backends);
    return j;
}

static void put_counts(json_t *j, const struct load_result *r)
{
    put(j, "seconds", real(r->seconds, 1e6));
    put(j, "send_seconds", real(r->send_seconds, 1e6));
    put(j, "cpu_seconds", real(r->cpu_seconds, 1e6));
    put(j, "sent", whole(r->sent));
    put(j, "answered", whole(r->answered));
    put(j, "failed", whole(r->failed));
    put(j, "unsent", whole(r->unsent));
    put(j, "unasked", whole(r->unasked));
    put(j, "connects", whole(r->connects));
    put(j, "bytes_in", whole(r->bytes_in));
    put(j, "bytes_out", whole(r->bytes_out));
    put(j, "requests_per_second", real(per((double)r->answered, r->seconds), 1000));
    put(j, "requests_per_cpu_second", real(per((double)r->answered, r->cpu_seconds), 1000));
}

static void put_start(json_t *j, const char *kind, const char *target, time_t at)
{
    char started[32];
    struct tm tm;
    if (gmtime_r(&at, &tm) == NULL ||
        strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        started[0] = 0;
    put(j, "ringbench", json_string(RINGPROXY_VERSION));
    put(j, "kind", json_string(kind));
    put(j, "target", json_string(target));
    put(j, "started", json_string(started));
}

json_t *result_json(const struct result_about *a, const struct load_result *r)
{
    json_t *j = made(json_object());
    put_start(j, a->kind, a->target, a->started);
    put(j, "options", json_incref(a->options));
    put_counts(j, r);
    put(j, "errors", errors_json(r->errors));
    put(j, "statuses", statuses_json(r));
    put(j, "latency_us", latency_json(&r->latency));
    put(j, "histogram", histogram_json(&r->latency));
    put(j, "backends", backends_json(r));
    put(j, "unnamed", whole(r->unnamed_answers));
    put(j, "balance", r->nbackends ? real(balance(r), 1e6) : json_null());
    put(j, "keys", keys_json(r));
    put(j, "moves", moves_json(a, r));
    put(j, "timeline", timeline_json(r));
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
    json_t *j = made(json_object()), *line = made(json_object());
    json_t *in = made(json_array()), *out = made(json_array());
    put_start(j, "tcp", a->target, a->started);
    put(j, "options",
        json_pack("{s:s, s:s, s:i}", "mode", "bulk", "direction", a->direction, "connections",
                  (int)a->connections));
    put(j, "seconds", real(r->seconds, 1e6));
    put(j, "cpu_seconds", real(r->cpu_seconds, 1e6));
    put(j, "bytes_in", whole(r->bytes_in));
    put(j, "bytes_out", whole(r->bytes_out));
    put(j, "mib_per_second", real(per(mib(r->bytes_in + r->bytes_out), r->seconds), 1000));
    put(j, "mib_per_cpu_second", real(per(mib(r->bytes_in + r->bytes_out), r->cpu_seconds), 1000));
    put(j, "failed", whole(r->failed));
    put(j, "errors", errors_json(r->errors));
    for (unsigned i = 0; i < r->ncells; i++) {
        push(in, whole(r->cells[i].bytes_in));
        push(out, whole(r->cells[i].bytes_out));
    }
    put(line, "interval_s", real((double)r->interval_ns / 1e9, 1e6));
    put(line, "bytes_in", in);
    put(line, "bytes_out", out);
    put(j, "timeline", line);
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
