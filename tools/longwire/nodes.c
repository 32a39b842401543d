/* nodes.c - `longwire nodes`: the nodes of the cluster, as one of them knows them. */
#include "longwire/command.h"
#include "longwire/duration.h"
#include "longwire/http.h"
#include "longwire/print.h"

enum { LISTED_NODE_FIELDS = 9 };

static const char *const listed_node_names[LISTED_NODE_FIELDS + 1] = {
    "node", "state", "region", "roles", "connections", "capacity", "version", "incarnation", "seen",
    "json",  /* the whole object; a field of templates alone */
};

enum { NODE_NAME, NODE_STATE, NODE_REGION, NODE_ROLES, NODE_CONNECTIONS, NODE_CAPACITY, NODE_VERSION, NODE_INCARNATION, NODE_SEEN };

struct node_list {
    struct printer printer;
    struct buf     decoded, text;
};

struct listed_node {
    struct span  object;
    struct field at[LISTED_NODE_FIELDS];
    bool         is_tty;
};

static void listed_node_put(const void *arg, int field, struct buf *buf)
{
    const struct listed_node *node = arg;
    struct span               text = field == LISTED_NODE_FIELDS ? node->object : node->at[field].text;

    if (node->is_tty)
        put_visible(buf, text);
    else
        buf_put(buf, text);
}

/* The name stands first, because it is what one looks for. */
static void listed_node_put_row(const struct listed_node *node, struct buf *buf)
{
    static const struct { int field, width; } columns[] = {
        { NODE_NAME, -20 }, { NODE_STATE, -9 }, { NODE_CONNECTIONS, 11 }, { NODE_CAPACITY, 10 },
    };
    uint64_t seen = 0;

    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        size_t before = buf->len;
        int    width  = columns[i].width < 0 ? -columns[i].width : columns[i].width;
        size_t len    = node->at[columns[i].field].text.len;
        if (columns[i].width > 0)
            buf_putf(buf, "%*s", len < (size_t)width ? width - (int)len : 0, "");
        listed_node_put(node, columns[i].field, buf);
        if (columns[i].width < 0)
            buf_putf(buf, "%*s", buf->len - before < (size_t)width ? width - (int)(buf->len - before) : 0, "");
        buf_putc(buf, ' ');
    }
    (void)field_u64(&node->at[NODE_SEEN], &seen);
    moment_put_local(buf, seen);
    buf_put_lit(buf, "  ");
    listed_node_put(node, NODE_VERSION, buf);
    buf_put_lit(buf, "  ");
    listed_node_put(node, NODE_REGION, buf);
}

static bool nodes_on_element(void *arg, struct span element)
{
    struct node_list  *list = arg;
    struct listed_node node = { .object = element, .is_tty = list->printer.is_tty };

    for (size_t i = 0; i < LISTED_NODE_FIELDS; i++)
        node.at[i].name = listed_node_names[i];
    if (!fields_read(element, node.at, LISTED_NODE_FIELDS, &list->decoded) || !field_is_string(&node.at[NODE_NAME]))
        return false;
    if (list->printer.format == FORMAT_JSON)
        buf_put(&list->text, element);
    else if (list->printer.format == FORMAT_TEMPLATE)
        template_put(&list->printer.template, listed_node_put, &node, &list->text);
    else
        listed_node_put_row(&node, &list->text);
    buf_putc(&list->text, '\n');
    return true;
}

static bool nodes_option(void *arg, int option, const char *value)
{
    struct node_list *list = arg;

    if (option == OPTION_FORMAT)
        return printer_take_template(&list->printer, value, listed_node_names, LISTED_NODE_FIELDS + 1);
    list->printer.format = FORMAT_JSON;
    return true;
}

static int nodes_run(struct node_list *list, const struct target *target)
{
    struct http_request request   = { .method = "GET", .path = "/v1/nodes", .accept = "application/json" };
    struct http_answer  answer;
    struct http         http;
    int                 exit_code = EXIT_FINE;

    http_init(&http, target, -1);
    if (list->printer.format == FORMAT_TEXT)
        buf_put_lit(&list->text, "NODE                 STATE     CONNECTIONS   CAPACITY SEEN                     VERSION  REGION\n");
    http_ask(&http, &request, &answer);
    if (answer.end != HTTP_DONE || !http_is_2xx(&answer)) {
        exit_code = http_complain(&http, &answer);
    } else if (!elements_each(buf_span(&answer.body), "nodes", nodes_on_element, list)) {
        say("the answer can't be understood: is this a Longwire server?");
        exit_code = EXIT_REFUSED;
    } else {
        printer_write(&list->printer, buf_span(&list->text));
        exit_code = printer_flush(&list->printer) == PRINTED_FAILED ? EXIT_REFUSED : EXIT_FINE;
    }
    http_answer_fini(&answer);
    http_fini(&http);
    return exit_code;
}

int command_nodes(struct invocation *invocation)
{
    struct node_list list = { 0 };

    printer_init(&list.printer);
    buf_init(&list.decoded, HTTP_BODY_BYTES_MAX);
    buf_init(&list.text, (size_t)2 * HTTP_BODY_BYTES_MAX);
    if (invocation_read(invocation, nodes_option, &list))
        invocation->exit = nodes_run(&list, &invocation->target);
    buf_fini(&list.decoded);
    buf_fini(&list.text);
    printer_fini(&list.printer);
    return invocation->exit;
}
