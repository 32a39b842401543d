/* ws_session.c - one client on a WebSocket, subprotocol longwire.json.v1 (docs/protocol.md). */
#include <stdlib.h>

#include "base/base64.h"
#include "base/must.h"
#include "base/utf8.h"
#include "codec/token/token.h"
#include "codec/ws/ws.h"
#include "publish/publish_check.h"
#include "message/epoch.h"
#include "reactor/log.h"
#include "session/session.h"
#include "session/transport.h"
#include "session/ws_idle.h"
#include "session/ws_switch.h"

enum { WS_FRAGMENTS_MAX = 1024, OWN_BYTES_REST = 64 * 1024, MEMBERS_MAX = 1024 };

/* What a client that says something needs for a while; an idle one hasn't got it. */
struct ws_work {
    struct buf  in;             /* a message that comes in pieces */
    msec        in_since;       /* when its first piece came */
    struct list publishes;      /* under way: their answers find us, or nobody */
    struct list refs;           /* of subscriptions whose channels have not answered */
    uint32_t    publish_count;
    uint8_t     rest_len;
    char        rest[WS_CONTROL_BYTES_MAX];  /* the beginning of a control frame whose end has not come */
};

struct ws_session {
    struct link      link;
    struct reader    reader;
    struct ws        ws;
    struct timer     timer;
    uint64_t         key;
    struct ws_work  *work;        /* NULL mostly */
    struct ws_idle   idle;
};

/* link.is_over: our Close is sent, or on its way. is_answered: the client's Close has come as well; there is nothing more
 * to wait for. is_faulted: the client broke the protocol; what it says now, a Close too, is not understood. is_resting:
 * too many publishes are under way, or too many words wait; the client is not read from. */

/* A publish of this client on its way. */
struct ws_publish {
    struct list            link;
    struct ws_session     *session;  /* NULL: gone */
    struct publish_command *command;
    char                  *ref;      /* JSON text to echo, or NULL */
};

/* What a client wants echoed when a channel that it follows has answered. */
struct subscribe_ref {
    struct list              link;
    const struct reader_sub *sub;
    char                     text[];
};

static struct ws_session *session_of(struct link *link)
{
    return container_of(link, struct ws_session, link);
}

size_t ws_session_bytes(void)
{
    return sizeof(struct ws_session);
}

static struct ws_work *session_work(struct ws_session *session)
{
    if (session->work == NULL) {
        session->work = calloc(1, sizeof *session->work);
        must(session->work != NULL);
        buf_init(&session->work->in, session->link.worker->limits.frame_bytes_max + LOOP_INPUT_BYTES);
        list_init(&session->work->publishes);
        list_init(&session->work->refs);
    }
    return session->work;
}

static void session_drop_in(struct ws_session *session)
{
    session->link.worker->gathered_bytes -= session->work->in.len;
    buf_fini(&session->work->in);
}

static void session_drop_work(struct ws_session *session)
{
    if (session->work == NULL)
        return;
    session_drop_in(session);
    free(session->work);
    session->work = NULL;
}

static void session_drop_work_if_done(struct ws_session *session)
{
    const struct ws_work *work = session->work;

    if (work != NULL && work->in.len == 0 && work->publish_count == 0 && work->rest_len == 0 &&
        list_is_empty(&work->refs))
        session_drop_work(session);
}

static void session_free(struct ws_session *session)
{
    struct session_worker *worker = session->link.worker;
    struct list           *at;

    while (session->work != NULL && (at = list_pop(&session->work->publishes)) != NULL)
        container_of(at, struct ws_publish, link)->session = NULL;
    while (session->work != NULL && (at = list_pop(&session->work->refs)) != NULL)
        free(container_of(at, struct subscribe_ref, link));
    session_drop_work(session);
    wheel_disarm(&session->link.worker->loop->wheel, &session->timer);
    stream_close(session->link.stream);
    link_fini(&session->link);
    reader_fini(&session->reader, &worker->readers, worker->loop->now);
    pool_give(&worker->ws_sessions, session);
}

static void session_lost(struct link *link)
{
    session_free(session_of(link));
}

/* --- what we say --------------------------------------------------------------------------------------------- */

static struct buf *say_begin(struct ws_session *session)
{
    struct buf *scratch = &session->link.worker->frames.scratch;
    buf_clear(scratch);
    return scratch;
}

/* RFC 6455 5.5.1: nothing is said behind our Close; an answer that was under way then comes too late. */
static void say_end(struct ws_session *session)
{
    struct buf *scratch = &session->link.worker->frames.scratch;

    if (session->link.is_over)
        return;
    ws_put_frame(link_words(&session->link), WS_TEXT, buf_span(scratch));
    link_mark(&session->link);
}

