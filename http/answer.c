#include "http/answer.h"

#include <assert.h>
#include <stdio.h>

/* The names of RFC 9110 15; clients ignore them, people read them. */
const char *answer_reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 412:
        return "Precondition Failed";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 422:
        return "Unprocessable Content";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    case 507:
        return "Insufficient Storage";
    default:
        return "Unknown";
    }
}

/* A 405 must list the methods that are allowed (RFC 9110 15.5.6). Only CONNECT is not; of the
 * methods without a limit in number, the list names the usual ones. */
static const char *extra_fields(int status)
{
    return status == 405 ? "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n" : "";
}

/* Composed on the stack and appended at once, so that a failure leaves no part of an answer. */
bool answer_write(struct buffer *out, int status, bool close, bool head, struct str date)
{
    assert(status >= 200 && status <= 599 && status != 204 && status != 304);
    /* enough for every status; the assertions below would find a longer line in any test */
    char body[64], text[384];
    int nbody = snprintf(body, sizeof(body), "%d %s\n", status, answer_reason(status));
    assert(nbody > 0 && (size_t)nbody < sizeof(body));
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 %d %s\r\n"
                     "Content-Type: text/plain\r\n"
                     "Content-Length: %d\r\n"
                     "%.*s%s%s\r\n%s",
                     status, answer_reason(status), nbody, (int)date.n, date.n ? date.p : "",
                     extra_fields(status), close ? "Connection: close\r\n" : "", head ? "" : body);
    assert(n > 0 && (size_t)n < sizeof(text));
    return buffer_append(out, text, (size_t)n);
}
