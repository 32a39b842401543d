/* subscribe_session.c - a stream or a poll with session=1: the session is opened, then the request is served. The exchange
 * waits meanwhile. */
#include <stdlib.h>

#include "base/must.h"
#include "session/device_link.h"
#include "session/serve.h"

struct subscribe_waiting {
    struct session_worker      *worker;
    struct http_exchange       *exchange;
    struct subscribe_requests   requests;  /* owned */
    const struct stream_format *format;    /* NULL: a poll */
    struct span                 media;     /* of the answer; static */
    struct session_open        *open;      /* under way */
};

static void waiting_free(struct subscribe_waiting *waiting)
{
    subscribe_requests_fini(&waiting->requests);
    free(waiting);
}

/* --- refusals --------------------------------------------------------------------------------------------------- */

/* 204 tells an EventSource not to come again (HTML, 9.2.3): else two tabs that replace one another would do so for ever. */
static void refuse_stale(const struct subscribe_waiting *waiting)
{
    struct http_server *server = waiting->worker->server;

    if (waiting->format == &sse_format || waiting->format == &sse_raw_format)
        http_answer(server, waiting->exchange, &(struct http_answer){ .status = 204 });
    else
        http_problem(server, waiting->exchange, 409, "stale",
                     "a newer link has taken this session over, or it has ended: come without a cursor to begin anew",
                     HTTP_NO_FIELDS);
}

static void refuse_opening(const struct subscribe_waiting *waiting, enum open_outcome outcome)
{
    struct verdict verdict = device_link_verdict(outcome);

    if (outcome == OPEN_AWAY)
        verdict.reason = shard_engine_text(waiting->worker->shard, NULL, verdict.reason);
    if (outcome == OPEN_STALE || outcome == OPEN_NONE)
        refuse_stale(waiting);
    else
        http_problem(waiting->worker->server, waiting->exchange, verdict.status, NULL, verdict.reason,
                     verdict.status == 503 ? HTTP_FIELDS({ SPAN("Retry-After"), SPAN("1") }) : HTTP_NO_FIELDS);
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void waiting_serve(struct subscribe_waiting *waiting, struct session_open *open)
{
    struct http_exchange *exchange = waiting->exchange;

    exchange->owner = NULL;
    exchange->gone  = NULL;
    if (open->outcome != OPEN_DONE)
        refuse_opening(waiting, open->outcome);
    else if (waiting->format == NULL)
        session_serve_poll(waiting->worker, exchange, &waiting->requests, open);
    else
        session_serve_stream(waiting->worker, exchange, &waiting->requests, waiting->format, waiting->media, open);
}

static void on_device_opened(struct session_open *open)
{
    struct subscribe_waiting *waiting = open->owner;

    if (waiting == NULL) {
        device_link_drop(device_link_worker(open), open);
        return;
    }
    waiting_serve(waiting, open);
    waiting_free(waiting);
    command_free(&open->command);
}

/* The client is gone, but its exchange lives until it is answered. Nobody reads that answer. */
static void waiting_gone(void *owner)
{
    struct subscribe_waiting *waiting = owner;

    device_link_abandon(waiting->worker, waiting->open);
    http_answer(waiting->worker->server, waiting->exchange, &(struct http_answer){ .status = 503 });
    waiting_free(waiting);
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

static enum open_way way_of(const struct subscribe_requests *requests, const struct stream_format *format)
{
    if (!requests->is_returning)
        return OPEN_NEWER;
    return format == NULL ? OPEN_CURSOR : OPEN_STREAM;
}

/* Takes what the requests own. */
static void waiting_begin(struct session_open *open, struct session_worker *worker, struct http_exchange *exchange,
                          struct subscribe_requests *requests, const struct stream_format *format, struct span media)
{
    struct subscribe_waiting *waiting = malloc(sizeof *waiting);

    must(waiting != NULL);
    *waiting = (struct subscribe_waiting){
        .worker = worker, .exchange = exchange, .requests = *requests, .format = format, .media = media, .open = open,
    };
    subscribe_requests_init(requests);
    open->owner     = waiting;
    exchange->owner = waiting;
    exchange->gone  = waiting_gone;
}

void session_serve_device(struct session_worker *worker, struct http_exchange *exchange,
                          struct subscribe_requests *requests, const struct stream_format *format, struct span media)
{
    const struct identity  *caller   = exchange->caller.identity;
    struct session_question question = {
        .way = way_of(requests, format), .user = identity_user(caller), .device_class = span_str(requests->device_class),
        .generation = requests->generation, .since = requests->since, .key = exchange->caller.connection,
        .transport = format == NULL ? TRANSPORT_POLL : format->transport,
    };
    char           made[MADE_DEVICE_BYTES];
    struct verdict verdict = device_link_choose(worker, caller, span_str(requests->device), made, &question.device);

    if (question.key == 0)
        question.key = exchange->caller.connection = worker->port->new_key(worker->ctx);
    if (verdict.status == 0 && requests->count > STREAM_CHANNELS_MAX)
        verdict = (struct verdict){ 400, "a session's stream follows at most 512 channels that are not the session's own" };
    if (verdict.status == 0) {
        struct session_open *open = device_link_ask(worker, &question, on_device_opened, NULL);
        waiting_begin(open, worker, exchange, requests, format, media);
        return;
    }
    subscribe_requests_fault(requests, verdict.status, "%s", verdict.reason);
    refuse_requests(worker, exchange, requests);
}
