#include "wire_follower.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "model.h"
#include "wire_client.h"
#include "wire_node.h"
#include "wire_plant.h"

enum {
    FOLLOWERS_MAX   = 5,
    AWAY_MS_MAX     = 80,
    STAY_MS_MAX     = 900,
    PATIENCE_MS     = 2 * LINK_HEARTBEAT_MS + 200,
    TOKEN_BYTES_MAX = 512,
    TEXT_BYTES_MAX  = 16 * 1024 * 1024,
    POLL_BYTES      = 1024 * 1024,  /* what a poll's answer ends with */
    POLL_OBJECTS    = 1000,
};

enum follower_way { BY_WS, BY_SSE, BY_NDJSON, BY_MULTIPART, BY_POLL, WAY_COUNT };

enum follower_state { IS_AWAY, IS_ASKING, IS_HEARING };

/* Where it begins in a channel of which it has no place. */
enum beginning { BEGIN_NOW, BEGIN_LAST, BEGIN_KEPT };

struct follower {
    struct followers   *all;
    struct wire_world  *wire;
    unsigned            no;
    struct client_link  link;
    enum follower_way   way;
    enum follower_state state;
    msec                at;          /* away: until then; else it goes then */
    msec                came_at;
    bool                follows[CHANNELS_MAX];
    enum beginning      beginning;
    struct kept_place at_place[CHANNELS_MAX];  /* behind what it has handled */
    char                token[TOKEN_BYTES_MAX + 1];
    struct kept_place token_place[CHANNELS_MAX];  /* what it had handled when it was given the token */
    bool                has_token;
    bool                is_told;     /* WS: that the server stops; streams: the end */
    bool                is_placed[CHANNELS_MAX];    /* WS: has said subscribed on this link */
    bool                wants_cursor;
    unsigned            ref;
    struct buf          text;        /* the body of a stream, not understood yet */
    char                boundary[80];
    bool                is_begun;    /* multipart: the first delimiter was read */
};

struct followers {
    struct wire_world *wire;
    unsigned           count;
    bool               are_leaving;
    struct object_reader objects;
    struct follower    at[FOLLOWERS_MAX];
};

static const char *way_text(enum follower_way way)
{
    static const char *const texts[WAY_COUNT] = { "WebSocket", "SSE", "NDJSON", "multipart", "long poll" };
    return texts[way];
}

static const char *channel_text(const struct follower *follower, unsigned channel)
{
    return follower->wire->world.channels[channel]->text;
}

/* --- coming --- */

static void put_channel(const struct follower *follower, struct buf *query, unsigned channel)
{
    const struct kept_place *place = &follower->at_place[channel];

    buf_putf(query, "%schannel=%s", query->len == 0 ? "" : "&", channel_text(follower, channel));
    if (place->is_known)
        buf_putf(query, "&after=%" PRIu64, place->seq);
    else if (follower->beginning == BEGIN_LAST)
        buf_put_lit(query, "&last=3");
    else if (follower->beginning == BEGIN_KEPT)
        buf_put_lit(query, "&after=0");
}

/* Places by number know no epoch. */
static void put_places(struct follower *follower, struct buf *query)
{
    for (unsigned i = 0; i < follower->wire->world.channel_count; i++) {
        if (!follower->follows[i])
            continue;
        follower->at_place[i].is_known &= follower->at_place[i].seq > 0;
        follower->at_place[i].is_epoch_known = false;
        put_channel(follower, query, i);
    }
}

/* The place that the token names is the place to go on from, though more may have been handled since. */
static void take_token_places(struct follower *follower)
{
    memcpy(follower->at_place, follower->token_place, sizeof follower->at_place);
}

