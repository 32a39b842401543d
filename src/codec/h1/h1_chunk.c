/* Chunked bodies (RFC 9112 7.1): the data in pieces, all else byte by byte. */
#include "codec/h1/h1_priv.h"

#include "base/hex.h"
#include "base/must.h"

/* The byte is right here. */
static enum h1_event go(struct h1 *h1, enum h1_state next)
{
    h1->state = next;
    return H1_MORE;
}

/* Only one byte may stand here: `wanted`. */
static enum h1_event chunk_expect(struct h1 *h1, char byte, char wanted, enum h1_state next)
{
    if (byte != wanted)
        return h1_fault(h1, 400, "chunk framing must be CR LF");
    return go(h1, next);
}

static enum h1_event begin_chunk(struct h1 *h1)
{
    h1->left        = 0;
    h1->digit_count = 0;
    return go(h1, H1_STATE_CHUNK_SIZE);
}

/* RFC 9112 7.1: chunk-size is hex digits alone; no sign, no 0x, no space. 16 of them fill 64 bits. */
static enum h1_event step_size(struct h1 *h1, char byte)
{
    int digit = hex_digit(byte);

    if (digit >= 0 && h1->digit_count == 16)
        return h1_fault(h1, 400, "chunk size too long");
    if (digit >= 0) {
        h1->left = h1->left << 4 | (unsigned)digit;
        h1->digit_count++;
        return H1_MORE;
    }
    if (h1->digit_count == 0)
        return h1_fault(h1, 400, "chunk without a size");
    if (byte == ';')
        return go(h1, H1_STATE_EXTRA_NAME_BEGIN);
    if (byte == '\r')
        return go(h1, H1_STATE_CHUNK_SIZE_LF);
    if (byte == ' ' || byte == '\t')
        return go(h1, H1_STATE_EXTRA_NEXT);
    return h1_fault(h1, 400, "chunk size is not hexadecimal");
}

/* --- chunk extensions: RFC 9112 7.1.1 --------------------------------------------------------------------------- */

/* What a byte is to an extension. */
enum extra_byte { SPACE, TOKEN, SEMICOLON, EQUALS, QUOTE, BACKSLASH, OTHER, CR, NEVER, EXTRA_BYTE_COUNT };

static enum extra_byte extra_byte_of(char byte)
{
    switch (byte) {
    case ' ':
    case '\t': return SPACE;
    case ';':  return SEMICOLON;
    case '=':  return EQUALS;
    case '"':  return QUOTE;
    case '\\': return BACKSLASH;
    case '\r': return CR;
    default:   break;
    }
    if (h1_byte_is(byte, H1_BYTE_TOKEN))
        return TOKEN;
    return byte > ' ' && byte < 0x7f ? OTHER : NEVER;
}

/* chunk-ext = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ). A state's row says where each byte leads;
 * what is not there may not stand there. */
static const uint8_t extra_moves[H1_STATE_EXTRA_QUOTED_END + 1][EXTRA_BYTE_COUNT] = {
    [H1_STATE_EXTRA_NEXT]        = { [SPACE]     = H1_STATE_EXTRA_NEXT,
                                     [SEMICOLON] = H1_STATE_EXTRA_NAME_BEGIN },
    [H1_STATE_EXTRA_NAME_BEGIN]  = { [SPACE]     = H1_STATE_EXTRA_NAME_BEGIN,
                                     [TOKEN]     = H1_STATE_EXTRA_NAME },
    [H1_STATE_EXTRA_NAME]        = { [TOKEN]     = H1_STATE_EXTRA_NAME,
                                     [SPACE]     = H1_STATE_EXTRA_NAME_END,
                                     [EQUALS]    = H1_STATE_EXTRA_VALUE_BEGIN,
                                     [SEMICOLON] = H1_STATE_EXTRA_NAME_BEGIN,
                                     [CR]        = H1_STATE_CHUNK_SIZE_LF },
    [H1_STATE_EXTRA_NAME_END]    = { [SPACE]     = H1_STATE_EXTRA_NAME_END,
                                     [EQUALS]    = H1_STATE_EXTRA_VALUE_BEGIN,
                                     [SEMICOLON] = H1_STATE_EXTRA_NAME_BEGIN },
    [H1_STATE_EXTRA_VALUE_BEGIN] = { [SPACE]     = H1_STATE_EXTRA_VALUE_BEGIN,
                                     [TOKEN]     = H1_STATE_EXTRA_TOKEN,
                                     [QUOTE]     = H1_STATE_EXTRA_QUOTED },
    [H1_STATE_EXTRA_TOKEN]       = { [TOKEN]     = H1_STATE_EXTRA_TOKEN,
                                     [SPACE]     = H1_STATE_EXTRA_NEXT,
                                     [SEMICOLON] = H1_STATE_EXTRA_NAME_BEGIN,
                                     [CR]        = H1_STATE_CHUNK_SIZE_LF },
    [H1_STATE_EXTRA_QUOTED]      = { [SPACE ... EQUALS] = H1_STATE_EXTRA_QUOTED,
                                     [OTHER]     = H1_STATE_EXTRA_QUOTED,
                                     [QUOTE]     = H1_STATE_EXTRA_QUOTED_END,
                                     [BACKSLASH] = H1_STATE_EXTRA_ESCAPED },
    [H1_STATE_EXTRA_ESCAPED]     = { [SPACE ... OTHER]  = H1_STATE_EXTRA_QUOTED },
    [H1_STATE_EXTRA_QUOTED_END]  = { [SPACE]     = H1_STATE_EXTRA_NEXT,
                                     [SEMICOLON] = H1_STATE_EXTRA_NAME_BEGIN,
                                     [CR]        = H1_STATE_CHUNK_SIZE_LF },
};

