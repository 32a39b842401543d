/* bin.h - the frames of `longwire.bin.v1`, both directions, as docs/protocol.md section 9 specifies them to the byte.
 * The server reads what clients send and writes what servers send; a client library does the other half with the same
 * code.
 *
 *     length   varint: bytes of type and body           01 08                    a ping: two bytes
 *     type     1 byte: the type, and two flags
 *     body     fields; with BIN_PAYLOAD: varint length of the fields, the fields, the payload
 *
 * Holds no socket, knows no session, allocates nothing (bin_aliases alone do) and copies nothing: what is read is borrowed
 * from the frame's bytes. Integers are varints: seven bits a byte, lowest first, high bit set on all but the last, the
 * shortest form only. Fixed integers are big-endian.
 *
 * A field is a key and a value. One number means the same in all frames, so a frame is a set of fields:
 *
 *     key = number << 3 | is_vital << 2 | form
 *
 * A field that the receiver doesn't know is skipped, unless it is vital: then the frame is refused. So a new field is
 * three lines: enum bin_field, its row in bin_fields.c, and the frames that have it there; and its line in the docs. */
#ifndef CODEC_BIN_BIN_H
#define CODEC_BIN_BIN_H

#include "base/buf.h"

enum {
    BIN_VERSION           = 1,
    BIN_LENGTH_BYTES_MAX  = 5,            /* of a frame's length */
    BIN_VARINT_BYTES_MAX  = 10,
    BIN_ALIAS_COUNT       = 16384,        /* aliases are below it */
    BIN_CONNECT_BYTES_MAX = 512 * 1024,   /* of the frame that opens a link; 1,000 places fit */
    BIN_FEATURES          = 0,            /* bits of features that this code knows; version 1 has none */
};

/* Whose frames. Types of one number have different meanings in the two directions only where the table says so. */
enum bin_side { BIN_CLIENT, BIN_SERVER };

enum bin_type {
    /* client                              server */
    BIN_CONNECT     = 0x01,             /* connected */
    BIN_SUBSCRIBE   = 0x02,             /* subscribed */
    BIN_UNSUBSCRIBE = 0x03,             /* unsubscribed */
    BIN_PUBLISH     = 0x04,             /* published */
    BIN_CURSOR      = 0x05,             /* the token */
    BIN_ACK         = 0x06,             /* the ack was taken; only for one with a ref */
    BIN_READ        = 0x07,             /* the same of a read mark */
    BIN_PING        = 0x08,             /* either way */
    BIN_PONG        = 0x09,             /* either way */
    BIN_REQUEST     = 0x0a,             /* accepted */
    BIN_CANCEL      = 0x0b,             /* client: of a request */

    BIN_ALIAS       = 0x10,             /* server: an alias stands for a channel from now on */
    BIN_MESSAGE     = 0x11,             /* by alias, with differences to the alias's bases */
    BIN_FULL        = 0x12,             /* a message with all its fields; a recall; what remains of a recalled one */
    BIN_GAP         = 0x13,
    BIN_NOTIFY      = 0x14,
    BIN_JOIN        = 0x15,
    BIN_LEAVE       = 0x16,
    BIN_HERE        = 0x17,             /* how many devices are there */

    BIN_ERROR       = 0x20,
    BIN_RECONNECT   = 0x21,
    BIN_REPLACED    = 0x22,
    BIN_EXPIRING    = 0x23,
    BIN_CLOSING     = 0x24,

    BIN_TYPE_COUNT  = 0x40,
};

/* Flags of the type byte. */
enum {
    BIN_BEFORE  = 0x40,  /* of a message: it lies before the alias's bases */
    BIN_PAYLOAD = 0x80,  /* the fields have a length, and a payload follows them. A message has a payload anyway: there
                          * the flag says that it has fields */
};

