/* subscribe_token.c - the whole of one request: its parts are read, and what its tokens say is applied. */
#include "base/must.h"
#include "codec/url/url.h"
#include "session/conn_follow.h"
#include "session/subscribe_reader.h"
#include "session/subscribe_return.h"

void subscribe_keep_token(struct subscribe_reader *reader, enum token_source source, struct span text, bool is_encoded)
{
    if (text.len > 0)
        reader->tokens[source] = (struct token_text){ text, is_encoded };
}

static enum token_source next_source(const struct subscribe_reader *reader, enum token_source from)
{
    while (from < TOKEN_SOURCE_COUNT && reader->tokens[from].at.len == 0)
        from++;
    return from;
}

static bool get_token(struct subscribe_reader *reader, enum token_source source, struct token *ret)
{
    struct span text = reader->tokens[source].at;

    if (reader->tokens[source].is_encoded && !url_decode(text, URL_QUERY, &reader->scratch, &text))
        text = SPAN("");  /* longer than any token */
    return token_get(text, ret) ||
           subscribe_requests_fault(reader->requests, 400,
                                    "not a cursor: use what `cursor`, `id:` or Longwire-Cursor gave you, unchanged");
}

static struct start start_of(const struct place *place)
{
    return (struct start){ START_AFTER, place->seq, place->epoch };
}

static void take_token_place(struct subscribe_request *request, const struct place *place)
{
    request->start = start_of(place);
    if (request->place == PLACE_NOT_SAID)
        request->place = PLACE_NAMED;
}

/* Places with names. Without a list of channels they are the list. */
static bool apply_names(struct subscribe_reader *reader, const struct token *token)
{
    struct subscribe_requests *requests = reader->requests;
    bool                       has_list = requests->count > 0;

    for (size_t i = 0; i < token->count; i++) {
        const struct place       *place   = &token->places[i];
        struct subscribe_request *request = NULL;
        if (has_list)
            request = subscribe_requests_find(requests, reader->worker, place->channel);
        if (request != NULL)
            take_token_place(request, place);
        else if (!has_list &&
                 !subscribe_requests_add(requests, reader->worker, place->channel, start_of(place), reader->identity))
            return false;
    }
    return true;
}

static bool apply_set(struct subscribe_reader *reader, const struct token *token)
{
    struct subscribe_requests *requests = reader->requests;

    if (requests->count == 0)
        return subscribe_requests_fault(requests, 400,
                                        "this cursor holds the places of %zu channels without their names: send it "
                                        "beside the same channels", token->count);
    subscribe_requests_give_all(requests, reader->worker, reader->identity);
    subscribe_requests_sort(requests);
    if (requests->count != token->count || subscribe_requests_set(requests) != token->set)
        return subscribe_requests_fault(requests, 400,
                                        "this cursor belongs to another set of channels: it has the places of %zu, and "
                                        "the request names %zu; send it beside the same channels", token->count,
                                        requests->count);
    for (size_t i = 0; i < token->count; i++)
        take_token_place(&requests->at[i], &token->places[i]);
    return true;
}

/* A token of a set takes its channels from the next token, if none are listed. */
static bool apply_next_names(struct subscribe_reader *reader, enum token_source source)
{
    struct token names;

    source = next_source(reader, source);
    if (source == TOKEN_SOURCE_COUNT)
        return true;
    token_init(&names);
    bool is_fine = get_token(reader, source, &names) && (names.set != 0 || apply_names(reader, &names));
    token_fini(&names);
    return is_fine;
}

static bool apply_token(struct subscribe_reader *reader, const struct token *token, enum token_source source)
{
    bool has_list = reader->requests->count > 0;

    /* A browser repeats a request with another Last-Event-ID. What only the last one named is then gone. */
    reader->requests->names_stay = has_list || token->set != 0 || source != TOKEN_OF_HEADER;
    if (token->set == 0)
        return apply_names(reader, token);
    return (has_list || apply_next_names(reader, source + 1)) && apply_set(reader, token);
}

/* --- the token of a session --- */

static bool refuse_token(struct subscribe_reader *reader)
{
    return subscribe_requests_fault(reader->requests, 400,
                                    "not a cursor: use what `cursor`, `id:` or Longwire-Cursor gave you, unchanged");
}

