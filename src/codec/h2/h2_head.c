#include "codec/h2/h2_head.h"

#include "codec/h1/h1_priv.h"

void h2_head_init(struct h2_head *head, const struct h1_limits *limits)
{
    head->limits = limits;
    buf_init(&head->text, UINT32_MAX);
    h2_head_clear(head);
}

void h2_head_fini(struct h2_head *head)
{
    buf_fini(&head->text);
}

void h2_head_clear(struct h2_head *head)
{
    buf_clear(&head->text);
    head->bytes            = 0;
    head->host             = (struct span){ NULL, 0 };
    head->host_at          = -1;
    head->seen             = 0;
    head->has_regular      = false;
    head->has_length       = false;
    head->expects_continue = false;
    head->is_malformed     = false;
    head->content_length   = 0;
    head->fault_status     = 0;
    head->fault_reason     = NULL;
    head->scheme = head->protocol = (struct span){ NULL, 0 };
    memset(&head->request, 0, offsetof(struct request_head, fields));
    head->request.method = HTTP_OTHER;
}

/* The first fault counts. Always false. */
static bool h2_refuse(struct h2_head *head, unsigned status, const char *reason)
{
    if (head->fault_status == 0) {
        head->fault_status = (uint16_t)status;
        head->fault_reason = reason;
    }
    return false;
}

static bool h2_malformed(struct h2_head *head, const char *reason)
{
    head->is_malformed = true;
    return h2_refuse(head, 400, reason);
}

/* --- fields --------------------------------------------------------------------------------------------------- */

static enum h2_pseudo h2_pseudo_of(const struct hpack_field *field)
{
    static const struct span names[H2_PSEUDOS] = {
        [H2_METHOD] = SPAN(":method"),       [H2_SCHEME] = SPAN(":scheme"), [H2_AUTHORITY] = SPAN(":authority"),
        [H2_PATH] = SPAN(":path"), [H2_PROTOCOL] = SPAN(":protocol"),
    };
    unsigned i = 0;

    switch (field->known) {
    case HPACK_METHOD: return H2_METHOD;
    case HPACK_SCHEME: return H2_SCHEME;
    case HPACK_AUTHORITY: return H2_AUTHORITY;
    case HPACK_PATH: return H2_PATH;
    case HPACK_STATUS: return H2_PSEUDOS;
    default:
        while (i < H2_PSEUDOS && !span_eq(names[i], field->name))
            i++;
        return (enum h2_pseudo)i;
    }
}

static bool h2_add_pseudo(struct h2_head *head, const struct hpack_field *field)
{
    enum h2_pseudo pseudo = h2_pseudo_of(field);

    /* RFC 9113 8.3: they stand before all other fields, each once, and there are no others. */
    if (head->has_regular)
        return h2_malformed(head, "a pseudo-header behind a field");
    if (pseudo == H2_PSEUDOS)
        return h2_malformed(head, "a pseudo-header that requests do not have");
    if (head->seen & 1u << pseudo)
        return h2_malformed(head, "a pseudo-header is repeated");
    head->seen |= 1u << pseudo;
    head->pseudos[pseudo] = field->value;
    return true;
}

void h2_head_expect_trailers(struct h2_head *head)
{
    head->has_regular = true;
}

static bool h2_has_capitals(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.at[i] >= 'A' && name.at[i] <= 'Z')
            return true;
    return false;
}

/* RFC 9113 8.2.1: a name is a token in small letters. */
static bool h2_check_name(struct h2_head *head, struct span name)
{
    if (h2_has_capitals(name))
        return h2_malformed(head, "the name of a field is not in small letters");
    return (name.len > 0 && h1_run_of(name, H1_BYTE_TOKEN) == name.len) ||
           h2_refuse(head, 400, "the name of a field is not a token in small letters");
}

/* … and a value has no white space around it. */
static bool h2_is_value(struct span value)
{
    return h1_run_of(value, H1_BYTE_VALUE) == value.len && span_trim(value).len == value.len;
}

