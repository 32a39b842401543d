#include "session/frame_batch.h"

#include "base/must.h"

void frame_batch_init(struct frame_batch *batch)
{
    *batch = (struct frame_batch){ 0 };
    buf_init(&batch->bytes, SIZE_MAX / 2);
}

void frame_batch_fini(struct frame_batch *batch)
{
    frame_batch_clear(batch);
    buf_fini(&batch->bytes);
}

void frame_batch_clear(struct frame_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        frame_unref(batch->marks[i].frame);
    batch->count         = 0;
    batch->message_count = 0;
    batch->word_bytes    = 0;
    batch->oldest        = 0;
    batch->channel       = NULL;
    buf_clear(&batch->bytes);
    if (batch->bytes.cap > 4 * FRAME_BATCH_BYTES)  /* after a large message */
        buf_fini(&batch->bytes);
}

void frame_batch_put_words(struct frame_batch *batch, struct span words)
{
    must(batch->bytes.len == 0);
    buf_put(&batch->bytes, words);
    must(!buf_is_over(&batch->bytes));
    batch->word_bytes = words.len;
}

void frame_batch_add(struct frame_batch *batch, struct reader_sub *sub, const struct subscription_mark *before,
                     const struct entry *entry, struct frame *frame, bool is_chunked)
{
    buf_put(&batch->bytes, frame_span(frame, is_chunked));
    frame_batch_note(batch, sub, before, entry, frame);
}

void frame_batch_note(struct frame_batch *batch, struct reader_sub *sub, const struct subscription_mark *before,
                      const struct entry *entry, struct frame *frame)
{
    must(batch->count < FRAME_BATCH_MARKS_MAX && !buf_is_over(&batch->bytes));
    batch->marks[batch->count++] = (struct frame_mark){
        .sub        = sub,
        .frame      = frame,
        .before     = *before,
        .end        = batch->bytes.len,
        .is_message = entry->message != NULL,
    };
    if (entry->message == NULL)
        return;
    batch->message_count++;
    if (batch->oldest == 0 || entry->message->time < batch->oldest)
        batch->oldest = entry->message->time;
}

size_t frame_batch_at(const struct frame_batch *batch, size_t at)
{
    size_t index = 0;

    while (index < batch->count && batch->marks[index].end <= at)
        index++;
    return index;
}
