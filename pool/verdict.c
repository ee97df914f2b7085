#include "pool/verdict.h"

#include <assert.h>

void verdict_init(struct verdict *v, unsigned fall, unsigned rise, bool up)
{
    assert(fall >= 1 && rise >= 1);
    *v = (struct verdict){.fall = fall, .rise = rise, .up = up};
}

enum verdict_change verdict_check(struct verdict *v, bool ok)
{
    if (ok == v->up) { /* a row is broken by one result of the other kind */
        v->count = 0;
        return VERDICT_SAME;
    }
    unsigned need = v->up ? v->fall : v->rise;
    assert(v->count < need);
    if (++v->count < need)
        return VERDICT_SAME;
    verdict_force(v, ok);
    return ok ? VERDICT_UP : VERDICT_DOWN;
}

void verdict_force(struct verdict *v, bool up)
{
    v->up = up;
    v->count = 0;
}

/* The verdict turns with a result, so one more is needed even if the new fall or rise is lower than
 * the count. */
void verdict_take_over(struct verdict *v, const struct verdict *from)
{
    unsigned need = v->up ? v->fall : v->rise;
    assert(v->up == from->up);
    v->count = from->count < need ? from->count : need - 1;
}

bool verdict_changing(const struct verdict *v)
{
    return v->count > 0;
}
