#include <getopt.h>
#include <stdio.h>

#include "app/app.h"
#include "app/control.h"
#include "app/options.h"
#include "base/log.h"

static int run(struct config *config)
{
    struct error e;
    struct control_hooks hooks = {.inherited = inherited_new(), .can_upgrade = true};
    int status = APP_FAILED;
    if (inherited_read_environment(hooks.inherited, &e) &&
        takeover_begin(&hooks.takeover, hooks.inherited, &e))
        status = control_run(config, &hooks);
    else
        log_event(LOG_ERROR, "start failed", e.text);
    takeover_free(hooks.takeover);
    inherited_free(hooks.inherited);
    return status;
}

/* The configuration is read before anything starts: with an error in it, nothing is bound. */
int cmd_run(int argc, char **argv)
{
    static const struct option longs[] = {{"config", required_argument, NULL, 'c'}, {0}};
    const char *file = NULL;
    int o;
    while ((o = getopt_long(argc, argv, ":c:", longs, NULL)) != -1) {
        if (o != 'c')
            return options_usage("run", o == ':' ? "%s needs a FILE" : "unknown option %s",
                                 argv[optind - 1]);
        file = optarg;
    }
    if (file == NULL || optind < argc)
        return options_usage("run", file ? "unexpected %s" : "-c FILE is required", argv[optind]);
    struct config *config = options_load(file);
    if (config == NULL)
        return APP_USAGE;
    int status = run(config);
    config_unref(config);
    return status;
}
