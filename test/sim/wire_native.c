#include "wire_follower_priv.h"

/* --- what it says --- */

static void native_say(struct follower *follower, const struct bin_frame *frame)
{
    struct buf bytes;

    buf_init(&bytes, 1 << 16);
    bin_put(&bytes, BIN_CLIENT, frame);
    size_t cut = draw(&follower->wire->world, OF_READERS, bytes.len);
    client_link_send(&follower->link, span_head(buf_span(&bytes), cut));
    client_link_send(&follower->link, span_skip(buf_span(&bytes), cut));
    buf_fini(&bytes);
}

static void native_subscribe(struct follower *follower, unsigned channel)
{
    struct kept_place *place = &follower->at_place[channel];
    struct bin_frame   frame;

    bin_init(&frame, BIN_SUBSCRIBE);
    bin_set_bytes(&frame, BIN_CHANNEL, span_str(follower_channel_text(follower, channel)));
    place->is_known &= place->seq > 0;
    if (place->is_known)
        bin_set_number(&frame, BIN_AFTER, place->seq);
    else if (follower->beginning == BEGIN_LAST)
        bin_set_number(&frame, BIN_LAST, 3);
    else if (follower->beginning == BEGIN_KEPT)
        bin_set_number(&frame, BIN_AFTER, 0);
    if (place->is_known && place->is_epoch_known)
        bin_set_number(&frame, BIN_EPOCH, place->epoch);
    native_say(follower, &frame);
}

static bool can_be_resumed(const struct follower *follower, unsigned channel)
{
    const struct kept_place *place = &follower->at_place[channel];

    return place->is_known && place->is_epoch_known && place->seq > 0;
}

static void put_places(const struct follower *follower, struct buf *places)
{
    for (unsigned i = 0; i < follower->wire->world.channel_count; i++)
        if (follower->follows[i] && can_be_resumed(follower, i))
            bin_put_place(places, &(struct bin_place){ span_str(follower_channel_text(follower, i)),
                                                       follower->at_place[i].seq, follower->at_place[i].epoch });
}

static void native_connect(struct follower *follower, struct span cursor, struct span places)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_CONNECT);
    bin_set_bytes(&frame, BIN_CURSOR_TOKEN, cursor);
    bin_set_bytes(&frame, BIN_RESUME, places);
    native_say(follower, &frame);
}

/* What it follows comes with its connect, as a token or as places, or by frames right behind it. */
void follower_ask_natively(struct follower *follower)
{
    struct world *world     = &follower->wire->world;
    bool          by_token  = follower->has_token && one_in(world, OF_READERS, 3);
    bool          by_places = !by_token && one_in(world, OF_READERS, 2);
    struct buf    places;

    buf_init(&places, 1 << 16);
    memset(follower->is_placed, 0, sizeof follower->is_placed);
    follower->wants_cursor   = false;
    follower->is_turned_away = false;
    bin_aliases_fini(&follower->aliases);
    if (by_token)
        follower_go_back_to_token(follower);
    if (by_places)
        put_places(follower, &places);
    native_connect(follower, by_token ? span_str(follower->token) : SPAN(""), buf_span(&places));
    for (unsigned i = 0; i < world->channel_count && !by_token; i++)
        if (follower->follows[i] && !(by_places && can_be_resumed(follower, i)))
            native_subscribe(follower, i);
    buf_fini(&places);
}

void follower_native_speak(struct follower *follower)
{
    struct bin_frame frame;

    if (follower->state != IS_HEARING || follower->way != BY_NATIVE || follower->wants_cursor ||
        !one_in(&follower->wire->world, OF_READERS, 20))
        return;
    follower->wants_cursor = true;
    bin_init(&frame, BIN_CURSOR);
    native_say(follower, &frame);
}

/* --- what it hears --- */

static struct message *native_message(struct follower *follower, const struct bin_frame *frame, unsigned channel)
{
    enum message_kind kind = bin_has(frame, BIN_TARGET)     ? MESSAGE_RECALL
                             : bin_has(frame, BIN_RECALLED) ? MESSAGE_RECALLED
                                                            : MESSAGE_PLAIN;
    struct message   *message = message_new(follower->wire->world.channels[channel], kind, frame->payload.at,
                                            (uint32_t)frame->payload.len, SPAN("text/plain"), SPAN(""));

    message->epoch  = bin_number(frame, BIN_EPOCH);
    message->seq    = bin_number(frame, BIN_SEQ);
    message->time   = (msec)bin_number(frame, BIN_TIME);
    message->target = bin_number(frame, BIN_TARGET);
    return message;
}

