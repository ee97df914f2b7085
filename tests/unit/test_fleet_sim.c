/* A fleet of real members in made-up time, with all that can go wrong: what is promised of it holds
 * at each step (see tests/lib/sim_fleet.h). The same seed gives the same course of events each
 * time.
 *
 *   FLEET_SIM_SEEDS=200 test_fleet_sim                   more seeds of each scenario than a few
 *   FLEET_SIM=chaos test_fleet_sim                       one scenario
 *   FLEET_SIM=chaos:17 FLEET_SIM_TELL=1 test_fleet_sim   one seed of it, and all that happens
 *   FLEET_SIM_COUNTS=1                                   how much happened in each seed
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/sim_scenarios.h"
#include "tests/lib/unit.h"

static bool run_seed(const struct sim_scenario *row, uint64_t seed, bool shows, char *violation,
                     size_t size)
{
    struct world *w = calloc(1, sizeof *w);
    row->run(w, seed);
    snprintf(violation, size, "%s", w->violation);
    if (w->violation[0] && shows)
        sim_show(&w->sim);
    if (getenv("FLEET_SIM_COUNTS")) {
        struct world_counts c = world_counts(w);
        printf("%s:%llu %u publications, %u restored, %u out, %u back, %u looks, %llu events %s\n",
               row->name, (unsigned long long)seed, c.publications, c.restores, c.outs, c.returns,
               c.samples, (unsigned long long)w->sim.events, w->violation);
    }
    bool ok = w->violation[0] == 0;
    world_deinit(w);
    free(w);
    return ok;
}

START_TEST(what_is_promised_holds)
{
    const struct sim_scenario *row = &sim_scenarios[_i];
    const char *more = getenv("FLEET_SIM_SEEDS"), *one = getenv("FLEET_SIM");
    unsigned n = more ? (unsigned)atoi(more) : row->seeds, first = 0, failed = 0;
    size_t len = strlen(row->name);
    if (one && (strncmp(one, row->name, len) != 0 || (one[len] && one[len] != ':')))
        return;
    if (one && one[len] == ':') {
        first = (unsigned)atoi(one + len + 1);
        n = 1;
    }
    char violation[400];
    for (unsigned seed = first; seed < first + n; seed++)
        if (!run_seed(row, seed, failed == 0 && (!more || one), violation, sizeof violation)) {
            fprintf(stderr, "FLEET_SIM=%s:%u: %s\n", row->name, seed, violation);
            failed++;
        }
    ck_assert_msg(failed == 0, "%u of %u seeds of %s", failed, n, row->name);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("fleet_sim");
    TCase *t = tcase_create("scenarios");
    tcase_set_timeout(t, 0);
    tcase_add_loop_test(t, what_is_promised_holds, 0, (int)sim_nscenarios);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
