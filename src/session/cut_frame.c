#include "session/cut_frame.h"

#include "base/must.h"

void cut_frames_init(struct cut_frames *cuts, const struct hash_key *key, void (*let_go)(struct cut_frame *cut))
{
    *cuts = (struct cut_frames){ .bytes_max = CUT_FRAMES_BYTES_MAX, .long_min = CUT_FRAME_LONG_BYTES, .key = key,
                                  .let_go = let_go };
    list_init(&cuts->longs);
}

static void cut_frame_ref(struct cut_frames *cuts, struct cut_frame *cut, struct frame *frame)
{
    must(cut->frame == NULL);
    cut->frame = frame_ref(frame);
    if (frame->len > cuts->long_min)
        list_push(&cuts->longs, &cut->in_long);
    if (frame->cut_count++ > 0)
        return;
    counter_add(&cuts->bytes, frame->len);
    if (frame->len > cuts->long_min)
        cuts->long_bytes += frame->len;
}

static void cut_frame_unref(struct cut_frames *cuts, struct cut_frame *cut)
{
    struct frame *frame = cut->frame;

    if (frame == NULL)
        return;
    list_take(&cut->in_long);
    must(frame->cut_count > 0);
    if (--frame->cut_count == 0) {
        counter_sub(&cuts->bytes, frame->len);
        if (frame->len > cuts->long_min)
            cuts->long_bytes -= frame->len;
    }
    frame_unref(frame);
    cut->frame = NULL;
}

/* Many links may hold one frame, so it keeps its fingerprint. */
static uint64_t frame_print(struct frame *frame, const struct hash_key *key)
{
    if (frame->print == 0)
        frame->print = hash_bytes(key, frame_span(frame, true)) | 1;
    return frame->print;
}

static void cut_frame_let_go(struct cut_frames *cuts, struct cut_frame *cut)
{
    cut->print = frame_print(cut->frame, cuts->key);
    cut_frame_unref(cuts, cut);
    cuts->let_go(cut);
}

/* The last one stays: it may be longer than all may be together, and its stream has just taken some of it. */
static void cut_frames_keep_bound(struct cut_frames *cuts)
{
    while (cuts->long_bytes > cuts->bytes_max && (cuts->longs.next != cuts->longs.prev || cuts->bytes_max == 0))
        cut_frame_let_go(cuts, container_of(cuts->longs.next, struct cut_frame, in_long));
}

void cut_frame_hold(struct cut_frames *cuts, struct cut_frame *cut, struct frame *frame, bool is_chunked, size_t at)
{
    must(!cut_frame_is_there(cut));
    cut->at  = at;
    cut->len = frame_span(frame, is_chunked).len;
    must(at < cut->len);
    cut_frame_ref(cuts, cut, frame);
    cut_frames_keep_bound(cuts);
}

void cut_frame_take(struct cut_frames *cuts, struct cut_frame *cut, size_t bytes)
{
    must(cut->frame != NULL && bytes <= cut_frame_left(cut));
    cut->at += bytes;
    if (bytes > 0 && list_is_linked(&cut->in_long)) {
        list_take(&cut->in_long);
        list_push(&cuts->longs, &cut->in_long);
    }
    cut_frames_keep_bound(cuts);
}

bool cut_frame_hold_again(struct cut_frames *cuts, struct cut_frame *cut, struct frame *frame, bool is_chunked)
{
    must(cut_frame_is_there(cut) && cut->frame == NULL);
    if (frame_span(frame, is_chunked).len != cut->len || frame_print(frame, cuts->key) != cut->print) {
        counter_add(&cuts->lost, 1);
        return false;
    }
    counter_add(&cuts->remade, 1);
    cut_frame_ref(cuts, cut, frame);  /* the bound is kept again when the stream has taken what it has room for */
    return true;
}

void cut_frame_drop(struct cut_frames *cuts, struct cut_frame *cut)
{
    cut_frame_unref(cuts, cut);
    cut->len = cut->at = 0;
    cut->sub = NULL;
}
