/* info.c - `longwire info` and `longwire recall`: one request, one short answer. */
#include <stdio.h>

#include "base/must.h"
#include "longwire/http.h"
#include "longwire/print.h"

enum { PATH_BYTES_MAX = 64 * 1024, CHANNEL_BYTES_MAX = 1024 };

static const char info_help[] =
    "longwire info [CHANNEL] [options] - how the server is, or a channel\n"
    "\n"
    "Without CHANNEL: whether the server lives and is ready to serve, and what it says of\n"
    "itself (version and so on). With CHANNEL: the channel's head, first kept message, epoch,\n"
    "subscribers, bytes. One `name value` a line.\n"
    "\n"
    "  --format FORMAT  text (the default), or json: the server's answer as it came\n"
    CLI_COMMON_HELP
    "\n"
    CLI_EXIT_HELP
    "1 also if the server lives but is not ready, or if the channel was never used.\n"
    "\n"
    "Examples\n"
    "  longwire info\n"
    "  longwire info topic:prices\n"
    "  longwire info topic:prices --format json | jq .head\n";

static const char recall_help[] =
    "longwire recall CHANNEL SEQ [options] - take a message back\n"
    "\n"
    "Its place in the log remains, its data is gone. Those who follow the channel are told, so\n"
    "that they can remove what they show.\n"
    "\n"
    CLI_COMMON_HELP
    "\n"
    CLI_EXIT_HELP
    "\n"
    "Examples\n"
    "  longwire recall topic:prices 42\n";

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

    buf_init(&path, PATH_BYTES_MAX);
    buf_put_lit(&path, "/v1/channels/");
    http_put_encoded(&path, span_str(channel));
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

static int info_server(struct http *http, enum format format, struct buf *text)
{
    if (format == FORMAT_TEXT)
        buf_putf(text, "server %.*s\n", (int)http->server_len, http->server);
    int exit_code = info_health(http, "/healthz", "alive", format, text);
    if (exit_code == EXIT_UNREACHED)
        return exit_code;
    int ready = info_health(http, "/readyz", "ready", format, text);
    return exit_code != EXIT_FINE ? exit_code : ready;
}

static const struct option info_options[] = {
    { "format", required_argument, NULL, 'f' },
    CLI_COMMON_OPTIONS,
};

static bool info_parse(struct target *target, enum format *format, int argc, char **argv, int *ret_exit)
{
    int option;
    while ((option = getopt_long(argc, argv, "", info_options, NULL)) != -1) {
        if (option != 'f' && target_option(target, option, info_help, ret_exit) == OPTION_END)
            return false;
        *ret_exit = EXIT_USAGE;
        if (option == 'f' && !format_parse(optarg, format))
            return false;
    }
    *ret_exit = EXIT_USAGE;
    if (argc - optind > 1 || (argc - optind == 1 && strlen(argv[optind]) > CHANNEL_BYTES_MAX)) {
        say("one channel at most. For instance: longwire info topic:prices");
        return false;
    }
    return target_is_sound(target);
}

int command_info(int argc, char **argv)
{
    struct target  target;
    enum format    format = FORMAT_TEXT;
    struct http    http;
    struct printer printer;
    struct buf     text;
    int            exit_code;

    target_init(&target);
    if (!info_parse(&target, &format, argc, argv, &exit_code))
        return exit_code;
    http_init(&http, &target, -1);
    printer_init(&printer, format);
    buf_init(&text, (size_t)4 * HTTP_BODY_BYTES_MAX);
    exit_code = optind < argc ? info_channel(&http, argv[optind], format, &text) : info_server(&http, format, &text);
    if (exit_code != EXIT_UNREACHED)
        exit_code = print_text(&printer, &text, exit_code);
    buf_fini(&text);
    printer_fini(&printer);
    http_fini(&http);
    return exit_code;
}

/* --- recall ------------------------------------------------------------------------------------------------------- */

static const struct option recall_options[] = {
    CLI_COMMON_OPTIONS,
};

static bool recall_parse(struct target *target, int argc, char **argv, uint64_t *ret_seq, int *ret_exit)
{
    int option;
    while ((option = getopt_long(argc, argv, "", recall_options, NULL)) != -1)
        if (target_option(target, option, recall_help, ret_exit) == OPTION_END)
            return false;
    *ret_exit = EXIT_USAGE;
    if (argc - optind != 2 || strlen(argv[optind]) > CHANNEL_BYTES_MAX) {
        say("which channel, and which message? For instance: longwire recall topic:prices 42");
        return false;
    }
    return cli_u64("SEQ", argv[optind + 1], ret_seq) && target_is_sound(target);
}

int command_recall(int argc, char **argv)
{
    struct target      target;
    struct http        http;
    struct http_answer answer;
    struct buf         path;
    uint64_t           seq;
    int                exit_code;

    target_init(&target);
    if (!recall_parse(&target, argc, argv, &seq, &exit_code))
        return exit_code;
    buf_init(&path, PATH_BYTES_MAX);
    buf_put_lit(&path, "/v1/channels/");
    http_put_encoded(&path, span_str(argv[optind]));
    buf_putf(&path, "/messages/%llu", (unsigned long long)seq);
    buf_putc(&path, '\0');
    struct http_request request = { .method = "DELETE", .path = path.at, .accept = "application/json" };

    http_init(&http, &target, -1);
    http_ask(&http, &request, &answer);
    exit_code = EXIT_FINE;
    if (answer.end == HTTP_DONE && http_is_2xx(&answer))
        printf("recalled %s %llu\n", argv[optind], (unsigned long long)seq);
    else
        exit_code = http_complain(&http, &answer);
    http_answer_fini(&answer);
    http_fini(&http);
    buf_fini(&path);
    return exit_code;
}
