#include "bench/backend/serve_http.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/splitmix.h"
#include "bench/backend/pace.h"
#include "httpd/httpd.h"

#define MAX_CONNECTIONS 20000

/* The name, then dots. A longer body is made anew; the older ones stay, as answers on their way may
 * point into them. Each is twice as long as the one before (but for the longest there can be), so
 * all of them together are less than three times the largest. */
struct body {
    struct body *older;
    size_t size;
    char bytes[];
};

struct serve_http {
    const char *name;
    struct buffer fields; /* X-Backend, of every answer */
    struct body *body;
    struct behaviour now;
    uint64_t random; /* the state of splitmix_next() */
    uint64_t requests, hung, checks;
    struct httpd_counts counts; /* what the server and the pace had counted at the last reset */
    struct pace_counts paced;
    struct httpd *server;
    struct pace *pace;
};

/* --- chance --- */

/* Backends with the same seed do not fail in step. */
static uint64_t random_begin(uint64_t seed, const char *name)
{
    uint64_t state = seed;
    for (; *name; name++)
        state = splitmix_next(&state) ^ (unsigned char)*name;
    return state;
}

enum fate { ANSWERED, FAILED, HUNG };

/* One draw decides both rates, so each is a share of all requests. */
static enum fate decide(struct serve_http *v)
{
    const struct behaviour *b = &v->now;
    if (b->hang)
        return HUNG;
    if (b->hang_rate <= 0 && b->error_rate <= 0)
        return ANSWERED;
    double at = splitmix_unit(&v->random);
    if (at < b->hang_rate)
        return HUNG;
    return at < b->hang_rate + b->error_rate ? FAILED : ANSWERED;
}

static uint64_t delay_ms(struct serve_http *v)
{
    const struct behaviour *b = &v->now;
    return b->delay_ms + (b->jitter_ms ? splitmix_next(&v->random) % (b->jitter_ms + 1) : 0);
}

/* --- fields and body --- */

static void make_fields(struct serve_http *v)
{
    char line[256];
    int n = snprintf(line, sizeof line, "X-Backend: %s\r\n", v->name);
    assert(n > 0 && (size_t)n < sizeof line); /* names are shorter */
    bool ok = buffer_append(&v->fields, line, (size_t)n);
    assert(ok); /* as of all memory that is taken at the start */
    (void)ok;
}

static void make_body(struct serve_http *v, size_t size)
{
    size_t name = strlen(v->name), old = v->body ? v->body->size : 0;
    size = size > name ? size : name;
    if (v->body && size <= old)
        return;
    size_t twice = 2 * old < BEHAVIOUR_BODY_MAX ? 2 * old : BEHAVIOUR_BODY_MAX;
    size = size > twice ? size : twice;
    struct body *b = mem_zalloc(sizeof *b + size);
    *b = (struct body){.older = v->body, .size = size};
    memset(b->bytes, '.', size);
    memcpy(b->bytes, v->name, name);
    v->body = b;
}

static struct str body(const struct serve_http *v)
{
    size_t name = strlen(v->name), size = (size_t)v->now.body_size;
    return (struct str){v->body->bytes, size > name ? size : name};
}

/* --- /__control, /__stats --- */

static bool answer_json(struct httpd_answer *a, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    a->type = "application/json";
    bool ok = text && buffer_append(a->text, text, strlen(text)) && buffer_append(a->text, "\n", 1);
    free(text);
    return ok;
}

static bool answer_text(struct httpd_answer *a, int status, const char *text)
{
    a->status = status;
    return buffer_append(a->text, text, strlen(text)) && buffer_append(a->text, "\n", 1);
}

static bool refuse_method(struct httpd_answer *a, const char *allowed)
{
    a->status = 405;
    return httpd_field(a, "Allow", str_of(allowed));
}

static bool answer_behaviour(struct serve_http *v, struct httpd_answer *a)
{
    json_t *root = behaviour_json(&v->now);
    json_int_t left = (json_int_t)pace_stalled(v->pace);
    if (root && json_object_set_new(root, "stall", json_integer(left)) != 0) {
        json_decref(root);
        return false;
    }
    return answer_json(a, root);
}

static bool control(struct serve_http *v, const struct httpd_request *q, struct httpd_answer *a)
{
    struct error e;
    struct behaviour wanted = v->now;
    if (q->head->method != METHOD_POST)
        return refuse_method(a, "POST");
    if (!behaviour_set_query(&wanted, q->query, &e) ||
        (q->body.n && !behaviour_set_json(&wanted, q->body, &e)) || !behaviour_check(&wanted, &e))
        return answer_text(a, 400, e.text);
    uint64_t stall_ms = wanted.stall_ms;
    v->now = wanted;
    v->now.stall_ms = BEHAVIOUR_NO_STALL;
    make_body(v, (size_t)v->now.body_size);
    if (stall_ms != BEHAVIOUR_NO_STALL)
        pace_stall(v->pace, stall_ms);
    return answer_behaviour(v, a);
}

