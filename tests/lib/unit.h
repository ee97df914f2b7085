/* The main() of a unit test with Check: one suite, run without fork, so that the leak check of the
 * sanitizers covers all tests. */
#pragma once
#include <check.h>
#include <stdlib.h>

/* Runs the suite that `build` returns; returns the exit status for main(). */
static inline int unit_main(Suite *(*build)(void))
{
    SRunner *runner = srunner_create(build());
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
