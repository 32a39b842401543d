/* subscribers.c - GET /v1/channels/{channel}/subscribers: which devices follow a channel now, page by page. */
#include <stdlib.h>

#include "api/call.h"
#include "base/must.h"
#include "device/membership.h"
#include "device/presence_command.h"

enum { SUBSCRIBERS_LIMIT_DEFAULT = 100 };

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void put_subscriber(struct buf *buf, const struct listed_subscriber *subscriber)
{
    buf_put_lit(buf, "{\"user\":");
    json_put_string(buf, span_str(subscriber->user));
    buf_put_lit(buf, ",\"device\":");
    json_put_string(buf, span_str(subscriber->device));
    buf_putf(buf, ",\"transport\":\"%s\",\"since\":%lld}", subscriber->transport, (long long)subscriber->since);
}

static void put_subscribers(struct buf *buf, const struct presence_listing *listing)
{
    buf_put_lit(buf, "{\"channel\":");
    json_put_string(buf, channel_name_span(listing->name));
    buf_put_lit(buf, ",\"count\":");
    buf_put_u64(buf, listing->count);
    buf_put_lit(buf, ",\"subscribers\":[");
    for (uint32_t i = 0; i < listing->at_count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        put_subscriber(buf, &listing->at[i]);
    }
    buf_putc(buf, ']');
    if (listing->next != 0)
        buf_putf(buf, ",\"next\":\"%llu\"", (unsigned long long)listing->next);
    buf_putc(buf, '}');
}

static void subscribers_listed(struct presence_listing *listing)
{
    struct http_exchange *exchange = listing->owner;
    struct api           *api      = exchange->owner;

    buf_clear(&api->scratch);
    put_subscribers(&api->scratch, listing);
    http_answer(api->server, exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
    });
    command_free(&listing->command);
}

/* Takes the listing. Only who may ask is told that there is no presence. */
static void subscribers_list(struct api *api, struct presence_listing *listing)
{
    if (listing->name->space->has_presence) {
        shard_list_presence(api->shard, listing);
        return;
    }
    http_problem(api->server, listing->owner, 409, NULL,
                 "this channel's namespace keeps no presence: set presence = true in its section of the configuration",
                 HTTP_NO_FIELDS);
    command_free(&listing->command);
}

/* --- who may ask ------------------------------------------------------------------------------------------------ */

/* The ledger is asked whether the caller is a member; then `listing` goes on. */
struct subscribers_question {
    struct api              *api;
    struct presence_listing *listing;
    const char              *reason;  /* for who is no member; static */
};

static void subscribers_refuse(const struct subscribers_question *mine, const struct membership_command *question)
{
    struct http_exchange *exchange = mine->listing->owner;

    if (question->outcome == MEMBERSHIP_DONE || question->outcome == MEMBERSHIP_NOT_DURABLE)
        http_problem(mine->api->server, exchange, 403, NULL, mine->reason, HTTP_NO_FIELDS);
    else
        call_answer_unreadable(mine->api, exchange);
    command_free(&mine->listing->command);
}

static void subscribers_member_asked(struct membership_command *question)
{
    struct subscribers_question *mine = question->owner;

    if (question->outcome == MEMBERSHIP_DONE && question->is_member)
        subscribers_list(mine->api, mine->listing);
    else
        subscribers_refuse(mine, question);
    command_free(&question->command);
    free(mine);
}

static void subscribers_ask(const struct call *call, struct presence_listing *listing, struct verdict verdict)
{
    struct api *api = call->api;

    listing->owner    = call->exchange;
    listing->answered = subscribers_listed;
    if (!verdict.needs_member) {
        subscribers_list(api, listing);
        return;
    }
    struct subscribers_question *mine     = malloc(sizeof *mine);
    struct membership_command   *question = membership_question_new(api->memberships, api->namespaces, api->hash_key,
                                                                    identity_user(call->identity), listing->name);
    must(mine != NULL);
    *mine              = (struct subscribers_question){ api, listing, verdict.reason };
    question->owner    = mine;
    question->answered = subscribers_member_asked;
    shard_ask_membership(api->shard, question);
}

/* --- the call --------------------------------------------------------------------------------------------------- */

static const struct span subscribers_parameters[] = { SPAN("limit"), SPAN("next") };

static void subscribers_read(const struct call *call, struct channel_name *name, struct verdict verdict)
{
    uint64_t limit = SUBSCRIBERS_LIMIT_DEFAULT, next = 0;
    bool     has_limit, has_next;

    if (!call_knows_query(call, KNOWN_WORDS(subscribers_parameters)) ||
        !call_u64(call, SPAN("limit"), &has_limit, &limit) || !call_u64(call, SPAN("next"), &has_next, &next))
        return;
    if (limit == 0) {
        call_refuse(call, 400, "limit= is 1 or more");
        return;
    }
    limit = limit < PRESENCE_LIST_MAX ? limit : PRESENCE_LIST_MAX;
    subscribers_ask(call, presence_listing_new(call->api->presence, name, next, (uint32_t)limit), verdict);
}

void serve_subscribers(struct call *call)
{
    struct channel_name *name = call_channel(call, ACTION_PRESENCE);

    if (name == NULL)
        return;
    struct verdict verdict = may(call->identity, name, ACTION_PRESENCE);
    if (call_passes_member(call, verdict))
        subscribers_read(call, name, verdict);
    channel_name_unref(name);
}