static char *ref_new(struct span ref)
{
    if (ref.len == 0)
        return NULL;
    char *copy = strndup(ref.at, ref.len);
    must(copy != NULL);
    return copy;
}

static void put_ref(struct buf *scratch, struct span ref)
{
    if (ref.len == 0)
        return;
    buf_put_lit(scratch, ",\"ref\":");
    buf_put(scratch, ref);
}

static void put_epoch(struct buf *scratch, uint64_t epoch)
{
    buf_put_lit(scratch, ",\"epoch\":\"");
    epoch_put(scratch, epoch);
    buf_putc(scratch, '"');
}

static void say_error(struct ws_session *session, unsigned code, const char *reason, struct span ref)
{
    struct buf *scratch = say_begin(session);

    buf_put_lit(scratch, "{\"type\":\"error\",\"code\":");
    buf_put_u64(scratch, code);
    buf_put_lit(scratch, ",\"reason\":");
    json_put_string(scratch, span_str(reason));
    put_ref(scratch, ref);
    buf_putc(scratch, '}');
    say_end(session);
}

static void say_connected(struct ws_session *session, bool is_resumed, struct span ref)
{
    struct buf *scratch = say_begin(session);

    buf_putf(scratch, "{\"type\":\"connected\",\"connection\":\"%016llx\",\"session\":\"%016llx\",\"heartbeat\":%lld,\"resumed\":%s",
             (unsigned long long)session->key, (unsigned long long)session->key,
             (long long)(session->link.worker->limits.heartbeat_ms / 1000), is_resumed ? "true" : "false");
    put_ref(scratch, ref);
    buf_putc(scratch, '}');
    say_end(session);
}

static void session_close(struct ws_session *session, uint16_t code, const char *reason)
{
    struct session_worker *worker = session->link.worker;

    if (session->link.is_over)
        return;
    session->link.is_over = true;
    ws_put_close(link_words(&session->link), code, span_str(reason));
    link_mark(&session->link);
    wheel_arm(&worker->loop->wheel, &session->timer, worker->loop->now + worker->limits.close_timeout_ms);
}

/* Tells the client to come again, and ends. */
static void session_send_away(struct ws_session *session, uint16_t code, const char *reason)
{
    struct buf *scratch = say_begin(session);

    if (session->link.is_over)
        return;
    buf_put_lit(scratch, "{\"type\":\"reconnect\",\"after\":");
    buf_put_u64(scratch, (uint64_t)session->link.worker->limits.reconnect_ms);
    buf_putc(scratch, '}');
    say_end(session);
    session_close(session, code, reason);
}

/* Who it is, with the rights that they have by now; NULL: what let it in holds no more. */
static const struct identity *session_identity(const struct ws_session *session)
{
    const struct session_worker *worker = session->link.worker;
    return worker->port->find_identity(worker->ctx, session->link.holder);
}

/* False: what let it in holds no more (docs/decisions/0015), and it has been sent away. */
static bool session_is_welcome(struct ws_session *session)
{
    if (session_identity(session) != NULL)
        return true;
    session_send_away(session, WS_CLOSE_POLICY, "the API key was taken away or changed");
    return false;
}

/* --- subscribe refs --- */

static void session_keep_ref(struct ws_session *session, const struct reader_sub *sub, struct span text)
{
    struct subscribe_ref *ref = text.len == 0 ? NULL : calloc(1, sizeof *ref + text.len + 1);

    if (text.len == 0)
        return;
    must(ref != NULL);
    ref->sub = sub;
    memcpy(ref->text, text.at, text.len);
    list_push(&session_work(session)->refs, &ref->link);
}

/* The ref that was kept for this subscription, the caller's to free; NULL: none was. */
static struct subscribe_ref *session_take_ref(struct ws_session *session, const struct reader_sub *sub)
{
    struct list *refs = session->work == NULL ? NULL : &session->work->refs;

    for (struct list *at = refs == NULL ? NULL : refs->next; at != refs; at = at->next) {
        struct subscribe_ref *ref = container_of(at, struct subscribe_ref, link);
        if (ref->sub != sub)
            continue;
        list_take(at);
        return ref;
    }
    return NULL;
}