enum bin_field {
    BIN_REF        = 1,   /* number; of a command, repeated by its answer */
    BIN_CHANNEL    = 2,   /* text */
    BIN_EPOCH      = 3,   /* fixed */
    BIN_SEQ        = 4,   /* number, and all below without a word */
    BIN_ID         = 5,
    BIN_TIME       = 6,   /* ms since 1970 */
    BIN_MEDIA      = 7,   /* text */
    BIN_FROM       = 8,   /* text */
    BIN_EVENT      = 9,   /* text */
    BIN_HEAD       = 10,
    BIN_ALIAS_NO   = 11,
    BIN_CODE       = 12,
    BIN_REASON     = 13,  /* text */
    BIN_KEY        = 14,  /* text; idempotency key */
    BIN_TTL        = 15,  /* seconds */
    BIN_TOKEN      = 16,  /* text */
    BIN_USER       = 17,  /* text */
    BIN_DEVICE     = 18,  /* text */
    BIN_STANDING   = 19,  /* flag; connect: `session: true` */
    BIN_SESSION    = 20,  /* text; the session's name in `connected` */
    BIN_CONNECTION = 21,  /* fixed */
    BIN_GENERATION = 22,
    BIN_TICKET     = 23,  /* text */
    BIN_RESUME     = 24,  /* octets: places, see bin_place; pong: of the server */
    BIN_CURSOR_TOKEN = 25, /* text */
    BIN_HEARTBEAT  = 26,  /* seconds */
    BIN_NEXT_MS    = 27,
    BIN_DIGEST     = 28,  /* fixed */
    BIN_MODE       = 29,  /* 0 push, 1 notify */
    BIN_PRIORITY   = 30,  /* 0 now, 1 beat */
    BIN_CLASS      = 31,  /* text */
    BIN_KEEP       = 32,  /* flag */
    BIN_PRESENCE   = 33,  /* flag */
    BIN_AFTER      = 34,
    BIN_LAST       = 35,
    BIN_GAP_FROM   = 36,
    BIN_GAP_TO     = 37,
    BIN_WHY        = 38,  /* 0 expired, 1 trimmed, 2 epoch, 3 ahead, 4 corrupt, 5 collapsed */
    BIN_TARGET     = 39,  /* of a recall */
    BIN_RECALLED   = 40,  /* flag */
    BIN_RESUMED    = 41,  /* flag */
    BIN_REPLAYED   = 42,  /* flag */
    BIN_COLLAPSE   = 43,  /* text */
    BIN_BASE_MS    = 44,  /* reconnect policy */
    BIN_FACTOR     = 45,  /* … in hundredths */
    BIN_CAP_MS     = 46,
    BIN_JITTER     = 47,  /* … in thousandths */
    BIN_AFTER_MS   = 48,
    BIN_WHERE      = 49,  /* text; addresses, with commas */
    BIN_IN         = 50,  /* seconds */
    BIN_COUNT      = 51,
    BIN_FRAME_BYTES  = 52,  /* bytes of the longest frame that the server takes */
    BIN_REQUEST_ID = 53,  /* text */
    BIN_METHOD     = 54,  /* text */
    BIN_PATH       = 55,  /* text; with the query */
    BIN_HEADERS    = 56,  /* octets: header fields, see bin_header */
    /* 57 and 59 are kept for requests: status, outcome. A response says both in its payload */
    BIN_TIMEOUT_MS = 58,
    BIN_FEATURE_BITS = 60,
    BIN_VERSION_NO = 61,  /* the version that holds, in `connected` */
    BIN_PLACES     = 62,  /* flag; ping: the pong shall name all places */
    BIN_UNFENCED   = 63,  /* flag; `connected`: the session is not fenced yet */
    BIN_FIELD_COUNT = 64,
};

struct bin_value {
    uint64_t    number;  /* numbers and fixed */
    struct span bytes;   /* text and octets */
};

/* One frame taken apart, or to be put together. Only what `has` names is there, so a new frame costs no clearing. */
struct bin_frame {
    enum bin_type    type;
    bool             is_before;            /* BIN_BEFORE */
    uint8_t          version_min;          /* of a client's BIN_CONNECT */
    uint8_t          version_max;
    uint64_t         has;                  /* one bit a field */
    uint64_t         unknown;              /* BIN_UNKNOWN: the number of the type, the flags or the field */
    struct span      payload;
    struct bin_value at[BIN_FIELD_COUNT];
};

static inline void bin_init(struct bin_frame *frame, enum bin_type type)
{
    frame->type        = type;
    frame->is_before   = false;
    frame->version_min = frame->version_max = BIN_VERSION;
    frame->has         = 0;
    frame->payload     = SPAN("");
}

static inline bool bin_has(const struct bin_frame *frame, enum bin_field field)
{
    return (frame->has >> field & 1) != 0;
}

/* 0 and empty where the field is not there. */
static inline uint64_t bin_number(const struct bin_frame *frame, enum bin_field field)
{
    return bin_has(frame, field) ? frame->at[field].number : 0;
}

static inline struct span bin_bytes(const struct bin_frame *frame, enum bin_field field)
{
    return bin_has(frame, field) ? frame->at[field].bytes : SPAN("");
}

