/* A child process: started, signalled, waited for, its output in a file.
 *
 * Invariants: NONE and ENDED have no pid. A child is in a session of its own, so that a Ctrl-C at
 * the terminal is this process's to pass on, in its order.
 * Ownership: process_init() to process_deinit(), which needs it ended. May be started again; the
 * output of all runs is in one file. Threads: the loop's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/error.h"

enum process_state { PROCESS_NONE, PROCESS_RUNNING, PROCESS_ENDED };

struct process {
    char *name;   /* for messages */
    char *output; /* the file of its stdout and stderr */
    enum process_state state;
    bool closing; /* ENDED: its handle is not closed yet */
    uv_process_t handle;
    int64_t exit_status; /* ENDED */
    int term_signal;     /* ENDED; 0: it exited by itself */
};

/* output: NAME.log in the folder. */
void process_init(struct process *p, const char *name, const char *folder);
void process_deinit(struct process *p);
/* argv[0] is the program, looked for in PATH if it has no slash. Not while it runs. */
bool process_start(struct process *p, uv_loop_t *loop, const char *const *argv, struct error *e);
bool process_running(const struct process *p);
/* For wait_until(): ended, and may be started again or thrown away. True also if never started. */
bool process_over(void *process);
/* SIGKILL goes to its children too. False: it has ended already, or may not be signalled. */
bool process_signal(struct process *p, int number, struct error *e);
/* "b1 ended with exit code 2" */
void process_explain_end(const struct process *p, struct error *e);
/* The last lines of what it has put out, up to `size` bytes with the NUL; empty if there is
 * nothing.
 */
void process_last_words(const struct process *p, char *out, size_t size);
