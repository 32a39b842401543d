/* Any lines as the fields of a handshake: what is taken has all that RFC 6455 4.2.1 asks for, what is refused says why,
 * and a protocol is only chosen if the client named it. */
#include "base/base64.h"
#include "base/must.h"
#include "codec/ws/ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct span ours[] = { { "one.v1", 6 }, { "two", 3 } };
enum { OURS_COUNT = sizeof ours / sizeof ours[0] };

static struct ws_handshake see_all(struct span lines)
{
    struct ws_handshake shake = { 0 };
    struct span         line, name = SPAN("");

    while (span_cut(&lines, '\n', &line))
        if (span_cut(&line, ':', &name))
            ws_handshake_see(&shake, name, line, ours, OURS_COUNT);
    return shake;
}

static bool is_base64(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (memchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", text.at[i], 65) == NULL)
            return false;
    return true;
}

static void check_taken(const struct ws_handshake *shake)
{
    char       accept[WS_ACCEPT_BYTES];
    struct buf hash;

    must(shake->is_upgrade && shake->is_connection && shake->version_count == 1 && shake->key_count == 1);
    must(span_eq(shake->version, SPAN("13")) && shake->key.len == 24 && is_base64(shake->key));
    must(shake->is_protocol_found == shake->is_protocol_asked);
    ws_accept(shake->key, accept);
    buf_init(&hash, 20);
    must(base64_get(span_of(accept, sizeof accept), &hash) && hash.len == 20);
    buf_fini(&hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span         lines = span_of(bytes, len);
    struct ws_handshake shake = see_all(lines);
    const char         *why   = NULL;

    must(shake.window <= WS_WINDOW_ANY && (shake.window == WS_WINDOW_NONE) == (ws_extensions(shake.window).len == 0));
    must(!shake.is_protocol_found || (shake.is_protocol_asked && shake.protocol < OURS_COUNT));
    if (shake.is_protocol_found)
        must(memmem(lines.at, lines.len, ours[shake.protocol].at, ours[shake.protocol].len) != NULL);
    if (ws_check_handshake(&shake, OURS_COUNT, &why) == WS_OFFER_OK)
        check_taken(&shake);
    else
        must(why != NULL);
    return 0;
}