/* The news of a channel's place: `subscribed`, once its head is known. */
static void session_placed(struct link *link, struct reader_sub *sub)
{
    struct ws_session *session = session_of(link);
    struct subscribe_ref *ref = session_take_ref(session, sub);
    struct buf        *scratch    = say_begin(session);

    buf_put_lit(scratch, "{\"type\":\"subscribed\",\"channel\":");
    json_put_string(scratch, channel_name_span(subscription_name(&sub->sub)));
    put_epoch(scratch, subscription_epoch(&sub->sub));
    buf_put_lit(scratch, ",\"head\":");
    buf_put_u64(scratch, subscription_first_head(&sub->sub));
    put_ref(scratch, ref == NULL ? SPAN("") : span_str(ref->text));
    buf_putc(scratch, '}');
    say_end(session);
    free(ref);
    session_drop_work_if_done(session);
}

static struct frame *session_encode(struct link *link, struct reader_sub *sub, const struct entry *entry)
{
    if (entry->message != NULL)
        return frames_get(&link->worker->frames, entry->message, ENCODING_WS_JSON);

    struct buf text, frame;
    buf_init(&text, 4096);
    buf_init(&frame, 4096);
    json_put_gap(&text, channel_name_span(subscription_name(&sub->sub)), subscription_epoch(&sub->sub), &entry->gap,
                 SPAN(""));
    ws_put_frame(&frame, WS_TEXT, buf_span(&text));
    struct frame *made = frame_new(buf_span(&frame));
    buf_fini(&text);
    buf_fini(&frame);
    return made;
}

/* --- publishing ---------------------------------------------------------------------------------------------- */

static void ws_publish_free(struct ws_publish *publish)
{
    list_take(&publish->link);
    command_free(&publish->command->command);
    free(publish->ref);
    free(publish);
}

static void say_published(struct ws_session *session, const struct ws_publish *publish)
{
    struct buf *scratch = say_begin(session);

    buf_put_lit(scratch, "{\"type\":\"published\",");
    publish_put_receipt(scratch, publish->command->append.message->channel, &publish->command->answer);
    if (publish->command->outcome == PUBLISH_REPLAYED)
        buf_put_lit(scratch, ",\"replayed\":true");
    put_ref(scratch, span_str(publish->ref));
    buf_putc(scratch, '}');
    say_end(session);
}

static void session_published(struct publish_command *command)
{
    struct ws_publish *publish = command->owner;
    struct ws_session *session = publish->session;

    publish->command = command;
    if (session != NULL) {
        unsigned    status;
        const char *detail = publish_explain(command->outcome, &status);
        if (detail == NULL)
            say_published(session, publish);
        else
            say_error(session, status, detail, span_str(publish->ref));
        list_take(&publish->link);
        session->work->publish_count--;
        if (session->link.is_resting)
            stream_more(session->link.stream);
        session_drop_work_if_done(session);
    }
    ws_publish_free(publish);
}

/* The payload and its default media type: data as JSON value or text, data_base64 as octets (design: 4.4). */
static bool read_payload(struct ws_session *session, const struct json_token *root, struct buf *scratch,
                         struct span *ret_payload, struct span *ret_media)
{
    const struct json_doc   *doc  = &session->link.worker->doc;
    const struct json_token *data = json_member(doc, root, SPAN("data"));
    const struct json_token *b64  = json_member(doc, root, SPAN("data_base64"));
    struct span              text;

    if ((data == NULL) == (b64 == NULL))
        return false;
    if (b64 != NULL) {
        struct buf plain;
        buf_init(&plain, session->link.worker->limits.frame_bytes_max);
        bool is_read = json_string(b64, scratch, &text) && base64_get(text, &plain);
        buf_clear(scratch);
        buf_put(scratch, buf_span(&plain));
        buf_fini(&plain);
        *ret_payload = buf_span(scratch);
        *ret_media   = SPAN("application/octet-stream");
        return is_read;
    }
    if (data->type == JSON_STRING) {
        *ret_media = SPAN("text/plain");
        return json_string(data, scratch, ret_payload);
    }
    *ret_payload = data->raw;
    *ret_media   = SPAN("application/json");
    return true;
}

static void session_send_publish(struct ws_session *session, struct message *message, struct span key, struct span ref)
{
    struct ws_publish *publish = calloc(1, sizeof *publish);

    must(publish != NULL);
    publish->session = session;
    publish->ref     = ref_new(ref);
    list_push(&session_work(session)->publishes, &publish->link);
    session->work->publish_count++;

    struct publish_command *command = publish_command_new(&message, key, span_str(session_identity(session)->name));
    command->owner                 = publish;
    command->answered              = session_published;
    shard_publish(session->link.worker->shard, command);
}

/* --- the client's frames ------------------------------------------------------------------------------------- */

struct request {
    const struct json_token *root;
    struct span              ref;   /* raw JSON, bounded */
    struct buf               scratch;  /* for decoding, one string at a time */
};

