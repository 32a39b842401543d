/* publish_check.h - This module judges what is to be published, the same for HTTP, batches and WebSockets: may the
 * caller publish in the channel, is the payload short enough, is it JSON if it says so? It refuses to know how it came
 * in. */
#ifndef PUBLISH_PUBLISH_CHECK_H
#define PUBLISH_PUBLISH_CHECK_H

#include "auth/may.h"
#include "base/buf.h"
#include "codec/json/json.h"
#include "node/shard.h"

enum { PUBLISH_KEY_BYTES_MAX = 255, PUBLISH_TTL_S_MAX = 10 * 366 * 24 * 3600, PUBLISH_WHY_BYTES = JSON_FAULT_BYTES };

/* What is to be published. All of it is borrowed. */
struct publish_request {
    struct channel_name   *name;
    struct span            payload;
    /* empty, or that of a form: text/plain is taken if the payload is UTF-8, else application/octet-stream */
    struct span            media;
    struct span            key;       /* Idempotency-Key; empty: none */
    bool                   has_ttl;
    uint64_t               ttl_s;
    msec                   wall;
    const struct identity *identity;
    struct span            event;     /* its name; empty: none */
    struct span            collapse_key;  /* empty: none */
    struct span            priority;      /* now or beat; empty: now */
};

/* Status 0: *ret_message is the message; the caller owns it. Else the HTTP status of the refusal, and why: `reason` may
 * stand in `scratch`. Status 0 with needs_member: the message may be published by a member alone, see
 * device/member_publish.h. A byte order mark before a payload that is declared JSON is left out of the message. */
struct verdict publish_check(const struct publish_request *request, char scratch[PUBLISH_WHY_BYTES],
                             struct message **ret_message);

/* How a publish ended, for the caller. NULL: it succeeded, *ret_status is 201 or 200. Else why not, and its HTTP
 * status. */
const char *publish_explain(enum publish_outcome outcome, unsigned *ret_status);

/* The same for a publish that this loop has sent: a refusal for want of the store names its engine. Borrowed as
 * shard_engine_text() says. */
const char *publish_explain_sent(struct shard *shard, const struct publish_command *command, unsigned *ret_status);

/* Puts the members "channel", "epoch", "seq", "id" and "time" of an answer; the braces and further members are the
 * caller's. */
void publish_put_receipt(struct buf *buf, const struct channel_name *name, const struct append_answer *answer);

#endif
