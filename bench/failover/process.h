/* A child process, with its output in a file.
 *
 * Invariants: in the states NONE and ENDED there is no pid. A child is in a session of its own: a
 * Ctrl-C at the terminal does not reach it, and this process ends its children in its own order.
 * Ownership: process_init() to process_deinit(); by then the child must have ended. A process may
 * be started again; the output of all its runs is in one file. Threads: the loop's. */
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
    int term_signal;     /* ENDED; 0: the child exited by itself */
};

/* output: NAME.log in the folder. */
void process_init(struct process *p, const char *name, const char *folder);
void process_deinit(struct process *p);
/* argv[0] is the program; without a slash in it, PATH is searched. The process must not be running.
 */
bool process_start(struct process *p, uv_loop_t *loop, const char *const *argv, struct error *e);
bool process_running(const struct process *p);
/* A condition for wait_until(). True: the child has ended or was never started, and the process may
 * be started again or deinitialised. */
bool process_over(void *process);
/* SIGKILL goes to the child's own children, too. False: the child has ended already, or it may not
 * be signalled. */
bool process_signal(struct process *p, int number, struct error *e);
/* "b1 ended with exit code 2" */
void process_explain_end(const struct process *p, struct error *e);
/* The last lines of its output, up to `size` bytes with the NUL; empty: there is no output. */
void process_last_words(const struct process *p, char *out, size_t size);
