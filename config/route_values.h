/* Reads the conditions of routes: hosts, paths, methods.
 * Invariants, ownership, threads: as the readers of read.h, which report what is wrong. */
#pragma once
#include "config/read.h"

#define ROUTE_METHODS_MAX 32

/* A host name, or "*." and one, in any case and with or without a final dot: *out is in lower case
 * without it. sni: of a ClientHello, which names no address. */
bool read_host(struct report *r, const struct yaml_node *node, const struct report_path *path,
               bool sni, char **out);
/* A path: begins with '/', or *exact with "=/"; *out is without the '='. */
bool read_route_path(struct report *r, const struct yaml_node *node, const struct report_path *path,
                     char **out, bool *exact);
/* One method or a list of them. */
bool read_methods(struct report *r, const struct yaml_node *node, const struct report_path *path,
                  char ***out, size_t *count);
