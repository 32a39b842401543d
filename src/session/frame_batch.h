/* frame_batch.h - frames that were drawn for one write, and what they were drawn from.
 *
 * Readers of one channel that stand at the same place, over links of one encoding, are sent the same bytes without
 * drawing again: a batch says what it holds, and link_draw.c compares. One a worker; it is used for one link after the other
 * and emptied at the end of a turn. Another one a worker holds what was drawn for several links, a part each: burst.h. */
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

/* What one link is sent of a batch. */
struct frame_part {
    size_t begin;          /* in bytes of the batch */
    size_t word_bytes;     /* the words stand first, if there are any */
    size_t first, count;   /* its marks */
    size_t message_count;
    msec   oldest;         /* time of the oldest message; 0: there is none */
};

struct frame_batch {
    struct buf                 bytes;
    struct frame_mark          marks[FRAME_BATCH_MARKS_MAX];
    size_t                     count;    /* of all parts */
    struct frame_part          part;     /* the last one, which is being filled */
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

/* What is added from now on is another link's. */
void frame_batch_begin_part(struct frame_batch *batch);

/* What leaves before the frames, with the same write. The part is empty. */
void frame_batch_put_words(struct frame_batch *batch, struct span words);

/* Takes the frame; `before` is where the subscription stood before the entry. There is room. */
void frame_batch_add(struct frame_batch *batch, struct reader_sub *sub, const struct subscription_mark *before,
                     const struct entry *entry, struct frame *frame, bool is_chunked);
/* The same of a frame whose bytes the caller has put at the end of batch->bytes. */
void frame_batch_note(struct frame_batch *batch, struct reader_sub *sub, const struct subscription_mark *before,
                      const struct entry *entry, struct frame *frame);

/* The mark of this part that the byte at `at` of the batch belongs to, or that begins there; first + count: it is behind the last. */
size_t frame_part_at(const struct frame_batch *batch, const struct frame_part *part, size_t at);
/* Where the frame of mark `index` begins; that of first + count: where the part ends. */
static inline size_t frame_part_begin(const struct frame_batch *batch, const struct frame_part *part, size_t index)
{
    return index == part->first ? part->begin + part->word_bytes : batch->marks[index - 1].end;
}
static inline struct span frame_part_span(const struct frame_batch *batch, const struct frame_part *part)
{
    return span_of(batch->bytes.at + part->begin, frame_part_begin(batch, part, part->first + part->count) - part->begin);
}

#endif
