/* Any bytes as a compressed message: it stays within its bound, text is UTF-8, and what was inflated can be compressed and
 * inflated again. The first byte chooses the bound and the window. */
#include "base/must.h"
#include "codec/ws/ws_deflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_again(struct ws_inflater *inflater, enum ws_window window, struct span message)
{
    struct ws_deflater deflater = { 0 };
    struct buf         packed, copy;
    struct span        again;

    buf_init(&packed, SIZE_MAX / 2);
    buf_init(&copy, SIZE_MAX / 2);
    buf_put(&copy, message);
    if (ws_deflate(&deflater, window, buf_span(&copy), &packed)) {
        must(packed.len < copy.len);
        must(ws_inflate(inflater, WS_BINARY, buf_span(&packed), copy.len, &again) == WS_INFLATED);
        must(span_eq(again, buf_span(&copy)));
    }
    ws_deflater_fini(&deflater);
    buf_fini(&packed);
    buf_fini(&copy);
}

/* Parameters of a media type make no difference. */
static void check_media(struct span media)
{
    struct buf more;

    if (media.len == 0 || memchr(media.at, ';', media.len) != NULL)
        return;
    buf_init(&more, media.len + 16);
    buf_put(&more, media);
    buf_put_lit(&more, "; q=1");
    must(ws_media_is_compressed(media) == ws_media_is_compressed(buf_span(&more)));
    buf_fini(&more);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const size_t maxima[] = { 1, 100, 5000, 100000 };
    struct ws_inflater  inflater;
    struct span         message;

    if (len == 0)
        return 0;
    check_media(span_of(bytes + 1, len - 1));
    size_t         max    = maxima[bytes[0] & 3];
    enum ws_window window = (enum ws_window)(WS_WINDOW_9 + (bytes[0] >> 2 & 3));
    enum ws_opcode opcode = (bytes[0] & 16) != 0 ? WS_TEXT : WS_BINARY;
    ws_inflater_init(&inflater);
    if (ws_inflate(&inflater, opcode, span_of(bytes + 1, len - 1), max, &message) == WS_INFLATED) {
        must(message.len <= max && (opcode == WS_BINARY || utf8_is_valid(message)));
        check_again(&inflater, window, message);
    }
    must(inflater.message.len <= max + 1);
    ws_inflater_fini(&inflater);
    return 0;
}
