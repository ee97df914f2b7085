/* The subcommands of ringbench. argv[0] of each is its own name. A subcommand prints its results to
 * stdout and errors to stderr, and returns the exit code of the program.
 *
 * Threads: the main thread. */
#pragma once

enum { BENCH_OK = 0, BENCH_FAILED = 1, BENCH_USAGE = 2 };

int bench_diff(int argc, char **argv);
int bench_failover(int argc, char **argv);
int bench_http(int argc, char **argv);
int bench_report(int argc, char **argv);
int bench_ring(int argc, char **argv);
int bench_serve(int argc, char **argv);
int bench_tcp(int argc, char **argv);
