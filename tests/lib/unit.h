/* What every Check unit test needs: one suite, run in one process so that sanitizers see leaks. */
#pragma once
#include <check.h>
#include <stdlib.h>

/* Runs the suite that `build` makes; the exit code of main(). */
static inline int unit_main(Suite *(*build)(void))
{
    SRunner *runner = srunner_create(build());
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
