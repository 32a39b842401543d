/* json_dialect.c - commands and events as JSON objects, subprotocol longwire.json.v1 (docs/protocol.md). */
#include <stdlib.h>

#include "base/known_words.h"
#include "base/must.h"
#include "message/epoch.h"
#include "message/user_name.h"
#include "publish/publish_check.h"
#include "publish/publish_json.h"
#include "publish/request_json.h"
#include "session/dialect.h"
#include "session/heartbeat.h"
#include "session/presence_follow.h"

enum { MEMBERS_MAX = 1024, REF_BYTES_MAX = 256 };

void dialect_scratch_init(struct dialect_scratch *scratch)
{
    *scratch = (struct dialect_scratch){ 0 };
    json_doc_init(&scratch->doc);
    buf_init(&scratch->strings, SIZE_MAX / 2);
}

void dialect_scratch_trim(struct dialect_scratch *scratch)
{
    buf_fini(&scratch->strings);
    free(scratch->places);
    scratch->places    = NULL;
    scratch->place_max = 0;
}

void dialect_scratch_fini(struct dialect_scratch *scratch)
{
    dialect_scratch_trim(scratch);
    json_doc_fini(&scratch->doc);
}

struct client_place *dialect_scratch_places(struct dialect_scratch *scratch, size_t count)
{
    if (count > scratch->place_max) {
        free(scratch->places);
        scratch->places    = calloc(count, sizeof scratch->places[0]);
        scratch->place_max = count;
        must(scratch->places != NULL);
    }
    return scratch->places;
}

/* --- reading ------------------------------------------------------------------------------------------------- */

/* One frame that is being read. */
struct json_reading {
    struct dialect_scratch  *scratch;
    const struct json_token *root;
    struct client_command   *command;
    struct client_fault     *fault;
};

static bool refuse(struct json_reading *reading, unsigned code, const char *reason)
{
    *reading->fault = (struct client_fault){ .code = code, .reason = reason };
    return false;
}

/* A member that may be absent; the span is empty then. */
static bool member_text(struct json_reading *reading, struct span name, struct span *ret)
{
    const struct json_token *token = json_member(&reading->scratch->doc, reading->root, name);

    *ret = SPAN("");
    return token == NULL || json_string(token, &reading->scratch->strings, ret);
}

static bool member_u64(struct json_reading *reading, struct span name, bool *ret_is_there, uint64_t *ret)
{
    const struct json_token *token = json_member(&reading->scratch->doc, reading->root, name);

    *ret_is_there = token != NULL;
    return token == NULL || json_u64(token, ret);
}

static bool member_flag(struct json_reading *reading, struct span name, bool *ret)
{
    const struct json_token *token = json_member(&reading->scratch->doc, reading->root, name);

    *ret = token != NULL && token->type == JSON_TRUE;
    return token == NULL || token->type == JSON_TRUE || token->type == JSON_FALSE;
}

/* A time in units of `unit_ms`. */
static bool read_msec(struct json_reading *reading, struct span name, msec unit_ms, bool *ret_is_there, msec *ret)
{
    uint64_t value = 0;

    if (!member_u64(reading, name, ret_is_there, &value) || value > (uint64_t)(HEARTBEAT_MS_LONGEST / unit_ms))
        return false;
    *ret = (msec)value * unit_ms;
    return true;
}

/* A misspelt member may decide about loss, so none is passed over. */
static bool check_words(struct json_reading *reading, struct known_words known)
{
    struct dialect_scratch *scratch = reading->scratch;
    struct json_doc        *doc     = &scratch->doc;
    struct span             word;

    for (const struct json_token *name = json_first(doc, reading->root); name != NULL;
         name = json_next(doc, reading->root, json_next(doc, reading->root, name)))
        if (!json_string(name, &scratch->strings, &word) || !known_words_have(known, word))
            return refuse(reading, 400, unknown_word_say("member", word, known, scratch->reason));
    return true;
}

