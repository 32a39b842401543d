#include "session/subscribe_return.h"

#include <stdlib.h>

#include "base/must.h"
#include "codec/token/token.h"
#include "session/subscribe_reader.h"

enum {
    NAMED_TEXT_BYTES_MAX = 1000,  /* streams: beyond it, a token of each message does not name its channels */
    EPOCHS_OF_A_LOG      = 2,     /* readers pass from the old log to a new one, each channel in its time */
    HEAD_MARGIN_BYTES    = 256,   /* for what else the next request's head may hold */
    URL_MARGIN_BYTES     = 32,    /* a wait= that this one does not have */
};

/* The channels of requests that are sorted. The caller frees it. */
static struct place *places_of(const struct subscribe_requests *requests)
{
    struct place *places = calloc(requests->count, sizeof *places);

    must(places != NULL);
    for (size_t i = 0; i < requests->count; i++)
        places[i].channel = channel_name_span(requests->at[i].name);
    return places;
}

uint64_t subscribe_requests_set(const struct subscribe_requests *requests)
{
    struct place *places = places_of(requests);
    uint64_t      set    = token_set_of(places, requests->count);

    free(places);
    return set;
}

/* All durable channels of one store are of one epoch. In memory each channel may have its own. */
static size_t epoch_max_of(const struct subscribe_requests *requests, const struct session_worker *worker)
{
    size_t count = 0, logs = worker->limits.durable_logs == 0 ? 1 : worker->limits.durable_logs;

    for (size_t i = 0; i < requests->count; i++)
        count += requests->at[i].name->space->durability != DURABLE;
    return count + EPOCHS_OF_A_LOG * logs;
}

static size_t text_bound(const struct subscribe_requests *requests, const struct session_worker *worker, bool is_set)
{
    struct place *places = places_of(requests);
    size_t        bytes  = token_text_bound(places, requests->count, epoch_max_of(requests, worker), is_set);

    free(places);
    return bytes;
}

/* Of a head with this target, as the client writes it, but for Last-Event-ID. */
static size_t head_bytes(const struct request_head *head, size_t target_bytes)
{
    size_t bytes = head->method_text.len + 1 + target_bytes + sizeof " HTTP/1.1\r\n" - 1 + sizeof "\r\n" - 1;

    for (size_t i = 0; i < head->field_count; i++)
        if (!span_eq_nocase(head->fields[i].name, SPAN("last-event-id")))
            bytes += head->fields[i].name.len + sizeof ": \r\n" - 1 + head->fields[i].value.len;
    return bytes + HEAD_MARGIN_BYTES;
}

bool subscribe_check_stream_return(struct subscribe_requests *requests, const struct session_worker *worker,
                                   const struct http_request *request)
{
    const struct h1_limits *limits = &worker->server->limits.h1;
    const char             *advice = request->head->method == HTTP_POST
                                         ? "take a WebSocket, or long polls"
                                         : "name them in the body of POST /v1/subscribe, or take a WebSocket";

    if (requests->count > STREAM_CHANNELS_MAX)
        return subscribe_requests_fault(requests, 400,
                                        "%zu channels: a stream takes %d, because each of its messages carries the "
                                        "places of all; take a WebSocket, or long polls by POST /v1/subscribe",
                                        requests->count, STREAM_CHANNELS_MAX);
    subscribe_requests_sort(requests);
    size_t bytes = text_bound(requests, worker, false);
    if (requests->names_stay && bytes > NAMED_TEXT_BYTES_MAX) {
        requests->set = subscribe_requests_set(requests);
        bytes         = text_bound(requests, worker, true);
    }
    if (head_bytes(request->head, request->head->target.len) + sizeof "Last-Event-ID: \r\n" - 1 + bytes <=
        limits->head_bytes_max)
        return true;
    return subscribe_requests_fault(requests, 400,
                                    "%zu channels: their cursor of up to %zu bytes could not come back beside this URL "
                                    "(request_head_bytes_max, %u bytes); %s", requests->count, bytes,
                                    limits->head_bytes_max, advice);
}

bool subscribe_check_poll_return(struct subscribe_requests *requests, const struct session_worker *worker,
                                 const struct http_request *request)
{
    const struct h1_limits *limits = &worker->server->limits.h1;

    subscribe_requests_sort(requests);
    if (request->head->method == HTTP_POST)
        return true;
    size_t bytes  = text_bound(requests, worker, false);
    size_t target = request->path.len + sizeof "?cursor=" - 1 + bytes + subscribe_kept_query_bytes(request->query) +
                    URL_MARGIN_BYTES;
    if (target <= limits->target_bytes_max && head_bytes(request->head, target) <= limits->head_bytes_max)
        return true;
    return subscribe_requests_fault(requests, 400,
                                    "%zu channels: their cursor of up to %zu bytes could not come back in a URL "
                                    "(request_target_bytes_max, %u bytes); name them in the body of POST "
                                    "/v1/subscribe, or take a WebSocket", requests->count, bytes,
                                    limits->target_bytes_max);
}
