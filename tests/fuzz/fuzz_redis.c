/* What a Redis sends, from the bytes to the answers that a fleet acts on. The first byte of the
 * input says how the rest is cut. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cluster/answers.h"
#include "cluster/resp.h"
#include "cluster/store_redis.h"

static unsigned refusals;

static void on_refused(void *arg, const char *what)
{
    assert(strlen(what) < 256);
    for (const char *p = what; *p; p++)
        assert(*p >= ' ' && *p <= '~');
    refusals++;
}

static void check_instance(const char *s)
{
    size_t n = strspn(s, "0123456789abcdef");
    assert(n >= 1 && n < INSTANCE_SIZE && s[n] == '\0');
}

static void check_version(const struct version *v)
{
    assert(v->epoch <= NUMBER_MAX && v->seq <= NUMBER_MAX);
    assert((v->epoch == 0) == (v->seq == 0) && (v->epoch == 0) == (v->by[0] == '\0'));
    if (v->epoch)
        check_instance(v->by);
}

static void check_node(const char *node)
{
    size_t n = strlen(node);
    assert(n >= 1 && n <= STORE_NODE_MAX && strcmp(node, "#") != 0);
    for (; *node; node++)
        assert(*node > ' ' && *node <= '~');
}

static void check_holder(struct str holder, uint64_t left_ms)
{
    assert(holder.n <= STORE_LOCK_MAX && left_ms <= NUMBER_MAX);
    for (size_t i = 0; i < holder.n; i++)
        assert(holder.p[i] >= ' ' && holder.p[i] <= '~');
}

static void check_sync(const struct store_synced *s, const struct version *known)
{
    check_holder(s->holder, s->left_ms);
    check_version(&s->version);
    assert(s->body.n <= STORE_BODY_MAX && s->highest_c <= NUMBER_MAX);
    assert((s->body.n > 0) == (version_compare(&s->version, known) > 0));
    for (size_t i = 0; i < s->nbeats; i++) {
        check_node(s->beats[i].node);
        check_instance(s->beats[i].instance);
        assert(s->beats[i].n <= NUMBER_MAX && s->beats[i].c <= NUMBER_MAX);
    }
    for (size_t i = 0; i < s->nviews; i++) {
        check_node(s->views[i].node);
        assert(s->views[i].text.n >= 1 && s->views[i].text.n <= STORE_VIEW_MAX);
    }
}

static void read_reply(const struct redis_reply *reply)
{
    static const struct version knowns[] = {{0}, {10, "a1", 2}};
    struct answer_synced synced;
    struct store_acquired acquired;
    enum hint kind;
    char instance[INSTANCE_SIZE];
    bool yes;
    for (size_t i = 0; i < 2; i++)
        if (answer_read_sync(&synced, reply, &knowns[i], on_refused, NULL)) {
            check_sync(&synced.synced, &knowns[i]);
            answer_synced_free(&synced);
        }
    if (answer_read_acquire(&acquired, reply, on_refused, NULL)) {
        check_holder(acquired.holder, acquired.left_ms);
        check_version(&acquired.version);
        assert(acquired.granted == (acquired.epoch > 0) && acquired.epoch <= NUMBER_MAX);
    }
    answer_read_done(&yes, reply, on_refused, NULL);
    if (reply->type == REPLY_TEXT && answer_read_hint(reply->text, &kind, instance))
        check_instance(instance);
}

/* Within the bounds that the header gives, and complete. */
static size_t count(const struct redis_reply *reply, unsigned depth)
{
    size_t n = 1;
    assert(reply && depth <= 8 && reply->n <= REPLY_ELEMENTS_MAX);
    assert(reply->type == REPLY_ARRAY || reply->n == 0);
    if (reply->type == REPLY_TEXT || reply->type == REPLY_STATUS || reply->type == REPLY_ERROR)
        assert(reply->text.p[reply->text.n] == '\0');
    for (size_t i = 0; i < reply->n; i++)
        n += count(reply->elements[i], depth + 1);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct redis_reply *reply;
    enum resp_result result = RESP_MORE;
    struct resp *r = resp_new();
    if (size == 0 || r == NULL) {
        resp_free(r);
        return 0;
    }
    size_t step = data[0] ? data[0] : size;
    for (size_t at = 1; at < size && result != RESP_BAD; at += step) {
        size_t n = size - at < step ? size - at : step;
        result = RESP_BAD;
        if (!resp_feed(r, (const char *)data + at, n))
            break;
        while ((result = resp_next(r, &reply)) == RESP_REPLY) {
            assert(count(reply, 0) <= RESP_OBJECTS_MAX);
            read_reply(reply);
            resp_reply_free(reply);
        }
    }
    if (result == RESP_BAD)
        assert(resp_error(r)[0]);
    resp_free(r);
    return 0;
}
