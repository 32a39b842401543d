/* history.c - GET /v1/channels/{channel}/messages: pages of what a channel holds. */
#include <stdlib.h>

#include "api/call.h"
#include "base/must.h"

enum {
    LIMIT_DEFAULT     = 100,
    PAGES_AT_ONCE     = 4,      /* of one loop; each may hold history_bytes_max */
    PAGES_WAITING_MAX = 65536,
    PAGES_NEW_TICKS   = 10,
};

static void put_page(struct buf *buf, const struct store_read *read)
{
    channel_info_put(buf, read);
    buf_put_lit(buf, ",\"messages\":[");
    for (size_t i = 0; i < read->entry_count; i++) {
        const struct entry *entry = &read->entries[i];
        if (i > 0)
            buf_putc(buf, ',');
        if (entry->message != NULL)
            json_put_message(buf, entry->message);
        else
            json_put_gap(buf, channel_name_span(read->channel), read->epoch, &entry->gap, SPAN(""));
    }
    buf_put_lit(buf, "]}");
}

/* A few pages are read at a time and the others wait in line: a hundred of them would fill the memory before the first
 * is answered. While many answers wait for clients to read them, no page is read: api_tick() goes on. */

static void page_wait_in_line(struct api *api, struct mail *page)
{
    page->next     = NULL;
    *api->page_end = page;
    api->page_end  = &page->next;
}

static struct mail *page_oldest_take(struct api *api)
{
    struct mail *page = api->page_first;

    api->page_first = page->next;
    if (api->page_first == NULL)
        api->page_end = &api->page_first;
    return page;
}

static struct mail *page_newest_take(struct api *api)
{
    struct mail *page = api->page_newest;

    api->page_newest = page->next;
    return page;
}

/* In turn the newest and the oldest. If those who hold up the line are many, and read nothing, a client that comes now
 * and reads does not wait until all of them have been closed; and nobody waits for ever. */
static struct read_command *page_pop(struct api *api)
{
    must(api->pages_waiting > 0);
    const bool is_newest = api->page_first == NULL || (api->page_newest != NULL && api->is_newest_next);

    api->is_newest_next = !is_newest;
    api->pages_waiting--;
    return container_of(command_of(is_newest ? page_newest_take(api) : page_oldest_take(api)), struct read_command,
                        command);
}

/* What came within the last PAGES_NEW_TICKS is not new any more. */
static void pages_grow_old(struct api *api)
{
    struct mail *oldest = NULL;

    while (api->page_newest != NULL) {
        struct mail *page = page_newest_take(api);
        page->next        = oldest;
        oldest            = page;
    }
    while (oldest != NULL) {
        struct mail *page = oldest;
        oldest            = page->next;
        page_wait_in_line(api, page);
    }
}

static void page_drop(struct api *api, struct read_command *command)
{
    http_problem(api->server, command->owner, 503, NULL, "the server is stopping", HTTP_NO_FIELDS);
    command_free(&command->command);
}

/* A long page is for a client that is likely to get it at once. */
static size_t page_bytes_max(const struct api *api)
{
    bool is_quiet = api->pages_away == 0 && api->server->owed_bytes <= api->limits.history_busy_bytes_max;
    return is_quiet ? api->limits.history_bytes_max : api->limits.history_busy_bytes_max;
}

static void pages_go_on(struct api *api)
{
    while (api->pages_away < PAGES_AT_ONCE && api->pages_waiting > 0 && http_is_at_ease(api->server)) {
        struct read_command   *command   = page_pop(api);
        struct http_exchange *exchange = command->owner;
        if (exchange->is_gone) {
            page_drop(api, command);
            continue;
        }
        command->read.bytes_max = page_bytes_max(api);
        api->pages_away++;
        shard_read(api->shard, command);
    }
}

void api_tick(struct api *api)
{
    pages_go_on(api);
    probes_tick(api);
    if (++api->newest_ticks < PAGES_NEW_TICKS)
        return;
    api->newest_ticks = 0;
    pages_grow_old(api);
}

void history_drop(struct api *api)
{
    while (api->pages_waiting > 0)
        page_drop(api, page_pop(api));
}