static bool member_text(struct ws_session *session, struct request *request, struct span name, struct buf *scratch,
                        struct span *ret)
{
    const struct json_token *token = json_member(&session->link.worker->doc, request->root, name);

    *ret = SPAN("");
    return token == NULL || json_string(token, scratch, ret);
}

static bool member_u64(struct ws_session *session, struct request *request, struct span name, bool *ret_is_there,
                       uint64_t *ret)
{
    const struct json_token *token = json_member(&session->link.worker->doc, request->root, name);

    *ret_is_there = token != NULL;
    return token == NULL || json_u64(token, ret);
}

static void on_publish(struct ws_session *session, struct request *request)
{
    struct session_worker         *worker = session->link.worker;
    struct span          channel, media, media_default, key, payload;
    uint64_t             ttl = 0;
    bool                 has_ttl;
    struct buf           channel_room, media_scratch, key_scratch;
    struct channel_name *name  = NULL;
    const char          *fault = NULL;
    struct json_fault    json_fault = { .reason = NULL };
    char                 detail[JSON_FAULT_BYTES];
    unsigned             code  = 400;

    buf_init(&channel_room, 1024);
    buf_init(&media_scratch, 1024);
    buf_init(&key_scratch, 1024);
    if (!member_text(session, request, SPAN("channel"), &channel_room, &channel) ||
        !member_text(session, request, SPAN("media"), &media_scratch, &media) ||
        !member_text(session, request, SPAN("key"), &key_scratch, &key) ||
        !member_u64(session, request, SPAN("ttl"), &has_ttl, &ttl) ||
        !read_payload(session, request->root, &request->scratch, &payload, &media_default)) {
        fault = "publish takes channel, one of data and data_base64, and perhaps media, ttl, key, ref";
        goto out;
    }
    struct verdict verdict = may_name(worker->namespaces, worker->hash_key, channel, &name);
    code                   = verdict.status;
    fault                  = verdict.reason;
    if (code != 0)
        goto out;
    struct publish_request publish_request = {
        .name = name, .payload = payload, .media = media.len > 0 ? media : media_default, .key = key,
        .has_ttl = has_ttl, .ttl_s = ttl, .wall = worker->loop->wall, .identity = session_identity(session),
    };
    struct message *message;
    verdict = publish_check(&publish_request, &message, &json_fault);
    code    = verdict.status;
    fault   = verdict.reason;
    if (code == 0)
        session_send_publish(session, message, key, request->ref);
out:
    if (fault != NULL)
        say_error(session, code, json_fault_say(fault, &json_fault, detail), request->ref);
    channel_name_unref(name);
    buf_fini(&channel_room);
    buf_fini(&media_scratch);
    buf_fini(&key_scratch);
}

static bool read_start(struct ws_session *session, struct request *request, struct start *ret)
{
    bool        has_after, has_last;
    uint64_t    after = 0, last = 0;
    struct span epoch;

    *ret = (struct start){ .kind = START_NOW };
    if (!member_u64(session, request, SPAN("after"), &has_after, &after) ||
        !member_u64(session, request, SPAN("last"), &has_last, &last) || (has_after && has_last) ||
        after > UINT64_MAX / 2 || last > UINT64_MAX / 2)
        return false;
    if (has_last)
        *ret = (struct start){ .kind = START_LAST, .seq = last };
    if (has_after)
        *ret = (struct start){ .kind = START_AFTER, .seq = after };
    buf_clear(&request->scratch);
    return member_text(session, request, SPAN("epoch"), &request->scratch, &epoch) &&
           (epoch.len == 0 || epoch_get(epoch, &ret->epoch));
}

/* Follows one more; the answer comes when its head is known. */
static void session_subscribe(struct ws_session *session, struct span channel, struct start start, struct span ref)
{
    struct link  *link = &session->link;
    struct subscribe_requests requests;

    subscribe_requests_init(&requests);
    if (reader_find(link->reader, channel) != NULL)
        say_error(session, 409, "this connection follows that channel already", ref);
    else if (link->reader->sub_count >= link->worker->limits.channels_max)
        say_error(session, 400, "too many channels on one connection (channels_per_connection_max)", ref);
    else if (!subscribe_requests_add(&requests, link->worker, channel, start, session_identity(session)))
        say_error(session, requests.fault_status, requests.fault, ref);
    else {
        session_keep_ref(session, link_follow(link, requests.at[0].name, requests.at[0].start), ref);
    }
    subscribe_requests_fini(&requests);
}

