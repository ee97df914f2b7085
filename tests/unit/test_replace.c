#include "config/replace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/lib/unit.h"

#define MAX ((size_t)1 << 20)
#define OLD "old: text\n"
#define NEW "new: text\n# longer\n"
#define NOBODY 65534

/* --- the system calls that can be made to fail --- */

static int fail_fsync, fail_rename; /* errno; 0: they work */
static bool synced;                 /* the last fsync was before a rename */
static unsigned renamed_unsynced;

int fsync(int fd)
{
    if (fail_fsync) {
        errno = fail_fsync;
        return -1;
    }
    synced = true;
    return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    renamed_unsynced += !synced;
    synced = false;
    if (fail_rename) {
        errno = fail_rename;
        return -1;
    }
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* --- a folder of its own --- */

static char folder[64], file[128];

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void in_folder(char out[128], const char *name)
{
    snprintf(out, 128, "%s/%s", folder, name);
}

static void set_up(void)
{
    strcpy(folder, "/tmp/test_replace.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    in_folder(file, "ringproxy.yaml");
    write_file(file, OLD);
    fail_fsync = fail_rename = 0;
    synced = false;
}

/* How many entries the folder has; they are removed if asked for. */
static unsigned entries(bool drop)
{
    DIR *d = opendir(folder);
    unsigned n = 0;
    ck_assert_ptr_nonnull(d);
    for (struct dirent *it; (it = readdir(d)) != NULL;)
        if (strcmp(it->d_name, ".") != 0 && strcmp(it->d_name, "..") != 0) {
            n++;
            if (drop)
                ck_assert_int_eq(unlinkat(dirfd(d), it->d_name, 0), 0);
        }
    closedir(d);
    return n;
}

static void tear_down(void)
{
    entries(true);
    ck_assert_int_eq(rmdir(folder), 0);
    ck_assert_uint_eq(renamed_unsynced, 0);
}

static void expect_text(const char *path, const char *text)
{
    char got[256] = "";
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    size_t n = fread(got, 1, sizeof got - 1, f);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_uint_eq(n, strlen(text));
    ck_assert_str_eq(got, text);
}

static struct stat stat_of(const char *path)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return st;
}

/* All of it. False: *e says why. */
static bool replace(const char *path, struct error *e)
{
    struct replacement *r = replace_open(path, MAX, e);
    bool ok = r && replace_write(r, STR(NEW), e) && replace_commit(r, e);
    replace_free(r);
    return ok;
}

static void expect_replaced(const char *path)
{
    struct error e = {0};
    ck_assert_msg(replace(path, &e), "%s", e.text);
    expect_text(path, NEW);
}

/* It fails with that error, and the folder is as it was. */
static void expect_refused(const char *path, int code, const char *words)
{
    struct error e = {0};
    unsigned before = entries(false);
    ck_assert(!replace(path, &e));
    ck_assert_msg(e.code == code, "%d: %s", e.code, e.text);
    ck_assert_msg(strstr(e.text, words) && strstr(e.text, path), "%s", e.text);
    ck_assert_uint_eq(entries(false), before);
}

/* --- tests --- */

START_TEST(a_file_has_the_new_text_and_its_old_mode)
{
    set_up();
    ck_assert_int_eq(chmod(file, 0640), 0);
    expect_replaced(file);
    ck_assert_uint_eq(stat_of(file).st_mode & 07777, 0640);
    ck_assert_int_eq(chmod(file, 0604), 0);
    expect_replaced(file);
    ck_assert_uint_eq(stat_of(file).st_mode & 07777, 0604);
    ck_assert_uint_eq(entries(false), 1);
    tear_down();
}
END_TEST

START_TEST(the_old_text_is_read_first)
{
    struct error e;
    set_up();
    struct replacement *r = replace_open(file, MAX, &e);
    ck_assert_msg(r != NULL, "%s", e.text);
    ck_assert(str_eq(replace_old(r), STR(OLD)));
    replace_free(r);
    ck_assert_uint_eq(entries(false), 1);
    tear_down();
}
END_TEST

START_TEST(until_the_commit_the_file_is_the_old_one)
{
    struct error e;
    set_up();
    ino_t before = stat_of(file).st_ino;
    struct replacement *r = replace_open(file, MAX, &e);
    ck_assert(r && replace_write(r, STR(NEW), &e));
    expect_text(file, OLD);
    ck_assert_uint_eq(entries(false), 2);
    replace_free(r); /* given up */
    expect_text(file, OLD);
    ck_assert(stat_of(file).st_ino == before);
    ck_assert_uint_eq(entries(false), 1);
    tear_down();
}
END_TEST

START_TEST(a_name_without_a_directory_is_in_the_working_directory)
{
    char cwd[256];
    set_up();
    ck_assert_ptr_nonnull(getcwd(cwd, sizeof cwd));
    ck_assert_int_eq(chdir(folder), 0);
    expect_replaced("ringproxy.yaml");
    ck_assert_int_eq(chdir(cwd), 0);
    ck_assert_uint_eq(entries(false), 1);
    tear_down();
}
END_TEST

START_TEST(the_target_of_a_link_is_replaced)
{
    char link1[128], link2[128], to[128];
    set_up();
    in_folder(link1, "link1");
    in_folder(link2, "link2");
    ck_assert_int_eq(symlink("ringproxy.yaml", link1), 0);
    ck_assert_int_eq(symlink("link1", link2), 0);
    expect_replaced(link2);
    expect_text(file, NEW);
    ssize_t n = readlink(link2, to, sizeof to);
    ck_assert(n == 5 && memcmp(to, "link1", 5) == 0);
    ck_assert_uint_eq(entries(false), 3);
    tear_down();
}
END_TEST

START_TEST(a_link_that_leads_elsewhere_meanwhile_is_noticed)
{
    char link[128], other[128];
    struct error e;
    set_up();
    in_folder(link, "link");
    in_folder(other, "other");
    write_file(other, OLD);
    ck_assert_int_eq(symlink("ringproxy.yaml", link), 0);
    struct replacement *r = replace_open(link, MAX, &e);
    ck_assert(r && replace_write(r, STR(NEW), &e));
    ck_assert_int_eq(unlink(link), 0);
    ck_assert_int_eq(symlink("other", link), 0);
    ck_assert(!replace_commit(r, &e));
    ck_assert_int_eq(e.code, ESTALE);
    replace_free(r);
    expect_text(file, OLD);
    expect_text(other, OLD);
    ck_assert_uint_eq(entries(false), 3);
    tear_down();
}
END_TEST

/* How somebody gets in between: 0 writes the file, 1 replaces it, 2 removes it. */
START_TEST(a_change_meanwhile_is_noticed)
{
    char other[128];
    struct error e;
    set_up();
    struct replacement *r = replace_open(file, MAX, &e);
    ck_assert(r && replace_write(r, STR(NEW), &e));
    if (_i == 0) {
        write_file(file, "other: text\n");
    } else if (_i == 1) {
        in_folder(other, "other");
        write_file(other, OLD);
        synced = true;
        ck_assert_int_eq(rename(other, file), 0);
    } else {
        ck_assert_int_eq(unlink(file), 0);
    }
    ck_assert(!replace_commit(r, &e));
    ck_assert_int_eq(e.code, ESTALE);
    ck_assert_msg(strstr(e.text, file) != NULL, "%s", e.text);
    replace_free(r);
    if (_i < 2)
        expect_text(file, _i == 0 ? "other: text\n" : OLD);
    ck_assert_uint_eq(entries(false), _i < 2);
    tear_down();
}
END_TEST

START_TEST(a_file_with_two_names_is_refused)
{
    char other[128];
    set_up();
    in_folder(other, "other");
    ck_assert_int_eq(link(file, other), 0);
    expect_refused(file, EMLINK, "2 names");
    expect_text(file, OLD);
    tear_down();
}
END_TEST

START_TEST(what_is_no_regular_file_is_refused)
{
    char fifo[128];
    set_up();
    in_folder(fifo, "fifo");
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    expect_refused(fifo, EINVAL, "not a regular file"); /* and does not wait for a writer */
    expect_refused(folder, EINVAL, "not a regular file");
    tear_down();
}
END_TEST

START_TEST(a_file_that_is_missing_is_no_file)
{
    set_up();
    ck_assert_int_eq(unlink(file), 0);
    expect_refused(file, ENOENT, "cannot be read");
    tear_down();
}
END_TEST

START_TEST(a_large_file_is_refused)
{
    set_up();
    ck_assert_int_eq(truncate(file, MAX), 0);
    expect_replaced(file);
    ck_assert_int_eq(truncate(file, MAX + 1), 0);
    expect_refused(file, EFBIG, "larger than 1MiB");
    tear_down();
}
END_TEST

/* The disk is full, or broken. */
START_TEST(what_cannot_be_written_leaves_nothing)
{
    static const int codes[] = {ENOSPC, EDQUOT, EIO};
    set_up();
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        fail_fsync = codes[i];
        expect_refused(file, codes[i], "cannot be written");
        expect_text(file, OLD);
    }
    tear_down();
}
END_TEST