static bool read_publish(struct json_reading *reading)
{
    struct client_publish *publish = &reading->command->publish;
    struct publish_json    said;

    reading->command->kind = CLIENT_PUBLISH;
    if (!member_text(reading, SPAN("channel"), &publish->channel) ||
        publish_json_read(&reading->scratch->doc, reading->root, &reading->scratch->strings, &said) != NULL)
        return refuse(reading, 400,
                      "publish takes channel, one of data and data_base64, and perhaps media, event, ttl, key, collapse_key, "
                      "priority, ref");
    publish->payload = said.payload;
    publish->media   = said.media;
    publish->key     = said.key;
    publish->event   = said.event;
    publish->collapse_key = said.collapse_key;
    publish->priority     = said.priority;
    publish->has_ttl = said.has_ttl;
    publish->ttl_s   = said.ttl_s;
    return true;
}

static bool read_start(struct json_reading *reading, struct start *ret)
{
    bool        has_after, has_last;
    uint64_t    after = 0, last = 0;
    struct span epoch;

    *ret = (struct start){ .kind = START_NOW };
    if (!member_u64(reading, SPAN("after"), &has_after, &after) ||
        !member_u64(reading, SPAN("last"), &has_last, &last) ||
        (has_after && has_last) || after > UINT64_MAX / 2 || last > UINT64_MAX / 2)
        return false;
    if (has_last)
        *ret = (struct start){ .kind = START_LAST, .seq = last };
    if (has_after)
        *ret = (struct start){ .kind = START_AFTER, .seq = after };
    return member_text(reading, SPAN("epoch"), &epoch) && (epoch.len == 0 || epoch_get(epoch, &ret->epoch));
}

static bool read_mode(struct json_reading *reading, enum delivery_mode *ret)
{
    struct span text;

    return member_text(reading, SPAN("mode"), &text) && delivery_mode_read(text, ret);
}

static bool read_subscribe(struct json_reading *reading)
{
    struct client_subscribe *subscribe = &reading->command->subscribe;

    reading->command->kind = CLIENT_SUBSCRIBE;
    if (!member_text(reading, SPAN("channel"), &subscribe->channel) || !read_start(reading, &subscribe->start) ||
        !member_flag(reading, SPAN("keep"), &subscribe->is_kept) ||
        !member_flag(reading, SPAN("presence"), &subscribe->is_watched))
        return refuse(reading, 400, "subscribe takes channel, perhaps after (with epoch) or last, keep, presence, mode, and ref");
    return read_mode(reading, &subscribe->mode) || refuse(reading, 400, delivery_modes_are);
}

static bool read_unsubscribe(struct json_reading *reading)
{
    struct span *channel = &reading->command->unsubscribe;

    reading->command->kind = CLIENT_UNSUBSCRIBE;
    if (!member_text(reading, SPAN("channel"), channel))
        *channel = SPAN("");  /* no channel is called so */
    return true;
}

static const char resume_is[] = "resume is an object: {\"channel\":{\"epoch\":…,\"seq\":…}}";

/* The first member that a place doesn't have; empty: none. */
static struct span unknown_of_place(struct dialect_scratch *scratch, const struct json_token *place)
{
    const struct json_doc *doc = &scratch->doc;
    struct span            word;

    if (place->type != JSON_OBJECT)
        return SPAN("");
    for (const struct json_token *name = json_first(doc, place); name != NULL;
         name = json_next(doc, place, json_next(doc, place, name)))
        if (json_string(name, &scratch->strings, &word) && !known_words_have(client_place_words, word))
            return word;
    return SPAN("");
}

static void read_resume_place(struct dialect_scratch *scratch, const struct json_token *name,
                              const struct json_token *place, struct client_place *ret)
{
    const struct json_doc   *doc         = &scratch->doc;
    const struct json_token *epoch_token = json_member(doc, place, SPAN("epoch"));
    struct span              epoch       = SPAN("");

    *ret = (struct client_place){ .start = { .kind = START_AFTER }, .unknown = unknown_of_place(scratch, place) };
    if (!json_string(name, &scratch->strings, &ret->channel) ||
        !json_u64(json_member(doc, place, SPAN("seq")), &ret->start.seq) ||
        (epoch_token != NULL &&
         (!json_string(epoch_token, &scratch->strings, &epoch) || !epoch_get(epoch, &ret->start.epoch))))
        ret->fault = resume_is;
}

/* "resume":{"topic:a":{"epoch":"…","seq":42}, …}. Parsed anew from its raw text, because its places stand below what is
 * kept of a frame. */
