/* Each ClientHello is read as a whole, byte by byte, and in two parts for every place to cut it,
 * each time from a fresh copy of exactly the bytes that have arrived, in which the bytes examined
 * before are overwritten; and all that once more with the message in records of other sizes. */
#include <stdio.h>
#include <string.h>

#include "proxy/sni.h"
#include "tests/lib/client_hello.h"
#include "tests/lib/unit.h"

#define IN(literal) (literal), sizeof(literal) - 1
#define INPUT_MAX (4 * SNI_MAX_INPUT)

struct input {
    uint8_t bytes[INPUT_MAX];
    size_t n;
};

static void put(struct input *in, const void *p, size_t n)
{
    ck_assert_uint_le(in->n + n, sizeof in->bytes);
    memcpy(in->bytes + in->n, p, n);
    in->n += n;
}

static void put_number(struct input *in, size_t v, int size)
{
    ck_assert_uint_le(in->n + (size_t)size, sizeof in->bytes);
    for (int i = size - 1; i >= 0; i--)
        in->bytes[in->n++] = (uint8_t)(v >> 8 * i);
}

/* ---- reading in pieces ---- */

/* Reads a copy of the first n bytes, of which earlier calls have examined `seen`. */
static enum sni_result read_copy(struct sni *s, const uint8_t *in, size_t seen, size_t n)
{
    char *copy = malloc(n ? n : 1);
    ck_assert_ptr_nonnull(copy);
    memset(copy, 0x16, seen);
    memcpy(copy + seen, in + seen, n - seen);
    enum sni_result r = sni_read(s, copy, n);
    free(copy);
    ck_assert(r == s->result && s->seen <= n);
    if (r == SNI_MORE)
        ck_assert_uint_eq(s->seen, n);
    ck_assert((r == SNI_NAME) == (sni_name(s).n > 0) || r == SNI_NOT_TLS || r == SNI_MORE);
    return r;
}

static void same(const struct sni *a, const struct sni *b)
{
    ck_assert_int_eq(a->result, b->result);
    ck_assert_uint_eq(a->seen, b->seen);
    if (a->result == SNI_NAME)
        ck_assert(str_eq(sni_name(a), sni_name(b)));
}

/* The result, checked to be the same for every division into reads; s->seen is the number of bytes
 * after which it was known. */
static void read_all_ways(struct sni *s, const uint8_t *in, size_t n)
{
    struct sni other;
    sni_init(s);
    read_copy(s, in, 0, n);
    sni_init(&other);
    for (size_t i = 0; i <= n; i++) {
        read_copy(&other, in, i ? i - 1 : 0, i);
        ck_assert(i < s->seen ? other.result == SNI_MORE : other.result == s->result);
    }
    same(s, &other);
    for (size_t cut = 1; cut < n; cut++) {
        sni_init(&other);
        read_copy(&other, in, 0, cut);
        read_copy(&other, in, cut, n);
        same(s, &other);
    }
}

/* Expects this name (NULL: none), known at the last byte and unchanged by bytes after it. */
static void check_hello(const uint8_t *in, size_t n, const char *name)
{
    static struct input more;
    struct sni s;
    more.n = 0;
    put(&more, in, n);
    put(&more, "\x14\x03\x03\x00\x00", 5);
    read_all_ways(&s, more.bytes, more.n);
    ck_assert_int_eq(s.result, name ? SNI_NAME : SNI_NONE);
    ck_assert_uint_eq(s.seen, n);
    if (name) {
        struct str got = sni_name(&s);
        ck_assert_msg(str_eq(got, str_of(name)), "%.*s instead of %s", (int)got.n, got.p, name);
    }
}

/* ---- what real clients send ---- */

static void unhex(struct input *out, const char *hex)
{
    out->n = 0;
    for (unsigned v; *hex; hex += 2) {
        ck_assert_int_eq(sscanf(hex, "%2x", &v), 1);
        put_number(out, v, 1);
    }
}

