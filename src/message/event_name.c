#include "message/event_name.h"

#include "base/known_words.h"
#include "base/utf8.h"

/* The browser's own events, and what the server says beside messages: today, and by the frames that a WebSocket has. */
static const struct span reserved[] = {
    SPAN("open"), SPAN("error"),
    SPAN("binary"), SPAN("closing"), SPAN("connected"), SPAN("control"), SPAN("cursor"), SPAN("expiring"), SPAN("gap"), SPAN("recall"),
    SPAN("recalled"), SPAN("reconnect"), SPAN("replaced"), SPAN("revoked"),
};

enum event_verdict event_name_judge(struct span name)
{
    if (name.len == 0 || name.len > EVENT_BYTES_MAX || !utf8_is_valid(name) || utf8_has_control(name))
        return EVENT_MALFORMED;
    return known_words_have(KNOWN_WORDS(reserved), name) ? EVENT_RESERVED : EVENT_FINE;
}
