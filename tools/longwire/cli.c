#include "longwire/cli.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SECONDS_MAX = 366 * 24 * 3600 };

static const char *environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value == NULL || *value == '\0' ? otherwise : value;
}

void target_init(struct target *target)
{
    target->server = environment("LONGWIRE_SERVER", "http://127.0.0.1:8080");
    target->key    = environment("LONGWIRE_KEY", NULL);
}

enum option_next target_option(struct target *target, int option, const char *help, int *ret_exit)
{
    switch (option) {
    case OPTION_SERVER:
        target->server = optarg;
        return OPTION_TAKEN;
    case OPTION_KEY:
        target->key = optarg;
        return OPTION_TAKEN;
    case OPTION_HELP:
        fputs(help, stdout);
        *ret_exit = EXIT_FINE;
        return OPTION_END;
    default:
        *ret_exit = EXIT_USAGE;
        return OPTION_END;
    }
}

bool cli_is_visible(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] <= ' ' || text.at[i] > '~')
            return false;
    return true;
}

bool target_is_sound(const struct target *target)
{
    struct span url = span_str(target->server);
    if (!(span_starts(url, SPAN("http://")) || span_starts(url, SPAN("https://"))) ||
        !cli_is_visible(url)) {
        say("--server \"%s\" is not an address; it looks like http://127.0.0.1:8080", target->server);
        return false;
    }
    if (target->key != NULL && !cli_is_visible(span_str(target->key))) {
        say("--key holds characters that no key has (spaces, control characters or beyond ASCII)");
        return false;
    }
    return true;
}

bool cli_u64(const char *name, const char *text, uint64_t *ret)
{
    if (span_u64(span_str(text), ret))
        return true;
    say("%s needs a whole number, not \"%s\"", name, text);
    return false;
}

bool cli_seconds(const char *name, const char *text, msec *ret_ms)
{
    char  *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(seconds) || seconds <= 0 || seconds > SECONDS_MAX) {
        say("%s needs a number of seconds above 0, not \"%s\"", name, text);
        return false;
    }
    *ret_ms = (msec)(seconds * 1000) + 1;  /* never 0, which would mean no limit */
    return true;
}

void say(const char *format, ...)
{
    va_list args;

    fflush(stdout);  /* so that on a terminal both keep their order */
    fputs("longwire: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

msec msec_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (msec)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
