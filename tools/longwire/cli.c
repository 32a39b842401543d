#include "longwire/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "longwire/duration.h"
#include "longwire/redact.h"

enum { SAY_BYTES_MAX = 1024 * 1024 };

static struct span hidden;

void cli_hide(struct span secret)
{
    hidden = secret;
}

struct span cli_hidden(void)
{
    return hidden;
}

bool cli_is_visible(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] <= ' ' || text.at[i] > '~')
            return false;
    return true;
}

bool cli_u64(const char *name, const char *text, uint64_t *ret)
{
    if (span_u64(span_str(text), ret))
        return true;
    say("%s needs a whole number, not \"%s\"", name, text);
    return false;
}

bool cli_duration(const char *name, const char *text, msec *ret_ms)
{
    if (duration_parse(span_str(text), ret_ms))
        return true;
    say("%s needs a time such as 90, 1.5, 300ms, 5m or 1h30m, above 0 and at most ten years, not \"%s\"", name, text);
    return false;
}

bool cli_moment(const char *name, const char *text, msec *ret_ms)
{
    if (moment_parse(span_str(text), msec_since_1970(), ret_ms))
        return true;
    say("%s needs a time such as 1h (so long ago), 2026-11-28, '2026-11-28 13:05' or @1795297177831, not \"%s\"", name,
        text);
    return false;
}

void say(const char *format, ...)
{
    struct buf line;
    va_list    args;
    char      *text = NULL;

    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    must(len >= 0);

    buf_init(&line, SAY_BYTES_MAX);
    buf_put_lit(&line, "longwire: ");
    redact_put(&line, span_of(text, (size_t)len), hidden);
    fflush(stdout);  /* so that on a terminal both keep their order */
    fprintf(stderr, "%.*s\n", SPAN_ARG(buf_span(&line)));
    buf_fini(&line);
    free(text);
}

static msec clock_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (msec)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

msec msec_now(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

msec msec_since_1970(void)
{
    return clock_ms(CLOCK_REALTIME);
}
