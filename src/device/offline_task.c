#include "device/offline_task.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "device/devices_priv.h"
#include "device/group_spans.h"
#include "device/presence.h"
#include "message/control_message.h"
#include "message/user_name.h"
#include "node/peer_question.h"

enum {
    OFFLINE_PAGE_MEMBERS  = 200,
    OFFLINE_PAGE_BYTES    = 64 * 1024,
    OFFLINE_SESSIONS      = 200,         /* more than a user has devices */
    OFFLINE_SESSION_BYTES = 64 * 1024,
    OFFLINE_PAUSE_TICKS   = 10,
};

/* The sessions of one user, being read. */
struct offline_look {
    size_t len;
    char   prefix[USER_NAME_BYTES_MAX + 1];
};

struct offline_task {
    struct list           in_line;      /* in offline_tasks.line */
    struct offline_tasks *tasks;
    struct event_debt    *debt;
    struct channel_name  *channel;      /* owns a reference */
    uint64_t              seq;
    msec                  time;
    struct span           user, device; /* in the channel's name; without a user: it is a group's */
    bool                  is_begun;
    struct offline_look   looks[ROUND_READS];
    size_t                look_count;   /* in the round under way, or to be asked again */
    struct device_round   round;
    struct device_read    members;      /* of a group: a page of them … */
    size_t                member_at;    /* … the next one of it … */
    struct buf            after;        /* … where the next page begins; empty: at the first member */
    struct buf            group_prefix; /* … the beginning of their keys */
    bool                  has_page, is_last_page;
    uint32_t              looked;
};

/* --- whom a message is for -------------------------------------------------------------------------------------- */

struct offline_target {
    struct span owner;         /* with which keys of rows begin */
    struct span user, device;
};

/* False: messages of this channel are for nobody in particular. */
static bool offline_target_of(const struct channel_name *channel, struct offline_target *ret)
{
    struct span name = channel_own_name(channel), rest = name;

    *ret = (struct offline_target){ .owner = name };
    if (strcmp(channel->space->name, "group") == 0)
        return true;
    if (channel->space->membership == MEMBER_IS_USER) {
        ret->user = name;
    } else if (channel->space->membership == MEMBER_IS_OWNER) {
        span_cut(&rest, '/', &ret->user);
        ret->owner  = ret->user;
        ret->device = rest;
        if (rest.len == 0 || rest.len > DEVICE_TEXT_MAX)
            return false;
    }
    return ret->user.len > 0 && ret->user.len <= USER_NAME_BYTES_MAX;
}

/* --- the row of a publish --------------------------------------------------------------------------------------- */

struct offline_rows {
    struct ledger_write  write;
    struct ledger_change change;
    struct event_row     row;
};

static bool offline_is_asked(const struct offline_tasks *tasks, const struct publish_command *publish,
                             struct offline_target *ret_target)
{
    const struct message *message = publish->append.message;

    return event_outbox_wants(tasks->outbox, EVENT_KIND_OFFLINE) && publish->append.write == NULL && publish->rows == NULL &&
           !publish->append.is_purge && message->kind == MESSAGE_PLAIN && message->channel->space->durability == DURABLE &&
           !control_media_is_reserved(message_media(message)) && offline_target_of(message->channel, ret_target);
}

static void offline_publish_begins(void *ctx, struct publish_command *publish)
{
    struct offline_tasks *tasks = ctx;
    struct offline_target target;

    if (!offline_is_asked(tasks, publish, &target))
        return;
    struct offline_rows *rows = calloc(1, sizeof *rows);
    must(rows != NULL);
    event_row_prepare_task(tasks->outbox, &rows->row, target.owner, EVENT_KIND_OFFLINE,
                           channel_name_span(publish->append.message->channel), &rows->change);
    rows->write           = (struct ledger_write){ .changes = &rows->change, .count = 1 };
    publish->append.write = &rows->write;
    publish->rows         = rows;
}

static struct offline_task *offline_task_new(struct offline_tasks *tasks, struct channel_name *channel, const struct event_row *row,
                                             uint64_t seq)
{
    struct offline_task  *task = calloc(1, sizeof *task);
    struct offline_target target;

    must(task != NULL && offline_target_of(channel, &target));
    task->tasks   = tasks;
    task->debt    = event_debt_new(span_of(row->key, row->key_len));
    task->channel = channel_name_ref(channel);
    task->seq     = seq;
    task->time    = row->time;
    task->user    = target.user;
    task->device  = target.device;
    buf_init(&task->after, LEDGER_KEY_BYTES_MAX);
    return task;
}

