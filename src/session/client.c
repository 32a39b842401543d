#include "session/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/jitter.h"
#include "base/must.h"
#include "codec/ws/ws.h"
#include "session/device_ticket.h"
#include "session/member_subscribe.h"

enum { ELSEWHERE_BYTES_MOST = 4096 };

void client_init(struct client *client, struct session_worker *worker, const struct client_kind *kind,
                 struct identity *identity, uint64_t key)
{
    reader_init(&client->reader);
    link_init(&client->link, worker, &kind->link, &client->reader, kind->transport, kind->dialect->encoding, key);
    link_take_holder(&client->link, identity == NULL ? NULL : identity_ref(identity));
    client->work        = NULL;
    client->network     = 0;
    heartbeat_init(&client->heartbeat, worker->loop->now);
}

/* --- what it needs while it says something -------------------------------------------------------------------- */

struct client_work *client_get_work(struct client *client)
{
    if (client->work == NULL) {
        client->work = calloc(1, sizeof *client->work);
        must(client->work != NULL);
        buf_init(&client->work->fields, SIZE_MAX / 2);  /* the head of a request bounds it */
        buf_init(&client->work->in, SIZE_MAX / 2);  /* frame_bytes_max bounds it, and gathered_bytes_max */
        buf_init(&client->work->untaken, SIZE_MAX / 2);  /* what one read brings, and gathered_bytes_max */
        list_init(&client->work->publishes);
        list_init(&client->work->questions);
        list_init(&client->work->marks);
        list_init(&client->work->requests);
        list_init(&client->work->refs);
    }
    return client->work;
}

void client_drop_gathered(struct client *client)
{
    client->link.worker->gathered_bytes -= client->work->in.len;
    buf_fini(&client->work->in);
}

static void client_drop_work(struct client *client)
{
    client_drop_gathered(client);
    client->link.worker->gathered_bytes -= client->work->untaken.len;
    buf_fini(&client->work->untaken);
    buf_fini(&client->work->fields);
    free(client->work);
    client->work = NULL;
}

void client_drop_work_if_done(struct client *client)
{
    const struct client_work *work = client->work;

    if (work != NULL && work->connecting == NULL && work->unfenced == NULL && work->in.len == 0 && work->untaken.len == 0 && work->publish_count == 0 &&
        work->rest_len == 0 && work->fields.len == 0 && work->mark_count == 0 && list_is_empty(&work->refs))
        client_drop_work(client);
}

void client_fini(struct client *client)
{
    struct session_worker *worker = client->link.worker;
    struct list           *at;

    if (client->work != NULL) {
        client_cancel_connect(client);
        client_cancel_unfenced(client);
        client_forget_publishes(client);
        client_forget_questions(client);
        client_forget_requests(client);
        client_forget_marks(client);
        while ((at = list_pop(&client->work->refs)) != NULL)
            free(container_of(at, struct subscribe_ref, in_work));
        client_drop_work(client);
    }
    link_fini(&client->link);
    reader_fini(&client->reader, &worker->readers, worker->loop->now);
}

/* --- what goes out ---------------------------------------------------------------------------------------------- */

void client_say(struct client *client, const struct client_event *event)
{
    const struct client_kind *kind    = client_kind(client);
    struct buf               *scratch = &client->link.worker->frames.scratch;

    /* RFC 6455 5.5.1: no frame is sent after our Close. An answer that was under way then is dropped. */
    if (client->link.is_over)
        return;
    buf_clear(scratch);
    kind->dialect->put_event(scratch, event);
    if (event->kind == EVENT_ACCEPTED) {
        kind->put_frame(link_words_deferred(&client->link), buf_span(scratch));
        return;
    }
    kind->put_frame(link_words(&client->link), buf_span(scratch));
    link_mark(&client->link);
}

void client_say_request_error(struct client *client, unsigned code, const char *reason, struct span id, struct span ref)
{
    client_say(client, &(struct client_event){ .kind = EVENT_ERROR, .ref = ref, .error = { code, reason, id, 0 } });
}

void client_say_error(struct client *client, unsigned code, const char *reason, struct span ref)
{
    client_say_request_error(client, code, reason, SPAN(""), ref);
}

void client_say_connected_as(struct client *client, const struct connected_session *session, bool is_resumed, struct span ref)
{
    client_say(client, &(struct client_event){
        .kind = EVENT_CONNECTED, .ref = ref,
        .connected = { client->link.key, heartbeat_interval(&client->heartbeat, &client->link.worker->limits.heartbeat),
                       is_resumed, client->link.worker->limits.frame_bytes_max,
                       &client->link.worker->limits.reconnect, session },
    });
}

