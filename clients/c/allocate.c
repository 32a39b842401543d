#include "allocate.h"

#include <ctype.h>
#include <string.h>

/* RFC 3986 2.3: what need not be encoded. */
static void put_encoded(struct buf *buf, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (isalnum(byte) || strchr("-._~", byte) != NULL)
            buf_putc(buf, (char)byte);
        else
            buf_putf(buf, "%%%02X", byte);
    }
}

void allocate_put_request(struct buf *buf, const struct server_entry *router, const char *user, const char *region)
{
    bool is_v6 = strchr(router->host, ':') != NULL;

    buf_put_lit(buf, "GET /v1/allocate");
    if (user != NULL) {
        buf_put_lit(buf, "?user=");
        put_encoded(buf, user);
    }
    if (region != NULL) {
        buf_put(buf, span_str(user != NULL ? "&region=" : "?region="));
        put_encoded(buf, region);
    }
    buf_putf(buf, is_v6 ? " HTTP/1.0\r\nHost: [%s]:%s\r\n\r\n" : " HTTP/1.0\r\nHost: %s:%s\r\n\r\n", router->host, router->port);
}

/* --- the answer -------------------------------------------------------------------------------------------------------- */

/* The value of the header, or an empty span. */
static struct span header_of(struct span head, struct span name)
{
    struct span line;

    while (head.len > 0 && span_cut(&head, '\n', &line))
        if (line.len > name.len && line.at[name.len] == ':' && span_eq_nocase(span_head(line, name.len), name))
            return span_trim(span_skip(line, name.len + 1));
    return SPAN("");
}

static bool cut_head(struct span answer, struct span *ret_head, struct span *ret_body)
{
    const char *end = answer.len > 0 ? memmem(answer.at, answer.len, "\r\n\r\n", 4) : NULL;

    if (end == NULL)
        return false;
    *ret_head = span_head(answer, (size_t)(end - answer.at));
    *ret_body = span_skip(answer, ret_head->len + 4);
    return true;
}

static bool is_200(struct span head)
{
    return head.len >= sizeof "HTTP/1.1 200" - 1 && span_starts(head, SPAN("HTTP/1.")) &&
           span_eq(span_head(span_skip(head, sizeof "HTTP/1.1" - 1), 4), SPAN(" 200"));
}

/* Nodes that can't be reached by the native protocol are left out. */
static void add_node(struct server_list *servers, const struct json_doc *doc, const struct json_token *node)
{
    static const struct span names[] = { SPAN("tcp"), SPAN("tcps") };
    struct server_list       one;
    struct buf               scratch;
    struct span              url;

    buf_init(&scratch, ALLOCATE_ANSWER_BYTES_MAX);
    for (size_t i = 0; i < sizeof names / sizeof *names && servers->count < SERVER_COUNT_MAX; i++) {
        if (!json_string(json_member(doc, node, names[i]), &scratch, &url) || server_list_read(url, &one) != NULL)
            continue;
        servers->at[servers->count++] = one.at[0];
        servers->has_tls |= one.at[0].is_tls;
        break;
    }
    buf_fini(&scratch);
}

static enum allocate_verdict read_body(struct span body, struct json_doc *doc, struct allocation *ret)
{
    static const struct json_limits limits = { .depth_kept = 3 };
    uint64_t                        wait_ms = 0;

    if (!json_parse(body, &limits, doc))
        return ALLOCATE_BAD;
    const struct json_token *nodes = json_member(doc, json_root(doc), SPAN("nodes"));
    if (nodes == NULL || nodes->type != JSON_ARRAY)
        return ALLOCATE_BAD;
    *ret = (struct allocation){ .wait_ms = 0 };
    for (const struct json_token *node = json_first(doc, nodes); node != NULL; node = json_next(doc, nodes, node))
        add_node(&ret->servers, doc, node);
    if (json_u64(json_member(doc, json_root(doc), SPAN("wait_ms")), &wait_ms))
        ret->wait_ms = (msec)(wait_ms < ALLOCATE_WAIT_MS_MAX ? wait_ms : ALLOCATE_WAIT_MS_MAX);
    return ALLOCATE_DONE;
}

enum allocate_verdict allocate_read(struct span answer, bool is_ended, struct json_doc *doc, struct allocation *ret)
{
    struct span head, body;
    uint64_t    length;

    if (answer.len > ALLOCATE_ANSWER_BYTES_MAX)
        return ALLOCATE_BAD;
    if (!cut_head(answer, &head, &body))
        return is_ended ? ALLOCATE_BAD : ALLOCATE_MORE;
    if (!is_200(head))
        return ALLOCATE_BAD;
    bool has_length = span_u64(header_of(head, SPAN("Content-Length")), &length);
    if (has_length && body.len >= length)
        return read_body(span_head(body, (size_t)length), doc, ret);
    if (!is_ended)
        return ALLOCATE_MORE;
    return has_length ? ALLOCATE_BAD : read_body(body, doc, ret);
}
