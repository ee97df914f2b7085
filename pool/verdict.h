/* Counts checks: `fall` failures in a row make a server down, `rise` passes in a row make it up.
 *
 * What for: the roster counts by it. It is not in health/, because a server that live traffic took
 * down needs `rise` passes all the same, and pool/ may not include health/.
 * Invariants: `count` results in a row speak against `up`; count < (up ? fall : rise).
 * Ownership: a plain value; the functions are pure.
 * Threads: any. */
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
/* Counts one result. Returns whether it has turned the verdict. */
enum verdict_change verdict_check(struct verdict *v, bool ok);
/* Sets the verdict by something else (a first check, live traffic); the count begins again. */
void verdict_force(struct verdict *v, bool up);
/* Takes over the count of another verdict with the same `up`. */
void verdict_take_over(struct verdict *v, const struct verdict *from);
/* Whether some results speak against the verdict, but not enough yet. */
bool verdict_changing(const struct verdict *v);
