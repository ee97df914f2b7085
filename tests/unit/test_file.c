#include "base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lib/unit.h"

#define MIB ((size_t)1 << 20)

static char path[] = "/tmp/test_file.XXXXXX";

/* A file of n bytes 'x'. */
static void make(size_t n)
{
    static char text[MIB + 1];
    memset(text, 'x', n);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

/* The module's read(). In that many readings the file grows, or has another first byte as soon as
 * the first one was read. */
static unsigned changes, overwrites;

static void write_y(int flags)
{
    int to = open(path, O_WRONLY | flags);
    if (to < 0 || write(to, "y", 1) != 1 || close(to) < 0)
        abort();
}

ssize_t read(int fd, void *buffer, size_t n)
{
    if (changes > 0 && lseek(fd, 0, SEEK_CUR) == 0) {
        changes--;
        write_y(O_APPEND);
    }
    if (overwrites > 0 && lseek(fd, 0, SEEK_CUR) > 0) {
        overwrites--;
        write_y(0);
    }
    return syscall(SYS_read, fd, buffer, n);
}

START_TEST(a_file_is_read_to_its_end)
{
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buffer b = {0};
        struct error e;
        ck_assert(buffer_append(&b, "ab", 2));
        make(sizes[i]);
        ck_assert(file_read(path, MIB, &b, &e));
        ck_assert_uint_eq(buffer_len(&b), sizes[i] + 2);
        ck_assert_mem_eq(buffer_head(&b), "abx", sizes[i] ? 3 : 2);
        buffer_release(&b);
    }
}
END_TEST

START_TEST(what_cannot_be_read_is_said)
{
    struct buffer b = {0};
    struct error e;
    make(MIB + 1);
    ck_assert(!file_read(path, MIB, &b, &e));
    ck_assert_str_eq(e.text, "the file is larger than 1MiB");
    ck_assert(!file_read("/tmp", MIB, &b, &e));
    ck_assert_str_eq(e.text, "the file cannot be read: Is a directory");
    ck_assert(!file_read("/nonexistent", MIB, &b, &e));
    ck_assert_str_eq(e.text, "the file cannot be read: No such file or directory");
    buffer_release(&b);
}
END_TEST

START_TEST(a_file_that_changes_is_read_again)
{
    struct buffer b = {0};
    struct error e;
    make(100);
    ck_assert(file_read_settled(path, MIB, &b, &e));
    ck_assert_uint_eq(buffer_len(&b), 100);
    changes = 1;
    ck_assert(file_read_settled(path, MIB, &b, &e));
    ck_assert_uint_eq(buffer_len(&b), 101);
    ck_assert_int_eq(b.data[100], 'y');
    changes = FILE_READINGS;
    ck_assert(!file_read_settled(path, MIB, &b, &e));
    ck_assert_uint_eq(changes, 0);
    ck_assert_str_eq(e.text, "the file cannot be read: it changes while it is read");
    buffer_release(&b);
}
END_TEST

/* The size is the same, and so may be the time that the kernel gives the change. */
START_TEST(a_change_right_after_another_is_noticed)
{
    for (int i = 0; i < 20; i++) {
        struct buffer b = {0};
        struct error e;
        make(100);
        overwrites = 1;
        ck_assert(file_read_settled(path, MIB, &b, &e));
        ck_assert_uint_eq(overwrites, 0);
        ck_assert_int_eq(b.data[0], 'y');
        buffer_release(&b);
    }
}
END_TEST

START_TEST(only_a_regular_file_settles)
{
    struct buffer b = {0};
    struct error e;
    char fifo[sizeof path + 5];
    snprintf(fifo, sizeof fifo, "%s.fifo", path);
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    ck_assert(!file_read_settled(fifo, MIB, &b, &e)); /* at once, although nobody writes */
    ck_assert_int_eq(unlink(fifo), 0);
    ck_assert_str_eq(e.text, "the file cannot be read: Not a regular file");
    ck_assert(!file_read_settled("/tmp", MIB, &b, &e));
    ck_assert_str_eq(e.text, "the file cannot be read: Is a directory");
    ck_assert(!file_read_settled(fifo, MIB, &b, &e));
    ck_assert_str_eq(e.text, "the file cannot be read: No such file or directory");
    make(MIB + 1);
    ck_assert(!file_read_settled(path, MIB, &b, &e));
    ck_assert_str_eq(e.text, "the file is larger than 1MiB");
    make(MIB);
    ck_assert(file_read_settled(path, MIB, &b, &e));
    ck_assert_uint_eq(buffer_len(&b), MIB);
    buffer_release(&b);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("file");
    TCase *t = tcase_create("file");
    tcase_add_test(t, a_file_is_read_to_its_end);
    tcase_add_test(t, what_cannot_be_read_is_said);
    tcase_add_test(t, a_file_that_changes_is_read_again);
    tcase_add_test(t, a_change_right_after_another_is_noticed);
    tcase_add_test(t, only_a_regular_file_settles);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    int fd = mkstemp(path);
    if (fd < 0 || close(fd) < 0) {
        perror(path);
        return EXIT_FAILURE;
    }
    int code = unit_main(build);
    unlink(path);
    return code;
}
