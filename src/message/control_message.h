/* control_message.h - messages by which the server itself speaks in a log: who joined a group, what a user has read.
 * Pure.
 *
 * A control message is a message like any other: it has its seq, is stored, delivered, resumed and acknowledged. Its
 * media type is `application/vnd.longwire.TYPE+json` and its payload one JSON object. Where a message is written as
 * JSON, TYPE is the object's `type`, and the payload's members stand beside channel, epoch, seq, id and time. So no
 * member of a payload has one of these names.
 *
 * Media types that begin like this are the server's own: nobody else may publish them (publish/publish_check.h), so
 * that what such a message says can be believed. */
#ifndef MESSAGE_CONTROL_MESSAGE_H
#define MESSAGE_CONTROL_MESSAGE_H

#include "base/buf.h"
#include "message/message.h"

/* Is it the media type of a control message, or another one of the server's own, in any case and with any
 * parameters? */
bool control_media_is_reserved(struct span media);

/* TYPE, borrowed from the message; empty: it is no control message. */
struct span control_message_type(const struct message *message);

/* The members of its payload: what stands between the braces. It is a control message. */
struct span control_message_members(const struct message *message);

/* A new control message in this channel; the caller owns it and sets its time. `type`: lower-case letters; `object`:
 * a JSON object that begins with `{` and ends with `}`. */
struct message *control_message_new(struct channel_name *channel, struct span type, struct span object,
                                    struct span from);

/* For makers of objects: a JSON string with its quotes, of UTF-8 without control characters, such as names are; and the
 * member "place", a place in another channel: {"epoch","seq"}. */
void control_put_string(struct buf *buf, struct span text);
void control_put_place(struct buf *buf, uint64_t epoch, uint64_t seq);

#endif
