/* A worker over memory with one client that has connected: a world (tests/fuzz/world.h) for unit
 * tests, which play what the client and the servers do.
 *
 * Ownership: one world at a time, from one_client_begin() to one_client_end(). Threads: one. */
#pragma once

/* configuration: YAML with a listener, and a pool of WORLD_SERVERS backends that start up. */
void one_client_begin(const char *configuration);
/* The client ends its side, and everything has to end by its deadlines. */
void one_client_end(void);
