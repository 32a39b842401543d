#include "message/event_kind.h"

static const char *const names[EVENT_KIND_COUNT] = {
    "connected", "disconnected", "subscribed", "unsubscribed", "joined",
    "left",      "occupied",     "vacated",    "acknowledged", "offline",
};

const char *event_kind_name(enum event_kind kind)
{
    for (int i = 0; i < EVENT_KIND_COUNT; i++)
        if ((unsigned)kind == 1u << i)
            return names[i];
    return NULL;
}

bool event_kind_find(struct span name, enum event_kind *ret)
{
    for (int i = 0; i < EVENT_KIND_COUNT; i++) {
        if (!span_eq(name, span_str(names[i])))
            continue;
        *ret = (enum event_kind)(1 << i);
        return true;
    }
    return false;
}
