/* backlog.c - `longwire backlog`: what forwarders and webhooks have yet to send, on each node. */
#include <time.h>

#include "longwire/command.h"
#include "longwire/duration.h"
#include "longwire/http.h"
#include "longwire/print.h"

enum { BACKLOG_FIELDS = 12 };

enum {
    BACKLOG_FORWARDER, BACKLOG_CHANNELS, BACKLOG_PARTS, BACKLOG_BACKLOG, BACKLOG_OLDEST, BACKLOG_UNDER_WAY, BACKLOG_PAUSED_UNTIL,
    BACKLOG_BATCHES, BACKLOG_MESSAGES, BACKLOG_RETRIES, BACKLOG_REFUSALS, BACKLOG_DEAD, BACKLOG_NODE, BACKLOG_JSON,
};

/* The last two are not members of the object. */
static const char *const backlog_names[] = {
    "forwarder", "channels", "parts", "backlog", "oldest", "under_way", "paused_until", "batches", "messages", "retries", "refusals",
    "dead", "node", "json",
};

struct backlog {
    struct printer printer;
    struct buf     decoded, text;
    struct span    node;  /* whose forwarders are read */
};

struct backlog_row {
    struct span  object, node;
    struct field at[BACKLOG_FIELDS];
    bool         is_tty;
};

static void backlog_put(const void *arg, int field, struct buf *buf)
{
    const struct backlog_row *row  = arg;
    struct span               text = field == BACKLOG_JSON ? row->object : field == BACKLOG_NODE ? row->node : row->at[field].text;

    if (row->is_tty)
        put_visible(buf, text);
    else
        buf_put(buf, text);
}

static void put_padded(const struct backlog_row *row, int field, int width, struct buf *buf)
{
    size_t len = field == BACKLOG_NODE ? row->node.len : row->at[field].text.len;

    if (width > 0)
        buf_putf(buf, "%*s", len < (size_t)width ? width - (int)len : 0, "");
    backlog_put(row, field, buf);
    if (width < 0)
        buf_putf(buf, "%*s", len < (size_t)-width ? -width - (int)len : 0, "");
    buf_putc(buf, ' ');
}

/* How old the oldest message is that waits; "-" if none does. */
static void put_age(const struct backlog_row *row, struct buf *buf)
{
    uint64_t oldest = 0;
    time_t   now    = time(NULL);
    char     text[32];

    (void)field_u64(&row->at[BACKLOG_OLDEST], &oldest);
    if (oldest == 0 || (uint64_t)now * 1000 < oldest)
        snprintf(text, sizeof text, "%s", oldest == 0 ? "-" : "0s");
    else
        snprintf(text, sizeof text, "%llus", (unsigned long long)((uint64_t)now - oldest / 1000));
    buf_putf(buf, "%8s ", text);
}

static void backlog_put_row(const struct backlog_row *row, struct buf *buf)
{
    uint64_t paused_until = 0;

    put_padded(row, BACKLOG_FORWARDER, -20, buf);
    put_padded(row, BACKLOG_NODE, -12, buf);
    put_padded(row, BACKLOG_BACKLOG, 10, buf);
    put_age(row, buf);
    put_padded(row, BACKLOG_UNDER_WAY, 9, buf);
    put_padded(row, BACKLOG_PARTS, 5, buf);
    put_padded(row, BACKLOG_RETRIES, 8, buf);
    put_padded(row, BACKLOG_DEAD, 6, buf);
    if (!field_u64(&row->at[BACKLOG_PAUSED_UNTIL], &paused_until) || paused_until == 0)
        buf_put_lit(buf, "-");
    else
        moment_put_local(buf, paused_until);
}

static bool backlog_on_forwarder(void *arg, struct span element)
{
    struct backlog    *backlog = arg;
    struct backlog_row row     = { .object = element, .node = backlog->node, .is_tty = backlog->printer.is_tty };

    for (size_t i = 0; i < BACKLOG_FIELDS; i++)
        row.at[i].name = backlog_names[i];
    if (!fields_read(element, row.at, BACKLOG_FIELDS, &backlog->decoded) || !field_is_string(&row.at[BACKLOG_FORWARDER]))
        return false;
    if (backlog->printer.format == FORMAT_JSON)
        buf_put(&backlog->text, element);
    else if (backlog->printer.format == FORMAT_TEMPLATE)
        template_put(&backlog->printer.template, backlog_put, &row, &backlog->text);
    else
        backlog_put_row(&row, &backlog->text);
    buf_putc(&backlog->text, '\n');
    return true;
}

static bool backlog_on_node(void *arg, struct span element)
{
    struct backlog *backlog = arg;
    struct field    node    = { .name = "node" };
    struct buf      name;

    buf_init(&name, HTTP_CHANNEL_BYTES_MAX);
    bool is_good = fields_read(element, &node, 1, &backlog->decoded) && field_is_string(&node);
    if (is_good)
        buf_put(&name, node.text);
    backlog->node = buf_span(&name);
    is_good       = is_good && elements_each(element, "forwarders", backlog_on_forwarder, backlog);
    buf_fini(&name);
    return is_good;
}

static bool backlog_option(void *arg, int option, const char *value)
{
    struct backlog *backlog = arg;

    if (option == OPTION_FORMAT)
        return printer_take_template(&backlog->printer, value, backlog_names, sizeof backlog_names / sizeof *backlog_names);
    backlog->printer.format = FORMAT_JSON;
    return true;
}

/* A node that did not answer may carry more. */
static void backlog_warn(struct span body, struct buf *decoded)
{
    struct field incomplete = { .name = "incomplete" };

    if (fields_read(body, &incomplete, 1, decoded) && incomplete.is_there)
        say("a node did not answer: what it carries is missing here");
}

static int backlog_run(struct backlog *backlog, const struct target *target)
{
    struct http_request request   = { .method = "GET", .path = "/v1/forwarders", .accept = "application/json" };
    struct http_answer  answer;
    struct http         http;
    int                 exit_code = EXIT_FINE;

    http_init(&http, target, -1);
    if (backlog->printer.format == FORMAT_TEXT)
        buf_put_lit(&backlog->text,
                    "FORWARDER            NODE            BACKLOG      AGE UNDER WAY PARTS  RETRIES   DEAD PAUSED UNTIL\n");
    http_ask(&http, &request, &answer);
    if (answer.end != HTTP_DONE || !http_is_2xx(&answer)) {
        exit_code = http_complain(&http, &answer);
    } else if (!elements_each(buf_span(&answer.body), "nodes", backlog_on_node, backlog)) {
        say("the answer can't be understood: is this a Longwire server?");
        exit_code = EXIT_REFUSED;
    } else {
        backlog_warn(buf_span(&answer.body), &backlog->decoded);
        printer_write(&backlog->printer, buf_span(&backlog->text));
        exit_code = printer_flush(&backlog->printer) == PRINTED_FAILED ? EXIT_REFUSED : EXIT_FINE;
    }
    http_answer_fini(&answer);
    http_fini(&http);
    return exit_code;
}

int command_backlog(struct invocation *invocation)
{
    struct backlog backlog = { .node = SPAN("") };

    printer_init(&backlog.printer);
    buf_init(&backlog.decoded, HTTP_BODY_BYTES_MAX);
    buf_init(&backlog.text, (size_t)2 * HTTP_BODY_BYTES_MAX);
    if (invocation_read(invocation, backlog_option, &backlog))
        invocation->exit = backlog_run(&backlog, &invocation->target);
    buf_fini(&backlog.decoded);
    buf_fini(&backlog.text);
    printer_fini(&backlog.printer);
    return invocation->exit;
}
