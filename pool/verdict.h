/* Counts checks: `fall` failures in a row make a server down, `rise` passes in a row make it up.
 *
 * It stands in pool/ and not in health/ because the roster counts too: a server that live traffic
 * took down needs `rise` passes all the same, and pool/ may not look into health/.
 * Invariants: count < (up ? fall : rise); count is the number of results in a row that speak
 * against `up`. Pure; ownership: a plain value; threads: none. */
#pragma once
#include <stdbool.h>

struct verdict {
    unsigned fall, rise; /* at least 1 */
    unsigned count;
    bool up;
};

enum verdict_change {
    VERDICT_SAME,
    VERDICT_UP,
    VERDICT_DOWN,
};

void verdict_init(struct verdict *v, unsigned fall, unsigned rise, bool up);
/* One result; says whether it turned the verdict. */
enum verdict_change verdict_check(struct verdict *v, bool ok);
/* The verdict comes from elsewhere (a first check, live traffic): the count starts again. */
void verdict_force(struct verdict *v, bool up);
/* As far as the results in a row that another verdict has seen go, if it says the same. */
void verdict_take_over(struct verdict *v, const struct verdict *from);
/* Some results speak against the verdict, but not enough yet. */
bool verdict_changing(const struct verdict *v);
