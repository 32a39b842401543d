/* retention.h - what a namespace's retention says about one message. */
#ifndef STORE_RETENTION_H
#define STORE_RETENTION_H

#include "message/namespace.h"

/* True if a message of that time is too old to be kept. */
static inline bool retention_is_over(const struct namespace *space, msec time, msec wall)
{
    return space->keep_ms != 0 && time <= wall - space->keep_ms;
}

#endif
