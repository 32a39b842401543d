/* Any bytes as what another process tells: refused, or read as a whole; what is read and written again is the same. */
#include "base/must.h"
#include "codec/handover/handover.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void put_link_again(struct buf *buf, struct span body)
{
    static struct handover_link link;
    struct handover_sub         sub;
    struct handover_bound       bound;
    size_t                      at = buf->len;

    must(handover_get_link(&body, &link));
    handover_put_link(buf, &link);
    for (uint32_t i = 0; i < link.sub_count; i++) {
        must(handover_get_sub(&body, &sub));
        handover_put_sub(buf, &sub);
    }
    for (uint32_t i = 0; i < link.bound_count; i++) {
        must(handover_get_bound(&body, &bound));
        handover_put_bound(buf, &bound);
    }
    handover_end_link(buf, at);
}

#define AGAIN(name, its_kind)                                                                                          \
    if (kind == (its_kind)) {                                                                                          \
        struct handover_##name value;                                                                                  \
        if (handover_get_##name(body, &value))                                                                         \
            handover_put_##name(buf, &value);                                                                          \
    }

/* Of a whole state. */
static void put_again(struct buf *buf, enum handover_kind kind, struct span body)
{
    AGAIN(http, HANDOVER_HTTP)
    AGAIN(loop, HANDOVER_LOOP)
    AGAIN(store, HANDOVER_STORE)
    AGAIN(channel, HANDOVER_CHANNEL)
    AGAIN(message, HANDOVER_MESSAGE)
    AGAIN(session, HANDOVER_SESSION)
    AGAIN(place, HANDOVER_PLACE)
    AGAIN(presence, HANDOVER_PRESENCE)
    AGAIN(member, HANDOVER_MEMBER)
    if (kind == HANDOVER_LINK)
        put_link_again(buf, body);
}

/* Of the talk before it. */
static void say_again(struct buf *buf, enum handover_kind kind, struct span body)
{
    AGAIN(hello, HANDOVER_HELLO)
    AGAIN(refusal, HANDOVER_REFUSAL)
    AGAIN(offer, HANDOVER_OFFER)
    AGAIN(listen, HANDOVER_LISTEN)
    AGAIN(part, HANDOVER_PART)
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span        whole = span_of(bytes, len), rest = whole, body;
    enum handover_kind kind;
    struct buf         again;
    size_t             links, count = 0;
    bool               is_whole = handover_check(whole, &links);

    buf_init(&again, 16 * len + 4096);
    while (handover_next(&rest, &kind, &body)) {
        if (is_whole && kind != HANDOVER_END)
            put_again(&again, kind, body);
        else if (!is_whole)
            say_again(&again, kind, body);
        count += kind != HANDOVER_END;
    }
    if (is_whole) {
        handover_put_end(&again, count);
        must(span_eq(buf_span(&again), whole) && links <= count);
        handover_keys_differ(&whole, 1);
    }
    buf_fini(&again);
    return 0;
}
