/* sessions.c - GET /v1/sessions: all sessions, page by page. */
#include "device/session_listing.h"

#include <stdlib.h>

#include "api/peers.h"
#include "codec/url/url.h"
#include "node/connection_key.h"

enum { SESSIONS_LIMIT_DEFAULT = 100 };

static void put_words_of_link(struct buf *buf, const struct device_facts *session, const char *node)
{
    buf_put_lit(buf, ",\"transport\":");
    if (session->is_online && session->transport != NULL)
        json_put_string(buf, span_str(session->transport));
    else
        buf_put_lit(buf, "null");
    buf_put_lit(buf, ",\"node\":");
    if (session->is_online)
        json_put_string(buf, span_str(node));
    else
        buf_put_lit(buf, "null");
    buf_put_lit(buf, ",\"connection\":");
    if (session->key != 0) {
        buf_putc(buf, '"');
        connection_key_put(buf, session->key);
        buf_putc(buf, '"');
    } else {
        buf_put_lit(buf, "null");
    }
}

static void put_listed_session(struct buf *buf, const struct device_facts *session, const char *node)
{
    buf_put_lit(buf, "{\"user\":");
    json_put_string(buf, span_str(session->user));
    buf_put_lit(buf, ",\"device\":");
    json_put_string(buf, span_str(session->device));
    buf_putf(buf, ",\"generation\":%llu,\"online\":%s", (unsigned long long)session->generation,
             session->is_online ? "true" : "false");
    put_words_of_link(buf, session, node);
    buf_putf(buf, ",\"since\":%lld,\"seen\":%lld}", (long long)session->since, (long long)session->seen);
}

static const char *node_of_session(const struct device_facts *session, const struct far_devices *far, const char *node)
{
    for (size_t i = 0; i < far->count; i++)
        if (far->facts[i] == session && far->nodes[i][0] != '\0')
            return far->nodes[i];
    return node;
}

static void put_session_page(struct buf *buf, const struct session_listing *listing, const struct far_devices *far,
                             const char *node)
{
    size_t put = 0;

    buf_clear(buf);
    buf_put_lit(buf, "{\"sessions\":[");
    for (size_t i = 0; i < listing->count; i++) {
        const struct device_facts *session = &listing->at[i];
        if (listing->is_of_online && !session->is_online)
            continue;
        if (put++ > 0)
            buf_putc(buf, ',');
        put_listed_session(buf, session, node_of_session(session, far, node));
    }
    buf_putc(buf, ']');
    if (listing->place[0] != '\0') {
        buf_put_lit(buf, ",\"next\":");
        json_put_string(buf, span_str(listing->place));
    }
    put_incomplete(buf, far->is_incomplete);
    buf_putc(buf, '}');
}

static void sessions_finish(struct far_devices *far)
{
    struct session_listing *listing  = far->owner;
    struct http_exchange   *exchange = listing->owner;
    struct api             *api      = exchange->owner;

    put_session_page(&api->scratch, listing, far, api->node);
    http_answer(api->server, exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
    });
    command_free(&listing->command);
    far_devices_free(far);
}

static void sessions_ask_elsewhere(struct api *api, struct session_listing *listing)
{
    struct device_facts **facts = calloc(listing->count + 1, sizeof facts[0]);

    must(facts != NULL);
    for (size_t i = 0; i < listing->count; i++)
        facts[i] = &listing->at[i];
    api_ask_devices(api, NULL, facts, listing->count, listing, sessions_finish);
    free(facts);
}

static void sessions_answered(struct session_listing *listing)
{
    struct http_exchange *exchange = listing->owner;
    struct api           *api      = exchange->owner;

    switch (listing->outcome) {
    case LISTING_DONE: sessions_ask_elsewhere(api, listing); return;
    case LISTING_BUSY:
        http_problem(api->server, exchange, 429, NULL, "16 pages of sessions are being gathered; ask again a little later",
                     retry_after(429));
        break;
    case LISTING_AWAY:
        http_problem(api->server, exchange, 503, NULL,
                     shard_engine_text(api->shard, NULL, "sessions can't be read just now; come again later"),
                     retry_after(503));
        break;
    }
    command_free(&listing->command);
}

/* --- the question ----------------------------------------------------------------------------------------------- */

static const struct span sessions_parameters[] = { SPAN("limit"), SPAN("next"), SPAN("online") };

/* next=, if it is there. False: answered with 400. */
static bool sessions_place(const struct call *call, struct session_listing *listing)
{
    struct span encoded, place;
    struct buf  scratch;

    if (!call_parameter(call, SPAN("next"), &encoded))
        return true;
    buf_init(&scratch, sizeof listing->place);
    bool is_fine = url_decode(encoded, URL_QUERY, &scratch, &place) && session_listing_set_place(listing, place);
    buf_fini(&scratch);
    if (!is_fine)
        call_refuse(call, 400, "next= is what the page before said as \"next\"");
    return is_fine;
}

static bool sessions_filter(const struct call *call, struct session_listing *listing)
{
    struct span online;

    if (!call_parameter(call, SPAN("online"), &online))
        return true;
    listing->is_of_online = span_eq(online, SPAN("1"));
    if (!listing->is_of_online)
        call_refuse(call, 400, "online= is 1, or is left out");
    return listing->is_of_online;
}

static bool sessions_limit(const struct call *call, struct session_listing *listing)
{
    uint64_t limit = SESSIONS_LIMIT_DEFAULT;
    bool     is_there;

    if (!call_u64(call, SPAN("limit"), &is_there, &limit))
        return false;
    if (limit == 0)
        call_refuse(call, 400, "limit= is 1 or more");
    listing->limit = limit < SESSION_LISTING_MAX ? (uint32_t)limit : SESSION_LISTING_MAX;
    return limit > 0;
}

void serve_sessions(struct call *call)
{
    if (!call_passes(call, may(call->identity, NULL, ACTION_SESSIONS)) ||
        !call_knows_query(call, KNOWN_WORDS(sessions_parameters)))
        return;
    struct session_listing *listing = session_listing_new(call->api->devices);
    listing->takes_all              = api_has_peers(call->api);
    listing->owner                  = call->exchange;
    listing->answered               = sessions_answered;
    if (sessions_limit(call, listing) && sessions_place(call, listing) && sessions_filter(call, listing))
        shard_list_sessions(call->api->shard, listing);
    else
        command_free(&listing->command);
}
