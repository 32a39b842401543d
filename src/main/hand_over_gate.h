/* hand_over_gate.h - how the threads of a server stand still while another process takes its place (docs/decisions/0124).
 *
 *     OPEN ──► HOLD ──► PARK ──► LEAVE     the other process serves
 *      ▲         │        │
 *      └─────────┴────────┘                it failed: all goes on
 *
 * HOLD: nothing new is read; what is under way gets its answers. PARK: each loop tells what it has and waits, then the writer. From
 * then on main alone touches what they own. Main's thread moves the phase; the others look once a turn. */
#ifndef MAIN_HAND_OVER_GATE_H
#define MAIN_HAND_OVER_GATE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/counter.h"
#include "base/msec.h"

enum gate_phase { GATE_OPEN, GATE_HOLD, GATE_PARK, GATE_LEAVE };

struct hand_over_gate {
    pthread_mutex_t lock;
    pthread_cond_t  moved;       /* the phase, or one of the counts */
    struct counter  phase;       /* enum gate_phase; written under the lock */
    /* Under the lock. */
    msec            settle_by;   /* monotonic: then what is still under way is left behind … */
    msec            answer_by;   /* … and before that, from then on, only what the writer answers is waited for */
    unsigned        settled, parked;
    bool            is_writer_parked;
};

void gate_init(struct hand_over_gate *gate);
void gate_fini(struct hand_over_gate *gate);

static inline enum gate_phase gate_phase(const struct hand_over_gate *gate)
{
    return (enum gate_phase)counter_get(&gate->phase);
}

/* Main's thread. From OPEN to HOLD, with the times of this attempt; and to every other phase. */
void gate_hold(struct hand_over_gate *gate, msec answer_by, msec settle_by);
void gate_move(struct hand_over_gate *gate, enum gate_phase phase);
/* Waits until so many loops have settled. False: not by then (monotonic). */
bool gate_await_settled(struct hand_over_gate *gate, unsigned loops, msec by);
/* Waits until so many loops stand still, or the writer. False: not by then (monotonic). */
bool gate_await_parked(struct hand_over_gate *gate, unsigned loops, msec by);
bool gate_await_writer(struct hand_over_gate *gate, msec by);

/* The others' threads: this loop has nothing under way; this loop, or the writer, stands still until main moves on. Returns to
 * where. Whoever comes when main has given up already does not count and does not wait. */
msec            gate_answer_by(struct hand_over_gate *gate);
msec            gate_settle_by(struct hand_over_gate *gate);
bool            gate_loops_are_parked(struct hand_over_gate *gate, unsigned loops);
void            gate_note_settled(struct hand_over_gate *gate);
enum gate_phase gate_park(struct hand_over_gate *gate);
enum gate_phase gate_park_writer(struct hand_over_gate *gate);

#endif
