#include "node/head_state.h"

#include "base/must.h"

enum head_state head_state_after(enum head_state state, enum head_event event, bool *ret_is_to_ask)
{
    bool is_asked = state == HEAD_ASKED || state == HEAD_ASKED_AGAIN;

    *ret_is_to_ask = false;
    switch (event) {
    case HEAD_WANT:
        *ret_is_to_ask = !is_asked;
        return is_asked ? state : HEAD_ASKED;
    case HEAD_OUTDATE:
        return is_asked ? HEAD_ASKED_AGAIN : HEAD_UNKNOWN;
    case HEAD_ANSWER:
        must(is_asked);
        *ret_is_to_ask = state == HEAD_ASKED_AGAIN;
        return *ret_is_to_ask ? HEAD_ASKED : HEAD_KNOWN;
    case HEAD_FAIL:
        must(is_asked);
        return HEAD_UNKNOWN;
    }
    must(!"a head event");
    return state;
}
