/* bin_dialect.c - longwire.bin.v1: commands and events as frames of codec/bin. What a frame says in JSON it says here: whoever
 * adds a member there adds its field here. */
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "base/utf8.h"
#include "codec/bin/bin.h"
#include "codec/ws/ws.h"
#include "message/epoch.h"
#include "message/user_name.h"
#include "device/presence_command.h"
#include "session/dialect.h"
#include "session/heartbeat.h"

enum { BIN_PLACES_MAX = 1024, SESSION_NAME_BYTES = USER_NAME_BYTES_MAX + DEVICE_NAME_BYTES_MAX + 2 };

#define BIN_BIT(field) (UINT64_C(1) << (field))

struct bin_reading {
    struct dialect_scratch *scratch;
    const struct bin_frame *frame;
    struct client_command  *command;
    struct client_fault    *fault;
};

static bool bin_refuse(struct bin_reading *reading, unsigned code, const char *reason)
{
    *reading->fault = (struct client_fault){ .code = code, .reason = reason };
    return false;
}

/* Nothing that this peer says can be understood. */
static bool bin_give_up(struct bin_reading *reading, const char *reason)
{
    *reading->fault = (struct client_fault){ .close_reason = reason, .close_code = WS_CLOSE_PROTOCOL };
    return false;
}

/* --- reading ------------------------------------------------------------------------------------------------- */

static bool read_bin_start(const struct bin_frame *frame, struct start *ret)
{
    uint64_t after = bin_number(frame, BIN_AFTER), last = bin_number(frame, BIN_LAST);

    *ret = (struct start){ .kind = START_NOW };
    if ((bin_has(frame, BIN_AFTER) && bin_has(frame, BIN_LAST)) || after > UINT64_MAX / 2 || last > UINT64_MAX / 2)
        return false;
    if (bin_has(frame, BIN_LAST))
        *ret = (struct start){ .kind = START_LAST, .seq = last };
    if (bin_has(frame, BIN_AFTER))
        *ret = (struct start){ .kind = START_AFTER, .seq = after };
    ret->epoch = bin_number(frame, BIN_EPOCH);
    return true;
}

static bool read_bin_mode(struct bin_reading *reading, enum delivery_mode *ret)
{
    uint64_t mode = bin_number(reading->frame, BIN_MODE);

    if (mode > 1)
        return bin_refuse(reading, 400, delivery_modes_are);
    if (bin_has(reading->frame, BIN_MODE))
        *ret = mode == 1 ? MODE_NOTIFY : MODE_PUSH;
    return true;
}

static bool read_bin_subscribe(struct bin_reading *reading)
{
    struct client_subscribe *subscribe = &reading->command->subscribe;

    subscribe->channel = bin_bytes(reading->frame, BIN_CHANNEL);
    if (!read_bin_start(reading->frame, &subscribe->start))
        return bin_refuse(reading, 400, "subscribe takes channel, perhaps after (with epoch) or last, keep, presence, mode, and ref");
    subscribe->is_kept    = bin_has(reading->frame, BIN_KEEP);
    subscribe->is_watched = bin_has(reading->frame, BIN_PRESENCE);
    return read_bin_mode(reading, &subscribe->mode);
}

static bool read_bin_unsubscribe(struct bin_reading *reading)
{
    reading->command->unsubscribe = bin_bytes(reading->frame, BIN_CHANNEL);
    return true;
}

/* A number that is none of ours gets a word that is none, and is refused as in JSON. */
static struct span bin_priority(const struct bin_frame *frame)
{
    if (!bin_has(frame, BIN_PRIORITY))
        return SPAN("");
    uint64_t number = bin_number(frame, BIN_PRIORITY);
    return number == 0 ? SPAN("now") : number == 1 ? SPAN("beat") : SPAN("another");
}