/* Concatenates the contents of all records. */
static void join_records(struct input *message, const struct input *in)
{
    message->n = 0;
    for (size_t i = 0; i < in->n;) {
        size_t n = (size_t)in->bytes[i + 3] << 8 | in->bytes[i + 4];
        put(message, in->bytes + i + 5, n);
        i += 5 + n;
    }
}

/* Splits a message into records of `size` bytes of content; the last one has the rest. */
static void put_records(struct input *out, const struct input *message, size_t size)
{
    out->n = 0;
    for (size_t i = 0; i < message->n; i += size) {
        size_t n = size < message->n - i ? size : message->n - i;
        put(out, "\x16\x03\x01", 3);
        put_number(out, n, 2);
        put(out, message->bytes + i, n);
    }
}

START_TEST(what_real_clients_send_gives_the_name_they_ask_for)
{
    static struct input in;
    unhex(&in, client_hellos[_i].hex);
    check_hello(in.bytes, in.n, client_hellos[_i].name);
}
END_TEST

START_TEST(records_of_any_size_make_no_difference)
{
    static const size_t sizes[] = {1, 2, 3, 7, 64, 200, 16384};
    static struct input in, message;
    unhex(&in, client_hellos[_i].hex);
    join_records(&message, &in);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct sni s;
        put_records(&in, &message, sizes[i]);
        if (in.n < 1500) {
            check_hello(in.bytes, in.n, client_hellos[_i].name);
            continue;
        }
        sni_init(&s);
        for (size_t n = 0; n <= in.n; n++)
            read_copy(&s, in.bytes, n ? n - 1 : 0, n);
        ck_assert_int_eq(s.result, client_hellos[_i].name ? SNI_NAME : SNI_NONE);
        ck_assert_uint_eq(s.seen, in.n);
    }
}
END_TEST

/* ---- by the grammar ---- */

#define RANDOM "0123456789abcdef0123456789abcdef"

/* A ClientHello of version 3.3 with these bytes as its extensions, in one record. */
static void put_hello(struct input *out, const struct input *extensions)
{
    size_t n = 2 + 32 + 1 + 2 + 2 + 1 + 1 + 2 + extensions->n;
    out->n = 0;
    put(out, "\x16\x03\x01", 3);
    put_number(out, n + 4, 2);
    put_number(out, 1, 1);
    put_number(out, n, 3);
    put(out, IN("\x03\x03" RANDOM "\x00\x00\x02\x13\x01\x01\x00"));
    put_number(out, extensions->n, 2);
    put(out, extensions->bytes, extensions->n);
}

/* A server_name extension with one host_name. */
static void put_name(struct input *out, const char *name, size_t n)
{
    put_number(out, 0, 2);
    put_number(out, n + 5, 2);
    put_number(out, n + 3, 2);
    put_number(out, 0, 1);
    put_number(out, n, 2);
    put(out, name, n);
}

static void check_extensions(const struct input *extensions, enum sni_result result,
                             const char *name)
{
    static struct input in;
    struct sni s;
    put_hello(&in, extensions);
    if (result == SNI_NOT_TLS) {
        read_all_ways(&s, in.bytes, in.n);
        ck_assert_int_eq(s.result, SNI_NOT_TLS);
    } else {
        check_hello(in.bytes, in.n, name);
    }
}

#define TEN "abcdefghi."
#define SIXTY "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define L63 SIXTY "bcd"
#define LONGEST L63 "." L63 "." L63 "." SIXTY "b" /* 253 */

