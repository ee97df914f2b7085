/* The layout of nginx's `hash KEY consistent`: CRC-32 for points and keys, the first point at or
 * behind a key owns it.
 *
 * A server named HOST:PORT has the points
 *
 *   p(1) = CRC32(HOST, a zero byte, PORT, le32(0)),  p(i) = CRC32(HOST, 0, PORT, le32(p(i-1)))
 *
 * 160 a unit of weight there; here as many as were asked for. Of several points in one place the
 * first server's stays (nginx leaves that to qsort()). Looked up by binary search, as there, if in
 * a faster form.
 * In nginx a server that is down keeps its points, and a key goes to the next point along the ring
 * whose server is up, for up to 20 points: almost always the server that a ring without the one
 * that is down would give. */
#include "bench/ring/ketama.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/ring/layout_pass.h"

struct entry {
    uint32_t point;
    uint32_t slot;
};

struct ketama {
    size_t n, nslots;
    struct entry entry[]; /* ascending, each point once */
};

/* ---- CRC-32: the reflected polynomial, bit by bit into a table, byte by byte from there ---- */

static uint32_t crc_table[256];

__attribute__((constructor)) static void crc_table_init(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) ? 0xedb88320 : 0);
        crc_table[i] = crc;
    }
}

/* The caller inverts the bits before the first byte and after the last one. */
static inline uint32_t crc_feed(uint32_t crc, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i++)
        crc = (crc >> 8) ^ crc_table[(crc ^ p[i]) & 0xff];
    return crc;
}

uint32_t ketama_crc32(struct str bytes)
{
    return ~crc_feed(UINT32_MAX, bytes.p, bytes.n);
}

/* ---- points ---- */

/* The length of HOST: up to the last colon, if only digits follow it. */
static size_t host_length(struct str server)
{
    size_t i = server.n;
    while (i > 0 && server.p[i - 1] >= '0' && server.p[i - 1] <= '9')
        i--;
    bool port = i > 0 && i < server.n && server.p[i - 1] == ':';
    return port ? i - 1 : server.n;
}

/* The checksum of HOST, a zero byte and PORT, not inverted at the end, since each point feeds
 * further bytes into it. */
static uint32_t server_crc(struct str server)
{
    struct str host = server, port = {NULL, 0};
    if (server.n >= 5 && strncasecmp(server.p, "unix:", 5) == 0) {
        host = (struct str){server.p + 5, server.n - 5};
    } else {
        host.n = host_length(server);
        if (host.n < server.n)
            port = (struct str){server.p + host.n + 1, server.n - host.n - 1};
    }
    uint32_t crc = crc_feed(UINT32_MAX, host.p, host.n);
    crc = crc_feed(crc, "", 1);
    return crc_feed(crc, port.p, port.n);
}

void ketama_server_points(struct str server, uint32_t *point, size_t n)
{
    uint32_t crc = server_crc(server), last = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bytes = htole32(last);
        last = point[i] = ~crc_feed(crc, &bytes, sizeof bytes);
    }
}

/* ---- the ring ---- */

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->point != y->point)
        return x->point < y->point ? -1 : 1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

static size_t keep_first_of_each_place(struct entry *e, size_t n)
{
    size_t kept = 1;
    for (size_t i = 1; i < n; i++)
        if (e[i].point != e[kept - 1].point)
            e[kept++] = e[i];
    return kept;
}

static void add_points(struct entry *e, const struct ring_member *m, uint32_t slot,
                       uint32_t *scratch, size_t count)
{
    ketama_server_points(m->name, scratch, count);
    for (size_t i = 0; i < count; i++)
        e[i] = (struct entry){scratch[i], slot};
}

static void ketama_free(void *built)
{
    free(built);
}

static void *ketama_build(const struct ring_member *members, size_t n, unsigned vnodes,
                          struct error *e)
{
    assert(n >= 1 && n <= 4096 && vnodes >= 1);
    size_t points = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        size_t count = (size_t)members[i].weight * vnodes;
        points += count;
        most = count > most ? count : most;
    }
    assert(most > 0);
    struct ketama *k = malloc(sizeof *k + points * sizeof k->entry[0]);
    uint32_t *scratch = malloc(most * sizeof *scratch);
    if (k == NULL || scratch == NULL) {
        error_set(e, ENOMEM, "no memory for a ring of %zu points", points);
        free(scratch);
        free(k);
        return NULL;
    }
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t count = (size_t)members[i].weight * vnodes;
        add_points(k->entry + at, &members[i], (uint32_t)i, scratch, count);
        at += count;
    }
    free(scratch);
    qsort(k->entry, points, sizeof k->entry[0], compare_entries);
    k->n = keep_first_of_each_place(k->entry, points);
    k->nslots = n;
    return k;
}

/* The CRC has 32 bits; it is the lower half of the hash. */
static inline uint64_t ketama_hash(struct str key)
{
    return ~crc_feed(UINT32_MAX, key.p, key.n);
}

/* Invariant: the entry is among the n from `at` on, or right behind them. Without a branch that the
 * processor could mispredict, halving is two to three times as fast as the usual loop. */
static inline unsigned ketama_find(const void *built, uint64_t hash)
{
    const struct ketama *k = built;
    const struct entry *at = k->entry;
    uint32_t key = (uint32_t)hash;
    for (size_t n = k->n; n > 1;) {
        size_t half = n / 2;
        at += half & -(size_t)(at[half - 1].point < key);
        n -= half;
    }
    at += at->point < key;
    return at == k->entry + k->n ? k->entry[0].slot : at->slot;
}

static size_t ketama_points(const void *built)
{
    const struct ketama *k = built;
    return k->n;
}

static size_t ketama_memory(const void *built)
{
    const struct ketama *k = built;
    return sizeof *k + k->n * sizeof k->entry[0];
}

/* An entry owns the positions from behind the entry before it up to its own. A single entry owns
 * the whole circle, whose size wraps to 0 in 32 bits. */
static void ketama_shares(const void *built, double *share)
{
    const struct ketama *k = built;
    for (size_t i = 0; i < k->nslots; i++)
        share[i] = 0;
    uint32_t before = k->entry[k->n - 1].point;
    for (size_t i = 0; i < k->n; i++) {
        uint32_t gap = k->entry[i].point - before;
        share[k->entry[i].slot] += (k->n == 1 ? 4294967296.0 : gap) / 4294967296.0;
        before = k->entry[i].point;
    }
}

LAYOUT_PASSES(ketama)

const struct layout layout_ketama = {
    .name = "ketama",
    .what = "nginx's `hash KEY consistent`: the next point (160 a backend there)",
    .has_vnodes = true,
    .points = ketama_points,
    .shares = ketama_shares,
    LAYOUT_FUNCTIONS(ketama),
};
