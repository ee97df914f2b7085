/* A request of the admin interface whose answer comes later.
 *
 *   later_keep -> ... later_done
 *
 * What for: the handler passes later_done() and what later_keep() returned to a function that calls
 * back when it is done. Whether the client still waits is no business of that function.
 * Ownership: later_done() frees; it must be called once. It may be called after the interface was
 * closed.
 * Threads: control. */
#pragma once
#include "admin/hooks.h"
#include "base/str.h"
#include "httpd/httpd.h"

struct later;

/* Keeps the request. NULL: memory is out, and the request is not kept. */
struct later *later_keep(struct httpd_request *q);
/* If all goes well, the answer will have the entity tag of this text, which is in force then. */
void later_etag(struct later *l, struct str text);
/* An admin_done_fn: answers the request with the document as JSON, if the client is still there. */
void later_done(void *later, int status, json_t *document);