static const struct {
    const char *in;
    size_t n;
    const char *name; /* NULL: none */
} names[] = {
    {IN("a"), "a"},
    {IN("A-b_C.eXample"), "a-b_c.example"},
    {IN("xn--bcher-kva.example"), "xn--bcher-kva.example"},
    {IN("127.0.0.1"), "127.0.0.1"},
    {IN("example.org."), "example.org"},
    {IN("EXAMPLE.ORG."), "example.org"},
    {IN(L63 ".x"), L63 ".x"},
    {IN(LONGEST), LONGEST},
    {IN(LONGEST "."), LONGEST},
    {IN(LONGEST "c"), NULL},
    {IN(LONGEST "c."), NULL},
    {IN(LONGEST LONGEST), NULL},
    {IN(L63 "e.x"), NULL},
    {IN("."), NULL},
    {IN(".."), NULL},
    {IN(".a"), NULL},
    {IN("a..b"), NULL},
    {IN("a.."), NULL},
    {IN("a\0b"), NULL},
    {IN("\0"), NULL},
    {IN("a b"), NULL},
    {IN("a\r\nb"), NULL},
    {IN("b\xc3\xbc"
        "cher"),
     NULL},
    {IN("[::1]"), NULL},
    {IN("a/b"), NULL},
    {IN("a:443"), NULL},
    {IN("*.example"), NULL},
};

START_TEST(a_name_is_a_host_name_in_lower_case)
{
    static struct input extensions;
    extensions.n = 0;
    put_name(&extensions, names[_i].in, names[_i].n);
    check_extensions(&extensions, names[_i].name ? SNI_NAME : SNI_NONE, names[_i].name);
}
END_TEST

#define AN_EXTENSION "\x0a\x0a\x00\x00"                        /* GREASE, empty */
#define ECH "\xfe\x0d\x00\x08\x00\x00\x01\x00\x01\x02\x00\x00" /* begins like an outer one */
#define SNI_AB                             \
    "\x00\x00\x00\x07\x00\x05\x00\x00\x02" \
    "ab"

static const struct {
    const char *what, *in;
    size_t n;
    enum sni_result result;
} extensions_cases[] = {
    {"none at all", IN(""), SNI_NONE},
    {"others", IN(AN_EXTENSION "\x00\x2b\x00\x03\x02\x03\x04"), SNI_NONE},
    {"first", IN(SNI_AB AN_EXTENSION), SNI_NAME},
    {"last", IN(AN_EXTENSION AN_EXTENSION SNI_AB), SNI_NAME},
    {"the outer name of an encrypted one", IN(ECH SNI_AB), SNI_NAME},
    {"another's content looks like one", IN("\x0a\x0a\x00\x0b" SNI_AB), SNI_NONE},
    {"another type of name",
     IN("\x00\x00\x00\x07\x00\x05\x01\x00\x02"
        "ab"),
     SNI_NONE},
    {"another type before",
     IN("\x00\x00\x00\x0a\x00\x08\xff\x00\x00\x00\x00\x02"
        "ab"),
     SNI_NAME},
    {"another type behind",
     IN("\x00\x00\x00\x0b\x00\x09\x00\x00\x02"
        "ab\xff\x00\x01x"),
     SNI_NAME},
    {"twice", IN(SNI_AB SNI_AB), SNI_NOT_TLS},
    {"twice, apart", IN(SNI_AB AN_EXTENSION SNI_AB AN_EXTENSION), SNI_NOT_TLS},
    {"two host names",
     IN("\x00\x00\x00\x0c\x00\x0a\x00\x00\x02"
        "ab\x00\x00\x02"
        "cd"),
     SNI_NOT_TLS},
    {"as a server answers", IN("\x00\x00\x00\x00"), SNI_NOT_TLS},
    {"half a list length", IN("\x00\x00\x00\x01\x00"), SNI_NOT_TLS},
    {"an empty list", IN("\x00\x00\x00\x02\x00\x00"), SNI_NOT_TLS},
    {"an empty name", IN("\x00\x00\x00\x05\x00\x03\x00\x00\x00"), SNI_NOT_TLS},
    {"a list too short",
     IN("\x00\x00\x00\x07\x00\x04\x00\x00\x02"
        "ab"),
     SNI_NOT_TLS},
    {"a list too long",
     IN("\x00\x00\x00\x07\x00\x06\x00\x00\x02"
        "ab"),
     SNI_NOT_TLS},
    {"a name too long",
     IN("\x00\x00\x00\x07\x00\x05\x00\x00\x03"
        "ab"),
     SNI_NOT_TLS},
    {"a name too short",
     IN("\x00\x00\x00\x07\x00\x05\x00\x00\x01"
        "ab"),
     SNI_NOT_TLS},
    {"another type of name too long",
     IN("\x00\x00\x00\x07\x00\x05\x01\x00\x03"
        "ab"),
     SNI_NOT_TLS},
    {"a name's type alone", IN("\x00\x00\x00\x03\x00\x01\x00"), SNI_NOT_TLS},
    {"a name's length cut", IN("\x00\x00\x00\x04\x00\x02\x00\x00"), SNI_NOT_TLS},
    {"an extension too long", IN("\x0a\x0a\x00\x01"), SNI_NOT_TLS},
    {"server_name too long",
     IN("\x00\x00\x00\x08\x00\x05\x00\x00\x02"
        "ab"),
     SNI_NOT_TLS},
    {"an extension's type cut", IN(SNI_AB "\x0a"), SNI_NOT_TLS},
    {"an extension without a length", IN(SNI_AB "\x0a\x0a"), SNI_NOT_TLS},
    {"an extension's length cut", IN(SNI_AB "\x0a\x0a\x00"), SNI_NOT_TLS},
};

