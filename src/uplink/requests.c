#include "uplink/requests.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/row_kind.h"
#include "message/user_name.h"
#include "uplink/requests_priv.h"

enum { CLAIM_AGAIN_TICKS = 10, CALL_VALUE_BYTES_MAX = 256 };

/* --- finding ---------------------------------------------------------------------------------------------------- */

/* A device by its rows' key; a link without a device's name by the connection's key. */
struct work_sought { struct span name, id; };

static struct span work_name(const struct request_work *work)
{
    return work_has_rows(work) ? work_device_key(work) : span_of(&work->key, sizeof work->key);
}

static bool is_request_work(const struct map_node *node, const void *key)
{
    const struct request_work *work   = container_of(node, const struct request_work, by_id);
    const struct work_sought  *sought = key;

    return span_eq(work_name(work), sought->name) && span_eq(work->id, sought->id);
}

static uint64_t work_hash(const struct requests *requests, struct span name, struct span id)
{
    return hash_bytes(requests->setup.hash_key, name) * 31 + hash_bytes(requests->setup.hash_key, id);
}

struct request_work *request_work_find(struct requests *requests, struct span name, struct span id)
{
    const struct work_sought sought = { name, id };
    struct map_node         *node   = map_find(&requests->works, work_hash(requests, name, id), is_request_work, &sought);

    return node == NULL ? NULL : container_of(node, struct request_work, by_id);
}

enum { NAME_BYTES = USER_NAME_BYTES_MAX + DEVICE_NAME_BYTES_MAX + 1 };

/* Borrowed from `scratch` or the command. */
static struct span command_name(const struct request_command *command, char scratch[NAME_BYTES])
{
    struct buf name = { .at = scratch, .cap = NAME_BYTES, .max = NAME_BYTES };  /* never grows */

    if (command->device.len == 0)
        return span_of(&command->key, sizeof command->key);
    request_key_put(&name, command->user, command->device, SPAN(""));
    must(!buf_is_over(&name));
    return buf_span(&name);
}

/* --- telling ---------------------------------------------------------------------------------------------------- */

void request_tell(struct requests *requests, struct request_command *command, enum request_outcome outcome)
{
    struct writer *writer = requests->setup.writer;

    counter_add(&requests->counters.outcomes[outcome], 1);
    command->outcome = outcome;
    command->work    = NULL;
    writer->port->send(writer->ctx, command->command.loop, &command->command);
}

static struct request_command *asker_of(struct list *link)
{
    return container_of(link, struct request_command, link);
}

static void wait_for_response(struct request_work *work, struct request_command *command)
{
    work->waiter_count++;
    command->work    = work;
    command->wait_ms += work->requests->now;  /* until when */
    list_push(&work->requests->waiters, &command->link);
}

static void accept_asker(struct request_work *work, struct request_command *command)
{
    if (memcmp(command->hash, work->hash, sizeof work->hash) != 0)
        request_tell(work->requests, command, REQUEST_CONFLICT);
    else if (command->wait_ms > 0 && !work->requests->is_hurried)
        wait_for_response(work, command);
    else
        request_tell(work->requests, command, REQUEST_ACCEPTED);
}

void request_askers_accept(struct request_work *work)
{
    while (!list_is_empty(&work->askers))
        accept_asker(work, asker_of(list_pop(&work->askers)));
}

static void askers_tell(struct request_work *work, enum request_outcome outcome)
{
    while (!list_is_empty(&work->askers))
        request_tell(work->requests, asker_of(list_pop(&work->askers)), outcome);
}

void request_waiters_tell(struct request_work *work, struct message *response)
{
    struct list *waiters = &work->requests->waiters;

    for (struct list *at = waiters->next, *next; at != waiters && work->waiter_count > 0; at = next) {
        struct request_command *command = asker_of(at);
        next                            = at->next;
        if (command->work != work)
            continue;
        list_take(at);
        work->waiter_count--;
        if (response != NULL)
            command->answer = message_ref(response);
        request_tell(work->requests, command, response != NULL ? REQUEST_ANSWERED : REQUEST_ACCEPTED);
    }
}

static void waiters_end(struct requests *requests, bool are_all)
{
    for (struct list *at = requests->waiters.next, *next; at != &requests->waiters; at = next) {
        struct request_command *command = asker_of(at);
        next                            = at->next;
        if (command->wait_ms > requests->now && !are_all)
            continue;
        list_take(at);
        ((struct request_work *)command->work)->waiter_count--;
        request_tell(requests, command, REQUEST_ACCEPTED);
    }
}