static void offline_task_wait(struct offline_task *task)
{
    list_push(&task->tasks->line, &task->in_line);
    counter_add(&task->tasks->waiting, 1);
}

static void offline_publish_committed(void *ctx, struct publish_command *publish)
{
    struct offline_tasks      *tasks = ctx;
    const struct ledger_write *write = publish->append.write;
    const struct offline_rows *rows  = publish->rows;

    if (write == NULL || write->count != 1 || write->changes[0].key.kind != ROW_EVENT)
        return;
    if (counter_get(&tasks->waiting) < OFFLINE_WAITING_MAX)
        offline_task_wait(offline_task_new(tasks, publish->append.message->channel, &rows->row, publish->append.message->seq));
}

static const struct publish_watch offline_watch = { .begins = offline_publish_begins, .committed = offline_publish_committed };

static void offline_task_found(void *ctx, const struct event_row *row, uint64_t seq)
{
    struct offline_tasks *tasks = ctx;
    struct channel_name  *channel;
    struct offline_target target;

    if (counter_get(&tasks->waiting) >= OFFLINE_WAITING_MAX / 2 ||
        channel_name_new(tasks->devices->namespaces, tasks->devices->hash_key, row->text, &channel) != CHANNEL_NAME_OK)
        return;
    if (offline_target_of(channel, &target))
        offline_task_wait(offline_task_new(tasks, channel, row, seq));
    channel_name_unref(channel);
}

/* --- events ----------------------------------------------------------------------------------------------------- */

static void offline_tell(struct offline_task *task, struct span user, struct span device, const char *reason)
{
    const struct event_facts facts = { .kind = EVENT_KIND_OFFLINE, .user = user, .device = device,
                                       .channel = channel_name_span(task->channel), .seq = task->seq, .reason = reason };

    event_outbox_add(task->tasks->outbox, &facts, task->time, task->debt);
}

/* Memory knows the links of this node, and the row those of others. */
static bool session_is_linked(const struct offline_tasks *tasks, struct span user, struct span device, const struct session_row *row)
{
    const struct devices  *devices  = tasks->devices;
    const struct standing *standing = standing_find(devices, user, device);

    if (standing != NULL && (standing->op != NULL || standing_is_online(devices, standing, devices->writer->wall)))
        return true;
    if (row->node.len == 0 || row->is_roaming || tasks->lives == NULL || devices_have_link_of(devices, row))
        return false;
    return tasks->lives(tasks->ctx, row);
}

static bool session_counts(const struct offline_tasks *tasks, const struct ledger_row *row, struct session_row *ret)
{
    return session_row_get(row->value, ret) && !ret->is_ended && row_key_last(row->key).len <= DEVICE_TEXT_MAX &&
           ret->seen + tasks->devices->limits.session_ttl_ms > tasks->devices->writer->wall;
}

/* --- who has no session ----------------------------------------------------------------------------------------- */

/* Other nodes are asked for nothing but whether their routes lead there. */
struct offline_ask {
    struct offline_tasks *tasks;
    struct event_debt    *debt;
    struct channel_name  *channel;   /* of the message; owns a reference */
    uint64_t              seq;
    msec                  time;
    uint8_t               user_len, device_len;
    char                  names[USER_NAME_BYTES_MAX + DEVICE_TEXT_MAX];
};

static void offline_asked(struct peer_question *question, struct writer *writer)
{
    struct offline_ask       *ask   = question->owner;
    const struct event_facts  facts = { .kind = EVENT_KIND_OFFLINE, .user = span_of(ask->names, ask->user_len),
                                        .device = span_of(ask->names + ask->user_len, ask->device_len),
                                        .channel = channel_name_span(ask->channel), .seq = ask->seq };

    (void)writer;
    if (question->asked == 0)
        event_outbox_add(ask->tasks->outbox, &facts, ask->time, ask->debt);
    event_debt_release(ask->tasks->outbox, ask->debt);
    ask->tasks->ask_count--;
    channel_name_unref(ask->channel);
    free(ask);
    command_free(&question->command);
}

static void offline_ask_nodes(struct offline_task *task, struct channel_name *followed, struct span user, struct span device)
{
    struct offline_ask   *ask      = calloc(1, sizeof *ask);
    struct peer_question *question = peer_question_new(PEER_COUNT);

    must(ask != NULL);
    *ask = (struct offline_ask){ .tasks = task->tasks, .debt = event_debt_hold(task->debt), .channel = channel_name_ref(task->channel),
                                 .seq = task->seq, .time = task->time, .user_len = (uint8_t)user.len,
                                 .device_len = (uint8_t)device.len };
    memcpy(ask->names, user.at, user.len);
    if (device.len > 0)
        memcpy(ask->names + user.len, device.at, device.len);
    question->is_notice = true;
    question->channel   = channel_name_ref(followed);
    question->settled   = offline_asked;
    question->owner     = ask;
    task->tasks->ask_count++;
    writer_ask_peers(task->tasks->devices->writer, question);
}

