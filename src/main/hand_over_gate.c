#include "main/hand_over_gate.h"

#include <errno.h>
#include <time.h>

void gate_init(struct hand_over_gate *gate)
{
    pthread_condattr_t attributes;

    *gate = (struct hand_over_gate){ 0 };
    pthread_mutex_init(&gate->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&gate->moved, &attributes);
    pthread_condattr_destroy(&attributes);
}

void gate_fini(struct hand_over_gate *gate)
{
    pthread_cond_destroy(&gate->moved);
    pthread_mutex_destroy(&gate->lock);
}

/* --- main -------------------------------------------------------------------------------------------------------- */

void gate_hold(struct hand_over_gate *gate, msec answer_by, msec settle_by)
{
    pthread_mutex_lock(&gate->lock);
    gate->answer_by = answer_by;
    gate->settle_by = settle_by;
    gate->settled = gate->parked = 0;
    gate->is_writer_parked       = false;
    counter_set(&gate->phase, GATE_HOLD);
    pthread_cond_broadcast(&gate->moved);
    pthread_mutex_unlock(&gate->lock);
}

void gate_move(struct hand_over_gate *gate, enum gate_phase phase)
{
    pthread_mutex_lock(&gate->lock);
    counter_set(&gate->phase, phase);
    pthread_cond_broadcast(&gate->moved);
    pthread_mutex_unlock(&gate->lock);
}

/* False: it is time. The lock is held. */
static bool gate_wait(struct hand_over_gate *gate, msec by)
{
    const struct timespec at = { .tv_sec = by / 1000, .tv_nsec = by % 1000 * 1000000 };

    return pthread_cond_timedwait(&gate->moved, &gate->lock, &at) != ETIMEDOUT;
}

static bool gate_await(struct hand_over_gate *gate, const unsigned *count, unsigned wanted, msec by)
{
    pthread_mutex_lock(&gate->lock);
    while (*count < wanted && gate_wait(gate, by))
        continue;
    bool is_there = *count >= wanted;
    pthread_mutex_unlock(&gate->lock);
    return is_there;
}

bool gate_await_settled(struct hand_over_gate *gate, unsigned loops, msec by)
{
    return gate_await(gate, &gate->settled, loops, by);
}

bool gate_await_parked(struct hand_over_gate *gate, unsigned loops, msec by)
{
    return gate_await(gate, &gate->parked, loops, by);
}

bool gate_await_writer(struct hand_over_gate *gate, msec by)
{
    pthread_mutex_lock(&gate->lock);
    while (!gate->is_writer_parked && gate_wait(gate, by))
        continue;
    bool is_there = gate->is_writer_parked;
    pthread_mutex_unlock(&gate->lock);
    return is_there;
}

/* --- the others -------------------------------------------------------------------------------------------------- */

static msec gate_time(struct hand_over_gate *gate, const msec *at)
{
    pthread_mutex_lock(&gate->lock);
    msec time = *at;
    pthread_mutex_unlock(&gate->lock);
    return time;
}

msec gate_answer_by(struct hand_over_gate *gate)
{
    return gate_time(gate, &gate->answer_by);
}

msec gate_settle_by(struct hand_over_gate *gate)
{
    return gate_time(gate, &gate->settle_by);
}

bool gate_loops_are_parked(struct hand_over_gate *gate, unsigned loops)
{
    pthread_mutex_lock(&gate->lock);
    bool are_parked = gate->parked >= loops;
    pthread_mutex_unlock(&gate->lock);
    return are_parked;
}

void gate_note_settled(struct hand_over_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->settled++;
    pthread_cond_broadcast(&gate->moved);
    pthread_mutex_unlock(&gate->lock);
}

/* The lock is held. */
static enum gate_phase gate_stand_still(struct hand_over_gate *gate)
{
    pthread_cond_broadcast(&gate->moved);
    while (gate_phase(gate) == GATE_PARK)
        pthread_cond_wait(&gate->moved, &gate->lock);
    enum gate_phase phase = gate_phase(gate);
    pthread_mutex_unlock(&gate->lock);
    return phase;
}

enum gate_phase gate_park(struct hand_over_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    if (gate_phase(gate) == GATE_PARK)
        gate->parked++;
    return gate_stand_still(gate);
}

/* When the server goes away, the writer does not go on: what it holds is the other process's by now. */
enum gate_phase gate_park_writer(struct hand_over_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    if (gate_phase(gate) == GATE_PARK)
        gate->is_writer_parked = true;
    pthread_cond_broadcast(&gate->moved);
    while (gate_phase(gate) == GATE_PARK || gate_phase(gate) == GATE_LEAVE)
        pthread_cond_wait(&gate->moved, &gate->lock);
    enum gate_phase phase = gate_phase(gate);
    pthread_mutex_unlock(&gate->lock);
    return phase;
}
