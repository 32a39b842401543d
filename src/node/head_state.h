/* head_state.h - does the writer know where a log ends? One enum of states; all moves are in one function.
 *
 *                 WANT               PUT              ANSWER
 *     UNKNOWN ───────────▶ GATHERED ──────▶ ASKED ──────────────▶ KNOWN
 *        ▲                     ▲            │   │                   │
 *        │                     │    OUTDATE │   │ FAIL: unknown     │ OUTDATE: unknown; WANT: gathered
 *        │                     │            ▼   │
 *        │                     └─────── ASKED_AGAIN
 *        └─────────────────────  ANSWER      FAIL: unknown
 *
 * Pure: no queue, no store, no time. */
#ifndef NODE_HEAD_STATE_H
#define NODE_HEAD_STATE_H

enum head_state {
    HEAD_UNKNOWN,      /* nobody has told it, or what was told may be old */
    HEAD_GATHERED,     /* it is in the question that will be put to the store next */
    HEAD_ASKED,        /* the store is being asked */
    HEAD_ASKED_AGAIN,  /* … and what it will answer may be old by then: ask again */
    HEAD_KNOWN,        /* told by the store, and kept up with since */
};

enum head_event {
    HEAD_WANT,     /* somebody needs it, and nothing that is known will do */
    HEAD_OUTDATE,  /* something shows that what is known, or what was asked for, may be old */
    HEAD_PUT,      /* the question is put to the store */
    HEAD_ANSWER,   /* the store has told it */
    HEAD_FAIL,     /* the store could not tell it */
};

/* GATHERED, where it was not before: add the head to the next question. */
enum head_state head_state_after(enum head_state state, enum head_event event);

#endif
