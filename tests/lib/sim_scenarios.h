/* What a fleet goes through: faults of its members, servers, paths and store, at times that a seed
 * decides.
 *
 * What for: tests/unit/test_fleet_sim.c runs them to find no violation, test_fleet_bugs.c to find
 * the violation that a bug must lead to.
 * Threads: one; one world at a time. */
#pragma once
#include "tests/lib/sim_fleet.h"

struct sim_scenario {
    const char *name;
    /* Builds the world, lets it go on, and looks at its end: world->violation is what was found.
     * The caller has zeroed the world, set what a bug needs, and ends it by world_deinit(). */
    void (*run)(struct world *w, uint64_t seed);
    unsigned seeds; /* so many make a short test */
};

extern const struct sim_scenario sim_scenarios[];
extern const unsigned sim_nscenarios;

/* NULL: there is none of that name. */
const struct sim_scenario *sim_scenario(const char *name, size_t len);
