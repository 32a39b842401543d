#include "bench/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/must.h"

enum { REPORT_BYTES_MAX = 16 * 1024 };

void report_begin(struct report *report)
{
    buf_init(&report->json, REPORT_BYTES_MAX);
    buf_putc(&report->json, '{');
}

static void report_name(struct report *report, const char *name)
{
    buf_putf(&report->json, "%s\"%s\":", report->json.len > 1 ? "," : "", name);
}

void report_text(struct report *report, const char *name, const char *value)
{
    report_name(report, name);
    buf_putf(&report->json, "\"%s\"", value);
}

void report_count(struct report *report, const char *name, uint64_t value)
{
    report_name(report, name);
    buf_putf(&report->json, "%" PRIu64, value);
}

void report_real(struct report *report, const char *name, double value)
{
    report_name(report, name);
    buf_putf(&report->json, "%.3f", value);
}

void report_end(struct report *report)
{
    buf_putc(&report->json, '}');
    must(!buf_is_over(&report->json));
    printf("%.*s\n", SPAN_ARG(buf_span(&report->json)));
    buf_fini(&report->json);
}