void client_say_connected(struct client *client, const struct client_connect *connect, bool is_resumed, struct span ref)
{
    const struct device_link *device  = link_device(&client->link);
    struct connected_session  session = { 0 };
    struct buf                ticket;

    buf_init(&ticket, TICKET_TEXT_BYTES_MAX);
    if (device != NULL) {
        device_ticket_put(&client->link, connect == NULL ? 0 : client_token_mark(client, connect), &ticket);
        session = (struct connected_session){ .user = device_link_user(device), .device = device_link_device(device),
                                              .generation = device->generation, .ticket = buf_span(&ticket) };
    }
    client_say_connected_as(client, device == NULL ? NULL : &session, is_resumed, ref);
    buf_fini(&ticket);
}

static void client_say_reconnect(struct client *client, struct span where)
{
    struct session_worker *worker = client->link.worker;

    client_say(client, &(struct client_event){
        .kind      = EVENT_RECONNECT,
        .reconnect = { jitter(worker->limits.reconnect.base_ms, worker->port->new_key(worker->ctx)), where },
    });
}

/* This node goes: others take its clients. */
static void client_say_elsewhere(struct client *client)
{
    const struct session_worker *worker = client->link.worker;
    struct buf                   where;

    buf_init(&where, ELSEWHERE_BYTES_MOST);
    if (worker->port->elsewhere != NULL)
        worker->port->elsewhere(worker->ctx, &where);
    client_say_reconnect(client, buf_is_over(&where) ? SPAN("") : buf_span(&where));
    buf_fini(&where);
}

uint16_t client_close_code(enum client_close why)
{
    static const uint16_t codes[] = {
        [CLIENT_CLOSE_POLICY] = WS_CLOSE_POLICY, [CLIENT_CLOSE_GOING_AWAY] = WS_CLOSE_GOING_AWAY,
        [CLIENT_CLOSE_TRY_LATER] = WS_CLOSE_TRY_LATER,
    };
    return codes[why];
}

void client_send_away(struct client *client, enum client_close why, const char *reason)
{
    if (why == CLIENT_CLOSE_GOING_AWAY)
        client_say_elsewhere(client);
    else
        client_say_reconnect(client, SPAN(""));
    client_kind(client)->close(client, why, reason);
}

void client_put_off(struct client *client, const struct put_off *put_off)
{
    client_say(client, &(struct client_event){ .kind = EVENT_RECONNECT, .reconnect = { .after_ms = put_off->after_ms } });
    client_kind(client)->close_by_code(client, put_off->code, put_off->reason);
}

static void client_say_verdict(struct client *client, struct verdict verdict, struct span ref)
{
    client_say(client, &(struct client_event){
        .kind = EVENT_ERROR, .ref = ref,
        .error = { verdict.status, verdict.reason, SPAN(""), client->link.worker->usage->wait_ms },
    });
}

/* Who waits for answers is told once or twice, and loses nothing. Who sends on without waiting is better off with a pause:
 * its library comes again, and sends what was not answered. */
void client_refuse_usage(struct client *client, struct verdict verdict, struct span ref)
{
    struct session_worker *worker = client->link.worker;
    const msec             pause  = jitter(worker->limits.reconnect.base_ms, worker->port->new_key(worker->ctx));
    char                   reason[96];

    client_say_verdict(client, verdict, ref);
    if (!usage_is_ignored(worker->usage, client->link.key, worker->loop->now))
        return;
    snprintf(reason, sizeof reason, "too many frames above %s; wait for each answer",
             usage_limit_name(worker->usage->refused_by));
    client_put_off(client, &(struct put_off){ pause > worker->usage->wait_ms ? pause : worker->usage->wait_ms,
                                              CLOSE_TOO_MANY, reason });
}

void client_refuse_link(struct client *client, struct verdict verdict, struct span ref)
{
    client_say_verdict(client, verdict, ref);
    client_put_off(client, &(struct put_off){ client->link.worker->usage->wait_ms, CLOSE_TOO_MANY,
                                              "this user has too many links (connections_per_user_max)" });
}

void client_end(struct link *link, enum link_end why)
{
    struct client               *client = container_of(link, struct client, link);
    const struct link_end_words *words  = link_end_words(why);

    link_note_end(link, why);
    link->is_farewell = why == LINK_END_CUT_OFF || why == LINK_END_REVOKED;
    if (words->may_come_again)
        client_say_reconnect(client, SPAN(""));
    else if (!client_kind(client)->says_closing || why == LINK_END_REPLACED)
        client_say(client, &(struct client_event){ .kind = EVENT_CLOSING, .closing = words });
    client_kind(client)->close_by_code(client, words->code, words->reason);
}

