/* pub.c - `longwire pub`: publishes one message, or each line of standard input. */
#include "longwire/pub.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/must.h"
#include "base/utf8.h"
#include "longwire/channel_name.h"
#include "longwire/command.h"
#include "longwire/file_read.h"
#include "longwire/lines.h"

/* --- lines ------------------------------------------------------------------------------------------------------ */

/* How many may be sent now; waits until it is at least one. After a pause, at most the messages of one second are
 * caught up. */
static size_t pub_due(struct pub *pub)
{
    if (pub->rate <= 0)
        return BATCH_COUNT_MAX;
    double now = (double)msec_now();
    if (now < pub->next_at) {
        (void)http_sleep(&pub->http, (msec)(pub->next_at - now) + 1, pub->until);
        now = (double)msec_now();
    }
    if (pub->next_at < now - 1000)
        pub->next_at = now - 1000;
    double due = (now - pub->next_at) * pub->rate / 1000 + 1;
    return due < BATCH_COUNT_MAX ? (size_t)(due > 1 ? due : 1) : BATCH_COUNT_MAX;
}

static void pub_take_lines(struct pub *pub, struct lines *lines)
{
    size_t      due = pub_due(pub);
    struct span line;

    pub->item_count = 0;
    while (pub->item_count < due && lines_take(lines, &line))
        pub->items[pub->item_count++] = (struct item){ .data = line, .number = ++pub->line_count };
    if (pub->rate > 0)
        pub->next_at += (double)pub->item_count * 1000 / pub->rate;
}

static int pub_lines(struct pub *pub)
{
    struct lines   lines;
    enum lines_end end;
    int            exit_code = EXIT_FINE;

    if (isatty(STDIN_FILENO) == 1 && !pub->is_quiet)
        say("each line is a message; Ctrl-D ends");
    lines_init(&lines, STDIN_FILENO);
    pub->next_at = (double)msec_now();
    while (exit_code == EXIT_FINE && (end = lines_wait(&lines)) != LINES_NONE) {
        if (end == LINES_SOME) {
            pub_take_lines(pub, &lines);
            exit_code = pub_items(pub);
            continue;
        }
        if (end == LINES_LONG)
            say("line %llu has more than %d bytes", (unsigned long long)pub->line_count + 1, LINE_BYTES_MAX);
        else
            say("can't read standard input: %s", strerror(errno));
        exit_code = EXIT_REFUSED;
    }
    lines_fini(&lines);
    return exit_code;
}

static int pub_single(struct pub *pub)
{
    pub->items[0]   = (struct item){ .data = pub->data, .number = 1 };
    pub->item_count = 1;
    return pub_items(pub);
}

static int pub_file(struct pub *pub)
{
    struct buf content;
    int        exit_code = EXIT_REFUSED;

    buf_init(&content, (size_t)LINE_BYTES_MAX + 2 * FILE_READ_BYTES);
    if (file_read(pub->file, &content)) {
        pub->data = buf_span(&content);
        exit_code = pub_single(pub);
    }
    buf_fini(&content);
    return exit_code;
}

/* --- the command line ------------------------------------------------------------------------------------------- */

/* A value that becomes a header must be one line of visible characters. */
static bool is_header_value(const char *name, const char *text, size_t bytes_max)
{
    size_t len = strlen(text);
    bool   is_good = len > 0 && len <= bytes_max && text[0] != ' ';
    for (size_t i = 0; i < len; i++)
        is_good = is_good && text[i] >= ' ' && text[i] <= '~';
    if (!is_good)
        say("%s needs 1 to %zu plain characters", name, bytes_max);
    return is_good;
}

/* What a name may be, the server says. It is part of JSON and of a header, so it must be text. */
static bool is_text(const char *option, const char *what, const char *text)
{
    if (*text != '\0' && utf8_is_valid(span_str(text)))
        return true;
    say("%s needs a %s, as UTF-8", option, what);
    return false;
}

static bool pub_set_priority(struct pub *pub, const char *text)
{
    pub->waits_for_beat = strcmp(text, "beat") == 0;
    if (pub->waits_for_beat || strcmp(text, "now") == 0)
        return true;
    say("--priority is now or beat, not \"%s\"", text);
    return false;
}

static bool pub_set_rate(struct pub *pub, const char *text)
{
    char *end;
    pub->rate = strtod(text, &end);
    if (end != text && (*end == '\0' || span_eq(span_str(end), SPAN("/s"))) && pub->rate > 0 && pub->rate <= 1e9)
        return true;
    say("--rate needs a number of messages a second, not \"%s\"", text);
    return false;
}

/* The server counts in whole seconds. */
static bool pub_set_ttl(struct pub *pub, const char *text)
{
    msec ms;
    if (!cli_duration("--ttl", text, &ms))
        return false;
    pub->has_ttl = true;
    pub->ttl_s   = (uint64_t)ms / 1000;
    if (ms % 1000 == 0)
        return true;
    say("--ttl needs whole seconds, not \"%s\"", text);
    return false;
}

