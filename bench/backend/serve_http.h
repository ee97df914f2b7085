/* One HTTP backend of `ringbench serve`: a server of httpd/, how it behaves, what it counted.
 *
 * Any path answers 200 with the name; /healthz tells that it lives, GET /__stats what it counted,
 * POST /__control changes how it behaves.
 * Ownership: serve_http_new() to serve_http_free(), which comes after the loop's end; the name is
 * the caller's and stays, of at most 200 bytes. Threads: the loop's. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"
#include "bench/backend/behaviour.h"
#include "httpd/httpd.h"
#include "net/conn.h"

struct serve_http;

/* The seed decides, with the name, which requests meet an error, a hang, how much jitter. */
struct serve_http *serve_http_new(struct net *n, const char *name, const struct behaviour *b,
                                  uint64_t seed);
void serve_http_free(struct serve_http *v);
/* False: it must still be closed. */
bool serve_http_listen(struct serve_http *v, const struct addr *a, struct error *e);
const struct addr *serve_http_address(const struct serve_http *v);
/* Once; what it holds of the loop is gone when the loop ends. */
void serve_http_close(struct serve_http *v);
