#include "bench/delivery_log.h"

enum receipt track_take(struct track *track, uint32_t seq)
{
    if (seq >= track->next) {
        uint32_t ahead = seq - track->next + 1;
        track->seen    = (ahead < 64 ? track->seen << ahead : 0) | 1;
        track->next    = seq + 1;
        return RECEIPT_NEW;
    }
    uint32_t behind = track->next - 1 - seq;
    if (behind >= 64 || (track->seen >> behind & 1) != 0)
        return RECEIPT_DOUBLED;
    track->seen |= 1ull << behind;
    return RECEIPT_LATE;
}

/* The last delivery of a message here closes it for this tally, the last tally closes it for the log. The slot is
 * zero again then, ready for the message DELIVERY_LOG_SLOTS later. */
static void tally_count(struct tally *tally, struct delivery_log *log, uint32_t number)
{
    uint32_t slot = number % DELIVERY_LOG_SLOTS;
    if (++tally->got[slot] < tally->readers)
        return;
    tally->got[slot] = 0;
    if (atomic_fetch_add(&log->finished[slot], 1) + 1 < log->finishers)
        return;
    atomic_store(&log->finished[slot], 0);
    atomic_fetch_add(&log->completed, 1);
    tally->has_completed = true;
}

void tally_take(struct tally *tally, struct delivery_log *log, struct track *track, uint32_t channel,
                const struct stamp *stamp, uint64_t now_ns)
{
    if (stamp->channel != channel) {
        tally->strayed++;
        return;
    }
    switch (track_take(track, stamp->seq)) {
    case RECEIPT_DOUBLED:
        tally->doubled++;
        return;
    case RECEIPT_LATE:
        tally->late++;
        break;
    case RECEIPT_NEW:
        break;
    }
    tally->received++;
    histogram_record(&tally->latency, now_ns > stamp->time_ns ? now_ns - stamp->time_ns : 0);
    tally_count(tally, log, stamp->number);
}

void tally_restart(struct tally *tally)
{
    tally->received = 0;
    tally->latency  = (struct histogram){ 0 };
}