static bool read_bin_publish(struct bin_reading *reading)
{
    const struct bin_frame *frame = reading->frame;

    reading->command->publish = (struct client_publish){
        .channel = bin_bytes(frame, BIN_CHANNEL), .payload = frame->payload, .media = bin_bytes(frame, BIN_MEDIA),
        .key = bin_bytes(frame, BIN_KEY), .event = bin_bytes(frame, BIN_EVENT),
        .collapse_key = bin_bytes(frame, BIN_COLLAPSE),
        .priority = bin_priority(frame), .has_ttl = bin_has(frame, BIN_TTL),
        .ttl_s = bin_number(frame, BIN_TTL),
    };
    return true;
}

static size_t count_bin_places(struct span places)
{
    struct bin_place place;
    size_t           count = 0;

    for (; places.len > 0; count++)
        must(bin_next_place(&places, &place));
    return count;
}

static bool read_bin_places(struct bin_reading *reading, struct client_connect *connect)
{
    struct span          rest  = bin_bytes(reading->frame, BIN_RESUME);
    size_t               count = count_bin_places(rest);
    struct client_place *places;
    struct bin_place     place;

    if (count > BIN_PLACES_MAX)
        return bin_refuse(reading, 400, "resume has more than 1,024 places");
    connect->place_count = count;
    connect->is_resuming = count > 0;
    connect->places = places = count == 0 ? NULL : dialect_scratch_places(reading->scratch, count);
    for (size_t i = 0; i < count; i++) {
        must(bin_next_place(&rest, &place));
        places[i] = (struct client_place){
            .channel = place.channel, .start = { .kind = START_AFTER, .seq = place.seq, .epoch = place.epoch },
            .fault = place.seq > UINT64_MAX / 2 ? "a seq of resume is beyond all numbers of a log" : NULL,
        };
    }
    return true;
}

static bool read_bin_connect(struct bin_reading *reading)
{
    const struct bin_frame *frame   = reading->frame;
    struct client_connect  *connect = &reading->command->connect;
    uint64_t                beat_s  = bin_number(frame, BIN_HEARTBEAT);

    if (frame->version_min > BIN_VERSION || frame->version_max < BIN_VERSION)
        return bin_give_up(reading, "no common version: this server speaks version 1 of longwire.bin");
    if (beat_s > HEARTBEAT_MS_LONGEST / 1000)
        return bin_refuse(reading, 400, "heartbeat is a number of seconds, from 0 to 86400; 0: as the server likes");
    connect->token     = bin_bytes(frame, BIN_TOKEN);
    connect->user      = bin_bytes(frame, BIN_USER);
    connect->device    = bin_bytes(frame, BIN_DEVICE);
    connect->ticket    = bin_bytes(frame, BIN_TICKET);
    connect->device_class  = bin_bytes(frame, BIN_CLASS);
    connect->wants_session = bin_has(frame, BIN_STANDING) || connect->ticket.len > 0;
    connect->cursor    = bin_bytes(frame, BIN_CURSOR_TOKEN);
    connect->has_beats = bin_has(frame, BIN_HEARTBEAT);
    connect->beat_ms   = (msec)beat_s * 1000;
    return read_bin_mode(reading, &connect->mode) && read_bin_places(reading, connect);
}

static bool read_bin_ping(struct bin_reading *reading)
{
    uint64_t next_ms = bin_number(reading->frame, BIN_NEXT_MS);

    if (bin_has(reading->frame, BIN_NEXT_MS) && (next_ms == 0 || next_ms > HEARTBEAT_MS_LONGEST))
        return bin_refuse(reading, 400, "next_ms is a number of milliseconds, from 1 to 86400000");
    reading->command->ping = (struct client_ping){
        .next_ms    = (msec)next_ms,
        .has_digest = bin_has(reading->frame, BIN_DIGEST),
        .digest     = bin_number(reading->frame, BIN_DIGEST),
        .wants_places = bin_has(reading->frame, BIN_PLACES),
    };
    return true;
}