static void ask_by_http(struct follower *follower)
{
    static const char *const accept[WAY_COUNT] = {
        [BY_SSE] = "text/event-stream", [BY_NDJSON] = "application/x-ndjson", [BY_MULTIPART] = "multipart/mixed",
        [BY_POLL] = "application/json",
    };
    struct world *world    = &follower->wire->world;
    bool          by_token = follower->has_token && (follower->way == BY_POLL || !one_in(world, OF_READERS, 3));
    bool          by_field = by_token && one_in(world, OF_READERS, 2);
    struct buf    query, request;

    buf_init(&query, 8192);
    buf_init(&request, 16384);
    if (by_token)
        take_token_places(follower);
    else
        put_places(follower, &query);
    if (by_token && !by_field)
        buf_putf(&query, "%s=%s", one_in(world, OF_READERS, 2) ? "cursor" : "last_event_id", follower->token);
    if (follower->way == BY_POLL)
        buf_putf(&query, "%swait=%u", query.len == 0 ? "" : "&", (unsigned)draw(world, OF_READERS, 2));
    buf_putf(&request, "GET /v1/subscribe?%.*s HTTP/1.1\r\nHost: sim\r\nAccept: %s\r\n", SPAN_ARG(buf_span(&query)),
             accept[follower->way]);
    if (by_field)
        buf_putf(&request, "Last-Event-ID: %s\r\n", follower->token);
    buf_put_lit(&request, "\r\n");
    client_link_send(&follower->link, buf_span(&request));
    follower->came_at = world->now;
    buf_fini(&query);
    buf_fini(&request);
}

/* Channels in the URL, or by frames once it is connected. */
static void ask_by_ws(struct follower *follower)
{
    struct world *world = &follower->wire->world;
    struct buf    query;

    buf_init(&query, 8192);
    memset(follower->is_placed, 0, sizeof follower->is_placed);
    follower->wants_cursor = false;
    if (follower->has_token && one_in(world, OF_READERS, 3)) {
        take_token_places(follower);
        buf_putf(&query, "cursor=%s", follower->token);
    } else if (one_in(world, OF_READERS, 3)) {
        put_places(follower, &query);
    }
    buf_putc(&query, '\0');
    follower->ref = query.len == 1;
    ws_ask_upgrade(&follower->link, query.at);
    buf_fini(&query);
}

static void follower_go(struct follower *follower, const char *why)
{
    struct world *world = &follower->wire->world;

    tell(world, "follower %u goes: %s", follower->no, why);
    client_link_close(&follower->link);
    buf_clear(&follower->text);
    follower->state = IS_AWAY;
    follower->at    = world->now + (msec)draw(world, OF_READERS, AWAY_MS_MAX);
}

/* Now and then it forgets all, as a new client would. */
static void follower_forget(struct follower *follower)
{
    struct world *world = &follower->wire->world;

    memset(follower->at_place, 0, sizeof follower->at_place);
    follower->has_token = false;
    follower->beginning = follower->wire->faults.big ? BEGIN_KEPT : (enum beginning)draw(world, OF_READERS, 3);
}

static void follower_come(struct follower *follower)
{
    struct world *world  = &follower->wire->world;
    bool          is_big = follower->wire->faults.big;  /* then polls are to be full */

    if (!client_link_open(&follower->link)) {
        follower->at = world->now + 1 + (msec)draw(world, OF_READERS, AWAY_MS_MAX);
        return;
    }
    if (!world->is_healing && one_in(world, OF_READERS, is_big ? 2 : 8))
        follower_forget(follower);
    follower->way      = is_big && one_in(world, OF_READERS, 2) ? BY_POLL
                                                                : (enum follower_way)draw(world, OF_READERS, WAY_COUNT);
    follower->state    = IS_ASKING;
    follower->is_told  = false;
    follower->is_begun = false;
    follower->came_at  = world->now;
    follower->at       = world->now + 1 + (msec)draw(world, OF_READERS, STAY_MS_MAX);
    tell(world, "follower %u comes to loop %u by %s", follower->no, follower->link.loop, way_text(follower->way));
    if (follower->way == BY_WS)
        ask_by_ws(follower);
    else
        ask_by_http(follower);
}

