/* subscribers.c - GET /v1/channels/{channel}/subscribers: which devices follow a channel now, page by page.
 *
 * In a cluster the pages go through the nodes in the order of their names, and each node's devices in the order of their arrival. Where
 * the next page begins is NODE/NUMBER: behind this place of that node. A node alone leaves out the name. */
#include <stdlib.h>

#include "api/peers.h"
#include "base/must.h"
#include "codec/url/url.h"
#include "device/membership.h"
#include "device/presence_command.h"

enum { SUBSCRIBERS_LIMIT_DEFAULT = 100 };

/* A page that is being gathered. */
struct subscriber_page {
    struct api              *api;
    struct presence_listing *listing;   /* of this node */
    char                     node[NODE_RECORD_NAME_MAX + 1];  /* where it begins: on this node, … */
    uint64_t                 after;     /* … behind this place */
    uint32_t                 limit;
};

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void put_subscriber(struct buf *buf, const struct listed_subscriber *subscriber)
{
    buf_put_lit(buf, "{\"user\":");
    json_put_string(buf, span_str(subscriber->user));
    buf_put_lit(buf, ",\"device\":");
    json_put_string(buf, span_str(subscriber->device));
    buf_putf(buf, ",\"transport\":\"%s\",\"since\":%lld}", subscriber->transport, (long long)subscriber->since);
}

/* The devices of one node, as they are put. */
struct subscriber_source {
    const char                     *node;
    const struct listed_subscriber *at;
    uint32_t                        count;
    bool                            has_more;
};

struct subscriber_answer {
    struct buf *buf;
    uint32_t    put, limit;
    const char *last_node;   /* of the last one that was put */
    uint64_t    last_number;
    bool        has_more;
};

static void put_source(struct subscriber_answer *answer, const struct subscriber_source *source)
{
    for (uint32_t i = 0; i < source->count; i++) {
        if (answer->put == answer->limit) {
            answer->has_more = true;
            return;
        }
        if (answer->put++ > 0)
            buf_putc(answer->buf, ',');
        put_subscriber(answer->buf, &source->at[i]);
        answer->last_node   = source->node;
        answer->last_number = source->at[i].number;
    }
    answer->has_more = answer->has_more || source->has_more;
}

static void put_next(const struct subscriber_answer *answer, bool is_alone)
{
    if (!answer->has_more)
        return;
    buf_put_lit(answer->buf, ",\"next\":");
    if (is_alone) {
        buf_putf(answer->buf, "\"%llu\"", (unsigned long long)answer->last_number);
        return;
    }
    struct buf place;
    buf_init(&place, NODE_RECORD_NAME_MAX + 32);
    buf_putf(&place, "%s/%llu", answer->last_node, (unsigned long long)answer->last_number);
    json_put_string(answer->buf, buf_span(&place));
    buf_fini(&place);
}

/* The sources stand in the order of their names. */
static void answer_subscribers(const struct subscriber_page *page, uint64_t count, const struct subscriber_source *sources,
                               size_t source_count, bool is_alone, bool is_incomplete)
{
    struct http_exchange    *exchange = page->listing->owner;
    struct buf              *buf      = &page->api->scratch;
    struct subscriber_answer answer   = { .buf = buf, .limit = page->limit };

    buf_clear(buf);
    buf_put_lit(buf, "{\"channel\":");
    json_put_string(buf, channel_name_span(page->listing->name));
    buf_put_lit(buf, ",\"count\":");
    buf_put_u64(buf, count);
    buf_put_lit(buf, ",\"subscribers\":[");
    for (size_t i = 0; i < source_count; i++)
        put_source(&answer, &sources[i]);
    buf_putc(buf, ']');
    put_next(&answer, is_alone);
    put_incomplete(buf, is_incomplete);
    buf_putc(buf, '}');
    http_answer(page->api->server, exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"), .body = buf_span(buf),
    });
}

static void subscriber_page_free(struct subscriber_page *page)
{
    command_free(&page->listing->command);
    free(page);
}

/* --- other nodes ------------------------------------------------------------------------------------------------ */

/* Where a node's part of the page begins; UINT64_MAX: it is over. */
static uint64_t part_begins(const char *node, const char *page_node, uint64_t after)
{
    int order = strcmp(node, page_node);

    return order < 0 ? UINT64_MAX : order > 0 ? 0 : after;
}

