/* head_state.h - does the writer know where a log ends? One enum of states; all moves are in one function.
 *
 *                  WANT                 ANSWER
 *     UNKNOWN ────────────▶ ASKED ──────────────────▶ KNOWN
 *        ▲                  │   ▲                       │
 *        │ FAIL             │   │ ANSWER: ask again     │ OUTDATE: unknown; WANT: asked
 *        └──────────────────┤   │
 *                   OUTDATE ▼   │
 *                        ASKED_AGAIN
 *
 * Pure: no queue, no store, no time. */
#ifndef NODE_HEAD_STATE_H
#define NODE_HEAD_STATE_H

#include <stdbool.h>

enum head_state {
    HEAD_UNKNOWN,      /* nobody has told it, or what was told may be old */
    HEAD_ASKED,        /* the store is being asked */
    HEAD_ASKED_AGAIN,  /* … and what it will answer may be old by then: ask again */
    HEAD_KNOWN,        /* told by the store, and kept up with since */
};

enum head_event {
    HEAD_WANT,     /* somebody needs it, and nothing that is known will do */
    HEAD_OUTDATE,  /* something shows that what is known, or what was asked for, may be old */
    HEAD_ANSWER,   /* the store has told it */
    HEAD_FAIL,     /* the store could not tell it */
};

/* *ret_is_to_ask: put the question to the store now. */
enum head_state head_state_after(enum head_state state, enum head_event event, bool *ret_is_to_ask);

#endif
