/* die.h - how a measurement ends that can't go on.
 *
 * A figure from a run in which anything went wrong is worth nothing, so nothing is tried again: the tool says
 * what happened on stderr and ends with EXIT_BROKEN. EXIT_INEXACT is for runs that came to their end but in
 * which messages were lost, doubled, out of order or strayed. */
#ifndef BENCH_DIE_H
#define BENCH_DIE_H

enum { EXIT_INEXACT = 1, EXIT_BROKEN = 2 };

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
