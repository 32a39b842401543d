/* burst.h - what several links are sent one behind the other.
 *
 * A send to a client that sleeps wakes it, which costs as much as the send. Clients that read on one processor stay awake while
 * sends follow each other without a pause. So the news of many links with one message each are all drawn first, into one batch, and
 * then sent. Nothing happens between the two: a link that has more to say than that is drawn and sent by itself, when the burst has
 * left. One a worker, empty outside of session_worker_turn_end(). */
#ifndef SESSION_BURST_H
#define SESSION_BURST_H

#include "session/frame_batch.h"

struct link;

enum { BURST_LINKS_MAX = 128, BURST_WORD_BYTES_MAX = 4096 };

struct burst_link {
    struct link      *link;
    struct frame_part part;
};

struct burst {
    struct frame_batch batch;
    struct burst_link  links[BURST_LINKS_MAX];
    size_t             count;
};

#endif
