/* response_object.h - the answer of a back end, or why there is none, as the payload of a `response` message: one JSON object
 * (docs/protocol.md). Pure.
 *
 *     {"request":"R","status":200,"headers":{…},"body"|"body_base64":…,"subscribe":[…],"unsubscribe":[…]}
 *
 * Fields that belong to one hop are left out. Of a field that comes several times the values stand in one, with commas
 * between. */
#ifndef UPLINK_RESPONSE_OBJECT_H
#define UPLINK_RESPONSE_OBJECT_H

#include "base/buf.h"

enum { RESPONSE_FIELDS_MAX = 64, RESPONSE_INSTRUCTIONS_MAX = 64 };

/* What an answer tells this server to do. Channels are decoded; the spans lie in `words`. */
struct response_instructions {
    struct span subscribe[RESPONSE_INSTRUCTIONS_MAX], unsubscribe[RESPONSE_INSTRUCTIONS_MAX];
    size_t      subscribe_count, unsubscribe_count;
    struct span publish;   /* empty: nothing */
    struct buf  words;
};

/* `head`: lines `Name: value`, as fetch_call.head has them. NULL: it is understood. Else what was wrong with it, a sentence.
 * response_instructions_fini() is due in any case. */
const char *response_instructions_read(struct span head, struct response_instructions *ret);
void        response_instructions_fini(struct response_instructions *instructions);

/* An answer, with a body unless it was published. `head` as above. */
void response_put_answer(struct buf *object, struct span request, unsigned status, struct span head, struct span body,
                         bool has_body, const struct response_instructions *instructions);
/* No answer: an RFC 9457 problem. `outcome`: of Longwire-Outcome; NULL: none. */
void response_put_problem(struct buf *object, struct span request, unsigned status, const char *detail, const char *outcome);

/* Does this payload say that it is the response to the request with this id? */
bool response_is_of(struct span object, struct span request);

/* The value of a field of `head`; empty: it has none. */
struct span response_head_field(struct span head, struct span name);

#endif
