#include <stdint.h>

#include "base/buffer.h"
#include "tests/lib/unit.h"

START_TEST(what_is_appended_comes_out_in_order)
{
    struct buffer b = {0};
    unsigned char in = 0, out = 0;
    for (unsigned round = 0; round < 1000; round++) {
        char part[97];
        size_t n = round * 31 % sizeof part, take = round * 17 % 90;
        for (size_t i = 0; i < n; i++)
            part[i] = (char)in++;
        ck_assert(buffer_append(&b, part, n));
        take = take < buffer_len(&b) ? take : buffer_len(&b);
        for (size_t i = 0; i < take; i++)
            ck_assert_uint_eq((unsigned char)buffer_head(&b)[i], out++);
        buffer_consume(&b, take);
        ck_assert(b.start <= b.end && b.end <= b.cap);
    }
    while (buffer_len(&b)) {
        ck_assert_uint_eq((unsigned char)*buffer_head(&b), out++);
        buffer_consume(&b, 1);
    }
    ck_assert_uint_eq(in, out);
    buffer_release(&b);
}
END_TEST

START_TEST(an_emptied_buffer_starts_over)
{
    struct buffer b = {0};
    ck_assert(buffer_append(&b, "hello", 5));
    buffer_consume(&b, 2);
    ck_assert_uint_eq(buffer_len(&b), 3);
    ck_assert_mem_eq(buffer_head(&b), "llo", 3);
    buffer_consume(&b, 3);
    ck_assert(b.start == 0 && b.end == 0 && b.cap >= 5);
    ck_assert(buffer_append(&b, "x", 1));
    buffer_clear(&b);
    ck_assert_uint_eq(buffer_len(&b), 0);
    buffer_release(&b);
    ck_assert(b.data == NULL && b.cap == 0);
}
END_TEST

START_TEST(used_space_is_taken_before_more_memory)
{
    struct buffer b = {0};
    ck_assert(buffer_reserve(&b, 512));
    size_t cap = b.cap;
    memset(b.data, 'a', cap);
    b.end = cap;
    buffer_consume(&b, cap - 3);
    ck_assert(buffer_reserve(&b, cap - 3));
    ck_assert_uint_eq(b.cap, cap);
    ck_assert_uint_eq(b.start, 0);
    ck_assert_mem_eq(buffer_head(&b), "aaa", 3);
    buffer_release(&b);
}
END_TEST

START_TEST(what_cannot_be_had_changes_nothing)
{
    struct buffer b = {0};
    ck_assert(buffer_append(&b, "abc", 3));
    struct buffer before = b;
    ck_assert(!buffer_reserve(&b, SIZE_MAX));
    ck_assert(!buffer_reserve(&b, SIZE_MAX / 4));
    ck_assert(memcmp(&before, &b, sizeof b) == 0);
    ck_assert_mem_eq(buffer_head(&b), "abc", 3);
    buffer_release(&b);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("buffer");
    TCase *t = tcase_create("buffer");
    tcase_add_test(t, what_is_appended_comes_out_in_order);
    tcase_add_test(t, an_emptied_buffer_starts_over);
    tcase_add_test(t, used_space_is_taken_before_more_memory);
    tcase_add_test(t, what_cannot_be_had_changes_nothing);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