/* --- objects --- */

static void check_next(struct follower *follower, unsigned channel, uint64_t epoch, uint64_t seq)
{
    const struct kept_place *place = &follower->at_place[channel];
    struct world              *world = &follower->wire->world;

    if (!place->is_known)
        return;
    promise(world, seq == place->seq + 1, "no hole, nothing twice: follower %u of %s by %s has %" PRIu64 ", gets %" PRIu64,
            follower->no, channel_text(follower, channel), way_text(follower->way), place->seq, seq);
    promise(world, !place->is_epoch_known || epoch == place->epoch,
            "follower %u of %s is in epoch %" PRIu64 ", gets %" PRIu64 " of epoch %" PRIu64, follower->no,
            channel_text(follower, channel), place->epoch, seq, epoch);
}

static void take_place(struct follower *follower, unsigned channel, uint64_t epoch, uint64_t seq)
{
    follower->at_place[channel] = (struct kept_place){ epoch, seq, true, true };
}

static void take_gap_of_epoch(struct follower *follower, unsigned channel, uint64_t epoch, const struct gap *gap)
{
    const struct kept_place *place = &follower->at_place[channel];
    struct world              *world = &follower->wire->world;

    promise(world, gap->from == 1, "a new log begins at 1, not at %" PRIu64, gap->from);
    promise(world, !place->is_known || !place->is_epoch_known || place->epoch < epoch,
            "epochs rise: follower %u had %" PRIu64 ", hears %" PRIu64, follower->no, place->epoch, epoch);
    take_place(follower, channel, epoch, gap->to);
}

/* Only who names a place without its epoch can be ahead of a log. */
static void take_gap_ahead(struct follower *follower, unsigned channel, uint64_t epoch, const struct gap *gap)
{
    const struct kept_place *place = &follower->at_place[channel];

    promise(&follower->wire->world, place->is_known && !place->is_epoch_known && gap->to == place->seq,
            "follower %u of %s has %" PRIu64 " and is told that %" PRIu64 " to %" PRIu64 " was never written", follower->no,
            channel_text(follower, channel), place->seq, gap->from, gap->to);
    take_place(follower, channel, epoch, gap->from - 1);
}

static void tell_heard(const struct follower *follower, const struct heard *heard)
{
    struct world *world = &follower->wire->world;

    if (heard->message != NULL)
        tell(world, "follower %u gets %s %" PRIu64, follower->no, channel_text(follower, heard->channel),
             heard->message->seq);
    else
        tell(world, "follower %u is told of a gap in %s: %" PRIu64 " to %" PRIu64 ", %s", follower->no,
             channel_text(follower, heard->channel), heard->gap.from, heard->gap.to, gap_why_text(heard->gap.why));
}

static void take_heard(struct follower *follower, struct heard *heard)
{
    struct world *world   = &follower->wire->world;
    unsigned      channel = heard->channel;

    tell_heard(follower, heard);
    promise(world, follower->follows[channel], "follower %u does not follow %s", follower->no,
            channel_text(follower, channel));
    if (heard->message == NULL && heard->gap.why == GAP_EPOCH) {
        take_gap_of_epoch(follower, channel, heard->epoch, &heard->gap);
    } else if (heard->message == NULL && heard->gap.why == GAP_AHEAD) {
        take_gap_ahead(follower, channel, heard->epoch, &heard->gap);
    } else {
        uint64_t first = heard->message != NULL ? heard->message->seq : heard->gap.from;
        uint64_t last  = heard->message != NULL ? heard->message->seq : heard->gap.to;
        check_next(follower, channel, heard->epoch, first);
        heard_check(world, heard, follower->came_at);
        take_place(follower, channel, heard->epoch, last);
    }
}