START_TEST(a_name_that_cannot_be_given_leaves_nothing)
{
    set_up();
    fail_rename = EBUSY;
    expect_refused(file, EBUSY, "mount its directory");
    fail_rename = EACCES;
    expect_refused(file, EACCES, "cannot be replaced");
    expect_text(file, OLD);
    tear_down();
}
END_TEST

/* For root, rights do not count, so root becomes somebody else for these. */
START_TEST(a_directory_that_takes_no_file_is_an_error)
{
    set_up();
    ck_assert_int_eq(chmod(folder, 0555), 0);
    if (geteuid() == 0)
        ck_assert_int_eq(seteuid(NOBODY), 0);
    expect_refused(file, EACCES, "no file can be created in");
    expect_text(file, OLD);
    if (geteuid() == NOBODY && getuid() == 0)
        ck_assert_int_eq(seteuid(0), 0);
    ck_assert_int_eq(chmod(folder, 0755), 0);
    tear_down();
}
END_TEST

START_TEST(the_owner_is_kept_or_nothing_is_replaced)
{
    if (geteuid() != 0)
        return;
    set_up();
    ck_assert_int_eq(chown(file, 1234, 1235), 0);
    ck_assert_int_eq(chmod(file, 04754), 0); /* which a change of the owner would clear */
    expect_replaced(file);
    struct stat st = stat_of(file);
    ck_assert(st.st_uid == 1234 && st.st_gid == 1235 && (st.st_mode & 07777) == 04754);

    ck_assert_int_eq(chown(folder, NOBODY, NOBODY), 0);
    ck_assert_int_eq(seteuid(NOBODY), 0);
    expect_refused(file, EPERM, "owner and group cannot be kept");
    ck_assert_int_eq(seteuid(0), 0);
    ck_assert_uint_eq(stat_of(file).st_uid, 1234);
    tear_down();
}
END_TEST

