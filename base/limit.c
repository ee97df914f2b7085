#include "base/limit.h"

#include <errno.h>
#include <sys/resource.h>

bool limit_raise_descriptors(struct error *e)
{
    struct rlimit limit;
    bool ok = getrlimit(RLIMIT_NOFILE, &limit) == 0;
    if (ok && limit.rlim_cur != limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        ok = setrlimit(RLIMIT_NOFILE, &limit) == 0;
    }
    if (!ok)
        error_errno(e, errno, "descriptor limit");
    return ok;
}
