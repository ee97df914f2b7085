/* The subcommands of ringproxy: one file each, cmd_NAME.c.
 *
 * Each gets its own name as argv[0] and what follows it, and returns the exit status: 0 done, 1 a
 * failure at run time, 2 bad usage or configuration. Results go to stdout, messages to stderr. */
#pragma once

#define APP_OK 0
#define APP_FAILED 1
#define APP_USAGE 2

int cmd_check(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_route(int argc, char **argv);