static inline void bin_set_number(struct bin_frame *frame, enum bin_field field, uint64_t number)
{
    frame->has |= UINT64_C(1) << field;
    frame->at[field].number = number;
}

/* An empty text is not sent: it counts as none. */
static inline void bin_set_bytes(struct bin_frame *frame, enum bin_field field, struct span bytes)
{
    if (bytes.len == 0)
        return;
    frame->has |= UINT64_C(1) << field;
    frame->at[field].bytes = bytes;
}

static inline void bin_set_flag(struct bin_frame *frame, enum bin_field field, bool is_set)
{
    if (is_set)
        frame->has |= UINT64_C(1) << field;
}

/* --- from bytes to frames --- */

enum bin_split {
    BIN_SPLIT_MORE,   /* the frame's end has not come */
    BIN_SPLIT_FRAME,
    BIN_SPLIT_FAULT,  /* nothing behind these bytes can be understood: close with ret_fault */
};

struct bin_fault {
    uint16_t    code;    /* 1002 a broken rule, 1009 too long */
    const char *reason;  /* a literal */
};

/* The first frame of `input`: *ret_frame is its type and body, *ret_used its bytes with the length. A fault is found at
 * the first byte that shows it. BIN_SPLIT_MORE: *ret_used is how many bytes the frame needs in all, or 0 while that isn't
 * known. */
enum bin_split bin_split(struct span input, uint32_t frame_bytes_max, struct span *ret_frame, size_t *ret_used,
                         struct bin_fault *ret_fault);

enum bin_verdict {
    BIN_OK,
    BIN_UNKNOWN,    /* a type, a flag or a vital field that this code doesn't know: `error` 400, and the link goes on. The
                     * ref is in *ret_frame if it could be read */
    BIN_MALFORMED,  /* the frame breaks the rules: the link ends with 1002 */
};

/* What bin_split() gave, sent by `side`. *ret_reason is a literal unless the verdict is BIN_OK. Text is valid UTF-8. */
enum bin_verdict bin_read(struct span bytes, enum bin_side side, struct bin_frame *ret_frame, const char **ret_reason);

/* Can these be the first bytes of a link: those of a BIN_CONNECT? A refusal comes at the first byte that shows it. */
enum bin_opening { BIN_OPENING_MORE, BIN_OPENING_YES, BIN_OPENING_NO };
enum bin_opening bin_judge_opening(struct span bytes);
/* What the first bytes of a link look like that is none of ours: "HTTP", "TLS", "MQTT" …; for a log line. */
const char *bin_guess_protocol(struct span bytes);

/* --- from frames to bytes --- */

/* Appends the whole frame, length included. A client's fields are all vital; a server's are none. The fields must be of
 * this type of frame, and text valid UTF-8. */
void bin_put(struct buf *buf, enum bin_side side, const struct bin_frame *frame);

/* The two frames of which there is one for each message that passes, straight from their values: the same bytes as bin_put(). */

/* BIN_MESSAGE without fields; seq, id and time as differences. */
struct bin_message {
    uint64_t    alias, seq, id, time;
    bool        is_before;
    struct span payload;
};
void bin_put_message(struct buf *buf, const struct bin_message *message);

/* BIN_PUBLISH of a server. */
struct bin_published {
    struct span channel;
    uint64_t    epoch, seq, id, time, ref;
    bool        is_replayed, has_ref;
};
void bin_put_published(struct buf *buf, const struct bin_published *published);

/* How long a varint is. */
static inline size_t bin_varint_bytes(uint64_t value)
{
    return (size_t)(70 - __builtin_clzll(value | 1)) / 7;
}

/* --- places: the value of BIN_RESUME is any number of these, one behind the other ---
 *
 *     length of the name (varint), name, seq (varint), 0 or 8 (1 byte), so many bytes of epoch */

struct bin_place {
    struct span channel;
    uint64_t    seq;
    uint64_t    epoch;  /* 0: not said */
};

void bin_put_place(struct buf *buf, const struct bin_place *place);
/* Cuts one off; *places must not be empty. False: malformed (bin_read() has checked what it gave). */
bool bin_next_place(struct span *places, struct bin_place *ret_place);

/* --- header fields: the value of BIN_HEADERS is any number of these, one behind the other ---
 *
 *     length of the name (varint), name, length of the value (varint), value; both UTF-8 */

struct bin_header { struct span name, value; };

void bin_put_header(struct buf *buf, const struct bin_header *header);
/* As bin_next_place(). */
bool bin_next_header(struct span *headers, struct bin_header *ret_header);

#endif
