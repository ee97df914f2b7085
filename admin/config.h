/* The configuration file as a resource: `GET /config`, and what a `PUT /config` must satisfy.
 *
 * What for: the file that is in force, byte by byte, under its entity tag, and the conditions of
 * RFC 9110 13 on it. Who may ask, and the reload, are admin.c's business.
 * Invariants: the text is that which the process runs on, whatever the disk has by now.
 * Ownership: keeps nothing. Threads: control. */
#pragma once
#include "base/str.h"
#include "config/config.h"
#include "httpd/httpd.h"

/* Fills in the answer to a GET or HEAD: the file, 304 or 412. False: memory is out. */
bool admin_config_get(const struct httpd_request *q, struct httpd_answer *a,
                      const struct config *c);

/* If-Match and If-None-Match of a request for a resource with this tag. 0: they hold, or there are
 * none. Otherwise what to answer: 412, or 304 to a GET or HEAD. *matched: there is an If-Match, and
 * it holds. */
int admin_config_condition(const struct httpd_request *q, const char *etag, bool *matched);

/* Why a PUT with these fields has no whole file as its body (RFC 9110 8.4, 14.5): 415 or 400, and
 * *why. 0: it has one. */
int admin_config_form(const struct httpd_request *q, const char **why);
