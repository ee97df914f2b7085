#include <stdio.h>

#include "config/redis_url.h"
#include "tests/lib/unit.h"

static const struct {
    const char *text, *shown, *address, *user, *password, *file;
    unsigned db;
} good[] = {
    {.text = "redis://127.0.0.1:6379/0",
     .shown = "redis://127.0.0.1:6379/0",
     .address = "127.0.0.1:6379"},
    {.text = "redis://127.0.0.1", .shown = "redis://127.0.0.1:6379/0", .address = "127.0.0.1:6379"},
    {.text = "REDIS://127.0.0.1/",
     .shown = "redis://127.0.0.1:6379/0",
     .address = "127.0.0.1:6379"},
    {.text = "redis://redis.internal:7000/12",
     .shown = "redis://redis.internal:7000/12",
     .address = "redis.internal:7000",
     .db = 12},
    {.text = "redis://[::1]", .shown = "redis://[::1]:6379/0", .address = "[::1]:6379"},
    {.text = "redis://[::1]:7000/3",
     .shown = "redis://[::1]:7000/3",
     .address = "[::1]:7000",
     .db = 3},
    {.text = "redis://edge:s%3Acr%40et%2f@10.0.0.1/1",
     .shown = "redis://edge@10.0.0.1:6379/1",
     .address = "10.0.0.1:6379",
     .user = "edge",
     .password = "s:cr@et/",
     .db = 1},
    {.text = "redis://:s3cret@10.0.0.1",
     .shown = "redis://10.0.0.1:6379/0",
     .address = "10.0.0.1:6379",
     .password = "s3cret"},
    {.text = "redis://:a@b:c@10.0.0.1",
     .shown = "redis://10.0.0.1:6379/0",
     .address = "10.0.0.1:6379",
     .password = "a@b:c"},
    {.text = "redis://e%0ad:%0a@10.0.0.1",
     .shown = "redis://e%0ad@10.0.0.1:6379/0",
     .address = "10.0.0.1:6379",
     .user = "e\nd",
     .password = "\n"},
    {.text = "redis://edge@10.0.0.1?password_file=/run/secrets/redis",
     .shown = "redis://edge@10.0.0.1:6379/0",
     .address = "10.0.0.1:6379",
     .user = "edge",
     .file = "/run/secrets/redis"},
    {.text = "redis://10.0.0.1/?db=4&password_file=a%20b",
     .shown = "redis://10.0.0.1:6379/4",
     .address = "10.0.0.1:6379",
     .file = "a b",
     .db = 4},
    {.text = "unix:/run/redis.sock",
     .shown = "unix:/run/redis.sock",
     .address = "unix:/run/redis.sock"},
    {.text = "unix:///run/redis.sock?db=2",
     .shown = "unix:/run/redis.sock?db=2",
     .address = "unix:/run/redis.sock",
     .db = 2},
    {.text = "unix:/run/redis.sock?user=edge&db=65535&password_file=x",
     .shown = "unix:/run/redis.sock?db=65535",
     .address = "unix:/run/redis.sock",
     .user = "edge",
     .file = "x",
     .db = 65535},
};

static void check_text(const char *got, const char *want)
{
    if (want)
        ck_assert_pstr_eq(got, want);
    else
        ck_assert_ptr_null(got);
}

START_TEST(a_url_says_where_and_as_whom)
{
    struct redis_url u;
    struct error e;
    ck_assert_msg(redis_url_parse(&u, good[_i].text, &e), "%s: %s", good[_i].text, e.text);
    check_text(u.shown, good[_i].shown);
    check_text(u.address_text, good[_i].address);
    check_text(u.user, good[_i].user);
    check_text(u.password, good[_i].password);
    check_text(u.password_file, good[_i].file);
    ck_assert_uint_eq(u.db, good[_i].db);
    ck_assert_int_eq(u.address.len == 0, strstr(good[_i].text, "internal") != NULL);
    redis_url_deinit(&u);
    redis_url_deinit(&u);
}
END_TEST

