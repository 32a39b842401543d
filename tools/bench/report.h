/* report.h - a run's result as one line of JSON, built field by field. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "base/buf.h"

struct report {
    struct buf json;
};

void report_begin(struct report *report);
void report_text(struct report *report, const char *name, const char *value);  /* value without quotes or backslashes */
void report_count(struct report *report, const char *name, uint64_t value);
void report_real(struct report *report, const char *name, double value);  /* three decimals */

/* Prints the line on standard output. */
void report_end(struct report *report);

#endif
