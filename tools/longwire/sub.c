/* sub.c - `longwire sub`: its command line, and following over the NDJSON stream. It reconnects by itself when the link is
 * lost. (sub_native.c follows over the native protocol.)
 *
 * The cursor is sent as Last-Event-ID, because a header may be longer than a URL and the cursor of many channels is
 * long. No message is lost or repeated: each object carries the cursor after it, what was printed is before that
 * cursor, and the next connection begins at it. Only a reader that follows "from now on" has no cursor at first. It
 * asks for its place with a poll that does not wait. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/must.h"
#include "longwire/channel_name.h"
#include "longwire/duration.h"
#include "longwire/stop_fd.h"
#include "longwire/sub.h"

enum { CURSOR_BYTES_MAX = 512 * 1024, PATH_BYTES_MAX = 1024 * 1024 };

bool sub_leave(struct sub *sub, int exit_code)
{
    sub->is_over = true;
    sub->exit    = exit_code;
    return false;
}

/* --- what comes in ---------------------------------------------------------------------------------------------- */

/* False: this can't be a cursor. It becomes a header, so it must not end the line. */
static bool sub_keep_cursor(struct sub *sub, struct span cursor)
{
    buf_clear(&sub->cursor);
    buf_put(&sub->cursor, cursor);
    buf_putc(&sub->cursor, '\0');
    return cursor.len > 0 && cli_is_visible(cursor) && !buf_is_over(&sub->cursor);
}

/* One from the server. */
static bool sub_take_cursor(struct sub *sub, struct span cursor)
{
    if (sub_keep_cursor(sub, cursor))
        return true;
    say("the server gave a cursor that can't be one");
    return sub_leave(sub, EXIT_REFUSED);
}

static void sub_say_error(struct span line)
{
    struct buf text;
    buf_init(&text, CURSOR_BYTES_MAX);
    put_visible(&text, span_head(line, 1000));
    say("the server reports: %.*s", SPAN_ARG(buf_span(&text)));
    buf_fini(&text);
}

/* One object; false ends the connection. */
static bool sub_on_object(void *arg, struct span line)
{
    struct sub       *sub = arg;
    struct entry_view entry;

    if (!entry_read(line, &sub->decoded, &entry)) {
        say("the server sent a line that is not a JSON object; is it Longwire that runs at %s?", sub->http.server);
        return sub_leave(sub, EXIT_REFUSED);
    }
    if (field_is_string(&entry.at[FIELD_CURSOR]) && !sub_take_cursor(sub, entry.at[FIELD_CURSOR].text))
        return false;
    backoff_reset(&sub->backoff);
    printer_put(&sub->printer, &entry);
    if (entry.type == ENTRY_ERROR)
        sub_say_error(line);
    if (entry.type == ENTRY_MESSAGE && ++sub->count == sub->count_max)
        return sub_leave(sub, EXIT_FINE);
    return true;
}

/* A line's end has come: what was kept of it, and `rest`. Empty ones are heartbeats. */
static bool sub_on_line(struct sub *sub, struct span rest)
{
    if (sub->line.len > 0) {
        buf_put(&sub->line, rest);
        rest = buf_span(&sub->line);
    }
    bool goes_on = span_trim(rest).len == 0 || sub_on_object(sub, rest);
    buf_clear(&sub->line);
    return goes_on;
}

static bool sub_on_lines(struct sub *sub, struct span piece)
{
    const char *end;
    while (piece.len > 0 && (end = memchr(piece.at, '\n', piece.len)) != NULL) {
        size_t len = (size_t)(end - piece.at);
        if (!sub_on_line(sub, span_head(piece, len)))
            return false;
        piece = span_skip(piece, len + 1);
    }
    buf_put(&sub->line, piece);
    if (!buf_is_over(&sub->line))
        return true;
    say("the server sent a line of more than %d bytes", ENTRY_BYTES_MAX);
    return sub_leave(sub, EXIT_REFUSED);
}

bool sub_flush(struct sub *sub)
{
    switch (printer_flush(&sub->printer)) {
    case PRINTED: return true;
    case PRINTED_CLOSED: return sub_leave(sub, EXIT_FINE);
    case PRINTED_FAILED: return sub_leave(sub, EXIT_REFUSED);
    }
    return false;
}

static bool sub_on_piece(void *arg, struct span piece)
{
    struct sub *sub = arg;
    if (sub->is_away)
        say("connected again");
    sub->is_away = false;

    bool goes_on = sub_on_lines(sub, piece);
    return sub_flush(sub) && goes_on;
}

/* --- what goes out ---------------------------------------------------------------------------------------------- */

