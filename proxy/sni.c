#include "proxy/sni.h"

#include <assert.h>
#include <string.h>

#define RECORD_HANDSHAKE 22
#define RECORD_MAX 16384 /* RFC 8446 5.1: 2^14 */
#define RECORD_HEADER 5
#define CLIENT_HELLO 1
#define EXTENSION_SERVER_NAME 0
#define NAME_HOST_NAME 0

/* The fields of the message, in order. The indented ones are skipped; their length is fixed or in
 * the field before them. All others but NAME are numbers.
 *
 *   MESSAGE_TYPE MESSAGE_LENGTH VERSION
 *       RANDOM
 *   SESSION_LENGTH
 *       SESSION
 *   SUITES_LENGTH
 *       SUITES
 *   METHODS_LENGTH
 *       METHODS
 *   EXTENSIONS_LENGTH                            (or the message ends here)
 *   .-> EXTENSION_TYPE EXTENSION_LENGTH ------------------> EXTENSION ---.
 *   |     server_name: NAMES_LENGTH                                      |
 *   |                  .-> NAME_TYPE NAME_LENGTH -> NAME or OTHER_NAME --|
 *   |                  '---------------- until the list is full ---------|
 *   '------------------------------- until the message is full ----------'
 *                                                                        '-> END */
enum field {
    MESSAGE_TYPE,
    MESSAGE_LENGTH,
    VERSION,
    RANDOM,
    SESSION_LENGTH,
    SESSION,
    SUITES_LENGTH,
    SUITES,
    METHODS_LENGTH,
    METHODS,
    EXTENSIONS_LENGTH,
    EXTENSION_TYPE,
    EXTENSION_LENGTH,
    EXTENSION,
    NAMES_LENGTH,
    NAME_TYPE,
    NAME_LENGTH,
    NAME, /* kept, not skipped */
    OTHER_NAME,
    END,
};

void sni_init(struct sni *s)
{
    memset(s, 0, sizeof *s);
    s->field = MESSAGE_TYPE;
    s->need = 1;
}

/* ---- the message ---- */

/* Begins a field of n bytes. *left: the bytes that remain in the structure around it, from which
 * the field is subtracted. False: it does not fit. */
static bool begin(struct sni *s, enum field field, uint32_t n, uint16_t *left)
{
    if (n > *left)
        return false;
    *left = (uint16_t)(*left - n);
    s->field = (uint8_t)field;
    s->need = (uint16_t)n;
    s->value = 0;
    return true;
}

static bool end(struct sni *s)
{
    s->field = END;
    return true;
}

static bool begin_extension(struct sni *s)
{
    return s->extensions_left ? begin(s, EXTENSION_TYPE, 2, &s->extensions_left) : end(s);
}

static bool begin_name(struct sni *s)
{
    return s->names_left ? begin(s, NAME_TYPE, 1, &s->names_left) : begin_extension(s);
}

/* The extensions are the last part of the message and must fill it exactly. */
static bool after_extensions_length(struct sni *s)
{
    if (s->value != s->hello_left)
        return false;
    s->extensions_left = s->hello_left;
    s->hello_left = 0;
    return begin_extension(s);
}

static bool after_extension_length(struct sni *s)
{
    uint32_t n = s->value;
    if (s->type != EXTENSION_SERVER_NAME)
        return begin(s, EXTENSION, n, &s->extensions_left);
    if (s->has_extension || n > s->extensions_left) /* no type occurs twice: RFC 8446 4.2 */
        return false;
    s->has_extension = true;
    s->extensions_left = (uint16_t)(s->extensions_left - n);
    s->names_left = (uint16_t)n;
    return begin(s, NAMES_LENGTH, 2, &s->names_left);
}

/* RFC 6066 3: at most one name of each type. A name of an unknown type is skipped: like every
 * future type it begins with a length of two bytes. */
static bool after_name_length(struct sni *s)
{
    uint32_t n = s->value;
    if (s->type != NAME_HOST_NAME)
        return begin(s, OTHER_NAME, n, &s->names_left);
    if (s->has_host_name || n == 0)
        return false;
    s->has_host_name = true;
    /* one that is too long for a host name is not kept, so the connection has no name */
    return begin(s, n <= sizeof s->name ? NAME : OTHER_NAME, n, &s->names_left);
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Not a check of DNS rules: it only keeps bytes that could not be a host name out of keys
 * and logs. */
static bool is_host_name(struct str s)
{
    size_t label = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' ? label == 0 : !is_name_char(s.p[i]) || label == 63)
            return false;
        label = s.p[i] == '.' ? 0 : label + 1;
    }
    return label > 0 && s.n <= SNI_MAX_NAME;
}

/* An absolute name ("example.com.") is the same host and must give the same key. */
static bool after_name(struct sni *s)
{
    if (s->name[s->name_len - 1] == '.')
        s->name_len--;
    if (!is_host_name(sni_name(s)))
        s->name_len = 0;
    return begin_name(s);
}

