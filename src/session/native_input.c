/* native_input.c - what a native client sends: bytes, frames. */
#include "base/must.h"
#include "codec/bin/bin.h"
#include "codec/ws/ws.h"
#include "reactor/log.h"
#include "session/native_session.h"

static uint32_t frame_bytes_most(const struct native_session *session)
{
    uint32_t most = session->client.link.worker->limits.frame_bytes_max;

    return session->client.link.is_answered || most < BIN_CONNECT_BYTES_MAX ? most : BIN_CONNECT_BYTES_MAX;
}

/* Threat 99: what can't be a `connect` is refused at its first bytes. */
static bool native_session_refuse_stranger(struct native_session *session, struct span bytes)
{
    if (session->client.link.is_answered || bin_judge_opening(bytes) != BIN_OPENING_NO)
        return false;
    LOG(LOG_INFO, "native_client_refused", log_str("looks_like", bin_guess_protocol(bytes)));
    native_session_close(session, WS_CLOSE_PROTOCOL,
                         "a link begins with a connect of longwire.bin.v1: this port speaks no other protocol");
    return true;
}

static void native_session_keep_behind(struct native_session *session, struct span bytes)
{
    if (!client_keep_behind(&session->client, bytes))
        native_session_close(session, WS_CLOSE_TRY_LATER,
                             "too much is being sent to this server at once; come again later");
}

static void native_session_rest(struct native_session *session, struct span bytes)
{
    if (!client_rest(&session->client, bytes))
        native_session_close(session, WS_CLOSE_TRY_LATER,
                             "too much is being sent to this server at once; come again later");
}

static bool native_session_gather(struct native_session *session, struct span piece)
{
    if (client_gather(&session->client, piece))
        return true;
    native_session_close(session, WS_CLOSE_TRY_LATER,
                         "too much is being sent to this server at once; come again later");
    return false;
}

/* Pings and pongs cost work and bring little (threat 74). */
static bool is_beat(struct span frame)
{
    return frame.at[0] == BIN_PING || frame.at[0] == BIN_PONG;
}

void native_session_note_connect(struct native_session *session)
{
    struct link *link = &session->client.link;

    if (link->is_answered || link->holder == NULL)
        return;
    link->is_answered = true;
    client_await_beat(&session->client);
}

static void native_session_take_frame(struct native_session *session, struct span frame)
{
    struct client *client = &session->client;

    if (is_beat(frame) && !client_count_idle_frame(client))
        return;
    client_take(client, frame);
    native_session_note_connect(session);
}

/* How many of the bytes that came belong to the frame whose beginning was gathered, as far as that is known. */
static size_t missing_bytes(struct span gathered, size_t needed, size_t len)
{
    size_t missing = needed == 0 ? 1 : needed - gathered.len;

    return missing < len ? missing : len;
}

/* Goes on with a frame that came in pieces. Returns what is left of the bytes. */
static struct span native_session_complete(struct native_session *session, struct span bytes)
{
    struct client   *client = &session->client;
    struct span      frame;
    struct bin_fault fault;
    size_t           needed;

    while (!client->link.is_over) {
        struct span gathered = client_gathered(client);
        if (native_session_refuse_stranger(session, gathered))
            break;
        switch (bin_split(gathered, frame_bytes_most(session), &frame, &needed, &fault)) {
        case BIN_SPLIT_MORE: {
            size_t missing = missing_bytes(gathered, needed, bytes.len);
            if (missing == 0 || !native_session_gather(session, span_head(bytes, missing)))
                return SPAN("");
            bytes = span_skip(bytes, missing);
            break;
        }
        case BIN_SPLIT_FRAME:
            native_session_take_frame(session, frame);
            client_drop_gathered(client);
            return bytes;
        case BIN_SPLIT_FAULT:
            native_session_close(session, fault.code, fault.reason);
            break;
        }
    }
    return SPAN("");
}

/* One frame of the bytes. Returns what is left of them. */
static struct span native_session_take_one(struct native_session *session, struct span bytes)
{
    struct span      frame;
    struct bin_fault fault;
    size_t           used;

    if (native_session_refuse_stranger(session, bytes))
        return SPAN("");
    switch (bin_split(bytes, frame_bytes_most(session), &frame, &used, &fault)) {
    case BIN_SPLIT_FRAME:
        native_session_take_frame(session, frame);
        return span_skip(bytes, used);
    case BIN_SPLIT_MORE:
        native_session_gather(session, bytes);
        break;
    case BIN_SPLIT_FAULT:
        native_session_close(session, fault.code, fault.reason);
        break;
    }
    return SPAN("");
}

static bool has_gathered(const struct client *client)
{
    return client->work != NULL && client->work->in.len > 0;
}

void native_session_take(struct native_session *session, struct span bytes)
{
    struct client *client = &session->client;

    while (bytes.len > 0 && !client->link.is_over) {
        if (client_is_identifying(client)) {
            native_session_keep_behind(session, bytes);
            return;
        }
        if (client_has_to_rest(client)) {
            native_session_rest(session, bytes);
            return;
        }
        bytes = has_gathered(client) ? native_session_complete(session, bytes) : native_session_take_one(session, bytes);
    }
}

/* The client has closed its direction. In the midst of a frame, or before a `connect`, it may want to know why it gets
 * nothing. False: the session is gone. */
static bool native_session_on_end(struct native_session *session)
{
    struct link *link = &session->client.link;

    if (link->is_over || !(has_gathered(&session->client) || !link->is_answered)) {
        native_session_free(session);
        return false;
    }
    native_session_close(session, WS_CLOSE_PROTOCOL, "the stream ended inside a frame, or before a connect");
    link->is_faulted = true;
    return true;
}

static void native_session_take_untaken(struct native_session *session)
{
    struct buf untaken = client_take_untaken(&session->client);

    native_session_take(session, buf_span(&untaken));
    buf_fini(&untaken);
    stream_more(link_stream(&session->client.link));
}

bool native_session_read(struct native_session *session)
{
    struct client *client = &session->client;
    struct link   *link   = &client->link;
    struct loop   *loop   = link->worker->loop;

    link->is_resting = client_has_too_much_pending(client);
    if (link->is_resting || link->is_faulted)
        return true;
    if (client_has_untaken(client)) {
        native_session_take_untaken(session);
        return true;
    }
    ssize_t got = stream_read(link_stream(link), loop->input, LOOP_INPUT_BYTES);
    if (got == STREAM_LATER)
        return true;
    if (got == 0)
        return native_session_on_end(session);
    if (got < 0) {
        native_session_free(session);
        return false;
    }
    client_heard(client);
    native_session_take(session, span_of(loop->input, (size_t)got));
    if (!stream_is_drained(link_stream(link), (size_t)got, LOOP_INPUT_BYTES))
        stream_more(link_stream(link));
    return true;
}