static void sub_put_channels(const struct sub *sub, struct buf *path)
{
    for (size_t i = 0; i < sub->channel_count; i++) {
        buf_put_lit(path, "&channel=");
        http_put_encoded(path, span_str(sub->channels[i]));
        if (sub->cursor.len > 0)
            continue;
        if (sub->since != NULL)
            buf_putf(path, "&after=%llu", (unsigned long long)sub->since_seqs[i]);
        else if (sub->start != NULL)
            buf_putf(path, "&%s=%llu", sub->start, (unsigned long long)sub->start_seq);
    }
}

#define SUBSCRIBE_PATH "/v1/subscribe"

/* "/v1/subscribe?channel=…&after=…". The channels stand beside a cursor, too: that of many holds places without names. */
static void sub_put_path(const struct sub *sub, bool is_poll, struct buf *path)
{
    buf_put_lit(path, SUBSCRIBE_PATH);
    sub_put_channels(sub, path);
    if (is_poll)
        buf_put_lit(path, "&wait=0");
    if (path->len >= sizeof SUBSCRIBE_PATH)
        path->at[sizeof SUBSCRIBE_PATH - 1] = '?';  /* the first one begins the query */
    buf_putc(path, '\0');
}

static void sub_ask(struct sub *sub, struct http_request *request, bool is_poll, struct http_answer *ret)
{
    struct buf path;
    buf_init(&path, PATH_BYTES_MAX);
    sub_put_path(sub, is_poll, &path);
    must(!buf_is_over(&path));
    request->method   = "GET";
    request->path     = path.at;
    request->quiet_ms = sub->silence_ms;
    request->until    = sub->until;
    if (sub->cursor.len > 0)
        request->last_event_id = sub->cursor.at;
    http_ask(&sub->http, request, ret);
    buf_fini(&path);
    if (http_is_2xx(ret))
        sub->was_reached = true;
}

static void sub_stream(struct sub *sub, struct http_answer *ret)
{
    struct http_request request = { .accept = "application/x-ndjson", .sink = sub_on_piece, .sink_arg = sub };
    buf_clear(&sub->line);  /* half a line of a lost link: it comes again, whole */
    sub_ask(sub, &request, false, ret);
}

/* Takes the place from a poll's answer, and what stands in its list. */
static bool sub_take_place(struct sub *sub, struct span body)
{
    struct field field   = { .name = "cursor" };
    bool         is_good = elements_each(body, "messages", sub_on_object, sub);

    if (sub->is_over)
        return false;
    is_good        = is_good && fields_read(body, &field, 1, &sub->decoded) && field.is_there;
    sub->is_unread = is_good && field.type == JSON_NULL;
    return is_good && (sub->is_unread || (field_is_string(&field) && sub_take_cursor(sub, field.text)));
}

/* For "from now on": asks for the cursor of this moment. */
static void sub_find_place(struct sub *sub, struct http_answer *ret)
{
    struct http_request request = { .accept = "application/json" };
    sub_ask(sub, &request, true, ret);
    if (ret->end != HTTP_DONE || !http_is_2xx(ret))
        return;
    if (!sub_take_place(sub, buf_span(&ret->body)) && !sub->is_over)
        sub_leave(sub, http_complain(&sub->http, ret));
    else if (sub_flush(sub) && !sub->is_unread && isatty(STDERR_FILENO) == 1)
        say("following from now on; Ctrl-C ends");
}

/* --- --since ---------------------------------------------------------------------------------------------------- */

/* The first entry of the page is all that is looked at. */
static bool sub_on_first(void *arg, struct span element)
{
    struct sub       *sub = arg;
    struct entry_view entry;
    uint64_t          seq = entry_read(element, &sub->decoded, &entry) ? entry_first_seq(&entry) : 0;

    if (seq == 0)
        return false;
    sub->since_seqs[sub->since_count] = seq - 1;
    return true;
}

/* Where the next channel begins: before the first message since then, or behind its head if there is none. */
static bool sub_take_since(struct sub *sub, struct span body)
{
    struct field head = { .name = "head" };

    return fields_read(body, &head, 1, &sub->decoded) && field_u64(&head, &sub->since_seqs[sub->since_count]) &&
           elements_each(body, "messages", sub_on_first, sub);
}

