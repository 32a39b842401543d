/* channel_list.c - GET /v1/channels: the channels that were ever used, a page at a time. */
#include "api/call.h"
#include "base/must.h"
#include "codec/url/url.h"

enum {
    LIST_LIMIT_DEFAULT = 100,
    LISTS_AWAY_MAX     = 4,  /* of one loop, at a time: each keeps a reader of the store busy */
};

static void put_listed(struct buf *buf, const struct listed_channel *channel, uint64_t subscribers)
{
    const struct store_read facts = {
        .channel = channel->name, .epoch = channel->epoch, .first = channel->first, .head = channel->head,
        .bytes = channel->bytes,
    };

    channel_info_put(buf, &facts);
    buf_put_lit(buf, ",\"bytes\":");
    buf_put_u64(buf, channel->bytes);
    buf_put_lit(buf, ",\"subscribers\":");
    buf_put_u64(buf, subscribers);
    if (channel->rc != RC_OK)
        buf_put_lit(buf, ",\"unreadable\":true");
    buf_putc(buf, '}');
}

static void put_listing(struct buf *buf, const struct listing_command *command)
{
    const struct store_listing *listing = &command->listing;

    buf_put_lit(buf, "{\"channels\":[");
    for (size_t i = 0; i < listing->count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        put_listed(buf, &listing->channels[i], command->subscribers[i]);
    }
    buf_putc(buf, ']');
    if (listing->reached.len > 0) {
        buf_put_lit(buf, ",\"next\":");
        json_put_string(buf, buf_span(&listing->reached));
    }
    buf_putc(buf, '}');
}

static void listing_came(struct listing_command *command)
{
    struct http_exchange *exchange = command->owner;
    struct api           *api      = exchange->owner;

    must(api->lists_away > 0);
    api->lists_away--;
    if (command->listing.rc != RC_OK) {
        call_answer_unreadable(api, exchange);
    } else {
        buf_clear(&api->scratch);
        put_listing(&api->scratch, command);
        http_answer(api->server, exchange, &(struct http_answer){
            .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
        });
    }
    command_free(&command->command);
}

/* A text of the query, decoded into `scratch`; empty if it isn't there. False: answered with 400. */
static bool list_text(const struct call *call, struct span name, struct buf *scratch, struct span *ret)
{
    struct span encoded;

    *ret = SPAN("");
    buf_init(scratch, LISTING_TEXT_MAX);
    if (!call_parameter(call, name, &encoded) ||
        (url_decode(encoded, URL_QUERY, scratch, ret) && ret->len <= LISTING_TEXT_MAX))
        return true;
    call_refuse(call, 400, "prefix= and after= are the beginning of a channel's name, or all of it: 233 bytes at most");
    return false;
}

static void list_ask(const struct call *call, struct span prefix, struct span after, uint64_t limit)
{
    struct listing_command *command =
        listing_command_new(prefix, after, (uint32_t)(limit < LISTING_CHANNELS_MAX ? limit : LISTING_CHANNELS_MAX));

    command->owner    = call->exchange;
    command->answered = listing_came;
    call->api->lists_away++;
    shard_list(call->api->shard, command);
}

static const struct span list_parameters[] = { SPAN("prefix"), SPAN("after"), SPAN("limit") };

static void list_channels(const struct call *call)
{
    struct buf  prefix_scratch, after_scratch;
    struct span prefix, after;
    bool        has_limit;
    uint64_t    limit = LIST_LIMIT_DEFAULT;

    buf_init(&after_scratch, LISTING_TEXT_MAX);
    if (list_text(call, SPAN("prefix"), &prefix_scratch, &prefix) &&
        list_text(call, SPAN("after"), &after_scratch, &after) && call_u64(call, SPAN("limit"), &has_limit, &limit)) {
        if (limit == 0)
            call_refuse(call, 400, "limit= is 1 or more");
        else if (call->api->lists_away >= LISTS_AWAY_MAX)
            call_refuse(call, 503, "too many list the channels at a time; ask again a little later");
        else
            list_ask(call, prefix, after, limit);
    }
    buf_fini(&prefix_scratch);
    buf_fini(&after_scratch);
}

void serve_channels(struct call *call)
{
    if (call_passes(call, may(call->identity, NULL, ACTION_LIST)) &&
        call_knows_query(call, KNOWN_WORDS(list_parameters)))
        list_channels(call);
}
