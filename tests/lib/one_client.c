#include "tests/lib/one_client.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "proxy/worker.h"
#include "tests/fuzz/world.h"

static uv_loop_t control_loop;
static struct mailbox control;

static void on_control(struct mailbox *m, struct message *msg)
{
    message_free(msg);
}

static void on_notice(void *arg, const struct roster_notice *n)
{
}

static struct config *parse(const char *text)
{
    struct config_errors errors = {0};
    struct config *config = config_parse("test.yaml", text, strlen(text), &errors);
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "%s\n", errors.lines[i]);
    MUST(config);
    config_errors_free(&errors);
    return config;
}

void one_client_begin(const char *configuration)
{
    struct error e;
    struct config *config = parse(configuration);
    MUST(uv_loop_init(&control_loop) == 0);
    MUST(mailbox_init(&control, &control_loop, on_control) == 0);
    world_init();
    world.max_head = config->listeners[0].max_header_size;
    world.retries = config->pools[0].retries;
    world.snapshot = snapshot_new(config, NULL, 1, 1, on_notice, NULL, &e);
    MUST(world.snapshot);
    config_unref(config); /* the snapshot has its own reference */
    for (unsigned i = 0; i < WORLD_SERVERS; i++)
        roster_first(world.snapshot->rosters[0], i, true, "test", time_now(), time_now());
    roster_start(world.snapshot->rosters[0], time_now());
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    MUST(fd >= 0 && worker_init(&world.worker, 0, world.snapshot, &control, &fd, &e));
    close(fd);
    world.worker.net.transport = &memory_transport;
    world_open(0);
    memory_run();
}

static void stop_worker(void)
{
    struct message *stop = calloc(1, sizeof *stop);
    MUST(stop);
    stop->kind = WORKER_STOP;
    world.worker.mailbox.on_message(&world.worker.mailbox, stop);
    memory_run();
    worker_deinit(&world.worker);
}

void one_client_end(void)
{
    memory_fin(&world.open[0]->wire);
    for (unsigned i = 0; i < 100; i++) {
        memory_run();
        time_advance(10000);
    }
    memory_run();
    MUST(list_empty(&world.worker.clients));
    stop_worker();
    snapshot_retire(world.snapshot);
    snapshot_unref(world.snapshot);
    world_deinit();
    mailbox_close(&control);
    uv_run(&control_loop, UV_RUN_DEFAULT);
    mailbox_deinit(&control);
    MUST(uv_loop_close(&control_loop) == 0);
}
