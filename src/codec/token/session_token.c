#include "codec/token/session_token.h"

#include "base/base64.h"
#include "base/must.h"
#include "codec/token/token_priv.h"

enum {
    SESSION_TOKEN_VERSION = 1,
    NUMBERS_BYTES         = 16,                     /* generation and since */
    DEVICE_AT             = 1 + NUMBERS_BYTES + 1,  /* behind its length */
};

bool session_token_is_one(struct span text)
{
    return text.len > 0 && memchr(text.at, '.', text.len) != NULL;
}

static void session_token_put_number(struct buf *buf, uint64_t value, size_t bytes)
{
    for (size_t i = bytes; i-- > 0;)
        buf_putc(buf, (char)(value >> 8 * i));
}

static uint64_t session_token_number(struct span bytes)
{
    uint64_t value = 0;

    for (size_t i = 0; i < bytes.len; i++)
        value = value << 8 | (uint8_t)bytes.at[i];
    return value;
}

void session_token_put(struct buf *buf, const struct session_token *token)
{
    struct buf head;

    must(token->device.len > 0 && token->device.len <= SESSION_TOKEN_DEVICE_BYTES_MAX);
    buf_init(&head, SESSION_TOKEN_HEAD_TEXT_MAX);
    buf_putc(&head, SESSION_TOKEN_VERSION);
    session_token_put_number(&head, token->generation, 8);
    session_token_put_number(&head, (uint64_t)token->since, 8);
    buf_putc(&head, (char)token->device.len);
    buf_put(&head, token->device);
    session_token_put_number(&head, token_checksum(buf_span(&head)), TOKEN_CHECKSUM_BYTES);
    must(!buf_is_over(&head));
    base64url_put(buf, buf_span(&head));
    buf_putc(buf, '.');
    buf_fini(&head);
}

static bool session_token_read(struct span bytes, struct session_token *ret)
{
    if (bytes.len <= DEVICE_AT + TOKEN_CHECKSUM_BYTES || bytes.at[0] != SESSION_TOKEN_VERSION)
        return false;
    struct span head = span_head(bytes, bytes.len - TOKEN_CHECKSUM_BYTES);
    size_t      len  = (uint8_t)head.at[DEVICE_AT - 1];
    if (len == 0 || len > SESSION_TOKEN_DEVICE_BYTES_MAX || head.len != DEVICE_AT + len ||
        session_token_number(span_skip(bytes, head.len)) != token_checksum(head))
        return false;
    *ret = (struct session_token){
        session_token_number(span_of(head.at + 1, 8)), (msec)session_token_number(span_of(head.at + 9, 8)),
        span_skip(head, DEVICE_AT),
    };
    return true;
}

bool session_token_get(struct span text, struct buf *bytes, struct session_token *ret, struct span *ret_places)
{
    struct span rest = text, head;

    buf_clear(bytes);
    if (!session_token_is_one(text) || !span_cut(&rest, '.', &head) || head.len > SESSION_TOKEN_HEAD_TEXT_MAX ||
        !base64url_get(head, bytes) || !session_token_read(buf_span(bytes), ret))
        return false;
    *ret_places = rest;
    return true;
}
