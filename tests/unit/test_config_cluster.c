/* The section `cluster` of a file, and the keys of pools that mean something in a fleet. What is
 * refused is in broken_configs.h. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "tests/lib/unit.h"

#define REST                                                      \
    "listeners: [{name: web, listen: 127.0.0.1:8080, pool: p}]\n" \
    "pools: [{name: p, backends: [{name: b1, address: 127.0.0.1:9001}]}]\n"

static struct config *parse(const char *text)
{
    struct config_errors errors;
    struct config *c = config_parse("t.yaml", text, strlen(text), &errors);
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "unexpected: %s\n", errors.lines[i]);
    ck_assert_ptr_nonnull(c);
    config_errors_free(&errors);
    return c;
}

static struct config *with(const char *line)
{
    char text[4096];
    snprintf(text, sizeof text, "cluster: {redis: 'redis://h', name: edge, %s}\n" REST, line);
    return parse(text);
}

START_TEST(without_the_section_there_is_no_fleet)
{
    struct config *c = parse(REST);
    ck_assert_ptr_null(c->cluster);
    ck_assert_int_eq(c->pools[0].agree, AGREE_MAJORITY);
    ck_assert_ptr_null(c->pools[0].epoch_header);
    config_unref(c);
}
END_TEST

START_TEST(a_small_section_has_the_defaults)
{
    char host[256] = "", pid[32];
    struct config *c = with("");
    const struct config_cluster *f = c->cluster;
    ck_assert_uint_eq(f->nredis, 1);
    ck_assert_str_eq(f->redis[0].shown, "redis://h:6379/0");
    ck_assert_str_eq(f->name, "edge");
    ck_assert_int_eq(gethostname(host, sizeof host - 1), 0);
    snprintf(pid, sizeof pid, "-%ld", (long)getpid());
    ck_assert_uint_eq(f->node[0], host[0]);
    ck_assert_str_eq(f->node + strlen(f->node) - strlen(pid), pid);
    ck_assert_uint_eq(f->lock_ttl_ms, 3000);
    ck_assert(!f->listen_active && f->preempt);
    ck_assert_uint_eq(f->priority, 100);
    ck_assert_ptr_null(f->on_active);
    ck_assert_ptr_null(f->on_standby);
    config_unref(c);
}
END_TEST

START_TEST(a_section_with_all_keys_has_its_values)
{
    struct config *c = parse("cluster:\n"
                             "  redis: [redis://edge:s%40crt@10.0.0.1/2, 'unix:/run/redis.sock']\n"
                             "  name: edge\n"
                             "  node: edge-1\n"
                             "  lock_ttl: 1m\n"
                             "  listen: active\n"
                             "  priority: 0\n"
                             "  preempt: false\n"
                             "  on_active: [/bin/ip, addr, add, 192.0.2.1/24]\n"
                             "  on_standby: ['rm -rf']\n"
                             "listeners: [{name: web, listen: 127.0.0.1:8080, pool: p}]\n"
                             "pools: [{name: p, agree: all, epoch_header: X-Ring-Epoch, "
                             "backends: [{name: b1, address: 127.0.0.1:9001}]}]\n");
    const struct config_cluster *f = c->cluster;
    ck_assert_uint_eq(f->nredis, 2);
    ck_assert_str_eq(f->redis[0].shown, "redis://edge@10.0.0.1:6379/2");
    ck_assert_str_eq(f->redis[0].password, "s@crt");
    ck_assert_str_eq(f->redis[1].address_text, "unix:/run/redis.sock");
    ck_assert_str_eq(f->node, "edge-1");
    ck_assert_uint_eq(f->lock_ttl_ms, 60000);
    ck_assert(f->listen_active && !f->preempt);
    ck_assert_uint_eq(f->priority, 0);
    ck_assert_str_eq(f->on_active[0], "/bin/ip");
    ck_assert_str_eq(f->on_active[3], "192.0.2.1/24");
    ck_assert_ptr_null(f->on_active[4]);
    ck_assert_str_eq(f->on_standby[0], "rm -rf"); /* one word: there is no shell */
    ck_assert_ptr_null(f->on_standby[1]);
    ck_assert_int_eq(c->pools[0].agree, AGREE_ALL);
    ck_assert_str_eq(c->pools[0].epoch_header, "X-Ring-Epoch");
    ck_assert_uint_eq(c->warnings.count, 0);
    config_unref(c);
}
END_TEST

START_TEST(empty_commands_are_none)
{
    struct config *c = with("on_active: [], on_standby: []");
    ck_assert_ptr_null(c->cluster->on_active);
    ck_assert_ptr_null(c->cluster->on_standby);
    config_unref(c);
}
END_TEST