static void sub_find_since(struct sub *sub, struct http_answer *ret)
{
    struct http_request request = {
        .method = "GET", .accept = "application/json", .quiet_ms = sub->silence_ms, .until = sub->until,
        .body_bytes_max = ENTRY_BYTES_MAX,
    };
    struct buf path;

    buf_init(&path, HTTP_PATH_BYTES_MAX);
    http_put_channel_path(&path, sub->channels[sub->since_count]);
    buf_put_lit(&path, "/messages?limit=1&since=");
    must(moment_put_query(&path, span_str(sub->since), msec_since_1970()));
    buf_putc(&path, '\0');
    request.path = path.at;
    http_ask(&sub->http, &request, ret);
    buf_fini(&path);
    if (!http_is_2xx(ret) || ret->end != HTTP_DONE)
        return;
    sub->was_reached = true;
    if (sub_take_since(sub, buf_span(&ret->body)))
        sub->since_count++;
    else
        sub_leave(sub, http_complain(&sub->http, ret));
}

/* --- one connection after the other ------------------------------------------------------------------------------ */

/* A connection has ended. True: try again. False: the reason has been printed. */
static bool sub_goes_on(struct sub *sub, const struct http_answer *answer)
{
    bool is_lost = answer->end == HTTP_BROKEN || answer->end == HTTP_SILENT || answer->end == HTTP_UNREACHED;

    if (sub->is_over)
        return false;
    if (answer->end == HTTP_INTERRUPTED)
        return sub_leave(sub, EXIT_FINE);
    if (answer->end == HTTP_TIMEOUT)
        return sub_leave(sub, sub->count_max > 0 ? EXIT_TIMEOUT : EXIT_FINE);
    if (!is_lost && !http_is_2xx(answer) && !http_is_later(answer->status))
        return sub_leave(sub, http_complain(&sub->http, answer));
    if (answer->end == HTTP_UNREACHED && !sub->was_reached && !sub->has_patience)
        return sub_leave(sub, http_complain(&sub->http, answer));
    if (!sub->is_once)
        return true;
    if (is_lost || !http_is_2xx(answer))
        return sub_leave(sub, http_complain(&sub->http, answer));
    if (sub->is_unread) {
        say("the server can't read its log just now");
        return sub_leave(sub, EXIT_REFUSED);
    }
    say("the server ended the stream");
    return sub_leave(sub, EXIT_UNREACHED);
}

static void sub_say_lost(struct sub *sub, const struct http_answer *answer, msec wait_ms)
{
    if (answer->end == HTTP_DONE && !http_is_2xx(answer))
        say("the server asks to wait (HTTP %d); next try in %.1f s", answer->status, (double)wait_ms / 1000);
    else if (sub->is_unread)
        say("the server can't read its log just now; next try in %.1f s", (double)wait_ms / 1000);
    else
        say("%s: %s; next try in %.1f s", answer->end == HTTP_UNREACHED ? "can't reach the server" : "link lost",
            answer->end == HTTP_DONE ? "the server ended the stream" : answer->why, (double)wait_ms / 1000);
    sub->is_away = true;
}

static void sub_wait(struct sub *sub, const struct http_answer *answer)
{
    msec wait_ms = backoff_next(&sub->backoff);
    if (answer->retry_after_ms > wait_ms)
        wait_ms = answer->retry_after_ms;
    sub_say_lost(sub, answer, wait_ms);
    if (!http_sleep(&sub->http, wait_ms, sub->until))
        sub_leave(sub, EXIT_FINE);
    else if (sub->until != 0 && msec_now() >= sub->until)
        sub_leave(sub, sub->count_max > 0 ? EXIT_TIMEOUT : EXIT_FINE);
}

static bool sub_lacks_since(const struct sub *sub)
{
    return sub->since != NULL && sub->since_count < sub->channel_count;
}

/* Is it known where the stream begins? */
static bool sub_has_place(const struct sub *sub)
{
    return !sub_lacks_since(sub) && (sub->start != NULL || sub->since != NULL || sub->cursor.len > 0);
}

static void sub_run(struct sub *sub)
{
    while (!sub->is_over) {
        struct http_answer answer;
        bool               has_place = sub_has_place(sub);
        sub->is_unread               = false;
        if (sub_lacks_since(sub))
            sub_find_since(sub, &answer);
        else if (has_place)
            sub_stream(sub, &answer);
        else
            sub_find_place(sub, &answer);

        bool is_placed = !has_place && !sub->is_unread && answer.end == HTTP_DONE && http_is_2xx(&answer);
        if (!is_placed && sub_goes_on(sub, &answer))
            sub_wait(sub, &answer);
        http_answer_fini(&answer);
    }
}

/* --- the command line --------------------------------------------------------------------------------------------- */