/* The present field is complete: begins the one after it. False: this is not a ClientHello. */
static bool next(struct sni *s)
{
    uint32_t v = s->value;
    switch ((enum field)s->field) {
    case MESSAGE_TYPE:
        s->hello_left = 3;
        return v == CLIENT_HELLO && begin(s, MESSAGE_LENGTH, 3, &s->hello_left);
    case MESSAGE_LENGTH:
        s->hello_left = (uint16_t)v;
        return v <= SNI_MAX_HELLO && begin(s, VERSION, 2, &s->hello_left);
    case VERSION: /* SSL 3.0 to TLS 1.2; since TLS 1.3 it is always that of 1.2 */
        return v >> 8 == 3 && begin(s, RANDOM, 32, &s->hello_left);
    case RANDOM:
        return begin(s, SESSION_LENGTH, 1, &s->hello_left);
    case SESSION_LENGTH:
        return v <= 32 && begin(s, SESSION, v, &s->hello_left);
    case SESSION:
        return begin(s, SUITES_LENGTH, 2, &s->hello_left);
    case SUITES_LENGTH:
        return v >= 2 && v % 2 == 0 && begin(s, SUITES, v, &s->hello_left);
    case SUITES:
        return begin(s, METHODS_LENGTH, 1, &s->hello_left);
    case METHODS_LENGTH:
        return v >= 1 && begin(s, METHODS, v, &s->hello_left);
    case METHODS:
        return s->hello_left ? begin(s, EXTENSIONS_LENGTH, 2, &s->hello_left) : end(s);
    case EXTENSIONS_LENGTH:
        return after_extensions_length(s);
    case EXTENSION_TYPE:
        s->type = (uint16_t)v;
        return begin(s, EXTENSION_LENGTH, 2, &s->extensions_left);
    case EXTENSION_LENGTH:
        return after_extension_length(s);
    case EXTENSION:
        return begin_extension(s);
    case NAMES_LENGTH:
        return v > 0 && v == s->names_left && begin_name(s);
    case NAME_TYPE:
        s->type = (uint16_t)v;
        return begin(s, NAME_LENGTH, 2, &s->names_left);
    case NAME_LENGTH:
        return after_name_length(s);
    case NAME:
        return after_name(s);
    case OTHER_NAME:
        return begin_name(s);
    case END:
        break;
    }
    assert(0 && "nothing comes behind the end");
    return false;
}

static bool is_skipped(enum field field)
{
    return field == RANDOM || field == SESSION || field == SUITES || field == METHODS ||
           field == EXTENSION || field == OTHER_NAME;
}

static void keep_name(struct sni *s, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool upper = p[i] >= 'A' && p[i] <= 'Z';
        s->name[s->name_len++] = (char)(upper ? p[i] | 0x20 : p[i]);
    }
}

/* Consumes bytes of the present field; returns how many. */
static size_t take(struct sni *s, const uint8_t *p, size_t n)
{
    enum field field = s->field;
    if (n > s->need)
        n = s->need;
    if (field == NAME) {
        keep_name(s, p, n);
    } else if (!is_skipped(field)) {
        n = 1;
        s->value = s->value << 8 | *p;
    }
    s->need = (uint16_t)(s->need - n);
    return n;
}

/* Consumes bytes of the message; returns how many. It stops when the result is known. */
static size_t read_message(struct sni *s, const uint8_t *p, size_t n)
{
    size_t i = 0;
    while (i < n && s->result == SNI_MORE) {
        i += take(s, p + i, n - i);
        /* a loop, because fields can be empty, for example the session id */
        while (s->need == 0 && s->field != END && s->result == SNI_MORE)
            if (!next(s))
                s->result = SNI_NOT_TLS;
        if (s->field == END)
            s->result = s->name_len ? SNI_NAME : SNI_NONE;
    }
    return i;
}

/* ---- the records around it ---- */

/* One byte of a record's header: type, version (2), length (2). RFC 8446 5.1. */
static void read_header(struct sni *s, uint8_t b)
{
    switch (s->header++) {
    case 0:
        if (b != RECORD_HANDSHAKE)
            s->result = SNI_NOT_TLS;
        break;
    case 1:
        if (b != 3)
            s->result = SNI_NOT_TLS;
        break;
    case 2:
        break;
    case 3:
        s->record_left = (uint16_t)(b << 8);
        if (s->record_left > RECORD_MAX)
            s->result = SNI_NOT_TLS;
        break;
    default:
        s->record_left = (uint16_t)(s->record_left | b);
        if (s->record_left == 0 || s->record_left > RECORD_MAX)
            s->result = SNI_NOT_TLS;
    }
}

/* Consumes bytes of one record, a byte of its header or a piece of its content; returns
 * how many. */
static size_t read_record(struct sni *s, const uint8_t *p, size_t n)
{
    if (s->header < RECORD_HEADER) {
        read_header(s, *p);
        return 1;
    }
    n = read_message(s, p, n < s->record_left ? n : s->record_left);
    s->record_left = (uint16_t)(s->record_left - n);
    if (s->record_left == 0)
        s->header = 0;
    return n;
}

enum sni_result sni_read(struct sni *s, const char *data, size_t len)
{
    const uint8_t *p = (const uint8_t *)data;
    size_t end = len < SNI_MAX_INPUT ? len : SNI_MAX_INPUT;
    while (s->seen < end && s->result == SNI_MORE)
        s->seen += (uint32_t)read_record(s, p + s->seen, end - s->seen);
    if (s->seen == SNI_MAX_INPUT && s->result == SNI_MORE)
        s->result = SNI_NOT_TLS;
    return s->result;
}
