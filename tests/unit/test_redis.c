/* A Redis of all manners, over real sockets on loopback. */
#include "cluster/redis.h"

#include <fcntl.h>

#include "tests/lib/fake_redis.h"
#include "tests/lib/unit.h"

#define SLOW_MS 20000 /* for what must come in time, even on a slow machine under sanitizers */
#define SOON_MS 60    /* for what is to be late */

static uv_loop_t loop;
static struct net net;
static struct lookups *lookups;
static struct fake_redis fakes[3];
static struct redis_url urls[3];
static struct redis_options options;
static struct redis *redis; /* of the test; NULL: closed */
static char told[4096];     /* what came: "up A; down A: why; = OK; ..." */
static unsigned nup, ndown, nanswers, nunknown, nmessages, ndeaf;

/* ---- what is told ---- */

static void note(const char *what, const char *text)
{
    size_t at = strlen(told);
    snprintf(told + at, sizeof told - at, "%s%s%s", at ? "; " : "", what, text);
}

static void on_up(void *arg, const char *where)
{
    nup++;
    note("up ", where);
}

static void on_down(void *arg, const char *why)
{
    ndown++;
    note("down ", why);
}

static void on_message(void *arg, struct str payload)
{
    nmessages++;
    note("message ", payload.p);
}

static void on_deaf(void *arg, const char *why)
{
    ndeaf++;
    note("deaf ", why);
}

static void on_answer(void *arg, const struct redis_reply *reply)
{
    if (reply == NULL)
        nunknown++;
    else
        nanswers++;
    note("= ", reply == NULL                  ? "?"
               : reply->type == REPLY_INTEGER ? "number"
               : reply->type == REPLY_ARRAY   ? "array"
               : reply->type == REPLY_NIL     ? "nil"
                                              : reply->text.p);
}

/* ---- the loop ---- */

static void set_up(void)
{
    int err = uv_loop_init(&loop);
    ck_assert_int_eq(err, 0);
    net_init(&net, &loop);
    lookups = lookups_new(&loop, NULL, &err);
    ck_assert(lookups);
    memset(urls, 0, sizeof urls);
    memset(fakes, 0, sizeof fakes);
    told[0] = '\0';
    nup = ndown = nanswers = nunknown = nmessages = ndeaf = 0;
    redis = NULL;
    options = (struct redis_options){.net = &net,
                                     .lookups = lookups,
                                     .urls = urls,
                                     .deadline_ms = SLOW_MS,
                                     .period_ms = SLOW_MS,
                                     .on_up = on_up,
                                     .on_down = on_down,
                                     .on_message = on_message,
                                     .on_deaf = on_deaf};
}

static void on_closed(void *arg)
{
    ck_assert(redis == NULL);
    note("closed", "");
}

static void close_redis(void)
{
    redis_close(redis, on_closed, NULL);
    redis = NULL;
}

static void tear_down(void)
{
    if (redis)
        close_redis();
    for (size_t i = 0; i < 3; i++)
        if (fakes[i].address.len)
            fake_redis_close(&fakes[i]);
    lookups_close(lookups);
    net_close(&net);
    uv_run(&loop, UV_RUN_DEFAULT);
    net_deinit(&net);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    ck_assert_ptr_nonnull(strstr(told, "closed"));
}

