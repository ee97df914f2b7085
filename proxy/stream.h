/* One TCP stream: a client connection of a listener with `mode: tcp`, and one to a server.
 *
 *        key known            connected              both have ended, cut, idle
 *   PEEK --------> CONNECT ---------------> TUNNEL ----------------------------> CLOSED
 *     |            |  ^  ^                    |                                     ^
 *     |            '--'  '--------------------'                                     |
 *     |       failed: next server    reset before a byte passed: next server        |
 *     '----------------------------- error; no server left -------------------------'
 *
 *   PEEK     if a key of the listener is `sni`: the first bytes are examined for a server name, and
 *            kept; the request deadline runs. With or without a name, the stream goes on
 *   CONNECT  a server is lent. What the client sends waits in its conn or its socket
 *   TUNNEL   bytes go both ways: both connections are used by the tunnel (tunnel.h)
 *
 * What for: the TCP counterpart of a session.
 * Invariants: in CONNECT and TUNNEL a server is lent, and a connection to it. Another server is
 * tried only while not a byte has passed either way.
 * Ownership: the worker's, as one of its clients.
 * Threads: one worker. */
#pragma once
#include "proxy/client.h"
#include "proxy/sni.h"
#include "proxy/tunnel.h"

enum stream_state { STREAM_PEEK, STREAM_CONNECT, STREAM_TUNNEL, STREAM_CLOSED };

struct stream {
    struct client client;
    struct tunnel tunnel; /* its lease is used from CONNECT on */
    struct sni sni;       /* PEEK */
    enum stream_state state;
};

extern const struct client_mode stream_mode;
