/* Bodies: byte 0: kind of body and limits; byte 1: a seed that says where the bytes are cut; then
 * the bytes. In one piece, byte by byte and cut anywhere a body must end at the same place with the
 * same payload, trailers and outcome. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/framing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)   \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

#define INPUT_MAX 4096

struct outcome {
    enum framing_result result;
    int status;
    size_t used, payload, ntrailers;
    char data[INPUT_MAX], trailers[INPUT_MAX];
};

static void note_trailers(const struct framing *f, struct outcome *o)
{
    const struct head *h;
    const char *base;
    if (!framing_trailers(f, &h, &base))
        return;
    MUST(h->size <= f->max_trailers && h->size <= sizeof(o->trailers));
    memcpy(o->trailers, base, h->size);
    o->ntrailers = h->size;
}

/* cut 0: one piece; 1: byte by byte; else pieces whose sizes follow from it. */
static void decode(struct outcome *o, struct framing *f, const uint8_t *in, size_t n, uint32_t cut)
{
    size_t at = 0;
    memset(o, 0, sizeof(*o));
    while (at < n && o->result == FRAMING_MORE) {
        size_t step = cut == 0 ? n : cut == 1 ? 1 : 1 + (cut >> 16) % 23, used, payload;
        size_t len = step < n - at ? step : n - at;
        char *copy = malloc(len);
        MUST(copy);
        memcpy(copy, in + at, len);
        o->result = framing_decode(f, copy, len, &used, &payload);
        MUST(payload <= used && used <= len && (o->result != FRAMING_MORE || used == len));
        memcpy(o->data + o->payload, copy, payload);
        o->payload += payload;
        at += used;
        free(copy);
        if (cut > 1)
            cut = cut * 1103515245u + 12345u;
    }
    o->used = at;
    o->status = o->result == FRAMING_ERROR ? framing_status(f) : 0;
    if (o->result == FRAMING_DONE)
        note_trailers(f, o);
    framing_deinit(f);
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
    MUST(a->result == b->result && a->status == b->status);
    MUST(a->payload == b->payload && memcmp(a->data, b->data, a->payload) == 0);
    MUST(a->result == FRAMING_ERROR || a->used == b->used);
    MUST(a->ntrailers == b->ntrailers && memcmp(a->trailers, b->trailers, a->ntrailers) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, bytes, pieces;
    if (size < 3 || size > INPUT_MAX)
        return 0;
    static const enum body_kind kinds[] = {BODY_CHUNKED, BODY_CHUNKED, BODY_CHUNKED, BODY_CHUNKED,
                                           BODY_CHUNKED, BODY_LENGTH,  BODY_NONE,    BODY_CLOSE};
    enum body_kind kind = kinds[data[0] & 7];
    uint32_t max_trailers = data[0] < 128 ? 1024 : data[0] >> 3 & 15;
    uint64_t length = 1 + data[1];
    struct framing f;
    framing_init(&f, kind, length, max_trailers);
    decode(&whole, &f, data + 2, size - 2, 0);
    framing_init(&f, kind, length, max_trailers);
    decode(&bytes, &f, data + 2, size - 2, 1);
    framing_init(&f, kind, length, max_trailers);
    decode(&pieces, &f, data + 2, size - 2, 2u + data[1] * 2654435761u);
    check_same(&whole, &bytes);
    check_same(&whole, &pieces);
    if (kind == BODY_LENGTH)
        MUST((whole.result == FRAMING_DONE) == (size - 2 >= length));
    return 0;
}
