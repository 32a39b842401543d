/* engine_in.c - what the server sends. */
#include <stdio.h>

#include "base/must.h"
#include "engine_priv.h"

/* --- connected ----------------------------------------------------------------------------------------------------- */

static void take_policy(struct engine *engine, const struct bin_frame *frame)
{
    if (!bin_has(frame, BIN_BASE_MS))
        return;
    engine->retry.policy = retry_policy((struct lw_backoff){
        .base_ms = (int64_t)bin_number(frame, BIN_BASE_MS),
        .cap_ms  = (int64_t)bin_number(frame, BIN_CAP_MS),
        .factor  = (double)bin_number(frame, BIN_FACTOR) / 100,
        .jitter  = (double)bin_number(frame, BIN_JITTER) / 1000,
    });
}

/* Appends with a NUL; the offset. Such texts are found again by their offsets, because the buffer may move. */
static size_t put_name(struct engine *engine, struct span text)
{
    size_t at = engine->names.len;

    buf_put(&engine->names, text);
    buf_putc(&engine->names, '\0');
    return at;
}

static void tell_connected(struct engine *engine, const struct bin_frame *frame)
{
    char key[17];

    buf_clear(&engine->names);
    size_t user = put_name(engine, bin_bytes(frame, BIN_USER)), device = put_name(engine, bin_bytes(frame, BIN_DEVICE));
    snprintf(key, sizeof key, "%016llx", (unsigned long long)bin_number(frame, BIN_CONNECTION));
    engine_tell_state(engine, (struct lw_status){
        .state       = LW_CONNECTED,
        .reason      = NULL,
        .is_resumed  = bin_has(frame, BIN_RESUMED),
        .is_unfenced = engine->is_unfenced,
        .connection  = key,
        .user        = bin_has(frame, BIN_USER) ? engine->names.at + user : NULL,
        .device      = bin_has(frame, BIN_DEVICE) ? engine->names.at + device : NULL,
        .generation  = bin_number(frame, BIN_GENERATION),
        .heartbeat_s = (unsigned)bin_number(frame, BIN_HEARTBEAT),
    });
}

/* The session has begun anew on the server: what it followed for this client is asked for again. */
static void take_back_own(struct engine *engine)
{
    for (struct list *link = engine->table.all.next; link != &engine->table.all; link = link->next) {
        struct followed *followed = container_of(link, struct followed, link);
        if (followed->is_own && followed->is_wanted && followed->state == FOLLOWED_IDLE)
            followed->is_own = false;
    }
}

/* What stood with the session before is known only from now on. */
static void begin_session(struct engine *engine, const struct bin_frame *frame, msec now)
{
    engine->has_session = bin_has(frame, BIN_GENERATION);
    engine->is_unfenced = bin_has(frame, BIN_UNFENCED);
    engine->ack_at      = now;
    if (!bin_has(frame, BIN_RESUMED) && !engine->is_unfenced)
        take_back_own(engine);
    tell_connected(engine, frame);
}

static bool on_connected(struct engine *engine, struct bin_frame *frame, msec now)
{
    bool is_first = engine->state == ENGINE_GREETING, is_fenced_now = engine->is_unfenced && !bin_has(frame, BIN_UNFENCED);

    take_policy(engine, frame);
    if (bin_has(frame, BIN_TICKET))
        engine_set_ticket(engine, bin_bytes(frame, BIN_TICKET));
    if (bin_has(frame, BIN_HEARTBEAT))
        engine->heartbeat_ms = (msec)(bin_number(frame, BIN_HEARTBEAT) % (24 * 3600)) * 1000;
    engine->frame_bytes_max = bin_has(frame, BIN_FRAME_BYTES) ? bin_number(frame, BIN_FRAME_BYTES) : UINT32_MAX;
    if (!is_first && !is_fenced_now)
        return true;  /* the answer to a fresh token */
    engine->state = ENGINE_UP;
    retry_reset(&engine->retry);
    begin_session(engine, frame, now);
    if (is_first && engine->has_fresh_token)
        engine_put_token(engine);
    engine_follow_all(engine);
    return true;
}

/* --- refusals and ends ---------------------------------------------------------------------------------------------- */

