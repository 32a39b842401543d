#include "session/subscribe_request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "codec/token/token.h"
#include "session/presence_follow.h"

void subscribe_requests_init(struct subscribe_requests *requests)
{
    *requests = (struct subscribe_requests){ 0 };
    token_init(&requests->named);
}

void subscribe_requests_fini(struct subscribe_requests *requests)
{
    for (size_t i = 0; i < requests->count; i++)
        channel_name_unref(requests->at[i].name);
    free(requests->at);
    token_fini(&requests->named);
    channel_name_unref(requests->own);
}

bool subscribe_requests_fault(struct subscribe_requests *requests, unsigned status, const char *format, ...)
{
    va_list args;

    requests->fault_status = status;
    va_start(args, format);
    vsnprintf(requests->fault, sizeof requests->fault, format, args);
    va_end(args);
    return false;
}

struct subscribe_request *subscribe_requests_find(struct subscribe_requests *requests,
                                                  const struct session_worker *worker, struct span channel)
{
    uint64_t hash = hash_bytes(worker->hash_key, channel);

    for (size_t i = 0; i < requests->count; i++)
        if (requests->at[i].hash == hash && span_eq(channel_name_span(requests->at[i].name), channel))
            return &requests->at[i];
    return NULL;
}

static int request_order(const void *a, const void *b)
{
    const struct subscribe_request *left = a, *right = b;

    return channel_order(channel_name_span(left->name), channel_name_span(right->name));
}

void subscribe_requests_sort(struct subscribe_requests *requests)
{
    if (requests->count > 1)
        qsort(requests->at, requests->count, sizeof requests->at[0], request_order);
}

static void subscribe_requests_push(struct subscribe_requests *requests, struct channel_name *name, struct start start)
{
    if (requests->count == requests->cap) {
        requests->cap = requests->cap == 0 ? 1 : requests->cap * 2;
        requests->at  = realloc(requests->at, requests->cap * sizeof requests->at[0]);
        must(requests->at != NULL);
    }
    requests->at[requests->count++] = (struct subscribe_request){ .name = name, .hash = name->hash, .start = start };
}

bool subscribe_requests_add(struct subscribe_requests *requests, struct session_worker *worker, struct span channel,
                            struct start start, const struct identity *identity)
{
    struct channel_name *name;

    if (requests->count >= worker->limits.channels_max)
        return subscribe_requests_fault(requests, 400,
                                        "too many channels: one connection may follow %u (channels_per_connection_max)",
                                        worker->limits.channels_max);
    if (subscribe_requests_find(requests, worker, channel) != NULL)
        return subscribe_requests_fault(requests, 400, "a channel is named twice");
    struct verdict verdict = may_name(identity, ACTION_SUBSCRIBE, worker->namespaces, worker->hash_key, channel,
                                      &name);
    if (verdict.status != 0)
        return subscribe_requests_fault(requests, verdict.status, "%s", verdict.reason);
    verdict = may(identity, name, ACTION_SUBSCRIBE);
    if (verdict.status != 0 && !verdict.needs_member) {
        channel_name_unref(name);
        return subscribe_requests_fault(requests, verdict.status, "%s", verdict.reason);
    }
    subscribe_requests_push(requests, name, start);
    if (verdict.needs_member) {
        requests->at[requests->count - 1].needs_member = requests->needs_member = true;
        requests->not_member                                                    = verdict.reason;
    }
    return true;
}

bool subscribe_requests_watch(struct subscribe_requests *requests, struct subscribe_request *request,
                              const struct identity *identity)
{
    struct verdict verdict = presence_may_watch(identity, request->name);

    if (verdict.status != 0 && !verdict.needs_member)
        return subscribe_requests_fault(requests, verdict.status, "%s", verdict.reason);
    if (verdict.needs_member) {
        request->needs_member = requests->needs_member = true;
        requests->not_member                           = verdict.reason;
    }
    request->is_watched = true;
    return true;
}

bool subscribe_requests_watch_all(struct subscribe_requests *requests, const struct identity *identity)
{
    size_t count = 0;

    for (size_t i = 0; i < requests->count; i++) {
        if (!requests->at[i].name->space->has_presence)
            continue;
        if (!subscribe_requests_watch(requests, &requests->at[i], identity))
            return false;
        count++;
    }
    return count > 0 || requests->count == 0 ||
           subscribe_requests_fault(requests, 409, "%s", PRESENCE_IS_OFF);
}

bool subscribe_requests_are_known(const struct subscribe_requests *requests)
{
    if (requests->is_returning)
        return true;
    for (size_t i = 0; i < requests->count; i++)
        if (requests->at[i].start.kind == START_AFTER)
            return true;
    return false;
}

void subscribe_requests_give(struct subscribe_requests *requests, struct session_worker *worker, struct span channel,
                             const struct identity *identity)
{
    struct channel_name *name;

    if (requests->count >= worker->limits.channels_max || subscribe_requests_find(requests, worker, channel) != NULL ||
        may_name(identity, ACTION_SUBSCRIBE, worker->namespaces, worker->hash_key, channel, &name).status != 0)
        return;
    if (may(identity, name, ACTION_SUBSCRIBE).status == 0)
        subscribe_requests_push(requests, name, (struct start){ .kind = START_NOW });
    else
        channel_name_unref(name);
}

void subscribe_requests_give_all(struct subscribe_requests *requests, struct session_worker *worker,
                                 const struct identity *identity)
{
    for (size_t i = 0; i < identity->follow_count; i++)
        subscribe_requests_give(requests, worker, identity_grants(identity)[i].match, identity);
}
