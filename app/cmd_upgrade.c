/* `ringproxy upgrade` has the running proxy hand over to the program that is installed now. */
#include <inttypes.h>
#include <stdio.h>

#include "app/app.h"
#include "app/asking.h"

#define ANSWER_MS 5000 /* the proxy gives the new process up after the timeout, and says so */

static int tell(const struct asking *k, const struct admin_where *w, const struct admin_answer *a,
                json_t *root)
{
    const json_t *pid = json_object_get(root, "pid");
    if (a->status != 200 || !json_is_integer(pid)) {
        asking_refused(k, w, a, root);
        return APP_FAILED;
    }
    printf("process %" JSON_INTEGER_FORMAT ", generation %" JSON_INTEGER_FORMAT "\n",
           json_integer_value(pid), json_integer_value(json_object_get(root, "generation")));
    return APP_OK;
}

/* -c FILE is the file that the new process will read: with an error in it, the proxy is not asked.
 */
int cmd_upgrade(int argc, char **argv)
{
    struct asking k = {.command = "upgrade",
                       .most_ms = 3600000,
                       .most = "1h",
                       .suited = "a ringproxy that can be upgraded",
                       .timeout_ms = 60000};
    char target[64];
    int status = asking_parse(&k, argc, argv);
    if (status >= 0)
        return status;
    snprintf(target, sizeof target, "/upgrade?timeout=%" PRIu64 "ms", k.timeout_ms);
    const struct admin_request q = {"POST", target, {0}};
    return asking_run(&k, &q, k.timeout_ms + ANSWER_MS, tell);
}
