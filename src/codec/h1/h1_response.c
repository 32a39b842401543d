#include "codec/h1/h1_response.h"

#include "base/must.h"
#include "codec/h1/h1_priv.h"

void h1_response_init(struct h1_response *response, uint32_t head_bytes_max, bool is_to_head)
{
    *response = (struct h1_response){ .limits = { .head_bytes_max = head_bytes_max }, .is_to_head = is_to_head };
}

static enum h1_response_event response_fault(struct h1_response *response, const char *reason)
{
    response->state        = H1_RESPONSE_OVER;
    response->fault_reason = reason;
    return H1_RESPONSE_FAULT;
}

static enum h1_response_event response_too_large(struct h1_response *response, const char *reason)
{
    response->is_too_large = true;
    return response_fault(response, reason);
}

/* A fault that the shared parts have found. 431 is theirs for trailers that are too long or too many. */
static enum h1_response_event response_shared_fault(struct h1_response *response)
{
    if (response->h1.fault_status == 431)
        return response_too_large(response, "the trailer fields are longer than allowed");
    return response_fault(response, response->h1.fault_reason);
}

/* --- status line: RFC 9112 4 -------------------------------------------------------------------------------------- */

/* Another protocol shows at its first bytes, long before a line ends. */
static bool may_be_status(struct span text)
{
    struct span begin = SPAN("HTTP/1.");
    return span_eq(span_head(text, begin.len), span_head(begin, text.len));
}

static void forget_head(struct h1_response *response)
{
    response->has_length     = response->has_coding = response->wants_close = response->wants_keep_alive = false;
    response->says_kept_s    = false;
    response->content_length = 0;
}

/* HTTP-version SP status-code SP [ reason-phrase ]. Many servers leave out the second space when there is no reason. */
static enum h1_response_event take_status(struct h1_response *response, struct span line, struct h1_response_piece *piece)
{
    uint64_t status;

    if (line.len < 12 || line.at[7] < '0' || line.at[7] > '9' || line.at[8] != ' ' ||
        !span_u64(span_of(line.at + 9, 3), &status) || (line.len > 12 && line.at[12] != ' '))
        return response_fault(response, "the response does not begin with a status line");
    /* RFC 9110 15: codes have three digits, and the first is one of five. Those beyond 599 are in use all the same. */
    if (status < 100)
        return response_fault(response, "the status is less than 100");
    if (status == 101)
        return response_fault(response, "status 101, and nobody asked for another protocol");
    forget_head(response);
    response->minor  = line.at[7] != '0';
    response->status = (uint16_t)status;
    response->state  = H1_RESPONSE_AT_FIELD;
    piece->status    = response->status;
    return H1_RESPONSE_STATUS;
}

/* --- fields: RFC 9112 6 ------------------------------------------------------------------------------------------- */

static const char *take_response_length(struct h1_response *response, struct span value)
{
    if (response->has_length)
        return "Content-Length repeated";
    if (!span_u64(value, &response->content_length))
        return "Content-Length is not a number";
    response->has_length = true;
    return NULL;
}

/* No request of ours says TE, so that no other coding may come (RFC 9112 7.4). */
static const char *take_response_coding(struct h1_response *response, struct span value)
{
    if (response->has_coding)
        return "Transfer-Encoding repeated";
    if (!span_eq_nocase(value, SPAN("chunked")))
        return "Transfer-Encoding is not chunked";
    response->has_coding = true;
    return NULL;
}

static const char *take_response_connection(struct h1_response *response, struct span value)
{
    struct span rest = value, element;

    while (span_cut(&rest, ',', &element)) {
        response->wants_close      |= span_eq_nocase(span_trim(element), SPAN("close"));
        response->wants_keep_alive |= span_eq_nocase(span_trim(element), SPAN("keep-alive"));
    }
    return NULL;
}

/* `timeout=5, max=100`: of no RFC in force, but many servers say it. What can't be read says nothing. */
static const char *take_response_keep_alive(struct h1_response *response, struct span value)
{
    struct span rest = value, element, name;

    while (span_cut(&rest, ',', &element)) {
        element = span_trim(element);
        if (span_cut(&element, '=', &name) && span_eq_nocase(span_trim(name), SPAN("timeout")))
            response->says_kept_s = span_u64(span_trim(element), &response->kept_s);
    }
    return NULL;
}

/* What is wrong with it, or NULL. */
static const char *take_response_meaning(struct h1_response *response, const struct http_field *field)
{
    if (field->name.len == 10 && span_eq_nocase(field->name, SPAN("Connection")))
        return take_response_connection(response, field->value);
    if (field->name.len == 10 && span_eq_nocase(field->name, SPAN("Keep-Alive")))
        return take_response_keep_alive(response, field->value);
    if (field->name.len == 14 && span_eq_nocase(field->name, SPAN("Content-Length")))
        return take_response_length(response, field->value);
    if (field->name.len == 17 && span_eq_nocase(field->name, SPAN("Transfer-Encoding")))
        return take_response_coding(response, field->value);
    return NULL;
}

static enum h1_response_event take_field(struct h1_response *response, struct span line, struct h1_response_piece *piece)
{
    if (!h1_parse_field(&response->h1, line, &piece->field))
        return response_shared_fault(response);
    const char *reason = take_response_meaning(response, &piece->field);
    return reason == NULL ? H1_RESPONSE_FIELD : response_fault(response, reason);
}

/* --- the end of a head: RFC 9112 6.3 ------------------------------------------------------------------------------ */

static bool has_no_body(const struct h1_response *response)
{
    return response->is_to_head || response->status == 204 || response->status == 304;
}

