#include "main/clock_watch.h"

#include "reactor/log.h"

void clock_watch_look(struct clock_watch *watch, const struct wall_clock *clock)
{
    bool is_doubted = clock->off != 0;

    if (is_doubted && !watch->was_doubted)
        LOG(LOG_WARN, "clock_leapt", log_i64("by_s", clock->off / 1000),
            log_str("notice", "the wall clock was set, or is far from the newest time in the data directory; the time goes on "
                              "without it for a day. If the clock is right, restart with --believe-clock"));
    else if (!is_doubted && watch->was_doubted)
        LOG(LOG_INFO, "clock_agrees", log_str("notice", "the wall clock is believed again"));
    watch->was_doubted = is_doubted;
}
