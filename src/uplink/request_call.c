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

/* Of a name, or of three of them, each byte as `%xx`. */
struct field_text {
    struct buf buf;
    char       bytes[FIELD_BYTES_MAX];
};

static struct buf *field_text_begin(struct field_text *text)
{
    text->buf = (struct buf){ .at = text->bytes, .cap = sizeof text->bytes, .max = sizeof text->bytes };  /* never grows */
    return &text->buf;
}

static void add_text(struct fetch_call *call, struct span name, const struct field_text *text)
{
    must(!buf_is_over(&text->buf) && fetch_call_add_field(call, name, buf_span(&text->buf)));
}

static void add_encoded(struct fetch_call *call, const char *name, struct span value)
{
    struct field_text text;

    if (value.len == 0)
        return;
    url_put_encoded(field_text_begin(&text), value);
    add_text(call, span_str(name), &text);
}

/* USER/DEVICE/ID; of a link without a device's name, its connection's key stands for the device. */
static void add_key(struct fetch_call *call, const struct request_command *command)
{
    struct field_text text;
    struct buf       *key = field_text_begin(&text);

    url_put_encoded(key, command->user);
    buf_putc(key, '/');
    if (command->device.len > 0)
        url_put_encoded(key, command->device);
    else
        connection_key_put(key, command->key);
    buf_putc(key, '/');
    url_put_encoded(key, command->id);
    add_text(call, SPAN("Idempotency-Key"), &text);
}

static void add_connection(struct fetch_call *call, uint64_t key)
{
    struct field_text text;

    if (key == 0)
        return;
    connection_key_put(field_text_begin(&text), key);
    add_text(call, SPAN("Longwire-Connection"), &text);
}

/* W3C Trace Context: the client's, or the beginning of a trace that nobody has asked to be recorded. */
static void add_trace(struct fetch_call *call, struct span traceparent, struct rng *random)
{
    struct field_text text;
    struct buf       *made = field_text_begin(&text);

    if (traceparent.len == 0) {
        buf_put_lit(made, "00-");
        connection_key_put(made, rng_next(random));
        connection_key_put(made, rng_next(random) | 1);
        buf_putc(made, '-');
        connection_key_put(made, rng_next(random) | 1);
        buf_put_lit(made, "-00");
        traceparent = buf_span(made);
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
    fetch->loop             = 1 + command->command.loop;
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
    counter_add(&requests->counters.calls, 1);
    requests->setup.port->send(requests->setup.ctx, span_str(work->backend), &work->call);
}

void request_call_cancel(struct request_work *work)
{
    work->is_cancelled = true;
    if (work->is_called)
        work->requests->setup.port->cancel(work->requests->setup.ctx, &work->call);
}

void request_call_break_off(struct request_work *work)
{
    if (!work->is_called || work->is_broken_off)
        return;
    work->is_broken_off = true;
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
                                   "its channel; its head: 64 KiB)" },
    [BACKEND_CIRCUIT]     = { 503, "the back end has failed too often lately; it is tried again soon" },
    [BACKEND_FULL]        = { 503, "too many requests wait for the back end" },
    [BACKEND_CANCELLED]   = { 499, "the client has cancelled the request" },
    [BACKEND_STOPPED]     = { 503, "the back end is not in the configuration any more, or the server stops" },
};

/* Its rows stay: whoever finds them answers, as after a crash. A request that was never sent need not be doubted. Loops that end bring
 * their calls back before the writer stops. */
static bool is_left_behind(const struct request_work *work)
{
    return work->requests->is_hurried && work_has_rows(work) && !work->is_cancelled &&
           (work->call.outcome == BACKEND_CANCELLED || work->call.outcome == BACKEND_STOPPED);
}

/* The back end left the configuration while it worked, or another process takes the place of this one. 503 would say that it was not
 * asked. */
static void answer_broken_off(struct request_work *work)
{
    counter_add(&work->requests->counters.unknown, 1);
    request_answer_problem(work, 504, work->is_broken_off ? "the server was replaced meanwhile; what the back end did is not known"
                           : "the back end was taken out of the configuration meanwhile; what it did is not known", "unknown");
}

static void request_returned(struct backend_call *call)
{
    struct request_work *work = call->owner;

    work->is_called = false;
    work->requests->away_count--;
    counter_sub(&work->requests->counters.calls, 1);
    if (is_left_behind(work))
        request_work_free(work);
    else if (call->outcome == BACKEND_ANSWERED && !work->is_cancelled)
        request_call_took(work);
    else if (work->is_cancelled)
        request_answer_problem(work, 499, failures[BACKEND_CANCELLED].detail, NULL);
    else if (work->is_broken_off || (call->outcome == BACKEND_STOPPED && call->is_sent))
        answer_broken_off(work);
    else
        request_answer_problem(work, failures[call->outcome].status, failures[call->outcome].detail, NULL);
}
