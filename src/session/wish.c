#include "session/wish.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "codec/token/token.h"
#include "codec/url/url.h"

void wishes_init(struct wishes *wishes)
{
    *wishes = (struct wishes){ 0 };
}

void wishes_fini(struct wishes *wishes)
{
    for (size_t i = 0; i < wishes->count; i++)
        channel_name_unref(wishes->at[i].name);
    free(wishes->at);
}

static bool wishes_fault(struct wishes *wishes, unsigned status, const char *why)
{
    wishes->fault_status = status;
    snprintf(wishes->fault, sizeof wishes->fault, "%s", why);
    return false;
}

static struct wish *wishes_find(struct wishes *wishes, struct span channel)
{
    for (size_t i = 0; i < wishes->count; i++)
        if (span_eq(channel_name_span(wishes->at[i].name), channel))
            return &wishes->at[i];
    return NULL;
}

static void wishes_push(struct wishes *wishes, struct channel_name *name, struct start start)
{
    if (wishes->count == wishes->cap) {
        wishes->cap = wishes->cap == 0 ? 1 : wishes->cap * 2;
        wishes->at  = realloc(wishes->at, wishes->cap * sizeof wishes->at[0]);
        must(wishes->at != NULL);
    }
    wishes->at[wishes->count++] = (struct wish){ name, start };
}

bool wishes_add(struct wishes *wishes, struct desk *desk, struct span channel, struct start start,
                const struct identity *identity)
{
    struct channel_name    *name;
    enum channel_name_fault fault;

    if (wishes->count >= desk->limits.channels_max)
        return wishes_fault(wishes, 400, "too many channels on one connection (channels_per_connection_max)");
    if (wishes_find(wishes, channel) != NULL)
        return wishes_fault(wishes, 400, "a channel is named twice");
    fault = channel_name_new(desk->namespaces, desk->hash_key, channel, &name);
    if (fault != CHANNEL_NAME_OK)
        return wishes_fault(wishes, fault == CHANNEL_NAME_UNKNOWN ? 404 : 400, channel_name_fault_text(fault));
    if (!identity_may(identity, name->space->subscribe, RIGHT_SUBSCRIBE)) {
        unsigned status = identity_refusal(identity, name->space->subscribe);
        channel_name_unref(name);
        return wishes_fault(wishes, status,
                            "following this channel needs an API key with the right to subscribe");
    }
    wishes_push(wishes, name, start);
    return true;
}

/* --- a request's parameters --- */

struct wish_reader {
    struct wishes         *wishes;
    struct desk           *desk;
    const struct identity *identity;
    struct buf             room;       /* for decoding */
    struct token           token;
    bool                   has_token;
};

static bool read_token(struct wish_reader *reader, struct span text)
{
    if (!token_get(text, &reader->token))
        return wishes_fault(reader->wishes, 400,
                            "not a cursor: use what `cursor`, `id:` or Longwire-Cursor gave you, unchanged");
    reader->has_token = true;
    return true;
}

/* after= and last= belong to the channel= before them. */
static bool read_place(struct wish_reader *reader, enum start_kind kind, struct span value)
{
    struct wishes *wishes = reader->wishes;
    struct start   start  = { .kind = kind };

    if (wishes->count == 0)
        return wishes_fault(wishes, 400, "after= and last= belong to the channel= before them; there is none");
    if (!span_u64(value, &start.seq) || start.seq > UINT64_MAX / 2)
        return wishes_fault(wishes, 400, "after= and last= take a whole number");
    wishes->at[wishes->count - 1].start = start;
    return true;
}

static bool read_wait(struct wish_reader *reader, struct span value)
{
    uint64_t seconds;

    if (!span_u64(value, &seconds) || seconds > 86400)
        return wishes_fault(reader->wishes, 400, "wait= takes seconds, 0 to 86400");
    reader->wishes->wait_ms = (msec)seconds * 1000;
    return true;
}

static bool read_parameter(struct wish_reader *reader, struct span name, struct span encoded)
{
    struct span value;

    if (!url_decode(encoded, URL_QUERY, &reader->room, &value))
        return wishes_fault(reader->wishes, 400, "a parameter is not properly percent-encoded");
    if (span_eq(name, SPAN("channel")))
        return wishes_add(reader->wishes, reader->desk, value, (struct start){ .kind = START_NOW }, reader->identity);
    if (span_eq(name, SPAN("after")))
        return read_place(reader, START_AFTER, value);
    if (span_eq(name, SPAN("last")))
        return read_place(reader, START_LAST, value);
    if (span_eq(name, SPAN("wait")))
        return read_wait(reader, value);
    if (span_eq(name, SPAN("cursor")))
        return reader->has_token || value.len == 0 || read_token(reader, value);
    return true;  /* unknown parameters are for others: proxies, caches, tokens */
}

static bool read_query(struct wish_reader *reader, struct span query)
{
    struct span name, value;

    while (url_query_next(&query, &name, &value))
        if (!read_parameter(reader, name, value))
            return false;
    return true;
}

/* What the browser's EventSource brings back beats what stands in its old URL. */
static bool read_event_id(struct wish_reader *reader, const struct http_request *request)
{
    struct span id = h1_field(request->head, SPAN("last-event-id")), query = request->query, name, value;

    while (id.len == 0 && url_query_next(&query, &name, &value))
        if (span_eq(name, SPAN("last_event_id")) && !url_decode(value, URL_QUERY, &reader->room, &id))
            return wishes_fault(reader->wishes, 400, "a parameter is not properly percent-encoded");
    return id.len == 0 || read_token(reader, id);
}

static bool apply_token(struct wish_reader *reader)
{
    bool has_list = reader->wishes->count > 0;

    for (size_t i = 0; reader->has_token && i < reader->token.count; i++) {
        const struct place *place = &reader->token.places[i];
        struct start        start = { START_AFTER, place->seq, place->epoch };
        struct wish        *wish  = wishes_find(reader->wishes, place->channel);
        if (wish != NULL && has_list)
            wish->start = start;
        else if (!has_list && !wishes_add(reader->wishes, reader->desk, place->channel, start, reader->identity))
            return false;
    }
    return true;
}

bool wishes_read(struct wishes *wishes, struct desk *desk, const struct http_request *request,
                 const struct identity *identity)
{
    struct wish_reader reader = { .wishes = wishes, .desk = desk, .identity = identity };

    wishes->wisher  = identity->number;
    wishes->wait_ms = desk->limits.poll_wait_ms;
    buf_init(&reader.room, TOKEN_TEXT_BYTES_MAX);
    token_init(&reader.token);
    bool is_read = read_event_id(&reader, request) && read_query(&reader, request->query) && apply_token(&reader);
    if (wishes->wait_ms > desk->limits.poll_wait_ms_max)
        wishes->wait_ms = desk->limits.poll_wait_ms_max;
    token_fini(&reader.token);
    buf_fini(&reader.room);
    return is_read;
}