static bool pub_set_timeout(struct pub *pub, const char *text)
{
    msec timeout_ms;
    if (!cli_duration("--timeout", text, &timeout_ms))
        return false;
    pub->until = msec_now() + timeout_ms;
    return true;
}

static bool pub_option(void *arg, int option, const char *value)
{
    struct pub *pub = arg;
    switch (option) {
    case OPTION_FILE: pub->file = value; return true;
    case OPTION_MEDIA: pub->media = value; return is_header_value("--media", value, MEDIA_BYTES_MAX);
    case OPTION_EVENT: pub->event = value; return is_text("--event", "name", value);
    case OPTION_COLLAPSE_KEY: pub->collapse_key = value; return is_text("--collapse-key", "key", value);
    case OPTION_PRIORITY: return pub_set_priority(pub, value);
    case OPTION_KEY_ID: pub->key = value; return is_header_value("--key-id", value, KEY_BYTES_MAX);
    case OPTION_TTL: return pub_set_ttl(pub, value);
    case OPTION_RATE: return pub_set_rate(pub, value);
    case OPTION_TIMEOUT: return pub_set_timeout(pub, value);
    case OPTION_RETRY: pub->has_patience = true; return true;
    case OPTION_COUNT_ONLY: pub->is_count_only = true; return true;
    case OPTION_JSON: pub->is_json = true; return true;
    default: pub->is_quiet = true; return true;
    }
}

/* One of DATA, --file and lines. */
static bool pub_take_words(struct pub *pub, char **words, size_t count)
{
    if (count > 2) {
        say("one message at a time: put quotes around DATA that holds spaces");
        return false;
    }
    if (count == 2 && pub->file != NULL) {
        say("DATA and --file exclude one another");
        return false;
    }
    pub->channel   = words[0];
    pub->is_single = pub->file != NULL || (count == 2 && !span_eq(span_str(words[1]), SPAN("-")));
    pub->data      = span_str(count == 2 ? words[1] : NULL);
    return http_channel_fits(pub->channel);
}

static bool pub_parse(struct pub *pub, struct invocation *invocation)
{
    if (!invocation_read(invocation, pub_option, pub))
        return false;
    invocation->exit = EXIT_USAGE;
    return pub_take_words(pub, invocation->words, invocation->word_count);
}

static void pub_make_path(struct pub *pub)
{
    http_put_channel_path(&pub->path, pub->channel);
    buf_put_lit(&pub->path, "/messages");
    if (pub->has_ttl)
        buf_putf(&pub->path, "?ttl=%llu", (unsigned long long)pub->ttl_s);
    if (pub->waits_for_beat)
        buf_putf(&pub->path, "%cpriority=beat", pub->has_ttl ? '&' : '?');
    buf_putc(&pub->path, '\0');
}

static void pub_make_key(struct pub *pub)
{
    unsigned char random[16];
    must(getrandom(random, sizeof random, 0) == (ssize_t)sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(pub->random_key + 2 * i, 3, "%02x", random[i]);
}

static int pub_run(struct pub *pub, const struct target *target)
{
    channel_name_warn(pub->channel);
    http_init(&pub->http, target, -1);
    backoff_init(&pub->backoff);
    pub_make_path(pub);
    http_put_encoded(&pub->event_header, span_str(pub->event));
    buf_putc(&pub->event_header, '\0');
    http_put_encoded(&pub->collapse_header, span_str(pub->collapse_key));
    buf_putc(&pub->collapse_header, '\0');
    pub_make_key(pub);
    if (target->is_native && !pub_native_open(pub, target)) {
        pub_native_close(pub->native);
        return EXIT_USAGE;
    }
    int exit_code = pub->file != NULL ? pub_file(pub) : pub->is_single ? pub_single(pub) : pub_lines(pub);
    if (pub->is_count_only)
        printf("%llu\n", (unsigned long long)pub->published);
    if (printer_flush(&pub->printer) != PRINTED && exit_code == EXIT_FINE)
        exit_code = EXIT_REFUSED;
    pub_native_close(pub->native);
    http_fini(&pub->http);
    return exit_code;
}

int command_pub(struct invocation *invocation)
{
    struct pub *pub = calloc(1, sizeof *pub);

    must(pub != NULL);
    pub->batch_count_max = BATCH_COUNT_MAX;
    printer_init(&pub->printer);
    buf_init(&pub->path, HTTP_PATH_BYTES_MAX);
    buf_init(&pub->event_header, HTTP_PATH_BYTES_MAX);
    buf_init(&pub->collapse_header, HTTP_PATH_BYTES_MAX);
    buf_init(&pub->body, SIZE_MAX);
    buf_init(&pub->decoded, HTTP_BODY_BYTES_MAX);
    if (pub_parse(pub, invocation))
        invocation->exit = pub_run(pub, &invocation->target);
    buf_fini(&pub->path);
    buf_fini(&pub->event_header);
    buf_fini(&pub->collapse_header);
    buf_fini(&pub->body);
    buf_fini(&pub->decoded);
    printer_fini(&pub->printer);
    free(pub);
    return invocation->exit;
}