/* --- a request under way ---------------------------------------------------------------------------------------- */

static void set_work_words(struct request_work *work, const struct request_command *command)
{
    size_t     len = command->user.len + command->device.len + command->id.len + 2;
    struct buf key = { .at = work->words, .cap = len, .max = len };  /* never grows */

    request_key_put(&key, command->user, command->device, command->id);
    must(!buf_is_over(&key) && key.len == len);
    work->key_len = len;
}

struct request_work *request_work_new(struct requests *requests, const struct request_command *command,
                                      struct request_device *device, struct channel_name *channel)
{
    struct request_work *work = calloc(1, sizeof *work + command->user.len + command->device.len + command->id.len + 2);

    must(work != NULL);
    work->requests         = requests;
    work->device           = device;
    work->channel          = channel_name_ref(channel);
    set_work_words(work, command);
    work->user             = span_of(work->words, command->user.len);
    work->name             = span_of(work->words + work->user.len + 1, command->device.len);
    work->id               = span_of(work->words + work->user.len + 1 + work->name.len + 1, command->id.len);
    work->key              = command->key;
    work->loop             = command->command.loop;
    work->is_at_least_once = command->is_at_least_once && work_has_rows(work);
    work->claim            = rng_next(&requests->random);
    work->generation       = REQUEST_GENERATION;
    work->since            = requests->setup.writer->wall;
    work->body_bytes       = command->body.len;
    memcpy(work->hash, command->hash, sizeof work->hash);
    list_init(&work->askers);
    buf_init(&work->rows, SIZE_MAX / 2);
    buf_init(&work->object, SIZE_MAX / 2);
    map_add(&requests->works, &work->by_id, work_hash(requests, work_name(work), work->id));
    list_push(&requests->all, &work->link);
    requests->body_bytes += work->body_bytes;
    counter_add(&requests->counters.under_way, 1);
    if (!work_has_rows(work) && ++requests->link_count > counter_get(&requests->counters.to_links))
        counter_set(&requests->counters.to_links, requests->link_count);
    return work;
}

void request_work_free(struct request_work *work)
{
    struct requests *requests = work->requests;

    must(list_is_empty(&work->askers) && !work->is_called && !work->is_appending);
    request_group_abandon(work);
    request_waiters_tell(work, NULL);
    list_take(&work->link);
    list_take(&work->again);
    map_take(&requests->works, &work->by_id);
    request_device_end(work->device);
    requests->body_bytes -= work->body_bytes;
    requests->held_bytes -= work->held_bytes;
    counter_set(&requests->counters.held_bytes, requests->held_bytes);
    counter_sub(&requests->counters.under_way, 1);
    requests->link_count -= !work_has_rows(work);
    fetch_call_free(work->call.fetch);
    free(work->call.target);
    ledger_write_fini(&work->write.write);
    ledger_read_fini(&work->read.read);
    store_read_fini(&work->page);
    free(work->more);
    free(work->keys);
    buf_fini(&work->rows);
    buf_fini(&work->object);
    channel_name_unref(work->channel);
    free(work);
}

void request_work_later(struct request_work *work, uint32_t ticks)
{
    work->again_tick = work->requests->tick + ticks;
    list_push(&work->requests->again, &work->again);
}

/* --- the claim -------------------------------------------------------------------------------------------------- */

static struct span rows_from(const struct buf *rows, size_t from)
{
    return span_of(rows->at + from, rows->len - from);
}

static struct span put_call_value(struct request_work *work)
{
    struct call_row row  = { .is_at_least_once = work->is_at_least_once, .claim = work->claim, .since = work->since,
                             .node = span_str(work->requests->setup.self.name),
                             .incarnation = work->requests->setup.self.incarnation, .pieces = work->pieces };
    size_t          from = work->rows.len;

    memcpy(row.hash, work->hash, sizeof row.hash);
    call_row_put(&work->rows, &row);
    return rows_from(&work->rows, from);
}

/* The whole request, cut into rows of their own. `bytes` lie in work->rows already. */
static void put_pieces(struct request_work *work, struct ledger_change *changes, struct span bytes)
{
    for (uint32_t piece = 1; piece <= work->pieces; piece++) {
        size_t from = work->rows.len;
        request_piece_key_put(&work->rows, work->user, work->name, work->id, piece);
        *changes++ = (struct ledger_change){
            .op = LEDGER_PUT, .key = { ROW_CALL, rows_from(&work->rows, from) }, .generation = REQUEST_GENERATION,
            .value = span_head(bytes, REQUEST_PIECE_BYTES),
        };
        bytes = span_skip(bytes, bytes.len < REQUEST_PIECE_BYTES ? bytes.len : REQUEST_PIECE_BYTES);
    }
    must(bytes.len == 0);
}