static void on_subscribe(struct ws_session *session, struct request *request)
{
    struct buf   scratch;
    struct span  channel;
    struct start start;

    buf_init(&scratch, 1024);
    if (!member_text(session, request, SPAN("channel"), &scratch, &channel) || !read_start(session, request, &start))
        say_error(session, 400, "subscribe takes channel, perhaps after (with epoch) or last, and ref", request->ref);
    else
        session_subscribe(session, channel, start, request->ref);
    buf_fini(&scratch);
}

static void on_unsubscribe(struct ws_session *session, struct request *request)
{
    struct reader_sub *sub;
    struct span      channel;

    if (!member_text(session, request, SPAN("channel"), &request->scratch, &channel) ||
        (sub = reader_find(&session->reader, channel)) == NULL) {
        say_error(session, 404, "this connection does not follow that channel", request->ref);
        return;
    }
    free(session_take_ref(session, sub));
    link_unfollow(&session->link, sub);
    struct buf *scratch = say_begin(session);
    buf_put_lit(scratch, "{\"type\":\"unsubscribed\",\"channel\":");
    json_put_string(scratch, channel);
    put_ref(scratch, request->ref);
    buf_putc(scratch, '}');
    say_end(session);
}

static const char resume_is[] = "resume is an object: {\"channel\":{\"epoch\":…,\"seq\":…}}";

/* "resume":{"topic:a":{"epoch":"…","seq":42}, …} */
static void resume_one(struct ws_session *session, const struct json_token *name, const struct json_token *place,
                       struct span ref)
{
    const struct json_doc *doc   = &session->link.worker->doc;
    struct start           start = { .kind = START_AFTER };
    struct buf             name_scratch, epoch_room;
    struct span            channel, epoch = SPAN("");

    buf_init(&name_scratch, 1024);
    buf_init(&epoch_room, 64);
    const struct json_token *epoch_token = json_member(doc, place, SPAN("epoch"));
    if (!json_string(name, &name_scratch, &channel) || !json_u64(json_member(doc, place, SPAN("seq")), &start.seq) ||
        (epoch_token != NULL && (!json_string(epoch_token, &epoch_room, &epoch) || !epoch_get(epoch, &start.epoch))))
        say_error(session, 400, resume_is, ref);
    else
        session_subscribe(session, channel, start, SPAN(""));
    buf_fini(&name_scratch);
    buf_fini(&epoch_room);
}

/* Parsed anew from its raw text, because its places stand below what is kept of a frame. */
static void session_resume(struct ws_session *session, struct span resume, struct span ref)
{
    static const struct json_limits limits = { .depth_kept = 2, .members_max = MEMBERS_MAX };
    struct json_doc                *doc    = &session->link.worker->doc;
    const struct json_token        *root   = json_parse(resume, &limits, doc) ? json_root(doc) : NULL;
    bool                            is_map = root != NULL && root->type == JSON_OBJECT;
    const struct json_token        *name   = is_map ? json_first(doc, root) : NULL;

    say_connected(session, name != NULL, ref);
    if (!is_map && (root == NULL || root->type != JSON_NULL))
        say_error(session, 400, resume_is, ref);
    while (name != NULL) {
        const struct json_token *place = json_next(doc, root, name);
        resume_one(session, name, place, ref);
        name = json_next(doc, root, place);
    }
}

static void on_connect(struct ws_session *session, struct request *request)
{
    struct session_worker             *worker   = session->link.worker;
    const struct json_token *resume = json_member(&worker->doc, request->root, SPAN("resume"));
    struct span              token;

    const struct identity   *identity = session_identity(session);
    if (!member_text(session, request, SPAN("token"), &request->scratch, &token) ||
        (token.len > 0 && (identity = worker->port->identify_token(worker->ctx, token)) == NULL)) {
        say_error(session, 401, "this token is not known here", request->ref);
        session_close(session, WS_CLOSE_POLICY, "token not known");
        return;
    }
    session->link.holder = identity->number;
    session_resume(session, resume == NULL ? SPAN("null") : resume->raw, request->ref);
}

static void on_ping(struct ws_session *session, struct request *request)
{
    struct buf *scratch = say_begin(session);

    buf_put_lit(scratch, "{\"type\":\"pong\"");
    put_ref(scratch, request->ref);
    buf_putc(scratch, '}');
    say_end(session);
}

