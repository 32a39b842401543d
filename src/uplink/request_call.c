/* request_call.c - what the back end is sent, and what came of it. */
#include <stdlib.h>
#include <stdio.h>

#include "base/must.h"
#include "codec/url/url.h"
#include "message/request_method.h"
#include "node/connection_key.h"
#include "uplink/requests_priv.h"

enum { FIELD_BYTES_MAX = 4 * 1024 };

/* --- what is sent ----------------------------------------------------------------------------------------------- */

static void add_encoded(struct fetch_call *call, const char *name, struct span value)
{
    struct buf text;

    if (value.len == 0)
        return;
    buf_init(&text, FIELD_BYTES_MAX);
    url_put_encoded(&text, value);
    must(!buf_is_over(&text) && fetch_call_add_field(call, span_str(name), buf_span(&text)));
    buf_fini(&text);
}

/* USER/DEVICE/ID; of a link without a device's name, its connection's key stands for the device. */
static void add_key(struct fetch_call *call, const struct request_command *command)
{
    struct buf text;

    buf_init(&text, FIELD_BYTES_MAX);
    url_put_encoded(&text, command->user);
    buf_putc(&text, '/');
    if (command->device.len > 0)
        url_put_encoded(&text, command->device);
    else
        connection_key_put(&text, command->key);
    buf_putc(&text, '/');
    url_put_encoded(&text, command->id);
    must(!buf_is_over(&text) && fetch_call_add_field(call, SPAN("Idempotency-Key"), buf_span(&text)));
    buf_fini(&text);
}

static void add_connection(struct fetch_call *call, uint64_t key)
{
    struct buf text;

    if (key == 0)
        return;
    buf_init(&text, CONNECTION_KEY_DIGITS);
    connection_key_put(&text, key);
    must(fetch_call_add_field(call, SPAN("Longwire-Connection"), buf_span(&text)));
    buf_fini(&text);
}

/* W3C Trace Context: the client's, or the beginning of a trace that nobody has asked to be recorded. */
static void add_trace(struct fetch_call *call, struct span traceparent, struct rng *random)
{
    char text[64];

    if (traceparent.len == 0) {
        unsigned long long a = rng_next(random), b = rng_next(random), parent = rng_next(random);
        snprintf(text, sizeof text, "00-%016llx%016llx-%016llx-00", a, b | 1, parent | 1);
        traceparent = span_str(text);
    }
    must(fetch_call_add_field(call, SPAN("traceparent"), traceparent));
}

static void request_returned(struct backend_call *call);

/* On the thread that brings the answer, so that the writer's need not escape a long body. The request lives until its call is
 * back, and its id does not change. */
static void prepare_response(struct fetch_call *fetch)
{
    const struct request_work   *work = fetch->about;
    struct response_instructions instructions;

    if (response_instructions_read(buf_span(&fetch->head), &instructions) == NULL && instructions.publish.len == 0)
        response_put_answer(&fetch->prepared, work->id, fetch->status, buf_span(&fetch->head), buf_span(&fetch->answer), true,
                            &instructions);
    response_instructions_fini(&instructions);
}

void request_call_prepare(struct request_work *work, const struct request_command *command)
{
    enum request_method method;

    must(request_method_find(command->method, &method) && command->backend.len <= REQUEST_BACKEND_BYTES_MAX);
    memcpy(work->backend, command->backend.at, command->backend.len);
    struct fetch_call *fetch = fetch_call_new(request_method_name(method), SPAN(""));
    add_key(fetch, command);
    add_encoded(fetch, "Longwire-User", command->user);
    add_encoded(fetch, "Longwire-Device", command->device);
    add_connection(fetch, command->key);
    add_trace(fetch, command->traceparent, &work->requests->random);
    if (command->address.len > 0)
        fetch_call_add_field(fetch, SPAN("X-Forwarded-For"), command->address);
    for (size_t i = 0; i < command->field_count; i++)
        fetch_call_add_field(fetch, command->fields[i].name, command->fields[i].value);
    buf_put(&fetch->body, command->body);
    fetch->answer_bytes_max = work->channel->space->payload_bytes_max;
    fetch->keeps_head       = true;
    fetch->prepare          = prepare_response;
    fetch->about            = work;
    work->call = (struct backend_call){
        .fetch = fetch, .target = strndup(command->target.at, command->target.len), .done = request_returned, .owner = work,
        .deadline = command->timeout_ms == 0 ? 0 : work->requests->now + command->timeout_ms,
    };
    must(work->call.target != NULL);
}

void request_call_begin(struct request_work *work)
{
    struct requests *requests = work->requests;

    if (work->is_cancelled) {
        request_answer_problem(work, 499, "the client has cancelled the request before it was sent", NULL);
        return;
    }
    work->stage     = REQUEST_CALLING;
    work->is_called = true;
    requests->away_count++;
    requests->setup.port->send(requests->setup.ctx, span_str(work->backend), &work->call);
}

