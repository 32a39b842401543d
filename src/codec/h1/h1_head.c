/* What the lines of a head mean, and whether they may stand together. */
#include "codec/h1/h1_priv.h"

/* What the fields say. It is gathered from field to field and judged when all fields are known. */
struct meaning {
    bool has_host, has_coding;
    bool wants_close, wants_keep_alive, wants_upgrade, wants_websocket;
};

static bool h1_refuse(struct h1 *h1, unsigned status, const char *reason)
{
    h1_fault(h1, status, reason);
    return false;
}

/* --- request line: RFC 9112 3 ---------------------------------------------------------------------------------- */

enum http_method h1_method_of(struct span text)
{
    static const struct { struct span text; enum http_method method; } rows[] = {
        { SPAN("GET"), HTTP_GET }, { SPAN("POST"), HTTP_POST },     { SPAN("HEAD"), HTTP_HEAD },
        { SPAN("PUT"), HTTP_PUT }, { SPAN("DELETE"), HTTP_DELETE }, { SPAN("OPTIONS"), HTTP_OPTIONS },
        { SPAN("PATCH"), HTTP_PATCH },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (span_eq(rows[i].text, text))
            return rows[i].method;
    return HTTP_OTHER;
}

static bool parse_method(struct h1 *h1, struct span text, struct h1_head *head)
{
    if (text.len == 0 || h1_run_of(text, H1_BYTE_TOKEN) != text.len)
        return h1_refuse(h1, 400, "method is not a token");
    /* RFC 9112 3: a method longer than any that we know is 501. */
    if (text.len > H1_METHOD_BYTES_MAX)
        return h1_refuse(h1, 501, "method not known");
    /* RFC 9110 9.3.6, 9.1: we are no proxy. */
    if (span_eq(text, SPAN("CONNECT")))
        return h1_refuse(h1, 501, "CONNECT is for proxies");
    head->request.method_text = text;
    head->request.method      = h1_method_of(text);
    return true;
}

/* RFC 9112 2.3: HTTP-version is case-sensitive, one digit, a dot, one digit. */
static bool parse_version(struct h1 *h1, struct span text, struct h1_head *head)
{
    bool is_version = text.len == 8 && span_starts(text, SPAN("HTTP/")) && text.at[6] == '.' &&
                      text.at[5] >= '0' && text.at[5] <= '9' && text.at[7] >= '0' && text.at[7] <= '9';
    if (!is_version)
        return h1_refuse(h1, 400, "request line does not end with a version");
    /* RFC 9110 15.6.6. HTTP/2's preface (RFC 9113 3.4) ends here. */
    if (text.at[5] != '1')
        return h1_refuse(h1, 505, "only HTTP/1.0 and 1.1 are spoken here");
    /* RFC 9110 2.5: a higher minor version is read as the highest that we know. */
    head->minor = text.at[7] != '0';
    return true;
}

/* RFC 9112 3: one space between the parts, and no white space within them. A lenient parser could be used for request
 * smuggling. */
static bool parse_request_line(struct h1 *h1, struct span line, struct h1_head *head)
{
    struct span method, target, rest = line;

    if (!span_cut(&rest, ' ', &method) || !span_cut(&rest, ' ', &target) || rest.len == 0)
        return h1_refuse(h1, 400, "request line is not method, target, version");
    if (!parse_method(h1, method, head))
        return false;
    if (target.len == 0 || h1_run_of(target, H1_BYTE_TARGET) != target.len)
        return h1_refuse(h1, 400, "target holds a byte that it must not");
    if (!parse_version(h1, rest, head))
        return false;
    if (target.len > h1->limits->target_bytes_max)
        return h1_refuse(h1, 414, "the request target is longer than request_target_bytes_max");
    head->request.target = target;
    return true;
}

/* --- Host and target: RFC 9112 3.2, RFC 9110 7.2 ---------------------------------------------------------------- */

/* RFC 3986 3.2.2: the inside of [ ], as far as IPv6 goes. */
static bool is_ipv6_text(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (memchr("0123456789abcdefABCDEF:.", text.at[i], 24) == NULL)
            return false;
    return text.len >= 2;
}

/* RFC 9110 7.2: uri-host [ ":" port ]. Empty names no http server (RFC 9110 4.2.1). */
bool h1_is_authority(struct span text)
{
    size_t host_len;

    if (span_starts(text, SPAN("["))) {
        const char *close = memchr(text.at, ']', text.len);
        if (close == NULL || !is_ipv6_text(span_of(text.at + 1, (size_t)(close - text.at) - 1)))
            return false;
        host_len = (size_t)(close - text.at) + 1;
    } else {
        host_len = h1_run_of(text, H1_BYTE_HOST);
    }
    struct span port  = span_skip(text, host_len);
    uint64_t    value = 0;
    if (host_len == 0 || port.len == 0)
        return host_len > 0;
    return port.at[0] == ':' && (port.len == 1 || (span_u64(span_skip(port, 1), &value) && value <= 65535));
}

static bool take_host(struct h1 *h1, struct span value, struct meaning *meaning, struct h1_head *head)
{
    /* RFC 9112 3.2: more than one Host, or an invalid one, is 400. */
    if (meaning->has_host)
        return h1_refuse(h1, 400, "Host repeated");
    if (!h1_is_authority(value))
        return h1_refuse(h1, 400, "Host is not a host and port");
    meaning->has_host = true;
    head->request.host        = value;
    return true;
}

/* The authority of an absolute-form target; false if it has another form. */
static bool absolute_authority(struct span target, struct span *ret_authority)
{
    struct span rest;

    if (span_eq_nocase(span_head(target, 7), SPAN("http://")))
        rest = span_skip(target, 7);
    else if (span_eq_nocase(span_head(target, 8), SPAN("https://")))
        rest = span_skip(target, 8);
    else
        return false;

    size_t len = 0;
    while (len < rest.len && rest.at[len] != '/' && rest.at[len] != '?')
        len++;
    *ret_authority = span_head(rest, len);
    return true;
}

/* RFC 9112 3.2.2 lets an absolute-form target overrule Host. Two names for one request serve smuggling, so here they
 * must agree. RFC 9110 4.2.4: user information in the target is an error; h1_is_authority() does not accept `@`. */
static bool check_absolute_form(struct h1 *h1, struct span authority, const struct meaning *meaning,
                                struct h1_head *head)
{
    if (!h1_is_authority(authority))
        return h1_refuse(h1, 400, "target's authority is not a host and port");
    if (meaning->has_host && !span_eq_nocase(authority, head->request.host))
        return h1_refuse(h1, 400, "target and Host name different servers");
    head->request.host = authority;
    return true;
}

static bool check_target(struct h1 *h1, const struct meaning *meaning, struct h1_head *head)
{
    struct span authority;

    /* RFC 9112 3.2: HTTP/1.1 needs a Host. */
    if (head->minor > 0 && !meaning->has_host)
        return h1_refuse(h1, 400, "no Host");
    if (head->request.target.at[0] == '/')
        return true;
    if (absolute_authority(head->request.target, &authority))
        return check_absolute_form(h1, authority, meaning, head);
    /* RFC 9112 3.2.4: asterisk-form is for OPTIONS alone. */
    if (span_eq(head->request.target, SPAN("*")) && head->request.method == HTTP_OPTIONS)
        return true;
    return h1_refuse(h1, 400, "target is neither a path nor an absolute http URI");
}

/* --- framing: RFC 9112 6 ---------------------------------------------------------------------------------------- */

static bool take_length(struct h1 *h1, struct span value, struct h1_head *head)
{
    /* RFC 9110 8.6 would let equal ones pass; RFC 9112 6.3 allows us to refuse them, and that is safer. */
    if (head->has_length)
        return h1_refuse(h1, 400, "Content-Length repeated");
    /* RFC 9112 6.3: an invalid Content-Length is an unrecoverable error. */
    if (!span_u64(value, &head->content_length))
        return h1_refuse(h1, 400, "Content-Length is not a number");
    head->has_length = true;
    return true;
}

static struct span last_element(struct span list)
{
    const char *comma = memrchr(list.at, ',', list.len);
    return comma == NULL ? list : span_trim(span_skip(list, (size_t)(comma - list.at) + 1));
}

static bool take_coding(struct h1 *h1, struct span value, struct meaning *meaning, struct h1_head *head)
{
    if (meaning->has_coding)
        return h1_refuse(h1, 400, "Transfer-Encoding repeated");
    meaning->has_coding = true;
    if (span_eq_nocase(value, SPAN("chunked"))) {
        head->is_chunked = true;
        return true;
    }
    /* RFC 9112 6.3: unless chunked comes last, the length can't be known: 400, and close. */
    if (!span_eq_nocase(last_element(value), SPAN("chunked")))
        return h1_refuse(h1, 400, "Transfer-Encoding does not end with chunked");
    /* RFC 9112 6.1: chunked at most once. */
    struct span rest = value, element;
    for (size_t count = 0; span_cut(&rest, ',', &element);) {
        count += span_eq_nocase(span_trim(element), SPAN("chunked"));
        if (count > 1 || span_trim(element).len == 0)
            return h1_refuse(h1, 400, "Transfer-Encoding is malformed");
    }
    /* RFC 9112 6.1: codings that aren't understood are 501. */
    return h1_refuse(h1, 501, "transfer coding not known");
}

static bool check_framing(struct h1 *h1, const struct meaning *meaning, const struct h1_head *head)
{
    /* RFC 9112 6.1, 6.3: both together ought to be an error, because two readers could choose differently. */
    if (meaning->has_coding && head->has_length)
        return h1_refuse(h1, 400, "Transfer-Encoding beside Content-Length");
    /* RFC 9112 6.1: an HTTP/1.0 sender doesn't know chunks; its framing is faulty. */
    if (meaning->has_coding && head->minor == 0)
        return h1_refuse(h1, 400, "Transfer-Encoding in HTTP/1.0");
    return true;
}

/* --- the other fields that change what a connection does ---------------------------------------------------------- */

/* RFC 9110 7.6.1: a list of tokens, which may be spread over several lines. */
static bool take_connection(struct h1 *h1, struct span value, struct meaning *meaning)
{
    struct span rest = value, element;

    while (span_cut(&rest, ',', &element)) {
        element = span_trim(element);
        if (h1_run_of(element, H1_BYTE_TOKEN) != element.len)
            return h1_refuse(h1, 400, "Connection is not a list of tokens");
        meaning->wants_close      |= span_eq_nocase(element, SPAN("close"));
        meaning->wants_keep_alive |= span_eq_nocase(element, SPAN("keep-alive"));
        meaning->wants_upgrade    |= span_eq_nocase(element, SPAN("upgrade"));
    }
    return true;
}

/* RFC 9110 7.8: a list of protocols that the client prefers. Those that we don't know are ignored. */
static bool take_upgrade(struct span value, struct meaning *meaning)
{
    struct span rest = value, element;

    while (span_cut(&rest, ',', &element))
        meaning->wants_websocket |= span_eq_nocase(span_trim(element), SPAN("websocket"));
    return true;
}

static bool take_expect(struct h1 *h1, struct span value, struct h1_head *head)
{
    /* RFC 9110 10.1.1: 100-continue is the only expectation there is. */
    if (!span_eq_nocase(value, SPAN("100-continue")))
        return h1_refuse(h1, 417, "100-continue is the only expectation");
    /* RFC 9110 10.1.1: in HTTP/1.0 it is ignored. */
    head->expects_continue = head->minor > 0;
    return true;
}

static bool take_meaning(struct h1 *h1, const struct http_field *field, struct meaning *meaning, struct h1_head *head)
{
    struct span name = field->name;

    /* The length decides first: most fields need no comparison. */
    switch (name.len) {
    case 4:
        return !span_eq_nocase(name, SPAN("Host")) || take_host(h1, field->value, meaning, head);
    case 6:
        return !span_eq_nocase(name, SPAN("Expect")) || take_expect(h1, field->value, head);
    case 7:
        return !span_eq_nocase(name, SPAN("Upgrade")) || take_upgrade(field->value, meaning);
    case 10:
        return !span_eq_nocase(name, SPAN("Connection")) || take_connection(h1, field->value, meaning);
    case 14:
        return !span_eq_nocase(name, SPAN("Content-Length")) || take_length(h1, field->value, head);
    case 17:
        return !span_eq_nocase(name, SPAN("Transfer-Encoding")) || take_coding(h1, field->value, meaning, head);
    default:
        return true;
    }
}

bool h1_parse_field(struct h1 *h1, struct span line, struct http_field *ret_field)
{
    size_t name_len = h1_run_of(line, H1_BYTE_TOKEN);

    if (name_len == 0) {
        /* RFC 9112 5.2: obs-fold is 400; 2.2: so is white space before the first field. */
        bool is_fold = line.at[0] == ' ' || line.at[0] == '\t';
        return h1_refuse(h1, 400, is_fold ? "line begins with white space" : "field without a name");
    }
    /* RFC 9112 5.1: no white space between name and colon. */
    if (name_len == line.len || line.at[name_len] != ':')
        return h1_refuse(h1, 400, "field name is not a token with a colon behind it");
    ret_field->name  = span_head(line, name_len);
    ret_field->value = span_trim(span_skip(line, name_len + 1));
    return true;
}

static void settle(struct h1 *h1, const struct meaning *meaning, struct h1_head *head)
{
    /* RFC 9112 9.3 */
    head->is_keep_alive = !meaning->wants_close && (head->minor > 0 || meaning->wants_keep_alive);
    /* RFC 6455 4.2.1. With a body it would be unclear where the frames begin. */
    head->request.is_websocket = meaning->wants_upgrade && meaning->wants_websocket &&
                                 head->request.method == HTTP_GET && head->minor > 0 && !head->is_chunked &&
                                 head->content_length == 0;
    h1->left = head->content_length;
    if (head->is_chunked)
        h1->state = H1_STATE_CHUNK_SIZE;
    else
        h1->state = h1->left > 0 ? H1_STATE_BODY : H1_STATE_END;
}

enum h1_event h1_head_parse(struct h1 *h1, const struct span *lines, size_t line_count, struct h1_head *head)
{
    struct meaning meaning = { 0 };