/* What one node has answered. */
struct far_subscribers {
    struct subscriber_source  source;
    struct listed_subscriber *at;
    uint64_t                  total;
};

static bool read_far_subscriber(struct span *body, struct listed_subscriber *ret)
{
    struct span user, device, transport;
    uint64_t    since;

    if (!bus_get_text(body, USER_NAME_BYTES_MAX, &user) || !bus_get_text(body, DEVICE_NAME_BYTES_MAX, &device) ||
        !bus_get_text(body, 64, &transport) || !bus_get_number(body, &since) || !bus_get_number(body, &ret->number))
        return false;
    memcpy(ret->user, user.at, user.len);
    memcpy(ret->device, device.at, device.len);
    ret->transport = peer_transport(transport);
    ret->since     = (msec)since;
    return ret->transport != NULL;
}

/* One that can't be read, or not to its end, is as long as it could be read. */
static void read_far_subscribers(const struct peer_answer *answer, uint32_t limit, struct far_subscribers *ret)
{
    struct span body;
    uint64_t    has_more, count;

    ret->source.node = answer->node;
    if (!peer_answer_open(answer, &body) || !bus_get_number(&body, &ret->total) || !bus_get_number(&body, &has_more) ||
        !bus_get_number(&body, &count) || count > limit)
        return;
    ret->at = calloc(count + 1, sizeof ret->at[0]);
    must(ret->at != NULL);
    while (ret->source.count < count && read_far_subscriber(&body, &ret->at[ret->source.count]))
        ret->source.count++;
    ret->source.at       = ret->at;
    ret->source.has_more = has_more != 0;
}

static size_t count_answers(const struct peer_question *asked)
{
    size_t count = 0;

    for (const struct peer_answer *answer = asked->answers; answer != NULL; answer = answer->next)
        count++;
    return count;
}

static struct subscriber_source own_source(const struct subscriber_page *page)
{
    const struct presence_listing *listing = page->listing;

    return (struct subscriber_source){ page->api->node, listing->at, listing->at_count, listing->next != 0 };
}

/* The answers come in the order of their nodes. */
static void subscribers_told(struct peer_question *asked)
{
    struct subscriber_page   *page    = asked->owner;
    size_t                    answers = count_answers(asked), at = 0, source_count = 0;
    struct far_subscribers   *far     = calloc(answers + 1, sizeof far[0]);
    struct subscriber_source *sources = calloc(answers + 1, sizeof sources[0]);
    uint64_t                  total   = page->listing->count;
    bool                      is_put  = false;

    must(far != NULL && sources != NULL);
    for (const struct peer_answer *answer = asked->answers; answer != NULL; answer = answer->next, at++) {
        read_far_subscribers(answer, page->limit, &far[at]);
        total += far[at].total;
        if (!is_put && strcmp(answer->node, page->api->node) > 0) {
            sources[source_count++] = own_source(page);
            is_put                  = true;
        }
        sources[source_count++] = far[at].source;
    }
    if (!is_put)
        sources[source_count++] = own_source(page);
    answer_subscribers(page, total, sources, source_count, false, peers_are_incomplete(asked));
    for (size_t i = 0; i < answers; i++)
        free(far[i].at);
    free(far);
    free(sources);
    command_free(&asked->command);
    subscriber_page_free(page);
}

static void subscribers_listed(struct presence_listing *listing)
{
    struct http_exchange   *exchange = listing->owner;
    struct subscriber_page *page     = listing->page;

    /* All are asked: a session between two polls is present on a node that does not follow the channel meanwhile. */
    if (!api_has_peers(exchange->owner)) {
        struct subscriber_source own = own_source(page);
        answer_subscribers(page, listing->count, &own, 1, true, false);
        subscriber_page_free(page);
        return;
    }
    struct peer_question *asked = peers_question_new(PEER_SUBSCRIBERS, page, subscribers_told);
    bus_put_text(&asked->body, channel_name_span(listing->name));
    bus_put_text(&asked->body, span_str(page->node));
    bus_put_number(&asked->body, page->after);
    bus_put_number(&asked->body, page->limit);
    shard_ask_peers(page->api->shard, asked);
}

/* --- another node asks ------------------------------------------------------------------------------------------ */

