#include "main/callers.h"

#include "base/must.h"
#include "main/fetch_command.h"
#include "main/limits.h"
#include "main/server.h"
#include "reactor/log.h"

static const struct settings *settings_of(const struct worker *worker)
{
    return &worker->snapshot->settings;
}

bool callers_need_fetch(const struct settings *settings)
{
    for (size_t i = 0; i < settings->issuer_count; i++)
        if (settings->issuers[i].source == JWT_JWKS_URL)
            return true;
    return settings->hook.is_there;
}

size_t callers_fields(const struct settings *settings, const struct request_head *head, struct credential_field *fields)
{
    size_t count = 0;

    for (size_t i = 0; i < settings->hook.header_count; i++) {
        struct span name  = span_str(settings->hook.headers[i]);
        struct span value = request_field(head, name);
        if (value.at != NULL)
            fields[count++] = (struct credential_field){ name, value };
    }
    return count;
}

/* --- the connect hook ---------------------------------------------------------------------------------------- */

static void hook_answered(void *owner, struct fetch_command *command)
{
    struct caller_wait      *wait = owner;
    const struct fetch_call *call = command->call;
    enum hook_end            end  = HOOK_SILENT;

    if (call != NULL && call->outcome == FETCH_ANSWERED)
        end = HOOK_ANSWERED;
    else if (call != NULL && (call->outcome == FETCH_GARBAGE || call->outcome == FETCH_TOO_LARGE))
        end = HOOK_GARBAGE;
    if (call != NULL && end != HOOK_ANSWERED)
        LOG(LOG_WARN, "connect_hook_failed", log_str("how", fetch_outcome_text(call->outcome)), log_str("why", call->why));
    if (end == HOOK_ANSWERED && call->status != 200 && call->status != 401 && call->status != 403)
        LOG(LOG_WARN, "connect_hook_failed", log_str("how", "status"), log_u64("status", call->status));
    const char *fault = caller_hook_ended(wait, end, end == HOOK_ANSWERED ? call->status : 0,
                                          end == HOOK_ANSWERED ? buf_span(&call->answer) : SPAN(""), call == NULL ? 0 : call->took_ms);
    if (fault != NULL)
        LOG(LOG_WARN, "connect_hook_failed", log_str("how", "answer"), log_str("why", fault));
}

static void callers_ask_hook(void *ctx, struct caller_wait *wait, struct span json, void **ret_handle)
{
    struct worker             *worker = ctx;
    const struct hook_section *hook   = &settings_of(worker)->hook;
    struct fetch_call         *call   = fetch_call_new("POST", span_str(hook->url));

    must(fetch_call_add_field(call, SPAN("Content-Type"), SPAN("application/json")));
    must(fetch_call_add_field(call, SPAN("Accept"), SPAN("application/json")));
    buf_put(&call->body, json);
    call->timeout_ms = call->connect_timeout_ms = hook->timeout_s * 1000;
    call->answer_bytes_max = HOOK_ANSWER_BYTES_MAX;
    *ret_handle = fetch_command_send(worker, call, hook_answered, wait);
}

static void callers_cancel_hook(void *ctx, void *handle)
{
    (void)ctx;
    fetch_command_cancel(handle);
}

/* --- its life ------------------------------------------------------------------------------------------------ */

static bool callers_await_keys(void *ctx)
{
    return key_sets_await(ctx);
}

static void callers_note_wrong(void *ctx, uint64_t address)
{
    struct worker *worker = ctx;

    key_identifier_note_wrong(&worker->callers.keys, address);
}

static const struct caller_port callers_port = {
    .ask = callers_ask_hook, .cancel = callers_cancel_hook, .await_keys = callers_await_keys,
    .note_wrong = callers_note_wrong,
};

void callers_open(struct worker *worker)
{
    struct callers                *callers  = &worker->callers;
    const struct settings         *settings = settings_of(worker);
    const struct identifier_limits limits   = identifier_limits_of(settings);

    key_identifier_init(&callers->keys, &worker->loop.wheel, &limits, settings, &worker->usage, &worker->loop.wall);
    caller_identifier_init(&callers->all, &callers->keys.identifier, &worker->revocations, &worker->loop.wall,
                           &worker->loop.wheel, &limits, &callers_port, worker);
    caller_identifier_set_hook(&callers->all, settings->hook.is_there, false);
}

void callers_close(struct worker *worker)
{
    key_sets_close(worker);
    caller_identifier_fini(&worker->callers.all);
    key_identifier_fini(&worker->callers.keys);
}

/* Who waits for keys is asked again at once: the issuers may be others now. */
void callers_adopt(struct worker *worker, const struct settings *before)
{
    struct callers        *callers  = &worker->callers;
    const struct settings *settings = settings_of(worker);

    key_identifier_adopt(&callers->keys, settings);
    caller_identifier_set_hook(&callers->all, settings->hook.is_there,
                               strcmp(before->hook.url, settings->hook.url) != 0);
    callers->all.identifier.limits = identifier_limits_of(settings);
    key_sets_forget(worker);
    caller_keys_came(&callers->all);
}