static const struct {
    const char *text, *why;
} bad[] = {
    {"", "a URL of 0 bytes, allowed 1 to 4096"},
    {"127.0.0.1:6379", "not a URL of a Redis, allowed redis://"},
    {"http://127.0.0.1", "not a URL of a Redis, allowed redis://"},
    {"redis:127.0.0.1", "not a URL of a Redis, allowed redis://"},
    {"rediss://secret@127.0.0.1", "rediss (TLS) is not supported by this version, allowed redis"},
    {"redis://", "the host is missing"},
    {"redis:///0", "the host is missing"},
    {"redis://:6379", "the host is missing"},
    {"redis://@127.0.0.1", "nothing is before '@'"},
    {"redis://secret@127.0.0.1", "names a user without a password"},
    {"redis://edge:@127.0.0.1", "the password is empty"},
    {"redis://:secret@127.0.0.1?password_file=x", "has a password and a password_file"},
    {"redis://edge:se/cret@127.0.0.1", "'@' behind the host"},
    {"redis://edge:secret/@127.0.0.1", "'@' behind the host"},
    {"redis://edge:sec?secret@127.0.0.1", "an unknown parameter, allowed password_file, user, db"},
    {"redis://edge:sec#secret@127.0.0.1", "a Redis has no part behind '#'"},
    {"redis://:secret%@127.0.0.1", "the password has a '%'"},
    {"redis://:secret%2@127.0.0.1", "the password has a '%'"},
    {"redis://:secret%zz@127.0.0.1", "the password has a '%'"},
    {"redis://:secret%00@127.0.0.1", "the password has a '%'"},
    {"redis://:sec ret@127.0.0.1", "other than visible ASCII characters"},
    {"redis://:sec\nret@127.0.0.1", "other than visible ASCII characters"},
    {"redis://:secr\xc3\xa9t@127.0.0.1", "other than visible ASCII characters"},
    {"redis://127.0.0.1:0", "not a host with a port from 1 to 65535"},
    {"redis://127.0.0.1:65536", "not a host with a port from 1 to 65535"},
    {"redis://127.0.0.1:", "not a host with a port from 1 to 65535"},
    {"redis://127.0.0.1:secret", "not a host with a port from 1 to 65535"},
    {"redis://::1", "the host is missing or no host"},
    {"redis://[::1", "']' is missing"},
    {"redis://[::1]6379", "the host is missing or no host"},
    {"redis://[fe80::1]", "link-local and names no interface"},
    {"redis://[fe80::1%25nosuch0]", "names no interface of this host"},
    {"redis://a%20b", "the host is no host"},
    {"redis://127.0.0.1/x", "the database is not a number from 0 to 65535"},
    {"redis://127.0.0.1/01", "the database is not a number from 0 to 65535"},
    {"redis://127.0.0.1/65536", "the database is not a number from 0 to 65535"},
    {"redis://127.0.0.1/99999999999", "the database is not a number from 0 to 65535"},
    {"redis://127.0.0.1/1?db=1", "the database is given twice"},
    {"redis://127.0.0.1?db=1&db=1", "the database is given twice"},
    {"redis://127.0.0.1?password=secret", "an unknown parameter"},
    {"redis://127.0.0.1?password_file=", "the password_file is empty"},
    {"redis://127.0.0.1?password_file", "the password_file is empty"},
    {"redis://127.0.0.1?&db=1", "an unknown parameter"},
    {"redis://a:b@127.0.0.1?user=c", "the user is given twice"},
    {"unix:", "the path of the socket is not /PATH"},
    {"unix:redis.sock", "the path of the socket is not /PATH"},
    {"unix://host/redis.sock", "a Unix socket has no host"},
    {"unix:/a%0ab", "the path of the socket is not /PATH"},
};

START_TEST(what_is_wrong_is_told_and_the_password_is_not)
{
    struct redis_url u;
    struct error e;
    ck_assert_msg(!redis_url_parse(&u, bad[_i].text, &e), "%s", bad[_i].text);
    ck_assert_msg(strncmp(e.text, bad[_i].why, strlen(bad[_i].why)) == 0 ||
                      strstr(e.text, bad[_i].why),
                  "%s: %s", bad[_i].text, e.text);
    ck_assert_msg(!strstr(e.text, "secret") && !strstr(e.text, "cret@"), "%s", e.text);
    ck_assert(u.shown == NULL && u.password == NULL && u.address_text == NULL);
}
END_TEST

START_TEST(lengths_are_bounded)
{
    char text[8192], want[64];
    struct redis_url u;
    struct error e;
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 0;
    memcpy(text, "unix:/", 6);
    ck_assert(!redis_url_parse(&u, text, &e));
    ck_assert_str_eq(e.text, "a URL of 8191 bytes, allowed 1 to 4096");
    text[6 + ADDR_PATH_MAX] = 0; /* the slash is a byte of the path */
    ck_assert(!redis_url_parse(&u, text, &e));
    snprintf(want, sizeof want, "a path of a socket of %zu bytes, allowed 1 to %zu",
             (size_t)ADDR_PATH_MAX + 1, (size_t)ADDR_PATH_MAX);
    ck_assert_str_eq(e.text, want);
    text[5 + ADDR_PATH_MAX] = 0;
    ck_assert(redis_url_parse(&u, text, &e));
    redis_url_deinit(&u);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("redis_url");
    TCase *t = tcase_create("redis_url");
    tcase_add_loop_test(t, a_url_says_where_and_as_whom, 0, sizeof good / sizeof *good);
    tcase_add_loop_test(t, what_is_wrong_is_told_and_the_password_is_not, 0,
                        sizeof bad / sizeof *bad);
    tcase_add_test(t, lengths_are_bounded);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
