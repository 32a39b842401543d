#include "main/store_watch.h"

#include "reactor/log.h"

enum { CLOCK_APART_MS = 2000 };

/* Further failures, until all works again, belong to the first one. A failure may be over before anybody looks: then it has ended by
 * the next look, if nothing else has failed. */
static void look_at_failures(struct store_watch *watch, const struct store_stats *stats, const char *engine)
{
    uint64_t failed = stats->failure_count - watch->failures_seen;

    watch->failures_seen = stats->failure_count;
    if (failed > 0 && !watch->was_failed) {
        LOG(LOG_ERROR, "store_failed", log_str("error", stats->failure),
            log_u64("times", failed), log_str("engine", engine == NULL ? "" : engine),
            log_str("notice", engine == NULL
                                  ? "publishes under way were answered 503 or 507; the log is read anew from the disk"
                                  : "what can't be done meanwhile is answered 503; the connection is made again by itself"));
        watch->was_failed     = true;
        watch->failures_ended = stats->failure_count - failed;
    } else if (failed == 0 && watch->was_failed && !stats->is_failing && !stats->is_broken && !stats->is_full) {
        LOG(LOG_INFO, "store_reopened", log_u64("times", stats->failure_count - watch->failures_ended),
            log_str("notice", "publishes are taken again"));
        watch->was_failed = false;
    }
}

/* Each place once; if many are found at a time, the last ones. */
static void look_at_damage(struct store_watch *watch, const struct store_stats *stats)
{
    if (stats->damage_count - watch->damages_told > STORE_DAMAGES_TOLD)
        watch->damages_told = stats->damage_count - STORE_DAMAGES_TOLD;
    for (; watch->damages_told < stats->damage_count; watch->damages_told++)
        LOG(LOG_ERROR, "store_damaged", log_str("what", stats->damages[watch->damages_told % STORE_DAMAGES_TOLD]),
            log_str("notice", "readers get a gap `corrupt` for messages that are lost; everything else is delivered"));
}

static void look_at_epochs(struct store_watch *watch, const struct store_stats *stats)
{
    if (stats->epoch_count != watch->epochs_told)
        LOG(LOG_WARN, "store_notice",
            log_str("notice", "PostgreSQL failed over to a copy, was restored, or lacks commits: acknowledged messages may be missing. The "
                              "logs have a new epoch, and readers are told by a gap `epoch`"));
    watch->epochs_told = stats->epoch_count;
}

/* Nodes compare what they stamped with what others stamped: tokens and tickets with revocations, messages with their time to live. */
static void look_at_clock(struct store_watch *watch, int64_t ahead_ms)
{
    bool differs = ahead_ms > CLOCK_APART_MS || ahead_ms < -CLOCK_APART_MS;

    if (differs && !watch->is_clock_told)
        LOG(LOG_WARN, "clock_differs", log_i64("ahead_ms", ahead_ms),
            log_str("notice", "the clocks of this machine and of PostgreSQL are apart: a revocation refuses what was issued before it by the "
                              "clock of the node that took it, and messages live longer or shorter by the difference; set the clocks"));
    else if (!differs && watch->is_clock_told)
        LOG(LOG_INFO, "clock_is_near", log_str("notice", "the clocks of this machine and of PostgreSQL agree again"));
    watch->is_clock_told = differs;
}

void store_watch_look(struct store_watch *watch, const struct store_stats *stats, const char *engine)
{
    if (stats->is_full && !watch->was_full)
        LOG(LOG_ERROR, "disk_full",
            log_str("notice", "publishes to durable channels are answered 507 until there is room"));
    else if (!stats->is_full && watch->was_full)
        LOG(LOG_INFO, "disk_has_room", log_str("notice", "publishes are taken again"));
    watch->was_full = stats->is_full;
    look_at_failures(watch, stats, engine);
    look_at_damage(watch, stats);
    look_at_epochs(watch, stats);
    look_at_clock(watch, stats->clock_ahead_ms);
}
