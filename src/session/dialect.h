/* dialect.h - a port: how commands are read from one wire, and events and gaps written to it. Makers: json_dialect.c,
 * bin_dialect.c. (MQTT will be a further one.)
 *
 * A dialect knows nothing of framing: what comes in is one whole frame, what goes out is framed by the transport
 * (ws_session.c puts it into a WebSocket message). It holds nothing of one link, so that the frame of a message stays
 * the same for all readers of an encoding.
 *
 * What a dialect that shortens channel names must do to keep that: an alias belongs to a channel and a loop, never to a
 * link. Each loop numbers the channels that are followed on it, and a link is told "alias N is channel C" before the
 * first frame that carries N. Then the frame of one message, alias included, is still made once (alias_table.h). */
#ifndef SESSION_DIALECT_H
#define SESSION_DIALECT_H

#include "codec/json/json.h"
#include "session/client_command.h"
#include "session/frames.h"

/* Where frames are taken apart; one a worker. What a command borrows lies here or in its frame. */
struct dialect_scratch {
    struct json_doc      doc;
    struct buf           strings;
    struct client_place *places;
    size_t               place_max;
    struct request_asked asked;
    char                 reason[JSON_FAULT_BYTES];
    char                 ref[24];
};

void dialect_scratch_init(struct dialect_scratch *scratch);  /* holds no memory until it is used */
void dialect_scratch_fini(struct dialect_scratch *scratch);
/* Room for so many places; it holds until the next call. */
struct client_place *dialect_scratch_places(struct dialect_scratch *scratch, size_t count);
/* Gives memory back; no command is borrowed from it. */
void dialect_scratch_trim(struct dialect_scratch *scratch);

struct dialect {
    enum encoding encoding;   /* of messages in this dialect and its transport's framing */
    /* Reads one frame. False: *ret_fault says why. ret_command->ref is set in any case. */
    bool (*read)(struct dialect_scratch *scratch, struct span frame, struct client_command *ret_command,
                 struct client_fault *ret_fault);
    void (*put_event)(struct buf *buf, const struct client_event *event);
    void (*put_gap)(struct buf *buf, struct span channel, uint64_t epoch, const struct gap *gap);
    void (*put_notify)(struct buf *buf, struct span channel, uint64_t epoch, uint64_t head);
};

/* Subprotocol longwire.json.v1: one JSON object a frame (docs/protocol.md). */
extern const struct dialect json_dialect;

/* longwire.bin.v1 on a stream of its own, and on a WebSocket: they differ in the encoding of messages. A frame to read has no
 * length; one that was written has. `ref` is a number in decimal. */
extern const struct dialect bin_dialect, ws_bin_dialect;

#endif
