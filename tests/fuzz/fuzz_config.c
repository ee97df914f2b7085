/* Any bytes are either a configuration within its bounds, or errors that are lines of text. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_servers(const struct config_server *s, size_t n, size_t nbackends)
{
    for (size_t i = 0; i < n; i++) {
        assert(s[i].name && s[i].name[0] && s[i].address_text);
        assert(s[i].address.len || strchr(s[i].address_text, ':'));
        assert(s[i].weight >= 1 && s[i].weight <= 256 && s[i].nfor <= nbackends);
        assert(i == 0 || strcmp(s[i - 1].name, s[i].name) < 0);
        for (size_t f = 0; f < s[i].nfor; f++) {
            assert(s[i].for_backends[f] < nbackends);
            assert(f == 0 || s[i].for_backends[f - 1] < s[i].for_backends[f]);
        }
    }
}

static void check_listener(const struct config *c, const struct config_listener *l)
{
    assert(l->name && l->listen.len && l->nroutes >= 1 && l->nroutes <= CONFIG_MAX_ROUTES);
    for (size_t i = 0; i < l->nroutes; i++) {
        const struct config_route *r = &l->routes[i];
        assert(r->pool < c->npools && (r->own_keys || r->keys == l->keys));
        assert(r->path == NULL || r->path[0] == '/');
        assert(l->mode == MODE_TCP ? !r->host && !r->path && !r->nmethods : !r->sni);
    }
}

static void check_argv(char *const *argv)
{
    assert(argv == NULL || argv[0]);
    for (; argv && *argv; argv++)
        assert((*argv)[0]);
}

static void check_name(const char *s)
{
    for (; *s; s++)
        assert(*s > ' ' && *s < 0x7f && !strchr("{}#/\"", *s));
}

static void check_cluster(const struct config_cluster *f)
{
    assert(f->nredis >= 1 && f->nredis <= CONFIG_MAX_REDIS);
    for (size_t i = 0; i < f->nredis; i++)
        assert(f->redis[i].shown && f->redis[i].address_text);
    assert(f->name && f->name[0] && strlen(f->name) <= CONFIG_MAX_FLEET);
    assert(f->node && f->node[0] && strlen(f->node) <= CONFIG_MAX_NODE);
    check_name(f->name);
    check_name(f->node);
    assert(f->lock_ttl_ms >= 1000 && f->lock_ttl_ms <= 60000 && f->priority <= 1000);
    check_argv(f->on_active);
    check_argv(f->on_standby);
    assert(config_same_member(f, f) && !config_same_member(f, NULL));
}

static void check_config(const struct config *c)
{
    if (c->cluster)
        check_cluster(c->cluster);
    assert(c->nlisteners && c->npools && c->workers >= 1 && c->workers <= 256);
    for (size_t i = 0; i < c->nlisteners; i++)
        check_listener(c, &c->listeners[i]);
    for (size_t i = 0; i < c->npools; i++) {
        const struct config_pool *p = &c->pools[i];
        uint64_t points = 0;
        assert(p->nbackends >= 1 && p->nbackends + p->nstandbys <= CONFIG_MAX_SERVERS);
        check_servers(p->backends, p->nbackends, 0);
        check_servers(p->standbys, p->nstandbys, p->nbackends);
        for (size_t b = 0; b < p->nbackends; b++)
            points += (uint64_t)p->backends[b].weight * p->vnodes;
        assert(points <= CONFIG_MAX_POINTS);
        assert((p->health.check == CHECK_HTTP) == (p->health.path != NULL));
        assert((p->health.check == CHECK_HTTP) == (p->health.nexpect_status > 0));
    }
}

static void check_line(const char *line)
{
    assert(strncmp(line, "fuzz.yaml:", 10) == 0 && strstr(line, ": "));
    for (; *line; line++)
        assert((unsigned char)*line >= ' ' && *line != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_errors errors;
    struct config *c = config_parse("fuzz.yaml", (const char *)data, size, &errors);
    assert((c != NULL) == (errors.count == 0));
    if (c)
        check_config(c);
    for (size_t i = 0; i < errors.count; i++)
        check_line(errors.lines[i]);
    config_errors_free(&errors);
    config_unref(c);
    return 0;
}