static void take_object(struct follower *follower, const struct json_token *object)
{
    struct heard heard = object_heard(&follower->all->objects, object);
    take_heard(follower, &heard);
}

/* Who named a seq without its epoch may be ahead of the log. Until it is told, its place is the head: were it what was
 * claimed, messages written in the meantime would be passed over by whoever resumes there. */
static bool is_not_told_ahead(const struct kept_place *had, const struct kept_place *named)
{
    return had->is_known && !had->is_epoch_known && named->seq < had->seq;
}

/* The token names the place behind all that was handled, no less and no more. */
static void take_token_place(struct follower *follower, unsigned channel, const struct kept_place *named)
{
    struct kept_place *had = &follower->at_place[channel];

    promise(&follower->wire->world, named->is_known, "a token without %s", channel_text(follower, channel));
    follower->token_place[channel] = *named;
    if (is_not_told_ahead(had, named) || (!had->is_known && follower->beginning != BEGIN_NOW))
        return;  /* nor has it lost anything if retention moves on before it is given the first message */
    promise(&follower->wire->world,
            !had->is_known || (named->seq == had->seq && (!had->is_epoch_known || named->epoch == had->epoch)),
            "follower %u of %s by %s has %" PRIu64 " of epoch %" PRIu64 ", its token names %" PRIu64 " of %" PRIu64,
            follower->no, channel_text(follower, channel), way_text(follower->way), had->seq, had->epoch, named->seq,
            named->epoch);
    *had = *named;
}

static void take_token(struct follower *follower, struct span token)
{
    struct world       *world = &follower->wire->world;
    struct kept_place named[CHANNELS_MAX] = { 0 };

    must(token.len <= TOKEN_BYTES_MAX);
    tell(world, "follower %u is given a token", follower->no);
    token_read(world, token, named);
    for (unsigned i = 0; i < world->channel_count; i++)
        if (follower->follows[i])
            take_token_place(follower, i, &named[i]);
    snprintf(follower->token, sizeof follower->token, "%.*s", SPAN_ARG(token));
    wire_plant_token(follower->wire, follower->token_place, follower->token, sizeof follower->token);
    follower->has_token = true;
}

static const struct json_token *parse(struct follower *follower, struct span text)
{
    return object_read(&follower->all->objects, text);
}

/* --- streams --- */

/* One event is a few lines and an empty one. */
static void hear_event(struct follower *follower, struct span event)
{
    struct span id = SPAN(""), line;

    while (span_cut(&event, '\n', &line)) {
        if (span_starts(line, SPAN("id: ")))
            id = span_skip(line, 4);
        else if (span_starts(line, SPAN("data: ")))
            take_object(follower, parse(follower, span_skip(line, 6)));
        else
            promise(&follower->wire->world,
                    line.len == 0 || span_starts(line, SPAN(":")) || span_eq(line, SPAN("event: gap")) ||
                        span_starts(line, SPAN("retry: ")),
                    "follower %u is sent the line \"%.*s\"", follower->no, SPAN_ARG(span_head(line, 80)));
    }
    if (id.len > 0)
        take_token(follower, id);
}

static void hear_line(struct follower *follower, struct span line)
{
    const struct json_token *object = parse(follower, line);
    const struct json_token *cursor = json_member(&follower->all->objects.doc, object, SPAN("cursor"));
    bool                     is_ping = span_eq(object_text(&follower->all->objects, object, "type"), SPAN("ping"));
    struct span              token;

    promise(&follower->wire->world, is_ping || cursor != NULL, "follower %u is sent a line without a cursor", follower->no);
    if (!is_ping)
        take_object(follower, object);
    if (json_string(cursor, &follower->all->objects.scratch, &token))
        take_token(follower, token);
}