    must(line_count > 0 && line_count <= REQUEST_FIELDS_MAX + 1);
    memset(head, 0, offsetof(struct h1_head, request.fields));
    if (!parse_request_line(h1, lines[0], head))
        return H1_FAULT;
    for (size_t i = 1; i < line_count; i++) {
        struct http_field *field = &head->request.fields[head->request.field_count++];
        if (!h1_parse_field(h1, lines[i], field) || !take_meaning(h1, field, &meaning, head))
            return H1_FAULT;
    }
    if (!check_target(h1, &meaning, head) || !check_framing(h1, &meaning, head))
        return H1_FAULT;
    const char *repeated = request_head_repeated(&head->request);
    if (repeated != NULL)
        return h1_fault(h1, 400, repeated);
    settle(h1, &meaning, head);
    return H1_HEAD_DONE;
}

/* --- who sends it ------------------------------------------------------------------------------------------------- */

/* Takes the next whole line from *rest. False: there is none, or it is the empty one at the end of the head. */
static bool next_line(struct span *rest, struct span *ret_line)
{
    const char *end = rest->len == 0 ? NULL : memmem(rest->at, rest->len, "\r\n", 2);

    if (end == NULL || end == rest->at)
        return false;
    *ret_line = span_head(*rest, (size_t)(end - rest->at));
    *rest     = span_skip(*rest, ret_line->len + 2);
    return true;
}

static bool is_field(struct span line, struct span name, struct span *ret_value)
{
    if (line.len <= name.len || line.at[name.len] != ':' || !span_eq_nocase(span_head(line, name.len), name))
        return false;
    *ret_value = span_trim(span_skip(line, name.len + 1));
    return h1_run_of(*ret_value, H1_BYTE_VALUE) == ret_value->len;
}

void h1_read_sender(struct span input, struct request_head *ret)
{
    struct span rest = span_skip(input, span_starts(input, SPAN("\r\n")) ? 2 : 0), line, value;
    struct span origin = { NULL, 0 };
    size_t      origin_count = 0, host_count = 0;

    *ret = (struct request_head){ .method = HTTP_OTHER };
    if (!next_line(&rest, &line))
        return;  /* not even a request line */
    while (next_line(&rest, &line)) {
        if (is_field(line, SPAN("Origin"), &value)) {
            origin = value;
            origin_count++;
        } else if (is_field(line, SPAN("Host"), &value)) {
            ret->host = value;
            host_count++;
        }
    }
    if (host_count != 1 || !h1_is_authority(ret->host))
        ret->host = SPAN("");
    if (origin_count == 1)
        ret->fields[ret->field_count++] = (struct http_field){ SPAN("Origin"), origin };
}
