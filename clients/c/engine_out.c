/* engine_out.c - frames to the server. */
#include "engine_priv.h"

static void put(struct engine *engine, const struct bin_frame *frame)
{
    bin_put(&engine->out, BIN_CLIENT, frame);
}

static void set_text(struct bin_frame *frame, enum bin_field field, const char *text)
{
    bin_set_bytes(frame, field, span_str(text));
}

/* --- connect -------------------------------------------------------------------------------------------------------- */

/* A ticket stands for the token: the server need not check the token again. Beside a ticket that was kept the token says whose session
 * is meant. */
void engine_put_connect(struct engine *engine)
{
    const struct lw_options *options = &engine->options;
    struct bin_frame         frame;

    bin_init(&frame, BIN_CONNECT);
    engine->has_ticket_shown = options->has_session && engine->ticket != NULL;
    if (engine->has_ticket_shown)
        set_text(&frame, BIN_TICKET, engine->ticket);
    if (!engine->has_ticket_shown || engine->is_ticket_kept)
        set_text(&frame, BIN_TOKEN, engine->token);
    set_text(&frame, BIN_USER, options->user);
    set_text(&frame, BIN_DEVICE, options->device);
    set_text(&frame, BIN_CLASS, options->device_class);
    bin_set_flag(&frame, BIN_STANDING, options->has_session);
    bin_set_number(&frame, BIN_HEARTBEAT, options->heartbeat_s);  /* an offer to send heartbeats; 0: as the server likes */
    if (options->mode == LW_NOTIFY)
        bin_set_number(&frame, BIN_MODE, LW_NOTIFY);
    engine->connect_ref = engine_ref(engine, REF_CONNECT);
    bin_set_number(&frame, BIN_REF, engine->connect_ref);
    put(engine, &frame);
}

/* On a live link: only who it is changes. */
void engine_put_token(struct engine *engine)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_CONNECT);
    set_text(&frame, BIN_TOKEN, engine->token);
    engine->connect_ref = engine_ref(engine, REF_CONNECT);
    bin_set_number(&frame, BIN_REF, engine->connect_ref);
    put(engine, &frame);
}

/* --- channels ---------------------------------------------------------------------------------------------------------- */

static void set_place(struct bin_frame *frame, struct followed *followed)
{
    if (followed->is_placed) {
        bin_set_number(frame, BIN_AFTER, followed->seq);
        if (followed->epoch != 0)
            bin_set_number(frame, BIN_EPOCH, followed->epoch);
    } else if (followed->place == LW_LAST) {
        bin_set_number(frame, BIN_LAST, followed->place_seq);
    } else if (followed->place == LW_AFTER) {
        bin_set_number(frame, BIN_AFTER, 0);
    }
    followed->asked_after = bin_has(frame, BIN_AFTER) ? bin_number(frame, BIN_AFTER) : FOLLOWED_NOWHERE;
}

void engine_put_subscribe(struct engine *engine, struct followed *followed)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_SUBSCRIBE);
    bin_set_bytes(&frame, BIN_CHANNEL, followed_name(followed));
    set_place(&frame, followed);
    bin_set_flag(&frame, BIN_KEEP, followed->keep);
    bin_set_flag(&frame, BIN_PRESENCE, followed->presence);
    if (followed->mode == LW_NOTIFY)
        bin_set_number(&frame, BIN_MODE, LW_NOTIFY);
    followed->ref = engine_ref(engine, REF_SUBSCRIBE);
    bin_set_number(&frame, BIN_REF, followed->ref);
    put(engine, &frame);
    followed->state = FOLLOWED_ASKED;
}

void engine_put_unsubscribe(struct engine *engine, struct followed *followed)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_UNSUBSCRIBE);
    bin_set_bytes(&frame, BIN_CHANNEL, followed_name(followed));
    followed->ref = engine_ref(engine, REF_UNSUBSCRIBE);
    bin_set_number(&frame, BIN_REF, followed->ref);
    put(engine, &frame);
    followed->leaving++;
}

void engine_put_leave(struct engine *engine, struct span channel)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_UNSUBSCRIBE);
    bin_set_bytes(&frame, BIN_CHANNEL, channel);
    bin_set_number(&frame, BIN_REF, engine_ref(engine, REF_OTHER));
    put(engine, &frame);
}

/* --- acknowledgements -------------------------------------------------------------------------------------------------- */

