#include "base/backoff.h"

void backoff_put(struct buf *buf, const struct backoff *backoff)
{
    buf_putf(buf, "{\"base_ms\":%lld,\"factor\":%g,\"cap_ms\":%lld,\"jitter\":%g}", (long long)backoff->base_ms,
             backoff->factor_percent / 100.0, (long long)backoff->cap_ms, backoff->jitter_percent / 100.0);
}
