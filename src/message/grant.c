#include "message/grant.h"

#include "base/utf8.h"

bool grant_pattern_is_valid(struct span pattern)
{
    size_t stars = 0;

    if (pattern.len == 0 || pattern.len > GRANT_BYTES_MAX || !utf8_is_valid(pattern) || utf8_has_control(pattern))
        return false;
    for (size_t i = 0; i < pattern.len; i++)
        stars += pattern.at[i] == '*';
    return stars <= GRANT_STARS_MAX;
}

/* Goes back to the last star alone: what an earlier star could take instead, the last one can take too. So the time is
 * at most the product of both lengths. */
bool grant_pattern_fits(struct span pattern, struct span channel)
{
    size_t p = 0, c = 0, behind_star = 0, taken = 0;
    bool   has_star = false;

    while (c < channel.len) {
        if (p < pattern.len && pattern.at[p] == '*') {
            has_star    = true;
            behind_star = ++p;
            taken       = c;
        } else if (p < pattern.len && pattern.at[p] == channel.at[c]) {
            p++;
            c++;
        } else if (has_star) {
            p = behind_star;
            c = ++taken;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.at[p] == '*')
        p++;
    return p == pattern.len;
}

unsigned grant_can_of(struct span word)
{
    static const struct { struct span word; enum grant_can can; } words[] = {
        { SPAN("subscribe"), CAN_SUBSCRIBE }, { SPAN("publish"), CAN_PUBLISH },
        { SPAN("history"), CAN_HISTORY },     { SPAN("presence"), CAN_PRESENCE },
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (span_eq(words[i].word, word))
            return words[i].can;
    return 0;
}