/* Events end with an empty line, lines with LF. */
static void hear_text(struct follower *follower)
{
    bool        is_sse = follower->way == BY_SSE;
    struct span rest   = buf_span(&follower->text);
    const char *end;

    while (rest.len > 0 && (end = memmem(rest.at, rest.len, "\n\n", is_sse ? 2 : 1)) != NULL) {
        struct span one = span_head(rest, (size_t)(end - rest.at));
        rest            = span_skip(rest, one.len + (is_sse ? 2 : 1));
        if (is_sse)
            hear_event(follower, one);
        else
            hear_line(follower, one);
    }
    buf_drop(&follower->text, follower->text.len - rest.len);
}

static uint64_t part_number(struct follower *follower, struct span head, const char *name)
{
    uint64_t number = 0;

    promise(&follower->wire->world, span_u64(reply_field(head, span_str(name)), &number), "a part without %s", name);
    return number;
}

static void hear_part_message(struct follower *follower, struct span head, struct span body)
{
    struct world     *world = &follower->wire->world;
    struct span       recall = reply_field(head, SPAN("Longwire-Recall"));
    enum message_kind kind   = recall.len > 0 ? MESSAGE_RECALL
                               : reply_field(head, SPAN("Longwire-Recalled")).len > 0 ? MESSAGE_RECALLED : MESSAGE_PLAIN;
    struct heard      heard  = { .channel = channel_named(world, reply_field(head, SPAN("Longwire-Channel"))),
                                 .epoch   = epoch_read(reply_field(head, SPAN("Longwire-Epoch"))) };

    heard.message = message_new(world->channels[heard.channel], kind, body.at, (uint32_t)body.len, SPAN("text/plain"),
                                SPAN(""));
    heard.message->epoch  = heard.epoch;
    heard.message->seq    = part_number(follower, head, "Longwire-Seq");
    heard.message->time   = (msec)part_number(follower, head, "Longwire-Time");
    heard.message->target = recall.len > 0 ? part_number(follower, head, "Longwire-Recall") : 0;
    take_heard(follower, &heard);
}

static void hear_part(struct follower *follower, struct span head, struct span body)
{
    struct span media  = reply_field(head, SPAN("Content-Type"));
    struct span cursor = reply_field(head, SPAN("Longwire-Cursor"));

    if (span_eq(media, SPAN("application/vnd.longwire.gap+json")))
        take_object(follower, parse(follower, body));
    else if (!span_eq(media, SPAN("application/vnd.longwire.ping+json")))
        hear_part_message(follower, head, body);
    if (cursor.len > 0)
        take_token(follower, cursor);
}

/* A part is its head, as many bytes as it says, and the delimiter that closes it. */
static void hear_parts(struct follower *follower)
{
    struct world *world = &follower->wire->world;
    struct span   mark  = span_str(follower->boundary), rest = buf_span(&follower->text);
    const char   *end;

    while (rest.len > 0) {
        size_t delimiter = 4 + mark.len + 2;
        if (!follower->is_begun) {
            if (rest.len < delimiter - 2)
                break;
            promise(world, memcmp(rest.at + 2, mark.at, mark.len) == 0, "a multipart stream begins with its delimiter");
            rest               = span_skip(rest, delimiter - 2);
            follower->is_begun = true;
        }
        if (rest.len == 0 || (end = memmem(rest.at, rest.len, "\r\n\r\n", 4)) == NULL)
            break;
        struct span head = span_head(rest, (size_t)(end - rest.at) + 2);
        uint64_t    len  = part_number(follower, head, "Content-Length");
        if (rest.len < head.len + 2 + len + delimiter)
            break;
        struct span body = span_head(span_skip(rest, head.len + 2), len);
        rest             = span_skip(rest, head.len + 2 + len);
        promise(world, span_starts(rest, SPAN("\r\n--")) && memcmp(rest.at + 4, mark.at, mark.len) == 0,
                "a part is as long as it says");
        follower->is_told |= rest.at[4 + mark.len] == '-';
        rest = span_skip(rest, delimiter);
        hear_part(follower, head, body);
    }
    buf_drop(&follower->text, follower->text.len - rest.len);
}

