#include "tests/fuzz/script.h"

#include <assert.h>
#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { OLD_REQUESTS = 26, OLD_ANSWERS = 30 };
enum { SMALL = 5, MEDIUM = 3000, LARGE = 100000, HUGE = 400000 };

/* In head and tail '@' stands for the serial and '$' for the body's size. */
struct script {
    const char *head;
    size_t body;
    bool chunked; /* the body goes in two chunks */
    const char *tail;
    unsigned hints; /* so many 1xx before the head */
};

#define R(line, fields) line "\r\nHost: h\r\nX-Serial: @\r\n" fields "\r\n"
#define LENGTH "Content-Length: $\r\n"
#define CODED "Transfer-Encoding: chunked\r\n"
#define LAST "0\r\n\r\n"

static const struct script requests[] = {
    {R("GET /@ HTTP/1.1", "")},
    {R("GET /@?q=@ HTTP/1.1", "X-Key: one\r\n")},
    {R("POST /@ HTTP/1.1", LENGTH), SMALL},
    {R("POST /@ HTTP/1.1", CODED "Trailer: X-End\r\n"), SMALL, true, "0\r\nX-End: @\r\n\r\n"},
    {R("PUT /@ HTTP/1.1", LENGTH), LARGE},
    {R("PUT /@ HTTP/1.1", CODED), LARGE, true, LAST},
    {R("HEAD /@ HTTP/1.1", "")},
    {R("GET /@ HTTP/1.0", "")},
    {"GET /@ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"},
    {R("GET /@ HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n")},
    {R("PUT /@ HTTP/1.1", "Expect: 100-continue\r\n" LENGTH), SMALL},
    {R("GET /@ HTTP/1.1", "Connection: close\r\n")},
    {R("POST /@ HTTP/1.1", LENGTH CODED)},
    {R("GET http://other:8/@ HTTP/1.1", "")},
    {R("PUT /@ HTTP/1.1", "X-Key: two\r\n" LENGTH), SMALL},
    {"GET /@ HTTP/1.1\r\nHost: h\r\nX-Long: ", 70000, false, "\r\n\r\n"},
    {R("PUT /@ HTTP/1.1", CODED), SMALL, true, "x\r\n"},
    {R("OPTIONS * HTTP/1.1", "X-Key: three\r\n")},
    {R("POST /@ HTTP/1.1", "Expect: 100-continue\r\n" CODED), MEDIUM, true, LAST},
    {R("DELETE /@ HTTP/1.1", "X-Key: one\r\nConnection: X-Key\r\n")},
    {"GET /@ HTTP/1.1\r\nHost: h\r\nX-Cut: "},
    {R("POST /@ HTTP/1.1", "Connection: close\r\n" LENGTH), MEDIUM},
    {R("POST /@ HTTP/1.0", LENGTH), SMALL},
    {R("BREW /@ HTTP/1.1", "")},
    {R("POST /@ HTTP/1.1", LENGTH), HUGE},
    {R("PUT /@ HTTP/1.1", LENGTH), HUGE},
    /* from here on: numbers of 96 and more */
    {R("GET /@ HTTP/1.1", "Authorization: Negotiate b2s=\r\n")},
    {R("GET /@ HTTP/1.1", "X-Key: one\r\nAuthorization: NTLM b2s=\r\n")},
    {R("POST /@ HTTP/1.1", "X-Key: two\r\nAuthorization: kerberos b2s=\r\n" LENGTH), SMALL},
    {R("GET /@ HTTP/1.1", "X-Key: three\r\n")},
};

#define A(status, fields) "HTTP/1.1 " status "\r\nX-Serial: @\r\n" fields "\r\n"