static bool read_bin_ack(struct bin_reading *reading)
{
    const struct bin_frame *frame = reading->frame;

    if (!bin_has(frame, BIN_CHANNEL) || !bin_has(frame, BIN_SEQ))
        return bin_refuse(reading, 400, frame->type == BIN_ACK ? "ack takes channel and seq, perhaps epoch, and ref"
                                                               : "read takes channel and seq, perhaps epoch, and ref");
    reading->command->ack = (struct client_ack){ bin_bytes(frame, BIN_CHANNEL), bin_number(frame, BIN_EPOCH),
                                                 bin_number(frame, BIN_SEQ) };
    return true;
}

static bool read_bin_headers(struct bin_reading *reading, struct request_asked *asked)
{
    struct span       rest = bin_bytes(reading->frame, BIN_HEADERS);
    struct bin_header header;

    while (rest.len > 0) {
        must(bin_next_header(&rest, &header));
        if (!request_asked_add(asked, header.name, header.value))
            return bin_refuse(reading, 400, "`headers` has at most 32 fields");
    }
    return true;
}

static bool read_bin_request(struct bin_reading *reading)
{
    const struct bin_frame *frame = reading->frame;
    struct request_asked   *asked = &reading->scratch->asked;

    *asked = (struct request_asked){
        .id = bin_bytes(frame, BIN_REQUEST_ID), .method = bin_bytes(frame, BIN_METHOD), .target = bin_bytes(frame, BIN_PATH),
        .body = frame->payload, .timeout_ms = bin_number(frame, BIN_TIMEOUT_MS),
    };
    reading->command->request    = asked;
    reading->command->request_id = asked->id;
    if (!read_bin_headers(reading, asked))
        return false;
    if (asked->body.len > 0)
        request_asked_describe_body(asked, utf8_is_valid(asked->body) ? SPAN("text/plain; charset=utf-8")
                                                                      : SPAN("application/octet-stream"));
    return true;
}

static bool read_bin_cancel(struct bin_reading *reading)
{
    reading->command->request_id = bin_bytes(reading->frame, BIN_REQUEST_ID);
    return true;
}

static bool read_bin_nothing(struct bin_reading *reading)
{
    (void)reading;
    return true;
}

/* `later`: fields that the protocol has and this version does nothing with: who sends them counts on what they do. */
static const struct {
    bool                   (*read)(struct bin_reading *reading);
    enum client_command_kind kind;
    uint64_t                 later;
} bin_rows[BIN_TYPE_COUNT] = {
    [BIN_CONNECT] = { read_bin_connect, CLIENT_CONNECT,
                      BIN_BIT(BIN_GENERATION) },
    [BIN_SUBSCRIBE] = { read_bin_subscribe, CLIENT_SUBSCRIBE,
                        BIN_BIT(BIN_PRIORITY) },
    [BIN_UNSUBSCRIBE] = { read_bin_unsubscribe, CLIENT_UNSUBSCRIBE, 0 },
    [BIN_PUBLISH] = { read_bin_publish, CLIENT_PUBLISH, 0 },
    [BIN_CURSOR]  = { read_bin_nothing, CLIENT_CURSOR, 0 },
    [BIN_PING]    = { read_bin_ping, CLIENT_PING, 0 },
    [BIN_PONG]    = { read_bin_nothing, CLIENT_PONG, 0 },
    [BIN_ACK]     = { read_bin_ack, CLIENT_ACK, BIN_BIT(BIN_GENERATION) },
    [BIN_READ]    = { read_bin_ack, CLIENT_READ, BIN_BIT(BIN_GENERATION) },
    [BIN_REQUEST] = { read_bin_request, CLIENT_REQUEST, 0 },
    [BIN_CANCEL]  = { read_bin_cancel, CLIENT_CANCEL, 0 },
};