static bool take_session(struct subscribe_reader *reader, const struct session_token *token)
{
    struct subscribe_requests *requests = reader->requests;

    if (requests->device[0] != '\0' && !span_eq(span_str(requests->device), token->device))
        return subscribe_requests_fault(requests, 400, "this cursor belongs to another device than the one that you name");
    if (!subscribe_keep_device(reader, token->device))
        return false;
    requests->wants_session = requests->is_returning = true;
    requests->generation    = token->generation;
    requests->since         = token->since;
    return true;
}

/* Its places count for the channels that the session follows, and for those that are listed. */
static bool apply_session(struct subscribe_reader *reader, struct span text)
{
    struct subscribe_requests *requests = reader->requests;
    struct session_token       token;
    struct span                places;
    struct buf                 bytes;

    buf_init(&bytes, SESSION_TOKEN_HEAD_TEXT_MAX);
    bool is_fine = session_token_get(text, &bytes, &token, &places) &&
                   (places.len == 0 || (token_get(places, &requests->named) && requests->named.set == 0));
    is_fine = is_fine ? take_session(reader, &token) : refuse_token(reader);
    buf_fini(&bytes);
    for (size_t i = 0; is_fine && i < requests->named.count; i++) {
        struct subscribe_request *request = subscribe_requests_find(requests, reader->worker,
                                                                    requests->named.places[i].channel);
        if (request != NULL)
            take_token_place(request, &requests->named.places[i]);
    }
    return is_fine;
}

/* False: it is no token of a session. */
static bool find_session_token(struct subscribe_reader *reader, enum token_source source, struct span *ret)
{
    *ret = reader->tokens[source].at;
    if (reader->tokens[source].is_encoded && !url_decode(*ret, URL_QUERY, &reader->scratch, ret))
        return false;
    return session_token_is_one(*ret);
}

bool subscribe_apply_tokens(struct subscribe_reader *reader)
{
    enum token_source source = next_source(reader, TOKEN_OF_HEADER);
    struct token      token;
    struct span       text;

    reader->requests->names_stay = true;
    if (source == TOKEN_SOURCE_COUNT)
        return true;
    if (find_session_token(reader, source, &text))
        return apply_session(reader, text);
    token_init(&token);
    bool is_applied = get_token(reader, source, &token) && apply_token(reader, &token, source);
    token_fini(&token);
    return is_applied;
}

static bool read_all(struct subscribe_reader *reader, const struct http_request *request)
{
    subscribe_keep_token(reader, TOKEN_OF_HEADER, request_field(request->head, SPAN("last-event-id")), false);
    return subscribe_read_query(reader, request->query) &&
           (request->head->method != HTTP_POST || subscribe_read_body(reader, request)) &&
           subscribe_apply_tokens(reader) && subscribe_check_places(reader);
}

bool subscribe_requests_read(struct subscribe_requests *requests, struct session_worker *worker,
                             const struct http_request *request, const struct identity *identity)
{
    struct subscribe_reader reader = { .requests = requests, .worker = worker, .identity = identity };

    requests->wait_ms = worker->limits.poll_wait_ms;
    buf_init(&reader.scratch, TOKEN_TEXT_BYTES_MAX);
    buf_init(&reader.name_scratch, TOKEN_TEXT_BYTES_MAX);
    buf_init(&reader.strings, 2 * SUBSCRIBE_BODY_BYTES_MAX + 1);
    json_doc_init(&reader.doc);
    bool is_read = read_all(&reader, request) &&
                   conn_follow_read(requests, worker, request->head, &requests->own);
    if (is_read && requests->wants_presence)
        is_read = subscribe_requests_watch_all(requests, identity);
    if (is_read)
        subscribe_requests_give_all(requests, worker, identity);
    if (requests->wait_ms > worker->limits.poll_wait_ms_max)
        requests->wait_ms = worker->limits.poll_wait_ms_max;
    json_doc_fini(&reader.doc);
    buf_fini(&reader.strings);
    buf_fini(&reader.name_scratch);
    buf_fini(&reader.scratch);
    return is_read;
}