/* The answer to a `connect` comes first. */
bool client_expiring(struct link *link, msec in)
{
    struct client *client = container_of(link, struct client, link);

    if (client_is_identifying(client))
        return false;
    client_say(client, &(struct client_event){
        .kind = EVENT_EXPIRING, .expiring_s = (uint32_t)((in + 999) / 1000),
    });
    link_mark(link);
    return true;
}

void client_presence(struct link *link, const struct presence_note *note)
{
    client_say(container_of(link, struct client, link), &(struct client_event){ .kind = EVENT_PRESENCE, .presence = note });
}

/* A session acknowledges what it has pulled, and until then it is told at most once a heartbeat. */
static void client_put_notify(struct client *client, struct buf *text, struct reader_sub *sub, uint64_t head)
{
    struct link *link  = &client->link;
    bool         acks  = link_device(link) != NULL && sub->sub.is_own;
    msec         quiet = acks ? heartbeat_interval(&client->heartbeat, &link->worker->limits.heartbeat) : NOTIFY_QUIET_MS;

    notify_told(link, sub, quiet);
    client_kind(client)->dialect->put_notify(text, channel_name_span(subscription_name(&sub->sub)),
                                             subscription_epoch(&sub->sub), head);
}

bool client_put(struct link *link, struct reader_sub *sub, const struct entry *entry, struct buf *buf)
{
    if (entry->message == NULL || !subscription_is_alone(&sub->sub) ||
        !frames_put_alone(&link->worker->frames, entry->message, (enum encoding)link->encoding, &sub->sub.told_alias, buf))
        return false;
    device_link_note_moved(sub);
    return true;
}

struct frame *client_encode(struct link *link, struct reader_sub *sub, const struct entry *entry)
{
    struct client *client = container_of(link, struct client, link);
    struct buf     text, framed;

    if (!reader_entry_is_notify(sub, entry))
        device_link_note_moved(sub);
    if (entry->message != NULL && subscription_is_alone(&sub->sub))
        return frames_make_alone(&link->worker->frames, entry->message, (enum encoding)link->encoding, &sub->sub.told_alias);
    if (entry->message != NULL && encoding_is_binary(link->encoding))
        return frames_get_told(&link->worker->frames, entry->message, (enum encoding)link->encoding,
                               &sub->sub.told_alias);
    if (entry->message != NULL)
        return frames_get(&link->worker->frames, entry->message, (enum encoding)link->encoding);
    buf_init(&text, 4096);
    buf_init(&framed, 4096);
    if (reader_entry_is_notify(sub, entry))
        client_put_notify(client, &text, sub, entry->gap.to);
    else
        client_kind(client)->dialect->put_gap(&text, channel_name_span(subscription_name(&sub->sub)),
                                              subscription_epoch(&sub->sub), &entry->gap);
    client_kind(client)->put_frame(&framed, buf_span(&text));
    struct frame *frame = frame_new(buf_span(&framed));
    buf_fini(&text);
    buf_fini(&framed);
    return frame;
}

/* Takes the ref. */
static void client_say_placed(struct client *client, const struct reader_sub *sub, bool has_named, struct subscribe_ref *ref)
{
    uint64_t after     = 0;
    bool     has_after = subscription_begins_elsewhere(&sub->sub, has_named, &after);

    client_say(client, &(struct client_event){
        .kind       = EVENT_SUBSCRIBED,
        .ref        = ref == NULL ? SPAN("") : span_str(ref->text),
        .subscribed = { channel_name_span(subscription_name(&sub->sub)), subscription_first_epoch(&sub->sub),
                        subscription_first_head(&sub->sub), has_after, after },
    });
    free(ref);
}

/* `subscribed` is sent once the channel's head is known; once more for each who asked to be told of its presence, too, meanwhile. */
void client_placed(struct link *link, struct reader_sub *sub)
{
    struct client        *client    = container_of(link, struct client, link);
    struct subscribe_ref *ref       = client_take_ref(client, sub);
    const bool            has_named = !sub->sub.is_own || sub->sub.is_named;

    device_link_placed(link, sub);
    if (ref != NULL || !sub->sub.is_unasked)
        client_say_placed(client, sub, has_named, ref);
    while ((ref = client_take_ref(client, sub)) != NULL)
        client_say_placed(client, sub, has_named, ref);
    client_send_requests(client);
    client_drop_work_if_done(client);
}

/* --- who it is ---------------------------------------------------------------------------------------------- */

const struct identity *client_identity(const struct client *client)
{
    struct identity *holder = client->link.holder;

    return holder == NULL || identity_is_revoked(holder) ? NULL : holder;
}

bool client_is_welcome(struct client *client)
{
    /* Who has not said yet who it is may say so. */
    if (client->link.holder == NULL || client_identity(client) != NULL)
        return true;
    client_send_away(client, CLIENT_CLOSE_POLICY, "the API key was taken away or changed");
    return false;
}

