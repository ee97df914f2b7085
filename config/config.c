#include "config/config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "config/read.h"
#include "config/rules.h"

/* A pool of 4096 servers needs less than 1 MiB; the bound keeps a wrong file, such as a disk image,
 * from filling the memory. */
_Static_assert(CONFIG_MAX_FILE % (1u << 20) == 0, "file_read() takes whole MiB");

/* One error that concerns the file as a whole. */
static struct config *refuse(const char *file, const char *why, struct config_errors *errors)
{
    struct report r = {.file = file};
    report_at(&r, 1, 1, NULL, "%s", why);
    report_finish(&r, errors);
    return NULL;
}

struct config *config_load(const char *file, struct config_errors *errors)
{
    struct buffer text = {0};
    struct error e;
    struct config *c = file_read(file, CONFIG_MAX_FILE, &text, &e)
                           ? config_parse(file, text.data, buffer_len(&text), errors)
                           : refuse(file, e.text, errors);
    buffer_release(&text);
    return c;
}

struct config *config_reload(const char *file, struct config_errors *errors)
{
    struct buffer text = {0};
    struct error e;
    struct config *c = file_read_settled(file, CONFIG_MAX_FILE, &text, &e)
                           ? config_parse(file, text.data, buffer_len(&text), errors)
                           : refuse(file, e.text, errors);
    buffer_release(&text);
    return c;
}

/* A config with this text, and nothing of what the text says. */
static struct config *new_config(const char *file, const char *text, size_t len)
{
    struct config *c = mem_zalloc(sizeof *c);
    atomic_init(&c->refs, 1);
    c->file = mem_strdup(file);
    c->text = mem_zalloc(len + 1);
    if (len)
        memcpy(c->text, text, len);
    c->text_len = len;
    config_etag_of((struct str){c->text, len}, c->etag);
    return c;
}

struct config *config_parse(const char *file, const char *text, size_t len,
                            struct config_errors *errors)
{
    struct report warnings = {.file = file}, r = {.file = file, .warnings = &warnings};
    struct yaml_tree tree;
    struct yaml_fault fault;
    if (len > CONFIG_MAX_FILE)
        return refuse(file, "the file is larger than 16MiB", errors);
    struct config *c = new_config(file, text, len);
    /* Syntax errors end the reading: after one, the structure of the rest would be a guess. */
    if (!yaml_tree_read(&tree, text ? text : "", len, &fault)) {
        report_at(&r, fault.line, fault.column, NULL, "%s", fault.text);
    } else if (tree.root == NULL) {
        report_at(&r, 1, 1, NULL, "the file is empty, listeners and pools are required");
    } else {
        read_map(&r, &schema_document, tree.root, NULL, c);
        rules_apply(&r, tree.root, c);
    }
    yaml_tree_free(&tree);
    report_finish(&r, errors);
    report_finish(&warnings, &c->warnings);
    /* A config with errors is only partly filled, but always complete enough to be freed. */
    if (errors->count) {
        config_unref(c);
        return NULL;
    }
    return c;
}

/* Empties the list, so that it can be freed again and used for another file. */
void config_errors_free(struct config_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++)
        free(errors->lines[i]);
    free(errors->lines);
    *errors = (struct config_errors){0};
}

struct config *config_ref(struct config *c)
{
    /* relaxed: the caller has a reference already, so the config cannot go away meanwhile */
    unsigned before = atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
    return c;
}

static void free_servers(struct config_server *servers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(servers[i].name);
        free(servers[i].address_text);
        free(servers[i].for_backends);
    }
    free(servers);
}

/* Fields that were never set are NULL, so a partly filled pool can be freed, too. */
static void free_pool(struct config_pool *p)
{
    free(p->name);
    free(p->health.path);
    free(p->health.host);
    free(p->health.expect_status);
    free(p->health.send);
    free(p->health.expect);
    free(p->passive.statuses);
    free(p->retry_statuses);
    free(p->epoch_header);
    free_servers(p->backends, p->nbackends);
    free_servers(p->standbys, p->nstandbys);
}

static void free_routes(struct config_route *routes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct config_route *r = &routes[i];
        for (size_t m = 0; m < r->nmethods; m++)
            free(r->methods[m]);
        free(r->methods);
        free(r->host);
        free(r->path);
        free(r->sni);
        if (r->own_keys) /* set by rules_apply(), which follows on every reading */
            read_keys_free(r->keys, r->nkeys);
    }
    free(routes);
}

static void free_listener(struct config_listener *l)
{
    free_routes(l->routes, l->nroutes);
    free(l->name);
    free(l->listen_text);
    read_keys_free(l->keys, l->nkeys);
    free(l->issued_cookie.domain);
    free(l->issued_cookie.path);
    free(l->trusted_proxies);
}

static void free_argv(char **argv)
{
    for (char **arg = argv; arg && *arg; arg++)
        free(*arg);
    free(argv);
}

static void free_cluster(struct config_cluster *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < f->nredis; i++)
        redis_url_deinit(&f->redis[i]);
    free(f->redis);
    free(f->name);
    free(f->node);
    free_argv(f->on_active);
    free_argv(f->on_standby);
    free(f);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_redis(const struct redis_url *a, const struct redis_url *b)
{
    return same_text(a->address_text, b->address_text) && same_text(a->user, b->user) &&
           same_text(a->password, b->password) && same_text(a->password_file, b->password_file) &&
           a->db == b->db;
}

bool config_same_member(const struct config_cluster *a, const struct config_cluster *b)
{
    if (a == NULL || b == NULL || a->nredis != b->nredis)
        return a == b;
    for (size_t i = 0; i < a->nredis; i++)
        if (!same_redis(&a->redis[i], &b->redis[i]))
            return false;
    return same_text(a->name, b->name) && same_text(a->node, b->node) &&
           a->lock_ttl_ms == b->lock_ttl_ms;
}

void config_unref(struct config *c)
{
    /* acq_rel: everything that other threads did with the config happens before it is freed here */
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < c->nlisteners; i++)
        free_listener(&c->listeners[i]);
    for (size_t i = 0; i < c->npools; i++)
        free_pool(&c->pools[i]);
    free_cluster(c->cluster);
    free(c->listeners);
    free(c->pools);
    free(c->file);
    free(c->text);
    free(c->admin_listen_text);
    free(c->admin_token);
    config_errors_free(&c->warnings);
    free(c);
}