START_TEST(an_epoch_header_without_a_fleet_is_a_warning)
{
    struct config *c = parse("listeners: [{name: web, listen: 127.0.0.1:8080, pool: p}]\n"
                             "pools: [{name: p, epoch_header: X-Ring-Epoch, "
                             "backends: [{name: b1, address: 127.0.0.1:9001}]}]\n");
    ck_assert_uint_eq(c->warnings.count, 1);
    ck_assert_str_eq(c->warnings.lines[0],
                     "t.yaml:2:33: pools[0].epoch_header: warning: is never sent, as there is no "
                     "section cluster");
    config_unref(c);
}
END_TEST

START_TEST(a_command_that_never_runs_is_a_warning)
{
    struct config *c = with("on_active: [a], on_standby: []");
    ck_assert_uint_eq(c->warnings.count, 1);
    ck_assert_ptr_nonnull(strstr(c->warnings.lines[0], "cluster.on_active: warning: never runs, as "
                                                       "`listen` is not `active`"));
    config_unref(c);
    c = with("listen: active, on_active: [a]");
    ck_assert_uint_eq(c->warnings.count, 0);
    config_unref(c);
}
END_TEST

/* The file of a password is beside the configuration. */
START_TEST(a_password_file_is_found_beside_the_file)
{
    static const char text[] =
        "cluster: {redis: 'redis://u@h?password_file=redis.pw', name: edge}\n" REST;
    char folder[] = "/tmp/test_config_cluster_XXXXXX", config[64], password[64];
    struct config_errors errors;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(config, sizeof config, "%s/ringproxy.yaml", folder);
    snprintf(password, sizeof password, "%s/redis.pw", folder);
    for (int i = 0; i < 2; i++) {
        const char *files[] = {config, password}, *texts[] = {text, "s3cret\n"};
        FILE *f = fopen(files[i], "w");
        ck_assert_ptr_nonnull(f);
        fputs(texts[i], f);
        ck_assert_int_eq(fclose(f), 0);
    }
    struct config *c = config_load(config, &errors);
    ck_assert_ptr_nonnull(c);
    ck_assert_str_eq(c->cluster->redis[0].password_file, password);
    ck_assert_ptr_null(c->cluster->redis[0].password);
    config_unref(c);
    config_errors_free(&errors);
    ck_assert_int_eq(unlink(password), 0);
    ck_assert_ptr_null(config_load(config, &errors));
    ck_assert_ptr_nonnull(strstr(errors.lines[0], ":1:18: cluster.redis: password_file: "));
    config_errors_free(&errors);
    ck_assert_int_eq(unlink(config), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

/* What a reload may change in place, and what makes another member. */
static const struct {
    const char *line;
    bool same;
} changes[] = {
    {"node: a, priority: 7", true},
    {"node: a, preempt: false", true},
    {"node: a, listen: active", true},
    {"node: a, on_active: [x], on_standby: [y]", true},
    {"node: b", false},
    {"node: a, lock_ttl: 4s", false},
};

START_TEST(a_member_is_the_same_while_its_place_is)
{
    struct config *before = with("node: a"), *after = with(changes[_i].line);
    ck_assert_int_eq(config_same_member(before->cluster, after->cluster), changes[_i].same);
    ck_assert_int_eq(config_same_member(after->cluster, before->cluster), changes[_i].same);
    ck_assert(!config_same_member(before->cluster, NULL));
    ck_assert(!config_same_member(NULL, after->cluster));
    ck_assert(config_same_member(NULL, NULL));
    config_unref(before);
    config_unref(after);
}
END_TEST

START_TEST(a_member_is_another_one_at_another_redis)
{
    static const char *const urls[] = {
        "redis://a",    "redis://b",     "redis://a/1",           "redis://:x@a",
        "redis://:y@a", "redis://u:y@a", "[redis://a, redis://b]"};
    struct config *c[sizeof urls / sizeof *urls];
    const size_t n = sizeof urls / sizeof *urls;
    for (size_t i = 0; i < n; i++) {
        char text[512];
        const char *quote = urls[i][0] == '[' ? "" : "'";
        snprintf(text, sizeof text, "cluster: {node: a, name: edge, redis: %s%s%s}\n" REST, quote,
                 urls[i], quote);
        c[i] = parse(text);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            ck_assert_int_eq(config_same_member(c[i]->cluster, c[k]->cluster), i == k);
    for (size_t i = 0; i < n; i++)
        config_unref(c[i]);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("config_cluster");
    TCase *t = tcase_create("config_cluster");
    tcase_add_test(t, without_the_section_there_is_no_fleet);
    tcase_add_test(t, a_small_section_has_the_defaults);
    tcase_add_test(t, a_section_with_all_keys_has_its_values);
    tcase_add_test(t, empty_commands_are_none);
    tcase_add_test(t, an_epoch_header_without_a_fleet_is_a_warning);
    tcase_add_test(t, a_command_that_never_runs_is_a_warning);
    tcase_add_test(t, a_password_file_is_found_beside_the_file);
    tcase_add_loop_test(t, a_member_is_the_same_while_its_place_is, 0,
                        sizeof changes / sizeof *changes);
    tcase_add_test(t, a_member_is_another_one_at_another_redis);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
