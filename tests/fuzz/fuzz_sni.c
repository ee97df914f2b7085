/* ClientHellos: byte 0: what the rest is, bytes of a connection or a handshake message that is then
 * put into records; bytes 1 and 2: a seed that says where records end and where the bytes are cut.
 * However they are cut the answer is the same after the same byte; and it is what a reader says
 * that is written down in another way, with the whole message before it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/sni.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)   \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

#define INPUT_MAX 4096

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16;
}

/* ---- the other reader ---- */

struct span {
    const uint8_t *p;
    size_t n;
    bool bad; /* more was asked for than there was */
};

static struct span take(struct span *from, size_t n)
{
    struct span s = {from->p, n, false};
    if (from->bad || n > from->n) {
        from->bad = true;
        return (struct span){NULL, 0, true};
    }
    from->p += n;
    from->n -= n;
    return s;
}

static size_t take_number(struct span *from, size_t size)
{
    struct span s = take(from, size);
    size_t v = 0;
    for (size_t i = 0; i < s.n; i++)
        v = v << 8 | s.p[i];
    return v;
}

/* What begins with its length in `size` bytes. */
static struct span take_vector(struct span *from, size_t size)
{
    return take(from, take_number(from, size));
}

/* False: malformed. *name stays if there is no host name. */
static bool read_names(struct span extension, struct span *name)
{
    struct span list = take_vector(&extension, 2);
    bool found = false;
    if (extension.bad || extension.n || list.n == 0)
        return false;
    while (list.n && !list.bad) {
        size_t type = take_number(&list, 1);
        struct span value = take_vector(&list, 2);
        if (list.bad || (type == 0 && (found || value.n == 0)))
            return false;
        if (type == 0) {
            found = true;
            *name = value;
        }
    }
    return !list.bad;
}

static bool read_extensions(struct span list, struct span *name)
{
    bool found = false;
    while (list.n && !list.bad) {
        size_t type = take_number(&list, 2);
        struct span value = take_vector(&list, 2);
        if (list.bad || (type == 0 && (found || !read_names(value, name))))
            return false;
        found = found || type == 0;
    }
    return !list.bad;
}

static bool read_hello(struct span m, struct span *name)
{
    size_t version = take_number(&m, 2);
    take(&m, 32);
    struct span session = take_vector(&m, 1), suites = take_vector(&m, 2),
                methods = take_vector(&m, 1);
    if (m.bad || version >> 8 != 3 || session.n > 32 || suites.n < 2 || suites.n % 2 || !methods.n)
        return false;
    if (m.n == 0)
        return true;
    struct span extensions = take_vector(&m, 2);
    return !m.bad && m.n == 0 && read_extensions(extensions, name);
}

/* The first handshake message in the records; false: malformed. *len is 0 if it is not whole;
 * *used: the bytes up to its end. */
static bool join_records(const uint8_t *in, size_t n, uint8_t *message, size_t *len, size_t *used)
{
    size_t have = 0, need = 4, i = 0;
    *len = 0;
    while (have < need) {
        if (n - i >= 1 && in[i] != 22)
            return false;
        if (n - i >= 2 && in[i + 1] != 3)
            return false;
        if (n - i < 5)
            return true;
        size_t record = (size_t)in[i + 3] << 8 | in[i + 4];
        if (record == 0 || record > 16384)
            return false;
        i += 5;
        for (; record && i < n && have < need; record--) {
            message[have++] = in[i++];
            if (have == 1 && message[0] != 1)
                return false;
            if (have == 4)
                need = 4 + ((size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3]);
            if (need > 4 + SNI_MAX_HELLO)
                return false;
        }
        if (record && have < need)
            return true;
    }
    *len = have;
    *used = i;
    return true;
}

static bool same_name(struct span asked, struct str got)
{
    if (asked.n && asked.p[asked.n - 1] == '.')
        asked.n--;
    return asked.n == got.n && strncasecmp((const char *)asked.p, got.p, got.n) == 0;
}

static void check_meaning(const struct sni *s, const uint8_t *in, size_t n)
{
    static uint8_t message[INPUT_MAX * 6];
    struct span name = {NULL, 0, false};
    size_t len, used = 0;
    bool good = join_records(in, n, message, &len, &used);
    if (good && len == 0) { /* cut off; what is there may be wrong already */
        MUST(s->result == SNI_MORE || s->result == SNI_NOT_TLS);
        return;
    }
    good = good && read_hello((struct span){message + 4, len - 4, false}, &name);
    MUST(good == (s->result == SNI_NAME || s->result == SNI_NONE));
    if (s->result == SNI_NAME)
        MUST(same_name(name, sni_name(s)));
    if (good)
        MUST(s->seen == used);
}

/* ---- */

static void check_name(struct str name)
{
    MUST(name.n > 0 && name.n <= SNI_MAX_NAME && name.p[name.n - 1] != '.');
    for (size_t i = 0; i < name.n; i++)
        MUST(name.p[i] && strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.", name.p[i]));
}

/* In pieces of at most `most` bytes, 0: in one, from blocks of exactly the bytes at hand in which
 * those that were seen are wiped. */
static void read_pieces(struct sni *s, const uint8_t *in, size_t n, uint32_t seed, size_t most)
{
    sni_init(s);
    for (size_t at = 0; at < n;) {
        size_t more = most ? 1 + next_random(&seed) % most : n, seen = at;
        at = more < n - at ? at + more : n;
        char *copy = malloc(at);
        MUST(copy);
        memset(copy, 0, seen);
        memcpy(copy + seen, in + seen, at - seen);
        enum sni_result r = sni_read(s, copy, at);
        free(copy);
        MUST(r == s->result && s->seen <= at && (r != SNI_MORE || s->seen == at));
    }
}

static void check(const uint8_t *in, size_t n, uint32_t seed)
{
    struct sni whole, pieces;
    read_pieces(&whole, in, n, 0, 0);
    read_pieces(&pieces, in, n, seed, n < 400 ? 1 : 499);
    MUST(whole.result == pieces.result && whole.seen == pieces.seen);
    MUST(whole.result != SNI_NAME || str_eq(sni_name(&whole), sni_name(&pieces)));
    if (whole.result == SNI_NAME)
        check_name(sni_name(&whole));
    check_meaning(&whole, in, n);
}

/* A message in records whose sizes follow from seed. */
static size_t put_records(uint8_t *out, const uint8_t *in, size_t n, uint32_t seed)
{
    size_t size = 0;
    for (size_t i = 0; i < n;) {
        size_t record = 1 + next_random(&seed) % (seed & 0x40000000 ? 2048 : 16);
        if (record > n - i)
            record = n - i;
        const uint8_t header[] = {22, 3, 1, (uint8_t)(record >> 8), (uint8_t)record};
        memcpy(out + size, header, sizeof header);
        memcpy(out + size + sizeof header, in + i, record);
        size += sizeof header + record;
        i += record;
    }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t records[INPUT_MAX * 6];
    if (size < 3 || size > INPUT_MAX)
        return 0;
    uint32_t seed = (uint32_t)data[1] << 8 | data[2];
    if (data[0] & 1)
        check(records, put_records(records, data + 3, size - 3, seed), seed);
    else
        check(data + 3, size - 3, seed);
    return 0;
}
