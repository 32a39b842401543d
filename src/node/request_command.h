/* request_command.h - a request of a client to a back end (uplink), on its way between a loop and the writer.
 *
 *     loop ──request──▶ writer ──▶ uplink (node/uplink_port.h): is the id new? makes it durable, then calls the back end
 *          ◀─accepted──                                         the answer is a message of the device's log, or of conn:KEY
 *
 * The loop has checked all that it can by itself: route, rights, size (publish/request_check.h makes the command). What the
 * uplink decides is whether the id was used before. The answer to the request is not in this command: it comes by the log that
 * the device follows, so that it survives the link and this node. Only who asks with `wait_ms` gets it here, too. */
#ifndef NODE_REQUEST_COMMAND_H
#define NODE_REQUEST_COMMAND_H

#include "node/command.h"

enum {
    REQUEST_ID_BYTES_MAX      = 128,   /* UTF-8 without control characters */
    REQUEST_TARGET_BYTES_MAX  = 8192,  /* path and query */
    REQUEST_HEADERS_MAX       = 32,    /* header fields that are passed on */
    REQUEST_HEADERS_BYTES_MAX = 8192,  /* of their names and values */
    REQUEST_TIMEOUT_MS_MAX    = 600000,
    REQUEST_KEPT_BODY_MAX     = 2 * 1024 * 1024,  /* body of a request that is kept until it was answered (at_least_once) */
};

enum request_way {
    REQUEST_SEND,
    REQUEST_CANCEL,    /* aborts the call with this id, if it is under way; never answered with a refusal */
};

enum request_outcome {
    REQUEST_ACCEPTED,   /* durable, and the back end is called, or is being called already */
    REQUEST_ANSWERED,   /* with wait_ms: `answer` is the response */
    REQUEST_REPLAYED,   /* it was answered before: `answer` is the message, to be sent as a replay, which is never a place */
    REQUEST_CONFLICT,   /* 422: the id was used with another request */
    REQUEST_GONE,       /* 410: it was answered, and the answer is no longer kept */
    REQUEST_NO_SPACE,   /* 507 */
    REQUEST_BUSY,       /* 429: too many requests are under way */
    REQUEST_TOO_OFTEN,  /* 429: the user has sent as many as requests_per_user_per_s allows; the id isn't used up */
    REQUEST_AWAY,       /* 503: the ledger can't be asked, or nobody knows whether it was written; the same id settles it */
    REQUEST_DROPPED,    /* REQUEST_CANCEL: there was nothing to cancel */
    REQUEST_OUTCOME_COUNT
};

struct request_field { struct span name, value; };

struct request_command {
    struct command        command;
    enum request_way      way;
    /* The question. The spans lie in `words`. */
    struct span           user, device;    /* device empty: the link's name was made up for it; the answer goes to conn:KEY */
    uint64_t              key;             /* of the connection; 0: POST /v1/request, which has none */
    struct span           id;
    struct span           backend;         /* of the route */
    bool                  is_at_least_once;
    struct span           method, target;  /* upper case; path and query as they came */
    const struct request_field *fields;    /* those that the route passes on, and Content-Type */
    size_t                field_count;
    struct span           body;
    struct span           address;         /* of the client, for X-Forwarded-For; empty: not known */
    struct span           traceparent;     /* the client's, if it is well-formed; empty: one is made */
    msec                  timeout_ms;      /* what the client asks for; 0: the back end's setting */
    msec                  wait_ms;         /* the asker waits so long for the answer, or until the node stops; 0: not at all */
    uint8_t               hash[16];        /* of method, target, fields and body: the same request? The loop makes it */

    enum request_outcome  outcome;
    struct channel_name  *channel;         /* owns a reference: where the answer comes; the loop names it */
    struct message       *answer;          /* ANSWERED, REPLAYED: owns a reference */
    void                (*answered)(struct request_command *command);  /* on the loop; takes it */
    void                 *owner;           /* who gets the answer; NULL once it is gone. answered() is called all the same */
    struct list           link;            /* the uplink's */
    void                 *work;            /* … */
    _Alignas(struct request_field) char words[];
};

extern const struct command_kind request_kind;  /* loop, writer, loop */

/* A command with memory for so many fields and bytes of text, which the caller fills in. */
struct request_command *request_command_new(enum request_way way, size_t field_count, size_t text_bytes);
/* Cancels the request `id` of the device, or of the connection if `device` is empty. Copies the texts, shares the name. */
struct request_command *request_cancel_new(struct channel_name *channel, struct span user, struct span device, uint64_t key,
                                           struct span id);

/* command->answered() is called with it, never at once. Takes it. */
void shard_request(struct shard *shard, struct request_command *command);

#endif