/* With room for all that comes, so that what is put does not move. False: it is too large to be kept. */
static bool put_whole_request(struct request_work *work, const struct request_command *command, struct span *ret)
{
    request_bytes_put(&work->rows, command);
    work->pieces = (uint32_t)((work->rows.len + REQUEST_PIECE_BYTES - 1) / REQUEST_PIECE_BYTES);
    if (work->pieces > REQUEST_PIECES_MAX)
        return false;
    size_t len = work->rows.len;
    buf_extend(&work->rows, CALL_VALUE_BYTES_MAX + work->pieces * (work->key_len + 8));
    work->rows.len = len;
    *ret           = span_of(work->rows.at, len);
    return true;
}

static void claim_written(struct request_write *write);

bool request_claim_put(struct request_work *work, const struct request_command *command)
{
    struct ledger_change *changes = work->changes;
    struct span           whole   = SPAN("");

    if (work->is_at_least_once) {
        if (!put_whole_request(work, command, &whole))
            return false;
        changes = work->more = calloc(2 + work->pieces, sizeof changes[0]);
        must(changes != NULL);
    } else {
        buf_extend(&work->rows, CALL_VALUE_BYTES_MAX);
        work->rows.len = 0;
    }
    changes[0] = (struct ledger_change){ .op = LEDGER_CHECK, .key = { ROW_REQUEST, work_key(work) }, .is_conditional = true,
                                         .if_generation = 0 };
    changes[1] = (struct ledger_change){
        .op = LEDGER_PUT, .key = { ROW_CALL, work_key(work) }, .value = put_call_value(work),
        .generation = REQUEST_GENERATION, .is_conditional = true, .if_generation = 0,
    };
    put_pieces(work, changes + 2, whole);
    work->write = (struct request_write){ .done  = claim_written,
                                          .write = { .changes = changes, .count = 2 + work->pieces } };
    return true;
}

static void claim_won(struct request_work *work)
{
    request_askers_accept(work);
    request_call_begin(work);
}

static void claim_refused(struct request_work *work, enum request_outcome outcome)
{
    askers_tell(work, outcome);
    request_work_free(work);
}

/* The askers are refused; once the ledger answers again the request goes on, or is forgotten. */
static void claim_doubted(struct request_work *work)
{
    askers_tell(work, REQUEST_AWAY);
    work->stage = REQUEST_DOUBTED;
    request_work_later(work, CLAIM_AGAIN_TICKS);
}

/* A CALL row refused the claim. It may be our own, whose outcome was not known before; unless another node took it over. */
static void claim_under_way(struct request_work *work, const struct ledger_row *now)
{
    struct call_row row;

    if (!call_row_get(now->value, &row))
        claim_refused(work, REQUEST_AWAY);
    else if (row.claim == work->claim && now->generation == REQUEST_GENERATION)
        claim_won(work);
    else
        request_look_under_way(work, row.hash);
}

static void claim_stale(struct request_work *work)
{
    struct ledger_write *write = &work->write.write;

    if (write->stale_at == 0)
        request_look_begin(work, &write->now);
    else
        claim_under_way(work, &write->now);
}

void request_claim_settled(struct request_work *work, enum ledger_outcome outcome)
{
    bool was_doubted = work->stage == REQUEST_DOUBTED;

    switch (outcome) {
    case LEDGER_DONE: claim_won(work); return;
    case LEDGER_STALE: claim_stale(work); return;
    case LEDGER_BROKEN: claim_doubted(work); return;
    case LEDGER_NO_SPACE:
    case LEDGER_BUSY:
    case LEDGER_AWAY: break;
    case LEDGER_WAITING: must(!"a ledger completes every write of a batch"); return;
    }
    if (was_doubted)
        claim_doubted(work);
    else if (outcome == LEDGER_NO_SPACE)
        claim_refused(work, REQUEST_NO_SPACE);
    else
        claim_refused(work, outcome == LEDGER_BUSY ? REQUEST_BUSY : REQUEST_AWAY);
}

static void claim_written(struct request_write *write)
{
    request_claim_settled(container_of(write, struct request_work, write), write->write.outcome);
}

