#include "base/utf8.h"

/* The state says how many bytes of the character are still to come, and in which range the next one must be (RFC
 * 3629 4: only the range of the second byte depends on the first):
 *
 *   bits 16-17 bytes to come · bits 8-15 highest next byte · bits 0-7 lowest next byte */
static uint32_t utf8_expect(uint32_t count, uint32_t low, uint32_t high)
{
    return count << 16 | high << 8 | low;
}

static uint32_t after_first(unsigned char c)
{
    if (c >= 0xc2 && c <= 0xdf) return utf8_expect(1, 0x80, 0xbf);
    if (c == 0xe0)              return utf8_expect(2, 0xa0, 0xbf);
    if (c == 0xed)              return utf8_expect(2, 0x80, 0x9f);
    if (c >= 0xe1 && c <= 0xef) return utf8_expect(2, 0x80, 0xbf);
    if (c == 0xf0)              return utf8_expect(3, 0x90, 0xbf);
    if (c == 0xf4)              return utf8_expect(3, 0x80, 0x8f);
    if (c >= 0xf1 && c <= 0xf3) return utf8_expect(3, 0x80, 0xbf);
    return 0;
}

/* From `from` on, ASCII in steps of 32 and 8 bytes, and the last 8 bytes once more for what is left; where it stopped. */
static size_t skip_ascii(struct span piece, size_t from)
{
    const uint64_t high = 0x8080808080808080u;
    uint64_t       words[4];
    size_t         i = from;

    while (i + sizeof words <= piece.len &&
           (memcpy(words, piece.at + i, sizeof words), ((words[0] | words[1] | words[2] | words[3]) & high) == 0))
        i += sizeof words;
    while (i + sizeof words[0] <= piece.len && (memcpy(words, piece.at + i, sizeof words[0]), (words[0] & high) == 0))
        i += sizeof words[0];
    if (piece.len - i < sizeof words[0] && piece.len >= sizeof words[0] &&
        (memcpy(words, piece.at + piece.len - sizeof words[0], sizeof words[0]), (words[0] & high) == 0))
        return piece.len;
    if (piece.len < sizeof words[0])
        while (i < piece.len && (piece.at[i] & 0x80) == 0)
            i++;
    return i;
}

bool utf8_feed(struct utf8 *utf8, struct span piece)
{
    uint32_t state = utf8->state;

    must(state >> 16 <= 3);
    for (size_t i = 0; i < piece.len; i++) {
        if (state == 0 && (i = skip_ascii(piece, i)) == piece.len)
            break;
        unsigned char c = (unsigned char)piece.at[i];
        if (state == 0) {
            if (c < 0x80)
                continue;
            state = after_first(c);
            if (state == 0)
                return false;
            continue;
        }
        if (c < (state & 0xff) || c > (state >> 8 & 0xff))
            return false;
        uint32_t left = (state >> 16) - 1;
        state         = left == 0 ? 0 : utf8_expect(left, 0x80, 0xbf);
    }
    utf8->state = state;
    return true;
}

/* U+0080 to U+009F are C2 80 to C2 9F, and no other character has a C2 but as its first byte. */
bool utf8_has_control(struct span text)
{
    if (text.len == 0)
        return false;
    const char *end = text.at + text.len, *at = text.at;
    while ((at = memchr(at, 0xc2, (size_t)(end - at))) != NULL && ++at < end)
        if ((unsigned char)*at < 0xa0)
            return true;
    return span_has_control(text);
}
