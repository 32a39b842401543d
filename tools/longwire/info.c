/* info.c - `longwire info`: how the server is, or a channel. */
#include "longwire/channel_name.h"
#include "longwire/command.h"
#include "longwire/http.h"
#include "longwire/print.h"
#include "longwire/redact.h"

/* Puts what an answer says into `text`: each field a line, or what isn't JSON as it is. */
static void on_field(void *arg, struct span name, struct span value)
{
    struct buf *text = arg;
    put_visible(text, name);
    buf_putc(text, ' ');
    put_visible(text, value);
    buf_putc(text, '\n');
}

static void put_fields(struct buf *text, struct span body)
{
    size_t before = text->len;
    if (fields_each(body, on_field, text))
        return;
    text->len = before;
    body      = span_trim(body);
    while (body.len > 0 && (body.at[body.len - 1] == '\n' || body.at[body.len - 1] == '\r'))
        body.len--;
    put_visible(text, body);
    buf_putc(text, '\n');
}

static void put_answer(struct buf *text, enum format format, struct span body)
{
    if (format == FORMAT_TEXT) {
        put_fields(text, body);
        return;
    }
    buf_put(text, body);
    if (body.len == 0 || body.at[body.len - 1] != '\n')
        buf_putc(text, '\n');
}

static int print_text(struct printer *printer, const struct buf *text, int exit_code)
{
    printer_write(printer, buf_span(text));
    return printer_flush(printer) == PRINTED_FAILED ? EXIT_REFUSED : exit_code;
}

/* --- info --------------------------------------------------------------------------------------------------------- */

static int info_channel(struct http *http, const char *channel, enum format format, struct buf *text)
{
    struct buf         path;
    struct http_answer answer;
    int                exit_code = EXIT_FINE;

    buf_init(&path, HTTP_PATH_BYTES_MAX);
    http_put_channel_path(&path, channel);
    buf_putc(&path, '\0');
    struct http_request request = { .method = "GET", .path = path.at, .accept = "application/json" };
    http_ask(http, &request, &answer);
    if (answer.end == HTTP_DONE && http_is_2xx(&answer))
        put_answer(text, format, buf_span(&answer.body));
    else
        exit_code = http_complain(http, &answer);
    http_answer_fini(&answer);
    buf_fini(&path);
    return exit_code;
}

/* One of the two health pages. 503 is an answer too: it says what is wrong. */
static int info_health(struct http *http, const char *path, const char *word, enum format format, struct buf *text)
{
    struct http_request request = { .method = "GET", .path = path, .accept = "application/json" };
    struct http_answer  answer;
    int                 exit_code = EXIT_FINE;

    http_ask(http, &request, &answer);
    if (answer.end != HTTP_DONE || !(http_is_2xx(&answer) || answer.status == 503)) {
        exit_code = http_complain(http, &answer);
    } else {
        exit_code = http_is_2xx(&answer) ? EXIT_FINE : EXIT_REFUSED;
        if (format == FORMAT_TEXT)
            buf_putf(text, "%s %s\n", word, exit_code == EXIT_FINE ? "yes" : "no");
        if (answer.body.len > 0)
            put_answer(text, format, buf_span(&answer.body));
    }
    http_answer_fini(&answer);
    return exit_code;
}

static int info_server(struct http *http, bool is_alive_only, enum format format, struct buf *text)
{
    if (format == FORMAT_TEXT) {
        buf_put_lit(text, "server ");
        redact_put(text, span_str(http->server), cli_hidden());
        buf_putc(text, '\n');
    }
    int exit_code = info_health(http, "/healthz", "alive", format, text);
    if (exit_code == EXIT_UNREACHED || is_alive_only)
        return exit_code;
    int ready = info_health(http, "/readyz", "ready", format, text);
    return exit_code != EXIT_FINE ? exit_code : ready;
}

struct info_request {
    const char *channel;  /* NULL: of the server */
    enum format format;
    bool        is_alive_only;
};

static bool info_option(void *arg, int option, const char *value)
{
    struct info_request *request = arg;
    switch (option) {
    case OPTION_FORMAT: return format_parse(value, &request->format);
    case OPTION_JSON: request->format = FORMAT_JSON; return true;
    default: request->is_alive_only = true; return true;
    }
}

static bool info_parse(struct info_request *request, struct invocation *invocation)
{
    if (!invocation_read(invocation, info_option, request))
        return false;
    invocation->exit = EXIT_USAGE;
    request->channel = invocation->word_count > 0 ? invocation->words[0] : NULL;
    if (request->channel != NULL && request->is_alive_only) {
        say("--alive is of the server, not of a channel");
        return false;
    }
    return request->channel == NULL || http_channel_fits(request->channel);
}

static int info_run(struct http *http, const struct info_request *request)
{
    struct printer printer;
    struct buf     text;

    printer_init(&printer);
    buf_init(&text, (size_t)4 * HTTP_BODY_BYTES_MAX);
    int exit_code = request->channel != NULL ? info_channel(http, request->channel, request->format, &text)
                                             : info_server(http, request->is_alive_only, request->format, &text);
    if (exit_code != EXIT_UNREACHED)
        exit_code = print_text(&printer, &text, exit_code);
    buf_fini(&text);
    printer_fini(&printer);
    return exit_code;
}

int command_info(struct invocation *invocation)
{
    struct info_request request = { .format = FORMAT_TEXT };
    struct http         http;

    if (!info_parse(&request, invocation))
        return invocation->exit;
    if (request.channel != NULL)
        channel_name_warn(request.channel);
    http_init(&http, &invocation->target, -1);
    int exit_code = info_run(&http, &request);
    http_fini(&http);
    return exit_code;
}
