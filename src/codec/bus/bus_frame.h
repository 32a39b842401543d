/* bus_frame.h - what nodes of a cluster send each other: bytes <-> items. Pure; both directions are here, so that laws can
 * hold one against the other.
 *
 *     frame     version(1) · text: the sender's name · its incarnation(8) · the receiver's incarnation(8) · number · items
 *     item      kind(1) · length of the body · body
 *
 *     MESSAGE   text: channel · epoch(8) · seq · length of the fields · fields · payload: the rest
 *     fields    kind(1) · flags(1) · id · time · expires_at · target · text: media · text: from · text: event ·
 *               text: collapse key · what later versions add
 *     HEAD      text: channel · epoch(8) · head
 *     PURGE     as HEAD
 *     QUESTION  text: channel, or empty · number of the question · topic(1) · flags(1) · offset · the topic's own body: the rest
 *     ANSWER    number of the question · flags(1) · offset · the topic's own body: the rest
 *     NOTICE    as QUESTION
 *     BEAT      nothing
 *     TOLD      life(8) · flags(1)
 *
 * Numbers are varints: seven bits a byte, lowest first, the shortest form only. A text is its length and its bytes. Numbers
 * with a width are big-endian. Of the flags of TOLD, 1 says that it was all. `kind` of a message is enum message_kind; of its flags, 1 is waits_for_beat, and others are
 * ignored. Of a question, an answer or a notice, 1 says that more of the body follows in a later item of the same number,
 * and `offset` where in the body this part begins.
 *
 * A frame holds many items. So that neighbouring releases understand each other, a receiver skips kinds of items that it does not
 * know, and what stands behind the fields that it knows of a message (threat 44). Another order of the fields is another
 * version. Nothing is allocated because a length says so: a length beyond the bytes that are there is malformed. */
#ifndef CODEC_BUS_BUS_FRAME_H
#define CODEC_BUS_BUS_FRAME_H

#include "base/buf.h"
#include "message/message.h"

enum { BUS_VERSION = 1, BUS_FRAME_BYTES_MAX = 8 << 20, BUS_NODE_NAME_MAX = 64,
       BUS_CHANNEL_BYTES_MAX = 233 /* a namespace of 32, the colon, a name of 200 */ };

enum bus_item_kind {
    BUS_MESSAGE  = 1,  /* a committed message, whole */
    BUS_HEAD     = 2,  /* this log has a new head; the message does not come */
    BUS_QUESTION = 3,
    BUS_ANSWER   = 4,
    BUS_NOTICE   = 5,  /* as a question, but nobody waits for an answer */
    BUS_BEAT     = 6,  /* nothing: only the frame's number matters */
    BUS_PURGE    = 7,  /* all of this log up to its head is gone */
    BUS_TOLD     = 8,  /* since the engine has this life, you were told what its look-ups may not have found for you */
};

struct bus_header {
    struct span name;         /* of the sender */
    uint64_t    incarnation;  /* its */
    uint64_t    receiver;     /* the incarnation that it is meant for */
    uint64_t    number;       /* route/bus_links.h */
};

/* One item; spans are borrowed from the frame. */
struct bus_item {
    enum bus_item_kind kind;
    struct span        channel;    /* MESSAGE, HEAD, PURGE; QUESTION and NOTICE: empty where they are about none */
    uint64_t           epoch, seq; /* MESSAGE; HEAD, PURGE: seq is the head */
    uint64_t           question;   /* QUESTION, ANSWER, NOTICE: the asker's number of it */
    uint8_t            topic;      /* QUESTION, NOTICE: node/peer_question.h */
    uint64_t           offset;     /* … where in the whole body this part begins */
    bool               has_more;   /* … further parts follow */
    uint64_t           life;       /* TOLD: engine.h */
    bool               is_all;     /* … and nothing was left out */
    struct span        body;       /* QUESTION, ANSWER, NOTICE: the topic's own, or a part of it. MESSAGE: what bus_message_get() reads */
};

void bus_header_put(struct buf *buf, const struct bus_header *header);
void bus_item_put(struct buf *buf, const struct bus_item *item);  /* all kinds but MESSAGE */
void bus_message_put(struct buf *buf, const struct message *message);

/* Takes the header off *frame. False: it is malformed, or of a version that is not understood. */
bool bus_header_get(struct span *frame, struct bus_header *ret);
/* Takes the next item off *frame. False with an empty *frame: it was the last; else what is left is malformed. */
bool bus_item_get(struct span *frame, struct bus_item *ret);
/* The message of an item, numbered. The name was looked up by the caller from item.channel. NULL: malformed, or of a kind that
 * this program does not know; then item.epoch and item.seq still say where the log's head is at least. */
struct message *bus_message_get(const struct bus_item *item, struct channel_name *channel);

#endif
