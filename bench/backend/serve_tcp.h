/* One TCP backend of `ringbench serve`: it echoes, swallows or pours.
 *
 * What for: the other end of what measures or relays plain TCP, so it is to cost little: in the
 * steady state a message costs one read and, echoed, one write, and no allocation.
 * Invariants: nothing more is read from a peer that does not take what is echoed; a source that has
 * begun goes on although its peer has ended its side.
 * Ownership: serve_tcp_new() to serve_tcp_free(), which comes after the loop's end. Threads: the
 * loop's. */
#pragma once
#include <stdbool.h>

#include "base/addr.h"
#include "base/error.h"
#include "net/conn.h"

enum serve_tcp_mode {
    SERVE_ECHO,   /* sends back what comes; the peer's end of stream too, behind it */
    SERVE_SINK,   /* reads and throws away, to the end of the stream */
    SERVE_SOURCE, /* from the first byte that comes on it sends as fast as the peer reads: byte i of
                     the stream is i modulo 256 */
};

struct serve_tcp;

struct serve_tcp *serve_tcp_new(struct net *n, enum serve_tcp_mode mode);
void serve_tcp_free(struct serve_tcp *v);
/* False: it must still be closed. */
bool serve_tcp_listen(struct serve_tcp *v, const struct addr *a, struct error *e);
const struct addr *serve_tcp_address(const struct serve_tcp *v);
/* Once; what it holds of the loop is gone when the loop ends. What is on its way is lost. */
void serve_tcp_close(struct serve_tcp *v);
