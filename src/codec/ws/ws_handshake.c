/* The opening handshake, RFC 6455 4.2. */
#include "codec/ws/ws.h"
#include "codec/ws/ws_extension.h"

/* OpenSSL 3 deprecates its plain SHA-1. The function that it recommends looks the algorithm up by name at every
 * call, and that costs several times the hash. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include "base/base64.h"
#include "base/must.h"

enum { NONCE_BYTES = 16 };

/* A buf over memory of fixed size. Its maximum is its capacity, so it never grows and never allocates. */
static struct buf buf_over(char *at, size_t size)
{
    return (struct buf){ .at = at, .cap = size, .max = size };
}

bool ws_key_is_valid(struct span key)
{
    char       nonce[NONCE_BYTES];
    struct buf buf = buf_over(nonce, sizeof nonce);

    /* 4.1, 4.2.1: "base64-encoded […] when decoded, is 16 bytes in length". */
    return base64_get(key, &buf) && buf.len == NONCE_BYTES;
}

void ws_accept(struct span key, char ret_accept[static WS_ACCEPT_BYTES])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char     hash[SHA_DIGEST_LENGTH];
    struct buf        text = buf_over(ret_accept, WS_ACCEPT_BYTES);
    SHA_CTX           sha;

    /* 4.2.2: base64(SHA-1(key + GUID)), the key as it came. */
    must(SHA1_Init(&sha) == 1);
    must(SHA1_Update(&sha, key.at, key.len) == 1);
    must(SHA1_Update(&sha, guid, sizeof guid - 1) == 1);
    must(SHA1_Final(hash, &sha) == 1);
    base64_put(&text, span_of(hash, sizeof hash));
    must(text.len == WS_ACCEPT_BYTES);
}

/* RFC 9110 5.6.1: elements stand between commas. Spaces around an element and empty elements don't count. */
static bool next_element(struct span *list, struct span *ret_element)
{
    struct span element;

    while (span_cut(list, ',', &element)) {
        element = span_trim(element);
        if (element.len > 0) {
            *ret_element = element;
            return true;
        }
    }
    return false;
}

static bool list_has_nocase(struct span list, struct span word)
{
    struct span element;

    while (next_element(&list, &element))
        if (span_eq_nocase(element, word))
            return true;
    return false;
}

static void see_protocols(struct ws_handshake *shake, struct span list, const struct span *ours, size_t ours_count)
{
    struct span element;

    while (next_element(&list, &element)) {
        shake->is_protocol_asked = true;
        for (size_t i = 0; i < ours_count && !shake->is_protocol_found; i++)
            if (span_eq(element, ours[i])) {
                shake->is_protocol_found = true;
                shake->protocol          = i;
            }
    }
}

void ws_handshake_see(struct ws_handshake *shake, struct span name, struct span value, const struct span *ours,
                      size_t ours_count)
{
    if (span_eq_nocase(name, SPAN("Upgrade"))) {
        shake->is_upgrade |= list_has_nocase(value, SPAN("websocket"));
    } else if (span_eq_nocase(name, SPAN("Connection"))) {
        shake->is_connection |= list_has_nocase(value, SPAN("upgrade"));
    } else if (span_eq_nocase(name, SPAN("Sec-WebSocket-Key"))) {
        shake->key = span_trim(value);
        shake->key_count++;
    } else if (span_eq_nocase(name, SPAN("Sec-WebSocket-Version"))) {
        shake->version = span_trim(value);
        shake->version_count++;
    } else if (span_eq_nocase(name, SPAN("Sec-WebSocket-Protocol"))) {
        /* 11.3.4: the field may stand on several lines, which mean the same as one long line. */
        see_protocols(shake, value, ours, ours_count);
    } else if (span_eq_nocase(name, SPAN("Sec-WebSocket-Extensions"))) {
        shake->is_extension_bad |= !ws_see_extensions(value, &shake->window);
    }
}

static enum ws_offer handshake_refuse(enum ws_offer offer, const char *reason, const char **ret_reason)
{
    *ret_reason = reason;
    return offer;
}

static enum ws_offer ws_check_upgrade(const struct ws_handshake *shake, const char **ret_reason)
{
    /* 4.2.1 points 3 and 4. RFC 9110 15.5.22: a request without them is told what to upgrade to. */
    if (!shake->is_upgrade)
        return handshake_refuse(WS_OFFER_UPGRADE, "Upgrade must name websocket", ret_reason);
    if (!shake->is_connection)
        return handshake_refuse(WS_OFFER_BAD, "Connection must name Upgrade", ret_reason);
    return WS_OFFER_OK;
}

/* 4.2.1 point 5, 11.3.1: the key stands there once and is 16 bytes. */
static enum ws_offer ws_check_key(const struct ws_handshake *shake, const char **ret_reason)
{
    if (shake->key_count != 1)
        return handshake_refuse(WS_OFFER_BAD, "Sec-WebSocket-Key must stand there once", ret_reason);
    if (!ws_key_is_valid(shake->key))
        return handshake_refuse(WS_OFFER_BAD, "Sec-WebSocket-Key must be 16 bytes in base64", ret_reason);
    return WS_OFFER_OK;
}

/* 4.2.1 point 6, 11.3.5: the version stands there once and is 13. 4.4: else the answer says which one we speak. */
static enum ws_offer ws_check_version(const struct ws_handshake *shake, const char **ret_reason)
{
    if (shake->version_count > 1)
        return handshake_refuse(WS_OFFER_BAD, "more than one Sec-WebSocket-Version", ret_reason);
    if (!span_eq(shake->version, SPAN("13")))
        return handshake_refuse(WS_OFFER_UPGRADE, "Sec-WebSocket-Version must be 13", ret_reason);
    return WS_OFFER_OK;
}

enum ws_offer ws_check_handshake(const struct ws_handshake *shake, size_t ours_count, const char **ret_reason)
{
    enum ws_offer offer = shake->is_extended ? WS_OFFER_OK : ws_check_upgrade(shake, ret_reason);

    if (offer == WS_OFFER_OK)
        offer = ws_check_version(shake, ret_reason);
    if (offer == WS_OFFER_OK && !shake->is_extended)
        offer = ws_check_key(shake, ret_reason);
    if (offer != WS_OFFER_OK)
        return offer;

    /* 9.1: what is no list of extensions ends the handshake. */
    if (shake->is_extension_bad)
        return handshake_refuse(WS_OFFER_BAD, "Sec-WebSocket-Extensions is not a list of extensions", ret_reason);

    /* 4.2.2 leaves the answer to the server. A client that insists on a protocol that we don't speak is told so. */
    if (ours_count > 0 && shake->is_protocol_asked && !shake->is_protocol_found)
        return handshake_refuse(WS_OFFER_BAD, "no subprotocol in common", ret_reason);
    return WS_OFFER_OK;
}
