#include "wire_follower_priv.h"

static void ws_subscribe(struct follower *follower, unsigned channel)
{
    const struct kept_place *place = &follower->at_place[channel];
    struct buf                 frame;

    buf_init(&frame, 1024);
    buf_putf(&frame, "{\"type\":\"subscribe\",\"channel\":\"%s\"", follower_channel_text(follower, channel));
    if (place->is_known && place->seq > 0) {
        buf_putf(&frame, ",\"after\":%" PRIu64, place->seq);
        if (place->is_epoch_known)
            buf_putf(&frame, ",\"epoch\":\"%016" PRIx64 "\"", place->epoch);
    } else {
        follower->at_place[channel].is_known = false;
        if (follower->beginning == BEGIN_LAST)
            buf_put_lit(&frame, ",\"last\":3");
        else if (follower->beginning == BEGIN_KEPT)
            buf_put_lit(&frame, ",\"after\":0");
    }
    buf_putf(&frame, ",\"ref\":%u}", channel);
    ws_say(&follower->link, 1, buf_span(&frame));
    buf_fini(&frame);
}

static void ws_resume(struct follower *follower)
{
    struct world *world = &follower->wire->world;
    unsigned      count = 0;
    struct buf    frame;

    buf_init(&frame, 4096);
    buf_put_lit(&frame, "{\"type\":\"connect\",\"resume\":{");
    for (unsigned i = 0; i < world->channel_count; i++) {
        const struct kept_place *place = &follower->at_place[i];
        if (follower->follows[i] && place->is_known && place->is_epoch_known && place->seq > 0)
            buf_putf(&frame, "%s\"%s\":{\"seq\":%" PRIu64 ",\"epoch\":\"%016" PRIx64 "\"}", count++ == 0 ? "" : ",",
                     follower_channel_text(follower, i), place->seq, place->epoch);
    }
    buf_put_lit(&frame, "}}");
    ws_say(&follower->link, 1, buf_span(&frame));
    buf_fini(&frame);
    for (unsigned i = 0; i < world->channel_count; i++) {
        const struct kept_place *place = &follower->at_place[i];
        if (follower->follows[i] && !(place->is_known && place->is_epoch_known && place->seq > 0))
            ws_subscribe(follower, i);
    }
}

static void ws_subscribe_all(struct follower *follower)
{
    if (one_in(&follower->wire->world, OF_READERS, 3)) {
        ws_resume(follower);
        return;
    }
    for (unsigned i = 0; i < follower->wire->world.channel_count; i++)
        if (follower->follows[i])
            ws_subscribe(follower, i);
}

/* Who follows from now on begins behind the head that it is told. */
void follower_take_subscribed(struct follower *follower, unsigned channel, uint64_t epoch, uint64_t head)
{
    promise(&follower->wire->world, !follower->is_placed[channel], "%s is subscribed twice",
            follower_channel_text(follower, channel));
    follower->is_placed[channel] = true;
    tell(&follower->wire->world, "follower %u is subscribed to %s at %" PRIu64 " of %" PRIu64, follower->no,
         follower_channel_text(follower, channel), head, epoch);
    if (!follower->at_place[channel].is_known && follower->beginning == BEGIN_NOW)
        follower_take_place(follower, channel, epoch, head);
}

static void hear_subscribed(struct follower *follower, const struct json_token *object)
{
    struct object_reader *objects = &follower->all->objects;

    follower_take_subscribed(follower, object_channel(objects, object), object_epoch(objects, object),
                             object_number(objects, object, "head"));
}

static void hear_error(struct follower *follower, const struct json_token *object)
{
    uint64_t code = object_number(&follower->all->objects, object, "code");

    follower->wants_cursor &= code != 409;
    promise(&follower->wire->world, code == 409, "follower %u gets an error %" PRIu64 ": %.*s", follower->no, code,
            SPAN_ARG(object->raw));
}

static void hear_object(struct follower *follower, struct span text)
{
    struct world            *world  = &follower->wire->world;
    const struct json_token *object = follower_read(follower, text);
    struct span              type   = object_text(&follower->all->objects, object, "type");

    if (span_eq(type, SPAN("connected"))) {
        if (follower->ref != 0)
            ws_subscribe_all(follower);
        follower->ref = 0;
    } else if (span_eq(type, SPAN("subscribed"))) {
        hear_subscribed(follower, object);
    } else if (span_eq(type, SPAN("cursor"))) {
        follower->wants_cursor = false;
        follower_take_token(follower, object_text(&follower->all->objects, object, "cursor"));
    } else if (span_eq(type, SPAN("error"))) {
        hear_error(follower, object);
    } else if (span_eq(type, SPAN("reconnect"))) {
        follower->is_told = true;
    } else {
        unsigned channel = object_channel(&follower->all->objects, object);
        promise(world, follower->is_placed[channel], "%s has news before it is subscribed",
                follower_channel_text(follower, channel));
        follower_take_object(follower, object);
    }
}

static void hear_close(struct follower *follower, struct span payload)
{
    unsigned code = payload.len < 2 ? 0 : (unsigned)(unsigned char)payload.at[0] << 8 | (unsigned char)payload.at[1];

    promise(&follower->wire->world, code == 1001 && follower->is_told, "follower %u is closed with %u%s", follower->no,
            code, follower->is_told ? "" : ", without a word about coming again");
    ws_say(&follower->link, 8, payload);
    follower_go(follower, "the server stops");
}

void follower_hear_ws(struct follower *follower)
{
    struct ws_heard heard;
    size_t          used = 0;

    while (follower->state == IS_HEARING &&
           ws_hear(&follower->wire->world, span_skip(buf_span(&follower->link.in), used), &heard)) {
        used += heard.used;
        if (heard.opcode == 1)
            hear_object(follower, heard.payload);
        else if (heard.opcode == 9)
            ws_say(&follower->link, 10, heard.payload);
        else if (heard.opcode == 8)
            hear_close(follower, heard.payload);
    }
    if (follower->state == IS_HEARING)
        buf_drop(&follower->link.in, used);
}

void follower_ws_speak(struct follower *follower)
{
    struct world *world = &follower->wire->world;

    if (follower->state == IS_HEARING && follower->way == BY_WS && !follower->wants_cursor &&
        one_in(world, OF_READERS, 20)) {
        follower->wants_cursor = true;
        ws_say(&follower->link, 1, SPAN("{\"type\":\"cursor\",\"ref\":\"c\"}"));
    }
}