#define WAIT_FOR(condition)                                                   \
    for (uint64_t until = uv_hrtime() + 60000000000; !(condition);) {         \
        ck_assert_msg(uv_hrtime() < until, "%s; told: %s", #condition, told); \
        uv_run(&loop, UV_RUN_ONCE);                                           \
    }

/* The URL i is this fake. */
static struct fake_redis *add_bound(void)
{
    static char shown[3][8] = {"A", "B", "C"};
    size_t i = options.nurls++;
    fake_redis_bind(&fakes[i], &loop);
    urls[i] = (struct redis_url){
        .shown = shown[i], .address = fakes[i].address, .address_text = fakes[i].address_text};
    return &fakes[i];
}

static struct fake_redis *add(void)
{
    struct fake_redis *f = add_bound();
    fake_redis_listen(f);
    return f;
}

static void answer(struct fake_redis *f, const char *command, const char *text)
{
    size_t i = 0;
    while (f->answers[i].command && strcmp(f->answers[i].command, command) != 0)
        i++;
    ck_assert_uint_lt(i, 8);
    f->answers[i] = (struct fake_answer){command, text};
}

static void open_redis(void)
{
    redis = redis_open(&options);
    ck_assert_str_eq(told, "");
}

static void call(const char *command)
{
    size_t before = strlen(told);
    redis_call(redis, (const char *[]){command, "x"}, (size_t[]){strlen(command), 1}, 2, on_answer,
               NULL);
    ck_assert_uint_eq(strlen(told), before);
}

static uint64_t troubles(enum redis_trouble t)
{
    return redis_counts(redis)->of[t];
}

/* ---- what goes well ---- */

START_TEST(commands_are_answered_in_order)
{
    struct fake_redis *f = add();
    answer(f, "ONE", "+1\r\n");
    answer(f, "TWO", "$3\r\ntwo\r\n");
    answer(f, "THREE", "-ERR three\r\n");
    answer(f, "FOUR", ":4\r\n");
    answer(f, "FIVE", "*2\r\n:1\r\n$-1\r\n");
    answer(f, "SIX", "$-1\r\n");
    open_redis();
    WAIT_FOR(nup);
    call("ONE");
    call("TWO");
    call("THREE");
    WAIT_FOR(nanswers == 3);
    call("FOUR");
    call("FIVE");
    call("SIX");
    WAIT_FOR(nanswers == 6);
    ck_assert_str_eq(told, "up A; = 1; = two; = ERR three; = number; = array; = nil");
    ck_assert_uint_eq(troubles(REDIS_ANSWER), 1);
    ck_assert(redis_is_up(redis));
    ck_assert_str_eq(redis_why(redis), "");
}
END_TEST

START_TEST(answers_may_come_byte_by_byte)
{
    struct fake_redis *f = add();
    f->drips = true;
    answer(f, "ONE", "*2\r\n$3\r\nabc\r\n*1\r\n:77\r\n");
    open_redis();
    WAIT_FOR(nup);
    call("ONE");
    call("TWO");
    WAIT_FOR(nanswers == 2);
    ck_assert_str_eq(told, "up A; = array; = OK");
}
END_TEST

START_TEST(a_command_of_a_megabyte_goes_out)
{
    struct fake_redis *f = add();
    size_t n = 3 << 20;
    char *big = malloc(n);
    ck_assert(big);
    memset(big, 'x', n);
    open_redis();
    WAIT_FOR(nup);
    redis_call(redis, (const char *[]){"SET", big}, (size_t[]){3, n}, 2, on_answer, NULL);
    free(big);
    call("NEXT");
    WAIT_FOR(nanswers == 2);
    ck_assert_ptr_nonnull(strstr(f->log, "; SET xxx"));
    ck_assert_str_eq(told, "up A; = OK; = OK");
}
END_TEST

START_TEST(a_unix_socket_is_an_address_like_others)
{
    struct fake_redis *f = add();
    char path[64];
    static uv_pipe_t pipe; /* the fake behind another address */
    snprintf(path, sizeof path, "unix:/tmp/test-redis-%d", (int)getpid());
    ck_assert_int_eq(addr_parse(str_of(path), &urls[0].address), ADDR_OK);
    urls[0].address_text = path;
    unlink(path + 5);
    uv_pipe_init(&loop, &pipe, 0);
    ck_assert_int_eq(uv_pipe_bind(&pipe, path + 5), 0);
    pipe.data = f;
    ck_assert_int_eq(uv_listen((uv_stream_t *)&pipe, 4, fake_redis_accept), 0);
    open_redis();
    WAIT_FOR(nup);
    call("ONE");
    WAIT_FOR(nanswers);
    uv_close((uv_handle_t *)&pipe, NULL);
}
END_TEST

/* ---- greeting ---- */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert(f);
    fputs(text, f);
    fclose(f);
}

START_TEST(a_greeting_says_who_and_where)
{
    struct fake_redis *f = add();
    static char user[] = "ring", password[] = "secret";
    urls[0].user = user;
    urls[0].password = password;
    urls[0].db = 3;
    open_redis();
    WAIT_FOR(nup);
    ck_assert_str_eq(f->log, "AUTH ring secret; SELECT 3; ROLE; PING");
}
END_TEST

START_TEST(a_greeting_without_a_password_has_no_auth)
{
    struct fake_redis *f = add();
    open_redis();
    WAIT_FOR(nup);
    ck_assert_str_eq(f->log, "ROLE; PING");
}
END_TEST

