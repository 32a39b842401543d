/* channels.c - `longwire channels`: lists channels by name, page by page. */
#include "longwire/command.h"
#include "longwire/http.h"
#include "longwire/print.h"

enum { LIST_PAGE_MAX = 1000, NAME_BYTES_MAX = 4096 };

enum { LISTED_CHANNEL, LISTED_EPOCH, LISTED_FIRST, LISTED_HEAD, LISTED_BYTES, LISTED_SUBSCRIBERS, LISTED_COUNT };

static const char *const listed_names[LISTED_COUNT + 1] = {
    [LISTED_CHANNEL] = "channel", [LISTED_EPOCH] = "epoch", [LISTED_FIRST] = "first",
    [LISTED_HEAD] = "head",       [LISTED_BYTES] = "bytes", [LISTED_SUBSCRIBERS] = "subscribers",
    [LISTED_COUNT] = "json",      /* the whole object; a field of templates alone */
};

struct channels {
    const char    *prefix;     /* NULL: all */
    uint64_t       limit;      /* 0: none */

    struct http    http;
    struct printer printer;
    struct buf     decoded;
    struct buf     next;       /* the name behind which the next page begins; empty: the first page */
    struct buf     text;       /* of one page */
    uint64_t       count;
    bool           is_over;
    int            exit;
};

static void channels_leave(struct channels *channels, int exit_code)
{
    channels->is_over = true;
    channels->exit    = exit_code;
}

/* --- one channel ------------------------------------------------------------------------------------------------ */

struct listed {
    struct span  object;
    struct field at[LISTED_COUNT];
    bool         is_tty;
};

static void listed_put(const void *arg, int field, struct buf *buf)
{
    const struct listed *listed = arg;
    struct span          text   = field == LISTED_COUNT ? listed->object : listed->at[field].text;
    if (listed->is_tty)
        put_visible(buf, text);
    else
        buf_put(buf, text);
}

/* The numbers of a terminal stand below one another, and the name, which can be long, behind them. */
static void listed_put_row(const struct listed *listed, struct buf *buf)
{
    static const struct { int field, width; } columns[] = {
        { LISTED_HEAD, 12 }, { LISTED_FIRST, 12 }, { LISTED_BYTES, 14 }, { LISTED_SUBSCRIBERS, 12 },
    };
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        buf_putf(buf, "%*.*s", columns[i].width, SPAN_ARG(listed->at[columns[i].field].text));
    buf_put_lit(buf, "  ");
    listed_put(listed, LISTED_CHANNEL, buf);
}

static bool channels_on_element(void *arg, struct span element)
{
    struct channels *channels = arg;
    struct printer  *printer  = &channels->printer;
    struct buf      *text     = &channels->text;
    struct listed    listed   = { .object = element, .is_tty = printer->is_tty };

    if (channels->limit != 0 && channels->count == channels->limit)
        return true;
    for (size_t i = 0; i < LISTED_COUNT; i++)
        listed.at[i].name = listed_names[i];
    if (!fields_read(element, listed.at, LISTED_COUNT, &channels->decoded) ||
        !field_is_string(&listed.at[LISTED_CHANNEL]))
        return false;
    channels->count++;
    if (printer->format == FORMAT_JSON)
        buf_put(text, element);
    else if (printer->format == FORMAT_TEMPLATE)
        template_put(&printer->template, listed_put, &listed, text);
    else if (printer->is_tty)
        listed_put_row(&listed, text);
    else
        buf_put(text, listed.at[LISTED_CHANNEL].text);
    buf_putc(text, '\n');
    return true;
}

/* --- one page --------------------------------------------------------------------------------------------------- */

