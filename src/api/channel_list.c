/* channel_list.c - GET /v1/channels: the channels that were ever used, a page at a time, with those who follow them on all nodes. */
#include "api/peers.h"
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

static void put_listing(struct buf *buf, const struct listing_command *command, bool is_incomplete)
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
    put_incomplete(buf, is_incomplete);
    buf_putc(buf, '}');
}

/* Either store may be the one that did not answer. */
static void channel_listing_refuse(struct api *api, const struct listing_command *command)
{
    static const char text[] = "the store can't be read just now";

    http_problem(api->server, command->owner, 503, NULL, command->durable.rc == RC_OK ? shard_memory_text(api->shard, text)
                                                                                      : shard_engine_text(api->shard, NULL, text),
                 retry_after(503));
}

static void channel_listing_end(struct listing_command *command, bool is_incomplete)
{
    struct http_exchange *exchange = command->owner;
    struct api           *api      = exchange->owner;

    must(api->lists_away > 0);
    api->lists_away--;
    if (command->listing.rc != RC_OK) {
        channel_listing_refuse(api, command);
    } else {
        buf_clear(&api->scratch);
        put_listing(&api->scratch, command, is_incomplete);
        http_answer(api->server, exchange, &(struct http_answer){
            .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
        });
    }
    command_free(&command->command);
}

/* --- other nodes ------------------------------------------------------------------------------------------------------- */

static void listing_add_counts(struct listing_command *command, struct span body)
{
    uint64_t count;

    for (size_t i = 0; i < command->listing.count && bus_get_number(&body, &count); i++)
        command->subscribers[i] += count;
}

static void listing_counted_elsewhere(struct peer_question *asked)
{
    struct listing_command *command       = asked->owner;
    bool                    is_incomplete = peers_are_incomplete(asked);
    struct span             body;

    for (const struct peer_answer *answer = asked->answers; answer != NULL; answer = answer->next)
        if (peer_answer_open(answer, &body))
            listing_add_counts(command, body);
    command_free(&asked->command);
    channel_listing_end(command, is_incomplete);
}

static void listing_came(struct listing_command *command)
{
    struct http_exchange *exchange = command->owner;
    struct api           *api      = exchange->owner;

    if (command->listing.rc != RC_OK || command->listing.count == 0 || !api_has_peers(api)) {
        channel_listing_end(command, false);
        return;
    }
    struct peer_question *asked = peers_question_new(PEER_LISTING, command, listing_counted_elsewhere);
    bus_put_number(&asked->body, command->listing.count);
    for (size_t i = 0; i < command->listing.count; i++)
        bus_put_text(&asked->body, channel_name_span(command->listing.channels[i].name));
    shard_ask_peers(api->shard, asked);
}

static void peer_listing_counted(struct listing_command *command)
{
    struct peer_call *call = command->owner;

    for (size_t i = 0; i < command->listing.count; i++)
        bus_put_number(&call->answer, command->subscribers[i]);
    command_free(&command->command);
    peer_call_done(call);
}

static bool read_named_channels(const struct api *api, struct span body, struct listing_command *ret)
{
    struct channel_name *channel;
    struct span          name;
    uint64_t             count;

    if (!bus_get_number(&body, &count) || count > LISTING_CHANNELS_MAX)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        if (!bus_get_text(&body, LISTING_TEXT_MAX, &name) ||
            channel_name_new(api->namespaces, api->hash_key, name, &channel) != CHANNEL_NAME_OK)
            return false;
        listing_command_name(ret, &channel);
    }
    return true;
}

void serve_peer_listing(struct api *api, struct peer_call *call, struct span body)
{
    struct listing_command *command = listing_command_counting();

    command->owner    = call;
    command->answered = peer_listing_counted;
    if (read_named_channels(api, body, command)) {
        shard_list(api->shard, command);
        return;
    }
    command_free(&command->command);
    peer_call_unreadable(call);
}

/* --- the call ---------------------------------------------------------------------------------------------------------- */

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
