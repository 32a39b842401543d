#include "node/head_state.h"

#include <stdbool.h>

#include "base/must.h"

/* The moves while the route is being registered. */
static enum head_state unrouted_after(enum head_state state, enum head_event event)
{
    bool is_put = state == HEAD_UNROUTED_ASKED;

    switch (event) {
    case HEAD_WANT:
    case HEAD_OUTDATE:
    case HEAD_ROUTE:
        return state;
    case HEAD_PUT:
        must(is_put);
        return state;
    case HEAD_ANSWER:
    case HEAD_FAIL:
        must(is_put);
        return HEAD_UNROUTED;
    case HEAD_ROUTED:
        return is_put ? HEAD_ASKED_AGAIN : HEAD_UNKNOWN;
    }
    must(!"a head event");
    return state;
}

enum head_state head_state_after(enum head_state state, enum head_event event)
{
    bool is_put = state == HEAD_ASKED || state == HEAD_ASKED_AGAIN;

    if (state == HEAD_UNROUTED || state == HEAD_UNROUTED_ASKED)
        return unrouted_after(state, event);
    switch (event) {
    case HEAD_WANT:
        return is_put ? state : HEAD_GATHERED;
    case HEAD_OUTDATE:
        return is_put ? HEAD_ASKED_AGAIN : state == HEAD_GATHERED ? HEAD_GATHERED : HEAD_UNKNOWN;
    case HEAD_PUT:
        /* Again: it was gathered before its route was there. */
        must(state == HEAD_GATHERED || state == HEAD_ASKED_AGAIN);
        return state == HEAD_GATHERED ? HEAD_ASKED : HEAD_ASKED_AGAIN;
    case HEAD_ANSWER:
        must(is_put);
        return state == HEAD_ASKED_AGAIN ? HEAD_GATHERED : HEAD_KNOWN;
    case HEAD_FAIL:
        must(is_put);
        return HEAD_UNKNOWN;
    case HEAD_ROUTE:
        return is_put || state == HEAD_GATHERED ? HEAD_UNROUTED_ASKED : HEAD_UNROUTED;
    case HEAD_ROUTED:
        return state;
    }
    must(!"a head event");
    return state;
}