static void put_place(struct engine *engine, enum bin_type type, const struct followed *followed, uint64_t seq)
{
    struct bin_frame frame;

    bin_init(&frame, type);
    bin_set_bytes(&frame, BIN_CHANNEL, followed_name(followed));
    bin_set_number(&frame, BIN_EPOCH, followed->epoch);
    bin_set_number(&frame, BIN_SEQ, seq);
    if (type == BIN_READ)
        bin_set_number(&frame, BIN_REF, engine_ref(engine, REF_OTHER));
    put(engine, &frame);
}

static void put_marks(struct engine *engine, struct followed *followed)
{
    if (followed->ack_seq > 0) {
        put_place(engine, BIN_ACK, followed, followed->ack_seq);
        followed->is_acked = true;
    }
    if (followed->read_seq > 0 && !followed->is_read_sent) {
        put_place(engine, BIN_READ, followed, followed->read_seq);
        followed->is_read_sent = true;
    }
}

void engine_put_acks(struct engine *engine, msec now)
{
    struct list *link;

    if (!engine_may_acknowledge(engine) || now < engine->ack_at || list_is_empty(&engine->table.to_ack))
        return;
    while ((link = list_pop(&engine->table.to_ack)) != NULL)
        put_marks(engine, container_of(link, struct followed, to_ack));
    engine->ack_at = now + ENGINE_ACK_MS;
}

/* --- heartbeats ------------------------------------------------------------------------------------------------------------ */

/* A promise holds until the next one: only the heartbeat that makes it carries it. */
void engine_put_heartbeat(struct engine *engine, msec now)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_PING);
    if (engine->has_new_promise)
        bin_set_number(&frame, BIN_NEXT_MS,
                       (uint64_t)(engine->promise_ms > 0 ? engine->promise_ms : engine->heartbeat_ms));
    engine->has_new_promise = false;
    engine_set_digest(engine, &frame);
    put(engine, &frame);
    engine->sent_at = now;
}

void engine_put_places_wanted(struct engine *engine)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_PING);
    bin_set_flag(&frame, BIN_PLACES, true);
    put(engine, &frame);
}

void engine_put_pong(struct engine *engine)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_PONG);
    put(engine, &frame);
}

/* --- publishes --------------------------------------------------------------------------------------------------------------- */

static void put_publish(struct engine *engine, struct outgoing *outgoing, msec now)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_PUBLISH);
    bin_set_bytes(&frame, BIN_CHANNEL, outgoing->channel);
    bin_set_bytes(&frame, BIN_MEDIA, outgoing->media);
    bin_set_bytes(&frame, BIN_EVENT, outgoing->event);
    bin_set_bytes(&frame, BIN_KEY, outgoing->key);
    if (outgoing->ttl_s > 0)
        bin_set_number(&frame, BIN_TTL, outgoing->ttl_s);
    bin_set_bytes(&frame, BIN_COLLAPSE, outgoing->collapse_key);
    if (outgoing->priority != LW_NOW)
        bin_set_number(&frame, BIN_PRIORITY, outgoing->priority);
    bin_set_number(&frame, BIN_REF, outgoing->ref);
    frame.payload = outgoing->data;
    put(engine, &frame);
    outgoing->is_sent = true;
    pace_sent(&engine->publish_pace, now);
}

/* The server would skip it unread, and its answer could not say which one it was. */
static bool is_too_long(const struct engine *engine, const struct outgoing *outgoing)
{
    return outgoing->size - sizeof *outgoing + 64 > engine->frame_bytes_max;
}

void engine_put_publishes(struct engine *engine, msec now)
{
    engine->put_off_until = 0;
    for (struct list *link = engine->publishes.next, *next; link != &engine->publishes; link = next) {
        struct outgoing *outgoing = container_of(link, struct outgoing, link);
        next                      = link->next;
        if (outgoing->is_sent)
            continue;
        if (engine->out.len > ENGINE_OUT_BYTES)
            return;
        if (is_too_long(engine, outgoing)) {
            engine_published(engine, outgoing, &(struct lw_published){
                .code = 413, .reason = "longer than the longest frame that the server takes" });
        } else if (outgoing->not_before > now) {
            if (engine->put_off_until == 0 || outgoing->not_before < engine->put_off_until)
                engine->put_off_until = outgoing->not_before;
        } else if (!pace_allows(&engine->publish_pace, now)) {
            engine->put_off_until = engine->publish_pace.next;
            return;
        } else {
            put_publish(engine, outgoing, now);
        }
    }
}