static void hear_stream(struct follower *follower)
{
    bool is_over = chunks_read(&follower->wire->world, &follower->link.in, &follower->text);

    if (follower->way == BY_MULTIPART)
        hear_parts(follower);
    else
        hear_text(follower);
    if (is_over)
        follower_go(follower, "the stream has ended");
}

static void hear_stream_head(struct follower *follower, const struct reply *reply)
{
    struct world *world = &follower->wire->world;
    struct span   media = reply_field(reply->head, SPAN("Content-Type"));
    const char   *mark  = memmem(media.at, media.len, "boundary=", 9);

    promise(world, reply->status == 200 && reply->is_chunked, "follower %u by %s is answered %u", follower->no,
            way_text(follower->way), reply->status);
    if (follower->way == BY_MULTIPART) {
        promise(world, mark != NULL, "a multipart stream names its boundary");
        struct span boundary = span_of(mark + 9, (size_t)(media.at + media.len - mark - 9));
        if (boundary.len > 1 && boundary.at[0] == '"')
            boundary = span_head(span_skip(boundary, 1), boundary.len - 2);
        snprintf(follower->boundary, sizeof follower->boundary, "%.*s", SPAN_ARG(boundary));
    }
    buf_drop(&follower->link.in, reply->used);
    follower->state = IS_HEARING;
    hear_stream(follower);
}

/* --- long polls --- */

static void hear_poll_messages(struct follower *follower, const struct json_token *root, size_t body_len)
{
    const struct json_doc   *doc  = &follower->all->objects.doc;
    const struct json_token *list = json_member(doc, root, SPAN("messages")), *one;

    promise(&follower->wire->world, list != NULL && list->type == JSON_ARRAY, "a poll's answer is a list");
    bool     is_full = body_len >= POLL_BYTES || list->count >= POLL_OBJECTS;
    unsigned left    = list->count - (is_full && follower->wire->plant == WIRE_PLANT_POLL_STEPS);
    for (one = json_first(doc, list); one != NULL && left > 0; one = json_next(doc, list, one), left--)
        take_object(follower, one);
}

static void hear_poll(struct follower *follower)
{
    struct world *world = &follower->wire->world;
    struct reply  reply;
    struct span   token;

    if (!reply_read(world, buf_span(&follower->link.in), &reply))
        return;
    if (reply.status == 503) {
        promise(world, follower->wire->node->leave_by != 0 || follower->wire->born_at > follower->came_at,
                "a poll is answered 503, and the server does not stop");
        follower_go(follower, "503");
        return;
    }
    promise(world, reply.status == 200, "a poll is answered %u", reply.status);
    const struct json_token *root = parse(follower, reply.body);
    hear_poll_messages(follower, root, reply.body.len);
    if (json_string(json_member(&follower->all->objects.doc, root, SPAN("cursor")), &follower->all->objects.scratch, &token))
        take_token(follower, token);
    buf_drop(&follower->link.in, reply.used);
    if (reply.is_last)
        follower_go(follower, "the poll's connection closes");
    else if (follower->at <= world->now && !world->is_healing)
        follower_go(follower, "as it likes");
    else
        ask_by_http(follower);
}

/* --- WebSocket --- */

