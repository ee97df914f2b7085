/* What the answers of the admin interface have in common.
 *
 * What for: answers at once (admin.c) and later (later.c) look alike.
 * Invariants: each function returns false when memory is out; the answer is then not to be sent.
 * Ownership: fills in the caller's answer. Threads: control. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "httpd/httpd.h"

/* The field lines of every answer. */
bool answer_fields(struct httpd_answer *a);
/* A document, whose reference stays the caller's, as the body. NULL: memory is out. */
bool answer_json(struct httpd_answer *a, int status, const json_t *root);