static void read_resume(struct dialect_scratch *scratch, struct span resume, struct client_connect *connect)
{
    static const struct json_limits limits = { .depth_kept = 2, .members_max = MEMBERS_MAX };
    struct json_doc                *doc    = &scratch->doc;
    const struct json_token        *root   = json_parse(resume, &limits, doc) ? json_root(doc) : NULL;
    bool                            is_map = root != NULL && root->type == JSON_OBJECT;
    struct client_place            *places = dialect_scratch_places(scratch, is_map ? (size_t)root->count + 1 : 1);

    connect->places = places;
    if (!is_map) {
        places[0]            = (struct client_place){ .fault = resume_is };
        connect->place_count = root == NULL || root->type != JSON_NULL;
        return;
    }
    for (const struct json_token *name = json_first(doc, root), *place; name != NULL;
         name = json_next(doc, root, place)) {
        place = json_next(doc, root, name);
        must(connect->place_count < scratch->place_max);
        read_resume_place(scratch, name, place, &places[connect->place_count++]);
    }
    connect->is_resuming = connect->place_count > 0;
}

static bool read_connect(struct json_reading *reading)
{
    struct client_connect   *connect = &reading->command->connect;
    const struct json_token *resume  = json_member(&reading->scratch->doc, reading->root, SPAN("resume"));

    reading->command->kind = CLIENT_CONNECT;
    if (!member_text(reading, SPAN("token"), &connect->token)) {
        refuse(reading, 401, "this token is not known here");
        reading->fault->close_reason = "token not known";
        return false;
    }
    if (!member_text(reading, SPAN("user"), &connect->user) || !member_text(reading, SPAN("device"), &connect->device))
        return refuse(reading, 400, "user and device are strings");
    if (!member_text(reading, SPAN("ticket"), &connect->ticket) ||
        !member_text(reading, SPAN("class"), &connect->device_class) ||
        !member_flag(reading, SPAN("session"), &connect->wants_session))
        return refuse(reading, 400, "ticket and class are strings, and session is true or false");
    connect->wants_session |= connect->ticket.len > 0;
    const struct json_token *cursor = json_member(&reading->scratch->doc, reading->root, SPAN("cursor"));
    const bool               has_cursor = cursor != NULL && cursor->type != JSON_NULL;  /* a poll's answer may hold null */
    if (has_cursor && !member_text(reading, SPAN("cursor"), &connect->cursor))
        return refuse(reading, 400, "cursor is a string, as the frame `cursor` gave it");
    if (!read_msec(reading, SPAN("heartbeat"), 1000, &connect->has_beats, &connect->beat_ms))
        return refuse(reading, 400, "heartbeat is a number of seconds, from 0 to 86400; 0: as the server likes");
    if (!read_mode(reading, &connect->mode))
        return refuse(reading, 400, delivery_modes_are);
    if (resume != NULL)
        read_resume(reading->scratch, resume->raw, connect);
    return true;
}

static bool read_ack_members(struct json_reading *reading, enum client_command_kind kind, const char *takes)
{
    struct client_ack *ack = &reading->command->ack;
    struct span        epoch;
    bool               has_seq;

    reading->command->kind = kind;
    if (!member_text(reading, SPAN("channel"), &ack->channel) || ack->channel.len == 0 ||
        !member_u64(reading, SPAN("seq"), &has_seq, &ack->seq) ||
        !has_seq || !member_text(reading, SPAN("epoch"), &epoch) || (epoch.len > 0 && !epoch_get(epoch, &ack->epoch)))
        return refuse(reading, 400, takes);
    return true;
}

static bool read_ack(struct json_reading *reading)
{
    return read_ack_members(reading, CLIENT_ACK, "ack takes channel and seq, perhaps epoch, and ref");
}

static bool read_read(struct json_reading *reading)
{
    return read_ack_members(reading, CLIENT_READ, "read takes channel and seq, perhaps epoch, and ref");
}

static bool read_json_request(struct json_reading *reading)
{
    struct dialect_scratch *scratch = reading->scratch;

    reading->command->kind    = CLIENT_REQUEST;
    reading->command->request = &scratch->asked;
    const char *fault = request_json_read(&scratch->doc, reading->root, &scratch->strings, &scratch->asked);
    reading->command->request_id = scratch->asked.id;
    return fault == NULL || refuse(reading, 400, fault);
}

static bool read_json_cancel(struct json_reading *reading)
{
    reading->command->kind = CLIENT_CANCEL;
    return member_text(reading, SPAN("id"), &reading->command->request_id) || refuse(reading, 400, "cancel takes id, and ref");
}

