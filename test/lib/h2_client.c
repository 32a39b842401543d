#include "lib/h2_client.h"

#include <stdio.h>

#include "base/must.h"

static struct h2_answer *answer_at(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* --- what comes --------------------------------------------------------------------------------------------------- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *ctx)
{
    struct h2_answer *answer = answer_at(session, frame->hd.stream_id);

    (void)flags, (void)ctx;
    if (answer == NULL)
        return 0;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0) {
        unsigned status = (unsigned)strtoul((const char *)value, NULL, 10);
        *(status < 200 ? &answer->interim : &answer->status) = status;
    }
    size_t at = strlen(answer->fields);
    snprintf(answer->fields + at, sizeof answer->fields - at, "%.*s: %.*s\n", (int)name_len, (const char *)name,
             (int)value_len, (const char *)value);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len, void *ctx)
{
    struct h2_answer *answer = answer_at(session, id);

    (void)flags, (void)ctx;
    nghttp2_session_consume_connection(session, len);
    if (answer == NULL)
        return 0;
    buf_put(&answer->body, span_of(bytes, len));
    if (answer->is_unread)
        answer->held += len;
    else
        nghttp2_session_consume_stream(session, id, len);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    struct h2_client *client = ctx;
    struct h2_answer *answer = frame->hd.stream_id == 0 ? NULL : answer_at(session, frame->hd.stream_id);

    if (frame->hd.type == NGHTTP2_GOAWAY) {
        client->has_goaway = true;
        client->goaway     = frame->goaway.error_code;
    }
    if (answer != NULL && (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        answer->is_ended = true;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *ctx)
{
    struct h2_answer *answer = answer_at(session, id);

    (void)ctx;
    if (answer == NULL)
        return 0;
    answer->is_closed = true;
    answer->error     = error;
    return 0;
}

/* --- what goes ---------------------------------------------------------------------------------------------------- */

static ssize_t read_upload(nghttp2_session *session, int32_t id, uint8_t *into, size_t len, uint32_t *flags,
                           nghttp2_data_source *source, void *ctx)
{
    struct h2_answer *answer = source->ptr;
    size_t            part   = answer->upload.len < len ? answer->upload.len : len;

    (void)session, (void)id, (void)ctx;
    if (part == 0 && !answer->is_upload_ended)
        return NGHTTP2_ERR_DEFERRED;
    memcpy(into, answer->upload.at, part);
    buf_drop(&answer->upload, part);
    if (answer->upload.len == 0 && answer->is_upload_ended)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)part;
}

void h2_client_init(struct h2_client *client, uint32_t window)
{
    const nghttp2_settings_entry settings[] = { { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window } };
    nghttp2_session_callbacks   *callbacks;
    nghttp2_option              *option;

    *client = (struct h2_client){ .count = 0 };
    must(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, H2_CLIENT_STREAMS_MAX);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    must(nghttp2_session_client_new2(&client->session, callbacks, client, option) == 0);
    must(nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, settings, 1) == 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
}

void h2_client_fini(struct h2_client *client)
{
    nghttp2_session_del(client->session);
    for (size_t i = 0; i < client->count; i++) {
        buf_fini(&client->answers[i].body);
        buf_fini(&client->answers[i].upload);
    }
}

struct h2_answer *h2_client_request_with(struct h2_client *client, const nghttp2_nv *head, size_t count, struct span body,
                                         bool is_end)
{
    must(client->count < H2_CLIENT_STREAMS_MAX);
    struct h2_answer           *answer = &client->answers[client->count++];
    const nghttp2_data_provider source = { { .ptr = answer }, read_upload };

    *answer = (struct h2_answer){ .is_upload_ended = is_end };
    buf_init(&answer->body, SIZE_MAX / 2);
    buf_init(&answer->upload, SIZE_MAX / 2);
    buf_put(&answer->upload, body);
    answer->id = nghttp2_submit_request(client->session, NULL, head, count, body.len > 0 || !is_end ? &source : NULL, answer);
    must(answer->id > 0);
    return answer;
}

struct h2_answer *h2_client_request(struct h2_client *client, const char *method, const char *path, struct span body,
                                    bool is_end)
{
#define NV(name, value) { (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), strlen(name), strlen(value), 0 }
    const nghttp2_nv head[] = {
        NV(":method", method), NV(":scheme", "http"), NV(":authority", "localhost"), NV(":path", path),
    };
#undef NV
    return h2_client_request_with(client, head, sizeof head / sizeof head[0], body, is_end);
}

void h2_client_send(struct h2_client *client, struct h2_answer *answer, struct span body, bool is_end)
{
    buf_put(&answer->upload, body);
    answer->is_upload_ended = is_end;
    nghttp2_session_resume_data(client->session, answer->id);
}

void h2_client_open_window(struct h2_client *client, struct h2_answer *answer, uint32_t bytes)
{
    if (bytes > 0)
        nghttp2_submit_window_update(client->session, NGHTTP2_FLAG_NONE, answer->id, (int32_t)bytes);
    else
        nghttp2_session_consume_stream(client->session, answer->id, answer->held);
    answer->held = 0;
}

void h2_client_put(struct h2_client *client, struct buf *into)
{
    const uint8_t *bytes;
    ssize_t        len;

    while ((len = nghttp2_session_mem_send(client->session, &bytes)) > 0)
        buf_put(into, span_of(bytes, (size_t)len));
    must(len == 0);
}

void h2_client_take(struct h2_client *client, struct span bytes)
{
    if (bytes.len > 0 && nghttp2_session_mem_recv(client->session, (const uint8_t *)bytes.at, bytes.len) < 0)
        client->is_faulty = true;
}