static void channels_put_path(const struct channels *channels, struct buf *path)
{
    uint64_t left = channels->limit - channels->count;
    uint64_t page = channels->limit == 0 || left > LIST_PAGE_MAX ? LIST_PAGE_MAX : left;

    buf_putf(path, "/v1/channels?limit=%llu", (unsigned long long)page);
    if (channels->prefix != NULL) {
        buf_put_lit(path, "&prefix=");
        http_put_encoded(path, span_str(channels->prefix));
    }
    if (channels->next.len > 0) {
        buf_put_lit(path, "&after=");
        http_put_encoded(path, buf_span(&channels->next));
    }
    buf_putc(path, '\0');
}

/* False: `body` is no page. */
static bool channels_take_page(struct channels *channels, struct span body)
{
    struct field next = { .name = "next" };

    if (!elements_each(body, "channels", channels_on_element, channels) ||
        !fields_read(body, &next, 1, &channels->decoded))
        return false;
    bool is_more = field_is_string(&next) && next.text.len > 0 && !span_eq(next.text, buf_span(&channels->next));
    buf_clear(&channels->next);
    if (is_more)
        buf_put(&channels->next, next.text);
    if (!is_more || buf_is_over(&channels->next) || (channels->limit != 0 && channels->count == channels->limit))
        channels_leave(channels, EXIT_FINE);
    return true;
}

static void channels_print(struct channels *channels)
{
    printer_write(&channels->printer, buf_span(&channels->text));
    buf_clear(&channels->text);
    switch (printer_flush(&channels->printer)) {
    case PRINTED: break;
    case PRINTED_CLOSED: channels_leave(channels, EXIT_FINE); break;
    case PRINTED_FAILED: channels_leave(channels, EXIT_REFUSED); break;
    }
}

static void channels_page(struct channels *channels)
{
    struct http_answer answer;
    struct buf         path;

    buf_init(&path, HTTP_PATH_BYTES_MAX);
    channels_put_path(channels, &path);
    struct http_request request = { .method = "GET", .path = path.at, .accept = "application/json" };
    http_ask(&channels->http, &request, &answer);
    bool is_page = answer.end == HTTP_DONE && http_is_2xx(&answer) &&
                   channels_take_page(channels, buf_span(&answer.body));
    if (!is_page)
        channels_leave(channels, http_complain(&channels->http, &answer));
    else
        channels_print(channels);
    http_answer_fini(&answer);
    buf_fini(&path);
}

/* --- the command ------------------------------------------------------------------------------------------------ */

static bool channels_option(void *arg, int option, const char *value)
{
    struct channels *channels = arg;
    switch (option) {
    case OPTION_COUNT: return cli_u64("--limit", value, &channels->limit);
    case OPTION_FORMAT:
        return printer_take_template(&channels->printer, value, listed_names, LISTED_COUNT + 1);
    default: channels->printer.format = FORMAT_JSON; return true;
    }
}

static int channels_run(struct channels *channels, const struct target *target)
{
    struct printer *printer = &channels->printer;

    http_init(&channels->http, target, -1);
    if (printer->is_tty && printer->format == FORMAT_TEXT)
        printer_write(printer, SPAN("        HEAD       FIRST         BYTES SUBSCRIBERS  CHANNEL\n"));
    while (!channels->is_over)
        channels_page(channels);
    http_fini(&channels->http);
    return channels->exit;
}

int command_channels(struct invocation *invocation)
{
    struct channels channels = { .limit = 0 };

    printer_init(&channels.printer);
    buf_init(&channels.decoded, HTTP_BODY_BYTES_MAX);
    buf_init(&channels.next, NAME_BYTES_MAX);
    buf_init(&channels.text, (size_t)8 * HTTP_BODY_BYTES_MAX);
    if (invocation_read(invocation, channels_option, &channels)) {
        channels.prefix  = invocation->word_count > 0 ? invocation->words[0] : NULL;
        invocation->exit = channels_run(&channels, &invocation->target);
    }
    buf_fini(&channels.decoded);
    buf_fini(&channels.next);
    buf_fini(&channels.text);
    printer_fini(&channels.printer);
    return invocation->exit;
}
