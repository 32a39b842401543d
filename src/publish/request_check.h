/* request_check.h - judges a request of a client to a back end, the same for frames and for POST /v1/request: which route takes
 * it, may the client send it there, is it in order? It makes the command that goes to the writer.
 *
 * Strict paths. A back end decodes the path once more, and it may join slashes and resolve dots. What it would then read as
 * another path could pass by the route that guards that path. So the path is decoded before the routes are compared with it, and
 * a path is refused if it has `.` or `..` segments, empty segments, an encoded slash or backslash, a NUL, or bytes that are not
 * UTF-8. Path and query are passed on as they came. */
#ifndef PUBLISH_REQUEST_CHECK_H
#define PUBLISH_REQUEST_CHECK_H

#include "auth/may.h"
#include "publish/request_json.h"

struct settings;

/* The [uplink] sections in their order, ready to be compared with paths. Immutable, so any thread may read it. The settings are
 * borrowed. */
struct request_routes *request_routes_new(const struct settings *settings);
void                   request_routes_free(struct request_routes *routes);  /* NULL is fine */
/* The longest body that some route takes; 0: there is no route. */
size_t                 request_routes_body_bytes_max(const struct request_routes *routes);

/* Who sends it. All borrowed. */
struct request_sender {
    const struct identity *identity;
    struct channel_name   *channel;       /* where the answer comes: device:U/D, or conn:KEY */
    struct span            user, device;  /* device empty: its name was made up for the link */
    uint64_t               key;           /* of the connection; 0: none */
    struct span            address;       /* empty: not known */
};

enum { REQUEST_WHY_BYTES = 256 };

/* Status 0: *ret is the command; the caller owns it, sets `answered` and `owner`, and sends it with shard_request(). Else the
 * HTTP status of the refusal, and why: `reason` may stand in `scratch`. Nothing was kept, and the id isn't used up. `routes`
 * NULL: there are none. */
struct verdict request_check(const struct request_routes *routes, const struct request_sender *sender,
                             const struct request_asked *asked, char scratch[REQUEST_WHY_BYTES], struct request_command **ret);

/* Why a request that was sent is refused, and the HTTP status. NULL: it is not. */
const char *request_explain(enum request_outcome outcome, unsigned *ret_status);

#endif