/* An ACL of the kernel's form, version 2: user:: rw-, user:1234 r--, group:: ---, mask:: r--,
 * other:: ---. */
static const unsigned char acl[] = {
    2,    0, 0, 0,                                     /**/
    0x01, 0, 6, 0, 0xff,        0xff,      0xff, 0xff, /**/
    0x02, 0, 4, 0, 1234 & 0xff, 1234 >> 8, 0,    0,    /**/
    0x04, 0, 0, 0, 0xff,        0xff,      0xff, 0xff, /**/
    0x10, 0, 4, 0, 0xff,        0xff,      0xff, 0xff, /**/
    0x20, 0, 0, 0, 0xff,        0xff,      0xff, 0xff,
};
#define ACL "system.posix_acl_access"

/* True: it is set. False: the file system of /tmp has no such attributes. */
static bool set_attribute(const char *path, const char *name, const void *value, size_t n)
{
    if (setxattr(path, name, value, n, 0) == 0)
        return true;
    ck_assert_int_eq(errno, ENOTSUP);
    return false;
}

START_TEST(attributes_and_acls_are_kept)
{
    char got[256];
    set_up();
    if (set_attribute(file, "user.why", "because", 7)) {
        expect_replaced(file);
        ck_assert_int_eq(getxattr(file, "user.why", got, sizeof got), 7);
        ck_assert_mem_eq(got, "because", 7);
    }
    if (set_attribute(file, ACL, acl, sizeof acl)) {
        expect_replaced(file);
        ck_assert_int_eq(getxattr(file, ACL, got, sizeof got), sizeof acl);
        ck_assert_mem_eq(got, acl, sizeof acl);
        ck_assert_uint_eq(stat_of(file).st_mode & 07777, 0640);
    }
    tear_down();
}
END_TEST

START_TEST(a_file_without_an_acl_gets_none_of_its_directory)
{
    char got[256];
    set_up();
    ck_assert_int_eq(chmod(file, 0640), 0);
    if (set_attribute(folder, "system.posix_acl_default", acl, sizeof acl)) {
        expect_replaced(file);
        ck_assert_int_eq(getxattr(file, ACL, got, sizeof got), -1);
        ck_assert_int_eq(errno, ENODATA);
        ck_assert_uint_eq(stat_of(file).st_mode & 07777, 0640);
    }
    tear_down();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("replace");
    TCase *t = tcase_create("replace");
    tcase_add_test(t, a_file_has_the_new_text_and_its_old_mode);
    tcase_add_test(t, the_old_text_is_read_first);
    tcase_add_test(t, until_the_commit_the_file_is_the_old_one);
    tcase_add_test(t, a_name_without_a_directory_is_in_the_working_directory);
    tcase_add_test(t, the_target_of_a_link_is_replaced);
    tcase_add_test(t, a_link_that_leads_elsewhere_meanwhile_is_noticed);
    tcase_add_loop_test(t, a_change_meanwhile_is_noticed, 0, 3);
    tcase_add_test(t, a_file_with_two_names_is_refused);
    tcase_add_test(t, what_is_no_regular_file_is_refused);
    tcase_add_test(t, a_file_that_is_missing_is_no_file);
    tcase_add_test(t, a_large_file_is_refused);
    tcase_add_test(t, what_cannot_be_written_leaves_nothing);
    tcase_add_test(t, a_name_that_cannot_be_given_leaves_nothing);
    tcase_add_test(t, a_directory_that_takes_no_file_is_an_error);
    tcase_add_test(t, the_owner_is_kept_or_nothing_is_replaced);
    tcase_add_test(t, attributes_and_acls_are_kept);
    tcase_add_test(t, a_file_without_an_acl_gets_none_of_its_directory);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