START_TEST(the_one_server_name_counts_if_all_lengths_fit)
{
    static struct input extensions;
    extensions.n = 0;
    put(&extensions, extensions_cases[_i].in, extensions_cases[_i].n);
    check_extensions(&extensions, extensions_cases[_i].result,
                     extensions_cases[_i].result == SNI_NAME ? "ab" : NULL);
}
END_TEST

/* A mark in an input: the byte after it is the first wrong one (of a number: its last byte). */
#define BAD "\x1a"
#define FRONT "\x16\x03\x01"

static const struct {
    const char *in;
    size_t n;
} refused[] = {
    /* other protocols */
    {IN(BAD "GET / HTTP/1.1\r\n")},
    {IN(BAD "SSH-2.0-OpenSSH\r\n")},
    {IN(BAD "PROXY TCP4 ")},
    {IN(BAD "\x80\x2e\x01\x03\x01")},             /* a ClientHello of SSL 2 */
    {IN(BAD "\x00\x00\x00\x08\x04\xd2\x16\x2f")}, /* PostgreSQL asks for TLS */
    {IN(BAD "*1\r\n$4\r\nPING\r\n")},
    {IN(BAD "\x15\x03\x01\x00\x02")}, /* an alert */
    {IN(BAD "\x17\x03\x03\x00\x02")},
    {IN("\x16" BAD "\xfe\xff\x00")}, /* DTLS */
    {IN("\x16" BAD "\x02\x01\x00")},
    /* records */
    {IN(FRONT "\x00" BAD "\x00\x16")},
    {IN(FRONT "\x40" BAD "\x01\x01")},
    {IN(FRONT BAD "\x41\x00\x01")},
    {IN(FRONT "\x00\x01\x01" BAD "\x15\x03\x01\x00\x02\x02\x28")},
    {IN(FRONT "\x00\x01\x01" BAD "\x14\x03\x01\x00\x01\x01")},
    {IN(FRONT "\x00\x01\x01" FRONT "\x00" BAD "\x00")},
    {IN(FRONT "\x00\x01\x01\x16" BAD "\x04\x01")},
    /* the message */
    {IN(FRONT "\x00\x64" BAD "\x02\x00\x00\x60")}, /* a ServerHello */
    {IN(FRONT "\x00\x64" BAD "\x00\x00\x00\x00")}, /* a HelloRequest */
    {IN(FRONT "\x00\x64\x01\x00\x40" BAD "\x01\x03\x03")},
    {IN(FRONT "\x00\x64\x01\x01\x00" BAD "\x00\x03\x03")},
    {IN(FRONT "\x00\x64\x01\x00\x00" BAD "\x01\x03\x03")},
    {IN(FRONT "\x00\x64\x01\x00\x00\x60\x02" BAD "\x03" RANDOM)},
    {IN(FRONT "\x00\x64\x01\x00\x00\x60\x7f" BAD "\x1c" RANDOM)},
    {IN(FRONT "\x00\x64\x01\x00\x00\x21\x03" BAD "\x03" RANDOM)},
    {IN(FRONT "\x00\x64\x01\x00\x00\x60\x03\x03" RANDOM BAD "\x21")},
    {IN(FRONT "\x00\x64\x01\x00\x00\x23\x03\x03" RANDOM BAD "\x01\x00")},
    {IN(FRONT "\x00\x64\x01\x00\x00\x24\x03\x03" RANDOM BAD "\x00\x00")},
    {IN(FRONT "\x00\x64\x01\x00\x00\x60\x03\x03" RANDOM "\x00\x00" BAD "\x00")},
    {IN(FRONT "\x00\x64\x01\x00\x00\x60\x03\x03" RANDOM "\x00\x00" BAD "\x03")},
    {IN(FRONT "\x00\x64\x01\x00\x00\x60\x03\x03" RANDOM "\x00\x01" BAD "\x00")},
    {IN(FRONT "\x00\x64\x01\x00\x00\x60\x03\x03" RANDOM "\x00\x00\x02\x13\x01" BAD "\x00")},
    {IN(FRONT "\x00\x64\x01\x00\x00\x29\x03\x03" RANDOM "\x00\x00\x02\x13\x01" BAD "\x03\x00\x01")},
    {IN(FRONT "\x00\x64\x01\x00\x00\x2a\x03\x03" RANDOM "\x00\x00\x02\x13\x01\x01" BAD "\x00\x00")},
    {IN(FRONT "\x00\x64\x01\x00\x00\x2b\x03\x03" RANDOM "\x00\x00\x02\x13\x01\x01\x00\x00" BAD
              "\x01")},
    {IN(FRONT "\x00\x64\x01\x00\x00\x2f\x03\x03" RANDOM "\x00\x00\x02\x13\x01\x01\x00\x00" BAD
              "\x03\x0a\x0a\x00\x00")},
};

