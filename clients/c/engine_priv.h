/* engine_priv.h - what the files of the engine share. */
#ifndef CLIENT_ENGINE_PRIV_H
#define CLIENT_ENGINE_PRIV_H

#include "engine.h"

/* Whose answer it is stands in the lowest bits of a ref. */
enum ref_kind { REF_PUBLISH, REF_SUBSCRIBE, REF_UNSUBSCRIBE, REF_CONNECT, REF_OTHER, REF_REQUEST, REF_KIND_COUNT };

uint64_t engine_ref(struct engine *engine, enum ref_kind kind);

static inline bool engine_may_acknowledge(const struct engine *engine)
{
    return engine->has_session && !engine->is_unfenced;
}

/* --- engine.c: states --- */
void engine_fail(struct engine *engine, unsigned code, struct span reason, msec now);  /* the link can't go on */
void engine_end_for_good(struct engine *engine, unsigned code, struct span reason);
void engine_note_end(struct engine *engine, unsigned code, struct span reason);        /* what the server said */
void engine_set_token(struct engine *engine, const char *token);
void engine_set_ticket(struct engine *engine, struct span ticket);                     /* empty: forget it */
void engine_tell_state(struct engine *engine, struct lw_status status);

/* --- engine_allocate.c: asking where to connect, before a link --- */
bool engine_begin_asking(struct engine *engine);            /* false: there is nobody to ask, or it has been asked */
void engine_ask(struct engine *engine, msec now);           /* the link to the router is open */
void engine_take_allocation(struct engine *engine, struct span bytes, msec now);
void engine_end_asking(struct engine *engine, msec now);    /* that link has ended, or it took too long */

/* --- engine_in.c: what the server sends. False: the link has ended --- */
bool engine_on_frame(struct engine *engine, struct bin_frame *frame, msec now);

/* --- engine_tell.c: messages and gaps --- */
bool engine_on_message(struct engine *engine, struct bin_frame *frame, msec now);
bool engine_on_gap(struct engine *engine, struct bin_frame *frame, msec now);

/* --- engine_out.c: frames to the server; they only append to `out` --- */
void engine_put_connect(struct engine *engine);
void engine_put_token(struct engine *engine);
void engine_put_subscribe(struct engine *engine, struct followed *followed);
/* The channels that wait for follow_pace, as far as it allows. */
void engine_put_follows(struct engine *engine, msec now);
void engine_put_unsubscribe(struct engine *engine, struct followed *followed);
void engine_put_publishes(struct engine *engine, msec now);
void engine_put_acks(struct engine *engine, msec now);
void engine_put_read(struct engine *engine, struct span channel, uint64_t seq);
void engine_put_heartbeat(struct engine *engine, msec now);
void engine_put_pong(struct engine *engine);
void engine_put_places_wanted(struct engine *engine);
/* Of a channel that this client knows nothing of. */
void engine_put_leave(struct engine *engine, struct span channel);

/* --- engine_compare.c: places are compared with the server's --- */
void engine_set_digest(struct engine *engine, struct bin_frame *ping);
bool engine_on_pong(struct engine *engine, const struct bin_frame *frame, msec now);

/* --- engine_publish.c: their answers --- */
void engine_published(struct engine *engine, struct outgoing *outgoing, const struct lw_published *answer);
void engine_on_published(struct engine *engine, const struct bin_frame *frame);
void engine_on_publish_error(struct engine *engine, const struct bin_frame *frame, msec now);

/* --- engine_request.c --- */
void engine_put_requests(struct engine *engine, msec now);
void engine_end_late_requests(struct engine *engine, msec now);
msec engine_request_deadline(const struct engine *engine);  /* INT64_MAX: none */
void engine_requests_lost(struct engine *engine);           /* with the link */
void engine_order_request(struct engine *engine, struct order *order, msec now);
void engine_order_cancel(struct engine *engine, const struct order *order);
void engine_on_accepted(struct engine *engine, const struct bin_frame *frame);
void engine_on_request_error(struct engine *engine, const struct bin_frame *frame, msec now);
/* A control message `response`. True: it was told to whoever asked. */
bool engine_on_response(struct engine *engine, const struct bin_frame *frame);

/* --- engine_follow.c: subscriptions --- */
void engine_follow_all(struct engine *engine);  /* after `connected`: asks for what is not followed on this link */
void engine_on_subscribed(struct engine *engine, const struct bin_frame *frame);
void engine_on_unsubscribed(struct engine *engine, const struct bin_frame *frame);
void engine_on_subscribe_error(struct engine *engine, const struct bin_frame *frame, msec now);
void engine_on_unsubscribe_error(struct engine *engine, const struct bin_frame *frame);
void engine_order_subscribe(struct engine *engine, const struct order *order);
void engine_order_unsubscribe(struct engine *engine, const struct order *order);
void engine_order_snapshot_taken(struct engine *engine, const struct order *order);
/* Stops telling, and asks the application for its state; because of this gap, or NULL: at first. */
void engine_want_snapshot(struct engine *engine, struct followed *followed, const struct lw_gap *lost);

#endif
