/* call.h - one API request on its way to a handler, with its path taken apart; and what handlers share. Private to this
 * module. */
#ifndef API_CALL_H
#define API_CALL_H

#include "api/api.h"
#include "base/known_words.h"

enum { CALL_SEGMENTS_MAX = 6, QUERY_WORD_BYTES_MAX = 4096 };

struct call {
    struct api                *api;
    struct http_exchange      *exchange;
    const struct http_request *request;
    const struct identity     *identity;
    struct span                segments[CALL_SEGMENTS_MAX];  /* still encoded */
    size_t                     segment_count;
};

void call_refuse(const struct call *call, unsigned status, const char *detail);

/* True: the verdict is yes. False: answered with its refusal; a 401 names the scheme that would do (RFC 9110
 * 11.6.1). */
bool call_passes(const struct call *call, struct verdict verdict);

/* May the caller publish one more message? False: answered with 429. */
bool call_may_publish_now(const struct call *call);

/* The channel of /v1/channels/{channel}/…, named for this action; NULL: answered with 400, 403 or 404. The caller owns the
 * reference. */
struct channel_name *call_channel(const struct call *call, enum action action);

/* The channel `user:NAME` of a segment of the path; NULL: answered with 400. The caller owns the reference. */
struct channel_name *call_user(const struct call *call, size_t segment);

/* Does the query say nothing but these parameters, each once? Those that begin with `_` are passed over, because clients
 * add them to get around caches; access_token, user and device are the credential's. False: answered with 400. */
bool call_knows_query(const struct call *call, struct known_words known);

/* The query parameter of that name, still encoded. False: it isn't there. */
bool call_parameter(const struct call *call, struct span name, struct span *ret_encoded);

/* The device of a call that belongs to the device of a user: `said` is what the body says, empty where it says none; else `device=`
 * of the query, which is decoded into `scratch`, and else the token's. Two that differ are 400. Status 0: *ret is a device's name, or
 * empty where nobody names one. */
struct verdict call_device(const struct call *call, struct span said, struct buf *scratch, struct span *ret);

/* A query parameter that is a whole number. *ret keeps its value if the parameter isn't there. False: answered with
 * 400. */
bool call_u64(const struct call *call, struct span name, bool *ret_is_there, uint64_t *ret);

/* A seq of the path or the query. False: answered with 400. */
bool call_seq(const struct call *call, struct span encoded, uint64_t *ret);

/* The same for a moment (time_text.h); *ret is 0 if the parameter isn't there. */
bool call_time(const struct call *call, struct span name, msec *ret);

/* Is the body in no Content-Encoding (RFC 9110 8.4)? An encoded one would be kept and passed on as it is, and no reader
 * would be told. False: answered with 415. */
bool call_body_is_plain(const struct call *call);

void call_answer_json(const struct call *call, unsigned status, struct span body);

/* Handlers. */
void serve_publish(struct call *call);
void serve_batch(struct call *call);
void serve_history(struct call *call);
void serve_channel(struct call *call);
void serve_channels(struct call *call);
void serve_purge(struct call *call);
void serve_recall(struct call *call);
void serve_receipts(struct call *call);
void serve_why(struct call *call);
void serve_sessions(struct call *call);
void serve_ack(struct call *call);
void serve_request(struct call *call);
void serve_user(struct call *call);
void serve_user_places(struct call *call);
void serve_user_marks(struct call *call);
void serve_subscribers(struct call *call);
void serve_presence_users(struct call *call);
void serve_member(struct call *call);  /* PUT and DELETE of one */
void serve_members(struct call *call);
void serve_groups_of_user(struct call *call);
void serve_connection(struct call *call);  /* GET and DELETE */
void serve_nodes(struct call *call);
void serve_drain(struct call *call);
void serve_allocate(struct call *call);
void serve_forwarders(struct call *call);
void serve_dead(struct call *call);  /* POST: once more into its channel */
void serve_revocation(struct call *call);
void serve_health(struct call *call);
void serve_ready(struct call *call);  /* to read and to publish */
void serve_ready_to_read(struct call *call);
void serve_ready_to_publish(struct call *call);
void probes_tick(struct api *api);
void serve_metrics(struct call *call);

/* Drops the pages that wait in line. All their clients are gone. */
void history_drop(struct api *api);

/* The epoch, first and head of a channel as the beginning of a JSON object, which the caller ends. */
void channel_info_put(struct buf *buf, const struct store_read *read);

/* A read of this channel for this call; `answered` gets it. */
struct read_command *call_read_new(struct call *call, struct channel_name *name, enum read_way way, uint64_t bound,
                                   uint32_t limit, void (*answered)(struct read_command *));
/* Does go(), which takes the command; if the verdict says that only a member may, asks for that first, and go() is done later
 * or the exchange is refused. */
void call_read(const struct call *call, struct read_command *read, struct verdict verdict,
               void (*go)(struct api *api, struct http_exchange *exchange, struct read_command *read));
/* As call_passes(); true, too, if only a member may: the verdict goes on to call_read(). */
bool call_passes_member(const struct call *call, struct verdict verdict);
/* 503 that names the engine which keeps this channel; NULL: that keeps the ledger. */
void call_answer_unreadable(struct api *api, struct http_exchange *exchange, const struct channel_name *channel);

/* Retry-After for refusals that pass by themselves, else "". */
struct http_fields retry_after(unsigned status);

#endif