static void ws_subscribe(struct follower *follower, unsigned channel)
{
    const struct kept_place *place = &follower->at_place[channel];
    struct buf                 frame;

    buf_init(&frame, 1024);
    buf_putf(&frame, "{\"type\":\"subscribe\",\"channel\":\"%s\"", channel_text(follower, channel));
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
                     channel_text(follower, i), place->seq, place->epoch);
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
static void hear_subscribed(struct follower *follower, const struct json_token *object)
{
    unsigned channel = object_channel(&follower->all->objects, object);
    uint64_t head    = object_number(&follower->all->objects, object, "head");
    uint64_t epoch   = object_epoch(&follower->all->objects, object);

    promise(&follower->wire->world, !follower->is_placed[channel], "%s is subscribed twice", channel_text(follower, channel));
    follower->is_placed[channel] = true;
    tell(&follower->wire->world, "follower %u is subscribed to %s at %" PRIu64 " of %" PRIu64, follower->no,
         channel_text(follower, channel), head, epoch);
    if (!follower->at_place[channel].is_known && follower->beginning == BEGIN_NOW)
        take_place(follower, channel, epoch, head);
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
    const struct json_token *object = parse(follower, text);
    struct span              type   = object_text(&follower->all->objects, object, "type");

    if (span_eq(type, SPAN("connected"))) {
        if (follower->ref != 0)
            ws_subscribe_all(follower);
        follower->ref = 0;
    } else if (span_eq(type, SPAN("subscribed"))) {
        hear_subscribed(follower, object);
    } else if (span_eq(type, SPAN("cursor"))) {
        follower->wants_cursor = false;
        take_token(follower, object_text(&follower->all->objects, object, "cursor"));
    } else if (span_eq(type, SPAN("error"))) {
        hear_error(follower, object);
    } else if (span_eq(type, SPAN("reconnect"))) {
        follower->is_told = true;
    } else {
        unsigned channel = object_channel(&follower->all->objects, object);
        promise(world, follower->is_placed[channel], "%s has news before it is subscribed", channel_text(follower, channel));
        take_object(follower, object);
    }
}

static void hear_close(struct follower *follower, struct span payload)
{
    unsigned code = payload.len < 2 ? 0 : (unsigned)(unsigned char)payload.at[0] << 8 | (unsigned char)payload.at[1];

    promise(&follower->wire->world, code == 1001 && follower->is_told, "follower %u is closed with %u%s", follower->no, code,
            follower->is_told ? "" : ", without a word about coming again");
    ws_say(&follower->link, 8, payload);
    follower_go(follower, "the server stops");
}

static void hear_ws(struct follower *follower)
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

static void ws_speak(struct follower *follower)
{
    struct world *world = &follower->wire->world;

    if (follower->state == IS_HEARING && follower->way == BY_WS && !follower->wants_cursor &&
        one_in(world, OF_READERS, 20)) {
        follower->wants_cursor = true;
        ws_say(&follower->link, 1, SPAN("{\"type\":\"cursor\",\"ref\":\"c\"}"));
    }
}

/* --- a turn --- */

static void hear_head(struct follower *follower)
{
    struct world *world = &follower->wire->world;
    struct reply  reply;

    if (follower->way == BY_POLL) {
        hear_poll(follower);
        return;
    }
    if (!reply_head_read(world, buf_span(&follower->link.in), &reply))
        return;
    if (reply.status == 503) {
        promise(world, follower->wire->node->leave_by != 0, "a follower is answered 503, and the server does not stop");
        follower_go(follower, "503");
    } else if (follower->way == BY_WS) {
        ws_check_upgrade(world, &reply);
        buf_drop(&follower->link.in, reply.used);
        follower->state = IS_HEARING;
        hear_ws(follower);
    } else {
        hear_stream_head(follower, &reply);
    }
}

static void follower_hear(struct follower *follower)
{
    enum sim_end end = client_link_read(&follower->link);

    if (follower->state == IS_ASKING)
        hear_head(follower);
    else if (follower->way == BY_WS)
        hear_ws(follower);
    else
        hear_stream(follower);
    if (follower->state != IS_AWAY && end != SIM_OPEN)
        follower_go(follower, end == SIM_RESET ? "the link broke" : "the link ended");
}