/* `connect` was refused. A ticket that is no good is no end: the token comes next. */
static bool on_connect_error(struct engine *engine, const struct bin_frame *frame, msec now)
{
    unsigned    code   = (unsigned)bin_number(frame, BIN_CODE);
    struct span reason = bin_bytes(frame, BIN_REASON);

    if (engine->has_ticket_shown && (code == 401 || code == 400)) {
        engine_set_ticket(engine, SPAN(""));
        engine_put_connect(engine);  /* the link stays */
        return true;
    }
    if (code == 401 && engine->on.token != NULL) {
        engine->on.token(engine->options.arg, 0);
    } else if (code >= 400 && code < 500 && code != 408 && code != 429) {
        engine_end_for_good(engine, code, reason);
    }
    engine_fail(engine, code, reason, now);
    return false;
}

static bool on_error(struct engine *engine, const struct bin_frame *frame, msec now)
{
    uint64_t ref = bin_number(frame, BIN_REF);

    if (engine->state == ENGINE_GREETING)
        return on_connect_error(engine, frame, now);
    switch ((enum ref_kind)(ref % REF_KIND_COUNT)) {
    case REF_PUBLISH: engine_on_publish_error(engine, frame, now); return true;
    case REF_SUBSCRIBE: engine_on_subscribe_error(engine, frame, now); return true;
    case REF_CONNECT: return ref != engine->connect_ref || on_connect_error(engine, frame, now);
    case REF_UNSUBSCRIBE: engine_on_unsubscribe_error(engine, frame); return true;
    case REF_REQUEST: engine_on_request_error(engine, frame, now); return true;
    case REF_OTHER:
    case REF_KIND_COUNT: break;
    }
    return true;
}

static bool on_reconnect(struct engine *engine, const struct bin_frame *frame)
{
    struct span where = bin_bytes(frame, BIN_WHERE);

    engine->after_ms = (msec)(bin_number(frame, BIN_AFTER_MS) % (24 * 3600 * 1000));
    server_list_pick(where, &engine->redirect);
    server_list_keep(&engine->redirect, engine->has_tls, !engine->is_secure);
    return true;
}

enum { CLOSE_PROTOCOL = 1002, CLOSE_REPLACED = 4001, CLOSE_REVOKED = 4004 };

static bool on_closing(struct engine *engine, const struct bin_frame *frame, msec now)
{
    unsigned    code   = (unsigned)bin_number(frame, BIN_CODE);
    struct span reason = bin_bytes(frame, BIN_REASON);

    if (code == CLOSE_REPLACED || code == CLOSE_REVOKED ||
        (code == CLOSE_PROTOCOL && engine->state == ENGINE_GREETING))
        engine_end_for_good(engine, code, reason);
    engine_fail(engine, code, reason, now);
    return false;
}

