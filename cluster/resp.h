/* The bytes that go to a Redis and come from one, by hiredis's formatter and reader.
 *
 * What for: the only module that knows hiredis. Its connections are not used: they have no
 * deadlines, and an answer that nobody asked for makes them abort.
 * Invariants: what comes is hostile. A reply has at most RESP_TOTAL_MAX bytes and RESP_OBJECTS_MAX
 * elements in all, each array REPLY_ELEMENTS_MAX, seven levels at most; of a reply that is not
 * complete at most RESP_UNPARSED_MAX bytes are kept as they came. After RESP_BAD the reader is of
 * no more use.
 * Ownership: as the names say; a reply outlives its reader. Threads: the owner's. */
#pragma once
#include "cluster/redis.h"

#define RESP_UNPARSED_MAX (8u * 1024u * 1024u)
#define RESP_TOTAL_MAX (32u * 1024u * 1024u)
#define RESP_OBJECTS_MAX (4u * REPLY_ELEMENTS_MAX)
/* Of a line: a status, an error, a number. */
#define RESP_LINE_MAX (64u * 1024u)

struct resp;

enum resp_result { RESP_MORE, RESP_REPLY, RESP_BAD };

/* NULL: out of memory. */
struct resp *resp_new(void);
void resp_free(struct resp *r);
/* Takes all of the bytes. False: RESP_BAD. */
bool resp_feed(struct resp *r, const char *data, size_t len);
/* The next complete reply, which the caller frees. */
enum resp_result resp_next(struct resp *r, struct redis_reply **reply);
/* After RESP_BAD: what is wrong. */
const char *resp_error(const struct resp *r);
void resp_reply_free(struct redis_reply *reply);

/* The command as bytes, for resp_format_free(). NULL: out of memory. */
char *resp_format(const char *const *argv, const size_t *argvlen, size_t n, size_t *len);
void resp_format_free(char *command);
