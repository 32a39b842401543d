#include "uplink/forwarder_batch.h"

#include "codec/json/json.h"
#include "message/epoch.h"

size_t forwarder_batch_cut(struct entry *entries, size_t count, uint64_t last)
{
    if (last == 0)
        return count;
    for (size_t i = 0; i < count; i++) {
        if (entry_last(&entries[i]) < last)
            continue;
        if (entries[i].message == NULL)
            entries[i].gap.to = last;
        return i + 1;
    }
    return count;
}

static void put_gap_line(struct buf *out, const struct channel_name *name, uint64_t epoch, const struct gap *gap)
{
    json_put_gap(out, channel_name_span(name), epoch, gap, SPAN(""));
    buf_putc(out, '\n');
}

uint64_t forwarder_put_lines(struct buf *out, const struct channel_name *name, uint64_t epoch, const struct entry *entries,
                             size_t count, bool is_changed, msec wall)
{
    uint64_t messages = 0;

    if (is_changed)
        put_gap_line(out, name, epoch, &(struct gap){ 1, 0, GAP_EPOCH });
    for (size_t i = 0; i < count; i++) {
        const struct message *message = entries[i].message;
        struct gap            gap     = entries[i].gap;
        if (message != NULL && message_is_past(message, wall, &gap.why)) {
            gap.from = gap.to = message->seq;
            message           = NULL;
        }
        if (message == NULL) {
            put_gap_line(out, name, epoch, &gap);
            continue;
        }
        json_put_message_line(out, message, SPAN(""));
        buf_putc(out, '\n');
        messages++;
    }
    return messages;
}

static void put_key_text(struct buf *out, struct span text)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c > ' ' && c < 0x7f && c != '%') {
            buf_putc(out, text.at[i]);
            continue;
        }
        char escape[] = { '%', hex[c >> 4], hex[c & 15] };
        buf_put(out, span_of(escape, sizeof escape));
    }
}

void forwarder_put_key(struct buf *out, struct span channel, uint64_t epoch, uint64_t first, uint64_t last)
{
    put_key_text(out, channel);
    buf_putc(out, '/');
    epoch_put(out, epoch);
    buf_putc(out, '/');
    buf_put_u64(out, first);
    buf_putc(out, '-');
    buf_put_u64(out, last);
}

void forwarder_put_dead(struct buf *out, const struct message *message, unsigned status, struct span backend,
                        struct span forwarder)
{
    struct buf object;

    buf_init(&object, SIZE_MAX / 2);
    json_put_message_line(&object, message, SPAN(""));
    buf_put_lit(out, "{\"status\":");
    buf_put_u64(out, status);
    buf_put_lit(out, ",\"backend\":");
    json_put_string(out, backend);
    buf_put_lit(out, ",\"forwarder\":");
    json_put_string(out, forwarder);
    buf_putc(out, ',');
    buf_put(out, span_skip(buf_span(&object), 1));
    buf_fini(&object);
}