static void claim_again(struct request_work *work)
{
    ledger_write_fini(&work->write.write);
    work->write.write = (struct ledger_write){ .changes = work->write.write.changes, .count = work->write.write.count };
    if (work->is_grouped)
        request_group_add(work);
    else
        request_write_send(work->requests, &work->write);
}

/* --- commands --------------------------------------------------------------------------------------------------- */

bool requests_are_full(const struct requests *requests, size_t bytes)
{
    return requests->works.count >= REQUESTS_UNDER_WAY_MAX || requests->held_bytes > REQUESTS_HELD_BYTES_MAX ||
           requests->body_bytes + bytes > REQUESTS_BODY_BYTES_MAX;
}

static void request_begin(struct requests *requests, struct request_command *command, struct span name)
{
    struct request_device *device = requests_are_full(requests, command->body.len)
                                        ? NULL
                                        : request_device_begin(requests, name, command->device.len > 0);

    if (device == NULL) {
        request_tell(requests, command, REQUEST_BUSY);
        return;
    }
    struct request_work *work = request_work_new(requests, command, device, command->channel);
    request_call_prepare(work, command);
    list_push(&work->askers, &command->link);
    if (!work_has_rows(work))
        claim_won(work);
    else if (requests->setup.is_alone && !work->is_at_least_once)
        request_group_add(work);
    else if (request_claim_put(work, command))
        request_write_send(requests, &work->write);
    else
        claim_refused(work, REQUEST_NO_SPACE);
}

static void request_repeated(struct request_work *work, struct request_command *command)
{
    const bool is_settled = work->stage > REQUEST_FOLLOWING;

    if (is_settled) {
        accept_asker(work, command);
        return;
    }
    list_push(&work->askers, &command->link);
    if (work->stage == REQUEST_FOLLOWING)
        request_follow_ask(work);
}

/* A device's log that is not durable can't hold rows beside it. */
static bool can_be_kept(const struct requests *requests, const struct request_command *command)
{
    return command->device.len == 0 ||
           (command->channel->space->durability == DURABLE && requests->setup.writer->durable.store->ledger != NULL);
}

static bool can_be_elsewhere(const struct requests *requests, const struct request_command *command)
{
    return requests->setup.writer->cluster != NULL && can_be_kept(requests, command);
}

static void request_cancel(struct requests *requests, struct request_work *work, struct request_command *command)
{
    bool is_here = work != NULL && work->stage != REQUEST_FOLLOWING;

    if (is_here)
        request_call_cancel(work);
    else if (can_be_elsewhere(requests, command))
        request_cancel_elsewhere(requests, command->user, command->device, command->id);
    request_tell(requests, command, is_here || can_be_elsewhere(requests, command) ? REQUEST_ACCEPTED : REQUEST_DROPPED);
}

/* A link without a user counts by itself. */
static bool comes_too_often(struct requests *requests, const struct request_command *command)
{
    struct span who = command->user.len > 0 ? command->user : span_of(&command->key, sizeof command->key);

    return command->way == REQUEST_SEND && requests->limits.per_user_per_s > 0 &&
           rate_table_take(&requests->rate, hash_bytes(requests->setup.hash_key, who), requests->limits.per_user_per_s,
                           requests->now) > 0;
}

void requests_take(struct requests *requests, struct request_command *command)
{
    counter_add(&requests->counters.taken, 1);
    if (comes_too_often(requests, command)) {
        request_tell(requests, command, REQUEST_TOO_OFTEN);
        return;
    }
    if (request_calls_admit(requests, command))
        request_admit(requests, command);
}

void request_admit(struct requests *requests, struct request_command *command)
{
    char                 scratch[NAME_BYTES];
    struct span          name = command_name(command, scratch);
    struct request_work *work = request_work_find(requests, name, command->id);
    if (command->way == REQUEST_CANCEL)
        request_cancel(requests, work, command);
    else if (work != NULL)
        request_repeated(work, command);
    else if (requests->is_stopping || !can_be_kept(requests, command))
        request_tell(requests, command, REQUEST_AWAY);
    else if (command->device.len > 0 || !request_link_replay(requests, command, name))
        request_begin(requests, command, name);
}

/* --- time ------------------------------------------------------------------------------------------------------- */

