/* What a fleet of proxies has agreed on about the servers of one pool: plain data, by name.
 *
 * What for: it is the form in which a publication of the fleet comes to the pool (roster_agree())
 * and in which the decisions of a pool go into one. How it is written in Redis is cluster/'s
 * affair.
 * Invariants: times are lengths in ms at the moment of storing, so that clocks need not agree,
 * except asked_ms. A server that is not listed is not known to whoever decided. Owners are not in
 * here: they follow from who is out.
 * Ownership: the texts and the array are those of whoever made it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGREED_SHARE_ALL 65536u

enum agreed_phase { AGREED_UP, AGREED_DOWN, AGREED_WAIT, AGREED_HELD, AGREED_RAMP };

struct agreed_server {
    const char *name;
    enum agreed_phase phase;
    bool drained;
    bool returned;     /* it came back back_ms ago, and has not been down since */
    const char *from;  /* AGREED_RAMP: the standby that its keys come from; else NULL */
    uint32_t share;    /* AGREED_RAMP: how much of its keys it has, of AGREED_SHARE_ALL */
    uint64_t delay_ms; /* the wait before its next return; 0: failback.after of the reader */
    uint64_t back_ms;  /* if returned */
    uint64_t left_ms;  /* AGREED_WAIT */
    uint64_t asked_ms; /* wall clock of the last request of an operator for it; 0: none */
    bool carried;      /* whoever decided does not know it: this is what one did who knew it */
};

struct agreed_pool {
    const char *name;
    const char *digest; /* of the configuration by which it was decided, see pool/digest.h */
    struct agreed_server *servers;
    size_t nservers;
};