START_TEST(the_password_file_is_read_anew_for_each_connection)
{
    struct fake_redis *f = add();
    char path[64];
    snprintf(path, sizeof path, "/tmp/test-redis-%d", (int)getpid());
    urls[0].password_file = path;
    write_file(path, "one\n");
    open_redis();
    WAIT_FOR(nup == 1);
    write_file(path, "two words \r\n");
    fake_redis_end_all(f, false);
    WAIT_FOR(nup == 2);
    unlink(path);
    ck_assert_str_eq(f->log, "AUTH one; ROLE; PING; AUTH two words ; ROLE; PING");
}
END_TEST

START_TEST(a_password_file_that_is_none_is_told)
{
    static const struct {
        const char *text, *why;
    } cases[] = {{NULL, "No such file or directory"}, {"", "empty"}, {"\n", "empty"}};
    struct fake_redis *f = add();
    char path[64], expected[200];
    snprintf(path, sizeof path, "/tmp/test-redis-%d", (int)getpid());
    urls[0].password_file = path;
    for (size_t i = 0; i < 3; i++) {
        told[0] = '\0';
        ndown = 0;
        unlink(path);
        if (cases[i].text)
            write_file(path, cases[i].text);
        open_redis();
        WAIT_FOR(ndown);
        snprintf(expected, sizeof expected, "down A: password_file: %s: %s", path, cases[i].why);
        ck_assert_int_eq(strcasecmp(told, expected), 0);
        ck_assert_uint_ge(troubles(REDIS_AUTH), 1);
        close_redis();
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    unlink(path);
    ck_assert_str_eq(f->log, "");
}
END_TEST

START_TEST(a_password_file_has_a_limit_and_may_be_a_fifo)
{
    struct fake_redis *f = add();
    char path[64], big[5000];
    memset(big, 'p', sizeof big);
    big[4999] = '\0';
    snprintf(path, sizeof path, "/tmp/test-redis-%d", (int)getpid());
    urls[0].password_file = path;
    write_file(path, big);
    open_redis();
    WAIT_FOR(ndown);
    ck_assert_ptr_nonnull(strstr(told, "too long"));
    unlink(path);
    ck_assert_int_eq(mkfifo(path, 0600), 0); /* nobody writes: it is empty */
    uint64_t before = troubles(REDIS_AUTH);
    WAIT_FOR(troubles(REDIS_AUTH) > before);
    ck_assert_ptr_nonnull(strstr(redis_why(redis), "empty"));
    unlink(path);
    ck_assert_str_eq(f->log, "");
}
END_TEST

/* What is answered to the greeting, and what is told of it. */
START_TEST(a_greeting_that_is_refused_is_told_by_its_kind)
{
    static const struct {
        const char *command, *text, *why;
        enum redis_trouble kind;
    } cases[] = {
        {"AUTH", "-WRONGPASS invalid\r\n", "A: AUTH: WRONGPASS invalid", REDIS_AUTH},
        {"AUTH", "-ERR Client sent AUTH\r\n", "A: AUTH: ERR Client sent AUTH", REDIS_AUTH},
        {"AUTH", "-ERR unknown command 'AUTH', with args beginning with: 'pw'\r\n",
         "A: AUTH: it does not know this command", REDIS_AUTH},
        {"AUTH", ":1\r\n", "A: AUTH: not an answer to it", REDIS_PROTOCOL},
        {"SELECT", "-ERR DB index\r\n", "A: SELECT: ERR DB index", REDIS_ANSWER},
        {"SELECT", "-NOAUTH no\r\n", "A: SELECT: NOAUTH no", REDIS_AUTH},
        {"ROLE", "-NOPERM no\r\n", "A: ROLE: NOPERM no", REDIS_AUTH},
        {"ROLE", FAKE_REPLICA, "A: it is no primary", REDIS_ROLE},
        {"ROLE", "*2\r\n$8\r\nsentinel\r\n*0\r\n", "A: it is no primary", REDIS_ROLE},
        {"ROLE", "*0\r\n", "A: it is no primary", REDIS_ROLE},
        {"ROLE", "*1\r\n:1\r\n", "A: it is no primary", REDIS_ROLE},
        {"ROLE", "$6\r\nmaster\r\n", "A: ROLE: not an answer to it", REDIS_PROTOCOL},
        {"PING", "-LOADING it\r\n", "A: PING: LOADING it", REDIS_ROLE},
        {"PING", "-ERR \x1b[31m\xc3\xa4\r\n", "A: PING: ERR ?[31m??", REDIS_ANSWER},
        {"PING", "*0\r\n", "A: PING: not an answer to it", REDIS_PROTOCOL},
    };
    struct fake_redis *f = add();
    static char password[] = "pw";
    urls[0].password = password;
    urls[0].db = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        told[0] = '\0';
        ndown = 0;
        memset(f->answers, 0, sizeof f->answers);
        answer(f, cases[i].command, cases[i].text);
        open_redis();
        WAIT_FOR(ndown);
        ck_assert_str_eq(told + 5, cases[i].why);
        for (enum redis_trouble t = 0; t < REDIS_TROUBLES; t++)
            ck_assert_uint_eq(troubles(t), t == cases[i].kind);
        close_redis();
        WAIT_FOR(f->open == 0);
    }
    ck_assert_uint_eq(nup, 0);
}
END_TEST

