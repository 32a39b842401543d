#include "device_listener.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device_roam.h"
#include "device_truth.h"
#include "wire_node.h"

#define LISTENER_SALT UINT64_C(0x6c697374656f)

enum {
    LISTENERS_MAX  = 4,
    WORLDS_ONE_IN  = 4,
    AWAY_MS_MAX    = 300,
    STAY_MS_MAX    = 6000,
    PATIENCE_MS    = 2 * LINK_HEARTBEAT_MS + 300,
    CONFIRM_MS     = 3500,  /* who others are is known to a new node within 1500 ms, and after a leave before that its loops ask within 2000 ms */
    TEXT_BYTES_MAX = 1 << 20,
};

enum listener_state { LISTENER_AWAY, LISTENER_UPGRADING, LISTENER_OPEN };

struct listener {
    struct listeners   *all;
    struct client_link  link;
    enum listener_state state;
    unsigned            user, group, no;
    bool                streams;    /* it asks for an endless answer instead of a WebSocket */
    struct buf          text;       /* of that answer, which was not read yet */
    bool                has_asked;  /* to follow the group */
    msec                at;         /* away until then, or there */
};

struct listeners {
    struct device_world *all;
    struct rng           chance;
    struct object_reader objects;
    unsigned             count;
    bool                 are_leaving;
    struct listener      at[LISTENERS_MAX];
};

static struct world *world_of(const struct listener *listener)
{
    return &listener->all->all->wire.world;
}

static msec soon(struct listener *listener, msec most)
{
    return world_of(listener)->now + 1 + (msec)rng_below(&listener->all->chance, (uint64_t)most);
}

static const char *group_text(const struct listener *listener)
{
    return world_of(listener)->channels[channel_of_group(listener->all->all, listener->group)]->text;
}

/* --- coming and going --- */

static void listener_go(struct listener *listener, const char *why)
{
    if (listener->state == LISTENER_AWAY)
        return;
    tell(world_of(listener), "listener %u leaves: %s", listener->no, why);
    client_link_close(&listener->link);
    buf_clear(&listener->text);
    listener->state = LISTENER_AWAY;
    listener->at    = soon(listener, AWAY_MS_MAX);
}

static void listener_put_token(const struct listener *listener, struct buf *text)
{
    buf_putf(text, "u%u.-.listener%u.%lld.0", listener->user, listener->no, (long long)(world_wall(world_of(listener)) / 1000));
}

/* Each second one. Only a member may, so it asks when its user is one. */
static void listener_ask_stream(struct listener *listener)
{
    struct buf text;

    buf_init(&text, 1024);
    buf_putf(&text, "GET /v1/subscribe?channel=%s HTTP/1.1\r\nHost: sim\r\nAccept: application/x-ndjson\r\nAuthorization: Bearer ",
             group_text(listener));
    listener_put_token(listener, &text);
    buf_put_lit(&text, "\r\n\r\n");
    client_link_send(&listener->link, buf_span(&text));
    buf_fini(&text);
}

static void listener_come(struct listener *listener)
{
    struct world *world = world_of(listener);
    bool          may_ask = !listener->streams || truth_is_member(listener->all->all->truth, listener->user, listener->group);

    if (!may_ask || !client_link_open(&listener->link, false)) {
        listener->at = soon(listener, AWAY_MS_MAX);
        return;
    }
    listener->state     = LISTENER_UPGRADING;
    listener->has_asked = false;
    listener->at        = soon(listener, STAY_MS_MAX);
    tell(world, "listener %u of user %u comes to loop %u for %s", listener->no, listener->user, listener->link.loop, group_text(listener));
    if (listener->streams)
        listener_ask_stream(listener);
    else
        ws_ask_upgrade(&listener->link, "");
}

/* --- what it says --- */

