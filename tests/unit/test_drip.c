#include "bench/backend/drip.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/unit.h"

#define MS UINT64_C(1000000)
#define BEGIN (UINT64_C(77) * MS + 123)

static char letters[100000];

static void fill(void)
{
    for (size_t i = 0; i < sizeof letters; i++)
        letters[i] = (char)('a' + i % 26);
}

/* What a body of n letters must look like in chunks. */
static void expected(struct buffer *b, size_t n, size_t chunk_size)
{
    for (size_t at = 0; at < n;) {
        size_t len = chunk_size && n - at > chunk_size ? chunk_size : n - at;
        char line[24];
        int size = chunk_size ? snprintf(line, sizeof line, "%zx\r\n", len) : 0;
        ck_assert(buffer_append(b, line, (size_t)size) && buffer_append(b, letters + at, len));
        ck_assert(chunk_size == 0 || buffer_append(b, "\r\n", 2));
        at += len;
    }
    ck_assert(chunk_size == 0 || buffer_append(b, "0\r\n\r\n", 5));
}

static void expect_same(const struct buffer *a, const struct buffer *b)
{
    ck_assert_uint_eq(a->end, b->end);
    ck_assert(a->end == 0 || memcmp(a->data, b->data, a->end) == 0);
}

/* However little goes out at a time. */
START_TEST(the_bytes_do_not_depend_on_the_room)
{
    static const size_t sizes[] = {0, 1, 7, 8, 9, 4096, 10000, sizeof letters};
    static const size_t chunks[] = {0, 1, 8, 4096, 65536, SIZE_MAX};
    static const size_t rooms[] = {33, 34, 50, 64, 100, 4096, 65536};
    fill();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes * (sizeof chunks / sizeof *chunks); i++) {
        size_t n = sizes[i % 8], chunk = chunks[i / 8];
        for (size_t r = 0; r < sizeof rooms / sizeof *rooms; r++) {
            struct buffer out = {0}, all = {0}, wanted = {0};
            struct drip b = drip_of((struct str){letters, n}, chunk, 0);
            unsigned turns = 0;
            expected(&wanted, n, chunk);
            while (!drip_ended(&b)) {
                /* Check's asserts write a line each: one for all, there are a million turns. */
                bool fits = drip_put(&out, &b, 0, rooms[r]) && buffer_len(&out) <= rooms[r] &&
                            buffer_len(&out) > 0 &&
                            buffer_append(&all, buffer_head(&out), buffer_len(&out));
                if (!fits)
                    ck_abort_msg("%zu bytes in chunks of %zu, room for %zu", n, chunk, rooms[r]);
                buffer_clear(&out);
                turns++;
            }
            ck_assert(turns <= 1 || n > 1);
            expect_same(&all, &wanted);
            buffer_release(&out);
            buffer_release(&all);
            buffer_release(&wanted);
        }
    }
}
END_TEST

START_TEST(without_room_nothing_is_put)
{
    struct buffer out = {0};
    fill();
    ck_assert(buffer_append(&out, letters, 1000));
    struct drip b = drip_of((struct str){letters, 10}, 4, 0);
    ck_assert(drip_put(&out, &b, 0, 1000) && drip_put(&out, &b, 0, 500));
    ck_assert_uint_eq(buffer_len(&out), 1000);
    struct drip empty = drip_of((struct str){0}, 4, 0);
    ck_assert(drip_put(&out, &empty, 0, 1004) && !drip_ended(&empty));
    ck_assert(drip_put(&out, &empty, 0, 1005) && drip_ended(&empty));
    ck_assert_uint_eq(buffer_len(&out), 1005);
    buffer_release(&out);
}
END_TEST

/* Drips n letters over drip_ms, asking again when it says so; how often that was. */
static unsigned drip(size_t n, uint64_t drip_ms, size_t chunk)
{
    struct drip b = drip_of((struct str){letters, n}, chunk, drip_ms);
    struct buffer out = {0};
    unsigned turns = 0;
    uint64_t now = BEGIN, longest = drip_ms / 100 < 1 ? 1 : drip_ms / 100;
    longest = longest > 100 ? 100 : longest;
    for (;;) {
        ck_assert(drip_put(&out, &b, now, SIZE_MAX));
        size_t sent = n - b.left;
        uint64_t passed = (now - BEGIN) / MS;
        ck_assert_uint_eq(sent, passed < drip_ms ? n * passed / drip_ms : n);
        if (b.left == 0)
            break;
        uint64_t next = drip_due_ns(&b);
        ck_assert_uint_gt(next, now);
        /* A step, or as long as one byte takes. */
        ck_assert_uint_le(next - now, (longest + drip_ms / n + 2) * MS);
        ck_assert_uint_le(next, BEGIN + drip_ms * MS);
        now = next;
        turns++;
    }
    ck_assert_uint_eq(now, BEGIN + drip_ms * MS); /* not before, and at once then */
    ck_assert(drip_ended(&b));
    ck_assert_uint_eq(buffer_len(&out) > n, chunk > 0);
    buffer_release(&out);
    return turns;
}

START_TEST(a_slow_body_comes_evenly_and_ends_in_time)
{
    static const size_t sizes[] = {1, 2, 3, 99, 100, 101, 1000, 65536, sizeof letters};
    static const uint64_t times[] = {1, 2, 7, 99, 100, 250, 1000, 9999, 60000};
    fill();
    for (size_t i = 0; i < 9 * 9 * 2; i++) {
        uint64_t ms = times[i / 9 % 9];
        unsigned turns = drip(sizes[i % 9], ms, i < 81 ? 0 : 64);
        ck_assert_uint_le(turns, ms < 10000 ? 201 : ms / 50 + 1);
    }
    ck_assert_uint_le(drip(1000, 86400000, 0), 1000);
}
END_TEST

START_TEST(who_comes_late_gets_what_was_due)
{
    struct buffer out = {0};
    fill();
    struct drip b = drip_of((struct str){letters, 100}, 16, 1000);
    ck_assert(drip_put(&out, &b, BEGIN, 65536));
    ck_assert_uint_eq(buffer_len(&out), 0);
    ck_assert(drip_put(&out, &b, BEGIN + 500 * MS + 1, 65536));
    ck_assert_uint_eq(b.left, 50); /* 16, 16, 16, 2 */
    ck_assert_uint_eq(buffer_len(&out), 50 + 3 * 6 + 5);
    ck_assert(drip_put(&out, &b, BEGIN + 5000 * MS, 65536));
    ck_assert(drip_ended(&b));
    buffer_release(&out);
}
END_TEST

START_TEST(an_empty_body_takes_no_time)
{
    struct buffer out = {0};
    struct drip b = drip_of((struct str){0}, 0, 1000);
    ck_assert(drip_ended(&b));
    b = drip_of((struct str){0}, 10, 1000);
    ck_assert(!drip_ended(&b) && drip_put(&out, &b, 0, 64) && drip_ended(&b));
    ck_assert_uint_eq(buffer_len(&out), 5);
    buffer_release(&out);
}
END_TEST

static Suite *build(void)
{
    Suite *suite = suite_create("drip");
    TCase *t = tcase_create("drip");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, the_bytes_do_not_depend_on_the_room);
    tcase_add_test(t, without_room_nothing_is_put);
    tcase_add_test(t, a_slow_body_comes_evenly_and_ends_in_time);
    tcase_add_test(t, who_comes_late_gets_what_was_due);
    tcase_add_test(t, an_empty_body_takes_no_time);
    suite_add_tcase(suite, t);
    return suite;
}

int main(void)
{
    return unit_main(build);
}