/* --- what comes in -------------------------------------------------------------------------------------------- */

void client_take(struct client *client, struct span frame)
{
    struct client_command command;
    struct client_fault   fault;

    if (!client_is_welcome(client))
        return;
    if (client_kind(client)->dialect->read(&client->link.worker->dialect_scratch, frame, &command, &fault)) {
        if (client_must_be_asked(client, &command))
            client_connect(client, &command);
        else
            client_carry_out(client, &command);
        if (client_is_identifying(client))
            client_keep_connect(client, frame);
        return;
    }
    if (fault.reason != NULL)
        client_say_request_error(client, fault.code, fault.reason, command.request_id, command.ref);
    if (fault.close_reason != NULL)
        client_kind(client)->close_by_code(client, fault.close_code != 0 ? fault.close_code : WS_CLOSE_POLICY,
                                           fault.close_reason);
}

bool client_count_idle_frame(struct client *client)
{
    struct link *link   = &client->link;
    uint8_t      second = (uint8_t)(link->worker->loop->now / 1000);

    if (link->idle_frame_second != second)
        link->idle_frame_count = 0;
    link->idle_frame_second = second;
    if (link->idle_frame_count == IDLE_FRAMES_A_SECOND_MAX) {
        client_kind(client)->close(client, CLIENT_CLOSE_POLICY,
                                   "too many pings, pongs and empty messages: at most 100 a second");
        return false;
    }
    link->idle_frame_count++;
    return true;
}

bool client_gather(struct client *client, struct span piece)
{
    struct session_worker *worker = client->link.worker;
    struct client_work    *work   = client_get_work(client);

    if (worker->gathered_bytes + piece.len > worker->limits.gathered_bytes_max)
        return false;
    if (work->in.len == 0) {
        work->in_since = worker->loop->now;
        client_look_by(client, work->in_since + worker->limits.gather_timeout_ms);
    }
    buf_put(&work->in, piece);
    must(!buf_is_over(&work->in));
    worker->gathered_bytes += piece.len;
    return true;
}

struct span client_gathered(const struct client *client)
{
    return buf_span(&client->work->in);
}

/* A client that begins a frame and doesn't end it holds memory that others need. But the rest of the frame may have
 * come already and the server has not read it: after a pause of the process, or while the client is not read because of
 * its publishes under way. */
bool client_is_dawdling(const struct client *client, msec now)
{
    const struct client_work *work    = client->work;
    const struct link        *link    = &client->link;
    bool                      is_ours = link_stream(link)->is_again || stream_is_held_back(link_stream(link)) ||
                   (link->is_resting && link_waiting_bytes(link) == 0);

    return work != NULL && work->in.len > 0 && !is_ours &&
           now - work->in_since >= link->worker->limits.gather_timeout_ms;
}

void client_keep_rest(struct client *client, struct span rest)
{
    if (rest.len == 0)
        return;
    must(rest.len <= CLIENT_REST_BYTES_MAX);
    client_get_work(client)->rest_len = (uint8_t)rest.len;
    memcpy(client->work->rest, rest.at, rest.len);
}

size_t client_fetch_rest(struct client *client, char *into)
{
    size_t len = client->work == NULL ? 0 : client->work->rest_len;

    if (len > 0) {
        memcpy(into, client->work->rest, len);
        client->work->rest_len = 0;
    }
    return len;
}

bool client_has_too_much_pending(const struct client *client)
{
    uint32_t publishes = client->work == NULL ? 0 : client->work->publish_count;

    return publishes >= client->link.worker->limits.waiting_publishes_max ||
           link_waiting_bytes(&client->link) > CLIENT_WORDS_BYTES_REST ||
           client_behind_bytes(client) >= CLIENT_BEHIND_BYTES_REST;
}

bool client_has_to_rest(const struct client *client)
{
    return !client->link.is_over && link_waiting_bytes(&client->link) > CLIENT_WORDS_BYTES_REST;
}

bool client_rest(struct client *client, struct span untaken)
{
    struct session_worker *worker = client->link.worker;
    struct client_work    *work   = client_get_work(client);

    must(work->untaken.len == 0);
    if (worker->gathered_bytes + untaken.len > worker->limits.gathered_bytes_max)
        return false;
    client->link.is_resting = true;
    buf_put(&work->untaken, untaken);
    worker->gathered_bytes += untaken.len;
    return true;
}

bool client_has_untaken(const struct client *client)
{
    return client->work != NULL && client->work->untaken.len > 0;
}

struct buf client_take_untaken(struct client *client)
{
    struct client_work *work    = client->work;
    struct buf          untaken = work->untaken;

    client->link.worker->gathered_bytes -= untaken.len;
    buf_init(&work->untaken, SIZE_MAX / 2);
    return untaken;
}
