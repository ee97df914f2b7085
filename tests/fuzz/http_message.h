/* One HTTP message as a peer reads it, in pieces, strictly.
 *
 * What for: the peers of fuzz_exchange.c judge by it what the proxy sends, and know by it what they
 * have sent themselves.
 * Invariants: takes no byte beyond the message's end. Ownership: message_init() to
 * http_message_deinit(). */
#pragma once
#include "base/buffer.h"
#include "http/framing.h"
#include "http/parser.h"

enum http_message_state {
    MESSAGE_HEAD,
    MESSAGE_BODY,
    MESSAGE_DONE,
    MESSAGE_BROKEN, /* status says how a proxy refuses it */
};

struct http_message {
    enum http_message_state state;
    bool answer;
    bool to_head; /* an answer to HEAD */
    bool has_head;
    uint16_t status;
    uint32_t max_head;
    enum body_kind kind; /* behind the head */
    struct parser parser;
    struct head head;
    struct framing framing;
    struct buffer bytes; /* of the head, what is there */
    struct buffer body;
    struct buffer trailers; /* name:value, a line each, in order */
    size_t compared;        /* bytes of the body that its reader has looked at */
};

void http_message_init_request(struct http_message *m, uint32_t max_head);
void http_message_init_answer(struct http_message *m, bool to_head);
void http_message_deinit(struct http_message *m);
/* Returns how many bytes were taken; fewer than n only when it is DONE or BROKEN. */
size_t http_message_feed(struct http_message *m, const char *data, size_t n);
/* The connection has ended in order. */
void http_message_end(struct http_message *m);

static inline bool http_message_begun(const struct http_message *m)
{
    return buffer_len(&m->bytes) > 0;
}

/* The first field of that name; empty if there is none. */
struct str http_message_field(const struct http_message *m, const char *name);