static enum h1_event step_extra(struct h1 *h1, char byte)
{
    enum extra_byte kind = extra_byte_of(byte);
    enum h1_state   next = (enum h1_state)extra_moves[h1->state][kind];

    if (next == H1_STATE_HEAD)
        return h1_fault(h1, 400, "chunk extension is malformed");
    if (kind != CR && ++h1->extra_bytes > H1_CHUNK_EXTRA_MAX)
        return h1_fault(h1, 400, "chunk extensions too long");
    return go(h1, next);
}

/* --- the end of a chunk, trailers ------------------------------------------------------------------------------- */

static enum h1_event step_size_lf(struct h1 *h1, char byte)
{
    return chunk_expect(h1, byte, '\n', h1->left == 0 ? H1_STATE_TRAILER_BEGIN : H1_STATE_CHUNK_DATA);
}

static enum h1_event step_data_lf(struct h1 *h1, char byte)
{
    enum h1_event event = chunk_expect(h1, byte, '\n', H1_STATE_CHUNK_SIZE);
    return event == H1_MORE ? begin_chunk(h1) : event;
}

static enum h1_event step_trailer_begin(struct h1 *h1, char byte)
{
    if (byte == '\r')
        return go(h1, H1_STATE_LAST_LF);
    if (!h1_byte_is(byte, H1_BYTE_TOKEN))
        return h1_fault(h1, 400, "trailer field without a name");
    if (++h1->trailer_count > REQUEST_FIELDS_MAX)
        return h1_fault(h1, 431, "more than 64 trailer fields");
    return go(h1, H1_STATE_TRAILER_NAME);
}

static enum h1_event step_trailer_name(struct h1 *h1, char byte)
{
    if (byte == ':')
        return go(h1, H1_STATE_TRAILER_VALUE);
    /* RFC 9112 5.1: no space between name and colon. */
    if (!h1_byte_is(byte, H1_BYTE_TOKEN))
        return h1_fault(h1, 400, "trailer field's name is not a token");
    return H1_MORE;
}

static enum h1_event step_trailer_value(struct h1 *h1, char byte)
{
    if (byte == '\r')
        return go(h1, H1_STATE_TRAILER_LF);
    if (!h1_byte_is(byte, H1_BYTE_VALUE))
        return h1_fault(h1, 400, "control character in a trailer field");
    return H1_MORE;
}

/* RFC 9112 7.1.2: trailer fields may be dropped, and must not be merged into the head; here they are checked and
 * dropped. */
static enum h1_event step_trailer(struct h1 *h1, char byte)
{
    if (++h1->trailer_bytes > h1->limits->head_bytes_max)
        return h1_fault(h1, 431, "the trailer fields are longer than request_head_bytes_max");
    if (h1->state == H1_STATE_TRAILER_BEGIN)
        return step_trailer_begin(h1, byte);
    if (h1->state == H1_STATE_TRAILER_NAME)
        return step_trailer_name(h1, byte);
    if (h1->state == H1_STATE_TRAILER_VALUE)
        return step_trailer_value(h1, byte);
    if (h1->state == H1_STATE_TRAILER_LF)
        return chunk_expect(h1, byte, '\n', H1_STATE_TRAILER_BEGIN);
    return chunk_expect(h1, byte, '\n', H1_STATE_END);
}

static enum h1_event step(struct h1 *h1, char byte)
{
    switch (h1->state) {
    case H1_STATE_CHUNK_SIZE:    return step_size(h1, byte);
    case H1_STATE_CHUNK_SIZE_LF: return step_size_lf(h1, byte);
    case H1_STATE_CHUNK_DATA_CR: return chunk_expect(h1, byte, '\r', H1_STATE_CHUNK_DATA_LF);
    case H1_STATE_CHUNK_DATA_LF: return step_data_lf(h1, byte);
    case H1_STATE_TRAILER_BEGIN:
    case H1_STATE_TRAILER_NAME:
    case H1_STATE_TRAILER_VALUE:
    case H1_STATE_TRAILER_LF:
    case H1_STATE_LAST_LF:       return step_trailer(h1, byte);
    case H1_STATE_EXTRA_NEXT:
    case H1_STATE_EXTRA_NAME_BEGIN:
    case H1_STATE_EXTRA_NAME:
    case H1_STATE_EXTRA_NAME_END:
    case H1_STATE_EXTRA_VALUE_BEGIN:
    case H1_STATE_EXTRA_TOKEN:
    case H1_STATE_EXTRA_QUOTED:
    case H1_STATE_EXTRA_ESCAPED:
    case H1_STATE_EXTRA_QUOTED_END: return step_extra(h1, byte);
    case H1_STATE_HEAD:
    case H1_STATE_BODY:
    case H1_STATE_CHUNK_DATA:
    case H1_STATE_END:
    case H1_STATE_FAULT:         break;
    }
    must(!"a state of chunk framing");
    return H1_FAULT;
}

enum h1_event h1_chunk_feed(struct h1 *h1, struct span input, size_t *ret_used, struct span *ret_body)
{
    size_t used = 0;

    while (used < input.len && h1->state != H1_STATE_CHUNK_DATA) {
        enum h1_event event = step(h1, input.at[used++]);
        if (event == H1_FAULT)
            return event;
        if (h1->state == H1_STATE_END) {
            *ret_used = used;
            h1_begin(h1);
            return H1_END;
        }
    }
    if (h1->state != H1_STATE_CHUNK_DATA) {
        *ret_used = used;
        return H1_MORE;
    }
    enum h1_event event = h1_body_piece(h1, span_skip(input, used), H1_STATE_CHUNK_DATA_CR, ret_used, ret_body);
    *ret_used += used;
    return event;
}