static void on_cursor(struct ws_session *session, struct request *request)
{
    struct buf *token = &session->link.worker->frames.token;

    if (link_waiting_bytes(&session->link) > OWN_BYTES_REST) {
        say_error(session, 429, "too much waits to be sent to this client; read it, then ask again", request->ref);
        return;
    }
    buf_clear(token);
    if (!link_put_token(&session->link, token)) {
        say_error(session, 409, "there is no cursor before every channel has said subscribed", request->ref);
        return;
    }
    struct buf *scratch = say_begin(session);
    buf_put_lit(scratch, "{\"type\":\"cursor\",\"cursor\":\"");
    buf_put(scratch, buf_span(token));
    buf_putc(scratch, '"');
    put_ref(scratch, request->ref);
    buf_putc(scratch, '}');
    say_end(session);
}

static const struct {
    struct span type;
    void      (*carry_out)(struct ws_session *session, struct request *request);
} request_rows[] = {
    { SPAN("publish"), on_publish },     { SPAN("subscribe"), on_subscribe }, { SPAN("unsubscribe"), on_unsubscribe },
    { SPAN("connect"), on_connect },     { SPAN("ping"), on_ping },           { SPAN("cursor"), on_cursor },
};

static void on_request(struct ws_session *session, struct request *request)
{
    struct span type;

    if (!member_text(session, request, SPAN("type"), &request->scratch, &type)) {
        say_error(session, 400, "a frame has a type, a string", request->ref);
        return;
    }
    for (size_t i = 0; i < sizeof request_rows / sizeof request_rows[0]; i++)
        if (span_eq(type, request_rows[i].type)) {
            buf_clear(&request->scratch);
            request_rows[i].carry_out(session, request);
            return;
        }
    say_error(session, 400,
              "unknown type; this version knows connect, subscribe, unsubscribe, publish, cursor and ping", request->ref);
}

enum { REF_BYTES_MAX = 256 };

static void session_on_text(struct ws_session *session, struct span text)
{
    /* Only the frame's own members are looked at: what is published may be any JSON. */
    static const struct json_limits limits  = { .depth_kept = 1, .members_max = MEMBERS_MAX };
    struct json_doc                *doc     = &session->link.worker->doc;
    struct request                  request = { 0 };

    if (!session_is_welcome(session))
        return;
    if (!json_parse(text, &limits, doc) || json_root(doc)->type != JSON_OBJECT) {
        char reason[JSON_FAULT_BYTES];
        say_error(session, 400, json_fault_say("a frame is one JSON object", &doc->fault, reason), SPAN(""));
        return;
    }
    request.root                 = json_root(doc);
    const struct json_token *ref = json_member(doc, request.root, SPAN("ref"));
    if (ref != NULL && ref->raw.len <= REF_BYTES_MAX)
        request.ref = ref->raw;
    buf_init(&request.scratch, session->link.worker->limits.frame_bytes_max);
    on_request(session, &request);
    buf_fini(&request.scratch);
}

/* --- bytes --------------------------------------------------------------------------------------------------- */

/* All messages of which only a part is there have a maximum together. */
static bool session_gather(struct ws_session *session, struct span piece)
{
    struct session_worker    *worker = session->link.worker;
    struct ws_work *work = session_work(session);

    if (worker->gathered_bytes + piece.len > worker->limits.gathered_bytes_max) {
        session_close(session, WS_CLOSE_TRY_LATER, "too much is being sent to this server at once; come again later");
        return false;
    }
    if (work->in.len == 0)
        work->in_since = worker->loop->now;
    buf_put(&work->in, piece);
    worker->gathered_bytes += piece.len;
    return true;
}

static void session_on_data(struct ws_session *session, const struct ws_piece *piece)
{
    if (piece->opcode == WS_BINARY) {
        session_close(session, WS_CLOSE_UNSUPPORTED, "longwire.json.v1 is text; publish octets as data_base64");
        return;
    }
    if (piece->is_first && piece->is_last) {
        session_on_text(session, piece->bytes);
        return;
    }
    if (session_gather(session, piece->bytes) && piece->is_last) {
        session_on_text(session, buf_span(&session->work->in));
        session_drop_in(session);
    }
}

static void session_on_control(struct ws_session *session, const struct ws_piece *piece)
{
    if (piece->opcode == WS_PING && !session->link.is_over && link_waiting_bytes(&session->link) < OWN_BYTES_REST) {
        ws_put_frame(link_words(&session->link), WS_PONG, piece->bytes);
        link_mark(&session->link);
    } else if (piece->opcode == WS_CLOSE) {
        /* RFC 6455 5.5.1: answer with the same code, then the server closes first (7.1.1). */
        session_close(session, piece->code, "");
        session->link.is_answered = true;
    }
}

/* Keeps the beginning of a control frame for its rest. */
static void session_keep_rest(struct ws_session *session, struct span rest)
{
    if (rest.len == 0)
        return;
    must(rest.len < WS_CONTROL_BYTES_MAX);
    session_work(session)->rest_len = (uint8_t)rest.len;
    memcpy(session->work->rest, rest.at, rest.len);
}