static void page_ask(struct api *api, struct http_exchange *exchange, struct read_command *command)
{
    if (api->pages_waiting >= PAGES_WAITING_MAX) {
        http_problem(api->server, exchange, 503, NULL, "too many ask for history; ask again a little later",
                     retry_after(503));
        command_free(&command->command);
        return;
    }
    if (http_is_at_ease(api->server) && api->pages_waiting <= PAGES_AT_ONCE) {
        page_wait_in_line(api, &command->command.mail);
    } else {
        command->command.mail.next = api->page_newest;
        api->page_newest           = &command->command.mail;
    }
    api->pages_waiting++;
    pages_go_on(api);
}

/* To ask for a page costs a client little, and it may leave the answer unread: when many wait, it is refused. */
static void answer_page(struct api *api, struct http_exchange *exchange)
{
    if (http_has_room(api->server))
        http_answer(api->server, exchange, &(struct http_answer){
            .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
        });
    else
        http_problem(api->server, exchange, 503, NULL,
                     "too many answers wait for clients to read them; ask again a little later", retry_after(503));
}

static void history_came(struct read_command *command)
{
    struct http_exchange *exchange = command->owner;
    struct api           *api      = exchange->owner;

    must(api->pages_away > 0);
    api->pages_away--;
    if (command->read.rc != RC_OK) {
        call_answer_unreadable(api, exchange, command->read.channel);
    } else {
        buf_clear(&api->scratch);
        put_page(&api->scratch, &command->read);
        answer_page(api, exchange);
    }
    command_free(&command->command);
    pages_go_on(api);
}

/* What a call asks for. */
struct history_query {
    bool     has_after, has_before, has_limit;
    uint64_t after, before, limit;
    msec     since, until;
};

static const struct span history_parameters[] = { SPAN("after"), SPAN("before"), SPAN("limit"), SPAN("since"),
                                                  SPAN("until") };

/* False: answered with 400. */
static bool history_query_get(const struct call *call, struct history_query *ret)
{
    *ret = (struct history_query){ .limit = LIMIT_DEFAULT };
    return call_knows_query(call, KNOWN_WORDS(history_parameters)) &&
           call_u64(call, SPAN("after"), &ret->has_after, &ret->after) &&
           call_u64(call, SPAN("before"), &ret->has_before, &ret->before) &&
           call_u64(call, SPAN("limit"), &ret->has_limit, &ret->limit) && call_time(call, SPAN("since"), &ret->since) &&
           call_time(call, SPAN("until"), &ret->until);
}

/* NULL: it can be answered. */
static const char *history_query_fault(const struct history_query *query)
{
    if (query->has_after && query->has_before)
        return "after= or before=, not both";
    if (query->since != 0 && (query->has_after || query->has_before))
        return "since= gives the first page; read on with after= the last seq of it, without since=";
    if (query->has_limit && query->limit == 0)
        return "limit= is 1 or more";
    return NULL;
}

static struct read_command *history_read_new(struct call *call, struct channel_name *name,
                                             const struct history_query *query)
{
    uint32_t most = call->api->limits.history_limit_max, limit = query->limit > most ? most : (uint32_t)query->limit;
    /* before=1 asks for what stands before the first message, which is nothing. A bound of 0 would mean the end. */
    bool                 is_up   = query->has_after || query->since != 0 || (query->has_before && query->before <= 1);
    uint64_t             bound   = query->has_after || query->since != 0 ? query->after
                                   : is_up                               ? UINT64_MAX / 2
                                                                         : query->before;
    struct read_command *command = call_read_new(call, name, is_up ? READ_AFTER : READ_BEFORE, bound, limit,
                                                 history_came);

    command->read.since = query->since;
    command->read.until = query->until;
    return command;
}

static void read_page(struct call *call, struct channel_name *name, struct verdict verdict)
{
    struct history_query query;

    if (!history_query_get(call, &query))
        return;
    const char *fault = history_query_fault(&query);
    if (fault != NULL)
        call_refuse(call, 400, fault);
    else
        call_read(call, history_read_new(call, name, &query), verdict, page_ask);
}

void serve_history(struct call *call)
{
    struct channel_name *name = call_channel(call, ACTION_HISTORY);

    if (name == NULL)
        return;
    struct verdict verdict = may(call->identity, name, ACTION_HISTORY);
    if (call_passes_member(call, verdict))
        read_page(call, name, verdict);
    channel_name_unref(name);
}
