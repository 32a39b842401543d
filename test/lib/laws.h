/* laws.h - what every codec must hold: no cut of the bytes changes the transcript, and no byte behind the input is read.
 *
 * A codec joins with a teller: a function that takes input piece by piece from `cuts`, feeds a fresh codec with it
 * and writes what happened into `transcript`, as text, so that two transcripts can be compared. It must not let the cuts
 * themselves show: pieces of one body are joined, and what is said is said once.
 *
 * Every input ends at a forbidden page and begins at a new place, so an overread crashes, and so does a codec that
 * remembers where an earlier input was (under ASan, or when the bytes differ). */
#ifndef LIB_LAWS_H
#define LIB_LAWS_H

#include "base/buf.h"

struct cuts;

/* The next input: the last `kept` bytes of the one before (what the codec did not swallow), and the next piece
 * behind them. False when all bytes were given. It may be written to, and is valid until the next call. */
bool cuts_next(struct cuts *cuts, size_t kept, struct span *ret_input);

/* Has `tell` tell the transcript of `wire` whole, with each single cut, a byte at a time, and with `draws` random draws of
 * several cuts. Single cuts are thinned out evenly for long inputs. True: all transcripts are the same, and *ret_transcript is
 * that transcript. False: *ret_transcript explains which cut changed it, with both transcripts. The caller does buf_fini() on it. */
bool laws_hold(struct span wire, void (*tell)(struct cuts *cuts, void *context, struct buf *transcript), void *context,
               unsigned draws, struct buf *ret_transcript);

/* The transcript of `wire` in one piece, put behind what `transcript` holds. */
void laws_tell(struct span wire, void (*tell)(struct cuts *cuts, void *context, struct buf *transcript), void *context,
               struct buf *transcript);

#endif
