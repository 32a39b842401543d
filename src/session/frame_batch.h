/* frame_batch.h - frames that were drawn for one write, and what they were drawn from.
 *
 * Readers of one channel that stand at the same place, over links of one encoding, are sent the same bytes without
 * drawing again: a batch says what it holds, and link.c compares. One a worker; it is used for one link after the other
 * and emptied at the end of a turn. */
#ifndef SESSION_FRAME_BATCH_H
#define SESSION_FRAME_BATCH_H

#include "session/frames.h"
#include "session/reader.h"

struct frame_mark {
    struct reader_sub       *sub;
    struct frame            *frame;   /* owns a reference; NULL: its bytes stand in the batch alone */
    struct subscription_mark before;  /* where the subscription stood */
    size_t                   end;     /* of the frame, in bytes of the batch */
    bool                     is_message;  /* else a gap */
};

enum { FRAME_BATCH_MARKS_MAX = 256, FRAME_BATCH_BYTES = 32 * 1024 };

struct frame_batch {
    struct buf                 bytes;    /* the words first, if there are any */
    size_t                     word_bytes;
    struct frame_mark          marks[FRAME_BATCH_MARKS_MAX];
    size_t                     count;
    size_t                     message_count;
    msec                       oldest;   /* time of the oldest message; 0: there is none */
    /* Shareable: all news of one channel from `from` on, up to its head, and nothing else. */
    const struct channel_name *channel;  /* NULL: not shareable */
    uint64_t                   epoch, from, to;
    enum encoding              encoding;
    uint32_t                   alias_before, alias_after;  /* told_alias of the subscription (alias_table.h) */
    bool                       is_chunked;
};

void frame_batch_init(struct frame_batch *batch);
void frame_batch_fini(struct frame_batch *batch);

/* Makes it empty, and gives back the memory of a large message. */
void frame_batch_clear(struct frame_batch *batch);

static inline bool frame_batch_has_room(const struct frame_batch *batch)
{
    return batch->count < FRAME_BATCH_MARKS_MAX && batch->bytes.len < FRAME_BATCH_BYTES;
}

/* What leaves before the frames, with the same write. The batch is empty. */
void frame_batch_put_words(struct frame_batch *batch, struct span words);

/* Takes the frame; `before` is where the subscription stood before the entry. There is room. */
void frame_batch_add(struct frame_batch *batch, struct reader_sub *sub, const struct subscription_mark *before,
                     const struct entry *entry, struct frame *frame, bool is_chunked);

/* The same of a frame whose bytes were put behind batch->bytes; NULL: it has no object. */
void frame_batch_note(struct frame_batch *batch, struct reader_sub *sub, const struct subscription_mark *before,
                      const struct entry *entry, struct frame *frame);

/* The frame that the byte at `at` belongs to, or the one that begins there; batch->count: it is behind the last. */
size_t frame_batch_at(const struct frame_batch *batch, size_t at);
/* Where frame `index` begins. */
static inline size_t frame_batch_begin(const struct frame_batch *batch, size_t index)
{
    return index == 0 ? batch->word_bytes : batch->marks[index - 1].end;
}

static inline struct span frame_batch_span(const struct frame_batch *batch, size_t index)
{
    const size_t begin = frame_batch_begin(batch, index);

    return span_of(batch->bytes.at + begin, batch->marks[index].end - begin);
}

#endif