static void work_again(struct request_work *work)
{
    switch (work->stage) {
    case REQUEST_DOUBTED: claim_again(work); return;
    case REQUEST_LOOKING: request_look_on(work); return;
    case REQUEST_FOLLOWING: request_follow_on(work); return;
    case REQUEST_PUBLISHING:
    case REQUEST_ANSWERING: request_answer_on(work); return;
    case REQUEST_TAKING: request_take_on(work); return;
    case REQUEST_CLAIMING:
    case REQUEST_CALLING: break;
    }
    must(!"nothing else is tried anew");
}

static void again_tick(struct requests *requests)
{
    for (struct list *at = requests->again.next, *next; at != &requests->again; at = next) {
        struct request_work *work = container_of(at, struct request_work, again);
        next                      = at->next;
        if ((int32_t)(requests->tick - work->again_tick) < 0)
            continue;
        list_take(at);
        work_again(work);
    }
}

void requests_turn_begin(struct requests *requests, msec now)
{
    requests->now = now;
    counter_set(&requests->counters.to_links, requests->link_count);
}

void requests_turn_end(struct requests *requests)
{
    request_io_submit(requests);
}

/* What a call that does not end is about stays in its rows. */
static void stop_tick(struct requests *requests)
{
    if (!requests->is_stopping || requests->now < requests->stop_by)
        return;
    for (struct list *at = requests->all.next, *next; at != &requests->all; at = next) {
        struct request_work *work = container_of(at, struct request_work, link);
        next                      = at->next;
        if (work->is_called)
            requests->setup.port->cancel(requests->setup.ctx, &work->call);
    }
}

void requests_tick(struct requests *requests)
{
    requests->tick++;
    waiters_end(requests, requests->is_hurried);
    again_tick(requests);
    if (!requests->is_stopping)
        request_scan_tick(requests);
    request_calls_tick(requests);
    request_groups_tick(requests);
    request_links_tick(requests);
    stop_tick(requests);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

void requests_init(struct requests *requests, const struct requests_setup *setup, const struct requests_limits *limits)
{
    *requests = (struct requests){ .setup = *setup, .limits = *limits, .random = { setup->seed } };
    map_init(&requests->works);
    map_init(&requests->devices);
    list_init(&requests->all);
    list_init(&requests->idle);
    list_init(&requests->idle_links);
    list_init(&requests->waiters);
    list_init(&requests->again);
    list_init(&requests->writes);
    list_init(&requests->claims);
    list_init(&requests->groups);
    list_init(&requests->spare);
    list_init(&requests->held);
}

void requests_break_off_links(struct requests *requests)
{
    waiters_end(requests, true);
    for (struct list *at = requests->all.next, *next; at != &requests->all && requests->link_count > 0; at = next) {
        struct request_work *work = container_of(at, struct request_work, link);
        next                      = at->next;
        if (!work_has_rows(work))
            request_call_break_off(work);
    }
}

void requests_stop(struct requests *requests)
{
    if (requests->is_stopping)
        return;
    requests->is_stopping = requests->is_hurried = true;
    requests->stop_by     = requests->now + REQUESTS_STOP_MS;
    request_devices_save(requests);
}

bool requests_is_idle(const struct requests *requests)
{
    return requests->away_count == 0 && list_is_empty(&requests->writes) && list_is_empty(&requests->waiters) &&
           list_is_empty(&requests->claims) && list_is_empty(&requests->held);
}

bool requests_is_still(const struct requests *requests)
{
    return requests->away_count == counter_get(&requests->counters.calls) && list_is_empty(&requests->writes) &&
           list_is_empty(&requests->claims) && list_is_empty(&requests->held);
}

static void work_drop(struct request_work *work)
{
    while (!list_is_empty(&work->askers))
        command_free(&asker_of(list_pop(&work->askers))->command);
    if (work->is_to_link)
        work->is_appending = false;  /* what was sent to the loop ends with it, and looks at nothing here */
    request_work_free(work);
}

static void line_drop(struct requests *requests)
{
    for (struct list *at; (at = list_pop(&requests->writes)) != NULL;)
        request_total_drop(container_of(at, struct request_write, in_line));
}

void requests_fini(struct requests *requests)
{
    if (requests->all.next == NULL)
        return;
    must(requests->batch == NULL);
    must(list_is_empty(&requests->waiters));
    line_drop(requests);
    while (!list_is_empty(&requests->all))
        work_drop(container_of(requests->all.next, struct request_work, link));
    line_drop(requests);  /* a device that rests may have let another one be saved */
    request_scan_free(requests);
    request_calls_free(requests);
    request_groups_fini(requests);
    request_devices_fini(requests);
    rate_table_fini(&requests->rate);
    map_fini(&requests->works);
}