static void native_hear_news(struct follower *follower, const struct bin_frame *frame)
{
    static const enum gap_why whys[] = { GAP_EXPIRED, GAP_TRIMMED, GAP_EPOCH, GAP_AHEAD, GAP_CORRUPT };
    struct world             *world  = &follower->wire->world;
    uint64_t                  why    = bin_number(frame, BIN_WHY);
    struct heard              heard  = { .channel = channel_named(world, bin_bytes(frame, BIN_CHANNEL)),
                                         .epoch   = bin_number(frame, BIN_EPOCH) };

    promise(world, follower->is_placed[heard.channel], "%s has news before it is subscribed",
            follower_channel_text(follower, heard.channel));
    promise(world, why < sizeof whys / sizeof whys[0], "a gap with the reason %" PRIu64, why);
    if (frame->type == BIN_GAP)
        heard.gap = (struct gap){ bin_number(frame, BIN_GAP_FROM), bin_number(frame, BIN_GAP_TO), whys[why] };
    else
        heard.message = native_message(follower, frame, heard.channel);
    follower_take(follower, &heard);
}

static void native_hear_error(struct follower *follower, const struct bin_frame *frame)
{
    uint64_t code = bin_number(frame, BIN_CODE);

    follower->wants_cursor &= code != 409;
    follower->is_turned_away |= code == 503;
    promise(&follower->wire->world, code == 409 || (code == 503 && follower->state == IS_ASKING),
            "follower %u gets an error %" PRIu64 ": %.*s", follower->no, code, SPAN_ARG(bin_bytes(frame, BIN_REASON)));
}

static void native_hear_closing(struct follower *follower, const struct bin_frame *frame)
{
    uint64_t code = bin_number(frame, BIN_CODE);

    promise(&follower->wire->world, (code == 1001 && follower->is_told) || (code == 1013 && follower->is_turned_away),
            "follower %u is closed with %" PRIu64 ": %.*s", follower->no, code, SPAN_ARG(bin_bytes(frame, BIN_REASON)));
    follower_go(follower, "the server says so");
}

static void native_hear_ping(struct follower *follower, const struct bin_frame *frame)
{
    struct bin_frame pong;

    (void)frame;
    bin_init(&pong, BIN_PONG);
    native_say(follower, &pong);
}

static void native_hear_connected(struct follower *follower, const struct bin_frame *frame)
{
    (void)frame;
    follower->state = IS_HEARING;
}

static void native_hear_subscribed(struct follower *follower, const struct bin_frame *frame)
{
    follower_take_subscribed(follower, channel_named(&follower->wire->world, bin_bytes(frame, BIN_CHANNEL)),
                             bin_number(frame, BIN_EPOCH), bin_number(frame, BIN_HEAD));
}

static void native_hear_cursor(struct follower *follower, const struct bin_frame *frame)
{
    follower->wants_cursor = false;
    follower_take_token(follower, bin_bytes(frame, BIN_CURSOR_TOKEN));
}

static void native_hear_reconnect(struct follower *follower, const struct bin_frame *frame)
{
    (void)frame;
    follower->is_told = true;
}

static void native_hear_alias(struct follower *follower, const struct bin_frame *frame)
{
    (void)follower, (void)frame;
}

static void native_hear_frame(struct follower *follower, const struct bin_frame *frame)
{
    static void (*const hear[BIN_TYPE_COUNT])(struct follower *, const struct bin_frame *) = {
        [BIN_CONNECT] = native_hear_connected, [BIN_SUBSCRIBE] = native_hear_subscribed, [BIN_FULL] = native_hear_news,
        [BIN_GAP] = native_hear_news,          [BIN_CURSOR] = native_hear_cursor,        [BIN_PING] = native_hear_ping,
        [BIN_ERROR] = native_hear_error,       [BIN_RECONNECT] = native_hear_reconnect,  [BIN_ALIAS] = native_hear_alias,
        [BIN_CLOSING] = native_hear_closing,
    };

    promise(&follower->wire->world, hear[frame->type] != NULL, "follower %u is sent a frame of type %02x", follower->no,
            (unsigned)frame->type);
    hear[frame->type](follower, frame);
}

void follower_hear_native(struct follower *follower)
{
    struct world    *world = &follower->wire->world;
    struct bin_frame frame;
    struct bin_fault fault;
    struct span      bytes;
    size_t           used, total = 0;
    const char      *reason = "";

    while (follower->state != IS_AWAY &&
           bin_split(span_skip(buf_span(&follower->link.in), total), UINT32_MAX, &bytes, &used, &fault) ==
               BIN_SPLIT_FRAME) {
        total += used;
        bool is_understood = bin_read(bytes, BIN_SERVER, &frame, &reason) == BIN_OK;
        promise(world, is_understood, "a client can't read a frame: %s", reason);
        promise(world, bin_aliases_take(&follower->aliases, &frame), "follower %u was not told an alias", follower->no);
        native_hear_frame(follower, &frame);
    }
    if (follower->state != IS_AWAY)
        buf_drop(&follower->link.in, total);
}
