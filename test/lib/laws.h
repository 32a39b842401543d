/* laws.h - what holds for every codec: no cut of the input changes the transcript, and the codec reads no byte behind
 * the input.
 *
 * A codec takes part with a teller: a function that takes the input piece by piece from `cuts`, feeds it to a fresh
 * codec, and writes what happened into `transcript` as text, so that two transcripts can be compared. The cuts
 * themselves must not show in it: the teller joins the pieces of one body, and writes each event once.
 *
 * Every input ends at a forbidden page and begins at a new address. So an overread crashes, and so does a codec that
 * remembers where an earlier input was (under ASan, or when the bytes differ). */
#ifndef LIB_LAWS_H
#define LIB_LAWS_H

#include "base/buf.h"

struct cuts;

/* Gives the next input: the last `kept` bytes of the one before (those that the codec did not consume), and the next
 * piece behind them. False when all bytes were given. The teller may write to the input; it is valid until the next
 * call. */
bool cuts_next(struct cuts *cuts, size_t kept, struct span *ret_input);

/* Calls `tell` with `wire` as a whole, with each single cut, byte by byte, and with `draws` random draws of several
 * cuts. For long inputs the single cuts are thinned out evenly. True: all transcripts are equal, and *ret_transcript is
 * that transcript. False: *ret_transcript explains which cut changed it, with both transcripts. The caller does
 * buf_fini() on it. */
bool laws_hold(struct span wire, void (*tell)(struct cuts *cuts, void *context, struct buf *transcript), void *context,
               unsigned draws, struct buf *ret_transcript);

/* Appends the transcript of `wire` in one piece to `transcript`. */
void laws_tell(struct span wire, void (*tell)(struct cuts *cuts, void *context, struct buf *transcript), void *context,
               struct buf *transcript);

#endif