/* Puts what was kept before the bytes to come; returns how much that is. */
static size_t session_fetch_rest(struct ws_session *session, char *into)
{
    size_t len = session->work == NULL ? 0 : session->work->rest_len;

    if (len > 0) {
        memcpy(into, session->work->rest, len);
        session->work->rest_len = 0;
    }
    return len;
}

/* Feeds what came to the codec and acts on what it tells. Behind our own Close only the client's Close counts. */
static void session_take(struct ws_session *session, char *bytes, size_t len)
{
    size_t total = 0;

    while (!session->link.is_answered) {
        struct ws_piece piece;
        size_t          used = 0;
        switch (ws_feed(&session->ws, bytes + total, len - total, &used, &piece)) {
        case WS_MORE:
            session_keep_rest(session, span_of(bytes + total + used, len - total - used));
            return;
        case WS_DATA:
            if (!session->link.is_over)
                session_on_data(session, &piece);
            break;
        case WS_CONTROL:
            session_on_control(session, &piece);
            break;
        case WS_FAULT:
            session_close(session, piece.code, piece.bytes.at);
            session->link.is_faulted = true;
            break;
        }
        total += used;
    }
}

/* Too much is owed to this client already: it is read again when some of it is gone. */
static bool session_must_rest(struct ws_session *session)
{
    uint32_t publishes = session->work == NULL ? 0 : session->work->publish_count;

    session->link.is_resting = publishes >= session->link.worker->limits.waiting_publishes_max ||
                          link_waiting_bytes(&session->link) > OWN_BYTES_REST;
    return session->link.is_resting;
}

/* Reads once: who sends without end gets a turn no longer than others do. False: the session is gone. */
static bool session_read(struct ws_session *session)
{
    struct stream *stream = session->link.stream;
    struct loop   *loop   = stream->loop;

    if (session_must_rest(session))
        return true;
    size_t  kept = session_fetch_rest(session, loop->input);
    ssize_t got  = stream_read(stream, loop->input + kept, LOOP_INPUT_BYTES - kept);
    if (got == STREAM_LATER) {
        session_keep_rest(session, span_of(loop->input, kept));
        return true;
    }
    if (got > 0) {
        ws_idle_heard(&session->idle, loop->now);
        session_take(session, loop->input, kept + (size_t)got);
    }
    if (got <= 0 || (session->link.is_answered && link_waiting_bytes(&session->link) == 0)) {
        session_free(session);
        return false;
    }
    if (!stream_is_drained(stream, (size_t)got, LOOP_INPUT_BYTES - kept))
        stream_more(stream);
    return true;
}

static void session_on_readable(struct stream *stream, void *owner)
{
    (void)stream;
    if (session_read(owner))
        session_drop_work_if_done(owner);
}

static void session_on_writable(struct stream *stream, void *owner)
{
    struct ws_session *session = owner;

    link_on_writable(&session->link);
    if (session->link.is_resting)
        stream_more(stream);
}

static const struct stream_events session_events = {
    .source      = STREAM_SOURCE,
    .on_readable = session_on_readable,
    .on_writable = session_on_writable,
};

/* --- the life of a session ----------------------------------------------------------------------------------- */

static void session_draw(struct link *link)
{
    struct ws_session *session = session_of(link);
    struct stream     *stream  = link->stream;

    /* RFC 6455 7.1.1: both Closes are there, so the server ends the connection. */
    if (session->link.is_answered && link_waiting_bytes(link) == 0) {
        session_free(session);
        return;
    }
    link_draw(link);
    if (stream->is_closed || stream->is_full)
        return;  /* a closed stream had its session freed; a full one tells when to go on */
    if (session->link.is_answered)
        session_free(session);
    else if (session->link.is_faulted)
        stream_shut(stream);  /* RFC 6455 7.1.7; closing at once could overtake our Close with a reset */
    else if (session->link.is_resting)
        stream_more(stream);
}

/* While bytes wait for the socket the pong timer rests; a link that died then shows itself by its kernel's silence. */
static bool session_is_cut_off(const struct ws_session *session)
{
    const struct session_limits *limits = &session->link.worker->limits;
    return stream_is_dead(session->link.stream, limits->heartbeat_ms + limits->pong_timeout_ms);
}

/* Who begins a message and doesn't end it holds memory that others need. The rest may be there already, and it's up to us
 * to read it: after a pause of the process, or while publishes are under way. */
