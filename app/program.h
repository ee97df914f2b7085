/* How this process was started, so that it can be started again.
 *
 * What for: an upgrade starts the program that is installed now, under the name and with the
 * arguments that this process was started with.
 * Invariants: a name with a slash is made absolute at once, but links in it are followed when the
 * program is started: /opt/ringproxy/current/ringproxy may be another file by then. A name without
 * one is looked up in PATH again.
 * Ownership: the strings are main()'s, or last as long as the process.
 * Threads: program_remember() before threads exist; the rest is constant. */
#pragma once

void program_remember(char **argv);
/* NULL: not known, because the process was started without a name. */
const char *program_file(void);
/* As main() got them. */
char **program_arguments(void);