static enum h1_response_event end_head(struct h1_response *response)
{
    if (response->has_coding && response->has_length)
        return response_fault(response, "Transfer-Encoding beside Content-Length");
    if (response->has_coding && response->minor == 0)
        return response_fault(response, "Transfer-Encoding in HTTP/1.0");
    if (has_no_body(response))
        response->state = H1_RESPONSE_AT_END;
    else if (response->has_coding)
        response->state = H1_RESPONSE_IN_CHUNKS;
    else if (response->has_length)
        response->state = response->content_length > 0 ? H1_RESPONSE_IN_BODY : H1_RESPONSE_AT_END;
    else
        response->state = H1_RESPONSE_UNTIL_CLOSE;
    h1_init(&response->h1, &response->limits);
    response->h1.left  = response->content_length;
    response->h1.state = response->state == H1_RESPONSE_IN_CHUNKS ? H1_STATE_CHUNK_SIZE : H1_STATE_BODY;
    return H1_RESPONSE_HEAD;
}

static enum h1_response_event take_line(struct h1_response *response, struct span line, struct h1_response_piece *piece)
{
    if (response->state == H1_RESPONSE_AT_STATUS)
        return take_status(response, line, piece);
    if (line.len > 0)
        return take_field(response, line, piece);
    if (response->status >= 200)
        return end_head(response);
    /* RFC 9110 15.2: an interim response; the one that counts follows. */
    response->state = H1_RESPONSE_AT_STATUS;
    return H1_RESPONSE_MORE;
}

/* False: the event is *ret_event. True: an interim head has ended, and the next line may be there already. */
static bool feed_line(struct h1_response *response, struct span input, size_t *used, struct h1_response_piece *piece,
                      enum h1_response_event *ret_event)
{
    uint32_t    room = response->limits.head_bytes_max - response->head_bytes;
    struct span text = span_head(input, room);

    *ret_event = H1_RESPONSE_MORE;
    if (response->state == H1_RESPONSE_AT_STATUS && !may_be_status(text)) {
        *ret_event = response_fault(response, "the response does not begin with HTTP/1");
        return false;
    }
    enum h1_event found = h1_find_line_end(&response->h1, text);
    if (found == H1_MORE && text.len == room)
        *ret_event = response_too_large(response, "the head is longer than allowed");
    else if (found == H1_FAULT)
        *ret_event = response_shared_fault(response);
    if (found != H1_HEAD_DONE)
        return false;
    struct span line = span_head(text, response->h1.scanned);
    *used                 += line.len + 2;
    response->head_bytes  += (uint32_t)line.len + 2;
    response->h1.scanned   = 0;
    *ret_event             = take_line(response, line, piece);
    return *ret_event == H1_RESPONSE_MORE;
}

static enum h1_response_event feed_response_head(struct h1_response *response, struct span input, size_t *ret_used,
                                                 struct h1_response_piece *piece)
{
    enum h1_response_event event;

    while (feed_line(response, span_skip(input, *ret_used), ret_used, piece, &event)) {}
    return event;
}

/* --- bodies ------------------------------------------------------------------------------------------------------- */

static enum h1_response_event feed_framed(struct h1_response *response, struct span input, size_t *ret_used,
                                          struct h1_response_piece *piece)
{
    enum h1_event event = response->state == H1_RESPONSE_IN_CHUNKS
                              ? h1_chunk_feed(&response->h1, input, ret_used, &piece->body)
                              : h1_body_piece(&response->h1, input, H1_STATE_END, ret_used, &piece->body);

    if (event == H1_FAULT)
        return response_shared_fault(response);
    if (event == H1_END) {
        response->state = H1_RESPONSE_OVER;
        return H1_RESPONSE_END;
    }
    if (response->h1.state == H1_STATE_END)
        response->state = H1_RESPONSE_AT_END;
    return event == H1_BODY ? H1_RESPONSE_BODY : H1_RESPONSE_MORE;
}

enum h1_response_event h1_response_feed(struct h1_response *response, struct span input, size_t *ret_used,
                                        struct h1_response_piece *ret_piece)
{
    must(response->state != H1_RESPONSE_OVER);

    *ret_used = 0;
    if (response->state == H1_RESPONSE_AT_END) {
        response->state = H1_RESPONSE_OVER;
        return H1_RESPONSE_END;
    }
    if (input.len == 0)
        return H1_RESPONSE_MORE;
    if (response->state == H1_RESPONSE_AT_STATUS || response->state == H1_RESPONSE_AT_FIELD)
        return feed_response_head(response, input, ret_used, ret_piece);
    if (response->state != H1_RESPONSE_UNTIL_CLOSE)
        return feed_framed(response, input, ret_used, ret_piece);
    *ret_used       = input.len;
    ret_piece->body = input;
    return H1_RESPONSE_BODY;
}

enum h1_response_event h1_response_close(struct h1_response *response)
{
    must(response->state != H1_RESPONSE_OVER);

    if (response->state != H1_RESPONSE_UNTIL_CLOSE)
        return response_fault(response, "the connection was closed before the response was whole");
    response->state        = H1_RESPONSE_OVER;
    response->wants_close  = true;
    return H1_RESPONSE_END;
}

/* RFC 9110 8.6: a 204 announces none. One that does may send it all the same, and that would be read as the next response. */
static bool announces_absent_body(const struct h1_response *response)
{
    return response->status == 204 && (response->has_coding || response->content_length > 0);
}

bool h1_response_may_follow(const struct h1_response *response)
{
    must(response->state == H1_RESPONSE_OVER && response->fault_reason == NULL);
    return !response->wants_close && !announces_absent_body(response) && (response->minor > 0 || response->wants_keep_alive);
}

uint64_t h1_response_announced(const struct h1_response *response)
{
    return response->state == H1_RESPONSE_IN_BODY ? response->content_length : 0;
}
