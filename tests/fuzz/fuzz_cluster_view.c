/* Any bytes are either a view within its bounds, or refused with a line of text. What was read can
 * be written, and has the same meaning when it is read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/fields.h"
#include "cluster/view.h"

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

static void check_pool(const struct view_pool *p)
{
    MUST(fields_is_name(p->name) && fields_is_hex(p->digest));
    for (size_t i = 0; i < p->nservers; i++) {
        const struct view_server *s = &p->servers[i];
        MUST(fields_is_name(s->name) && s->vote <= VIEW_UNSURE);
        MUST(p->named || s->vote != VIEW_UP || s->out || s->except);
        MUST(i == 0 || strcmp(p->servers[i - 1].name, s->name) < 0);
        MUST(view_server_of(p, s->name) == s);
    }
}

static void check_view(const struct view *v)
{
    MUST(fields_is_hex(v->id) && v->role <= VIEW_KEEPER && v->npools <= VIEW_MAX_POOLS);
    MUST(v->version.epoch <= NUMBER_MAX && v->version.seq <= NUMBER_MAX);
    MUST(fields_is_hex(v->version.by) || (v->version.epoch == 0 && v->version.seq == 0));
    for (size_t i = 0; i < v->npools; i++) {
        check_pool(&v->pools[i]);
        MUST(view_pool_of(v, v->pools[i].name) == &v->pools[i]);
    }
    MUST(v->nasks <= VIEW_MAX_ASKS);
    for (size_t i = 0; i < v->nasks; i++) {
        const struct view_ask *a = &v->asks[i];
        MUST(fields_is_name(a->pool) && fields_is_name(a->server) && a->verb <= VIEW_FAILBACK);
        MUST(a->made_ms <= NUMBER_MAX && a->number > (i ? v->asks[i - 1].number : 0));
    }
}

static void check_same_pool(const struct view_pool *a, const struct view_pool *b)
{
    MUST(strcmp(a->name, b->name) == 0 && strcmp(a->digest, b->digest) == 0);
    MUST(a->named == b->named && a->blind == b->blind && a->nservers == b->nservers);
    for (size_t i = 0; i < a->nservers; i++) {
        const struct view_server *s = &a->servers[i], *t = &b->servers[i];
        MUST(strcmp(s->name, t->name) == 0 && s->vote == t->vote);
        MUST(s->out == t->out && s->except == t->except);
    }
}

static void check_same(const struct view *a, const struct view *b)
{
    MUST(strcmp(a->id, b->id) == 0 && version_compare(&a->version, &b->version) == 0);
    MUST(a->role == b->role && a->listen_active == b->listen_active && a->ready == b->ready);
    MUST(a->accepting == b->accepting && a->preempt == b->preempt && a->priority == b->priority);
    MUST(a->npools == b->npools && a->nasks == b->nasks);
    for (size_t i = 0; i < a->npools; i++)
        check_same_pool(&a->pools[i], &b->pools[i]);
    for (size_t i = 0; i < a->nasks; i++) {
        const struct view_ask *p = &a->asks[i], *q = &b->asks[i];
        MUST(p->number == q->number && p->made_ms == q->made_ms && p->verb == q->verb);
        MUST(strcmp(p->pool, q->pool) == 0 && strcmp(p->server, q->server) == 0);
    }
}

/* It can be longer than what was read, as some members may miss: then without `names`. */
static void check_again(const struct view *v)
{
    struct error e;
    size_t n, more;
    char *text = view_encode(v, &n, &e);
    if (text == NULL) {
        check_line(e.text);
        return;
    }
    MUST(n == strlen(text) && n <= VIEW_MAX_BYTES);
    struct view *again = view_decode((struct str){text, n}, &e);
    MUST(again);
    check_view(again);
    if (n < VIEW_MAX_BYTES / 2)
        check_same(v, again);
    char *twice = view_encode(again, &more, &e);
    MUST(twice && more == n && memcmp(text, twice, n) == 0);
    free(twice);
    free(text);
    view_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e;
    struct view *v = view_decode((struct str){(const char *)data, size}, &e);
    if (v == NULL) {
        check_line(e.text);
        return 0;
    }
    check_view(v);
    check_again(v);
    view_free(v);
    return 0;
}
