/* ws_input.c - what a WebSocket client sends: bytes, pieces, messages (RFC 6455). */
#include <stdio.h>

#include "base/must.h"
#include "session/ws_session.h"

enum { WS_BLOATED_BYTES_MIN = 64 * 1024, WS_BLOATED_FACTOR = 100, WS_BLOATED_COUNTS = 10 };

_Static_assert((int)WS_CONTROL_BYTES_MAX <= (int)CLIENT_REST_BYTES_MAX,
               "ws_feed() leaves the beginning of a control frame");

static bool ws_session_is_binary(const struct ws_session *session)
{
    return encoding_plain(session->client.link.encoding) == ENCODING_WS_BIN;
}

/* False: its subprotocol has no such messages, and the session closes. */
static bool ws_session_check_opcode(struct ws_session *session, enum ws_opcode opcode)
{
    bool is_binary = ws_session_is_binary(session);

    if ((opcode == WS_BINARY) == is_binary)
        return true;
    ws_session_close(session, WS_CLOSE_UNSUPPORTED,
                     is_binary ? "longwire.bin.v1 has no text messages"
                               : "longwire.json.v1 is text; publish octets as data_base64");
    return false;
}

/* Does it bring nothing? A binary ping or pong is its type alone. */
static bool ws_message_is_idle(const struct ws_session *session, struct span message)
{
    return message.len <= (ws_session_is_binary(session) ? 1 : 0);
}

/* The client broke the protocol. */
static void ws_session_fail(struct ws_session *session, uint16_t code, const char *reason)
{
    ws_session_close(session, code, reason);
    session->client.link.is_faulted = true;
}

static void ws_session_say_too_long(struct ws_session *session)
{
    char reason[160];

    snprintf(reason, sizeof reason, "the message is longer than %u bytes (frame_bytes_max); it was not read",
             session->ws.message_bytes_max);
    client_say_error(&session->client, 413, reason, SPAN(""));
}

/* A message that brings nothing, or is mostly the same byte: it costs us far more than its client. False: the link has been ended. */
static bool ws_session_count_idle(struct ws_session *session, unsigned count)
{
    while (count-- > 0)
        if (!client_count_idle_frame(&session->client))
            return false;
    return true;
}

/* False: there is no message, and that has been told. */
static bool ws_session_inflate(struct ws_session *session, enum ws_opcode opcode, struct span payload, struct span *ret_message)
{
    struct session_worker *worker = session->client.link.worker;
    enum ws_inflated       inflated =
        ws_inflate(&worker->inflater, opcode, payload, session->ws.message_bytes_max, ret_message);

    if (inflated == WS_INFLATED)
        return true;
    if (inflated != WS_INFLATED_TOO_LONG)
        ws_session_fail(session, ws_inflated_code(inflated), ws_inflated_reason(inflated));
    else if (ws_session_count_idle(session, WS_BLOATED_COUNTS))
        ws_session_say_too_long(session);
    return false;
}

static bool ws_session_count_inflated(struct ws_session *session, struct span payload, struct span message)
{
    if (ws_message_is_idle(session, message))
        return ws_session_count_idle(session, 1);
    if (message.len > WS_BLOATED_BYTES_MIN && message.len / WS_BLOATED_FACTOR > payload.len)
        return ws_session_count_idle(session, WS_BLOATED_COUNTS);
    return true;
}

/* All of a message's payload. */
static void ws_session_take_message(struct ws_session *session, const struct ws_piece *last, struct span payload)
{
    struct span message = payload;

    if (last->is_deflated && (!ws_session_inflate(session, last->opcode, payload, &message) ||
                              !ws_session_count_inflated(session, payload, message)))
        return;
    if (message.len > 0 || !ws_session_is_binary(session))
        client_take(&session->client, message);
}

static void ws_session_on_data(struct ws_session *session, const struct ws_piece *piece)
{
    struct client *client = &session->client;

    if (piece->is_first && piece->is_last && !piece->is_deflated && ws_message_is_idle(session, piece->bytes) &&
        !client_count_idle_frame(client))
        return;
    if (!ws_session_check_opcode(session, piece->opcode))
        return;
    if (piece->is_first && piece->is_last) {
        ws_session_take_message(session, piece, piece->bytes);
        return;
    }
    if (!client_gather(client, piece->bytes)) {
        ws_session_close(session, WS_CLOSE_TRY_LATER,
                         "too much is being sent to this server at once; come again later");
        return;
    }
    if (piece->is_last) {
        ws_session_take_message(session, piece, client_gathered(client));
        client_drop_gathered(client);
    }
}