/* ---- which one ---- */

START_TEST(what_is_no_primary_is_skipped)
{
    answer(add(), "ROLE", FAKE_REPLICA);
    answer(add(), "PING", "-LOADING\r\n");
    add();
    open_redis();
    WAIT_FOR(nup);
    ck_assert_str_eq(told, "up C");
    ck_assert_uint_eq(troubles(REDIS_ROLE), 2);
}
END_TEST

START_TEST(after_a_loss_the_first_url_is_tried_first)
{
    struct fake_redis *a = add_bound(), *b = add();
    open_redis();
    WAIT_FOR(nup);
    ck_assert_uint_eq(troubles(REDIS_CONNECT), 1);
    fake_redis_listen(a);
    fake_redis_end_all(b, false);
    WAIT_FOR(nup == 2);
    ck_assert_str_eq(told, "up B; down B: it has closed the connection; up A");
    fake_redis_end_all(a, true);
    WAIT_FOR(nup == 3);
    ck_assert_str_eq(told, "up B; down B: it has closed the connection; up A; "
                           "down A: connection reset by peer; up A");
    ck_assert_uint_eq(b->accepted, 1);
    ck_assert_uint_eq(troubles(REDIS_LOST), 2);
}
END_TEST

START_TEST(one_that_became_a_replica_is_left)
{
    static const char *const errors[] = {
        "-READONLY You can't write against a read only replica.\r\n",
        "-ERR Error running script: @user_script: 1: -READONLY You can't write against\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
    };
    struct fake_redis *a = add();
    add();
    open_redis();
    for (unsigned i = 0; i < 3; i++) {
        memset(a->answers, 0, sizeof a->answers);
        told[0] = '\0';
        if (i > 0)
            fake_redis_end_all(&fakes[1], false);
        WAIT_FOR(nup == 2 * i + 1);
        answer(a, "ROLE", FAKE_REPLICA);
        answer(a, "EVAL", errors[i]);
        call("EVAL");
        call("MORE");
        WAIT_FOR(nup == 2 * i + 2);
        ck_assert_ptr_nonnull(strstr(told, "; = ?; down A: it is no primary any more"));
        ck_assert_ptr_nonnull(strstr(told, "; up B"));
    }
}
END_TEST

/* ---- what goes wrong ---- */

START_TEST(a_refused_connection_is_told_once_and_tried_again)
{
    struct fake_redis *f = add_bound();
    open_redis();
    WAIT_FOR(troubles(REDIS_CONNECT) == 3);
    ck_assert_str_eq(told, "down A: connection refused");
    fake_redis_listen(f);
    WAIT_FOR(nup);
    ck_assert_str_eq(told, "down A: connection refused; up A");
}
END_TEST

START_TEST(tries_come_after_fifty_ms_and_ever_later)
{
    struct fake_redis *f = add();
    f->resets = true;
    open_redis();
    WAIT_FOR(f->accepted == 5);
    for (unsigned i = 1; i < 5; i++)
        ck_assert_uint_ge(f->accepted_ns[i] - f->accepted_ns[i - 1],
                          ((UINT64_C(25) << (i - 1)) - 2) * 1000000);
    ck_assert_uint_eq(ndown, 1);
    ck_assert_uint_eq(nup, 0);
}
END_TEST

/* A listener whose queue is full: the kernel lets further connections wait. */
START_TEST(a_connection_that_does_not_come_is_late)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fill[8], listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(listener, 0), 0);
    getsockname(listener, (struct sockaddr *)&at, &len);
    for (unsigned i = 0; i < 8; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fill[i], (struct sockaddr *)&at, sizeof at);
    }
    add();
    urls[0].address = (struct addr){.v4 = at, .len = sizeof at};
    options.deadline_ms = SOON_MS;
    open_redis();
    WAIT_FOR(ndown);
    ck_assert_str_eq(told, "down A: no connection in time");
    ck_assert_uint_eq(troubles(REDIS_TIMEOUT), 1);
    for (unsigned i = 0; i < 8; i++)
        close(fill[i]);
    close(listener);
}
END_TEST