void request_call_cancel(struct request_work *work)
{
    work->is_cancelled = true;
    if (work->is_called)
        work->requests->setup.port->cancel(work->requests->setup.ctx, &work->call);
}

/* --- what came back --------------------------------------------------------------------------------------------- */

static void answer_too_large(struct request_work *work)
{
    request_answer_problem(work, 502, "the back end's answer is longer than a response may be (payload_bytes_max of the "
                                      "namespace of its channel)", NULL);
}

/* The object is there. */
static void answer_if_it_fits(struct request_work *work)
{
    work->status = work->call.fetch->status;
    if (work->object.len > work->channel->space->payload_bytes_max)
        answer_too_large(work);
    else
        request_answer_begin(work);
}

static void answer_with(struct request_work *work, const struct response_instructions *instructions, bool has_body)
{
    struct fetch_call *fetch = work->call.fetch;

    response_put_answer(&work->object, work->id, fetch->status, buf_span(&fetch->head), buf_span(&fetch->answer), has_body,
                        instructions);
    answer_if_it_fits(work);
}

static void answer_as_prepared(struct request_work *work)
{
    struct fetch_call *fetch = work->call.fetch;

    buf_fini(&work->object);
    work->object = fetch->prepared;
    buf_init(&fetch->prepared, SIZE_MAX / 2);
    answer_if_it_fits(work);
}

/* The back end is the operator's own: it may publish where keys may. */
static void publish_answer(struct request_work *work, struct span channel)
{
    struct fetch_call   *fetch = work->call.fetch;
    struct channel_name *name;

    if (channel_name_new(work->requests->setup.spaces, work->requests->setup.hash_key, channel, &name) != CHANNEL_NAME_OK) {
        request_answer_problem(work, 502, "the back end's answer is to be published in a channel that can't exist", NULL);
        return;
    }
    request_answer_publish(work, name, response_head_field(buf_span(&fetch->head), SPAN("content-type")),
                           buf_span(&fetch->answer));
    channel_name_unref(name);
}

static void answer_from_head(struct request_work *work)
{
    struct fetch_call           *fetch = work->call.fetch;
    struct response_instructions instructions;
    const char                  *fault = response_instructions_read(buf_span(&fetch->head), &instructions);

    if (fault != NULL)
        request_answer_problem(work, 502, fault, NULL);
    else if (instructions.publish.len > 0)
        publish_answer(work, instructions.publish);
    else
        answer_with(work, &instructions, true);
    response_instructions_fini(&instructions);
}

void request_call_took(struct request_work *work)
{
    if (work->call.fetch->prepared.len > 0)
        answer_as_prepared(work);
    else
        answer_from_head(work);
}

void request_call_published(struct request_work *work)
{
    struct response_instructions instructions;

    must(response_instructions_read(buf_span(&work->call.fetch->head), &instructions) == NULL);
    answer_with(work, &instructions, false);
    response_instructions_fini(&instructions);
}

static const struct { unsigned status; const char *detail; } failures[BACKEND_OUTCOME_COUNT] = {
    [BACKEND_TIMEOUT]     = { 504, "the back end did not answer in time" },
    [BACKEND_UNREACHABLE] = { 502, "no address of the back end can be reached" },
    [BACKEND_GARBAGE]     = { 502, "the back end's answer is no HTTP, or ended before it was whole" },
    [BACKEND_TOO_LARGE]   = { 502, "the back end's answer is longer than a response may be (payload_bytes_max of the namespace of "
                                   "its channel)" },
    [BACKEND_CIRCUIT]     = { 503, "the back end has failed too often lately; it is tried again soon" },
    [BACKEND_FULL]        = { 503, "too many requests wait for the back end" },
    [BACKEND_CANCELLED]   = { 499, "the client has cancelled the request" },
    [BACKEND_STOPPED]     = { 503, "the back end is not in the configuration any more, or the server stops" },
};

/* Its rows stay: whoever finds them answers, as after a crash. A request that was never sent need not be doubted. */
static bool is_left_behind(const struct request_work *work)
{
    return work->requests->is_stopping && work_has_rows(work) && !work->is_cancelled &&
           (work->call.outcome == BACKEND_CANCELLED || work->call.outcome == BACKEND_STOPPED);
}

static void request_returned(struct backend_call *call)
{
    struct request_work *work = call->owner;

    work->is_called = false;
    work->requests->away_count--;
    if (is_left_behind(work))
        request_work_free(work);
    else if (call->outcome == BACKEND_ANSWERED && !work->is_cancelled)
        request_call_took(work);
    else if (work->is_cancelled)
        request_answer_problem(work, 499, failures[BACKEND_CANCELLED].detail, NULL);
    else
        request_answer_problem(work, failures[call->outcome].status, failures[call->outcome].detail, NULL);
}
