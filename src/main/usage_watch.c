#include "main/usage_watch.h"

#include "reactor/log.h"

void usage_watch_look(struct usage_watch *watch, const struct usage_limits *limits, msec now)
{
    for (size_t i = 0; i < USAGE_LIMIT_COUNT; i++) {
        const uint64_t count = counter_get(&limits->refused[i].count);
        if (count == watch->told[i] || (watch->told_at[i] != 0 && now - watch->told_at[i] < USAGE_LINE_MS))
            continue;
        LOG(LOG_WARN, "limit_reached", log_str("limit", usage_limit_name((enum usage_limit)i)), log_u64("value", limits->max[i]),
            log_u64("refused", count - watch->told[i]), log_str("last", limits->refused[i].who));
        watch->told[i]    = count;
        watch->told_at[i] = now;
    }
}
