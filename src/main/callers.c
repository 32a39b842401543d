#include "main/callers.h"

#include "base/must.h"
#include "main/fetch_command.h"
#include "main/limits.h"
#include "main/server.h"
#include "reactor/log.h"

enum { KEY_SET_BYTES_MAX = 256 * 1024, KEY_SET_AGAIN_MS = 10 * 1000 };

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
    caller_hook_ended(wait, end, end == HOOK_ANSWERED ? call->status : 0,
                      end == HOOK_ANSWERED ? buf_span(&call->answer) : SPAN(""), call == NULL ? 0 : call->took_ms);
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

/* --- key sets ------------------------------------------------------------------------------------------------ */

static void key_set_refuse(struct key_set *set, const char *name, const char *why)
{
    counter_add(&set->worker->callers.counters.failed, 1);
    if (!set->has_failed)  /* one line until it works again */
        LOG(LOG_WARN, "key_set_failed", log_str("issuer", name), log_str("why", why));
    set->has_failed = true;
}

static void key_set_take(struct key_set *set, struct issuer *issuer, struct span document)
{
    struct buf why;

    buf_init(&why, 1024);
    if (issuer_adopt_jwks(issuer, document, &why)) {
        counter_add(&set->worker->callers.counters.fetched, 1);
        set->has_failed = false;
    } else {
        buf_putc(&why, '\0');
        key_set_refuse(set, issuer->section->name, why.at);
    }
    buf_fini(&why);
}

static void key_set_came(void *owner, struct fetch_command *command)
{
    struct key_set          *set     = owner;
    struct callers          *callers = &set->worker->callers;
    const struct fetch_call *call    = command->call;
    struct issuer           *issuer  = &callers->keys.issuers.at[set - callers->sets];

    set->under_way = NULL;
    if (call == NULL)
        key_set_refuse(set, issuer->section->name, "too many calls are under way");
    else if (call->outcome != FETCH_ANSWERED)
        key_set_refuse(set, issuer->section->name, call->why);
    else if (call->status != 200)
        key_set_refuse(set, issuer->section->name, "its status was not 200");
    else
        key_set_take(set, issuer, buf_span(&call->answer));
    caller_keys_came(&callers->all);
}

static void key_set_fetch(struct key_set *set, const struct jwt_section *section)
{
    struct fetch_call *call = fetch_call_new("GET", span_str(section->place));

    must(fetch_call_add_field(call, SPAN("Accept"), SPAN("application/jwk-set+json, application/json")));
    call->timeout_ms = call->connect_timeout_ms = KEY_SET_TIMEOUT_MS;
    call->answer_bytes_max = KEY_SET_BYTES_MAX;
    set->asked_at  = set->worker->loop.now;
    set->under_way = fetch_command_send(set->worker, call, key_set_came, set);
}

/* Fetches those that were not asked for within `pause`. True: some are on their way. */
static bool key_sets_fetch(struct worker *worker, msec pause)
{
    const struct settings *settings = settings_of(worker);
    bool                   are_awaited = false;

    for (size_t i = 0; i < settings->issuer_count; i++) {
        struct key_set *set = &worker->callers.sets[i];
        if (settings->issuers[i].source != JWT_JWKS_URL)
            continue;
        if (set->under_way == NULL && (set->asked_at == 0 || worker->loop.now - set->asked_at >= pause))
            key_set_fetch(set, &settings->issuers[i]);
        are_awaited |= set->under_way != NULL;
    }
    return are_awaited;
}

static bool callers_await_keys(void *ctx)
{
    return key_sets_fetch(ctx, KEY_SET_AGAIN_MS);
}

static void key_sets_forget(struct worker *worker)
{
    for (size_t i = 0; i < ISSUERS_MAX; i++) {
        struct key_set *set = &worker->callers.sets[i];
        if (set->under_way != NULL)
            fetch_command_cancel(set->under_way);
        *set = (struct key_set){ .worker = worker };
    }
}

/* A set that could not be fetched is tried again sooner. */
void callers_tick(struct worker *worker)
{
    const struct settings *settings = settings_of(worker);
    msec                   pause    = settings->jwks_refresh_s * 1000;

    for (size_t i = 0; i < settings->issuer_count; i++)
        if (worker->callers.sets[i].has_failed)
            pause = KEY_SET_AGAIN_MS;
    key_sets_fetch(worker, pause);
}

/* --- its life ------------------------------------------------------------------------------------------------ */

static const struct caller_port callers_port = {
    .ask = callers_ask_hook, .cancel = callers_cancel_hook, .await_keys = callers_await_keys,
};

void callers_open(struct worker *worker)
{
    struct callers                *callers  = &worker->callers;
    const struct settings         *settings = settings_of(worker);
    const struct identifier_limits limits   = identifier_limits_of(settings);

    key_identifier_init(&callers->keys, &worker->loop.wheel, &limits, settings, &worker->loop.wall);
    caller_identifier_init(&callers->all, &callers->keys.identifier, &worker->revocations, &worker->loop.wall,
                           &worker->loop.wheel, &limits, &callers_port, worker);
    caller_identifier_set_hook(&callers->all, settings->hook.is_there, false);
    key_sets_forget(worker);
}

void callers_close(struct worker *worker)
{
    key_sets_forget(worker);
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