/* RFC 9113 8.2.2: fields that speak of the connection have no place here. */
static bool h2_is_of_connection(struct span name)
{
    static const struct span names[] = {
        SPAN("connection"), SPAN("keep-alive"), SPAN("proxy-connection"), SPAN("transfer-encoding"), SPAN("upgrade"),
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (span_eq(names[i], name))
            return true;
    return false;
}

static bool h2_take_length(struct h2_head *head, struct span value)
{
    if (head->has_length)
        return h2_malformed(head, "Content-Length repeated");
    if (!span_u64(value, &head->content_length))
        return h2_malformed(head, "Content-Length is not a number");
    head->has_length = true;
    return true;
}

static bool h2_take_expect(struct h2_head *head, struct span value)
{
    if (!span_eq_nocase(value, SPAN("100-continue")))
        return h2_refuse(head, 417, "100-continue is the only expectation");
    head->expects_continue = true;
    return true;
}

static bool h2_take_host(struct h2_head *head)
{
    if (head->host_at >= 0)
        return h2_malformed(head, "Host repeated");
    head->host_at = (int)head->request.field_count;
    return true;
}

static bool h2_take_meaning(struct h2_head *head, struct span name, struct span value)
{
    /* The length decides first: most fields need no comparison. */
    switch (name.len) {
    case 2:
        if (span_eq(name, SPAN("te")) && !span_eq_nocase(value, SPAN("trailers")))
            return h2_malformed(head, "TE says more than trailers");
        return true;
    case 4:
        return !span_eq(name, SPAN("host")) || h2_take_host(head);
    case 6:
        return !span_eq(name, SPAN("expect")) || h2_take_expect(head, value);
    case 7:
    case 10:
    case 16:
    case 17:
        return !h2_is_of_connection(name) || h2_malformed(head, "a field that speaks of a connection of HTTP/1.1");
    case 14:
        return !span_eq(name, SPAN("content-length")) || h2_take_length(head, value);
    default:
        return true;
    }
}

static bool h2_take_known(struct h2_head *head, const struct hpack_field *field)
{
    switch (field->known) {
    case HPACK_UNKNOWN: return h2_take_meaning(head, field->name, field->value);
    case HPACK_CONTENT_LENGTH: return h2_take_length(head, field->value);
    case HPACK_EXPECT: return h2_take_expect(head, field->value);
    case HPACK_HOST: return h2_take_host(head);
    case HPACK_TRANSFER: return h2_malformed(head, "a field that speaks of a connection of HTTP/1.1");
    default: return true;
    }
}

static bool h2_add_regular(struct h2_head *head, const struct hpack_field *field)
{
    head->has_regular = true;
    if (field->known == HPACK_UNKNOWN && !h2_check_name(head, field->name))
        return false;
    if (!h2_is_value(field->value))
        return h2_refuse(head, 400, "the value of a field has a byte that it must not have");
    if (head->request.field_count == REQUEST_FIELDS_MAX)
        return h2_refuse(head, 431, "more than 64 fields");
    if (!h2_take_known(head, field))
        return false;
    head->request.fields[head->request.field_count++] = (struct http_field){ field->name, field->value };
    return true;
}

bool h2_head_take(struct h2_head *head, const struct hpack_field *field)
{
    head->bytes += field->name.len + field->value.len + H2_FIELD_BYTES;
    if (head->bytes > (size_t)H2_HEAD_FOLD * head->limits->head_bytes_max)
        return false;
    if (head->bytes > head->limits->head_bytes_max)
        h2_refuse(head, 431, "the request head is longer than request_head_bytes_max");
    /* Who sends a request that is refused is still wanted: see h2_head_end(). */
    else if (field->name.len > 0 && field->name.at[0] == ':')
        h2_add_pseudo(head, field);
    else
        h2_add_regular(head, field);
    return true;
}

/* --- the whole ------------------------------------------------------------------------------------------------- */

static bool h2_has(const struct h2_head *head, enum h2_pseudo pseudo)
{
    return (head->seen & 1u << pseudo) != 0;
}

static struct span h2_pseudo_value(const struct h2_head *head, enum h2_pseudo pseudo)
{
    return h2_has(head, pseudo) ? head->pseudos[pseudo] : (struct span){ NULL, 0 };
}

static void h2_place_host(struct h2_head *head)
{
    if (head->host_at >= 0)
        head->host = head->request.fields[head->host_at].value;
    head->request.host = h2_has(head, H2_AUTHORITY) ? h2_pseudo_value(head, H2_AUTHORITY) : head->host;
}

/* RFC 8441 4: it opens a WebSocket as the GET of HTTP/1.1 does. */
static bool h2_take_connect(struct h2_head *head)
{
    /* RFC 9110 9.3.6: we are no proxy. */
    if (!h2_has(head, H2_PROTOCOL))
        return h2_has(head, H2_SCHEME) || h2_has(head, H2_PATH) ? h2_malformed(head, "CONNECT with :scheme or :path")
                                                                : h2_refuse(head, 501, "CONNECT is for proxies");
    head->protocol = h2_pseudo_value(head, H2_PROTOCOL);
    if (!span_eq_nocase(head->protocol, SPAN("websocket")))
        return h2_refuse(head, 501, "the only protocol of CONNECT is websocket");
    if (head->has_length)
        return h2_refuse(head, 400, "CONNECT has no Content-Length");
    head->request.method       = HTTP_GET;
    head->request.method_text  = SPAN("GET");
    head->request.is_websocket = head->request.is_extended = true;
    return true;
}

static bool h2_check_method(struct h2_head *head)
{
    struct span text = h2_pseudo_value(head, H2_METHOD);

    if (text.len == 0 || h1_run_of(text, H1_BYTE_TOKEN) != text.len)
        return h2_malformed(head, "method is not a token");
    if (text.len > H1_METHOD_BYTES_MAX)
        return h2_refuse(head, 501, "method not known");
    head->request.method_text = text;
    head->request.method      = h1_method_of(text);
    if (!span_eq(text, SPAN("CONNECT")))
        return !h2_has(head, H2_PROTOCOL) || h2_malformed(head, "only CONNECT names a protocol");
    return h2_take_connect(head);
}

static bool h2_check_host(struct h2_head *head)
{
    if (head->request.host.at == NULL)
        return h2_malformed(head, "no :authority");
    if (!h1_is_authority(head->request.host))
        return h2_refuse(head, 400, ":authority is not a host and port");
    if (head->host_at >= 0 && !span_eq_nocase(head->host, head->request.host))
        return h2_refuse(head, 400, ":authority and host name different servers");
    return true;
}

/* RFC 9113 8.3.1 */
static bool h2_check_path(struct h2_head *head)
{
    struct span path = h2_pseudo_value(head, H2_PATH), scheme = h2_pseudo_value(head, H2_SCHEME);

    if (!h2_has(head, H2_SCHEME) || !h2_has(head, H2_PATH))
        return h2_malformed(head, "no :scheme or no :path");
    if (!span_eq_nocase(scheme, SPAN("http")) && !span_eq_nocase(scheme, SPAN("https")))
        return h2_refuse(head, 400, ":scheme is neither http nor https");
    if (path.len == 0 || h1_run_of(path, H1_BYTE_TARGET) != path.len)
        return h2_malformed(head, "target holds a byte that it must not");
    if (path.len > head->limits->target_bytes_max)
        return h2_refuse(head, 414, "the request target is longer than request_target_bytes_max");
    if (path.at[0] != '/' && !(span_eq(path, SPAN("*")) && head->request.method == HTTP_OPTIONS))
        return h2_malformed(head, "target is not a path");
    head->scheme         = scheme;
    head->request.target = path;
    return true;
}

static bool h2_check(struct h2_head *head, bool is_end)
{
    if (head->fault_status != 0 || !h2_check_method(head) || !h2_check_host(head) || !h2_check_path(head))
        return false;
    /* RFC 9113 8.1.1 */
    if (is_end && head->content_length > 0)
        return h2_malformed(head, "Content-Length without a body");
    const char *repeated = request_head_repeated(&head->request);
    return repeated == NULL || h2_refuse(head, 400, repeated);
}

/* What is left of a refused head: who sends it. */
static void h2_keep_sender(struct request_head *request)
{
    struct span origin = { NULL, 0 };
    size_t      count  = 0;

    for (size_t i = 0; i < request->field_count; i++)
        if (span_eq(request->fields[i].name, SPAN("origin"))) {
            origin = request->fields[i].value;
            count++;
        }
    struct span host = request->host;
    memset(request, 0, offsetof(struct request_head, fields));
    request->method = HTTP_OTHER;
    request->host   = host.at != NULL && h1_is_authority(host) ? host : SPAN("");
    if (count == 1)
        request->fields[request->field_count++] = (struct http_field){ SPAN("origin"), origin };
}

bool h2_head_end(struct h2_head *head, bool is_end)
{
    bool is_head = span_eq(h2_pseudo_value(head, H2_METHOD), SPAN("HEAD"));

    h2_place_host(head);
    if (h2_check(head, is_end))
        return true;
    h2_keep_sender(&head->request);
    if (is_head)
        head->request.method = HTTP_HEAD;  /* whatever is answered has no body */
    return false;
}

static void h2_keep_span(struct buf *text, struct span *span)
{
    char *at = text->at + text->len;

    buf_put(text, *span);
    if (span->at != NULL)
        span->at = at;
}

void h2_head_keep(struct h2_head *kept, const struct h2_head *head)
{
    const struct request_head *request = &head->request;
    struct buf                 text    = kept->text;
    size_t                     fields  = request->field_count * sizeof request->fields[0];
    size_t                     bytes   = request->method_text.len + request->target.len + request->host.len;

    for (size_t i = 0; i < request->field_count; i++)
        bytes += request->fields[i].name.len + request->fields[i].value.len;
    memcpy(kept, head, offsetof(struct h2_head, request) + offsetof(struct request_head, fields) + fields);
    /* All at once, so that the text does not move. */
    buf_extend(&text, bytes + 1);
    buf_clear(&text);
    kept->host = kept->scheme = kept->protocol = (struct span){ NULL, 0 };
    h2_keep_span(&text, &kept->request.method_text);
    h2_keep_span(&text, &kept->request.target);
    h2_keep_span(&text, &kept->request.host);
    for (size_t i = 0; i < request->field_count; i++) {
        h2_keep_span(&text, &kept->request.fields[i].name);
        h2_keep_span(&text, &kept->request.fields[i].value);
    }
    kept->text = text;
}
