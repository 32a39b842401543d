/* message.h - This module is what the server delivers: messages, gaps, the names of channels, the policy of
 * namespaces. It refuses I/O and never asks for the time.
 *
 * A message is one immutable block, reference-counted across threads. Its body is copied once, when it comes in, and
 * never again. Until its store has numbered it, exactly one owner holds it and may write the numbers; from then on
 * nobody writes. */
#ifndef MESSAGE_MESSAGE_H
#define MESSAGE_MESSAGE_H

#include "message/channel_name.h"
#include "message/event_name.h"

enum message_kind {
    MESSAGE_PLAIN,
    MESSAGE_RECALL,    /* says that the message at `target` was recalled; no payload */
    MESSAGE_RECALLED,  /* what remains of a recalled message, at its own seq; no payload */
};

enum { MEDIA_BYTES_MAX = 255, FROM_BYTES_MAX = 200, COLLAPSE_KEY_BYTES_MAX = 64 };

struct message {
    struct ref           ref;
    uint8_t              kind;         /* enum message_kind */
    uint8_t              media_len;
    uint8_t              from_len;
    uint8_t              event_len;
    uint32_t             payload_len;
    uint8_t              collapse_len;
    bool                 waits_for_beat;  /* it need not wake a link: it leaves with the next beat, or with other bytes. Of
                                           * a live message; a store does not keep it */
    uint16_t             collapse_hash;   /* of its collapse key; 0 without one */
    struct channel_name *channel;      /* owns a reference */
    uint64_t             epoch;
    uint64_t             seq;          /* dense in its channel, from 1; 0: not numbered yet */
    uint64_t             id;
    uint64_t             target;       /* RECALL: the seq that it recalls; RECALLED: the seq of its recall */
    msec                 time;         /* wall clock, when it was accepted */
    msec                 expires_at;   /* wall clock; 0: no lifetime of its own */
    char                 bytes[];      /* payload, media, from, event, collapse key */
};

/* The caller owns one reference. `payload` may be NULL: then the caller writes payload_len bytes at ->bytes before
 * it hands the message on. Lengths must keep the bounds above. The message takes a reference to the name. */
struct message *message_new(struct channel_name *channel, enum message_kind kind, const char *payload,
                            uint32_t payload_len, struct span media, struct span from);

/* The same with the name of its event; empty: none. */
struct message *message_new_event(struct channel_name *channel, enum message_kind kind, const char *payload,
                                  uint32_t payload_len, struct span media, struct span from, struct span event);

/* What a publisher may say of a message beside its media type; all of it may be empty. */
struct message_tags {
    struct span event;
    struct span collapse_key;  /* a later message with the same one replaces it, for readers that have had neither */
    bool        waits_for_beat;
};
struct message *message_new_tagged(struct channel_name *channel, enum message_kind kind, const char *payload,
                                   uint32_t payload_len, struct span media, struct span from,
                                   const struct message_tags *tags);

static inline struct message *message_ref(struct message *message)
{
    ref_get(&message->ref);
    return message;
}

void message_unref(struct message *message);  /* NULL is fine */

/* What remains of `message` after the message `recall` has recalled it: its numbers and its expiry without its
 * payload, and the recall's seq in `target`. The caller owns the result. */
struct message *message_recalled(const struct message *message, const struct message *recall);

static inline struct span message_payload(const struct message *message)
{
    return (struct span){ message->bytes, message->payload_len };
}

static inline struct span message_media(const struct message *message)
{
    return (struct span){ message->bytes + message->payload_len, message->media_len };
}

static inline struct span message_from(const struct message *message)
{
    return (struct span){ message->bytes + message->payload_len + message->media_len, message->from_len };
}

static inline struct span message_event(const struct message *message)
{
    return (struct span){ message->bytes + message->payload_len + message->media_len + message->from_len,
                          message->event_len };
}

static inline struct span message_collapse_key(const struct message *message)
{
    struct span event = message_event(message);
    return (struct span){ event.at + event.len, message->collapse_len };
}

/* Has it a collapse key, and is it that of the other one? */
static inline bool message_collapses_with(const struct message *message, const struct message *other)
{
    return message->collapse_len > 0 && message->collapse_hash == other->collapse_hash &&
           span_eq(message_collapse_key(message), message_collapse_key(other));
}

static inline bool message_is_expired(const struct message *message, msec wall)
{
    return message->expires_at != 0 && message->expires_at <= wall;
}

/* The memory that it takes, for bounds. */
static inline size_t message_size(const struct message *message)
{
    return sizeof *message + message->payload_len + message->media_len + message->from_len +
           message->event_len + message->collapse_len;
}

/* Why a reader does not get what it asked for. */
enum gap_why {
    GAP_EXPIRED,  /* its time to live is over */
    GAP_TRIMMED,  /* retention has removed it */
    GAP_EPOCH,    /* the log was lost or reset: old seqs mean nothing */
    GAP_AHEAD,    /* the reader asked for what was never written */
    GAP_CORRUPT,  /* a checksum is wrong */
    GAP_COLLAPSED,  /* a later message with the same collapse key replaces it */
};

const char *gap_why_text(enum gap_why why);

/* Is its time over, by its own lifetime or by what its namespace keeps? Then no reader may get it any more, even
 * where it is still stored. *ret_why is written only if so. */
static inline bool message_is_past(const struct message *message, msec wall, enum gap_why *ret_why)
{
    msec keep_ms = message->channel->space->keep_ms;

    if (message_is_expired(message, wall))
        *ret_why = GAP_EXPIRED;
    else if (keep_ms != 0 && wall - message->time >= keep_ms)
        *ret_why = GAP_TRIMMED;
    else
        return false;
    return true;
}

/* Both ends included. */
struct gap {
    uint64_t     from, to;
    enum gap_why why;
};

/* One place of a log, as a reader meets it: a message, or the gap where messages were. */
struct entry {
    struct message *message;  /* NULL: a gap */
    struct gap      gap;
};

/* The last seq that the entry covers. After a gap of GAP_AHEAD a reader goes on at gap.from, which is head + 1. */
static inline uint64_t entry_last(const struct entry *entry)
{
    return entry->message != NULL ? entry->message->seq : entry->gap.to;
}

#endif