static void peer_subscribers_listed(struct presence_listing *listing)
{
    struct peer_call *call = listing->owner;

    bus_put_number(&call->answer, listing->count);
    bus_put_number(&call->answer, listing->next != 0);
    bus_put_number(&call->answer, listing->at_count);
    for (uint32_t i = 0; i < listing->at_count; i++) {
        const struct listed_subscriber *subscriber = &listing->at[i];
        bus_put_text(&call->answer, span_str(subscriber->user));
        bus_put_text(&call->answer, span_str(subscriber->device));
        bus_put_text(&call->answer, span_str(subscriber->transport));
        bus_put_number(&call->answer, (uint64_t)subscriber->since);
        bus_put_number(&call->answer, subscriber->number);
    }
    command_free(&listing->command);
    peer_call_done(call);
}

void serve_peer_subscribers(struct api *api, struct peer_call *call, struct span body)
{
    struct channel_name *channel = NULL;
    struct span          name, node;
    uint64_t             after, limit;
    char                 page_node[NODE_RECORD_NAME_MAX + 1] = "";

    if (!bus_get_text(&body, LISTING_TEXT_MAX, &name) || !bus_get_text(&body, NODE_RECORD_NAME_MAX, &node) ||
        !bus_get_number(&body, &after) || !bus_get_number(&body, &limit) || limit == 0 || limit > PRESENCE_LIST_MAX ||
        channel_name_new(api->namespaces, api->hash_key, name, &channel) != CHANNEL_NAME_OK) {
        peer_call_unreadable(call);
        return;
    }
    memcpy(page_node, node.at, node.len);
    struct presence_listing *listing = presence_listing_new(api->presence, channel, part_begins(api->node, page_node, after),
                                                            (uint32_t)limit);
    listing->owner    = call;
    listing->answered = peer_subscribers_listed;
    channel_name_unref(channel);
    shard_list_presence(api->shard, listing);
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
    subscriber_page_free(listing->page);
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
        call_answer_unreadable(mine->api, exchange, NULL);
    subscriber_page_free(mine->listing->page);
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

/* next=, if it is there. False: answered with 400. */
static bool subscribers_place(const struct call *call, struct subscriber_page *page)
{
    struct span encoded, place, node = SPAN("");
    struct buf  scratch;

    if (!call_parameter(call, SPAN("next"), &encoded))
        return true;
    buf_init(&scratch, 256);
    bool is_fine = url_decode(encoded, URL_QUERY, &scratch, &place);
    if (is_fine && memchr(place.at, '/', place.len) != NULL)
        is_fine = span_cut(&place, '/', &node) && node.len <= NODE_RECORD_NAME_MAX;
    is_fine = is_fine && span_u64(place, &page->after);
    if (is_fine && node.len > 0)
        memcpy(page->node, node.at, node.len);
    buf_fini(&scratch);
    if (!is_fine)
        call_refuse(call, 400, "next= is what the page before said as \"next\"");
    return is_fine;
}

static bool subscribers_limit(const struct call *call, struct subscriber_page *page)
{
    uint64_t limit = SUBSCRIBERS_LIMIT_DEFAULT;
    bool     is_there;

    if (!call_u64(call, SPAN("limit"), &is_there, &limit))
        return false;
    if (limit == 0)
        call_refuse(call, 400, "limit= is 1 or more");
    page->limit = (uint32_t)(limit < PRESENCE_LIST_MAX ? limit : PRESENCE_LIST_MAX);
    return limit > 0;
}

/* A node alone doesn't look at whose place it is: the name of a node may have changed. */
static void subscribers_read(const struct call *call, struct channel_name *name, struct verdict verdict)
{
    struct api              *api  = call->api;
    struct subscriber_page  *page = calloc(1, sizeof *page);

    must(page != NULL);
    page->api = api;
    if (!call_knows_query(call, KNOWN_WORDS(subscribers_parameters)) || !subscribers_limit(call, page) ||
        !subscribers_place(call, page)) {
        free(page);
        return;
    }
    uint64_t after      = api_has_peers(api) ? part_begins(api->node, page->node, page->after) : page->after;
    page->listing       = presence_listing_new(api->presence, name, after, page->limit);
    page->listing->page = page;
    subscribers_ask(call, page->listing, verdict);
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
