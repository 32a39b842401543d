#include "codec/ticket/ticket.h"

#include <string.h>

#include <openssl/crypto.h>

#include "base/base64.h"
#include "base/must.h"
#include "codec/hmac/hmac.h"

enum { TICKET_UNMARKED = 1, TICKET_VERSION = 2, HMAC_BYTES = 32, FIXED_BYTES = 8, VARINT_BITS_LAST = 63 };

/* --- the signature ---------------------------------------------------------------------------------------------- */

void ticket_key_init(struct ticket_key *key, struct span secret)
{
    must(secret.len > 0);
    key->hmac = hmac_new("SHA256", secret);
}

void ticket_key_fini(struct ticket_key *key)
{
    hmac_free(key->hmac);
    key->hmac = NULL;
}

/* A zero stands before the token, and never before a ticket: so no mark is a part of a ticket's signature. */
uint64_t ticket_mark(const struct ticket_key *key, struct span token)
{
    unsigned char hmac[HMAC_BYTES_LONGEST];
    struct buf    text;
    uint64_t      mark = 0;

    buf_init(&text, token.len + 1);
    buf_putc(&text, '\0');
    buf_put(&text, token);
    must(hmac_make(key->hmac, buf_span(&text), hmac) == HMAC_BYTES);
    explicit_bzero(text.at, text.len);
    buf_fini(&text);
    for (int i = 0; i < FIXED_BYTES; i++)
        mark = mark << 8 | hmac[i];
    return mark == 0 ? 1 : mark;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static void ticket_put_number(struct buf *buf, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_putc(buf, (char)(value | 0x80));
    buf_putc(buf, (char)value);
}

static void ticket_put_fixed(struct buf *buf, uint64_t value)
{
    for (int shift = 8 * FIXED_BYTES - 8; shift >= 0; shift -= 8)
        buf_putc(buf, (char)(value >> shift));
}

static void ticket_put_text(struct buf *buf, struct span text)
{
    ticket_put_number(buf, text.len);
    buf_put(buf, text);
}

static void ticket_put_bytes(struct buf *bytes, const struct ticket *ticket)
{
    buf_putc(bytes, TICKET_VERSION);
    ticket_put_number(bytes, ticket->generation);
    ticket_put_number(bytes, (uint64_t)ticket->since);
    ticket_put_number(bytes, ticket->issued_s);
    ticket_put_number(bytes, ticket->ends_s);
    ticket_put_number(bytes, ticket->token_issued_s);
    ticket_put_fixed(bytes, ticket->connection);
    ticket_put_fixed(bytes, ticket->token_mark);
    ticket_put_text(bytes, ticket->user);
    ticket_put_text(bytes, ticket->device);
    ticket_put_text(bytes, ticket->jti);
    ticket_put_number(bytes, ticket->grant_count);
    for (size_t i = 0; i < ticket->grant_count; i++) {
        buf_putc(bytes, (char)ticket->grants[i].can);
        ticket_put_text(bytes, ticket->grants[i].pattern);
    }
}

void ticket_put(struct buf *buf, const struct ticket *ticket, const struct ticket_key *key)
{
    unsigned char hmac[HMAC_BYTES_LONGEST];
    struct buf    bytes;

    must(ticket->grant_count <= TICKET_GRANTS_MAX);
    buf_init(&bytes, TICKET_TEXT_BYTES_MAX);
    ticket_put_bytes(&bytes, ticket);
    must(hmac_make(key->hmac, buf_span(&bytes), hmac) == HMAC_BYTES);
    buf_put(&bytes, span_of(hmac, HMAC_BYTES));
    must(!buf_is_over(&bytes));
    base64url_put(buf, buf_span(&bytes));
    buf_fini(&bytes);
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

/* What is left to be read; is_bad: it is no ticket. */
struct ticket_reader {
    struct span rest;
    bool        is_bad;
};

static uint8_t ticket_take_byte(struct ticket_reader *reader)
{
    if (reader->rest.len == 0) {
        reader->is_bad = true;
        return 0;
    }
    uint8_t byte = (uint8_t)reader->rest.at[0];
    reader->rest = span_skip(reader->rest, 1);
    return byte;
}

static uint64_t ticket_take_number(struct ticket_reader *reader)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift <= VARINT_BITS_LAST; shift += 7) {
        uint8_t byte = ticket_take_byte(reader);
        if ((shift == VARINT_BITS_LAST && byte > 1) || (shift > 0 && byte == 0))
            break;  /* above 2^64, or not the shortest form */
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    reader->is_bad = true;
    return 0;
}

static struct span ticket_take_text(struct ticket_reader *reader)
{
    uint64_t len = ticket_take_number(reader);

    if (len > reader->rest.len) {
        reader->is_bad = true;
        return SPAN("");
    }
    struct span text = span_head(reader->rest, (size_t)len);
    reader->rest     = span_skip(reader->rest, (size_t)len);
    return text;
}

static uint64_t ticket_take_fixed(struct ticket_reader *reader)
{
    uint64_t value = 0;

    for (int i = 0; i < FIXED_BYTES; i++)
        value = value << 8 | ticket_take_byte(reader);
    return value;
}

static void ticket_take_grants(struct ticket_reader *reader, struct ticket *ret)
{
    uint64_t count = ticket_take_number(reader);

    if (count > TICKET_GRANTS_MAX)
        reader->is_bad = true;
    for (ret->grant_count = 0; !reader->is_bad && ret->grant_count < count; ret->grant_count++) {
        struct ticket_grant *grant = &ret->grants[ret->grant_count];
        grant->can                 = ticket_take_byte(reader);
        grant->pattern             = ticket_take_text(reader);
    }
}

static bool ticket_read(struct span bytes, struct ticket *ret)
{
    struct ticket_reader reader  = { .rest = bytes };
    uint8_t              version = ticket_take_byte(&reader);

    if (version != TICKET_VERSION && version != TICKET_UNMARKED)
        return false;
    ret->generation     = ticket_take_number(&reader);
    ret->since          = (msec)ticket_take_number(&reader);
    ret->issued_s       = ticket_take_number(&reader);
    ret->ends_s         = ticket_take_number(&reader);
    ret->token_issued_s = ticket_take_number(&reader);
    ret->connection     = ticket_take_fixed(&reader);
    ret->token_mark     = version == TICKET_UNMARKED ? 0 : ticket_take_fixed(&reader);
    ret->user           = ticket_take_text(&reader);
    ret->device         = ticket_take_text(&reader);
    ret->jti            = ticket_take_text(&reader);
    ticket_take_grants(&reader, ret);
    return !reader.is_bad && reader.rest.len == 0 && ret->user.len > 0 && ret->device.len > 0;
}

bool ticket_get(struct span text, const struct ticket_key *key, struct buf *bytes, struct ticket *ret)
{
    unsigned char hmac[HMAC_BYTES_LONGEST];

    buf_clear(bytes);
    if (text.len > TICKET_TEXT_BYTES_MAX || !base64url_get(text, bytes) || bytes->len < HMAC_BYTES)
        return false;
    struct span before = span_head(buf_span(bytes), bytes->len - HMAC_BYTES);
    must(hmac_make(key->hmac, before, hmac) == HMAC_BYTES);
    if (CRYPTO_memcmp(hmac, before.at + before.len, HMAC_BYTES) != 0)
        return false;
    return ticket_read(before, ret);
}