static void bin_read_ref(struct bin_reading *reading)
{
    struct dialect_scratch *scratch = reading->scratch;

    if (!bin_has(reading->frame, BIN_REF))
        return;
    int len = snprintf(scratch->ref, sizeof scratch->ref, "%llu",
                       (unsigned long long)bin_number(reading->frame, BIN_REF));
    reading->command->ref = span_of(scratch->ref, (size_t)len);
}

static bool bin_refuse_unknown(struct bin_reading *reading, const char *reason)
{
    snprintf(reading->scratch->reason, sizeof reading->scratch->reason, "%s: %llu", reason,
             (unsigned long long)reading->frame->unknown);
    return bin_refuse(reading, 400, reading->scratch->reason);
}

static bool bin_dialect_read(struct dialect_scratch *scratch, struct span bytes, struct client_command *ret_command,
                             struct client_fault *ret_fault)
{
    struct bin_frame   frame;
    struct bin_reading reading = { scratch, &frame, ret_command, ret_fault };
    const char        *reason;

    *ret_command = (struct client_command){ 0 };
    enum bin_verdict verdict = bin_read(bytes, BIN_CLIENT, &frame, &reason);
    if (verdict == BIN_MALFORMED)
        return bin_give_up(&reading, reason);
    bin_read_ref(&reading);
    if (verdict == BIN_UNKNOWN)
        return bin_refuse_unknown(&reading, reason);
    if (bin_rows[frame.type].read == NULL)
        return bin_refuse(&reading, 400, "this version does not do yet what this type of frame asks for");
    if ((frame.has & bin_rows[frame.type].later) != 0) {
        frame.unknown = (uint64_t)__builtin_ctzll(frame.has & bin_rows[frame.type].later);
        return bin_refuse_unknown(&reading, "this version does not do yet what this field asks for");
    }
    ret_command->kind = bin_rows[frame.type].kind;
    return bin_rows[frame.type].read(&reading);
}

/* --- writing ------------------------------------------------------------------------------------------------- */

static void say_bin_session(struct bin_frame *frame, const struct connected_session *session, char *name)
{
    int len = snprintf(name, SESSION_NAME_BYTES, "%.*s/%.*s", SPAN_ARG(session->user), SPAN_ARG(session->device));

    bin_set_bytes(frame, BIN_SESSION, span_of(name, (size_t)len));
    bin_set_number(frame, BIN_GENERATION, session->generation);
    bin_set_bytes(frame, BIN_USER, session->user);
    bin_set_bytes(frame, BIN_DEVICE, session->device);
    bin_set_bytes(frame, BIN_TICKET, session->ticket);
    bin_set_flag(frame, BIN_UNFENCED, session->is_unfenced);
}

static void say_bin_connected(struct bin_frame *frame, const struct client_event *event, char *name)
{
    const struct backoff *reconnect = event->connected.reconnect;

    bin_init(frame, BIN_CONNECT);
    bin_set_number(frame, BIN_CONNECTION, event->connected.key);
    if (event->connected.session != NULL)
        say_bin_session(frame, event->connected.session, name);
    bin_set_number(frame, BIN_HEARTBEAT, (uint64_t)(event->connected.heartbeat_ms / 1000));
    bin_set_flag(frame, BIN_RESUMED, event->connected.is_resumed);
    bin_set_number(frame, BIN_FRAME_BYTES, event->connected.frame_bytes_max);
    bin_set_number(frame, BIN_BASE_MS, (uint64_t)reconnect->base_ms);
    bin_set_number(frame, BIN_FACTOR, reconnect->factor_percent);
    bin_set_number(frame, BIN_CAP_MS, (uint64_t)reconnect->cap_ms);
    bin_set_number(frame, BIN_JITTER, reconnect->jitter_percent * 10);
    bin_set_number(frame, BIN_VERSION_NO, BIN_VERSION);
}