static bool read_cursor(struct json_reading *reading)
{
    reading->command->kind = CLIENT_CURSOR;
    return true;
}

static bool read_ping(struct json_reading *reading)
{
    struct client_ping *ping = &reading->command->ping;
    struct span         digest;
    bool                has_next;

    reading->command->kind = CLIENT_PING;
    if (!read_msec(reading, SPAN("next_ms"), 1, &has_next, &ping->next_ms) || (has_next && ping->next_ms == 0))
        return refuse(reading, 400, "next_ms is a number of milliseconds, from 1 to 86400000");
    if (!member_text(reading, SPAN("digest"), &digest) || (digest.len > 0 && !epoch_get(digest, &ping->digest)))
        return refuse(reading, 400, "digest is 16 lowercase hex digits");
    if (!member_flag(reading, SPAN("places"), &ping->wants_places))
        return refuse(reading, 400, "places is true or false");
    ping->has_digest = digest.len > 0;
    return true;
}

/* Every frame may have these. */
#define FRAME_WORDS SPAN("type"), SPAN("ref")

static const struct span publish_words[]     = { FRAME_WORDS, PUBLISH_JSON_WORDS };
static const struct span subscribe_words[]   = { FRAME_WORDS, SPAN("channel"), SPAN("after"), SPAN("last"), SPAN("epoch"),
                                                 SPAN("keep"), SPAN("presence"), SPAN("mode") };
static const struct span ack_words[]         = { FRAME_WORDS, SPAN("channel"), SPAN("seq"), SPAN("epoch") };
static const struct span unsubscribe_words[] = { FRAME_WORDS, SPAN("channel") };
static const struct span plain_words[]       = { FRAME_WORDS };
static const struct span connect_words[]     = { FRAME_WORDS, SPAN("token"), SPAN("resume"), SPAN("cursor"), SPAN("user"),
                                                 SPAN("device"), SPAN("heartbeat"), SPAN("session"), SPAN("ticket"), SPAN("class"),
                                                 SPAN("mode") };
static const struct span ping_words[]        = { FRAME_WORDS, SPAN("next_ms"), SPAN("digest"), SPAN("places") };

static const struct span request_words[]     = { FRAME_WORDS, REQUEST_JSON_WORDS };
static const struct span cancel_words[]      = { FRAME_WORDS, SPAN("id") };

static const struct {
    struct span        type;
    bool             (*read)(struct json_reading *reading);
    struct known_words words;
} command_rows[] = {
    { SPAN("publish"), read_publish, KNOWN_WORDS(publish_words) },
    { SPAN("subscribe"), read_subscribe, KNOWN_WORDS(subscribe_words) },
    { SPAN("unsubscribe"), read_unsubscribe, KNOWN_WORDS(unsubscribe_words) },
    { SPAN("connect"), read_connect, KNOWN_WORDS(connect_words) },
    { SPAN("ping"), read_ping, KNOWN_WORDS(ping_words) },
    { SPAN("ack"), read_ack, KNOWN_WORDS(ack_words) },
    { SPAN("read"), read_read, KNOWN_WORDS(ack_words) },
    { SPAN("cursor"), read_cursor, KNOWN_WORDS(plain_words) },
    { SPAN("request"), read_json_request, KNOWN_WORDS(request_words) },
    { SPAN("cancel"), read_json_cancel, KNOWN_WORDS(cancel_words) },
};

/* An error names the request that it is about, if that can be read. */
static bool read_known(struct json_reading *reading, struct known_words words, bool (*read)(struct json_reading *reading))
{
    if (check_words(reading, words))
        return read(reading);
    if (known_words_have(words, SPAN("id")) && !member_text(reading, SPAN("id"), &reading->command->request_id))
        reading->command->request_id = SPAN("");
    return false;
}

static bool read_type(struct json_reading *reading)
{
    struct span type;

    if (!member_text(reading, SPAN("type"), &type))
        return refuse(reading, 400, "a frame has a type, a string");
    for (size_t i = 0; i < sizeof command_rows / sizeof command_rows[0]; i++)
        if (span_eq(type, command_rows[i].type))
            return read_known(reading, command_rows[i].words, command_rows[i].read);
    return refuse(reading, 400,
                  "unknown type; this version knows connect, subscribe, unsubscribe, publish, ack, read, request, cancel, "
                  "cursor and ping");
}