static const struct script answers[] = {
    {A("200 OK", LENGTH), SMALL},
    {A("200 OK", CODED), SMALL, true, "0\r\nX-End: @\r\n\r\n"},
    {A("200 OK", ""), MEDIUM},
    {A("204 No Content", "")},
    {A("304 Not Modified", "Content-Length: 7\r\n")},
    {A("100 Continue", "")},
    {A("103 Early Hints", "Link: </@>\r\n")},
    {A("101 Switching Protocols", "Connection: Upgrade\r\nUpgrade: websocket\r\n")},
    {A("200 OK", LENGTH), LARGE},
    {A("200 OK", CODED), LARGE, true, LAST},
    {"HTTP/1.0 200 OK\r\nX-Serial: @\r\nConnection: keep-alive\r\n" LENGTH "\r\n", SMALL},
    {A("200 OK", "Connection: close\r\n" LENGTH), SMALL},
    {A("500 Oops", LENGTH), SMALL},
    {A("200 OK", "Content-Length: 100\r\n"), SMALL},
    {"HTTP/1.1 2x0 OK\r\n\r\n"},
    {A("200 OK", CODED), SMALL, true, "x\r\n"},
    {A("200 OK", "Content-Length: 0\r\n")},
    {A("200 OK", LENGTH), SMALL, false, "junk"},
    {"HTTP/1.0 200 OK\r\nX-Serial: @\r\n\r\n", SMALL},
    {A("200 OK", "Content-Length: 7\r\n")}, /* whole as an answer to HEAD alone */
    {A("200 OK", LENGTH CODED), SMALL},
    {"HTTP/1.1 100 Continue\r\n\r\n" A("200 OK", LENGTH), SMALL},
    {A("200 OK", ""), LARGE},
    {A("200 OK", "Connection: X-Hop\r\nX-Hop: @\r\nKeep-Alive: 5\r\n" LENGTH), MEDIUM},
    {"HTTP/1.1 200 OK\r\nX-Long: ", 70000, false, "\r\n\r\n"},
    {A("101 Switching Protocols", "Connection: Upgrade\r\nUpgrade: websocket\r\n"), SMALL},
    {A("200 OK", CODED), SMALL, true, "0\r\nContent-Length: 3\r\n\r\n"},
    {"HTTP/1.1 200 OK\r\nX-Cut: "},
    {"HTTP/1.1 103 Early Hints\r\nLink: ", 60000, false, "\r\n\r\n"},
    {A("200 OK", LENGTH), HUGE},
    /* from here on: numbers of 96 and more */
    {A("200 OK", LENGTH), SMALL, .hints = 40},
    {A("200 OK", LENGTH), SMALL, .hints = 1000},
    {A("200 OK", LENGTH), SMALL, .hints = 1001},
    {A("401 No", "WWW-Authenticate: Basic realm=\"x\", Negotiate\r\n" LENGTH), SMALL},
    {A("200 OK", "WWW-Authenticate: nTLM b2s=\r\n" CODED), SMALL, true, LAST},
    {A("407 No", "Proxy-Authenticate: Basic\r\nProxy-Authenticate: Kerberos\r\n" LENGTH), SMALL},
    {A("503 Busy", LENGTH), SMALL},
};

static void append(struct buffer *out, const char *data, size_t n)
{
    bool ok = buffer_append(out, data, n);
    assert(ok);
    (void)ok;
}

static void put_text(struct buffer *out, const char *text, unsigned serial, size_t body)
{
    for (; *text; text++) {
        char number[24];
        int n = 0;
        if (*text == '@')
            n = snprintf(number, sizeof number, "%06u", serial);
        else if (*text == '$')
            n = snprintf(number, sizeof number, "%zu", body);
        append(out, n ? number : text, n ? (size_t)n : 1);
    }
}

/* The serial over and over, counted from byte `at` of the body. */
static void put_body(struct buffer *out, unsigned serial, size_t at, size_t n)
{
    char text[7 * 32 + 1];
    for (size_t i = 0; i < 32; i++)
        snprintf(text + 7 * i, 8, "%06u.", serial % 1000000);
    for (size_t done = 0, skip = at % 7; done < n; skip = 0) {
        size_t left = n - done, len = sizeof text - 1 - skip;
        append(out, text + skip, len < left ? len : left);
        done += len < left ? len : left;
    }
}

static void put_chunk(struct buffer *out, unsigned serial, size_t at, size_t n)
{
    char line[24];
    int len = snprintf(line, sizeof line, "%zx\r\n", n);
    append(out, line, (size_t)len);
    put_body(out, serial, at, n);
    append(out, "\r\n", 2);
}

static void put(struct buffer *out, const struct script *s, unsigned serial)
{
    for (unsigned i = 0; i < s->hints; i++)
        put_text(out, "HTTP/1.1 102 Processing\r\nX-Hint: @\r\n\r\n", serial, 0);
    put_text(out, s->head, serial, s->body);
    if (s->chunked) {
        put_chunk(out, serial, 0, s->body / 2);
        put_chunk(out, serial, s->body / 2, s->body - s->body / 2);
    } else {
        put_body(out, serial, 0, s->body);
    }
    if (s->tail)
        put_text(out, s->tail, serial, s->body);
}

/* The first `old` scripts wrap around below 96, so that what was found by their numbers stays what
 * it was; the others share the numbers above. */
static unsigned pick(unsigned n, unsigned old, unsigned all)
{
    return n < 96 ? n % old : old + n % (all - old);
}

void script_request(struct buffer *out, unsigned n, unsigned serial)
{
    put(out, &requests[pick(n, OLD_REQUESTS, COUNT(requests))], serial);
}

void script_answer(struct buffer *out, unsigned n, unsigned serial)
{
    put(out, &answers[pick(n, OLD_ANSWERS, COUNT(answers))], serial);
}
