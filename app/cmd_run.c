#include <getopt.h>
#include <stdio.h>

#include "app/app.h"
#include "app/control.h"
#include "app/options.h"
#include "base/log.h"

static int run(struct config *config)
{
    struct error e;
    struct control_hooks hooks = {.inherited = inherited_new()};
    int status = APP_FAILED;
    if (inherited_read_environment(hooks.inherited, &e))
        status = control_run(config, &hooks);
    else
        log_event(LOG_ERROR, "start failed", e.text);
    inherited_free(hooks.inherited);
    return status;
}

/* The configuration is read before anything starts: with an error in it, nothing is bound. */
int cmd_run(int argc, char **argv)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *file = NULL;
    int o;
    opterr = 0;
    while ((o = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
        if (o == 'h') {
            puts("ringproxy run -c FILE");
            return options_flush("run") ? APP_OK : APP_FAILED;
        }
        if (o != 'c')
            return options_usage("run", "unknown option or missing argument");
        file = optarg;
    }
    if (file == NULL || optind < argc)
        return options_usage("run", file ? "unexpected argument" : "-c FILE is required");
    struct config *config = options_load(file);
    if (config == NULL)
        return APP_USAGE;
    int status = run(config);
    config_unref(config);
    return status;
}
