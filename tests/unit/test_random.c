/* Random bytes in stock: each is given out once, and a kernel without any is no accident. */
#include "base/random.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/unit.h"

#define VALUES 4096 /* 16 stocks */

struct value {
    uint8_t bytes[16];
};

static int value_cmp(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct value));
}

START_TEST(no_value_comes_twice)
{
    static struct value values[VALUES];
    struct random_store s = {0};
    struct error e;
    unsigned bits = 0;
    for (size_t i = 0; i < VALUES; i++)
        ck_assert(random_take(&s, &values[i], sizeof values[i], &e));
    for (size_t i = 0; i < VALUES; i++)
        for (size_t b = 0; b < sizeof values[i].bytes; b++)
            bits += (unsigned)__builtin_popcount(values[i].bytes[b]);
    /* 524,288 bits scatter by 362 around half of them: seven times that is met once in 10^12 */
    ck_assert_uint_ge(bits, 262144 - 2534);
    ck_assert_uint_le(bits, 262144 + 2534);
    qsort(values, VALUES, sizeof *values, value_cmp);
    for (size_t i = 1; i < VALUES; i++)
        ck_assert_int_ne(value_cmp(&values[i - 1], &values[i]), 0);
}
END_TEST

START_TEST(what_was_given_out_is_not_kept)
{
    struct random_store s = {0};
    struct error e;
    uint8_t some[100], all[RANDOM_STOCK];
    static const uint8_t zeros[100];
    ck_assert(random_take(&s, some, sizeof some, &e));
    ck_assert_uint_eq(s.left, RANDOM_STOCK - sizeof some);
    ck_assert_mem_eq(s.bytes, zeros, sizeof zeros);
    ck_assert(random_take(&s, all, sizeof all, &e)); /* more than is left */
    ck_assert_uint_eq(s.left, 0);
    ck_assert(random_take(&s, some, 0, &e));
}
END_TEST

/* From now on getrandom() says EAGAIN, as it does early after a boot. */
static bool take_randomness_away(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof code / sizeof *code, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int without_randomness(void)
{
    struct random_store s = {0};
    struct error e;
    uint8_t value[16];
    for (int i = 0; i < RANDOM_STOCK / 16; i++)
        if (i == 1 && !take_randomness_away())
            return 2;
        else if (!random_take(&s, value, sizeof value, &e))
            return 3; /* there were some left */
    if (random_take(&s, value, sizeof value, &e))
        return 4;
    return e.code == EAGAIN && strncmp(e.text, "getrandom: ", 11) == 0 ? 0 : 5;
}

/* In a process of its own, which can't get back what it gives up. */
START_TEST(without_randomness_the_call_fails)
{
    int status;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(without_randomness());
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("random");
    TCase *t = tcase_create("random");
    tcase_add_test(t, no_value_comes_twice);
    tcase_add_test(t, what_was_given_out_is_not_kept);
    tcase_add_test(t, without_randomness_the_call_fails);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(build);
}
