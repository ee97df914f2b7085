/* Any bytes are either a published state within its bounds, or refused with a line of text. What
 * was read can be written, has the same meaning when it is read again, and keeps what this version
 * does not know. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/fields.h"
#include "cluster/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)   \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

static void check_line(const char *line)
{
    MUST(*line);
    for (; *line; line++)
        MUST((unsigned char)*line >= ' ' && *line != 0x7f);
}

static void check_server(const struct agreed_server *s)
{
    bool ramp = s->phase == AGREED_RAMP;
    MUST(fields_is_name(s->name) && s->phase <= AGREED_RAMP);
    MUST(ramp == (s->from != NULL) && (ramp || s->share == 0) && s->share <= AGREED_SHARE_ALL);
    MUST(!s->from || fields_is_name(s->from));
    MUST(s->delay_ms <= STATE_LONGEST_MS && s->back_ms <= STATE_LONGEST_MS);
    MUST(s->left_ms <= STATE_LONGEST_MS && s->asked_ms <= NUMBER_MAX);
    MUST(s->phase == AGREED_WAIT || s->left_ms == 0);
    MUST(!s->returned || s->phase == AGREED_UP || ramp);
}

static void check_pool(const struct agreed_pool *p)
{
    MUST(fields_is_name(p->name) && fields_is_hex(p->digest) && p->nservers <= STATE_MAX_SERVERS);
    for (size_t i = 0; i < p->nservers; i++) {
        check_server(&p->servers[i]);
        MUST(i == 0 || strcmp(p->servers[i - 1].name, p->servers[i].name) < 0);
        MUST(state_server(p, p->servers[i].name) == &p->servers[i]);
    }
}

static void check_state(const struct state *s)
{
    MUST(s->npools <= STATE_MAX_POOLS && s->ndone <= STATE_MAX_DONE);
    for (size_t i = 0; i < s->npools; i++) {
        check_pool(&s->pools[i]);
        MUST(state_pool(s, s->pools[i].name) == &s->pools[i]);
    }
    for (size_t i = 0; i < s->ndone; i++) {
        MUST(fields_is_hex(s->done[i].instance) && s->done[i].number <= NUMBER_MAX);
        MUST(state_done_of(s, s->done[i].instance) == &s->done[i]);
        check_line(s->done[i].result);
    }
    for (size_t i = 0; i < s->nnodes; i++) {
        const struct state_node *n = &s->nodes[i];
        MUST(fields_is_name(n->node) && state_node_of(s, n->node) == n);
        MUST(n->wait_ms <= STATE_LONGEST_MS && n->lost_ms <= STATE_LONGEST_MS);
    }
}

/* ---- what is unknown ---- */

/* Each member that is not known stays, as it was. */
static void check_kept(json_t *before, json_t *after)
{
    static const char *const known =
        " v pools done role digest up servers phase drained carried from"
        " share delay back left asked nodes wait lost ";
    const char *key;
    json_t *v;
    json_object_foreach(before, key, v)
    {
        char word[64];
        int n = snprintf(word, sizeof word, " %s ", key);
        if (n < (int)sizeof word && !strchr(key, ' ') && strstr(known, word))
            continue;
        MUST(json_equal(v, json_object_get(after, key)));
    }
}

static void check_kept_servers(json_t *before, json_t *after)
{
    const char *name;
    json_t *v;
    json_object_foreach(json_object_get(before, "servers"), name, v)
        check_kept(v, json_object_get(json_object_get(after, "servers"), name));
}

static void check_all_kept(const char *before, size_t n, const char *after)
{
    const char *name;
    json_t *v, *a = json_loadb(before, n, 0, NULL), *b = json_loads(after, 0, NULL);
    MUST(a && b);
    check_kept(a, b);
    json_object_foreach(json_object_get(a, "pools"), name, v)
    {
        json_t *to = json_object_get(json_object_get(b, "pools"), name);
        check_kept(v, to);
        check_kept_servers(v, to);
    }
    json_decref(a);
    json_decref(b);
}

/* ---- again ---- */

static void check_same_server(const struct agreed_server *a, const struct agreed_server *b)
{
    MUST(strcmp(a->name, b->name) == 0 && a->phase == b->phase && a->drained == b->drained &&
         a->carried == b->carried);
    MUST(a->returned == b->returned && a->back_ms == b->back_ms && a->delay_ms == b->delay_ms);
    MUST(a->left_ms == b->left_ms && a->asked_ms == b->asked_ms && a->share == b->share);
    MUST(!a->from == !b->from && (!a->from || strcmp(a->from, b->from) == 0));
}

static void check_same(const struct state *a, const struct state *b)
{
    MUST(a->npools == b->npools && a->ndone == b->ndone && a->nnodes == b->nnodes);
    for (size_t i = 0; i < a->npools; i++) {
        const struct agreed_pool *p = &a->pools[i], *q = &b->pools[i];
        MUST(strcmp(p->name, q->name) == 0 && strcmp(p->digest, q->digest) == 0);
        MUST(p->nservers == q->nservers);
        for (size_t j = 0; j < p->nservers; j++)
            check_same_server(&p->servers[j], &q->servers[j]);
    }
    for (size_t i = 0; i < a->ndone; i++)
        MUST(strcmp(a->done[i].instance, b->done[i].instance) == 0 &&
             a->done[i].number == b->done[i].number &&
             strcmp(a->done[i].result, b->done[i].result) == 0);
    for (size_t i = 0; i < a->nnodes; i++)
        MUST(strcmp(a->nodes[i].node, b->nodes[i].node) == 0 &&
             a->nodes[i].wait_ms == b->nodes[i].wait_ms &&
             a->nodes[i].lost_ms == b->nodes[i].lost_ms);
}

static void check_again(const struct state *s, const char *data, size_t size)
{
    struct error e;
    size_t n, more;
    char *text = state_encode(s, s, &n, &e);
    if (text == NULL) { /* compact, but with more than there was: {"phase":"up"} in place of "" */
        check_line(e.text);
        return;
    }
    MUST(n == strlen(text) && n <= STATE_MAX_BYTES);
    struct state *again = state_decode((struct str){text, n}, &e);
    MUST(again);
    check_same(s, again);
    char *twice = state_encode(again, again, &more, &e);
    MUST(twice && more == n && memcmp(text, twice, n) == 0);
    if (2 * size < STATE_MAX_BYTES)
        check_all_kept(data, size, text);
    free(twice);
    free(text);
    state_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e;
    struct state *s = state_decode((struct str){(const char *)data, size}, &e);
    if (s == NULL) {
        check_line(e.text);
        return 0;
    }
    check_state(s);
    check_again(s, (const char *)data, size);
    state_free(s);
    return 0;
}
