/* die.h - ends a measurement that can't go on.
 *
 * A figure is worth nothing if anything went wrong in its run, so nothing is retried: the tool prints the reason on
 * stderr and ends with EXIT_BROKEN. EXIT_INEXACT is for a run that was completed, but in which messages were lost,
 * doubled, out of order, or delivered to the wrong reader. */
#ifndef BENCH_DIE_H
#define BENCH_DIE_H

enum { EXIT_INEXACT = 1, EXIT_BROKEN = 2 };

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
