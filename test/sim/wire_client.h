/* wire_client.h - what all simulated clients have: a connection that may break, and readers of what comes over it that
 * share no code with the server's writers. */
#ifndef SIM_WIRE_CLIENT_H
#define SIM_WIRE_CLIENT_H

#include "codec/json/json.h"
#include "wire_world.h"

struct client_link {
    struct wire_world *wire;
    enum purpose       purpose;
    struct sim_link   *link;      /* NULL: not connected */
    unsigned           loop;
    struct buf         in;        /* read, and not understood yet */
    size_t             sip_bytes; /* it reads so much a turn */
    msec               heard_at;
    msec               reset_at;  /* it breaks off then; 0: never */
    bool               is_slow;   /* … or that is how it began */
    bool               is_half_closed;
};

void client_link_init(struct client_link *link, struct wire_world *wire, enum purpose purpose);
void client_link_fini(struct client_link *link);

/* To a loop of its own choice, over HTTP or natively. False: nobody listens. */
bool client_link_open(struct client_link *link, bool is_native);
/* Hangs up; what was not read is lost. */
void client_link_close(struct client_link *link);
void client_link_send(struct client_link *link, struct span bytes);
/* It has nothing more to say, and still reads. */
void client_link_half_close(struct client_link *link);
/* Reads what has arrived. Anything but SIM_OPEN: that was all, close it. */
enum sim_end client_link_read(struct client_link *link);

/* --- HTTP answers (RFC 9112) --- */

struct reply {
    unsigned    status;
    struct span head, body;
    size_t      used;        /* bytes of head and body */
    bool        is_chunked, is_last, is_replayed;
};

/* Is the head of an answer there? The body is the caller's affair. */
bool reply_head_read(struct world *world, struct span in, struct reply *ret);
/* … and its body, which has a Content-Length? */
bool reply_read(struct world *world, struct span in, struct reply *ret);
/* The value of a field, or an empty span. */
struct span reply_field(struct span head, struct span name);

/* Moves the chunks that are whole from `in` to `out`. True: the last one was among them. */
bool chunks_read(struct world *world, struct buf *in, struct buf *out);

/* --- WebSocket (RFC 6455) --- */

struct ws_heard {
    unsigned    opcode;
    struct span payload;
    size_t      used;
};

/* False: no frame is whole. */
bool ws_hear(struct world *world, struct span in, struct ws_heard *ret);
/* Masked, and now and then in pieces. */
void ws_say(struct client_link *link, unsigned opcode, struct span payload);
void ws_ask_upgrade(struct client_link *link, const char *query);
/* Did the server agree? */
void ws_check_upgrade(struct world *world, const struct reply *reply);

/* --- objects: what the server writes is read with codec/json, which has tests of its own --- */

struct object_reader {
    struct world   *world;
    struct json_doc doc;
    struct buf      scratch;
};

void object_reader_init(struct object_reader *reader, struct world *world);
void object_reader_fini(struct object_reader *reader);

/* The value of a text; holds until the next one. */
const struct json_token *object_read(struct object_reader *reader, struct span text);
/* Members that have to be there. */
struct span object_text(struct object_reader *reader, const struct json_token *object, const char *name);
uint64_t    object_number(struct object_reader *reader, const struct json_token *object, const char *name);
uint64_t    object_epoch(struct object_reader *reader, const struct json_token *object);
bool        object_has(const struct object_reader *reader, const struct json_token *object, const char *name);
/* The channel that it names. */
unsigned object_channel(struct object_reader *reader, const struct json_token *object);

/* What a client understands of a message or a gap. */
struct heard {
    unsigned        channel;
    uint64_t        epoch;
    struct message *message;  /* owned; NULL: a gap */
    struct gap      gap;
};
struct heard object_heard(struct object_reader *reader, const struct json_token *object);
unsigned     channel_named(struct world *world, struct span name);

/* Held against the model, and let go of: a message, or a gap within a log. */
void heard_check(struct world *world, struct heard *heard, msec since);

/* --- cursor tokens (docs/protocol.md 2.4) --- */

struct kept_place {
    uint64_t epoch, seq;
    bool     is_known;
    bool     is_epoch_known;
};

/* By channel of the world; places of others are a broken promise. */
void token_read(struct world *world, struct span token, struct kept_place ret_places[CHANNELS_MAX]);

uint64_t epoch_read(struct span text);

#endif
