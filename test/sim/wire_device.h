/* wire_device.h - what a wire_node has when its users have devices: sessions, members, tickets, revocations. Wired as
 * src/main wires them (writer_thread.c, worker.c, worker_ports.c), without threads and files. */
#ifndef SIM_WIRE_DEVICE_H
#define SIM_WIRE_DEVICE_H

#include "auth/revocations.h"
#include "device/devices.h"
#include "device/membership.h"
#include "main/control.h"
#include "wire_node.h"

/* On one loop. */
struct loop_devices {
    struct revocations revoked;
    struct control     control;
};

struct wire_devices {
    struct wire_node   *node;
    struct sim_beside   beside;
    struct sim_beside  *cluster;        /* beside them; NULL: the node is alone */
    struct devices      devices;
    struct memberships  memberships;
    struct revocations  revoked;        /* as the rows said when the node began */
    struct start        control_start;
    struct loop_devices loops[LOOPS_SIM_MAX];
};

/* Reads what is revoked, and stands beside the writer from now on. */
struct wire_devices *wire_devices_new(struct wire_node *node);
/* After the sim_node is freed. */
void wire_devices_free(struct wire_devices *devices);

/* Before the sessions of the loop are set up, before its API is, and then. */
void wire_devices_lend_sessions(struct wire_devices *devices, struct wire_loop *loop);
void wire_devices_lend_api(struct wire_devices *devices, struct wire_loop *loop);
void wire_devices_follow(struct wire_devices *devices, struct wire_loop *loop);
/* The loop does not follow sys:control any more; it ends. */
void wire_devices_unfollow(struct wire_devices *devices, struct wire_loop *loop);
void wire_devices_leave(struct wire_devices *devices, struct wire_loop *loop);

/* Is it the subscription to sys:control? */
bool wire_devices_take_ready(struct wire_devices *devices, struct wire_loop *loop, const struct subscription *sub);
void wire_devices_turn(struct wire_devices *devices, struct wire_loop *loop);

/* api_port.revoke: on all loops at once. They learn of it from sys:control, too, each when it comes to that. */
void wire_devices_revoke(struct wire_devices *devices, const struct revocation *revocation, uint64_t seq,
                         void (*answered)(void *owner, uint64_t cut), void *owner);

/* Is nothing under way in the store? */
bool wire_devices_are_idle(const struct wire_devices *devices);

#endif
