/* request_json.h - a request to a back end as a JSON object, the same in a frame and in POST /v1/request: what its members say
 * (docs/protocol.md). Pure. Whether it may be sent is publish/request_check.h's to judge. */
#ifndef PUBLISH_REQUEST_JSON_H
#define PUBLISH_REQUEST_JSON_H

#include "base/buf.h"
#include "codec/json/json.h"
#include "node/request_command.h"

/* What a client asks for, of whatever encoding. All borrowed. */
struct request_asked {
    struct span          id, method, target;  /* empty: it named none */
    struct request_field fields[REQUEST_HEADERS_MAX + 1];  /* as it named them; Content-Type is among them if there is a body */
    size_t               field_count;
    struct span          body;
    uint64_t             timeout_ms;          /* 0: it named none */
};

/* NULL: *ret is what the object says. Else why it can't be read, a sentence; ret->id is the id all the same, if it could be
 * read. What has to be decoded is appended to `strings`, which publish_json_reserve() (publish/publish_json.h) has made large
 * enough for the text of the object. */
const char *request_json_read(const struct json_doc *doc, const struct json_token *object, struct buf *strings,
                              struct request_asked *ret);

/* The members of such an object; a frame has a type and a ref beside them. */
#define REQUEST_JSON_WORDS \
    SPAN("id"), SPAN("method"), SPAN("path"), SPAN("headers"), SPAN("body"), SPAN("body_base64"), SPAN("timeout_ms")

/* One more header field. False: it has REQUEST_HEADERS_MAX already. */
bool request_asked_add(struct request_asked *asked, struct span name, struct span value);
/* The media type of the body, where no field says it: `media`. */
void request_asked_describe_body(struct request_asked *asked, struct span media);

#endif
