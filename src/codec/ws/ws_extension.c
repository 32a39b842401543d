/* Offers of permessage-deflate, RFC 7692 7.1. */
#include "codec/ws/ws_extension.h"

enum { WINDOW_BITS_MIN = 8, WINDOW_BITS_MAX = 15 };

/* One offer, as it is read parameter by parameter. */
struct offer {
    bool     is_deflate;
    bool     is_refused;   /* it has a parameter that can't be kept, is not known or stands there twice */
    bool     has_server_takeover, has_client_takeover, has_client_bits;
    unsigned server_bits;  /* 0: not said */
};

/* RFC 9110 5.6.2. */
static bool is_token_byte(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static bool skip_mark(struct span *rest, char mark)
{
    *rest = span_trim(*rest);
    if (rest->len == 0 || rest->at[0] != mark)
        return false;
    *rest = span_trim(span_skip(*rest, 1));
    return true;
}

static bool next_token(struct span *rest, struct span *ret_token)
{
    size_t len = 0;

    while (len < rest->len && is_token_byte(rest->at[len]))
        len++;
    *ret_token = span_head(*rest, len);
    *rest      = span_skip(*rest, len);
    return len > 0;
}

/* RFC 6455 9.1: a value may be quoted, and is then a token, too. */
static bool next_value(struct span *rest, struct span *ret_value)
{
    if (rest->len == 0 || rest->at[0] != '"')
        return next_token(rest, ret_value);
    *rest = span_skip(*rest, 1);
    if (!next_token(rest, ret_value) || rest->len == 0 || rest->at[0] != '"')
        return false;
    *rest = span_skip(*rest, 1);
    return true;
}

/* 7.1.2: a decimal number from 8 to 15 without zeros in front; 0: it is none. */
static unsigned window_bits(struct span value)
{
    uint64_t bits = 0;

    if (value.len == 0 || value.at[0] == '0' || !span_u64(value, &bits))
        return 0;
    return bits >= WINDOW_BITS_MIN && bits <= WINDOW_BITS_MAX ? (unsigned)bits : 0;
}

static bool see_first(bool *seen)
{
    bool is_first = !*seen;

    *seen = true;
    return is_first;
}

/* 7.1: an offer is declined that has an unknown parameter, one with a wrong value, or one twice. */
static bool offer_takes(struct offer *offer, struct span name, bool has_value, struct span value)
{
    if (span_eq(name, SPAN("server_no_context_takeover")))
        return !has_value && see_first(&offer->has_server_takeover);
    if (span_eq(name, SPAN("client_no_context_takeover")))
        return !has_value && see_first(&offer->has_client_takeover);
    if (span_eq(name, SPAN("client_max_window_bits")))
        return (!has_value || window_bits(value) != 0) && see_first(&offer->has_client_bits);
    if (span_eq(name, SPAN("server_max_window_bits"))) {
        /* zlib can't keep to 2^8 bytes. */
        bool is_taken = offer->server_bits == 0 && window_bits(value) > WINDOW_BITS_MIN;
        offer->server_bits = window_bits(value);
        return is_taken;
    }
    return false;
}

static bool offer_read(struct offer *offer, struct span *rest)
{
    struct span name, value = SPAN("");

    *offer = (struct offer){ 0 };
    if (!next_token(rest, &name))
        return false;
    offer->is_deflate = span_eq(name, SPAN("permessage-deflate"));
    while (skip_mark(rest, ';')) {
        if (!next_token(rest, &name))
            return false;
        bool has_value = skip_mark(rest, '=');
        if (has_value && !next_value(rest, &value))
            return false;
        if (!offer_takes(offer, name, has_value, value))
            offer->is_refused = true;
    }
    return true;
}

static enum ws_window offer_window(const struct offer *offer)
{
    if (offer->server_bits == 0)
        return WS_WINDOW_ANY;
    return offer->server_bits < 12 ? WS_WINDOW_9 : offer->server_bits < 15 ? WS_WINDOW_12 : WS_WINDOW_15;
}

bool ws_see_extensions(struct span line, enum ws_window *window)
{
    struct span  rest = span_trim(line);
    struct offer offer;

    while (rest.len > 0) {
        if (skip_mark(&rest, ','))
            continue;
        if (!offer_read(&offer, &rest) || (rest.len > 0 && rest.at[0] != ','))
            return false;
        if (*window == WS_WINDOW_NONE && offer.is_deflate && !offer.is_refused)
            *window = offer_window(&offer);
    }
    return true;
}

#define ANSWER "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

struct span ws_extensions(enum ws_window window)
{
    switch (window) {
    case WS_WINDOW_NONE: break;
    case WS_WINDOW_9: return SPAN(ANSWER "; server_max_window_bits=9");
    case WS_WINDOW_12: return SPAN(ANSWER "; server_max_window_bits=12");
    case WS_WINDOW_15: return SPAN(ANSWER "; server_max_window_bits=15");
    case WS_WINDOW_ANY: return SPAN(ANSWER);
    }
    return SPAN("");
}