static void listener_connect(struct listener *listener)
{
    struct buf text;

    buf_init(&text, 1024);
    buf_put_lit(&text, "{\"type\":\"connect\",\"token\":\"");
    listener_put_token(listener, &text);
    buf_put_lit(&text, "\"}");
    ws_say(&listener->link, 1, buf_span(&text));
    buf_fini(&text);
}

/* Only a member may, so it asks when it knows that its user is one. */
static void listener_ask(struct listener *listener)
{
    struct buf text;

    if (listener->has_asked || !truth_is_member(listener->all->all->truth, listener->user, listener->group))
        return;
    listener->has_asked = true;
    buf_init(&text, 1024);
    buf_putf(&text, "{\"type\":\"subscribe\",\"channel\":\"%s\"}", group_text(listener));
    ws_say(&listener->link, 1, buf_span(&text));
    buf_fini(&text);
}

/* --- what it hears --- */

/* Does its node know the others, and would it have found out what nobody told it before it knew them? */
static bool node_is_grown(const struct listener *listener)
{
    const struct device_world *all = listener->all->all;

    return all->roam == NULL ||
           all->wire.world.now >= all->roam->seats[listener->link.loop / all->wire.world.loops_a_node].born_at + CONFIRM_MS;
}

/* A member may read all, also what was published before it joined. */
static bool may_hear(const struct listener *listener, unsigned channel, uint64_t seq)
{
    const struct truth        *truth  = listener->all->all->truth;
    const struct member_truth *member = &truth->members[listener->user][listener->group];

    return truth_is_member(truth, listener->user, listener->group) || truth_may(truth, listener->user, channel, seq) ||
           (member->count > 0 && seq <= member->spans[member->count - 1].after);
}

static void hear_message(struct listener *listener, const struct json_token *object)
{
    struct device_world *all     = listener->all->all;
    struct world        *world   = world_of(listener);
    unsigned             channel = object_channel(&listener->all->objects, object);
    uint64_t             seq     = object_number(&listener->all->objects, object, "seq");

    truth_scan(all->truth);
    tell(world, "listener %u gets %" PRIu64 " of %s", listener->no, seq, group_text(listener));
    promise(world, channel == channel_of_group(all, listener->group), "listener %u gets %" PRIu64 " of a channel that it does not follow",
            listener->no, seq);
    promise(world, !node_is_grown(listener) || may_hear(listener, channel, seq),
            "a link of user %u without a session gets %" PRIu64 " of %s, which was published after the user had left", listener->user, seq,
            group_text(listener));
}

static void hear_object(struct listener *listener, struct span text)
{
    struct object_reader    *objects = &listener->all->objects;
    const struct json_token *object  = object_read(objects, text);
    struct span              type    = object_text(objects, object, "type");

    if (span_eq(type, SPAN("message")))
        hear_message(listener, object);
    else if (span_eq(type, SPAN("unsubscribed")))
        listener->has_asked = false;
    else if (span_eq(type, SPAN("error")))
        listener_go(listener, "it is refused");
}

static void hear_head(struct listener *listener)
{
    struct reply reply;

    if (!reply_head_read(world_of(listener), buf_span(&listener->link.in), &reply))
        return;
    if (reply.status != (listener->streams ? 200 : 101)) {
        listener_go(listener, "it is not let in");
        return;
    }
    if (!listener->streams)
        ws_check_upgrade(world_of(listener), &reply);
    buf_drop(&listener->link.in, reply.used);
    listener->state = LISTENER_OPEN;
    if (!listener->streams)
        listener_connect(listener);
}

/* Lines of JSON: messages, gaps and pings. */
static void hear_lines(struct listener *listener)
{
    bool        is_last = chunks_read(world_of(listener), &listener->link.in, &listener->text);
    struct span rest    = buf_span(&listener->text);
    const char *end;

    while (rest.len > 0 && (end = memchr(rest.at, '\n', rest.len)) != NULL) {
        struct span              line   = span_head(rest, (size_t)(end - rest.at));
        const struct json_token *object = object_read(&listener->all->objects, line);
        if (json_member(&listener->all->objects.doc, object, SPAN("seq")) != NULL)
            hear_message(listener, object);
        rest = span_skip(rest, line.len + 1);
    }
    buf_drop(&listener->text, listener->text.len - rest.len);
    if (is_last)
        listener_go(listener, "the stream ends");
}

