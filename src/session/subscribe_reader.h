/* subscribe_reader.h - one request of a client that wants to follow, while it is read. Private to this module. The
 * query is read in subscribe_query.c, the body in subscribe_body.c, and what tokens say is applied in
 * subscribe_token.c. */
#ifndef SESSION_SUBSCRIBE_READER_H
#define SESSION_SUBSCRIBE_READER_H

#include "codec/json/json.h"
#include "codec/token/token.h"
#include "session/subscribe_request.h"

/* Where a token may stand, the strongest first. */
enum token_source { TOKEN_OF_HEADER, TOKEN_OF_EVENT_ID, TOKEN_OF_CURSOR, TOKEN_SOURCE_COUNT };

struct subscribe_reader {
    struct subscribe_requests *requests;
    struct session_worker     *worker;
    const struct identity     *identity;
    struct buf                 scratch, name_scratch;        /* for what is percent-encoded */
    struct json_doc            doc;                          /* of the body */
    struct buf                 strings;
    struct token_text {
        struct span at;          /* empty: none */
        bool        is_encoded;  /* as it stands in the query */
    } tokens[TOKEN_SOURCE_COUNT];
    struct span                raw;                          /* the value of the parameter being read, still encoded */
    uint32_t                   listed_count;                 /* channel=s so far */
    uint32_t                   last_listed;                  /* the request of the last one: its index and 1 */
};

/* Each of these is false if the request is refused; the fault is set. */
bool subscribe_read_query(struct subscribe_reader *reader, struct span query);
bool subscribe_read_body(struct subscribe_reader *reader, const struct http_request *request);
bool subscribe_apply_tokens(struct subscribe_reader *reader);
/* Once all is read: is it clear whose each place is? */
bool subscribe_check_places(const struct subscribe_reader *reader);

/* The token of this source; of several the last one counts. An empty one counts as not given. */
void subscribe_keep_token(struct subscribe_reader *reader, enum token_source source, struct span text, bool is_encoded);
bool subscribe_keep_format(struct subscribe_reader *reader, struct span name);
bool subscribe_keep_session(struct subscribe_reader *reader, struct span value);
bool subscribe_keep_device(struct subscribe_reader *reader, struct span name);
bool subscribe_keep_class(struct subscribe_reader *reader, struct span name);
bool subscribe_keep_mode(struct subscribe_reader *reader, struct span name);
bool subscribe_keep_wait(struct subscribe_reader *reader, uint64_t seconds);

/* Bytes of the parameters that a cursor doesn't stand for. */
size_t subscribe_kept_query_bytes(struct span query);

#endif
