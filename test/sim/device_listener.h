/* device_listener.h - users who follow groups by links without a session, in roam_sim: such a link does not read its user's log,
 * so it learns of a leave by a notice, and between nodes by a question that is asked now and then (session/member_check.h).
 *
 * What must hold: it gets nothing of the group that was published after its user had left, but for the time that the notice, or that
 * question, may take. That it misses nothing is not looked at: it has no place to come back to. */
#ifndef SIM_DEVICE_LISTENER_H
#define SIM_DEVICE_LISTENER_H

#include "device_world.h"
#include "wire_client.h"

struct listeners;

/* None in most worlds. */
struct listeners *listeners_new(struct device_world *all);
void              listeners_free(struct listeners *listeners);
void              listeners_turn(struct listeners *listeners);
void              listeners_cut(struct listeners *listeners, struct loop_range range);  /* their node is gone */
void              listeners_leave(struct listeners *listeners);

#endif
