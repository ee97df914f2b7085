#include "base/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

bool streams_open_missing(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        /* those below are open by now, so it gets this number; children inherit it */
        if (open("/dev/null", O_RDWR) != fd)
            return false;
    }
    return true;
}