/* A link without a session may follow the channel, or be known by its presence. */
static void offline_look_without_session(struct offline_task *task, struct span user)
{
    const struct devices *devices = task->tasks->devices;
    struct channel_name  *name    = task->device.len > 0 ? channel_name_ref(task->channel)
                                                         : channel_name_of_user(devices->namespaces, devices->hash_key, user);
    bool                  is_here = tails_followers(&devices->writer->tails, name) != 0 ||
                   (devices->presence != NULL && presence_user(devices->presence, user, NULL, NULL) > 0);

    if (!is_here && devices->writer->cluster != NULL)
        offline_ask_nodes(task, name, user, task->device);
    else if (!is_here)
        offline_tell(task, user, task->device, NULL);
    channel_name_unref(name);
}

/* --- sessions --------------------------------------------------------------------------------------------------- */

static void offline_take_sessions(struct offline_task *task, const struct offline_look *look, const struct ledger_read *read)
{
    struct span user       = span_of(look->prefix, look->len - 1);
    bool        has_device = false;

    for (size_t i = 0; i < read->row_count; i++) {
        struct span        device = row_key_last(read->rows[i].key);
        struct session_row row;
        if (!session_counts(task->tasks, &read->rows[i], &row) || (task->device.len > 0 && !span_eq(device, task->device)))
            continue;
        has_device = true;
        if (!session_is_linked(task->tasks, user, device, &row))
            offline_tell(task, user, device, NULL);
    }
    if (!has_device)
        offline_look_without_session(task, user);
    counter_add(&task->tasks->looked, 1);
}

static void offline_sessions_came(struct device_round *round)
{
    struct offline_task *task = container_of(round, struct offline_task, round);
    bool                 is_good = true;

    task->tasks->away_count--;
    for (size_t i = 0; i < task->look_count; i++)
        is_good = is_good && (round->round.of[i].read.rc == RC_OK || round->round.of[i].read.rc == RC_CORRUPT);
    for (size_t i = 0; i < task->look_count; i++) {
        if (is_good)
            offline_take_sessions(task, &task->looks[i], &round->round.of[i].read);
        ledger_read_fini(&round->round.of[i].read);
    }
    if (is_good)
        task->look_count = 0;
    else
        task->tasks->pause_ticks = OFFLINE_PAUSE_TICKS;
    offline_task_wait(task);
}

static void offline_ask_sessions(struct offline_task *task)
{
    task->round = (struct device_round){ .came = offline_sessions_came, .round = { .read_count = task->look_count } };
    for (size_t i = 0; i < task->look_count; i++)
        task->round.round.of[i].read = (struct ledger_read){
            .way = LEDGER_SCAN, .kind = ROW_SESSION, .prefix = span_of(task->looks[i].prefix, task->looks[i].len),
            .limit = OFFLINE_SESSIONS, .bytes_max = OFFLINE_SESSION_BYTES,
        };
    task->tasks->away_count++;
    device_round_send(task->tasks->devices, &task->round);
}

static void offline_add_look(struct offline_task *task, struct span user)
{
    struct offline_look *look = &task->looks[task->look_count++];

    must(user.len > 0 && user.len < sizeof look->prefix);
    memcpy(look->prefix, user.at, user.len);
    look->prefix[user.len] = '\0';
    look->len              = user.len + 1;
}

/* --- members ---------------------------------------------------------------------------------------------------- */

static void offline_page_free(struct offline_task *task)
{
    if (task->has_page)
        ledger_read_fini(&task->members.read);
    task->has_page = false;
}

static void offline_members_came(struct device_read *read)
{
    struct offline_task *task = container_of(read, struct offline_task, members);

    task->tasks->away_count--;
    task->has_page  = true;
    task->member_at = 0;
    if (read->read.rc == RC_OK || read->read.next.len > 0) {
        buf_clear(&task->after);
        buf_put(&task->after, read->read.next);
        task->is_last_page = read->read.next.len == 0;
    } else if (read->read.rc == RC_CORRUPT) {
        task->is_last_page = true;
    } else {
        task->tasks->pause_ticks = OFFLINE_PAUSE_TICKS;
    }
    offline_task_wait(task);
}