static void follower_turn(struct follower *follower)
{
    struct world *world = &follower->wire->world;

    if (follower->state == IS_AWAY) {
        if (follower->at <= world->now && !follower->all->are_leaving)
            follower_come(follower);
        return;
    }
    follower_hear(follower);
    ws_speak(follower);
    if (follower->state == IS_AWAY)
        return;
    if (follower->link.heard_at + PATIENCE_MS < world->now)
        follower_go(follower, "nothing is heard");
    else if (follower->at <= world->now && !world->is_healing && follower->way != BY_POLL)
        follower_go(follower, "as it likes");
}

void followers_turn(struct followers *followers)
{
    for (unsigned i = 0; i < followers->count; i++)
        follower_turn(&followers->at[i]);
}

void followers_cut(struct followers *followers)
{
    for (unsigned i = 0; i < followers->count; i++)
        if (followers->at[i].state != IS_AWAY)
            follower_go(&followers->at[i], "the node is gone");
}

void followers_leave(struct followers *followers)
{
    followers->are_leaving = true;
    followers_cut(followers);
}

struct followers *followers_new(struct wire_world *wire)
{
    struct followers *followers = calloc(1, sizeof *followers);
    struct world     *world     = &wire->world;

    must(followers != NULL);
    followers->wire  = wire;
    followers->count = 1 + (unsigned)draw(world, OF_PLAN, FOLLOWERS_MAX);
    object_reader_init(&followers->objects, world);
    for (unsigned i = 0; i < followers->count; i++) {
        struct follower *follower = &followers->at[i];
        *follower = (struct follower){ .all = followers, .wire = wire, .no = i };
        client_link_init(&follower->link, wire, OF_READERS);
        buf_init(&follower->text, TEXT_BYTES_MAX);
        for (unsigned j = 0; j < world->channel_count; j++)
            follower->follows[j] = one_in(world, OF_PLAN, 2);
        follower->follows[draw(world, OF_PLAN, world->channel_count)] = true;
        follower_forget(follower);
    }
    return followers;
}

void followers_free(struct followers *followers)
{
    for (unsigned i = 0; i < followers->count; i++) {
        client_link_fini(&followers->at[i].link);
        buf_fini(&followers->at[i].text);
    }
    object_reader_fini(&followers->objects);
    free(followers);
}

/* --- at the end --- */

/* Who has no place in a channel has begun behind all that was ever said there. */
static bool follower_has_all(const struct follower *follower, unsigned channel, const struct log_now *log)
{
    const struct kept_place *place = &follower->at_place[channel];

    if (!place->is_known)
        return follower->beginning == BEGIN_NOW || log->first > log->head;
    return place->seq == log->head && (!place->is_epoch_known || place->epoch == log->epoch);
}

static bool follower_lacks(const struct follower *follower, unsigned *ret_channel)
{
    struct world *world = &follower->wire->world;

    for (unsigned i = 0; i < world->channel_count; i++) {
        struct log_now log = world_log(world, i);
        *ret_channel       = i;
        if (follower->follows[i] && !follower_has_all(follower, i, &log))
            return true;
    }
    return false;
}

bool followers_have_all(struct followers *followers)
{
    unsigned channel;

    for (unsigned i = 0; i < followers->count; i++)
        if (followers->at[i].state == IS_AWAY || follower_lacks(&followers->at[i], &channel))
            return false;
    return true;
}

void followers_check_end(struct followers *followers)
{
    for (unsigned i = 0; i < followers->count; i++) {
        struct follower *follower = &followers->at[i];
        unsigned         channel;
        if (!follower_lacks(follower, &channel))
            continue;
        struct log_now log = world_log(&followers->wire->world, channel);
        promise_broken(&followers->wire->world,
                       "everybody has everything: follower %u of %s by %s has %" PRIu64 " of epoch %" PRIu64
                       ", the log %" PRIu64 " to %" PRIu64 " of %" PRIu64, i, channel_text(follower, channel),
                       way_text(follower->way), follower->at_place[channel].seq, follower->at_place[channel].epoch,
                       log.first, log.head, log.epoch);
    }
}