static bool on_replaced(struct engine *engine, msec now)
{
    engine_end_for_good(engine, CLOSE_REPLACED, SPAN("another link of this device has replaced this one"));
    engine_fail(engine, CLOSE_REPLACED, SPAN("another link of this device has replaced this one"), now);
    return false;
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

static void on_notify(struct engine *engine, const struct bin_frame *frame)
{
    struct followed *followed = followed_find(&engine->table, bin_bytes(frame, BIN_CHANNEL));

    if (followed != NULL && followed->leaving == 0 && engine->on.notify != NULL)
        engine->on.notify(engine->options.arg, followed->name, bin_number(frame, BIN_EPOCH), bin_number(frame, BIN_HEAD));
}

static void on_presence(struct engine *engine, const struct bin_frame *frame, enum lw_presence_kind kind)
{
    struct followed *followed = followed_find(&engine->table, bin_bytes(frame, BIN_CHANNEL));

    if (followed == NULL || followed->leaving > 0 || engine->on.presence == NULL)
        return;
    buf_clear(&engine->names);
    buf_put(&engine->names, bin_bytes(frame, BIN_USER));
    buf_putc(&engine->names, '\0');
    size_t device = engine->names.len;
    buf_put(&engine->names, bin_bytes(frame, BIN_DEVICE));
    buf_putc(&engine->names, '\0');
    engine->on.presence(engine->options.arg, &(struct lw_presence){
        .kind    = kind,
        .channel = followed->name,
        .user    = kind == LW_PRESENT ? NULL : engine->names.at,
        .device  = kind == LW_PRESENT ? NULL : engine->names.at + device,
        .count   = bin_number(frame, BIN_COUNT),
    });
}

static void on_read(struct engine *engine, const struct bin_frame *frame)
{
    struct followed *followed = followed_find(&engine->table, bin_bytes(frame, BIN_CHANNEL));

    if (followed != NULL && followed->is_read_sent)
        followed->read_seq = 0;
}

bool engine_on_frame(struct engine *engine, struct bin_frame *frame, msec now)
{
    /* A type that this library doesn't know is passed over (docs/protocol.md 9.8). */
    if (frame->type == BIN_CONNECT)
        return on_connected(engine, frame, now);
    if (frame->type == BIN_ERROR)
        return on_error(engine, frame, now);
    if (frame->type == BIN_RECONNECT)
        return on_reconnect(engine, frame);
    if (frame->type == BIN_CLOSING)
        return on_closing(engine, frame, now);
    if (frame->type == BIN_REPLACED)
        return on_replaced(engine, now);
    if (frame->type == BIN_EXPIRING && engine->on.token != NULL)  /* perhaps before `connected` */
        engine->on.token(engine->options.arg, (unsigned)bin_number(frame, BIN_IN));
    if (engine->state != ENGINE_UP)
        return true;
    switch ((unsigned)frame->type) {
    case BIN_FULL: return engine_on_message(engine, frame, now);
    case BIN_GAP: return engine_on_gap(engine, frame, now);
    case BIN_NOTIFY: on_notify(engine, frame); break;
    case BIN_JOIN: on_presence(engine, frame, LW_JOINED); break;
    case BIN_LEAVE: on_presence(engine, frame, LW_LEFT); break;
    case BIN_HERE: on_presence(engine, frame, LW_PRESENT); break;
    case BIN_SUBSCRIBE: engine_on_subscribed(engine, frame); break;
    case BIN_UNSUBSCRIBE: engine_on_unsubscribed(engine, frame); break;
    case BIN_PUBLISH: engine_on_published(engine, frame); break;
    case BIN_REQUEST: engine_on_accepted(engine, frame); break;
    case BIN_READ: on_read(engine, frame); break;
    case BIN_PING: engine_put_pong(engine); break;
    case BIN_PONG: return engine_on_pong(engine, frame, now);
    default: break;
    }
    return true;
}

/* --- bytes --------------------------------------------------------------------------------------------------------- */

/* One frame; false: the link has ended, or there is no whole frame. */
static bool feed_one(struct engine *engine, msec now)
{
    struct span       rest = span_skip(buf_span(&engine->in), engine->in_used), bytes;
    struct bin_fault  fault;
    const char       *reason;
    size_t            used;

    switch (bin_split(rest, (uint32_t)engine->options.message_bytes_max, &bytes, &used, &fault)) {
    case BIN_SPLIT_MORE: return false;
    case BIN_SPLIT_FAULT: engine_fail(engine, fault.code, span_str(fault.reason), now); return false;
    case BIN_SPLIT_FRAME: break;
    }
    engine->in_used += used;
    switch (bin_read(bytes, BIN_SERVER, &engine->frame, &reason)) {
    case BIN_UNKNOWN: return true;
    case BIN_MALFORMED: engine_fail(engine, 1002, span_str(reason), now); return false;
    case BIN_OK: break;
    }
    if (!bin_aliases_take(&engine->aliases, &engine->frame)) {
        engine_fail(engine, 1002, SPAN("the server used an alias that it had not announced"), now);
        return false;
    }
    return engine_on_frame(engine, &engine->frame, now);
}

void engine_feed(struct engine *engine, struct span bytes, msec now)
{
    if (engine->state == ENGINE_ASKING)
        engine_take_allocation(engine, bytes, now);
    if (engine->state != ENGINE_GREETING && engine->state != ENGINE_UP)
        return;
    engine->heard_at     = now;
    engine->answer_until = 0;
    buf_put(&engine->in, bytes);
    must(buf_extend(&engine->in, 1) != NULL);  /* room for the NUL behind the data of the last message */
    engine->in.len--;
    while (feed_one(engine, now))
        ;
    if (engine->in_used > 0)  /* a link that has ended has nothing left */
        buf_drop(&engine->in, engine->in_used);
    engine->in_used = 0;
}