static bool session_is_dawdling(const struct ws_session *session, msec now)
{
    const struct ws_work *work    = session->work;
    bool                  is_ours = session->link.stream->is_again ||
                                    (session->link.is_resting && link_waiting_bytes(&session->link) == 0);

    return work != NULL && work->in.len > 0 && !is_ours &&
           now - work->in_since >= session->link.worker->limits.gather_timeout_ms;
}

static void session_drop_silent(struct ws_session *session)
{
    counter_add(&session->link.worker->counters.dropped_silent, 1);
    LOG(LOG_DEBUG, "silent_client_closed", log_str("transport", "websocket"));
    session_free(session);
}

static void session_on_timer(struct timer *timer, msec now)
{
    struct ws_session *session = container_of(timer, struct ws_session, timer);
    struct session_worker       *worker    = session->link.worker;
    msec               next    = now;

    if (session->link.is_over) {
        session_free(session);
        return;
    }
    if (!session_is_welcome(session))
        return;
    if (session_is_dawdling(session, now)) {
        session_close(session, WS_CLOSE_POLICY, "the message did not arrive in time");
        return;
    }
    if (session->link.is_resting)
        ws_idle_heard(&session->idle, now);  /* whom we don't read can't be heard */
    switch (ws_idle_judge(&session->idle, &worker->limits, link_waiting_bytes(&session->link), now, &next)) {
    case WS_IDLE_FINE:
        if (link_waiting_bytes(&session->link) == 0 || !session_is_cut_off(session))
            break;
        session_drop_silent(session);
        return;
    case WS_IDLE_PING:
        ws_put_frame(link_words(&session->link), WS_PING, SPAN(""));
        link_mark(&session->link);
        break;
    case WS_IDLE_SILENT:
        session_drop_silent(session);
        return;
    case WS_IDLE_SLOW:
        counter_add(&worker->counters.dropped_slow, 1);
        LOG(LOG_INFO, "slow_reader_closed", log_str("transport", "websocket"));
        session_free(session);
        return;
    }
    link_look_again(&session->link);
    wheel_arm(&worker->loop->wheel, timer, next);
}

static void session_leave(struct link *link)
{
    session_send_away(session_of(link), WS_CLOSE_GOING_AWAY, "the server is stopping; come again");
}

static const struct link_kind session_kind = {
    .encode = session_encode,
    .placed = session_placed,
    .draw   = session_draw,
    .lost   = session_lost,
    .leave  = session_leave,
};

static const struct span our_protocols[] = { SPAN("longwire.json.v1") };

static void session_open(struct session_worker *worker, struct http_exchange *exchange, const struct ws_handshake *shake,
                         struct subscribe_requests *requests, const struct identity *identity)
{
    struct ws_session *session = pool_take(&worker->ws_sessions);
    struct buf         unread;

    reader_init(&session->reader);
    link_init(&session->link, worker, &session_kind, &session->reader, TRANSPORT_WS, ENCODING_WS_JSON);
    ws_init(&session->ws, worker->limits.frame_bytes_max, WS_FRAGMENTS_MAX);
    session->link.holder     = identity->number;
    session->timer.fire = session_on_timer;
    session->key        = worker->port->new_key(worker->ctx);
    ws_idle_init(&session->idle, worker->loop->now);

    ws_put_switch(link_words(&session->link), shake, our_protocols[0], worker->server, exchange);
    buf_init(&unread, SIZE_MAX / 2);
    session->link.stream = http_take_over(worker->server, exchange, &unread);
    stream_hand_over(session->link.stream, &session_events, session);
    say_connected(session, false, SPAN(""));
    link_follow_all(&session->link, requests);
    wheel_arm(&worker->loop->wheel, &session->timer, worker->loop->now + worker->limits.heartbeat_ms);
    if (unread.len > 0)
        session_take(session, unread.at, unread.len);
    buf_fini(&unread);
    if (worker->is_stopping)
        session_leave(&session->link);
}

void session_serve_ws(struct session_worker *worker, struct http_exchange *exchange, const struct http_request *request)
{
    struct ws_handshake shake;
    struct subscribe_requests       requests;

    if (!ws_handshake_or_refuse(worker->server, exchange, request, our_protocols, 1, &shake))
        return;
    const struct identity *identity = worker->port->identify(worker->ctx, request->head, request->query);
    if (identity == NULL) {
        refuse_identity(worker, exchange);
        return;
    }
    subscribe_requests_init(&requests);
    if (subscribe_requests_read(&requests, worker, request, identity))
        session_open(worker, exchange, &shake, &requests, identity);
    else
        refuse_requests(worker, exchange, &requests);
    subscribe_requests_fini(&requests);
}