static void hear_frames(struct listener *listener)
{
    struct ws_heard heard;
    struct buf      text;

    buf_init(&text, TEXT_BYTES_MAX);
    while (listener->state == LISTENER_OPEN && ws_hear(world_of(listener), buf_span(&listener->link.in), &heard)) {
        buf_clear(&text);
        buf_put(&text, heard.payload);
        buf_drop(&listener->link.in, heard.used);
        if (heard.opcode == 1)
            hear_object(listener, buf_span(&text));
        else if (heard.opcode == 9)
            ws_say(&listener->link, 10, buf_span(&text));
        else if (heard.opcode == 8)
            listener_go(listener, "the server closes it");
    }
    buf_fini(&text);
}

/* --- a turn --- */

static void listener_turn(struct listener *listener)
{
    struct world *world = world_of(listener);

    if (listener->state == LISTENER_AWAY) {
        if (listener->at <= world->now && !listener->all->are_leaving)
            listener_come(listener);
        return;
    }
    enum sim_end end = client_link_read(&listener->link);
    if (listener->state == LISTENER_UPGRADING)
        hear_head(listener);
    if (listener->state == LISTENER_OPEN && listener->streams)
        hear_lines(listener);
    else if (listener->state == LISTENER_OPEN)
        hear_frames(listener);
    if (end != SIM_OPEN)
        listener_go(listener, "it ended");
    else if (listener->state != LISTENER_AWAY && listener->link.heard_at + PATIENCE_MS < world->now)
        listener_go(listener, "nothing is heard");
    else if (listener->at <= world->now && !world->is_healing)
        listener_go(listener, "as it likes");
    if (listener->state == LISTENER_OPEN && !listener->streams)
        listener_ask(listener);
}

void listeners_turn(struct listeners *listeners)
{
    for (unsigned i = 0; i < listeners->count; i++)
        listener_turn(&listeners->at[i]);
}

/* --- all of them --- */

struct listeners *listeners_new(struct device_world *all)
{
    struct listeners *listeners = calloc(1, sizeof *listeners);

    must(listeners != NULL);
    listeners->all    = all;
    listeners->chance = (struct rng){ all->wire.world.seed ^ LISTENER_SALT };
    object_reader_init(&listeners->objects, &all->wire.world);
    if (rng_below(&listeners->chance, WORLDS_ONE_IN) == 0)
        listeners->count = 1 + (unsigned)rng_below(&listeners->chance, LISTENERS_MAX);
    for (unsigned i = 0; i < listeners->count; i++) {
        listeners->at[i] = (struct listener){
            .all = listeners, .no = i, .user = (unsigned)rng_below(&listeners->chance, all->user_count),
            .group = (unsigned)rng_below(&listeners->chance, all->group_count), .streams = i % 2 == 1,
        };
        buf_init(&listeners->at[i].text, TEXT_BYTES_MAX);
        client_link_init(&listeners->at[i].link, &all->wire, OF_BUS);
    }
    return listeners;
}

void listeners_free(struct listeners *listeners)
{
    for (unsigned i = 0; i < listeners->count; i++) {
        client_link_fini(&listeners->at[i].link);
        buf_fini(&listeners->at[i].text);
    }
    object_reader_fini(&listeners->objects);
    free(listeners);
}

void listeners_cut(struct listeners *listeners, struct loop_range range)
{
    for (unsigned i = 0; i < listeners->count; i++)
        if (loop_is_in(range, listeners->at[i].link.loop))
            listener_go(&listeners->at[i], "the node is gone");
}

void listeners_leave(struct listeners *listeners)
{
    listeners->are_leaving = true;
    listeners_cut(listeners, world_loops(&listeners->all->wire.world));
}
