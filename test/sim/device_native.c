/* device_native.c - a phone that speaks longwire.bin.v1 over a link of its own. */
#include "base/must.h"
#include "codec/bin/bin.h"
#include "device_phone.h"

static struct world *world_of(const struct phone_link *link)
{
    return &link->phone->all->all->wire.world;
}

/* --- what it says --- */

static void native_say(struct phone_link *link, const struct bin_frame *frame)
{
    struct buf bytes;

    buf_init(&bytes, 1 << 16);
    bin_put(&bytes, BIN_CLIENT, frame);
    client_link_send(&link->link, buf_span(&bytes));
    buf_fini(&bytes);
}

static void put_places(struct phone_link *link, struct buf *places)
{
    struct world *world = world_of(link);

    for (unsigned i = 0; i < world->channel_count; i++) {
        if (!phone_names_place(link, i))
            continue;
        bin_put_place(places, &(struct bin_place){ span_str(world->channels[i]->text), link->phone->has[i].seq, 0 });
        link->at_place[i].named = link->phone->has[i].seq;
    }
}

static void native_connect(struct phone_link *link, bool by_ticket, bool names_places)
{
    char             token[PHONE_TOKEN_BYTES];
    struct buf       places;
    struct bin_frame frame;

    buf_init(&places, 16384);
    bin_init(&frame, BIN_CONNECT);
    phone_token_text(link->phone, &link->token, token);
    if (by_ticket) {
        bin_set_bytes(&frame, BIN_TICKET, span_str(link->ticket.text));
    } else {
        bin_set_bytes(&frame, BIN_TOKEN, span_str(token));
        bin_set_flag(&frame, BIN_STANDING, true);
        bin_set_bytes(&frame, BIN_DEVICE, span_str(link->phone->name));
    }
    if (names_places)
        put_places(link, &places);
    bin_set_bytes(&frame, BIN_RESUME, buf_span(&places));
    native_say(link, &frame);
    buf_fini(&places);
}

static void native_keep(struct phone_link *link, unsigned channel)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_SUBSCRIBE);
    bin_set_bytes(&frame, BIN_CHANNEL, span_str(world_of(link)->channels[channel]->text));
    bin_set_flag(&frame, BIN_KEEP, true);
    native_say(link, &frame);
}

static void native_ack(struct phone_link *link, unsigned channel, uint64_t seq, uint64_t ref)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_ACK);
    bin_set_bytes(&frame, BIN_CHANNEL, span_str(world_of(link)->channels[channel]->text));
    bin_set_number(&frame, BIN_SEQ, seq);
    if (ref != 0)
        bin_set_number(&frame, BIN_REF, ref);
    native_say(link, &frame);
}

/* --- what it hears --- */

static unsigned channel_of(struct phone_link *link, const struct bin_frame *frame)
{
    return channel_named(world_of(link), bin_bytes(frame, BIN_CHANNEL));
}

static void hear_connected(struct phone_link *link, const struct bin_frame *frame)
{
    phone_take_connected(link, &(struct phone_connected){
        bin_number(frame, BIN_GENERATION), bin_number(frame, BIN_CONNECTION), bin_has(frame, BIN_RESUMED),
        bin_bytes(frame, BIN_TICKET),
    });
}

static void hear_subscribed(struct phone_link *link, const struct bin_frame *frame)
{
    phone_take_subscribed(link, channel_of(link, frame), bin_number(frame, BIN_EPOCH), bin_number(frame, BIN_HEAD));
}

static void hear_message(struct phone_link *link, const struct bin_frame *frame)
{
    phone_take_message(link, channel_of(link, frame), bin_number(frame, BIN_EPOCH), bin_number(frame, BIN_SEQ),
                       frame->payload, span_starts(bin_bytes(frame, BIN_MEDIA), SPAN("application/vnd.longwire.")));
}

static void hear_gap(struct phone_link *link, const struct bin_frame *frame)
{
    promise_broken(world_of(link), "nothing is ever let go, and u%u/%s is told of a gap in %.*s: %" PRIu64 " to %" PRIu64
                   ", %" PRIu64, link->phone->user, link->phone->name, SPAN_ARG(bin_bytes(frame, BIN_CHANNEL)),
                   bin_number(frame, BIN_GAP_FROM), bin_number(frame, BIN_GAP_TO), bin_number(frame, BIN_WHY));
}

static void hear_error(struct phone_link *link, const struct bin_frame *frame)
{
    phone_take_error(link, bin_number(frame, BIN_CODE), bin_bytes(frame, BIN_REASON));
}

static void hear_replaced(struct phone_link *link, const struct bin_frame *frame)
{
    (void)frame;
    phone_take_replaced(link);
}

static void hear_reconnect(struct phone_link *link, const struct bin_frame *frame)
{
    (void)frame;
    link->is_told = true;
}

static void hear_expiring(struct phone_link *link, const struct bin_frame *frame)
{
    (void)frame;
    phone_take_expiring(link);
}

static void hear_closing(struct phone_link *link, const struct bin_frame *frame)
{
    phone_take_closing(link, bin_number(frame, BIN_CODE));
    phone_link_go(link, "the server closes it");
}

static void hear_ack(struct phone_link *link, const struct bin_frame *frame)
{
    phone_take_ack(link, channel_of(link, frame), bin_number(frame, BIN_SEQ), bin_number(frame, BIN_REF));
}

static void hear_ping(struct phone_link *link, const struct bin_frame *frame)
{
    struct bin_frame pong;

    (void)frame;
    bin_init(&pong, BIN_PONG);
    native_say(link, &pong);
}

static void hear_nothing(struct phone_link *link, const struct bin_frame *frame)
{
    (void)link, (void)frame;
}

static void native_hear(struct phone_link *link)
{
    static void (*const hear[BIN_TYPE_COUNT])(struct phone_link *, const struct bin_frame *) = {
        [BIN_CONNECT] = hear_connected, [BIN_SUBSCRIBE] = hear_subscribed, [BIN_UNSUBSCRIBE] = hear_nothing,
        [BIN_FULL] = hear_message, [BIN_GAP] = hear_gap, [BIN_ACK] = hear_ack, [BIN_PING] = hear_ping, [BIN_PONG] = hear_nothing,
        [BIN_ERROR] = hear_error, [BIN_RECONNECT] = hear_reconnect, [BIN_REPLACED] = hear_replaced,
        [BIN_EXPIRING] = hear_expiring, [BIN_CLOSING] = hear_closing, [BIN_ALIAS] = hear_nothing,
    };
    struct bin_frame frame;
    struct bin_fault fault;
    struct span      bytes;
    size_t           used, total = 0;
    const char      *reason = "";

    while (link->state != LINK_AWAY &&
           bin_split(span_skip(buf_span(&link->link.in), total), UINT32_MAX, &bytes, &used, &fault) == BIN_SPLIT_FRAME) {
        total += used;
        bool is_understood = bin_read(bytes, BIN_SERVER, &frame, &reason) == BIN_OK;
        promise(world_of(link), is_understood, "a phone can't read a frame: %s", reason);
        promise(world_of(link), bin_aliases_take(&link->aliases, &frame), "a phone was not told an alias");
        promise(world_of(link), hear[frame.type] != NULL, "a phone is sent a frame of type %02x", (unsigned)frame.type);
        hear[frame.type](link, &frame);
    }
    if (link->state != LINK_AWAY)
        buf_drop(&link->link.in, total);
}

const struct phone_says phone_native = {
    .connect = native_connect, .keep = native_keep, .ack = native_ack, .hear = native_hear,
};
