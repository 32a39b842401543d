/* top.c - `longwire top`: a live table of the nodes of a cluster.
 *
 * Each round asks one node for the list of all (GET /v1/nodes), and each node that is up for its /metrics. Where a node can be
 * asked is what `allocate` says, because the list has no addresses; it is asked again while a node's is not known. */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/must.h"
#include "longwire/command.h"
#include "longwire/http.h"
#include "longwire/node_rates.h"
#include "longwire/print.h"
#include "longwire/stop_fd.h"

enum { TOP_NODES_MAX = 1024, TOP_NAME_MAX = 64, TOP_URL_MAX = 1023, TOP_ANSWER_MS = 2000, TOP_INTERVAL_MS = 2000,
       TOP_ALLOCATE_TRIES = 5 };

/* A row of names of up to 14 letters has 80 columns, as a terminal has that nobody made wider. */
enum { TOP_NAME_WIDTH = 15, TOP_STATE_WIDTH = 9, TOP_NUMBER_WIDTH = 8 };

struct top_node {
    char               name[TOP_NAME_MAX + 1];
    char               state[16];
    uint64_t           connections;
    char               url[TOP_URL_MAX + 1];  /* empty: not known */
    struct node_sample before, now;
};

struct top {
    uint64_t        count;  /* tables to print; 0: no end */
    msec            interval_ms;
    struct http     http;       /* to the server that is asked for all nodes */
    struct http     node_http;  /* to each node in turn */
    struct printer  printer;
    struct buf      decoded, text;
    struct top_node *nodes, *former;  /* TOP_NODES_MAX each: of this round, and of the one before */
    size_t          node_count, former_count;
};

static void copy_text(char *ret, size_t size, struct span text)
{
    size_t len = text.len < size - 1 ? text.len : size - 1;

    memcpy(ret, text.at, len);
    ret[len] = '\0';
}

static struct top_node *top_find(struct top_node *nodes, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++)
        if (span_eq(span_str(nodes[i].name), name))
            return &nodes[i];
    return NULL;
}

/* --- asking --------------------------------------------------------------------------------------------------------- */

/* False: it could not be had; *ret_exit, if it isn't NULL, says how to leave, and that has been printed. */
static bool top_ask(struct http *http, const char *path, struct http_answer *ret, int *ret_exit)
{
    struct http_request request = { .method = "GET", .path = path, .until = msec_now() + TOP_ANSWER_MS };

    http_ask(http, &request, ret);
    bool is_fine = ret->end == HTTP_DONE && http_is_2xx(ret);
    if (!is_fine && ret_exit != NULL)
        *ret_exit = ret->end == HTTP_INTERRUPTED ? EXIT_FINE : http_complain(http, ret);
    return is_fine;
}

static bool top_on_node(void *arg, struct span element)
{
    struct top  *top  = arg;
    struct field at[] = { { .name = "node" }, { .name = "state" }, { .name = "connections" } };

    if (!fields_read(element, at, 3, &top->decoded) || !field_is_string(&at[0]) || !field_is_string(&at[1]))
        return false;
    if (top->node_count == TOP_NODES_MAX)
        return true;
    struct top_node *node   = &top->nodes[top->node_count++];
    struct top_node *former = top_find(top->former, top->former_count, at[0].text);
    *node                   = (struct top_node){ .state = "" };
    copy_text(node->name, sizeof node->name, at[0].text);
    copy_text(node->state, sizeof node->state, at[1].text);
    (void)field_u64(&at[2], &node->connections);
    if (former != NULL) {
        memcpy(node->url, former->url, sizeof node->url);
        node->before = former->now;
    }
    return true;
}

static bool top_on_address(void *arg, struct span element)
{
    struct top  *top  = arg;
    struct field at[] = { { .name = "node" }, { .name = "http" }, { .name = "https" } };

    if (!fields_read(element, at, 3, &top->decoded) || !field_is_string(&at[0]))
        return false;
    struct top_node *node = top_find(top->nodes, top->node_count, at[0].text);
    struct span      url  = field_is_string(&at[1]) ? at[1].text : at[2].text;
    if (node != NULL && (field_is_string(&at[1]) || field_is_string(&at[2])) && url.len <= TOP_URL_MAX)
        copy_text(node->url, sizeof node->url, url);
    return true;
}

static bool top_knows_all(const struct top *top)
{
    for (size_t i = 0; i < top->node_count; i++)
        if (top->nodes[i].url[0] == '\0' && strcmp(top->nodes[i].state, "up") == 0)
            return false;
    return true;
}