static void put_bin_published(struct buf *buf, const struct client_event *event)
{
    const struct append_answer *answer    = event->published.answer;
    struct bin_published        published = {
        .channel = channel_name_span(event->published.channel), .epoch = answer->epoch, .seq = answer->seq, .id = answer->id,
        .time = (uint64_t)answer->time, .is_replayed = event->published.is_replayed,
    };

    published.has_ref = span_u64(event->ref, &published.ref);
    bin_put_published(buf, &published);
}

static void say_bin_subscribed(struct bin_frame *frame, const struct client_event *event)
{
    bin_init(frame, BIN_SUBSCRIBE);
    bin_set_bytes(frame, BIN_CHANNEL, event->subscribed.channel);
    bin_set_number(frame, BIN_EPOCH, event->subscribed.epoch);
    bin_set_number(frame, BIN_HEAD, event->subscribed.head);
    if (event->subscribed.has_after)
        bin_set_number(frame, BIN_AFTER, event->subscribed.after);
}

/* `places`: where they are put. */
static void say_bin_pong(struct bin_frame *frame, const struct client_event *event, struct buf *places)
{
    /* No places are no field. The digest 0 tells that they were looked at, also who asked without a digest. */
    const bool has_none = event->pong.has_places && event->pong.place_count == 0;

    bin_init(frame, BIN_PONG);
    if (event->pong.has_digest || has_none)
        bin_set_number(frame, BIN_DIGEST, event->pong.digest);
    for (size_t i = 0; i < event->pong.place_count; i++) {
        const struct place *place = &event->pong.places[i];
        bin_put_place(places, &(struct bin_place){ place->channel, place->seq, place->epoch });
    }
    bin_set_bytes(frame, BIN_RESUME, buf_span(places));
}

static void say_bin_presence(struct bin_frame *frame, const struct presence_note *note)
{
    bin_init(frame, note->user.len == 0 ? BIN_HERE : note->is_join ? BIN_JOIN : BIN_LEAVE);
    bin_set_bytes(frame, BIN_CHANNEL, note->channel);
    bin_set_bytes(frame, BIN_USER, note->user);
    bin_set_bytes(frame, BIN_DEVICE, note->device);
    bin_set_number(frame, BIN_COUNT, note->count);
}

static void say_bin_why(struct bin_frame *frame, enum bin_type type, unsigned code, const char *reason)
{
    bin_init(frame, type);
    bin_set_number(frame, BIN_CODE, code);
    bin_set_bytes(frame, BIN_REASON, span_str(reason));
}

/* The `ref` of the request stands in no message, so the client finds the request by its id, in the payload. */
static void say_bin_replayed(struct bin_frame *frame, const struct message *message)
{
    alias_full_frame(frame, message);
    bin_set_flag(frame, BIN_REPLAYED, true);
}

