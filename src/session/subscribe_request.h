/* subscribe_request.h - what a client wants to follow, and from where: the parameters of /v1/subscribe and /v1/ws, and
 * the body of POST /v1/subscribe.
 *
 * Last-Event-ID beats last_event_id=, which beats cursor=, which beats after= and last=. With channels named beside a
 * token only these are followed, from the token's place where it has one. A token of a set (codec/token/token.h) names
 * no channels: they come from channel=, else from the next token in that order. */
#ifndef SESSION_SUBSCRIBE_REQUEST_H
#define SESSION_SUBSCRIBE_REQUEST_H

#include "codec/token/session_token.h"
#include "device/row.h"
#include "hub/hub.h"
#include "message/user_name.h"
#include "session/session_worker.h"

enum { STREAM_CHANNELS_MAX = 512, SUBSCRIBE_BODY_BYTES_MAX = 1024 * 1024, SUBSCRIBE_FAULT_BYTES = 320 };

/* How the place of a channel was written. */
enum place_kind {
    PLACE_NOT_SAID,
    PLACE_BEHIND,   /* after=SEQ or last=N behind its channel= */
    PLACE_NAMED,    /* after=CHANNEL@SEQ or last=CHANNEL@N, or by a token */
};

struct subscribe_request {
    struct channel_name *name;      /* owns a reference */
    uint64_t             hash;      /* of the name, so that a search does not go through a thousand names */
    struct start         start;
    enum place_kind      place;
    bool                 needs_member; /* only a member may follow it, or be told who does: to be asked for */
    bool                 is_watched;   /* it is to be told who does */
    enum delivery_mode   mode;         /* of a command; else that of the link holds */
    uint32_t             listed_at; /* its place among the channel=s, from 1; 0: none names it */
};

struct subscribe_requests {
    struct subscribe_request *at;
    size_t                    count, cap;
    struct channel_name      *own;           /* conn:KEY of the key that the request brings; owns a reference. NULL:
                                              * it brings none */
    msec                      wait_ms;       /* of wait=; the default if it isn't said */
    bool                      is_raw;        /* the raw form of event streams is asked for */
    bool                      names_stay;    /* the same request with another Last-Event-ID names the same channels */
    enum delivery_mode        mode;
    bool                      wants_session;
    bool                      wants_presence; /* to be told which devices come and go */
    bool                      is_returning;  /* a token names the session: `generation`, `since` and device */
    uint64_t                  generation;
    msec                      since;
    char                      device[DEVICE_NAME_BYTES_MAX + 1];         /* "": not said */
    char                      device_class[DEVICE_CLASS_BYTES_MAX + 1];  /* … */
    struct token              named;         /* of a session's channels: the places that its token names */
    uint64_t                  set;           /* of a stream's tokens, once subscribe_check_stream_return() was asked;
                                              * 0: they name their channels */
    bool                      needs_member; /* of some of them */
    const char               *not_member;    /* the refusal then; static */
    unsigned                  fault_status;  /* 0: fine; else why not */
    char                      fault[SUBSCRIBE_FAULT_BYTES];
};

void subscribe_requests_init(struct subscribe_requests *requests);
void subscribe_requests_fini(struct subscribe_requests *requests);

/* Reads a request's query, Last-Event-ID and, if it is a POST, its body. False: fault_status and fault say why not:
 * malformed (400), no such namespace (404), not allowed (401 without a key, 403 with one), a body of another kind
 * (415). */
bool subscribe_requests_read(struct subscribe_requests *requests, struct session_worker *worker,
                             const struct http_request *request, const struct identity *identity);

/* One more by name, as a command asks for it; the same faults. */
bool subscribe_requests_add(struct subscribe_requests *requests, struct session_worker *worker, struct span channel,
                            struct start start, const struct identity *identity);
/* The caller wants to be told which devices follow this channel, too; the same faults, and 409: its namespace has no
 * presence. */
bool subscribe_requests_watch(struct subscribe_requests *requests, struct subscribe_request *request,
                              const struct identity *identity);
/* … those of the channels that have presence. 409: there are channels, and none has. */
bool subscribe_requests_watch_all(struct subscribe_requests *requests, const struct identity *identity);
/* The same for a channel that the application gave: one that is there already, or can't be followed, is passed over. */
void subscribe_requests_give(struct subscribe_requests *requests, struct session_worker *worker, struct span channel,
                             const struct identity *identity);
/* … for all that it gave. */
void subscribe_requests_give_all(struct subscribe_requests *requests, struct session_worker *worker,
                                 const struct identity *identity);
/* NULL: not there. */
struct subscribe_request *subscribe_requests_find(struct subscribe_requests *requests,
                                                  const struct session_worker *worker, struct span channel);

/* Do they name a place: of somebody who was here before? */
bool subscribe_requests_are_known(const struct subscribe_requests *requests);

/* Into the order of their names. */
void subscribe_requests_sort(struct subscribe_requests *requests);

/* Sets the fault; false, for the caller to return. */
bool subscribe_requests_fault(struct subscribe_requests *requests, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
