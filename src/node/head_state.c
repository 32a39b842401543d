#include "node/head_state.h"

#include <stdbool.h>

#include "base/must.h"

enum head_state head_state_after(enum head_state state, enum head_event event)
{
    bool is_put = state == HEAD_ASKED || state == HEAD_ASKED_AGAIN;

    switch (event) {
    case HEAD_WANT:
        return is_put ? state : HEAD_GATHERED;
    case HEAD_OUTDATE:
        return is_put ? HEAD_ASKED_AGAIN : state == HEAD_GATHERED ? HEAD_GATHERED : HEAD_UNKNOWN;
    case HEAD_PUT:
        must(state == HEAD_GATHERED);
        return HEAD_ASKED;
    case HEAD_ANSWER:
        must(is_put);
        return state == HEAD_ASKED_AGAIN ? HEAD_GATHERED : HEAD_KNOWN;
    case HEAD_FAIL:
        must(is_put);
        return HEAD_UNKNOWN;
    }
    must(!"a head event");
    return state;
}