START_TEST(one_that_says_nothing_is_left_for_the_next)
{
    struct fake_redis *f = add();
    answer(f, "ROLE", "");
    answer(f, "PING", "");
    add();
    options.deadline_ms = SOON_MS;
    open_redis();
    WAIT_FOR(nup);
    ck_assert_str_eq(told, "up B");
    ck_assert_uint_eq(troubles(REDIS_TIMEOUT), 1);
    ck_assert_str_eq(redis_why(redis), "A: no answer in time");
}
END_TEST

START_TEST(a_command_without_an_answer_is_unknown_and_so_is_all_behind_it)
{
    struct fake_redis *f = add();
    options.deadline_ms = SOON_MS;
    open_redis();
    WAIT_FOR(nup);
    answer(f, "HANG", "*2\r\n:1\r\n$5\r\nab"); /* half of one */
    answer(f, "TWO", "");
    call("ONE");
    call("HANG");
    call("TWO");
    WAIT_FOR(nup == 2);
    ck_assert_str_eq(told, "up A; = OK; = ?; = ?; down A: no answer in time; up A");
    ck_assert_uint_eq(troubles(REDIS_TIMEOUT), 1);
}
END_TEST

START_TEST(a_reset_makes_what_waits_unknown)
{
    struct fake_redis *f = add();
    open_redis();
    WAIT_FOR(nup);
    answer(f, "HANG", "");
    call("HANG");
    call("HANG");
    WAIT_FOR(strstr(f->log, "HANG x; HANG"));
    fake_redis_end_all(f, true);
    WAIT_FOR(nup == 2);
    ck_assert_str_eq(told, "up A; = ?; = ?; down A: connection reset by peer; up A");
}
END_TEST

START_TEST(a_call_while_it_is_down_is_unknown_soon)
{
    add_bound();
    open_redis();
    call("ONE");
    call("TWO");
    WAIT_FOR(nunknown == 2);
    WAIT_FOR(ndown);
    call("THREE");
    WAIT_FOR(nunknown == 3);
    ck_assert(!redis_is_up(redis));
}
END_TEST

START_TEST(an_answer_that_nobody_asked_for_ends_the_connection)
{
    struct fake_redis *f = add();
    open_redis();
    WAIT_FOR(nup);
    fake_redis_tell(f, "+OK\r\n");
    WAIT_FOR(nup == 2);
    answer(f, "TWICE", "+1\r\n+2\r\n");
    call("TWICE");
    WAIT_FOR(nup == 3);
    ck_assert_str_eq(told, "up A; down A: an answer that nobody asked for; up A; = 1; "
                           "down A: an answer that nobody asked for; up A");
    ck_assert_uint_eq(troubles(REDIS_PROTOCOL), 2);
}
END_TEST

START_TEST(what_no_redis_sends_ends_the_connection)
{
    static const struct {
        const char *text, *why; /* "": in the words of hiredis */
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", ""},
        {"*5000\r\n", "an array of too many elements"},
        {"*2147483648\r\n", ""},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", ""},
    };
    struct fake_redis *f = add();
    char expected[128];
    open_redis();
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        WAIT_FOR(nup == i + 1);
        told[0] = '\0';
        memset(f->answers, 0, sizeof f->answers);
        answer(f, "EVAL", cases[i].text);
        call("EVAL");
        WAIT_FOR(nup == i + 2);
        snprintf(expected, sizeof expected, "= ?; down A: %s", cases[i].why);
        ck_assert_int_eq(strncmp(told, expected, strlen(expected)), 0);
        ck_assert_uint_eq(troubles(REDIS_PROTOCOL), i + 1);
    }
}
END_TEST