static bool json_dialect_read(struct dialect_scratch *scratch, struct span frame, struct client_command *ret_command,
                              struct client_fault *ret_fault)
{
    /* Only the frame's own members are checked; the published value may be any JSON. */
    static const struct json_limits limits  = { .depth_kept = 1, .members_max = MEMBERS_MAX };
    struct json_doc                *doc     = &scratch->doc;
    struct json_reading             reading = { scratch, NULL, ret_command, ret_fault };

    *ret_command = (struct client_command){ 0 };
    if (!json_parse(json_skip_mark(frame), &limits, doc))
        return refuse(&reading, 400, json_fault_say("a frame is one JSON object", &doc->fault, scratch->reason));
    reading.root = json_root(doc);
    if (reading.root->type != JSON_OBJECT)
        return refuse(&reading, 400, "a frame is one JSON object");
    const struct json_token *ref = json_member(doc, reading.root, SPAN("ref"));
    if (ref != NULL && ref->raw.len <= REF_BYTES_MAX)
        ret_command->ref = ref->raw;
    publish_json_reserve(&scratch->strings, frame.len);  /* no other command says more */
    const char *reserved = scratch->strings.at;
    bool        is_read  = read_type(&reading);
    must(scratch->strings.at == reserved);
    return is_read;
}

/* --- writing ------------------------------------------------------------------------------------------------- */

static void put_session(struct buf *buf, const struct connected_session *session)
{
    struct buf name;

    buf_init(&name, USER_NAME_BYTES_MAX + 1 + DEVICE_NAME_BYTES_MAX);
    buf_put(&name, session->user);
    buf_putc(&name, '/');
    buf_put(&name, session->device);
    buf_put_lit(buf, "\"session\":");
    json_put_string(buf, buf_span(&name));
    buf_putf(buf, ",\"generation\":%llu,\"user\":", (unsigned long long)session->generation);
    json_put_string(buf, session->user);
    buf_put_lit(buf, ",\"device\":");
    json_put_string(buf, session->device);
    if (session->ticket.len > 0)
        buf_putf(buf, ",\"ticket\":\"%.*s\"", SPAN_ARG(session->ticket));
    if (session->is_unfenced)
        buf_put_lit(buf, ",\"fenced\":false");
    buf_putc(buf, ',');
    buf_fini(&name);
}

static void put_connected(struct buf *buf, const struct client_event *event)
{
    buf_putf(buf, "{\"type\":\"connected\",\"connection\":\"%016llx\",", (unsigned long long)event->connected.key);
    if (event->connected.session != NULL)
        put_session(buf, event->connected.session);
    buf_putf(buf, "\"heartbeat\":%lld,\"reconnect\":", (long long)(event->connected.heartbeat_ms / 1000));
    backoff_put(buf, event->connected.reconnect);
    buf_putf(buf, ",\"resumed\":%s", event->connected.is_resumed ? "true" : "false");
}

static void put_subscribed(struct buf *buf, const struct client_event *event)
{
    buf_put_lit(buf, "{\"type\":\"subscribed\",\"channel\":");
    json_put_string(buf, event->subscribed.channel);
    buf_put_lit(buf, ",\"epoch\":\"");
    epoch_put(buf, event->subscribed.epoch);
    buf_put_lit(buf, "\",\"head\":");
    buf_put_u64(buf, event->subscribed.head);
    if (event->subscribed.has_after) {
        buf_put_lit(buf, ",\"after\":");
        buf_put_u64(buf, event->subscribed.after);
    }
}

static void put_link_places(struct buf *buf, const struct place *places, size_t count)
{
    buf_put_lit(buf, ",\"places\":{");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        json_put_string(buf, places[i].channel);
        buf_put_lit(buf, ":{\"seq\":");
        buf_put_u64(buf, places[i].seq);
        buf_put_lit(buf, ",\"epoch\":\"");
        epoch_put(buf, places[i].epoch);
        buf_put_lit(buf, "\"}");
    }
    buf_putc(buf, '}');
}

static void put_pong(struct buf *buf, const struct client_event *event)
{
    buf_put_lit(buf, "{\"type\":\"pong\"");
    if (event->pong.has_digest) {
        buf_put_lit(buf, ",\"digest\":\"");
        epoch_put(buf, event->pong.digest);
        buf_putc(buf, '"');
    }
    if (event->pong.has_places)
        put_link_places(buf, event->pong.places, event->pong.place_count);
}

