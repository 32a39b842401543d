#include <stdlib.h>

#include "base/must.h"
#include "model.h"
#include "wire_follower_priv.h"
#include "wire_node.h"

enum {
    AWAY_MS_MAX    = 80,
    STAY_MS_MAX    = 900,
    PATIENCE_MS    = 2 * LINK_HEARTBEAT_MS + 200,
    TEXT_BYTES_MAX = 16 * 1024 * 1024,
};

const char *follower_way_text(enum follower_way way)
{
    static const char *const texts[WAY_COUNT] = { "WebSocket", "SSE", "NDJSON", "multipart", "long poll", "native" };
    return texts[way];
}

const char *follower_channel_text(const struct follower *follower, unsigned channel)
{
    return follower->wire->world.channels[channel]->text;
}

/* --- coming --- */

static void put_channel(const struct follower *follower, struct buf *query, unsigned channel)
{
    const struct kept_place *place = &follower->at_place[channel];
    const char              *text  = follower_channel_text(follower, channel);

    if (query->len > 0)
        buf_putc(query, '&');
    if (place->is_known)
        buf_putf(query, "after=%s@%" PRIu64, text, place->seq);
    else if (follower->beginning == BEGIN_LAST)
        buf_putf(query, "channel=%s&last=%s@3", text, text);
    else if (follower->beginning == BEGIN_KEPT)
        buf_putf(query, "after=%s@0&channel=%s", text, text);
    else
        buf_putf(query, "channel=%s", text);
}

/* Places by number know no epoch. */
static void follower_put_places(struct follower *follower, struct buf *query)
{
    for (unsigned i = 0; i < follower->wire->world.channel_count; i++) {
        if (!follower->follows[i])
            continue;
        follower->at_place[i].is_known &= follower->at_place[i].seq > 0;
        follower->at_place[i].is_epoch_known = false;
        put_channel(follower, query, i);
    }
}

/* The body of one that posts: its token, where that is not elsewhere. */
static void put_request(const struct follower *follower, struct buf *request, struct span query, bool is_posting,
                        bool has_cursor, bool has_field)
{
    static const char *const accept[WAY_COUNT] = {
        [BY_SSE] = "text/event-stream", [BY_NDJSON] = "application/x-ndjson", [BY_MULTIPART] = "multipart/mixed",
        [BY_POLL] = "application/json",
    };
    struct buf body;

    buf_init(&body, 8192);
    if (is_posting && has_cursor)
        buf_putf(&body, "{\"cursor\":\"%s\"}", follower->token);
    else if (is_posting)
        buf_put_lit(&body, "{}");
    buf_putf(request, "%s /v1/subscribe?%.*s HTTP/1.1\r\nHost: sim\r\nAccept: %s\r\n", is_posting ? "POST" : "GET",
             SPAN_ARG(query), accept[follower->way]);
    if (has_field)
        buf_putf(request, "Last-Event-ID: %s\r\n", follower->token);
    if (is_posting)
        buf_putf(request, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.len);
    buf_put_lit(request, "\r\n");
    buf_put(request, buf_span(&body));
    buf_fini(&body);
}

/* Every second one posts. */
void follower_ask_by_http(struct follower *follower)
{
    struct world *world      = &follower->wire->world;
    bool          by_token   = follower->has_token && (follower->way == BY_POLL || !one_in(world, OF_READERS, 3));
    bool          by_field   = by_token && one_in(world, OF_READERS, 2);
    bool          is_posting = follower->no % 2 == 1;
    struct buf    query, request;

    buf_init(&query, 8192);
    buf_init(&request, 16384);
    if (by_token)
        follower_go_back_to_token(follower);
    else
        follower_put_places(follower, &query);
    bool by_cursor = by_token && !by_field && one_in(world, OF_READERS, 2);
    if (by_token && !by_field && (!by_cursor || !is_posting))
        buf_putf(&query, "%s=%s", by_cursor ? "cursor" : "last_event_id", follower->token);
    if (follower->way == BY_POLL)
        buf_putf(&query, "%swait=%u", query.len == 0 ? "" : "&", (unsigned)draw(world, OF_READERS, 2));
    put_request(follower, &request, buf_span(&query), is_posting, by_cursor, by_field);
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
        follower_go_back_to_token(follower);
        buf_putf(&query, "cursor=%s", follower->token);
    } else if (one_in(world, OF_READERS, 3)) {
        follower_put_places(follower, &query);
    }
    buf_putc(&query, '\0');
    follower->ref = query.len == 1;
    ws_ask_upgrade(&follower->link, query.at);
    buf_fini(&query);
}

