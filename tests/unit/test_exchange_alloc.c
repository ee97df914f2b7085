/* A chunked upload through a worker, over memory, with each of its allocations failing in turn.
 * What must hold is the oracle's business (tests/fuzz/world.h): whatever a backend gets of a body
 * is its beginning, and all of it if it was told that it has ended. */
#include <string.h>

#include "tests/fuzz/world.h"
#include "tests/lib/alloc_fault.h"
#include "tests/lib/one_client.h"
#include "tests/lib/unit.h"

#define MOST_ALLOCATIONS 1000
#define PIECE 20000
#define PIECES 3

static const char configuration[] = "listeners:\n"
                                    "  - name: web\n"
                                    "    listen: 127.0.0.1:1\n"
                                    "    pool: p\n"
                                    "    key: [header:X-Key]\n"
                                    "pools:\n"
                                    "  - name: p\n"
                                    "    passive: {failures: 100}\n"
                                    "    retries: 2\n"
                                    "    backends:\n"
                                    "      - {name: b1, address: 127.0.0.1:1}\n"
                                    "      - {name: b2, address: 127.0.0.1:2}\n"
                                    "      - {name: b3, address: 127.0.0.1:3}\n"
                                    "      - {name: b4, address: 127.0.0.1:4}\n";

static void begin(void)
{
    one_client_begin(configuration);
    world.failing = true; /* nobody is owed an answer */
}

/* ---- what the peers do ---- */

static void client_says(const char *data, size_t n)
{
    memory_send(&world.open[0]->wire, data, n);
    memory_run();
    world_check();
}

/* Backends that have a whole request answer it. Returns how many did. */
static unsigned answer_all(void)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    unsigned n = 0;
    list_foreach(it, &world.backends)
    {
        struct backend *b = container_of(it, struct backend, link);
        struct request *r = b->request;
        if (b->wire.state != MEMORY_OPEN || r == NULL || r->at != b ||
            r->got.state != MESSAGE_DONE || http_message_begun(&r->said))
            continue;
        memory_send(&b->wire, answer, sizeof answer - 1);
        n++;
    }
    memory_run();
    world_check();
    return n;
}

static void put_piece(unsigned i, char *text)
{
    int n = sprintf(text, "%x\r\n", PIECE);
    memset(text + n, 'a' + (int)i, PIECE);
    memcpy(text + n + PIECE, "\r\n", 3);
}

/* How the backend connection that was kept takes the upload. */
enum kept { KEPT_NONE, KEPT_GOOD, KEPT_FAILS_TO_WRITE, KEPT_FULL, KEPT_RESET, KEPT_WAYS };

static struct backend *newest_backend(void)
{
    return container_of(world.backends.next, struct backend, link);
}

/* After the first piece. */
static void disturb(enum kept kept)
{
    if (list_empty(&world.backends))
        return;
    if (kept == KEPT_RESET)
        memory_reset(&newest_backend()->wire);
    else if (kept == KEPT_FULL)
        newest_backend()->wire.room = MEMORY_ROOM_MAX;
    memory_run();
}

/* The PUT; its head comes with the first piece. */
static void upload(enum kept kept)
{
    static const char head[] =
        "PUT /x HTTP/1.1\r\nHost: h\r\nX-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n";
    static char text[PIECE + 200];
    memcpy(text, head, sizeof head);
    put_piece(0, text + strlen(head));
    client_says(text, strlen(text));
    disturb(kept);
    for (unsigned i = 1; i < PIECES; i++) {
        put_piece(i, text);
        client_says(text, strlen(text));
    }
    client_says("0\r\n\r\n", 5);
    answer_all();
}

static void prepare(enum kept kept)
{
    static const char get[] = "GET /x HTTP/1.1\r\nHost: h\r\nX-Key: k\r\n\r\n";
    if (kept == KEPT_NONE)
        return;
    client_says(get, sizeof get - 1);
    ck_assert_uint_eq(answer_all(), 1);
    if (kept == KEPT_FAILS_TO_WRITE)
        newest_backend()->wire.fail_write = UV_EPIPE;
    else if (kept == KEPT_FULL)
        newest_backend()->wire.room = 100;
}

START_TEST(a_body_never_goes_out_without_its_beginning)
{
    enum kept kept = (enum kept)_i;
    unsigned n = 0;
    bool failed = true;
    while (failed) {
        ck_assert_uint_lt(++n, MOST_ALLOCATIONS);
        begin();
        prepare(kept);
        alloc_fault_after(n);
        upload(kept);
        failed = alloc_fault_off();
        ck_assert(failed || world.open[0]->nanswered == (kept == KEPT_NONE ? 1 : 2));
        one_client_end();
    }
    ck_assert_uint_gt(n, 1);
}
END_TEST

static Suite *build(void)
{
    Suite *s = suite_create("exchange_alloc");
    TCase *c = tcase_create("exchange_alloc");
    tcase_set_timeout(c, 120);
    log_set_level(LOG_ERROR);
    tcase_add_loop_test(c, a_body_never_goes_out_without_its_beginning, 0, KEPT_WAYS);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    return unit_main(build);
}