static void bin_dialect_put_event(struct buf *buf, const struct client_event *event)
{
    struct bin_frame frame;
    char             name[SESSION_NAME_BYTES];
    struct buf       places;
    uint64_t         ref;

    if (event->kind == EVENT_PUBLISHED) {
        put_bin_published(buf, event);
        return;
    }
    buf_init(&places, SIZE_MAX / 2);  /* so long as a link's channels make it */
    switch (event->kind) {
    case EVENT_CONNECTED: say_bin_connected(&frame, event, name); break;
    case EVENT_SUBSCRIBED: say_bin_subscribed(&frame, event); break;
    case EVENT_UNSUBSCRIBED:
        bin_init(&frame, BIN_UNSUBSCRIBE);
        bin_set_bytes(&frame, BIN_CHANNEL, event->unsubscribed);
        break;
    case EVENT_PUBLISHED: return;  /* was put */
    case EVENT_CURSOR:
        bin_init(&frame, BIN_CURSOR);
        bin_set_bytes(&frame, BIN_CURSOR_TOKEN, event->cursor);
        break;
    case EVENT_PONG: say_bin_pong(&frame, event, &places); break;
    case EVENT_ERROR:
        say_bin_why(&frame, BIN_ERROR, event->error.code, event->error.reason);
        bin_set_bytes(&frame, BIN_REQUEST_ID, event->error.request_id);
        if (event->error.after_ms > 0)
            bin_set_number(&frame, BIN_AFTER_MS, (uint64_t)event->error.after_ms);
        break;
    case EVENT_ACCEPTED:
        bin_init(&frame, BIN_REQUEST);
        bin_set_bytes(&frame, BIN_REQUEST_ID, event->accepted);
        break;
    case EVENT_REPLAYED: say_bin_replayed(&frame, event->replayed); break;
    case EVENT_RECONNECT:
        bin_init(&frame, BIN_RECONNECT);
        bin_set_number(&frame, BIN_AFTER_MS, (uint64_t)event->reconnect.after_ms);
        bin_set_bytes(&frame, BIN_WHERE, event->reconnect.where);
        break;
    case EVENT_CLOSING:
        if (event->closing == link_end_words(LINK_END_REPLACED))
            bin_init(&frame, BIN_REPLACED);
        else
            say_bin_why(&frame, BIN_CLOSING, event->closing->code, event->closing->reason);
        break;
    case EVENT_PRESENCE: say_bin_presence(&frame, event->presence); break;
    case EVENT_ACK:
    case EVENT_READ:
        bin_init(&frame, event->kind == EVENT_ACK ? BIN_ACK : BIN_READ);
        bin_set_bytes(&frame, BIN_CHANNEL, event->ack.channel);
        bin_set_number(&frame, BIN_SEQ, event->ack.seq);
        break;
    case EVENT_EXPIRING:
        bin_init(&frame, BIN_EXPIRING);
        bin_set_number(&frame, BIN_IN, event->expiring_s);
        break;
    }
    if (span_u64(event->ref, &ref))
        bin_set_number(&frame, BIN_REF, ref);
    bin_put(buf, BIN_SERVER, &frame);
    buf_fini(&places);
}

static void bin_dialect_put_gap(struct buf *buf, struct span channel, uint64_t epoch, const struct gap *gap)
{
    static const uint8_t whys[] = { [GAP_EXPIRED] = 0, [GAP_TRIMMED] = 1, [GAP_EPOCH] = 2, [GAP_AHEAD] = 3,
                                    [GAP_CORRUPT] = 4, [GAP_COLLAPSED] = 5 };
    struct bin_frame     frame;

    bin_init(&frame, BIN_GAP);
    bin_set_bytes(&frame, BIN_CHANNEL, channel);
    bin_set_number(&frame, BIN_EPOCH, epoch);
    bin_set_number(&frame, BIN_GAP_FROM, gap->from);
    bin_set_number(&frame, BIN_GAP_TO, gap->to);
    bin_set_number(&frame, BIN_WHY, whys[gap->why]);
    bin_put(buf, BIN_SERVER, &frame);
}

static void bin_dialect_put_notify(struct buf *buf, struct span channel, uint64_t epoch, uint64_t head)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_NOTIFY);
    bin_set_bytes(&frame, BIN_CHANNEL, channel);
    bin_set_number(&frame, BIN_EPOCH, epoch);
    bin_set_number(&frame, BIN_HEAD, head);
    bin_put(buf, BIN_SERVER, &frame);
}

const struct dialect bin_dialect = {
    .encoding  = ENCODING_BIN,
    .read      = bin_dialect_read,
    .put_event = bin_dialect_put_event,
    .put_gap   = bin_dialect_put_gap,
    .put_notify = bin_dialect_put_notify,
};

const struct dialect ws_bin_dialect = {
    .encoding  = ENCODING_WS_BIN,
    .read      = bin_dialect_read,
    .put_event = bin_dialect_put_event,
    .put_gap   = bin_dialect_put_gap,
    .put_notify = bin_dialect_put_notify,
};