START_TEST(an_answer_beyond_bounds_ends_the_connection)
{
    struct fake_redis *f = add();
    static char piece[50001];
    memset(piece, 'x', sizeof piece - 1);
    open_redis();
    WAIT_FOR(nup);
    answer(f, "EVAL", "$900000000\r\n");
    call("EVAL");
    WAIT_FOR(strstr(f->log, "EVAL"));
    for (unsigned i = 0; ndown == 0; i++) { /* 8 MiB are 167 of them */
        ck_assert_uint_lt(i, 400);
        fake_redis_tell(f, piece);
        for (unsigned k = 0; k < 4; k++)
            uv_run(&loop, UV_RUN_NOWAIT);
    }
    ck_assert_str_eq(told, "up A; = ?; down A: a reply of too many bytes");

    told[0] = '\0';
    WAIT_FOR(nup == 2);
    piece[0] = '-'; /* an error of which the end does not come */
    answer(f, "EVAL", piece);
    call("EVAL");
    call("EVAL");
    WAIT_FOR(nup == 3);
    ck_assert_str_eq(told, "up A; = ?; = ?; down A: a reply of too many bytes; up A");
}
END_TEST

/* ---- names ---- */

static uv_sem_t gate; /* lookups of "hang" wait for it */

static void ask(const char *host, uint16_t port, struct lookup_answer *out)
{
    struct addr a = {.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}, .len = sizeof a.v4};
    if (strcmp(host, "hang") == 0)
        uv_sem_wait(&gate);
    snprintf(out->reason, sizeof out->reason, "no such host");
    if (strcmp(host, "two") != 0)
        return;
    a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1); /* nobody listens there */
    addr_set_add(&out->addrs, &a);
    a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addr_set_add(&out->addrs, &a);
}

static void set_up_names(void)
{
    int err;
    set_up();
    uv_sem_init(&gate, 0);
    lookups_close(lookups);
    options.lookups = lookups = lookups_new(&loop, ask, &err);
    ck_assert(lookups);
}

static void tear_down_names(void)
{
    tear_down();
}

static void name(size_t i, const char *host)
{
    static char text[3][64];
    uint16_t port = addr_port(&fakes[i].address);
    snprintf(text[i], sizeof text[i], "%s:%u", host, port);
    urls[i].address_text = text[i];
    ck_assert_int_eq(addr_parse(str_of(text[i]), &urls[i].address), ADDR_NAME);
}

START_TEST(the_addresses_of_a_name_are_tried_one_after_the_other)
{
    add();
    add();
    name(0, "none");
    name(1, "two");
    open_redis();
    WAIT_FOR(nup);
    ck_assert_str_eq(told, "up B");
    ck_assert_uint_eq(troubles(REDIS_LOOKUP), 1);
}
END_TEST

START_TEST(a_name_that_is_not_resolved_in_time_is_skipped)
{
    add();
    add();
    name(0, "hang");
    options.deadline_ms = SOON_MS;
    open_redis();
    WAIT_FOR(nup);
    ck_assert_str_eq(told, "up B");
    ck_assert_uint_eq(troubles(REDIS_TIMEOUT), 1);
    ck_assert_str_eq(redis_why(redis), "A: its name is not resolved in time");
    for (unsigned i = 0; i < 8; i++)
        uv_sem_post(&gate);
}
END_TEST

START_TEST(it_can_be_closed_while_a_name_is_resolved)
{
    add();
    name(0, "hang");
    open_redis();
    uv_run(&loop, UV_RUN_ONCE);
    close_redis();
    WAIT_FOR(strcmp(told, "closed") == 0);
    uv_sem_post(&gate);
}
END_TEST

/* ---- messages ---- */

#define SUBSCRIBED "*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n"
#define MESSAGE(text) "*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$3\r\n" text "\r\n"
#define PONG "*2\r\n$4\r\npong\r\n$0\r\n\r\n"

static struct fake_redis *add_channel(void)
{
    struct fake_redis *f = add();
    options.channel = "ch";
    answer(f, "SUBSCRIBE", SUBSCRIBED MESSAGE("one") MESSAGE("two"));
    return f;
}

START_TEST(messages_come_in_order)
{
    add_channel();
    open_redis();
    WAIT_FOR(nmessages == 2 && nup);
    ck_assert_ptr_nonnull(strstr(told, "message one; message two"));
}
END_TEST

START_TEST(a_subscriber_that_hears_nothing_asks_and_comes_back)
{
    struct fake_redis *f = add_channel();
    options.period_ms = 20;
    options.deadline_ms = SOON_MS;
    open_redis();
    WAIT_FOR(nmessages == 2);
    /* its PINGs are answered as by a Redis that knows no subscriber: that is no answer */
    WAIT_FOR(nmessages == 4);
    ck_assert_uint_ge(troubles(REDIS_PROTOCOL), 1);
    ck_assert_uint_eq(ndown, 0);
    ck_assert_uint_ge(f->accepted, 3);
}
END_TEST