/* What came of it is dropped, and so is what still comes. Its `ref` is not known: it may stand at the end. */
static void ws_session_on_too_long(struct ws_session *session, enum ws_opcode opcode)
{
    struct client *client = &session->client;

    if (client->work != NULL)
        client_drop_gathered(client);
    if (ws_session_check_opcode(session, opcode))
        ws_session_say_too_long(session);
}

static void ws_session_on_control(struct ws_session *session, const struct ws_piece *piece)
{
    struct link *link = &session->client.link;

    if (piece->opcode != WS_CLOSE && !link->is_over && !client_count_idle_frame(&session->client))
        return;
    if (piece->opcode == WS_PING && !link->is_over) {
        ws_put_frame(link_words(link), WS_PONG, piece->bytes);
        link_mark(link);
    } else if (piece->opcode == WS_CLOSE) {
        /* Who goes away may come again at once: a page that is loaded anew. */
        link_note_gone(link, link->is_over ? LINK_GONE_REFUSED : LINK_GONE_CLOSED);
        if (!link->is_over)
            link->is_farewell = piece->code != WS_CLOSE_GOING_AWAY;
        /* RFC 6455 5.5.1: answer with the same code, then the server closes first (7.1.1). */
        ws_session_close(session, piece->code, "");
        link->is_answered = true;
    }
}

static void ws_session_keep_behind(struct ws_session *session, struct span bytes)
{
    if (!client_keep_behind(&session->client, bytes))
        ws_session_close(session, WS_CLOSE_TRY_LATER,
                         "too much is being sent to this server at once; come again later");
}

static void ws_session_rest(struct ws_session *session, struct span bytes)
{
    if (!client_rest(&session->client, bytes))
        ws_session_close(session, WS_CLOSE_TRY_LATER,
                         "too much is being sent to this server at once; come again later");
}

/* After our own Close only the client's Close counts. */
void ws_session_take(struct ws_session *session, char *bytes, size_t len)
{
    struct link *link  = &session->client.link;
    size_t       total = 0;

    while (!link->is_answered) {
        struct ws_piece piece;
        size_t          used = 0;
        if (client_is_identifying(&session->client)) {
            ws_session_keep_behind(session, span_of(bytes + total, len - total));
            return;
        }
        if (total < len && client_has_to_rest(&session->client)) {
            ws_session_rest(session, span_of(bytes + total, len - total));
            return;
        }
        switch (ws_feed(&session->ws, bytes + total, len - total, &used, &piece)) {
        case WS_MORE:
            client_keep_rest(&session->client, span_of(bytes + total + used, len - total - used));
            return;
        case WS_DATA:
            if (!link->is_over)
                ws_session_on_data(session, &piece);
            break;
        case WS_TOO_LONG:
            if (!link->is_over)
                ws_session_on_too_long(session, piece.opcode);
            break;
        case WS_CONTROL:
            ws_session_on_control(session, &piece);
            break;
        case WS_FAULT:
            ws_session_fail(session, piece.code, piece.bytes.at);
            break;
        }
        total += used;
    }
}

/* Both Closes are there, and ours has left. */
static bool ws_session_is_done(const struct ws_session *session)
{
    return session->client.link.is_answered && link_waiting_bytes(&session->client.link) == 0;
}

static void ws_session_take_untaken(struct ws_session *session)
{
    struct buf untaken = client_take_untaken(&session->client);

    ws_session_take(session, untaken.at, untaken.len);
    buf_fini(&untaken);
    stream_more(link_stream(&session->client.link));
}

bool ws_session_read(struct ws_session *session)
{
    struct client *client = &session->client;
    struct link   *link   = &client->link;
    struct loop   *loop   = link->worker->loop;

    link->is_resting = client_has_too_much_pending(client);
    if (link->is_resting)
        return true;
    if (client_has_untaken(client)) {
        ws_session_take_untaken(session);
        if (!ws_session_is_done(session))
            return true;
        ws_session_free(session);
        return false;
    }
    size_t  kept = client_fetch_rest(client, loop->input);
    ssize_t got  = stream_read(link_stream(link), loop->input + kept, LOOP_INPUT_BYTES - kept);
    if (got == STREAM_LATER) {
        client_keep_rest(client, span_of(loop->input, kept));
        return true;
    }
    if (got > 0) {
        client_heard(client);
        ws_session_take(session, loop->input, kept + (size_t)got);
    }
    if (got <= 0 || ws_session_is_done(session)) {
        ws_session_free(session);
        return false;
    }
    if (!stream_is_drained(link_stream(link), (size_t)got, LOOP_INPUT_BYTES - kept))
        stream_more(link_stream(link));
    return true;
}
