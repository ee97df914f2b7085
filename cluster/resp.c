#include "cluster/resp.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct resp {
    redisReader *reader;
    size_t bytes, objects; /* of the reply that is coming */
    const char *error;     /* why an object was refused; NULL: it was not */
};

/* ---- the objects of a reply, which the reader asks for ---- */

static void *refuse(const redisReadTask *task, const char *why)
{
    struct resp *r = task->privdata;
    r->error = why;
    return NULL; /* the reader takes it for a lack of memory and gives up */
}

/* A reply, in its place within the array that it is an element of; extra: room behind it. */
static struct redis_reply *create(const redisReadTask *task, enum reply_type type, size_t extra)
{
    struct resp *r = task->privdata;
    if (r->objects >= RESP_OBJECTS_MAX)
        return refuse(task, "a reply of too many elements");
    if (extra > RESP_TOTAL_MAX - r->bytes)
        return refuse(task, "a reply of too many bytes");
    struct redis_reply *reply = malloc(sizeof *reply + extra);
    if (reply == NULL)
        return refuse(task, "out of memory");
    r->objects++;
    r->bytes += extra;
    *reply = (struct redis_reply){.type = type};
    if (task->parent) {
        struct redis_reply *array = task->parent->obj;
        assert(array->type == REPLY_ARRAY && (size_t)task->idx < array->n);
        array->elements[task->idx] = reply;
    }
    return reply;
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    enum reply_type type = task->type == REDIS_REPLY_STRING   ? REPLY_TEXT
                           : task->type == REDIS_REPLY_STATUS ? REPLY_STATUS
                                                              : REPLY_ERROR;
    if (type == REPLY_ERROR && task->type != REDIS_REPLY_ERROR)
        return refuse(task, "a reply of an unknown type");
    if (len >= RESP_TOTAL_MAX)
        return refuse(task, "a reply of too many bytes");
    struct redis_reply *reply = create(task, type, len + 1);
    if (reply == NULL)
        return NULL;
    char *copy = (char *)(reply + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    reply->text = (struct str){copy, len};
    return reply;
}

#if defined(HIREDIS_MAJOR) && HIREDIS_MAJOR >= 1
typedef size_t elements_count;
#else
typedef int elements_count;
#endif

static void *create_array(const redisReadTask *task, elements_count elements)
{
    size_t n = (size_t)elements;
    if (task->type != REDIS_REPLY_ARRAY)
        return refuse(task, "a reply of an unknown type");
    if (n > REPLY_ELEMENTS_MAX)
        return refuse(task, "an array of too many elements");
    struct redis_reply *reply = create(task, REPLY_ARRAY, n * sizeof *reply->elements);
    if (reply == NULL)
        return NULL;
    reply->elements = (struct redis_reply **)(reply + 1);
    reply->n = n;
    if (n)
        memset(reply->elements, 0, n * sizeof *reply->elements);
    return reply;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    struct redis_reply *reply = create(task, REPLY_INTEGER, 0);
    if (reply)
        reply->integer = value;
    return reply;
}

static void *create_nil(const redisReadTask *task)
{
    return create(task, REPLY_NIL, 0);
}

void resp_reply_free(struct redis_reply *reply)
{
    if (reply == NULL)
        return;
    for (size_t i = 0; i < reply->n; i++)
        resp_reply_free(reply->elements[i]);
    free(reply);
}

static void free_object(void *reply)
{
    resp_reply_free(reply);
}

#if defined(HIREDIS_MAJOR) && HIREDIS_MAJOR >= 1
/* Types of RESP3, which was not asked for. */
static void *create_double(const redisReadTask *task, double value, char *text, size_t len)
{
    return refuse(task, "a reply of an unknown type");
}

static void *create_bool(const redisReadTask *task, int value)
{
    return refuse(task, "a reply of an unknown type");
}
#endif

static redisReplyObjectFunctions functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
    .freeObject = free_object,
#if defined(HIREDIS_MAJOR) && HIREDIS_MAJOR >= 1
    .createDouble = create_double,
    .createBool = create_bool,
#endif
};

/* ---- reading ---- */

struct resp *resp_new(void)
{
    struct resp *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->reader = redisReaderCreateWithFunctions(&functions);
    if (r->reader == NULL) {
        free(r);
        return NULL;
    }
    r->reader->privdata = r;
    return r;
}

void resp_free(struct resp *r)
{
    if (r == NULL)
        return;
    redisReaderFree(r->reader);
    free(r);
}

/* Whether what is not parsed yet can still become something that is allowed. Of a bulk string the
 * length stands in front, on a line of its own; all else that waits is one line, which the reader
 * searches anew each time that bytes come. */
static bool within_bounds(const redisReader *reader)
{
    size_t n = reader->len - reader->pos;
    if (n <= RESP_LINE_MAX)
        return true;
    return n <= RESP_UNPARSED_MAX && memmem(reader->buf + reader->pos, 32, "\r\n", 2);
}

bool resp_feed(struct resp *r, const char *data, size_t len)
{
    return redisReaderFeed(r->reader, data, len) == REDIS_OK;
}

enum resp_result resp_next(struct resp *r, struct redis_reply **reply)
{
    void *found = NULL;
    if (redisReaderGetReply(r->reader, &found) != REDIS_OK)
        return RESP_BAD;
    if (found) {
        *reply = found;
        r->bytes = r->objects = 0;
        return RESP_REPLY;
    }
    if (within_bounds(r->reader))
        return RESP_MORE;
    r->error = "a reply of too many bytes";
    return RESP_BAD;
}

const char *resp_error(const struct resp *r)
{
    return r->error ? r->error : r->reader->errstr;
}

/* ---- writing ---- */

char *resp_format(const char *const *argv, const size_t *argvlen, size_t n, size_t *len)
{
    char *command = NULL;
    assert(n >= 1 && n <= INT_MAX);
    /* the reader of the words does not change them, its prototype lacks a const */
    const char **words = (const char **)(uintptr_t)argv;
    long long r = redisFormatCommandArgv(&command, (int)n, words, argvlen);
    if (r < 0)
        return NULL;
    *len = (size_t)r;
    return command;
}

void resp_format_free(char *command)
{
    redisFreeCommand(command);
}
