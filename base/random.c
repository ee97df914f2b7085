#include "base/random.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* getrandom() may stop early, at a signal. */
static bool refill(struct random_store *s, struct error *e)
{
    size_t have = 0;
    while (have < RANDOM_STOCK) {
        ssize_t n = getrandom(s->bytes + have, RANDOM_STOCK - have, GRND_NONBLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error_errno(e, errno, "getrandom");
            return false;
        }
        have += (size_t)n;
    }
    s->left = RANDOM_STOCK;
    return true;
}

bool random_take(struct random_store *s, void *out, size_t n, struct error *e)
{
    assert(n <= RANDOM_STOCK);
    if (s->left < n && !refill(s, e))
        return false;
    uint8_t *from = s->bytes + RANDOM_STOCK - s->left;
    memcpy(out, from, n);
    memset(from, 0, n); /* what was given out is in no memory dump from here */
    s->left -= n;
    return true;
}