static void offline_ask_members(struct offline_task *task)
{
    offline_page_free(task);
    task->members = (struct device_read){ .came = offline_members_came };
    if (!task->is_begun) {
        buf_init(&task->group_prefix, LEDGER_KEY_BYTES_MAX);
        row_key_put(&task->group_prefix, channel_own_name(task->channel), SPAN(""));
        task->is_begun = true;
    }
    task->members.read = (struct ledger_read){ .way = LEDGER_SCAN, .kind = ROW_MEMBER, .prefix = buf_span(&task->group_prefix),
                                               .after = buf_span(&task->after), .limit = OFFLINE_PAGE_MEMBERS,
                                               .bytes_max = OFFLINE_PAGE_BYTES };
    task->tasks->away_count++;
    device_read_send(task->tasks->devices, &task->members);
}

static void offline_gather_members(struct offline_task *task)
{
    const struct ledger_read *page = &task->members.read;

    for (; task->has_page && task->member_at < page->row_count && task->look_count < ROUND_READS &&
           task->looked < task->tasks->members_max; task->member_at++, task->looked++)
        offline_add_look(task, member_key_tail(page->rows[task->member_at].key));
}

/* Are there members that may not be looked at? Else there may be another page. */
static bool offline_is_over(const struct offline_task *task)
{
    return (task->has_page && task->member_at < task->members.read.row_count) ||
           (task->looked >= task->tasks->members_max && !task->is_last_page);
}

/* --- a step ----------------------------------------------------------------------------------------------------- */

static void offline_task_free(struct offline_task *task)
{
    event_debt_release(task->tasks->outbox, task->debt);
    offline_page_free(task);
    buf_fini(&task->after);
    buf_fini(&task->group_prefix);
    channel_name_unref(task->channel);
    free(task);
}

static void offline_task_step(struct offline_task *task)
{
    bool is_group = task->user.len == 0;

    if (task->look_count == 0 && is_group)
        offline_gather_members(task);
    if (!is_group && !task->is_begun)
        offline_add_look(task, task->user);
    if (task->look_count > 0) {
        task->is_begun = true;
        offline_ask_sessions(task);
    } else if (is_group && !task->is_last_page && !offline_is_over(task)) {
        offline_ask_members(task);
    } else {
        if (is_group && offline_is_over(task)) {
            counter_add(&task->tasks->beyond, 1);
            offline_tell(task, SPAN(""), SPAN(""), "too many members");
        }
        offline_task_free(task);
    }
}

/* A task that comes back in this turn waits behind the others. */
void offline_tasks_turn(struct offline_tasks *tasks)
{
    while (tasks->away_count < OFFLINE_AWAY_MAX && tasks->pause_ticks == 0 && !list_is_empty(&tasks->line) &&
           counter_get(&tasks->outbox->waiting) < OUTBOX_WAITING_MAX / 2) {
        struct offline_task *task = container_of(list_pop(&tasks->line), struct offline_task, in_line);
        counter_sub(&tasks->waiting, 1);
        offline_task_step(task);
    }
}

void offline_tasks_tick(struct offline_tasks *tasks)
{
    if (tasks->pause_ticks > 0)
        tasks->pause_ticks--;
}

bool offline_tasks_are_idle(const struct offline_tasks *tasks)
{
    return tasks->away_count == 0 && tasks->ask_count == 0 && (counter_get(&tasks->waiting) == 0 || tasks->pause_ticks > 0);
}

void offline_tasks_init(struct offline_tasks *tasks, struct devices *devices, struct event_outbox *outbox)
{
    *tasks = (struct offline_tasks){ .devices = devices, .outbox = outbox, .members_max = OFFLINE_MEMBERS_MAX };
    list_init(&tasks->line);
    outbox->task_found         = offline_task_found;
    outbox->task_ctx           = tasks;
    devices->writer->watch_ctx = tasks;
    offline_tasks_adopt(tasks);
}

void offline_tasks_adopt(struct offline_tasks *tasks)
{
    tasks->devices->writer->watch = event_outbox_wants(tasks->outbox, EVENT_KIND_OFFLINE) ? &offline_watch : NULL;
}

void offline_tasks_fini(struct offline_tasks *tasks)
{
    struct list *at;

    must(tasks->away_count == 0);
    while ((at = list_pop(&tasks->line)) != NULL)
        offline_task_free(container_of(at, struct offline_task, in_line));
    tasks->devices->writer->watch = NULL;
}
