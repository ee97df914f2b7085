/* The transport of TCP and unix sockets, on libuv.
 *
 * What for: conn.c's way to the kernel.
 * Invariants: an accepted socket is registered with the loop when that is needed for the first
 * time: when it begins to read, or when output has to wait. Until then it is read and written by
 * hand. Threads: the conn's loop. */
#pragma once
#include "net/transport.h"

extern const struct transport socket_transport;
