#include "session/subscribe_request.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "codec/token/token.h"
#include "codec/url/url.h"

void subscribe_requests_init(struct subscribe_requests *requests)
{
    *requests = (struct subscribe_requests){ 0 };
}

void subscribe_requests_fini(struct subscribe_requests *requests)
{
    for (size_t i = 0; i < requests->count; i++)
        channel_name_unref(requests->at[i].name);
    free(requests->at);
}

static bool subscribe_requests_fault(struct subscribe_requests *requests, unsigned status, const char *why)
{
    requests->fault_status = status;
    snprintf(requests->fault, sizeof requests->fault, "%s", why);
    return false;
}

static struct subscribe_request *subscribe_requests_find(struct subscribe_requests *requests, struct span channel)
{
    for (size_t i = 0; i < requests->count; i++)
        if (span_eq(channel_name_span(requests->at[i].name), channel))
            return &requests->at[i];
    return NULL;
}

static void subscribe_requests_push(struct subscribe_requests *requests, struct channel_name *name, struct start start)
{
    if (requests->count == requests->cap) {
        requests->cap = requests->cap == 0 ? 1 : requests->cap * 2;
        requests->at  = realloc(requests->at, requests->cap * sizeof requests->at[0]);
        must(requests->at != NULL);
    }
    requests->at[requests->count++] = (struct subscribe_request){ name, start };
}

bool subscribe_requests_add(struct subscribe_requests *requests, struct session_worker *worker, struct span channel,
                            struct start start, const struct identity *identity)
{
    struct channel_name *name;

    if (requests->count >= worker->limits.channels_max)
        return subscribe_requests_fault(requests, 400,
                                        "too many channels on one connection (channels_per_connection_max)");
    if (subscribe_requests_find(requests, channel) != NULL)
        return subscribe_requests_fault(requests, 400, "a channel is named twice");
    struct verdict verdict = may_name(worker->namespaces, worker->hash_key, channel, &name);
    if (verdict.status != 0)
        return subscribe_requests_fault(requests, verdict.status, verdict.reason);
    verdict = may(identity, name, ACTION_SUBSCRIBE);
    if (verdict.status != 0) {
        channel_name_unref(name);
        return subscribe_requests_fault(requests, verdict.status, verdict.reason);
    }
    subscribe_requests_push(requests, name, start);
    return true;
}

/* --- a request's parameters --- */

struct subscribe_reader {
    struct subscribe_requests *requests;
    struct session_worker     *worker;
    const struct identity     *identity;
    struct buf                 scratch;    /* for decoding */
    struct token               token;
    bool                       has_token;
};

static bool read_token(struct subscribe_reader *reader, struct span text)
{
    if (!token_get(text, &reader->token))
        return subscribe_requests_fault(reader->requests, 400,
                                        "not a cursor: use what `cursor`, `id:` or Longwire-Cursor gave you, "
                                        "unchanged");
    reader->has_token = true;
    return true;
}

/* after= and last= belong to the channel= before them. */
static bool read_place(struct subscribe_reader *reader, enum start_kind kind, struct span value)
{
    struct subscribe_requests *requests = reader->requests;
    struct start               start    = { .kind = kind };

    if (requests->count == 0)
        return subscribe_requests_fault(requests, 400,
                                        "after= and last= belong to the channel= before them; there is none");
    if (!span_u64(value, &start.seq) || start.seq > UINT64_MAX / 2)
        return subscribe_requests_fault(requests, 400, "after= and last= take a whole number");
    requests->at[requests->count - 1].start = start;
    return true;
}

static bool read_wait(struct subscribe_reader *reader, struct span value)
{
    uint64_t seconds;

    if (!span_u64(value, &seconds) || seconds > 86400)
        return subscribe_requests_fault(reader->requests, 400, "wait= takes seconds, 0 to 86400");
    reader->requests->wait_ms = (msec)seconds * 1000;
    return true;
}

static bool read_parameter(struct subscribe_reader *reader, struct span name, struct span encoded)
{
    struct span value;

    if (!url_decode(encoded, URL_QUERY, &reader->scratch, &value))
        return subscribe_requests_fault(reader->requests, 400, "a parameter is not properly percent-encoded");
    if (span_eq(name, SPAN("channel")))
        return subscribe_requests_add(reader->requests, reader->worker, value, (struct start){ .kind = START_NOW },
                                      reader->identity);
    if (span_eq(name, SPAN("after")))
        return read_place(reader, START_AFTER, value);
    if (span_eq(name, SPAN("last")))
        return read_place(reader, START_LAST, value);
    if (span_eq(name, SPAN("wait")))
        return read_wait(reader, value);
    if (span_eq(name, SPAN("cursor")))
        return reader->has_token || value.len == 0 || read_token(reader, value);
    return true;  /* unknown parameters are ignored: proxies, caches and tokens use them */
}

static bool read_query(struct subscribe_reader *reader, struct span query)
{
    struct span name, value;

    while (url_query_next(&query, &name, &value))
        if (!read_parameter(reader, name, value))
            return false;
    return true;
}

/* The id that the browser's EventSource brings back beats the place in its old URL. */
static bool read_event_id(struct subscribe_reader *reader, const struct http_request *request)
{
    struct span id = request_field(request->head, SPAN("last-event-id")), query = request->query, name, value;

    while (id.len == 0 && url_query_next(&query, &name, &value))
        if (span_eq(name, SPAN("last_event_id")) && !url_decode(value, URL_QUERY, &reader->scratch, &id))
            return subscribe_requests_fault(reader->requests, 400, "a parameter is not properly percent-encoded");
    return id.len == 0 || read_token(reader, id);
}

static bool apply_token(struct subscribe_reader *reader)
{
    bool has_list = reader->requests->count > 0;

    for (size_t i = 0; reader->has_token && i < reader->token.count; i++) {
        const struct place       *place   = &reader->token.places[i];
        struct start              start   = { START_AFTER, place->seq, place->epoch };
        struct subscribe_request *request = subscribe_requests_find(reader->requests, place->channel);
        if (request != NULL && has_list)
            request->start = start;
        else if (!has_list &&
                 !subscribe_requests_add(reader->requests, reader->worker, place->channel, start, reader->identity))
            return false;
    }
    return true;
}

bool subscribe_requests_read(struct subscribe_requests *requests, struct session_worker *worker,
                             const struct http_request *request, const struct identity *identity)
{
    struct subscribe_reader reader = { .requests = requests, .worker = worker, .identity = identity };

    requests->wait_ms = worker->limits.poll_wait_ms;
    buf_init(&reader.scratch, TOKEN_TEXT_BYTES_MAX);
    token_init(&reader.token);
    bool is_read = read_event_id(&reader, request) && read_query(&reader, request->query) && apply_token(&reader);
    if (requests->wait_ms > worker->limits.poll_wait_ms_max)
        requests->wait_ms = worker->limits.poll_wait_ms_max;
    token_fini(&reader.token);
    buf_fini(&reader.scratch);
    return is_read;
}