static void put_published(struct buf *buf, const struct client_event *event)
{
    buf_put_lit(buf, "{\"type\":\"published\",");
    publish_put_receipt(buf, event->published.channel, event->published.answer);
    if (event->published.is_replayed)
        buf_put_lit(buf, ",\"replayed\":true");
}

static void put_error(struct buf *buf, const struct client_event *event)
{
    buf_put_lit(buf, "{\"type\":\"error\",\"code\":");
    buf_put_u64(buf, event->error.code);
    buf_put_lit(buf, ",\"reason\":");
    json_put_string(buf, span_str(event->error.reason));
    if (event->error.request_id.len > 0) {
        buf_put_lit(buf, ",\"id\":");
        json_put_string(buf, event->error.request_id);
    }
    if (event->error.after_ms > 0) {
        buf_put_lit(buf, ",\"after\":");
        buf_put_u64(buf, (uint64_t)event->error.after_ms);
    }
}

/* The message as it stands in the log, and that it is no place. */
static void put_replayed(struct buf *buf, const struct message *message)
{
    json_put_message(buf, message);
    must(buf->len > 0 && buf->at[buf->len - 1] == '}');
    buf->len--;
    buf_put_lit(buf, ",\"replayed\":true");
}

static void json_dialect_put_event(struct buf *buf, const struct client_event *event)
{
    switch (event->kind) {
    case EVENT_CONNECTED: put_connected(buf, event); break;
    case EVENT_SUBSCRIBED: put_subscribed(buf, event); break;
    case EVENT_UNSUBSCRIBED:
        buf_put_lit(buf, "{\"type\":\"unsubscribed\",\"channel\":");
        json_put_string(buf, event->unsubscribed);
        break;
    case EVENT_PUBLISHED: put_published(buf, event); break;
    case EVENT_CURSOR:
        buf_put_lit(buf, "{\"type\":\"cursor\",\"cursor\":");
        json_put_string(buf, event->cursor);
        break;
    case EVENT_PONG: put_pong(buf, event); break;
    case EVENT_ERROR: put_error(buf, event); break;
    case EVENT_RECONNECT:
        buf_put_lit(buf, "{\"type\":\"reconnect\",\"after\":");
        buf_put_u64(buf, (uint64_t)event->reconnect.after_ms);
        if (event->reconnect.where.len > 0) {
            buf_put_lit(buf, ",\"where\":");
            json_put_string(buf, event->reconnect.where);
        }
        break;
    case EVENT_ACK:
    case EVENT_READ:
        buf_putf(buf, "{\"type\":\"%s\",\"channel\":", event->kind == EVENT_ACK ? "ack" : "read");
        json_put_string(buf, event->ack.channel);
        buf_put_lit(buf, ",\"seq\":");
        buf_put_u64(buf, event->ack.seq);
        break;
    case EVENT_CLOSING:
        link_end_put(buf, event->closing);
        break;
    case EVENT_PRESENCE: presence_note_put(buf, event->presence); break;
    case EVENT_ACCEPTED:
        buf_put_lit(buf, "{\"type\":\"accepted\",\"id\":");
        json_put_string(buf, event->accepted);
        break;
    case EVENT_REPLAYED: put_replayed(buf, event->replayed); break;
    case EVENT_EXPIRING:
        buf_put_lit(buf, "{\"type\":\"expiring\",\"in\":");
        buf_put_u64(buf, event->expiring_s);
        break;
    }
    if (event->ref.len > 0) {
        buf_put_lit(buf, ",\"ref\":");
        buf_put(buf, event->ref);
    }
    buf_putc(buf, '}');
}

static void json_dialect_put_gap(struct buf *buf, struct span channel, uint64_t epoch, const struct gap *gap)
{
    json_put_gap(buf, channel, epoch, gap, SPAN(""));
}

static void json_dialect_put_notify(struct buf *buf, struct span channel, uint64_t epoch, uint64_t head)
{
    json_put_notify(buf, channel, epoch, head, SPAN(""));
}

const struct dialect json_dialect = {
    .encoding  = ENCODING_WS_JSON,
    .read      = json_dialect_read,
    .put_event = json_dialect_put_event,
    .put_gap   = json_dialect_put_gap,
    .put_notify = json_dialect_put_notify,
};