static bool answer_counts(const struct serve_http *v, struct httpd_answer *a)
{
    const struct httpd_counts *n = httpd_counts(v->server);
    const struct pace_counts *paced = pace_counts(v->pace);
    return answer_json(a, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name", v->name,
                                    "requests", (json_int_t)v->requests, "answered",
                                    (json_int_t)(paced->answered - v->paced.answered), "errors",
                                    (json_int_t)(paced->errors - v->paced.errors), "hung",
                                    (json_int_t)v->hung, "checks", (json_int_t)v->checks,
                                    "connections", (json_int_t)n->connections, "accepted",
                                    (json_int_t)(n->accepted - v->counts.accepted)));
}

/* Whether {"reset": 1} or reset=1 is all that a POST says. */
static bool wants_reset(const struct httpd_request *q)
{
    if (q->body.n == 0)
        return str_eq(q->query, STR("reset=1"));
    json_t *root = json_loadb(q->body.p, q->body.n, JSON_REJECT_DUPLICATES, NULL);
    json_t *reset = json_object_get(root, "reset");
    bool yes = q->query.n == 0 && json_object_size(root) == 1 &&
               (json_is_true(reset) || json_integer_value(reset) == 1);
    json_decref(root);
    return yes;
}

static bool stats(struct serve_http *v, const struct httpd_request *q, struct httpd_answer *a)
{
    if (q->head->method == METHOD_POST) {
        if (!wants_reset(q))
            return answer_text(a, 400, "allowed is reset=1");
        v->counts = *httpd_counts(v->server);
        v->paced = *pace_counts(v->pace);
        v->requests = v->hung = v->checks = 0;
    } else if (q->head->method != METHOD_GET && q->head->method != METHOD_HEAD) {
        return refuse_method(a, "GET, HEAD, POST");
    }
    return answer_counts(v, a);
}

/* --- requests --- */

static bool check(struct serve_http *v, struct httpd_request *q)
{
    const struct pace_answer a = {
        .status = v->now.fail_checks ? 500 : 200,
        .body = v->now.fail_checks ? STR("failing on request\n") : STR("ok\n"),
        .fields = &v->fields,
        .delay_ms = v->now.hang ? PACE_NEVER : v->now.delay_ms,
    };
    v->checks++;
    return pace_answer(v->pace, q, &a);
}

static bool request(struct serve_http *v, struct httpd_request *q)
{
    enum fate fate = decide(v);
    const struct pace_answer a = {
        .status = fate == FAILED  ? 500
                  : v->now.status ? (int)v->now.status
                                  : 200,
        .body = body(v),
        .fields = &v->fields,
        .delay_ms = fate == HUNG ? PACE_NEVER : delay_ms(v),
        .drip_ms = v->now.slow_body_ms,
        .chunk_size = v->now.chunked ? (size_t)v->now.chunk_size : 0,
        .counted = true,
    };
    v->requests++;
    v->hung += fate == HUNG;
    return pace_answer(v->pace, q, &a);
}

/* A stall does not hold the answers that are made here: it does not lock out who is to end it. */
static bool handle(void *arg, struct httpd_request *q, struct httpd_answer *a)
{
    struct serve_http *v = arg;
    if (str_eq(q->path, STR("/healthz")))
        return check(v, q);
    if (!str_eq(q->path, STR("/__stats")) && !str_eq(q->path, STR("/__control")))
        return request(v, q);
    if (!buffer_append(a->fields, buffer_head(&v->fields), buffer_len(&v->fields)))
        return false;
    return str_eq(q->path, STR("/__stats")) ? stats(v, q, a) : control(v, q, a);
}

static void refuse(void *arg, struct httpd_request *q, int status)
{
    struct serve_http *v = arg;
    if (!pace_refuse(v->pace, q, status))
        httpd_refuse(q, status);
}

/* --- life --- */

struct serve_http *serve_http_new(struct net *n, const char *name, const struct behaviour *b,
                                  uint64_t seed)
{
    struct serve_http *v = mem_zalloc(sizeof *v);
    v->name = name;
    v->now = *b;
    v->random = random_begin(seed, name);
    make_fields(v);
    make_body(v, (size_t)b->body_size);
    v->pace = pace_new(n->loop);
    const struct httpd_options options = {
        .handle = handle, .refuse = refuse, .arg = v, .max_connections = MAX_CONNECTIONS};
    v->server = httpd_new(n, &options);
    return v;
}

void serve_http_free(struct serve_http *v)
{
    while (v->body) {
        struct body *b = v->body;
        v->body = b->older;
        free(b);
    }
    buffer_release(&v->fields);
    pace_free(v->pace);
    free(v);
}

bool serve_http_listen(struct serve_http *v, const struct addr *a, struct error *e)
{
    return httpd_listen(v->server, a, e);
}

const struct addr *serve_http_address(const struct serve_http *v)
{
    return httpd_address(v->server);
}

void serve_http_close(struct serve_http *v)
{
    httpd_close(v->server, NULL, NULL);
    pace_close(v->pace);
}
