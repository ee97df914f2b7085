/* How many sockets the process may still open, so that load is shed before the limit is hit.
 *
 * What for: at the limit accept(), connect(), a health check and opening a file fail alike, and
 * nobody can be told anything. So the traffic's sockets are counted against the limit, less a
 * reserve for the rest of the process, and clients are refused while there is still room to answer
 * those that are in. Invariants: each descriptors_take() or _take_client() that says true is
 * followed by one descriptors_give(). Clients leave an eighth to backend connections. Threads: any;
 * one atomic count, touched per connection, not per request. */
#pragma once
#include <stdbool.h>

/* Reads the limit (RLIMIT_NOFILE) and what is open already. Before any worker starts. */
void descriptors_init(void);
/* For a backend connection. False: none is left. */
bool descriptors_take(void);
/* For a client connection, which exists already. False: it is one too many, and to be closed at
 * once; it is not counted. */
bool descriptors_take_client(void);
void descriptors_give(void);
