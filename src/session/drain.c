#include "session/drain.h"

#include <stdint.h>

#include "base/must.h"

void drain_begin(struct drain *drain, size_t total, msec within_ms, msec now)
{
    must(within_ms > 0);
    drain->began = now;
    drain->ends  = now + within_ms;
    drain->total = total;
    drain->told  = 0;
}

size_t drain_due(const struct drain *drain, msec now)
{
    must(drain_is_on(drain));
    if (now >= drain->ends)
        return SIZE_MAX;
    size_t by_now = (size_t)((uint64_t)drain->total * (uint64_t)(now - drain->began) /
                             (uint64_t)(drain->ends - drain->began));
    return by_now > drain->told ? by_now - drain->told : 0;
}