START_TEST(what_is_no_message_of_the_channel_ends_the_connection)
{
    static const char *const cases[] = {"*3\r\n$7\r\nmessage\r\n$2\r\nxx\r\n$3\r\none\r\n",
                                        "*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n:1\r\n",
                                        "*2\r\n$7\r\nmessage\r\n$2\r\nch\r\n",
                                        "*0\r\n",
                                        "+OK\r\n",
                                        SUBSCRIBED};
    struct fake_redis *f = add_channel();
    char text[256];
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(f->answers, 0, sizeof f->answers);
        snprintf(text, sizeof text, "%s%s", SUBSCRIBED, cases[i]);
        answer(f, "SUBSCRIBE", text);
        redis = redis_open(&options);
        WAIT_FOR(troubles(REDIS_PROTOCOL) >= 2);
        ck_assert_uint_eq(nmessages, 0);
        close_redis();
        WAIT_FOR(f->open == 0);
    }
}
END_TEST

START_TEST(a_channel_that_may_not_be_heard_is_told_while_commands_go_on)
{
    struct fake_redis *f = add_channel();
    memset(f->answers, 0, sizeof f->answers);
    answer(f, "SUBSCRIBE", "-NOPERM no channel\r\n");
    open_redis();
    WAIT_FOR(ndeaf >= 2 && nup == 1);
    call("ONE");
    WAIT_FOR(nanswers);
    ck_assert_ptr_nonnull(strstr(told, "deaf NOPERM no channel"));
    ck_assert_uint_eq(ndown, 0);
}
END_TEST

START_TEST(messages_come_from_where_commands_go)
{
    struct fake_redis *a = add_bound(), *b = add_channel();
    answer(a, "SUBSCRIBE", SUBSCRIBED MESSAGE("own"));
    options.channel = "ch";
    open_redis();
    WAIT_FOR(nup && nmessages == 2);
    fake_redis_listen(a);
    list_foreach_safe(it, next, &b->conns)
    {
        struct fake_redis_conn *c = container_of(it, struct fake_redis_conn, link);
        if (!c->subscribed)
            fake_redis_end(c, false);
    }
    WAIT_FOR(nmessages == 3);
    ck_assert_ptr_nonnull(strstr(told, "up A; message own"));
    ck_assert_uint_eq(b->open, 0);
}
END_TEST

/* ---- closing ---- */

START_TEST(calls_that_wait_are_not_told_after_a_close)
{
    struct fake_redis *f = add();
    open_redis();
    call("EARLY");
    close_redis();
    WAIT_FOR(strcmp(told, "closed") == 0);
    told[0] = '\0';
    open_redis();
    WAIT_FOR(nup);
    answer(f, "HANG", "");
    call("HANG");
    close_redis();
    WAIT_FOR(strcmp(told, "up A; closed") == 0);
}
END_TEST

static void close_on_answer(void *arg, const struct redis_reply *reply)
{
    note("= ", reply ? reply->text.p : "?");
    close_redis();
}

static void close_on_word(void *arg, const char *word)
{
    note("word", "");
    close_redis();
}

START_TEST(it_can_be_closed_in_each_callback)
{
    struct fake_redis *f = add_channel();
    f->answers[0] = (struct fake_answer){"SUBSCRIBE", SUBSCRIBED};
    answer(f, "TWICE", "+1\r\n+2\r\n");
    options.on_up = close_on_word;
    redis = redis_open(&options);
    WAIT_FOR(strcmp(told, "word; closed") == 0);
    options.on_up = on_up;

    for (unsigned i = 0; i < 2; i++) { /* an answer, an unknown one */
        told[0] = '\0';
        nup = 0;
        redis = redis_open(&options);
        WAIT_FOR(nup);
        if (i == 1)
            answer(f, "TWICE", "x");
        redis_call(redis, (const char *[]){"TWICE"}, (size_t[]){5}, 1, close_on_answer, NULL);
        redis_call(redis, (const char *[]){"TWICE"}, (size_t[]){5}, 1, close_on_answer, NULL);
        WAIT_FOR(strstr(told, "closed"));
        ck_assert_str_eq(told, i == 0 ? "up A; = 1; closed" : "up A; = ?; closed");
    }
    told[0] = '\0';
    redis = redis_open(&options); /* a call that was not sent */
    redis_call(redis, (const char *[]){"TWICE"}, (size_t[]){5}, 1, close_on_answer, NULL);
    redis_call(redis, (const char *[]){"TWICE"}, (size_t[]){5}, 1, close_on_answer, NULL);
    WAIT_FOR(strstr(told, "closed"));
    ck_assert_str_eq(told, "= ?; closed");

    told[0] = '\0';
    options.on_down = close_on_word;
    answer(f, "ROLE", FAKE_REPLICA);
    redis = redis_open(&options);
    WAIT_FOR(strcmp(told, "word; closed") == 0);
}
END_TEST