void follower_go(struct follower *follower, const char *why)
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

    follower->way = is_big && one_in(world, OF_READERS, 2) ? BY_POLL : (enum follower_way)draw(world, OF_READERS, WAY_COUNT);
    if (!client_link_open(&follower->link, follower->way == BY_NATIVE)) {
        follower->at = world->now + 1 + (msec)draw(world, OF_READERS, AWAY_MS_MAX);
        return;
    }
    if (!world->is_healing && one_in(world, OF_READERS, is_big ? 2 : 8))
        follower_forget(follower);
    follower->state    = IS_ASKING;
    follower->is_told  = false;
    follower->retry_count = 0;
    follower->is_begun = false;
    follower->came_at  = world->now;
    follower->at       = world->now + 1 + (msec)draw(world, OF_READERS, STAY_MS_MAX);
    tell(world, "follower %u comes to loop %u by %s", follower->no, follower->link.loop,
         follower_way_text(follower->way));
    if (follower->way == BY_WS)
        ask_by_ws(follower);
    else if (follower->way == BY_NATIVE)
        follower_ask_natively(follower);
    else
        follower_ask_by_http(follower);
}

/* --- a turn --- */

static void hear_head(struct follower *follower)
{
    struct world *world = &follower->wire->world;
    struct reply  reply;

    if (follower->way == BY_POLL) {
        follower_hear_poll(follower);
        return;
    }
    if (!reply_head_read(world, buf_span(&follower->link.in), &reply))
        return;
    if (reply.status == 503) {
        promise(world, follower->wire->nodes[0]->leave_by != 0, "a follower is answered 503, and the server does not stop");
        follower_go(follower, "503");
    } else if (follower->way == BY_WS) {
        ws_check_upgrade(world, &reply);
        buf_drop(&follower->link.in, reply.used);
        follower->state = IS_HEARING;
        follower_hear_ws(follower);
    } else {
        follower_hear_stream_head(follower, &reply);
    }
}

/* Has a frame that was cut not been made again: because the log has lost its message, or because the node stops before
 * the message is read? */
static bool has_lost_frames(const struct wire_world *wire)
{
    return wire_node_lost_frames(wire->nodes[0]) > 0 || (wire->faults.lets_go && wire->nodes[0]->leave_by != 0);
}

/* Without a Close only who seems to be dead is let go: who can't see pings in time because it reads slowly; and who has
 * a part of a frame that is lost. And who has
 * asked is answered, unless it asked only now, over a link that had ended by then. */
static void check_end(const struct follower *follower, enum sim_end end)
{
    promise(&follower->wire->world,
            end != SIM_ENDED || follower->state != IS_ASKING || follower->came_at == follower->wire->world.now ||
                follower->wire->nodes[0]->leave_by != 0,
            "follower %u by %s gets no answer", follower->no, follower_way_text(follower->way));
    promise(&follower->wire->world,
            end != SIM_ENDED || (follower->way != BY_WS && follower->way != BY_NATIVE) || follower->state != IS_HEARING || follower->link.is_slow ||
                has_lost_frames(follower->wire),
            "follower %u's link by %s ends without a word", follower->no, follower_way_text(follower->way));
}

static void follower_hear(struct follower *follower)
{
    enum sim_end end = client_link_read(&follower->link);

    if (follower->way == BY_NATIVE)
        follower_hear_native(follower);
    else if (follower->state == IS_ASKING)
        hear_head(follower);
    else if (follower->way == BY_WS)
        follower_hear_ws(follower);
    else
        follower_hear_stream(follower);
    check_end(follower, end);
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
    follower_ws_speak(follower);
    follower_native_speak(follower);
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
        bin_aliases_init(&follower->aliases);
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
        bin_aliases_fini(&followers->at[i].aliases);
    }
    object_reader_fini(&followers->objects);
    free(followers);
}

/* --- at the end --- */

/* A log in memory that held nothing was let go: it has another epoch from then on, and the next heartbeat tells so. The end may come first. */
static bool log_has_just_begun(const struct world *world, unsigned channel, const struct log_now *log, uint64_t epoch)
{
    return !channel_is_durable(world->channels[channel]) && log->head == 0 && epoch < log->epoch;
}

/* Who has no place in a channel has begun behind all that was ever said there. */
static bool follower_has_all(const struct follower *follower, unsigned channel, const struct log_now *log)
{
    const struct kept_place *place = &follower->at_place[channel];

    if (!place->is_known)
        return follower->beginning == BEGIN_NOW ||
               model_first_kept(follower->wire->world.model, channel, log, log->first) > log->head;
    if (place->is_epoch_known && log_has_just_begun(&follower->wire->world, channel, log, place->epoch))
        return true;
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

/* Who is away, or hangs on a dead link, will come again, and be told what it has missed. */
static bool follower_will_come(const struct follower *follower)
{
    return follower->state == IS_AWAY || sim_link_wire(follower->link.link)->is_dead;
}

bool followers_have_all(struct followers *followers)
{
    unsigned channel;

    for (unsigned i = 0; i < followers->count; i++)
        if (follower_will_come(&followers->at[i]) || follower_lacks(&followers->at[i], &channel))
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
                       ", the log %" PRIu64 " to %" PRIu64 " of %" PRIu64, i, follower_channel_text(follower, channel),
                       follower_way_text(follower->way), follower->at_place[channel].seq,
                       follower->at_place[channel].epoch,
                       log.first, log.head, log.epoch);
    }
}
