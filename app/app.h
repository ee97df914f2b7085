/* The commands of ringproxy, each in a file of its own: cmd_NAME.c.
 *
 * What for: main.c finds a command by its name and runs it.
 * Invariants: a command gets its own name as argv[0], then its arguments, and returns the exit
 * status: 0 done, 1 failed, 2 bad usage or configuration; `plan` also 3, `lock` its command's and
 * some more (lock_run.h). Results go to stdout, messages to stderr. Threads: the main thread. */
#pragma once

#define APP_OK 0
#define APP_FAILED 1
#define APP_USAGE 2
#define APP_BEYOND 3 /* plan: more than --max-move */

int cmd_check(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_lock(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_route(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_upgrade(int argc, char **argv);
