/* What a process hands over to the one that replaces it: a document, and descriptors.
 *
 *   old:  handover_init -> handover_add_sockets ..., handover_add_pools -> handover_seal
 *   new:  handover_read -> handover_restore -> handover_deinit
 *
 * What for: after a change of the program the same sockets go on to listen, and nothing that the
 * rosters know is forgotten. The new process finds the line to the old one at HANDOVER_LINE, the
 * document, a sealed memfd, at HANDOVER_DOCUMENT, and from HANDOVER_FIRST on the descriptors that
 * the document names. Both processes may be of different versions; docs/architecture.md, An
 * upgrade, has the form of the document, which is numbered. Invariants: nothing in a document is
 * believed: each descriptor must be the next one, and a listening socket (app/inherited.h).
 * Ownership: see each function. Threads: control, or before threads exist. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/inherited.h"
#include "base/error.h"
#include "net/bind.h"
#include "pool/snapshot.h"

enum { HANDOVER_LINE = 3, HANDOVER_DOCUMENT, HANDOVER_FIRST };

/* A document that is being made. */
struct handover_draft {
    json_t *root;
    uint64_t generation;
    int *fds; /* of this process, for the numbers from HANDOVER_FIRST on; not its own */
    unsigned nfds;
};

void handover_init(struct handover_draft *d, uint64_t generation);
/* The sockets of one address, with the claim of its files (NULL or empty: there are none). They
 * must stay open until the other process has started. */
void handover_add_sockets(struct handover_draft *d, const struct addr *at, const int *fds,
                          unsigned n, const struct bind_claim *claim);
/* What the rosters know. False: memory is out. */
bool handover_add_pools(struct handover_draft *d, const struct snapshot *s, uint64_t now_ms);
/* What the fleet's member is, as text (see app/membership.h); NULL: there is none. */
void handover_add_member(struct handover_draft *d, const char *text);
/* Returns the document as a sealed memfd, which is the caller's, or -1. */
int handover_seal(const struct handover_draft *d, struct error *e);
void handover_draft_deinit(struct handover_draft *d);

/* What was read of a document. */
struct handover {
    uint64_t generation;
    json_t *root;
};

/* Reads the document, and adds the sockets that it names to *in. False: it is no such document, or
 * its descriptors are not there; *h owns nothing, and the process should not go on. */
bool handover_read(struct handover *h, int fd, struct inherited *in, struct error *e);
/* Before first checks: the rosters get what the document has of the pools of their names. */
bool handover_restore(const struct handover *h, struct snapshot *s, uint64_t now_ms,
                      struct error *e);
/* Of handover_add_member(), until handover_deinit(); NULL: there is none. */
const char *handover_member(const struct handover *h);
void handover_deinit(struct handover *h);