/* Each answer names a few nodes, drawn by chance. */
static void top_ask_addresses(struct top *top)
{
    for (size_t tries = 0; tries < TOP_ALLOCATE_TRIES && !top_knows_all(top); tries++) {
        struct http_answer answer;
        bool               is_fine = top_ask(&top->http, "/v1/allocate", &answer, NULL) &&
                                     elements_each(buf_span(&answer.body), "nodes", top_on_address, top);
        http_answer_fini(&answer);
        if (!is_fine)
            return;
    }
}

static void top_ask_metrics(struct top *top, struct top_node *node)
{
    struct http_answer answer;

    if (node->url[0] == '\0' || strcmp(node->state, "lost") == 0)
        return;
    top->node_http.server = node->url;
    if (top_ask(&top->node_http, "/metrics", &answer, NULL))
        node_sample_read(&node->now, buf_span(&answer.body), msec_now());
    http_answer_fini(&answer);
}

/* False: *ret_exit says how to leave. */
static bool top_ask_all(struct top *top, int *ret_exit)
{
    struct top_node   *nodes = top->former;
    struct http_answer answer;

    top->former       = top->nodes;
    top->former_count = top->node_count;
    top->nodes        = nodes;
    top->node_count   = 0;
    bool is_fine      = top_ask(&top->http, "/v1/nodes", &answer, ret_exit);
    if (is_fine && !elements_each(buf_span(&answer.body), "nodes", top_on_node, top)) {
        say("the answer can't be understood: is this a Longwire server?");
        *ret_exit = EXIT_REFUSED;
        is_fine   = false;
    }
    http_answer_fini(&answer);
    if (!is_fine)
        return false;
    top_ask_addresses(top);
    for (size_t i = 0; i < top->node_count; i++)
        top_ask_metrics(top, &top->nodes[i]);
    return true;
}

/* --- printing ------------------------------------------------------------------------------------------------------- */

static void put_right(struct buf *buf, size_t width, struct span text)
{
    buf_putf(buf, "%*s%.*s", text.len < width ? (int)(width - text.len) : 0, "", SPAN_ARG(text));
}

static void put_number(struct buf *buf, double number)
{
    struct buf text;

    buf_init(&text, 64);
    node_number_put(&text, number);
    put_right(buf, TOP_NUMBER_WIDTH, buf_span(&text));
    buf_fini(&text);
}

static void top_put_row(struct top *top, const struct top_node *node, size_t name_width)
{
    struct buf *buf   = &top->text;
    size_t      begin = buf->len;

    put_visible(buf, span_str(node->name));
    buf_putf(buf, "%*s", buf->len - begin < name_width ? (int)(name_width - (buf->len - begin)) : 1, "");
    buf_putf(buf, "%-*s", TOP_STATE_WIDTH, node->state);
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        if (node->now.is_there)
            put_number(buf, node_number_shown(&node->before, &node->now, i));
        else
            put_right(buf, TOP_NUMBER_WIDTH, SPAN("-"));
    }
    buf_putc(buf, '\n');
}

static void top_put_json(struct top *top, const struct top_node *node)
{
    struct buf *buf = &top->text;

    buf_put_lit(buf, "{\"node\":");
    json_put_string(buf, span_str(node->name));
    buf_put_lit(buf, ",\"state\":");
    json_put_string(buf, span_str(node->state));
    buf_putf(buf, ",\"connections\":%llu", (unsigned long long)node->connections);
    for (size_t i = 0; i < NUMBER_COUNT && node->now.is_there; i++)
        buf_putf(buf, ",\"%s\":%.3g", node_columns[i].json, node_number_shown(&node->before, &node->now, i));
    buf_put_lit(buf, "}\n");
}

/* That of the longest name, and of the blank behind it. */
static size_t top_name_width(const struct top *top)
{
    size_t width = TOP_NAME_WIDTH;

    for (size_t i = 0; i < top->node_count; i++)
        if (strlen(top->nodes[i].name) >= width)
            width = strlen(top->nodes[i].name) + 1;
    return width;
}

