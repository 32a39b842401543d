/* cut_frame.h - frames that were cut: a stream took the beginning, and the rest waits until the stream has room.
 *
 * A link holds the frame that was cut (shared, not copied). A long frame is held only while all long ones of a worker
 * fit into CUT_FRAMES_BYTES_MAX; each counts once, however many links hold it. Beyond that, the links let go of their
 * frames, first those whose streams have taken nothing for longest. What is left of such a frame is a place in the
 * log, an offset and a fingerprint. When the stream has room the frame is made again from its message, and goes on at
 * the offset (docs/decisions/0033-a-cut-frame-is-made-again.md). */
#ifndef SESSION_CUT_FRAME_H
#define SESSION_CUT_FRAME_H

#include "base/counter.h"
#include "base/hash.h"
#include "base/list.h"
#include "session/frames.h"
#include "session/reader.h"

enum {
    CUT_FRAME_LONG_BYTES = 16 * 1024,        /* shorter ones are always held */
    CUT_FRAMES_BYTES_MAX = 4 * 1024 * 1024,  /* of long ones, a worker; one alone may be longer */
};

struct cut_frame {
    struct list              in_long;  /* of cut_frames.longs, while a long frame is held */
    struct frame            *frame;    /* NULL: none was cut, or it was let go */
    struct reader_sub       *sub;      /* whose frame it is; NULL: no longer followed */
    struct subscription_mark before;   /* where that subscription stood before the frame */
    uint64_t                 seq, epoch;  /* … and where it stands behind it */
    size_t                   at;       /* bytes of it that were taken */
    size_t                   len;      /* of the whole frame, as this link sends it; 0: no frame was cut */
    uint64_t                 print;    /* fingerprint of a frame that was let go */
};

/* All of one worker. */
struct cut_frames {
    struct list            longs;      /* the one whose stream has taken nothing for longest is the first */
    size_t                 long_bytes;
    size_t                 bytes_max;  /* 0: all are let go at once, for tests */
    size_t                 long_min;   /* what is longer is long */
    const struct hash_key *key;        /* of fingerprints */
    /* The frame of this cut was let go: its reader goes back to before it. */
    void                 (*let_go)(struct cut_frame *cut);
    struct counter         bytes;      /* held now */
    struct counter         remade;     /* frames that were made again */
    struct counter         lost;       /* … that could not be */
};

void cut_frames_init(struct cut_frames *cuts, const struct hash_key *key, void (*let_go)(struct cut_frame *cut));

static inline bool cut_frame_is_there(const struct cut_frame *cut)
{
    return cut->len > 0;
}

static inline size_t cut_frame_left(const struct cut_frame *cut)
{
    return cut->len - cut->at;
}

/* Shares the frame, of which the stream took `at` bytes. No other frame is cut there. Others may be let go. */
void cut_frame_hold(struct cut_frames *cuts, struct cut_frame *cut, struct frame *frame, bool is_chunked, size_t at);
/* The stream took so many bytes more of it, and not all. */
void cut_frame_take(struct cut_frames *cuts, struct cut_frame *cut, size_t bytes);
/* Shares the frame that was made again for a cut whose frame was let go. False: it is another frame, and is not shared:
 * what was sent of the old one can't be finished. */
bool cut_frame_hold_again(struct cut_frames *cuts, struct cut_frame *cut, struct frame *frame, bool is_chunked);
/* Nothing is cut any more. Fine if nothing was. */
void cut_frame_drop(struct cut_frames *cuts, struct cut_frame *cut);

#endif
