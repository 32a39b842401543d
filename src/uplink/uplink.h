/* uplink.h - This module carries what clients send upward to ordinary HTTP servers, and brings the answers back. It refuses to
 * know sessions and frames: a request comes as a command, its answer is a message of the device's log.
 *
 *     requests.h    requests of clients: ids, rows, responses
 *     forwarder.h   messages that are carried to a back end, events to webhooks
 *     backend.h     addresses of a back end, their health, what waits for them
 *
 * It is owned beside the writer and runs on its thread. Pure: calls leave by a port. */
#ifndef UPLINK_UPLINK_H
#define UPLINK_UPLINK_H

#include "node/uplink_port.h"
#include "uplink/forwarder.h"
#include "uplink/requests.h"

struct peer_call;
struct shard;

struct uplink {
    struct requests   requests;
    struct forwarders forwarders;
};

/* For the writer (writer.uplink); ctx is the uplink. */
extern const struct uplink_port uplink_port;

void uplink_init(struct uplink *uplink, const struct requests_setup *setup, const struct requests_limits *limits,
                 const struct forwarders_setup *forwarders);
void uplink_fini(struct uplink *uplink);  /* nothing is under way; a zeroed uplink is fine */

/* Monotonic time of this turn. */
void uplink_turn_begin(struct uplink *uplink, msec now);
/* The node begins to stop: nobody waits for a response any more. */
void uplink_hurry(struct uplink *uplink);
/* Another process is about to take the node's place: what is under way comes to its end, and nothing begins by itself. */
void uplink_hold(struct uplink *uplink, bool is_holding);
/* Calls to back ends under way. Any thread. */
uint64_t uplink_calls(const struct uplink *uplink);
/* All loops have left. */
void uplink_stop(struct uplink *uplink);

/* Another node says that a log was written which this one carries (PEER_FORWARD), or that a client cancels a request with which this
 * one calls (PEER_CANCEL). From a loop; takes the call. */
void uplink_serve_hint(struct shard *shard, struct peer_call *call);

#endif
