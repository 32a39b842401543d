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
 * In a cluster the channel's route is registered first (node/cluster_port.h). Meanwhile no question counts: a message that is
 * published between its answer and the route would come by no way.
 *
 *     UNKNOWN, KNOWN ──ROUTE──▶ UNROUTED ──ROUTED──▶ UNKNOWN
 *                                  ▲
 *                                  │ ANSWER, FAIL: of a question from before the route
 *     GATHERED, ASKED … ──ROUTE──▶ UNROUTED_ASKED ──ROUTED──▶ ASKED_AGAIN
 *
 * Pure: no queue, no store, no time. */
#ifndef NODE_HEAD_STATE_H
#define NODE_HEAD_STATE_H

enum head_state {
    HEAD_UNKNOWN,      /* the store has not told it, or what it told may be old */
    HEAD_GATHERED,     /* the next question to the store includes it */
    HEAD_ASKED,        /* the store is being asked */
    HEAD_ASKED_AGAIN,  /* the store is being asked, and its answer may be old already: ask again */
    HEAD_KNOWN,        /* the store told it, and all appends since then are counted in */
    HEAD_UNROUTED,     /* the route is being registered; nothing is asked before that has ended */
    HEAD_UNROUTED_ASKED, /* the same, while the store answers a question from before that */
};

enum head_event {
    HEAD_WANT,     /* the head is needed, and the known one is not recent enough */
    HEAD_OUTDATE,  /* something shows that what is known, or what was asked for, may be old */
    HEAD_PUT,      /* the question is put to the store */
    HEAD_ANSWER,   /* the store has told it */
    HEAD_FAIL,     /* the store could not tell it */
    HEAD_ROUTE,    /* the registration of the route begins */
    HEAD_ROUTED,   /* it has ended; twice is no error */
};

/* If the state becomes HEAD_GATHERED, the caller adds the head to the next question. */
enum head_state head_state_after(enum head_state state, enum head_event event);

#endif