/* Of the four ways to name a beginning only one may be used. */
static bool sub_set_start(struct sub *sub, const char *name, const char *text)
{
    if (sub->start != NULL || sub->since != NULL || sub->cursor.len > 0) {
        say("--after, --last, --since and --cursor exclude one another");
        return false;
    }
    if (span_eq(span_str(name), SPAN("--since"))) {
        sub->since = text;
        return cli_moment(name, text, &(msec){ 0 });
    }
    if (span_eq(span_str(name), SPAN("--cursor"))) {
        if (sub_keep_cursor(sub, span_str(text)))
            return true;
        say("--cursor needs a token that a server gave, unchanged");
        return false;
    }
    sub->start = name + strlen("--");  /* the parameters of a URL are called the same */
    return cli_u64(name, text, &sub->start_seq);
}

static bool sub_set_timeout(struct sub *sub, const char *text)
{
    msec timeout_ms;
    if (!cli_duration("--timeout", text, &timeout_ms))
        return false;
    sub->until = msec_now() + timeout_ms;
    return true;
}

static bool sub_option(void *arg, int option, const char *value)
{
    struct sub *sub = arg;
    switch (option) {
    case OPTION_AFTER: return sub_set_start(sub, "--after", value);
    case OPTION_LAST: return sub_set_start(sub, "--last", value);
    case OPTION_SINCE: return sub_set_start(sub, "--since", value);
    case OPTION_CURSOR: return sub_set_start(sub, "--cursor", value);
    case OPTION_FORMAT: return printer_take_format(&sub->printer, value);
    case OPTION_JSON: return printer_take_format(&sub->printer, "json");
    case OPTION_COUNT: return cli_u64("--count", value, &sub->count_max);
    case OPTION_TIMEOUT: return sub_set_timeout(sub, value);
    case OPTION_SILENCE: sub->has_silence = true; return cli_duration("--silence", value, &sub->silence_ms);
    case OPTION_ONCE: sub->is_once = true; return true;
    case OPTION_RETRY: sub->has_patience = true; return true;
    default: return sub_native_option(&sub->native, option, value);
    }
}

/* False: these can't all be named in one request; the reason has been printed. */
static bool sub_channels_fit(const struct sub *sub)
{
    size_t bytes = 0;
    for (size_t i = 0; i < sub->channel_count; i++)
        bytes += strlen(sub->channels[i]) * 3 + 64;
    if (bytes + 64 <= PATH_BYTES_MAX)
        return true;
    say("that is more than one connection can name");
    return false;
}

static bool sub_parse(struct sub *sub, struct invocation *invocation)
{
    if (!invocation_read(invocation, sub_option, sub))
        return false;
    invocation->exit           = EXIT_USAGE;
    sub->channels              = invocation->words;
    sub->channel_count         = invocation->word_count;
    sub->printer.shows_channel = sub->channel_count > 1;
    if (invocation->target.is_native)
        return sub_native_is_sound(sub);
    if (sub_native_is_asked(&sub->native)) {
        say("--session, --ticket-file, --user, --device and --mode need the native protocol: --server "
            "lw://HOST (port 7400)");
        return false;
    }
    if (sub->channel_count == 0 && sub->cursor.len == 0) {
        say("which channel? For instance: longwire sub topic:prices");
        return false;
    }
    return sub_channels_fit(sub);
}

static int sub_follow(struct sub *sub, const struct target *target)
{
    int stop_fd = stop_fd_open();
    for (size_t i = 0; i < sub->channel_count; i++)
        channel_name_warn(sub->channels[i]);
    sub->since_seqs = calloc(sub->channel_count + 1, sizeof *sub->since_seqs);
    must(sub->since_seqs != NULL);
    if (target->is_native) {
        sub_native_run(sub, target, stop_fd);
    } else {
        backoff_init(&sub->backoff);
        http_init(&sub->http, target, stop_fd);
        sub_run(sub);
        http_fini(&sub->http);
    }
    free(sub->since_seqs);
    close(stop_fd);
    return sub->exit;
}

int command_sub(struct invocation *invocation)
{
    struct sub sub = { .silence_ms = HTTP_QUIET_MS };

    printer_init(&sub.printer);
    buf_init(&sub.cursor, CURSOR_BYTES_MAX);
    buf_init(&sub.line, ENTRY_BYTES_MAX);
    buf_init(&sub.decoded, ENTRY_BYTES_MAX);
    if (sub_parse(&sub, invocation))
        invocation->exit = sub_follow(&sub, &invocation->target);
    buf_fini(&sub.cursor);
    buf_fini(&sub.line);
    buf_fini(&sub.decoded);
    printer_fini(&sub.printer);
    return invocation->exit;
}
