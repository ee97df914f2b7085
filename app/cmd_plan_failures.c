/* `ringproxy plan FILE --failures` prints what each failure of one server, or of two, does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "app/cmd_plan.h"
#include "app/options.h"
#include "base/mem.h"
#include "plan/document.h"
#include "plan/outages.h"

#define GAINS_SHOWN 3
#define OUT_TEXT 600 /* two names */

static const char *out_text(const struct outages *o, const struct outage *c, char out[OUT_TEXT])
{
    snprintf(out, OUT_TEXT, "%s%s%s", outages_name(o, c->out[0]), c->nout > 1 ? ", " : "",
             c->nout > 1 ? outages_name(o, c->out[1]) : "");
    return out;
}

static void print_gains(struct outages *o, const struct outage *c, struct outage_gain *gains)
{
    char text[PLAN_PERCENT];
    size_t n = outages_gains(o, c, gains);
    for (size_t i = 0; i < n && i < GAINS_SHOWN; i++)
        printf("%s%s +%s", i ? ", " : "", outages_name(o, gains[i].id),
               plan_percent(gains[i].gained, text));
    if (n > GAINS_SHOWN)
        printf(" and %zu more", n - GAINS_SHOWN);
    if (n == 0)
        fputs(c->ignored ? "when_all_down: try" : "-", stdout);
    putchar('\n');
}

static void print_cases(struct outages *o, const struct config_pool *p, size_t worst)
{
    char text[OUT_TEXT], moved[PLAN_PERCENT], refused[PLAN_PERCENT], share[PLAN_PERCENT];
    struct outage_gain *gains = mem_zalloc_array(p->nbackends + p->nstandbys, sizeof *gains);
    int out = 3, fullest = 7;
    size_t n;
    const struct outage *cases = outages_cases(o, &n);
    n = n < worst ? n : worst;
    for (size_t i = 0; i < n; i++) {
        out = plan_width(out_text(o, &cases[i], text), out);
        if (cases[i].fullest != SERVER_NONE)
            fullest = plan_width(outages_name(o, cases[i].fullest), fullest);
    }
    printf("  %-*s  %10s  %10s  %-*s  %10s  %7s  %s\n", out, "out", "moved", "refused", fullest,
           "fullest", "its share", "of fair", "who gets the keys");
    for (size_t i = 0; i < n; i++) {
        const struct outage *c = &cases[i];
        bool some = c->fullest != SERVER_NONE;
        printf("  %-*s  %10s  %10s  %-*s  %10s  %7.4f  ", out, out_text(o, c, text),
               plan_percent(c->moved, moved), plan_percent(c->refused, refused), fullest,
               some ? outages_name(o, c->fullest) : "-",
               some ? plan_percent(c->fullest_share, share) : "-", c->relative);
        print_gains(o, c, gains);
    }
    free(gains);
}

static void print_fullest(const struct outages *o, const struct outage *c)
{
    char share[PLAN_PERCENT];
    printf("%s has %s, %.4f times what its weight promises", outages_name(o, c->fullest),
           plan_percent(c->fullest_share, share), c->relative);
}

/* The worst case for those that are left, and the worst for the keys: often not the same one. */
static void print_summary(struct outages *o, const struct plan_args *a)
{
    char text[OUT_TEXT], share[PLAN_PERCENT];
    size_t n, fullest = 0, refusing = 0;
    const struct outage *cases = outages_cases(o, &n);
    for (size_t i = 0; i < n; i++) {
        refusing += cases[i].refused > 0;
        if (cases[i].relative > cases[fullest].relative)
            fullest = i;
    }
    if (n > a->worst)
        printf("  and %zu cases that are no worse\n", n - a->worst);
    if (cases[fullest].fullest != SERVER_NONE) {
        printf("  fullest: with %s out, ", out_text(o, &cases[fullest], text));
        print_fullest(o, &cases[fullest]);
        putchar('\n');
    }
    if (refusing)
        printf("  refused: %zu of %zu cases refuse keys, %s with %s out\n", refusing, n,
               plan_percent(cases[0].refused, share), out_text(o, &cases[0], text));
}

static void print_text(struct outages *o, const struct config_pool *p, const struct plan_args *a)
{
    struct outage normal = outages_normal(o);
    printf("pool %s: with all in service, ", p->name);
    print_fullest(o, &normal);
    putchar('\n');
    print_cases(o, p, a->worst);
    print_summary(o, a);
}

/* One pool: as text at once, or as an item of `documents`. */
static int try_pool(const struct config_pool *p, const struct plan_args *a, json_t *documents)
{
    struct error e;
    int status = APP_OK;
    struct outages *o = outages_new(p, &e);
    if (o == NULL) {
        status = APP_FAILED;
    } else if (!outages_run(o, a->failures, &e)) {
        status = APP_USAGE;
    } else if (!a->json) {
        print_text(o, p, a);
    } else {
        json_t *document = document_outages(o, p, a->worst);
        if (document == NULL || json_array_append_new(documents, document) != 0) {
            error_set(&e, 0, "no memory for the document");
            status = APP_FAILED;
        }
    }
    if (status != APP_OK)
        fprintf(stderr, "ringproxy plan: pool %s: %s\n", p->name, e.text);
    outages_free(o);
    return status;
}

int plan_failures(const struct config *c, const struct plan_args *a)
{
    const struct config_pool *only = NULL;
    int status = APP_OK;
    if (a->pool && (only = options_pool("plan", c, a->pool)) == NULL)
        return APP_USAGE;
    json_t *documents = mem_check(json_array());
    for (size_t i = 0; i < c->npools && status == APP_OK; i++)
        if (only == NULL || only == &c->pools[i])
            status = try_pool(&c->pools[i], a, documents);
    if (status == APP_OK && a->json) {
        if (!plan_print_json(json_pack("{s:i, s:I, s:O}", "failures", (int)a->failures, "positions",
                                       (json_int_t)RING_SPACE, "pools", documents)))
            status = APP_FAILED;
    } else if (!options_flush("plan") && status == APP_OK) {
        status = APP_FAILED;
    }
    json_decref(documents);
    return status;
}
