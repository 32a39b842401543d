/* peers.h - what API calls ask of other nodes, and what they are told; private to this module.
 *
 * A call first looks at its own node, then asks the others, and puts the answers together (docs/decisions/0081). Where a node
 * that was asked has not answered, the answer says `"incomplete":true`; where that could be wrong, it is 503.
 *
 *     topic               question                                    answer
 *     PEER_COUNT          text: channel                               number of subscribers
 *     PEER_LISTING        count · texts: channels                     that many numbers of subscribers
 *     PEER_CONNECTION     key · whether to cut it off                 nothing if it is not there; else user · device · transport ·
 *                                                                     address · since · channels
 *     PEER_USERS          1 · user                                    count · { device · generation · key · since · seen · transport }
 *                         2 · count · users                           for each user: count · marks of its devices
 *     PEER_SUBSCRIBERS    channel · node · place · limit              count of the set · are there more · count · { user · device ·
 *                                                                     transport · since · place }
 *     PEER_DEVICES        channel, or empty · count · { user · device }   count · { index · generation · transport · key · seen ·
 *                                                                     flags · epoch · seen place }
 *     PEER_REVOCATION     kind · name · second · seq                  number of links that were cut
 *     PEER_DRAIN          per_second · seconds                        1
 *     PEER_FORWARDERS     nothing                                     text: JSON objects, with commas between
 *
 * Bodies are those of codec/bus/bus_body.h; `·` stands between numbers and texts. */
#ifndef API_PEERS_H
#define API_PEERS_H

#include "api/call.h"
#include "codec/bus/bus_body.h"
#include "node/connection_command.h"
#include "node/peer_question.h"

/* Is this node in a cluster? If not, nobody needs to be asked. */
bool api_has_peers(const struct api *api);

/* A question with its body begun; `owner` gets it back, on this loop, by answered(). */
struct peer_question *peers_question_new(enum peer_topic topic, void *owner,
                                         void (*answered)(struct peer_question *question));

/* Did some node that was to be asked not answer, so that it may know more? */
bool peers_are_incomplete(const struct peer_question *question);
/* `,"incomplete":true`, if so. */
void put_incomplete(struct buf *buf, bool is_incomplete);

/* The body of an answer, opened. False: it can't be read, and is as if it had not come. */
bool peer_answer_open(const struct peer_answer *answer, struct span *ret);

/* --- answering others: the API is call->server ----------------------------------------------------------------------- */

/* Gives a call back, with the answer that was put. */
void peer_call_done(struct peer_call *call);
/* … or without one: its body can't be read. */
void peer_call_unreadable(struct peer_call *call);

/* Handlers. The body is open; each takes the call. */
void serve_peer_count(struct api *api, struct peer_call *call, struct span body);
void serve_peer_listing(struct api *api, struct peer_call *call, struct span body);
void serve_peer_connection(struct api *api, struct peer_call *call, struct span body);
void serve_peer_users(struct api *api, struct peer_call *call, struct span body);
void serve_peer_subscribers(struct api *api, struct peer_call *call, struct span body);
void serve_peer_devices(struct api *api, struct peer_call *call, struct span body);
void serve_peer_revocation(struct api *api, struct peer_call *call, struct span body);
void serve_peer_drain(struct api *api, struct peer_call *call, struct span body);
void serve_peer_forwarders(struct api *api, struct peer_call *call, struct span body);

/* The name of a transport as it came, as a text that stays. */
const char *peer_transport(struct span name);

/* --- a connection, on whatever node (connection.c) --------------------------------------------------------------------- */

struct found_connection {
    enum { CONNECTION_FOUND, CONNECTION_NOT_THERE, CONNECTION_UNKNOWN /* its node does not answer */ } outcome;
    const struct connection_command *facts;  /* FOUND */
    const char                      *node;
};

/* found() is called once, in a later turn. */
void api_find_connection(struct api *api, uint64_t key, bool is_cut, void *owner,
                         void (*found)(void *owner, const struct found_connection *found));

/* --- PEER_USERS asks one of two things (user.c, presence_users.c) ------------------------------------------------------- */
enum { PEER_USER_DEVICES = 1, PEER_USERS_PRESENT = 2 };
void serve_peer_presence(struct api *api, struct peer_call *call, struct span body);

/* --- how devices are on other nodes (peer_devices.c) -------------------------------------------------------------------- */

struct device_facts;

/* Of other nodes; asked for some of `facts`. */
struct far_devices {
    struct device_facts **facts;     /* owned; what is known of them is added to what they point at */
    char                (*nodes)[65];/* owned; of each, the node by which it is there; empty: this one, or none */
    size_t                count;
    bool                  is_incomplete;
    void                (*told)(struct far_devices *far);  /* takes it */
    void                 *owner;
};

/* None of the devices `at` may be asked for: then told() is called at once. A device that is there by way of this node is not asked
 * for. `channel`: NULL if only that matters. */
void api_ask_devices(struct api *api, struct channel_name *channel, struct device_facts **facts, size_t count, void *owner,
                     void (*told)(struct far_devices *far));
void far_devices_free(struct far_devices *far);

#endif