/* How many nodes have room on the terminal, below the titles and above the line that counts the others. */
static size_t top_room(const struct top *top, size_t name_width)
{
    struct winsize size;
    const size_t   width = name_width + TOP_STATE_WIDTH + NUMBER_COUNT * TOP_NUMBER_WIDTH;

    if (!top->printer.is_tty || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
        return SIZE_MAX;
    const size_t lines = (width + size.ws_col - 1) / size.ws_col;  /* of the terminal, that one row takes */
    const size_t rows  = (size.ws_row - 1U) / lines;               /* the cursor stands in the last line */
    if (top->node_count + 1 <= rows)
        return SIZE_MAX;
    return rows > 3 ? rows - 2 : 1;
}

/* Those that are up, or the others, while there is room; returns how many it has left out. */
static size_t top_put_rows(struct top *top, size_t name_width, bool are_up, size_t *room)
{
    size_t left_out = 0;

    for (size_t i = 0; i < top->node_count; i++) {
        const struct top_node *node = &top->nodes[i];
        if ((strcmp(node->state, "up") == 0) != are_up)
            continue;
        if (*room > 0)
            top_put_row(top, node, name_width);
        else
            left_out++;
        *room -= *room > 0;
    }
    return left_out;
}

/* Where not all have room, those that are not up come first: a lost node is what one looks for. */
static void top_put_fitting(struct top *top, size_t name_width, size_t room)
{
    size_t left_out = top_put_rows(top, name_width, false, &room);

    left_out += top_put_rows(top, name_width, true, &room);
    buf_putf(&top->text, "%zu more not shown: longwire top -n 2 | less\n", left_out);
}

static void top_put_table(struct top *top)
{
    struct buf  *buf        = &top->text;
    const size_t name_width = top_name_width(top);
    const size_t room       = top_room(top, name_width);

    if (top->printer.is_tty)
        buf_put_lit(buf, "\033[H\033[2J");
    buf_putf(buf, "%-*s%-*s", (int)name_width, "NODE", TOP_STATE_WIDTH, "STATE");
    for (size_t i = 0; i < NUMBER_COUNT; i++)
        put_right(buf, TOP_NUMBER_WIDTH, span_str(node_columns[i].title));
    buf_putc(buf, '\n');
    if (room < top->node_count)
        top_put_fitting(top, name_width, room);
    for (size_t i = 0; i < top->node_count && room >= top->node_count; i++)
        top_put_row(top, &top->nodes[i], name_width);
}

/* False: leave, with *ret_exit. */
static bool top_print(struct top *top, int *ret_exit)
{
    buf_clear(&top->text);
    if (top->printer.format == FORMAT_JSON)
        for (size_t i = 0; i < top->node_count; i++)
            top_put_json(top, &top->nodes[i]);
    else
        top_put_table(top);
    printer_write(&top->printer, buf_span(&top->text));
    enum printed printed = printer_flush(&top->printer);
    *ret_exit            = printed == PRINTED_FAILED ? EXIT_REFUSED : EXIT_FINE;
    return printed == PRINTED;
}

/* --- the command ---------------------------------------------------------------------------------------------------- */

static bool top_option(void *arg, int option, const char *value)
{
    struct top *top = arg;

    switch (option) {
    case OPTION_COUNT: return cli_u64("--count", value, &top->count);
    case OPTION_INTERVAL:
        if (!cli_duration("--interval", value, &top->interval_ms))
            return false;
        if (top->interval_ms < 100)
            say("--interval is 100ms at least, not \"%s\"", value);
        return top->interval_ms >= 100;
    default: top->printer.format = FORMAT_JSON; return true;
    }
}

/* False: leave, with *ret_exit. Who watches without end waits for a server that goes away: a restart is what one watches for. */
static bool top_round(struct top *top, uint64_t *tables, int *ret_exit)
{
    if (top_ask_all(top, ret_exit))
        return top_print(top, ret_exit) && ++*tables != top->count;
    const bool may_come = *tables > 0 && top->count == 0 && (*ret_exit == EXIT_UNREACHED || *ret_exit == EXIT_TIMEOUT);
    if (may_come)
        *ret_exit = EXIT_FINE;
    return may_come;
}

static int top_run(struct top *top, const struct target *target)
{
    int exit_code = EXIT_FINE, stop_fd = stop_fd_open();

    http_init(&top->http, target, stop_fd);
    http_init(&top->node_http, target, stop_fd);
    top->node_http.server_count = 1;
    top->nodes  = calloc(TOP_NODES_MAX, sizeof *top->nodes);
    top->former = calloc(TOP_NODES_MAX, sizeof *top->former);
    must(top->nodes != NULL && top->former != NULL);
    for (uint64_t tables = 0; top_round(top, &tables, &exit_code);)
        if (!http_sleep(&top->http, top->interval_ms, 0))
            break;
    free(top->nodes);
    free(top->former);
    http_fini(&top->node_http);
    http_fini(&top->http);
    close(stop_fd);
    return exit_code;
}

int command_top(struct invocation *invocation)
{
    struct top top = { .interval_ms = TOP_INTERVAL_MS };

    printer_init(&top.printer);
    buf_init(&top.decoded, HTTP_BODY_BYTES_MAX);
    buf_init(&top.text, HTTP_BODY_BYTES_MAX);
    if (invocation_read(invocation, top_option, &top))
        invocation->exit = top_run(&top, &invocation->target);
    buf_fini(&top.decoded);
    buf_fini(&top.text);
    printer_fini(&top.printer);
    return invocation->exit;
}
