/* What is said on a connection: how a request is put, and where an answer ends.
 *
 * What for: the one thing in which `ringbench http` and `ringbench tcp` differ; bench/load/client.c
 * has the connection, bench/load/load.c the schedule. Ownership: a wire is constant once made and
 * outlives the load; what one connection needs to read answers is a struct wire_reader of the
 * wire's own size, zeroed when the connection opens. Threads: a wire is shared and read-only, a
 * reader belongs to one connection. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"

struct wire_reader;

enum wire_result {
    WIRE_MORE, /* the answer goes on */
    WIRE_DONE, /* it ended with the last byte used */
    WIRE_BAD,  /* that is no answer */
};

/* What an answer was; slices point into the bytes read or into the reader. */
struct wire_answer {
    uint16_t status;    /* http; 0 else */
    bool keep;          /* the connection may serve again */
    struct str backend; /* who answered; empty: not told */
};

struct wire {
    /* Appends a request for the key (empty: none). False: no memory. */
    bool (*put)(const struct wire *w, struct str key, struct buffer *out);
    /* Takes what it can of data[0, len), which it may overwrite as far as it takes it. */
    enum wire_result (*take)(const struct wire *w, struct wire_reader *r, char *data, size_t len,
                             size_t *used, struct wire_answer *a);
    /* The server ended the connection: whether the answer under way was whole by that. */
    bool (*take_end)(const struct wire *w, struct wire_reader *r, struct wire_answer *a);
    void (*reset)(const struct wire *w, struct wire_reader *r); /* releases what it holds; zeroes */
    size_t reader_size;
};
