/* delivery_log.h - the record of a run: what was published, what each reader got, and whether the two agree.
 *
 * The record is exact, not sampled. Every (reader, stream) has a track, so each single delivery is known to be new,
 * late or doubled. Messages that were published and never delivered are the difference at the end. The log also knows
 * when a message has reached all its readers; a closed loop waits for that.
 *
 * Readers may be spread over several threads. A tally belongs to one thread. All threads share the log, and its only
 * changing fields are atomic. One thread publishes. */
#ifndef BENCH_DELIVERY_LOG_H
#define BENCH_DELIVERY_LOG_H

#include <stdatomic.h>

#include "bench/histogram.h"
#include "bench/payload.h"

/* More messages than this can't be on the way at once. A power of two. */
enum { DELIVERY_LOG_SLOTS = 8192 };

/* Where one reader stands in one stream. Bit i of `seen` says that next - 1 - i was received: so a message that is
 * up to 64 behind is known to be late (never seen) or doubled. One that is further behind counts as doubled. */
struct track {
    uint32_t next;
    uint64_t seen;
};

enum receipt { RECEIPT_NEW, RECEIPT_LATE, RECEIPT_DOUBLED };

enum receipt track_take(struct track *track, uint32_t seq);

struct delivery_log {
    uint32_t         finishers;               /* tallies that must have all deliveries of a message before it is
                                               * complete */
    _Atomic uint32_t finished[DELIVERY_LOG_SLOTS];  /* by message number: tallies that have all its deliveries */
    _Atomic uint64_t completed;               /* messages that all their readers have */
};

struct tally {
    uint32_t         readers;            /* deliveries that one message makes here */
    uint32_t         got[DELIVERY_LOG_SLOTS];  /* by message number: deliveries made so far */
    uint64_t         received;           /* different messages, summed over readers */
    uint64_t         doubled, late, strayed;
    bool             has_completed;      /* a message became complete; cleared when the publisher has been woken */
    struct histogram latency;
};

/* Books one delivery: `track` is the reader's for stamp->stream, `channel` the one that it follows. */
void tally_take(struct tally *tally, struct delivery_log *log, struct track *track, uint32_t channel,
                const struct stamp *stamp, uint64_t now_ns);

/* Begins a new phase, which counts from 0. Only while nothing is under way. */
void tally_restart(struct tally *tally);

#endif
