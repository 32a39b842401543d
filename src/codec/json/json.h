/* json.h - JSON (RFC 8259): texts become a flat array of tokens; messages become objects. The server and the command
 * line tool both read with it (docs/decisions/0017-one-json-reader.md says why no library does).
 *
 * Reading is strict: one value, UTF-8, no BOM, no comments; \u escapes of surrogates come in pairs; a number
 * must fit into a double (1e999 doesn't); a kept object names a member once. A value is never converted unless
 * asked for: tokens are slices of the text, byte for byte, so that `data` can be passed on as it came.
 *
 * Writing appends to a struct buf: whoever made the buf checks buf_is_over() at the end. */
#ifndef CODEC_JSON_JSON_H
#define CODEC_JSON_JSON_H

#include "base/buf.h"
#include "base/known_words.h"
#include "message/message.h"

/* --- reading ------------------------------------------------------------------------------------------------ */

enum json_type { JSON_OBJECT, JSON_ARRAY, JSON_STRING, JSON_NUMBER, JSON_TRUE, JSON_FALSE, JSON_NULL };

/* {"a":[1,2],"b":{"c":3}} with depth_kept 2, and with depth_kept 1:
 *
 *    0 object           next 8   count 2          0 object              next 5   count 2
 *    1   "a"            next 2                    1   "a"               next 2
 *    2   array          next 5   count 2          2   array, not kept   next 3   count 0
 *    3     1            next 4                    3   "b"               next 4
 *    4     2            next 5                    4   object, not kept  next 5   count 0
 *    5   "b"            next 6
 *    6   object         next 8 … */
struct json_token {
    struct span    raw;      /* of the text; a string's with its quotes */
    enum json_type type;
    bool           is_kept;      /* containers: its members are tokens too; else its raw may be parsed for itself */
    bool           has_escapes;  /* strings: what it says isn't what stands between its quotes */
    uint32_t       count;    /* children: an array's values, an object's members (a key and a value each) */
    uint32_t       next;     /* index of the first token behind this one and all below it */
};

enum { JSON_DEPTH_DEFAULT = 64, JSON_DEPTH_MAX = 256, JSON_TOKENS_DEFAULT = 100000, JSON_MEMBERS_DEFAULT = 64 };

/* Zero stands for the default, but for depth_kept. What is beyond a limit is a fault. */
struct json_limits {
    uint32_t depth_max;    /* containers in one another; JSON_DEPTH_MAX at most */
    uint32_t depth_kept;   /* so many levels of containers become tokens; 0: the text becomes one token */
    uint32_t tokens_max;
    uint32_t members_max;  /* of one kept object; they are compared with one another */
};

/* Why a text was refused. */
struct json_fault {
    const char *reason;  /* in words for a person; a literal. NULL: it was not refused */
    size_t      at;      /* index of the byte that can't stand there, or of the first byte of what can't */
    uint32_t    limit;   /* the maximum that was passed; 0: it was not for a limit */
};

enum { JSON_FAULT_BYTES = 256 };

/* "WHAT: nested too deeply (byte 64; at most 64)", or only WHAT if there is no reason. Returns ret_text; what doesn't
 * fit is cut off. */
const char *json_fault_say(const char *what, const struct json_fault *fault, char ret_text[JSON_FAULT_BYTES]);

/* One parsed text after the other; memory is kept between them. One thread at a time. */
struct json_doc {
    struct json_token *tokens;   /* owned; [0] is the text's value */
    uint32_t           count;
    uint32_t           cap;
    struct json_fault  fault;    /* of the last parse that failed */
};

void json_doc_init(struct json_doc *doc);  /* holds no memory until the first parse */
void json_doc_fini(struct json_doc *doc);

/* The tokens point into `text` and hold until the next parse. False: doc->fault says why, and there are none.
 * Never recurses. Allocates memory for the tokens alone, and none if an earlier parse needed as many. */
bool json_parse(struct span text, const struct json_limits *limits, struct json_doc *doc);

/* The text without the one byte order mark that may stand at its start. RFC 8259 8.1 lets a reader skip it. Whoever
 * reads what a stranger sent begins with this; the functions below know no mark. */
struct span json_skip_mark(struct span text);

/* As json_parse(), but only whether; duplicate keys pass. Allocates nothing. `ret_fault` may be NULL. */
bool json_is_valid(struct span text, struct json_fault *ret_fault);

static inline const struct json_token *json_root(const struct json_doc *doc)
{
    return &doc->tokens[0];
}

/* The value of the member `name`, or NULL: no such member, not an object, not kept. `name` is what the key says, not
 * how it is escaped, and has no backslash. */
const struct json_token *json_member(const struct json_doc *doc, const struct json_token *object, struct span name);

/* The name of a member that is none of `known`, the first of them; NULL: all are known, or not an object, or not kept. */
const struct json_token *json_unknown_member(const struct json_doc *doc, const struct json_token *object,
                                             struct known_words known);

/* A container's children in order; NULL at the end. In an object keys and values take turns. */
const struct json_token *json_first(const struct json_doc *doc, const struct json_token *container);
const struct json_token *json_next(const struct json_doc *doc, const struct json_token *container,
                                   const struct json_token *child);

/* What a string says. *ret_text points into the text if it has no escapes, else into *scratch, to which the
 * decoded bytes are appended (earlier answers in the same scratch may move then). False: not a string, or
 * scratch is over. `token` may be NULL: false. */
bool json_string(const struct json_token *token, struct buf *scratch, struct span *ret_text);

/* A whole number from 0 to 2^64-1, written in digits alone. False, and nothing changes: anything else, NULL too. */
bool json_u64(const struct json_token *token, uint64_t *ret_value);

/* --- writing ------------------------------------------------------------------------------------------------ */

/* Is the payload of this media type JSON: application/json or …+json, in any case, whatever the parameters? */
bool json_is_media(struct span media);

/* With quotes; escapes what must be. `text` must be valid UTF-8. */
void json_put_string(struct buf *buf, struct span text);

/* The message object of docs/protocol.md; every kind of message:
 *   {"type":"message","channel","epoch","seq","id","time","from","media","event","data"|"data_base64"}
 *   {"type":"message","channel","epoch","seq","id","time","from","recalled":true}
 *   {"type":"recall","channel","epoch","seq","id","time","from","target"}
 *   {"type":TYPE,"channel","epoch","seq","id","time","from", and the members of the payload} of a control message
 * `from` is null if empty, `event` is there only if the message has one. A payload of a JSON media type was validated when it was published and stands as it
 * is; an empty one counts as a string. Channel, from and event are valid UTF-8. */
void json_put_message(struct buf *buf, const struct message *message);

/* The same as one line, for SSE and NDJSON: CR and LF in a JSON payload (there they can only be insignificant
 * space, RFC 8259 2) become spaces. With `cursor` as last member unless it's empty. */
void json_put_message_line(struct buf *buf, const struct message *message, struct span cursor);

/* {"type":"gap","channel","epoch","from","to","why"}, and `cursor` unless it's empty; always one line. */
void json_put_gap(struct buf *buf, struct span channel, uint64_t epoch, const struct gap *gap, struct span cursor);

/* {"type":"notify","channel","epoch","head"}, and `cursor` unless it's empty; always one line. */
void json_put_notify(struct buf *buf, struct span channel, uint64_t epoch, uint64_t head, struct span cursor);

/* RFC 9457: {"type":"about:blank","title","status","detail"}; without detail if it's empty. Both UTF-8. */
void json_put_problem(struct buf *buf, unsigned status, struct span title, struct span detail);

#endif
