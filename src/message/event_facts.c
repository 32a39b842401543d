#include "message/event_facts.h"

#include <stdio.h>

#include "base/must.h"
#include "message/namespace.h"
#include "message/slot.h"

enum { EVENT_KEY_BYTES = 160 };

static void event_put_string(struct buf *out, struct span text)
{
    buf_putc(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c < 0x20) {
            buf_putf(out, "\\u%04x", c);
            continue;
        }
        if (c == '"' || c == '\\')
            buf_putc(out, '\\');
        buf_putc(out, (char)c);
    }
    buf_putc(out, '"');
}

static void event_put_text(struct buf *out, const char *name, struct span text)
{
    if (text.len == 0)
        return;
    buf_putf(out, ",\"%s\":", name);
    event_put_string(out, text);
}

void event_facts_put(struct buf *out, const struct event_facts *facts, msec wall)
{
    buf_putf(out, "{\"type\":\"%s\",\"time\":%lld", event_kind_name(facts->kind), (long long)wall);
    event_put_text(out, "user", facts->user);
    event_put_text(out, "device", facts->device);
    if (facts->connection != 0)
        buf_putf(out, ",\"connection\":\"%016llx\"", (unsigned long long)facts->connection);
    event_put_text(out, "channel", facts->channel);
    event_put_text(out, "reason", facts->reason == NULL ? SPAN("") : span_str(facts->reason));
    buf_putc(out, '}');
    if (facts->seq != 0)
        event_text_add_seq(out, facts->seq);
}

void event_text_add_seq(struct buf *text, uint64_t seq)
{
    must(text->len > 0 && text->at[text->len - 1] == '}');
    text->len--;
    buf_putf(text, ",\"seq\":%llu}", (unsigned long long)seq);
}

/* Slots are the same on every node, and never change. */
unsigned event_facts_log(const struct event_facts *facts)
{
    char key[EVENT_KEY_BYTES];
    int  len;

    if (facts->user.len == 0 && facts->connection == 0)
        return slot_of_channel(facts->channel) % EVENT_LOGS;
    len = facts->user.len > 0 ? snprintf(key, sizeof key, "user:%.*s", SPAN_ARG(facts->user))
                              : snprintf(key, sizeof key, "conn:%016llx", (unsigned long long)facts->connection);
    must(len > 0 && (size_t)len < sizeof key);
    return slot_of_channel(span_of(key, (size_t)len)) % EVENT_LOGS;
}