static void call_again(void *arg, const struct redis_reply *reply)
{
    on_answer(arg, reply);
    if (nunknown < 5)
        redis_call(redis, (const char *[]){"X"}, (size_t[]){1}, 1, call_again, NULL);
}

START_TEST(a_call_can_be_made_in_an_answer_even_an_unknown_one)
{
    struct fake_redis *f = add();
    open_redis();
    WAIT_FOR(nup);
    answer(f, "X", "*x\r\n");
    redis_call(redis, (const char *[]){"X"}, (size_t[]){1}, 1, call_again, NULL);
    WAIT_FOR(nunknown == 5);
    ck_assert_uint_ge(ndown, 1);
}
END_TEST

static Suite *build(void)
{
    Suite *suite = suite_create("redis");
    TCase *tc = tcase_create("redis"), *names = tcase_create("names");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_checked_fixture(names, set_up_names, tear_down_names);
    tcase_add_test(tc, commands_are_answered_in_order);
    tcase_add_test(tc, answers_may_come_byte_by_byte);
    tcase_add_test(tc, a_command_of_a_megabyte_goes_out);
    tcase_add_test(tc, a_unix_socket_is_an_address_like_others);
    tcase_add_test(tc, a_greeting_says_who_and_where);
    tcase_add_test(tc, a_greeting_without_a_password_has_no_auth);
    tcase_add_test(tc, the_password_file_is_read_anew_for_each_connection);
    tcase_add_test(tc, a_password_file_that_is_none_is_told);
    tcase_add_test(tc, a_password_file_has_a_limit_and_may_be_a_fifo);
    tcase_add_test(tc, a_greeting_that_is_refused_is_told_by_its_kind);
    tcase_add_test(tc, what_is_no_primary_is_skipped);
    tcase_add_test(tc, after_a_loss_the_first_url_is_tried_first);
    tcase_add_test(tc, one_that_became_a_replica_is_left);
    tcase_add_test(tc, a_refused_connection_is_told_once_and_tried_again);
    tcase_add_test(tc, tries_come_after_fifty_ms_and_ever_later);
    tcase_add_test(tc, a_connection_that_does_not_come_is_late);
    tcase_add_test(tc, one_that_says_nothing_is_left_for_the_next);
    tcase_add_test(tc, a_command_without_an_answer_is_unknown_and_so_is_all_behind_it);
    tcase_add_test(tc, a_reset_makes_what_waits_unknown);
    tcase_add_test(tc, a_call_while_it_is_down_is_unknown_soon);
    tcase_add_test(tc, an_answer_that_nobody_asked_for_ends_the_connection);
    tcase_add_test(tc, what_no_redis_sends_ends_the_connection);
    tcase_add_test(tc, an_answer_beyond_bounds_ends_the_connection);
    tcase_add_test(tc, messages_come_in_order);
    tcase_add_test(tc, a_subscriber_that_hears_nothing_asks_and_comes_back);
    tcase_add_test(tc, what_is_no_message_of_the_channel_ends_the_connection);
    tcase_add_test(tc, a_channel_that_may_not_be_heard_is_told_while_commands_go_on);
    tcase_add_test(tc, messages_come_from_where_commands_go);
    tcase_add_test(tc, calls_that_wait_are_not_told_after_a_close);
    tcase_add_test(tc, it_can_be_closed_in_each_callback);
    tcase_add_test(tc, a_call_can_be_made_in_an_answer_even_an_unknown_one);
    tcase_add_test(names, the_addresses_of_a_name_are_tried_one_after_the_other);
    tcase_add_test(names, a_name_that_is_not_resolved_in_time_is_skipped);
    tcase_add_test(names, it_can_be_closed_while_a_name_is_resolved);
    suite_add_tcase(suite, tc);
    suite_add_tcase(suite, names);
    return suite;
}

int main(void)
{
    return unit_main(build);
}
