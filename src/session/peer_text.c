#include "session/peer_text.h"

#include "base/must.h"

static struct peer_text *peer_text_place(struct peer_texts *texts, uint64_t key)
{
    return &texts->at[(key * UINT64_C(0x9e3779b97f4a7c15)) >> 56];  /* Fibonacci hashing: keys may be numbered */
}

_Static_assert((int)PEER_TEXTS == 1 << 8, "peer_text_place() takes eight bits");

struct span peer_text_of(struct peer_texts *texts, uint64_t key, const struct stream *stream)
{
    struct peer_text *at = peer_text_place(texts, key);

    must(key != 0);
    if (at->key != key) {
        struct buf text = { .at = at->text, .cap = sizeof at->text, .max = sizeof at->text };  /* never grows */
        at->key = 0;
        if (!stream_put_peer(stream, &text))
            return SPAN("");
        must(!buf_is_over(&text));
        at->len = (uint8_t)text.len;
        at->key = key;
    }
    return span_of(at->text, at->len);
}
