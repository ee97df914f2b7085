/* One TCP stream: a client connection of a listener with `mode: tcp`, and its server's.
 *
 *        key known            connected              both have ended, cut, idle
 *   PEEK --------> CONNECT ---------------> TUNNEL ----------------------------> CLOSED
 *     |            |  ^  ^                    |                                     ^
 *     |            '--'  '--------------------'                                     |
 *     |       failed: next owner     reset before a byte passed: next owner         |
 *     '----------------------------- error; nobody left ----------------------------'
 *
 *   PEEK     where the key may ask for the server name: the first bytes are looked at and kept, and
 *            the request deadline runs. Whatever comes of it, the stream goes on
 *   CONNECT  a server is lent. What the client sends waits in its conn or its socket
 *   TUNNEL   bytes both ways: both connections are the tunnel's (tunnel.h)
 *
 * Invariants: while it is not in PEEK or CLOSED a server and a connection are lent. Another server
 * is tried only while not a byte has passed either way.
 * Ownership: the worker's, as its client. Threads: one worker. */
#pragma once
#include "proxy/client.h"
#include "proxy/sni.h"
#include "proxy/tunnel.h"

enum stream_state { STREAM_PEEK, STREAM_CONNECT, STREAM_TUNNEL, STREAM_CLOSED };

struct stream {
    struct client client;
    struct tunnel tunnel; /* with the lease, which CONNECT needs already */
    struct sni sni;       /* PEEK */
    enum stream_state state;
};

extern const struct client_mode stream_mode;
