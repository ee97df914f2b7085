#include "bench/load/pong_wire.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"

struct pong_wire {
    struct wire wire;
    uint64_t size;
    char *message;
};

struct wire_reader {
    uint64_t have; /* bytes of the answer that have come */
};

static const struct pong_wire *of(const struct wire *w)
{
    return (const struct pong_wire *)((const char *)w - offsetof(struct pong_wire, wire));
}

static bool put(const struct wire *w, struct str key, struct buffer *out)
{
    return buffer_append(out, of(w)->message, of(w)->size);
}

/* The answer must be the bytes that were sent. */
static enum wire_result take(const struct wire *w, struct wire_reader *r, char *data, size_t len,
                             size_t *used, struct wire_answer *a)
{
    uint64_t left = of(w)->size - r->have;
    *used = len < left ? len : left;
    if (memcmp(data, of(w)->message + r->have, *used) != 0)
        return WIRE_BAD;
    r->have += *used;
    if (r->have < of(w)->size)
        return WIRE_MORE;
    r->have = 0;
    *a = (struct wire_answer){.keep = true};
    return WIRE_DONE;
}

/* A message that was cut off is no answer. */
static bool take_end(const struct wire *w, struct wire_reader *r, struct wire_answer *a)
{
    return false;
}

static void reset(const struct wire *w, struct wire_reader *r)
{
    r->have = 0;
}

struct wire *pong_wire_new(uint64_t size)
{
    struct pong_wire *p = mem_zalloc(sizeof *p);
    p->wire = (struct wire){put, take, take_end, reset, sizeof(struct wire_reader)};
    p->size = size;
    p->message = mem_zalloc(size);
    /* Letters in turn, so that lost or repeated bytes show. */
    for (uint64_t i = 0; i < size; i++)
        p->message[i] = (char)('a' + i % 26);
    return &p->wire;
}

void pong_wire_free(struct wire *w)
{
    if (w == NULL)
        return;
    struct pong_wire *p = container_of(w, struct pong_wire, wire);
    free(p->message);
    free(p);
}
