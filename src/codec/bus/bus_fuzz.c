/* Any bytes as a frame between nodes. What is read and written again is read as the same, whatever was skipped at first. */
#include "codec/bus/bus_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct namespaces     spaces;
static const struct hash_key hash_key = { 3, 4 };

static void put_again(const struct bus_item *item, struct buf *ret)
{
    struct channel_name *channel = NULL;

    if (item->kind != BUS_MESSAGE) {
        bus_item_put(ret, item);
        return;
    }
    if (channel_name_new(&spaces, &hash_key, item->channel, &channel) != CHANNEL_NAME_OK)
        return;
    struct message *message = bus_message_get(item, channel);
    if (message != NULL)
        bus_message_put(ret, message);
    message_unref(message);
    channel_name_unref(channel);
}

/* False: it has no header. */
static bool write_again(struct span frame, struct buf *ret, bool *ret_is_whole)
{
    struct bus_header header;
    struct bus_item   item;

    if (!bus_header_get(&frame, &header))
        return false;
    bus_header_put(ret, &header);
    while (bus_item_get(&frame, &item))
        put_again(&item, ret);
    *ret_is_whole = frame.len == 0;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct buf first, second;
    bool       is_whole;

    if (spaces.count == 0)
        namespaces_init(&spaces);
    buf_init(&first, len + 64);
    buf_init(&second, len + 64);
    if (write_again(span_of(bytes, len), &first, &is_whole)) {
        must(!buf_is_over(&first));
        must(write_again(buf_span(&first), &second, &is_whole) && is_whole);
        must(span_eq(buf_span(&first), buf_span(&second)));
    }
    buf_fini(&first);
    buf_fini(&second);
    return 0;
}
