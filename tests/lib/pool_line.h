/* The configuration of a pool in one line, and random ones. */
#pragma once
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "config/config.h"
#include "tests/lib/unit.h"

#define MAX_SERVERS 8

/* "b1 b2@2 | s1 s2:b1 ; after=5000 manual": backends, standbys, settings. @ gives another address,
 * : is a standby's `for`. All servers are sorted by name. */
struct file {
    struct config_pool pool;
    struct config_server servers[2][MAX_SERVERS];
    uint16_t for_backends[MAX_SERVERS];
    char text[256], addresses[2][MAX_SERVERS][32];
};

static inline void pool_line_set(struct file *f, const char *word)
{
    struct config_pool *c = &f->pool;
    const char *equals = strchr(word, '=');
    uint64_t n = equals ? strtoull(equals + 1, NULL, 10) : 0;
    if (strcmp(word, "manual") == 0)
        c->failback.manual = true;
    else if (strcmp(word, "try") == 0)
        c->when_all_down = WHEN_ALL_DOWN_TRY;
    else if (strcmp(word, "fail") == 0)
        c->when_down = WHEN_DOWN_FAIL;
    else if (strcmp(word, "off") == 0)
        c->health.check = CHECK_OFF;
    else if (strcmp(word, "http") == 0)
        c->health.check = CHECK_HTTP;
    else if (strncmp(word, "after=", 6) == 0)
        c->failback.after_ms = n;
    else if (strncmp(word, "max=", 4) == 0)
        c->failback.max_after_ms = n;
    else if (strncmp(word, "ramp=", 5) == 0)
        c->failback.ramp_ms = n;
    else if (strncmp(word, "fall=", 5) == 0)
        c->health.fall = (unsigned)n;
    else if (strncmp(word, "rise=", 5) == 0)
        c->health.rise = (unsigned)n;
    else if (strncmp(word, "passive=", 8) == 0)
        c->passive.failures = (unsigned)n;
    else if (strncmp(word, "weight=", 7) == 0)
        c->backends[0].weight = (uint32_t)n;
    else
        ck_abort_msg("no such setting: %s", word);
}

static inline void pool_line_add(struct file *f, unsigned kind, char *word)
{
    struct config_pool *c = &f->pool;
    size_t *n = kind ? &c->nstandbys : &c->nbackends, i = (*n)++;
    struct config_server *s = &f->servers[kind][i];
    char *for_whom = strchr(word, ':'), *at = strchr(word, '@');
    if (for_whom)
        *for_whom++ = 0;
    if (at)
        *at++ = 0;
    bool named = at && at[0] == '?';
    snprintf(f->addresses[kind][i], sizeof f->addresses[kind][i],
             named ? "b.example:%s" : "10.0.0.%s:80",
             named ? "80"
             : at  ? at
                   : "1");
    s->name = word;
    s->address_text = f->addresses[kind][i];
    s->weight = 1;
    if (!named)
        ck_assert_int_eq(addr_parse(str_of(s->address_text), &s->address), ADDR_OK);
    for (uint16_t b = 0; for_whom && b < c->nbackends; b++)
        if (strcmp(c->backends[b].name, for_whom) == 0) {
            f->for_backends[i] = b;
            s->for_backends = &f->for_backends[i];
            s->nfor = 1;
        }
    ck_assert(!for_whom || s->nfor == 1);
}

static inline struct file *read_file(const char *line)
{
    static char name[] = "pool";
    struct file *f = mem_zalloc(sizeof *f);
    unsigned part = 0;
    f->pool = (struct config_pool){
        .name = name,
        .vnodes = 16,
        .health = {.check = CHECK_TCP, .interval_ms = 2000, .fall = 1, .rise = 1},
        .passive = {.failures = 5},
        .failback = {.max_after_ms = 300000},
        .backends = f->servers[0],
        .standbys = f->servers[1],
    };
    snprintf(f->text, sizeof f->text, "%s", line);
    char *rest = f->text, *word;
    while ((word = strsep(&rest, " ")) != NULL) {
        if (strcmp(word, "|") == 0)
            part = 1;
        else if (strcmp(word, ";") == 0)
            part = 2;
        else if (part == 2)
            pool_line_set(f, word);
        else if (*word)
            pool_line_add(f, part, word);
    }
    return f;
}

struct random {
    uint64_t state;
};

static inline unsigned below(struct random *r, unsigned n)
{
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((r->state >> 33) % n);
}

/* Each of five names is a backend, a standby or nothing, at one of two addresses. */
static inline void random_line(struct random *r, char *line, size_t size)
{
    static const char *const settings[] = {
        "manual",    "fail",   "http",   "off",       "after=700", "after=5000", "ramp=30",
        "ramp=4000", "fall=2", "rise=2", "passive=2", "weight=2",  "max=1000",   "try"};
    unsigned role[5], first = below(r, 5);
    size_t at = 0;
    for (unsigned i = 0; i < 5; i++)
        role[i] = i == first ? 1 : below(r, 3);
    for (unsigned kind = 1; kind <= 2; kind++) {
        for (unsigned i = 0; i < 5; i++)
            if (role[i] == kind)
                at += (size_t)snprintf(line + at, size - at, "s%u@%u ", i, 1 + below(r, 8) / 7);
        at += (size_t)snprintf(line + at, size - at, kind == 1 ? "| " : ";");
    }
    for (unsigned i = 0; i < sizeof settings / sizeof *settings; i++)
        if (below(r, 4) == 0)
            at += (size_t)snprintf(line + at, size - at, " %s", settings[i]);
}
