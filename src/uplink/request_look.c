/* request_look.c - an id that was used before: what became of the request? Who asks gets the stored answer, if it is kept. */
#include <stdlib.h>

#include "base/must.h"
#include "message/control_message.h"
#include "uplink/requests_priv.h"

enum { LOOK_AGAIN_TICKS = 1, LOOK_TRIES_MAX = 30 };

/* Each asker by its own hash: the row says which request the id belongs to. */
static void look_answer(struct request_work *work, enum request_outcome outcome, struct message *answer)
{
    while (!list_is_empty(&work->askers)) {
        struct request_command *command = container_of(list_pop(&work->askers), struct request_command, link);
        bool                    is_same = memcmp(command->hash, work->found.hash, sizeof work->found.hash) == 0;
        if (is_same && answer != NULL)
            command->answer = message_ref(answer);
        request_tell(work->requests, command, is_same || outcome == REQUEST_AWAY ? outcome : REQUEST_CONFLICT);
    }
    if (answer != NULL)
        request_waiters_tell(work, answer);
    request_work_free(work);
}

/* --- the message ------------------------------------------------------------------------------------------------ */

static bool is_the_response(const struct request_work *work, const struct message *message)
{
    return message != NULL && message->seq == work->found_seq && span_eq(control_message_type(message), SPAN("response")) &&
           response_is_of(message_payload(message), work->id);
}

static void look_lent(struct command *command)
{
    (void)command;
    must(!"requests take back what they lent to a store");
}

static void look_page_came(struct command *command, struct writer *writer)
{
    struct request_work *work = container_of(command, struct request_work, page_came);
    struct store_read   *page = &work->page;
    struct message      *message;

    (void)writer;
    work->requests->away_count--;
    message = page->rc == RC_OK && page->entry_count > 0 ? page->entries[0].message : NULL;
    if (page->rc != RC_OK && page->rc != RC_CORRUPT)
        look_answer(work, REQUEST_AWAY, NULL);
    else if (is_the_response(work, message))
        look_answer(work, REQUEST_REPLAYED, message);
    else
        look_answer(work, REQUEST_GONE, NULL);
}

static const struct command_kind look_page_kind = { .name = "request_page", .free = look_lent, .at_writer = look_page_came };

static void look_page_done(struct store_read *page)
{
    struct request_work *work   = container_of(page, struct request_work, page);
    struct writer       *writer = work->requests->setup.writer;

    writer->port->post(writer->ctx, &work->page_came);
}

static void look_for_message(struct request_work *work)
{
    struct store *store = work->requests->setup.writer->durable.store;

    work->page_came.kind = &look_page_kind;
    work->page = (struct store_read){ .channel = work->channel, .way = READ_AFTER, .bound = work->found_seq - 1, .limit = 1,
                                      .bytes_max = 1, .wall = work->requests->setup.writer->wall, .done = look_page_done };
    work->requests->away_count++;
    store->ops->read(store, &work->page);
}

/* --- the row ---------------------------------------------------------------------------------------------------- */

/* Is it among the newest answers of its device? */
static bool is_kept(const struct request_work *work)
{
    return work->device->total - work->found.before <= work->requests->limits.responses_bytes_max ||
           work->device->total < work->found.before;
}

void request_look_on(struct request_work *work)
{
    if (work->device->is_known && is_kept(work)) {
        look_for_message(work);
    } else if (work->device->is_known) {
        look_answer(work, REQUEST_GONE, NULL);
    } else if (work->tries++ >= LOOK_TRIES_MAX) {
        look_answer(work, REQUEST_AWAY, NULL);
    } else {
        request_device_ask_total(work->device);
        request_work_later(work, LOOK_AGAIN_TICKS);
    }
}

/* The askers are accepted; those with wait_ms wait on. */
static void look_follow(struct request_work *work)
{
    memcpy(work->hash, work->found.hash, sizeof work->hash);
    if (work->is_cancelled)
        request_cancel_elsewhere(work->requests, work->user, work->name, work->id);
    work->is_cancelled = false;
    request_askers_accept(work);
    if (work->waiter_count > 0)
        request_follow_begin(work);
    else
        request_work_free(work);
}

void request_look_under_way(struct request_work *work, const uint8_t hash[static 16])
{
    work->stage = REQUEST_LOOKING;
    memcpy(work->found.hash, hash, sizeof work->found.hash);
    look_follow(work);
}

void request_look_begin(struct request_work *work, const struct ledger_row *row)
{
    work->stage     = REQUEST_LOOKING;
    work->found_seq = row->generation;
    if (!request_row_get(row->value, &work->found))
        look_answer(work, REQUEST_AWAY, NULL);
    else if (!work->found.is_answered)
        look_follow(work);  /* a server of the release before wrote it, at the claim */
    else
        request_look_on(work);
}