START_TEST(what_is_no_client_hello_is_refused_at_once)
{
    struct sni s;
    uint8_t in[256];
    size_t n = 0, bad = 0;
    for (size_t i = 0; i < refused[_i].n; i++) {
        if (refused[_i].in[i] == BAD[0])
            bad = n + 1;
        else
            in[n++] = (uint8_t)refused[_i].in[i];
    }
    read_all_ways(&s, in, n);
    ck_assert_int_eq(s.result, SNI_NOT_TLS);
    ck_assert_uint_eq(s.seen, bad);
}
END_TEST

/* RFC 5246 7.4.1.2: "the presence of extensions can be detected by determining whether there are
 * bytes following the compression_methods". */
START_TEST(a_hello_may_end_before_its_extensions)
{
    static const char in[] =
        "\x16\x03\x00\x00\x2d\x01\x00\x00\x29\x03\x00" RANDOM "\x00\x00\x02\x13\x01\x01\x00";
    check_hello((const uint8_t *)in, sizeof in - 1, NULL);
}
END_TEST

/* RFC 8446 5.1: the record's version "MUST be ignored for all purposes". */
START_TEST(the_minor_version_does_not_matter)
{
    static struct input in;
    unhex(&in, client_hellos[0].hex);
    for (unsigned minor = 0; minor < 256; minor++) {
        struct sni s;
        in.bytes[2] = (uint8_t)minor;
        sni_init(&s);
        ck_assert_int_eq(read_copy(&s, in.bytes, 0, in.n), SNI_NAME);
    }
}
END_TEST

