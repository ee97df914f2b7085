#include "cluster/version.h"

#include <string.h>

int version_compare(const struct version *a, const struct version *b)
{
    if (a->epoch != b->epoch)
        return a->epoch < b->epoch ? -1 : 1;
    int by = strcmp(a->by, b->by);
    if (by != 0)
        return by;
    return (a->seq > b->seq) - (a->seq < b->seq);
}