/* ---- bounds ---- */

/* A message of `size` bytes after its header, filled by one extension. */
static void put_large_message(struct input *message, size_t size)
{
    static struct input extensions, in;
    size_t fixed = 2 + 32 + 1 + 2 + 2 + 1 + 1 + 2 + 11 + 4;
    extensions.n = 0;
    put(&extensions, IN(SNI_AB "\x0a\x0a"));
    put_number(&extensions, size - fixed, 2);
    memset(extensions.bytes + extensions.n, 0, size - fixed);
    extensions.n += size - fixed;
    put_hello(&in, &extensions);
    message->n = 0;
    put(message, in.bytes + 5, in.n - 5);
    ck_assert_uint_eq(message->n, size + 4);
}

START_TEST(a_message_is_bounded)
{
    static struct input message, in;
    struct sni s;
    put_large_message(&message, SNI_MAX_HELLO);
    put_records(&in, &message, 16384);
    sni_init(&s);
    for (size_t n = 0; n < in.n; n++)
        ck_assert_int_eq(sni_read(&s, (char *)in.bytes, n), SNI_MORE);
    ck_assert_int_eq(sni_read(&s, (char *)in.bytes, in.n), SNI_NAME);
    put_large_message(&message, SNI_MAX_HELLO + 1);
    put_records(&in, &message, 16384);
    sni_init(&s);
    ck_assert_int_eq(sni_read(&s, (char *)in.bytes, in.n), SNI_NOT_TLS);
    ck_assert_uint_eq(s.seen, 9);
}
END_TEST

/* With records of one byte each, a ClientHello could have six times its size. */
START_TEST(all_records_together_are_bounded)
{
    static struct input message, in;
    struct sni s;
    put_large_message(&message, SNI_MAX_HELLO);
    put_records(&in, &message, 6);
    ck_assert_uint_le(in.n, SNI_MAX_INPUT);
    sni_init(&s);
    ck_assert_int_eq(read_copy(&s, in.bytes, 0, in.n), SNI_NAME);
    for (size_t size = 1; size <= 4; size++) {
        put_records(&in, &message, size);
        ck_assert_uint_gt(in.n, SNI_MAX_INPUT);
        sni_init(&s);
        ck_assert_int_eq(read_copy(&s, in.bytes, 0, SNI_MAX_INPUT - 1), SNI_MORE);
        ck_assert_int_eq(read_copy(&s, in.bytes, SNI_MAX_INPUT - 1, SNI_MAX_INPUT), SNI_NOT_TLS);
        sni_init(&s);
        ck_assert_int_eq(read_copy(&s, in.bytes, 0, in.n), SNI_NOT_TLS);
        ck_assert_uint_eq(s.seen, SNI_MAX_INPUT);
    }
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static Suite *suite(void)
{
    Suite *s = suite_create("sni");
    TCase *t = tcase_create("sni");
    tcase_set_timeout(t, 100);
    tcase_add_loop_test(t, what_real_clients_send_gives_the_name_they_ask_for, 0,
                        COUNT(client_hellos));
    tcase_add_loop_test(t, records_of_any_size_make_no_difference, 0, COUNT(client_hellos));
    tcase_add_loop_test(t, a_name_is_a_host_name_in_lower_case, 0, COUNT(names));
    tcase_add_loop_test(t, the_one_server_name_counts_if_all_lengths_fit, 0,
                        COUNT(extensions_cases));
    tcase_add_loop_test(t, what_is_no_client_hello_is_refused_at_once, 0, COUNT(refused));
    tcase_add_test(t, a_hello_may_end_before_its_extensions);
    tcase_add_test(t, the_minor_version_does_not_matter);
    tcase_add_test(t, a_message_is_bounded);
    tcase_add_test(t, all_records_together_are_bounded);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_main(suite);
}
